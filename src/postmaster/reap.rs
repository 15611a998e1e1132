//! What became of a process that ended: its slot and all it held go back, its end is named, and after a memory
//! fault the others may have to go as well.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use shm::{ExitReason, RecyclePhase, ShutdownMode, SlotKind, SlotState};

use super::control::tell;
use super::shutdown::KILL_AFTER;
use super::{Child, Postmaster, Stage};
use crate::config::OnMemoryFault;
use crate::system::Pid;
use crate::system::signal::Signal;

/// For waitpid: whichever child there is something to say of.
const ANY: Pid = Pid::from_raw(-1);
/// A walk through all children that took less than this may be repeated at once.
const SHORT_WALK: Duration = Duration::from_micros(50);
/// After a longer one, so many times its length goes by before the next, but no more than this: it may have been long
/// only because others had the processor.
const WALK_SHARE: u32 = 10;
const WALK_PAUSE_MAX: Duration = Duration::from_millis(20);

/// Children of which something is to be learnt. A signal names one of those that changed while it was pending; for the
/// others the kernel has to walk through all children, and with thousands of them that takes longer than a session.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Whom the signals have named.
    pub(super) named: Vec<Pid>,
    walk_due: bool,
    /// No walk earlier than that.
    walk_after: Option<Instant>,
}

impl Changes {
    /// When to walk: at once (zero), or in how long; None if nothing has changed since the last walk.
    pub(super) fn walk_in(&self) -> Option<Duration> {
        let left = |after: Instant| after.saturating_duration_since(Instant::now());
        self.walk_due.then(|| self.walk_after.map_or(Duration::ZERO, left))
    }

    fn walked(&mut self, took: Duration) {
        self.walk_due = false;
        self.walk_after = (took > SHORT_WALK).then(|| Instant::now() + (WALK_SHARE * took).min(WALK_PAUSE_MAX));
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Exited(i32),
    Killed(Signal),
}

impl Ending {
    /// The segment may have been scribbled on.
    fn is_memory_fault(self) -> bool {
        use Signal::{SIGABRT, SIGBUS, SIGILL, SIGSEGV};
        matches!(self, Self::Killed(SIGSEGV | SIGBUS | SIGILL | SIGABRT))
    }
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit code {code}"),
            Self::Killed(signal) => write!(f, "signal {} ({signal})", *signal as i32),
        }
    }
}

impl Postmaster {
    /// Collects the children that have ended: those that signals have named, and, when a walk is due, all others.
    pub(super) fn reap_children(&mut self) {
        while let Some(pid) = self.changes.named.pop() {
            self.changes.walk_due = true;
            self.look_at(pid);
        }
        if self.changes.walk_in() != Some(Duration::ZERO) {
            return;
        }
        loop {
            let started = Instant::now();
            if !self.look_at(ANY) {
                return self.changes.walked(started.elapsed());
            }
        }
    }

    /// Learns one thing that became of that child, or of any. False when there is nothing to learn.
    fn look_at(&mut self, pid: Pid) -> bool {
        let flags = WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED | WaitPidFlag::WCONTINUED;
        match waitpid(pid, Some(flags)) {
            Ok(WaitStatus::Exited(pid, code)) => self.reap(pid, Ending::Exited(code)),
            Ok(WaitStatus::Signaled(pid, signal, _)) => self.reap(pid, Ending::Killed(signal)),
            Ok(WaitStatus::Stopped(pid, signal)) => self.child_stopped(pid, signal),
            Ok(WaitStatus::Continued(pid)) => self.child_continued(pid),
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return false,
            Err(Errno::EINTR) | Ok(_) => {}
            Err(error) => {
                log::error!("waitpid: {error}");
                return false;
            }
        }
        true
    }

    pub(super) fn reap(&mut self, pid: Pid, ending: Ending) {
        // Perhaps somebody else's child, adopted by us as process 1 of a container.
        let Some(child) = self.children.remove(&pid) else { return self.unknown_ended(pid, ending) };
        let segment = self.server.context.segment;
        let slot = segment.slot(child.owner.slot);
        let state = slot.state();
        let reason = slot.exit_reason();
        let since_us = slot.state_since_us();
        self.log_end(pid, child, ending, state, reason);
        let report = segment.reap(child.owner);
        for place in report.upstream_places {
            // Whole and unused in its locker, or gone with the process that had it.
            let locker = self.server.context.lockers.get(place.0 as usize);
            let has_connection = locker.is_some_and(|locker| locker.is_full().unwrap_or(false));
            segment.settle_upstream(child.owner, place, has_connection);
        }
        if child.kind == SlotKind::Worker && state == SlotState::Leaving {
            let took_us = shm::clock::monotonic_us().saturating_sub(since_us);
            segment.statistics().recycle(RecyclePhase::Exit).record(took_us);
        }
        if child.kind == SlotKind::Template {
            self.template_ended(pid);
        }
        if ending.is_memory_fault() {
            self.memory_fault(pid);
        }
        if child.kind != SlotKind::Worker {
            return;
        }
        let accepting = matches!(self.stage, Stage::Starting | Stage::Running);
        if state == SlotState::Starting && accepting {
            self.last_failure_us = shm::clock::monotonic_us();
            segment.pool().set_starts_fail(true);
            if self.policy.start_failed(self.last_failure_us) {
                log::error!("worker {pid} ended before it could accept ({ending}); trying again at growing intervals");
            }
        }
        let left_by_itself = state == SlotState::Leaving;
        if accepting && !left_by_itself {
            // A client's wake-up may have gone to it.
            self.server.context.look.wake();
        }
        self.accept_again =
            self.accept_again || self.server.context.config.pool.model == crate::config::Model::ForkOnAccept;
    }

