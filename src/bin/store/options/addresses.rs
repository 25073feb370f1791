//! `-l`: memcached's address list. Names are resolved here, once.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

use super::{Usage, refuse};

/// Every address of the lists, with `port` where they name none; this machine's loopback when there is no list.
pub fn resolve(lists: &[String], port: u16) -> Result<Vec<SocketAddr>, Usage> {
    if lists.is_empty() {
        return Ok(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))]);
    }
    let mut addresses = Vec::new();
    for entry in lists.iter().flat_map(|list| parts(list)) {
        for address in resolve_entry(entry.trim(), port)? {
            // a name may stand for an address that is listed too; binding it twice would fail
            if !addresses.contains(&address) || address.port() == 0 {
                addresses.push(address);
            }
        }
    }
    Ok(addresses)
}

/// Parts between commas.
fn parts(list: &str) -> impl Iterator<Item = &str> {
    list.split([',', ';']).filter(|part| !part.trim().is_empty())
}

fn resolve_entry(entry: &str, port: u16) -> Result<Vec<SocketAddr>, Usage> {
    let place = without_prefixes(entry)?;
    if let Ok(ip) = place.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let (host, port) = host_and_port(place, port)?;
    if host == "*" {
        return Ok(vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))]);
    }
    match (host, port).to_socket_addrs() {
        Ok(found) => Ok(found.collect()),
        Err(error) => refuse(format!(
            "-l {entry}: the name {host} cannot be resolved ({error}). Give an address of this machine, such as 127.0.0.1 \
             or 0.0.0.0."
        )),
    }
}

/// The address behind memcached's listener prefixes; those that ask for what this server lacks are refused.
fn without_prefixes(entry: &str) -> Result<&str, Usage> {
    let mut rest = entry;
    loop {
        let Some((word, after)) = rest.split_once(':') else { return Ok(rest) };
        rest = match word {
            "notls" | "proto[ascii]" | "proto[auto]" => after,
            "mtls" | "btls" => {
                return refuse(format!("-l {entry}: TLS is not possible yet. Give the address without {word}:."));
            }
            _ if word.starts_with("tag[") && word.ends_with(']') => after,
            _ if word.starts_with("proto[") => {
                return refuse(format!(
                    "-l {entry}: only the text protocol is spoken. Give the address without {word}:."
                ));
            }
            _ => return Ok(rest),
        };
    }
}

fn host_and_port(place: &str, default: u16) -> Result<(&str, u16), Usage> {
    let malformed = || Usage(format!("-l {place} is not an address: give ADDR, ADDR:PORT or [V6]:PORT."));
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or_else(malformed)?;
            match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if after.is_empty() => (host, None),
                None => return Err(malformed()),
            }
        }
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    if host.is_empty() {
        return Err(malformed());
    }
    match port {
        None => Ok((host, default)),
        Some(port) => match port.parse::<u16>() {
            Ok(port) if port > 0 => Ok((host, port)),
            _ => refuse(format!("-l {place}: {port} is not a port, give 1 to 65535.")),
        },
    }
}
