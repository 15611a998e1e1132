//! The doorman: takes clients in when no worker can, and keeps those that have not said enough to be served.
//!
//! Sleeps while a worker is idle. Once none has been for [`PATIENCE`], it accepts beside the workers: cancel
//! requests are carried out at once, everyone else waits here, in order of arrival, for a worker that becomes
//! free, and is refused (53300) when that takes longer than `pool.queue_timeout`. Clients that a worker has given up
//! waiting for are parked here until their start-up packet, or the start of their TLS handshake, is whole, or
//! `authentication_timeout` is over. What they say is only peeked at, so that the connection can be handed on with
//! nothing lost. A slow or silent client costs a table entry. Where descriptors run out, further clients are refused at
//! once. Never authenticates, never runs SQL, never blocks.
//!
//! While clients on their way to a session hold as many workers as they may (`auth.max_unauthenticated`), those who
//! came with a crowd are ahead of everybody else in line. Until the line is empty again the newest is served first, who
//! has waited for [`FRESH`] gets none of the workers beyond that number, and one after another of those that hold one
//! longest is ended.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sys::socket::{MsgFlags, recv, send};
use shm::{Counter, Owner, Phase, SetupPhase, ShutdownMode, Slot, SlotState, WaitEvent};

use self::look::{Look, look};
use self::spare::{Spares, is_lack_of_descriptors};
use crate::config::Model;
use crate::error::{Condition, Error};
use crate::protocol::{Encoder, Severity};
use crate::system::fork::exit_now;
use crate::system::listener::Peer;
use crate::system::pass::{Handed, Papers};
use crate::system::signal::{Signal, SignalQueue};
use crate::system::{descriptor, parent, pass};
use crate::worker::budget::{self, Waiting};
use crate::worker::cancel::cancel;
use crate::worker::context::Context;
use crate::worker::preface::Preface;

mod look;
mod spare;

/// How long no worker may be idle before the doorman goes to the door.
const PATIENCE: Duration = Duration::from_millis(10);
/// How long a client that is one too many may take to say that it is a cancel request.
const GRACE: Duration = Duration::from_millis(50);
/// Exit code after a panic or a failure of its own loop.
const FAILED: i32 = 3;

/// In a crowd, who has waited for less may be anybody; who has waited longer probably came with it.
const FRESH: Duration = Duration::from_millis(100);
/// Between two looks for a client that holds a worker too long.
const RELIEF_PAUSE: Duration = Duration::from_millis(5);
/// Descriptors for clients, as far as the limits of the system allow.
const OPEN_FILES: u64 = 1 << 20;
/// A record that ends a TLS handshake (RFC 8446, section 6): alert, fatal, internal_error.
const TLS_ALERT: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 80];

/// Pause after accept failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Slots that background processes can be started in, also when sessions have taken all the others.
pub const FREE_SLOTS_KEPT: u32 = 2;

const WAKES: Token = Token(0);
const SIGNALS: Token = Token(1);
const PARKING: Token = Token(2);
const LISTENERS: usize = 3;
const CLIENTS: usize = 1024;

/// Lives the doorman's life, and ends the process. Signals must be blocked and the process tied to the
/// postmaster.
pub fn run(context: &Context, owner: Owner) -> ! {
    std::panic::set_hook(Box::new(|panic| log::error!("panic: {panic}")));
    parent::set_name("pgprefork: door");
    let life = catch_unwind(AssertUnwindSafe(|| Doorman::new(context, owner)?.live()));
    match life {
        Ok(Ok(())) => exit_now(0),
        Ok(Err(error)) => {
            log::error!("the doorman failed: {error}");
            exit_now(FAILED)
        }
        Err(_) => exit_now(FAILED),
    }
}

