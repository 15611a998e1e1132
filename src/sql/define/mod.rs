//! Statements that change a catalog, bound: what to create, change or drop, with every name resolved.

/// A change of the database's or the cluster's catalog, or maintenance of a table.
#[derive(Debug, Clone)]
pub enum Definition {}
