//! What a session of pool mode "transaction" leaves on its connection, which the next client would find: found out
//! before the connection goes back.
//!
//! Only the server knows. It is asked where a statement's text or tag makes it possible; a function that takes an
//! advisory lock, say, under another name is not seen.

use super::Relay;
use crate::config::SessionState;
use crate::error::{Condition, Error};
use crate::protocol::client::ClientEncoder;
use crate::relay::order::Request;
use crate::relay::parameters::{Parameters, tracked};
use crate::session::End;

/// It sets a parameter.
const SET_CONFIG: &[u8] = b"set_config";
/// Words of statements that may leave something, in lower case, each with another first letter.
const WORDS: [&[u8]; 6] = [b"listen", b"temp", b"advisory", b"hold", b"prepare", SET_CONFIG];

/// What is known of what the session leaves.
#[derive(Debug, Default)]
pub(super) struct Leavings {
    /// A statement may have left something since the server was asked last.
    suspected: bool,
    /// A parameter may have been set since the last RESET ALL.
    set: bool,
    /// The server has been asked.
    asked: bool,
    /// What makes the session keep its connection to its end.
    pub(super) pinned: Option<String>,
}

impl Leavings {
    /// A statement of that text goes upstream.
    pub(super) fn consider(&mut self, text: &[u8]) {
        if self.pinned.is_none() && (!self.suspected || !self.set) {
            for (at, byte) in text.iter().enumerate() {
                // One look at each byte: texts may be long, and hardly any has such a word.
                let Some(word) = WORDS.iter().find(|word| word.first() == Some(&byte.to_ascii_lowercase())) else {
                    continue;
                };
                if text.get(at..at + word.len()).is_some_and(|part| part.eq_ignore_ascii_case(word)) {
                    self.suspected = true;
                    self.set |= *word == SET_CONFIG;
                }
            }
        }
    }

    /// A statement was carried out and has that tag.
    pub(super) fn consider_tag(&mut self, tag: &[u8]) {
        self.suspected |= matches!(tag, b"LISTEN\0" | b"PREPARE\0" | b"SET\0");
        self.set |= tag == b"SET\0";
    }

    /// Whether the connection may bear traces that nobody has looked at.
    pub(super) fn is_uncertain(&self) -> bool {
        self.pinned.is_some() || self.suspected || self.set || self.asked
    }
}

impl Relay<'_> {
    /// Between two transactions: whether the connection may go back now. If not, the server has been asked, or told to
    /// forget what was set.
    pub(super) fn is_clean(&mut self) -> bool {
        if self.leavings.pinned.is_some() || self.leavings.asked {
            return false;
        }
        let Some(lent) = &mut self.lent else { return true };
        let statement = if std::mem::take(&mut self.leavings.suspected) {
            self.leavings.asked = true;
            question(&lent.upstream.memory.parameters)
        } else if std::mem::take(&mut self.leavings.set) {
            // Of parameters that an extension has not defined the server gives no list.
            "RESET ALL".to_owned()
        } else {
            return true;
        };
        ClientEncoder::new(&mut lent.upstream.output).query(&statement);
        self.order.sent(Request::Query, true);
        self.unnamed = super::Unnamed::Absent;
        false
    }

    /// Whether the server has been asked and has not finished its answer.
    pub(super) fn is_asked(&self) -> bool {
        self.leavings.asked
    }

    /// The answer has come to its end.
    pub(super) fn answered(&mut self) {
        self.leavings.asked = false;
    }

    /// The session has left `what` on its connection.
    pub(super) fn keep(&mut self, what: &str) -> Result<(), End> {
        let Some(lent) = &self.lent else { return Ok(()) };
        match self.session.lender.config.session_state {
            SessionState::Pin => {
                self.session.lender.pin(lent);
                log::debug!("a session keeps its upstream connection: {what}");
                self.leavings.pinned = Some(what.to_owned());
                Ok(())
            }
            SessionState::Refuse => {
                self.discard();
                let message = format!("{what} is not available in pool mode \"transaction\"");
                Err(self.fail(Error::new(Condition::FeatureNotSupported, message)))
            }
        }
    }
}

/// One row: what the session has that others must not find, or NULL.
fn question(reported: &Parameters) -> String {
    // The others follow the client.
    let known = reported.iter().filter(|(name, _)| tracked(name).is_some());
    let known: Vec<_> = known.map(|(name, _)| format!("'{name}'")).collect();
    let known = known.join(", ");
    format!(
        "SELECT CASE \
         WHEN EXISTS (SELECT FROM pg_catalog.pg_listening_channels()) THEN 'LISTEN' \
         WHEN EXISTS (SELECT FROM pg_catalog.pg_prepared_statements WHERE from_sql) THEN 'PREPARE' \
         WHEN EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE is_holdable) THEN 'a cursor WITH HOLD' \
         WHEN EXISTS (SELECT FROM pg_catalog.pg_class WHERE relnamespace = pg_catalog.pg_my_temp_schema()) \
         THEN 'a temporary table' \
         WHEN EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype = 'advisory' \
         AND pid = pg_catalog.pg_backend_pid()) THEN 'a session advisory lock' \
         WHEN CURRENT_USER <> SESSION_USER THEN 'SET ROLE' \
         WHEN EXISTS (SELECT FROM pg_catalog.pg_settings WHERE source = 'session' AND name <> ALL (ARRAY[{known}]::text[])) \
         THEN 'SET of a parameter that is not reported' END"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_that_may_leave_something_are_suspected() {
        for (text, suspected) in [
            ("select 1", false),
            ("update t set a = 1", false),
            ("Listen x", true),
            ("select pg_ADVISORY_lock(1)", true),
            ("create temporary table x ()", true),
            ("sselect sET_config('a', 'b', false)", true),
            ("set_confi", false),
            ("llisten", true),
        ] {
            let mut leavings = Leavings::default();
            leavings.consider(text.as_bytes());
            assert_eq!(leavings.is_uncertain(), suspected, "{text}");
        }
        let mut leavings = Leavings::default();
        leavings.consider_tag(b"SET\0");
        assert!(leavings.suspected && leavings.set);
    }
}
