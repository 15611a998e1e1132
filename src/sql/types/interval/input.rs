//! Reads intervals: PostgreSQL's, SQL's and ISO 8601's forms, and what a list of fields leaves of them.

use super::super::IntervalStyle;
use super::super::calendar::*;
use super::super::datetime::tokens::{Field, Kind, split};
use super::{FULL_RANGE, Interval, fields};

/// Why a text was refused.
pub(super) enum Refusal {
    Syntax,
    FieldRange,
    OutOfRange,
}

/// What a number counts.
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
    Year,
    Decade,
    Century,
    Millennium,
    /// A unit that intervals do not have.
    Other,
}

/// What a word means.
enum Word {
    Unit(Unit),
    Ago,
    Ignored,
}

fn word(text: &str) -> Option<Word> {
    // Words are told apart by their first ten letters.
    Some(Word::Unit(match text.get(..10).unwrap_or(text) {
        "@" => return Some(Word::Ignored),
        "ago" => return Some(Word::Ago),
        "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecon" => Unit::Microsecond,
        "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisecon" => Unit::Millisecond,
        "s" | "sec" | "secs" | "second" | "seconds" => Unit::Second,
        "m" | "min" | "mins" | "minute" | "minutes" => Unit::Minute,
        "h" | "hr" | "hrs" | "hour" | "hours" => Unit::Hour,
        "d" | "day" | "days" => Unit::Day,
        "w" | "week" | "weeks" => Unit::Week,
        "mon" | "mons" | "month" | "months" => Unit::Month,
        "y" | "yr" | "yrs" | "year" | "years" => Unit::Year,
        "dec" | "decs" | "decade" | "decades" => Unit::Decade,
        "c" | "cent" | "century" | "centuries" => Unit::Century,
        "mil" | "mils" | "millennia" | "millennium" => Unit::Millennium,
        "qtr" | "quarter" | "timezone" | "timezone_h" | "timezone_m" => Unit::Other,
        _ => return None,
    }))
}

/// What has been read so far.
#[derive(Default)]
struct Sum {
    years: i32,
    months: i32,
    days: i32,
    time_us: i64,
}

impl Sum {
    /// Adds a quantity: its whole part and its fraction.
    fn add(&mut self, whole: i64, fraction: f64, unit: Unit) -> Result<(), Refusal> {
        match unit {
            Unit::Microsecond => self.add_time(whole, fraction, 1),
            Unit::Millisecond => self.add_time(whole, fraction, 1000),
            Unit::Second => self.add_time(whole, fraction, SECOND_US),
            Unit::Minute => self.add_time(whole, fraction, MINUTE_US),
            Unit::Hour => self.add_time(whole, fraction, HOUR_US),
            Unit::Day => {
                self.days = grown(self.days, whole, 1)?;
                self.add_fraction(fraction, DAY_US)
            }
            Unit::Week => {
                self.days = grown(self.days, whole, 7)?;
                self.add_day_fraction(fraction, 7.0)
            }
            Unit::Month => {
                self.months = grown(self.months, whole, 1)?;
                self.add_day_fraction(fraction, 30.0)
            }
            Unit::Year => self.add_years(whole, fraction, 1),
            Unit::Decade => self.add_years(whole, fraction, 10),
            Unit::Century => self.add_years(whole, fraction, 100),
            Unit::Millennium => self.add_years(whole, fraction, 1000),
            Unit::Other => Err(Refusal::Syntax),
        }
    }

    fn add_time(&mut self, whole: i64, fraction: f64, scale_us: i64) -> Result<(), Refusal> {
        let time = whole.checked_mul(scale_us).and_then(|time| self.time_us.checked_add(time));
        self.time_us = time.ok_or(Refusal::FieldRange)?;
        self.add_fraction(fraction, scale_us)
    }

    /// A fraction of a unit in microseconds, rounded; halves towards zero.
    fn add_fraction(&mut self, fraction: f64, scale_us: i64) -> Result<(), Refusal> {
        let exact = fraction * scale_us as f64;
        let mut time = exact as i64;
        let rest = exact - time as f64;
        if rest > 0.5 {
            time += 1;
        } else if rest < -0.5 {
            time -= 1;
        }
        self.time_us = self.time_us.checked_add(time).ok_or(Refusal::FieldRange)?;
        Ok(())
    }

