//! Conversations with a session, message by message.

mod harness;
mod null_engine;
