//! ORDER BY, and the numbers of outputs that it shares with GROUP BY.

use sqlparser::ast::{self, Expr};

use super::Binder;
use super::expression::start;
use crate::error::{Condition, Error};
use crate::sql::ir::{Order, OrderKey, OutputColumn, Scalar};
use crate::sql::parse;

impl Binder<'_> {
    /// The output that an integer of ORDER BY or GROUP BY means.
    pub(super) fn position(&mut self, key: &Expr, outputs: usize, clause: &str) -> Result<Option<usize>, Error> {
        let key = unnested(key);
        if let Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } = key
            && let Expr::Value(ast::ValueWithSpan { value: ast::Value::Number(digits, _), .. }) = unnested(expr)
            && digits.parse::<i32>().is_ok()
        {
            let message = format!("{clause} position -{digits} is not in select list");
            return Err(self.error_at(Error::new(Condition::InvalidColumnReference, message), start(key)));
        }
        let Expr::Value(ast::ValueWithSpan { value, span }) = key else {
            return Ok(None);
        };
        let byte = parse::byte_of(span.start);
        let digits = match value {
            ast::Value::Number(digits, _) => digits,
            ast::Value::Placeholder(_) => return Ok(None),
            _ => {
                let message = format!("non-integer constant in {clause}");
                return Err(self.error_at(Error::new(Condition::SyntaxError, message), byte));
            }
        };
        if let Some(index) = byte.and_then(|byte| self.literals.as_ref().and_then(|literals| literals.at(byte))) {
            self.fix(index);
        }
        match digits.parse::<usize>() {
            Ok(at) if (1..=outputs).contains(&at) => Ok(Some(at - 1)),
            Ok(at) => {
                let message = format!("{clause} position {at} is not in select list");
                Err(self.error_at(Error::new(Condition::InvalidColumnReference, message), byte))
            }
            Err(_) => {
                let message = format!("non-integer constant in {clause}");
                Err(self.error_at(Error::new(Condition::SyntaxError, message), byte))
            }
        }
    }

    pub(super) fn order_by(
        &mut self,
        keys: &[ast::OrderByExpr],
        outputs: &mut [Scalar],
        columns: &mut [OutputColumn],
        distinct: bool,
    ) -> Result<Vec<Order>, Error> {
        let mut order = Vec::with_capacity(keys.len());
        for key in keys {
            let (descending, nulls_first) = self.direction(key)?;
            let output = match self.position(&key.expr, outputs.len(), "ORDER BY")? {
                Some(at) => Some(at),
                None => self.output_named(&key.expr, columns, |one, other| {
                    matches!((outputs.get(one), outputs.get(other)), (Some(one), Some(other)) if self.is_same(one, other))
                })?,
            };
            let key = match output {
                Some(index) => OrderKey::Output(index),
                None => {
                    let bound = self.expression(&key.expr)?;
                    let scalar = self.known(bound)?;
                    match outputs.iter().position(|output| *output == scalar) {
                        Some(index) => OrderKey::Output(index),
                        None if distinct => {
                            let message = "for SELECT DISTINCT, ORDER BY expressions must appear in select list";
                            let error = Error::new(Condition::InvalidColumnReference, message);
                            return Err(self.error_at(error, start(&key.expr)));
                        }
                        None => OrderKey::Expression(scalar),
                    }
                }
            };
            order.push(Order { key, descending, nulls_first });
        }
        Ok(order)
    }

    /// The output that a bare name of ORDER BY means. Several may go by it where they are the same.
    pub(super) fn output_named(
        &self,
        key: &Expr,
        columns: &[OutputColumn],
        same: impl Fn(usize, usize) -> bool,
    ) -> Result<Option<usize>, Error> {
        let Expr::Identifier(name) = unnested(key) else { return Ok(None) };
        let named = columns.iter().enumerate().filter(|(_, column)| column.name == name.value);
        let mut found = named.map(|(index, _)| index);
        let first = found.next();
        if let Some(first) = first
            && found.any(|other| !same(first, other))
        {
            let message = format!("ORDER BY \"{}\" is ambiguous", name.value);
            return Err(self.error_at(Error::new(Condition::AmbiguousColumn, message), start(key)));
        }
        Ok(first)
    }

    /// ORDER BY of VALUES and set operations: outputs by name or number only.
    pub(super) fn order_of_outputs(
        &mut self,
        keys: &[ast::OrderByExpr],
        columns: &[OutputColumn],
    ) -> Result<Vec<Order>, Error> {
        let mut order = Vec::with_capacity(keys.len());
        for key in keys {
            let (descending, nulls_first) = self.direction(key)?;
            let output = match self.position(&key.expr, columns.len(), "ORDER BY")? {
                Some(at) => Some(at),
                None => self.output_named(&key.expr, columns, |_, _| false)?,
            };
            let Some(index) = output else {
                if let Expr::Identifier(name) = unnested(&key.expr) {
                    let message = format!("column \"{}\" does not exist", name.value);
                    return Err(self.error_at(Error::new(Condition::UndefinedColumn, message), start(&key.expr)));
                }
                let error =
                    Error::new(Condition::FeatureNotSupported, "invalid UNION/INTERSECT/EXCEPT ORDER BY clause")
                        .detail("Only result column names can be used, not expressions or functions.")
                        .hint("Add the expression/function to every SELECT, or move the UNION into a FROM clause.");
                return Err(self.error_at(error, start(&key.expr)));
            };
            order.push(Order { key: OrderKey::Output(index), descending, nulls_first });
        }
        Ok(order)
    }
}

/// Parentheses change nothing: `(1)` is the first output and `(a)` the one of that name.
fn unnested(key: &Expr) -> &Expr {
    match key {
        Expr::Nested(inner) => unnested(inner),
        key => key,
    }
}
