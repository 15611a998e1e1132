//! Triggers: foreign keys and the refusal of rows that no partition takes.
//!
//! They are made anew from the catalog whenever a relation they name changes, so their text may carry names.

use std::rc::Rc;

use super::Definer;
use super::pending::{CALL, Check};
use super::storage::{column_list, quoted};
use super::violation::{ForeignKey, PREFIX, Raised};
use crate::error::Error;
use crate::sql::catalog::{
    Catalog, Constraint, ConstraintKind, PartitionBound, ReferentialAction, Relation, RelationKind,
};
use crate::sql::define::partition::unroutable_condition;
use crate::sql::types::Type;

impl Definer<'_> {
    /// Renews the triggers on a relation's storage: those of its own foreign keys, of foreign keys that refer to
    /// it, and of its partitioning. The catalog must hold the relation as it is now.
    pub(super) fn renew_triggers(&self, oid: u32) -> Result<(), Error> {
        let Some(relation) = self.catalog().relation_by_oid(oid)? else { return Ok(()) };
        self.drop_triggers(&relation)?;
        for sql in self.triggers(&relation)? {
            self.storage(&sql)?;
        }
        Ok(())
    }

    /// Renews the triggers of everything that a foreign key ties to this relation, and its own.
    pub(super) fn renew_triggers_around(&self, relation: &Relation) -> Result<(), Error> {
        let mut oids = vec![relation.oid];
        for constraint in &relation.constraints {
            if let ConstraintKind::ForeignKey { references, .. } = &constraint.kind {
                oids.push(*references);
            }
        }
        oids.extend(self.catalog().referencing(relation.oid)?.iter().map(|other| other.oid));
        oids.sort_unstable();
        oids.dedup();
        oids.into_iter().try_for_each(|oid| self.renew_triggers(oid))
    }

    /// Drops all triggers on a relation's storage.
    pub(super) fn drop_triggers(&self, relation: &Relation) -> Result<(), Error> {
        let schema = if relation.temporary { "temp" } else { "main" };
        let sql = format!("SELECT name FROM {schema}.sqlite_schema WHERE type = 'trigger' AND tbl_name = ?1");
        let names: Vec<String> = self
            .context
            .connection
            .prepare(&sql)
            .and_then(|mut statement| statement.query_map([&relation.storage], |row| row.get(0))?.collect())
            .map_err(super::super::catalog::failure)?;
        names.iter().try_for_each(|name| self.storage(&format!("DROP TRIGGER {schema}.{}", quoted(name))))
    }

    fn triggers(&self, relation: &Relation) -> Result<Vec<String>, Error> {
        let mut sql: Vec<(u32, Vec<String>)> = Vec::new();
        for constraint in &relation.constraints {
            if let ConstraintKind::ForeignKey { references, .. } = &constraint.kind
                && let Some(parent) = self.catalog().relation_by_oid(*references)?
            {
                sql.push((constraint.oid, child_triggers(relation, &parent, constraint)));
            }
        }
        for child in self.catalog().referencing(relation.oid)? {
            for constraint in &child.constraints {
                if matches!(&constraint.kind, ConstraintKind::ForeignKey { references, .. } if *references == relation.oid)
                {
                    sql.push((constraint.oid, self.parent_triggers(relation, &child, constraint)?));
                }
            }
        }
        for constraint in &relation.constraints {
            if let ConstraintKind::Check { expression } = &constraint.kind
                && constraint.not_valid
            {
                sql.push((constraint.oid, vec![self.check_trigger(relation, constraint, expression)?]));
            }
        }
        sql.push((0, self.partition_triggers(relation)?));
        // SQLite fires the newest trigger first, PostgreSQL that of the oldest constraint.
        sql.sort_by_key(|(oid, _)| std::cmp::Reverse(*oid));
        Ok(sql.into_iter().flat_map(|(_, statements)| statements).collect())
    }

    /// What happens to the child's rows when a key of the parent goes or changes.
    fn parent_triggers(
        &self,
        parent: &Relation,
        child: &Rc<Relation>,
        constraint: &Constraint,
    ) -> Result<Vec<String>, Error> {
        let ConstraintKind::ForeignKey { columns, referenced_columns, on_delete, on_update, .. } = &constraint.kind
        else {
            return Ok(Vec::new());
        };
        let pairs = matching(child, columns, "", parent, referenced_columns, "OLD.");
        let table = quoted(&child.storage);
        let action = |action: ReferentialAction, delete: bool| -> Result<String, Error> {
            Ok(match action {
                ReferentialAction::NoAction | ReferentialAction::Restrict => {
                    let found = format!("EXISTS (SELECT 1 FROM {table} WHERE {pairs})");
                    let raised =
                        Raised::StillReferenced(foreign_key(child, parent, constraint, parent, referenced_columns));
                    let told = if action == ReferentialAction::Restrict {
                        raise(&raised, parent, referenced_columns, "OLD.")
                    } else {
                        later(raised, child, parent, constraint, (parent, referenced_columns, "OLD."))
                    };
                    format!("SELECT {told} WHERE {found}")
                }
                ReferentialAction::Cascade if delete => format!("DELETE FROM {table} WHERE {pairs}"),
                ReferentialAction::Cascade => {
                    let values = referenced_columns.iter().map(|column| column_list(parent, &[*column], "NEW."));
                    update(child, columns, values, &pairs)
                }
                ReferentialAction::SetNull => update(child, columns, columns.iter().map(|_| "NULL".to_owned()), &pairs),
                ReferentialAction::SetDefault => {
                    let values =
                        columns.iter().map(|column| self.default_sql(child, *column)).collect::<Result<Vec<_>, _>>()?;
                    update(child, columns, values.into_iter(), &pairs)
                }
            })
        };
        let oid = constraint.oid;
        let storage = quoted(&parent.storage);
        let list = column_list(parent, referenced_columns, "");
        let changed = changed(parent, referenced_columns);
        let temporary = temporary(parent);
        Ok(vec![
            format!(
                "CREATE {temporary}TRIGGER fk_{oid}_delete AFTER DELETE ON {storage} BEGIN {}; END",
                action(*on_delete, true)?
            ),
            format!(
                "CREATE {temporary}TRIGGER fk_{oid}_change AFTER UPDATE OF {list} ON {storage} WHEN {changed} BEGIN {}; END",
                action(*on_update, false)?
            ),
        ])
    }

    /// A column's default as SQLite SQL; NULL where there is none.
    pub(super) fn default_sql(&self, relation: &Relation, column: usize) -> Result<String, Error> {
        let Some(column) = relation.columns.get(column) else { return Ok("NULL".to_owned()) };
        match &column.default {
            Some(text) => self.context.binder.expression(relation, text, Some((column.type_, column.typmod))),
            None => Ok("NULL".to_owned()),
        }
    }

    /// SQLite puts a check only to rows whose change touches its columns, which is enough where all rows pass it.
    fn check_trigger(&self, relation: &Relation, constraint: &Constraint, expression: &str) -> Result<String, Error> {
        let condition = self.context.binder.expression(relation, expression, Some((Type::Bool, -1)))?;
        let live: Vec<String> = relation
            .columns
            .iter()
            .filter(|column| !column.dropped)
            .map(|column| format!("NEW.{0} AS {0}", quoted(&column.name)))
            .collect();
        let told = format!("CHECK constraint failed: {}", constraint.name).replace('\'', "''");
        Ok(format!(
            "CREATE {}TRIGGER check_{} AFTER UPDATE ON {} BEGIN \
             SELECT RAISE(ABORT, '{told}') FROM (SELECT {}) WHERE NOT ({condition}); END",
            temporary(relation),
            constraint.oid,
            quoted(&relation.storage),
            live.join(", ")
        ))
    }

    fn partition_triggers(&self, root: &Relation) -> Result<Vec<String>, Error> {
        let RelationKind::Partitioned(partitioning) = &root.kind else { return Ok(Vec::new()) };
        let bounds = self.bounds_of(root)?;
        let Some(condition) = unroutable_condition(root, &bounds, "NEW.") else { return Ok(Vec::new()) };
        let columns: Vec<_> = partitioning.columns.iter().filter_map(|index| root.columns.get(*index)).collect();
        let raised = Raised::NoPartition {
            schema: root.schema.clone(),
            table: root.name.clone(),
            columns: columns.iter().map(|column| column.name.clone()).collect(),
            types: columns.iter().map(|column| column.type_.oid()).collect(),
        };
        let body = raise(&raised, root, &partitioning.columns, "NEW.");
        let (storage, list, oid) = (quoted(&root.storage), column_list(root, &partitioning.columns, ""), root.oid);
        let temporary = temporary(root);
        Ok(vec![
            format!(
                "CREATE {temporary}TRIGGER part_{oid}_insert AFTER INSERT ON {storage} WHEN {condition} BEGIN SELECT {body}; END"
            ),
            format!(
                "CREATE {temporary}TRIGGER part_{oid}_update AFTER UPDATE OF {list} ON {storage} WHEN {condition} BEGIN SELECT {body}; END"
            ),
        ])
    }

    /// The bounds of a partitioned table's partitions.
    pub(super) fn bounds_of(&self, root: &Relation) -> Result<Vec<PartitionBound>, Error> {
        let RelationKind::Partitioned(partitioning) = &root.kind else { return Ok(Vec::new()) };
        let mut bounds = Vec::new();
        for oid in &partitioning.partitions {
            if let Some(partition) = self.catalog().relation_by_oid(*oid)?
                && let RelationKind::Partition { bound, .. } = &partition.kind
            {
                bounds.push(bound.clone());
            }
        }
        Ok(bounds)
    }

    /// 23503 when rows that exist refer to keys that do not.
    pub(super) fn validate_foreign_key(&self, child: &Relation, constraint: &Constraint) -> Result<(), Error> {
        let ConstraintKind::ForeignKey { columns, references, referenced_columns, .. } = &constraint.kind else {
            return Ok(());
        };
        let Some(parent) = self.catalog().relation_by_oid(*references)? else { return Ok(()) };
        let sql = unmatched(child, columns, &parent, referenced_columns);
        use rusqlite::OptionalExtension;
        let key: Option<String> = self
            .context
            .connection
            .query_row(&sql, [], |row| row.get(0))
            .optional()
            .map_err(super::super::catalog::failure)?;
        let Some(values) = key else { return Ok(()) };
        let key = foreign_key(child, &parent, constraint, child, columns);
        let text = format!("{PREFIX}{}\n{values}", json(&Raised::MissingKey(key)));
        Err(super::violated(&[], &text).unwrap_or_else(|| Error::internal("foreign key")))
    }
}

