//! Comparisons with many values: IN, ANY, SOME and ALL over lists, arrays and subqueries.
//!
//! All of them follow one rule (chapters 9.24 and 9.25): true or false where one comparison decides, else NULL where
//! one of them is NULL, else what no comparison at all gives.

use sqlparser::ast::{self, BinaryOperator, Expr};

use super::Binder;
use super::expression::operator_name;
use crate::error::{Condition, Error};
use crate::sql::functions::{Emit, guards};
use crate::sql::ir::{Body, From, Node, OutputColumn, Query, Scalar, Select};
use crate::sql::types::Type;

impl Binder<'_> {
    pub(super) fn in_list(&mut self, left: &Expr, list: &[Expr], negated: bool) -> Result<Scalar, Error> {
        let byte = self.operator_byte(left);
        let argument = self.expression(left)?;
        if let [only] = list
            && let Some(list) = self.list_at(only)
        {
            return self.in_long_list(argument, &list, negated);
        }
        let items = list.iter().map(|item| self.expression(item)).collect::<Result<Vec<_>, _>>()?;
        if matches!(argument.node, Node::Row(_)) {
            return self.row_in_list(argument, items, negated, byte);
        }
        let common = {
            let all: Vec<&Scalar> = std::iter::once(&argument).chain(&items).collect();
            self.common_type("IN", &all)
        };
        let Ok(common) = common else {
            // No common type: each comparison by itself, which names the operator that is missing.
            let mut terms = Vec::new();
            for item in items {
                terms.push(self.operator("=", Some(argument.clone()), item, byte)?);
            }
            let any = Scalar::new(Node::Or(terms), Type::Bool);
            return Ok(if negated { Scalar::new(Node::Not(Box::new(any)), Type::Bool) } else { any });
        };
        let argument = Box::new(self.coerce(argument, common)?);
        let mut coerced = Vec::with_capacity(items.len());
        for item in items {
            coerced.push(self.coerce(item, common)?);
        }
        Ok(Scalar::new(Node::InList { argument, list: coerced, negated }, Type::Bool))
    }

    fn row_in_list(
        &mut self,
        row: Scalar,
        items: Vec<Scalar>,
        negated: bool,
        byte: Option<usize>,
    ) -> Result<Scalar, Error> {
        let mut terms = Vec::with_capacity(items.len());
        for item in items {
            terms.push(self.compare_or_operate("=", row.clone(), item, byte)?);
        }
        let any = Scalar::new(Node::Or(terms), Type::Bool);
        Ok(if negated { Scalar::new(Node::Not(Box::new(any)), Type::Bool) } else { any })
    }

    /// `row IN (query)`, by `=` alone.
    pub(super) fn in_query(
        &mut self,
        left: &Expr,
        query: &ast::Query,
        operator: &str,
        negated: bool,
    ) -> Result<Scalar, Error> {
        let byte = self.operator_byte(left);
        let bound = self.expression(left)?;
        let query = self.subquery(query)?;
        self.in_bound_query(bound, query, operator, negated, byte)
    }

    fn in_bound_query(
        &mut self,
        left: Scalar,
        mut query: Query,
        operator: &str,
        negated: bool,
        byte: Option<usize>,
    ) -> Result<Scalar, Error> {
        let arguments = match left.node {
            Node::Row(items) => items,
            node => vec![Scalar { node, type_: left.type_, typmod: left.typmod }],
        };
        if arguments.len() != query.columns.len() {
            let few = query.columns.len() < arguments.len();
            let message = if few { "subquery has too few columns" } else { "subquery has too many columns" };
            return Err(self.error_at(Error::new(Condition::SyntaxError, message), byte));
        }
        let mut coerced = Vec::with_capacity(arguments.len());
        let mut wanted = Vec::with_capacity(arguments.len());
        for (argument, column) in arguments.into_iter().zip(&query.columns) {
            let right = Scalar { node: Node::Default, type_: column.type_, typmod: column.typmod };
            let (left, right) = self.comparable(operator, argument, right, byte)?;
            coerced.push(left);
            wanted.push(right.type_);
        }
        self.coerce_query(&mut query, &wanted)?;
        Ok(Scalar::new(Node::InQuery { arguments: coerced, query: Box::new(query), negated }, Type::Bool))
    }

    /// `left op ANY (right)` and ALL; `right` is an array or a query.
    pub(super) fn any(&mut self, left: &Expr, op: &BinaryOperator, right: &Expr, all: bool) -> Result<Scalar, Error> {
        let name = operator_name(op).unwrap_or_default();
        let byte = self.operator_byte(left);
        let right = match right {
            Expr::Nested(inner) => inner,
            other => other,
        };
        // What IN and NOT IN are, SQLite has an index for.
        let is_in = matches!((name.as_str(), all), ("=", false) | ("<>" | "!=", true));
        if let (Expr::Array(array), true) = (right, is_in) {
            return self.in_list(left, &array.elem, all);
        }
        let needle = self.expression(left)?;
        let query = match right {
            Expr::Subquery(query) => self.subquery(query)?,
            other => {
                let array = self.expression(other)?;
                self.elements_query(&needle, array, byte)?
            }
        };
        if is_in {
            return self.in_bound_query(needle, query, "=", all, byte);
        }
        if matches!(needle.node, Node::Row(_)) {
            return Err(self.refused("ANY or ALL of rows with this operator", right));
        }
        self.quantified(needle, &name, query, all, byte)
    }

    /// The elements of an array as a query of one column. A null array gives one NULL, which makes every comparison
    /// with it NULL, as it has to be.
    fn elements_query(&mut self, needle: &Scalar, mut array: Scalar, byte: Option<usize>) -> Result<Query, Error> {
        if array.type_ == Type::Unknown {
            let wanted = needle.type_.array().unwrap_or(Type::TextArray);
            array = self.coerce(array, wanted)?;
        }
        let Some(type_) = array.type_.element() else {
            let message = "op ANY/ALL (array) requires array on right side";
            return Err(self.error_at(Error::new(Condition::WrongObjectType, message), byte));
        };
        let table = self.next_table();
        let node = Node::Column { table, name: "value".to_owned(), not_null: false, origin: None };
        let element = guards::json_element(Scalar { node, type_, typmod: -1 });
        let arguments = vec![array, Scalar::integer(i64::from(type_.oid())), Scalar::integer(1)];
        let json = Scalar::call(Emit::Call(guards::ARRAY_JSON), arguments, Type::Text);
        Ok(query_of(element, From::Elements { table, json }))
    }

    /// What comparisons with all rows of a query come to, by two aggregates: whether one decides, and whether one is
    /// NULL.
    fn quantified(
        &mut self,
        needle: Scalar,
        operator: &str,
        query: Query,
        all: bool,
        byte: Option<usize>,
    ) -> Result<Scalar, Error> {
        let [column] = query.columns.as_slice() else {
            let message = "subquery has too many columns";
            return Err(self.error_at(Error::new(Condition::SyntaxError, message), byte));
        };
        let derived = |table: usize, type_: Type, typmod: i32| {
            let node = Node::Column { table, name: "c1".to_owned(), not_null: false, origin: None };
            Scalar { node, type_, typmod }
        };
        let table = self.next_table();
        let right = derived(table, column.type_, column.typmod);
        let compared = self.operator(operator, Some(needle), right, byte)?;
        if compared.type_ != Type::Bool {
            let message = "op ANY/ALL (array) requires operator to yield boolean";
            return Err(self.error_at(Error::new(Condition::WrongObjectType, message), byte));
        }
        let compared = query_of(compared, From::Derived { table, query: Box::new(query) });
        let table = self.next_table();
        let result = || derived(table, Type::Bool, -1);
        let native = |name: &'static str, arguments: Vec<Scalar>, type_: Type| {
            Scalar::call(Emit::Native(name), arguments, type_)
        };
        // The least truth value decides ALL when it is false, the greatest ANY when it is true.
        let extreme = native(if all { "min" } else { "max" }, vec![result()], Type::Bool);
        let decides = Node::IsTruth { argument: Box::new(extreme), value: !all, negated: false };
        let counts = vec![native("count", Vec::new(), Type::Int8), native("count", vec![result()], Type::Int8)];
        let has_null = Scalar::call(Emit::Infix(">"), counts, Type::Bool);
        let branches =
            vec![(Scalar::new(decides, Type::Bool), Scalar::boolean(!all)), (has_null, Scalar::null(Type::Bool))];
        let otherwise = Some(Box::new(Scalar::boolean(all)));
        let verdict = Scalar::new(Node::Case { branches, otherwise }, Type::Bool);
        let query = query_of(verdict, From::Derived { table, query: Box::new(compared) });
        Ok(Scalar::new(Node::Subquery(Box::new(query)), Type::Bool))
    }
}

/// `SELECT output FROM from`.
fn query_of(output: Scalar, from: From) -> Query {
    let (type_, typmod) = (output.type_, output.typmod);
    let column = OutputColumn { name: "c1".to_owned(), type_, typmod, origin: None, not_null: false };
    let select = Select { outputs: vec![output], from: Some(from), ..Select::default() };
    Query {
        ctes: Vec::new(),
        body: Body::Select(Box::new(select)),
        order: Vec::new(),
        limit: None,
        offset: None,
        columns: vec![column],
    }
}
