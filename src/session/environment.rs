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
}

impl Environment {
    /// What they come to now.
    pub fn new(settings: &Shared) -> Self {
        let settings = settings.lock();
        let limit = |name: &str| settings.show(name).ok().and_then(|text| duration(&text));
        Self {
            text_context: settings.text_context(),
            statement_timeout: limit("statement_timeout"),
            idle_in_transaction_timeout: limit("idle_in_transaction_session_timeout"),
            idle_timeout: limit("idle_session_timeout"),
            least_notice: settings.show("client_min_messages").map_or(rank("NOTICE"), |level| rank(&level)),
        }
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

/// A duration as SHOW prints it: a number and its unit, without one milliseconds. Zero is none.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at_checked(digits)?;
    let unit_ms = match unit {
        "" | "ms" => 1,
        "s" => 1000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let number: u64 = number.parse().ok()?;
    (number > 0).then(|| Duration::from_millis(number.saturating_mul(unit_ms)))
}
