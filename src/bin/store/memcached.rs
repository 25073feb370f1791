//! The program under the name `memcached`: its command line, help, version and licence texts.

use std::ffi::OsString;

use clap::Parser;

use crate::options::{ServerArgs, memcached_version};

const OPTIONS: &str = include_str!("memcached.txt");
const LICENSE: &str = include_str!("../../../LICENSE");

/// What a memcached command line asks for.
#[derive(Debug)]
pub enum Call {
    /// A server with these options.
    Serve(Box<ServerArgs>),
    /// A text on standard output.
    Print(String),
}

#[derive(Parser, Debug)]
#[command(name = "memcached", disable_help_flag = true, disable_version_flag = true, infer_long_args = true)]
struct Memcached {
    #[command(flatten)]
    options: ServerArgs,
    #[arg(short, long)]
    help: bool,
    #[arg(short = 'V', long)]
    version: bool,
    #[arg(short = 'i', long)]
    license: bool,
}

/// Reads memcached's command line, the name of the program included.
pub fn read(arguments: Vec<OsString>) -> Result<Call, clap::Error> {
    let call = Memcached::try_parse_from(arguments)?;
    Ok(if call.help {
        Call::Print(help())
    } else if call.version {
        Call::Print(format!("{}\n", memcached_version()))
    } else if call.license {
        Call::Print(format!("{}\n\nThis is ringstore {}.\n\n{LICENSE}", memcached_version(), env!("CARGO_PKG_VERSION")))
    } else {
        Call::Serve(Box::new(call.options))
    })
}

/// `-h`: clients' test suites read the version off its first line.
fn help() -> String {
    format!("{}\n{OPTIONS}", memcached_version())
}
