//! `store log dump DIR` and `store log verify DIR`: read a log, also one that a server is writing, and change nothing.

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use ringstore::log::{Entry, FrameHeader, LogIndex, Recovered, Removed};
use ringstore::ring::disk::{self, LogFiles, LogStorage, OpenError};

/// What `store log dump` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DumpForm {
    /// `<index> <key> <value>` for each set, as the bytes are; other entries are left out.
    Text,
    /// One JSON object a line for every entry, with everything that is known about it.
    Json,
}

/// The part of `--help` about both.
pub const LOG_HELP: &str = "\
store log dump DIR [--json]  prints `<index> <key> <value>` for every set in the log of the data directory DIR;
                             deletes, touches and flushes are printed with --json only, which prints one object
                             a line with index, operation, key, value, flags, expiry, cas and the frame's fields.
                             Keys and values that are not UTF-8 are in key_base64 and value_base64.
store log verify DIR         checks every byte and prints what the log holds; exits 65 when it is corrupt. A torn
                             tail is no corruption: the server cuts it when it starts. Neither is room: zeros behind
                             the end, over which the server writes what comes next.
Both may be used while a server runs.";

/// Why a tool stopped.
#[derive(Debug)]
pub enum ToolError {
    /// The log.
    Log(OpenError),
    /// The output.
    Output(io::Error),
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(error) => error.fmt(f),
            Self::Output(error) => write!(f, "cannot write the output: {error}"),
        }
    }
}

impl std::error::Error for ToolError {}

impl ToolError {
    /// The exit code of sysexits.h that says it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Log(error) => error.exit_code(),
            Self::Output(_) => 74,
        }
    }
}

/// Prints every entry of the log in `dir`.
///
/// # Errors
/// When the log cannot be read or is corrupt; what was whole before that place is printed. An output that is closed
/// early is none.
pub fn dump(dir: &Path, form: DumpForm, out: impl Write) -> Result<(), ToolError> {
    let mut out = BufWriter::with_capacity(64 << 10, out);
    let mut failed = None;
    let read = read(dir, &mut |header, index, entry| {
        let printed = match form {
            DumpForm::Text => text(&mut out, index, entry),
            DumpForm::Json => json(&mut out, header, index, entry),
        };
        printed.map_err(|error| {
            failed = Some(error);
            String::new()
        })
    });
    // whole lines leave also when the log turns out corrupt behind them
    let flushed = out.flush();
    output(failed.map_or(flushed, Err))?;
    match read {
        // the reader was told to stop, because the output was closed
        Err(OpenError::Refused(_)) => Ok(()),
        read => read.map(drop).map_err(ToolError::Log),
    }
}

/// Checks the log in `dir` and prints what it holds.
///
/// # Errors
/// When the log cannot be read or is corrupt.
pub fn verify(dir: &Path, mut out: impl Write) -> Result<(), ToolError> {
    let found = read(dir, &mut |_, _, _| Ok(())).map_err(ToolError::Log)?;
    output(summary(&mut out, &found))
}

fn read(
    dir: &Path,
    take: &mut impl FnMut(&FrameHeader, LogIndex, &Entry<'_>) -> Result<(), String>,
) -> Result<Recovered, OpenError> {
    let mut files = LogFiles::read_only(dir);
    let names = files.list().map_err(|error| OpenError::Open { path: dir.to_path_buf(), error })?;
    if names.is_empty() {
        return Err(OpenError::NoLog { path: dir.to_path_buf() });
    }
    disk::read(&mut files, take)
}

/// A reader that has seen enough (`| head`) is no fault.
pub fn output(result: io::Result<()>) -> Result<(), ToolError> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(ToolError::Output(error)),
        _ => Ok(()),
    }
}

fn summary(out: &mut impl Write, found: &Recovered) -> io::Result<()> {
    match found.log_id {
        Some(id) => writeln!(out, "log {id}")?,
        None => writeln!(out, "log without a whole file header")?,
    }
    writeln!(out, "files {}", found.files)?;
    writeln!(out, "frames {}", found.frames)?;
    writeln!(out, "entries {}", found.entries)?;
    writeln!(out, "bytes {}", found.bytes)?;
    if found.entries > 0 {
        writeln!(out, "first_index {}", found.first_index.0)?;
    }
    writeln!(out, "last_index {}", found.last_index.0)?;
    writeln!(out, "first_epoch {}", found.first_epoch.0)?;
    writeln!(out, "last_epoch {}", found.epoch.0)?;
    writeln!(out, "end_position {}", found.end.0)?;
    writeln!(out, "durable_upto {}", found.durable_upto.0)?;
    let room = found.cut.filter(|cut| cut.is_room);
    writeln!(out, "room_bytes {}", room.map_or(0, |cut| cut.bytes))?;
    match found.cut.filter(|cut| !cut.is_room) {
        Some(cut) => writeln!(out, "torn_tail_bytes {} ({})", cut.bytes, cut.fault)?,
        None => writeln!(out, "torn_tail_bytes 0")?,
    }
    out.flush()
}

