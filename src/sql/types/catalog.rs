//! What `pg_type` says of each type: catalog name, category, arrays and their elements, representation.

use super::{Type, array};

/// The columns of a row of `pg_type` that are not the same for every type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PgType {
    /// `typname`.
    pub name: &'static str,
    /// `typlen`.
    pub length: i16,
    /// `typbyval`.
    pub by_value: bool,
    /// `typtype`: 'b' base, 'p' pseudo.
    pub kind: char,
    /// `typcategory`.
    pub category: char,
    /// `typispreferred`.
    pub preferred: bool,
    /// `typdelim`.
    pub delimiter: char,
    /// `typelem`, 0 for none.
    pub element: u32,
    /// `typarray`, 0 for none.
    pub array: u32,
    /// `typalign`.
    pub alignment: char,
    /// `typstorage`.
    pub storage: char,
    /// `typcollation`: 100 for collatable types, 950 ("C") for name, else 0.
    pub collation: u32,
    /// Prefix of the I/O functions' names ("int4" of int4in, int4out, int4recv, int4send).
    pub io: &'static str,
}

/// The catalog's row of a type.
pub fn pg_type(type_: Type) -> PgType {
    let (name, category, preferred, alignment, storage) = describe(type_);
    let length = type_.length();
    let array = type_.is_array();
    PgType {
        name,
        length,
        by_value: matches!(length, 1 | 2 | 4) || (length == 8),
        kind: if category == 'P' { 'p' } else { 'b' },
        category,
        preferred,
        delimiter: ',',
        element: type_.element().map_or(0, Type::oid),
        array: type_.array().map_or(0, Type::oid),
        alignment,
        storage,
        collation: match type_ {
            Type::Text | Type::Varchar | Type::Bpchar | Type::PgNodeTree => 100,
            Type::TextArray | Type::VarcharArray => 100,
            Type::Name | Type::NameArray => 950,
            _ => 0,
        },
        io: if array { "array_" } else { io_prefix(type_) },
    }
}

fn io_prefix(type_: Type) -> &'static str {
    match type_ {
        Type::Char => "char",
        Type::Json => "json_",
        Type::Jsonb => "jsonb_",
        Type::Date => "date_",
        Type::Time => "time_",
        Type::Timestamp => "timestamp_",
        Type::Timestamptz => "timestamptz_",
        Type::Interval => "interval_",
        Type::Numeric => "numeric_",
        Type::Uuid => "uuid_",
        Type::Inet => "inet_",
        Type::PgNodeTree => "pg_node_tree_",
        Type::Record => "record_",
        Type::Any => "any_",
        Type::AnyArray => "anyarray_",
        Type::AnyElement => "anyelement_",
        Type::Void => "void_",
        other => describe(other).0,
    }
}

/// Catalog name, category, preferred, alignment, storage.
fn describe(type_: Type) -> (&'static str, char, bool, char, char) {
    match type_ {
        Type::Bool => ("bool", 'B', true, 'c', 'p'),
        Type::Bytea => ("bytea", 'U', false, 'i', 'x'),
        Type::Char => ("char", 'Z', false, 'c', 'p'),
        Type::Name => ("name", 'S', false, 'c', 'p'),
        Type::Int8 => ("int8", 'N', false, 'd', 'p'),
        Type::Int2 => ("int2", 'N', false, 's', 'p'),
        Type::Int2Vector => ("int2vector", 'A', false, 'i', 'p'),
        Type::Int4 => ("int4", 'N', false, 'i', 'p'),
        Type::Regproc => ("regproc", 'N', false, 'i', 'p'),
        Type::Text => ("text", 'S', true, 'i', 'x'),
        Type::Oid => ("oid", 'N', true, 'i', 'p'),
        Type::Xid => ("xid", 'U', false, 'i', 'p'),
        Type::OidVector => ("oidvector", 'A', false, 'i', 'p'),
        Type::Json => ("json", 'U', false, 'i', 'x'),
        Type::PgNodeTree => ("pg_node_tree", 'Z', false, 'i', 'x'),
        Type::Float4 => ("float4", 'N', false, 'i', 'p'),
        Type::Float8 => ("float8", 'N', true, 'd', 'p'),
        Type::Unknown => ("unknown", 'X', false, 'c', 'p'),
        Type::Inet => ("inet", 'I', true, 'i', 'm'),
        Type::AclItem => ("aclitem", 'U', false, 'i', 'p'),
        Type::Bpchar => ("bpchar", 'S', false, 'i', 'x'),
        Type::Varchar => ("varchar", 'S', false, 'i', 'x'),
        Type::Date => ("date", 'D', false, 'i', 'p'),
        Type::Time => ("time", 'D', false, 'd', 'p'),
        Type::Timestamp => ("timestamp", 'D', false, 'd', 'p'),
        Type::Timestamptz => ("timestamptz", 'D', true, 'd', 'p'),
        Type::Interval => ("interval", 'T', true, 'd', 'p'),
        Type::Numeric => ("numeric", 'N', false, 'i', 'm'),
        Type::Regclass => ("regclass", 'N', false, 'i', 'p'),
        Type::Regtype => ("regtype", 'N', false, 'i', 'p'),
        Type::Record => ("record", 'P', false, 'd', 'x'),
        Type::Any => ("any", 'P', false, 'i', 'p'),
        Type::AnyArray => ("anyarray", 'P', false, 'd', 'x'),
        Type::Void => ("void", 'P', false, 'i', 'p'),
        Type::AnyElement => ("anyelement", 'P', false, 'i', 'p'),
        Type::Uuid => ("uuid", 'U', false, 'c', 'p'),
        Type::Jsonb => ("jsonb", 'U', false, 'i', 'x'),
        Type::Regnamespace => ("regnamespace", 'N', false, 'i', 'p'),
        Type::Regrole => ("regrole", 'N', false, 'i', 'p'),
        Type::BoolArray => ("_bool", 'A', false, 'i', 'x'),
        Type::ByteaArray => ("_bytea", 'A', false, 'i', 'x'),
        Type::CharArray => ("_char", 'A', false, 'i', 'x'),
        Type::NameArray => ("_name", 'A', false, 'i', 'x'),
        Type::Int2Array => ("_int2", 'A', false, 'i', 'x'),
        Type::Int4Array => ("_int4", 'A', false, 'i', 'x'),
        Type::TextArray => ("_text", 'A', false, 'i', 'x'),
        Type::VarcharArray => ("_varchar", 'A', false, 'i', 'x'),
        Type::Int8Array => ("_int8", 'A', false, 'd', 'x'),
        Type::Float4Array => ("_float4", 'A', false, 'i', 'x'),
        Type::Float8Array => ("_float8", 'A', false, 'd', 'x'),
        Type::OidArray => ("_oid", 'A', false, 'i', 'x'),
        Type::AclItemArray => ("_aclitem", 'A', false, 'i', 'x'),
        Type::TimestampArray => ("_timestamp", 'A', false, 'd', 'x'),
        Type::DateArray => ("_date", 'A', false, 'i', 'x'),
        Type::TimestamptzArray => ("_timestamptz", 'A', false, 'd', 'x'),
        Type::NumericArray => ("_numeric", 'A', false, 'i', 'x'),
        Type::UuidArray => ("_uuid", 'A', false, 'i', 'x'),
    }
}

