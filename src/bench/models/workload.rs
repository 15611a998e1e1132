//! The workloads that every server is put to, in the order of the report.

use std::collections::BTreeMap;

use super::super::Error;
use super::super::storm::{Arrivals, Encryption, Load};
use super::peer::{Kind, Peer};
use super::pgbench;
use super::report::Section;
use super::storms::{self, Figure, Storm};

/// One workload.
#[derive(Debug, Clone)]
pub enum Workload {
    /// A run of pgbench.
    Pgbench(pgbench::Workload),
    /// A run of the load generator.
    Storm(Storm),
}

/// What one run gave: figures for the workload's sections, notes, and transactions that were acknowledged.
pub struct Run {
    pub figures: Vec<f64>,
    pub notes: BTreeMap<String, u64>,
    pub acknowledged: u64,
}

impl Workload {
    /// The name in the report.
    pub fn name(&self) -> &'static str {
        match self {
            Workload::Pgbench(workload) => workload.name,
            Workload::Storm(storm) => storm.name,
        }
    }

    /// Whether a server can be put to it.
    pub fn fits(&self, kind: &Kind) -> bool {
        match self {
            // The null engine stores nothing: it is the ceiling of what only reads.
            Workload::Pgbench(workload) => {
                (kind.stores() || !workload.writes)
                    && (kind.lends_for_a_transaction() || !workload.percentiles)
                    && (kind.keeps_statements() || !workload.arguments.contains(&"prepared"))
            }
            Workload::Storm(_) => true,
        }
    }

    /// Whether it writes, so that the sums are to be checked afterwards.
    pub fn writes(&self) -> bool {
        matches!(self, Workload::Pgbench(workload) if workload.writes)
    }

    /// Its sections, still empty.
    pub fn sections(&self, peers: usize) -> Vec<Section> {
        match self {
            Workload::Pgbench(workload) => {
                let names = [Some(workload.name), workload.beside.map(|(name, _)| name)];
                let rate = |name: &str| Section::new(name, "transactions/s", false, peers);
                let mut sections: Vec<_> = names.into_iter().flatten().map(rate).collect();
                if workload.percentiles {
                    let named = |words: &str| format!("{}, {words}", workload.name);
                    sections.push(Section::new(&named("percentile 50 of latency"), "ms", true, peers));
                    sections.push(Section::new(&named("percentile 99 of latency"), "ms", true, peers));
                    sections.push(Section::new(&named("worst client's share of the mean"), "ratio", false, peers));
                }
                sections
            }
            Workload::Storm(storm) => {
                let section = |figure: &Figure| {
                    let (words, unit, lower_is_better) = figure.describe();
                    Section::new(&format!("{}{words}", storm.name), unit, lower_is_better, peers)
                };
                storm.figures.iter().map(section).collect()
            }
        }
    }

    /// Runs it once.
    pub fn run(&self, peer: &Peer, seconds: u32) -> Result<Run, Error> {
        match self {
            Workload::Pgbench(workload) => {
                let (main, beside, latencies) = pgbench::run(peer, workload, seconds)?;
                let each = [Some(main), beside];
                let mut figures: Vec<_> =
                    each.iter().flatten().map(|figures| figures.transactions_per_second).collect();
                figures.extend(latencies.into_iter().flat_map(|latencies| latencies.figures()));
                let failed: u64 = each.iter().flatten().map(|figures| figures.failed).sum();
                let mut notes = BTreeMap::new();
                if failed > 0 {
                    notes.insert("failed transaction".to_owned(), failed);
                }
                Ok(Run { figures, notes, acknowledged: main.transactions })
            }
            Workload::Storm(storm) => {
                let (figures, notes) = storms::run(peer, storm, seconds)?;
                Ok(Run { figures, notes, acknowledged: 0 })
            }
        }
    }
}

