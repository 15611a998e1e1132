//! Dates and times from numbers, spans between them, bins, and whether periods overlap.

use super::super::arguments::{float, int, text, truth};
use super::super::{Function, Host};
use super::{shift, timestamp_out_of_range, timestamptz_interval};
use crate::error::{Condition, Error};
use crate::sql::types::Type::{Bool, Date, Float8, Int4, Interval as IntervalType, Text, Time, Timestamp, Timestamptz};
use crate::sql::types::calendar::*;
use crate::sql::types::datetime::{Zone, to_utc};
use crate::sql::types::interval::{Interval, out_of_range};
use crate::sql::types::{Datum, Value};

/// Functions of this module.
pub(in crate::sql::functions) const TABLE: &[Function] = &[
    Function::call("make_date", &[Int4, Int4, Int4], Date, "pg_make_date", make_date),
    Function::call("make_time", &[Int4, Int4, Float8], Time, "pg_make_time", |_, a| {
        clock(int(a, 0)?, int(a, 1)?, float(a, 2)?).map(Value::Int)
    }),
    Function::call(
        "make_timestamp",
        &[Int4, Int4, Int4, Int4, Int4, Float8],
        Timestamp,
        "pg_make_timestamp",
        |_, a| make_timestamp(a).map(Value::Int),
    ),
    Function::call(
        "make_timestamptz",
        &[Int4, Int4, Int4, Int4, Int4, Float8],
        Timestamptz,
        "pg_make_timestamptz",
        |host, a| checked(to_utc(make_timestamp(a)?, &host.text_context().time_zone)),
    )
    .stable(),
    Function::call(
        "make_timestamptz",
        &[Int4, Int4, Int4, Int4, Int4, Float8, Text],
        Timestamptz,
        "pg_make_timestamptz_at",
        |_, a| checked(argument_zone(text(a, 6)?)?.to_utc(make_timestamp(a)?)),
    )
    .stable(),
    Function::call(
        "make_interval",
        &[Int4, Int4, Int4, Int4, Int4, Int4, Float8],
        IntervalType,
        "pg_make_interval",
        make_interval,
    ),
    Function::call("date_bin", &[IntervalType, Timestamp, Timestamp], Timestamp, "pg_date_bin", date_bin),
    Function::call("date_bin", &[IntervalType, Timestamptz, Timestamptz], Timestamptz, "pg_date_bin", date_bin),
    Function::call("overlaps", &[Timestamp, Timestamp, Timestamp, Timestamp], Bool, "pg_overlaps", overlaps).lenient(),
    Function::call("overlaps", &[Timestamp, IntervalType, Timestamp, Timestamp], Bool, "pg_overlaps_ts", plain)
        .lenient(),
    Function::call("overlaps", &[Timestamp, Timestamp, Timestamp, IntervalType], Bool, "pg_overlaps_ts", plain)
        .lenient(),
    Function::call("overlaps", &[Timestamp, IntervalType, Timestamp, IntervalType], Bool, "pg_overlaps_ts", plain)
        .lenient(),
    Function::call("overlaps", &[Timestamptz, Timestamptz, Timestamptz, Timestamptz], Bool, "pg_overlaps", overlaps)
        .lenient(),
    Function::call("overlaps", &[Timestamptz, IntervalType, Timestamptz, Timestamptz], Bool, "pg_overlaps_tz", zoned)
        .lenient()
        .stable(),
    Function::call("overlaps", &[Timestamptz, Timestamptz, Timestamptz, IntervalType], Bool, "pg_overlaps_tz", zoned)
        .lenient()
        .stable(),
    Function::call("overlaps", &[Timestamptz, IntervalType, Timestamptz, IntervalType], Bool, "pg_overlaps_tz", zoned)
        .lenient()
        .stable(),
    Function::call("overlaps", &[Time, Time, Time, Time], Bool, "pg_overlaps", overlaps).lenient(),
    Function::call("overlaps", &[Time, IntervalType, Time, Time], Bool, "pg_overlaps_time", timed).lenient(),
    Function::call("overlaps", &[Time, Time, Time, IntervalType], Bool, "pg_overlaps_time", timed).lenient(),
    Function::call("overlaps", &[Time, IntervalType, Time, IntervalType], Bool, "pg_overlaps_time", timed).lenient(),
];

fn overflow(message: String) -> Error {
    Error::new(Condition::DatetimeFieldOverflow, message)
}

fn checked(value: i64) -> Result<Value, Error> {
    if (MIN_TIMESTAMP..END_TIMESTAMP).contains(&value) { Ok(Value::Int(value)) } else { Err(timestamp_out_of_range()) }
}

