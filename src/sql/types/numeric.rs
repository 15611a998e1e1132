//! Arithmetic, order and forms of type numeric, over its stored text.
//!
//! Exact: values are big integers with a display scale, and results have the scale that PostgreSQL gives them.

use std::cmp::Ordering;

use bigdecimal::num_bigint::{BigInt, BigUint, Sign};
use bigdecimal::{One, Signed, ToPrimitive, Zero};

use super::integer::{syntax_error, trim};
use super::name::numeric_modifiers;
use super::{Type, Value};
use crate::error::{Condition, Error};

/// Digits that may stand before the decimal point.
const MAX_WHOLE_DIGITS: usize = 131_072;
/// Digits that may stand after it.
const MAX_SCALE: i64 = 16_383;
/// Significant digits that division and roots give at least.
const MIN_SIGNIFICANT_DIGITS: i64 = 16;
/// The largest scale that division and roots choose by themselves.
const MAX_DISPLAY_SCALE: i64 = 1000;

/// A numeric value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Numeric {
    /// Not a number: equal to itself, above everything else.
    NaN,
    /// Infinity; true when negative.
    Infinity(bool),
    /// `digits / 10^scale`.
    Finite {
        /// All digits.
        digits: BigInt,
        /// How many of them are behind the decimal point; shown even when zero. At most 16383.
        scale: i64,
    },
}

fn overflow() -> Error {
    Error::new(Condition::NumericValueOutOfRange, "value overflows numeric format")
}

fn division_by_zero() -> Error {
    Error::new(Condition::DivisionByZero, "division by zero")
}

/// 10^exponent; negative exponents count as 0.
pub(super) fn power_of_ten(exponent: i64) -> BigInt {
    BigInt::from(10).pow(u32::try_from(exponent.max(0)).unwrap_or(u32::MAX))
}

/// `digits / divisor`, ties away from zero.
fn divide_rounded(digits: &BigInt, divisor: &BigInt) -> BigInt {
    let quotient = digits / divisor;
    let rest: BigInt = digits - &quotient * divisor;
    if rest.abs() * 2 >= divisor.abs() {
        let step = if digits.is_negative() == divisor.is_negative() { BigInt::one() } else { -BigInt::one() };
        quotient + step
    } else {
        quotient
    }
}

impl Numeric {
    /// A whole number.
    pub fn from_int(value: i64) -> Self {
        Self::Finite { digits: BigInt::from(value), scale: 0 }
    }

    /// A float, with the digits that PostgreSQL's casts keep: 15 of double precision, 6 of real.
    pub fn from_float(value: f64, type_: Type) -> Self {
        if value.is_nan() {
            return Self::NaN;
        }
        if value.is_infinite() {
            return Self::Infinity(value < 0.0);
        }
        let digits = if type_ == Type::Float4 { 6 } else { 15 };
        // As C's %.{digits}g: no digits beyond the significant ones, no trailing zeros.
        let text = format!("{:.*e}", digits - 1, value);
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let fraction = fraction.trim_end_matches('0');
        Self::parse(&format!("{whole}.{fraction}e{exponent}")).unwrap_or(Self::NaN)
    }

    /// Reads the text form (stored or typed by a user).
    pub fn parse(text: &str) -> Result<Self, Error> {
        let invalid = || syntax_error(Type::Numeric, text);
        let word = trim(text);
        let (negative, rest) = match word.as_bytes() {
            [b'-', ..] => (true, &word[1..]),
            [b'+', ..] => (false, &word[1..]),
            _ => (false, word),
        };
        if word.eq_ignore_ascii_case("nan") {
            return Ok(Self::NaN);
        }
        if rest.eq_ignore_ascii_case("inf") || rest.eq_ignore_ascii_case("infinity") {
            return Ok(Self::Infinity(negative));
        }
        let (mantissa, exponent) = match rest.find(['e', 'E']) {
            Some(at) => (&rest[..at], Some(&rest[at + 1..])),
            None => (rest, None),
        };
        let exponent = match exponent {
            None => 0,
            Some(exponent) => {
                let unsigned = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
                if unsigned.is_empty() || !unsigned.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(invalid());
                }
                match exponent.parse::<i64>() {
                    Ok(exponent) if exponent.abs() < i64::from(i32::MAX / 2) => exponent,
                    _ => return Err(overflow()),
                }
            }
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let plain = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !plain(whole) || !plain(fraction) {
            return Err(invalid());
        }
        let digits = format!("{whole}{fraction}");
        let significant = digits.trim_start_matches('0');
        let scale = fraction.len() as i64 - exponent;
        if significant.len() as i64 - scale > MAX_WHOLE_DIGITS as i64 {
            return Err(if significant.is_empty() { return Ok(Self::zero(0)) } else { overflow() });
        }
        // Digits that rounding to the largest scale drops anyway need not be read.
        let excess = (scale - MAX_SCALE - 1).max(0) as usize;
        let kept = &digits[..digits.len().saturating_sub(excess)];
        let digits = if kept.is_empty() { BigInt::zero() } else { kept.parse::<BigInt>().map_err(|_| invalid())? };
        let value = Self::Finite { digits: if negative { -digits } else { digits }, scale: scale - excess as i64 };
        Ok(match &value {
            Self::Finite { scale, .. } if *scale < 0 => value.rescale(0),
            Self::Finite { scale, .. } if *scale > MAX_SCALE => value.rescale(MAX_SCALE),
            _ => value,
        })
    }

