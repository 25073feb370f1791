//! The cluster that loses a server: one that was started here, or one that somebody else runs. What is done to it, and how it is
//! made whole again.

use std::fmt;
use std::net::SocketAddr;
use std::process::Command;
use std::str::FromStr;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use ringstore::control::address;
use ringstore::control::reply::Reply;
use ringstore::control::request::Request;
use ringstore::control::roster::{BALANCER_PORT_DEFAULT, BalancerAt};
use ringstore::control::session::{self, Server};
use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::{self, Cluster};
use crate::failure::{Failure, While};

/// How long a load balancer or a server of somebody else's may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// What a command has not ended after this time goes on: it was stopped, or nothing happened to it.
const COMMAND_PATIENCE: Duration = Duration::from_millis(500);

/// Characters of a command that a title shows.
const SHOWN_MAX: usize = 40;

/// What is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// The server that leads
    Leader,
    /// The server that leads, and first the process that tells others of its death
    Guardian,
    /// A server that follows
    Follower,
    /// The load balancer
    Balancer,
}

/// How it is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kill {
    /// By this signal.
    Signal(Signal),
    /// By this command of a shell.
    Command(String),
}

impl FromStr for Kill {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text.trim() {
            "" => return Err("kill, stop, term, or a command".to_owned()),
            "kill" => Self::Signal(Signal::KILL),
            "stop" => Self::Signal(Signal::STOP),
            "term" => Self::Signal(Signal::TERM),
            command => Self::Command(command.to_owned()),
        })
    }
}

impl fmt::Display for Kill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(Signal::STOP) => f.write_str("SIGSTOP"),
            Self::Signal(Signal::TERM) => f.write_str("SIGTERM"),
            Self::Signal(_) => f.write_str("kill -9"),
            Self::Command(command) => match command.char_indices().nth(SHOWN_MAX) {
                Some((end, _)) => write!(f, "`{}...`", &command[..end]),
                None => write!(f, "`{command}`"),
            },
        }
    }
}

impl Target {
    /// In words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Leader => "the leader",
            Self::Guardian => "the leader and its guardian",
            Self::Follower => "a follower",
            Self::Balancer => "the load balancer",
        }
    }
}

/// A cluster.
pub enum Site {
    /// Ours, ended with this value.
    Local(Box<Cluster>),
    /// Somebody else's.
    Remote(Remote),
}

/// A cluster that somebody else runs.
pub struct Remote {
    balancer: SocketAddr,
    servers: Vec<SocketAddr>,
    /// What brings a server back; nothing when it comes by itself.
    restore: Option<String>,
    /// A process of this machine that was stopped.
    stopped: Option<Pid>,
}

impl Remote {
    /// The cluster of the load balancer at `HOST[:PORT]`.
    ///
    /// # Errors
    /// When it does not answer or knows no server.
    pub fn find(balancer: &str, restore: Option<String>) -> Result<Self, Failure> {
        let at = BalancerAt { name: balancer.to_owned(), timeout: ANSWER_TIMEOUT };
        let runtime = session::runtime().during("asking the load balancer")?;
        let roster = runtime.block_on(at.roster()).map_err(|error| Failure::new(error.to_string()))?;
        let servers = roster.servers.iter().map(|server| server.contact.clients).collect::<Vec<_>>();
        if servers.len() < 2 {
            let words = format!("{balancer} knows {} servers: a failover takes two at least", servers.len());
            return Err(Failure::new(words));
        }
        let found = address::resolve(balancer, BALANCER_PORT_DEFAULT).during(format_args!("looking up {balancer}"))?;
        let balancer = found.first().copied().ok_or_else(|| Failure::new(format!("{balancer} has no address")))?;
        Ok(Self { balancer, servers, restore, stopped: None })
    }

    /// The process of a server on this machine, as it says itself.
    fn process(&self, place: usize) -> Result<Pid, Failure> {
        let address = self.servers[place];
        if !address.ip().is_loopback() {
            let words = format!(
                "{address} is another machine's: give --kill a command, such as 'ssh {{host}} pkill -9 -x store'"
            );
            return Err(Failure::new(words));
        }
        let server = Server { name: address.to_string(), timeout: ANSWER_TIMEOUT };
        let stats = server.call(&Request::Stats(Vec::new())).map_err(|error| Failure::new(error.to_string()))?;
        let id = stats.iter().find_map(|reply| match reply {
            Reply::Stat { name, value } if name == "pid" => std::str::from_utf8(value).ok()?.parse().ok(),
            _ => None,
        });
        id.and_then(Pid::from_raw).ok_or_else(|| Failure::new(format!("{address} does not say its process id")))
    }
}

