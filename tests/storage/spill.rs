//! Transactions larger than the page cache: their pages get into the WAL before they commit, and out of it again.

use std::time::{Duration, Instant};

use pgprefork::engine::sqlite::transaction::Characteristics;
use shm::SlotKind;

use crate::support::{self, Cluster, Random, Session};

/// A few rows a page, so that a statement over some hundred rows touches more pages than the cache holds.
const TABLE: &str = "CREATE TABLE item(id INTEGER PRIMARY KEY, a INTEGER, filler TEXT); \
    WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 2000) \
    INSERT INTO item SELECT i, 0, hex(zeroblob(500)) FROM n;";
const ROWS: u64 = 2000;
const CACHE_BYTES: u64 = 64 << 10;

/// What tells one state of the table from another.
const DIGEST: &str = "SELECT coalesce(sum(a * id), 0) FROM item";

/// Sums stay even across spills, rollbacks and savepoints of two processes, and stock SQLite reads from the files
/// what the segment's WAL-index shows.
pub fn spilled_pages_are_written_again_or_forgotten(seed: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = support::create(folder.path(), TABLE);
    let cluster = Cluster::start(path, 4 << 20);
    let checkpointer = cluster.fork_checkpointer();
    let until = Instant::now() + Duration::from_secs(2);
    let children: Vec<_> = (0..2)
        .map(|worker| {
            cluster.fork(SlotKind::Worker, |cluster, me| {
                let mut random = Random(seed ^ worker);
                let mut session = cluster.open_caching(me, CACHE_BYTES);
                while Instant::now() < until {
                    transaction(&mut session, &mut random);
                    assert_eq!(session.read("SELECT sum(a) FROM item").expect("reads"), 0);
                }
            })
        })
        .collect();
    children.iter().for_each(|child| cluster.join(child));
    cluster.kill(&checkpointer);
    // As after a power failure: the files are all there is, and the WAL's own checksums decide.
    let copy = tempfile::tempdir().expect("a folder");
    for name in ["5", "5-wal"] {
        std::fs::copy(folder.path().join(name), copy.path().join(name)).expect("copies");
    }
    let stock = rusqlite::Connection::open(copy.path().join("5")).expect("opens");
    let check: String = stock.query_row("PRAGMA integrity_check", (), |row| row.get(0)).expect("checks");
    assert_eq!(check, "ok");
    let recovered: i64 = stock.query_row(DIGEST, (), |row| row.get(0)).expect("reads");
    let reader = cluster.fork(SlotKind::Worker, |cluster, me| {
        assert_eq!(cluster.open(me).read(DIGEST).expect("reads"), recovered);
    });
    cluster.join(&reader);
}

fn transaction(session: &mut Session, random: &mut Random) {
    session.store.begin(Characteristics::default()).expect("begins");
    for step in 0..1 + random.below(4) {
        let savepoint = random.below(3) == 0;
        if savepoint {
            session.store.savepoint("s").expect("sets");
        }
        let (first, delta) = (random.below(ROWS) + 1, random.below(100));
        let last = first + random.below(600);
        for sign in ["+", "-"] {
            let add = format!("UPDATE item SET a = a {sign} {delta} * (id % 3) WHERE id BETWEEN {first} AND {last}");
            session.write(&add).expect("writes");
            if savepoint && sign == "+" && random.below(2) == 0 {
                session.store.rollback_to("s").expect("rolls back");
                break;
            }
        }
        // Rows that differ from transaction to transaction, which a sum over all of them does not show.
        let (one, other) = (random.below(ROWS) + 1, random.below(ROWS) + 1);
        session.write(&format!("UPDATE item SET a = a + {step} WHERE id = {one}")).expect("writes");
        session.write(&format!("UPDATE item SET a = a - {step} WHERE id = {other}")).expect("writes");
    }
    match random.below(3) {
        0 => session.store.rollback(false).map(drop).expect("rolls back"),
        _ => session.store.commit(false).map(drop).expect("commits"),
    }
    session.settle();
}
