//! What an administrator has ordered of a database: that its connections are not lent for a while (paused), that it takes
//! no new clients (disabled), that connections of before are not lent again.
//!
//! The table's first entry stands for all databases. An entry is taken on the first order and stays.
//!
//! Who takes a place looks for an order before and after it has become the owner; who orders sets the word first and
//! looks at the owners afterwards. So a paused database whose places have no owner has none until it is resumed.

use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};

use super::{UpstreamPlaceIndex, UpstreamPoolIndex};
use crate::segment::Segment;

/// Databases that there may be orders for.
pub const UPSTREAM_ORDERS: u32 = 256;

/// One database's orders.
#[repr(C, align(64))]
pub(crate) struct OrderWords {
    /// A hash of the database; 0: free, or all databases.
    key: AtomicU64,
    /// Connections made before are not lent again (monotonic clock).
    renewed_us: AtomicU64,
    /// Bits: see [`UpstreamOrder`].
    orders: AtomicU32,
    unused: [AtomicU32; 11],
}

const _: () = assert!(size_of::<OrderWords>() == 64);

/// What lasts until it is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum UpstreamOrder {
    /// No connection is lent.
    Paused = 1,
    /// No new client is let in.
    Disabled = 2,
}

impl Segment {
    fn orders_of(&self, database: u64) -> Option<&'static OrderWords> {
        let entries = (1..UPSTREAM_ORDERS).map(|index| self.upstream_order_words(index));
        entries.take_while(|words| words.key.load(SeqCst) != 0).find(|words| words.key.load(SeqCst) == database)
    }

    /// The entry of a database, or of all; `None` when all are taken.
    fn open_orders(&self, database: Option<u64>) -> Option<&'static OrderWords> {
        let Some(database) = database else { return Some(self.upstream_order_words(0)) };
        (1..UPSTREAM_ORDERS).map(|index| self.upstream_order_words(index)).find(|words| {
            words.key.compare_exchange(0, database, SeqCst, SeqCst).map_or_else(|found| found == database, |_| true)
        })
    }

    /// Gives an order for a database, by the hash that its pools have, or for all. Returns whether it was given before;
    /// `None` where there is no room for one more database.
    pub fn order_upstream(&self, database: Option<u64>, order: UpstreamOrder) -> Option<bool> {
        let words = self.open_orders(database)?;
        Some(words.orders.fetch_or(order as u32, SeqCst) & order as u32 != 0)
    }

    /// Revokes it. Returns whether it was given.
    pub fn revoke_upstream(&self, database: Option<u64>, order: UpstreamOrder) -> bool {
        let words = database.map_or_else(|| Some(self.upstream_order_words(0)), |database| self.orders_of(database));
        let Some(words) = words else { return false };
        let was_given = words.orders.fetch_and(!(order as u32), SeqCst) & order as u32 != 0;
        // Who waits can have what is free.
        self.used_pools().for_each(|pool| self.wake_next_waiter(UpstreamPoolIndex(pool)));
        was_given
    }

    /// Connections of a database, or of all, made up to `now_us` are not lent again. False where there is no room.
    pub fn renew_upstream_of(&self, database: u64, now_us: u64) -> bool {
        self.open_orders(Some(database)).is_some_and(|words| {
            words.renewed_us.fetch_max(now_us, Relaxed);
            true
        })
    }

    /// Whether an order for the database, or for all, is given.
    pub fn is_upstream_ordered(&self, database: Option<u64>, order: UpstreamOrder) -> bool {
        let is_given = |words: &OrderWords| words.orders.load(SeqCst) & order as u32 != 0;
        is_given(self.upstream_order_words(0))
            || database.and_then(|database| self.orders_of(database)).is_some_and(is_given)
    }

    /// No connection of the pool is lent. A pool that belongs to no database is never paused.
    pub(super) fn is_paused(&self, pool: UpstreamPoolIndex) -> bool {
        let database = self.upstream_pool_words(pool.0).database.load(SeqCst);
        database != 0 && self.is_upstream_ordered(Some(database), UpstreamOrder::Paused)
    }

    /// Up to when a place's connection must have been made for it not to be lent again.
    pub fn upstream_place_renewed_us(&self, index: UpstreamPlaceIndex) -> u64 {
        let database = self.place_database(index).and_then(|database| self.orders_of(database));
        database.map_or(0, |words| words.renewed_us.load(Relaxed))
    }

    fn place_database(&self, index: UpstreamPlaceIndex) -> Option<u64> {
        let pool = self.place(index).pool.load(SeqCst).checked_sub(1)?;
        Some(self.upstream_pool_words(pool).database.load(SeqCst)).filter(|database| *database != 0)
    }

    /// The places of a database, or of all databases, that have a connection or are about to.
    pub fn upstream_places_of(&self, database: Option<u64>) -> Vec<UpstreamPlaceIndex> {
        let is_its = |index: &UpstreamPlaceIndex| {
            self.place_database(*index).is_some_and(|of| database.is_none_or(|database| of == database))
        };
        self.places().map(|(index, _)| index).filter(is_its).collect()
    }
}
