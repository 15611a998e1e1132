//! A worker: accepts a client, serves its session, and is recycled.
//!
//! Runs in a process of its own, forked by the postmaster, with its engine open before its client comes. Never
//! returns to its caller, never starts a thread, signals nobody: what it wants of other processes it writes into
//! their slots and wakes the postmaster.
//!
//! - [`context`]: what the process has from the postmaster.
//! - `idle`: waiting for a client beside the other workers, so that none is stranded.
//! - `connection`: one client from accept to the end of its session; `startup`, `authentication` are its parts.
//! - [`budget`]: how many connections may be on the way to a session.
//! - [`preface`]: what a client says before its start-up packet.
//! - [`names`]: whose connection it is, for the log.
//! - `presence`: the worker's slot, as the session and the signal handlers see it.
//! - `engine`: the one place that knows which engines there are.
//! - [`template`]: the process that workers are forked from, when it has an engine open for them.
//! - [`tls`]: the server's certificate, and sessions under it.
//! - [`transport`]: the client's bytes.

use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use shm::{ExitReason, Owner, Phase, RecyclePhase, SetupPhase, SlotState};

use self::connection::Served;
use self::context::Context;
use self::engine::WarmEngine;
pub use self::idle::Accepted;
use self::idle::{Idle, Woken};
use self::presence::Presence;
use crate::system::fork::exit_now;
use crate::system::{fault, memory, parent, pass, signal};

pub mod aside;
mod authentication;
pub mod budget;
pub mod cancel;
mod connection;
pub mod context;
pub mod directory;
mod engine;
mod idle;
mod judges;
pub mod names;
pub mod preface;
mod presence;
mod settings;
mod stages;
mod startup;
pub mod template;
pub mod tls;
pub mod transport;

/// Exit code after a panic: our own fault, but memory is as it should be.
const PANICKED: i32 = 3;
/// Exit code when the engine can't be opened or the process can't wait for clients.
const COULD_NOT_START: i32 = 1;

/// What a worker was forked with.
#[derive(Default)]
pub struct Inheritance {
    /// The client that it is for: the classic model. It leaves when that one does.
    pub client: Option<Accepted>,
    /// An engine, open and idle.
    pub engine: Option<WarmEngine>,
    /// Where the template hears what its workers had to find out.
    pub hints: Option<OwnedFd>,
}

/// Lives a worker's life in the slot that it was forked for, and ends the process. Signals must be blocked and the
/// process tied to the postmaster.
pub fn run(context: &Context, owner: Owner, inheritance: Inheritance) -> ! {
    std::panic::set_hook(Box::new(|panic| log::error!("panic: {panic}")));
    let Inheritance { client, engine, hints } = inheritance;
    let life = catch_unwind(AssertUnwindSafe(|| Worker::start(context, owner, engine, hints)?.live(client)));
    match life {
        Ok(Ok(never)) => match never {},
        Ok(Err(error)) => {
            // Of an episode of failures the log has the first.
            let is_known = context.segment.pool().starts_fail();
            let level = if is_known { log::Level::Debug } else { log::Level::Error };
            log::log!(level, "worker could not start: {error}");
            exit_now(COULD_NOT_START)
        }
        Err(_) => exit_now(PANICKED),
    }
}

struct Worker<'a> {
    context: &'a Context,
    presence: Presence,
    engine: WarmEngine,
    hints: Option<OwnedFd>,
    sessions_left: Option<u32>,
    /// When the process began, and when its engine was open (monotonic clock).
    started_us: u64,
    opened_us: u64,
}

impl<'a> Worker<'a> {
    fn start(
        context: &'a Context,
        owner: Owner,
        engine: Option<WarmEngine>,
        hints: Option<OwnedFd>,
    ) -> Result<Self, String> {
        parent::set_name("pgprefork: work");
        if fault::is_armed() {
            shm::hook::set_writing_slot(|| fault::point("writing-slot"));
        }
        let presence = Presence::new(context.segment, owner.slot);
        presence.install_handlers().map_err(|error| format!("signal handlers: {error}"))?;
        let slot = presence.slot();
        slot.set_phase(Phase::OpeningEngine);
        let started_us = shm::clock::monotonic_us();
        let engine = match engine {
            Some(mut engine) => {
                engine.inherit(owner);
                engine
            }
            None => engine::open(context, owner)?,
        };
        let opened_us = shm::clock::monotonic_us();
        let limit = context.config.pool.sessions_per_worker;
        Ok(Self {
            context,
            presence,
            engine,
            hints,
            sessions_left: (limit != 0).then_some(limit),
            started_us,
            opened_us,
        })
    }

