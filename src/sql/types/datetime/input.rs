//! Reads dates, times and timestamps: fields in any order that PostgreSQL takes, numbers by DateStyle's.

use super::super::calendar::*;
use super::super::{DateOrder, TextContext, Type};
use super::abbreviations::abbreviation;
use super::tokens::{Field, Kind, Label, Special, special, split};
use super::zones::{Zone, is_fixed, to_local, to_utc};
use crate::error::{Condition, Error};

/// Why a text was refused; the message needs the type and the whole text.
enum Refusal {
    Syntax,
    FieldRange,
    MonthOrDay,
    Zone(String),
    ZoneRange,
    Other(Error),
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
            Self::Other(error) => error,
        }
    }
}

/// What has been read: one bit a field.
type Mask = u32;
const YEAR: Mask = 1;
const MONTH: Mask = 1 << 1;
const DAY: Mask = 1 << 2;
const HOUR: Mask = 1 << 3;
const MINUTE: Mask = 1 << 4;
const SECOND: Mask = 1 << 5;
const FRACTION: Mask = 1 << 6;
const DAY_OF_YEAR: Mask = 1 << 7;
const ZONE: Mask = 1 << 8;
const RESERVED: Mask = 1 << 9;
const WEEKDAY: Mask = 1 << 10;
const MERIDIEM: Mask = 1 << 11;
const ERA: Mask = 1 << 12;
const DAYLIGHT: Mask = 1 << 13;
const MODIFIER: Mask = 1 << 14;
const DATE: Mask = YEAR | MONTH | DAY;
const TIME: Mask = HOUR | MINUTE | SECOND | FRACTION;

/// What the whole means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Moment,
    Infinity,
    MinusInfinity,
    Epoch,
}

struct Reader<'a> {
    context: &'a TextContext,
    /// Only a time of day is wanted.
    time_only: bool,
    mask: Mask,
    year: i64,
    month: i64,
    day: i64,
    day_of_year: i64,
    hour: i64,
    minute: i64,
    second: i64,
    fraction_us: i64,
    zone: Option<Zone>,
    /// "DST" after a zone: an hour more.
    daylight_s: i64,
    text_month: bool,
    julian: bool,
    short_year: bool,
    before_christ: bool,
    afternoon: Option<bool>,
    meaning: Meaning,
}

/// Reads a date: days since 2000-01-01.
pub(in crate::sql::types) fn parse_date(text: &str, context: &TextContext) -> Result<i64, Error> {
    let refuse = |refusal: Refusal| refusal.error(Type::Date, text);
    let reader = Reader::read(text, context, false).map_err(refuse)?;
    let days = match reader.meaning {
        Meaning::Infinity => return Ok(i64::from(i32::MAX)),
        Meaning::MinusInfinity => return Ok(i64::from(i32::MIN)),
        Meaning::Epoch => -UNIX_OFFSET_DAYS,
        Meaning::Moment => days_from_civil(reader.year, reader.month, reader.day),
    };
    if !(MIN_DAY..END_DATE).contains(&days) {
        return Err(Error::new(Condition::DatetimeFieldOverflow, format!("date out of range: \"{text}\"")));
    }
    Ok(days)
}

/// Reads a time of day: microseconds since midnight.
pub(in crate::sql::types) fn parse_time(text: &str, context: &TextContext) -> Result<i64, Error> {
    Ok(Reader::read(text, context, true).map_err(|refusal| refusal.error(Type::Time, text))?.time_us())
}

