//! The catalog of a database, stored in its own file: schemas, relations, comments and the OID counter.
//!
//! Owns the `pgp_` tables and the cache over them; carries no change out by itself (that is `define`). One row
//! a relation, its definition as JSON, so that opening a database reads none of them. The cache is valid for
//! one stored version: a transaction that changed the catalog writes the next version with its changes, and
//! the segment's copy of that number tells other processes to look.

mod lookup;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use rusqlite::{Connection, OptionalExtension, params};

use crate::engine::cluster::membership::DATABASE_OWNER_OID;
use crate::error::{Condition, Error};
use crate::sql::acl::{Acl, Kind};
use crate::sql::catalog::{Relation, RelationKind};

pub use lookup::StoredCatalog;

/// Version of the tables below and of the JSON in them.
pub const FORMAT_VERSION: i64 = 1;

/// The first OID that is given to an object of a user's.
pub const FIRST_OID: u32 = 16384;

/// OIDs of temporary relations count down from here: they belong to one session and touch no shared counter.
const FIRST_TEMPORARY_OID: u32 = u32::MAX - 1;

/// The schema of temporary relations.
pub const TEMPORARY_SCHEMA: &str = "pg_temp";

const TABLES: &str = "
CREATE TABLE pgp_meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE pgp_schema(oid INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, owner INTEGER NOT NULL, acl TEXT);
CREATE TABLE pgp_default_acl(oid INTEGER PRIMARY KEY, role INTEGER NOT NULL, schema INTEGER NOT NULL, object TEXT NOT NULL, acl TEXT NOT NULL, UNIQUE(role, schema, object));
CREATE TABLE pgp_relation(oid INTEGER PRIMARY KEY, schema TEXT NOT NULL, name TEXT NOT NULL, definition TEXT NOT NULL, UNIQUE(schema, name));
CREATE TABLE pgp_index(oid INTEGER PRIMARY KEY, schema TEXT NOT NULL, name TEXT NOT NULL, relation INTEGER NOT NULL, UNIQUE(schema, name));
CREATE TABLE pgp_reference(referenced INTEGER, referencing INTEGER, PRIMARY KEY(referenced, referencing)) WITHOUT ROWID;
CREATE TABLE pgp_comment(relation INTEGER, attribute INTEGER, text TEXT NOT NULL, PRIMARY KEY(relation, attribute)) WITHOUT ROWID;
CREATE TABLE pgp_sequence(relation INTEGER PRIMARY KEY, start INTEGER, increment INTEGER, minimum INTEGER, maximum INTEGER, cycle INTEGER, last_value INTEGER, is_called INTEGER);
";

/// Creates the catalog in a new database file: schema `public`, nothing else. Inside the caller's transaction.
pub fn create(connection: &Connection) -> Result<(), Error> {
    connection.execute_batch(TABLES).map_err(failure)?;
    let meta = [("format_version", FORMAT_VERSION), ("next_oid", i64::from(FIRST_OID)), ("catalog_version", 1)];
    for (key, value) in meta {
        connection.execute("INSERT INTO pgp_meta(key, value) VALUES(?1, ?2)", params![key, value]).map_err(failure)?;
    }
    let insert = "INSERT INTO pgp_schema(oid, name, owner, acl) VALUES(2200, 'public', ?1, ?2)";
    connection
        .execute(insert, params![DATABASE_OWNER_OID, json(&Acl::of_public_schema(DATABASE_OWNER_OID))?])
        .map_err(failure)?;
    Ok(())
}

fn json(value: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::internal(format!("catalog: {error}")))
}

/// The error of a catalog read or write that SQLite refused.
pub fn failure(error: rusqlite::Error) -> Error {
    use rusqlite::ErrorCode;
    match &error {
        rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
            ErrorCode::DiskFull => {
                Error::new(Condition::DiskFull, "could not extend database file: No space left on device")
                    .hint("Check free disk space.")
            }
            ErrorCode::OperationInterrupted => {
                Error::new(Condition::QueryCanceled, "canceling statement due to user request")
            }
            ErrorCode::OutOfMemory => Error::new(Condition::OutOfMemory, "out of memory"),
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
                Error::new(Condition::DataCorrupted, format!("invalid page in database file: {error}"))
            }
            ErrorCode::SystemIoFailure | ErrorCode::CannotOpen => {
                Error::new(Condition::IoError, format!("could not read or write database file: {error}"))
            }
            ErrorCode::ReadOnly => Error::new(Condition::ReadOnlySqlTransaction, "cannot write to database file"),
            _ => Error::internal(format!("catalog: {error}")),
        },
        _ => Error::internal(format!("catalog: {error}")),
    }
}