/// The checks on a child's new and changed rows.
fn child_triggers(child: &Relation, parent: &Relation, constraint: &Constraint) -> Vec<String> {
    let ConstraintKind::ForeignKey { columns, referenced_columns, .. } = &constraint.kind else { return Vec::new() };
    let found = matching(parent, referenced_columns, "", child, columns, "NEW.");
    let key = foreign_key(child, parent, constraint, child, columns);
    let body = format!(
        "SELECT {} WHERE NOT EXISTS (SELECT 1 FROM {} WHERE {found})",
        later(Raised::MissingKey(key), child, parent, constraint, (child, columns, "NEW.")),
        quoted(&parent.storage)
    );
    let (oid, storage, list) = (constraint.oid, quoted(&child.storage), column_list(child, columns, ""));
    let (present, changed) = (not_null(child, columns, "NEW."), changed(child, columns));
    let temporary = temporary(child);
    vec![
        format!("CREATE {temporary}TRIGGER fk_{oid}_insert AFTER INSERT ON {storage} WHEN {present} BEGIN {body}; END"),
        format!(
            "CREATE {temporary}TRIGGER fk_{oid}_update AFTER UPDATE OF {list} ON {storage} WHEN {present} AND {changed} BEGIN {body}; END"
        ),
    ]
}

