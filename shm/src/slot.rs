//! [`Slot`]: one process's place in the segment: its state, who it is, and what others ask of it.
//!
//! A slot is written by its own process, except: the postmaster claims and frees it, and anybody may raise an
//! interrupt and set the latch. The state machine:
//!
//! ```text
//! Free ─► Starting ─► Idle ◄─► Connecting ─► Serving ─► Leaving ─► (reaped) Free
//!            │         │  ▲        │  ▲          │
//!            │         │  └────────┼──┼──────────┘  the process serves another session
//!            └─────────┼───────────┼──┘             a process that was forked with its client
//!                      └───────────┴──► Leaving
//! ```
//!
//! Starting also goes to Serving (background processes) and to Leaving; [`crate::Segment::reap`] takes any state to
//! Free.

use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};

use crate::activity::{Activity, WaitEvent};
use crate::clock;
use crate::latch::Latch;
use crate::segment::Segment;

/// The number of a slot, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotIndex(pub u32);

/// Counts the processes that have had a slot; never 0 for one that lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Generation(pub u32);

/// Counts the sessions that a slot has served; never 0 during a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionGeneration(pub u32);

/// A process, as lock words name it: not mistaken for a later one in the same slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner {
    /// Its slot.
    pub slot: SlotIndex,
    /// Which of the slot's processes.
    pub generation: Generation,
}

impl Owner {
    /// As one word, never 0.
    pub(crate) fn pack(self) -> u64 {
        (u64::from(self.slot.0) + 1) << 32 | u64::from(self.generation.0)
    }

    /// From a word; 0 is nobody.
    #[expect(clippy::cast_possible_truncation, reason = "the halves of the word")]
    pub(crate) fn unpack(word: u64) -> Option<Owner> {
        let slot = ((word >> 32) as u32).checked_sub(1)?;
        Some(Owner { slot: SlotIndex(slot), generation: Generation(word as u32) })
    }
}

/// See the module's description.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum SlotState {
    /// No process has it.
    Free = 0,
    /// Forked, or about to be; opening its engine.
    Starting = 1,
    /// Waiting to accept.
    Idle = 2,
    /// Has a client: start-up packet and authentication.
    Connecting = 3,
    /// Has a session.
    Serving = 4,
    /// About to exit.
    Leaving = 5,
}

impl SlotState {
    fn from_code(code: u32) -> SlotState {
        match code {
            0 => SlotState::Free,
            1 => SlotState::Starting,
            2 => SlotState::Idle,
            3 => SlotState::Connecting,
            4 => SlotState::Serving,
            _ => SlotState::Leaving,
        }
    }

    /// The name in views.
    pub fn name(self) -> &'static str {
        match self {
            SlotState::Free => "free",
            SlotState::Starting => "starting",
            SlotState::Idle => "idle",
            SlotState::Connecting => "connecting",
            SlotState::Serving => "serving",
            SlotState::Leaving => "leaving",
        }
    }

    /// Whether the process may go from this state to `next` by itself.
    pub fn may_become(self, next: SlotState) -> bool {
        use SlotState::{Connecting, Idle, Leaving, Serving, Starting};
        matches!(
            (self, next),
            (Starting, Idle | Connecting | Serving | Leaving)
                | (Idle, Connecting | Leaving)
                | (Connecting, Idle | Serving | Leaving)
                | (Serving, Idle | Leaving)
        )
    }
}

/// Which process this is, where that is asked by code that outlives a fork: see `Attachment` and `Session` of the
/// server, which a template process has made before its workers were forked. Not shared between processes.
#[derive(Debug)]
pub struct OwnerCell(AtomicU64);

impl OwnerCell {
    /// Holds `owner`.
    pub fn new(owner: Owner) -> OwnerCell {
        OwnerCell(AtomicU64::new(owner.pack()))
    }

    /// The owner.
    #[expect(clippy::cast_possible_truncation, reason = "the halves of the word")]
    pub fn get(&self) -> Owner {
        let word = self.0.load(Relaxed);
        Owner { slot: SlotIndex(((word >> 32) as u32).wrapping_sub(1)), generation: Generation(word as u32) }
    }

    /// In a new process, before it uses anything of the segment: it is `owner` from now on.
    pub fn set(&self, owner: Owner) {
        self.0.store(owner.pack(), Relaxed);
    }
}

