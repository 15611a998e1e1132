//! Opening SQLite on a database of the cluster.
//!
//! Owns the flags, the pragmas and the progress handler of every connection. It must stay lean: a worker opens
//! its database on the way to its first client.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::engine::sqlite::attachment::Attachment;
use crate::engine::sqlite::failure;
use crate::engine::sqlite::ffi::vfs;
use crate::engine::sqlite::guard;
use crate::engine::sqlite::interrupts;
use crate::error::Error;

/// Steps of SQLite's virtual machine between two looks at the interrupts: some tens of microseconds.
const STEPS_BETWEEN_CHECKS: i32 = 1000;

/// How long another process's recovery of the WAL-index is waited for: it reads the whole WAL.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(60);

/// Settings of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// SQLite's page cache, in bytes (`engine.sqlite.page_cache`).
    pub page_cache_bytes: u64,
    /// How much of the database file is mapped into memory (`engine.sqlite.mmap`); 0: none.
    pub mmap_bytes: u64,
    /// Prepared statements kept by the connection.
    pub statements: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { page_cache_bytes: 8 << 20, mmap_bytes: 0, statements: 256 }
    }
}

/// The error that the progress handler interrupted a statement with.
#[derive(Clone, Default)]
pub struct Interrupted(Arc<Mutex<Option<Error>>>);

impl Interrupted {
    /// The error, once.
    pub fn take(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, error: Error) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

/// Opens the attachment's database.
pub fn open(
    attachment: &Arc<Attachment>,
    options: &Options,
    interrupts: interrupts::Shared,
) -> Result<(Connection, Interrupted), Error> {
    let result = open_raw(attachment, options);
    let mut connection = result.map_err(|error| failure::describe(&error, attachment.display_name(), None, &()))?;
    let interrupted = Interrupted::default();
    let reason = interrupted.clone();
    let handler = move || match interrupts.check() {
        Some(error) => {
            reason.set(error);
            true
        }
        None => false,
    };
    connection
        .progress_handler(STEPS_BETWEEN_CHECKS, Some(handler))
        .map_err(|error| failure::describe(&error, attachment.display_name(), None, &()))?;
    let guarded = connection.authorizer(Some(guard::decide));
    guarded.map_err(|error| failure::describe(&error, attachment.display_name(), None, &()))?;
    Ok((connection, interrupted))
}

/// A connection without a progress handler: the checkpointer's.
pub fn open_raw(attachment: &Arc<Attachment>, options: &Options) -> rusqlite::Result<Connection> {
    if !vfs::register() {
        return Err(rusqlite::Error::InvalidPath("SQLite has no VFS for this system".into()));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags_and_vfs(attachment.path(), flags, vfs::NAME)?;
    // Whoever waits, waits for our writer lock, interruptibly. SQLite is busy by itself only while another process
    // recovers the WAL-index: at start-up, and after a writer died with the index's header half written.
    connection.busy_timeout(RECOVERY_TIMEOUT)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, true)?;
    let cache_kib = options.page_cache_bytes.div_ceil(1024);
    // NORMAL: a commit appends to the WAL without a sync; group commit syncs. Triggers fire inside triggers, as in
    // PostgreSQL. `temp_store` stays on files, so that large sorts do not eat memory.
    connection.execute_batch(&format!(
        "PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=-{cache_kib}; \
         PRAGMA recursive_triggers=ON; PRAGMA mmap_size={mmap}",
        mmap = options.mmap_bytes,
    ))?;
    connection.set_prepared_statement_cache_capacity(options.statements);
    super::functions::report_changes(&mut connection)?;
    Ok(connection)
}
