//! Operators: which operands, which result, how written.
//!
//! One table for each symbol; the order within a table has no meaning.

use super::arguments::{float, int, numeric, text, truth};
use super::arithmetic::{self, Operation};
use super::{Emit, Implementation, Operator, Volatility, dates, pattern};
use crate::sql::types::Type::{
    AnyArray, AnyElement, Bool, Bpchar, Bytea, Char, Date, Float4, Float8, Inet, Int2, Int4, Int8, Interval, Jsonb,
    Name, Numeric, Oid, Text, TextArray, Time, Timestamp, Timestamptz, Uuid,
};
use crate::sql::types::{Type, Value};

/// All overloads of an operator, binary and prefix, or none.
pub fn by_name(name: &str) -> &'static [Operator] {
    TABLES.iter().find(|table| table.first().is_some_and(|operator| operator.name == name)).copied().unwrap_or(&[])
}

/// Every operator, for `pg_operator`.
pub fn all() -> impl Iterator<Item = &'static Operator> {
    TABLES.iter().flat_map(|table| table.iter())
}

const fn binary(
    name: &'static str,
    left: Type,
    right: Type,
    result: Type,
    call: &'static str,
    implementation: Implementation,
) -> Operator {
    Operator {
        name,
        left: Some(left),
        right,
        result,
        emit: Emit::Call(call),
        typed: false,
        volatility: Volatility::Immutable,
        implementation: Some(implementation),
    }
}

const fn infix(name: &'static str, left: Type, right: Type, result: Type, emit: Emit) -> Operator {
    Operator {
        name,
        left: Some(left),
        right,
        result,
        emit,
        typed: false,
        volatility: Volatility::Immutable,
        implementation: None,
    }
}

const fn prefix(name: &'static str, right: Type, emit: Emit, implementation: Option<Implementation>) -> Operator {
    Operator {
        name,
        left: None,
        right,
        result: right,
        emit,
        typed: false,
        volatility: Volatility::Immutable,
        implementation,
    }
}

impl Operator {
    const fn stable(mut self) -> Self {
        self.volatility = Volatility::Stable;
        self
    }

    const fn typed(mut self) -> Self {
        self.typed = true;
        self
    }
}

/// The overloads of a comparison: `$sqlite` is its symbol there, `$test` what it asks of an `Ordering`.
macro_rules! comparison {
    ($name:literal, $sqlite:literal, $suffix:literal, $test:expr) => {
        &[
            infix($name, Int4, Int4, Bool, Emit::Infix($sqlite)),
            infix($name, Int2, Int2, Bool, Emit::Infix($sqlite)),
            infix($name, Int8, Int8, Bool, Emit::Infix($sqlite)),
            infix($name, Int2, Int4, Bool, Emit::Infix($sqlite)),
            infix($name, Int2, Int8, Bool, Emit::Infix($sqlite)),
            infix($name, Int4, Int2, Bool, Emit::Infix($sqlite)),
            infix($name, Int4, Int8, Bool, Emit::Infix($sqlite)),
            infix($name, Int8, Int2, Bool, Emit::Infix($sqlite)),
            infix($name, Int8, Int4, Bool, Emit::Infix($sqlite)),
            infix($name, Float4, Float4, Bool, Emit::Infix($sqlite)),
            infix($name, Float4, Float8, Bool, Emit::Infix($sqlite)),
            infix($name, Float8, Float4, Bool, Emit::Infix($sqlite)),
            infix($name, Float8, Float8, Bool, Emit::Infix($sqlite)),
            infix($name, Numeric, Numeric, Bool, Emit::Collated($sqlite, "pg_numeric")),
            infix($name, Bool, Bool, Bool, Emit::Infix($sqlite)),
            infix($name, Text, Text, Bool, Emit::Infix($sqlite)),
            infix($name, Bpchar, Bpchar, Bool, Emit::Infix($sqlite)),
            infix($name, Name, Name, Bool, Emit::Infix($sqlite)),
            infix($name, Name, Text, Bool, Emit::Infix($sqlite)),
            infix($name, Text, Name, Bool, Emit::Infix($sqlite)),
            infix($name, Char, Char, Bool, Emit::Infix($sqlite)),
            infix($name, Bytea, Bytea, Bool, Emit::Infix($sqlite)),
            infix($name, Uuid, Uuid, Bool, Emit::Infix($sqlite)),
            infix($name, Oid, Oid, Bool, Emit::Infix($sqlite)),
            infix($name, Date, Date, Bool, Emit::Infix($sqlite)),
            infix($name, Time, Time, Bool, Emit::Infix($sqlite)),
            infix($name, Timestamp, Timestamp, Bool, Emit::Infix($sqlite)),
            infix($name, Timestamptz, Timestamptz, Bool, Emit::Infix($sqlite)),
            infix($name, Interval, Interval, Bool, Emit::Collated($sqlite, "pg_interval")),
            infix($name, Inet, Inet, Bool, Emit::Collated($sqlite, "pg_inet")),
            infix($name, Jsonb, Jsonb, Bool, Emit::Collated($sqlite, "pg_jsonb")),
            infix($name, AnyArray, AnyArray, Bool, Emit::Infix($sqlite)),
            binary($name, Date, Timestamp, Bool, concat!("pg_date_timestamp_", $suffix), |h, a| {
                Ok(truth($test(dates::compare(h, a, Date, Timestamp)?)))
            }),
            binary($name, Timestamp, Date, Bool, concat!("pg_timestamp_date_", $suffix), |h, a| {
                Ok(truth($test(dates::compare(h, a, Timestamp, Date)?)))
            }),
            binary($name, Date, Timestamptz, Bool, concat!("pg_date_timestamptz_", $suffix), |h, a| {
                Ok(truth($test(dates::compare(h, a, Date, Timestamptz)?)))
            })
            .stable(),
            binary($name, Timestamptz, Date, Bool, concat!("pg_timestamptz_date_", $suffix), |h, a| {
                Ok(truth($test(dates::compare(h, a, Timestamptz, Date)?)))
            })
            .stable(),
            binary($name, Timestamp, Timestamptz, Bool, concat!("pg_timestamp_timestamptz_", $suffix), |h, a| {
                Ok(truth($test(dates::compare(h, a, Timestamp, Timestamptz)?)))
            })
            .stable(),
            binary($name, Timestamptz, Timestamp, Bool, concat!("pg_timestamptz_timestamp_", $suffix), |h, a| {
                Ok(truth($test(dates::compare(h, a, Timestamptz, Timestamp)?)))
            })
            .stable(),
        ]
    };
}

