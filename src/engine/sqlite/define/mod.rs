//! Carries definitions out: resolves their names against the catalog, changes SQLite's tables, and stores the
//! new catalog entries, all inside the caller's write transaction.
//!
//! Owns the mapping from relations to SQLite tables, indexes and triggers. It neither begins nor ends
//! transactions and knows no session beyond its [`Context`].

mod alter;
mod constraint;
mod create;
mod depend;
mod like;
mod partition;
pub mod pending;
mod privilege;
mod remove;
mod sequence;
mod storage;
mod trigger;
mod violation;

use std::rc::Rc;

use rusqlite::Connection;
use rusqlite::fallible_iterator::FallibleIterator;

use super::catalog::{Cache, Schema, StoredCatalog, TEMPORARY_SCHEMA, Writer};
use super::rights::Rights;
use crate::error::{Condition, Error};
use crate::sql::acl::{Kind, Privileges};
use crate::sql::catalog::{Catalog, Relation, RelationKind, ViewSource};
use crate::sql::define::{Definition, Name, ObjectKind, RoleName};
use crate::sql::plan::Column;
use crate::sql::types::Type;

pub use violation::{not_null, row_detail, unique_detail, violated, violated_in};

/// What the planner does for definitions: expressions and queries inside them are its business.
pub trait ExpressionBinder {
    /// An expression over the relation's columns (bare names, no subquery, no aggregate), as SQLite SQL whose
    /// columns are bare quoted names. `target` coerces the result by assignment; `None` takes it as it is.
    fn expression(&self, relation: &Relation, text: &str, target: Option<(Type, i32)>) -> Result<String, Error>;

    /// The columns that a query yields: CREATE TABLE AS's.
    fn query_columns(&self, text: &str) -> Result<Vec<Column>, Error>;

    /// The same for a view's, with the relations that it names.
    fn view_query(&self, text: &str) -> Result<(Vec<Column>, Vec<ViewSource>), Error>;

    /// Whether SQLite's message says that a function is missing which the connection has been given now.
    fn provide_missing(&self, message: &str) -> bool {
        let _ = message;
        false
    }
}

/// Where and for whom a definition is carried out.
pub struct Context<'a> {
    /// In a write transaction.
    pub connection: &'a Connection,
    /// The process's cache of this database's catalog.
    pub cache: &'a Cache,
    /// The session's search_path, `"$user"` resolved.
    pub search_path: &'a [String],
    /// current_user, which owns what is created, and what it may.
    pub rights: &'a Rights,
    /// Binds the expressions.
    pub binder: &'a dyn ExpressionBinder,
}

/// Makes the functions known that stored triggers and conditions call.
pub fn register(connection: &Connection) -> rusqlite::Result<()> {
    partition::register(connection)?;
    pending::register(connection)
}

/// What carrying out a definition leaves for the caller.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Notices for the client, each with its severity.
    pub notices: Vec<(&'static str, Error)>,
    /// A statement of PostgreSQL's to run next, in the same transaction: CREATE TABLE AS fills its table so.
    pub then: Option<String>,
    /// CREATE TABLE IF NOT EXISTS … AS found the table there.
    pub skipped: bool,
}

/// Carries out a definition whose scope is the database, or checks one of maintenance (whose work is SQLite's own
/// or none: `maintenance` below says what to run outside of a transaction).
///
/// Notices are there whether it succeeds or not.
pub fn execute(definition: &Definition, context: &Context<'_>) -> (Outcome, Result<(), Error>) {
    let mut definer = Definer { context, outcome: Outcome::default() };
    let done = definer.run(definition);
    (definer.outcome, done)
}

/// One definition being carried out.
struct Definer<'a> {
    context: &'a Context<'a>,
    outcome: Outcome,
}

