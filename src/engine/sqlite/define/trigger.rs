//! Triggers: foreign keys and the refusal of rows that no partition takes.
//!
//! They are made anew from the catalog whenever a relation they name changes, so their text may carry names.

use std::rc::Rc;

use super::Definer;
use super::pending::{Action, CALL, Trigger};
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
        // By whose turn it is: what a key's change does to others before the checks of the row itself, of each kind
        // that of the oldest constraint first.
        let mut sql: Vec<((bool, u32), Vec<String>)> = Vec::new();
        for constraint in &relation.constraints {
            if let ConstraintKind::ForeignKey { references, .. } = &constraint.kind
                && let Some(parent) = self.catalog().relation_by_oid(*references)?
            {
                sql.push(((true, constraint.oid), child_triggers(relation, &parent, constraint)));
            }
        }
        for child in self.catalog().referencing(relation.oid)? {
            for constraint in &child.constraints {
                if matches!(&constraint.kind, ConstraintKind::ForeignKey { references, .. } if *references == relation.oid)
                {
                    sql.push(((false, constraint.oid), self.parent_triggers(relation, &child, constraint)?));
                }
            }
        }
        for constraint in &relation.constraints {
            if let ConstraintKind::Check { expression } = &constraint.kind
                && constraint.not_valid
            {
                sql.push(((false, 0), vec![self.check_trigger(relation, constraint, expression)?]));
            }
        }
        sql.push(((false, 0), self.partition_triggers(relation)?));
        // SQLite fires the newest trigger first.
        sql.sort_by_key(|(turn, _)| std::cmp::Reverse(*turn));
        Ok(sql.into_iter().flat_map(|(_, statements)| statements).collect())
    }

    /// What happens to the child's rows when a key of the parent goes or changes.
    fn parent_triggers(
        &self,
        parent: &Relation,
        child: &Rc<Relation>,
        constraint: &Constraint,
    ) -> Result<Vec<String>, Error> {
        let ConstraintKind::ForeignKey { columns, referenced_columns, on_delete, on_update, delete_columns, .. } =
            &constraint.kind
        else {
            return Ok(Vec::new());
        };
        let set_on_delete = if delete_columns.is_empty() { columns } else { delete_columns };
        let on_delete = self.key_action((parent, child, constraint), *on_delete, set_on_delete, true)?;
        let on_update = self.key_action((parent, child, constraint), *on_update, columns, false)?;
        // Where no row refers to the key now, none will: only the statement's own table may still change.
        let referenced = if parent.oid == child.oid {
            String::new()
        } else {
            let pairs = matching(child, columns, "", parent, referenced_columns, "OLD.");
            format!(" WHERE EXISTS (SELECT 1 FROM {} WHERE {pairs})", quoted(&child.storage))
        };
        let oid = constraint.oid;
        let (storage, temporary) = (quoted(&parent.storage), temporary(parent));
        let list = column_list(parent, referenced_columns, "");
        let (present, changed) = (not_null(parent, referenced_columns, "OLD."), changed(parent, referenced_columns));
        let old = column_list(parent, referenced_columns, "OLD.");
        let new = column_list(parent, referenced_columns, "NEW.");
        Ok(vec![
            format!(
                "CREATE {temporary}TRIGGER fk_{oid}_delete AFTER DELETE ON {storage} WHEN {present} BEGIN \
                 SELECT {CALL}({on_delete}, {old}){referenced}; END",
            ),
            format!(
                "CREATE {temporary}TRIGGER fk_{oid}_change AFTER UPDATE OF {list} ON {storage} WHEN {present} AND {changed} \
                 BEGIN SELECT {CALL}({on_update}, {old}, {new}){referenced}; END",
            ),
        ])
    }

    /// What the end of the statement makes of a key that went or changed, as the triggers hand it over.
    fn key_action(
        &self,
        (parent, child, constraint): (&Relation, &Relation, &Constraint),
        action: ReferentialAction,
        set: &[usize],
        delete: bool,
    ) -> Result<String, Error> {
        let ConstraintKind::ForeignKey { columns, referenced_columns, .. } = &constraint.kind else {
            return Ok(String::new());
        };
        let table = quoted(&child.storage);
        let given = given(child, columns);
        let sql = match action {
            ReferentialAction::NoAction | ReferentialAction::Restrict => None,
            ReferentialAction::Cascade if delete => Some(format!("DELETE FROM {table} WHERE {given}")),
            ReferentialAction::Cascade => {
                let values = (0..columns.len()).map(|at| format!("?{}", columns.len() + at + 1));
                Some(update(child, columns, values, &given))
            }
            ReferentialAction::SetNull => Some(update(child, set, set.iter().map(|_| "NULL".to_owned()), &given)),
            ReferentialAction::SetDefault => {
                let values =
                    set.iter().map(|column| self.default_sql(child, *column)).collect::<Result<Vec<_>, _>>()?;
                Some(update(child, set, values.into_iter(), &given))
            }
        };
        // RESTRICT does not look whether another row has the key by then.
        let of_key = match action {
            ReferentialAction::Restrict => Some(format!("SELECT 1 FROM {table} WHERE {given}")),
            ReferentialAction::NoAction | ReferentialAction::SetDefault => Some(missing_key(child, parent, constraint)),
            ReferentialAction::Cascade | ReferentialAction::SetNull => None,
        };
        let may_wait = action == ReferentialAction::NoAction;
        Ok(handed_over(&Trigger {
            deferrable: may_wait && constraint.deferrable,
            deferred: may_wait && constraint.deferred,
            of_key,
            of_all: may_wait.then(|| unmatched(child, columns, parent, referenced_columns)),
            action: sql.map(|sql| Action { sql, table: child.oid }),
            raised: Raised::StillReferenced(foreign_key(child, parent, constraint, parent, referenced_columns)),
        }))
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
        let ConstraintKind::ForeignKey { columns, references, referenced_columns, match_full, .. } = &constraint.kind
        else {
            return Ok(());
        };
        let Some(parent) = self.catalog().relation_by_oid(*references)? else { return Ok(()) };
        use rusqlite::OptionalExtension;
        if *match_full && columns.len() > 1 {
            let mixed = mixed_nulls(child, columns, "");
            let sql = format!("SELECT EXISTS (SELECT 1 FROM {} WHERE {mixed})", quoted(&child.storage));
            let found = self.context.connection.query_row(&sql, [], |row| row.get::<_, bool>(0));
            if found.map_err(super::super::catalog::failure)? {
                let raised = Raised::MixedNulls(foreign_key(child, &parent, constraint, child, columns));
                let text = format!("{PREFIX}{}\n", json(&raised));
                return Err(super::violated(&[], &text).unwrap_or_else(|| Error::internal("foreign key")));
            }
        }
        let sql = unmatched(child, columns, &parent, referenced_columns);
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
    let ConstraintKind::ForeignKey { columns, referenced_columns, match_full, .. } = &constraint.kind else {
        return Vec::new();
    };
    let found = matching(parent, referenced_columns, "", child, columns, "NEW.");
    let check = |of_key: String, of_all: Option<String>, raised: Raised| {
        let (deferrable, deferred) = (constraint.deferrable, constraint.deferred);
        handed_over(&Trigger { deferrable, deferred, of_key: Some(of_key), of_all, action: None, raised })
    };
    let key = || foreign_key(child, parent, constraint, child, columns);
    let missing = check(
        missing_key(child, parent, constraint),
        Some(unmatched(child, columns, parent, referenced_columns)),
        Raised::MissingKey(key()),
    );
    let new = column_list(child, columns, "NEW.");
    let present = not_null(child, columns, "NEW.");
    let mut bodies = vec![(
        "",
        present,
        format!(
            "SELECT {CALL}({missing}, {new}) WHERE NOT EXISTS (SELECT 1 FROM {} WHERE {found})",
            quoted(&parent.storage)
        ),
    )];
    if *match_full && columns.len() > 1 {
        let same: Vec<String> = columns
            .iter()
            .enumerate()
            .map(|(at, column)| format!("{} IS ?{}", column_list(child, &[*column], ""), at + 1))
            .collect();
        let of_key = format!("SELECT 1 FROM {} WHERE {}", quoted(&child.storage), same.join(" AND "));
        let of_all =
            format!("SELECT '' FROM {} WHERE {} LIMIT 1", quoted(&child.storage), mixed_nulls(child, columns, ""));
        let mixed = check(of_key, Some(of_all), Raised::MixedNulls(key()));
        bodies.push(("_full", mixed_nulls(child, columns, "NEW."), format!("SELECT {CALL}({mixed}, {new})")));
    }
    let (oid, storage, list) = (constraint.oid, quoted(&child.storage), column_list(child, columns, ""));
    let (changed, temporary) = (changed(child, columns), temporary(child));
    let mut triggers = Vec::new();
    for (suffix, when, body) in bodies {
        triggers.push(format!(
            "CREATE {temporary}TRIGGER fk_{oid}_insert{suffix} AFTER INSERT ON {storage} WHEN {when} BEGIN {body}; END"
        ));
        triggers.push(format!(
            "CREATE {temporary}TRIGGER fk_{oid}_update{suffix} AFTER UPDATE OF {list} ON {storage} WHEN {when} AND {changed} BEGIN {body}; END"
        ));
    }
    triggers
}

