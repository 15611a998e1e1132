//! Foreign keys after the rows: what triggers found is checked, and acted upon, when the statement is over.
//!
//! As in PostgreSQL, each change of a key is an event in a queue. At the statement's end the events are dealt with in
//! order: a check looks at the rows as they are then, since later rows may have put it right; an action changes the
//! referencing rows, and the events that come of this are dealt with before the next. Checks that are deferred wait for
//! the end of the transaction. What is left of a savepoint that was rolled back does no harm, since the rows decide.
//! A process serves one session, so this belongs to the thread.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::Value as SqliteValue;
use rusqlite::{Connection, OptionalExtension, params_from_iter};
use serde::{Deserialize, Serialize};

use super::violation::{PREFIX, Raised};
use crate::error::{Condition, Error};

/// The function that triggers call: what to do as JSON, then the key's values, and of an update the new ones.
pub(super) const CALL: &str = "pgp_key_event";

/// What triggers called that were made by earlier versions: the key as SQLite's quote() writes it stands between.
const CALL_BEFORE: &str = "pgp_check_later";

/// Keys of one check that are remembered; beyond them all rows are looked at.
const KEYS_MAX: usize = 10_000;

/// Actions that wait at once. Each is a row that was deleted or got another key.
const ACTIONS_MAX: usize = 10_000_000;

/// What a trigger hands over, the same for every row.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Trigger {
    /// Whether SET CONSTRAINTS may move it.
    pub(super) deferrable: bool,
    /// Whether it waits for the end of the transaction.
    pub(super) deferred: bool,
    /// The check: yields a row if the key (`?1`, `?2`, …) is violated.
    pub(super) of_key: Option<String>,
    /// The same for all keys: yields one of them, quoted.
    #[serde(default)]
    pub(super) of_all: Option<String>,
    /// Comes first: what becomes of the rows that refer to the key.
    #[serde(default)]
    pub(super) action: Option<Action>,
    /// The violation.
    pub(super) raised: Raised,
}

/// What becomes of referencing rows.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Action {
    /// The old key's values are `?1`, …; the new one's follow.
    pub(super) sql: String,
    /// The referencing table.
    pub(super) table: u32,
}

/// What dealing with events asks of its surroundings.
pub trait Surroundings {
    /// Whether SQLite's message says that a function is missing which the connection has been given now.
    fn provide_missing(&self, message: &str) -> bool;
    /// An action's failure, of a change of that relation.
    fn describe(&self, error: &rusqlite::Error, relation: u32) -> Error;
    /// The reason to stop.
    fn interrupted(&self) -> Option<Error>;
}

#[derive(Clone)]
struct Event {
    trigger: Rc<Trigger>,
    key: Vec<SqliteValue>,
    /// Every key is looked at: there were too many.
    all: bool,
    /// The action is done, the check remains.
    acted: bool,
}

#[derive(Default)]
struct Pending {
    /// By their JSON.
    triggers: HashMap<String, Rc<Trigger>>,
    /// Of the statement under way.
    queue: VecDeque<Event>,
    /// Checks in the queue, by trigger.
    queued: HashMap<*const Trigger, usize>,
    /// Until the end of the transaction.
    deferred: Vec<Event>,
    deferred_counts: HashMap<*const Trigger, usize>,
    /// SET CONSTRAINTS ALL.
    all_deferred: Option<bool>,
    /// SET CONSTRAINTS by name, later than ALL.
    set: HashMap<String, bool>,
}

thread_local! {
    static PENDING: RefCell<Pending> = RefCell::default();
}

/// Makes the triggers' functions known.
pub(super) fn register(connection: &Connection) -> rusqlite::Result<()> {
    let take = |context: &Context<'_>, first: usize| {
        let json: String = context.get(0)?;
        let key = (first..context.len()).map(|at| context.get(at)).collect::<rusqlite::Result<Vec<SqliteValue>>>()?;
        PENDING.with_borrow_mut(|pending| pending.add(json, key)).map(|()| 0)
    };
    connection.create_scalar_function(CALL, -1, FunctionFlags::SQLITE_UTF8, move |context| take(context, 1))?;
    connection.create_scalar_function(CALL_BEFORE, -1, FunctionFlags::SQLITE_UTF8, move |context| take(context, 2))
}

