//! Dates, times and timestamps: text in and out, and the session's time zone.

use jiff::tz::TimeZone;

use super::calendar::*;
use super::integer::write_int;
use super::{DateOrder, DateStyle, TextContext, Type};
use crate::error::{Condition, Error};

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

/// What a text said, before it is made into a value.
#[derive(Debug, Default)]
struct Fields {
    date: Option<(i64, i64, i64)>,
    time_us: Option<i64>,
    zone: Option<Zone>,
    special: Option<Special>,
    before_christ: bool,
    /// Whether the year was written with two digits at most.
    short_year: bool,
    afternoon: Option<bool>,
}

#[derive(Debug, Clone)]
enum Zone {
    /// Seconds east of Greenwich.
    Offset(i64),
    Named(TimeZone),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Special {
    Infinity,
    MinusInfinity,
    Epoch,
    Now,
    Day(i64),
}

/// Why a text was refused; the message needs the type and the whole text.
enum Refusal {
    Syntax,
    FieldRange,
    MonthOrDay,
    Zone(String),
    ZoneRange,
}

impl Refusal {
    fn error(self, type_: Type, text: &str) -> Error {
        let overflow =
            || Error::new(Condition::DatetimeFieldOverflow, format!("date/time field value out of range: \"{text}\""));
        match self {
            Self::Syntax => {
                let name = match type_ {
                    Type::Timestamp => "timestamp",
                    Type::Time => "time",
                    other => other.name(),
                };
                Error::new(
                    Condition::InvalidDatetimeFormat,
                    format!("invalid input syntax for type {name}: \"{text}\""),
                )
            }
            Self::FieldRange => overflow(),
            Self::MonthOrDay => overflow().hint("Perhaps you need a different \"datestyle\" setting."),
            Self::Zone(zone) => {
                Error::new(Condition::InvalidParameterValue, format!("time zone \"{zone}\" not recognized"))
            }
            Self::ZoneRange => Error::new(
                Condition::InvalidTimeZoneDisplacementValue,
                format!("time zone displacement out of range: \"{text}\""),
            ),
        }
    }
}

/// Reads a date: days since 2000-01-01.
pub(super) fn parse_date(text: &str, context: &TextContext) -> Result<i64, Error> {
    let fields = scan(text, context.date_order).map_err(|refusal| refusal.error(Type::Date, text))?;
    let days = match fields.special {
        Some(Special::Infinity) => return Ok(i64::from(i32::MAX)),
        Some(Special::MinusInfinity) => return Ok(i64::from(i32::MIN)),
        Some(Special::Epoch) => -UNIX_OFFSET_DAYS,
        Some(Special::Now) => local_now(context)?.div_euclid(DAY_US),
        Some(Special::Day(offset)) => local_now(context)?.div_euclid(DAY_US) + offset,
        None => {
            let days = date_of(&fields).map_err(|refusal| refusal.error(Type::Date, text))?;
            days.ok_or_else(|| Refusal::Syntax.error(Type::Date, text))?
        }
    };
    if !(MIN_DAY..END_DATE).contains(&days) {
        return Err(Error::new(Condition::DatetimeFieldOverflow, format!("date out of range: \"{text}\"")));
    }
    Ok(days)
}

/// Reads a time of day: microseconds since midnight.
pub(super) fn parse_time(text: &str, context: &TextContext) -> Result<i64, Error> {
    let refuse = |refusal: Refusal| refusal.error(Type::Time, text);
    let word = text.trim();
    let plain = word.bytes().take_while(u8::is_ascii_digit).count();
    // "1020" and "102030" are times where only a time can be meant.
    let fields = if matches!(plain, 4 | 6) && word[plain..].starts_with(['.', '+', '-', ' '])
        || plain == word.len() && matches!(plain, 4 | 6)
    {
        scan(&format!("2000-01-01 {word}"), context.date_order).map_err(refuse)?
    } else {
        scan(text, context.date_order).map_err(refuse)?
    };
    if fields.special == Some(Special::Now) {
        return Ok(local_now(context)?.rem_euclid(DAY_US));
    }
    time_of(&fields).map_err(refuse)?.ok_or_else(|| refuse(Refusal::Syntax))
}

/// Reads timestamp or timestamptz: microseconds since 2000-01-01 (UTC).
pub(super) fn parse_timestamp(type_: Type, text: &str, context: &TextContext) -> Result<i64, Error> {
    let refuse = |refusal: Refusal| refusal.error(type_, text);
    let fields = scan(text, context.date_order).map_err(refuse)?;
    let local = |value: i64| if type_ == Type::Timestamptz { to_utc(value, &context.time_zone) } else { value };
    let value = match fields.special {
        Some(Special::Infinity) => return Ok(i64::MAX),
        Some(Special::MinusInfinity) => return Ok(i64::MIN),
        Some(Special::Epoch) => Some(-UNIX_OFFSET_S * SECOND_US),
        Some(Special::Now) if type_ == Type::Timestamptz => Some(now(context)?),
        Some(Special::Now) => Some(local_now(context)?),
        Some(Special::Day(offset)) => {
            let day = local_now(context)?.div_euclid(DAY_US) + offset;
            Some(local(day * DAY_US + time_of(&fields).map_err(refuse)?.unwrap_or(0)))
        }
        None => {
            let days = date_of(&fields).map_err(refuse)?.ok_or_else(|| refuse(Refusal::Syntax))?;
            let time = time_of(&fields).map_err(refuse)?.unwrap_or(0);
            let value = days.checked_mul(DAY_US).and_then(|value| value.checked_add(time));
            match (type_, fields.zone) {
                (Type::Timestamptz, Some(Zone::Offset(offset))) => {
                    value.and_then(|v| v.checked_sub(offset * SECOND_US))
                }
                (Type::Timestamptz, Some(Zone::Named(zone))) => value.map(|value| to_utc(value, &zone)),
                _ => value.map(local),
            }
        }
    };
    value
        .filter(|value| (MIN_TIMESTAMP..END_TIMESTAMP).contains(value))
        .ok_or_else(|| Error::new(Condition::DatetimeFieldOverflow, format!("timestamp out of range: \"{text}\"")))
}

fn now(context: &TextContext) -> Result<i64, Error> {
    context.now_us.ok_or_else(|| Error::unsupported("a date relative to now here"))
}

fn local_now(context: &TextContext) -> Result<i64, Error> {
    Ok(to_local(now(context)?, &context.time_zone).0)
}

fn date_of(fields: &Fields) -> Result<Option<i64>, Refusal> {
    let Some((mut year, month, day)) = fields.date else { return Ok(None) };
    if fields.before_christ {
        if year <= 0 {
            return Err(Refusal::FieldRange);
        }
        year = 1 - year;
    } else if fields.short_year {
        year += if year < 70 {
            2000
        } else if year < 100 {
            1900
        } else {
            0
        };
    } else if year == 0 {
        return Err(Refusal::FieldRange);
    }
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return Err(Refusal::MonthOrDay);
    }
    if day > days_in_month(year, month) || year > 10_000_000 {
        return Err(Refusal::FieldRange);
    }
    Ok(Some(days_from_civil(year, month, day)))
}

