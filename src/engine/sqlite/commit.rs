//! Waiting until a commit is durable: one process's fdatasync serves all who wait.
//!
//! Owns what a sync is here. Who leads it, and who is woken by it, is the segment's. The order that makes it sound:
//! a writer raises `begun` under the writer lock before its COMMIT, and `appended` after it; a leader takes
//! `appended` before its fdatasync and publishes it as `durable` after. When the WAL starts anew, all of the run
//! before it is in the database file and synced.

use std::io;

use shm::AwaitError;

use crate::engine::sqlite::attachment::Attachment;
use crate::engine::sqlite::ffi::vfs;
use crate::error::{Condition, Error};
use crate::system::fault;

/// Returns once the commit is durable. An error means that the process must end without another answer: it must
/// not say that the commit failed, nor that it succeeded. The wait is as short as a sync, so nothing interrupts it.
pub fn wait_durable(attachment: &Attachment, position: u64) -> Result<(), Error> {
    attachment
        .database()
        .await_durable(attachment.me(), position, &mut || sync(attachment), &mut || false)
        .map_err(|error| describe(&error))
}

/// Syncs what asynchronous commits have left, if nobody else does. Returns whether this process did.
pub fn sync_appended(attachment: &Attachment) -> Result<bool, Error> {
    attachment.database().lead_sync(attachment.me(), &mut || sync(attachment)).map_err(|error| describe(&error))
}

fn sync(attachment: &Attachment) -> io::Result<()> {
    fault::point("leading-sync");
    // The shim sets the panic word when a sync of its files fails, whoever asked for it.
    let result = if vfs::sync_wal(attachment) { Ok(()) } else { Err(io::Error::last_os_error()) };
    fault::point("after-sync");
    result
}

/// What ends a session that comes upon a failed sync.
pub fn panicked(errno: u32) -> Error {
    describe(&AwaitError::Panicked(errno))
}

fn describe(error: &AwaitError) -> Error {
    Error::new(Condition::CrashShutdown, "terminating connection because the write-ahead log could not be synced")
        .detail(format!("{error}."))
        .hint("In a moment you should be able to reconnect to the database and repeat your command.")
}
