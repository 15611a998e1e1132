//! Rows on their way to the client: DataRow straight into the send buffer, RowDescription, notices.
//!
//! The hot path of every query: nothing is allocated per row.

use std::rc::Rc;

use super::client::{Client, FLUSH_BYTES};
use super::environment::Environment;
use crate::engine::RowSink;
use crate::error::Error;
use crate::protocol::{Encoder, Field, Format, FormatCodes, Severity};
use crate::sql::plan::Column;
use crate::sql::types::{self, Datum};
use crate::work;

/// The formats of a result's columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Formats {
    /// All alike.
    All(Format),
    /// Each its own.
    Each(Rc<[Format]>),
}

impl Formats {
    /// Every column as text: the simple protocol.
    pub const TEXT: Formats = Formats::All(Format::Text);

    /// What Bind asked for; the count fits `columns`.
    pub fn of(codes: &FormatCodes<'_>, columns: usize) -> Self {
        let first = codes.format(0);
        if codes.len() <= 1 || (1..columns).all(|index| codes.format(index) == first) {
            return Self::All(first);
        }
        Self::Each((0..columns).map(|index| codes.format(index)).collect())
    }

    /// The format of column `index`.
    #[inline]
    pub fn format(&self, index: usize) -> Format {
        match self {
            Self::All(format) => *format,
            Self::Each(formats) => formats.get(index).copied().unwrap_or_default(),
        }
    }
}

/// Writes a RowDescription.
pub fn describe(out: &mut Encoder<'_>, columns: &[Column], formats: &Formats) {
    out.row_description(columns.iter().enumerate().map(|(index, column)| Field {
        name: &column.name,
        table: column.table,
        column: column.attribute,
        type_oid: column.type_.oid(),
        type_size: column.type_.length(),
        type_modifier: column.typmod,
        format: formats.format(index),
    }));
}

/// Sends a result's rows to the client.
pub struct Rows<'a, 'c> {
    client: &'a mut Client<'c>,
    columns: &'a [Column],
    formats: &'a Formats,
    environment: &'a Environment,
}

impl<'a, 'c> Rows<'a, 'c> {
    /// Rows of these columns.
    pub fn new(
        client: &'a mut Client<'c>,
        columns: &'a [Column],
        formats: &'a Formats,
        environment: &'a Environment,
    ) -> Self {
        Self { client, columns, formats, environment }
    }
}

impl RowSink for Rows<'_, '_> {
    fn row(&mut self, row: &[Datum<'_>]) -> Result<(), Error> {
        if row.len() != self.columns.len() {
            return Err(Error::internal(format!("a row of {} values for {} columns", row.len(), self.columns.len())));
        }
        reserve(row)?;
        let mut out = self.client.out();
        let mut values = out.data_row(row.len());
        for (index, (datum, column)) in row.iter().zip(self.columns).enumerate() {
            match (datum, self.formats.format(index)) {
                (Datum::Null, _) => values.null(),
                (datum, Format::Text) => values.value(|out| {
                    types::output(column.type_, column.typmod, *datum, &self.environment.text_context, out);
                }),
                (datum, Format::Binary) => values.value(|out| types::send(column.type_, *datum, out))?,
            }
        }
        values.finish()
    }

    fn notice(&mut self, severity: &'static str, notice: Error) {
        send_notice(self.client, self.environment, severity, &notice);
    }

    fn full(&self) -> bool {
        self.client.gathered() >= FLUSH_BYTES
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.client.send_within_statement()
    }
}

/// Fails (53200) where a large row cannot be gathered.
fn reserve(row: &[Datum<'_>]) -> Result<(), Error> {
    let length = |datum: &Datum<'_>| match datum {
        Datum::Text(text) => text.len(),
        Datum::Bytes(bytes) => bytes.len().saturating_mul(2),
        _ => 0,
    };
    let length = row.iter().map(length).fold(0, usize::saturating_add);
    // The place for replies grows to twice its size.
    if length > FLUSH_BYTES { work::reserve(length.saturating_mul(2)) } else { Ok(()) }
}

/// Gathers a notice, if the client wants notices of that severity.
pub fn send_notice(client: &mut Client<'_>, environment: &Environment, severity: &'static str, notice: &Error) {
    if environment.wants_notice(severity) {
        client.out().notice_response(Severity::of_notice(severity), notice);
    }
}

/// Passes notices on and takes no rows: for statements whose rows are not for the client.
pub struct Notices<'a, 'c> {
    client: &'a mut Client<'c>,
    environment: &'a Environment,
}

impl<'a, 'c> Notices<'a, 'c> {
    /// Notices to that client.
    pub fn new(client: &'a mut Client<'c>, environment: &'a Environment) -> Self {
        Self { client, environment }
    }
}

impl RowSink for Notices<'_, '_> {
    fn row(&mut self, _row: &[Datum<'_>]) -> Result<(), Error> {
        Ok(())
    }

    fn notice(&mut self, severity: &'static str, notice: Error) {
        send_notice(self.client, self.environment, severity, &notice);
    }
}
