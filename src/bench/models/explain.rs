//! `bench explain`: what one connection costs, step by step, in each model.
//!
//! Three views of the same sessions: the load generator's clock, the segment's histograms of what a client waits for,
//! and those of what replacing a worker takes while nobody waits. Measures; the server records.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use shm::{HistogramSnapshot, RecyclePhase, Segment, SetupPhase};

use super::super::storm::{Load, Outcome, Phase, Plan, run as carry_out};
use super::super::{Error, look_for_interrupt};
use super::peer::Peer;
use super::report::figure;
use super::{TemporaryDirectory, own, storms};

/// Arguments of `pgprefork bench explain`.
#[derive(Debug, clap::Args)]
pub struct ExplainArguments {
    /// Clients, each beginning a session as soon as its last one is over. One shows the steps without a queue.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    clients: u32,
    /// Seconds a model.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Also write everything as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Who waits for a step, or who saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The load generator's view.
    Client,
    /// What the server does while the client waits.
    Server,
    /// What the server does when no client waits.
    Aside,
}

impl Part {
    const ALL: [Part; 3] = [Part::Client, Part::Server, Part::Aside];

    fn name(self) -> &'static str {
        match self {
            Part::Client => "client",
            Part::Server => "server",
            Part::Aside => "aside",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Part::Client => "seen by the client",
            Part::Server => "in the server, while the client waits (total: from accept until ready)",
            Part::Aside => "in the server, while no client waits",
        }
    }
}

/// How long a step took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latency {
    pub count: u64,
    pub mean_us: f64,
    pub p50_us: f64,
    pub p99_us: f64,
}

impl Latency {
    fn of_segment(histogram: &HistogramSnapshot) -> Option<Self> {
        let count = histogram.count();
        Some(Self {
            count,
            mean_us: histogram.sum_us() as f64 / count as f64,
            p50_us: histogram.percentile(50.0)? as f64,
            p99_us: histogram.percentile(99.0)? as f64,
        })
    }

    fn of_client(outcome: &Outcome, phase: Phase) -> Option<Self> {
        let histogram = outcome.tally.latencies(phase);
        let us = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        (!histogram.is_empty()).then(|| Self {
            count: histogram.len(),
            mean_us: histogram.mean() / 1e3,
            p50_us: us(0.5),
            p99_us: us(0.99),
        })
    }
}

/// One step of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub part: Part,
    pub name: &'static str,
    /// None where the model has no such step.
    pub latency: Option<Latency>,
}

/// Every histogram of the segment that has to do with connections.
struct Recorded {
    setup: Vec<HistogramSnapshot>,
    recycle: Vec<HistogramSnapshot>,
}

impl Recorded {
    fn of(segment: Segment) -> Self {
        let statistics = segment.statistics();
        Self {
            setup: SetupPhase::ALL.iter().map(|phase| statistics.setup(*phase).snapshot()).collect(),
            recycle: RecyclePhase::ALL.iter().map(|phase| statistics.recycle(*phase).snapshot()).collect(),
        }
    }
}

/// The steps of the sessions that this load opens on one of our own servers.
pub fn measure(peer: &Peer, load: Load, duration: Duration) -> Result<(Vec<Step>, Outcome), Error> {
    let unseen = || Error::Unreadable("the shared segment of a server that was started for this".to_owned());
    let segment = peer.segment().ok_or_else(unseen)?;
    let plan = Plan { warm_up: Duration::ZERO, ..storms::plan(peer, load, duration) };
    let run = |plan: &Plan| {
        let outcome = carry_out(plan, &mut |_| look_for_interrupt())?;
        if outcome.interrupted { Err(Error::Stopped) } else { Ok(outcome) }
    };
    // The segment knows no warm-up: it is a run of its own.
    run(&Plan { duration: duration.min(Duration::from_millis(300)), ..plan.clone() })?;
    let before = Recorded::of(segment);
    let outcome = run(&plan)?;
    let after = Recorded::of(segment);
    let client = [Phase::Connect, Phase::Authentication, Phase::Ready, Phase::FirstQuery, Phase::Close];
    let mut steps: Vec<Step> = client
        .iter()
        .map(|phase| Step { part: Part::Client, name: phase.name(), latency: Latency::of_client(&outcome, *phase) })
        .collect();
    let recorded = |part, names: Vec<&'static str>, after: &[HistogramSnapshot], before: &[HistogramSnapshot]| {
        let each = names.into_iter().zip(after.iter().zip(before));
        each.map(|(name, (after, before))| Step { part, name, latency: Latency::of_segment(&after.since(before)) })
            .collect::<Vec<_>>()
    };
    let names = SetupPhase::ALL.iter().map(|phase| phase.name()).collect();
    steps.extend(recorded(Part::Server, names, &after.setup, &before.setup));
    let names = RecyclePhase::ALL.iter().map(|phase| phase.name()).collect();
    steps.extend(recorded(Part::Aside, names, &after.recycle, &before.recycle));
    Ok((steps, outcome))
}

