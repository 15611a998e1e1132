//! to_char() of dates, times and intervals.

use super::template::{Piece, ordinal_ending, pieces};
use crate::error::{Condition, Error};
use crate::sql::types::calendar::*;
use crate::sql::types::datetime::{DAYS, MONTHS};
use crate::sql::types::interval::Interval;

/// Patterns, the longer ones of a common beginning first.
pub(super) const PATTERNS: &[&str] = &[
    "A.D.", "A.M.", "AD", "AM", "B.C.", "BC", "CC", "DAY", "DDD", "DD", "DY", "Day", "Dy", "D", "FF1", "FF2", "FF3",
    "FF4", "FF5", "FF6", "FX", "HH24", "HH12", "HH", "IDDD", "ID", "IW", "IYYY", "IYY", "IY", "I", "J", "MI", "MM",
    "MONTH", "MON", "MS", "Month", "Mon", "OF", "P.M.", "PM", "Q", "RM", "SSSSS", "SSSS", "SS", "TZH", "TZM", "TZ",
    "US", "WW", "W", "Y,YYY", "YYYY", "YYY", "YY", "Y", "a.d.", "a.m.", "ad", "am", "b.c.", "bc", "cc", "day", "ddd",
    "dd", "dy", "d", "ff1", "ff2", "ff3", "ff4", "ff5", "ff6", "fx", "hh24", "hh12", "hh", "iddd", "id", "iw", "iyyy",
    "iyy", "iy", "i", "j", "mi", "mm", "month", "mon", "ms", "of", "p.m.", "pm", "q", "rm", "sssss", "ssss", "ss",
    "tzh", "tzm", "tz", "us", "ww", "w", "y,yyy", "yyyy", "yyy", "yy", "y",
];

/// Roman numbers of the months, the last first.
pub(super) const ROMAN_MONTHS: [&str; 12] = ["XII", "XI", "X", "IX", "VIII", "VII", "VI", "V", "IV", "III", "II", "I"];

/// Everything that a template can ask of a moment or an interval.
pub(super) struct Moment<'a> {
    interval: bool,
    /// 0 is 1 BC.
    year: i64,
    month: i64,
    day: i64,
    /// Since 2000-01-01.
    days: i64,
    day_of_year: i64,
    hour: i64,
    minute: i64,
    second: i64,
    fraction_us: i64,
    /// The zone's abbreviation.
    zone: &'a str,
    offset_s: i64,
}

impl<'a> Moment<'a> {
    /// A local timestamp, with its zone if it has one.
    pub fn of(local: i64, zone: &'a str, offset_s: i64) -> Self {
        let (days, time) = (local.div_euclid(DAY_US), local.rem_euclid(DAY_US));
        let (year, month, day) = civil_from_days(days);
        let day_of_year = days - days_from_civil(year, 1, 1) + 1;
        Self { interval: false, year, month, day, days, day_of_year, zone, offset_s, ..Self::clock(time) }
    }

    /// An interval, whose parts may be negative.
    pub fn of_interval(interval: Interval) -> Self {
        let (year, month, day) = (interval.months / 12, interval.months % 12, interval.days);
        Self {
            interval: true,
            year,
            month,
            day,
            days: loose_day(year, month, day),
            day_of_year: interval.months * 30 + interval.days,
            ..Self::clock(interval.time_us)
        }
    }

    fn clock(time: i64) -> Self {
        Self {
            interval: true,
            year: 0,
            month: 0,
            day: 0,
            days: 0,
            day_of_year: 0,
            hour: time / HOUR_US,
            minute: time / MINUTE_US % 60,
            second: time / SECOND_US % 60,
            fraction_us: time % SECOND_US,
            zone: "",
            offset_s: 0,
        }
    }