    fn zero(scale: i64) -> Self {
        Self::Finite { digits: BigInt::zero(), scale }
    }

    /// With that many digits behind the point (none for a negative number): rounded, ties away from zero.
    fn rescale(&self, to: i64) -> Self {
        match self {
            Self::Finite { digits, scale } if to >= *scale => {
                Self::Finite { digits: digits * power_of_ten(to - scale), scale: to }
            }
            Self::Finite { digits, scale } => {
                Self::Finite { digits: divide_rounded(digits, &power_of_ten(scale - to)), scale: to }
            }
            other => other.clone(),
        }
    }

    /// `round(value, places)`; places before the point are negative.
    pub fn round(&self, places: i64) -> Self {
        let places = places.clamp(-(MAX_WHOLE_DIGITS as i64) - 1, MAX_SCALE);
        let rounded = self.rescale(places);
        if places < 0 { rounded.rescale(0) } else { rounded }
    }

    /// `trunc(value, places)`.
    pub fn trunc(&self, places: i64) -> Self {
        let places = places.clamp(-(MAX_WHOLE_DIGITS as i64) - 1, MAX_SCALE);
        match self {
            Self::Finite { digits, scale } if places < *scale => {
                Self::Finite { digits: digits / power_of_ten(scale - places), scale: places }.rescale(places.max(0))
            }
            other => other.rescale(places),
        }
    }

    /// The largest whole number not above it (`up`: the smallest not below).
    pub fn floor(&self, up: bool) -> Self {
        match self {
            Self::Finite { digits, scale } => {
                let unit = power_of_ten(*scale);
                let whole = digits / &unit;
                let rest = digits - &whole * &unit;
                let whole = match (rest.sign(), up) {
                    (Sign::Minus, false) => whole - 1,
                    (Sign::Plus, true) => whole + 1,
                    _ => whole,
                };
                Self::Finite { digits: whole, scale: 0 }
            }
            other => other.clone(),
        }
    }

    /// The number of places shown behind the point.
    pub fn scale(&self) -> i64 {
        match self {
            Self::Finite { scale, .. } => *scale,
            _ => 0,
        }
    }

    /// -1, 0 or 1; `None` for NaN.
    pub fn signum(&self) -> Option<i32> {
        match self {
            Self::NaN => None,
            Self::Infinity(negative) => Some(if *negative { -1 } else { 1 }),
            Self::Finite { digits, .. } => Some(match digits.sign() {
                Sign::Minus => -1,
                Sign::NoSign => 0,
                Sign::Plus => 1,
            }),
        }
    }

    /// The negative.
    pub fn negate(&self) -> Self {
        match self {
            Self::NaN => Self::NaN,
            Self::Infinity(negative) => Self::Infinity(!negative),
            Self::Finite { digits, scale } => Self::Finite { digits: -digits, scale: *scale },
        }
    }

    /// The absolute value.
    pub fn abs(&self) -> Self {
        if self.signum() == Some(-1) { self.negate() } else { self.clone() }
    }

