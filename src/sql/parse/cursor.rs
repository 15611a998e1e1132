//! A cursor over a statement's tokens, for the statements with a parser of their own.

use crate::error::Error;
use crate::sql::lex::{self, Kind, Token};

/// Tokens of a statement and how far they have been read.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    /// The statement's text.
    pub text: &'a str,
    tokens: &'a [Token],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// A cursor at the first token.
    pub fn new(text: &'a str, tokens: &'a [Token]) -> Self {
        Self { text, tokens, at: 0 }
    }

    /// The next token, not yet read.
    pub fn peek(&self) -> Option<Token> {
        self.tokens.get(self.at).copied()
    }

    /// Byte offset of the next token, or of the end.
    pub fn byte(&self) -> usize {
        self.peek().map_or(self.text.len(), |token| token.start)
    }

    /// The tokens that are left.
    pub fn rest(&self) -> &'a [Token] {
        self.tokens.get(self.at..).unwrap_or(&[])
    }

    /// Moves past the next token.
    pub fn advance(&mut self) -> Option<Token> {
        let token = self.peek()?;
        self.at += 1;
        Some(token)
    }

    /// Whether everything has been read.
    pub fn at_end(&self) -> bool {
        self.at >= self.tokens.len()
    }

    /// The syntax error that the next token is.
    pub fn unexpected(&self) -> Error {
        match self.peek() {
            Some(token) => {
                let found = token.text(self.text);
                lex::syntax_error(self.text, token.start, format!("syntax error at or near \"{found}\""))
            }
            None => lex::syntax_error(self.text, self.text.len(), "syntax error at end of input"),
        }
    }

    /// Refuses anything that is left.
    pub fn expect_end(&self) -> Result<(), Error> {
        if self.at_end() { Ok(()) } else { Err(self.unexpected()) }
    }

    /// Whether the next tokens are these keywords.
    pub fn looking_at(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(ahead, word)| {
            self.tokens
                .get(self.at + ahead)
                .is_some_and(|token| token.kind == Kind::Word && token.text(self.text).eq_ignore_ascii_case(word))
        })
    }

    /// Reads these keywords, if they come next.
    pub fn words(&mut self, words: &[&str]) -> bool {
        let found = self.looking_at(words);
        if found {
            self.at += words.len();
        }
        found
    }

    /// Reads this keyword, if it comes next.
    pub fn word(&mut self, word: &str) -> bool {
        self.words(&[word])
    }

    /// Reads one of these keywords; its index.
    pub fn one_of(&mut self, words: &[&str]) -> Option<usize> {
        words.iter().position(|word| self.word(word))
    }

    /// Demands this keyword.
    pub fn expect_word(&mut self, word: &str) -> Result<(), Error> {
        if self.word(word) { Ok(()) } else { Err(self.unexpected()) }
    }

    /// Reads this punctuation or operator, if it comes next.
    pub fn mark(&mut self, mark: &str) -> bool {
        let found = self.peek().is_some_and(|token| token.is(self.text, mark));
        if found {
            self.at += 1;
        }
        found
    }

    /// Demands this punctuation or operator.
    pub fn expect_mark(&mut self, mark: &str) -> Result<(), Error> {
        if self.mark(mark) { Ok(()) } else { Err(self.unexpected()) }
    }

    /// Reads an identifier.
    pub fn name(&mut self) -> Result<String, Error> {
        match self.peek() {
            Some(token) if matches!(token.kind, Kind::Word | Kind::QuotedWord | Kind::UnicodeWord) => {
                self.at += 1;
                lex::identifier(token, self.text)
            }
            _ => Err(self.unexpected()),
        }
    }

    /// Reads a string constant, if one comes next.
    pub fn string(&mut self) -> Result<Option<String>, Error> {
        match self.peek() {
            Some(token) if token.kind.is_string() => {
                self.at += 1;
                lex::string_value(token.kind, token.text(self.text), self.text, token.start).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Reads an integer with its sign, if one comes next.
    pub fn integer(&mut self) -> Option<i64> {
        let sign = usize::from(self.peek().is_some_and(|t| t.is(self.text, "-") || t.is(self.text, "+")));
        let number = self.tokens.get(self.at + sign).filter(|token| token.kind == Kind::Integer)?;
        let value: i64 = number.text(self.text).parse().ok()?;
        let negative = sign == 1 && self.peek().is_some_and(|t| t.is(self.text, "-"));
        self.at += sign + 1;
        Some(if negative { -value } else { value })
    }

    /// Reads a parenthesised list of names.
    pub fn names(&mut self) -> Result<Vec<String>, Error> {
        self.expect_mark("(")?;
        let mut names = vec![self.name()?];
        while self.mark(",") {
            names.push(self.name()?);
        }
        self.expect_mark(")")?;
        Ok(names)
    }

    /// Reads a name with its schema: `name` or `schema.name`.
    pub fn qualified(&mut self) -> Result<(Option<String>, String), Error> {
        let first = self.name()?;
        if !self.mark(".") {
            return Ok((None, first));
        }
        let second = self.name()?;
        if self.mark(".") {
            let third = self.name()?;
            return Ok((Some(second), third));
        }
        Ok((Some(first), second))
    }

    /// Reads up to the closing parenthesis of one just opened; the tokens between and that parenthesis.
    pub fn parenthesised(&mut self) -> Result<&'a [Token], Error> {
        let first = self.at;
        let mut depth = 1usize;
        while let Some(token) = self.advance() {
            if token.is(self.text, "(") {
                depth += 1;
            } else if token.is(self.text, ")") {
                depth -= 1;
                if depth == 0 {
                    return Ok(self.tokens.get(first..self.at - 1).unwrap_or(&[]));
                }
            }
        }
        Err(self.unexpected())
    }
}
