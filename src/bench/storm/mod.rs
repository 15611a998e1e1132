//! A load generator for connections: sessions begin, prove who they are, ask something and end, as many and as often
//! as a plan says, and every phase of them is timed apart.
//!
//! pgbench spends more on a connection than the servers that are compared here. This one has a few threads with one
//! epoll each, sends packets that were encoded once, and keeps what a password costs. In an open loop a session's
//! time counts from when it was due, so that a server which stops for a while cannot hide it (no coordinated
//! omission). [`run`] is all that other benchmarks need.

mod command;
mod connection;
mod credentials;
mod driver;
mod outcome;
mod report;
mod schedule;
mod search;
mod session;
mod tls;
mod transport;

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};

use super::Error;
use connection::Shared;
use credentials::Credentials;
use driver::{Driver, Report};
use session::Packets;

pub use command::StormArguments;
pub(super) use command::{raise_descriptor_limit, run as run_command};
pub use outcome::{CLIENT_BOUND_SHARE, ClientTime, ErrorCount, Errors, Failure, Outcome, Phase, Tally};
pub use report::{csv, json, table};
pub use schedule::Arrivals;
pub use search::{Bound, Search, Step, Verdict, find_rate};

/// Where the server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix socket's path.
    Unix(PathBuf),
}

/// When sessions begin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Load {
    /// So many clients; each begins a session as soon as its last one has said Terminate.
    Closed {
        /// How many.
        clients: usize,
    },
    /// At a rate of their own, whatever the server does.
    Open {
        /// Sessions a second.
        rate: f64,
        /// How they are spread.
        arrivals: Arrivals,
    },
}

/// Whether connections are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// They are not.
    None,
    /// TLS, with a whole handshake each.
    Full,
    /// TLS; a session that the server gave a ticket for is resumed.
    Resumed,
}

/// One run of the load generator.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where to connect.
    pub target: Target,
    /// As whom.
    pub user: String,
    /// To which database.
    pub database: String,
    /// For servers that ask for one.
    pub password: Option<String>,
    /// Whether connections are encrypted.
    pub encryption: Encryption,
    /// When sessions begin.
    pub load: Load,
    /// Queries a session.
    pub queries: u32,
    /// The query's text, sent with the simple protocol.
    pub query: String,
    /// Pause after every answer (after becoming ready, where nothing is asked).
    pub think: Duration,
    /// Time before the measured one.
    pub warm_up: Duration,
    /// The measured time.
    pub duration: Duration,
    /// How long a session may wait for the server: until ready, for an answer, for the end.
    pub timeout: Duration,
    /// Threads.
    pub threads: usize,
    /// Most sessions at a time. In an open loop a session beyond it is an error (TOO_MANY_OPEN).
    pub max_open: usize,
    /// Loopback addresses to come from in turn; None: the next one only when the ports of the last have run out.
    pub source_addresses: Option<u8>,
    /// Of the Poisson gaps.
    pub seed: u64,
}

impl Plan {
    /// A second of one client with `SELECT 1`, as user and database postgres without a password.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            user: "postgres".to_owned(),
            database: "postgres".to_owned(),
            password: None,
            encryption: Encryption::None,
            load: Load::Closed { clients: 1 },
            queries: 1,
            query: "SELECT 1".to_owned(),
            think: Duration::ZERO,
            warm_up: Duration::ZERO,
            duration: Duration::from_secs(1),
            timeout: Duration::from_secs(10),
            threads: 1,
            max_open: 10_000,
            source_addresses: None,
            seed: 1,
        }
    }

    /// Threads that this load can keep busy, of those that the machine has.
    pub fn useful_threads(load: Load) -> usize {
        /// Sessions a second that leave a thread idle most of the time.
        const EASY_RATE: f64 = 5_000.0;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        match load {
            Load::Closed { clients } => cores.min(clients).max(1),
            Load::Open { rate, .. } => cores.min((rate / EASY_RATE).ceil() as usize).max(1),
        }
    }

    /// Refuses what makes no sense.
    fn check(&self) -> Result<(), Error> {
        let refuse = |why: &str| Err(Error::Plan(why.to_owned()));
        match self.load {
            Load::Closed { clients: 0 } => return refuse("a closed loop needs a client"),
            Load::Open { rate, .. } if !(rate > 0.0 && rate <= 1e7) => {
                return refuse("the rate has to be above 0 and at most 10,000,000 sessions a second");
            }
            Load::Open { arrivals: Arrivals::Burst(0), .. } => return refuse("a burst needs a session"),
            _ => (),
        }
        if self.threads == 0 || self.threads > 256 {
            return refuse("threads: 1 to 256");
        }
        if self.max_open < self.threads {
            return refuse("every thread needs room for a session");
        }
        if self.duration.is_zero() || self.timeout.is_zero() {
            return refuse("duration and timeout have to be above 0");
        }
        if [&self.user, &self.database, &self.query].iter().any(|text| text.contains('\0')) {
            return refuse("names and queries cannot contain a zero byte");
        }
        Ok(())
    }
}

