//! Conversations with a session, message by message.

mod copying;
mod cycles;
mod damage;
mod fake;
mod harness;
mod null_engine;
