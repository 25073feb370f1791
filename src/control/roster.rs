//! What the load balancer knows of the cluster: asked over TCP, read from its `status`.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::timeout;
use tokio_uring::net::TcpStream;

use super::address;
use super::json::Value;
use crate::contact::Contact;

/// Port that a load balancer listens on unless told otherwise.
pub const BALANCER_PORT_DEFAULT: u16 = 11200;
/// More than any load balancer's answer.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// sysexits: it cannot be reached.
const EX_UNAVAILABLE: u8 = 69;
/// sysexits: something else answers.
const EX_PROTOCOL: u8 = 76;

/// A cluster, as its load balancer sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// Its id, in hexadecimal; nothing before the first server came.
    pub cluster: Option<String>,
    /// The epoch; 0 before the first.
    pub epoch: u64,
    /// With fewer members writes are refused.
    pub min_insync: u64,
    /// The newest epoch in which an operator forced a leader; 0 for none.
    pub forced: u64,
    /// Members first, the leader first of all, then servers that have registered and are no members.
    pub servers: Vec<Listed>,
}

/// A server in a roster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name, in hexadecimal.
    pub node: String,
    /// Its part, to the load balancer's knowledge.
    pub part: Part,
    /// Where it is reached.
    pub contact: Contact,
}

/// A server's part in the newest configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// It leads.
    Leader,
    /// It is a member and follows.
    Follower,
    /// It is no member.
    Outside,
}

impl Roster {
    /// The members, the leader first.
    pub fn members(&self) -> impl Iterator<Item = &Listed> {
        self.servers.iter().filter(|server| server.part != Part::Outside)
    }

    /// From a load balancer's `status`; nothing when it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let status = Value::parse(text)?;
        status.get("registered")?;
        let mut servers = Vec::new();
        for value in status.list("members").iter().chain(status.list("registered")) {
            let part = match value.text("role")? {
                "leader" => Part::Leader,
                "follower" => Part::Follower,
                _ => Part::Outside,
            };
            let contact = value.text("contact")?.parse().ok()?;
            servers.push(Listed { node: value.text("node")?.to_owned(), part, contact });
        }
        servers.sort_by_key(|server| server.part);
        let number = |name| status.number(name).unwrap_or(0);
        let cluster = status.text("cluster").map(str::to_owned);
        Some(Self {
            cluster,
            epoch: number("epoch"),
            min_insync: number("min_insync"),
            forced: number("forced"),
            servers,
        })
    }
}

/// Why there is no roster.
#[derive(Debug)]
pub enum RosterError {
    /// No answer from the load balancer.
    Unreachable(String, io::Error),
    /// What answered is no load balancer.
    NotBalancer(String),
}

impl RosterError {
    /// The exit status of sysexits.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Unreachable(..) => EX_UNAVAILABLE,
            Self::NotBalancer(_) => EX_PROTOCOL,
        }
    }
}

impl fmt::Display for RosterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(name, error) => write!(
                f,
                "the load balancer at {name} cannot be reached ({error}): start it with store addlb, or name another with \
                 --lb HOST:PORT."
            ),
            Self::NotBalancer(name) => write!(
                f,
                "what {name} answers is not a load balancer's word: name the port of store addlb with --lb HOST:PORT."
            ),
        }
    }
}

impl std::error::Error for RosterError {}

/// A load balancer, and how long to wait for it.
#[derive(Clone, Debug)]
pub struct BalancerAt {
    /// `HOST:PORT`, as the user gave it.
    pub name: String,
    /// Longest wait for the connection, and for each part of the answer.
    pub timeout: Duration,
}

impl BalancerAt {
    /// Asks for its status. To be called on a tokio-uring runtime.
    ///
    /// # Errors
    /// When no status comes.
    pub async fn roster(&self) -> Result<Roster, RosterError> {
        let text = self.ask("status", "\n").await?;
        Roster::parse(&text).ok_or_else(|| RosterError::NotBalancer(self.name.clone()))
    }

