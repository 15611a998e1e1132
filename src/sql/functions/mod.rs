//! PostgreSQL's functions, operators and casts: signatures for the binder, implementations for the engine.
//!
//! One table names each with its argument types, its result and how it is written in SQLite SQL. Those that
//! SQLite has no equal for are implemented here, over [`Datum`], and registered by the engine under the name
//! in [`Emit::Call`]. Pure but for what a [`Host`] answers.

use super::types::{CastKind, Datum, TextContext, Type, Value};
use crate::error::Error;

/// Before the name of an aggregate of ours: the one for windows whose frame's start moves.
pub const MOVING: &str = "pg_moving_";

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
    /// What text input and output depend on; with `now_us` set.
    fn text_context(&self) -> TextContext;
    /// pg_sleep: returns early with 57014 on a cancel.
    fn sleep(&self, seconds: f64) -> Result<(), Error>;
    /// The reason to stop a long computation now, as an error: asked between its steps.
    fn check_interrupts(&self) -> Result<(), Error> {
        Ok(())
    }
    /// pg_cancel_backend (false) and pg_terminate_backend (true).
    fn signal_backend(&self, pid: i32, terminate: bool) -> Result<bool, Error>;
    /// Whether the statement under way has inserted or updated the row of that number already; asked for by INSERT …
    /// ON CONFLICT DO UPDATE.
    fn has_changed(&self, _row: i64) -> bool {
        false
    }
    /// Functions that look things up in the catalog (regclass input and output, format_type of tables,
    /// pg_get_indexdef, pg_table_is_visible …), by their SQL name.
    ///
    /// Answers for `regclassin(text)`, `regclassout(oid)` and their like for regtype, regproc, regnamespace and
    /// regrole as well.
    fn catalog_function(&self, name: &str, arguments: &[Datum<'_>]) -> Result<Value, Error>;
}

/// The implementation of a function: strict ones are never called with a NULL.
pub type Implementation = fn(&dyn Host, &[Datum<'_>]) -> Result<Value, Error>;

/// How often a function's result may differ for the same arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Volatility {
    /// Never: it can be computed at planning time and may stand in an index.
    Immutable,
    /// Within one statement it doesn't.
    Stable,
    /// With every call.
    Volatile,
}

/// What a function is called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FunctionKind {
    /// One value from its arguments.
    Scalar,
    /// One value from many rows.
    Aggregate,
}

/// A function, one overload.
#[derive(Debug, Clone, Copy)]
pub struct Function {
    /// SQL name, lower case.
    pub name: &'static str,
    /// Types of the arguments.
    pub arguments: &'static [Type],
    /// Type of each further argument, any number of them (at least none).
    pub variadic: Option<Type>,
    /// Result. `AnyElement` and `AnyArray` take the type of the argument declared so (or made from it).
    pub result: Type,
    /// Scalar or aggregate.
    pub kind: FunctionKind,
    /// NULL with any NULL argument, without being called.
    pub strict: bool,
    /// See there.
    pub volatility: Volatility,
    /// How it is written.
    pub emit: Emit,
    /// The emitted call ends with one integer literal for each argument given: the OID of its type.
    pub typed: bool,
    /// What runs when `emit` is a `Call` of a scalar.
    pub implementation: Option<Implementation>,
}

/// An operator, one overload.
#[derive(Debug, Clone, Copy)]
pub struct Operator {
    /// The operator's symbol.
    pub name: &'static str,
    /// Left operand's type; `None` for a prefix operator.
    pub left: Option<Type>,
    /// Right operand's type.
    pub right: Type,
    /// Result.
    pub result: Type,
    /// How it is written. All operators are strict.
    pub emit: Emit,
    /// The emitted call ends with two integer literals: the OIDs of both operands' types.
    pub typed: bool,
    /// Stable operators depend on the session's time zone.
    pub volatility: Volatility,
    /// What runs when `emit` is a `Call`: the same convention as for functions.
    pub implementation: Option<Implementation>,
}

impl Function {
    /// A strict, immutable scalar function of ours.
    const fn call(
        name: &'static str,
        arguments: &'static [Type],
        result: Type,
        call: &'static str,
        implementation: Implementation,
    ) -> Self {
        Self {
            name,
            arguments,
            variadic: None,
            result,
            kind: FunctionKind::Scalar,
            strict: true,
            volatility: Volatility::Immutable,
            emit: Emit::Call(call),
            typed: false,
            implementation: Some(implementation),
        }
    }

    /// An aggregate; what runs is found by the name in `emit`.
    const fn aggregate(name: &'static str, arguments: &'static [Type], result: Type, emit: Emit) -> Self {
        let mut function = Self::call(name, arguments, result, "", nothing);
        function.kind = FunctionKind::Aggregate;
        function.strict = false;
        function.emit = emit;
        function.implementation = None;
        function
    }

    const fn stable(mut self) -> Self {
        self.volatility = Volatility::Stable;
        self
    }

    const fn volatile(mut self) -> Self {
        self.volatility = Volatility::Volatile;
        self
    }

    const fn lenient(mut self) -> Self {
        self.strict = false;
        self
    }

    const fn variadic(mut self, type_: Type) -> Self {
        self.variadic = Some(type_);
        self
    }

    const fn typed(mut self) -> Self {
        self.typed = true;
        self
    }
}

fn nothing(_: &dyn Host, _: &[Datum<'_>]) -> Result<Value, Error> {
    Ok(Value::Null)
}

pub mod aggregates;
mod arguments;
mod arithmetic;
pub mod casts;
mod dates;
mod formatting;
mod frame;
pub mod guards;
pub mod known;
mod math;
pub mod operators;
mod pattern;
pub mod regexp;
mod session;
mod text;

const TABLES: &[&[Function]] = &[
    text::TABLE,
    regexp::TABLE,
    math::TABLE,
    dates::TABLE,
    dates::make::TABLE,
    formatting::TABLE,
    session::TABLE,
    aggregates::TABLES[0],
    aggregates::TABLES[1],
    aggregates::TABLES[2],
];

/// What runs for a call name: the implementation, whether it is strict, and whether it is deterministic.
#[derive(Debug, Clone, Copy)]
pub struct Registration {
    /// Runs.
    pub implementation: Implementation,
    /// Not called with NULLs: the result is NULL.
    pub strict: bool,
    /// May stand in an index.
    pub deterministic: bool,
}

/// The scalar implementation behind a call name that the planner emitted.
pub fn registration(call: &str) -> Option<Registration> {
    let calls = |emit: Emit| matches!(emit, Emit::Call(name) if name == call);
    let scalar = all().find(|function| calls(function.emit) && function.kind == FunctionKind::Scalar);
    if let Some(function) = scalar {
        return Some(Registration {
            implementation: function.implementation?,
            strict: function.strict,
            deterministic: function.volatility == Volatility::Immutable,
        });
    }
    if let Some(operator) = operators::all().find(|operator| calls(operator.emit)) {
        return Some(Registration {
            implementation: operator.implementation?,
            strict: true,
            deterministic: operator.volatility == Volatility::Immutable,
        });
    }
    casts::registration(call).or_else(|| guards::registration(call))
}

/// Whether a call may give another result each time it runs.
pub fn is_volatile(emit: Emit) -> bool {
    static VOLATILE: std::sync::LazyLock<Vec<Emit>> = std::sync::LazyLock::new(|| {
        all().filter(|function| function.volatility == Volatility::Volatile).map(|function| function.emit).collect()
    });
    VOLATILE.contains(&emit)
}

/// All overloads of a name, or none. The name must be in lower case and without its schema.
pub fn by_name(name: &str) -> &'static [Function] {
    TABLES
        .iter()
        .map(|table| overloads(table, |function| function.name == name))
        .find(|found| !found.is_empty())
        .unwrap_or(&[])
}

/// Every function, for `pg_proc`.
pub fn all() -> impl Iterator<Item = &'static Function> {
    TABLES.iter().flat_map(|table| table.iter())
}

/// The run of entries that match: overloads of a name stand together.
fn overloads<T>(table: &'static [T], matches: impl Fn(&T) -> bool) -> &'static [T] {
    let Some(first) = table.iter().position(&matches) else { return &[] };
    let rest = &table[first..];
    &rest[..rest.iter().position(|entry| !matches(entry)).unwrap_or(rest.len())]
}

/// Whether a value of one type can become one of another in the given place, as PostgreSQL's `can_coerce_type`
/// says: same type, `unknown` to anything, a cast of `pg_cast`, to text by output where explicit (or assigned)
/// and from text by input where explicit.
pub fn can_coerce(from: Type, to: Type, kind: CastKind) -> bool {
    casts::find(from, to).is_some_and(|cast| cast.context <= kind)
}

#[cfg(test)]
mod tests;
