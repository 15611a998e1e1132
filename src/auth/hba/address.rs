//! The address field of a rule: ranges, this machine's own addresses and networks, host names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which clients a rule is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Addresses {
    /// Any.
    All,
    /// Those of this machine.
    SameHost,
    /// Those of the networks that this machine is in.
    SameNet,
    /// Those that are equal to the address where the mask has ones.
    Range {
        /// The address.
        address: IpAddr,
        /// Of the same family.
        mask: IpAddr,
    },
    /// A host's name, or a domain's after a dot.
    Host(String),
}

impl Addresses {
    /// A range with so many ones at the beginning of its mask; `None` if there are not so many bits.
    pub fn with_prefix(address: IpAddr, length: u8) -> Option<Self> {
        let mask = match address {
            IpAddr::V4(_) => {
                let zeros = 32u32.checked_sub(length.into())?;
                IpAddr::V4(u32::MAX.checked_shl(zeros).unwrap_or(0).into())
            }
            IpAddr::V6(_) => {
                let zeros = 128u32.checked_sub(length.into())?;
                IpAddr::V6(u128::MAX.checked_shl(zeros).unwrap_or(0).into())
            }
        };
        Some(Self::Range { address, mask })
    }

    /// Whether a client from there is meant. `host_name` is its host's, confirmed.
    pub(super) fn contain(&self, client: IpAddr, host_name: &dyn Fn() -> Option<String>) -> bool {
        match self {
            Addresses::All => true,
            Addresses::Range { address, mask } => is_equal_under(*mask, *address, client),
            Addresses::SameHost => interfaces().iter().any(|(own, _)| *own == client),
            Addresses::SameNet => interfaces().iter().any(|(own, mask)| is_equal_under(*mask, *own, client)),
            Addresses::Host(pattern) => host_name().is_some_and(|name| is_host(pattern, &name)),
        }
    }

    /// As pg_hba_file_rules shows it: address and mask.
    pub(super) fn shown(&self) -> (Option<String>, Option<String>) {
        match self {
            Addresses::All => (Some("all".to_owned()), None),
            Addresses::SameHost => (Some("samehost".to_owned()), None),
            Addresses::SameNet => (Some("samenet".to_owned()), None),
            Addresses::Range { address, mask } => (Some(address.to_string()), Some(mask.to_string())),
            Addresses::Host(name) => (Some(name.clone()), None),
        }
    }
}

fn is_equal_under(mask: IpAddr, one: IpAddr, other: IpAddr) -> bool {
    match (mask, one, other) {
        (IpAddr::V4(mask), IpAddr::V4(one), IpAddr::V4(other)) => {
            let bits = Ipv4Addr::to_bits;
            (bits(one) ^ bits(other)) & bits(mask) == 0
        }
        (IpAddr::V6(mask), IpAddr::V6(one), IpAddr::V6(other)) => {
            let bits = Ipv6Addr::to_bits;
            (bits(one) ^ bits(other)) & bits(mask) == 0
        }
        _ => false,
    }
}

/// Whether a host's name is the pattern, or ends in it if that begins with a dot.
fn is_host(pattern: &str, name: &str) -> bool {
    if !pattern.starts_with('.') {
        return pattern.eq_ignore_ascii_case(name);
    }
    let tail = name.len().checked_sub(pattern.len()).filter(|start| *start > 0).and_then(|start| name.get(start..));
    tail.is_some_and(|tail| tail.eq_ignore_ascii_case(pattern))
}

/// This machine's addresses with their masks. Asked anew for each connection, since they may change.
fn interfaces() -> Vec<(IpAddr, IpAddr)> {
    let Ok(list) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    list.filter_map(|interface| {
        let ip = |storage: Option<nix::sys::socket::SockaddrStorage>| {
            let storage = storage?;
            let v4 = storage.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
            v4.or_else(|| storage.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
        };
        let address = ip(interface.address)?;
        Some((address, usable_mask(address, ip(interface.netmask))))
    })
    .collect()
}

/// An interface's mask; all ones where it has none, one of zeros or one of the other family, as in PostgreSQL: a tunnel's
/// network is not the whole Internet.
fn usable_mask(address: IpAddr, mask: Option<IpAddr>) -> IpAddr {
    let ones = match address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::BROADCAST),
        IpAddr::V6(_) => IpAddr::V6(u128::MAX.into()),
    };
    mask.filter(|mask| !mask.is_unspecified() && mask.is_ipv4() == address.is_ipv4()).unwrap_or(ones)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(addresses: &Addresses, client: &str) -> bool {
        addresses.contain(client.parse().unwrap(), &|| Some("db.example.org".to_owned()))
    }

    fn range(address: &str, length: u8) -> Addresses {
        Addresses::with_prefix(address.parse().unwrap(), length).unwrap()
    }

    #[test]
    fn ranges_by_prefix_and_mask() {
        assert!(contains(&range("10.1.0.0", 16), "10.1.200.1") && !contains(&range("10.1.0.0", 16), "10.2.0.1"));
        assert!(contains(&range("10.1.0.0", 0), "192.168.0.1") && !contains(&range("10.1.0.0", 0), "::1"));
        assert!(contains(&range("fe80::", 10), "fe80::1") && contains(&range("::1", 128), "::1"));
        assert_eq!(Addresses::with_prefix("10.0.0.0".parse().unwrap(), 33), None);
        let holes = Addresses::Range { address: "10.0.0.7".parse().unwrap(), mask: "255.0.0.255".parse().unwrap() };
        assert!(contains(&holes, "10.9.9.7") && !contains(&holes, "10.9.9.8"));
    }

    #[test]
    fn an_interface_without_a_mask_is_a_network_of_one() {
        let mask = |address: &str, mask: Option<&str>| {
            usable_mask(address.parse().unwrap(), mask.map(|mask| mask.parse().unwrap())).to_string()
        };
        assert_eq!(mask("10.0.0.1", Some("255.0.0.0")), "255.0.0.0");
        for none in [None, Some("0.0.0.0"), Some("ffff::")] {
            assert_eq!(mask("10.0.0.1", none), "255.255.255.255");
        }
        for none in [None, Some("::"), Some("255.0.0.0")] {
            assert_eq!(mask("fe80::1", none), "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
        }
    }

    #[test]
    fn host_names_and_domains() {
        for (pattern, expected) in [
            ("db.example.org", true),
            ("DB.Example.org", true),
            (".example.org", true),
            (".EXAMPLE.org", true),
            ("example.org", false),
            (".db.example.org", false),
            (".org", true),
            (".e.org", false),
        ] {
            assert_eq!(contains(&Addresses::Host(pattern.to_owned()), "10.0.0.1"), expected, "{pattern}");
        }
    }
}
