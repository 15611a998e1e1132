//! to_char, to_date, to_timestamp and to_number: values by a template.

use super::arguments::{float, int, numeric, text};
use super::{Function, Host};
use crate::error::{Condition, Error};
use crate::sql::types::Type::{
    Date, Float8, Int4, Int8, Interval as IntervalType, Numeric as NumericType, Text, Timestamp, Timestamptz,
};
use crate::sql::types::calendar::*;
use crate::sql::types::datetime::{DAYS, MONTHS, to_local, to_utc, zone_abbreviation};
use crate::sql::types::interval::Interval;
use crate::sql::types::numeric::Numeric;
use crate::sql::types::{Datum, Value, date_to_timestamp};

/// Functions of this module.
pub(super) const TABLE: &[Function] = &[
    Function::call("to_char", &[Timestamp, Text], Text, "pg_timestamp_to_char", |_, a| {
        Ok(local_text(int(a, 0)?, text(a, 1)?, "", 0))
    })
    .stable(),
    Function::call("to_char", &[Timestamptz, Text], Text, "pg_timestamptz_to_char", |h, a| {
        let (value, zone) = (int(a, 0)?, h.text_context().time_zone);
        let (local, offset) = to_local(value, &zone);
        Ok(local_text(local, text(a, 1)?, &zone_abbreviation(value, &zone), offset))
    })
    .stable(),
    Function::call("to_char", &[Date, Text], Text, "pg_date_to_char", |_, a| {
        Ok(local_text(date_to_timestamp(int(a, 0)?)?, text(a, 1)?, "", 0))
    })
    .stable(),
    Function::call("to_char", &[IntervalType, Text], Text, "pg_interval_to_char", |_, a| {
        let interval = Interval::from_stored(text(a, 0)?)?;
        Ok(Value::Text(date_text(&Moment::of_interval(interval), text(a, 1)?)))
    })
    .stable(),
    Function::call("to_char", &[Int4, Text], Text, "pg_int_to_char", |_, a| {
        number(&Numeric::from_int(int(a, 0)?), text(a, 1)?)
    })
    .stable(),
    Function::call("to_char", &[Int8, Text], Text, "pg_int_to_char", |_, a| {
        number(&Numeric::from_int(int(a, 0)?), text(a, 1)?)
    })
    .stable(),
    Function::call("to_char", &[Float8, Text], Text, "pg_float8_to_char", |_, a| {
        number(&Numeric::from_float(float(a, 0)?, Float8), text(a, 1)?)
    })
    .stable(),
    Function::call("to_char", &[NumericType, Text], Text, "pg_numeric_to_char", |_, a| {
        number(&numeric(a, 0)?, text(a, 1)?)
    })
    .stable(),
    Function::call("to_date", &[Text, Text], Date, "pg_to_date", |_, a| {
        Ok(Value::Int(read(text(a, 0)?, text(a, 1)?)?.day(text(a, 0)?)?))
    })
    .stable(),
    Function::call("to_number", &[Text, Text], NumericType, "pg_to_number", |_, a| {
        let kept: String = text(a, 0)?.chars().filter(|c| c.is_ascii_digit() || matches!(c, '.' | '-')).collect();
        Ok(Numeric::parse(&kept)?.to_value())
    })
    .stable(),
];

/// to_timestamp(text, template).
pub(super) fn to_timestamp(host: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    let input = text(a, 0)?;
    let fields = read(input, text(a, 1)?)?;
    let local = fields.day(input)? * DAY_US + fields.time_us(input)?;
    Ok(Value::Int(to_utc(local, &host.text_context().time_zone)))
}

/// Everything that a template can ask of a moment.
struct Moment<'a> {
    year: i64,
    month: i64,
    day: i64,
    /// Since 2000-01-01; `None` for an interval.
    days: Option<i64>,
    time_us: i64,
    zone: &'a str,
    offset_s: i64,
}

impl Moment<'_> {
    fn of_interval(interval: Interval) -> Self {
        Moment {
            year: interval.months / 12,
            month: interval.months % 12,
            day: interval.days,
            days: None,
            time_us: interval.time_us,
            zone: "",
            offset_s: 0,
        }
    }

    fn hour(&self) -> i64 {
        self.time_us / HOUR_US
    }
}

