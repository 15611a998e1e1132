//! Dates, times and intervals: operators and functions.

use std::cmp::Ordering;

use super::arguments::{float, int, text, truth};
use super::{Function, Host};
use crate::error::{Condition, Error};
use crate::sql::types::Type::{
    Bool, Date, Float8, Int4, Interval as IntervalType, Numeric as NumericType, Text, Time, Timestamp, Timestamptz,
};
use crate::sql::types::calendar::*;
use crate::sql::types::datetime::{Zone, to_local, to_utc};
use crate::sql::types::interval::{Interval, out_of_range};
use crate::sql::types::numeric::Numeric;
use crate::sql::types::{CastKind, Datum, IntervalStyle, Type, Value, cast, date_to_timestamp, float_to_value};

/// Functions of this module.
pub(super) const TABLE: &[Function] = &[
    Function::call("date_trunc", &[Text, Timestamp], Timestamp, "pg_timestamp_trunc", |_, a| {
        truncate(text(a, 0)?, int(a, 1)?).map(Value::Int)
    }),
    Function::call("date_trunc", &[Text, Timestamptz], Timestamptz, "pg_timestamptz_trunc", |h, a| {
        let zone = h.text_context().time_zone;
        let value = int(a, 1)?;
        Ok(Value::Int(to_utc(truncate(text(a, 0)?, to_local(value, &zone).0)?, &zone)))
    })
    .stable(),
    Function::call("date_trunc", &[Text, IntervalType], IntervalType, "pg_interval_trunc", |_, a| {
        truncate_interval(text(a, 0)?, Interval::from_stored(text(a, 1)?)?)?.to_value()
    }),
    Function::call("date_part", &[Text, Date], Float8, "pg_date_part_date", |_, a| {
        float_part(part(text(a, 0)?, date_to_timestamp(int(a, 1)?)?, 0)?)
    }),
    Function::call("date_part", &[Text, Timestamp], Float8, "pg_timestamp_part", |_, a| {
        float_part(part(text(a, 0)?, int(a, 1)?, 0)?)
    }),
    Function::call("date_part", &[Text, Timestamptz], Float8, "pg_timestamptz_part", |h, a| {
        float_part(zoned_part(h, a)?)
    })
    .stable(),
    Function::call("date_part", &[Text, Time], Float8, "pg_time_part", |_, a| {
        float_part(time_part(text(a, 0)?, int(a, 1)?)?)
    }),
    Function::call("date_part", &[Text, IntervalType], Float8, "pg_interval_part", |_, a| {
        float_part(interval_part(a)?)
    }),
    Function::call("extract", &[Text, Date], NumericType, "pg_extract_date", |_, a| date_part(text(a, 0)?, int(a, 1)?)),
    Function::call("extract", &[Text, Timestamp], NumericType, "pg_extract_timestamp", |_, a| {
        Ok(part(text(a, 0)?, int(a, 1)?, 0)?.to_value())
    }),
    Function::call("extract", &[Text, Timestamptz], NumericType, "pg_extract_timestamptz", |h, a| {
        Ok(zoned_part(h, a)?.to_value())
    })
    .stable(),
    Function::call("extract", &[Text, Time], NumericType, "pg_extract_time", |_, a| {
        Ok(time_part(text(a, 0)?, int(a, 1)?)?.to_value())
    }),
    Function::call("extract", &[Text, IntervalType], NumericType, "pg_extract_interval", |_, a| {
        Ok(interval_part(a)?.to_value())
    }),
    Function::call("age", &[Timestamp, Timestamp], IntervalType, "pg_timestamp_age", |_, a| {
        age(int(a, 0)?, int(a, 1)?)
    }),
    Function::call("age", &[Timestamptz, Timestamptz], IntervalType, "pg_timestamptz_age", |h, a| {
        let zone = h.text_context().time_zone;
        age(to_local(int(a, 0)?, &zone).0, to_local(int(a, 1)?, &zone).0)
    })
    .stable(),
    Function::call("to_timestamp", &[Float8], Timestamptz, "pg_float8_timestamptz", |_, a| {
        let seconds = float(a, 0)?;
        if seconds.is_infinite() {
            return Ok(Value::Int(if seconds > 0.0 { i64::MAX } else { i64::MIN }));
        }
        let value = ((seconds - UNIX_OFFSET_S as f64) * 1e6).round();
        if value.is_nan() || value < MIN_TIMESTAMP as f64 || value >= END_TIMESTAMP as f64 {
            return Err(Error::new(Condition::DatetimeFieldOverflow, format!("timestamp out of range: \"{seconds}\"")));
        }
        Ok(Value::Int(value as i64))
    }),
    Function::call("to_timestamp", &[Text, Text], Timestamptz, "pg_to_timestamp_text", super::formatting::to_timestamp)
        .stable(),
    Function::call("make_date", &[Int4, Int4, Int4], Date, "pg_make_date", |_, a| {
        let (year, month, day) = (int(a, 0)?, int(a, 1)?, int(a, 2)?);
        let proleptic = if year < 0 { year + 1 } else { year };
        if year == 0 || !(1..=12).contains(&month) || day < 1 || day > days_in_month(proleptic, month) {
            return Err(Error::new(
                Condition::DatetimeFieldOverflow,
                format!("date field value out of range: {year}-{month:02}-{day:02}"),
            ));
        }
        let days = days_from_civil(proleptic, month, day);
        if !(MIN_DAY..END_DATE).contains(&days) {
            return Err(Error::new(
                Condition::DatetimeFieldOverflow,
                format!("date out of range: {year}-{month:02}-{day:02}"),
            ));
        }
        Ok(Value::Int(days))
    }),
    Function::call("make_time", &[Int4, Int4, Float8], Time, "pg_make_time", |_, a| {
        clock(int(a, 0)?, int(a, 1)?, float(a, 2)?).map(Value::Int)
    }),
    Function::call(
        "make_timestamp",
        &[Int4, Int4, Int4, Int4, Int4, Float8],
        Timestamp,
        "pg_make_timestamp",
        |_, a| {
            let (year, month, day) = (int(a, 0)?, int(a, 1)?, int(a, 2)?);
            if !(1..=294_276).contains(&year)
                || !(1..=12).contains(&month)
                || day < 1
                || day > days_in_month(year, month)
            {
                return Err(Error::new(
                    Condition::DatetimeFieldOverflow,
                    format!("date field value out of range: {year}-{month:02}-{day:02}"),
                ));
            }
            Ok(Value::Int(days_from_civil(year, month, day) * DAY_US + clock(int(a, 3)?, int(a, 4)?, float(a, 5)?)?))
        },
    ),
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
        finite(zone(text(a, 0)?)?.to_utc(int(a, 1)?))
    }),
    Function::call("timezone", &[Text, Timestamptz], Timestamp, "pg_timestamptz_zone", |_, a| {
        finite(zone(text(a, 0)?)?.to_local(int(a, 1)?))
    }),
    Function::call("timezone", &[IntervalType, Timestamp], Timestamptz, "pg_timestamp_izone", |_, a| {
        finite(interval_zone(text(a, 0)?)?.to_utc(int(a, 1)?))
    }),
    Function::call("timezone", &[IntervalType, Timestamptz], Timestamp, "pg_timestamptz_izone", |_, a| {
        finite(interval_zone(text(a, 0)?)?.to_local(int(a, 1)?))
    }),
];

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

