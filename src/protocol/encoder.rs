//! Messages of the server, appended to a send buffer.
//!
//! Owns every backend message's layout. Lengths are patched in place once the message's end is known, so that
//! a value's text form goes straight into the buffer. Flushing the buffer is the caller's business.

use std::fmt;
use std::io::Write as _;

use super::{Format, Version};
use crate::error::{Condition, Error};

/// Longest DataRow, as PostgreSQL's string buffers: 1 GiB - 1.
pub const MAX_ROW_LENGTH: usize = 0x3fff_ffff;

/// The transaction state in ReadyForQuery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadyStatus {
    /// 'I': not in a transaction block.
    Idle,
    /// 'T': in a transaction block.
    InTransaction,
    /// 'E': in a failed transaction block.
    Failed,
}

/// The severity of an ErrorResponse (the first three) or NoticeResponse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The statement failed.
    Error,
    /// The session ends.
    Fatal,
    /// Every session ends.
    Panic,
    /// Something is probably not as meant.
    Warning,
    /// Something worth knowing.
    Notice,
    /// For a developer.
    Debug,
    /// Asked for by the client.
    Info,
    /// For the operator.
    Log,
}

impl Severity {
    /// The word on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
            Severity::Panic => "PANIC",
            Severity::Warning => "WARNING",
            Severity::Notice => "NOTICE",
            Severity::Debug => "DEBUG",
            Severity::Info => "INFO",
            Severity::Log => "LOG",
        }
    }

    /// The severity of that name; of any other, `Notice`.
    pub fn of_notice(name: &str) -> Severity {
        match name {
            "WARNING" => Severity::Warning,
            "INFO" => Severity::Info,
            "LOG" => Severity::Log,
            "DEBUG" => Severity::Debug,
            _ => Severity::Notice,
        }
    }
}

/// One column of a RowDescription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// The column's name.
    pub name: &'a str,
    /// OID of the table it comes from, or 0.
    pub table: u32,
    /// Its attribute number there, or 0.
    pub column: i16,
    /// OID of its type.
    pub type_oid: u32,
    /// `pg_type.typlen`.
    pub type_size: i16,
    /// Type modifier, or -1.
    pub type_modifier: i32,
    /// Format of its values; Text where not known yet (Describe of a statement).
    pub format: Format,
}

