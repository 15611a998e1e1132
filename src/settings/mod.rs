//! PostgreSQL's run-time parameters: which exist, what they may hold, what this session has them at.
//!
//! A leaf: knows no engine and no session. SET, SET LOCAL and RESET follow transactions and savepoints because
//! the session tells it of them; `ParameterStatus` follows from [`Settings::take_reports`].

use std::sync::Arc;

use crate::error::Error;

mod text;

pub use text::{ByteaOutput, DateOrder, DateStyle, IntervalStyle, TextContext, time_zone};

/// The settings of one session, shared inside its process between session, engine and SQL functions.
pub type Shared = Arc<parking_lot::Mutex<Settings>>;

/// Who changes a setting; decides which may be changed, and what RESET goes back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The server itself: also what is read-only to everyone else.
    Internal,
    /// The server's configuration.
    Config,
    /// The start-up packet, its `options` included.
    Startup,
    /// SET, RESET and set_config().
    Session,
}

/// The values that a session's parameters have now.
#[derive(Debug, Clone)]
pub struct Settings {}

impl Settings {
    /// Everything at PostgreSQL's defaults.
    pub fn new() -> Self {
        Self {}
    }

    /// Changes a parameter from outside SQL: server, configuration or start-up packet. Not undone by anything;
    /// RESET goes back to it.
    pub fn set_default(&mut self, name: &str, value: &str, source: Source) -> Result<(), Error> {
        let _ = (name, value, source);
        Ok(())
    }

    /// SET and SET LOCAL (`values` as the planner gives them: `None` for TO DEFAULT).
    pub fn set(&mut self, name: &str, values: Option<&[String]>, local: bool) -> Result<(), Error> {
        let _ = (name, values, local);
        Ok(())
    }

    /// RESET name.
    pub fn reset(&mut self, name: &str) -> Result<(), Error> {
        self.set(name, None, false)
    }

    /// RESET ALL.
    pub fn reset_all(&mut self) {}

    /// SHOW: the value as shown. 42704 for a name that does not exist.
    pub fn show(&self, name: &str) -> Result<String, Error> {
        let _ = name;
        Ok(String::new())
    }

    /// A transaction starts (implicit ones too). Changes made before, outside of any, are kept.
    pub fn begin(&mut self) {}
    /// It commits: what was SET stays, what was SET LOCAL goes.
    pub fn commit(&mut self) {}
    /// It rolls back: everything goes back to where it was at its start.
    pub fn rollback(&mut self) {}
    /// A savepoint starts: one level deeper.
    pub fn savepoint(&mut self) {}
    /// The innermost savepoint is released: its changes belong to the level above.
    pub fn release(&mut self) {}
    /// Back to the innermost savepoint, which stays.
    pub fn rollback_to(&mut self) {}

    /// Parameters that clients are told of whose value differs from what was last reported: name and value.
    /// The first call returns them all.
    pub fn take_reports(&mut self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// What text input and output depend on, `now_us` left open.
    pub fn text_context(&self) -> TextContext {
        TextContext::default()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::new()
    }
}