/// What kind of process has a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum SlotKind {
    /// Serves sessions.
    Worker = 0,
    /// Accepts when no worker can.
    Doorman = 1,
    /// Moves the WAL into the database files.
    Checkpointer = 2,
    /// Serves metrics.
    Exporter = 3,
    /// Has an engine open, for workers to be forked from.
    Template = 4,
    /// Keeps a PostgreSQL of the server's own running.
    Keeper = 5,
}

impl SlotKind {
    fn from_code(code: u32) -> SlotKind {
        match code {
            0 => SlotKind::Worker,
            1 => SlotKind::Doorman,
            2 => SlotKind::Checkpointer,
            4 => SlotKind::Template,
            5 => SlotKind::Keeper,
            _ => SlotKind::Exporter,
        }
    }

    /// pg_stat_activity's backend_type.
    pub fn name(self) -> &'static str {
        match self {
            SlotKind::Worker => "client backend",
            SlotKind::Doorman => "doorman",
            SlotKind::Checkpointer => "checkpointer",
            SlotKind::Exporter => "exporter",
            SlotKind::Template => "template",
            SlotKind::Keeper => "keeper of PostgreSQL",
        }
    }
}

/// What a process is in the middle of, to name a hung one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Phase {
    /// Not told.
    None = 0,
    /// Forked, setting itself up.
    Starting,
    /// Opening its engine.
    OpeningEngine,
    /// Waiting for a client.
    Accepting,
    /// Reading the start-up packet.
    Startup,
    /// In a TLS handshake.
    Tls,
    /// Authenticating.
    Authenticating,
    /// Waiting for the client's next message.
    AwaitingClient,
    /// Executing a statement.
    Executing,
    /// Committing.
    Committing,
    /// Sending to the client.
    Sending,
    /// Scrubbing the session.
    Scrubbing,
    /// Checkpointing.
    Checkpointing,
}

impl Phase {
    /// All phases in the order of their codes.
    pub const ALL: [Phase; 13] = [
        Phase::None,
        Phase::Starting,
        Phase::OpeningEngine,
        Phase::Accepting,
        Phase::Startup,
        Phase::Tls,
        Phase::Authenticating,
        Phase::AwaitingClient,
        Phase::Executing,
        Phase::Committing,
        Phase::Sending,
        Phase::Scrubbing,
        Phase::Checkpointing,
    ];

    /// The name in logs and views.
    pub fn name(self) -> &'static str {
        match self {
            Phase::None => "unknown",
            Phase::Starting => "starting",
            Phase::OpeningEngine => "opening the engine",
            Phase::Accepting => "waiting to accept",
            Phase::Startup => "reading the startup packet",
            Phase::Tls => "TLS handshake",
            Phase::Authenticating => "authentication",
            Phase::AwaitingClient => "waiting for the client",
            Phase::Executing => "executing",
            Phase::Committing => "committing",
            Phase::Sending => "sending",
            Phase::Scrubbing => "scrubbing the session",
            Phase::Checkpointing => "checkpointing",
        }
    }
}

/// What others ask of a process, as bits of one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Interrupt {
    /// End the statement, if it is of the session that was meant; see [`Slot::take_cancel`].
    Cancel = 1,
    /// End the session, and the process with it.
    Terminate = 2,
    /// Comes with [`Interrupt::Terminate`]: the client takes too long to authenticate, and others wait.
    Displace = 8,
    /// The configuration changed.
    Reload = 4,
    /// Leave if idle.
    Retire = 16,
    /// Log how much memory is used.
    ReportMemory = 32,
    /// Checkpoint now: there is no room to write.
    Checkpoint = 64,
}

/// See the module's description.
#[repr(C, align(128))]
pub struct Slot {
    state: AtomicU32,
    kind: AtomicU32,
    pid: AtomicU32,
    generation: AtomicU32,
    session_generation: AtomicU32,
    interrupts: AtomicU32,
    cancel_target: AtomicU32,
    terminate_target: AtomicU32,
    phase: AtomicU32,
    wait_event: AtomicU32,
    exit_reason: AtomicU32,
    // All that a census looks at, up to here, is in one cache line.
    stopped: AtomicU32,
    heartbeat_us: AtomicU64,
    state_since_us: AtomicU64,
    started_us: AtomicU64,
    sessions_served: AtomicU64,
    configuration_generation: AtomicU32,
    open_database: AtomicU32,
    /// The commit position that it waits for, in the database whose waiters it is among.
    pub(crate) awaited_commit: AtomicU64,
    latch: Latch,
    activity: Activity,
}

/// In place of a pid while the slot is claimed and nobody has moved in: a mark that an earlier claim did not have.
fn vacant(generation: Generation) -> u32 {
    generation.0 | 1 << 31
}

