//! to_date() and to_timestamp(): dates by a template.

use super::dates::{PATTERNS, ROMAN_MONTHS, iso_week_start};
use super::template::{Piece, pieces};
use crate::error::{Condition, Error};
use crate::sql::types::calendar::*;
use crate::sql::types::datetime::{DAYS, MONTHS};

/// Years of the calendar that Julian days can be counted for.
const YEAR_MAX: i64 = 5_874_898;

/// What a template found in a text; 0 is what has not been said.
#[derive(Default)]
struct Fields {
    hour: i64,
    afternoon: i64,
    minute: i64,
    second: i64,
    second_of_day: i64,
    weekday: i64,
    day: i64,
    day_of_year: i64,
    month: i64,
    millisecond: i64,
    year: i64,
    before_christ: i64,
    week: i64,
    week_of_month: i64,
    century: i64,
    julian: i64,
    microsecond: i64,
    year_digits: u32,
    twelve_hours: bool,
    zone_sign: i64,
    zone_hour: i64,
    zone_minute: i64,
    fraction_digits: i64,
    /// Whether weeks are ISO's.
    iso: Option<bool>,
}

/// A moment as read.
pub(super) struct Read {
    year: i64,
    month: i64,
    day: i64,
    time_us: i64,
    /// Seconds east of Greenwich.
    pub offset_s: Option<i64>,
    /// Digits of a second that the template asks for.
    pub precision: Option<i32>,
}

impl Read {
    /// Days since 2000-01-01.
    pub fn days(&self, text: &str) -> Result<i64, Error> {
        let days = days_from_civil(self.year.clamp(-10_000, YEAR_MAX + 1), self.month, self.day);
        if (MIN_DAY..END_DATE).contains(&days) {
            return Ok(days);
        }
        Err(Error::new(Condition::DatetimeFieldOverflow, format!("date out of range: \"{text}\"")))
    }

    /// Microseconds since 2000-01-01, local.
    pub fn local(&self) -> Option<i64> {
        let days = days_from_civil(self.year.clamp(-10_000, YEAR_MAX + 1), self.month, self.day);
        days.checked_mul(DAY_US)?.checked_add(self.time_us)
    }
}

fn malformed(message: impl Into<String>) -> Error {
    Error::new(Condition::InvalidDatetimeFormat, message)
}

fn overflow(text: &str) -> Error {
    Error::new(Condition::DatetimeFieldOverflow, format!("date/time field value out of range: \"{text}\""))
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// Blanks skipped beyond what the template asks for.
    skipped: i64,
    fixed: bool,
    fields: Fields,
}