/// A number with six significant digits, as C's `%g` shows it.
pub(super) fn general(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let scientific = format!("{value:.5e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trimmed = |text: &str| {
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text.to_owned() }
    };
    if (-4..6).contains(&exponent) {
        trimmed(&format!("{value:.*}", (5 - exponent).max(0) as usize))
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{}e{sign}{:02}", trimmed(digits), exponent.abs())
    }
}

/// "12:05:07.5", with the seconds as they were given.
fn shown_time(hour: i64, minute: i64, second: f64) -> String {
    format!("{hour}:{minute:02}:{:0>2}", general(second))
}

fn clock(hour: i64, minute: i64, second: f64) -> Result<i64, Error> {
    let second_us = (second * 1e6).round_ties_even();
    let whole = (0..=24).contains(&hour) && (0..=59).contains(&minute) && (0.0..=60e6).contains(&second_us);
    let time = if whole { hour * HOUR_US + minute * MINUTE_US + second_us as i64 } else { i64::MAX };
    if time > DAY_US {
        return Err(overflow(format!("time field value out of range: {}", shown_time(hour, minute, second))));
    }
    Ok(time)
}

fn civil(year: i64, month: i64, day: i64) -> Result<i64, Error> {
    let shown = format!("{year}-{month:02}-{day:02}");
    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return Err(overflow(format!("date field value out of range: {shown}")));
    }
    let days = days_from_civil(year, month, day);
    if !(MIN_DAY..END_DATE).contains(&days) {
        return Err(overflow(format!("date out of range: {shown}")));
    }
    Ok(days)
}

fn make_date(_: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    civil_of(int(a, 0)?, int(a, 1)?, int(a, 2)?).map(Value::Int)
}

/// A date whose year is negative before Christ.
fn civil_of(year: i64, month: i64, day: i64) -> Result<i64, Error> {
    if year == 0 {
        return Err(overflow(format!("date field value out of range: {year}-{month:02}-{day:02}")));
    }
    civil(if year < 0 { year + 1 } else { year }, month, day)
}

fn make_timestamp(a: &[Datum<'_>]) -> Result<i64, Error> {
    let (year, month, day) = (int(a, 0)?, int(a, 1)?, int(a, 2)?);
    let (hour, minute, second) = (int(a, 3)?, int(a, 4)?, float(a, 5)?);
    // A year that is refused is shown as it was given.
    let days = civil_of(year, month, day).map_err(|error| {
        if year < 0 {
            return overflow(format!("date field value out of range: {year}-{month:02}-{day:02}"));
        }
        error
    })?;
    let time = clock(hour, minute, second)?;
    let value = days.checked_mul(DAY_US).and_then(|value| value.checked_add(time));
    value.filter(|value| (MIN_TIMESTAMP..END_TIMESTAMP).contains(value)).ok_or_else(|| {
        let time = shown_time(hour, minute, second);
        overflow(format!("timestamp out of range: {year}-{month:02}-{day:02} {time}"))
    })
}

/// The zone that make_timestamptz() is given: here a number counts east.
fn argument_zone(name: &str) -> Result<Zone, Error> {
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(Error::new(
            Condition::InvalidParameterValue,
            format!("invalid input syntax for type numeric time zone: \"{name}\""),
        )
        .hint("Numeric time zones must have \"-\" or \"+\" as first character."));
    }
    if name.starts_with(['+', '-']) {
        let unknown = || Error::new(Condition::InvalidParameterValue, format!("time zone \"{name}\" not recognized"));
        let east = crate::sql::types::datetime::offset_of(name).map_err(|out_of_range| {
            if out_of_range {
                Error::new(Condition::InvalidParameterValue, format!("numeric time zone \"{name}\" out of range"))
            } else {
                unknown()
            }
        })?;
        return Ok(Zone::Offset(east));
    }
    super::zone(name)
}

fn make_interval(_: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    let seconds = float(a, 6)?;
    if !seconds.is_finite() {
        return Err(out_of_range());
    }
    let time = (seconds * 1e6).round_ties_even();
    // Too many of them wrap around in PostgreSQL.
    let months = i64::from((int(a, 0)? * 12 + int(a, 1)?) as i32);
    let days = i64::from((int(a, 2)? * 7 + int(a, 3)?) as i32);
    let time_us = int(a, 4)?
        .checked_mul(HOUR_US)
        .and_then(|time| time.checked_add(int(a, 5).ok()?.checked_mul(MINUTE_US)?))
        .and_then(|sum| sum.checked_add(time as i64))
        .ok_or_else(out_of_range)?;
    Interval { months, days, time_us }.to_value()
}

