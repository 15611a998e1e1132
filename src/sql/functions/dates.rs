//! Dates, times and intervals: operators and functions.

mod fields;
pub(super) mod make;

use std::cmp::Ordering;

use super::arguments::{float, int, text, truth};
use super::{Function, Host};
use crate::error::{Condition, Error};
use crate::sql::types::Type::{
    Bool, Date, Float8, Interval as IntervalType, Numeric as NumericType, Text, Time, Timestamp, Timestamptz,
};
use crate::sql::types::calendar::*;
use crate::sql::types::datetime::{Zone, to_local, to_utc};
use crate::sql::types::interval::{Interval, out_of_range};
use crate::sql::types::{CastKind, Datum, IntervalStyle, Type, Value, cast, date_to_timestamp};

/// Functions of this module.
pub(super) const TABLE: &[Function] = &[
    Function::call("date_trunc", &[Text, Timestamp], Timestamp, "pg_timestamp_trunc", |_, a| {
        fields::truncate(text(a, 0)?, int(a, 1)?).map(Value::Int)
    }),
    Function::call("date_trunc", &[Text, Timestamptz], Timestamptz, "pg_timestamptz_trunc", |h, a| {
        fields::truncate_zoned(h, text(a, 0)?, int(a, 1)?).map(Value::Int)
    })
    .stable(),
    Function::call("date_trunc", &[Text, Timestamptz, Text], Timestamptz, "pg_timestamptz_trunc_zone", |_, a| {
        let value = int(a, 1)?;
        if value == i64::MAX || value == i64::MIN {
            return Ok(Value::Int(value));
        }
        fields::truncate_in(&zone(text(a, 2)?)?, text(a, 0)?, value).map(Value::Int)
    })
    .stable(),
    Function::call("date_trunc", &[Text, IntervalType], IntervalType, "pg_interval_trunc", |_, a| {
        fields::truncate_interval(text(a, 0)?, Interval::from_stored(text(a, 1)?)?)?.to_value()
    }),
    Function::call("date_part", &[Text, Date], Float8, "pg_date_part_date", |_, a| {
        fields::float(fields::of_midnight(text(a, 0)?, int(a, 1)?)?)
    }),
    Function::call("date_part", &[Text, Timestamp], Float8, "pg_timestamp_part", |_, a| {
        fields::float(fields::of_timestamp(text(a, 0)?, int(a, 1)?)?)
    }),
    Function::call("date_part", &[Text, Timestamptz], Float8, "pg_timestamptz_part", |h, a| {
        fields::float(fields::of_timestamptz(h, a)?)
    })
    .stable(),
    Function::call("date_part", &[Text, Time], Float8, "pg_time_part", |_, a| {
        fields::float(fields::of_time(text(a, 0)?, int(a, 1)?)?)
    }),
    Function::call("date_part", &[Text, IntervalType], Float8, "pg_interval_part", |_, a| {
        fields::float(fields::of_interval(a)?)
    }),
    Function::call("extract", &[Text, Date], NumericType, "pg_extract_date", |_, a| {
        fields::numeric(fields::of_date(text(a, 0)?, int(a, 1)?)?)
    }),
    Function::call("extract", &[Text, Timestamp], NumericType, "pg_extract_timestamp", |_, a| {
        fields::numeric(fields::of_timestamp(text(a, 0)?, int(a, 1)?)?)
    }),
    Function::call("extract", &[Text, Timestamptz], NumericType, "pg_extract_timestamptz", |h, a| {
        fields::numeric(fields::of_timestamptz(h, a)?)
    })
    .stable(),
    Function::call("extract", &[Text, Time], NumericType, "pg_extract_time", |_, a| {
        fields::numeric(fields::of_time(text(a, 0)?, int(a, 1)?)?)
    }),
    Function::call("extract", &[Text, IntervalType], NumericType, "pg_extract_interval", |_, a| {
        fields::numeric(fields::of_interval(a)?)
    }),
    Function::call("age", &[Timestamp, Timestamp], IntervalType, "pg_timestamp_age", |_, a| {
        make::age(int(a, 0)?, int(a, 1)?)
    }),
    Function::call("age", &[Timestamptz, Timestamptz], IntervalType, "pg_timestamptz_age", |h, a| {
        let zone = h.text_context().time_zone;
        make::age(to_local(int(a, 0)?, &zone).0, to_local(int(a, 1)?, &zone).0)
    })
    .stable(),
    Function::call("age", &[Timestamp], IntervalType, "pg_timestamp_age_today", |h, a| make::age(today(h), int(a, 0)?))
        .stable(),
    Function::call("age", &[Timestamptz], IntervalType, "pg_timestamptz_age_today", |h, a| {
        make::age(today(h), to_local(int(a, 0)?, &h.text_context().time_zone).0)
    })
    .stable(),
    Function::call("to_timestamp", &[Float8], Timestamptz, "pg_float8_timestamptz", |_, a| {
        let seconds = float(a, 0)?;
        if seconds.is_infinite() {
            return Ok(Value::Int(if seconds > 0.0 { i64::MAX } else { i64::MIN }));
        }
        if seconds.is_nan() {
            return Err(Error::new(Condition::DatetimeFieldOverflow, "timestamp cannot be NaN"));
        }
        let value = ((seconds - UNIX_OFFSET_S as f64) * 1e6).round_ties_even();
        if value < MIN_TIMESTAMP as f64 || value >= END_TIMESTAMP as f64 {
            let message = format!("timestamp out of range: \"{}\"", make::general(seconds));
            return Err(Error::new(Condition::DatetimeFieldOverflow, message));
        }
        Ok(Value::Int(value as i64))
    }),
    Function::call("to_timestamp", &[Text, Text], Timestamptz, "pg_to_timestamp_text", super::formatting::to_timestamp)
        .stable(),
    Function::call("isfinite", &[IntervalType], Bool, "pg_interval_finite", |_, _| Ok(truth(true))),
    Function::call("isfinite", &[Date], Bool, "pg_date_finite", |_, a| {
        let days = int(a, 0)?;
        Ok(truth(days != i64::from(i32::MAX) && days != i64::from(i32::MIN)))
    }),
    Function::call("isfinite", &[Timestamp], Bool, "pg_timestamp_finite", timestamp_finite),
    Function::call("isfinite", &[Timestamptz], Bool, "pg_timestamp_finite", timestamp_finite),
    Function::call("justify_hours", &[IntervalType], IntervalType, "pg_justify_hours", |_, a| {
        justify(Interval::from_stored(text(a, 0)?)?, true, false)
    }),
    Function::call("justify_days", &[IntervalType], IntervalType, "pg_justify_days", |_, a| {
        justify(Interval::from_stored(text(a, 0)?)?, false, true)
    }),
    Function::call("justify_interval", &[IntervalType], IntervalType, "pg_justify_interval", |_, a| {
        justify(Interval::from_stored(text(a, 0)?)?, true, true)
    }),
    Function::call("clock_timestamp", &[], Timestamptz, "pg_clock_timestamp", |h, _| {
        Ok(Value::Int(h.clock_timestamp()))
    })
    .volatile(),
    Function::call("timezone", &[Text, Timestamp], Timestamptz, "pg_timestamp_zone", |_, a| {
        moved(int(a, 1)?, |value| Ok(zone(text(a, 0)?)?.to_utc(value)))
    }),
    Function::call("timezone", &[Text, Timestamptz], Timestamp, "pg_timestamptz_zone", |_, a| {
        moved(int(a, 1)?, |value| Ok(zone(text(a, 0)?)?.to_local(value)))
    }),
    Function::call("timezone", &[IntervalType, Timestamp], Timestamptz, "pg_timestamp_izone", |_, a| {
        moved(int(a, 1)?, |value| Ok(interval_zone(text(a, 0)?)?.to_utc(value)))
    }),
    Function::call("timezone", &[IntervalType, Timestamptz], Timestamp, "pg_timestamptz_izone", |_, a| {
        moved(int(a, 1)?, |value| Ok(interval_zone(text(a, 0)?)?.to_local(value)))
    }),
];

