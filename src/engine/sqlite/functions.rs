//! PostgreSQL's functions, aggregates and collations made known to a connection of SQLite.
//!
//! Owns the way of a rich error around SQLite, which carries text only: it waits in a cell of the thread until
//! whoever ran the statement takes it. What functions do is `sql::functions`' business.

use std::cell::{Cell, RefCell};
use std::collections::{HashSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use rusqlite::functions::{Aggregate as SqliteAggregate, Context, FunctionFlags, WindowAggregate};
use rusqlite::hooks::Action;
use rusqlite::types::{ToSqlOutput, Value as SqliteValue, ValueRef};
use rusqlite::{Connection, Result};
use smallvec::SmallVec;

use super::session::Session;
use crate::error::{Condition, Error};
use crate::sql::functions::aggregates::{Aggregate, State};
use crate::sql::functions::{MOVING, Registration, registration};
use crate::sql::types::{Datum, Value, array, inet, interval, json, numeric};
use crate::work;

thread_local! {
    /// The error of the function that stopped the statement under way.
    static ERROR: Cell<Option<Error>> = const { Cell::new(None) };
    /// The table that is watched, and its rows that the statement under way has inserted or updated.
    static WATCHED: RefCell<Option<(String, HashSet<i64>)>> = const { RefCell::new(None) };
}

/// Has a connection report the rows that it changes, for [`ChangedRows`].
pub fn report_changes(connection: &mut Connection) -> Result<()> {
    connection.update_hook(Some(|action: Action, _: &str, table: &str, row: i64| {
        WATCHED.with_borrow_mut(|watched| match watched {
            Some((name, rows)) if name == table && action != Action::SQLITE_DELETE => {
                rows.insert(row);
            }
            _ => {}
        });
    }))
}

/// Notes the rows that a statement inserts or updates in one table, for as long as it lives.
pub struct ChangedRows(());

impl ChangedRows {
    /// Begins to note them.
    pub fn note(table: &str) -> Self {
        WATCHED.set(Some((table.to_owned(), HashSet::new())));
        Self(())
    }
}

impl Drop for ChangedRows {
    fn drop(&mut self) {
        WATCHED.set(None);
    }
}

/// Whether the statement under way has inserted or updated that row of the watched table.
pub fn has_changed(row: i64) -> bool {
    WATCHED.with_borrow(|watched| watched.as_ref().is_some_and(|(_, rows)| rows.contains(&row)))
}

/// The error that a function of ours stopped the statement with, once.
pub fn take_error() -> Option<Error> {
    ERROR.take()
}

/// Which functions a connection knows already: registering one anew would make it forget its prepared statements.
#[derive(Debug, Default)]
pub struct Registry {
    known: RefCell<HashSet<&'static str>>,
}

impl Registry {
    /// Makes functions known to the connection, by their call names, unless they are.
    pub fn provide(
        &self,
        connection: &Connection,
        calls: &[&'static str],
        session: &Arc<Session>,
    ) -> Result<(), Error> {
        for call in calls {
            if !self.known.borrow().contains(call) {
                register(connection, call, session)?;
                self.known.borrow_mut().insert(call);
            }
        }
        Ok(())
    }

    /// Whether SQLite's message says that a function of ours is missing, and it is known now: stored expressions
    /// (CHECK, indexes, triggers) call functions that a plan does not name.
    pub fn provide_missing(&self, connection: &Connection, message: &str, session: &Arc<Session>) -> bool {
        let marker = ["no such function: ", "unknown function: "].into_iter().find_map(|marker| {
            let at = message.find(marker)?;
            message.get(at + marker.len()..)
        });
        let name = marker.and_then(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next());
        let Some(name) = name else { return false };
        if self.known.borrow().contains(name) {
            return false;
        }
        match register(connection, name, session) {
            // Names come from the planner, so there are few; keeping them costs nothing.
            Ok(()) => self.known.borrow_mut().insert(Box::leak(name.to_owned().into_boxed_str())),
            Err(_) => false,
        }
    }
}

/// Makes the collations known that stored types are ordered by, and the hash of partitions.
pub fn register_at_open(connection: &Connection) -> Result<()> {
    connection.create_collation("pg_numeric", numeric::compare)?;
    connection.create_collation("pg_interval", interval::compare)?;
    connection.create_collation("pg_inet", inet::compare)?;
    connection.create_collation("pg_jsonb", json::compare)?;
    for (name, _, compare) in array::COLLATIONS {
        connection.create_collation(*name, *compare)?;
    }
    super::define::register(connection)
}

fn register(connection: &Connection, call: &str, session: &Arc<Session>) -> Result<(), Error> {
    let session = Arc::clone(session);
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_INNOCUOUS;
    let moving = call.strip_prefix(MOVING).and_then(Aggregate::by_call);
    let done = if let Some(aggregate) = Aggregate::by_call(call) {
        connection.create_window_function(call, -1, flags, Gathering { aggregate, session })
    } else if let Some(aggregate) = moving {
        connection.create_window_function(call, -1, flags, Moving { aggregate, session })
    } else if let Some(found) = registration(call) {
        scalar(connection, call, found, session)
    } else {
        return Err(Error::internal(format!("function {call} has no implementation")));
    };
    done.map_err(|error| Error::internal(format!("function {call} could not be registered: {error}")))
}

fn scalar(connection: &Connection, call: &str, found: Registration, session: Arc<Session>) -> Result<()> {
    let mut flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_INNOCUOUS;
    if found.deterministic {
        flags |= FunctionFlags::SQLITE_DETERMINISTIC;
    }
    connection.create_scalar_function(call, -1, flags, move |context| {
        let arguments = data(context)?;
        if found.strict && arguments.contains(&Datum::Null) {
            return Ok(ToSqlOutput::Borrowed(ValueRef::Null));
        }
        reserve(&arguments).map_err(stop)?;
        (found.implementation)(session.as_ref(), &arguments).map(output).map_err(stop)
    })
}

/// Fails (53200) where large arguments leave no room for a result of some times their size: what functions make of
/// them without asking for it themselves.
fn reserve(arguments: &[Datum<'_>]) -> Result<(), Error> {
    const LARGE: usize = 1 << 20;
    let length = |datum: &Datum<'_>| match datum {
        Datum::Text(text) => text.len(),
        Datum::Bytes(bytes) => bytes.len(),
        _ => 0,
    };
    let length = arguments.iter().map(length).fold(0, usize::saturating_add);
    if length > LARGE { work::reserve(length.saturating_mul(2)) } else { Ok(()) }
}

/// An aggregate of ours over the rows of one group.
struct Gathering {
    aggregate: Aggregate,
    session: Arc<Session>,
}

impl SqliteAggregate<AssertUnwindSafe<State>, ToSqlOutput<'static>> for Gathering {
    fn init(&self, _: &mut Context<'_>) -> Result<AssertUnwindSafe<State>> {
        Ok(AssertUnwindSafe(State::default()))
    }

    fn step(&self, context: &mut Context<'_>, state: &mut AssertUnwindSafe<State>) -> Result<()> {
        let arguments = data(context)?;
        self.aggregate.step(self.session.as_ref(), &mut state.0, &arguments).map_err(stop)
    }

    fn finalize(&self, _: &mut Context<'_>, state: Option<AssertUnwindSafe<State>>) -> Result<ToSqlOutput<'static>> {
        let state = state.map_or_else(State::default, |state| state.0);
        self.aggregate.finish(state).map(output).map_err(stop)
    }
}

/// Over a window whose frame only grows. A row that leaves the frame cannot be taken out of what was gathered.
impl WindowAggregate<AssertUnwindSafe<State>, ToSqlOutput<'static>> for Gathering {
    fn value(&self, state: Option<&mut AssertUnwindSafe<State>>) -> Result<ToSqlOutput<'static>> {
        let state = state.map_or_else(State::default, |state| state.0.clone());
        self.aggregate.finish(state).map(output).map_err(stop)
    }

    fn inverse(&self, _: &mut Context<'_>, _: &mut AssertUnwindSafe<State>) -> Result<()> {
        Err(stop(Error::unsupported("a frame whose start moves, with this aggregate")))
    }
}

