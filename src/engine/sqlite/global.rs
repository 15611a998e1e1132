//! The cluster's catalog beside a session's database: roles and databases, read by all, changed by few.
//!
//! Owns the second connection of a process, on `global.db`, and how its transaction goes with the session's. SQLite
//! cannot commit two files atomically, so a transaction that writes both is refused.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shm::{Interrupt, Owner, Segment, Slot, SlotIndex, SlotKind, SlotState};

use super::attachment::Attachment;
use super::catalog::StoredCatalog;
use super::connection::Options;
use super::database;
use super::engine::Sqlite;
use super::ffi::vfs;
use super::interrupts;
use super::session::Session;
use super::store::Store;
use super::transaction::{Access, Characteristics, Span};
use crate::engine::RowSink;
use crate::engine::cluster::{self, Actor, Cluster, FileChange, Snapshot};
use crate::error::{Condition, Error};
use crate::settings::Settings;
use crate::sql::define::Definition;

/// The cluster catalog's number in the segment; databases have OIDs that are not it.
pub const GLOBAL_OID: u32 = 1;

/// Pages of `global.db` kept in memory: it is small and rarely read.
const PAGE_CACHE_BYTES: u64 = 64 << 10;

/// This process's view of `global.db`.
pub(super) struct Global {
    pub(super) store: Store,
    /// Roles and databases, shared with the system views.
    pub(super) catalog: Rc<cluster::Global>,
    /// What keeps unknown roles from being told apart.
    pub(super) mock_secret: [u8; 32],
    /// What the open transaction leaves to be done with files.
    files: Vec<FileChange>,
    attachment: Arc<Attachment>,
}

impl Global {
    /// Opens `global.db` of a cluster.
    pub(super) fn open(
        segment: Segment,
        owner: Owner,
        path: &Path,
        checkpoint_bytes: u64,
        interrupts: interrupts::Shared,
    ) -> Result<Self, Error> {
        let attachment = Attachment::new(segment, owner, GLOBAL_OID, path, checkpoint_bytes)
            .ok_or_else(|| Error::internal("the segment has no room for the cluster's catalog"))?;
        let attachment = Arc::new(attachment);
        if !vfs::attach(Arc::clone(&attachment)) {
            return Err(Error::internal("the cluster's catalog is open already"));
        }
        let options = Options { page_cache_bytes: PAGE_CACHE_BYTES, mmap_bytes: 0, statements: 16 };
        let opened = Self::open_attached(Arc::clone(&attachment), &options, interrupts);
        if opened.is_err() {
            vfs::detach(&attachment);
        }
        opened
    }

    fn open_attached(
        attachment: Arc<Attachment>,
        options: &Options,
        interrupts: interrupts::Shared,
    ) -> Result<Self, Error> {
        let store = Store::open(Arc::clone(&attachment), options, interrupts)?;
        let catalog = Rc::new(cluster::Global::load(store.connection())?);
        let mock_secret = cluster::mock_secret(store.connection())?;
        // A fresh segment knows no version yet; without one every look would read the file.
        let shared = store.attachment().database();
        if shared.catalog_version() == 0 {
            shared.publish_catalog_version(catalog.snapshot().version());
        }
        Ok(Self { store, catalog, mock_secret, files: Vec::new(), attachment })
    }

    /// See [`Sqlite::inherit`].
    pub(super) fn inherit(&self, owner: Owner) {
        self.attachment.inherit(owner);
    }

    /// Roles and databases as of now.
    pub(super) fn snapshot(&self) -> Result<Rc<Snapshot>, Error> {
        let published = self.store.attachment().database().catalog_version();
        self.catalog.refresh(self.store.connection(), published)?;
        Ok(self.catalog.snapshot())
    }

