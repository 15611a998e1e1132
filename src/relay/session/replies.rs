//! The server's messages: to whom each belongs, and what it means for the session.

use super::definitions::changes_sessions;
use super::{FLUSH_BYTES, Relay};
use crate::config::PoolMode;
use crate::error::{Condition, Error};
use crate::protocol::client::{self, Backend};
use crate::protocol::{Frame, Next};
use crate::relay::login::condition_of;
use crate::relay::messages;
use crate::relay::order::Fate;
use crate::session::{End, State};

impl Relay<'_> {
    /// Deals with the server's messages that are there.
    pub(super) fn take_from_server(&mut self) -> Result<(), End> {
        self.settle();
        loop {
            self.pass()?;
            if self.session.transport.gathered() >= FLUSH_BYTES {
                self.send_to_client()?;
            }
            let Some(lent) = &mut self.lent else { return Ok(()) };
            if self.passing > 0 || lent.upstream.unread().is_empty() {
                return Ok(());
            }
            let (kind, length) = match client::next(lent.upstream.unread()) {
                Ok(Next::Complete(frame, length)) => (frame.kind, length),
                Ok(Next::Missing(missing)) => {
                    let unread = lent.upstream.unread();
                    let kind = unread.first().copied().unwrap_or_default();
                    // A long row is passed on as it comes.
                    if !matches!(kind, b'D' | b'd') || unread.len() < FLUSH_BYTES {
                        return Ok(());
                    }
                    (kind, unread.len() + missing)
                }
                Err(_) => return Err(self.lose()),
            };
            let status = if kind == b'Z' { lent.upstream.unread().get(5).copied() } else { None };
            self.settle();
            let Ok(fate) = self.order.reply(kind, status) else { return Err(self.lose()) };
            self.notice(kind, length, fate)?;
            (self.passing, self.passing_fate) = (length, fate);
            if fate == Fate::Forward {
                self.traffic.sent(length);
            }
            if kind == b'E' && fate == Fate::Forward && self.session.mode == PoolMode::Transaction {
                self.translate(length);
            }
            self.pass()?;
            self.settle();
        }
    }

    /// An error that names a prepared statement as it is called upstream names it as the client calls it.
    fn translate(&mut self, length: usize) {
        let Some(lent) = &self.lent else { return };
        let body = lent.upstream.unread().get(5..length).unwrap_or_default();
        let Some(translated) = self.with_own_names(body) else { return };
        let out = self.session.transport.output();
        out.push(b'E');
        out.extend_from_slice(&u32::try_from(translated.len() + 4).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(&translated);
        self.passing_fate = Fate::Swallow;
    }

    /// Hands on, or drops, what there is of the message that is being passed.
    fn pass(&mut self) -> Result<(), End> {
        let Some(lent) = &mut self.lent else { return Ok(()) };
        let unread = lent.upstream.unread();
        let count = self.passing.min(unread.len());
        if self.passing_fate == Fate::Forward {
            self.session.transport.output().extend_from_slice(unread.get(..count).unwrap_or_default());
        }
        lent.upstream.consume(count);
        self.passing -= count;
        Ok(())
    }

    /// What a message of the server means for the session, besides being passed on.
    fn notice(&mut self, kind: u8, length: usize, fate: Fate) -> Result<(), End> {
        let is_ours = fate == Fate::Swallow && self.is_asked();
        let is_sorted_out = matches!(kind, b'S' | b'C' | b'Z' | b'E') || is_ours && kind == b'D';
        if !is_sorted_out {
            return Ok(());
        }
        let Some(lent) = &mut self.lent else { return Ok(()) };
        let Some(body) = lent.upstream.unread().get(5..length) else { return Ok(()) };
        if self.session.pool.is_own {
            self.redefined |= kind == b'C' && changes_sessions(body);
            if kind == b'Z' && body == b"I" && std::mem::take(&mut self.redefined) {
                self.session.lender.renew();
            }
        }
        match kind {
            b'S' => {
                let body = body.to_vec();
                let Ok(Backend::ParameterStatus(name, value)) = Backend::decode(Frame { kind, body: &body }) else {
                    return Err(self.lose());
                };
                lent.upstream.memory.parameters.set(name, value);
                // In the server's spelling, so that the next connection is not asked again for what it has.
                if fate == Fate::Forward {
                    self.wanted.set(name, value);
                    if name == "application_name" {
                        self.session.activity.application_name(value);
                    }
                }
            }
            b'D' => {
                let body = body.to_vec();
                if let Ok(Backend::DataRow(values)) = Backend::decode(Frame { kind, body: &body })
                    && let Some(Some(what)) = values.first()
                {
                    return self.keep(&String::from_utf8_lossy(what));
                }
            }
            b'Z' if is_ours => self.answered(),
            // The tag tells it exactly, whatever the text was.
            b'C' if matches!(body, b"DISCARD ALL\0" | b"DEALLOCATE ALL\0") => {
                lent.upstream.memory.statements.clear();
                self.statements.forget_named();
            }
            b'C' if fate == Fate::Forward && self.session.mode == PoolMode::Transaction => {
                self.leavings.consider_tag(body)
            }
            b'Z' if fate == Fate::Forward => {
                let is_over = body.first() == Some(&b'I');
                self.count(Some(is_over));
                let Some(lent) = &self.lent else { return Ok(()) };
                let state = match lent.upstream.unread().get(5) {
                    Some(b'T') => State::IdleInTransaction,
                    Some(b'E') => State::IdleInFailedTransaction,
                    _ => State::Idle,
                };
                self.session.activity.state(state, None);
            }
            b'E' => {
                let error =
                    Error::new(condition_of(&messages::error_field(body, b'C')), messages::error_field(body, b'M'));
                if self.session.mode == PoolMode::Transaction
                    && error.condition() == Condition::FeatureNotSupported
                    && messages::error_field(body, b'R') == "RevalidateCachedQuery"
                {
                    self.is_outdated = true;
                }
                // Severity as it is never translated (PostgreSQL 9.6 and later).
                let is_fatal = matches!(messages::error_field(body, b'V').as_str(), "FATAL" | "PANIC");
                // What the client asked for at the start, and the server refuses: the session cannot be what it wants.
                if is_ours && self.order.take_silent_failure() {
                    return self.keep("what the upstream server does not tell");
                }
                if fate == Fate::Swallow && self.order.take_silent_failure() {
                    self.discard();
                    return Err(self.fail(error));
                }
                if is_fatal {
                    // The client is told in the server's own words.
                    let whole = lent.upstream.unread().get(..length).unwrap_or_default();
                    self.session.transport.output().extend_from_slice(whole);
                    self.discard();
                    return Err(End::Failed(error));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