fn time_of(fields: &Fields) -> Result<Option<i64>, Refusal> {
    let Some(time) = fields.time_us else { return Ok(None) };
    match fields.afternoon {
        None => Ok(Some(time)),
        Some(_) if time >= 13 * HOUR_US => Err(Refusal::FieldRange),
        Some(afternoon) => Ok(Some(time % (12 * HOUR_US) + if afternoon { 12 * HOUR_US } else { 0 })),
    }
}

/// Splits a text into its fields.
fn scan(text: &str, order: DateOrder) -> Result<Fields, Refusal> {
    let mut fields = Fields::default();
    let mut numbers: Vec<(i64, usize)> = Vec::new();
    let mut month_name = None;
    let mut rest = text.trim();
    if rest.is_empty() || rest.len() > 127 {
        return Err(Refusal::Syntax);
    }
    while let Some(first) = rest.chars().next() {
        if first.is_ascii_whitespace() || first == ',' {
            rest = &rest[1..];
        } else if first.is_ascii_digit() {
            rest = scan_number(rest, order, &mut fields, &mut numbers)?;
        } else if matches!(first, '+' | '-') {
            rest = scan_offset(rest, &mut fields)?;
        } else if first.is_ascii_alphabetic() {
            rest = scan_word(rest, &mut fields, &mut month_name)?;
        } else {
            return Err(Refusal::Syntax);
        }
    }
    if let Some(month) = month_name {
        // "Jan 15 2024", "15 Jan 2024", "2024 Jan 15".
        let (day, year, short) = match numbers[..] {
            [(a, wide), (b, _)] if wide > 2 => (b, a, false),
            [(a, _), (b, wide)] => (a, b, wide <= 2),
            _ => return Err(Refusal::Syntax),
        };
        fields.date = Some((year, month, day));
        fields.short_year = short;
    } else if !numbers.is_empty() {
        return Err(Refusal::Syntax);
    }
    if fields.date.is_none() && fields.time_us.is_none() && fields.special.is_none() {
        return Err(Refusal::Syntax);
    }
    Ok(fields)
}

