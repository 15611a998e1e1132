//! Workloads of the load generator: connections and nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::storm::{Arrivals, Encryption, Load, Outcome, Phase, Plan, Target, run as carry_out};
use super::super::{Error, look_for_interrupt};
use super::peer::Peer;

/// A load, and what is looked at.
#[derive(Debug, Clone)]
pub struct Storm {
    /// The name in the report.
    pub name: &'static str,
    /// When sessions begin.
    pub load: Load,
    /// Whether they are encrypted.
    pub encryption: Encryption,
    /// What is reported of it, a section each.
    pub figures: &'static [Figure],
}

/// A figure of an outcome.
#[derive(Debug, Clone, Copy)]
pub enum Figure {
    /// Sessions that became ready, a second.
    ReadyPerSecond,
    /// A percentile of the time to ready.
    Percentile(f64),
}

impl Figure {
    /// Words after the workload's name, unit, and whether less is better.
    pub fn describe(self) -> (String, &'static str, bool) {
        match self {
            Figure::ReadyPerSecond => (String::new(), "sessions/s", false),
            Figure::Percentile(percentile) => (format!(", percentile {percentile} of time to ready"), "ms", true),
        }
    }

    fn of(self, outcome: &Outcome) -> f64 {
        match self {
            Figure::ReadyPerSecond => outcome.ready_per_second(),
            Figure::Percentile(percentile) => {
                outcome.percentile(Phase::Ready, percentile).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
            }
        }
    }
}

/// A plan for this peer, with a moment before the measured one, where the load does not begin with a burst.
pub fn plan(peer: &Peer, load: Load, duration: Duration) -> Plan {
    let is_burst = matches!(load, Load::Open { arrivals: Arrivals::Burst(_), .. });
    Plan {
        load,
        threads: Plan::useful_threads(load),
        warm_up: if is_burst { Duration::ZERO } else { Duration::from_millis(300) },
        duration,
        ..Plan::new(Target::Tcp(([127, 0, 0, 1], peer.port()).into()))
    }
}

/// Runs one; its figures, and what has to be said of them.
pub fn run(peer: &Peer, storm: &Storm, seconds: u32) -> Result<(Vec<f64>, BTreeMap<String, u64>), Error> {
    let plan = plan(peer, storm.load, Duration::from_secs(u64::from(seconds)));
    let outcome = carry_out_alone(peer, &Plan { encryption: storm.encryption, ..plan })?;
    let mut notes = notes(&outcome);
    let ready = outcome.tally.became_ready;
    if storm.encryption == Encryption::Resumed && outcome.tally.resumed < ready / 2 {
        notes.insert("handshake that was not resumed".to_owned(), ready - outcome.tally.resumed.min(ready));
    }
    Ok((storm.figures.iter().map(|figure| figure.of(&outcome)).collect(), notes))
}

/// Carries out a plan, and waits until the server has dealt with what it may have left behind: a server that was given
/// more than it can take goes on with a queue of clients who have gone, and would be in the way of the next one.
pub fn carry_out_alone(peer: &Peer, plan: &Plan) -> Result<Outcome, Error> {
    let outcome = carry_out(plan, &mut |_| look_for_interrupt())?;
    if outcome.interrupted {
        return Err(Error::Stopped);
    }
    peer.calm_down();
    Ok(outcome)
}

/// Errors, and a load generator that was the bottleneck.
pub fn notes(outcome: &Outcome) -> BTreeMap<String, u64> {
    let mut notes = BTreeMap::new();
    for error in outcome.tally.errors.iter().chain(outcome.tally.warm_up_errors.iter()) {
        *notes.entry(format!("{} ({})", error.code, error.phase.name())).or_insert(0) += error.count;
    }
    if outcome.is_client_bound() {
        notes.insert("load generator over 90 % busy".to_owned(), 1);
    }
    notes
}
