//! How often, and when, functions run that may give another result each time.
//!
//! PostgreSQL runs a WITH query that is named twice once, and what a sorted SELECT computes with a volatile function
//! only for the rows that are left after LIMIT. SQLite would do neither.

use super::{Binder, walk};
use crate::sql::functions::{Emit, is_volatile};
use crate::sql::ir::{Body, Cte, From, Node, OrderKey, OutputColumn, Query, Scalar, Select};

impl Binder<'_> {
    /// Has the results of WITH queries kept that are named more than once.
    pub(super) fn keep_results(&self, ctes: &mut [Cte]) {
        for cte in ctes.iter_mut().filter(|cte| cte.materialized.is_none() && !cte.recursive) {
            let entry = self.ctes.iter().find(|entry| entry.number == cte.number);
            if entry.is_some_and(|entry| entry.references > 1) {
                cte.materialized = Some(true);
            }
        }
    }

    /// Has the volatile outputs of a sorted query computed behind ORDER BY and LIMIT: the query without them becomes
    /// a WITH query whose rows are kept.
    pub(super) fn defer_volatile(&mut self, query: Query) -> Query {
        let Body::Select(select) = &query.body else { return query };
        let sorted_by = |at: usize| query.order.iter().any(|order| order.key == OrderKey::Output(at));
        let deferred: Vec<bool> =
            select.outputs.iter().enumerate().map(|(at, output)| !sorted_by(at) && has_volatile(output)).collect();
        let nothing = select.distinct || query.order.is_empty() || !deferred.contains(&true);
        if nothing || select.outputs.iter().zip(&deferred).any(|(output, deferred)| *deferred && has_query(output)) {
            return query;
        }
        let table = self.next_table();
        self.cte_number += 1;
        let number = self.cte_number;
        let Query { ctes: mut outer_ctes, body: Body::Select(mut select), mut order, limit, offset, columns } = query
        else {
            return query;
        };
        let mut inner: Vec<Scalar> = Vec::new();
        let mut places = Vec::with_capacity(deferred.len());
        let mut outer = Vec::with_capacity(deferred.len());
        for (mut output, deferred) in std::mem::take(&mut select.outputs).into_iter().zip(deferred) {
            places.push(inner.len());
            if deferred {
                take_leaves(&mut output, table, &mut inner);
                outer.push(output);
            } else {
                outer.push(column_of(table, inner.len(), &output));
                inner.push(output);
            }
        }
        if inner.is_empty() {
            inner.push(Scalar::null(crate::sql::types::Type::Int4));
        }
        for order in &mut order {
            if let OrderKey::Output(at) = &mut order.key {
                *at = places.get(*at).copied().unwrap_or(*at);
            }
        }
        select.outputs = inner;
        let inner_columns = select.outputs.iter().map(output_column).collect();
        let kept = Query { ctes: Vec::new(), body: Body::Select(select), order, limit, offset, columns: inner_columns };
        outer_ctes.push(Cte { number, recursive: false, materialized: Some(true), query: kept });
        let body = Select { outputs: outer, from: Some(From::Cte { table, number }), ..Select::default() };
        Query {
            ctes: outer_ctes,
            body: Body::Select(Box::new(body)),
            order: Vec::new(),
            limit: None,
            offset: None,
            columns,
        }
    }
}

/// Whether an expression calls a volatile function itself, not in a subquery.
pub(super) fn has_volatile(scalar: &Scalar) -> bool {
    walk::any(scalar, &|node| matches!(node, Node::Call { emit: emit @ Emit::Call(_), .. } if is_volatile(*emit)))
}

fn has_query(scalar: &Scalar) -> bool {
    walk::any(scalar, &|node| matches!(node, Node::Subquery(_) | Node::Exists(_) | Node::InQuery { .. }))
}

/// What the rows give an expression (columns, aggregates, windows) becomes a column of `table`, and is added to what
/// that computes.
fn take_leaves(scalar: &mut Scalar, table: usize, inner: &mut Vec<Scalar>) {
    if matches!(scalar.node, Node::Column { .. } | Node::Aggregate(_)) {
        let column = column_of(table, inner.len(), scalar);
        inner.push(std::mem::replace(scalar, column));
        return;
    }
    walk::parts_mut(scalar).into_iter().for_each(|part| take_leaves(part, table, inner));
}

fn column_of(table: usize, at: usize, scalar: &Scalar) -> Scalar {
    let not_null = scalar.never_null();
    let node = Node::Column { table, name: format!("c{}", at + 1), not_null, origin: None };
    Scalar { node, type_: scalar.type_, typmod: scalar.typmod }
}

fn output_column(scalar: &Scalar) -> OutputColumn {
    OutputColumn {
        name: "?column?".to_owned(),
        type_: scalar.type_,
        typmod: scalar.typmod,
        origin: None,
        not_null: scalar.never_null(),
    }
}
