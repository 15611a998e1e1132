//! Aggregates: signatures, and those that SQLite has no equal for.

use super::arguments::{boolean, float, numeric, text, truth};
use super::{Emit, Function, Host};
use crate::error::{Condition, Error};
use crate::sql::types::Type::{
    Any, AnyArray, AnyElement, Bool, Bpchar, Date, Float4, Float8, Inet, Int2, Int4, Int8, Interval as IntervalType,
    Numeric as NumericType, Oid, Text, Time, Timestamp, Timestamptz,
};
use crate::sql::types::interval::Interval;
use crate::sql::types::numeric::{self as numerics, Numeric};
use crate::sql::types::{self, Datum, Type, Value, array, float_to_value, interval};
use crate::work;

macro_rules! extremes {
    ($name:literal, $numeric:literal, $interval:literal) => {
        [
            Function::aggregate($name, &[Int2], Int2, Emit::Native($name)),
            Function::aggregate($name, &[Int4], Int4, Emit::Native($name)),
            Function::aggregate($name, &[Int8], Int8, Emit::Native($name)),
            Function::aggregate($name, &[Float4], Float4, Emit::Native($name)),
            Function::aggregate($name, &[Float8], Float8, Emit::Native($name)),
            Function::aggregate($name, &[NumericType], NumericType, Emit::Call($numeric)),
            Function::aggregate($name, &[Text], Text, Emit::Native($name)),
            Function::aggregate($name, &[Bpchar], Bpchar, Emit::Native($name)),
            Function::aggregate($name, &[Date], Date, Emit::Native($name)),
            Function::aggregate($name, &[Time], Time, Emit::Native($name)),
            Function::aggregate($name, &[Timestamp], Timestamp, Emit::Native($name)),
            Function::aggregate($name, &[Timestamptz], Timestamptz, Emit::Native($name)),
            Function::aggregate($name, &[IntervalType], IntervalType, Emit::Call($interval)),
            Function::aggregate($name, &[Oid], Oid, Emit::Native($name)),
            Function::aggregate($name, &[Inet], Inet, Emit::Native($name)),
            Function::aggregate($name, &[AnyArray], AnyArray, Emit::Native($name)),
        ]
    };
}

const MIN: &[Function] = &extremes!("min", "pg_agg_numeric_min", "pg_agg_interval_min");
const MAX: &[Function] = &extremes!("max", "pg_agg_numeric_max", "pg_agg_interval_max");