/// An integer operation: operands, result and call.
macro_rules! integers {
    ($name:literal, $left:ident, $right:ident, $result:ident, $call:literal, $operation:ident) => {
        binary($name, $left, $right, $result, $call, |_, a| arithmetic::integers($result, Operation::$operation, a))
    };
}

macro_rules! floats {
    ($name:literal, $left:ident, $right:ident, $result:ident, $call:literal, $operation:ident) => {
        binary($name, $left, $right, $result, $call, |_, a| arithmetic::floats($result, Operation::$operation, a))
    };
}

macro_rules! bits {
    ($name:literal, $type_:ident, $call:literal, $of:expr) => {
        binary($name, $type_, $type_, $type_, $call, |_, a| Ok(Value::Int($of(int(a, 0)?, int(a, 1)?))))
    };
}

macro_rules! shift {
    ($name:literal, $type_:ident, $native:ident, $call:literal, $of:ident) => {
        binary($name, $type_, Int4, $type_, $call, |_, a| {
            Ok(Value::Int(i64::from((int(a, 0)? as $native).$of(int(a, 1)? as u32))))
        })
    };
}

/// The overloads of a pattern operator.
macro_rules! patterns {
    ($name:literal, $call:literal, $test:expr) => {
        &[
            binary($name, Text, Text, Bool, $call, |h, a| $test(h, text(a, 0)?, text(a, 1)?).map(truth)),
            binary($name, Bpchar, Text, Bool, $call, |h, a| $test(h, text(a, 0)?, text(a, 1)?).map(truth)),
            binary($name, Name, Text, Bool, $call, |h, a| $test(h, text(a, 0)?, text(a, 1)?).map(truth)),
        ]
    };
}

const EQ: &[Operator] = comparison!("=", "=", "eq", std::cmp::Ordering::is_eq);
const NE: &[Operator] = comparison!("<>", "<>", "ne", std::cmp::Ordering::is_ne);
const LT: &[Operator] = comparison!("<", "<", "lt", std::cmp::Ordering::is_lt);
const LE: &[Operator] = comparison!("<=", "<=", "le", std::cmp::Ordering::is_le);
const GT: &[Operator] = comparison!(">", ">", "gt", std::cmp::Ordering::is_gt);
const GE: &[Operator] = comparison!(">=", ">=", "ge", std::cmp::Ordering::is_ge);

