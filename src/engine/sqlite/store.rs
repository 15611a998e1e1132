//! A database as one session uses it: a connection, the session's transaction, and what its answers rest on.
//!
//! Owns when SQLite's transactions begin and end, when the writer lock is held, and what must be durable before
//! bytes may leave. Statements themselves are run by the engine on [`Store::connection`], between
//! [`Store::before_statement`] and [`Store::after_statement`].
//!
//! A READ COMMITTED transaction opens no transaction of SQLite until its first write, so each statement sees
//! the newest commit and none fails for a stale snapshot. Its savepoints are noted until then and set anew under
//! BEGIN IMMEDIATE. A transaction that keeps its snapshot opens a deferred one at its first statement.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use rusqlite::Connection;

use crate::engine::TransactionStatus;
use crate::engine::sqlite::attachment::Attachment;
use crate::engine::sqlite::connection::{self, Interrupted, Options};
use crate::engine::sqlite::failure::{self, Constraints};
use crate::engine::sqlite::interrupts;
use crate::engine::sqlite::transaction::{Access, Characteristics, Ended, Span, Transaction};
use crate::engine::sqlite::{commit, sequence, writer};
use crate::error::{Condition, Error};
use crate::system::fault;

/// Opens a write transaction without writing: it needs the write lock, and does nothing in a database that does
/// not vacuum by itself. SQLite has no statement for turning a read transaction into a write transaction.
const UPGRADE: &str = "PRAGMA incremental_vacuum(1)";

/// Which of SQLite's transactions is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    /// None: SQLite is in autocommit.
    None,
    /// A deferred one, which keeps its snapshot.
    Snapshot,
    /// An immediate one; the writer lock is held.
    Write,
}

/// See the module's description.
pub struct Store {
    connection: Rc<Connection>,
    attachment: Arc<Attachment>,
    interrupts: interrupts::Shared,
    interrupted: Interrupted,
    transaction: Transaction,
    open: Open,
    /// The newest commit that an answer may rest on and that was not durable when last looked at.
    pending: Cell<Option<u64>>,
    /// A statement failed when a sync had failed, perhaps its own: the session must end.
    panic_errno: Option<u32>,
}

impl Store {
    /// Opens the attachment's database. After fork only: a connection must not cross one.
    pub fn open(
        attachment: Arc<Attachment>,
        options: &Options,
        interrupts: interrupts::Shared,
    ) -> Result<Store, Error> {
        let (connection, interrupted) = connection::open(&attachment, options, Arc::clone(&interrupts))?;
        Ok(Store {
            connection: Rc::new(connection),
            attachment,
            interrupts,
            interrupted,
            transaction: Transaction::default(),
            open: Open::None,
            pending: Cell::new(None),
            panic_errno: None,
        })
    }

    /// The connection to run statements on.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The same, for what SQL functions and system views look up on it.
    pub fn shared_connection(&self) -> Rc<Connection> {
        Rc::clone(&self.connection)
    }

    /// The shared side of the database.
    pub fn attachment(&self) -> &Attachment {
        &self.attachment
    }

    /// For ReadyForQuery.
    pub fn status(&self) -> TransactionStatus {
        self.transaction.status()
    }

    /// What spans the statements of now.
    pub fn span(&self) -> Span {
        self.transaction.span()
    }

    /// Whether savepoints are open.
    pub fn has_savepoints(&self) -> bool {
        !self.transaction.savepoints().is_empty()
    }

    /// The characteristics of the transaction of now.
    pub fn characteristics(&self) -> Characteristics {
        self.transaction.characteristics()
    }

    /// 25P02 in a failed block.
    pub fn check_not_failed(&self) -> Result<(), Error> {
        self.transaction.check_not_failed()
    }

    /// When the transaction began: `now()`.
    pub fn started(&mut self) -> SystemTime {
        self.transaction.started()
    }

    /// Whether this session holds the writer lock (writer_idle_timeout applies while it is idle).
    pub fn is_writing(&self) -> bool {
        self.open == Open::Write
    }

    /// Makes the connection ready for a statement: checks that it may run, takes the writer lock for a write.
    /// `command` is the statement's tag, for messages. After an error the statement counts as failed.
    pub fn before_statement(&mut self, access: Access, command: &str) -> Result<(), Error> {
        let result = self.prepare_statement(access, command);
        if result.is_err() {
            self.statement_failed();
        }
        result
    }

