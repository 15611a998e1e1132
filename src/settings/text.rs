//! How values are written as text: the settings that input and output of a type depend on, resolved once.
//!
//! Owns no setting itself; [`super::Settings`] fills it in and conversions of types only read it.

use jiff::tz::TimeZone;

/// First part of `DateStyle`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum DateStyle {
    #[default]
    Iso,
    Sql,
    Postgres,
    German,
}

/// Second part of `DateStyle`: how an ambiguous date is read, and written outside ISO.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum DateOrder {
    #[default]
    Mdy,
    Dmy,
    Ymd,
}

/// `IntervalStyle`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum IntervalStyle {
    #[default]
    Postgres,
    PostgresVerbose,
    SqlStandard,
    Iso8601,
}

/// `bytea_output`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum ByteaOutput {
    #[default]
    Hex,
    Escape,
}

/// Everything that text input and output of a value depend on besides its type.
#[derive(Debug, Clone)]
pub struct TextContext {
    /// `DateStyle`, its format.
    pub date_style: DateStyle,
    /// `DateStyle`, its order.
    pub date_order: DateOrder,
    /// `IntervalStyle`.
    pub interval_style: IntervalStyle,
    /// `TimeZone`.
    pub time_zone: TimeZone,
    /// `extra_float_digits`; above 0 the shortest digits that read back as the same value.
    pub extra_float_digits: i32,
    /// `bytea_output`.
    pub bytea_output: ByteaOutput,
    /// Start of the transaction, in microseconds since 2000-01-01 UTC: what 'now' and 'today' mean. Without it
    /// they are refused.
    pub now_us: Option<i64>,
}

impl Default for TextContext {
    /// PostgreSQL's defaults, with UTC.
    fn default() -> Self {
        Self {
            date_style: DateStyle::Iso,
            date_order: DateOrder::Mdy,
            interval_style: IntervalStyle::Postgres,
            time_zone: TimeZone::UTC,
            extra_float_digits: 1,
            bytea_output: ByteaOutput::Hex,
            now_us: None,
        }
    }
}
