//! Clients of a cluster that set again and again and remember when each set was sent and answered. One thread polls all of
//! them, so that whoever kills a server and whoever notices look at the same clock and nobody has to be woken first.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::failure::{Failure, While};

/// Longest time between two looks at whether something is to be waited for any longer.
const LOOK: Duration = Duration::from_millis(5);
/// A server that cannot be reached is tried again after this time.
const RETRY: Duration = Duration::from_millis(1);
/// How long a connection on loopback may take: one to a stopped process is made by the kernel.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes of the value of every set.
const VALUE_BYTES: usize = 100;

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// Sets, and waits this long after each answer.
    Set { think: Duration },
    /// Sets one after another once it was told to begin.
    SetWhenTold,
    /// Says nothing and waits for the end of its connection.
    Listen,
}

/// A set that was acknowledged.
#[derive(Clone, Copy, Debug)]
pub struct Success {
    pub sent: Instant,
    pub answered: Instant,
}

/// One client and what it saw.
pub struct Client {
    /// The place of the server that it was connected to first.
    pub server: usize,
    pub habit: Habit,
    /// In order of time.
    pub successes: Vec<Success>,
    /// Sets that were refused.
    pub refused: Vec<String>,
    /// When its first connection ended.
    pub ended: Option<Instant>,
    /// Whether it goes to another server when its connection ends, and asks there again what was not answered.
    follows: bool,
    /// The place of the server that it uses now.
    at: usize,
    stream: Option<TcpStream>,
    /// When the set under way was first sent.
    sent: Option<Instant>,
    /// When to send, or to connect; nothing when it was not told to.
    due: Option<Instant>,
    input: Vec<u8>,
}

/// All clients of one run.
pub struct Clients {
    addresses: Vec<SocketAddr>,
    pub all: Vec<Client>,
}

impl Clients {
    /// None yet, of these servers.
    pub fn new(addresses: Vec<SocketAddr>) -> Self {
        Self { addresses, all: Vec::new() }
    }

    /// Connects a client to a server. One that follows goes to the next servers when its connection ends.
    pub fn add(&mut self, server: usize, habit: Habit, follows: bool) -> Result<(), Failure> {
        let stream = connect(self.addresses[server]).during("connecting a client")?;
        let due = matches!(habit, Habit::Set { .. }).then(Instant::now);
        self.all.push(Client {
            server,
            habit,
            successes: Vec::new(),
            refused: Vec::new(),
            ended: None,
            follows,
            at: server,
            stream: Some(stream),
            sent: None,
            due,
            input: Vec::new(),
        });
        Ok(())
    }

    /// Those who wait for it begin to set.
    pub fn tell(&mut self) {
        for client in self.all.iter_mut().filter(|client| client.habit == Habit::SetWhenTold) {
            client.due = Some(Instant::now());
        }
    }

    /// Lets the clients work until `done`, at most for `within`. Whether it was done.
    pub fn work_until(&mut self, within: Duration, done: impl Fn(&[Client]) -> bool) -> Result<bool, Failure> {
        let end = Instant::now() + within;
        loop {
            let now = Instant::now();
            for (id, client) in self.all.iter_mut().enumerate() {
                client.send_if_due(id, now, &self.addresses);
            }
            if done(&self.all) {
                return Ok(true);
            }
            if now >= end {
                return Ok(false);
            }
            self.wait(end)?;
        }
    }

    /// Lets the clients work for this time.
    pub fn work_for(&mut self, time: Duration) -> Result<(), Failure> {
        self.work_until(time, |_| false).map(|_| ())
    }

    /// Waits until something came or is due and takes it in.
    fn wait(&mut self, end: Instant) -> Result<(), Failure> {
        let now = Instant::now();
        let due = self.all.iter().filter_map(|client| client.due).min().unwrap_or(end).min(end).min(now + LOOK);
        let time = due.saturating_duration_since(now);
        let time = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
        let connected = self.all.iter().enumerate().filter_map(|(id, client)| Some((id, client.stream.as_ref()?)));
        let (ids, mut polled): (Vec<_>, Vec<_>) =
            connected.map(|(id, stream)| (id, PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::IN))).unzip();
        poll(&mut polled, Some(&time)).during("waiting for answers")?;
        let ready = polled.iter().map(|one| !one.revents().is_empty()).collect::<Vec<_>>();
        for id in ids.into_iter().zip(ready).filter_map(|(id, ready)| ready.then_some(id)) {
            self.all[id].receive(self.addresses.len());
        }
        Ok(())
    }
}

