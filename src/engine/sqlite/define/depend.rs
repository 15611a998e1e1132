//! What rests on an object that is to go, as PostgreSQL's dependency.c finds and reports it.
//!
//! Dependencies are part of the catalog's entries: foreign keys, views' sources, defaults' sequences, sequences'
//! owners. This file decides what goes with an object and in which words the client is told. It changes nothing.

use std::rc::Rc;

use super::Definer;
use crate::error::{Condition, Error};
use crate::sql::catalog::{Catalog, Constraint, ConstraintKind, Index, Relation, RelationKind, SequenceOwner};
use crate::sql::define::identifier;
use crate::sql::define::names_in;

/// Lines that a client is told of; PostgreSQL's MAX_REPORTED_DEPS.
const LINES_MAX: usize = 100;

/// What can go, and what others can rest on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Object {
    Schema(String),
    Relation(u32),
    /// A relation's column, by index.
    Column(u32, usize),
    /// The default of a column.
    Default(u32, usize),
    /// A relation's constraint, by OID.
    Constraint(u32, u32),
    /// A relation's index, by OID.
    Index(u32, u32),
}

/// What is going to go.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) object: Object,
    /// What it rests on, through which it was found.
    rests_on: Option<Object>,
    /// It goes without a word: it is a part of what it rests on.
    silent: bool,
    /// It was named.
    named: bool,
}

/// Something that rests on an object, with its OID, which decides the order.
struct Dependent {
    object: Object,
    oid: u32,
    silent: bool,
}

impl Dependent {
    fn loud(object: Object, oid: u32) -> Self {
        Self { object, oid, silent: false }
    }

    fn silent(object: Object, oid: u32) -> Self {
        Self { object, oid, silent: true }
    }
}

impl Definer<'_> {
    /// Everything that goes with the named objects, what rests on others before them. Without CASCADE 2BP01 if
    /// anything goes that is no part of them; with it a notice.
    pub(super) fn what_goes(&mut self, named: &[Object], cascade: bool) -> Result<Vec<Target>, Error> {
        let mut search = Search { definer: self, found: Vec::new(), stack: Vec::new() };
        for object in named {
            search.visit(object, None, false, true)?;
        }
        let found = search.found;
        self.report(&found, named, cascade)?;
        Ok(found)
    }

    fn report(&mut self, found: &[Target], named: &[Object], cascade: bool) -> Result<(), Error> {
        let whole = |oid: u32| found.iter().any(|target| target.object == Object::Relation(oid));
        let mut lines = Vec::new();
        let mut count = 0usize;
        for target in found.iter().rev() {
            let part = match target.object {
                Object::Schema(_) | Object::Relation(_) => false,
                Object::Default(oid, at) => {
                    whole(oid) || found.iter().any(|target| target.object == Object::Column(oid, at))
                }
                Object::Column(oid, _) | Object::Constraint(oid, _) | Object::Index(oid, _) => whole(oid),
            };
            let Some(rests_on) = target.rests_on.as_ref().filter(|_| !target.silent && !target.named && !part) else {
                continue;
            };
            count += 1;
            if lines.len() == LINES_MAX {
                continue;
            }
            let object = self.describe(&target.object)?;
            lines.push(match cascade {
                true => format!("drop cascades to {object}"),
                false => format!("{object} depends on {}", self.describe(rests_on)?),
            });
        }
        if count == 0 {
            return Ok(());
        }
        let more = count - lines.len();
        let mut detail = lines.join("\n");
        if more > 0 {
            detail.push_str(&format!("\nand {more} other object{} (see server log for list)", plural(more)));
        }
        if !cascade {
            let message = match named {
                [only] => {
                    format!("cannot drop {} because other objects depend on it", self.describe(only)?)
                }
                _ => "cannot drop desired object(s) because other objects depend on them".to_owned(),
            };
            return Err(Error::new(Condition::DependentObjectsStillExist, message)
                .detail(detail)
                .hint("Use DROP ... CASCADE to drop the dependent objects too."));
        }
        let notice = match count {
            1 => Error::new(Condition::SuccessfulCompletion, detail),
            _ => Error::new(Condition::SuccessfulCompletion, format!("drop cascades to {count} other objects"))
                .detail(detail),
        };
        self.outcome.notices.push(("NOTICE", notice));
        Ok(())
    }

    /// An object in PostgreSQL's words: with its schema where the search path does not find it.
    pub(super) fn describe(&self, object: &Object) -> Result<String, Error> {
        let catalog = self.catalog();
        let shown = |relation: &Relation| -> Result<String, Error> {
            Ok(format!("{} {}", super::kind_name(relation), catalog.shown_name(relation)?))
        };
        let lost = || Error::internal("a dependency names a relation that is not there");
        let relation = |oid: u32| -> Result<Rc<Relation>, Error> { catalog.relation_by_oid(oid)?.ok_or_else(lost) };
        let column_of = |relation: &Relation, at: usize| {
            relation.columns.get(at).map(|column| column.name.clone()).unwrap_or_default()
        };
        Ok(match object {
            Object::Schema(name) => format!("schema {name}"),
            Object::Relation(oid) => shown(&*relation(*oid)?)?,
            Object::Column(oid, at) => {
                let relation = relation(*oid)?;
                format!("column {} of {}", column_of(&relation, *at), shown(&relation)?)
            }
            Object::Default(oid, at) => {
                let relation = relation(*oid)?;
                format!("default value for column {} of {}", column_of(&relation, *at), shown(&relation)?)
            }
            Object::Constraint(oid, own) => {
                let relation = relation(*oid)?;
                let name = relation.constraints.iter().find(|constraint| constraint.oid == *own);
                let name = name.map(|constraint| constraint.name.clone()).unwrap_or_default();
                format!("constraint {name} on {}", shown(&relation)?)
            }
            Object::Index(oid, own) => {
                let relation = relation(*oid)?;
                let name = relation.indexes.iter().find(|index| index.oid == *own).map(|index| index.name.clone());
                let name = identifier(&name.unwrap_or_default());
                let visible = catalog.search_path().contains(&relation.schema) || relation.temporary;
                let name = if visible { name } else { format!("{}.{name}", identifier(&relation.schema)) };
                format!("index {name}")
            }
        })
    }

    /// Sequences that a table's columns own, each with its column.
    pub(super) fn owned_sequences(&self, relation: &Relation) -> Result<Vec<(usize, Rc<Relation>)>, Error> {
        let mut owned = Vec::new();
        for other in self.catalog().dependents(relation.oid)? {
            if let SequenceOwner::Column(table, column) = other.depends.owner
                && table == relation.oid
            {
                owned.push((column, other));
            }
        }
        // Those that were made before owners were stored.
        for (at, column) in relation.columns.iter().enumerate().filter(|(_, column)| !column.dropped) {
            if !column.default.as_deref().is_some_and(|default| default.starts_with("nextval(")) {
                continue;
            }
            let name = super::constraint::object_name(&relation.name, &column.name, "seq");
            let found = self.catalog().relation(Some(&relation.schema), &name)?.filter(|sequence| {
                sequence.kind == RelationKind::Sequence && sequence.depends.owner == SequenceOwner::ByName
            });
            owned.extend(found.map(|sequence| (at, sequence)));
        }
        Ok(owned)
    }
}

