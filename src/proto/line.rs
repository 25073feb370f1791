//! Words of a command line. Only the space separates; a tab is a byte like any other.

use memchr::memchr;

/// Digits of a number that fits every type the protocol has.
const SMALL_DIGITS: usize = 9;

/// Words of eight bytes in which a space is looked for before the search is handed to [`memchr`], whose call costs as
/// much as these.
const NEAR_WORDS: usize = 4;

/// Where the first space is. Keys are short: the next space is most often within a few words of eight bytes.
#[inline]
pub(super) fn find_space(bytes: &[u8]) -> Option<usize> {
    let Some(tail) = bytes.last_chunk::<8>() else {
        return bytes.iter().position(|&byte| byte == b' ');
    };
    let (words, _) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().take(NEAR_WORDS).enumerate() {
        if let Some(space) = space_in(*word) {
            return Some(at * 8 + space);
        }
    }
    if words.len() <= NEAR_WORDS {
        // the last eight bytes overlap a word that was searched, in which there is none
        return space_in(*tail).map(|space| bytes.len() - 8 + space);
    }
    let near = NEAR_WORDS * 8;
    memchr(b' ', &bytes[near..]).map(|at| near + at)
}

/// Where the first space is among eight bytes, without a branch for each.
///
/// ```text
/// word ^ "        "    a byte is zero where a space was
/// minus 1 per byte     borrows into the top bit of the lowest zero byte; what it does above that one does not matter
/// ```
#[inline]
fn space_in(word: [u8; 8]) -> Option<usize> {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const TOPS: u64 = ONES << 7;
    let spaces_zero = u64::from_le_bytes(word) ^ (ONES * b' ' as u64);
    let found = spaces_zero.wrapping_sub(ONES) & !spaces_zero & TOPS;
    (found != 0).then(|| found.trailing_zeros() as usize / 8)
}

/// What follows the command's name on its line, taken word by word.
#[derive(Clone, Copy)]
pub(super) struct Words<'a> {
    rest: &'a [u8],
}

impl<'a> Words<'a> {
    #[inline]
    pub(super) const fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    /// What is left, from the first byte that is not a space to the last.
    pub(super) fn trimmed(self) -> &'a [u8] {
        let mut rest = self.rest;
        while let [b' ', inner @ ..] | [inner @ .., b' '] = rest {
            rest = inner;
        }
        rest
    }

    /// The bytes not yet taken.
    #[inline]
    pub(super) const fn rest(self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    fn skip_spaces(&mut self) {
        while let [b' ', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    /// The next word, expected to be long: a key.
    #[inline]
    pub(super) fn long(&mut self) -> Option<&'a [u8]> {
        self.skip_spaces();
        let end = find_space(self.rest).unwrap_or(self.rest.len());
        self.split(end)
    }

    /// The next word, when it is a number of at most [`SMALL_DIGITS`] digits; otherwise nothing is taken. Most numbers
    /// are, and so are read and delimited in one pass; and most of those are a single 0.
    #[inline]
    pub(super) fn small(&mut self) -> Option<u32> {
        if let [b' ', digit @ b'0'..=b'9', rest @ ..] = self.rest
            && matches!(rest, [] | [b' ', ..])
        {
            self.rest = rest;
            return Some(u32::from(digit - b'0'));
        }
        self.digits()
    }

    fn digits(&mut self) -> Option<u32> {
        self.skip_spaces();
        let (mut value, mut at) = (0, 0);
        while let Some(&byte) = self.rest.get(at) {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                if byte != b' ' {
                    return None;
                }
                break;
            }
            if at == SMALL_DIGITS {
                return None;
            }
            value = value * 10 + u32::from(digit);
            at += 1;
        }
        self.split(at).map(|_| value)
    }

    /// The next word, expected to be short: a number.
    #[inline]
    pub(super) fn short(&mut self) -> Option<&'a [u8]> {
        self.skip_spaces();
        let end = self.rest.iter().position(|&byte| byte == b' ').unwrap_or(self.rest.len());
        self.split(end)
    }

    #[inline]
    fn split(&mut self, end: usize) -> Option<&'a [u8]> {
        if end == 0 {
            return None;
        }
        let word;
        (word, self.rest) = self.rest.split_at(end);
        Some(word)
    }

    /// How many words are left, counted no further than `limit`.
    pub(super) fn count_upto(mut self, limit: usize) -> usize {
        (0..limit).take_while(|_| self.short().is_some()).count()
    }

    /// The last of the words that are left.
    pub(super) fn last(self) -> Option<&'a [u8]> {
        self.trimmed().rsplit(|&byte| byte == b' ').next().filter(|word| !word.is_empty())
    }

    /// Whether the last word asks for silence.
    #[inline]
    pub(super) fn noreply(self) -> bool {
        matches!(self.rest, [.., b'y' | b' ']) && self.last() == Some(b"noreply")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_space_is_found_wherever_it_is_and_whatever_stands_around_it() {
        for around in [b'k', b'!', 0, 0x1f, 0x21, 0xa0, 0xff] {
            for bytes in 0..60 {
                let mut text = vec![around; bytes];
                assert_eq!(find_space(&text), None, "{bytes} bytes of {around}");
                for at in (0..bytes).rev() {
                    text[at] = b' ';
                    assert_eq!(find_space(&text), Some(at), "{bytes} bytes of {around}");
                }
            }
        }
    }

    #[test]
    fn a_small_number_is_taken_whole_or_not_at_all() {
        for (text, value, rest) in [
            ("7", Some(7), ""),
            (" 7", Some(7), ""),
            (" 0 1", Some(0), " 1"),
            (" 0x", None, "0x"),
            ("  999999999 k", Some(999_999_999), " k"),
            ("1000000000", None, "1000000000"),
            ("1x 2", None, "1x 2"),
            ("-1", None, "-1"),
            ("", None, ""),
            (" ", None, ""),
        ] {
            let mut words = Words::new(text.as_bytes());
            assert_eq!((words.small(), words.rest()), (value, rest.as_bytes()), "{text:?}");
        }
    }
}
