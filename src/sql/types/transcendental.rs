//! Exponentials, logarithms and powers of numeric, to the digits that PostgreSQL shows.
//!
//! Fixed-point series over big integers, with guard digits enough that only the shown digits matter.

use bigdecimal::num_bigint::BigInt;
use bigdecimal::{One, Signed, Zero};

use super::numeric::{Numeric, power_of_ten};
use crate::error::{Condition, Error};

/// Significant digits that results have at least.
const SIGNIFICANT_DIGITS: i64 = 16;
/// Digits behind the point that results have at most.
const MAX_DISPLAY_SCALE: i64 = 1000;
/// Digits before the point that a numeric may have.
const MAX_WHOLE_DIGITS: f64 = 131_072.0;
/// Exponents of e beyond this are refused, or give 0 (`NUMERIC_MAX_RESULT_SCALE * 3` in PostgreSQL's `exp_var`).
const MAX_EXPONENT: f64 = 6000.0;
/// The same for the first estimate of a power, which may be a little off.
const MAX_ESTIMATED_EXPONENT: f64 = 6020.0;
/// Digits that rounding errors of a series may spoil.
const GUARD_DIGITS: i64 = 20;
/// log10(e).
const LOG10_E: f64 = std::f64::consts::LOG10_E;

fn overflow() -> Error {
    Error::new(Condition::NumericValueOutOfRange, "value overflows numeric format")
}

/// The scale of a result of about 10^weight, no less than the operands'.
fn result_scale(weight: i64, operands: i64) -> i64 {
    (SIGNIFICANT_DIGITS - weight).max(operands).clamp(0, MAX_DISPLAY_SCALE)
}

/// e to the power of a value.
pub fn exp(value: &Numeric) -> Result<Numeric, Error> {
    match value {
        Numeric::Infinity(true) => Ok(Numeric::from_int(0)),
        Numeric::NaN | Numeric::Infinity(false) => Ok(value.clone()),
        Numeric::Finite { .. } => {
            let exponent = value.to_f64();
            let weight = exponent * LOG10_E;
            if exponent >= MAX_EXPONENT {
                return Err(overflow());
            }
            exp_to_scale(value, weight, result_scale(weight.clamp(-2000.0, 2000.0) as i64, value.scale()))
        }
    }
}

/// e to the power of a finite value; `weight` is about the result's decimal exponent.
fn exp_to_scale(value: &Numeric, weight: f64, scale: i64) -> Result<Numeric, Error> {
    if weight >= MAX_WHOLE_DIGITS {
        return Err(overflow());
    }
    if weight < -(scale as f64) - 2.0 {
        return Ok(Numeric::Finite { digits: BigInt::zero(), scale });
    }
    let digits = scale + weight.max(0.0) as i64 + GUARD_DIGITS;
    let digits = digits + (-weight).max(0.0) as i64;
    let one = power_of_ten(digits);
    let fixed = fixed_point(value, digits);
    let power = exp_fixed(&fixed.abs(), &one);
    let power = if fixed.is_negative() { (&one * &one) / power } else { power };
    Ok(Numeric::Finite { digits: power, scale: digits }.round(scale))
}

/// The natural logarithm.
pub fn ln(value: &Numeric) -> Result<Numeric, Error> {
    positive(value)?;
    match value {
        Numeric::Finite { .. } => {
            let scale = result_scale(ln_weight(value), value.scale());
            let digits = scale + GUARD_DIGITS;
            Ok(Numeric::Finite { digits: ln_fixed(value, digits), scale: digits }.round(scale))
        }
        _ => Ok(value.clone()),
    }
}

/// The logarithm to a base.
pub fn log(base: &Numeric, value: &Numeric) -> Result<Numeric, Error> {
    positive(base)?;
    positive(value)?;
    let (Numeric::Finite { .. }, Numeric::Finite { .. }) = (base, value) else {
        return Ok(match (base, value) {
            (Numeric::NaN, _) | (_, Numeric::NaN) | (Numeric::Infinity(_), Numeric::Infinity(_)) => Numeric::NaN,
            (Numeric::Infinity(_), _) => Numeric::from_int(0),
            _ => Numeric::Infinity(false),
        });
    };
    let weight = ln_weight(value) - ln_weight(base);
    let scale = result_scale(weight, base.scale().max(value.scale()));
    let digits = scale + GUARD_DIGITS + ln_weight(base).abs() + ln_weight(value).abs();
    let (dividend, divisor) = (ln_fixed(value, digits), ln_fixed(base, digits));
    if divisor.is_zero() {
        return Err(Error::new(Condition::DivisionByZero, "division by zero"));
    }
    Ok(Numeric::Finite { digits: dividend * power_of_ten(digits) / divisor, scale: digits }.round(scale))
}