fn temporary(relation: &Relation) -> &'static str {
    if relation.temporary { "TEMP " } else { "" }
}

/// `a = NEW.x AND b = NEW.y`
fn matching(
    left: &Relation,
    left_columns: &[usize],
    left_prefix: &str,
    right: &Relation,
    right_columns: &[usize],
    right_prefix: &str,
) -> String {
    let pairs: Vec<String> = left_columns
        .iter()
        .zip(right_columns)
        .map(|(a, b)| {
            format!("{} = {}", column_list(left, &[*a], left_prefix), column_list(right, &[*b], right_prefix))
        })
        .collect();
    pairs.join(" AND ")
}

fn not_null(relation: &Relation, columns: &[usize], prefix: &str) -> String {
    let terms: Vec<String> =
        columns.iter().map(|column| format!("{} IS NOT NULL", column_list(relation, &[*column], prefix))).collect();
    terms.join(" AND ")
}

fn changed(relation: &Relation, columns: &[usize]) -> String {
    let terms: Vec<String> = columns
        .iter()
        .map(|column| {
            format!(
                "{} IS NOT {}",
                column_list(relation, &[*column], "NEW."),
                column_list(relation, &[*column], "OLD.")
            )
        })
        .collect();
    format!("({})", terms.join(" OR "))
}

