//! Roles, databases and what is stored for them, as `global.db` lists them, read whole: there are few, and every connection asks.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use rusqlite::Connection;

use super::membership::Membership;

use crate::auth::{Role, Roles};
use crate::engine::sqlite::catalog::failure;
use crate::error::Error;
use crate::settings::{Source, Stored};
use crate::sql::acl::Acl;

pub(super) const TABLES: &str = "
CREATE TABLE pgp_meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE pgp_role(oid INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, superuser INTEGER NOT NULL, login INTEGER NOT NULL, create_database INTEGER NOT NULL, create_role INTEGER NOT NULL, inherit INTEGER NOT NULL, replication INTEGER NOT NULL, bypass_row_security INTEGER NOT NULL, connection_limit INTEGER NOT NULL, valid_until INTEGER, password TEXT);
CREATE TABLE pgp_member(oid INTEGER PRIMARY KEY, role INTEGER NOT NULL, member INTEGER NOT NULL, grantor INTEGER NOT NULL, admin INTEGER NOT NULL, inherit INTEGER NOT NULL, may_set INTEGER NOT NULL, UNIQUE(role, member, grantor));
CREATE TABLE pgp_database(oid INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, owner INTEGER NOT NULL, allow_connections INTEGER NOT NULL, connection_limit INTEGER NOT NULL, is_template INTEGER NOT NULL, acl TEXT);
CREATE TABLE pgp_setting(number INTEGER PRIMARY KEY, database INTEGER NOT NULL, role INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, UNIQUE(database, role, name));
";

/// A role with all its attributes.
#[derive(Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct RoleRow {
    pub oid: u32,
    pub name: String,
    pub superuser: bool,
    pub login: bool,
    pub create_database: bool,
    pub create_role: bool,
    pub inherit: bool,
    pub replication: bool,
    pub bypass_row_security: bool,
    pub connection_limit: i32,
    /// Microseconds since 2000-01-01 UTC.
    pub valid_until_us: Option<i64>,
    pub password: Option<String>,
}

impl std::fmt::Debug for RoleRow {
    /// Without the password, which a log must not keep.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RoleRow").field("oid", &self.oid).field("name", &self.name).finish_non_exhaustive()
    }
}

/// A database.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct DatabaseRow {
    pub oid: u32,
    pub name: String,
    /// OID of the role that owns it.
    pub owner: u32,
    pub allow_connections: bool,
    pub connection_limit: i32,
    pub is_template: bool,
    /// What was granted on it, where anything ever was.
    pub acl: Option<Acl>,
}

/// A stored setting.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct SettingRow {
    pub name: String,
    pub value: String,
}

/// All roles and databases at one version.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    version: u64,
    roles: Vec<RoleRow>,
    members: Vec<Membership>,
    databases: Vec<DatabaseRow>,
    settings: Settings,
    /// The database whose owner is a member of pg_database_owner; 0: none yet.
    current: u32,
}

/// Stored settings by database and role, where 0 stands for every one; oldest first.
type Settings = BTreeMap<(u32, u32), Vec<SettingRow>>;

impl Snapshot {
    /// Reads everything through a connection to `global.db`.
    pub fn load(connection: &Connection) -> Result<Self, Error> {
        let mut roles = connection
            .prepare_cached("SELECT oid, name, superuser, login, create_database, create_role, inherit, replication, bypass_row_security, connection_limit, valid_until, password FROM pgp_role ORDER BY oid")
            .map_err(failure)?;
        let roles = roles
            .query_map([], |row| {
                Ok(RoleRow {
                    oid: row.get(0)?,
                    name: row.get(1)?,
                    superuser: row.get(2)?,
                    login: row.get(3)?,
                    create_database: row.get(4)?,
                    create_role: row.get(5)?,
                    inherit: row.get(6)?,
                    replication: row.get(7)?,
                    bypass_row_security: row.get(8)?,
                    connection_limit: row.get(9)?,
                    valid_until_us: row.get(10)?,
                    password: row.get(11)?,
                })
            })
            .and_then(Iterator::collect)
            .map_err(failure)?;
        let mut members = connection
            .prepare_cached("SELECT oid, role, member, grantor, admin, inherit, may_set FROM pgp_member ORDER BY oid")
            .map_err(failure)?;
        let members = members
            .query_map([], |row| {
                Ok(Membership {
                    oid: row.get(0)?,
                    role: row.get(1)?,
                    member: row.get(2)?,
                    grantor: row.get(3)?,
                    admin: row.get(4)?,
                    inherit: row.get(5)?,
                    set: row.get(6)?,
                })
            })
            .and_then(Iterator::collect)
            .map_err(failure)?;
        let mut databases = connection
            .prepare_cached(
                "SELECT oid, name, owner, allow_connections, connection_limit, is_template, acl FROM pgp_database ORDER BY oid",
            )
            .map_err(failure)?;
        let databases = databases
            .query_map([], |row| {
                Ok(DatabaseRow {
                    oid: row.get(0)?,
                    name: row.get(1)?,
                    owner: row.get(2)?,
                    allow_connections: row.get(3)?,
                    connection_limit: row.get(4)?,
                    is_template: row.get(5)?,
                    acl: acl_of(row.get(6)?),
                })
            })
            .and_then(Iterator::collect)
            .map_err(failure)?;
        let settings = load_settings(connection)?;
        Ok(Self { version: stored_version(connection)?, roles, members, databases, settings, current: 0 })
    }