/// Appends messages to a buffer.
#[derive(Debug)]
pub struct Encoder<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Encoder<'a> {
    /// Appends to `out`, whose content stays.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// The buffer.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        self.out
    }

    // Authentication.

    /// AuthenticationOk.
    pub fn authentication_ok(&mut self) {
        self.int32_message(b'R', 0);
    }

    /// AuthenticationCleartextPassword.
    pub fn authentication_cleartext_password(&mut self) {
        self.int32_message(b'R', 3);
    }

    /// AuthenticationMD5Password.
    pub fn authentication_md5_password(&mut self, salt: [u8; 4]) {
        self.message(b'R', |out| {
            put_i32(out, 5);
            out.extend_from_slice(&salt);
        });
    }

    /// AuthenticationGSS.
    pub fn authentication_gss(&mut self) {
        self.int32_message(b'R', 7);
    }

    /// AuthenticationGSSContinue, with a token.
    pub fn authentication_gss_continue(&mut self, token: &[u8]) {
        self.message(b'R', |out| {
            put_i32(out, 8);
            out.extend_from_slice(token);
        });
    }

    /// AuthenticationSASL: the mechanisms on offer, the preferred one first.
    pub fn authentication_sasl(&mut self, mechanisms: &[&str]) {
        self.message(b'R', |out| {
            put_i32(out, 10);
            mechanisms.iter().for_each(|mechanism| put_string(out, mechanism));
            out.push(0);
        });
    }

    /// AuthenticationSASLContinue.
    pub fn authentication_sasl_continue(&mut self, data: &[u8]) {
        self.message(b'R', |out| {
            put_i32(out, 11);
            out.extend_from_slice(data);
        });
    }

    /// AuthenticationSASLFinal.
    pub fn authentication_sasl_final(&mut self, data: &[u8]) {
        self.message(b'R', |out| {
            put_i32(out, 12);
            out.extend_from_slice(data);
        });
    }

    // Start of a session.

    /// NegotiateProtocolVersion: the version spoken from now on and the options not understood.
    ///
    /// The documentation calls the number a minor version; PostgreSQL and its clients use the whole code.
    pub fn negotiate_protocol_version(&mut self, version: Version, unknown_options: &[&str]) {
        self.message(b'v', |out| {
            put_i32(out, version.code() as i32);
            put_i32(out, unknown_options.len() as i32);
            unknown_options.iter().for_each(|option| put_string(out, option));
        });
    }

    /// BackendKeyData: process id and secret (4 bytes up to protocol 3.1, up to 256 from 3.2).
    pub fn backend_key_data(&mut self, process: u32, key: &[u8]) {
        debug_assert!((4..=256).contains(&key.len()), "a cancel key of {} bytes", key.len());
        self.message(b'K', |out| {
            out.extend_from_slice(&process.to_be_bytes());
            out.extend_from_slice(key);
        });
    }

    /// ParameterStatus.
    pub fn parameter_status(&mut self, name: &str, value: &str) {
        self.message(b'S', |out| {
            put_string(out, name);
            put_string(out, value);
        });
    }

    /// ReadyForQuery.
    pub fn ready_for_query(&mut self, status: ReadyStatus) {
        let status = match status {
            ReadyStatus::Idle => b'I',
            ReadyStatus::InTransaction => b'T',
            ReadyStatus::Failed => b'E',
        };
        self.out.extend_from_slice(&[b'Z', 0, 0, 0, 5, status]);
    }

    // Results.

    /// RowDescription.
    pub fn row_description<'f>(&mut self, fields: impl IntoIterator<Item = Field<'f>>) {
        self.message(b'T', |out| {
            let count_at = out.len();
            put_i16(out, 0);
            let mut count = 0u16;
            for field in fields {
                put_string(out, field.name);
                out.extend_from_slice(&field.table.to_be_bytes());
                put_i16(out, field.column);
                out.extend_from_slice(&field.type_oid.to_be_bytes());
                put_i16(out, field.type_size);
                put_i32(out, field.type_modifier);
                put_i16(out, field.format.code());
                count += 1;
            }
            patch(out, count_at, &count.to_be_bytes());
        });
    }

    /// Begins a DataRow of `columns` values.
    #[inline]
    pub fn data_row(&mut self, columns: usize) -> Row<'_> {
        let start = self.out.len();
        let [high, low] = (columns as u16).to_be_bytes();
        self.out.extend_from_slice(&[b'D', 0, 0, 0, 0, high, low]);
        Row { out: self.out, start, left: columns, finished: false }
    }

    /// CommandComplete, for example `format_args!("SELECT {rows}")`.
    pub fn command_complete(&mut self, tag: impl fmt::Display) {
        self.message(b'C', |out| {
            // Writing to a Vec cannot fail.
            let _ = write!(out, "{tag}");
            out.push(0);
        });
    }

    /// EmptyQueryResponse.
    pub fn empty_query_response(&mut self) {
        self.empty(b'I');
    }

    /// ParseComplete.
    pub fn parse_complete(&mut self) {
        self.empty(b'1');
    }

    /// BindComplete.
    pub fn bind_complete(&mut self) {
        self.empty(b'2');
    }

    /// CloseComplete.
    pub fn close_complete(&mut self) {
        self.empty(b'3');
    }

    /// NoData.
    pub fn no_data(&mut self) {
        self.empty(b'n');
    }

    /// PortalSuspended.
    pub fn portal_suspended(&mut self) {
        self.empty(b's');
    }

    /// ParameterDescription: type OIDs.
    pub fn parameter_description(&mut self, types: impl IntoIterator<Item = u32>) {
        self.message(b't', |out| {
            let count_at = out.len();
            put_i16(out, 0);
            let mut count = 0u16;
            for oid in types {
                out.extend_from_slice(&oid.to_be_bytes());
                count += 1;
            }
            patch(out, count_at, &count.to_be_bytes());
        });
    }

    // COPY.

    /// CopyInResponse: the format of the whole, and as many columns in that format.
    pub fn copy_in_response(&mut self, format: Format, columns: u16) {
        self.copy_response(b'G', format, columns);
    }

    /// CopyOutResponse.
    pub fn copy_out_response(&mut self, format: Format, columns: u16) {
        self.copy_response(b'H', format, columns);
    }

    fn copy_response(&mut self, kind: u8, format: Format, columns: u16) {
        self.message(kind, |out| {
            out.push(format.code() as u8);
            out.extend_from_slice(&columns.to_be_bytes());
            (0..columns).for_each(|_| put_i16(out, format.code()));
        });
    }

    /// CopyData, whose content `fill` appends. An error leaves the buffer as it was.
    pub fn copy_data<E>(&mut self, fill: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let start = self.out.len();
        self.out.extend_from_slice(&[b'd', 0, 0, 0, 0]);
        let filled = fill(self.out);
        match filled {
            Ok(()) => patch_length(self.out, start),
            Err(_) => self.out.truncate(start),
        }
        filled
    }

    /// CopyDone.
    pub fn copy_done(&mut self) {
        self.empty(b'c');
    }

    // Out of turn.

    /// ErrorResponse.
    pub fn error_response(&mut self, severity: Severity, error: &Error) {
        self.message(b'E', |out| put_fields(out, severity, error));
    }

    /// NoticeResponse.
    pub fn notice_response(&mut self, severity: Severity, notice: &Error) {
        self.message(b'N', |out| put_fields(out, severity, notice));
    }

    /// NotificationResponse.
    pub fn notification_response(&mut self, process: u32, channel: &str, payload: &str) {
        self.message(b'A', |out| {
            out.extend_from_slice(&process.to_be_bytes());
            put_string(out, channel);
            put_string(out, payload);
        });
    }

    #[inline]
    fn message(&mut self, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
        let start = self.out.len();
        self.out.extend_from_slice(&[kind, 0, 0, 0, 0]);
        body(self.out);
        patch_length(self.out, start);
    }

    fn int32_message(&mut self, kind: u8, value: i32) {
        self.message(kind, |out| put_i32(out, value));
    }

    fn empty(&mut self, kind: u8) {
        self.out.extend_from_slice(&[kind, 0, 0, 0, 4]);
    }
}

