//! What can end a statement or a wait from outside: asked between SQLite's steps and whenever a wait wakes.
//!
//! Owns the interface only; flags are set by signal handlers and deadlines by the session. Storage decides
//! nothing about them: whatever error [`Interrupts::check`] gives is the statement's error.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::Error;

/// Asked by long work and by waits.
pub trait Interrupts: Send + Sync {
    /// The reason to stop now: a cancel (57014), statement_timeout (57014), a termination (57P01). Called often;
    /// costs a load or two when there is none.
    fn check(&self) -> Option<Error>;

    /// The same after a wait, before what was waited for is used: looks at all that [`check`](Self::check) looks at only
    /// now and then.
    fn check_after_wait(&self) -> Option<Error> {
        self.check()
    }

    /// When [`check`](Self::check) will give an error by itself: the statement's deadline.
    fn deadline(&self) -> Option<Instant>;

    /// How long a wait for the writer lock may take; `None`: for ever.
    fn lock_timeout(&self) -> Option<Duration>;
}

/// Shared by the session, the connection's progress handler and the waits.
pub type Shared = Arc<dyn Interrupts>;

/// Never interrupts: background processes, and tests.
#[derive(Debug, Clone, Copy, Default)]
pub struct Never;

impl Interrupts for Never {
    fn check(&self) -> Option<Error> {
        None
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn lock_timeout(&self) -> Option<Duration> {
        None
    }
}