const fn pgbench(name: &'static str, arguments: &'static [&'static str], writes: bool) -> Workload {
    Workload::Pgbench(pgbench::Workload { name, arguments, beside: None, writes, encrypted: false, percentiles: false })
}

/// Many clients, of whom each can only be served with a connection that it shares with others.
const fn crowd(name: &'static str, arguments: &'static [&'static str], writes: bool) -> Workload {
    Workload::Pgbench(pgbench::Workload { name, arguments, beside: None, writes, encrypted: false, percentiles: true })
}

const fn storm(name: &'static str, load: Load, figures: &'static [Figure]) -> Workload {
    Workload::Storm(Storm { name, load, encryption: Encryption::None, figures })
}

const fn encrypted(name: &'static str, clients: usize, encryption: Encryption) -> Workload {
    let load = Load::Closed { clients };
    Workload::Storm(Storm { name, load, encryption, figures: &[Figure::ReadyPerSecond] })
}

/// Every workload, and whether `--quick` has it.
pub const ALL: &[(Workload, bool)] = &[
    (storm("storm, closed loop of 8", Load::Closed { clients: 8 }, &[Figure::ReadyPerSecond]), true),
    (storm("storm, closed loop of 32", Load::Closed { clients: 32 }, &[Figure::ReadyPerSecond]), false),
    (
        storm(
            "storm, open loop at 200/s (Poisson)",
            Load::Open { rate: 200.0, arrivals: Arrivals::Poisson },
            &[Figure::Percentile(50.0), Figure::Percentile(99.0)],
        ),
        true,
    ),
    (
        storm(
            "storm, open loop at 1,000/s (Poisson)",
            Load::Open { rate: 1000.0, arrivals: Arrivals::Poisson },
            &[Figure::Percentile(50.0), Figure::Percentile(99.0)],
        ),
        false,
    ),
    (
        storm(
            "bursts of 200, one a second",
            Load::Open { rate: 200.0, arrivals: Arrivals::Burst(BURST) },
            &[Figure::Percentile(50.0), Figure::Percentile(99.0)],
        ),
        true,
    ),
    (encrypted("storm over TLS, whole handshakes, closed loop of 8", 8, Encryption::Full), false),
    (encrypted("storm over TLS, whole handshakes, closed loop of 32", 32, Encryption::Full), false),
    (encrypted("storm over TLS, resumed, closed loop of 8", 8, Encryption::Resumed), false),
    (encrypted("storm over TLS, resumed, closed loop of 32", 32, Encryption::Resumed), false),
    (
        Workload::Pgbench(pgbench::Workload {
            name: "-S -M prepared -c 8 -j 2 over TLS",
            arguments: &["-S", "-M", "prepared", "-c", "8", "-j", "2"],
            beside: None,
            writes: false,
            encrypted: true,
            percentiles: false,
        }),
        false,
    ),
    (pgbench("-S -C -c 8 -j 2: a connection per query", &["-S", "-C", "-c", "8", "-j", "2"], false), false),
    (pgbench("-S -C -c 32 -j 2: a connection per query", &["-S", "-C", "-c", "32", "-j", "2"], false), false),
    (pgbench("-S -M prepared -c 8 -j 2", &["-S", "-M", "prepared", "-c", "8", "-j", "2"], false), true),
    (pgbench("-S -M simple -c 8 -j 2", &["-S", "-M", "simple", "-c", "8", "-j", "2"], false), false),
    (pgbench("tpcb-like -M prepared -c 8 -j 2", &["-M", "prepared", "-c", "8", "-j", "2"], true), true),
    (pgbench("tpcb-like -M prepared -c 1", &["-M", "prepared", "-c", "1"], true), false),
    (
        Workload::Pgbench(pgbench::Workload {
            name: "mixed: tpcb-like -M prepared -c 4",
            arguments: &["-M", "prepared", "-c", "4"],
            beside: Some(("mixed: -S -M prepared -c 4", &["-S", "-M", "prepared", "-c", "4"])),
            writes: true,
            encrypted: false,
            percentiles: false,
        }),
        false,
    ),
];

/// What comes in addition with `--relay`, for servers that lend connections for a transaction. `-M simple`, since
/// PgBouncer knows prepared statements only from version 1.21 on.
pub const CROWDS: &[(Workload, bool)] = &[
    (crowd("-S -M simple -c 500 -j 2 on 20 connections", &["-S", "-M", "simple", "-c", "500", "-j", "2"], false), true),
    (crowd("tpcb-like -M simple -c 500 -j 2 on 20 connections", &["-M", "simple", "-c", "500", "-j", "2"], true), true),
];

/// Clients of those.
pub const CROWD: u32 = 500;

/// Sessions of a burst.
pub const BURST: u32 = 200;