impl Site {
    /// Where clients reach each server.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        match self {
            Self::Local(cluster) => cluster.addresses(),
            Self::Remote(remote) => remote.servers.clone(),
        }
    }

    /// Where the load balancer is.
    pub fn balancer(&self) -> SocketAddr {
        match self {
            Self::Local(cluster) => cluster.balancer.address,
            Self::Remote(remote) => remote.balancer,
        }
    }

    /// Waits until all servers are members: the leader's place.
    ///
    /// # Errors
    /// When they are not in time.
    pub fn until_whole(&self) -> Result<usize, Failure> {
        match self {
            Self::Local(cluster) => cluster.until_whole(),
            Self::Remote(remote) => cluster::until_whole(&remote.servers).map_err(|failure| {
                let restore =
                    "what was killed must come back for the next kill: give --restore a command, or --kills 1";
                Failure::new(format!("{failure}; {restore}"))
            }),
        }
    }

    /// Does it, to the server in this place where the target is one: when.
    ///
    /// # Errors
    /// When it cannot be done.
    pub fn kill(&mut self, kill: &Kill, target: Target, place: usize) -> Result<Instant, Failure> {
        if let Kill::Command(command) = kill {
            shell(command, if target == Target::Balancer { self.balancer() } else { self.addresses()[place] })?;
            return Ok(Instant::now());
        }
        let Kill::Signal(signal) = *kill else { unreachable!("a command was done above") };
        match (self, target) {
            (Self::Local(cluster), Target::Balancer) => {
                let lost = Instant::now();
                cluster.balancer.signal(signal).map(|()| lost)
            }
            (Self::Local(cluster), Target::Guardian) => {
                let guardian = cluster.servers[place].guardian()?;
                let lost = Instant::now();
                kill_process(guardian, Signal::KILL).during("killing a guardian")?;
                cluster.servers[place].signal(signal).map(|()| lost)
            }
            (Self::Local(cluster), _) => {
                let lost = Instant::now();
                cluster.servers[place].signal(signal).map(|()| lost)
            }
            (Self::Remote(remote), Target::Leader | Target::Follower) => {
                let process = remote.process(place)?;
                let lost = Instant::now();
                kill_process(process, signal).during(format_args!("sending a signal to process {process}"))?;
                remote.stopped = (signal == Signal::STOP).then_some(process);
                Ok(lost)
            }
            (Self::Remote(_), Target::Guardian | Target::Balancer) => {
                let words = format!(
                    "of a cluster that runs elsewhere {} is killed by a command: --kill 'ssh ...'",
                    target.name()
                );
                Err(Failure::new(words))
            }
        }
    }

    /// Brings back what was lost. Whether anything was done for it.
    ///
    /// # Errors
    /// When it cannot be done.
    pub fn restore(&mut self, kill: &Kill, target: Target, place: usize) -> Result<bool, Failure> {
        let is_stopped = *kill == Kill::Signal(Signal::STOP);
        match self {
            Self::Local(cluster) => {
                let balancer = target == Target::Balancer;
                let machine = if balancer { &mut cluster.balancer } else { &mut cluster.servers[place] };
                let is_command = matches!(kill, Kill::Command(_));
                if is_stopped || is_command && !machine.ends_within(COMMAND_PATIENCE)? {
                    machine.signal(Signal::CONT)?; // which is nothing to one that runs
                } else {
                    machine.wait()?;
                    machine.start()?;
                }
                Ok(true)
            }
            Self::Remote(Remote { stopped: Some(process), .. }) => {
                kill_process(*process, Signal::CONT).during("letting a stopped server go on").map(|()| true)
            }
            Self::Remote(Remote { restore: Some(command), servers, balancer, .. }) => {
                let address = if target == Target::Balancer { *balancer } else { servers[place] };
                shell(command, address).map(|()| true)
            }
            Self::Remote(_) => Ok(false),
        }
    }

    /// What it is, in words.
    pub fn describe(&self) -> Vec<(String, String)> {
        match self {
            Self::Local(cluster) => vec![
                ("load balancer".to_owned(), cluster.balancer.command.clone()),
                ("a server".to_owned(), cluster.servers[0].command.clone()),
            ],
            Self::Remote(remote) => {
                let servers = remote.servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                vec![("load balancer".to_owned(), remote.balancer.to_string()), ("servers".to_owned(), servers)]
            }
        }
    }
}

/// Has a shell do it; the server is told by `{host}`, `{port}` and the environment.
fn shell(command: &str, address: SocketAddr) -> Result<(), Failure> {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let text = command.replace("{host}", &host).replace("{port}", &port);
    let status = Command::new("sh")
        .args(["-c", &text])
        .env("LOADGEN_HOST", host)
        .env("LOADGEN_PORT", port)
        .status()
        .during(format_args!("running `{text}`"))?;
    if status.success() { Ok(()) } else { Err(Failure::new(format!("`{text}` ended with {status}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_word_of_ours_is_a_command() {
        assert_eq!("kill".parse(), Ok(Kill::Signal(Signal::KILL)));
        assert_eq!("term".parse(), Ok(Kill::Signal(Signal::TERM)));
        assert_eq!("ssh {host} reboot".parse(), Ok(Kill::Command("ssh {host} reboot".to_owned())));
        assert!(" ".parse::<Kill>().is_err());
    }

    #[test]
    fn a_command_is_told_the_server_and_its_failure_is_ours() {
        let address = "127.0.0.1:4711".parse().expect("an address");
        let check = r#"test "{host} {port}" = "127.0.0.1 4711" && test "$LOADGEN_HOST:$LOADGEN_PORT" = 127.0.0.1:4711"#;
        assert!(shell(check, address).is_ok());
        let failure = shell("exit 3", address).expect_err("it fails").to_string();
        assert!(failure.contains("`exit 3` ended with"), "{failure}");
    }
}
