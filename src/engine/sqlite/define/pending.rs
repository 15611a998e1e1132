//! Checks of foreign keys that wait for the end of the statement, or of the transaction where they are deferred.
//!
//! A trigger that finds a key missing, or one still referred to, does not stop the statement: later rows may put it
//! right. It leaves the key here, and at the end the key is looked at again. What is left of a savepoint that was
//! rolled back does no harm, since the rows decide. A process serves one session, so this belongs to the thread.

use std::cell::RefCell;
use std::collections::HashMap;

use rusqlite::functions::FunctionFlags;
use rusqlite::types::Value as SqliteValue;
use rusqlite::{Connection, OptionalExtension, params_from_iter};
use serde::{Deserialize, Serialize};

use super::violation::{PREFIX, Raised};
use crate::error::{Condition, Error};

/// The function that triggers call: the check's JSON, the key as SQLite's quote() writes it, the key's values.
pub(super) const CALL: &str = "pgp_check_later";

/// Keys of one check that are remembered; beyond them all rows are looked at.
const KEYS_MAX: usize = 10_000;

/// The same limit in bytes of what they are written as.
const BYTES_MAX: usize = 4 << 20;

/// What a trigger hands over, the same for every row.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Check {
    /// Whether SET CONSTRAINTS may move it.
    pub(super) deferrable: bool,
    /// Whether it waits for the end of the transaction.
    pub(super) deferred: bool,
    /// Yields a row if the key (`?1`, `?2`, …) is referred to and not there.
    pub(super) of_key: String,
    /// Yields one key, quoted, that is referred to and not there.
    pub(super) of_all: String,
    /// The violation.
    pub(super) raised: Raised,
}

struct Waiting {
    check: Check,
    keys: Vec<(String, Vec<SqliteValue>)>,
    bytes: usize,
    all: bool,
}

#[derive(Default)]
struct Pending {
    /// In the order of the first key of each, by the check's JSON.
    waiting: Vec<(String, Waiting)>,
    /// SET CONSTRAINTS ALL.
    all_deferred: Option<bool>,
    /// SET CONSTRAINTS by name, later than ALL.
    deferred: HashMap<String, bool>,
}

thread_local! {
    static PENDING: RefCell<Pending> = RefCell::default();
}

/// Makes the triggers' function known.
pub(super) fn register(connection: &Connection) -> rusqlite::Result<()> {
    connection.create_scalar_function(CALL, -1, FunctionFlags::SQLITE_UTF8, |context| {
        let (json, quoted): (String, String) = (context.get(0)?, context.get(1)?);
        let key = (2..context.len()).map(|at| context.get(at)).collect::<rusqlite::Result<Vec<SqliteValue>>>()?;
        PENDING.with_borrow_mut(|pending| pending.add(json, quoted, key)).map(|()| 0)
    })
}

/// Whether something waits.
pub fn is_waiting() -> bool {
    PENDING.with_borrow(|pending| !pending.waiting.is_empty())
}

/// The end of a statement: checks what is not deferred; with `all`, the end of a transaction, everything.
pub fn check(connection: &Connection, all: bool) -> Result<(), Error> {
    let due = PENDING.with_borrow_mut(|pending| pending.take_due(all));
    for waiting in due {
        check_one(connection, &waiting)?;
    }
    Ok(())
}

/// The transaction is over: nothing waits, and SET CONSTRAINTS holds no longer.
pub fn forget() {
    PENDING.take();
}

/// All that was written is undone: nothing waits.
pub fn forget_rows() {
    PENDING.with_borrow_mut(|pending| pending.waiting.clear());
}

/// SET CONSTRAINTS; no names: ALL. What becomes immediate is for [`check`] to be called for.
pub fn set_deferred(names: &[String], deferred: bool) {
    PENDING.with_borrow_mut(|pending| {
        if names.is_empty() {
            pending.all_deferred = Some(deferred);
            pending.deferred.clear();
        }
        pending.deferred.extend(names.iter().map(|name| (name.clone(), deferred)));
    });
}

/// 55006 for a definition that would change a table whose rows still have to be checked, or that they are checked
/// against: PostgreSQL refuses the former.
pub fn refuse_change(tag: &str, table: &str) -> Result<(), Error> {
    let waits = PENDING.with_borrow(|pending| {
        let of = |waiting: &Waiting| match &waiting.check.raised {
            Raised::MissingKey(key) | Raised::StillReferenced(key) => key.child == table || key.parent == table,
            Raised::NoPartition { .. } => false,
        };
        pending.waiting.iter().any(|(_, waiting)| of(waiting))
    });
    if !waits {
        return Ok(());
    }
    let message = format!("cannot {tag} \"{table}\" because it has pending trigger events");
    Err(Error::new(Condition::ObjectInUse, message))
}

impl Pending {
    fn add(&mut self, json: String, quoted: String, key: Vec<SqliteValue>) -> rusqlite::Result<()> {
        let known = self.waiting.iter().position(|(known, _)| *known == json);
        let at = match known {
            Some(at) => at,
            None => {
                let check =
                    serde_json::from_str(&json).map_err(|error| rusqlite::Error::UserFunctionError(Box::new(error)))?;
                self.waiting.push((json, Waiting { check, keys: Vec::new(), bytes: 0, all: false }));
                self.waiting.len() - 1
            }
        };
        let Some((_, waiting)) = self.waiting.get_mut(at) else { return Ok(()) };
        waiting.bytes = waiting.bytes.saturating_add(quoted.len());
        if waiting.keys.len() < KEYS_MAX && waiting.bytes <= BYTES_MAX {
            waiting.keys.push((quoted, key));
        } else {
            waiting.all = true;
        }
        Ok(())
    }

    fn take_due(&mut self, all: bool) -> Vec<Waiting> {
        let (mut due, mut rest) = (Vec::new(), Vec::new());
        for (json, waiting) in std::mem::take(&mut self.waiting) {
            if all || !self.waits(&waiting.check) {
                due.push(waiting);
            } else {
                rest.push((json, waiting));
            }
        }
        self.waiting = rest;
        due
    }

    fn waits(&self, check: &Check) -> bool {
        let name = match &check.raised {
            Raised::MissingKey(key) | Raised::StillReferenced(key) => &key.constraint,
            Raised::NoPartition { .. } => return false,
        };
        let set = self.deferred.get(name).copied().or(self.all_deferred);
        check.deferrable && set.unwrap_or(check.deferred)
    }
}

fn check_one(connection: &Connection, waiting: &Waiting) -> Result<(), Error> {
    let failure = super::super::catalog::failure;
    let mut found = None;
    let mut statement = connection.prepare_cached(&waiting.check.of_key).map_err(failure)?;
    for (quoted, key) in &waiting.keys {
        if statement.exists(params_from_iter(key)).map_err(failure)? {
            found = Some(quoted.clone());
            break;
        }
    }
    if found.is_none() && waiting.all {
        found = connection.query_row(&waiting.check.of_all, (), |row| row.get(0)).optional().map_err(failure)?;
    }
    let Some(quoted) = found else { return Ok(()) };
    let json = serde_json::to_string(&waiting.check.raised).unwrap_or_default();
    let text = format!("{PREFIX}{json}\n{quoted}");
    Err(super::violated(&[], &text).unwrap_or_else(|| Error::internal("foreign key")))
}
