//! A train's datagrams on their way into the kernel: neighbours of one size in one call, which cuts them (`UDP_SEGMENT`). What the
//! kernel does not take is lost, as if on the way.
#![allow(unsafe_code, reason = "sendmsg is given its message, which is put together by hand")]

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};

use rustix::net::SocketAddrAny;

use crate::config;
use crate::transport::Train;

/// A control message that holds the size of a segment, as the kernel reads it: a header and a u16.
#[repr(C)]
struct Segment {
    header: libc::cmsghdr,
    bytes: u16,
}

/// The message's length in its header: without the padding at its end.
const SEGMENT_BYTES: usize = size_of::<libc::cmsghdr>() + size_of::<u16>();

/// See the module.
pub struct Sender {
    socket: RawFd,
    /// The kernel cuts.
    cuts: bool,
    calls: u64,
    refused: u64,
    /// Of so many datagrams in a hundred none leaves.
    #[cfg(test)]
    loss: Option<(u32, rand::rngs::SmallRng)>,
}

impl Sender {
    /// Sends on a socket that outlives it.
    pub fn new(socket: &impl AsRawFd) -> Self {
        Self {
            socket: socket.as_raw_fd(),
            cuts: true,
            calls: 0,
            refused: 0,
            #[cfg(test)]
            loss: None,
        }
    }

    /// As where the kernel does not cut.
    #[cfg(test)]
    pub const fn cut_nothing(&mut self) {
        self.cuts = false;
    }

    /// As on a path that loses so many datagrams of a hundred.
    #[cfg(test)]
    pub fn lose(&mut self, hundredths: u32, seed: u64) {
        use rand::SeedableRng;
        self.cuts = false;
        self.loss = Some((hundredths, rand::rngs::SmallRng::seed_from_u64(seed)));
    }

    #[cfg(test)]
    fn is_lost(&mut self) -> bool {
        use rand::RngExt;
        self.loss.as_mut().is_some_and(|(hundredths, random)| random.random_range(0..100) < *hundredths)
    }

    /// How many calls were made.
    pub const fn calls(&self) -> u64 {
        self.calls
    }

    /// How many of them the kernel refused.
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// Sends all of a train.
    pub fn send(&mut self, train: &Train, to: SocketAddr) {
        let to = SocketAddrAny::from(to);
        let together = if self.cuts { config::TRAIN_DATAGRAMS_MAX } else { 1 };
        for run in train.runs(together, config::SEGMENTED_BYTES_MAX) {
            let bytes = &train.bytes[run.range];
            #[cfg(test)]
            if self.is_lost() {
                continue;
            }
            if bytes.len() == run.segment {
                self.call(bytes, &to, None);
            } else if let Some(error) = self.call(bytes, &to, Some(run.segment as u16))
                && is_unable(&error)
            {
                self.cuts = false;
                for datagram in bytes.chunks(run.segment) {
                    self.call(datagram, &to, None);
                }
            }
        }
    }

    /// What the kernel says against it, if anything.
    fn call(&mut self, bytes: &[u8], to: &SocketAddrAny, segment: Option<u16>) -> Option<io::Error> {
        self.calls += 1;
        let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        let header = libc::cmsghdr { cmsg_len: SEGMENT_BYTES, cmsg_level: libc::SOL_UDP, cmsg_type: libc::UDP_SEGMENT };
        let mut control = Segment { header, bytes: segment.unwrap_or(0) };
        // SAFETY: all-zero is a valid msghdr: no address, no parts, no control
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_name = to.as_ptr().cast_mut().cast();
        message.msg_namelen = to.addr_len();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        if segment.is_some() {
            message.msg_control = (&raw mut control).cast();
            message.msg_controllen = size_of::<Segment>();
        }
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: all that the message points at lives until the call is over, and the kernel writes to none of it.
        let sent = unsafe { libc::sendmsg(self.socket, &raw const message, flags) };
        let error = (sent < 0).then(io::Error::last_os_error)?;
        self.refused += 1;
        Some(error)
    }
}

/// Whether a kernel or a device does not cut at all; anything else is a loss of this one.
fn is_unable(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported)
        || matches!(error.raw_os_error(), Some(libc::EIO | libc::EOPNOTSUPP | libc::ENOPROTOOPT))
}
