//! SQLite's eight WAL-index locks of a database, in the segment instead of in fcntl.
//!
//! Each lock is an owner word for the exclusive holder and a set of slots for shared holders. Nothing else records
//! who holds what: there is no counter that could be wrong after a kill. Taking it:
//!
//! - shared: enter the set, then look at the owner word; if it is taken, leave the set: busy.
//! - exclusive: swap the owner word from 0 to us, then look at the set; if another is in it, back to 0: busy.
//!
//! Both first publish and then look, sequentially consistent, so of two that meet at least one sees the other. Both
//! may see each other and report busy, which SQLite takes for a lost race and tries again. A process killed at any
//! step leaves its bit or its owner word, and the reaper clears just these: what remains is what the living hold.
//!
//! A slot has at most one connection to a database.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use crate::bitmap::Bitmap;
use crate::database::Database;
use crate::slot::Owner;
use crate::step::step;

/// SQLite's SQLITE_SHM_NLOCK.
pub const WAL_INDEX_LOCKS: usize = 8;
/// The size of the pieces that SQLite maps its WAL-index in.
pub const WAL_INDEX_PAGE_BYTES: usize = 32 * 1024;
const FIRST_SET: usize = 2;

#[repr(C, align(128))]
pub(crate) struct WalLockWords {
    exclusive: [AtomicU64; WAL_INDEX_LOCKS],
}

/// What a slot holds of one database's WAL-index locks: bit n is lock n.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WalLocksHeld {
    /// Locks held shared.
    pub shared: u8,
    /// Locks held exclusively.
    pub exclusive: u8,
}

impl Database {
    fn wal_holders(&self, lock: usize) -> Bitmap<'static> {
        debug_assert!(lock < WAL_INDEX_LOCKS);
        self.set(FIRST_SET + lock)
    }

    /// Takes `lock` shared; false: busy. Taking it twice is the same as once.
    pub fn wal_lock_shared(&self, me: Owner, lock: usize) -> bool {
        let owner = &self.region().wal_locks.exclusive[lock];
        // Without touching the set while it is plain that it would be in vain.
        if owner.load(SeqCst) != 0 {
            return false;
        }
        self.wal_holders(lock).insert(me.slot);
        step();
        let free = owner.load(SeqCst) == 0;
        if !free {
            self.wal_holders(lock).remove(me.slot);
        }
        free
    }

    /// Gives a shared lock back; nothing if it is not held.
    pub fn wal_unlock_shared(&self, me: Owner, lock: usize) {
        self.wal_holders(lock).remove(me.slot);
    }

    /// Takes all of `locks` exclusively, or none; false: busy.
    pub fn wal_lock_exclusive(&self, me: Owner, locks: Range<usize>) -> bool {
        for lock in locks.clone() {
            if !self.wal_lock_one_exclusive(me, lock) {
                self.wal_unlock_exclusive(me, locks.start..lock);
                return false;
            }
            step();
        }
        true
    }

    fn wal_lock_one_exclusive(&self, me: Owner, lock: usize) -> bool {
        let owner = &self.region().wal_locks.exclusive[lock];
        if owner.compare_exchange(0, me.pack(), SeqCst, SeqCst).is_err() {
            return false;
        }
        step();
        let free = !self.wal_holders(lock).any_other_than(me.slot);
        if !free {
            owner.store(0, SeqCst);
        }
        free
    }

    /// Gives exclusive locks back; those not held are left alone.
    pub fn wal_unlock_exclusive(&self, me: Owner, locks: Range<usize>) {
        for lock in locks {
            let _ = self.region().wal_locks.exclusive[lock].compare_exchange(me.pack(), 0, SeqCst, SeqCst);
            step();
        }
    }

    /// What `who` holds.
    pub fn wal_locks_held(&self, who: Owner) -> WalLocksHeld {
        let mut held = WalLocksHeld::default();
        for lock in 0..WAL_INDEX_LOCKS {
            held.shared |= u8::from(self.wal_holders(lock).contains(who.slot)) << lock;
            held.exclusive |= u8::from(self.region().wal_locks.exclusive[lock].load(SeqCst) == who.pack()) << lock;
        }
        held
    }

    /// The exclusive holder of `lock`.
    pub fn wal_lock_owner(&self, lock: usize) -> Option<Owner> {
        Owner::unpack(self.region().wal_locks.exclusive[lock].load(SeqCst))
    }

    /// The slots that hold `lock` shared: for the log, who keeps a checkpoint from finishing.
    pub fn wal_lock_sharers(&self, lock: usize) -> Vec<crate::SlotIndex> {
        self.wal_holders(lock).iter().collect()
    }

    /// Releases what `who` holds; also for a connection that closes. Returns what it was.
    pub fn wal_release_all(&self, who: Owner) -> WalLocksHeld {
        let held = self.wal_locks_held(who);
        for lock in 0..WAL_INDEX_LOCKS {
            self.wal_unlock_shared(who, lock);
        }
        self.wal_unlock_exclusive(who, 0..WAL_INDEX_LOCKS);
        held
    }
}
