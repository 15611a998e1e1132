//! [`Sqlite`]: the engine behind a session: planner, catalog and store of one database, brought together.
//!
//! Owns the order of things around a statement: catalog refreshed, plan checked against it, lock taken, statement
//! run, catalog version published with the commit. The parts know nothing of each other.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use shm::{Owner, Segment};

use super::access_rules::RuleFiles;
use super::attachment::Attachment;
use super::catalog::{Cache, StoredCatalog};
use super::connection::Options;
use super::cursor::Rows;
use super::database::{self, FileError};
use super::define;
use super::execute::Prepared;
use super::ffi::vfs;
use super::functions::{self, Registry};
use super::global::Global;
use super::interrupts::Interrupts;
use super::rights::Rights;
use super::session::{Identity, Session, Signal, microseconds};
use super::state::{PoolFacts, Sources, Standing};
use super::store::Store;
use super::transaction::{Access, Characteristics, Isolation, Span};
use super::views;
use crate::engine::cluster::Snapshot;
use crate::engine::{Completion, Engine, RowSink, Split, TransactionStatus};
use crate::error::{Condition, Error};
use crate::settings;
use crate::sql::acl::Privileges;
use crate::sql::catalog::Catalog;
use crate::sql::plan::{self, Action, Copy, CopyDirection, Discard, Modes, Permissions, Plan};
use crate::sql::planner::{Planner, Raw};
use crate::sql::types::Value;
use crate::system::fault;
use crate::work;

/// What the engine is told by the configuration.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// The data directory, absolute.
    pub data_directory: PathBuf,
    /// Settings of connections.
    pub options: Options,
    /// Memory that a session may take; `None`: as much as there is.
    pub session_memory_bytes: Option<u64>,
    /// Length of the WAL from which a commit wakes the checkpointer.
    pub checkpoint_bytes: u64,
    /// How long an idle transaction may hold the writer lock.
    pub writer_idle_timeout: Option<Duration>,
    /// For the view of the pool.
    pub pool: PoolFacts,
    /// The access rules' files, for their views.
    pub files: RuleFiles,
}

/// The file of a database.
pub fn database_path(data_directory: &Path, oid: u32) -> PathBuf {
    data_directory.join("base").join(format!("{oid}.db"))
}

pub use super::global::{GLOBAL_OID, remove_orphans};

/// The OID of the database whose file that is; `None` for files that are no database's.
pub fn database_oid(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.strip_suffix(".db")?.parse().ok()
}

/// Makes every database file durable before anybody is served from it: what only the page cache has must not be
/// answered from, and after a failed sync the page cache may hold what the disk has not. Opens no database.
pub fn make_durable(data_directory: &Path) -> Result<(), FileError> {
    database::make_durable(&data_directory.join("global.db"))?;
    let base = data_directory.join("base");
    let entries = std::fs::read_dir(&base).map_err(|error| FileError::Io("read", base.clone(), error))?;
    for entry in entries {
        let path = entry.map_err(|error| FileError::Io("read", base.clone(), error))?.path();
        if database_oid(&path).is_some() {
            database::make_durable(&path)?;
        }
    }
    Ok(())
}

/// The engine of one process.
pub struct Sqlite {
    pub(super) segment: Segment,
    pub(super) owner: Owner,
    pub(super) configuration: Configuration,
    pub(super) session: Arc<Session>,
    /// The database that is open: the one expected before a client came, or the client's.
    pub(super) database: Option<Database>,
    /// Roles and databases; opened with the first database, or when a client is let in.
    pub(super) global: Option<Global>,
    /// The COPY under way: rows taken so far.
    pub(super) copied: u64,
}

