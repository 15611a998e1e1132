//! Statements that are no queries: transactions, definitions, EXPLAIN.
//!
//! Owns which of the store's and the catalog's steps each one takes. What they mean is theirs.

use std::rc::Rc;
use std::sync::Arc;

use super::catalog::StoredCatalog;
use super::define::{self, Context, ExpressionBinder};
use super::engine::{Database, Sqlite};
use super::execute;
use super::rights::Rights;
use super::session::{Session, microseconds};
use super::store::Store;
use super::transaction::{Access, Ended, Span};
use crate::engine::{Engine, RowSink, TransactionStatus};
use crate::error::{Condition, Error};
use crate::sql::bind::{self, Environment};
use crate::sql::catalog::{Relation, RelationKind, ViewSource};
use crate::sql::define::{Definition, Name, ObjectKind, OnCommit, Scope};
use crate::sql::plan::{Action, Column, Plan, Transaction};
use crate::sql::types::{TextContext, Type};

impl Sqlite {
    /// BEGIN, COMMIT, SAVEPOINT and their like.
    pub(super) fn run_transaction(&mut self, transaction: &Transaction, sink: &mut dyn RowSink) -> Result<(), Error> {
        if let Transaction::Commit(true) | Transaction::Rollback(true) = transaction
            && self.database()?.store.span() != Span::Block
        {
            self.fail();
            let command = if matches!(transaction, Transaction::Commit(_)) { "COMMIT" } else { "ROLLBACK" };
            let message = format!("{command} AND CHAIN can only be used in transaction blocks");
            return Err(Error::new(Condition::NoActiveSqlTransaction, message));
        }
        let warning = match transaction {
            Transaction::Begin(modes) => {
                let characteristics = self.characteristics(modes);
                let database = self.database()?;
                let warning = database.store.begin(characteristics)?;
                let started = microseconds(database.store.started());
                self.session.set_timestamps(started, started);
                warning
            }
            Transaction::Commit(chain) => {
                self.check_before_commit()?;
                self.end_block(true, |store| store.commit(*chain))?
            }
            Transaction::Rollback(chain) => self.end_block(false, |store| store.rollback(*chain))?,
            Transaction::Savepoint(name) => {
                if self.writes_cluster() {
                    self.fail();
                    return Err(Error::unsupported("SAVEPOINT after a change of roles or databases"));
                }
                self.database()?.store.savepoint(name).map(|()| None)?
            }
            Transaction::Release(name) => self.database()?.store.release(name).map(|()| None)?,
            Transaction::RollbackTo(name) => {
                let database = self.database()?;
                database.store.rollback_to(name)?;
                database.after_rollback_to()?;
                None
            }
            Transaction::Set(modes) => {
                if self.transaction_status() == TransactionStatus::Idle {
                    let message = "SET TRANSACTION can only be used in transaction blocks";
                    sink.notice("WARNING", Error::new(Condition::NoActiveSqlTransaction, message));
                    return Ok(());
                }
                let characteristics = self.characteristics_over(modes);
                self.database()?.store.set_characteristics(characteristics).map(|()| None)?
            }
            Transaction::Constraints(names, deferred) => self.set_constraints(names, *deferred)?,
        };
        if self.transaction_status() == TransactionStatus::Idle {
            self.session.set_timestamps(0, 0);
        }
        if let Some(warning) = warning {
            sink.notice("WARNING", warning);
        }
        Ok(())
    }

    /// COMMIT or ROLLBACK, here and in the cluster's catalog.
    fn end_block(
        &mut self,
        commits: bool,
        end: impl FnOnce(&mut Store) -> Result<(Ended, Option<Error>), Error>,
    ) -> Result<Option<Error>, Error> {
        let ended = self.database()?.ending(commits, end);
        define::pending::forget();
        let committed = matches!(ended, Ok((Ended::Committed, _)));
        self.end_cluster_transaction(committed)?;
        ended.map(|(_, warning)| warning)
    }

