//! Connections to upstream servers that workers lend one another: who has which, and who waits for one.
//!
//! A *place* stands for one upstream connection. Each place has a locker outside of the segment, a socket that can hold
//! one message with a descriptor; the rules here say who may touch it:
//!
//! * The owner word of a place names the process that has it. Only the owner touches the place's locker, whether it holds
//!   the connection, is about to take it out or has just put it back.
//! * A place of a pool without an owner has its connection in its locker. A place without a pool has none.
//! * Whoever is handed a place finds out by looking into the locker whether there is a connection to use or one to make.
//! * Where no place is left, a pool takes one over that another pool has no use for at the moment. What is in its locker
//!   was made for that one: who takes a connection out has to see whether it is its pool's, and closes it if not.
//!
//! So after a kill -9 at any instant the truth is in the locker: either the connection is there, whole, between two
//! uses, or it went with the process (whose descriptors the kernel closed). [`Segment::reap`] names the places that a
//! dead process owned; the postmaster looks into each locker and calls [`Segment::settle_upstream`].
//!
//! Waiting is first come, first served. A waiter's word (one for each slot) holds its pool and ticket. Who gives a place
//! back makes the waiter with the lowest ticket its owner and then turns that waiter's word into a grant, by one
//! compare-and-swap that a waiter which gives up meanwhile makes fail. A newcomer takes a free place only where nobody
//! waits.

use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::time::{Duration, Instant};

use crate::activity::WaitEvent;
use crate::clock;
use crate::segment::Segment;
use crate::sequence::{Sequence, Text, readable};
use crate::slot::{Generation, Owner, SlotIndex};
use crate::step::step;
use crate::writer::LockError;

mod limits;
mod orders;

pub use limits::UpstreamLimits;
pub(crate) use orders::OrderWords;
pub use orders::{UPSTREAM_ORDERS, UpstreamOrder};

/// Places for upstream connections, of all pools together.
pub const UPSTREAM_PLACES: u32 = 256;
/// Pools: pairs of database and user. Those that nobody has used cost nothing.
pub const UPSTREAM_POOLS: u32 = 1024;
/// Bytes of a pool's name.
const NAME_WORDS: usize = 24;

/// The number of a pool, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpstreamPoolIndex(pub u32);

/// The number of a place, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpstreamPlaceIndex(pub u32);

/// One place. 64 bytes, so that two do not share a cache line.
#[repr(C, align(64))]
pub(crate) struct Place {
    /// Who has it; 0: nobody.
    owner: AtomicU64,
    /// Its pool, counted from 1; 0: none. Written by the owner only.
    pool: AtomicU32,
    /// Process id of the server's process at the other end, for views and the log.
    backend_pid: AtomicU32,
    /// When its owner got it, or gave it back (monotonic clock).
    changed_us: AtomicU64,
    /// How often it was lent.
    uses: AtomicU64,
    /// 1: its owner keeps it to the end of its session, in pool mode "transaction".
    pinned: AtomicU64,
    /// When it was given back (monotonic clock).
    returned_us: AtomicU64,
    unused: [AtomicU64; 2],
}

/// One pool.
#[repr(C, align(128))]
pub(crate) struct PoolWords {
    /// A hash of database and user; 0: the pool is free.
    key: AtomicU64,
    /// Who counts places to take one more; 0: nobody. The first pool's is for all pools: limits are of several together.
    creator: AtomicU64,
    /// The next ticket.
    tickets: AtomicU64,
    /// How often somebody got a place, and how often only after waiting; the time they waited.
    leases: AtomicU64,
    waits: AtomicU64,
    waited_us: AtomicU64,
    /// How often a session kept its place.
    pins: AtomicU64,
    /// What its sessions have carried: see [`UpstreamTraffic`].
    transactions: AtomicU64,
    queries: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
    transactions_us: AtomicU64,
    queries_us: AtomicU64,
    /// See [`UpstreamLimits`].
    database: AtomicU64,
    user: AtomicU64,
    database_limit: AtomicU32,
    user_limit: AtomicU32,
    reserve: AtomicU32,
    reserve_after_ms: AtomicU32,
    /// Places that it may have.
    limit: AtomicU32,
    /// 1: that its server refuses something is in the log already.
    noted: AtomicU32,
    name_sequence: Sequence,
    name: Text<NAME_WORDS>,
}