/// The beginning of today in the session's zone.
fn today(host: &dyn Host) -> i64 {
    let local = to_local(host.transaction_timestamp(), &host.text_context().time_zone).0;
    local.div_euclid(DAY_US) * DAY_US
}

fn zone(name: &str) -> Result<Zone, Error> {
    Zone::by_name(name)
        .ok_or_else(|| Error::new(Condition::InvalidParameterValue, format!("time zone \"{name}\" not recognized")))
}

/// A distance from Greenwich as a zone; fractions of a second do not count.
fn interval_zone(stored: &str) -> Result<Zone, Error> {
    let interval = Interval::from_stored(stored)?;
    if interval.months != 0 || interval.days != 0 {
        let mut shown = Vec::new();
        interval.write(IntervalStyle::Postgres, &mut shown);
        let message =
            format!("interval time zone \"{}\" must not include months or days", String::from_utf8_lossy(&shown));
        return Err(Error::new(Condition::InvalidParameterValue, message));
    }
    Ok(Zone::Offset(interval.time_us / SECOND_US))
}

/// A timestamp in another zone; infinity is the same everywhere, even where there is no such zone.
fn moved(value: i64, to: impl FnOnce(i64) -> Result<i64, Error>) -> Result<Value, Error> {
    if value == i64::MAX || value == i64::MIN {
        return Ok(Value::Int(value));
    }
    let moved = to(value)?;
    if (MIN_TIMESTAMP..END_TIMESTAMP).contains(&moved) { Ok(Value::Int(moved)) } else { Err(timestamp_out_of_range()) }
}

