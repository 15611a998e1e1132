//! Keeps a PostgreSQL of the server's own running (`engine.kind = "postgres"`).
//!
//! - `programs`: where PostgreSQL's programs are.
//! - `cluster`: its cluster, made at the first start; what its server is started with.
//! - `process`: the keeper itself, a child of the postmaster: starts PostgreSQL, hands its log on, starts it again, and ends
//!   it as the last thing.
//!
//! Owns PostgreSQL's processes and nothing of what goes on in them: sessions reach them through the relay.

mod cluster;
mod process;
mod programs;

use std::path::PathBuf;

pub use cluster::{check, prepare};
pub use process::run;

/// A PostgreSQL of the server's own, as it was found or made at the start.
#[derive(Debug, Clone)]
pub struct OwnServer {
    /// The directory of its programs.
    pub programs: PathBuf,
    /// The superuser as whom roles are looked up.
    pub superuser: String,
}

/// Whom a new cluster gets as superuser.
#[derive(Debug, Clone)]
pub struct Superuser {
    /// His name.
    pub name: String,
    /// His password, in clear or as a verifier.
    pub password: Option<String>,
}