/// A transition that the state machine does not have, or whose starting point the slot was not at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongState {
    /// Where the slot is.
    pub found: SlotState,
    /// Where it was asked to go.
    pub wanted: SlotState,
}

impl std::fmt::Display for WrongState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a slot that is {} cannot become {}", self.found.name(), self.wanted.name())
    }
}

impl std::error::Error for WrongState {}

impl Slot {
    /// Its state.
    pub fn state(&self) -> SlotState {
        SlotState::from_code(self.state.load(SeqCst))
    }

    /// The kind of its process; meaningless while Free.
    pub fn kind(&self) -> SlotKind {
        SlotKind::from_code(self.kind.load(Relaxed))
    }

    /// Its process, 0 if it has none (yet).
    pub fn pid(&self) -> i32 {
        self.pid.load(Acquire).cast_signed().max(0)
    }

    /// By a process whose pid the postmaster may never learn: moves in, unless the postmaster has taken the slot
    /// back meanwhile. (It may have written the pid down already.)
    pub fn move_in(&self, generation: Generation, pid: i32) -> bool {
        let pid = pid.cast_unsigned();
        match self.pid.compare_exchange(vacant(generation), pid, SeqCst, SeqCst) {
            Ok(_) => true,
            Err(found) => found == pid && self.generation() == generation,
        }
    }

    /// By the postmaster, for a process that it ordered and never heard of: if it has not moved in, it never will.
    /// Else its pid.
    pub fn take_back(&self, generation: Generation) -> Option<i32> {
        match self.pid.compare_exchange(vacant(generation), 0, SeqCst, SeqCst) {
            Ok(_) => None,
            Err(pid) => Some(pid.cast_signed()).filter(|pid| *pid > 0),
        }
    }

    /// By the postmaster after fork, and by the child itself: whichever comes first.
    pub fn set_pid(&self, pid: i32) {
        self.pid.store(pid.cast_unsigned(), Release);
    }

    /// Which of the slot's processes this is.
    pub fn generation(&self) -> Generation {
        Generation(self.generation.load(SeqCst))
    }

    /// In an emptied segment: claims go on counting where they were.
    pub(crate) fn set_generation(&self, generation: Generation) {
        self.generation.store(generation.0, SeqCst);
    }

    /// Which of the slot's sessions this is, or was.
    pub fn session_generation(&self) -> SessionGeneration {
        SessionGeneration(self.session_generation.load(SeqCst))
    }

    /// A new session begins (when a client was accepted): what was asked of the one before no longer matches.
    pub fn begin_session(&self) -> SessionGeneration {
        let session = self.next_session();
        let of_a_session = Interrupt::Cancel as u32 | Interrupt::Terminate as u32 | Interrupt::Displace as u32;
        self.interrupts.fetch_and(!of_a_session, SeqCst);
        self.sessions_served.store(self.sessions_served.load(Relaxed) + 1, Relaxed);
        session
    }

    fn next_session(&self) -> SessionGeneration {
        let next = match self.session_generation.load(SeqCst).wrapping_add(1) {
            0 => 1,
            next => next,
        };
        self.session_generation.store(next, SeqCst);
        SessionGeneration(next)
    }

    /// Sessions that this process has begun.
    pub fn sessions_served(&self) -> u64 {
        self.sessions_served.load(Relaxed)
    }

    /// What its process sleeps on.
    pub fn latch(&self) -> &Latch {
        &self.latch
    }

    /// What its session does, for the views.
    pub fn activity(&self) -> &Activity {
        &self.activity
    }

    /// The database that its process has open, by oid, or is about to open; 0 if none. Of databases that can be
    /// dropped a process has one open at a time.
    pub fn open_database(&self) -> u32 {
        self.open_database.load(SeqCst)
    }

    /// By its process: before [`Segment::open_database`], and with 0 after it has let go of the region.
    pub fn set_open_database(&self, oid: u32) {
        self.open_database.store(oid, SeqCst);
    }

    /// Asks something of the process and sets its latch. For those that mean a session there are
    /// [`Slot::request_cancel`] and [`Slot::request_terminate`].
    /// Async-signal-safe.
    pub fn raise(&self, interrupt: Interrupt) {
        self.interrupts.fetch_or(interrupt as u32, SeqCst);
        self.latch.set();
    }

    /// Whether anything is asked: one load, for loops.
    pub fn interrupted(&self) -> bool {
        self.interrupts.load(Relaxed) != 0
    }

