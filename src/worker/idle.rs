//! Waiting for a client beside all other idle workers. Owns the rule that no client is left behind: whoever
//! leaves the idle state looks at every listener once more, because the kernel's wake-up for a connection goes
//! to one process alone.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use shm::{ExitReason, Interrupt, ShutdownMode};

use super::context::Context;
use super::presence::Presence;
use crate::system::epoll::ExclusiveEpoll;
use crate::system::listener::{Peer, peer_of};
use crate::system::signal::{self, Mask, Notice};
use crate::system::{descriptor, pass};

/// Pause after accept failed for want of descriptors or memory: the connection stays queued, and the listener
/// would wake us at once, again and again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// The doorman's queue, among the listeners' numbers.
const QUEUE: u64 = u64::MAX;

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
}

impl Accepted {
    fn now((client, peer): (OwnedFd, Peer)) -> Self {
        Self { client, peer, accepted_us: shm::clock::monotonic_us() }
    }
}

/// A worker's place among those that wait.
#[derive(Debug)]
pub struct Idle<'a> {
    context: &'a Context,
    epoll: Option<ExclusiveEpoll>,
}

impl<'a> Idle<'a> {
    /// Joins at the end: the kernel wakes whoever has registered first.
    pub fn new(context: &'a Context) -> io::Result<Self> {
        let epoll = ExclusiveEpoll::new()?;
        for (number, listener) in (0..).zip(&context.listeners) {
            epoll.add_exclusive(listener, number)?;
        }
        epoll.add_exclusive(&context.queue.1, QUEUE)?;
        Ok(Self { context, epoll: Some(epoll) })
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
            let poked = signal::take(Notice::Poke) | presence.slot().take(Interrupt::TryAccept);
            if poked && let Some(accepted) = self.try_all() {
                return Ok(Woken::Client(accepted));
            }
            let Some(epoll) = &self.epoll else { return Ok(Woken::Leave(ExitReason::Retired)) };
            let crate::system::epoll::Wait::Ready(number) = epoll.wait(&mask, None)? else { continue };
            if number == QUEUE {
                match self.take_queued() {
                    Some(accepted) => return Ok(Woken::Client(accepted)),
                    None => continue,
                }
            }
            let listener = usize::try_from(number).ok().and_then(|number| self.context.listeners.get(number));
            match listener.map(|listener| self.context.accept(listener)) {
                Some(Ok(Some(accepted))) => return Ok(Woken::Client(Accepted::now(accepted))),
                Some(Ok(None)) | None => {}
                // Shut down by the postmaster, which has set the word before.
                Some(Err(error)) if error.raw_os_error() == Some(libc::EINVAL) => {
                    return Ok(Woken::Leave(ExitReason::Terminated));
                }
                Some(Err(error)) => {
                    log::warn!("could not accept a connection: {error}");
                    std::thread::sleep(ACCEPT_PAUSE);
                }
            }
        }
    }

    /// Gives up the place, and returns a client that nobody else may have been woken for.
    pub fn leave(&mut self) -> Option<Accepted> {
        self.epoll = None;
        self.try_all()
    }

    fn try_all(&self) -> Option<Accepted> {
        let accept = || self.context.listeners.iter().find_map(|listener| self.context.accept(listener).ok().flatten());
        self.take_queued().or_else(|| accept().map(Accepted::now))
    }

    /// A client that the doorman took in while nobody was idle; they have waited longest.
    fn take_queued(&self) -> Option<Accepted> {
        let mut accepted_us = [0; 8];
        let (_, client) = pass::receive(&self.context.queue.1, &mut accepted_us).ok()?;
        let client = client?;
        let peer = peer_of(&client).ok()?;
        descriptor::set_nonblocking(&client, false).ok()?;
        Some(Accepted { client, peer, accepted_us: u64::from_ne_bytes(accepted_us) })
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
