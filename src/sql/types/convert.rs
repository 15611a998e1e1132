//! Text and binary forms of values: one entry for each direction, which asks the module of the type.

use super::calendar::{DAY_US, END_DATE, END_TIMESTAMP, MIN_DAY, MIN_TIMESTAMP};
use super::interval::Interval;
use super::numeric::Numeric;
use super::{Datum, TextContext, Type, Value, array, bytes, datetime, float, inet, integer, names};
use crate::error::{Condition, Error};

/// Bytes that type name holds at most; longer names are cut.
const NAME_LENGTH: usize = 63;

/// Reads a value's text form. A modifier is applied as an assignment does (too long is an error); -1 for none.
///
/// The `reg*` types but regtype are read as plain OIDs only: their names need the catalog
/// (`Host::catalog_function`).
pub fn input(type_: Type, typmod: i32, text: &str, context: &TextContext) -> Result<Value, Error> {
    let value = match type_ {
        Type::Int2 | Type::Int4 | Type::Int8 => Value::Int(integer::parse_int(type_, text)?),
        // Types are known without the catalog.
        Type::Regtype if !text.starts_with(|c: char| c.is_ascii_digit()) => regtype(text)?,
        Type::Oid | Type::Xid | Type::Regproc | Type::Regclass | Type::Regtype | Type::Regnamespace | Type::Regrole => {
            Value::Int(integer::parse_oid(Type::Oid, text)?)
        }
        Type::Bool => Value::Int(i64::from(integer::parse_bool(text)?)),
        Type::Float4 | Type::Float8 => float::to_value(float::parse(type_, text)?),
        Type::Text | Type::Varchar | Type::Unknown | Type::PgNodeTree | Type::AclItem => Value::Text(text.to_owned()),
        Type::Inet => Value::Text(inet::parse(text)?),
        Type::Bpchar if typmod >= 4 => Value::Text(text.to_owned()),
        Type::Bpchar => Value::Text(text.trim_end_matches(' ').to_owned()),
        Type::Name => Value::Text(cut_name(text).to_owned()),
        Type::Char => Value::Text(text.chars().next().map(String::from).unwrap_or_default()),
        Type::Numeric => Numeric::parse(text)?.to_value(),
        Type::Bytea => Value::Bytes(bytes::parse_bytea(text)?),
        Type::Uuid => Value::Bytes(bytes::parse_uuid(text)?),
        Type::Date => Value::Int(datetime::parse_date(text, context)?),
        Type::Time => Value::Int(datetime::parse_time(text, context)?),
        Type::Timestamp | Type::Timestamptz => Value::Int(datetime::parse_timestamp(type_, text, context)?),
        Type::Interval => Interval::parse_styled(text, context.interval_style, typmod)?.to_value()?,
        Type::Json | Type::Jsonb => parse_json(type_, text)?,
        Type::Int2Vector | Type::OidVector => {
            array::parse_vector(type_.element().unwrap_or(Type::Int2), text, context)?
        }
        Type::Record | Type::Any | Type::AnyArray | Type::AnyElement => {
            return Err(Error::new(
                Condition::FeatureNotSupported,
                format!("cannot accept a value of type {}", super::pg_type(type_).name),
            ));
        }
        Type::Void => Value::Text(String::new()),
        _ => match type_.element() {
            Some(element) => array::parse(element, text, context)?,
            None => return Err(Error::unsupported(format!("input of type {}", type_.name()))),
        },
    };
    super::apply_typmod(value, type_, typmod, false)
}

/// The type that a name means, as its OID.
fn regtype(text: &str) -> Result<Value, Error> {
    let name = text.trim();
    let name = name.strip_prefix("pg_catalog.").unwrap_or(name);
    if name == "-" {
        return Ok(Value::Int(0));
    }
    super::parse_name(name)
        .map(|type_| Value::Int(i64::from(type_.oid())))
        .ok_or_else(|| Error::new(Condition::UndefinedObject, format!("type \"{name}\" does not exist")))
}

/// As much of a text as type name holds.
pub(super) fn cut_name(text: &str) -> &str {
    let mut end = text.len().min(NAME_LENGTH);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn parse_json(type_: Type, text: &str) -> Result<Value, Error> {
    if type_ == Type::Jsonb {
        return Err(Error::unsupported("type jsonb"));
    }
    match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        Ok(_) => Ok(Value::Text(text.to_owned())),
        Err(_) => Err(Error::new(Condition::InvalidTextRepresentation, "invalid input syntax for type json")),
    }
}

