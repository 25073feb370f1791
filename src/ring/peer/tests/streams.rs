//! Streams between two servers of this process, broken at each point.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::*;
use crate::lifeline::{HELLO_BYTES, Hello};
use crate::transport::stream::{ANSWER_BYTES, Kind, Records, greeting};

struct Server {
    connections: Connections,
    address: SocketAddr,
    hello: Hello,
    came: std::collections::VecDeque<PeerEvent>,
}

fn server(node: u64, key: Option<ClusterKey>) -> Server {
    let bound = bind(LOCALHOST, 0).expect("a free port");
    let connections = Connections::start(bound.listener, key, None, LOCALHOST).expect("a thread");
    let hello = Hello { node: NodeId(node), incarnation: Incarnation(1) };
    connections.announce(hello);
    Server { connections, address: bound.address, hello, came: Default::default() }
}

impl Server {
    fn event(&mut self) -> PeerEvent {
        until("an event", || {
            let mut events = Vec::new();
            self.connections.take_events(&mut events);
            self.came.extend(events);
            self.came.pop_front()
        })
    }

    fn streams(&self) -> &Streams {
        self.connections.streams()
    }

    /// Nothing is left of any stream, and nothing is told.
    fn is_at_rest(&mut self) {
        until("all threads end", || (self.streams().count() == 0).then_some(()));
        let mut events = Vec::new();
        self.connections.take_events(&mut events);
        self.came.extend(events);
        assert!(self.came.is_empty(), "{:?}", self.came);
    }

    fn open(&self, to: &Self) -> StreamId {
        self.streams().open(to.hello.node, to.address, b"an offer".to_vec())
    }

    fn offered(&mut self) -> StreamId {
        match self.event() {
            PeerEvent::StreamOffered { stream, offer } if offer == b"an offer" => stream,
            other => panic!("no offer: {other:?}"),
        }
    }
}

fn pair(key: Option<&ClusterKey>) -> (Server, Server) {
    (server(1, key.cloned()), server(2, key.cloned()))
}

#[test]
fn all_bytes_come_in_order_and_are_installed() {
    for key in [None, Some(key())] {
        let (mut from, mut to) = pair(key.as_ref());
        let opened = from.open(&to);
        let taken = to.offered();
        to.streams().accept(taken);
        // without optimization the cipher makes a megabyte a second
        let largest = if key.is_none() { 70 << 20 } else { 1 << 20 };
        let pieces: Vec<Vec<u8>> = [1, 100, 0, 300_000, 7, largest]
            .into_iter()
            .map(|bytes| (0..bytes).map(|at| (at ^ bytes ^ (at >> 9)) as u8).collect())
            .collect();
        let whole = pieces.concat();
        let (mut pieces, mut came) = (pieces.into_iter(), Vec::new());
        let end = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < end, "it does not come");
            let mut events = Vec::new();
            from.connections.take_events(&mut events);
            for event in events {
                assert_eq!(event, PeerEvent::StreamWants { stream: opened });
                match pieces.next() {
                    Some(piece) => from.streams().push(opened, piece),
                    None => from.streams().finish(opened),
                }
            }
            let mut events = Vec::new();
            to.connections.take_events(&mut events);
            for event in events {
                match event {
                    PeerEvent::StreamBytes { stream, bytes } if stream == taken => {
                        to.streams().consumed(stream, bytes.len());
                        came.extend_from_slice(&bytes);
                    }
                    other => to.came.push_back(other),
                }
            }
            if !to.came.is_empty() {
                break;
            }
        }
        assert_eq!(to.event(), PeerEvent::StreamEnd { stream: taken });
        assert!(came == whole, "{} bytes came of {}", came.len(), whole.len());
        to.streams().installed(taken);
        assert_eq!(from.event(), PeerEvent::StreamInstalled { stream: opened });
        from.is_at_rest();
        to.is_at_rest();
    }
}

#[test]
fn what_is_refused_is_broken_for_who_offered_it() {
    let (mut from, mut to) = pair(Some(&key()));
    let opened = from.open(&to);
    let offered = to.offered();
    to.streams().refuse(offered);
    assert_eq!(from.event(), PeerEvent::StreamBroken { stream: opened });
    from.is_at_rest();
    to.is_at_rest();
}

#[test]
fn nobody_there_and_somebody_else_are_broken_too() {
    let (mut from, to) = pair(None);
    let nobody = bind(LOCALHOST, 0).expect("a port").address;
    let opened = from.streams().open(NodeId(2), nobody, b"an offer".to_vec());
    assert_eq!(from.event(), PeerEvent::StreamBroken { stream: opened });
    let opened = from.streams().open(NodeId(9), to.address, b"an offer".to_vec());
    assert_eq!(from.event(), PeerEvent::StreamBroken { stream: opened }, "it is another server");
    let other = server(3, Some(key()));
    let opened = from.streams().open(NodeId(3), other.address, b"an offer".to_vec());
    assert_eq!(from.event(), PeerEvent::StreamBroken { stream: opened }, "it has a key");
    from.is_at_rest();
}

