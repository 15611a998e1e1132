//! Mathematical functions.

use bigdecimal::num_bigint::BigInt;

use super::arguments::{float, int, numeric};
use super::arithmetic::{self, Operation, checked, float_result};
use super::{Function, Host};
use crate::error::{Condition, Error};
use crate::sql::types::Type::{Float4, Float8, Int2, Int4, Int8, Numeric as NumericType};
use crate::sql::types::numeric::Numeric;
use crate::sql::types::transcendental;
use crate::sql::types::{Datum, Type, Value, float_to_value};

macro_rules! trigonometric {
    ($name:literal, $call:literal, $method:ident) => {
        Function::call($name, &[Float8], Float8, $call, |_, a| {
            let value = float(a, 0)?;
            let result = value.$method();
            if result.is_nan() && !value.is_nan() {
                return Err(Error::new(Condition::NumericValueOutOfRange, "input is out of range"));
            }
            Ok(float_to_value(result))
        })
    };
}

/// Functions of this module.
pub(super) const TABLE: &[Function] = &[
    Function::call("abs", &[Int2], Int2, "pg_int2abs", |_, a| checked(Int2, int(a, 0)?.checked_abs())),
    Function::call("abs", &[Int4], Int4, "pg_int4abs", |_, a| checked(Int4, int(a, 0)?.checked_abs())),
    Function::call("abs", &[Int8], Int8, "pg_int8abs", |_, a| checked(Int8, int(a, 0)?.checked_abs())),
    Function::call("abs", &[Float4], Float4, "pg_floatabs", |_, a| Ok(float_to_value(float(a, 0)?.abs()))),
    Function::call("abs", &[Float8], Float8, "pg_floatabs", |_, a| Ok(float_to_value(float(a, 0)?.abs()))),
    Function::call("abs", &[NumericType], NumericType, "pg_numeric_abs", |_, a| Ok(numeric(a, 0)?.abs().to_value())),
    Function::call("ceil", &[Float8], Float8, "pg_dceil", |_, a| Ok(float_to_value(float(a, 0)?.ceil()))),
    Function::call("ceil", &[NumericType], NumericType, "pg_numeric_ceil", |_, a| {
        Ok(numeric(a, 0)?.floor(true).to_value())
    }),
    Function::call("ceiling", &[Float8], Float8, "pg_dceil", |_, a| Ok(float_to_value(float(a, 0)?.ceil()))),
    Function::call("ceiling", &[NumericType], NumericType, "pg_numeric_ceil", |_, a| {
        Ok(numeric(a, 0)?.floor(true).to_value())
    }),
    Function::call("floor", &[Float8], Float8, "pg_dfloor", |_, a| Ok(float_to_value(float(a, 0)?.floor()))),
    Function::call("floor", &[NumericType], NumericType, "pg_numeric_floor", |_, a| {
        Ok(numeric(a, 0)?.floor(false).to_value())
    }),
    Function::call("round", &[Float8], Float8, "pg_dround", |_, a| Ok(float_to_value(float(a, 0)?.round_ties_even()))),
    Function::call("round", &[NumericType], NumericType, "pg_numeric_round", |_, a| {
        Ok(numeric(a, 0)?.round(0).to_value())
    }),
    Function::call("round", &[NumericType, Int4], NumericType, "pg_numeric_round_to", |_, a| {
        Ok(numeric(a, 0)?.round(int(a, 1)?).to_value())
    }),
    Function::call("trunc", &[Float8], Float8, "pg_dtrunc", |_, a| Ok(float_to_value(float(a, 0)?.trunc()))),
    Function::call("trunc", &[NumericType], NumericType, "pg_numeric_trunc", |_, a| {
        Ok(numeric(a, 0)?.trunc(0).to_value())
    }),
    Function::call("trunc", &[NumericType, Int4], NumericType, "pg_numeric_trunc_to", |_, a| {
        Ok(numeric(a, 0)?.trunc(int(a, 1)?).to_value())
    }),
    Function::call("sign", &[Float8], Float8, "pg_dsign", |_, a| {
        let value = float(a, 0)?;
        // As PostgreSQL's dsign: what is neither above nor below 0, NaN too, has none.
        Ok(float_to_value(if value == 0.0 || value.is_nan() { 0.0 } else { value.signum() }))
    }),
    Function::call("sign", &[NumericType], NumericType, "pg_numeric_sign", |_, a| {
        Ok(numeric(a, 0)?.signum().map_or(Numeric::NaN, |sign| Numeric::from_int(i64::from(sign))).to_value())
    }),
    Function::call("sqrt", &[Float8], Float8, "pg_dsqrt", |_, a| sqrt(float(a, 0)?)),
    Function::call("sqrt", &[NumericType], NumericType, "pg_numeric_sqrt", |_, a| {
        Ok(numeric(a, 0)?.sqrt()?.to_value())
    }),
    Function::call("cbrt", &[Float8], Float8, "pg_dcbrt", |_, a| Ok(float_to_value(float(a, 0)?.cbrt()))),
    Function::call("power", &[Float8, Float8], Float8, "pg_dpow", |_, a| power(float(a, 0)?, float(a, 1)?)),
    Function::call("power", &[NumericType, NumericType], NumericType, "pg_numeric_power", |_, a| {
        Ok(transcendental::power(&numeric(a, 0)?, &numeric(a, 1)?)?.to_value())
    }),
    Function::call("pow", &[NumericType, NumericType], NumericType, "pg_numeric_power", |_, a| {
        Ok(transcendental::power(&numeric(a, 0)?, &numeric(a, 1)?)?.to_value())
    }),
    Function::call("pow", &[Float8, Float8], Float8, "pg_dpow", |_, a| power(float(a, 0)?, float(a, 1)?)),
    Function::call("exp", &[Float8], Float8, "pg_dexp", |_, a| {
        let value = float(a, 0)?;
        float_result(Float8, value.exp(), value.is_finite(), value == f64::NEG_INFINITY)
    }),
    Function::call("exp", &[NumericType], NumericType, "pg_numeric_exp", |_, a| {
        Ok(transcendental::exp(&numeric(a, 0)?)?.to_value())
    }),
    Function::call("ln", &[NumericType], NumericType, "pg_numeric_ln", |_, a| {
        Ok(transcendental::ln(&numeric(a, 0)?)?.to_value())
    }),
    Function::call("ln", &[Float8], Float8, "pg_dlog1", |_, a| logarithm(float(a, 0)?, f64::ln)),
    Function::call("log", &[Float8], Float8, "pg_dlog10", |_, a| logarithm(float(a, 0)?, f64::log10)),
    Function::call("log", &[NumericType], NumericType, "pg_numeric_log10", log10),
    Function::call("log", &[NumericType, NumericType], NumericType, "pg_numeric_log", |_, a| {
        Ok(transcendental::log(&numeric(a, 0)?, &numeric(a, 1)?)?.to_value())
    }),
    Function::call("log10", &[NumericType], NumericType, "pg_numeric_log10", log10),
    Function::call("log10", &[Float8], Float8, "pg_dlog10", |_, a| logarithm(float(a, 0)?, f64::log10)),
    Function::call("mod", &[Int2, Int2], Int2, "pg_int2mod", |_, a| arithmetic::integers(Int2, Operation::Rem, a)),
    Function::call("mod", &[Int4, Int4], Int4, "pg_int4mod", |_, a| arithmetic::integers(Int4, Operation::Rem, a)),
    Function::call("mod", &[Int8, Int8], Int8, "pg_int8mod", |_, a| arithmetic::integers(Int8, Operation::Rem, a)),
    Function::call("mod", &[NumericType, NumericType], NumericType, "pg_numeric_rem", |_, a| {
        arithmetic::numerics(Operation::Rem, a)
    }),
    Function::call("div", &[NumericType, NumericType], NumericType, "pg_numeric_div_trunc", |_, a| {
        Ok(numeric(a, 0)?.div_whole(&numeric(a, 1)?)?.to_value())
    }),
    Function::call("scale", &[NumericType], Int4, "pg_numeric_scale", |_, a| {
        Ok(numeric(a, 0)?.finite_scale().map_or(Value::Null, Value::Int))
    }),
    Function::call("min_scale", &[NumericType], Int4, "pg_numeric_min_scale", |_, a| {
        Ok(numeric(a, 0)?.trimmed().finite_scale().map_or(Value::Null, Value::Int))
    }),
    Function::call("trim_scale", &[NumericType], NumericType, "pg_numeric_trim_scale", |_, a| {
        Ok(numeric(a, 0)?.trimmed().to_value())
    }),
    Function::call("gcd", &[Int4, Int4], Int4, "pg_int4gcd", |_, a| gcd(Int4, a)),
    Function::call("gcd", &[Int8, Int8], Int8, "pg_int8gcd", |_, a| gcd(Int8, a)),
    Function::call("gcd", &[NumericType, NumericType], NumericType, "pg_numeric_gcd", |_, a| {
        Ok(numeric(a, 0)?.gcd(&numeric(a, 1)?).to_value())
    }),
    Function::call("lcm", &[Int4, Int4], Int4, "pg_int4lcm", |_, a| lcm(Int4, a)),
    Function::call("lcm", &[Int8, Int8], Int8, "pg_int8lcm", |_, a| lcm(Int8, a)),
    Function::call("lcm", &[NumericType, NumericType], NumericType, "pg_numeric_lcm", |_, a| {
        Ok(numeric(a, 0)?.lcm(&numeric(a, 1)?)?.to_value())
    }),
    Function::call("factorial", &[Int8], NumericType, "pg_factorial", factorial),
    Function::call("pi", &[], Float8, "pg_dpi", |_, _| Ok(Value::Float(std::f64::consts::PI))),
    Function::call("random", &[], Float8, "pg_drandom", |_, _| {
        let bits =
            getrandom::u64().map_err(|error| Error::new(Condition::SystemError, format!("no random bits: {error}")))?;
        Ok(Value::Float((bits >> 11) as f64 / (1u64 << 53) as f64))
    })
    .volatile(),
    Function::call("degrees", &[Float8], Float8, "pg_degrees", |_, a| Ok(float_to_value(float(a, 0)?.to_degrees()))),
    Function::call("radians", &[Float8], Float8, "pg_radians", |_, a| Ok(float_to_value(float(a, 0)?.to_radians()))),
    trigonometric!("sin", "pg_dsin", sin),
    trigonometric!("cos", "pg_dcos", cos),
    trigonometric!("tan", "pg_dtan", tan),
    trigonometric!("asin", "pg_dasin", asin),
    trigonometric!("acos", "pg_dacos", acos),
    trigonometric!("atan", "pg_datan", atan),
    Function::call("atan2", &[Float8, Float8], Float8, "pg_datan2", |_, a| {
        Ok(float_to_value(float(a, 0)?.atan2(float(a, 1)?)))
    }),
];

