//! Statements run on SQLite: values bound, rows handed on, failures named.
//!
//! Owns the hot path. A prepared statement whose pages are cached makes no system call here.

use std::rc::Rc;
use std::sync::Arc;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, Row, Statement};
use smallvec::SmallVec;

use super::catalog::StoredCatalog;
use super::cursor::Rows;
use super::define;
use super::engine::{Database, Sqlite};
use super::failure::Constraints;
use super::ffi::rows;
use super::functions;
use super::guard::Guard;
use super::lists::{self, Held};
use super::session::Session;
use super::transaction::{self, Span};
use super::views;
use crate::engine::{Completion, RowSink};
use crate::error::{Condition, Error, Fields};
use crate::sql::acl::Privileges;
use crate::sql::list::List;
use crate::sql::plan::{Access, Action, Bind, Copy, CopyDirection, Permissions, Plan, Planned, Query, Tag};
use crate::sql::types::{Datum, Value};

/// A statement ready to run, with what it takes to plan it anew.
#[derive(Debug)]
pub struct Prepared {
    text: String,
    types: Vec<u32>,
    planned: Planned,
}

impl Prepared {
    /// A planned statement of that text, with the parameter types that were declared.
    pub fn new(text: &str, types: &[u32], planned: Planned) -> Self {
        Self { text: text.to_owned(), types: types.to_vec(), planned }
    }

    /// Its plan.
    pub fn plan(&self) -> &Plan {
        &self.planned.plan
    }
}

/// A result that waits in a portal or a cursor.
#[derive(Debug)]
pub struct Cursor {
    pub(super) rows: Rows,
    next: u64,
}

impl Cursor {
    /// At its first row.
    pub fn new(rows: Rows) -> Self {
        Self { rows, next: 0 }
    }

    /// Hands on the next rows, at most `limit` (0: all).
    pub fn fetch(&mut self, limit: u64, sink: &mut dyn RowSink) -> Result<Completion, Error> {
        let count = if limit == 0 { u64::MAX } else { limit };
        let rows = self.rows.read(self.next, count, sink)?;
        self.next += rows;
        Ok(Completion { rows, complete: self.next >= self.rows.len(), skipped: false })
    }
}

/// A sink that keeps rows for later.
pub struct Keep<'a>(pub &'a mut Rows);

impl RowSink for Keep<'_> {
    fn row(&mut self, row: &[Datum<'_>]) -> Result<(), Error> {
        self.0.push(row)
    }

    fn notice(&mut self, _severity: &'static str, _notice: Error) {}
}

/// What a statement's values are taken from.
struct Values<'a> {
    parameters: &'a [Value],
    literals: &'a [Value],
    /// What was computed for the query before it runs.
    computed: SmallVec<[Value; 2]>,
    session: &'a Arc<Session>,
}

impl<'a> Values<'a> {
    fn new(parameters: &'a [Value], literals: &'a [Value], session: &'a Arc<Session>) -> Self {
        Self { parameters, literals, computed: SmallVec::new(), session }
    }

    /// Binds a query's values. The lists among them can be read until the result goes.
    fn bind(
        &self,
        statement: &mut Statement<'_>,
        binds: &[Bind],
        lists: &[Rc<List>],
    ) -> Result<SmallVec<[Held; 1]>, Stop> {
        let mut held = SmallVec::new();
        for (index, bind) in binds.iter().enumerate() {
            let datum = match bind {
                Bind::Null => Datum::Null,
                Bind::Parameter(number) => self.parameters.get(*number).map_or(Datum::Null, Value::as_datum),
                Bind::Literal(number) => self.literals.get(*number).map_or(Datum::Null, Value::as_datum),
                Bind::Computed(number) => self.computed.get(*number).map_or(Datum::Null, Value::as_datum),
                Bind::TransactionTimestamp => Datum::Int(self.session.transaction_timestamp()),
                Bind::StatementTimestamp => Datum::Int(self.session.statement_timestamp()),
                Bind::List(number) => {
                    let list = lists.get(*number);
                    let list = list.ok_or_else(|| Stop::Sink(Error::internal("a plan has lost a list")))?;
                    let list = Held::new(list.with_parameters(self.parameters).map_err(Stop::Sink)?);
                    let number = list.number();
                    held.push(list);
                    Datum::Int(number)
                }
            };
            statement.raw_bind_parameter(index + 1, Bound(datum))?;
        }
        Ok(held)
    }
}

