//! LIKE and POSIX regular expressions.

use super::Host;
use crate::error::{Condition, Error};
use crate::regex::{Options, Regex};

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
pub fn regex(host: &dyn Host, text: &str, pattern: &str, fold: bool) -> Result<bool, Error> {
    Regex::cached(pattern, Options { ignore_case: fold, ..Options::default() })?
        .is_match(text, &|| host.check_interrupts())
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
}
