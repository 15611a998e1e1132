//! A process killed at every step of every protocol: what remains is what the living hold, and nobody is stuck.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::step::dies_at;
use crate::{Database, Geometry, Owner, Segment, SessionState, SlotKind, SlotState, WAL_INDEX_LOCKS};

fn setting(slots: u32) -> (Segment, Database, Vec<Owner>) {
    let segment = Segment::on_heap(&Geometry { slots, databases: 1, wal_index_bytes: 32768 }).unwrap();
    let owners = (0..slots).map(|_| segment.claim_slot(SlotKind::Worker).unwrap()).collect();
    (segment, segment.open_database(1).unwrap(), owners)
}

/// Runs `act` once for every step at which it can die, on a segment of its own each time.
fn at_every_step(act: impl Fn(Segment, Database, Owner), after: impl Fn(Segment, Database, &[Owner])) {
    for steps in 0..1000 {
        let (segment, database, owners) = setting(3);
        let died = dies_at(steps, || act(segment, database, owners[0]));
        segment.reap(owners[0]);
        assert_eq!(segment.reap(owners[0]), crate::ReapReport::default(), "reaping twice does nothing");
        assert_eq!(segment.slot(owners[0].slot).state(), SlotState::Free);
        assert_ne!(database.writer(), Some(owners[0]));
        assert_ne!(database.sync_leader(), Some(owners[0]));
        assert!(!database.writer_waiters().contains(&owners[0].slot));
        assert!(!database.commit_waiters().contains(&owners[0].slot));
        for lock in 0..WAL_INDEX_LOCKS {
            assert_ne!(database.wal_lock_owner(lock), Some(owners[0]), "step {steps}");
            assert!(!database.wal_lock_sharers(lock).contains(&owners[0].slot), "step {steps}");
        }
        after(segment, database, &owners[1..]);
        if !died {
            return;
        }
    }
    panic!("the protocol has no end");
}

#[test]
fn a_writer_killed_at_any_step_leaves_the_lock_free() {
    at_every_step(
        |_, database, me| {
            database.lock_writer(me, None, &mut || false).unwrap();
            let position = database.begin_commit(me);
            database.finish_commit(me, position, None);
            database.unlock_writer(me);
        },
        |_, database, living| {
            assert!(database.try_lock_writer(living[0]));
            // What the dead writer began counts as appended: those who saw it can have it synced.
            database.await_durable(living[0], database.begun(), &mut || Ok(()), &mut || false).unwrap();
            assert!(database.durable() >= database.begun());
        },
    );
}

#[test]
fn a_waiter_killed_at_any_step_leaves_the_queue() {
    at_every_step(
        |segment, database, me| {
            let holder = segment.owner(crate::SlotIndex(2));
            assert!(database.try_lock_writer(holder));
            let soon = Instant::now() + Duration::from_millis(1);
            let _ = database.lock_writer(me, Some(soon), &mut || false);
        },
        |_, database, living| {
            // The holder (slot 2) may not have come to lock before the death.
            let _ = database.unlock_writer(living[1]);
            assert!(database.try_lock_writer(living[0]));
        },
    );
}

#[test]
fn a_leader_killed_at_any_step_is_replaced_and_nothing_unsynced_is_durable() {
    let synced = Arc::new(AtomicU64::new(0));
    let copy = Arc::clone(&synced);
    at_every_step(
        move |_, database, me| {
            copy.store(0, SeqCst);
            assert!(database.try_lock_writer(me));
            let position = database.begin_commit(me);
            database.finish_commit(me, position, Some(&[7; 48]));
            database.unlock_writer(me);
            let mut sync = || {
                copy.store(database.appended(), SeqCst);
                Ok(())
            };
            database.await_durable(me, position, &mut sync, &mut || false).unwrap();
        },
        |_, database, living| {
            assert!(database.durable() <= synced.load(SeqCst), "a commit was called durable before its sync");
            database.await_durable(living[0], database.begun(), &mut || Ok(()), &mut || false).unwrap();
            assert!(database.durable() >= database.begun());
        },
    );
}