    /// ISO year, week and day of the year; those of an interval follow from its parts as if they were a date's.
    fn iso(&self) -> (i64, i64, i64) {
        if !self.interval {
            let (year, week) = iso_week(self.days);
            return (year, week, self.days - iso_week_start(year, 1) + 1);
        }
        let start = |year: i64| iso_week_start(year, 1);
        let year = if self.days < start(self.year) { self.year - 1 } else { self.year };
        let week = (self.days - start(year)) / 7 + 1;
        let (year, week) = if week >= 52 && self.days >= start(year + 1) {
            (year + 1, (self.days - start(year + 1)) / 7 + 1)
        } else {
            (year, week)
        };
        (year, week, self.days - start(year) + 1)
    }

    /// A year as it is written: before Christ counted from 1.
    fn shown(&self, year: i64) -> i64 {
        if !self.interval && year <= 0 { 1 - year } else { year }
    }

    /// The moment by a template.
    pub fn text(&self, template: &str) -> Result<String, Error> {
        let mut out = String::new();
        for piece in pieces(template, PATTERNS, true) {
            match piece {
                Piece::Text(c) | Piece::Space(c) | Piece::Separator(c) => out.push(c),
                Piece::Pattern { name, affixes } => {
                    let width = if affixes.fill { Some(0) } else { None };
                    if let Some(number) = self.number(name, width) {
                        out.push_str(&number);
                        if let Some(capitals) = affixes.ordinal {
                            out.push_str(ordinal_ending(&number, capitals)?);
                        }
                    } else {
                        out.push_str(&self.words(name, affixes.fill, affixes.translated)?);
                    }
                }
            }
        }
        Ok(out)
    }

    /// A pattern that gives a number, which may be followed by an ordinal's ending.
    fn number(&self, name: &str, width: Option<usize>) -> Option<String> {
        // Digits of a number with its sign beside them.
        let padded = |value: i64, digits: usize| {
            let width = width.unwrap_or(digits + usize::from(value < 0));
            format!("{value:0width$}")
        };
        // The width is that of another number's sign.
        let beside = |value: i64, digits: usize, sign: i64| {
            let width = width.unwrap_or(digits + usize::from(sign < 0));
            format!("{value:0width$}")
        };
        let seconds = self.hour * 3600 + self.minute * 60 + self.second;
        let iso_year = || self.shown(self.iso().0);
        let year = self.shown(self.year);
        Some(match name.to_ascii_uppercase().as_str() {
            "HH" | "HH12" => beside(if self.hour % 12 == 0 { 12 } else { self.hour % 12 }, 2, self.hour),
            "HH24" => padded(self.hour, 2),
            "MI" => padded(self.minute, 2),
            "SS" => padded(self.second, 2),
            "FF1" => format!("{:01}", self.fraction_us / 100_000),
            "FF2" => format!("{:02}", self.fraction_us / 10_000),
            "FF3" | "MS" => format!("{:03}", self.fraction_us / 1000),
            "FF4" => format!("{:04}", self.fraction_us / 100),
            "FF5" => format!("{:05}", self.fraction_us / 10),
            "FF6" | "US" => format!("{:06}", self.fraction_us),
            "SSSS" | "SSSSS" => seconds.to_string(),
            "MM" => padded(self.month, 2),
            "DDD" => beside(self.day_of_year, 3, 0),
            "IDDD" => beside(self.iso().2, 3, 0),
            "DD" => beside(self.day, 2, 0),
            "D" if !self.interval => (day_of_week(self.days) + 1).to_string(),
            "ID" if !self.interval => ((day_of_week(self.days) + 6) % 7 + 1).to_string(),
            "WW" => beside((self.day_of_year - 1) / 7 + 1, 2, 0),
            "IW" => beside(self.iso().1, 2, 0),
            "Q" if self.month != 0 => ((self.month - 1) / 3 + 1).to_string(),
            "CC" => {
                let century = if self.interval {
                    self.year / 100
                } else if self.year > 0 {
                    (self.year - 1) / 100 + 1
                } else {
                    self.year / 100 - 1
                };
                padded(century, 2)
            }
            "Y,YYY" => format!("{},{:03}", year / 1000, year - year / 1000 * 1000),
            "YYYY" => padded(year, 4),
            "YYY" => beside(year % 1000, 3, year),
            "YY" => beside(year % 100, 2, year),
            "Y" => (year % 10).to_string(),
            "IYYY" => beside(iso_year(), 4, year),
            "IYY" => beside(iso_year() % 1000, 3, year),
            "IY" => beside(iso_year() % 100, 2, year),
            "I" => (iso_year() % 10).to_string(),
            "W" => ((self.day - 1) / 7 + 1).to_string(),
            "J" => (self.days - MIN_DAY).to_string(),
            _ => return None,
        })
    }

