//! Commands: arguments → one function a command. Prints for people; decides nothing about serving.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::bench;
use crate::engine::sqlite::ffi;

mod check;
mod control;
mod init;
mod log;
mod orders;
mod pgbouncer;
mod pool;
mod rules;
mod self_signed;
mod serve;

#[derive(Debug, Parser)]
#[command(name = "pgprefork", version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(ServeArguments),
    /// Create a cluster with the authentication of your choice
    Init(InitArguments),
    /// Show what a running server is doing
    Status(StatusArguments),
    /// Have a running server read its configuration and access rules again
    Reload(DataArgument),
    /// Relay: lend no connection of a database, and wait until all are back
    Pause(orders::AnyArguments),
    /// Relay: end a pause
    Resume(orders::AnyArguments),
    /// Relay: replace the connections of a database, each when it is given back
    Reconnect(orders::AnyArguments),
    /// Relay: end all sessions of a database, and pause it
    Kill(orders::OneArguments),
    /// Relay: let no new client into a database
    Disable(orders::OneArguments),
    /// Relay: let clients into a database again
    Enable(orders::OneArguments),
    /// Say what is wrong with the configuration and the access rules, before a start or a reload does
    Check(CheckArguments),
    /// Stop a running server and wait until it has ended
    Stop(StopArguments),
    /// Compare the connection models
    Bench {
        /// What to compare
        #[command(subcommand)]
        command: bench::Command,
    },
}

#[derive(Debug, Args)]
struct DataArgument {
    /// Data directory (default: the XDG data directory's pgprefork, or /var/lib/pgprefork for root)
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ServeArguments {
    #[command(flatten)]
    data: DataArgument,
    /// TCP port, and the number in the Unix socket's name
    #[arg(long)]
    port: Option<u16>,
    /// Addresses to listen on, comma-separated
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    listen: Option<Vec<std::net::IpAddr>>,
    /// How a client's process comes to be
    #[arg(long)]
    model: Option<ModelArgument>,
    /// What answers SQL (default: engine.kind of the settings, else sqlite)
    #[arg(long)]
    engine: Option<EngineArgument>,
    /// Where PostgreSQL's programs are, for --engine postgres (default: PATH, pg_config, Debian's newest)
    #[arg(long, value_name = "DIR")]
    pg_bindir: Option<PathBuf>,
    /// User to run as, when started as root
    #[arg(long)]
    user: Option<String>,
    /// Go on in the background once the server is ready
    #[arg(long)]
    detach: bool,
    /// Settings beside those in the data directory
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting (can be given often)
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Debug, Args)]
struct CheckArguments {
    #[command(flatten)]
    data: DataArgument,
    /// Settings beside those in the data directory
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting (can be given often)
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ModelArgument {
    /// Workers are there before clients come, and accept themselves
    Prefork,
    /// PostgreSQL's way: accept, then fork
    ForkOnAccept,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum EngineArgument {
    /// The embedded engine: nothing else has to be installed
    Sqlite,
    /// A PostgreSQL that this server starts below its data directory and keeps running
    Postgres,
    /// PostgreSQL servers that are there already, as the section relay of the settings names them
    Relay,
    /// Canned rows, to measure the front door
    Null,
}

#[derive(Debug, Args)]
struct InitArguments {
    #[command(flatten)]
    data: DataArgument,
    /// How clients prove who they are
    #[arg(long, value_name = "METHOD", default_value = "scram-sha-256", value_parser = ["trust", "scram-sha-256"])]
    auth: String,
    /// File whose first line is the superuser's password
    #[arg(long, value_name = "FILE")]
    pwfile: Option<PathBuf>,
    /// The superuser's name
    #[arg(long, value_name = "NAME", default_value = "postgres")]
    username: String,
    /// User to give the cluster to, when run by root
    #[arg(long)]
    user: Option<String>,
    /// Make a self-signed certificate, to try TLS with
    #[arg(long)]
    tls_self_signed: bool,
    /// Take over the settings of a PgBouncer: a relay to the same servers
    #[arg(long, value_name = "PGBOUNCER.INI", conflicts_with_all = ["auth", "pwfile", "username"])]
    from_pgbouncer: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct StatusArguments {
    #[command(flatten)]
    data: DataArgument,
    /// For machines
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct StopArguments {
    #[command(flatten)]
    data: DataArgument,
    /// smart: wait for sessions to end; fast: end them; immediate: as after a crash
    #[arg(long, default_value = "fast")]
    mode: StopMode,
    /// Seconds to wait for the end
    #[arg(long, default_value_t = 60)]
    timeout: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum StopMode {
    Smart,
    Fast,
    Immediate,
}

/// Runs the command that the process's arguments name. Exit code 0: done; 1: one line on standard error says
/// why not; 2: the arguments make no sense; 3: `status` found no server.
pub fn main() -> ExitCode {
    // Before anything uses SQLite: it takes no other allocator afterwards.
    ffi::memory::install();
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Init(arguments) => init::run(&arguments),
        Command::Status(arguments) => control::status(&arguments),
        Command::Reload(data) => control::reload(&data),
        Command::Pause(arguments) => orders::any("PAUSE", arguments),
        Command::Resume(arguments) => orders::any("RESUME", arguments),
        Command::Reconnect(arguments) => orders::any("RECONNECT", arguments),
        Command::Kill(arguments) => orders::one("KILL", arguments),
        Command::Disable(arguments) => orders::one("DISABLE", arguments),
        Command::Enable(arguments) => orders::one("ENABLE", arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Stop(arguments) => control::stop(&arguments),
        Command::Bench { command } => bench::run(command).map_err(|error| error.to_string()),
    };
    result.unwrap_or_else(|message| {
        eprintln!("pgprefork: {message}");
        ExitCode::FAILURE
    })
}

/// What a command came to: an exit code, or the one line that says why it failed.
type Outcome = Result<ExitCode, String>;

impl DataArgument {
    /// The directory that was named, or the default one; absolute.
    fn directory(&self) -> Result<PathBuf, String> {
        let directory = match &self.data {
            Some(directory) => directory.clone(),
            None => default_directory()?,
        };
        std::path::absolute(&directory).map_err(|error| format!("{}: {error}", directory.display()))
    }
}

fn default_directory() -> Result<PathBuf, String> {
    if crate::system::privileges::is_root() {
        return Ok(PathBuf::from("/var/lib/pgprefork"));
    }
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // The XDG specification says to ignore a path that isn't absolute.
    set("XDG_DATA_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| Some(set("HOME")?.join(".local/share")))
        .map(|base| base.join("pgprefork"))
        .ok_or_else(|| "no data directory: --data is not given, and neither XDG_DATA_HOME nor HOME is set".to_owned())
}
