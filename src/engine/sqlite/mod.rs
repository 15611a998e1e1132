//! The embedded, durable engine: SQLite in WAL mode, shared by many processes through the segment.

pub mod access_rules;
pub mod attachment;
pub mod catalog;
pub mod commit;
pub mod connection;
pub mod cursor;
pub mod database;
pub mod define;
pub mod engine;
pub mod execute;
pub mod failure;
pub mod ffi;
pub mod functions;
mod global;
pub mod hint;
mod host;
pub mod interrupts;
mod lists;
mod sequence;
pub mod session;
pub mod state;
pub mod statement;
pub mod store;
pub mod trace;
pub mod transaction;
pub mod views;
pub mod writer;
