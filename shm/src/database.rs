//! [`Database`]: a handle on the region of one database, and the table of those regions.
//!
//! A region belongs to an oid from its first use until the database is dropped and the last process has let go of it.
//! Claiming one takes a single compare-and-swap, so a process killed while it does so leaves either a free region or one
//! with an oid.
//!
//! Freeing one takes three steps. DROP DATABASE marks it ([`Segment::doom_database`]), from when on nobody can open it.
//! A process notes in its slot which database it has open ([`Slot::set_open_database`](crate::Slot)) before it looks for
//! the region, so that either it sees the mark or its note is seen. One process of the server, the checkpointer, frees
//! what nobody has noted ([`Vacating::free`]).

use std::ptr::NonNull;
use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, SeqCst},
};

use crate::bitmap::Bitmap;
use crate::commit::CommitWords;
use crate::error::Error;
use crate::segment::Segment;
use crate::slot::{Owner, Slot, SlotKind, SlotState};
use crate::walindex::WalLockWords;
use crate::writer::WriterWords;

/// The number of a database's region, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DatabaseIndex(pub u32);

/// The oid of a region that was freed; such regions are taken again after those never used.
const FREED: u32 = u32::MAX;

#[repr(C, align(128))]
pub(crate) struct DatabaseRegion {
    pub(crate) oid: AtomicU32,
    /// The database that was dropped, if it was this one. Oids are not used twice, so what is left here does no harm.
    doomed: AtomicU32,
    catalog_version: AtomicU64,
    pub(crate) writer: WriterWords,
    pub(crate) commit: CommitWords,
    pub(crate) wal_locks: WalLockWords,
}

/// A handle; see [`Segment::open_database`]. Its operations are in [`crate::writer`], [`crate::commit`] and
/// [`crate::walindex`].
#[derive(Debug, Clone, Copy)]
pub struct Database {
    pub(crate) segment: Segment,
    index: DatabaseIndex,
}

impl Database {
    pub(crate) fn new(segment: Segment, index: DatabaseIndex) -> Database {
        Database { segment, index }
    }

    pub(crate) fn region(&self) -> &'static DatabaseRegion {
        self.segment.database_region(self.index)
    }

    pub(crate) fn set(&self, set: usize) -> Bitmap<'static> {
        self.segment.set(self.index, set)
    }

    /// Its region's number.
    pub fn index(&self) -> DatabaseIndex {
        self.index
    }

    /// Its database; 0 if it has none.
    pub fn oid(&self) -> u32 {
        match self.region().oid.load(Acquire) {
            FREED => 0,
            oid => oid,
        }
    }

    /// Its database was dropped: nobody may open it any more, and those who have it open let go of it.
    pub fn is_doomed(&self) -> bool {
        self.region().doomed.load(SeqCst) == self.region().oid.load(SeqCst)
    }

    /// Raised by each committed change of the database's catalog; what was cached under an older one is read again.
    pub fn catalog_version(&self) -> u64 {
        self.region().catalog_version.load(Acquire)
    }

    /// After a change of the catalog was committed, and before its writer lock is given back. Returns the new version.
    pub fn bump_catalog_version(&self) -> u64 {
        self.region().catalog_version.fetch_add(1, SeqCst) + 1
    }

    /// Before the commit of a transaction that stored `version` with its changes of the catalog, by the owner of the
    /// writer lock. It never goes back: a commit that fails leaves readers looking once more, and no harm.
    pub fn publish_catalog_version(&self, version: u64) {
        self.region().catalog_version.fetch_max(version, SeqCst);
    }

    /// The address of page `page` of the WAL-index: 32 KB, aligned to 4 KB, zero at first, valid for the life of the
    /// process; `None` beyond the reserve. It is SQLite's to read and write, by its own rules for shared memory.
    pub fn wal_index_page(&self, page: usize) -> Option<NonNull<u8>> {
        self.segment.wal_index_page(self.index, page)
    }

    /// Makes the whole WAL-index zero and gives its memory back; SQLite then recovers it from the WAL. Only while no
    /// process has the database open.
    pub fn zero_wal_index(&self) -> Result<(), Error> {
        self.segment.zero_wal_index(self.index)
    }
}

pub(crate) fn open(segment: Segment, oid: u32) -> Option<Database> {
    debug_assert!(oid != 0 && oid != FREED);
    let regions = || (0..segment.geometry().databases).map(|index| segment.database(DatabaseIndex(index)));
    if let Some(found) = regions().find(|database| database.oid() == oid) {
        return Some(found).filter(|found| !found.is_doomed());
    }
    for vacant in [0, FREED] {
        for database in regions() {
            match database.region().oid.compare_exchange(vacant, oid, SeqCst, SeqCst) {
                Ok(_) => return Some(database),
                // Another process claims from the same end: it may have come for the same database.
                Err(present) if present == oid => return Some(database),
                Err(_) => {}
            }
        }
    }
    None
}

impl Segment {
    /// After DROP DATABASE was committed: nobody can open the database from now on, and its region is freed when the
    /// last process has let go of it.
    pub fn doom_database(&self, oid: u32) {
        if let Some(database) = self.databases().find(|database| database.oid() == oid) {
            // Counted first: who is killed in between leaves others looking once more, and no harm.
            self.pool().doomed.fetch_add(1, SeqCst);
            if database.region().doomed.swap(oid, SeqCst) == oid {
                self.pool().doomed.fetch_sub(1, SeqCst);
            }
        }
        self.pool().forget_recent_database(oid);
    }

    /// Databases that were dropped, and whose regions are not free yet. One load where there is none.
    pub fn doomed_databases(&self) -> impl Iterator<Item = Database> {
        let any = self.pool().doomed.load(SeqCst) != 0;
        any.then(|| self.databases().filter(Database::is_doomed)).into_iter().flatten()
    }
}

