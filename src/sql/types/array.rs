//! Arrays: one dimension, in PostgreSQL's text and binary forms. Elements are converted by their own type.

use std::cmp::Ordering;

use super::{Datum, TextContext, Type, Value, input, numeric, output, receive, send};
use crate::error::{Condition, Error};

fn malformed(text: &str) -> Error {
    Error::new(Condition::InvalidTextRepresentation, format!("malformed array literal: \"{text}\""))
}

/// The elements of an array's text form, still as text; `None` stands for NULL.
pub fn elements(text: &str) -> Result<Vec<Option<String>>, Error> {
    let invalid = || malformed(text);
    if text.trim_start().starts_with('[') {
        return Err(Error::unsupported("an array with bounds of its own"));
    }
    let body = text.trim().strip_prefix('{').and_then(|body| body.strip_suffix('}')).ok_or_else(invalid)?;
    let mut found = Vec::new();
    if body.trim().is_empty() {
        return Ok(found);
    }
    let mut rest = body.chars().peekable();
    loop {
        while rest.next_if(char::is_ascii_whitespace).is_some() {}
        let mut element = String::new();
        let quoted = rest.next_if_eq(&'"').is_some();
        if quoted {
            loop {
                match rest.next().ok_or_else(invalid)? {
                    '"' => break,
                    '\\' => element.push(rest.next().ok_or_else(invalid)?),
                    c => element.push(c),
                }
            }
            while rest.next_if(char::is_ascii_whitespace).is_some() {}
        } else {
            while let Some(c) = rest.next_if(|c| *c != ',') {
                match c {
                    '{' | '}' => return Err(Error::unsupported("an array of more than one dimension")),
                    '"' => return Err(invalid()),
                    '\\' => element.push(rest.next().ok_or_else(invalid)?),
                    c => element.push(c),
                }
            }
            element.truncate(element.trim_end().len());
            if element.is_empty() {
                return Err(invalid());
            }
        }
        found.push(if !quoted && element.eq_ignore_ascii_case("null") { None } else { Some(element) });
        match rest.next() {
            None => return Ok(found),
            Some(',') => {}
            Some(_) => return Err(invalid()),
        }
    }
}

/// Builds an array's text form from its elements' text.
pub fn from_elements<'a>(elements: impl IntoIterator<Item = Option<&'a str>>) -> String {
    let mut out = String::from("{");
    for (index, element) in elements.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        match element {
            None => out.push_str("NULL"),
            Some(element) => {
                let quote = element.is_empty()
                    || element.eq_ignore_ascii_case("null")
                    || element.contains(|c: char| c.is_ascii_whitespace() || c == '\x0b' || "{},\"\\".contains(c));
                if quote {
                    out.push('"');
                    for c in element.chars() {
                        if matches!(c, '"' | '\\') {
                            out.push('\\');
                        }
                        out.push(c);
                    }
                    out.push('"');
                } else {
                    out.push_str(element);
                }
            }
        }
    }
    out.push('}');
    out
}

/// The SQLite collation that orders arrays of that element type; `None` where the elements' text orders them as well
/// as any. Text of the whole would not: `{10}` comes before `{9}`.
pub fn collation(element: Type) -> Option<&'static str> {
    COLLATIONS.iter().find(|(_, elements, _)| elements.contains(&element)).map(|(name, ..)| *name)
}

/// An order of stored values.
type Compare = fn(&str, &str) -> Ordering;

/// Collations of arrays: their elements' types, and how two elements compare.
pub const COLLATIONS: &[(&str, &[Type], Compare)] = &[
    ("pg_array_int", &[Type::Int2, Type::Int4, Type::Int8, Type::Oid], |a, b| compare(a, b, integers)),
    ("pg_array_float", &[Type::Float4, Type::Float8], |a, b| compare(a, b, floats)),
    ("pg_array_numeric", &[Type::Numeric], |a, b| compare(a, b, numeric::compare)),
    ("pg_array_date", &[Type::Date], |a, b| compare(a, b, |a, b| by_value(Type::Date, a, b))),
    ("pg_array_timestamp", &[Type::Timestamp], |a, b| compare(a, b, |a, b| by_value(Type::Timestamp, a, b))),
    ("pg_array_timestamptz", &[Type::Timestamptz], |a, b| compare(a, b, |a, b| by_value(Type::Timestamptz, a, b))),
    (
        "pg_array_text",
        &[Type::Bool, Type::Text, Type::Varchar, Type::Name, Type::Char, Type::Uuid, Type::Bytea, Type::AclItem],
        |a, b| compare(a, b, |a, b| a.cmp(b)),
    ),
];

