//! How many connections may be on the way to a session. From one address that is a ceiling, above which they are
//! refused, so that a flood of silent clients from one place cannot keep others out. Over all it is not: above
//! `auth.max_unauthenticated` those that take longest are ended in favour of newcomers ([`relieve`]), so that a burst of
//! honest clients is never refused and a crowd of slow ones keeps nobody out. Counts and asks; refusing is the caller's.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::time::Duration;

use shm::{ClientAddress, Counter, Interrupt, SlotKind, SlotState};

use super::context::Context;
use crate::error::{Condition, Error};
use crate::system::listener::Peer;

/// How long a worker waits for a client that it is going to refuse: a cancel request is sent right after connect.
pub const GRACE: Duration = Duration::from_millis(2);

/// A client that has been on its way for so long may be ended in favour of another.
const DAWDLE_US: u64 = 1_000_000;

/// Connections that wait with the doorman, where no slot shows them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Those from the same address.
    pub same: u32,
}

/// Whether the connection from `peer`, which is counted already, is one too many from its address.
pub fn is_over(context: &Context, peer: Peer, waiting: Waiting) -> bool {
    let limit = context.config.auth.max_unauthenticated_per_address;
    // Who is on this machine, on a Unix socket, has no address to be counted by.
    if limit == 0 || peer == Peer::Unix {
        return false;
    }
    let mut same = waiting.same;
    for (_, slot) in context.segment.slots().filter(|(_, slot)| slot.state() == SlotState::Connecting) {
        // One that is being refused has no address.
        if let ClientAddress::Inet(address, _) = slot.activity().client() {
            same += u32::from(is_same(peer, Some(address)));
        }
    }
    same > limit
}

/// Where `newcomers` are too many beside the clients that hold workers on their way to a session
/// (`auth.max_unauthenticated`), ends those that have been there longest, if for over a second: as many as are too many,
/// `wanted` at most.
pub fn relieve(context: &Context, newcomers: u32, wanted: u32) {
    let Some(limit) = context.config.unauthenticated_limit() else { return };
    let segment = context.segment;
    // One load where there is nothing to do; a gauge that a killed worker left short is corrected soon.
    if segment.pool().gauge(SlotState::Connecting).saturating_add(newcomers) <= limit {
        return;
    }
    let latest_us = shm::clock::monotonic_us().saturating_sub(DAWDLE_US);
    let mut connecting = newcomers;
    let mut dawdlers = Vec::new();
    for (_, slot) in segment.slots().filter(|(_, slot)| slot.kind() == SlotKind::Worker) {
        let session = slot.session_generation();
        let since_us = slot.state_since_us();
        if slot.state() != SlotState::Connecting || slot.is_raised(Interrupt::Displace) {
            continue;
        }
        connecting += 1;
        if since_us <= latest_us {
            dawdlers.push((since_us, session, slot));
        }
    }
    dawdlers.sort_unstable_by_key(|(since_us, ..)| *since_us);
    let surplus = wanted.min(connecting.saturating_sub(limit));
    let mut is_asked = false;
    for (_, session, slot) in dawdlers.into_iter().take(surplus as usize) {
        slot.raise(Interrupt::Displace);
        if slot.request_terminate(session) {
            segment.pool().count(Counter::Displaced);
            is_asked = true;
        }
    }
    if is_asked {
        context.wake_postmaster();
    }
}

/// Workers that are about to refuse a client: their places are free again in no time.
pub fn turned_away(context: &Context) -> u32 {
    let is_refusing =
        |slot: &shm::Slot| slot.state() == SlotState::Connecting && slot.activity().client() == ClientAddress::Unknown;
    u32::try_from(context.segment.slots().filter(|(_, slot)| is_refusing(slot)).count()).unwrap_or(u32::MAX)
}

/// Whether `peer` comes from `address`. Of IPv6 addresses the first 64 bits count: the rest is the client's choice.
pub fn is_same(peer: Peer, address: Option<IpAddr>) -> bool {
    match (peer, address) {
        (Peer::Tcp(peer), Some(address)) => network(peer.ip()) == network(address),
        _ => false,
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        address => address,
    }
}

/// A number for where `peer` comes from, the same in every process; for IPv6 the network's.
pub fn source(peer: Peer) -> u64 {
    match peer {
        Peer::Tcp(address) => {
            let mut hasher = std::hash::DefaultHasher::new();
            network(address.ip()).hash(&mut hasher);
            hasher.finish()
        }
        Peer::Unix => 0,
    }
}

/// What a client is told that was ended in favour of another.
pub fn displacement() -> Error {
    Error::new(Condition::TooManyConnections, "terminating connection because authentication takes too long")
        .detail("Too many connections are waiting to be authenticated, and this one has waited longest.")
}

/// What a client is told that is one too many.
pub fn refusal() -> Error {
    Error::new(Condition::TooManyConnections, "sorry, too many clients already")
        .detail("Too many connections are waiting to be authenticated.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_clients_are_counted_by_their_network() {
        let peer = |address: &str| Peer::Tcp((address.parse::<IpAddr>().unwrap(), 1).into());
        let is_same = |a: &str, b: &str| is_same(peer(a), Some(b.parse().unwrap()));
        assert!(is_same("2001:db8::1", "2001:db8::2"));
        assert!(!is_same("2001:db8:0:1::1", "2001:db8:0:2::1"));
        assert!(is_same("::ffff:10.0.0.1", "10.0.0.1"));
        assert!(!is_same("10.0.0.2", "10.0.0.1"));
        assert!(!super::is_same(Peer::Unix, None));
    }
}
