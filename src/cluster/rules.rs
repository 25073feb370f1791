//! The rules of DESIGN.md that can be switched off in a test build, so that tests show that each is needed. In any other
//! build `Rules` is empty and every question is answered yes at compile time.

/// One rule, or one half of it where the halves stand in different places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "each variant's text is its rule")]
pub enum Rule {
    /// The coordinator changes a configuration only from the current epoch, for a member of it.
    R2,
    /// A new leader comes from the members.
    R3,
    /// Messages of a lower epoch are dropped.
    R7,
    /// All members' acks are needed; a silent one is never left out locally.
    R8All,
    /// A shrink counts when it is confirmed, not when it is asked for.
    R8Confirmed,
    /// While a change is under way the new members' acks are needed too.
    R9Acks,
    /// While a change is under way the new members' promises are needed too.
    R9Lease,
    /// A new leader keeps its whole log.
    R12Keeps,
    /// A new leader serves only when its no-op is committed.
    R12Waits,
    /// A follower truncates only where its leader's log differs.
    R13,
    /// A learner joins only when it has caught up.
    R15CaughtUp,
    /// A new member reads only from the entry that admitted it on.
    R15Reads,
    /// A follower promises not to take over.
    R16,
    /// A leader reads only while it holds all promises.
    R17,
    /// A leader promises its followers not to go on without them.
    R18,
    /// A follower's lease counts from its own echoed send time.
    R19,
    /// The leader renews read leases only while it holds its own.
    R20Renews,
    /// After a shrink or a takeover the leader waits out the leases of those left out.
    R20Waits,
    /// A promise is longer than the lease that relies on it, by what clocks may differ.
    R21,
    /// After a restart a server behaves as if it had just promised.
    R22,
    /// A leader without lease and without coordinator stops beaconing.
    R23,
    /// A key is locked before the ack of its prepared entry leaves.
    R24Locks,
    /// A read takes its deadline before the value, and looks at the clock last.
    R24Order,
    /// Only the lifeline's orderly end or a resignation proves death.
    R25,
    /// A server whose log was damaged is not electable before it was compared.
    D1,
    /// A request that reached the log before a failover is not sent again.
    C1,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 26] = [
        Self::R2,
        Self::R3,
        Self::R7,
        Self::R8All,
        Self::R8Confirmed,
        Self::R9Acks,
        Self::R9Lease,
        Self::R12Keeps,
        Self::R12Waits,
        Self::R13,
        Self::R15CaughtUp,
        Self::R15Reads,
        Self::R16,
        Self::R17,
        Self::R18,
        Self::R19,
        Self::R20Renews,
        Self::R20Waits,
        Self::R21,
        Self::R22,
        Self::R23,
        Self::R24Locks,
        Self::R24Order,
        Self::R25,
        Self::D1,
        Self::C1,
    ];
}

/// Which rules hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    #[cfg(any(test, feature = "mutations"))]
    off: u32,
}

impl Rules {
    /// All of them.
    pub const ALL: Self = Self {
        #[cfg(any(test, feature = "mutations"))]
        off: 0,
    };

    /// All but this one as well.
    #[cfg(any(test, feature = "mutations"))]
    #[must_use]
    pub const fn without(self, rule: Rule) -> Self {
        Self { off: self.off | 1 << rule as u8 }
    }

    /// Whether `rule` holds.
    #[cfg(any(test, feature = "mutations"))]
    #[must_use]
    #[inline]
    pub const fn hold(self, rule: Rule) -> bool {
        self.off & 1 << rule as u8 == 0
    }

    /// Whether `rule` holds: always.
    #[cfg(not(any(test, feature = "mutations")))]
    #[must_use]
    #[inline]
    pub const fn hold(self, _: Rule) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_rule_is_off_and_the_others_hold() {
        for (at, off) in Rule::ALL.into_iter().enumerate() {
            assert_eq!(off as usize, at, "each stands once, in order");
            let rules = Rules::ALL.without(off);
            for rule in Rule::ALL {
                assert_eq!(rules.hold(rule), rule != off);
            }
        }
    }
}
