//! Messages over UDP.

use std::net::UdpSocket;

use super::*;

fn pair(datagram_bytes: usize, key: Option<&ClusterKey>) -> [Peer; 2] {
    let mut peers = [1, 2].map(|node| Peer::new(node, datagram_bytes, key.cloned()));
    let (a, b) = peers.split_at_mut(1);
    // who is spoken to learns the other's address from that
    a[0].knows(&b[0]);
    peers
}

#[test]
fn whoever_is_spoken_to_can_answer() {
    for key in [None, Some(key())] {
        let mut peers = pair(config::DATAGRAM_BYTES, key.as_ref());
        assert_eq!(peers[1].socket.address(NodeId(1)), None);
        peers[1].send(NodeId(1), Body::ConfigAsked);
        peers[0].send(NodeId(2), Body::Leaving);
        run(&mut peers, "a message", |peers| !peers[1].came.is_empty());
        assert_eq!(peers[1].socket.counts().unaddressed, 1, "it had no address for the first");
        assert_eq!(peers[1].came, [message(NodeId(1), NodeId(2), Body::Leaving)]);
        assert_eq!(peers[1].socket.address(NodeId(1)), Some(peers[0].address));
        peers[1].send(NodeId(1), Body::ConfigAsked);
        run(&mut peers, "an answer", |peers| !peers[0].came.is_empty());
        // a contact is news once, and who speaks from elsewhere is there
        let elsewhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        peers[1].socket.set_address(NodeId(1), elsewhere);
        assert_eq!(peers[1].socket.address(NodeId(1)), Some(elsewhere));
        peers[0].send(NodeId(2), Body::ConfigAsked);
        run(&mut peers, "another", |peers| peers[1].came.len() == 2);
        peers[1].socket.set_address(NodeId(1), elsewhere);
        assert_eq!(peers[1].socket.address(NodeId(1)), Some(peers[0].address));
    }
}

#[test]
fn a_turns_messages_share_datagrams_and_datagrams_share_calls() {
    let mut peers = pair(config::DATAGRAM_BYTES, Some(&key()));
    for number in 1..=1000 {
        peers[0].send(NodeId(2), large(number, 200));
    }
    run(&mut peers, "a thousand messages", |peers| peers[1].came.len() == 1000);
    let counts = peers[0].socket.counts();
    println!("{counts:?}");
    assert!(counts.transport.datagrams_sent <= 334, "at least three in a datagram");
    assert!(counts.send_calls < 30, "many datagrams in a call: {}", counts.send_calls);
    assert_eq!(counts.send_refused, 0);
    let received = peers[1].socket.counts();
    assert!(received.receives < received.transport.datagrams_received / 2, "and in a receive: {received:?}");

    // where the kernel does not cut each goes by itself
    peers[0].socket.sender().cut_nothing();
    (1..=30).for_each(|number| peers[0].send(NodeId(2), large(number, 1000)));
    run(&mut peers, "thirty messages", |peers| peers[1].came.len() == 1030);
    assert!(peers[0].socket.counts().send_calls >= counts.send_calls + 30);
}

/// Sends values there and as many back; prints how long it takes.
fn values(name: &str, datagram_bytes: usize, key: Option<&ClusterKey>, loss: u32, sizes: &[usize]) {
    let mut peers = pair(datagram_bytes, key);
    peers[0].send(NodeId(2), Body::Leaving);
    run(&mut peers, "a message", |peers| !peers[1].came.is_empty());
    if loss > 0 {
        peers[0].socket.sender().lose(loss, 1);
        peers[1].socket.sender().lose(loss, 2);
    }
    let (began, mut total) = (Instant::now(), 0);
    for (at, &bytes) in sizes.iter().enumerate() {
        let number = at as u64 + 1;
        let sent = large(number, bytes);
        for (from, to) in [(0, 1), (1, 0)] {
            peers[to].came.clear();
            let name = peers[to].node;
            peers[from].send(name, sent.clone());
            run(&mut peers, "a value", |peers| !peers[to].came.is_empty());
            assert!(peers[to].came.len() == 1 && peers[to].came[0].body == sent, "{bytes} bytes come whole and once");
            total += bytes;
        }
    }
    run(&mut peers, "the last ack", |peers| peers.iter().all(|peer| !peer.settled.is_empty()));
    let took = began.elapsed();
    let counts = peers[0].socket.counts();
    println!("{name}: {total} bytes in {took:?}, {:.0} MB/s, {counts:?}", total as f64 / took.as_secs_f64() / 1e6);
    assert_eq!(counts.messages_refused, 0);
}

const VALUES: [usize; 5] = [1000, 2000, 100_000, 1 << 20, 8 << 20];

#[test]
fn large_values_come_over_loopback() {
    values("open, large datagrams", config::DATAGRAM_BYTES_LOOPBACK, None, 0, &[&VALUES[..], &[64 << 20]].concat());
}

#[test]
fn large_values_come_in_small_datagrams() {
    values("open, small datagrams", config::DATAGRAM_BYTES, None, 0, &[&VALUES[..], &[64 << 20]].concat());
    // without optimization the cipher makes a megabyte a second
    values("sealed, small datagrams", config::DATAGRAM_BYTES, Some(&key()), 0, &VALUES[..4]);
}

