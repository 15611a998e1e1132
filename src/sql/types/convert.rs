//! Text and binary forms of values: one entry for each direction, which asks the module of the type.

use super::{Datum, TextContext, Type, Value, float, integer};
use crate::error::{Condition, Error};

/// Reads a value's text form. A modifier is applied as an assignment does (too long is an error); -1 for none.
pub fn input(type_: Type, typmod: i32, text: &str, context: &TextContext) -> Result<Value, Error> {
    let _ = context;
    let value = match type_ {
        Type::Int2 | Type::Int4 | Type::Int8 => Value::Int(integer::parse_int(type_, text)?),
        Type::Oid | Type::Xid => Value::Int(integer::parse_oid(type_, text)?),
        Type::Bool => Value::Int(i64::from(integer::parse_bool(text)?)),
        Type::Float4 | Type::Float8 => float::to_value(float::parse(type_, text)?),
        Type::Text | Type::Varchar | Type::Unknown => Value::Text(text.to_owned()),
        Type::Bpchar => Value::Text(text.trim_end_matches(' ').to_owned()),
        _ => return Err(Error::unsupported(format!("input of type {}", type_.name()))),
    };
    super::apply_typmod(value, type_, typmod, false)
}

/// Appends a value's text form. NULL appends nothing.
pub fn output(type_: Type, typmod: i32, datum: Datum<'_>, context: &TextContext, out: &mut Vec<u8>) {
    match (type_, datum) {
        (_, Datum::Null) => {}
        (Type::Bool, Datum::Int(value)) => out.push(if value != 0 { b't' } else { b'f' }),
        (Type::Float4 | Type::Float8, datum) => {
            float::write(type_, float::from_datum(datum), context.extra_float_digits, out)
        }
        (Type::Bpchar, Datum::Text(text)) => {
            out.extend_from_slice(text.as_bytes());
            let length = if typmod >= 4 { (typmod - 4) as usize } else { 0 };
            out.resize(out.len() + length.saturating_sub(text.chars().count()), b' ');
        }
        (_, Datum::Int(value)) => integer::write_int(value, out),
        (_, Datum::Text(text)) => out.extend_from_slice(text.as_bytes()),
        (_, Datum::Float(value)) => float::write(Type::Float8, value, context.extra_float_digits, out),
        (_, Datum::Bytes(bytes)) => out.extend_from_slice(bytes),
    }
}

/// Reads a value's binary form. A malformed one is 22P03 or 08P01, as in PostgreSQL.
pub fn receive(type_: Type, bytes: &[u8]) -> Result<Value, Error> {
    let short = || Error::new(Condition::ProtocolViolation, "insufficient data left in message");
    let long = || Error::new(Condition::InvalidBinaryRepresentation, "incorrect binary data format");
    match type_ {
        Type::Int4 => match <[u8; 4]>::try_from(bytes) {
            Ok(bytes) => Ok(Value::Int(i64::from(i32::from_be_bytes(bytes)))),
            Err(_) => Err(if bytes.len() < 4 { short() } else { long() }),
        },
        _ => Err(Error::unsupported(format!("binary input of type {}", type_.name()))),
    }
}

/// Appends a value's binary form, without its length. NULL appends nothing.
pub fn send(type_: Type, datum: Datum<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    match (type_, datum) {
        (Type::Int4, Datum::Int(value)) => out.extend_from_slice(&(value as i32).to_be_bytes()),
        (_, Datum::Text(text)) => out.extend_from_slice(text.as_bytes()),
        _ => return Err(Error::unsupported(format!("binary output of type {}", type_.name()))),
    }
    Ok(())
}
