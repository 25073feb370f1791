//! `client`: one request to a server. From argv to a request to the shell, nothing else.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueEnum};
use ringstore::control::fleet::Fleet;
use ringstore::control::output::{self, Outcome};
use ringstore::control::reply::Reply;
use ringstore::control::request::{self, Key, Request, RequestError, StoreMode};
use ringstore::control::roster::BalancerAt;
use ringstore::control::session::Server;
use ringstore::time::Seconds;

/// sysexits: the command line was wrong.
const EX_USAGE: u8 = 64;
/// sysexits: standard input or output failed.
const EX_IOERR: u8 = 74;
/// Who is asked when neither `--server` nor `--lb` is given.
const SERVER_DEFAULT: &str = "127.0.0.1:11211";
/// Longest time-out: a day.
const TIMEOUT_SECONDS_MAX: f64 = 86_400.0;

/// Ask a ringstore server, or any other that speaks memcached's protocol.
#[derive(Parser, Debug)]
#[command(name = "client", version, subcommand_required = true, arg_required_else_help = true, after_help = AFTER_HELP)]
struct Cli {
    /// The server [default: 127.0.0.1:11211]
    #[arg(long, global = true, value_name = "HOST:PORT")]
    server: Option<String>,
    /// The load balancer of a cluster: whichever of its servers can answers
    #[arg(long, global = true, value_name = "HOST:PORT")]
    lb: Option<String>,
    /// With --lb: send a set or touch again when its outcome is unknown, though it may then take place twice, over what
    /// others wrote in between
    #[arg(long, global = true)]
    resend: bool,
    /// Form of the output
    #[arg(short, long, global = true, value_enum, default_value = "text")]
    output: Form,
    /// Seconds to wait for the connection and for each part of the answer
    #[arg(long, global = true, value_name = "SECONDS", default_value = "5", value_parser = timeout)]
    timeout: Duration,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit status: 0 done, 1 not found or not stored, 64 a wrong command line, 65 the server refused the request, 69 no server
can be reached, 71 the kernel refuses io_uring, 74 standard input or output failed, 75 no answer or a server's error, 76
not a memcached server.";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    /// Values as they are; of several keys, lines of KEY VALUE
    Text,
    /// One document with flags and cas ids; what is not UTF-8 is in base64
    Json,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Store a value
    Set(Set),
    /// Print the values of keys
    Get {
        /// The keys
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<OsString>,
    },
    /// Delete a key
    Delete {
        /// The key
        key: OsString,
    },
    /// Add to a counter and print its new value
    Incr(Counter),
    /// Subtract from a counter, down to 0, and print its new value
    Decr(Counter),
    /// Set the time after which a key expires
    Touch {
        /// The key
        key: OsString,
        /// Seconds from now; 0 for never
        seconds: u64,
    },
    /// Print the server's statistics
    Stats {
        /// Which: items, slabs, settings, conns, ...
        #[arg(value_name = "ARG")]
        arguments: Vec<OsString>,
    },
    /// Print the version of memcached whose behaviour the server has
    Version,
}

#[derive(Args, Debug)]
struct Set {
    /// The key: 1 to 250 bytes without spaces
    key: OsString,
    /// The value; - reads it from standard input, all bytes of it
    #[arg(allow_negative_numbers = true)]
    value: OsString,
    /// A number kept with the value
    #[arg(long, value_name = "N", default_value = "0")]
    flags: u32,
    /// Seconds after which the key expires; 0 for never
    #[arg(long, value_name = "SECONDS", default_value = "0")]
    ttl: u64,
    #[command(flatten)]
    condition: Condition,
}

#[derive(Args, Debug)]
#[group(multiple = false)]
struct Condition {
    /// Only if the key is not there
    #[arg(long)]
    add: bool,
    /// Only if the key is there
    #[arg(long)]
    replace: bool,
    /// Put the value behind the one that is there
    #[arg(long)]
    append: bool,
    /// Put the value before the one that is there
    #[arg(long)]
    prepend: bool,
    /// Only if the item still has this cas id (from get -o json)
    #[arg(long, value_name = "ID")]
    cas: Option<u64>,
}

#[derive(Args, Debug)]
struct Counter {
    /// The key
    key: OsString,
    /// By how much
    #[arg(default_value = "1")]
    delta: u64,
}

