//! Constraints and indexes as written, made part of a relation: their names, their columns, their checks.

use std::rc::Rc;

use super::{Definer, column_index, is_table, wrong_kind};
use crate::error::{Condition, Error};
use crate::sql::catalog::{Catalog, Constraint, ConstraintKind, Index, IndexKey, Relation, RelationKind};
use crate::sql::define::{ConstraintClause, ConstraintClauseKind, Deferral, names_in};
use crate::sql::types::Type;

/// PostgreSQL's limit on a name, in bytes.
const NAME_BYTES: usize = 63;

/// `table_column_label`, the longer of the first two cut until all fits, as PostgreSQL's makeObjectName does.
pub(super) fn object_name(table: &str, column: &str, label: &str) -> String {
    let (mut table, mut column) = (table.to_owned(), column.to_owned());
    let overhead = label.len() + 1 + usize::from(!column.is_empty());
    while table.len() + column.len() + overhead > NAME_BYTES {
        let longer = if table.len() > column.len() { &mut table } else { &mut column };
        if longer.pop().is_none() {
            break;
        }
    }
    if column.is_empty() { format!("{table}_{label}") } else { format!("{table}_{column}_{label}") }
}

/// Column names joined for a generated name.
fn joined(relation: &Relation, columns: &[usize]) -> String {
    let names: Vec<&str> =
        columns.iter().filter_map(|index| relation.columns.get(*index)).map(|column| column.name.as_str()).collect();
    names.join("_")
}