    fn prepare_statement(&mut self, access: Access, command: &str) -> Result<(), Error> {
        self.transaction.check_statement(access, command)?;
        if let Some(error) = self.interrupts.check() {
            return Err(error);
        }
        match access {
            Access::Write | Access::Temporary => self.start_writing(),
            Access::Read if self.keeps_snapshot() && self.open == Open::None => {
                self.run("BEGIN")?;
                self.open = Open::Snapshot;
                self.replay_savepoints()
            }
            Access::Read => Ok(()),
        }
    }

    /// Ends a statement: commits or rolls back if it was a transaction by itself. To be called once for each
    /// successful [`Store::before_statement`]; every SQLite statement must have been reset before.
    pub fn after_statement(&mut self, succeeded: bool) -> Result<(), Error> {
        if !succeeded {
            self.statement_failed();
            return Ok(());
        }
        if self.transaction.span() != Span::Statement {
            return Ok(());
        }
        let result = self.commit_open();
        self.transaction.end(false);
        result
    }

    /// A statement failed, here or above: a transaction that spans more than it fails as a whole.
    pub fn statement_failed(&mut self) {
        let lost = self.notice_lost();
        self.panic_errno = self.attachment.panic_errno();
        if self.transaction.span() == Span::Statement {
            self.rollback_open();
            self.transaction.end(false);
        } else {
            self.transaction.fail(lost);
        }
    }

    /// BEGIN. Returns a warning to send, if any.
    pub fn begin(&mut self, characteristics: Characteristics) -> Result<Option<Error>, Error> {
        self.transaction.begin(characteristics)
    }

    /// SET TRANSACTION.
    pub fn set_characteristics(&mut self, characteristics: Characteristics) -> Result<(), Error> {
        let result = self.transaction.set_characteristics(characteristics);
        if result.is_err() {
            self.statement_failed();
        }
        result
    }

    /// Opens the implicit transaction of a message. Without effect when a transaction is open.
    pub fn begin_implicit(&mut self, characteristics: Characteristics) {
        self.transaction.begin_implicit(characteristics);
    }

    /// Ends the implicit transaction. Without effect inside a block, or when there is none.
    pub fn end_implicit(&mut self, commit: bool) -> Result<(), Error> {
        if self.transaction.span() != Span::Implicit {
            return Ok(());
        }
        self.end(commit, false).map(|_| ())
    }

    /// COMMIT; with `chain`, the next block begins at once. The warning says that no block was open.
    pub fn commit(&mut self, chain: bool) -> Result<(Ended, Option<Error>), Error> {
        let warning = self.transaction.check_end();
        Ok((self.end(true, chain)?, warning))
    }

    /// ROLLBACK; with `chain`, the next block begins at once. The warning says that no block was open.
    pub fn rollback(&mut self, chain: bool) -> Result<(Ended, Option<Error>), Error> {
        let warning = self.transaction.check_end();
        Ok((self.end(false, chain)?, warning))
    }

    fn end(&mut self, commit: bool, chain: bool) -> Result<Ended, Error> {
        let failed = self.transaction.end(chain);
        if commit && !failed {
            self.commit_open()?;
            return Ok(Ended::Committed);
        }
        self.rollback_open();
        Ok(Ended::RolledBack)
    }

    /// SAVEPOINT.
    pub fn savepoint(&mut self, name: &str) -> Result<(), Error> {
        let result = self.transaction.savepoint(name, self.open != Open::Write);
        let result = result.and_then(|number| match self.open {
            Open::None => Ok(()),
            _ => self.run(&format!("SAVEPOINT s{number}")),
        });
        self.failing(result)
    }

    /// RELEASE SAVEPOINT.
    pub fn release(&mut self, name: &str) -> Result<(), Error> {
        let result = self.transaction.release(name);
        let result = result.and_then(|target| match self.open {
            Open::None => Ok(()),
            _ => self.run(&format!("RELEASE s{}", target.number)),
        });
        self.failing(result)
    }

    /// ROLLBACK TO SAVEPOINT.
    pub fn rollback_to(&mut self, name: &str) -> Result<(), Error> {
        let result = self.transaction.rollback_to(name);
        let result = result.and_then(|target| match self.open {
            Open::None => Ok(()),
            // Nothing had been written: the lock goes back to others, and READ COMMITTED sees new commits again.
            Open::Write if target.before_write && !self.keeps_snapshot() => {
                self.rollback_open();
                Ok(())
            }
            Open::Write => self.run(&format!("ROLLBACK TO s{}", target.number)).and_then(|()| {
                // The statement was reset, so a failure here is the storage's.
                sequence::restore(&self.connection).map_err(|error| self.describe(&error, &()))
            }),
            Open::Snapshot => self.run(&format!("ROLLBACK TO s{}", target.number)),
        });
        self.failing(result)
    }

