//! Functions of text and bytea.

use super::arguments::{bytes, int, text, truth, type_};
use super::{Function, Host, pattern, regexp};
use crate::error::{Condition, Error};
use crate::sql::types::Type;
use crate::sql::types::Type::{Any, AnyElement, Bool, Bytea, Int4, Int8, Text, TextArray};
use crate::sql::types::{self, Datum, Value};
use crate::work;

/// Bytes that a result may have at most, as in PostgreSQL.
const MAX_LENGTH: i64 = 1 << 30;

fn owned(value: impl Into<String>) -> Result<Value, Error> {
    Ok(Value::Text(value.into()))
}

fn too_long() -> Error {
    Error::new(Condition::ProgramLimitExceeded, "requested length too large")
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(Condition::InvalidParameterValue, message)
}

/// Functions of this module.
pub(super) const TABLE: &[Function] = &[
    Function::call("length", &[Text], Int4, "pg_length", length),
    Function::call("length", &[Bytea], Int4, "pg_octet_length", octet_length),
    Function::call("char_length", &[Text], Int4, "pg_length", length),
    Function::call("character_length", &[Text], Int4, "pg_length", length),
    Function::call("octet_length", &[Text], Int4, "pg_octet_length", octet_length),
    Function::call("octet_length", &[Bytea], Int4, "pg_octet_length", octet_length),
    Function::call("bit_length", &[Text], Int4, "pg_bit_length", |_, a| Ok(Value::Int(text(a, 0)?.len() as i64 * 8))),
    Function::call("lower", &[Text], Text, "pg_lower", |_, a| owned(fold(text(a, 0)?, char::to_lowercase))),
    Function::call("upper", &[Text], Text, "pg_upper", |_, a| owned(fold(text(a, 0)?, char::to_uppercase))),
    Function::call("initcap", &[Text], Text, "pg_initcap", |_, a| owned(initcap(text(a, 0)?))),
    Function::call("substring", &[Text, Int4], Text, "pg_substr", substr),
    Function::call("substring", &[Text, Int4, Int4], Text, "pg_substr", substr),
    Function::call("substring", &[Text, Text], Text, "pg_substring_regex", regexp::substring),
    Function::call("substring", &[Text, Text, Text], Text, "pg_substring_similar", regexp::substring_similar),
    Function::call("substr", &[Text, Int4], Text, "pg_substr", substr),
    Function::call("substr", &[Text, Int4, Int4], Text, "pg_substr", substr),
    Function::call("position", &[Text, Text], Int4, "pg_strpos", strpos),
    Function::call("strpos", &[Text, Text], Int4, "pg_strpos", strpos),
    Function::call("btrim", &[Text], Text, "pg_btrim", |_, a| trim(a, true, true)),
    Function::call("btrim", &[Text, Text], Text, "pg_btrim", |_, a| trim(a, true, true)),
    Function::call("ltrim", &[Text], Text, "pg_ltrim", |_, a| trim(a, true, false)),
    Function::call("ltrim", &[Text, Text], Text, "pg_ltrim", |_, a| trim(a, true, false)),
    Function::call("rtrim", &[Text], Text, "pg_rtrim", |_, a| trim(a, false, true)),
    Function::call("rtrim", &[Text, Text], Text, "pg_rtrim", |_, a| trim(a, false, true)),
    Function::call("replace", &[Text, Text, Text], Text, "pg_replace", |_, a| {
        let (subject, from) = (text(a, 0)?, text(a, 1)?);
        let to = text(a, 2)?;
        if from.is_empty() {
            return owned(subject);
        }
        if to.len() > from.len() {
            let grown = subject.matches(from).count().saturating_mul(to.len() - from.len());
            if subject.len().saturating_add(grown) >= MAX_LENGTH as usize {
                return Err(too_long());
            }
            work::reserve(subject.len().saturating_add(grown).saturating_mul(2))?;
        }
        owned(subject.replace(from, to))
    }),
    Function::call("translate", &[Text, Text, Text], Text, "pg_translate", |_, a| {
        let (from, to): (Vec<char>, Vec<char>) = (text(a, 1)?.chars().collect(), text(a, 2)?.chars().collect());
        owned(
            text(a, 0)?
                .chars()
                .filter_map(|c| from.iter().position(|f| *f == c).map_or(Some(c), |at| to.get(at).copied()))
                .collect::<String>(),
        )
    }),
    Function::call("string_to_array", &[Text, Text], TextArray, "pg_string_to_array", string_to_array).lenient(),
    Function::call("string_to_array", &[Text, Text, Text], TextArray, "pg_string_to_array", string_to_array).lenient(),
    Function::call("overlay", &[Text, Text, Int4], Text, "pg_overlay", overlay),
    Function::call("overlay", &[Text, Text, Int4, Int4], Text, "pg_overlay", overlay),
    Function::call("num_nulls", &[Any], Int4, "pg_num_nulls", |_, a| {
        Ok(Value::Int(a.iter().filter(|datum| **datum == Datum::Null).count() as i64))
    })
    .variadic(Any)
    .lenient(),
    Function::call("num_nonnulls", &[Any], Int4, "pg_num_nonnulls", |_, a| {
        Ok(Value::Int(a.iter().filter(|datum| **datum != Datum::Null).count() as i64))
    })
    .variadic(Any)
    .lenient(),
    Function::call("repeat", &[Text, Int4], Text, "pg_repeat", |_, a| {
        let (subject, times) = (text(a, 0)?, int(a, 1)?.max(0));
        if times.saturating_mul(subject.len() as i64) >= MAX_LENGTH {
            return Err(too_long());
        }
        work::reserve(subject.len().saturating_mul(times as usize))?;
        owned(subject.repeat(times as usize))
    }),
    Function::call("left", &[Text, Int4], Text, "pg_left", |_, a| {
        let (subject, count) = (text(a, 0)?, int(a, 1)?);
        let keep = if count < 0 { subject.chars().count() as i64 + count } else { count };
        owned(subject.chars().take(keep.max(0) as usize).collect::<String>())
    }),
    Function::call("right", &[Text, Int4], Text, "pg_right", |_, a| {
        let (subject, count) = (text(a, 0)?, int(a, 1)?);
        let skip = if count < 0 { -count } else { subject.chars().count() as i64 - count };
        owned(subject.chars().skip(skip.max(0) as usize).collect::<String>())
    }),
    Function::call("lpad", &[Text, Int4], Text, "pg_lpad", |_, a| pad(a, true)),
    Function::call("lpad", &[Text, Int4, Text], Text, "pg_lpad", |_, a| pad(a, true)),
    Function::call("rpad", &[Text, Int4], Text, "pg_rpad", |_, a| pad(a, false)),
    Function::call("rpad", &[Text, Int4, Text], Text, "pg_rpad", |_, a| pad(a, false)),
    Function::call("reverse", &[Text], Text, "pg_reverse", |_, a| owned(text(a, 0)?.chars().rev().collect::<String>())),
    Function::call("split_part", &[Text, Text, Int4], Text, "pg_split_part", split_part),
    Function::call("concat", &[Any], Text, "pg_concat", concat).variadic(Any).lenient().stable().typed(),
    Function::call("concat_ws", &[Text], Text, "pg_concat_ws", concat_ws).variadic(Any).lenient().stable().typed(),
    Function::call("format", &[Text], Text, "pg_format", format_function).variadic(Any).lenient().stable().typed(),
    Function::call("md5", &[Text], Text, "pg_md5", |_, a| owned(md5(text(a, 0)?.as_bytes()))),
    Function::call("md5", &[Bytea], Text, "pg_md5_bytea", |_, a| owned(md5(bytes(a, 0)?))),
    Function::call("encode", &[Bytea, Text], Text, "pg_encode", encode),
    Function::call("decode", &[Text, Text], Bytea, "pg_decode", decode),
    Function::call("chr", &[Int4], Text, "pg_chr", |_, a| {
        let code = int(a, 0)?;
        if code < 0 {
            return Err(invalid("character number must be positive"));
        }
        if code == 0 {
            return Err(Error::new(Condition::ProgramLimitExceeded, "null character not permitted"));
        }
        match u32::try_from(code).ok().and_then(char::from_u32) {
            Some(c) => owned(c),
            None if code > 0x10_ffff => Err(Error::new(
                Condition::ProgramLimitExceeded,
                format!("requested character too large for encoding: {code}"),
            )),
            None => Err(Error::new(
                Condition::ProgramLimitExceeded,
                format!("requested character not valid for encoding: {code}"),
            )),
        }
    }),
    Function::call("ascii", &[Text], Int4, "pg_ascii", |_, a| {
        Ok(Value::Int(text(a, 0)?.chars().next().map_or(0, |c| i64::from(u32::from(c)))))
    }),
    Function::call("starts_with", &[Text, Text], Bool, "pg_starts_with", |_, a| {
        Ok(truth(text(a, 0)?.starts_with(text(a, 1)?)))
    }),
    Function::call("like_escape", &[Text, Text], Text, "pg_like_escape", |_, a| {
        owned(pattern::like_escape(text(a, 0)?, text(a, 1)?)?)
    }),
    Function::call("quote_ident", &[Text], Text, "pg_quote_ident", |_, a| owned(quote_identifier(text(a, 0)?))),
    Function::call("quote_literal", &[Text], Text, "pg_quote_literal", |_, a| owned(quote_literal(text(a, 0)?))),
    Function::call("quote_literal", &[AnyElement], Text, "pg_quote_literal_any", |h, a| {
        owned(quote_literal(&cast_to_text(h, a.first().copied().unwrap_or(Datum::Null), type_(a, 1)?)?))
    })
    .stable()
    .typed(),
    Function::call("quote_nullable", &[Text], Text, "pg_quote_nullable", |_, a| match a.first() {
        Some(Datum::Text(value)) => owned(quote_literal(value)),
        _ => owned("NULL"),
    })
    .lenient(),
    Function::call("quote_nullable", &[AnyElement], Text, "pg_quote_nullable_any", |h, a| match a.first() {
        Some(Datum::Null) | None => owned("NULL"),
        Some(datum) => owned(quote_literal(&cast_to_text(h, *datum, type_(a, 1)?)?)),
    })
    .lenient()
    .stable()
    .typed(),
    Function::call("to_hex", &[Int4], Text, "pg_to_hex32", |_, a| owned(format!("{:x}", int(a, 0)? as i32))),
    Function::call("to_hex", &[Int8], Text, "pg_to_hex64", |_, a| owned(format!("{:x}", int(a, 0)?))),
];

