//! Type names as SQL writes them, to types and modifiers.

use sqlparser::tokenizer::Token;

use super::Generated;
use super::cursor::Cursor;
use crate::error::{Condition, Error};
use crate::sql::types::interval::{FULL_RANGE, range_of};
use crate::sql::types::{Type, missing_type};

/// A column's type as written.
pub(super) struct WrittenType {
    pub(super) type_: Type,
    pub(super) typmod: i32,
    pub(super) serial: bool,
}

impl WrittenType {
    pub(super) fn generated(&self) -> Option<Generated> {
        self.serial.then_some(Generated::Serial)
    }
}

/// The type of that (folded) name: SQL's names and PostgreSQL's internal ones. Types of several words as
/// `format_type` writes them.
pub fn type_by_name(name: &str) -> Option<Type> {
    let alias = match name {
        "int" | "int4" => Some(Type::Int4),
        "int2" => Some(Type::Int2),
        "int8" => Some(Type::Int8),
        "float4" => Some(Type::Float4),
        "float8" | "float" => Some(Type::Float8),
        "bool" => Some(Type::Bool),
        "decimal" | "dec" => Some(Type::Numeric),
        "varchar" | "char varying" => Some(Type::Varchar),
        "bpchar" | "char" => Some(Type::Bpchar),
        "timestamp" => Some(Type::Timestamp),
        "timestamptz" => Some(Type::Timestamptz),
        "time" => Some(Type::Time),
        _ => None,
    };
    alias.or_else(|| {
        let hidden = [Type::Any, Type::AnyArray, Type::AnyElement, Type::Record, Type::Unknown, Type::Char];
        Type::ALL.iter().copied().find(|type_| type_.name() == name && !hidden.contains(type_))
    })
}

/// Reads a type: `bigint`, `character varying(10)`, `numeric(10, 2)`, `timestamp(3) with time zone`, `int[]` …
pub(super) fn written_type(cursor: &mut Cursor<'_>) -> Result<WrittenType, Error> {
    let position = cursor.position();
    let quoted_char = cursor.peek_quoted("char");
    let mut name = cursor.any_word()?;
    if name == "pg_catalog" && cursor.punctuation(&Token::Period) {
        name = cursor.any_word()?;
    }
    let serial = match name.as_str() {
        "serial" | "serial4" => Some(Type::Int4),
        "bigserial" | "serial8" => Some(Type::Int8),
        "smallserial" | "serial2" => Some(Type::Int2),
        _ => None,
    };
    if let Some(type_) = serial {
        return Ok(WrittenType { type_, typmod: -1, serial: true });
    }
    if name == "double" && cursor.word("precision") {
        name = "double precision".to_owned();
    }
    if matches!(name.as_str(), "character" | "char" | "nchar" | "national") && !quoted_char {
        if name == "national" && !cursor.word("character") {
            cursor.expect_word("char")?;
        }
        name = if cursor.word("varying") { "varchar" } else { "bpchar" }.to_owned();
        return sized(cursor, &name, position, true);
    }
    if quoted_char {
        return array_of(cursor, Type::Char, -1, position);
    }
    sized(cursor, &name, position, false)
}

