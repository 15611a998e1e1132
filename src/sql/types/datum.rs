//! The stored representation of values, borrowed ([`Datum`]) and owned ([`Value`]).

/// A value as the engine stores it, borrowed.
///
/// | type | variant |
/// |---|---|
/// | boolean | `Int` 0 or 1 |
/// | smallint, integer, bigint, oid, xid, reg* (an OID) | `Int` |
/// | real, double precision | `Float`; NaN, which SQLite cannot hold, is `Text("NaN")` |
/// | numeric | `Text`, canonical digits with the display scale kept ("-1.50", "NaN", "Infinity") |
/// | text, varchar, name, json, jsonb, "char" | `Text` |
/// | character(n) | `Text` without its trailing blanks; output pads |
/// | bytea | `Bytes` |
/// | uuid | `Bytes`, 16 of them |
/// | date | `Int`, days since 2000-01-01; ±infinity are `i32::MAX` and `i32::MIN` |
/// | timestamp, timestamptz | `Int`, microseconds since 2000-01-01 (UTC); ±infinity are `i64::MAX` and `i64::MIN` |
/// | time | `Int`, microseconds since midnight |
/// | interval | `Text`, "months days microseconds", three decimal integers |
/// | arrays, int2vector, oidvector | `Text`, in PostgreSQL's output form of the type |
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Datum<'a> {
    /// SQL NULL of any type.
    Null,
    /// Integers and everything that is counted.
    Int(i64),
    /// Binary floating point.
    Float(f64),
    /// UTF-8 text without NUL.
    Text(&'a str),
    /// Raw bytes.
    Bytes(&'a [u8]),
}

/// A value as the engine stores it, owned. See [`Datum`] for what stands for what.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Value {
    /// SQL NULL of any type.
    Null,
    /// Integers and everything that is counted.
    Int(i64),
    /// Binary floating point.
    Float(f64),
    /// UTF-8 text without NUL.
    Text(String),
    /// Raw bytes.
    Bytes(Vec<u8>),
}

impl Value {
    /// The same value, borrowed.
    pub fn as_datum(&self) -> Datum<'_> {
        match self {
            Self::Null => Datum::Null,
            Self::Int(value) => Datum::Int(*value),
            Self::Float(value) => Datum::Float(*value),
            Self::Text(value) => Datum::Text(value),
            Self::Bytes(value) => Datum::Bytes(value),
        }
    }

    /// Whether it is SQL NULL.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

impl Datum<'_> {
    /// The same value, owned.
    pub fn to_value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Int(value) => Value::Int(value),
            Self::Float(value) => Value::Float(value),
            Self::Text(value) => Value::Text(value.to_owned()),
            Self::Bytes(value) => Value::Bytes(value.to_owned()),
        }
    }
}