/// Reads a text by a template.
pub(super) fn read(text: &str, template: &str) -> Result<Read, Error> {
    let template = pieces(template, PATTERNS, true);
    let mut reader = Reader { text, at: 0, skipped: 0, fixed: false, fields: Fields::default() };
    for index in 0..template.len() {
        if reader.rest().is_empty() {
            break;
        }
        reader.piece(&template, index)?;
    }
    settle(reader.fields, text)
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn skip_character(&mut self) {
        self.at += self.rest().chars().next().map_or(0, char::len_utf8);
    }

    fn skip_spaces(&mut self) {
        while self.rest().starts_with(is_space) {
            self.at += 1;
            self.skipped += 1;
        }
    }

    fn piece(&mut self, template: &[Piece], index: usize) -> Result<(), Error> {
        let Some(piece) = template.get(index) else { return Ok(()) };
        let pattern = match piece {
            Piece::Pattern { name, .. } => Some(*name),
            _ => None,
        };
        let switch = pattern.is_some_and(|name| name.eq_ignore_ascii_case("FX"));
        if !self.fixed && !switch && (pattern.is_some() || index == 0) {
            self.skip_spaces();
        }
        match piece {
            Piece::Space(_) | Piece::Separator(_) if self.fixed => self.skip_character(),
            Piece::Space(_) | Piece::Separator(_) => {
                // Matches one blank or separator, or nothing.
                self.skipped -= 1;
                if self.rest().starts_with(|c: char| is_space(c) || c.is_ascii_punctuation()) {
                    self.at += 1;
                    self.skipped += 1;
                }
            }
            Piece::Text(_) if !self.fixed && self.skipped > 0 => self.skipped -= 1,
            Piece::Text(_) => self.skip_character(),
            Piece::Pattern { name, affixes } => {
                let loose = affixes.fill || affixes.ordinal.is_some() || next_is_no_digit(template.get(index + 1));
                if self.pattern(name, loose)? && affixes.ordinal.is_some() {
                    self.skip_character();
                    self.skip_character();
                }
                if !self.fixed {
                    self.skipped = 0;
                    self.skip_spaces();
                }
            }
        }
        Ok(())
    }

    /// An integer of so many characters, or of as many as there are. How many it was.
    fn integer(&mut self, name: &str, width: usize, loose: bool) -> Result<(i64, usize), Error> {
        let start = self.at;
        while self.rest().starts_with(is_space) {
            self.at += 1;
        }
        let rest = self.rest();
        let window = rest.get(..rest.floor_char_boundary(width)).unwrap_or(rest).to_owned();
        let source = if loose { self.rest() } else { window.as_str() };
        let sign = usize::from(source.starts_with(['-', '+']));
        let digits = source.bytes().skip(sign).take_while(u8::is_ascii_digit).count();
        let used = if digits == 0 { 0 } else { sign + digits };
        let hint = "If your source string is not fixed-width, try using the \"FM\" modifier.";
        if !loose {
            let length = window.len();
            if length < width {
                return Err(malformed(format!("source string too short for \"{name}\" formatting field"))
                    .detail(format!("Field requires {width} characters, but only {length} remain."))
                    .hint(hint));
            }
            if used > 0 && used < width {
                return Err(malformed(format!("invalid value \"{window}\" for \"{name}\""))
                    .detail(format!("Field requires {width} characters, but only {used} could be parsed."))
                    .hint(hint));
            }
        }
        if used == 0 && (loose || self.at == start) {
            return Err(
                malformed(format!("invalid value \"{window}\" for \"{name}\"")).detail("Value must be an integer.")
            );
        }
        let number = source.get(..used).unwrap_or("");
        let value = if used == 0 { Some(0) } else { number.parse::<i32>().ok() };
        self.at += used;
        let Some(value) = value else {
            return Err(Error::new(
                Condition::DatetimeFieldOverflow,
                format!("value for \"{name}\" in source string is out of range"),
            )
            .detail("Value must be in the range -2147483648 to 2147483647."));
        };
        Ok((i64::from(value), self.at - start))
    }

    /// Which of some words comes next.
    fn word(&mut self, name: &str, words: &[&str]) -> Result<i64, Error> {
        let rest = self.rest();
        let found = words.iter().position(|word| {
            rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word)) && !word.is_empty()
        });
        match found.and_then(|at| words.get(at).map(|word| (at, word.len()))) {
            Some((at, length)) => {
                self.at += length;
                Ok(at as i64)
            }
            None => {
                let shown = rest.split(is_space).next().unwrap_or("");
                Err(malformed(format!("invalid value \"{shown}\" for \"{name}\""))
                    .detail("The given value did not match any of the allowed values for this field."))
            }
        }
    }

    /// Reads what a pattern asks for; whether an ordinal's ending may follow.
    fn pattern(&mut self, name: &'static str, loose: bool) -> Result<bool, Error> {
        let upper = name.to_ascii_uppercase();
        let iso = match upper.as_str() {
            "DDD" | "DD" | "D" | "MM" | "MONTH" | "MON" | "RM" | "WW" | "W" | "Y,YYY" | "YYYY" | "YYY" | "YY" | "Y" => {
                Some(false)
            }
            "IDDD" | "ID" | "IW" | "IYYY" | "IYY" | "IY" | "I" => Some(true),
            _ => None,
        };
        if iso.is_some()
            && self.fields.iso.replace(iso.or(self.fields.iso).unwrap_or(false)).is_some_and(|was| Some(was) != iso)
        {
            return Err(malformed("invalid combination of date conventions")
                .hint("Do not mix Gregorian and ISO week date conventions in a formatting template."));
        }
        match upper.as_str() {
            "FX" => self.fixed = true,
            "A.M." | "P.M." => {
                let value = self.word(name, &["A.M.", "P.M."])?;
                set(&mut self.fields.afternoon, value, name)?;
                self.fields.twelve_hours = true;
            }
            "AM" | "PM" => {
                let value = self.word(name, &["AM", "PM"])?;
                set(&mut self.fields.afternoon, value, name)?;
                self.fields.twelve_hours = true;
            }
            "A.D." | "B.C." => {
                let value = self.word(name, &["A.D.", "B.C."])?;
                set(&mut self.fields.before_christ, value, name)?;
            }
            "AD" | "BC" => {
                let value = self.word(name, &["AD", "BC"])?;
                set(&mut self.fields.before_christ, value, name)?;
            }
            "MONTH" => {
                let value = self.word(name, &MONTHS)?;
                set(&mut self.fields.month, value + 1, name)?;
            }
            "MON" => {
                let short: Vec<&str> = MONTHS.iter().map(|month| month.get(..3).unwrap_or(month)).collect();
                let value = self.word(name, &short)?;
                set(&mut self.fields.month, value + 1, name)?;
            }
            "DAY" | "DY" => {
                let length = if upper == "DAY" { usize::MAX } else { 3 };
                let words: Vec<&str> = DAYS.iter().map(|day| day.get(..length.min(day.len())).unwrap_or(day)).collect();
                let value = self.word(name, &words)?;
                set(&mut self.fields.weekday, value, name)?;
                self.fields.weekday += 1;
            }
            "RM" => {
                let value = self.word(name, &ROMAN_MONTHS)?;
                set(&mut self.fields.month, 12 - value, name)?;
            }
            "TZ" | "OF" => {
                let message = format!("formatting field \"{name}\" is only supported in to_char");
                return Err(Error::new(Condition::FeatureNotSupported, message));
            }
            "TZH" => {
                if self.rest().starts_with(['+', '-', ' ']) {
                    self.fields.zone_sign = if self.rest().starts_with('-') { -1 } else { 1 };
                    self.at += 1;
                } else {
                    // A minus may have been taken for a separator.
                    let minus = self.skipped > 0 && self.text.get(..self.at).is_some_and(|text| text.ends_with('-'));
                    self.fields.zone_sign = if minus { -1 } else { 1 };
                }
                let (value, _) = self.integer(name, 2, loose)?;
                set(&mut self.fields.zone_hour, value, name)?;
            }
            "TZM" => {
                if self.fields.zone_sign == 0 {
                    self.fields.zone_sign = 1;
                }
                let (value, _) = self.integer(name, 2, loose)?;
                set(&mut self.fields.zone_minute, value, name)?;
            }
            "Y,YYY" => {
                self.grouped_year()?;
                return Ok(true);
            }
            _ => return self.number(name, &upper, loose).map(|()| true),
        }
        Ok(false)
    }

    fn number(&mut self, name: &'static str, upper: &str, loose: bool) -> Result<(), Error> {
        let width = match upper {
            "HH" | "HH12" | "HH24" => 2,
            "MS" | "FF3" | "IDDD" => 3,
            "US" | "FF6" => 6,
            "FF1" | "ID" => 1,
            "FF2" => 2,
            "FF4" => 4,
            "FF5" => 5,
            other => other.len(),
        };
        let (value, length) = self.integer(name, width, loose)?;
        let fields = &mut self.fields;
        let scale = |digits: usize| 10i64.pow(digits.saturating_sub(length) as u32);
        match upper {
            "HH" | "HH12" => {
                set(&mut fields.hour, value, name)?;
                fields.twelve_hours = true;
            }
            "HH24" => set(&mut fields.hour, value, name)?,
            "MI" => set(&mut fields.minute, value, name)?,
            "SS" => set(&mut fields.second, value, name)?,
            "MS" => {
                set(&mut fields.millisecond, value, name)?;
                fields.millisecond *= scale(3);
            }
            "US" | "FF1" | "FF2" | "FF3" | "FF4" | "FF5" | "FF6" => {
                if upper != "US" {
                    fields.fraction_digits = width as i64;
                }
                set(&mut fields.microsecond, value, name)?;
                fields.microsecond *= scale(6);
            }
            "SSSS" | "SSSSS" => set(&mut fields.second_of_day, value, name)?,
            "MM" => set(&mut fields.month, value, name)?,
            "DDD" | "IDDD" => set(&mut fields.day_of_year, value, name)?,
            "DD" => set(&mut fields.day, value, name)?,
            "D" => set(&mut fields.weekday, value, name)?,
            "ID" => {
                set(&mut fields.weekday, value, name)?;
                fields.weekday = if fields.weekday + 1 > 7 { 1 } else { fields.weekday + 1 };
            }
            "WW" | "IW" => set(&mut fields.week, value, name)?,
            "CC" => set(&mut fields.century, value, name)?,
            "YYYY" | "IYYY" => {
                set(&mut fields.year, value, name)?;
                fields.year_digits = 4;
            }
            "YYY" | "IYY" | "YY" | "IY" | "Y" | "I" => {
                set(&mut fields.year, value, name)?;
                if length < 4 {
                    fields.year = near_2020(fields.year);
                }
                fields.year_digits = match upper {
                    "YYY" | "IYY" => 3,
                    "YY" | "IY" => 2,
                    _ => 1,
                };
            }
            "W" => set(&mut fields.week_of_month, value, name)?,
            "J" => set(&mut fields.julian, value, name)?,
            // A quarter names no day, and may contradict the month.
            _ => {}
        }
        Ok(())
    }

    /// "2,024"
    fn grouped_year(&mut self) -> Result<(), Error> {
        let invalid = || malformed("invalid input string for \"Y,YYY\"");
        let rest = self.rest();
        let start = rest.trim_start_matches(is_space);
        let (thousands, after) = start.split_once(',').ok_or_else(invalid)?;
        let millennia: i64 = thousands.parse::<i32>().map(i64::from).map_err(|_| invalid())?;
        let digits = after.bytes().take(3).take_while(u8::is_ascii_digit).count();
        let years: i64 = after.get(..digits).and_then(|digits| digits.parse().ok()).ok_or_else(invalid)?;
        set(&mut self.fields.year, years + millennia * 1000, "Y,YYY")?;
        self.fields.year_digits = 4;
        self.at += rest.len() - after.len() + digits;
        Ok(())
    }
}

