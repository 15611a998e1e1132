//! LIKE and POSIX regular expressions.

use std::cell::RefCell;

use regex::Regex;

use crate::error::{Condition, Error};

/// Regular expressions kept compiled.
const CACHE_LIMIT: usize = 16;

thread_local! {
    static CACHE: RefCell<Vec<(bool, String, Regex)>> = const { RefCell::new(Vec::new()) };
}

/// `text LIKE pattern` (`fold`: ILIKE), with the backslash as escape character.
pub fn like(text: &str, pattern: &str, fold: bool) -> Result<bool, Error> {
    if fold {
        return like(&text.to_lowercase(), &pattern.to_lowercase(), false);
    }
    let mut text: Vec<char> = text.chars().collect();
    text.push('\0');
    let end = text.len() - 1;
    let pattern: Vec<char> = pattern.chars().collect();
    let (mut at, mut p) = (0, 0);
    // Where to go on when the text after the last % does not fit: one character further.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let matched = match pattern.get(p) {
            Some('%') => {
                p += 1;
                retry = Some((p, at));
                continue;
            }
            Some('_') if at < end => true,
            Some('\\') => {
                let Some(literal) = pattern.get(p + 1) else {
                    return Err(Error::new(
                        Condition::InvalidEscapeSequence,
                        "LIKE pattern must not end with escape character",
                    ));
                };
                if at < end && text[at] == *literal {
                    p += 1;
                    true
                } else {
                    false
                }
            }
            Some(literal) => at < end && text[at] == *literal,
            None if at == end => return Ok(true),
            None => false,
        };
        if matched {
            at += 1;
            p += 1;
        } else {
            match retry {
                Some((after, from)) if from < end => {
                    retry = Some((after, from + 1));
                    (p, at) = (after, from + 1);
                }
                _ => return Ok(false),
            }
        }
    }
}

/// A LIKE pattern with another escape character, rewritten for the backslash: `like_escape(pattern, escape)`.
pub fn like_escape(pattern: &str, escape: &str) -> Result<String, Error> {
    let mut characters = escape.chars();
    let escape = characters.next();
    if characters.next().is_some() {
        return Err(Error::new(Condition::InvalidEscapeSequence, "invalid escape string")
            .hint("Escape string must be empty or one character."));
    }
    let mut out = String::with_capacity(pattern.len() + 4);
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        if Some(c) == escape {
            out.push('\\');
            out.extend(rest.next());
        } else {
            if c == '\\' {
                out.push('\\');
            }
            out.push(c);
        }
    }
    Ok(out)
}

/// Whether a regular expression matches somewhere in a text.
pub fn regex(text: &str, pattern: &str, fold: bool) -> Result<bool, Error> {
    with_regex(pattern, fold, |regex| regex.is_match(text))
}

/// Runs something with the compiled form of a pattern.
pub fn with_regex<T>(pattern: &str, fold: bool, run: impl FnOnce(&Regex) -> T) -> Result<T, Error> {
    CACHE.with_borrow_mut(|cache| {
        if let Some(at) = cache.iter().position(|(folded, text, _)| *folded == fold && text == pattern) {
            return Ok(run(&cache[at].2));
        }
        let compiled = regex::RegexBuilder::new(&translate(pattern))
            .case_insensitive(fold)
            .dot_matches_new_line(true)
            .size_limit(1 << 20)
            .build()
            .map_err(|error| {
                let message = error.to_string();
                let reason = reason(message.lines().last().unwrap_or_default().trim_start_matches("error: "));
                Error::new(Condition::InvalidRegularExpression, format!("invalid regular expression: {reason}"))
            })?;
        if cache.len() >= CACHE_LIMIT {
            cache.remove(0);
        }
        let result = run(&compiled);
        cache.push((fold, pattern.to_owned(), compiled));
        Ok(result)
    })
}

