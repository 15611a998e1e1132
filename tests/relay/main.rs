//! The relay in front of a real PostgreSQL, in both pool modes: what clients see is what PostgreSQL alone says, and
//! nothing of one client reaches another.

#[path = "../support/mod.rs"]
mod support;

mod clients;
mod console;
mod double;
mod faults;
mod fuzz;
mod hosts;
mod leavings;
mod limits;
mod login;
mod orders;
mod place;
mod pool;
mod same;
mod wire;
