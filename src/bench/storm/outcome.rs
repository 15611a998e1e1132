//! What a run found: latencies by phase, what became of every session, errors by name.
//!
//! Every session that was due in the measured time is counted once: completed, failed or unfinished. An error is
//! never left out because it came early, late or fast.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use nix::errno::Errno;

use super::Plan;

/// What is timed apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// From when a session was due until the load generator started it: its own tardiness.
    Late,
    /// Until the connection stands.
    Connect,
    /// Until the TLS handshake is done, SSLRequest included.
    Tls,
    /// From the start-up packet to ReadyForQuery.
    Authentication,
    /// From when the session was due to ReadyForQuery: what a user waits for.
    Ready,
    /// The first query's cycle.
    FirstQuery,
    /// The cycles of the later ones.
    Query,
    /// From Terminate until the server has closed the connection.
    Close,
}

impl Phase {
    /// Every phase, in the order of a session.
    pub const ALL: [Phase; 8] = [
        Phase::Late,
        Phase::Connect,
        Phase::Tls,
        Phase::Authentication,
        Phase::Ready,
        Phase::FirstQuery,
        Phase::Query,
        Phase::Close,
    ];

    /// The name in reports and files.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Late => "late",
            Phase::Connect => "connect",
            Phase::Tls => "tls",
            Phase::Authentication => "authentication",
            Phase::Ready => "ready",
            Phase::FirstQuery => "first query",
            Phase::Query => "query",
            Phase::Close => "close",
        }
    }
}

/// Why a session, or a query of it, failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    code: Cow<'static, str>,
    message: String,
}

impl Failure {
    /// An error that the server reported: its SQLSTATE and message.
    pub fn server(sqlstate: &str, message: &str) -> Self {
        // What a server sends is not to become a name of our own.
        let is_code = sqlstate.len() == 5 && sqlstate.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let code = if is_code { Cow::Owned(sqlstate.to_owned()) } else { Cow::Borrowed("SQLSTATE_MISSING") };
        Self { code, message: message.chars().take(200).collect() }
    }

    /// An error of the system: ECONNREFUSED and the like.
    pub fn system(errno: Errno) -> Self {
        Self { code: Cow::Owned(format!("{errno:?}")), message: errno.desc().to_owned() }
    }

    /// An error that this program has a name for.
    pub fn named(name: &'static str, message: &str) -> Self {
        Self { code: Cow::Borrowed(name), message: message.to_owned() }
    }

    /// The server broke the protocol.
    pub fn protocol(message: String) -> Self {
        Self { code: Cow::Borrowed("PROTOCOL"), message }
    }

    /// SQLSTATE, or the name of an error that has none.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// What it says.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::system(errno)
    }
}

/// How often an error came, by phase and code.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Errors(BTreeMap<(Phase, Cow<'static, str>), (u64, String)>);

impl Errors {
    /// Counts one.
    pub fn count(&mut self, phase: Phase, failure: Failure) {
        let entry = self.0.entry((phase, failure.code)).or_insert((0, failure.message));
        entry.0 += 1;
    }

    /// All errors of that code, in whatever phase.
    pub fn of(&self, code: &str) -> u64 {
        self.iter().filter(|error| error.code == code).map(|error| error.count).sum()
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.iter().map(|error| error.count).sum()
    }

    /// Each kind.
    pub fn iter(&self) -> impl Iterator<Item = ErrorCount<'_>> {
        self.0.iter().map(|((phase, code), (count, message))| ErrorCount {
            phase: *phase,
            code,
            count: *count,
            message,
        })
    }

    fn add(&mut self, other: Errors) {
        for (key, (count, message)) in other.0 {
            self.0.entry(key).or_insert((0, message)).0 += count;
        }
    }
}

/// One kind of error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorCount<'a> {
    /// Where in a session it came.
    pub phase: Phase,
    /// SQLSTATE or name.
    pub code: &'a str,
    /// How often.
    pub count: u64,
    /// What the first of them said.
    pub message: &'a str,
}

/// What became of the sessions that were due in the measured time, and what it cost to offer them.
#[derive(Debug, Clone)]
pub struct Tally {
    /// TLS handshakes that resumed an earlier session.
    pub resumed: u64,
    /// Sessions that were due.
    pub due: u64,
    /// Those that ended as planned.
    pub completed: u64,
    /// Those that met an error.
    pub failed: u64,
    /// Those that were under way when the run was stopped.
    pub unfinished: u64,
    /// Queries that were answered without error.
    pub queries: u64,
    /// Sessions that became ready within the measured time, also those that were due before it.
    pub became_ready: u64,
    /// Errors of sessions that were due in the measured time.
    pub errors: Errors,
    /// Errors of sessions that were due in the warm-up.
    pub warm_up_errors: Errors,
    /// Most sessions that were open at a time, as the sum of what each thread saw.
    pub most_open: usize,
    /// Loopback addresses that the thread went on to when ports ran out.
    pub addresses_exhausted: u64,
    /// CPU time of the thread in the measured time, and how long that was.
    pub client: ClientTime,
    pub(super) latencies: Vec<Histogram<u64>>,
}

/// A thread's CPU time and the time that went by.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ClientTime {
    /// User and system time.
    pub cpu: Duration,
    /// Time on the wall.
    pub wall: Duration,
}

impl ClientTime {
    /// CPU time as a share of the time that went by.
    pub fn share(self) -> f64 {
        if self.wall.is_zero() { 0.0 } else { self.cpu.as_secs_f64() / self.wall.as_secs_f64() }
    }
}

