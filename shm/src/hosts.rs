//! What all workers know of the upstream servers: when one could not be reached last, and in which role it was found.
//!
//! A host takes an entry on first use and keeps it. All of it is a hint: whoever connects finds out by itself, so an
//! entry that a killed process left as it was does no harm.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use crate::segment::Segment;
use crate::upstream::{UPSTREAM_PLACES, UpstreamPlaceIndex};

/// Hosts that are remembered. Those beyond are tried each time.
pub const UPSTREAM_HOSTS: usize = 256;

/// The number of a host, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamHostIndex(u32);

#[repr(C, align(64))]
struct HostWords {
    /// A hash of host and port; 0: the entry is free.
    key: AtomicU64,
    /// When it could not be reached last (monotonic clock); 0: it was reached since.
    failed_us: AtomicU64,
    /// The role that was seen last, below the moment (monotonic clock): see [`KNOWN`].
    role: AtomicU64,
    unused: [AtomicU64; 5],
}

/// The table.
#[repr(C, align(128))]
pub(crate) struct Hosts {
    /// Connections made so far, for turns.
    turns: AtomicU64,
    unused: [AtomicU64; 7],
    hosts: [HostWords; UPSTREAM_HOSTS],
    /// Of each place, the host that its connection leads to, counted from 1. Written by the place's owner.
    places: [AtomicU32; UPSTREAM_PLACES as usize],
}

const _: () = assert!(size_of::<Hosts>().is_multiple_of(128));

const KNOWN: u64 = 1;
const HOT_STANDBY: u64 = 2;
const READ_ONLY: u64 = 4;
const MOMENT_SHIFT: u32 = 3;

/// What a server said of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamRole {
    /// It is in hot standby mode.
    pub in_hot_standby: bool,
    /// Its transactions are read-only, by default or because it is in hot standby mode.
    pub is_read_only: bool,
}

impl Segment {
    /// The entry of the host with that key; `None` when all are taken.
    pub fn open_upstream_host(&self, key: u64) -> Option<UpstreamHostIndex> {
        let key = key.max(1);
        let found = self.upstream_hosts().hosts.iter().position(|host| {
            let found = match host.key.load(SeqCst) {
                0 => host.key.compare_exchange(0, key, SeqCst, SeqCst).err().unwrap_or(key),
                found => found,
            };
            found == key
        })?;
        u32::try_from(found).ok().map(UpstreamHostIndex)
    }

    fn upstream_host(&self, host: UpstreamHostIndex) -> &'static HostWords {
        &self.upstream_hosts().hosts[host.0 as usize]
    }

    /// The number of this call, for turns.
    pub fn next_upstream_turn(&self) -> u64 {
        self.upstream_hosts().turns.fetch_add(1, Relaxed)
    }

    /// When it could not be reached last; 0: not since it was reached.
    pub fn upstream_host_failed_us(&self, host: UpstreamHostIndex) -> u64 {
        self.upstream_host(host).failed_us.load(SeqCst)
    }

    /// It could not be reached.
    pub fn fail_upstream_host(&self, host: UpstreamHostIndex, now_us: u64) {
        self.upstream_host(host).failed_us.store(now_us.max(1), SeqCst);
    }

    /// Takes it on to try a host again that failed at that moment: one process does.
    pub fn claim_upstream_host(&self, host: UpstreamHostIndex, failed_us: u64, now_us: u64) -> bool {
        self.upstream_host(host).failed_us.compare_exchange(failed_us, now_us.max(1), SeqCst, SeqCst).is_ok()
    }

    /// It was reached.
    pub fn reach_upstream_host(&self, host: UpstreamHostIndex) {
        self.upstream_host(host).failed_us.store(0, SeqCst);
    }

    /// Its role was seen.
    pub fn set_upstream_role(&self, host: UpstreamHostIndex, role: UpstreamRole, now_us: u64) {
        let standby = if role.in_hot_standby { HOT_STANDBY } else { 0 };
        let read_only = if role.is_read_only { READ_ONLY } else { 0 };
        self.upstream_host(host).role.store(now_us << MOMENT_SHIFT | KNOWN | standby | read_only, SeqCst);
    }

    /// The role that was seen last, and when.
    pub fn upstream_role(&self, host: UpstreamHostIndex) -> Option<(UpstreamRole, u64)> {
        let word = self.upstream_host(host).role.load(SeqCst);
        let role = UpstreamRole { in_hot_standby: word & HOT_STANDBY != 0, is_read_only: word & READ_ONLY != 0 };
        (word & KNOWN != 0).then_some((role, word >> MOMENT_SHIFT))
    }

    /// Notes where the connection of a place leads. The place is the caller's.
    pub fn set_upstream_host(&self, place: UpstreamPlaceIndex, host: Option<UpstreamHostIndex>) {
        if let Some(word) = self.upstream_hosts().places.get(place.0 as usize) {
            word.store(host.map_or(0, |host| host.0 + 1), SeqCst);
        }
    }

    /// The key of the host that the connection of a place leads to.
    pub fn upstream_host_of(&self, place: UpstreamPlaceIndex) -> Option<u64> {
        let hosts = self.upstream_hosts();
        let host = hosts.places.get(place.0 as usize)?.load(SeqCst).checked_sub(1)?;
        hosts.hosts.get(host as usize).map(|host| host.key.load(SeqCst))
    }

    /// Connections to that host that somebody uses at the moment.
    pub fn upstream_host_use(&self, key: u64) -> usize {
        let places = self.upstream_places();
        let used = places.iter().filter(|place| place.owner.is_some());
        used.filter(|place| self.upstream_host_of(place.index) == Some(key.max(1))).count()
    }
}