#[test]
fn wal_locks_of_a_process_killed_at_any_step_are_free() {
    at_every_step(
        |_, database, me| {
            assert!(database.wal_lock_shared(me, 3));
            assert!(database.wal_lock_exclusive(me, 0..2));
            database.wal_unlock_exclusive(me, 0..2);
            assert!(database.wal_lock_exclusive(me, 4..8));
            database.wal_unlock_shared(me, 3);
            database.wal_unlock_exclusive(me, 4..8);
        },
        |_, database, living| {
            assert!(database.wal_lock_exclusive(living[0], 0..WAL_INDEX_LOCKS));
            database.wal_unlock_exclusive(living[0], 0..WAL_INDEX_LOCKS);
        },
    );
}

#[test]
fn the_living_keep_what_they_hold() {
    at_every_step(
        |segment, database, me| {
            let (reader, writer) = (segment.owner(crate::SlotIndex(1)), segment.owner(crate::SlotIndex(2)));
            assert!(database.wal_lock_shared(reader, 3));
            assert!(database.try_lock_writer(writer));
            assert!(database.wal_lock_shared(me, 3));
            assert!(!database.wal_lock_exclusive(me, 2..5));
            database.wal_unlock_shared(me, 3);
        },
        |_, database, living| {
            if database.writer() == Some(living[1]) {
                assert_eq!(database.wal_locks_held(living[0]).shared, 1 << 3);
                assert!(!database.wal_lock_exclusive(living[1], 3..4));
                assert!(!database.try_lock_writer(living[0]));
            }
        },
    );
}

#[test]
fn those_who_wait_get_their_turn_when_the_owner_dies() {
    let (segment, database, owners) = setting(3);
    assert!(database.try_lock_writer(owners[0]));
    let waiters: Vec<_> = owners[1..]
        .iter()
        .map(|me| {
            let me = *me;
            std::thread::spawn(move || {
                database.lock_writer(me, Some(Instant::now() + Duration::from_secs(30)), &mut || false).unwrap();
                assert!(database.unlock_writer(me));
            })
        })
        .collect();
    while database.writer_waiters().len() < 2 {
        std::thread::yield_now();
    }
    let report = segment.reap(owners[0]);
    assert_eq!(report.writer_locks, [database.index()]);
    assert!(report.held_locks());
    for waiter in waiters {
        waiter.join().unwrap();
    }
    assert_eq!(database.writer(), None);
}

#[test]
fn those_who_wait_for_a_sync_elect_another_leader() {
    let (segment, database, owners) = setting(3);
    assert!(database.try_lock_writer(owners[0]));
    let position = database.begin_commit(owners[0]);
    database.finish_commit(owners[0], position, None);
    database.unlock_writer(owners[0]);
    // The first leader "dies" inside its sync: it never comes back to publish.
    let died = dies_at(0, || {
        let mut sync = || -> io::Result<()> {
            crate::step::step();
            Ok(())
        };
        let _ = database.lead_sync(owners[0], &mut sync);
    });
    assert!(died);
    assert_eq!(database.sync_leader(), Some(owners[0]));
    let waiters: Vec<_> = owners[1..]
        .iter()
        .map(|me| {
            let me = *me;
            std::thread::spawn(move || {
                database.await_durable(me, position, &mut || Ok(()), &mut || false).unwrap();
            })
        })
        .collect();
    while database.commit_waiters().len() < 2 {
        std::thread::yield_now();
    }
    assert_eq!(segment.reap(owners[0]).led_syncs, [database.index()]);
    for waiter in waiters {
        waiter.join().unwrap();
    }
    assert!(database.durable() >= position);
}

#[test]
fn a_description_torn_by_a_kill_can_be_written_again() {
    let (segment, _, owners) = setting(1);
    let slot = segment.slot(owners[0].slot);
    slot.activity().begin_query("select 1", 1);
    slot.activity().die_writing();
    assert!(slot.activity().read().is_none(), "a reader gives up instead of showing a mixture");
    assert!(segment.reap(owners[0]).torn_activity);
    let next = segment.claim_slot(SlotKind::Worker).unwrap();
    assert_eq!(next.slot, owners[0].slot);
    slot.activity().begin_query("select 2", 2);
    slot.activity().set_state(SessionState::Idle, 3);
    assert_eq!(slot.activity().read().unwrap().query, "select 2");
}
