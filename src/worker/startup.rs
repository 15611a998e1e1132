//! The first packets of a connection, up to a StartupMessage or CancelRequest, under one deadline.
//!
//! Reads through the session's own transport, so that what a client sent ahead is not lost. Judges only the
//! packets; who may come in is decided elsewhere.

use std::io;
use std::time::Instant;

use shm::Owner;

use super::preface::{Preface, Said, unencrypted_data};
use super::tls::Acceptor;
use super::transport::{Received, Sent, Transport};
use crate::error::{Condition, Error};
use crate::protocol::{Packet, Startup, Version};

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
    /// It has not said it in the time that it may hold a worker; what was agreed so far.
    Slow(Preface),
}

/// What may be had at the door, and how long it may be held.
#[derive(Debug, Clone, Copy)]
pub struct Door<'a> {
    /// TLS, if it can be had on this connection.
    pub tls: Option<&'a Acceptor>,
    /// This process.
    pub owner: Owner,
    /// What was agreed already.
    pub preface: Preface,
    /// When a client that has not said enough is to wait elsewhere.
    pub park_at: Option<Instant>,
    /// When a client without a session is given up.
    pub deadline: Instant,
}

/// The longest name, in bytes (NAMEDATALEN - 1).
const NAME_BYTES_MAX: usize = 63;

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
    /// The packet itself.
    pub packet: Vec<u8>,
}

/// Why no session comes of a connection.
#[derive(Debug)]
pub enum Failure {
    /// The client is to be told, as FATAL.
    Refused(Error),
    /// The same, of one that has not proved who it is: the log has it already, with the rule.
    Unproved(Error),
    /// It was asked for a password, and has not answered in the time that it may hold a worker.
    Slow,
    /// The deadline has passed.
    TimedOut,
    /// The client has gone, or this process is to end.
    Gone,
    /// The TLS handshake failed; the client has had an alert.
    Tls(String),
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

/// Reads until the client has said what it wants, and carries out TLS handshakes. `on_tls` is called before and after
/// one.
pub fn read(
    transport: &mut Transport,
    door: &Door<'_>,
    on_tls: &mut dyn FnMut(bool),
    interrupted: &mut dyn FnMut() -> bool,
) -> Result<Opening, Failure> {
    let mut preface = door.preface;
    let mut tls = door.tls;
    loop {
        let (is_tls, length) = match preface.hear(transport.unread(), tls.is_some())? {
            Said::Part => {
                // Once TLS has begun there is no way back.
                let park_at = door.park_at.filter(|_| transport.tls().is_none());
                if !wait(transport, park_at, door.deadline, interrupted)? {
                    return Ok(Opening::Slow(preface));
                }
                continue;
            }
            Said::Packet(packet, length) => {
                let opening = match packet {
                    Packet::CancelRequest { process, key } => Opening::Cancel { process, key: key.to_vec() },
                    Packet::Startup(startup) => Opening::Session(Box::new(Request::new(&startup)?)),
                    Packet::SslRequest | Packet::GssEncryptionRequest => {
                        return Err(Error::internal("a request for encryption was taken for a start-up packet").into());
                    }
                };
                let opening = match opening {
                    Opening::Session(request) => {
                        let packet = transport.unread().get(..length).unwrap_or_default().to_vec();
                        Opening::Session(Box::new(Request { packet, ..*request }))
                    }
                    opening => opening,
                };
                transport.consume(length);
                return Ok(opening);
            }
            Said::Hello { direct } => {
                let Some(acceptor) = tls.take() else { return Err(Error::internal("TLS is not to be had").into()) };
                on_tls(true);
                shake_hands(transport, acceptor, door, interrupted)?;
                on_tls(false);
                if direct && !transport.names_protocol() {
                    let message = "received direct SSL connection request without ALPN protocol negotiation extension";
                    return Err(Error::new(Condition::ProtocolViolation, message).into());
                }
                // Nothing more to be agreed.
                preface = Preface { answered: u8::MAX, ..Preface::default() };
                continue;
            }
            Said::Response => return Err(Error::internal("a response was taken for a start-up packet").into()),
            Said::TlsRequest(length) => (tls.is_some(), length),
            Said::GssRequest(length) => (false, length),
        };
        transport.consume(length);
        if is_tls && !transport.unread().is_empty() {
            return Err(unencrypted_data().into());
        }
        preface = Preface { answered: preface.answered.saturating_add(1), tls: is_tls, asked: false };
        transport.output().push(if is_tls { b'S' } else { b'N' });
        if transport.send(interrupted)? == Sent::Interrupted {
            return Err(Failure::Gone);
        }
    }
}

/// Waits for more. False when `park_at` has come first.
fn wait(
    transport: &mut Transport,
    park_at: Option<Instant>,
    deadline: Instant,
    interrupted: &mut dyn FnMut() -> bool,
) -> Result<bool, Failure> {
    match park_at.filter(|at| *at < deadline) {
        None => receive(transport, deadline, interrupted).map(|()| true),
        Some(park_at) => match receive(transport, park_at, interrupted) {
            Err(Failure::TimedOut) => Ok(false),
            result => result.map(|()| true),
        },
    }
}

/// A TLS handshake, which begins with what is unread.
fn shake_hands(
    transport: &mut Transport,
    acceptor: &Acceptor,
    door: &Door<'_>,
    interrupted: &mut dyn FnMut() -> bool,
) -> Result<(), Failure> {
    let stream = acceptor.stream(door.owner).map_err(|error| Failure::Tls(error.to_string()))?;
    transport.begin_tls(stream);
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::InvalidData => Failure::Tls(error.to_string()),
        io::ErrorKind::Interrupted => Failure::Gone,
        _ => Failure::Io(error),
    };
    while !transport.shake_hands(interrupted).map_err(failed)? {
        match receive(transport, door.deadline, interrupted) {
            Err(Failure::Io(error)) => return Err(failed(error)),
            result => result?,
        }
    }
    transport.settle_tls().map_err(Failure::Tls)
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
    match transport.receive_within(rest, interrupted)? {
        Received::Bytes => Ok(()),
        Received::TimedOut => Err(Failure::TimedOut),
        Received::Eof | Received::Interrupted => Err(Failure::Gone),
    }
}