/// Reads timestamp or timestamptz: microseconds since 2000-01-01 (UTC).
pub(in crate::sql::types) fn parse_timestamp(type_: Type, text: &str, context: &TextContext) -> Result<i64, Error> {
    let reader = Reader::read(text, context, false).map_err(|refusal| refusal.error(type_, text))?;
    let value = match reader.meaning {
        Meaning::Infinity => return Ok(i64::MAX),
        Meaning::MinusInfinity => return Ok(i64::MIN),
        Meaning::Epoch => Some(-UNIX_OFFSET_S * SECOND_US),
        Meaning::Moment => {
            let days = days_from_civil(reader.year, reader.month, reader.day);
            let local = days.checked_mul(DAY_US).and_then(|value| value.checked_add(reader.time_us()));
            // Farther out than any zone's offset could bring back.
            let local = local.filter(|local| (MIN_TIMESTAMP - 2 * DAY_US..END_TIMESTAMP + 2 * DAY_US).contains(local));
            match (type_, &reader.zone) {
                (Type::Timestamptz, Some(zone)) => {
                    local.map(|local| zone.to_utc(local) - reader.daylight_s * SECOND_US)
                }
                (Type::Timestamptz, None) => local.map(|local| to_utc(local, &context.time_zone)),
                _ => local,
            }
        }
    };
    value
        .filter(|value| (MIN_TIMESTAMP..END_TIMESTAMP).contains(value))
        .ok_or_else(|| Error::new(Condition::DatetimeFieldOverflow, format!("timestamp out of range: \"{text}\"")))
}

/// A number at the beginning of a text as an int4, and what follows.
fn leading_int(text: &str, overflow: Refusal) -> Result<(i64, &str), Refusal> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if digits.is_empty() {
        return Ok((0, rest));
    }
    digits.parse::<i32>().map(|value| (i64::from(value), rest)).map_err(|_| overflow)
}

/// ".123456" in microseconds, rounded as a float.
fn fraction(text: &str) -> Result<i64, Refusal> {
    if text == "." {
        return Ok(0);
    }
    text.parse::<f64>().map(|value| (value * 1e6).round_ties_even() as i64).map_err(|_| Refusal::Syntax)
}

impl<'a> Reader<'a> {
    fn read(text: &str, context: &'a TextContext, time_only: bool) -> Result<Self, Refusal> {
        let fields = split(text).ok_or(Refusal::Syntax)?;
        let mut reader = Self {
            context,
            time_only,
            mask: 0,
            year: 0,
            month: 0,
            day: 0,
            day_of_year: 0,
            hour: 0,
            minute: 0,
            second: 0,
            fraction_us: 0,
            zone: None,
            daylight_s: 0,
            text_month: false,
            julian: false,
            short_year: false,
            before_christ: false,
            afternoon: None,
            meaning: Meaning::Moment,
        };
        reader.fields(&fields)?;
        reader.finish()?;
        Ok(reader)
    }

    fn time_us(&self) -> i64 {
        self.hour * HOUR_US + self.minute * MINUTE_US + self.second * SECOND_US + self.fraction_us
    }

    fn now_local(&self) -> Result<i64, Refusal> {
        let now =
            self.context.now_us.ok_or_else(|| Refusal::Other(Error::unsupported("a date relative to now here")))?;
        Ok(to_local(now, &self.context.time_zone).0)
    }

    fn has(&self, mask: Mask) -> bool {
        self.mask & mask == mask
    }

    fn set_time(&mut self, time_us: i64) {
        self.hour = time_us / HOUR_US;
        self.minute = time_us / MINUTE_US % 60;
        self.second = time_us / SECOND_US % 60;
        self.fraction_us = time_us % SECOND_US;
    }

    fn set_day(&mut self, days: i64) {
        (self.year, self.month, self.day) = civil_from_days(days);
    }

    fn set_julian_day(&mut self, day: i64) {
        self.set_day(day + MIN_DAY);
        // The year is counted as it is, before Christ as well.
        self.julian = true;
    }

    fn fields(&mut self, fields: &[Field]) -> Result<(), Refusal> {
        let mut label = None;
        for (index, field) in fields.iter().enumerate() {
            let text = field.text.as_str();
            let mask = match field.kind {
                Kind::Date => self.date_or_zone(fields, index, label.take())?,
                Kind::Time => {
                    if label.take().is_some_and(|label| label != Label::Time) && !self.time_only {
                        return Err(Refusal::Syntax);
                    }
                    self.time(text)?
                }
                Kind::Offset => {
                    self.zone = Some(Zone::Offset(offset_seconds(text)?));
                    ZONE
                }
                Kind::Number => match label.take() {
                    Some(label) => self.labelled(text, label)?,
                    None => self.plain_number(fields, index)?,
                },
                Kind::Word | Kind::Special => match self.word(fields, index, &mut label)? {
                    Some(mask) => mask,
                    None => continue,
                },
            };
            if self.mask & mask != 0 {
                return Err(Refusal::Syntax);
            }
            self.mask |= mask;
        }
        Ok(())
    }

