//! Where a server stands, as it says itself: `stats cluster`.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a server may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// What one server says.
#[derive(Clone, Debug, Default)]
pub struct Standing(HashMap<String, String>);

impl Standing {
    pub fn ask(server: SocketAddr) -> io::Result<Self> {
        let mut stream = TcpStream::connect_timeout(&server, ANSWER_TIMEOUT)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.write_all(b"stats cluster\r\n")?;
        let mut stats = HashMap::new();
        for line in BufReader::new(stream).lines() {
            let line = line?;
            let mut words = line.split(' ');
            match (words.next(), words.next(), words.next()) {
                (Some("STAT"), Some(name), Some(value)) => stats.insert(name.to_owned(), value.to_owned()),
                _ => break,
            };
        }
        Ok(Self(stats))
    }

    fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    fn leads(&self) -> bool {
        self.text("role") == "leader" && self.text("serving") == "1"
    }

    fn members(&self) -> usize {
        self.text("members").split(',').filter(|name| !["", "none"].contains(name)).count()
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of epoch {} with {} members", self.text("role"), self.text("epoch"), self.members())
    }
}

/// The leader's place, if all are members of one epoch and one leads the others.
pub fn whole(standings: &[Option<Standing>]) -> Option<usize> {
    let leader = standings.iter().position(|one| one.as_ref().is_some_and(Standing::leads))?;
    let epoch = standings[leader].as_ref()?.text("epoch");
    let belongs = |(place, one): (usize, &Option<Standing>)| {
        one.as_ref().is_some_and(|one| {
            let follows = place == leader || one.text("role") == "follower";
            follows && one.text("epoch") == epoch && one.members() == standings.len()
        })
    };
    standings.iter().enumerate().all(belongs).then_some(leader)
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
        assert_eq!(whole(&[follows.clone(), leads.clone()]), Some(1));
        let others = [
            None,
            standing("follower", "0", "3", "a,b"),
            standing("follower", "0", "4", "a,b,c"),
            standing("learner", "0", "4", "a,b"),
        ];
        for other in others {
            assert_eq!(whole(&[other.clone(), leads.clone()]), None, "{other:?}");
        }
        assert_eq!(whole(&[follows.clone(), follows]), None);
        assert_eq!(whole(&[standing("leader", "0", "1", "a")]), None, "its no-op is not committed");
    }
}
