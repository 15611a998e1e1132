//! Templates: the patterns that are in one, and the text between them.

use crate::error::{Condition, Error};

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// A pattern, as it is spelled in its table.
    Pattern { name: &'static str, affixes: Affixes },
    /// A blank outside of quotes.
    Space(char),
    /// Punctuation outside of quotes; only dates tell it from other text.
    Separator(char),
    /// Any other character.
    Text(char),
}

/// What stands before and behind a pattern of a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Affixes {
    /// FM: without padding.
    pub fill: bool,
    /// TM: in the locale's words.
    pub translated: bool,
    /// TH or th behind: `Some(true)` for capitals.
    pub ordinal: Option<bool>,
}

/// Splits a template. Of patterns with a common beginning, the longer ones must come first.
pub(super) fn pieces(template: &str, patterns: &[&'static str], dates: bool) -> Vec<Piece> {
    let mut found = Vec::new();
    let mut rest = template;
    while !rest.is_empty() {
        let mut affixes = Affixes::default();
        if dates {
            if let Some(after) = rest.strip_prefix("FM").or_else(|| rest.strip_prefix("fm")) {
                (affixes.fill, rest) = (true, after);
            } else if let Some(after) = rest.strip_prefix("TM").or_else(|| rest.strip_prefix("tm")) {
                (affixes.translated, rest) = (true, after);
            }
        }
        if let Some(name) = patterns.iter().find(|name| rest.starts_with(**name)) {
            rest = &rest[name.len()..];
            if dates {
                if let Some(after) = rest.strip_prefix("TH") {
                    (affixes.ordinal, rest) = (Some(true), after);
                } else if let Some(after) = rest.strip_prefix("th") {
                    (affixes.ordinal, rest) = (Some(false), after);
                } else if let Some(after) = rest.strip_prefix("SP") {
                    rest = after;
                }
            }
            found.push(Piece::Pattern { name, affixes });
        } else if let Some(quoted) = rest.strip_prefix('"') {
            let mut characters = quoted.chars();
            while let Some(c) = characters.next() {
                match c {
                    '"' => break,
                    // A backslash takes its meaning from what follows.
                    '\\' => found.push(Piece::Text(characters.next().unwrap_or('\\'))),
                    c => found.push(Piece::Text(c)),
                }
            }
            rest = characters.as_str();
        } else {
            // Outside of quotes a backslash counts before a quote only.
            rest = if rest.starts_with("\\\"") { &rest[1..] } else { rest };
            let mut characters = rest.chars();
            let Some(c) = characters.next() else { break };
            found.push(if dates && c.is_ascii_punctuation() {
                Piece::Separator(c)
            } else if matches!(c, ' ' | '\t'..='\r') {
                Piece::Space(c)
            } else {
                Piece::Text(c)
            });
            rest = characters.as_str();
        }
    }
    found
}

/// The ending of an ordinal number: "st", "nd", "rd" or "th".
pub(super) fn ordinal_ending(number: &str, capitals: bool) -> Result<&'static str, Error> {
    let endings = match number.as_bytes() {
        [.., last] if !last.is_ascii_digit() => {
            let message = format!("\"{number}\" is not a number");
            return Err(Error::new(Condition::InvalidTextRepresentation, message));
        }
        [.., b'1', _] => ("TH", "th"),
        [.., b'1'] => ("ST", "st"),
        [.., b'2'] => ("ND", "nd"),
        [.., b'3'] => ("RD", "rd"),
        _ => ("TH", "th"),
    };
    Ok(if capitals { endings.0 } else { endings.1 })
}
