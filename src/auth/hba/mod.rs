//! pg_hba.conf: which connections are authenticated how.
//!
//! Owns the rules and their matching, first match wins. Reading a line is `hba::parse` and its options `hba::options`;
//! addresses are `hba::address`; carrying a method out is `exchange`, with the worker's help.

use std::net::IpAddr;
use std::path::Path;
use std::rc::Rc;

use super::files::Files;
use super::lexicon::{self, Problem, Token};
use super::pattern::Pattern;
use crate::error::{Condition, Error};

mod address;
mod options;
mod parse;

pub use address::Addresses;
pub use options::{ClientCertificate, ClientName, Ldap, LdapScope, Options};

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

/// Methods of authentication.
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
    /// The user name that an ident server on the client's host tells (RFC 1413).
    Ident,
    /// The client's certificate.
    Cert,
    /// An LDAP directory judges the password.
    Ldap,
    /// Pluggable Authentication Modules judge.
    Pam,
    /// Kerberos, by GSSAPI.
    Gss,
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
            Method::Ident => "ident",
            Method::Cert => "cert",
            Method::Ldap => "ldap",
            Method::Pam => "pam",
            Method::Gss => "gss",
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

impl Transport {
    const fn name(self) -> &'static str {
        match self {
            Transport::Local => "local",
            Transport::Host => "host",
            Transport::HostTls => "hostssl",
            Transport::HostNoTls => "hostnossl",
            Transport::HostGss => "hostgssenc",
            Transport::HostNoGss => "hostnogssenc",
        }
    }
}

/// A word of the database field.
#[derive(Debug, Clone, PartialEq, Eq)]
enum DatabasePattern {
    All,
    SameUser,
    SameRole,
    Replication,
    Name(Pattern),
}

/// A word of the user field.
#[derive(Debug, Clone, PartialEq, Eq)]
enum UserPattern {
    All,
    MemberOf(String),
    Name(Pattern),
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The file that it is in.
    pub file: Rc<str>,
    /// Its line number, from 1.
    pub line: usize,
    /// Its text, for the log, without secrets.
    pub text: String,
    /// The method.
    pub method: Method,
    /// The method's options.
    pub options: Box<Options>,
    transport: Transport,
    databases: Vec<DatabasePattern>,
    users: Vec<UserPattern>,
    addresses: Addresses,
}

/// The fields of a rule before its method, for views.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Fields {
    pub connection: &'static str,
    pub databases: Vec<String>,
    pub users: Vec<String>,
    pub address: Option<String>,
    pub mask: Option<String>,
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

/// What is known of a client when a rule is looked for.
pub struct Applicant<'a> {
    /// How it has come.
    pub connection: &'a Connection,
    /// The database that it wants.
    pub database: &'a str,
    /// The role that it wants to be.
    pub user: &'a str,
    /// Whether that role exists and is the named one, or a member of it, directly or not; being a superuser does not
    /// count.
    pub is_member: &'a dyn Fn(&str) -> bool,
    /// The name of its host, if that name leads back to its address. Asked only by rules with host names.
    pub host_name: &'a dyn Fn() -> Option<String>,
}

/// Every line of a file, read or wrong, in order. The outer error says why the file cannot be read.
pub fn read(path: &Path, files: &dyn Files) -> Result<Vec<Result<Rule, Box<Problem>>>, String> {
    Ok(lexicon::lines(path, files)?.iter().map(parse::rule).collect())
}

impl FromIterator<Rule> for Rules {
    fn from_iter<T: IntoIterator<Item = Rule>>(rules: T) -> Self {
        Self { rules: rules.into_iter().collect() }
    }
}

impl Rules {
    /// The rules in order.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }

