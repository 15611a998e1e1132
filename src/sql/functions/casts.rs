//! Casts: which types become which, where, and how that is written.

use super::arguments::{boolean, int, type_};
use super::{Emit, Host, Registration};
use crate::error::Error;
use crate::sql::types::Type::{
    Bool, Bpchar, Bytea, Char, Date, Float4, Float8, Int2, Int4, Int8, Interval, Name, Numeric, Oid, Regclass,
    Regnamespace, Regproc, Regrole, Regtype, Text, Time, Timestamp, Timestamptz, Unknown, Varchar,
};
use crate::sql::types::{self, CastKind, Datum, Type, Value};
use CastKind::{Assignment, Explicit, Implicit};

/// A cast, as in `pg_cast`, and those through text that PostgreSQL makes up itself.
#[derive(Debug, Clone, Copy)]
pub struct Cast {
    /// Where it may be used.
    pub context: CastKind,
    /// How it is written: `Nothing`, or a call with three arguments: the value, the OID of its type and the OID
    /// of the target, both integer literals.
    pub emit: Emit,
}

/// The name under which a cast of any pair can be called: `pg_cast(value, from oid, to oid)`.
pub const CAST: &str = "pg_cast";

/// The call that applies a type modifier: `pg_typmod(value, type oid, typmod, explicit 0/1)`.
pub const TYPMOD: &str = "pg_typmod";

/// Source, target, context; those between types stored alike come without a call.
const CASTS: &[(Type, Type, CastKind, bool)] = &[
    (Int2, Int4, Implicit, false),
    (Int2, Int8, Implicit, false),
    (Int4, Int8, Implicit, false),
    (Int2, Float4, Implicit, true),
    (Int2, Float8, Implicit, true),
    (Int4, Float4, Implicit, true),
    (Int4, Float8, Implicit, true),
    (Int8, Float4, Implicit, true),
    (Int8, Float8, Implicit, true),
    (Int2, Numeric, Implicit, true),
    (Int4, Numeric, Implicit, true),
    (Int8, Numeric, Implicit, true),
    (Float4, Float8, Implicit, true),
    (Numeric, Float4, Implicit, true),
    (Numeric, Float8, Implicit, true),
    (Int4, Int2, Assignment, true),
    (Int8, Int2, Assignment, true),
    (Int8, Int4, Assignment, true),
    (Float4, Int2, Assignment, true),
    (Float4, Int4, Assignment, true),
    (Float4, Int8, Assignment, true),
    (Float8, Int2, Assignment, true),
    (Float8, Int4, Assignment, true),
    (Float8, Int8, Assignment, true),
    (Float8, Float4, Assignment, true),
    (Float4, Numeric, Assignment, true),
    (Float8, Numeric, Assignment, true),
    (Numeric, Int2, Assignment, true),
    (Numeric, Int4, Assignment, true),
    (Numeric, Int8, Assignment, true),
    (Int4, Bool, Explicit, true),
    (Bool, Int4, Explicit, false),
    (Bool, Text, Assignment, true),
    (Bool, Varchar, Assignment, true),
    (Bool, Bpchar, Assignment, true),
    (Text, Varchar, Implicit, false),
    (Text, Bpchar, Implicit, true),
    (Varchar, Text, Implicit, false),
    (Varchar, Bpchar, Implicit, true),
    (Bpchar, Text, Implicit, false),
    (Bpchar, Varchar, Implicit, false),
    (Name, Text, Implicit, false),
    (Name, Varchar, Assignment, false),
    (Name, Bpchar, Assignment, true),
    (Text, Name, Implicit, true),
    (Varchar, Name, Implicit, true),
    (Bpchar, Name, Implicit, true),
    (Char, Text, Implicit, false),
    (Char, Varchar, Assignment, false),
    (Text, Char, Assignment, true),
    (Varchar, Char, Assignment, true),
    (Bpchar, Char, Assignment, true),
    (Int4, Char, Explicit, true),
    (Char, Int4, Explicit, true),
    (Char, Bpchar, Assignment, true),
    (Date, Timestamp, Implicit, true),
    (Date, Timestamptz, Implicit, true),
    (Timestamp, Timestamptz, Implicit, true),
    (Timestamp, Date, Assignment, true),
    (Timestamptz, Date, Assignment, true),
    (Timestamptz, Timestamp, Assignment, true),
    (Timestamp, Time, Assignment, true),
    (Timestamptz, Time, Assignment, true),
    (Time, Interval, Implicit, true),
    (Interval, Time, Assignment, true),
    (Int2, Oid, Implicit, true),
    (Int4, Oid, Implicit, true),
    (Int8, Oid, Implicit, true),
    (Oid, Int4, Assignment, true),
    (Oid, Int8, Assignment, false),
];

/// Whether values of the type are OIDs that are written as names.
pub fn is_reg(type_: Type) -> bool {
    matches!(type_, Regclass | Regtype | Regproc | Regnamespace | Regrole)
}

fn is_string(type_: Type) -> bool {
    matches!(type_, Text | Varchar | Bpchar | Name)
}

