//! The segment as Prometheus reads it: text exposition format 0.0.4.
//!
//! Owns the names and what they mean. Reads the segment alone; serving is `exporter`'s.
//!
//! Format: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::Write;

use shm::{Counter, ExitReason, Segment, SetupPhase, UpstreamPoolFacts};

/// Upper bounds of the histograms' buckets, in microseconds, and as they are written: in seconds.
const BOUNDS: [(u64, &str); 17] = [
    (50, "0.00005"),
    (100, "0.0001"),
    (250, "0.00025"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (10_000_000, "10"),
    (60_000_000, "60"),
];

/// Signals that a crash is told by are numbered from 1 to this.
const SIGNALS: i32 = 64;

/// Everything there is, as of now.
pub fn render(segment: Segment) -> String {
    let (pool, census) = (segment.pool(), segment.census());
    let mut page = Page::default();
    page.family("pgprefork_build_info", "gauge", "The version of the program; the value is always 1.");
    page.sample("pgprefork_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.family("pgprefork_start_time_seconds", "gauge", "When the server started, in seconds since 1970.");
    page.line("pgprefork_start_time_seconds", &[], &seconds(pool.started_us()));
    page.family("pgprefork_workers", "gauge", "Workers by state.");
    let states = [
        ("starting", census.starting),
        ("idle", census.idle),
        ("connecting", census.connecting),
        ("serving", census.serving),
        ("leaving", census.leaving),
        ("stopped", census.stopped),
    ];
    for (state, workers) in states {
        page.sample("pgprefork_workers", &[("state", state)], workers.into());
    }
    page.alone("pgprefork_free_slots", "Slots that no process has.", census.free.into());
    page.alone("pgprefork_waiting_clients", "Clients that wait with the doorman for a worker.", pool.queued().into());
    page.alone("pgprefork_parked_clients", "Clients with the doorman that have not said enough.", pool.parked().into());
    page.alone("pgprefork_max_sessions", "Sessions that there may be.", pool.session_limit().into());
    for counter in Counter::ALL {
        let name = format!("pgprefork_{}_total", counter.name());
        page.family(&name, "counter", meaning(counter));
        page.sample(&name, &[], pool.counter(counter));
    }
    page.family("pgprefork_worker_exits_total", "counter", "Processes that ended, by reason.");
    for reason in ExitReason::ALL {
        page.sample("pgprefork_worker_exits_total", &[("reason", reason.name())], pool.exits(reason));
    }
    page.family("pgprefork_worker_crashes_total", "counter", "Processes that a signal ended, by its number.");
    for signal in 1..=SIGNALS {
        let crashes = pool.crashes(signal);
        if crashes > 0 {
            page.sample("pgprefork_worker_crashes_total", &[("signal", &signal.to_string())], crashes);
        }
    }
    page.family("pgprefork_durable_commits_total", "counter", "Commits that are durable, by the database's OID.");
    for database in segment.databases() {
        let oid = database.oid().to_string();
        page.sample("pgprefork_durable_commits_total", &[("database", &oid)], database.durable());
    }
    page.phases(segment);
    page.upstream(segment);
    page.0
}

fn meaning(counter: Counter) -> &'static str {
    match counter {
        Counter::Forks => "Processes forked.",
        Counter::ForkFailures => "Calls of fork that failed.",
        Counter::Accepts => "Connections accepted by workers or, in the classic model, by the postmaster.",
        Counter::DoormanAccepts => "Connections accepted by the doorman.",
        Counter::Refused => "Clients that were told that there are too many.",
        Counter::Queued => "Clients that had to wait with the doorman.",
        Counter::QueueTimeouts => "Clients whose wait ended without a worker.",
        Counter::Parked => "Clients that a worker gave to the doorman, as they had not said enough to be served.",
        Counter::Displaced => "Clients that took long to authenticate and were ended in favour of others.",
        Counter::Sessions => "Sessions that were ready for queries.",
        Counter::AuthenticationFailures => "Clients that failed to authenticate.",
        Counter::AuthenticationTimeouts => "Clients that took longer than authentication_timeout.",
        Counter::Cancels => "Cancel requests with a valid key.",
        Counter::CancelsRejected => "Cancel requests with a wrong key.",
        Counter::Wakes => "Times that workers woke the postmaster.",
        Counter::Syncs => "Calls of fdatasync on write-ahead logs.",
        Counter::Checkpoints => "Checkpoints.",
    }
}

/// Microseconds as seconds, exactly.
fn seconds(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}

/// The text so far.
#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One line. Values of labels may be a client's choice: they are escaped.
    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: &str) {
        self.0.push_str(name);
        for (number, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
            let _ = write!(self.0, "{}{label}=\"{text}\"", if number == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        self.line(name, labels, &value.to_string());
    }

    fn alone(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }

    /// Pools of a relay; nothing where there is none.
    fn upstream(&mut self, segment: Segment) {
        let pools: Vec<_> = segment.upstream_pools().into_iter().map(|(_, pool)| pool).collect();
        if pools.is_empty() {
            return;
        }
        self.family("pgprefork_upstream_connections", "gauge", "Connections of a relay's pools by state.");
        for pool in &pools {
            for (state, count) in [("lent", pool.lent - pool.pinned), ("pinned", pool.pinned), ("idle", pool.idle)] {
                let labels = [("pool", pool.name.as_str()), ("state", state)];
                self.sample("pgprefork_upstream_connections", &labels, count.into());
            }
        }
        type Fact = fn(&UpstreamPoolFacts) -> u64;
        let facts: [(&str, &str, &str, Fact); 5] = [
            ("pgprefork_upstream_pool_size", "gauge", "Connections that a pool may have.", |pool| pool.limit.into()),
            ("pgprefork_upstream_waiting", "gauge", "Sessions that wait for a connection.", |pool| pool.waiting.into()),
            ("pgprefork_upstream_leases_total", "counter", "Times that a connection was lent.", |pool| pool.leases),
            ("pgprefork_upstream_waits_total", "counter", "Times that a session waited for one.", |pool| pool.waits),
            ("pgprefork_upstream_pins_total", "counter", "Times that a session came to keep one.", |pool| pool.pins),
        ];
        for (name, kind, help, fact) in facts {
            self.family(name, kind, help);
            pools.iter().for_each(|pool| self.sample(name, &[("pool", &pool.name)], fact(pool)));
        }
        let name = "pgprefork_upstream_wait_seconds_total";
        self.family(name, "counter", "How long sessions have waited for connections.");
        pools.iter().for_each(|pool| self.line(name, &[("pool", &pool.name)], &seconds(pool.waited_us)));
    }

    /// Times of connections' phases.
    fn phases(&mut self, segment: Segment) {
        let name = "pgprefork_connection_phase_seconds";
        self.family(name, "histogram", "How long the phases of setting up a connection took.");
        for phase in SetupPhase::ALL {
            let times = segment.statistics().setup(phase).snapshot();
            let label = ("phase", phase.name());
            for (bound_us, bound) in BOUNDS {
                self.sample(&format!("{name}_bucket"), &[label, ("le", bound)], times.count_up_to(bound_us));
            }
            self.sample(&format!("{name}_bucket"), &[label, ("le", "+Inf")], times.count());
            self.line(&format!("{name}_sum"), &[label], &seconds(times.sum_us()));
            self.sample(&format!("{name}_count"), &[label], times.count());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shm::Geometry;

    #[test]
    fn pools_are_shown_and_their_names_escaped() {
        let segment = Segment::on_heap(&Geometry { slots: 4, databases: 1, wal_index_bytes: 32768 }).unwrap();
        assert!(!render(segment).contains("upstream"));
        segment.open_upstream_pool(1, "shop a\"b\\", 3).unwrap();
        let page = render(segment);
        for line in [
            r#"pgprefork_upstream_pool_size{pool="shop a\"b\\"} 3"#,
            r#"pgprefork_upstream_connections{pool="shop a\"b\\",state="idle"} 0"#,
            r#"pgprefork_upstream_wait_seconds_total{pool="shop a\"b\\"} 0.000000"#,
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
    }

    #[test]
    fn lines_are_as_the_format_has_them() {
        let segment = Segment::on_heap(&Geometry { slots: 4, databases: 1, wal_index_bytes: 32768 }).unwrap();
        segment.pool().set_postmaster(1, 1_000_000_000_000_001);
        segment.pool().count(Counter::Sessions);
        segment.statistics().setup(SetupPhase::Total).record(300);
        let page = render(segment);
        for line in [
            "# TYPE pgprefork_sessions_total counter",
            "pgprefork_sessions_total 1",
            "pgprefork_start_time_seconds 1000000000.000001",
            "pgprefork_workers{state=\"idle\"} 0",
            "pgprefork_connection_phase_seconds_bucket{phase=\"total\",le=\"0.00025\"} 0",
            "pgprefork_connection_phase_seconds_bucket{phase=\"total\",le=\"0.0005\"} 1",
            "pgprefork_connection_phase_seconds_sum{phase=\"total\"} 0.000300",
            "pgprefork_connection_phase_seconds_count{phase=\"total\"} 1",
        ] {
            assert!(page.lines().any(|written| written == line), "{line}\n{page}");
        }
        assert!(page.ends_with('\n'));
    }
}