    fn words(&self, name: &str, fill: bool, translated: bool) -> Result<String, Error> {
        let upper = name.to_ascii_uppercase();
        // A name in the case that the pattern is written in.
        let cased = |word: &str| {
            if name == upper {
                word.to_uppercase()
            } else if name == name.to_ascii_lowercase() {
                word.to_lowercase()
            } else {
                word.to_owned()
            }
        };
        let wide = |word: String| if fill || translated { word } else { format!("{word:<9}") };
        let calendar = matches!(
            upper.as_str(),
            "TZ" | "TZH" | "TZM" | "OF" | "A.D." | "B.C." | "AD" | "BC" | "MONTH" | "MON" | "DAY" | "DY" | "D" | "ID"
        );
        if calendar && self.interval {
            return Err(Error::new(
                Condition::InvalidDatetimeFormat,
                "invalid format specification for an interval value",
            )
            .hint("Intervals are not tied to specific calendar dates."));
        }
        let afternoon = self.hour % 24 >= 12;
        let month = usize::try_from(self.month - 1).ok().and_then(|at| MONTHS.get(at)).copied().unwrap_or("");
        let weekday = DAYS.get(day_of_week(self.days) as usize).copied().unwrap_or("");
        let sign = if self.offset_s < 0 { '-' } else { '+' };
        let offset = self.offset_s.abs();
        Ok(match upper.as_str() {
            "A.M." | "P.M." => cased(if afternoon { "P.M." } else { "A.M." }),
            "AM" | "PM" => cased(if afternoon { "PM" } else { "AM" }),
            "A.D." | "B.C." => cased(if self.year <= 0 { "B.C." } else { "A.D." }),
            "AD" | "BC" => cased(if self.year <= 0 { "BC" } else { "AD" }),
            "MONTH" => wide(cased(month)),
            "MON" => cased(month.get(..3).unwrap_or("")),
            "DAY" => wide(cased(weekday)),
            "DY" => cased(weekday.get(..3).unwrap_or("")),
            "RM" if self.month != 0 || self.year != 0 => {
                let at = match self.month {
                    0 if self.year >= 0 => 0,
                    0 => 11,
                    month if month < 0 => -(month + 1),
                    month => 12 - month,
                };
                let roman = usize::try_from(at).ok().and_then(|at| ROMAN_MONTHS.get(at)).copied().unwrap_or("");
                let roman = cased(roman);
                if fill { roman } else { format!("{roman:<4}") }
            }
            "TZ" if name == "tz" => self.zone.to_lowercase(),
            "TZ" => self.zone.to_owned(),
            "TZH" => format!("{sign}{:02}", offset / 3600),
            "TZM" => format!("{:02}", offset % 3600 / 60),
            "OF" => {
                let hours = if fill { format!("{}", offset / 3600) } else { format!("{:02}", offset / 3600) };
                let minutes = if offset % 3600 == 0 { String::new() } else { format!(":{:02}", offset % 3600 / 60) };
                format!("{sign}{hours}{minutes}")
            }
            _ => String::new(),
        })
    }
}

/// The day since 2000-01-01 of a date whose month may be 0 or negative, as PostgreSQL counts it.
fn loose_day(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year + 4800, month + 1) } else { (year + 4799, month + 13) };
    let century = year / 100;
    let julian = year * 365 - 32_167 + year / 4 - century + century / 4 + 7834 * month / 256 + day;
    julian + MIN_DAY
}

/// The Monday on which a week of an ISO year begins, in days since 2000-01-01.
pub(super) fn iso_week_start(year: i64, week: i64) -> i64 {
    let fourth = days_from_civil(year, 1, 4);
    fourth - (day_of_week(fourth) + 6) % 7 + (week - 1) * 7
}