/// PostgreSQL's words for what the regex crate complains of.
fn reason(message: &str) -> &str {
    if message.contains("group") && (message.contains("unclosed") || message.contains("unopened")) {
        "parentheses () not balanced"
    } else if message.contains("unclosed character class") {
        "brackets [] not balanced"
    } else if message.contains("repetition operator missing") {
        "quantifier operand invalid"
    } else if message.contains("repetition") {
        "invalid repetition count(s)"
    } else if message.contains("class range") {
        "invalid character range"
    } else if message.contains("exceeds size limit") {
        "regular expression is too complex"
    } else {
        message
    }
}

/// PostgreSQL's advanced regular expressions in the spelling of the regex crate. Back references and look-around
/// have none; they are refused when compiled.
fn translate(pattern: &str) -> String {
    if let Some(literal) = pattern.strip_prefix("***=") {
        return regex::escape(literal);
    }
    let pattern = pattern.strip_prefix("***:").unwrap_or(pattern);
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern.chars().peekable();
    let mut in_class = false;
    while let Some(c) = rest.next() {
        match c {
            '\\' => match rest.next() {
                Some('m') => out.push_str(r"\b{start}"),
                Some('M') => out.push_str(r"\b{end}"),
                Some('y') => out.push_str(r"\b"),
                Some('Y') => out.push_str(r"\B"),
                Some('Z') => out.push_str(r"\z"),
                Some(c) if c.is_ascii_alphanumeric() || c.is_ascii_punctuation() => out.extend(['\\', c]),
                Some(c) => out.push(c),
                None => out.push('\\'),
            },
            '[' if in_class => {
                // Named classes stay; a plain bracket must be escaped.
                if matches!(rest.peek(), Some(':')) {
                    out.push('[')
                } else {
                    out.push_str("\\[")
                }
                if matches!(rest.peek(), Some(':')) {
                    for c in rest.by_ref() {
                        out.push(c);
                        if c == ']' {
                            break;
                        }
                    }
                }
            }
            '[' => {
                in_class = true;
                out.push('[');
                if rest.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                if rest.next_if_eq(&']').is_some() {
                    out.push_str("\\]");
                }
            }
            ']' => {
                in_class = false;
                out.push(']');
            }
            '&' | '~' if in_class => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_patterns() {
        for (text, pattern, expected) in [
            ("abc", "abc", true),
            ("abc", "a%", true),
            ("abc", "%c", true),
            ("abc", "a_c", true),
            ("abc", "a_", false),
            ("", "%", true),
            ("", "_", false),
            ("a%c", "a\\%c", true),
            ("abc", "a\\%c", false),
            ("mississippi", "%iss%ip%", true),
            ("äöü", "_ö_", true),
            ("aaaaaaaaaaaaaaaaaaaaaaaab", "%a%a%a%a%a%a%a%c", false),
        ] {
            assert_eq!(like(text, pattern, false).unwrap(), expected, "{text} {pattern}");
        }
        assert!(like("ABC", "a%", true).unwrap());
        assert_eq!(like("x", "\\", false).unwrap_err().condition().code(), "22025");
        assert_eq!(like_escape("a!%b\\", "!").unwrap(), "a\\%b\\\\");
    }

    #[test]
    fn regular_expressions() {
        for (text, pattern, expected) in [
            ("pg_catalog", "^pg_", true),
            ("foo", "^(foo|bar)$", true),
            ("foobar", "^(foo|bar)$", false),
            ("a b", "\\mb\\M", true),
            ("x]y", "[]]", true),
            ("a1", "^[[:alpha:]][[:digit:]]$", true),
            ("a.b", "***=a.b", true),
        ] {
            assert_eq!(regex(text, pattern, false).unwrap(), expected, "{text} {pattern}");
        }
        assert!(regex("ABC", "b", true).unwrap());
        assert_eq!(regex("a", "(", false).unwrap_err().condition().code(), "2201B");
    }
}
