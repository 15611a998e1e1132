//! Parameters that hold lists: how SET's arguments become one text, and how names are read out of it.

use super::registry::Parameter;
use crate::error::{Condition, Error};

/// How the arguments of SET become a value.
enum Join {
    /// One only.
    One,
    /// With commas between.
    Commas,
    /// Names: quoted where they need it, with commas between.
    Names,
}

fn join_of(parameter: &Parameter) -> Join {
    match parameter.name {
        "search_path" | "temp_tablespaces" => Join::Names,
        "DateStyle" | "listen_addresses" | "unix_socket_directories" => Join::Commas,
        _ => Join::One,
    }
}

/// The value that the arguments of SET stand for.
pub fn joined(parameter: &Parameter, values: &[String]) -> Result<String, Error> {
    match (join_of(parameter), values) {
        (Join::One, [value]) => Ok(value.clone()),
        (Join::One, _) => {
            let message = format!("SET {} takes only one argument", parameter.name);
            Err(Error::new(Condition::InvalidParameterValue, message))
        }
        (Join::Commas, values) => Ok(values.join(", ")),
        (Join::Names, values) => Ok(values.iter().map(|value| quoted(value)).collect::<Vec<_>>().join(", ")),
    }
}

/// A name with quotes where SQL needs them.
fn quoted(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// The names of a list, folded as SQL folds them. `None` where it is no list of names.
pub fn split_names(list: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut rest = list.trim();
    if rest.is_empty() {
        return Some(names);
    }
    loop {
        let name;
        if let Some(quoted) = rest.strip_prefix('"') {
            (name, rest) = quoted_name(quoted)?;
        } else {
            let (word, after) = rest.split_at_checked(rest.find([',', '"']).unwrap_or(rest.len()))?;
            let word = word.trim();
            if word.is_empty() || word.contains(char::is_whitespace) {
                return None;
            }
            name = word.to_lowercase();
            rest = after;
        }
        names.push(name);
        rest = rest.trim_start();
        if rest.is_empty() {
            return Some(names);
        }
        rest = rest.strip_prefix(',')?.trim_start();
    }
}

/// A name up to its closing quote, and what follows.
fn quoted_name(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let (part, after) = rest.split_once('"')?;
        name.push_str(part);
        match after.strip_prefix('"') {
            Some(after) => {
                name.push('"');
                rest = after;
            }
            None => return Some((name, after)),
        }
    }
}

/// 22023 for a text that is no list.
pub fn invalid(name: &str, value: &str) -> Error {
    let message = format!("invalid value for parameter \"{name}\": \"{value}\"");
    Error::new(Condition::InvalidParameterValue, message).detail("List syntax is invalid.")
}