const PLUS: &[Operator] = &[
    integers!("+", Int2, Int2, Int2, "pg_int2pl", Add),
    integers!("+", Int4, Int4, Int4, "pg_int4pl", Add),
    integers!("+", Int8, Int8, Int8, "pg_int8pl", Add),
    integers!("+", Int2, Int4, Int4, "pg_int4pl", Add),
    integers!("+", Int4, Int2, Int4, "pg_int4pl", Add),
    integers!("+", Int2, Int8, Int8, "pg_int8pl", Add),
    integers!("+", Int8, Int2, Int8, "pg_int8pl", Add),
    integers!("+", Int4, Int8, Int8, "pg_int8pl", Add),
    integers!("+", Int8, Int4, Int8, "pg_int8pl", Add),
    floats!("+", Float4, Float4, Float4, "pg_float4pl", Add),
    floats!("+", Float8, Float8, Float8, "pg_float8pl", Add),
    floats!("+", Float4, Float8, Float8, "pg_float8pl", Add),
    floats!("+", Float8, Float4, Float8, "pg_float8pl", Add),
    binary("+", Numeric, Numeric, Numeric, "pg_numeric_add", |_, a| arithmetic::numerics(Operation::Add, a)),
    binary("+", Date, Int4, Date, "pg_date_pli", |_, a| dates::add_days(int(a, 0)?, int(a, 1)?)),
    binary("+", Int4, Date, Date, "pg_integer_pl_date", |_, a| dates::add_days(int(a, 1)?, int(a, 0)?)),
    binary("+", Date, Interval, Timestamp, "pg_date_pl_interval", |_, a| dates::date_interval(a, false)),
    binary("+", Interval, Date, Timestamp, "pg_interval_pl_date", |_, a| {
        dates::date_interval(&dates::swapped(a), false)
    }),
    binary("+", Timestamp, Interval, Timestamp, "pg_timestamp_pl_interval", |_, a| dates::timestamp_interval(a, false)),
    binary("+", Interval, Timestamp, Timestamp, "pg_interval_pl_timestamp", |_, a| {
        dates::timestamp_interval(&dates::swapped(a), false)
    }),
    binary("+", Timestamptz, Interval, Timestamptz, "pg_timestamptz_pl_interval", |h, a| {
        dates::timestamptz_interval(h, a, false)
    })
    .stable(),
    binary("+", Interval, Timestamptz, Timestamptz, "pg_interval_pl_timestamptz", |h, a| {
        dates::timestamptz_interval(h, &dates::swapped(a), false)
    })
    .stable(),
    binary("+", Interval, Interval, Interval, "pg_interval_pl", |_, a| dates::add_intervals(a, false)),
    binary("+", Time, Interval, Time, "pg_time_pl_interval", |_, a| dates::time_interval(a, false)),
    binary("+", Interval, Time, Time, "pg_interval_pl_time", |_, a| dates::time_interval(&dates::swapped(a), false)),
    binary("+", Date, Time, Timestamp, "pg_datetime_pl", |_, a| dates::date_time(a)),
    binary("+", Time, Date, Timestamp, "pg_timedate_pl", |_, a| dates::date_time(&dates::swapped(a))),
    prefix("+", Int2, Emit::Nothing, None),
    prefix("+", Int4, Emit::Nothing, None),
    prefix("+", Int8, Emit::Nothing, None),
    prefix("+", Float4, Emit::Nothing, None),
    prefix("+", Float8, Emit::Nothing, None),
    prefix("+", Numeric, Emit::Nothing, None),
];

