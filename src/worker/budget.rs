//! How many connections may be on the way to a session: over all, and from one address, so that a flood of silent
//! clients from one place cannot keep others out. Counts; refusing is the caller's.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::time::Duration;

use shm::{ClientAddress, SlotState};

use super::context::Context;
use crate::error::{Condition, Error};
use crate::system::listener::Peer;

/// How long a worker waits for a client that it is going to refuse: a cancel request is sent right after connect.
pub const GRACE: Duration = Duration::from_millis(2);

/// Connections that wait with the doorman, where no slot shows them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// All of them.
    pub all: u32,
    /// Those from the same address.
    pub same: u32,
}

/// Whether the connection from `peer`, which is counted already, is one too many.
pub fn is_over(context: &Context, peer: Peer, waiting: Waiting) -> bool {
    let auth = &context.config.auth;
    let (limit, limit_per_address) = (auth.max_unauthenticated, auth.max_unauthenticated_per_address);
    if limit == 0 && limit_per_address == 0 {
        return false;
    }
    let mut count = waiting;
    for (_, slot) in context.segment.slots().filter(|(_, slot)| slot.state() == SlotState::Connecting) {
        let address = match slot.activity().client() {
            // It is being refused.
            ClientAddress::Unknown => continue,
            ClientAddress::Unix => None,
            ClientAddress::Inet(address, _) => Some(address),
        };
        count.all += 1;
        count.same += u32::from(is_same(peer, address));
    }
    // Who is on this machine, on a Unix socket, has no address to be counted by.
    let is_local = peer == Peer::Unix;
    (limit != 0 && count.all > limit) || (limit_per_address != 0 && !is_local && count.same > limit_per_address)
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
