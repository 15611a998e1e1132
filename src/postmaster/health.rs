//! Workers that are old, stopped or hung: who they are, and what is done about it. Looks only while there is a
//! reason to: a lifetime is set, or a worker is busy and `pool.hang_timeout` is set.

use shm::{ExitReason, Interrupt, Phase, Slot, SlotKind, SlotState, WaitEvent};

use super::control::tell;
use super::{Postmaster, Stage};
use crate::system::Pid;
use crate::system::signal::Signal;

/// Of so many idle workers one may be leaving for its age at a time, and one at least.
const IDLE_PER_RECYCLE: usize = 8;

impl Postmaster {
    /// Has idle workers go that have lived long enough, few at a time; busy ones look for themselves when their
    /// session ends.
    pub(super) fn retire_the_old(&mut self) {
        let pool = &self.server.context.config.pool;
        let segment = self.server.context.segment;
        let (mut idle, mut leaving) = (0usize, 0usize);
        let mut ends = Vec::new();
        for (pid, child) in self.workers_in(SlotState::Idle) {
            let slot = segment.slot(child.owner.slot);
            if slot.is_stopped() {
                continue;
            }
            idle += 1;
            match pool.lifetime_end_us(slot.started_us()) {
                _ if slot.is_raised(Interrupt::Retire) => leaving += 1,
                Some(end_us) => ends.push((end_us, *pid, slot)),
                None => return,
            }
        }
        ends.sort_unstable_by_key(|(end_us, pid, _)| (*end_us, *pid));
        let now_us = shm::clock::monotonic_us();
        let room = (idle / IDLE_PER_RECYCLE).max(1).saturating_sub(leaving);
        let (due, later): (Vec<_>, Vec<_>) = ends.into_iter().partition(|(end_us, ..)| *end_us <= now_us);
        for (_, pid, slot) in due.into_iter().take(room) {
            slot.raise(Interrupt::Retire);
            tell(pid, Signal::SIGUSR2);
        }
        // Those who have no room now get it when one of the others has been reaped, which wakes us.
        if let Some((end_us, ..)) = later.first() {
            self.ask_at(*end_us);
        }
    }

    /// Has idle workers go that have a dropped database open: its place in the segment is free only without them. Busy
    /// ones open another one, or end with their session.
    pub(super) fn retire_from_dropped_databases(&mut self) {
        let segment = self.server.context.segment;
        for dropped in segment.doomed_databases() {
            for (pid, child) in self.workers_in(SlotState::Idle) {
                let slot = segment.slot(child.owner.slot);
                if slot.open_database() == dropped.oid() && !slot.is_raised(Interrupt::Retire) && !slot.is_stopped() {
                    slot.raise(Interrupt::Retire);
                    tell(*pid, Signal::SIGUSR2);
                }
            }
        }
    }

    /// A signal stopped a child. An idle worker is none while it is stopped, and a client's wake-up may have gone to it.
    pub(super) fn child_stopped(&mut self, pid: Pid, signal: Signal) {
        let Some(child) = self.children.get_mut(&pid) else { return };
        child.stopped_us = Some(shm::clock::monotonic_us());
        let slot = self.server.context.segment.slot(child.owner.slot);
        slot.set_stopped(true);
        let kind = child.kind.name();
        log::warn!("{kind} {pid} was stopped by {signal} while {} ({})", slot.state().name(), slot.phase().name());
        if child.kind == SlotKind::Template {
            // Workers are forked without it.
            tell(pid, Signal::SIGKILL);
            return;
        }
        self.server.context.look.wake();
    }

    /// A child that was stopped goes on.
    pub(super) fn child_continued(&mut self, pid: Pid) {
        let Some(child) = self.children.get_mut(&pid) else { return };
        child.stopped_us = None;
        let slot = self.server.context.segment.slot(child.owner.slot);
        slot.set_stopped(false);
        slot.beat(shm::clock::monotonic_us());
        log::info!("{} {pid} goes on", child.kind.name());
    }