fn timeout(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= TIMEOUT_SECONDS_MAX => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("give seconds, greater than 0 and at most a day".to_owned()),
    }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
                _ => ExitCode::from(EX_USAGE),
            };
        }
    };
    let format = match cli.output {
        Form::Text => output::Format::Text { terminal: io::stdout().is_terminal() },
        Form::Json => output::Format::Json,
    };
    let outcome = match to_request(cli.command, format) {
        Err(outcome) => outcome,
        Ok(request) => match ask(cli.server, cli.lb, cli.timeout, cli.resend, &request) {
            Ok(replies) => output::show(&request, &replies, format),
            Err(outcome) => outcome,
        },
    };
    finish(&outcome)
}

fn ask(
    server: Option<String>,
    lb: Option<String>,
    timeout: Duration,
    resend: bool,
    request: &Request,
) -> Result<Vec<Reply>, Outcome> {
    if server.is_some() && lb.is_some() {
        return Err(failure(
            "--server names one server and --lb all of a cluster: give one of them.".to_owned(),
            EX_USAGE,
        ));
    }
    if resend && (lb.is_none() || !request.may_be_repeated()) {
        let sentence = "--resend is for a set without a condition, or a touch, with --lb: anything else done twice is not what \
                        was asked for.";
        return Err(failure(sentence.to_owned(), EX_USAGE));
    }
    let Some(name) = lb else {
        let server = Server { name: server.unwrap_or_else(|| SERVER_DEFAULT.to_owned()), timeout };
        return server.call(request).map_err(|error| failure(error.to_string(), error.exit_code()));
    };
    let fleet = Fleet { balancer: BalancerAt { name, timeout }, timeout, resend };
    fleet.call(request).map_err(|error| failure(error.to_string(), error.exit_code()))
}

fn failure(complaint: String, status: u8) -> Outcome {
    Outcome { complaint: Some(complaint), status, ..Outcome::default() }
}

fn to_request(command: Command, format: output::Format) -> Result<Request, Outcome> {
    let wrong = |error: RequestError| failure(error.to_string(), EX_USAGE);
    let key = |text: OsString| Key::new(text.into_vec()).map_err(wrong);
    let expiry = |seconds| request::exptime(seconds, now()).map_err(wrong);
    Ok(match command {
        Command::Set(set) => Request::Store {
            mode: mode(&set.condition),
            key: key(set.key)?,
            flags: set.flags,
            exptime: expiry(set.ttl)?,
            value: value(set.value)?,
        },
        Command::Get { keys } => {
            let keys = keys.into_iter().map(key).collect::<Result<_, _>>()?;
            Request::get(keys, format == output::Format::Json).map_err(wrong)?
        }
        Command::Delete { key: name } => Request::Delete(key(name)?),
        Command::Incr(counter) => Request::Increment(key(counter.key)?, counter.delta),
        Command::Decr(counter) => Request::Decrement(key(counter.key)?, counter.delta),
        Command::Touch { key: name, seconds } => Request::Touch(key(name)?, expiry(seconds)?),
        Command::Stats { arguments } => {
            Request::stats(arguments.into_iter().map(|word| Bytes::from(word.into_vec())).collect()).map_err(wrong)?
        }
        Command::Version => Request::Version,
    })
}

const fn mode(condition: &Condition) -> StoreMode {
    match condition {
        Condition { add: true, .. } => StoreMode::Add,
        Condition { replace: true, .. } => StoreMode::Replace,
        Condition { append: true, .. } => StoreMode::Append,
        Condition { prepend: true, .. } => StoreMode::Prepend,
        Condition { cas: Some(unique), .. } => StoreMode::Cas(*unique),
        _ => StoreMode::Set,
    }
}

fn value(argument: OsString) -> Result<Bytes, Outcome> {
    if argument != "-" {
        return Ok(argument.into_vec().into());
    }
    let mut bytes = Vec::new();
    match io::stdin().lock().read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes.into()),
        Err(error) => Err(failure(format!("standard input cannot be read ({error}): give the value."), EX_IOERR)),
    }
}

fn now() -> Seconds {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Seconds(u32::try_from(since.as_secs()).unwrap_or(u32::MAX))
}

fn finish(outcome: &Outcome) -> ExitCode {
    let mut stdout = io::stdout().lock();
    if let Err(error) = stdout.write_all(&outcome.stdout).and_then(|()| stdout.flush()) {
        // a reader that has seen enough, such as head, is no reason to complain
        if error.kind() != io::ErrorKind::BrokenPipe {
            eprintln!("client: standard output cannot be written ({error}).");
        }
        return ExitCode::from(EX_IOERR);
    }
    if let Some(complaint) = &outcome.complaint {
        eprintln!("client: {complaint}");
    }
    ExitCode::from(outcome.status)
}
