//! Partition bounds as SQLite conditions, and the hash of hash partitioning.

use crate::sql::catalog::{
    ColumnDefinition, PartitionBound, PartitionStrategy, Partitioning, RangeBound, Relation, RelationKind,
};
use crate::sql::types::{Type, Value};

/// The SQLite function that hashes a partition key; the engine registers it under this name.
pub const HASH_FUNCTION: &str = "pg_partition_hash";

/// A name in double quotes, for SQLite and PostgreSQL alike.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A stored value as a SQLite literal.
pub fn literal(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) if value.is_infinite() => if *value > 0.0 { "9e999" } else { "-9e999" }.to_owned(),
        Value::Float(value) => format!("{value:e}"),
        Value::Text(value) => format!("'{}'", value.replace('\'', "''")),
        Value::Bytes(value) => {
            let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("x'{hex}'")
        }
    }
}

/// The rows of a partition as a condition over the root's columns, each written after `prefix` (`t.`, `NEW.` or
/// nothing). `siblings` are the bounds of the root's other partitions, which only DEFAULT needs.
pub fn bound_condition(root: &Relation, bound: &PartitionBound, siblings: &[PartitionBound], prefix: &str) -> String {
    let RelationKind::Partitioned(partitioning) = &root.kind else { return "1".to_owned() };
    let columns: Vec<&ColumnDefinition> =
        partitioning.columns.iter().filter_map(|index| root.columns.get(*index)).collect();
    let names: Vec<String> = columns.iter().map(|column| column_reference(prefix, column)).collect();
    match bound {
        PartitionBound::Range { from, to } => {
            let mut parts: Vec<String> = names
                .iter()
                .zip(&columns)
                .filter(|(_, column)| !column.not_null)
                .map(|(name, _)| format!("{name} IS NOT NULL"))
                .collect();
            parts.extend(range_side(&names, from, ">", ">="));
            parts.extend(range_side(&names, to, "<", "<"));
            if parts.is_empty() { "1".to_owned() } else { format!("({})", parts.join(" AND ")) }
        }
        PartitionBound::List(values) => {
            let Some(name) = names.first() else { return "1".to_owned() };
            let plain: Vec<String> = values.iter().filter(|value| !value.is_null()).map(literal).collect();
            let mut parts = Vec::new();
            if !plain.is_empty() {
                parts.push(format!("({name} IS NOT NULL AND {name} IN ({}))", plain.join(", ")));
            }
            if plain.len() < values.len() {
                parts.push(format!("{name} IS NULL"));
            }
            format!("({})", parts.join(" OR "))
        }
        PartitionBound::Hash { modulus, remainder } => {
            format!("({HASH_FUNCTION}({}) % {modulus} = {remainder})", names.join(", "))
        }
        PartitionBound::Default => {
            let others: Vec<String> = siblings
                .iter()
                .filter(|sibling| **sibling != PartitionBound::Default)
                .map(|sibling| bound_condition(root, sibling, &[], prefix))
                .collect();
            if others.is_empty() { "1".to_owned() } else { format!("(NOT ({}))", others.join(" OR ")) }
        }
    }
}

/// A key column; numeric compares by its own collation.
fn column_reference(prefix: &str, column: &ColumnDefinition) -> String {
    let name = format!("{prefix}{}", quoted(&column.name));
    if column.type_ == Type::Numeric { format!("{name} COLLATE pg_numeric") } else { name }
}