    fn live(mut self, client: Option<Accepted>) -> Result<std::convert::Infallible, String> {
        if let Some(client) = client {
            self.presence.go(SlotState::Starting, SlotState::Connecting);
            signal::unblock_all().map_err(|error| error.to_string())?;
            // The postmaster accepted it just before it claimed the slot.
            let accepted_us = self.presence.slot().started_us();
            let statistics = self.context.segment.statistics();
            statistics.setup(SetupPhase::Fork).record(self.started_us.saturating_sub(accepted_us));
            let engine_us = self.opened_us.saturating_sub(self.started_us);
            self.serve(Accepted { accepted_us, ..client }, engine_us);
            self.leave(ExitReason::Recycled)
        }
        self.record_start();
        let mut idle = Idle::new(self.context).map_err(|error| format!("epoll: {error}"))?;
        self.presence.go(SlotState::Starting, SlotState::Idle);
        loop {
            self.presence.slot().set_phase(Phase::Accepting);
            if self.context.segment.pool().queued() > 0 {
                self.context.doorman.wake();
            }
            let accepted = match idle.wait(&self.presence).map_err(|error| error.to_string())? {
                Woken::Client(accepted) => accepted,
                Woken::Leave(reason) => match idle.leave(reason) {
                    // A connection whose wake-up came to us: nobody else will look for it.
                    Some(accepted) => {
                        self.claim();
                        signal::unblock_all().map_err(|error| error.to_string())?;
                        self.serve(accepted, 0);
                        self.leave(reason)
                    }
                    None => self.leave(reason),
                },
            };
            self.claim();
            signal::unblock_all().map_err(|error| error.to_string())?;
            let served = self.serve(accepted, 0);
            if let Some(reason) = self.reason_to_leave(served) {
                self.leave(reason)
            }
            signal::block_all().map_err(|error| error.to_string())?;
            self.presence.go(self.presence.slot().state(), SlotState::Idle);
        }
    }

    /// What it took to become a spare worker, which no client waited for.
    fn record_start(&self) {
        let (claimed_us, idle_us) = (self.presence.slot().started_us(), shm::clock::monotonic_us());
        let record = |phase, from: u64, to: u64| {
            self.context.segment.statistics().recycle(phase).record(to.saturating_sub(from));
        };
        record(RecyclePhase::Fork, claimed_us, self.started_us);
        record(RecyclePhase::EngineStart, self.started_us, self.opened_us);
        record(RecyclePhase::Start, claimed_us, idle_us);
    }

    /// From idle to busy. The claim that leaves few spare workers wakes the postmaster.
    fn claim(&self) {
        let spare = self.presence.go(SlotState::Idle, SlotState::Connecting);
        let pool = self.context.segment.pool();
        pool.count(shm::Counter::Accepts);
        // Whoever watches for hung workers sleeps while nobody is busy.
        let is_watched = self.context.config.pool.hang_timeout.nonzero().is_some();
        if spare <= pool.spare_minimum() || is_watched {
            self.context.wake_postmaster();
        }
        // Also when others are idle still: the doorman sends no further client while one that it sent is not taken.
        if pool.gauge(SlotState::Idle) == 0 || pool.queued() > 0 {
            self.context.doorman.wake();
        }
    }

    /// Serves one connection; `engine_us`: how long it has waited for the engine to be opened. Says whether it was a
    /// session.
    fn serve(&mut self, accepted: Accepted, engine_us: u64) -> bool {
        fault::point("after-accept");
        let served = connection::serve(self.context, &self.presence, &mut self.engine, accepted, engine_us);
        self.presence.end_session();
        names::clear();
        for hint in self.engine.take_hints() {
            // The template may be gone, or have enough to do: then the next worker finds out by itself.
            let _ = self.hints.as_ref().map(|hints| pass::send_bytes(hints, &hint));
        }
        match served {
            Served::Nothing => {}
            Served::Session => self.sessions_left = self.sessions_left.map(|left| left.saturating_sub(1)),
            Served::Unforgotten => self.sessions_left = Some(0),
        }
        served != Served::Nothing
    }

    fn reason_to_leave(&self, served: bool) -> Option<ExitReason> {
        let pool = self.context.segment.pool();
        let is_ending = pool.shutdown() != shm::ShutdownMode::Running || pool.panic_errno().is_some();
        if self.presence.is_terminated() || is_ending {
            return Some(ExitReason::Terminated);
        }
        if pool.configuration_generation() != self.presence.slot().configuration_generation() {
            return Some(ExitReason::Reload);
        }
        // What a library of authentication has left in the process, the next client must not meet.
        if served && self.sessions_left == Some(0) || aside::was_used() {
            return Some(ExitReason::Recycled);
        }
        let config = &self.context.config.pool;
        let end_us = config.lifetime_end_us(self.presence.slot().started_us());
        if end_us.is_some_and(|end_us| end_us <= shm::clock::monotonic_us()) {
            return Some(ExitReason::LifetimeOver);
        }
        // Reading it costs more than a session: only here, and only where there is a limit.
        let limit = config.worker_memory_limit.nonzero().filter(|_| served)?;
        let bytes = memory::private_bytes(parent::own_pid()).ok()?;
        (bytes > limit).then_some(ExitReason::MemoryLimit)
    }

    /// Ends the process as it stands: what it has open is the kernel's to close and the reaper's to give back, and
    /// taking an engine apart costs as much as serving a query.
    fn leave(&self, reason: ExitReason) -> ! {
        let slot = self.presence.slot();
        slot.set_exit_reason(reason);
        self.presence.go(slot.state(), SlotState::Leaving);
        exit_now(0)
    }
}
