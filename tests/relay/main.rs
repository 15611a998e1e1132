//! The relay in front of a real PostgreSQL, in both pool modes: what clients see is what PostgreSQL alone says, and
//! nothing of one client reaches another.

#[path = "../support/mod.rs"]
mod support;

mod clients;
mod console;
mod faults;
mod fuzz;
mod leavings;
mod limits;
mod orders;
mod place;
mod pool;
mod same;
mod wire;
