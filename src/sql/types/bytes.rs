//! Text forms of bytea and uuid.

use super::integer::{syntax_error, trim};
use super::{ByteaOutput, Type};
use crate::error::{Condition, Error};

/// Reads bytea: `\x…`, or the escape form.
pub(super) fn parse_bytea(text: &str) -> Result<Vec<u8>, Error> {
    if let Some(hex) = text.strip_prefix("\\x") {
        return decode_hex(hex);
    }
    let invalid = || Error::new(Condition::InvalidTextRepresentation, "invalid input syntax for type bytea");
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match rest.next().ok_or_else(invalid)? {
            b'\\' => out.push(b'\\'),
            first @ b'0'..=b'3' => {
                let mut octal = || rest.next().filter(|b| (b'0'..=b'7').contains(b)).ok_or_else(invalid);
                out.push((first - b'0') << 6 | (octal()? - b'0') << 3 | (octal()? - b'0'));
            }
            _ => return Err(invalid()),
        }
    }
    Ok(out)
}

/// Hexadecimal digits to bytes; white space may stand between pairs.
pub fn decode_hex(text: &str) -> Result<Vec<u8>, Error> {
    let invalid = |message: String| Error::new(Condition::InvalidParameterValue, message);
    let mut out = Vec::with_capacity(text.len() / 2);
    let mut high = None;
    for c in text.chars() {
        if c.is_ascii_whitespace() && high.is_none() {
            continue;
        }
        let digit = c.to_digit(16).ok_or_else(|| invalid(format!("invalid hexadecimal digit: \"{c}\"")))? as u8;
        match high.take() {
            None => high = Some(digit),
            Some(high) => out.push(high << 4 | digit),
        }
    }
    match high {
        None => Ok(out),
        Some(_) => Err(invalid("invalid hexadecimal data: odd number of digits".to_owned())),
    }
}

/// Appends two digits a byte.
pub fn write_hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(bytes.len() * 2);
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
}

/// Appends bytea.
pub(super) fn write_bytea(bytes: &[u8], style: ByteaOutput, out: &mut Vec<u8>) {
    match style {
        ByteaOutput::Hex => {
            out.extend_from_slice(b"\\x");
            write_hex(bytes, out);
        }
        ByteaOutput::Escape => write_escaped(bytes, out),
    }
}

/// Appends the escape form.
pub fn write_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x20..=0x7e => out.push(*byte),
            _ => out.extend_from_slice(format!("\\{byte:03o}").as_bytes()),
        }
    }
}

/// Reads uuid: 32 digits, hyphens after any group of four, braces around.
pub(super) fn parse_uuid(text: &str) -> Result<Vec<u8>, Error> {
    let invalid = || syntax_error(Type::Uuid, text);
    let word = trim(text);
    let body = match word.strip_prefix('{') {
        Some(inner) => inner.strip_suffix('}').ok_or_else(invalid)?,
        None => word,
    };
    let mut digits = String::with_capacity(32);
    let mut after_hyphen = true;
    for c in body.chars() {
        if c == '-' {
            if after_hyphen || !digits.len().is_multiple_of(4) || digits.len() == 32 {
                return Err(invalid());
            }
            after_hyphen = true;
        } else if c.is_ascii_hexdigit() && digits.len() < 32 {
            digits.push(c);
            after_hyphen = false;
        } else {
            return Err(invalid());
        }
    }
    if digits.len() != 32 { Err(invalid()) } else { decode_hex(&digits).map_err(|_| invalid()) }
}

/// Appends a uuid.
pub(super) fn write_uuid(bytes: &[u8], out: &mut Vec<u8>) {
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        write_hex(&[*byte], out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytea_forms() {
        assert_eq!(parse_bytea("\\xDEad be").unwrap(), [0xde, 0xad, 0xbe]);
        assert_eq!(parse_bytea("a\\\\b\\001").unwrap(), b"a\\b\x01");
        assert_eq!(
            parse_bytea("\\x1").unwrap_err().to_string(),
            "invalid hexadecimal data: odd number of digits (22023)"
        );
        assert_eq!(parse_bytea("\\xzz").unwrap_err().to_string(), "invalid hexadecimal digit: \"z\" (22023)");
        assert_eq!(parse_bytea("\\9").unwrap_err().condition().code(), "22P02");
        let mut out = Vec::new();
        write_bytea(b"a\\\x00", ByteaOutput::Escape, &mut out);
        assert_eq!(out, b"a\\\\\\000");
    }

    #[test]
    fn uuid_forms() {
        let expected = parse_uuid("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11").unwrap();
        for text in [
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "{a0eebc999c0b4ef8bb6d6bb9bd380a11}",
            "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
        ] {
            assert_eq!(parse_uuid(text).unwrap(), expected, "{text}");
        }
        for text in ["", "a0eebc99", "{a0eebc999c0b4ef8bb6d6bb9bd380a11", "a0eebc999c0b4ef8bb6d6bb9bd380a1g"] {
            assert!(parse_uuid(text).is_err(), "{text}");
        }
        let mut out = Vec::new();
        write_uuid(&expected, &mut out);
        assert_eq!(out, b"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
    }
}
