//! The other end of the wire: what a client sends, and what it reads.
//!
//! For the load generator and tests. Reads as strictly as the server side does.

use super::encoder::{patch, patch_length, put_i16, put_i32, put_string};
use super::{Format, Frame, Next, Reader, Version, Violation, frame};

/// Appends frontend messages to a buffer.
#[derive(Debug)]
pub struct ClientEncoder<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> ClientEncoder<'a> {
    /// Appends to `out`, whose content stays.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// SSLRequest.
    pub fn ssl_request(&mut self) {
        self.out.extend_from_slice(b"\0\0\0\x08\x04\xd2\x16\x2f");
    }

    /// GSSENCRequest.
    pub fn gss_encryption_request(&mut self) {
        self.out.extend_from_slice(b"\0\0\0\x08\x04\xd2\x16\x30");
    }

    /// CancelRequest.
    pub fn cancel_request(&mut self, process: u32, key: &[u8]) {
        self.untagged(|out| {
            out.extend_from_slice(b"\x04\xd2\x16\x2e");
            out.extend_from_slice(&process.to_be_bytes());
            out.extend_from_slice(key);
        });
    }

    /// StartupMessage with these parameters, `user` among them.
    pub fn startup(&mut self, version: Version, parameters: &[(&str, &str)]) {
        self.untagged(|out| {
            out.extend_from_slice(&version.code().to_be_bytes());
            for (name, value) in parameters {
                put_string(out, name);
                put_string(out, value);
            }
            out.push(0);
        });
    }

    /// PasswordMessage.
    pub fn password(&mut self, password: &str) {
        self.message(b'p', |out| put_string(out, password));
    }

    /// SASLInitialResponse.
    pub fn sasl_initial_response(&mut self, mechanism: &str, data: &[u8]) {
        self.message(b'p', |out| {
            put_string(out, mechanism);
            put_i32(out, data.len() as i32);
            out.extend_from_slice(data);
        });
    }

    /// SASLResponse.
    pub fn sasl_response(&mut self, data: &[u8]) {
        self.message(b'p', |out| out.extend_from_slice(data));
    }

    /// Query.
    pub fn query(&mut self, text: &str) {
        self.message(b'Q', |out| put_string(out, text));
    }

    /// Parse.
    pub fn parse(&mut self, name: &str, query: &str, types: &[u32]) {
        self.message(b'P', |out| {
            put_string(out, name);
            put_string(out, query);
            put_i16(out, types.len() as i16);
            types.iter().for_each(|oid| out.extend_from_slice(&oid.to_be_bytes()));
        });
    }

    /// Bind with values in one format, asking for results in one format.
    pub fn bind(&mut self, portal: &str, statement: &str, format: Format, values: &[Option<&[u8]>], result: Format) {
        self.message(b'B', |out| {
            put_string(out, portal);
            put_string(out, statement);
            put_formats(out, format);
            put_i16(out, values.len() as i16);
            for value in values {
                match value {
                    None => put_i32(out, -1),
                    Some(bytes) => {
                        put_i32(out, bytes.len() as i32);
                        out.extend_from_slice(bytes);
                    }
                }
            }
            put_formats(out, result);
        });
    }

    /// Describe of a statement.
    pub fn describe_statement(&mut self, name: &str) {
        self.named(b'D', b'S', name);
    }

    /// Describe of a portal.
    pub fn describe_portal(&mut self, name: &str) {
        self.named(b'D', b'P', name);
    }

    /// Close of a statement.
    pub fn close_statement(&mut self, name: &str) {
        self.named(b'C', b'S', name);
    }

    /// Close of a portal.
    pub fn close_portal(&mut self, name: &str) {
        self.named(b'C', b'P', name);
    }

    /// Execute; `max_rows` 0 for all.
    pub fn execute(&mut self, portal: &str, max_rows: i32) {
        self.message(b'E', |out| {
            put_string(out, portal);
            put_i32(out, max_rows);
        });
    }

    /// Sync.
    pub fn sync(&mut self) {
        self.message(b'S', |_| ());
    }

    /// Flush.
    pub fn flush(&mut self) {
        self.message(b'H', |_| ());
    }

    /// Terminate.
    pub fn terminate(&mut self) {
        self.message(b'X', |_| ());
    }

    /// CopyData.
    pub fn copy_data(&mut self, data: &[u8]) {
        self.message(b'd', |out| out.extend_from_slice(data));
    }

    /// CopyDone.
    pub fn copy_done(&mut self) {
        self.message(b'c', |_| ());
    }

    /// CopyFail.
    pub fn copy_fail(&mut self, reason: &str) {
        self.message(b'f', |out| put_string(out, reason));
    }

    fn named(&mut self, kind: u8, subtype: u8, name: &str) {
        self.message(kind, |out| {
            out.push(subtype);
            put_string(out, name);
        });
    }

    fn message(&mut self, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
        let start = self.out.len();
        self.out.extend_from_slice(&[kind, 0, 0, 0, 0]);
        body(self.out);
        patch_length(self.out, start);
    }

    fn untagged(&mut self, body: impl FnOnce(&mut Vec<u8>)) {
        let start = self.out.len();
        self.out.extend_from_slice(&[0; 4]);
        body(self.out);
        let length = (self.out.len() - start) as u32;
        patch(self.out, start, &length.to_be_bytes());
    }
}