impl<'a> Definer<'a> {
    fn run(&mut self, definition: &Definition) -> Result<(), Error> {
        match definition {
            Definition::CreateTable(table) => self.create_table(table),
            Definition::CreateTableAs(table) => self.create_table_as(table),
            Definition::CreateIndex(index) => self.create_index(index),
            Definition::CreateView(view) => self.create_view(view),
            Definition::CreateSequence(sequence) => self.create_sequence(sequence),
            Definition::CreateSchema { name, if_not_exists, authorization } => {
                self.create_schema(name.as_deref(), *if_not_exists, authorization.as_ref())
            }
            Definition::SchemaRename { name, to } => self.rename_schema(name, to),
            Definition::SchemaOwner { name, owner } => self.change_schema_owner(name, owner),
            Definition::Privileges(change) => self.change_privileges(change),
            Definition::AlterDefaultPrivileges { roles, schemas, change } => {
                self.change_defaults(roles, schemas, change)
            }
            Definition::ReassignOwned { roles, to } => self.reassign_owned(roles, to),
            Definition::DropOwned { roles, cascade } => self.drop_owned(roles, *cascade),
            Definition::Drop { object, names, if_exists, cascade } => self.drop(*object, names, *if_exists, *cascade),
            Definition::DropType { kind, names, if_exists } => self.drop_types(kind, names, *if_exists),
            Definition::Truncate { tables, cascade, restart_identity } => {
                self.truncate(tables, *cascade, *restart_identity)
            }
            Definition::AlterTable { table, object, if_exists, actions } => {
                self.alter(table, *object, *if_exists, actions)
            }
            Definition::Comment { object, name, column, text } => {
                self.comment(object, name, column.as_deref(), text.as_deref())
            }
            Definition::Vacuum { tables, columns, .. } | Definition::Analyze { tables, columns } => {
                self.check_tables(tables, columns)
            }
            Definition::Reindex { object, name } => self.reindex(*object, name.as_ref()),
            Definition::Checkpoint => Ok(()),
            other => Err(Error::internal(format!("{} is not a change of the database's catalog", other.tag()))),
        }
    }

