//! Type interval: months, days and microseconds, kept apart.

mod input;

use std::cmp::Ordering;

use super::calendar::*;
use super::datetime::{write_fraction, write_time};
use super::integer::{syntax_error, write_int};
use super::{IntervalStyle, Type, Value};
use crate::error::{Condition, Error};

/// Every field, in a modifier's upper half.
pub const FULL_RANGE: i32 = 0x7fff;

/// The bits of fields in a modifier's upper half.
#[allow(missing_docs)]
pub mod fields {
    pub const MONTH: i32 = 1 << 1;
    pub const YEAR: i32 = 1 << 2;
    pub const DAY: i32 = 1 << 3;
    pub const HOUR: i32 = 1 << 10;
    pub const MINUTE: i32 = 1 << 11;
    pub const SECOND: i32 = 1 << 12;
}

/// The bits of "field" or "field to field", by the names in lower case; `None` for a pair that there is not.
pub fn range_of(first: &str, last: Option<&str>) -> Option<i32> {
    use fields::*;
    Some(match (first, last) {
        ("year", None) => YEAR,
        ("month", None) => MONTH,
        ("day", None) => DAY,
        ("hour", None) => HOUR,
        ("minute", None) => MINUTE,
        ("second", None) => SECOND,
        ("year", Some("month")) => YEAR | MONTH,
        ("day", Some("hour")) => DAY | HOUR,
        ("day", Some("minute")) => DAY | HOUR | MINUTE,
        ("day", Some("second")) => DAY | HOUR | MINUTE | SECOND,
        ("hour", Some("minute")) => HOUR | MINUTE,
        ("hour", Some("second")) => HOUR | MINUTE | SECOND,
        ("minute", Some("second")) => MINUTE | SECOND,
        _ => return None,
    })
}

/// The name of a range, as `format_type` shows it behind the type's.
pub fn range_name(range: i32) -> &'static str {
    use fields::*;
    const NAMES: &[(i32, &str)] = &[
        (YEAR, " year"),
        (MONTH, " month"),
        (DAY, " day"),
        (HOUR, " hour"),
        (MINUTE, " minute"),
        (SECOND, " second"),
        (YEAR | MONTH, " year to month"),
        (DAY | HOUR, " day to hour"),
        (DAY | HOUR | MINUTE, " day to minute"),
        (DAY | HOUR | MINUTE | SECOND, " day to second"),
        (HOUR | MINUTE, " hour to minute"),
        (HOUR | MINUTE | SECOND, " hour to second"),
        (MINUTE | SECOND, " minute to second"),
    ];
    NAMES.iter().find(|(known, _)| *known == range).map_or("", |(_, name)| name)
}

/// An interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Interval {
    /// Months, years included.
    pub months: i64,
    /// Days, weeks included.
    pub days: i64,
    /// Everything smaller, in microseconds.
    pub time_us: i64,
}

/// `interval out of range` (22008).
pub fn out_of_range() -> Error {
    Error::new(Condition::DatetimeFieldOverflow, "interval out of range")
}

