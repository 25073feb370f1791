//! The crash test: a real server under pipelined load is killed at random moments and started again on its directory,
//! many times. Nothing acknowledged may be lost, nothing may be there in half, and cas ids go on growing.
//!
//! What is found must be what the first p commands of a writer make, for one p that is at least the number of its
//! acknowledged commands: the log is one sequence, so a later command of a connection never survives an earlier one.
//!
//! `RINGSTORE_CRASH_ROUNDS` sets the rounds of each way to sync, `RINGSTORE_SEED` repeats the choices of a run.

mod writer;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use self::writer::Writer;
use crate::client::Client;
use crate::server::{Launch, Server, Shape, is_ours};

const ROUNDS: usize = 60;
/// Rounds on one directory: its log is replayed at every start.
const ROUNDS_OF_A_DIRECTORY: usize = 20;
const WRITERS: usize = 5;

/// The seed that was asked for, or one of this moment. Printed, so that a failure says how to repeat it.
fn seed() -> u64 {
    let given = std::env::var("RINGSTORE_SEED").ok().map(|text| text.parse().expect("RINGSTORE_SEED is a number"));
    let seed =
        given.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64);
    println!("RINGSTORE_SEED={seed}");
    seed
}

fn rounds() -> usize {
    std::env::var("RINGSTORE_CRASH_ROUNDS")
        .map_or(ROUNDS, |text| text.parse().expect("RINGSTORE_CRASH_ROUNDS is a number"))
}

/// One server directory and everybody who writes into it.
struct Trial<'a> {
    shape: Shape,
    data: &'a Path,
    rng: StdRng,
    writers: Vec<Writer>,
    /// The largest cas id ever seen.
    cas_max: u64,
    acknowledged: usize,
    /// Sent commands that had no answer yet when the server died.
    unanswered: usize,
}

impl<'a> Trial<'a> {
    fn new(shape: Shape, data: &'a Path, mut rng: StdRng) -> Self {
        let writers = (0..WRITERS).map(|number| Writer::new(number, rng.random())).collect();
        Self { shape, data, rng, writers, cas_max: 0, acknowledged: 0, unanswered: 0 }
    }

    /// Starts the server, at times only after a start that was cut short.
    fn start(&mut self) -> Server {
        let launch = || Launch::new(self.shape).data(self.data);
        if self.rng.random_ratio(1, 5) {
            let mut short = launch().spawn();
            thread::sleep(Duration::from_micros(self.rng.random_range(0..30_000)));
            short.kill();
        }
        launch().start()
    }

    /// What the server has must be what the writers may expect; every cas id from now on is a new one.
    fn verify(&mut self, server: &Server) {
        let mut client = server.connect();
        for writer in &mut self.writers {
            let (acknowledged, sent) = writer.progress();
            self.acknowledged += acknowledged;
            self.unanswered += sent - acknowledged;
            self.cas_max = self.cas_max.max(writer.verify(&mut client));
        }
        let next = cas_of_a_new_item(&mut client);
        assert!(next > self.cas_max, "a new cas id is {next}, and {} was given before", self.cas_max);
        self.cas_max = next;
    }

    /// Load on every connection until the server is killed.
    fn load_until_killed(&mut self, server: &mut Server) {
        let over = AtomicBool::new(false);
        let moment = Duration::from_micros(self.rng.random_range(500..120_000));
        let graceful = self.rng.random_ratio(1, 10);
        thread::scope(|scope| {
            for writer in &mut self.writers {
                let client = server.connect();
                let over = &over;
                scope.spawn(move || {
                    let end = writer.write_until_closed(client);
                    assert!(over.load(Ordering::SeqCst), "the connection ended while the server should live: {end}");
                });
            }
            thread::sleep(moment);
            over.store(true, Ordering::SeqCst);
            if graceful {
                server.terminate();
            } else {
                server.kill();
            }
        });
    }
}

fn cas_of_a_new_item(client: &mut Client) -> u64 {
    client.ask("set probe 0 0 1\r\na\r\n", "STORED\r\n");
    client.ask("gets probe\r\n", "VALUE probe 0 1 ");
    let cas = client.line().parse().expect("a cas id");
    client.expect("a\r\nEND\r\n");
    cas
}

fn crash(shape: Shape) {
    if !is_ours() {
        return;
    }
    let mut rng = StdRng::seed_from_u64(seed());
    let since = Instant::now();
    let rounds = rounds();
    let (mut done, mut acknowledged, mut unanswered) = (0, 0, 0);
    while done < rounds {
        let data = tempfile::tempdir().expect("a directory");
        let mut trial = Trial::new(shape, data.path(), StdRng::seed_from_u64(rng.random()));
        for _ in 0..ROUNDS_OF_A_DIRECTORY.min(rounds - done) {
            let mut server = trial.start();
            trial.verify(&server);
            trial.load_until_killed(&mut server);
            done += 1;
        }
        let server = trial.start();
        trial.verify(&server);
        acknowledged += trial.acknowledged;
        unanswered += trial.unanswered;
    }
    println!("{done} rounds in {:?}: {acknowledged} commands acknowledged, {unanswered} cut off", since.elapsed());
    assert!(acknowledged > done * 100, "hardly any load: {acknowledged} commands in {done} rounds");
    assert!(unanswered > done, "the server was hardly ever killed in the middle of something");
}

#[test]
fn nothing_acknowledged_is_lost_with_fsync_always() {
    crash(Shape::LogAlways);
}

#[test]
fn nothing_acknowledged_is_lost_with_fsync_never() {
    crash(Shape::LogNever);
}