/// The cast between two types, if there is one. The same type needs none: `Nothing`. From `unknown`, which a
/// literal is better read as at once, there is one to everything.
pub fn find(from: Type, to: Type) -> Option<Cast> {
    let cast = |context, call| Some(Cast { context, emit: if call { Emit::Call(CAST) } else { Emit::Nothing } });
    if from == to {
        return cast(Implicit, false);
    }
    if from == Unknown {
        return if to.is_pseudo() && to.category() == 'P' { cast(Implicit, false) } else { cast(Implicit, to != Text) };
    }
    if let Some((_, _, context, call)) = CASTS.iter().find(|(source, target, _, _)| *source == from && *target == to) {
        return cast(*context, *call);
    }
    // The reg* types are OIDs with another face.
    if is_reg(from) && (to == Oid || to == Int8) || from == Oid && is_reg(to) {
        return cast(if to == Int8 { Assignment } else { Implicit }, false);
    }
    if is_reg(from) && to == Int4 {
        return cast(Assignment, true);
    }
    if is_reg(to) && matches!(from, Int2 | Int4 | Int8) {
        return cast(Implicit, true);
    }
    if to == Regclass && matches!(from, Text | Varchar) {
        return cast(Implicit, true);
    }
    // By output function: assignment to the string types; by input function: only when asked for.
    if is_string(to) && !from.is_pseudo() {
        return cast(Assignment, true);
    }
    if is_string(from) && !to.is_pseudo() {
        return cast(Explicit, true);
    }
    array_cast(from, to)
}

/// Arrays follow their elements, through text.
fn array_cast(from: Type, to: Type) -> Option<Cast> {
    match (from.element(), to.element()) {
        (Some(_), None) | (None, Some(_)) | (None, None) => None,
        (Some(a), Some(b)) if a == b => Some(Cast { context: Implicit, emit: Emit::Call(CAST) }),
        (Some(a), Some(b)) => find(a, b).map(|cast| Cast { context: cast.context, emit: Emit::Call(CAST) }),
    }
}

/// What runs for a call name of this module.
pub fn registration(call: &str) -> Option<Registration> {
    match call {
        // Some casts depend on the session (time zone, DateStyle), so none is offered for indexes.
        CAST => Some(Registration { implementation: cast_call, strict: true, deterministic: false }),
        TYPMOD => Some(Registration { implementation: typmod_call, strict: true, deterministic: true }),
        _ => None,
    }
}

fn cast_call(host: &dyn Host, arguments: &[Datum<'_>]) -> Result<Value, Error> {
    let (from, to) = (type_(arguments, 1)?, type_(arguments, 2)?);
    let Some(datum) = arguments.first().copied() else { return Ok(Value::Null) };
    if is_reg(to)
        && let Datum::Text(text) = datum
    {
        return host.catalog_function(&format!("{}in", types::pg_type(to).name), &[Datum::Text(text)]);
    }
    if is_reg(from) && is_string(to) {
        return host.catalog_function(&format!("{}out", types::pg_type(from).name), &[datum]);
    }
    if let (Some(element), Some(target), Datum::Text(text)) = (from.element(), to.element(), datum) {
        return cast_array(host, (from, element), (to, target), text);
    }
    // int4 to float8 and the like never look at the context; making one is not free.
    let context =
        if needs_context(from) || needs_context(to) { host.text_context() } else { types::TextContext::default() };
    types::cast(datum.to_value(), from, to, -1, Explicit, &context)
}

fn needs_context(type_: Type) -> bool {
    !matches!(type_, Int2 | Int4 | Int8 | Numeric | Bool | Text | Varchar | Bpchar | Name | Oid) || type_ == Bytea
}

fn cast_array(
    host: &dyn Host,
    (from, element): (Type, Type),
    (to, target): (Type, Type),
    text: &str,
) -> Result<Value, Error> {
    let context = host.text_context();
    let values = if from.is_array() {
        types::array::values(element, text, &context)?
    } else {
        text.split_ascii_whitespace().map(|word| types::input(element, -1, word, &context)).collect::<Result<_, _>>()?
    };
    let mut shown = Vec::with_capacity(values.len());
    for value in values {
        let value = types::cast(value, element, target, -1, Explicit, &context)?;
        shown.push((!value.is_null()).then(|| types::array::element_text(target, value.as_datum(), &context)));
    }
    let items = shown.iter().map(Option::as_deref);
    Ok(Value::Text(if to.is_array() {
        types::array::from_elements(items)
    } else {
        items.flatten().collect::<Vec<_>>().join(" ")
    }))
}

fn typmod_call(_: &dyn Host, arguments: &[Datum<'_>]) -> Result<Value, Error> {
    let Some(datum) = arguments.first() else { return Ok(Value::Null) };
    let typmod = i32::try_from(int(arguments, 2)?).unwrap_or(-1);
    types::apply_typmod(datum.to_value(), type_(arguments, 1)?, typmod, boolean(arguments, 3)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_those_of_pg_cast() {
        for (from, to, context) in [
            (Int4, Int8, Some(Implicit)),
            (Int8, Int4, Some(Assignment)),
            (Int4, Bool, Some(Explicit)),
            (Int4, Text, Some(Assignment)),
            (Text, Int4, Some(Explicit)),
            (Unknown, Uuid, Some(Implicit)),
            (Bool, Date, None),
            (Float8, Numeric, Some(Assignment)),
            (Timestamp, Timestamptz, Some(Implicit)),
            (Type::Int4Array, Type::Int8Array, Some(Implicit)),
        ] {
            assert_eq!(find(from, to).map(|cast| cast.context), context, "{from:?} {to:?}");
        }
    }

    use crate::sql::types::Type::Uuid;
}