impl Definer<'_> {
    /// A name that no relation or index of the schema has, nor an index or constraint of `relation`.
    pub(super) fn free_name(
        &self,
        relation: &Relation,
        column: &str,
        label: &str,
        in_schema: bool,
    ) -> Result<String, Error> {
        for suffix in 0u32.. {
            let label = if suffix == 0 { label.to_owned() } else { format!("{label}{suffix}") };
            let name = object_name(&relation.name, column, &label);
            let own = relation.constraints.iter().any(|constraint| constraint.name == name)
                || relation.indexes.iter().any(|index| index.name == name);
            let taken = own || (in_schema && self.catalog().name_taken(&relation.schema, &name)?);
            if !taken {
                return Ok(name);
            }
        }
        Err(Error::internal("no free name"))
    }

    /// Adds a constraint to a relation, which may not be stored yet: the catalog's side only.
    pub(super) fn add_constraint(&self, relation: &mut Relation, clause: &ConstraintClause) -> Result<(), Error> {
        if let Some(name) = &clause.name
            && relation.constraints.iter().any(|constraint| &constraint.name == name)
        {
            let message = format!("constraint \"{name}\" for relation \"{}\" already exists", relation.name);
            return Err(Error::new(Condition::DuplicateObject, message));
        }
        match &clause.kind {
            ConstraintClauseKind::PrimaryKey { columns } => self.add_key(relation, clause, columns, true),
            ConstraintClauseKind::Unique { columns } => self.add_key(relation, clause, columns, false),
            ConstraintClauseKind::Check { expression } => self.add_check(relation, clause, expression),
            ConstraintClauseKind::ForeignKey { .. } => self.add_foreign_key(relation, clause),
        }
    }

    fn add_key(
        &self,
        relation: &mut Relation,
        clause: &ConstraintClause,
        columns: &[String],
        primary: bool,
    ) -> Result<(), Error> {
        if primary && relation.indexes.iter().any(|index| index.primary) {
            return Err(several_primary_keys(relation));
        }
        let what = if primary { "primary key" } else { "unique" };
        let columns = key_columns(relation, columns, what)?;
        if let RelationKind::Partitioned(partitioning) = &relation.kind {
            for key in &partitioning.columns {
                if !columns.contains(key) {
                    return Err(partition_key_missing(relation, *key, primary));
                }
            }
        }
        let (column_part, label) = if primary { (String::new(), "pkey") } else { (joined(relation, &columns), "key") };
        let name = match &clause.name {
            Some(name) if self.catalog().name_taken(&relation.schema, name)? => {
                return Err(Error::new(Condition::DuplicateTable, format!("relation \"{name}\" already exists")));
            }
            Some(name) => name.clone(),
            None => self.free_name(relation, &column_part, label, true)?,
        };
        if primary {
            for column in &columns {
                relation.columns[*column].not_null = true;
            }
        }
        let index_oid = self.writer().next_oid(relation.temporary)?;
        let keys = columns
            .iter()
            .map(|column| IndexKey { column: Some(*column), expression: None, descending: false, nulls_first: false })
            .collect();
        relation.indexes.push(Index {
            oid: index_oid,
            name: name.clone(),
            unique: true,
            primary,
            keys,
            predicate: None,
            storage: Some(super::storage::storage_name(&name, index_oid)),
        });
        let kind = if primary { ConstraintKind::PrimaryKey { columns } } else { ConstraintKind::Unique { columns } };
        relation.constraints.push(Constraint::new(self.writer().next_oid(relation.temporary)?, name, kind));
        Ok(())
    }

    fn add_check(&self, relation: &mut Relation, clause: &ConstraintClause, expression: &str) -> Result<(), Error> {
        // Binding it here finds unknown columns before anything is changed.
        self.context.binder.expression(relation, expression, Some((Type::Bool, -1)))?;
        let name = match &clause.name {
            Some(name) => name.clone(),
            None => {
                let names = names_in(expression);
                let mut used = relation.columns.iter().filter(|column| !column.dropped && names.contains(&column.name));
                let column = match (used.next(), used.next()) {
                    (Some(only), None) => only.name.clone(),
                    _ => String::new(),
                };
                self.free_name(relation, &column, "check", false)?
            }
        };
        let kind = ConstraintKind::Check { expression: expression.to_owned() };
        relation.constraints.push(Constraint::new(self.writer().next_oid(relation.temporary)?, name, kind));
        Ok(())
    }

    fn add_foreign_key(&self, relation: &mut Relation, clause: &ConstraintClause) -> Result<(), Error> {
        let ConstraintClauseKind::ForeignKey {
            columns,
            table,
            referenced,
            on_delete,
            on_update,
            match_full,
            delete_columns,
        } = &clause.kind
        else {
            return Err(Error::internal("not a foreign key"));
        };
        if matches!(relation.kind, RelationKind::Partition { .. }) {
            return Err(Error::unsupported("a foreign key of a partition alone"));
        }
        let to_itself =
            table.name == relation.name && table.schema.as_ref().is_none_or(|schema| *schema == relation.schema);
        let parent: Rc<Relation> = if to_itself { Rc::new(relation.clone()) } else { self.require(table)? };
        let columns = columns
            .iter()
            .map(|name| {
                column_index(relation, name).map_err(|_| {
                    let message = format!("column \"{name}\" referenced in foreign key constraint does not exist");
                    Error::new(Condition::UndefinedColumn, message)
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        self.check_parent(relation, &parent)?;
        let referenced_columns = referenced_key(&parent, referenced)?;
        if !to_itself {
            self.require_references(&parent, &referenced_columns)?;
        }
        if referenced_columns.len() != columns.len() {
            let message = "number of referencing and referenced columns for foreign key disagree";
            return Err(Error::new(Condition::InvalidForeignKey, message));
        }
        let name = match &clause.name {
            Some(name) => name.clone(),
            None => self.free_name(relation, &joined(relation, &columns), "fkey", false)?,
        };
        require_comparable(&name, (relation, &columns), (&parent, &referenced_columns))?;
        let mut set_columns = Vec::with_capacity(delete_columns.len());
        for name in delete_columns {
            let column = columns.iter().copied().find(|column| relation.columns[*column].name == *name);
            set_columns.push(column.ok_or_else(|| {
                let message = match column_index(relation, name) {
                    Ok(_) => {
                        format!("column \"{name}\" referenced in ON DELETE SET action must be part of foreign key")
                    }
                    Err(_) => format!("column \"{name}\" referenced in foreign key constraint does not exist"),
                };
                let condition = match column_index(relation, name) {
                    Ok(_) => Condition::InvalidColumnReference,
                    Err(_) => Condition::UndefinedColumn,
                };
                Error::new(condition, message)
            })?);
        }
        let kind = ConstraintKind::ForeignKey {
            match_full: *match_full,
            delete_columns: set_columns,
            columns,
            references: parent.oid,
            referenced_columns,
            on_delete: *on_delete,
            on_update: *on_update,
        };
        let oid = self.writer().next_oid(relation.temporary)?;
        relation.constraints.push(Constraint {
            deferrable: clause.deferral != Deferral::No,
            deferred: clause.deferral == Deferral::InitiallyDeferred,
            ..Constraint::new(oid, name, kind)
        });
        Ok(())
    }

    /// After a column changed its type: the foreign keys that it is in can still be checked.
    pub(super) fn require_comparable_keys(&self, relation: &Relation, column: usize) -> Result<(), Error> {
        let mut children = self.catalog().referencing(relation.oid)?;
        children.retain(|child| child.oid != relation.oid);
        for child in children.iter().map(|child| &**child).chain(std::iter::once(relation)) {
            for own in &child.constraints {
                let ConstraintKind::ForeignKey { columns, references, referenced_columns, .. } = &own.kind else {
                    continue;
                };
                let found =
                    if *references == relation.oid { None } else { self.catalog().relation_by_oid(*references)? };
                let parent = found.as_deref().unwrap_or(relation);
                let concerned = (child.oid == relation.oid && columns.contains(&column))
                    || (*references == relation.oid && referenced_columns.contains(&column));
                if concerned {
                    require_comparable(&own.name, (child, columns), (parent, referenced_columns))?;
                }
            }
        }
        Ok(())
    }

    fn check_parent(&self, relation: &Relation, parent: &Relation) -> Result<(), Error> {
        if !is_table(parent) {
            return Err(wrong_kind(parent, "a table").detail("Only tables can be referenced."));
        }
        if matches!(parent.kind, RelationKind::Partition { .. }) {
            return Err(Error::unsupported("a foreign key to a partition"));
        }
        if parent.temporary != relation.temporary {
            let message = if relation.temporary {
                "constraints on temporary tables may reference only temporary tables"
            } else {
                "constraints on permanent tables may reference only permanent tables"
            };
            return Err(Error::new(Condition::InvalidTableDefinition, message));
        }
        Ok(())
    }
}

/// The columns of a foreign key and of the key that it refers to are of types that compare.
fn require_comparable(
    name: &str,
    (child, columns): (&Relation, &[usize]),
    (parent, referenced): (&Relation, &[usize]),
) -> Result<(), Error> {
    for (from, to) in columns.iter().zip(referenced) {
        let (Some(from), Some(to)) = (child.columns.get(*from), parent.columns.get(*to)) else { continue };
        if !comparable(from.type_, to.type_) {
            let message = format!("foreign key constraint \"{name}\" cannot be implemented");
            return Err(Error::new(Condition::DatatypeMismatch, message).detail(format!(
                "Key columns \"{}\" and \"{}\" are of incompatible types: {} and {}.",
                from.name,
                to.name,
                from.type_.name(),
                to.type_.name()
            )));
        }
    }
    Ok(())
}

/// Types whose stored values compare as they are.
fn comparable(left: Type, right: Type) -> bool {
    let class = |type_: Type| match type_ {
        Type::Int2 | Type::Int4 | Type::Int8 => 1,
        Type::Text | Type::Varchar | Type::Name => 2,
        Type::Float4 | Type::Float8 => 3,
        other => 100 + other.oid(),
    };
    class(left) == class(right)
}

/// What a table's keys are refused for before anything is made: two primary keys, columns that are not there.
pub(super) fn check_keys(relation: &Relation, constraints: &[ConstraintClause]) -> Result<(), Error> {
    let mut primary = 0;
    for constraint in constraints {
        match &constraint.kind {
            ConstraintClauseKind::PrimaryKey { columns } => {
                primary += 1;
                if primary > 1 {
                    return Err(several_primary_keys(relation));
                }
                key_columns(relation, columns, "primary key")?;
            }
            ConstraintClauseKind::Unique { columns } => drop(key_columns(relation, columns, "unique")?),
            _ => {}
        }
    }
    Ok(())
}

fn several_primary_keys(relation: &Relation) -> Error {
    let message = format!("multiple primary keys for table \"{}\" are not allowed", relation.name);
    Error::new(Condition::InvalidTableDefinition, message)
}

/// The columns of a key as indices: known, and each once.
fn key_columns(relation: &Relation, names: &[String], what: &str) -> Result<Vec<usize>, Error> {
    let mut columns = Vec::with_capacity(names.len());
    for name in names {
        let index = column_index(relation, name).map_err(|_| {
            Error::new(Condition::UndefinedColumn, format!("column \"{name}\" named in key does not exist"))
        })?;
        if columns.contains(&index) {
            let message = format!("column \"{name}\" appears twice in {what} constraint");
            return Err(Error::new(Condition::DuplicateColumn, message));
        }
        columns.push(index);
    }
    if columns.len() > 32 {
        return Err(Error::new(Condition::TooManyColumns, "cannot use more than 32 columns in an index"));
    }
    Ok(columns)
}

/// The referenced columns: those named, which must be a key, or else the primary key.
fn referenced_key(parent: &Relation, names: &[String]) -> Result<Vec<usize>, Error> {
    if names.is_empty() {
        return parent
            .constraints
            .iter()
            .find_map(|constraint| match &constraint.kind {
                ConstraintKind::PrimaryKey { columns } => Some(columns.clone()),
                _ => None,
            })
            .ok_or_else(|| {
                let message = format!("there is no primary key for referenced table \"{}\"", parent.name);
                Error::new(Condition::UndefinedObject, message)
            });
    }
    let columns = names
        .iter()
        .map(|name| {
            column_index(parent, name).map_err(|_| {
                let message = format!("column \"{name}\" referenced in foreign key constraint does not exist");
                Error::new(Condition::UndefinedColumn, message)
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut wanted = columns.clone();
    wanted.sort_unstable();
    let is_key = parent.indexes.iter().filter(|index| index.unique && index.predicate.is_none()).any(|index| {
        let mut key: Vec<usize> = index.keys.iter().filter_map(|key| key.column).collect();
        key.sort_unstable();
        key.len() == index.keys.len() && key == wanted
    });
    if is_key {
        return Ok(columns);
    }
    let message = format!("there is no unique constraint matching given keys for referenced table \"{}\"", parent.name);
    Err(Error::new(Condition::InvalidForeignKey, message))
}

/// A key of a partitioned table must hold the partition key.
pub(super) fn partition_key_missing(relation: &Relation, column: usize, primary: bool) -> Error {
    let kind = if primary { "PRIMARY KEY" } else { "UNIQUE" };
    let column = relation.columns.get(column).map_or("", |column| column.name.as_str());
    let message = "unique constraint on partitioned table must include all partitioning columns";
    Error::new(Condition::FeatureNotSupported, message).detail(format!(
        "{kind} constraint on table \"{}\" lacks column \"{column}\" which is part of the partition key.",
        relation.name
    ))
}
