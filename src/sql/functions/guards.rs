//! Functions that only the planner calls: they check what PostgreSQL checks and SQLite does not.

use super::{Emit, Host, Registration, frame};
use crate::error::{Condition, Error};
use crate::sql::ir::Scalar;
use crate::sql::types::{Datum, Type, Value, array};

/// `pg_not_null(value, schema, table, column)`: the value, or 23502. For columns that are SQLite's rowid, which
/// SQLite would fill in by itself.
pub const NOT_NULL: &str = "pg_not_null";

/// `pg_one_row(count, value)`: the value, or 21000 if the subquery had more than one row.
pub const ONE_ROW: &str = "pg_one_row";

/// `pg_array(element type, elements…)`: an array's text.
pub const ARRAY: &str = "pg_array";

/// `pg_array_json(array, element type)`: the elements' stored forms as a JSON array, which SQLite can read row by row. With a
/// third argument a null array is one NULL, else it is nothing.
pub const ARRAY_JSON: &str = "pg_array_json";

/// `pg_array_element(array, element type, first, index)`: an element, NULL where there is none. `first` is the index
/// of the first element.
pub const ARRAY_ELEMENT: &str = "pg_array_element";

/// `pg_in_partition(condition, value, schema, table)`: the value, or 23514 where a row is not the partition's.
pub const IN_PARTITION: &str = "pg_in_partition";

/// `pg_limit(n)`: n, -1 for NULL, or 2201W for a negative one.
pub const LIMIT: &str = "pg_limit";

/// `pg_offset(n)`: n, 0 for NULL, or 2201X for a negative one.
pub const OFFSET: &str = "pg_offset";

/// `pg_step(n)`: n, or 22023 for zero.
pub const STEP: &str = "pg_step";

/// `pg_first_change(row)`: true, or 21000 if the statement has inserted or updated that row already.
pub const FIRST_CHANGE: &str = "pg_first_change";

/// `pg_frame_offset(offset, "starting" or "ending", type of the frame's key)`: the distance in what [`FRAME_KEY`] counts
/// in, or 22004 for NULL and 22013 for a negative one. The type is 0 for ROWS and GROUPS.
pub const FRAME_OFFSET: &str = "pg_frame_offset";

/// `pg_frame_key(value, type)`: a number that grows with the value, for RANGE frames with an offset.
pub const FRAME_KEY: &str = "pg_frame_key";

/// `pg_transaction_timestamp()`: now(), where an expression is stored and nothing can be bound.
pub const TRANSACTION_TIMESTAMP: &str = "pg_transaction_timestamp";

/// `pg_statement_timestamp()`: likewise.
pub const STATEMENT_TIMESTAMP: &str = "pg_statement_timestamp";

/// What runs for a guard's name.
pub fn registration(call: &str) -> Option<Registration> {
    let implementation = match call {
        NOT_NULL => not_null,
        ONE_ROW => one_row,
        ARRAY => make_array,
        ARRAY_JSON => array_json,
        ARRAY_ELEMENT => array_element,
        IN_PARTITION => in_partition,
        LIMIT => limit,
        OFFSET => offset,
        STEP => step,
        FIRST_CHANGE => first_change,
        FRAME_OFFSET => frame::offset,
        FRAME_KEY => frame::key,
        TRANSACTION_TIMESTAMP => transaction_timestamp,
        STATEMENT_TIMESTAMP => statement_timestamp,
        _ => return None,
    };
    // SQLite takes a frame's distance from a function only if that gives the same each time.
    let deterministic = matches!(call, FRAME_OFFSET | FRAME_KEY);
    Some(Registration { implementation, strict: false, deterministic })
}

fn text<'a>(arguments: &[Datum<'a>], at: usize) -> &'a str {
    match arguments.get(at) {
        Some(Datum::Text(text)) => text,
        _ => "",
    }
}

