//! The shared-memory segment: the one place that every process of a server reads and writes.
//!
//! The postmaster creates it before the first fork; children inherit the mapping. This crate owns the layout and
//! every access to it, and must not know about the protocol, SQL or policy. Table of contents:
//!
//! - [`layout`]: [`Geometry`] to offsets; the header; canaries between regions.
//! - [`segment`]: [`Segment`], a `Copy` handle: create, attach, on the heap for tests; the way to every region.
//! - [`futex`], [`latch`]: sleeping and waking between processes.
//! - [`sequence`]: values of several words under a sequence counter.
//! - [`pool`]: [`Pool`]: gauges, counters, wake-ups, shutdown and panic words.
//! - [`slot`]: [`Slot`]: one process's state, generations, interrupts; [`activity`]: what its session does.
//! - [`cancel`]: the secrets that a cancel request must present.
//! - [`tickets`]: the keys of TLS session tickets.
//! - [`database`]: [`Database`]: a handle on one database's region, made of
//!   [`writer`] (the writer lock), [`commit`] (durable positions), [`walindex`] (SQLite's WAL-index locks and pages).
//! - [`hook`]: where a test may stop a process that writes its slot.
//! - [`hosts`]: what all workers know of the upstream servers.
//! - [`statistics`]: counters and log-linear histograms.
//! - [`upstream`]: upstream connections that workers lend one another.
//! - [`reap`]: giving back all that a dead process held.
//!
//! Rules of the segment: zero is every word's initial value; there are atomics only, no pointers and no plain data;
//! slots and databases are named by index; whatever a process can leave half done when it is killed has a defined
//! meaning to [`Segment::reap`].

pub mod activity;
mod bitmap;
pub mod cancel;
pub mod clock;
pub mod commit;
pub mod database;
mod error;
pub mod futex;
pub mod hook;
pub mod hosts;
pub mod latch;
pub mod layout;
pub mod pool;
pub mod reap;
pub mod segment;
pub mod sequence;
pub mod slot;
pub mod statistics;
mod step;
pub mod tickets;
pub mod upstream;
pub mod walindex;
pub mod writer;

pub use activity::{Activity, ClientAddress, SessionIdentity, SessionState, TlsIdentity, WaitEvent};
pub use commit::{AwaitError, Commit};
pub use database::{Database, DatabaseIndex, Vacating};
pub use error::Error;
pub use hosts::{UPSTREAM_HOSTS, UpstreamHostIndex, UpstreamRole};
pub use latch::{Latch, WaitResult};
pub use layout::Geometry;
pub use pool::{Counter, ExitReason, Pool, ShutdownMode};
pub use reap::ReapReport;
pub use segment::{Census, Segment};
pub use slot::{
    Generation, Interrupt, Owner, OwnerCell, Phase, SessionGeneration, Slot, SlotIndex, SlotKind, SlotState,
};
pub use statistics::{Histogram, HistogramSnapshot, RecyclePhase, SetupPhase, StatementKind, Statistics};
pub use tickets::{TicketKey, TicketKeys};
pub use upstream::{
    UPSTREAM_ORDERS, UPSTREAM_PLACES, UPSTREAM_POOLS, UpstreamLimits, UpstreamOrder, UpstreamPlaceFacts,
    UpstreamPlaceIndex, UpstreamPoolFacts, UpstreamPoolIndex, UpstreamTraffic,
};
pub use walindex::{WAL_INDEX_LOCKS, WAL_INDEX_PAGE_BYTES, WalLocksHeld};
pub use writer::LockError;
