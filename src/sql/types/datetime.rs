//! Dates, times and timestamps: text in and out, and the session's time zone.

mod abbreviations;
mod input;
pub(super) mod tokens;
mod zones;

use super::calendar::*;
use super::integer::write_int;
use super::{DateOrder, DateStyle, TextContext, Type};
pub use input::offset_of;
pub(super) use input::{parse_date, parse_time, parse_timestamp};
pub use zones::{Zone, to_local, to_utc, zone_abbreviation};

/// Month names as they are shown, in full.
pub const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// Names of the days of the week, Sunday first.
pub const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Appends two digits.
fn two(value: i64, out: &mut Vec<u8>) {
    out.push(b'0' + (value / 10 % 10) as u8);
    out.push(b'0' + (value % 10) as u8);
}

fn year_digits(year: i64, out: &mut Vec<u8>) {
    let shown = if year > 0 { year } else { 1 - year };
    for divisor in [1000, 100, 10] {
        if shown < divisor {
            out.push(b'0');
        }
    }
    write_int(shown, out);
}

fn write_day(days: i64, context: &TextContext, out: &mut Vec<u8>) -> i64 {
    let (year, month, day) = civil_from_days(days);
    let (first, second) = if context.date_order == DateOrder::Dmy { (day, month) } else { (month, day) };
    match context.date_style {
        DateStyle::Iso => {
            year_digits(year, out);
            out.push(b'-');
            two(month, out);
            out.push(b'-');
            two(day, out);
        }
        DateStyle::German => {
            two(day, out);
            out.push(b'.');
            two(month, out);
            out.push(b'.');
            year_digits(year, out);
        }
        style => {
            let separator = if style == DateStyle::Sql { b'/' } else { b'-' };
            two(first, out);
            out.push(separator);
            two(second, out);
            out.push(separator);
            year_digits(year, out);
        }
    }
    year
}

/// Appends a time of day.
pub(super) fn write_time(time_us: i64, out: &mut Vec<u8>) {
    two(time_us / HOUR_US, out);
    out.push(b':');
    two(time_us / MINUTE_US % 60, out);
    out.push(b':');
    two(time_us / SECOND_US % 60, out);
    write_fraction(time_us % SECOND_US, out);
}

/// Appends the point and up to six digits, without trailing zeros.
pub(super) fn write_fraction(fraction_us: i64, out: &mut Vec<u8>) {
    if fraction_us != 0 {
        let digits = format!("{:06}", fraction_us.abs());
        out.push(b'.');
        out.extend_from_slice(digits.trim_end_matches('0').as_bytes());
    }
}

/// Appends a date.
pub(super) fn write_date(days: i64, context: &TextContext, out: &mut Vec<u8>) {
    if days == i64::from(i32::MAX) || days == i64::from(i32::MIN) {
        out.extend_from_slice(if days > 0 { b"infinity" } else { b"-infinity" });
        return;
    }
    if write_day(days, context, out) <= 0 {
        out.extend_from_slice(b" BC");
    }
}

/// Appends a timestamp, or a timestamptz in the session's zone.
pub(super) fn write_timestamp(type_: Type, value: i64, context: &TextContext, out: &mut Vec<u8>) {
    if value == i64::MAX || value == i64::MIN {
        out.extend_from_slice(if value > 0 { b"infinity" } else { b"-infinity" });
        return;
    }
    let zoned = type_ == Type::Timestamptz;
    let (local, offset) = if zoned { to_local(value, &context.time_zone) } else { (value, 0) };
    let (days, time) = (local.div_euclid(DAY_US), local.rem_euclid(DAY_US));
    let year = if context.date_style == DateStyle::Postgres {
        let (year, month, day) = civil_from_days(days);
        let (weekday, month) = (&DAYS[day_of_week(days) as usize][..3], &MONTHS[(month - 1) as usize][..3]);
        let date = if context.date_order == DateOrder::Dmy {
            format!("{weekday} {day:02} {month} ")
        } else {
            format!("{weekday} {month} {day:02} ")
        };
        out.extend_from_slice(date.as_bytes());
        write_time(time, out);
        out.push(b' ');
        year_digits(year, out);
        year
    } else {
        let year = write_day(days, context, out);
        out.push(b' ');
        write_time(time, out);
        year
    };
    if zoned {
        if context.date_style == DateStyle::Iso {
            write_offset(offset, out);
        } else {
            out.push(b' ');
            out.extend_from_slice(zone_abbreviation(value, &context.time_zone).as_bytes());
        }
    }
    if year <= 0 {
        out.extend_from_slice(b" BC");
    }
}

/// Appends "+02", "-03:30", "+00:53:28".
pub(super) fn write_offset(offset: i64, out: &mut Vec<u8>) {
    out.push(if offset < 0 { b'-' } else { b'+' });
    let offset = offset.abs();
    two(offset / 3600, out);
    if offset % 3600 != 0 {
        out.push(b':');
        two(offset / 60 % 60, out);
    }
    if offset % 60 != 0 {
        out.push(b':');
        two(offset % 60, out);
    }
}

/// Rounds to a modifier's digits of a second, ties away from the earlier.
pub(super) fn round_to(value: i64, precision: i32) -> i64 {
    if value == i64::MAX || value == i64::MIN || !(0..6).contains(&precision) {
        return value;
    }
    let unit = 10i64.pow(6 - precision as u32);
    // As PostgreSQL does: half away from zero on either side of the epoch.
    if value >= 0 {
        value.saturating_add(unit / 2) / unit * unit
    } else {
        -((-value).saturating_add(unit / 2) / unit * unit)
    }
}

#[cfg(test)]
mod tests;