fn local_text(local: i64, template: &str, zone: &str, offset_s: i64) -> Value {
    if local == i64::MAX || local == i64::MIN {
        return Value::Null;
    }
    let days = local.div_euclid(DAY_US);
    let (year, month, day) = civil_from_days(days);
    let moment = Moment { year, month, day, days: Some(days), time_us: local.rem_euclid(DAY_US), zone, offset_s };
    Value::Text(date_text(&moment, template))
}

/// Patterns, the longest of a common beginning first.
const PATTERNS: &[&str] = &[
    "HH24", "HH12", "HH", "MI", "SSSSS", "SSSS", "SS", "MS", "US", "FF1", "FF2", "FF3", "FF4", "FF5", "FF6", "A.M.",
    "P.M.", "AM", "PM", "Y,YYY", "YYYY", "YYY", "YY", "Y", "IYYY", "IY", "MONTH", "MON", "MM", "DAY", "DDD", "DD",
    "DY", "D", "IW", "ID", "WW", "W", "CC", "J", "Q", "RM", "TZH", "TZM", "TZ", "OF", "BC", "AD",
];

/// A piece of a template.
enum Piece<'a> {
    /// The pattern in capitals, as it was written, and without padding (FM).
    Pattern {
        name: &'static str,
        written: &'a str,
        bare: bool,
        ordinal: bool,
    },
    Literal(&'a str),
}

fn pieces(template: &str) -> Vec<Piece<'_>> {
    let mut found = Vec::new();
    let mut rest = template;
    let mut bare = false;
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"').unwrap_or(quoted.len());
            found.push(Piece::Literal(&quoted[..end]));
            rest = quoted.get(end + 1..).unwrap_or("");
            continue;
        }
        let begins = |prefix: &str| rest.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        if begins("FM") || begins("TM") {
            bare = true;
            rest = &rest[2..];
            continue;
        }
        if let Some(name) = PATTERNS.iter().find(|name| begins(name)) {
            let (written, after) = rest.split_at(name.len());
            let ordinal = after.get(..2).is_some_and(|suffix| suffix.eq_ignore_ascii_case("th"));
            found.push(Piece::Pattern { name, written, bare, ordinal });
            rest = if ordinal { &after[2..] } else { after };
            bare = false;
            continue;
        }
        let length = rest.chars().next().map_or(1, char::len_utf8);
        found.push(Piece::Literal(&rest[..length]));
        rest = &rest[length..];
    }
    found
}

fn date_text(moment: &Moment<'_>, template: &str) -> String {
    let mut out = String::new();
    for piece in pieces(template) {
        match piece {
            Piece::Literal(literal) => out.push_str(literal),
            Piece::Pattern { name, written, bare, ordinal } => {
                let shown = pattern_text(moment, name, written, bare);
                out.push_str(&shown);
                if ordinal {
                    out.push_str(ordinal_suffix(&shown));
                }
            }
        }
    }
    out
}

fn ordinal_suffix(number: &str) -> &'static str {
    match number.as_bytes() {
        [.., b'1', _] => "th",
        [.., b'1'] => "st",
        [.., b'2'] => "nd",
        [.., b'3'] => "rd",
        _ => "th",
    }
}

/// A name in the case that the pattern was written in, padded to nine characters unless bare.
fn name_text(name: &str, written: &str, bare: bool, width: usize) -> String {
    let second_is_lower = written.chars().nth(1).is_some_and(|c| c.is_ascii_lowercase());
    let cased = if written.starts_with(|c: char| c.is_ascii_lowercase()) {
        name.to_lowercase()
    } else if second_is_lower {
        name.to_owned()
    } else {
        name.to_uppercase()
    };
    if bare { cased } else { format!("{cased:<width$}") }
}

