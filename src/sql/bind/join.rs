//! Joins: their conditions, and which columns of both sides become one.

use sqlparser::ast::{self, JoinConstraint, JoinOperator};

use super::Binder;
use super::expression::start;
use super::scope::{Scope, Visible};
use crate::error::{Condition, Error};
use crate::sql::functions::Emit;
use crate::sql::ir::{From, JoinKind, Node, Scalar};
use crate::sql::types::Type;

/// Where the sides of a join begin in a scope.
#[derive(Clone, Copy)]
struct Sides {
    /// The left side's first table.
    left_source: usize,
    /// The right side's first table.
    right_source: usize,
    /// The left side's first column.
    left_column: usize,
    /// The right side's first column.
    right_column: usize,
}

impl Binder<'_> {
    /// A table and what is joined to it. `None`: nothing is left of it but columns (an inlined subquery).
    pub(super) fn joined(&mut self, table: &ast::TableWithJoins, scope: &mut Scope) -> Result<Option<From>, Error> {
        let (left_source, left_column) = (scope.sources.len(), scope.columns.len());
        let left_recursion = self.recursive_references();
        let mut left = self.factor(&table.relation, scope)?;
        for join in &table.joins {
            if join.global {
                return Err(self.refused("GLOBAL JOIN", &join.relation));
            }
            let (kind, constraint) = match &join.join_operator {
                JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) => (JoinKind::Inner, constraint),
                JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => (JoinKind::Left, constraint),
                JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => (JoinKind::Right, constraint),
                JoinOperator::FullOuter(constraint) => (JoinKind::Full, constraint),
                JoinOperator::CrossJoin(constraint) => (JoinKind::Inner, constraint),
                _ => return Err(self.refused("this kind of join", &join.relation)),
            };
            let sides = Sides {
                left_source,
                right_source: scope.sources.len(),
                left_column,
                right_column: scope.columns.len(),
            };
            let right_recursion = self.recursive_references();
            let right = self.factor(&join.relation, scope)?;
            if matches!(kind, JoinKind::Right | JoinKind::Full) && right_recursion != left_recursion
                || matches!(kind, JoinKind::Left | JoinKind::Full) && self.recursive_references() != right_recursion
            {
                return Err(self.recursion_within("an outer join"));
            }
            if matches!(kind, JoinKind::Right | JoinKind::Full) {
                let sources = &mut scope.sources[left_source..sides.right_source];
                sources.iter_mut().for_each(|source| may_be_null(&mut source.columns));
                may_be_null(&mut scope.columns[left_column..sides.right_column]);
            }
            if matches!(kind, JoinKind::Left | JoinKind::Full) {
                let sources = &mut scope.sources[sides.right_source..];
                sources.iter_mut().for_each(|source| may_be_null(&mut source.columns));
                may_be_null(&mut scope.columns[sides.right_column..]);
            }
            let on = self.join_condition(constraint, kind, scope, sides)?;
            left = match (left, right) {
                (Some(left), Some(right)) => {
                    Some(From::Join { kind, left: Box::new(left), right: Box::new(right), on })
                }
                (only, None) | (None, only) => {
                    if kind != JoinKind::Inner || on.is_some() {
                        return Err(self.refused("a join with this LATERAL subquery", &join.relation));
                    }
                    only
                }
            };
        }
        Ok(left)
    }

    fn join_condition(
        &mut self,
        constraint: &JoinConstraint,
        kind: JoinKind,
        scope: &mut Scope,
        sides: Sides,
    ) -> Result<Option<Scalar>, Error> {
        match constraint {
            JoinConstraint::None => Ok(None),
            JoinConstraint::On(condition) => {
                // ON sees the two sides of its own join only.
                let visible = Scope {
                    sources: scope.sources[sides.left_source..].to_vec(),
                    columns: scope.columns[sides.left_column..].to_vec(),
                };
                self.scopes.push(visible);
                let refused = self.aggregates_refused.replace("aggregate functions are not allowed in JOIN conditions");
                let bound = self.expression(condition);
                let bound = bound.and_then(|bound| self.truth(bound, "JOIN/ON", start(condition)));
                self.aggregates_refused = refused;
                self.scopes.pop();
                bound.map(Some)
            }
            JoinConstraint::Using(names) => {
                let names: Vec<String> = names.iter().map(super::last_name).collect();
                self.merge(&names, kind, scope, sides)
            }
            JoinConstraint::Natural => {
                let (left, right) = scope.columns[sides.left_column..].split_at(sides.right_column - sides.left_column);
                let shared = left.iter().filter(|column| right.iter().any(|other| other.name == column.name));
                let mut names: Vec<String> = Vec::new();
                for column in shared {
                    if !names.contains(&column.name) {
                        names.push(column.name.clone());
                    }
                }
                self.merge(&names, kind, scope, sides)
            }
        }
    }

    /// USING: equal columns of both sides become one, and come first.
    fn merge(
        &mut self,
        names: &[String],
        kind: JoinKind,
        scope: &mut Scope,
        sides: Sides,
    ) -> Result<Option<Scalar>, Error> {
        let mut right_columns = scope.columns.split_off(sides.right_column);
        let mut left_columns = scope.columns.split_off(sides.left_column);
        let mut terms = Vec::with_capacity(names.len());
        for (at, name) in names.iter().enumerate() {
            if names[..at].contains(name) {
                let message = format!("column name \"{name}\" appears more than once in USING clause");
                return Err(Error::new(Condition::DuplicateColumn, message));
            }
            let left = take_column(&mut left_columns, name, "left")?;
            let right = take_column(&mut right_columns, name, "right")?;
            self.note(&left);
            self.note(&right);
            let type_ = self.common_type("JOIN/USING", &[&left, &right])?;
            let merged = match kind {
                JoinKind::Inner if left.type_ != type_ && right.type_ == type_ => right.clone(),
                JoinKind::Inner | JoinKind::Left => self.coerce(left.clone(), type_)?,
                JoinKind::Right => self.coerce(right.clone(), type_)?,
                JoinKind::Full => {
                    let sides = vec![self.coerce(left.clone(), type_)?, self.coerce(right.clone(), type_)?];
                    Scalar::call(Emit::Native("coalesce"), sides, type_)
                }
            };
            terms.push(self.operator("=", Some(left), right, None)?);
            scope.columns.push(Visible { name: name.clone(), scalar: merged });
        }
        scope.columns.append(&mut left_columns);
        scope.columns.append(&mut right_columns);
        Ok(match terms.len() {
            0 => None,
            1 => terms.pop(),
            _ => Some(Scalar::new(Node::And(terms), Type::Bool)),
        })
    }
}

/// Columns of the side that an outer join fills with NULLs.
fn may_be_null(columns: &mut [Visible]) {
    for column in columns {
        if let Node::Column { not_null, .. } = &mut column.scalar.node {
            *not_null = false;
        }
    }
}

/// Takes a column that USING names out of its side's columns.
fn take_column(columns: &mut Vec<Visible>, name: &str, side: &str) -> Result<Scalar, Error> {
    let Some(at) = columns.iter().position(|column| column.name == name) else {
        let message = format!("column \"{name}\" specified in USING clause does not exist in {side} table");
        return Err(Error::new(Condition::UndefinedColumn, message));
    };
    let column = columns.remove(at);
    if columns.iter().any(|other| other.name == name) {
        let message = format!("common column name \"{name}\" appears more than once in {side} table");
        return Err(Error::new(Condition::AmbiguousColumn, message));
    }
    Ok(column.scalar)
}