    fn add_day_fraction(&mut self, fraction: f64, scale_days: f64) -> Result<(), Refusal> {
        let exact = fraction * scale_days;
        self.days = grown(self.days, exact as i64, 1)?;
        self.add_fraction(exact - exact.trunc(), DAY_US)
    }

    fn add_years(&mut self, whole: i64, fraction: f64, scale: i64) -> Result<(), Refusal> {
        self.years = grown(self.years, whole, scale)?;
        let months = (fraction * scale as f64 * 12.0).round_ties_even();
        self.months = grown(self.months, months as i64, 1)?;
        Ok(())
    }

    fn interval(self) -> Result<Interval, Refusal> {
        let months = i64::from(self.years) * 12 + i64::from(self.months);
        let months = i32::try_from(months).map_err(|_| Refusal::OutOfRange)?;
        Ok(Interval { months: i64::from(months), days: i64::from(self.days), time_us: self.time_us })
    }
}

/// A count with so many units more.
fn grown(count: i32, whole: i64, scale: i64) -> Result<i32, Refusal> {
    let more = i32::try_from(whole).ok().map(i64::from).and_then(|whole| whole.checked_mul(scale));
    let sum = more.and_then(|more| i64::from(count).checked_add(more));
    sum.and_then(|sum| i32::try_from(sum).ok()).ok_or(Refusal::FieldRange)
}

/// Reads a text; `range` is the list of fields that its type has.
pub(super) fn parse(text: &str, style: IntervalStyle, range: i32) -> Result<Interval, Refusal> {
    let read = match split(text) {
        Some(split) => verbose(&split, style, range),
        None => Err(Refusal::Syntax),
    };
    let sum = match read {
        Err(Refusal::Syntax) => iso8601(text)?,
        other => other?,
    };
    sum.interval()
}

/// The unit of a number without one, at the end of a text.
fn last_unit(range: i32) -> Unit {
    if range == FULL_RANGE || range & fields::SECOND != 0 {
        Unit::Second
    } else if range & fields::MINUTE != 0 {
        Unit::Minute
    } else if range & fields::HOUR != 0 {
        Unit::Hour
    } else if range & fields::DAY != 0 {
        Unit::Day
    } else if range & fields::MONTH != 0 {
        Unit::Month
    } else {
        Unit::Year
    }
}

/// Units that have been seen, one bit each: none may come twice.
fn bit(unit: Unit) -> u32 {
    1 << unit as u32
}

const SECONDS: u32 = 1 << Unit::Microsecond as u32 | 1 << Unit::Millisecond as u32 | 1 << Unit::Second as u32;
const TIME: u32 = SECONDS | 1 << Unit::Minute as u32 | 1 << Unit::Hour as u32;

/// "1 year 2 mons -3 days 04:05:06", "@ 1 hour ago", "1-2 3 4:05:06". Read from the end, units before their numbers.
fn verbose(all: &[Field], style: IntervalStyle, range: i32) -> Result<Sum, Refusal> {
    let signed = |field: &Field| field.text.starts_with(['-', '+']);
    // SQL's rule: a minus at the beginning counts for everything, unless there are other signs.
    let negative = style == IntervalStyle::SqlStandard
        && all.first().is_some_and(|first| first.text.starts_with('-'))
        && !all.iter().skip(1).any(signed);
    let mut sum = Sum::default();
    let (mut unit, mut ago, mut seen) = (None, false, 0);
    for field in all.iter().rev() {
        let text = field.text.as_str();
        let mut mask = 0;
        match field.kind {
            Kind::Time => {
                sum.time_us = time(text, range)?;
                if negative {
                    sum.time_us = -sum.time_us.abs();
                }
                mask = TIME;
                unit = Some(Unit::Day);
            }
            Kind::Offset if text.contains(':') && text.get(1..).is_some_and(|body| time(body, range).is_ok()) => {
                let length = time(text.get(1..).unwrap_or(""), range)?;
                sum.time_us = if text.starts_with('-') { -length } else { length };
                if negative {
                    sum.time_us = -sum.time_us.abs();
                }
                mask = TIME;
                unit = Some(Unit::Day);
            }
            Kind::Offset | Kind::Date | Kind::Number => {
                let counted = unit.unwrap_or_else(|| last_unit(range));
                let (mut whole, mut fraction, counted) = quantity(text, counted)?;
                if negative {
                    (whole, fraction) = (-whole.saturating_abs(), -fraction.abs());
                }
                sum.add(whole, fraction, counted)?;
                mask = if counted == Unit::Second && fraction != 0.0 { SECONDS } else { bit(counted) };
                // What stands before hours without a unit is days.
                unit = Some(if counted == Unit::Hour { Unit::Day } else { counted });
            }
            Kind::Word | Kind::Special => match word(text).ok_or(Refusal::Syntax)? {
                Word::Unit(named) => unit = Some(named),
                Word::Ago => (ago, unit) = (true, Some(Unit::Other)),
                Word::Ignored => continue,
            },
        }
        if seen & mask != 0 {
            return Err(Refusal::Syntax);
        }
        seen |= mask;
    }
    if seen == 0 {
        return Err(Refusal::Syntax);
    }
    if ago {
        let negated = || {
            Some(Sum {
                years: sum.years.checked_neg()?,
                months: sum.months.checked_neg()?,
                days: sum.days.checked_neg()?,
                time_us: sum.time_us.checked_neg()?,
            })
        };
        return negated().ok_or(Refusal::FieldRange);
    }
    Ok(sum)
}

