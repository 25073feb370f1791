//! `store`: the server and its tools. From argv to a configuration to the shell, nothing else.
//!
//! Called by the name `memcached` (a link), the arguments are those of memcached.

mod balancer;
mod cluster_tools;
mod keystore_tools;
mod log_tools;
mod memcached;
mod options;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use log_tools::DumpForm;
use options::{Personality, ServerArgs, Surroundings, Usage};
use ringstore::config::ServerConfig;
use ringstore::control;
use ringstore::control::balancer::BalancerConfig;
use ringstore::ring::{process, server};

/// sysexits: the command line was wrong.
const EX_USAGE: u8 = 64;

/// A durable key-value store that any memcached client can use unchanged.
#[derive(Parser, Debug)]
#[command(name = "store", version, subcommand_required = true, arg_required_else_help = true, after_help = LINK_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run a server
    #[command(after_help = ADDSRV_HELP)]
    Addsrv(Box<ServerArgs>),
    /// Run the load balancer of a cluster
    #[command(after_help = balancer::HELP)]
    Addlb(balancer::BalancerArgs),
    /// Show a cluster: its servers, what each does, and which failure it survives
    #[command(after_help = cluster_tools::STATUS_HELP)]
    Status(cluster_tools::StatusArgs),
    /// Check that all servers of a cluster hold the same data
    #[command(after_help = cluster_tools::VERIFY_HELP)]
    Verify(cluster_tools::VerifyArgs),
    /// Have a server lead that may lack what the lost members had acknowledged
    #[command(after_help = cluster_tools::UNSAFE_RECOVER_HELP)]
    UnsafeRecover(cluster_tools::UnsafeRecoverArgs),
    /// Run a load balancer and servers on this machine to try a cluster out; Ctrl-C removes them
    Demo(cluster_tools::DemoArgs),
    /// Read what a server holds
    #[command(after_help = keystore_tools::KEYSTORE_HELP, subcommand_required = true, arg_required_else_help = true)]
    Keystore {
        #[command(subcommand)]
        tool: KeystoreTool,
    },
    /// Read a server's log
    #[command(after_help = log_tools::LOG_HELP, subcommand_required = true, arg_required_else_help = true)]
    Log {
        #[command(subcommand)]
        tool: LogTool,
    },
}

#[derive(Subcommand, Debug)]
enum KeystoreTool {
    /// Print every item as `<key> <value>`
    Dump {
        /// The data directory
        dir: PathBuf,
        /// Every item with everything that is known about it, one object a line
        #[arg(long)]
        json: bool,
    },
}

#[derive(Subcommand, Debug)]
enum LogTool {
    /// Print every set as `<index> <key> <value>`
    Dump {
        /// The data directory
        dir: PathBuf,
        /// Every entry with everything that is known about it, one object a line
        #[arg(long)]
        json: bool,
    },
    /// Check every byte
    Verify {
        /// The data directory
        dir: PathBuf,
    },
}

const LINK_HELP: &str = "\
Under the name memcached (ln -s store memcached) the program takes memcached's command line and keeps no log unless
--data-dir is given.

  store demo                       a cluster of three servers on this machine, and what to try with it
  store addsrv                     a server alone on 127.0.0.1:11211, its log in ./ringstore.data
  store addsrv --no-log -m 4096    a cache of 4 GB
  store addlb                      a load balancer on 127.0.0.1:11200, its record in ./ringstore.lb
  store addsrv --lb HOST:PORT      a server of its cluster
  store status --lb HOST:PORT      what the cluster does, and which failure it survives
  store addsrv --help              every option
  store keystore dump DIR          every item that the server of DIR has
  store log dump DIR               every set that the log in DIR holds
  store log verify DIR             check that log";

const ADDSRV_HELP: &str = "\
With --lb the server joins the cluster of a load balancer that runs; it answers gets and sets whether it leads or follows.
The server listens on 127.0.0.1 unless -l says otherwise: there is no password, so open it to a network you trust only.
Refused, with the reason: -S (SASL), -Z (TLS), -Y (authentication file), -e (memory file), -U other than 0 (UDP), -B
binary, and ext_*, proxy_*, ssl_* of -o.

Exit status: 0 stopped as asked, 64 a wrong command line, 71 refused by the operating system.";

/// A failure that ends the program: one sentence and a status of sysexits.
struct Failure {
    sentence: String,
    status: u8,
}

impl From<Usage> for Failure {
    fn from(usage: Usage) -> Self {
        Self { sentence: usage.0, status: EX_USAGE }
    }
}

impl From<process::ProcessError> for Failure {
    fn from(error: process::ProcessError) -> Self {
        Self { sentence: error.to_string(), status: error.exit_code() }
    }
}

