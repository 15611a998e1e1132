//! Where each region of the segment lies. Pure arithmetic over a [`Geometry`]; knows no addresses.
//!
//! ```text
//! 0      header          magic, layout version, geometry, total length
//! 4096   canary pool     one Pool
//!        canary slots    Slot × slots
//!        canary keys     CancelKey × slots
//!        canary stats    one Statistics
//!        canary places   Place × UPSTREAM_PLACES
//!        canary pools    PoolWords × UPSTREAM_POOLS
//!        canary orders   OrderWords × UPSTREAM_ORDERS
//!        canary waiters  one word × slots
//!        canary hosts    one Hosts
//!        canary dbs      DatabaseRegion × databases
//!        canary sets     for each database: sets of slots (writer's waiters, commit's waiters, 8 WAL-index locks)
//!        canary index    (page-aligned) wal_index_bytes × databases, sparse
//!        canary tickets  (page-aligned) one TicketKeys, on a page that core dumps leave out
//!        canary end
//! ```
//!
//! A canary is the 64 bytes in front of a region: 8 words that depend on their offset.

use std::sync::atomic::{AtomicU32, AtomicU64};

use crate::bitmap::Bitmap;
use crate::cancel::CancelKey;
use crate::database::DatabaseRegion;
use crate::error::Error;
use crate::hosts::Hosts;
use crate::pool::Pool;
use crate::slot::Slot;
use crate::statistics::Statistics;
use crate::tickets::TicketKeys;
use crate::upstream::{OrderWords, Place, PoolWords, UPSTREAM_ORDERS, UPSTREAM_PLACES, UPSTREAM_POOLS};
use crate::walindex::{WAL_INDEX_LOCKS, WAL_INDEX_PAGE_BYTES};

/// "pgprefor" as a little-endian word.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"pgprefor");
/// Raised whenever the meaning of any byte changes.
pub(crate) const LAYOUT_VERSION: u32 = 10;
pub(crate) const CANARY_BYTES: usize = 64;
pub(crate) const PAGE_BYTES: usize = 4096;
/// Regions are aligned to this: two cache lines, because processors fetch lines in pairs.
pub(crate) const ALIGNMENT: usize = 128;
/// More than any machine serves as processes; keeps all arithmetic far from overflow.
const SLOTS_MAX: u32 = 1 << 16;
const DATABASES_MAX: u32 = 1 << 12;
const TOTAL_BYTES_MAX: usize = 1 << 42;

/// The sizes that the operator's settings decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Processes that can exist at once: sessions, spares, and the background processes.
    pub slots: u32,
    /// Databases that can be used during the life of the segment.
    pub databases: u32,
    /// Address space for one database's WAL-index; a multiple of 32 KB. Untouched pages take no memory. 32 KB of
    /// index cover 4,096 WAL frames, so 64 MB cover a WAL of 32 GB with pages of 4 KB.
    pub wal_index_bytes: usize,
}

impl Default for Geometry {
    /// 1,024 slots, 64 databases, 64 MB of WAL-index each.
    fn default() -> Geometry {
        Geometry { slots: 1024, databases: 64, wal_index_bytes: 64 << 20 }
    }
}

/// The first bytes of the segment.
#[repr(C)]
pub(crate) struct Header {
    pub(crate) magic: AtomicU64,
    pub(crate) layout_version: AtomicU32,
    pub(crate) slots: AtomicU32,
    pub(crate) databases: AtomicU32,
    pub(crate) unused: AtomicU32,
    pub(crate) wal_index_bytes: AtomicU64,
    pub(crate) total_bytes: AtomicU64,
}

const _: () = assert!(size_of::<Header>() == 40);
const _: () = assert!(size_of::<Header>() <= PAGE_BYTES - CANARY_BYTES);
const _: () = assert!(size_of::<Slot>().is_multiple_of(ALIGNMENT) && align_of::<Slot>() <= ALIGNMENT);
const _: () = assert!(size_of::<Slot>() <= 4096, "a slot fits a page");
const _: () = assert!(size_of::<CancelKey>() == 64);
const _: () = assert!(align_of::<TicketKeys>() <= ALIGNMENT && size_of::<TicketKeys>() <= PAGE_BYTES);
const _: () = assert!(align_of::<Pool>() <= ALIGNMENT && align_of::<Statistics>() <= ALIGNMENT);
const _: () = assert!(size_of::<DatabaseRegion>().is_multiple_of(ALIGNMENT));
const _: () = assert!(ALIGNMENT >= CANARY_BYTES && PAGE_BYTES.is_multiple_of(ALIGNMENT));

/// One region's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// For messages.
    pub name: &'static str,
    /// From the start of the segment.
    pub offset: usize,
    /// Without its canary.
    pub bytes: usize,
}

/// Offsets of all regions.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    pub(crate) geometry: Geometry,
    pub(crate) pool: Region,
    pub(crate) slots: Region,
    pub(crate) keys: Region,
    pub(crate) statistics: Region,
    pub(crate) upstream_places: Region,
    pub(crate) upstream_pools: Region,
    pub(crate) upstream_orders: Region,
    pub(crate) upstream_waiters: Region,
    pub(crate) upstream_hosts: Region,
    pub(crate) databases: Region,
    pub(crate) sets: Region,
    pub(crate) wal_index: Region,
    pub(crate) tickets: Region,
    pub(crate) end: Region,
    /// Words of one set of slots.
    pub(crate) set_words: usize,
}

/// Sets of slots that one database has: waiters for the writer lock, waiters for a sync, holders of each WAL-index
/// lock.
pub(crate) const SETS_PER_DATABASE: usize = 2 + WAL_INDEX_LOCKS;