fn date_bin(_: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    let (stride, value, origin) = (Interval::from_stored(text(a, 0)?)?, int(a, 1)?, int(a, 2)?);
    if value == i64::MAX || value == i64::MIN {
        return Ok(Value::Int(value));
    }
    if origin == i64::MAX || origin == i64::MIN {
        return Err(overflow("origin out of range".to_owned()));
    }
    if stride.months != 0 {
        return Err(Error::new(
            Condition::FeatureNotSupported,
            "timestamps cannot be binned into intervals containing months or years",
        ));
    }
    let length = stride.days.checked_mul(DAY_US).and_then(|days| days.checked_add(stride.time_us));
    let length = length.ok_or_else(out_of_range)?;
    if length <= 0 {
        return Err(overflow("stride must be greater than zero".to_owned()));
    }
    let distance = value.checked_sub(origin).ok_or_else(out_of_range)?;
    checked(value - distance.rem_euclid(length))
}

/// What lies between two timestamps in years, months, days and time.
pub(super) fn age(a: i64, b: i64) -> Result<Value, Error> {
    // Infinity counts as the last moment that there is a number for.
    if [a, b].contains(&i64::MIN) {
        return Err(timestamp_out_of_range());
    }
    let (late, early) = (a.max(b), a.min(b));
    let fields = |value: i64| (civil_from_days(value.div_euclid(DAY_US)), value.rem_euclid(DAY_US));
    let (((y2, m2, d2), late_time), ((y1, m1, d1), early_time)) = (fields(late), fields(early));
    let (mut months, mut days, mut time_us) = ((y2 - y1) * 12 + m2 - m1, d2 - d1, late_time - early_time);
    if time_us < 0 {
        time_us += DAY_US;
        days -= 1;
    }
    // The days of the earlier date's month make up what is missing.
    while days < 0 {
        days += days_in_month(y1, m1);
        months -= 1;
    }
    let result = Interval { months, days, time_us };
    if a < b { result.negate()?.to_value() } else { result.to_value() }
}

fn plain(_: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    ends(a, |from, span| shift(from, Interval::from_stored(span)?))
}

fn zoned(host: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    ends(a, |from, span| match timestamptz_interval(host, &[Datum::Int(from), Datum::Text(span)], false)? {
        Value::Int(value) => Ok(value),
        _ => Err(timestamp_out_of_range()),
    })
}

fn timed(_: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    ends(a, |from, span| Ok((from + Interval::from_stored(span)?.time_us % DAY_US).rem_euclid(DAY_US)))
}

/// Periods whose ends may be given as their lengths.
fn ends(a: &[Datum<'_>], add: impl Fn(i64, &str) -> Result<i64, Error>) -> Result<Value, Error> {
    let mut places = [Datum::Null; 4];
    for (at, place) in places.iter_mut().enumerate() {
        *place = match (a.get(at).copied(), a.get(at & 2).copied()) {
            (Some(Datum::Text(span)), Some(Datum::Int(from))) => Datum::Int(add(from, span)?),
            (Some(Datum::Int(value)), _) => Datum::Int(value),
            _ => Datum::Null,
        };
    }
    overlap(&places)
}

fn overlaps(_: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    overlap(a)
}

/// SQL's rule: a period is given by its ends in either order, and one of them may be missing.
fn overlap(a: &[Datum<'_>]) -> Result<Value, Error> {
    let at = |index: usize| match a.get(index) {
        Some(Datum::Int(value)) => Some(*value),
        _ => None,
    };
    let period = |from: Option<i64>, to: Option<i64>| match (from, to) {
        (Some(from), Some(to)) => Some((from.min(to), Some(from.max(to)))),
        (one, other) => one.or(other).map(|only| (only, None)),
    };
    let (Some(first), Some(second)) = (period(at(0), at(1)), period(at(2), at(3))) else { return Ok(Value::Null) };
    let (first, second) = if first.0 > second.0 { (second, first) } else { (first, second) };
    if first.0 == second.0 {
        // Periods that begin together overlap, unless an end is missing.
        return Ok(if first.1.is_some() && second.1.is_some() { truth(true) } else { Value::Null });
    }
    Ok(match first.1 {
        Some(end) if second.0 < end => truth(true),
        Some(_) if second.1.is_some() => truth(false),
        _ => Value::Null,
    })
}
