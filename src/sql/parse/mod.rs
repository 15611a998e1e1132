//! From a statement's text to its syntax tree: our tokens feed `sqlparser`, and what that does not know has a
//! small parser of its own ([`utility`]).
//!
//! Every token carries its byte offset as the "column" of line 1, so that errors and names find their place in
//! the text. Nothing is looked up here.

mod cursor;
mod depth;
mod dialect;
mod lists;
mod rewrite;
mod utility;

use sqlparser::ast;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Span, Token as AstToken, TokenWithSpan};

pub use cursor::Cursor;
pub use lists::{Element, MARK, PlainList};
pub use utility::{CopySource, CopyStatement, CopyValue, Explain, Utility, setting_change};

use super::define::{self, Definition};
use super::lex::{self, Kind, Lexer, Token};
use crate::error::{Condition, Error};
use crate::work;

/// Nesting of expressions and queries that the parser follows; its stack frames are large.
const NESTING_MAX: usize = 100;

/// A statement's syntax tree.
#[derive(Debug)]
pub enum Statement {
    /// Nothing but white space and comments.
    Empty,
    /// Queries and data changes; long lists of plain values are kept beside the tree.
    Sql(Box<ast::Statement>, Vec<PlainList>),
    /// Statements with a parser of their own.
    Utility(Utility),
    /// Changes of a catalog, and maintenance.
    Define(Box<Definition>),
}

/// Parses one statement. Positions count from the start of `text`.
pub fn parse(text: &str) -> Result<Statement, Error> {
    let all = tokens(text)?;
    let Some(first) = all.first() else { return Ok(Statement::Empty) };
    depth::check(text, &all)?;
    let tokens = depth::without_repeated_parentheses(text, &all);
    // Definitions have a parser of their own, which reads the text as it is.
    let definition = define::starts_definition(text);
    if depth::nests_too_deep(text, if definition { &all } else { &tokens }) {
        return Err(too_deep());
    }
    if definition && let Some(definition) = define::parse(text)? {
        return Ok(Statement::Define(Box::new(definition)));
    }
    if first.kind == Kind::Word
        && let Some(utility) = utility::parse(text, &tokens)?
    {
        return Ok(Statement::Utility(utility));
    }
    // An error is that of the whole text, lists and all.
    if let Some((reduced, lists)) = lists::reduce(text, &tokens)
        && let Ok(tree) = sql(text, &reduced)
    {
        return Ok(Statement::Sql(Box::new(tree), lists));
    }
    Ok(Statement::Sql(Box::new(sql(text, &tokens)?), Vec::new()))
}

/// Parses a query or data change with every element of its lists in the tree.
pub fn whole(text: &str) -> Result<ast::Statement, Error> {
    sql(text, &depth::without_repeated_parentheses(text, &tokens(text)?))
}

/// Parses a query or data change, or an error at the token that is wrong.
pub fn sql(text: &str, tokens: &[Token]) -> Result<ast::Statement, Error> {
    with_parser(text, tokens, |parser| parser.parse_statement())
}

/// Parses a query alone: a view's text, COPY's query.
pub fn query(text: &str, tokens: &[Token]) -> Result<Box<ast::Query>, Error> {
    with_parser(text, tokens, |parser| parser.parse_query())
}

/// Parses an expression alone: a column's default, an argument of EXECUTE.
pub fn expression(text: &str) -> Result<ast::Expr, Error> {
    let tokens = tokens(text)?;
    depth::check(text, &tokens)?;
    let tokens = depth::without_repeated_parentheses(text, &tokens);
    with_parser(text, &tokens, |parser| parser.parse_expr())
}

/// All tokens of a text.
pub fn tokens(text: &str) -> Result<Vec<Token>, Error> {
    let mut lexer = Lexer::new(text);
    let mut tokens = Vec::with_capacity(text.len() / 4);
    while let Some(token) = lexer.next_token()? {
        work::tick()?;
        tokens.push(token);
    }
    Ok(tokens)
}

/// `54001`, as PostgreSQL words it.
pub fn too_deep() -> Error {
    Error::new(Condition::StatementTooComplex, "stack depth limit exceeded")
        .hint("Simplify the statement: it nests deeper than this server follows.")
}

