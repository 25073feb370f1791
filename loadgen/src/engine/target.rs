//! Where connections go: to servers by name, or to whichever a load balancer names first at the time.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::{TcpStream, UnixStream, tcp, unix};
use tokio::time::timeout;

use crate::failure::{Failure, While};

/// A connection that does not stand after this time is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The end of a connection that a server listens at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Address and port.
    Tcp(SocketAddr),
    /// Path of a unix socket.
    Unix(PathBuf),
}

impl Endpoint {
    /// From `HOST:PORT`.
    ///
    /// # Errors
    /// When the name has no address.
    pub fn resolve(name: &str) -> Result<Self, Failure> {
        let mut addresses =
            name.to_socket_addrs().during(format_args!("looking up {name}, which must be HOST:PORT"))?;
        addresses.next().map(Self::Tcp).ok_or_else(|| Failure::new(format!("{name} has no address")))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Where the connections of a load go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// To these servers in turn, each of which has all keys. None of the connections may end.
    Servers(Vec<Endpoint>),
    /// To the first server that this load balancer names and that can be reached; a connection that ends is made again.
    Balancer(String),
}

/// The half of a connection that is read from, when the runtime's reactor says that there is something. A read by the ring
/// would be there as soon, but arms a poll and completes by task work for each one, which without multishot receive is a
/// tenth more CPU time for a request where one is in flight.
pub enum Incoming {
    Tcp(tcp::OwnedReadHalf),
    Unix(unix::OwnedReadHalf),
}

/// The half of a connection that is written to.
pub enum Outgoing {
    Tcp(tcp::OwnedWriteHalf),
    Unix(unix::OwnedWriteHalf),
}

/// Connects without holding up the thread.
///
/// # Errors
/// When the connection does not stand after [`CONNECT_TIMEOUT`].
pub async fn open(endpoint: &Endpoint) -> io::Result<(Incoming, Outgoing)> {
    match endpoint {
        Endpoint::Tcp(address) => {
            let stream = in_time(TcpStream::connect(address)).await?;
            stream.set_nodelay(true)?;
            let (incoming, outgoing) = stream.into_split();
            Ok((Incoming::Tcp(incoming), Outgoing::Tcp(outgoing)))
        }
        Endpoint::Unix(path) => {
            let (incoming, outgoing) = in_time(UnixStream::connect(path)).await?.into_split();
            Ok((Incoming::Unix(incoming), Outgoing::Unix(outgoing)))
        }
    }
}

impl Incoming {
    /// Reads at least one byte to `buffer[at..]`; how many, 0 at the end.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = ReadBuf::new(buffer);
        poll_fn(|context| match self {
            Self::Tcp(half) => Pin::new(half).poll_read(context, &mut filled),
            Self::Unix(half) => Pin::new(half).poll_read(context, &mut filled),
        })
        .await?;
        Ok(filled.filled().len())
    }
}

impl Outgoing {
    /// Sends as much as the socket has room for, which may be nothing.
    #[inline]
    pub fn send_now(&self, bytes: &[u8]) -> io::Result<usize> {
        let sent = match self {
            Self::Tcp(half) => half.try_write(bytes),
            Self::Unix(half) => half.try_write(bytes),
        };
        match sent {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            sent => sent,
        }
    }

    /// Waits until there is room in the socket, or its end is known.
    pub async fn until_room(&self) -> io::Result<()> {
        match self {
            Self::Tcp(half) => half.writable().await,
            Self::Unix(half) => half.writable().await,
        }
    }

    /// Ends the connection, so that who reads sees its end.
    pub fn end(&self) {
        let both = rustix::net::Shutdown::Both;
        // fails only when the other side has ended it already
        let _ = match self {
            Self::Tcp(half) => rustix::net::shutdown(half.as_ref(), both),
            Self::Unix(half) => rustix::net::shutdown(half.as_ref(), both),
        };
    }
}

async fn in_time<T>(connecting: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(CONNECT_TIMEOUT, connecting).await.map_err(|_| io::ErrorKind::TimedOut)?
}
