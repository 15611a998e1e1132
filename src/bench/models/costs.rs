//! What a session costs the machine: CPU time, context switches and page faults of a whole one, CPU time of a query,
//! memory of an idle session.
//!
//! Counted, not timed. What a server has used up is known exactly when all of its processes have been waited for, so
//! every measurement has a server of its own, and one that served nobody is subtracted.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use super::super::storm::{Load, Outcome, Plan, run as carry_out};
use super::super::{Error, look_for_interrupt};
use super::peer::{Kind, Peer};
use super::process::{Usage, pss_kb};
use super::report::Section;
use super::storms;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// How often.
    pub rounds: u32,
    /// Seconds of load.
    pub seconds: u32,
    /// Idle sessions at a time.
    pub idle: u32,
    /// Largest number of sessions of a server under load.
    pub max_sessions: u32,
}

/// Measures every kind of server. The sections hold what was measured also when it does not come to its end.
pub fn measure(kinds: &[Kind], root: &Path, extent: Extent, sections: &mut Vec<Section>) -> Result<(), Error> {
    let idle_title = format!("memory of a session (PSS, {} idle ones that have asked nothing)", extent.idle);
    let section = |title: &str, unit| Section::new(title, unit, true, kinds.len());
    let first = sections.len();
    sections.extend([
        section("CPU time of a session with one query (all of the server's processes)", "us"),
        section("context switches of a session with one query", "switches"),
        section("page faults of a session with one query", "faults"),
        section("CPU time of a query (SELECT 1) in a session that goes on", "us"),
        section(&idle_title, "kB"),
    ]);
    let [cpu, switches, faults, query, memory] = &mut sections[first..] else {
        unreachable!("five were added");
    };
    for round in 0..extent.rounds {
        for (index, kind) in kinds.iter().enumerate() {
            eprintln!("costs, round {} of {}: {}", round + 1, extent.rounds, kind.name());
            let name = format!("costs-{index}");
            let start = || Peer::start(kind.clone(), root, &name, extent.max_sessions);
            if look_for_interrupt().is_break() {
                return Err(Error::Stopped);
            }
            idle_sessions(kind, root, &name, extent, memory, index)?;
            // The directory is there by now: none of these creates a cluster.
            let nobody = start()?.stop();
            let (used, outcome) = load(start()?, 1, extent.seconds)?;
            let (used, sessions) = (used.minus(nobody), outcome.tally.due as f64);
            for (section, value) in
                [(&mut *cpu, used.cpu_us), (&mut *switches, used.switches), (&mut *faults, used.faults)]
            {
                section.rounds[index].push(value / sessions);
            }
            cpu.note(index, storms::notes(&outcome));
            let (used, outcome) = load(start()?, u32::MAX, extent.seconds)?;
            query.rounds[index].push(used.minus(nobody).cpu_us / outcome.tally.queries as f64);
            query.note(index, storms::notes(&outcome));
        }
    }
    Ok(())
}

/// Puts a server under load by four clients, ends it, and tells what it has used up.
fn load(peer: Peer, queries: u32, seconds: u32) -> Result<(Usage, Outcome), Error> {
    let duration = Duration::from_secs(u64::from(seconds));
    let plan = Plan { queries, warm_up: Duration::ZERO, ..storms::plan(&peer, Load::Closed { clients: 4 }, duration) };
    let outcome = carry_out(&plan, &mut |_| look_for_interrupt())?;
    let used = peer.stop();
    if outcome.interrupted { Err(Error::Stopped) } else { Ok((used, outcome)) }
}

/// Opens the idle sessions, all at once, and looks at the memory when all are ready. An error ends the attempt and is
/// noted in place of a figure.
fn idle_sessions(
    kind: &Kind,
    root: &Path,
    name: &str,
    extent: Extent,
    section: &mut Section,
    index: usize,
) -> Result<(), Error> {
    let peer = Peer::start(kind.clone(), root, name, extent.idle + 20)?;
    let before_kb = pss_kb(&peer.processes());
    let (with_kb, outcome) = pss_with_idle(&peer, extent.idle)?;
    match before_kb.zip(with_kb) {
        Some((before_kb, with_kb)) => {
            section.rounds[index].push((with_kb as f64 - before_kb as f64) / f64::from(extent.idle));
        }
        None => section.note(index, [("no figure: not all became ready".to_owned(), 1)]),
    }
    section.note(index, storms::notes(&outcome));
    Ok(())
}

/// Memory of a server's processes in kB while so many sessions are idle; None where not all became ready.
pub fn pss_with_idle(peer: &Peer, idle: u32) -> Result<(Option<u64>, Outcome), Error> {
    let plan = Plan {
        queries: 0,
        think: Duration::from_secs(3600),
        warm_up: Duration::ZERO,
        timeout: Duration::from_secs(30),
        ..storms::plan(peer, Load::Closed { clients: idle as usize }, Duration::from_secs(60))
    };
    let mut with_kb = None;
    let outcome = carry_out(&plan, &mut |progress| {
        if progress.errors > 0 || look_for_interrupt().is_break() {
            return ControlFlow::Break(());
        }
        if progress.ready < u64::from(idle) {
            return ControlFlow::Continue(());
        }
        with_kb = pss_kb(&peer.processes());
        ControlFlow::Break(())
    })?;
    if look_for_interrupt().is_break() {
        return Err(Error::Stopped);
    }
    Ok((with_kb, outcome))
}