    /// What is due before a commit: foreign keys that waited for it, and ON COMMIT. An error rolls back.
    pub(super) fn check_before_commit(&mut self) -> Result<(), Error> {
        let session = Arc::clone(&self.session);
        let database = self.database()?;
        if database.store.status() == TransactionStatus::Failed {
            return Ok(());
        }
        let checked = if define::pending::is_waiting() { database.settle_foreign_keys(&session, true) } else { Ok(()) };
        let checked = checked.and_then(|()| database.empty_temporary(&session));
        let Err(error) = checked else { return Ok(()) };
        // SET CONSTRAINTS ends with the transaction, however that ends.
        define::pending::forget();
        let database = self.database()?;
        if database.store.span() == Span::Implicit {
            database.ending(false, |store| store.end_implicit(false))?;
        } else {
            database.ending(false, |store| store.rollback(false))?;
        }
        self.session.set_timestamps(0, 0);
        self.end_cluster_transaction(false)?;
        Err(error)
    }

    /// SET CONSTRAINTS: what becomes immediate is checked at once.
    fn set_constraints(&mut self, names: &[String], deferred: bool) -> Result<Option<Error>, Error> {
        let session = Arc::clone(&self.session);
        let database = self.database()?;
        database.store.check_not_failed()?;
        for name in names {
            if let Err(error) = require_deferrable(&database.catalog(), name) {
                database.failed();
                return Err(error);
            }
        }
        if database.store.span() == Span::Statement {
            let message = "SET CONSTRAINTS can only be used in transaction blocks";
            return Ok(Some(Error::new(Condition::NoActiveSqlTransaction, message)));
        }
        define::pending::set_deferred(names, deferred);
        database.check_foreign_keys(&session).map(|()| None)
    }

    /// The block's characteristics with what SET TRANSACTION states changed.
    fn characteristics_over(&self, modes: &crate::sql::plan::Modes) -> super::transaction::Characteristics {
        let now = self.transaction_modes();
        self.characteristics(&crate::sql::plan::Modes {
            isolation: modes.isolation.or(now.isolation),
            read_only: modes.read_only.or(now.read_only),
            deferrable: modes.deferrable.or(now.deferrable),
        })
    }

    /// CREATE, ALTER, DROP, VACUUM and their like. Returns the rows that CREATE TABLE AS stored, and whether it found
    /// its table there.
    pub(super) fn run_definition(
        &mut self,
        definition: &Definition,
        sink: &mut dyn RowSink,
    ) -> Result<(u64, bool), Error> {
        self.refresh()?;
        if let Some(name) = definition.refused_in_transaction() {
            self.refuse_in_transaction(name)?;
        }
        match definition.scope() {
            Scope::Database => {
                let also_in_cluster = self.needs_cluster(definition).inspect_err(|_| self.fail())?;
                let defined = self.define(definition, sink)?;
                if also_in_cluster {
                    self.define_in_cluster(definition, sink)?;
                }
                Ok(defined)
            }
            Scope::Maintenance => self.maintain(definition, sink).map(|rows| (rows, false)),
            Scope::Cluster => self.define_in_cluster(definition, sink).map(|rows| (rows, false)),
        }
    }

    /// 25001 for statements that cannot be rolled back.
    fn refuse_in_transaction(&mut self, name: &str) -> Result<(), Error> {
        let database = self.database()?;
        if database.store.span() == Span::Block || database.store.is_writing() {
            database.failed();
            let message = format!("{name} cannot run inside a transaction block");
            return Err(Error::new(Condition::ActiveSqlTransaction, message));
        }
        Ok(())
    }