const MINUS: &[Operator] = &[
    integers!("-", Int2, Int2, Int2, "pg_int2mi", Sub),
    integers!("-", Int4, Int4, Int4, "pg_int4mi", Sub),
    integers!("-", Int8, Int8, Int8, "pg_int8mi", Sub),
    integers!("-", Int2, Int4, Int4, "pg_int4mi", Sub),
    integers!("-", Int4, Int2, Int4, "pg_int4mi", Sub),
    integers!("-", Int2, Int8, Int8, "pg_int8mi", Sub),
    integers!("-", Int8, Int2, Int8, "pg_int8mi", Sub),
    integers!("-", Int4, Int8, Int8, "pg_int8mi", Sub),
    integers!("-", Int8, Int4, Int8, "pg_int8mi", Sub),
    floats!("-", Float4, Float4, Float4, "pg_float4mi", Sub),
    floats!("-", Float8, Float8, Float8, "pg_float8mi", Sub),
    floats!("-", Float4, Float8, Float8, "pg_float8mi", Sub),
    floats!("-", Float8, Float4, Float8, "pg_float8mi", Sub),
    binary("-", Numeric, Numeric, Numeric, "pg_numeric_sub", |_, a| arithmetic::numerics(Operation::Sub, a)),
    binary("-", Date, Int4, Date, "pg_date_mii", |_, a| dates::add_days(int(a, 0)?, -int(a, 1)?)),
    binary("-", Date, Date, Int4, "pg_date_mi", |_, a| dates::days_between(a)),
    binary("-", Date, Interval, Timestamp, "pg_date_mi_interval", |_, a| dates::date_interval(a, true)),
    binary("-", Timestamp, Timestamp, Interval, "pg_timestamp_mi", |_, a| dates::difference(a)),
    binary("-", Timestamptz, Timestamptz, Interval, "pg_timestamptz_mi", |_, a| dates::difference(a)),
    binary("-", Timestamp, Interval, Timestamp, "pg_timestamp_mi_interval", |_, a| dates::timestamp_interval(a, true)),
    binary("-", Timestamptz, Interval, Timestamptz, "pg_timestamptz_mi_interval", |h, a| {
        dates::timestamptz_interval(h, a, true)
    })
    .stable(),
    binary("-", Interval, Interval, Interval, "pg_interval_mi", |_, a| dates::add_intervals(a, true)),
    binary("-", Time, Time, Interval, "pg_time_mi_time", |_, a| dates::time_difference(a)),
    binary("-", Time, Interval, Time, "pg_time_mi_interval", |_, a| dates::time_interval(a, true)),
    prefix("-", Int2, Emit::Call("pg_int2um"), Some(|_, a| arithmetic::checked(Int2, int(a, 0)?.checked_neg()))),
    prefix("-", Int4, Emit::Call("pg_int4um"), Some(|_, a| arithmetic::checked(Int4, int(a, 0)?.checked_neg()))),
    prefix("-", Int8, Emit::Call("pg_int8um"), Some(|_, a| arithmetic::checked(Int8, int(a, 0)?.checked_neg()))),
    prefix("-", Float4, Emit::Call("pg_floatum"), Some(|_, a| Ok(crate::sql::types::float_to_value(-float(a, 0)?)))),
    prefix("-", Float8, Emit::Call("pg_floatum"), Some(|_, a| Ok(crate::sql::types::float_to_value(-float(a, 0)?)))),
    prefix("-", Numeric, Emit::Call("pg_numeric_uminus"), Some(|_, a| Ok(numeric(a, 0)?.negate().to_value()))),
    prefix("-", Interval, Emit::Call("pg_interval_um"), Some(|_, a| dates::negate_interval(a))),
];

const TIMES: &[Operator] = &[
    integers!("*", Int2, Int2, Int2, "pg_int2mul", Mul),
    integers!("*", Int4, Int4, Int4, "pg_int4mul", Mul),
    integers!("*", Int8, Int8, Int8, "pg_int8mul", Mul),
    integers!("*", Int2, Int4, Int4, "pg_int4mul", Mul),
    integers!("*", Int4, Int2, Int4, "pg_int4mul", Mul),
    integers!("*", Int2, Int8, Int8, "pg_int8mul", Mul),
    integers!("*", Int8, Int2, Int8, "pg_int8mul", Mul),
    integers!("*", Int4, Int8, Int8, "pg_int8mul", Mul),
    integers!("*", Int8, Int4, Int8, "pg_int8mul", Mul),
    floats!("*", Float4, Float4, Float4, "pg_float4mul", Mul),
    floats!("*", Float8, Float8, Float8, "pg_float8mul", Mul),
    floats!("*", Float4, Float8, Float8, "pg_float8mul", Mul),
    floats!("*", Float8, Float4, Float8, "pg_float8mul", Mul),
    binary("*", Numeric, Numeric, Numeric, "pg_numeric_mul", |_, a| arithmetic::numerics(Operation::Mul, a)),
    binary("*", Interval, Float8, Interval, "pg_interval_mul", |_, a| dates::scale_interval(text(a, 0)?, float(a, 1)?)),
    binary("*", Float8, Interval, Interval, "pg_mul_d_interval", |_, a| {
        dates::scale_interval(text(a, 1)?, float(a, 0)?)
    }),
];