    /// A field with dashes, slashes or points: a date, a zone's name, or a time with a zone.
    fn date_or_zone(&mut self, fields: &[Field], index: usize, label: Option<Label>) -> Result<Mask, Refusal> {
        let text = fields.get(index).map_or("", |field| field.text.as_str());
        if label == Some(Label::Julian) && !self.time_only {
            let (day, rest) = leading_int(text, Refusal::FieldRange)?;
            self.set_julian_day(day);
            self.zone = Some(Zone::Offset(offset_seconds(rest)?));
            return Ok(DATE | TIME | ZONE);
        }
        let is_zone = if self.time_only {
            let last_is_date = fields.last().is_some_and(|field| field.kind == Kind::Date);
            let second_is_time = fields.get(1).is_some_and(|field| field.kind == Kind::Time);
            !(index == 0 && fields.len() >= 2 && (last_is_date || second_is_time))
        } else {
            label.is_some() || self.has(MONTH | DAY)
        };
        if !is_zone {
            return self.date(text);
        }
        if !text.starts_with(|c: char| c.is_ascii_digit()) && label.is_none() {
            self.zone = Some(Zone::rule(text).ok_or_else(|| Refusal::Zone(text.to_owned()))?);
            return Ok(ZONE);
        }
        if label.is_some_and(|label| label != Label::Time) || self.has(TIME) {
            return Err(Refusal::Syntax);
        }
        let dash = text.find('-').ok_or(Refusal::Syntax)?;
        let (time, zone) = text.split_at(dash);
        self.zone = Some(Zone::Offset(offset_seconds(zone)?));
        let known = if self.time_only { self.mask | DATE } else { self.mask };
        Ok(self.run_together(time, known)? | ZONE)
    }

