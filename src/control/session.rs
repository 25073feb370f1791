//! A connection of the client to a server, on tokio-uring.
//!
//! Every wait has a bound. What became of a write whose answer did not come is said to be unknown, never "failed" (C2).

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::timeout;
use tokio_uring::buf::BoundedBuf;
use tokio_uring::net::TcpStream;

use super::address;
use super::reply::{self, Malformed, Reply};
use super::request::Request;

/// Port of a server whose address names none.
const PORT_DEFAULT: u16 = 11211;
/// Bytes sent in one go; the time-out counts anew for each.
const SEND_BYTES: usize = 256 << 10;
/// Room for what the server sends.
const RECEIVE_BYTES: usize = 64 << 10;
/// Submission queue entries: a request to each of some servers is under way at a time.
const RING_ENTRIES: u32 = 64;

/// sysexits: the server cannot be reached.
const EX_UNAVAILABLE: u8 = 69;
/// sysexits: the operating system refused.
const EX_OSERR: u8 = 71;
/// sysexits: no full answer; a later try may succeed.
const EX_TEMPFAIL: u8 = 75;
/// sysexits: the other side speaks something else.
const EX_PROTOCOL: u8 = 76;

/// Why there is no answer.
#[derive(Debug)]
pub enum SessionError {
    /// The kernel refuses io_uring.
    Ring(io::Error),
    /// The server's name has no address.
    NoAddress(String, io::Error),
    /// No connection came about.
    Unreachable(String, io::Error),
    /// The connection ended, or failed, before the answer was complete.
    Ended {
        /// The server.
        server: String,
        /// What the kernel says; nothing when the server closed the connection.
        error: Option<io::Error>,
        /// Whether data may have changed.
        write: bool,
    },
    /// No byte came for the whole time-out.
    Silent {
        /// The server.
        server: String,
        /// The time-out.
        waited: Duration,
        /// Whether data may have changed.
        write: bool,
    },
    /// What came is not the protocol.
    NotMemcached(String, Malformed),
}

impl SessionError {
    /// The exit status of sysexits.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Ring(_) => EX_OSERR,
            Self::NoAddress(..) | Self::Unreachable(..) => EX_UNAVAILABLE,
            Self::Ended { .. } | Self::Silent { .. } => EX_TEMPFAIL,
            Self::NotMemcached(..) => EX_PROTOCOL,
        }
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ring(error) => write!(f, "the kernel refuses io_uring ({error}): {}", ring_remedy(error)),
            Self::NoAddress(server, error) => {
                write!(f, "the address {server} cannot be resolved ({error}): give --server HOST:PORT.")
            }
            Self::Unreachable(server, error) => write!(
                f,
                "no server can be reached at {server} ({error}): start one with store addsrv, or name another with \
                 --server HOST:PORT."
            ),
            Self::Ended { server, error, write } => {
                write!(f, "the connection to {server} ended before the answer was there")?;
                if let Some(error) = error {
                    write!(f, " ({error})")?;
                }
                f.write_str(what_now(*write))
            }
            Self::Silent { server, waited, write } => {
                write!(f, "{server} did not answer within {} s", waited.as_secs_f64())?;
                f.write_str(what_now(*write))
            }
            Self::NotMemcached(server, malformed) => write!(
                f,
                "what {server} answered is not the memcached protocol ({malformed}): name a memcached port with --server \
                 HOST:PORT."
            ),
        }
    }
}

impl std::error::Error for SessionError {}

const fn what_now(write: bool) -> &'static str {
    if write {
        ": whether the write took place is unknown. Get the key to see, or write again."
    } else {
        ": try again, or give more time with --timeout."
    }
}

fn ring_remedy(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            "allow it with sysctl kernel.io_uring_disabled=0, or in the seccomp profile of the container."
        }
        Some(libc::ENOSYS) => {
            "use Linux 6.1 or newer, with CONFIG_IO_URING, and allow it in the container's seccomp profile."
        }
        Some(libc::ENOMEM) => "raise the limit of locked memory (ulimit -l).",
        Some(libc::EMFILE | libc::ENFILE) => "raise the limit of open files (ulimit -n).",
        _ => "see that the kernel is Linux 6.1 or newer.",
    }
}

/// Where a server is and how long to wait for it.
#[derive(Clone, Debug)]
pub struct Server {
    /// `HOST:PORT` or `HOST`, as the user gave it.
    pub name: String,
    /// Longest wait for the connection, and for each next byte of progress.
    pub timeout: Duration,
}

