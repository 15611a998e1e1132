//! ALTER TABLE and its like. The first half decides what the relation becomes, the second makes storage follow.

use std::rc::Rc;

use super::depend::Object;
use super::storage::{column_list, quoted};
use super::{Definer, column_index, create, is_table, missing, wrong_kind};
use crate::error::{Condition, Error};
use crate::sql::catalog::{Catalog, Constraint, ConstraintKind, Relation, RelationKind};
use crate::sql::define::{
    AlterAction, ColumnClause, ConstraintClause, ConstraintClauseKind, Name, ObjectKind, names_in, options, rename_in,
};
use crate::sql::types::{Type, format_type};

impl Definer<'_> {
    pub(super) fn alter(
        &mut self,
        name: &Name,
        object: ObjectKind,
        if_exists: bool,
        actions: &[AlterAction],
    ) -> Result<(), Error> {
        if object == ObjectKind::Index {
            return self.alter_index(name, if_exists, actions);
        }
        let Some(relation) = self.find(name)? else {
            if if_exists {
                self.notice(Condition::SuccessfulCompletion, format!("relation \"{name}\" does not exist, skipping"));
                return Ok(());
            }
            return Err(self.lost(name)?);
        };
        self.require_owner(&relation)?;
        let fits = match object {
            ObjectKind::View => matches!(relation.kind, RelationKind::View { .. }),
            ObjectKind::Sequence => relation.kind == RelationKind::Sequence,
            _ => true,
        };
        if !fits {
            return Err(wrong_kind(&relation, if object == ObjectKind::View { "a view" } else { "a sequence" }));
        }
        let mut oid = relation.oid;
        if let [AlterAction::Sequence(options)] = actions {
            return self.alter_sequence(&relation, options);
        }
        for action in actions {
            let current = self.catalog().relation_by_oid(oid)?.ok_or_else(|| missing(object, name))?;
            oid = self.act(&current, action)?;
        }
        Ok(())
    }

    /// Carries out one action on the relation as it is now.
    fn act(&mut self, relation: &Rc<Relation>, action: &AlterAction) -> Result<u32, Error> {
        let for_any = matches!(
            action,
            AlterAction::RenameTo { .. } | AlterAction::OwnerTo { .. } | AlterAction::SetSchema { .. }
        );
        if let (AlterAction::RenameColumn { from, to }, RelationKind::View { .. }) = (action, &relation.kind) {
            return self.rename_view_column(relation, from, to).map(|()| relation.oid);
        }
        if !for_any && !is_table(relation) {
            return Err(wrong_kind(relation, "a table"));
        }
        if matches!(relation.kind, RelationKind::Partition { .. }) && changes_shape(action) {
            let inherited = |verb: &str, column: &str| {
                let message = format!("cannot {verb} inherited column \"{column}\"");
                Err(Error::new(Condition::InvalidTableDefinition, message))
            };
            match action {
                AlterAction::AddColumn { .. } => {
                    return Err(Error::new(Condition::WrongObjectType, "cannot add column to a partition"));
                }
                AlterAction::DropColumn { name, .. } => return inherited("drop", name),
                AlterAction::RenameColumn { from, .. } => return inherited("rename", from),
                AlterAction::SetType { column, .. } => return inherited("alter", column),
                _ => {}
            }
            return Err(Error::unsupported("ALTER TABLE of a partition's columns and constraints")
                .hint("Alter the partitioned table instead."));
        }
        let mut new = (**relation).clone();
        match action {
            AlterAction::Nothing | AlterAction::Sequence(_) => {}
            AlterAction::ColumnOption { column, storage } => check_column_option(relation, column, storage.as_deref())?,
            AlterAction::ValidateConstraint { name } => self.validate_constraint(relation, new, name)?,
            AlterAction::AddConstraint(clause) => self.alter_add_constraint(relation, new, clause)?,
            AlterAction::DropConstraint { name, if_exists, cascade } => {
                self.drop_constraint(relation, name, *if_exists, *cascade)?
            }
            AlterAction::AddColumn { column, if_not_exists } => {
                self.add_column(relation, new, column, *if_not_exists)?
            }
            AlterAction::DropColumn { name, if_exists, cascade } => {
                self.drop_column(relation, name, *if_exists, *cascade)?
            }
            AlterAction::RenameColumn { from, to } => self.rename_column(relation, new, from, to)?,
            AlterAction::RenameConstraint { from, to } => {
                let constraint = new.constraints.iter_mut().find(|constraint| constraint.name == *from);
                let lost = || {
                    let message = format!("constraint \"{from}\" for table \"{}\" does not exist", relation.name);
                    Error::new(Condition::UndefinedObject, message)
                };
                constraint.ok_or_else(lost)?.name.clone_from(to);
                if let Some(index) = new.indexes.iter_mut().find(|index| index.name == *from) {
                    index.name.clone_from(to);
                }
                let is_check =
                    relation.constraints.iter().any(|constraint| constraint.name == *from && is_check(constraint));
                if is_check { self.replace(relation, new, &[])? } else { self.store(&new)? }
            }
            AlterAction::SetNotNull { column } => {
                let index = column_index(relation, column)?;
                if !relation.columns[index].not_null {
                    self.require_no_nulls(relation, index)?;
                    new.columns[index].not_null = true;
                    self.replace(relation, new, &[])?;
                }
            }
            AlterAction::DropNotNull { column } => {
                let index = column_index(relation, column)?;
                let in_key = relation.constraints.iter().any(|constraint| {
                    matches!(&constraint.kind, ConstraintKind::PrimaryKey { columns } if columns.contains(&index))
                });
                if in_key {
                    return Err(Error::new(
                        Condition::InvalidTableDefinition,
                        format!("column \"{column}\" is in a primary key"),
                    ));
                }
                if relation.columns[index].not_null {
                    new.columns[index].not_null = false;
                    self.replace(relation, new, &[])?;
                }
            }
            AlterAction::SetDefault { column, expression } => {
                let index = column_index(relation, column)?;
                let target = (relation.columns[index].type_, relation.columns[index].typmod);
                self.check_default(relation, column, expression, target)?;
                new.columns[index].default = Some(expression.clone()).filter(|text| !create::is_null(text));
                self.note_default_sequences(&mut new)?;
                self.store(&new)?;
            }
            AlterAction::DropDefault { column } => {
                let index = column_index(relation, column)?;
                new.columns[index].default = None;
                self.note_default_sequences(&mut new)?;
                self.store(&new)?;
            }
            AlterAction::SetType { column, type_, typmod, using } => {
                let index = column_index(relation, column).map_err(|error| match using {
                    Some(text) if names_in(text).contains(column) => {
                        Error::new(Condition::UndefinedColumn, format!("column \"{column}\" does not exist"))
                    }
                    _ => error,
                })?;
                self.require_no_view(relation, index)?;
                let text = using.clone().unwrap_or_else(|| quoted(column));
                let sql = self.context.binder.expression(relation, &text, Some((*type_, *typmod)));
                let sql = sql.map_err(|error| no_cast(error, column, using.is_some(), *type_, *typmod))?;
                self.require_no_key_column(relation, index, "alter")?;
                if let Some(default) = &relation.columns[index].default {
                    let bound = self.check_default(relation, column, default, (*type_, *typmod));
                    bound.map_err(|_| {
                        let shown = format_type(*type_, -1);
                        let message =
                            format!("default for column \"{column}\" cannot be cast automatically to type {shown}");
                        Error::new(Condition::DatatypeMismatch, message)
                    })?;
                }
                new.columns[index].type_ = *type_;
                new.columns[index].typmod = *typmod;
                self.require_comparable_keys(&new, index)?;
                self.replace(relation, new, &[(index, sql)])?;
            }
            AlterAction::RenameTo { name } => {
                self.require_create(&relation.schema)?;
                if self.catalog().name_taken(&relation.schema, name)? {
                    return Err(Error::new(Condition::DuplicateTable, format!("relation \"{name}\" already exists")));
                }
                new.name.clone_from(name);
                self.store(&new)?;
                self.rename_sequence(relation, &new)?;
            }
            AlterAction::SetSchema { name } if *name == relation.schema => {}
            AlterAction::SetSchema { name } => {
                if !self.catalog().schema_exists(name)? {
                    return Err(super::missing_schema(name));
                }
                self.require_create(name)?;
                if self.catalog().name_taken(name, &relation.name)? {
                    let message = format!("relation \"{}\" already exists in schema \"{name}\"", relation.name);
                    return Err(Error::new(Condition::DuplicateTable, message));
                }
                new.schema.clone_from(name);
                self.move_owned(relation, &new)?;
            }
            AlterAction::OwnerTo { role } => {
                self.change_owner(relation, role)?;
            }
            AlterAction::SetOptions(given) => {
                options::check(given)?;
                for option in given {
                    remove_option(&mut new.options, option);
                    new.options.push(option.clone());
                }
                self.store(&new)?;
            }
            AlterAction::ResetOptions(names) => {
                names.iter().for_each(|name| remove_option(&mut new.options, name));
                self.store(&new)?;
            }
            AlterAction::SetUnlogged(unlogged) => {
                new.unlogged = *unlogged;
                self.store(&new)?;
            }
        }
        Ok(relation.oid)
    }

    /// Stores a relation whose SQLite table stays as it is, and renews the triggers, whose texts hold names.
    pub(super) fn store(&self, new: &Relation) -> Result<(), Error> {
        self.writer().put(new)?;
        if matches!(new.kind, RelationKind::Table | RelationKind::Partitioned(_)) {
            self.renew_triggers_around(new)?;
        }
        Ok(())
    }

    /// Rebuilds the table to its new shape and stores it; partitions follow their root.
    pub(super) fn replace(&self, old: &Relation, mut new: Relation, computed: &[(usize, String)]) -> Result<(), Error> {
        for other in self.related(old)? {
            self.drop_triggers(&other)?;
        }
        self.drop_triggers(old)?;
        self.rebuild(old, &mut new, computed)?;
        self.writer().put(&new)?;
        self.follow(&new)?;
        self.renew_triggers_around(&new)
    }

    /// Tables that a foreign key ties to this one: their triggers name its storage.
    fn related(&self, relation: &Relation) -> Result<Vec<Rc<Relation>>, Error> {
        let mut related = self.catalog().referencing(relation.oid)?;
        for constraint in &relation.constraints {
            if let ConstraintKind::ForeignKey { references, .. } = constraint.kind {
                related.extend(self.catalog().relation_by_oid(references)?);
            }
        }
        related.retain(|other| other.oid != relation.oid);
        Ok(related)
    }

    /// Gives the partitions the root's columns and storage.
    pub(super) fn follow(&self, root: &Relation) -> Result<(), Error> {
        let RelationKind::Partitioned(partitioning) = &root.kind else { return Ok(()) };
        for oid in &partitioning.partitions {
            let Some(partition) = self.catalog().relation_by_oid(*oid)? else { continue };
            let mut partition = (*partition).clone();
            let granted = std::mem::replace(&mut partition.columns, super::create::without_privileges(&root.columns));
            for (column, old) in partition.columns.iter_mut().zip(granted).filter(|(column, _)| !column.dropped) {
                column.acl = old.acl;
            }
            partition.storage.clone_from(&root.storage);
            partition.rowid_column = root.rowid_column;
            let had: Vec<_> = partition.indexes.iter().map(|index| index.keys.clone()).collect();
            for index in root.indexes.iter().filter(|index| !had.contains(&index.keys)) {
                self.add_partition_index(root, &mut partition, index)?;
            }
            partition.indexes.retain(|index| root.indexes.iter().any(|own| own.keys == index.keys));
            let names: Vec<String> = partition.indexes.iter().map(|index| index.name.clone()).collect();
            partition.constraints.retain(|constraint| names.contains(&constraint.name));
            self.writer().put(&partition)?;
        }
        Ok(())
    }

    fn alter_add_constraint(
        &mut self,
        relation: &Relation,
        mut new: Relation,
        clause: &ConstraintClause,
    ) -> Result<(), Error> {
        if let ConstraintClauseKind::PrimaryKey { columns } = &clause.kind {
            columns.iter().try_for_each(|name| column_index(relation, name).map(|_| ()))?;
        }
        self.add_constraint(&mut new, clause)?;
        if let Some(constraint) = new.constraints.last_mut() {
            constraint.not_valid = clause.not_valid;
        }
        let Some(constraint) = new.constraints.last().cloned() else { return Ok(()) };
        match &constraint.kind {
            ConstraintKind::PrimaryKey { columns } => {
                for column in columns {
                    if !relation.columns[*column].not_null {
                        self.require_no_nulls(relation, *column)?;
                    }
                }
                self.replace(relation, new, &[])
            }
            ConstraintKind::Unique { .. } => {
                if let Some(index) = new.indexes.last() {
                    self.create_index_storage(&new, index)?;
                }
                self.writer().put(&new)?;
                self.follow(&new)
            }
            ConstraintKind::Check { .. } => self.replace(relation, new, &[]),
            ConstraintKind::ForeignKey { .. } => {
                if !clause.not_valid {
                    self.validate_foreign_key(&new, &constraint)?;
                }
                self.store(&new)
            }
        }
    }

    /// VALIDATE CONSTRAINT: looks at the rows that NOT VALID left alone.
    fn validate_constraint(&mut self, relation: &Relation, mut new: Relation, name: &str) -> Result<(), Error> {
        let constraint = new.constraints.iter_mut().find(|constraint| constraint.name == name);
        let constraint = constraint.ok_or_else(|| no_constraint(relation, name))?;
        match &constraint.kind {
            ConstraintKind::Check { expression } => self.validate_check(relation, name, expression)?,
            ConstraintKind::ForeignKey { .. } => self.validate_foreign_key(relation, constraint)?,
            _ => {
                let message = format!(
                    "constraint \"{name}\" of relation \"{}\" is not a foreign key or check constraint",
                    relation.name
                );
                return Err(Error::new(Condition::WrongObjectType, message));
            }
        }
        constraint.not_valid = false;
        self.store(&new)
    }

    fn drop_constraint(
        &mut self,
        relation: &Relation,
        name: &str,
        if_exists: bool,
        cascade: bool,
    ) -> Result<(), Error> {
        let Some(at) = relation.constraints.iter().position(|constraint| constraint.name == name) else {
            if if_exists {
                let message =
                    format!("constraint \"{name}\" of relation \"{}\" does not exist, skipping", relation.name);
                self.notice(Condition::SuccessfulCompletion, message);
                return Ok(());
            }
            return Err(no_constraint(relation, name));
        };
        let named = [Object::Constraint(relation.oid, relation.constraints[at].oid)];
        let targets = self.what_goes(&named, cascade)?;
        self.remove_all(&targets)
    }

    fn add_column(
        &mut self,
        relation: &Relation,
        mut new: Relation,
        clause: &ColumnClause,
        if_not_exists: bool,
    ) -> Result<(), Error> {
        if relation.columns.iter().any(|column| !column.dropped && column.name == clause.name) {
            let message = format!("column \"{}\" of relation \"{}\" already exists", clause.name, relation.name);
            if if_not_exists {
                self.notice(Condition::DuplicateColumn, format!("{message}, skipping"));
                return Ok(());
            }
            return Err(Error::new(Condition::DuplicateColumn, message));
        }
        let definition = self.column_definition(relation, clause)?;
        new.columns.push(definition);
        create::check_columns(&new)?;
        self.note_default_sequences(&mut new)?;
        let index = new.columns.len() - 1;
        let foreign: Vec<&ConstraintClause> = clause.constraints.iter().collect();
        for constraint in &foreign {
            self.add_constraint(&mut new, constraint)?;
        }
        let computed = self.default_sql(&new, index)?;
        if new.columns[index].not_null && computed == "NULL" && self.has_rows(relation)? {
            let message = format!("column \"{}\" of relation \"{}\" contains null values", clause.name, relation.name);
            return Err(Error::new(Condition::NotNullViolation, message)
                .table(&relation.schema, &relation.name)
                .column(&clause.name));
        }
        let plain = foreign.is_empty() && !new.columns[index].not_null && computed == "NULL";
        if !plain {
            return self.replace(relation, new, &[(index, computed)]);
        }
        let column = &new.columns[index];
        let collation = column.type_.collation().map_or_else(String::new, |name| format!(" COLLATE {name}"));
        let sql = format!(
            "ALTER TABLE {} ADD COLUMN {} {}{collation}",
            quoted(&relation.storage),
            quoted(&column.name),
            column.type_.storage_class()
        );
        self.storage(&sql)?;
        self.writer().put(&new)?;
        self.follow(&new)
    }

    fn has_rows(&self, relation: &Relation) -> Result<bool, Error> {
        let sql = format!("SELECT EXISTS(SELECT 1 FROM {})", quoted(&relation.storage));
        self.context.connection.query_row(&sql, [], |row| row.get(0)).map_err(super::super::catalog::failure)
    }

    /// Constraints and indexes over a column go with it.
    fn drop_column(&mut self, relation: &Relation, name: &str, if_exists: bool, cascade: bool) -> Result<(), Error> {
        let Ok(index) = column_index(relation, name) else {
            if if_exists {
                let message = format!("column \"{name}\" of relation \"{}\" does not exist, skipping", relation.name);
                self.notice(Condition::SuccessfulCompletion, message);
                return Ok(());
            }
            return column_index(relation, name).map(|_| ());
        };
        self.require_no_key_column(relation, index, "drop")?;
        let mut named = vec![Object::Column(relation.oid, index)];
        if let RelationKind::Partitioned(partitioning) = &relation.kind {
            named.extend(partitioning.partitions.iter().map(|oid| Object::Column(*oid, index)));
        }
        let targets = self.what_goes(&named, cascade)?;
        self.remove_all(&targets)
    }

    /// Views of views go by the columns' numbers.
    fn rename_view_column(&self, view: &Relation, from: &str, to: &str) -> Result<(), Error> {
        let index = column_index(view, from)
            .map_err(|_| Error::new(Condition::UndefinedColumn, format!("column \"{from}\" does not exist")))?;
        if column_index(view, to).is_ok() {
            let message = format!("column \"{to}\" of relation \"{}\" already exists", view.name);
            return Err(Error::new(Condition::DuplicateColumn, message));
        }
        let mut new = view.clone();
        new.columns[index].name = to.to_owned();
        self.writer().put(&new)
    }

    /// A partition key's columns stay as they are.
    fn require_no_key_column(&self, relation: &Relation, index: usize, verb: &str) -> Result<(), Error> {
        let RelationKind::Partitioned(partitioning) = &relation.kind else { return Ok(()) };
        if !partitioning.columns.contains(&index) {
            return Ok(());
        }
        let column = relation.columns.get(index).map_or("", |column| column.name.as_str());
        let message = format!(
            "cannot {verb} column \"{column}\" because it is part of the partition key of relation \"{}\"",
            relation.name
        );
        Err(Error::new(Condition::InvalidTableDefinition, message))
    }

    /// 0A000 for a change of a type that a view shows.
    fn require_no_view(&self, relation: &Relation, index: usize) -> Result<(), Error> {
        let mut tables = vec![relation.oid];
        if let RelationKind::Partitioned(partitioning) = &relation.kind {
            tables.extend(&partitioning.partitions);
        }
        for oid in tables {
            for view in self.catalog().dependents(oid)? {
                if view.depends.sources.iter().any(|source| source.oid == oid && source.used.contains(&index)) {
                    let column = relation.columns.get(index).map_or("", |column| column.name.as_str());
                    let shown = self.describe(&Object::Relation(view.oid))?;
                    let message = "cannot alter type of a column used by a view or rule";
                    return Err(Error::new(Condition::FeatureNotSupported, message)
                        .detail(format!("rule _RETURN on {shown} depends on column \"{column}\"")));
                }
            }
        }
        Ok(())
    }

    fn rename_column(&mut self, relation: &Relation, mut new: Relation, from: &str, to: &str) -> Result<(), Error> {
        let index = column_index(relation, from)
            .map_err(|_| Error::new(Condition::UndefinedColumn, format!("column \"{from}\" does not exist")))?;
        if column_index(relation, to).is_ok() {
            let message = format!("column \"{to}\" of relation \"{}\" already exists", relation.name);
            return Err(Error::new(Condition::DuplicateColumn, message));
        }
        new.columns[index].name = to.to_owned();
        create::check_columns(&new)?;
        for constraint in &mut new.constraints {
            if let ConstraintKind::Check { expression } = &mut constraint.kind {
                *expression = rename_in(expression, from, to);
            }
        }
        for own in &mut new.indexes {
            for key in &mut own.keys {
                key.expression = key.expression.as_ref().map(|text| rename_in(text, from, to));
            }
            own.predicate = own.predicate.as_ref().map(|text| rename_in(text, from, to));
        }
        for other in self.related(relation)? {
            self.drop_triggers(&other)?;
        }
        self.drop_triggers(relation)?;
        let old = column_list(relation, &[index], "");
        self.storage(&format!("ALTER TABLE {} RENAME COLUMN {old} TO {}", quoted(&relation.storage), quoted(to)))?;
        self.writer().put(&new)?;
        self.follow(&new)?;
        self.renew_triggers_around(&new)
    }

    fn alter_index(&mut self, name: &Name, if_exists: bool, actions: &[AlterAction]) -> Result<(), Error> {
        let Some(relation) = self.catalog().relation_of_index(name.schema.as_deref(), &name.name)? else {
            if if_exists {
                self.notice(Condition::SuccessfulCompletion, format!("relation \"{name}\" does not exist, skipping"));
                return Ok(());
            }
            let message = format!("relation \"{name}\" does not exist");
            return Err(Error::new(Condition::UndefinedTable, message).position(name.position));
        };
        self.require_owner(&relation)?;
        let mut new = (*relation).clone();
        for action in actions {
            match action {
                AlterAction::RenameTo { name: to } => {
                    if self.catalog().name_taken(&relation.schema, to)? {
                        return Err(Error::new(Condition::DuplicateTable, format!("relation \"{to}\" already exists")));
                    }
                    new.indexes
                        .iter_mut()
                        .filter(|index| index.name == name.name)
                        .for_each(|index| index.name.clone_from(to));
                    new.constraints
                        .iter_mut()
                        .filter(|own| own.name == name.name)
                        .for_each(|own| own.name.clone_from(to));
                }
                AlterAction::SetOptions(_) | AlterAction::ResetOptions(_) | AlterAction::Nothing => {}
                _ => return Err(Error::unsupported("this form of ALTER INDEX")),
            }
        }
        self.writer().put(&new)
    }
}

