//! A cursor over a statement's tokens, with PostgreSQL's syntax errors and positions.

use std::ops::Range;

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::tokenizer::{Location, Token, Tokenizer};

use super::{Name, SettingChange};
use crate::error::{Condition, Error};
use crate::sql::parse;

/// PostgreSQL's NAMEDATALEN less its terminator, in bytes.
const NAME_BYTES: usize = 63;

/// An identifier as the catalog has it: lower case unless quoted, cut to 63 bytes.
pub fn fold_name(text: &str, quoted: bool) -> String {
    let mut name = if quoted { text.to_owned() } else { text.to_lowercase() };
    if name.len() > NAME_BYTES {
        let cut = (0..=NAME_BYTES).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
        name.truncate(cut);
    }
    name
}

/// A name with quotes where SQL needs them.
pub fn identifier(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain { name.to_owned() } else { super::partition::quoted(name) }
}

/// The first word of a text, comments and blanks skipped; empty when it starts with something else.
pub(super) fn first_word(text: &str) -> &str {
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix("--") {
            rest = after.split_once('\n').map_or("", |(_, after)| after);
        } else if let Some(after) = rest.strip_prefix("/*") {
            rest = after.split_once("*/").map_or("", |(_, after)| after);
        } else {
            break;
        }
    }
    let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    rest.get(..end).unwrap_or("")
}

/// Words that cannot be a column's or a table's name without quotes.
const RESERVED: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "both",
    "case",
    "cast",
    "check",
    "collate",
    "column",
    "constraint",
    "create",
    "current_catalog",
    "current_date",
    "current_role",
    "current_time",
    "current_timestamp",
    "current_user",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "false",
    "fetch",
    "for",
    "foreign",
    "from",
    "grant",
    "group",
    "having",
    "in",
    "initially",
    "intersect",
    "into",
    "lateral",
    "leading",
    "limit",
    "localtime",
    "localtimestamp",
    "not",
    "null",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "placing",
    "primary",
    "references",
    "returning",
    "select",
    "session_user",
    "some",
    "symmetric",
    "table",
    "then",
    "to",
    "trailing",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "variadic",
    "when",
    "where",
    "window",
    "with",
];