impl Interval {
    /// Reads the stored form.
    pub fn from_stored(text: &str) -> Result<Self, Error> {
        let mut parts = text.split(' ').map(str::parse::<i64>);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(Ok(months)), Some(Ok(days)), Some(Ok(time_us))) => Ok(Self { months, days, time_us }),
            _ => Err(Error::new(Condition::DataCorrupted, format!("stored interval \"{text}\" is malformed"))),
        }
    }

    /// The stored form, if the fields fit PostgreSQL's.
    pub fn to_value(self) -> Result<Value, Error> {
        if i32::try_from(self.months).is_err() || i32::try_from(self.days).is_err() {
            return Err(out_of_range());
        }
        Ok(Value::Text(format!("{} {} {}", self.months, self.days, self.time_us)))
    }

    /// The sum.
    pub fn plus(self, other: Self) -> Result<Self, Error> {
        Ok(Self {
            months: self.months + other.months,
            days: self.days + other.days,
            time_us: self.time_us.checked_add(other.time_us).ok_or_else(out_of_range)?,
        })
    }

    /// The negative.
    pub fn negate(self) -> Result<Self, Error> {
        Ok(Self {
            months: -self.months,
            days: -self.days,
            time_us: self.time_us.checked_neg().ok_or_else(out_of_range)?,
        })
    }

    /// What it is compared by: a month counts as 30 days, a day as 24 hours.
    fn span(self) -> i128 {
        (i128::from(self.months) * 30 + i128::from(self.days)) * i128::from(DAY_US) + i128::from(self.time_us)
    }

    /// Multiplies; parts of months go to days and parts of days to time, as PostgreSQL cascades them.
    pub fn scale(self, factor: f64) -> Result<Self, Error> {
        self.map(|part| part * factor)
    }

    /// Divides, likewise. Not the same as scaling by the inverse: -27 months / 1.08 are 25 months to the day.
    pub fn divide(self, divisor: f64) -> Result<Self, Error> {
        self.map(|part| part / divisor)
    }

    fn map(self, of: impl Fn(f64) -> f64) -> Result<Self, Error> {
        let months = of(self.months as f64);
        let days = of(self.days as f64);
        // The fraction of a month as days of 30, kept to a microsecond of a day.
        let to_us = |value: f64| (value * 1e6).round_ties_even() / 1e6;
        let month_rest = to_us((months - months.trunc()) * 30.0);
        let second_rest = (days - days.trunc() + month_rest - month_rest.trunc()) * 86_400.0;
        let mut second_rest = (second_rest * 1e6).round_ties_even() / 1e6;
        let mut days = days.trunc() + month_rest.trunc();
        if second_rest.abs() >= 86_400.0 {
            days += (second_rest / 86_400.0).trunc();
            second_rest -= (second_rest / 86_400.0).trunc() * 86_400.0;
        }
        let time = (of(self.time_us as f64) + second_rest * 1e6).round_ties_even();
        if !time.is_finite() || !months.is_finite() || !days.is_finite() {
            return Err(out_of_range());
        }
        if months.abs() > 2_147_483_647.0 || days.abs() > 2_147_483_647.0 || time.abs() > 9.2e18 {
            return Err(out_of_range());
        }
        Ok(Self { months: months.trunc() as i64, days: days as i64, time_us: time as i64 })
    }

    /// Reads PostgreSQL's, SQL's and ISO 8601's forms.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Self::parse_styled(text, IntervalStyle::Postgres, -1)
    }

    /// Likewise for a type with a modifier, whose fields say what a bare number counts, and by an IntervalStyle,
    /// which says how far a sign reaches. The modifier is not applied.
    pub fn parse_styled(text: &str, style: IntervalStyle, typmod: i32) -> Result<Self, Error> {
        let range = if typmod < 0 || typmod >> 16 == 0 { FULL_RANGE } else { typmod >> 16 & FULL_RANGE };
        input::parse(text, style, range).map_err(|refusal| match refusal {
            input::Refusal::Syntax => {
                let mut error = syntax_error(Type::Interval, text);
                error.fields_mut().condition = Condition::InvalidDatetimeFormat;
                error
            }
            input::Refusal::FieldRange => {
                Error::new(Condition::IntervalFieldOverflow, format!("interval field value out of range: \"{text}\""))
            }
            input::Refusal::OutOfRange => out_of_range(),
        })
    }

    /// What a modifier leaves: no fields below its last, and so many digits of a second.
    pub fn apply_typmod(self, typmod: i32) -> Self {
        if typmod < 0 {
            return self;
        }
        let range = typmod >> 16 & FULL_RANGE;
        // A modifier without any field is one of an old catalog, which named none.
        let kept = if range == FULL_RANGE || range == 0 || range & fields::SECOND != 0 {
            self
        } else if range & fields::MINUTE != 0 {
            Self { time_us: self.time_us / MINUTE_US * MINUTE_US, ..self }
        } else if range & fields::HOUR != 0 {
            Self { time_us: self.time_us / HOUR_US * HOUR_US, ..self }
        } else if range & fields::DAY != 0 {
            Self { time_us: 0, ..self }
        } else if range & fields::MONTH != 0 {
            Self { time_us: 0, days: 0, ..self }
        } else {
            Self { time_us: 0, days: 0, months: self.months / 12 * 12 }
        };
        Self { time_us: super::datetime::round_to(kept.time_us, typmod & 0xffff), ..kept }
    }

    /// Appends the text form.
    pub fn write(self, style: IntervalStyle, out: &mut Vec<u8>) {
        match style {
            IntervalStyle::Postgres => self.write_postgres(out),
            IntervalStyle::PostgresVerbose => self.write_verbose(out),
            IntervalStyle::Iso8601 => self.write_iso(out),
            IntervalStyle::SqlStandard => self.write_sql(out),
        }
    }

    fn write_postgres(self, out: &mut Vec<u8>) {
        let start = out.len();
        let mut after_negative = false;
        for (value, unit) in [(self.months / 12, "year"), (self.months % 12, "mon"), (self.days, "day")] {
            if value != 0 {
                if out.len() > start {
                    out.push(b' ');
                }
                if after_negative && value > 0 {
                    out.push(b'+');
                }
                write_int(value, out);
                out.push(b' ');
                out.extend_from_slice(unit.as_bytes());
                if value != 1 {
                    out.push(b's');
                }
                after_negative = value < 0;
            }
        }
        if self.time_us != 0 || out.len() == start {
            if out.len() > start {
                out.push(b' ');
            }
            if self.time_us < 0 {
                out.push(b'-');
            } else if after_negative {
                out.push(b'+');
            }
            self.write_clock(out);
        }
    }

    /// Hours (any number of digits), minutes and seconds, without a sign.
    fn write_clock(self, out: &mut Vec<u8>) {
        let time = self.time_us.unsigned_abs();
        let hours = time / HOUR_US as u64;
        if hours < 100 {
            write_time(time as i64, out);
        } else {
            write_int(hours as i64, out);
            let mut rest = Vec::new();
            write_time((time % HOUR_US as u64) as i64, &mut rest);
            out.extend_from_slice(&rest[2..]);
        }
    }

    fn write_verbose(self, out: &mut Vec<u8>) {
        out.push(b'@');
        let time = self.time_us;
        let first = [self.months, self.days, time].into_iter().find(|value| *value != 0).unwrap_or(0);
        let sign = if first < 0 { -1 } else { 1 };
        let parts = [
            (self.months / 12, "year"),
            (self.months % 12, "mon"),
            (self.days, "day"),
            (time / HOUR_US, "hour"),
            (time / MINUTE_US % 60, "min"),
        ];
        let mut nothing = true;
        for (value, unit) in parts {
            if value != 0 {
                let value = value * sign;
                out.extend_from_slice(format!(" {value} {unit}{}", if value == 1 { "" } else { "s" }).as_bytes());
                nothing = false;
            }
        }
        let seconds = time % MINUTE_US * sign;
        if seconds != 0 {
            out.extend_from_slice(if seconds < 0 { b" -" } else { b" " });
            write_int((seconds / SECOND_US).abs(), out);
            write_fraction(seconds % SECOND_US, out);
            out.extend_from_slice(if seconds.abs() == SECOND_US { b" sec" } else { b" secs" });
            nothing = false;
        }
        if nothing {
            out.extend_from_slice(b" 0");
        }
        if sign < 0 {
            out.extend_from_slice(b" ago");
        }
    }

    fn write_iso(self, out: &mut Vec<u8>) {
        if self == Self::default() {
            out.extend_from_slice(b"PT0S");
            return;
        }
        out.push(b'P');
        let unit = |value: i64, unit: u8, out: &mut Vec<u8>| {
            if value != 0 {
                write_int(value, out);
                out.push(unit);
            }
        };
        unit(self.months / 12, b'Y', out);
        unit(self.months % 12, b'M', out);
        unit(self.days, b'D', out);
        if self.time_us != 0 {
            out.push(b'T');
            unit(self.time_us / HOUR_US, b'H', out);
            unit(self.time_us / MINUTE_US % 60, b'M', out);
            let seconds = self.time_us % MINUTE_US;
            if seconds != 0 {
                if seconds < 0 {
                    out.push(b'-');
                }
                write_int((seconds / SECOND_US).abs(), out);
                write_fraction(seconds % SECOND_US, out);
                out.push(b'S');
            }
        }
    }

    fn write_sql(self, out: &mut Vec<u8>) {
        let negative = self.months < 0 || self.days < 0 || self.time_us < 0;
        let positive = self.months > 0 || self.days > 0 || self.time_us > 0;
        let year_month = self.months != 0;
        let day_time = self.days != 0 || self.time_us != 0;
        let sign = |value: i64| if value < 0 { '-' } else { '+' };
        let mut clock = Vec::new();
        let hours = self.time_us.unsigned_abs() / HOUR_US as u64;
        write_int(hours as i64, &mut clock);
        let mut rest = Vec::new();
        write_time((self.time_us.unsigned_abs() % HOUR_US as u64) as i64, &mut rest);
        clock.extend_from_slice(&rest[2..]);
        let clock = String::from_utf8_lossy(&clock).into_owned();
        let (years, months) = (self.months.abs() / 12, self.months.abs() % 12);
        let text = if !year_month && !day_time {
            "0".to_owned()
        } else if (negative && positive) || (year_month && day_time) {
            format!(
                "{}{years}-{months} {}{} {}{clock}",
                sign(self.months),
                sign(self.days),
                self.days.abs(),
                sign(self.time_us)
            )
        } else if year_month {
            format!("{}{years}-{months}", if negative { "-" } else { "" })
        } else if self.days != 0 {
            format!("{} {clock}", self.days)
        } else {
            format!("{}{clock}", if negative { "-" } else { "" })
        };
        out.extend_from_slice(text.as_bytes());
    }
}