    /// Kills workers that have shown no sign of life for `pool.hang_timeout`, where it is set.
    pub(super) fn kill_the_hung(&mut self) {
        let Some(timeout) = self.server.context.config.pool.hang_timeout.nonzero() else { return };
        let timeout_us = u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX / 2);
        let segment = self.server.context.segment;
        let now_us = shm::clock::monotonic_us();
        let mut look_at_us: Option<u64> = None;
        for (pid, child) in &mut self.children {
            if child.hung || (child.kind != SlotKind::Worker && child.stopped_us.is_none()) {
                continue;
            }
            let slot = segment.slot(child.owner.slot);
            // Whoever has a client may begin to work at any time, and would not tell us.
            let is_busy = matches!(slot.state(), SlotState::Connecting | SlotState::Serving);
            let due_us = match child.stopped_us.or_else(|| silent_since_us(slot)) {
                Some(since_us) => since_us.saturating_add(timeout_us),
                None if is_busy => now_us.saturating_add(timeout_us),
                None => continue,
            };
            if due_us > now_us {
                look_at_us = Some(look_at_us.map_or(due_us, |at_us| at_us.min(due_us)));
                continue;
            }
            child.hung = true;
            let what = if child.stopped_us.is_some() { "is stopped" } else { "gives no sign of life" };
            log::error!(
                "{} {pid} {what} while {} ({}) for longer than pool.hang_timeout: killing it",
                name(child.kind),
                slot.state().name(),
                slot.phase().name()
            );
            tell(*pid, Signal::SIGKILL);
        }
        look_at_us.into_iter().for_each(|at_us| self.ask_at(at_us));
    }

    /// Kills workers that were told to end and have not for `pool.terminate_timeout`: a loop of theirs hears nothing. A
    /// commit that was acknowledged is durable, and what they hold is given back when they are reaped.
    pub(super) fn kill_the_deaf(&mut self) {
        let Some(timeout) = self.server.context.config.pool.terminate_timeout.nonzero() else { return };
        let timeout_us = u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX / 2);
        let segment = self.server.context.segment;
        let now_us = shm::clock::monotonic_us();
        let is_stopping = matches!(self.stage, Stage::Stopping(_));
        let mut look_at_us: Option<u64> = None;
        for (pid, child) in self.children.iter_mut().filter(|(_, child)| !child.hung) {
            let Some(told_us) = child.told_us else { continue };
            let slot = segment.slot(child.owner.slot);
            // The session that was meant has ended, and the process serves on.
            if !is_stopping && !slot.terminate_requested() {
                child.told_us = None;
                continue;
            }
            let due_us = told_us.saturating_add(timeout_us);
            if due_us > now_us {
                look_at_us = Some(look_at_us.map_or(due_us, |at_us| at_us.min(due_us)));
                continue;
            }
            child.hung = true;
            log::error!(
                "{} {pid} was told to end and goes on while {} ({}) for longer than pool.terminate_timeout: killing it",
                name(child.kind),
                slot.state().name(),
                slot.phase().name()
            );
            tell(*pid, Signal::SIGKILL);
        }
        look_at_us.into_iter().for_each(|at_us| self.ask_at(at_us));
    }

    /// Counts and names the end of a worker that was killed for hanging. False for any other.
    pub(super) fn ended_hung(&self, pid: Pid, hung: bool) -> bool {
        if hung {
            self.server.context.segment.pool().count_exit(ExitReason::Hung);
            log::warn!("process {pid} ended: {}", ExitReason::Hung.name());
        }
        hung
    }
}

fn name(kind: SlotKind) -> &'static str {
    if kind == SlotKind::Worker { "worker" } else { kind.name() }
}

/// Since when a worker that should be running has shown no sign of life (monotonic clock). One that waits for its
/// client, for a lock or for the disk is not running.
fn silent_since_us(slot: &Slot) -> Option<u64> {
    let waits = slot.wait_event() != WaitEvent::None;
    match (slot.state(), slot.phase()) {
        (SlotState::Starting, _) => Some(slot.started_us()),
        (SlotState::Serving, Phase::Executing | Phase::Committing | Phase::Scrubbing) if !waits => {
            Some(slot.heartbeat_us().max(slot.state_since_us()))
        }
        _ => None,
    }
}
