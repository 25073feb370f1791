//! Time as data. Nothing in the core reads a clock: the shell reads it once a turn and passes it in.

/// An instant: nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

/// A length of time in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(pub u64);

/// Whole seconds since the Unix epoch: the store's clock, with memcached's resolution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seconds(pub u32);

/// When an item ends: an absolute second, or never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Expiry(u32);

/// Nanoseconds in a second.
pub const NANOS: u64 = 1_000_000_000;

/// Relative expiry times end here (30 days); larger ones are absolute Unix times (memcached's protocol.txt).
pub const RELATIVE_SECONDS_MAX: i32 = 60 * 60 * 24 * 30;

impl Time {
    /// The whole second this instant lies in.
    #[must_use]
    pub const fn seconds(self) -> Seconds {
        Seconds((self.0 / NANOS) as u32)
    }

    /// How long ago `earlier` was; zero if it is later than `self`.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration(self.0.saturating_sub(earlier.0))
    }

    /// The instant `length` later.
    #[must_use]
    pub const fn after(self, length: Duration) -> Self {
        Self(self.0.saturating_add(length.0))
    }
}

impl Duration {
    /// A length of whole seconds.
    #[must_use]
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds * NANOS)
    }

    /// A length of whole milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis * 1_000_000)
    }
}

impl Expiry {
    /// The item never expires.
    pub const NEVER: Self = Self(0);
    /// The item has expired whatever the clock says: what a negative time on the wire means.
    pub const PAST: Self = Self(1);

    /// From the absolute second stored in an item or a frame; 0 is never.
    #[must_use]
    pub const fn from_raw(raw: u32) -> Self {
        Self(raw)
    }

    /// The absolute second, 0 for never: what items and frames store.
    #[must_use]
    pub const fn raw(self) -> u32 {
        self.0
    }

    /// What an `exptime` on the wire means at the second `now`.
    #[must_use]
    pub fn from_exptime(exptime: i32, now: Seconds) -> Self {
        match exptime {
            0 => Self::NEVER,
            1..=RELATIVE_SECONDS_MAX => Self(now.0.saturating_add(exptime.cast_unsigned()).max(1)),
            i32::MIN..=-1 => Self::PAST,
            absolute => Self(absolute.cast_unsigned()),
        }
    }

    /// Whether an item with this expiry is gone at the second `now`.
    #[must_use]
    pub const fn expired(self, now: Seconds) -> bool {
        self.0 != 0 && self.0 <= now.0
    }

    /// Seconds left at `now`, or nothing when it never expires.
    #[must_use]
    pub const fn remaining(self, now: Seconds) -> Option<u32> {
        if self.0 == 0 { None } else { Some(self.0.saturating_sub(now.0)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exptime_on_the_wire_becomes_an_absolute_second() {
        let now = Seconds(1_700_000_000);
        assert_eq!(Expiry::from_exptime(0, now), Expiry::NEVER);
        assert_eq!(Expiry::from_exptime(10, now).raw(), 1_700_000_010);
        assert_eq!(Expiry::from_exptime(RELATIVE_SECONDS_MAX, now).raw(), 1_702_592_000);
        assert_eq!(Expiry::from_exptime(RELATIVE_SECONDS_MAX + 1, now).raw(), 2_592_001);
        assert!(Expiry::from_exptime(-1, now).expired(Seconds(1)));
    }

    #[test]
    fn an_item_is_gone_from_its_second_on() {
        assert!(!Expiry::NEVER.expired(Seconds(u32::MAX)));
        assert!(!Expiry::from_raw(10).expired(Seconds(9)));
        assert!(Expiry::from_raw(10).expired(Seconds(10)));
    }
}
