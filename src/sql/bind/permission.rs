//! Which privileges a statement needs: noted where relations and columns are named, asked for when it runs.
//!
//! Follows PostgreSQL: every relation that is named needs a privilege as a whole or on each column that is used; those
//! inside a view are the business of the view's owner.

use super::Binder;
use crate::sql::acl::Privileges;
use crate::sql::catalog::Relation;
use crate::sql::ir::{Node, Scalar};
use crate::sql::plan::{Permission, Permissions};

/// One place that names a relation.
#[derive(Debug)]
pub(super) struct Use {
    permission: Permission,
    /// How deep in queries the place is: PostgreSQL asks for the outer ones first.
    level: usize,
    /// Subqueries of expressions around it.
    sublinks: usize,
    /// The name it goes by.
    alias: String,
}

impl Binder<'_> {
    /// A relation is named, for `wanted`.
    pub(super) fn note_use(&mut self, relation: &Relation, alias: Option<&str>, wanted: Privileges) {
        let permission = Permission {
            relation: relation.oid,
            storage: relation.storage.clone(),
            checked_as: self.view_owner,
            wanted,
            ..Permission::default()
        };
        let alias = alias.unwrap_or(&relation.name).to_owned();
        self.uses.get_mut().push(Use { permission, level: self.level, sublinks: self.sublinks, alias });
    }

    /// A column is read.
    pub(super) fn note_read(&self, scalar: &Scalar) {
        let Node::Column { origin: Some((relation, attribute)), .. } = &scalar.node else { return };
        if let Ok(at) = usize::try_from(*attribute - 1) {
            self.note_read_of(*relation, at);
        }
    }

    /// The column of that index is read.
    pub(super) fn note_read_of(&self, relation: u32, at: usize) {
        let mut uses = self.uses.borrow_mut();
        let own =
            |known: &&mut Use| known.permission.relation == relation && known.permission.checked_as == self.view_owner;
        if let Some(found) = uses.iter_mut().rev().find(own) {
            found.permission.wanted = found.permission.wanted.or(Privileges::SELECT);
            insert(&mut found.permission.read, at);
        }
    }

    /// A column of the relation that is changed gets values, by INSERT or by UPDATE.
    pub(super) fn note_written(&mut self, relation: &Relation, at: usize, by: Privileges) {
        let own = |known: &&mut Use| {
            known.permission.relation == relation.oid && known.permission.checked_as == self.view_owner
        };
        if let Some(found) = self.uses.get_mut().iter_mut().find(own) {
            found.permission.wanted = found.permission.wanted.or(by);
            let columns =
                if by == Privileges::INSERT { &mut found.permission.inserted } else { &mut found.permission.updated };
            insert(columns, at);
        }
    }

    /// Where the places that are noted from now on begin.
    pub(super) fn uses_from_here(&self) -> usize {
        self.uses.borrow().len()
    }

    /// FOR UPDATE and its like: the relations of a query's FROM, noted from `first` on, are to be changed.
    pub(super) fn note_locked(&mut self, first: usize, of: Option<&str>) {
        let (level, sublinks) = (self.level, self.sublinks);
        for known in self.uses.get_mut().iter_mut().skip(first).filter(|known| known.sublinks == sublinks) {
            if of.is_none_or(|name| known.level > level || known.alias == name) {
                known.permission.wanted = known.permission.wanted.or(Privileges::UPDATE);
            }
        }
    }

    /// What the whole statement needs.
    pub(super) fn permissions(&mut self) -> Permissions {
        let mut uses = std::mem::take(self.uses.get_mut());
        uses.sort_by_key(|known| known.level);
        let mut relations: Vec<Permission> = Vec::with_capacity(uses.len());
        for Use { permission, .. } in uses {
            let same = |known: &&mut Permission| {
                known.relation == permission.relation && known.checked_as == permission.checked_as
            };
            match relations.iter_mut().find(same) {
                Some(known) => {
                    known.wanted = known.wanted.or(permission.wanted);
                    permission.read.iter().for_each(|at| insert(&mut known.read, *at));
                    permission.inserted.iter().for_each(|at| insert(&mut known.inserted, *at));
                    permission.updated.iter().for_each(|at| insert(&mut known.updated, *at));
                }
                None => relations.push(permission),
            }
        }
        Permissions::new(relations, std::mem::take(&mut self.schemas))
    }
}

fn insert(columns: &mut Vec<usize>, at: usize) {
    if let Err(place) = columns.binary_search(&at) {
        columns.insert(place, at);
    }
}
