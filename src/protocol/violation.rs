//! What a peer can do wrong on the wire, and how PostgreSQL words it.
//!
//! Owns the mapping to conditions; whether the session goes on is `loses_sync`.

use std::fmt;

use crate::error::{Condition, Error};

/// A breach of the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// A length word below 4 or above the limit of its message type.
    MessageLength {
        /// The type byte.
        kind: u8,
        /// The length as announced.
        length: u32,
    },
    /// A type byte that no frontend sends.
    UnknownMessage(u8),
    /// A message other than the one that authentication waits for.
    UnexpectedResponse {
        /// What was waited for: "password response" or "SASL response".
        expected: &'static str,
        /// The type byte that came.
        kind: u8,
    },
    /// A start-up packet's length word is out of range.
    StartupLength,
    /// A start-up packet does not end in its terminator, or a parameter has no value.
    StartupLayout,
    /// A start-up packet asks for a major version other than 3.
    UnsupportedVersion {
        /// Major version asked for.
        major: u16,
        /// Minor version asked for.
        minor: u16,
    },
    /// A cancel request without room for a process id, or with a key of 0 or more than 256 bytes.
    CancelLength,
    /// A field has no terminating zero byte.
    UnterminatedString(&'static str),
    /// A field's bytes end before the field does.
    MissingData(&'static str),
    /// Bytes are left over after the last field of the named message.
    TrailingData(&'static str),
    /// Describe or Close of something that is neither 'S' nor 'P'.
    Subtype {
        /// "DESCRIBE" or "CLOSE".
        message: &'static str,
        /// The byte that came.
        subtype: u8,
    },
    /// Bind's count of parameter formats is neither 0, 1 nor the count of parameters.
    ParameterFormats {
        /// How many formats.
        formats: u16,
        /// How many parameters.
        parameters: u16,
    },
    /// A format code that is neither 0 nor 1.
    FormatCode(i16),
    /// Text that is not UTF-8, or holds a zero byte; the offending bytes.
    Encoding {
        /// The bytes, the first `count` of which count.
        bytes: [u8; 4],
        /// 1 to 4.
        count: u8,
    },
    /// The peer closed the connection inside a message.
    UnexpectedEof,
    /// A backend's message that the client side cannot make sense of.
    Backend(&'static str),
}

impl Violation {
    /// Whether the place of the next message is lost, so that the connection has to end. Otherwise the message
    /// was well framed and only its content is wrong: an ordinary error, and the session goes on.
    pub fn loses_sync(&self) -> bool {
        match self {
            Violation::UnterminatedString(_)
            | Violation::MissingData(_)
            | Violation::TrailingData(_)
            | Violation::Subtype { .. }
            | Violation::ParameterFormats { .. }
            | Violation::FormatCode(_)
            | Violation::Encoding { .. } => false,
            Violation::MessageLength { .. }
            | Violation::UnknownMessage(_)
            | Violation::UnexpectedResponse { .. }
            | Violation::StartupLength
            | Violation::StartupLayout
            | Violation::UnsupportedVersion { .. }
            | Violation::CancelLength
            | Violation::UnexpectedEof
            | Violation::Backend(_) => true,
        }
    }

    fn condition(&self) -> Condition {
        match self {
            Violation::Encoding { .. } => Condition::CharacterNotInRepertoire,
            Violation::FormatCode(_) => Condition::InvalidParameterValue,
            Violation::UnsupportedVersion { .. } => Condition::FeatureNotSupported,
            _ => Condition::ProtocolViolation,
        }
    }

    /// Names the field or message concerned, for the DETAIL line.
    fn place(&self) -> Option<String> {
        match self {
            Violation::UnterminatedString(field) => Some(format!("The {field} has no terminating zero byte.")),
            Violation::MissingData(field) => Some(format!("The message ends inside the {field}.")),
            Violation::TrailingData(message) => Some(format!("Bytes follow the last field of {message}.")),
            Violation::MessageLength { kind, length } => {
                Some(format!("A message of type {kind} announces {} bytes.", *length as i32))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::MessageLength { .. } => f.write_str("invalid message length"),
            // PostgreSQL reads the type byte into a plain int, so that it shows as an unsigned number.
            Violation::UnknownMessage(kind) => write!(f, "invalid frontend message type {kind}"),
            Violation::UnexpectedResponse { expected, kind } => {
                write!(f, "expected {expected}, got message type {kind}")
            }
            Violation::StartupLength => f.write_str("invalid length of startup packet"),
            Violation::StartupLayout => f.write_str("invalid startup packet layout: expected terminator as last byte"),
            Violation::UnsupportedVersion { major, minor } => {
                write!(f, "unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.2")
            }
            Violation::CancelLength => f.write_str("invalid length of query cancel packet"),
            Violation::UnterminatedString(_) => f.write_str("invalid string in message"),
            Violation::MissingData(_) => f.write_str("insufficient data left in message"),
            Violation::TrailingData(_) => f.write_str("invalid message format"),
            Violation::Subtype { message, subtype } => write!(f, "invalid {message} message subtype {subtype}"),
            Violation::ParameterFormats { formats, parameters } => {
                write!(f, "bind message has {formats} parameter formats but {parameters} parameters")
            }
            Violation::FormatCode(code) => write!(f, "unsupported format code: {code}"),
            Violation::Encoding { bytes, count } => {
                f.write_str("invalid byte sequence for encoding \"UTF8\":")?;
                bytes.iter().take(usize::from(*count)).try_for_each(|byte| write!(f, " 0x{byte:02x}"))
            }
            Violation::UnexpectedEof => f.write_str("unexpected EOF on client connection"),
            Violation::Backend(what) => write!(f, "invalid backend message: {what}"),
        }
    }
}

impl std::error::Error for Violation {}

impl From<Violation> for Error {
    fn from(violation: Violation) -> Error {
        let error = Error::new(violation.condition(), violation.to_string());
        match violation.place() {
            Some(place) => error.detail(place),
            None => error,
        }
    }
}
