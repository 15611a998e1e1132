//! The console's orders about databases. They stand in the segment, where every worker finds them: see
//! `shm::upstream`. An order that has to wait looks again and again, since there is nothing to wait on.

use std::time::Duration;

use shm::{Segment, SlotState, UpstreamOrder};

use super::Relay;
use super::lend::cancelled;
use crate::config::{self, database_key};
use crate::engine::console::Order;
use crate::error::{Condition, Error};
use crate::session::Interrupts;
use crate::system::locker::Locker;

/// How often is looked whether connections have come back.
const LOOK: Duration = Duration::from_millis(10);

/// What carrying an order out needs.
pub struct Means<'a> {
    /// Settings.
    pub config: &'a config::Relay,
    /// One locker a place.
    pub lockers: &'a [Locker],
    /// Of the session that gives the order.
    pub interrupts: &'a mut dyn Interrupts,
    /// Has the postmaster signal the sessions that were asked to end.
    pub signal_others: &'a dyn Fn(),
}

impl Relay {
    /// Carries an order out.
    pub fn order(&self, order: &Order, means: &mut Means<'_>) -> Result<(), Error> {
        use UpstreamOrder::{Disabled, Paused};
        let segment = self.segment;
        match order {
            Order::Pause(name) => {
                let key = key(means.config, "pause", name.as_deref())?;
                let was_paused = give(segment, key, Paused)?;
                if was_paused && name.is_none() {
                    return Err(refused("already suspended/paused".to_owned()));
                }
                self.drain(key, means).inspect_err(|_| {
                    if !was_paused {
                        segment.revoke_upstream(key, Paused);
                    }
                })
            }
            Order::Resume(name) => {
                let key = key(means.config, "resume", name.as_deref())?;
                if segment.revoke_upstream(key, Paused) {
                    return Ok(());
                }
                Err(refused(match name {
                    Some(name) => format!("database {name} is not paused"),
                    None => "pooler is not paused/suspended".to_owned(),
                }))
            }
            Order::Kill(name) => {
                let (name, key) = named(means.config, "kill", name.as_deref())?;
                give(segment, Some(key), Paused)?;
                end_sessions(segment, name);
                (means.signal_others)();
                self.drain(Some(key), means)
            }
            Order::Disable(name) => {
                let (_, key) = named(means.config, "disable", name.as_deref())?;
                give(segment, Some(key), Disabled).map(drop)
            }
            Order::Enable(name) => {
                let (_, key) = named(means.config, "enable", name.as_deref())?;
                segment.revoke_upstream(Some(key), Disabled);
                Ok(())
            }
            Order::Reconnect(name) => self.reconnect(name.as_deref(), means),
        }
    }

    /// Waits until all connections of a paused database are back and closed.
    fn drain(&self, key: Option<u64>, means: &mut Means<'_>) -> Result<(), Error> {
        loop {
            // Somebody else has resumed it.
            if !self.segment.is_upstream_ordered(key, UpstreamOrder::Paused) {
                return Ok(());
            }
            self.lender(means.config, means.lockers).close_idle_of(key);
            if self.segment.upstream_places_of(key).is_empty() {
                return Ok(());
            }
            if means.interrupts.terminate_requested() || means.interrupts.take_cancel() {
                return Err(cancelled());
            }
            std::thread::sleep(LOOK);
        }
    }

    fn reconnect(&self, name: Option<&str>, means: &Means<'_>) -> Result<(), Error> {
        let key = key(means.config, "reconnect", name)?;
        match key {
            None => self.lender(means.config, means.lockers).renew(),
            Some(key) => {
                if !self.segment.renew_upstream_of(key, shm::clock::monotonic_us()) {
                    return Err(no_room());
                }
            }
        }
        self.lender(means.config, means.lockers).close_idle_of(key);
        Ok(())
    }
}

/// Whether new clients of the database are refused: what they are told.
pub fn disabled(segment: Segment, database: &str) -> Option<Error> {
    // As PgBouncer says it.
    let message = || format!("database does not allow connections: {database}");
    segment
        .is_upstream_ordered(Some(database_key(database)), UpstreamOrder::Disabled)
        .then(|| Error::new(Condition::ProtocolViolation, message()))
}

/// The database's key in the segment; none for all.
fn key(config: &config::Relay, verb: &str, name: Option<&str>) -> Result<Option<u64>, Error> {
    let Some(name) = name else { return Ok(None) };
    if config.is_console(name) {
        return Err(refused(format!("cannot {verb} admin db: {name}")));
    }
    if config.database(name).is_none() {
        return Err(Error::new(Condition::InvalidCatalogName, format!("no such database: {name}")));
    }
    Ok(Some(database_key(name)))
}

/// The same for an order that is for one database only.
fn named<'n>(config: &config::Relay, verb: &str, name: Option<&'n str>) -> Result<(&'n str, u64), Error> {
    let key = key(config, verb, name)?;
    name.zip(key).ok_or_else(|| Error::new(Condition::SyntaxError, "a database is required"))
}

fn give(segment: Segment, key: Option<u64>, order: UpstreamOrder) -> Result<bool, Error> {
    segment.order_upstream(key, order).ok_or_else(no_room)
}

fn no_room() -> Error {
    Error::new(Condition::ConfigurationLimitExceeded, "there are orders for too many databases")
}

fn refused(message: String) -> Error {
    Error::new(Condition::ObjectNotInPrerequisiteState, message)
}

fn end_sessions(segment: Segment, database: &str) {
    for (_, slot) in segment.slots().filter(|(_, slot)| slot.state() == SlotState::Serving) {
        // Before the name is read: a session that comes afterwards is another one.
        let session = slot.session_generation();
        if slot.activity().read().is_some_and(|activity| activity.identity.database == database) {
            slot.request_terminate(session);
        }
    }
}
