//! DROP and TRUNCATE.

use std::rc::Rc;

use super::storage::quoted;
use super::{Definer, is_table, missing, wrong_kind};
use crate::engine::sqlite::catalog::failure;
use crate::error::{Condition, Error};
use crate::sql::catalog::{Catalog, ConstraintKind, Relation, RelationKind};
use crate::sql::define::{Name, ObjectKind};

impl Definer<'_> {
    pub(super) fn drop(
        &mut self,
        object: ObjectKind,
        names: &[Name],
        if_exists: bool,
        cascade: bool,
    ) -> Result<(), Error> {
        match object {
            ObjectKind::Index => names.iter().try_for_each(|name| self.drop_index(name, if_exists)),
            ObjectKind::Schema => names.iter().try_for_each(|name| self.drop_schema(&name.name, if_exists, cascade)),
            _ => self.drop_relations(object, names, if_exists, cascade),
        }
    }

    fn drop_relations(
        &mut self,
        object: ObjectKind,
        names: &[Name],
        if_exists: bool,
        cascade: bool,
    ) -> Result<(), Error> {
        let mut found: Vec<Rc<Relation>> = Vec::new();
        for name in names {
            if let Some(schema) = &name.schema
                && !self.catalog().schema_exists(schema)?
            {
                if !if_exists {
                    return Err(super::missing_schema(schema));
                }
                self.notice(Condition::InvalidSchemaName, format!("schema \"{schema}\" does not exist, skipping"));
                continue;
            }
            let Some(relation) = self.find(name)? else {
                if !if_exists {
                    return Err(missing(object, name));
                }
                let message = missing(object, name).fields().message.clone();
                self.notice(missing(object, name).condition(), format!("{message}, skipping"));
                continue;
            };
            check_kind(object, &relation)?;
            self.require_owner(&relation)?;
            if !found.iter().any(|other| other.oid == relation.oid) {
                found.push(relation);
            }
        }
        self.drop_found(found, cascade)
    }

    /// Drops relations and what goes with them: partitions with their root, sequences with their table, foreign
    /// keys of other tables with CASCADE.
    fn drop_found(&mut self, mut found: Vec<Rc<Relation>>, cascade: bool) -> Result<(), Error> {
        let mut at = 0;
        while let Some(relation) = found.get(at).cloned() {
            if let RelationKind::Partitioned(partitioning) = &relation.kind {
                for oid in &partitioning.partitions {
                    if let Some(partition) = self.catalog().relation_by_oid(*oid)?
                        && !found.iter().any(|other| other.oid == *oid)
                    {
                        found.push(partition);
                    }
                }
            }
            for sequence in self.sequences_of(&relation)? {
                if !found.iter().any(|other| other.oid == sequence.oid) {
                    found.push(sequence);
                }
            }
            at += 1;
        }
        for relation in &found {
            for child in self.catalog().referencing(relation.oid)? {
                if !found.iter().any(|other| other.oid == child.oid) {
                    self.drop_references(relation, &child, cascade)?;
                }
            }
        }
        // Triggers first: dropping a table deletes nothing row by row, but triggers elsewhere name it.
        let mut around = Vec::new();
        for relation in &found {
            for constraint in &relation.constraints {
                if let ConstraintKind::ForeignKey { references, .. } = constraint.kind {
                    around.push(references);
                }
            }
            if matches!(relation.kind, RelationKind::Table | RelationKind::Partitioned(_)) {
                self.drop_triggers(relation)?;
            }
        }
        for relation in &found {
            self.drop_one(relation, &found)?;
        }
        around.into_iter().try_for_each(|oid| self.renew_triggers(oid))
    }

    fn drop_one(&self, relation: &Relation, all: &[Rc<Relation>]) -> Result<(), Error> {
        match &relation.kind {
            RelationKind::Table | RelationKind::Partitioned(_) => {
                self.storage(&format!("DROP TABLE {}", quoted(&relation.storage)))?;
            }
            RelationKind::Partition { parent, .. } => {
                if !all.iter().any(|other| other.oid == *parent)
                    && let Some(root) = self.catalog().relation_by_oid(*parent)?
                {
                    self.drop_triggers(&root)?;
                    self.delete_slice(relation)?;
                    let mut root = (*root).clone();
                    if let RelationKind::Partitioned(partitioning) = &mut root.kind {
                        partitioning.partitions.retain(|oid| *oid != relation.oid);
                    }
                    self.writer().remove(relation)?;
                    self.writer().put(&root)?;
                    return self.renew_triggers_around(&root);
                }
            }
            _ => {}
        }
        self.writer().remove(relation)
    }

    /// The sequences that serial columns of a table own, told by their names and the columns' defaults.
    fn sequences_of(&self, relation: &Relation) -> Result<Vec<Rc<Relation>>, Error> {
        let mut sequences = Vec::new();
        for column in relation.columns.iter().filter(|column| !column.dropped) {
            if !column.default.as_deref().is_some_and(|default| default.starts_with("nextval(")) {
                continue;
            }
            let name = super::constraint::object_name(&relation.name, &column.name, "seq");
            let found = self.catalog().relation(Some(&relation.schema), &name)?;
            sequences.extend(found.filter(|sequence| sequence.kind == RelationKind::Sequence));
        }
        Ok(sequences)
    }

    /// Takes the foreign keys to `relation` from a table that stays: with CASCADE, else 2BP01.
    fn drop_references(&mut self, relation: &Relation, child: &Rc<Relation>, cascade: bool) -> Result<(), Error> {
        let refers = |kind: &ConstraintKind| matches!(kind, ConstraintKind::ForeignKey { references, .. } if *references == relation.oid);
        let names: Vec<String> = child
            .constraints
            .iter()
            .filter(|constraint| refers(&constraint.kind))
            .map(|constraint| constraint.name.clone())
            .collect();
        if !cascade {
            let details: Vec<String> = names
                .iter()
                .map(|name| format!("constraint {name} on table {} depends on table {}", child.name, relation.name))
                .collect();
            let message = format!("cannot drop table {} because other objects depend on it", relation.name);
            return Err(Error::new(Condition::DependentObjectsStillExist, message)
                .detail(details.join("\n"))
                .hint("Use DROP ... CASCADE to drop the dependent objects too."));
        }
        for name in &names {
            self.notice(
                Condition::SuccessfulCompletion,
                format!("drop cascades to constraint {name} on table {}", child.name),
            );
        }
        let mut changed = (**child).clone();
        changed.constraints.retain(|constraint| !refers(&constraint.kind));
        self.writer().put(&changed)?;
        self.renew_triggers(changed.oid)
    }

    fn drop_index(&mut self, name: &Name, if_exists: bool) -> Result<(), Error> {
        let Some(relation) = self.catalog().relation_of_index(name.schema.as_deref(), &name.name)? else {
            if let Some(other) = self.find(name)? {
                return Err(wrong_kind(&other, "an index"));
            }
            if if_exists {
                self.notice(Condition::UndefinedObject, format!("index \"{name}\" does not exist, skipping"));
                return Ok(());
            }
            return Err(missing(ObjectKind::Index, name));
        };
        self.require_owner(&relation)?;
        if relation.constraints.iter().any(|constraint| constraint.name == name.name) {
            let message = format!(
                "cannot drop index {0} because constraint {0} on table {1} requires it",
                name.name, relation.name
            );
            let hint = format!("You can drop constraint {} on table {} instead.", name.name, relation.name);
            return Err(Error::new(Condition::DependentObjectsStillExist, message).hint(hint));
        }
        let mut changed = (*relation).clone();
        let Some(at) = changed.indexes.iter().position(|index| index.name == name.name) else {
            return Err(missing(ObjectKind::Index, name));
        };
        let index = changed.indexes.remove(at);
        if let Some(storage) = &index.storage {
            self.storage(&format!("DROP INDEX {}", quoted(storage)))?;
        }
        self.writer().put(&changed)?;
        if let RelationKind::Partitioned(partitioning) = &changed.kind {
            for oid in &partitioning.partitions {
                if let Some(partition) = self.catalog().relation_by_oid(*oid)? {
                    let mut partition = (*partition).clone();
                    if let Some(at) = partition.indexes.iter().position(|own| own.keys == index.keys && !own.primary) {
                        partition.indexes.remove(at);
                        self.writer().put(&partition)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn drop_schema(&mut self, name: &str, if_exists: bool, cascade: bool) -> Result<(), Error> {
        let Some(schema) = self.catalog().schemas()?.iter().find(|schema| schema.name == name).cloned() else {
            if if_exists {
                self.notice(Condition::InvalidSchemaName, format!("schema \"{name}\" does not exist, skipping"));
                return Ok(());
            }
            return Err(super::missing_schema(name));
        };
        if !self.context.superuser && schema.owner != self.context.user {
            return Err(Error::new(Condition::InsufficientPrivilege, format!("must be owner of schema {name}")));
        }
        let inside: Vec<Rc<Relation>> =
            self.catalog().relations()?.into_iter().filter(|relation| relation.schema == name).collect();
        if !inside.is_empty() && !cascade {
            let details: Vec<String> = inside
                .iter()
                .map(|relation| {
                    format!("{} {name}.{} depends on schema {name}", super::kind_name(relation), relation.name)
                })
                .collect();
            let message = format!("cannot drop schema {name} because other objects depend on it");
            return Err(Error::new(Condition::DependentObjectsStillExist, message)
                .detail(details.join("\n"))
                .hint("Use DROP ... CASCADE to drop the dependent objects too."));
        }
        self.drop_found(inside, true)?;
        self.writer().remove_schema(name)
    }

    pub(super) fn truncate(&mut self, names: &[Name], cascade: bool, restart_identity: bool) -> Result<(), Error> {
        let mut tables: Vec<Rc<Relation>> = Vec::new();
        for name in names {
            let relation = self.require(name)?;
            if !is_table(&relation) {
                return Err(wrong_kind(&relation, "a table"));
            }
            self.require_owner(&relation)?;
            if !tables.iter().any(|table| table.oid == relation.oid) {
                tables.push(relation);
            }
        }
        let mut at = 0;
        let mut referenced = false;
        while let Some(table) = tables.get(at).cloned() {
            for child in self.catalog().referencing(table.oid)? {
                referenced = true;
                if tables.iter().any(|other| other.oid == child.oid) {
                    continue;
                }
                if !cascade {
                    let message = "cannot truncate a table referenced in a foreign key constraint";
                    return Err(Error::new(Condition::FeatureNotSupported, message)
                        .detail(format!("Table \"{}\" references \"{}\".", child.name, table.name))
                        .hint(format!(
                            "Truncate table \"{}\" at the same time, or use TRUNCATE ... CASCADE.",
                            child.name
                        )));
                }
                self.notice(Condition::SuccessfulCompletion, format!("truncate cascades to table \"{}\"", child.name));
                tables.push(child);
            }
            at += 1;
        }
        // All that refers to these rows goes as well, so the triggers would find nothing, row by row; without
        // them SQLite empties a table by dropping its pages.
        if referenced {
            tables.iter().try_for_each(|table| self.drop_triggers(table))?;
        }
        for table in &tables {
            self.delete_slice(table)?;
            if restart_identity {
                self.restart_sequences(table)?;
            }
        }
        if referenced {
            tables.iter().try_for_each(|table| self.renew_triggers(table.oid))?;
        }
        Ok(())
    }

    fn restart_sequences(&self, table: &Relation) -> Result<(), Error> {
        let database = if table.temporary { "temp" } else { "main" };
        for sequence in self.sequences_of(table)? {
            super::super::sequence::changed_by_definition(&self.catalog(), &sequence)?;
            let sql =
                format!("UPDATE {database}.pgp_sequence SET last_value = start, is_called = 0 WHERE relation = ?1");
            self.context.connection.execute(&sql, [sequence.oid]).map_err(failure)?;
        }
        Ok(())
    }

    /// Deletes all rows of a table, or a partition's slice of its root's.
    fn delete_slice(&self, relation: &Relation) -> Result<(), Error> {
        let table = quoted(&relation.storage);
        match &relation.kind {
            RelationKind::Partition { .. } => {
                self.storage(&format!("DELETE FROM {table} WHERE {}", self.slice_condition(relation)?))
            }
            _ => self.storage(&format!("DELETE FROM {table}")),
        }
    }
}

fn check_kind(object: ObjectKind, relation: &Relation) -> Result<(), Error> {
    let (fits, wanted) = match object {
        ObjectKind::View => (matches!(relation.kind, RelationKind::View { .. }), "a view"),
        ObjectKind::Sequence => (relation.kind == RelationKind::Sequence, "a sequence"),
        _ => (is_table(relation), "a table"),
    };
    if fits || relation.kind == RelationKind::System {
        return Ok(());
    }
    let hint = match relation.kind {
        RelationKind::View { .. } => "Use DROP VIEW to remove a view.",
        RelationKind::Sequence => "Use DROP SEQUENCE to remove a sequence.",
        _ => "Use DROP TABLE to remove a table.",
    };
    Err(wrong_kind(relation, wanted).hint(hint))
}
