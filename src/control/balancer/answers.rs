//! What clients ask the load balancer and what they are told. Pure.
//!
//! ```text
//! get-servers          ip:port of each server, the one to use first, then end
//! config get cluster   the auto-discovery that memcached clients for managed clouds speak
//! status               everything that is known, as JSON
//! unsafe-recover NODE  an operator's last resort, see `CoordinatorInput::UnsafeRecover`; from this machine only
//! ```

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::cluster::{Configuration, Member};
use crate::contact::Contact;
use crate::control::json;
use crate::log::NodeId;
use crate::transport::Counts;

/// A line that a client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// `get-servers`
    Servers,
    /// `config get cluster`
    Cluster,
    /// `status`
    Status,
    /// `unsafe-recover NODE [confirmed]`: an operator wants that server to lead (D3).
    Force {
        /// Its name.
        node: NodeId,
        /// Whether the operator knows what may be lost.
        confirmed: bool,
    },
    /// `version`
    Version,
    /// `quit`
    Quit,
}

/// Which server a client is told to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Route {
    /// The leader: writes go the shortest way.
    #[default]
    Leader,
    /// Each in turn.
    RoundRobin,
    /// The one that answered the fewest requests of late.
    LeastRequests,
}

impl Ask {
    /// What a line without its end asks, if anything.
    #[must_use]
    pub fn parse(line: &[u8]) -> Option<Self> {
        let words: Vec<&[u8]> = line.split(|&byte| byte == b' ').filter(|word| !word.is_empty()).collect();
        match words.as_slice() {
            [b"get-servers"] => Some(Self::Servers),
            [b"config", b"get", b"cluster"] => Some(Self::Cluster),
            [b"status"] => Some(Self::Status),
            [b"unsafe-recover", node] => Self::force(node, false),
            [b"unsafe-recover", node, b"confirmed"] => Self::force(node, true),
            [b"version"] => Some(Self::Version),
            [b"quit"] => Some(Self::Quit),
            _ => None,
        }
    }

    /// A server is named as `status` names it.
    fn force(node: &[u8], confirmed: bool) -> Option<Self> {
        let node = std::str::from_utf8(node).ok().filter(|node| node.len() == 16)?;
        u64::from_str_radix(node, 16).ok().map(|node| Self::Force { node: NodeId(node), confirmed })
    }
}

/// Chooses servers; remembers whose turn it is.
#[derive(Debug, Default)]
pub struct Router {
    route: Route,
    turn: usize,
    /// Requests that each answered in the last round of asking.
    requests: BTreeMap<NodeId, u64>,
}

impl Router {
    /// A router that goes by `route`.
    #[must_use]
    pub fn new(route: Route) -> Self {
        Self { route, ..Self::default() }
    }

    /// So many requests were answered by that server since it was asked before.
    pub fn note_requests(&mut self, node: NodeId, requests: u64) {
        self.requests.insert(node, requests);
    }

    /// The members with the one to use first, each once.
    pub fn order<'a>(&mut self, configuration: &'a Configuration) -> Vec<&'a Member> {
        let mut members: Vec<&Member> = configuration.members.iter().collect();
        let first = match self.route {
            Route::Leader => members.iter().position(|member| member.node == configuration.leader),
            Route::RoundRobin => {
                self.turn = self.turn.wrapping_add(1);
                Some(self.turn % members.len())
            }
            Route::LeastRequests => {
                self.requests.retain(|node, _| configuration.has(*node));
                let asked = |member: &Member| self.requests.get(&member.node).copied().unwrap_or(0);
                (0..members.len()).min_by_key(|&at| asked(members[at]))
            }
        };
        let first = first.expect("a configuration has members and its leader is one");
        // counted until the next round tells better, so that not all go the same way meanwhile
        *self.requests.entry(members[first].node).or_default() += 1;
        members.rotate_left(first);
        members
    }
}

fn clients(member: &Member) -> Option<std::net::SocketAddr> {
    member.contact.parse::<Contact>().ok().map(|contact| contact.clients)
}

/// `get-servers`: no line but the end while there is no server.
#[must_use]
pub fn servers(order: &[&Member]) -> String {
    let mut text = String::new();
    for address in order.iter().copied().filter_map(clients) {
        write!(text, "{address}\r\n").expect("a string takes all");
    }
    text + "end\r\n"
}

/// `config get cluster`: the epoch is the version of the list.
#[must_use]
pub fn cluster(epoch: u64, order: &[&Member]) -> String {
    let nodes: Vec<String> = order
        .iter()
        .copied()
        .filter_map(clients)
        .map(|address| format!("{0}|{0}|{1}", address.ip(), address.port()))
        .collect();
    let payload = format!("{epoch}\n{}\n", nodes.join(" "));
    format!("CONFIG cluster 0 {}\r\n{payload}\r\nEND\r\n", payload.len())
}

