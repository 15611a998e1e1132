//! From SQLite's constraint messages to PostgreSQL's errors.
//!
//! SQLite names the columns of a violated key, the column of a NULL and the name of a CHECK. Our triggers raise
//! a text of their own that starts with [`PREFIX`] and carries everything the error needs, so that nothing has to
//! be looked up when it is shown.

use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::super::catalog::StoredCatalog;
use crate::error::{Condition, Error};
use crate::sql::catalog::{Catalog, Relation};
use crate::sql::types::{Datum, TextContext, Type, Value, output};

/// How the text of our triggers' RAISE starts.
pub(super) const PREFIX: &str = "pgprefork:";

/// What a trigger found, as its text carries it before the key's values.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Raised {
    /// A row refers to a key that is not there.
    MissingKey(ForeignKey),
    /// A key that rows refer to is going away.
    StillReferenced(ForeignKey),
    /// MATCH FULL: a row has some of the key's columns NULL.
    MixedNulls(ForeignKey),
    /// No partition takes the row.
    NoPartition { schema: String, table: String, columns: Vec<String>, types: Vec<u32> },
}

/// Names for the messages about a foreign key.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ForeignKey {
    pub(super) constraint: String,
    pub(super) schema: String,
    pub(super) child: String,
    pub(super) parent: String,
    /// Columns whose values follow: the child's for a missing key, the parent's for a referenced one.
    pub(super) columns: Vec<String>,
    pub(super) types: Vec<u32>,
}

impl Raised {
    /// The number of columns whose values are shown.
    pub(super) fn columns(&self) -> usize {
        match self {
            Self::MissingKey(key) | Self::StillReferenced(key) => key.columns.len(),
            Self::MixedNulls(_) => 0,
            Self::NoPartition { columns, .. } => columns.len(),
        }
    }
}

/// The error for a constraint that a statement on these relations violated. `message` is SQLite's.
pub fn violated(relations: &[Rc<Relation>], message: &str) -> Option<Error> {
    if let Some(at) = message.find(PREFIX) {
        return raised(message.get(at + PREFIX.len()..)?);
    }
    if let Some(keys) = after(message, "UNIQUE constraint failed: ") {
        return relations.iter().find_map(|relation| unique(relation, keys));
    }
    if let Some(column) = after(message, "NOT NULL constraint failed: ") {
        return relations.iter().find_map(|relation| {
            let column = column.strip_prefix(relation.storage.as_str())?.strip_prefix('.')?;
            Some(not_null(relation, column))
        });
    }
    if let Some(name) = after(message, "CHECK constraint failed: ") {
        return relations
            .iter()
            .find(|relation| relation.constraints.iter().any(|constraint| constraint.name == name))
            .map(|relation| {
                let message =
                    format!("new row for relation \"{}\" violates check constraint \"{name}\"", relation.name);
                Error::new(Condition::CheckViolation, message).table(&relation.schema, &relation.name).constraint(name)
            });
    }
    None
}

/// The same, for a statement whose plan names its relations by OID.
pub fn violated_in(catalog: &StoredCatalog<'_>, relations: &[u32], message: &str) -> Option<Error> {
    let mut known = Vec::new();
    for oid in relations {
        let relation = catalog.relation_by_oid(*oid).ok()??;
        // A partition's constraints are its root's too.
        if let crate::sql::catalog::RelationKind::Partition { parent, .. } = &relation.kind {
            known.extend(catalog.relation_by_oid(*parent).ok().flatten());
        }
        known.push(relation);
    }
    violated(&known, message)
}

/// 23502 as PostgreSQL words it.
pub fn not_null(relation: &Relation, column: &str) -> Error {
    let message =
        format!("null value in column \"{column}\" of relation \"{}\" violates not-null constraint", relation.name);
    Error::new(Condition::NotNullViolation, message).table(&relation.schema, &relation.name).column(column)
}

/// 23514 for rows that were there before the constraint.
pub(super) fn check_of_existing_rows(relation: &Relation, name: &str) -> Error {
    let message = format!("check constraint \"{name}\" of relation \"{}\" is violated by some row", relation.name);
    Error::new(Condition::CheckViolation, message).table(&relation.schema, &relation.name).constraint(name)
}

