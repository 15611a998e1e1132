//! Conversions between types, and what a type modifier does to a value.

use super::{TextContext, Type, Value};
use crate::error::{Condition, Error};

/// Where a cast may happen without being written. Ordered: what serves implicitly serves everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CastKind {
    /// Anywhere in an expression.
    Implicit,
    /// When a value is stored into a column.
    Assignment,
    /// Only by CAST or `::`.
    Explicit,
}

/// Converts a value and applies the target's type modifier.
///
/// `kind` says how the cast came about: an explicit one truncates what is too long where an assignment fails.
pub fn cast(
    value: Value,
    from: Type,
    to: Type,
    typmod: i32,
    kind: CastKind,
    context: &TextContext,
) -> Result<Value, Error> {
    if value.is_null() {
        return Ok(Value::Null);
    }
    let value = convert(value, from, to, context)?;
    apply_typmod(value, to, typmod, kind == CastKind::Explicit)
}

fn convert(value: Value, from: Type, to: Type, context: &TextContext) -> Result<Value, Error> {
    let _ = context;
    if from == to {
        return Ok(value);
    }
    Err(Error::new(Condition::CannotCoerce, format!("cannot cast type {} to {}", from.name(), to.name())))
}

/// Makes a value of a type fit a column's modifier (-1: anything fits).
pub fn apply_typmod(value: Value, type_: Type, typmod: i32, explicit: bool) -> Result<Value, Error> {
    let _ = (type_, typmod, explicit);
    Ok(value)
}
