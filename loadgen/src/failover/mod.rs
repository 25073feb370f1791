//! `loadgen failover`: what clients notice when a server of a cluster is lost, and whether the cluster still owes them anything.
//! A rate runs through all servers; the leader, or what else is asked for, is killed again and again; each time the gap is
//! measured, what was lost is started again, and every key is read back.
//!
//! ```text
//! this thread: wait, kill, wait for the finding, restore, until all are members, audit; again
//!      | Order                                                     ^ Said
//!      v                                                           |
//! driver thread: slots (clients) -> outcomes -> timeline, gap      |  one clock
//!                observer (load balancer), audits -> ledger -------'
//! ```

mod audit;
mod driver;
mod gap;
mod ledger;
mod observer;
mod report;
mod site;
mod slot;
mod timeline;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Args;

use crate::cluster::{Cluster, Shape, fill};
use crate::failure::{EXIT_INVALID, EXIT_WRONG_REPLIES, Failure};
use crate::machine::{self, Machine};
use crate::recording::{Mark, Recording, Verdict};
use crate::report::{Addition, Outputs, scale};
use driver::{Driven, Driver, Order, Plan, Said};
use gap::{Finding, Loss, Outcome, ms};
use ledger::Ledger;
use report::{Audit, Report, Told};
use site::{Kill, Remote, Site, Target};

/// Megabytes of `-m` beyond what is filled in.
const SPARE_MEGABYTES: u64 = 512;
/// A kill is looked at for so long at least: longer than every time-out between servers.
const OBSERVED: Duration = Duration::from_millis(700);
/// What has not come after this time does not come.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time between the last kill's end and the end of the run.
const AFTER: Duration = Duration::from_millis(500);
/// Of a hundred requests 99 must be sent before they are this late, or the figures are the load generator's.
const LAG_MAX: Duration = Duration::from_millis(1);

#[derive(Args)]
pub struct FailoverArgs {
    /// The load balancer of a cluster that runs already, HOST[:PORT] [default: a cluster of its own, on loopback]
    #[arg(long, value_name = "HOST[:PORT]")]
    lb: Option<String>,
    /// Servers of a cluster of its own
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=9), conflicts_with = "lb")]
    servers: u8,
    /// How it is lost: kill (SIGKILL), stop (SIGSTOP), term (SIGTERM), or a command in which {host} and {port} are the server's
    #[arg(long, default_value = "kill", value_name = "kill|stop|term|COMMAND")]
    kill: Kill,
    /// What is lost
    #[arg(long, value_enum, default_value = "leader")]
    target: Target,
    /// Command that brings back what a cluster of somebody else's has lost, with {host} and {port}
    #[arg(long, requires = "lb")]
    restore: Option<String>,
    /// Kill so many times, each --settle after all servers are members again
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000), conflicts_with = "at")]
    kills: u32,
    /// Kill at these times since the beginning, for example 2s,5s
    #[arg(long, value_delimiter = ',', value_parser = parse_time, value_name = "TIME,...")]
    at: Vec<Duration>,
    /// Time in which nothing happens before each kill. A server that was told of its configuration less than 765 ms ago (three
    /// promises) waits that out when it begins to lead
    #[arg(long, default_value = "1s", value_parser = parse_time)]
    settle: Duration,
    /// Requests a second, through all servers together, at equal distances
    #[arg(long, default_value_t = 3000.0, value_parser = parse_rate)]
    rate: f64,
    /// Of a hundred requests so many are sets, the others gets
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100))]
    sets: u32,
    /// Connections to each server, of which a share like that of the sets does nothing but set, and the others get
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(2..=1000))]
    connections: u16,
    /// Keys; each has one writer
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    keys: u32,
    /// Bytes of each value, at least what its key and version take
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    value_size: u32,
    /// A connection that has not answered for so long is given up, its sets of unknown outcome
    #[arg(long, default_value = "1s", value_parser = parse_time)]
    timeout: Duration,
    /// Length of an interval around a kill; elsewhere they are of 100 ms
    #[arg(long, default_value = "10ms", value_parser = parse_time)]
    interval: Duration,
    /// Resident memory that each server of its own is filled up to, with M or G
    #[arg(long, default_value = "16M", value_parser = parse_bytes, conflicts_with = "lb")]
    resident: u64,
    /// --fsync of its own servers
    #[arg(long, default_value = "always", conflicts_with = "lb")]
    fsync: String,
    /// The store program [default: beside this program, or in target/release]
    #[arg(long, conflicts_with = "lb")]
    store: Option<String>,
    /// Further options of each server of its own, separated by spaces
    #[arg(long, default_value = "", allow_hyphen_values = true, conflicts_with = "lb")]
    options: String,
    /// Folder, on a disk, for the directories of its own cluster
    #[arg(long, default_value = "/var/tmp", conflicts_with = "lb")]
    data_parent: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    outputs: Outputs,
}