/// A datum as rusqlite binds it.
struct Bound<'a>(Datum<'a>);

impl rusqlite::ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Datum::Null => ValueRef::Null,
            Datum::Int(value) => ValueRef::Integer(value),
            Datum::Float(value) => ValueRef::Real(value),
            Datum::Text(value) => ValueRef::Text(value.as_bytes()),
            Datum::Bytes(value) => ValueRef::Blob(value),
        }))
    }
}

/// Why stepping through a statement stopped.
enum Stop {
    Sqlite(rusqlite::Error),
    Sink(Error),
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Sqlite {
    /// Runs a query or a data change.
    pub(super) fn run_query(
        &mut self,
        prepared: &Rc<Prepared>,
        parameters: &[Value],
        limit: u64,
        sink: &mut dyn RowSink,
    ) -> Result<(Completion, Option<Cursor>), Error> {
        self.refresh()?;
        let current = self.current(prepared)?;
        let plan = &current.plan;
        let Action::Query(query) = &plan.action else {
            return Err(Error::internal("a query was planned anew as something else"));
        };
        if matches!(plan.tag, Tag::Bare("LOCK TABLE")) && self.database()?.store.span() == Span::Statement {
            let message = "LOCK TABLE can only be used in transaction blocks";
            return Err(Error::new(Condition::NoActiveSqlTransaction, message));
        }
        self.before(query, &plan.tag)?;
        // What was planned before the writer lock was taken may have been changed by whoever had it.
        let stale = self.is_stale(query)?;
        let again;
        let (query, literals) = if stale {
            again = self.planned_anew(prepared)?;
            match &again.plan.action {
                Action::Query(query) => {
                    self.provide_anew(query)?;
                    (query, &again.literals)
                }
                _ => return Err(Error::internal("a query was planned anew as something else")),
            }
        } else {
            (query, &current.literals)
        };
        let session = Arc::clone(&self.session);
        let mut values = Values::new(parameters, literals, &session);
        let database = self.database()?;
        let counts_rows = matches!(plan.tag, Tag::Select) || !plan.columns.is_empty();
        let result = database.step(query, &mut values, limit, sink);
        match result {
            Ok((rows, rest)) => {
                let changed = if counts_rows { rows } else { database.store.connection().changes() };
                database.finish(&session)?;
                let complete = rest.is_none();
                Ok((Completion { rows: changed, complete, skipped: false }, rest.map(Cursor::new)))
            }
            Err(error) => {
                database.failed();
                // A statement that was a transaction by itself is over; after_statement counted it as failed.
                Err(error)
            }
        }
    }

    /// A data change that is a part of another statement, in its transaction.
    pub(super) fn run_part(&mut self, prepared: &Prepared, query: &Query) -> Result<u64, Error> {
        let session = Arc::clone(&self.session);
        let database = self.database()?;
        database.require(&query.permissions)?;
        database.provide(query, &session)?;
        let mut values = Values::new(&[], &prepared.planned.literals, &session);
        database.step(query, &mut values, 0, &mut Keep(&mut Rows::default()))?;
        Ok(database.store.connection().changes())
    }

    /// COPY TO STDOUT: the rows of its query.
    pub(super) fn copy_out(
        &mut self,
        prepared: &Rc<Prepared>,
        query: &Query,
        sink: &mut dyn RowSink,
    ) -> Result<u64, Error> {
        self.refresh()?;
        self.before(query, &Tag::Copy)?;
        let session = Arc::clone(&self.session);
        let mut values = Values::new(&[], &prepared.planned.literals, &session);
        let database = self.database()?;
        match database.step(query, &mut values, 0, sink) {
            Ok((rows, _)) => {
                database.finish(&session)?;
                Ok(rows)
            }
            Err(error) => {
                database.failed();
                Err(error)
            }
        }
    }

    /// COPY FROM STDIN begins.
    pub(super) fn start_copy(&mut self, copy: &Copy) -> Result<(), Error> {
        let CopyDirection::In(query) = &copy.direction else {
            return Err(Error::internal("COPY TO was started as COPY FROM"));
        };
        self.refresh()?;
        self.before(query, &Tag::Copy)?;
        self.copied = 0;
        if self.is_stale(query)? {
            self.database()?.failed();
            return Err(changed_meanwhile());
        }
        Ok(())
    }

    /// One row of it.
    pub(super) fn copy_row(&mut self, copy: &Copy, row: &[Value]) -> Result<(), Error> {
        let CopyDirection::In(query) = &copy.direction else {
            return Err(Error::internal("COPY TO was started as COPY FROM"));
        };
        let session = Arc::clone(&self.session);
        let database = self.database()?;
        let values = Values::new(row, &[], &session);
        let inserted = (|| -> Result<usize, Stop> {
            let mut statement = database.prepared(&query.sql, &query.permissions, &session)?;
            let _held = values.bind(&mut statement, &query.binds, &query.lists)?;
            Ok(statement.raw_execute()?)
        })();
        match inserted {
            Ok(_) => {
                self.copied += 1;
                Ok(())
            }
            Err(Stop::Sink(error)) => Err(error),
            Err(Stop::Sqlite(error)) => Err(database.describe_row(&error, query, &values)),
        }
    }

    /// The end of it.
    pub(super) fn end_copy(&mut self, copy: &Copy, failed: bool) -> Result<u64, Error> {
        debug_assert!(matches!(copy.direction, CopyDirection::In(_)));
        let copied = std::mem::take(&mut self.copied);
        let session = Arc::clone(&self.session);
        let database = self.database()?;
        if failed {
            database.failed();
            return Ok(0);
        }
        database.finish(&session)?;
        Ok(copied)
    }

    /// The plan to use now: the one prepared, unless the catalog has moved since.
    fn current(&mut self, prepared: &Rc<Prepared>) -> Result<Planned, Error> {
        let Action::Query(query) = &prepared.planned.plan.action else {
            return Ok(prepared.planned.clone());
        };
        if !self.is_stale(query)? {
            return Ok(prepared.planned.clone());
        }
        self.planned_anew(prepared)
    }

    fn is_stale(&mut self, query: &Query) -> Result<bool, Error> {
        use crate::sql::catalog::Catalog;
        if query.access == Access::None && query.relations.is_empty() {
            return Ok(false);
        }
        let database = self.database()?;
        if database.store.is_writing() {
            let published = database.store.attachment().database().catalog_version();
            database.catalog.refresh(database.store.connection(), published)?;
        }
        Ok(database.catalog().version() != query.catalog_version)
    }

    fn planned_anew(&mut self, prepared: &Rc<Prepared>) -> Result<Planned, Error> {
        let context = self.session.text_context();
        let Database { planner, store, catalog, search_path, rights, .. } = self.database()?;
        let catalog = StoredCatalog { connection: store.connection(), cache: catalog, search_path, rights };
        let mut statements = planner.split(&prepared.text)?;
        let (_, raw) = statements.pop().ok_or_else(|| Error::internal("a statement has lost its text"))?;
        let planned = planner.plan(&prepared.text, &raw, &prepared.types, &catalog, &context)?;
        let old = &prepared.planned.plan;
        let shape = |plan: &Plan| plan.columns.iter().map(|column| (column.type_, column.typmod)).collect::<Vec<_>>();
        if shape(old) != shape(&planned.plan) || old.parameters != planned.plan.parameters {
            return Err(Error::new(Condition::FeatureNotSupported, "cached plan must not change result type"));
        }
        Ok(planned)
    }

    /// What [`Self::before`] does besides locking, for a query that was planned under the lock.
    fn provide_anew(&mut self, query: &Query) -> Result<(), Error> {
        let session = Arc::clone(&self.session);
        let database = self.database()?;
        let ready = database.require(&query.permissions).and_then(|()| database.provide(query, &session));
        if ready.is_err() {
            database.failed();
        }
        ready
    }

    /// Asks for the privileges that a query needs, locks, and registers what it calls.
    fn before(&mut self, query: &Query, tag: &Tag) -> Result<(), Error> {
        let session = Arc::clone(&self.session);
        let database = self.database()?;
        if let Err(error) = database.require(&query.permissions) {
            database.failed();
            return Err(error);
        }
        let access = match query.access {
            Access::None | Access::Read => transaction::Access::Read,
            Access::Lock | Access::Write if database.writes_temporary_only(query)? => transaction::Access::Temporary,
            Access::Lock | Access::Write => transaction::Access::Write,
        };
        self.start(access, tag_name(tag))?;
        let database = self.database()?;
        let prepared = database.provide(query, &session);
        if prepared.is_err() {
            database.failed();
        }
        prepared
    }
}

impl Database {
    /// Functions and system views that a query names, made known to the connection.
    pub(super) fn provide(&self, query: &Query, session: &Arc<Session>) -> Result<(), Error> {
        // What an earlier failure left behind is not this statement's.
        functions::take_error();
        if !query.functions.is_empty() {
            self.functions.provide(self.store.connection(), &query.functions, session)?;
        }
        for view in &query.virtual_tables {
            if !self.views.borrow().contains(view) {
                let registered = match lists::width_of(view) {
                    Some(_) => rows::register(self.store.connection(), view),
                    None => views::register(self.store.connection(), view),
                };
                registered.map_err(|error| self.store.describe(&error, &()))?;
                self.views.borrow_mut().insert(view.clone());
            }
        }
        Ok(())
    }

