//! Partition bounds as written, made values; their overlaps; and the hash function on a connection.

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;

use super::Definer;
use crate::error::{Condition, Error};
use crate::sql::catalog::{ColumnDefinition, PartitionBound, PartitionStrategy, RangeBound, Relation, RelationKind};
use crate::sql::define::partition::{HASH_FUNCTION, bound_condition, hash, quoted};
use crate::sql::define::{BoundClause, BoundValue};
use crate::sql::types::{TextContext, Type, Value, input};

/// Registers the function that hash partitions are told apart by.
pub fn register(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_scalar_function(HASH_FUNCTION, -1, flags, |context| {
        let mut keys: Vec<Vec<u8>> = Vec::with_capacity(context.len());
        for index in 0..context.len() {
            keys.push(match context.get_raw(index) {
                ValueRef::Null => Vec::new(),
                ValueRef::Integer(value) => value.to_le_bytes().to_vec(),
                ValueRef::Real(value) => value.to_bits().to_le_bytes().to_vec(),
                ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.to_vec(),
            });
        }
        Ok(hash(keys.iter().map(Vec::as_slice)))
    })
}

impl Definer<'_> {
    /// The condition that selects a relation's rows in its storage.
    pub(super) fn slice_condition(&self, relation: &Relation) -> Result<String, Error> {
        let RelationKind::Partition { parent, bound } = &relation.kind else { return Ok("1".to_owned()) };
        use crate::sql::catalog::Catalog;
        let Some(root) = self.catalog().relation_by_oid(*parent)? else { return Ok("1".to_owned()) };
        Ok(bound_condition(&root, bound, &self.bounds_of(&root)?, ""))
    }

    /// 23514 where rows of the default partition are among those that a new partition is to hold.
    pub(super) fn require_not_in_default(&self, root: &Relation, bound: &PartitionBound) -> Result<(), Error> {
        use crate::sql::catalog::Catalog;
        let RelationKind::Partitioned(partitioning) = &root.kind else { return Ok(()) };
        for oid in &partitioning.partitions {
            let Some(other) = self.catalog().relation_by_oid(*oid)? else { continue };
            if !matches!(other.kind, RelationKind::Partition { bound: PartitionBound::Default, .. }) {
                continue;
            }
            // No other partition has such rows.
            let condition = bound_condition(root, bound, &[], "");
            let sql = format!("SELECT EXISTS (SELECT 1 FROM {} WHERE {condition})", quoted(&root.storage));
            let found = self.context.connection.query_row(&sql, [], |row| row.get::<_, bool>(0));
            if found.map_err(super::super::catalog::failure)? {
                let message = format!(
                    "updated partition constraint for default partition \"{}\" would be violated by some row",
                    other.name
                );
                return Err(Error::new(Condition::CheckViolation, message).table(&other.schema, &other.name));
            }
        }
        Ok(())
    }

    /// A new partition's bound: of the root's strategy, its values of the key columns' types, overlapping none.
    pub(super) fn resolve_bound(
        &self,
        root: &Relation,
        name: &str,
        clause: &BoundClause,
    ) -> Result<PartitionBound, Error> {
        let RelationKind::Partitioned(partitioning) = &root.kind else {
            return Err(Error::new(Condition::WrongObjectType, format!("\"{}\" is not partitioned", root.name)));
        };
        let columns: Vec<&ColumnDefinition> =
            partitioning.columns.iter().filter_map(|index| root.columns.get(*index)).collect();
        let bound = match (clause, partitioning.strategy) {
            (BoundClause::Range { from, to }, PartitionStrategy::Range) => PartitionBound::Range {
                from: range_bound(&columns, from, "FROM")?,
                to: range_bound(&columns, to, "TO")?,
            },
            (BoundClause::List(values), PartitionStrategy::List) => {
                let column = columns.first().ok_or_else(|| Error::internal("a list without a key column"))?;
                let values = values.iter().map(|text| match text {
                    Some(text) => value(column, text),
                    None => Ok(Value::Null),
                });
                PartitionBound::List(values.collect::<Result<_, _>>()?)
            }
            (BoundClause::Hash { modulus, remainder }, PartitionStrategy::Hash) => {
                PartitionBound::Hash { modulus: *modulus, remainder: *remainder }
            }
            (BoundClause::Default, PartitionStrategy::Hash) => {
                let message = "a hash-partitioned table may not have a default partition";
                return Err(Error::new(Condition::InvalidTableDefinition, message));
            }
            (BoundClause::Default, _) => PartitionBound::Default,
            (_, strategy) => {
                let strategy = match strategy {
                    PartitionStrategy::Range => "range",
                    PartitionStrategy::List => "list",
                    PartitionStrategy::Hash => "hash",
                };
                let message = format!("invalid bound specification for a {strategy} partition");
                return Err(Error::new(Condition::InvalidTableDefinition, message));
            }
        };
        if let PartitionBound::Range { from, to } = &bound
            && range_order(from, to) != std::cmp::Ordering::Less
        {
            let message = format!("empty range bound specified for partition \"{name}\"");
            return Err(Error::new(Condition::InvalidTableDefinition, message));
        }
        for oid in &partitioning.partitions {
            use crate::sql::catalog::Catalog;
            if let Some(other) = self.catalog().relation_by_oid(*oid)?
                && let RelationKind::Partition { bound: taken, .. } = &other.kind
                && overlaps(&bound, taken)
            {
                let message = format!("partition \"{name}\" would overlap partition \"{}\"", other.name);
                return Err(Error::new(Condition::InvalidTableDefinition, message));
            }
        }
        Ok(bound)
    }
}