/// The walk through what rests on what.
struct Search<'a, 'b> {
    definer: &'a Definer<'b>,
    found: Vec<Target>,
    stack: Vec<Object>,
}

impl Search<'_, '_> {
    fn visit(&mut self, object: &Object, from: Option<&Object>, silent: bool, named: bool) -> Result<(), Error> {
        let whole = match object {
            Object::Column(oid, _) | Object::Default(oid, _) => Some(Object::Relation(*oid)),
            _ => None,
        };
        let column = match object {
            Object::Default(oid, at) => Some(Object::Column(*oid, *at)),
            _ => None,
        };
        let covers =
            |other: &Object| other == object || Some(other) == whole.as_ref() || Some(other) == column.as_ref();
        if self.stack.iter().any(covers) {
            return Ok(());
        }
        if let Some(known) = self.found.iter_mut().find(|target| covers(&target.object)) {
            if known.object == *object {
                known.silent |= silent;
                known.named |= named;
            }
            return Ok(());
        }
        self.stack.push(object.clone());
        let mut dependents = self.dependents(object)?;
        dependents.sort_by_key(|dependent| std::cmp::Reverse(dependent.oid));
        for dependent in dependents {
            self.visit(&dependent.object, Some(object), dependent.silent, false)?;
        }
        self.stack.pop();
        self.found.push(Target { object: object.clone(), rests_on: from.cloned(), silent, named });
        Ok(())
    }

    fn dependents(&self, object: &Object) -> Result<Vec<Dependent>, Error> {
        match object {
            Object::Schema(name) => {
                let inside =
                    self.definer.catalog().relations()?.into_iter().filter(|relation| relation.schema == *name);
                Ok(inside.map(|relation| Dependent::loud(Object::Relation(relation.oid), relation.oid)).collect())
            }
            Object::Relation(oid) => self.of_relation(*oid),
            Object::Column(oid, at) => self.of_column(*oid, *at),
            Object::Constraint(oid, own) => Ok(self.index_of(*oid, *own)?.into_iter().collect()),
            Object::Index(oid, own) => self.of_index(*oid, *own),
            Object::Default(..) => Ok(Vec::new()),
        }
    }

