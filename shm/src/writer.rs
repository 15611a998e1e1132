//! The writer lock of a database: at most one process writes.
//!
//! The word holds its owner (slot and generation) or 0. Waiters put their slot into a set, look once more, and sleep
//! on their latch. Unlocking makes the word 0 and sets the latch of the next waiter, going round; the lock is free
//! for whoever comes first, so a waiter that was woken and is dead holds nobody up for longer than until it is
//! reaped. Whoever leaves the queue without the lock passes a wake-up on, since it may have been meant for the leaver.

use std::fmt;
use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::time::{Duration, Instant};

use crate::activity::WaitEvent;
use crate::bitmap::Bitmap;
use crate::clock;
use crate::database::Database;
use crate::slot::{Owner, SlotIndex};
use crate::step::step;

/// Attempts before sleeping: a hand-over that is under way takes less than this, a transaction does not, and with
/// few processors spinning takes time from the owner.
const SPINS: u32 = 30;
pub(crate) const WRITER_WAITERS: usize = 0;

#[repr(C, align(128))]
pub(crate) struct WriterWords {
    owner: AtomicU64,
    acquired_us: AtomicU64,
    last_woken: AtomicU32,
    unused: AtomicU32,
    acquisitions: AtomicU64,
    waits: AtomicU64,
}

impl WriterWords {
    pub(crate) fn reset(&self) {
        self.owner.store(0, SeqCst);
    }
}

/// Why the lock was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockError {
    /// The deadline came first.
    TimedOut,
    /// The caller's `interrupt` said to stop.
    Interrupted,
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LockError::TimedOut => "the wait for the writer lock timed out",
            LockError::Interrupted => "the wait for the writer lock was interrupted",
        })
    }
}

impl std::error::Error for LockError {}