fn pattern_text(moment: &Moment<'_>, name: &str, written: &str, bare: bool) -> String {
    let number = |value: i64, width: usize| {
        let sign = usize::from(value < 0);
        if bare { value.to_string() } else { format!("{value:0>width$}", width = width + sign) }
    };
    let (year, days) = (moment.year, moment.days.unwrap_or(0));
    let shown_year = if moment.days.is_some() && year <= 0 { 1 - year } else { year };
    let twelve = (moment.hour() % 12 + 12) % 12;
    let twelve = if twelve == 0 && moment.days.is_some() { 12 } else { twelve };
    let seconds = moment.time_us / SECOND_US;
    let fraction = moment.time_us % SECOND_US;
    let (iso_year, week) = iso_week(days);
    let cased = |text: &str| {
        if written.starts_with(|c: char| c.is_ascii_lowercase()) { text.to_lowercase() } else { text.to_owned() }
    };
    let month_name = |at: i64| usize::try_from(at - 1).ok().and_then(|at| MONTHS.get(at)).copied().unwrap_or("");
    match name {
        "HH24" => number(moment.hour(), 2),
        "HH12" | "HH" => number(twelve, 2),
        "MI" => number(seconds / 60 % 60, 2),
        "SS" => number(seconds % 60, 2),
        "SSSS" | "SSSSS" => number(seconds, 1),
        "MS" => number(fraction / 1000, 3),
        "US" | "FF6" => number(fraction, 6),
        "FF1" => number(fraction / 100_000, 1),
        "FF2" => number(fraction / 10_000, 2),
        "FF3" => number(fraction / 1000, 3),
        "FF4" => number(fraction / 100, 4),
        "FF5" => number(fraction / 10, 5),
        "AM" | "PM" => cased(if moment.hour() % 24 < 12 { "AM" } else { "PM" }),
        "A.M." | "P.M." => cased(if moment.hour() % 24 < 12 { "A.M." } else { "P.M." }),
        "BC" | "AD" => cased(if moment.days.is_some() && year <= 0 { "BC" } else { "AD" }),
        "Y,YYY" => format!("{},{:03}", shown_year / 1000, shown_year % 1000),
        "YYYY" => number(shown_year, 4),
        "YYY" => number(shown_year % 1000, 3),
        "YY" => number(shown_year % 100, 2),
        "Y" => number(shown_year % 10, 1),
        "IYYY" => number(iso_year, 4),
        "IY" => number(iso_year % 100, 2),
        "MONTH" => name_text(month_name(moment.month), written, bare, 9),
        "MON" => name_text(month_name(moment.month).get(..3).unwrap_or(""), written, true, 3),
        "MM" => number(moment.month, 2),
        "DAY" => name_text(DAYS[day_of_week(days) as usize], written, bare, 9),
        "DY" => name_text(&DAYS[day_of_week(days) as usize][..3], written, true, 3),
        "DDD" => number(days - days_from_civil(year, 1, 1) + 1, 3),
        "DD" => number(moment.day, 2),
        "D" => (day_of_week(days) + 1).to_string(),
        "ID" => ((day_of_week(days) + 6) % 7 + 1).to_string(),
        "IW" => number(week, 2),
        "WW" => number((days - days_from_civil(year, 1, 1)) / 7 + 1, 2),
        "W" => ((moment.day - 1) / 7 + 1).to_string(),
        "CC" => number((shown_year + 99) / 100, 2),
        "J" => (days - MIN_DAY).to_string(),
        "Q" => ((moment.month - 1) / 3 + 1).to_string(),
        "RM" => {
            const ROMAN: [&str; 12] = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];
            let roman = usize::try_from(moment.month - 1).ok().and_then(|at| ROMAN.get(at)).copied().unwrap_or("");
            let roman = cased(roman);
            if bare { roman } else { format!("{roman:<4}") }
        }
        "TZ" => cased(moment.zone),
        "TZH" => format!("{}{:02}", if moment.offset_s < 0 { '-' } else { '+' }, moment.offset_s.abs() / 3600),
        "TZM" => format!("{:02}", moment.offset_s.abs() / 60 % 60),
        _ => {
            let minutes = moment.offset_s.abs() / 60 % 60;
            let minutes = if minutes == 0 { String::new() } else { format!(":{minutes:02}") };
            format!("{}{:02}{minutes}", if moment.offset_s < 0 { '-' } else { '+' }, moment.offset_s.abs() / 3600)
        }
    }
}

/// What a template found in a text.
#[derive(Default)]
struct Fields {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    hour: i64,
    minute: i64,
    second: i64,
    fraction_us: i64,
    afternoon: Option<bool>,
    twelve_hours: bool,
}