/// The order of stored intervals (collation `pg_interval`).
pub fn compare(a: &str, b: &str) -> Ordering {
    match (Interval::from_stored(a), Interval::from_stored(b)) {
        (Ok(a), Ok(b)) => a.span().cmp(&b.span()),
        _ => a.cmp(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, style: IntervalStyle) -> String {
        let mut out = Vec::new();
        Interval::parse(text).unwrap().write(style, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn postgres_style() {
        for (text, expected) in [
            ("1 year 2 months 3 days 04:05:06.7", "1 year 2 mons 3 days 04:05:06.7"),
            ("90 minutes", "01:30:00"),
            ("1.5 days", "1 day 12:00:00"),
            ("-1 day +02:00", "-1 days +02:00:00"),
            ("1 day ago", "-1 days"),
            ("@ 1 hour 30 min ago", "-01:30:00"),
            ("0", "00:00:00"),
            ("5", "00:00:05"),
            ("P1Y2M3DT4H5M6S", "1 year 2 mons 3 days 04:05:06"),
            ("1-2", "1 year 2 mons"),
            ("3 4:05:06", "3 days 04:05:06"),
            ("100 hours", "100:00:00"),
            ("1.5 months", "1 mon 15 days"),
            ("1week", "7 days"),
            ("-14 mons", "-1 years -2 mons"),
            ("100 ms", "00:00:00.1"),
        ] {
            assert_eq!(shown(text, IntervalStyle::Postgres), expected, "{text}");
        }
        for text in ["", "abc", "1 parsec", "1:2:3:4", "P", "1 day 1 day", "1:00 2 hours"] {
            assert_eq!(Interval::parse(text).unwrap_err().condition().code(), "22007", "{text}");
        }
        assert_eq!(Interval::parse("3000000000 months").unwrap_err().condition().code(), "22015");
    }

    #[test]
    fn signs_and_fields_of_sql() {
        let sql = |text: &str| Interval::parse_styled(text, IntervalStyle::SqlStandard, -1).unwrap();
        assert_eq!(sql("-1-2 3 4:05"), Interval { months: -14, days: -3, time_us: -(4 * HOUR_US + 5 * MINUTE_US) });
        assert_eq!(sql("-1-2 +3 4:05").days, 3);
        let typed = |text: &str, first: &str, last: Option<&str>, precision: i32| {
            let typmod = range_of(first, last).unwrap() << 16 | precision;
            let mut out = Vec::new();
            let read = Interval::parse_styled(text, IntervalStyle::Postgres, typmod).unwrap();
            read.apply_typmod(typmod).write(IntervalStyle::Postgres, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(typed("1", "hour", Some("minute"), 0xffff), "00:01:00");
        assert_eq!(typed("1:02:03.6", "hour", Some("minute"), 0xffff), "01:02:00");
        assert_eq!(typed("1:02", "minute", Some("second"), 0xffff), "00:01:02");
        assert_eq!(typed("1.6", "second", None, 0), "00:00:02");
        assert_eq!(typed("14 months", "year", None, 0xffff), "1 year");
    }

    #[test]
    fn other_styles() {
        let text = "1 year 2 mons 3 days 04:05:06.5";
        assert_eq!(shown(text, IntervalStyle::Iso8601), "P1Y2M3DT4H5M6.5S");
        assert_eq!(shown(text, IntervalStyle::SqlStandard), "+1-2 +3 +4:05:06.5");
        assert_eq!(shown(text, IntervalStyle::PostgresVerbose), "@ 1 year 2 mons 3 days 4 hours 5 mins 6.5 secs");
        assert_eq!(shown("-1 day", IntervalStyle::PostgresVerbose), "@ 1 day ago");
        assert_eq!(shown("-3 hours", IntervalStyle::SqlStandard), "-3:00:00");
        assert_eq!(shown("0", IntervalStyle::Iso8601), "PT0S");
    }

    #[test]
    fn scaling_and_order() {
        let one_month = Interval::parse("1 month").unwrap();
        assert_eq!(one_month.scale(1.5).unwrap(), Interval { months: 1, days: 15, time_us: 0 });
        let divided = Interval::parse("-27 mons -69 days -96 hours").unwrap().divide(1.08).unwrap();
        assert_eq!(divided.months, -25);
        assert_eq!(Interval::parse("1 day").unwrap().scale(0.5).unwrap().time_us, 12 * HOUR_US);
        assert_eq!(compare("1 0 0", "0 30 0"), Ordering::Equal);
        assert_eq!(compare("0 1 0", "0 0 3600000000"), Ordering::Greater);
    }
}
