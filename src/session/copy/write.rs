//! COPY TO STDOUT: rows into CopyData, one message a row.

use crate::engine::RowSink;
use crate::error::Error;
use crate::protocol::Format;
use crate::session::client::{Client, FLUSH_BYTES};
use crate::session::environment::Environment;
use crate::session::rows::send_notice;
use crate::sql::plan::{Copy, CopyFormat, CopyHeader};
use crate::sql::types::{self, Datum};

/// Sends rows as COPY data.
pub struct CopyRows<'a, 'c> {
    client: &'a mut Client<'c>,
    copy: &'a Copy,
    environment: &'a Environment,
    /// One value's text, before quoting.
    value: Vec<u8>,
}

impl<'a, 'c> CopyRows<'a, 'c> {
    /// Announces the COPY, and writes its header if it has one.
    pub fn start(client: &'a mut Client<'c>, copy: &'a Copy, environment: &'a Environment) -> Result<Self, Error> {
        client.out().copy_out_response(Format::Text, u16::try_from(copy.columns.len()).unwrap_or(u16::MAX));
        if copy.format.header != CopyHeader::Absent {
            client.out().copy_data(|out| {
                for (index, column) in copy.columns.iter().enumerate() {
                    separate(index, &copy.format, out);
                    write_field(column.name.as_bytes(), &copy.format, Quote::WhereNeeded { alone: false }, out);
                }
                out.push(b'\n');
                Ok::<(), Error>(())
            })?;
        }
        Ok(Self { client, copy, environment, value: Vec::new() })
    }
}

impl RowSink for CopyRows<'_, '_> {
    fn row(&mut self, row: &[Datum<'_>]) -> Result<(), Error> {
        let Self { client, copy, environment, value } = self;
        let format = &copy.format;
        client.out().copy_data(|out| {
            for (index, (datum, column)) in row.iter().zip(&copy.columns).enumerate() {
                separate(index, format, out);
                if *datum == Datum::Null {
                    out.extend_from_slice(format.null.as_bytes());
                    continue;
                }
                value.clear();
                types::output(column.type_, column.typmod, *datum, &environment.text_context, value);
                let quote = match format.force_quote.contains(&index) {
                    true => Quote::Always,
                    false => Quote::WhereNeeded { alone: copy.columns.len() == 1 },
                };
                write_field(value, format, quote, out);
            }
            out.push(b'\n');
            Ok(())
        })
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

/// When CSV puts a value into quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quote {
    Always,
    /// `alone`: it is the line's only value, so that `\.` would end the data.
    WhereNeeded {
        alone: bool,
    },
}

fn separate(index: usize, format: &CopyFormat, out: &mut Vec<u8>) {
    if index > 0 {
        out.push(format.delimiter);
    }
}

fn write_field(value: &[u8], format: &CopyFormat, quote: Quote, out: &mut Vec<u8>) {
    if format.csv { write_csv(value, format, quote, out) } else { write_text(value, format.delimiter, out) }
}

fn write_text(value: &[u8], delimiter: u8, out: &mut Vec<u8>) {
    for &byte in value {
        let letter = match byte {
            8 => b'b',
            12 => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            11 => b'v',
            b'\\' => b'\\',
            _ if byte == delimiter => byte,
            _ => {
                out.push(byte);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', letter]);
    }
}

fn write_csv(value: &[u8], format: &CopyFormat, quote: Quote, out: &mut Vec<u8>) {
    let special = |byte: &u8| [format.delimiter, format.quote, b'\n', b'\r'].contains(byte);
    let quoted = match quote {
        Quote::Always => true,
        Quote::WhereNeeded { alone } => {
            value == format.null.as_bytes() || value.iter().any(special) || (alone && value == b"\\.")
        }
    };
    if !quoted {
        out.extend_from_slice(value);
        return;
    }
    out.push(format.quote);
    for &byte in value {
        if byte == format.quote || byte == format.escape {
            out.push(format.escape);
        }
        out.push(byte);
    }
    out.push(format.quote);
}