fn after<'a>(message: &'a str, marker: &str) -> Option<&'a str> {
    message.find(marker).and_then(|at| message.get(at + marker.len()..)).map(str::trim_end)
}

/// `table.a, table.b`, or `index 'name'` for an index over expressions.
fn unique(relation: &Relation, keys: &str) -> Option<Error> {
    let index = if let Some(name) = keys.strip_prefix("index '").and_then(|name| name.strip_suffix('\'')) {
        relation.indexes.iter().find(|index| index.storage.as_deref() == Some(name))?
    } else {
        let columns: Vec<usize> = keys
            .split(", ")
            .map(|key| {
                let name = key.strip_prefix(relation.storage.as_str())?.strip_prefix('.')?;
                relation.columns.iter().position(|column| !column.dropped && column.name == name)
            })
            .collect::<Option<_>>()?;
        relation.indexes.iter().filter(|index| index.unique).find(|index| {
            index.keys.len() == columns.len()
                && index.keys.iter().zip(&columns).all(|(key, column)| key.column == Some(*column))
        })?
    };
    let message = format!("duplicate key value violates unique constraint \"{}\"", index.name);
    Some(
        Error::new(Condition::UniqueViolation, message).table(&relation.schema, &relation.name).constraint(&index.name),
    )
}

/// The DETAIL of a duplicate key, for callers that have the row: `values` gives a column's value by its index.
pub fn unique_detail(relation: &Relation, constraint: &str, values: &dyn Fn(usize) -> Option<Value>) -> Option<String> {
    let index = relation.indexes.iter().find(|index| index.name == constraint)?;
    let (mut names, mut shown) = (Vec::new(), Vec::new());
    for key in &index.keys {
        let column = relation.columns.get(key.column?)?;
        names.push(column.name.clone());
        shown.push(show(&values(key.column?)?, column.type_, column.typmod));
    }
    Some(format!("Key ({})=({}) already exists.", names.join(", "), shown.join(", ")))
}

/// Bytes of a value that DETAIL shows at most, as in PostgreSQL.
const SHOWN_BYTES: usize = 64;

/// The DETAIL of a row that a constraint refused, for callers that have all of it; or of the columns that `is_shown` allows,
/// which are named then.
pub fn row_detail(
    relation: &Relation,
    values: &dyn Fn(usize) -> Option<Value>,
    is_shown: Option<&dyn Fn(usize) -> bool>,
) -> Option<String> {
    let mut shown = Vec::with_capacity(relation.columns.len());
    let mut names = Vec::new();
    for (index, column) in relation.columns.iter().enumerate().filter(|(_, column)| !column.dropped) {
        if is_shown.is_some_and(|is_shown| !is_shown(index)) {
            continue;
        }
        names.push(column.name.as_str());
        let mut text = show(&values(index)?, column.type_, column.typmod);
        if text.len() > SHOWN_BYTES {
            text.truncate(text.floor_char_boundary(SHOWN_BYTES));
            text.push_str("...");
        }
        shown.push(text);
    }
    if is_shown.is_none() {
        return Some(format!("Failing row contains ({}).", shown.join(", ")));
    }
    let named = || format!("Failing row contains ({}) = ({}).", names.join(", "), shown.join(", "));
    (!names.is_empty()).then(named)
}

