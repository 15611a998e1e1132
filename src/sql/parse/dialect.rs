//! The parser's dialect: `sqlparser`'s PostgreSQL with PostgreSQL 15's precedence of operators.
//!
//! The table is the manual's, chapter 4.1.6, and the grammar's own (`gram.y`): a sign binds tighter than `^`, any
//! other operator, be it infix, prefix or spelled `OPERATOR(…)`, stands between `+` and LIKE, and comparisons do not
//! associate. Nothing else differs from what `sqlparser` does.

use std::any::TypeId;
use std::cell::RefCell;

use sqlparser::ast::{self, BinaryOperator, CastKind, DataType, Expr, UnaryOperator};
use sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

use crate::error::Error;
use crate::work;

const BASE: PostgreSqlDialect = PostgreSqlDialect {};

/// Between a subscript and COLLATE.
const SIGN_PRECEDENCE: u8 = 125;

/// See the head of this file. It is also where parsing hears that it is to stop.
#[derive(Debug, Default)]
pub struct Grammar {
    /// Why parsing stopped: from then on every step fails, whatever the parser would try next.
    stopped: RefCell<Option<Error>>,
}

impl Grammar {
    /// Why parsing stopped, if it was told to.
    pub fn take_stopped(&self) -> Option<Error> {
        self.stopped.borrow_mut().take()
    }

    fn hear(&self) -> Result<(), ParserError> {
        let mut stopped = self.stopped.borrow_mut();
        if stopped.is_none() {
            *stopped = work::tick().err();
        }
        if stopped.is_some() { Err(ParserError::ParserError("stopped".to_owned())) } else { Ok(()) }
    }

    /// The operands of a chain of ANDs or ORs whose first is read, as a balanced tree: the chain may be long.
    fn connected(&self, parser: &mut Parser<'_>, first: &Expr, keyword: Keyword) -> Result<Expr, ParserError> {
        let (op, precedence) = match keyword {
            Keyword::AND => (BinaryOperator::And, self.prec_value(Precedence::And)),
            _ => (BinaryOperator::Or, self.prec_value(Precedence::Or)),
        };
        let mut operands = vec![first.clone()];
        while matches!(&parser.peek_token_ref().token, Token::Word(word) if word.keyword == keyword) {
            parser.advance_token();
            operands.push(parser.parse_subexpr(precedence)?);
        }
        Ok(balanced(&op, operands))
    }
}

fn balanced(op: &BinaryOperator, mut operands: Vec<Expr>) -> Expr {
    let right = match operands.len() {
        0 => return Expr::Value(ast::Value::Null.into()),
        1 => return operands.swap_remove(0),
        count => operands.split_off(count / 2),
    };
    let (left, right) = (Box::new(balanced(op, operands)), Box::new(balanced(op, right)));
    Expr::BinaryOp { left, op: op.clone(), right }
}

macro_rules! as_postgresql {
    ($($name:ident)*) => {$(
        fn $name(&self) -> bool {
            BASE.$name()
        }
    )*};
}

impl Dialect for Grammar {
    fn dialect(&self) -> TypeId {
        BASE.dialect()
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        BASE.identifier_quote_style(identifier)
    }

    fn is_delimited_identifier_start(&self, character: char) -> bool {
        BASE.is_delimited_identifier_start(character)
    }

    fn is_identifier_start(&self, character: char) -> bool {
        BASE.is_identifier_start(character)
    }