impl Database {
    fn writer_set(&self) -> Bitmap<'static> {
        self.set(WRITER_WAITERS)
    }

    /// Takes the writer lock if it is free. False also if `me` has it already.
    pub fn try_lock_writer(&self, me: Owner) -> bool {
        let writer = &self.region().writer;
        let taken =
            writer.owner.load(Relaxed) == 0 && writer.owner.compare_exchange(0, me.pack(), SeqCst, SeqCst).is_ok();
        if taken {
            step();
            writer.acquired_us.store(clock::monotonic_us(), Relaxed);
            writer.acquisitions.fetch_add(1, Relaxed);
        }
        taken
    }

    /// Waits for the writer lock. `interrupt` is asked before each sleep and after each wake-up; whatever raises its
    /// condition sets the latch of `me` afterwards.
    pub fn lock_writer(
        &self,
        me: Owner,
        deadline: Option<Instant>,
        interrupt: &mut dyn FnMut() -> bool,
    ) -> Result<(), LockError> {
        debug_assert_ne!(self.writer(), Some(me), "the writer lock is not taken twice");
        for _ in 0..SPINS {
            if self.try_lock_writer(me) {
                return Ok(());
            }
            std::hint::spin_loop();
        }
        self.region().writer.waits.fetch_add(1, Relaxed);
        let slot = self.segment.slot(me.slot);
        let before = slot.wait_event();
        slot.set_wait_event(WaitEvent::WriterLock);
        self.writer_set().insert(me.slot);
        step();
        let result = self.queue_for_writer(me, deadline, interrupt);
        step();
        self.writer_set().remove(me.slot);
        slot.set_wait_event(before);
        if result.is_err() {
            step();
            self.wake_next_writer();
        }
        result
    }

    fn queue_for_writer(
        &self,
        me: Owner,
        deadline: Option<Instant>,
        interrupt: &mut dyn FnMut() -> bool,
    ) -> Result<(), LockError> {
        let latch = self.segment.slot(me.slot).latch();
        loop {
            // Before the conditions: what comes after it makes `wait` return.
            let seen = latch.value();
            if self.try_lock_writer(me) {
                return Ok(());
            }
            if interrupt() {
                return Err(LockError::Interrupted);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Err(LockError::TimedOut);
            }
            step();
            latch.wait(seen, left);
        }
    }

    /// Gives the writer lock back and wakes the next waiter. Returns false, and does nothing, if `me` has it not.
    pub fn unlock_writer(&self, me: Owner) -> bool {
        // The compare-and-swap keeps a caller that is wrong about being the owner from freeing another's lock.
        if self.region().writer.owner.compare_exchange(me.pack(), 0, SeqCst, SeqCst).is_err() {
            return false;
        }
        step();
        self.wake_next_writer();
        true
    }

    /// Wakes one waiter if the lock is free.
    fn wake_next_writer(&self) {
        let writer = &self.region().writer;
        if writer.owner.load(SeqCst) != 0 {
            return;
        }
        let Some(next) = self.writer_set().next_after(SlotIndex(writer.last_woken.load(Relaxed))) else {
            return;
        };
        writer.last_woken.store(next.0, Relaxed);
        step();
        self.segment.slot(next).latch().set();
    }

    /// Who has the writer lock.
    pub fn writer(&self) -> Option<Owner> {
        Owner::unpack(self.region().writer.owner.load(SeqCst))
    }

    /// Since when, on the monotonic clock; meaningless when nobody has it.
    pub fn writer_since_us(&self) -> u64 {
        self.region().writer.acquired_us.load(Relaxed)
    }

    /// The slots that wait for the writer lock.
    pub fn writer_waiters(&self) -> Vec<SlotIndex> {
        self.writer_set().iter().collect()
    }

    /// Whether any slot waits for it.
    pub fn writer_contended(&self) -> bool {
        self.writer_set().iter().next().is_some()
    }

    /// How often the lock was taken, and how often somebody had to queue for it.
    pub fn writer_counts(&self) -> (u64, u64) {
        let writer = &self.region().writer;
        (writer.acquisitions.load(Relaxed), writer.waits.load(Relaxed))
    }

    /// Takes a dead process out of the queue and the lock from it. A wake-up that it may have swallowed goes to
    /// another. Returns whether it had the lock.
    pub(crate) fn reap_writer(&self, dead: Owner) -> bool {
        self.writer_set().remove(dead.slot);
        let held = self.region().writer.owner.compare_exchange(dead.pack(), 0, SeqCst, SeqCst).is_ok();
        self.wake_next_writer();
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Geometry, Segment, SlotKind};
    use std::sync::atomic::AtomicBool;

    fn setting(slots: u32) -> (Database, Vec<Owner>) {
        let segment = Segment::on_heap(&Geometry { slots, databases: 1, wal_index_bytes: 32768 }).unwrap();
        let owners = (0..slots).map(|_| segment.claim_slot(SlotKind::Worker).unwrap()).collect();
        (segment.open_database(1).unwrap(), owners)
    }

    #[test]
    fn only_the_owner_unlocks() {
        let (database, owners) = setting(2);
        assert!(database.try_lock_writer(owners[0]));
        assert!(!database.try_lock_writer(owners[1]));
        assert!(!database.unlock_writer(owners[1]));
        assert_eq!(database.writer(), Some(owners[0]));
        assert!(database.unlock_writer(owners[0]));
        assert!(!database.unlock_writer(owners[0]));
        assert_eq!(database.writer(), None);
    }

    #[test]
    fn a_wait_ends_by_time_or_interrupt_and_leaves_no_trace() {
        let (database, owners) = setting(2);
        assert!(database.try_lock_writer(owners[0]));
        let deadline = Instant::now() + Duration::from_millis(2);
        assert_eq!(database.lock_writer(owners[1], Some(deadline), &mut || false), Err(LockError::TimedOut));
        assert_eq!(database.lock_writer(owners[1], None, &mut || true), Err(LockError::Interrupted));
        assert!(database.writer_waiters().is_empty());
        assert_eq!(database.segment.slot(owners[1].slot).wait_event(), WaitEvent::None);
    }

    #[test]
    fn one_writes_at_a_time_and_all_get_their_turn() {
        let (database, owners) = setting(4);
        let inside: &'static AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
        let threads: Vec<_> = owners
            .into_iter()
            .map(|me| {
                std::thread::spawn(move || {
                    for _ in 0..2000 {
                        database.lock_writer(me, None, &mut || false).unwrap();
                        assert!(!inside.swap(true, SeqCst));
                        std::hint::spin_loop();
                        assert!(inside.swap(false, SeqCst));
                        assert!(database.unlock_writer(me));
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(database.writer(), None);
        assert_eq!(database.writer_counts().0, 8000);
        assert!(!database.writer_contended());
    }
}