fn raised(text: &str) -> Option<Error> {
    let (json, values) = text.split_once('\n')?;
    let values = parse_quoted(values);
    Some(match serde_json::from_str(json).ok()? {
        Raised::MissingKey(key) => {
            let message = format!(
                "insert or update on table \"{}\" violates foreign key constraint \"{}\"",
                key.child, key.constraint
            );
            let detail = format!(
                "Key {} is not present in table \"{}\".",
                shown_key(&key.columns, &key.types, &values),
                key.parent
            );
            foreign_key_error(&key, message, detail)
        }
        Raised::StillReferenced(key) => {
            let message = format!(
                "update or delete on table \"{}\" violates foreign key constraint \"{}\" on table \"{}\"",
                key.parent, key.constraint, key.child
            );
            let detail = format!(
                "Key {} is still referenced from table \"{}\".",
                shown_key(&key.columns, &key.types, &values),
                key.child
            );
            foreign_key_error(&key, message, detail)
        }
        Raised::MixedNulls(key) => {
            let message = format!(
                "insert or update on table \"{}\" violates foreign key constraint \"{}\"",
                key.child, key.constraint
            );
            let detail = "MATCH FULL does not allow mixing of null and nonnull key values.".to_owned();
            foreign_key_error(&key, message, detail)
        }
        Raised::NoPartition { schema, table, columns, types } => {
            let key = shown_key(&columns, &types, &values).replacen(")=(", ") = (", 1);
            Error::new(Condition::CheckViolation, format!("no partition of relation \"{table}\" found for row"))
                .detail(format!("Partition key of the failing row contains {key}."))
                .table(schema, table)
        }
    })
}

fn foreign_key_error(key: &ForeignKey, message: String, detail: String) -> Error {
    Error::new(Condition::ForeignKeyViolation, message)
        .detail(detail)
        .table(&key.schema, &key.child)
        .constraint(&key.constraint)
}

/// `(a, b)=(1, x)` from values that SQLite's quote() wrote.
pub(super) fn key(relation: &Relation, columns: &[usize], quoted: &str) -> String {
    let columns: Vec<_> = columns.iter().filter_map(|index| relation.columns.get(*index)).collect();
    let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    let types: Vec<u32> = columns.iter().map(|column| column.type_.oid()).collect();
    shown_key(&names, &types, &parse_quoted(quoted))
}

fn shown_key(columns: &[String], types: &[u32], values: &[Value]) -> String {
    let shown: Vec<String> = values
        .iter()
        .enumerate()
        .map(|(index, value)| {
            show(value, types.get(index).and_then(|oid| Type::from_oid(*oid)).unwrap_or(Type::Text), -1)
        })
        .collect();
    format!("({})=({})", columns.join(", "), shown.join(", "))
}

fn show(value: &Value, type_: Type, typmod: i32) -> String {
    match value.as_datum() {
        Datum::Null => "null".to_owned(),
        datum => {
            let mut out = Vec::new();
            output(type_, typmod, datum, &TextContext::default(), &mut out);
            String::from_utf8_lossy(&out).into_owned()
        }
    }
}

/// Reads a comma-separated list of what SQLite's quote() writes: numbers, 'text', x'bytes', NULL.
fn parse_quoted(text: &str) -> Vec<Value> {
    let mut values = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (value, after) = if let Some(body) = rest.strip_prefix('\'') {
            let (text, after) = quoted_text(body);
            (Value::Text(text), after)
        } else if let Some(body) = rest.strip_prefix("X'").or_else(|| rest.strip_prefix("x'")) {
            let (hex, after) = body.split_once('\'').unwrap_or((body, ""));
            let bytes = hex
                .as_bytes()
                .chunks(2)
                .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
            (Value::Bytes(bytes.collect()), after)
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            let value = match (word.parse::<i64>(), word.parse::<f64>()) {
                (Ok(int), _) => Value::Int(int),
                (_, Ok(float)) => Value::Float(float),
                _ => Value::Null,
            };
            (value, after)
        };
        values.push(value);
        rest = after.strip_prefix(',').unwrap_or("");
    }
    values
}

/// The text up to its closing quote, doubled quotes undone, and what follows.
fn quoted_text(body: &str) -> (String, &str) {
    let mut text = String::new();
    let mut characters = body.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        if character != '\'' {
            text.push(character);
        } else if characters.peek().is_some_and(|(_, next)| *next == '\'') {
            text.push('\'');
            characters.next();
        } else {
            return (text, body.get(at + 1..).unwrap_or(""));
        }
    }
    (text, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_sqlite_quotes_are_read_back() {
        assert_eq!(
            parse_quoted("5,'it''s, so',X'00ff',NULL,1.5"),
            vec![
                Value::Int(5),
                Value::Text("it's, so".into()),
                Value::Bytes(vec![0, 255]),
                Value::Null,
                Value::Float(1.5)
            ]
        );
    }
}
