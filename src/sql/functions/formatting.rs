//! to_char, to_date, to_timestamp and to_number: values by a template.

mod dates;
mod numbers;
mod read;
mod template;
mod to_number;

use super::arguments::{float, int, numeric, text};
use super::{Function, Host};
use crate::error::{Condition, Error};
use crate::sql::types::Type::{
    Date, Float4, Float8, Int4, Int8, Interval as IntervalType, Numeric as NumericType, Text, Timestamp, Timestamptz,
};
use crate::sql::types::calendar::*;
use crate::sql::types::datetime::{to_local, to_utc, zone_abbreviation};
use crate::sql::types::interval::Interval;
use crate::sql::types::{Datum, Value, apply_typmod};
use dates::Moment;

/// Digits that a float4 and a float8 have for certain.
const FLOAT4_DIGITS: usize = 6;
const FLOAT8_DIGITS: usize = 15;

/// Functions of this module.
pub(super) const TABLE: &[Function] = &[
    Function::call("to_char", &[Timestamp, Text], Text, "pg_timestamp_to_char", |_, a| {
        moment(int(a, 0)?, text(a, 1)?, "", 0)
    })
    .stable(),
    Function::call("to_char", &[Timestamptz, Text], Text, "pg_timestamptz_to_char", |h, a| {
        let (value, zone) = (int(a, 0)?, h.text_context().time_zone);
        let (local, offset) = to_local(value, &zone);
        moment(local, text(a, 1)?, &zone_abbreviation(value, &zone), offset)
    })
    .stable(),
    Function::call("to_char", &[IntervalType, Text], Text, "pg_interval_to_char", |_, a| {
        let interval = Interval::from_stored(text(a, 0)?)?;
        shown(text(a, 1)?, |template| Moment::of_interval(interval).text(template))
    })
    .stable(),
    Function::call("to_char", &[Int4, Text], Text, "pg_int4_to_char", |_, a| {
        let range = (i64::from(i32::MIN), i64::from(i32::MAX));
        numbers::of_integer(int(a, 0)?, text(a, 1)?, "integer", range).map(Value::Text)
    })
    .stable(),
    Function::call("to_char", &[Int8, Text], Text, "pg_int8_to_char", |_, a| {
        numbers::of_integer(int(a, 0)?, text(a, 1)?, "bigint", (i64::MIN, i64::MAX)).map(Value::Text)
    })
    .stable(),
    Function::call("to_char", &[Float4, Text], Text, "pg_float4_to_char", |_, a| {
        numbers::of_float(float(a, 0)?, text(a, 1)?, FLOAT4_DIGITS).map(Value::Text)
    })
    .stable(),
    Function::call("to_char", &[Float8, Text], Text, "pg_float8_to_char", |_, a| {
        numbers::of_float(float(a, 0)?, text(a, 1)?, FLOAT8_DIGITS).map(Value::Text)
    })
    .stable(),
    Function::call("to_char", &[NumericType, Text], Text, "pg_numeric_to_char", |_, a| {
        numbers::of_numeric(&numeric(a, 0)?, text(a, 1)?).map(Value::Text)
    })
    .stable(),
    Function::call("to_date", &[Text, Text], Date, "pg_to_date", |_, a| {
        Ok(Value::Int(read::read(text(a, 0)?, text(a, 1)?)?.days(text(a, 0)?)?))
    })
    .stable(),
    Function::call("to_number", &[Text, Text], NumericType, "pg_to_number", |_, a| {
        let template = text(a, 1)?;
        if template.is_empty() {
            return Ok(Value::Null);
        }
        Ok(to_number::read(text(a, 0)?, template)?.to_value())
    })
    .stable(),
];

/// to_timestamp(text, template).
pub(super) fn to_timestamp(host: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    let read = read::read(text(a, 0)?, text(a, 1)?)?;
    let instant = read.local().map(|local| match read.offset_s {
        Some(offset) => local - offset * SECOND_US,
        None => to_utc(local, &host.text_context().time_zone),
    });
    let instant = instant
        .filter(|instant| (MIN_TIMESTAMP..END_TIMESTAMP).contains(instant))
        .ok_or_else(|| Error::new(Condition::DatetimeFieldOverflow, "timestamp out of range"))?;
    apply_typmod(Value::Int(instant), Timestamptz, read.precision.unwrap_or(-1), false)
}

/// A template that says nothing gives NULL for a date.
fn shown(template: &str, of: impl FnOnce(&str) -> Result<String, Error>) -> Result<Value, Error> {
    if template.is_empty() { Ok(Value::Null) } else { of(template).map(Value::Text) }
}

fn moment(local: i64, template: &str, zone: &str, offset_s: i64) -> Result<Value, Error> {
    if local == i64::MAX || local == i64::MIN {
        return Ok(Value::Null);
    }
    shown(template, |template| Moment::of(local, zone, offset_s).text(template))
}

#[cfg(test)]
mod tests;