/// Runs it and prints what was found: exit status 4 when anything was lost, stale or must not be there, 3 when the load
/// generator itself was the limit.
///
/// # Errors
/// When it cannot be run to its end.
pub fn run(args: &FailoverArgs) -> Result<ExitCode, Failure> {
    if !args.at.is_sorted() {
        return Err(Failure::new("--at takes times in order, the earliest first"));
    }
    args.outputs.check()?;
    let mut site = site(args)?;
    site.until_whole()?;
    let mut resident = None;
    if let Site::Local(cluster) = &site {
        fill::until_resident(cluster, args.resident)?;
        resident = Some(cluster.servers[cluster.until_whole()?].resident_bytes()?);
    }
    let load = Load::start(args, &site)?;
    let kills = kill_all(args, &mut site, &load)?;
    let servers = load.read_back(&site)?;
    let driven = load.stop()?;
    let (recording, report) = tell(args, &site, resident, kills, driven, servers);
    let addition = Addition {
        headline: headline(&report),
        closeup: Some(report::closeup(&report.kills, &format!("{} of {}", args.kill, args.target.name()))),
        tables: report.tables(),
    };
    args.outputs.write_with(&recording, &addition)?;
    report.print(args.json)?;
    Ok(match (report.audit.is_clean(), report.invalid.is_empty()) {
        (false, _) => ExitCode::from(EXIT_WRONG_REPLIES),
        (true, false) => ExitCode::from(EXIT_INVALID),
        (true, true) => ExitCode::SUCCESS,
    })
}

fn site(args: &FailoverArgs) -> Result<Site, Failure> {
    if let Some(balancer) = &args.lb {
        return Remote::find(balancer, args.restore.clone()).map(Site::Remote);
    }
    let store = args.store.clone().unwrap_or_else(|| machine::program("store"));
    let megabytes = (args.resident >> 20) + SPARE_MEGABYTES;
    let options = format!("-m {megabytes} --fsync {} {}", args.fsync, args.options);
    let servers = usize::from(args.servers);
    let shape = Shape { store: &store, servers, options: &options, data_parent: &args.data_parent };
    Cluster::start(&shape).map(|cluster| Site::Local(Box::new(cluster)))
}

/// Kills as often as was asked for.
fn kill_all(args: &FailoverArgs, site: &mut Site, load: &Load) -> Result<Vec<Told>, Failure> {
    let began = Instant::now();
    let settled = vec![None; args.kills as usize];
    let times = if args.at.is_empty() { settled } else { args.at.iter().copied().map(Some).collect() };
    let (count, mut kills) = (times.len(), Vec::new());
    for (number, time) in times.into_iter().enumerate() {
        let until = time.map_or(Instant::now() + args.settle, |time| began + time);
        load.watch_until(until)?;
        let told = kill_once(args, site, load, began, number + 1 == count)?;
        let times = [("first set", told.finding.first_set), ("write gap", told.finding.write_gap)];
        let times = times.map(|(name, time)| format!("{name} {:.1} ms", ms(time))).join(", ");
        eprintln!("kill {} of {count}: {} at {:.1} s: {times}", number + 1, told.lost, told.at_s);
        kills.push(told);
    }
    load.watch_until(Instant::now() + AFTER)?;
    Ok(kills)
}

/// Kills once, and brings back what was lost.
fn kill_once(args: &FailoverArgs, site: &mut Site, load: &Load, began: Instant, last: bool) -> Result<Told, Failure> {
    let leader = site.until_whole()?;
    let servers = site.addresses().len();
    let place = match args.target {
        Target::Follower => (leader + 1) % servers,
        _ => leader,
    };
    let victim = (args.target != Target::Balancer).then_some(place);
    load.order(Order::Watch(victim, OBSERVED));
    let lost = site.kill(&args.kill, args.target, place)?;
    load.order(Order::Lost(lost));
    let (finding, loss, outcomes) = load.finding()?;
    if site.restore(&args.kill, args.target, place)? || !last {
        site.until_whole()?;
        load.order(Order::Home);
        load.audit((0..servers).collect())?;
    }
    let what = victim.map_or("the load balancer".to_owned(), |place| format!("server{}", place + 1));
    let at_s = loss.at.saturating_duration_since(began).as_secs_f64();
    Ok(Told { at_s, lost: format!("{} of {what}", args.kill), finding, loss, outcomes })
}

