//! From syntax trees to typed IR: names found, types resolved, coercions put in, then emitted.
//!
//! Follows PostgreSQL 15, chapters 7 ("Queries") and 10 ("Type Conversion"). What it has no meaning for is refused
//! by name (0A000): a field of a syntax tree is either used or looked at to be refused. Pure.

use sqlparser::ast;

use super::cache::{Form, Literal};
use super::catalog::{Catalog, Relation};
use super::emit::Lifted;
use super::lex;
use super::plan::{Column, Query, Tag};
use super::types::{TextContext, Type, Value};
use crate::error::Error;

/// What binding reads besides the statement.
#[derive(Clone, Copy)]
pub struct Environment<'a> {
    /// Tables.
    pub catalog: &'a dyn Catalog,
    /// How constants that are read while planning are written.
    pub text_context: &'a TextContext,
}

/// The literals of a statement's text, and which of them the plan rests on.
#[derive(Debug)]
pub struct Literals {
    items: Vec<Literal>,
    fixed: Vec<bool>,
}

impl Literals {
    /// The literals that the statement's shape found, in order.
    pub fn new(items: &[Literal]) -> Self {
        Self { items: items.to_vec(), fixed: vec![false; items.len()] }
    }

    /// The number of the literal whose token starts at that byte.
    pub fn at(&self, byte: usize) -> Option<usize> {
        self.items.binary_search_by_key(&byte, |literal| literal.token.start).ok()
    }

    /// Its form.
    pub fn form(&self, index: usize) -> Option<Form> {
        self.items.get(index).map(|literal| literal.form)
    }

    /// Literals that the plan rests on, with their texts: all that are not bound.
    pub fn fixed(&self, text: &str, lifted: &[Lifted]) -> Vec<(usize, String)> {
        let bound = |index: usize| lifted.iter().any(|lifted| lifted.index == index);
        (0..self.items.len())
            .filter(|index| self.fixed[*index] || !bound(*index))
            .map(|index| (index, self.items[index].token.text(text).to_owned()))
            .collect()
    }

    /// The plan rests on this literal's text.
    pub fn fix(&mut self, index: usize) {
        if let Some(fixed) = self.fixed.get_mut(index) {
            *fixed = true;
        }
    }
}

/// A bound statement.
#[derive(Debug)]
pub struct Bound {
    /// The command tag.
    pub tag: Tag,
    /// Columns of the result.
    pub columns: Vec<Column>,
    /// Types of the client's parameters.
    pub parameters: Vec<Type>,
    /// What `Bind::Literal` numbers.
    pub lifted: Vec<Lifted>,
    /// The SQL; its catalog version is the caller's to set.
    pub query: Query,
}

/// Binds SELECT, VALUES, TABLE, WITH, INSERT, UPDATE and DELETE.
pub fn statement(
    environment: &Environment<'_>,
    text: &str,
    statement: &ast::Statement,
    declared: &[u32],
    literals: &mut Literals,
) -> Result<Bound, Error> {
    let _ = (environment, text, statement, declared, literals, lex::position(text, 0));
    Err(Error::unsupported("this statement"))
}

/// Binds a query alone: COPY's.
pub fn query(
    environment: &Environment<'_>,
    text: &str,
    query: &ast::Query,
    declared: &[u32],
    literals: &mut Literals,
) -> Result<Bound, Error> {
    let _ = (environment, text, query, declared, literals);
    Err(Error::unsupported("this query"))
}

/// The INSERT of one row whose named columns are `Bind::Parameter(0..n)`, already of the columns' types.
pub fn copy_insert(environment: &Environment<'_>, relation: &Relation, columns: &[usize]) -> Result<Bound, Error> {
    let _ = (environment, relation, columns);
    Err(Error::unsupported("COPY FROM"))
}

/// The SELECT of a table's named columns.
pub fn copy_select(environment: &Environment<'_>, relation: &Relation, columns: &[usize]) -> Result<Bound, Error> {
    let _ = (environment, relation, columns);
    Err(Error::unsupported("COPY TO"))
}

/// An expression over a relation's columns as SQLite SQL with bare column names and no binds; with its type.
/// `target` coerces it by assignment.
pub fn expression_sql(
    environment: &Environment<'_>,
    relation: Option<&Relation>,
    text: &str,
    target: Option<(Type, i32)>,
) -> Result<(String, Type), Error> {
    let _ = (environment, relation, text, target, Value::Null);
    Err(Error::unsupported("this expression"))
}

/// The columns that a query's text yields: a view's, CREATE TABLE AS's.
pub fn query_columns(environment: &Environment<'_>, text: &str) -> Result<Vec<Column>, Error> {
    let _ = (environment, text);
    Err(Error::unsupported("this query"))
}
