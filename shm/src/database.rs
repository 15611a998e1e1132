//! [`Database`]: a handle on the region of one database, and the table of those regions.
//!
//! A region belongs to an oid from its first use until the database is dropped. Claiming one takes a single
//! compare-and-swap, so a process killed while it does so leaves either a free region or one with an oid.

use std::ptr::NonNull;
use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, SeqCst},
};

use crate::bitmap::Bitmap;
use crate::commit::CommitWords;
use crate::error::Error;
use crate::segment::Segment;
use crate::walindex::WalLockWords;
use crate::writer::WriterWords;

/// The number of a database's region, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DatabaseIndex(pub u32);

/// The oid of a region whose database was dropped; such regions are taken again after those never used.
const DROPPED: u32 = u32::MAX;

#[repr(C, align(128))]
pub(crate) struct DatabaseRegion {
    pub(crate) oid: AtomicU32,
    unused: AtomicU32,
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
            DROPPED => 0,
            oid => oid,
        }
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
    debug_assert!(oid != 0 && oid != DROPPED);
    let regions = || (0..segment.geometry().databases).map(|index| segment.database(DatabaseIndex(index)));
    if let Some(found) = regions().find(|database| database.oid() == oid) {
        return Some(found);
    }
    for vacant in [0, DROPPED] {
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
    /// Frees the region of a dropped database. The caller sees to it that no process has it open or opens it: two
    /// processes that open one new database while regions are being freed could otherwise get two regions. (CREATE
    /// DATABASE avoids that by opening the region before the database can be found.)
    pub fn drop_database(&self, oid: u32) -> Result<(), Error> {
        let Some(database) = self.databases().find(|database| database.oid() == oid) else {
            return Ok(());
        };
        database.zero_wal_index()?;
        let region = database.region();
        region.catalog_version.store(0, Relaxed);
        region.writer.reset();
        region.commit.reset();
        region.oid.store(DROPPED, SeqCst);
        Ok(())
    }
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
        segment.drop_database(10).unwrap();
        assert_eq!(segment.databases().count(), 1);
        let c = segment.open_database(12).unwrap();
        assert_eq!((c.index(), c.catalog_version()), (a.index(), 0));
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
