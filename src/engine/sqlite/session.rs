//! What SQL functions, waits and views may know of the session that a process serves: who it is, its settings, its
//! clock, and what others want of it.
//!
//! Shared by reference with closures that SQLite holds, hence behind a lock of this process's own; it is never
//! contended. Holds no connection.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use shm::{Owner, OwnerCell, Segment, WaitEvent};

use super::interrupts::Interrupts;
use super::views;
use crate::error::{Condition, Error};
use crate::settings;
use crate::sql::plan::{Isolation, Modes};
use crate::sql::types::TextContext;
use crate::system::signal::{self, Notice};

/// Who a session is, after authentication.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// OID of the database.
    pub database_oid: u32,
    /// Its name.
    pub database: String,
    /// OID of the role.
    pub user_oid: u32,
    /// Its name: session_user.
    pub user: String,
    /// Whether it is a superuser.
    pub superuser: bool,
}

/// Has the postmaster deliver what was asked of other processes through their slots.
pub type Signal = Arc<dyn Fn() + Send + Sync>;

/// One session's surroundings.
pub struct Session {
    segment: Segment,
    owner: OwnerCell,
    signal: Signal,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    identity: Identity,
    settings: Option<settings::Shared>,
    deadline: Option<Instant>,
    /// When it was last looked whether the client is still there, on the monotonic clock.
    looked_us: u64,
    /// It is not.
    client_gone: bool,
    transaction_us: i64,
    statement_us: i64,
    /// Sequences that nextval() was called for, with what it gave; the newest last.
    sequences: Vec<(u32, i64)>,
}

impl Session {
    /// The surroundings of a process that serves nobody yet.
    pub fn new(segment: Segment, owner: Owner, signal: Signal) -> Self {
        Self { segment, owner: OwnerCell::new(owner), signal, state: Mutex::default() }
    }

    /// A session begins.
    pub fn begin(&self, identity: Identity, settings: settings::Shared) {
        *self.state.lock() = State { identity, settings: Some(settings), ..State::default() };
    }

    /// Whether a session is under way.
    pub fn has_begun(&self) -> bool {
        self.state.lock().settings.is_some()
    }

    /// It is over.
    pub fn end(&self) {
        let mut state = self.state.lock();
        state.settings = None;
        state.deadline = None;
    }

    /// Something was asked of other processes: they are to be told.
    pub fn signal_others(&self) {
        (self.signal)();
    }

    /// nextval() or setval() gave a value.
    pub fn note_sequence(&self, oid: u32, value: i64, drawn: bool) {
        let sequences = &mut self.state.lock().sequences;
        match sequences.iter().position(|(known, _)| *known == oid) {
            Some(at) => drop(sequences.remove(at)),
            None if !drawn => return,
            None => {}
        }
        sequences.push((oid, value));
    }

    /// What currval() gives.
    pub fn sequence_value(&self, oid: u32) -> Option<i64> {
        self.state.lock().sequences.iter().find(|(known, _)| *known == oid).map(|(_, value)| *value)
    }

    /// The sequence that lastval() is about.
    pub fn newest_sequence(&self) -> Option<u32> {
        self.state.lock().sequences.last().map(|(oid, _)| *oid)
    }

    /// DISCARD SEQUENCES.
    pub fn forget_sequences(&self) {
        self.state.lock().sequences.clear();
    }

    /// The segment.
    pub fn segment(&self) -> Segment {
        self.segment
    }

    /// This process.
    pub fn owner(&self) -> Owner {
        self.owner.get()
    }

    /// In a process that was forked with the session's surroundings made: it is `owner`.
    pub fn inherit(&self, owner: Owner) {
        self.owner.set(owner);
    }

    /// Who the session is now: the role that it has set, or session_user.
    pub fn identity(&self) -> Identity {
        let identity = self.authenticated();
        let (session, role) = self.with_settings((String::new(), None), |settings| {
            let (session, role) = settings.identity();
            (session.to_owned(), role.map(str::to_owned))
        });
        let current = role.unwrap_or(session);
        if current.is_empty() || current == identity.user {
            return identity;
        }
        // A role that was dropped meanwhile may nothing.
        let (user_oid, superuser) = views::role(&current).unwrap_or((0, false));
        Identity { user_oid, superuser, user: current, ..identity }
    }

