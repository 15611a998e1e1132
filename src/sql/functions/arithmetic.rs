//! Arithmetic of integers, floats and numeric, checked as PostgreSQL checks it.

use super::arguments::{float, int, numeric};
use crate::error::{Condition, Error};
use crate::sql::types::{Datum, Type, Value, float_to_value, integer_range};

/// An integer result, if its type can hold it.
pub fn checked(type_: Type, value: Option<i64>) -> Result<Value, Error> {
    let (least, most) = integer_range(type_);
    match value {
        Some(value) if (least..=most).contains(&value) => Ok(Value::Int(value)),
        _ => Err(Error::new(Condition::NumericValueOutOfRange, format!("{} out of range", type_.name()))),
    }
}

/// `division by zero` (22012).
pub fn division_by_zero() -> Error {
    Error::new(Condition::DivisionByZero, "division by zero")
}

/// The four operations and the remainder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Operation {
    Add,
    Sub,
    Mul,
    Div,
    Rem,
}

/// Integers: result of `type_`.
pub fn integers(type_: Type, operation: Operation, arguments: &[Datum<'_>]) -> Result<Value, Error> {
    let (a, b) = (int(arguments, 0)?, int(arguments, 1)?);
    let value = match operation {
        Operation::Add => a.checked_add(b),
        Operation::Sub => a.checked_sub(b),
        Operation::Mul => a.checked_mul(b),
        _ if b == 0 => return Err(division_by_zero()),
        Operation::Div => a.checked_div(b),
        // The remainder by -1 is 0 even where the quotient overflows.
        Operation::Rem => Some(a.checked_rem(b).unwrap_or(0)),
    };
    checked(type_, value)
}

/// A float result, if finite operands gave a finite one (`inputs` tells).
pub fn float_result(type_: Type, value: f64, finite_inputs: bool, zero_expected: bool) -> Result<Value, Error> {
    let value = if type_ == Type::Float4 { f64::from(value as f32) } else { value };
    if value.is_infinite() && finite_inputs {
        return Err(Error::new(Condition::NumericValueOutOfRange, "value out of range: overflow"));
    }
    if value == 0.0 && !zero_expected {
        return Err(Error::new(Condition::NumericValueOutOfRange, "value out of range: underflow"));
    }
    Ok(float_to_value(value))
}

/// Floats: result of `type_`.
pub fn floats(type_: Type, operation: Operation, arguments: &[Datum<'_>]) -> Result<Value, Error> {
    let (a, b) = (float(arguments, 0)?, float(arguments, 1)?);
    let (value, zero_expected) = match operation {
        Operation::Add => (a + b, true),
        Operation::Sub => (a - b, true),
        Operation::Mul => (a * b, a == 0.0 || b == 0.0),
        _ if b == 0.0 && !a.is_nan() => return Err(division_by_zero()),
        _ => (a / b, a == 0.0 || b.is_infinite()),
    };
    float_result(type_, value, a.is_finite() && b.is_finite(), zero_expected)
}

/// Numeric.
pub fn numerics(operation: Operation, arguments: &[Datum<'_>]) -> Result<Value, Error> {
    let (a, b) = (numeric(arguments, 0)?, numeric(arguments, 1)?);
    let value = match operation {
        Operation::Add => a.add(&b),
        Operation::Sub => a.sub(&b),
        Operation::Mul => a.mul(&b),
        Operation::Div => a.div(&b),
        Operation::Rem => a.rem(&b),
    };
    value.map(|value| value.to_value())
}
