//! Decimal numbers as memcached reads them: digits, a minus where a sign makes sense, and nothing else.

/// Digits that fit a `u64` whatever they are.
const SAFE_DIGITS: usize = 19;

/// An unsigned number; at most 20 digits, as `u64::MAX` has.
#[inline]
pub(super) fn unsigned(word: &[u8]) -> Option<u64> {
    if word.is_empty() || word.len() > SAFE_DIGITS + 1 {
        return None;
    }
    let (safe, last) = word.split_at(word.len().min(SAFE_DIGITS));
    let value = digits(safe)?;
    match *last {
        [] => Some(value),
        [byte] => value.checked_mul(10)?.checked_add(u64::from(digit(byte)?)),
        _ => unreachable!("no more than one digit is left"),
    }
}

/// Client flags: memcached reads 64 bits and keeps the low 32, but refuses 20 digits.
#[inline]
pub(super) fn flags(word: &[u8]) -> Option<u32> {
    if word.is_empty() || word.len() > SAFE_DIGITS {
        return None;
    }
    Some(digits(word)? as u32)
}

/// The expiry time of a store command: memcached reads 64 bits and keeps the low 32, so that 2^31 up to 2^32 - 1 turn negative.
#[inline]
pub(super) fn exptime(word: &[u8]) -> Option<i32> {
    if let [byte @ b'0'..=b'9'] = *word {
        return Some(i32::from(byte - b'0'));
    }
    let (negative, word) = split_sign(word);
    if word.is_empty() || word.len() > SAFE_DIGITS {
        return None;
    }
    let value = i64::try_from(digits(word)?).ok()?;
    Some(if negative { -value } else { value } as i32)
}

/// A number of 32 bits with a sign, which refuses what does not fit: the length of a data block, a delay, the expiry
/// time of a touch.
#[inline]
pub(super) fn signed(word: &[u8]) -> Option<i32> {
    let (negative, word) = split_sign(word);
    if word.is_empty() || word.len() > 10 {
        return None;
    }
    let value = digits(word)?.cast_signed();
    i32::try_from(if negative { -value } else { value }).ok()
}

/// A stored value as a counter, by the rules of incr and decr: spaces around the digits are tolerated, since a counter
/// that shrank is padded with them.
#[must_use]
pub fn parse_counter(value: &[u8]) -> Option<u64> {
    unsigned(value.trim_ascii())
}

fn split_sign(word: &[u8]) -> (bool, &[u8]) {
    match word {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, word),
    }
}

#[inline]
fn digit(byte: u8) -> Option<u8> {
    let value = byte.wrapping_sub(b'0');
    (value < 10).then_some(value)
}

/// The value of at most [`SAFE_DIGITS`] digits.
#[inline]
fn digits(word: &[u8]) -> Option<u64> {
    let mut value = 0;
    for &byte in word {
        value = value * 10 + u64::from(digit(byte)?);
    }
    Some(value)
}
