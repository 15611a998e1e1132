//! One process's hold on one database of the segment: locks for SQLite, positions for commits.
//!
//! Owns the translation between SQLite's lock bytes and the segment's locks, and the knowledge of whether an
//! answer rests on a commit that is not durable. It runs no SQL and never waits.
//!
//! SQLite's write lock is our writer lock: SQLite gets it if this process took the writer lock before. There is
//! one other user: whoever finds the WAL-index torn (its writer was killed while writing the header) or empty (the
//! first to open the database) takes SQLite's write lock to recover it. SQLite then holds no read mark yet, whereas
//! a write transaction always does; so for it, and only then, the writer lock is taken here if it is free. If it is
//! not, the answer is SQLITE_BUSY, and SQLite tries again: the torn header's dead writer is reaped meanwhile.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use shm::{Database, Interrupt, Owner, OwnerCell, Phase, Segment, Slot, SlotKind, SlotState, WAL_INDEX_PAGE_BYTES};

use crate::engine::sqlite::ffi::index::{self, Header};
use crate::system::fault;

/// Bytes of the WAL's header, and of one frame with its header, for the cluster's page size of 4,096.
const WAL_HEADER_BYTES: i64 = 32;
const FRAME_BYTES: i64 = 24 + 4096;

/// Frames that the first page of the WAL-index covers, and each further one.
const FIRST_PAGE_FRAMES: i64 = 4062;
const PAGE_FRAMES: i64 = 4096;

/// SQLite's lock bytes: write, checkpoint, recover, and five read marks.
pub(super) const WRITE_LOCK: u8 = 0;
const FIRST_READ_MARK: u8 = 3;
const READ_MARKS: u8 = 0b1111_1000;

/// How SQLite wants a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// With others.
    Shared,
    /// Alone.
    Exclusive,
}

/// See the module's description.
#[derive(Debug)]
pub struct Attachment {
    path: String,
    segment: Segment,
    database: Database,
    me: OwnerCell,
    /// The open WAL's `sqlite3_file`, 0 while it is closed. Only `ffi::vfs` makes use of it.
    wal_file: AtomicUsize,
    /// The writer lock was taken for recovery, not by a write transaction.
    recovering: AtomicBool,
    /// A frame was read that may belong to a commit which is not durable.
    read_undurable: AtomicBool,
    /// The WAL's length in frames from which a commit wakes the checkpointer.
    checkpoint_frames: u32,
}

impl Attachment {
    /// The process `me`'s hold on the database `oid` at `path`, which must be absolute. `checkpoint_bytes`: the
    /// length of the WAL from which a commit wakes the checkpointer. `None` if the segment has no room for
    /// another database, or the path is not UTF-8.
    pub fn new(segment: Segment, me: Owner, oid: u32, path: &Path, checkpoint_bytes: u64) -> Option<Attachment> {
        debug_assert!(path.is_absolute());
        let checkpoint_frames = checkpoint_bytes / FRAME_BYTES.unsigned_abs();
        Some(Attachment {
            path: path.to_str()?.to_owned(),
            segment,
            database: segment.open_database(oid)?,
            me: OwnerCell::new(me),
            wal_file: AtomicUsize::new(0),
            recovering: AtomicBool::new(false),
            read_undurable: AtomicBool::new(false),
            checkpoint_frames: u32::try_from(checkpoint_frames).unwrap_or(u32::MAX).max(1),
        })
    }

    /// The database file.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The database file as clients are told of it: without the folders that only the operator should see.
    pub fn display_name(&self) -> &str {
        let from = self.path.rmatch_indices('/').nth(1).map_or(0, |(slash, _)| slash + 1);
        self.path.get(from..).unwrap_or(&self.path)
    }

    /// The database's region of the segment.
    pub fn database(&self) -> Database {
        self.database
    }

    /// The segment.
    pub fn segment(&self) -> Segment {
        self.segment
    }

    /// This process.
    pub fn me(&self) -> Owner {
        self.me.get()
    }

    /// Before a fork with the database open: nothing may be locked, and no transaction open. (The child cannot look:
    /// by then its parent may be at work again.)
    pub(super) fn assert_idle(&self) {
        debug_assert_eq!(self.database.wal_locks_held(self.me()), shm::WalLocksHeld::default());
    }

    /// In a process that was forked with the database open: it is `me`. What it has read it still has in its caches,
    /// so that it owes the wait for undurable commits as much as the process that read them.
    pub(super) fn inherit(&self, me: Owner) {
        self.me.set(me);
    }

    /// The open WAL, for `ffi::vfs`.
    pub(super) fn wal_file(&self) -> usize {
        self.wal_file.load(Ordering::Relaxed)
    }

    /// Set by `ffi::vfs` when SQLite opens and closes the WAL.
    pub(super) fn set_wal_file(&self, address: usize) {
        self.wal_file.store(address, Ordering::Relaxed);
    }

