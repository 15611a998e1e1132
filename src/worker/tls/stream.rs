//! One client's TLS session: records in, plain bytes out, and the other way round. Reads and writes no socket.
//!
//! What rustls wants to send (its side of the handshake, tickets, alerts) is gathered before the bytes of the next
//! reply and goes out in the same call.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError};
use rustls::{CipherSuite, Error, HandshakeKind, ProtocolVersion, ServerConfig};

use super::acceptor::PROTOCOL;
use super::certificate::Certificate;
use super::{ClientCertificate, Secured};

/// Room for received records at the start: one of the largest takes more, a statement takes less.
const RECEIVE_BYTES_MIN: usize = 8 * 1024;
/// It grows up to here when the kernel had more than fitted.
const RECEIVE_BYTES_EAGER: usize = 64 * 1024;
/// The largest record: five bytes of header, 16 kB of plain text and up to 2 kB around it.
const RECORD_BYTES_MAX: usize = 5 + 16 * 1024 + 2048;
/// A send buffer larger than this is given back once it is empty.
const SEND_BYTES_KEPT: usize = 256 * 1024;
/// Plain bytes of one record, and what a record adds to them at most.
const FRAGMENT_BYTES: usize = 16 * 1024;
const OVERHEAD_BYTES: usize = 64;

/// What is true after records were opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// The session goes on.
    Open,
    /// The client has closed its side.
    Closed,
}

/// See the module's description.
pub struct Stream {
    connection: UnbufferedServerConnection,
    /// Always initialised to its full length; `start..end` is received and not yet opened.
    received: Vec<u8>,
    start: usize,
    end: usize,
    /// The last receive filled all the room that there was.
    crowded: bool,
    /// Records to be sent.
    outgoing: Vec<u8>,
    end_point: Option<Vec<u8>>,
    secured: Option<Secured>,
    closed: bool,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("secured", &self.secured).finish_non_exhaustive()
    }
}

impl Stream {
    pub(super) fn new(config: Arc<ServerConfig>, end_point: Option<Vec<u8>>) -> Result<Stream, Error> {
        Ok(Stream {
            connection: UnbufferedServerConnection::new(config)?,
            received: vec![0; RECEIVE_BYTES_MIN],
            start: 0,
            end: 0,
            crowded: false,
            outgoing: Vec::new(),
            end_point,
            secured: None,
            closed: false,
        })
    }

    /// Where received bytes go.
    pub fn room(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.received.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let length = self.received.len();
        if self.end == length || (self.crowded && length < RECEIVE_BYTES_EAGER) {
            // No record is longer, so that what is waited for always fits in time.
            self.received.resize((2 * length).min(RECEIVE_BYTES_EAGER.max(RECORD_BYTES_MAX)), 0);
        } else if self.end == 0 && !self.crowded && length > RECEIVE_BYTES_MIN {
            self.received.truncate(RECEIVE_BYTES_MIN);
            self.received.shrink_to_fit();
        }
        self.received.get_mut(self.end..).unwrap_or_default()
    }

    /// The first `count` bytes of [`Stream::room`] have been received.
    pub fn arrived(&mut self, count: usize) {
        self.end = (self.end + count).min(self.received.len());
        self.crowded = self.end == self.received.len();
    }

    /// Bytes that were received before it was known that they are records.
    pub fn take_over(&mut self, bytes: &[u8]) {
        if self.received.len() < bytes.len() {
            self.received.resize(bytes.len(), 0);
        }
        if let Some(place) = self.received.get_mut(..bytes.len()) {
            place.copy_from_slice(bytes);
        }
        self.end = bytes.len();
    }

