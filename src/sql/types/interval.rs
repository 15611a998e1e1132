//! Type interval: months, days and microseconds, kept apart.

use std::cmp::Ordering;

use super::calendar::*;
use super::datetime::{write_fraction, write_time};
use super::integer::{syntax_error, write_int};
use super::{IntervalStyle, Type, Value};
use crate::error::{Condition, Error};

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
        let to_us = |value: f64| (value * 1e6).round() / 1e6;
        let month_rest = to_us((months - months.trunc()) * 30.0);
        let second_rest = (days - days.trunc() + month_rest - month_rest.trunc()) * 86_400.0;
        let mut second_rest = (second_rest * 1e6).round() / 1e6;
        let mut days = days.trunc() + month_rest.trunc();
        if second_rest.abs() >= 86_400.0 {
            days += (second_rest / 86_400.0).trunc();
            second_rest -= (second_rest / 86_400.0).trunc() * 86_400.0;
        }
        let time = (of(self.time_us as f64) + second_rest * 1e6).round();
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
        let invalid = || {
            let mut error = syntax_error(Type::Interval, text);
            error.fields_mut().condition = Condition::InvalidDatetimeFormat;
            error
        };
        let overflow =
            || Error::new(Condition::IntervalFieldOverflow, format!("interval field value out of range: \"{text}\""));
        let body = text.trim();
        let mut sum = Sum::default();
        if body.starts_with(['P', 'p']) && body.len() > 1 {
            iso8601(&body[1..], &mut sum).ok_or_else(invalid)?;
        } else {
            verbose(body, &mut sum).ok_or_else(invalid)?;
        }
        let result = sum.interval().ok_or_else(overflow)?;
        result.to_value().map_err(|_| overflow())?;
        Ok(result)
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

/// What has been read so far, with fractions not yet cascaded.
#[derive(Default)]
struct Sum {
    months: f64,
    days: f64,
    time_us: i128,
}

impl Sum {
    /// Adds a quantity of a unit; whole part and fraction in text, so that seconds stay exact.
    fn add(&mut self, value: f64, exact: i128, unit: &str) -> Option<()> {
        let time = |us: i64| (value * us as f64).round() as i128;
        match unit {
            "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecond" | "microseconds" => {
                self.time_us += exact / 1_000_000
            }
            "ms" | "msec" | "msecs" | "mseconds" | "millisecond" | "milliseconds" => self.time_us += exact / 1000,
            "s" | "sec" | "secs" | "second" | "seconds" => self.time_us += exact,
            "m" | "min" | "mins" | "minute" | "minutes" => self.time_us += time(MINUTE_US),
            "h" | "hr" | "hrs" | "hour" | "hours" => self.time_us += time(HOUR_US),
            "d" | "day" | "days" => self.days += value,
            "w" | "week" | "weeks" => self.days += value * 7.0,
            "mon" | "mons" | "month" | "months" => self.months += value,
            "y" | "yr" | "yrs" | "year" | "years" => self.months += (value * 12.0).round(),
            "decade" | "decades" | "dec" | "decs" => self.months += (value * 120.0).round(),
            "c" | "cent" | "century" | "centuries" => self.months += (value * 1200.0).round(),
            "mil" | "mils" | "millennium" | "millennia" => self.months += (value * 12_000.0).round(),
            _ => return None,
        }
        Some(())
    }

    fn interval(self) -> Option<Interval> {
        let extra_days = (self.months - self.months.trunc()) * 30.0;
        let days = self.days + extra_days;
        let time = self.time_us + ((days - days.trunc()) * DAY_US as f64).round() as i128;
        if self.months.abs() > 2_147_483_647.0 || days.abs() > 2_147_483_647.0 {
            return None;
        }
        Some(Interval {
            months: self.months.trunc() as i64,
            days: days.trunc() as i64,
            time_us: i64::try_from(time).ok()?,
        })
    }
}

/// A decimal number as a float and, exactly, in millionths.
fn quantity(text: &str) -> Option<(f64, i128)> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !plain(whole) || !plain(fraction) || digits.len() > 30 {
        return None;
    }
    let mut exact: i128 = if whole.is_empty() { 0 } else { whole.parse::<i128>().ok()? };
    for place in 0..6 {
        exact = exact.checked_mul(10)? + fraction.as_bytes().get(place).map_or(0, |b| i128::from(b - b'0'));
    }
    if fraction.as_bytes().get(6).is_some_and(|b| *b >= b'5') {
        exact += 1;
    }
    let value = format!("0{digits}").parse::<f64>().ok()?;
    Some(if negative { (-value, -exact) } else { (value, exact) })
}

