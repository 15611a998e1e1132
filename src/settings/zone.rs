//! Time zones by name: IANA's, rules in POSIX's spelling, and numbers of hours.
//!
//! POSIX counts west of Greenwich as positive, ISO and numbers east.

use jiff::tz::{Offset, TimeZone};

/// POSIX's offsets are below a week.
const WEEK_S: i64 = 168 * 3600;
/// When daylight-saving time begins and ends in zones that only name it.
const DEFAULT_RULE: &str = "M3.2.0,M11.1.0";

/// What IANA calls local time without a name; here a rule that has an offset only.
pub const NAMELESS: &str = "-00";

/// The zone that a value of TimeZone means. `None` if there is none.
pub fn time_zone(value: &str) -> Option<TimeZone> {
    setting(value).map(|(zone, _, _)| zone)
}

/// The zone that a value of TimeZone means, its name as SHOW gives it, and whether its offset has seconds.
pub(super) fn setting(value: &str) -> Option<(TimeZone, String, bool)> {
    // A bare number is hours east, fractions included.
    if let Ok(hours) = value.trim_start().parse::<f64>() {
        let seconds = hours * 3600.0;
        if !seconds.is_finite() || seconds.abs() >= WEEK_S as f64 {
            return None;
        }
        let east = seconds as i64;
        return Some((fixed(east)?, offset_name(east), east % 60 != 0));
    }
    let (zone, name) = named_zone(value)?;
    // 2000-01-01
    let odd = jiff::Timestamp::from_second(946_684_800).is_ok_and(|at| zone.to_offset(at).seconds() % 60 != 0);
    Some((zone, name, odd))
}

/// The name of a zone that is that many seconds east of Greenwich: "<+05:30>-05:30".
pub fn offset_name(east_s: i64) -> String {
    let length = east_s.abs();
    let mut shown = format!("{:02}", length / 3600);
    if length % 3600 != 0 {
        shown.push_str(&format!(":{:02}", length / 60 % 60));
    }
    if length % 60 != 0 {
        shown.push_str(&format!(":{:02}", length % 60));
    }
    if east_s < 0 { format!("<-{shown}>+{shown}") } else { format!("<+{shown}>-{shown}") }
}

/// A zone by IANA's name, in any case, or by a rule of POSIX; with its proper name.
pub fn named_zone(name: &str) -> Option<(TimeZone, String)> {
    if name.len() > 255 || name.contains('\0') {
        return None;
    }
    if name.eq_ignore_ascii_case("utc") {
        return Some((TimeZone::UTC, name.to_ascii_uppercase()));
    }
    if let Ok(zone) = TimeZone::get(name) {
        let proper = zone.iana_name().unwrap_or(name).to_owned();
        return Some((zone, proper));
    }
    let upper = name.to_ascii_uppercase();
    posix(&upper).map(|zone| (zone, upper))
}

fn fixed(east_s: i64) -> Option<TimeZone> {
    Offset::from_seconds(i32::try_from(east_s).ok()?).ok().map(TimeZone::fixed)
}

/// `STDoffset[DST[offset][,rule]]`.
fn posix(text: &str) -> Option<TimeZone> {
    let (standard, rest) = abbreviation(text)?;
    let (west, rest) = offset(rest)?;
    if rest.is_empty() {
        let name = if standard.is_empty() { NAMELESS } else { standard };
        return named(name, west).or_else(|| fixed(-west));
    }
    let (daylight, rest) = abbreviation(rest)?;
    if daylight.is_empty() {
        return None;
    }
    let (daylight_west, rest) =
        if rest.is_empty() || rest.starts_with([',', ';']) { (west - 3600, rest) } else { offset(rest)? };
    let rule = match rest.strip_prefix([',', ';']) {
        Some(rule) => rule,
        None if rest.is_empty() => DEFAULT_RULE,
        None => return None,
    };
    let spelled = format!("<{standard}>{}<{daylight}>{},{rule}", spelled(west), spelled(daylight_west));
    TimeZone::posix(&spelled).ok()
}

fn named(abbreviation: &str, west: i64) -> Option<TimeZone> {
    TimeZone::posix(&format!("<{abbreviation}>{}", spelled(west))).ok()
}

fn spelled(west: i64) -> String {
    let sign = if west < 0 { "-" } else { "" };
    let west = west.abs();
    format!("{sign}{:02}:{:02}:{:02}", west / 3600, west / 60 % 60, west % 60)
}

/// An abbreviation, in angle brackets or up to the first digit, sign or comma.
fn abbreviation(text: &str) -> Option<(&str, &str)> {
    if let Some(quoted) = text.strip_prefix('<') {
        return quoted.split_once('>');
    }
    let end = text.find(|c: char| c.is_ascii_digit() || matches!(c, ',' | '-' | '+')).unwrap_or(text.len());
    Some(text.split_at(end))
}

/// `[+-]hours[:minutes[:seconds]]` in seconds.
fn offset(text: &str) -> Option<(i64, &str)> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut seconds = 0;
    for (index, (unit, most)) in [(3600, 167), (60, 59), (1, 60)].into_iter().enumerate() {
        if index > 0 {
            let Some(after) = rest.strip_prefix(':') else { break };
            rest = after;
        }
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (digits, after) = rest.split_at(end);
        let value: i64 = digits.parse().ok().filter(|value| *value <= most)?;
        seconds += value * unit;
        rest = after;
    }
    Some((if negative { -seconds } else { seconds }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_and_signs_read_as_postgresql_does() {
        for (value, name, east_s) in [
            ("02:00", "02:00", -7200),
            ("+02:00", "+02:00", -7200),
            ("-08:00", "-08:00", 28_800),
            ("-3", "<-03>+03", -10_800),
            ("3", "<+03>-03", 10_800),
            ("-3.5", "<-03:30>+03:30", -12_600),
            ("utc+3", "UTC+3", -10_800),
            ("<xx>-3", "<XX>-3", 10_800),
            ("asia/kolkata", "Asia/Kolkata", 19_800),
            ("foo5bar", "FOO5BAR", -14_400),
        ] {
            let (zone, shown, _) = setting(value).unwrap();
            // 2020-07-01
            let at = jiff::Timestamp::from_second(1_593_561_600).unwrap();
            assert_eq!((shown.as_str(), zone.to_offset(at).seconds()), (name, east_s), "{value}");
        }
        for value in ["nosuch", "EST5EDT5X", "", "200", "infinity", "02:60"] {
            assert!(setting(value).is_none(), "{value}");
        }
        assert!(setting("02:00:30").unwrap().2);
    }
}
