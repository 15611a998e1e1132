//! WITH: queries that go by a name, recursive ones among them.

use sqlparser::ast::{self, SetExpr};

use super::{Binder, CteEntry};
use crate::error::{Condition, Error};
use crate::sql::ir::{Cte, OutputColumn, Query};
use crate::sql::parse;
use crate::sql::types::Type;

impl Binder<'_> {
    /// The queries of WITH, known by their names from then on.
    pub(super) fn with(&mut self, with: &ast::With) -> Result<Vec<Cte>, Error> {
        let mut ctes = Vec::with_capacity(with.cte_tables.len());
        for table in &with.cte_tables {
            if table.from.is_some() {
                return Err(self.refused("this form of WITH", &*table.query));
            }
            let name = table.alias.name.value.clone();
            let byte = parse::byte_of(table.alias.name.span.start);
            if with.cte_tables.iter().take(ctes.len()).any(|earlier| earlier.alias.name.value == name) {
                let message = format!("WITH query name \"{name}\" specified more than once");
                return Err(self.error_at(Error::new(Condition::DuplicateAlias, message), byte));
            }
            self.cte_number += 1;
            let number = self.cte_number;
            let materialized =
                table.materialized.as_ref().map(|kind| matches!(kind, ast::CteAsMaterialized::Materialized));
            let names: Vec<String> = table.alias.columns.iter().map(|column| column.name.value.clone()).collect();
            let query = if with.recursive {
                self.recursive(&name, number, &names, &table.query)?
            } else {
                self.subquery(&table.query)?
            };
            if names.len() > query.columns.len() {
                let (has, named) = (query.columns.len(), names.len());
                let message =
                    format!("WITH query \"{name}\" has {has} columns available but {named} columns specified");
                return Err(self.error_at(Error::new(Condition::InvalidColumnReference, message), byte));
            }
            let columns = renamed(&query.columns, &names);
            self.ctes.push(CteEntry { name, number, columns, references: 0, is_open: false });
            ctes.push(Cte { number, recursive: with.recursive, materialized, query });
        }
        Ok(ctes)
    }

    /// A query of WITH RECURSIVE. If it is a UNION, its left side gives the columns that its right side sees.
    fn recursive(&mut self, name: &str, number: usize, names: &[String], query: &ast::Query) -> Result<Query, Error> {
        let SetExpr::SetOperation { op: ast::SetOperator::Union, left, .. } = &*query.body else {
            return self.subquery(query);
        };
        let tables = self.tables;
        let seed = self.body_with_order(left, None)?;
        self.tables = tables;
        let columns = renamed(&seed.columns, names);
        self.ctes.push(CteEntry { name: name.to_owned(), number, columns, references: 0, is_open: true });
        let bound = self.subquery(query);
        let refers_to_itself = self.ctes.pop().is_some_and(|entry| entry.references > 0);
        let bound = bound?;
        if refers_to_itself {
            self.check_recursive(name, query, &seed, &bound)?;
        }
        Ok(bound)
    }

    /// How often recursive queries have been named in their own text so far.
    pub(super) fn recursive_references(&self) -> usize {
        self.ctes.iter().filter(|entry| entry.is_open).map(|entry| entry.references).sum()
    }

    /// 42P19 for the innermost recursive query, which names itself where it must not.
    pub(super) fn recursion_within(&self, place: &str) -> Error {
        let name = self.ctes.iter().rfind(|entry| entry.is_open).map_or("", |entry| entry.name.as_str());
        let message = format!("recursive reference to query \"{name}\" must not appear within {place}");
        Error::new(Condition::InvalidRecursion, message)
    }

    /// What a query that refers to itself may not have.
    fn check_recursive(&self, name: &str, query: &ast::Query, seed: &Query, whole: &Query) -> Result<(), Error> {
        let clause = [(query.order_by.is_some(), "ORDER BY"), (query.limit_clause.is_some(), "LIMIT")];
        if let Some((_, clause)) = clause.iter().find(|(there, _)| *there) {
            let message = format!("{clause} in a recursive query is not implemented");
            return Err(Error::new(Condition::FeatureNotSupported, message));
        }
        for (at, (seed, whole)) in seed.columns.iter().zip(&whole.columns).enumerate() {
            if seed.type_ != whole.type_ && seed.type_ != Type::Unknown {
                let message = format!(
                    "recursive query \"{name}\" column {} has type {} in non-recursive term but type {} overall",
                    at + 1,
                    seed.type_.name(),
                    whole.type_.name()
                );
                return Err(Error::new(Condition::DatatypeMismatch, message)
                    .hint("Cast the output of the non-recursive term to the correct type."));
            }
        }
        Ok(())
    }
}

fn renamed(columns: &[OutputColumn], names: &[String]) -> Vec<OutputColumn> {
    let mut columns = columns.to_vec();
    for (column, name) in columns.iter_mut().zip(names) {
        column.name.clone_from(name);
    }
    columns
}
