//! The queue for a database's writer lock, as a statement waits in it.
//!
//! Owns which error ends the wait. The lock itself is the segment's. SQLite's busy handler is not involved: it
//! would sleep, and could not be cancelled.

use std::time::Instant;

use shm::LockError;

use crate::engine::sqlite::attachment::Attachment;
use crate::engine::sqlite::interrupts::Interrupts;
use crate::error::{Condition, Error};
use crate::system::fault;

/// Waits for the writer lock: 55P03 after lock_timeout, else whatever the interrupts give.
pub fn acquire(attachment: &Attachment, interrupts: &dyn Interrupts) -> Result<(), Error> {
    let (database, me) = (attachment.database(), attachment.me());
    if database.try_lock_writer(me) {
        return Ok(());
    }
    fault::point("queueing-for-writer-lock");
    let lock_deadline = interrupts.lock_timeout().and_then(|timeout| Instant::now().checked_add(timeout));
    let deadline = [lock_deadline, interrupts.deadline()].into_iter().flatten().min();
    let mut reason = None;
    let result = database.lock_writer(me, deadline, &mut || {
        reason = interrupts.check();
        reason.is_some()
    });
    match result {
        // A client that died in the queue wants nothing written any more.
        Ok(()) => match interrupts.check_after_wait() {
            Some(error) => {
                database.unlock_writer(me);
                Err(error)
            }
            None => Ok(()),
        },
        Err(LockError::Interrupted) => Err(reason.unwrap_or_else(cancelled)),
        Err(LockError::TimedOut) => Err(interrupts.check().unwrap_or_else(lock_timed_out)),
    }
}

fn lock_timed_out() -> Error {
    Error::new(Condition::LockNotAvailable, "canceling statement due to lock timeout")
}

fn cancelled() -> Error {
    Error::new(Condition::QueryCanceled, "canceling statement due to user request")
}