/// Whether something waits.
pub fn is_waiting() -> bool {
    PENDING.with_borrow(|pending| !pending.queue.is_empty() || !pending.deferred.is_empty())
}

/// The end of a statement: deals with what is not deferred; with `all`, the end of a transaction, with everything.
pub fn settle(connection: &Connection, surroundings: &dyn Surroundings, all: bool) -> Result<(), Error> {
    let mut levels = vec![PENDING.with_borrow_mut(|pending| pending.take_queue())];
    levels.push(PENDING.with_borrow_mut(|pending| pending.take_due(all)));
    // What was deferred comes after what the statement did.
    levels.reverse();
    while let Some(level) = levels.last_mut() {
        let Some(event) = level.pop_front() else {
            levels.pop();
            continue;
        };
        if let Some(error) = surroundings.interrupted() {
            return Err(error);
        }
        if !all && PENDING.with_borrow(|pending| pending.waits(&event.trigger)) {
            PENDING.with_borrow_mut(|pending| pending.defer(event));
            continue;
        }
        match &event.trigger.action {
            Some(action) if !event.acted => {
                act(connection, surroundings, action, &event.key)?;
                if event.trigger.of_key.is_some() {
                    level.push_front(Event { acted: true, ..event });
                }
                let came = PENDING.with_borrow_mut(|pending| pending.take_queue());
                levels.push(came);
            }
            _ => check(connection, &event)?,
        }
    }
    Ok(())
}

fn act(
    connection: &Connection,
    surroundings: &dyn Surroundings,
    action: &Action,
    key: &[SqliteValue],
) -> Result<(), Error> {
    loop {
        let done = connection.prepare_cached(&action.sql).and_then(|mut statement| {
            let wanted = statement.parameter_count();
            statement.execute(params_from_iter(key.iter().take(wanted)))
        });
        match done {
            Err(error) if surroundings.provide_missing(&error.to_string()) => {}
            Err(error) => return Err(surroundings.describe(&error, action.table)),
            Ok(_) => return Ok(()),
        }
    }
}

fn check(connection: &Connection, event: &Event) -> Result<(), Error> {
    let failure = super::super::catalog::failure;
    let Some(of_key) = &event.trigger.of_key else { return Ok(()) };
    let found = match (&event.trigger.of_all, event.all) {
        (Some(of_all), true) => connection.query_row(of_all, (), |row| row.get(0)).optional().map_err(failure)?,
        _ => {
            let mut statement = connection.prepare_cached(of_key).map_err(failure)?;
            let key = event.key.iter().take(statement.parameter_count());
            let violated = statement.exists(params_from_iter(key)).map_err(failure)?;
            let columns = event.trigger.raised.columns();
            violated.then(|| event.key.iter().take(columns).map(quoted).collect::<Vec<_>>().join(","))
        }
    };
    let Some(quoted) = found else { return Ok(()) };
    let json = serde_json::to_string(&event.trigger.raised).unwrap_or_default();
    let text = format!("{PREFIX}{json}\n{quoted}");
    Err(super::violated(&[], &text).unwrap_or_else(|| Error::internal("foreign key")))
}

/// As SQLite's quote() writes it.
fn quoted(value: &SqliteValue) -> String {
    use crate::sql::types::Value;
    crate::sql::define::partition::literal(&match value {
        SqliteValue::Null => Value::Null,
        SqliteValue::Integer(value) => Value::Int(*value),
        SqliteValue::Real(value) => Value::Float(*value),
        SqliteValue::Text(value) => Value::Text(value.clone()),
        SqliteValue::Blob(value) => Value::Bytes(value.clone()),
    })
}

/// The transaction is over: nothing waits, and SET CONSTRAINTS holds no longer.
pub fn forget() {
    PENDING.take();
}

/// All that was written is undone: nothing waits.
pub fn forget_rows() {
    PENDING.with_borrow_mut(|pending| {
        pending.take_queue();
        pending.deferred.clear();
        pending.deferred_counts.clear();
    });
}

