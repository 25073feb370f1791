//! `store verify`: whether all members hold the same data. Each tells the digest of its store and the position in the log
//! that it belongs to; digests are compared where positions are equal, so the members are asked until all were seen at one.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::roster::{BalancerAt, Part, RosterError};
use super::survey::{Survey, survey};

/// Between two rounds.
const PAUSE: Duration = Duration::from_millis(5);
/// Positions of one server that are remembered.
const POSITIONS_MAX: usize = 4096;
/// sysexits: the data is not alike.
const EX_DATAERR: u8 = 65;
/// sysexits: a later try may succeed.
const EX_TEMPFAIL: u8 = 75;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// All members hold the same.
    Equal {
        /// At this position of the log.
        position: u64,
        /// The digest, in hexadecimal.
        digest: String,
        /// Who was compared.
        servers: Vec<SocketAddr>,
    },
    /// They do not.
    Differ {
        /// At this position of the log.
        position: u64,
        /// What each holds.
        digests: Vec<(SocketAddr, String)>,
    },
    /// Some member could not be asked, or the members were at no common position.
    Unknown(String),
}

impl Finding {
    /// The exit status: 0 for equal, 65 for different, 75 when it is not known.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Equal { .. } => 0,
            Self::Differ { .. } => EX_DATAERR,
            Self::Unknown(_) => EX_TEMPFAIL,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equal { position, digest, servers } => {
                write!(f, "equal: {} servers hold {digest} at position {position}:", servers.len())?;
                servers.iter().try_for_each(|server| write!(f, " {server}"))
            }
            Self::Differ { position, digests } => {
                write!(f, "different at position {position}:")?;
                digests.iter().try_for_each(|(server, digest)| write!(f, " {server} holds {digest}"))
            }
            Self::Unknown(why) => f.write_str(why),
        }
    }
}

/// Digests of the members by position, as far as they were seen.
#[derive(Debug, Default)]
pub struct Sightings {
    members: BTreeMap<SocketAddr, BTreeMap<u64, String>>,
    /// Who was missing in the last round, and why.
    missing: Option<String>,
}

impl Sightings {
    /// Notes what members said. Who is no member any more is forgotten, and so is everything of a server that has started
    /// again.
    pub fn note(&mut self, found: &Survey) {
        self.missing = None;
        let members = || found.servers.iter().filter(|one| one.listed.part != Part::Outside);
        self.members.retain(|address, _| members().any(|one| one.listed.contact.clients == *address));
        for one in members() {
            let address = one.listed.contact.clients;
            let seen = self.members.entry(address).or_default();
            match &one.said {
                Ok(said) if matches!(said.word("role"), "leader" | "follower") && said.word("doubt") == "none" => {
                    while seen.len() >= POSITIONS_MAX {
                        seen.pop_first();
                    }
                    seen.insert(said.number("digest_position"), said.word("digest").to_owned());
                }
                Ok(said) => self.missing = Some(format!("{address} is no whole member: {}", said.word("role"))),
                Err(why) => self.missing = Some(format!("{address} does not answer: {why}")),
            }
        }
        if self.members.is_empty() {
            self.missing = Some("the cluster has no members".to_owned());
        }
    }

    /// What they say, once all were seen at one position.
    #[must_use]
    pub fn finding(&self) -> Option<Finding> {
        if self.missing.is_some() {
            return None;
        }
        let mut all = self.members.values();
        let first = all.next()?;
        let position = *first.keys().rev().find(|position| all.clone().all(|one| one.contains_key(position)))?;
        let digests: Vec<(SocketAddr, String)> =
            self.members.iter().map(|(address, seen)| (*address, seen[&position].clone())).collect();
        let digest = digests[0].1.clone();
        Some(if digests.iter().all(|(_, other)| *other == digest) {
            Finding::Equal { position, digest, servers: digests.into_iter().map(|(server, _)| server).collect() }
        } else {
            Finding::Differ { position, digests }
        })
    }

    /// Why there was no finding.
    fn excuse(&self) -> String {
        match &self.missing {
            Some(why) => format!("not compared: {why}"),
            None => {
                "not compared: the members were at no common position in the log; try again when fewer writes come, or \
                     give more --timeout"
                    .to_owned()
            }
        }
    }
}

/// Asks the members until they can be compared, for so long at most. To be called on a tokio-uring runtime.
///
/// # Errors
/// When the load balancer says nothing.
pub async fn verify(balancer: &BalancerAt, longest: Duration) -> Result<Finding, RosterError> {
    let end = Instant::now() + longest;
    let mut sightings = Sightings::default();
    loop {
        sightings.note(&survey(balancer.roster().await?).await);
        if let Some(finding) = sightings.finding() {
            return Ok(finding);
        }
        if Instant::now() >= end {
            return Ok(Finding::Unknown(sightings.excuse()));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::roster::{Listed, Roster};
    use crate::control::survey::{Said, Seen};

    fn seen(node: u16, role: &str, position: u64, digest: &str) -> Seen {
        let contact = format!("127.0.0.1:{node} 127.0.0.1:1").parse().expect("a contact");
        let part = if role == "leader" { Part::Leader } else { Part::Follower };
        let position = position.to_string();
        let pairs = [("role", role), ("digest_position", &position), ("digest", digest), ("doubt", "none")];
        let cluster = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let listed = Listed { node: node.to_string(), part, contact };
        Seen { listed, said: Ok(Said { cluster, ..Said::default() }) }
    }

    fn note(sightings: &mut Sightings, servers: Vec<Seen>) -> Option<Finding> {
        sightings.note(&Survey { roster: Roster::default(), servers });
        sightings.finding()
    }

    #[test]
    fn digests_are_compared_at_one_position_only() {
        let mut sightings = Sightings::default();
        let found = note(&mut sightings, vec![seen(1, "leader", 20, "b"), seen(2, "follower", 10, "a")]);
        assert_eq!(found, None, "they differ because one is behind");
        let found = note(&mut sightings, vec![seen(1, "leader", 30, "c"), seen(2, "follower", 20, "b")]);
        let Some(Finding::Equal { position: 20, digest, servers }) = found else { panic!("{found:?}") };
        assert_eq!((digest.as_str(), servers.len()), ("b", 2));
        let found = note(&mut sightings, vec![seen(1, "leader", 40, "d"), seen(2, "follower", 40, "x")]);
        let Some(finding @ Finding::Differ { position: 40, .. }) = found else { panic!("{found:?}") };
        assert_eq!(finding.exit_code(), 65);
        let text = finding.to_string();
        assert!(text.contains("127.0.0.1:1 holds d") && text.contains("127.0.0.1:2 holds x"), "{text}");
    }

    #[test]
    fn nothing_is_said_while_a_member_is_missing() {
        let mut sightings = Sightings::default();
        assert_eq!(note(&mut sightings, Vec::new()), None);
        let mut silent = seen(2, "follower", 10, "a");
        silent.said = Err("refused".to_owned());
        assert_eq!(note(&mut sightings, vec![seen(1, "leader", 10, "a"), silent]), None);
        assert!(sightings.excuse().contains("127.0.0.1:2 does not answer"), "{}", sightings.excuse());
        let found = note(&mut sightings, vec![seen(1, "leader", 10, "a"), seen(2, "learner", 10, "a")]);
        assert_eq!(found, None, "{}", sightings.excuse());
        // it was left out: the others are all there is
        let found = note(&mut sightings, vec![seen(1, "leader", 10, "a")]);
        assert!(matches!(found, Some(Finding::Equal { position: 10, .. })), "{found:?}");
    }
}