    /// Prepares SQL. Functions that stored expressions call (of CHECK, indexes, triggers) are made known as SQLite
    /// asks for them.
    fn prepared(
        &self,
        sql: &str,
        permissions: &Rc<Permissions>,
        session: &Arc<Session>,
    ) -> rusqlite::Result<CachedStatement<'_>> {
        let connection = self.store.connection();
        let _guard = Guard::expect(permissions);
        loop {
            match connection.prepare_cached(sql) {
                Err(error) if self.functions.provide_missing(connection, &error.to_string(), session) => {}
                prepared => return prepared,
            }
        }
    }

    /// Has SQLite prepare a statement, to be found prepared by its next user.
    pub(super) fn prepare_only(&self, query: &Query, session: &Arc<Session>) {
        drop(self.prepared(&query.sql, &query.permissions, session));
    }

    /// Steps through a query: rows up to the limit to the sink, the rest (if there is any) kept.
    fn step(
        &self,
        query: &Query,
        values: &mut Values<'_>,
        limit: u64,
        sink: &mut dyn RowSink,
    ) -> Result<(u64, Option<Rows>), Error> {
        let store = &self.store;
        let synchronous = values.session.synchronous_commit();
        let stepped = (|| -> Result<_, Stop> {
            for computed in &query.computed {
                let mut statement = self.prepared(&computed.sql, &query.permissions, values.session)?;
                let _held = values.bind(&mut statement, &computed.binds, &query.lists)?;
                let value = match statement.raw_query().next()? {
                    Some(row) => data_of(row, 1)?.first().map_or(Value::Null, |datum| datum.to_value()),
                    None => Value::Null,
                };
                values.computed.push(value);
            }
            let _changed = query.watched.as_deref().map(functions::ChangedRows::note);
            let mut statement = self.prepared(&query.sql, &query.permissions, values.session)?;
            let _held = values.bind(&mut statement, &query.binds, &query.lists)?;
            let columns = statement.column_count();
            let mut rows = statement.raw_query();
            let mut sent = 0;
            let mut rest: Option<Rows> = None;
            while let Some(row) = rows.next()? {
                let data = data_of(row, columns)?;
                if limit != 0 && sent == limit {
                    rest.get_or_insert_default().push(&data).map_err(Stop::Sink)?;
                    continue;
                }
                sink.row(&data).map_err(Stop::Sink)?;
                sent += 1;
                if sink.full() {
                    store.settle(synchronous).map_err(Stop::Sink)?;
                    sink.flush().map_err(Stop::Sink)?;
                }
            }
            Ok((sent, rest))
        })();
        match stepped {
            Ok(sent) => Ok(sent),
            Err(Stop::Sink(error)) => Err(error),
            Err(Stop::Sqlite(error)) => Err(self.describe_row(&error, query, values)),
        }
    }