impl Fields {
    fn day(&self, input: &str) -> Result<i64, Error> {
        let refused =
            || Error::new(Condition::DatetimeFieldOverflow, format!("date/time field value out of range: \"{input}\""));
        // Year 0 is what a template without one leaves: 1 BC.
        let (year, month, day) = (self.year.unwrap_or(0), self.month.unwrap_or(1), self.day.unwrap_or(1));
        if let Some(day) = self.day_of_year {
            return Ok(days_from_civil(year, 1, 1) + day - 1);
        }
        if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) || year > 294_276 {
            return Err(refused());
        }
        Ok(days_from_civil(year, month, day))
    }

    fn time_us(&self, input: &str) -> Result<i64, Error> {
        let most = if self.twelve_hours { 12 } else { 23 };
        if self.twelve_hours && !(1..=12).contains(&self.hour) {
            return Err(Error::new(
                Condition::InvalidDatetimeFormat,
                format!("hour \"{}\" is invalid for the 12-hour clock", self.hour),
            )
            .hint("Use the 24-hour clock, or give an hour between 1 and 12."));
        }
        if self.hour > most || self.minute > 59 || self.second > 59 {
            return Err(Error::new(
                Condition::DatetimeFieldOverflow,
                format!("date/time field value out of range: \"{input}\""),
            ));
        }
        let hour = match self.afternoon {
            Some(afternoon) => self.hour % 12 + if afternoon { 12 } else { 0 },
            None if self.twelve_hours => self.hour % 12,
            None => self.hour,
        };
        Ok(hour * HOUR_US + self.minute * MINUTE_US + self.second * SECOND_US + self.fraction_us)
    }
}

fn read(input: &str, template: &str) -> Result<Fields, Error> {
    let mut fields = Fields::default();
    let mut rest = input;
    let template = pieces(template);
    for (index, piece) in template.iter().enumerate() {
        match piece {
            Piece::Literal(literal) if literal.chars().all(|c| !c.is_alphanumeric()) => {
                // Separators match any run of separators, or nothing.
                rest = rest
                    .trim_start_matches(|c: char| !c.is_alphanumeric() && !matches!(c, '-' | '+'))
                    .trim_start_matches(*literal);
            }
            Piece::Literal(literal) => {
                let length = rest.chars().take(literal.chars().count()).map(char::len_utf8).sum();
                rest = &rest[length..];
            }
            Piece::Pattern { name, .. } => {
                // A number stops at its width only where the next one follows at once.
                let tight = matches!(template.get(index + 1), Some(Piece::Pattern { .. }));
                rest = read_pattern(&mut fields, name, rest.trim_start(), tight, input)?;
            }
        }
    }
    Ok(fields)
}

fn read_pattern<'a>(
    fields: &mut Fields,
    name: &str,
    rest: &'a str,
    tight: bool,
    input: &str,
) -> Result<&'a str, Error> {
    let width = match name {
        "YYYY" | "IYYY" => 4,
        "YYY" | "DDD" | "MS" => 3,
        "US" => 6,
        "Y" | "D" | "Q" => 1,
        _ => 2,
    };
    let begins = |prefix: &str| rest.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    match name {
        "AM" | "PM" | "A.M." | "P.M." => {
            let (afternoon, length) = [("A.M.", false), ("P.M.", true), ("AM", false), ("PM", true)]
                .into_iter()
                .find(|(word, _)| begins(word))
                .map(|(word, afternoon)| (afternoon, word.len()))
                .ok_or_else(|| invalid_value(rest, name))?;
            fields.afternoon = Some(afternoon);
            return Ok(&rest[length..]);
        }
        "MONTH" | "MON" => {
            let long = name == "MONTH";
            let found = MONTHS.iter().position(|month| begins(if long { month } else { &month[..3] }));
            let at = found.ok_or_else(|| invalid_value(rest, name))?;
            fields.month = Some(at as i64 + 1);
            return Ok(&rest[if long { MONTHS[at].len() } else { 3 }..]);
        }
        "DAY" | "DY" => {
            let length = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
            return Ok(&rest[length..]);
        }
        _ => {}
    }
    let digits = rest.bytes().take(if tight { width } else { 18 }).take_while(u8::is_ascii_digit).count();
    let digits = if !tight && !matches!(name, "YYYY" | "IYYY") { digits.min(width) } else { digits };
    let value: i64 = rest[..digits].parse().map_err(|_| invalid_value(rest, name))?;
    match name {
        "YYYY" | "IYYY" => fields.year = Some(value),
        "YY" => fields.year = Some(value + if value < 70 { 2000 } else { 1900 }),
        "YYY" => fields.year = Some(value + if value < 520 { 2000 } else { 1000 }),
        "Y" => fields.year = Some(value + 2000),
        "MM" => fields.month = Some(value),
        "DD" => fields.day = Some(value),
        "DDD" => fields.day_of_year = Some(value),
        "HH24" => fields.hour = value,
        "HH12" | "HH" => (fields.hour, fields.twelve_hours) = (value, true),
        "MI" => fields.minute = value,
        "SS" => fields.second = value,
        "MS" => fields.fraction_us = value * 10i64.pow(6 - digits.clamp(1, 3) as u32),
        "US" => fields.fraction_us = value * 10i64.pow(6 - digits.clamp(1, 6) as u32),
        _ => return Err(Error::unsupported(format!("the template pattern \"{name}\" for \"{input}\""))),
    }
    Ok(&rest[digits..])
}