/// An aggregate of ours over a window whose frame's start moves: the rows of the frame are kept, and gathered anew for
/// each result.
struct Moving {
    aggregate: Aggregate,
    session: Arc<Session>,
}

type Frame = AssertUnwindSafe<VecDeque<SmallVec<[Value; 2]>>>;

impl Moving {
    fn gathered(&self, frame: &Frame) -> Result<ToSqlOutput<'static>> {
        let mut state = State::default();
        for row in &frame.0 {
            let row: SmallVec<[Datum<'_>; 4]> = row.iter().map(Value::as_datum).collect();
            self.aggregate.step(self.session.as_ref(), &mut state, &row).map_err(stop)?;
        }
        self.aggregate.finish(state).map(output).map_err(stop)
    }
}

impl SqliteAggregate<Frame, ToSqlOutput<'static>> for Moving {
    fn init(&self, _: &mut Context<'_>) -> Result<Frame> {
        Ok(AssertUnwindSafe(VecDeque::new()))
    }

    fn step(&self, context: &mut Context<'_>, frame: &mut Frame) -> Result<()> {
        let row = data(context)?.into_iter().map(|datum| datum.to_value()).collect();
        frame.0.push_back(row);
        Ok(())
    }

    fn finalize(&self, _: &mut Context<'_>, frame: Option<Frame>) -> Result<ToSqlOutput<'static>> {
        self.gathered(&frame.unwrap_or_else(|| AssertUnwindSafe(VecDeque::new())))
    }
}

