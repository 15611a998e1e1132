//! TLS of one client's connection: the server's certificate and what is known of the session. No I/O of sockets: bytes
//! go in and out of `stream`, which the transport drives.
//!
//! - [`certificate`]: what authentication needs of an X.509 certificate.
//! - [`acceptor`]: certificate, key and client CA from their files to rustls' configuration, once a (re)load.
//! - `stream`: one session's records.
//! - `tickets`: sessions resumed in another process, under keys in the segment.

pub mod acceptor;
pub mod certificate;
pub(super) mod stream;
mod tickets;

pub use acceptor::Acceptor;
pub use certificate::Certificate;

/// What authentication, the log and pg_stat_ssl may know of a client's TLS session; see
/// [`super::transport::Transport::tls`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secured {
    /// As PostgreSQL names it: `TLSv1.3`.
    pub version: &'static str,
    /// OpenSSL's name of the cipher suite.
    pub cipher: &'static str,
    /// Bits of its key.
    pub bits: u32,
    /// The session was resumed from a ticket.
    pub resumed: bool,
    /// What the client has shown, verified against `tls.client_ca`; None if it has shown nothing.
    pub client_certificate: Option<ClientCertificate>,
    /// The hash for channel binding of type `tls-server-end-point`; None where the server's certificate has none.
    pub server_end_point: Option<Vec<u8>>,
}

/// A client's certificate, verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// As it was sent.
    pub der: Vec<u8>,
    /// What it says.
    pub contents: Certificate,
}
