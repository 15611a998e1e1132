//! Rows of COPY FROM STDIN: bytes in pieces → lines → fields → values of the columns' types.
//!
//! Knows neither the client nor the engine. Reuses its buffers from row to row. Every error carries PostgreSQL's
//! CONTEXT: table, line, and where one value is to blame its column.

use super::fields::Fields;
use super::lines::{Line, Lines};
use crate::error::{Condition, Error};
use crate::sql::plan::{Copy, CopyHeader};
use crate::sql::types::{self, TextContext, Type, Value};
use crate::work;

/// Longest line, as PostgreSQL's string buffers.
const LINE_BYTES_MAX: usize = 0x3fff_ffff;
/// PostgreSQL shows at most so many bytes of the data in a CONTEXT.
const CONTEXT_BYTES_MAX: usize = 100;

/// Reads the rows of one COPY.
pub struct CopyReader<'a> {
    copy: &'a Copy,
    context: &'a TextContext,
    lines: Lines,
    fields: Fields,
    row: Vec<Value>,
    /// The beginning of a line whose end has not arrived.
    pending: Vec<u8>,
    /// The line being read, from 1.
    line: u64,
    header_due: bool,
    /// `\.` has come: what follows is ignored.
    ended: bool,
}

impl<'a> CopyReader<'a> {
    /// A reader for that COPY.
    pub fn new(copy: &'a Copy, context: &'a TextContext) -> Self {
        Self {
            copy,
            context,
            lines: Lines::new(&copy.format),
            fields: Fields::default(),
            row: Vec::with_capacity(copy.columns.len()),
            pending: Vec::new(),
            line: 0,
            header_due: copy.format.header != CopyHeader::Absent,
            ended: false,
        }
    }

    /// Takes the next piece of data and passes each row that it completes to `take`.
    pub fn feed(&mut self, piece: &[u8], take: impl FnMut(&[Value]) -> Result<(), Error>) -> Result<(), Error> {
        work::tick()?;
        if self.pending.is_empty() {
            let used = self.rows(piece, false, take)?;
            self.pending.extend_from_slice(piece.get(used..).unwrap_or_default());
            return Ok(());
        }
        if self.pending.len().saturating_add(piece.len()) > LINE_BYTES_MAX {
            return Err(Error::new(Condition::ProgramLimitExceeded, "COPY line is too long"));
        }
        let mut bytes = std::mem::take(&mut self.pending);
        if bytes.capacity() - bytes.len() < piece.len() {
            // It grows to twice its size.
            work::reserve(bytes.capacity().saturating_add(piece.len()))?;
        }
        bytes.extend_from_slice(piece);
        let used = self.rows(&bytes, false, take)?;
        bytes.drain(..used.min(bytes.len()));
        self.pending = bytes;
        Ok(())
    }

    /// The client has no more data: the last line may lack its end.
    pub fn finish(&mut self, take: impl FnMut(&[Value]) -> Result<(), Error>) -> Result<(), Error> {
        let bytes = std::mem::take(&mut self.pending);
        self.rows(&bytes, true, take).map(|_| ())
    }

    /// Deals with the lines in `bytes`; how many bytes they took up.
    fn rows(
        &mut self,
        bytes: &[u8],
        last: bool,
        mut take: impl FnMut(&[Value]) -> Result<(), Error>,
    ) -> Result<usize, Error> {
        let mut used = 0;
        while !self.ended {
            let rest = bytes.get(used..).unwrap_or_default();
            let found = self.lines.next(rest, last).map_err(|error| {
                let context = self.context_line(self.line + 1);
                error.context(context)
            })?;
            match found {
                Line::Partial => return Ok(used),
                Line::EndOfData => self.ended = true,
                Line::Whole { length, consumed } => {
                    self.line += 1;
                    self.line(rest.get(..length).unwrap_or_default(), &mut take)?;
                    used += consumed;
                }
            }
        }
        Ok(bytes.len())
    }

