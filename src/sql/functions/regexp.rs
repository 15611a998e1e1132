//! Functions of regular expressions: `regexp_…`, `substring` and SIMILAR TO.

use super::arguments::{int, text, truth};
use super::{Function, Host};
use crate::error::{Condition, Error};
use crate::regex::{Options, Regex, Spans};
use crate::sql::types::Type::{Bool, Int4, Text, TextArray};
use crate::sql::types::array::from_elements;
use crate::sql::types::{Datum, Value};

/// Functions of this module.
pub(super) const TABLE: &[Function] = &[
    Function::call("regexp_replace", &[Text, Text, Text], Text, "pg_regexp_replace", replace),
    Function::call("regexp_replace", &[Text, Text, Text, Text], Text, "pg_regexp_replace_flags", replace_flags),
    Function::call("regexp_replace", &[Text, Text, Text, Int4], Text, "pg_regexp_replace", replace),
    Function::call("regexp_replace", &[Text, Text, Text, Int4, Int4], Text, "pg_regexp_replace", replace),
    Function::call("regexp_replace", &[Text, Text, Text, Int4, Int4, Text], Text, "pg_regexp_replace", replace),
    Function::call("regexp_match", &[Text, Text], TextArray, "pg_regexp_match", first_match),
    Function::call("regexp_match", &[Text, Text, Text], TextArray, "pg_regexp_match", first_match),
    Function::call(ALL_MATCHES, &[Text, Text], TextArray, "pg_regexp_matches", all_matches),
    Function::call(ALL_MATCHES, &[Text, Text, Text], TextArray, "pg_regexp_matches", all_matches),
    Function::call("regexp_split_to_array", &[Text, Text], TextArray, "pg_regexp_split", split),
    Function::call("regexp_split_to_array", &[Text, Text, Text], TextArray, "pg_regexp_split", split),
    Function::call("regexp_count", &[Text, Text], Int4, "pg_regexp_count", count),
    Function::call("regexp_count", &[Text, Text, Int4], Int4, "pg_regexp_count", count),
    Function::call("regexp_count", &[Text, Text, Int4, Text], Int4, "pg_regexp_count", count),
    Function::call("regexp_instr", &[Text, Text], Int4, "pg_regexp_instr", position),
    Function::call("regexp_instr", &[Text, Text, Int4], Int4, "pg_regexp_instr", position),
    Function::call("regexp_instr", &[Text, Text, Int4, Int4], Int4, "pg_regexp_instr", position),
    Function::call("regexp_instr", &[Text, Text, Int4, Int4, Int4], Int4, "pg_regexp_instr", position),
    Function::call("regexp_instr", &[Text, Text, Int4, Int4, Int4, Text], Int4, "pg_regexp_instr", position),
    Function::call("regexp_instr", &[Text, Text, Int4, Int4, Int4, Text, Int4], Int4, "pg_regexp_instr", position),
    Function::call("regexp_like", &[Text, Text], Bool, "pg_regexp_like", like),
    Function::call("regexp_like", &[Text, Text, Text], Bool, "pg_regexp_like", like),
    Function::call("regexp_substr", &[Text, Text], Text, "pg_regexp_substr", substr),
    Function::call("regexp_substr", &[Text, Text, Int4], Text, "pg_regexp_substr", substr),
    Function::call("regexp_substr", &[Text, Text, Int4, Int4], Text, "pg_regexp_substr", substr),
    Function::call("regexp_substr", &[Text, Text, Int4, Int4, Text], Text, "pg_regexp_substr", substr),
    Function::call("regexp_substr", &[Text, Text, Int4, Int4, Text, Int4], Text, "pg_regexp_substr", substr),
    Function::call("similar_to_escape", &[Text], Text, "pg_similar_to_escape", |_, a| {
        similar_pattern(text(a, 0)?, "\\")
    }),
    Function::call("similar_to_escape", &[Text, Text], Text, "pg_similar_to_escape2", |_, a| {
        similar_pattern(text(a, 0)?, text(a, 1)?)
    }),
];

/// The array of what `regexp_matches` gives as rows.
pub const ALL_MATCHES: &str = "regexp_matches_array";

fn invalid(message: impl Into<String>) -> Error {
    Error::new(Condition::InvalidParameterValue, message)
}

