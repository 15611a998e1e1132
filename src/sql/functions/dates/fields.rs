//! Fields of dates, times and intervals: extract(), date_part() and date_trunc().

use crate::error::{Condition, Error};
use crate::sql::functions::Host;
use crate::sql::functions::arguments::{int, text};
use crate::sql::types::Type::{self, Date, Interval as IntervalType, Time, Timestamp, Timestamptz};
use crate::sql::types::calendar::*;
use crate::sql::types::datetime::{Zone, to_local, to_utc};
use crate::sql::types::interval::Interval;
use crate::sql::types::numeric::Numeric;
use crate::sql::types::{Datum, Value, date_to_timestamp, float_to_value};

/// A field by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
    Millennium,
    Julian,
    IsoYear,
    Weekday,
    IsoWeekday,
    DayOfYear,
    Epoch,
    Offset,
    OffsetHour,
    OffsetMinute,
    /// A reserved word that is no field.
    Reserved,
}

impl Unit {
    fn by_name(name: &str) -> Option<Self> {
        // Words are told apart by their first ten letters.
        Some(match name.get(..10).unwrap_or(name) {
            "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecon" => Self::Microsecond,
            "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisecon" => Self::Millisecond,
            "s" | "sec" | "secs" | "second" | "seconds" => Self::Second,
            "m" | "min" | "mins" | "minute" | "minutes" | "mm" => Self::Minute,
            "h" | "hr" | "hrs" | "hour" | "hours" => Self::Hour,
            "d" | "day" | "days" => Self::Day,
            "w" | "week" | "weeks" => Self::Week,
            "mon" | "mons" | "month" | "months" => Self::Month,
            "qtr" | "quarter" => Self::Quarter,
            "y" | "yr" | "yrs" | "year" | "years" => Self::Year,
            "dec" | "decs" | "decade" | "decades" => Self::Decade,
            "c" | "cent" | "century" | "centuries" => Self::Century,
            "mil" | "mils" | "millennia" | "millennium" => Self::Millennium,
            "j" | "jd" | "julian" => Self::Julian,
            "isoyear" => Self::IsoYear,
            "dow" => Self::Weekday,
            "isodow" => Self::IsoWeekday,
            "doy" => Self::DayOfYear,
            "epoch" => Self::Epoch,
            "timezone" => Self::Offset,
            "timezone_h" => Self::OffsetHour,
            "timezone_m" => Self::OffsetMinute,
            "now" | "today" | "tomorrow" | "yesterday" | "infinity" | "-infinity" | "allballs" => Self::Reserved,
            _ => return None,
        })
    }

    /// Whether it grows for ever, so that it is infinite at infinity; other fields have no value there.
    fn is_monotonic(self) -> bool {
        matches!(
            self,
            Self::Year | Self::Decade | Self::Century | Self::Millennium | Self::Julian | Self::IsoYear | Self::Epoch
        )
    }

    fn is_time(self) -> bool {
        matches!(self, Self::Microsecond | Self::Millisecond | Self::Second | Self::Minute | Self::Hour)
    }

    fn is_offset(self) -> bool {
        matches!(self, Self::Offset | Self::OffsetHour | Self::OffsetMinute)
    }
}

/// The field, and its name as errors show it.
fn unit(name: &str, type_: Type) -> Result<(Unit, String), Error> {
    let lower = name.to_ascii_lowercase();
    match Unit::by_name(&lower) {
        Some(unit) => Ok((unit, lower)),
        None => Err(unknown(&lower, type_)),
    }
}

fn unknown(unit: &str, type_: Type) -> Error {
    Error::new(Condition::InvalidParameterValue, format!("unit \"{unit}\" not recognized for type {}", type_.name()))
}

fn unsupported(unit: &str, type_: Type) -> Error {
    Error::new(Condition::FeatureNotSupported, format!("unit \"{unit}\" not supported for type {}", type_.name()))
}

fn infinite(value: i64) -> bool {
    value == i64::MAX || value == i64::MIN
}

/// A field's value; `None` is NULL.
type Part = Option<Numeric>;

fn whole(value: i64) -> Part {
    Some(Numeric::from_int(value))
}

/// Microseconds as a number with so many digits after the point fewer than six.
fn scaled(us: i64, scale: i64) -> Part {
    Some(Numeric::Finite { digits: us.into(), scale })
}

/// As extract() gives it.
pub(super) fn numeric(part: Part) -> Result<Value, Error> {
    Ok(part.map_or(Value::Null, |value| value.to_value()))
}

/// As date_part() gives it.
pub(super) fn float(part: Part) -> Result<Value, Error> {
    Ok(part.map_or(Value::Null, |value| float_to_value(value.to_f64())))
}

/// Of a timestamp.
pub(super) fn of_timestamp(name: &str, value: i64) -> Result<Part, Error> {
    let (unit, name) = unit(name, Timestamp)?;
    if unit.is_offset() && !infinite(value) {
        return Err(unsupported(&name, Timestamp));
    }
    part(unit, &name, Timestamp, value, value, 0)
}

