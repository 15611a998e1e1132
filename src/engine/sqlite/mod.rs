//! The embedded, durable engine: SQLite in WAL mode, shared by many processes through the segment.

pub mod attachment;
pub mod catalog;
pub mod commit;
pub mod connection;
pub mod database;
pub mod define;
pub mod failure;
pub mod fault;
pub mod ffi;
pub mod interrupts;
pub mod store;
pub mod trace;
pub mod transaction;
pub mod views;
pub mod writer;