    fn catalog(&self) -> StoredCatalog<'a> {
        let context = self.context;
        StoredCatalog {
            connection: context.connection,
            cache: context.cache,
            search_path: context.search_path,
            rights: context.rights,
        }
    }

    fn writer(&self) -> Writer<'a> {
        Writer::new(self.context.connection, self.context.cache)
    }

    fn notice(&mut self, condition: Condition, message: String) {
        self.outcome.notices.push(("NOTICE", Error::new(condition, message)));
    }

    /// Runs SQLite statements that cannot fail on account of rows.
    fn storage(&self, sql: &str) -> Result<(), Error> {
        self.run_storage(sql).map_err(super::catalog::failure)
    }

    /// Runs statements of SQLite's own dialect that change storage. Stored expressions call functions of ours that
    /// the connection may not know yet: SQLite says so before it has changed anything.
    fn run_storage(&self, sql: &str) -> rusqlite::Result<()> {
        let missing = |error: &rusqlite::Error| self.context.binder.provide_missing(&error.to_string());
        let mut batch = rusqlite::Batch::new(self.context.connection, sql);
        loop {
            let mut statement = match batch.next() {
                Err(error) if missing(&error) => continue,
                other => match other? {
                    Some(statement) => statement,
                    None => return Ok(()),
                },
            };
            loop {
                let run = statement.query(()).and_then(|mut rows| {
                    while rows.next()?.is_some() {}
                    Ok(())
                });
                match run {
                    Err(error) if missing(&error) => {}
                    other => break other?,
                }
            }
        }
    }

    /// The relation of that name, or `None`.
    fn find(&self, name: &Name) -> Result<Option<Rc<Relation>>, Error> {
        if let Some(schema) = &name.schema {
            self.catalog().require_usable(schema).map_err(|error| error.position(name.position))?;
        }
        self.catalog().relation(name.schema.as_deref(), &name.name)
    }

    /// The relation of that name, or 42P01.
    fn require(&self, name: &Name) -> Result<Rc<Relation>, Error> {
        match self.find(name)? {
            Some(found) => Ok(found),
            None => Err(self.lost(name)?),
        }
    }

    /// 42P01, or 3F000 where there is no such schema either.
    fn lost(&self, name: &Name) -> Result<Error, Error> {
        if let Some(schema) = &name.schema
            && !self.catalog().schema_exists(schema)?
        {
            return Ok(missing_schema(schema));
        }
        let error = Error::new(Condition::UndefinedTable, format!("relation \"{name}\" does not exist"));
        Ok(error.position(name.position))
    }

    /// The table of that name, to be changed by its owner.
    fn require_table(&self, name: &Name) -> Result<Rc<Relation>, Error> {
        let relation = self.require(name)?;
        if !is_table(&relation) {
            return Err(wrong_kind(&relation, "a table"));
        }
        self.require_owner(&relation)?;
        Ok(relation)
    }

    /// Only its owner and superusers change a relation.
    fn require_owner(&self, relation: &Relation) -> Result<(), Error> {
        if relation.kind == RelationKind::System {
            let message = format!("permission denied: \"{}\" is a system catalog", relation.name);
            return Err(Error::new(Condition::InsufficientPrivilege, message));
        }
        if self.context.rights.owns(relation.owner) {
            return Ok(());
        }
        let message = format!("must be owner of {} {}", kind_name(relation), relation.name);
        Err(Error::new(Condition::InsufficientPrivilege, message))
    }

    /// A relation is dropped by its owner, or by that of its schema.
    fn require_owner_of_schema(&self, relation: &Relation) -> Result<(), Error> {
        let owned = self.require_owner(relation);
        let schema = self.catalog().schema(&relation.schema)?;
        if schema.is_some_and(|schema| self.context.rights.owns(schema.owner)) { Ok(()) } else { owned }
    }

    /// The schema in which a new object goes, and whether it is temporary, said or by the schema.
    fn creation_schema(&self, name: &Name, temporary: bool) -> Result<(String, bool), Error> {
        if temporary {
            return match name.schema.as_deref() {
                None | Some(TEMPORARY_SCHEMA) => self.temporary_schema(),
                Some(_) => Err(Error::new(
                    Condition::InvalidTableDefinition,
                    "cannot create temporary relation in non-temporary schema",
                )
                .position(name.position)),
            };
        }
        let first = self.catalog().search_path().into_iter().next();
        let schema = name.schema.clone().or(first).ok_or_else(|| {
            Error::new(Condition::InvalidSchemaName, "no schema has been selected to create in").position(name.position)
        })?;
        match schema.as_str() {
            "pg_catalog" | "information_schema" | "pgprefork" => {
                let message = format!("permission denied to create \"{schema}.{}\"", name.name);
                Err(Error::new(Condition::InsufficientPrivilege, message)
                    .detail("System catalog modifications are currently disallowed."))
            }
            TEMPORARY_SCHEMA => self.temporary_schema(),
            _ if self.catalog().schema_exists(&schema)? => {
                self.require_create(&schema).map_err(|error| error.position(name.position))?;
                Ok((schema, false))
            }
            _ => Err(missing_schema(&schema).position(name.position)),
        }
    }

    fn temporary_schema(&self) -> Result<(String, bool), Error> {
        let rights = self.context.rights;
        if let Err(_denied) = rights.require_database(Privileges::TEMPORARY) {
            let databases = rights.cluster().databases();
            let name = databases.iter().find(|database| database.oid == rights.database);
            let name = name.map_or("", |database| database.name.as_str());
            let message = format!("permission denied to create temporary tables in database \"{name}\"");
            return Err(Error::new(Condition::InsufficientPrivilege, message));
        }
        Ok((TEMPORARY_SCHEMA.to_owned(), true))
    }

    /// Whether a new relation's name is free; with IF NOT EXISTS a taken one is a notice.
    fn name_is_free(&mut self, schema: &str, name: &str, if_not_exists: bool) -> Result<bool, Error> {
        if !self.catalog().name_taken(schema, name)? {
            return Ok(true);
        }
        if if_not_exists {
            self.notice(Condition::DuplicateTable, format!("relation \"{name}\" already exists, skipping"));
            return Ok(false);
        }
        Err(Error::new(Condition::DuplicateTable, format!("relation \"{name}\" already exists")))
    }

    fn create_schema(
        &mut self,
        name: Option<&str>,
        if_not_exists: bool,
        authorization: Option<&RoleName>,
    ) -> Result<(), Error> {
        let rights = self.context.rights;
        let owner = authorization.map_or(Ok(rights.role), |role| rights.resolve(role))?;
        let owner_name = rights.name_of(owner);
        let name = name.unwrap_or(&owner_name);
        rights.require_database(Privileges::CREATE)?;
        rights.require_member(owner)?;
        refuse_reserved(name)?;
        if self.catalog().schema_exists(name)? {
            if if_not_exists {
                self.notice(Condition::DuplicateSchema, format!("schema \"{name}\" already exists, skipping"));
                return Ok(());
            }
            return Err(Error::new(Condition::DuplicateSchema, format!("schema \"{name}\" already exists")));
        }
        let acl = self.initial_acl(Kind::Schema, None, owner)?;
        self.writer().add_schema(name, owner, acl.as_ref())
    }

    /// ALTER SCHEMA … RENAME TO: everything in it goes by the new name.
    fn rename_schema(&mut self, name: &str, to: &str) -> Result<(), Error> {
        let Some(schema) = self.catalog().schema(name)? else {
            return Err(match self.catalog().schema_exists(name)? {
                true => Error::unsupported("renaming a system schema"),
                false => missing_schema(name),
            });
        };
        if self.catalog().schema_exists(to)? {
            return Err(Error::new(Condition::DuplicateSchema, format!("schema \"{to}\" already exists")));
        }
        if !self.context.rights.owns(schema.owner) {
            return Err(Error::new(Condition::InsufficientPrivilege, format!("must be owner of schema {name}")));
        }
        self.context.rights.require_database(Privileges::CREATE)?;
        refuse_reserved(to)?;
        self.writer().put_schema(&Schema { name: to.to_owned(), ..schema })?;
        // Tables first: the sequences of their columns go with them.
        let mut inside = self.catalog().relations()?;
        inside.retain(|relation| relation.schema == name);
        inside.sort_by_key(|relation| relation.kind == RelationKind::Sequence);
        for relation in inside {
            let Some(current) = self.catalog().relation_by_oid(relation.oid)? else { continue };
            if current.schema == name {
                self.move_owned(&current, &Relation { schema: to.to_owned(), ..(*current).clone() })?;
            }
        }
        Ok(())
    }

    fn comment(&mut self, object: &str, name: &Name, column: Option<&str>, text: Option<&str>) -> Result<(), Error> {
        let relation = match object {
            "table" | "view" | "column" | "sequence" => self.require(name)?,
            "index" => return self.comment_on_index(name, text),
            "schema" => return self.comment_on_schema(&name.name, text),
            other => return Err(Error::unsupported(format!("COMMENT ON {}", other.to_uppercase()))),
        };
        let owned = self.require_owner(&relation);
        if column.is_some() && owned.is_err() && relation.kind != RelationKind::System {
            let message = format!("must be owner of relation {}", relation.name);
            return Err(Error::new(Condition::InsufficientPrivilege, message));
        }
        owned?;
        let attribute = match column {
            Some(column) => column_index(&relation, column)? + 1,
            None => 0,
        };
        self.writer().comment(relation.temporary, relation.oid, attribute, text)
    }

    fn comment_on_index(&self, name: &Name, text: Option<&str>) -> Result<(), Error> {
        let relation = self.catalog().relation_of_index(name.schema.as_deref(), &name.name)?;
        let relation = relation.ok_or_else(|| {
            let message = format!("relation \"{name}\" does not exist");
            Error::new(Condition::UndefinedTable, message).position(name.position)
        })?;
        self.require_owner(&relation)?;
        let index = relation.indexes.iter().find(|index| index.name == name.name);
        let oid = index.map(|index| index.oid).ok_or_else(|| missing(ObjectKind::Index, name))?;
        self.writer().comment(relation.temporary, oid, 0, text)
    }

    fn comment_on_schema(&self, name: &str, text: Option<&str>) -> Result<(), Error> {
        let schemas = self.catalog().all_schemas()?;
        let schema = schemas.into_iter().find(|known| known.name == name).ok_or_else(|| missing_schema(name))?;
        if !self.context.rights.owns(schema.owner) {
            let message = format!("must be owner of schema {name}");
            return Err(Error::new(Condition::InsufficientPrivilege, message));
        }
        self.writer().comment(false, schema.oid, 0, text)
    }

    fn check_tables(&mut self, tables: &[Name], columns: &[(usize, String)]) -> Result<(), Error> {
        for (at, table) in tables.iter().enumerate() {
            let relation = self.require(table)?;
            for (_, column) in columns.iter().filter(|(of, _)| *of == at) {
                column_index(&relation, column)?;
            }
        }
        Ok(())
    }

    fn reindex(&mut self, object: ObjectKind, name: Option<&Name>) -> Result<(), Error> {
        let Some(name) = name else { return Ok(()) };
        if object == ObjectKind::Table {
            let relation = self.require_table(name)?;
            return self.storage(&format!("REINDEX {}", storage::quoted(&relation.storage)));
        }
        let relation = self.catalog().relation_of_index(name.schema.as_deref(), &name.name)?;
        let relation = relation.ok_or_else(|| missing(ObjectKind::Index, name))?;
        self.require_owner(&relation)?;
        self.storage(&format!("REINDEX {}", storage::quoted(&relation.storage)))
    }
}

