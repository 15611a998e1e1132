//! Group commit: which commits of a database are durable, and who calls fdatasync for all.
//!
//! Positions count the commits of a database (64 bits, never reset). Each commit goes through three words:
//!
//! 1. `begun`: raised under the writer lock before SQLite's COMMIT. Whatever a snapshot can show has begun.
//! 2. `appended`: set when the COMMIT has returned, still under the lock; a sync begun now covers it. A dead writer's
//!    commit counts as appended, whether it came to be or not: its frames are in the file or nobody will see them.
//! 3. `durable`: raised by a leader after its fdatasync, to what was appended before it.
//!
//! Who needs a position to be durable calls [`Database::await_durable`]: it leads a sync if nobody does, or sleeps
//! until a leader has covered it. A leader that is done wakes those whom it covered and, if others wait for what was
//! appended meanwhile, one of those to lead next. If it is killed, the reaper clears the leader word and wakes all.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use crate::activity::WaitEvent;
use crate::bitmap::Bitmap;
use crate::database::Database;
use crate::pool::Counter;
use crate::sequence::SequencedWords;
use crate::slot::{Owner, SlotIndex};
use crate::step::step;

pub(crate) const COMMIT_WAITERS: usize = 1;
/// The size of SQLite's `sqlite3_snapshot`.
pub const SNAPSHOT_BYTES: usize = 48;
const SNAPSHOT_WORDS: usize = SNAPSHOT_BYTES / 8 + 2;

#[repr(C, align(128))]
pub(crate) struct CommitWords {
    begun: AtomicU64,
    appended: AtomicU64,
    durable: AtomicU64,
    leader: AtomicU64,
    /// Of `appended`: written under the writer lock. First word: 1 if there is one; second: its position.
    appended_snapshot: SequencedWords<SNAPSHOT_WORDS>,
    /// Of `durable`: written by the leader.
    durable_snapshot: SequencedWords<SNAPSHOT_WORDS>,
}

impl CommitWords {
    pub(crate) fn reset(&self) {
        for word in [&self.begun, &self.appended, &self.durable, &self.leader] {
            word.store(0, SeqCst);
        }
        self.appended_snapshot.write(&[0; SNAPSHOT_WORDS]);
        self.durable_snapshot.write(&[0; SNAPSHOT_WORDS]);
    }
}

/// A snapshot of SQLite's and the position up to which it shows commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// Commits up to this one are in the snapshot.
    pub position: u64,
    /// What `sqlite3_snapshot_get` gave.
    pub snapshot: [u8; SNAPSHOT_BYTES],
}

/// Why a position is not known to be durable.
#[derive(Debug)]
pub enum AwaitError {
    /// Our fdatasync failed; the panic word is set. The process must end without acknowledging anything.
    Sync(io::Error),
    /// The panic word was set, with this error number: somebody's fdatasync failed.
    Panicked(u32),
    /// The caller's `interrupt` said to stop.
    Interrupted,
}

impl fmt::Display for AwaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AwaitError::Sync(error) => write!(f, "could not sync the WAL: {error}"),
            AwaitError::Panicked(errno) => {
                let error = io::Error::from_raw_os_error(errno.cast_signed());
                write!(f, "another process could not sync the WAL: {error}")
            }
            AwaitError::Interrupted => f.write_str("the wait for a durable commit was interrupted"),
        }
    }
}

impl std::error::Error for AwaitError {}