/// A connection that waits.
#[derive(Debug)]
struct Client {
    socket: OwnedFd,
    /// When it is given up.
    deadline: Instant,
    /// When it was accepted, and when its start-up packet was there (monotonic clock).
    accepted_us: u64,
    queued_us: u64,
    /// Its start-up packet is there: it waits for a worker, not we for it.
    queued: bool,
    /// What was agreed with it, and what it has said that is no longer in its socket.
    preface: Preface,
    said: Vec<u8>,
    /// It has begun TLS: nobody can tell it anything in plain.
    tls: bool,
    peer: Peer,
    /// Refused with that unless it is a cancel request, which comes at once: one too many on the way to a session, or
    /// one for whom there is no descriptor.
    surplus: Option<fn() -> Error>,
}

impl Client {
    /// Tells it why it is refused; where TLS has begun, that it has failed.
    fn tell(&self, error: &Error) {
        if self.tls || self.preface.tls {
            let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
            let _ = send(self.socket.as_raw_fd(), &TLS_ALERT, flags);
        } else {
            tell(&self.socket, error);
        }
    }
}

struct Doorman<'a> {
    context: &'a Context,
    owner: Owner,
    slot: &'a Slot,
    poll: Poll,
    signals: SignalQueue,
    clients: Vec<Option<Client>>,
    /// Places in it that are free, and when the others are given up.
    free: Vec<usize>,
    deadlines: BTreeSet<(Instant, usize)>,
    /// Those with a start-up packet, in order of its arrival.
    order: VecDeque<usize>,
    /// Whether it accepts now.
    at_the_door: bool,
    /// When to see whether still no worker is idle.
    look_at: Option<Instant>,
    /// When to try accept again after it failed.
    accept_at: Option<Instant>,
    /// Clients on their way to a session have held as many workers as they may since the line was empty.
    crowded: bool,
    /// When to look again for a client that holds a worker too long.
    relieve_at: Option<Instant>,
    spares: Spares,
    /// Descriptors have run out since it last had no clients.
    is_full: bool,
}

impl<'a> Doorman<'a> {
    fn new(context: &'a Context, owner: Owner) -> io::Result<Self> {
        let signals = SignalQueue::new(&[Signal::SIGTERM, Signal::SIGQUIT])?;
        let _ = descriptor::raise_open_files(OPEN_FILES);
        let mut spares = Spares::default();
        spares.restock(&context.doorman);
        let poll = Poll::new()?;
        let parking = context.parking.1.as_raw_fd();
        for (fd, token) in [(context.doorman.as_raw_fd(), WAKES), (signals.as_raw_fd(), SIGNALS), (parking, PARKING)] {
            poll.registry().register(&mut SourceFd(&fd), token, Interest::READABLE)?;
        }
        context.segment.pool().set_queued(0);
        context.segment.pool().set_parked(0);
        context.segment.transition(owner.slot, SlotState::Starting, SlotState::Serving).map_err(io::Error::other)?;
        context.segment.slot(owner.slot).set_phase(Phase::Accepting);
        let (clients, order) = (Vec::new(), VecDeque::new());
        Ok(Self {
            context,
            slot: context.segment.slot(owner.slot),
            owner,
            poll,
            signals,
            clients,
            free: Vec::new(),
            deadlines: BTreeSet::new(),
            order,
            at_the_door: false,
            look_at: Some(Instant::now()),
            accept_at: None,
            crowded: false,
            relieve_at: None,
            spares,
            is_full: false,
        })
    }