/// SQLite statements for VACUUM, ANALYZE and CHECKPOINT. They run outside of a transaction block; ANALYZE needs
/// the writer lock. Nothing is rewritten: SQLite reuses free pages by itself.
pub fn maintenance(definition: &Definition, catalog: &dyn Catalog) -> Result<Vec<String>, Error> {
    let (tables, analyze) = match definition {
        Definition::Vacuum { tables, analyze, .. } => (tables, *analyze),
        Definition::Analyze { tables, .. } => (tables, true),
        _ => return Ok(Vec::new()),
    };
    let mut statements = Vec::new();
    for table in tables {
        let relation = catalog.relation(table.schema.as_deref(), &table.name)?.ok_or_else(|| {
            let message = format!("relation \"{table}\" does not exist");
            Error::new(Condition::UndefinedTable, message).position(table.position)
        })?;
        if analyze && is_table(&relation) {
            statements.push(format!("ANALYZE {}", storage::quoted(&relation.storage)));
        }
    }
    if analyze && tables.is_empty() {
        statements.push("ANALYZE".to_owned());
    }
    if !statements.is_empty() {
        // A sample of each index is enough for the planner, and keeps the writer lock short.
        statements.insert(0, "PRAGMA analysis_limit = 1000".to_owned());
    }
    Ok(statements)
}