    /// Waits until all that answers given so far rest on is durable. Without effect while a write transaction is
    /// open: its answers are provisional. With `synchronous` false (synchronous_commit = off) it does not wait,
    /// but a later call still will.
    pub fn settle(&self, synchronous: bool) -> Result<(), Error> {
        if let Some(errno) = self.panic_errno {
            return Err(commit::panicked(errno));
        }
        if self.attachment.take_read_undurable() {
            // A commit raises `begun` before it becomes visible, so this covers whatever was read.
            self.pending.set(Some(self.attachment.begun()));
        }
        let Some(position) = self.pending.get() else { return Ok(()) };
        if self.attachment.is_durable(position) {
            self.pending.set(None);
        } else if self.open != Open::Write && synchronous {
            commit::wait_durable(&self.attachment, position)?;
            self.pending.set(None);
        }
        Ok(())
    }

    /// Rolls back whatever is open and forgets the session's transaction.
    pub fn reset(&mut self) -> Result<(), Error> {
        self.rollback_open();
        self.transaction.end(false);
        if self.connection.is_autocommit() {
            return Ok(());
        }
        Err(Error::internal("a transaction could not be rolled back"))
    }

    /// The client's error for a failure of SQLite on this connection. Whoever found no room to write has the
    /// checkpointer make some.
    pub fn describe(&self, error: &rusqlite::Error, constraints: &dyn Constraints) -> Error {
        let described = failure::describe(error, self.attachment.display_name(), self.interrupted.take(), constraints);
        if described.condition() == Condition::DiskFull {
            self.attachment.ask_for_checkpoint();
        }
        described
    }

    fn keeps_snapshot(&self) -> bool {
        self.transaction.span() != Span::Statement && self.transaction.characteristics().isolation.keeps_snapshot()
    }

    /// Takes the writer lock and opens SQLite's write transaction, unless that was done.
    fn start_writing(&mut self) -> Result<(), Error> {
        if self.open == Open::Write {
            return Ok(());
        }
        writer::acquire(&self.attachment, self.interrupts.as_ref())?;
        fault::point("holding-writer-lock");
        let result = match self.open {
            Open::Snapshot => self.upgrade(),
            _ => self.run("BEGIN IMMEDIATE"),
        };
        if let Err(error) = result {
            self.attachment.release_writer();
            return Err(error);
        }
        let replay = self.open == Open::None;
        self.open = Open::Write;
        if replay { self.replay_savepoints() } else { Ok(()) }
    }

    /// Turns the read transaction into a write transaction; 40001 if its snapshot is not the newest.
    fn upgrade(&mut self) -> Result<(), Error> {
        let result = self.connection.prepare_cached(UPGRADE).and_then(|mut statement| {
            let mut rows = statement.query(())?;
            while rows.next()?.is_some() {}
            Ok(())
        });
        result.map_err(|error| self.describe(&error, &()))
    }

    fn replay_savepoints(&mut self) -> Result<(), Error> {
        for savepoint in self.transaction.savepoints() {
            self.run(&format!("SAVEPOINT s{}", savepoint.number))?;
        }
        Ok(())
    }

    fn commit_open(&mut self) -> Result<(), Error> {
        match self.open {
            Open::None => Ok(()),
            Open::Snapshot => {
                self.open = Open::None;
                self.run("COMMIT")
            }
            Open::Write => self.commit_write(),
        }
    }

    /// The durable part of a commit is [`Store::settle`]'s: here the WAL is appended to and the lock released.
    fn commit_write(&mut self) -> Result<(), Error> {
        if self.notice_lost() {
            return Err(Error::new(Condition::TransactionRollback, "the transaction was rolled back by storage"));
        }
        let position = self.attachment.begin_commit();
        fault::point("after-begun");
        let result = self.run("COMMIT");
        if result.is_err() && !self.connection.is_autocommit() {
            // The error to report is the commit's. If even this fails, `reset` reports it.
            let _ = self.run("ROLLBACK");
        }
        self.attachment.finish_commit(position);
        if result.is_ok() {
            sequence::forget_drawn();
        }
        fault::point("after-wal-append");
        self.attachment.release_writer();
        self.open = Open::None;
        if result.is_ok() {
            self.pending.set(Some(position));
            self.attachment.wake_checkpointer_if_due();
        }
        result
    }

