//! Where the connections of a relayed database may lead: the list of hosts, the role that a server must have, and the
//! order in which hosts are tried. Names and meaning are libpq's where it has them.

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::relay::RelayDatabase;

/// Where an upstream server is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Address {
    /// A host name, an address, or the directory of a Unix socket.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// `target_session_attrs`: which servers fit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetSessionAttrs {
    /// All.
    #[default]
    Any,
    /// Those on which transactions are read-write by default.
    ReadWrite,
    /// Those on which they are not.
    ReadOnly,
    /// Those that are not in hot standby mode.
    Primary,
    /// Those that are.
    Standby,
    /// Those that are; if there is none, all.
    PreferStandby,
}

/// `load_balance_hosts`: which of the hosts is tried first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoadBalanceHosts {
    /// The first of the list.
    #[default]
    Disable,
    /// Any.
    Random,
    /// The next one in turn.
    RoundRobin,
    /// The one with the fewest connections in use.
    LeastBusy,
}

impl TargetSessionAttrs {
    /// As it is written in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::ReadWrite => "read-write",
            Self::ReadOnly => "read-only",
            Self::Primary => "primary",
            Self::Standby => "standby",
            Self::PreferStandby => "prefer-standby",
        }
    }
}

impl Address {
    /// By what the segment knows it: a hash of host and port.
    pub fn key(&self) -> u64 {
        let digest = Sha256::new().chain_update(self.host.as_bytes()).chain_update(self.port.to_be_bytes()).finalize();
        digest.first_chunk().map_or(1, |bytes| u64::from_ne_bytes(*bytes)).max(1)
    }

    /// Reads `host`, `host:port`, `[address]:port`, `/directory` or `/directory:port`.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, String> {
        let bad = || format!("\"{text}\" is no host: write \"host\", \"host:port\" or \"[address]:port\"");
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or_else(bad)?;
                let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or_else(bad)?) };
                (host, port)
            }
            // Several colons and no brackets: an IPv6 address.
            None if text.matches(':').count() > 1 && !text.starts_with('/') => (text, None),
            None => text.rsplit_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map_or(Ok(default_port), |port| port.parse().map_err(|_| bad()))?;
        if host.is_empty() || host.contains(',') || port == 0 {
            return Err(bad());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl RelayDatabase {
    /// All of its hosts, in the order of the settings.
    pub fn addresses(&self) -> Result<Vec<Address>, String> {
        if self.hosts.is_empty() {
            return Ok(vec![Address { host: self.host.clone(), port: self.port }]);
        }
        self.hosts.iter().map(|text| Address::parse(text, self.port)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_with_and_without_ports() {
        for (text, host, port) in [
            ("a", "a", 5432),
            ("a:6000", "a", 6000),
            ("::1", "::1", 5432),
            ("[::1]:7", "::1", 7),
            ("[::1]", "::1", 5432),
            ("/run/pg", "/run/pg", 5432),
            ("/run/pg:5433", "/run/pg", 5433),
        ] {
            assert_eq!(Address::parse(text, 5432), Ok(Address { host: host.to_owned(), port }), "{text}");
        }
        for text in ["", ":1", "a:", "a:0", "a:x", "a:70000", "[::1", "[::1]7", "a,b"] {
            assert!(Address::parse(text, 5432).is_err(), "{text}");
        }
    }
}