    /// The sum.
    pub fn add(&self, other: &Self) -> Result<Self, Error> {
        match (self, other) {
            (Self::NaN, _) | (_, Self::NaN) => Ok(Self::NaN),
            (Self::Infinity(a), Self::Infinity(b)) => Ok(if a == b { Self::Infinity(*a) } else { Self::NaN }),
            (Self::Infinity(negative), _) | (_, Self::Infinity(negative)) => Ok(Self::Infinity(*negative)),
            (Self::Finite { digits: a, scale: s }, Self::Finite { digits: b, scale: t }) => {
                let scale = *s.max(t);
                let digits = match s.cmp(t) {
                    Ordering::Equal => a + b,
                    Ordering::Less => a * power_of_ten(t - s) + b,
                    Ordering::Greater => a + b * power_of_ten(s - t),
                };
                Self::Finite { digits, scale }.checked()
            }
        }
    }

    /// The difference.
    pub fn sub(&self, other: &Self) -> Result<Self, Error> {
        self.add(&other.negate())
    }

    /// The product.
    pub fn mul(&self, other: &Self) -> Result<Self, Error> {
        match (self, other) {
            (Self::NaN, _) | (_, Self::NaN) => Ok(Self::NaN),
            (Self::Finite { digits: a, scale: s }, Self::Finite { digits: b, scale: t }) => {
                let product = Self::Finite { digits: a * b, scale: s + t };
                if s + t > MAX_SCALE { product.rescale(MAX_SCALE) } else { product }.checked()
            }
            _ => match (self.signum(), other.signum()) {
                (Some(a), Some(b)) if a * b != 0 => Ok(Self::Infinity(a * b < 0)),
                _ => Ok(Self::NaN),
            },
        }
    }

    /// The quotient, with at least 16 significant digits.
    pub fn div(&self, other: &Self) -> Result<Self, Error> {
        match (self, other) {
            (Self::NaN, _) | (_, Self::NaN) => Ok(Self::NaN),
            (_, Self::Finite { digits, .. }) if digits.is_zero() => Err(division_by_zero()),
            (Self::Infinity(_), Self::Infinity(_)) => Ok(Self::NaN),
            (Self::Infinity(negative), _) => Ok(Self::Infinity(*negative != (other.signum() == Some(-1)))),
            (_, Self::Infinity(_)) => Ok(Self::zero(0)),
            (Self::Finite { digits: a, scale: s }, Self::Finite { digits: b, scale: t }) => {
                let scale = self.division_scale(other);
                let shift = scale - s + t;
                let digits = if shift >= 0 {
                    divide_rounded(&(a * power_of_ten(shift)), b)
                } else {
                    divide_rounded(a, &(b * power_of_ten(-shift)))
                };
                Self::Finite { digits, scale }.checked()
            }
        }
    }

    /// The scale of a quotient: enough for 16 significant digits, in PostgreSQL's groups of four, and no less
    /// than either operand's.
    fn division_scale(&self, other: &Self) -> i64 {
        let (weight_a, first_a) = self.leading_group();
        let (weight_b, first_b) = other.leading_group();
        let weight = weight_a - weight_b - i64::from(first_a <= first_b);
        (MIN_SIGNIFICANT_DIGITS - weight * 4).max(self.scale()).max(other.scale()).clamp(0, MAX_DISPLAY_SCALE)
    }

    /// Weight and value of the first base-10000 group that is not zero; (0, 0) for zero.
    fn leading_group(&self) -> (i64, u32) {
        let Self::Finite { digits, scale } = self else { return (0, 0) };
        if digits.is_zero() {
            return (0, 0);
        }
        let text = digits.magnitude().to_string();
        let exponent = text.len() as i64 - 1 - scale;
        let weight = exponent.div_euclid(4);
        let length = (exponent.rem_euclid(4) + 1) as usize;
        let group = format!("{:0<length$}", text.get(..length).unwrap_or(&text));
        (weight, group.parse().unwrap_or(0))
    }

    /// The remainder, of the dividend's sign.
    pub fn rem(&self, other: &Self) -> Result<Self, Error> {
        match (self, other) {
            (Self::NaN, _) | (_, Self::NaN) => Ok(Self::NaN),
            (_, Self::Finite { digits, .. }) if digits.is_zero() => Err(division_by_zero()),
            (Self::Infinity(_), _) => Ok(Self::NaN),
            (_, Self::Infinity(_)) => Ok(self.clone()),
            (Self::Finite { digits: a, scale: s }, Self::Finite { digits: b, scale: t }) => {
                let scale = *s.max(t);
                let digits = (a * power_of_ten(scale - s)) % (b * power_of_ten(scale - t));
                Ok(Self::Finite { digits, scale })
            }
        }
    }