    fn rollback_open(&mut self) {
        if self.open != Open::None && !self.connection.is_autocommit() {
            // A failure leaves the connection in its transaction, which `reset` reports.
            let _ = self.run("ROLLBACK");
        }
        if self.open == Open::Write && sequence::has_drawn() && self.connection.is_autocommit() {
            self.keep_sequences();
        }
        if self.open == Open::Write {
            self.attachment.release_writer();
        }
        self.open = Open::None;
    }

    /// Sequences do not roll back: nobody else may be given what was drawn here, so their places are stored before
    /// the writer lock goes.
    fn keep_sequences(&mut self) {
        let stored = self.run("BEGIN IMMEDIATE").and_then(|()| {
            let restored = sequence::restore(&self.connection).map_err(|error| self.describe(&error, &()));
            restored.and_then(|()| self.commit_write())
        });
        if let Err(error) = stored {
            // As when the machine stops before it has written: the values may come again.
            log::warn!("sequences could not keep their places after a rollback: {error}");
            if !self.connection.is_autocommit() {
                let _ = self.run("ROLLBACK");
            }
        }
        sequence::forget_drawn();
    }

    /// SQLite answers some failures (interrupts, full disks) by rolling everything back: then the lock must not
    /// be held any longer. Returns whether that happened.
    fn notice_lost(&mut self) -> bool {
        let lost = self.open != Open::None && self.connection.is_autocommit();
        if lost {
            self.rollback_open();
        }
        lost
    }

    fn failing(&mut self, result: Result<(), Error>) -> Result<(), Error> {
        if result.is_err() {
            self.statement_failed();
        }
        result
    }

