//! Set operations: UNION, INTERSECT, EXCEPT.

use sqlparser::ast::{self, SetExpr};

use super::Binder;
use super::expression::start;
use crate::error::{Condition, Error};
use crate::sql::ir::{Body, Node, OutputColumn, Scalar, SetOperator};
use crate::sql::parse;
use crate::sql::types::Type;
use crate::work;

impl Binder<'_> {
    /// A chain of set operations, which is as deep on its left as it is long.
    pub(super) fn set_operations(&mut self, body: &SetExpr) -> Result<(Body, Vec<OutputColumn>), Error> {
        let mut chain = Vec::new();
        let mut first = body;
        while let SetExpr::SetOperation { op, set_quantifier, left, right } = first {
            chain.push((*op, *set_quantifier, &**left, &**right));
            first = left;
        }
        let mut bound = self.body_keeping_unknowns(first)?;
        for (op, quantifier, left, right) in chain.into_iter().rev() {
            work::tick()?;
            bound = self.set_operation(op, quantifier, (left, bound), right)?;
        }
        Ok(bound)
    }

    fn set_operation(
        &mut self,
        op: ast::SetOperator,
        quantifier: ast::SetQuantifier,
        (left, (mut left_body, left_columns)): (&SetExpr, (Body, Vec<OutputColumn>)),
        right: &SetExpr,
    ) -> Result<(Body, Vec<OutputColumn>), Error> {
        let (operator, word) = match op {
            ast::SetOperator::Union => (SetOperator::Union, "UNION"),
            ast::SetOperator::Intersect => (SetOperator::Intersect, "INTERSECT"),
            ast::SetOperator::Except => (SetOperator::Except, "EXCEPT"),
            ast::SetOperator::Minus => return Err(self.refused("MINUS", left)),
        };
        let all = match quantifier {
            ast::SetQuantifier::All => true,
            ast::SetQuantifier::None | ast::SetQuantifier::Distinct => false,
            _ => return Err(self.refused("BY NAME", left)),
        };
        if all && operator != SetOperator::Union {
            return Err(self.refused(&format!("{word} ALL"), left));
        }
        self.depth += 4;
        if self.depth > 400 {
            return Err(parse::too_deep());
        }
        let (mut right_body, right_columns) = self.body_keeping_unknowns(right)?;
        self.depth -= 4;
        if left_columns.len() != right_columns.len() {
            let message = format!("each {word} query must have the same number of columns");
            return Err(self.error_at(Error::new(Condition::SyntaxError, message), start(right)));
        }
        let mut columns = Vec::with_capacity(left_columns.len());
        for (left, right) in left_columns.iter().zip(&right_columns) {
            let side =
                |column: &OutputColumn| Scalar { node: Node::Default, type_: column.type_, typmod: column.typmod };
            let type_ = self.common_type(word, &[&side(left), &side(right)])?;
            let typmod = if left.type_ == right.type_ && left.typmod == right.typmod { left.typmod } else { -1 };
            let not_null = left.not_null && right.not_null;
            columns.push(OutputColumn { name: left.name.clone(), type_, typmod, origin: None, not_null });
        }
        let types: Vec<Type> = columns.iter().map(|column| column.type_).collect();
        self.coerce_body(&mut left_body, &types)?;
        self.coerce_body(&mut right_body, &types)?;
        let body = Body::Set { operator, all, left: Box::new(left_body), right: Box::new(right_body) };
        Ok((body, columns))
    }

    /// The sides of a set operation: their unknown literals take the other side's type.
    fn body_keeping_unknowns(&mut self, body: &SetExpr) -> Result<(Body, Vec<OutputColumn>), Error> {
        let keep = std::mem::replace(&mut self.keep_unknowns, true);
        let bound = self.body(body);
        self.keep_unknowns = keep;
        bound
    }
}