    /// Who the client has proved to be.
    pub fn authenticated(&self) -> Identity {
        self.state.lock().identity.clone()
    }

    /// session_user.
    pub fn session_user(&self) -> String {
        let session = self.with_settings(String::new(), |settings| settings.identity().0.to_owned());
        if session.is_empty() { self.authenticated().user } else { session }
    }

    /// Its settings.
    pub fn settings(&self) -> Option<settings::Shared> {
        self.state.lock().settings.clone()
    }

    fn with_settings<T>(&self, default: T, read: impl FnOnce(&settings::Settings) -> T) -> T {
        match &self.state.lock().settings {
            Some(settings) => read(&settings.lock()),
            None => default,
        }
    }

    /// Changes whenever a setting does.
    pub fn settings_generation(&self) -> u64 {
        self.with_settings(0, settings::Settings::generation)
    }

    /// search_path with `"$user"` resolved.
    pub fn search_path(&self) -> Vec<String> {
        let user = self.identity().user;
        let path = self.with_settings(vec!["public".to_owned()], settings::Settings::search_path);
        path.into_iter().map(|schema| if schema == "$user" { user.clone() } else { schema }).collect()
    }

    /// What text input and output depend on, 'now' being the transaction's start.
    pub fn text_context(&self) -> TextContext {
        let now_us = self.transaction_timestamp();
        let context = self.with_settings(TextContext::default(), settings::Settings::text_context);
        TextContext { now_us: Some(now_us), ..context }
    }

    /// Whether commits are waited for.
    pub fn synchronous_commit(&self) -> bool {
        self.with_settings(true, settings::Settings::synchronous_commit)
    }

    /// Modes of a transaction that states none.
    pub fn default_modes(&self) -> Modes {
        let default = Modes { isolation: Some(Isolation::ReadCommitted), read_only: Some(false), deferrable: None };
        self.with_settings(default, |settings| {
            let isolation = match settings.default_transaction_isolation() {
                "serializable" => Isolation::Serializable,
                "repeatable read" => Isolation::RepeatableRead,
                "read uncommitted" => Isolation::ReadUncommitted,
                _ => Isolation::ReadCommitted,
            };
            Modes {
                isolation: Some(isolation),
                read_only: Some(settings.default_transaction_read_only()),
                deferrable: None,
            }
        })
    }

    /// When the statement under way is to end by statement_timeout.
    pub fn set_deadline(&self, deadline: Option<Instant>) {
        self.state.lock().deadline = deadline;
    }

    /// Notes when transaction and statement began.
    pub fn set_timestamps(&self, transaction_us: i64, statement_us: i64) {
        let mut state = self.state.lock();
        state.transaction_us = transaction_us;
        state.statement_us = statement_us;
    }

    /// Start of the transaction, microseconds since 2000-01-01 UTC; outside of one, now.
    pub fn transaction_timestamp(&self) -> i64 {
        match self.state.lock().transaction_us {
            0 => microseconds(SystemTime::now()),
            known => known,
        }
    }

    /// Start of the statement, likewise.
    pub fn statement_timestamp(&self) -> i64 {
        match self.state.lock().statement_us {
            0 => microseconds(SystemTime::now()),
            known => known,
        }
    }

    /// pg_sleep: on this process's latch, until the time is over or something interrupts.
    pub fn sleep(&self, seconds: f64) -> Result<(), Error> {
        let slot = self.segment.slot(self.owner().slot);
        let latch = slot.latch();
        let length = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
        let end = Instant::now().checked_add(length);
        loop {
            let seen = latch.value();
            if let Some(error) = self.check() {
                return Err(error);
            }
            let ends = [end, self.deadline()].into_iter().flatten().min();
            let left = ends.map(|end| end.saturating_duration_since(Instant::now()));
            let left = Some(left.unwrap_or(LOOK_AT_CLIENT_EVERY).min(LOOK_AT_CLIENT_EVERY));
            if end.is_some_and(|end| end <= Instant::now()) {
                return Ok(());
            }
            slot.set_wait_event(WaitEvent::Sleep);
            latch.wait(seen, left);
            slot.set_wait_event(WaitEvent::None);
        }
    }
}