impl Layout {
    /// Lays out the regions.
    pub fn new(geometry: &Geometry) -> Result<Layout, Error> {
        let Geometry { slots, databases, wal_index_bytes } = *geometry;
        if !(1..=SLOTS_MAX).contains(&slots) {
            return Err(Error::Geometry("the number of slots must be between 1 and 65536"));
        }
        if !(1..=DATABASES_MAX).contains(&databases) {
            return Err(Error::Geometry("the number of databases must be between 1 and 4096"));
        }
        if wal_index_bytes == 0 || !wal_index_bytes.is_multiple_of(WAL_INDEX_PAGE_BYTES) {
            return Err(Error::Geometry("a WAL-index must be a multiple of 32 KB"));
        }
        if wal_index_bytes > TOTAL_BYTES_MAX / 2 / databases as usize {
            return Err(Error::Geometry("the WAL-indexes together must not exceed 2 TB"));
        }
        let set_words = Bitmap::words(slots);
        let mut next = PAGE_BYTES - ALIGNMENT;
        let mut place = |name, bytes: usize, alignment: usize| {
            let offset = (next + CANARY_BYTES).next_multiple_of(alignment);
            next = offset + bytes;
            Region { name, offset, bytes }
        };
        let pool = place("pool", size_of::<Pool>(), ALIGNMENT);
        let slots_region = place("slots", slots as usize * size_of::<Slot>(), ALIGNMENT);
        let keys = place("cancel keys", slots as usize * size_of::<CancelKey>(), ALIGNMENT);
        let statistics = place("statistics", size_of::<Statistics>(), ALIGNMENT);
        let places_bytes = UPSTREAM_PLACES as usize * size_of::<Place>();
        let upstream_places = place("upstream places", places_bytes, ALIGNMENT);
        let pools_bytes = UPSTREAM_POOLS as usize * size_of::<PoolWords>();
        let upstream_pools = place("upstream pools", pools_bytes, ALIGNMENT);
        let orders_bytes = UPSTREAM_ORDERS as usize * size_of::<OrderWords>();
        let upstream_orders = place("upstream orders", orders_bytes, ALIGNMENT);
        let upstream_waiters = place("upstream waiters", slots as usize * 8, ALIGNMENT);
        let upstream_hosts = place("upstream hosts", size_of::<Hosts>(), ALIGNMENT);
        let region_bytes = databases as usize * size_of::<DatabaseRegion>();
        let databases_region = place("databases", region_bytes, ALIGNMENT);
        let sets = place("lock sets", databases as usize * SETS_PER_DATABASE * set_words * 8, ALIGNMENT);
        let wal_index = place("WAL index", databases as usize * wal_index_bytes, PAGE_BYTES);
        let tickets = place("ticket keys", size_of::<TicketKeys>(), PAGE_BYTES);
        let end = place("end", 0, PAGE_BYTES);
        Ok(Layout {
            geometry: *geometry,
            pool,
            slots: slots_region,
            keys,
            statistics,
            upstream_places,
            upstream_pools,
            upstream_orders,
            upstream_waiters,
            upstream_hosts,
            databases: databases_region,
            sets,
            wal_index,
            tickets,
            end,
            set_words,
        })
    }

    /// The length of the whole segment, in whole pages.
    pub fn total_bytes(&self) -> usize {
        self.end.offset
    }

    /// All regions in order; each has its canary in front of it.
    pub fn regions(&self) -> [Region; 14] {
        [
            self.pool,
            self.slots,
            self.keys,
            self.statistics,
            self.upstream_places,
            self.upstream_pools,
            self.upstream_orders,
            self.upstream_waiters,
            self.upstream_hosts,
            self.databases,
            self.sets,
            self.wal_index,
            self.tickets,
            self.end,
        ]
    }
}

/// The value of the canary's word at `offset`.
pub(crate) fn canary_word(offset: usize) -> u64 {
    (offset as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ MAGIC.rotate_left(17)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn regions_keep_apart(slots in 1..=SLOTS_MAX, databases in 1..=DATABASES_MAX, pages in 1usize..4096) {
            let geometry = Geometry { slots, databases, wal_index_bytes: pages * WAL_INDEX_PAGE_BYTES };
            let layout = Layout::new(&geometry).unwrap();
            let mut end = size_of::<Header>();
            for region in layout.regions() {
                prop_assert!(region.offset >= end + CANARY_BYTES, "{}", region.name);
                prop_assert!(region.offset.is_multiple_of(ALIGNMENT), "{}", region.name);
                end = region.offset + region.bytes;
            }
            prop_assert!(layout.wal_index.offset.is_multiple_of(PAGE_BYTES));
            prop_assert!(layout.total_bytes().is_multiple_of(PAGE_BYTES));
            prop_assert!(layout.total_bytes() >= end);
            prop_assert!(layout.set_words * 64 >= slots as usize);
        }
    }

    #[test]
    fn impossible_geometries_are_refused() {
        let good = Geometry { slots: 1, databases: 1, wal_index_bytes: WAL_INDEX_PAGE_BYTES };
        assert!(Layout::new(&good).is_ok());
        for bad in [
            Geometry { slots: 0, ..good },
            Geometry { slots: u32::MAX, ..good },
            Geometry { databases: 0, ..good },
            Geometry { databases: u32::MAX, ..good },
            Geometry { wal_index_bytes: 0, ..good },
            Geometry { wal_index_bytes: 100, ..good },
            Geometry { wal_index_bytes: usize::MAX - WAL_INDEX_PAGE_BYTES + 1, ..good },
        ] {
            assert!(matches!(Layout::new(&bad), Err(Error::Geometry(_))), "{bad:?}");
        }
    }
}
