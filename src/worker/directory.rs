//! Where a worker looks roles and databases up while a client comes in. The engine knows: it has the catalog open.

use crate::auth::{Database, Role, Roles};
use crate::error::Error;
use crate::settings::Stored;

/// The cluster's roles and databases, as of now.
pub trait Directory: Roles {
    /// The database of that name, as that role may use it.
    fn database(&self, name: &str, role: Option<&Role>) -> Option<Database>;
    /// The secret behind mock exchanges: what keeps unknown roles from being told apart.
    fn mock_secret(&self) -> [u8; 32];
    /// Whether the keys behind a client's proof are of use after it.
    fn keeps_keys(&self) -> bool {
        false
    }
    /// Settings stored for sessions of that role in that database, by their OIDs; what counts most first.
    fn settings(&self, database: u32, role: u32) -> Vec<Stored> {
        let _ = (database, role);
        Vec::new()
    }
    /// Whether a session of that role may begin as another one, and whether it is a superuser then.
    fn may_become(&self, role: u32, other: &str) -> Result<bool, Error> {
        let _ = role;
        Err(Error::unsupported(format!("the role \"{other}\"")))
    }
}

/// The null engine's: it has no catalog, so every role and every database exists. The superuser is `postgres`.
#[derive(Debug, Clone, Copy)]
pub struct Everyone;

/// Bootstrap superuser, as in PostgreSQL.
const SUPERUSER_OID: u32 = 10;
const SUPERUSER: &str = "postgres";
/// First of those that users create, as in PostgreSQL.
const ROLE_OID: u32 = 16384;
/// First database, as in PostgreSQL 15.
const DATABASE_OID: u32 = 5;

impl Roles for Everyone {
    fn role(&self, name: &str) -> Option<Role> {
        let superuser = name == SUPERUSER;
        Some(Role {
            oid: if superuser { SUPERUSER_OID } else { ROLE_OID },
            name: name.to_owned(),
            superuser,
            login: true,
            connection_limit: -1,
            valid_until_us: None,
            password: None,
            memberships: Vec::new(),
        })
    }
}

impl Directory for Everyone {
    fn database(&self, name: &str, _role: Option<&Role>) -> Option<Database> {
        Some(Database {
            oid: DATABASE_OID,
            name: name.to_owned(),
            allow_connections: true,
            connection_limit: -1,
            may_connect: true,
        })
    }

    /// No role is unknown and none has a password, so the secret is never used.
    fn mock_secret(&self) -> [u8; 32] {
        [0; 32]
    }
}