/// One open database.
pub(super) struct Database {
    pub(super) oid: u32,
    pub(super) store: Store,
    pub(super) catalog: Rc<Cache>,
    pub(super) planner: Planner,
    /// The search path that plans rest on.
    pub(super) search_path: Vec<String>,
    /// As whom the session acts.
    pub(super) rights: Rc<Rights>,
    /// The same and the search path, for functions and views.
    standing: Rc<Standing>,
    /// The catalog's version that both rest on.
    stood_at: u64,
    /// The number of that state: what was allowed in it stays allowed while it lasts.
    stand: u64,
    /// `settings::Settings::generation` at which it was read.
    settings_generation: u64,
    /// Functions and system views that the connection knows.
    pub(super) functions: Registry,
    pub(super) views: RefCell<HashSet<String>>,
    attachment: Arc<Attachment>,
}

impl Drop for Database {
    fn drop(&mut self) {
        views::install(None);
        // Open files keep their attachment; another database may be opened from now on.
        vfs::detach(&self.attachment);
    }
}

impl Sqlite {
    /// An engine without a database. `signal` has the postmaster deliver what is asked of other processes.
    pub fn new(segment: Segment, owner: Owner, signal: Signal, configuration: Configuration) -> Self {
        let session = Arc::new(Session::new(segment, owner, signal));
        Self { segment, owner, configuration, session, database: None, global: None, copied: 0 }
    }

    /// The database that the newest session was in; 0 before the first one.
    pub fn recent_database(&self) -> u32 {
        self.segment.pool().recent_database()
    }

    /// Opens a database, unless it is the one that is open: before a client comes, the one it will probably ask for.
    pub fn open(&mut self, oid: u32) -> Result<(), Error> {
        if self.database.as_ref().is_some_and(|database| database.oid == oid) {
            return Ok(());
        }
        // One at a time: the connection's file is found by its attachment.
        self.database = None;
        let slot = self.segment.slot(self.owner.slot);
        // Noted first: a database is freed once it was dropped and nobody has noted it.
        slot.set_open_database(oid);
        let path = database_path(&self.configuration.data_directory, oid);
        let opened = self.open_noted(oid, &path);
        self.database = match opened {
            Ok(database) => Some(database),
            Err(_) if !path.exists() => {
                // The region may be a new one, if that of the dropped database was free already.
                self.segment.doom_database(oid);
                slot.set_open_database(0);
                let message = format!("database {oid} does not exist");
                let detail = "It seems to have just been dropped or renamed.";
                return Err(Error::new(Condition::InvalidCatalogName, message).detail(detail));
            }
            Err(error) => {
                slot.set_open_database(0);
                return Err(error);
            }
        };
        Ok(())
    }

    fn open_noted(&mut self, oid: u32, path: &Path) -> Result<Database, Error> {
        let attachment = Attachment::new(self.segment, self.owner, oid, path, self.configuration.checkpoint_bytes)
            .ok_or_else(|| Error::internal("the segment has no room for another database"))?;
        let attachment = Arc::new(attachment);
        if !vfs::attach(Arc::clone(&attachment)) {
            return Err(Error::internal("too many databases are attached"));
        }
        let opened = self.open_attached(oid, Arc::clone(&attachment));
        if opened.is_err() {
            vfs::detach(&attachment);
        }
        opened
    }

    fn open_attached(&mut self, oid: u32, attachment: Arc<Attachment>) -> Result<Database, Error> {
        let store = Store::open(Arc::clone(&attachment), &self.configuration.options, self.session.clone())?;
        let registered = functions::register_at_open(store.connection());
        registered.map_err(|error| store.describe(&error, &()))?;
        let catalog = Rc::new(Cache::new());
        let shared = attachment.database();
        catalog.refresh(store.connection(), shared.catalog_version())?;
        // A fresh segment knows no version yet; without one every statement would look into the file.
        if shared.catalog_version() == 0 {
            shared.publish_catalog_version(catalog.loaded_version());
        }
        let standing = Rc::new(Standing::default());
        let cluster = Rc::clone(&self.cluster_catalog()?.catalog);
        cluster.enter(oid);
        views::install(Some(Rc::new(Sources {
            standing: Rc::clone(&standing),
            connection: store.shared_connection(),
            cache: Rc::clone(&catalog),
            session: Arc::clone(&self.session),
            cluster,
            pool: self.configuration.pool.clone(),
            files: self.configuration.files.clone(),
        })));
        Ok(Database {
            oid,
            store,
            catalog,
            planner: Planner::new(),
            search_path: Vec::new(),
            rights: Rc::default(),
            standing,
            stood_at: 0,
            stand: 0,
            settings_generation: 0,
            functions: Registry::default(),
            views: RefCell::default(),
            attachment,
        })
    }

