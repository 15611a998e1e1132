//! What a client says before its start-up packet, and whether it has said enough. Pure: the worker asks it of what it
//! has received, the doorman of what it has peeked at, and both go by the same rules.

use crate::error::{Condition, Error};
use crate::protocol::Packet;
use crate::protocol::frame::{self, Next};

/// SSLRequest and GSSENCRequest, once each: whoever asks for more is not a client.
const REQUESTS_MAX: u8 = 2;
/// The type of a TLS record that holds a part of the handshake.
const TLS_HANDSHAKE: u8 = 0x16;
/// A record's type, version and length.
const TLS_HEADER_BYTES: usize = 5;
/// More of a response than this need not be there before a worker reads it.
const RESPONSE_BYTES_MAX: usize = 1024;
/// More of a ClientHello than this need not be there before a worker reads it.
pub const HELLO_BYTES_MAX: usize = 8 * 1024;

/// What was agreed so far; goes with the connection wherever it waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Preface {
    /// Requests for encryption that were answered.
    pub answered: u8,
    /// The last answer was yes: a ClientHello comes next.
    pub tls: bool,
    /// It has sent its start-up packet, which is what it has said first, and was asked for a password or a SASL
    /// mechanism in a message that is the same each time.
    pub asked: bool,
}

/// What a client has said.
#[derive(Debug)]
pub enum Said<'a> {
    /// Not enough yet.
    Part,
    /// The first record of a TLS handshake; `direct` without asking before.
    Hello {
        /// Without asking before.
        direct: bool,
    },
    /// A request for TLS, of that many bytes.
    TlsRequest(usize),
    /// A request for GSSAPI encryption, of that many bytes.
    GssRequest(usize),
    /// A start-up packet or a cancel request, of that many bytes.
    Packet(Packet<'a>, usize),
    /// What it was asked for, behind its start-up packet.
    Response,
}

impl Preface {
    /// As it goes with a connection.
    pub fn to_bytes(self) -> [u8; 2] {
        [self.answered, u8::from(self.tls) | u8::from(self.asked) << 1]
    }

    /// See [`Preface::to_bytes`].
    pub fn from_bytes([answered, flags]: [u8; 2]) -> Preface {
        Preface { answered, tls: flags & 1 != 0, asked: flags & 2 != 0 }
    }

    /// What `bytes`, which have not been answered, amount to. `has_tls`: whether TLS can be had on this connection, and
    /// has not begun.
    pub fn hear<'a>(&self, bytes: &'a [u8], has_tls: bool) -> Result<Said<'a>, Error> {
        let is_direct = has_tls && self.answered == 0 && bytes.first() == Some(&TLS_HANDSHAKE);
        if self.tls || is_direct {
            return Ok(if is_hello(bytes) { Said::Hello { direct: !self.tls } } else { Said::Part });
        }
        let (body, length) = match frame::next_startup(bytes)? {
            Next::Missing(_) => return Ok(Said::Part),
            Next::Complete(body, length) => (body, length),
        };
        if self.asked {
            let rest = bytes.get(length..).unwrap_or_default();
            // What is wrong with it is for the worker to say, and a long one need not be there as a whole.
            let is_part = matches!(frame::next_response(rest, "response"), Ok(Next::Missing(_)));
            return Ok(if is_part && rest.len() < RESPONSE_BYTES_MAX { Said::Part } else { Said::Response });
        }
        let said = match Packet::decode(body)? {
            Packet::SslRequest => Said::TlsRequest(length),
            Packet::GssEncryptionRequest => Said::GssRequest(length),
            packet => return Ok(Said::Packet(packet, length)),
        };
        if self.answered >= REQUESTS_MAX {
            let message = "too many encryption requests in one connection";
            return Err(Error::new(Condition::ProtocolViolation, message));
        }
        Ok(said)
    }
}

/// Whether a TLS record is whole, or as much of it there as has to be. What is no record is for TLS to refuse.
fn is_hello(bytes: &[u8]) -> bool {
    match bytes {
        [TLS_HANDSHAKE, _, _, high, low, ..] => {
            let length = TLS_HEADER_BYTES + usize::from(u16::from_be_bytes([*high, *low]));
            bytes.len() >= length.min(HELLO_BYTES_MAX)
        }
        [TLS_HANDSHAKE, ..] | [] => false,
        _ => true,
    }
}

/// What comes with, or ahead of, a request for TLS was not encrypted, and may be somebody else's.
pub fn unencrypted_data() -> Error {
    Error::new(Condition::ProtocolViolation, "received unencrypted data after SSL request")
        .detail("This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

    #[test]
    fn a_hello_is_enough_when_its_record_is_whole() {
        let agreed = Preface { answered: 1, tls: true, asked: false };
        let mut record = vec![0x16, 3, 1, 1, 0];
        record.resize(5 + 256, 0);
        for length in 0..record.len() {
            assert!(matches!(agreed.hear(&record[..length], true), Ok(Said::Part)), "{length}");
        }
        assert!(matches!(agreed.hear(&record, true), Ok(Said::Hello { direct: false })));
        assert!(matches!(Preface::default().hear(&record, true), Ok(Said::Hello { direct: true })));
        assert!(
            Preface::default().hear(&record, false).is_err(),
            "without TLS it is a start-up packet of wrong length"
        );
        let mut large = vec![0x16, 3, 1, 0xff, 0xff];
        large.resize(HELLO_BYTES_MAX, 0);
        assert!(matches!(agreed.hear(&large, true), Ok(Said::Hello { .. })));
        assert!(matches!(agreed.hear(b"GET / HTTP/1.1\r\n", true), Ok(Said::Hello { .. })), "TLS refuses it");
    }

    #[test]
    fn a_response_is_waited_for_behind_the_start_up_packet() {
        let mut bytes = Vec::new();
        let mut client = crate::protocol::client::ClientEncoder::new(&mut bytes);
        client.startup(crate::protocol::Version { minor: 0 }, &[("user", "ann")]);
        let startup = bytes.len();
        crate::protocol::client::ClientEncoder::new(&mut bytes).password("secret");
        let asked = Preface { asked: true, ..Preface::from_bytes([1, 0]) };
        assert_eq!(Preface::from_bytes(asked.to_bytes()), asked);
        for length in startup..bytes.len() {
            assert!(matches!(asked.hear(&bytes[..length], true), Ok(Said::Part)), "{length}");
        }
        assert!(matches!(asked.hear(&bytes, true), Ok(Said::Response)));
        assert!(matches!(Preface::default().hear(&bytes, true), Ok(Said::Packet(Packet::Startup(_), _))));
    }

    #[test]
    fn requests_are_counted() {
        for answered in 0..REQUESTS_MAX {
            let preface = Preface { answered, ..Preface::default() };
            assert!(matches!(preface.hear(&SSL_REQUEST, true), Ok(Said::TlsRequest(8))));
        }
        assert!(Preface { answered: REQUESTS_MAX, ..Preface::default() }.hear(&SSL_REQUEST, true).is_err());
    }
}
