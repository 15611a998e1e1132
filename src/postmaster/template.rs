//! The postmaster's dealings with the template: orders for workers, answers, and what is left open when it dies.
//!
//! Invariant: a slot that was claimed for an order is answered for, taken back, or its process is known as a child.
//! The template may die, be stopped or be slow at any step, and a worker may end before its pid is known.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use shm::{Counter, Interrupt, Owner, ShutdownMode, SlotKind, SlotState};

use super::control::tell;
use super::reap::Ending;
use super::{Child, Postmaster, Stage};
use crate::config::{EngineKind, Model};
use crate::system::Pid;
use crate::system::pass;
use crate::system::signal::Signal;
use crate::worker::template::{Answer, order};

/// Orders that may be open at a time. Further ones wait for answers: the template forks faster than the postmaster could
/// fork beside it, and what it forks is warm.
const ORDERS_MAX: usize = 64;

/// How long the template may take to start, or for an order, before it is killed.
const PATIENCE_US: u64 = 5_000_000;

/// The template as the postmaster knows it.
#[derive(Debug)]
pub(super) struct Template {
    owner: Owner,
    pid: Pid,
    channel: OwnedFd,
    /// Orders without an answer, with the time of each (monotonic clock), oldest first.
    orders: VecDeque<(Owner, u64)>,
    /// Children that ended before their order was answered, perhaps, with the time of it. They are kept only while
    /// an order of that time is open: later the same pid is another process.
    ended: Vec<(Pid, Ending, u64)>,
    /// Since when it is told to go (monotonic clock): its settings are not those of now, or the server ends.
    told_us: Option<u64>,
    /// It gave no answer, and was killed.
    killed: bool,
}

impl Template {
    /// It takes no more orders.
    fn leaves(&self) -> bool {
        self.killed || self.told_us.is_some()
    }

    /// Forgets children that ended before the oldest open order: nobody will ask for them.
    fn forget_ended(&mut self) {
        let oldest = self.orders.front().map(|(_, since_us)| *since_us);
        self.ended.retain(|(_, _, at_us)| oldest.is_some_and(|since_us| since_us <= *at_us));
    }
}

impl Postmaster {
    /// Whether this server has a template: not in the classic model, whose processes begin with nothing, and not
    /// with the null engine, which has nothing to open.
    pub(super) fn wants_template(&self) -> bool {
        let config = &self.server.context.config;
        config.pool.model == Model::Prefork && config.engine.kind == EngineKind::Sqlite
    }

    /// The template was forked: its end of `channel` is closed here already.
    pub(super) fn template_started(&mut self, owner: Owner, pid: Pid, channel: OwnedFd) {
        if let Err(error) = register(self.poll.registry(), &channel) {
            log::error!("the template's channel: {error}");
        }
        let orders = VecDeque::new();
        let ended = Vec::new();
        self.template = Some(Template { owner, pid, channel, orders, ended, told_us: None, killed: false });
    }

    /// Whether the first workers wait for a template that is about to be ready.
    pub(super) fn awaits_template(&self) -> bool {
        self.template.as_ref().is_some_and(|template| {
            !template.leaves() && self.server.context.segment.slot(template.owner.slot).state() == SlotState::Starting
        })
    }

    /// Whether the template is there but has as many orders as it may have.
    pub(super) fn template_is_busy(&self) -> bool {
        self.template.as_ref().is_some_and(|template| !template.leaves() && template.orders.len() >= ORDERS_MAX)
    }

    /// Orders a worker for that slot. False if the template cannot take the order.
    pub(super) fn order_worker(&mut self, owner: Owner) -> bool {
        let segment = self.server.context.segment;
        let Some(template) = &mut self.template else { return false };
        let is_ready = segment.slot(template.owner.slot).state() == SlotState::Serving;
        if !is_ready || template.leaves() {
            return false;
        }
        if pass::send_bytes(&template.channel, &order(owner)).is_err() {
            return false;
        }
        let now_us = shm::clock::monotonic_us();
        template.orders.push_back((owner, now_us));
        self.ask_at(now_us + PATIENCE_US);
        true
    }

    /// Takes in every answer that has come. Before children are reaped, so that few end unknown. One that is lost with
    /// the channel is no loss: whoever moved in is found in its slot, and nobody else can any more.
    pub(super) fn take_answers(&mut self) {
        while let Some(template) = &mut self.template {
            match Answer::receive(&template.channel) {
                Ok(Some(answer)) => {
                    template.orders.retain(|(owner, _)| *owner != answer.owner);
                    match answer.result {
                        Ok(pid) => self.worker_forked(answer.owner, Pid::from_raw(pid)),
                        Err(errno) => {
                            self.server.context.segment.reap(answer.owner);
                            self.fork_failed(SlotKind::Worker, &io::Error::from_raw_os_error(errno));
                        }
                    }
                    self.template.iter_mut().for_each(Template::forget_ended);
                }
                Ok(None) => return,
                Err(error) => {
                    log::error!("the template's answers: {error}");
                    return;
                }
            }
        }
    }

