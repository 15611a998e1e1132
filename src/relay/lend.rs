//! Getting an upstream connection for a session and giving it back: out of a locker, newly made, or closed.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use shm::{LockError, Owner, Phase, Segment, SlotKind, SlotState, UpstreamPlaceIndex, UpstreamPoolIndex};

use super::hosts::{self, Target};
use super::login::{self, Credentials};
use super::session::ask;
use super::upstream::{Buffers, Memory, Upstream};
use crate::config::Relay;
use crate::error::{Condition, Error};
use crate::system::fault;
use crate::system::locker::{LOCKER_BYTES, Locker};

/// How often is looked whether a PostgreSQL of the server's own is there: there is nothing to wait on.
const START_LOOK: Duration = Duration::from_millis(20);
/// How long its process for a connection that was closed may take to end.
const ENDING_TIME: Duration = Duration::from_secs(2);

/// Whether a failure to reach a PostgreSQL of the server's own is over once that has been started again.
pub fn may_pass(error: &Error) -> bool {
    use Condition::{AdminShutdown, CannotConnectNow, ConnectionFailure, CrashShutdown};
    matches!(error.condition(), AdminShutdown | CrashShutdown | CannotConnectNow | ConnectionFailure)
}

/// What a client is told that has cancelled its wait for a connection.
pub fn cancelled() -> Error {
    Error::new(Condition::QueryCanceled, "canceling statement due to user request")
}

/// One pool, as a session uses it.
#[derive(Debug, Clone)]
pub struct Pool {
    /// Its number in the segment.
    pub index: UpstreamPoolIndex,
    /// A strong hash of address, user and database: a connection that was made for another one is not used.
    pub identity: [[u8; 8]; 2],
    /// Where its connections lead.
    pub target: Target,
    /// As whom.
    pub credentials: Credentials,
    /// Of all places, counted from the first, how many it may use.
    pub places: u32,
    /// They lead to a PostgreSQL that this server keeps running: one that is not there yet is waited for.
    pub is_own: bool,
}

/// A connection that this process has, and the place that stands for it.
#[derive(Debug)]
pub struct Lent {
    place: UpstreamPlaceIndex,
    /// The connection.
    pub upstream: Upstream,
    /// It was lent before.
    is_used: bool,
}

/// Lends and takes back; one a process.
#[derive(Debug, Clone, Copy)]
pub struct Lender<'a> {
    /// Where the places are.
    pub segment: Segment,
    /// Who this process is.
    pub me: Owner,
    /// One locker a place.
    pub lockers: &'a [Locker],
    /// Settings.
    pub config: &'a Relay,
    /// This process's memory for connections.
    pub buffers: &'a RefCell<Spare>,
}

/// Memory that a process keeps between two connections.
#[derive(Debug, Default)]
pub struct Spare {
    /// For what comes out of a locker beside the connection.
    room: Vec<u8>,
    buffers: Buffers,
    /// The place that it has used last.
    place: Option<UpstreamPlaceIndex>,
}