impl Server {
    /// Sends one request and waits for its answer, on a ring of its own.
    ///
    /// # Errors
    /// Why there is no full answer.
    pub fn call(&self, request: &Request) -> Result<Vec<Reply>, SessionError> {
        runtime().map_err(SessionError::Ring)?.block_on(async { self.open().await?.call(request).await })
    }

    /// Opens a connection. To be called on a tokio-uring runtime.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn open(&self) -> Result<Session, SessionError> {
        let addresses = address::resolve(&self.name, PORT_DEFAULT)
            .map_err(|error| SessionError::NoAddress(self.name.clone(), error))?;
        let stream = self.connect(&addresses).await?;
        Ok(Session { server: self.clone(), stream, input: BytesMut::with_capacity(RECEIVE_BYTES), write: false })
    }

    /// The first address that answers: a name often stands for an IPv6 and an IPv4 one.
    async fn connect(&self, addresses: &[SocketAddr]) -> Result<TcpStream, SessionError> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for &address in addresses {
            match timeout(self.timeout, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // only the time of the last segment depends on it
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => last = error,
                Err(_) => last = io::Error::from_raw_os_error(libc::ETIMEDOUT),
            }
        }
        Err(SessionError::Unreachable(self.name.clone(), last))
    }
}

/// A ring of the control plane and what runs on it.
///
/// # Errors
/// The kernel's.
pub fn runtime() -> io::Result<tokio_uring::Runtime> {
    tokio_uring::Runtime::new(tokio_uring::builder().entries(RING_ENTRIES))
}

/// An open connection. After an error it is of no use.
pub struct Session {
    server: Server,
    stream: TcpStream,
    input: BytesMut,
    /// Whether what is asked now may change data.
    write: bool,
}

impl Session {
    /// Changes how long each next byte of progress is waited for.
    pub const fn wait_for(&mut self, timeout: Duration) {
        self.server.timeout = timeout;
    }

    /// Sends one request and waits for its answer.
    ///
    /// # Errors
    /// Why there is no full answer.
    pub async fn call(&mut self, request: &Request) -> Result<Vec<Reply>, SessionError> {
        self.write = request.is_write();
        let unsent = self.send(request.encode()).await?;
        let answer = self.receive(request).await;
        match (answer, unsent) {
            // the reason why sending failed says more than the end of the connection that followed
            (Err(SessionError::Ended { server, error: None, write }), Some(error)) => {
                Err(SessionError::Ended { server, error: Some(error), write })
            }
            (answer, _) => answer,
        }
    }

    /// Sends all; when the connection fails underway the error is the value, for the server may have said why before.
    async fn send(&self, mut bytes: Bytes) -> Result<Option<io::Error>, SessionError> {
        while !bytes.is_empty() {
            let part = bytes.split_to(bytes.len().min(SEND_BYTES));
            match timeout(self.server.timeout, self.stream.write_all(part)).await {
                Ok((Ok(()), _)) => {}
                Ok((Err(error), _)) => return Ok(Some(error)),
                Err(_) => return Err(self.silent()),
            }
        }
        Ok(None)
    }

    async fn receive(&mut self, request: &Request) -> Result<Vec<Reply>, SessionError> {
        let mut input = std::mem::take(&mut self.input);
        let mut replies = Vec::new();
        loop {
            let taken = reply::take(&mut input)
                .map_err(|malformed| SessionError::NotMemcached(self.server.name.clone(), malformed))?;
            if let Some(reply) = taken {
                let last = request.ends_with(&reply);
                replies.push(reply);
                if last {
                    self.input = input;
                    return Ok(replies);
                }
                continue;
            }
            input = self.receive_more(input).await?;
        }
    }

    async fn receive_more(&self, mut input: BytesMut) -> Result<BytesMut, SessionError> {
        input.reserve(RECEIVE_BYTES);
        let filled = input.len();
        let Ok((received, free)) = timeout(self.server.timeout, self.stream.read(input.slice(filled..))).await else {
            return Err(self.silent());
        };
        match received {
            Ok(0) => Err(self.ended(None)),
            Ok(_) => Ok(free.into_inner()),
            Err(error) => Err(self.ended(Some(error))),
        }
    }

    fn silent(&self) -> SessionError {
        SessionError::Silent { server: self.server.name.clone(), waited: self.server.timeout, write: self.write }
    }

    fn ended(&self, error: Option<io::Error>) -> SessionError {
        SessionError::Ended { server: self.server.name.clone(), error, write: self.write }
    }
}
