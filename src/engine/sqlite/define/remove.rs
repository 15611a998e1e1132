//! DROP and TRUNCATE.

use std::rc::Rc;

use super::depend::{Object, Target};
use super::storage::quoted;
use super::{Definer, is_table, missing, wrong_kind};
use crate::engine::sqlite::catalog::{TEMPORARY_SCHEMA, failure};
use crate::error::{Condition, Error};
use crate::sql::acl::Privileges;
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
        let mut named: Vec<Object> = Vec::new();
        for name in names {
            let found = match object {
                ObjectKind::Index => self.index_to_drop(name, if_exists)?,
                ObjectKind::Schema => self.schema_to_drop(&name.name, if_exists)?,
                _ => self.relation_to_drop(object, name, if_exists)?,
            };
            named.extend(found);
        }
        if named.is_empty() {
            return Ok(());
        }
        self.drop_objects(&named, cascade)
    }

    /// Drops objects and, with CASCADE, what rests on them.
    pub(super) fn drop_objects(&mut self, objects: &[Object], cascade: bool) -> Result<(), Error> {
        let targets = self.what_goes(objects, cascade)?;
        self.remove_all(&targets)
    }

    /// IF EXISTS, and it does not.
    fn skip(&mut self, what: &Error) {
        self.notice(Condition::SuccessfulCompletion, format!("{}, skipping", what.fields().message));
    }

    /// DROP TYPE and DOMAIN: what there is, the server needs.
    pub(super) fn drop_types(&mut self, kind: &str, names: &[Name], if_exists: bool) -> Result<(), Error> {
        for name in names {
            let schema_is_there = match &name.schema {
                Some(schema) => self.catalog().schema_exists(schema)?,
                None => true,
            };
            let lost = if schema_is_there {
                Error::new(Condition::UndefinedObject, format!("type \"{name}\" does not exist"))
            } else {
                super::missing_schema(name.schema.as_deref().unwrap_or(""))
            };
            match crate::sql::define::type_by_name(&name.name) {
                Some(type_) if schema_is_there => {
                    let name = type_.name();
                    return Err(if kind == "domain" {
                        Error::new(Condition::WrongObjectType, format!("\"{name}\" is not a domain"))
                    } else {
                        let message = format!("cannot drop type {name} because it is required by the database system");
                        Error::new(Condition::DependentObjectsStillExist, message)
                    });
                }
                _ if if_exists => self.skip(&lost),
                _ => return Err(lost),
            }
        }
        Ok(())
    }

    fn relation_to_drop(&mut self, object: ObjectKind, name: &Name, if_exists: bool) -> Result<Option<Object>, Error> {
        let lost = match &name.schema {
            Some(schema) if !self.catalog().schema_exists(schema)? => Some(super::missing_schema(schema)),
            _ => None,
        };
        let found = if lost.is_some() { None } else { self.find(name)? };
        let Some(relation) = found else {
            if object != ObjectKind::Index
                && self.catalog().relation_of_index(name.schema.as_deref(), &name.name)?.is_some()
            {
                let wanted = wanted(object);
                return Err(Error::new(Condition::WrongObjectType, format!("\"{}\" is not {wanted}", name.name))
                    .hint("Use DROP INDEX to remove an index."));
            }
            let error = lost.unwrap_or_else(|| missing(object, name));
            if !if_exists {
                return Err(error);
            }
            self.skip(&error);
            return Ok(None);
        };
        check_kind(object, &relation)?;
        self.require_owner_of_schema(&relation)?;
        Ok(Some(Object::Relation(relation.oid)))
    }

    fn index_to_drop(&mut self, name: &Name, if_exists: bool) -> Result<Option<Object>, Error> {
        let Some(relation) = self.catalog().relation_of_index(name.schema.as_deref(), &name.name)? else {
            if let Some(other) = self.find(name)? {
                return check_kind(ObjectKind::Index, &other).map(|()| None);
            }
            return self.relation_to_drop(ObjectKind::Index, name, if_exists);
        };
        if self.require_owner_of_schema(&relation).is_err() {
            let message = format!("must be owner of index {}", name.name);
            return Err(Error::new(Condition::InsufficientPrivilege, message));
        }
        let index = relation.indexes.iter().find(|index| index.name == name.name);
        let index = index.ok_or_else(|| missing(ObjectKind::Index, name))?;
        let required = |by: String, instead: String| {
            let message = format!("cannot drop index {} because {by} requires it", name.name);
            Error::new(Condition::DependentObjectsStillExist, message).hint(format!("You can drop {instead} instead."))
        };
        if let RelationKind::Partition { parent, .. } = &relation.kind
            && let Some(root) = self.catalog().relation_by_oid(*parent)?
            && let Some(whole) = root.indexes.iter().find(|own| own.keys == index.keys && own.unique == index.unique)
        {
            return Err(required(format!("index {}", whole.name), format!("index {}", whole.name)));
        }
        if relation.constraints.iter().any(|constraint| constraint.name == name.name) {
            let constraint = format!("constraint {} on table {}", name.name, relation.name);
            return Err(required(constraint.clone(), constraint));
        }
        Ok(Some(Object::Index(relation.oid, index.oid)))
    }

    fn schema_to_drop(&mut self, name: &str, if_exists: bool) -> Result<Option<Object>, Error> {
        let Some(schema) = self.catalog().schemas()?.iter().find(|schema| schema.name == name).cloned() else {
            if self.catalog().schema_exists(name)? && name != TEMPORARY_SCHEMA {
                let message = format!("cannot drop schema {name} because it is required by the database system");
                return Err(Error::new(Condition::DependentObjectsStillExist, message));
            }
            let error = super::missing_schema(name);
            if !if_exists {
                return Err(error);
            }
            self.skip(&error);
            return Ok(None);
        };
        if !self.context.rights.owns(schema.owner) {
            return Err(Error::new(Condition::InsufficientPrivilege, format!("must be owner of schema {name}")));
        }
        Ok(Some(Object::Schema(name.to_owned())))
    }

    /// Removes what [`Definer::what_goes`] found.
    pub(super) fn remove_all(&mut self, targets: &[Target]) -> Result<(), Error> {
        let mut whole: Vec<Rc<Relation>> = Vec::new();
        for target in targets {
            if let Object::Relation(oid) = target.object {
                whole.extend(self.catalog().relation_by_oid(oid)?);
            }
        }
        let mut parts: Vec<(u32, Vec<&Object>)> = Vec::new();
        for target in targets {
            let oid = match target.object {
                Object::Schema(_) | Object::Relation(_) => continue,
                Object::Column(oid, _)
                | Object::Default(oid, _)
                | Object::Constraint(oid, _)
                | Object::Index(oid, _) => oid,
            };
            if whole.iter().any(|relation| relation.oid == oid) {
                continue;
            }
            match parts.iter_mut().find(|(known, _)| *known == oid) {
                Some((_, objects)) => objects.push(&target.object),
                None => parts.push((oid, vec![&target.object])),
            }
        }
        for (oid, objects) in &parts {
            self.remove_foreign_keys(*oid, objects)?;
        }
        self.remove_relations(&whole)?;
        for (oid, objects) in &parts {
            self.remove_parts(*oid, objects)?;
        }
        for target in targets {
            if let Object::Schema(name) = &target.object {
                self.writer().remove_schema(name)?;
            }
        }
        Ok(())
    }

    fn remove_relations(&mut self, whole: &[Rc<Relation>]) -> Result<(), Error> {
        // Triggers first: dropping a table deletes nothing row by row, but triggers elsewhere name it.
        let mut around = Vec::new();
        for relation in whole {
            for constraint in &relation.constraints {
                if let ConstraintKind::ForeignKey { references, .. } = constraint.kind {
                    around.push(references);
                }
            }
            if matches!(relation.kind, RelationKind::Table | RelationKind::Partitioned(_)) {
                self.drop_triggers(relation)?;
            }
        }
        for relation in whole {
            self.drop_one(relation, whole)?;
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

    /// The foreign keys among a table's parts that go.
    fn remove_foreign_keys(&mut self, oid: u32, objects: &[&Object]) -> Result<(), Error> {
        let Some(relation) = self.catalog().relation_by_oid(oid)? else { return Ok(()) };
        let mut parents = Vec::new();
        let mut changed = (*relation).clone();
        changed.constraints.retain(|own| {
            let ConstraintKind::ForeignKey { references, .. } = own.kind else { return true };
            let goes = objects.contains(&&Object::Constraint(oid, own.oid));
            if goes {
                parents.push(references);
            }
            !goes
        });
        if parents.is_empty() {
            return Ok(());
        }
        self.writer().put(&changed)?;
        self.renew_triggers(oid)?;
        parents.into_iter().try_for_each(|parent| self.renew_triggers(parent))
    }

    /// Columns, defaults, constraints and indexes of a table that stays.
    fn remove_parts(&mut self, oid: u32, objects: &[&Object]) -> Result<(), Error> {
        let Some(relation) = self.catalog().relation_by_oid(oid)? else { return Ok(()) };
        let mut new = (*relation).clone();
        let (mut rebuild, mut storages) = (false, Vec::new());
        for object in objects {
            match object {
                Object::Constraint(_, own) => {
                    let Some(at) = new.constraints.iter().position(|constraint| constraint.oid == *own) else {
                        continue;
                    };
                    let constraint = new.constraints.remove(at);
                    rebuild |=
                        matches!(constraint.kind, ConstraintKind::PrimaryKey { .. } | ConstraintKind::Check { .. });
                }
                Object::Index(_, own) => {
                    let Some(at) = new.indexes.iter().position(|index| index.oid == *own) else { continue };
                    storages.extend(new.indexes.remove(at).storage);
                }
                Object::Default(_, at) => {
                    new.depends.sequences.retain(|(column, _)| column != at);
                    if let Some(column) = new.columns.get_mut(*at) {
                        column.default = None;
                    }
                }
                Object::Column(_, at) => {
                    // The column keeps its number.
                    rebuild = true;
                    new.depends.sequences.retain(|(column, _)| column != at);
                    if let Some(column) = new.columns.get_mut(*at) {
                        (column.dropped, column.not_null, column.default) = (true, false, None);
                        column.name = format!("........pg.dropped.{}........", at + 1);
                    }
                }
                Object::Schema(_) | Object::Relation(_) => {}
            }
        }
        if matches!(relation.kind, RelationKind::Partition { .. }) {
            return self.writer().put(&new);
        }
        if rebuild {
            return self.replace(&relation, new, &[]);
        }
        for storage in storages {
            self.storage(&format!("DROP INDEX {}", quoted(&storage)))?;
        }
        self.writer().put(&new)?;
        self.follow(&new)
    }

    pub(super) fn truncate(&mut self, names: &[Name], cascade: bool, restart_identity: bool) -> Result<(), Error> {
        let mut tables: Vec<Rc<Relation>> = Vec::new();
        for name in names {
            let relation = self.require(name)?;
            if !is_table(&relation) {
                return Err(wrong_kind(&relation, "a table"));
            }
            self.context.rights.require_relation(&relation, Privileges::TRUNCATE)?;
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
                self.context.rights.require_relation(&child, Privileges::TRUNCATE)?;
                tables.push(child);
            }
            at += 1;
        }
        if restart_identity {
            for table in &tables {
                self.owned_sequences(table)?.iter().try_for_each(|(_, sequence)| self.require_owner(sequence))?;
            }
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
        for (_, sequence) in self.owned_sequences(table)? {
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

fn wanted(object: ObjectKind) -> &'static str {
    match object {
        ObjectKind::View => "a view",
        ObjectKind::Sequence => "a sequence",
        ObjectKind::Index => "an index",
        _ => "a table",
    }
}

fn check_kind(object: ObjectKind, relation: &Relation) -> Result<(), Error> {
    let fits = match object {
        ObjectKind::View => matches!(relation.kind, RelationKind::View { .. }),
        ObjectKind::Sequence => relation.kind == RelationKind::Sequence,
        ObjectKind::Index => false,
        _ => is_table(relation),
    };
    if fits || relation.kind == RelationKind::System {
        return Ok(());
    }
    let hint = match relation.kind {
        RelationKind::View { .. } => "Use DROP VIEW to remove a view.",
        RelationKind::Sequence => "Use DROP SEQUENCE to remove a sequence.",
        _ => "Use DROP TABLE to remove a table.",
    };
    Err(wrong_kind(relation, wanted(object)).hint(hint))
}
