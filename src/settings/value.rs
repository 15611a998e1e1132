//! One value: read as PostgreSQL reads it, kept in canonical form, shown with the largest unit that fits.

use super::registry::{Kind, PARAMETERS, Parameter, Unit};
use super::zone;
use crate::error::{Condition, Error};

/// The canonical form of a value for a parameter: numbers in the parameter's own unit, words in their first
/// spelling. 22023 for what it cannot hold.
///
/// `present` is what the parameter is now and `reset` what RESET would make it: DateStyle keeps what is not named.
pub fn canonical(parameter: &Parameter, value: &str, present: &str, reset: &str) -> Result<String, Error> {
    match parameter.kind {
        Kind::Bool => match truth(value) {
            Some(true) => Ok("on".to_owned()),
            Some(false) => Ok("off".to_owned()),
            None => {
                let message = format!("parameter \"{}\" requires a Boolean value", parameter.name);
                Err(Error::new(Condition::InvalidParameterValue, message))
            }
        },
        Kind::Integer { unit, min, max } => {
            let number = number(parameter, value, unit)?.round();
            if number < min as f64 || number > max as f64 {
                return Err(out_of_range(parameter, &format!("{number}"), &min.to_string(), &max.to_string(), unit));
            }
            Ok((number as i64).to_string())
        }
        Kind::Real { min, max } => {
            let number = number(parameter, value, Unit::None)?;
            if number < min || number > max {
                return Err(out_of_range(parameter, value, &min.to_string(), &max.to_string(), Unit::None));
            }
            Ok(number.to_string())
        }
        Kind::Enum(values) => enumerated(parameter, value, values),
        Kind::String => string(parameter, value, present, reset),
    }
}

fn truth(value: &str) -> Option<bool> {
    let value = value.trim().to_ascii_lowercase();
    let begins = |word: &str, least: usize| value.len() >= least && word.starts_with(value.as_str());
    match value.as_str() {
        "1" => Some(true),
        "0" => Some(false),
        _ if begins("true", 1) || begins("yes", 1) || value == "on" => Some(true),
        _ if begins("false", 1) || begins("no", 1) || begins("off", 2) => Some(false),
        _ => None,
    }
}

fn enumerated(parameter: &Parameter, value: &str, values: &[&'static str]) -> Result<String, Error> {
    if let Some(found) = values.iter().find(|known| known.eq_ignore_ascii_case(value.trim())) {
        return Ok((*found).to_owned());
    }
    // Where on and off are values, so are their other spellings.
    if let Some(truth) = truth(value) {
        let word = if truth { "on" } else { "off" };
        if values.contains(&word) {
            return Ok(word.to_owned());
        }
    }
    Err(invalid(parameter, value).hint(format!("Available values: {}.", values.join(", "))))
}

fn string(parameter: &Parameter, value: &str, present: &str, reset: &str) -> Result<String, Error> {
    match parameter.name {
        "client_encoding" => {
            let name: String = value.chars().filter(char::is_ascii_alphanumeric).collect();
            if name.eq_ignore_ascii_case("utf8") || name.eq_ignore_ascii_case("unicode") {
                return Ok("UTF8".to_owned());
            }
            Err(invalid(parameter, value).detail("Conversion between encodings is not supported; use UTF8."))
        }
        "DateStyle" => date_style(parameter, value, present, reset),
        "TimeZone" => match zone::setting(value) {
            Some((_, name, false)) => Ok(name),
            Some((_, name, true)) => {
                let message = format!("time zone \"{name}\" appears to use leap seconds");
                Err(Error::new(Condition::InvalidParameterValue, message)
                    .detail("PostgreSQL does not support leap seconds."))
            }
            None => Err(invalid(parameter, value)),
        },
        "application_name" => Ok(printable(truncated(value))),
        "standard_conforming_strings" | "session_authorization" | "role" => Ok(value.to_owned()),
        _ => Ok(value.to_owned()),
    }
}

/// At most 63 bytes, as a name.
fn truncated(value: &str) -> &str {
    value.get(..value.floor_char_boundary(63)).unwrap_or(value)
}

/// As PostgreSQL cleans application_name: what is not printable ASCII becomes a question mark a byte.
fn printable(value: &str) -> String {
    value.bytes().map(|byte| if (32..127).contains(&byte) { char::from(byte) } else { '?' }).collect()
}

/// A style and an order in either sequence; what is not named stays.
fn date_style(parameter: &Parameter, value: &str, present: &str, reset: &str) -> Result<String, Error> {
    let (mut style, mut order) = (None, None);
    let mut conflict = false;
    let mut choose = |half: &mut Option<String>, chosen: &str| {
        conflict |= half.as_ref().is_some_and(|half| half != chosen);
        *half = Some(chosen.to_owned());
    };
    let halves = |whole: &str| whole.split_once(", ").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap_or_default();
    for word in value.split(',').map(|word| word.trim().to_ascii_lowercase()).filter(|word| !word.is_empty()) {
        match word.as_str() {
            "iso" => choose(&mut style, "ISO"),
            "sql" => choose(&mut style, "SQL"),
            "german" => {
                choose(&mut style, "German");
                // German dates have the day first, unless it is said otherwise.
                order = order.or(Some("DMY".to_owned()));
            }
            "ymd" => choose(&mut order, "YMD"),
            "dmy" => choose(&mut order, "DMY"),
            "mdy" | "us" => choose(&mut order, "MDY"),
            word if word.starts_with("euro") => choose(&mut order, "DMY"),
            word if word.starts_with("noneuro") => choose(&mut order, "MDY"),
            "default" => {
                let (default_style, default_order) = halves(reset);
                (style, order) = (style.or(Some(default_style)), order.or(Some(default_order)));
            }
            word if word.starts_with("postgres") => choose(&mut style, "Postgres"),
            _ => return Err(invalid(parameter, value).detail(format!("Unrecognized key word: \"{word}\"."))),
        }
    }
    if conflict {
        return Err(invalid(parameter, value).detail("Conflicting \"datestyle\" specifications."));
    }
    let (present_style, present_order) = halves(present);
    Ok(format!("{}, {}", style.unwrap_or(present_style), order.unwrap_or(present_order)))
}

/// A number with an optional unit, in the parameter's unit.
fn number(parameter: &Parameter, value: &str, unit: Unit) -> Result<f64, Error> {
    let value_trimmed = value.trim();
    let digits = value_trimmed
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | 'e' | 'E')))
        .unwrap_or(value_trimmed.len());
    let (figure, word) = value_trimmed.split_at_checked(digits).unwrap_or((value_trimmed, ""));
    let figure: f64 = figure.parse().map_err(|_| invalid(parameter, value))?;
    let word = word.trim();
    if word.is_empty() {
        return Ok(figure);
    }
    let factor = scale(unit, word).ok_or_else(|| {
        let error = invalid(parameter, value);
        match unit {
            Unit::Milliseconds | Unit::Seconds => {
                error.hint("Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\".")
            }
            Unit::Kilobytes | Unit::Blocks => {
                error.hint("Valid units for this parameter are \"B\", \"kB\", \"MB\", \"GB\", and \"TB\".")
            }
            Unit::None => error,
        }
    })?;
    Ok(figure * factor)
}