fn first(arguments: &[Datum<'_>]) -> Value {
    arguments.first().map_or(Value::Null, |datum| datum.to_value())
}

fn transaction_timestamp(host: &dyn Host, _: &[Datum<'_>]) -> Result<Value, Error> {
    Ok(Value::Int(host.transaction_timestamp()))
}

fn statement_timestamp(host: &dyn Host, _: &[Datum<'_>]) -> Result<Value, Error> {
    Ok(Value::Int(host.statement_timestamp()))
}

fn not_null(_: &dyn Host, arguments: &[Datum<'_>]) -> Result<Value, Error> {
    match first(arguments) {
        Value::Null => {
            let (schema, table, column) = (text(arguments, 1), text(arguments, 2), text(arguments, 3));
            let message =
                format!("null value in column \"{column}\" of relation \"{table}\" violates not-null constraint");
            Err(Error::new(Condition::NotNullViolation, message).table(schema, table).column(column))
        }
        value => Ok(value),
    }
}

fn one_row(_: &dyn Host, arguments: &[Datum<'_>]) -> Result<Value, Error> {
    match arguments {
        [Datum::Int(..=1), value] => Ok(value.to_value()),
        _ => {
            let message = "more than one row returned by a subquery used as an expression";
            Err(Error::new(Condition::CardinalityViolation, message))
        }
    }
}

fn step(_: &dyn Host, arguments: &[Datum<'_>]) -> Result<Value, Error> {
    match first(arguments) {
        Value::Int(0) => Err(Error::new(Condition::InvalidParameterValue, "step size cannot equal zero")),
        value => Ok(value),
    }
}

fn first_change(host: &dyn Host, arguments: &[Datum<'_>]) -> Result<Value, Error> {
    match arguments {
        [Datum::Int(row)] if host.has_changed(*row) => {
            let message = "ON CONFLICT DO UPDATE command cannot affect row a second time";
            Err(Error::new(Condition::CardinalityViolation, message).hint(
                "Ensure that no rows proposed for insertion within the same command have duplicate constrained values.",
            ))
        }
        _ => Ok(Value::Int(1)),
    }
}

fn make_array(host: &dyn Host, arguments: &[Datum<'_>]) -> Result<Value, Error> {
    let Some((Datum::Int(oid), elements)) = arguments.split_first() else {
        return Err(Error::internal("an array without a type"));
    };
    let type_ = u32::try_from(*oid).ok().and_then(Type::from_oid).unwrap_or(Type::Text);
    let context = host.text_context();
    let texts: Vec<Option<String>> = elements
        .iter()
        .map(|element| (*element != Datum::Null).then(|| array::element_text(type_, *element, &context)))
        .collect();
    Ok(Value::Text(array::from_elements(texts.iter().map(Option::as_deref))))
}

/// The stored forms of an array's (or a vector's) elements; `None` for a NULL array.
fn elements(host: &dyn Host, arguments: &[Datum<'_>]) -> Result<Option<Vec<Value>>, Error> {
    let (Some(Datum::Text(array)), Some(Datum::Int(oid))) = (arguments.first(), arguments.get(1)) else {
        return Ok(None);
    };
    let type_ = u32::try_from(*oid).ok().and_then(Type::from_oid).unwrap_or(Type::Text);
    if array.starts_with('{') {
        return array::values(type_, array, &host.text_context()).map(Some);
    }
    let words = array.split_ascii_whitespace();
    words
        .map(|word| crate::sql::types::input(type_, -1, word, &host.text_context()))
        .collect::<Result<_, _>>()
        .map(Some)
}

fn array_json(host: &dyn Host, arguments: &[Datum<'_>]) -> Result<Value, Error> {
    use std::fmt::Write as _;
    let items = match elements(host, arguments)? {
        Some(items) => items,
        None if arguments.len() > 2 => vec![Value::Null],
        None => Vec::new(),
    };
    let mut json = String::from("[");
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        // Writing to a String cannot fail.
        let _ = match item {
            Value::Null => write!(json, "null"),
            Value::Int(value) => write!(json, "{value}"),
            // JSON has no infinity; what is too large for a float reads as one.
            Value::Float(value) if value.is_infinite() => write!(json, "{}9e999", if value < 0.0 { "-" } else { "" }),
            Value::Float(value) => write!(json, "{value:?}"),
            Value::Text(value) => write!(json, "{}", serde_json::Value::String(value)),
            Value::Bytes(value) => {
                json.push('"');
                value.iter().for_each(|byte| {
                    let _ = write!(json, "{byte:02x}");
                });
                write!(json, "\"")
            }
        };
    }
    json.push(']');
    Ok(Value::Text(json))
}

/// The element that `value` of a row of [`ARRAY_JSON`] stands for: bytes are hexadecimal digits there.
pub fn json_element(value: Scalar) -> Scalar {
    if value.type_.storage_class() != "BLOB" {
        return value;
    }
    let (type_, typmod) = (value.type_, value.typmod);
    Scalar { typmod, ..Scalar::call(Emit::Native("unhex"), vec![value], type_) }
}

fn array_element(host: &dyn Host, arguments: &[Datum<'_>]) -> Result<Value, Error> {
    let (Some(Datum::Int(first)), Some(Datum::Int(index))) = (arguments.get(2), arguments.get(3)) else {
        return Ok(Value::Null);
    };
    let Some(at) = index.checked_sub(*first).and_then(|at| usize::try_from(at).ok()) else { return Ok(Value::Null) };
    let items = elements(host, arguments)?.unwrap_or_default();
    Ok(items.into_iter().nth(at).unwrap_or(Value::Null))
}

fn in_partition(_: &dyn Host, arguments: &[Datum<'_>]) -> Result<Value, Error> {
    match arguments {
        [Datum::Int(1), value, ..] => Ok(value.to_value()),
        _ => {
            let (schema, table) = (text(arguments, 2), text(arguments, 3));
            let message = format!("new row for relation \"{table}\" violates partition constraint");
            Err(Error::new(Condition::CheckViolation, message).table(schema, table))
        }
    }
}

fn limit(_: &dyn Host, arguments: &[Datum<'_>]) -> Result<Value, Error> {
    match first(arguments) {
        Value::Null => Ok(Value::Int(-1)),
        Value::Int(count) if count < 0 => {
            Err(Error::new(Condition::InvalidRowCountInLimitClause, "LIMIT must not be negative"))
        }
        value => Ok(value),
    }
}

fn offset(_: &dyn Host, arguments: &[Datum<'_>]) -> Result<Value, Error> {
    match first(arguments) {
        Value::Null => Ok(Value::Int(0)),
        Value::Int(count) if count < 0 => {
            Err(Error::new(Condition::InvalidRowCountInResultOffsetClause, "OFFSET must not be negative"))
        }
        value => Ok(value),
    }
}