/// A statement's tokens and how far they have been read.
pub(super) struct Cursor<'a> {
    text: &'a str,
    tokens: Vec<(Token, Range<usize>)>,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// Splits a text into tokens, blanks and comments left out.
    pub(super) fn new(text: &'a str) -> Result<Self, Error> {
        let dialect = PostgreSqlDialect {};
        let found = Tokenizer::new(&dialect, text)
            .tokenize_with_location()
            .map_err(|error| Error::new(Condition::SyntaxError, format!("syntax error: {}", error.message)))?;
        let mut lines = vec![0];
        lines.extend(text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1));
        let offset = |location: Location| -> usize {
            let start = lines.get((location.line as usize).saturating_sub(1)).copied().unwrap_or(text.len());
            let line = text.get(start..).unwrap_or("");
            let column = (location.column as usize).saturating_sub(1);
            start + line.char_indices().nth(column).map_or(line.len(), |(at, _)| at)
        };
        let tokens = found
            .into_iter()
            .filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF))
            .map(|token| {
                let range = offset(token.span.start)..offset(token.span.end);
                (token.token, range)
            })
            .collect();
        Ok(Self { text, tokens, at: 0 })
    }

    fn token(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    /// 1-based character position of the next token.
    pub(super) fn position(&self) -> usize {
        let byte = self.tokens.get(self.at).map_or(self.text.len(), |(_, range)| range.start);
        self.text.get(..byte).map_or(1, |before| before.chars().count() + 1)
    }

    /// The syntax error that the next token is.
    pub(super) fn unexpected(&self) -> Error {
        match self.tokens.get(self.at) {
            None => Error::new(Condition::SyntaxError, "syntax error at end of input").position(self.position()),
            Some((_, range)) => {
                let found = self.text.get(range.clone()).unwrap_or("");
                Error::new(Condition::SyntaxError, format!("syntax error at or near \"{found}\""))
                    .position(self.position())
            }
        }
    }

    /// Whether everything has been read.
    pub(super) fn at_end(&self) -> bool {
        self.at >= self.tokens.len()
    }

    pub(super) fn expect_end(&self) -> Result<(), Error> {
        if self.at_end() { Ok(()) } else { Err(self.unexpected()) }
    }

    pub(super) fn semicolons(&mut self) {
        while self.punctuation(&Token::SemiColon) {}
    }

    fn word_at(&self, at: usize) -> Option<&str> {
        match self.tokens.get(at) {
            Some((Token::Word(word), _)) if word.quote_style.is_none() => Some(&word.value),
            _ => None,
        }
    }

    /// Whether the next tokens are these unquoted words.
    pub(super) fn peek(&self, words: &[&str]) -> bool {
        words
            .iter()
            .enumerate()
            .all(|(index, word)| self.word_at(self.at + index).is_some_and(|found| found.eq_ignore_ascii_case(word)))
    }

    /// Reads these words when they come next.
    pub(super) fn words(&mut self, words: &[&str]) -> bool {
        let found = self.peek(words);
        if found {
            self.at += words.len();
        }
        found
    }

    /// Reads this word when it comes next.
    pub(super) fn word(&mut self, word: &str) -> bool {
        self.words(&[word])
    }

    pub(super) fn expect_word(&mut self, word: &str) -> Result<(), Error> {
        if self.word(word) { Ok(()) } else { Err(self.unexpected()) }
    }

    /// Reads this punctuation when it comes next.
    pub(super) fn punctuation(&mut self, wanted: &Token) -> bool {
        let found = self.token() == Some(wanted);
        if found {
            self.at += 1;
        }
        found
    }

    pub(super) fn comma(&mut self) -> bool {
        self.punctuation(&Token::Comma)
    }

    pub(super) fn open(&mut self) -> Result<(), Error> {
        if self.punctuation(&Token::LParen) { Ok(()) } else { Err(self.unexpected()) }
    }

    pub(super) fn close(&mut self) -> Result<(), Error> {
        if self.punctuation(&Token::RParen) { Ok(()) } else { Err(self.unexpected()) }
    }

    pub(super) fn peek_semicolon(&self) -> bool {
        self.token() == Some(&Token::SemiColon)
    }

    /// Whether the next token is a word of any kind.
    pub(super) fn peek_word(&self) -> bool {
        matches!(self.token(), Some(Token::Word(_)))
    }

    pub(super) fn peek_comma_or_close(&self) -> bool {
        matches!(self.token(), Some(Token::Comma | Token::RParen))
    }

    pub(super) fn peek_open(&self) -> bool {
        self.token() == Some(&Token::LParen)
    }

    /// An identifier: any word that is not reserved, or a quoted one.
    pub(super) fn identifier(&mut self) -> Result<String, Error> {
        match self.token() {
            Some(Token::Word(word)) => {
                let quoted = word.quote_style.is_some();
                let name = fold_name(&word.value, quoted);
                if !quoted && RESERVED.contains(&name.as_str()) {
                    return Err(self.unexpected());
                }
                if name.is_empty() {
                    return Err(Error::new(Condition::SyntaxError, "zero-length delimited identifier")
                        .position(self.position()));
                }
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.unexpected()),
        }
    }

    /// Whether the next token is this word in double quotes.
    pub(super) fn peek_quoted(&self, wanted: &str) -> bool {
        matches!(self.token(), Some(Token::Word(word)) if word.quote_style.is_some() && word.value == wanted)
    }

    /// A word of any kind, reserved ones included, in lower case.
    pub(super) fn any_word(&mut self) -> Result<String, Error> {
        match self.token() {
            Some(Token::Word(word)) => {
                let name = fold_name(&word.value, word.quote_style.is_some());
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.unexpected()),
        }
    }

    /// `[schema.]name`; a database's name in front of that is read and left out.
    pub(super) fn name(&mut self) -> Result<Name, Error> {
        let position = self.position();
        let mut parts = vec![self.identifier()?];
        while self.punctuation(&Token::Period) {
            parts.push(self.any_word()?);
        }
        let name = parts.pop().unwrap_or_default();
        Ok(Name { schema: parts.pop(), name, position })
    }

    /// `( name, … )`
    pub(super) fn names_in_parentheses(&mut self) -> Result<Vec<String>, Error> {
        self.open()?;
        let names = self.list(Self::identifier)?;
        self.close()?;
        Ok(names)
    }

    /// One or more of something, with commas between.
    pub(super) fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T, Error>) -> Result<Vec<T>, Error> {
        let mut items = vec![item(self)?];
        while self.comma() {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// A string constant.
    pub(super) fn string(&mut self) -> Result<String, Error> {
        let value = match self.token() {
            Some(Token::SingleQuotedString(text)) | Some(Token::EscapedStringLiteral(text)) => text.clone(),
            Some(Token::DollarQuotedString(text)) => text.value.clone(),
            _ => return Err(self.unexpected()),
        };
        self.at += 1;
        Ok(value)
    }

    /// An integer constant with its sign.
    pub(super) fn integer(&mut self) -> Result<i64, Error> {
        let start = self.at;
        let negative = self.punctuation(&Token::Minus);
        if !negative {
            self.punctuation(&Token::Plus);
        }
        if let Some(Token::Number(digits, _)) = self.token() {
            let signed = if negative { format!("-{digits}") } else { digits.clone() };
            if let Ok(value) = signed.parse() {
                self.at += 1;
                return Ok(value);
            }
        }
        let error = self.unexpected();
        self.at = start;
        Err(error)
    }

    /// A constant's text: a string, a number with its sign, TRUE or FALSE; `None` for NULL.
    pub(super) fn constant(&mut self) -> Result<Option<String>, Error> {
        if self.word("null") {
            return Ok(None);
        }
        for word in ["true", "false"] {
            if self.word(word) {
                return Ok(Some(word.to_owned()));
            }
        }
        let sign = if self.punctuation(&Token::Minus) { "-" } else { "" };
        let value = match self.token() {
            Some(Token::Number(digits, _)) => format!("{sign}{digits}"),
            Some(_) if sign.is_empty() => return self.string().map(Some),
            _ => return Err(self.unexpected()),
        };
        self.at += 1;
        Ok(Some(value))
    }

    /// The value of an option in `name = value`: a word, a number or a string, as text.
    pub(super) fn option_value(&mut self) -> Result<String, Error> {
        match self.token() {
            Some(Token::Word(word)) => {
                let value = fold_name(&word.value, word.quote_style.is_some());
                self.at += 1;
                Ok(value)
            }
            _ => self.constant()?.ok_or_else(|| self.unexpected()),
        }
    }

    /// `( name [= value], … )` as `name=value`.
    pub(super) fn options(&mut self) -> Result<Vec<String>, Error> {
        self.open()?;
        let options = self.list(|cursor| {
            let mut name = cursor.any_word()?;
            while cursor.punctuation(&Token::Period) {
                name = format!("{name}.{}", cursor.any_word()?);
            }
            let value = if cursor.punctuation(&Token::Eq) { cursor.option_value()? } else { "true".to_owned() };
            Ok(format!("{name}={value}"))
        })?;
        self.close()?;
        Ok(options)
    }

    /// The text of an expression in parentheses, without them.
    pub(super) fn parenthesised(&mut self) -> Result<String, Error> {
        self.open()?;
        let text = self.until(|cursor| cursor.token() == Some(&Token::RParen))?;
        self.close()?;
        Ok(text)
    }

    /// The text up to where `stop` holds outside of parentheses, or up to the end; at least one token.
    pub(super) fn until(&mut self, stop: impl Fn(&Self) -> bool) -> Result<String, Error> {
        let first = self.at;
        let mut depth = 0usize;
        while let Some(token) = self.token() {
            if depth == 0 && (matches!(token, Token::SemiColon) || (self.at > first && stop(self))) {
                break;
            }
            match token {
                Token::LParen | Token::LBracket => depth += 1,
                Token::RParen | Token::RBracket if depth == 0 => break,
                Token::RParen | Token::RBracket => depth -= 1,
                _ => {}
            }
            self.at += 1;
        }
        let (Some((_, start)), true) = (self.tokens.get(first), self.at > first) else { return Err(self.unexpected()) };
        let Some((_, end)) = self.tokens.get(self.at - 1) else { return Err(self.unexpected()) };
        if depth > 0 {
            return Err(self.unexpected());
        }
        Ok(self.text.get(start.start..end.end).unwrap_or("").to_owned())
    }

    /// The text of an expression that ends at a comma, a closing parenthesis or one of these words.
    pub(super) fn expression(&mut self, stop_words: &[&str]) -> Result<String, Error> {
        self.until(|cursor| cursor.token() == Some(&Token::Comma) || stop_words.iter().any(|word| cursor.peek(&[word])))
    }

    /// What SET or RESET, which is next, does to stored settings; up to the statement's end.
    pub(super) fn setting_change(&mut self) -> Result<SettingChange, Error> {
        let byte = self.tokens.get(self.at).map_or(self.text.len(), |(_, range)| range.start);
        let (before, rest) = self.text.split_at_checked(byte).unwrap_or((self.text, ""));
        // Blanks stand for what came before, so that positions count from the start of the whole text.
        let padded = format!("{}{rest}", " ".repeat(before.chars().count()));
        let change = parse::setting_change(&padded)?;
        self.at = self.tokens.len();
        Ok(change)
    }

    /// Where the cursor stands, for going back.
    pub(super) fn mark(&self) -> usize {
        self.at
    }

    /// Past one token.
    pub(super) fn skip(&mut self) {
        self.at += 1;
    }

    pub(super) fn go_back(&mut self, mark: usize) {
        self.at = mark;
    }
}

/// The names in an expression's text, folded: columns, and functions and types as well.
pub fn names_in(text: &str) -> Vec<String> {
    let Ok(cursor) = Cursor::new(text) else { return Vec::new() };
    let names = cursor.tokens.iter().filter_map(|(token, _)| match token {
        Token::Word(word) => Some(fold_name(&word.value, word.quote_style.is_some())),
        _ => None,
    });
    names.collect()
}

/// The constants in an expression's text that name a sequence for nextval() and its like: where each stands, what it
/// says, and whether a cast follows. Those that are cast to text are no names yet.
pub fn sequences_in(text: &str) -> Vec<(Range<usize>, String, bool)> {
    const FUNCTIONS: &[&str] = &["nextval", "currval", "setval"];
    let Ok(cursor) = Cursor::new(text) else { return Vec::new() };
    let token = |at: usize| cursor.tokens.get(at).map(|(token, _)| token);
    let mut found = Vec::new();
    for (at, (first, _)) in cursor.tokens.iter().enumerate() {
        let Token::Word(word) = first else { continue };
        let function = fold_name(&word.value, word.quote_style.is_some());
        let (Some(Token::LParen), Some((Token::SingleQuotedString(name), range))) =
            (token(at + 1), cursor.tokens.get(at + 2))
        else {
            continue;
        };
        let cast = token(at + 3) == Some(&Token::DoubleColon);
        let to_text =
            cast && !matches!(token(at + 4), Some(Token::Word(word)) if fold_name(&word.value, false) == "regclass");
        if FUNCTIONS.contains(&function.as_str()) && !to_text {
            found.push((range.clone(), name.clone(), cast));
        }
    }
    found
}

/// A relation's name as a string constant has it for regclass.
pub fn written_name(text: &str) -> Option<Name> {
    let mut cursor = Cursor::new(text).ok()?;
    let name = cursor.name().ok()?;
    cursor.at_end().then_some(name)
}

/// An expression's text with one column's name replaced; names of functions stay.
pub fn rename_in(text: &str, from: &str, to: &str) -> String {
    let Ok(cursor) = Cursor::new(text) else { return text.to_owned() };
    let mut renamed = text.to_owned();
    for (index, (token, range)) in cursor.tokens.iter().enumerate().rev() {
        let Token::Word(word) = token else { continue };
        let is_call = cursor.tokens.get(index + 1).is_some_and(|(next, _)| *next == Token::LParen);
        if !is_call && fold_name(&word.value, word.quote_style.is_some()) == from {
            renamed.replace_range(range.clone(), &super::partition::quoted(to));
        }
    }
    renamed
}
