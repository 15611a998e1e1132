//! kill -9 of a worker at each named point, under load: its own client notices and no other, what it held is free
//! again, and nothing that was acknowledged is lost.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::load::{Load, Mix, connect, create_tables, stored, verify};
use crate::support::wait_until;
use crate::victim::{Death, Victim};

pub const TESTS: &[crate::Test] = &[
    ("a_worker_killed_at_any_point_costs_its_own_client_only", |seed| a_worker_killed_at_any_point("prefork", 2, seed)),
    ("a_process_of_its_clients_own_killed_costs_that_client_only", |seed| {
        a_worker_killed_at_any_point("fork-on-accept", 1, seed);
    }),
    ("a_killed_reader_gives_its_snapshot_back", a_killed_reader),
    ("a_slot_half_written_keeps_nobody_from_looking", a_slot_half_written),
    ("a_worker_that_hears_nothing_is_killed_when_it_was_told_to_end", a_deaf_worker),
];

/// What a client that died with its worker may have lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Its commit had not been written: nothing of it may be there.
    Undone,
    /// Its commit had been written and was visible: it stays.
    Kept,
    /// Whatever the process was doing there.
    Either,
}

const POINTS: &[(&str, Fate)] = &[
    ("after-accept", Fate::Undone),
    ("authenticating", Fate::Undone),
    ("writing-slot", Fate::Undone),
    ("queueing-for-writer-lock", Fate::Undone),
    ("holding-writer-lock", Fate::Undone),
    ("after-begun", Fate::Undone),
    ("after-wal-append", Fate::Kept),
    ("leading-sync", Fate::Either),
    ("after-sync", Fate::Either),
    ("holding-read-mark", Fate::Undone),
];

fn a_worker_killed_at_any_point(model: &str, kills: usize, seed: u64) {
    let points: Vec<_> = POINTS.iter().map(|(point, _)| (*point, "kill")).collect();
    let model = format!("pool.model={model}");
    let settings = ["engine.sqlite.max_wal_size=1MB", "engine.sqlite.checkpoint_interval=100ms", &model];
    let victim = Victim::start(&points, &settings);
    let server = &victim.server;
    create_tables(server);
    let mut bystander = connect(server.port).expect("a connection");
    let mix = Mix { writers: 4, connecting: 2, readers: 2, ..Mix::default() };
    let load = Load::start(server.port, &mix, &Arc::new(AtomicU64::new(1)), seed);
    let mut expected_lost = 0;
    let mut fates = Vec::new();
    for (point, fate) in POINTS {
        let before = load.so_far();
        let mut deaths = Vec::new();
        for _ in 0..kills {
            let death = kill_at(&victim, point);
            expected_lost += u64::from(death.had_client());
            goes_on(&victim, &load, &death);
            deaths.push(death);
        }
        wait_until(&format!("the clients of {deaths:?} notice"), || load.so_far().lost >= expected_lost);
        let after = load.so_far();
        assert_eq!(after.lost, expected_lost, "others noticed that these died {point}: {deaths:?}");
        let in_doubt = after.in_doubt[before.in_doubt.len()..].to_vec();
        fates.push((point, fate, deaths, in_doubt));
    }
    let outcome = load.stop();
    assert_eq!(outcome.lost, expected_lost, "connections were lost that no kill explains");
    assert_eq!(bystander.query_one("select 7", &[]).expect("the bystander's answer").get::<_, i32>(0), 7);
    verify(server, &outcome);
    let stored = stored(server);
    for (point, fate, deaths, in_doubt) in fates {
        let kept = in_doubt.iter().filter(|id| stored.contains(id)).count();
        let clients = deaths.iter().filter(|death| death.had_client()).count();
        println!(
            "  {point}: {} killed, {clients} sessions lost, {} transactions in flight: {kept} kept, {} undone",
            deaths.len(),
            in_doubt.len(),
            in_doubt.len() - kept,
        );
        match fate {
            Fate::Undone => assert_eq!(kept, 0, "a commit that was not written {point} is there"),
            Fate::Kept => assert_eq!(kept, in_doubt.len(), "a commit that others could see {point} is gone"),
            Fate::Either => {}
        }
    }
    println!("  {} acknowledged, {} reads, nothing else noticed", outcome.acknowledged.len(), outcome.reads);
    // The bystander's, and that of the question.
    wait_until("slots without a session are free", || server.query("select busy from pgprefork.pool") == "2");
}

/// Kills whoever comes to the point next.
fn kill_at(victim: &Victim, point: &str) -> Death {
    let before = victim.deaths().len();
    victim.strike(point);
    wait_until(&format!("the end of who died {point} is noticed"), || victim.deaths().len() > before);
    let deaths = victim.deaths();
    assert_eq!(deaths.len(), before + 1, "more than one died {point}: {:?}", &deaths[before..]);
    deaths[before].clone()
}

/// What the dead held is free: writers commit, the WAL starts anew (nobody's read mark or lock is in the way),
/// and the slot and its locks are nobody's.
fn goes_on(victim: &Victim, load: &Load, dead: &Death) {
    let before = load.count();
    wait_until("writers go on", || load.count() > before + 20);
    let salt = victim.wal_salt();
    wait_until("the WAL starts anew", || victim.wal_salt() != salt);
    let traces = format!(
        "select (select count(*) from pgprefork.workers where pid = {0}), \
         (select count(*) from pg_locks where pid = {0}), (select count(*) from pg_stat_activity where pid = {0})",
        dead.pid
    );
    wait_until(&format!("slot and locks of {dead:?} are free"), || victim.server.query(&traces) == "0|0|0");
}