    /// All roles, by OID.
    pub fn roles(&self) -> &[RoleRow] {
        &self.roles
    }

    /// Memberships, oldest first.
    pub fn members(&self) -> &[Membership] {
        &self.members
    }

    /// All databases, by OID.
    pub fn databases(&self) -> &[DatabaseRow] {
        &self.databases
    }

    /// Databases and roles for which something is stored, 0 standing for every one, in order.
    pub fn settings_keys(&self) -> impl Iterator<Item = (u32, u32)> {
        self.settings.keys().copied()
    }

    /// What is stored for a database and a role, 0 standing for every one; oldest first.
    pub fn settings_at(&self, database: u32, role: u32) -> &[SettingRow] {
        self.settings.get(&(database, role)).map_or(&[], Vec::as_slice)
    }

    /// What is stored for a session of that role in that database, what counts most first.
    pub fn settings_of(&self, database: u32, role: u32) -> Vec<Stored> {
        let mut found = Vec::new();
        // There are none in most clusters.
        if self.settings.is_empty() {
            return found;
        }
        let kinds = [
            (Source::DatabaseUser, database, role),
            (Source::User, 0, role),
            (Source::Database, database, 0),
            (Source::Global, 0, 0),
        ];
        for (source, database, role) in kinds {
            let rows = self.settings_at(database, role).iter();
            found.extend(rows.map(|row| Stored { source, name: row.name.clone(), value: row.value.clone() }));
        }
        found
    }

    /// The role of that name with all its attributes.
    pub fn role_row(&self, name: &str) -> Option<&RoleRow> {
        self.roles.iter().find(|role| role.name == name)
    }

    /// The database of that name.
    pub fn database(&self, name: &str) -> Option<&DatabaseRow> {
        self.databases.iter().find(|database| database.name == name)
    }

    /// The owner of the session's database.
    pub(super) fn current_owner(&self) -> Option<u32> {
        self.databases.iter().find(|database| database.oid == self.current).map(|database| database.owner)
    }

    /// The version that this was read at.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The role of that OID.
    pub fn role_by_oid(&self, oid: u32) -> Option<&RoleRow> {
        self.roles.iter().find(|role| role.oid == oid)
    }
}

impl Roles for Snapshot {
    fn role(&self, name: &str) -> Option<Role> {
        self.role_row(name).map(|row| Role {
            oid: row.oid,
            name: row.name.clone(),
            superuser: row.superuser,
            login: row.login,
            connection_limit: row.connection_limit,
            valid_until_us: row.valid_until_us,
            password: row.password.clone(),
            memberships: self.memberships(row.oid),
        })
    }
}

/// A list as it is stored: JSON.
fn acl_of(stored: Option<String>) -> Option<Acl> {
    stored.and_then(|json| serde_json::from_str(&json).ok())
}

