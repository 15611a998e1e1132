//! What every statement asks for, resolved when a setting changes instead of with each question.

use std::time::Duration;

use super::Settings;
use super::text::{ByteaOutput, DateOrder, DateStyle, IntervalStyle, TextContext};
use super::time_zone;

/// Typed values of the parameters on the hot path.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// What text input and output depend on.
    pub text_context: TextContext,
    /// Whether commits are waited for.
    pub synchronous_commit: bool,
    /// `None` when it is off.
    pub lock_timeout: Option<Duration>,
}

impl Default for Resolved {
    fn default() -> Self {
        Self { text_context: TextContext::default(), synchronous_commit: true, lock_timeout: None }
    }
}

impl Resolved {
    /// From the values of now.
    pub fn of(settings: &Settings) -> Self {
        let mut style = settings.value("DateStyle").split(", ");
        let text_context = TextContext {
            date_style: match style.next() {
                Some("SQL") => DateStyle::Sql,
                Some("Postgres") => DateStyle::Postgres,
                Some("German") => DateStyle::German,
                _ => DateStyle::Iso,
            },
            date_order: match style.next() {
                Some("DMY") => DateOrder::Dmy,
                Some("YMD") => DateOrder::Ymd,
                _ => DateOrder::Mdy,
            },
            interval_style: match settings.value("IntervalStyle") {
                "postgres_verbose" => IntervalStyle::PostgresVerbose,
                "sql_standard" => IntervalStyle::SqlStandard,
                "iso_8601" => IntervalStyle::Iso8601,
                _ => IntervalStyle::Postgres,
            },
            time_zone: time_zone(settings.value("TimeZone")).unwrap_or(jiff::tz::TimeZone::UTC),
            extra_float_digits: settings.value("extra_float_digits").parse().unwrap_or(1),
            bytea_output: match settings.value("bytea_output") {
                "escape" => ByteaOutput::Escape,
                _ => ByteaOutput::Hex,
            },
            now_us: None,
        };
        Self {
            text_context,
            synchronous_commit: settings.value("synchronous_commit") != "off",
            lock_timeout: settings.timeout("lock_timeout"),
        }
    }
}
