//! The cluster directory.