    /// The whole part of the quotient, exact however many digits it has.
    pub fn div_whole(&self, other: &Self) -> Result<Self, Error> {
        match (self, other) {
            (Self::Finite { digits: a, scale: s }, Self::Finite { digits: b, scale: t }) if !b.is_zero() => {
                let scale = *s.max(t);
                let digits = (a * power_of_ten(scale - s)) / (b * power_of_ten(scale - t));
                Self::Finite { digits, scale: 0 }.checked()
            }
            _ => self.div(other),
        }
    }

    /// The number of places shown behind the point; `None` for what is not finite.
    pub fn finite_scale(&self) -> Option<i64> {
        matches!(self, Self::Finite { .. }).then(|| self.scale())
    }

    /// Without zeros at the end behind the point.
    pub fn trimmed(&self) -> Self {
        let Self::Finite { digits, scale } = self else { return self.clone() };
        if digits.is_zero() {
            return Self::zero(0);
        }
        let zeros = digits.magnitude().to_string().bytes().rev().take_while(|digit| *digit == b'0').count();
        let places = scale - (zeros as i64).min(*scale);
        self.rescale(places)
    }

    /// The greatest common divisor; NaN where one is not finite.
    pub fn gcd(&self, other: &Self) -> Self {
        let (Self::Finite { digits: a, scale: s }, Self::Finite { digits: b, scale: t }) = (self, other) else {
            return Self::NaN;
        };
        let scale = *s.max(t);
        let (mut a, mut b) = ((a * power_of_ten(scale - s)).abs(), (b * power_of_ten(scale - t)).abs());
        while !b.is_zero() {
            let rest = &a % &b;
            a = std::mem::replace(&mut b, rest);
        }
        Self::Finite { digits: a, scale }
    }

    /// The least common multiple.
    pub fn lcm(&self, other: &Self) -> Result<Self, Error> {
        let (Self::Finite { .. }, Self::Finite { .. }) = (self, other) else { return Ok(Self::NaN) };
        let scale = self.scale().max(other.scale());
        if self.signum() == Some(0) || other.signum() == Some(0) {
            return Ok(Self::zero(scale));
        }
        Ok(self.div_whole(&self.gcd(other))?.mul(other)?.abs().rescale(scale))
    }

    /// The square root of a value that is not negative, with that many digits behind the point.
    pub fn sqrt_to(&self, places: i64) -> Self {
        match self {
            Self::Finite { digits, scale } => {
                // A guard digit, so that rounding sees what the floor of the root hides.
                let places = places.max(*scale / 2);
                let root = (digits * power_of_ten(2 * (places + 1) - scale)).sqrt();
                Self::Finite { digits: root, scale: places + 1 }.rescale(places)
            }
            other => other.clone(),
        }
    }

    /// The square root.
    pub fn sqrt(&self) -> Result<Self, Error> {
        match self {
            Self::Finite { digits, scale } if !digits.is_negative() => {
                let weight = (self.leading_group().0 + 1) * 4 / 2 - 1;
                Ok(self.sqrt_to((MIN_SIGNIFICANT_DIGITS - weight).max(*scale).clamp(0, MAX_DISPLAY_SCALE)))
            }
            Self::NaN | Self::Infinity(false) => Ok(self.clone()),
            _ => Err(Error::new(
                Condition::InvalidArgumentForPowerFunction,
                "cannot take square root of a negative number",
            )),
        }
    }

    fn checked(self) -> Result<Self, Error> {
        match &self {
            Self::Finite { digits, scale } => {
                // Bits bound digits from above: 10^k needs more than 3.32 k of them.
                if digits.bits() / 4 <= MAX_WHOLE_DIGITS as u64 + *scale as u64 {
                    return Ok(self);
                }
                let whole = digits.magnitude().to_string().len() as i64 - scale;
                if whole > MAX_WHOLE_DIGITS as i64 { Err(overflow()) } else { Ok(self) }
            }
            _ => Ok(self),
        }
    }

