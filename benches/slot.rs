//! Measures what workers and the postmaster do to a slot, in a shared mapping, from one thread: claim and release,
//! a session's way through the states, the activity of a statement, the latch, and a histogram.
//!
//! Does not measure contention (cache lines stay with one processor), fork, the clock calls around an activity
//! update, or the wake-up of a sleeper: for that see `writer_lock`.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use shm::{Geometry, Segment, SessionIdentity, SessionState, SlotKind, SlotState, StatementKind, WAL_INDEX_PAGE_BYTES};

const QUERY: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = 90512;";
/// A wall-clock time in microseconds; which one does not matter.
const NOW_US: u64 = 1_767_225_600_000_000;

/// A segment of the size that a small server has, with one database open.
fn segment() -> Segment {
    let geometry = Geometry { slots: 128, databases: 4, wal_index_bytes: 2 * WAL_INDEX_PAGE_BYTES };
    let segment = Segment::create(&geometry).expect("a shared mapping");
    segment.open_database(1).expect("a free database region");
    segment
}

fn claim_and_release(criterion: &mut Criterion) {
    let segment = segment();
    // Releasing a slot is the reaper's work: it looks for locks in every open database first.
    criterion.bench_function("slot/claim_and_reap", |bencher| {
        bencher.iter(|| {
            let owner = segment.claim_slot(SlotKind::Worker).expect("a free slot");
            black_box(segment.reap(owner))
        });
    });
}

fn transitions(criterion: &mut Criterion) {
    use SlotState::{Connecting, Idle, Serving, Starting};
    let segment = segment();
    let index = segment.claim_slot(SlotKind::Worker).expect("a free slot").slot;
    segment.transition(index, Starting, Idle).expect("a claimed slot is Starting");
    criterion.bench_function("slot/idle_connecting_serving_idle", |bencher| {
        bencher.iter(|| {
            for (from, to) in [(Idle, Connecting), (Connecting, Serving), (Serving, Idle)] {
                black_box(segment.transition(index, from, to).expect("its own slot"));
            }
        });
    });
}

fn activity(criterion: &mut Criterion) {
    let segment = segment();
    let index = segment.claim_slot(SlotKind::Worker).expect("a free slot").slot;
    let activity = segment.slot(index).activity();
    activity.begin_session(&SessionIdentity { database: "postgres".into(), ..SessionIdentity::default() });
    criterion.bench_function("slot/activity_of_a_query", |bencher| {
        bencher.iter(|| {
            activity.begin_query(black_box(QUERY), black_box(NOW_US));
            activity.set_state(SessionState::Idle, black_box(NOW_US));
        });
    });
}

fn latch(criterion: &mut Criterion) {
    let segment = segment();
    let index = segment.claim_slot(SlotKind::Worker).expect("a free slot").slot;
    let latch = segment.slot(index).latch();
    criterion.bench_function("slot/latch_set_without_sleeper", |bencher| bencher.iter(|| latch.set()));
    // The wait returns at once, after one system call.
    criterion.bench_function("slot/latch_set_and_wait", |bencher| {
        bencher.iter(|| {
            let seen = latch.value();
            latch.set();
            black_box(latch.wait(seen, None))
        });
    });
}

fn histogram(criterion: &mut Criterion) {
    let segment = segment();
    let histogram = segment.statistics().statement(StatementKind::Select);
    let mut us = 1u64;
    criterion.bench_function("slot/histogram_record", |bencher| {
        bencher.iter(|| {
            // A Weyl sequence over about a second, so that the buckets vary.
            us = us.wrapping_add(618_033) & 0xf_ffff;
            histogram.record(black_box(us));
        });
    });
}

fn settings() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2))
}

criterion_group! {
    name = benches;
    config = settings();
    targets = claim_and_release, transitions, activity, latch, histogram
}
criterion_main!(benches);