/// Drops everything temporary, catalog included: the session that made it is over.
pub fn drop_temporary(connection: &Connection) -> Result<(), Error> {
    let names: Vec<String> = connection
        .prepare("SELECT name FROM temp.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")
        .and_then(|mut statement| statement.query_map((), |row| row.get(0))?.collect())
        .map_err(super::catalog::failure)?;
    for name in names {
        let sql = format!("DROP TABLE temp.{}", storage::quoted(&name));
        connection.execute_batch(&sql).map_err(super::catalog::failure)?;
    }
    Ok(())
}

/// Whether it holds rows of its own.
fn is_table(relation: &Relation) -> bool {
    matches!(relation.kind, RelationKind::Table | RelationKind::Partitioned(_) | RelationKind::Partition { .. })
}

fn kind_name(relation: &Relation) -> &'static str {
    match relation.kind {
        RelationKind::View { .. } | RelationKind::System => "view",
        RelationKind::Sequence => "sequence",
        _ => "table",
    }
}

fn wrong_kind(relation: &Relation, wanted: &str) -> Error {
    Error::new(Condition::WrongObjectType, format!("\"{}\" is not {wanted}", relation.name))
}

/// 42939 for a name that the system keeps for itself.
fn refuse_reserved(schema: &str) -> Result<(), Error> {
    if !schema.starts_with("pg_") {
        return Ok(());
    }
    Err(Error::new(Condition::ReservedName, format!("unacceptable schema name \"{schema}\""))
        .detail("The prefix \"pg_\" is reserved for system schemas."))
}

fn missing_schema(name: &str) -> Error {
    Error::new(Condition::InvalidSchemaName, format!("schema \"{name}\" does not exist"))
}

/// The error of DROP and ALTER for an object that is not there.
fn missing(object: ObjectKind, name: &Name) -> Error {
    let (condition, kind) = match object {
        ObjectKind::Table => (Condition::UndefinedTable, "table"),
        ObjectKind::View => (Condition::UndefinedTable, "view"),
        ObjectKind::Sequence => (Condition::UndefinedTable, "sequence"),
        ObjectKind::Index => (Condition::UndefinedObject, "index"),
        ObjectKind::Schema => (Condition::InvalidSchemaName, "schema"),
        ObjectKind::Database => (Condition::InvalidCatalogName, "database"),
    };
    Error::new(condition, format!("{kind} \"{}\" does not exist", name.name))
}

/// The index of a live column, or 42703.
fn column_index(relation: &Relation, name: &str) -> Result<usize, Error> {
    relation.columns.iter().position(|column| !column.dropped && column.name == name).ok_or_else(|| {
        let message = format!("column \"{name}\" of relation \"{}\" does not exist", relation.name);
        Error::new(Condition::UndefinedColumn, message)
    })
}

#[cfg(test)]
mod tests;