fn timestamp_out_of_range() -> Error {
    Error::new(Condition::DatetimeFieldOverflow, "timestamp out of range")
}

/// The first two arguments the other way round.
pub fn swapped<'a>(arguments: &[Datum<'a>]) -> [Datum<'a>; 2] {
    let at = |index: usize| arguments.get(index).copied().unwrap_or(Datum::Null);
    [at(1), at(0)]
}

/// Orders two dates or timestamps of different types.
pub fn compare(host: &dyn Host, arguments: &[Datum<'_>], left: Type, right: Type) -> Result<Ordering, Error> {
    let target = if left == Timestamptz || right == Timestamptz { Timestamptz } else { Timestamp };
    let context = host.text_context();
    let convert = |index: usize, from: Type| -> Result<i64, Error> {
        let days = int(arguments, index)?;
        // A day after all timestamps is later than each but infinity.
        if from == Date && days != i64::from(i32::MAX) && days >= END_TIMESTAMP / DAY_US {
            return Ok(END_TIMESTAMP);
        }
        match cast(Value::Int(int(arguments, index)?), from, target, -1, CastKind::Implicit, &context)? {
            Value::Int(value) => Ok(value),
            _ => Err(Error::internal("a timestamp is stored as an integer")),
        }
    };
    Ok(convert(0, left)?.cmp(&convert(1, right)?))
}

/// date + integer.
pub fn add_days(date: i64, days: i64) -> Result<Value, Error> {
    if date == i64::from(i32::MAX) || date == i64::from(i32::MIN) {
        return Ok(Value::Int(date));
    }
    let sum = date.saturating_add(days);
    if !(MIN_DAY..END_DATE).contains(&sum) {
        return Err(Error::new(Condition::DatetimeFieldOverflow, "date out of range"));
    }
    Ok(Value::Int(sum))
}

/// date - date.
pub fn days_between(arguments: &[Datum<'_>]) -> Result<Value, Error> {
    let (a, b) = (int(arguments, 0)?, int(arguments, 1)?);
    let infinite = |days: i64| days == i64::from(i32::MAX) || days == i64::from(i32::MIN);
    if infinite(a) || infinite(b) {
        return Err(Error::new(Condition::DatetimeFieldOverflow, "cannot subtract infinite dates"));
    }
    Ok(Value::Int(a - b))
}

fn shift(value: i64, interval: Interval) -> Result<i64, Error> {
    if value == i64::MAX || value == i64::MIN {
        return Ok(value);
    }
    let (days, time) = (value.div_euclid(DAY_US), value.rem_euclid(DAY_US));
    let days = add_months(days, interval.months)? + interval.days;
    days.checked_mul(DAY_US)
        .and_then(|value| value.checked_add(time))
        .and_then(|value| value.checked_add(interval.time_us))
        .filter(|value| (MIN_TIMESTAMP..END_TIMESTAMP).contains(value))
        .ok_or_else(timestamp_out_of_range)
}

/// A day some months later; the last of the month where the month is too short.
fn add_months(days: i64, months: i64) -> Result<i64, Error> {
    if months == 0 {
        return Ok(days);
    }
    let (year, month, day) = civil_from_days(days);
    let total = year * 12 + (month - 1) + months;
    let (year, month) = (total.div_euclid(12), total.rem_euclid(12) + 1);
    if !(-4800..=6_000_000).contains(&year) {
        return Err(timestamp_out_of_range());
    }
    Ok(days_from_civil(year, month, day.min(days_in_month(year, month))))
}

fn signed_interval(arguments: &[Datum<'_>], index: usize, negate: bool) -> Result<Interval, Error> {
    let interval = Interval::from_stored(text(arguments, index)?)?;
    if negate { interval.negate() } else { Ok(interval) }
}

/// date ± interval.
pub fn date_interval(arguments: &[Datum<'_>], negate: bool) -> Result<Value, Error> {
    shift(date_to_timestamp(int(arguments, 0)?)?, signed_interval(arguments, 1, negate)?).map(Value::Int)
}

/// timestamp ± interval.
pub fn timestamp_interval(arguments: &[Datum<'_>], negate: bool) -> Result<Value, Error> {
    shift(int(arguments, 0)?, signed_interval(arguments, 1, negate)?).map(Value::Int)
}

/// timestamptz ± interval: months and days by the session's calendar, the rest by the clock.
pub fn timestamptz_interval(host: &dyn Host, arguments: &[Datum<'_>], negate: bool) -> Result<Value, Error> {
    let (value, interval) = (int(arguments, 0)?, signed_interval(arguments, 1, negate)?);
    if value == i64::MAX || value == i64::MIN {
        return Ok(Value::Int(value));
    }
    let moved = if interval.months != 0 || interval.days != 0 {
        let zone = host.text_context().time_zone;
        to_utc(shift(to_local(value, &zone).0, Interval { time_us: 0, ..interval })?, &zone)
    } else {
        value
    };
    shift(moved, Interval { months: 0, days: 0, ..interval }).map(Value::Int)
}

/// interval ± interval.
pub fn add_intervals(arguments: &[Datum<'_>], negate: bool) -> Result<Value, Error> {
    signed_interval(arguments, 0, false)?.plus(signed_interval(arguments, 1, negate)?)?.to_value()
}

/// - interval.
pub fn negate_interval(arguments: &[Datum<'_>]) -> Result<Value, Error> {
    signed_interval(arguments, 0, true)?.to_value()
}

/// interval * float8.
pub fn scale_interval(interval: &str, factor: f64) -> Result<Value, Error> {
    Interval::from_stored(interval)?.scale(factor)?.to_value()
}

/// interval / float8.
pub fn divide_interval(interval: &str, divisor: f64) -> Result<Value, Error> {
    if divisor == 0.0 {
        return Err(super::arithmetic::division_by_zero());
    }
    Interval::from_stored(interval)?.divide(divisor)?.to_value()
}

/// timestamp - timestamp: days and time.
pub fn difference(arguments: &[Datum<'_>]) -> Result<Value, Error> {
    let (a, b) = (int(arguments, 0)?, int(arguments, 1)?);
    if [a, b].iter().any(|value| *value == i64::MAX || *value == i64::MIN) {
        return Err(Error::new(Condition::DatetimeFieldOverflow, "cannot subtract infinite timestamps"));
    }
    let span = a.checked_sub(b).ok_or_else(out_of_range)?;
    Interval { months: 0, days: span / DAY_US, time_us: span % DAY_US }.to_value()
}

/// time ± interval, around the clock.
pub fn time_interval(arguments: &[Datum<'_>], negate: bool) -> Result<Value, Error> {
    let interval = signed_interval(arguments, 1, negate)?;
    Ok(Value::Int((int(arguments, 0)? + interval.time_us % DAY_US).rem_euclid(DAY_US)))
}

/// time - time.
pub fn time_difference(arguments: &[Datum<'_>]) -> Result<Value, Error> {
    Interval { months: 0, days: 0, time_us: int(arguments, 0)? - int(arguments, 1)? }.to_value()
}

/// date + time.
pub fn date_time(arguments: &[Datum<'_>]) -> Result<Value, Error> {
    let interval = Interval { months: 0, days: 0, time_us: int(arguments, 1)? };
    shift(date_to_timestamp(int(arguments, 0)?)?, interval).map(Value::Int)
}

fn timestamp_finite(_: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    let value = int(a, 0)?;
    Ok(truth(value != i64::MAX && value != i64::MIN))
}

/// Moves whole days of 24 hours out of the time, whole months of 30 days out of the days; parts of unlike signs
/// are brought to one sign.
fn justify(mut interval: Interval, hours: bool, days: bool) -> Result<Value, Error> {
    if hours {
        interval.days += interval.time_us / DAY_US;
        interval.time_us %= DAY_US;
    }
    if days {
        interval.months += interval.days / 30;
        interval.days %= 30;
        let rest_is_negative = interval.days < 0 || (interval.days == 0 && hours && interval.time_us < 0);
        if interval.months > 0 && rest_is_negative {
            (interval.days, interval.months) = (interval.days + 30, interval.months - 1);
        } else if interval.months < 0 && (interval.days > 0 || (interval.days == 0 && hours && interval.time_us > 0)) {
            (interval.days, interval.months) = (interval.days - 30, interval.months + 1);
        }
    }
    if hours {
        if interval.days > 0 && interval.time_us < 0 {
            (interval.time_us, interval.days) = (interval.time_us + DAY_US, interval.days - 1);
        } else if interval.days < 0 && interval.time_us > 0 {
            (interval.time_us, interval.days) = (interval.time_us - DAY_US, interval.days + 1);
        }
    }
    interval.to_value()
}