    fn run(&self, sql: &str) -> Result<(), Error> {
        let result = self.connection.prepare_cached(sql).and_then(|mut statement| statement.execute(()));
        result.map(|_| ()).map_err(|error| self.describe(&error, &()))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.rollback_open();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::sqlite::database;
    use crate::engine::sqlite::ffi::vfs;
    use crate::engine::sqlite::interrupts::Never;
    use crate::engine::sqlite::transaction::Isolation;
    use shm::{Geometry, Segment, SlotKind};

    /// A database with `t(a)` in a temporary folder.
    struct Fixture {
        folder: tempfile::TempDir,
        store: Store,
    }

    fn fixture() -> Fixture {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("1");
        database::create(&path, |connection| connection.execute_batch("CREATE TABLE t(a)")).expect("creates");
        let geometry = Geometry { slots: 2, databases: 1, wal_index_bytes: 1 << 20 };
        let segment = Segment::on_heap(&geometry).expect("a segment");
        let me = segment.claim_slot(SlotKind::Worker).expect("a slot");
        let attachment = Arc::new(Attachment::new(segment, me, 5, &path, 1 << 20).expect("an attachment"));
        assert!(vfs::attach(Arc::clone(&attachment)));
        let store = Store::open(attachment, &Options::default(), Arc::new(Never)).expect("opens");
        Fixture { folder, store }
    }

    fn write(store: &mut Store, sql: &str) -> Result<(), Error> {
        store.before_statement(Access::Write, "INSERT")?;
        let result = store.connection().execute(sql, ()).map_err(|error| store.describe(&error, &()));
        store.after_statement(result.is_ok())?;
        result.map(|_| ())
    }

    fn count(store: &mut Store) -> i64 {
        store.before_statement(Access::Read, "SELECT").expect("may read");
        let count = store.connection().query_row("SELECT count(*) FROM t", (), |row| row.get(0)).expect("counts");
        store.after_statement(true).expect("reads commit");
        count
    }

    #[test]
    fn statements_commit_by_themselves_and_settle() {
        let Fixture { mut store, folder: _folder } = fixture();
        write(&mut store, "INSERT INTO t VALUES (1)").expect("writes");
        assert!(!store.is_writing());
        store.settle(true).expect("syncs");
        assert_eq!(count(&mut store), 1);
        store.settle(true).expect("syncs");
    }

    #[test]
    fn a_block_takes_the_lock_at_its_first_write_and_replays_savepoints() {
        let Fixture { mut store, folder: _folder } = fixture();
        store.begin(Characteristics::default()).expect("begins");
        assert_eq!(count(&mut store), 0);
        assert!(!store.is_writing());
        store.savepoint("early").expect("notes");
        write(&mut store, "INSERT INTO t VALUES (1)").expect("writes");
        assert!(store.is_writing());
        store.savepoint("late").expect("sets");
        write(&mut store, "INSERT INTO t VALUES (2)").expect("writes");
        store.rollback_to("late").expect("rolls back");
        assert_eq!(count(&mut store), 1);
        assert!(store.is_writing());
        store.rollback_to("early").expect("rolls back");
        assert!(!store.is_writing(), "nothing is written any more, so the lock is given back");
        write(&mut store, "INSERT INTO t VALUES (3)").expect("writes");
        assert_eq!(store.commit(false).expect("commits"), (Ended::Committed, None));
        assert!(!store.is_writing());
        assert_eq!(count(&mut store), 1);
    }

    #[test]
    fn a_failed_statement_fails_the_block_until_rollback() {
        let Fixture { mut store, folder: _folder } = fixture();
        store.begin(Characteristics::default()).expect("begins");
        write(&mut store, "INSERT INTO t VALUES (1)").expect("writes");
        assert!(write(&mut store, "INSERT INTO missing VALUES (1)").is_err());
        assert_eq!(store.status(), TransactionStatus::Failed);
        let refused = write(&mut store, "INSERT INTO t VALUES (2)");
        assert_eq!(refused.err().map(|error| error.condition().code()), Some("25P02"));
        assert_eq!(store.commit(false).expect("ends"), (Ended::RolledBack, None));
        assert!(!store.is_writing());
        assert_eq!(count(&mut store), 0);
    }

    #[test]
    fn a_kept_snapshot_becomes_a_write_transaction_without_writing() {
        let Fixture { mut store, folder: _folder } = fixture();
        let kept = Characteristics { isolation: Isolation::RepeatableRead, ..Characteristics::default() };
        store.begin(kept).expect("begins");
        assert_eq!(count(&mut store), 0);
        store.savepoint("s").expect("sets");
        write(&mut store, "INSERT INTO t VALUES (1)").expect("upgrades");
        assert!(store.is_writing());
        store.rollback_to("s").expect("rolls back");
        assert_eq!(count(&mut store), 0);
        assert!(store.is_writing());
        write(&mut store, "INSERT INTO t VALUES (2)").expect("writes");
        store.commit(false).expect("commits");
        assert_eq!(count(&mut store), 1);
    }

    #[test]
    fn an_implicit_transaction_is_undone_as_a_whole() {
        let Fixture { mut store, folder: _folder } = fixture();
        store.begin_implicit(Characteristics::default());
        write(&mut store, "INSERT INTO t VALUES (1)").expect("writes");
        assert!(write(&mut store, "INSERT INTO missing VALUES (1)").is_err());
        assert_eq!(store.status(), TransactionStatus::Idle);
        store.end_implicit(false).expect("rolls back");
        assert_eq!(count(&mut store), 0);
        store.begin_implicit(Characteristics::default());
        write(&mut store, "INSERT INTO t VALUES (1)").expect("writes");
        store.end_implicit(true).expect("commits");
        assert_eq!(count(&mut store), 1);
    }

    #[test]
    fn the_wal_is_kept_and_grows_in_chunks() {
        let Fixture { mut store, folder } = fixture();
        let wal = folder.path().join("1-wal");
        let length = || std::fs::metadata(&wal).expect("a WAL").len();
        // A large transaction is synced once, and makes the WAL as long as it must be, in whole blocks.
        write(&mut store, "INSERT INTO t VALUES (zeroblob(2000000))").expect("writes");
        let loaded = length();
        assert!((2_000_000..2_100_000).contains(&loaded) && loaded.is_multiple_of(4096), "{loaded}");
        // The many small ones must find their place prepared.
        write(&mut store, "INSERT INTO t VALUES (1)").expect("writes");
        let size = length();
        assert!(size > loaded && size.is_multiple_of(1 << 20), "{size}");
        write(&mut store, "INSERT INTO t VALUES (2)").expect("writes");
        assert_eq!(length(), size);
        drop(store);
        assert_eq!(std::fs::metadata(&wal).expect("a WAL").len(), size);
    }
}