impl From<log_tools::ToolError> for Failure {
    fn from(error: log_tools::ToolError) -> Self {
        Self { sentence: error.to_string(), status: error.exit_code() }
    }
}

const fn form(json: bool) -> DumpForm {
    if json { DumpForm::Json } else { DumpForm::Text }
}

fn run_keystore_tool(tool: &KeystoreTool) -> Result<(), log_tools::ToolError> {
    let KeystoreTool::Dump { dir, json } = tool;
    keystore_tools::dump(dir, form(*json), std::io::stdout().lock())
}

fn run_log_tool(tool: &LogTool) -> Result<(), log_tools::ToolError> {
    let out = std::io::stdout().lock();
    match tool {
        LogTool::Dump { dir, json } => log_tools::dump(dir, form(*json), out),
        LogTool::Verify { dir } => log_tools::verify(dir, out),
    }
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let name = arguments.first().map_or_else(|| OsString::from("store"), Clone::clone);
    let personality = if Path::new(&name).file_name().is_some_and(|name| name == "memcached") {
        Personality::Memcached
    } else {
        Personality::Store
    };
    let around = Surroundings {
        personality,
        usable_cpus: process::usable_cpus().len(),
        port_file: std::env::var_os("MEMCACHED_PORT_FILENAME").map(Into::into),
    };
    let done = match personality {
        Personality::Memcached => match memcached::read(arguments) {
            Ok(memcached::Call::Serve(options)) => {
                let config = options.into_config(&around).map_err(Failure::from);
                config.and_then(|config| serve(personality, config)).map(|()| 0)
            }
            Ok(memcached::Call::Print(text)) => return print(&text),
            Err(error) => return say(&error),
        },
        Personality::Store => match Cli::try_parse_from(arguments) {
            Ok(cli) => run(cli.command, &around),
            Err(error) => return say(&error),
        },
    };
    match done {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            let name = if personality == Personality::Memcached { "memcached" } else { "store" };
            eprintln!("{name}: {}", failure.sentence);
            process::announce_failure(failure.status);
            ExitCode::from(failure.status)
        }
    }
}

/// Does what a command says; the exit status.
fn run(command: Command, around: &Surroundings) -> Result<u8, Failure> {
    match command {
        Command::Addsrv(options) => serve(around.personality, options.into_config(around)?)?,
        Command::Addlb(options) => balance(&options.into_config()?)?,
        Command::Status(options) => return cluster_tools::status(&options),
        Command::Verify(options) => return cluster_tools::verify(&options),
        Command::UnsafeRecover(options) => cluster_tools::unsafe_recover(&options)?,
        Command::Demo(options) => cluster_tools::run_demo(&options)?,
        Command::Keystore { tool } => run_keystore_tool(&tool)?,
        Command::Log { tool } => run_log_tool(&tool)?,
    }
    Ok(0)
}

/// Starts the server and stays until it ends.
fn serve(personality: Personality, config: ServerConfig) -> Result<(), Failure> {
    trace_to_stderr(personality, config.verbosity);
    if let Some(directory) = &config.data_dir {
        tracing::info!("the log is in {}", directory.display());
    }
    // the guard removes the pid file when the server has ended
    let _prepared = process::prepare(&config)?;
    server::run(config).map_err(|error| Failure { sentence: error.to_string(), status: error.exit_code() })
}

/// Runs the load balancer until it ends.
fn balance(config: &BalancerConfig) -> Result<(), Failure> {
    trace_to_stderr(Personality::Store, 0);
    let ready = |address| tracing::info!("listening on {address}, the record is in {}", config.data_dir.display());
    control::balancer::run(config, ready)
        .map_err(|error| Failure { sentence: error.to_string(), status: error.exit_code() })
}

/// Events of the shell go to standard error: warnings always, more with each `-v`. A server of ours also says where it
/// listens and what it has read; memcached is silent, and so are we under its name.
fn trace_to_stderr(personality: Personality, verbosity: u8) {
    let level = match verbosity + u8::from(personality == Personality::Store) {
        0 => tracing::Level::WARN,
        1 => tracing::Level::INFO,
        2 => tracing::Level::DEBUG,
        _ => tracing::Level::TRACE,
    };
    // a line that cannot be written, as to a file on a full disk, must not end the process: it would be told by a panic
    let lines = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_target(false);
    lines.log_internal_errors(false).init();
}

/// Prints clap's answer: help and version are no errors.
fn say(error: &clap::Error) -> ExitCode {
    // a closed pipe is the reader's choice
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ => ExitCode::from(EX_USAGE),
    }
}

fn print(text: &str) -> ExitCode {
    use std::io::Write;
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}