    /// Carries a definition out and keeps its changes of files for the transaction's end.
    fn change(&mut self, definition: &Definition, actor: &Surroundings<'_>) -> Result<Vec<Error>, Error> {
        let segment = self.store.attachment().segment();
        let (notices, files) = cluster::execute(
            definition,
            &Actor {
                connection: self.store.connection(),
                cluster: actor.cluster,
                user: actor.user,
                session_user: actor.session_user,
                database: actor.database,
                text: actor.text,
                settings: &actor.settings,
                sessions: &|oid| using(segment, oid).map(|(_, slot)| slot.activity().user_oid()).collect(),
                end_sessions: &|oid| end_sessions(actor.session, oid),
                dependents: actor.dependents,
            },
        )?;
        self.catalog.note_change();
        // The session sees what its transaction has changed.
        self.catalog.refresh(self.store.connection(), 0)?;
        if let FileChange::RemoveOnRollback(oid) = files
            && segment.open_database(oid).is_none()
        {
            // The region must be there before anybody can find the database.
            self.files.push(files);
            return Err(Error::new(Condition::ProgramLimitExceeded, "too many databases")
                .detail("A dropped database's place is free again once no process has it open."));
        }
        self.files.push(files);
        Ok(notices)
    }

    /// Before the commit of changed roles or databases: their version, stored and published.
    fn publish(&self) -> Result<(), Error> {
        let shared = self.store.attachment().database();
        if let Some(version) = self.catalog.prepare_commit(self.store.connection(), shared.catalog_version())? {
            shared.publish_catalog_version(version);
            self.store.attachment().segment().pool().bump_roles_version();
        }
        Ok(())
    }

    /// After the transaction's end: files that are not needed go, and the checkpointer hears of new ones.
    fn ended(&mut self, committed: bool, data_directory: &Path) -> Result<(), Error> {
        let files = std::mem::take(&mut self.files);
        let known = self.catalog.transaction_ended(self.store.connection());
        for change in files {
            let gone = match change {
                FileChange::RemoveOnCommit(oid) if committed => oid,
                FileChange::RemoveOnRollback(oid) if !committed => oid,
                FileChange::RemoveOnRollback(_) => {
                    reload_checkpointer(self.store.attachment().segment());
                    continue;
                }
                _ => continue,
            };
            // What stays is removed at the next start, as no database is listed for it.
            self.store.attachment().segment().doom_database(gone);
            if let Err(error) = database::remove(&super::engine::database_path(data_directory, gone)) {
                log::warn!("{error}");
            }
            reload_checkpointer(self.store.attachment().segment());
        }
        known
    }

    /// Ends the transaction that a block opened here, as the block ended.
    fn end(&mut self, commit: bool, data_directory: &Path) -> Result<(), Error> {
        if self.store.span() == Span::Statement {
            return Ok(());
        }
        let result = if commit {
            self.publish().and_then(|()| self.store.commit(false)).map(|_| ())
        } else {
            self.store.rollback(false).map(|_| ())
        };
        if result.is_err() {
            // Only what could not be committed is left; it must not outlive its block.
            let _ = self.store.rollback(false);
        }
        self.ended(commit && result.is_ok(), data_directory)?;
        result
    }
}

impl Drop for Global {
    fn drop(&mut self) {
        // Open files keep their attachment.
        vfs::detach(&self.attachment);
    }
}

/// Removes files of databases that are not listed: left by a CREATE or DROP DATABASE that was cut short. Holding the
/// writer lock of the cluster's catalog, without which no database comes or goes.
pub fn remove_orphans(
    segment: Segment,
    owner: Owner,
    data_directory: &Path,
    checkpoint_bytes: u64,
    interrupts: interrupts::Shared,
) -> Result<(), Error> {
    let cluster = Cluster::open(data_directory).map_err(|error| Error::internal(error.to_string()))?;
    let mut global = Global::open(segment, owner, &cluster.global_file(), checkpoint_bytes, interrupts)?;
    global.store.before_statement(Access::Write, "START")?;
    let removed = Snapshot::load(global.store.connection())
        .and_then(|snapshot| cluster.remove_orphans(&snapshot).map_err(|error| Error::internal(error.to_string())));
    global.store.after_statement(false)?;
    removed
}

/// What a statement about roles or databases knows of its session.
struct Surroundings<'a> {
    cluster: &'a Cluster,
    user: &'a str,
    session_user: &'a str,
    database: &'a str,
    text: &'a crate::sql::types::TextContext,
    session: &'a Session,
    settings: Settings,
    dependents: &'a dyn Fn(u32) -> Result<Vec<(u32, String)>, Error>,
}

