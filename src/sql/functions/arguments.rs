//! Reading the arguments of an implementation. A wrong kind means that the planner and a table disagree.

use crate::error::Error;
use crate::sql::types::numeric::Numeric;
use crate::sql::types::{Datum, Type, Value, float_from_datum};

fn missing(what: &str, index: usize) -> Error {
    Error::internal(format!("argument {} of a function is no {what}", index + 1))
}

/// An integer (or whatever is stored as one).
pub fn int(arguments: &[Datum<'_>], index: usize) -> Result<i64, Error> {
    match arguments.get(index) {
        Some(Datum::Int(value)) => Ok(*value),
        _ => Err(missing("integer", index)),
    }
}

/// A boolean.
pub fn boolean(arguments: &[Datum<'_>], index: usize) -> Result<bool, Error> {
    int(arguments, index).map(|value| value != 0)
}

/// A float.
pub fn float(arguments: &[Datum<'_>], index: usize) -> Result<f64, Error> {
    match arguments.get(index) {
        Some(datum @ (Datum::Float(_) | Datum::Int(_) | Datum::Text(_))) => Ok(float_from_datum(*datum)),
        _ => Err(missing("float", index)),
    }
}

/// Text of any kind.
pub fn text<'a>(arguments: &[Datum<'a>], index: usize) -> Result<&'a str, Error> {
    match arguments.get(index) {
        Some(Datum::Text(value)) => Ok(value),
        _ => Err(missing("text", index)),
    }
}

/// Bytes.
pub fn bytes<'a>(arguments: &[Datum<'a>], index: usize) -> Result<&'a [u8], Error> {
    match arguments.get(index) {
        Some(Datum::Bytes(value)) => Ok(value),
        _ => Err(missing("bytea", index)),
    }
}

/// A numeric; SQLite's own integers are taken as well.
pub fn numeric(arguments: &[Datum<'_>], index: usize) -> Result<Numeric, Error> {
    match arguments.get(index) {
        Some(Datum::Text(value)) => Numeric::parse(value),
        Some(Datum::Int(value)) => Ok(Numeric::from_int(*value)),
        Some(Datum::Float(value)) => Ok(Numeric::from_float(*value, Type::Float8)),
        _ => Err(missing("numeric", index)),
    }
}

/// A type, given by its OID.
pub fn type_(arguments: &[Datum<'_>], index: usize) -> Result<Type, Error> {
    let oid = int(arguments, index)?;
    u32::try_from(oid).ok().and_then(Type::from_oid).ok_or_else(|| missing("type", index))
}

/// A boolean result.
pub fn truth(value: bool) -> Value {
    Value::Int(i64::from(value))
}