/// Appends a value's text form. NULL appends nothing.
///
/// The `reg*` types appear by the names that `names` knows, else as numbers.
pub fn output(type_: Type, typmod: i32, datum: Datum<'_>, context: &TextContext, out: &mut Vec<u8>) {
    match (type_, datum) {
        (_, Datum::Null) => {}
        (Type::Int4 | Type::Int8 | Type::Int2, Datum::Int(value)) => integer::write_int(value, out),
        (Type::Text | Type::Varchar, Datum::Text(text)) => out.extend_from_slice(text.as_bytes()),
        (Type::Bpchar, Datum::Text(text)) => {
            out.extend_from_slice(text.as_bytes());
            pad(typmod, text, out);
        }
        (Type::Regproc | Type::Regclass | Type::Regtype | Type::Regnamespace | Type::Regrole, Datum::Int(value)) => {
            match names::name(type_, value) {
                Some(name) => out.extend_from_slice(name.as_bytes()),
                None => integer::write_int(value, out),
            }
        }
        (Type::Bool, Datum::Int(value)) => out.push(if value != 0 { b't' } else { b'f' }),
        (Type::Float4 | Type::Float8, datum) => {
            float::write(type_, float::from_datum(datum), context.extra_float_digits, out);
        }
        (Type::Date, Datum::Int(value)) => datetime::write_date(value, context, out),
        (Type::Time, Datum::Int(value)) => datetime::write_time(value.clamp(0, DAY_US), out),
        (Type::Timestamp | Type::Timestamptz, Datum::Int(value)) => {
            datetime::write_timestamp(type_, value, context, out)
        }
        (Type::Interval, Datum::Text(text)) => match Interval::from_stored(text) {
            Ok(interval) => interval.write(context.interval_style, out),
            Err(_) => out.extend_from_slice(text.as_bytes()),
        },
        (Type::Uuid, Datum::Bytes(value)) => bytes::write_uuid(value, out),
        (_, Datum::Bytes(value)) => bytes::write_bytea(value, context.bytea_output, out),
        (_, Datum::Int(value)) => integer::write_int(value, out),
        (_, Datum::Text(text)) => out.extend_from_slice(text.as_bytes()),
        (_, Datum::Float(value)) => float::write(Type::Float8, value, context.extra_float_digits, out),
    }
}

/// Appends the blanks that char(n) shows after a text.
fn pad(typmod: i32, text: &str, out: &mut Vec<u8>) {
    if typmod >= 4 {
        let length = (typmod - 4) as usize;
        out.resize(out.len() + length.saturating_sub(text.chars().count()), b' ');
    }
}

fn bad_binary() -> Error {
    Error::new(Condition::InvalidBinaryRepresentation, "incorrect binary data format")
}

/// Exactly N bytes.
fn exactly<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Error> {
    <[u8; N]>::try_from(bytes).map_err(|_| {
        if bytes.len() < N {
            Error::new(Condition::ProtocolViolation, "insufficient data left in message")
        } else {
            bad_binary()
        }
    })
}

fn utf8(bytes: &[u8]) -> Result<&str, Error> {
    let text = std::str::from_utf8(bytes).map_err(|error| invalid_utf8(&bytes[error.valid_up_to()..]))?;
    if text.contains('\0') { Err(invalid_utf8(&[0])) } else { Ok(text) }
}

/// `invalid byte sequence for encoding "UTF8": 0x…` (22021), for what starts with the offending bytes.
pub fn invalid_utf8(at: &[u8]) -> Error {
    let length = match at.first() {
        Some(0xc0..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf7) => 4,
        _ => 1,
    };
    let shown: Vec<String> = at.iter().take(length).map(|byte| format!("0x{byte:02x}")).collect();
    Error::new(
        Condition::CharacterNotInRepertoire,
        format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" ")),
    )
}

