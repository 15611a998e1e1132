//! nextval(), currval(), lastval() and setval() over the catalog's table of sequences.
//!
//! A value is drawn inside the statement's own write transaction, yet it is not given back when that rolls back: what
//! was drawn is noted, and stored anew before the writer lock goes to anybody else (`store` asks for it). A process
//! serves one session, so the notes belong to the thread.

use std::cell::RefCell;

use rusqlite::{Connection, OptionalExtension, params};

use super::catalog::{StoredCatalog, failure};
use super::rights::{Object, denied_relation};
use super::session::Session;
use crate::error::{Condition, Error};
use crate::sql::acl::Privileges;
use crate::sql::catalog::{Catalog, Relation, RelationKind};
use crate::sql::types::{Datum, Type, Value};

/// Where a sequence stands, whatever becomes of the transaction.
#[derive(Clone, Copy)]
struct Drawn {
    temporary: bool,
    oid: u32,
    value: i64,
    called: bool,
    /// A definition changed the sequence afterwards: what is drawn from then on goes back with that.
    frozen: bool,
}

thread_local! {
    static DRAWN: RefCell<Vec<Drawn>> = const { RefCell::new(Vec::new()) };
}

fn note_drawn(sequence: &Relation, value: i64, called: bool) {
    let drawn = Drawn { temporary: sequence.temporary, oid: sequence.oid, value, called, frozen: false };
    DRAWN.with_borrow_mut(|all| match all.iter_mut().find(|known| known.oid == drawn.oid) {
        Some(known) if known.frozen => {}
        Some(known) => *known = drawn,
        None => all.push(drawn),
    });
}

/// ALTER SEQUENCE and TRUNCATE … RESTART IDENTITY roll back, and with them what is drawn after.
pub(super) fn changed_by_definition(catalog: &StoredCatalog<'_>, sequence: &Relation) -> Result<(), Error> {
    let known = DRAWN.with_borrow(|all| all.iter().any(|known| known.oid == sequence.oid));
    if !known {
        let row = read(catalog, sequence)?;
        note_drawn(sequence, row.last_value, row.is_called);
    }
    DRAWN.with_borrow_mut(|all| {
        all.iter_mut().filter(|known| known.oid == sequence.oid).for_each(|known| known.frozen = true);
    });
    Ok(())
}

/// Whether the transaction has drawn values that a rollback would give back.
pub(super) fn has_drawn() -> bool {
    DRAWN.with_borrow(|all| !all.is_empty())
}

/// Stores what was drawn, after a rollback undid it.
pub(super) fn restore(connection: &Connection) -> rusqlite::Result<()> {
    let all = DRAWN.with_borrow(Clone::clone);
    for drawn in all {
        let sql = update(if drawn.temporary { "temp" } else { "main" });
        connection.prepare_cached(&sql)?.execute(params![drawn.oid, drawn.value, drawn.called])?;
    }
    Ok(())
}

/// The transaction is over.
pub(super) fn forget_drawn() {
    DRAWN.with_borrow_mut(Vec::clear);
}

fn update(database: &str) -> String {
    format!("UPDATE {database}.pgp_sequence SET last_value = ?2, is_called = ?3 WHERE relation = ?1")
}

/// Answers the function of that name.
pub(super) fn call(
    catalog: &StoredCatalog<'_>,
    session: &Session,
    name: &str,
    arguments: &[Datum<'_>],
) -> Result<Value, Error> {
    let oid = match (name, arguments.first()) {
        ("lastval", _) => session.newest_sequence().ok_or_else(|| undefined("lastval"))?,
        (_, Some(Datum::Int(oid))) => u32::try_from(*oid).unwrap_or(0),
        _ => return Ok(Value::Null),
    };
    let sequence = catalog
        .relation_by_oid(oid)?
        .ok_or_else(|| Error::new(Condition::UndefinedTable, format!("could not open relation with OID {oid}")))?;
    if sequence.kind != RelationKind::Sequence {
        return Err(Error::new(Condition::WrongObjectType, format!("\"{}\" is not a sequence", sequence.name)));
    }
    let wanted = match name {
        "nextval" => Privileges::USAGE.or(Privileges::UPDATE),
        "setval" => Privileges::UPDATE,
        _ => Privileges::USAGE.or(Privileges::SELECT),
    };
    let rights = catalog.rights;
    if !rights.superuser && rights.held(rights.role, Object::Relation(&sequence), wanted).is_empty() {
        return Err(denied_relation(&sequence));
    }
    match (name, arguments) {
        ("nextval", _) => {
            let value = draw(catalog, &sequence)?;
            session.note_sequence(oid, value, true);
            Ok(Value::Int(value))
        }
        ("setval", [_, Datum::Int(value), rest @ ..]) => {
            let called = !matches!(rest, [Datum::Int(0)]);
            set(catalog, &sequence, *value, called)?;
            if called {
                session.note_sequence(oid, *value, false);
            }
            Ok(Value::Int(*value))
        }
        ("currval" | "lastval", _) => {
            let value = session.sequence_value(oid);
            value.map(Value::Int).ok_or_else(|| undefined(&format!("currval of sequence \"{}\"", sequence.name)))
        }
        _ => Ok(Value::Null),
    }
}

fn undefined(what: &str) -> Error {
    let message = format!("{what} is not yet defined in this session");
    Error::new(Condition::ObjectNotInPrerequisiteState, message)
}

fn database(sequence: &Relation) -> &'static str {
    if sequence.temporary { "temp" } else { "main" }
}