/// Reads modifiers and array brackets after a type's name.
fn sized(cursor: &mut Cursor<'_>, name: &str, position: usize, standard_char: bool) -> Result<WrittenType, Error> {
    let missing = || missing_type(name).position(position);
    let mut type_ = type_by_name(name).ok_or_else(missing)?;
    let range = if type_ == Type::Interval { interval_fields(cursor)? } else { None };
    let modifiers = if cursor.peek_open() {
        cursor.open()?;
        let numbers = cursor.list(|cursor| cursor.integer())?;
        cursor.close()?;
        numbers
    } else {
        Vec::new()
    };
    if matches!(type_, Type::Timestamp | Type::Time) {
        if cursor.words(&["with", "time", "zone"]) {
            if type_ == Type::Time {
                return Err(Error::unsupported("type time with time zone"));
            }
            type_ = Type::Timestamptz;
        } else {
            cursor.words(&["without", "time", "zone"]);
        }
    }
    if name == "float"
        && let Some(bits) = modifiers.first()
    {
        let type_ = match bits {
            1..=24 => Type::Float4,
            25..=53 => Type::Float8,
            ..=0 => return Err(bad_modifier("precision for type float must be at least 1 bit", position)),
            _ => return Err(bad_modifier("precision for type float must be less than 54 bits", position)),
        };
        return array_of(cursor, type_, -1, position);
    }
    let typmod = match (type_, modifiers.as_slice()) {
        (Type::Bpchar, []) if standard_char => 1 + 4,
        (Type::Interval, []) if range.is_some() => range.unwrap_or(FULL_RANGE) << 16 | 0xffff,
        (Type::Interval, [precision]) => {
            let precision = i32::try_from(*precision).unwrap_or(6).clamp(0, 6);
            range.unwrap_or(FULL_RANGE) << 16 | precision
        }
        (_, []) => -1,
        (Type::Bpchar | Type::Varchar, [length]) => {
            let shown = if type_ == Type::Bpchar { "char" } else { "varchar" };
            match *length {
                ..=0 => return Err(bad_modifier(&format!("length for type {shown} must be at least 1"), position)),
                1..=10_485_760 => *length as i32 + 4,
                _ => return Err(bad_modifier(&format!("length for type {shown} cannot exceed 10485760"), position)),
            }
        }
        (Type::Numeric, [precision]) => numeric_modifier(*precision, 0, position)?,
        (Type::Numeric, [precision, scale]) => numeric_modifier(*precision, *scale, position)?,
        (Type::Timestamp | Type::Timestamptz | Type::Time, [precision]) => {
            i32::try_from(*precision).unwrap_or(6).min(6)
        }
        _ => {
            let message = format!("type modifier is not allowed for type \"{name}\"");
            return Err(Error::new(Condition::SyntaxError, message).position(position));
        }
    };
    array_of(cursor, type_, typmod, position)
}

/// The fields behind INTERVAL, if there are any.
fn interval_fields(cursor: &mut Cursor<'_>) -> Result<Option<i32>, Error> {
    const FIELDS: &[&str] = &["year", "month", "day", "hour", "minute", "second"];
    let mut field = || FIELDS.iter().copied().find(|field| cursor.word(field));
    let Some(first) = field() else { return Ok(None) };
    let last = if cursor.word("to") {
        let last = FIELDS.iter().copied().find(|field| cursor.word(field));
        Some(last.ok_or_else(|| cursor.unexpected())?)
    } else {
        None
    };
    range_of(first, last).map(Some).ok_or_else(|| cursor.unexpected())
}

fn bad_modifier(message: &str, position: usize) -> Error {
    Error::new(Condition::InvalidParameterValue, message).position(position)
}

/// numeric(p, s) packed as PostgreSQL 15 does: precision in the upper half, scale in the low 11 bits.
fn numeric_modifier(precision: i64, scale: i64, position: usize) -> Result<i32, Error> {
    if !(1..=1000).contains(&precision) {
        return Err(bad_modifier(&format!("NUMERIC precision {precision} must be between 1 and 1000"), position));
    }
    if !(-1000..=1000).contains(&scale) {
        return Err(bad_modifier(&format!("NUMERIC scale {scale} must be between -1000 and 1000"), position));
    }
    Ok((((precision as i32) << 16) | (scale as i32 & 0x7ff)) + 4)
}

/// Reads `[]`, `[n]` or ARRAY after a type.
fn array_of(cursor: &mut Cursor<'_>, type_: Type, typmod: i32, position: usize) -> Result<WrittenType, Error> {
    let mut array = cursor.word("array");
    while cursor.punctuation(&Token::LBracket) {
        array = true;
        if !cursor.punctuation(&Token::RBracket) {
            cursor.integer()?;
            if !cursor.punctuation(&Token::RBracket) {
                return Err(cursor.unexpected());
            }
        }
    }
    if !array {
        return Ok(WrittenType { type_, typmod, serial: false });
    }
    let name = format!("{}[]", type_.name());
    match Type::ALL.iter().copied().find(|candidate| candidate.name() == name) {
        Some(type_) => Ok(WrittenType { type_, typmod, serial: false }),
        None => Err(Error::unsupported(format!("type {name}")).position(position)),
    }
}
