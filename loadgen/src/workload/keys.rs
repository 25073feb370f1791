//! Numbered keys and their texts: a prefix that says what is stored there, then the number in decimal with zeros before
//! it, as many as the key's length asks for. The length of a key follows from its number alone.

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;

use super::size::Size;

/// Length of a key unless told otherwise.
pub const KEY_BYTES_DEFAULT: usize = 16;
/// Longest key of the protocol.
const KEY_BYTES_MAX: usize = 250;

/// What is stored under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A value that was set.
    Value,
    /// A counter.
    Counter,
}

impl Kind {
    const fn prefix(self) -> &'static [u8; PREFIX_BYTES] {
        match self {
            Self::Value => b"key:",
            Self::Counter => b"ctr:",
        }
    }
}

const PREFIX_BYTES: usize = 4;

/// The keys of a load.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    /// They are numbered from 0 up to this.
    pub count: u32,
    size: Size,
}

impl Keys {
    /// `count` keys, at least one, of this length.
    ///
    /// # Errors
    /// When the length does not hold the numbers or is beyond the protocol's; the text says what does.
    pub fn new(count: u32, size: Size) -> Result<Self, String> {
        assert!(count > 0);
        let least = PREFIX_BYTES + (count - 1).checked_ilog10().unwrap_or(0) as usize + 1;
        if size.min() < least || size.max() > KEY_BYTES_MAX {
            return Err(format!(
                "--key-size {size} is not possible: {count} keys take {least} to {KEY_BYTES_MAX} bytes"
            ));
        }
        Ok(Self { count, size })
    }

    /// All there are, each of [`KEY_BYTES_DEFAULT`].
    pub const fn of_sixteen_bytes() -> Self {
        Self { count: u32::MAX, size: Size::Fixed(KEY_BYTES_DEFAULT) }
    }

    /// Appends the text of key number `id`.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>, kind: Kind, id: u32) {
        let length = match self.size {
            Size::Fixed(bytes) => bytes,
            other => other.draw(&mut Xoshiro256PlusPlus::seed_from_u64(u64::from(id))),
        };
        let start = out.len();
        out.extend_from_slice(kind.prefix());
        out.resize(start + length, b'0');
        let digits = &mut out[start + PREFIX_BYTES..];
        let (mut rest, mut place) = (id, digits.len());
        while rest > 0 {
            place -= 1;
            digits[place] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }

    /// The number of a key, if it can be one of ours.
    #[inline]
    pub fn id(kind: Kind, key: &[u8]) -> Option<u32> {
        let digits = key.strip_prefix(kind.prefix())?;
        let mut id = 0_u32;
        for digit in digits {
            let digit = digit.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            id = id.checked_mul(10)?.checked_add(u32::from(digit))?;
        }
        (!digits.is_empty()).then_some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_length_and_gives_its_number_back() {
        for size in [Size::Fixed(16), Size::Fixed(14), Size::Fixed(250), Size::Uniform { min: 14, max: 90 }] {
            let keys = Keys::new(u32::MAX, size).expect("they fit");
            for id in [0, 1, 9, 10, 99_999, u32::MAX] {
                for kind in [Kind::Value, Kind::Counter] {
                    let mut key = b"get ".to_vec();
                    keys.write(&mut key, kind, id);
                    let key = &key[4..];
                    assert!((size.min()..=size.max()).contains(&key.len()), "{size}");
                    assert_eq!(Keys::id(kind, key), Some(id), "{}", key.escape_ascii());
                }
            }
        }
    }

    #[test]
    fn a_foreign_key_has_no_number() {
        for key in [&b"key:"[..], b"kex:000000000001", b"key:00000000000a", b"", b"ctr:1", b"key:4294967296"] {
            assert_eq!(Keys::id(Kind::Value, key), None, "{}", key.escape_ascii());
        }
    }

    #[test]
    fn a_length_that_does_not_hold_the_numbers_is_refused() {
        assert!(Keys::new(10, Size::Fixed(5)).is_ok());
        assert!(Keys::new(11, Size::Fixed(5)).is_err());
        assert!(Keys::new(1, Size::Fixed(251)).is_err());
        assert!(Keys::new(1, Size::LogNormal { median: 20, sigma: 0.1, max: 100 }).is_err(), "it may draw 1");
    }
}