const OTHERS: &[Function] = &[
    // count(*) is written with no argument.
    Function::aggregate("count", &[], Int8, Emit::Native("count")),
    Function::aggregate("count", &[Any], Int8, Emit::Native("count")),
    Function::aggregate("sum", &[Int2], Int8, Emit::Call("pg_agg_int_sum")),
    Function::aggregate("sum", &[Int4], Int8, Emit::Call("pg_agg_int_sum")),
    Function::aggregate("sum", &[Int8], NumericType, Emit::Call("pg_agg_numeric_sum")),
    Function::aggregate("sum", &[NumericType], NumericType, Emit::Call("pg_agg_numeric_sum")),
    Function::aggregate("sum", &[Float4], Float4, Emit::Call("pg_agg_float4_sum")),
    Function::aggregate("sum", &[Float8], Float8, Emit::Call("pg_agg_float_sum")),
    Function::aggregate("sum", &[IntervalType], IntervalType, Emit::Call("pg_agg_interval_sum")),
    Function::aggregate("avg", &[Int2], NumericType, Emit::Call("pg_agg_numeric_avg")),
    Function::aggregate("avg", &[Int4], NumericType, Emit::Call("pg_agg_numeric_avg")),
    Function::aggregate("avg", &[Int8], NumericType, Emit::Call("pg_agg_numeric_avg")),
    Function::aggregate("avg", &[NumericType], NumericType, Emit::Call("pg_agg_numeric_avg")),
    Function::aggregate("avg", &[Float4], Float8, Emit::Call("pg_agg_float_avg")),
    Function::aggregate("avg", &[Float8], Float8, Emit::Call("pg_agg_float_avg")),
    Function::aggregate("avg", &[IntervalType], IntervalType, Emit::Call("pg_agg_interval_avg")),
    Function::aggregate("bool_and", &[Bool], Bool, Emit::Call("pg_agg_bool_and")),
    Function::aggregate("every", &[Bool], Bool, Emit::Call("pg_agg_bool_and")),
    Function::aggregate("bool_or", &[Bool], Bool, Emit::Call("pg_agg_bool_or")),
    Function::aggregate("bit_and", &[Int2], Int2, Emit::Call("pg_agg_bit_and")),
    Function::aggregate("bit_and", &[Int4], Int4, Emit::Call("pg_agg_bit_and")),
    Function::aggregate("bit_and", &[Int8], Int8, Emit::Call("pg_agg_bit_and")),
    Function::aggregate("bit_or", &[Int2], Int2, Emit::Call("pg_agg_bit_or")),
    Function::aggregate("bit_or", &[Int4], Int4, Emit::Call("pg_agg_bit_or")),
    Function::aggregate("bit_or", &[Int8], Int8, Emit::Call("pg_agg_bit_or")),
    Function::aggregate("bit_xor", &[Int2], Int2, Emit::Call("pg_agg_bit_xor")),
    Function::aggregate("bit_xor", &[Int4], Int4, Emit::Call("pg_agg_bit_xor")),
    Function::aggregate("bit_xor", &[Int8], Int8, Emit::Call("pg_agg_bit_xor")),
    Function::aggregate("string_agg", &[Text, Text], Text, Emit::Call("pg_agg_string")),
    Function::aggregate("array_agg", &[AnyElement], AnyArray, Emit::Call("pg_agg_array")).typed(),
    Function::aggregate("stddev", &[Float8], Float8, Emit::Call("pg_agg_stddev_samp")),
    Function::aggregate("stddev", &[Int2], NumericType, Emit::Call("pg_agg_numeric_stddev_samp")),
    Function::aggregate("stddev", &[Int4], NumericType, Emit::Call("pg_agg_numeric_stddev_samp")),
    Function::aggregate("stddev", &[Int8], NumericType, Emit::Call("pg_agg_numeric_stddev_samp")),
    Function::aggregate("stddev", &[NumericType], NumericType, Emit::Call("pg_agg_numeric_stddev_samp")),
    Function::aggregate("stddev_samp", &[Float8], Float8, Emit::Call("pg_agg_stddev_samp")),
    Function::aggregate("stddev_samp", &[Int2], NumericType, Emit::Call("pg_agg_numeric_stddev_samp")),
    Function::aggregate("stddev_samp", &[Int4], NumericType, Emit::Call("pg_agg_numeric_stddev_samp")),
    Function::aggregate("stddev_samp", &[Int8], NumericType, Emit::Call("pg_agg_numeric_stddev_samp")),
    Function::aggregate("stddev_samp", &[NumericType], NumericType, Emit::Call("pg_agg_numeric_stddev_samp")),
    Function::aggregate("stddev_pop", &[Float8], Float8, Emit::Call("pg_agg_stddev_pop")),
    Function::aggregate("stddev_pop", &[Int2], NumericType, Emit::Call("pg_agg_numeric_stddev_pop")),
    Function::aggregate("stddev_pop", &[Int4], NumericType, Emit::Call("pg_agg_numeric_stddev_pop")),
    Function::aggregate("stddev_pop", &[Int8], NumericType, Emit::Call("pg_agg_numeric_stddev_pop")),
    Function::aggregate("stddev_pop", &[NumericType], NumericType, Emit::Call("pg_agg_numeric_stddev_pop")),
    Function::aggregate("variance", &[Float8], Float8, Emit::Call("pg_agg_var_samp")),
    Function::aggregate("variance", &[Int2], NumericType, Emit::Call("pg_agg_numeric_var_samp")),
    Function::aggregate("variance", &[Int4], NumericType, Emit::Call("pg_agg_numeric_var_samp")),
    Function::aggregate("variance", &[Int8], NumericType, Emit::Call("pg_agg_numeric_var_samp")),
    Function::aggregate("variance", &[NumericType], NumericType, Emit::Call("pg_agg_numeric_var_samp")),
    Function::aggregate("var_samp", &[Float8], Float8, Emit::Call("pg_agg_var_samp")),
    Function::aggregate("var_samp", &[Int2], NumericType, Emit::Call("pg_agg_numeric_var_samp")),
    Function::aggregate("var_samp", &[Int4], NumericType, Emit::Call("pg_agg_numeric_var_samp")),
    Function::aggregate("var_samp", &[Int8], NumericType, Emit::Call("pg_agg_numeric_var_samp")),
    Function::aggregate("var_samp", &[NumericType], NumericType, Emit::Call("pg_agg_numeric_var_samp")),
    Function::aggregate("var_pop", &[Float8], Float8, Emit::Call("pg_agg_var_pop")),
    Function::aggregate("var_pop", &[Int2], NumericType, Emit::Call("pg_agg_numeric_var_pop")),
    Function::aggregate("var_pop", &[Int4], NumericType, Emit::Call("pg_agg_numeric_var_pop")),
    Function::aggregate("var_pop", &[Int8], NumericType, Emit::Call("pg_agg_numeric_var_pop")),
    Function::aggregate("var_pop", &[NumericType], NumericType, Emit::Call("pg_agg_numeric_var_pop")),
];

