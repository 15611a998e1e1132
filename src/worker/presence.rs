//! The worker's slot, as the session, the engine and the signal handlers see it.

use shm::{Phase, Segment, SessionState, Slot, SlotIndex, SlotState, WaitEvent};

use crate::session::{Activity, Interrupts, State, Wait};
use crate::system::signal::{self, Notice};

/// One process's slot.
#[derive(Debug, Clone, Copy)]
pub struct Presence {
    segment: Segment,
    index: SlotIndex,
}

impl Presence {
    /// The slot that this process was forked for.
    pub fn new(segment: Segment, index: SlotIndex) -> Self {
        Self { segment, index }
    }

    /// Has signals set this slot's latch. Signals must be blocked still.
    pub fn install_handlers(&self) -> std::io::Result<()> {
        signal::install_child_handlers(self.segment, self.index)
    }

    /// The slot.
    pub fn slot(&self) -> &'static Slot {
        self.segment.slot(self.index)
    }

    /// Its number.
    pub fn index(&self) -> SlotIndex {
        self.index
    }

    /// Moves the slot on. Returns how many spare workers there are then. A slot that isn't where this process
    /// left it is a fault of ours: the process ends rather than serve from a slot that may be another's.
    pub fn go(&self, from: SlotState, to: SlotState) -> u32 {
        match self.segment.transition(self.index, from, to) {
            Ok(spare) => spare,
            Err(error) => panic!("{error}"),
        }
    }

    /// The connection is over, whatever came of it: nothing of it stays in the segment.
    pub fn end_session(&self) {
        let slot = self.slot();
        slot.set_phase(Phase::Scrubbing);
        self.segment.erase_cancel_key(self.index);
        slot.take_cancel();
        slot.activity().clear();
        slot.set_wait_event(WaitEvent::None);
    }

    /// Whether this process was told to end, by the postmaster, an administrator or another session.
    pub fn is_terminated(&self) -> bool {
        signal::is_pending(Notice::Terminate) || self.slot().terminate_requested()
    }
}

impl Interrupts for Presence {
    fn take_cancel(&mut self) -> bool {
        // The signal only ends waits; whether this session is meant stands in the slot.
        signal::take(Notice::Cancel);
        self.slot().interrupted() && self.slot().take_cancel()
    }

    fn terminate_requested(&mut self) -> bool {
        // Asked between messages, and while a client that does not read is waited for.
        self.slot().beat(shm::clock::monotonic_us());
        self.is_terminated()
    }

    fn waits(&mut self, wait: Option<Wait>) {
        self.slot().set_wait_event(match wait {
            Some(Wait::Read) => WaitEvent::ClientRead,
            Some(Wait::Write) => WaitEvent::ClientWrite,
            // What has been sent may have been the answer, after which the client is waited for.
            None if self.slot().phase() == Phase::AwaitingClient => WaitEvent::ClientRead,
            None => WaitEvent::None,
        });
    }
}

impl Activity for Presence {
    fn state(&mut self, state: State, query: Option<&str>) {
        let slot = self.slot();
        let now_us = shm::clock::wall_us();
        let (state, phase, wait) = match state {
            State::Active => (SessionState::Active, Phase::Executing, WaitEvent::None),
            State::Idle => (SessionState::Idle, Phase::AwaitingClient, WaitEvent::ClientRead),
            State::IdleInTransaction => (SessionState::IdleInTransaction, Phase::AwaitingClient, WaitEvent::ClientRead),
            State::IdleInFailedTransaction => {
                (SessionState::IdleInFailedTransaction, Phase::AwaitingClient, WaitEvent::ClientRead)
            }
        };
        slot.set_phase(phase);
        slot.set_wait_event(wait);
        slot.beat(shm::clock::monotonic_us());
        match query {
            Some(query) => slot.activity().begin_query(query, now_us),
            None => slot.activity().set_state(state, now_us),
        }
    }

    fn application_name(&mut self, name: &str) {
        self.slot().activity().set_application_name(name);
    }
}
