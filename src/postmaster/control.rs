//! What reaches the postmaster from outside: signals, wake-ups of its children, connections in the classic
//! model; and carrying out what the policy says.

use std::io;

use shm::{Census, Counter, Interrupt, SlotKind, SlotState};

use super::policy::Gauges;
use super::spawn::{Body, SpawnError};
use super::{Child, Postmaster, Stage};
use crate::auth::{Maps, Rules};
use crate::config::{Config, Model};
use crate::doorman::FREE_SLOTS_KEPT;
use crate::system::Pid;
use crate::system::pass;
use crate::system::signal::{self, Signal};
use crate::worker::Accepted;
use crate::worker::tls::Acceptor;

/// Pause after accept failed.
const ACCEPT_PAUSE_US: u64 = 100_000;
/// Pause before the slots are counted again after the gauges were wrong.
const RECOUNT_PAUSE_US: u64 = 10_000;

impl Postmaster {
    /// Takes every signal that has come.
    pub(super) fn take_signals(&mut self) -> io::Result<()> {
        while let Some((signal, from)) = self.signals.take_from()? {
            match signal {
                Signal::SIGTERM => self.begin_shutdown(shm::ShutdownMode::Smart),
                Signal::SIGINT => self.begin_shutdown(shm::ShutdownMode::Fast),
                Signal::SIGQUIT => self.begin_shutdown(shm::ShutdownMode::Immediate),
                Signal::SIGHUP => self.reload(),
                Signal::SIGUSR1 => self.reopen_log(),
                Signal::SIGCHLD => self.changes.named.push(from),
                _ => {}
            }
        }
        Ok(())
    }

    /// Signals the processes of which something was asked through their slots. Only the postmaster signals: it
    /// alone knows that a pid has not been reaped.
    pub(super) fn deliver_requests(&mut self) {
        let now_us = shm::clock::monotonic_us();
        for (pid, child) in self.children.iter_mut().filter(|(_, child)| child.kind == SlotKind::Worker) {
            let slot = self.server.context.segment.slot(child.owner.slot);
            // The session may be over by the time the signal comes: the process looks again whom the request means.
            if slot.interrupted() && (slot.terminate_requested() || slot.is_raised(Interrupt::Cancel)) {
                tell(*pid, Signal::SIGINT);
                if slot.terminate_requested() {
                    child.told_us.get_or_insert(now_us);
                }
            }
        }
    }

    /// Starts what every server has, and the first workers.
    pub(super) fn start_processes(&mut self) {
        self.start_auxiliaries();
        if self.server.context.config.pool.model == Model::Prefork {
            let first = self.policy.first_workers(self.server.context.config.pool.start_workers, self.gauges());
            self.first_workers_due = first;
        }
    }

    /// Asks the policy until it is content. `census`: the slots as they were counted since the postmaster was woken;
    /// `agreed`: so were the gauges.
    pub(super) fn adjust_workers(&mut self, census: Census, agreed: bool) {
        self.start_auxiliaries();
        if self.server.context.config.pool.model == Model::ForkOnAccept {
            return;
        }
        // Those who decide by the gauges while they are wrong do not wake us.
        if !agreed {
            self.ask_at(shm::clock::monotonic_us() + RECOUNT_PAUSE_US);
        }
        if census.idle == 0 || self.server.context.segment.pool().queued() > 0 {
            self.server.context.doorman.wake();
        }
        let mut gauges = Gauges::from(census);
        if self.first_workers_due > 0 {
            if self.awaits_template() {
                return;
            }
            while self.first_workers_due > 0 {
                match self.spawn(SlotKind::Worker, Body::Worker) {
                    Ok(()) => self.first_workers_due -= 1,
                    Err(SpawnError::Later) => return,
                    Err(SpawnError::NoSlot) => self.first_workers_due = 0,
                    Err(SpawnError::Fork(error)) => {
                        self.fork_failed(SlotKind::Worker, &error);
                        self.first_workers_due = 0;
                    }
                }
            }
            gauges = self.gauges();
        }
        loop {
            let now_us = shm::clock::monotonic_us();
            self.notice_recovery();
            let decision = self.policy.decide(now_us, gauges);
            decision.wake_at_us.into_iter().for_each(|at_us| self.ask_at(at_us));
            for _ in 0..decision.retire {
                self.retire_youngest();
            }
            if decision.spawn == 0 || !self.spawn_workers(decision.spawn) {
                return;
            }
            gauges = self.gauges();
        }
    }

