//! The one place that knows how a process of the server comes to be: slot, fork, and the child's first steps.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use shm::{Counter, Owner, SlotKind, SlotState};

use super::{Child, Postmaster, Server};
use crate::config::EngineKind;
use crate::error::{Condition, Error};
use crate::system::fork::{Side, exit_now, fork};
use crate::system::{Pid, descriptor, parent, pass, signal};
use crate::worker::{Accepted, Inheritance};
use crate::{background, doorman, keeper, worker};

/// What the new process does.
pub(super) enum Body {
    /// Accepts clients.
    Worker,
    /// Serves one client that was accepted already.
    Session(Box<Accepted>),
    /// Takes clients in when no worker can.
    Doorman,
    /// Moves the WAL into the database files.
    Checkpointer,
    /// Serves metrics.
    Exporter,
    /// Forks workers on our orders, which come through the descriptor.
    Template(OwnedFd),
    /// Keeps a PostgreSQL of the server's own running.
    Keeper,
}

/// Why there is no new process.
#[derive(Debug)]
pub(super) enum SpawnError {
    /// All slots are taken.
    NoSlot,
    /// The template has as many orders as it can take; we are woken when it has answered.
    Later,
    /// The kernel has no room for it.
    Fork(io::Error),
}

/// Between two starts of the same background process.
const RESTART_PAUSE_US: u64 = 500_000;

/// Exit code of a child that could not set itself up.
const SETUP_FAILED: i32 = 4;

impl Postmaster {
    /// Claims a slot and has a process forked into it: a worker by the template, if there is one.
    pub(super) fn spawn(&mut self, kind: SlotKind, body: Body) -> Result<(), SpawnError> {
        let is_worker = matches!(body, Body::Worker);
        if is_worker && self.template_is_busy() {
            return Err(SpawnError::Later);
        }
        let owner = self.server.context.segment.claim_slot(kind).ok_or(SpawnError::NoSlot)?;
        if is_worker && self.order_worker(owner) {
            return Ok(());
        }
        self.fork_into(owner, kind, body).map(|_| ())
    }

    /// Forks a process into a claimed slot.
    fn fork_into(&mut self, owner: Owner, kind: SlotKind, body: Body) -> Result<Pid, SpawnError> {
        let segment = self.server.context.segment;
        match fork() {
            Ok(Side::Child) => enter(&self.server, owner, body),
            Ok(Side::Parent(pid)) => {
                segment.slot(owner.slot).set_pid(pid.as_raw());
                segment.pool().count(Counter::Forks);
                self.children.insert(pid, Child { owner, kind, stopped_us: None, hung: false, told_us: None });
                Ok(pid)
            }
            Err(error) => {
                segment.reap(owner);
                if let Body::Session(accepted) = &body {
                    turn_away(&accepted.client, &error);
                }
                Err(SpawnError::Fork(error))
            }
        }
    }

    /// Starts the background processes that are not there, each at most once in a while.
    pub(super) fn start_auxiliaries(&mut self) {
        let config = &self.server.context.config;
        // The checkpointer first: commits look for it among the first slots.
        let wanted = [
            (SlotKind::Checkpointer, config.engine.kind == EngineKind::Sqlite),
            (SlotKind::Keeper, self.server.context.own_server.is_some()),
            (SlotKind::Doorman, true),
            (SlotKind::Exporter, self.server.context.metrics.is_some()),
            (SlotKind::Template, self.wants_template()),
        ];
        for (kind, _) in wanted.into_iter().filter(|(_, is_wanted)| *is_wanted) {
            if self.children.values().any(|child| child.kind == kind) {
                continue;
            }
            let now_us = shm::clock::monotonic_us();
            let not_before_us = self.auxiliaries_not_before_us.entry(kind).or_default();
            if now_us < *not_before_us {
                let at_us = *not_before_us;
                self.ask_at(at_us);
                continue;
            }
            *not_before_us = now_us + RESTART_PAUSE_US;
            let spawned = match kind {
                SlotKind::Checkpointer => self.spawn(kind, Body::Checkpointer),
                SlotKind::Doorman => self.spawn(kind, Body::Doorman),
                SlotKind::Exporter => self.spawn(kind, Body::Exporter),
                SlotKind::Template => self.spawn_template(),
                SlotKind::Keeper => self.spawn(kind, Body::Keeper),
                SlotKind::Worker => Ok(()),
            };
            match spawned {
                Ok(()) => continue,
                Err(SpawnError::NoSlot | SpawnError::Later) => log::error!("there is no slot for the {}", kind.name()),
                Err(SpawnError::Fork(error)) => self.fork_failed(kind, &error),
            }
            self.ask_at(now_us + RESTART_PAUSE_US);
        }
    }

