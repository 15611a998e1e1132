//! The first packets of a connection, up to a StartupMessage or CancelRequest, under one deadline.
//!
//! Reads through the session's own transport, so that what a client sent ahead is not lost. Judges only the
//! packets; who may come in is decided elsewhere.

use std::io;
use std::time::{Duration, Instant};

use super::transport::{Received, Sent, Transport};
use crate::error::{Condition, Error};
use crate::protocol::frame::{self, Next};
use crate::protocol::{Packet, Startup, Version};

/// SSLRequest and GSSENCRequest once each, then a start-up packet: whoever sends more is not a client.
const PACKETS_MAX: usize = 3;

/// What a client wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// A session.
    Session(Box<Request>),
    /// Another session's statement cancelled; gets no answer.
    Cancel {
        /// Process id of BackendKeyData.
        process: u32,
        /// Secret of BackendKeyData.
        key: Vec<u8>,
    },
}

/// A StartupMessage, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The version to speak.
    pub version: Version,
    /// Whether NegotiateProtocolVersion has to be sent.
    pub negotiate: bool,
    /// Protocol options that this server does not know.
    pub unknown_options: Vec<String>,
    /// The role.
    pub user: String,
    /// The database.
    pub database: String,
    /// `application_name`, or nothing.
    pub application_name: String,
    /// Settings in the order in which they take effect.
    pub settings: Vec<(String, String)>,
}

/// Why no session comes of a connection.
#[derive(Debug)]
pub enum Failure {
    /// The client is to be told, as FATAL.
    Refused(Error),
    /// The deadline has passed.
    TimedOut,
    /// The client has gone, or this process is to end.
    Gone,
    /// The connection failed.
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// Reads until the client has said what it wants.
pub fn read(
    transport: &mut Transport,
    deadline: Instant,
    interrupted: &mut dyn FnMut() -> bool,
) -> Result<Opening, Failure> {
    for _ in 0..PACKETS_MAX {
        let length = wait_for_packet(transport, deadline, interrupted)?;
        let opening = match frame::next_startup(transport.unread()) {
            Ok(Next::Complete(body, _)) => match Packet::decode(body)? {
                Packet::SslRequest | Packet::GssEncryptionRequest => None,
                Packet::CancelRequest { process, key } => Some(Opening::Cancel { process, key: key.to_vec() }),
                Packet::Startup(startup) => Some(Opening::Session(Box::new(Request::new(&startup)?))),
            },
            _ => None,
        };
        transport.consume(length);
        if let Some(opening) = opening {
            return Ok(opening);
        }
        transport.output().push(b'N');
        if transport.send(interrupted)? == Sent::Interrupted {
            return Err(Failure::Gone);
        }
    }
    Err(Error::new(Condition::ProtocolViolation, "too many encryption requests in one connection").into())
}

/// The length of the whole packet that is then at the start of the unread bytes.
fn wait_for_packet(
    transport: &mut Transport,
    deadline: Instant,
    interrupted: &mut dyn FnMut() -> bool,
) -> Result<usize, Failure> {
    loop {
        // A packet that isn't one: PostgreSQL closes without an answer, since it may not even be a client of its.
        match frame::next_startup(transport.unread()).map_err(Error::from)? {
            Next::Complete(_, length) => return Ok(length),
            Next::Missing(_) => receive(transport, deadline, interrupted)?,
        }
    }
}

/// Waits for more bytes from a client that has not come as far as a session.
pub fn receive(
    transport: &mut Transport,
    deadline: Instant,
    interrupted: &mut dyn FnMut() -> bool,
) -> Result<(), Failure> {
    let rest = deadline.saturating_duration_since(Instant::now());
    if rest.is_zero() {
        return Err(Failure::TimedOut);
    }
    transport.set_receive_timeout(Some(rest.max(Duration::from_millis(1))))?;
    match transport.receive(interrupted)? {
        Received::Bytes => Ok(()),
        Received::TimedOut => Err(Failure::TimedOut),
        Received::Eof | Received::Interrupted => Err(Failure::Gone),
    }
}

impl Request {
    fn new(startup: &Startup<'_>) -> Result<Self, Error> {
        let mut settings: Vec<(String, String)> =
            startup.settings()?.into_iter().map(|setting| (setting.name, setting.value)).collect();
        settings.extend(startup.parameters.iter().map(|setting| (setting.name.to_owned(), setting.value.to_owned())));
        Ok(Self {
            version: startup.version,
            negotiate: startup.negotiate,
            unknown_options: startup.unknown_options.iter().map(|name| (*name).to_owned()).collect(),
            user: startup.user.to_owned(),
            database: startup.database.to_owned(),
            application_name: startup.application_name.unwrap_or_default().to_owned(),
            settings,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::client::ClientEncoder;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    fn open(bytes: &[u8], close: bool) -> (Result<Opening, Failure>, Vec<u8>) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(bytes).unwrap();
        if close {
            theirs.shutdown(std::net::Shutdown::Write).unwrap();
        }
        let mut transport = Transport::new(ours.into());
        let result = read(&mut transport, Instant::now() + Duration::from_millis(50), &mut || false);
        drop(transport);
        let mut answer = Vec::new();
        theirs.read_to_end(&mut answer).unwrap();
        (result, answer)
    }

    fn packet(write: impl FnOnce(&mut ClientEncoder<'_>)) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mut ClientEncoder::new(&mut bytes));
        bytes
    }

    #[test]
    fn encryption_is_declined_and_the_packet_after_it_read() {
        let bytes = packet(|client| {
            client.ssl_request();
            client.gss_encryption_request();
            client.startup(
                Version { minor: 0 },
                &[("user", "ann"), ("options", "-c work_mem=1MB"), ("DateStyle", "ISO")],
            );
        });
        let (result, answer) = open(&bytes, true);
        let Opening::Session(request) = result.unwrap() else { panic!("no session") };
        assert_eq!((request.user.as_str(), request.database.as_str()), ("ann", "ann"));
        assert_eq!(request.settings.len(), 2);
        assert_eq!(answer, b"NN");
    }

    #[test]
    fn silence_ends_at_the_deadline_and_a_hang_up_at_once() {
        assert!(matches!(open(b"\0\0", false).0, Err(Failure::TimedOut)));
        assert!(matches!(open(b"\0\0", true).0, Err(Failure::Gone)));
    }

    #[test]
    fn a_length_out_of_range_is_refused_before_it_is_read() {
        assert!(matches!(open(b"\x7f\xff\xff\xff", false).0, Err(Failure::Refused(_))));
        assert!(matches!(open(b"\0\0\0\x04", false).0, Err(Failure::Refused(_))));
    }

    #[test]
    fn asking_for_encryption_again_and_again_ends() {
        let bytes = packet(|client| (0..9).for_each(|_| client.ssl_request()));
        let (result, answer) = open(&bytes, true);
        assert!(matches!(result, Err(Failure::Refused(_))));
        assert_eq!(answer, b"NNN");
    }
}