    /// A worker is our child now, if it has not ended before we heard of it.
    fn worker_forked(&mut self, owner: Owner, pid: Pid) {
        let segment = self.server.context.segment;
        segment.slot(owner.slot).set_pid(pid.as_raw());
        segment.pool().count(Counter::Forks);
        self.children
            .insert(pid, Child { owner, kind: SlotKind::Worker, stopped_us: None, hung: false, told_us: None });
        let ended = self.template.as_mut().and_then(|template| {
            let at = template.ended.iter().position(|(known, ..)| *known == pid)?;
            Some(template.ended.swap_remove(at).1)
        });
        if let Some(ending) = ended {
            self.reap(pid, ending);
            return;
        }
        // What all were told while it was unknown.
        match self.stage {
            Stage::Starting | Stage::Running | Stage::Stopping(ShutdownMode::Running) => {
                let slot = segment.slot(owner.slot);
                if slot.configuration_generation() != segment.pool().configuration_generation() {
                    slot.raise(Interrupt::Reload);
                    tell(pid, Signal::SIGUSR2);
                }
            }
            Stage::Restarting | Stage::Stopping(ShutdownMode::Immediate) => tell(pid, Signal::SIGQUIT),
            Stage::Stopping(ShutdownMode::Fast) => tell(pid, Signal::SIGTERM),
            Stage::Stopping(ShutdownMode::Smart) => tell(pid, Signal::SIGUSR2),
        }
    }

    /// A child ended that is not known. It may be one whose order was not answered yet.
    pub(super) fn unknown_ended(&mut self, pid: Pid, ending: Ending) {
        if let Some(template) = self.template.as_mut().filter(|template| !template.orders.is_empty()) {
            template.ended.push((pid, ending, shm::clock::monotonic_us()));
        }
    }

    /// The template was reaped: its open orders are settled. `pid` is gone from the children already.
    pub(super) fn template_ended(&mut self, pid: Pid) {
        if self.template.as_ref().is_none_or(|template| template.pid != pid) {
            return;
        }
        self.take_answers();
        let Some(open) = self.template.as_mut().map(|template| std::mem::take(&mut template.orders)) else { return };
        for (owner, _) in open {
            let slot = self.server.context.segment.slot(owner.slot);
            match slot.take_back(owner.generation) {
                Some(pid) => self.worker_forked(owner, Pid::from_raw(pid)),
                None => drop(self.server.context.segment.reap(owner)),
            }
        }
        self.template = None;
    }

    /// The template has what is no longer in force, or is no longer needed: it is told to go.
    pub(super) fn dismiss_template(&mut self) {
        if let Some(template) = self.template.as_mut().filter(|template| !template.leaves()) {
            template.told_us = Some(shm::clock::monotonic_us());
            tell(template.pid, Signal::SIGTERM);
        }
    }

    /// Kills a template that does not answer. What it has not forked, the postmaster forks.
    pub(super) fn kill_the_silent_template(&mut self) {
        let segment = self.server.context.segment;
        let Some(template) = &mut self.template else { return };
        let slot = segment.slot(template.owner.slot);
        let starting = (slot.state() == SlotState::Starting).then(|| slot.started_us());
        let oldest = template.orders.front().map(|(_, since_us)| *since_us);
        let Some(since_us) = [oldest, starting, template.told_us].into_iter().flatten().min() else { return };
        let due_us = since_us + PATIENCE_US;
        if due_us > shm::clock::monotonic_us() {
            self.ask_at(due_us);
        } else if !std::mem::replace(&mut template.killed, true) {
            log::error!("the template gives no answer: killing it");
            tell(template.pid, Signal::SIGKILL);
        }
    }
}

fn register(registry: &Registry, channel: &OwnedFd) -> io::Result<()> {
    registry.register(&mut SourceFd(&channel.as_raw_fd()), ANSWERS, Interest::READABLE)
}

/// The channel's number among the postmaster's events.
const ANSWERS: Token = Token(super::ANSWERS);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_ended_before_every_open_order_is_nobodys() {
        let segment =
            shm::Segment::on_heap(&shm::Geometry { slots: 2, databases: 1, wal_index_bytes: 32_768 }).unwrap();
        let owner = segment.claim_slot(SlotKind::Worker).unwrap();
        let mut template = Template {
            owner: segment.claim_slot(SlotKind::Template).unwrap(),
            pid: Pid::from_raw(1),
            channel: pass::channel().unwrap().0,
            orders: VecDeque::from([(owner, 20)]),
            ended: vec![(Pid::from_raw(7), Ending::Exited(0), 10), (Pid::from_raw(8), Ending::Exited(0), 20)],
            told_us: None,
            killed: false,
        };
        template.forget_ended();
        assert_eq!(template.ended.iter().map(|(pid, ..)| pid.as_raw()).collect::<Vec<_>>(), [8]);
        template.orders.clear();
        template.forget_ended();
        assert!(template.ended.is_empty(), "the pid may be another process's by the next order");
    }
}