/// The leading run of bytes that satisfy a condition, and what follows.
fn run(text: &str, take: impl Fn(u8) -> bool) -> (&str, &str) {
    text.split_at(text.bytes().position(|b| !take(b)).unwrap_or(text.len()))
}

fn scan_number<'a>(
    text: &'a str,
    order: DateOrder,
    fields: &mut Fields,
    numbers: &mut Vec<(i64, usize)>,
) -> Result<&'a str, Refusal> {
    let (digits, rest) = run(text, |b| b.is_ascii_digit());
    let value = digits.parse::<i64>().map_err(|_| Refusal::FieldRange)?;
    match rest.as_bytes() {
        [b':', ..] => return scan_time(text, fields),
        [b'-' | b'/' | b'.', b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z', ..]
            if fields.date.is_none() && !(rest.starts_with('.') && digits.len() >= 6) =>
        {
            return scan_date(text, order, fields);
        }
        _ => {}
    }
    match digits.len() {
        8 if fields.date.is_none() => {
            fields.date = Some((value / 10_000, value / 100 % 100, value % 100));
        }
        6 if fields.date.is_none() => {
            fields.date = Some((value / 10_000, value / 100 % 100, value % 100));
            fields.short_year = true;
        }
        6 | 4 if fields.date.is_some() && fields.time_us.is_none() => {
            let (hhmm, seconds) = if digits.len() == 6 { (value / 100, value % 100) } else { (value, 0) };
            let (fraction, rest) = scan_fraction(rest)?;
            fields.time_us = Some(time_us(hhmm / 100, hhmm % 100, seconds, fraction)?);
            return Ok(rest);
        }
        _ if numbers.len() < 2 => numbers.push((value, digits.len())),
        _ => return Err(Refusal::Syntax),
    }
    Ok(rest)
}

/// ".123456" to microseconds, rounded.
fn scan_fraction(text: &str) -> Result<(i64, &str), Refusal> {
    let Some(after) = text.strip_prefix('.') else { return Ok((0, text)) };
    let (digits, rest) = run(after, |b| b.is_ascii_digit());
    let mut value = 0;
    for place in 0..7 {
        value = value * 10 + digits.as_bytes().get(place).map_or(0, |b| i64::from(b - b'0'));
    }
    Ok(((value + 5) / 10, rest))
}

fn time_us(hour: i64, minute: i64, second: i64, fraction_us: i64) -> Result<i64, Refusal> {
    let time = hour * HOUR_US + minute * MINUTE_US + second * SECOND_US + fraction_us;
    if hour > 24 || minute > 59 || second > 60 || time > DAY_US { Err(Refusal::FieldRange) } else { Ok(time) }
}

