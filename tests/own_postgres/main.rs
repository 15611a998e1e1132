//! `serve --engine postgres`: one command that makes a PostgreSQL below its data directory, keeps it running, and lets
//! clients reach it through the workers.

#[path = "../support/mod.rs"]
mod support;

#[path = "../relay/wire.rs"]
#[allow(dead_code, reason = "what another test uses")]
mod wire;

mod faults;
mod roles;
mod start;
mod work;
