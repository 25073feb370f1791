//! The client of a whole cluster (C3): learns the servers from the load balancer, connects to all of them at once, and goes
//! on at another when one fails.
//!
//! A read is asked at the next server. A write goes to another only when it is certain that it was not done: it was never
//! sent, or the server said so. When its outcome is unknown it is said to be (C2), unless the user would rather have it
//! done twice.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::reply::{Fault, Reply};
use super::request::Request;
use super::roster::{BalancerAt, RosterError};
use super::session::{Server, Session, SessionError, runtime};
use crate::proto::reply as texts;

/// A server that does not take a connection, or says nothing to a read, for so long is passed over.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two rounds through all servers.
const PAUSE: Duration = Duration::from_millis(20);
/// sysexits: nobody can be reached.
const EX_UNAVAILABLE: u8 = 69;

/// A cluster, seen by a client.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// Who knows the servers.
    pub balancer: BalancerAt,
    /// How long servers are looked for, and longest wait for the next byte of an answer to a write.
    pub timeout: Duration,
    /// Whether a write that may be done twice is sent again when its outcome is unknown.
    pub resend: bool,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum FleetError {
    /// The load balancer says nothing.
    Roster(RosterError),
    /// It knows of no server.
    NoServer(String),
    /// The last server that was tried, or the one where a write's outcome became unknown.
    Session(SessionError),
}

impl FleetError {
    /// The exit status of sysexits.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Roster(error) => error.exit_code(),
            Self::NoServer(_) => EX_UNAVAILABLE,
            Self::Session(error) => error.exit_code(),
        }
    }
}

impl fmt::Display for FleetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Roster(error) => error.fmt(f),
            Self::NoServer(name) => {
                write!(f, "the load balancer at {name} knows of no server: start one with store addsrv --lb {name}.")
            }
            Self::Session(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for FleetError {}

/// How one server's turn ended without an answer to give.
enum Turn {
    /// It was not done there, as the server said itself or as is known without.
    Passed(Result<Vec<Reply>, FleetError>),
    /// It may be done or not.
    Unknown(SessionError),
    /// No other server is tried.
    Over(SessionError),
}

impl Fleet {
    /// Sends one request to one of the servers, on a ring of its own.
    ///
    /// # Errors
    /// Why no server gave a full answer.
    pub fn call(&self, request: &Request) -> Result<Vec<Reply>, FleetError> {
        runtime().map_err(|error| FleetError::Session(SessionError::Ring(error)))?.block_on(self.find_answer(request))
    }

    async fn find_answer(&self, request: &Request) -> Result<Vec<Reply>, FleetError> {
        let end = Instant::now() + self.timeout;
        let mut servers = Vec::new();
        let mut unknown = None;
        loop {
            match self.balancer.servers().await {
                Ok(found) => servers = found,
                // while it is down the servers go on
                Err(error) if servers.is_empty() => return Err(FleetError::Roster(error)),
                Err(_) => {}
            }
            let mut last = Err(FleetError::NoServer(self.balancer.name.clone()));
            let connecting: Vec<_> = servers.iter().map(|&server| self.connect(server, request.is_write())).collect();
            for connection in connecting {
                let turn = match connection.await.expect("a task of ours does not panic") {
                    Ok(session) => self.turn(session, request).await,
                    Err(error) => Err(Turn::Passed(Err(FleetError::Session(error)))),
                };
                match turn {
                    Ok(replies) => return Ok(replies),
                    Err(Turn::Over(error)) => return Err(FleetError::Session(error)),
                    Err(Turn::Unknown(error)) => unknown = Some(error),
                    Err(Turn::Passed(word)) => last = word,
                }
            }
            if Instant::now() >= end {
                // what others say now is no word on what was sent before
                return unknown.map_or(last, |error| Err(FleetError::Session(error)));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Begins to connect.
    fn connect(&self, server: SocketAddr, write: bool) -> tokio::task::JoinHandle<Result<Session, SessionError>> {
        let patience = self.timeout.min(PATIENCE);
        let server = Server { name: server.to_string(), timeout: patience };
        // asking another server is no way out for a write: the one that has it gets all the time there is
        let answer = if write { self.timeout } else { patience };
        tokio_uring::spawn(async move {
            let mut session = server.open().await?;
            session.wait_for(answer);
            Ok(session)
        })
    }

    async fn turn(&self, mut session: Session, request: &Request) -> Result<Vec<Reply>, Turn> {
        match session.call(request).await {
            Ok(replies) if passes_on(&replies) => Err(Turn::Passed(Ok(replies))),
            Ok(replies) => Ok(replies),
            Err(error @ SessionError::NotMemcached(..)) => Err(Turn::Over(error)),
            Err(error) if !request.is_write() => Err(Turn::Passed(Err(FleetError::Session(error)))),
            Err(error) if self.resend && request.may_be_repeated() => Err(Turn::Unknown(error)),
            Err(error) => Err(Turn::Over(error)),
        }
    }
}

/// Whether a server said that it did nothing and that another may do it.
fn passes_on(replies: &[Reply]) -> bool {
    let Some(Reply::Refused(Fault::Server, text)) = replies.last() else { return false };
    [texts::NO_LEADER, texts::NO_LEASE].iter().any(|known| known.as_bytes() == &text[..])
}
