//! Giving a session's connection back: between two transactions, or after the session, made as new.

use std::io;
use std::time::{Duration, Instant};

use super::Relay;
use crate::config::PoolMode;
use crate::protocol::Frame;
use crate::protocol::client::{Backend, ClientEncoder};
use crate::relay::lend::Lent;
use crate::relay::order::Order;
use crate::session::End;

/// How long making a connection as new may take after its client has gone.
const RESET_TIMEOUT: Duration = Duration::from_secs(10);

impl Relay<'_> {
    /// In pool mode "transaction" the connection goes back as soon as no transaction is open and nothing is under way.
    pub(super) fn release_if_between(&mut self) -> Result<(), End> {
        let is_between =
            self.order.is_between_transactions() && self.lent.as_ref().is_some_and(|lent| lent.upstream.is_quiet());
        if self.session.mode == PoolMode::Session || !is_between {
            return Ok(());
        }
        if !self.is_clean() {
            return self.send_to_server();
        }
        if let Some(lent) = self.lent.take() {
            let memory = &lent.upstream.memory;
            let is_same = |name| memory.parameters.get(name) == memory.defaults.get(name);
            // Nobody else shall be who this client has made itself (SET SESSION AUTHORIZATION).
            let is_oneself = is_same("session_authorization") && is_same("is_superuser");
            if is_oneself && !self.order.is_doubtful() {
                self.session.lender.give(lent);
            } else {
                self.session.lender.discard(lent);
            }
            self.order = Order::default();
        }
        Ok(())
    }

    /// The client has gone: a transaction that it left open is rolled back, and the connection is made as new. One on
    /// which something is under way is closed.
    pub(super) fn release_at_end(&mut self) {
        let Some(mut lent) = self.lent.take() else { return };
        let is_in_step =
            self.order.is_idle() && !self.order.is_doubtful() && self.passing == 0 && lent.upstream.is_quiet();
        let mut statements = String::new();
        if self.order.status() != b'I' {
            statements += "ROLLBACK;";
        }
        let is_session = self.session.mode == PoolMode::Session || self.leavings.is_uncertain();
        let result = if !is_in_step {
            Err(io::ErrorKind::InvalidData.into())
        } else {
            let deadline = Instant::now() + RESET_TIMEOUT;
            let reset = &self.session.lender.config.server_reset_query;
            ask(&mut lent, &statements, deadline)
                .and_then(|()| if is_session { ask(&mut lent, reset, deadline) } else { Ok(()) })
        };
        match result {
            Ok(()) => {
                if is_session {
                    lent.upstream.memory.statements.clear();
                }
                self.session.lender.give(lent);
            }
            Err(_) => self.session.lender.discard(lent),
        }
    }
}

/// Runs a statement of our own on a connection that no client has.
pub fn ask(lent: &mut Lent, statement: &str, deadline: Instant) -> io::Result<()> {
    if statement.is_empty() {
        return Ok(());
    }
    let refused = || io::Error::from(io::ErrorKind::InvalidData);
    ClientEncoder::new(&mut lent.upstream.output).query(statement);
    loop {
        lent.upstream.send_some()?;
        let Some((kind, body)) = lent.upstream.take_message().map_err(|_| refused())? else {
            match lent.upstream.receive() {
                Ok(0) => return Err(refused()),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
                Err(error) => return Err(error),
            }
            if Instant::now() >= deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            continue;
        };
        match Backend::decode(Frame { kind, body: &body }).map_err(|_| refused())? {
            Backend::ReadyForQuery(b'I') if lent.upstream.is_quiet() => return Ok(()),
            Backend::ReadyForQuery(_) | Backend::ErrorResponse(_) => return Err(refused()),
            Backend::ParameterStatus(name, value) => lent.upstream.memory.parameters.set(name, value),
            _ => {}
        }
    }
}