    /// Has the loop come back at that time, or earlier.
    pub(super) fn ask_at(&mut self, at_us: u64) {
        self.ask_at_us = Some(self.ask_at_us.map_or(at_us, |present| present.min(at_us)));
    }

    fn gauges(&self) -> Gauges {
        self.server.context.segment.census().into()
    }

    /// Forks so many workers. False when one could not be forked; the policy has been told.
    fn spawn_workers(&mut self, count: u32) -> bool {
        for _ in 0..count {
            match self.spawn(SlotKind::Worker, Body::Worker) {
                Ok(()) => {}
                Err(SpawnError::NoSlot | SpawnError::Later) => return false,
                Err(SpawnError::Fork(error)) => {
                    self.fork_failed(SlotKind::Worker, &error);
                    return false;
                }
            }
        }
        true
    }

    /// Counts it, and says so once in an episode.
    pub(super) fn fork_failed(&mut self, kind: SlotKind, error: &io::Error) {
        self.server.context.segment.pool().count(Counter::ForkFailures);
        self.last_failure_us = shm::clock::monotonic_us();
        if self.policy.start_failed(self.last_failure_us) {
            log::error!("could not fork new process ({}): {error}; trying again at growing intervals", kind.name());
        }
        self.ask_at(self.last_failure_us);
    }

    /// Ends an episode of failed starts once a worker that was forked after the last failure accepts.
    fn notice_recovery(&mut self) {
        let has_started = |(_, slot): (_, &shm::Slot)| {
            slot.kind() == SlotKind::Worker
                && matches!(slot.state(), SlotState::Idle | SlotState::Connecting | SlotState::Serving)
                && slot.started_us() > self.last_failure_us
        };
        if self.policy.is_failing() && self.server.context.segment.slots().any(has_started) {
            self.starts_work();
        }
    }

    fn starts_work(&mut self) {
        self.server.context.segment.pool().set_starts_fail(false);
        if self.policy.start_succeeded() {
            log::info!("workers start again");
        }
    }

    /// The kernel wakes the idle worker that registered first, so the youngest is the coldest.
    fn retire_youngest(&self) {
        let idle = self.workers_in(SlotState::Idle).filter(|(_, child)| {
            let slot = self.server.context.segment.slot(child.owner.slot);
            !slot.is_raised(Interrupt::Retire) && !slot.is_stopped()
        });
        let youngest = idle.max_by_key(|(_, child)| self.server.context.segment.slot(child.owner.slot).started_us());
        if let Some((pid, child)) = youngest {
            self.server.context.segment.slot(child.owner.slot).raise(Interrupt::Retire);
            tell(*pid, Signal::SIGUSR2);
        }
    }

    /// Workers whose slot is in that state.
    pub(super) fn workers_in(&self, state: SlotState) -> impl Iterator<Item = (&Pid, &Child)> {
        self.children.iter().filter(move |(_, child)| {
            child.kind == SlotKind::Worker && self.server.context.segment.slot(child.owner.slot).state() == state
        })
    }

    /// The classic model: a process for every connection that waits, those first that the doorman took in while
    /// there was no slot.
    pub(super) fn accept_clients(&mut self) {
        self.accept_again = false;
        for number in 0..=self.server.context.listeners.len() {
            loop {
                if self.server.context.segment.census().free <= FREE_SLOTS_KEPT {
                    // The doorman looks after the rest until a slot is reaped.
                    self.accept_again = true;
                    self.server.context.doorman.wake();
                    return;
                }
                let context = &self.server.context;
                let accepted = match number.checked_sub(1) {
                    None => pass::take_client(&context.queue.1).map(|handed| handed.map(Accepted::from)),
                    Some(number) => {
                        let accepted =
                            context.listeners.get(number).map_or(Ok(None), |listener| context.accept(listener));
                        accepted.map(|accepted| accepted.map(Accepted::now))
                    }
                };
                match accepted {
                    Ok(Some(client)) => {
                        context.segment.pool().count(Counter::Accepts);
                        self.accept_fails = false;
                        match self.spawn(SlotKind::Worker, Body::Session(Box::new(client))) {
                            Err(SpawnError::Fork(error)) => self.fork_failed(SlotKind::Worker, &error),
                            Ok(()) if self.policy.is_failing() => self.starts_work(),
                            _ => {}
                        }
                    }
                    // Out of descriptors or memory: the connection stays queued, and nobody will tell us again.
                    Err(error) => {
                        if !std::mem::replace(&mut self.accept_fails, true) {
                            log::warn!("could not accept a connection: {error}");
                        }
                        self.accept_again = self.stage == Stage::Running || self.stage == Stage::Starting;
                        self.ask_at(shm::clock::monotonic_us() + ACCEPT_PAUSE_US);
                        break;
                    }
                    Ok(None) => break,
                }
            }
        }
        if self.server.context.segment.pool().queued() > 0 {
            self.server.context.doorman.wake();
        }
    }