    /// Whether `interrupt` is asked; it stays asked.
    pub fn is_raised(&self, interrupt: Interrupt) -> bool {
        self.interrupts.load(SeqCst) & interrupt as u32 != 0
    }

    /// Takes one request back, by the process that carries it out. Returns whether it was there.
    pub fn take(&self, interrupt: Interrupt) -> bool {
        self.interrupts.load(SeqCst) & interrupt as u32 != 0
            && self.interrupts.fetch_and(!(interrupt as u32), SeqCst) & interrupt as u32 != 0
    }

    /// Asks that the present statement of session `target` end. Returns false, and does nothing, if another session
    /// has taken its place. The caller signals the process as well, through the postmaster.
    pub fn request_cancel(&self, target: SessionGeneration) -> bool {
        self.request(Interrupt::Cancel, &self.cancel_target, target)
    }

    /// Asks that session `target` end; otherwise like [`Slot::request_cancel`].
    pub fn request_terminate(&self, target: SessionGeneration) -> bool {
        self.request(Interrupt::Terminate, &self.terminate_target, target)
    }

    fn request(&self, interrupt: Interrupt, aim: &AtomicU32, target: SessionGeneration) -> bool {
        let mut present = aim.load(SeqCst);
        loop {
            if self.session_generation() != target {
                return false;
            }
            // A slow requester must not replace the target of a later session. (Differences, because they wrap.)
            if target.0.wrapping_sub(present).cast_signed() < 0 && present != 0 {
                return false;
            }
            match aim.compare_exchange(present, target.0, SeqCst, SeqCst) {
                Ok(_) => break,
                Err(other) => present = other,
            }
        }
        self.raise(interrupt);
        true
    }

    /// Whether the present session was asked to end; it stays asked. Async-signal-safe.
    pub fn terminate_requested(&self) -> bool {
        self.is_raised(Interrupt::Terminate)
            && self.terminate_target.load(SeqCst) == self.session_generation.load(SeqCst)
    }

    /// Whether a cancel of the present session is asked; it stays asked. Async-signal-safe.
    pub fn cancel_requested(&self) -> bool {
        self.is_raised(Interrupt::Cancel) && self.cancel_target.load(SeqCst) == self.session_generation.load(SeqCst)
    }

    /// Takes a cancel. Returns whether it was meant for the present session; one for an earlier session is dropped.
    pub fn take_cancel(&self) -> bool {
        self.take(Interrupt::Cancel)
            && self.cancel_target.compare_exchange(self.session_generation.load(SeqCst), 0, SeqCst, SeqCst).is_ok()
    }

    /// Shows that the process is alive (microseconds of the monotonic clock).
    pub fn beat(&self, now_us: u64) {
        self.heartbeat_us.store(now_us, Relaxed);
    }

    /// When it last showed that; 0 before the first time.
    pub fn heartbeat_us(&self) -> u64 {
        self.heartbeat_us.load(Relaxed)
    }

    /// When it came into its state (monotonic clock).
    pub fn state_since_us(&self) -> u64 {
        self.state_since_us.load(Relaxed)
    }

    /// When its process was claimed for (monotonic clock).
    pub fn started_us(&self) -> u64 {
        self.started_us.load(Relaxed)
    }

    /// The configuration that its process started with.
    pub fn configuration_generation(&self) -> u32 {
        self.configuration_generation.load(Relaxed)
    }

    /// Whether a signal has stopped its process (SIGSTOP and its kin), as far as the postmaster was told.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(SeqCst) != 0
    }

    /// By the postmaster, when the kernel tells it that the process was stopped or goes on.
    pub fn set_stopped(&self, stopped: bool) {
        self.stopped.store(stopped.into(), SeqCst);
    }

    /// What the process is in the middle of.
    pub fn phase(&self) -> Phase {
        Phase::ALL.get(self.phase.load(Relaxed) as usize).copied().unwrap_or(Phase::None)
    }

    /// A relaxed store.
    pub fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u32, Relaxed);
    }

    /// What the process waits for, if it waits.
    pub fn wait_event(&self) -> WaitEvent {
        WaitEvent::from_code(self.wait_event.load(Relaxed))
    }

    /// A relaxed store.
    pub fn set_wait_event(&self, event: WaitEvent) {
        self.wait_event.store(event as u32, Relaxed);
    }

    /// Why the process leaves, by itself, before it goes to [`SlotState::Leaving`].
    pub fn set_exit_reason(&self, reason: crate::ExitReason) {
        self.exit_reason.store(reason as u32 + 1, Relaxed);
    }

    /// See [`Slot::set_exit_reason`]; for the postmaster when it reaps.
    pub fn exit_reason(&self) -> Option<crate::ExitReason> {
        let code = self.exit_reason.load(Relaxed) as usize;
        crate::ExitReason::ALL.get(code.checked_sub(1)?).copied()
    }

    /// Empties everything but the generations, for the next process. Whoever still means a session of the last one
    /// finds another generation.
    pub(crate) fn scrub(&self) {
        self.pid.store(0, SeqCst);
        self.next_session();
        self.interrupts.store(0, SeqCst);
        self.cancel_target.store(0, SeqCst);
        self.terminate_target.store(0, SeqCst);
        self.stopped.store(0, SeqCst);
        for word in [&self.phase, &self.wait_event, &self.exit_reason, &self.open_database] {
            word.store(0, Relaxed);
        }
        for word in [&self.heartbeat_us, &self.sessions_served, &self.awaited_commit] {
            word.store(0, Relaxed);
        }
        self.latch.repair();
        self.activity.repair();
        self.activity.clear();
    }
}

