//! Rows of pg_depend and pg_rewrite: what rests on what, from the relations' entries.

use super::Source;
use crate::error::Error;
use crate::sql::catalog::{ConstraintKind, Relation, RelationKind, SequenceOwner};
use crate::sql::types::Value;

/// OIDs of the catalogs that objects are in.
const CLASS: u32 = 1259;
const CONSTRAINT: u32 = 2606;
const DEFAULT: u32 = 2604;
const NAMESPACE: u32 = 2615;
const REWRITE: u32 = 2618;

/// Catalog, OID, and the column's number or 0.
type Object = (u32, u32, usize);

/// A view's rule, which goes by the view's OID.
pub(super) fn pg_rewrite(source: &dyn Source) -> Result<Vec<Vec<Value>>, Error> {
    let relations = source.relations()?;
    let views = relations.iter().filter(|relation| matches!(relation.kind, RelationKind::View { .. }));
    let text = |text: &str| Value::Text(text.to_owned());
    Ok(views
        .map(|view| {
            let oid = || Value::Int(i64::from(view.oid));
            vec![oid(), text("_RETURN"), oid(), text("1"), text("O"), Value::Int(1)]
        })
        .collect())
}

pub(super) fn pg_depend(source: &dyn Source) -> Result<Vec<Vec<Value>>, Error> {
    let relations = source.relations()?;
    let schemas = source.schemas()?;
    let mut rows = Vec::new();
    for relation in &relations {
        let schema = schemas.iter().find(|schema| schema.name == relation.schema).map_or(0, |schema| schema.oid);
        of_relation(relation, schema, &relations, &mut |object: Object, on: Object, kind: &str| {
            let number = |number: u32| Value::Int(i64::from(number));
            let column = |at: usize| Value::Int(i64::try_from(at).unwrap_or(0));
            rows.push(vec![
                number(object.0),
                number(object.1),
                column(object.2),
                number(on.0),
                number(on.1),
                column(on.2),
                Value::Text(kind.to_owned()),
            ]);
        });
    }
    Ok(rows)
}

fn of_relation(
    relation: &Relation,
    schema: u32,
    all: &[std::rc::Rc<Relation>],
    row: &mut dyn FnMut(Object, Object, &str),
) {
    let own = (CLASS, relation.oid, 0);
    let column = |at: usize| (CLASS, relation.oid, at + 1);
    row(own, (NAMESPACE, schema, 0), "n");
    if let RelationKind::Partition { parent, .. } = relation.kind {
        row(own, (CLASS, parent, 0), "a");
    }
    if let SequenceOwner::Column(table, at) = relation.depends.owner {
        row(own, (CLASS, table, at + 1), "a");
    }
    if matches!(relation.kind, RelationKind::View { .. }) {
        let rule = (REWRITE, relation.oid, 0);
        row(rule, own, "i");
        row(rule, own, "n");
        for source in &relation.depends.sources {
            if source.used.is_empty() {
                row(rule, (CLASS, source.oid, 0), "n");
            }
            source.used.iter().for_each(|at| row(rule, (CLASS, source.oid, at + 1), "n"));
        }
    }
    for (at, _) in relation.columns.iter().enumerate().filter(|(_, column)| column.default.is_some()) {
        row((DEFAULT, relation.oid, 0), column(at), "a");
    }
    for (_, sequence) in &relation.depends.sequences {
        row((DEFAULT, relation.oid, 0), (CLASS, *sequence, 0), "n");
    }
    for constraint in &relation.constraints {
        let object = (CONSTRAINT, constraint.oid, 0);
        match &constraint.kind {
            ConstraintKind::PrimaryKey { columns } | ConstraintKind::Unique { columns } => {
                columns.iter().for_each(|at| row(object, column(*at), "a"));
            }
            ConstraintKind::Check { .. } => row(object, own, "a"),
            ConstraintKind::ForeignKey { columns, references, referenced_columns, .. } => {
                columns.iter().for_each(|at| row(object, column(*at), "a"));
                referenced_columns.iter().for_each(|at| row(object, (CLASS, *references, at + 1), "n"));
                let parent = all.iter().find(|other| other.oid == *references);
                if let Some(index) = parent.and_then(|parent| parent.serving_index(referenced_columns)) {
                    row(object, (CLASS, index.oid, 0), "n");
                }
            }
        }
    }
    for index in &relation.indexes {
        let object = (CLASS, index.oid, 0);
        match relation.constraints.iter().find(|constraint| constraint.name == index.name) {
            Some(constraint) => row(object, (CONSTRAINT, constraint.oid, 0), "i"),
            None => index.keys.iter().filter_map(|key| key.column).for_each(|at| row(object, column(at), "a")),
        }
    }
}
