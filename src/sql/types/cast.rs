//! Conversions between types, and what a type modifier does to a value.

use super::calendar::{DAY_US, END_DATE, END_TIMESTAMP, MIN_DAY, MIN_TIMESTAMP};
use super::interval::Interval;
use super::numeric::Numeric;
use super::{TextContext, Type, Value, convert, datetime, float, input, integer, output};
use crate::error::{Condition, Error};

/// Where a cast may happen without being written. Ordered: what serves implicitly serves everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CastKind {
    /// Anywhere in an expression.
    Implicit,
    /// When a value is stored into a column.
    Assignment,
    /// Only by CAST or `::`.
    Explicit,
}

/// Converts a value and applies the target's type modifier. NULL stays NULL.
///
/// `kind` says how the cast came about: an explicit one truncates what is too long where an assignment fails.
/// Whether it is allowed there is `functions::can_coerce`'s question.
pub fn cast(
    value: Value,
    from: Type,
    to: Type,
    typmod: i32,
    kind: CastKind,
    context: &TextContext,
) -> Result<Value, Error> {
    if value.is_null() {
        return Ok(Value::Null);
    }
    let value = convert(value, from, to, context)?;
    apply_typmod(value, to, typmod, kind == CastKind::Explicit)
}

fn is_text(type_: Type) -> bool {
    matches!(type_, Type::Text | Type::Varchar | Type::Bpchar | Type::Name | Type::Unknown | Type::PgNodeTree)
}

fn is_integer(type_: Type) -> bool {
    matches!(type_, Type::Int2 | Type::Int4 | Type::Int8)
}

fn is_oid(type_: Type) -> bool {
    matches!(
        type_,
        Type::Oid | Type::Xid | Type::Regproc | Type::Regclass | Type::Regtype | Type::Regnamespace | Type::Regrole
    )
}

fn out_of_range(type_: Type) -> Error {
    Error::new(Condition::NumericValueOutOfRange, format!("{} out of range", type_.name()))
}

fn to_integer(type_: Type, value: Option<i64>) -> Result<Value, Error> {
    let (least, most) = integer::range(type_);
    let name = if is_oid(type_) { Type::Oid } else { type_ };
    value.filter(|value| (least..=most).contains(value)).map(Value::Int).ok_or_else(|| out_of_range(name))
}

fn convert(value: Value, from: Type, to: Type, context: &TextContext) -> Result<Value, Error> {
    if from == to {
        return Ok(value);
    }
    match (&value, from, to) {
        (Value::Text(text), from, Type::Name) if is_text(from) => Ok(Value::Text(convert::cut_name(text).to_owned())),
        (Value::Text(text), from, Type::Bpchar) if is_text(from) => Ok(Value::Text(text.clone())),
        (_, from, to) if is_text(from) && is_text(to) => Ok(value),
        (Value::Text(text), Type::Unknown | Type::Text | Type::Varchar | Type::Bpchar | Type::Name, to) => {
            input(to, -1, text, context)
        }
        // A boolean is spelled out as text, though its output is one letter. There is no such cast to name.
        (Value::Int(truth), Type::Bool, to) if is_text(to) && to != Type::Name => {
            Ok(Value::Text(if *truth != 0 { "true" } else { "false" }.to_owned()))
        }
        (_, _, Type::Text | Type::Varchar | Type::Bpchar | Type::Name) => {
            let mut out = Vec::new();
            output(from, -1, value.as_datum(), context, &mut out);
            Ok(Value::Text(String::from_utf8_lossy(&out).into_owned()))
        }
        (Value::Int(value), from, to) if (is_integer(from) || is_oid(from)) && (is_integer(to) || is_oid(to)) => {
            // An OID and an integer of the same width share their bits.
            match (is_oid(from), is_oid(to)) {
                (true, false) if to == Type::Int4 => Ok(Value::Int(i64::from(*value as u32 as i32))),
                (false, true) if from != Type::Int8 => Ok(Value::Int(i64::from(*value as i32 as u32))),
                _ => to_integer(to, Some(*value)),
            }
        }
        // A byte; none is the empty string.
        (Value::Int(0), Type::Int4, Type::Char) => Ok(Value::Text(String::new())),
        (Value::Int(value), Type::Int4, Type::Char) => match u8::try_from(*value).ok().filter(u8::is_ascii) {
            Some(byte) => Ok(Value::Text(char::from(byte).to_string())),
            None => Err(out_of_range(Type::Char)),
        },
        (Value::Text(text), Type::Char, Type::Int4) => {
            Ok(Value::Int(text.bytes().next().map_or(0, |byte| i64::from(byte.cast_signed()))))
        }
        (Value::Int(value), from, Type::Float4) if is_integer(from) => Ok(Value::Float(f64::from(*value as f32))),
        (Value::Int(value), from, Type::Float8) if is_integer(from) => Ok(Value::Float(*value as f64)),
        (Value::Int(value), from, Type::Numeric) if is_integer(from) => Ok(Numeric::from_int(*value).to_value()),
        (Value::Int(value), Type::Int4, Type::Bool) => Ok(Value::Int(i64::from(*value != 0))),
        (Value::Int(value), Type::Bool, Type::Int4) => Ok(Value::Int(*value)),
        (_, Type::Float4 | Type::Float8, _) => from_float(float::from_datum(value.as_datum()), from, to),
        (Value::Text(text), Type::Numeric, _) => from_numeric(&Numeric::parse(text)?, to),
        (Value::Int(value), _, _) => from_date(*value, from, to, context),
        (Value::Text(text), Type::Interval, Type::Time) => {
            Ok(Value::Int(Interval::from_stored(text)?.time_us.rem_euclid(DAY_US)))
        }
        _ => Err(impossible(from, to)),
    }
}