fn text(out: &mut impl Write, index: LogIndex, entry: &Entry<'_>) -> io::Result<()> {
    let Entry::Put { key, value, .. } = *entry else { return Ok(()) };
    write!(out, "{} ", index.0)?;
    out.write_all(key)?;
    out.write_all(b" ")?;
    out.write_all(value)?;
    out.write_all(b"\n")
}

fn json(out: &mut impl Write, header: &FrameHeader, index: LogIndex, entry: &Entry<'_>) -> io::Result<()> {
    write!(out, "{{\"index\":{}", index.0)?;
    match *entry {
        Entry::Put { key, value, flags, expiry, cas, bits } => {
            write!(out, ",\"op\":\"set\",")?;
            json_bytes(out, "key", key)?;
            let (expiry, cas) = (expiry.raw(), cas.unwrap_or(index.0));
            write!(out, ",\"flags\":{flags},\"expiry\":{expiry},\"cas\":{cas},\"bits\":{bits},")?;
            json_bytes(out, "value", value)?;
        }
        Entry::Delete { key, reason } => {
            write!(out, ",\"op\":\"delete\",")?;
            json_bytes(out, "key", key)?;
            let reason = match reason {
                Removed::Deleted => "deleted",
                Removed::Expired => "expired",
                Removed::Evicted => "evicted",
                Removed::Flushed => "flushed",
            };
            write!(out, ",\"reason\":\"{reason}\"")?;
        }
        Entry::Touch { key, expiry } => {
            write!(out, ",\"op\":\"touch\",")?;
            json_bytes(out, "key", key)?;
            write!(out, ",\"expiry\":{}", expiry.raw())?;
        }
        Entry::Flush => write!(out, ",\"op\":\"flush\"")?,
        Entry::FlushAt { time } => write!(out, ",\"op\":\"flush_at\",\"time\":{}", time.0)?,
        Entry::NoOp => write!(out, ",\"op\":\"no_op\"")?,
    }
    let start = header.start;
    writeln!(
        out,
        ",\"frame\":{{\"epoch\":{},\"position\":{},\"durable_upto\":{},\"time_ns\":{}}}}}",
        start.epoch.0, start.position.0, start.durable_upto.0, start.time.0
    )
}

/// A member of an object: a string when the bytes are UTF-8, otherwise base64 under a name that says so.
pub fn json_bytes(out: &mut impl Write, name: &str, bytes: &[u8]) -> io::Result<()> {
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            write!(out, "\"{name}\":\"")?;
            json_text(out, text)?;
        }
        Err(_) => {
            write!(out, "\"{name}_base64\":\"")?;
            base64(out, bytes)?;
        }
    }
    out.write_all(b"\"")
}

fn json_text(out: &mut impl Write, text: &str) -> io::Result<()> {
    let mut plain_from = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' && byte != 0x7F {
            continue;
        }
        out.write_all(&text.as_bytes()[plain_from..at])?;
        plain_from = at + 1;
        match byte {
            b'"' => out.write_all(b"\\\"")?,
            b'\\' => out.write_all(b"\\\\")?,
            b'\n' => out.write_all(b"\\n")?,
            b'\r' => out.write_all(b"\\r")?,
            b'\t' => out.write_all(b"\\t")?,
            control => write!(out, "\\u{control:04x}")?,
        }
    }
    out.write_all(&text.as_bytes()[plain_from..])
}

fn base64(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in bytes.chunks(3) {
        let bits = group.iter().enumerate().fold(0u32, |bits, (i, &byte)| bits | u32::from(byte) << (16 - 8 * i));
        let mut four = [b'='; 4];
        for (i, digit) in four.iter_mut().take(group.len() + 1).enumerate() {
            *digit = DIGITS[(bits >> (18 - 6 * i)) as usize & 63];
        }
        out.write_all(&four)?;
    }
    Ok(())
}
