//! `bench storm`: arguments made into a plan, progress on a terminal, Ctrl-C, and the files.

use std::io::{IsTerminal, Write};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::{
    Arrivals, Bound, Encryption, Load, Outcome, Plan, Progress, Target, find_rate, report, run as run_plan, transport,
};
use crate::bench::{Error, look_for_interrupt};
use crate::config::Span;

/// Arguments of `pgprefork bench storm`.
#[derive(Debug, clap::Args)]
pub struct StormArguments {
    /// Address or name of the server, or the folder of its Unix socket.
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// TCP port, and the number in the Unix socket's name.
    #[arg(long, default_value_t = 5432)]
    port: u16,
    /// User to connect as.
    #[arg(long, default_value = "postgres")]
    user: String,
    /// Database to connect to (default: the user's name).
    #[arg(long)]
    database: Option<String>,
    /// File whose first line is the password (default: the variable PGPASSWORD).
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Whether TLS is required; certificates are not verified.
    #[arg(long, default_value = "disable", value_parser = ["disable", "require"])]
    sslmode: String,
    /// With TLS: resume sessions where the server gives tickets.
    #[arg(long)]
    tls_resume: bool,
    /// Let the server be on another machine.
    #[arg(long)]
    allow_remote: bool,
    /// Closed loop: so many clients, each beginning a session as soon as its last one is over.
    #[arg(long, default_value_t = 8, conflicts_with = "rate")]
    clients: usize,
    /// Open loop: sessions a second, timed from when they were due.
    #[arg(long)]
    rate: Option<f64>,
    /// How the arrivals of an open loop are spread.
    #[arg(long, default_value = "poisson", value_parser = ["constant", "poisson"], requires = "rate")]
    arrivals: String,
    /// So many arrivals at once, then nothing until the rate is kept.
    #[arg(long, value_name = "SESSIONS", requires = "rate", conflicts_with = "arrivals")]
    burst: Option<u32>,
    /// Find the highest rate, from --rate upwards, that keeps --p99.
    #[arg(long, requires = "rate")]
    find_rate: bool,
    /// Bound on the 99th percentile of the time to ready, for --find-rate.
    #[arg(long, default_value = "20ms", value_parser = Span::parse, requires = "find_rate")]
    p99: Span,
    /// Queries a session.
    #[arg(long, default_value_t = 1)]
    queries: u32,
    /// The query's text.
    #[arg(long, value_name = "SQL", default_value = "SELECT 1")]
    query: String,
    /// Pause after every answer.
    #[arg(long, default_value = "0", value_parser = Span::parse)]
    think: Span,
    /// Seconds to measure; for --find-rate those of a step.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Time before that.
    #[arg(long, default_value = "1s", value_parser = Span::parse)]
    warm_up: Span,
    /// How long a session may wait for the server.
    #[arg(long, default_value = "10s", value_parser = Span::parse)]
    timeout: Span,
    /// Threads (default: as many as the load can keep busy, at most the cores).
    #[arg(long)]
    threads: Option<usize>,
    /// Most sessions at a time; an open loop counts those beyond as errors (default: 4096, or twice the clients).
    #[arg(long, value_name = "SESSIONS")]
    max_open: Option<usize>,
    /// Loopback addresses to come from in turn (default: another one only when ports run out).
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..=254))]
    source_addresses: Option<u8>,
    /// Seed of the Poisson arrivals.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Also write everything as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also write everything as CSV.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

