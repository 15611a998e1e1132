//! Where statements of a text begin and end, by the lexical rules that matter for that: quotes, dollar quotes
//! and comments. Looks at nothing else.

use std::ops::Range;

/// The places of the statements in `text`, without separators and surrounding blanks. At least one; empty ones
/// beside others are left out.
pub fn statements(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::with_capacity(1);
    let mut begin = 0;
    loop {
        let end = begin + statement_end(&text[begin..]);
        let statement = trimmed(text, begin..end);
        if !statement.is_empty() {
            found.push(statement);
        }
        if end >= text.len() {
            break;
        }
        begin = end + 1;
    }
    if found.is_empty() {
        found.push(0..0);
    }
    found
}

/// The number of the highest `$n` outside of quotes; 0 for none.
pub fn highest_parameter(text: &str) -> usize {
    let mut highest = 0;
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let after = &rest[at + 1..];
        let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        // PostgreSQL's own limit on parameters of one statement.
        highest = highest.max(after[..digits].parse().ok().filter(|n| *n <= 65535).unwrap_or(0));
        rest = after;
    }
    highest
}

fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let part = &text[range.clone()];
    let begin = range.start + (part.len() - part.trim_start().len());
    let end = range.end - (part.len() - part.trim_end().len());
    begin.min(end)..end
}

/// Index of the first `;` outside of quotes and comments, or the length.
fn statement_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let rest = &text.as_bytes()[at..];
        at += match byte {
            b';' => return at,
            b'\'' | b'"' => 1 + skip_past(&rest[1..], &[byte]),
            b'-' if rest.starts_with(b"--") => skip_past(rest, b"\n"),
            b'/' if rest.starts_with(b"/*") => 2 + skip_past(&rest[2..], b"*/"),
            b'$' => dollar_quote(rest),
            _ => 1,
        };
    }
    text.len()
}

fn skip_past(bytes: &[u8], what: &[u8]) -> usize {
    bytes.windows(what.len()).position(|window| window == what).map_or(bytes.len(), |at| at + what.len())
}

/// Length of the dollar-quoted string at the start of `bytes`, or 1 when there is none.
fn dollar_quote(bytes: &[u8]) -> usize {
    let tag = bytes.iter().skip(1).take_while(|b| b.is_ascii_alphabetic() || **b == b'_').count();
    match bytes.get(..tag + 2) {
        Some(delimiter) if delimiter.ends_with(b"$") => {
            delimiter.len() + skip_past(&bytes[delimiter.len()..], delimiter)
        }
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<&str> {
        statements(text).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn separators_in_quotes_and_comments_do_not_split() {
        assert_eq!(
            texts("select ';'; select \";\" -- ;\n; /* ; */ x; $a$ ; $a$"),
            ["select ';'", "select \";\" -- ;", "/* ; */ x", "$a$ ; $a$"]
        );
    }

    #[test]
    fn empty_statements_are_left_out_unless_alone() {
        assert_eq!(texts(";;select 1; ;"), ["select 1"]);
        assert_eq!(texts(" ; "), [""]);
        assert_eq!(texts(""), [""]);
    }

    #[test]
    fn unterminated_quotes_and_multibyte_text_do_not_panic() {
        for text in ["'", "\"é", "$é$", "$$", "/*", "--", "é;é", "$1$"] {
            statements(text);
            highest_parameter(text);
        }
        assert_eq!(highest_parameter("select $1, $12, $x"), 12);
    }
}
