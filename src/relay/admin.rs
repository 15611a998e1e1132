//! One order to the console of a running server, given as its client.

use std::io;
use std::time::{Duration, Instant};

use super::login::{self, Credentials};
use crate::config::Address;
use crate::protocol::Frame;
use crate::protocol::client::{Backend, ClientEncoder, field};

/// How long logging in may take.
const LOG_IN_TIME: Duration = Duration::from_secs(15);

/// A server's console, and as whom it is used.
#[derive(Debug)]
pub struct Access {
    /// An address, or the directory of a Unix socket.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The console's name.
    pub database: String,
    /// Who gives the order.
    pub user: String,
    /// The password, where the server asks for one.
    pub password: Option<String>,
}

/// Gives an order and waits until it has been carried out, as long as that takes. An error is one line for people.
pub fn order(access: Access, order: &str) -> Result<(), String> {
    let Access { host, port, database, user, password } = access;
    let about = format!("console {database}, user {user}");
    let credentials = Credentials { user, database, password, keys: None, settings: &[] };
    let deadline = Instant::now() + LOG_IN_TIME;
    let mut upstream = login::log_in(&Address { host, port }, &credentials, deadline, &mut || false)
        .map_err(|failure| format!("{about}: {}", failure.error))?;
    ClientEncoder::new(&mut upstream.output).query(order);
    let lost = |error: &dyn std::fmt::Display| format!("{about}: the connection was lost: {error}");
    let mut result = Ok(());
    loop {
        upstream.send_some().map_err(|error| lost(&error))?;
        let Some((kind, body)) = upstream.take_message().map_err(|_| lost(&"the server broke the protocol"))? else {
            match upstream.receive() {
                Ok(0) => return result.and(Err(lost(&"the server closed it"))),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
                Err(error) => return Err(lost(&error)),
            }
            continue;
        };
        match Backend::decode(Frame { kind, body: &body }).map_err(|_| lost(&"the server broke the protocol"))? {
            Backend::ErrorResponse(fields) => result = Err(field(&fields, b'M').unwrap_or_default().to_owned()),
            Backend::ReadyForQuery(_) => return result,
            _ => {}
        }
    }
}
