//! What power loss could leave: every synced write, and any of those that were not synced.
//!
//! kill -9 cannot show that a commit was acknowledged before it was durable, because the page cache survives. So a
//! workload runs with a trace of all writes and syncs; then states that the disk could have had at many instants are
//! built from it and opened with stock SQLite. Each commit acknowledged before the instant must be there.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use pgprefork::engine::sqlite::trace::{self, Kind, Record};
use shm::SlotKind;

use crate::support::{self, Cluster, Random};

const TABLES: &str = "CREATE TABLE done(worker INTEGER, number INTEGER, PRIMARY KEY (worker, number)); \
    CREATE TABLE filler(id INTEGER PRIMARY KEY, text TEXT);";
const STATES: usize = 300;

const WAL_HEADER_BYTES: usize = 32;

/// Blocks of the page cache reach the disk in any order.
const BLOCK_BYTES: usize = 4096;

/// The real thing loses nothing.
pub fn every_acknowledged_commit_is_kept(seed: u64) {
    let lost = run(seed, true);
    assert_eq!(lost, 0, "acknowledged commits were lost");
}

/// Acknowledging without waiting for the sync must be found out, or the test above proves nothing.
pub fn a_missing_sync_would_show(seed: u64) {
    assert!(run(seed, false) > 0, "the test does not see unsynced commits");
}

/// Runs the workload and returns in how many states an acknowledged commit was missing.
fn run(seed: u64, synchronous: bool) -> usize {
    let folder = tempfile::tempdir().expect("a folder");
    let path = support::create(folder.path(), TABLES);
    let mut files = BTreeMap::new();
    for name in ["5", "5-wal"] {
        files.insert(name.to_owned(), File::new(std::fs::read(folder.path().join(name)).expect("reads")));
    }
    let trace_path = folder.path().join("trace");
    let status = Command::new(std::env::current_exe().expect("this program"))
        .args(["power-loss-workload", path.to_str().expect("UTF-8"), &synchronous.to_string(), &seed.to_string()])
        .env("PGPREFORK_TEST_TRACE", &trace_path)
        .status()
        .expect("runs");
    assert!(status.success());
    let bytes = std::fs::read(&trace_path).expect("a trace");
    let records = trace::parse(&bytes);
    let acknowledged = records.iter().filter(|record| record.kind == Kind::Acknowledged).count();
    println!("  {} records, {acknowledged} commits acknowledged", records.len());
    assert!(acknowledged > 50, "too few commits to prove anything");
    // A block written in part, which the page cache has not, is read from the disk under the writer lock.
    let frames = records.iter().filter(|record| record.name == "5-wal" && record.data.len() > WAL_HEADER_BYTES);
    assert!(frames.into_iter().all(|record| (record.offset as usize + record.data.len()).is_multiple_of(BLOCK_BYTES)));
    examine(&records, files, &mut Random(seed), folder.path())
}

/// One file of the disk.
struct File {
    /// With every write that a sync has covered.
    durable: Vec<u8>,
    /// Writes since, with their place in the trace.
    pending: Vec<usize>,
}

impl File {
    fn new(durable: Vec<u8>) -> File {
        File { durable, pending: Vec::new() }
    }
}

/// Does what the record says with a part of its data.
fn apply(image: &mut Vec<u8>, record: &Record, part: Range<usize>) {
    let offset = usize::try_from(record.offset).expect("not negative");
    if record.kind == Kind::Truncate {
        return image.resize(offset, 0);
    }
    let (offset, data) = (offset + part.start, &record.data[part]);
    if image.len() < offset + data.len() {
        image.resize(offset + data.len(), 0);
    }
    image[offset..offset + data.len()].copy_from_slice(data);
}

/// The parts of a write that reach the disk each by itself: one a block of the page cache.
fn blocks(record: &Record) -> Vec<Range<usize>> {
    let first = BLOCK_BYTES - usize::try_from(record.offset).expect("not negative") % BLOCK_BYTES;
    let end = record.data.len();
    let starts = std::iter::once(0).chain((first..end).step_by(BLOCK_BYTES));
    let ends = (first..end).step_by(BLOCK_BYTES).chain(std::iter::once(end));
    starts.zip(ends).map(|(start, end)| start..end).collect()
}

