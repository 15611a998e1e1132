//! kill -9 of the processes that serve no session, under load: they come back, and no session notices.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::load::{Load, Mix, Random, connect, create_tables, verify};
use crate::support::wait_until;
use crate::victim::Victim;

pub const TESTS: &[crate::Test] = &[
    ("a_killed_checkpointer_comes_back_and_loses_nothing", a_killed_checkpointer_comes_back),
    ("a_killed_doorman_costs_those_who_wait_with_it_only", a_killed_doorman_comes_back),
];

fn kill_now(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("a process of the server");
}

fn a_killed_checkpointer_comes_back(seed: u64) {
    const POINTS: [&str; 2] = ["checkpointing", "finishing-checkpoint"];
    const RANDOM_KILLS: usize = 8;
    let settings = ["engine.sqlite.max_wal_size=512kB", "engine.sqlite.checkpoint_interval=100ms"];
    let victim = Victim::start(&POINTS.map(|point| (point, "kill")), &settings);
    create_tables(&victim.server);
    let mix = Mix { writers: 4, readers: 2, ..Mix::default() };
    let load = Load::start(victim.server.port, &mix, &Arc::new(AtomicU64::new(1)), seed);
    let mut random = Random(seed);
    for round in 0..POINTS.len() * 2 + RANDOM_KILLS {
        let mut before = 0;
        wait_until("there is a checkpointer", || {
            before = victim.child("chkp").unwrap_or(0);
            before != 0
        });
        match POINTS.get(round / 2) {
            Some(point) => victim.strike(point),
            None => {
                std::thread::sleep(Duration::from_millis(random.below(30)));
                kill_now(before);
            }
        }
        victim.successor("chkp", before);
        let (count, salt) = (load.count(), victim.wal_salt());
        wait_until("the WAL starts anew", || victim.wal_salt() != salt);
        wait_until("writers go on", || load.count() > count);
        let so_far = load.so_far();
        assert_eq!(so_far.lost, 0, "a session noticed that the checkpointer was killed");
    }
    let outcome = load.stop();
    println!("  {} kills, {} acknowledged, {} reads", victim.deaths().len(), outcome.acknowledged.len(), outcome.reads);
    assert_eq!(outcome.lost, 0);
    verify(&victim.server, &outcome);
    let file = victim.database_file();
    let expected = outcome.acknowledged.len() as i64;
    wait_until("everything is in the database file", || receipts_without_wal(&file) == Some(expected));
}

/// How many receipts are in the database file alone; `None` while the file changes under the copy.
fn receipts_without_wal(file: &Path) -> Option<i64> {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let copy = folder.path().join("copy");
    std::fs::copy(file, &copy).expect("copies");
    let stock = rusqlite::Connection::open(copy).expect("opens");
    let sound: String = stock.query_row("PRAGMA integrity_check", (), |row| row.get(0)).ok()?;
    let name = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE '%receipt%'";
    let table: String = stock.query_row(name, (), |row| row.get(0)).ok()?;
    let count = stock.query_row(&format!("SELECT count(*) FROM \"{table}\""), (), |row| row.get(0)).ok()?;
    (sound == "ok").then_some(count)
}

fn a_killed_doorman_comes_back(seed: u64) {
    const KILLS: u64 = 8;
    const WAITING: u64 = 10;
    let settings = [
        "pool.max_sessions=7",
        "pool.reserved_sessions=0",
        "pool.min_spare=1",
        "pool.start_workers=2",
        "pool.queue_timeout=60s",
    ];
    let victim = Victim::start(&[], &settings);
    create_tables(&victim.server);
    let port = victim.server.port;
    let mut bystander = connect(port).expect("a connection");
    let numbers = Arc::new(AtomicU64::new(1));
    let served = Load::start(port, &Mix { writers: 3, readers: 1, ..Mix::default() }, &numbers, seed);
    wait_until("all have their places", || served.count() > 10 && served.so_far().reads > 0);
    // More than the two places that are left: most of these wait with the doorman.
    let waiting = Load::start(port, &Mix { connecting: WAITING, ..Mix::default() }, &numbers, seed ^ 1);
    let mut random = Random(seed);
    let mut pool = |column: &str| -> i64 {
        let value: i32 =
            bystander.query_one(&format!("select {column} from pgprefork.pool"), &[]).expect("a row").get(0);
        value.into()
    };
    for _ in 0..KILLS {
        wait_until("clients wait", || pool("queued") >= 3);
        std::thread::sleep(Duration::from_millis(random.below(20)));
        let dead = victim.child("door").expect("a doorman");
        kill_now(dead);
        victim.successor("door", dead);
        let (before, count) = (waiting.count(), served.count());
        wait_until("those who come are served", || waiting.count() > before + 5 && served.count() > count);
        assert_eq!(served.so_far().lost, 0, "a session noticed that the doorman was killed");
    }
    let mut outcome = waiting.stop();
    println!("  {KILLS} kills, {} clients lost while they waited, {} served", outcome.lost, outcome.acknowledged.len());
    assert!(outcome.lost <= KILLS * WAITING, "more than all were lost");
    assert!(outcome.in_doubt.is_empty(), "sessions noticed that the doorman was killed");
    wait_until("nobody waits any more", || pool("queued") == 0 && pool("busy") == 5);
    let served = served.stop();
    assert_eq!(served.lost, 0);
    outcome.extend(served);
    verify(&victim.server, &outcome);
}