    /// Rounds to the scale of a modifier and refuses what does not fit its precision.
    pub fn apply_typmod(self, typmod: i32) -> Result<Self, Error> {
        if typmod < 4 {
            return Ok(self);
        }
        let (precision, scale) = numeric_modifiers(typmod);
        let too_large =
            |what: String| Error::new(Condition::NumericValueOutOfRange, "numeric field overflow").detail(what);
        match &self {
            Self::NaN => Ok(self),
            Self::Infinity(_) => Err(too_large(format!(
                "A field with precision {precision}, scale {scale} cannot hold an infinite value."
            ))),
            Self::Finite { .. } => {
                let rounded = self.round(i64::from(scale));
                let Self::Finite { digits, .. } = &rounded else { return Ok(rounded) };
                let limit = i64::from(precision) - i64::from(scale);
                let most = power_of_ten(limit.max(0) + rounded.scale()) / power_of_ten((-limit).max(0));
                if digits.abs() >= most {
                    let bound = if limit == 0 { "1".to_owned() } else { format!("10^{limit}") };
                    return Err(too_large(format!(
                        "A field with precision {precision}, scale {scale} must round to an absolute value less than {bound}."
                    )));
                }
                Ok(rounded)
            }
        }
    }

    /// The nearest whole number, if a bigint can hold it; ties away from zero.
    pub fn to_i64(&self) -> Option<i64> {
        match self.rescale(0) {
            Self::Finite { digits, .. } => digits.to_i64(),
            _ => None,
        }
    }

    /// The nearest double; infinite beyond its range.
    pub fn to_f64(&self) -> f64 {
        match self {
            Self::NaN => f64::NAN,
            Self::Infinity(negative) => {
                if *negative {
                    f64::NEG_INFINITY
                } else {
                    f64::INFINITY
                }
            }
            _ => self.to_string().parse().unwrap_or(f64::NAN),
        }
    }

    /// The stored form.
    pub fn to_value(&self) -> Value {
        Value::Text(self.to_string())
    }

    /// Appends the binary form: groups of four decimal digits.
    pub fn send(&self, out: &mut Vec<u8>) {
        let Self::Finite { digits, scale } = self else {
            let sign: u16 = match self {
                Self::Infinity(false) => 0xD000,
                Self::Infinity(true) => 0xF000,
                _ => 0xC000,
            };
            for field in [0, 0, sign, 0] {
                out.extend_from_slice(&field.to_be_bytes());
            }
            return;
        };
        let (whole, fraction) = split(digits.magnitude(), *scale);
        let whole = format!("{whole:0>width$}", width = whole.len().div_ceil(4) * 4);
        let fraction = format!("{fraction:0<width$}", width = fraction.len().div_ceil(4) * 4);
        let mut weight = (whole.len() / 4) as i64 - 1;
        let all = whole + &fraction;
        let mut groups: Vec<u16> = all
            .as_bytes()
            .chunks(4)
            .map(|group| group.iter().fold(0, |sum, b| sum * 10 + u16::from(b - b'0')))
            .collect();
        let leading = groups.iter().take_while(|group| **group == 0).count();
        groups.drain(..leading);
        weight -= leading as i64;
        while groups.last() == Some(&0) {
            groups.pop();
        }
        if groups.is_empty() {
            weight = 0;
        }
        out.extend_from_slice(&(groups.len() as u16).to_be_bytes());
        out.extend_from_slice(&(weight as i16).to_be_bytes());
        out.extend_from_slice(&(if digits.is_negative() { 0x4000u16 } else { 0 }).to_be_bytes());
        out.extend_from_slice(&(*scale as u16).to_be_bytes());
        for group in groups {
            out.extend_from_slice(&group.to_be_bytes());
        }
    }

    /// Reads the binary form.
    pub fn receive(bytes: &[u8]) -> Result<Self, Error> {
        let short = || Error::new(Condition::ProtocolViolation, "insufficient data left in message");
        let invalid = |message: &str| Error::new(Condition::InvalidBinaryRepresentation, message);
        let mut fields = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        let mut next = || fields.next().ok_or_else(short);
        let (count, weight, sign, scale) = (next()?, next()? as i16, next()?, next()?);
        if bytes.len() < 8 + usize::from(count) * 2 {
            return Err(short());
        }
        if bytes.len() != 8 + usize::from(count) * 2 {
            return Err(invalid("incorrect binary data format"));
        }
        match sign {
            0xC000 => return Ok(Self::NaN),
            0xD000 => return Ok(Self::Infinity(false)),
            0xF000 => return Ok(Self::Infinity(true)),
            0 | 0x4000 => {}
            _ => return Err(invalid("invalid sign in external \"numeric\" value")),
        }
        if scale & 0x3fff != scale {
            return Err(invalid("invalid scale in external \"numeric\" value"));
        }
        let mut digits = Vec::with_capacity(usize::from(count) * 4);
        for group in fields {
            if group >= 10_000 {
                return Err(invalid("invalid digit in external \"numeric\" value"));
            }
            for divisor in [1000, 100, 10, 1] {
                digits.push((group / divisor % 10) as u8);
            }
        }
        let magnitude = BigUint::from_radix_be(&digits, 10).unwrap_or_default();
        let sign = if sign == 0 { Sign::Plus } else { Sign::Minus };
        let own_scale = (i64::from(count) - 1 - i64::from(weight)) * 4;
        let value = Self::Finite { digits: BigInt::from_biguint(sign, magnitude), scale: own_scale };
        // PostgreSQL truncates what lies beyond the stated scale.
        let scale = i64::from(scale);
        match value {
            Self::Finite { digits, scale: own } if own > scale => {
                Ok(Self::Finite { digits: digits / power_of_ten(own - scale), scale })
            }
            other => other.rescale(scale).checked(),
        }
    }
}

