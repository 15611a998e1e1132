//! pg_hba_file_rules and pg_ident_file_mappings: the files as they are now, line by line, with what is wrong with each.

use std::path::{Path, PathBuf};

use crate::auth::files::Disk;
use crate::auth::{Problem, hba, ident};
use crate::error::{Condition, Error};
use crate::sql::types::{Value, array};

/// Where the files are.
#[derive(Debug, Clone, Default)]
pub struct RuleFiles {
    /// `auth.hba_file`, whole.
    pub hba: PathBuf,
    /// `auth.ident_file`, whole.
    pub ident: PathBuf,
}

type Rows = Result<Vec<Vec<Value>>, Error>;

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

fn number(value: usize) -> Value {
    Value::Int(i64::try_from(value).unwrap_or(i64::MAX))
}

fn list(values: &[String]) -> Value {
    if values.is_empty() {
        return Value::Null;
    }
    Value::Text(array::from_elements(values.iter().map(|value| Some(value.as_str()))))
}

fn optional(value: Option<String>) -> Value {
    value.map_or(Value::Null, Value::Text)
}

fn unreadable(error: String) -> Error {
    Error::new(Condition::ConfigFileError, error)
}

/// Number, file and line, then `fields`, then nothing wrong.
fn row(count: usize, file: &str, line: usize, fields: Vec<Value>) -> Vec<Value> {
    let mut row = vec![number(count), text(file), number(line)];
    row.extend(fields);
    row.push(Value::Null);
    row
}

/// File and line, no `fields`, and what is wrong.
fn wrong(problem: &Problem, fields: usize) -> Vec<Value> {
    let mut row = vec![Value::Null, text(&problem.file), number(problem.line)];
    row.extend(std::iter::repeat_n(Value::Null, fields));
    row.push(text(&problem.message));
    row
}

/// Rows of pg_hba_file_rules.
pub fn rules(path: &Path) -> Rows {
    let mut count = 0;
    let lines = hba::read(path, &Disk).map_err(unreadable)?;
    let shown = |line: Result<hba::Rule, Box<Problem>>| match line {
        Ok(rule) => {
            count += 1;
            let hba::Fields { connection, databases, users, address, mask } = rule.fields();
            let (address, mask) = (optional(address), optional(mask));
            let options = list(&rule.options.shown);
            let fields = vec![
                text(connection),
                list(&databases),
                list(&users),
                address,
                mask,
                text(rule.method.name()),
                options,
            ];
            row(count, &rule.file, rule.line, fields)
        }
        Err(problem) => wrong(&problem, 7),
    };
    Ok(lines.into_iter().map(shown).collect())
}

/// Rows of pg_ident_file_mappings.
pub fn mappings(path: &Path) -> Rows {
    let mut count = 0;
    let lines = ident::read(path, &Disk).map_err(unreadable)?;
    let shown = |line: Result<ident::Mapping, Box<Problem>>| match line {
        Ok(mapping) => {
            count += 1;
            let fields = vec![text(&mapping.map), text(mapping.system_user.text()), text(&mapping.role())];
            row(count, &mapping.file, mapping.line, fields)
        }
        Err(problem) => wrong(&problem, 3),
    };
    Ok(lines.into_iter().map(shown).collect())
}