/// How many of the parameter's unit one of the word's is.
fn scale(unit: Unit, word: &str) -> Option<f64> {
    match unit {
        Unit::None => None,
        Unit::Milliseconds | Unit::Seconds => {
            let milliseconds = match word {
                "us" => 0.001,
                "ms" => 1.0,
                "s" => 1_000.0,
                "min" => 60_000.0,
                "h" => 3_600_000.0,
                "d" => 86_400_000.0,
                _ => return None,
            };
            Some(if unit == Unit::Seconds { milliseconds / 1_000.0 } else { milliseconds })
        }
        Unit::Kilobytes | Unit::Blocks => {
            let bytes = match word {
                "B" => 1.0,
                "kB" => 1024.0,
                "MB" => 1_048_576.0,
                "GB" => 1_073_741_824.0,
                "TB" => 1_099_511_627_776.0,
                _ => return None,
            };
            Some(match unit {
                Unit::Kilobytes => bytes / 1024.0,
                _ => bytes / 8192.0,
            })
        }
    }
}

/// A canonical value as SHOW prints it: with the largest unit that it is a whole number of.
pub fn shown(parameter: &Parameter, value: &str) -> String {
    let Kind::Integer { unit, .. } = parameter.kind else { return value.to_owned() };
    let Ok(number) = value.parse::<i64>() else { return value.to_owned() };
    let units: &[(&str, i64)] = match unit {
        Unit::None => return value.to_owned(),
        Unit::Milliseconds => &[("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1)],
        Unit::Seconds => &[("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)],
        Unit::Kilobytes => &[("TB", 1 << 30), ("GB", 1 << 20), ("MB", 1 << 10), ("kB", 1)],
        Unit::Blocks => &[("TB", 1 << 27), ("GB", 1 << 17), ("MB", 1 << 7)],
    };
    if number == 0 {
        return value.to_owned();
    }
    match units.iter().find(|(_, factor)| number % factor == 0) {
        Some((word, factor)) => format!("{}{word}", number / factor),
        None => format!("{}kB", number * 8),
    }
}

/// The unit of the parameter's setting in pg_settings.
pub fn unit_name(parameter: &Parameter) -> Option<&'static str> {
    let Kind::Integer { unit, .. } = parameter.kind else { return None };
    match unit {
        Unit::None => None,
        Unit::Milliseconds => Some("ms"),
        Unit::Seconds => Some("s"),
        Unit::Kilobytes => Some("kB"),
        Unit::Blocks => Some("8kB"),
    }
}

fn invalid(parameter: &Parameter, value: &str) -> Error {
    let message = format!("invalid value for parameter \"{}\": \"{value}\"", parameter.name);
    Error::new(Condition::InvalidParameterValue, message)
}

fn out_of_range(parameter: &Parameter, value: &str, min: &str, max: &str, unit: Unit) -> Error {
    let unit = match unit {
        Unit::None => "",
        Unit::Milliseconds => " ms",
        Unit::Seconds => " s",
        Unit::Kilobytes => " kB",
        Unit::Blocks => " 8kB",
    };
    let name = parameter.name;
    let message = format!("{value}{unit} is outside the valid range for parameter \"{name}\" ({min} .. {max})");
    Error::new(Condition::InvalidParameterValue, message)
}

/// The parameter at a place of the registry.
pub fn at(index: usize) -> &'static Parameter {
    &PARAMETERS[index]
}