const _: () = assert!(size_of::<Place>() == 64);
const _: () = assert!(size_of::<PoolWords>().is_multiple_of(128));

/// The postmaster as an owner: it has no slot.
const POSTMASTER: Owner = Owner { slot: SlotIndex(u32::MAX - 1), generation: Generation(0) };

/// A waiter's word: what its two highest bits say.
const WAITING: u64 = 1 << 62;
const GRANTED: u64 = 2 << 62;
const KIND: u64 = 3 << 62;
const POOL_SHIFT: u32 = 48;
const TICKET: u64 = (1 << POOL_SHIFT) - 1;

/// What sessions of a pool have carried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UpstreamTraffic {
    /// Transactions and queries that came to their end.
    pub transactions: u64,
    /// See `transactions`.
    pub queries: u64,
    /// Bytes of clients' messages, and of those for clients.
    pub received: u64,
    /// See `received`.
    pub sent: u64,
    /// Time within transactions, and within queries.
    pub transactions_us: u64,
    /// See `transactions_us`.
    pub queries_us: u64,
}

/// A pool as views show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamPoolFacts {
    /// "database user", as it was first claimed.
    pub name: String,
    /// Places that have an owner, and that have none.
    pub lent: u32,
    /// Connections that nobody uses.
    pub idle: u32,
    /// Of `lent`, those that a session keeps to its end, in pool mode "transaction".
    pub pinned: u32,
    /// Sessions that wait for one.
    pub waiting: u32,
    /// Places that it may have.
    pub limit: u32,
    /// Times that a place was got; of those, after waiting; and how long that took altogether.
    pub leases: u64,
    /// See `leases`.
    pub waits: u64,
    /// See `leases`.
    pub waited_us: u64,
    /// How often a session came to keep its connection.
    pub pins: u64,
    /// What its sessions have carried.
    pub traffic: UpstreamTraffic,
}

/// A place with a connection, or about to have one, as views show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamPlaceFacts {
    /// Its number.
    pub index: UpstreamPlaceIndex,
    /// Whose it is.
    pub pool: UpstreamPoolIndex,
    /// The worker that has it now.
    pub owner: Option<SlotIndex>,
    /// The server's process behind it, where the server has told.
    pub pid: u32,
    /// When it was lent or given back last (monotonic clock).
    pub changed_us: u64,
    /// Whether its session keeps it to the end, in pool mode "transaction".
    pub is_pinned: bool,
}

