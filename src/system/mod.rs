//! One small file a kernel facility, each with a safe interface. The only place of the server, besides the
//! engine's FFI folder, that may say `unsafe`. Knows nothing of sessions or configuration, and of slots no more than their latch.
#![allow(unsafe_code)]

pub mod allocator;
pub mod backlog;
pub mod credentials;
pub mod daemon;
pub mod descriptor;
pub mod epoll;
pub mod fault;
pub mod fork;
pub mod gss;
pub mod hidden;
pub mod ldap;
pub mod library;
pub mod listener;
pub mod locker;
pub mod memory;
pub mod names;
pub mod notify;
pub mod outgoing;
pub mod pam;
pub mod parent;
pub mod pass;
pub mod privileges;
pub mod program;
pub mod signal;
pub mod text;
pub mod wake;

pub use nix::unistd::Pid;
