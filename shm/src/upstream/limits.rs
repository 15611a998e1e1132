//! Limits of several pools together, the reserve of one, and connections that nobody has used for long.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::{Duration, Instant};

use super::{POSTMASTER, UpstreamPlaceIndex, UpstreamPoolIndex};
use crate::segment::Segment;

/// What limits a pool beside its size. 0 stands for no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UpstreamLimits {
    /// A hash of its database: pools of one database have the same.
    pub database: u64,
    /// A hash of its user.
    pub user: u64,
    /// Places of all pools of that database.
    pub database_limit: u32,
    /// Places of all pools of that user.
    pub user_limit: u32,
    /// Places beyond the pool's size, for sessions that have waited for longer than `reserve_after_ms`.
    pub reserve: u32,
    /// See `reserve`; 0: the reserve is not used.
    pub reserve_after_ms: u32,
}

impl Segment {
    /// Sets a pool's limits.
    pub fn limit_upstream_pool(&self, pool: UpstreamPoolIndex, limits: &UpstreamLimits) {
        let words = self.upstream_pool_words(pool.0);
        words.database.store(limits.database, SeqCst);
        words.user.store(limits.user, SeqCst);
        words.database_limit.store(limits.database_limit, Relaxed);
        words.user_limit.store(limits.user_limit, Relaxed);
        words.reserve.store(limits.reserve, Relaxed);
        words.reserve_after_ms.store(limits.reserve_after_ms, Relaxed);
    }

    /// Places that a pool may have.
    pub(super) fn most_places(&self, pool: UpstreamPoolIndex, may_reserve: bool) -> u32 {
        let words = self.upstream_pool_words(pool.0);
        let reserve = if may_reserve { words.reserve.load(Relaxed) } else { 0 };
        words.limit.load(Relaxed).saturating_add(reserve)
    }

    /// When who begins to wait now may use the reserve.
    pub(super) fn reserve_at(&self, pool: UpstreamPoolIndex) -> Option<Instant> {
        let words = self.upstream_pool_words(pool.0);
        let after_ms = words.reserve_after_ms.load(Relaxed);
        (after_ms > 0 && words.reserve.load(Relaxed) > 0)
            .then(|| Instant::now() + Duration::from_millis(u64::from(after_ms)))
    }

    /// Whether the pool's database and its user have as many places as they may.
    pub(super) fn full_groups(&self, pool: UpstreamPoolIndex) -> [bool; 2] {
        let words = self.upstream_pool_words(pool.0);
        let (mut of_database, mut of_user) = (0_u32, 0_u32);
        for (_, place) in self.places() {
            let Some(other) = place.pool.load(SeqCst).checked_sub(1) else { continue };
            let other = self.upstream_pool_words(other);
            of_database += u32::from(other.database.load(SeqCst) == words.database.load(SeqCst));
            of_user += u32::from(other.user.load(SeqCst) == words.user.load(SeqCst));
        }
        let is_full = |count, limit| limit > 0 && count >= limit;
        [is_full(of_database, words.database_limit.load(Relaxed)), is_full(of_user, words.user_limit.load(Relaxed))]
    }

    /// Whether the pool may have a place that is `of` another one now (counted from 1; 0: none): one that counts already
    /// where there is no room for one more.
    pub(super) fn makes_room(&self, full: [bool; 2], pool: UpstreamPoolIndex, of: u32) -> bool {
        if full == [false; 2] {
            return true;
        }
        let Some(other) = of.checked_sub(1) else { return false };
        let (words, other) = (self.upstream_pool_words(pool.0), self.upstream_pool_words(other));
        let [database, user] = full;
        (!database || other.database.load(SeqCst) == words.database.load(SeqCst))
            && (!user || other.user.load(SeqCst) == words.user.load(SeqCst))
    }

    /// When the place's connection was given back last (monotonic clock).
    pub fn upstream_returned_us(&self, index: UpstreamPlaceIndex) -> u64 {
        self.place(index).returned_us.load(Relaxed)
    }

    /// For the postmaster: closes, by `close`, the connections that nobody has used for `timeout_us`. Returns when to come
    /// again: in how many microseconds at most the next one may be due.
    pub fn close_idle_upstream(&self, timeout_us: u64, now_us: u64, mut close: impl FnMut(UpstreamPlaceIndex)) -> u64 {
        let mut next_us = timeout_us;
        for (index, place) in self.places() {
            if place.pool.load(SeqCst) == 0 || place.owner.load(SeqCst) != 0 {
                continue;
            }
            let idle_us = || now_us.saturating_sub(place.returned_us.load(Relaxed));
            if idle_us() < timeout_us {
                next_us = next_us.min(timeout_us - idle_us());
                continue;
            }
            if !self.take_idle_upstream(POSTMASTER, index) {
                continue;
            }
            // Somebody may have used it between the two looks.
            if idle_us() < timeout_us {
                self.give_upstream(POSTMASTER, index);
                continue;
            }
            close(index);
            self.discard_upstream(POSTMASTER, index);
        }
        next_us
    }
}