    fn line(&mut self, line: &[u8], take: &mut impl FnMut(&[Value]) -> Result<(), Error>) -> Result<(), Error> {
        let whole = |error: Error, reader: &Self| {
            let shown = cut(&String::from_utf8_lossy(line));
            error.context(format!("{}: \"{shown}\"", reader.context_line(reader.line)))
        };
        if self.header_due {
            self.header_due = false;
            return self.header(line).map_err(|error| whole(error, self));
        }
        // An empty line is a row without columns, if the table has none.
        if self.copy.columns.is_empty() && line.is_empty() {
            return take(&[]).map_err(|error| error.context(self.context_line(self.line)));
        }
        crate::protocol::utf8(line).map_err(|violation| {
            let context = self.context_line(self.line);
            Error::from(violation).context(context)
        })?;
        // Its fields, and their values.
        work::reserve(line.len().saturating_mul(2))?;
        self.fields.split(line, &self.copy.format).map_err(|error| whole(error, self))?;
        self.check_count().map_err(|error| whole(error, self))?;
        self.convert()?;
        take(&self.row).map_err(|error| match (&error.fields().context, error.condition()) {
            (Some(_), _) => error,
            // PostgreSQL fills indexes in batches, when the line is no longer at hand.
            (None, Condition::UniqueViolation) => error.context(self.context_line(self.line)),
            (None, _) => whole(error, self),
        })
    }

    fn check_count(&self) -> Result<(), Error> {
        let columns = &self.copy.columns;
        if self.fields.len() > columns.len() {
            return Err(Error::new(Condition::BadCopyFileFormat, "extra data after last expected column"));
        }
        match columns.get(self.fields.len()) {
            Some(column) => {
                let message = format!("missing data for column \"{}\"", column.name);
                Err(Error::new(Condition::BadCopyFileFormat, message))
            }
            None => Ok(()),
        }
    }

    fn convert(&mut self) -> Result<(), Error> {
        self.row.resize(self.copy.columns.len(), Value::Null);
        for (index, (column, value)) in self.copy.columns.iter().zip(&mut self.row).enumerate() {
            let Some(bytes) = self.fields.field(index) else {
                *value = Value::Null;
                continue;
            };
            let read = crate::protocol::utf8(bytes).map_err(Error::from).and_then(|text| {
                match (column.type_, &mut *value) {
                    // No conversion, and the allocation of the row before serves again.
                    (Type::Text, Value::Text(kept)) => {
                        kept.clear();
                        kept.push_str(text);
                    }
                    (type_, value) => *value = types::input(type_, column.typmod, text, self.context)?,
                }
                Ok(())
            });
            read.map_err(|error| {
                let shown = cut(&String::from_utf8_lossy(bytes));
                let line = context_line(self.copy, self.line);
                error.context(format!("{line}, column {}: \"{shown}\"", column.name))
            })?;
        }
        Ok(())
    }

    fn header(&mut self, line: &[u8]) -> Result<(), Error> {
        if self.copy.format.header != CopyHeader::Match {
            return Ok(());
        }
        self.fields.split(line, &self.copy.format)?;
        let columns = &self.copy.columns;
        if self.fields.len() != columns.len() {
            let message =
                format!("wrong number of fields in header line: got {}, expected {}", self.fields.len(), columns.len());
            return Err(Error::new(Condition::BadCopyFileFormat, message));
        }
        for (index, column) in columns.iter().enumerate() {
            let got = self.fields.field(index).map(String::from_utf8_lossy);
            if got.as_deref() == Some(column.name.as_str()) {
                continue;
            }
            let got = got.map_or("null value".to_owned(), |name| format!("\"{name}\""));
            let (number, name) = (index + 1, &column.name);
            let message = format!("column name mismatch in header line field {number}: got {got}, expected \"{name}\"");
            return Err(Error::new(Condition::BadCopyFileFormat, message));
        }
        Ok(())
    }

    /// The CONTEXT of an error that is not about a row.
    pub fn context(&self) -> String {
        self.context_line(self.line + 1)
    }

    fn context_line(&self, line: u64) -> String {
        context_line(self.copy, line)
    }
}

fn context_line(copy: &Copy, line: u64) -> String {
    format!("COPY {}, line {line}", copy.target)
}

/// At most so much of the data as PostgreSQL shows.
fn cut(text: &str) -> String {
    let mut end = text.len().min(CONTEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    match text.get(..end) {
        Some(shown) if shown.len() < text.len() => format!("{shown}..."),
        _ => text.to_owned(),
    }
}