/// How many things in another database depend on a role. While the cluster's catalog is written, no database goes.
fn dependents_in(
    segment: Segment,
    owner: Owner,
    data_directory: &Path,
    database: u32,
    role: u32,
) -> Result<usize, Error> {
    let path = super::engine::database_path(data_directory, database);
    let attachment = Attachment::new(segment, owner, database, &path, u64::MAX)
        .ok_or_else(|| Error::internal("the segment has no room for another database"))?;
    let attachment = Arc::new(attachment);
    if !vfs::attach(Arc::clone(&attachment)) {
        return Err(Error::internal("another database is open already"));
    }
    let options = Options { page_cache_bytes: PAGE_CACHE_BYTES, mmap_bytes: 0, statements: 4 };
    let counted = super::connection::open_raw(&attachment, &options).map_err(super::catalog::failure);
    let counted = counted.and_then(|connection| {
        let cache = super::catalog::Cache::new();
        let rights = super::rights::Rights::default();
        let catalog = StoredCatalog { connection: &connection, cache: &cache, search_path: &[], rights: &rights };
        super::owned::dependents(&catalog, role).map(|lines| lines.len())
    });
    vfs::detach(&attachment);
    counted
}

/// Sessions that use the database now, by their slots.
fn using(segment: Segment, oid: u32) -> impl Iterator<Item = (SlotIndex, &'static Slot)> {
    segment.slots().filter(move |(_, slot)| {
        matches!(slot.state(), SlotState::Connecting | SlotState::Serving) && slot.activity().database_oid() == oid
    })
}

/// Ends all sessions in a database, and waits for their end as long as PostgreSQL does. One that has not begun yet when
/// it is asked is asked again.
fn end_sessions(session: &Session, oid: u32) -> Result<(), Error> {
    const PATIENCE: Duration = Duration::from_secs(5);
    const PAUSE_S: f64 = 0.01;
    let until = Instant::now() + PATIENCE;
    loop {
        let mut left = false;
        for (_, slot) in using(session.segment(), oid) {
            left = true;
            slot.request_terminate(slot.session_generation());
        }
        if !left || Instant::now() >= until {
            return Ok(());
        }
        session.signal_others();
        session.sleep(PAUSE_S)?;
    }
}

/// Has the checkpointer look at which databases there are.
fn reload_checkpointer(segment: Segment) {
    for (_, slot) in segment.slots() {
        if slot.kind() == SlotKind::Checkpointer && slot.state() != SlotState::Free {
            slot.raise(Interrupt::Reload);
        }
    }
}

impl Sqlite {
    /// CREATE, ALTER and DROP of roles and databases.
    pub(super) fn define_in_cluster(&mut self, definition: &Definition, sink: &mut dyn RowSink) -> Result<u64, Error> {
        match self.run_in_cluster(definition) {
            Ok(notices) => {
                for notice in notices {
                    let is_warning = notice.condition().code().starts_with("01");
                    sink.notice(if is_warning { "WARNING" } else { "NOTICE" }, notice);
                }
                Ok(0)
            }
            Err(error) => {
                if let Ok(database) = self.database() {
                    database.failed();
                }
                Err(error)
            }
        }
    }

    /// What REASSIGN OWNED and DROP OWNED do to databases themselves: afterwards, for SQLite cannot commit two files
    /// atomically, and by itself.
    pub(super) fn needs_cluster(&mut self, definition: &Definition) -> Result<bool, Error> {
        let (roles, reassigns) = match definition {
            Definition::ReassignOwned { roles, .. } => (roles, true),
            Definition::DropOwned { roles, .. } => (roles, false),
            _ => return Ok(false),
        };
        let rights = Rc::clone(&self.database()?.rights);
        let roles: Vec<u32> = roles.iter().filter_map(|role| rights.resolve(role).ok()).collect();
        let needed = rights.cluster().databases().iter().any(|database| {
            let granted = |role: &u32| database.acl.as_ref().is_some_and(|acl| acl.names(*role));
            let owned = roles.contains(&database.owner);
            if reassigns { owned } else { !owned && roles.iter().any(granted) }
        });
        if needed && self.database()?.store.span() != Span::Statement {
            return Err(mixed());
        }
        Ok(needed)
    }

