//! Type names: aliases that SQL accepts, names as `format_type` shows them, and type modifiers.

use super::Type;
use super::interval::{FULL_RANGE, range_name};
use crate::error::{Condition, Error};

/// The type that a name stands for: SQL's spelling ("double precision", "timestamp with time zone") or the
/// catalog's ("int4", "bpchar", "_int4"), with `[]` for arrays. Case-insensitive; no modifiers, no schema.
pub fn parse_name(name: &str) -> Option<Type> {
    let lower = name.split_whitespace().collect::<Vec<_>>().join(" ").to_ascii_lowercase();
    if let Some(element) = lower.strip_suffix("[]") {
        return parse_name(element.trim_end())?.array();
    }
    if let Some(element) = lower.strip_prefix('_') {
        return parse_name(element)?.array();
    }
    Some(match lower.as_str() {
        "bool" => Type::Bool,
        "char" | "nchar" | "national character" | "national char" | "bpchar" => Type::Bpchar,
        "varchar" | "char varying" | "nchar varying" | "national character varying" => Type::Varchar,
        "int2" => Type::Int2,
        "int" | "int4" => Type::Int4,
        "int8" => Type::Int8,
        "float4" => Type::Float4,
        "float" | "float8" => Type::Float8,
        "decimal" | "dec" => Type::Numeric,
        "timestamp" => Type::Timestamp,
        "timestamptz" => Type::Timestamptz,
        "time" => Type::Time,
        "any" => Type::Any,
        _ => *Type::ALL.iter().find(|type_| type_.name() == lower)?,
    })
}

/// The error for a type that there is not: by name (0A000) if PostgreSQL has it, else 42704.
pub fn missing_type(name: &str) -> Error {
    const MISSING: &[&str] = &[
        "bit",
        "bit varying",
        "box",
        "cid",
        "cidr",
        "circle",
        "daterange",
        "int4range",
        "int8range",
        "jsonpath",
        "line",
        "lseg",
        "macaddr",
        "macaddr8",
        "money",
        "numrange",
        "path",
        "pg_lsn",
        "point",
        "polygon",
        "refcursor",
        "regcollation",
        "regconfig",
        "regdictionary",
        "regoper",
        "regoperator",
        "regprocedure",
        "tid",
        "time with time zone",
        "timetz",
        "tsquery",
        "tsrange",
        "tstzrange",
        "tsvector",
        "varbit",
        "xid8",
        "xml",
    ];
    if MISSING.contains(&name.strip_suffix("[]").unwrap_or(name)) {
        return Error::unsupported(format!("type {name}"));
    }
    Error::new(Condition::UndefinedObject, format!("type \"{name}\" does not exist"))
}

/// The name with its modifier, as `format_type(oid, typmod)` shows it. A typmod of -1 shows none.
pub fn format_type(type_: Type, typmod: i32) -> String {
    if let Some(element) = type_.element().filter(|_| type_.is_array()) {
        return format!("{}[]", format_type(element, typmod));
    }
    match type_ {
        // Without a modifier, "character" would be read back as character(1).
        Type::Bpchar if typmod < 0 => "bpchar".to_owned(),
        Type::Bpchar | Type::Varchar if typmod >= 4 => format!("{}({})", type_.name(), typmod - 4),
        Type::Numeric if typmod >= 4 => {
            let (precision, scale) = numeric_modifiers(typmod);
            format!("numeric({precision},{scale})")
        }
        Type::Time | Type::Timestamp if typmod >= 0 => {
            type_.name().replacen(" without", &format!("({typmod}) without"), 1)
        }
        Type::Timestamptz if typmod >= 0 => format!("timestamp({typmod}) with time zone"),
        Type::Interval if typmod >= 0 => {
            let (range, precision) = (typmod >> 16 & FULL_RANGE, typmod & 0xffff);
            let precision = if precision <= 6 { format!("({precision})") } else { String::new() };
            format!("interval{}{precision}", range_name(range))
        }
        _ => type_.name().to_owned(),
    }
}

/// Precision and scale in numeric's modifier (which must be 4 or more).
pub(super) fn numeric_modifiers(typmod: i32) -> (i32, i32) {
    let packed = typmod - 4;
    ((packed >> 16) & 0xffff, ((packed & 0x7ff) ^ 1024) - 1024)
}

