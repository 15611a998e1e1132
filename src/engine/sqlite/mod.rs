//! The embedded, durable engine: SQLite in WAL mode, shared by many processes through the segment.

pub mod catalog;
pub mod define;
pub mod views;