/// Changes case one character at a time, as C's `towupper` does: what would become two letters stays.
fn fold<I: ExactSizeIterator<Item = char>>(subject: &str, of: fn(char) -> I) -> String {
    let single = |c: char| Some(of(c)).filter(|folded| folded.len() == 1).and_then(|mut folded| folded.next());
    subject.chars().map(|c| single(c).unwrap_or(c)).collect()
}

fn length(_: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    Ok(Value::Int(text(a, 0)?.chars().count() as i64))
}

fn octet_length(_: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    Ok(Value::Int(match a.first() {
        Some(Datum::Bytes(value)) => value.len(),
        _ => text(a, 0)?.len(),
    } as i64))
}

fn initcap(subject: &str) -> String {
    let mut inside = false;
    let mut out = String::with_capacity(subject.len());
    for c in subject.chars() {
        if inside {
            out.extend(c.to_lowercase())
        } else {
            out.extend(c.to_uppercase())
        }
        inside = c.is_alphanumeric();
    }
    out
}

fn substr(_: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    let (subject, start) = (text(a, 0)?, int(a, 1)?);
    let end = match a.get(2) {
        None => i64::MAX,
        Some(_) => {
            let count = int(a, 2)?;
            if count < 0 {
                return Err(Error::new(Condition::SubstringError, "negative substring length not allowed"));
            }
            start.saturating_add(count)
        }
    };
    let first = start.max(1);
    owned(subject.chars().skip((first - 1) as usize).take((end - first).max(0) as usize).collect::<String>())
}