/// Array types with their elements.
const ARRAYS: &[(Type, Type)] = &[
    (Type::BoolArray, Type::Bool),
    (Type::ByteaArray, Type::Bytea),
    (Type::CharArray, Type::Char),
    (Type::NameArray, Type::Name),
    (Type::Int2Array, Type::Int2),
    (Type::Int4Array, Type::Int4),
    (Type::TextArray, Type::Text),
    (Type::VarcharArray, Type::Varchar),
    (Type::Int8Array, Type::Int8),
    (Type::Float4Array, Type::Float4),
    (Type::Float8Array, Type::Float8),
    (Type::OidArray, Type::Oid),
    (Type::AclItemArray, Type::AclItem),
    (Type::TimestampArray, Type::Timestamp),
    (Type::DateArray, Type::Date),
    (Type::TimestamptzArray, Type::Timestamptz),
    (Type::NumericArray, Type::Numeric),
    (Type::UuidArray, Type::Uuid),
];

impl Type {
    /// `typcategory`.
    pub fn category(self) -> char {
        describe(self).1
    }

    /// `typispreferred`: wins among its category's candidates.
    pub fn is_preferred(self) -> bool {
        describe(self).2
    }

    /// Whether it is an array with `{…}` as its text form (the two vector types are not).
    pub fn is_array(self) -> bool {
        ARRAYS.iter().any(|(array, _)| *array == self)
    }

    /// The type of an array's (or vector's) elements.
    pub fn element(self) -> Option<Type> {
        match self {
            Type::Int2Vector => Some(Type::Int2),
            Type::OidVector => Some(Type::Oid),
            _ => ARRAYS.iter().find(|(array, _)| *array == self).map(|(_, element)| *element),
        }
    }

    /// The array type over this type.
    pub fn array(self) -> Option<Type> {
        ARRAYS.iter().find(|(_, element)| *element == self).map(|(array, _)| *array)
    }

    /// Whether values can be had of it in a table: not a pseudo-type.
    pub fn is_pseudo(self) -> bool {
        describe(self).1 == 'P'
    }

    /// The SQLite collation that sorts stored values as PostgreSQL sorts the type; `None` where SQLite's own
    /// order of the stored form is right. It goes on columns, and on ORDER BY, GROUP BY and DISTINCT keys.
    pub fn collation(self) -> Option<&'static str> {
        match self {
            Type::Numeric => Some("pg_numeric"),
            Type::Interval => Some("pg_interval"),
            Type::Inet => Some("pg_inet"),
            Type::Jsonb => Some("pg_jsonb"),
            _ => array::collation(self.element().filter(|_| self.is_array())?),
        }
    }

    /// The storage class of its values, as a SQLite column is declared: INTEGER, REAL, TEXT or BLOB.
    pub fn storage_class(self) -> &'static str {
        match self {
            Type::Bool | Type::Int2 | Type::Int4 | Type::Int8 | Type::Oid | Type::Xid => "INTEGER",
            Type::Date | Type::Time | Type::Timestamp | Type::Timestamptz => "INTEGER",
            Type::Regproc | Type::Regclass | Type::Regtype | Type::Regnamespace | Type::Regrole => "INTEGER",
            Type::Float4 | Type::Float8 => "REAL",
            Type::Bytea | Type::Uuid => "BLOB",
            _ => "TEXT",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_and_elements_agree() {
        for type_ in Type::ALL {
            if let Some(array) = type_.array() {
                assert_eq!(array.element(), Some(*type_));
                assert_eq!(pg_type(array).name, format!("_{}", pg_type(*type_).name));
            }
        }
        assert_eq!(pg_type(Type::Int4).category, 'N');
        assert!(Type::Timestamptz.is_preferred());
        assert_eq!(pg_type(Type::Int2Vector).element, 21);
    }
}