/// The order of two arrays of that type; `None` for other types.
pub fn compare_as(array: Type, a: &str, b: &str) -> Option<Ordering> {
    let element = array.element().filter(|_| array.is_array())?;
    COLLATIONS.iter().find(|(_, elements, _)| elements.contains(&element)).map(|(_, _, compare)| compare(a, b))
}

/// The order of arrays: element by element, NULL after all others, the shorter before the longer (`array_cmp`).
fn compare(a: &str, b: &str, element: fn(&str, &str) -> Ordering) -> Ordering {
    let (Ok(left), Ok(right)) = (elements(a), elements(b)) else { return a.cmp(b) };
    for pair in left.iter().zip(&right) {
        let order = match pair {
            (Some(a), Some(b)) => element(a, b),
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
        };
        if order.is_ne() {
            return order;
        }
    }
    left.len().cmp(&right.len())
}

fn integers(a: &str, b: &str) -> Ordering {
    a.parse::<i64>().ok().cmp(&b.parse().ok())
}

/// NaN is the greatest; -0 is 0.
fn floats(a: &str, b: &str) -> Ordering {
    let value = |text: &str| text.parse::<f64>().unwrap_or(f64::NAN);
    let (a, b) = (value(a), value(b));
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

fn by_value(type_: Type, a: &str, b: &str) -> Ordering {
    let value = |text: &str| match input(type_, -1, text, &TextContext::default()) {
        Ok(Value::Int(value)) => Some(value),
        _ => None,
    };
    value(a).cmp(&value(b))
}

/// Reads an array's text, and writes it again in canonical form.
pub(super) fn parse(element: Type, text: &str, context: &TextContext) -> Result<Value, Error> {
    let mut shown = Vec::new();
    for item in elements(text)? {
        shown.push(match item {
            None => None,
            Some(item) => Some(element_text(element, input(element, -1, &item, context)?.as_datum(), context)),
        });
    }
    Ok(Value::Text(from_elements(shown.iter().map(Option::as_deref))))
}

/// An element's text form.
pub fn element_text(element: Type, datum: Datum<'_>, context: &TextContext) -> String {
    let mut out = Vec::new();
    output(element, -1, datum, context, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// Values of an array's elements.
pub fn values(element: Type, text: &str, context: &TextContext) -> Result<Vec<Value>, Error> {
    elements(text)?
        .into_iter()
        .map(|item| item.map_or(Ok(Value::Null), |item| input(element, -1, &item, context)))
        .collect()
}

/// int2vector and oidvector: numbers with blanks between.
pub(super) fn parse_vector(element: Type, text: &str, context: &TextContext) -> Result<Value, Error> {
    let mut numbers = Vec::new();
    for word in text.split_ascii_whitespace() {
        numbers.push(element_text(element, input(element, -1, word, context)?.as_datum(), context));
    }
    Ok(Value::Text(numbers.join(" ")))
}

/// Appends the binary form: dimensions, null flag, element's OID, then each element with its length.
pub(super) fn write_binary(array: Type, element: Type, text: &str, out: &mut Vec<u8>) -> Result<(), Error> {
    let context = TextContext::default();
    let vector = !array.is_array();
    let items: Vec<Option<String>> = if vector {
        text.split_ascii_whitespace().map(|word| Some(word.to_owned())).collect()
    } else {
        elements(text)?
    };
    let has_null = items.iter().any(Option::is_none);
    let dimensions: i32 = if items.is_empty() && !vector { 0 } else { 1 };
    out.extend_from_slice(&dimensions.to_be_bytes());
    out.extend_from_slice(&i32::from(has_null).to_be_bytes());
    out.extend_from_slice(&element.oid().to_be_bytes());
    if dimensions == 1 {
        out.extend_from_slice(&(items.len() as i32).to_be_bytes());
        out.extend_from_slice(&i32::from(!vector).to_be_bytes());
    }
    for item in items {
        let Some(item) = item else {
            out.extend_from_slice(&(-1i32).to_be_bytes());
            continue;
        };
        let at = out.len();
        out.extend_from_slice(&[0; 4]);
        send(element, input(element, -1, &item, &context)?.as_datum(), out)?;
        let length = (out.len() - at - 4) as i32;
        out[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

/// Reads the binary form.
pub(super) fn read_binary(array: Type, element: Type, bytes: &[u8]) -> Result<Value, Error> {
    let context = TextContext::default();
    let invalid = |message: &str| Error::new(Condition::InvalidBinaryRepresentation, message);
    let mut reader = Reader(bytes);
    let dimensions = reader.int()?;
    if !matches!(reader.int()?, 0 | 1) {
        return Err(invalid("invalid array flags"));
    }
    if reader.int()? as u32 != element.oid() {
        return Err(Error::new(Condition::DatatypeMismatch, "wrong element type"));
    }
    let count = match dimensions {
        0 => 0,
        1 => {
            let count = reader.int()?;
            reader.int()?;
            usize::try_from(count).map_err(|_| invalid("invalid array size"))?
        }
        _ => return Err(Error::unsupported("an array of more than one dimension")),
    };
    // Each element takes four bytes at least: what a count claims beyond that is refused before any allocation.
    if count > reader.0.len() / 4 {
        return Err(Error::new(Condition::ProtocolViolation, "insufficient data left in message"));
    }
    let mut items = Vec::with_capacity(count);
    for _ in 0..count {
        let length = reader.int()?;
        items.push(match usize::try_from(length) {
            Err(_) if length == -1 => None,
            Err(_) => return Err(invalid("incorrect binary data format")),
            Ok(length) => Some(element_text(element, receive(element, reader.take(length)?)?.as_datum(), &context)),
        });
    }
    if !reader.0.is_empty() {
        return Err(invalid("incorrect binary data format"));
    }
    Ok(Value::Text(if array.is_array() {
        from_elements(items.iter().map(Option::as_deref))
    } else {
        items.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }))
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (head, rest) = self
            .0
            .split_at_checked(length)
            .ok_or_else(|| Error::new(Condition::ProtocolViolation, "insufficient data left in message"))?;
        self.0 = rest;
        Ok(head)
    }

    fn int(&mut self) -> Result<i32, Error> {
        let bytes = self.take(4)?;
        Ok(bytes.iter().fold(0, |value, b| value << 8 | i32::from(*b)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms() {
        let context = TextContext::default();
        for (text, shown) in [
            ("{}", "{}"),
            (" { a , \"b c\" , NULL, \"null\", \"\" } ", "{a,\"b c\",NULL,\"null\",\"\"}"),
            ("{\"a\\\"b\",c\\,d}", "{\"a\\\"b\",\"c,d\"}"),
        ] {
            assert_eq!(parse(Type::Text, text, &context).unwrap(), Value::Text(shown.into()));
        }
        assert_eq!(parse(Type::Int4, "{1, 02}", &context).unwrap(), Value::Text("{1,2}".into()));
        for text in ["", "{", "{1,}", "1,2", "{\"a}", "{a\"b}", "{1}}"] {
            assert!(parse(Type::Text, text, &context).is_err(), "{text}");
        }
        assert_eq!(parse(Type::Int4, "{x}", &context).unwrap_err().condition().code(), "22P02");
    }

    #[test]
    fn binary_forms() {
        for (array, element, text) in [
            (Type::Int4Array, Type::Int4, "{1,NULL,3}"),
            (Type::TextArray, Type::Text, "{}"),
            (Type::Int2Vector, Type::Int2, "1 2"),
        ] {
            let mut bytes = Vec::new();
            write_binary(array, element, text, &mut bytes).unwrap();
            assert_eq!(read_binary(array, element, &bytes).unwrap(), Value::Text(text.into()));
        }
        let huge = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 23, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 1];
        assert_eq!(read_binary(Type::Int4Array, Type::Int4, &huge).unwrap_err().condition().code(), "08P01");
    }
}
