//! Waiting for a client beside all other idle workers. Owns the rule that no client is left behind, in the listen
//! queues or on its way from the doorman, while a worker is idle.
//!
//! The kernel's wake-up for a connection goes to one process alone, and it can be lost: that process may leave, be
//! killed or be stopped, or take another client that it finds first. So there is one more thing to be woken for, the
//! *look*: whoever takes it tries every place where a client may wait, and if it finds one, has the next worker look
//! again. Looks end when one of them finds nobody. A look is asked for
//! - by a worker that leaves, or that found several places ready and could take only one client;
//! - by the postmaster when a worker was stopped, or died other than by leaving.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use shm::{ExitReason, Interrupt, ShutdownMode};

use super::context::Context;
use super::preface::Preface;
use super::presence::Presence;
use crate::system::epoll::{ExclusiveEpoll, Wait};
use crate::system::listener::Peer;
use crate::system::pass;
use crate::system::signal::{self, Mask, Notice};

/// Pause after accept failed for want of descriptors or memory: the connection stays queued, and the listener
/// would wake us at once, again and again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// The doorman's queue and the look, among the listeners' numbers.
const QUEUE: u64 = u64::MAX;
const LOOK: u64 = u64::MAX - 1;

/// What ended the wait.
#[derive(Debug)]
pub enum Woken {
    /// A client.
    Client(Accepted),
    /// The process is to go. The caller calls [`Idle::leave`] first.
    Leave(ExitReason),
}

/// A client's connection.
#[derive(Debug)]
pub struct Accepted {
    /// Its socket.
    pub client: OwnedFd,
    /// Who it is.
    pub peer: Peer,
    /// When it was accepted (monotonic clock), without the time that it waited for a worker.
    pub accepted_us: u64,
    /// What was agreed with it, and what it has said, where it was with somebody else before.
    pub waited: Option<(Preface, Vec<u8>)>,
}

impl Accepted {
    /// A client straight from a listener.
    pub fn now((client, peer): (OwnedFd, Peer)) -> Self {
        Self { client, peer, accepted_us: shm::clock::monotonic_us(), waited: None }
    }
}

impl From<pass::Handed> for Accepted {
    fn from(handed: pass::Handed) -> Self {
        let pass::Handed { socket, peer, accepted_us, agreed, said, .. } = handed;
        Self { client: socket, peer, accepted_us, waited: Some((Preface::from_bytes(agreed), said)) }
    }
}

/// A worker's place among those that wait.
#[derive(Debug)]
pub struct Idle<'a> {
    context: &'a Context,
    epoll: Option<ExclusiveEpoll>,
    /// The last accept failed, and the log says so.
    is_failing: bool,
}

impl<'a> Idle<'a> {
    /// Joins at the end: the kernel wakes whoever has registered first.
    pub fn new(context: &'a Context) -> io::Result<Self> {
        let epoll = ExclusiveEpoll::new()?;
        epoll.add_exclusive(&context.queue.1, QUEUE)?;
        epoll.add_exclusive(&context.look, LOOK)?;
        for (number, listener) in (0..).zip(&context.listeners) {
            epoll.add_exclusive(listener, number)?;
        }
        Ok(Self { context, epoll: Some(epoll), is_failing: false })
    }

    /// Waits for a client, or for a reason to go. Signals must be blocked: they come in only while it sleeps.
    ///
    /// The epoll stays registered while a session is served, so that a reused worker keeps its place and its
    /// warm caches; nobody sleeps in it then, so no wake-up is spent on it.
    pub fn wait(&mut self, presence: &Presence) -> io::Result<Woken> {
        let mask = Mask::none();
        loop {
            if let Some(reason) = self.reason_to_leave(presence) {
                return Ok(Woken::Leave(reason));
            }
            let Some(epoll) = &self.epoll else { return Ok(Woken::Leave(ExitReason::Retired)) };
            let woken = epoll.wait(&mask, None)?;
            // Before a client is accepted who came after a change of the configuration was reported.
            if let Some(reason) = self.reason_to_leave(presence) {
                return Ok(Woken::Leave(reason));
            }
            let number = match woken {
                Wait::Ready(QUEUE) => match self.take_queued() {
                    Some(accepted) => return Ok(Woken::Client(accepted)),
                    None => continue,
                },
                Wait::Ready(LOOK) | Wait::Several => match self.look() {
                    Some(accepted) => return Ok(Woken::Client(accepted)),
                    None => continue,
                },
                Wait::Ready(number) => number,
                Wait::Interrupted | Wait::TimedOut => {
                    if signal::take(Notice::Poke) {
                        self.context.look.wake();
                    }
                    continue;
                }
            };
            let listener = usize::try_from(number).ok().and_then(|number| self.context.listeners.get(number));
            match listener.map(|listener| self.context.accept(listener)) {
                Some(Ok(Some(accepted))) => {
                    self.is_failing = false;
                    return Ok(Woken::Client(Accepted::now(accepted)));
                }
                Some(Ok(None)) | None => {}
                // Shut down by the postmaster, which has set the word before.
                Some(Err(error)) if error.raw_os_error() == Some(libc::EINVAL) => {
                    return Ok(Woken::Leave(ExitReason::Terminated));
                }
                Some(Err(error)) => {
                    if !std::mem::replace(&mut self.is_failing, true) {
                        log::warn!("could not accept a connection: {error}");
                    }
                    std::thread::sleep(ACCEPT_PAUSE);
                }
            }
        }
    }

    /// Gives up the place, and returns a client for whom nobody else may have been woken. Who was told to end at once,
    /// or has a configuration that is no longer in force, leaves that to the others.
    pub fn leave(&mut self, reason: ExitReason) -> Option<Accepted> {
        self.epoll = None;
        if matches!(reason, ExitReason::Terminated | ExitReason::Reload)
            && self.context.segment.pool().shutdown() == ShutdownMode::Running
        {
            self.context.look.wake();
            return None;
        }
        self.look()
    }

    /// Tries every place where a client may wait. Where one waits there may be others.
    fn look(&self) -> Option<Accepted> {
        // Taken before looking: who asks for a look afterwards gets one.
        self.context.look.take();
        let accept = || self.context.listeners.iter().find_map(|listener| self.context.accept(listener).ok().flatten());
        let found = self.take_queued().or_else(|| accept().map(Accepted::now));
        if found.is_some() {
            self.context.look.wake();
        } else if self.context.segment.pool().queued() > 0 {
            self.context.doorman.wake();
        }
        found
    }

    /// A client that the doorman took in while nobody was idle; they have waited longest.
    fn take_queued(&self) -> Option<Accepted> {
        pass::take_client(&self.context.queue.1).ok()?.map(Accepted::from)
    }

    fn reason_to_leave(&self, presence: &Presence) -> Option<ExitReason> {
        let pool = self.context.segment.pool();
        let slot = presence.slot();
        if presence.is_terminated() || pool.shutdown() != ShutdownMode::Running {
            return Some(ExitReason::Terminated);
        }
        if slot.take(Interrupt::Reload) || pool.configuration_generation() != slot.configuration_generation() {
            return Some(ExitReason::Reload);
        }
        if slot.is_raised(Interrupt::Retire) {
            let end_us = self.context.config.pool.lifetime_end_us(slot.started_us());
            let is_old = end_us.is_some_and(|end_us| end_us <= shm::clock::monotonic_us());
            return Some(if is_old { ExitReason::LifetimeOver } else { ExitReason::Retired });
        }
        None
    }
}