fn log10(_: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    Ok(transcendental::log(&Numeric::from_int(10), &numeric(a, 0)?)?.to_value())
}

fn common_divisor(a: i64, b: i64) -> i128 {
    let (mut a, mut b) = (i128::from(a).abs(), i128::from(b).abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

fn gcd(type_: Type, a: &[Datum<'_>]) -> Result<Value, Error> {
    checked(type_, i64::try_from(common_divisor(int(a, 0)?, int(a, 1)?)).ok())
}

fn lcm(type_: Type, a: &[Datum<'_>]) -> Result<Value, Error> {
    let (x, y) = (int(a, 0)?, int(a, 1)?);
    let multiple = match common_divisor(x, y) {
        0 => Some(0),
        divisor => {
            (i128::from(x).abs() / divisor).checked_mul(i128::from(y).abs()).and_then(|value| i64::try_from(value).ok())
        }
    };
    checked(type_, multiple)
}

fn factorial(_: &dyn Host, a: &[Datum<'_>]) -> Result<Value, Error> {
    let n = int(a, 0)?;
    if n < 0 {
        return Err(Error::new(Condition::NumericValueOutOfRange, "factorial of a negative number is undefined"));
    }
    // 32177! is the largest that numeric holds.
    if n > 32_177 {
        return Err(Error::new(Condition::NumericValueOutOfRange, "value overflows numeric format"));
    }
    let digits = (2..=n).fold(BigInt::from(1), |product, factor| product * factor);
    Ok(Numeric::Finite { digits, scale: 0 }.to_value())
}

/// The square root of a float.
pub fn sqrt(value: f64) -> Result<Value, Error> {
    if value < 0.0 {
        return Err(Error::new(
            Condition::InvalidArgumentForPowerFunction,
            "cannot take square root of a negative number",
        ));
    }
    Ok(float_to_value(value.sqrt()))
}

/// A power of floats.
pub fn power(base: f64, exponent: f64) -> Result<Value, Error> {
    let refuse = |message: &str| Err(Error::new(Condition::InvalidArgumentForPowerFunction, message));
    if base == 0.0 && exponent < 0.0 {
        return refuse("zero raised to a negative power is undefined");
    }
    if base < 0.0 && exponent.is_finite() && exponent.fract() != 0.0 {
        return refuse("a negative number raised to a non-integer power yields a complex result");
    }
    let finite = base.is_finite() && exponent.is_finite();
    float_result(Float8, base.powf(exponent), finite, base == 0.0 || !finite)
}

fn logarithm(value: f64, of: fn(f64) -> f64) -> Result<Value, Error> {
    let refuse = |message: &str| Err(Error::new(Condition::InvalidArgumentForLogarithm, message));
    if value == 0.0 {
        return refuse("cannot take logarithm of zero");
    }
    if value < 0.0 {
        return refuse("cannot take logarithm of a negative number");
    }
    Ok(float_to_value(of(value)))
}