/// One end of a range over the key columns, compared as a row; `strict` for all but the last column.
fn range_side(names: &[String], bounds: &[RangeBound], strict: &str, last: &str) -> Option<String> {
    let below = strict == "<";
    let mut alternatives = Vec::new();
    let mut equal_so_far: Vec<String> = Vec::new();
    for (index, (name, bound)) in names.iter().zip(bounds).enumerate() {
        match bound {
            RangeBound::Value(value) => {
                let value = literal(value);
                let is_last = index + 1 == bounds.len();
                let operator = if is_last { last } else { strict };
                let mut terms = equal_so_far.clone();
                terms.push(format!("{name} {operator} {value}"));
                alternatives.push(terms.join(" AND "));
                equal_so_far.push(format!("{name} = {value}"));
            }
            // Everything lies on the wanted side of this end, or nothing does: later columns do not count.
            RangeBound::MinValue | RangeBound::MaxValue => {
                let everything = matches!(bound, RangeBound::MaxValue) == below;
                if everything {
                    if equal_so_far.is_empty() {
                        return None;
                    }
                    alternatives.push(equal_so_far.join(" AND "));
                }
                break;
            }
        }
    }
    match alternatives.as_slice() {
        [] => Some("0".to_owned()),
        [one] => Some(one.clone()),
        many => Some(format!("({})", many.iter().map(|term| format!("({term})")).collect::<Vec<_>>().join(" OR "))),
    }
}

/// The condition under which no partition takes a row, or `None` where every row finds one.
pub fn unroutable_condition(root: &Relation, bounds: &[PartitionBound], prefix: &str) -> Option<String> {
    let RelationKind::Partitioned(partitioning) = &root.kind else { return None };
    if bounds.contains(&PartitionBound::Default) || covers_everything(root, partitioning, bounds) {
        return None;
    }
    if bounds.is_empty() {
        return Some("1".to_owned());
    }
    let taken: Vec<String> = bounds.iter().map(|bound| bound_condition(root, bound, &[], prefix)).collect();
    Some(format!("NOT ({})", taken.join(" OR ")))
}

/// Whether ranges of one column join from MINVALUE to MAXVALUE, or hash remainders are all there.
fn covers_everything(root: &Relation, partitioning: &Partitioning, bounds: &[PartitionBound]) -> bool {
    match partitioning.strategy {
        PartitionStrategy::List => false,
        PartitionStrategy::Hash => {
            // Remainders of a modulus that divides the largest one count for all its multiples.
            let largest = bounds
                .iter()
                .map(|bound| if let PartitionBound::Hash { modulus, .. } = bound { *modulus } else { 0 })
                .max();
            let covered: u64 = bounds
                .iter()
                .filter_map(|bound| match bound {
                    PartitionBound::Hash { modulus, .. } if *modulus > 0 => {
                        Some(u64::from(largest.unwrap_or(0) / modulus))
                    }
                    _ => None,
                })
                .sum();
            largest.is_some_and(|largest| largest > 0 && covered >= u64::from(largest))
        }
        PartitionStrategy::Range => {
            let [column] = partitioning.columns.as_slice() else { return false };
            if !root.columns.get(*column).is_some_and(|column| column.not_null) {
                return false;
            }
            let mut end = RangeBound::MinValue;
            for _ in bounds {
                let next = bounds.iter().find_map(|bound| match bound {
                    PartitionBound::Range { from, to } if from.first() == Some(&end) => to.first().cloned(),
                    _ => None,
                });
                match next {
                    Some(RangeBound::MaxValue) => return true,
                    Some(next) => end = next,
                    None => return false,
                }
            }
            false
        }
    }
}

/// The hash of a partition key. The values decide, not their types' widths, so that a key column may be widened.
/// FNV-1a with a final mix; it is stored nowhere but must not change: rows are found by it.
pub fn hash<'a>(values: impl Iterator<Item = &'a [u8]>) -> i64 {
    let mut state: u64 = 0xcbf2_9ce4_8422_2325;
    for value in values {
        for byte in value.iter().chain(&[0xff]) {
            state = (state ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    state ^= state >> 33;
    state = state.wrapping_mul(0xff51_afd7_ed55_8ccd);
    state ^= state >> 33;
    // Without the sign bit, so that SQLite's % yields no negative remainder.
    (state >> 1) as i64
}
