//! What processes see of each other while nobody dies.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pgprefork::engine::sqlite::ffi::index::{self, Header};
use pgprefork::engine::sqlite::interrupts::Interrupts;
use pgprefork::engine::sqlite::transaction::{Characteristics, Isolation};
use pgprefork::error::{Condition, Error};
use shm::{Database, Geometry, Interrupt, Owner, Phase, SlotKind};

use crate::support::{self, Child, Cluster, eventually};

const ACCOUNTS: &str = "CREATE TABLE account(id INTEGER PRIMARY KEY, balance INTEGER); \
    WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 1000) \
    INSERT INTO account SELECT i, 0 FROM n; \
    CREATE TABLE history(worker INTEGER, delta INTEGER);";

/// Transfers keep the sum of balances at 0 in every snapshot. Beside them the checkpointer gets the WAL to start anew
/// again and again, and once all is quiet everything is in the database file and the WAL's room is used again.
pub fn writers_and_readers_agree(seed: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = Cluster::start(support::create(folder.path(), ACCOUNTS), 1 << 20);
    let checkpointer = cluster.fork_checkpointer();
    let writers: Vec<Child> = (0..4).map(|worker| fork_transfers(&cluster, worker, seed ^ worker)).collect();
    let readers: Vec<Child> = (0..3).map(|_| fork_reader(&cluster)).collect();
    let database = cluster.segment.open_database(support::OID).expect("a region");
    let (mut runs, mut run) = (0, None);
    eventually("the WAL starts anew ten times under load", || {
        let present = wal_header(database).map(Header::salt);
        if present.is_some() && present != run {
            (run, runs) = (present, runs + 1);
        }
        runs > 10 && database.durable() > 500
    });
    for child in writers.iter().chain(&readers) {
        cluster.segment.slot(child.owner.slot).raise(Interrupt::Retire);
        cluster.join(child);
    }
    eventually("what was written is moved", || {
        let page = database.wal_index_page(0).expect("a page");
        Header::read(page).is_some_and(|header| header.max_frame() == index::backfilled(page))
    });
    let (commits, bytes) = (database.durable(), cluster.wal_bytes());
    println!("  {commits} commits, {} starts of the WAL, {bytes} bytes", runs - 1);
    let before = wal_header(database).expect("a header");
    let last = cluster.fork(SlotKind::Worker, |cluster, me| {
        let mut session = cluster.open(me);
        let rows = session.read("SELECT count(*) FROM history").expect("reads");
        assert_eq!(rows.cast_unsigned(), commits);
        session.write("INSERT INTO history VALUES (0, 0)").expect("writes");
        session.settle();
    });
    cluster.join(&last);
    let after = wal_header(database).expect("a header");
    assert_ne!(after.salt(), before.salt(), "a WAL that is moved is not used anew");
    assert_eq!(cluster.wal_bytes(), bytes, "the WAL grows although it has room");
    cluster.stop_checkpointer(&checkpointer);
}

fn fork_transfers(cluster: &Cluster, worker: u64, seed: u64) -> Child {
    cluster.fork(SlotKind::Worker, move |cluster, me| {
        let mut random = support::Random(seed);
        let mut session = cluster.open(me);
        while !is_told_to_end(cluster, me) {
            let (from, to, delta) = (random.below(1000) + 1, random.below(1000) + 1, random.below(100));
            session.store.begin(Characteristics::default()).expect("begins");
            session
                .write(&format!("UPDATE account SET balance = balance - {delta} WHERE id = {from}"))
                .expect("writes");
            session.write(&format!("UPDATE account SET balance = balance + {delta} WHERE id = {to}")).expect("writes");
            session.write(&format!("INSERT INTO history VALUES ({worker}, {delta})")).expect("writes");
            session.store.commit(false).expect("commits");
            session.settle();
        }
    })
}

fn fork_reader(cluster: &Cluster) -> Child {
    cluster.fork(SlotKind::Worker, |cluster, me| {
        let mut session = cluster.open(me);
        let mut seen = 0;
        while !is_told_to_end(cluster, me) {
            assert_eq!(session.read("SELECT sum(balance) FROM account").expect("reads"), 0);
            let rows = session.read("SELECT count(*) FROM history").expect("reads");
            session.settle();
            assert!(rows >= seen, "a later statement saw less");
            seen = rows;
        }
    })
}