    /// A page of the WAL-index; `None` beyond the reserve.
    pub(super) fn index_page(&self, page: u32, bytes: usize) -> Option<*mut u8> {
        if bytes != WAL_INDEX_PAGE_BYTES {
            return None;
        }
        self.database.wal_index_page(page as usize).map(std::ptr::NonNull::as_ptr)
    }

    /// The length that the WAL may have: what the WAL-index has room for.
    pub(super) fn wal_bytes_max(&self) -> i64 {
        let pages = self.segment.geometry().wal_index_bytes / WAL_INDEX_PAGE_BYTES;
        let pages = i64::try_from(pages).unwrap_or(i64::MAX / FRAME_BYTES / PAGE_FRAMES - 1);
        WAL_HEADER_BYTES + (FIRST_PAGE_FRAMES + (pages - 1).max(0) * PAGE_FRAMES) * FRAME_BYTES
    }

    /// Takes `count` locks from `first`, all or none. Does not wait.
    pub(super) fn lock(&self, first: u8, count: u8, mode: LockMode) -> bool {
        let locks = usize::from(first)..usize::from(first) + usize::from(count);
        if locks.end > shm::WAL_INDEX_LOCKS {
            return false;
        }
        match mode {
            LockMode::Exclusive if first == WRITE_LOCK => count == 1 && self.lock_for_writing(),
            LockMode::Exclusive => self.database.wal_lock_exclusive(self.me(), locks),
            LockMode::Shared if first == WRITE_LOCK || count != 1 => false,
            LockMode::Shared => {
                let taken = self.database.wal_lock_shared(self.me(), usize::from(first));
                if taken && first >= FIRST_READ_MARK {
                    fault::point("holding-read-mark");
                }
                taken
            }
        }
    }

    fn lock_for_writing(&self) -> bool {
        if self.database.writer() == Some(self.me()) {
            return true;
        }
        let transaction = self.database.wal_locks_held(self.me()).shared & READ_MARKS != 0;
        if transaction || !self.database.try_lock_writer(self.me()) {
            return false;
        }
        self.recovering.store(true, Ordering::Relaxed);
        true
    }

    /// Gives locks back.
    pub(super) fn unlock(&self, first: u8, count: u8, mode: LockMode) {
        let locks = usize::from(first)..usize::from(first) + usize::from(count);
        match mode {
            LockMode::Exclusive if first == WRITE_LOCK => {
                if self.recovering.swap(false, Ordering::Relaxed) {
                    self.database.unlock_writer(self.me());
                }
            }
            LockMode::Exclusive => self.database.wal_unlock_exclusive(self.me(), locks),
            LockMode::Shared => locks.for_each(|lock| self.database.wal_unlock_shared(self.me(), lock)),
        }
    }