    fn date(&mut self, text: &str) -> Result<Mask, Refusal> {
        let before = self.mask;
        let mut parts: Vec<&str> = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            rest = rest.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
            let first = rest.chars().next().ok_or(Refusal::Syntax)?;
            let end = rest.find(
                |c: char| {
                    if first.is_ascii_digit() { !c.is_ascii_digit() } else { !c.is_ascii_alphabetic() }
                },
            );
            let (part, after) = rest.split_at(end.unwrap_or(rest.len()));
            parts.push(part);
            // What parts two fields is dropped, whatever it is.
            let mut characters = after.chars();
            characters.next();
            rest = characters.as_str();
        }
        let mut text_month = false;
        let mut numbers = Vec::new();
        for part in parts {
            if part.starts_with(|c: char| c.is_ascii_digit()) {
                numbers.push(part);
                continue;
            }
            match special(part) {
                Some(Special::Month(month)) if self.mask & MONTH == 0 => {
                    (self.month, text_month) = (month, true);
                    self.mask |= MONTH;
                }
                Some(Special::Ignored) => {}
                _ => return Err(Refusal::Syntax),
            }
        }
        for number in numbers {
            let mask = self.number(number, text_month, self.mask)?;
            if self.mask & mask != 0 {
                return Err(Refusal::Syntax);
            }
            self.mask |= mask;
        }
        if self.mask & !(DAY_OF_YEAR | ZONE) != DATE {
            return Err(Refusal::Syntax);
        }
        let read = self.mask & !before;
        self.mask = before;
        Ok(read)
    }

    /// "04:05", "04:05:06.789", "05:06.789".
    fn time(&mut self, text: &str) -> Result<Mask, Refusal> {
        let (first, rest) = leading_int(text, Refusal::FieldRange)?;
        let (second, rest) = leading_int(rest.strip_prefix(':').ok_or(Refusal::Syntax)?, Refusal::FieldRange)?;
        let mut fraction_us = 0;
        let (hour, minute, second) = match rest.bytes().next() {
            None => (first, second, 0),
            Some(b'.') => {
                fraction_us = fraction(rest)?;
                (0, first, second)
            }
            _ => {
                let (third, rest) = leading_int(rest.strip_prefix(':').ok_or(Refusal::Syntax)?, Refusal::FieldRange)?;
                if rest.starts_with('.') {
                    fraction_us = fraction(rest)?;
                } else if !rest.is_empty() {
                    return Err(Refusal::Syntax);
                }
                (first, second, third)
            }
        };
        (self.hour, self.minute, self.second, self.fraction_us) = (hour, minute, second, fraction_us);
        if minute > 59 || second > 60 || (!self.time_only && self.time_overflows()) {
            return Err(Refusal::FieldRange);
        }
        Ok(TIME)
    }

    fn time_overflows(&self) -> bool {
        self.hour > 24 || self.minute > 59 || self.second > 60 || self.time_us() > DAY_US
    }

    /// A number after a word that says what it is.
    fn labelled(&mut self, text: &str, label: Label) -> Result<Mask, Refusal> {
        let (value, rest) = leading_int(text, Refusal::FieldRange)?;
        let fractional = rest.starts_with('.');
        if fractional && !matches!(label, Label::Julian | Label::Time | Label::Second)
            || !fractional && !rest.is_empty()
        {
            return Err(Refusal::Syntax);
        }
        self.meaning = Meaning::Moment;
        Ok(match label {
            Label::Year => {
                self.year = value;
                YEAR
            }
            Label::Month if self.has(MONTH) && self.has(HOUR) => {
                self.minute = value;
                MINUTE
            }
            Label::Month => {
                self.month = value;
                MONTH
            }
            Label::Day => {
                self.day = value;
                DAY
            }
            Label::Hour => {
                self.hour = value;
                HOUR
            }
            Label::Minute => {
                self.minute = value;
                MINUTE
            }
            Label::Second => {
                self.second = value;
                if fractional {
                    self.fraction_us = fraction(rest)?;
                    SECOND | FRACTION
                } else {
                    SECOND
                }
            }
            Label::Julian => {
                self.set_julian_day(value);
                if fractional {
                    let part = if rest == "." { 0.0 } else { rest.parse::<f64>().map_err(|_| Refusal::Syntax)? };
                    self.set_time((part * DAY_US as f64) as i64);
                    DATE | TIME
                } else {
                    DATE
                }
            }
            Label::Time => match self.run_together(text, self.mask | DATE)? {
                TIME => TIME,
                _ => return Err(Refusal::Syntax),
            },
            Label::Other => return Err(Refusal::Syntax),
        })
    }

    fn plain_number(&mut self, fields: &[Field], index: usize) -> Result<Mask, Refusal> {
        let text = fields.get(index).map_or("", |field| field.text.as_str());
        let point = text.find('.');
        if self.time_only {
            let known = self.mask | DATE;
            return match point {
                Some(_)
                    if index == 0 && fields.len() >= 2 && fields.last().is_some_and(|last| last.kind == Kind::Date) =>
                {
                    self.date(text)
                }
                Some(point) if point > 2 => self.run_together(text, known),
                Some(_) => Err(Refusal::Syntax),
                None if text.len() > 4 => self.run_together(text, known),
                None => self.number(text, false, known),
            };
        }
        match point {
            Some(_) if self.mask & DATE == 0 => self.date(text),
            Some(point) if point > 2 => self.run_together(text, self.mask),
            // Six digits are a date or a time, unless both are there.
            _ if text.len() >= 6 && (self.mask & DATE == 0 || self.mask & TIME == 0) => {
                self.run_together(text, self.mask)
            }
            _ => self.number(text, self.text_month, self.mask),
        }
    }

    /// One number of a date, by what is there already and by DateStyle's order.
    fn number(&mut self, text: &str, text_month: bool, known: Mask) -> Result<Mask, Refusal> {
        let (value, rest) = leading_int(text, Refusal::FieldRange)?;
        if rest.len() == text.len() {
            return Err(Refusal::Syntax);
        }
        if rest.starts_with('.') {
            if text.len() - rest.len() > 2 {
                return self.run_together(text, known | DATE);
            }
            self.fraction_us = fraction(rest)?;
        } else if !rest.is_empty() {
            return Err(Refusal::Syntax);
        }
        let length = text.len();
        if length == 3 && known & DATE == YEAR && (1..=366).contains(&value) {
            self.day_of_year = value;
            return Ok(DAY_OF_YEAR | MONTH | DAY);
        }
        let year_first = length >= 3 || self.context.date_order == DateOrder::Ymd;
        let field = match known & DATE {
            0 if year_first => YEAR,
            0 if self.context.date_order == DateOrder::Dmy => DAY,
            0 => MONTH,
            YEAR => MONTH,
            MONTH if text_month && year_first => YEAR,
            MONTH => DAY,
            mask if mask == YEAR | MONTH => {
                if text_month && length >= 3 && self.short_year {
                    // What seemed to be the year was the day.
                    self.day = self.year;
                    self.year = value;
                    self.short_year = false;
                    return Ok(DAY);
                }
                DAY
            }
            DAY => MONTH,
            mask if mask == MONTH | DAY => YEAR,
            DATE => return self.run_together(text, known),
            _ => return Err(Refusal::Syntax),
        };
        match field {
            YEAR => {
                self.year = value;
                self.short_year = length <= 2;
            }
            MONTH => self.month = value,
            _ => self.day = value,
        }
        Ok(field)
    }

    /// "20240315", "240315", "040506.789", "0405".
    fn run_together(&mut self, text: &str, known: Mask) -> Result<Mask, Refusal> {
        let (digits, point) = text.split_at(text.find('.').unwrap_or(text.len()));
        let part = |from: usize, to: usize| {
            digits.get(from..to).and_then(|part| part.parse::<i32>().ok()).map(i64::from).unwrap_or(0)
        };
        let length = digits.len();
        if !point.is_empty() {
            self.fraction_us = fraction(point)?;
        } else if known & DATE != DATE && length >= 6 {
            self.day = part(length - 2, length);
            self.month = part(length - 4, length - 2);
            self.year = part(0, length - 4);
            if length == 6 {
                self.short_year = true;
            }
            return Ok(DATE);
        }
        if known & TIME != TIME && (length == 6 || length == 4) {
            self.hour = part(0, 2);
            self.minute = part(2, 4);
            self.second = if length == 6 { part(4, 6) } else { 0 };
            return Ok(TIME);
        }
        Err(Refusal::Syntax)
    }

    /// A word; `None` for one without a meaning.
    fn word(&mut self, fields: &[Field], index: usize, label: &mut Option<Label>) -> Result<Option<Mask>, Refusal> {
        let text = fields.get(index).map_or("", |field| field.text.as_str());
        if let Some(zone) = abbreviation(text) {
            self.zone = Some(zone);
            return Ok(Some(ZONE));
        }
        let Some(word) = special(text) else {
            self.zone = Some(Zone::rule(text).ok_or(Refusal::Syntax)?);
            return Ok(Some(ZONE));
        };
        Ok(Some(match word {
            Special::Ignored => return Ok(None),
            Special::Now => {
                let now = self.now_local()?;
                self.set_time(now.rem_euclid(DAY_US));
                if self.time_only {
                    return Ok(Some(TIME));
                }
                self.set_day(now.div_euclid(DAY_US));
                self.meaning = Meaning::Moment;
                self.zone = self.context.now_us.map(|now_us| Zone::Offset(to_local(now_us, &self.context.time_zone).1));
                DATE | TIME | ZONE
            }
            Special::AllBalls => {
                self.set_time(0);
                self.meaning = Meaning::Moment;
                self.zone = Some(Zone::Offset(0));
                TIME | ZONE
            }
            Special::Day(offset) if !self.time_only => {
                let today = self.now_local()?.div_euclid(DAY_US);
                self.set_day(today + offset);
                self.meaning = Meaning::Moment;
                DATE
            }
            Special::Epoch if !self.time_only => {
                self.meaning = Meaning::Epoch;
                RESERVED
            }
            Special::Infinity if !self.time_only => {
                self.meaning = Meaning::Infinity;
                RESERVED
            }
            Special::MinusInfinity if !self.time_only => {
                self.meaning = Meaning::MinusInfinity;
                RESERVED
            }
            Special::Month(month) if !self.time_only => {
                let mut mask = MONTH;
                // A number that was taken for the month was the day.
                if self.has(MONTH) && !self.text_month && !self.has(DAY) && (1..=31).contains(&self.month) {
                    self.day = self.month;
                    mask = DAY;
                }
                (self.text_month, self.month) = (true, month);
                mask
            }
            Special::Weekday if !self.time_only => WEEKDAY,
            Special::Meridiem(afternoon) => {
                self.afternoon = Some(afternoon);
                MERIDIEM
            }
            Special::BeforeChrist(before) => {
                self.before_christ = before;
                ERA
            }
            Special::DaylightSaving => {
                self.daylight_s += 3600;
                MODIFIER | DAYLIGHT
            }
            Special::Label(unit) => {
                *label = Some(unit);
                0
            }
            Special::IsoTime => {
                let next = fields.get(index + 1).map(|field| field.kind);
                let follows = matches!(next, Some(Kind::Number | Kind::Time | Kind::Date));
                if !follows || (!self.time_only && !self.has(DATE)) {
                    return Err(Refusal::Syntax);
                }
                *label = Some(Label::Time);
                0
            }
            _ => return Err(Refusal::Syntax),
        }))
    }

    fn finish(&mut self) -> Result<(), Refusal> {
        self.settle_date()?;
        if let Some(afternoon) = self.afternoon {
            if self.hour > 12 {
                return Err(Refusal::FieldRange);
            }
            self.hour = self.hour % 12 + if afternoon { 12 } else { 0 };
        }
        if self.time_only {
            if self.time_overflows() {
                return Err(Refusal::FieldRange);
            }
            let needs_date = match &self.zone {
                Some(Zone::Named(zone)) => !is_fixed(zone),
                _ => false,
            };
            if !self.has(TIME) || (needs_date && !self.has(DATE)) {
                return Err(Refusal::Syntax);
            }
        } else if self.meaning == Meaning::Moment {
            if !self.has(DATE) {
                return Err(Refusal::Syntax);
            }
            // "DST" goes with an abbreviation only.
            if self.has(MODIFIER) && !matches!(self.zone, Some(Zone::Offset(_))) {
                return Err(Refusal::Syntax);
            }
        }
        Ok(())
    }

    fn settle_date(&mut self) -> Result<(), Refusal> {
        if self.has(YEAR) && !self.julian {
            if self.before_christ {
                if self.year <= 0 {
                    return Err(Refusal::FieldRange);
                }
                self.year = 1 - self.year;
            } else if self.short_year {
                self.year += if self.year < 70 {
                    2000
                } else if self.year < 100 {
                    1900
                } else {
                    0
                };
            } else if self.year <= 0 {
                return Err(Refusal::FieldRange);
            }
        }
        if self.has(DAY_OF_YEAR) {
            (self.year, self.month, self.day) =
                civil_from_days(days_from_civil(self.year, 1, 1) + self.day_of_year - 1);
        }
        if self.has(MONTH) && !(1..=12).contains(&self.month) || self.has(DAY) && !(1..=31).contains(&self.day) {
            return Err(Refusal::MonthOrDay);
        }
        if self.has(DATE) && self.day > days_in_month(self.year, self.month) {
            return Err(Refusal::FieldRange);
        }
        Ok(())
    }
}

