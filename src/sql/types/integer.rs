//! Text form of integers, booleans and OIDs. Knows nothing of settings.

use super::Type;
use crate::error::{Condition, Error};

/// `invalid input syntax for type …` (22P02).
pub(super) fn syntax_error(type_: Type, text: &str) -> Error {
    Error::new(
        Condition::InvalidTextRepresentation,
        format!("invalid input syntax for type {}: \"{text}\"", type_.name()),
    )
}

/// The smallest and largest value of an integer type.
pub const fn range(type_: Type) -> (i64, i64) {
    match type_ {
        Type::Int2 => (i16::MIN as i64, i16::MAX as i64),
        Type::Int4 => (i32::MIN as i64, i32::MAX as i64),
        Type::Int8 => (i64::MIN, i64::MAX),
        _ => (0, u32::MAX as i64),
    }
}

/// C's `isspace` in the C locale, which PostgreSQL's parsers skip.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c'))
}

/// Reads smallint, integer and bigint.
pub(super) fn parse_int(type_: Type, text: &str) -> Result<i64, Error> {
    let trimmed = trim(text);
    let (negative, digits) = match trimmed.as_bytes() {
        [b'-', ..] => (true, &trimmed[1..]),
        [b'+', ..] => (false, &trimmed[1..]),
        _ => (false, trimmed),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(syntax_error(type_, text));
    }
    // Accumulated below zero, so that the smallest value needs no special case.
    let value = digits.bytes().try_fold(0i64, |sum, b| sum.checked_mul(10)?.checked_sub(i64::from(b - b'0')));
    let value = if negative { value } else { value.and_then(i64::checked_neg) };
    let (least, most) = range(type_);
    match value {
        Some(value) if (least..=most).contains(&value) => Ok(value),
        _ => Err(Error::new(
            Condition::NumericValueOutOfRange,
            format!("value \"{text}\" is out of range for type {}", type_.name()),
        )),
    }
}

/// Reads oid and xid: unsigned, and, as PostgreSQL's `strtoul` has it, also the negative of 32 bits.
pub(super) fn parse_oid(type_: Type, text: &str) -> Result<i64, Error> {
    let value = parse_int(Type::Int8, text).map_err(|error| {
        if error.condition() == Condition::NumericValueOutOfRange {
            out_of_range(type_, text)
        } else {
            syntax_error(type_, text)
        }
    })?;
    if (0..=i64::from(u32::MAX)).contains(&value) {
        Ok(value)
    } else if (i64::from(i32::MIN)..0).contains(&value) {
        Ok(i64::from(value as u32))
    } else {
        Err(out_of_range(type_, text))
    }
}

fn out_of_range(type_: Type, text: &str) -> Error {
    Error::new(Condition::NumericValueOutOfRange, format!("value \"{text}\" is out of range for type {}", type_.name()))
}

/// Reads a boolean: any unambiguous prefix of true, false, yes, no, on, off; 1 and 0.
pub(super) fn parse_bool(text: &str) -> Result<bool, Error> {
    let word = trim(text);
    let prefix = |of: &str, least: usize| {
        word.len() >= least
            && word.len() <= of.len()
            && of.as_bytes()[..word.len()].eq_ignore_ascii_case(word.as_bytes())
    };
    if prefix("true", 1) || prefix("yes", 1) || prefix("on", 2) || word == "1" {
        Ok(true)
    } else if prefix("false", 1) || prefix("no", 1) || prefix("off", 2) || word == "0" {
        Ok(false)
    } else {
        Err(syntax_error(Type::Bool, text))
    }
}

/// Appends a decimal integer without allocating.
pub fn write_int(value: i64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_as_postgresql_reads_them() {
        for (text, expected) in [("1", 1), (" -7 ", -7), ("+5", 5), ("-2147483648", -2147483648), ("007", 7)] {
            assert_eq!(parse_int(Type::Int4, text).ok(), Some(expected), "{text}");
        }
        for text in ["", "-", "1.5", "1e3", "0x1", "1_0", "one", "- 1"] {
            assert_eq!(parse_int(Type::Int4, text).unwrap_err().condition().code(), "22P02", "{text}");
        }
        let error = parse_int(Type::Int2, "40000").unwrap_err();
        assert_eq!(error.to_string(), "value \"40000\" is out of range for type smallint (22003)");
        assert_eq!(parse_int(Type::Int8, "-9223372036854775808").ok(), Some(i64::MIN));
        assert_eq!(parse_int(Type::Int8, "9223372036854775808").unwrap_err().condition().code(), "22003");
    }

    #[test]
    fn booleans_take_prefixes() {
        for text in ["t", "TRUE", " y ", "on", "1", "tru"] {
            assert_eq!(parse_bool(text).ok(), Some(true), "{text}");
        }
        for text in ["f", "no", "of", "0", "fals"] {
            assert_eq!(parse_bool(text).ok(), Some(false), "{text}");
        }
        for text in ["", "o", "2", "truee"] {
            assert!(parse_bool(text).is_err(), "{text}");
        }
    }

    #[test]
    fn integers_are_written() {
        for value in [0, 1, -1, i64::MAX, i64::MIN, 1234567890] {
            let mut out = Vec::new();
            write_int(value, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
        }
    }
}
