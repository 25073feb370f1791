//! What a completion is about, packed into the 64 bits that the kernel hands back. Packed and unpacked here only.

/// The request a completion belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// Multishot accept on this listener of the thread.
    Accept(u32),
    /// Multishot receive of this connection slot.
    Recv(u32),
    /// A send that completes at once or fails: no completion when it succeeds.
    SendNow(u32),
    /// A send that waits for room in the socket.
    Send(u32),
    /// Cancellation of all requests of a slot.
    Cancel(u32),
    /// Close of a slot.
    Close(u32),
    /// Cancellation of an accept.
    CancelAccept(u32),
    /// The log file's fdatasync.
    Sync,
    /// A keystore's.
    KeystoreSync,
    /// The clock.
    Tick,
    /// Another thread has put something into our mailbox.
    Mail,
    /// Our own wake-up call to another thread failed.
    Call(u32),
    /// Multishot receive of other servers' datagrams.
    Datagrams,
    /// The threads of the connections between servers have something to say.
    Peers,
}

const KIND_SHIFT: u32 = 56;

impl Token {
    /// The token as user data.
    #[must_use]
    pub const fn pack(self) -> u64 {
        let (kind, slot) = match self {
            Self::Accept(n) => (1, n),
            Self::Recv(n) => (2, n),
            Self::SendNow(n) => (3, n),
            Self::Send(n) => (4, n),
            Self::Cancel(n) => (5, n),
            Self::Close(n) => (6, n),
            Self::CancelAccept(n) => (7, n),
            Self::Sync => (8, 0),
            Self::Tick => (9, 0),
            Self::Mail => (10, 0),
            Self::Call(n) => (11, n),
            Self::KeystoreSync => (19, 0),
            Self::Datagrams => (20, 0),
            Self::Peers => (21, 0),
        };
        (kind << KIND_SHIFT) | slot as u64
    }

    /// The token in user data that `pack` made.
    #[must_use]
    pub fn unpack(data: u64) -> Self {
        let slot = data as u32;
        match data >> KIND_SHIFT {
            1 => Self::Accept(slot),
            2 => Self::Recv(slot),
            3 => Self::SendNow(slot),
            4 => Self::Send(slot),
            5 => Self::Cancel(slot),
            6 => Self::Close(slot),
            7 => Self::CancelAccept(slot),
            8 => Self::Sync,
            9 => Self::Tick,
            19 => Self::KeystoreSync,
            10 => Self::Mail,
            11 => Self::Call(slot),
            20 => Self::Datagrams,
            21 => Self::Peers,
            kind => panic!("a completion of a request we never made: kind {kind}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn every_token_survives_the_kernel() {
        let tokens = [
            Token::Accept(3),
            Token::Recv(u32::MAX),
            Token::SendNow(1),
            Token::Send(2),
            Token::Cancel(4),
            Token::Close(5),
            Token::CancelAccept(6),
            Token::Sync,
            Token::Tick,
            Token::Mail,
            Token::Call(7),
            Token::Datagrams,
            Token::Peers,
        ];
        for token in tokens {
            assert_eq!(Token::unpack(token.pack()), token);
        }
    }
}