    /// The first rule that matches decides.
    pub fn find(&self, applicant: &Applicant<'_>) -> Decision<'_> {
        let found = self.rules.iter().find(|rule| rule.takes(applicant));
        match found {
            Some(rule) if rule.method == Method::Reject => {
                Decision::Refuse(refusal(format!("pg_hba.conf rejects connection for {}", describe(applicant))), found)
            }
            Some(rule) => Decision::Authenticate(rule),
            None => Decision::Refuse(refusal(format!("no pg_hba.conf entry for {}", describe(applicant))), None),
        }
    }
}

fn refusal(message: String) -> Error {
    Error::new(Condition::InvalidAuthorizationSpecification, message)
}

fn describe(applicant: &Applicant<'_>) -> String {
    let Applicant { connection, database, user, .. } = applicant;
    let (host, encryption) = match connection {
        Connection::Local => ("[local]".to_owned(), "no encryption"),
        Connection::Host { address, tls: false } => (address.to_string(), "no encryption"),
        Connection::Host { address, tls: true } => (address.to_string(), "SSL encryption"),
    };
    format!("host \"{host}\", user \"{user}\", database \"{database}\", {encryption}")
}

impl Rule {
    /// Its fields before the method, as they were written.
    pub fn fields(&self) -> Fields {
        let database = |pattern: &DatabasePattern| match pattern {
            DatabasePattern::All => "all".to_owned(),
            DatabasePattern::SameUser => "sameuser".to_owned(),
            DatabasePattern::SameRole => "samerole".to_owned(),
            DatabasePattern::Replication => "replication".to_owned(),
            DatabasePattern::Name(pattern) => pattern.text().to_owned(),
        };
        let user = |pattern: &UserPattern| match pattern {
            UserPattern::All => "all".to_owned(),
            UserPattern::MemberOf(role) => format!("+{role}"),
            UserPattern::Name(pattern) => pattern.text().to_owned(),
        };
        let databases = self.databases.iter().map(database).collect();
        let users = self.users.iter().map(user).collect();
        let (address, mask) = if self.transport == Transport::Local { (None, None) } else { self.addresses.shown() };
        Fields { connection: self.transport.name(), databases, users, address, mask }
    }

    fn takes(&self, applicant: &Applicant<'_>) -> bool {
        // PostgreSQL's order: what needs to be looked up comes last only among addresses.
        self.takes_connection(applicant) && self.takes_database(applicant) && self.takes_user(applicant)
    }

    fn takes_connection(&self, applicant: &Applicant<'_>) -> bool {
        match (self.transport, applicant.connection) {
            (Transport::Local, Connection::Local) => true,
            (Transport::Local, Connection::Host { .. }) | (_, Connection::Local) => false,
            // There is no GSSAPI encryption here, so no connection ever has it.
            (Transport::HostGss, _) => false,
            (Transport::HostTls, Connection::Host { tls, .. }) if !tls => false,
            (Transport::HostNoTls, Connection::Host { tls, .. }) if *tls => false,
            // A v4 address that arrives on a v6 socket is the v4 address.
            (_, Connection::Host { address, .. }) => {
                self.addresses.contain(address.to_canonical(), applicant.host_name)
            }
        }
    }

    fn takes_database(&self, applicant: &Applicant<'_>) -> bool {
        let Applicant { database, user, is_member, .. } = applicant;
        self.databases.iter().any(|pattern| match pattern {
            DatabasePattern::All => true,
            DatabasePattern::SameUser => database == user,
            DatabasePattern::SameRole => is_member(database),
            // Only for physical replication connections, which are refused earlier.
            DatabasePattern::Replication => false,
            DatabasePattern::Name(name) => name.matches(database),
        })
    }

    fn takes_user(&self, applicant: &Applicant<'_>) -> bool {
        self.users.iter().any(|pattern| match pattern {
            UserPattern::All => true,
            UserPattern::MemberOf(role) => (applicant.is_member)(role),
            UserPattern::Name(name) => name.matches(applicant.user),
        })
    }
}

#[cfg(test)]
mod tests;
