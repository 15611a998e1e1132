//! Durations and sizes as PostgreSQL writes them: a number and a unit ("500ms", "2s", "1min", "64MB"), or 0.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A span of time. Zero mostly means "none"; the setting's documentation says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(Duration);

/// A span of time from which on something happens; -1 for never, 0 for always.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Threshold(Option<Duration>);

/// A number of bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(u64);

const TIME_UNITS: &[(&str, u64)] =
    &[("us", 1), ("ms", 1_000), ("s", 1_000_000), ("min", 60_000_000), ("h", 3_600_000_000), ("d", 86_400_000_000)];

/// PostgreSQL's units of memory are powers of two.
const SIZE_UNITS: &[(&str, u64)] = &[("B", 1), ("kB", 1 << 10), ("MB", 1 << 20), ("GB", 1 << 30), ("TB", 1 << 40)];

impl Span {
    /// A span of whole milliseconds.
    pub const fn from_millis(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    /// A span of whole seconds.
    pub const fn from_secs(s: u64) -> Self {
        Self(Duration::from_secs(s))
    }

    /// As a duration.
    pub const fn duration(self) -> Duration {
        self.0
    }

    /// As a duration, or None for zero.
    pub fn nonzero(self) -> Option<Duration> {
        (!self.0.is_zero()).then_some(self.0)
    }

    /// Reads "500ms".
    pub fn parse(text: &str) -> Result<Self, String> {
        parse(text, TIME_UNITS).map(|us| Self(Duration::from_micros(us)))
    }
}

impl Threshold {
    /// As a duration, or None for never.
    pub const fn duration(self) -> Option<Duration> {
        self.0
    }

    /// Reads "500ms", "0" or "-1".
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim() == "-1" { Ok(Self(None)) } else { Span::parse(text).map(|span| Self(Some(span.duration()))) }
    }
}

impl ByteSize {
    /// A size of whole bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// In bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// In bytes, or None for zero.
    pub fn nonzero(self) -> Option<u64> {
        (self.0 != 0).then_some(self.0)
    }

    /// Reads "64MB".
    pub fn parse(text: &str) -> Result<Self, String> {
        parse(text, SIZE_UNITS).map(Self)
    }
}

fn parse(text: &str, units: &[(&str, u64)]) -> Result<u64, String> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let names = || units.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let number: u64 = number.parse().map_err(|_| format!("\"{text}\" is no whole number with a unit ({})", names()))?;
    let unit = unit.trim();
    if number == 0 && unit.is_empty() {
        return Ok(0);
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(format!("\"{text}\" needs one of these units: {}", names()));
    };
    number.checked_mul(*factor).ok_or_else(|| format!("\"{text}\" is too large"))
}

struct Text<T>(fn(&str) -> Result<T, String>, &'static str);

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.1)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.0)(text).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        (self.0)(&number.to_string()).map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Text(Self::parse, "a duration such as \"500ms\", \"2s\" or 0"))
    }
}

impl<'de> Deserialize<'de> for Threshold {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Text(Self::parse, "a duration such as \"500ms\", 0 or -1"))
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Text(Self::parse, "a size such as \"64MB\" or 0"))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = u64::try_from(self.0.as_micros()).unwrap_or(u64::MAX);
        display(us, TIME_UNITS, f)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        display(self.0, SIZE_UNITS, f)
    }
}

fn display(number: u64, units: &[(&str, u64)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match units.iter().rev().find(|(_, factor)| number != 0 && number.is_multiple_of(*factor)) {
        Some((name, factor)) => write!(f, "{}{name}", number / factor),
        None => f.write_str("0"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_take_postgresql_units() {
        for (text, ms) in
            [("500ms", 500), ("2s", 2000), (" 1 min ", 60_000), ("3h", 10_800_000), ("1d", 86_400_000), ("0", 0)]
        {
            assert_eq!(Span::parse(text).unwrap().duration(), Duration::from_millis(ms), "{text}");
        }
        for text in ["", "5", "5 m", "-1s", "1.5s", "99999999999999999999d", "18446744073709551615d"] {
            assert!(Span::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_threshold_may_be_never_or_always() {
        assert_eq!(Threshold::parse("-1").unwrap(), Threshold::default());
        assert_eq!(Threshold::default().duration(), None);
        assert_eq!(Threshold::parse("0").unwrap().duration(), Some(Duration::ZERO));
        assert_eq!(Threshold::parse("250ms").unwrap().duration(), Some(Duration::from_millis(250)));
        for text in ["", "-2", "-1ms", "5"] {
            assert!(Threshold::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_powers_of_two_and_print_as_they_were_written() {
        assert_eq!(ByteSize::parse("64MB").unwrap().bytes(), 64 << 20);
        assert_eq!(ByteSize::parse("64MB").unwrap().to_string(), "64MB");
        assert_eq!(Span::parse("1500ms").unwrap().to_string(), "1500ms");
        assert!(ByteSize::parse("64mb").is_err());
    }
}
