//! What the user of the client sees: standard output, standard error and the exit status, from a request and its
//! replies. Pure.

use std::collections::HashSet;

use bytes::Bytes;

use super::json;
use super::reply::{Fault, Reply};
use super::request::{Request, StoreMode};

/// Exit status of a miss, or of a condition that did not hold.
pub const STATUS_NOT_DONE: u8 = 1;
/// sysexits: the server found the request wrong.
const EX_DATAERR: u8 = 65;
/// sysexits: the server could not; a later try may succeed.
const EX_TEMPFAIL: u8 = 75;
/// sysexits: the answer does not belong to the request.
const EX_PROTOCOL: u8 = 76;

/// The form of standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Values as they are.
    Text {
        /// Whether a line end follows the value of a single key: on a terminal only, a file gets the value's bytes.
        terminal: bool,
    },
    /// One JSON document.
    Json,
}

/// What the program ends with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// For standard output.
    pub stdout: Vec<u8>,
    /// For standard error, a sentence.
    pub complaint: Option<String>,
    /// The exit status.
    pub status: u8,
}

/// Shows the replies to a request.
#[must_use]
pub fn show(request: &Request, replies: &[Reply], format: Format) -> Outcome {
    if let Some(Reply::Refused(fault, text)) = replies.last() {
        return refused(*fault, text);
    }
    let shown = match request {
        Request::Get { keys, .. } => {
            let keys: Vec<&[u8]> = keys.iter().map(super::request::Key::as_bytes).collect();
            show_items(&keys, replies, format)
        }
        Request::Stats(_) => show_stats(replies, format),
        Request::Version => show_version(replies, format),
        Request::Store { key, .. }
        | Request::Delete(key)
        | Request::Increment(key, _)
        | Request::Decrement(key, _)
        | Request::Touch(key, _) => show_result(request, key.as_bytes(), replies, format),
    };
    shown.unwrap_or_else(|| Outcome {
        complaint: Some("the answer does not belong to the request: is that a memcached server?".to_owned()),
        status: EX_PROTOCOL,
        ..Outcome::default()
    })
}

fn refused(fault: Fault, text: &Bytes) -> Outcome {
    let text = String::from_utf8_lossy(text);
    let (complaint, status) = match fault {
        Fault::Client => (format!("the server refused the request: {text}"), EX_DATAERR),
        Fault::Server => (format!("the server could not do it: {text}"), EX_TEMPFAIL),
    };
    Outcome { complaint: Some(complaint), status, ..Outcome::default() }
}

struct Item<'a> {
    key: &'a [u8],
    flags: u32,
    cas: Option<u64>,
    data: &'a [u8],
}

/// The items among the replies; nothing when a reply is something else or an item was not asked for.
fn items<'a>(keys: &[&[u8]], replies: &'a [Reply]) -> Option<Vec<Item<'a>>> {
    let (Reply::End, values) = replies.split_last()? else { return None };
    let asked: HashSet<&[u8]> = keys.iter().copied().collect();
    values
        .iter()
        .map(|reply| match reply {
            Reply::Value { key, flags, cas, data } if asked.contains(&**key) => {
                Some(Item { key, flags: *flags, cas: *cas, data })
            }
            _ => None,
        })
        .collect()
}

fn show_items(keys: &[&[u8]], replies: &[Reply], format: Format) -> Option<Outcome> {
    let items = items(keys, replies)?;
    let found: HashSet<&[u8]> = items.iter().map(|item| item.key).collect();
    let missing: Vec<&[u8]> = keys.iter().copied().filter(|key| !found.contains(key)).collect();
    let stdout = match format {
        Format::Json => items_json(&items, &missing).into_bytes(),
        Format::Text { terminal } if keys.len() == 1 => {
            let mut out: Vec<u8> = items.first().map_or_else(Vec::new, |item| item.data.to_vec());
            if terminal && !items.is_empty() {
                out.push(b'\n');
            }
            out
        }
        Format::Text { .. } => items.iter().flat_map(|item| [item.key, b" ", item.data, b"\n"].concat()).collect(),
    };
    let names: Vec<String> = missing.iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect();
    Some(Outcome {
        stdout,
        complaint: (!names.is_empty()).then(|| format!("not found: {}", names.join(" "))),
        status: if names.is_empty() { 0 } else { STATUS_NOT_DONE },
    })
}

