//! The highest rate at which a percentile of the time to ready stays under a bound.
//!
//! Rates double until one fails, then the gap is halved until it is narrow. What makes a step fail is decided by a
//! pure function over its outcome.

use std::ops::ControlFlow;
use std::time::Duration;

use super::{Error, Load, Outcome, Phase, Plan, Progress, run};

/// What a step has to keep.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    /// Longest 99th percentile of the time to ready.
    pub p99: Duration,
}

/// How a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Under the bound, without errors.
    Kept,
    /// The percentile is above the bound, or nothing became ready.
    Slow,
    /// There were errors, or sessions that never ended.
    Errors,
    /// The load generator did not keep up, or most of the time was its own tardiness: the server may be able to do more.
    ClientBound,
}

impl Verdict {
    /// The word in the report.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Kept => "kept",
            Verdict::Slow => "slow",
            Verdict::Errors => "errors",
            Verdict::ClientBound => "client bound",
        }
    }

    /// What the bound says to an outcome.
    pub fn of(outcome: &Outcome, bound: Bound) -> Self {
        let p99 = |phase| outcome.percentile(phase, 99.0);
        let (ready, late) = (p99(Phase::Ready), p99(Phase::Late));
        if outcome.tally.errors.total() > 0 || outcome.tally.unfinished > 0 {
            Verdict::Errors
        } else if ready.is_some_and(|ready| ready <= bound.p99) {
            Verdict::Kept
        } else if outcome.is_client_bound() || late.zip(ready).is_some_and(|(late, ready)| late > ready / 2) {
            Verdict::ClientBound
        } else {
            Verdict::Slow
        }
    }
}

/// One rate that was tried.
#[derive(Debug, Clone)]
pub struct Step {
    /// The rate that was offered.
    pub rate: f64,
    /// What came of it.
    pub outcome: Outcome,
    /// Whether it kept the bound.
    pub verdict: Verdict,
}

/// All that were tried, in their order.
#[derive(Debug, Clone)]
pub struct Search {
    /// What had to be kept.
    pub bound: Bound,
    /// The steps.
    pub steps: Vec<Step>,
}

impl Search {
    /// The highest rate that kept the bound; None where not even the first did, or it came to no step.
    pub fn best(&self) -> Option<&Step> {
        let kept = self.steps.iter().filter(|step| step.verdict == Verdict::Kept);
        kept.max_by(|a, b| a.rate.total_cmp(&b.rate))
    }
}

/// The gap between the highest rate kept and the lowest one not kept at which the search ends, as a share.
const NARROW: f64 = 0.05;
/// Beyond this no server of this kind is of interest, and the search ends.
const HIGHEST_RATE: f64 = 1e6;

/// Where a search stands.
#[derive(Debug, Clone, Copy)]
struct Range {
    kept: Option<f64>,
    not_kept: Option<f64>,
}

impl Range {
    /// The next rate to try; None at the end. The first that fails already ends it: less was not asked for.
    fn next(self, first: f64) -> Option<f64> {
        match (self.kept, self.not_kept) {
            (None, None) => Some(first),
            (None, Some(_)) => None,
            (Some(kept), None) => (kept < HIGHEST_RATE).then_some(kept * 2.0),
            (Some(kept), Some(not_kept)) => {
                (not_kept - kept > NARROW * kept).then_some(f64::midpoint(kept, not_kept).round())
            }
        }
    }
}

/// Searches from the rate of an open-loop plan upwards. `watch` is told before each step and while it runs; when it
/// answers `Break`, the search ends, and the step that was under way does not count.
pub fn find_rate(
    plan: &Plan,
    bound: Bound,
    watch: &mut dyn FnMut(f64, &Progress) -> ControlFlow<()>,
) -> Result<Search, Error> {
    let Load::Open { rate: first, arrivals } = plan.load else {
        return Err(Error::Plan("only an open loop has a rate to be found".to_owned()));
    };
    let mut search = Search { bound, steps: Vec::new() };
    let mut range = Range { kept: None, not_kept: None };
    while let Some(rate) = range.next(first) {
        let mut step_plan = plan.clone();
        step_plan.load = Load::Open { rate, arrivals };
        let outcome = run(&step_plan, &mut |progress| watch(rate, progress))?;
        if outcome.interrupted {
            break;
        }
        let verdict = Verdict::of(&outcome, bound);
        search.steps.push(Step { rate, outcome, verdict });
        match verdict {
            Verdict::Kept => range.kept = Some(rate),
            _ => range.not_kept = Some(rate),
        }
    }
    Ok(search)
}

#[cfg(test)]
mod tests {
    use super::super::{Failure, Tally, Target};
    use super::*;

    /// A server that keeps the bound up to `limit`.
    fn rates_tried(first: f64, limit: f64) -> (Vec<f64>, Option<f64>) {
        let mut range = Range { kept: None, not_kept: None };
        let mut tried = Vec::new();
        while let Some(rate) = range.next(first) {
            tried.push(rate);
            if rate <= limit {
                range.kept = Some(rate)
            } else {
                range.not_kept = Some(rate)
            }
            assert!(tried.len() < 50);
        }
        (tried, range.kept)
    }

    #[test]
    fn rates_double_and_the_gap_is_halved() {
        let (tried, found) = rates_tried(100.0, 1234.0);
        assert_eq!(tried[..5], [100.0, 200.0, 400.0, 800.0, 1600.0]);
        let found = found.expect("a rate");
        assert!((1234.0 * 0.95..=1234.0).contains(&found), "{found}");
        assert_eq!(rates_tried(100.0, 50.0), (vec![100.0], None));
        assert!(rates_tried(100.0, f64::INFINITY).1.expect("a rate") >= HIGHEST_RATE);
    }

    fn outcome(ready_ms: &[u64], errors: u64, busiest_share: f64) -> Outcome {
        let mut tally = Tally::default();
        ready_ms.iter().for_each(|ms| tally.record(Phase::Ready, ms * 1_000_000));
        (0..errors).for_each(|_| tally.errors.count(Phase::Connect, Failure::server("53300", "full")));
        let plan = Plan::new(Target::Unix("/nowhere".into()));
        Outcome { measured: plan.duration, plan, tally, busiest_share, interrupted: false }
    }

    #[test]
    fn a_step_is_judged_by_percentile_and_errors() {
        let bound = Bound { p99: Duration::from_millis(20) };
        assert_eq!(Verdict::of(&outcome(&[1, 2, 3], 0, 0.1), bound), Verdict::Kept);
        assert_eq!(Verdict::of(&outcome(&[1, 2, 300], 0, 0.1), bound), Verdict::Slow);
        assert_eq!(Verdict::of(&outcome(&[1, 2, 300], 0, 0.95), bound), Verdict::ClientBound);
        assert_eq!(Verdict::of(&outcome(&[1, 2, 3], 1, 0.1), bound), Verdict::Errors);
        assert_eq!(Verdict::of(&outcome(&[], 0, 0.1), bound), Verdict::Slow);
        let mut tardy = outcome(&[1, 2, 300], 0, 0.1);
        tardy.tally.record(Phase::Late, 290_000_000);
        assert_eq!(Verdict::of(&tardy, bound), Verdict::ClientBound);
    }
}