/// The typmod of `type(modifiers)`, checked as PostgreSQL checks it. None given: -1, but character is
/// character(1); callers that mean "bpchar" must not ask.
pub fn typmod_from_modifiers(type_: Type, modifiers: &[i64]) -> Result<i32, Error> {
    let invalid = |message: String| Err(Error::new(Condition::InvalidParameterValue, message));
    match (type_, modifiers) {
        (Type::Bpchar, []) => Ok(5),
        (_, []) => Ok(-1),
        (Type::Bpchar | Type::Varchar, [length]) => {
            let name = if type_ == Type::Bpchar { "char" } else { "varchar" };
            match *length {
                ..1 => invalid(format!("length for type {name} must be at least 1")),
                10_485_761.. => invalid(format!("length for type {name} cannot exceed 10485760")),
                length => Ok(length as i32 + 4),
            }
        }
        (Type::Numeric, [precision, rest @ ..]) if rest.len() <= 1 => {
            let scale = rest.first().copied().unwrap_or(0);
            if !(1..=1000).contains(precision) {
                return invalid(format!("NUMERIC precision {precision} must be between 1 and 1000"));
            }
            if !(-1000..=1000).contains(&scale) {
                return invalid(format!("NUMERIC scale {scale} must be between -1000 and 1000"));
            }
            Ok((((*precision as i32) << 16) | (scale as i32 & 0x7ff)) + 4)
        }
        (Type::Numeric, _) => invalid("invalid NUMERIC type modifier".to_owned()),
        (Type::Time | Type::Timestamp | Type::Timestamptz | Type::Interval, [precision]) => {
            if *precision < 0 {
                let name = type_.name().split(' ').next().unwrap_or_default().to_uppercase();
                let zone = if type_ == Type::Timestamptz { " WITH TIME ZONE" } else { "" };
                return invalid(format!("{name}({precision}){zone} precision must not be negative"));
            }
            Ok((*precision).min(6) as i32 | if type_ == Type::Interval { 0x7fff_0000 } else { 0 })
        }
        (Type::Bpchar | Type::Varchar | Type::Time | Type::Timestamp | Type::Timestamptz | Type::Interval, _) => {
            invalid("invalid type modifier".to_owned())
        }
        _ => Err(Error::new(
            Condition::SyntaxError,
            format!("type modifier is not allowed for type \"{}\"", super::pg_type(type_).name),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_aliases() {
        for (name, type_) in [
            ("int4", Type::Int4),
            ("INTEGER", Type::Int4),
            ("double  precision", Type::Float8),
            ("timestamp with time zone", Type::Timestamptz),
            ("character varying", Type::Varchar),
            ("bpchar", Type::Bpchar),
            ("char", Type::Bpchar),
            ("\"char\"", Type::Char),
            ("text[]", Type::TextArray),
            ("_int8", Type::Int8Array),
            ("decimal", Type::Numeric),
        ] {
            assert_eq!(parse_name(name), Some(type_), "{name}");
        }
        assert_eq!(parse_name("nosuch"), None);
        for type_ in Type::ALL {
            // "character" alone reads back as itself too.
            assert_eq!(parse_name(type_.name()), Some(*type_));
        }
    }

    #[test]
    fn modifiers_are_shown() {
        for (type_, modifiers, shown) in [
            (Type::Varchar, &[22][..], "character varying(22)"),
            (Type::Bpchar, &[], "character(1)"),
            (Type::Numeric, &[10, 2], "numeric(10,2)"),
            (Type::Numeric, &[3, -2], "numeric(3,-2)"),
            (Type::Numeric, &[5], "numeric(5,0)"),
            (Type::Timestamp, &[3], "timestamp(3) without time zone"),
            (Type::Timestamptz, &[0], "timestamp(0) with time zone"),
            (Type::Interval, &[2], "interval(2)"),
            (Type::Int4, &[], "integer"),
        ] {
            assert_eq!(format_type(type_, typmod_from_modifiers(type_, modifiers).unwrap()), shown);
        }
        assert_eq!(format_type(Type::Bpchar, -1), "bpchar");
        assert_eq!(
            typmod_from_modifiers(Type::Varchar, &[0]).unwrap_err().to_string(),
            "length for type varchar must be at least 1 (22023)"
        );
        assert_eq!(
            typmod_from_modifiers(Type::Int4, &[4]).unwrap_err().to_string(),
            "type modifier is not allowed for type \"int4\" (42601)"
        );
    }
}