/// Options by the letters of a flags argument, and whether "g" is among them.
fn options(flags: &str) -> Result<(Options, bool), Error> {
    let mut options = Options::default();
    let mut global = false;
    for flag in flags.chars() {
        match flag {
            'g' => global = true,
            'b' => return Err(Error::unsupported("a basic regular expression (option \"b\")")),
            'c' => options.ignore_case = false,
            'e' => (options.advanced, options.quote) = (false, false),
            'i' => options.ignore_case = true,
            'm' | 'n' => (options.newline_stops, options.newline_anchors) = (true, true),
            'p' => (options.newline_stops, options.newline_anchors) = (true, false),
            'q' => (options.advanced, options.quote) = (false, true),
            's' => (options.newline_stops, options.newline_anchors) = (false, false),
            't' => options.expanded = false,
            'w' => (options.newline_stops, options.newline_anchors) = (false, true),
            'x' => options.expanded = true,
            other => return Err(invalid(format!("invalid regular expression option: \"{other}\""))),
        }
    }
    Ok((options, global))
}

fn flags_without_global(function: &str, flags: &str) -> Result<Options, Error> {
    let (options, global) = options(flags)?;
    if global {
        return Err(invalid(format!("{function}() does not support the \"global\" option")));
    }
    Ok(options)
}

/// An optional argument.
fn given<T>(
    a: &[Datum<'_>],
    at: usize,
    read: impl Fn(&[Datum<'_>], usize) -> Result<T, Error>,
    default: T,
) -> Result<T, Error> {
    if at < a.len() { read(a, at) } else { Ok(default) }
}

fn flags<'a>(a: &[Datum<'a>], at: usize) -> Result<&'a str, Error> {
    if at < a.len() { text(a, at) } else { Ok("") }
}

/// A number that must be at least something.
fn number(a: &[Datum<'_>], at: usize, name: &str, least: i64, default: i64) -> Result<i64, Error> {
    let value = given(a, at, int, default)?;
    if value < least {
        return Err(invalid(format!("invalid value for parameter \"{name}\": {value}")));
    }
    Ok(value)
}

/// The byte at which a character (from 1) begins; `None` beyond the end.
fn byte_of(subject: &str, character: i64) -> Option<usize> {
    let skip = usize::try_from(character - 1).ok()?;
    subject.char_indices().map(|(at, _)| at).chain([subject.len()]).nth(skip)
}

fn next_byte(subject: &str, at: usize) -> usize {
    at + subject.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8)
}

fn piece(subject: &str, span: Option<(usize, usize)>) -> Option<&str> {
    span.and_then(|(start, end)| subject.get(start..end))
}

/// Calls `each` with every match in turn until it says stop.
fn each_match(
    host: &dyn Host,
    regex: &Regex,
    subject: &str,
    from: usize,
    mut each: impl FnMut(Spans) -> bool,
) -> Result<(), Error> {
    let check = || host.check_interrupts();
    let mut finder = regex.finder(subject, &check);
    let mut from = from;
    while from <= subject.len()
        && let Some(spans) = finder.find(from)?
    {
        let Some((begin, end)) = spans.first().copied().flatten() else { break };
        from = if begin == end { next_byte(subject, end) } else { end };
        if !each(spans) {
            break;
        }
    }
    Ok(())
}

/// What one match gives: its captures or, without any, the whole.
fn captured(subject: &str, regex: &Regex, spans: &Spans) -> String {
    let skip = usize::from(regex.groups() > 0);
    from_elements(spans.iter().skip(skip).map(|span| piece(subject, *span)))
}

fn first_match(host: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    let options = flags_without_global("regexp_match", flags(a, 2)?).map_err(|error| {
        if flags(a, 2).is_ok_and(|f| f.contains('g')) {
            error.hint("Use the regexp_matches function instead.")
        } else {
            error
        }
    })?;
    let (subject, regex) = (text(a, 0)?, Regex::cached(text(a, 1)?, options)?);
    let check = || host.check_interrupts();
    let found = regex.finder(subject, &check).find(0)?;
    Ok(found.map_or(Value::Null, |spans| Value::Text(captured(subject, &regex, &spans))))
}

fn all_matches(host: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    let (options, global) = options(flags(a, 2)?)?;
    let (subject, regex) = (text(a, 0)?, Regex::cached(text(a, 1)?, options)?);
    let mut rows = Vec::new();
    each_match(host, &regex, subject, 0, |spans| {
        rows.push(captured(subject, &regex, &spans));
        global
    })?;
    Ok(Value::Text(from_elements(rows.iter().map(|row| Some(row.as_str())))))
}