/// How a run goes, told several times a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Time since the start, warm-up included.
    pub elapsed: Duration,
    /// Sessions that have become ready since the start.
    pub ready: u64,
    /// Errors since the start.
    pub errors: u64,
    /// Sessions that are open now.
    pub open: usize,
}

/// How often [`run`] tells of its progress.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// Carries a plan out. `watch` is told how it goes; when it answers `Break`, the run ends there, and what was under way
/// is counted as unfinished.
pub fn run(plan: &Plan, watch: &mut dyn FnMut(&Progress) -> ControlFlow<()>) -> Result<Outcome, Error> {
    plan.check()?;
    let tls = match plan.encryption {
        Encryption::None => None,
        Encryption::Full => Some(tls::config(false)),
        Encryption::Resumed => Some(tls::config(true)),
    };
    let tls = tls.transpose().map_err(|error| Error::Plan(error.to_string()))?;
    let packets = Packets::new(&plan.user, &plan.database, &plan.query);
    let warm_up_ns = plan.warm_up.as_nanos() as u64;
    let measured_ns = warm_up_ns..warm_up_ns.saturating_add(plan.duration.as_nanos() as u64);
    let stop = AtomicBool::new(false);
    let (reports, incoming) = unbounded();
    let origin = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..plan.threads {
            let shared = Shared {
                plan,
                packets: &packets,
                tls: tls.as_ref(),
                credentials: Credentials::new(&plan.user, plan.password.as_deref()),
                tally: Tally::default(),
                buffer: vec![0; 64 * 1024],
                replies: Vec::new(),
                measured_ns: measured_ns.clone(),
            };
            let (reports, stop) = (reports.clone(), &stop);
            scope.spawn(move || {
                let result = Driver::new(shared, thread, origin).and_then(|driver| driver.run(stop, &reports));
                // The collector listens until every thread has sent this.
                let _ = reports.send(result.map_or_else(Report::Broken, |tally| Report::Done(Box::new(tally))));
            });
        }
        drop(reports);
        collect(plan, origin, &incoming, &stop, watch)
    })
}

/// Listens to the threads until the last one is done.
fn collect(
    plan: &Plan,
    origin: Instant,
    incoming: &Receiver<Report>,
    stop: &AtomicBool,
    watch: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<Outcome, Error> {
    let mut tally = Tally::default();
    let mut progress = Progress::default();
    let mut open = vec![0; plan.threads];
    let (mut done, mut broken) = (0, None);
    let mut stopped_after = None;
    let mut busiest_share = 0.0f64;
    let mut told = Duration::ZERO;
    while done < plan.threads {
        match incoming.recv_timeout(PROGRESS_INTERVAL) {
            Ok(Report::Progress { thread, ready, errors, open: now_open }) => {
                progress.ready += ready;
                progress.errors += errors;
                open[thread] = now_open;
            }
            Ok(Report::Done(other)) => {
                done += 1;
                busiest_share = busiest_share.max(other.client.share());
                tally.add(*other);
            }
            Ok(Report::Broken(error)) => {
                done += 1;
                broken = Some(error);
                stop.store(true, Ordering::Relaxed);
            }
            Err(crossbeam_channel::RecvTimeoutError::Timeout) => (),
            // A thread has panicked: the scope will say so.
            Err(crossbeam_channel::RecvTimeoutError::Disconnected) => break,
        }
        progress.elapsed = origin.elapsed();
        progress.open = open.iter().sum();
        if stopped_after.is_none() && progress.elapsed >= told + PROGRESS_INTERVAL {
            told = progress.elapsed;
            if watch(&progress).is_break() {
                stopped_after = Some(progress.elapsed);
                stop.store(true, Ordering::Relaxed);
            }
        }
    }
    if let Some(error) = broken {
        return Err(Error::Io("a thread of the load generator".to_owned(), error));
    }
    let measured = stopped_after.map_or(plan.duration, |after| after.saturating_sub(plan.warm_up).min(plan.duration));
    Ok(Outcome { plan: plan.clone(), tally, measured, busiest_share, interrupted: stopped_after.is_some() })
}
