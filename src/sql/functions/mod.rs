//! PostgreSQL's functions, operators and casts: signatures for the binder, implementations for the engine.
//!
//! One table names each with its argument types, its result and how it is written in SQLite SQL. Those that
//! SQLite has no equal for are implemented here, over [`Datum`], and registered by the engine under the name
//! in [`Emit::Call`]. Pure but for what a [`Host`] answers.

use super::types::{Datum, Type, Value};
use crate::error::Error;

/// How a call is written in SQLite SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emit {
    /// `name(arguments)`: a function of ours that the engine registers under that name.
    Call(&'static str),
    /// `name(arguments)`: a function of SQLite's that does just what PostgreSQL's does.
    Native(&'static str),
    /// `(left op right)`.
    Infix(&'static str),
    /// `(left op right)` with a collation of ours on the left (numeric's order).
    Collated(&'static str, &'static str),
    /// `(op argument)`.
    Prefix(&'static str),
    /// `(argument op)`: IS NULL.
    Postfix(&'static str),
    /// The argument itself: casts between types stored alike.
    Nothing,
}

/// What functions may ask of the session and the server. Implemented by the engine.
pub trait Host {
    /// The session's user: current_user.
    fn current_user(&self) -> String;
    /// session_user.
    fn session_user(&self) -> String;
    /// current_database().
    fn current_database(&self) -> String;
    /// current_schemas(include_implicit).
    fn current_schemas(&self, include_implicit: bool) -> Vec<String>;
    /// pg_backend_pid().
    fn backend_pid(&self) -> i32;
    /// Start of the transaction, microseconds since 2000-01-01 UTC.
    fn transaction_timestamp(&self) -> i64;
    /// Start of the statement, likewise.
    fn statement_timestamp(&self) -> i64;
    /// The time now, likewise.
    fn clock_timestamp(&self) -> i64;
    /// current_setting(name, missing_ok).
    fn setting(&self, name: &str, missing_ok: bool) -> Result<Option<String>, Error>;
    /// set_config(name, value, is_local).
    fn set_setting(&self, name: &str, value: &str, local: bool) -> Result<String, Error>;
    /// pg_sleep: returns early with 57014 on a cancel.
    fn sleep(&self, seconds: f64) -> Result<(), Error>;
    /// pg_cancel_backend (false) and pg_terminate_backend (true).
    fn signal_backend(&self, pid: i32, terminate: bool) -> Result<bool, Error>;
    /// Functions that look things up in the catalog (regclass input and output, format_type of tables,
    /// pg_get_indexdef, pg_table_is_visible …), by their SQL name.
    fn catalog_function(&self, name: &str, arguments: &[Datum<'_>]) -> Result<Value, Error>;
}

/// The implementation of a function: strict ones are never called with a NULL.
pub type Implementation = fn(&dyn Host, &[Datum<'_>]) -> Result<Value, Error>;

/// Types a function's signature can name; re-exported for tables of functions.
pub type Signature = (&'static [Type], Type);