fn scan_time<'a>(text: &'a str, fields: &mut Fields) -> Result<&'a str, Refusal> {
    if fields.time_us.is_some() {
        return Err(Refusal::Syntax);
    }
    let number = |digits: &str| digits.parse::<i64>().map_err(|_| Refusal::Syntax);
    let (hour, rest) = run(text, |b| b.is_ascii_digit());
    let (minute, rest) = run(rest.get(1..).unwrap_or(""), |b| b.is_ascii_digit());
    let (second, rest) = match rest.strip_prefix(':') {
        Some(rest) => run(rest, |b| b.is_ascii_digit()),
        None => ("0", rest),
    };
    let (fraction, rest) = scan_fraction(rest)?;
    if hour.len() > 7 || minute.len() > 7 || second.len() > 7 {
        return Err(Refusal::FieldRange);
    }
    fields.time_us = Some(time_us(number(hour)?, number(minute)?, number(second)?, fraction)?);
    Ok(rest)
}

fn scan_date<'a>(text: &'a str, order: DateOrder, fields: &mut Fields) -> Result<&'a str, Refusal> {
    // A 'T' between digits starts the time.
    let bytes = text.as_bytes();
    let ends = |at: usize| match bytes.get(at) {
        None => true,
        Some(b'T' | b't') => {
            at > 0
                && bytes.get(at - 1).is_some_and(u8::is_ascii_digit)
                && bytes.get(at + 1).is_some_and(u8::is_ascii_digit)
        }
        Some(b) => !b.is_ascii_alphanumeric() && !matches!(b, b'-' | b'/' | b'.'),
    };
    let length = (0..=bytes.len()).find(|at| ends(*at)).unwrap_or(bytes.len());
    let (date, rest) = text.split_at(length);
    let parts: Vec<&str> = date.split(['-', '/', '.']).collect();
    let [a, b, c] = parts[..] else { return scan_julian(&parts, fields).map(|()| rest) };
    let number = |part: &str| -> Result<i64, Refusal> {
        if part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Refusal::Syntax);
        }
        part.parse().map_err(|_| Refusal::FieldRange)
    };
    if let Some(month) = month_number(b) {
        let (year, day) = if a.len() > 2 { (a, c) } else { (c, a) };
        fields.date = Some((number(year)?, month, number(day)?));
        fields.short_year = year.len() <= 2;
    } else if let Some(month) = month_number(a) {
        fields.date = Some((number(c)?, month, number(b)?));
        fields.short_year = c.len() <= 2;
    } else {
        let (year, month, day) = match order {
            _ if a.len() > 2 => (a, b, c),
            DateOrder::Ymd => (a, b, c),
            DateOrder::Mdy => (c, a, b),
            DateOrder::Dmy => (c, b, a),
        };
        fields.date = Some((number(year)?, number(month)?, number(day)?));
        fields.short_year = year.len() <= 2;
    }
    Ok(rest)
}

/// "2024-123" and "2024.123": year and day of the year.
fn scan_julian(parts: &[&str], fields: &mut Fields) -> Result<(), Refusal> {
    let [year, day] = parts else { return Err(Refusal::Syntax) };
    match (year.parse::<i64>(), day.parse::<i64>()) {
        (Ok(year), Ok(day)) if parts[0].len() == 4 && parts[1].len() == 3 => {
            if !(1..=366).contains(&day) {
                return Err(Refusal::FieldRange);
            }
            fields.date = Some(civil_from_days(days_from_civil(year, 1, 1) + day - 1));
            Ok(())
        }
        _ => Err(Refusal::Syntax),
    }
}

fn month_number(word: &str) -> Option<i64> {
    let at = MONTHS.iter().position(|month| {
        month.eq_ignore_ascii_case(word)
            || (word.len() == 3 && month.as_bytes()[..3].eq_ignore_ascii_case(word.as_bytes()))
    });
    if word.eq_ignore_ascii_case("sept") { Some(9) } else { at.map(|at| at as i64 + 1) }
}