    fn spawn_template(&mut self) -> Result<(), SpawnError> {
        let (ours, its) = pass::channel().map_err(SpawnError::Fork)?;
        let owner = self.server.context.segment.claim_slot(SlotKind::Template).ok_or(SpawnError::NoSlot)?;
        let pid = self.fork_into(owner, SlotKind::Template, Body::Template(its))?;
        self.template_started(owner, pid, ours);
        Ok(())
    }

    /// Whether clients may be let in as far as background processes go.
    pub(super) fn auxiliaries_are_ready(&self) -> bool {
        !self.children.values().any(|child| {
            matches!(child.kind, SlotKind::Checkpointer | SlotKind::Keeper)
                && self.server.context.segment.slot(child.owner.slot).state() == SlotState::Starting
        })
    }
}

/// Tells a client that there is no process for it, in PostgreSQL's words; what it has said is not read.
fn turn_away(client: &OwnedFd, error: &io::Error) {
    let reason = error.to_string();
    let reason = reason.split(" (os error").next().unwrap_or_default();
    let message = format!("could not fork new process for connection: {reason}");
    doorman::tell(client, &Error::new(Condition::InsufficientResources, message));
}

/// The child's first steps, in an order that matters: what is not ours is closed before anything is opened;
/// signals stay blocked until this process's own handlers stand; the tie to the postmaster comes after any
/// change of credentials, which would undo it.
fn enter(server: &Server, owner: Owner, body: Body) -> ! {
    let slot = server.context.segment.slot(owner.slot);
    slot.set_pid(parent::own_pid().as_raw());
    if let Err(error) = become_child(server, &body) {
        log::error!("a new process could not set itself up: {error}");
        exit_now(SETUP_FAILED);
    }
    match body {
        Body::Worker => worker::run(&server.context, owner, Inheritance::default()),
        Body::Template(orders) => worker::template::run(&server.context, owner, orders),
        Body::Doorman => doorman::run(&server.context, owner),
        Body::Checkpointer => {
            background::process::run_checkpointer(server.context.segment, &server.context.config, owner)
        }
        Body::Keeper => match &server.context.own_server {
            Some(own) => keeper::run(server.context.segment, &server.context.config, own, owner),
            None => exit_now(SETUP_FAILED),
        },
        Body::Exporter => match &server.context.metrics {
            Some(listener) => background::exporter::run(server.context.segment, owner, listener),
            None => exit_now(SETUP_FAILED),
        },
        Body::Session(client) => {
            worker::run(&server.context, owner, Inheritance { client: Some(*client), ..Inheritance::default() })
        }
    }
}

fn become_child(server: &Server, body: &Body) -> io::Result<()> {
    let mut keep: Vec<RawFd> = server.context.descriptors();
    keep.push(server.lock.descriptor());
    let listeners = server.context.listeners.iter().map(|listener| listener.as_raw_fd());
    let lockers = server.context.lockers.iter().map(AsRawFd::as_raw_fd);
    match body {
        Body::Worker => {
            let (queue, parking) = (&server.context.queue, &server.context.parking);
            keep.extend(listeners.chain(lockers).chain([queue.1.as_raw_fd(), parking.0.as_raw_fd()]));
        }
        Body::Doorman => {
            let queue = &server.context.queue;
            let parking = server.context.parking.1.as_raw_fd();
            keep.extend(listeners.chain([queue.0.as_raw_fd(), queue.1.as_raw_fd(), parking]));
        }
        Body::Checkpointer | Body::Keeper => {}
        Body::Exporter => keep.extend(server.context.metrics.as_ref().map(AsRawFd::as_raw_fd)),
        Body::Template(orders) => {
            let (queue, parking) = (&server.context.queue, &server.context.parking);
            keep.extend(listeners.chain([queue.1.as_raw_fd(), parking.0.as_raw_fd(), orders.as_raw_fd()]));
        }
        Body::Session(accepted) => keep.extend(lockers.chain([accepted.client.as_raw_fd()])),
    }
    descriptor::close_all_except(&keep)?;
    signal::reset_handlers()?;
    parent::die_with(server.context.postmaster)?;
    parent::own_session()?;
    parent::set_oom_score(0);
    Ok(())
}