fn impossible(from: Type, to: Type) -> Error {
    Error::new(Condition::CannotCoerce, format!("cannot cast type {} to {}", from.name(), to.name()))
}

fn from_float(value: f64, from: Type, to: Type) -> Result<Value, Error> {
    match to {
        Type::Float8 => Ok(float::to_value(value)),
        Type::Float4 => {
            let narrow = f64::from(value as f32);
            let range =
                |what: &str| Error::new(Condition::NumericValueOutOfRange, format!("value out of range: {what}"));
            if narrow.is_infinite() && value.is_finite() {
                return Err(range("overflow"));
            }
            if narrow == 0.0 && value != 0.0 {
                return Err(range("underflow"));
            }
            Ok(float::to_value(narrow))
        }
        Type::Numeric => Ok(Numeric::from_float(value, from).to_value()),
        to if is_integer(to) => {
            let rounded = value.round_ties_even();
            // 2^63 itself is a float that no bigint holds.
            let fits = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&rounded);
            to_integer(to, fits.then_some(rounded as i64))
        }
        _ => Err(impossible(from, to)),
    }
}

fn from_numeric(value: &Numeric, to: Type) -> Result<Value, Error> {
    match to {
        to if is_integer(to) => match value {
            Numeric::Finite { .. } => to_integer(to, value.to_i64()),
            other => {
                let what = if *other == Numeric::NaN { "NaN" } else { "infinity" };
                Err(Error::new(Condition::FeatureNotSupported, format!("cannot convert {what} to {}", to.name())))
            }
        },
        Type::Float8 => {
            let float = value.to_f64();
            if float.is_infinite() && matches!(value, Numeric::Finite { .. }) {
                return Err(Error::new(
                    Condition::NumericValueOutOfRange,
                    format!("\"{value}\" is out of range for type double precision"),
                ));
            }
            Ok(float::to_value(float))
        }
        Type::Float4 => from_float(value.to_f64(), Type::Float8, to),
        _ => Err(impossible(Type::Numeric, to)),
    }
}

/// Days to microseconds; infinities stay.
pub fn date_to_timestamp(days: i64) -> Result<i64, Error> {
    if days == i64::from(i32::MAX) {
        Ok(i64::MAX)
    } else if days == i64::from(i32::MIN) {
        Ok(i64::MIN)
    } else {
        days.checked_mul(DAY_US)
            .filter(|value| *value < END_TIMESTAMP)
            .ok_or_else(|| Error::new(Condition::DatetimeFieldOverflow, "date out of range for timestamp"))
    }
}

/// Microseconds to the day they fall in; infinities stay.
pub fn timestamp_to_date(value: i64) -> i64 {
    match value {
        i64::MAX => i64::from(i32::MAX),
        i64::MIN => i64::from(i32::MIN),
        value => value.div_euclid(DAY_US).clamp(MIN_DAY, END_DATE),
    }
}

/// A timestamp that a change of zone has moved, if it still is one.
fn checked(value: i64) -> Result<i64, Error> {
    if value == i64::MAX || value == i64::MIN || (MIN_TIMESTAMP..END_TIMESTAMP).contains(&value) {
        return Ok(value);
    }
    Err(Error::new(Condition::DatetimeFieldOverflow, "timestamp out of range"))
}

fn from_date(value: i64, from: Type, to: Type, context: &TextContext) -> Result<Value, Error> {
    let zone = &context.time_zone;
    if to == Type::Time && matches!(value, i64::MAX | i64::MIN) {
        return Ok(Value::Null);
    }
    Ok(Value::Int(match (from, to) {
        (Type::Date, Type::Timestamp) => date_to_timestamp(value)?,
        (Type::Date, Type::Timestamptz) => checked(datetime::to_utc(date_to_timestamp(value)?, zone))?,
        (Type::Timestamp, Type::Date) => timestamp_to_date(value),
        (Type::Timestamptz, Type::Date) => timestamp_to_date(datetime::to_local(value, zone).0),
        (Type::Timestamp, Type::Timestamptz) => checked(datetime::to_utc(value, zone))?,
        (Type::Timestamptz, Type::Timestamp) => checked(datetime::to_local(value, zone).0)?,
        (Type::Timestamp, Type::Time) => value.rem_euclid(DAY_US),
        (Type::Timestamptz, Type::Time) => datetime::to_local(value, zone).0.rem_euclid(DAY_US),
        (Type::Time, Type::Interval) => return Interval { months: 0, days: 0, time_us: value }.to_value(),
        _ => return Err(impossible(from, to)),
    }))
}