/// "+02", "-08:00", "+0530", "+01:30:15".
fn scan_offset<'a>(text: &'a str, fields: &mut Fields) -> Result<&'a str, Refusal> {
    let negative = text.starts_with('-');
    let (body, rest) = run(text.get(1..).unwrap_or(""), |b| b.is_ascii_digit() || b == b':');
    if body.is_empty() {
        if rest.to_ascii_lowercase().starts_with("infinity") && rest.len() == 8 && fields.date.is_none() {
            fields.special = Some(if negative { Special::MinusInfinity } else { Special::Infinity });
            return Ok("");
        }
        return Err(Refusal::Syntax);
    }
    if fields.date.is_none() && fields.time_us.is_none() {
        return Err(Refusal::Syntax);
    }
    let offset = offset_seconds(body).ok_or(Refusal::Syntax)?;
    if offset >= 16 * 3600 {
        return Err(Refusal::ZoneRange);
    }
    fields.zone = Some(Zone::Offset(if negative { -offset } else { offset }));
    Ok(rest)
}

fn offset_seconds(body: &str) -> Option<i64> {
    let parts: Vec<i64> =
        body.split(':').map(|part| part.parse::<i64>().ok().filter(|_| part.len() <= 6)).collect::<Option<_>>()?;
    let (hours, minutes, seconds) = match parts[..] {
        [all] if body.len() <= 2 => (all, 0, 0),
        [all] if body.len() <= 4 => (all / 100, all % 100, 0),
        [all] => (all / 10_000, all / 100 % 100, all % 100),
        [hours, minutes] => (hours, minutes, 0),
        [hours, minutes, seconds] => (hours, minutes, seconds),
        _ => return None,
    };
    (minutes < 60 && seconds < 60).then_some(hours * 3600 + minutes * 60 + seconds)
}

fn scan_word<'a>(text: &'a str, fields: &mut Fields, month_name: &mut Option<i64>) -> Result<&'a str, Refusal> {
    let (word, rest) = run(text, |b| b.is_ascii_alphabetic());
    let lower = word.to_ascii_lowercase();
    // "Jan-15-2024"
    if month_number(word).is_some() && rest.starts_with(['-', '/']) && fields.date.is_none() {
        return scan_date(text, DateOrder::Mdy, fields);
    }
    match lower.as_str() {
        "t" if rest.starts_with(|c: char| c.is_ascii_digit()) && fields.date.is_some() => {}
        "am" => fields.afternoon = Some(false),
        "pm" => fields.afternoon = Some(true),
        "bc" => fields.before_christ = true,
        "ad" | "at" | "on" => {}
        "infinity" => fields.special = Some(Special::Infinity),
        "epoch" => fields.special = Some(Special::Epoch),
        "now" => fields.special = Some(Special::Now),
        "today" => fields.special = Some(Special::Day(0)),
        "tomorrow" => fields.special = Some(Special::Day(1)),
        "yesterday" => fields.special = Some(Special::Day(-1)),
        "allballs" => {
            fields.time_us = Some(0);
            fields.zone = Some(Zone::Offset(0));
        }
        _ => {
            if let Some(month) = month_number(word) {
                *month_name = Some(month);
            } else if !DAYS.iter().any(|day| {
                day.eq_ignore_ascii_case(word)
                    || (word.len() == 3 && day.as_bytes()[..3].eq_ignore_ascii_case(word.as_bytes()))
            }) {
                let (zone, rest) = run(text, |b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'+' | b'-'));
                if fields.date.is_none() && fields.time_us.is_none() {
                    return Err(Refusal::Syntax);
                }
                fields.zone = Some(
                    abbreviation(zone).map(Zone::Offset).or_else(|| named_zone(zone).map(Zone::Named)).ok_or_else(
                        || {
                            if zone.contains('/') { Refusal::Zone(zone.to_owned()) } else { Refusal::Syntax }
                        },
                    )?,
                );
                return Ok(rest);
            }
        }
    }
    Ok(rest)
}