/// The load, as the thread sees it that gives orders.
struct Load {
    orders: Sender<Order>,
    said: Receiver<Said>,
    thread: Option<JoinHandle<Driven>>,
}

impl Load {
    /// Connects, sets every key once, and begins.
    fn start(args: &FailoverArgs, site: &Site) -> Result<Self, Failure> {
        let plan = Plan {
            addresses: site.addresses(),
            balancer: site.balancer(),
            connections: usize::from(args.connections),
            rate: args.rate,
            sets: args.sets,
            timeout: args.timeout,
            interval: args.interval,
            live: std::io::stderr().is_terminal(),
        };
        // keys of earlier runs may be there still
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
        let ledger = Ledger::new(format!("failover:{now:x}"), args.keys as usize, args.value_size as usize);
        let (orders, taken) = channel();
        let (saying, said) = channel();
        let driver = Driver::new(plan, ledger);
        let thread = std::thread::Builder::new().name("load".to_owned()).spawn(move || driver.run(&taken, &saying));
        let thread = thread.map_err(|error| Failure::new(format!("starting the load's thread: {error}")))?;
        let load = Self { orders, said, thread: Some(thread) };
        match load.next("setting every key once")? {
            Said::Filled => {}
            _ => return Err(Failure::new("the load says what it was not asked")),
        }
        load.order(Order::Measure);
        Ok(load)
    }

    fn order(&self, order: Order) {
        let _ = self.orders.send(order); // a load that has ended is noticed when it is waited for
    }

    fn next(&self, what: &str) -> Result<Said, Failure> {
        match self.said.recv_timeout(PATIENCE) {
            Ok(Said::Failed(words)) => Err(Failure::new(words)),
            Ok(said) => Ok(said),
            Err(RecvTimeoutError::Timeout) => Err(Failure::new(format!("{what} takes longer than {PATIENCE:?}"))),
            Err(RecvTimeoutError::Disconnected) => Err(Failure::new(format!("the load has ended while {what}"))),
        }
    }

    /// Lets the load work until then.
    fn watch_until(&self, until: Instant) -> Result<(), Failure> {
        match self.said.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Ok(Said::Failed(words)) => Err(Failure::new(words)),
            Ok(_) | Err(RecvTimeoutError::Disconnected) => Err(Failure::new("the load has ended by itself")),
        }
    }

    fn finding(&self) -> Result<(Finding, Loss, Vec<Outcome>), Failure> {
        match self.next("waiting for the first set after a kill")? {
            Said::Found(found) => Ok(*found),
            _ => Err(Failure::new("the load says what it was not asked")),
        }
    }

    fn audit(&self, servers: Vec<usize>) -> Result<(), Failure> {
        self.order(Order::Audit(servers));
        match self.next("reading every key back")? {
            Said::Audited => Ok(()),
            _ => Err(Failure::new("the load says what it was not asked")),
        }
    }

    /// Ends the load and reads every key at every server that is there: how many.
    fn read_back(&self, site: &Site) -> Result<usize, Failure> {
        self.order(Order::Quiesce);
        match self.next("waiting for the last answers")? {
            Said::Quiet => {}
            _ => return Err(Failure::new("the load says what it was not asked")),
        }
        let addresses = site.addresses();
        let there = (0..addresses.len()).filter(|place| std::net::TcpStream::connect(addresses[*place]).is_ok());
        let there = there.collect::<Vec<_>>();
        self.audit(there.clone())?;
        Ok(there.len())
    }

    fn stop(mut self) -> Result<Driven, Failure> {
        self.order(Order::Stop);
        let thread = self.thread.take().expect("it was not stopped yet");
        thread.join().map_err(|_| Failure::new("the load's thread panicked"))
    }
}

