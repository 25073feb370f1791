//! Where a server stands, as it says itself: `stats cluster`. Asks, compares and waits; changes nothing.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use super::connection::Connection;

/// How long a server may take to say where it stands; a stopped one does not.
const PATIENCE: Duration = Duration::from_millis(500);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// What one server says.
#[derive(Clone, Debug, Default)]
pub struct Standing(HashMap<String, String>);

impl Standing {
    pub fn ask(server: SocketAddr) -> io::Result<Self> {
        let stats = Connection::open(server, PATIENCE)?.stats("cluster")?;
        Ok(Self(stats.into_iter().collect()))
    }

    pub fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    pub fn number(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap_or(0)
    }

    /// Whether it leads and its epoch's no-op is committed.
    pub fn leads(&self) -> bool {
        self.text("role") == "leader" && self.number("serving") == 1
    }

    fn follows(&self) -> bool {
        self.text("role") == "follower"
    }

    /// How many members it knows of.
    pub fn members(&self) -> usize {
        self.text("members").split(',').filter(|name| !["", "none"].contains(name)).count()
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names =
            ["node", "role", "serving", "epoch", "leader", "members", "applied_position", "end_position", "doubt"];
        names.iter().try_for_each(|name| write!(f, "{name} {} ", self.text(name)))
    }
}

/// All of them, in the order of asking; nothing for who does not answer.
pub fn ask_all(servers: &[SocketAddr]) -> Vec<Option<Standing>> {
    servers.iter().map(|&server| Standing::ask(server).ok()).collect()
}

/// Who leads in the newest epoch among those that say so.
pub fn leader(standings: &[Option<Standing>]) -> Option<usize> {
    let leading = standings.iter().enumerate().filter_map(|(place, one)| Some((place, one.as_ref()?)));
    leading.filter(|(_, one)| one.leads()).max_by_key(|(_, one)| one.number("epoch")).map(|(place, _)| place)
}

/// Whether all of these are the members of one epoch, one leading, the others following it.
fn is_whole(standings: &[Option<Standing>]) -> bool {
    let Some(leading) = leader(standings) else { return false };
    let epoch = standings[leading].as_ref().map(|one| one.number("epoch"));
    standings.iter().enumerate().all(|(place, one)| {
        one.as_ref().is_some_and(|one| {
            Some(one.number("epoch")) == epoch
                && one.members() == standings.len()
                && (place == leading || one.follows())
        })
    })
}

fn told(servers: &[SocketAddr], standings: &[Option<Standing>]) -> String {
    let line = |(server, one): (&SocketAddr, &Option<Standing>)| {
        let standing = one.as_ref().map_or_else(|| "no answer".to_owned(), Standing::to_string);
        format!("  {server}: {standing}\n")
    };
    servers.iter().zip(standings).map(line).collect()
}

/// Waits until these servers, and nobody else, are the members of one epoch and serve; the leader's place.
///
/// # Errors
/// They are not within that time, and where each stands then.
pub fn until_whole(servers: &[SocketAddr], within: Duration) -> Result<usize, String> {
    let deadline = Instant::now() + within;
    loop {
        let standings = ask_all(servers);
        if let Some(leading) = leader(&standings).filter(|_| is_whole(&standings)) {
            return Ok(leading);
        }
        if Instant::now() > deadline {
            return Err(format!("not all are members and serve after {within:?}:\n{}", told(servers, &standings)));
        }
        thread::sleep(LOOK);
    }
}

/// Waits until one of these servers leads and serves; its place.
///
/// # Errors
/// None does within that time, and where each stands then.
pub fn until_led(servers: &[SocketAddr], within: Duration) -> Result<usize, String> {
    let deadline = Instant::now() + within;
    loop {
        let standings = ask_all(servers);
        if let Some(leading) = leader(&standings) {
            return Ok(leading);
        }
        if Instant::now() > deadline {
            return Err(format!("nobody leads after {within:?}:\n{}", told(servers, &standings)));
        }
        thread::sleep(LOOK);
    }
}

/// Waits until all have applied the same and compares what they hold; nobody writes meanwhile.
///
/// # Errors
/// They do not come to the same position within that time, or hold something else there.
pub fn same_data(servers: &[SocketAddr], within: Duration) -> Result<(), String> {
    let deadline = Instant::now() + within;
    loop {
        let standings = ask_all(servers);
        let of = |name: &str| -> Vec<String> {
            standings.iter().map(|one| one.as_ref().map_or("", |one| one.text(name)).to_owned()).collect()
        };
        let same = |texts: &[String]| !texts[0].is_empty() && texts.iter().all(|text| *text == texts[0]);
        let positions = of("digest_position");
        if same(&positions) && positions == of("applied_position") && positions == of("end_position") {
            let digests = of("digest");
            return if same(&digests) {
                Ok(())
            } else {
                Err(format!("at position {} the servers differ: digests {digests:?}", positions[0]))
            };
        }
        if Instant::now() > deadline {
            return Err(format!("no common position after {within:?}:\n{}", told(servers, &standings)));
        }
        thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(role: &str, serving: &str, epoch: &str, members: &str) -> Option<Standing> {
        let stats = [("role", role), ("serving", serving), ("epoch", epoch), ("members", members)];
        Some(Standing(stats.map(|(name, value)| (name.to_owned(), value.to_owned())).into()))
    }

    #[test]
    fn a_cluster_is_whole_when_all_are_members_of_one_epoch() {
        let (leads, follows) = (standing("leader", "1", "4", "a,b"), standing("follower", "0", "4", "a,b"));
        assert!(is_whole(&[follows.clone(), leads.clone()]));
        let others = [
            None,
            standing("follower", "0", "3", "a,b"),
            standing("follower", "0", "4", "a,b,c"),
            standing("follower", "0", "4", "none"),
            standing("learner", "0", "4", "a,b"),
        ];
        for other in others {
            assert!(!is_whole(&[other.clone(), leads.clone()]), "{other:?}");
        }
        assert!(!is_whole(&[follows.clone(), follows]));
        assert!(!is_whole(&[standing("leader", "0", "1", "a")]), "its no-op is not committed");
    }

    #[test]
    fn the_leader_of_the_newest_epoch_leads() {
        let old = standing("leader", "1", "4", "a,b,c");
        assert_eq!(leader(&[old.clone(), standing("leader", "1", "5", "a,b"), None]), Some(1));
        assert_eq!(leader(&[old, standing("leader", "0", "5", "a,b")]), Some(0));
        assert_eq!(leader(&[None]), None);
    }
}