    fn define(&mut self, definition: &Definition, sink: &mut dyn RowSink) -> Result<(u64, bool), Error> {
        let session = Arc::clone(&self.session);
        let context = session.text_context();
        let access = if definition.is_temporary() { Access::Temporary } else { Access::Write };
        self.start(access, definition.tag())?;
        let database = self.database()?;
        let rights = Rc::clone(&database.rights);
        let published = database.store.attachment().database().catalog_version();
        let mut outcome = define::Outcome::default();
        let defined = database.catalog.refresh(database.store.connection(), published).and_then(|()| {
            refuse_while_pending(definition)?;
            let binder = Binder { database, session: &session, context: &context };
            let (told, done) = define::execute(
                definition,
                &Context {
                    connection: database.store.connection(),
                    cache: &database.catalog,
                    search_path: &database.search_path,
                    rights: &rights,
                    binder: &binder,
                },
            );
            outcome = told;
            done.map_err(|error| super::functions::take_error().unwrap_or(error))
        });
        for (severity, notice) in outcome.notices {
            sink.notice(severity, notice);
        }
        if let Err(error) = defined {
            database.failed();
            return Err(error);
        }
        let mut rows = 0;
        if let Some(text) = outcome.then {
            // Inside the same transaction: the statement is not over yet.
            rows = self.run_inside(&text)?;
        }
        self.database()?.finish(&session)?;
        Ok((rows, outcome.skipped))
    }

    /// Runs a data change that is a part of another statement, whose transaction is open.
    fn run_inside(&mut self, text: &str) -> Result<u64, Error> {
        let result = (|| {
            let mut statements = self.split(text)?;
            let (_, raw) = statements.pop().ok_or_else(|| Error::internal("an empty part of a statement"))?;
            let prepared = self.prepare(text, raw, &[])?;
            let Action::Query(query) = &prepared.plan().action else {
                return Err(Error::internal("a part of a statement is no query"));
            };
            self.run_part(&prepared, query)
        })();
        if result.is_err() {
            self.fail();
        }
        result
    }

    /// CHECKPOINT: as much as readers allow now, and the checkpointer goes on with the rest.
    fn checkpoint(&mut self) -> Result<u64, Error> {
        let database = self.database()?;
        database.store.before_statement(Access::Read, "CHECKPOINT")?;
        if database.store.span() == Span::Statement {
            let moved = database.store.connection().query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |_| Ok(()));
            moved.map_err(|error| database.store.describe(&error, &()))?;
        }
        database.store.after_statement(true)?;
        Ok(0)
    }

    /// VACUUM, ANALYZE, REINDEX, CHECKPOINT. SQLite keeps its free pages and needs no statistics for what is run
    /// here; the names are checked as PostgreSQL does.
    fn maintain(&mut self, definition: &Definition, sink: &mut dyn RowSink) -> Result<u64, Error> {
        let session = Arc::clone(&self.session);
        let identity = session.identity();
        if matches!(definition, Definition::Checkpoint) {
            if !self.cluster()?.has_privileges_of_named(identity.user_oid, "pg_checkpoint") {
                let detail = "Only roles with privileges of the \"pg_checkpoint\" role may execute this command.";
                let message = "permission denied to execute CHECKPOINT command";
                return Err(Error::new(Condition::InsufficientPrivilege, message).detail(detail));
            }
            return self.checkpoint();
        }
        let context = session.text_context();
        let database = self.database()?;
        let (allowed, refused) = database.may_maintain(definition)?;
        refused.into_iter().for_each(|warning| sink.notice("WARNING", warning));
        let work = match &allowed {
            Some(definition) => define::maintenance(definition, &database.catalog())?,
            None => Vec::new(),
        };
        let writes = !work.is_empty() || matches!(definition, Definition::Reindex { .. });
        let access = if writes { Access::Write } else { Access::Read };
        self.start(access, definition.tag())?;
        let database = self.database()?;
        let rights = Rc::clone(&database.rights);
        let (outcome, done) = {
            let binder = Binder { database, session: &session, context: &context };
            define::execute(
                definition,
                &Context {
                    connection: database.store.connection(),
                    cache: &database.catalog,
                    search_path: &database.search_path,
                    rights: &rights,
                    binder: &binder,
                },
            )
        };
        match done {
            Ok(()) => {
                for (severity, notice) in outcome.notices {
                    sink.notice(severity, notice);
                }
                for sql in work {
                    if let Err(error) = database.store.connection().execute_batch(&sql) {
                        let error = database.describe(&error, &[]);
                        database.failed();
                        return Err(error);
                    }
                }
                database.finish(&session)?;
                Ok(0)
            }
            Err(error) => {
                database.failed();
                Err(error)
            }
        }
    }

    /// EXPLAIN: SQLite's own plan of the emitted SQL.
    pub(super) fn explain(&mut self, plan: &Rc<Plan>, sink: &mut dyn RowSink) -> Result<u64, Error> {
        let Action::Query(query) = &plan.action else {
            sink.row(&[crate::sql::types::Datum::Text("Utility Statement")])?;
            return Ok(1);
        };
        self.refresh()?;
        let session = Arc::clone(&self.session);
        let database = self.database()?;
        database.store.before_statement(Access::Read, "EXPLAIN")?;
        if let Err(error) = database.require(&query.permissions) {
            database.failed();
            return Err(error);
        }
        let explained = database.provide(query, &session).and_then(|()| {
            execute::explain(database.store.connection(), query, sink)
                .unwrap_or_else(|error| Err(database.describe(&error, &[])))
        });
        match explained {
            Ok(rows) => {
                database.finish(&session)?;
                Ok(rows)
            }
            Err(error) => {
                database.failed();
                Err(error)
            }
        }
    }
}

