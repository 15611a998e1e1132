//! kill -9 at any instant, and at the named points.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use pgprefork::engine::sqlite::transaction::Characteristics;
use shm::SlotKind;

use crate::support::{self, Child, Cluster, Random, eventually};

const TABLES: &str = "CREATE TABLE total(id INTEGER PRIMARY KEY, value INTEGER); \
    INSERT INTO total VALUES (1, 0), (2, 0); CREATE TABLE history(delta INTEGER);";

/// Adds to two totals and the history, in one transaction; all three agree in every snapshot.
fn fork_writer(cluster: &Cluster, seed: u64) -> Child {
    cluster.fork(SlotKind::Worker, move |cluster, me| {
        let mut random = Random(seed);
        let mut session = cluster.open(me);
        while cluster.segment.pool().shutdown() == shm::ShutdownMode::Running {
            let delta = random.below(100);
            session.store.begin(Characteristics::default()).expect("begins");
            session.write(&format!("UPDATE total SET value = value + {delta} WHERE id = 1")).expect("writes");
            session.write(&format!("UPDATE total SET value = value + {delta} WHERE id = 2")).expect("writes");
            session.write(&format!("INSERT INTO history VALUES ({delta})")).expect("writes");
            session.store.commit(false).expect("commits");
            session.settle();
            assert_eq!(session.read(DISAGREEMENT).expect("reads"), 0);
            session.settle();
        }
    })
}

const DISAGREEMENT: &str = "SELECT (SELECT value FROM total WHERE id = 1) <> (SELECT value FROM total WHERE id = 2) \
    OR (SELECT value FROM total WHERE id = 1) <> (SELECT coalesce(sum(delta), 0) FROM history)";

fn check(cluster: &Cluster) {
    let child = cluster.fork(SlotKind::Worker, |cluster, me| {
        let mut session = cluster.open(me);
        assert_eq!(session.read(DISAGREEMENT).expect("reads"), 0);
        let broken = "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'";
        assert_eq!(session.read(broken).expect("reads"), 0);
    });
    cluster.join(&child);
}

/// Workers and the checkpointer are killed at random instants; the others go on, and the sums agree.
pub fn killed_processes_cost_nobody_else(seed: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = Cluster::start(support::create(folder.path(), TABLES), 256 << 10);
    let mut random = Random(seed);
    let database = cluster.segment.open_database(support::OID).expect("a region");
    let mut checkpointer = cluster.fork_checkpointer();
    let mut writers: Vec<Child> = (0..4).map(|worker| fork_writer(&cluster, seed ^ worker)).collect();
    let until = Instant::now() + Duration::from_secs(6);
    let mut kills = 0;
    while Instant::now() < until {
        std::thread::sleep(Duration::from_micros(random.below(12_000)));
        match random.below(5) {
            4 => {
                cluster.kill(&checkpointer);
                checkpointer = cluster.fork_checkpointer();
            }
            victim => {
                let victim = &mut writers[usize::try_from(victim).expect("small")];
                cluster.kill(victim);
                *victim = fork_writer(&cluster, random.next());
            }
        }
        kills += 1;
        if kills % 50 == 0 {
            let before = database.durable();
            eventually("commits after kills", || database.durable() > before);
        }
    }
    println!("  {kills} kills, {} commits, WAL {} bytes", database.durable(), cluster.wal_bytes());
    check(&cluster);
    cluster.segment.pool().set_shutdown(shm::ShutdownMode::Fast);
    writers.iter().for_each(|writer| cluster.join(writer));
    cluster.stop_checkpointer(&checkpointer);
}

const POINTS: &[&str] = &[
    "queueing-for-writer-lock",
    "holding-writer-lock",
    "after-begun",
    "after-wal-append",
    "leading-sync",
    "after-sync",
    "holding-read-mark",
    "checkpointing",
    "finishing-checkpoint",
];

/// Each point in a program of its own, since the switch is read once.
pub fn a_death_at_each_point_frees_everything(seed: u64) {
    for point in POINTS {
        let folder = tempfile::tempdir().expect("a folder");
        let token = folder.path().join("token");
        let status = Command::new(std::env::current_exe().expect("this program"))
            .args(["crash-workload", folder.path().to_str().expect("UTF-8"), point, &seed.to_string()])
            .env("PGPREFORK_TEST_STOP", format!("{point}:stop:{}", token.display()))
            .status()
            .expect("runs");
        assert!(status.success(), "a process that died {point} left something behind");
    }
}

/// Stops a process at the point again and again; kills it there; sees the others go on.
pub fn workload(arguments: &[String]) {
    let [folder, point, seed] = arguments else { panic!("folder, point, seed") };
    let token = Path::new(folder).join("token");
    let cluster = Cluster::start(support::create(folder.as_ref(), TABLES), 64 << 10);
    let seed: u64 = seed.parse().expect("a number");
    let database = cluster.segment.open_database(support::OID).expect("a region");
    let mut checkpointer = cluster.fork_checkpointer();
    let mut writers: Vec<Child> = (0..3).map(|worker| fork_writer(&cluster, seed ^ worker)).collect();
    for _ in 0..5 {
        eventually("commits before the stop", || database.durable() > 20);
        std::fs::write(&token, "").expect("puts the token");
        let mut stopped = None;
        eventually(&format!("a process stops {point}"), || {
            let mut pids = writers.iter().map(|writer| writer.pid).chain([checkpointer.pid]);
            stopped = pids.find(|pid| is_stopped(*pid));
            stopped.is_some()
        });
        let pid = stopped.expect("found");
        kill(pid, Signal::SIGKILL).expect("kills");
        support::wait(pid);
        if pid == checkpointer.pid {
            cluster.segment.reap(checkpointer.owner);
            checkpointer = cluster.fork_checkpointer();
        } else {
            let dead = writers.iter().position(|writer| writer.pid == pid).expect("one of ours");
            cluster.segment.reap(writers[dead].owner);
            let before = database.durable();
            eventually("the others commit", || database.durable() > before);
            writers[dead] = fork_writer(&cluster, seed ^ u64::from(pid.as_raw().cast_unsigned()));
        }
        let before = database.durable();
        eventually("all commit", || database.durable() > before + 20);
    }
    check(&cluster);
    cluster.segment.pool().set_shutdown(shm::ShutdownMode::Fast);
    writers.iter().for_each(|writer| cluster.join(writer));
    cluster.stop_checkpointer(&checkpointer);
}

fn is_stopped(pid: nix::unistd::Pid) -> bool {
    let flags = WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED;
    matches!(waitpid(pid, Some(flags)), Ok(WaitStatus::Stopped(..)))
}