    /// In a process forked from one that had this engine open and idle: from now on it works for `owner`.
    pub fn inherit(&mut self, owner: Owner) {
        self.owner = owner;
        self.session.inherit(owner);
        if let Some(database) = &self.database {
            self.segment.slot(owner.slot).set_open_database(database.oid);
            database.attachment.inherit(owner);
        }
        if let Some(global) = &self.global {
            global.inherit(owner);
        }
        vfs::reseed();
    }

    /// Brings what is open to the state of now, so that processes forked afterwards find it fresh.
    pub fn freshen(&mut self) -> Result<(), Error> {
        self.cluster()?;
        if self.database.is_some() {
            self.refresh()?;
        }
        let stores = self.database.iter().map(|database| &database.store);
        for store in stores.chain(self.global.iter().map(|global| &global.store)) {
            // What has become durable meanwhile, no child needs to wait for.
            store.settle(false)?;
            store.attachment().assert_idle();
        }
        Ok(())
    }

    fn cluster_catalog(&mut self) -> Result<&mut Global, Error> {
        if self.global.is_none() {
            let path = self.configuration.data_directory.join("global.db");
            let bytes = self.configuration.checkpoint_bytes;
            self.global = Some(Global::open(self.segment, self.owner, &path, bytes, self.session.clone())?);
        }
        self.global.as_mut().ok_or_else(no_database)
    }

    /// Roles and databases as of now.
    pub fn cluster(&mut self) -> Result<Rc<Snapshot>, Error> {
        self.cluster_catalog()?.snapshot()
    }

    /// The secret behind mock exchanges of authentication.
    pub fn mock_secret(&mut self) -> Result<[u8; 32], Error> {
        Ok(self.cluster_catalog()?.mock_secret)
    }

    /// The database and the cluster's catalog at once.
    pub(super) fn both(&mut self) -> Result<(&mut Global, &mut Database), Error> {
        match (&mut self.global, &mut self.database) {
            (Some(global), Some(database)) => Ok((global, database)),
            _ => Err(no_database()),
        }
    }

    /// Makes the engine ready for a session.
    pub fn begin_session(&mut self, identity: Identity, settings: settings::Shared) -> Result<(), Error> {
        let oid = identity.database_oid;
        self.session.begin(identity, settings);
        self.open(oid)?;
        self.segment.pool().set_recent_database(oid);
        if let Some(database) = &mut self.database {
            database.settings_generation = 0;
            // Nobody's, until it is known whose.
            database.rights = Rc::default();
        }
        let session = Arc::clone(&self.session);
        work::install(Some(Rc::new(move || session.check())));
        work::limit_memory(self.configuration.session_memory_bytes);
        Ok(())
    }

    pub(super) fn database(&mut self) -> Result<&mut Database, Error> {
        self.database.as_mut().ok_or_else(no_database)
    }

    /// A statement begins: what it needs is locked, its clock set.
    pub(super) fn start(&mut self, access: Access, command: &'static str) -> Result<(), Error> {
        if access == Access::Write {
            self.check_writable(command).inspect_err(|_| self.fail())?;
        }
        let session = Arc::clone(&self.session);
        let database = self.database()?;
        database.store.before_statement(access, command)?;
        let transaction_us = microseconds(database.store.started());
        // Of a statement that is a transaction by itself the two are the same.
        let alone = database.store.span() == Span::Statement;
        session.set_timestamps(transaction_us, if alone { transaction_us } else { microseconds(SystemTime::now()) });
        Ok(())
    }

