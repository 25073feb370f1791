//! The load against servers of known behaviour: what it makes of a kill, and whether the audit finds what is missing.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use super::*;

const WAIT: Duration = Duration::from_secs(20);

/// What a server does wrong with each tenth key, once it has it: so some are wrong however slowly the load goes, as keys are
/// written in turn.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    Nothing,
    /// It acknowledges the set and forgets the key.
    Forgets,
    /// It acknowledges the set and keeps what was there.
    KeepsOld,
    /// It refuses the set, and does it.
    DoesWhatItRefuses,
    /// It changes the last byte.
    Garbles,
}

/// What was ever set, and is there unless it was forgotten.
type Data = Arc<Mutex<HashMap<String, Option<Vec<u8>>>>>;

/// A server that shares its data with others, until it is lost.
struct Server {
    address: SocketAddr,
    lost: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Server {
    fn start(data: &Data, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let (lost, streams) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let server = Self { address, lost: Arc::clone(&lost), streams: Arc::clone(&streams) };
        let data = Arc::clone(data);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if lost.load(Ordering::SeqCst) {
                    return;
                }
                streams.lock().expect("nobody panicked").push(stream.try_clone().expect("a descriptor"));
                let data = Arc::clone(&data);
                thread::spawn(move || serve(stream, &data, fault));
            }
        });
        server
    }

    /// All its connections end, and it listens no more.
    fn lose(&self) {
        self.lost.store(true, Ordering::SeqCst);
        for stream in self.streams.lock().expect("nobody panicked").drain(..) {
            let _ = stream.shutdown(Shutdown::Both); // its client may have gone first
        }
        let _ = TcpStream::connect(self.address); // whoever waits in accept looks up
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.lose();
    }
}

/// Sets and gets of one connection until it ends.
fn serve(stream: TcpStream, data: &Data, fault: Fault) -> Option<()> {
    let mut out = stream.try_clone().ok()?;
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    loop {
        let line = lines.next()?;
        let words = line.split(' ').collect::<Vec<_>>();
        let mut data = data.lock().expect("nobody panicked");
        if words[0] == "get" {
            let found = words[1..].iter().filter_map(|key| Some((key, data.get(*key)?.as_ref()?)));
            let mut answer = Vec::new();
            for (key, value) in found {
                answer.extend_from_slice(format!("VALUE {key} 0 {}\r\n", value.len()).as_bytes());
                answer.extend_from_slice(value);
                answer.extend_from_slice(b"\r\n");
            }
            answer.extend_from_slice(b"END\r\n");
            out.write_all(&answer).ok()?;
            continue;
        }
        let (key, mut value) = (words[1].to_owned(), lines.next()?.into_bytes());
        let wrong = fault != Fault::Nothing && key.ends_with('0') && data.contains_key(&key);
        match fault {
            Fault::Forgets if wrong => drop(data.insert(key, None)),
            Fault::KeepsOld if wrong => {}
            Fault::Garbles if wrong => {
                *value.last_mut()? ^= 1;
                data.insert(key, Some(value));
            }
            _ => drop(data.insert(key, Some(value))),
        }
        let refused = wrong && fault == Fault::DoesWhatItRefuses;
        out.write_all(if refused { b"SERVER_ERROR no\r\n" } else { b"STORED\r\n" }).ok()?;
    }
}

/// A load balancer that tells of the epoch given.
fn balancer(epoch: &Arc<Mutex<u64>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let epoch = Arc::clone(epoch);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut out = stream.try_clone().expect("a descriptor");
            for _ in BufReader::new(stream).lines().map_while(Result::ok) {
                let epoch = *epoch.lock().expect("nobody panicked");
                if writeln!(out, "{{\"epoch\":{epoch},\"registered\":[]}}").is_err() {
                    break;
                }
            }
        }
    });
    address
}

/// A load on three servers, of which the first is lost.
struct World {
    servers: Vec<Server>,
    epoch: Arc<Mutex<u64>>,
    orders: Sender<Order>,
    said: Receiver<Said>,
    thread: JoinHandle<Driven>,
}

impl World {
    fn start(fault: Fault) -> Self {
        let data = Data::default();
        let servers = (0..3).map(|_| Server::start(&data, fault)).collect::<Vec<_>>();
        let epoch = Arc::new(Mutex::new(1));
        let plan = Plan {
            addresses: servers.iter().map(|server| server.address).collect(),
            balancer: balancer(&epoch),
            connections: 4,
            rate: 2_000.0,
            sets: 50,
            timeout: Duration::from_secs(1),
            interval: Duration::from_millis(10),
            live: false,
        };
        let (orders, taken) = channel();
        let (saying, said) = channel();
        let driver = Driver::new(plan, Ledger::new("t".to_owned(), 500, 80));
        let thread = thread::spawn(move || driver.run(&taken, &saying));
        Self { servers, epoch, orders, said, thread }
    }