    fn run_in_cluster(&mut self, definition: &Definition) -> Result<Vec<Error>, Error> {
        let identity = self.session.identity();
        let session_user = self.session.session_user();
        let default_read_only = self.session.default_modes().read_only == Some(true);
        let text = self.session.text_context();
        let settings = self.session.settings().map_or_else(Settings::new, |settings| settings.lock().clone());
        let session = Arc::clone(&self.session);
        let data_directory = self.configuration.data_directory.clone();
        let (segment, owner) = (self.segment, self.owner);
        let cluster = Cluster::open(&data_directory).map_err(|error| Error::internal(error.to_string()))?;
        let (global, database) = self.both()?;
        if database.store.is_writing() {
            return Err(mixed());
        }
        if database.store.has_savepoints() {
            return Err(Error::unsupported(format!("{} after SAVEPOINT", definition.tag())));
        }
        // In the session's own transaction it counts as a statement; that one has nothing to lock for it.
        database.store.before_statement(Access::Read, definition.tag())?;
        if default_read_only && database.store.span() == Span::Statement {
            let message = format!("cannot execute {} in a read-only transaction", definition.tag());
            return Err(Error::new(Condition::ReadOnlySqlTransaction, message));
        }
        let single = database.store.span() == Span::Statement;
        if !single && global.store.span() == Span::Statement {
            let read_only = database.store.characteristics().read_only;
            global.store.begin(Characteristics { read_only, ..Characteristics::default() })?;
        }
        global.store.before_statement(Access::Write, definition.tag())?;
        let catalog = StoredCatalog {
            connection: database.store.connection(),
            cache: &database.catalog,
            search_path: &database.search_path,
            rights: &database.rights,
        };
        let others = global.snapshot()?;
        let dependents = |role: u32| {
            let mut lines = super::owned::dependents(&catalog, role)?;
            for other in others.databases().iter().filter(|other| other.oid != identity.database_oid) {
                let number = dependents_in(segment, owner, &data_directory, other.oid, role)?;
                if number > 0 {
                    let plural = if number == 1 { "" } else { "s" };
                    lines.push((u32::MAX, format!("{number} object{plural} in database {}", other.name)));
                }
            }
            Ok(lines)
        };
        let actor = Surroundings {
            cluster: &cluster,
            user: &identity.user,
            session_user: &session_user,
            database: &identity.database,
            text: &text,
            session: &session,
            settings,
            dependents: &dependents,
        };
        let mut changed = global.change(definition, &actor);
        if single {
            if changed.is_ok()
                && let Err(error) = global.publish()
            {
                changed = Err(error);
            }
            let ended = global.store.after_statement(changed.is_ok());
            global.ended(changed.is_ok() && ended.is_ok(), &data_directory)?;
            ended?;
        } else if changed.is_err() {
            global.store.statement_failed();
        }
        let notices = changed?;
        database.store.after_statement(true)?;
        Ok(notices)
    }

    /// Ends what the session's transaction changed in the cluster's catalog, as that transaction ended.
    pub(super) fn end_cluster_transaction(&mut self, commit: bool) -> Result<(), Error> {
        match &mut self.global {
            Some(global) if global.store.span() != Span::Statement => {
                global.end(commit, &self.configuration.data_directory)
            }
            _ => Ok(()),
        }
    }

    /// 0A000 where the transaction has changed roles or databases already.
    pub(super) fn refuse_mixed_writes(&self) -> Result<(), Error> {
        match &self.global {
            Some(global) if global.store.is_writing() => Err(mixed()),
            _ => Ok(()),
        }
    }

    /// Whether the open transaction changes the cluster's catalog.
    pub(super) fn writes_cluster(&self) -> bool {
        self.global.as_ref().is_some_and(|global| global.store.is_writing())
    }
}

fn mixed() -> Error {
    Error::unsupported("a transaction that changes a database as well as roles or databases")
        .hint("Use two transactions.")
}