/// Runs a stream up to a point and breaks it off at one end: the other hears of it, and this one nothing more.
fn broken_at(point: u32, by_opener: bool) {
    let (mut from, mut to) = pair(Some(&key()));
    let opened = from.open(&to);
    let taken = to.offered();
    let wants = |server: &mut Server| assert_eq!(server.event(), PeerEvent::StreamWants { stream: opened });
    if point >= 1 {
        to.streams().accept(taken);
        wants(&mut from);
    }
    if point >= 2 {
        from.streams().push(opened, vec![1; 1000]);
        wants(&mut from);
        assert_eq!(to.event(), PeerEvent::StreamBytes { stream: taken, bytes: vec![1; 1000] });
    }
    if point >= 3 {
        from.streams().finish(opened);
        assert_eq!(to.event(), PeerEvent::StreamEnd { stream: taken });
    }
    if by_opener {
        from.streams().break_off(opened);
        if point == 0 {
            // an offer is answered first: who has gone is found then
            to.streams().accept(taken);
        }
        if point < 3 {
            assert_eq!(to.event(), PeerEvent::StreamBroken { stream: taken }, "at {point}");
        } else {
            // it has everything, whatever becomes of the other
            to.streams().installed(taken);
        }
    } else {
        to.streams().break_off(taken);
        assert_eq!(from.event(), PeerEvent::StreamBroken { stream: opened }, "at {point}");
    }
    from.is_at_rest();
    to.is_at_rest();
    // what is said of a stream that is over is nothing to anyone
    from.streams().push(opened, vec![1]);
    from.streams().finish(opened);
    to.streams().consumed(taken, 1);
    to.streams().installed(taken);
    to.streams().break_off(taken);
    from.is_at_rest();
}

#[test]
fn a_stream_breaks_at_any_point_by_either_end() {
    for point in 0..=3 {
        broken_at(point, true);
        broken_at(point, false);
    }
}

#[test]
fn a_slow_receiver_holds_back_the_sender() {
    let (from, mut to) = pair(None);
    let opened = from.open(&to);
    let taken = to.offered();
    to.streams().accept(taken);
    let (mut pushed, mut held) = (0, 0);
    // nothing is consumed: in the end nothing is wanted
    let mut quiet = Instant::now();
    while quiet.elapsed() < Duration::from_millis(2500) {
        let mut events = Vec::new();
        from.connections.take_events(&mut events);
        for event in events {
            assert_eq!(event, PeerEvent::StreamWants { stream: opened });
            from.streams().push(opened, vec![2; 1 << 20]);
            pushed += 1 << 20;
            quiet = Instant::now();
        }
        let mut events = Vec::new();
        to.connections.take_events(&mut events);
        for event in events {
            let PeerEvent::StreamBytes { bytes, .. } = event else { panic!("{event:?}") };
            held += bytes.len();
        }
        assert!(pushed < 256 << 20, "there is a bound");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(held <= config::STREAM_WINDOW_BYTES, "{held} bytes wait for thread 0");
    println!("{pushed} bytes were pushed, {held} are held");
    // who waits says so: nobody has taken the other for gone
    to.streams().consumed(taken, held);
    assert!(matches!(to.event(), PeerEvent::StreamBytes { .. }));
}

#[test]
fn there_are_so_many_streams_and_no_more() {
    let (mut from, mut to) = pair(None);
    let opened: Vec<StreamId> = (0..config::STREAMS_OPENED_MAX).map(|_| from.open(&to)).collect();
    let offered: Vec<StreamId> = opened.iter().map(|_| to.offered()).collect();
    let over = from.open(&to);
    assert_eq!(from.event(), PeerEvent::StreamBroken { stream: over });
    let mut third = server(3, None);
    let over = third.open(&to);
    assert_eq!(third.event(), PeerEvent::StreamBroken { stream: over }, "nor at the other end");
    offered.iter().for_each(|&stream| to.streams().refuse(stream));
    for _ in &opened {
        assert!(matches!(from.event(), PeerEvent::StreamBroken { .. }));
    }
    from.is_at_rest();
    to.is_at_rest();
    let _ = from.open(&to);
    to.offered();
}

#[test]
fn who_has_no_key_gets_a_salt_and_nothing_else() {
    let mut to = server(2, Some(key()));
    let connect = |greeting: &[u8]| {
        let mut stream = TcpStream::connect(to.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let mut said = [0; HELLO_BYTES];
        stream.read_exact(&mut said).expect("a hello");
        stream.write_all(greeting).expect("it is sent");
        stream
    };
    // what is said after a greeting, until the end
    let rest = |mut stream: TcpStream| {
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        said.len()
    };
    assert_eq!(rest(connect(&greeting(false, 1))), 0, "not without a key");
    assert_eq!(rest(connect(b"ringstrm and something that is no greeting")), 0);
    let mut records = Records::pair(Some(&ClusterKey::from_file(&[4; 32]).expect("32 bytes")), to.hello, 1, 1).0;
    let mut forged = greeting(true, 1).to_vec();
    records.seal(Kind::Offer, b"an offer", &mut forged);
    assert_eq!(rest(connect(&forged)), ANSWER_BYTES, "a salt, and no record that this end made");
    let mut huge = greeting(true, 1).to_vec();
    huge.extend_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(rest(connect(&huge)), ANSWER_BYTES);
    // who says nothing more is let go of, in time
    assert_eq!(rest(connect(&greeting(true, 1))), ANSWER_BYTES);
    to.is_at_rest();
}
