//! Long lists of plain values: their columns' types, their values read, and the query that yields them.
//!
//! Follows the rules that single elements follow (`expression.rs`, `coerce.rs`). Where an element would need more than
//! to be read as the type wanted, binding fails, and the planner binds the whole tree instead.

use std::rc::Rc;

use sqlparser::ast::{self, Expr};

use super::Binder;
use crate::error::Error;
use crate::sql::cache::Form;
use crate::sql::functions::casts;
use crate::sql::ir::{Body, From, Node, OutputColumn, Query, Scalar, Select};
use crate::sql::list::{Cell, List};
use crate::sql::parse::{self, Element, MARK, PlainList};
use crate::sql::types::{self, Type, Value, array};
use crate::sql::{emit, literals};
use crate::work;

/// For the planner alone: it binds the whole tree then.
fn not_plain() -> Error {
    Error::internal("a list of plain values needs more than to be read")
}

impl Binder<'_> {
    /// The list that an expression stands for.
    pub(super) fn list_at(&self, expression: &Expr) -> Option<Rc<PlainList>> {
        let Expr::Value(ast::ValueWithSpan { value: ast::Value::Placeholder(name), span }) = expression else {
            return None;
        };
        if name != MARK {
            return None;
        }
        self.literals.as_ref()?.list(parse::byte_of(span.start)?)
    }

    /// What the elements of a column are, one of each kind, in the order in which they first come.
    fn kinds(&self, list: &PlainList, column: usize) -> Result<Vec<Scalar>, Error> {
        let mut kinds: Vec<Scalar> = Vec::new();
        for element in list.elements.iter().skip(column).step_by(list.width.max(1)) {
            work::tick()?;
            let type_ = self.type_of_element(*element);
            if !kinds.iter().any(|kind| kind.type_ == type_) {
                kinds.push(Scalar::new(Node::Default, type_));
            }
        }
        Ok(kinds)
    }

    fn type_of_element(&self, element: Element) -> Type {
        match element {
            Element::Truth(_) => Type::Bool,
            Element::Null => Type::Unknown,
            Element::Parameter(token) => {
                let number = parameter_number(token.text(&self.text));
                number.and_then(|number| self.parameters.get(number).copied().flatten()).unwrap_or(Type::Unknown)
            }
            Element::Literal(token, negated) => {
                let digits = token.text(&self.text);
                match Form::of(token, &self.text) {
                    Some(Form::Int8) if negated && digits == "2147483648" => Type::Int4,
                    Some(Form::Numeric) if negated && digits == "9223372036854775808" => Type::Int8,
                    form => form.map_or(Type::Unknown, Form::type_),
                }
            }
        }
    }

    /// The type that a column's elements and what else is compared with them share.
    pub(super) fn type_of_list(
        &self,
        context: &str,
        list: &PlainList,
        column: usize,
        beside: Option<&Scalar>,
    ) -> Result<Type, Error> {
        let kinds = self.kinds(list, column)?;
        let all: Vec<&Scalar> = beside.into_iter().chain(&kinds).collect();
        self.common_type(context, &all)
    }

    /// The list with its elements read as the types of their columns.
    pub(super) fn read_list(&mut self, list: &PlainList, columns: Vec<(Type, i32)>) -> Result<List, Error> {
        let mut cells = Vec::with_capacity(list.elements.len());
        for (element, (type_, typmod)) in list.elements.iter().zip(columns.iter().cycle()) {
            work::tick()?;
            cells.push(self.cell(*element, *type_, *typmod)?);
        }
        Ok(List::new(cells, columns))
    }

    fn cell(&mut self, element: Element, to: Type, typmod: i32) -> Result<Cell, Error> {
        let from = self.type_of_element(element);
        let value = match element {
            Element::Null => Value::Null,
            Element::Truth(truth) if to == Type::Bool => Value::Int(i64::from(truth)),
            Element::Truth(_) => return Err(not_plain()),
            Element::Parameter(token) => {
                let bound = self.parameter(token.text(&self.text.clone()), Some(token.start))?;
                let bound = self.coerce(bound, to)?;
                return match bound.node {
                    Node::Parameter(number) => Ok(Cell::Parameter(number)),
                    _ => Err(not_plain()),
                };
            }
            Element::Literal(token, negated) => {
                let reads = from == to || from == Type::Unknown || super::coerce::reads_alike(from, to);
                if !reads || casts::is_reg(to) {
                    return Err(not_plain());
                }
                literals::read(token, negated, to, &self.text, self.environment.text_context)?
            }
        };
        let plain = typmod < 0 || value.is_null();
        Ok(Cell::Value(if plain { value } else { types::apply_typmod(value, to, typmod, false)? }))
    }

    /// The query that yields a list's rows.
    pub(super) fn list_query(&mut self, list: List, names: impl Fn(usize) -> String) -> Query {
        let types: Vec<(Type, i32)> = list.columns().to_vec();
        let width = types.len();
        let table = self.next_table();
        let mut outputs = Vec::with_capacity(width);
        let mut columns = Vec::with_capacity(width);
        for (at, (type_, typmod)) in types.into_iter().enumerate() {
            let not_null = list.never_null(at);
            let node = Node::Column { table, name: format!("c{}", at + 1), not_null, origin: None };
            outputs.push(Scalar { node, type_, typmod });
            columns.push(OutputColumn { name: names(at), type_, typmod, origin: None, not_null });
        }
        let storage = emit::list_table(width);
        if !self.virtual_tables.contains(&storage) {
            self.virtual_tables.push(storage);
        }
        self.lists.push(Rc::new(list));
        let from = From::List { table, list: self.lists.len() - 1, width };
        let select = Select { outputs, from: Some(from), ..Select::default() };
        Query {
            ctes: Vec::new(),
            body: Body::Select(Box::new(select)),
            order: Vec::new(),
            limit: None,
            offset: None,
            columns,
        }
    }

    /// VALUES of one long list.
    pub(super) fn list_values(&mut self, list: &PlainList) -> Result<(Body, Vec<OutputColumn>), Error> {
        let mut types = Vec::with_capacity(list.width);
        for column in 0..list.width {
            types.push((self.type_of_list("VALUES", list, column, None)?, -1));
        }
        let list = self.read_list(list, types)?;
        let query = self.list_query(list, |at| format!("column{}", at + 1));
        Ok((query.body, query.columns))
    }

    /// `argument IN (list)`.
    pub(super) fn in_long_list(&mut self, argument: Scalar, list: &PlainList, negated: bool) -> Result<Scalar, Error> {
        let type_ = self.type_of_list("IN", list, 0, Some(&argument))?;
        let argument = self.coerce(argument, type_)?;
        let list = self.read_list(list, vec![(type_, -1)])?;
        let query = self.list_query(list, |_| "column1".to_owned());
        Ok(Scalar::new(Node::InQuery { arguments: vec![argument], query: Box::new(query), negated }, Type::Bool))
    }

    /// `ARRAY[list]`: one value, made while planning.
    pub(super) fn array_of_list(&mut self, list: &PlainList) -> Result<Scalar, Error> {
        let type_ = self.type_of_list("ARRAY", list, 0, None)?;
        let array = type_.array().ok_or_else(not_plain)?;
        let list = self.read_list(list, vec![(type_, -1)])?;
        let mut texts = Vec::with_capacity(list.rows());
        for cell in list.cells() {
            work::tick()?;
            texts.push(match cell {
                Cell::Value(Value::Null) => None,
                Cell::Value(value) => Some(array::element_text(type_, value.as_datum(), self.environment.text_context)),
                Cell::Parameter(_) => return Err(not_plain()),
            });
        }
        let text = array::from_elements(texts.iter().map(Option::as_deref));
        let list = List::new(vec![Cell::Value(Value::Text(text))], vec![(array, -1)]);
        let query = self.list_query(list, |_| "array".to_owned());
        Ok(Scalar::new(Node::Subquery(Box::new(query)), array))
    }
}

fn parameter_number(name: &str) -> Option<usize> {
    name.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)
}