/// A role's or database's name as far as names go (NAMEDATALEN): what is longer is cut, as where the name was given, so that
/// both are the same.
fn name(text: &str) -> String {
    text.get(..text.floor_char_boundary(NAME_BYTES_MAX)).unwrap_or_default().to_owned()
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
            user: name(startup.user),
            database: name(startup.database),
            application_name: startup.application_name.unwrap_or_default().to_owned(),
            settings,
            packet: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::client::ClientEncoder;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    fn open(bytes: &[u8], close: bool) -> (Result<Opening, Failure>, Vec<u8>) {
        open_until(bytes, close, None)
    }

    fn open_until(bytes: &[u8], close: bool, park_at: Option<Instant>) -> (Result<Opening, Failure>, Vec<u8>) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(bytes).unwrap();
        if close {
            theirs.shutdown(std::net::Shutdown::Write).unwrap();
        }
        let mut transport = Transport::new(ours.into());
        let owner = Owner { slot: shm::SlotIndex(0), generation: shm::Generation(1) };
        let deadline = Instant::now() + Duration::from_millis(50);
        let door = Door { tls: None, owner, preface: Preface::default(), park_at, deadline };
        let result = read(&mut transport, &door, &mut |_| (), &mut || false);
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
    fn long_names_are_cut_as_those_of_roles_are() {
        let long = "\u{20ac}".repeat(3000);
        let bytes =
            packet(|client| client.startup(Version { minor: 0 }, &[("user", &long), ("database", &"x".repeat(64))]));
        let Opening::Session(request) = open(&bytes, true).0.unwrap() else { panic!("no session") };
        assert_eq!((request.user, request.database), ("\u{20ac}".repeat(21), "x".repeat(63)));
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
        assert_eq!(answer, b"NN");
    }

    #[test]
    fn who_has_not_said_enough_in_its_time_goes_elsewhere_with_what_was_agreed() {
        let soon = || Some(Instant::now() + Duration::from_millis(5));
        assert!(matches!(open_until(b"\0\0", false, soon()).0, Ok(Opening::Slow(Preface { answered: 0, .. }))));
        let bytes = packet(|client| client.ssl_request());
        let (result, answer) = open_until(&bytes, false, soon());
        assert!(matches!(result, Ok(Opening::Slow(Preface { answered: 1, tls: false, asked: false }))));
        assert_eq!(answer, b"N");
        let whole = packet(|client| client.startup(Version { minor: 0 }, &[("user", "ann")]));
        assert!(matches!(open_until(&whole, false, soon()).0, Ok(Opening::Session(_))));
    }
}