#[test]
fn large_values_come_though_datagrams_are_lost() {
    values("large datagrams, 5 % lost", config::DATAGRAM_BYTES_LOOPBACK, None, 5, &[&VALUES[..], &[64 << 20]].concat());
    values("small datagrams, 5 % lost", config::DATAGRAM_BYTES, None, 5, &VALUES);
    values("sealed small datagrams, 5 % lost", config::DATAGRAM_BYTES, Some(&key()), 5, &VALUES[..4]);
}

#[test]
fn what_is_not_a_peers_word_is_counted_and_answered_by_nobody() {
    let mut peers = pair(config::DATAGRAM_BYTES, Some(&key()));
    let (address, own) = (peers[1].address, peers[0].address);
    let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    stranger.set_nonblocking(true).expect("a socket");
    let mut forger = Peer::new(1, config::DATAGRAM_BYTES, Some(ClusterKey::from_file(&[4; 32]).expect("32 bytes")));
    forger.knows(&peers[1]);
    let mut open = Peer::new(1, config::DATAGRAM_BYTES, None);
    open.knows(&peers[1]);

    // a genuine datagram, caught on its way
    let catcher = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    peers[0].socket.set_address(NodeId(2), catcher.local_addr().expect("bound"));
    peers[0].send(NodeId(2), Body::Leaving);
    peers[0].turn();
    let mut genuine = [0; 2000];
    catcher.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let bytes = catcher.recv(&mut genuine).expect("it was sent");
    let genuine = &genuine[..bytes];

    stranger.send_to(b"hello, who is there?", address).expect("loopback takes it");
    stranger.send_to(&[], address).expect("loopback takes it");
    stranger.send_to(&[0xF5; 60_000], address).expect("loopback takes it");
    let mut damaged = genuine.to_vec();
    damaged[50] ^= 1;
    stranger.send_to(&damaged, address).expect("loopback takes it");
    forger.send(NodeId(2), Body::Leaving);
    forger.turn();
    open.send(NodeId(2), Body::Leaving);
    open.turn();
    run(&mut peers, "six of them", |peers| peers[1].socket.counts().transport.datagrams_received >= 6);
    let counts = peers[1].socket.counts().transport;
    assert_eq!((counts.refused_foreign, counts.refused_forged, counts.datagrams_sent), (3, 3, 0), "{counts:?}");
    assert!(peers[1].came.is_empty() && peers[1].socket.address(NodeId(1)).is_none());

    // it is taken once, wherever it comes from, and that is where the sender is taken to be
    stranger.send_to(genuine, address).expect("loopback takes it");
    run(&mut peers, "a message", |peers| !peers[1].came.is_empty());
    stranger.send_to(genuine, address).expect("loopback takes it");
    run(&mut peers, "a replay", |peers| peers[1].socket.counts().transport.refused_replayed == 1);
    peers[0].socket.set_address(NodeId(2), address);
    peers[0].send(NodeId(2), Body::ConfigAsked);
    run(&mut peers, "a message", |peers| peers[1].came.len() == 2);
    assert_eq!(peers[1].socket.address(NodeId(1)), Some(own), "until it speaks itself");
    stranger.send_to(genuine, address).expect("loopback takes it");
    run(&mut peers, "another replay", |peers| peers[1].socket.counts().transport.refused_replayed == 2);
    assert_eq!(peers[1].socket.address(NodeId(1)), Some(own));
    assert!(stranger.recv(&mut [0; 100]).is_err(), "a stranger hears nothing");
}

#[test]
fn a_clients_write_that_is_under_way_in_pieces_is_not_sent_again() {
    let mut peers = pair(config::DATAGRAM_BYTES, None);
    for _ in 0..5 {
        peers[0].send(NodeId(2), large(1, 100_000));
        peers[0].send(NodeId(2), large(2, 100));
    }
    run(&mut peers, "they come", |peers| !peers[0].settled.is_empty());
    let numbers = |peers: &[Peer]| -> Vec<u64> {
        let number = |message: &Message| match &message.body {
            Body::Forward(forward) => forward.number,
            other => panic!("nobody sent {other:?}"),
        };
        peers[1].came.iter().map(number).collect()
    };
    let mut came = numbers(&peers);
    came.sort_unstable();
    assert_eq!(came, [1, 2, 2, 2, 2, 2], "what fits into a datagram goes each time");
    // it came, and whoever asks again has reasons
    peers[0].send(NodeId(2), large(1, 100_000));
    run(&mut peers, "it comes", |peers| peers[1].came.len() == 7);
}

#[test]
fn nobody_speaks_in_anothers_name() {
    let mut peers = pair(config::DATAGRAM_BYTES, Some(&key()));
    let lie = message(NodeId(3), NodeId(2), Body::Leaving);
    peers[0].socket.send(now(), &lie);
    run(&mut peers, "a lie", |peers| peers[1].socket.counts().messages_malformed == 1);
    assert!(peers[1].came.is_empty());
}

#[test]
fn a_flood_waits_in_the_socket_and_the_rest_is_lost() {
    let mut peers = pair(config::DATAGRAM_BYTES, None);
    let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    for _ in 0..20_000 {
        let _ = stranger.send_to(&[0; 100], peers[1].address);
    }
    peers[0].send(NodeId(2), Body::Leaving);
    run(&mut peers, "the flood", |peers| {
        peers[0].send(NodeId(2), Body::Leaving);
        !peers[1].came.is_empty()
    });
    let counts = peers[1].socket.counts();
    assert!(counts.transport.refused_foreign > u64::from(config::DATAGRAM_BUFFERS), "{counts:?}");
}
