//! Addresses as users write them: HOST:PORT, [V6]:PORT, or HOST alone for a usual port.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// All addresses that a name stands for, at least one; `port` where it names none.
///
/// # Errors
/// When it stands for none.
pub fn resolve(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let found: Vec<SocketAddr> = match bare.parse::<IpAddr>() {
        Ok(ip) => vec![SocketAddr::new(ip, port)],
        Err(_) if name.contains(':') => name.to_socket_addrs()?.collect(),
        Err(_) => (name, port).to_socket_addrs()?.collect(),
    };
    if found.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(found) }
}
