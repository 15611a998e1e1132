//! Where SQLite's C interfaces are met.
#![allow(unsafe_code)]

pub mod vtab;
