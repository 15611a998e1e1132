//! What a slot may become, who may change it, and what is asked of its process.

use super::*;
use crate::Geometry;

fn segment() -> Segment {
    Segment::on_heap(&Geometry { slots: 3, databases: 1, wal_index_bytes: 32768 }).unwrap()
}

#[test]
fn the_state_machine_refuses_what_it_does_not_have() {
    use SlotState::{Connecting, Free, Idle, Leaving, Serving, Starting};
    let segment = segment();
    let owner = segment.claim_slot(SlotKind::Worker).unwrap();
    let step = |from, to| segment.transition(owner.slot, from, to);
    assert_eq!(step(Idle, Connecting), Err(WrongState { found: Starting, wanted: Connecting }));
    assert_eq!(step(Starting, Idle), Ok(1));
    assert_eq!(step(Idle, Connecting), Ok(0));
    assert_eq!(step(Connecting, Serving), Ok(0));
    assert_eq!(step(Serving, Connecting), Err(WrongState { found: Serving, wanted: Connecting }));
    assert_eq!(step(Serving, Free), Err(WrongState { found: Serving, wanted: Free }));
    assert_eq!(step(Serving, Idle), Ok(1));
    assert_eq!(step(Idle, Leaving), Ok(0));
    assert_eq!(step(Leaving, Idle), Err(WrongState { found: Leaving, wanted: Idle }));
    assert_eq!(segment.free_slot(owner), Some(Leaving));
    assert_eq!(segment.free_slot(owner), None);
    assert_eq!(segment.census().free, 3);
}

#[test]
fn slots_are_claimed_from_the_lowest_with_new_generations() {
    let segment = segment();
    let owners: Vec<Owner> = (0..3).map(|_| segment.claim_slot(SlotKind::Worker).unwrap()).collect();
    assert_eq!(segment.claim_slot(SlotKind::Worker), None);
    segment.free_slot(owners[1]);
    let next = segment.claim_slot(SlotKind::Doorman).unwrap();
    assert_eq!(next.slot, owners[1].slot);
    assert_ne!(next.generation, owners[1].generation);
    assert_eq!(segment.pool().gauge(SlotState::Starting), 2);
    assert_eq!(segment.recount().0.others, 1);
}

#[test]
fn a_gauge_that_a_killed_worker_left_wrong_is_corrected() {
    let segment = segment();
    segment.claim_slot(SlotKind::Worker).unwrap();
    segment.pool().moved(SlotState::Starting, SlotState::Idle);
    assert!(!segment.recount().1);
    assert_eq!(segment.pool().gauge(SlotState::Starting), 1);
    assert_eq!(segment.pool().gauge(SlotState::Idle), 0);
    assert!(segment.recount().1);
}

#[test]
fn a_stopped_worker_is_not_idle() {
    let segment = segment();
    let owner = segment.claim_slot(SlotKind::Worker).unwrap();
    segment.slot(owner.slot).set_stopped(true);
    assert_eq!((segment.census().starting, segment.census().stopped), (0, 1));
    segment.transition(owner.slot, SlotState::Starting, SlotState::Idle).unwrap();
    assert_eq!((segment.census().idle, segment.census().stopped), (0, 1));
    segment.slot(owner.slot).set_stopped(false);
    assert_eq!((segment.census().idle, segment.census().stopped), (1, 0));
    segment.slot(owner.slot).set_stopped(true);
    segment.free_slot(owner);
    assert!(!segment.slot(segment.claim_slot(SlotKind::Worker).unwrap().slot).is_stopped());
}

#[test]
fn a_cancel_never_hits_a_later_session() {
    let segment = segment();
    let owner = segment.claim_slot(SlotKind::Worker).unwrap();
    let slot = segment.slot(owner.slot);
    let first = slot.begin_session();
    assert!(slot.request_cancel(first));
    assert!(slot.cancel_requested());
    assert!(slot.take_cancel());
    assert!(!slot.take_cancel());
    assert!(slot.request_cancel(first));
    let second = slot.begin_session();
    assert!(!slot.cancel_requested());
    assert!(!slot.take_cancel());
    assert!(!slot.request_cancel(first));
    assert!(slot.request_cancel(second));
    assert!(slot.take_cancel());
}

#[test]
fn a_termination_never_hits_a_later_session_or_process() {
    let segment = segment();
    let owner = segment.claim_slot(SlotKind::Worker).unwrap();
    let slot = segment.slot(owner.slot);
    let first = slot.begin_session();
    assert!(slot.request_terminate(first));
    assert!(slot.terminate_requested() && slot.terminate_requested());
    let second = slot.begin_session();
    assert!(!slot.terminate_requested());
    assert!(!slot.request_terminate(first));
    // One who looked at the session before it ended, and raises only now.
    slot.raise(Interrupt::Terminate);
    assert!(!slot.terminate_requested());
    segment.free_slot(owner);
    assert!(!slot.request_terminate(second));
    assert_eq!(segment.claim_slot(SlotKind::Doorman).unwrap().slot, owner.slot);
    assert!(!slot.request_terminate(second));
    slot.raise(Interrupt::Terminate);
    assert!(!slot.terminate_requested());
}

#[test]
fn interrupts_are_taken_one_by_one() {
    let segment = segment();
    let slot = segment.slot(SlotIndex(0));
    let seen = slot.latch().value();
    slot.raise(Interrupt::Terminate);
    slot.raise(Interrupt::Reload);
    assert_ne!(slot.latch().value(), seen);
    assert!(slot.take(Interrupt::Terminate));
    assert!(!slot.take(Interrupt::Terminate));
    assert!(slot.interrupted());
    assert!(slot.is_raised(Interrupt::Reload));
}

#[test]
fn a_slot_that_was_taken_back_is_not_moved_into() {
    let segment = segment();
    let lost = segment.claim_slot(SlotKind::Worker).unwrap();
    let slot = segment.slot(lost.slot);
    assert_eq!(slot.pid(), 0);
    assert_eq!(slot.take_back(lost.generation), None);
    assert!(!slot.move_in(lost.generation, 7));
    segment.free_slot(lost);
    assert!(!slot.move_in(lost.generation, 7));
    let next = segment.claim_slot(SlotKind::Worker).unwrap();
    assert!(!slot.move_in(lost.generation, 7));
    assert!(slot.move_in(next.generation, 8));
    assert!(slot.move_in(next.generation, 8), "the postmaster may have been first");
    assert_eq!(slot.take_back(next.generation), Some(8));
    assert_eq!(slot.pid(), 8);
}

#[test]
fn owners_survive_packing() {
    let owner = Owner { slot: SlotIndex(0), generation: Generation(u32::MAX) };
    assert_eq!(Owner::unpack(owner.pack()), Some(owner));
    assert_eq!(Owner::unpack(0), None);
    let cell = OwnerCell::new(owner);
    assert_eq!(cell.get(), owner);
    let other = Owner { slot: SlotIndex(u32::MAX - 1), generation: Generation(1) };
    cell.set(other);
    assert_eq!(cell.get(), other);
}
