//! PostgreSQL's SQL: text → tokens → plan (parse, bind, typed IR, SQLite SQL). Pure: no I/O, no SQLite, no clock.
//!
//! What it needs to know about tables it asks of a [`catalog::Catalog`]. What is not supported is refused by
//! name (`0A000`); nothing is silently dropped.

pub mod acl;
pub mod bind;
pub mod cache;
pub mod catalog;
pub mod copy;
pub mod define;
pub mod emit;
pub mod functions;
pub mod ir;
pub mod lex;
pub mod list;
pub mod literals;
pub mod parse;
pub mod plan;
pub mod planner;
pub mod types;