    fn order(&self, order: Order) {
        self.orders.send(order).expect("the load is there");
    }

    fn next(&self) -> Said {
        self.said.recv_timeout(WAIT).expect("in time")
    }

    /// Fills, loads, and loses the first server: what it cost.
    fn lose_one(&self) -> Finding {
        assert!(matches!(self.next(), Said::Filled));
        self.order(Order::Measure);
        self.order(Order::Watch(Some(0), Duration::from_millis(300)));
        // so that there are requests before: what is waited for is no proof of anything
        thread::sleep(Duration::from_millis(200));
        let lost = Instant::now();
        self.servers[0].lose();
        self.order(Order::Lost(lost));
        *self.epoch.lock().expect("nobody panicked") = 2;
        let Said::Found(found) = self.next() else { panic!("no finding") };
        found.0
    }

    /// Ends the load and reads everything back from those that are left.
    fn end(self) -> Driven {
        self.order(Order::Quiesce);
        assert!(matches!(self.next(), Said::Quiet));
        self.order(Order::Audit(vec![1, 2]));
        assert!(matches!(self.next(), Said::Audited));
        self.order(Order::Stop);
        self.thread.join().expect("it does not panic")
    }
}

#[test]
fn a_kill_is_found_with_its_parts_and_nothing_is_owed() {
    let world = World::start(Fault::Nothing);
    let finding = world.lose_one();
    assert!(finding.first_end.is_some() && finding.announced.is_some(), "{finding:?}");
    assert!(finding.first_set < WAIT && finding.write_gap < WAIT && finding.own_gap.is_some(), "{finding:?}");
    assert_eq!(finding.due, finding.in_time + finding.late + finding.failed + finding.unknown, "{finding:?}");
    assert_eq!(finding.failed, 0);
    let driven = world.end();
    assert!(driven.verdicts.reads >= 1_000, "two servers with 500 keys: {:?}", driven.verdicts);
    assert_eq!((driven.verdicts.lost, driven.verdicts.stale, driven.verdicts.foreign), (0, 0, 0), "{:?}", driven.told);
    assert!(driven.told.is_empty() && driven.acked > 500);
    let requests = driven.intervals.iter().map(|interval| interval.requests).sum::<u64>();
    assert_eq!(requests, driven.latencies.len());
    let unknown = driven.intervals.iter().map(|interval| interval.unknown).sum::<u64>();
    assert_eq!(driven.keys, (500 + unknown as usize, unknown as usize), "one key for each set of unknown outcome");
}

/// Loses one server of three that all have this fault: what reading back found.
fn audited(fault: Fault) -> Driven {
    let world = World::start(fault);
    world.lose_one();
    world.end()
}

#[test]
fn a_set_that_was_acknowledged_and_forgotten_is_found() {
    let driven = audited(Fault::Forgets);
    assert!(driven.verdicts.lost > 0 && driven.verdicts.foreign == 0, "{:?}", driven.verdicts);
    assert!(driven.told[0].contains("an acknowledged set is lost"), "{:?}", driven.told);
}

#[test]
fn a_set_that_was_acknowledged_and_not_done_is_found() {
    let driven = audited(Fault::KeepsOld);
    assert!(driven.verdicts.stale > 0 && driven.verdicts.foreign == 0, "{:?}", driven.verdicts);
}

#[test]
fn a_set_that_was_refused_and_done_is_found() {
    let driven = audited(Fault::DoesWhatItRefuses);
    assert!(driven.verdicts.foreign > 0 && driven.verdicts.lost == 0, "{:?}", driven.verdicts);
    assert!(driven.intervals.iter().map(|interval| interval.errors).sum::<u64>() > 0);
}

#[test]
fn a_value_with_a_wrong_byte_is_found() {
    let driven = audited(Fault::Garbles);
    assert!(driven.verdicts.foreign > 0, "{:?}", driven.verdicts);
}

#[test]
fn sizes_times_and_rates_have_a_unit_and_bounds() {
    assert_eq!(parse_bytes("16M"), Ok(16 << 20));
    assert_eq!(parse_bytes("4G"), Ok(4 << 30));
    for wrong in ["", "16", "M", "4T", "-1G"] {
        assert!(parse_bytes(wrong).is_err(), "{wrong}");
    }
    assert_eq!(parse_time("2s"), Ok(Duration::from_secs(2)));
    assert_eq!(parse_time("1.5ms"), Ok(Duration::from_micros(1_500)));
    for wrong in ["", "2", "-1s", "0s", "s", "1e9s", "nans"] {
        assert!(parse_time(wrong).is_err(), "{wrong}");
    }
    assert!(parse_rate("0").is_err() && parse_rate("inf").is_err() && parse_rate("5000").is_ok());
}