    fn tell_keeper(&self, signal: Signal) {
        for (pid, _) in self.children.iter().filter(|(_, child)| child.kind == SlotKind::Keeper) {
            tell(*pid, signal);
        }
    }

    /// Goes on with a new file after the log was rotated; the keeper, whose lines are PostgreSQL's, and workers forked from
    /// now on write there too.
    fn reopen_log(&mut self) {
        let config = &self.server.context.config;
        if let Some(file) = &config.log.file
            && let Err(error) = crate::system::daemon::redirect_output(&config.path(file))
        {
            log::error!("could not reopen {}: {error}", file.display());
        }
        self.tell_keeper(Signal::SIGUSR1);
        self.dismiss_template();
    }

    /// Reads the configuration again. The old one stays in force when the new one can't be used.
    pub(super) fn reload(&mut self) {
        match self.stage {
            Stage::Running => {}
            Stage::Starting | Stage::Restarting => {
                self.reload_due = true;
                return;
            }
            Stage::Stopping(_) => {
                log::info!("configuration not reloaded: the server is shutting down");
                return;
            }
        }
        self.server.manager.reloading();
        match (self.server.reread)() {
            Ok((config, rules, maps)) => self.take_configuration(config, rules, maps),
            Err(error) => {
                // A line for each problem.
                error.lines().for_each(|problem| log::error!("{problem}"));
                log::error!("configuration not reloaded");
            }
        }
        self.server.manager.ready();
    }

    /// What can change without a restart, changes: idle workers are replaced by ones that know the new
    /// settings, busy ones leave at their session's end.
    fn take_configuration(&mut self, mut config: Config, rules: Rules, maps: Maps) {
        let old = &self.server.context.config;
        let is_fixed = config.listen != old.listen
            || config.engine != old.engine
            || config.metrics != old.metrics
            || config.pool.model != old.pool.model;
        if is_fixed {
            log::warn!("changes of listen.*, engine.*, metrics.* and pool.model take effect at the next start");
            config.listen = old.listen.clone();
            if config.engine.kind != old.engine.kind {
                config.relay = old.relay.clone();
            }
            config.engine = old.engine.clone();
            config.metrics = old.metrics.clone();
            config.pool.model = old.pool.model;
        }
        config.log.file = old.log.file.clone();
        let ceiling = self.server.context.segment.geometry().slots;
        if config.worker_slots() > ceiling {
            log::error!(
                "configuration not reloaded: pool.max_sessions is above what pool.slot_limit reserved at start"
            );
            return;
        }
        match Acceptor::load(&config, self.server.context.segment) {
            Ok(tls) => self.server.context.tls = tls,
            Err(error) => {
                log::error!("SSL configuration was not reloaded: {error}");
                config.tls = old.tls.clone();
            }
        }
        self.policy.set_limits(super::limits(&config));
        self.server.context.config = config;
        self.server.context.rules = rules;
        self.server.context.maps = maps;
        let pool = self.server.context.segment.pool();
        pool.set_spare_minimum(self.server.context.config.pool.min_spare);
        pool.set_session_limit(self.server.context.config.pool.max_sessions);
        pool.set_configuration_generation(pool.configuration_generation() + 1);
        self.dismiss_template();
        for (pid, child) in self.workers_in(SlotState::Idle) {
            self.server.context.segment.slot(child.owner.slot).raise(Interrupt::Reload);
            tell(*pid, Signal::SIGUSR2);
        }
        // PostgreSQL's own files are read again as well.
        self.tell_keeper(Signal::SIGHUP);
        self.server.context.doorman.wake();
        log::info!("configuration reloaded");
    }
}

/// Signals a child that was not reaped. One that is gone already is a zombie, which takes any signal.
pub(super) fn tell(pid: Pid, signal: Signal) {
    if let Err(error) = signal::send(pid, signal) {
        log::warn!("could not signal process {pid}: {error}");
    }
}