/// Whether an action changes columns or constraints, which partitions share with their root.
fn changes_shape(action: &AlterAction) -> bool {
    !matches!(
        action,
        AlterAction::RenameTo { .. }
            | AlterAction::OwnerTo { .. }
            | AlterAction::SetSchema { .. }
            | AlterAction::SetOptions(_)
            | AlterAction::ResetOptions(_)
            | AlterAction::SetUnlogged(_)
            | AlterAction::ColumnOption { .. }
            | AlterAction::Nothing
    )
}

/// The column is there, and its type takes the storage mode.
fn check_column_option(relation: &Relation, column: &str, storage: Option<&str>) -> Result<(), Error> {
    const MODES: [&str; 4] = ["plain", "external", "extended", "main"];
    if let Some(mode) = storage.filter(|mode| !MODES.contains(mode)) {
        return Err(Error::new(Condition::InvalidParameterValue, format!("invalid storage type \"{mode}\"")));
    }
    let index = column_index(relation, column)?;
    let type_ = relation.columns.get(index).map_or(Type::Text, |column| column.type_);
    if storage.is_some_and(|mode| mode != "plain") && crate::sql::types::pg_type(type_).storage == 'p' {
        let message = format!("column data type {} can only have storage PLAIN", type_.name());
        return Err(Error::new(Condition::FeatureNotSupported, message));
    }
    Ok(())
}