fn split(host: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    let options = flags_without_global("regexp_split_to_array", flags(a, 2)?)?;
    let (subject, regex) = (text(a, 0)?, Regex::cached(text(a, 1)?, options)?);
    let mut parts = Vec::new();
    let mut last = 0;
    each_match(host, &regex, subject, 0, |spans| {
        // Matches of nothing at either end or right after another one do not count.
        if let Some((start, end)) = spans.first().copied().flatten()
            && start < subject.len()
            && end > last
        {
            parts.push(subject.get(last..start));
            last = end;
        }
        true
    })?;
    parts.push(subject.get(last..));
    Ok(Value::Text(from_elements(parts)))
}

fn count(host: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    let start = number(a, 2, "start", 1, 1)?;
    let options = flags_without_global("regexp_count", flags(a, 3)?)?;
    let (subject, regex) = (text(a, 0)?, Regex::cached(text(a, 1)?, options)?);
    let mut count = 0;
    if let Some(from) = byte_of(subject, start) {
        each_match(host, &regex, subject, from, |_| {
            count += 1;
            true
        })?;
    }
    Ok(Value::Int(count))
}

/// The n-th match from a character on.
fn nth_match(host: &dyn Host, regex: &Regex, subject: &str, start: i64, n: i64) -> Result<Option<Spans>, Error> {
    let Some(from) = byte_of(subject, start) else { return Ok(None) };
    let mut left = n;
    let mut found = None;
    each_match(host, regex, subject, from, |spans| {
        left -= 1;
        if left == 0 {
            found = Some(spans);
        }
        left > 0
    })?;
    Ok(found)
}

/// The span of a numbered group; of the whole match for 0, and for 1 where there are no groups at all.
fn group(regex: &Regex, spans: &Spans, number: i64) -> Option<(usize, usize)> {
    let number = if regex.groups() == 0 && number == 1 { 0 } else { usize::try_from(number).ok()? };
    spans.get(number).copied().flatten()
}

fn position(host: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    let (start, n) = (number(a, 2, "start", 1, 1)?, number(a, 3, "n", 1, 1)?);
    let end_option = given(a, 4, int, 0)?;
    if !(0..=1).contains(&end_option) {
        return Err(invalid(format!("invalid value for parameter \"endoption\": {end_option}")));
    }
    let sub = number(a, 6, "subexpr", 0, 0)?;
    let options = flags_without_global("regexp_instr", flags(a, 5)?)?;
    let (subject, regex) = (text(a, 0)?, Regex::cached(text(a, 1)?, options)?);
    let span = nth_match(host, &regex, subject, start, n)?.and_then(|spans| group(&regex, &spans, sub));
    let at = span.and_then(|(start, end)| subject.get(..if end_option == 1 { end } else { start }));
    Ok(Value::Int(at.map_or(0, |before| before.chars().count() as i64 + 1)))
}

fn like(host: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    let options = flags_without_global("regexp_like", flags(a, 2)?)?;
    Ok(truth(Regex::cached(text(a, 1)?, options)?.is_match(text(a, 0)?, &|| host.check_interrupts())?))
}

fn substr(host: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    let (start, n) = (number(a, 2, "start", 1, 1)?, number(a, 3, "n", 1, 1)?);
    let sub = number(a, 5, "subexpr", 0, 0)?;
    let options = flags_without_global("regexp_substr", flags(a, 4)?)?;
    let (subject, regex) = (text(a, 0)?, Regex::cached(text(a, 1)?, options)?);
    let span = nth_match(host, &regex, subject, start, n)?.and_then(|spans| group(&regex, &spans, sub));
    Ok(piece(subject, span).map_or(Value::Null, |found| Value::Text(found.to_owned())))
}

fn replace_flags(host: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    let letters = text(a, 3)?;
    let (options, global) = options(letters).map_err(|error| {
        if letters.starts_with(|c: char| c.is_ascii_digit()) {
            return error.hint(
                "If you meant to use regexp_replace() with a start parameter, cast the fourth argument to integer explicitly.",
            );
        }
        error
    })?;
    replaced(host, a, options, 1, i64::from(!global))
}

fn replace(host: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    let start = number(a, 3, "start", 1, 1)?;
    let n = number(a, 4, "n", 0, 1)?;
    let (options, global) = options(flags(a, 5)?)?;
    // A given number counts more than "g" does.
    let n = if global && a.len() <= 4 { 0 } else { n };
    replaced(host, a, options, start, n)
}

