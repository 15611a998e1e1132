//! The frontend/backend protocol, versions 3.0 and 3.2: bytes in, message or typed error out.
//!
//! Owns framing, decoding and encoding of every message, and the limits on them. It does no I/O, keeps no
//! state between messages, and allocates nothing by a length that a client announced: decoded messages borrow
//! from the receive buffer, and the caller grows that buffer as bytes arrive.
//!
//! Specification: PostgreSQL documentation, "Frontend/Backend Protocol", in particular "Message Formats".

pub mod client;
mod encoder;
pub mod frame;
mod frontend;
mod options;
mod reader;
mod startup;
mod violation;

pub use encoder::{Encoder, Field, MAX_ROW_LENGTH, ReadyStatus, Row, Severity};
pub use frame::{Frame, Next};
pub use frontend::{
    Bind, FormatCodes, Message, ParameterTypes, Parameters, ParametersIter, Parse, SaslInitialResponse, Target,
    password_response, sasl_initial_response, sasl_response,
};
pub use options::{Setting, split_options, switches};
pub use reader::{Reader, utf8};
pub use startup::{NEWEST_VERSION, Packet, Parameter, Startup, Version};
pub use violation::Violation;

/// How a value travels: the format code of Bind, RowDescription and the COPY responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Format code 0: the type's text form.
    #[default]
    Text,
    /// Format code 1: the type's binary form.
    Binary,
}

impl Format {
    /// The code on the wire.
    pub const fn code(self) -> i16 {
        match self {
            Format::Text => 0,
            Format::Binary => 1,
        }
    }

    /// The format with that code.
    pub const fn from_code(code: i16) -> Option<Format> {
        match code {
            0 => Some(Format::Text),
            1 => Some(Format::Binary),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