/// A DataRow being written. Dropped before [`Row::finish`], it leaves the buffer as it was.
#[derive(Debug)]
pub struct Row<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    left: usize,
    finished: bool,
}

impl Row<'_> {
    /// A NULL.
    #[inline]
    pub fn null(&mut self) {
        self.column();
        self.out.extend_from_slice(&[0xff; 4]);
    }

    /// A value that is there already.
    #[inline]
    pub fn bytes(&mut self, value: &[u8]) {
        self.column();
        self.out.extend_from_slice(&(value.len() as u32).to_be_bytes());
        self.out.extend_from_slice(value);
    }

    /// A value that `write` appends to the buffer.
    #[inline]
    pub fn value<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        self.column();
        let at = self.out.len();
        self.out.extend_from_slice(&[0; 4]);
        let result = write(self.out);
        let length = self.out.len().saturating_sub(at + 4) as u32;
        patch(self.out, at, &length.to_be_bytes());
        result
    }

    /// Ends the row. A row over [`MAX_ROW_LENGTH`] is taken back and refused (54000).
    #[inline]
    pub fn finish(mut self) -> Result<(), Error> {
        debug_assert_eq!(self.left, 0, "columns left out of a row");
        let length = self.out.len() - self.start;
        if length > MAX_ROW_LENGTH {
            return Err(Error::new(Condition::ProgramLimitExceeded, "row is too large to be sent")
                .detail(format!("The row takes {length} bytes, the limit is {MAX_ROW_LENGTH} bytes.")));
        }
        patch_length(self.out, self.start);
        self.finished = true;
        Ok(())
    }

    #[inline]
    fn column(&mut self) {
        debug_assert!(self.left > 0, "more columns than announced");
        self.left = self.left.wrapping_sub(1);
    }
}

impl Drop for Row<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.out.truncate(self.start);
        }
    }
}

/// The fields of an error or notice: code letters as in "Error and Notice Message Fields".
fn put_fields(out: &mut Vec<u8>, severity: Severity, error: &Error) {
    let fields = error.fields();
    let mut field = |code: u8, value: &str| {
        out.push(code);
        put_string(out, value);
    };
    field(b'S', severity.name());
    field(b'V', severity.name());
    field(b'C', fields.condition.code());
    field(b'M', &fields.message);
    let optional = [
        (b'D', &fields.detail),
        (b'H', &fields.hint),
        (b'W', &fields.context),
        (b's', &fields.schema),
        (b't', &fields.table),
        (b'c', &fields.column),
        (b'n', &fields.constraint),
    ];
    for (code, value) in optional {
        if let Some(value) = value {
            field(code, value);
        }
    }
    if let Some(position) = fields.position {
        field(b'P', &position.to_string());
    }
    for (code, value) in [b'F', b'L', b'R'].into_iter().zip(fields.source.iter().flatten()) {
        field(code, value);
    }
    out.push(0);
}

pub(super) fn put_i16(out: &mut Vec<u8>, value: i16) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(super) fn put_i32(out: &mut Vec<u8>, value: i32) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// A zero-terminated string; what follows a zero byte inside would be read as the next field, so it is cut.
pub(super) fn put_string(out: &mut Vec<u8>, value: &str) {
    let bytes = value.as_bytes();
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    out.extend_from_slice(bytes.get(..end).unwrap_or(bytes));
    out.push(0);
}

/// Writes the length of the message that began at `start`, type byte included, into its length word.
#[inline]
pub(super) fn patch_length(out: &mut [u8], start: usize) {
    let length = (out.len() - start - 1) as u32;
    patch(out, start + 1, &length.to_be_bytes());
}

#[inline]
pub(super) fn patch(out: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = out.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}