/// A timestamp, if it is one.
fn finite(value: i64) -> Result<Value, Error> {
    if value == i64::MAX || value == i64::MIN || (MIN_TIMESTAMP..END_TIMESTAMP).contains(&value) {
        Ok(Value::Int(value))
    } else {
        Err(timestamp_out_of_range())
    }
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

fn unknown_unit(unit: &str, type_: Type) -> Error {
    Error::new(Condition::InvalidParameterValue, format!("unit \"{unit}\" not recognized for type {}", type_.name()))
}

fn truncate(unit: &str, value: i64) -> Result<i64, Error> {
    if value == i64::MAX || value == i64::MIN {
        return Ok(value);
    }
    let days = value.div_euclid(DAY_US);
    let (year, month, _) = civil_from_days(days);
    let first = |year: i64, month: i64| days_from_civil(year, month, 1) * DAY_US;
    let floor = |unit: i64| value.div_euclid(unit) * unit;
    Ok(match unit.to_ascii_lowercase().as_str() {
        "microseconds" | "microsecond" | "us" => value,
        "milliseconds" | "millisecond" | "ms" => floor(1000),
        "second" | "seconds" | "sec" => floor(SECOND_US),
        "minute" | "minutes" | "min" => floor(MINUTE_US),
        "hour" | "hours" => floor(HOUR_US),
        "day" | "days" => days * DAY_US,
        "week" | "weeks" => (days - (day_of_week(days) + 6) % 7) * DAY_US,
        "month" | "months" | "mon" => first(year, month),
        "quarter" => first(year, (month - 1) / 3 * 3 + 1),
        "year" | "years" => first(year, 1),
        "decade" | "decades" => first(year.div_euclid(10) * 10, 1),
        "century" | "centuries" => first((year - 1).div_euclid(100) * 100 + 1, 1),
        "millennium" | "millennia" => first((year - 1).div_euclid(1000) * 1000 + 1, 1),
        _ => return Err(unknown_unit(unit, Timestamp)),
    })
}

fn truncate_interval(unit: &str, interval: Interval) -> Result<Interval, Error> {
    let months = |length: i64| Interval { months: interval.months / length * length, days: 0, time_us: 0 };
    let time = |length: i64| Interval { time_us: interval.time_us / length * length, ..interval };
    Ok(match unit.to_ascii_lowercase().as_str() {
        "microseconds" | "microsecond" | "us" => interval,
        "milliseconds" | "millisecond" | "ms" => time(1000),
        "second" | "seconds" | "sec" => time(SECOND_US),
        "minute" | "minutes" | "min" => time(MINUTE_US),
        "hour" | "hours" => time(HOUR_US),
        "day" | "days" => Interval { time_us: 0, ..interval },
        "month" | "months" | "mon" => months(1),
        "quarter" => months(3),
        "year" | "years" => months(12),
        "decade" | "decades" => months(120),
        "century" | "centuries" => months(1200),
        "millennium" | "millennia" => months(12_000),
        "week" | "weeks" => {
            return Err(unsupported_unit(unit, IntervalType).detail("Months usually have fractional weeks."));
        }
        _ => return Err(unknown_unit(unit, IntervalType)),
    })
}

/// Microseconds as seconds with six digits.
fn seconds(us: i64, scale: i64) -> Numeric {
    Numeric::Finite { digits: us.into(), scale }
}

fn float_part(value: Numeric) -> Result<Value, Error> {
    Ok(float_to_value(value.to_f64()))
}

fn zoned_part(host: &dyn Host, arguments: &[Datum<'_>]) -> Result<Numeric, Error> {
    let (unit, value) = (text(arguments, 0)?, int(arguments, 1)?);
    if unit.eq_ignore_ascii_case("epoch") {
        return part(unit, value, 0);
    }
    let (local, offset) = to_local(value, &host.text_context().time_zone);
    part(unit, local, offset)
}

/// A field of a local timestamp (`offset` in seconds east of Greenwich).
fn part(unit: &str, value: i64, offset: i64) -> Result<Numeric, Error> {
    if value == i64::MAX || value == i64::MIN {
        return Ok(Numeric::Infinity(value < 0));
    }
    let (days, time) = (value.div_euclid(DAY_US), value.rem_euclid(DAY_US));
    let (year, month, day) = civil_from_days(days);
    // There is no year 0: 1 BC is -1.
    let shown_year = if year > 0 { year } else { year - 1 };
    let period =
        |length: i64| if year > 0 { (year + length - 1) / length } else { -((length - 1 - (year - 1)) / length) };
    Ok(Numeric::from_int(match unit.to_ascii_lowercase().as_str() {
        "microseconds" | "microsecond" | "us" => time % MINUTE_US,
        "milliseconds" | "millisecond" | "ms" => return Ok(seconds(time % MINUTE_US, 3)),
        "second" | "seconds" | "sec" => return Ok(seconds(time % MINUTE_US, 6)),
        "minute" | "minutes" | "min" => time / MINUTE_US % 60,
        "hour" | "hours" => time / HOUR_US,
        "day" | "days" => day,
        "month" | "months" | "mon" => month,
        "quarter" => (month - 1) / 3 + 1,
        "year" | "years" => shown_year,
        "decade" | "decades" => year.div_euclid(10),
        "century" | "centuries" => period(100),
        "millennium" | "millennia" => period(1000),
        "week" | "weeks" => iso_week(days).1,
        "isoyear" => iso_week(days).0,
        "dow" => day_of_week(days),
        "isodow" => (day_of_week(days) + 6) % 7 + 1,
        "doy" => days - days_from_civil(year, 1, 1) + 1,
        "epoch" => return Ok(seconds(value.saturating_add(UNIX_OFFSET_S * SECOND_US), 6)),
        "timezone" => offset,
        "timezone_hour" => offset / 3600,
        "timezone_minute" => offset / 60 % 60,
        _ => return Err(unknown_unit(unit, Timestamp)),
    }))
}

/// extract() of a date: only what a date has. date_part() sees a timestamp at midnight.
fn date_part(unit: &str, days: i64) -> Result<Value, Error> {
    const TIME_UNITS: &[&str] = &[
        "microseconds",
        "microsecond",
        "us",
        "milliseconds",
        "millisecond",
        "ms",
        "second",
        "seconds",
        "sec",
        "minute",
        "minutes",
        "min",
        "hour",
        "hours",
        "timezone",
        "timezone_hour",
        "timezone_minute",
    ];
    if TIME_UNITS.contains(&unit.to_ascii_lowercase().as_str()) {
        return Err(unsupported_unit(unit, Date));
    }
    let value = part(unit, date_to_timestamp(days)?, 0).map_err(|_| unknown_unit(unit, Date))?;
    // Days have no fraction of a second to show.
    Ok(if unit.eq_ignore_ascii_case("epoch") { value.round(0).to_value() } else { value.to_value() })
}

/// A field of a time of day.
fn time_part(unit: &str, time_us: i64) -> Result<Numeric, Error> {
    match unit.to_ascii_lowercase().as_str() {
        "epoch" => Ok(seconds(time_us, 6)),
        "microseconds" | "microsecond" | "us" | "milliseconds" | "millisecond" | "ms" | "second" | "seconds"
        | "sec" | "minute" | "minutes" | "min" | "hour" | "hours" => part(unit, time_us, 0),
        _ if part(unit, 0, 0).is_ok() => Err(unsupported_unit(unit, Time)),
        _ => Err(unknown_unit(unit, Time)),
    }
}

fn unsupported_unit(unit: &str, type_: Type) -> Error {
    Error::new(Condition::FeatureNotSupported, format!("unit \"{unit}\" not supported for type {}", type_.name()))
}

fn interval_part(arguments: &[Datum<'_>]) -> Result<Numeric, Error> {
    let (unit, interval) = (text(arguments, 0)?, Interval::from_stored(text(arguments, 1)?)?);
    let time = interval.time_us;
    Ok(Numeric::from_int(match unit.to_ascii_lowercase().as_str() {
        "microseconds" | "microsecond" | "us" => time % MINUTE_US,
        "milliseconds" | "millisecond" | "ms" => return Ok(seconds(time % MINUTE_US, 3)),
        "second" | "seconds" | "sec" => return Ok(seconds(time % MINUTE_US, 6)),
        "minute" | "minutes" | "min" => time / MINUTE_US % 60,
        "hour" | "hours" => time / HOUR_US,
        "day" | "days" => interval.days,
        "month" | "months" | "mon" => interval.months % 12,
        "quarter" => interval.months % 12 / 3 + 1,
        "year" | "years" => interval.months / 12,
        "decade" | "decades" => interval.months / 120,
        "century" | "centuries" => interval.months / 1200,
        "epoch" => {
            // A year counts as 365.25 days here, a month as 30.
            let days = interval.months / 12 * 1461 * 6 + interval.months % 12 * 30 * 24 + interval.days * 24;
            let whole = i128::from(days) * i128::from(HOUR_US) + i128::from(time);
            return Ok(Numeric::Finite { digits: whole.into(), scale: 6 });
        }
        _ => return Err(unknown_unit(unit, IntervalType)),
    }))
}

fn timestamp_finite(_: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    let value = int(a, 0)?;
    Ok(truth(value != i64::MAX && value != i64::MIN))
}

fn clock(hour: i64, minute: i64, second: f64) -> Result<i64, Error> {
    let whole = (0..=24).contains(&hour) && (0..=59).contains(&minute) && (0.0..=60.0).contains(&second);
    let time = if whole { hour * HOUR_US + minute * MINUTE_US + (second * 1e6).round() as i64 } else { i64::MAX };
    if time > DAY_US {
        return Err(Error::new(
            Condition::DatetimeFieldOverflow,
            format!("time field value out of range: {hour}:{minute:02}:{second:02}"),
        ));
    }
    Ok(time)
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

/// The difference in years, months, days and time.
fn age(a: i64, b: i64) -> Result<Value, Error> {
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