fn is_told_to_end(cluster: &Cluster, me: Owner) -> bool {
    cluster.segment.slot(me.slot).is_raised(Interrupt::Retire)
}

fn wal_header(database: Database) -> Option<Header> {
    database.wal_index_page(0).and_then(Header::read)
}

struct Impatient(Option<Instant>);

impl Interrupts for Impatient {
    fn check(&self) -> Option<Error> {
        let due = self.0.is_some_and(|deadline| deadline <= Instant::now());
        due.then(|| Error::new(Condition::QueryCanceled, "canceling statement due to statement timeout"))
    }

    fn deadline(&self) -> Option<Instant> {
        self.0
    }

    fn lock_timeout(&self) -> Option<Duration> {
        Some(Duration::from_millis(20))
    }
}

fn code<T>(result: Result<T, Error>) -> &'static str {
    result.err().map_or("00000", |error| error.condition().code())
}

/// READ COMMITTED sees new commits, REPEATABLE READ does not and fails with 40001 when it writes then; a waiter for
/// the lock ends with 55P03 or 57014.
pub fn isolation_between_processes(_seed: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = Cluster::start(support::create(folder.path(), ACCOUNTS), 1 << 20);
    let database = cluster.segment.open_database(support::OID).expect("a region");
    let other = |sql: &'static str| {
        let child = cluster.fork(SlotKind::Worker, |cluster, me| {
            let mut session = cluster.open(me);
            session.write(sql).expect("writes");
            session.settle();
        });
        cluster.join(&child);
    };
    let count = "SELECT count(*) FROM history";
    let insert = "INSERT INTO history VALUES (1, 1)";
    let child = cluster.fork(SlotKind::Worker, |cluster, me| {
        let mut session = cluster.open_with(me, Arc::new(Impatient(None)));
        session.store.begin(Characteristics::default()).expect("begins");
        assert_eq!(session.read(count).expect("reads"), 0);
        cluster.segment.slot(me.slot).set_phase(Phase::Executing);
        eventually("another process commits", || session.read(count).expect("reads") == 1);
        session.write(insert).expect("a READ COMMITTED transaction writes on the newest state");
        session.store.commit(false).expect("commits");
        let kept = Characteristics { isolation: Isolation::RepeatableRead, ..Characteristics::default() };
        session.store.begin(kept).expect("begins");
        assert_eq!(session.read(count).expect("reads"), 2);
        cluster.segment.slot(me.slot).set_phase(Phase::Committing);
        eventually("a third commit", || database.durable() >= 3);
        assert_eq!(session.read(count).expect("reads"), 2);
        assert_eq!(code(session.write(insert)), "40001");
        assert_eq!(code(session.read(count)), "25P02");
        session.store.rollback(false).expect("rolls back");
        cluster.segment.slot(me.slot).set_phase(Phase::Scrubbing);
        eventually("another process holds the lock", || database.writer().is_some());
        assert_eq!(code(session.write(insert)), "55P03");
    });
    let slot = cluster.segment.slot(child.owner.slot);
    eventually("it has read nothing", || slot.phase() == Phase::Executing);
    other(insert);
    eventually("it keeps a snapshot", || slot.phase() == Phase::Committing);
    other(insert);
    eventually("it has been refused", || slot.phase() == Phase::Scrubbing);
    let holder = cluster.fork(SlotKind::Worker, |cluster, me| {
        let mut session = cluster.open(me);
        session.store.begin(Characteristics::default()).expect("begins");
        session.write(insert).expect("writes");
        std::thread::sleep(Duration::from_secs(60));
    });
    cluster.join(&child);
    let waiter = cluster.fork(SlotKind::Worker, |cluster, me| {
        let deadline = Instant::now() + Duration::from_millis(10);
        let mut session = cluster.open_with(me, Arc::new(Impatient(Some(deadline))));
        assert_eq!(code(session.write(insert)), "57014");
    });
    cluster.join(&waiter);
    cluster.kill(&holder);
    other(insert);
}