    /// SQLite's failure as the client is told of it: what a function of ours said, or a constraint by its name.
    pub(super) fn describe(&self, error: &rusqlite::Error, relations: &[u32]) -> Error {
        if let Some(error) = functions::take_error() {
            return error;
        }
        self.hide_key(self.store.describe(error, &Named { catalog: self.catalog(), relations }))
    }

    /// The same, with the key of a duplicate where the statement's row is known.
    fn describe_row(&self, error: &rusqlite::Error, query: &Query, values: &Values<'_>) -> Error {
        let described = self.describe(error, &query.relations);
        let condition = described.condition();
        let of_row = [Condition::UniqueViolation, Condition::NotNullViolation, Condition::CheckViolation];
        if !of_row.contains(&condition) || query.row.is_empty() || described.fields().detail.is_some() {
            return described;
        }
        match self.detail_of_row(&described, query, values) {
            Some(detail) => described.detail(detail),
            None => described,
        }
    }

    /// A violated foreign key's values are for those who may read the columns that they are from.
    pub(super) fn hide_key(&self, error: Error) -> Error {
        let fields = error.fields();
        if self.rights.superuser || error.condition() != Condition::ForeignKeyViolation {
            return error;
        }
        match self.hidden_key(fields) {
            Some(hidden) => error.detail(hidden),
            None => error,
        }
    }

