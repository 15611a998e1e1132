//! PostgreSQL's types: their names and OIDs, how values are stored, read and shown.
//!
//! Owns the stored representation (see [`Datum`]); everything that reads or writes a value of a type follows
//! the table there. Pure.

pub mod array;
pub mod bytes;
pub mod calendar;
mod cast;
mod catalog;
mod convert;
pub mod datetime;
mod datum;
mod float;
pub mod inet;
mod integer;
pub mod interval;
pub mod json;
mod name;
pub mod names;
pub mod numeric;
pub mod transcendental;

pub use crate::settings::{ByteaOutput, DateOrder, DateStyle, IntervalStyle, TextContext};
pub use cast::{CastKind, apply_typmod, cast, date_to_timestamp, timestamp_to_date};
pub use catalog::{PgType, pg_type};
pub use convert::{input, invalid_utf8, output, receive, send, send_with_typmod};
pub use datum::{Datum, Value};
pub use float::{from_datum as float_from_datum, to_value as float_to_value};
pub use integer::{range as integer_range, write_int};
pub use name::{format_type, missing_type, parse_name, typmod_from_modifiers};

/// The order of two values of a type, neither of which is NULL, in their stored form.
pub fn compare(type_: Type, a: &Value, b: &Value) -> std::cmp::Ordering {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        (Value::Text(a), Value::Text(b)) => match type_ {
            Type::Numeric => numeric::compare(a, b),
            Type::Interval => interval::compare(a, b),
            Type::Inet => inet::compare(a, b),
            Type::Jsonb => json::compare(a, b),
            _ => array::compare_as(type_, a, b).unwrap_or_else(|| a.cmp(b)),
        },
        // NaN is stored as text, and is the greatest.
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal),
        (Value::Float(_), Value::Text(_)) => std::cmp::Ordering::Less,
        (Value::Text(_), Value::Float(_)) => std::cmp::Ordering::Greater,
        _ => std::cmp::Ordering::Equal,
    }
}

/// Defines [`Type`] with its OID, SQL name (as `format_type` shows it) and length (as `pg_type.typlen`).
macro_rules! types {
    ($($name:ident = $oid:literal, $sql:literal, $len:literal;)*) => {
        /// A built-in type. OIDs, names and lengths are those of PostgreSQL's `pg_type`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        pub enum Type { $(#[doc = $sql] $name,)* }

        impl Type {
            /// Every type this server knows.
            pub const ALL: &'static [Type] = &[$(Self::$name,)*];

            /// `pg_type.oid`.
            pub const fn oid(self) -> u32 {
                match self { $(Self::$name => $oid,)* }
            }

            /// The type with that OID.
            pub const fn from_oid(oid: u32) -> Option<Type> {
                match oid { $($oid => Some(Self::$name),)* _ => None }
            }

            /// The name as `format_type(oid, NULL)` shows it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $sql,)* }
            }

            /// `pg_type.typlen`: bytes, -1 for variable length, -2 for a C string.
            pub const fn length(self) -> i16 {
                match self { $(Self::$name => $len,)* }
            }
        }
    };
}

types! {
    Bool = 16, "boolean", 1;
    Bytea = 17, "bytea", -1;
    Char = 18, "\"char\"", 1;
    Name = 19, "name", 64;
    Int8 = 20, "bigint", 8;
    Int2 = 21, "smallint", 2;
    Int2Vector = 22, "int2vector", -1;
    Int4 = 23, "integer", 4;
    Regproc = 24, "regproc", 4;
    Text = 25, "text", -1;
    Oid = 26, "oid", 4;
    Xid = 28, "xid", 4;
    OidVector = 30, "oidvector", -1;
    Json = 114, "json", -1;
    PgNodeTree = 194, "pg_node_tree", -1;
    Float4 = 700, "real", 4;
    Float8 = 701, "double precision", 8;
    Unknown = 705, "unknown", -2;
    Inet = 869, "inet", -1;
    AclItem = 1033, "aclitem", 16;
    Bpchar = 1042, "character", -1;
    Varchar = 1043, "character varying", -1;
    Date = 1082, "date", 4;
    Time = 1083, "time without time zone", 8;
    Timestamp = 1114, "timestamp without time zone", 8;
    Timestamptz = 1184, "timestamp with time zone", 8;
    Interval = 1186, "interval", 16;
    Numeric = 1700, "numeric", -1;
    Regclass = 2205, "regclass", 4;
    Regtype = 2206, "regtype", 4;
    Record = 2249, "record", -1;
    Any = 2276, "\"any\"", 4;
    AnyArray = 2277, "anyarray", -1;
    Void = 2278, "void", 4;
    AnyElement = 2283, "anyelement", 4;
    Uuid = 2950, "uuid", 16;
    Jsonb = 3802, "jsonb", -1;
    Regnamespace = 4089, "regnamespace", 4;
    Regrole = 4096, "regrole", 4;
    BoolArray = 1000, "boolean[]", -1;
    ByteaArray = 1001, "bytea[]", -1;
    CharArray = 1002, "\"char\"[]", -1;
    NameArray = 1003, "name[]", -1;
    Int2Array = 1005, "smallint[]", -1;
    Int4Array = 1007, "integer[]", -1;
    TextArray = 1009, "text[]", -1;
    VarcharArray = 1015, "character varying[]", -1;
    Int8Array = 1016, "bigint[]", -1;
    Float4Array = 1021, "real[]", -1;
    Float8Array = 1022, "double precision[]", -1;
    OidArray = 1028, "oid[]", -1;
    AclItemArray = 1034, "aclitem[]", -1;
    TimestampArray = 1115, "timestamp without time zone[]", -1;
    DateArray = 1182, "date[]", -1;
    TimestamptzArray = 1185, "timestamp with time zone[]", -1;
    NumericArray = 1231, "numeric[]", -1;
    UuidArray = 2951, "uuid[]", -1;
}