/// One code for all values; none at all for text, which is shorter.
fn put_formats(out: &mut Vec<u8>, format: Format) {
    match format {
        Format::Text => put_i16(out, 0),
        Format::Binary => {
            put_i16(out, 1);
            put_i16(out, 1);
        }
    }
}

/// A message of the server, as far as a client has to tell them apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend<'a> {
    /// AuthenticationOk.
    AuthenticationOk,
    /// AuthenticationCleartextPassword.
    AuthenticationCleartextPassword,
    /// AuthenticationMD5Password, with its salt.
    AuthenticationMd5Password([u8; 4]),
    /// AuthenticationSASL, with the mechanisms.
    AuthenticationSasl(Vec<&'a str>),
    /// AuthenticationSASLContinue.
    AuthenticationSaslContinue(&'a [u8]),
    /// AuthenticationSASLFinal.
    AuthenticationSaslFinal(&'a [u8]),
    /// NegotiateProtocolVersion: version code and unknown options.
    NegotiateProtocolVersion(u32, Vec<&'a str>),
    /// BackendKeyData: process id and secret.
    BackendKeyData(u32, &'a [u8]),
    /// ParameterStatus: name and value.
    ParameterStatus(&'a str, &'a str),
    /// ReadyForQuery: 'I', 'T' or 'E'.
    ReadyForQuery(u8),
    /// RowDescription: names, type OIDs, formats.
    RowDescription(Vec<(&'a str, u32, Format)>),
    /// ParameterDescription.
    ParameterDescription(Vec<u32>),
    /// DataRow.
    DataRow(Vec<Option<&'a [u8]>>),
    /// CommandComplete: the tag.
    CommandComplete(&'a str),
    /// ErrorResponse: fields by their letters.
    ErrorResponse(Vec<(u8, &'a str)>),
    /// NoticeResponse: fields by their letters.
    NoticeResponse(Vec<(u8, &'a str)>),
    /// NotificationResponse: process id, channel, payload.
    NotificationResponse(u32, &'a str, &'a str),
    /// CopyInResponse: format and column count.
    CopyInResponse(Format, u16),
    /// CopyOutResponse: format and column count.
    CopyOutResponse(Format, u16),
    /// CopyData.
    CopyData(&'a [u8]),
    /// CopyDone.
    CopyDone,
    /// EmptyQueryResponse.
    EmptyQueryResponse,
    /// ParseComplete.
    ParseComplete,
    /// BindComplete.
    BindComplete,
    /// CloseComplete.
    CloseComplete,
    /// NoData.
    NoData,
    /// PortalSuspended.
    PortalSuspended,
}

/// The next message of a server in a receive buffer, not yet decoded: enough for a load generator, which mostly
/// looks at the type byte.
pub fn next(buffer: &[u8]) -> Result<Next<Frame<'_>>, Violation> {
    frame::next_backend(buffer)
}

/// The field of an ErrorResponse or NoticeResponse with that letter: `b'C'` for the SQLSTATE.
pub fn field<'a>(fields: &[(u8, &'a str)], code: u8) -> Option<&'a str> {
    fields.iter().find(|field| field.0 == code).map(|field| field.1)
}

impl<'a> Backend<'a> {
    /// Decodes a frame of the server, to its last byte.
    pub fn decode(frame: Frame<'a>) -> Result<Backend<'a>, Violation> {
        let mut reader = Reader::new(frame.body);
        let reader = &mut reader;
        let message = match frame.kind {
            b'R' => authentication(reader)?,
            b'v' => {
                let version = reader.oid("version")?;
                let count = reader.oid("count of options")?;
                let options = (0..count).map(|_| reader.string("option")).collect::<Result<_, _>>()?;
                Backend::NegotiateProtocolVersion(version, options)
            }
            b'K' => Backend::BackendKeyData(reader.oid("process id")?, reader.rest()),
            b'S' => Backend::ParameterStatus(reader.string("name")?, reader.string("value")?),
            b'Z' => Backend::ReadyForQuery(reader.byte("transaction status")?),
            b'T' => row_description(reader)?,
            b't' => {
                let count = reader.count("count of types")?;
                Backend::ParameterDescription((0..count).map(|_| reader.oid("type")).collect::<Result<_, _>>()?)
            }
            b'D' => {
                let count = reader.count("count of columns")?;
                Backend::DataRow((0..count).map(|_| reader.value("value")).collect::<Result<_, _>>()?)
            }
            b'C' => Backend::CommandComplete(reader.string("tag")?),
            b'E' => Backend::ErrorResponse(fields(reader)?),
            b'N' => Backend::NoticeResponse(fields(reader)?),
            b'A' => Backend::NotificationResponse(
                reader.oid("process id")?,
                reader.string("channel")?,
                reader.string("payload")?,
            ),
            b'G' => copy_response(reader).map(|(format, columns)| Backend::CopyInResponse(format, columns))?,
            b'H' => copy_response(reader).map(|(format, columns)| Backend::CopyOutResponse(format, columns))?,
            b'd' => Backend::CopyData(reader.rest()),
            b'c' => Backend::CopyDone,
            b'I' => Backend::EmptyQueryResponse,
            b'1' => Backend::ParseComplete,
            b'2' => Backend::BindComplete,
            b'3' => Backend::CloseComplete,
            b'n' => Backend::NoData,
            b's' => Backend::PortalSuspended,
            _ => return Err(Violation::Backend("unknown type")),
        };
        (*reader).finish("backend message")?;
        Ok(message)
    }
}

fn authentication<'a>(reader: &mut Reader<'a>) -> Result<Backend<'a>, Violation> {
    Ok(match reader.int32("authentication code")? {
        0 => Backend::AuthenticationOk,
        3 => Backend::AuthenticationCleartextPassword,
        5 => {
            let salt = reader.oid("salt")?;
            Backend::AuthenticationMd5Password(salt.to_be_bytes())
        }
        10 => {
            let mut mechanisms = Vec::new();
            loop {
                match reader.string("mechanism")? {
                    "" => break Backend::AuthenticationSasl(mechanisms),
                    mechanism => mechanisms.push(mechanism),
                }
            }
        }
        11 => Backend::AuthenticationSaslContinue(reader.rest()),
        12 => Backend::AuthenticationSaslFinal(reader.rest()),
        _ => return Err(Violation::Backend("unknown authentication request")),
    })
}

fn row_description<'a>(reader: &mut Reader<'a>) -> Result<Backend<'a>, Violation> {
    let mut fields = Vec::new();
    for _ in 0..reader.count("count of columns")? {
        let name = reader.string("column name")?;
        reader.take(6, "table and column")?;
        let oid = reader.oid("type")?;
        reader.take(6, "size and modifier")?;
        fields.push((name, oid, format(reader.int16("format")?)?));
    }
    Ok(Backend::RowDescription(fields))
}

fn fields<'a>(reader: &mut Reader<'a>) -> Result<Vec<(u8, &'a str)>, Violation> {
    let mut fields = Vec::new();
    loop {
        match reader.byte("field code")? {
            0 => return Ok(fields),
            code => fields.push((code, reader.string("field")?)),
        }
    }
}

fn copy_response(reader: &mut Reader<'_>) -> Result<(Format, u16), Violation> {
    let whole = format(i16::from(reader.byte("format")?))?;
    let columns = reader.count("count of columns")?;
    for _ in 0..columns {
        format(reader.int16("column format")?)?;
    }
    Ok((whole, columns))
}

fn format(code: i16) -> Result<Format, Violation> {
    Format::from_code(code).ok_or(Violation::FormatCode(code))
}