/// Of a timestamptz, by the session's zone.
pub(super) fn of_timestamptz(host: &dyn Host, arguments: &[Datum<'_>]) -> Result<Part, Error> {
    let (unit, name) = unit(text(arguments, 0)?, Timestamptz)?;
    let value = int(arguments, 1)?;
    let (local, offset) = to_local(value, &host.text_context().time_zone);
    part(unit, &name, Timestamptz, value, local, offset)
}

/// Of a local timestamp that is that instant; `offset` in seconds east of Greenwich.
fn part(unit: Unit, name: &str, type_: Type, instant: i64, local: i64, offset: i64) -> Result<Part, Error> {
    if unit == Unit::Reserved {
        return Err(unsupported(name, type_));
    }
    if infinite(instant) {
        return Ok(unit.is_monotonic().then_some(Numeric::Infinity(instant < 0)));
    }
    let (days, time) = (local.div_euclid(DAY_US), local.rem_euclid(DAY_US));
    Ok(match unit {
        Unit::Epoch => {
            let since = i128::from(instant) + i128::from(UNIX_OFFSET_S) * i128::from(SECOND_US);
            Some(Numeric::Finite { digits: since.into(), scale: 6 })
        }
        Unit::Offset => whole(offset),
        Unit::OffsetHour => whole(offset / 3600),
        Unit::OffsetMinute => whole(offset / 60 % 60),
        Unit::Julian => {
            let part_of_day = Numeric::from_int(time).div(&Numeric::from_int(DAY_US))?;
            Some(Numeric::from_int(days - MIN_DAY).add(&part_of_day)?)
        }
        unit if unit.is_time() => of_time_of_day(unit, time),
        unit => day_part(unit, days),
    })
}

fn of_time_of_day(unit: Unit, time: i64) -> Part {
    match unit {
        Unit::Microsecond => whole(time % MINUTE_US),
        Unit::Millisecond => scaled(time % MINUTE_US, 3),
        Unit::Second => scaled(time % MINUTE_US, 6),
        Unit::Minute => whole(time / MINUTE_US % 60),
        _ => whole(time / HOUR_US),
    }
}

/// Of a day: fields that a date has.
fn day_part(unit: Unit, days: i64) -> Part {
    let (year, month, day) = civil_from_days(days);
    let period =
        |length: i64| if year > 0 { (year + length - 1) / length } else { -((length - 1 - (year - 1)) / length) };
    // There is no year 0: 1 BC is -1.
    let shown = |year: i64| if year > 0 { year } else { year - 1 };
    whole(match unit {
        Unit::Day => day,
        Unit::Month => month,
        Unit::Quarter => (month - 1) / 3 + 1,
        Unit::Year => shown(year),
        Unit::Decade => year.div_euclid(10),
        Unit::Century => period(100),
        Unit::Millennium => period(1000),
        Unit::Week => iso_week(days).1,
        Unit::IsoYear => shown(iso_week(days).0),
        Unit::Weekday => day_of_week(days),
        Unit::IsoWeekday => (day_of_week(days) + 6) % 7 + 1,
        Unit::DayOfYear => days - days_from_civil(year, 1, 1) + 1,
        _ => days - MIN_DAY,
    })
}

/// extract() of a date: only what a date has. date_part() sees a timestamp at midnight.
pub(super) fn of_date(name: &str, days: i64) -> Result<Part, Error> {
    let (unit, name) = unit(name, Date)?;
    if unit.is_time() || unit.is_offset() || unit == Unit::Reserved {
        return Err(unsupported(&name, Date));
    }
    if days == i64::from(i32::MAX) || days == i64::from(i32::MIN) {
        return Ok(unit.is_monotonic().then_some(Numeric::Infinity(days < 0)));
    }
    Ok(if unit == Unit::Epoch { whole((days + UNIX_OFFSET_DAYS) * 86_400) } else { day_part(unit, days) })
}

/// Of a time of day.
pub(super) fn of_time(name: &str, time_us: i64) -> Result<Part, Error> {
    let (unit, name) = unit(name, Time)?;
    match unit {
        Unit::Epoch => Ok(scaled(time_us, 6)),
        Unit::Reserved => Err(unknown(&name, Time)),
        unit if unit.is_time() => Ok(of_time_of_day(unit, time_us)),
        _ => Err(unsupported(&name, Time)),
    }
}

/// Of an interval.
pub(super) fn of_interval(arguments: &[Datum<'_>]) -> Result<Part, Error> {
    let (unit, name) = unit(text(arguments, 0)?, IntervalType)?;
    let interval = Interval::from_stored(text(arguments, 1)?)?;
    Ok(match unit {
        Unit::Reserved => return Err(unknown(&name, IntervalType)),
        Unit::Day => whole(interval.days),
        Unit::Month => whole(interval.months % 12),
        Unit::Quarter => whole(interval.months % 12 / 3 + 1),
        Unit::Year => whole(interval.months / 12),
        Unit::Decade => whole(interval.months / 120),
        Unit::Century => whole(interval.months / 1200),
        Unit::Millennium => whole(interval.months / 12_000),
        Unit::Epoch => {
            // A year counts as 365.25 days here, a month as 30.
            let hours = interval.months / 12 * 1461 * 6 + interval.months % 12 * 30 * 24 + interval.days * 24;
            let whole = i128::from(hours) * i128::from(HOUR_US) + i128::from(interval.time_us);
            Some(Numeric::Finite { digits: whole.into(), scale: 6 })
        }
        unit if unit.is_time() => of_time_of_day(unit, interval.time_us),
        _ => return Err(unsupported(&name, IntervalType)),
    })
}

/// date_trunc() of a local timestamp.
pub(super) fn truncate(name: &str, value: i64) -> Result<i64, Error> {
    if infinite(value) {
        return Ok(value);
    }
    let (unit, name) = unit(name, Timestamp)?;
    truncated(unit, &name, Timestamp, value)
}

/// date_trunc() of a timestamptz in the session's zone.
pub(super) fn truncate_zoned(host: &dyn Host, name: &str, value: i64) -> Result<i64, Error> {
    let zone = host.text_context().time_zone;
    truncate_by(name, value, |value| to_local(value, &zone).0, |local| to_utc(local, &zone))
}

/// date_trunc() of a timestamptz in a zone of its own.
pub(super) fn truncate_in(zone: &Zone, name: &str, value: i64) -> Result<i64, Error> {
    truncate_by(name, value, |value| zone.to_local(value), |local| zone.to_utc(local))
}

fn truncate_by(
    name: &str,
    value: i64,
    to_local: impl Fn(i64) -> i64,
    to_utc: impl Fn(i64) -> i64,
) -> Result<i64, Error> {
    if infinite(value) {
        return Ok(value);
    }
    let (unit, name) = unit(name, Timestamptz)?;
    let local = to_local(value);
    let truncated = truncated(unit, &name, Timestamptz, local)?;
    // Within a day the offset stays what it was, even if the clock is turned back that day.
    Ok(if unit.is_time() { value - (local - truncated) } else { to_utc(truncated) })
}

fn truncated(unit: Unit, name: &str, type_: Type, value: i64) -> Result<i64, Error> {
    let days = value.div_euclid(DAY_US);
    let (year, month, _) = civil_from_days(days);
    let first = |year: i64, month: i64| days_from_civil(year, month, 1) * DAY_US;
    let floor = |unit: i64| value.div_euclid(unit) * unit;
    // Periods before Christ end with a full one, as years before 0 do.
    let start = |length: i64| {
        if year > 0 {
            (year + length - 1) / length * length - (length - 1)
        } else {
            -((length - 1 - (year - 1)) / length * length) + 1
        }
    };
    let result = match unit {
        Unit::Microsecond => value,
        Unit::Millisecond => floor(1000),
        Unit::Second => floor(SECOND_US),
        Unit::Minute => floor(MINUTE_US),
        Unit::Hour => floor(HOUR_US),
        Unit::Day => days * DAY_US,
        Unit::Week => (days - (day_of_week(days) + 6) % 7) * DAY_US,
        Unit::Month => first(year, month),
        Unit::Quarter => first(year, (month - 1) / 3 * 3 + 1),
        Unit::Year => first(year, 1),
        Unit::Decade => first(year.div_euclid(10) * 10, 1),
        Unit::Century => first(start(100), 1),
        Unit::Millennium => first(start(1000), 1),
        unit if unit.is_offset() => return Err(unsupported(name, type_)),
        _ => return Err(unknown(name, type_)),
    };
    if result < MIN_TIMESTAMP {
        return Err(Error::new(Condition::DatetimeFieldOverflow, "timestamp out of range"));
    }
    Ok(result)
}

/// date_trunc() of an interval.
pub(super) fn truncate_interval(name: &str, interval: Interval) -> Result<Interval, Error> {
    let (unit, name) = unit(name, IntervalType)?;
    let months = |length: i64| Interval { months: interval.months / length * length, days: 0, time_us: 0 };
    let time = |length: i64| Interval { time_us: interval.time_us / length * length, ..interval };
    Ok(match unit {
        Unit::Microsecond => interval,
        Unit::Millisecond => time(1000),
        Unit::Second => time(SECOND_US),
        Unit::Minute => time(MINUTE_US),
        Unit::Hour => time(HOUR_US),
        Unit::Day => Interval { time_us: 0, ..interval },
        Unit::Month => months(1),
        // Counted within the year, so that a negative one ends at the quarter nearer to 0.
        Unit::Quarter => months(3),
        Unit::Year => months(12),
        Unit::Decade => months(120),
        Unit::Century => months(1200),
        Unit::Millennium => months(12_000),
        Unit::Week => return Err(unsupported(&name, IntervalType).detail("Months usually have fractional weeks.")),
        unit if unit.is_offset() => return Err(unsupported(&name, IntervalType)),
        _ => return Err(unknown(&name, IntervalType)),
    })
}

/// date_part() of a date.
pub(super) fn of_midnight(name: &str, days: i64) -> Result<Part, Error> {
    of_timestamp(name, date_to_timestamp(days)?)
}
