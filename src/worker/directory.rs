//! Where a worker looks roles and databases up. Until the cluster's catalog is there, everybody is a superuser.

use crate::auth::{Database, Role, Roles};

/// A cluster without a catalog.
#[derive(Debug, Clone, Copy)]
pub struct Everyone;

/// Bootstrap superuser, as in PostgreSQL.
const SUPERUSER_OID: u32 = 10;
/// First database, as in PostgreSQL 15.
const DATABASE_OID: u32 = 5;

impl Roles for Everyone {
    fn role(&self, name: &str) -> Option<Role> {
        Some(Role {
            oid: SUPERUSER_OID,
            name: name.to_owned(),
            superuser: true,
            login: true,
            connection_limit: -1,
            valid_until_us: None,
            password: None,
            memberships: Vec::new(),
        })
    }
}

impl Everyone {
    /// The database of that name.
    pub fn database(self, name: &str) -> Option<Database> {
        Some(Database {
            oid: DATABASE_OID,
            name: name.to_owned(),
            allow_connections: true,
            connection_limit: -1,
            may_connect: true,
        })
    }
}