/// Reads a value's binary form. A malformed one is 22P03 or 08P01, as in PostgreSQL.
pub fn receive(type_: Type, bytes: &[u8]) -> Result<Value, Error> {
    let out_of_range = |what: &str| Error::new(Condition::DatetimeFieldOverflow, format!("{what} out of range"));
    Ok(match type_ {
        Type::Int2 => Value::Int(i64::from(i16::from_be_bytes(exactly(bytes)?))),
        Type::Int4 => Value::Int(i64::from(i32::from_be_bytes(exactly(bytes)?))),
        Type::Int8 => Value::Int(i64::from_be_bytes(exactly(bytes)?)),
        Type::Oid | Type::Xid | Type::Regproc | Type::Regclass | Type::Regtype | Type::Regnamespace | Type::Regrole => {
            Value::Int(i64::from(u32::from_be_bytes(exactly(bytes)?)))
        }
        Type::Bool => Value::Int(i64::from(exactly::<1>(bytes)? != [0])),
        Type::Float4 => float::to_value(f64::from(f32::from_be_bytes(exactly(bytes)?))),
        Type::Float8 => float::to_value(f64::from_be_bytes(exactly(bytes)?)),
        Type::Bytea => Value::Bytes(bytes.to_owned()),
        Type::Uuid => Value::Bytes(exactly::<16>(bytes)?.to_vec()),
        Type::Numeric => Numeric::receive(bytes)?.to_value(),
        Type::Date => {
            let days = i64::from(i32::from_be_bytes(exactly(bytes)?));
            let special = days == i64::from(i32::MAX) || days == i64::from(i32::MIN);
            if !special && !(MIN_DAY..END_DATE).contains(&days) {
                return Err(out_of_range("date"));
            }
            Value::Int(days)
        }
        Type::Time => {
            let time = i64::from_be_bytes(exactly(bytes)?);
            if !(0..=DAY_US).contains(&time) {
                return Err(out_of_range("time"));
            }
            Value::Int(time)
        }
        Type::Timestamp | Type::Timestamptz => {
            let value = i64::from_be_bytes(exactly(bytes)?);
            let special = value == i64::MAX || value == i64::MIN;
            if !special && !(MIN_TIMESTAMP..END_TIMESTAMP).contains(&value) {
                return Err(out_of_range("timestamp"));
            }
            Value::Int(value)
        }
        Type::Interval => {
            let all: [u8; 16] = exactly(bytes)?;
            let number =
                |range: std::ops::Range<usize>| all[range].iter().fold(0i64, |value, b| value << 8 | i64::from(*b));
            Interval {
                months: i64::from(number(12..16) as i32),
                days: i64::from(number(8..12) as i32),
                time_us: number(0..8),
            }
            .to_value()?
        }
        Type::Jsonb => match bytes.split_first() {
            Some((1, text)) => parse_json(type_, utf8(text)?)?,
            _ => return Err(bad_binary()),
        },
        Type::Char => Value::Text(match exactly::<1>(bytes)? {
            [0] => String::new(),
            byte => utf8(&byte)?.to_owned(),
        }),
        _ => match type_.element() {
            Some(element) => array::read_binary(type_, element, bytes)?,
            None => input(type_, -1, utf8(bytes)?, &TextContext::default())?,
        },
    })
}

/// Appends a value's binary form, without its length. NULL appends nothing.
///
/// char(n) goes out without its padding: [`send_with_typmod`] adds it.
pub fn send(type_: Type, datum: Datum<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    match (type_, datum) {
        (_, Datum::Null) => {}
        (Type::Int4 | Type::Date, Datum::Int(value)) => out.extend_from_slice(&(value as i32).to_be_bytes()),
        (Type::Int2, Datum::Int(value)) => out.extend_from_slice(&(value as i16).to_be_bytes()),
        (Type::Int8 | Type::Time | Type::Timestamp | Type::Timestamptz, Datum::Int(value)) => {
            out.extend_from_slice(&value.to_be_bytes());
        }
        (Type::Bool, Datum::Int(value)) => out.push(u8::from(value != 0)),
        (Type::Float4, datum) => out.extend_from_slice(&(float::from_datum(datum) as f32).to_be_bytes()),
        (Type::Float8, datum) => out.extend_from_slice(&float::from_datum(datum).to_be_bytes()),
        (Type::Numeric, Datum::Text(text)) => Numeric::parse(text)?.send(out),
        (Type::Numeric, Datum::Int(value)) => Numeric::from_int(value).send(out),
        (Type::Interval, Datum::Text(text)) => {
            let interval = Interval::from_stored(text)?;
            out.extend_from_slice(&interval.time_us.to_be_bytes());
            out.extend_from_slice(&(interval.days as i32).to_be_bytes());
            out.extend_from_slice(&(interval.months as i32).to_be_bytes());
        }
        (Type::Char, Datum::Text("")) => out.push(0),
        (Type::Jsonb, Datum::Text(text)) => {
            out.push(1);
            out.extend_from_slice(text.as_bytes());
        }
        (_, Datum::Text(text)) => match type_.element() {
            Some(element) => array::write_binary(type_, element, text, out)?,
            None => out.extend_from_slice(text.as_bytes()),
        },
        (_, Datum::Bytes(bytes)) => out.extend_from_slice(bytes),
        // Oid and its like.
        (_, Datum::Int(value)) => out.extend_from_slice(&(value as u32).to_be_bytes()),
        (_, Datum::Float(value)) => out.extend_from_slice(&value.to_be_bytes()),
    }
    Ok(())
}