const OVER: &[Operator] = &[
    integers!("/", Int2, Int2, Int2, "pg_int2div", Div),
    integers!("/", Int4, Int4, Int4, "pg_int4div", Div),
    integers!("/", Int8, Int8, Int8, "pg_int8div", Div),
    integers!("/", Int2, Int4, Int4, "pg_int4div", Div),
    integers!("/", Int4, Int2, Int4, "pg_int4div", Div),
    integers!("/", Int2, Int8, Int8, "pg_int8div", Div),
    integers!("/", Int8, Int2, Int8, "pg_int8div", Div),
    integers!("/", Int4, Int8, Int8, "pg_int8div", Div),
    integers!("/", Int8, Int4, Int8, "pg_int8div", Div),
    floats!("/", Float4, Float4, Float4, "pg_float4div", Div),
    floats!("/", Float8, Float8, Float8, "pg_float8div", Div),
    floats!("/", Float4, Float8, Float8, "pg_float8div", Div),
    floats!("/", Float8, Float4, Float8, "pg_float8div", Div),
    binary("/", Numeric, Numeric, Numeric, "pg_numeric_div", |_, a| arithmetic::numerics(Operation::Div, a)),
    binary("/", Interval, Float8, Interval, "pg_interval_div", |_, a| {
        dates::divide_interval(text(a, 0)?, float(a, 1)?)
    }),
];

const REM: &[Operator] = &[
    integers!("%", Int2, Int2, Int2, "pg_int2mod", Rem),
    integers!("%", Int4, Int4, Int4, "pg_int4mod", Rem),
    integers!("%", Int8, Int8, Int8, "pg_int8mod", Rem),
    integers!("%", Int2, Int4, Int4, "pg_int4mod", Rem),
    integers!("%", Int4, Int2, Int4, "pg_int4mod", Rem),
    integers!("%", Int2, Int8, Int8, "pg_int8mod", Rem),
    integers!("%", Int8, Int2, Int8, "pg_int8mod", Rem),
    integers!("%", Int4, Int8, Int8, "pg_int8mod", Rem),
    integers!("%", Int8, Int4, Int8, "pg_int8mod", Rem),
    binary("%", Numeric, Numeric, Numeric, "pg_numeric_rem", |_, a| arithmetic::numerics(Operation::Rem, a)),
];

const POWER: &[Operator] = &[
    binary("^", Float8, Float8, Float8, "pg_dpow", |_, a| super::math::power(float(a, 0)?, float(a, 1)?)),
    binary("^", Numeric, Numeric, Numeric, "pg_numeric_power", |_, a| {
        crate::sql::types::transcendental::power(&numeric(a, 0)?, &numeric(a, 1)?).map(|value| value.to_value())
    }),
];

const AND: &[Operator] = &[
    bits!("&", Int2, "pg_intand", |a: i64, b: i64| a & b),
    bits!("&", Int4, "pg_intand", |a: i64, b: i64| a & b),
    bits!("&", Int8, "pg_intand", |a: i64, b: i64| a & b),
];

const OR: &[Operator] = &[
    bits!("|", Int2, "pg_intor", |a: i64, b: i64| a | b),
    bits!("|", Int4, "pg_intor", |a: i64, b: i64| a | b),
    bits!("|", Int8, "pg_intor", |a: i64, b: i64| a | b),
];

const XOR: &[Operator] = &[
    bits!("#", Int2, "pg_intxor", |a: i64, b: i64| a ^ b),
    bits!("#", Int4, "pg_intxor", |a: i64, b: i64| a ^ b),
    bits!("#", Int8, "pg_intxor", |a: i64, b: i64| a ^ b),
];

const SHIFT_LEFT: &[Operator] = &[
    shift!("<<", Int2, i16, "pg_int2shl", wrapping_shl),
    shift!("<<", Int4, i32, "pg_int4shl", wrapping_shl),
    shift!("<<", Int8, i64, "pg_int8shl", wrapping_shl),
];

const SHIFT_RIGHT: &[Operator] = &[
    shift!(">>", Int2, i16, "pg_int2shr", wrapping_shr),
    shift!(">>", Int4, i32, "pg_int4shr", wrapping_shr),
    shift!(">>", Int8, i64, "pg_int8shr", wrapping_shr),
];

