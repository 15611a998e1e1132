//! (to be written)

pub mod transport;