/// Gives a field its value, which no other pattern may contradict.
fn set(field: &mut i64, value: i64, name: &str) -> Result<(), Error> {
    if *field != 0 && *field != value {
        return Err(malformed(format!("conflicting values for \"{name}\" field in formatting string"))
            .detail("This value contradicts a previous setting for the same field type."));
    }
    *field = value;
    Ok(())
}

/// Whether a number before this piece may have any number of digits.
fn next_is_no_digit(next: Option<&Piece>) -> bool {
    match next {
        None => true,
        Some(Piece::Text(c)) => !c.is_ascii_digit(),
        Some(Piece::Space(_) | Piece::Separator(_)) => true,
        Some(Piece::Pattern { name, .. }) => {
            let upper = name.to_ascii_uppercase();
            !matches!(
                upper.as_str(),
                "FF1"
                    | "FF2"
                    | "FF3"
                    | "FF4"
                    | "FF5"
                    | "FF6"
                    | "TZM"
                    | "CC"
                    | "DDD"
                    | "DD"
                    | "D"
                    | "HH24"
                    | "HH12"
                    | "HH"
                    | "IDDD"
                    | "ID"
                    | "IW"
                    | "IYYY"
                    | "IYY"
                    | "IY"
                    | "I"
                    | "J"
                    | "MI"
                    | "MM"
                    | "MS"
                    | "Q"
                    | "SSSSS"
                    | "SSSS"
                    | "SS"
                    | "US"
                    | "WW"
                    | "W"
                    | "Y,YYY"
                    | "YYYY"
                    | "YYY"
                    | "YY"
                    | "Y"
            )
        }
    }
}