/// Aggregates.
pub(super) const TABLES: [&[Function]; 3] = [MIN, MAX, OTHERS];

/// What an aggregate of ours has gathered. NULLs are left out, but for array_agg.
#[derive(Debug, Clone, Default)]
pub struct State {
    count: i64,
    int: i128,
    float: f64,
    squares: f64,
    numeric: Option<Numeric>,
    numeric_squares: Option<Numeric>,
    interval: Interval,
    truth: Option<bool>,
    text: Option<String>,
    items: Vec<Option<String>>,
    /// Bytes of the items.
    size: usize,
    /// Values with their text, for those that are gathered once each.
    values: Vec<(Value, String)>,
    descending: bool,
    element: Option<Type>,
}

/// What an aggregate of ours computes; found by its call name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Aggregate {
    IntSum,
    NumericSum,
    NumericAvg,
    FloatSum,
    Float4Sum,
    FloatAvg,
    IntervalSum,
    IntervalAvg,
    BoolAnd,
    BoolOr,
    String,
    Array,
    NumericMin,
    NumericMax,
    IntervalMin,
    IntervalMax,
    StddevSamp,
    StddevPop,
    VarSamp,
    VarPop,
    NumericStddevSamp,
    NumericStddevPop,
    NumericVarSamp,
    NumericVarPop,
    BitAnd,
    BitOr,
    BitXor,
    /// `(value, separator, descending)` and `(value, element type, descending)`: sorted, each value once.
    DistinctString,
    DistinctArray,
}

/// The call that gathers each value once, for an aggregate that keeps what it gathers.
pub fn distinct(call: &str) -> Option<&'static str> {
    match call {
        "pg_agg_string" => Some("pg_agg_distinct_string"),
        "pg_agg_array" => Some("pg_agg_distinct_array"),
        _ => None,
    }
}