const TILDE: &[Operator] = &[
    binary("~", Text, Text, Bool, "pg_textregexeq", |h, a| {
        pattern::regex(h, text(a, 0)?, text(a, 1)?, false).map(truth)
    }),
    binary("~", Bpchar, Text, Bool, "pg_textregexeq", |h, a| {
        pattern::regex(h, text(a, 0)?, text(a, 1)?, false).map(truth)
    }),
    binary("~", Name, Text, Bool, "pg_textregexeq", |h, a| {
        pattern::regex(h, text(a, 0)?, text(a, 1)?, false).map(truth)
    }),
    prefix("~", Int2, Emit::Prefix("~"), None),
    prefix("~", Int4, Emit::Prefix("~"), None),
    prefix("~", Int8, Emit::Prefix("~"), None),
];
const NOT_TILDE: &[Operator] =
    patterns!("!~", "pg_textregexne", |h, text, pattern| pattern::regex(h, text, pattern, false).map(|found| !found));
const TILDE_STAR: &[Operator] =
    patterns!("~*", "pg_texticregexeq", |h, text, pattern| pattern::regex(h, text, pattern, true));
const NOT_TILDE_STAR: &[Operator] =
    patterns!("!~*", "pg_texticregexne", |h, text, pattern| pattern::regex(h, text, pattern, true).map(|found| !found));
const LIKE: &[Operator] = patterns!("~~", "pg_textlike", |_, text, pattern| pattern::like(text, pattern, false));
const NOT_LIKE: &[Operator] =
    patterns!("!~~", "pg_textnlike", |_, text, pattern| pattern::like(text, pattern, false).map(|found| !found));
const ILIKE: &[Operator] = patterns!("~~*", "pg_texticlike", |_, text, pattern| pattern::like(text, pattern, true));
const NOT_ILIKE: &[Operator] =
    patterns!("!~~*", "pg_texticnlike", |_, text, pattern| pattern::like(text, pattern, true).map(|found| !found));

const CONCAT: &[Operator] = &[
    infix("||", Text, Text, Text, Emit::Infix("||")),
    binary("||", TextArray, TextArray, TextArray, "pg_array_cat", super::session::array_concat),
    binary("||", Bytea, Bytea, Bytea, "pg_byteacat", super::text::bytea_concat),
    binary("||", Text, AnyElement, Text, "pg_textany", super::text::any_concat).stable().typed(),
    binary("||", AnyElement, Text, Text, "pg_textany", super::text::any_concat).stable().typed(),
];

const STARTS_WITH: &[Operator] =
    &[binary("^@", Text, Text, Bool, "pg_starts_with", |_, a| Ok(truth(text(a, 0)?.starts_with(text(a, 1)?))))];

const ABS: &[Operator] = &[
    prefix("@", Int2, Emit::Call("pg_int2abs"), Some(|_, a| arithmetic::checked(Int2, int(a, 0)?.checked_abs()))),
    prefix("@", Int4, Emit::Call("pg_int4abs"), Some(|_, a| arithmetic::checked(Int4, int(a, 0)?.checked_abs()))),
    prefix("@", Int8, Emit::Call("pg_int8abs"), Some(|_, a| arithmetic::checked(Int8, int(a, 0)?.checked_abs()))),
    prefix(
        "@",
        Float4,
        Emit::Call("pg_floatabs"),
        Some(|_, a| Ok(crate::sql::types::float_to_value(float(a, 0)?.abs()))),
    ),
    prefix(
        "@",
        Float8,
        Emit::Call("pg_floatabs"),
        Some(|_, a| Ok(crate::sql::types::float_to_value(float(a, 0)?.abs()))),
    ),
    prefix("@", Numeric, Emit::Call("pg_numeric_abs"), Some(|_, a| Ok(numeric(a, 0)?.abs().to_value()))),
];

const ROOT: &[Operator] = &[prefix("|/", Float8, Emit::Call("pg_dsqrt"), Some(|_, a| super::math::sqrt(float(a, 0)?)))];

const CUBE_ROOT: &[Operator] = &[prefix(
    "||/",
    Float8,
    Emit::Call("pg_dcbrt"),
    Some(|_, a| Ok(crate::sql::types::float_to_value(float(a, 0)?.cbrt()))),
)];

const TABLES: &[&[Operator]] = &[
    EQ,
    NE,
    LT,
    LE,
    GT,
    GE,
    PLUS,
    MINUS,
    TIMES,
    OVER,
    REM,
    POWER,
    CONCAT,
    LIKE,
    NOT_LIKE,
    ILIKE,
    NOT_ILIKE,
    TILDE,
    NOT_TILDE,
    TILDE_STAR,
    NOT_TILDE_STAR,
    AND,
    OR,
    XOR,
    SHIFT_LEFT,
    SHIFT_RIGHT,
    STARTS_WITH,
    ABS,
    ROOT,
    CUBE_ROOT,
];