    fn log_end(&self, pid: Pid, child: Child, ending: Ending, state: SlotState, reason: Option<ExitReason>) {
        let pool = self.server.context.segment.pool();
        let kind = child.kind.name();
        match (ending, reason) {
            (Ending::Killed(Signal::SIGKILL), _) if self.ended_hung(pid, child.hung) => {}
            (Ending::Exited(0), Some(reason @ ExitReason::MemoryLimit)) => {
                pool.count_exit(reason);
                log::info!("{kind} {pid} ended: it held more memory than pool.worker_memory_limit");
            }
            (Ending::Exited(0), Some(reason)) => {
                pool.count_exit(reason);
                log::debug!("{kind} {pid} ended: {}", reason.name());
            }
            (Ending::Exited(0), None) => log::debug!("{kind} {pid} ended"),
            // The template has nothing to finish: it is told to go by SIGTERM, which it does not handle, or by SIGQUIT.
            (Ending::Killed(Signal::SIGTERM) | Ending::Exited(2), _) if child.kind == SlotKind::Template => {
                log::debug!("{kind} {pid} ended: {ending}");
            }
            // It was told to leave at once.
            (Ending::Exited(2), _) if self.kill_at.is_some() => pool.count_exit(ExitReason::Terminated),
            (Ending::Killed(Signal::SIGKILL), _) if self.kill_at.is_some() => pool.count_exit(ExitReason::Terminated),
            (Ending::Killed(signal), _) => {
                pool.count_exit(ExitReason::Crashed);
                pool.count_crash(signal as i32);
                log::error!("{kind} {pid} crashed while {}: {ending}", state.name());
            }
            (Ending::Exited(_), _) if state == SlotState::Starting => pool.count_exit(ExitReason::StartFailed),
            (Ending::Exited(_), _) => {
                pool.count_exit(ExitReason::Crashed);
                log::error!("{kind} {pid} failed while {}: {ending}", state.name());
            }
        }
    }

    /// A process died of a fault of memory: whatever it last wrote may be wrong.
    fn memory_fault(&mut self, pid: Pid) {
        if !matches!(self.stage, Stage::Starting | Stage::Running) {
            return;
        }
        if let Err(damage) = self.server.context.segment.verify_canaries() {
            log::error!("after the crash of {pid}: {damage}");
        } else if self.server.context.config.pool.on_memory_fault == OnMemoryFault::Isolate {
            return;
        }
        self.end_all_sessions("the segment may be damaged");
    }

    /// Ends every process at once. When the last is gone, the server begins anew.
    fn end_all_sessions(&mut self, because: &str) {
        log::error!("ending all sessions and starting anew, because {because}");
        self.stage = Stage::Restarting;
        self.kill_at = Some(std::time::Instant::now() + KILL_AFTER);
        self.children.keys().for_each(|pid| tell(*pid, Signal::SIGQUIT));
    }

    /// After a sync has failed, the page cache may hold what the disk has not, and no later sync would tell: what was
    /// appended to the WAL and not synced can neither be acknowledged nor be taken back from those who saw it. So all
    /// sessions end, and serving begins anew from what the disk has. A disk that was full may have room again; one that
    /// fails is for somebody to look at before the next start.
    pub(super) fn notice_failed_sync(&mut self) {
        let Some(errno) = self.server.context.segment.pool().panic_errno() else { return };
        if matches!(self.stage, Stage::Restarting | Stage::Stopping(ShutdownMode::Immediate)) {
            return;
        }
        let errno = Errno::from_raw(errno.cast_signed());
        log::error!("a file could not be synced: {}", errno.desc());
        match (errno, self.stage) {
            (Errno::ENOSPC | Errno::EDQUOT, Stage::Starting | Stage::Running) => {
                self.end_all_sessions("the disk is full");
            }
            _ => self.begin_shutdown(ShutdownMode::Immediate),
        }
    }

    /// Once the last process of the old segment is gone: an empty segment, new processes.
    pub(super) fn restart_when_empty(&mut self) {
        if !self.children.is_empty() {
            return;
        }
        self.kill_at = None;
        let segment = self.server.context.segment;
        let recovered = (self.server.recover)();
        if let Err(error) = recovered.and_then(|()| segment.reinitialize().map_err(|error| error.to_string())) {
            log::error!("the server can't begin anew: {error}");
            self.begin_shutdown(shm::ShutdownMode::Immediate);
            return;
        }
        self.prepare_segment();
        self.stage = Stage::Starting;
        self.start_processes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_walks_are_rare_and_none_is_forgotten() {
        let mut changes = Changes::default();
        assert_eq!(changes.walk_in(), None);
        changes.walk_due = true;
        assert_eq!(changes.walk_in(), Some(Duration::ZERO));
        changes.walked(SHORT_WALK);
        assert_eq!(changes.walk_in(), None);
        changes.walk_due = true;
        assert_eq!(changes.walk_in(), Some(Duration::ZERO));
        for (took, pause) in [(Duration::from_millis(1), 10), (Duration::from_secs(5), 20)] {
            let before = Instant::now();
            changes.walked(took);
            assert_eq!(changes.walk_in(), None);
            changes.walk_due = true;
            let after = changes.walk_after.unwrap();
            assert!(changes.walk_in() <= Some(after.duration_since(before)));
            assert!(after >= before + Duration::from_millis(pause));
            assert!(after <= Instant::now() + Duration::from_millis(pause));
        }
    }
}