fn update(child: &Relation, columns: &[usize], values: impl Iterator<Item = String>, condition: &str) -> String {
    let sets: Vec<String> = columns
        .iter()
        .zip(values)
        .map(|(column, value)| format!("{} = {value}", column_list(child, &[*column], "")))
        .collect();
    format!("UPDATE {} SET {} WHERE {condition}", quoted(&child.storage), sets.join(", "))
}

fn foreign_key(
    child: &Relation,
    parent: &Relation,
    constraint: &Constraint,
    keyed: &Relation,
    columns: &[usize],
) -> ForeignKey {
    let columns: Vec<_> = columns.iter().filter_map(|index| keyed.columns.get(*index)).collect();
    ForeignKey {
        constraint: constraint.name.clone(),
        schema: child.schema.clone(),
        child: child.name.clone(),
        parent: parent.name.clone(),
        columns: columns.iter().map(|column| column.name.clone()).collect(),
        types: columns.iter().map(|column| column.type_.oid()).collect(),
    }
}

/// The call that leaves a key to be checked at the end: `at` is the row that has it.
fn later(
    raised: Raised,
    child: &Relation,
    parent: &Relation,
    constraint: &Constraint,
    at: (&Relation, &[usize], &str),
) -> String {
    let ConstraintKind::ForeignKey { columns, referenced_columns, .. } = &constraint.kind else {
        return "NULL".to_owned();
    };
    let given = |relation: &Relation, columns: &[usize]| {
        let terms: Vec<String> = columns
            .iter()
            .enumerate()
            .map(|(at, column)| format!("{} = ?{}", column_list(relation, &[*column], ""), at + 1))
            .collect();
        terms.join(" AND ")
    };
    let check = Check {
        deferrable: constraint.deferrable,
        deferred: constraint.deferred,
        // The parent first, which has an index; only a CASE keeps SQLite to that order.
        of_key: format!(
            "SELECT 1 WHERE CASE WHEN EXISTS (SELECT 1 FROM {} WHERE {}) THEN 0 \
             ELSE EXISTS (SELECT 1 FROM {} WHERE {}) END",
            quoted(&parent.storage),
            given(parent, referenced_columns),
            quoted(&child.storage),
            given(child, columns)
        ),
        of_all: unmatched(child, columns, parent, referenced_columns),
        raised,
    };
    let json = serde_json::to_string(&check).unwrap_or_default().replace('\'', "''");
    let (relation, columns, prefix) = at;
    format!(
        "{CALL}('{json}', {}, {})",
        quotes(relation, columns, prefix).join(" || ',' || "),
        column_list(relation, columns, prefix)
    )
}

/// Yields one key of the child's, quoted, that the parent does not have.
fn unmatched(child: &Relation, columns: &[usize], parent: &Relation, referenced_columns: &[usize]) -> String {
    format!(
        "SELECT {} FROM {} AS child WHERE {} AND NOT EXISTS (SELECT 1 FROM {} AS parent WHERE {}) LIMIT 1",
        quotes(child, columns, "child.").join(" || ',' || "),
        quoted(&child.storage),
        not_null(child, columns, "child."),
        quoted(&parent.storage),
        matching(parent, referenced_columns, "parent.", child, columns, "child."),
    )
}

fn quotes(relation: &Relation, columns: &[usize], prefix: &str) -> Vec<String> {
    columns.iter().map(|column| format!("quote({})", column_list(relation, &[*column], prefix))).collect()
}

fn json(raised: &Raised) -> String {
    serde_json::to_string(raised).unwrap_or_default()
}

/// `RAISE(ABORT, …)` with what was found and the key's values.
fn raise(raised: &Raised, relation: &Relation, columns: &[usize], prefix: &str) -> String {
    let values = quotes(relation, columns, prefix);
    let text = format!("{PREFIX}{}", json(raised)).replace('\'', "''");
    format!("RAISE(ABORT, '{text}' || char(10) || {})", values.join(" || ',' || "))
}
