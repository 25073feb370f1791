//! Where a server is reached, as the coordinator tells the others: a text that the core passes on and does not read.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contact {
    /// TCP, memcached's protocol.
    pub clients: SocketAddr,
    /// UDP for messages between servers; TCP at the same port for streams and lifelines.
    pub servers: SocketAddr,
}

impl fmt::Display for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.clients, self.servers)
    }
}

/// A text that is no contact.
#[derive(Debug, PartialEq, Eq)]
pub struct NoContact;

impl FromStr for Contact {
    type Err = NoContact;

    fn from_str(text: &str) -> Result<Self, NoContact> {
        let (clients, servers) = text.split_once(' ').ok_or(NoContact)?;
        let address = |text: &str| text.parse().map_err(|_| NoContact);
        Ok(Self { clients: address(clients)?, servers: address(servers)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contact_comes_back_as_it_was() {
        for text in ["127.0.0.1:11211 127.0.0.1:12211", "[::1]:11211 [2001:db8::1]:7"] {
            let contact: Contact = text.parse().expect("a contact");
            assert_eq!(contact.to_string(), text);
        }
        for text in ["", "127.0.0.1:11211", "localhost:1 localhost:2", "127.0.0.1:11211  127.0.0.1:12211"] {
            assert_eq!(text.parse::<Contact>(), Err(NoContact), "{text}");
        }
    }
}