/// A schema's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// `pg_namespace.oid`.
    pub oid: u32,
    /// Its name.
    pub name: String,
    /// OID of the role that owns it.
    pub owner: u32,
    /// What was granted on it, where anything ever was.
    pub acl: Option<Acl>,
}

/// What objects of a kind get granted from the beginning, where their owner has said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefaultAcl {
    /// `pg_default_acl.oid`.
    pub oid: u32,
    /// Whose objects.
    pub role: u32,
    /// In which schema; 0: in all.
    pub schema: u32,
    /// Objects of which kind.
    pub kind: Kind,
    /// Their list; in one schema, what is added to it there.
    pub acl: Acl,
}

/// Relations by schema and name; `None` for those known to be missing.
type Names = HashMap<(String, String), Option<Rc<Relation>>>;

/// What this process knows of one database's catalog. Outlives transactions; [`StoredCatalog`] reads through it.
pub struct Cache {
    /// Distinguishes every state that plans may rest on.
    generation: Cell<u64>,
    /// The stored version that the contents were read at; 0: none yet.
    loaded: Cell<u64>,
    /// This transaction has changed the catalog.
    changed: Cell<bool>,
    /// The session has temporary relations.
    temporary: Cell<bool>,
    /// This transaction has changed those.
    temporary_changed: Cell<bool>,
    next_temporary_oid: Cell<u32>,
    names: RefCell<Names>,
    oids: RefCell<HashMap<u32, Option<Rc<Relation>>>>,
    schemas: RefCell<Option<Rc<[Schema]>>>,
}

impl Default for Cache {
    fn default() -> Self {
        Self::new()
    }
}

impl Cache {
    /// An empty cache.
    pub fn new() -> Self {
        Self {
            generation: Cell::new(1),
            loaded: Cell::new(0),
            changed: Cell::new(false),
            temporary: Cell::new(false),
            temporary_changed: Cell::new(false),
            next_temporary_oid: Cell::new(FIRST_TEMPORARY_OID),
            names: RefCell::default(),
            oids: RefCell::default(),
            schemas: RefCell::default(),
        }
    }

    /// Brings the cache up to date before a statement. `published` is the segment's catalog version of the
    /// database; free when it equals what was loaded. A version that was announced but is not committed yet
    /// leaves the cache as it is, to be looked at again.
    pub fn refresh(&self, connection: &Connection, published: u64) -> Result<(), Error> {
        if self.changed.get() || (published == self.loaded.get() && published != 0) {
            return Ok(());
        }
        let stored = stored_version(connection)?;
        if stored != self.loaded.get() {
            self.loaded.set(stored);
            self.clear();
        }
        Ok(())
    }

    /// Whether the open transaction has changed the stored catalog.
    pub fn is_changed(&self) -> bool {
        self.changed.get()
    }

    /// Before COMMIT: when the transaction changed the catalog, stores the next version and returns it; the
    /// caller publishes it in the segment, then commits, then calls [`Cache::committed`].
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

    /// After COMMIT, with what [`Cache::prepare_commit`] returned.
    pub fn committed(&self, version: Option<u64>) {
        self.changed.set(false);
        if let Some(version) = version {
            self.loaded.set(version);
        }
    }

    /// After ROLLBACK, or ROLLBACK TO a savepoint with `still_changed` when catalog changes before it remain.
    pub fn rolled_back(&self, connection: &Connection, still_changed: bool) -> Result<(), Error> {
        self.changed.set(still_changed);
        self.clear();
        if self.temporary.get() {
            self.temporary.set(temporary_catalog_exists(connection)?);
        }
        Ok(())
    }

    /// Something was rolled back, or the transaction has ended: what is known of temporary relations that it changed is
    /// looked up anew.
    pub fn look_at_temporary_again(&self, connection: &Connection, ended: bool) -> Result<(), Error> {
        if !self.temporary_changed.get() {
            return Ok(());
        }
        self.clear();
        self.temporary.set(temporary_catalog_exists(connection)?);
        self.temporary_changed.set(!ended);
        Ok(())
    }

    /// The search path, the user or the session's temporary relations changed: plans must not be kept.
    pub fn invalidate_plans(&self) {
        self.generation.set(self.generation.get() + 1);
    }

    /// The stored version that the contents were read at.
    pub fn loaded_version(&self) -> u64 {
        self.loaded.get()
    }

