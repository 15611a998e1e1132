//! Casts: which types become which, where, and how that is written.

use super::{Emit, Implementation};
use crate::sql::types::{CastKind, Type};

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

/// The cast between two types, if there is one. The same type, and `unknown` to anything, need none: `Nothing`.
pub fn find(from: Type, to: Type) -> Option<Cast> {
    (from == to).then_some(Cast { context: CastKind::Implicit, emit: Emit::Nothing })
}

/// What runs for a call name of this module.
pub fn implementation(name: &str) -> Option<Implementation> {
    let _ = name;
    None
}