impl Segment {
    /// Claims the lowest free slot for a process about to be forked; it is then Starting. By the postmaster alone.
    pub fn claim_slot(&self, kind: SlotKind) -> Option<Owner> {
        let pool = self.pool();
        let first = pool.free_hint.load(Relaxed);
        for index in first..self.geometry().slots {
            let slot = self.slot(SlotIndex(index));
            if slot.state() != SlotState::Free {
                continue;
            }
            pool.free_hint.store(index + 1, Relaxed);
            let now = clock::monotonic_us();
            let generation = match slot.generation.load(SeqCst).wrapping_add(1) {
                0 => 1,
                next => next,
            };
            slot.generation.store(generation, SeqCst);
            slot.pid.store(vacant(Generation(generation)), SeqCst);
            slot.kind.store(kind as u32, Relaxed);
            slot.started_us.store(now, Relaxed);
            slot.state_since_us.store(now, Relaxed);
            slot.configuration_generation.store(pool.configuration_generation(), Relaxed);
            // Last: whoever sees it not Free sees the words above.
            slot.state.store(SlotState::Starting as u32, SeqCst);
            if kind == SlotKind::Worker {
                pool.moved(SlotState::Free, SlotState::Starting);
            }
            return Some(Owner { slot: SlotIndex(index), generation: Generation(generation) });
        }
        pool.free_hint.store(self.geometry().slots, Relaxed);
        None
    }

    /// Takes a slot from state `from` to `to`, by its own process. Returns the number of spare workers after it,
    /// for the comparison with [`crate::Pool::spare_minimum`].
    pub fn transition(&self, index: SlotIndex, from: SlotState, to: SlotState) -> Result<u32, WrongState> {
        let slot = self.slot(index);
        if !from.may_become(to) {
            return Err(WrongState { found: slot.state(), wanted: to });
        }
        slot.state
            .compare_exchange(from as u32, to as u32, SeqCst, SeqCst)
            .map_err(|found| WrongState { found: SlotState::from_code(found), wanted: to })?;
        slot.state_since_us.store(clock::monotonic_us(), Relaxed);
        let pool = self.pool();
        if slot.kind() == SlotKind::Worker {
            pool.moved(from, to);
        }
        Ok(pool.spare())
    }

    /// Frees a dead process's slot. Returns the state it died in; `None` if it is not that process's any more.
    pub(crate) fn free_slot(&self, owner: Owner) -> Option<SlotState> {
        let slot = self.slot(owner.slot);
        let state = slot.state();
        if slot.generation() != owner.generation || state == SlotState::Free {
            return None;
        }
        slot.scrub();
        slot.state.store(SlotState::Free as u32, SeqCst);
        if slot.kind() == SlotKind::Worker {
            self.pool().moved(state, SlotState::Free);
        }
        self.pool().free_hint.fetch_min(owner.slot.0, Relaxed);
        Some(state)
    }

    /// The slot of a living process.
    pub fn slot_of_pid(&self, pid: i32) -> Option<(SlotIndex, &'static Slot)> {
        self.slots().find(|(_, slot)| pid != 0 && slot.pid() == pid && slot.state() != SlotState::Free)
    }

    /// The owner that `index` has now; for tests and for the process itself.
    pub fn owner(&self, index: SlotIndex) -> Owner {
        Owner { slot: index, generation: self.slot(index).generation() }
    }
}

#[cfg(test)]
mod tests;