fn invalid_value(rest: &str, name: &str) -> Error {
    let shown: String = rest.chars().take(name.len()).collect();
    Error::new(Condition::InvalidDatetimeFormat, format!("invalid value \"{shown}\" for \"{name}\""))
}

/// to_char of a number: 9, 0, the point, the group separator, FM, S, MI and PR.
fn number(value: &Numeric, template: &str) -> Result<Value, Error> {
    let upper = template.to_ascii_uppercase();
    let bare = upper.contains("FM");
    let body = upper.replace("FM", "");
    if let Some(unknown) =
        body.chars().find(|c| !matches!(c, '9' | '0' | '.' | ',' | 'D' | 'G' | 'S' | 'M' | 'I' | 'P' | 'R' | ' '))
    {
        return Err(Error::unsupported(format!("the number template \"{unknown}\"")));
    }
    let (minus, plus_minus, angle) = (body.contains("MI"), body.contains('S'), body.contains("PR"));
    let mask: String = body.replace("MI", "").replace("PR", "").replace('S', "").replace('D', ".").replace('G', ",");
    let (whole_mask, fraction_mask) = mask.split_once('.').unwrap_or((&mask, ""));
    let places = |mask: &str| mask.chars().filter(|c| matches!(c, '9' | '0')).count();
    let rounded = value.round(places(fraction_mask) as i64);
    if !matches!(rounded, Numeric::Finite { .. }) {
        return Ok(Value::Text(rounded.to_string()));
    }
    let negative = rounded.signum() == Some(-1);
    let digits = rounded.abs().to_string();
    let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
    let whole = if whole == "0" { "" } else { whole };
    let fits = whole.len() <= places(whole_mask);
    let mut out = whole_text(whole_mask, whole, fits, bare, !mask.contains('.'));
    if mask.contains('.') {
        out.push('.');
        let zeros = fraction_mask.rfind('0').map_or(0, |at| places(&fraction_mask[..=at]));
        let shown = if bare { fraction.trim_end_matches('0') } else { fraction };
        let shown = if shown.len() < zeros { &fraction[..zeros.min(fraction.len())] } else { shown };
        out.push_str(&if fits { shown.to_owned() } else { "#".repeat(places(fraction_mask)) });
    }
    let blanks = out.len() - out.trim_start().len();
    let text = if angle {
        let (open, close) = if negative {
            ("<", ">")
        } else if bare {
            ("", "")
        } else {
            (" ", " ")
        };
        format!("{}{open}{}{close}", &out[..blanks], &out[blanks..])
    } else if minus {
        let sign = if negative {
            "-"
        } else if bare {
            ""
        } else {
            " "
        };
        if body.starts_with("MI") { format!("{sign}{out}") } else { format!("{out}{sign}") }
    } else if plus_minus && body.trim_end().ends_with('S') {
        format!("{out}{}", if negative { '-' } else { '+' })
    } else {
        let sign = if negative {
            "-"
        } else if plus_minus {
            "+"
        } else if bare {
            ""
        } else {
            " "
        };
        format!("{}{sign}{}", &out[..blanks], &out[blanks..])
    };
    Ok(Value::Text(text))
}

