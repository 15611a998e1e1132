//! Benchmarks that the program runs on itself and on its peers, and their report.
//!
//! Owns the measuring side only: servers are started as processes of their own, on temporary directories and
//! free ports, and are reached over loopback like any other. Nothing here may be used by a serving process.

mod models;
pub mod storm;

use std::ops::ControlFlow;
use std::process::ExitCode;

use crate::system::signal;

pub use models::ModelsArguments;
pub use models::explain::ExplainArguments;

/// What `pgprefork bench` can do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Compares the connection models (and PostgreSQL and poolers, where asked) under the same workloads.
    Models(ModelsArguments),
    /// Shows what one connection costs, step by step, in each model.
    Explain(ExplainArguments),
    /// Opens and ends sessions at a given rate, or as fast as they go, and times every phase of them.
    Storm(Box<storm::StormArguments>),
}

/// Runs a benchmark and prints what it found. Ctrl-C ends the measuring, not the process: what there is is printed, and
/// servers that were started are ended.
pub fn run(command: Command) -> Result<ExitCode, Error> {
    signal::catch_interrupts().map_err(|error| Error::Io("catching signals".to_owned(), error))?;
    match command {
        Command::Models(arguments) => models::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Explain(arguments) => models::explain::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Storm(arguments) => storm::run_command(&arguments),
    }
}

/// Break once somebody has stopped the benchmark.
fn look_for_interrupt() -> ControlFlow<()> {
    if signal::is_interrupted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// Why a benchmark did not come to its end.
#[derive(Debug)]
pub enum Error {
    /// A program that the benchmark drives is not installed.
    ProgramMissing(&'static str),
    /// A program could not be run, or a file not be written.
    Io(String, std::io::Error),
    /// A program ended with an error; its last words.
    Failed(String, String),
    /// A program's output was not of the expected form.
    Unreadable(String),
    /// What was asked for makes no sense, or is not allowed.
    Plan(String),
    /// Somebody has stopped the benchmark.
    Stopped,
    /// What a server acknowledged is not there.
    Inconsistent(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ProgramMissing(program) => {
                write!(
                    f,
                    "{program} is not installed (on Debian: apt-get install postgresql postgresql-contrib pgbouncer pgpool2)"
                )
            }
            Self::Io(what, error) => write!(f, "{what}: {error}"),
            Self::Failed(what, words) => write!(f, "{what} failed: {words}"),
            Self::Unreadable(what) => write!(f, "cannot read {what}"),
            Self::Stopped => f.write_str("stopped"),
            Self::Plan(why) => f.write_str(why),
            Self::Inconsistent(what) => write!(f, "the figures do not count: {what}"),
        }
    }
}

impl std::error::Error for Error {}
