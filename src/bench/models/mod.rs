//! `bench models`: the same workloads on every connection model, in interleaved rounds, and what a session costs.

mod certificate;
mod check;
mod costs;
pub(super) mod explain;
mod page;
mod peer;
mod pgbench;
mod pictures;
mod plot;
mod pooler;
mod process;
mod report;
mod storms;
mod workload;

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::{Error, look_for_interrupt};
use peer::{Kind, POSTGRES_SETTINGS, Peer};
use pooler::Pooler;
use report::Section;
use workload::Workload;

/// Arguments of `pgprefork bench models`.
#[derive(Debug, clap::Args)]
pub struct ModelsArguments {
    /// Rounds; every round runs every workload on every server.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Seconds a run.
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// Scale of pgbench's tables (100,000 accounts each).
    #[arg(long, default_value_t = 10)]
    scale: u32,
    /// Peers to measure beside this program, each with a PostgreSQL of its own.
    #[arg(long, value_delimiter = ',', value_parser = ["postgres", "pgbouncer", "pgpool"])]
    with: Vec<String>,
    /// Measure the relay instead: this program and PgBouncer, each before a PostgreSQL of its own, and PostgreSQL alone.
    #[arg(long, conflicts_with = "with")]
    relay: bool,
    /// Only workloads whose name contains this; "costs" for what a session costs.
    #[arg(long, value_name = "WORDS")]
    only: Option<String>,
    /// Idle sessions whose memory is measured.
    #[arg(long, value_name = "SESSIONS", default_value_t = 1000)]
    idle: u32,
    /// Two short rounds of the main workloads on small tables, with 200 idle sessions: a look, not a measurement.
    #[arg(long, conflicts_with_all = ["rounds", "seconds", "scale", "idle"])]
    quick: bool,
    /// Also write a page with plots, and the plots as files; "--only plots" for nothing else.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Also write everything as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also write every figure as CSV.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
struct Extent {
    rounds: u32,
    seconds: u32,
    scale: u32,
    idle: u32,
}

/// Largest number of sessions that a workload needs, with room for psql.
const MAX_SESSIONS: u32 = workload::BURST + 50;

/// Runs the comparison and prints it.
pub fn run(arguments: &ModelsArguments) -> Result<(), Error> {
    let extent = if arguments.quick {
        Extent { rounds: 2, seconds: 1, scale: 1, idle: 200 }
    } else {
        Extent {
            rounds: arguments.rounds.max(1),
            seconds: arguments.seconds.max(1),
            scale: arguments.scale.max(1),
            idle: arguments.idle.clamp(1, 10_000),
        }
    };
    let kinds = if arguments.relay { relay_kinds() } else { kinds(&arguments.with) };
    let max_sessions = if arguments.relay { workload::CROWD + 50 } else { MAX_SESSIONS };
    let wanted = |name: &str| arguments.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    let crowds = if arguments.relay { workload::CROWDS } else { &[] };
    let workloads: Vec<&Workload> = workload::ALL
        .iter()
        .chain(crowds)
        .filter(|(workload, is_quick)| wanted(workload.name()) && (*is_quick || !arguments.quick))
        .map(|(workload, _)| workload)
        .collect();
    let plots_wanted = arguments.report.is_some() && (wanted("plots") || wanted("costs") || !workloads.is_empty());
    if workloads.is_empty() && !wanted("costs") && !plots_wanted {
        return Err(Error::Plan("no workload has such a name".to_owned()));
    }
    super::storm::raise_descriptor_limit();
    let root = TemporaryDirectory::new()?;
    let setting = setting(extent, &kinds, max_sessions);
    print_setting(&setting);

    let (mut sections, mut plots) = (Vec::new(), Vec::new());
    let mut gather = || -> Result<(), Error> {
        if !workloads.is_empty() {
            let peers = start(&kinds, root.path(), &workloads, extent.scale, max_sessions)?;
            measure(&peers, &workloads, extent, &mut sections)?;
        }
        if wanted("costs") {
            let rounds = if arguments.quick { 1 } else { extent.rounds.min(3) };
            let extent = costs::Extent { rounds, seconds: extent.seconds, idle: extent.idle, max_sessions };
            costs::measure(&kinds, root.path(), extent, &mut sections)?;
        }
        if plots_wanted {
            let run = Duration::from_secs(u64::from(extent.seconds));
            let pictures = if arguments.quick {
                pictures::Extent::QUICK
            } else {
                pictures::Extent { run, idle: extent.idle, ..pictures::Extent::FULL }
            };
            plots = pictures::measure(&kinds, root.path(), pictures::Extent { max_sessions, ..pictures })?;
        }
        Ok(())
    };
    let gathered = gather();
    // A terminal sends Ctrl-C to the servers as well, and then it is their end that is noticed first.
    let is_stopped = matches!(gathered, Err(Error::Stopped)) || look_for_interrupt().is_break();
    if !is_stopped {
        gathered?;
    }

    let names: Vec<String> = kinds.iter().map(Kind::name).collect();
    let is_base = |index: &usize| {
        if arguments.relay { !names[*index].starts_with("relay") } else { *index == 0 || names[*index] == "postgres" }
    };
    let against: Vec<usize> = (0..names.len()).filter(is_base).collect();
    let table = report::table(&names, &sections, &against);
    print!("{table}");
    if is_stopped {
        println!("\nStopped: these are the figures until then.");
    } else if workloads.iter().any(|workload| workload.writes()) {
        println!("\nOn every server that stores: what was acknowledged is there, and the four sums agree.");
    }
    let write =
        |path: &Path, text: String| fs::write(path, text).map_err(|error| Error::Io(path.display().to_string(), error));
    if let Some(path) = &arguments.json {
        let mut value = report::json(&setting, &names, &sections);
        if plots_wanted {
            value["plots"] = plots.iter().map(plot::Plot::json).collect();
        }
        write(path, format!("{value:#}\n"))?;
    }
    if let Some(path) = &arguments.csv {
        write(path, report::csv(&names, &sections))?;
    }
    if let Some(directory) = &arguments.report {
        page::write(directory, &setting, &plots, &table)?;
        println!("\nThe report is {}.", directory.join("index.html").display());
    }
    Ok(())
}

/// The servers to be compared, in the order of the report.
fn kinds(with: &[String]) -> Vec<Kind> {
    let mut kinds = vec![
        own("fork-on-accept", 1, "sqlite"),
        own("prefork", 1, "sqlite"),
        own("prefork", 0, "sqlite"),
        own("fork-on-accept", 1, "null"),
        own("prefork", 1, "null"),
        own("prefork", 0, "null"),
    ];
    let others = [
        ("postgres", Kind::Postgres),
        ("pgbouncer", Kind::Pooled(Pooler::PgBouncer)),
        ("pgpool", Kind::Pooled(Pooler::Pgpool)),
    ];
    kinds.extend(others.into_iter().filter(|(name, _)| with.iter().any(|asked| asked == name)).map(|(_, kind)| kind));
    kinds
}

/// The servers of `--relay`, each but the fourth with a PostgreSQL of its own behind it.
fn relay_kinds() -> Vec<Kind> {
    vec![
        Kind::Relay { sessions_per_worker: 1, pool_mode: "session" },
        Kind::Relay { sessions_per_worker: 0, pool_mode: "session" },
        Kind::Relay { sessions_per_worker: 0, pool_mode: "transaction" },
        Kind::Postgres,
        Kind::Pooled(Pooler::PgBouncer),
        Kind::Pooled(Pooler::PgBouncerTransaction),
    ]
}

fn own(model: &'static str, sessions_per_worker: u32, engine: &'static str) -> Kind {
    Kind::Own { model, sessions_per_worker, engine }
}

/// Starts every server, with pgbench's tables where they are needed.
fn start(
    kinds: &[Kind],
    root: &Path,
    workloads: &[&Workload],
    scale: u32,
    max_sessions: u32,
) -> Result<Vec<Peer>, Error> {
    let needs_tables = workloads.iter().any(|workload| matches!(workload, Workload::Pgbench(_)));
    let mut peers = Vec::new();
    for (index, kind) in kinds.iter().enumerate() {
        let peer = Peer::start(kind.clone(), root, &format!("peer-{index}"), max_sessions)?;
        if needs_tables && kind.stores() {
            pgbench::initialise(&peer, scale)?;
        }
        peers.push(peer);
    }
    Ok(peers)
}

/// Every round runs every workload on every peer, so that a slow minute of the machine strikes all alike.
/// The sections hold what was measured also when it does not come to its end.
fn measure(peers: &[Peer], workloads: &[&Workload], extent: Extent, sections: &mut Vec<Section>) -> Result<(), Error> {
    let firsts: Vec<usize> = workloads
        .iter()
        .map(|workload| {
            let first = sections.len();
            sections.extend(workload.sections(peers.len()));
            first
        })
        .collect();
    let mut acknowledged = vec![0; peers.len()];
    for round in 0..extent.rounds {
        eprintln!("round {} of {}", round + 1, extent.rounds);
        for (workload, first) in workloads.iter().zip(&firsts) {
            let sections = &mut sections[*first..];
            for (index, peer) in peers.iter().enumerate() {
                if !workload.fits(peer.kind()) {
                    continue;
                }
                if look_for_interrupt().is_break() {
                    return Err(Error::Stopped);
                }
                let run = workload.run(peer, extent.seconds)?;
                for (section, figure) in sections.iter_mut().zip(run.figures) {
                    section.rounds[index].push(figure);
                }
                // Said once for a workload, of its first figure.
                sections[0].note(index, run.notes);
                if workload.writes() {
                    acknowledged[index] += run.acknowledged;
                    check::sums(peer, acknowledged[index])?;
                }
            }
        }
    }
    Ok(())
}

/// Machine, versions and settings: a figure without them says nothing.
fn setting(extent: Extent, kinds: &[Kind], max_sessions: u32) -> Value {
    let version = |program: &'static str, argument: &str| {
        let path = pgbench::program(program).ok()?;
        let output = Command::new(path).arg(argument).output().ok()?;
        // pgpool tells its version on standard error.
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).lines().next().map(str::to_owned)
    };
    let mut settings = serde_json::Map::new();
    let uses_postgres = kinds.iter().any(|kind| !matches!(kind, Kind::Own { .. }));
    if uses_postgres {
        let text =
            format!("{}; {}", version("postgres", "--version").unwrap_or_default(), POSTGRES_SETTINGS.join(", "));
        settings.insert("postgres".to_owned(), json!(text));
    }
    for kind in kinds {
        if let Kind::Pooled(pooler) = kind {
            let text = format!("{}; {}", version(pooler.program(), "--version").unwrap_or_default(), pooler.settings());
            settings.insert(pooler.name().to_owned(), json!(text));
        }
    }
    let machine = machine();
    json!({
        "version": machine["version"],
        "cores": machine["cores"],
        "kernel": machine["kernel"],
        "pgbench": version("pgbench", "--version"),
        "peers": settings,
        "rounds": extent.rounds,
        "seconds": extent.seconds,
        "scale": extent.scale,
        "idle_sessions": extent.idle,
        "max_sessions": max_sessions,
        "debug_build": cfg!(debug_assertions),
        "connection": "TCP on loopback, trust authentication",
        "durability": "durable commits",
    })
}

