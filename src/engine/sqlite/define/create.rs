//! CREATE TABLE, TABLE AS, INDEX, VIEW and SEQUENCE.

use std::rc::Rc;

use super::like::Taken;
use super::storage::{rowid_column, storage_name};
use super::{Definer, column_index, is_table, wrong_kind};
use crate::error::{Condition, Error};
use crate::sql::acl::Kind;
use crate::sql::catalog::{
    ColumnDefinition, Index, IndexKey, Partitioning, Relation, RelationKind, SequenceOwner, ViewSource,
};
use crate::sql::define::partition::quoted;
use crate::sql::define::{
    BoundClause, ColumnClause, ConstraintClause, ConstraintClauseKind, CreateIndex, CreateSequence, CreateTable,
    CreateTableAs, CreateView, Generated, Name, SequenceOptions, names_in, options,
};
use crate::sql::types::{Type, format_type};

/// PostgreSQL's MaxHeapAttributeNumber.
const COLUMNS_MAX: usize = 1600;

impl Definer<'_> {
    pub(super) fn create_table(&mut self, table: &CreateTable) -> Result<(), Error> {
        let (schema, temporary) = self.creation_schema(&table.name, table.temporary)?;
        if table.if_not_exists && !self.name_is_free(&schema, &table.name.name, true)? {
            return Ok(());
        }
        match table.partition_by {
            Some(_) => options::check_partitioned(&table.options)?,
            None => options::check(&table.options)?,
        }
        if let Some((parent, bound)) = &table.partition_of {
            return self.create_partition(table, (schema, temporary), parent, bound);
        }
        let mut relation = self.new_relation(Kind::Table, &table.name.name, schema, temporary)?;
        relation.unlogged = table.unlogged;
        relation.options = table.options.clone();
        relation.on_commit = table.on_commit;
        let mut taken = Taken::default();
        let mut constraints = Vec::new();
        for at in 0..=table.columns.len() {
            for like in table.like.iter().filter(|like| like.after == at) {
                self.take_over(&mut relation, like, &mut taken)?;
            }
            let Some(column) = table.columns.get(at) else { break };
            let definition = self.column_definition(&relation, column)?;
            relation.columns.push(definition);
            constraints.extend(column.constraints.iter().cloned());
        }
        constraints.append(&mut taken.constraints);
        check_columns(&relation)?;
        self.note_default_sequences(&mut relation)?;
        if let Some((strategy, names)) = &table.partition_by {
            let columns = names.iter().map(|name| partition_column(&relation, name)).collect::<Result<_, _>>()?;
            relation.kind =
                RelationKind::Partitioned(Partitioning { strategy: *strategy, columns, partitions: Vec::new() });
        }
        constraints.extend(table.constraints.iter().cloned());
        // In PostgreSQL's order. Keys come before foreign keys, which may refer to their own table.
        constraints.sort_by_key(|constraint| match constraint.kind {
            ConstraintClauseKind::Check { .. } => 0,
            ConstraintClauseKind::PrimaryKey { .. } => 1,
            ConstraintClauseKind::Unique { .. } => 2,
            ConstraintClauseKind::ForeignKey { .. } => 3,
        });
        let constraints = without_twins(constraints);
        super::constraint::check_keys(&relation, &constraints)?;
        self.name_is_free(&relation.schema, &relation.name, false)?;
        for constraint in &constraints {
            self.add_constraint(&mut relation, constraint)?;
        }
        self.store_new_table(&mut relation)?;
        taken.indexes.iter().try_for_each(|index| self.create_index(index))
    }

    /// Creates storage, indexes and triggers of a new table and stores its entry.
    fn store_new_table(&self, relation: &mut Relation) -> Result<(), Error> {
        relation.rowid_column = rowid_column(relation);
        for index in &mut relation.indexes {
            if index.primary && relation.rowid_column.is_some() {
                index.storage = None;
            }
        }
        self.create_storage(relation)?;
        for index in &relation.indexes {
            self.create_index_storage(relation, index)?;
        }
        self.writer().put(relation)?;
        self.renew_triggers_around(relation)
    }

    /// A relation without columns.
    pub(super) fn new_relation(
        &self,
        kind: Kind,
        name: &str,
        schema: String,
        temporary: bool,
    ) -> Result<Relation, Error> {
        let oid = self.writer().next_oid(temporary)?;
        Ok(Relation {
            oid,
            name: name.to_owned(),
            kind: RelationKind::Table,
            columns: Vec::new(),
            constraints: Vec::new(),
            indexes: Vec::new(),
            owner: self.context.rights.role,
            acl: self.initial_acl(kind, Some(&schema), self.context.rights.role)?,
            schema,
            storage: storage_name(name, oid),
            rowid_column: None,
            unlogged: false,
            temporary,
            options: Vec::new(),
            on_commit: crate::sql::catalog::OnCommit::PreserveRows,
            depends: crate::sql::catalog::Dependencies::default(),
        })
    }

    /// A column as the catalog has it; its sequence is made when it has one.
    pub(super) fn column_definition(
        &mut self,
        relation: &Relation,
        clause: &ColumnClause,
    ) -> Result<ColumnDefinition, Error> {
        if clause.type_.is_pseudo() || clause.type_ == Type::Unknown {
            let message = format!("column \"{}\" has pseudo-type {}", clause.name, clause.type_.name());
            return Err(Error::new(Condition::InvalidTableDefinition, message));
        }
        let default = match clause.generated {
            None => clause.default.clone(),
            Some(Generated::IdentityAlways) => return Err(Error::unsupported("GENERATED ALWAYS AS IDENTITY")),
            Some(Generated::Serial | Generated::IdentityByDefault) => Some(self.column_sequence(relation, clause)?),
        };
        if let (Some(text), None) = (&default, clause.generated) {
            self.check_default(relation, &clause.name, text, (clause.type_, clause.typmod))?;
        }
        Ok(ColumnDefinition {
            name: clause.name.clone(),
            type_: clause.type_,
            typmod: clause.typmod,
            not_null: clause.not_null,
            default: default.filter(|text| !is_null(text)),
            dropped: false,
            acl: None,
        })
    }

    /// A DEFAULT is an expression of its own: without columns, without subqueries.
    pub(super) fn check_default(
        &self,
        relation: &Relation,
        column: &str,
        text: &str,
        target: (Type, i32),
    ) -> Result<(), Error> {
        let bound = self.context.binder.expression(&no_columns(relation), text, Some(target));
        bound.map(|_| ()).map_err(|error| {
            let names_column = names_in(text).iter().any(|name| column_index(relation, name).is_ok());
            match error.condition() {
                Condition::UndefinedColumn if names_column => {
                    Error::new(Condition::FeatureNotSupported, "cannot use column reference in DEFAULT expression")
                }
                Condition::DatatypeMismatch => {
                    let told = error.fields().message.replacen("\"expression\"", &format!("\"{column}\""), 1);
                    let told = told.replacen(" but expression ", " but default expression ", 1);
                    match &error.fields().hint {
                        Some(hint) => Error::new(Condition::DatatypeMismatch, told).hint(hint.clone()),
                        None => Error::new(Condition::DatatypeMismatch, told),
                    }
                }
                Condition::FeatureNotSupported if error.fields().message.starts_with("a subquery in") => {
                    Error::new(Condition::FeatureNotSupported, "cannot use subquery in DEFAULT expression")
                }
                _ => error,
            }
        })
    }

    /// Makes the sequence of a serial column and yields the default that takes from it.
    fn column_sequence(&mut self, relation: &Relation, clause: &ColumnClause) -> Result<String, Error> {
        let name = self.free_name(relation, &clause.name, "seq", true)?;
        let sequence = CreateSequence {
            name: Name { schema: Some(relation.schema.clone()), name: name.clone(), position: 1 },
            if_not_exists: false,
            temporary: relation.temporary,
            options: SequenceOptions { type_: Some(clause.type_), ..SequenceOptions::default() },
        };
        let owner = SequenceOwner::Column(relation.oid, relation.columns.len());
        match self.create_sequence_of(&sequence, owner)? {
            Some(sequence) => Ok(format!("nextval({})", super::sequence::sequence_constant(&sequence, false))),
            None => Err(Error::internal("the sequence of a column was not made")),
        }
    }

    /// A partition has no storage of its own: it is a slice of its root's.
    fn create_partition(
        &mut self,
        table: &CreateTable,
        (schema, temporary): (String, bool),
        parent: &Name,
        bound: &BoundClause,
    ) -> Result<(), Error> {
        self.name_is_free(&schema, &table.name.name, false)?;
        let root = self.require_table(parent)?;
        if !matches!(root.kind, RelationKind::Partitioned(_)) {
            return Err(Error::new(
                Condition::InvalidObjectDefinition,
                format!("\"{}\" is not partitioned", root.name),
            ));
        }
        if table.partition_by.is_some() {
            return Err(Error::unsupported("a partition that is partitioned itself"));
        }
        if temporary != root.temporary {
            let message = format!(
                "cannot create a {} relation as partition of {} relation \"{}\"",
                if temporary { "temporary" } else { "permanent" },
                if root.temporary { "temporary" } else { "permanent" },
                root.name
            );
            return Err(Error::new(Condition::WrongObjectType, message));
        }
        let bound = self.resolve_bound(&root, &table.name.name, bound)?;
        self.require_not_in_default(&root, &bound)?;
        let mut partition = self.new_relation(Kind::Table, &table.name.name, schema, root.temporary)?;
        partition.unlogged = table.unlogged;
        partition.options = table.options.clone();
        partition.on_commit = table.on_commit;
        partition.kind = RelationKind::Partition { parent: root.oid, bound };
        partition.columns = without_privileges(&root.columns);
        partition.storage = root.storage.clone();
        let mut changed = (*root).clone();
        if let RelationKind::Partitioned(partitioning) = &mut changed.kind {
            partitioning.partitions.push(partition.oid);
        }
        for index in &root.indexes {
            self.add_partition_index(&root, &mut partition, index)?;
        }
        partition.rowid_column = root.rowid_column;
        self.writer().put(&partition)?;
        self.writer().put(&changed)?;
        self.renew_triggers(root.oid)
    }

    /// A partition's share of its root's index, under a name of its own; the rows are in the root's.
    pub(super) fn add_partition_index(
        &self,
        root: &Relation,
        partition: &mut Relation,
        index: &Index,
    ) -> Result<(), Error> {
        use crate::sql::catalog::{Constraint, ConstraintKind};
        let columns: Vec<usize> = index.keys.iter().filter_map(|key| key.column).collect();
        let of_constraint = root.constraints.iter().find(|constraint| constraint.name == index.name);
        let names: Vec<&str> =
            columns.iter().filter_map(|index| root.columns.get(*index)).map(|column| column.name.as_str()).collect();
        let (column, label) = match (index.primary, of_constraint) {
            (true, _) => (String::new(), "pkey"),
            (false, Some(_)) => (names.join("_"), "key"),
            (false, None) => (names.join("_"), "idx"),
        };
        let name = self.free_name(partition, &column, label, true)?;
        let oid = self.writer().next_oid(partition.temporary)?;
        partition.indexes.push(Index { oid, name: name.clone(), storage: None, ..index.clone() });
        if of_constraint.is_some() {
            let kind =
                if index.primary { ConstraintKind::PrimaryKey { columns } } else { ConstraintKind::Unique { columns } };
            partition.constraints.push(Constraint::new(self.writer().next_oid(partition.temporary)?, name, kind));
        }
        Ok(())
    }

    pub(super) fn create_table_as(&mut self, table: &CreateTableAs) -> Result<(), Error> {
        let (schema, temporary) = self.creation_schema(&table.name, table.temporary)?;
        if !self.name_is_free(&schema, &table.name.name, table.if_not_exists)? {
            self.outcome.skipped = true;
            return Ok(());
        }
        options::check(&table.options)?;
        let columns = self.context.binder.query_columns(&table.query)?;
        if table.columns.len() > columns.len() {
            return Err(Error::new(Condition::SyntaxError, "too many column names were specified"));
        }
        let mut relation = self.new_relation(Kind::Table, &table.name.name, schema, temporary)?;
        relation.unlogged = table.unlogged;
        relation.options = table.options.clone();
        relation.on_commit = table.on_commit;
        for (index, column) in columns.iter().enumerate() {
            let type_ = if column.type_ == Type::Unknown { Type::Text } else { column.type_ };
            relation.columns.push(ColumnDefinition {
                name: table.columns.get(index).unwrap_or(&column.name).clone(),
                type_,
                typmod: column.typmod,
                not_null: false,
                default: None,
                dropped: false,
                acl: None,
            });
        }
        check_columns(&relation)?;
        self.store_new_table(&mut relation)?;
        if table.with_data {
            self.outcome.then =
                Some(format!("INSERT INTO {}.{} {}", quoted(&relation.schema), quoted(&relation.name), table.query));
        }
        Ok(())
    }

    pub(super) fn create_view(&mut self, view: &CreateView) -> Result<(), Error> {
        let (columns, sources) = self.context.binder.view_query(&view.query)?;
        let temporary = view.temporary || self.is_temporary(&sources)?;
        if temporary && !view.temporary {
            let message = format!("view \"{}\" will be a temporary view", view.name.name);
            self.notice(Condition::SuccessfulCompletion, message);
        }
        if view.columns.len() > columns.len() {
            return Err(Error::new(Condition::SyntaxError, "CREATE VIEW specifies more column names than columns"));
        }
        let (schema, temporary) = self.creation_schema(&view.name, temporary)?;
        let old = self.catalog_relation(&schema, &view.name.name)?;
        if let Some(old) = &old {
            if !view.or_replace {
                return Err(Error::new(
                    Condition::DuplicateTable,
                    format!("relation \"{}\" already exists", view.name.name),
                ));
            }
            if !matches!(old.kind, RelationKind::View { .. }) {
                return Err(wrong_kind(old, "a view"));
            }
            self.require_owner(old)?;
        } else {
            self.name_is_free(&schema, &view.name.name, false)?;
        }
        let mut relation = self.new_relation(Kind::Table, &view.name.name, schema, temporary)?;
        relation.storage = String::new();
        relation.depends.sources = sources;
        relation.kind = RelationKind::View { query: view.query.clone() };
        for (index, column) in columns.iter().enumerate() {
            relation.columns.push(ColumnDefinition {
                name: view.columns.get(index).unwrap_or(&column.name).clone(),
                type_: if column.type_ == Type::Unknown { Type::Text } else { column.type_ },
                typmod: column.typmod,
                not_null: false,
                default: None,
                dropped: false,
                acl: None,
            });
        }
        check_columns(&relation)?;
        if let Some(old) = old {
            same_columns(&old, &relation)?;
            relation.oid = old.oid;
            relation.owner = old.owner;
            relation.acl.clone_from(&old.acl);
        }
        self.writer().put(&relation)
    }

    /// Whether any of the relations is temporary.
    fn is_temporary(&self, sources: &[ViewSource]) -> Result<bool, Error> {
        use crate::sql::catalog::Catalog;
        for source in sources {
            if self.catalog().relation_by_oid(source.oid)?.is_some_and(|relation| relation.temporary) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn create_sequence(&mut self, sequence: &CreateSequence) -> Result<(), Error> {
        self.create_sequence_of(sequence, SequenceOwner::Nobody).map(|_| ())
    }

    /// Makes a sequence for its owner, unless OWNED BY names another; `None` where there is one already.
    fn create_sequence_of(
        &mut self,
        sequence: &CreateSequence,
        owner: SequenceOwner,
    ) -> Result<Option<Relation>, Error> {
        let (schema, temporary) = self.creation_schema(&sequence.name, sequence.temporary)?;
        if !self.name_is_free(&schema, &sequence.name.name, sequence.if_not_exists)? {
            return Ok(None);
        }
        let mut relation = self.new_relation(Kind::Sequence, &sequence.name.name, schema, temporary)?;
        relation.kind = RelationKind::Sequence;
        relation.storage = String::new();
        for (name, type_) in [("last_value", Type::Int8), ("log_cnt", Type::Int8), ("is_called", Type::Bool)] {
            relation.columns.push(ColumnDefinition {
                name: name.to_owned(),
                type_,
                typmod: -1,
                not_null: true,
                default: None,
                dropped: false,
                acl: None,
            });
        }
        let options = &sequence.options;
        if let Some(type_) = options.type_
            && let Some(first) = relation.columns.first_mut()
        {
            first.type_ = type_;
        }
        relation.depends.owner = self.sequence_owner(&relation, options)?.unwrap_or(owner);
        let bounds = super::sequence::bounds(options, options.type_.unwrap_or(Type::Int8))?;
        self.writer().put(&relation)?;
        self.insert_sequence(&relation, &bounds)?;
        Ok(Some(relation))
    }

    pub(super) fn create_index(&mut self, clause: &CreateIndex) -> Result<(), Error> {
        let relation = self.require(&clause.table)?;
        if !is_table(&relation) {
            return Err(wrong_kind(&relation, "a table"));
        }
        self.require_owner(&relation)?;
        self.require_create(&relation.schema)?;
        if matches!(relation.kind, RelationKind::Partition { .. }) {
            return Err(Error::unsupported("an index on a single partition"));
        }
        if let Some(name) = &clause.name
            && !self.name_is_free(&relation.schema, name, clause.if_not_exists)?
        {
            return Ok(());
        }
        let mut changed = (*relation).clone();
        let index = self.resolve_index(&changed, clause)?;
        self.create_index_storage(&changed, &index)?;
        changed.indexes.push(index.clone());
        self.writer().put(&changed)?;
        if let RelationKind::Partitioned(partitioning) = &changed.kind {
            for oid in &partitioning.partitions {
                use crate::sql::catalog::Catalog;
                if let Some(partition) = self.catalog().relation_by_oid(*oid)? {
                    let mut partition = (*partition).clone();
                    self.add_partition_index(&changed, &mut partition, &index)?;
                    self.writer().put(&partition)?;
                }
            }
        }
        Ok(())
    }

    fn resolve_index(&self, relation: &Relation, clause: &CreateIndex) -> Result<Index, Error> {
        let mut keys = Vec::new();
        let mut names = Vec::new();
        for key in &clause.keys {
            let column = match &key.column {
                Some(name) => Some(column_index(relation, name).map_err(|_| {
                    Error::new(Condition::UndefinedColumn, format!("column \"{name}\" does not exist"))
                })?),
                None => None,
            };
            names.push(key.column.clone().unwrap_or_else(|| "expr".to_owned()));
            if let Some(text) = &key.expression {
                self.context.binder.expression(relation, text, None)?;
            }
            keys.push(IndexKey {
                column,
                expression: key.expression.clone(),
                descending: key.descending,
                nulls_first: key.nulls_first,
            });
        }
        if let RelationKind::Partitioned(partitioning) = &relation.kind
            && clause.unique
            && let Some(lost) =
                partitioning.columns.iter().find(|own| !keys.iter().any(|key| key.column == Some(**own)))
        {
            return Err(super::constraint::partition_key_missing(relation, *lost, false));
        }
        let name = match &clause.name {
            Some(name) => name.clone(),
            None => self.free_name(relation, &names.join("_"), "idx", true)?,
        };
        let oid = self.writer().next_oid(relation.temporary)?;
        Ok(Index {
            oid,
            storage: Some(storage_name(&name, oid)),
            name,
            unique: clause.unique,
            primary: false,
            keys,
            predicate: clause.predicate.clone(),
        })
    }

    fn catalog_relation(&self, schema: &str, name: &str) -> Result<Option<Rc<Relation>>, Error> {
        use crate::sql::catalog::Catalog;
        self.catalog().relation(Some(schema), name)
    }
}

/// A key that is there already is not made again; its name goes to the first where that has none.
fn without_twins(constraints: Vec<ConstraintClause>) -> Vec<ConstraintClause> {
    let mut kept: Vec<ConstraintClause> = Vec::with_capacity(constraints.len());
    for constraint in constraints {
        let ConstraintClauseKind::Unique { columns } = &constraint.kind else {
            kept.push(constraint);
            continue;
        };
        let twin = kept.iter_mut().find(|other| match &other.kind {
            ConstraintClauseKind::PrimaryKey { columns: own } | ConstraintClauseKind::Unique { columns: own } => {
                own == columns
            }
            _ => false,
        });
        match twin {
            Some(twin) => twin.name = twin.name.take().or(constraint.name),
            None => kept.push(constraint),
        }
    }
    kept
}

/// CREATE OR REPLACE VIEW may only add columns at the end.
fn same_columns(old: &Relation, new: &Relation) -> Result<(), Error> {
    if new.columns.len() < old.columns.len() {
        return Err(Error::new(Condition::InvalidTableDefinition, "cannot drop columns from view"));
    }
    for (old, new) in old.columns.iter().zip(&new.columns) {
        if old.name != new.name {
            let message = format!("cannot change name of view column \"{}\" to \"{}\"", old.name, new.name);
            let hint = "Use ALTER VIEW ... RENAME COLUMN ... to change name of view column instead.";
            return Err(Error::new(Condition::InvalidTableDefinition, message).hint(hint));
        }
        if (old.type_, old.typmod) != (new.type_, new.typmod) {
            let message = format!(
                "cannot change data type of view column \"{}\" from {} to {}",
                old.name,
                format_type(old.type_, old.typmod),
                format_type(new.type_, new.typmod)
            );
            return Err(Error::new(Condition::InvalidTableDefinition, message));
        }
    }
    Ok(())
}

/// DEFAULT NULL is none.
pub(super) fn is_null(default: &str) -> bool {
    default.trim().eq_ignore_ascii_case("null")
}

/// The relation as a DEFAULT sees it: no column can be named there.
fn no_columns(relation: &Relation) -> Relation {
    Relation { columns: Vec::new(), ..relation.clone() }
}

fn partition_column(relation: &Relation, name: &str) -> Result<usize, Error> {
    column_index(relation, name).map_err(|_| {
        let message = format!("column \"{name}\" named in partition key does not exist");
        Error::new(Condition::UndefinedColumn, message)
    })
}

/// Names that are there once, are not the system's, and differ by more than case (SQLite's names do not).
pub(super) fn check_columns(relation: &Relation) -> Result<(), Error> {
    let live: Vec<&str> =
        relation.columns.iter().filter(|column| !column.dropped).map(|column| column.name.as_str()).collect();
    if relation.columns.len() > COLUMNS_MAX {
        return Err(Error::new(Condition::TooManyColumns, format!("tables can have at most {COLUMNS_MAX} columns")));
    }
    let mut lower = std::collections::HashSet::new();
    for (index, name) in live.iter().enumerate() {
        if ["tableoid", "xmin", "xmax", "cmin", "cmax", "ctid"].contains(name) {
            let message = format!("column name \"{name}\" conflicts with a system column name");
            return Err(Error::new(Condition::DuplicateColumn, message));
        }
        if !lower.insert(name.to_ascii_lowercase()) {
            if live.iter().take(index).any(|other| other == name) {
                return Err(Error::new(
                    Condition::DuplicateColumn,
                    format!("column \"{name}\" specified more than once"),
                ));
            }
            return Err(Error::unsupported(format!("a column \"{name}\" that differs from another one by case only")));
        }
    }
    Ok(())
}

/// Columns for another relation: what was granted on them is not taken over.
pub(super) fn without_privileges(columns: &[ColumnDefinition]) -> Vec<ColumnDefinition> {
    columns.iter().map(|column| ColumnDefinition { acl: None, ..column.clone() }).collect()
}