impl Aggregate {
    /// The aggregate behind a call name.
    pub fn by_call(call: &str) -> Option<Self> {
        Some(match call.strip_prefix("pg_agg_")? {
            "int_sum" => Self::IntSum,
            "numeric_sum" => Self::NumericSum,
            "numeric_avg" => Self::NumericAvg,
            "float_sum" => Self::FloatSum,
            "float4_sum" => Self::Float4Sum,
            "float_avg" => Self::FloatAvg,
            "interval_sum" => Self::IntervalSum,
            "interval_avg" => Self::IntervalAvg,
            "bool_and" => Self::BoolAnd,
            "bool_or" => Self::BoolOr,
            "string" => Self::String,
            "array" => Self::Array,
            "numeric_min" => Self::NumericMin,
            "numeric_max" => Self::NumericMax,
            "interval_min" => Self::IntervalMin,
            "interval_max" => Self::IntervalMax,
            "stddev_samp" => Self::StddevSamp,
            "stddev_pop" => Self::StddevPop,
            "var_samp" => Self::VarSamp,
            "var_pop" => Self::VarPop,
            "numeric_stddev_samp" => Self::NumericStddevSamp,
            "numeric_stddev_pop" => Self::NumericStddevPop,
            "numeric_var_samp" => Self::NumericVarSamp,
            "numeric_var_pop" => Self::NumericVarPop,
            "bit_and" => Self::BitAnd,
            "bit_or" => Self::BitOr,
            "bit_xor" => Self::BitXor,
            "distinct_string" => Self::DistinctString,
            "distinct_array" => Self::DistinctArray,
            _ => return None,
        })
    }