/// A number and its fraction, or "years-months".
fn quantity(text: &str, unit: Unit) -> Result<(i64, f64, Unit), Refusal> {
    let body = text.strip_prefix(['-', '+']).unwrap_or(text);
    let negative = text.starts_with('-');
    let (digits, rest) = body.split_at(body.find(|c: char| !c.is_ascii_digit()).unwrap_or(body.len()));
    let mut whole: i64 = match digits {
        "" => 0,
        digits if negative => format!("-{digits}").parse().map_err(|_| Refusal::FieldRange)?,
        digits => digits.parse().map_err(|_| Refusal::FieldRange)?,
    };
    if let Some(months) = rest.strip_prefix('-') {
        let (digits, rest) = months.split_at(months.find(|c: char| !c.is_ascii_digit()).unwrap_or(months.len()));
        let months: i64 = if digits.is_empty() { 0 } else { digits.parse().map_err(|_| Refusal::FieldRange)? };
        if months >= 12 {
            return Err(Refusal::FieldRange);
        }
        if !rest.is_empty() {
            return Err(Refusal::Syntax);
        }
        let months = if negative { -months } else { months };
        whole = whole.checked_mul(12).and_then(|whole| whole.checked_add(months)).ok_or(Refusal::FieldRange)?;
        return Ok((whole, 0.0, Unit::Month));
    }
    let fraction = match rest {
        "" | "." => 0.0,
        rest if rest.starts_with('.') => rest.parse::<f64>().map_err(|_| Refusal::Syntax)?,
        _ => return Err(Refusal::Syntax),
    };
    Ok((whole, if negative { -fraction } else { fraction }, unit))
}