impl Client {
    /// Whether a set that was sent after `instant` was acknowledged, and when the first one was.
    pub fn first_sent_after(&self, instant: Instant) -> Option<Instant> {
        self.successes.iter().find(|one| one.sent >= instant).map(|one| one.answered)
    }

    /// The longest time between two acknowledged sets of which the later one came after `instant`.
    pub fn longest_gap(&self, instant: Instant) -> Option<Duration> {
        let pairs = self.successes.windows(2).filter(|pair| pair[1].answered > instant);
        pairs.map(|pair| pair[1].answered - pair[0].answered).max()
    }

    fn send_if_due(&mut self, id: usize, now: Instant, addresses: &[SocketAddr]) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        self.due = None;
        if self.stream.is_none() {
            match connect(addresses[self.at]) {
                Ok(stream) => self.stream = Some(stream),
                Err(_) => return self.go_on(addresses.len(), RETRY),
            }
        }
        let text = format!("set client:{id} 0 0 {VALUE_BYTES}\r\n{:0VALUE_BYTES$}\r\n", self.successes.len());
        self.sent.get_or_insert_with(Instant::now);
        let sent = self.stream.as_mut().map(|stream| stream.write_all(text.as_bytes()));
        if sent.is_some_and(|sent| sent.is_err()) {
            self.end(addresses.len());
        }
    }

    fn receive(&mut self, servers: usize) {
        let mut buffer = [0; 512];
        let Some(stream) = &mut self.stream else { return };
        match stream.read(&mut buffer) {
            Ok(0) => self.end(servers),
            Ok(length) => self.take(&buffer[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => self.end(servers),
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let now = Instant::now();
        self.input.extend_from_slice(bytes);
        while let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
            let line = self.input.drain(..=end).collect::<Vec<_>>();
            let Some(sent) = self.sent.take() else { continue };
            if line == b"STORED\r\n" {
                self.successes.push(Success { sent, answered: now });
            } else {
                self.refused.push(line.trim_ascii().escape_ascii().to_string());
            }
            self.due = match self.habit {
                Habit::Set { think } => Some(now + think),
                Habit::SetWhenTold => Some(now),
                Habit::Listen => None,
            };
        }
    }

    /// The connection has ended.
    fn end(&mut self, servers: usize) {
        self.stream = None;
        self.input.clear();
        self.ended.get_or_insert_with(Instant::now);
        if self.follows {
            self.go_on(servers, Duration::ZERO);
        } else {
            self.due = None;
        }
    }

    /// To the next server.
    fn go_on(&mut self, servers: usize, pause: Duration) {
        self.at = (self.at + 1) % servers;
        self.due = Some(Instant::now() + pause);
    }
}

fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A server that acknowledges so many sets on one connection, then closes it and listens no more.
    fn server(sets: usize) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it is bound");
        thread::spawn(move || {
            let (stream, _) = listener.accept().expect("a client comes");
            drop(listener);
            let mut lines = BufReader::new(stream.try_clone().expect("a descriptor")).lines();
            for _ in 0..sets {
                lines.next().expect("a command").expect("it is read");
                lines.next().expect("a value").expect("it is read");
                (&stream).write_all(b"STORED\r\n").expect("the client reads");
            }
        });
        address
    }

    #[test]
    fn a_client_follows_to_the_next_server_and_one_that_listens_sees_the_end() {
        let mut clients = Clients::new(vec![server(3), server(5)]);
        clients.add(0, Habit::Set { think: Duration::ZERO }, true).expect("connects");
        assert!(clients.work_until(PATIENCE, |all| all[0].successes.len() == 8).expect("works"));
        let client = &clients.all[0];
        assert!(client.ended.is_some() && client.refused.is_empty());
        assert!(client.longest_gap(client.successes[0].sent).is_some());
        let last = client.successes[7];
        assert_eq!(client.first_sent_after(last.sent), Some(last.answered));
        assert_eq!(client.first_sent_after(last.answered), None);

        let mut clients = Clients::new(vec![server(0)]);
        clients.add(0, Habit::Listen, false).expect("connects");
        assert!(clients.work_until(PATIENCE, |all| all[0].ended.is_some()).expect("works"));
    }

    #[test]
    fn who_waits_to_be_told_sets_nothing_before() {
        let mut clients = Clients::new(vec![server(2)]);
        clients.add(0, Habit::SetWhenTold, false).expect("connects");
        clients.work_for(Duration::from_millis(20)).expect("works");
        assert!(clients.all[0].successes.is_empty());
        clients.tell();
        assert!(clients.work_until(PATIENCE, |all| all[0].successes.len() == 2).expect("works"));
    }
}
