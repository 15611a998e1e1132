//! The `options` parameter of a start-up packet: command-line switches in one string.
//!
//! Owns splitting (PostgreSQL's `pg_split_opts`) and the switches that set a session's settings; the meaning of
//! a setting is `settings`' business.

use crate::error::{Condition, Error};

/// One `-c name=value` or `--name=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Setting's name, dashes turned into underscores.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Splits at white space; a backslash takes the next character as it is.
pub fn split_options(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.chars().peekable();
    loop {
        while rest.next_if(|&c| is_space(c)).is_some() {}
        if rest.peek().is_none() {
            return words;
        }
        let mut word = String::new();
        while let Some(c) = rest.next_if(|&c| !is_space(c)) {
            // A backslash at the very end stands for nothing.
            match c {
                '\\' => word.extend(rest.next()),
                _ => word.push(c),
            }
        }
        words.push(word);
    }
}

/// C's isspace in the "C" locale.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r')
}

/// Reads switches: `-c name=value`, `-cname=value`, `--name=value`, and `-e` (European dates). The others of
/// PostgreSQL set what a session cannot set here, and are refused by name (42601).
pub fn switches(words: &[String]) -> Result<Vec<Setting>, Error> {
    let mut settings = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--" {
            break;
        } else if let Some(long) = word.strip_prefix("--") {
            settings.push(setting(long, format_args!("--{long}"))?);
        } else if word == "-c" {
            let Some(argument) = words.next() else { return Err(invalid(word)) };
            settings.push(setting(argument, format_args!("-c {argument}"))?);
        } else if let Some(argument) = word.strip_prefix("-c") {
            settings.push(setting(argument, format_args!("-c {argument}"))?);
        } else if word == "-e" {
            settings.push(Setting { name: "datestyle".into(), value: "euro".into() });
        } else {
            return Err(invalid(word));
        }
    }
    match words.next() {
        Some(word) => Err(invalid(word)),
        None => Ok(settings),
    }
}

fn setting(text: &str, shown: std::fmt::Arguments<'_>) -> Result<Setting, Error> {
    let Some((name, value)) = text.split_once('=') else {
        return Err(Error::new(Condition::SyntaxError, format!("{shown} requires a value")));
    };
    Ok(Setting { name: name.replace('-', "_"), value: value.into() })
}

fn invalid(word: &str) -> Error {
    Error::new(Condition::SyntaxError, format!("invalid command-line argument for server process: {word}"))
        .hint("Settings can be given as \"-c name=value\" or \"--name=value\".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, String> {
        switches(&split_options(text))
            .map(|settings| settings.into_iter().map(|s| (s.name, s.value)).collect())
            .map_err(|error| error.fields().message.clone())
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.into(), value.into())
    }

    #[test]
    fn backslashes_escape_blanks_and_themselves() {
        assert_eq!(split_options(r"  a\ b  c\\d \e f\"), ["a b", r"c\d", "e", "f"]);
        assert!(split_options(" \t\n").is_empty());
    }

    #[test]
    fn all_spellings_of_a_setting() {
        assert_eq!(
            read(r"-c geqo=off -cstatement_timeout=5min --work-mem=4MB -c search_path=a,\ b"),
            Ok(vec![
                pair("geqo", "off"),
                pair("statement_timeout", "5min"),
                pair("work_mem", "4MB"),
                pair("search_path", "a, b")
            ])
        );
        assert_eq!(read("-e"), Ok(vec![pair("datestyle", "euro")]));
        assert_eq!(read(""), Ok(vec![]));
    }

    #[test]
    fn what_is_no_setting_is_refused() {
        assert_eq!(read("-c geqo"), Err("-c geqo requires a value".into()));
        assert_eq!(read("--geqo"), Err("--geqo requires a value".into()));
        assert_eq!(read("-c"), Err("invalid command-line argument for server process: -c".into()));
        assert_eq!(read("-F"), Err("invalid command-line argument for server process: -F".into()));
        assert_eq!(read("geqo=off"), Err("invalid command-line argument for server process: geqo=off".into()));
    }
}