/// Digits before and behind the point.
fn split(magnitude: &BigUint, scale: i64) -> (String, String) {
    let scale = scale.max(0) as usize;
    let mut whole = magnitude.to_string();
    if whole.len() <= scale {
        whole = format!("{}{whole}", "0".repeat(scale + 1 - whole.len()));
    }
    let fraction = whole.split_off(whole.len() - scale);
    (whole, fraction)
}

impl std::fmt::Display for Numeric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NaN => f.write_str("NaN"),
            Self::Infinity(false) => f.write_str("Infinity"),
            Self::Infinity(true) => f.write_str("-Infinity"),
            Self::Finite { digits, scale } => {
                let (whole, fraction) = split(digits.magnitude(), *scale);
                let sign = if digits.is_negative() { "-" } else { "" };
                let point = if fraction.is_empty() { "" } else { "." };
                write!(f, "{sign}{whole}{point}{fraction}")
            }
        }
    }
}

/// The order of stored numerics (collation `pg_numeric`): by value, NaN last. Allocates nothing.
pub fn compare(a: &str, b: &str) -> Ordering {
    /// Class, so that -Infinity < finite < Infinity < NaN.
    fn class(text: &str) -> i8 {
        match text.as_bytes() {
            [b'N', ..] => 2,
            [b'I', ..] => 1,
            [b'-', b'I', ..] => -1,
            _ => 0,
        }
    }
    /// Sign, digits before and behind the point, without zeros that don't count.
    fn parts(text: &str) -> (bool, &str, &str) {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        (negative, whole.trim_start_matches('0'), fraction.trim_end_matches('0'))
    }
    let (class_a, class_b) = (class(a), class(b));
    if class_a != 0 || class_b != 0 {
        return class_a.cmp(&class_b);
    }
    let ((negative_a, whole_a, fraction_a), (negative_b, whole_b, fraction_b)) = (parts(a), parts(b));
    let zero = |whole: &str, fraction: &str| whole.is_empty() && fraction.is_empty();
    let negative_a = negative_a && !zero(whole_a, fraction_a);
    let negative_b = negative_b && !zero(whole_b, fraction_b);
    match (negative_a, negative_b) {
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        _ => {
            let magnitude = whole_a
                .len()
                .cmp(&whole_b.len())
                .then_with(|| whole_a.cmp(whole_b))
                .then_with(|| fraction_a.cmp(fraction_b));
            if negative_a { magnitude.reverse() } else { magnitude }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n(text: &str) -> Numeric {
        Numeric::parse(text).unwrap()
    }

    #[test]
    fn text_is_canonical() {
        for (text, shown) in [
            ("1.50", "1.50"),
            (" -007.10 ", "-7.10"),
            (".5", "0.5"),
            ("5.", "5"),
            ("1e3", "1000"),
            ("1.5e-3", "0.0015"),
            ("-0", "0"),
            ("-0.00", "0.00"),
            ("nan", "NaN"),
            ("-inf", "-Infinity"),
            ("0e200000", "0"),
        ] {
            assert_eq!(n(text).to_string(), shown, "{text}");
        }
        for text in ["", ".", "e5", "1e", "1..2", "1 2", "abc", "0x1", "+-1", "-nan"] {
            assert_eq!(Numeric::parse(text).unwrap_err().condition().code(), "22P02", "{text}");
        }
        assert_eq!(Numeric::parse("1e200000").unwrap_err().to_string(), "value overflows numeric format (22003)");
        assert_eq!(n("1e-20000").to_string().len(), 16_385);
    }

    #[test]
    fn results_have_postgresql_scales() {
        let div = |a, b| n(a).div(&n(b)).unwrap().to_string();
        assert_eq!(div("1", "3"), "0.33333333333333333333");
        assert_eq!(div("10", "4"), "2.5000000000000000");
        assert_eq!(div("1", "7"), "0.14285714285714285714");
        assert_eq!(div("123456789", "2"), "61728394.500000000000");
        assert_eq!(div("-2", "3"), "-0.66666666666666666667");
        assert_eq!(div("0", "5"), "0.00000000000000000000");
        assert_eq!(n("1.10").add(&n("2.2")).unwrap().to_string(), "3.30");
        assert_eq!(n("1.10").mul(&n("2.20")).unwrap().to_string(), "2.4200");
        assert_eq!(n("-7.5").rem(&n("2")).unwrap().to_string(), "-1.5");
        assert_eq!(n("2").sqrt().unwrap().to_string(), "1.414213562373095");
        assert_eq!(n("1").div(&n("0")).unwrap_err().condition().code(), "22012");
    }

    #[test]
    fn rounding_is_away_from_zero() {
        assert_eq!(n("2.5").round(0).to_string(), "3");
        assert_eq!(n("-2.5").round(0).to_string(), "-3");
        assert_eq!(n("1.245").round(2).to_string(), "1.25");
        assert_eq!(n("1250").round(-2).to_string(), "1300");
        assert_eq!(n("1.299").trunc(1).to_string(), "1.2");
        assert_eq!(n("1299").trunc(-2).to_string(), "1200");
        assert_eq!(n("-1.5").floor(false).to_string(), "-2");
        assert_eq!(n("-1.5").floor(true).to_string(), "-1");
    }

    #[test]
    fn modifiers_round_and_refuse() {
        let typmod = |p: i32, s: i32| ((p << 16) | (s & 0x7ff)) + 4;
        assert_eq!(n("123.456").apply_typmod(typmod(5, 2)).unwrap().to_string(), "123.46");
        let error = n("1234").apply_typmod(typmod(5, 2)).unwrap_err();
        assert_eq!(error.to_string(), "numeric field overflow (22003)");
        assert_eq!(
            error.fields().detail.as_deref(),
            Some("A field with precision 5, scale 2 must round to an absolute value less than 10^3.")
        );
        assert!(n("99.995").apply_typmod(typmod(4, 2)).is_err());
        assert_eq!(n("12345").apply_typmod(typmod(3, -2)).unwrap().to_string(), "12300");
        assert!(n("0.05").apply_typmod(typmod(2, 3)).unwrap().to_string() == "0.050");
        assert!(n("0.1").apply_typmod(typmod(2, 3)).is_err());
    }

    #[test]
    fn order_is_by_value() {
        let sorted = ["-Infinity", "-10", "-9.5", "-0.1", "0", "0.05", "0.1", "2", "10", "Infinity", "NaN"];
        for (i, a) in sorted.iter().enumerate() {
            for (j, b) in sorted.iter().enumerate() {
                assert_eq!(compare(a, b), i.cmp(&j), "{a} {b}");
            }
        }
        assert_eq!(compare("1.0", "1.000"), Ordering::Equal);
        assert_eq!(compare("0", "0.00"), Ordering::Equal);
    }

    #[test]
    fn binary_round_trips() {
        for text in ["0", "0.00", "1", "-1", "10000", "12345678.000100", "0.00001", "NaN", "-Infinity", "1e50", "0.10"]
        {
            let mut bytes = Vec::new();
            n(text).send(&mut bytes);
            assert_eq!(Numeric::receive(&bytes).unwrap(), n(text), "{text}");
        }
        let mut bytes = Vec::new();
        n("12345.678").send(&mut bytes);
        assert_eq!(bytes, [0, 3, 0, 1, 0, 0, 0, 3, 0, 1, 0x09, 0x29, 0x1a, 0x7c]);
        assert_eq!(Numeric::receive(&[0, 1, 0]).unwrap_err().condition().code(), "08P01");
        assert_eq!(Numeric::receive(&[0, 1, 0, 0, 0, 0, 0, 0, 0x27, 0x10]).unwrap_err().condition().code(), "22P03");
    }
}
