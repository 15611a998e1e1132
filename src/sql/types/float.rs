//! Text form of real and double precision.

use super::integer::{syntax_error, trim};
use super::{Datum, Type, Value};
use crate::error::{Condition, Error};

/// The number in a stored float: NaN travels as text, and SQLite may hand back whole numbers as integers.
pub fn from_datum(datum: Datum<'_>) -> f64 {
    match datum {
        Datum::Float(value) => value,
        Datum::Int(value) => value as f64,
        _ => f64::NAN,
    }
}

/// The stored form of a float.
pub fn to_value(value: f64) -> Value {
    if value.is_nan() { Value::Text("NaN".to_owned()) } else { Value::Float(value) }
}

/// Reads real or double precision.
pub(super) fn parse(type_: Type, text: &str) -> Result<f64, Error> {
    let word = trim(text);
    let (sign, rest) = match word.as_bytes() {
        [b'-', ..] => (-1.0, &word[1..]),
        [b'+', ..] => (1.0, &word[1..]),
        _ => (1.0, word),
    };
    if rest.eq_ignore_ascii_case("nan") {
        return Ok(f64::NAN);
    }
    if rest.eq_ignore_ascii_case("inf") || rest.eq_ignore_ascii_case("infinity") {
        return Ok(sign * f64::INFINITY);
    }
    if !rest.bytes().next().is_some_and(|b| b.is_ascii_digit() || b == b'.') {
        return Err(syntax_error(type_, text));
    }
    let value = match type_ {
        Type::Float4 => rest.parse::<f32>().map(f64::from).ok(),
        _ => rest.parse::<f64>().ok(),
    };
    let Some(value) = value else { return Err(syntax_error(type_, text)) };
    let mantissa_is_zero =
        !rest.bytes().take_while(|b| !b.eq_ignore_ascii_case(&b'e')).any(|b| (b'1'..=b'9').contains(&b));
    if value.is_infinite() || (value == 0.0 && !mantissa_is_zero) {
        return Err(Error::new(
            Condition::NumericValueOutOfRange,
            format!("\"{word}\" is out of range for type {}", type_.name()),
        ));
    }
    Ok(sign * value)
}

/// Appends a float in PostgreSQL's format.
pub(super) fn write(type_: Type, value: f64, extra_float_digits: i32, out: &mut Vec<u8>) {
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
        return;
    }
    if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"Infinity" } else { b"-Infinity" });
        return;
    }
    let single = type_ == Type::Float4;
    let (scientific, most) = if extra_float_digits > 0 {
        let text = if single { format!("{:e}", value as f32) } else { format!("{value:e}") };
        (text, if single { 6 } else { 15 })
    } else {
        let digits = (if single { 6 } else { 15 } + extra_float_digits).max(1) as usize;
        (format!("{value:.*e}", digits - 1), digits as i32)
    };
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    let mut digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    digits.truncate(digits.trim_end_matches('0').len().max(1));
    out.extend_from_slice(sign.as_bytes());
    write_digits(&digits, exponent, most, out);
}

/// As `%g` does: fixed while the exponent is in -4..most, scientific otherwise.
fn write_digits(digits: &str, exponent: i32, most: i32, out: &mut Vec<u8>) {
    if exponent < -4 || exponent >= most {
        let (first, rest) = digits.split_at(1);
        out.extend_from_slice(first.as_bytes());
        if !rest.is_empty() {
            out.push(b'.');
            out.extend_from_slice(rest.as_bytes());
        }
        out.extend_from_slice(format!("e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs()).as_bytes());
    } else if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + (-exponent - 1) as usize, b'0');
        out.extend_from_slice(digits.as_bytes());
    } else {
        let whole = exponent as usize + 1;
        if digits.len() <= whole {
            out.extend_from_slice(digits.as_bytes());
            out.resize(out.len() + whole - digits.len(), b'0');
        } else {
            out.extend_from_slice(&digits.as_bytes()[..whole]);
            out.push(b'.');
            out.extend_from_slice(&digits.as_bytes()[whole..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(type_: Type, value: f64, extra: i32) -> String {
        let mut out = Vec::new();
        write(type_, value, extra, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn doubles_are_shown_as_postgresql_shows_them() {
        for (value, text) in [
            (0.1, "0.1"),
            (1e20, "1e+20"),
            (1e15, "1e+15"),
            (1e14, "100000000000000"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (0.0, "0"),
            (-0.0, "-0"),
            (123.456, "123.456"),
            (-1.0 / 3.0, "-0.3333333333333333"),
            (1e300, "1e+300"),
            (f64::INFINITY, "Infinity"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(shown(Type::Float8, value, 1), text);
        }
        assert_eq!(shown(Type::Float8, 1.0 / 3.0, 0), "0.333333333333333");
        assert_eq!(shown(Type::Float4, f64::from(0.1f32), 1), "0.1");
        assert_eq!(shown(Type::Float4, f64::from(1e6f32), 1), "1e+06");
        assert_eq!(shown(Type::Float4, f64::from(123456f32), 1), "123456");
    }

    #[test]
    fn doubles_are_read_as_postgresql_reads_them() {
        assert_eq!(parse(Type::Float8, " 1.5e3 ").ok(), Some(1500.0));
        assert_eq!(parse(Type::Float8, "-inf").ok(), Some(f64::NEG_INFINITY));
        assert_eq!(parse(Type::Float8, ".5").ok(), Some(0.5));
        assert_eq!(
            parse(Type::Float8, "1e400").unwrap_err().to_string(),
            "\"1e400\" is out of range for type double precision (22003)"
        );
        assert_eq!(parse(Type::Float8, "1e-400").unwrap_err().condition().code(), "22003");
        assert_eq!(parse(Type::Float4, "1e40").unwrap_err().condition().code(), "22003");
        for text in ["", "abc", "1.2.3", "e5", "--1", "1 2"] {
            assert_eq!(parse(Type::Float8, text).unwrap_err().condition().code(), "22P02", "{text}");
        }
    }
}
