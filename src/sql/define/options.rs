//! Storage parameters: which there are for tables and indexes, and what values they take. They are kept and shown,
//! without effect.

use crate::error::{Condition, Error};

/// What a parameter's value is.
enum Kind {
    Bool,
    Int(i64, i64),
    Real(f64, f64),
    Choice(&'static [&'static str]),
}

/// Of autovacuum and its like, which there are for a table and, after `toast.`, for its long values.
fn vacuum_kind(name: &str) -> Option<Kind> {
    const INT_MAX: i64 = i32::MAX as i64;
    Some(match name {
        "autovacuum_enabled" | "vacuum_truncate" => Kind::Bool,
        "vacuum_index_cleanup" => Kind::Choice(&["auto", "on", "off", "true", "false", "yes", "no", "1", "0"]),
        "autovacuum_vacuum_threshold" => Kind::Int(0, INT_MAX),
        "autovacuum_vacuum_insert_threshold" | "log_autovacuum_min_duration" => Kind::Int(-1, INT_MAX),
        "autovacuum_vacuum_cost_limit" => Kind::Int(1, 10_000),
        "autovacuum_freeze_min_age" | "autovacuum_multixact_freeze_min_age" => Kind::Int(0, 1_000_000_000),
        "autovacuum_freeze_max_age" => Kind::Int(100_000, 2_000_000_000),
        "autovacuum_multixact_freeze_max_age" => Kind::Int(10_000, 2_000_000_000),
        "autovacuum_freeze_table_age" | "autovacuum_multixact_freeze_table_age" => Kind::Int(0, 2_000_000_000),
        "autovacuum_vacuum_cost_delay" | "autovacuum_vacuum_scale_factor" | "autovacuum_vacuum_insert_scale_factor" => {
            Kind::Real(0.0, 100.0)
        }
        _ => return None,
    })
}

fn table_kind(name: &str) -> Option<Kind> {
    Some(match name {
        "fillfactor" => Kind::Int(10, 100),
        "toast_tuple_target" => Kind::Int(128, 8160),
        "parallel_workers" => Kind::Int(0, 1024),
        "user_catalog_table" => Kind::Bool,
        "autovacuum_analyze_threshold" => Kind::Int(0, i64::from(i32::MAX)),
        "autovacuum_analyze_scale_factor" => Kind::Real(0.0, 100.0),
        _ => return vacuum_kind(name),
    })
}

/// Those of CREATE TABLE and ALTER TABLE SET, as `name=value`.
pub fn check(options: &[String]) -> Result<(), Error> {
    let mut seen: Vec<&str> = Vec::new();
    for option in options {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        if seen.contains(&name) {
            return Err(invalid(format!("parameter \"{name}\" specified more than once")));
        }
        seen.push(name);
        let kind = match name.split_once('.') {
            None => table_kind(name),
            Some(("toast", name)) => vacuum_kind(name),
            Some((space, _)) => return Err(invalid(format!("unrecognized parameter namespace \"{space}\""))),
        };
        let name = name.split_once('.').map_or(name, |(_, name)| name);
        match kind {
            Some(kind) => check_value(name, value, &kind)?,
            None => return Err(unrecognized(name)),
        }
    }
    Ok(())
}

/// A partitioned table has none.
pub fn check_partitioned(options: &[String]) -> Result<(), Error> {
    match options.first() {
        Some(option) => Err(unrecognized(option.split_once('=').map_or(option, |(name, _)| name))),
        None => Ok(()),
    }
}

/// Those of an index.
pub fn check_index(options: &[String]) -> Result<(), Error> {
    for option in options {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match name {
            "fillfactor" => check_value(name, value, &Kind::Int(10, 100))?,
            "deduplicate_items" => check_value(name, value, &Kind::Bool)?,
            _ => return Err(unrecognized(name)),
        }
    }
    Ok(())
}

fn unrecognized(name: &str) -> Error {
    invalid(format!("unrecognized parameter \"{name}\""))
}

fn invalid(message: String) -> Error {
    Error::new(Condition::InvalidParameterValue, message)
}

fn check_value(name: &str, value: &str, kind: &Kind) -> Result<(), Error> {
    let not_a = |what: &str| invalid(format!("invalid value for {what} option \"{name}\": {value}"));
    let outside = || invalid(format!("value {value} out of bounds for option \"{name}\""));
    match kind {
        Kind::Bool => {
            let lower = value.to_ascii_lowercase();
            let known = ["true", "false", "yes", "no", "on", "off", "1", "0"];
            let named = known.iter().any(|word| word.starts_with(lower.as_str())) && !lower.is_empty() && lower != "o";
            if named { Ok(()) } else { Err(not_a("boolean")) }
        }
        Kind::Int(low, high) => match value.parse::<i64>() {
            Ok(number) if (*low..=*high).contains(&number) => Ok(()),
            Ok(number) if i32::try_from(number).is_err() => Err(not_a("integer")),
            Ok(_) => Err(outside().detail(format!("Valid values are between \"{low}\" and \"{high}\"."))),
            Err(_) => Err(not_a("integer")),
        },
        Kind::Real(low, high) => match value.parse::<f64>() {
            Ok(number) if (*low..=*high).contains(&number) => Ok(()),
            Ok(_) => Err(outside().detail(format!("Valid values are between \"{low:.6}\" and \"{high:.6}\"."))),
            Err(_) => Err(not_a("floating point")),
        },
        Kind::Choice(words) => {
            if words.contains(&value.to_ascii_lowercase().as_str()) {
                return Ok(());
            }
            Err(invalid(format!("invalid value for enum option \"{name}\": {value}"))
                .detail("Valid values are \"on\", \"off\", and \"auto\"."))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails(option: &str) -> String {
        let error = check(&[option.to_owned()]).expect_err(option);
        assert_eq!(error.condition(), Condition::InvalidParameterValue);
        error.fields().message.clone()
    }

    #[test]
    fn storage_parameters_are_known_and_in_their_bounds() {
        let fine = ["fillfactor=70", "autovacuum_enabled=off", "toast.vacuum_truncate=f", "parallel_workers=0"];
        for option in fine.into_iter().chain(["autovacuum_vacuum_scale_factor=0.5", "vacuum_index_cleanup=auto"]) {
            check(&[option.to_owned()]).expect(option);
        }
        assert_eq!(fails("foo=1"), "unrecognized parameter \"foo\"");
        assert_eq!(fails("autovacuum_foo=1"), "unrecognized parameter \"autovacuum_foo\"");
        assert_eq!(fails("toast.fillfactor=70"), "unrecognized parameter \"fillfactor\"");
        assert_eq!(fails("foo.bar=1"), "unrecognized parameter namespace \"foo\"");
        assert_eq!(fails("fillfactor=5"), "value 5 out of bounds for option \"fillfactor\"");
        assert_eq!(fails("fillfactor=x"), "invalid value for integer option \"fillfactor\": x");
        assert_eq!(fails("autovacuum_enabled=2"), "invalid value for boolean option \"autovacuum_enabled\": 2");
        let twice = ["fillfactor=70".to_owned(), "fillfactor=80".to_owned()];
        assert!(check(&twice).is_err());
    }
}
