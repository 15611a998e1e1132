//! What the report's plots show, measured: every point is one run, and all servers have their turn at a point before
//! the next one.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use shm::SetupPhase;

use super::super::Error;
use super::super::storm::{Arrivals, Load, Outcome, Phase};
use super::costs;
use super::explain::{self, Part};
use super::peer::{Kind, Peer};
use super::plot::{Axis, Plot, Shape};
use super::storms;
use super::workload::BURST;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Time of a run.
    pub run: Duration,
    /// Sessions a second.
    pub rates: &'static [u32],
    /// Clients of a closed loop.
    pub clients: &'static [u32],
    /// Most idle sessions.
    pub idle: u32,
    /// Largest number of sessions of a server.
    pub max_sessions: u32,
}

impl Extent {
    /// A look.
    pub const QUICK: Extent = Extent {
        run: Duration::from_millis(500),
        rates: &[100, 300, 1000, 3000],
        clients: &[1, 4, 16, 64],
        idle: 100,
        max_sessions: 0,
    };

    /// A measurement.
    pub const FULL: Extent = Extent {
        rates: &[50, 100, 200, 400, 800, 1600, 3200],
        clients: &[1, 2, 4, 8, 16, 32, 64, 128],
        ..Extent::QUICK
    };
}

/// How often spare workers are counted during a burst.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(5);
/// Of the latency distributions.
const DISTRIBUTION_RATE: f64 = 200.0;

type Series = Vec<(String, Vec<(f64, f64)>)>;

/// Measures and draws up every plot. The null engine does not take part: it is a ceiling, and no choice.
pub fn measure(kinds: &[Kind], root: &Path, extent: Extent) -> Result<Vec<Plot>, Error> {
    let mut peers = Vec::new();
    for (index, kind) in kinds.iter().filter(|kind| kind.stores()).enumerate() {
        peers.push(Peer::start(kind.clone(), root, &format!("plots-{index}"), extent.max_sessions)?);
    }
    Ok(vec![
        distribution(&peers, extent)?,
        against_rate(&peers, extent)?,
        against_clients(&peers, extent)?,
        // Before any of these has grown beyond what it starts with: servers of their own.
        memory(kinds, root, extent)?,
        burst(&peers)?,
        break_down(&peers, extent)?,
    ])
}

fn run(peer: &Peer, load: Load, duration: Duration) -> Result<Outcome, Error> {
    eprintln!("plots: {}, {load:?}", peer.kind().name());
    storms::carry_out_alone(peer, &storms::plan(peer, load, duration))
}

/// One series a peer; `at` measures a point, or tells that there is none.
fn sweep(
    peers: &[Peer],
    places: &[u32],
    mut at: impl FnMut(&Peer, u32) -> Result<(Option<f64>, Outcome), Error>,
) -> Result<(Series, String), Error> {
    let mut series: Series = peers.iter().map(|peer| (peer.kind().name(), Vec::new())).collect();
    let mut notes = Vec::new();
    for place in places {
        for (peer, (name, points)) in peers.iter().zip(&mut series) {
            let (value, outcome) = at(peer, *place)?;
            points.extend(value.map(|value| (f64::from(*place), value)));
            let said = storms::notes(&outcome).into_iter();
            notes.extend(said.map(|(note, count)| format!("{name} at {place}: {count} x {note}")));
        }
    }
    // Errors never vanish from a figure.
    let notes = if notes.is_empty() { String::new() } else { format!(" {}.", notes.join("; ")) };
    Ok((series, notes))
}

fn distribution(peers: &[Peer], extent: Extent) -> Result<Plot, Error> {
    let load = Load::Open { rate: DISTRIBUTION_RATE, arrivals: Arrivals::Poisson };
    let mut series = Series::new();
    let mut notes = String::new();
    for peer in peers {
        let outcome = run(peer, load, extent.run * 2)?;
        let histogram = outcome.tally.latencies(Phase::Ready);
        let at = |share: f64| (histogram.value_at_quantile(share) as f64 / 1e6, share * 100.0);
        let points =
            if histogram.is_empty() { Vec::new() } else { (0..=100).map(|n| at(f64::from(n) / 100.0)).collect() };
        series.push((peer.kind().name(), points));
        for (note, count) in storms::notes(&outcome) {
            notes += &format!(" {}: {count} x {note}.", peer.kind().name());
        }
    }
    Ok(Plot {
        name: "latency-distribution",
        title: "Time until a session is ready",
        caption: format!(
            "Share of sessions that were ready within a time; {DISTRIBUTION_RATE} arrivals a second (Poisson), \
             timed from when they were due.{notes}"
        ),
        x: Axis { label: "time to ready (ms, log scale)", is_log: true },
        y: Axis { label: "sessions ready (%)", is_log: false },
        shape: Shape::Lines { series, has_markers: false },
    })
}

fn against_rate(peers: &[Peer], extent: Extent) -> Result<Plot, Error> {
    let (series, notes) = sweep(peers, extent.rates, |peer, rate| {
        let load = Load::Open { rate: f64::from(rate), arrivals: Arrivals::Poisson };
        let outcome = run(peer, load, extent.run)?;
        Ok((outcome.percentile(Phase::Ready, 99.0).map(|time| time.as_secs_f64() * 1e3), outcome))
    })?;
    Ok(Plot {
        name: "latency-rate",
        title: "Latency against offered rate",
        caption: format!("99th percentile of the time to ready in an open loop (Poisson).{notes}"),
        x: Axis { label: "offered rate (sessions/s, log scale)", is_log: true },
        y: Axis { label: "99th percentile (ms, log scale)", is_log: true },
        shape: Shape::Lines { series, has_markers: true },
    })
}

