//! The order in which everything ends: no new clients, then the sessions, then the background processes with the
//! checkpointer last, then the postmaster. PostgreSQL's three modes; a later signal can only sharpen the mode.

use std::time::{Duration, Instant};

use shm::{ShutdownMode, SlotKind};

use super::control::tell;
use super::lockfile::Status;
use super::{Postmaster, Stage};
use crate::system::listener::Listener;
use crate::system::signal::Signal;

/// How long a process that was told to leave at once may take.
pub(super) const KILL_AFTER: Duration = Duration::from_secs(5);

impl Postmaster {
    /// Begins to end the server, or hurries an end that is under way.
    pub(super) fn begin_shutdown(&mut self, mode: ShutdownMode) {
        if matches!(self.stage, Stage::Stopping(present) if present >= mode) {
            return;
        }
        log::info!("shutting down ({})", name(mode));
        self.server.manager.stopping();
        self.stage = Stage::Stopping(mode);
        self.ask_at_us = None;
        // First the word, then the signals: a worker that misses the signal reads the word when it looks.
        self.server.context.segment.pool().set_shutdown(mode);
        self.server.context.listeners.iter().for_each(Listener::shut_down);
        let content = self.server.content.clone();
        let _ = self.server.lock.write(&content, Status::Stopping);
        let signal = match mode {
            ShutdownMode::Running | ShutdownMode::Smart => Signal::SIGUSR2,
            ShutdownMode::Fast => Signal::SIGTERM,
            ShutdownMode::Immediate => Signal::SIGQUIT,
        };
        let now_us = shm::clock::monotonic_us();
        for (pid, child) in &mut self.children {
            match child.kind {
                SlotKind::Worker => {
                    tell(*pid, signal);
                    if mode == ShutdownMode::Fast {
                        child.told_us.get_or_insert(now_us);
                    }
                }
                // Its clients have no sessions to finish.
                SlotKind::Doorman if mode != ShutdownMode::Immediate => tell(*pid, Signal::SIGTERM),
                SlotKind::Template => {}
                _ if mode == ShutdownMode::Immediate => tell(*pid, signal),
                _ => {}
            }
        }
        self.dismiss_template();
        if mode == ShutdownMode::Immediate {
            self.kill_at = Some(Instant::now() + KILL_AFTER);
        }
    }

    /// Goes on with the shutdown. True once no process is left.
    pub(super) fn stop_when_empty(&mut self) -> bool {
        if self.children.values().any(|child| child.kind == SlotKind::Worker) {
            return false;
        }
        // Clients are gone: the others may finish their work, the checkpointer's last checkpoint among it.
        if !std::mem::replace(&mut self.background_told, true) {
            self.children.keys().for_each(|pid| tell(*pid, Signal::SIGTERM));
        }
        self.children.is_empty()
    }

    /// Kills what was told to leave at once and has not.
    pub(super) fn kill_the_slow(&mut self) {
        if self.kill_at.is_some_and(|at| at <= Instant::now()) {
            self.kill_at = Some(Instant::now() + KILL_AFTER);
            self.children.keys().for_each(|pid| tell(*pid, Signal::SIGKILL));
        }
    }
}

fn name(mode: ShutdownMode) -> &'static str {
    match mode {
        ShutdownMode::Running => "not",
        ShutdownMode::Smart => "smart: waiting for sessions to end",
        ShutdownMode::Fast => "fast: ending sessions",
        ShutdownMode::Immediate => "immediate",
    }
}