/// SQLite undoes everything when a write is interrupted: the lock must be free then, though the block goes on.
pub fn an_interrupt_gives_the_lock_back(_seed: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = Cluster::start(support::create(folder.path(), ACCOUNTS), 1 << 20);
    let child = cluster.fork(SlotKind::Worker, |cluster, me| {
        let database = cluster.segment.open_database(support::OID).expect("a region");
        let deadline = Instant::now() + Duration::from_millis(300);
        let mut session = cluster.open_with(me, Arc::new(Impatient(Some(deadline))));
        session.store.begin(Characteristics::default()).expect("begins");
        session.store.savepoint("early").expect("sets");
        session.write("INSERT INTO history VALUES (1, 1)").expect("writes");
        let endless = "INSERT INTO history SELECT 2, a.id + b.id + c.id FROM account a, account b, account c";
        assert_eq!(code(session.write(endless)), "57014");
        assert_eq!(database.writer(), None);
        assert_eq!(code(session.store.savepoint("late")), "25P02");
        session.store.rollback_to("early").expect("nothing had been written then");
        session.store.rollback(false).expect("rolls back");
    });
    cluster.join(&child);
    let child = cluster.fork(SlotKind::Worker, |cluster, me| {
        let mut session = cluster.open(me);
        assert_eq!(session.read("SELECT count(*) FROM history").expect("reads"), 0);
        session.write("INSERT INTO history VALUES (1, 1)").expect("writes");
    });
    cluster.join(&child);
}

/// Nobody waits for it, and yet it is on disk within 200 ms (of an idle machine; here: soon).
pub fn asynchronous_commits_become_durable(_seed: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = Cluster::start(support::create(folder.path(), ACCOUNTS), 1 << 20);
    let checkpointer = cluster.fork_checkpointer();
    let child = cluster.fork(SlotKind::Worker, |cluster, me| {
        let mut session = cluster.open(me);
        session.write("INSERT INTO history VALUES (1, 1)").expect("writes");
        session.store.settle(false).expect("does not wait");
    });
    cluster.join(&child);
    let database = cluster.segment.open_database(support::OID).expect("a region");
    assert_eq!(database.begun(), 1);
    eventually("the checkpointer syncs", || database.durable() == 1);
    // Then it checkpoints, and sleeps for good.
    let slot = cluster.segment.slot(checkpointer.owner.slot);
    eventually("the checkpointer sleeps", || slot.phase() == shm::Phase::None);
    cluster.stop_checkpointer(&checkpointer);
}

/// The checkpointer's lock keeps stock SQLite out, also while processes open and close the file.
pub fn strangers_are_refused(_seed: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = Cluster::start(support::create(folder.path(), ACCOUNTS), 1 << 20);
    let checkpointer = cluster.fork_checkpointer();
    let refused = || {
        let stranger = rusqlite::Connection::open(&cluster.path).expect("opens the file");
        stranger.busy_timeout(Duration::ZERO).expect("sets");
        let count = stranger.query_row("SELECT count(*) FROM account", (), |row| row.get::<_, i64>(0));
        count.is_err_and(|error| error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy))
    };
    eventually("the checkpointer takes its lock", refused);
    let child = cluster.fork(SlotKind::Worker, |cluster, me| {
        assert_eq!(cluster.open(me).read("SELECT count(*) FROM account").expect("reads"), 1000);
    });
    cluster.join(&child);
    assert!(refused());
    cluster.stop_checkpointer(&checkpointer);
    assert!(!refused());
}

/// A transaction that the WAL-index has no room for fails as a whole, leaves no commit record, and harms nobody.
pub fn a_full_wal_index_refuses_the_commit(_seed: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let geometry = Geometry { slots: 8, databases: 1, wal_index_bytes: 32 << 10 };
    let cluster = Cluster::with_geometry(support::create(folder.path(), ACCOUNTS), 1 << 20, &geometry);
    let child = cluster.fork(SlotKind::Worker, |cluster, me| {
        let mut session = cluster.open(me);
        session.write("INSERT INTO history VALUES (1, 1)").expect("writes");
        let large = "INSERT INTO history SELECT 1, zeroblob(1000000) FROM account WHERE id <= 20";
        assert_eq!(code(session.write(large)), "53100");
        assert_eq!(session.read("SELECT count(*) FROM history").expect("reads"), 1);
        session.write("INSERT INTO history VALUES (1, 1)").expect("goes on");
        session.settle();
    });
    cluster.join(&child);
    let stock = rusqlite::Connection::open(&cluster.path).expect("opens");
    let count: i64 = stock.query_row("SELECT count(*) FROM history", (), |row| row.get(0)).expect("counts");
    assert_eq!(count, 2);
}
