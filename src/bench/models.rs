//! `bench models`: the same pgbench workloads on every connection model, in interleaved rounds.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Error;
use super::check;
use super::peer::{Kind, POSTGRES_SETTINGS, Peer};
use super::pgbench::{self, Workload};
use super::report::{self, Section};

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
    /// Peers to measure beside this program: postgres.
    #[arg(long, value_delimiter = ',', value_parser = ["postgres"])]
    with: Vec<String>,
    /// Only workloads whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Three short rounds on small tables: a look, not a measurement.
    #[arg(long)]
    quick: bool,
}

/// Every workload, in the order of the report.
const WORKLOADS: &[Workload] = &[
    Workload {
        name: "-S -C -c 8 -j 2: a connection per query",
        arguments: &["-S", "-C", "-c", "8", "-j", "2"],
        beside: None,
        writes: false,
    },
    Workload {
        name: "-S -C -c 32 -j 2: a connection per query",
        arguments: &["-S", "-C", "-c", "32", "-j", "2"],
        beside: None,
        writes: false,
    },
    Workload {
        name: "-S -M prepared -c 8 -j 2",
        arguments: &["-S", "-M", "prepared", "-c", "8", "-j", "2"],
        beside: None,
        writes: false,
    },
    Workload {
        name: "-S -M simple -c 8 -j 2",
        arguments: &["-S", "-M", "simple", "-c", "8", "-j", "2"],
        beside: None,
        writes: false,
    },
    Workload {
        name: "tpcb-like -M prepared -c 8 -j 2",
        arguments: &["-M", "prepared", "-c", "8", "-j", "2"],
        beside: None,
        writes: true,
    },
    Workload {
        name: "tpcb-like -M prepared -c 1",
        arguments: &["-M", "prepared", "-c", "1"],
        beside: None,
        writes: true,
    },
    Workload {
        name: "mixed: tpcb-like -M prepared -c 4",
        arguments: &["-M", "prepared", "-c", "4"],
        beside: Some(("mixed: -S -M prepared -c 4", &["-S", "-M", "prepared", "-c", "4"])),
        writes: true,
    },
];

/// Largest number of sessions that a workload needs, with room for psql.
const MAX_SESSIONS: u32 = 100;

/// Runs the comparison and prints it.
pub fn run(arguments: &ModelsArguments) -> Result<(), Error> {
    let (rounds, seconds, scale) = if arguments.quick {
        (3, 1, 1)
    } else {
        (arguments.rounds.max(1), arguments.seconds.max(1), arguments.scale.max(1))
    };
    let own = |model, sessions_per_worker, engine| Kind::Own { model, sessions_per_worker, engine };
    let mut kinds = vec![
        own("fork-on-accept", 1, "sqlite"),
        own("prefork", 1, "sqlite"),
        own("prefork", 0, "sqlite"),
        own("fork-on-accept", 1, "null"),
        own("prefork", 1, "null"),
        own("prefork", 0, "null"),
    ];
    if arguments.with.iter().any(|name| name == "postgres") {
        kinds.push(Kind::Postgres);
    }
    let root = TemporaryDirectory::new()?;
    print_setting(rounds, seconds, scale, &kinds);

    let mut peers = Vec::new();
    for kind in kinds {
        let peer = Peer::start(kind, root.path(), MAX_SESSIONS)?;
        if peer.kind().stores() {
            pgbench::initialise(&peer, scale)?;
        }
        peers.push(peer);
    }
    let workloads: Vec<&Workload> = WORKLOADS
        .iter()
        .filter(|workload| arguments.only.as_ref().is_none_or(|only| workload.name.contains(only.as_str())))
        .collect();
    let sections = measure(&peers, &workloads, rounds, seconds)?;

    let names: Vec<String> = peers.iter().map(|peer| peer.kind().name()).collect();
    let against: Vec<usize> =
        [0, peers.len() - 1].into_iter().filter(|index| *index == 0 || names[*index] == "postgres").collect();
    report::print(&names, &sections, &against);
    println!("\nOn every server that stores: what was acknowledged is there, and the four sums agree.");
    Ok(())
}

/// Every round runs every workload on every peer, so that a slow minute of the machine strikes all alike.
fn measure(peers: &[Peer], workloads: &[&Workload], rounds: u32, seconds: u32) -> Result<Vec<Section>, Error> {
    let mut sections = Vec::new();
    for workload in workloads {
        let section = |title: &str| Section {
            title: title.to_owned(),
            unit: "transactions/s",
            rounds: vec![Vec::new(); peers.len()],
        };
        sections.push(section(workload.name));
        if let Some((name, _)) = workload.beside {
            sections.push(section(name));
        }
    }
    let mut acknowledged = vec![0; peers.len()];
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        let mut row = 0;
        for workload in workloads {
            for (index, peer) in peers.iter().enumerate() {
                // The null engine stores nothing: it is the ceiling of what only reads.
                if workload.writes && !peer.kind().stores() {
                    continue;
                }
                let (main, beside) = pgbench::run(peer, workload, seconds)?;
                sections[row].rounds[index].push(main.transactions_per_second);
                if let Some(beside) = beside {
                    sections[row + 1].rounds[index].push(beside.transactions_per_second);
                }
                if workload.writes {
                    acknowledged[index] += main.transactions;
                    check::sums(peer, acknowledged[index])?;
                }
            }
            row += 1 + usize::from(workload.beside.is_some());
        }
    }
    Ok(sections)
}

/// Machine, versions and settings: a figure without them says nothing.
fn print_setting(rounds: u32, seconds: u32, scale: u32, kinds: &[Kind]) {
    let first_line = |command: &mut Command| {
        command
            .output()
            .ok()
            .and_then(|output| String::from_utf8(output.stdout).ok())
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    println!("pgprefork {} on {cores} cores, Linux {}", env!("CARGO_PKG_VERSION"), kernel.trim());
    if let Ok(pgbench) = pgbench::program("pgbench") {
        println!("{}", first_line(Command::new(pgbench).arg("--version")));
    }
    if kinds.contains(&Kind::Postgres)
        && let Ok(postgres) = pgbench::program("postgres")
    {
        println!("{}; {}", first_line(Command::new(postgres).arg("--version")), POSTGRES_SETTINGS.join(", "));
    }
    println!(
        "scale {scale}; {rounds} interleaved rounds of {seconds} s a run; TCP on loopback, trust authentication; durable commits"
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