fn with_parser<T>(
    text: &str,
    tokens: &[Token],
    parse: impl FnOnce(&mut Parser<'_>) -> Result<T, ParserError>,
) -> Result<T, Error> {
    let dialect = dialect::Grammar::default();
    let mut translated = Vec::with_capacity(tokens.len());
    for token in tokens {
        work::tick()?;
        translated.push(translate(text, *token)?);
    }
    let translated = rewrite::rewrite(text, translated)?;
    let mut parser = Parser::new(&dialect).with_recursion_limit(NESTING_MAX).with_tokens_with_locations(translated);
    let parsed = parse(&mut parser);
    if let Some(stopped) = dialect.take_stopped() {
        return Err(stopped);
    }
    let parsed = parsed.map_err(|error| syntax_error(text, tokens, &error))?;
    let next = parser.peek_token();
    if next.token != AstToken::EOF {
        return Err(near(text, tokens, byte_of(next.span.start)));
    }
    Ok(parsed)
}

/// The byte offset that a location of ours stands for.
pub fn byte_of(location: Location) -> Option<usize> {
    (location.line != 0).then(|| (location.column as usize).saturating_sub(1))
}

/// The syntax error that PostgreSQL reports for the token at a byte offset.
fn near(text: &str, tokens: &[Token], byte: Option<usize>) -> Error {
    let token = byte.and_then(|byte| tokens.iter().find(|token| token.start == byte));
    match token {
        Some(token) => {
            let found = token.text(text);
            if token.kind == Kind::Word && found.eq_ignore_ascii_case("exclude") {
                return Error::unsupported("EXCLUDE in a window's frame").position(lex::position(text, token.start));
            }
            lex::syntax_error(text, token.start, format!("syntax error at or near \"{found}\""))
        }
        None => lex::syntax_error(text, text.len(), "syntax error at end of input"),
    }
}

fn syntax_error(text: &str, tokens: &[Token], error: &ParserError) -> Error {
    let message = match error {
        ParserError::RecursionLimitExceeded => return too_deep(),
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
    };
    let column = message.rsplit_once("Column: ").and_then(|(_, column)| column.trim().parse::<usize>().ok());
    near(text, tokens, column.map(|column| column.saturating_sub(1)))
}

/// One of our tokens as the parser knows it: names are folded, constants decoded.
fn translate(text: &str, token: Token) -> Result<TokenWithSpan, Error> {
    let source = token.text(text);
    let translated = match token.kind {
        Kind::Word => AstToken::make_word(&lex::identifier(token, text)?, None),
        Kind::QuotedWord | Kind::UnicodeWord => AstToken::make_word(&lex::identifier(token, text)?, Some('"')),
        Kind::Integer | Kind::Decimal => AstToken::Number(source.to_owned(), false),
        Kind::String | Kind::EscapeString | Kind::UnicodeString | Kind::DollarString => {
            AstToken::SingleQuotedString(lex::string_value(token.kind, source, text, token.start)?)
        }
        Kind::BitString => AstToken::SingleQuotedByteStringLiteral(source.to_owned()),
        Kind::HexString => AstToken::HexStringLiteral(source.to_owned()),
        Kind::Parameter => AstToken::Placeholder(source.to_owned()),
        Kind::List => AstToken::Placeholder(MARK.to_owned()),
        Kind::Operator => operator(source),
        Kind::Punctuation => match source {
            "(" => AstToken::LParen,
            ")" => AstToken::RParen,
            "[" => AstToken::LBracket,
            "]" => AstToken::RBracket,
            "," => AstToken::Comma,
            ";" => AstToken::SemiColon,
            "." => AstToken::Period,
            ":" => AstToken::Colon,
            "::" => AstToken::DoubleColon,
            ":=" => AstToken::Assignment,
            _ => {
                let message = format!("syntax error at or near \"{source}\"");
                return Err(lex::syntax_error(text, token.start, message));
            }
        },
    };
    let location = |byte: usize| Location { line: 1, column: byte as u64 + 1 };
    Ok(TokenWithSpan { token: translated, span: Span { start: location(token.start), end: location(token.end) } })
}

fn operator(source: &str) -> AstToken {
    match source {
        "=" => AstToken::Eq,
        "<>" | "!=" => AstToken::Neq,
        "<" => AstToken::Lt,
        ">" => AstToken::Gt,
        "<=" => AstToken::LtEq,
        ">=" => AstToken::GtEq,
        "+" => AstToken::Plus,
        "-" => AstToken::Minus,
        "*" => AstToken::Mul,
        "/" => AstToken::Div,
        "%" => AstToken::Mod,
        "||" => AstToken::StringConcat,
        "&" => AstToken::Ampersand,
        "|" => AstToken::Pipe,
        "^" => AstToken::Caret,
        "#" => AstToken::Sharp,
        "=>" => AstToken::RArrow,
        "~" => AstToken::Tilde,
        "~*" => AstToken::TildeAsterisk,
        "!~" => AstToken::ExclamationMarkTilde,
        "!~*" => AstToken::ExclamationMarkTildeAsterisk,
        "~~" => AstToken::DoubleTilde,
        "~~*" => AstToken::DoubleTildeAsterisk,
        "!~~" => AstToken::ExclamationMarkDoubleTilde,
        "!~~*" => AstToken::ExclamationMarkDoubleTildeAsterisk,
        "<<" => AstToken::ShiftLeft,
        ">>" => AstToken::ShiftRight,
        "&&" => AstToken::Overlap,
        "@" => AstToken::AtSign,
        "|/" => AstToken::PGSquareRoot,
        "||/" => AstToken::PGCubeRoot,
        "->" => AstToken::Arrow,
        "->>" => AstToken::LongArrow,
        "#>" => AstToken::HashArrow,
        "#>>" => AstToken::HashLongArrow,
        "@>" => AstToken::AtArrow,
        "<@" => AstToken::ArrowAt,
        "?" => AstToken::Question,
        "?|" => AstToken::QuestionPipe,
        "?&" => AstToken::QuestionAnd,
        "^@" => AstToken::CaretAt,
        other => AstToken::CustomBinaryOperator(other.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> (String, Option<usize>) {
        let error = parse(text).unwrap_err();
        (error.fields().message.clone(), error.fields().position)
    }

    #[test]
    fn syntax_errors_name_the_token() {
        assert_eq!(error("select 1 frm t where"), ("syntax error at or near \"t\"".into(), Some(14)));
        assert_eq!(error("select * from"), ("syntax error at end of input".into(), Some(14)));
        assert_eq!(error("selec 1"), ("syntax error at or near \"selec\"".into(), Some(1)));
        assert_eq!(error("select (1"), ("syntax error at end of input".into(), Some(10)));
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_crash() {
        for text in [
            format!("select {}1{}", "(f".repeat(5000), ")".repeat(5000)),
            format!("select {}1{}", "(".repeat(100_000), ")".repeat(100_000)),
            format!("create view v as select {}1{}", "(".repeat(100_000), ")".repeat(100_000)),
            format!("select 1{}", " where true and true union select 1".repeat(50_000)),
            format!("select 1, 2{}", " union select 1, 2".repeat(50_000)),
            format!("select 1{}", " between 1 and 2".repeat(50_000)),
            format!("select 1{}", " + case when true then 1 end".repeat(50_000)),
            format!("select {}1", "- ".repeat(5000)),
            format!("select 1{}", "+1".repeat(50_000)),
            format!("select 1{}", "::int".repeat(50_000)),
            format!("select 1{}", " union select 1".repeat(50_000)),
        ] {
            let error = parse(&text).unwrap_err();
            assert_eq!(error.condition(), Condition::StatementTooComplex, "{error}");
        }
        assert!(parse(&format!("select {}true", "not ".repeat(5000))).is_err());
        assert!(parse(&format!("select {}1{}", "(".repeat(20), ")".repeat(20))).is_ok());
        assert!(parse(&format!("select 1{}", "+1".repeat(2_000))).is_ok());
        assert!(parse(&format!("select {}1{}", "(".repeat(2_000), ")".repeat(2_000))).is_ok());
        assert!(parse(&format!("select 1 where true{}", " and 1 between 0 and 2 or true".repeat(10_000))).is_ok());
        assert!(parse(&format!("select case{} end", " when true then 1".repeat(10_000))).is_ok());
    }

    proptest::proptest! {
        #[test]
        fn a_soup_of_words_never_panics(words in proptest::collection::vec(proptest::sample::select(vec![
            "select", "from", "where", "(", ")", ",", "*", "1", "'a'", "$1", "a", ".", "::", "int", "case", "when", "end",
            "join", "on", "union", "order", "by", "insert", "into", "values", "set", "=", "-", "not", "in", "copy", "to",
            "stdin", "with", "fetch", "declare", "cursor", "for", "prepare", "as", "execute", "explain", "interval", "[",
            "]", "array", "lock", "table", "begin", "rollback", "show", "date", "extract", "over", "limit", "lateral",
        ]), 0..24)) {
            let _ = parse(&words.join(" "));
        }
    }
}
