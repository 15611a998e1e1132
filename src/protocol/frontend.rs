//! Messages of a client, decoded: borrowed from their frame and checked to the last byte.
//!
//! A decoded message can be walked without further errors; nothing is copied and nothing allocated.

use super::{Format, Frame, Reader, Violation};

/// A message of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// 'Q': statements of the simple protocol.
    Query(&'a str),
    /// 'P': names and analyses a statement.
    Parse(Parse<'a>),
    /// 'B': makes a portal of a statement and parameters.
    Bind(Bind<'a>),
    /// 'D': asks for a statement's or portal's columns.
    Describe(Target<'a>),
    /// 'E': runs a portal.
    Execute {
        /// The portal; empty for the unnamed one.
        portal: &'a str,
        /// Most rows to return; 0 or less: all.
        max_rows: i32,
    },
    /// 'C': forgets a statement or portal.
    Close(Target<'a>),
    /// 'S': ends a series of the extended protocol.
    Sync,
    /// 'H': wants what has been answered so far.
    Flush,
    /// 'X': ends the session.
    Terminate,
    /// 'd': a piece of COPY data; it need not end where a row ends.
    CopyData(&'a [u8]),
    /// 'c': the end of COPY data.
    CopyDone,
    /// 'f': COPY has failed at the client, which says why.
    CopyFail(&'a str),
    /// 'F': a call by function OID. Its body is not read, as the call is refused whatever it says.
    FunctionCall,
}

/// What Describe and Close are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// A prepared statement's name; empty for the unnamed one.
    Statement(&'a str),
    /// A portal's name; empty for the unnamed one.
    Portal(&'a str),
}

/// Parse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parse<'a> {
    /// The statement's name; empty for the unnamed one.
    pub name: &'a str,
    /// Its text.
    pub query: &'a str,
    /// Declared parameter types; fewer than there are parameters is allowed.
    pub types: ParameterTypes<'a>,
}

/// The OIDs declared by Parse; 0 leaves the type to be inferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ParameterTypes<'a> {
    /// Four bytes each.
    bytes: &'a [u8],
}

impl<'a> ParameterTypes<'a> {
    /// How many.
    pub fn len(&self) -> usize {
        self.bytes.len() / 4
    }

    /// Whether none is declared.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The OIDs in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = u32> + use<'a> {
        self.bytes.as_chunks::<4>().0.iter().map(|oid| u32::from_be_bytes(*oid))
    }
}

/// Bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bind<'a> {
    /// The portal's name; empty for the unnamed one.
    pub portal: &'a str,
    /// The statement's name; empty for the unnamed one.
    pub statement: &'a str,
    /// Formats of the parameters; their count fits that of the parameters.
    pub parameter_formats: FormatCodes<'a>,
    /// The parameters' values.
    pub parameters: Parameters<'a>,
    /// Formats wanted for the columns; whether their count fits is for the session to check.
    pub result_formats: FormatCodes<'a>,
}

/// Format codes as Bind gives them: none (all text), one for all, or one each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FormatCodes<'a> {
    /// Two bytes each; all are 0 or 1.
    bytes: &'a [u8],
}

impl FormatCodes<'_> {
    /// How many codes were sent.
    pub fn len(&self) -> usize {
        self.bytes.len() / 2
    }

    /// Whether no code was sent.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether the codes can be for `count` values.
    pub fn fits(&self, count: usize) -> bool {
        self.len() <= 1 || self.len() == count
    }

    /// The format of value `index`, from 0.
    #[inline]
    pub fn format(&self, index: usize) -> Format {
        let codes = self.bytes.as_chunks::<2>().0;
        let code = match codes {
            [] => return Format::Text,
            [one] => Some(one),
            _ => codes.get(index),
        };
        if code == Some(&[0, 1]) { Format::Binary } else { Format::Text }
    }
}

/// Parameter values as Bind gives them, checked already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Parameters<'a> {
    count: u16,
    bytes: &'a [u8],
}

impl<'a> Parameters<'a> {
    /// How many.
    pub fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The values in order; `None` is NULL.
    pub fn iter(&self) -> ParametersIter<'a> {
        ParametersIter { left: self.count, reader: Reader::new(self.bytes) }
    }
}

impl<'a> IntoIterator for Parameters<'a> {
    type Item = Option<&'a [u8]>;
    type IntoIter = ParametersIter<'a>;

    fn into_iter(self) -> ParametersIter<'a> {
        self.iter()
    }
}

/// Walks the values of [`Parameters`].
#[derive(Debug, Clone)]
pub struct ParametersIter<'a> {
    left: u16,
    reader: Reader<'a>,
}

impl<'a> Iterator for ParametersIter<'a> {
    type Item = Option<&'a [u8]>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        self.reader.value("parameter value").ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::from(self.left), Some(usize::from(self.left)))
    }
}

impl ExactSizeIterator for ParametersIter<'_> {}