    /// Asks which servers a client should use, the first first. To be called on a tokio-uring runtime.
    ///
    /// # Errors
    /// When no list comes.
    pub async fn servers(&self) -> Result<Vec<SocketAddr>, RosterError> {
        let text = self.ask("get-servers", "end\r\n").await?;
        let lines: Vec<&str> = text.lines().filter(|line| *line != "end").collect();
        let addresses: Result<_, _> = lines.into_iter().map(str::parse).collect();
        addresses.map_err(|_| RosterError::NotBalancer(self.name.clone()))
    }

    /// What it answers to a command, up to `end`.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn ask(&self, command: &str, end: &str) -> Result<String, RosterError> {
        let unreachable = |error| RosterError::Unreachable(self.name.clone(), error);
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in address::resolve(&self.name, BALANCER_PORT_DEFAULT).map_err(unreachable)? {
            match self.ask_at(address, command, end).await {
                Ok(Some(text)) => return Ok(text),
                Ok(None) => return Err(RosterError::NotBalancer(self.name.clone())),
                Err(error) => last = error,
            }
        }
        Err(unreachable(last))
    }

    /// Nothing when what comes is no load balancer's answer.
    async fn ask_at(&self, address: SocketAddr, command: &str, end: &str) -> io::Result<Option<String>> {
        let late = |_| io::Error::from_raw_os_error(libc::ETIMEDOUT);
        let stream = timeout(self.timeout, TcpStream::connect(address)).await.map_err(late)??;
        let sent = stream.write_all(format!("{command}\r\n").into_bytes());
        timeout(self.timeout, sent).await.map_err(late)?.0?;
        let mut text = Vec::new();
        while !text.ends_with(end.as_bytes()) {
            let (read, buffer) = timeout(self.timeout, stream.read(vec![0; 4096])).await.map_err(late)?;
            match read? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read if text.len() + read > ANSWER_BYTES_MAX => return Ok(None),
                read => text.extend_from_slice(&buffer[..read]),
            }
            // memcached's word for a command that it does not know
            if text.starts_with(b"ERROR") {
                return Ok(None);
            }
        }
        Ok(String::from_utf8(text).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Configuration, Member};
    use crate::control::balancer::answers;
    use crate::log::{Epoch, Incarnation, LogId, NodeId};
    use crate::transport::Counts;

    #[test]
    fn what_a_load_balancer_says_is_understood() {
        let member =
            |node: u64| Member { node: NodeId(node), contact: format!("10.0.0.{node}:11211 10.0.0.{node}:12211") };
        let configuration = Configuration {
            cluster: LogId(0xAB),
            epoch: Epoch(7),
            leader: NodeId(2),
            leader_incarnation: Incarnation(1),
            members: vec![member(1), member(2)],
            min_insync: 2,
            forced: Epoch(3),
        };
        let text = answers::status(Some(&configuration), &[member(2), member(9)], &Counts::default());
        let roster = Roster::parse(&text).expect("a status");
        assert_eq!((roster.epoch, roster.min_insync, roster.forced), (7, 2, 3));
        assert_eq!(roster.cluster.as_deref(), Some("000000000000000000000000000000ab"));
        let seen: Vec<(Part, &str)> = roster.servers.iter().map(|one| (one.part, &one.node[14..])).collect();
        assert_eq!(seen, [(Part::Leader, "02"), (Part::Follower, "01"), (Part::Outside, "09")]);
        assert_eq!(roster.servers[2].contact.clients.to_string(), "10.0.0.9:11211");
        assert_eq!(roster.members().count(), 2);

        let nobody = Roster::parse(&answers::status(None, &[], &Counts::default())).expect("a status");
        assert_eq!(nobody, Roster::default());
        for text in ["ERROR", "{}", "STAT pid 1"] {
            assert_eq!(Roster::parse(text), None, "{text}");
        }
    }
}
