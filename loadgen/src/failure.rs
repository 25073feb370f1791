//! Why a load ended early: the one error type of this crate. In `run` a wrong reply is no failure but a count in the
//! [`Tally`](crate::engine::Tally), unless nothing after it can be understood.

use std::process::ExitCode;
use std::{fmt, io};

/// Exit status when an objective of `--fail-if` was missed.
pub const EXIT_MISSED: u8 = 2;
/// Exit status when the load generator was the limit, so that the figures are its own.
pub const EXIT_INVALID: u8 = 3;
/// Exit status when a reply was wrong.
pub const EXIT_WRONG_REPLIES: u8 = 4;
/// Exit status when the command line was wrong, as sysexits has it.
pub const EXIT_USAGE: u8 = 64;

/// What could not be done, in words for the one who typed the command.
#[derive(Debug)]
pub struct Failure {
    what: String,
    /// Whether the server is to blame: it answered, and wrongly.
    wrong_reply: bool,
}

impl Failure {
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), wrong_reply: false }
    }

    /// The server answered what it must not.
    pub fn wrong_reply(what: impl Into<String>) -> Self {
        Self { what: what.into(), wrong_reply: true }
    }

    pub fn exit_code(&self) -> ExitCode {
        if self.wrong_reply { ExitCode::from(EXIT_WRONG_REPLIES) } else { ExitCode::FAILURE }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// Says what was being done when the system refused.
pub trait While<T> {
    fn during(self, what: impl fmt::Display) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> While<T> for Result<T, E> {
    fn during(self, what: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(format!("{what}: {}", error.into())))
    }
}