impl Lender<'_> {
    /// A connection of the pool that is as new, or as the last transaction left it: idle, in no transaction.
    pub fn lease(&self, pool: &Pool, deadline: Instant, interrupted: &mut dyn FnMut() -> bool) -> Result<Lent, Error> {
        loop {
            let before = self.buffers.borrow().place;
            let leased =
                self.segment.lease_upstream(self.me, pool.index, pool.places, before, Some(deadline), interrupted);
            let place = leased.map_err(|error| match error {
                LockError::TimedOut => Error::new(Condition::ConnectionFailure, "query_wait_timeout"),
                LockError::Interrupted => cancelled(),
            })?;
            fault::point("upstream-leased");
            match self.open(pool, place, deadline, interrupted) {
                Ok(Some(mut lent)) => {
                    if self.is_good(&mut lent, interrupted) {
                        return Ok(lent);
                    }
                    self.discard(lent);
                    if interrupted() {
                        return Err(cancelled());
                    }
                }
                // It was too old, or the server has closed it: another one.
                Ok(None) => self.segment.discard_upstream(self.me, place),
                Err(error) => {
                    self.segment.discard_upstream(self.me, place);
                    return Err(error);
                }
            }
        }
    }

    /// Asks a connection that nobody has used for long whether it still works.
    fn is_good(&self, lent: &mut Lent, interrupted: &mut dyn FnMut() -> bool) -> bool {
        let query = &self.config.server_check_query;
        if query.is_empty() || !lent.is_used {
            return true;
        }
        let returned_us = self.segment.upstream_returned_us(lent.place);
        let idle = Duration::from_micros(shm::clock::monotonic_us().saturating_sub(returned_us));
        idle < self.config.server_check_delay.duration()
            || ask(lent, query, Instant::now() + self.config.server_connect_timeout.duration(), interrupted).is_ok()
    }

    fn open(
        &self,
        pool: &Pool,
        place: UpstreamPlaceIndex,
        deadline: Instant,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Lent>, Error> {
        let Some(locker) = self.lockers.get(place.0 as usize) else {
            return Err(Error::internal("a place without a locker"));
        };
        let taken = self
            .take(locker)
            .map_err(|error| Error::internal(format!("taking an upstream connection over: {error}")))?;
        if let Some((socket, memory)) = taken {
            fault::point("upstream-taken");
            let Some(memory) = memory else { return Ok(None) };
            let buffers = std::mem::take(&mut self.buffers.borrow_mut().buffers);
            let upstream = Upstream::resume(socket, memory, buffers);
            let is_usable = upstream.memory.pool == pool.identity
                && !self.is_old(place, &upstream)
                && !upstream.is_disturbed()
                && hosts::still_fits(self.segment, &pool.target, &upstream.memory);
            if is_usable {
                return Ok(Some(Lent { place, upstream, is_used: true }));
            }
            self.buffers.borrow_mut().buffers = upstream.close();
            return Ok(None);
        }
        let mut upstream = if pool.is_own {
            self.log_in(pool, deadline, interrupted)?
        } else {
            hosts::connect(self, pool, place, deadline, interrupted)?
        };
        upstream.memory.pool = pool.identity;
        self.segment.set_upstream_pid(place, upstream.memory.process);
        Ok(Some(Lent { place, upstream, is_used: false }))
    }

    /// Takes a connection out of a locker, with what is known of it if that can be read.
    fn take(&self, locker: &Locker) -> io::Result<Option<(OwnedFd, Option<Memory>)>> {
        let room = &mut self.buffers.borrow_mut().room;
        room.resize(LOCKER_BYTES, 0);
        let taken = locker.take(room)?;
        Ok(taken.map(|(socket, count)| (socket, Memory::decode(room.get(..count).unwrap_or_default()))))
    }

    /// Connects to a PostgreSQL of the server's own. While it is starting, or is being started again, it is waited for.
    fn log_in(&self, pool: &Pool, give_up: Instant, interrupted: &mut dyn FnMut() -> bool) -> Result<Upstream, Error> {
        let began = Instant::now();
        loop {
            let deadline = Instant::now() + self.config.server_connect_timeout.duration();
            let Some(address) = pool.target.addresses.first() else {
                return Err(Error::internal("a pool without a host"));
            };
            let error = match login::log_in(address, &pool.credentials, deadline, interrupted) {
                Ok(upstream) => return Ok(upstream),
                Err(failure) => failure.error,
            };
            // Of a role or a database with a limit, idle ones count as well.
            if error.condition() == Condition::TooManyConnections && began.elapsed() < ENDING_TIME {
                self.close_idle();
                std::thread::sleep(START_LOOK);
                continue;
            }
            if !may_pass(&error) {
                return Err(error);
            }
            // Once more when its keeper says that it is there: it would log each attempt before.
            loop {
                if interrupted() {
                    return Err(error);
                }
                if Instant::now() + START_LOOK >= give_up {
                    // Whoever has not proved anything yet need not know more.
                    log::warn!("a client waited in vain for PostgreSQL: {error}");
                    return Err(Error::new(Condition::CannotConnectNow, "the database system is starting up"));
                }
                std::thread::sleep(START_LOOK);
                if self.own_server_is_ready() {
                    break;
                }
            }
        }
    }

    fn own_server_is_ready(&self) -> bool {
        self.segment.slots().any(|(_, slot)| {
            slot.kind() == SlotKind::Keeper && slot.state() == SlotState::Serving && slot.phase() == Phase::Accepting
        })
    }

    /// The session keeps the connection to its end.
    pub fn pin(&self, lent: &Lent) {
        self.segment.pin_upstream(lent.place);
    }

    /// Closes the connections that nobody uses at the moment, of all pools.
    pub fn close_idle(&self) {
        (0..).map(UpstreamPlaceIndex).zip(self.lockers).for_each(|(index, _)| self.close_place(index));
    }

    /// The same for a database, or for all of them.
    pub fn close_idle_of(&self, database: Option<u64>) {
        self.segment.upstream_places_of(database).into_iter().for_each(|index| self.close_place(index));
    }

    fn close_place(&self, index: UpstreamPlaceIndex) {
        if self.segment.take_idle_upstream(self.me, index) {
            // The message's bytes beside the descriptor are cut off.
            drop(self.lockers.get(index.0 as usize).map(|locker| locker.take(&mut [0; 1])));
            self.segment.discard_upstream(self.me, index);
        }
    }

    /// Something was defined that new sessions must see: connections of before are not lent again.
    pub fn renew(&self) {
        self.segment.pool().renew_upstream(shm::clock::monotonic_us());
    }

    fn is_old(&self, place: UpstreamPlaceIndex, upstream: &Upstream) -> bool {
        let renewed_us = self.segment.pool().upstream_renewed_us().max(self.segment.upstream_place_renewed_us(place));
        if upstream.memory.connected_us <= renewed_us {
            return true;
        }
        let age_us = shm::clock::monotonic_us().saturating_sub(upstream.memory.connected_us);
        self.config.server_lifetime.nonzero().is_some_and(|life| Duration::from_micros(age_us) > life)
    }

    /// Gives a connection back on which nothing is under way and no transaction is open.
    pub fn give(&self, lent: Lent) {
        debug_assert!(lent.upstream.is_quiet());
        hosts::note(self.segment, &lent.upstream.memory);
        if self.is_old(lent.place, &lent.upstream) {
            return self.discard(lent);
        }
        let bytes = lent.upstream.memory.encode();
        let locker = self.lockers.get(lent.place.0 as usize);
        let is_put = bytes.len() <= LOCKER_BYTES
            && locker.is_some_and(|locker| locker.put(lent.upstream.as_fd(), &bytes).is_ok());
        fault::point("upstream-put");
        if is_put {
            // Closed here before the next one takes it out: it belongs to one process at a time.
            let place = self.close(lent);
            self.segment.give_upstream(self.me, place);
        } else {
            self.discard(lent);
        }
    }

    /// Closes a connection that nobody shall use any more.
    pub fn discard(&self, lent: Lent) {
        let place = self.close(lent);
        self.segment.discard_upstream(self.me, place);
    }

    fn close(&self, lent: Lent) -> UpstreamPlaceIndex {
        let mut spare = self.buffers.borrow_mut();
        spare.buffers = lent.upstream.close();
        spare.place = Some(lent.place);
        lent.place
    }
}