impl WindowAggregate<Frame, ToSqlOutput<'static>> for Moving {
    fn value(&self, frame: Option<&mut Frame>) -> Result<ToSqlOutput<'static>> {
        match frame {
            Some(frame) => self.gathered(frame),
            None => self.gathered(&AssertUnwindSafe(VecDeque::new())),
        }
    }

    /// Rows leave a frame in the order in which they came.
    fn inverse(&self, _: &mut Context<'_>, frame: &mut Frame) -> Result<()> {
        frame.0.pop_front();
        Ok(())
    }
}

fn data<'a>(context: &'a Context<'_>) -> Result<SmallVec<[Datum<'a>; 4]>> {
    (0..context.len())
        .map(|index| {
            Ok(match context.get_raw(index) {
                ValueRef::Null => Datum::Null,
                ValueRef::Integer(value) => Datum::Int(value),
                ValueRef::Real(value) => Datum::Float(value),
                ValueRef::Text(bytes) => Datum::Text(
                    std::str::from_utf8(bytes)
                        .map_err(|_| stop(Error::new(Condition::DataCorrupted, "a stored text is not valid UTF-8")))?,
                ),
                ValueRef::Blob(bytes) => Datum::Bytes(bytes),
            })
        })
        .collect()
}

fn output(value: Value) -> ToSqlOutput<'static> {
    ToSqlOutput::Owned(match value {
        Value::Null => SqliteValue::Null,
        Value::Int(value) => SqliteValue::Integer(value),
        Value::Float(value) => SqliteValue::Real(value),
        Value::Text(value) => SqliteValue::Text(value),
        Value::Bytes(value) => SqliteValue::Blob(value),
    })
}

/// Leaves the error where [`take_error`] finds it, and stops the statement.
pub(super) fn stop(error: Error) -> rusqlite::Error {
    let message = error.fields().message.clone();
    ERROR.set(Some(error));
    rusqlite::Error::UserFunctionError(message.into())
}
