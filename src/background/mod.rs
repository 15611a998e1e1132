//! Processes that serve no client: one loop each.

pub mod checkpointer;