    /// Takes one row.
    pub fn step(self, host: &dyn Host, state: &mut State, arguments: &[Datum<'_>]) -> Result<(), Error> {
        let datum = arguments.first().copied().unwrap_or(Datum::Null);
        work::tick()?;
        if self == Self::Array {
            let element = super::arguments::type_(arguments, 1)?;
            let shown = (datum != Datum::Null).then(|| array::element_text(element, datum, &host.text_context()));
            // A list in the making grows to twice its size.
            let size = shown.as_ref().map_or(0, String::len);
            if size > LARGE || (state.items.len() == state.items.capacity() && state.items.len() > LARGE / 16) {
                work::reserve(size + state.items.len().saturating_mul(2 * size_of::<Option<String>>()))?;
            }
            state.size = state.size.saturating_add(size);
            state.items.push(shown);
            state.count += 1;
            return Ok(());
        }
        if self == Self::DistinctArray {
            let element = super::arguments::type_(arguments, 1)?;
            state.element = Some(element);
            state.descending = boolean(arguments, 2)?;
            let shown = if datum == Datum::Null {
                String::new()
            } else {
                array::element_text(element, datum, &host.text_context())
            };
            state.values.push((datum.to_value(), shown));
            state.count += 1;
            return Ok(());
        }
        if datum == Datum::Null {
            return Ok(());
        }
        state.count += 1;
        match self {
            Self::IntSum => state.int += i128::from(super::arguments::int(arguments, 0)?),
            Self::NumericSum | Self::NumericAvg => match datum {
                // Whole numbers are gathered apart: no big arithmetic for each row.
                Datum::Int(value) => state.int += i128::from(value),
                _ => {
                    let value = numeric(arguments, 0)?;
                    state.numeric = Some(match state.numeric.take() {
                        Some(sum) => sum.add(&value)?,
                        None => value,
                    });
                }
            },
            Self::FloatSum | Self::Float4Sum | Self::FloatAvg => state.float += float(arguments, 0)?,
            Self::IntervalSum | Self::IntervalAvg => {
                state.interval = state.interval.plus(Interval::from_stored(text(arguments, 0)?)?)?;
            }
            Self::BoolAnd => state.truth = Some(state.truth.unwrap_or(true) && boolean(arguments, 0)?),
            Self::BoolOr => state.truth = Some(state.truth.unwrap_or(false) || boolean(arguments, 0)?),
            Self::String => {
                let value = text(arguments, 0)?;
                match &mut state.text {
                    None => state.text = Some(value.to_owned()),
                    Some(all) => {
                        let more = value.len() + separator_length(arguments);
                        if all.capacity() - all.len() < more && all.len() + more > LARGE {
                            work::reserve(all.capacity().saturating_mul(2).max(all.len() + more))?;
                        }
                        if let Some(Datum::Text(separator)) = arguments.get(1) {
                            all.push_str(separator);
                        }
                        all.push_str(value);
                    }
                }
            }
            Self::NumericMin | Self::NumericMax | Self::IntervalMin | Self::IntervalMax => {
                self.keep_extreme(state, text(arguments, 0)?);
            }
            Self::DistinctString => {
                let value = text(arguments, 0)?.to_owned();
                if let (None, Some(Datum::Text(separator))) = (&state.text, arguments.get(1)) {
                    state.text = Some((*separator).to_owned());
                }
                state.descending = boolean(arguments, 2)?;
                state.values.push((Value::Text(value.clone()), value));
            }
            Self::StddevSamp | Self::StddevPop | Self::VarSamp | Self::VarPop => {
                // Youngs and Cramer's method, as PostgreSQL's float8_accum: the same digits.
                let (value, count) = (float(arguments, 0)?, state.count as f64);
                state.float += value;
                if state.count > 1 {
                    let deviation = value * count - state.float;
                    state.squares += deviation * deviation / (count * (count - 1.0));
                    if state.float.is_infinite() || state.squares.is_infinite() {
                        state.squares = f64::NAN;
                    }
                } else if !value.is_finite() {
                    state.squares = f64::NAN;
                }
            }
            Self::NumericStddevSamp | Self::NumericStddevPop | Self::NumericVarSamp | Self::NumericVarPop => {
                let value = numeric(arguments, 0)?;
                let square = value.mul(&value)?;
                state.numeric_squares = Some(match state.numeric_squares.take() {
                    Some(sum) => sum.add(&square)?,
                    None => square,
                });
                state.numeric = Some(match state.numeric.take() {
                    Some(sum) => sum.add(&value)?,
                    None => value,
                });
            }
            Self::BitAnd | Self::BitOr | Self::BitXor => {
                let value = i128::from(super::arguments::int(arguments, 0)?);
                state.int = match (self, state.count) {
                    (_, 1) => value,
                    (Self::BitAnd, _) => state.int & value,
                    (Self::BitXor, _) => state.int ^ value,
                    _ => state.int | value,
                };
            }
            Self::Array | Self::DistinctArray => {}
        }
        Ok(())
    }

    fn keep_extreme(self, state: &mut State, value: &str) {
        let numeric = matches!(self, Self::NumericMin | Self::NumericMax);
        let least = matches!(self, Self::NumericMin | Self::IntervalMin);
        let better = state.text.as_deref().is_none_or(|best| {
            let order = if numeric { numerics::compare(value, best) } else { interval::compare(value, best) };
            // Of two that are equal the later one stays, as in PostgreSQL: 1 mon and 30 days.
            if least { order.is_le() } else { order.is_ge() }
        });
        if better {
            state.text = Some(value.to_owned());
        }
    }

    /// The result; of no rows at all with a state that is new.
    pub fn finish(self, state: State) -> Result<Value, Error> {
        if state.count == 0 {
            return Ok(Value::Null);
        }
        let count = state.count as f64;
        Ok(match self {
            Self::IntSum | Self::BitAnd | Self::BitOr | Self::BitXor => match i64::try_from(state.int) {
                Ok(sum) => Value::Int(sum),
                Err(_) => return Err(Error::new(Condition::NumericValueOutOfRange, "bigint out of range")),
            },
            Self::NumericSum => total(&state)?.to_value(),
            Self::NumericAvg => total(&state)?.div(&Numeric::from_int(state.count))?.to_value(),
            Self::FloatSum => float_to_value(state.float),
            Self::Float4Sum => float_to_value(f64::from(state.float as f32)),
            Self::FloatAvg => float_to_value(state.float / count),
            Self::IntervalSum => state.interval.to_value()?,
            Self::IntervalAvg => state.interval.divide(count)?.to_value()?,
            Self::BoolAnd | Self::BoolOr => state.truth.map_or(Value::Null, truth),
            Self::Array => {
                work::reserve(state.size.saturating_mul(2).saturating_add(state.items.len().saturating_mul(4)))?;
                Value::Text(array::from_elements(state.items.iter().map(Option::as_deref)))
            }
            Self::DistinctArray => {
                let values = distinct_values(&state, state.element.unwrap_or(Text));
                let shown = values.iter().map(|(value, shown)| (!value.is_null()).then_some(shown.as_str()));
                Value::Text(array::from_elements(shown))
            }
            Self::DistinctString => {
                let shown: Vec<String> = distinct_values(&state, Text).into_iter().map(|(_, shown)| shown).collect();
                Value::Text(shown.join(state.text.as_deref().unwrap_or_default()))
            }
            Self::String | Self::NumericMin | Self::NumericMax | Self::IntervalMin | Self::IntervalMax => {
                state.text.map_or(Value::Null, Value::Text)
            }
            Self::StddevSamp | Self::VarSamp if state.count < 2 => Value::Null,
            Self::NumericStddevSamp | Self::NumericVarSamp if state.count < 2 => Value::Null,
            Self::NumericVarSamp => variance(&state, state.count - 1)?.0.to_value(),
            Self::NumericVarPop => variance(&state, state.count)?.0.to_value(),
            Self::NumericStddevSamp => deviation(&state, state.count - 1)?.to_value(),
            Self::NumericStddevPop => deviation(&state, state.count)?.to_value(),
            Self::VarSamp => float_to_value(state.squares / (count - 1.0)),
            Self::StddevSamp => float_to_value((state.squares / (count - 1.0)).sqrt()),
            Self::VarPop => float_to_value(state.squares / count),
            Self::StddevPop => float_to_value((state.squares / count).sqrt()),
        })
    }
}

/// Bytes from which what grows is asked for.
const LARGE: usize = 64 * 1024;

fn separator_length(arguments: &[Datum<'_>]) -> usize {
    match arguments.get(1) {
        Some(Datum::Text(separator)) => separator.len(),
        _ => 0,
    }
}

/// What was gathered, in the order of the type, each value once; NULL is the greatest.
fn distinct_values(state: &State, type_: Type) -> Vec<(Value, String)> {
    let mut values = state.values.clone();
    let order = |a: &Value, b: &Value| a.is_null().cmp(&b.is_null()).then_with(|| types::compare(type_, a, b));
    values.sort_by(|a, b| if state.descending { order(&b.0, &a.0) } else { order(&a.0, &b.0) });
    values.dedup_by(|a, b| order(&a.0, &b.0).is_eq());
    values
}

fn total(state: &State) -> Result<Numeric, Error> {
    let whole = Numeric::Finite { digits: state.int.into(), scale: 0 };
    match &state.numeric {
        Some(sum) => sum.add(&whole),
        None => Ok(whole),
    }
}

/// (N Σx² − (Σx)²) / (N · divisor), and its scale.
fn variance(state: &State, divisor: i64) -> Result<(Numeric, i64), Error> {
    let (Some(sum), Some(squares)) = (&state.numeric, &state.numeric_squares) else {
        return Ok((Numeric::from_int(0), 0));
    };
    let count = Numeric::from_int(state.count);
    let spread = squares.mul(&count)?.sub(&sum.mul(sum)?)?;
    if spread.signum().is_some_and(|sign| sign <= 0) {
        return Ok((Numeric::from_int(0), 0));
    }
    let quotient = spread.div(&count.mul(&Numeric::from_int(divisor))?)?;
    let scale = quotient.scale();
    Ok((quotient, scale))
}

fn deviation(state: &State, divisor: i64) -> Result<Numeric, Error> {
    let (variance, scale) = variance(state, divisor)?;
    Ok(variance.sqrt_to(scale))
}