    fn of_relation(&self, oid: u32) -> Result<Vec<Dependent>, Error> {
        let catalog = self.definer.catalog();
        let Some(relation) = catalog.relation_by_oid(oid)? else { return Ok(Vec::new()) };
        let mut dependents = Vec::new();
        if let RelationKind::Partitioned(partitioning) = &relation.kind {
            dependents
                .extend(partitioning.partitions.iter().map(|oid| Dependent::silent(Object::Relation(*oid), *oid)));
        }
        for (_, sequence) in self.definer.owned_sequences(&relation)? {
            dependents.push(Dependent::silent(Object::Relation(sequence.oid), sequence.oid));
        }
        for other in catalog.dependents(oid)? {
            if other.depends.sources.iter().any(|source| source.oid == oid) {
                dependents.push(Dependent::loud(Object::Relation(other.oid), other.oid));
            }
            for (column, _) in other.depends.sequences.iter().filter(|(_, sequence)| *sequence == oid) {
                dependents.push(Dependent::loud(Object::Default(other.oid, *column), other.oid));
            }
            if other.oid != oid {
                let keys = other.constraints.iter().filter(|own| refers_to(own, oid, None));
                dependents.extend(keys.map(|own| Dependent::loud(Object::Constraint(other.oid, own.oid), own.oid)));
            }
        }
        Ok(dependents)
    }

    fn of_column(&self, oid: u32, at: usize) -> Result<Vec<Dependent>, Error> {
        let catalog = self.definer.catalog();
        let Some(relation) = catalog.relation_by_oid(oid)? else { return Ok(Vec::new()) };
        let mut dependents = Vec::new();
        let name = relation.columns.get(at).map_or("", |column| column.name.as_str());
        for own in relation.constraints.iter().filter(|own| involves(own, at, name)) {
            dependents.push(Dependent::silent(Object::Constraint(oid, own.oid), own.oid));
        }
        for index in relation.indexes.iter().filter(|index| covers(index, at, name)) {
            if !relation.constraints.iter().any(|own| own.name == index.name) {
                dependents.push(Dependent::silent(Object::Index(oid, index.oid), index.oid));
            }
        }
        for (column, sequence) in self.definer.owned_sequences(&relation)? {
            if column == at {
                dependents.push(Dependent::silent(Object::Relation(sequence.oid), sequence.oid));
            }
        }
        for other in catalog.dependents(oid)? {
            if other.depends.sources.iter().any(|source| source.oid == oid && source.used.contains(&at)) {
                dependents.push(Dependent::loud(Object::Relation(other.oid), other.oid));
            }
            let keys = other.constraints.iter().filter(|own| refers_to(own, oid, Some(at)));
            dependents.extend(keys.map(|own| Dependent::loud(Object::Constraint(other.oid, own.oid), own.oid)));
        }
        Ok(dependents)
    }

    /// The index behind a constraint.
    fn index_of(&self, oid: u32, own: u32) -> Result<Option<Dependent>, Error> {
        let Some(relation) = self.definer.catalog().relation_by_oid(oid)? else { return Ok(None) };
        let name = relation.constraints.iter().find(|constraint| constraint.oid == own).map(|own| own.name.as_str());
        let index = relation.indexes.iter().find(|index| Some(index.name.as_str()) == name);
        Ok(index.map(|index| Dependent::silent(Object::Index(oid, index.oid), index.oid)))
    }

    /// Foreign keys that an index serves.
    fn of_index(&self, oid: u32, own: u32) -> Result<Vec<Dependent>, Error> {
        let catalog = self.definer.catalog();
        let Some(relation) = catalog.relation_by_oid(oid)? else { return Ok(Vec::new()) };
        let mut dependents = Vec::new();
        for other in catalog.dependents(oid)? {
            for constraint in other.constraints.iter().filter(|own| refers_to(own, oid, None)) {
                let ConstraintKind::ForeignKey { referenced_columns, .. } = &constraint.kind else { continue };
                if relation.serving_index(referenced_columns).is_some_and(|index| index.oid == own) {
                    let object = Object::Constraint(other.oid, constraint.oid);
                    dependents.push(Dependent::loud(object, constraint.oid));
                }
            }
        }
        Ok(dependents)
    }
}

/// Whether it is a foreign key to that relation, and to that column of it.
fn refers_to(constraint: &Constraint, oid: u32, column: Option<usize>) -> bool {
    matches!(&constraint.kind, ConstraintKind::ForeignKey { references, referenced_columns, .. }
        if *references == oid && column.is_none_or(|column| referenced_columns.contains(&column)))
}

/// Whether a constraint of a column's own table is about it.
fn involves(constraint: &Constraint, at: usize, name: &str) -> bool {
    match &constraint.kind {
        ConstraintKind::PrimaryKey { columns }
        | ConstraintKind::Unique { columns }
        | ConstraintKind::ForeignKey { columns, .. } => columns.contains(&at),
        ConstraintKind::Check { expression } => names_in(expression).iter().any(|used| used == name),
    }
}

fn covers(index: &Index, at: usize, name: &str) -> bool {
    let in_text =
        |text: &Option<String>| text.as_ref().is_some_and(|text| names_in(text).iter().any(|used| used == name));
    index.keys.iter().any(|key| key.column == Some(at) || in_text(&key.expression)) || in_text(&index.predicate)
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}