fn range_bound(columns: &[&ColumnDefinition], values: &[BoundValue], side: &str) -> Result<Vec<RangeBound>, Error> {
    if values.len() != columns.len() {
        let message = format!("{side} must specify exactly one value per partitioning column");
        return Err(Error::new(Condition::InvalidTableDefinition, message));
    }
    let bounds = columns.iter().zip(values).map(|(column, bound)| match bound {
        BoundValue::MinValue => Ok(RangeBound::MinValue),
        BoundValue::MaxValue => Ok(RangeBound::MaxValue),
        BoundValue::Literal(text) => value(column, text).map(RangeBound::Value),
    });
    bounds.collect()
}

fn value(column: &ColumnDefinition, text: &str) -> Result<Value, Error> {
    input(column.type_, column.typmod, text, &TextContext::default()).map_err(|error| {
        if column.type_ == Type::Text {
            return error;
        }
        let message =
            format!("specified value cannot be cast to type {} for column \"{}\"", column.type_.name(), column.name);
        Error::new(Condition::DatatypeMismatch, message).detail(error.fields().message.clone())
    })
}

/// Order of stored values of one type; numeric, whose text has no such order, by its value as a float.
fn compare(left: &Value, right: &Value) -> std::cmp::Ordering {
    use std::cmp::Ordering;
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => left.cmp(right),
        (Value::Float(left), Value::Float(right)) => left.total_cmp(right),
        (Value::Bytes(left), Value::Bytes(right)) => left.cmp(right),
        (Value::Text(left), Value::Text(right)) => match (left.parse::<f64>(), right.parse::<f64>()) {
            (Ok(left), Ok(right)) => left.total_cmp(&right),
            _ => left.cmp(right),
        },
        _ => Ordering::Equal,
    }
}

fn range_order(left: &[RangeBound], right: &[RangeBound]) -> std::cmp::Ordering {
    use std::cmp::Ordering;
    for pair in left.iter().zip(right) {
        let order = match pair {
            (RangeBound::MinValue, RangeBound::MinValue) | (RangeBound::MaxValue, RangeBound::MaxValue) => {
                return Ordering::Equal;
            }
            (RangeBound::MinValue, _) | (_, RangeBound::MaxValue) => Ordering::Less,
            (RangeBound::MaxValue, _) | (_, RangeBound::MinValue) => Ordering::Greater,
            (RangeBound::Value(left), RangeBound::Value(right)) => compare(left, right),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

fn overlaps(left: &PartitionBound, right: &PartitionBound) -> bool {
    use std::cmp::Ordering::Less;
    match (left, right) {
        (PartitionBound::Range { from, to }, PartitionBound::Range { from: other_from, to: other_to }) => {
            range_order(from, other_to) == Less && range_order(other_from, to) == Less
        }
        (PartitionBound::List(left), PartitionBound::List(right)) => left.iter().any(|value| right.contains(value)),
        (PartitionBound::Hash { modulus, remainder }, PartitionBound::Hash { modulus: other, remainder: taken }) => {
            let common = gcd(*modulus, *other);
            common > 0 && remainder % common == taken % common
        }
        (PartitionBound::Default, PartitionBound::Default) => true,
        _ => false,
    }
}

fn gcd(left: u32, right: u32) -> u32 {
    if right == 0 { left } else { gcd(right, left % right) }
}