impl Database {
    fn commit_set(&self) -> Bitmap<'static> {
        self.set(COMMIT_WAITERS)
    }

    /// The newest position that may be visible. A reader takes it after its snapshot was opened: all that the
    /// snapshot shows has begun.
    pub fn begun(&self) -> u64 {
        self.region().commit.begun.load(SeqCst)
    }

    /// The newest position that a sync begun now covers.
    pub fn appended(&self) -> u64 {
        self.region().commit.appended.load(SeqCst)
    }

    /// The newest position that is durable.
    pub fn durable(&self) -> u64 {
        self.region().commit.durable.load(SeqCst)
    }

    /// Before SQLite's COMMIT, by the owner of the writer lock: the position of this commit.
    pub fn begin_commit(&self, me: Owner) -> u64 {
        debug_assert_eq!(self.writer(), Some(me), "commits begin under the writer lock");
        self.region().commit.begun.fetch_add(1, SeqCst) + 1
    }

    /// After SQLite's COMMIT has returned, with success or without, and before the writer lock is given back.
    /// `snapshot` is of the state after this commit, if the caller has it.
    pub fn finish_commit(&self, me: Owner, position: u64, snapshot: Option<&[u8; SNAPSHOT_BYTES]>) {
        debug_assert_eq!(self.writer(), Some(me), "commits finish under the writer lock");
        debug_assert!(position <= self.begun());
        let commit = &self.region().commit;
        if let Some(snapshot) = snapshot {
            commit.appended_snapshot.write(&snapshot_words(position, snapshot));
            step();
        }
        commit.appended.fetch_max(position, SeqCst);
        step();
        self.elect_leader();
    }

    /// Returns once `position` is durable: at once, after a sync that another process leads, or after one that this
    /// process leads by calling `sync`, an fdatasync of the WAL file. `interrupt` is asked before each sleep.
    pub fn await_durable(
        &self,
        me: Owner,
        position: u64,
        sync: &mut dyn FnMut() -> io::Result<()>,
        interrupt: &mut dyn FnMut() -> bool,
    ) -> Result<(), AwaitError> {
        if self.durable() >= position {
            return Ok(());
        }
        let slot = self.segment.slot(me.slot);
        let before = slot.wait_event();
        slot.awaited_commit.store(position, SeqCst);
        step();
        self.commit_set().insert(me.slot);
        step();
        let result = self.queue_for_durable(me, position, sync, interrupt);
        step();
        self.commit_set().remove(me.slot);
        slot.set_wait_event(before);
        step();
        // We may have been elected and not have led.
        self.elect_leader();
        result
    }

    fn queue_for_durable(
        &self,
        me: Owner,
        position: u64,
        sync: &mut dyn FnMut() -> io::Result<()>,
        interrupt: &mut dyn FnMut() -> bool,
    ) -> Result<(), AwaitError> {
        let slot = self.segment.slot(me.slot);
        loop {
            // Before the conditions: what comes after it makes `wait` return.
            let seen = slot.latch().value();
            if let Some(errno) = self.segment.pool().panic_errno() {
                return Err(AwaitError::Panicked(errno));
            }
            if self.durable() >= position {
                return Ok(());
            }
            // Leading makes sense only for a sync that covers us; otherwise the writer is still at its COMMIT and
            // will elect us after it.
            if self.appended() >= position {
                slot.set_wait_event(WaitEvent::WalSync);
                if self.lead_sync(me, sync)? {
                    continue;
                }
            }
            if interrupt() {
                return Err(AwaitError::Interrupted);
            }
            slot.set_wait_event(WaitEvent::CommitSync);
            step();
            slot.latch().wait(seen, None);
        }
    }

    /// Leads one sync of all that is appended, if that is not durable and nobody else leads. Returns whether it did.
    /// For asynchronous commits, and within [`Database::await_durable`].
    pub fn lead_sync(&self, me: Owner, sync: &mut dyn FnMut() -> io::Result<()>) -> Result<bool, AwaitError> {
        let commit = &self.region().commit;
        if commit.durable.load(SeqCst) >= commit.appended.load(SeqCst)
            || commit.leader.load(SeqCst) != 0
            || commit.leader.compare_exchange(0, me.pack(), SeqCst, SeqCst).is_err()
        {
            return Ok(false);
        }
        step();
        if let Some(errno) = self.segment.pool().panic_errno() {
            // The one who failed keeps the leader word, unless it was reaped: nobody may sync again.
            return Err(AwaitError::Panicked(errno));
        }
        let snapshot = commit.appended_snapshot.read();
        let target = commit.appended.load(SeqCst);
        self.segment.pool().count(Counter::Syncs);
        if let Err(error) = sync() {
            self.segment.pool().set_panic(error.raw_os_error().unwrap_or(libc::EIO));
            self.wake_commit_waiters(u64::MAX);
            return Err(AwaitError::Sync(error));
        }
        step();
        commit.durable.fetch_max(target, SeqCst);
        step();
        if let Some(words) = snapshot.filter(|words| words[0] == 1 && words[1] <= target) {
            commit.durable_snapshot.write(&words);
        }
        step();
        // Waking before the leader word is free spares those who are covered from leading for nothing.
        self.wake_commit_waiters(target);
        step();
        commit.leader.store(0, SeqCst);
        step();
        self.elect_leader();
        Ok(true)
    }

    /// Who leads a sync at the moment.
    pub fn sync_leader(&self) -> Option<Owner> {
        Owner::unpack(self.region().commit.leader.load(SeqCst))
    }

    /// The snapshot of the newest durable commit that a writer gave one for.
    pub fn durable_snapshot(&self) -> Option<Commit> {
        let words = self.region().commit.durable_snapshot.read()?;
        (words[0] == 1).then(|| Commit { position: words[1], snapshot: snapshot_bytes(&words) })
    }

    /// Withdraws the published snapshots: after a checkpoint restarts the WAL they cannot be opened any more. Under
    /// the writer lock.
    pub fn clear_snapshots(&self, me: Owner) {
        debug_assert_eq!(self.writer(), Some(me), "snapshots are cleared under the writer lock");
        let commit = &self.region().commit;
        commit.appended_snapshot.write(&[0; SNAPSHOT_WORDS]);
        // The leader writes the other one: take its place for a moment, or let it publish what is refused later.
        if commit.leader.compare_exchange(0, me.pack(), SeqCst, SeqCst).is_ok() {
            step();
            commit.durable_snapshot.write(&[0; SNAPSHOT_WORDS]);
            step();
            commit.leader.store(0, SeqCst);
            step();
            self.elect_leader();
        }
    }

    /// The slots that wait for a commit to become durable.
    pub fn commit_waiters(&self) -> Vec<SlotIndex> {
        self.commit_set().iter().collect()
    }

    fn wake_commit_waiters(&self, covered: u64) {
        for waiter in self.commit_set().iter() {
            let slot = self.segment.slot(waiter);
            if slot.awaited_commit.load(SeqCst) <= covered {
                slot.latch().set();
            }
        }
    }

    /// Wakes one waiter whom a sync would help, if nobody leads.
    fn elect_leader(&self) {
        let commit = &self.region().commit;
        // SeqCst: either a leader that stops sees our `appended`, or we see that it has stopped.
        if commit.leader.load(SeqCst) != 0 {
            return;
        }
        let (durable, appended) = (commit.durable.load(SeqCst), commit.appended.load(SeqCst));
        if durable >= appended {
            return;
        }
        for waiter in self.commit_set().iter() {
            let slot = self.segment.slot(waiter);
            if (durable + 1..=appended).contains(&slot.awaited_commit.load(SeqCst)) {
                slot.latch().set();
                return;
            }
        }
    }

    /// A dead writer's commit counts as appended. Before its writer lock is taken from it.
    pub(crate) fn reap_commit_of_writer(&self, dead: Owner) {
        if self.writer() == Some(dead) {
            let commit = &self.region().commit;
            commit.appended_snapshot.repair();
            commit.appended.fetch_max(commit.begun.load(SeqCst), SeqCst);
        }
    }

    /// Takes the lead from a dead process and wakes everybody, one of whom leads next. Returns whether it had led.
    pub(crate) fn reap_leader(&self, dead: Owner) -> bool {
        self.commit_set().remove(dead.slot);
        let commit = &self.region().commit;
        let led = commit.leader.load(SeqCst) == dead.pack();
        if led {
            commit.durable_snapshot.repair();
            commit.leader.store(0, SeqCst);
        }
        // Always: it may have died between being elected and leading, or between leaving the lead and electing.
        if commit.leader.load(SeqCst) == 0 {
            self.wake_commit_waiters(u64::MAX);
        }
        led
    }
}

fn snapshot_words(position: u64, snapshot: &[u8; SNAPSHOT_BYTES]) -> [u64; SNAPSHOT_WORDS] {
    let mut words = [0; SNAPSHOT_WORDS];
    words[0] = 1;
    words[1] = position;
    for (word, bytes) in words[2..].iter_mut().zip(snapshot.as_chunks::<8>().0) {
        *word = u64::from_ne_bytes(*bytes);
    }
    words
}

fn snapshot_bytes(words: &[u64; SNAPSHOT_WORDS]) -> [u8; SNAPSHOT_BYTES] {
    let mut snapshot = [0; SNAPSHOT_BYTES];
    for (bytes, word) in snapshot.chunks_mut(8).zip(&words[2..]) {
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    snapshot
}