/// Replaces the n-th match from a character on, or all of them (0).
fn replaced(host: &dyn Host, a: &[Datum<'_>], options: Options, start: i64, n: i64) -> Result<Value, Error> {
    let (subject, replacement) = (text(a, 0)?, text(a, 2)?);
    let regex = Regex::cached(text(a, 1)?, options)?;
    let Some(mut from) = byte_of(subject, start) else { return Ok(Value::Text(subject.to_owned())) };
    let check = || host.check_interrupts();
    let mut finder = regex.finder(subject, &check);
    let (mut out, mut copied, mut matches) = (String::new(), 0, 0);
    while from <= subject.len()
        && let Some(spans) = finder.find(from)?
    {
        let Some((begin, end)) = spans.first().copied().flatten() else { break };
        matches += 1;
        from = if begin == end { next_byte(subject, end) } else { end };
        if n > 0 && matches != n {
            continue;
        }
        out.push_str(subject.get(copied..begin).unwrap_or(""));
        append_replacement(&mut out, replacement, subject, &spans);
        copied = end;
        if n > 0 {
            break;
        }
    }
    out.push_str(subject.get(copied..).unwrap_or(""));
    Ok(Value::Text(out))
}

/// `\1` to `\9` and `\&` are what was matched, `\\` is a backslash.
fn append_replacement(out: &mut String, replacement: &str, subject: &str, spans: &Spans) {
    let mut rest = replacement.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let escaped = rest.clone().next();
        let group = match escaped {
            Some('&') => Some(0),
            Some(digit @ '1'..='9') => digit.to_digit(10),
            _ => None,
        };
        if let Some(group) = group {
            out.push_str(piece(subject, spans.get(group as usize).copied().flatten()).unwrap_or(""));
            rest.next();
        } else {
            out.push('\\');
            if escaped == Some('\\') {
                rest.next();
            }
        }
    }
}

/// substring(text from pattern).
pub(super) fn substring(host: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    let (subject, regex) = (text(a, 0)?, Regex::cached(text(a, 1)?, Options::default())?);
    let check = || host.check_interrupts();
    let Some(spans) = regex.finder(subject, &check).find(0)? else { return Ok(Value::Null) };
    let span = spans.get(usize::from(regex.groups() > 0)).copied().flatten();
    Ok(piece(subject, span).map_or(Value::Null, |found| Value::Text(found.to_owned())))
}

/// substring(text similar pattern escape character).
pub(super) fn substring_similar(host: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    let pattern = similar_to_regex(text(a, 1)?, text(a, 2)?)?;
    substring(host, &[a.first().copied().unwrap_or(Datum::Null), Datum::Text(&pattern)])
}

fn similar_pattern(pattern: &str, escape: &str) -> Result<Value, Error> {
    similar_to_regex(pattern, escape).map(Value::Text)
}

/// A pattern of SIMILAR TO in the spelling of an ARE.
fn similar_to_regex(pattern: &str, escape: &str) -> Result<String, Error> {
    let mut escape_characters = escape.chars();
    let escape = escape_characters.next();
    if escape_characters.next().is_some() {
        return Err(Error::new(Condition::InvalidEscapeSequence, "invalid escape string")
            .hint("Escape string must be empty or one character."));
    }
    // The whole text must match, and what `substring` gives is between two escaped quotes.
    let mut out = String::from("^(?:");
    let (mut separators, mut bracket_depth) = (0, 0);
    let mut after_escape = false;
    // Where in a bracket expression: right after it began, after a caret there, or further on.
    let mut bracket_start = 0;
    for c in pattern.chars() {
        if after_escape {
            after_escape = false;
            if c == '"' && bracket_depth == 0 {
                match separators {
                    0 => out.push_str("){1,1}?("),
                    1 => out.push_str("){1,1}(?:"),
                    _ => {
                        return Err(Error::new(
                            Condition::InvalidUseOfEscapeCharacter,
                            "SQL regular expression may not contain more than two escape-double-quote separators",
                        ));
                    }
                }
                separators += 1;
            } else {
                out.extend(['\\', c]);
            }
            bracket_start = 3;
            continue;
        }
        if Some(c) == escape {
            after_escape = true;
            continue;
        }
        if bracket_depth > 0 {
            if c == '\\' {
                out.push('\\');
            }
            out.push(c);
            match c {
                ']' if bracket_start > 2 => bracket_depth -= 1,
                '[' => bracket_depth += 1,
                _ => {}
            }
            bracket_start = if c == '^' && bracket_start == 1 { 2 } else { 3 };
            continue;
        }
        match c {
            '[' => {
                out.push(c);
                (bracket_depth, bracket_start) = (1, 1);
            }
            '%' => out.push_str(".*"),
            '_' => out.push('.'),
            '(' => out.push_str("(?:"),
            '\\' | '.' | '^' | '$' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out.push_str(")$");
    Ok(out)
}