    fn hidden_key(&self, fields: &Fields) -> Option<String> {
        use crate::sql::catalog::{Catalog, ConstraintKind};
        let detail = fields.detail.as_deref().filter(|detail| detail.starts_with("Key ("))?;
        let child = self.catalog().relation(fields.schema.as_deref(), fields.table.as_deref()?).ok()??;
        let constraint = child.constraints.iter().find(|own| Some(&own.name) == fields.constraint.as_ref())?;
        let ConstraintKind::ForeignKey { columns, references, referenced_columns, .. } = &constraint.kind else {
            return None;
        };
        let (seen, end) = match detail.rfind(" is not present in table ") {
            Some(end) => (self.rights.sees(&child, columns), end),
            None => {
                let parent = self.catalog().relation_by_oid(*references).ok()??;
                let end = detail.rfind(" is still referenced from table ")?;
                (self.rights.sees(&parent, referenced_columns), end)
            }
        };
        (!seen).then(|| format!("Key{}", &detail[end..]))
    }

    fn detail_of_row(&self, error: &Error, query: &Query, values: &Values<'_>) -> Option<String> {
        use crate::sql::catalog::Catalog;
        let fields = error.fields();
        let (schema, table) = (fields.schema.as_deref()?, fields.table.as_deref()?);
        let relation = self.catalog().relation(Some(schema), table).ok()??;
        let value = |column: usize| {
            let name = &relation.columns.get(column)?.name;
            let (_, bind) = query.row.iter().find(|(known, _)| known == name)?;
            match bind {
                Bind::Null => Some(Value::Null),
                Bind::Parameter(number) => values.parameters.get(*number).cloned(),
                Bind::Literal(number) => values.literals.get(*number).cloned(),
                _ => None,
            }
        };
        if error.condition() == Condition::UniqueViolation {
            let index = relation.indexes.iter().find(|index| Some(&index.name) == fields.constraint.as_ref())?;
            let columns: Vec<usize> = index.keys.iter().map(|key| key.column).collect::<Option<_>>()?;
            let seen = self.rights.sees(&relation, &columns);
            return seen.then(|| define::unique_detail(&relation, &index.name, &value)).flatten();
        }
        let given = |column: usize| {
            let name = &relation.columns.get(column)?.name;
            query.row.iter().any(|(known, _)| known == name).then_some(())
        };
        if !query.row_is_whole {
            return None;
        }
        // Defaults are among the columns given, so what is not given is NULL.
        let whole = |column: usize| match given(column) {
            Some(()) => value(column),
            None => Some(Value::Null),
        };
        let own = query.permissions.relations.iter().find(|needed| needed.relation == relation.oid);
        let given = own.map_or(&[][..], |needed| &needed.inserted);
        let by_table = self.rights.require_relation(&relation, Privileges::SELECT).is_ok();
        let is_shown = |at: usize| given.contains(&at) || self.rights.sees(&relation, &[at]);
        define::row_detail(&relation, &whole, (!by_table).then_some(&is_shown))
    }

