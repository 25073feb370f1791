//! A look at a whole cluster: the load balancer and each server it knows are asked, all at once, and what does not answer is
//! noted as such.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::reply::Reply;
use super::request::Request;
use super::roster::{Listed, Roster};
use super::session::{Server, SessionError};

/// A server that has not answered for so long is taken for unreachable.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// A cluster as it was found.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// What the load balancer knows.
    pub roster: Roster,
    /// Each server of the roster, in its order.
    pub servers: Vec<Seen>,
}

/// A server as it was found.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What the load balancer says of it.
    pub listed: Listed,
    /// What it says itself, or why it says nothing.
    pub said: Result<Said, String>,
}

/// What a server says of itself.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// `stats`.
    pub general: BTreeMap<String, String>,
    /// `stats cluster`.
    pub cluster: BTreeMap<String, String>,
}

impl Said {
    /// A number of `stats`, 0 where there is none.
    #[must_use]
    pub fn count(&self, name: &str) -> u64 {
        self.general.get(name).and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    /// A number of `stats cluster`, 0 where there is none.
    #[must_use]
    pub fn number(&self, name: &str) -> u64 {
        self.cluster.get(name).and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    /// A word of `stats cluster`, `none` where there is none.
    #[must_use]
    pub fn word(&self, name: &str) -> &str {
        self.cluster.get(name).map_or("none", String::as_str)
    }
}

/// Asks every server of the roster. To be called on a tokio-uring runtime.
pub async fn survey(roster: Roster) -> Survey {
    let asking: Vec<_> =
        roster.servers.iter().map(|listed| tokio_uring::spawn(ask(listed.contact.clients.to_string()))).collect();
    let mut servers = Vec::new();
    for (listed, asked) in roster.servers.iter().zip(asking) {
        let said = asked.await.expect("a task of ours does not panic");
        servers.push(Seen { listed: listed.clone(), said });
    }
    Survey { roster, servers }
}

/// What the server at `name` says of itself, within a bounded time; why it says nothing. To be called on a tokio-uring
/// runtime.
///
/// # Errors
/// When it does not answer in full.
pub async fn ask(name: String) -> Result<Said, String> {
    let server = Server { name, timeout: PATIENCE };
    let asked = async {
        let mut session = server.open().await.map_err(reason)?;
        let mut stats = async |arguments: &[&'static str]| {
            let words = arguments.iter().map(|word| Bytes::from_static(word.as_bytes())).collect();
            let request = Request::stats(words).expect("words of ours");
            session.call(&request).await.map(|replies| lines(&replies)).map_err(reason)
        };
        Ok(Said { cluster: stats(&["cluster"]).await?, general: stats(&[]).await? })
    };
    timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err("it does not answer".to_owned()))
}

/// In few words: what to do about it depends on who asked.
fn reason(error: SessionError) -> String {
    match error {
        SessionError::Unreachable(_, error) => error.to_string(),
        SessionError::Ended { .. } => "it ended the connection".to_owned(),
        SessionError::Silent { .. } => "it does not answer".to_owned(),
        SessionError::NotMemcached(..) => "it speaks another protocol".to_owned(),
        error => error.to_string(),
    }
}

fn lines(replies: &[Reply]) -> BTreeMap<String, String> {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let stat = |reply: &Reply| match reply {
        Reply::Stat { name, value } => Some((text(name), text(value))),
        _ => None,
    };
    replies.iter().filter_map(stat).collect()
}