/// The freeing of dropped databases' regions, by one process at a time.
///
/// A process that was forked from one with the database open has it open too, and has not noted that before it
/// leaves [`SlotState::Starting`]. So those that are starting when nobody else is left are waited for.
#[derive(Debug, Default)]
pub struct Vacating {
    /// For each region, the processes that were starting.
    starting: Vec<(DatabaseIndex, Vec<Owner>)>,
}

impl Vacating {
    /// Frees the regions that nobody has open. True if all are free, so that there is no need to come back.
    pub fn free(&mut self, segment: Segment) -> Result<bool, Error> {
        let mut all = true;
        for database in segment.doomed_databases() {
            if self.is_vacant(segment, database) {
                free(database)?;
                self.starting.retain(|(index, _)| *index != database.index());
            } else {
                all = false;
            }
        }
        Ok(all)
    }

    fn is_vacant(&mut self, segment: Segment, database: Database) -> bool {
        let is_starting = |slot: &Slot| slot.kind() == SlotKind::Worker && slot.state() == SlotState::Starting;
        // Before the notes are read: a process that has left that state since has written its own.
        let starting = segment.slots().filter(|(_, slot)| is_starting(slot));
        let starting: Vec<_> = starting.map(|(index, _)| segment.owner(index)).collect();
        let is_open = |slot: &Slot| slot.state() != SlotState::Free && slot.open_database() == database.oid();
        if segment.slots().any(|(_, slot)| is_open(slot)) {
            self.starting.retain(|(index, _)| *index != database.index());
            return false;
        }
        match self.starting.iter_mut().find(|(index, _)| *index == database.index()) {
            Some((_, awaited)) => {
                awaited.retain(|owner| starting.contains(owner));
                awaited.is_empty()
            }
            None => {
                let none = starting.is_empty();
                self.starting.push((database.index(), starting));
                none
            }
        }
    }
}

/// Makes the region as new. If the caller is killed in it, the next one does it again.
fn free(database: Database) -> Result<(), Error> {
    database.zero_wal_index()?;
    let region = database.region();
    region.catalog_version.store(0, Relaxed);
    region.writer.reset();
    region.commit.reset();
    region.oid.store(FREED, SeqCst);
    database.segment.pool().doomed.fetch_sub(1, SeqCst);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Geometry;

    #[test]
    fn a_region_keeps_its_database_until_dropped() {
        let segment = Segment::on_heap(&Geometry { slots: 1, databases: 2, wal_index_bytes: 32768 }).unwrap();
        let a = segment.open_database(10).unwrap();
        let b = segment.open_database(11).unwrap();
        assert_ne!(a.index(), b.index());
        assert_eq!(segment.open_database(10).unwrap().index(), a.index());
        assert!(segment.open_database(12).is_none());
        a.bump_catalog_version();
        segment.doom_database(10);
        assert!(segment.open_database(10).is_none());
        assert!(segment.open_database(12).is_none());
        assert!(Vacating::default().free(segment).unwrap());
        assert_eq!(segment.databases().count(), 1);
        let c = segment.open_database(12).unwrap();
        assert_eq!((c.index(), c.catalog_version()), (a.index(), 0));
    }

    #[test]
    fn a_region_is_freed_when_the_last_process_has_let_go() {
        let segment = Segment::on_heap(&Geometry { slots: 3, databases: 2, wal_index_bytes: 32768 }).unwrap();
        let [template, child, other] = [0; 3].map(|_| segment.claim_slot(SlotKind::Worker).unwrap());
        segment.transition(template.slot, SlotState::Starting, SlotState::Idle).unwrap();
        segment.transition(other.slot, SlotState::Starting, SlotState::Idle).unwrap();
        segment.slot(template.slot).set_open_database(10);
        segment.open_database(10).unwrap();
        segment.slot(other.slot).set_open_database(11);
        segment.open_database(11).unwrap();
        segment.doom_database(10);
        let mut vacating = Vacating::default();
        assert!(!vacating.free(segment).unwrap(), "the template has it open");
        segment.slot(template.slot).set_open_database(11);
        assert!(!vacating.free(segment).unwrap(), "what is starting may have it open");
        segment.slot(child.slot).set_open_database(10);
        segment.transition(child.slot, SlotState::Starting, SlotState::Idle).unwrap();
        assert!(!vacating.free(segment).unwrap(), "the child has it open");
        segment.reap(child);
        // Another one that starts now cannot have it.
        let late = segment.claim_slot(SlotKind::Worker).unwrap();
        assert!(!vacating.free(segment).unwrap(), "waits for those that start once more");
        segment.reap(late);
        segment.claim_slot(SlotKind::Worker).unwrap();
        assert!(vacating.free(segment).unwrap());
        assert_eq!((segment.doomed_databases().count(), segment.pool().doomed.load(SeqCst)), (0, 0));
        assert_eq!(segment.databases().map(|database| database.oid()).collect::<Vec<_>>(), [11]);
    }

    #[test]
    fn threads_that_open_one_database_get_one_region() {
        for _ in 0..50 {
            let segment = Segment::on_heap(&Geometry { slots: 1, databases: 8, wal_index_bytes: 32768 }).unwrap();
            let threads: Vec<_> = (0..4)
                .map(|thread| {
                    std::thread::spawn(move || {
                        for oid in 1..=4 {
                            assert_eq!(
                                segment.open_database((oid + thread) % 4 + 1).unwrap().oid(),
                                (oid + thread) % 4 + 1
                            );
                        }
                    })
                })
                .collect();
            for thread in threads {
                thread.join().unwrap();
            }
            assert_eq!(segment.databases().count(), 4);
        }
    }
}