    /// Opens every record that is whole; plain bytes go to `plain`. After an error [`Stream::outgoing`] has the alert.
    pub fn open(&mut self, mut plain: impl FnMut(&[u8])) -> Result<Opened, Error> {
        loop {
            let records = self.received.get_mut(self.start..self.end).unwrap_or_default();
            let status = self.connection.process_tls_records(records);
            let discard = status.discard;
            let mut is_done = false;
            let result = match status.state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    let mut result = Ok(());
                    while let Some(record) = traffic.next_record() {
                        match record {
                            Ok(record) => plain(record.payload),
                            Err(error) => result = Err(error),
                        }
                    }
                    result
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    encode(&mut self.outgoing, 0, |room| match data.encode(room) {
                        Err(EncodeError::InsufficientSize(size)) => Ok(Err(size.required_size)),
                        Err(EncodeError::AlreadyEncoded) => Ok(Ok(0)),
                        Ok(written) => Ok(Ok(written)),
                    })
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    Ok(())
                }
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    self.closed = true;
                    is_done = true;
                    Ok(())
                }
                // Early data are not offered. What else there may be one day is no reason to go on.
                Ok(_) => {
                    is_done = true;
                    Ok(())
                }
                Err(error) => Err(error),
            };
            self.start = (self.start + discard).min(self.end);
            if let Err(error) = result {
                self.gather_alert();
                return Err(error);
            }
            if is_done {
                return Ok(if self.closed { Opened::Closed } else { Opened::Open });
            }
        }
    }

    /// An alert that an error has left behind.
    fn gather_alert(&mut self) {
        while let Ok(ConnectionState::EncodeTlsData(mut data)) = self.connection.process_tls_records(&mut []).state {
            let encoded = encode(&mut self.outgoing, 0, |room| match data.encode(room) {
                Err(EncodeError::InsufficientSize(size)) => Ok(Err(size.required_size)),
                Err(EncodeError::AlreadyEncoded) => Ok(Ok(0)),
                Ok(written) => Ok(Ok(written)),
            });
            if encoded.is_err() {
                return;
            }
        }
    }

    /// Whether the handshake is not over.
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Whether the client waits for what is in [`Stream::outgoing`] once the handshake is over. In TLS 1.3 that is a
    /// ticket at most, which has time until the next reply.
    pub fn is_awaited(&self) -> bool {
        self.connection.protocol_version() != Some(ProtocolVersion::TLSv1_3)
    }

    /// The client has named the protocol (ALPN).
    pub fn names_protocol(&self) -> bool {
        self.connection.alpn_protocol() == Some(PROTOCOL)
    }

    /// Seals plain bytes into [`Stream::outgoing`].
    pub fn seal(&mut self, plain: &[u8]) -> Result<(), Error> {
        if plain.is_empty() {
            return Ok(());
        }
        let room = plain.len() + plain.len().div_ceil(FRAGMENT_BYTES) * OVERHEAD_BYTES;
        match self.connection.process_tls_records(&mut []).state? {
            ConnectionState::WriteTraffic(mut traffic) => {
                encode(&mut self.outgoing, room, |room| match traffic.encrypt(plain, room) {
                    Err(EncryptError::InsufficientSize(size)) => Ok(Err(size.required_size)),
                    Err(EncryptError::EncryptExhausted) => Err(Error::EncryptError),
                    Ok(written) => Ok(Ok(written)),
                })
            }
            _ => Err(Error::HandshakeNotComplete),
        }
    }

    /// Tells the client that nothing more comes.
    pub fn seal_end(&mut self) {
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) = self.connection.process_tls_records(&mut []).state {
            let _ = encode(&mut self.outgoing, 0, |room| match traffic.queue_close_notify(room) {
                Err(EncryptError::InsufficientSize(size)) => Ok(Err(size.required_size)),
                Err(EncryptError::EncryptExhausted) => Err(Error::EncryptError),
                Ok(written) => Ok(Ok(written)),
            });
        }
    }

    /// Records to be sent.
    pub fn outgoing(&self) -> &[u8] {
        &self.outgoing
    }

    /// They have been sent, or are given up.
    pub fn sent(&mut self) {
        self.outgoing.clear();
        if self.outgoing.capacity() > SEND_BYTES_KEPT {
            self.outgoing.shrink_to(RECEIVE_BYTES_MIN);
        }
    }

    /// What is known of the session once the handshake is over.
    pub fn secured(&self) -> Option<&Secured> {
        self.secured.as_ref()
    }

    /// The handshake is over: notes what came of it. A client's certificate that says what must not be relied on is
    /// an error.
    pub fn settle(&mut self) -> Result<(), String> {
        let client = self.connection.peer_certificates().and_then(<[CertificateDer<'_>]>::first);
        let client_certificate = client
            .map(|der| Certificate::parse(der).map(|contents| ClientCertificate { der: der.to_vec(), contents }))
            .transpose()
            .map_err(|error| error.to_string())?;
        let suite = self.connection.negotiated_cipher_suite().map_or(CipherSuite::Unknown(0), |suite| suite.suite());
        let (cipher, bits) = cipher(suite);
        self.secured = Some(Secured {
            version: match self.connection.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
                _ => "TLSv1.2",
            },
            cipher,
            bits,
            resumed: self.connection.handshake_kind() == Some(HandshakeKind::Resumed),
            client_certificate,
            server_end_point: self.end_point.clone(),
        });
        Ok(())
    }
}

/// Has `write` append to `outgoing`, where it first finds `room` bytes. It answers how much it has written, or (inside)
/// how much room it needs.
fn encode(
    outgoing: &mut Vec<u8>,
    mut room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<Result<usize, usize>, Error>,
) -> Result<(), Error> {
    let before = outgoing.len();
    // Twice at most: the second time there is the room that was asked for.
    for _ in 0..2 {
        outgoing.resize(before + room, 0);
        match write(outgoing.get_mut(before..).unwrap_or_default())? {
            Ok(written) => {
                outgoing.truncate(before + written);
                return Ok(());
            }
            Err(required) => room = required,
        }
    }
    outgoing.truncate(before);
    Err(Error::EncryptError)
}

/// OpenSSL's name of a cipher suite, and its key's length.
fn cipher(suite: CipherSuite) -> (&'static str, u32) {
    match suite {
        CipherSuite::TLS13_AES_256_GCM_SHA384 => ("TLS_AES_256_GCM_SHA384", 256),
        CipherSuite::TLS13_AES_128_GCM_SHA256 => ("TLS_AES_128_GCM_SHA256", 128),
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => ("TLS_CHACHA20_POLY1305_SHA256", 256),
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => ("ECDHE-ECDSA-AES256-GCM-SHA384", 256),
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => ("ECDHE-ECDSA-AES128-GCM-SHA256", 128),
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => ("ECDHE-ECDSA-CHACHA20-POLY1305", 256),
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => ("ECDHE-RSA-AES256-GCM-SHA384", 256),
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => ("ECDHE-RSA-AES128-GCM-SHA256", 128),
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => ("ECDHE-RSA-CHACHA20-POLY1305", 256),
        _ => ("(unknown)", 0),
    }
}
