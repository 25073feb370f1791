//! Words of a command line. Only the space separates; a tab is a byte like any other.

use memchr::memchr;

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
        let end = memchr(b' ', self.rest).unwrap_or(self.rest.len());
        self.split(end)
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
        !self.rest.is_empty() && self.last() == Some(b"noreply")
    }
}