    fn is_identifier_part(&self, character: char) -> bool {
        BASE.is_identifier_part(character)
    }

    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        BASE.is_reserved_for_identifier(keyword)
    }

    fn is_table_alias(&self, keyword: &Keyword, parser: &mut Parser<'_>) -> bool {
        BASE.is_table_alias(keyword, parser)
    }

    fn is_custom_operator_part(&self, character: char) -> bool {
        BASE.is_custom_operator_part(character)
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        BASE.prec_value(precedence)
    }

    fn get_next_precedence(&self, parser: &Parser<'_>) -> Option<Result<u8, ParserError>> {
        if let Err(stopped) = self.hear() {
            return Some(Err(stopped));
        }
        match &parser.peek_token_ref().token {
            Token::Tilde
            | Token::TildeAsterisk
            | Token::ExclamationMarkTilde
            | Token::ExclamationMarkTildeAsterisk
            | Token::DoubleTilde
            | Token::DoubleTildeAsterisk
            | Token::ExclamationMarkDoubleTilde
            | Token::ExclamationMarkDoubleTildeAsterisk => Some(Ok(self.prec_value(Precedence::PgOther))),
            Token::Word(word) if word.keyword == Keyword::OPERATOR => Some(Ok(self.prec_value(Precedence::PgOther))),
            token if is_postfix_null_test(token) => Some(Ok(self.prec_value(Precedence::Is))),
            _ => BASE.get_next_precedence(parser),
        }
    }

    fn parse_prefix(&self, parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        if let Err(stopped) = self.hear() {
            return Some(Err(stopped));
        }
        let (op, precedence) = match &parser.peek_token_ref().token {
            Token::Minus => (UnaryOperator::Minus, SIGN_PRECEDENCE),
            Token::Plus => (UnaryOperator::Plus, SIGN_PRECEDENCE),
            Token::Tilde => (UnaryOperator::BitwiseNot, self.prec_value(Precedence::PgOther)),
            Token::AtSign => (UnaryOperator::PGAbs, self.prec_value(Precedence::PgOther)),
            Token::PGSquareRoot => (UnaryOperator::PGSquareRoot, self.prec_value(Precedence::PgOther)),
            Token::PGCubeRoot => (UnaryOperator::PGCubeRoot, self.prec_value(Precedence::PgOther)),
            Token::Word(word) if word.keyword == Keyword::INTERVAL => return interval_with_precision(parser),
            _ => return None,
        };
        parser.advance_token();
        Some(parser.parse_subexpr(precedence).map(|operand| Expr::UnaryOp { op, expr: Box::new(operand) }))
    }

    fn parse_infix(&self, parser: &mut Parser<'_>, left: &Expr, _precedence: u8) -> Option<Result<Expr, ParserError>> {
        let next = parser.peek_token_ref();
        // `a < b < c` is an error, not a comparison of a truth value.
        if level_of_token(&next.token).is_some_and(|level| level_of(left) == Some(level)) {
            return Some(parser.expected_ref("an expression's end", next));
        }
        if is_postfix_null_test(&next.token) {
            parser.advance_token();
            return Some(Ok(Expr::IsNull(Box::new(left.clone()))));
        }
        if let Token::Word(word) = &next.token
            && matches!(word.keyword, Keyword::AND | Keyword::OR)
        {
            let keyword = word.keyword;
            return Some(self.connected(parser, left, keyword));
        }
        None
    }

    as_postgresql! {
        supports_unicode_string_literal supports_filter_during_aggregation supports_group_by_expr
        supports_alter_user_as_alter_role allow_extract_custom allow_extract_single_quotes
        supports_create_index_with_clause supports_explain_with_utility_options supports_listen_notify
        supports_exclude_constraint supports_bitwise_shift_operators
        supports_comment_on supports_load_extension supports_named_fn_args_with_colon_operator
        supports_named_fn_args_with_expr_name supports_empty_projections supports_nested_comments
        supports_string_escape_constant supports_numeric_literal_underscores supports_array_typedef_with_brackets
        supports_geometric_types supports_order_by_using_operator supports_set_names
        supports_alter_column_type_using supports_left_associative_joins_without_parens supports_notnull_operator
        supports_interval_options supports_insert_table_alias supports_create_table_like_parenthesized
        supports_select_wildcard_with_alias supports_comma_separated_trim supports_xml_expressions
        supports_aliased_function_args supports_comment_optimizer_hint
    }
}

/// `INTERVAL (2) '1.234 s'`, which `sqlparser` takes for an interval in parentheses.
fn interval_with_precision(parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
    let token = |at: usize| parser.peek_nth_token_ref(at).token.clone();
    let (Token::LParen, Token::Number(digits, _), Token::RParen) = (token(1), token(2), token(3)) else { return None };
    let Token::SingleQuotedString(_) = token(4) else { return None };
    for _ in 0..4 {
        parser.advance_token();
    }
    let data_type = DataType::Interval { fields: None, precision: digits.parse().ok() };
    Some(parser.parse_value().map(|value| {
        let expr = Box::new(Expr::Value(value));
        Expr::Cast { kind: CastKind::Cast, expr, data_type, format: None }
    }))
}

/// Operators that do not associate. What ends with a word or a bracket, as IS NULL and IN do, can be followed by any.
#[derive(PartialEq)]
enum Level {
    Comparison,
    Membership,
    Test,
}

fn level_of_token(token: &Token) -> Option<Level> {
    match token {
        Token::Eq | Token::Neq | Token::Lt | Token::LtEq | Token::Gt | Token::GtEq => Some(Level::Comparison),
        Token::Word(word) => match word.keyword {
            Keyword::IS | Keyword::NOTNULL => Some(Level::Test),
            Keyword::NOT | Keyword::IN | Keyword::BETWEEN | Keyword::LIKE | Keyword::ILIKE | Keyword::SIMILAR => {
                Some(Level::Membership)
            }
            _ => is_postfix_null_test(token).then_some(Level::Test),
        },
        _ => None,
    }
}

fn level_of(expression: &Expr) -> Option<Level> {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    match expression {
        Expr::BinaryOp { op: Eq | NotEq | Lt | LtEq | Gt | GtEq, .. } => Some(Level::Comparison),
        Expr::Between { .. } | Expr::Like { .. } | Expr::ILike { .. } | Expr::SimilarTo { .. } => {
            Some(Level::Membership)
        }
        Expr::IsDistinctFrom(..) | Expr::IsNotDistinctFrom(..) => Some(Level::Test),
        _ => None,
    }
}

/// `ISNULL`, which `sqlparser` would take for a column's label.
fn is_postfix_null_test(token: &Token) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("isnull"))
}