/// `status`: one line of JSON.
#[must_use]
pub fn status(configuration: Option<&Configuration>, registered: &[Member], counts: &Counts) -> String {
    let mut out = String::from("{");
    if let Some(configuration) = configuration {
        let Configuration { cluster, epoch, leader, members, min_insync, forced, .. } = configuration;
        write!(out, "\"cluster\":\"{:032x}\",\"epoch\":{},", cluster.0, epoch.0).expect("a string takes all");
        write!(
            out,
            "\"min_insync\":{min_insync},\"forced\":{},\"leader\":\"{:016x}\",\"members\":[",
            forced.0, leader.0
        )
        .expect("a string takes all");
        for (at, member) in members.iter().enumerate() {
            let role = if member.node == *leader { "leader" } else { "follower" };
            put_server(&mut out, at, member, role);
        }
        out.push_str("],");
    }
    out.push_str("\"registered\":[");
    let outside = registered.iter().filter(|member| configuration.is_none_or(|one| !one.has(member.node)));
    for (at, member) in outside.enumerate() {
        put_server(&mut out, at, member, "outside");
    }
    let Counts { datagrams_sent, datagrams_received, refused_forged, refused_replayed, refused_foreign, .. } = counts;
    write!(
        out,
        "],\"datagrams\":{{\"sent\":{datagrams_sent},\"received\":{datagrams_received},\"forged\":{refused_forged},\
         \"replayed\":{refused_replayed},\"foreign\":{refused_foreign}}}}}\r\n"
    )
    .expect("a string takes all");
    out
}

fn put_server(out: &mut String, at: usize, member: &Member, role: &str) {
    if at > 0 {
        out.push(',');
    }
    write!(out, "{{\"node\":\"{:016x}\",\"role\":\"{role}\",\"contact\":", member.node.0).expect("a string takes all");
    json::string(out, &member.contact);
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Epoch, Incarnation, LogId};

    fn member(node: u64) -> Member {
        Member { node: NodeId(node), contact: format!("10.0.0.{node}:11211 10.0.0.{node}:12211") }
    }

    fn configuration() -> Configuration {
        Configuration {
            cluster: LogId(0xAB),
            epoch: Epoch(7),
            leader: NodeId(2),
            leader_incarnation: Incarnation(1),
            members: vec![member(1), member(2), member(3)],
            min_insync: 2,
            forced: Epoch(0),
        }
    }

    #[test]
    fn a_line_is_what_it_says_or_nothing() {
        assert_eq!(Ask::parse(b"get-servers"), Some(Ask::Servers));
        assert_eq!(Ask::parse(b"config get cluster"), Some(Ask::Cluster));
        assert_eq!(Ask::parse(b"status"), Some(Ask::Status));
        let force = |confirmed| Some(Ask::Force { node: NodeId(0xAB), confirmed });
        assert_eq!(Ask::parse(b"unsafe-recover 00000000000000ab"), force(false));
        assert_eq!(Ask::parse(b"unsafe-recover 00000000000000ab confirmed"), force(true));
        assert_eq!(Ask::parse(b"unsafe-recover 00000000000000ab yes"), None);
        assert_eq!(Ask::parse(b"unsafe-recover ab"), None);
        for line in [&b""[..], b"get-servers now", b"GET-SERVERS", b"config get", b"config set cluster", b"\x80"] {
            assert_eq!(Ask::parse(line), None, "{line:?}");
        }
    }

    #[test]
    fn the_leader_is_the_first() {
        let configuration = configuration();
        let order = Router::new(Route::Leader).order(&configuration);
        assert_eq!(servers(&order), "10.0.0.2:11211\r\n10.0.0.3:11211\r\n10.0.0.1:11211\r\nend\r\n");
        let expected = "7\n10.0.0.2|10.0.0.2|11211 10.0.0.3|10.0.0.3|11211 10.0.0.1|10.0.0.1|11211\n";
        let text = format!("CONFIG cluster 0 {}\r\n{expected}\r\nEND\r\n", expected.len());
        assert_eq!(cluster(7, &order), text);
        assert_eq!(servers(&[]), "end\r\n");
    }

    #[test]
    fn each_has_its_turn_and_the_idle_one_is_chosen() {
        let configuration = configuration();
        let firsts = |router: &mut Router, count: usize| -> Vec<u64> {
            (0..count).map(|_| router.order(&configuration)[0].node.0).collect()
        };
        let mut router = Router::new(Route::RoundRobin);
        assert_eq!(firsts(&mut router, 4), [2, 3, 1, 2]);
        let mut router = Router::new(Route::LeastRequests);
        for (node, requests) in [(1, 50), (2, 10), (3, 12)] {
            router.note_requests(NodeId(node), requests);
        }
        assert_eq!(firsts(&mut router, 5), [2, 2, 2, 3, 2], "two requests of difference are soon made up for");
    }

    #[test]
    fn a_status_is_json() {
        let registered = [member(3), member(4)];
        let text = status(Some(&configuration()), &registered, &Counts::default());
        let expected = "{\"cluster\":\"000000000000000000000000000000ab\",\"epoch\":7,\"min_insync\":2,\"forced\":0,";
        assert!(text.starts_with(expected), "{text}");
        assert!(
            text.contains("{\"node\":\"0000000000000002\",\"role\":\"leader\",\"contact\":\"10.0.0.2:11211 "),
            "{text}"
        );
        assert_eq!(text.matches("\"outside\"").count(), 1, "a member is told of once: {text}");
        let nobody = status(None, &[], &Counts::default());
        assert!(nobody.starts_with("{\"registered\":[],") && nobody.ends_with("}\r\n"), "{nobody}");
    }
}
