//! RANGE frames with an offset: what is sorted by, and the distance from it, as numbers that SQLite can add.
//!
//! Times are microseconds, a numeric counts millionths. A value that is not such a whole number is refused rather than
//! rounded.

use super::Host;
use crate::error::{Condition, Error};
use crate::sql::types::interval::Interval;
use crate::sql::types::numeric::Numeric;
use crate::sql::types::{Datum, Type, Value};

const DAY_US: i64 = 86_400_000_000;

/// Decimal places of a numeric that count.
const NUMERIC_PLACES: u32 = 6;

/// See [`super::guards::FRAME_KEY`].
pub(super) fn key(_: &dyn Host, arguments: &[Datum<'_>]) -> Result<Value, Error> {
    let [value, Datum::Int(oid)] = arguments else { return Err(Error::internal("a frame's key without a type")) };
    let type_ = u32::try_from(*oid).ok().and_then(Type::from_oid);
    match (value, type_) {
        (Datum::Null, _) => Ok(Value::Null),
        (Datum::Int(days), Some(Type::Date)) => {
            // Infinity stays beyond every other date.
            Ok(Value::Int(days.saturating_mul(DAY_US)))
        }
        (Datum::Text(text), Some(Type::Numeric)) => millionths(text).map(Value::Int),
        (Datum::Text(text), Some(Type::Interval)) => span_us(Interval::from_stored(text)?).map(Value::Int),
        (value, _) => Ok(value.to_value()),
    }
}

/// See [`super::guards::FRAME_OFFSET`].
pub(super) fn offset(_: &dyn Host, arguments: &[Datum<'_>]) -> Result<Value, Error> {
    let [value, Datum::Text(end), Datum::Int(oid)] = arguments else {
        return Err(Error::internal("a frame's offset without a type"));
    };
    let negative = |ranged: bool| {
        let message = if ranged {
            "invalid preceding or following size in window function".to_owned()
        } else {
            format!("frame {end} offset must not be negative")
        };
        Error::new(Condition::InvalidPrecedingOrFollowingSize, message)
    };
    let type_ = u32::try_from(*oid).ok().and_then(Type::from_oid);
    match (value, type_) {
        (Datum::Null, _) => {
            Err(Error::new(Condition::NullValueNotAllowed, format!("frame {end} offset must not be null")))
        }
        (Datum::Int(count), None) if *count < 0 => Err(negative(false)),
        (Datum::Int(distance), Some(_)) if *distance < 0 => Err(negative(true)),
        (Datum::Float(distance), _) if *distance < 0.0 || distance.is_nan() => Err(negative(true)),
        (Datum::Text(text), Some(Type::Numeric)) => match millionths(text)? {
            distance if distance < 0 => Err(negative(true)),
            distance => Ok(Value::Int(distance)),
        },
        (Datum::Text(_), Some(Type::Float4 | Type::Float8)) => Err(negative(true)),
        (Datum::Text(text), Some(type_)) => {
            let interval = Interval::from_stored(text)?;
            let distance = match type_ {
                // A time of day moves by the time alone.
                Type::Time => interval.time_us,
                Type::Interval => span_us(interval)?,
                _ if interval.months != 0 => {
                    return Err(Error::unsupported("a RANGE frame with an offset of months"));
                }
                _ => span_us(interval)?,
            };
            if distance < 0 { Err(negative(true)) } else { Ok(Value::Int(distance)) }
        }
        (value, _) => Ok(value.to_value()),
    }
}

/// A numeric in millionths.
fn millionths(text: &str) -> Result<i64, Error> {
    let scaled = Numeric::parse(text)?.mul(&Numeric::from_int(10i64.pow(NUMERIC_PLACES)))?;
    let whole = scaled
        .to_i64()
        .filter(|whole| Numeric::from_int(*whole).sub(&scaled).is_ok_and(|rest| rest.signum() == Some(0)));
    whole.ok_or_else(|| {
        Error::unsupported(format!(
            "a RANGE frame with an offset over a numeric of more than {NUMERIC_PLACES} decimals or 12 digits"
        ))
    })
}

/// An interval's length as intervals are compared: a month has 30 days, a day 24 hours.
fn span_us(interval: Interval) -> Result<i64, Error> {
    let days = interval.months * 30 + interval.days;
    let whole = days.checked_mul(DAY_US).and_then(|us| us.checked_add(interval.time_us));
    whole.ok_or_else(|| Error::unsupported("a RANGE frame over an interval this long"))
}
