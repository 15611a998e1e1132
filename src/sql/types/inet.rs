//! Network addresses: reading, the canonical text, the order of inet.

use std::cmp::Ordering;
use std::net::IpAddr;

use crate::error::{Condition, Error};

/// An address and how many of its bits are the network's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Inet {
    address: IpAddr,
    bits: u8,
}

impl Inet {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                bits.parse().ok().filter(|bits| *bits <= most)?
            }
            Some(_) => return None,
            None => most,
        };
        Some(Self { address, bits })
    }

    /// The address as a number, its first bit the highest.
    fn number(self) -> u128 {
        match self.address {
            IpAddr::V4(address) => u128::from(u32::from(address)) << 96,
            IpAddr::V6(address) => u128::from(address),
        }
    }
}

/// Reads an address, and writes it again in canonical form: a mask of all bits is left out.
pub fn parse(text: &str) -> Result<String, Error> {
    let inet = Inet::parse(text.trim()).ok_or_else(|| {
        let message = format!("invalid input syntax for type inet: \"{text}\"");
        Error::new(Condition::InvalidTextRepresentation, message)
    })?;
    let most = if inet.address.is_ipv4() { 32 } else { 128 };
    Ok(if inet.bits == most { inet.address.to_string() } else { format!("{}/{}", inet.address, inet.bits) })
}

/// The order of stored addresses (collation `pg_inet`), as PostgreSQL's network_cmp: IPv4 first, then the network's bits that
/// both have, then the shorter mask, then the whole address.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (Some(left), Some(right)) = (Inet::parse(a), Inet::parse(b)) else { return a.cmp(b) };
    let common = u32::from(left.bits.min(right.bits));
    let network = |inet: Inet| if common == 0 { 0 } else { inet.number() >> (128 - common) };
    (right.address.is_ipv4().cmp(&left.address.is_ipv4()))
        .then_with(|| network(left).cmp(&network(right)))
        .then_with(|| left.bits.cmp(&right.bits))
        .then_with(|| left.number().cmp(&right.number()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_ordered_by_network() {
        for (text, shown) in
            [("10.0.0.1/32", "10.0.0.1"), (" 10.0.0.1/8 ", "10.0.0.1/8"), ("::1/128", "::1"), ("1::/16", "1::/16")]
        {
            assert_eq!(parse(text).unwrap(), shown);
        }
        for text in ["", "10.0.0", "10.0.0.1/33", "10.0.0.1/", "10.0.0.1/+8", "::g"] {
            assert_eq!(parse(text).unwrap_err().condition().code(), "22P02", "{text}");
        }
        let mut all = ["::1", "10.0.0.1", "9.0.0.1", "10.0.0.0/8", "10.0.0.1/24"];
        all.sort_by(|a, b| compare(a, b));
        assert_eq!(all, ["9.0.0.1", "10.0.0.0/8", "10.0.0.1/24", "10.0.0.1", "::1"]);
    }
}
