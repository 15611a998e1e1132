//! What reaches a session from outside its connection, and what it shows of itself.
//!
//! Implemented by the worker over its slot; the session knows no shared memory.

/// Requests of others to this session. Looked at often: a relaxed load each.
pub trait Interrupts {
    /// Takes a cancel request that was meant for this session.
    fn take_cancel(&mut self) -> bool;
    /// Whether the session is to end. Stays true.
    fn terminate_requested(&mut self) -> bool;
    /// In the middle of a statement, the session waits for its client's socket, or no longer does.
    fn waits(&mut self, wait: Option<Wait>) {
        let _ = wait;
    }
}

/// What a statement may wait for at its client's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// COPY data.
    Read,
    /// Room for more.
    Write,
}

/// What a session is doing, in the words of `pg_stat_activity.state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// `active`
    Active,
    /// `idle`
    Idle,
    /// `idle in transaction`
    IdleInTransaction,
    /// `idle in transaction (aborted)`
    IdleInFailedTransaction,
}

/// Takes a session's changes of state.
pub trait Activity {
    /// The session's state changes; `query` is the text of the statement that starts, `None` to leave the
    /// last one shown.
    fn state(&mut self, state: State, query: Option<&str>);
    /// A setting that others see has changed: application_name.
    fn application_name(&mut self, name: &str) {
        let _ = name;
    }
}

/// No interrupts, and nobody looking: tests and benchmarks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Undisturbed;

impl Interrupts for Undisturbed {
    fn take_cancel(&mut self) -> bool {
        false
    }

    fn terminate_requested(&mut self) -> bool {
        false
    }
}

impl Activity for Undisturbed {
    fn state(&mut self, _state: State, _query: Option<&str>) {}
}