fn against_clients(peers: &[Peer], extent: Extent) -> Result<Plot, Error> {
    let (series, notes) = sweep(peers, extent.clients, |peer, clients| {
        let outcome = run(peer, Load::Closed { clients: clients as usize }, extent.run)?;
        Ok((Some(outcome.ready_per_second()), outcome))
    })?;
    Ok(Plot {
        name: "throughput-clients",
        title: "Throughput against clients",
        caption: format!("Sessions with one query each in a closed loop.{notes}"),
        x: Axis { label: "clients (log scale)", is_log: true },
        y: Axis { label: "throughput (sessions/s)", is_log: false },
        shape: Shape::Lines { series, has_markers: true },
    })
}

fn memory(kinds: &[Kind], root: &Path, extent: Extent) -> Result<Plot, Error> {
    let places = [extent.idle / 4, extent.idle / 2, extent.idle].map(|place| place.max(1));
    let mut peers = Vec::new();
    for (index, kind) in kinds.iter().filter(|kind| kind.stores()).enumerate() {
        peers.push(Peer::start(kind.clone(), root, &format!("memory-{index}"), extent.idle + 50)?);
    }
    let mut before = Vec::new();
    for peer in &peers {
        before.push(super::process::pss_kb(&peer.processes()));
    }
    let (mut series, notes) = sweep(&peers, &places, |peer, sessions| {
        eprintln!("plots: {}, {sessions} idle sessions", peer.kind().name());
        let (kb, outcome) = costs::pss_with_idle(peer, sessions)?;
        Ok((kb.map(|kb| kb as f64 / 1024.0), outcome))
    })?;
    for ((_, points), kb) in series.iter_mut().zip(before) {
        points.splice(0..0, kb.map(|kb| (0.0, kb as f64 / 1024.0)));
    }
    Ok(Plot {
        name: "memory-idle",
        title: "Memory against idle sessions",
        caption: format!(
            "All of a server's processes together (proportional set size), sessions that have asked nothing.{notes}"
        ),
        x: Axis { label: "idle sessions", is_log: false },
        y: Axis { label: "memory (MB)", is_log: false },
        shape: Shape::Lines { series, has_markers: true },
    })
}

fn burst(peers: &[Peer]) -> Result<Plot, Error> {
    let load = Load::Open { rate: f64::from(BURST), arrivals: Arrivals::Burst(BURST) };
    let mut series = Series::new();
    let mut notes = String::new();
    for peer in peers {
        // Other servers do not tell.
        let Some(segment) = peer.segment() else { continue };
        let (done, began) = (AtomicBool::new(false), Instant::now());
        let (outcome, points) = std::thread::scope(|scope| {
            let sampler = scope.spawn(|| {
                let mut points = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    points.push((began.elapsed().as_secs_f64(), f64::from(segment.census().idle)));
                    std::thread::sleep(SAMPLE_INTERVAL);
                }
                points
            });
            let outcome = run(peer, load, Duration::from_secs(2));
            done.store(true, Ordering::Relaxed);
            (outcome, sampler.join().unwrap_or_default())
        });
        for (note, count) in storms::notes(&outcome?) {
            notes += &format!(" {}: {count} x {note}.", peer.kind().name());
        }
        series.push((peer.kind().name(), points));
    }
    Ok(Plot {
        name: "burst-spare",
        title: "Spare workers during bursts",
        caption: format!(
            "{BURST} sessions at once, one burst a second; counted every {} ms. Fork on accept has no spare \
             workers.{notes}",
            SAMPLE_INTERVAL.as_millis()
        ),
        x: Axis { label: "time (s)", is_log: false },
        y: Axis { label: "spare workers", is_log: false },
        shape: Shape::Lines { series, has_markers: false },
    })
}

fn break_down(peers: &[Peer], extent: Extent) -> Result<Plot, Error> {
    let parts = ["fork", "engine", "start-up packet", "authentication", "session begin", "outside the server"];
    let phases = [
        SetupPhase::Fork,
        SetupPhase::Engine,
        SetupPhase::StartupPacket,
        SetupPhase::Authentication,
        SetupPhase::Ready,
    ];
    let mut rows = Vec::new();
    for peer in peers {
        if !matches!(peer.kind(), Kind::Own { .. }) {
            continue;
        }
        eprintln!("plots: {}, step by step", peer.kind().name());
        let (steps, _) = explain::measure(peer, Load::Closed { clients: 1 }, extent.run * 2)?;
        let mut values: Vec<f64> =
            phases.iter().map(|phase| explain::mean_us(&steps, Part::Server, phase.name())).collect();
        let rest = explain::mean_us(&steps, Part::Client, Phase::Ready.name()) - values.iter().sum::<f64>();
        values.push(rest.max(0.0));
        rows.push((peer.kind().name(), values));
    }
    Ok(Plot {
        name: "time-to-ready",
        title: "Where the time to ready goes",
        caption: "Means of one client's sessions, one after another. Outside the server: the kernel, loopback, the \
                  load generator, and the queue before accept."
            .to_owned(),
        x: Axis { label: "time to ready (us)", is_log: false },
        y: Axis { label: "model", is_log: false },
        shape: Shape::Bars { parts: parts.to_vec(), rows },
    })
}