/// A step's mean in microseconds, 0 where the model has no such step.
pub fn mean_us(steps: &[Step], part: Part, name: &str) -> f64 {
    let step = steps.iter().find(|step| step.part == part && step.name == name);
    step.and_then(|step| step.latency).map_or(0.0, |latency| latency.mean_us)
}

/// Runs all three models, one after the other, and prints the table.
pub fn run(arguments: &ExplainArguments) -> Result<(), Error> {
    if !(arguments.seconds > 0.0 && arguments.seconds <= 3600.0) {
        return Err(Error::Plan("seconds: above 0 and at most 3600".to_owned()));
    }
    super::super::storm::raise_descriptor_limit();
    let root = TemporaryDirectory::new()?;
    let kinds = [own("fork-on-accept", 1, "sqlite"), own("prefork", 1, "sqlite"), own("prefork", 0, "sqlite")];
    let load = Load::Closed { clients: arguments.clients as usize };
    let duration = Duration::from_secs_f64(arguments.seconds);
    let mut models = Vec::new();
    for (index, kind) in kinds.iter().enumerate() {
        eprintln!("{}", kind.name());
        let peer = Peer::start(kind.clone(), root.path(), &format!("peer-{index}"), arguments.clients + 50)?;
        let (steps, outcome) = measure(&peer, load, duration)?;
        models.push((kind.name(), steps, outcome));
    }
    let setting = super::machine();
    println!(
        "pgprefork {} on {} cores, Linux {}",
        env!("CARGO_PKG_VERSION"),
        setting["cores"],
        setting["kernel"].as_str().unwrap_or_default()
    );
    println!("{} client(s), {} s a model, trust authentication, TCP on loopback", arguments.clients, arguments.seconds);
    print!("{}", table(&models));
    if let Some(path) = &arguments.json {
        let value = json!({ "setting": setting, "clients": arguments.clients, "seconds": arguments.seconds,
            "models": models.iter().map(as_json).collect::<Vec<_>>() });
        fs::write(path, format!("{value:#}\n")).map_err(|error| Error::Io(path.display().to_string(), error))?;
    }
    Ok(())
}

/// Name, steps and outcome of a model.
type Model = (String, Vec<Step>, Outcome);

fn table(models: &[Model]) -> String {
    let mut text = String::new();
    let _ = write!(text, "\n{:<18}", "us: mean (99 %)");
    models.iter().for_each(|(name, ..)| text += &format!("  {name:>20}"));
    for part in Part::ALL {
        let _ = write!(text, "\n\n{}", part.title());
        for (row, step) in models[0].1.iter().enumerate().filter(|(_, step)| step.part == part) {
            let cells: Vec<_> = models.iter().map(|(_, steps, _)| steps[row].latency).collect();
            // Nobody has it: TLS, say.
            if cells.iter().all(Option::is_none) {
                continue;
            }
            let _ = write!(text, "\n  {:<16}", step.name.replace('_', " "));
            for cell in cells {
                let words = cell.map_or("-".to_owned(), |us| format!("{} ({})", figure(us.mean_us), figure(us.p99_us)));
                let _ = write!(text, "  {words:>20}");
            }
        }
    }
    text.push('\n');
    for (name, steps, outcome) in models {
        let waited = |phase: SetupPhase| mean_us(steps, Part::Server, phase.name());
        let fork = waited(SetupPhase::Fork);
        let ready = mean_us(steps, Part::Client, Phase::Ready.name());
        let inside = waited(SetupPhase::Total);
        let _ = write!(
            text,
            "\n{name}: ready after {} us, {} of them in the kernel, on loopback and in the queue before accept",
            figure(ready),
            figure(ready - inside)
        );
        if fork > 0.0 {
            let late = fork + waited(SetupPhase::Engine);
            let _ = write!(
                text,
                "; fork and engine take {} us ({:.0} % of it) while the client waits",
                figure(late),
                late / ready * 100.0
            );
        }
        let aside = mean_us(steps, Part::Aside, RecyclePhase::Start.name());
        if aside > 0.0 {
            let _ = write!(text, "; a new worker takes {} us that nobody waits for", figure(aside));
        }
        text.push('.');
        for (note, count) in storms::notes(outcome) {
            let _ = write!(text, "\n  {count} x {note}");
        }
    }
    text.push('\n');
    text
}

fn as_json((name, steps, outcome): &Model) -> Value {
    let step = |step: &Step| {
        step.latency.map(|us| {
            json!({ "part": step.part.name(), "step": step.name, "count": us.count,
                "mean_us": us.mean_us, "p50_us": us.p50_us, "p99_us": us.p99_us })
        })
    };
    json!({
        "model": name,
        "sessions": outcome.tally.completed,
        "notes": storms::notes(outcome),
        "steps": steps.iter().filter_map(step).collect::<Vec<_>>(),
    })
}