/// A year of less than four digits, as the one nearest to 2020.
fn near_2020(year: i64) -> i64 {
    match year {
        ..70 => year + 2000,
        70..100 => year + 1900,
        100..520 => year + 2000,
        520..1000 => year + 1000,
        _ => year,
    }
}

/// Fields into a moment.
fn settle(mut fields: Fields, text: &str) -> Result<Read, Error> {
    let x = fields.second_of_day;
    let (mut hour, mut minute, mut second) = (x / 3600, x % 3600 / 60, x % 60);
    if fields.second != 0 {
        second = fields.second;
    }
    if fields.minute != 0 {
        minute = fields.minute;
    }
    if fields.hour != 0 {
        hour = fields.hour;
    }
    if fields.twelve_hours {
        if !(1..=12).contains(&hour) {
            return Err(malformed(format!("hour \"{hour}\" is invalid for the 12-hour clock"))
                .hint("Use the 24-hour clock, or give an hour between 1 and 12."));
        }
        hour = hour % 12 + if fields.afternoon != 0 { 12 } else { 0 };
    }
    let (mut year, mut month, mut day) = (0, 1, 1);
    let (mut has_month, mut has_day, mut has_year) = (false, false, false);
    if fields.before_christ != 0 {
        fields.century = -fields.century;
    }
    if fields.year != 0 {
        has_year = true;
        year = if fields.century != 0 && fields.year_digits <= 2 {
            year_of_century(fields.century, fields.year % 100)
        } else {
            let year = if fields.before_christ != 0 { -fields.year } else { fields.year };
            if year < 0 { year + 1 } else { year }
        };
    } else if fields.century != 0 {
        has_year = true;
        year = if fields.century >= 0 { (fields.century - 1) * 100 + 1 } else { fields.century * 100 + 1 };
    }
    let mut days = (fields.julian != 0).then_some(fields.julian + MIN_DAY);
    if fields.week != 0 {
        if fields.iso == Some(true) {
            // A Julian day says which year it is.
            let year = days.map_or(year, |days| civil_from_days(days).0);
            let start = iso_week_start(year.clamp(-10_000, YEAR_MAX), fields.week);
            days = Some(match fields.weekday {
                0 => start,
                1 => start + 6,
                weekday => start + weekday - 2,
            });
        } else {
            fields.day_of_year = (fields.week - 1) * 7 + 1;
        }
    }
    if let Some(days) = days {
        (year, month, day) = civil_from_days(days);
        (has_year, has_month, has_day) = (true, true, true);
    }
    if fields.week_of_month != 0 {
        fields.day = (fields.week_of_month - 1) * 7 + 1;
    }
    if fields.day != 0 {
        (day, has_day) = (fields.day, true);
    }
    if fields.month != 0 {
        (month, has_month) = (fields.month, true);
    }
    if fields.day_of_year != 0 && (month <= 1 || day <= 1) {
        if year == 0 && fields.before_christ == 0 {
            return Err(malformed("cannot calculate day of year without year information"));
        }
        let bounded = year.clamp(-10_000, YEAR_MAX);
        let first = if fields.iso == Some(true) { iso_week_start(bounded, 1) } else { days_from_civil(bounded, 1, 1) };
        let found = civil_from_days(first + fields.day_of_year - 1);
        if fields.iso == Some(true) {
            (year, month, day) = found;
        } else {
            let length = days_from_civil(bounded + 1, 1, 1) - first;
            // A day beyond the year's end is left for the check below.
            let (found_month, found_day) =
                if (1..=length).contains(&fields.day_of_year) { (found.1, found.2) } else { (13, 99) };
            month = if month <= 1 { found_month } else { month };
            day = if day <= 1 { found_day } else { day };
        }
        (has_month, has_day) = (true, true);
    }
    let fraction = fields.millisecond * 1000 + fields.microsecond;
    if has_month && !(1..=12).contains(&month) || has_day && !(1..=31).contains(&day) {
        return Err(overflow(text));
    }
    if has_year && has_month && has_day && day > days_in_month(year, month) {
        return Err(overflow(text));
    }
    let clock = (0..24).contains(&hour) && (0..60).contains(&minute) && (0..60).contains(&second);
    if !clock || !(0..SECOND_US).contains(&fraction) {
        return Err(overflow(text));
    }
    let offset_s = zone_offset(&fields, text)?;
    let precision = (fields.fraction_digits != 0).then_some(fields.fraction_digits as i32);
    let time_us = hour * HOUR_US + minute * MINUTE_US + second * SECOND_US + fraction;
    Ok(Read { year, month, day, time_us, offset_s, precision })
}

/// A year of two digits in a century, which begins with year 1 and, before Christ, ends with it.
fn year_of_century(century: i64, year: i64) -> i64 {
    match (century >= 0, year) {
        (true, 0) => century * 100,
        (false, 0) => century * 100 + 1,
        (true, year) => (century - 1) * 100 + year,
        (false, year) => (century + 1) * 100 - year + 1,
    }
}

fn zone_offset(fields: &Fields, text: &str) -> Result<Option<i64>, Error> {
    if fields.zone_sign == 0 {
        return Ok(None);
    }
    if !(0..=15).contains(&fields.zone_hour) || !(0..60).contains(&fields.zone_minute) {
        return Err(Error::new(
            Condition::InvalidTimeZoneDisplacementValue,
            format!("time zone displacement out of range: \"{text}\""),
        ));
    }
    Ok(Some(fields.zone_sign * (fields.zone_hour * 3600 + fields.zone_minute * 60)))
}
