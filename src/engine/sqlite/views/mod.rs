//! System views: relations described in code, their rows made from the catalog, the cluster and the segment.
//!
//! Owns names, OIDs and columns of every view. What the views show comes from a [`Source`], which the engine
//! installs for its thread: SQLite's virtual tables carry no borrowed state.

mod authid;
mod catalog;
mod depend;
pub mod functions;
mod list;
mod privileges;

use std::cell::RefCell;
use std::rc::Rc;

use rusqlite::Connection;

use crate::engine::cluster::{SUPERUSER_OID, Snapshot};
use crate::engine::sqlite::catalog::{DefaultAcl, Schema};
use crate::engine::sqlite::rights::Rights;
use crate::error::Error;
use crate::sql::acl::Privileges;
use crate::sql::catalog::{ColumnDefinition, Relation, RelationKind};
use crate::sql::types::{Datum, Type, Value, names};

/// Where the views' rows come from. Implemented by the engine.
pub trait Source {
    /// All schemas, system ones included.
    fn schemas(&self) -> Result<Vec<Schema>, Error>;
    /// All stored relations of the session's database.
    fn relations(&self) -> Result<Vec<Rc<Relation>>, Error>;
    /// Comments as (relation, attribute, text).
    fn comments(&self) -> Result<Vec<(u32, i64, String)>, Error>;
    /// Roles and databases.
    fn cluster(&self) -> Rc<Snapshot>;
    /// Default privileges.
    fn default_acls(&self) -> Result<Vec<DefaultAcl>, Error>;
    /// As whom the session acts.
    fn rights(&self) -> Rc<Rights>;
    /// Rows of a view that shows the server's state (pg_stat_activity, pg_locks, pg_settings, pgprefork.*), by
    /// its schema-qualified name, in the order of its columns.
    fn state(&self, view: &str) -> Result<Vec<Vec<Value>>, Error>;
    /// A function that looks something up in the catalog or the server's state, by its SQL name.
    fn function(&self, name: &str, arguments: &[Datum<'_>]) -> Result<Value, Error>;
}

thread_local! {
    static SOURCE: RefCell<Option<Rc<dyn Source>>> = const { RefCell::new(None) };
    static RELATIONS: Rc<[Rc<Relation>]> = list::VIEWS.iter().enumerate().map(|(index, view)| Rc::new(describe(index, view))).collect();
}

/// Installs what the views of this thread's connection show; `None` when the session ends.
pub fn install(source: Option<Rc<dyn Source>>) {
    names::install(source.is_some().then_some(name_of as names::Resolver));
    SOURCE.with(|current| *current.borrow_mut() = source);
}

/// How a value of a `reg*` type is shown.
fn name_of(type_: Type, oid: u32) -> Option<String> {
    let output = match type_ {
        Type::Regclass => "regclassout",
        Type::Regtype => "regtypeout",
        Type::Regnamespace => "regnamespaceout",
        Type::Regrole => "regroleout",
        _ => "regprocout",
    };
    match function(output, &[Datum::Int(i64::from(oid))]) {
        Ok(Value::Text(name)) => Some(name),
        _ => None,
    }
}

fn source() -> Option<Rc<dyn Source>> {
    SOURCE.with(|source| source.borrow().clone())
}

/// Calls a function that looks something up; NULL while there is no session.
pub fn function(name: &str, arguments: &[Datum<'_>]) -> Result<Value, Error> {
    source().map_or(Ok(Value::Null), |source| source.function(name, arguments))
}

/// Those of the schemas that exist and that the session may use, in order.
pub fn usable_schemas(path: &[String]) -> Vec<String> {
    let Some(source) = source() else { return Vec::new() };
    let known = source.schemas().unwrap_or_default();
    let rights = source.rights();
    let usable = |name: &&String| {
        let schema = known.iter().find(|schema| schema.name == **name);
        schema.is_some_and(|schema| rights.require_schema(schema, Privileges::USAGE).is_ok())
    };
    path.iter().filter(usable).cloned().collect()
}

/// OID of the role of that name, and whether it is a superuser.
pub fn role(name: &str) -> Option<(u32, bool)> {
    source()?.cluster().role_row(name).map(|role| (role.oid, role.superuser))
}

/// Whether one role has another's privileges.
pub fn has_privileges_of(member: u32, role: u32) -> bool {
    source().is_some_and(|source| source.cluster().has_privileges_of(member, role))
}

/// The same, by the other one's name.
pub fn has_privileges_of_named(member: u32, role: &str) -> bool {
    source().is_some_and(|source| source.cluster().has_privileges_of_named(member, role))
}

/// Whether the role of that OID is a superuser.
pub fn is_superuser(oid: u32) -> bool {
    source().is_some_and(|source| source.cluster().roles().iter().any(|role| role.oid == oid && role.superuser))
}

/// A view: where it is, its OID (0: one of ours is given), its columns as `name:type`, and its rows.
pub(super) struct View {
    schema: &'static str,
    name: &'static str,
    oid: u32,
    columns: &'static str,
    rows: Rows,
}

/// A view's rows, or why there are none.
type MadeRows = Result<Vec<Vec<Value>>, Error>;

/// How a view's rows are made.
enum Rows {
    /// From the catalog and the cluster.
    Made(fn(&dyn Source) -> MadeRows),
    /// By the engine: the server's state.
    State,
    /// None yet: the feature that would fill it is not there.
    Empty,
}

/// OIDs of views that PostgreSQL does not number.
pub const FIRST_VIEW_OID: u32 = 12_000;

fn describe(index: usize, view: &View) -> Relation {
    let columns = view.columns.split_whitespace().filter_map(|column| column.split_once(':')).map(|(name, type_)| {
        let type_ = match type_ {
            "char" => Type::Char,
            "text[]" => Type::TextArray,
            "oid[]" => Type::OidArray,
            "int2[]" => Type::Int2Array,
            "aclitem[]" => Type::AclItemArray,
            "any" => Type::Text,
            other => crate::sql::define::type_by_name(other).unwrap_or(Type::Text),
        };
        ColumnDefinition {
            name: name.to_owned(),
            type_,
            typmod: -1,
            not_null: false,
            default: None,
            dropped: false,
            acl: None,
        }
    });
    Relation {
        oid: if view.oid == 0 { FIRST_VIEW_OID + index as u32 } else { view.oid },
        schema: view.schema.to_owned(),
        name: view.name.to_owned(),
        kind: RelationKind::System,
        columns: columns.collect(),
        constraints: Vec::new(),
        indexes: Vec::new(),
        owner: SUPERUSER_OID,
        acl: None,
        storage: format!("{}.{}", view.schema, view.name),
        rowid_column: None,
        unlogged: false,
        temporary: false,
        options: Vec::new(),
        on_commit: crate::sql::catalog::OnCommit::PreserveRows,
        depends: crate::sql::catalog::Dependencies::default(),
    }
}

/// The system relation of that name.
pub fn relation(schema: &str, name: &str) -> Option<Rc<Relation>> {
    let index = list::VIEWS.iter().position(|view| view.schema == schema && view.name == name)?;
    RELATIONS.with(|relations| relations.get(index).cloned())
}

/// The system relation of that OID.
pub fn relation_by_oid(oid: u32) -> Option<Rc<Relation>> {
    if oid >= super::catalog::FIRST_OID {
        return None;
    }
    RELATIONS.with(|relations| relations.iter().find(|relation| relation.oid == oid).cloned())
}

/// All system relations.
pub fn all() -> Rc<[Rc<Relation>]> {
    RELATIONS.with(Rc::clone)
}

/// Makes a system relation readable on a connection; call before preparing a plan that names it. Registering
/// again makes SQLite forget prepared statements' schema, so the caller remembers what it has registered.
pub fn register(connection: &Connection, storage: &str) -> rusqlite::Result<()> {
    super::ffi::vtab::register(connection, storage)
}

pub(super) fn index_of_storage(storage: &str) -> Option<usize> {
    RELATIONS.with(|relations| relations.iter().position(|relation| relation.storage == storage))
}

/// The view's CREATE TABLE as SQLite wants it declared.
pub(super) fn declaration(view: usize) -> String {
    RELATIONS.with(|relations| {
        let Some(relation) = relations.get(view) else { return String::new() };
        let columns: Vec<String> = relation
            .columns
            .iter()
            .map(|column| {
                format!("{} {}", crate::sql::define::partition::quoted(&column.name), column.type_.storage_class())
            })
            .collect();
        format!("CREATE TABLE x({})", columns.join(", "))
    })
}

/// The view's rows of now.
pub(super) fn rows(view: usize) -> Result<Vec<Vec<Value>>, Error> {
    let (Some(view), Some(source)) = (list::VIEWS.get(view), source()) else { return Ok(Vec::new()) };
    match view.rows {
        Rows::Made(make) => make(source.as_ref()),
        Rows::State => source.state(&format!("{}.{}", view.schema, view.name)),
        Rows::Empty => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;

    impl Source for Fixed {
        fn schemas(&self) -> Result<Vec<Schema>, Error> {
            Ok(vec![Schema { oid: 2200, name: "public".into(), owner: 10, acl: None }])
        }
        fn relations(&self) -> Result<Vec<Rc<Relation>>, Error> {
            let mut relation = describe(0, &list::VIEWS[0]);
            relation.oid = 16384;
            relation.schema = "public".into();
            relation.name = "t".into();
            relation.kind = RelationKind::Table;
            Ok(vec![Rc::new(relation)])
        }
        fn comments(&self) -> Result<Vec<(u32, i64, String)>, Error> {
            Ok(Vec::new())
        }
        fn cluster(&self) -> Rc<Snapshot> {
            Rc::new(Snapshot::default())
        }
        fn default_acls(&self) -> Result<Vec<DefaultAcl>, Error> {
            Ok(Vec::new())
        }
        fn rights(&self) -> Rc<Rights> {
            Rc::default()
        }
        fn state(&self, _: &str) -> Result<Vec<Vec<Value>>, Error> {
            Ok(Vec::new())
        }
        fn function(&self, _: &str, _: &[Datum<'_>]) -> Result<Value, Error> {
            Ok(Value::Null)
        }
    }

    #[test]
    fn every_view_can_be_read_and_its_rows_are_as_wide_as_its_columns() {
        install(Some(Rc::new(Fixed)));
        let connection = Connection::open_in_memory().unwrap();
        for (index, relation) in all().iter().enumerate() {
            register(&connection, &relation.storage).unwrap();
            let sql = format!("SELECT * FROM \"{}\"", relation.storage);
            let statement = connection.prepare(&sql).unwrap();
            assert_eq!(statement.column_count(), relation.columns.len(), "{}", relation.name);
            for row in rows(index).unwrap() {
                assert_eq!(row.len(), relation.columns.len(), "{}", relation.name);
            }
        }
        let found: i64 = connection
            .query_row(
                "SELECT count(*) FROM \"pg_catalog.pg_class\" WHERE relname = 't' AND relkind = 'r'",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(found, 1);
    }

    #[test]
    fn oids_of_views_are_unique() {
        let mut oids: Vec<u32> = all().iter().map(|relation| relation.oid).collect();
        oids.sort_unstable();
        oids.dedup();
        assert_eq!(oids.len(), all().len());
    }
}
