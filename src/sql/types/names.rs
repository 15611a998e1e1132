//! Names behind the OIDs that the `reg*` types hold: they are shown by name, and names are the catalog's.
//!
//! Owns who is asked; the engine says so for its thread. It must not know a catalog.

use std::cell::Cell;

use super::Type;

/// Gives the name that an OID is shown by.
pub type Resolver = fn(Type, u32) -> Option<String>;

thread_local! {
    static RESOLVER: Cell<Option<Resolver>> = const { Cell::new(None) };
}

/// Sets who is asked on this thread.
pub fn install(resolver: Option<Resolver>) {
    RESOLVER.set(resolver);
}

/// The name, where somebody knows it.
pub(super) fn name(type_: Type, oid: i64) -> Option<String> {
    let resolver = RESOLVER.get()?;
    resolver(type_, u32::try_from(oid).ok()?)
}