/// Rows of pg_sequence.
pub(super) fn all(catalog: &StoredCatalog<'_>) -> Result<Vec<Vec<Value>>, Error> {
    let mut rows = Vec::new();
    for sequence in catalog.relations()? {
        if sequence.kind != RelationKind::Sequence {
            continue;
        }
        let row = read(catalog, &sequence)?;
        let type_ = sequence.columns.first().map_or(Type::Int8, |column| column.type_);
        rows.push(vec![
            Value::Int(i64::from(sequence.oid)),
            Value::Int(i64::from(type_.oid())),
            Value::Int(row.start),
            Value::Int(row.increment),
            Value::Int(row.maximum),
            Value::Int(row.minimum),
            Value::Int(1),
            Value::Int(i64::from(row.cycle)),
        ]);
    }
    Ok(rows)
}

struct Row {
    start: i64,
    increment: i64,
    minimum: i64,
    maximum: i64,
    cycle: bool,
    last_value: i64,
    is_called: bool,
}

fn read(catalog: &StoredCatalog<'_>, sequence: &Relation) -> Result<Row, Error> {
    let sql = format!(
        "SELECT increment, minimum, maximum, cycle, last_value, is_called, start FROM {}.pgp_sequence WHERE relation = ?1",
        database(sequence)
    );
    let row = catalog.connection.prepare_cached(&sql).and_then(|mut statement| {
        let row = statement.query_row([sequence.oid], |row| {
            Ok(Row {
                increment: row.get(0)?,
                minimum: row.get(1)?,
                maximum: row.get(2)?,
                cycle: row.get(3)?,
                last_value: row.get(4)?,
                is_called: row.get(5)?,
                start: row.get(6)?,
            })
        });
        row.optional()
    });
    row.map_err(failure)?.ok_or_else(|| Error::internal("a sequence has lost its row"))
}

fn draw(catalog: &StoredCatalog<'_>, sequence: &Relation) -> Result<i64, Error> {
    let row = read(catalog, sequence)?;
    let next = if row.is_called { row.last_value.checked_add(row.increment) } else { Some(row.last_value) };
    let value = match next.filter(|next| (row.minimum..=row.maximum).contains(next)) {
        Some(next) => next,
        None if row.cycle => {
            if row.increment > 0 {
                row.minimum
            } else {
                row.maximum
            }
        }
        None => {
            let (bound, limit) = if row.increment > 0 { ("maximum", row.maximum) } else { ("minimum", row.minimum) };
            let message = format!("nextval: reached {bound} value of sequence \"{}\" ({limit})", sequence.name);
            return Err(Error::new(Condition::SequenceGeneratorLimitExceeded, message));
        }
    };
    store(catalog, sequence, value, true)?;
    Ok(value)
}

fn set(catalog: &StoredCatalog<'_>, sequence: &Relation, value: i64, called: bool) -> Result<(), Error> {
    let row = read(catalog, sequence)?;
    if !(row.minimum..=row.maximum).contains(&value) {
        let message = format!(
            "setval: value {value} is out of bounds for sequence \"{}\" ({}..{})",
            sequence.name, row.minimum, row.maximum
        );
        return Err(Error::new(Condition::NumericValueOutOfRange, message));
    }
    store(catalog, sequence, value, called)
}

fn store(catalog: &StoredCatalog<'_>, sequence: &Relation, value: i64, called: bool) -> Result<(), Error> {
    let stored = catalog.connection.prepare_cached(&update(database(sequence)));
    stored.and_then(|mut statement| statement.execute(params![sequence.oid, value, called])).map_err(failure)?;
    note_drawn(sequence, value, called);
    Ok(())
}