fn is_check(constraint: &Constraint) -> bool {
    matches!(constraint.kind, ConstraintKind::Check { .. })
}

/// The error of a change of type whose values cannot be cast.
fn no_cast(error: Error, column: &str, is_using: bool, type_: Type, typmod: i32) -> Error {
    if error.condition() != Condition::DatatypeMismatch {
        return error;
    }
    let shown = format_type(type_, -1);
    if is_using {
        let message =
            format!("result of USING clause for column \"{column}\" cannot be cast automatically to type {shown}");
        return Error::new(Condition::DatatypeMismatch, message).hint("You might need to add an explicit cast.");
    }
    let message = format!("column \"{column}\" cannot be cast automatically to type {shown}");
    let hint = format!(
        "You might need to specify \"USING {}::{}\".",
        crate::sql::define::identifier(column),
        format_type(type_, typmod)
    );
    Error::new(Condition::DatatypeMismatch, message).hint(hint)
}

fn no_constraint(relation: &Relation, name: &str) -> Error {
    let message = format!("constraint \"{name}\" of relation \"{}\" does not exist", relation.name);
    Error::new(Condition::UndefinedObject, message)
}

fn remove_option(options: &mut Vec<String>, option: &str) {
    let name = option.split_once('=').map_or(option, |(name, _)| name);
    options.retain(|other| other.split_once('=').map_or(other.as_str(), |(name, _)| name) != name);
}