/// The mark of a snapshot keeps the WAL from starting anew. Nobody takes the dead process's slot here, so only the
/// reaper can give the mark back.
fn a_killed_reader(seed: u64) {
    kill_reader(seed, false);
    kill_reader(seed, true);
}

/// `first`: its snapshot is taken before anybody writes, most likely of the database file alone.
fn kill_reader(seed: u64, first: bool) {
    let victim = Victim::start(&[], &["engine.sqlite.max_wal_size=512kB", "engine.sqlite.checkpoint_interval=100ms"]);
    create_tables(&victim.server);
    let mix = Mix { writers: 2, ..Mix::default() };
    let mut reader = connect(victim.server.port).expect("a connection");
    let mut begin = || -> i32 {
        reader.batch_execute("begin isolation level repeatable read").expect("begins");
        reader.query_one("select pg_backend_pid() from pgbench_tellers limit 1", &[]).expect("reads").get(0)
    };
    let started = first.then(|| {
        // Until the checkpointer has moved what made the tables.
        std::thread::sleep(Duration::from_millis(500));
        begin()
    });
    let load = Load::start(victim.server.port, &mix, &Arc::new(AtomicU64::new(1)), seed);
    wait_until("writers are at work", || load.count() > 10);
    let pid = started.unwrap_or_else(begin);
    let names_it = |line: &str| {
        let pids =
            line.split_once("cannot start anew: snapshots of processes [").and_then(|(_, rest)| rest.split_once(']'));
        pids.is_some_and(|(pids, _)| pids.split(", ").any(|named| named == pid.to_string()))
    };
    wait_until("the log names who keeps the WAL", || victim.server.log().lines().any(names_it));
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("a process of the server");
    for _ in 0..3 {
        let salt = victim.wal_salt();
        wait_until("the WAL starts anew", || victim.wal_salt() != salt);
    }
    let outcome = load.stop();
    assert!(reader.simple_query("select 1").is_err(), "its client is the one who notices");
    assert_eq!(outcome.lost, 0);
    verify(&victim.server, &outcome);
}

/// Whoever looks at all slots neither waits for one that is being written nor shows half of it.
fn a_slot_half_written(_seed: u64) {
    let victim = Victim::start(&[("writing-slot", "stop")], &["pool.hang_timeout=0"]);
    let mut writer = connect(victim.server.port).expect("a connection");
    let mut watcher = connect(victim.server.port).expect("a connection");
    let pid: i32 = writer.query_one("select pg_backend_pid()", &[]).expect("a row").get(0);
    victim.prepare("writing-slot");
    let stuck = std::thread::spawn(move || writer.simple_query("select 'half'").is_err());
    wait_until("it is stopped while it writes", || {
        victim.server.log().contains(&format!("{pid} was stopped by SIGSTOP"))
    });
    let look = "select query, state, (select count(*) from pgprefork.workers where pid = $1) \
        from pg_stat_activity where pid = $1";
    let row = watcher.query_one(look, &[&pid]).expect("a row");
    let shown: (Option<String>, Option<String>, i64) = (row.get(0), row.get(1), row.get(2));
    assert_eq!(shown, (None, None, 1), "half of a description is shown");
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("a process of the server");
    assert!(stuck.join().expect("its client"), "the one who was killed answers");
    wait_until("its slot is free", || watcher.query(look, &[&pid]).expect("rows").is_empty());
}

/// A loop that no interrupt reaches: pg_terminate_backend and a fast shutdown end it all the same.
fn a_deaf_worker(_: u64) {
    let mut victim = Victim::start(&[("holding-writer-lock", "spin")], &["pool.terminate_timeout=300ms"]);
    let mut watcher = connect(victim.server.port).expect("a connection");
    watcher.batch_execute("create table t (a int)").expect("a table");
    let port = victim.server.port;
    let spin = |victim: &Victim| {
        victim.prepare("holding-writer-lock");
        let client =
            std::thread::spawn(move || connect(port).and_then(|mut it| it.batch_execute("insert into t values (1)")));
        wait_until("a statement spins", || !victim.is_prepared("holding-writer-lock"));
        client
    };
    let client = spin(&victim);
    let query = "select pg_terminate_backend(pid) from pg_stat_activity where query like 'insert into t%'";
    assert!(watcher.query_one(query, &[]).expect("one session").get::<_, bool>(0));
    assert!(client.join().expect("a client").is_err(), "its connection ended");
    // What it held is free.
    watcher.batch_execute("insert into t values (2)").expect("the writer lock is free");
    assert_eq!(watcher.query_one("select count(*) from t", &[]).expect("a count").get::<_, i64>(0), 1);
    let client = spin(&victim);
    assert_eq!(victim.server.stop(), Some(0), "{}", victim.server.log());
    assert!(client.join().expect("a client").is_err());
    let told = "for longer than pool.terminate_timeout: killing it";
    assert_eq!(victim.server.log().matches(told).count(), 2, "{}", victim.server.log());
}