/// A power.
pub fn power(base: &Numeric, exponent: &Numeric) -> Result<Numeric, Error> {
    let (Numeric::Finite { .. }, Numeric::Finite { .. }) = (base, exponent) else {
        return Ok(power_of_special(base, exponent));
    };
    let refuse = |message: &str| Err(Error::new(Condition::InvalidArgumentForPowerFunction, message));
    let scales = base.scale().max(exponent.scale());
    let whole = exponent.sub(&exponent.trunc(0))?.signum() == Some(0);
    match (base.signum(), exponent.signum()) {
        (Some(0), Some(-1)) => return refuse("zero raised to a negative power is undefined"),
        (Some(-1), _) if !whole => {
            return refuse("a negative number raised to a non-integer power yields a complex result");
        }
        (_, Some(0)) => return Ok(Numeric::from_int(1).round(result_scale(0, scales))),
        (Some(0), _) => return Ok(Numeric::from_int(0).round(result_scale(0, scales))),
        _ => {}
    }
    match exponent.to_i64().and_then(|exponent| i32::try_from(exponent).ok()) {
        Some(times) if whole => {
            let weight = log10_estimate(&base.abs()) * f64::from(times);
            if weight > MAX_WHOLE_DIGITS {
                return Err(overflow());
            }
            // Whole exponents give no digits less for a large result.
            let scale = result_scale(0, scales);
            if weight < -(MAX_DISPLAY_SCALE as f64) - 1.0 {
                return Ok(Numeric::Finite { digits: BigInt::zero(), scale });
            }
            whole_power(base, times, weight, scale)
        }
        _ => {
            let result = general_power(&base.abs(), exponent, scales)?;
            // Only a whole exponent beyond 32 bits comes here with a negative base.
            let odd = exponent.rem(&Numeric::from_int(2))?.signum() != Some(0);
            Ok(if base.signum() == Some(-1) && odd { result.negate() } else { result })
        }
    }
}

/// base^exponent = e^(exponent · ln base) for a positive base, in two steps as PostgreSQL's `power_var`: a few digits of the
/// logarithm tell how large the result is, and so how many digits are needed.
fn general_power(base: &Numeric, exponent: &Numeric, scales: i64) -> Result<Numeric, Error> {
    let product = |digits: i64| {
        let digits = digits.max(0);
        Numeric::Finite { digits: ln_fixed(base, digits + GUARD_DIGITS), scale: digits + GUARD_DIGITS }.mul(exponent)
    };
    let ln_weight = ln_weight(base);
    let estimate = product(SIGNIFICANT_DIGITS - ln_weight)?.to_f64();
    if estimate.abs() > MAX_ESTIMATED_EXPONENT {
        return if estimate > 0.0 {
            Err(overflow())
        } else {
            Ok(Numeric::Finite { digits: BigInt::zero(), scale: MAX_DISPLAY_SCALE })
        };
    }
    let weight = estimate * LOG10_E;
    let scale = result_scale(weight as i64, scales);
    // Significant digits of the result are digits behind the point of what e is raised to.
    let digits = (scale + weight as i64).max(0) - ln_weight + exponent.to_f64().abs().log10().clamp(0.0, 1100.0) as i64;
    exp_to_scale(&product(digits)?, weight, scale)
}

fn power_of_special(base: &Numeric, exponent: &Numeric) -> Numeric {
    let one = Numeric::from_int(1);
    if exponent.signum() == Some(0) || *base == one {
        return one;
    }
    if *base == Numeric::NaN || *exponent == Numeric::NaN {
        return Numeric::NaN;
    }
    let result = base.to_f64().powf(exponent.to_f64());
    if result.is_infinite() { Numeric::Infinity(result < 0.0) } else { Numeric::from_int(result as i64) }
}