    /// Whether the session has temporary relations.
    pub fn has_temporary(&self) -> bool {
        self.temporary.get()
    }

    /// Forgets a session's temporary relations; their tables are dropped by the caller's reset.
    pub fn forget_temporary(&self) {
        if self.temporary.replace(false) {
            self.clear();
        }
    }

    fn clear(&self) {
        self.names.borrow_mut().clear();
        self.oids.borrow_mut().clear();
        self.schemas.borrow_mut().take();
        self.invalidate_plans();
    }

    /// Notes a change of the stored catalog by this transaction.
    fn note_change(&self) {
        self.changed.set(true);
        self.clear();
    }
}

/// The relations without which this one cannot be.
fn references(relation: &Relation) -> Vec<u32> {
    use crate::sql::catalog::{ConstraintKind, SequenceOwner};
    let mut oids: Vec<u32> = relation
        .constraints
        .iter()
        .filter_map(|constraint| match &constraint.kind {
            ConstraintKind::ForeignKey { references, .. } => Some(*references),
            _ => None,
        })
        .collect();
    oids.extend(relation.depends.sources.iter().map(|source| source.oid));
    oids.extend(relation.depends.sequences.iter().map(|(_, sequence)| *sequence));
    if let SequenceOwner::Column(table, _) = relation.depends.owner {
        oids.push(table);
    }
    oids
}

fn stored_version(connection: &Connection) -> Result<u64, Error> {
    let mut statement =
        connection.prepare_cached("SELECT value FROM main.pgp_meta WHERE key = 'catalog_version'").map_err(failure)?;
    let version: i64 = statement.query_row([], |row| row.get(0)).map_err(failure)?;
    Ok(version as u64)
}

/// The database's tables as the current transaction changes them. Everything here needs the write lock, but for
/// temporary relations.
pub struct Writer<'a> {
    connection: &'a Connection,
    cache: &'a Cache,
}

impl<'a> Writer<'a> {
    /// Writes through a connection that is in a write transaction.
    pub fn new(connection: &'a Connection, cache: &'a Cache) -> Self {
        Self { connection, cache }
    }

    /// The next unused OID.
    pub fn next_oid(&self, temporary: bool) -> Result<u32, Error> {
        if temporary {
            let oid = self.cache.next_temporary_oid.get();
            self.cache.next_temporary_oid.set(oid - 1);
            return Ok(oid);
        }
        let next: i64 = self
            .connection
            .prepare_cached("UPDATE main.pgp_meta SET value = value + 1 WHERE key = 'next_oid' RETURNING value - 1")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .map_err(failure)?;
        u32::try_from(next).map_err(|_| Error::new(Condition::ProgramLimitExceeded, "out of object identifiers"))
    }

    /// Stores a relation, new or changed, with its index names and references.
    pub fn put(&self, relation: &Relation) -> Result<(), Error> {
        let database = self.database(relation.temporary)?;
        let json = json(relation)?;
        self.remove_dependents(database, relation.oid)?;
        let sql = format!(
            "INSERT OR REPLACE INTO {database}.pgp_relation(oid, schema, name, definition) VALUES(?1, ?2, ?3, ?4)"
        );
        self.run(&sql, params![relation.oid, relation.schema, relation.name, json])?;
        for index in &relation.indexes {
            let sql = format!("INSERT INTO {database}.pgp_index(oid, schema, name, relation) VALUES(?1, ?2, ?3, ?4)");
            self.run(&sql, params![index.oid, relation.schema, index.name, relation.oid])?;
        }
        for referenced in references(relation) {
            let sql = format!("INSERT OR IGNORE INTO {database}.pgp_reference(referenced, referencing) VALUES(?1, ?2)");
            self.run(&sql, params![referenced, relation.oid])?;
        }
        self.note(relation.temporary);
        Ok(())
    }

    /// Removes a relation.
    pub fn remove(&self, relation: &Relation) -> Result<(), Error> {
        let database = self.database(relation.temporary)?;
        self.remove_dependents(database, relation.oid)?;
        self.run(&format!("DELETE FROM {database}.pgp_relation WHERE oid = ?1"), [relation.oid])?;
        self.run(&format!("DELETE FROM {database}.pgp_comment WHERE relation = ?1"), [relation.oid])?;
        if relation.kind == RelationKind::Sequence {
            self.run(&format!("DELETE FROM {database}.pgp_sequence WHERE relation = ?1"), [relation.oid])?;
        }
        self.note(relation.temporary);
        Ok(())
    }