    fn writes_temporary_only(&self, query: &Query) -> Result<bool, Error> {
        use crate::sql::catalog::Catalog;
        if !self.catalog.has_temporary() {
            return Ok(false);
        }
        let catalog = self.catalog();
        // The first relation is the one that a data change writes.
        let Some(oid) = query.relations.first() else { return Ok(false) };
        Ok(catalog.relation_by_oid(*oid)?.is_some_and(|relation| relation.temporary))
    }

    /// Temporary relations go with their session.
    pub(super) fn drop_temporary(&mut self) -> Result<(), Error> {
        if !self.catalog.has_temporary() {
            return Ok(());
        }
        define::drop_temporary(self.store.connection())?;
        self.catalog.forget_temporary();
        Ok(())
    }
}

struct Named<'a> {
    catalog: StoredCatalog<'a>,
    relations: &'a [u32],
}

impl Constraints for Named<'_> {
    fn violated(&self, _extended_code: i32, message: &str) -> Option<Error> {
        define::violated_in(&self.catalog, self.relations, message)
    }
}

fn data_of<'a>(row: &'a Row<'_>, columns: usize) -> Result<SmallVec<[Datum<'a>; 16]>, Stop> {
    let mut data = SmallVec::with_capacity(columns);
    for index in 0..columns {
        data.push(match row.get_ref(index)? {
            ValueRef::Null => Datum::Null,
            ValueRef::Integer(value) => Datum::Int(value),
            ValueRef::Real(value) => Datum::Float(value),
            ValueRef::Text(bytes) => Datum::Text(std::str::from_utf8(bytes).map_err(|_| Stop::Sink(not_utf8()))?),
            ValueRef::Blob(bytes) => Datum::Bytes(bytes),
        });
    }
    Ok(data)
}

fn not_utf8() -> Error {
    Error::new(Condition::DataCorrupted, "a stored text is not valid UTF-8")
}

fn changed_meanwhile() -> Error {
    Error::new(Condition::SerializationFailure, "could not serialize access due to a concurrent change of the table")
}

/// A tag's name in messages: `cannot execute UPDATE in a read-only transaction`.
fn tag_name(tag: &Tag) -> &'static str {
    match tag {
        Tag::Select => "SELECT",
        Tag::Insert => "INSERT",
        Tag::Update => "UPDATE",
        Tag::Delete => "DELETE",
        Tag::Copy => "COPY FROM",
        Tag::Fetch => "FETCH",
        Tag::Move => "MOVE",
        Tag::Bare(tag) => tag,
    }
}

/// Lets the connection explain how it would run a query: one line of SQLite's a row.
pub(super) fn explain(
    connection: &Connection,
    query: &Query,
    sink: &mut dyn RowSink,
) -> rusqlite::Result<Result<u64, Error>> {
    let mut statement = {
        let _guard = Guard::expect(&query.permissions);
        connection.prepare(&format!("EXPLAIN QUERY PLAN {}", query.sql))?
    };
    let mut rows = statement.raw_query();
    let mut depths: Vec<(i64, usize)> = Vec::new();
    let mut sent = 0;
    while let Some(row) = rows.next()? {
        let (id, parent, detail): (i64, i64, String) = (row.get(0)?, row.get(1)?, row.get(3)?);
        let depth = depths.iter().find(|(known, _)| *known == parent).map_or(0, |(_, depth)| depth + 1);
        depths.push((id, depth));
        let arrow = if depth == 0 { String::new() } else { format!("{}->  ", "      ".repeat(depth - 1) + "  ") };
        let line = format!("{arrow}{detail}");
        if let Err(error) = sink.row(&[Datum::Text(&line)]) {
            return Ok(Err(error));
        }
        sent += 1;
    }
    Ok(Ok(sent))
}