/// "1 year 2 mons -3 days 04:05:06", "@ 1 hour ago", "1-2 3 4:05:06".
fn verbose(text: &str, sum: &mut Sum) -> Option<()> {
    let text = text.strip_prefix('@').unwrap_or(text);
    let mut words: Vec<String> = Vec::new();
    // Numbers and units may stand together: "1day".
    for chunk in text.split_whitespace() {
        let mut word = String::new();
        for c in chunk.chars() {
            let turns = word.chars().last().is_some_and(|last| last.is_ascii_alphabetic() != c.is_ascii_alphabetic());
            if turns {
                words.push(std::mem::take(&mut word));
            }
            word.push(c.to_ascii_lowercase());
        }
        words.push(word);
    }
    let ago = words.last().is_some_and(|word| word == "ago");
    if ago {
        words.pop();
    }
    if words.is_empty() {
        return None;
    }
    let mut at = 0;
    while at < words.len() {
        let word = &words[at];
        if word.contains(':') {
            clock(word, sum)?;
            at += 1;
        } else if let Some((value, exact)) = quantity(word) {
            match words.get(at + 1) {
                Some(unit) if unit.bytes().all(|b| b.is_ascii_alphabetic()) => {
                    sum.add(value, exact, unit)?;
                    at += 2;
                }
                // SQL's form: days before a time; a bare number counts seconds.
                next => {
                    let unit = if next.is_some_and(|next| next.contains(':')) { "day" } else { "second" };
                    sum.add(value, exact, unit)?;
                    at += 1;
                }
            }
        } else {
            year_month(word, sum)?;
            at += 1;
        }
    }
    if ago {
        *sum = Sum { months: -sum.months, days: -sum.days, time_us: -sum.time_us };
    }
    Some(())
}

/// "1-2": years and months.
fn year_month(word: &str, sum: &mut Sum) -> Option<()> {
    let (negative, body) = match word.as_bytes().first()? {
        b'-' => (true, &word[1..]),
        b'+' => (false, &word[1..]),
        _ => (false, word),
    };
    let (years, months) = body.split_once('-')?;
    let months: i64 = years.parse::<i32>().ok().map(i64::from)?.checked_mul(12)?
        + i64::from(months.parse::<u8>().ok().filter(|m| *m < 12)?);
    sum.months += if negative { -months as f64 } else { months as f64 };
    Some(())
}

/// "\[-\]hours:minutes\[:seconds\]".
fn clock(word: &str, sum: &mut Sum) -> Option<()> {
    let (negative, body) = match word.as_bytes().first()? {
        b'-' => (true, &word[1..]),
        b'+' => (false, &word[1..]),
        _ => (false, word),
    };
    let parts: Vec<&str> = body.split(':').collect();
    let (hours, minutes, seconds) = match parts[..] {
        // With a fraction, two parts are minutes and seconds.
        [minutes, seconds] if seconds.contains('.') => ("0", minutes, seconds),
        [hours, minutes] => (hours, minutes, "0"),
        [hours, minutes, seconds] => (hours, minutes, seconds),
        _ => return None,
    };
    let (hours, minutes) = (hours.parse::<u32>().ok()?, minutes.parse::<u8>().ok().filter(|m| *m < 60)?);
    let seconds = quantity(seconds).filter(|(value, _)| (0.0..=60.0).contains(value))?.1;
    let time = i128::from(hours) * i128::from(HOUR_US) + i128::from(minutes) * i128::from(MINUTE_US) + seconds;
    sum.time_us += if negative { -time } else { time };
    Some(())
}

/// "1Y2M3DT4H5M6S" after the P.
fn iso8601(text: &str, sum: &mut Sum) -> Option<()> {
    let mut in_time = false;
    let mut number = String::new();
    for c in text.chars() {
        match c.to_ascii_uppercase() {
            'T' if number.is_empty() && !in_time => in_time = true,
            '0'..='9' | '.' | '-' | '+' => number.push(c),
            unit => {
                let (value, exact) = quantity(&std::mem::take(&mut number))?;
                let unit = match (unit, in_time) {
                    ('Y', false) => "year",
                    ('M', false) => "month",
                    ('W', false) => "week",
                    ('D', false) => "day",
                    ('H', true) => "hour",
                    ('M', true) => "minute",
                    ('S', true) => "second",
                    _ => return None,
                };
                sum.add(value, exact, unit)?;
            }
        }
    }
    number.is_empty().then_some(())
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
        for text in ["", "abc", "1 parsec", "1:2:3:4", "P", "1 day day"] {
            assert_eq!(Interval::parse(text).unwrap_err().condition().code(), "22007", "{text}");
        }
        assert_eq!(Interval::parse("3000000000 months").unwrap_err().condition().code(), "22015");
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