/// This program and what it runs on.
fn machine() -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "kernel": fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
        "debug_build": cfg!(debug_assertions),
    })
}

fn print_setting(setting: &Value) {
    let text = |name: &str| setting[name].as_str().unwrap_or_default().to_owned();
    println!("pgprefork {} on {} cores, Linux {}", text("version"), setting["cores"], text("kernel"));
    if cfg!(debug_assertions) {
        println!("built without optimisation: the figures of this program's servers are not what they can do");
    }
    println!("{}", text("pgbench"));
    for peer in setting["peers"].as_object().into_iter().flat_map(serde_json::Map::values) {
        println!("{}", peer.as_str().unwrap_or_default());
    }
    println!(
        "scale {}; {} interleaved rounds of {} s a run; room for {} sessions; {}; {}",
        setting["scale"],
        setting["rounds"],
        setting["seconds"],
        setting["max_sessions"],
        text("connection"),
        text("durability")
    );
}

/// A directory of our own, gone when dropped.
struct TemporaryDirectory(PathBuf);

impl TemporaryDirectory {
    fn new() -> Result<Self, Error> {
        let stamp = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
        let path = std::env::temp_dir().join(format!("pgprefork-bench-{}-{stamp}", std::process::id()));
        // Servers that drop their privileges must be able to pass through.
        fs::DirBuilder::new()
            .mode(0o755)
            .create(&path)
            .map_err(|error| Error::Io(path.display().to_string(), error))?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