/// The statement failed: what it did is undone.
pub fn forget_statement() {
    PENDING.with_borrow_mut(|pending| drop(pending.take_queue()));
}

/// SET CONSTRAINTS; no names: ALL. What becomes immediate is for [`settle`] to be called for.
pub fn set_deferred(names: &[String], deferred: bool) {
    PENDING.with_borrow_mut(|pending| {
        if names.is_empty() {
            pending.all_deferred = Some(deferred);
            pending.set.clear();
        }
        pending.set.extend(names.iter().map(|name| (name.clone(), deferred)));
    });
}

/// 55006 for a definition that would change a table whose rows still have to be checked, or that they are checked
/// against: PostgreSQL refuses the former.
pub fn refuse_change(tag: &str, table: &str) -> Result<(), Error> {
    let waits = PENDING.with_borrow(|pending| {
        let of = |event: &Event| match &event.trigger.raised {
            Raised::MissingKey(key) | Raised::StillReferenced(key) | Raised::MixedNulls(key) => {
                key.child == table || key.parent == table
            }
            Raised::NoPartition { .. } => false,
        };
        pending.deferred.iter().any(of)
    });
    if !waits {
        return Ok(());
    }
    let message = format!("cannot {tag} \"{table}\" because it has pending trigger events");
    Err(Error::new(Condition::ObjectInUse, message))
}

impl Pending {
    fn add(&mut self, json: String, key: Vec<SqliteValue>) -> rusqlite::Result<()> {
        let trigger = match self.triggers.get(&json) {
            Some(known) => Rc::clone(known),
            None => {
                let parsed: Trigger =
                    serde_json::from_str(&json).map_err(|error| rusqlite::Error::UserFunctionError(Box::new(error)))?;
                let parsed = Rc::new(parsed);
                self.triggers.insert(json, Rc::clone(&parsed));
                parsed
            }
        };
        if trigger.action.is_some() && self.queue.len() >= ACTIONS_MAX {
            let error = Error::new(Condition::OutOfMemory, "too many pending trigger events");
            return Err(rusqlite::Error::UserFunctionError(Box::new(error)));
        }
        let event = Event { trigger, key, all: false, acted: false };
        if let Some(event) = counted(&mut self.queued, event) {
            self.queue.push_back(event);
        }
        Ok(())
    }

    fn take_queue(&mut self) -> VecDeque<Event> {
        self.queued.clear();
        std::mem::take(&mut self.queue)
    }

    fn defer(&mut self, event: Event) {
        if let Some(event) = counted(&mut self.deferred_counts, event) {
            self.deferred.push(event);
        }
    }

    fn take_due(&mut self, all: bool) -> VecDeque<Event> {
        let (due, rest): (Vec<Event>, Vec<Event>) =
            std::mem::take(&mut self.deferred).into_iter().partition(|event| all || !self.waits(&event.trigger));
        self.deferred_counts.clear();
        rest.into_iter().for_each(|event| self.defer(event));
        due.into()
    }

    fn waits(&self, trigger: &Trigger) -> bool {
        let name = match &trigger.raised {
            Raised::MissingKey(key) | Raised::StillReferenced(key) | Raised::MixedNulls(key) => &key.constraint,
            Raised::NoPartition { .. } => return false,
        };
        let set = self.set.get(name).copied().or(self.all_deferred);
        trigger.deferrable && set.unwrap_or(trigger.deferred)
    }
}

/// The event as it is to be kept: of too many checks one looks at all rows, and the others need not be.
fn counted(counts: &mut HashMap<*const Trigger, usize>, event: Event) -> Option<Event> {
    if event.trigger.action.is_some() || event.trigger.of_all.is_none() {
        return Some(event);
    }
    let count = counts.entry(Rc::as_ptr(&event.trigger)).or_default();
    *count += 1;
    match *count {
        ..=KEYS_MAX => Some(event),
        count if count == KEYS_MAX + 1 => Some(Event { all: true, ..event }),
        _ => None,
    }
}
