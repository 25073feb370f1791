//! Where connections go: to servers by name, or to whichever a load balancer names first at the time.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use rustix::net::{SendFlags, send};
use tokio::time::timeout;
use tokio_uring::buf::BoundedBufMut;
use tokio_uring::net::{TcpStream, UnixStream};

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

/// One side of a connection that bytes are read from.
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection. Bytes are sent by a call that never waits, and received by the ring.
pub struct Connection {
    stream: Stream,
    /// The same socket again, for calls that need no ring.
    socket: OwnedFd,
}

impl Connection {
    /// Connects without holding up the thread.
    ///
    /// # Errors
    /// When the connection does not stand after [`CONNECT_TIMEOUT`].
    pub async fn open(endpoint: &Endpoint) -> io::Result<Self> {
        // a read by the ring waits in the kernel, which it does not on a socket that never blocks
        match endpoint {
            Endpoint::Tcp(address) => {
                let stream = in_time(tokio::net::TcpStream::connect(address)).await?.into_std()?;
                stream.set_nodelay(true)?;
                stream.set_nonblocking(false)?;
                let socket = stream.try_clone()?.into();
                Ok(Self { stream: Stream::Tcp(TcpStream::from_std(stream)), socket })
            }
            Endpoint::Unix(path) => {
                let stream = in_time(tokio::net::UnixStream::connect(path)).await?.into_std()?;
                stream.set_nonblocking(false)?;
                let socket = stream.try_clone()?.into();
                Ok(Self { stream: Stream::Unix(UnixStream::from_std(stream)), socket })
            }
        }
    }

    /// Reads at least one byte into the buffer; 0 at the end.
    pub async fn read<B: BoundedBufMut>(&self, buffer: B) -> (io::Result<usize>, B) {
        match &self.stream {
            Stream::Tcp(stream) => stream.read(buffer).await,
            Stream::Unix(stream) => stream.read(buffer).await,
        }
    }

    /// Sends as much as the socket has room for, which may be nothing.
    #[inline]
    pub fn send_now(&self, bytes: &[u8]) -> io::Result<usize> {
        match send(&self.socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(sent) => Ok(sent),
            Err(rustix::io::Errno::AGAIN) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends some of the bytes, and waits until there is room for them.
    pub async fn send(&self, bytes: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        match &self.stream {
            Stream::Tcp(stream) => stream.write(bytes).submit().await,
            Stream::Unix(stream) => stream.write(bytes).submit().await,
        }
    }

    /// Ends the connection, so that who reads sees its end.
    pub fn end(&self) {
        // fails only when the other side has ended it already
        let _ = rustix::net::shutdown(self.socket.as_fd(), rustix::net::Shutdown::Both);
    }
}

async fn in_time<T>(connecting: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(CONNECT_TIMEOUT, connecting).await.map_err(|_| io::ErrorKind::TimedOut)?
}