/// By squaring, each step rounded to the digits that can still matter.
fn whole_power(base: &Numeric, times: i32, weight: f64, scale: i64) -> Result<Numeric, Error> {
    let significant = scale + weight.abs() as i64 + GUARD_DIGITS;
    let rounded = |value: Numeric| {
        let excess = log10_estimate(&value.abs()).floor() as i64;
        let keep = significant - excess;
        if value.scale() > keep { value.round(keep.max(0)) } else { value }
    };
    let (mut result, mut square, mut rest) = (Numeric::from_int(1), base.clone(), times.unsigned_abs());
    // A negative power is the inverse of what may be very small: invert first, with digits to spare.
    if times < 0 {
        square = Numeric::from_int(1).round(significant.min(16_000)).div(base)?.round(16_000.min(significant * 2));
    }
    while rest > 0 {
        if rest & 1 == 1 {
            result = rounded(result.mul(&square)?);
        }
        rest >>= 1;
        if rest > 0 {
            square = rounded(square.mul(&square)?);
        }
    }
    Ok(result.round(scale))
}

fn positive(value: &Numeric) -> Result<(), Error> {
    let refuse = |message: &str| Err(Error::new(Condition::InvalidArgumentForLogarithm, message));
    match value.signum() {
        Some(0) => refuse("cannot take logarithm of zero"),
        Some(-1) => refuse("cannot take logarithm of a negative number"),
        _ => Ok(()),
    }
}

/// About log10 of a positive finite value, whatever its size.
fn log10_estimate(value: &Numeric) -> f64 {
    let Numeric::Finite { digits, scale } = value else { return 0.0 };
    let text = digits.magnitude().to_string();
    let head: f64 = text.get(..17.min(text.len())).and_then(|head| head.parse().ok()).unwrap_or(1.0);
    if head == 0.0 {
        return f64::NEG_INFINITY;
    }
    head.log10() + text.len().saturating_sub(17) as f64 - *scale as f64
}

/// The decimal exponent of ln(value), as PostgreSQL estimates it.
fn ln_weight(value: &Numeric) -> i64 {
    let float = log10_estimate(value);
    // Near 1 the logarithm is about value - 1, which only the exact digits tell.
    if float.abs() < 0.0415 {
        return match value.sub(&Numeric::from_int(1)) {
            Ok(rest) if rest.signum() != Some(0) => log10_estimate(&rest.abs()).floor() as i64,
            _ => 0,
        };
    }
    (float / LOG10_E).abs().log10() as i64
}

/// A finite value as an integer of units of 10^-digits.
fn fixed_point(value: &Numeric, digits: i64) -> BigInt {
    match value {
        Numeric::Finite { digits: own, scale } if digits >= *scale => own * power_of_ten(digits - scale),
        Numeric::Finite { digits: own, scale } => own / power_of_ten(scale - digits),
        _ => BigInt::zero(),
    }
}

/// e^x for x ≥ 0 in fixed point; `one` is the unit.
fn exp_fixed(x: &BigInt, one: &BigInt) -> BigInt {
    // Halved until below 2^-8: the series then gains more than two digits a term.
    let halvings = (x.bits() + 8).saturating_sub(one.bits());
    // Squaring doubles the error each time: carry the bits that it spoils.
    let guard = halvings + 16;
    let unit = one << guard;
    let small = (x << guard) >> halvings;
    let mut sum = unit.clone();
    let mut term = unit.clone();
    for n in 1u32.. {
        term = (&term * &small) / (&unit * n);
        if term.is_zero() {
            break;
        }
        sum += &term;
    }
    for _ in 0..halvings {
        sum = (&sum * &sum) / &unit;
    }
    sum >> guard
}

