//! `store status`, `store verify` and `store demo`: their command lines, and the way to the shell.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use ringstore::config;
use ringstore::control::demo::{self, Calls, DemoConfig};
use ringstore::control::roster::{BalancerAt, Roster, RosterError};
use ringstore::control::session::{SessionError, runtime};
use ringstore::control::status::{self, Verdict};
use ringstore::control::survey::survey;
use ringstore::control::verify::{self, Finding};

use crate::Failure;

/// How long the load balancer is waited for.
const ASK_PATIENCE: Duration = Duration::from_secs(5);
/// Between two pictures of `--watch`.
const WATCH_PAUSE: Duration = Duration::from_secs(1);
/// What a terminal clears its screen by.
const CLEAR: &str = "\x1b[H\x1b[2J";
/// Exit status of a cluster that takes no writes now.
const STATUS_NOT_WRITABLE: u8 = 1;
/// sysexits: standard output failed.
const EX_IOERR: u8 = 74;
/// sysexits: a later try may succeed.
const EX_TEMPFAIL: u8 = 75;
/// sysexits: it is not confirmed.
const EX_NOPERM: u8 = 77;

pub const STATUS_HELP: &str = "\
Exit status: 0 the cluster takes gets and sets, 1 it takes no sets now, 69 the load balancer cannot be reached, 71 the kernel
refuses io_uring, 76 something else answers there.";

pub const VERIFY_HELP: &str = "\
The digest of a server is a sum over all its items with their keys, values, flags, expiry times and cas ids.

Exit status: 0 all members hold the same, 65 they do not, 69 the load balancer cannot be reached, 71 the kernel refuses
io_uring, 75 they could not be compared, 76 something else answers there.";

#[derive(Args, Debug)]
pub struct StatusArgs {
    /// The load balancer
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:11200")]
    lb: String,
    /// Again each second, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// One line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// The load balancer
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:11200")]
    lb: String,
    /// Seconds in which the members must be seen at one position
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = clap::value_parser!(u64).range(0..=86_400))]
    timeout: u64,
}

#[derive(Args, Debug)]
pub struct DemoArgs {
    /// How many servers
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u8).range(1..=config::CLUSTER_MEMBERS_MAX as i64))]
    servers: u8,
}

pub const UNSAFE_RECOVER_HELP: &str = "\
For a cluster whose members are all lost for good, while a server that had been left out, or some but not all members, are
left. What only the lost ones had is lost: the server goes on with what it has, alone, and that is on record for ever. To be
called on the load balancer's machine. Without --confirmed it only says what the server holds.

Exit status: 0 done, 69 the load balancer cannot be reached, 71 the kernel refuses io_uring, 75 refused, 76 something else
answers there, 77 not confirmed.";

#[derive(Args, Debug)]
pub struct UnsafeRecoverArgs {
    /// The server, as store status names it: 16 hexadecimal digits
    #[arg(value_parser = node_name)]
    node: String,
    /// The load balancer
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:11200")]
    lb: String,
    /// Do it
    #[arg(long)]
    confirmed: bool,
}

fn node_name(text: &str) -> Result<String, String> {
    let is_name = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_name { Ok(text.to_lowercase()) } else { Err("give the 16 hexadecimal digits of store status".to_owned()) }
}

/// Has a server lead that may lack what was acknowledged.
pub fn unsafe_recover(options: &UnsafeRecoverArgs) -> Result<(), Failure> {
    let balancer = BalancerAt { name: options.lb.clone(), timeout: ASK_PATIENCE };
    runtime().map_err(no_ring)?.block_on(async {
        let node = &options.node;
        if !options.confirmed {
            let found = survey(balancer.roster().await.map_err(|error| no_roster(&error))?).await;
            let sentence = status::before_force(&found, node);
            return Err(Failure { sentence, status: EX_NOPERM });
        }
        let command = format!("unsafe-recover {node} confirmed");
        let answer = balancer.ask(&command, "\r\n").await.map_err(|error| no_roster(&error))?;
        match answer.trim_end().strip_prefix("REFUSED ") {
            None => print("The server leads now, alone; the others begin anew when they come back.\n"),
            Some(why) => Err(Failure { sentence: format!("{node} is not made to lead: {why}."), status: EX_TEMPFAIL }),
        }
    })
}

fn no_roster(error: &RosterError) -> Failure {
    Failure { sentence: error.to_string(), status: error.exit_code() }
}

fn no_ring(error: io::Error) -> Failure {
    let error = SessionError::Ring(error);
    Failure { sentence: error.to_string(), status: error.exit_code() }
}

/// Writes to standard output. Nothing is left to do when nobody reads it any more.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) => {
            Err(Failure { sentence: format!("standard output cannot be written ({error})."), status: EX_IOERR })
        }
    }
}

/// Prints the cluster's status; the exit status that says whether it takes writes.
pub fn status(options: &StatusArgs) -> Result<u8, Failure> {
    let balancer = BalancerAt { name: options.lb.clone(), timeout: ASK_PATIENCE };
    runtime().map_err(no_ring)?.block_on(async {
        let mut known: Option<Roster> = None;
        loop {
            let (roster, note) = match (balancer.roster().await, known) {
                (Ok(roster), _) => (roster, None),
                // whoever watches wants to see how the servers go on without it
                (Err(error), Some(known)) if options.watch => (known, Some(error.to_string())),
                (Err(error), _) => return Err(no_roster(&error)),
            };
            let found = survey(roster.clone()).await;
            known = Some(roster);
            let mut text = if options.json { status::json(&found) } else { status::table(&found) };
            if let Some(note) = note.filter(|_| !options.json) {
                text.push_str(&format!("{note}\n"));
            }
            if !options.watch {
                print(&text)?;
                return Ok(if Verdict::of(&found).is_writable() { 0 } else { STATUS_NOT_WRITABLE });
            }
            let clear = if io::stdout().is_terminal() && !options.json { CLEAR } else { "" };
            print(&format!("{clear}{text}"))?;
            tokio::time::sleep(WATCH_PAUSE).await;
        }
    })
}

/// Compares the members' data and prints what came of it; its exit status.
pub fn verify(options: &VerifyArgs) -> Result<u8, Failure> {
    let balancer = BalancerAt { name: options.lb.clone(), timeout: ASK_PATIENCE };
    let verified = runtime()
        .map_err(no_ring)?
        .block_on(verify::verify(&balancer, Duration::from_secs(options.timeout)))
        .map_err(|error| no_roster(&error))?;
    match verified {
        Finding::Unknown(why) => Err(Failure { sentence: why.clone(), status: Finding::Unknown(why).exit_code() }),
        finding => print(&format!("{finding}\n")).map(|()| finding.exit_code()),
    }
}

/// Runs a demo until a signal ends it.
pub fn run_demo(options: &DemoArgs) -> Result<(), Failure> {
    let store = std::env::current_exe()
        .map_err(|error| Failure { sentence: format!("this program cannot be found ({error})."), status: EX_IOERR })?;
    let client = store.with_file_name("client");
    let calls = Calls {
        store: typed(&store),
        // `cargo run` builds the program that it runs and no other
        client: if client.exists() { typed(&client) } else { "cargo run --release --bin client --".to_owned() },
    };
    let config = DemoConfig { servers: options.servers, store, calls };
    demo::run(&config, &mut io::stdout())
        .map_err(|error| Failure { sentence: error.to_string(), status: error.exit_code() })
}

/// A path as one would type it here.
fn typed(path: &Path) -> String {
    let here: PathBuf = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}
