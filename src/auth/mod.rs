//! Who may connect, and how they prove who they are.
//!
//! Owns the access rules (pg_hba.conf), user name maps (pg_ident.conf), stored passwords, the SCRAM exchange, and
//! the checks that follow it. It does no I/O but for reading the rule files: [`Exchange`] is stepped by whoever reads and writes,
//! who also keeps the deadline. Roles and databases come in through [`Roles`].
//!
//! Nothing here tells a client whether a role exists before it has proved to be that role.

use std::fmt;

mod admission;
mod exchange;
pub mod files;
pub mod hba;
pub mod ident;
mod lexicon;
pub mod password;
mod pattern;
pub mod scram;

pub use admission::{Census, Database, admit};
pub use exchange::{CertificateNames, Environment, Exchange, Identity, Pending, Refusal, Step, received_password};
pub use hba::{Connection, Decision, Method, Rule, Rules};
pub use ident::Maps;
pub use lexicon::Problem;

/// A role, as far as it matters to whether it may connect.
#[derive(Clone, PartialEq, Eq)]
pub struct Role {
    /// `pg_authid.oid`.
    pub oid: u32,
    /// Its name.
    pub name: String,
    /// SUPERUSER.
    pub superuser: bool,
    /// LOGIN.
    pub login: bool,
    /// CONNECTION LIMIT; negative: none.
    pub connection_limit: i32,
    /// VALID UNTIL, in microseconds since 2000-01-01 UTC: from then on its password is not accepted.
    pub valid_until_us: Option<i64>,
    /// The stored password: a SCRAM verifier or an md5 hash, never plain text.
    pub password: Option<String>,
    /// Names of all roles that it is a member of, directly or not.
    pub memberships: Vec<String>,
}

impl fmt::Debug for Role {
    /// Without the password, which a log must not keep.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Role").field("oid", &self.oid).field("name", &self.name).finish_non_exhaustive()
    }
}

/// The roles of the cluster.
pub trait Roles {
    /// The role of that name.
    fn role(&self, name: &str) -> Option<Role>;
}