    fn check_writable(&mut self, command: &str) -> Result<(), Error> {
        self.refuse_mixed_writes()?;
        // A transaction has its own mode; a statement alone has the session's default.
        let alone = self.database()?.store.span() == Span::Statement;
        if alone && self.session.default_modes().read_only == Some(true) {
            let message = format!("cannot execute {command} in a read-only transaction");
            return Err(Error::new(Condition::ReadOnlySqlTransaction, message));
        }
        Ok(())
    }

    /// The statement under way has failed.
    pub(super) fn fail(&mut self) {
        if let Some(database) = &mut self.database {
            database.failed();
        }
    }

    pub(super) fn characteristics(&self, modes: &Modes) -> Characteristics {
        let defaults = self.session.default_modes();
        let isolation = modes.isolation.or(defaults.isolation).unwrap_or(plan::Isolation::ReadCommitted);
        Characteristics {
            isolation: isolation_of(isolation),
            read_only: modes.read_only.or(defaults.read_only).unwrap_or(false),
            deferrable: modes.deferrable.unwrap_or(false),
        }
    }

    /// Before a statement is planned or run: the catalog and the search path are those of now.
    pub(super) fn refresh(&mut self) -> Result<(), Error> {
        let cluster = self.cluster()?;
        let session = Arc::clone(&self.session);
        let database = self.database()?;
        let published = database.store.attachment().database().catalog_version();
        database.catalog.refresh(database.store.connection(), published)?;
        database.stand(&session, cluster)
    }
}

thread_local! {
    /// Numbers the states that [`Database::stand`] finds, whichever database they are of.
    static STANDS: Cell<u64> = const { Cell::new(0) };
}

impl Database {
    /// Who the session acts as, and which schemas it finds things in.
    fn stand(&mut self, session: &Session, cluster: Rc<Snapshot>) -> Result<(), Error> {
        if !session.has_begun() {
            // A template plans for others, by their search path, and runs nothing.
            self.rights = Rc::new(Rights { superuser: true, ..Rights::default() });
            return Ok(());
        }
        let settings = session.settings_generation();
        let catalog = self.catalog().version();
        let same_role = settings == self.settings_generation && Rc::ptr_eq(&cluster, self.rights.cluster());
        if same_role && catalog == self.stood_at {
            return Ok(());
        }
        if !same_role {
            self.settings_generation = settings;
            self.rights = Rc::new(Rights::new(&session.identity(), session.session_user(), cluster));
        }
        STANDS.set(STANDS.get() + 1);
        self.stand = STANDS.get();
        let path = self.usable(session.search_path())?;
        if path != self.search_path {
            self.search_path = path;
            self.catalog.invalidate_plans();
        }
        self.stood_at = self.catalog().version();
        self.standing.replace(Rc::clone(&self.rights), &self.search_path);
        Ok(())
    }

    /// A search path without the schemas that the session may not use.
    fn usable(&self, mut path: Vec<String>) -> Result<Vec<String>, Error> {
        if !self.rights.superuser {
            let schemas = self.catalog().schemas()?;
            path.retain(|name| {
                let schema = schemas.iter().find(|schema| schema.name == *name);
                schema.is_none_or(|schema| self.rights.require_schema(schema, Privileges::USAGE).is_ok())
            });
        }
        Ok(path)
    }

    /// 42501 unless the session may do what a statement needs.
    pub(super) fn require(&self, permissions: &Permissions) -> Result<(), Error> {
        if permissions.held_at.get() == self.stand {
            return Ok(());
        }
        if !self.rights.superuser || permissions.of_views {
            let catalog = self.catalog();
            for schema in &permissions.schemas {
                catalog.require_usable(schema)?;
            }
            for permission in &permissions.relations {
                if let Some(relation) = catalog.relation_by_oid(permission.relation)? {
                    self.rights.require(&relation, permission)?;
                }
            }
        }
        permissions.held_at.set(self.stand);
        Ok(())
    }