/// Makes a value of a type fit a column's modifier (-1: anything fits).
pub fn apply_typmod(value: Value, type_: Type, typmod: i32, explicit: bool) -> Result<Value, Error> {
    if typmod < 0 {
        return Ok(match (value, type_) {
            (Value::Text(text), Type::Bpchar) => Value::Text(strip_blanks(text)),
            (value, _) => value,
        });
    }
    match (value, type_) {
        (Value::Text(text), Type::Varchar | Type::Bpchar) => {
            let text = fit(text, type_, (typmod - 4).max(0) as usize, explicit)?;
            Ok(Value::Text(if type_ == Type::Bpchar { strip_blanks(text) } else { text }))
        }
        (Value::Text(text), Type::Numeric) => Ok(Numeric::parse(&text)?.apply_typmod(typmod)?.to_value()),
        (Value::Int(value), Type::Time | Type::Timestamp | Type::Timestamptz) => {
            Ok(Value::Int(datetime::round_to(value, typmod)))
        }
        (Value::Text(text), Type::Interval) => Interval::from_stored(&text)?.apply_typmod(typmod).to_value(),
        (value, _) => Ok(value),
    }
}

fn strip_blanks(mut text: String) -> String {
    text.truncate(text.trim_end_matches(' ').len());
    text
}

/// Cuts a text to a number of characters; only blanks may be lost unless the cast was explicit.
fn fit(mut text: String, type_: Type, most: usize, explicit: bool) -> Result<String, Error> {
    if text.len() <= most {
        return Ok(text);
    }
    let Some((end, _)) = text.char_indices().nth(most) else { return Ok(text) };
    if !explicit && text[end..].contains(|c| c != ' ') {
        return Err(Error::new(
            Condition::StringDataRightTruncation,
            format!("value too long for type {}({most})", type_.name()),
        ));
    }
    text.truncate(end);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explicit(text: &str, from: Type, to: Type, typmod: i32) -> Result<String, Error> {
        let context = TextContext::default();
        let value = cast(input(from, -1, text, &context)?, from, to, typmod, CastKind::Explicit, &context)?;
        let mut out = Vec::new();
        output(to, typmod, value.as_datum(), &context, &mut out);
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn casts_give_what_postgresql_gives() {
        use Type::*;
        for (text, from, to, shown) in [
            ("2.5", Float8, Int4, "2"),
            ("3.5", Float8, Int4, "4"),
            ("2.5", Numeric, Int4, "3"),
            ("-2.5", Numeric, Int8, "-3"),
            ("0.1", Float8, Numeric, "0.1"),
            ("1e20", Float8, Numeric, "100000000000000000000"),
            ("1.10", Numeric, Float8, "1.1"),
            ("t", Bool, Text, "true"),
            ("1", Int4, Bool, "t"),
            ("2024-02-29", Date, Timestamp, "2024-02-29 00:00:00"),
            ("2024-02-29 23:59", Timestamp, Date, "2024-02-29"),
            ("2024-02-29 23:59", Timestamp, Time, "23:59:00"),
            ("12", Text, Int4, "12"),
            ("-1", Int4, Oid, "4294967295"),
        ] {
            assert_eq!(explicit(text, from, to, -1).unwrap(), shown, "{text} {from:?} {to:?}");
        }
        assert_eq!(explicit("70000", Int4, Int2, -1).unwrap_err().to_string(), "smallint out of range (22003)");
        assert_eq!(explicit("1e10", Float8, Int4, -1).unwrap_err().to_string(), "integer out of range (22003)");
        assert_eq!(explicit("1", Int4, Date, -1).unwrap_err().to_string(), "cannot cast type integer to date (42846)");
    }

    #[test]
    fn lengths_are_kept() {
        let typmod = 4 + 5;
        assert_eq!(explicit("abcdefg", Type::Text, Type::Varchar, typmod).unwrap(), "abcde");
        assert_eq!(explicit("ab", Type::Text, Type::Bpchar, typmod).unwrap(), "ab   ");
        let assign = |text: &str, type_| apply_typmod(Value::Text(text.into()), type_, typmod, false);
        assert_eq!(
            assign("abcdef", Type::Varchar).unwrap_err().to_string(),
            "value too long for type character varying(5) (22001)"
        );
        assert_eq!(
            assign("abcdef", Type::Bpchar).unwrap_err().to_string(),
            "value too long for type character(5) (22001)"
        );
        assert_eq!(assign("abc    ", Type::Varchar).unwrap(), Value::Text("abc  ".into()));
        assert_eq!(assign("äöüßé", Type::Varchar).unwrap(), Value::Text("äöüßé".into()));
    }
}