impl Database {
    /// What of VACUUM and ANALYZE the session may do, and a warning for each table that it names and may not.
    fn may_maintain(&self, definition: &Definition) -> Result<(Option<Definition>, Vec<Error>), Error> {
        use crate::sql::catalog::Catalog;
        let verb = match definition {
            Definition::Vacuum { .. } => "vacuum",
            Definition::Analyze { .. } => "analyze",
            _ => return Ok((Some(definition.clone()), Vec::new())),
        };
        let mut allowed = definition.clone();
        let mut warnings = Vec::new();
        let databases = self.rights.cluster().databases();
        let owner = databases.iter().find(|database| database.oid == self.oid).map(|database| database.owner);
        if owner.is_some_and(|owner| self.rights.owns(owner)) {
            return Ok((Some(allowed), warnings));
        }
        let (Definition::Vacuum { tables, .. } | Definition::Analyze { tables, .. }) = &mut allowed else {
            return Ok((None, warnings));
        };
        let names = std::mem::take(tables);
        for name in names {
            match self.catalog().relation(name.schema.as_deref(), &name.name)? {
                Some(relation) if !self.rights.owns(relation.owner) => {
                    let message =
                        format!("skipping \"{}\" --- only table or database owner can {verb} it", relation.name);
                    warnings.push(Error::new(Condition::Warning, message));
                }
                _ => tables.push(name),
            }
        }
        let is_left = !tables.is_empty();
        Ok((is_left.then_some(allowed), warnings))
    }

    /// ON COMMIT of the temporary tables that the transaction may have filled.
    pub(super) fn empty_temporary(&mut self, session: &Arc<Session>) -> Result<(), Error> {
        if !self.catalog.has_temporary() || !self.store.is_writing() {
            return Ok(());
        }
        let mut relations = self.catalog().relations()?;
        relations.retain(|relation| relation.temporary);
        for relation in &relations {
            let name = Name { schema: Some(relation.schema.clone()), name: relation.name.clone(), position: 1 };
            let definition = match relation.on_commit {
                OnCommit::PreserveRows => continue,
                // Its rows are its partitions', each of which has a say of its own.
                OnCommit::DeleteRows if matches!(relation.kind, RelationKind::Partitioned(_)) => continue,
                OnCommit::DeleteRows => {
                    self.require_same_on_commit(relation)?;
                    Definition::Truncate { tables: vec![name], cascade: true, restart_identity: false }
                }
                OnCommit::Drop => {
                    Definition::Drop { object: ObjectKind::Table, names: vec![name], if_exists: true, cascade: true }
                }
            };
            let context = session.text_context();
            let binder = Binder { database: self, session, context: &context };
            let owner = Rights { superuser: true, ..Rights::clone(&self.rights) };
            let (_, done) = define::execute(
                &definition,
                &Context {
                    connection: self.store.connection(),
                    cache: &self.catalog,
                    search_path: &self.search_path,
                    rights: &owner,
                    binder: &binder,
                },
            );
            done?;
        }
        Ok(())
    }