    /// SQLite is about to read the WAL at `offset`: notes whether that is a frame of a commit which may not be
    /// durable. An answer is a function of the pages it was read from, so one that touched none of these is what a
    /// durable state would have given, and need not wait. Pages that SQLite has cached were noted when read.
    pub(super) fn note_wal_read(&self, offset: i64) {
        if self.read_undurable.load(Ordering::Relaxed) {
            return;
        }
        // `durable` first: both only rise, so equality means that all of `begun` was durable at that time.
        let durable = self.database.durable();
        if durable != self.database.begun() && !self.is_frame_durable(offset) {
            self.read_undurable.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the newest sync covered the frame. A reader of the WAL holds a mark that keeps the WAL from starting
    /// anew, so the present salt is also that of its snapshot.
    fn is_frame_durable(&self, offset: i64) -> bool {
        let frame = (offset - WAL_HEADER_BYTES) / FRAME_BYTES + 1;
        let Some(synced) = self.database.durable_snapshot() else { return false };
        let synced = Header::from_bytes(&synced.snapshot);
        let present = self.database.wal_index_page(0).and_then(Header::read);
        present.is_some_and(|present| present.salt() == synced.salt()) && frame <= i64::from(synced.max_frame())
    }

    /// Whether a frame was read, since last asked, that may belong to a commit which is not durable.
    pub fn take_read_undurable(&self) -> bool {
        self.read_undurable.load(Ordering::Relaxed) && self.read_undurable.swap(false, Ordering::Relaxed)
    }

    /// The newest commit that may be visible.
    pub fn begun(&self) -> u64 {
        self.database.begun()
    }

    /// Whether the commit is durable.
    pub fn is_durable(&self, position: u64) -> bool {
        self.database.durable() >= position
    }

    /// Before SQLite's COMMIT, holding the writer lock: the commit's position.
    pub(super) fn begin_commit(&self) -> u64 {
        self.database.begin_commit(self.me())
    }

    /// After SQLite's COMMIT, whatever came of it, still holding the writer lock.
    pub(super) fn finish_commit(&self, position: u64) {
        let header = self.database.wal_index_page(0).and_then(Header::read).map(Header::to_bytes);
        self.database.finish_commit(self.me(), position, header.as_ref());
    }

    /// Gives the writer lock back.
    pub(super) fn release_writer(&self) {
        let held = self.database.unlock_writer(self.me());
        debug_assert!(held, "only who holds the writer lock gives it back");
    }

    /// The newest frame of the WAL, and how many frames are in the database file already.
    pub fn wal_frames(&self) -> (u32, u32) {
        let Some(page) = self.database.wal_index_page(0) else { return (0, 0) };
        let newest = Header::read(page).map_or(0, Header::max_frame);
        (newest, index::backfilled(page).min(newest))
    }

    /// After a commit: wakes the checkpointer if it sleeps for good, or if the WAL has grown long.
    pub(super) fn wake_checkpointer_if_due(&self) {
        // Pairs with the checkpointer's fence between announcing its sleep and looking once more.
        std::sync::atomic::fence(Ordering::SeqCst);
        let (newest, backfilled) = self.wal_frames();
        let long = newest - backfilled >= self.checkpoint_frames;
        if let Some(slot) = self.checkpointer().filter(|slot| long || slot.phase() == Phase::None) {
            slot.latch().set();
        }
    }

    /// There is no room to write: what is in the WAL is moved now, so that its room can be used again.
    pub(super) fn ask_for_checkpoint(&self) {
        if let Some(slot) = self.checkpointer() {
            slot.raise(Interrupt::Checkpoint);
        }
    }

    /// It has one of the first slots, as it starts before the workers.
    fn checkpointer(&self) -> Option<&'static Slot> {
        let mut slots = self.segment.slots().map(|(_, slot)| slot);
        slots.find(|slot| slot.kind() == SlotKind::Checkpointer && slot.state() != SlotState::Free)
    }

    /// A sync failed: nothing may be acknowledged any more, by anybody. With the panic word set, every process that
    /// would answer ends instead, and the postmaster, who sees them end, sees the word.
    pub(super) fn sync_failed(&self, errno: i32) {
        self.segment.pool().set_panic(errno);
    }

    /// The error of a sync that failed, in whatever process.
    pub(super) fn panic_errno(&self) -> Option<u32> {
        self.segment.pool().panic_errno()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shm::Geometry;

    fn two() -> (Attachment, Attachment) {
        let geometry = Geometry { slots: 4, databases: 1, wal_index_bytes: 2 * WAL_INDEX_PAGE_BYTES };
        let segment = Segment::on_heap(&geometry).expect("a segment");
        let attach = || {
            let me = segment.claim_slot(SlotKind::Worker).expect("a slot");
            Attachment::new(segment, me, 5, Path::new("/cluster/base/5"), 1 << 20).expect("an attachment")
        };
        (attach(), attach())
    }

    #[test]
    fn the_write_lock_is_for_the_owner_of_the_writer_lock() {
        let (a, b) = two();
        assert!(a.lock(FIRST_READ_MARK, 1, LockMode::Shared));
        assert!(!a.lock(WRITE_LOCK, 1, LockMode::Exclusive), "a transaction has to queue first");
        assert!(a.database.try_lock_writer(a.me()));
        assert!(a.lock(WRITE_LOCK, 1, LockMode::Exclusive));
        assert!(!b.lock(WRITE_LOCK, 1, LockMode::Exclusive));
        a.unlock(WRITE_LOCK, 1, LockMode::Exclusive);
        assert_eq!(a.database.writer(), Some(a.me()), "a transaction keeps the writer lock until it is over");
    }

    #[test]
    fn what_was_read_before_a_fork_is_waited_for_after_it() {
        let (a, b) = two();
        assert!(b.database.try_lock_writer(b.me()));
        b.database.begin_commit(b.me());
        a.note_wal_read(WAL_HEADER_BYTES);
        a.assert_idle();
        let child = a.segment().claim_slot(SlotKind::Worker);
        a.inherit(child.unwrap_or(a.me()));
        assert!(a.take_read_undurable(), "the page is in the child's cache");
    }

    #[test]
    fn recovery_takes_the_writer_lock_if_it_is_free() {
        let (a, b) = two();
        assert!(a.lock(WRITE_LOCK, 1, LockMode::Exclusive));
        assert_eq!(a.database.writer(), Some(a.me()));
        assert!(!b.lock(WRITE_LOCK, 1, LockMode::Exclusive));
        a.unlock(WRITE_LOCK, 1, LockMode::Exclusive);
        assert_eq!(a.database.writer(), None);
    }

    #[test]
    fn the_wal_may_be_as_long_as_the_index_has_room() {
        let (a, _) = two();
        assert_eq!(a.wal_bytes_max(), 32 + (4062 + 4096) * 4120);
        assert!(a.index_page(1, WAL_INDEX_PAGE_BYTES).is_some());
        assert!(a.index_page(2, WAL_INDEX_PAGE_BYTES).is_none());
        assert_eq!(a.display_name(), "base/5");
    }
}
