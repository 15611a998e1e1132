//! The log's lines about a connection that comes to be a session, in PostgreSQL 18's words (`log.connections`).

use crate::auth::{Identity, Method};
use crate::system::listener::Peer;

use super::tls::Secured;

/// It was accepted.
pub fn received(peer: Peer) {
    match peer {
        Peer::Unix => log::info!("connection received: host=[local]"),
        Peer::Tcp(address) => log::info!("connection received: host={} port={}", address.ip(), address.port()),
    }
}

/// The client has proved who it is.
pub fn authenticated(identity: &Identity) {
    let (method, file, line) = (identity.method.name(), &identity.file, identity.line);
    match &identity.authenticated_as {
        Some(name) => log::info!("connection authenticated: identity=\"{name}\" method={method} ({file}:{line})"),
        None => {
            debug_assert_eq!(identity.method, Method::Trust);
            log::info!("connection authenticated: user=\"{}\" method={method} ({file}:{line})", identity.user);
        }
    }
}

/// It may be that role in that database.
pub fn authorized(user: &str, database: &str, application_name: &str, tls: Option<&Secured>) {
    let mut line = format!("connection authorized: user={user} database={database}");
    if !application_name.is_empty() {
        // From the client: one line, whatever it says.
        line += &format!(" application_name={}", application_name.escape_debug());
    }
    if let Some(tls) = tls {
        line += &format!(" SSL enabled (protocol={}, cipher={}, bits={})", tls.version, tls.cipher, tls.bits);
    }
    log::info!("{line}");
}

/// How long it took, in microseconds: all of it since the connection was accepted, and the authentication.
pub fn ready(total_us: u64, authentication_us: u64) {
    let ms = |us: u64| us as f64 / 1000.0;
    log::info!("connection ready: setup total={:.3} ms, authentication={:.3} ms", ms(total_us), ms(authentication_us));
}