    /// 0A000 where rows stay that refer to those of a table which is emptied.
    fn require_same_on_commit(&self, relation: &Relation) -> Result<(), Error> {
        for child in self.catalog().referencing(relation.oid)? {
            if child.on_commit != relation.on_commit {
                let message = "unsupported ON COMMIT and foreign key combination";
                return Err(Error::new(Condition::FeatureNotSupported, message).detail(format!(
                    "Table \"{}\" references \"{}\", but they do not have the same ON COMMIT setting.",
                    child.name, relation.name
                )));
            }
        }
        Ok(())
    }

    /// Catalog changes made after the savepoint are gone; those before it may be there still.
    fn after_rollback_to(&mut self) -> Result<(), Error> {
        self.catalog.look_at_temporary_again(self.store.connection(), false)?;
        if self.catalog.is_changed() {
            let still = self.store.is_writing();
            self.catalog.rolled_back(self.store.connection(), still)?;
        }
        Ok(())
    }
}

/// 55006 where rows of a table still wait to be checked.
fn refuse_while_pending(definition: &Definition) -> Result<(), Error> {
    let names = match definition {
        Definition::Drop { object: ObjectKind::Table, names, .. } => names.as_slice(),
        Definition::Truncate { tables, .. } => tables.as_slice(),
        Definition::AlterTable { table, .. } => std::slice::from_ref(table),
        _ => return Ok(()),
    };
    names.iter().try_for_each(|name| define::pending::refuse_change(definition.tag(), &name.name))
}

/// Whether a constraint of that name is there and may be deferred, or 42704 or 42809.
fn require_deferrable(catalog: &StoredCatalog<'_>, name: &str) -> Result<(), Error> {
    let mut known = false;
    for relation in catalog.relations()? {
        for constraint in relation.constraints.iter().filter(|constraint| constraint.name == name) {
            known = true;
            if constraint.deferrable {
                return Ok(());
            }
        }
    }
    Err(if known {
        Error::new(Condition::WrongObjectType, format!("constraint \"{name}\" is not deferrable"))
    } else {
        Error::new(Condition::UndefinedObject, format!("constraint \"{name}\" does not exist"))
    })
}

/// The planner at the service of definitions.
struct Binder<'a> {
    database: &'a Database,
    session: &'a Arc<Session>,
    context: &'a TextContext,
}

impl ExpressionBinder for Binder<'_> {
    fn expression(&self, relation: &Relation, text: &str, target: Option<(Type, i32)>) -> Result<String, Error> {
        let catalog: StoredCatalog<'_> = self.database.catalog();
        let environment = Environment { catalog: &catalog, text_context: self.context };
        bind::expression_sql(&environment, Some(relation), text, target).map(|(sql, _)| sql)
    }

    fn query_columns(&self, text: &str) -> Result<Vec<Column>, Error> {
        let catalog: StoredCatalog<'_> = self.database.catalog();
        let environment = Environment { catalog: &catalog, text_context: self.context };
        bind::query_columns(&environment, text)
    }

    fn view_query(&self, text: &str) -> Result<(Vec<Column>, Vec<ViewSource>), Error> {
        let catalog: StoredCatalog<'_> = self.database.catalog();
        let environment = Environment { catalog: &catalog, text_context: self.context };
        bind::view_query(&environment, text)
    }

    fn provide_missing(&self, message: &str) -> bool {
        self.database.functions.provide_missing(self.database.store.connection(), message, self.session)
    }
}
