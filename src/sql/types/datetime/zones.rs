//! Time zones: what local time is where.

use jiff::tz::TimeZone;

use super::super::calendar::*;
use super::abbreviations::abbreviation;

/// The calendar repeats after 400 years.
const CYCLE_S: i64 = 146_097 * 86_400;

/// A zone as it can be written in a date or after AT TIME ZONE.
#[derive(Debug, Clone)]
pub enum Zone {
    /// Seconds east of Greenwich.
    Offset(i64),
    /// An abbreviation whose offset has changed, with the zone that says when.
    Changing(&'static str, TimeZone),
    /// A zone with its rules.
    Named(TimeZone),
}

impl Zone {
    /// By an abbreviation, a name, or a rule of POSIX (west of Greenwich is positive).
    pub fn by_name(name: &str) -> Option<Self> {
        abbreviation(name).or_else(|| Self::rule(name))
    }

    /// By a name or a rule of POSIX.
    pub fn rule(name: &str) -> Option<Self> {
        crate::settings::named_zone(name).map(|(zone, _)| Self::Named(zone))
    }

    /// What a local time is in UTC.
    pub fn to_utc(&self, local_us: i64) -> i64 {
        match self {
            _ if is_infinite(local_us) => local_us,
            Self::Offset(east) => local_us.saturating_sub(east * SECOND_US),
            Self::Named(zone) => to_utc(local_us, zone),
            Self::Changing(name, zone) => {
                let near = to_utc(local_us, zone);
                match changing_offset(name, zone, near) {
                    Some(east) => local_us.saturating_sub(east * SECOND_US),
                    None => near,
                }
            }
        }
    }

    /// What local time an instant is.
    pub fn to_local(&self, utc_us: i64) -> i64 {
        match self {
            _ if is_infinite(utc_us) => utc_us,
            Self::Offset(east) => utc_us.saturating_add(east * SECOND_US),
            Self::Named(zone) => to_local(utc_us, zone).0,
            Self::Changing(name, zone) => match changing_offset(name, zone, utc_us) {
                Some(east) => utc_us.saturating_add(east * SECOND_US),
                None => to_local(utc_us, zone).0,
            },
        }
    }
}

fn is_infinite(value: i64) -> bool {
    value == i64::MAX || value == i64::MIN
}

/// The offset that an abbreviation had last at an instant or, where it was not yet in use, had first.
fn changing_offset(name: &str, zone: &TimeZone, utc_us: i64) -> Option<i64> {
    let at = instant(utc_us)?;
    let now = zone.to_offset_info(at);
    if now.abbreviation().eq_ignore_ascii_case(name) {
        return Some(i64::from(now.offset().seconds()));
    }
    let earlier = zone.preceding(at).find(|period| period.abbreviation().eq_ignore_ascii_case(name));
    // Rules go on for ever: what has not been in use some centuries from now never will be.
    let period = earlier
        .or_else(|| zone.following(at).take(1000).find(|period| period.abbreviation().eq_ignore_ascii_case(name)))?;
    Some(i64::from(period.offset().seconds()))
}

/// The time zone library's form of an instant. Beyond the years that it covers (-9999 to 9999), one of a year like
/// it, or the first.
fn instant(utc_us: i64) -> Option<jiff::Timestamp> {
    let seconds = utc_us.div_euclid(SECOND_US) + UNIX_OFFSET_S;
    let last = jiff::Timestamp::MAX.as_second();
    let cycles = if seconds > last { (seconds - last + CYCLE_S - 1) / CYCLE_S } else { 0 };
    let seconds = (seconds - cycles * CYCLE_S).max(jiff::Timestamp::MIN.as_second());
    jiff::Timestamp::from_second(seconds).ok()
}

/// What a local time in a zone is in UTC, both in microseconds since 2000-01-01. In a gap the time before it
/// counts, in an overlap the standard time, as in PostgreSQL.
pub fn to_utc(local_us: i64, zone: &TimeZone) -> i64 {
    if is_infinite(local_us) {
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
    if is_infinite(utc_us) {
        return (utc_us, 0);
    }
    let offset = offset_at(utc_us, zone);
    (utc_us.saturating_add(offset * SECOND_US), offset)
}

/// Seconds east of Greenwich at an instant.
fn offset_at(utc_us: i64, zone: &TimeZone) -> i64 {
    instant(utc_us).map_or(0, |instant| i64::from(zone.to_offset(instant).seconds()))
}

/// Whether the offset never changes.
pub(super) fn is_fixed(zone: &TimeZone) -> bool {
    zone.following(jiff::Timestamp::MIN).next().is_none()
}

/// The abbreviation in force at an instant ("CET"); nothing for a rule that has none.
pub fn zone_abbreviation(utc_us: i64, zone: &TimeZone) -> String {
    let Some(at) = instant(utc_us) else { return String::new() };
    let info = zone.to_offset_info(at);
    let nameless = zone.iana_name().is_none() && info.abbreviation() == crate::settings::NAMELESS;
    if nameless { String::new() } else { info.abbreviation().to_owned() }
}