    /// Adds a schema.
    pub fn add_schema(&self, name: &str, owner: u32, acl: Option<&Acl>) -> Result<(), Error> {
        let schema = Schema { oid: self.next_oid(false)?, name: name.to_owned(), owner, acl: acl.cloned() };
        self.put_schema(&schema)
    }

    /// Stores a schema, new or changed.
    pub fn put_schema(&self, schema: &Schema) -> Result<(), Error> {
        let acl = schema.acl.as_ref().map(json).transpose()?;
        let sql = "INSERT OR REPLACE INTO main.pgp_schema(oid, name, owner, acl) VALUES(?1, ?2, ?3, ?4)";
        self.run(sql, params![schema.oid, schema.name, schema.owner, acl])?;
        self.note(false);
        Ok(())
    }

    /// Stores default privileges, new or changed.
    pub fn put_default_acl(&self, default: &DefaultAcl) -> Result<(), Error> {
        let sql =
            "INSERT OR REPLACE INTO main.pgp_default_acl(oid, role, schema, object, acl) VALUES(?1, ?2, ?3, ?4, ?5)";
        let object = json(&default.kind)?;
        self.run(sql, params![default.oid, default.role, default.schema, object, json(&default.acl)?])?;
        self.note(false);
        Ok(())
    }

    /// Removes default privileges.
    pub fn remove_default_acl(&self, oid: u32) -> Result<(), Error> {
        self.run("DELETE FROM main.pgp_default_acl WHERE oid = ?1", [oid])?;
        self.note(false);
        Ok(())
    }

    /// Removes a schema, which must be empty.
    pub fn remove_schema(&self, name: &str) -> Result<(), Error> {
        let defaults =
            "DELETE FROM main.pgp_default_acl WHERE schema IN (SELECT oid FROM main.pgp_schema WHERE name = ?1)";
        self.run(defaults, [name])?;
        self.run("DELETE FROM main.pgp_schema WHERE name = ?1", [name])?;
        self.note(false);
        Ok(())
    }

    /// Stores or removes a comment on what has that OID; attribute 0 is the object itself.
    pub fn comment(&self, temporary: bool, oid: u32, attribute: usize, text: Option<&str>) -> Result<(), Error> {
        let database = self.database(temporary)?;
        match text {
            Some(text) => {
                let sql = format!(
                    "INSERT OR REPLACE INTO {database}.pgp_comment(relation, attribute, text) VALUES(?1, ?2, ?3)"
                );
                self.run(&sql, params![oid, attribute as i64, text])
            }
            None => {
                let sql = format!("DELETE FROM {database}.pgp_comment WHERE relation = ?1 AND attribute = ?2");
                self.run(&sql, params![oid, attribute as i64])
            }
        }
    }

    fn remove_dependents(&self, database: &str, oid: u32) -> Result<(), Error> {
        self.run(&format!("DELETE FROM {database}.pgp_index WHERE relation = ?1"), [oid])?;
        self.run(&format!("DELETE FROM {database}.pgp_reference WHERE referencing = ?1"), [oid])
    }

    fn run(&self, sql: &str, parameters: impl rusqlite::Params) -> Result<(), Error> {
        self.connection.execute(sql, parameters).map(|_| ()).map_err(failure)
    }

    /// Temporary relations leave the stored catalog as it is: no other process has to know.
    fn note(&self, temporary: bool) {
        if temporary {
            self.cache.temporary_changed.set(true);
            self.cache.clear();
        } else {
            self.cache.note_change();
        }
    }

    /// The SQLite database that holds the catalog rows; the temporary one is set up on first use.
    fn database(&self, temporary: bool) -> Result<&'static str, Error> {
        if !temporary {
            return Ok("main");
        }
        if !temporary_catalog_exists(self.connection)? {
            let tables = TABLES.replace("CREATE TABLE ", "CREATE TABLE temp.");
            self.connection.execute_batch(&tables).map_err(failure)?;
        }
        self.cache.temporary.set(true);
        self.cache.temporary_changed.set(true);
        Ok("temp")
    }
}

fn temporary_catalog_exists(connection: &Connection) -> Result<bool, Error> {
    let found: Option<i64> = connection
        .query_row("SELECT 1 FROM temp.sqlite_schema WHERE name = 'pgp_relation'", [], |row| row.get(0))
        .optional()
        .map_err(failure)?;
    Ok(found.is_some())
}

#[cfg(test)]
mod tests;
