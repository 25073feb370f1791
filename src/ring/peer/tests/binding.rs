//! The port for other servers.

use std::net::{Ipv6Addr, TcpStream, UdpSocket};
use std::str::FromStr;

use super::*;
use crate::config::ClusterConfig;

fn cluster(balancer: &str, advertise: Option<&str>, key: Option<ClusterKey>) -> ClusterConfig {
    let balancer = SocketAddr::from_str(balancer).expect("an address");
    let advertise = advertise.map(|text| IpAddr::from_str(text).expect("an address"));
    ClusterConfig { balancer, advertise, peer_port: 0, key, strict_reads: false }
}

#[test]
fn both_are_at_one_port_that_nobody_else_gets() {
    let bound = bind(LOCALHOST, 0).expect("a free port");
    assert_eq!(bound.socket.local_addr().expect("bound"), bound.address);
    TcpStream::connect(bound.address).expect("it listens");
    let refused = bind(LOCALHOST, bound.address.port()).expect_err("it is taken");
    assert_eq!(refused.exit_code(), 69);
    assert!(refused.to_string().contains("--peer-port"), "{refused}");
    if let Ok(bound) = bind(Ipv6Addr::LOCALHOST.into(), 0) {
        TcpStream::connect(bound.address).expect("it listens there too");
    }
}

#[test]
fn a_port_that_a_dead_server_still_holds_is_waited_for() {
    let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = taken.local_addr().expect("bound").port();
    let holds = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        drop(taken);
    });
    let bound = bind(LOCALHOST, port).expect("it becomes free");
    assert_eq!(bound.address.port(), port);
    holds.join().expect("it slept");
}

#[test]
fn without_a_key_nothing_is_off_loopback() {
    let ip = |text: &str| IpAddr::from_str(text).expect("an address");
    let near = cluster("127.0.0.1:1", None, None);
    assert_eq!(advertised(&near, ip("127.0.0.2")).expect("loopback"), ip("127.0.0.2"));
    assert_eq!(advertised(&near, ip("::1")).expect("loopback"), ip("::1"));
    let off = [
        (cluster("127.0.0.1:1", None, None), "10.0.0.1", "the address 10.0.0.1"),
        (cluster("10.0.0.9:1", None, None), "127.0.0.1", "the load balancer's address 10.0.0.9"),
        (cluster("127.0.0.1:1", Some("10.0.0.2"), None), "127.0.0.1", "--advertise 10.0.0.2"),
        (cluster("127.0.0.1:1", Some("127.0.0.1"), None), "0.0.0.0", "the address 0.0.0.0"),
    ];
    for (config, listen, what) in off {
        let refused = advertised(&config, ip(listen)).expect_err(what);
        assert!(refused.to_string().starts_with(what), "{refused}");
        assert!(refused.to_string().contains("--cluster-key-file"), "{refused}");
        assert_eq!(refused.exit_code(), 64);
    }
    let sealed = cluster("10.0.0.9:1", Some("10.0.0.2"), Some(key()));
    assert_eq!(advertised(&sealed, ip("0.0.0.0")).expect("with a key"), ip("10.0.0.2"));
    let nowhere = advertised(&cluster("10.0.0.9:1", None, Some(key())), ip("0.0.0.0")).expect_err("nowhere");
    assert!(nowhere.to_string().contains("--advertise"), "{nowhere}");
    assert_eq!(datagram_bytes(ip("127.0.0.1")), config::DATAGRAM_BYTES_LOOPBACK);
    assert_eq!(datagram_bytes(ip("10.0.0.1")), config::DATAGRAM_BYTES);
}
