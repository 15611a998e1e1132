//! COPY in both of its syntaxes: what travels, and the options as written.

use sqlparser::ast;

use super::Cursor;
use crate::error::Error;

/// COPY as written.
#[derive(Debug)]
pub struct CopyStatement {
    /// What is copied.
    pub source: CopySource,
    /// FROM STDIN; otherwise TO STDOUT.
    pub from: bool,
    /// Options in order: name, value, byte offset.
    pub options: Vec<(String, CopyValue, usize)>,
}

/// What COPY copies.
#[derive(Debug)]
pub enum CopySource {
    /// A table, with the columns named.
    Table {
        /// Its schema, where given.
        schema: Option<String>,
        /// Its name.
        name: String,
        /// Columns named, with their byte offsets.
        columns: Vec<String>,
        /// Byte offset of the name.
        byte: usize,
    },
    /// A query.
    Query(Box<ast::Query>),
}

/// The value of an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyValue {
    /// None given.
    Absent,
    /// A string, a word or a number.
    Text(String),
    /// A list of columns.
    Columns(Vec<String>),
    /// `*`.
    All,
}

/// COPY after its first word.
pub fn parse(cursor: &mut Cursor<'_>) -> Result<CopyStatement, Error> {
    cursor.word("binary");
    let source = if cursor.mark("(") {
        let inner = cursor.parenthesised()?;
        CopySource::Query(super::super::query(cursor.text, inner)?)
    } else {
        let byte = cursor.byte();
        let (schema, name) = cursor.qualified()?;
        let columns =
            if cursor.peek().is_some_and(|token| token.is(cursor.text, "(")) { cursor.names()? } else { Vec::new() };
        CopySource::Table { schema, name, columns, byte }
    };
    let from = cursor.word("from");
    if !from {
        cursor.expect_word("to")?;
    } else if matches!(source, CopySource::Query(_)) {
        return Err(cursor.unexpected());
    }
    if cursor.looking_at(&["program"]) {
        return Err(Error::unsupported("COPY with PROGRAM"));
    }
    if cursor.peek().is_some_and(|token| token.kind.is_string()) {
        return Err(Error::unsupported("COPY with a file on the server"));
    }
    if cursor.one_of(&["stdin", "stdout"]).is_none() {
        return Err(cursor.unexpected());
    }
    let options = options(cursor)?;
    if cursor.looking_at(&["where"]) {
        return Err(Error::unsupported("COPY FROM with WHERE"));
    }
    Ok(CopyStatement { source, from, options })
}

fn options(cursor: &mut Cursor<'_>) -> Result<Vec<(String, CopyValue, usize)>, Error> {
    let mut options = Vec::new();
    let old_delimiters = cursor.looking_at(&["using", "delimiters"]) || cursor.looking_at(&["delimiters"]);
    if old_delimiters {
        return Err(Error::unsupported("COPY with DELIMITERS"));
    }
    cursor.word("with");
    if cursor.mark("(") {
        loop {
            let byte = cursor.byte();
            let name = cursor.name()?;
            let value = value(cursor)?;
            options.push((name, value, byte));
            if !cursor.mark(",") {
                break;
            }
        }
        cursor.expect_mark(")")?;
        return Ok(options);
    }
    while !cursor.at_end() && !cursor.looking_at(&["where"]) {
        options.push(old_option(cursor)?);
    }
    Ok(options)
}

fn value(cursor: &mut Cursor<'_>) -> Result<CopyValue, Error> {
    if cursor.mark("*") {
        return Ok(CopyValue::All);
    }
    if let Some(text) = cursor.string()? {
        return Ok(CopyValue::Text(text));
    }
    let Some(token) = cursor.peek() else { return Err(cursor.unexpected()) };
    if token.is(cursor.text, "(") {
        return cursor.names().map(CopyValue::Columns);
    }
    if token.is(cursor.text, ",") || token.is(cursor.text, ")") {
        return Ok(CopyValue::Absent);
    }
    cursor.advance();
    Ok(CopyValue::Text(token.text(cursor.text).to_ascii_lowercase()))
}

/// One option of the syntax before PostgreSQL 9.0.
fn old_option(cursor: &mut Cursor<'_>) -> Result<(String, CopyValue, usize), Error> {
    let byte = cursor.byte();
    let text = |cursor: &mut Cursor<'_>| {
        cursor.word("as");
        cursor.string()?.map(CopyValue::Text).ok_or_else(|| cursor.unexpected())
    };
    let option = if cursor.word("binary") {
        ("format", CopyValue::Text("binary".to_owned()))
    } else if cursor.word("csv") {
        ("format", CopyValue::Text("csv".to_owned()))
    } else if cursor.word("freeze") {
        ("freeze", CopyValue::Absent)
    } else if cursor.word("header") {
        ("header", CopyValue::Absent)
    } else if cursor.word("delimiter") {
        ("delimiter", text(cursor)?)
    } else if cursor.word("null") {
        ("null", text(cursor)?)
    } else if cursor.word("quote") {
        ("quote", text(cursor)?)
    } else if cursor.word("escape") {
        ("escape", text(cursor)?)
    } else if cursor.word("encoding") {
        ("encoding", text(cursor)?)
    } else if cursor.words(&["force", "quote"]) {
        ("force_quote", if cursor.mark("*") { CopyValue::All } else { CopyValue::Columns(bare_names(cursor)?) })
    } else if cursor.words(&["force", "not", "null"]) {
        ("force_not_null", CopyValue::Columns(bare_names(cursor)?))
    } else if cursor.words(&["force", "null"]) {
        ("force_null", CopyValue::Columns(bare_names(cursor)?))
    } else {
        return Err(cursor.unexpected());
    };
    Ok((option.0.to_owned(), option.1, byte))
}

fn bare_names(cursor: &mut Cursor<'_>) -> Result<Vec<String>, Error> {
    let mut names = vec![cursor.name()?];
    while cursor.mark(",") {
        names.push(cursor.name()?);
    }
    Ok(names)
}
