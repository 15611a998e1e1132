//! The settings that a session itself acts on, resolved once and again only after a change.

use std::time::Duration;

use crate::settings::{Shared, TextContext};

/// What the settings come to.
#[derive(Debug, Clone)]
pub struct Environment {
    /// How values are read and shown.
    pub text_context: TextContext,
    /// `statement_timeout`; `None` when it is off.
    pub statement_timeout: Option<Duration>,
    /// `idle_in_transaction_session_timeout`.
    pub idle_in_transaction_timeout: Option<Duration>,
    /// `idle_session_timeout`.
    pub idle_timeout: Option<Duration>,
    /// Rank of `client_min_messages` in [`rank`].
    least_notice: u8,
    /// The settings' generation that all this is of.
    generation: u64,
}

impl Environment {
    /// What they come to now.
    pub fn new(settings: &Shared) -> Self {
        let settings = settings.lock();
        Self {
            text_context: settings.text_context(),
            statement_timeout: settings.statement_timeout(),
            idle_in_transaction_timeout: settings.idle_in_transaction_timeout(),
            idle_timeout: settings.idle_timeout(),
            least_notice: rank(settings.client_min_messages()),
            generation: settings.generation(),
        }
    }

    /// Whether a setting has changed since, by whatever means: set_config() changes them inside a query.
    pub fn is_stale(&self, settings: &Shared) -> bool {
        settings.lock().generation() != self.generation
    }

    /// Whether the client wants notices of that severity.
    pub fn wants_notice(&self, severity: &str) -> bool {
        severity == "INFO" || rank(severity) >= self.least_notice
    }
}

/// The order of severities for `client_min_messages`, where LOG ranks below NOTICE.
fn rank(severity: &str) -> u8 {
    let is = |name: &str| severity.eq_ignore_ascii_case(name);
    match () {
        () if is("error") => 4,
        () if is("warning") => 3,
        () if is("log") => 1,
        () if severity.get(..5).is_some_and(|word| word.eq_ignore_ascii_case("debug")) => 0,
        () => 2,
    }
}
