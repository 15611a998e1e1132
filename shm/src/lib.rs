//! The shared-memory segment: layout, worker slots, locks between processes, statistics.