/// The same for callers that have no text around it; the error says whether it is out of range.
pub fn offset_of(text: &str) -> Result<i64, bool> {
    offset_seconds(text).map_err(|refusal| matches!(refusal, Refusal::ZoneRange))
}

/// "+02", "-08:00", "+0530", "+01:30:15" in seconds east of Greenwich.
fn offset_seconds(text: &str) -> Result<i64, Refusal> {
    let body = text.strip_prefix(['+', '-']).ok_or(Refusal::Syntax)?;
    let (mut hours, mut rest) = leading_int(body, Refusal::ZoneRange)?;
    let (mut minutes, mut seconds) = (0, 0);
    if let Some(after) = rest.strip_prefix(':') {
        (minutes, rest) = leading_int(after, Refusal::ZoneRange)?;
        if let Some(after) = rest.strip_prefix(':') {
            (seconds, rest) = leading_int(after, Refusal::ZoneRange)?;
        }
    } else if rest.is_empty() && text.len() > 3 {
        (hours, minutes) = (hours / 100, hours % 100);
    }
    if hours > 15 || minutes > 59 || seconds > 59 {
        return Err(Refusal::ZoneRange);
    }
    if !rest.is_empty() {
        return Err(Refusal::Syntax);
    }
    let east = hours * 3600 + minutes * 60 + seconds;
    Ok(if text.starts_with('-') { -east } else { east })
}
