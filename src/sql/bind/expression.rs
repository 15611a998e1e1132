//! Expressions: from syntax to typed form.

use sqlparser::ast::{self, BinaryOperator, Expr, Spanned, UnaryOperator};

use super::Binder;
use super::scope::Found;
use crate::error::{Condition, Error};
use crate::sql::cache::Form;
use crate::sql::functions::{self, Emit};
use crate::sql::ir::{Node, Scalar};
use crate::sql::parse;
use crate::sql::types::interval::{Interval, range_of};
use crate::sql::types::{self, Type, Value};
use crate::work;

/// Where a syntax tree starts, in bytes.
pub(super) fn start(node: &impl Spanned) -> Option<usize> {
    parse::byte_of(node.span().start)
}

/// Operators of a chain at the most: as deep as SQLite follows an expression (SQLITE_MAX_EXPR_DEPTH).
const OPERATIONS_MAX: usize = 1000;

impl Binder<'_> {
    /// An expression of any type; unknown literals stay unknown.
    pub(super) fn expression(&mut self, expression: &Expr) -> Result<Scalar, Error> {
        self.depth += 1;
        if self.depth > 400 {
            return Err(parse::too_deep());
        }
        work::tick()?;
        let bound = self.expression_inner(expression);
        self.depth -= 1;
        bound
    }

    fn expression_inner(&mut self, expression: &Expr) -> Result<Scalar, Error> {
        match expression {
            Expr::Value(value) => self.value(value),
            Expr::Identifier(name) => self.bare_name(name),
            Expr::CompoundIdentifier(names) => self.qualified_name(names),
            Expr::Nested(inner) => self.expression(inner),
            Expr::BinaryOp { left, op, right } => self.binary(left, op, right),
            Expr::UnaryOp { op, expr } => self.unary(*op, expr),
            Expr::IsNull(inner) => self.null_test(inner, false),
            Expr::IsNotNull(inner) => self.null_test(inner, true),
            Expr::IsTrue(inner) => self.truth_test(inner, "IS TRUE", true, false),
            Expr::IsNotTrue(inner) => self.truth_test(inner, "IS NOT TRUE", true, true),
            Expr::IsFalse(inner) => self.truth_test(inner, "IS FALSE", false, false),
            Expr::IsNotFalse(inner) => self.truth_test(inner, "IS NOT FALSE", false, true),
            Expr::IsUnknown(inner) => self.unknown_test(inner, false),
            Expr::IsNotUnknown(inner) => self.unknown_test(inner, true),
            Expr::IsDistinctFrom(left, right) => self.distinct(left, right, false),
            Expr::IsNotDistinctFrom(left, right) => self.distinct(left, right, true),
            Expr::InList { expr, list, negated } => self.in_list(expr, list, *negated),
            Expr::InSubquery { expr, subquery, negated } => self.in_query(expr, subquery, "=", *negated),
            Expr::Between { expr, negated, low, high } => self.between(expr, low, high, *negated),
            Expr::Like { negated, any: false, expr, pattern, escape_char } => {
                self.like(if *negated { "!~~" } else { "~~" }, expr, pattern, escape_char.as_deref())
            }
            Expr::ILike { negated, any: false, expr, pattern, escape_char } => {
                self.like(if *negated { "!~~*" } else { "~~*" }, expr, pattern, escape_char.as_deref())
            }
            Expr::Cast { kind: ast::CastKind::Cast | ast::CastKind::DoubleColon, expr, data_type, format: None } => {
                let (type_, typmod) = self.type_of(data_type)?;
                if type_ == Type::Interval
                    && typmod >= 0
                    && let Some(literal) = self.interval_literal(expr, typmod)?
                {
                    return Ok(literal);
                }
                let inner = self.expression(expr)?;
                self.cast(inner, type_, typmod, start(&**expr))
            }
            Expr::TypedString(typed) => {
                let (type_, typmod) = self.type_of(&typed.data_type)?;
                let inner = self.value(&typed.value)?;
                self.cast(inner, type_, typmod, parse::byte_of(typed.value.span.start))
            }
            Expr::Interval(interval) => self.interval(interval),
            Expr::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref())
            }
            Expr::Exists { subquery, negated } => {
                let query = self.subquery(subquery)?;
                let exists = Scalar::new(Node::Exists(Box::new(query)), Type::Bool);
                Ok(if *negated { Scalar::new(Node::Not(Box::new(exists)), Type::Bool) } else { exists })
            }
            Expr::Subquery(query) => self.scalar_subquery(query),
            Expr::Function(function) => self.function(function),
            Expr::Collate { expr, collation } => self.collate(expr, collation),
            Expr::AnyOp { left, compare_op, right, .. } => self.any(left, compare_op, right, false),
            Expr::AllOp { left, compare_op, right } => self.any(left, compare_op, right, true),
            Expr::Tuple(items) => {
                let items = items.iter().map(|item| self.expression(item)).collect::<Result<_, _>>()?;
                Ok(Scalar::new(Node::Row(items), Type::Record))
            }
            Expr::AtTimeZone { timestamp, time_zone } => {
                let (zone, time) = (self.expression(time_zone)?, self.expression(timestamp)?);
                self.call("timezone", vec![zone, time], start(&**timestamp))
            }
            Expr::Extract { field, expr, .. } => {
                let field = Scalar::new(
                    Node::Constant(Value::Text(field.to_string().trim_matches(['\'', '"']).to_lowercase())),
                    Type::Text,
                );
                let value = self.expression(expr)?;
                self.call("extract", vec![field, value], start(&**expr))
            }
            Expr::Ceil { expr, .. } => self.call_of("ceil", &[expr]),
            Expr::Floor { expr, .. } => self.call_of("floor", &[expr]),
            Expr::Position { expr, r#in } => self.call_of("strpos", &[r#in, expr]),
            Expr::Substring { expr, substring_from, substring_for, .. } => {
                self.substring(expr, substring_from.as_deref(), substring_for.as_deref())
            }
            Expr::Trim { trim_where, trim_what, expr, trim_characters } => {
                self.trim(*trim_where, trim_what.as_deref(), expr, trim_characters.as_deref())
            }
            Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                let mut arguments: Vec<&Expr> = vec![expr, overlay_what, overlay_from];
                arguments.extend(overlay_for.as_deref());
                self.call_of("overlay", &arguments)
            }
            Expr::Array(array) => self.array(&array.elem),
            Expr::CompoundFieldAccess { root, access_chain } => match access_chain.as_slice() {
                [ast::AccessExpr::Subscript(ast::Subscript::Index { index })] => self.subscript(root, index),
                _ => Err(self.refused("array slices and field selection", expression)),
            },
            Expr::GroupingSets(_) => Err(self.refused("GROUPING SETS", expression)),
            Expr::Rollup(_) => Err(self.refused("ROLLUP", expression)),
            Expr::Cube(_) => Err(self.refused("CUBE", expression)),
            Expr::SimilarTo { negated, expr, pattern, escape_char } => {
                self.similar(if *negated { "!~" } else { "~" }, expr, pattern, escape_char.as_deref())
            }
            other => Err(self.refused("this expression", other)),
        }
    }

    pub(super) fn refused(&self, what: &str, node: &impl Spanned) -> Error {
        self.error_at(Error::unsupported(what), start(node))
    }

    fn value(&mut self, value: &ast::ValueWithSpan) -> Result<Scalar, Error> {
        let byte = parse::byte_of(value.span.start);
        match &value.value {
            ast::Value::Number(digits, _) => self.number(digits, byte),
            ast::Value::SingleQuotedString(text) => Ok(match self.lifted(byte) {
                Some((index, _)) => Scalar::new(Node::Literal { index, negated: false }, Type::Unknown),
                None => Scalar::new(Node::Untyped(text.clone()), Type::Unknown),
            }),
            ast::Value::Boolean(truth) => Ok(Scalar::boolean(*truth)),
            ast::Value::Null => Ok(Scalar::null(Type::Unknown)),
            ast::Value::Placeholder(name) => self.parameter(name, byte),
            _ => Err(self.error_at(Error::unsupported("this kind of constant"), byte)),
        }
    }

    fn lifted(&self, byte: Option<usize>) -> Option<(usize, Form)> {
        let literals = self.literals.as_ref()?;
        let index = literals.at(byte?)?;
        Some((index, literals.form(index)?))
    }

    fn number(&mut self, digits: &str, byte: Option<usize>) -> Result<Scalar, Error> {
        if let Some((index, form)) = self.lifted(byte) {
            return Ok(Scalar::new(Node::Literal { index, negated: false }, form.type_()));
        }
        let type_ = number_type(digits);
        let value = types::input(type_, -1, digits, self.environment.text_context);
        let value = value.map_err(|error| self.error_at(error, byte))?;
        Ok(Scalar::new(Node::Constant(value), type_))
    }

    pub(super) fn parameter(&mut self, name: &str, byte: Option<usize>) -> Result<Scalar, Error> {
        let undefined = || Error::new(Condition::UndefinedParameter, format!("there is no parameter {name}"));
        let number =
            name.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok()).filter(|number| *number > 0);
        let Some(number) = number.filter(|_| self.allow_parameters) else {
            return Err(self.error_at(undefined(), byte));
        };
        // As many as a Bind message can count.
        if number > usize::from(u16::MAX) {
            return Err(self.error_at(undefined(), byte));
        }
        if self.parameters.len() < number {
            self.parameters.resize(number, None);
        }
        let type_ = self.parameters[number - 1].unwrap_or(Type::Unknown);
        Ok(Scalar::new(Node::Parameter(number - 1), type_))
    }

    fn bare_name(&mut self, name: &ast::Ident) -> Result<Scalar, Error> {
        let byte = parse::byte_of(name.span.start);
        for scope in self.scopes.iter().rev() {
            match scope.column(&name.value).map_err(|error| self.error_at(error, byte))? {
                Found::One(scalar) => return Ok(self.noted(scalar, byte)),
                Found::None => {}
            }
        }
        if name.quote_style.is_none()
            && let Some(scalar) = self.named_value(&name.value)?
        {
            return Ok(scalar);
        }
        let message = format!("column \"{}\" does not exist", name.value);
        Err(self.error_at(Error::new(Condition::UndefinedColumn, message), byte))
    }

    fn qualified_name(&mut self, names: &[ast::Ident]) -> Result<Scalar, Error> {
        let byte = names.first().and_then(|name| parse::byte_of(name.span.start));
        let (schema, table, column) = match names {
            [table, column] => (None, table, column),
            [schema, table, column] => (Some(schema.value.as_str()), table, column),
            _ => {
                let message = "improper qualified name (too many dotted names)";
                return Err(self.error_at(Error::new(Condition::SyntaxError, message), byte));
            }
        };
        for scope in self.scopes.iter().rev() {
            let found = scope.source(schema, &table.value).map_err(|error| self.error_at(error, byte))?;
            if let Some(source) = found {
                return match source.column(&column.value) {
                    Some(column) => Ok(self.noted(column.scalar.clone(), byte)),
                    None => {
                        let message = format!("column {}.{} does not exist", table.value, column.value);
                        Err(self.error_at(Error::new(Condition::UndefinedColumn, message), byte))
                    }
                };
            }
        }
        let message = format!("missing FROM-clause entry for table \"{}\"", table.value);
        Err(self.error_at(Error::new(Condition::UndefinedTable, message), byte))
    }

    fn binary(&mut self, left: &Expr, op: &BinaryOperator, right: &Expr) -> Result<Scalar, Error> {
        match op {
            BinaryOperator::And => self.connective(left, right, "AND"),
            BinaryOperator::Or => self.connective(left, right, "OR"),
            BinaryOperator::Overlaps => self.overlaps(left, right),
            _ => self.operations(left, op, right),
        }
    }

    /// A chain of operators, which is as deep on its left as it is long.
    fn operations(&mut self, left: &Expr, op: &BinaryOperator, right: &Expr) -> Result<Scalar, Error> {
        let mut chain = vec![(left, op, right)];
        let mut first = left;
        while let Expr::BinaryOp { left, op, right } = first
            && !matches!(op, BinaryOperator::And | BinaryOperator::Or)
        {
            chain.push((left, op, right));
            first = left;
        }
        // SQLite follows no deeper.
        if chain.len() > OPERATIONS_MAX {
            return Err(parse::too_deep());
        }
        let mut bound = self.expression(first)?;
        for (left, op, right) in chain.into_iter().rev() {
            work::tick()?;
            let Some(name) = operator_name(op) else {
                return Err(self.error_at(Error::unsupported(format!("operator {op}")), start(left)));
            };
            let byte = self.operator_byte(left);
            if let (Some(one), Some(other)) = (explicit_collation(left), explicit_collation(right))
                && one != other
            {
                let message = format!("collation mismatch between explicit collations \"{one}\" and \"{other}\"");
                return Err(self.error_at(Error::new(Condition::CollationMismatch, message), start(right)));
            }
            let right = self.expression(right)?;
            bound = self.compare_or_operate(&name, bound, right, byte)?;
        }
        Ok(bound)
    }

    fn overlaps(&mut self, left: &Expr, right: &Expr) -> Result<Scalar, Error> {
        let byte = start(left);
        let mut arguments = Vec::with_capacity(4);
        for (side, period) in [("left", left), ("right", right)] {
            let Expr::Tuple(ends) = period else {
                return Err(self.error_at(Error::unsupported("OVERLAPS with this operand"), byte));
            };
            if ends.len() != 2 {
                let message = format!("wrong number of parameters on {side} side of OVERLAPS expression");
                return Err(self.error_at(Error::new(Condition::SyntaxError, message), byte));
            }
            for end in ends {
                arguments.push(self.expression(end)?);
            }
        }
        self.call("overlaps", arguments, byte)
    }

    /// An operator; over rows, the comparison of their members.
    pub(super) fn compare_or_operate(
        &mut self,
        name: &str,
        left: Scalar,
        right: Scalar,
        byte: Option<usize>,
    ) -> Result<Scalar, Error> {
        match (left.node, right.node) {
            (Node::Row(left), Node::Row(right)) if left.len() == right.len() && matches!(name, "=" | "<>") => {
                let mut terms = Vec::with_capacity(left.len());
                for (left, right) in left.into_iter().zip(right) {
                    terms.push(self.operator(name, Some(left), right, byte)?);
                }
                let node = if name == "=" { Node::And(terms) } else { Node::Or(terms) };
                Ok(Scalar::new(node, Type::Bool))
            }
            (Node::Row(left), Node::Row(right))
                if left.len() == right.len() && !left.is_empty() && matches!(name, "<" | "<=" | ">" | ">=") =>
            {
                self.compare_rows(name, left, right, byte)
            }
            (Node::Row(left), Node::Row(right)) if left.len() != right.len() => {
                Err(self
                    .error_at(Error::new(Condition::SyntaxError, "unequal number of entries in row expressions"), byte))
            }
            (Node::Row(_), _) | (_, Node::Row(_)) => {
                Err(self.error_at(Error::unsupported(format!("operator {name} over rows")), byte))
            }
            (left_node, right_node) => {
                let left = Scalar { node: left_node, type_: left.type_, typmod: left.typmod };
                let right = Scalar { node: right_node, type_: right.type_, typmod: right.typmod };
                self.operator(name, Some(left), right, byte)
            }
        }
    }

    /// Rows are compared member by member: the first that differ decide.
    fn compare_rows(
        &mut self,
        name: &str,
        left: Vec<Scalar>,
        right: Vec<Scalar>,
        byte: Option<usize>,
    ) -> Result<Scalar, Error> {
        let strict = &name[..1];
        let last = left.len().saturating_sub(1);
        let mut branches = Vec::with_capacity(last);
        let mut decides = Scalar::null(Type::Bool);
        for (at, (left, right)) in left.into_iter().zip(right).enumerate() {
            if at == last {
                decides = self.operator(name, Some(left), right, byte)?;
                break;
            }
            let equal = self.operator("=", Some(left.clone()), right.clone(), byte)?;
            let differs =
                Scalar::new(Node::IsTruth { argument: Box::new(equal), value: true, negated: true }, Type::Bool);
            branches.push((differs, self.operator(strict, Some(left), right, byte)?));
        }
        if branches.is_empty() {
            return Ok(decides);
        }
        Ok(Scalar::new(Node::Case { branches, otherwise: Some(Box::new(decides)) }, Type::Bool))
    }

    /// The byte of the operator that follows an operand.
    pub(super) fn operator_byte(&self, left: &Expr) -> Option<usize> {
        let end = parse::byte_of(left.span().end)?;
        let rest = self.text.get(end..)?;
        let blank = rest.len() - rest.trim_start_matches(|c: char| c.is_whitespace() || c == ')').len();
        Some(end + blank)
    }

    /// A chain of ANDs or ORs becomes one node.
    fn connective(&mut self, left: &Expr, right: &Expr, word: &'static str) -> Result<Scalar, Error> {
        let mut terms = Vec::new();
        for side in [left, right] {
            let bound = self.expression(side)?;
            let bound = self.truth(bound, word, start(side))?;
            match bound.node {
                Node::And(inner) if word == "AND" => terms.extend(inner),
                Node::Or(inner) if word == "OR" => terms.extend(inner),
                node => terms.push(Scalar::new(node, Type::Bool)),
            }
        }
        Ok(Scalar::new(if word == "AND" { Node::And(terms) } else { Node::Or(terms) }, Type::Bool))
    }

    /// The byte of the operator before an operand.
    fn prefix_byte(&self, name: &str, inner: &Expr) -> Option<usize> {
        let before = self.text.get(..start(inner)?)?;
        before.trim_end_matches(|c: char| c.is_whitespace() || c == '(').strip_suffix(name).map(str::len)
    }

    fn unary(&mut self, op: UnaryOperator, inner: &Expr) -> Result<Scalar, Error> {
        let byte = start(inner);
        match op {
            UnaryOperator::Not => {
                let bound = self.expression(inner)?;
                let bound = self.truth(bound, "NOT", byte)?;
                Ok(Scalar::new(Node::Not(Box::new(bound)), Type::Bool))
            }
            UnaryOperator::Minus => match self.negative_number(inner)? {
                Some(number) => Ok(number),
                None => self.prefix("-", inner),
            },
            UnaryOperator::Plus => self.prefix("+", inner),
            UnaryOperator::BitwiseNot => self.prefix("~", inner),
            UnaryOperator::PGAbs => self.prefix("@", inner),
            UnaryOperator::PGSquareRoot => self.prefix("|/", inner),
            UnaryOperator::PGCubeRoot => self.prefix("||/", inner),
            _ => Err(self.error_at(Error::unsupported(format!("operator {op}")), byte)),
        }
    }

    fn prefix(&mut self, name: &str, inner: &Expr) -> Result<Scalar, Error> {
        let bound = self.expression(inner)?;
        self.operator(name, None, bound, self.prefix_byte(name, inner))
    }

    /// A minus before digits belongs to them: -2147483648 is an integer. It does not before other constants, whose
    /// text is read by itself: `-'5'::int8` is a minus and a cast.
    fn negative_number(&mut self, inner: &Expr) -> Result<Option<Scalar>, Error> {
        let mut digits = inner;
        while let Expr::Nested(inside) = digits {
            digits = inside;
        }
        let Expr::Value(value @ ast::ValueWithSpan { value: ast::Value::Number(text, _), .. }) = digits else {
            return Ok(None);
        };
        let byte = parse::byte_of(value.span.start);
        let Some((index, form)) = self.lifted(byte) else {
            return self.number(&format!("-{text}"), byte).map(Some);
        };
        let mut type_ = form.type_();
        if type_ != Type::Int4 && text == "2147483648" {
            self.fix(index);
            type_ = Type::Int4;
        } else if type_ == Type::Numeric && text == "9223372036854775808" {
            self.fix(index);
            type_ = Type::Int8;
        }
        Ok(Some(Scalar::new(Node::Literal { index, negated: true }, type_)))
    }

    fn null_test(&mut self, inner: &Expr, negated: bool) -> Result<Scalar, Error> {
        let bound = self.expression(inner)?;
        if let Node::Row(members) = bound.node {
            // Each for itself: a row of which some members are NULL is neither.
            let mut terms = Vec::with_capacity(members.len());
            for member in members {
                let argument = Box::new(self.known(member)?);
                terms.push(Scalar::new(Node::IsNull { argument, negated }, Type::Bool));
            }
            return Ok(Scalar::new(Node::And(terms), Type::Bool));
        }
        let argument = self.known(bound)?;
        Ok(Scalar::new(Node::IsNull { argument: Box::new(argument), negated }, Type::Bool))
    }

    fn truth_test(&mut self, inner: &Expr, context: &str, value: bool, negated: bool) -> Result<Scalar, Error> {
        let bound = self.expression(inner)?;
        let argument = Box::new(self.truth(bound, context, start(inner))?);
        Ok(Scalar::new(Node::IsTruth { argument, value, negated }, Type::Bool))
    }

    fn unknown_test(&mut self, inner: &Expr, negated: bool) -> Result<Scalar, Error> {
        let bound = self.expression(inner)?;
        let argument = Box::new(self.truth(bound, "IS UNKNOWN", start(inner))?);
        Ok(Scalar::new(Node::IsNull { argument, negated }, Type::Bool))
    }

    fn distinct(&mut self, left: &Expr, right: &Expr, negated: bool) -> Result<Scalar, Error> {
        let byte = self.operator_byte(left);
        let (left, right) = (self.expression(left)?, self.expression(right)?);
        self.distinct_scalars(left, right, negated, byte)
    }

    /// Two rows are distinct where a pair of their members is.
    fn distinct_scalars(
        &mut self,
        left: Scalar,
        right: Scalar,
        negated: bool,
        byte: Option<usize>,
    ) -> Result<Scalar, Error> {
        if let (Node::Row(left), Node::Row(right)) = (&left.node, &right.node) {
            if left.len() != right.len() {
                let error = Error::new(Condition::SyntaxError, "unequal number of entries in row expressions");
                return Err(self.error_at(error, byte));
            }
            let pairs = left.clone().into_iter().zip(right.clone());
            let terms = pairs
                .map(|(left, right)| self.distinct_scalars(left, right, negated, byte))
                .collect::<Result<_, _>>()?;
            return Ok(Scalar::new(if negated { Node::And(terms) } else { Node::Or(terms) }, Type::Bool));
        }
        let (left, right) = self.comparable("=", left, right, byte)?;
        Ok(Scalar::new(Node::IsDistinct { left: Box::new(left), right: Box::new(right), negated }, Type::Bool))
    }

    /// Both sides as the types that the comparison takes them in.
    pub(super) fn comparable(
        &mut self,
        operator: &str,
        left: Scalar,
        right: Scalar,
        byte: Option<usize>,
    ) -> Result<(Scalar, Scalar), Error> {
        let compared = self.operator(operator, Some(left), right, byte)?;
        match compared.node {
            Node::Call { mut arguments, .. } if arguments.len() == 2 => {
                let right = arguments.pop().unwrap_or_else(|| Scalar::null(Type::Text));
                let left = arguments.pop().unwrap_or_else(|| Scalar::null(Type::Text));
                Ok((left, right))
            }
            _ => Err(self.error_at(Error::unsupported("this comparison"), byte)),
        }
    }

    fn between(&mut self, inner: &Expr, low: &Expr, high: &Expr, negated: bool) -> Result<Scalar, Error> {
        let byte = self.operator_byte(inner);
        let (value, low, high) = (self.expression(inner)?, self.expression(low)?, self.expression(high)?);
        let above = self.operator(">=", Some(value.clone()), low, byte)?;
        let below = self.operator("<=", Some(value), high, byte)?;
        let both = Scalar::new(Node::And(vec![above, below]), Type::Bool);
        Ok(if negated { Scalar::new(Node::Not(Box::new(both)), Type::Bool) } else { both })
    }

    fn like(&mut self, operator: &str, left: &Expr, pattern: &Expr, escape: Option<&Expr>) -> Result<Scalar, Error> {
        let byte = self.operator_byte(left);
        let (left, mut right) = (self.expression(left)?, self.expression(pattern)?);
        if let Some(escape) = escape {
            let escape = self.expression(escape)?;
            right = self.call("like_escape", vec![right, escape], byte)?;
        }
        self.operator(operator, Some(left), right, byte)
    }

    fn similar(&mut self, operator: &str, left: &Expr, pattern: &Expr, escape: Option<&Expr>) -> Result<Scalar, Error> {
        let byte = self.operator_byte(left);
        let left = self.expression(left)?;
        let mut arguments = vec![self.expression(pattern)?];
        if let Some(escape) = escape {
            arguments.push(self.expression(escape)?);
        }
        let right = self.call("similar_to_escape", arguments, byte)?;
        self.operator(operator, Some(left), right, byte)
    }

    fn interval(&mut self, interval: &ast::Interval) -> Result<Scalar, Error> {
        let byte = start(&*interval.value);
        let Some(first) = &interval.leading_field else {
            let inner = self.expression(&interval.value)?;
            return self.cast(inner, Type::Interval, -1, byte);
        };
        let name = |field: &ast::DateTimeField| field.to_string().to_lowercase();
        let last = interval.last_field.as_ref().map(name);
        let Some(range) = range_of(&name(first), last.as_deref()) else {
            return Err(self.refused("INTERVAL with this field", &*interval.value));
        };
        let seconds = name(first) == "second";
        let precision = if seconds { interval.leading_precision } else { interval.fractional_seconds_precision };
        let typmod = range << 16 | precision.map_or(0xffff, |precision| precision.min(6) as i32);
        match self.interval_literal(&interval.value, typmod)? {
            Some(literal) => Ok(literal),
            None => Err(self.refused("INTERVAL with a field", &*interval.value)),
        }
    }

    /// A quoted interval whose modifier says what a bare number in it counts; `None` for anything else.
    fn interval_literal(&mut self, value: &Expr, typmod: i32) -> Result<Option<Scalar>, Error> {
        let Expr::Value(ast::ValueWithSpan { value: ast::Value::SingleQuotedString(text), .. }) = value else {
            return Ok(None);
        };
        self.reads_settings = true;
        let style = self.environment.text_context.interval_style;
        let interval = Interval::parse_styled(text, style, typmod)
            .and_then(|interval| interval.apply_typmod(typmod).to_value())
            .map_err(|error| self.error_at(error, start(value)))?;
        Ok(Some(Scalar { node: Node::Constant(interval), type_: Type::Interval, typmod }))
    }

    fn case(
        &mut self,
        operand: Option<&Expr>,
        conditions: &[ast::CaseWhen],
        otherwise: Option<&Expr>,
    ) -> Result<Scalar, Error> {
        let mut branches = Vec::with_capacity(conditions.len());
        for when in conditions {
            let condition = match operand {
                Some(operand) => {
                    let (left, right) = (self.expression(operand)?, self.expression(&when.condition)?);
                    let left = self.known(left)?;
                    self.operator("=", Some(left), right, start(&when.condition))?
                }
                None => {
                    let condition = self.expression(&when.condition)?;
                    self.truth(condition, "CASE/WHEN", start(&when.condition))?
                }
            };
            branches.push((condition, self.expression(&when.result)?));
        }
        let otherwise = otherwise.map(|otherwise| self.expression(otherwise)).transpose()?;
        let type_ = {
            let results: Vec<&Scalar> = otherwise.iter().chain(branches.iter().map(|(_, result)| result)).collect();
            self.common_type("CASE", &results)?
        };
        let mut coerced = Vec::with_capacity(branches.len());
        for (condition, result) in branches {
            coerced.push((condition, self.coerce(result, type_)?));
        }
        let otherwise = otherwise.map(|otherwise| self.coerce(otherwise, type_).map(Box::new)).transpose()?;
        Ok(Scalar::new(Node::Case { branches: coerced, otherwise }, type_))
    }

    fn scalar_subquery(&mut self, query: &ast::Query) -> Result<Scalar, Error> {
        let byte = start(query);
        let query = self.subquery(query)?;
        let [column] = query.columns.as_slice() else {
            let error = Error::new(Condition::SyntaxError, "subquery must return only one column");
            return Err(self.error_at(error, byte));
        };
        let (type_, typmod) = (column.type_, column.typmod);
        let one_row = super::query::yields_one_row(&query);
        let query = if one_row { query } else { self.single_row(query) };
        Ok(Scalar { node: Node::Subquery(Box::new(query)), type_, typmod })
    }

    pub(super) fn array(&mut self, elements: &[Expr]) -> Result<Scalar, Error> {
        if let [only] = elements
            && let Some(list) = self.list_at(only)
        {
            return self.array_of_list(&list);
        }
        let items = elements.iter().map(|element| self.expression(element)).collect::<Result<Vec<_>, _>>()?;
        let type_ = {
            let all: Vec<&Scalar> = items.iter().collect();
            self.common_type("ARRAY", &all)?
        };
        let Some(array) = type_.array() else {
            let message = format!("could not find array type for data type {}", type_.name());
            return Err(Error::new(Condition::UndefinedObject, message));
        };
        let mut arguments = vec![Scalar::integer(i64::from(type_.oid()))];
        for item in items {
            arguments.push(self.coerce(item, type_)?);
        }
        Ok(Scalar::call(Emit::Call(functions::guards::ARRAY), arguments, array))
    }

    /// `array[index]`. Vectors count from 0, arrays from 1.
    fn subscript(&mut self, array: &Expr, index: &Expr) -> Result<Scalar, Error> {
        let bound = self.expression(array)?;
        let (element, first) = match bound.type_ {
            Type::Int2Vector => (Type::Int2, 0),
            Type::OidVector => (Type::Oid, 0),
            type_ => match type_.element() {
                Some(element) => (element, 1),
                None => {
                    let message =
                        format!("cannot subscript type {} because it does not support subscripting", type_.name());
                    return Err(self.error_at(Error::new(Condition::DatatypeMismatch, message), start(array)));
                }
            },
        };
        let at = self.expression(index)?;
        let at = self.coerce(at, Type::Int4)?;
        let arguments = vec![bound, Scalar::integer(i64::from(element.oid())), Scalar::integer(first), at];
        Ok(Scalar::call(Emit::Call(functions::guards::ARRAY_ELEMENT), arguments, element))
    }

    fn collate(&mut self, inner: &Expr, collation: &ast::ObjectName) -> Result<Scalar, Error> {
        let name = super::last_name(collation);
        if !matches!(name.as_str(), "C" | "POSIX" | "default" | "ucs_basic" | "C.UTF-8" | "C.utf8") {
            let message = format!("collation \"{name}\" for encoding \"UTF8\" does not exist");
            return Err(self.error_at(Error::new(Condition::UndefinedObject, message), start(inner)));
        }
        self.expression(inner)
    }

    fn substring(&mut self, inner: &Expr, from: Option<&Expr>, length: Option<&Expr>) -> Result<Scalar, Error> {
        let mut arguments = vec![self.expression(inner)?];
        match (from, length) {
            (Some(from), length) => {
                arguments.push(self.expression(from)?);
                if let Some(length) = length {
                    arguments.push(self.expression(length)?);
                }
            }
            (None, Some(length)) => {
                arguments.push(Scalar::new(Node::Constant(Value::Int(1)), Type::Int4));
                arguments.push(self.expression(length)?);
            }
            (None, None) => {}
        }
        self.call("substring", arguments, start(inner))
    }

    fn trim(
        &mut self,
        side: Option<ast::TrimWhereField>,
        what: Option<&Expr>,
        inner: &Expr,
        characters: Option<&[Expr]>,
    ) -> Result<Scalar, Error> {
        let name = match side {
            Some(ast::TrimWhereField::Leading) => "ltrim",
            Some(ast::TrimWhereField::Trailing) => "rtrim",
            _ => "btrim",
        };
        let mut arguments: Vec<&Expr> = vec![inner];
        arguments.extend(what);
        arguments.extend(characters.unwrap_or_default());
        self.call_of(name, &arguments)
    }

    pub(super) fn call_of(&mut self, name: &str, arguments: &[&Expr]) -> Result<Scalar, Error> {
        let byte = arguments.first().and_then(|argument| start(*argument));
        let bound = arguments.iter().map(|argument| self.expression(argument)).collect::<Result<Vec<_>, _>>()?;
        self.call(name, bound, byte)
    }

    /// An expression whose type counts: what nobody gave a type is text.
    pub(super) fn known(&mut self, scalar: Scalar) -> Result<Scalar, Error> {
        if scalar.type_ == Type::Unknown { self.coerce(scalar, Type::Text) } else { Ok(scalar) }
    }
}

