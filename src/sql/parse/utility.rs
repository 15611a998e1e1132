//! Statements about transactions, the session and the wire: their grammar, PostgreSQL 15's, on our own tokens.

mod copy;
mod session;
#[cfg(test)]
mod tests;
mod transaction;

pub use copy::{CopySource, CopyStatement, CopyValue};

use super::{Cursor, Statement};
use crate::error::Error;
use crate::sql::define::SettingChange;
use crate::sql::lex::Token;
use crate::sql::plan::{SessionCommand, Tag, Transaction};

/// A statement that needs no binder, or little of it.
#[derive(Debug)]
pub enum Utility {
    /// BEGIN, COMMIT, SAVEPOINT … with the tag they answer with.
    Transaction(Transaction, &'static str),
    /// SET, SHOW, PREPARE, DECLARE …
    Session(SessionCommand, Tag),
    /// COPY.
    Copy(Box<CopyStatement>),
    /// EXPLAIN.
    Explain(Explain),
    /// LOCK TABLE: the tables named.
    Lock(Vec<(Option<String>, String, usize)>),
}

/// EXPLAIN with its options.
#[derive(Debug)]
pub struct Explain {
    /// The statement explained.
    pub statement: Box<Statement>,
    /// Where its text starts.
    pub byte: usize,
}

/// Parses a statement that starts with one of this parser's words; `None`: it is none of them.
pub fn parse(text: &str, tokens: &[Token]) -> Result<Option<Utility>, Error> {
    let mut cursor = Cursor::new(text, tokens);
    let Some(first) = tokens.first() else { return Ok(None) };
    let word = first.text(text).to_ascii_lowercase();
    cursor.advance();
    let utility = match word.as_str() {
        "begin" | "start" | "commit" | "end" | "rollback" | "abort" | "savepoint" | "release" => {
            let (transaction, tag) = transaction::parse(&word, &mut cursor)?;
            Utility::Transaction(transaction, tag)
        }
        "set" => session::set(&mut cursor)?,
        "show" => session::show(&mut cursor)?,
        "reset" => session::reset(&mut cursor)?,
        "discard" => session::discard(&mut cursor)?,
        "prepare" => return session::prepare(&mut cursor, text).map(Some),
        "execute" => session::execute(&mut cursor)?,
        "deallocate" => session::deallocate(&mut cursor)?,
        "declare" => return session::declare(&mut cursor, text).map(Some),
        "fetch" => session::fetch(&mut cursor, false)?,
        "move" => session::fetch(&mut cursor, true)?,
        "close" => session::close(&mut cursor)?,
        "copy" => Utility::Copy(Box::new(copy::parse(&mut cursor)?)),
        "explain" => return explain(&mut cursor, text).map(Some),
        "lock" => lock(&mut cursor)?,
        "listen" | "notify" | "unlisten" | "do" | "call" | "load" | "merge" => {
            return Err(Error::unsupported(word.to_ascii_uppercase()));
        }
        _ => return Ok(None),
    };
    cursor.expect_end()?;
    Ok(Some(utility))
}

/// What SET or RESET in an ALTER statement does to stored settings.
pub fn setting_change(text: &str) -> Result<SettingChange, Error> {
    let tokens = super::tokens(text)?;
    let mut cursor = Cursor::new(text, &tokens);
    let change = session::setting_change(&mut cursor)?;
    while cursor.mark(";") {}
    cursor.expect_end()?;
    Ok(change)
}

/// The statement's text from the cursor on, which must not be empty.
fn remaining<'a>(cursor: &Cursor<'_>, text: &'a str) -> Result<&'a str, Error> {
    if cursor.at_end() {
        return Err(cursor.unexpected());
    }
    Ok(text.get(cursor.byte()..).unwrap_or(""))
}

fn explain(cursor: &mut Cursor<'_>, text: &str) -> Result<Utility, Error> {
    if cursor.mark("(") {
        loop {
            let option = cursor.name()?;
            let mut value = None;
            if !cursor.peek().is_some_and(|token| token.is(text, ",") || token.is(text, ")")) {
                value = cursor.advance().map(|token| token.text(text).to_ascii_lowercase());
            }
            explain_option(&option, value.as_deref())?;
            if !cursor.mark(",") {
                break;
            }
        }
        cursor.expect_mark(")")?;
    } else {
        if cursor.word("analyze") || cursor.word("analyse") {
            explain_option("analyze", None)?;
        }
        cursor.word("verbose");
    }
    let byte = cursor.byte();
    let inner = remaining(cursor, text)?;
    // Blanks stand for what came before, so that positions count from the start of the whole text.
    let padded = format!("{}{inner}", " ".repeat(byte));
    let statement = super::parse(&padded)?;
    match &statement {
        Statement::Sql(..) => Ok(Utility::Explain(Explain { statement: Box::new(statement), byte })),
        _ => Err(cursor.unexpected()),
    }
}

/// Options of EXPLAIN: those that would have the statement run are refused, the rest change nothing here.
fn explain_option(option: &str, value: Option<&str>) -> Result<(), Error> {
    let off = matches!(value, Some("false" | "off" | "0"));
    match option {
        "analyze" | "buffers" | "wal" | "timing" | "summary" if off => Ok(()),
        "verbose" | "costs" | "settings" | "timing" | "summary" | "buffers" => Ok(()),
        "format" if value == Some("text") => Ok(()),
        "analyze" | "wal" | "format" => Err(Error::unsupported(format!("EXPLAIN option {}", option.to_uppercase()))),
        _ => Err(Error::new(crate::error::Condition::SyntaxError, format!("unrecognized EXPLAIN option \"{option}\""))),
    }
}

fn lock(cursor: &mut Cursor<'_>) -> Result<Utility, Error> {
    cursor.word("table");
    let mut tables = Vec::new();
    loop {
        cursor.word("only");
        let byte = cursor.byte();
        let (schema, name) = cursor.qualified()?;
        cursor.mark("*");
        tables.push((schema, name, byte));
        if !cursor.mark(",") {
            break;
        }
    }
    if cursor.word("in") {
        const MODES: &[&[&str]] = &[
            &["access", "share"],
            &["row", "share"],
            &["row", "exclusive"],
            &["share", "update", "exclusive"],
            &["share", "row", "exclusive"],
            &["share"],
            &["exclusive"],
            &["access", "exclusive"],
        ];
        if !MODES.iter().any(|mode| cursor.words(mode)) {
            return Err(cursor.unexpected());
        }
        cursor.expect_word("mode")?;
    }
    if cursor.word("nowait") {
        return Err(Error::unsupported("LOCK TABLE with NOWAIT"));
    }
    Ok(Utility::Lock(tables))
}
