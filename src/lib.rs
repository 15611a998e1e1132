//! A PostgreSQL-protocol server whose workers are forked before their clients arrive.
//!
//! Requests flow one way: `postmaster` → `worker` → `protocol` → `auth` → `session` → `engine` → `sql`;
//! replies return as values. `config`, `system`, `settings`, `work`, `error` and the crate `shm` are leaves that
//! anyone may use. `tests/tidy.rs` holds the table of allowed imports. ARCHITECTURE.md is the map.

#![deny(unsafe_code)]

pub mod auth;
pub mod background;
pub mod bench;
pub mod cli;
pub mod config;
pub mod doorman;
pub mod engine;
pub mod error;
pub mod keeper;
pub mod postmaster;
pub mod protocol;
pub mod regex;
pub mod relay;
pub mod session;
pub mod settings;
pub mod sql;
pub mod system;
pub mod work;
pub mod worker;