/// The run as everybody else's is recorded, and what is special to it.
fn tell(
    args: &FailoverArgs,
    site: &Site,
    resident: Option<u64>,
    kills: Vec<Told>,
    driven: Driven,
    servers: usize,
) -> (Recording, Report) {
    let title = format!("Failover: {} of {}", args.kill, args.target.name());
    let command = std::env::args().collect::<Vec<_>>().join(" ");
    let invalid = invalid(&driven);
    let verdict = if invalid.is_empty() { Verdict::Valid } else { Verdict::Invalid { reasons: invalid.clone() } };
    let mark = |told: &Told| Mark { at: told.loss.at.saturating_duration_since(driven.zero), label: told.lost.clone() };
    let parameters = parameters(args, site, resident);
    let sum = |of: fn(&crate::recording::Interval) -> u64| driven.intervals.iter().map(of).sum::<u64>();
    let report = Report {
        machine: Machine::describe(),
        command: command.clone(),
        title: title.clone(),
        parameters: parameters.clone(),
        answered: sum(|interval| interval.requests),
        errors: sum(|interval| interval.errors),
        unknown: sum(|interval| interval.unknown),
        distributions: report::distributions(&kills, &args.kill, args.target),
        audit: Audit::new(driven.verdicts, driven.acked, driven.keys, servers, driven.told),
        invalid,
        kills,
    };
    let recording = Recording {
        title,
        command,
        machine: Machine::describe(),
        parameters,
        began: driven.began,
        intervals: driven.intervals,
        marks: report.kills.iter().map(mark).collect(),
        latencies: driven.latencies,
        verdict,
    };
    (recording, report)
}

/// Why the figures would be the load generator's.
fn invalid(driven: &Driven) -> Vec<String> {
    let lag = Duration::from_nanos(driven.lags.value_at_quantile(0.99));
    let late = lag > LAG_MAX;
    let reason = format!(
        "1 % of the requests were sent {} or more after they were due: give the load a core that is not busy, or lower --rate",
        scale::time(lag.as_secs_f64())
    );
    late.then_some(reason).into_iter().collect()
}

fn headline(report: &Report) -> Vec<(String, String)> {
    let of = |figure: &str| {
        let found = report.distributions.iter().find(|one| one.figure.starts_with(figure));
        found.map_or("–".to_owned(), |one| scale::time(one.p50 / 1e3))
    };
    let entries = [
        ("kills", scale::exact(report.kills.len() as u64)),
        ("write gap, p50", of("write gap")),
        ("read gap, p50", of("read gap")),
        ("acknowledged sets", scale::exact(report.audit.acknowledged)),
        ("lost", scale::exact(report.audit.lost)),
        ("stale", scale::exact(report.audit.stale)),
    ];
    entries.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

fn parameters(args: &FailoverArgs, site: &Site, resident: Option<u64>) -> Vec<(String, String)> {
    let mut all = site.describe();
    let own = [
        ("rate", format!("{} a second, {} % sets, {} clients of each server", args.rate, args.sets, args.connections)),
        ("keys", format!("{} with values of {} bytes", args.keys, args.value_size)),
        ("time-out", format!("{:?}", args.timeout)),
        ("before each kill", format!("{:?}", args.settle)),
    ];
    all.extend(own.map(|(name, value)| (name.to_owned(), value)));
    if let Some(bytes) = resident {
        all.push(("resident".to_owned(), format!("{:.0} MiB in the leader", bytes as f64 / f64::from(1 << 20))));
    }
    all
}

/// A number with `ms` or `s`.
fn parse_time(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1e-3),
        None => (text.strip_suffix('s').ok_or("a number with ms or s, such as 500ms or 2s")?, 1.0),
    };
    let seconds = number.parse::<f64>().map_err(|_| "a number with ms or s, such as 500ms or 2s")? * unit;
    let time = Duration::try_from_secs_f64(seconds).map_err(|_| "a time that is not negative")?;
    if time < Duration::from_millis(1) || time > Duration::from_secs(86_400) {
        return Err("a time between 1ms and a day".to_owned());
    }
    Ok(time)
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().map_err(|_| "requests a second")?;
    if (1.0..=1_000_000.0).contains(&rate) { Ok(rate) } else { Err("between 1 and a million a second".to_owned()) }
}

fn parse_bytes(text: &str) -> Result<u64, String> {
    let (number, shift) = match text.strip_suffix(['M', 'G']) {
        Some(number) => (number, if text.ends_with('G') { 30 } else { 20 }),
        None => return Err("a number with M or G".into()),
    };
    number.parse::<u64>().ok().filter(|number| *number < 1 << 20).map(|number| number << shift).ok_or("a number".into())
}

#[cfg(test)]
mod tests;