/// As [`send`], with the padding of char(n).
pub fn send_with_typmod(type_: Type, typmod: i32, datum: Datum<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    send(type_, datum, out)?;
    if let (Type::Bpchar, Datum::Text(text)) = (type_, datum) {
        pad(typmod, text, out);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text_of(type_: Type, value: &Value) -> String {
        let mut out = Vec::new();
        output(type_, -1, value.as_datum(), &TextContext::default(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn char_is_padded_on_output() {
        let value = input(Type::Bpchar, 4 + 5, "ab  ", &TextContext::default()).unwrap();
        assert_eq!(value, Value::Text("ab".into()));
        let mut out = Vec::new();
        output(Type::Bpchar, 4 + 5, value.as_datum(), &TextContext::default(), &mut out);
        assert_eq!(out, b"ab   ");
    }

    #[test]
    fn short_and_long_binaries_are_refused() {
        for type_ in
            [Type::Int2, Type::Int4, Type::Int8, Type::Float8, Type::Date, Type::Timestamp, Type::Interval, Type::Uuid]
        {
            assert_eq!(receive(type_, &[]).unwrap_err().condition().code(), "08P01", "{type_:?}");
            assert_eq!(receive(type_, &[0; 17]).unwrap_err().condition().code(), "22P03", "{type_:?}");
        }
        assert_eq!(
            receive(Type::Text, &[0xff]).unwrap_err().to_string(),
            "invalid byte sequence for encoding \"UTF8\": 0xff (22021)"
        );
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics_and_what_is_read_reads_back(text in "\\PC{0,24}") {
            for type_ in Type::ALL {
                if let Ok(value) = input(*type_, -1, &text, &TextContext::default()) {
                    let again = input(*type_, -1, &text_of(*type_, &value), &TextContext::default());
                    prop_assert_eq!(again.ok(), Some(value), "{:?}", type_);
                }
            }
        }

        #[test]
        fn date_like_text_never_panics(text in "[-+0-9:./ TZamp,JF]{0,30}") {
            for type_ in [Type::Date, Type::Time, Type::Timestamp, Type::Timestamptz, Type::Interval, Type::Numeric, Type::Float8] {
                if let Ok(value) = input(type_, -1, &text, &TextContext::default()) {
                    let again = input(type_, -1, &text_of(type_, &value), &TextContext::default());
                    prop_assert_eq!(again.ok(), Some(value), "{:?}", type_);
                }
            }
        }

        #[test]
        fn arbitrary_binary_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            for type_ in Type::ALL {
                if let Ok(value) = receive(*type_, &bytes) {
                    let mut out = Vec::new();
                    prop_assert!(send(*type_, value.as_datum(), &mut out).is_ok());
                    let _ = text_of(*type_, &value);
                }
            }
        }

        #[test]
        fn floats_read_back(value in any::<f64>()) {
            let value = float::to_value(value);
            prop_assert_eq!(input(Type::Float8, -1, &text_of(Type::Float8, &value), &TextContext::default()).ok(), Some(value));
        }

        #[test]
        fn timestamps_read_back(value in MIN_TIMESTAMP..END_TIMESTAMP) {
            let value = Value::Int(value);
            for type_ in [Type::Timestamp, Type::Timestamptz] {
                let again = input(type_, -1, &text_of(type_, &value), &TextContext::default());
                prop_assert_eq!(again.ok(), Some(value.clone()));
            }
        }

        #[test]
        fn intervals_read_back(months in -400_000i64..400_000, days in any::<i32>(), time_us in -(1i64 << 60)..1 << 60) {
            let value = Interval { months, days: i64::from(days), time_us }.to_value().unwrap();
            prop_assert_eq!(input(Type::Interval, -1, &text_of(Type::Interval, &value), &TextContext::default()).ok(), Some(value));
        }
    }
}