fn items_json(items: &[Item<'_>], missing: &[&[u8]]) -> String {
    let mut out = "{\"items\":[".to_owned();
    for (place, item) in items.iter().enumerate() {
        out.push_str(if place == 0 { "{" } else { ",{" });
        json::field(&mut out, "key", item.key);
        out.push(',');
        json::field(&mut out, "value", item.data);
        out.push_str(&format!(",\"flags\":{}", item.flags));
        if let Some(cas) = item.cas {
            out.push_str(&format!(",\"cas\":{cas}"));
        }
        out.push('}');
    }
    out.push_str("],\"missing\":[");
    for (place, key) in missing.iter().enumerate() {
        out.push_str(if place == 0 { "{" } else { ",{" });
        json::field(&mut out, "key", key);
        out.push('}');
    }
    out.push_str("]}\n");
    out
}

fn show_stats(replies: &[Reply], format: Format) -> Option<Outcome> {
    let (last, lines) = replies.split_last()?;
    if !matches!(last, Reply::End | Reply::Reset | Reply::Ok) {
        return None;
    }
    let mut stats = Vec::with_capacity(lines.len());
    for line in lines {
        let Reply::Stat { name, value } = line else { return None };
        stats.push((name, value));
    }
    let stdout = match format {
        Format::Text { .. } => {
            stats.iter().flat_map(|(name, value)| [&name[..], b" ", &value[..], b"\n"].concat()).collect()
        }
        Format::Json => {
            let mut out = "{\"stats\":{".to_owned();
            for (place, (name, value)) in stats.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                json::string(&mut out, &String::from_utf8_lossy(name));
                out.push(':');
                json::string(&mut out, &String::from_utf8_lossy(value));
            }
            out.push_str("}}\n");
            out.into_bytes()
        }
    };
    Some(Outcome { stdout, ..Outcome::default() })
}

fn show_version(replies: &[Reply], format: Format) -> Option<Outcome> {
    let [Reply::Version(version)] = replies else { return None };
    let stdout = match format {
        Format::Text { .. } => [&version[..], b"\n"].concat(),
        Format::Json => {
            let mut out = "{".to_owned();
            json::field(&mut out, "version", version);
            out.push_str("}\n");
            out.into_bytes()
        }
    };
    Some(Outcome { stdout, ..Outcome::default() })
}

/// The result of a write to one key: its word or number, or why it was not done.
fn show_result(request: &Request, key: &[u8], replies: &[Reply], format: Format) -> Option<Outcome> {
    let [reply] = replies else { return None };
    let name = String::from_utf8_lossy(key);
    let (word, complaint) = match (request, reply) {
        (Request::Store { .. }, Reply::Stored) => ("STORED", None),
        (Request::Store { mode, .. }, Reply::NotStored) => ("NOT_STORED", Some(not_stored(*mode, &name))),
        (Request::Store { .. }, Reply::Exists) => {
            ("EXISTS", Some(format!("not stored: {name} has changed since that cas id was read")))
        }
        (Request::Delete(_), Reply::Deleted) => ("DELETED", None),
        (Request::Touch(..), Reply::Touched) => ("TOUCHED", None),
        (Request::Increment(..) | Request::Decrement(..), Reply::Number(number)) => {
            return Some(counter(key, *number, format));
        }
        (_, Reply::NotFound) => ("NOT_FOUND", Some(format!("not found: {name}"))),
        _ => return None,
    };
    let stdout = match format {
        Format::Json => {
            let mut out = "{".to_owned();
            json::field(&mut out, "key", key);
            out.push_str(&format!(",\"result\":\"{word}\"}}\n"));
            out.into_bytes()
        }
        Format::Text { .. } if complaint.is_none() => format!("{word}\n").into_bytes(),
        Format::Text { .. } => Vec::new(),
    };
    let status = if complaint.is_none() { 0 } else { STATUS_NOT_DONE };
    Some(Outcome { stdout, complaint, status })
}

fn counter(key: &[u8], number: u64, format: Format) -> Outcome {
    let stdout = match format {
        Format::Text { .. } => format!("{number}\n").into_bytes(),
        Format::Json => {
            let mut out = "{".to_owned();
            json::field(&mut out, "key", key);
            out.push_str(&format!(",\"value\":{number}}}\n"));
            out.into_bytes()
        }
    };
    Outcome { stdout, ..Outcome::default() }
}

fn not_stored(mode: StoreMode, name: &str) -> String {
    match mode {
        StoreMode::Add => format!("not stored: {name} is there already"),
        StoreMode::Replace | StoreMode::Append | StoreMode::Prepend => format!("not stored: {name} is not there"),
        StoreMode::Set | StoreMode::Cas(_) => format!("not stored: {name}"),
    }
}