/// Whether some of the columns are NULL and others are not.
fn mixed_nulls(relation: &Relation, columns: &[usize], prefix: &str) -> String {
    let nulls: Vec<String> =
        columns.iter().map(|column| format!("{} IS NULL", column_list(relation, &[*column], prefix))).collect();
    format!("(({}) AND NOT ({}))", nulls.join(" OR "), nulls.join(" AND "))
}

/// `a = ?1 AND b = ?2`
fn given(relation: &Relation, columns: &[usize]) -> String {
    let terms: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| format!("{} = ?{}", column_list(relation, &[*column], ""), at + 1))
        .collect();
    terms.join(" AND ")
}

/// Yields a row if the key is referred to and not there.
fn missing_key(child: &Relation, parent: &Relation, constraint: &Constraint) -> String {
    let ConstraintKind::ForeignKey { columns, referenced_columns, .. } = &constraint.kind else {
        return String::new();
    };
    // The parent first, which has an index; only a CASE keeps SQLite to that order.
    format!(
        "SELECT 1 WHERE CASE WHEN EXISTS (SELECT 1 FROM {} WHERE {}) THEN 0 \
         ELSE EXISTS (SELECT 1 FROM {} WHERE {}) END",
        quoted(&parent.storage),
        given(parent, referenced_columns),
        quoted(&child.storage),
        given(child, columns)
    )
}

/// A trigger's first argument to [`CALL`].
fn handed_over(trigger: &Trigger) -> String {
    format!("'{}'", serde_json::to_string(trigger).unwrap_or_default().replace('\'', "''"))
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