impl<'a> Message<'a> {
    /// Decodes a frame of a session (see [`super::frame::next`]).
    #[inline]
    pub fn decode(frame: Frame<'a>) -> Result<Message<'a>, Violation> {
        let mut reader = Reader::new(frame.body);
        let (message, name) = match frame.kind {
            b'B' => (Message::Bind(bind(&mut reader)?), "Bind"),
            b'E' => {
                let portal = reader.string("portal name of Execute")?;
                let max_rows = reader.int32("row limit of Execute")?;
                (Message::Execute { portal, max_rows }, "Execute")
            }
            b'Q' => (Message::Query(reader.string("text of Query")?), "Query"),
            b'P' => (Message::Parse(parse(&mut reader)?), "Parse"),
            b'D' => (Message::Describe(target(&mut reader, "DESCRIBE")?), "Describe"),
            b'C' => (Message::Close(target(&mut reader, "CLOSE")?), "Close"),
            b'S' => (Message::Sync, "Sync"),
            b'H' => (Message::Flush, "Flush"),
            // PostgreSQL does not look into Terminate either.
            b'X' => return Ok(Message::Terminate),
            b'd' => return Ok(Message::CopyData(frame.body)),
            b'c' => (Message::CopyDone, "CopyDone"),
            b'f' => (Message::CopyFail(reader.string("reason of CopyFail")?), "CopyFail"),
            b'F' => return Ok(Message::FunctionCall),
            kind => return Err(Violation::UnknownMessage(kind)),
        };
        reader.finish(name)?;
        Ok(message)
    }
}

fn parse<'a>(reader: &mut Reader<'a>) -> Result<Parse<'a>, Violation> {
    let name = reader.string("statement name of Parse")?;
    let query = reader.string("text of Parse")?;
    let count = reader.count("count of parameter types")?;
    let bytes = reader.take(usize::from(count) * 4, "parameter types")?;
    Ok(Parse { name, query, types: ParameterTypes { bytes } })
}

#[inline]
fn bind<'a>(reader: &mut Reader<'a>) -> Result<Bind<'a>, Violation> {
    let portal = reader.string("portal name of Bind")?;
    let statement = reader.string("statement name of Bind")?;
    let parameter_formats = format_codes(reader, "parameter formats")?;
    let count = reader.count("count of parameters")?;
    if !parameter_formats.fits(usize::from(count)) {
        return Err(Violation::ParameterFormats { formats: parameter_formats.len() as u16, parameters: count });
    }
    // One walk now, so that walking again cannot fail. A count beyond the data ends it early.
    let mut walk = *reader;
    for _ in 0..count {
        walk.value("parameter value")?;
    }
    let bytes = reader.take(reader.left() - walk.left(), "parameter values")?;
    let result_formats = format_codes(reader, "result formats")?;
    Ok(Bind { portal, statement, parameter_formats, parameters: Parameters { count, bytes }, result_formats })
}

#[inline]
fn format_codes<'a>(reader: &mut Reader<'a>, field: &'static str) -> Result<FormatCodes<'a>, Violation> {
    let count = reader.count(field)?;
    let bytes = reader.take(usize::from(count) * 2, field)?;
    for code in bytes.as_chunks::<2>().0 {
        let code = i16::from_be_bytes(*code);
        if Format::from_code(code).is_none() {
            return Err(Violation::FormatCode(code));
        }
    }
    Ok(FormatCodes { bytes })
}

fn target<'a>(reader: &mut Reader<'a>, message: &'static str) -> Result<Target<'a>, Violation> {
    let subtype = reader.byte("subtype")?;
    let name = reader.string("name")?;
    match subtype {
        b'S' => Ok(Target::Statement(name)),
        b'P' => Ok(Target::Portal(name)),
        _ => Err(Violation::Subtype { message, subtype }),
    }
}

/// Decodes PasswordMessage. The password is whatever bytes the client sent: it need not be UTF-8.
pub fn password_response<'a>(frame: Frame<'a>) -> Result<&'a [u8], Violation> {
    let mut reader = Reader::new(frame.body);
    let password = reader.c_bytes("password")?;
    reader.finish("PasswordMessage")?;
    Ok(password)
}

/// SASLInitialResponse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaslInitialResponse<'a> {
    /// The mechanism that the client chose.
    pub mechanism: &'a str,
    /// Its first message, if it sent one along.
    pub data: Option<&'a [u8]>,
}

/// Decodes SASLInitialResponse.
pub fn sasl_initial_response<'a>(frame: Frame<'a>) -> Result<SaslInitialResponse<'a>, Violation> {
    let mut reader = Reader::new(frame.body);
    let mechanism = reader.string("SASL mechanism")?;
    let data = reader.value("SASL data")?;
    reader.finish("SASLInitialResponse")?;
    Ok(SaslInitialResponse { mechanism, data })
}

/// Decodes SASLResponse: all of it is the mechanism's.
pub fn sasl_response<'a>(frame: Frame<'a>) -> &'a [u8] {
    frame.body
}