fn strpos(_: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    let subject = text(a, 0)?;
    Ok(Value::Int(subject.find(text(a, 1)?).map_or(0, |at| subject[..at].chars().count() as i64 + 1)))
}

fn trim(a: &[Datum<'_>], start: bool, end: bool) -> Result<Value, Error> {
    let mut subject = text(a, 0)?;
    let set = if a.len() > 1 { text(a, 1)? } else { " " };
    if start {
        subject = subject.trim_start_matches(|c| set.contains(c));
    }
    if end {
        subject = subject.trim_end_matches(|c| set.contains(c));
    }
    owned(subject)
}

fn string_to_array(_: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    let Some(Datum::Text(subject)) = a.first() else { return Ok(Value::Null) };
    let null = match a.get(2) {
        Some(Datum::Text(null)) => Some(*null),
        _ => None,
    };
    let mut single = [0; 4];
    let parts: Vec<String> = match a.get(1) {
        _ if subject.is_empty() => Vec::new(),
        Some(Datum::Text("")) => vec![(*subject).to_owned()],
        Some(Datum::Text(separator)) => subject.split(separator).map(str::to_owned).collect(),
        _ => subject.chars().map(|c| c.encode_utf8(&mut single).to_owned()).collect(),
    };
    owned(types::array::from_elements(parts.iter().map(|part| Some(part.as_str()).filter(|part| Some(*part) != null))))
}

fn overlay(_: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    let (subject, placed, start) = (text(a, 0)?, text(a, 1)?, int(a, 2)?);
    let count = if a.len() > 3 { int(a, 3)? } else { placed.chars().count() as i64 };
    if start <= 0 {
        return Err(Error::new(Condition::SubstringError, "negative substring length not allowed"));
    }
    if i32::try_from(start + count).is_err() {
        return Err(Error::new(Condition::NumericValueOutOfRange, "integer out of range"));
    }
    let head = subject.chars().take((start - 1) as usize);
    let tail = subject.chars().skip(start.saturating_add(count).saturating_sub(1).max(0) as usize);
    owned(head.chain(placed.chars()).chain(tail).collect::<String>())
}

fn pad(a: &[Datum<'_>], left: bool) -> Result<Value, Error> {
    let (subject, length) = (text(a, 0)?, int(a, 1)?.max(0));
    let fill = if a.len() > 2 { text(a, 2)? } else { " " };
    if length * 4 >= MAX_LENGTH {
        return Err(too_long());
    }
    let length = length as usize;
    let have = subject.chars().count();
    if have >= length || fill.is_empty() {
        return owned(subject.chars().take(length).collect::<String>());
    }
    let longest = fill.chars().map(char::len_utf8).max().unwrap_or(1);
    work::reserve(subject.len().saturating_add((length - have).saturating_mul(longest)).saturating_mul(2))?;
    let padding: String = fill.chars().cycle().take(length - have).collect();
    owned(if left { padding + subject } else { subject.to_owned() + &padding })
}

fn split_part(_: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    let (subject, separator, field) = (text(a, 0)?, text(a, 1)?, int(a, 2)?);
    if field == 0 {
        return Err(invalid("field position must not be zero"));
    }
    if separator.is_empty() || subject.is_empty() {
        return owned(if field == 1 || field == -1 { subject } else { "" });
    }
    let index = field.unsigned_abs() as usize - 1;
    let part = if field > 0 { subject.split(separator).nth(index) } else { subject.rsplit(separator).nth(index) };
    owned(part.unwrap_or(""))
}

/// An argument of any type as text, by its type's output.
fn shown(host: &dyn Host, datum: Datum<'_>, type_: types::Type) -> Result<String, Error> {
    use types::Type::{Regclass, Regnamespace, Regproc, Regrole, Regtype};
    match datum {
        Datum::Text(text) if type_ != types::Type::Interval => Ok(text.to_owned()),
        datum if matches!(type_, Regclass | Regtype | Regproc | Regnamespace | Regrole) => {
            match host.catalog_function(&format!("{}out", types::pg_type(type_).name), &[datum])? {
                Value::Text(text) => Ok(text),
                _ => Ok(String::new()),
            }
        }
        datum => Ok(types::array::element_text(type_, datum, &host.text_context())),
    }
}

/// An argument cast to text, which for a truth value is not what its output is.
fn cast_to_text(host: &dyn Host, datum: Datum<'_>, type_: types::Type) -> Result<String, Error> {
    match (datum, type_) {
        (Datum::Int(truth), Type::Bool) => Ok(if truth == 0 { "false" } else { "true" }.to_owned()),
        (datum, type_) => shown(host, datum, type_),
    }
}

/// Values with their types: the second half of a typed call's arguments holds the OIDs.
fn typed<'a>(a: &'a [Datum<'a>]) -> impl Iterator<Item = Result<(Datum<'a>, types::Type), Error>> {
    let count = a.len() / 2;
    a.iter().take(count).enumerate().map(move |(index, datum)| Ok((*datum, type_(a, count + index)?)))
}

/// text || anything, anything || text.
pub fn any_concat(host: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    let mut out = String::new();
    for argument in typed(a) {
        let (datum, type_) = argument?;
        out.push_str(&cast_to_text(host, datum, type_)?);
    }
    owned(out)
}

/// bytea || bytea.
pub fn bytea_concat(_: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    Ok(Value::Bytes([bytes(a, 0)?, bytes(a, 1)?].concat()))
}

fn concat(host: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    let mut out = String::new();
    for argument in typed(a) {
        let (datum, type_) = argument?;
        if datum != Datum::Null {
            out.push_str(&shown(host, datum, type_)?);
        }
    }
    owned(out)
}

fn concat_ws(host: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    let Some(Datum::Text(separator)) = a.first() else { return Ok(Value::Null) };
    let mut parts = Vec::new();
    for argument in typed(a).skip(1) {
        let (datum, type_) = argument?;
        if datum != Datum::Null {
            parts.push(shown(host, datum, type_)?);
        }
    }
    owned(parts.join(separator))
}

/// The place of an argument that a format counts from 1.
fn argument_number(digits: &str) -> Result<usize, Error> {
    let number = digits.parse::<usize>().ok().and_then(|at| at.checked_sub(1));
    number.ok_or_else(|| invalid("format specifies argument 0, but arguments are numbered from 1"))
}

fn format_function(host: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    let Some(Datum::Text(template)) = a.first() else { return Ok(Value::Null) };
    let arguments = typed(a).skip(1).collect::<Result<Vec<_>, _>>()?;
    let mut next = 0;
    let mut out = String::new();
    let mut rest = template.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        if rest.next_if_eq(&'%').is_some() {
            out.push('%');
            continue;
        }
        let mut digits = String::new();
        while let Some(digit) = rest.next_if(char::is_ascii_digit) {
            digits.push(digit);
        }
        if rest.next_if_eq(&'$').is_some() {
            next = argument_number(&digits)?;
            digits.clear();
        }
        let left = rest.next_if_eq(&'-').is_some();
        while let Some(digit) = rest.next_if(char::is_ascii_digit) {
            digits.push(digit);
        }
        let width = if rest.next_if_eq(&'*').is_some() {
            let mut digits = String::new();
            while let Some(digit) = rest.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            let at = if digits.is_empty() {
                next += 1;
                next - 1
            } else if rest.next_if_eq(&'$').is_some() {
                argument_number(&digits)?
            } else {
                return Err(invalid("width argument position must be ended by \"$\""));
            };
            let (datum, type_) = *arguments.get(at).ok_or_else(|| invalid("too few arguments for format()"))?;
            match datum {
                Datum::Null => 0,
                Datum::Int(width) if matches!(type_, Type::Int2 | Type::Int4) => width,
                datum => {
                    match types::input(Type::Int4, -1, &shown(host, datum, type_)?, &types::TextContext::default())? {
                        Value::Int(width) => width,
                        _ => 0,
                    }
                }
            }
        } else if digits.is_empty() {
            0
        } else {
            digits.parse().map_err(|_| invalid("number is out of range"))?
        };
        let left = left || width < 0;
        if width.saturating_abs() >= MAX_LENGTH / 4 {
            return Err(invalid("number is out of range"));
        }
        let width = width.unsigned_abs() as usize;
        work::reserve(width.saturating_mul(2))?;
        let conversion = rest.next().ok_or_else(|| invalid("unterminated format() type specifier"))?;
        if !matches!(conversion, 's' | 'I' | 'L') {
            return Err(invalid(format!("unrecognized format() type specifier \"{conversion}\"")));
        }
        let (datum, type_) = *arguments.get(next).ok_or_else(|| invalid("too few arguments for format()"))?;
        next += 1;
        let shown = match (conversion, datum) {
            ('s', Datum::Null) => String::new(),
            ('L', Datum::Null) => "NULL".to_owned(),
            (_, Datum::Null) => {
                return Err(Error::new(
                    Condition::NullValueNotAllowed,
                    "null values cannot be formatted as an SQL identifier",
                ));
            }
            ('I', datum) => quote_identifier(&shown(host, datum, type_)?),
            ('L', datum) => quote_literal(&shown(host, datum, type_)?),
            (_, datum) => shown(host, datum, type_)?,
        };
        out.push_str(&if left { format!("{shown:<width$}") } else { format!("{shown:>width$}") });
    }
    owned(out)
}

fn md5(input: &[u8]) -> String {
    use md5::{Digest, Md5};
    let mut out = Vec::with_capacity(32);
    types::bytes::write_hex(&Md5::digest(input), &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn encode(_: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    use base64::Engine as _;
    let (input, format) = (bytes(a, 0)?, text(a, 1)?);
    let mut out = Vec::new();
    match format.to_ascii_lowercase().as_str() {
        "hex" => types::bytes::write_hex(input, &mut out),
        "escape" => {
            for byte in input {
                match byte {
                    b'\\' => out.extend_from_slice(b"\\\\"),
                    0 | 0x80.. => out.extend_from_slice(format!("\\{byte:03o}").as_bytes()),
                    byte => out.push(*byte),
                }
            }
        }
        "base64" => {
            // Lines of 76 characters, as MIME has them.
            let encoded = base64::engine::general_purpose::STANDARD.encode(input);
            for (index, line) in encoded.as_bytes().chunks(76).enumerate() {
                if index > 0 {
                    out.push(b'\n');
                }
                out.extend_from_slice(line);
            }
        }
        _ => return Err(invalid(format!("unrecognized encoding: \"{format}\""))),
    }
    owned(String::from_utf8_lossy(&out))
}

fn decode(_: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    use base64::Engine as _;
    let (input, format) = (text(a, 0)?, text(a, 1)?);
    match format.to_ascii_lowercase().as_str() {
        "hex" => types::bytes::decode_hex(input).map(Value::Bytes),
        "escape" => types::input(Bytea, -1, input, &types::TextContext::default()),
        "base64" => {
            let compact: String = input.chars().filter(|c| !c.is_ascii_whitespace()).collect();
            base64::engine::general_purpose::STANDARD
                .decode(compact)
                .map(Value::Bytes)
                .map_err(|_| invalid("invalid base64 end sequence"))
        }
        _ => Err(invalid(format!("unrecognized encoding: \"{format}\""))),
    }
}

/// An identifier, quoted where it must be.
pub fn quote_identifier(name: &str) -> String {
    const RESERVED: &[&str] = &[
        "all",
        "analyse",
        "analyze",
        "and",
        "any",
        "array",
        "as",
        "asc",
        "between",
        "both",
        "case",
        "cast",
        "check",
        "collate",
        "column",
        "constraint",
        "create",
        "default",
        "desc",
        "distinct",
        "do",
        "else",
        "end",
        "except",
        "false",
        "fetch",
        "for",
        "foreign",
        "from",
        "grant",
        "group",
        "having",
        "in",
        "initially",
        "intersect",
        "into",
        "is",
        "join",
        "leading",
        "left",
        "like",
        "limit",
        "not",
        "null",
        "offset",
        "on",
        "only",
        "or",
        "order",
        "primary",
        "references",
        "returning",
        "right",
        "select",
        "some",
        "table",
        "then",
        "to",
        "true",
        "union",
        "unique",
        "user",
        "using",
        "values",
        "when",
        "where",
        "window",
        "with",
    ];
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !RESERVED.contains(&name);
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// A literal, as an E'' string where it holds a backslash.
pub fn quote_literal(value: &str) -> String {
    let prefix = if value.contains('\\') { "E" } else { "" };
    format!("{prefix}'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
}
