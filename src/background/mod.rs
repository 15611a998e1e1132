//! Processes that serve no client: one loop each.

pub mod checkpointer;
pub mod exporter;
pub mod metrics;
pub mod process;
