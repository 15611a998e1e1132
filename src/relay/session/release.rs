//! Giving a session's connection back: between two transactions, or after the session, made as new.

use std::io;
use std::time::{Duration, Instant};

use super::Relay;
use crate::config::PoolMode;
use crate::error::Error;
use crate::protocol::Frame;
use crate::protocol::client::{Backend, ClientEncoder, field};
use crate::relay::lend::Lent;
use crate::relay::login::{Credentials, condition_of};
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
        // A client that closes its statement and prepares it again means a new one, here as with PostgreSQL.
        if std::mem::take(&mut self.is_outdated) {
            self.evict(0);
            return self.send_to_server();
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
        let reset = &self.session.lender.config.server_reset_query;
        let deadline = Instant::now() + RESET_TIMEOUT;
        let result = match is_in_step {
            false => Err(Failure::Broken),
            true if !is_session => ask(&mut lent, &statements, deadline, &mut || false),
            true => ask(&mut lent, &statements, deadline, &mut || false).and_then(|()| {
                ask(&mut lent, reset, deadline, &mut || false).inspect_err(|failure| self.note_refusal(reset, failure))
            }),
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

    /// Servers that speak PostgreSQL's protocol need not know the statement. Each of their connections serves one session then,
    /// which somebody should know; once is enough.
    fn note_refusal(&self, reset: &str, failure: &Failure) {
        if let Failure::Refused(error) = failure
            && self.session.lender.segment.note_upstream_refusal(self.session.pool.index)
        {
            let Credentials { user, database, .. } = &self.session.pool.credentials;
            log::warn!(
                "the server of database \"{database}\" refuses server_reset_query \"{reset}\" for user \"{user}\": {error}; its \
                 connections are closed after each session"
            );
        }
    }
}

/// Why a statement of our own came to nothing.
pub enum Failure {
    /// The server's words.
    Refused(Error),
    /// The connection, its time or its order.
    Broken,
}

impl From<io::Error> for Failure {
    fn from(_: io::Error) -> Self {
        Self::Broken
    }
}

/// Runs a statement of our own on a connection that no client has.
pub fn ask(
    lent: &mut Lent,
    statement: &str,
    deadline: Instant,
    interrupted: &mut dyn FnMut() -> bool,
) -> Result<(), Failure> {
    if statement.is_empty() {
        return Ok(());
    }
    ClientEncoder::new(&mut lent.upstream.output).query(statement);
    loop {
        lent.upstream.send_some()?;
        let Some((kind, body)) = lent.upstream.take_message().map_err(|_| Failure::Broken)? else {
            match lent.upstream.receive() {
                Ok(0) => return Err(Failure::Broken),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
                Err(error) => return Err(error.into()),
            }
            if Instant::now() >= deadline || interrupted() {
                return Err(Failure::Broken);
            }
            continue;
        };
        match Backend::decode(Frame { kind, body: &body }).map_err(|_| Failure::Broken)? {
            Backend::ReadyForQuery(b'I') if lent.upstream.is_quiet() => return Ok(()),
            Backend::ReadyForQuery(_) => return Err(Failure::Broken),
            Backend::ErrorResponse(fields) => {
                let text = |code| field(&fields, code).unwrap_or_default();
                return Err(Failure::Refused(Error::new(condition_of(text(b'C')), text(b'M'))));
            }
            Backend::ParameterStatus(name, value) => lent.upstream.memory.parameters.set(name, value),
            _ => {}
        }
    }
}