impl State {
    /// Whether nobody waits for the statement's answer. What a dead client's statement would do is not wanted, and what
    /// its transaction holds others wait for.
    fn client_has_gone(&mut self, now_us: u64) -> bool {
        if !self.client_gone && now_us.saturating_sub(self.looked_us) >= LOOK_AT_CLIENT_EVERY.as_micros() as u64 {
            self.looked_us = now_us;
            self.client_gone = signal::client_has_gone();
        }
        self.client_gone
    }
}

impl Interrupts for Session {
    fn check(&self) -> Option<Error> {
        let slot = self.segment.slot(self.owner().slot);
        let now_us = shm::clock::monotonic_us();
        slot.beat(now_us);
        if signal::is_pending(Notice::Terminate) || slot.terminate_requested() {
            let message = "terminating connection due to administrator command";
            return Some(Error::new(Condition::AdminShutdown, message));
        }
        if slot.interrupted() && slot.take_cancel() {
            return Some(Error::new(Condition::QueryCanceled, "canceling statement due to user request"));
        }
        let mut state = self.state.lock();
        if state.client_has_gone(now_us) {
            return Some(Error::new(Condition::ConnectionFailure, "connection to client lost"));
        }
        let deadline = state.deadline?;
        (deadline <= Instant::now())
            .then(|| Error::new(Condition::QueryCanceled, "canceling statement due to statement timeout"))
    }

    fn check_after_wait(&self) -> Option<Error> {
        self.state.lock().looked_us = 0;
        self.check()
    }

    fn deadline(&self) -> Option<Instant> {
        self.state.lock().deadline
    }

    fn lock_timeout(&self) -> Option<Duration> {
        self.with_settings(None, settings::Settings::lock_timeout)
    }
}

/// How often a statement looks whether its client is still there.
const LOOK_AT_CLIENT_EVERY: Duration = Duration::from_millis(100);

/// Shared with closures and waits.
pub type SharedSession = Arc<Session>;

/// Seconds from the Unix epoch to PostgreSQL's, 2000-01-01.
const EPOCH_SECONDS: i64 = 946_684_800;

/// A time as timestamptz stores it.
pub fn microseconds(time: SystemTime) -> i64 {
    let since_unix = match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |us| -us),
    };
    since_unix.saturating_sub(EPOCH_SECONDS * 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shm::{Geometry, SlotKind};

    fn session() -> Session {
        let segment =
            Segment::on_heap(&Geometry { slots: 1, databases: 1, wal_index_bytes: 32_768 }).expect("a segment");
        let owner = segment.claim_slot(SlotKind::Worker).expect("a slot");
        Session::new(segment, owner, Arc::new(|| {}))
    }

    #[test]
    fn a_sleep_ends_by_cancel_and_by_deadline() {
        let session = session();
        session.set_deadline(Some(Instant::now() + Duration::from_millis(5)));
        let error = session.sleep(60.0).expect_err("cut short");
        assert_eq!(error.fields().message, "canceling statement due to statement timeout");
        session.set_deadline(None);
        let slot = session.segment.slot(session.owner().slot);
        assert!(slot.request_cancel(slot.begin_session()));
        let error = session.sleep(60.0).expect_err("cut short");
        assert_eq!(error.fields().message, "canceling statement due to user request");
        assert!(session.sleep(0.001).is_ok());
    }

    #[test]
    fn microseconds_count_from_the_year_2000() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(946_684_801);
        assert_eq!(microseconds(time), 1_000_000);
        assert_eq!(microseconds(SystemTime::UNIX_EPOCH), -946_684_800_000_000);
    }
}