/// Runs the load and prints what it found. Exit code 1 where no session became ready.
pub fn run(arguments: &StormArguments) -> Result<ExitCode, Error> {
    let plan = plan(arguments)?;
    raise_descriptor_limit();
    let mut line = ProgressLine::new();
    if arguments.find_rate {
        let bound = Bound { p99: arguments.p99.duration() };
        let search = find_rate(&plan, bound, &mut |rate, progress| {
            line.show(&format!("{rate:.0}/s: "), progress);
            look_for_interrupt()
        })?;
        line.clear();
        print!("{}", report::search_table(&search));
        if let Some(step) = search.best() {
            print!("\n{}", report::table(&step.outcome));
        }
        let outcomes: Vec<&Outcome> = search.steps.iter().map(|step| &step.outcome).collect();
        write_files(arguments, &report::search_json(&search), &outcomes)?;
        return Ok(if search.best().is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let outcome = run_plan(&plan, &mut |progress| {
        line.show("", progress);
        look_for_interrupt()
    })?;
    line.clear();
    print!("{}", report::table(&outcome));
    write_files(arguments, &report::json(&outcome), &[&outcome])?;
    Ok(if outcome.tally.became_ready > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn write_files(arguments: &StormArguments, json: &serde_json::Value, outcomes: &[&Outcome]) -> Result<(), Error> {
    let write = |path: &Path, text: String| {
        std::fs::write(path, text).map_err(|error| Error::Io(path.display().to_string(), error))
    };
    if let Some(path) = &arguments.json {
        write(path, format!("{json:#}\n"))?;
    }
    if let Some(path) = &arguments.csv {
        write(path, report::csv(outcomes))?;
    }
    Ok(())
}

fn plan(arguments: &StormArguments) -> Result<Plan, Error> {
    let target = target(&arguments.host, arguments.port, arguments.allow_remote)?;
    let load = match arguments.rate {
        None => Load::Closed { clients: arguments.clients },
        Some(rate) => {
            let arrivals = match (arguments.burst, arguments.arrivals.as_str()) {
                (Some(size), _) => Arrivals::Burst(size),
                (None, "constant") => Arrivals::Constant,
                (None, _) => Arrivals::Poisson,
            };
            Load::Open { rate, arrivals }
        }
    };
    let max_open = arguments.max_open.unwrap_or(match load {
        Load::Closed { clients } => clients.saturating_mul(2).max(64),
        Load::Open { .. } => 4096,
    });
    let duration = Duration::try_from_secs_f64(arguments.seconds)
        .map_err(|error| Error::Plan(format!("--seconds {}: {error}", arguments.seconds)))?;
    Ok(Plan {
        user: arguments.user.clone(),
        database: arguments.database.clone().unwrap_or_else(|| arguments.user.clone()),
        password: password(arguments.password_file.as_deref())?,
        encryption: match (arguments.sslmode == "require", arguments.tls_resume) {
            (false, _) => Encryption::None,
            (true, false) => Encryption::Full,
            (true, true) => Encryption::Resumed,
        },
        load,
        queries: arguments.queries,
        query: arguments.query.clone(),
        think: arguments.think.duration(),
        warm_up: arguments.warm_up.duration(),
        duration,
        timeout: arguments.timeout.duration(),
        threads: arguments.threads.unwrap_or_else(|| Plan::useful_threads(load)),
        max_open,
        source_addresses: arguments.source_addresses,
        seed: arguments.seed,
        ..Plan::new(target)
    })
}

/// The place to connect to. Other machines only when that is allowed: a storm is not a thing to point at somebody by
/// a slip of the finger.
fn target(host: &str, port: u16, allow_remote: bool) -> Result<Target, Error> {
    if host.starts_with('/') {
        return Ok(Target::Unix(Path::new(host).join(format!(".s.PGSQL.{port}"))));
    }
    let unreachable = |error| Error::Io(format!("finding {host}"), error);
    let addresses: Vec<SocketAddr> = match host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => (host, port).to_socket_addrs().map_err(unreachable)?.collect(),
    };
    // Of a name with both kinds of addresses, IPv4 has the many loopback addresses.
    let address = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
    match address {
        None => Err(Error::Plan(format!("{host} has no address"))),
        Some(address) if !allow_remote && !transport::is_loopback(address.ip()) => {
            Err(Error::Plan(format!("{} is not this machine's loopback; --allow-remote if you mean it", address.ip())))
        }
        Some(address) => Ok(Target::Tcp(*address)),
    }
}

fn password(file: Option<&Path>) -> Result<Option<String>, Error> {
    match file {
        None => Ok(std::env::var("PGPASSWORD").ok().filter(|password| !password.is_empty())),
        Some(file) => {
            let text = std::fs::read_to_string(file).map_err(|error| Error::Io(file.display().to_string(), error))?;
            Ok(Some(text.lines().next().unwrap_or_default().to_owned()))
        }
    }
}

/// A storm needs a descriptor a session. Where even the hard limit is too low, EMFILE is among the errors.
pub fn raise_descriptor_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// One line that is written over again; on terminals only.
struct ProgressLine {
    is_terminal: bool,
    before: Progress,
}

impl ProgressLine {
    fn new() -> Self {
        Self { is_terminal: std::io::stderr().is_terminal(), before: Progress::default() }
    }

    fn show(&mut self, prefix: &str, progress: &Progress) {
        let is_new_run = progress.elapsed < self.before.elapsed;
        let before = if is_new_run { Progress::default() } else { self.before };
        let span = progress.elapsed.saturating_sub(before.elapsed);
        if !self.is_terminal || span < Duration::from_millis(400) {
            return;
        }
        let rate = progress.ready.saturating_sub(before.ready) as f64 / span.as_secs_f64();
        eprint!(
            "\r\x1b[K{prefix}{:.1} s: {rate:.0} ready/s, {} open, {} errors",
            progress.elapsed.as_secs_f64(),
            progress.open,
            progress.errors
        );
        let _ = std::io::stderr().flush();
        self.before = *progress;
    }

    fn clear(&self) {
        if self.is_terminal {
            eprint!("\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_machines_have_to_be_allowed() {
        assert!(matches!(target("127.0.0.1", 1, false), Ok(Target::Tcp(_))));
        assert!(matches!(target("::1", 1, false), Ok(Target::Tcp(_))));
        assert!(matches!(target("192.0.2.1", 1, false), Err(Error::Plan(_))));
        assert!(matches!(target("0.0.0.0", 1, false), Err(Error::Plan(_))));
        assert!(matches!(target("192.0.2.1", 1, true), Ok(Target::Tcp(_))));
        let unix = target("/run/postgresql", 5433, false).expect("a path");
        assert_eq!(unix, Target::Unix("/run/postgresql/.s.PGSQL.5433".into()));
    }
}