fn load_settings(connection: &Connection) -> Result<Settings, Error> {
    let mut settings = Settings::new();
    let mut statement = connection
        .prepare_cached("SELECT database, role, name, value FROM pgp_setting ORDER BY number")
        .map_err(failure)?;
    let mut rows = statement.query([]).map_err(failure)?;
    while let Some(row) = rows.next().map_err(failure)? {
        let column = |row: &rusqlite::Row<'_>| {
            Ok(((row.get(0)?, row.get(1)?), SettingRow { name: row.get(2)?, value: row.get(3)? }))
        };
        let (key, setting) = column(row).map_err(failure)?;
        settings.entry(key).or_default().push(setting);
    }
    Ok(settings)
}

fn stored_version(connection: &Connection) -> Result<u64, Error> {
    let version: i64 = connection
        .prepare_cached("SELECT value FROM pgp_meta WHERE key = 'catalog_version'")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .map_err(failure)?;
    Ok(version as u64)
}

/// The secret that mock authentication of unknown roles derives its salts from.
pub fn mock_secret(connection: &Connection) -> Result<[u8; 32], Error> {
    connection.query_row("SELECT value FROM pgp_meta WHERE key = 'mock_secret'", [], |row| row.get(0)).map_err(failure)
}

/// A process's copy of roles and databases, read again when the segment says that they changed.
#[derive(Debug, Default)]
pub struct Global {
    snapshot: RefCell<Rc<Snapshot>>,
    changed: Cell<bool>,
    /// The session's database.
    current: Cell<u32>,
}

impl Global {
    /// Reads the cluster's catalog for the first time.
    pub fn load(connection: &Connection) -> Result<Self, Error> {
        let snapshot = RefCell::new(Rc::new(Snapshot::load(connection)?));
        Ok(Self { snapshot, changed: Cell::new(false), current: Cell::new(0) })
    }

    /// What is known.
    pub fn snapshot(&self) -> Rc<Snapshot> {
        Rc::clone(&self.snapshot.borrow())
    }

    /// Brings it up to date: `published` is the segment's version of the cluster's catalog (0: look).
    pub fn refresh(&self, connection: &Connection, published: u64) -> Result<(), Error> {
        let loaded = self.snapshot.borrow().version;
        if !self.changed.get() && published == loaded && published != 0 {
            return Ok(());
        }
        if self.changed.get() || stored_version(connection)? != loaded {
            self.reload(connection)?;
        }
        Ok(())
    }

    /// The session is in that database: its owner is a member of pg_database_owner.
    pub fn enter(&self, database: u32) {
        self.current.set(database);
        let mut snapshot = self.snapshot.borrow_mut();
        if snapshot.current != database {
            *snapshot = Rc::new(Snapshot { current: database, ..Snapshot::clone(&snapshot) });
        }
    }

    fn reload(&self, connection: &Connection) -> Result<(), Error> {
        let loaded = Snapshot { current: self.current.get(), ..Snapshot::load(connection)? };
        *self.snapshot.borrow_mut() = Rc::new(loaded);
        Ok(())
    }

    /// After a change by [`super::execute`] on this connection, committed or not.
    pub fn note_change(&self) {
        self.changed.set(true);
    }

    /// Before COMMIT of a transaction that changed the cluster's catalog: stores and returns the next version, for
    /// the segment.
    pub fn prepare_commit(&self, connection: &Connection, published: u64) -> Result<Option<u64>, Error> {
        if !self.changed.get() {
            return Ok(None);
        }
        let next = stored_version(connection)?.max(published) + 1;
        connection
            .execute("UPDATE pgp_meta SET value = ?1 WHERE key = 'catalog_version'", [next as i64])
            .map_err(failure)?;
        Ok(Some(next))
    }

    /// After COMMIT or ROLLBACK.
    pub fn transaction_ended(&self, connection: &Connection) -> Result<(), Error> {
        if self.changed.replace(false) {
            self.reload(connection)?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Roles by OID, superusers or not, and their memberships.
    pub fn snapshot(roles: &[(u32, bool)], members: Vec<Membership>) -> Snapshot {
        let row = |(oid, superuser): &(u32, bool)| RoleRow {
            oid: *oid,
            name: format!("r{oid}"),
            superuser: *superuser,
            login: true,
            create_database: false,
            create_role: false,
            inherit: true,
            replication: false,
            bypass_row_security: false,
            connection_limit: -1,
            valid_until_us: None,
            password: None,
        };
        Snapshot { version: 1, roles: roles.iter().map(row).collect(), members, ..Snapshot::default() }
    }
}
