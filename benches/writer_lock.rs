//! Measures the writer lock of a database in a shared mapping: taken and given back with nobody else there, and
//! handed from one owner to another that is queued for it, there and back.
//!
//! The two owners are threads: the lock is the same words and the same futex as between processes, without a change
//! of address space. Does not measure more than two owners, fairness, transactions, or SQLite's own locks. A
//! hand-over includes queueing, and mostly sleep and wake-up; with fewer than two free processors it is the
//! scheduler that is measured.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use shm::{Database, Geometry, Owner, Segment, SlotKind, WAL_INDEX_PAGE_BYTES};

fn setting() -> (Database, [Owner; 2]) {
    let geometry = Geometry { slots: 128, databases: 4, wal_index_bytes: 2 * WAL_INDEX_PAGE_BYTES };
    let segment = Segment::create(&geometry).expect("a shared mapping");
    let owners = [(); 2].map(|()| segment.claim_slot(SlotKind::Worker).expect("a free slot"));
    (segment.open_database(1).expect("a free database region"), owners)
}

fn lock(database: Database, me: Owner) {
    database.lock_writer(me, None, &mut || false).expect("neither deadline nor interrupt");
}

fn wait_until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        thread::yield_now();
    }
}

/// Gives the lock away once the other is in its queue, and returns when the other has it: whoever unlocks would
/// otherwise often take it again before the other is awake.
fn give(database: Database, me: Owner, other: Owner) {
    wait_until(|| database.writer_contended());
    assert!(database.unlock_writer(me));
    wait_until(|| database.writer() == Some(other));
}

/// The time of `rounds` hand-overs there and back.
fn hand_over(database: Database, [first, second]: [Owner; 2], rounds: u64) -> Duration {
    let start = Barrier::new(2);
    lock(database, first);
    let elapsed = thread::scope(|scope| {
        scope.spawn(|| {
            start.wait();
            for round in 0..rounds {
                lock(database, second);
                if round + 1 < rounds {
                    give(database, second, first);
                } else {
                    wait_until(|| database.writer_contended());
                    assert!(database.unlock_writer(second));
                }
            }
        });
        start.wait();
        let began = Instant::now();
        for _ in 0..rounds {
            give(database, first, second);
            lock(database, first);
        }
        began.elapsed()
    });
    assert!(database.unlock_writer(first));
    elapsed
}

fn uncontended(criterion: &mut Criterion) {
    let (database, [me, _]) = setting();
    criterion.bench_function("writer_lock/uncontended", |bencher| {
        bencher.iter(|| {
            lock(database, me);
            black_box(database.unlock_writer(me))
        });
    });
}

fn handed_over(criterion: &mut Criterion) {
    let (database, owners) = setting();
    let mut group = criterion.benchmark_group("writer_lock");
    group.throughput(Throughput::Elements(2));
    group.bench_function("handed_over_and_back", |bencher| {
        bencher.iter_custom(|rounds| hand_over(database, owners, rounds));
    });
    group.finish();
}

fn settings() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2))
}

criterion_group! { name = benches; config = settings(); targets = uncontended, handed_over }
criterion_main!(benches);