/// The digits before the point by their mask: blanks for what leads, hashes for what does not fit.
fn whole_text(mask: &str, digits: &str, fits: bool, bare: bool, lone: bool) -> String {
    let slots = mask.chars().filter(|c| matches!(c, '9' | '0')).count();
    let first_zero = mask.chars().filter(|c| matches!(c, '9' | '0')).position(|c| c == '0').unwrap_or(slots);
    let (mut slot, mut started) = (0, false);
    let mut out = String::new();
    for c in mask.chars() {
        match c {
            '9' | '0' => {
                let digit = (slot + digits.len()).checked_sub(slots).and_then(|at| digits.as_bytes().get(at));
                match digit {
                    _ if !fits => (started, _) = (true, out.push('#')),
                    Some(digit) => (started, _) = (true, out.push(char::from(*digit))),
                    None if slot >= first_zero => (started, _) = (true, out.push('0')),
                    None if !bare => out.push(' '),
                    None => {}
                }
                slot += 1;
            }
            ',' if started => out.push(','),
            _ if !bare => out.push(' '),
            _ => {}
        }
    }
    // A lone zero shows where nothing comes behind it.
    if !lone {
        return out;
    }
    if digits.is_empty() && !started && fits && !bare && !mask.is_empty() && out.ends_with(' ') && mask.ends_with('9') {
        out.pop();
        out.push('0');
    } else if digits.is_empty() && !started && fits && bare && out.is_empty() {
        out.push('0');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(template: &str) -> String {
        let local = days_from_civil(2024, 3, 5) * DAY_US + 14 * HOUR_US + 7 * MINUTE_US + 9 * SECOND_US + 123_456;
        match local_text(local, template, "UTC", 0) {
            Value::Text(text) => text,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn dates_by_template() {
        for (template, expected) in [
            ("YYYY-MM-DD HH24:MI:SS.US", "2024-03-05 14:07:09.123456"),
            ("HH12:MI am", "02:07 pm"),
            ("Day, DD Month YYYY", "Tuesday  , 05 March     2024"),
            ("FMDay, FMDDth FMMonth YYYY", "Tuesday, 5th March 2024"),
            ("Dy DD-Mon-YY", "Tue 05-Mar-24"),
            ("DDD IW Q J", "065 10 1 2460375"),
            ("\"at\" HH24\"h\"", "at 14h"),
        ] {
            assert_eq!(shown(template), expected, "{template}");
        }
    }

    #[test]
    fn numbers_by_template() {
        for (value, template, expected) in [
            ("1234.5", "9999.99", " 1234.50"),
            ("12", "000", " 012"),
            ("-12", "999", " -12"),
            ("1234567", "9,999,999", " 1,234,567"),
            ("12345", "999", " ###"),
            ("12.5", "FM999.99", "12.5"),
            ("-5", "9MI", "5-"),
            ("-5", "S99", " -5"),
            ("5", "99PR", "  5 "),
            ("0.5", "9.99", "  .50"),
            ("0.5", "0.99", " 0.50"),
            ("0", "99", "  0"),
            ("0.1", "FM9.99", ".1"),
        ] {
            assert_eq!(
                number(&Numeric::parse(value).unwrap(), template).unwrap(),
                Value::Text(expected.into()),
                "{value} {template}"
            );
        }
    }

    #[test]
    fn dates_are_read_by_template() {
        let day = |input: &str, template: &str| read(input, template).unwrap().day(input).unwrap();
        assert_eq!(day("2024-03-15", "YYYY-MM-DD"), days_from_civil(2024, 3, 15));
        assert_eq!(day("15 Mar 24", "DD Mon YY"), days_from_civil(2024, 3, 15));
        assert_eq!(day("20240315", "YYYYMMDD"), days_from_civil(2024, 3, 15));
        assert!(read("2024-02-30", "YYYY-MM-DD").unwrap().day("").is_err());
        assert!(read("x", "YYYY").is_err());
    }
}
