//! pg_hba.conf: which connections are authenticated how.
//!
//! Owns the rules and their matching, first match wins. Reading a line is `hba::parse`; carrying a method out is
//! `exchange`. Methods that this server does not have are refused when the file is loaded, by name, so that no
//! rule is silently skipped.

use std::net::IpAddr;

use ipnet::IpNet;

use super::lexicon::{Problem, Source, Token};
use crate::error::{Condition, Error};

mod parse;

/// How a client has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// By a Unix socket.
    Local,
    /// By TCP.
    Host {
        /// The client's address.
        address: IpAddr,
        /// Whether the connection is encrypted by TLS.
        tls: bool,
    },
}

/// Methods of authentication that this server carries out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// No questions asked.
    Trust,
    /// Refused at once.
    Reject,
    /// SCRAM-SHA-256.
    ScramSha256,
    /// md5 challenge; SCRAM-SHA-256 where the stored password is a SCRAM verifier.
    Md5,
    /// The password in clear.
    Password,
    /// The operating system's user name of the socket's other end.
    Peer,
}

impl Method {
    /// The name in pg_hba.conf.
    pub const fn name(self) -> &'static str {
        match self {
            Method::Trust => "trust",
            Method::Reject => "reject",
            Method::ScramSha256 => "scram-sha-256",
            Method::Md5 => "md5",
            Method::Password => "password",
            Method::Peer => "peer",
        }
    }
}

/// Which connections a line is for: its first word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Local,
    Host,
    HostTls,
    HostNoTls,
    HostGss,
    HostNoGss,
}

/// A word of the database field.
#[derive(Debug, Clone, PartialEq, Eq)]
enum DatabasePattern {
    All,
    SameUser,
    SameRole,
    Replication,
    Name(String),
}

/// A word of the user field.
#[derive(Debug, Clone, PartialEq, Eq)]
enum UserPattern {
    All,
    MemberOf(String),
    Name(String),
}

/// The address field.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Addresses {
    All,
    SameHost,
    SameNet,
    Net(IpNet),
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its line number, from 1.
    pub line: usize,
    /// Its text, for the log.
    pub text: String,
    /// The method.
    pub method: Method,
    /// `map=`: the user name map to use.
    pub map: Option<String>,
    transport: Transport,
    databases: Vec<DatabasePattern>,
    users: Vec<UserPattern>,
    addresses: Addresses,
}

/// The rules of a file, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    rules: Vec<Rule>,
}

/// What the rules say about a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    /// Authenticate as this rule says. Its method is not `Reject`.
    Authenticate(&'a Rule),
    /// Refuse (28000): rejected by the rule, or no rule matches.
    Refuse(Error, Option<&'a Rule>),
}

impl Rules {
    /// Reads a file. Every problem is reported, not just the first.
    pub fn parse(source: &Source<'_>) -> Result<Rules, Vec<Problem>> {
        parse::rules(source).map(|rules| Rules { rules })
    }

    /// The rules in order.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }

    /// The first rule that matches decides. `is_member` says whether the user is a member of the named role,
    /// directly or not; being a superuser does not count.
    pub fn find(
        &self,
        connection: &Connection,
        database: &str,
        user: &str,
        is_member: &dyn Fn(&str) -> bool,
    ) -> Decision<'_> {
        let found = self.rules.iter().find(|rule| {
            rule.takes(connection) && rule.takes_database(database, user, is_member) && rule.takes_user(user, is_member)
        });
        match found {
            Some(rule) if rule.method == Method::Reject => {
                let message = format!("pg_hba.conf rejects connection for {}", describe(connection, database, user));
                Decision::Refuse(refusal(message), Some(rule))
            }
            Some(rule) => Decision::Authenticate(rule),
            None => {
                let message = format!("no pg_hba.conf entry for {}", describe(connection, database, user));
                Decision::Refuse(refusal(message), None)
            }
        }
    }
}

fn refusal(message: String) -> Error {
    Error::new(Condition::InvalidAuthorizationSpecification, message)
}

fn describe(connection: &Connection, database: &str, user: &str) -> String {
    let (host, encryption) = match connection {
        Connection::Local => ("[local]".to_owned(), "no encryption"),
        Connection::Host { address, tls: false } => (address.to_string(), "no encryption"),
        Connection::Host { address, tls: true } => (address.to_string(), "SSL encryption"),
    };
    format!("host \"{host}\", user \"{user}\", database \"{database}\", {encryption}")
}

impl Rule {
    fn takes(&self, connection: &Connection) -> bool {
        match (self.transport, connection) {
            (Transport::Local, Connection::Local) => true,
            (Transport::Local, Connection::Host { .. }) | (_, Connection::Local) => false,
            // There is no GSSAPI encryption here, so no connection ever has it.
            (Transport::HostGss, _) => false,
            (Transport::HostTls, Connection::Host { tls, .. }) if !tls => false,
            (Transport::HostNoTls, Connection::Host { tls, .. }) if *tls => false,
            // A v4 address that arrives on a v6 socket is the v4 address.
            (_, Connection::Host { address, .. }) => self.addresses.contain(address.to_canonical()),
        }
    }

    fn takes_database(&self, database: &str, user: &str, is_member: &dyn Fn(&str) -> bool) -> bool {
        self.databases.iter().any(|pattern| match pattern {
            DatabasePattern::All => true,
            DatabasePattern::SameUser => database == user,
            DatabasePattern::SameRole => database == user || is_member(database),
            // Only for physical replication connections, which are refused earlier.
            DatabasePattern::Replication => false,
            DatabasePattern::Name(name) => name == database,
        })
    }

    fn takes_user(&self, user: &str, is_member: &dyn Fn(&str) -> bool) -> bool {
        self.users.iter().any(|pattern| match pattern {
            UserPattern::All => true,
            UserPattern::MemberOf(role) => role == user || is_member(role),
            UserPattern::Name(name) => name == user,
        })
    }
}

impl Addresses {
    fn contain(&self, address: IpAddr) -> bool {
        match self {
            Addresses::All => true,
            Addresses::Net(net) => net.contains(&address),
            Addresses::SameHost => interfaces().iter().any(|own| own.addr() == address),
            Addresses::SameNet => interfaces().iter().any(|own| own.contains(&address)),
        }
    }
}

/// This machine's addresses with their networks. Asked anew for each connection, since they may change.
fn interfaces() -> Vec<IpNet> {
    let Ok(list) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    list.filter_map(|interface| {
        let ip = |storage: Option<nix::sys::socket::SockaddrStorage>| {
            let storage = storage?;
            let v4 = storage.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
            v4.or_else(|| storage.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
        };
        let address = ip(interface.address)?;
        IpNet::with_netmask(address, ip(interface.netmask)?).ok()
    })
    .collect()
}

#[cfg(test)]
mod tests;
