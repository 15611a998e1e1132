//! The engine's only `unsafe` code: the VFS shim between SQLite and the segment, and virtual tables.
//!
//! Everything here turns SQLite's C interfaces into calls of safe Rust and back. It decides nothing: which
//! locks exist and who may have them is decided by `attachment`, what a view shows by `views`.
#![allow(unsafe_code)]

mod gather;
pub mod index;
pub mod memory;
pub mod rows;
pub mod vfs;
pub mod vtab;