    fn live(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        loop {
            self.slot.set_wait_event(WaitEvent::BackgroundLoop);
            let polled = self.poll.poll(&mut events, self.timeout());
            self.slot.set_wait_event(WaitEvent::None);
            match polled {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            if let Some(signal) = self.signals.take()? {
                if signal == Signal::SIGQUIT {
                    exit_now(2);
                }
                self.close();
                return Ok(());
            }
            let woken = self.context.doorman.take();
            self.mind_the_door(woken)?;
            for event in &events {
                if let Some(index) = event.token().0.checked_sub(CLIENTS) {
                    self.attend(index, event.is_read_closed() || event.is_error());
                }
            }
            // Before others are accepted: they may need the descriptors.
            self.end_waits();
            if self.at_the_door {
                self.accept()?;
            }
            self.take_parked();
            self.take_back();
            self.hand_over();
            self.relieve();
            // The next one knows the new settings. (Whoever waits here is owed the old ones.)
            if self.is_outdated() && self.deadlines.is_empty() {
                return Ok(());
            }
        }
    }

    fn timeout(&self) -> Option<Duration> {
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        deadline
            .into_iter()
            .chain(self.look_at)
            .chain(self.relieve_at)
            .chain(self.accept_at.filter(|_| self.at_the_door))
            .min()
            .map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// How many clients could be served at once: idle workers, or in the classic model slots for new ones.
    fn idle_workers(&self) -> u32 {
        let census = self.context.segment.census();
        match self.context.config.pool.model {
            Model::Prefork => census.idle,
            Model::ForkOnAccept => census.free.saturating_sub(FREE_SLOTS_KEPT),
        }
    }

    /// Goes to the door when no worker has been idle for a while, and leaves it to them when one is.
    fn mind_the_door(&mut self, woken: bool) -> io::Result<()> {
        if self.idle_workers() > 0 {
            self.look_at = None;
            return self.set_at_the_door(false);
        }
        let now = Instant::now();
        match self.look_at {
            Some(at) if at <= now => {
                self.look_at = None;
                self.set_at_the_door(true)
            }
            None if woken && !self.at_the_door => {
                self.look_at = Some(now + PATIENCE);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn set_at_the_door(&mut self, wanted: bool) -> io::Result<()> {
        if self.at_the_door == wanted {
            return Ok(());
        }
        self.at_the_door = wanted;
        for (number, listener) in self.context.listeners.iter().enumerate() {
            let fd = listener.as_raw_fd();
            if wanted {
                let token = Token(LISTENERS + number);
                self.poll.registry().register(&mut SourceFd(&fd), token, Interest::READABLE)?;
            } else {
                self.poll.registry().deregister(&mut SourceFd(&fd))?;
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        self.accept_at = None;
        self.spares.restock(&self.context.doorman);
        self.is_full = self.is_full && !self.deadlines.is_empty();
        for listener in &self.context.listeners {
            loop {
                match listener.accept() {
                    Ok(Some((socket, peer))) => self.admit(socket, peer),
                    Ok(None) => break,
                    // For the next one there is room, for a moment.
                    Err(error) if is_lack_of_descriptors(&error) && self.spares.make_room() => {
                        if !std::mem::replace(&mut self.is_full, true) {
                            log::warn!("the doorman refuses clients: {error}");
                        }
                    }
                    // Shut down, or even the spare descriptors are in use: those in the kernel's queue wait there.
                    Err(_) => {
                        self.accept_at = Some(Instant::now() + ACCEPT_PAUSE);
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn admit(&mut self, socket: OwnedFd, peer: Peer) {
        self.context.segment.pool().count(Counter::DoormanAccepts);
        let surplus: Option<fn() -> Error> = if !self.spares.are_complete() {
            Some(too_many)
        } else if self.is_over(peer) {
            Some(budget::refusal)
        } else {
            None
        };
        let patience =
            if surplus.is_some() { GRACE } else { self.context.config.auth.authentication_timeout.duration() };
        let deadline = Instant::now() + patience;
        let accepted_us = shm::clock::monotonic_us();
        let (preface, said) = (Preface::default(), Vec::new());
        let client = Client {
            socket,
            deadline,
            accepted_us,
            queued_us: 0,
            queued: false,
            preface,
            said,
            tls: false,
            peer,
            surplus,
        };
        // Where the kernel has no memory left to watch it, it is gone, and it alone.
        if let Ok(index) = self.keep(client) {
            self.attend(index, false);
        }
    }

    /// Takes the clients that workers have given up waiting for.
    fn take_parked(&mut self) {
        loop {
            self.spares.restock(&self.context.doorman);
            // A descriptor for which there is no room would be closed on its way, and its client lost.
            if !self.spares.make_room() {
                return;
            }
            let taken = pass::take_client(&self.context.parking.1);
            self.spares.restock(&self.context.doorman);
            let Ok(Some(Handed { socket, peer, accepted_us, agreed, said, .. })) = taken else { return };
            self.context.segment.pool().count(Counter::Parked);
            let waited = Duration::from_micros(shm::clock::monotonic_us().saturating_sub(accepted_us));
            let rest = self.context.config.auth.authentication_timeout.duration().saturating_sub(waited);
            let surplus: Option<fn() -> Error> = if !self.spares.are_complete() {
                Some(too_many)
            } else if self.is_over(peer) {
                Some(budget::refusal)
            } else {
                None
            };
            let client = Client {
                socket,
                deadline: Instant::now() + if surplus.is_some() { GRACE } else { rest },
                accepted_us,
                queued_us: 0,
                queued: false,
                preface: Preface::from_bytes(agreed),
                said,
                tls: false,
                peer,
                surplus,
            };
            if let Ok(index) = self.keep(client) {
                self.attend(index, false);
            }
        }
    }

    /// Whether one more from there is one too many.
    fn is_over(&self, peer: Peer) -> bool {
        self.context.config.auth.max_unauthenticated_per_address != 0
            && budget::is_over(self.context, peer, self.waiting_with(peer))
    }

    fn keep(&mut self, client: Client) -> io::Result<usize> {
        descriptor::set_nonblocking(&client.socket, true)?;
        let index = self.free.pop().unwrap_or_else(|| {
            self.clients.push(None);
            self.clients.len() - 1
        });
        let fd = client.socket.as_raw_fd();
        let token = Token(CLIENTS + index);
        if let Err(error) = self.poll.registry().register(&mut SourceFd(&fd), token, Interest::READABLE) {
            self.free.push(index);
            return Err(error);
        }
        self.deadlines.insert((client.deadline, index));
        if let Some(place) = self.clients.get_mut(index) {
            *place = Some(client);
        }
        self.publish();
        Ok(index)
    }

    /// Those who wait here, and a newcomer from `peer`.
    fn waiting_with(&self, peer: Peer) -> Waiting {
        let mut waiting = Waiting { same: 1 };
        for client in self.clients.iter().flatten().filter(|client| client.surplus.is_none()) {
            waiting.same += u32::from(match client.peer {
                Peer::Tcp(address) => budget::is_same(peer, Some(address.ip())),
                Peer::Unix => false,
            });
        }
        waiting
    }

    /// Something came from a client, or it has gone.
    fn attend(&mut self, index: usize, gone: bool) {
        let Some(client) = self.clients.get_mut(index).and_then(Option::as_mut) else { return };
        if client.queued {
            if gone {
                self.drop_client(index);
            }
            return;
        }
        let peer = client.peer;
        let has_tls = self.context.tls.is_some() && peer != Peer::Unix;
        match look(&client.socket, &mut client.preface, &mut client.said, has_tls, client.surplus) {
            Look::Wait if !gone => {}
            Look::Wait | Look::Gone => self.drop_client(index),
            Look::Cancel { process, key } => {
                cancel(self.context, peer, process, &key);
                self.drop_client(index);
            }
            Look::Refuse(error) => self.refuse(index, &error),
            Look::Startup { tls } => {
                client.tls = tls;
                match client.surplus {
                    Some(refusal) => self.refuse(index, &refusal()),
                    None => self.enqueue(index),
                }
            }
        }
    }

    fn enqueue(&mut self, index: usize) {
        let pool = self.context.segment.pool();
        if self.order.len() >= usize::try_from(self.context.config.pool.queue_limit).unwrap_or(usize::MAX) {
            match self.order.front() {
                Some(&first) if self.crowded => self.refuse(first, &too_many()),
                _ => return self.refuse(index, &too_many()),
            }
        }
        if let Some(client) = self.clients.get_mut(index).and_then(Option::as_mut) {
            client.queued = true;
            client.queued_us = shm::clock::monotonic_us();
            self.deadlines.remove(&(client.deadline, index));
            client.deadline = Instant::now() + self.context.config.pool.queue_timeout.duration();
            self.deadlines.insert((client.deadline, index));
            self.order.push_back(index);
            pool.count(Counter::Queued);
        }
        self.publish();
    }

    /// Whether clients on their way to a session hold as many workers as they may.
    fn places_are_taken(&self) -> bool {
        let connecting = self.context.segment.pool().gauge(SlotState::Connecting);
        self.context.config.unauthenticated_limit().is_some_and(|limit| connecting >= limit)
    }

    /// Who is next in line, unless it has to wait for others to end.
    fn next(&self) -> Option<usize> {
        if !self.crowded {
            return self.order.front().copied();
        }
        let newest = *self.order.back()?;
        let client = self.clients.get(newest)?.as_ref()?;
        let waited = Duration::from_micros(shm::clock::monotonic_us().saturating_sub(client.queued_us));
        (waited < FRESH || !self.places_are_taken()).then_some(newest)
    }

    /// In a crowd, ends one of those that hold a worker too long while others wait for one.
    fn relieve(&mut self) {
        if self.order.is_empty() || !self.crowded {
            self.relieve_at = None;
            return;
        }
        let now = Instant::now();
        if self.relieve_at.is_none_or(|at| at <= now) {
            let newcomers = u32::try_from(self.order.len()).unwrap_or(u32::MAX);
            budget::relieve(self.context, newcomers, 1);
            self.relieve_at = Some(now + RELIEF_PAUSE);
        }
    }

    /// Takes clients back who were sent over to a worker that has another client by now: nobody will fetch them, and
    /// only here does their wait end in time.
    fn take_back(&mut self) {
        if self.idle_workers() > 0 || !pass::is_unread(&self.context.queue.0).unwrap_or(false) {
            return;
        }
        self.spares.restock(&self.context.doorman);
        let mut back = Vec::new();
        // A descriptor for which there is no room would be closed on its way, and its client lost.
        while self.spares.make_room() {
            let taken = pass::take_client(&self.context.queue.1);
            self.spares.restock(&self.context.doorman);
            let Ok(Some(handed)) = taken else { break };
            back.push(handed);
        }
        // The first of them is the first in line again.
        for Handed { socket, peer, accepted_us, deadline_us, agreed, said } in back.into_iter().rev() {
            let now_us = shm::clock::monotonic_us();
            let deadline = Instant::now() + Duration::from_micros(deadline_us.saturating_sub(now_us));
            let (queued_us, queued, preface, surplus) = (now_us, true, Preface::from_bytes(agreed), None);
            let tls = preface.tls;
            let client = Client { socket, deadline, accepted_us, queued_us, queued, preface, said, tls, peer, surplus };
            if let Ok(index) = self.keep(client) {
                self.order.push_front(index);
            }
        }
        self.publish();
    }

    fn is_outdated(&self) -> bool {
        let slot = self.context.segment.slot(self.owner.slot);
        slot.configuration_generation() != self.context.segment.pool().configuration_generation()
    }

    /// Gives waiting clients to idle workers, one message each; the next when those were taken.
    fn hand_over(&mut self) {
        self.crowded = !self.order.is_empty() && (self.crowded || self.places_are_taken());
        if self.order.is_empty() || pass::is_unread(&self.context.queue.0).unwrap_or(true) {
            return;
        }
        let census = self.context.segment.census();
        let room = self.context.segment.pool().session_limit().saturating_sub(census.connecting + census.serving);
        for _ in 0..self.idle_workers().min(room) {
            let Some(index) = self.next() else { break };
            let Some(client) = self.clients.get(index).and_then(Option::as_ref) else { break };
            // The wait for a worker is not the client's: authentication_timeout stands still meanwhile.
            let now_us = shm::clock::monotonic_us();
            let waited_us = now_us.saturating_sub(client.queued_us);
            let accepted_us = client.accepted_us.saturating_add(waited_us);
            let rest_us = client.deadline.saturating_duration_since(Instant::now()).as_micros();
            let deadline_us = now_us.saturating_add(u64::try_from(rest_us).unwrap_or(0));
            let (agreed, said) = (client.preface.to_bytes(), &client.said[..]);
            let papers = Papers { accepted_us, deadline_us, agreed, said };
            if pass::hand_over(&self.context.queue.0, &client.socket, papers).is_err() {
                break;
            }
            self.context.segment.statistics().setup(SetupPhase::AcceptQueue).record(waited_us);
            self.drop_client(index);
            // In the classic model it is the postmaster who takes them.
            if self.context.config.pool.model == Model::ForkOnAccept {
                self.context.wake_postmaster();
            }
        }
    }

    /// Ends the waits whose time is over.
    fn end_waits(&mut self) {
        let now = Instant::now();
        while let Some((_, index)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            let Some(client) = self.clients.get(index).and_then(Option::as_ref) else {
                self.deadlines.pop_first();
                continue;
            };
            if let Some(refusal) = client.surplus {
                self.refuse(index, &refusal());
            } else if client.queued {
                self.context.segment.pool().count(Counter::QueueTimeouts);
                self.refuse(index, &too_many());
            } else {
                self.context.segment.pool().count(Counter::AuthenticationTimeouts);
                self.drop_client(index);
            }
        }
    }

    fn refuse(&mut self, index: usize, error: &Error) {
        self.context.segment.pool().count(Counter::Refused);
        if let Some(client) = self.clients.get(index).and_then(Option::as_ref) {
            client.tell(error);
        }
        self.drop_client(index);
    }

    /// Closes our end; a connection that was handed over goes on with the worker.
    fn drop_client(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index).and_then(Option::take) else { return };
        self.deadlines.remove(&(client.deadline, index));
        self.free.push(index);
        // The worker's copy would keep the registration alive past our close (epoll(7), question 6).
        let fd = client.socket.as_raw_fd();
        let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
        if client.queued {
            // It is at one end, unless its client has gone.
            match (self.order.front(), self.order.back()) {
                (Some(first), _) if *first == index => drop(self.order.pop_front()),
                (_, Some(last)) if *last == index => drop(self.order.pop_back()),
                _ => self.order.retain(|other| *other != index),
            }
        }
        self.publish();
    }

    fn publish(&self) {
        let count = |clients: usize| u32::try_from(clients).unwrap_or(u32::MAX);
        let pool = self.context.segment.pool();
        pool.set_queued(count(self.order.len()));
        // Each has a deadline.
        pool.set_parked(count(self.deadlines.len().saturating_sub(self.order.len())));
    }

    /// The server ends, or somebody has ended the doorman alone: so do all waits.
    fn close(&mut self) {
        let error = match self.context.segment.pool().shutdown() {
            ShutdownMode::Running => {
                Error::new(Condition::AdminShutdown, "terminating connection due to administrator command")
            }
            _ => Error::new(Condition::CannotConnectNow, "the database system is shutting down"),
        };
        self.clients.iter().flatten().for_each(|client| client.tell(&error));
    }
}

/// Tells a client why it is refused, as far as its socket takes that at once. What it has sent is read before: a close
/// with unread bytes resets the connection, and some clients then never show what they were told.
pub fn tell(client: &OwnedFd, error: &Error) {
    let mut unread = [0; 4096];
    for _ in 0..4 {
        match recv(client.as_raw_fd(), &mut unread, MsgFlags::MSG_DONTWAIT) {
            Ok(count) if count == unread.len() => {}
            _ => break,
        }
    }
    let mut bytes = Vec::new();
    Encoder::new(&mut bytes).error_response(Severity::Fatal, error);
    let _ = send(client.as_raw_fd(), &bytes, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT);
}

fn too_many() -> Error {
    Error::new(Condition::TooManyConnections, "sorry, too many clients already")
}