impl Segment {
    fn place(&self, index: UpstreamPlaceIndex) -> &'static Place {
        self.upstream_place(index.0)
    }

    fn places(&self) -> impl Iterator<Item = (UpstreamPlaceIndex, &'static Place)> {
        let segment = *self;
        (0..UPSTREAM_PLACES).map(UpstreamPlaceIndex).map(move |index| (index, segment.place(index)))
    }

    /// Pools that were ever used: they are taken from the first on, and stay.
    fn used_pools(&self) -> impl Iterator<Item = u32> {
        let segment = *self;
        (0..UPSTREAM_POOLS).take_while(move |index| segment.upstream_pool_words(*index).key.load(SeqCst) != 0)
    }

    /// Adds to what a pool's sessions have carried.
    pub fn count_upstream(&self, pool: UpstreamPoolIndex, more: &UpstreamTraffic) {
        let words = self.upstream_pool_words(pool.0);
        for (word, count) in [
            (&words.transactions, more.transactions),
            (&words.queries, more.queries),
            (&words.received, more.received),
            (&words.sent, more.sent),
            (&words.transactions_us, more.transactions_us),
            (&words.queries_us, more.queries_us),
        ] {
            if count > 0 {
                word.fetch_add(count, Relaxed);
            }
        }
    }

    /// Every place that belongs to a pool.
    pub fn upstream_places(&self) -> Vec<UpstreamPlaceFacts> {
        let facts = |(index, place): (UpstreamPlaceIndex, &Place)| {
            let pool = place.pool.load(SeqCst).checked_sub(1)?;
            let owner = place.owner.load(SeqCst);
            Some(UpstreamPlaceFacts {
                index,
                pool: UpstreamPoolIndex(pool),
                owner: Owner::unpack(owner).filter(|owner| *owner != POSTMASTER).map(|owner| owner.slot),
                pid: place.backend_pid.load(Relaxed),
                changed_us: place.changed_us.load(Relaxed),
                is_pinned: owner != 0 && place.pinned.load(Relaxed) == 1,
            })
        };
        self.places().filter_map(facts).collect()
    }

    /// The worker processes that wait for a connection, each with the pool.
    pub fn upstream_waiting(&self) -> Vec<(SlotIndex, UpstreamPoolIndex)> {
        let waiting = |(at, word): (usize, &AtomicU64)| {
            let word = word.load(SeqCst);
            let slot = SlotIndex(u32::try_from(at).ok()?);
            (word & KIND == WAITING).then(|| (slot, UpstreamPoolIndex(pool_of(word))))
        };
        self.upstream_waiters().enumerate().filter_map(waiting).collect()
    }

    /// The pool of that key, taking a free one on first use; `None` when all are taken. `name` is for views.
    pub fn open_upstream_pool(&self, key: u64, name: &str, limit: u32) -> Option<UpstreamPoolIndex> {
        let key = key.max(1);
        for index in 0..UPSTREAM_POOLS {
            let pool = self.upstream_pool_words(index);
            let found = match pool.key.load(SeqCst) {
                0 => pool.key.compare_exchange(0, key, SeqCst, SeqCst).err().unwrap_or(key),
                found => found,
            };
            if found == key {
                if pool.limit.swap(limit, Relaxed) == 0 {
                    pool.name_sequence.write(|| pool.name.store(name));
                }
                return Some(UpstreamPoolIndex(index));
            }
        }
        None
    }

    /// Gets a place of a pool: one with a connection in its locker, the one used last first; else, where the pool has
    /// fewer than its limit, an empty one; else waits until somebody gives one back. `interrupt` is asked before each
    /// sleep and after each wake-up; whatever raises its condition sets the latch of `me` afterwards. Only the first
    /// `places` places have lockers. `before`: the place that `me` has used last, which is preferred where it is free: the
    /// server's process behind it runs where this one does.
    pub fn lease_upstream(
        &self,
        me: Owner,
        pool: UpstreamPoolIndex,
        places: u32,
        before: Option<UpstreamPlaceIndex>,
        deadline: Option<Instant>,
        interrupt: &mut dyn FnMut() -> bool,
    ) -> Result<UpstreamPlaceIndex, LockError> {
        let words = self.upstream_pool_words(pool.0);
        if self.next_waiter(pool).is_none()
            && let Some(place) = self.take_known(me, pool, before).or_else(|| self.take_place(me, pool, places, false))
        {
            words.leases.fetch_add(1, Relaxed);
            return Ok(place);
        }
        let began_us = clock::monotonic_us();
        let ticket = words.tickets.fetch_add(1, SeqCst) & TICKET;
        let word = WAITING | u64::from(pool.0) << POOL_SHIFT | ticket;
        let waiter = self.upstream_waiter(me.slot);
        let slot = self.slot(me.slot);
        let before = slot.wait_event();
        slot.set_wait_event(WaitEvent::Upstream);
        waiter.store(word, SeqCst);
        step();
        let result = self.wait_for_place(me, (pool, places), word, deadline, interrupt);
        step();
        slot.set_wait_event(before);
        words.waits.fetch_add(1, Relaxed);
        words.waited_us.fetch_add(clock::monotonic_us().saturating_sub(began_us), Relaxed);
        if result.is_ok() {
            words.leases.fetch_add(1, Relaxed);
        } else {
            // It may have been its turn, and a place may be free.
            self.wake_next_waiter(pool);
        }
        result
    }

    fn wait_for_place(
        &self,
        me: Owner,
        (pool, places): (UpstreamPoolIndex, u32),
        word: u64,
        deadline: Option<Instant>,
        interrupt: &mut dyn FnMut() -> bool,
    ) -> Result<UpstreamPlaceIndex, LockError> {
        let waiter = self.upstream_waiter(me.slot);
        let latch = self.slot(me.slot).latch();
        let reserve_at = self.reserve_at(pool);
        loop {
            // Before the conditions: what comes after it makes `wait` return.
            let seen = latch.value();
            let found = waiter.load(SeqCst);
            if found & KIND == GRANTED {
                step();
                if self.is_owner(me, granted(found)) {
                    waiter.store(0, SeqCst);
                    return Ok(granted(found));
                }
                waiter.store(word, SeqCst);
                continue;
            }
            if self.next_waiter(pool) == Some(me.slot)
                && let Some(place) =
                    self.take_place(me, pool, places, reserve_at.is_some_and(|at| at <= Instant::now()))
            {
                step();
                // Granted another one at the same moment: one is enough. (The same one, where the reaper took this for a
                // grant that somebody left half done.)
                if let Err(other) = waiter.compare_exchange(word, 0, SeqCst, SeqCst) {
                    step();
                    waiter.store(0, SeqCst);
                    if granted(other) != place && self.is_owner(me, granted(other)) {
                        self.give_upstream(me, granted(other));
                    }
                }
                // The one behind may have its turn as well, and does not know.
                self.wake_next_waiter(pool);
                return Ok(place);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let reason = if interrupt() {
                Some(LockError::Interrupted)
            } else if left == Some(Duration::ZERO) {
                Some(LockError::TimedOut)
            } else {
                None
            };
            if let Some(reason) = reason {
                return match waiter.compare_exchange(word, 0, SeqCst, SeqCst) {
                    Ok(_) => Err(reason),
                    // It came just now: the caller decides what to do with it.
                    Err(other) => {
                        step();
                        waiter.store(0, SeqCst);
                        if self.is_owner(me, granted(other)) { Ok(granted(other)) } else { Err(reason) }
                    }
                };
            }
            step();
            let until_reserve = reserve_at.map(|at| at.saturating_duration_since(Instant::now()));
            let until_reserve = until_reserve.filter(|left| !left.is_zero());
            latch.wait(seen, [left, until_reserve].into_iter().flatten().min());
        }
    }

    /// Whether a grant is one. The reaper, which finishes what a dead process left half done, takes an owner that waits for
    /// one that was not told; it may have looked at the owner before that gave the place away and began to wait anew.
    fn is_owner(&self, me: Owner, index: UpstreamPlaceIndex) -> bool {
        self.place(index).owner.load(SeqCst) == me.pack()
    }

    /// That place, if it is the pool's and free.
    fn take_known(
        &self,
        me: Owner,
        pool: UpstreamPoolIndex,
        index: Option<UpstreamPlaceIndex>,
    ) -> Option<UpstreamPlaceIndex> {
        let is_right = |of: u32| of == pool.0 + 1 && !self.is_paused(pool);
        index.filter(|index| {
            is_right(self.place(*index).pool.load(SeqCst)) && self.take_over(me, *index, is_right, pool)
        })
    }

    /// A free place of the pool, with a connection if there is one, else an empty one within the limit. `may_reserve`: the
    /// reserve counts as well.
    fn take_place(
        &self,
        me: Owner,
        pool: UpstreamPoolIndex,
        places: u32,
        may_reserve: bool,
    ) -> Option<UpstreamPlaceIndex> {
        loop {
            if self.is_paused(pool) {
                return None;
            }
            // The one used last is the warmest; those that nobody needs grow old, and are closed.
            let free = self
                .places()
                .filter(|(_, place)| place.pool.load(SeqCst) == pool.0 + 1 && place.owner.load(SeqCst) == 0);
            let Some((index, _)) = free.max_by_key(|(_, place)| place.changed_us.load(Relaxed)) else {
                let taken = self.take_empty(me, pool, places, may_reserve)?;
                step();
                // Paused between the two looks.
                if self.is_paused(pool) {
                    self.give_upstream(me, taken);
                    return None;
                }
                return Some(taken);
            };
            if self.take_over(me, index, |of| of == pool.0 + 1 && !self.is_paused(pool), pool) {
                return Some(index);
            }
        }
    }

    /// A place without a connection, if the pool has fewer than its limit, and its database and user have fewer than theirs.
    fn take_empty(
        &self,
        me: Owner,
        pool: UpstreamPoolIndex,
        places: u32,
        may_reserve: bool,
    ) -> Option<UpstreamPlaceIndex> {
        let limit = self.most_places(pool, may_reserve);
        // One counts at a time, or two would find the same room. It takes a microsecond; who finds somebody at it comes
        // again, or waits for a place to be given back.
        let creator = &self.upstream_pool_words(0).creator;
        loop {
            if self.count(pool) >= limit {
                return None;
            }
            if creator.compare_exchange(0, me.pack(), SeqCst, SeqCst).is_ok() {
                break;
            }
            std::thread::yield_now();
        }
        step();
        let mut taken = None;
        if self.count(pool) < limit {
            let full = self.full_groups(pool);
            let is_right = |of: u32| of != pool.0 + 1 && self.makes_room(full, pool, of);
            let candidates = || self.places().take(places as usize).filter(|(_, place)| place.owner.load(SeqCst) == 0);
            let empty = candidates().filter(|(_, place)| place.pool.load(SeqCst) == 0 && is_right(0));
            taken = empty.map(|(index, _)| index).find(|index| self.take_over(me, *index, |of| of == 0, pool));
            // None is left: the one that another pool has not used for longest.
            while taken.is_none() {
                let others = candidates().filter(|(_, place)| is_right(place.pool.load(SeqCst)));
                let Some((index, _)) = others.min_by_key(|(_, place)| place.changed_us.load(Relaxed)) else { break };
                taken = self.take_over(me, index, is_right, pool).then_some(index);
            }
        }
        creator.store(0, SeqCst);
        taken
    }

    /// Makes a place without an owner the pool's if it is of the right one (counted from 1; 0: none).
    fn take_over(
        &self,
        me: Owner,
        index: UpstreamPlaceIndex,
        is_right: impl Fn(u32) -> bool,
        pool: UpstreamPoolIndex,
    ) -> bool {
        let place = self.place(index);
        if place.owner.compare_exchange(0, me.pack(), SeqCst, SeqCst).is_err() {
            return false;
        }
        step();
        // It may have gone to another pool between the two looks.
        if !is_right(place.pool.load(SeqCst)) {
            self.give_upstream(me, index);
            return false;
        }
        place.pool.store(pool.0 + 1, SeqCst);
        step();
        place.begin();
        true
    }

    /// Makes `me` the owner of a place whose connection nobody uses, so that it can be closed; the place is then to be
    /// discarded. False where there is none, or somebody uses it.
    pub fn take_idle_upstream(&self, me: Owner, index: UpstreamPlaceIndex) -> bool {
        let place = self.place(index);
        if place.pool.load(SeqCst) == 0 || place.owner.compare_exchange(0, me.pack(), SeqCst, SeqCst).is_err() {
            return false;
        }
        step();
        // It may have been discarded between the two looks.
        if place.pool.load(SeqCst) == 0 {
            self.discard_upstream(me, index);
            return false;
        }
        place.begin();
        true
    }

    /// Places that a pool has.
    fn count(&self, pool: UpstreamPoolIndex) -> u32 {
        let places = self.places().filter(|(_, place)| place.pool.load(SeqCst) == pool.0 + 1);
        u32::try_from(places.count()).unwrap_or(u32::MAX)
    }

    /// Gives a place back whose connection is in its locker. The one who has waited longest gets it.
    pub fn give_upstream(&self, me: Owner, index: UpstreamPlaceIndex) {
        let place = self.place(index);
        debug_assert_eq!(place.owner.load(SeqCst), me.pack(), "only the owner gives a place back");
        let now_us = clock::monotonic_us();
        place.changed_us.store(now_us, Relaxed);
        place.returned_us.store(now_us, Relaxed);
        let pool = place.pool.load(SeqCst).checked_sub(1).map(UpstreamPoolIndex);
        loop {
            match pool.and_then(|pool| self.next_served(pool)) {
                Some(next) => {
                    if self.grant(me.pack(), index, next) {
                        return;
                    }
                }
                None => {
                    step();
                    if place.owner.compare_exchange(me.pack(), 0, SeqCst, SeqCst).is_err() {
                        return;
                    }
                    step();
                    // Who began to wait meanwhile has seen the place free, or is seen here.
                    let Some(_) = pool.and_then(|pool| self.next_served(pool)) else {
                        self.wake_other_pools();
                        return;
                    };
                    if place.owner.compare_exchange(0, me.pack(), SeqCst, SeqCst).is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Gives a place back that has no connection any more. Another pool may use it, or the next waiter of its own.
    pub fn discard_upstream(&self, me: Owner, index: UpstreamPlaceIndex) {
        let place = self.place(index);
        debug_assert_eq!(place.owner.load(SeqCst), me.pack(), "only the owner gives a place back");
        let pool = place.pool.load(SeqCst).checked_sub(1).map(UpstreamPoolIndex);
        place.backend_pid.store(0, Relaxed);
        place.pool.store(0, SeqCst);
        step();
        place.owner.store(0, SeqCst);
        step();
        if let Some(pool) = pool {
            self.wake_next_waiter(pool);
        }
        self.wake_other_pools();
    }

    /// Makes `next` the owner of a place and tells it. False if `next` has given up: the place is `from`'s again.
    fn grant(&self, from: u64, index: UpstreamPlaceIndex, next: SlotIndex) -> bool {
        let place = self.place(index);
        let waiter = self.upstream_waiter(next);
        let word = waiter.load(SeqCst);
        let pool = place.pool.load(SeqCst);
        if word & KIND != WAITING || pool_of(word) + 1 != pool {
            return false;
        }
        let to = self.owner(next).pack();
        step();
        if place.owner.compare_exchange(from, to, SeqCst, SeqCst).is_err() {
            // Somebody else has dealt with it.
            return true;
        }
        place.begin();
        step();
        if waiter.compare_exchange(word, GRANTED | u64::from(index.0), SeqCst, SeqCst).is_ok() {
            step();
            self.slot(next).latch().set();
            return true;
        }
        // It has given up. Its death would have given the place to the reaper.
        place.owner.compare_exchange(to, from, SeqCst, SeqCst).is_err()
    }

    /// The slot that has waited longest for a place of the pool.
    fn next_waiter(&self, pool: UpstreamPoolIndex) -> Option<SlotIndex> {
        let waiting = self.upstream_waiters().enumerate().filter_map(|(slot, word)| {
            let word = word.load(SeqCst);
            (word & KIND == WAITING && pool_of(word) == pool.0).then_some((word & TICKET, slot))
        });
        waiting.min().and_then(|(_, slot)| u32::try_from(slot).ok()).map(SlotIndex)
    }

    /// The same, unless the pool is paused.
    fn next_served(&self, pool: UpstreamPoolIndex) -> Option<SlotIndex> {
        self.next_waiter(pool).filter(|_| !self.is_paused(pool))
    }

    /// Has the next in line look for itself.
    fn wake_next_waiter(&self, pool: UpstreamPoolIndex) {
        if let Some(next) = self.next_waiter(pool) {
            self.slot(next).latch().set();
        }
    }

    /// Has the next in line of each pool that may have more places look for itself: there is one without an owner.
    fn wake_other_pools(&self) {
        if self.upstream_waiters().all(|word| word.load(SeqCst) & KIND != WAITING) {
            return;
        }
        for pool in self.used_pools().map(UpstreamPoolIndex) {
            if self.count(pool) < self.most_places(pool, true) {
                self.wake_next_waiter(pool);
            }
        }
    }

    /// Notes whose process is at the other end of a place's connection.
    pub fn set_upstream_pid(&self, index: UpstreamPlaceIndex, pid: u32) {
        self.place(index).backend_pid.store(pid, Relaxed);
    }

    /// Notes that the place's owner keeps it to the end of its session.
    pub fn pin_upstream(&self, index: UpstreamPlaceIndex) {
        let place = self.place(index);
        place.pinned.store(1, Relaxed);
        if let Some(pool) = place.pool.load(SeqCst).checked_sub(1) {
            self.upstream_pool_words(pool).pins.fetch_add(1, Relaxed);
        }
    }

    /// Whether nobody before has noted for this pool what its server refuses: whoever is told so writes it to the log.
    pub fn note_upstream_refusal(&self, pool: UpstreamPoolIndex) -> bool {
        self.upstream_pool_words(pool.0).noted.swap(1, Relaxed) == 0
    }

    /// Takes the dead process out of the queue and names the places that it owned, which stay its until each is
    /// settled. Grants that it left half done are finished.
    pub(crate) fn reap_upstream(&self, dead: Owner) -> Vec<UpstreamPlaceIndex> {
        self.upstream_waiter(dead.slot).store(0, SeqCst);
        for pool in self.used_pools() {
            let words = self.upstream_pool_words(pool);
            if words.creator.load(Relaxed) == dead.pack() {
                words.creator.store(0, SeqCst);
            }
        }
        let mut orphans = Vec::new();
        for (index, place) in self.places() {
            let owner = place.owner.load(SeqCst);
            if owner == dead.pack() {
                orphans.push(index);
            } else if let Some(other) = Owner::unpack(owner).filter(|other| *other != POSTMASTER) {
                // A session has one place at a time: an owner that waits has been given this one, and not been told.
                let waiter = self.upstream_waiter(other.slot);
                let word = waiter.load(SeqCst);
                if word & KIND == WAITING && pool_of(word) + 1 == place.pool.load(SeqCst) {
                    // Who fails here was told, or has given up, in the meantime.
                    let _ = waiter.compare_exchange(word, GRANTED | u64::from(index.0), SeqCst, SeqCst);
                }
                if word != 0 {
                    self.slot(other.slot).latch().set();
                }
            }
        }
        // It may have been its turn.
        for pool in self.used_pools() {
            self.wake_next_waiter(UpstreamPoolIndex(pool));
        }
        orphans
    }

    /// Frees a place that a dead process owned. `has_connection`: what the look into its locker told.
    pub fn settle_upstream(&self, dead: Owner, index: UpstreamPlaceIndex, has_connection: bool) {
        if self.place(index).owner.load(SeqCst) != dead.pack() {
            return;
        }
        if has_connection { self.give_upstream(dead, index) } else { self.discard_upstream(dead, index) }
    }

    /// The pools in use, for views.
    pub fn upstream_pools(&self) -> Vec<(UpstreamPoolIndex, UpstreamPoolFacts)> {
        let mut all = Vec::new();
        for index in self.used_pools() {
            let words = self.upstream_pool_words(index);
            let (mut lent, mut idle, mut pinned) = (0, 0, 0);
            for (_, place) in self.places().filter(|(_, place)| place.pool.load(SeqCst) == index + 1) {
                if place.owner.load(SeqCst) == 0 {
                    idle += 1;
                } else {
                    lent += 1;
                    pinned += u32::from(place.pinned.load(Relaxed) == 1);
                }
            }
            let waiting = self.upstream_waiters().filter(|word| {
                let word = word.load(SeqCst);
                word & KIND == WAITING && pool_of(word) == index
            });
            all.push((
                UpstreamPoolIndex(index),
                UpstreamPoolFacts {
                    name: words.name_sequence.read(|| words.name.load()).map(readable).unwrap_or_default(),
                    lent,
                    idle,
                    pinned,
                    waiting: u32::try_from(waiting.count()).unwrap_or(u32::MAX),
                    limit: words.limit.load(Relaxed),
                    leases: words.leases.load(Relaxed),
                    waits: words.waits.load(Relaxed),
                    waited_us: words.waited_us.load(Relaxed),
                    pins: words.pins.load(Relaxed),
                    traffic: UpstreamTraffic {
                        transactions: words.transactions.load(Relaxed),
                        queries: words.queries.load(Relaxed),
                        received: words.received.load(Relaxed),
                        sent: words.sent.load(Relaxed),
                        transactions_us: words.transactions_us.load(Relaxed),
                        queries_us: words.queries_us.load(Relaxed),
                    },
                },
            ));
        }
        all
    }
}

impl Place {
    fn begin(&self) {
        self.pinned.store(0, Relaxed);
        self.changed_us.store(clock::monotonic_us(), Relaxed);
        self.uses.fetch_add(1, Relaxed);
    }
}

fn pool_of(word: u64) -> u32 {
    ((word & !KIND) >> POOL_SHIFT) as u32
}

#[expect(clippy::cast_possible_truncation, reason = "a place's number")]
fn granted(word: u64) -> UpstreamPlaceIndex {
    UpstreamPlaceIndex(word as u32)
}

#[cfg(test)]
mod tests;