fn examine(records: &[Record], mut files: BTreeMap<String, File>, random: &mut Random, folder: &Path) -> usize {
    // Half of the instants are right after an acknowledgement, where a missing sync would show.
    let after_acknowledgement: Vec<usize> =
        (0..records.len()).filter(|i| records[*i].kind == Kind::Acknowledged).collect();
    let mut instants: Vec<usize> = (0..STATES)
        .map(|n| match n % 2 {
            0 => after_acknowledgement[random.below(after_acknowledgement.len() as u64) as usize],
            _ => random.below(records.len() as u64) as usize,
        })
        .collect();
    instants.sort_unstable();
    instants.dedup();
    let mut instants = instants.into_iter().peekable();
    let mut syncs: BTreeMap<i64, usize> = BTreeMap::new();
    let mut acknowledged = Vec::new();
    let mut lost = 0;
    for (place, record) in records.iter().enumerate() {
        match record.kind {
            Kind::Write | Kind::Truncate => files.get_mut(&record.name).expect("a known file").pending.push(place),
            Kind::SyncBegin => drop(syncs.insert(record.offset, place)),
            Kind::SyncEnd => {
                let begun = syncs.remove(&record.offset).expect("a sync that began");
                let file = files.get_mut(&record.name).expect("a known file");
                let covered = file.pending.partition_point(|place| *place < begun);
                for place in file.pending.drain(..covered) {
                    apply(&mut file.durable, &records[place], 0..records[place].data.len());
                }
            }
            Kind::Acknowledged => acknowledged.push(record.data.clone()),
        }
        if instants.next_if_eq(&place).is_some() {
            lost += usize::from(!survives(records, &files, &acknowledged, random, folder));
        }
    }
    lost
}

/// Builds one state and looks for the commits.
fn survives(
    records: &[Record],
    files: &BTreeMap<String, File>,
    acknowledged: &[Vec<u8>],
    random: &mut Random,
    folder: &Path,
) -> bool {
    let state = folder.join("state");
    let _ = std::fs::remove_dir_all(&state);
    std::fs::create_dir(&state).expect("creates");
    // Nothing unsynced, all of it, or each block of a write by chance and possibly torn between sectors.
    let chance = [0, 100, 50, 90][random.below(4) as usize];
    for (name, file) in files {
        let mut image = file.durable.clone();
        for place in &file.pending {
            let record = &records[*place];
            for part in blocks(record) {
                if random.below(100) >= chance {
                    continue;
                }
                let torn = chance == 50 && random.below(4) == 0;
                let sectors = (part.len() / 512).max(1) as u64;
                let end = if torn { part.start + random.below(sectors) as usize * 512 } else { part.end };
                apply(&mut image, record, part.start..end);
            }
        }
        std::fs::write(state.join(name), image).expect("writes");
    }
    let connection = rusqlite::Connection::open(state.join("5")).expect("opens");
    let check: String = connection.query_row("PRAGMA integrity_check", (), |row| row.get(0)).expect("checks");
    assert_eq!(check, "ok", "power loss damaged the database");
    let mut statement = connection.prepare("SELECT worker || ':' || number FROM done").expect("prepares");
    let rows = statement.query_map((), |row| row.get::<_, String>(0)).expect("reads");
    let present: HashSet<Vec<u8>> = rows.map(|row| row.expect("reads").into_bytes()).collect();
    acknowledged.iter().all(|commit| present.contains(commit))
}

/// Runs with a trace: processes commit and record what was acknowledged; readers record what they were told of.
pub fn workload(arguments: &[String]) {
    let [path, synchronous, seed] = arguments else { panic!("path, synchronous, seed") };
    let (synchronous, seed) = (synchronous == "true", seed.parse::<u64>().expect("a number"));
    let cluster = Cluster::start(path.into(), 256 << 10);
    let checkpointer = cluster.fork_checkpointer();
    let until = Instant::now() + Duration::from_millis(1000);
    let mut children = Vec::new();
    for worker in 0..3 {
        children.push(cluster.fork(SlotKind::Worker, |cluster, me| {
            let mut random = Random(seed ^ worker);
            let mut session = cluster.open(me);
            let mut number = 0;
            while Instant::now() < until {
                session.store.begin_implicit(Default::default());
                session.write(&format!("INSERT INTO done VALUES ({worker}, {number})")).expect("writes");
                let filler =
                    format!("INSERT OR REPLACE INTO filler VALUES ({}, hex(randomblob(200)))", random.below(500));
                session.write(&filler).expect("writes");
                session.store.end_implicit(true).expect("commits");
                session.store.settle(synchronous).expect("settles");
                trace::acknowledge(format!("{worker}:{number}").as_bytes());
                number += 1;
            }
        }));
    }
    children.push(cluster.fork(SlotKind::Worker, |cluster, me| {
        let mut session = cluster.open(me);
        let mut told = -1;
        while Instant::now() < until {
            // Whoever sees a commit is told of it as much as the one who made it.
            let newest = session.read("SELECT coalesce(max(number), -1) FROM done WHERE worker = 1").expect("reads");
            session.store.settle(synchronous).expect("settles");
            if newest > told {
                told = newest;
                trace::acknowledge(format!("1:{newest}").as_bytes());
            }
        }
    }));
    children.iter().for_each(|child| cluster.join(child));
    cluster.stop_checkpointer(&checkpointer);
}
