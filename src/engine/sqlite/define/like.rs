//! CREATE TABLE … LIKE: what a new table takes over from another.

use std::rc::Rc;

use super::Definer;
use crate::error::Error;
use crate::sql::acl::Privileges;
use crate::sql::catalog::{ColumnDefinition, ConstraintKind, Index, Relation};
use crate::sql::define::{
    ConstraintClause, ConstraintClauseKind, CreateIndex, Deferral, IndexKeyClause, LikeClause, Name,
};

/// What follows once the new table is there.
#[derive(Default)]
pub(super) struct Taken {
    /// Constraints to be added to those written.
    pub(super) constraints: Vec<ConstraintClause>,
    /// Indexes that no constraint makes.
    pub(super) indexes: Vec<CreateIndex>,
}

impl Definer<'_> {
    /// Takes over the columns, and notes what else there is to be taken.
    pub(super) fn take_over(
        &mut self,
        relation: &mut Relation,
        like: &LikeClause,
        taken: &mut Taken,
    ) -> Result<(), Error> {
        let source: Rc<Relation> = self.require(&like.source)?;
        self.context.rights.require_relation(&source, Privileges::SELECT)?;
        for column in source.columns.iter().filter(|column| !column.dropped) {
            let default = if like.defaults { column.default.clone() } else { None };
            relation.columns.push(ColumnDefinition { default, acl: None, ..column.clone() });
        }
        let names = |columns: &[usize]| {
            columns.iter().filter_map(|index| source.columns.get(*index)).map(|column| column.name.clone()).collect()
        };
        for constraint in &source.constraints {
            let (kind, name) = match &constraint.kind {
                ConstraintKind::Check { expression } if like.constraints => {
                    (ConstraintClauseKind::Check { expression: expression.clone() }, Some(constraint.name.clone()))
                }
                ConstraintKind::PrimaryKey { columns } if like.indexes => {
                    (ConstraintClauseKind::PrimaryKey { columns: names(columns) }, None)
                }
                ConstraintKind::Unique { columns } if like.indexes => {
                    (ConstraintClauseKind::Unique { columns: names(columns) }, None)
                }
                _ => continue,
            };
            taken.constraints.push(ConstraintClause { name, kind, not_valid: false, deferral: Deferral::No });
        }
        if like.indexes {
            let of_constraint =
                |index: &&Index| source.constraints.iter().any(|constraint| constraint.name == index.name);
            for index in source.indexes.iter().filter(|index| !of_constraint(index)) {
                taken.indexes.push(copy_of(&source, index, relation));
            }
        }
        Ok(())
    }
}

/// The statement that makes an index like this on the new table.
fn copy_of(source: &Relation, index: &Index, relation: &Relation) -> CreateIndex {
    let keys = index.keys.iter().map(|key| IndexKeyClause {
        column: key.column.and_then(|at| source.columns.get(at)).map(|column| column.name.clone()),
        expression: key.expression.clone(),
        descending: key.descending,
        nulls_first: key.nulls_first,
    });
    CreateIndex {
        name: None,
        table: Name { schema: Some(relation.schema.clone()), name: relation.name.clone(), position: 1 },
        unique: index.unique,
        if_not_exists: false,
        concurrently: false,
        keys: keys.collect(),
        predicate: index.predicate.clone(),
    }
}