fn number_type(digits: &str) -> Type {
    if digits.parse::<i32>().is_ok() {
        Type::Int4
    } else if digits.parse::<i64>().is_ok() {
        Type::Int8
    } else {
        Type::Numeric
    }
}

/// The operator's symbol; `None` for those of other dialects.
pub(super) fn operator_name(op: &BinaryOperator) -> Option<String> {
    let name = match op {
        BinaryOperator::Plus => "+",
        BinaryOperator::Minus => "-",
        BinaryOperator::Multiply => "*",
        BinaryOperator::Divide => "/",
        BinaryOperator::Modulo => "%",
        BinaryOperator::StringConcat => "||",
        BinaryOperator::Gt => ">",
        BinaryOperator::Lt => "<",
        BinaryOperator::GtEq => ">=",
        BinaryOperator::LtEq => "<=",
        BinaryOperator::Eq => "=",
        BinaryOperator::NotEq => "<>",
        BinaryOperator::BitwiseOr => "|",
        BinaryOperator::BitwiseAnd => "&",
        BinaryOperator::PGBitwiseXor => "#",
        BinaryOperator::PGBitwiseShiftLeft => "<<",
        BinaryOperator::PGBitwiseShiftRight => ">>",
        BinaryOperator::PGExp | BinaryOperator::BitwiseXor => "^",
        BinaryOperator::PGOverlap => "&&",
        BinaryOperator::PGRegexMatch => "~",
        BinaryOperator::PGRegexIMatch => "~*",
        BinaryOperator::PGRegexNotMatch => "!~",
        BinaryOperator::PGRegexNotIMatch => "!~*",
        BinaryOperator::PGLikeMatch => "~~",
        BinaryOperator::PGILikeMatch => "~~*",
        BinaryOperator::PGNotLikeMatch => "!~~",
        BinaryOperator::PGNotILikeMatch => "!~~*",
        BinaryOperator::PGStartsWith => "^@",
        BinaryOperator::Arrow => "->",
        BinaryOperator::LongArrow => "->>",
        BinaryOperator::HashArrow => "#>",
        BinaryOperator::HashLongArrow => "#>>",
        BinaryOperator::AtArrow => "@>",
        BinaryOperator::ArrowAt => "<@",
        BinaryOperator::PGCustomBinaryOperator(parts) => return parts.last().cloned(),
        BinaryOperator::Custom(name) => return Some(name.clone()),
        _ => return None,
    };
    Some(name.to_owned())
}

/// The collation that COLLATE gives an operand.
fn explicit_collation(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Nested(inner) => explicit_collation(inner),
        Expr::Collate { collation, .. } => Some(super::last_name(collation)),
        _ => None,
    }
}