    /// The catalog as this session's transaction sees it.
    pub(super) fn catalog(&self) -> StoredCatalog<'_> {
        StoredCatalog {
            connection: self.store.connection(),
            cache: &self.catalog,
            search_path: &self.search_path,
            rights: &self.rights,
        }
    }

    /// Ends a transaction by `end`, with the catalog's version published before a commit makes changes visible.
    pub(super) fn ending<T>(
        &mut self,
        commits: bool,
        end: impl FnOnce(&mut Store) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut announced = None;
        if commits && self.catalog.is_changed() && self.store.status() != TransactionStatus::Failed {
            let shared = self.store.attachment().database();
            announced = self.catalog.prepare_commit(self.store.connection(), shared.catalog_version())?;
            if let Some(version) = announced {
                shared.publish_catalog_version(version);
            }
        }
        let result = end(&mut self.store);
        if !self.store.is_writing() {
            define::pending::forget_rows();
        }
        self.after_end(announced, result.is_ok())?;
        result
    }

    /// Ends a statement that succeeded; of one that was a transaction by itself, that transaction.
    pub(super) fn finish(&mut self, session: &Arc<Session>) -> Result<(), Error> {
        self.check_foreign_keys(session)?;
        let alone = self.store.span() == Span::Statement;
        if alone && let Err(error) = self.empty_temporary(session) {
            self.failed();
            return Err(error);
        }
        self.ending(alone, |store| store.after_statement(true))?;
        if self.store.span() == Span::Statement {
            session.set_timestamps(0, 0);
        }
        Ok(())
    }

    /// Keys that the statement left to be checked at its end.
    pub(super) fn check_foreign_keys(&mut self, session: &Arc<Session>) -> Result<(), Error> {
        if !define::pending::is_waiting() {
            return Ok(());
        }
        let alone = self.store.span() == Span::Statement;
        let checked = self.settle_foreign_keys(session, alone);
        if checked.is_err() {
            self.failed();
        }
        checked
    }

    /// Deals with the events of foreign keys; with `all`, also with those that are deferred.
    pub(super) fn settle_foreign_keys(&self, session: &Arc<Session>, all: bool) -> Result<(), Error> {
        let surroundings = KeySurroundings { database: self, session };
        define::pending::settle(self.store.connection(), &surroundings, all).map_err(|error| self.hide_key(error))
    }

    fn after_end(&mut self, announced: Option<u64>, ended: bool) -> Result<(), Error> {
        let is_over = self.store.span() == Span::Statement || self.store.status() == TransactionStatus::Idle;
        self.catalog.look_at_temporary_again(self.store.connection(), is_over)?;
        if !self.catalog.is_changed() || self.store.is_writing() {
            return Ok(());
        }
        match announced {
            Some(version) if ended => {
                self.catalog.committed(Some(version));
                Ok(())
            }
            _ => self.catalog.rolled_back(self.store.connection(), false),
        }
    }

    /// After a failure: what the store rolled back is gone from the catalog too.
    pub(super) fn failed(&mut self) {
        self.store.statement_failed();
        define::pending::forget_statement();
        if !self.store.is_writing() {
            define::pending::forget_rows();
        }
        // A catalog that cannot be read now is read anew by the next statement.
        let _ = self.catalog.look_at_temporary_again(self.store.connection(), false);
        if self.catalog.is_changed() && !self.store.is_writing() {
            // A catalog that cannot be read now is read anew by the next statement.
            let _ = self.catalog.rolled_back(self.store.connection(), false);
        }
    }
}

/// What the actions of foreign keys need.
struct KeySurroundings<'a> {
    database: &'a Database,
    session: &'a Arc<Session>,
}

impl define::pending::Surroundings for KeySurroundings<'_> {
    fn provide_missing(&self, message: &str) -> bool {
        let Self { database, session } = self;
        database.functions.provide_missing(database.store.connection(), message, session)
    }

    fn describe(&self, error: &rusqlite::Error, relation: u32) -> Error {
        // SQLite's word for a NULL in what is its rowid.
        if error.sqlite_error_code() == Some(rusqlite::ErrorCode::TypeMismatch)
            && let Ok(Some(relation)) = self.database.catalog().relation_by_oid(relation)
            && let Some(column) = relation.rowid_column.and_then(|at| relation.columns.get(at))
        {
            return define::not_null(&relation, &column.name);
        }
        self.database.describe(error, &[relation])
    }

    fn interrupted(&self) -> Option<Error> {
        self.session.check()
    }
}

