//! Values of single options, with memcached's ranges. Each refusal says what may be given.

use ringstore::config::{Fsync, ITEM_BYTES_CEILING, ITEM_BYTES_MIN};
use ringstore::time::Duration;

/// Ring threads at most: beyond it a machine has other limits than ours.
const THREADS_MAX: usize = 256;
/// Connections at most: what fits a process' file table on the largest machines.
const CONNECTIONS_MAX: usize = 4 << 20;
/// Megabytes at most: 64 TiB, so that bytes never overflow.
const MEGABYTES_MAX: u64 = 64 << 20;
/// Longest interval between two fsyncs: an hour.
const FSYNC_INTERVAL_MS_MAX: u64 = 3_600_000;

fn whole<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| "not a whole number in range".to_owned())
}

/// `-p`: a port, -1 for a free one, 0 for none.
pub fn port(text: &str) -> Result<i32, String> {
    match whole(text)? {
        port @ -1..=65535 => Ok(port),
        _ => Err("a port is 1 to 65535, -1 for a free one, 0 to switch TCP off".to_owned()),
    }
}

/// `-a`.
pub fn octal_mask(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mask @ 0..=0o777) => Ok(mask),
        _ => Err("permission bits are octal, 0 to 777".to_owned()),
    }
}

/// `-t`.
pub fn threads(text: &str) -> Result<usize, String> {
    match whole(text)? {
        threads @ 1..=THREADS_MAX => Ok(threads),
        _ => Err(format!("give 1 to {THREADS_MAX} threads")),
    }
}

/// `-c`.
pub fn connections(text: &str) -> Result<usize, String> {
    match whole(text)? {
        connections @ 1..=CONNECTIONS_MAX => Ok(connections),
        _ => Err(format!("give 1 to {CONNECTIONS_MAX} connections")),
    }
}

/// `-m`.
pub fn megabytes(text: &str) -> Result<u64, String> {
    match whole(text)? {
        megabytes @ 1..=MEGABYTES_MAX => Ok(megabytes),
        0 => Err("memory without a limit is not possible: give megabytes".to_owned()),
        _ => Err(format!("give 1 to {MEGABYTES_MAX} megabytes")),
    }
}

/// `-I`: bytes, or with `k` or `m`.
pub fn item_size(text: &str) -> Result<usize, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1 << 20),
        _ => (text, 1),
    };
    let bytes = digits.parse::<usize>().ok().and_then(|number| number.checked_mul(unit));
    match bytes {
        Some(bytes @ ITEM_BYTES_MIN..=ITEM_BYTES_CEILING) => Ok(bytes),
        Some(_) => Err("the largest item is 1k to 1024m".to_owned()),
        None => Err("give bytes, or a number with k or m, such as 512k or 2m".to_owned()),
    }
}

/// `-b`, `-R`, `-n`.
pub fn at_least_one(text: &str) -> Result<i32, String> {
    match whole(text)? {
        number @ 1.. => Ok(number),
        _ => Err("give a number greater than 0".to_owned()),
    }
}

/// `-f`.
pub fn growth_factor(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if factor > 1.0 && factor.is_finite() => Ok(factor),
        _ => Err("the factor is a number greater than 1".to_owned()),
    }
}

/// `-D`: the first byte, as memcached takes it; it must be printable to stand in `stats settings`.
pub fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        [byte @ b'!'..=b'~', ..] => Ok(*byte),
        _ => Err("the delimiter is one printable character other than space".to_owned()),
    }
}

/// `--fsync`.
pub fn fsync(text: &str) -> Result<Fsync, String> {
    match text {
        "always" => Ok(Fsync::Always),
        "never" => Ok(Fsync::Never),
        _ => match text.strip_prefix("interval=").map(str::parse) {
            Some(Ok(ms @ 1..=FSYNC_INTERVAL_MS_MAX)) => Ok(Fsync::Interval(Duration::from_millis(ms))),
            Some(_) => Err(format!("the interval is 1 to {FSYNC_INTERVAL_MS_MAX} milliseconds")),
            None => Err("give always, interval=MILLISECONDS or never".to_owned()),
        },
    }
}