/// Common zone abbreviations of PostgreSQL's default set, as seconds east of Greenwich.
fn abbreviation(name: &str) -> Option<i64> {
    let hours = match name.to_ascii_lowercase().as_str() {
        "z" | "utc" | "gmt" | "ut" | "uct" | "zulu" | "wet" => 0,
        "bst" | "cet" | "met" | "west" => 1,
        "cest" | "eet" | "sast" | "mest" => 2,
        "eest" | "msk" => 3,
        "jst" | "kst" => 9,
        "aest" => 10,
        "aedt" => 11,
        "nzst" => 12,
        "nzdt" => 13,
        "ast" | "edt" => -4,
        "est" | "cdt" => -5,
        "cst" | "mdt" => -6,
        "mst" | "pdt" => -7,
        "pst" | "akdt" => -8,
        "akst" => -9,
        "hst" => -10,
        _ => return None,
    };
    Some(hours * 3600)
}

fn named_zone(name: &str) -> Option<TimeZone> {
    TimeZone::get(name).ok().or_else(|| TimeZone::posix(name).ok())
}

/// The time zone of that name: IANA's, a fixed offset in hours ("-8", "5.5"), an interval's text, or a POSIX
/// rule. `None` if there is none.
pub fn time_zone(name: &str) -> Option<TimeZone> {
    crate::settings::time_zone(name)
}

/// What a local time in a zone is in UTC, both in microseconds since 2000-01-01. In a gap the time before it
/// counts, in an overlap the standard time, as in PostgreSQL.
pub fn to_utc(local_us: i64, zone: &TimeZone) -> i64 {
    if local_us == i64::MAX || local_us == i64::MIN {
        return local_us;
    }
    // The offsets a day before and after hold the two candidates of any transition near.
    let before = offset_at(local_us.saturating_sub(DAY_US), zone);
    let after = offset_at(local_us.saturating_add(DAY_US), zone);
    if before == after {
        return local_us.saturating_sub(before * SECOND_US);
    }
    let with = |offset: i64| local_us.saturating_sub(offset * SECOND_US);
    let (first, second) = (with(before), with(after));
    match (offset_at(first, zone) == before, offset_at(second, zone) == after) {
        (true, false) => first,
        (false, true) => second,
        // Overlap: standard time is what PostgreSQL takes, the later one; gap: the offset in force before it.
        (true, true) => second,
        (false, false) => first,
    }
}

/// Local time and the offset, in seconds east of Greenwich, of an instant.
pub fn to_local(utc_us: i64, zone: &TimeZone) -> (i64, i64) {
    if utc_us == i64::MAX || utc_us == i64::MIN {
        return (utc_us, 0);
    }
    let offset = offset_at(utc_us, zone);
    (utc_us.saturating_add(offset * SECOND_US), offset)
}

/// Seconds east of Greenwich at an instant. Beyond the years that the zone library covers (-9999 to 9999), as
/// at their ends.
fn offset_at(utc_us: i64, zone: &TimeZone) -> i64 {
    let seconds = utc_us.div_euclid(SECOND_US) + UNIX_OFFSET_S;
    let seconds = seconds.clamp(jiff::Timestamp::MIN.as_second(), jiff::Timestamp::MAX.as_second());
    jiff::Timestamp::from_second(seconds).map_or(0, |instant| i64::from(zone.to_offset(instant).seconds()))
}

/// The abbreviation in force at an instant ("CET"), or the offset where there is none.
pub fn zone_abbreviation(utc_us: i64, zone: &TimeZone) -> String {
    let seconds = utc_us.div_euclid(SECOND_US) + UNIX_OFFSET_S;
    let seconds = seconds.clamp(jiff::Timestamp::MIN.as_second(), jiff::Timestamp::MAX.as_second());
    jiff::Timestamp::from_second(seconds)
        .map_or_else(|_| String::new(), |at| zone.to_offset_info(at).abbreviation().to_owned())
}

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