impl Engine for Sqlite {
    type Raw = Raw;
    type Statement = Rc<Prepared>;
    type Cursor = super::execute::Cursor;

    fn split(&mut self, text: &str) -> Result<Split<Raw>, Error> {
        self.database()?.planner.split(text)
    }

    fn prepare(&mut self, text: &str, raw: Raw, types: &[u32]) -> Result<Rc<Prepared>, Error> {
        self.refresh()?;
        let context = self.session.text_context();
        let database = self.database()?;
        let Database { planner, store, catalog, search_path, rights, .. } = database;
        let catalog = StoredCatalog { connection: store.connection(), cache: catalog, search_path, rights };
        let planned = planner.plan(text, &raw, types, &catalog, &context)?;
        Ok(Rc::new(Prepared::new(text, types, planned)))
    }

    fn plan<'a>(&self, statement: &'a Rc<Prepared>) -> &'a Plan {
        statement.plan()
    }

    fn execute(
        &mut self,
        statement: &Rc<Prepared>,
        parameters: &[Value],
        limit: u64,
        sink: &mut dyn RowSink,
    ) -> Result<(Completion, Option<Self::Cursor>), Error> {
        let done = |rows| (Completion { rows, complete: true, skipped: false }, None);
        match &statement.plan().action {
            Action::Empty => Ok(done(0)),
            Action::Query(_) => self.run_query(statement, parameters, limit, sink),
            Action::Transaction(transaction) => self.run_transaction(transaction, sink).map(|()| done(0)),
            Action::Define(definition) => {
                let (rows, skipped) = self.run_definition(definition, sink)?;
                Ok((Completion { rows, complete: true, skipped }, None))
            }
            Action::Explain(plan) => self.explain(plan, sink).map(done),
            Action::Copy(Copy { direction: CopyDirection::Out(query), .. }) => {
                self.copy_out(statement, query, sink).map(done)
            }
            Action::Copy(_) | Action::Session(_) => {
                Err(Error::internal("a statement of the session's came to the engine"))
            }
        }
    }

    fn fetch(&mut self, cursor: &mut Self::Cursor, limit: u64, sink: &mut dyn RowSink) -> Result<Completion, Error> {
        cursor.fetch(limit, sink)
    }

    fn materialise(&mut self, statement: &Rc<Prepared>, parameters: &[Value]) -> Result<Self::Cursor, Error> {
        let mut rows = Rows::default();
        self.run_query(statement, parameters, 0, &mut super::execute::Keep(&mut rows))?;
        Ok(super::execute::Cursor::new(rows))
    }

    fn read_at(
        &mut self,
        cursor: &mut Self::Cursor,
        first: u64,
        count: u64,
        sink: &mut dyn RowSink,
    ) -> Result<u64, Error> {
        cursor.rows.read(first, count, sink)
    }

    fn row_count(&mut self, cursor: &mut Self::Cursor) -> u64 {
        cursor.rows.len()
    }

    fn copy_in_start(&mut self, copy: &Copy) -> Result<(), Error> {
        self.start_copy(copy)
    }

    fn copy_in_row(&mut self, copy: &Copy, row: &[Value]) -> Result<(), Error> {
        self.copy_row(copy, row)
    }

    fn copy_in_end(&mut self, copy: &Copy, failed: bool) -> Result<u64, Error> {
        self.end_copy(copy, failed)
    }

    fn transaction_status(&self) -> TransactionStatus {
        self.database.as_ref().map_or(TransactionStatus::Idle, |database| database.store.status())
    }

    fn may_become(&mut self, session: bool, role: Option<&str>) -> Result<bool, Error> {
        let cluster = self.cluster()?;
        let (authenticated, session_user) = (self.session.authenticated(), self.session.session_user());
        super::roles::may_become(&cluster, &authenticated, &session_user, session, role)
    }

    fn begin_implicit(&mut self) {
        let characteristics = self.characteristics(&Modes::default());
        if let Some(database) = &mut self.database {
            database.store.begin_implicit(characteristics);
        }
    }

    fn end_implicit(&mut self, commit: bool) -> Result<(), Error> {
        if commit {
            self.check_before_commit()?;
        }
        let ended = self.database()?.ending(commit, |store| store.end_implicit(commit));
        define::pending::forget();
        self.session.set_timestamps(0, 0);
        self.end_cluster_transaction(commit && ended.is_ok())?;
        ended
    }

    fn statement_failed(&mut self) {
        if let Some(database) = &mut self.database {
            database.failed();
        }
    }

    fn settle(&mut self) -> Result<(), Error> {
        let synchronous = self.session.synchronous_commit();
        if let Some(global) = &self.global {
            global.store.settle(synchronous)?;
        }
        match &self.database {
            Some(database) => database.store.settle(synchronous),
            None => Ok(()),
        }
    }

    fn reset(&mut self) -> Result<(), Error> {
        self.session.end();
        if let Some(errno) = fault::failure("forgetting-session") {
            return Err(Error::internal(format!("a test has the reset fail: {errno}")));
        }
        self.end_cluster_transaction(false)?;
        let Some(database) = &mut self.database else { return Ok(()) };
        database.failed();
        database.store.reset()?;
        define::pending::forget();
        // Whoever ran the statement may have reported another error: the next session's would be taken for this.
        let _ = functions::take_error();
        if database.catalog.is_changed() {
            database.catalog.rolled_back(database.store.connection(), false)?;
        }
        // Plans stay: they rest on the catalog and the search path, which are looked at before they are used.
        database.drop_temporary()
    }

    fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.session.set_deadline(deadline);
    }

    fn idle_limit(&self) -> Option<Duration> {
        if self.holds_writer_lock() || self.writes_cluster() { self.configuration.writer_idle_timeout } else { None }
    }

    fn holds_writer_lock(&self) -> bool {
        self.database.as_ref().is_some_and(|database| database.store.is_writing())
    }

    fn discard(&mut self, what: Discard) -> Result<(), Error> {
        let session = Arc::clone(&self.session);
        let database = self.database()?;
        match what {
            Discard::Plans => database.planner.forget(),
            Discard::Sequences => session.forget_sequences(),
            Discard::Temp => database.drop_temporary()?,
            Discard::All => {
                session.forget_sequences();
                database.planner.forget();
                database.drop_temporary()?;
            }
        }
        Ok(())
    }

    fn transaction_timestamp(&self) -> Option<i64> {
        Some(self.session.transaction_timestamp())
    }

    fn transaction_modes(&self) -> Modes {
        let Some(database) = &self.database else { return Modes::default() };
        if database.store.status() == TransactionStatus::Idle {
            return Modes::default();
        }
        let characteristics = database.store.characteristics();
        Modes {
            isolation: Some(match characteristics.isolation {
                Isolation::ReadUncommitted => plan::Isolation::ReadUncommitted,
                Isolation::ReadCommitted => plan::Isolation::ReadCommitted,
                Isolation::RepeatableRead => plan::Isolation::RepeatableRead,
                Isolation::Serializable => plan::Isolation::Serializable,
            }),
            read_only: Some(characteristics.read_only),
            deferrable: Some(characteristics.deferrable),
        }
    }
}

fn isolation_of(isolation: plan::Isolation) -> Isolation {
    match isolation {
        plan::Isolation::ReadUncommitted => Isolation::ReadUncommitted,
        plan::Isolation::ReadCommitted => Isolation::ReadCommitted,
        plan::Isolation::RepeatableRead => Isolation::RepeatableRead,
        plan::Isolation::Serializable => Isolation::Serializable,
    }
}

fn no_database() -> Error {
    Error::internal("no database is open")
}