/// `hours:minutes[:seconds]`, or `minutes:seconds` where the fields or a fraction say so.
fn time(text: &str, range: i32) -> Result<i64, Refusal> {
    let number = |text: &str| -> Result<i64, Refusal> {
        if text.is_empty() { Ok(0) } else { text.parse().map_err(|_| Refusal::FieldRange) }
    };
    let fraction = |text: &str| -> Result<i64, Refusal> {
        if text.is_empty() {
            return Ok(0);
        }
        let value: f64 = format!(".{text}").parse().map_err(|_| Refusal::Syntax)?;
        Ok((value * 1e6).round_ties_even() as i64)
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (clock, point) = match text.split_once('.') {
        Some((clock, point)) => (clock, Some(point)),
        None => (text, None),
    };
    let parts: Vec<&str> = clock.split(':').collect();
    if !parts.iter().all(|part| digits(part)) || !point.is_none_or(digits) {
        return Err(Refusal::Syntax);
    }
    let minutes_first = range == fields::MINUTE | fields::SECOND;
    let (hours, minutes, seconds) = match parts.as_slice() {
        [minutes, seconds] if point.is_some() || minutes_first => (0, number(minutes)?, number(seconds)?),
        [hours, minutes] => (number(hours)?, number(minutes)?, 0),
        [hours, minutes, seconds] => (number(hours)?, number(minutes)?, number(seconds)?),
        _ => return Err(Refusal::Syntax),
    };
    if minutes > 59 || seconds > 60 {
        return Err(Refusal::FieldRange);
    }
    let rest = minutes * MINUTE_US + seconds * SECOND_US + fraction(point.unwrap_or(""))?;
    hours.checked_mul(HOUR_US).and_then(|time| time.checked_add(rest)).ok_or(Refusal::FieldRange)
}

/// A number at the beginning of a text: its whole part, its fraction, and what follows.
fn decimal(text: &str) -> Result<(i64, f64, &str), Refusal> {
    let bytes = text.as_bytes();
    let run = |mut at: usize| {
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        at
    };
    let start = usize::from(matches!(bytes.first(), Some(b'-' | b'+')));
    let mut end = run(start);
    if bytes.get(end) == Some(&b'.') {
        end = run(end + 1);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let exponent = end + 1 + usize::from(matches!(bytes.get(end + 1), Some(b'-' | b'+')));
        if run(exponent) > exponent {
            end = run(exponent);
        }
    }
    let (number, rest) = text.split_at(end);
    let value: f64 = number.parse().map_err(|_| Refusal::Syntax)?;
    if !(-1e15..=1e15).contains(&value) {
        return Err(Refusal::FieldRange);
    }
    Ok((value.trunc() as i64, value - value.trunc(), rest))
}

/// How many digits a text begins with.
fn width(text: &str) -> usize {
    let text = text.strip_prefix('-').unwrap_or(text);
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// "P1Y2M3DT4H5M6S", "P0001-02-03T04:05:06", "P00010203T040506".
fn iso8601(text: &str) -> Result<Sum, Refusal> {
    let mut rest = text.strip_prefix('P').filter(|rest| !rest.is_empty()).ok_or(Refusal::Syntax)?;
    let mut sum = Sum::default();
    let (mut in_time, mut any) = (false, false);
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('T') {
            (in_time, any, rest) = (true, false, after);
            continue;
        }
        let start = rest;
        let (whole, fraction, after) = decimal(rest)?;
        let mark = after.bytes().next();
        let unit = match (mark, in_time) {
            (Some(b'Y'), false) => Some(Unit::Year),
            (Some(b'M'), false) => Some(Unit::Month),
            (Some(b'W'), false) => Some(Unit::Week),
            (Some(b'D'), false) => Some(Unit::Day),
            (Some(b'H'), true) => Some(Unit::Hour),
            (Some(b'M'), true) => Some(Unit::Minute),
            (Some(b'S'), true) => Some(Unit::Second),
            _ => None,
        };
        if let Some(unit) = unit {
            sum.add(whole, fraction, unit)?;
            rest = after.get(1..).unwrap_or("");
            any = true;
            continue;
        }
        let ends = matches!(mark, None | Some(b'T'));
        if any || !(ends || mark == Some(if in_time { b':' } else { b'-' })) || (in_time && mark == Some(b'T')) {
            return Err(Refusal::Syntax);
        }
        if ends && width(start) == if in_time { 6 } else { 8 } {
            let units =
                if in_time { [Unit::Hour, Unit::Minute, Unit::Second] } else { [Unit::Year, Unit::Month, Unit::Day] };
            sum.add(whole / 10_000, 0.0, units[0])?;
            sum.add(whole / 100 % 100, 0.0, units[1])?;
            sum.add(whole % 100, fraction, units[2])?;
            rest = after;
        } else {
            rest = alternative(&mut sum, whole, fraction, after, in_time)?;
        }
        match rest.strip_prefix('T') {
            Some(after) if !in_time => (in_time, any, rest) = (true, false, after),
            _ if rest.is_empty() => return Ok(sum),
            _ => return Err(Refusal::Syntax),
        }
    }
    Ok(sum)
}

/// "0001-02-03" or "04:05:06" from its second part on.
fn alternative<'a>(sum: &mut Sum, whole: i64, fraction: f64, rest: &'a str, in_time: bool) -> Result<&'a str, Refusal> {
    let (mark, units) = if in_time {
        (':', [Unit::Hour, Unit::Minute, Unit::Second])
    } else {
        ('-', [Unit::Year, Unit::Month, Unit::Day])
    };
    sum.add(whole, fraction, units[0])?;
    let mut rest = rest;
    for unit in units.into_iter().skip(1) {
        let Some(after) = rest.strip_prefix(mark) else { break };
        let (whole, fraction, after) = decimal(after)?;
        sum.add(whole, fraction, unit)?;
        rest = after;
    }
    Ok(rest)
}