/// Latencies are kept from 1 ns to 10 min; what is longer counts as the longest.
const LONGEST_NS: u64 = 600_000_000_000;

impl Default for Tally {
    fn default() -> Self {
        let histogram = || Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("bounds that make sense");
        Self {
            due: 0,
            completed: 0,
            failed: 0,
            unfinished: 0,
            queries: 0,
            became_ready: 0,
            resumed: 0,
            errors: Errors::default(),
            warm_up_errors: Errors::default(),
            most_open: 0,
            addresses_exhausted: 0,
            client: ClientTime::default(),
            latencies: Phase::ALL.iter().map(|_| histogram()).collect(),
        }
    }
}

impl Tally {
    /// Records a latency.
    pub fn record(&mut self, phase: Phase, ns: u64) {
        self.latencies[phase as usize].saturating_record(ns.min(LONGEST_NS));
    }

    /// Latencies of a phase, in nanoseconds.
    pub fn latencies(&self, phase: Phase) -> &Histogram<u64> {
        &self.latencies[phase as usize]
    }

    /// Adds another thread's. CPU and wall time add up, so that the share is that of all threads.
    pub fn add(&mut self, other: Tally) {
        self.due += other.due;
        self.completed += other.completed;
        self.failed += other.failed;
        self.unfinished += other.unfinished;
        self.queries += other.queries;
        self.became_ready += other.became_ready;
        self.resumed += other.resumed;
        self.errors.add(other.errors);
        self.warm_up_errors.add(other.warm_up_errors);
        self.most_open += other.most_open;
        self.addresses_exhausted += other.addresses_exhausted;
        self.client.cpu += other.client.cpu;
        self.client.wall += other.client.wall;
        for (ours, theirs) in self.latencies.iter_mut().zip(&other.latencies) {
            ours.add(theirs).expect("the same bounds");
        }
    }
}

/// The end of a run.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What was asked for.
    pub plan: Plan,
    /// What came of it, all threads together.
    pub tally: Tally,
    /// The measured time: shorter than planned where the run was stopped.
    pub measured: Duration,
    /// CPU share of the busiest thread.
    pub busiest_share: f64,
    /// Somebody stopped the run.
    pub interrupted: bool,
}

/// From this CPU share of a thread on, the load generator measures itself.
pub const CLIENT_BOUND_SHARE: f64 = 0.9;

impl Outcome {
    /// Sessions that became ready, a second.
    pub fn ready_per_second(&self) -> f64 {
        self.per_second(self.tally.became_ready)
    }

    /// Queries that were answered, a second.
    pub fn queries_per_second(&self) -> f64 {
        self.per_second(self.tally.queries)
    }

    fn per_second(&self, count: u64) -> f64 {
        if self.measured.is_zero() { 0.0 } else { count as f64 / self.measured.as_secs_f64() }
    }

    /// A percentile of a phase's latencies; None where the phase never happened.
    pub fn percentile(&self, phase: Phase, percentile: f64) -> Option<Duration> {
        let histogram = self.tally.latencies(phase);
        (!histogram.is_empty()).then(|| Duration::from_nanos(histogram.value_at_quantile(percentile / 100.0)))
    }

    /// Whether the load generator was the bottleneck, so that the figures say little about the server.
    pub fn is_client_bound(&self) -> bool {
        self.busiest_share > CLIENT_BOUND_SHARE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_by_phase_and_code_and_add_up() {
        let mut errors = Errors::default();
        errors.count(Phase::Authentication, Failure::server("28P01", "first"));
        errors.count(Phase::Authentication, Failure::server("28P01", "second"));
        errors.count(Phase::Connect, Failure::system(Errno::ECONNREFUSED));
        let mut other = Errors::default();
        other.count(Phase::Connect, Failure::system(Errno::ECONNREFUSED));
        other.count(Phase::Close, Failure::system(Errno::ECONNRESET));
        errors.add(other);
        assert_eq!((errors.of("28P01"), errors.of("ECONNREFUSED"), errors.of("ECONNRESET")), (2, 2, 1));
        assert_eq!(errors.total(), 5);
        let first = errors.iter().find(|error| error.code == "28P01").expect("counted");
        assert_eq!((first.message, first.phase), ("first", Phase::Authentication));
    }

    #[test]
    fn errors_of_the_system_go_by_their_names() {
        for (errno, name) in [
            (Errno::EADDRNOTAVAIL, "EADDRNOTAVAIL"),
            (Errno::ECONNREFUSED, "ECONNREFUSED"),
            (Errno::ECONNRESET, "ECONNRESET"),
            (Errno::ETIMEDOUT, "ETIMEDOUT"),
            (Errno::EMFILE, "EMFILE"),
        ] {
            assert_eq!(Failure::system(errno).code(), name);
        }
    }

    #[test]
    fn a_server_cannot_invent_codes() {
        assert_eq!(Failure::server("53300", "x").code(), "53300");
        for odd in ["", "5330", "533000", "53\n00", "TIMEOUT"] {
            assert_eq!(Failure::server(odd, "x").code(), "SQLSTATE_MISSING");
        }
    }

    #[test]
    fn threads_add_up() {
        let tally = |due, ns| {
            let mut tally = Tally { due, completed: due, ..Tally::default() };
            (0..due).for_each(|_| tally.record(Phase::Ready, ns));
            tally
        };
        let mut sum = tally(1, 1_000_000);
        sum.add(tally(3, 2_000_000));
        assert_eq!((sum.due, sum.completed, sum.latencies(Phase::Ready).len()), (4, 4, 4));
        assert_eq!(sum.latencies(Phase::Close).len(), 0);
    }
}
