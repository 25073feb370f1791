//! JSON and base64 in the few forms that the control plane needs. Pure.

mod read;

pub use read::Value;

use std::fmt::Write;

/// Adds a string with its quotes.
pub fn string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' => write!(out, "\\u{:04x}", u32::from(control)).expect("a string takes all"),
            other => out.push(other),
        }
    }
    out.push('"');
}

/// Adds `"name":"text"`, or `"name_base64":"..."` when the bytes are not UTF-8.
pub fn field(out: &mut String, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            string(out, name);
            out.push(':');
            string(out, text);
        }
        Err(_) => {
            string(out, &format!("{name}_base64"));
            out.push_str(":\"");
            base64(out, bytes);
            out.push('"');
        }
    }
}

/// Adds bytes in base64 with padding (RFC 4648, section 4).
pub fn base64(out: &mut String, bytes: &[u8]) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    out.reserve(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |place: usize| u32::from(group.get(place).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            // a group of n bytes has n + 1 characters, the rest is padding
            if place <= group.len() {
                out.push(char::from(ALPHABET[(bits >> (18 - 6 * place)) as usize & 63]));
            } else {
                out.push('=');
            }
        }
    }
}