/// ln of a positive finite value in units of 10^-digits.
fn ln_fixed(value: &Numeric, digits: i64) -> BigInt {
    let Numeric::Finite { digits: own, scale } = value else { return BigInt::zero() };
    // value = m · 10^e · 2^k with m in [0.7, 1.5].
    let exponent = own.magnitude().to_string().len() as i64 - scale;
    let one = power_of_ten(digits);
    let mantissa = fixed_point(&Numeric::Finite { digits: own.clone(), scale: scale + exponent }, digits);
    let (mut mantissa, mut doublings) = (mantissa, 0);
    while &mantissa * 10 < &one * 7 {
        mantissa *= 2;
        doublings -= 1;
    }
    let z = (&mantissa - &one) * &one / (&mantissa + &one);
    let own_part = artanh_series(&z, &one) * 2;
    let ln2 = artanh_inverse(26, &one) * 18 - artanh_inverse(4801, &one) * 2 + artanh_inverse(8749, &one) * 8;
    // ln 10 = 3 ln 2 + ln 1.25 = 3 ln 2 + 2 artanh(1/9).
    let ln10 = &ln2 * 3 + artanh_inverse(9, &one) * 2;
    own_part + ln2 * doublings + ln10 * exponent
}

fn artanh_inverse(n: u32, one: &BigInt) -> BigInt {
    artanh_series(&(one / n), one)
}

/// artanh(z) = z + z³/3 + z⁵/5 + …
fn artanh_series(z: &BigInt, one: &BigInt) -> BigInt {
    let square = z * z / one;
    let (mut sum, mut power) = (z.clone(), z.clone());
    for n in (3u32..).step_by(2) {
        power = &power * &square / one;
        if power.is_zero() || power == -BigInt::one() {
            break;
        }
        sum += &power / n;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n(text: &str) -> Numeric {
        Numeric::parse(text).unwrap()
    }

    #[test]
    fn digits_are_those_of_postgresql() {
        for (text, shown) in [
            ("1.0", "2.7182818284590452"),
            ("0.0", "1.0000000000000000"),
            ("-1.5", "0.2231301601484298"),
            ("10.5", "36315.502674246638"),
            ("100", "26881171418161354484126255515800135873611119"),
            ("-50", "0.0000000000000000000001928749847963918"),
        ] {
            assert_eq!(exp(&n(text)).unwrap().to_string(), shown, "exp({text})");
        }
        for (text, shown) in [
            ("2.0", "0.6931471805599453"),
            ("1.0", "0.0000000000000000"),
            ("1.05", "0.048790164169432003"),
            ("0.99", "-0.010050335853501441"),
            ("9.99", "2.3015845926604622"),
            ("1234567890123", "27.841742138243831"),
            ("0.00001", "-11.512925464970228"),
        ] {
            assert_eq!(ln(&n(text)).unwrap().to_string(), shown, "ln({text})");
        }
        for (base, value, shown) in [
            ("2.0", "64.0", "6.0000000000000000"),
            ("10", "100.0", "2.0000000000000000"),
            ("3.0", "10.0", "2.0959032742893846"),
            ("10", "0.001", "-3.0000000000000000"),
        ] {
            assert_eq!(log(&n(base), &n(value)).unwrap().to_string(), shown, "log({base}, {value})");
        }
        for (base, exponent, shown) in [
            ("2.0", "0.5", "1.4142135623730950"),
            ("2.0", "-3", "0.1250000000000000"),
            ("2.0", "10", "1024.0000000000000000"),
            ("1.0001", "10000", "2.7181459268252249"),
            ("-2.0", "3", "-8.0000000000000000"),
            ("0.0", "0", "1.0000000000000000"),
            ("10.0", "-20", "0.0000000000000000"),
            ("0.5", "100", "0.0000000000000000"),
            ("1.5", "2.5", "2.7556759606310754"),
            ("123.456", "7.89", "31771028258180977.309"),
        ] {
            assert_eq!(power(&n(base), &n(exponent)).unwrap().to_string(), shown, "{base}^{exponent}");
        }
    }

    #[test]
    fn undefined_results_are_refused() {
        assert_eq!(ln(&n("0")).unwrap_err().condition().code(), "2201E");
        assert_eq!(power(&n("-8"), &n("0.5")).unwrap_err().condition().code(), "2201F");
        assert_eq!(power(&n("0"), &n("-1")).unwrap_err().condition().code(), "2201F");
        assert_eq!(exp(&n("1e7")).unwrap_err().condition().code(), "22003");
    }
}
