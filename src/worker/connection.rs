//! One client, from accept to the end of its connection.
//!
//! Order: start-up packet, access rules and authentication, role and database, then one send for everything up
//! to the first ReadyForQuery. One deadline covers all of it.

use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use shm::{
    ClientAddress, Counter, Interrupt, Owner, Phase, SessionIdentity, SetupPhase, ShutdownMode, SlotState, TlsIdentity,
};

use super::authentication::{Patience, authenticate};
use super::budget::{self, Waiting};
use super::cancel::cancel;
use super::context::Context;
use super::directory::Directory;
use super::engine::WarmEngine;
use super::idle::Accepted;
use super::names;
use super::preface::{Preface, Said};
use super::presence::Presence;
use super::settings;
use super::stages;
use super::startup::{self, Door, Failure, Opening, Request};
use super::tls::{Acceptor, Certificate};
use super::transport::Transport;
use crate::auth::scram::PassedKeys;
use crate::auth::{self, Database, Role};
use crate::config::Model;
use crate::error::{Condition, Error};
use crate::protocol::{Encoder, Severity};
use crate::relay::Applicant;
use crate::session::End;
use crate::system::listener::Peer;
use crate::system::pass::{self, Papers};
use crate::system::signal;

/// A client that has not said enough holds a worker for so long where no other is idle.
const PARK_SOON: Duration = Duration::from_millis(10);
/// Between two attempts to give one to the doorman.
const PARK_AGAIN: Duration = Duration::from_millis(50);

/// What a connection came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// No session: a cancel request, or a client that was refused.
    Nothing,
    /// A session, of which nothing is left.
    Session,
    /// A session that the engine could not forget: the process must serve no other.
    Unforgotten,
}

/// Serves one connection to its end.
///
/// `engine_us`: how long it has waited for the engine to be opened.
pub fn serve(
    context: &Context,
    presence: &Presence,
    engine: &mut WarmEngine,
    Accepted { client, peer, accepted_us, waited: said }: Accepted,
    engine_us: u64,
) -> Served {
    let waited = Duration::from_micros(shm::clock::monotonic_us().saturating_sub(accepted_us));
    let now = Instant::now();
    let mut transport = Transport::new(client);
    let preface = said.map(|(preface, said)| {
        transport.take_over(&said);
        preface
    });
    let connection = Connection {
        context,
        presence: *presence,
        engine,
        transport,
        peer,
        preface,
        accepted: now.checked_sub(waited).unwrap_or(now),
        came_us: accepted_us,
        accepted_us: shm::clock::wall_us(),
        phase_began: now,
        engine_us,
    };
    connection.run()
}

struct Connection<'a> {
    context: &'a Context,
    presence: Presence,
    engine: &'a mut WarmEngine,
    transport: Transport,
    peer: Peer,
    /// What was agreed with it where it has waited with the doorman, which has found that it has said enough.
    preface: Option<Preface>,
    accepted: Instant,
    /// The same on the monotonic clock, and when it is shown to have been.
    came_us: u64,
    accepted_us: u64,
    phase_began: Instant,
    engine_us: u64,
}

impl<'a> Connection<'a> {
    fn run(mut self) -> Served {
        // Dropped before the socket closes, so that a handler never meets a number that is someone else's.
        let guard = signal::guard_client(self.transport.as_fd());
        self.presence.slot().begin_session();
        self.presence.slot().activity().begin_connection(client_address(self.peer), self.accepted_us);
        if budget::is_over(self.context, self.peer, Waiting::default()) {
            self.turn_away();
            drop(guard);
            return Served::Nothing;
        }
        let served = match self.set_up() {
            Ok(Some(settings)) => {
                let log_from = self.context.config.log.min_duration.duration();
                let end = self.engine.serve(self.context, &mut self.transport, settings, &self.presence, log_from);
                self.log_end(&end);
                match self.engine.end_session() {
                    Ok(()) => Served::Session,
                    Err(error) => {
                        log::warn!("the engine could not forget a session, and goes with its process: {error}");
                        Served::Unforgotten
                    }
                }
            }
            Ok(None) => Served::Nothing,
            Err(failure) => {
                self.refuse(failure);
                Served::Nothing
            }
        };
        self.transport.close();
        drop(guard);
        served
    }

    /// Refuses a client that comes when too many are on the way to a session already. A cancel request is served
    /// all the same, if it comes at once.
    fn turn_away(&mut self) {
        // It no longer counts, or those who are being refused would keep others out.
        self.presence.slot().activity().clear();
        // Whoever asks for TLS is told at once, as by a PostgreSQL that cannot fork.
        let is_tls = |said: Result<Said<'_>, Error>| matches!(said, Ok(Said::TlsRequest(_) | Said::Hello { .. }));
        let deadline = Instant::now() + budget::GRACE;
        let presence = self.presence;
        let preface = self.preface.unwrap_or_default();
        let door = Door { tls: None, owner: self.owner(), preface, park_at: None, deadline };
        let mut interrupted = move || presence.is_terminated();
        let has_tls = self.offered_tls().is_some();
        let _ = self
            .transport
            .unread()
            .is_empty()
            .then(|| startup::receive(&mut self.transport, deadline, &mut interrupted));
        if has_tls && is_tls(preface.hear(self.transport.unread(), has_tls)) {
            self.context.segment.pool().count(Counter::Refused);
            return self.refuse(budget::refusal().into());
        }
        let opening = startup::read(&mut self.transport, &door, &mut |_| (), &mut interrupted);
        if let Ok(Opening::Cancel { process, key }) = opening {
            return cancel(self.context, self.peer, process, &key);
        }
        self.context.segment.pool().count(Counter::Refused);
        self.refuse(budget::refusal().into());
    }

    /// Everything before the session loop. None for a connection that wants no session.
    fn set_up(&mut self) -> Result<Option<crate::settings::Shared>, Failure> {
        let slot = self.presence.slot();
        let deadline = self.accepted + self.context.config.auth.authentication_timeout.duration();
        let presence = self.presence;
        let mut interrupted = move || presence.is_terminated();
        slot.set_phase(Phase::Startup);
        budget::relieve(self.context, 0, u32::MAX);
        if self.context.config.log.connections.receipt && self.preface.is_none() {
            stages::received(self.peer);
        }
        let Some(request) = self.opening(deadline, &mut interrupted)? else { return Ok(None) };
        names::set(&request.user, &request.database);
        self.finish_phase(SetupPhase::StartupPacket);
        if self.presence.is_terminated() {
            return Err(self.shutting_down().into());
        }
        slot.set_phase(Phase::Authenticating);
        let asked = self.preface.is_some_and(|preface| preface.asked);
        if request.negotiate && !asked {
            // Before anything about authentication, as libpq expects it.
            let unknown: Vec<&str> = request.unknown_options.iter().map(String::as_str).collect();
            Encoder::new(self.transport.output()).negotiate_protocol_version(request.version, &unknown);
        }
        let applicant = Applicant { role: &request.user, database: &request.database, deadline };
        let directory = match self.engine.directory(self.context, applicant, &mut interrupted) {
            Err(_) if self.presence.is_terminated() => return Err(self.shutting_down().into()),
            Err(_) if Instant::now() >= deadline => return Err(Failure::TimedOut),
            directory => directory?,
        };
        let park_at = self.park_at(self.phase_began).filter(|_| !asked);
        let mut patience = Patience { asked, park_at, deadline };
        let identity = loop {
            let (context, peer) = (self.context, self.peer);
            match authenticate(context, &*directory, peer, &request, &mut self.transport, patience, &mut interrupted) {
                Err(Failure::Slow) => {}
                result => break result?,
            }
            let said = [&request.packet, self.transport.unread()].concat();
            if self.park(Preface { asked: true, ..Preface::default() }, &said) {
                return Ok(None);
            }
            patience = Patience { asked: true, park_at: Some(Instant::now() + PARK_AGAIN), deadline };
        };
        if self.context.config.log.connections.authentication {
            stages::authenticated(&identity);
        }
        let database = directory.database(&request.database, identity.role.as_ref());
        let census = self.census(identity.role.as_ref(), database.as_ref())?;
        let role = auth::admit(&identity, &request.database, database.as_ref(), &census)?;
        let Some(database) = database else { return Err(Error::internal("admitted without a database").into()) };
        let authentication_us = elapsed_us(self.phase_began);
        self.finish_phase(SetupPhase::Authentication);
        let settings = self.greet(&request, &role, &database, &*directory, identity.keys)?;
        self.finish_phase(SetupPhase::Ready);
        self.context.segment.statistics().setup(SetupPhase::Total).record(elapsed_us(self.accepted));
        if self.context.config.log.connections.setup_durations {
            stages::ready(elapsed_us(self.accepted), authentication_us);
        }
        Ok(Some(settings))
    }

    /// What the client wants, if it is a session. One that has not said enough goes to the doorman.
    fn opening(
        &mut self,
        deadline: Instant,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Box<Request>>, Failure> {
        let context = self.context;
        let tls = self.offered_tls();
        // One that comes from there has said enough.
        let mut park_at = self.park_at(self.accepted).filter(|_| self.preface.is_none());
        // That it was asked for something already is for its authentication.
        let mut preface = Preface { asked: false, ..self.preface.unwrap_or_default() };
        loop {
            let door = Door { tls, owner: self.owner(), preface, park_at, deadline };
            let slot = self.presence.slot();
            let statistics = context.segment.statistics();
            let phase_began = &mut self.phase_began;
            let mut on_tls = |begins: bool| {
                let ended = if begins { SetupPhase::StartupPacket } else { SetupPhase::Tls };
                slot.set_phase(if begins { Phase::Tls } else { Phase::Startup });
                statistics.setup(ended).record(elapsed_us(*phase_began));
                *phase_began = Instant::now();
            };
            match startup::read(&mut self.transport, &door, &mut on_tls, interrupted)? {
                Opening::Session(request) => return Ok(Some(request)),
                Opening::Cancel { process, key } => {
                    cancel(context, self.peer, process, &key);
                    return Ok(None);
                }
                Opening::Slow(agreed) => {
                    if self.park(agreed, self.transport.unread()) {
                        return Ok(None);
                    }
                    preface = agreed;
                    park_at = Some(Instant::now() + PARK_AGAIN);
                }
            }
        }
    }

    /// Gives the client to the doorman. False where that has a lot to do, or is not there.
    fn park(&self, agreed: Preface, said: &[u8]) -> bool {
        let papers = Papers { accepted_us: self.came_us, deadline_us: 0, agreed: agreed.to_bytes(), said };
        pass::hand_over(&self.context.parking.0, self.transport.as_fd(), papers).is_ok()
    }

    /// TLS, if it is configured; as in PostgreSQL not on Unix sockets.
    fn offered_tls(&self) -> Option<&'a Acceptor> {
        self.context.tls.as_ref().filter(|_| self.peer != Peer::Unix)
    }

    /// When the client goes to the doorman if it has not said enough: sooner where others wait, or nobody is left to take the next one.
    /// In the classic model a process has nobody else to serve.
    fn park_at(&self, since: Instant) -> Option<Instant> {
        let config = &self.context.config;
        let after = config.auth.park_after.nonzero().filter(|_| config.pool.model == Model::Prefork)?;
        let pool = self.context.segment.pool();
        let is_wanted = pool.gauge(SlotState::Idle) == 0 || pool.queued() > 0;
        Some(since + if is_wanted { after.min(PARK_SOON) } else { after })
    }

    fn owner(&self) -> Owner {
        self.context.segment.owner(self.presence.index())
    }

    /// Gathers the replies up to BackendKeyData; the session adds ParameterStatus and ReadyForQuery and sends.
    fn greet(
        &mut self,
        request: &Request,
        role: &Role,
        database: &Database,
        directory: &dyn Directory,
        keys: Option<Rc<PassedKeys>>,
    ) -> Result<crate::settings::Shared, Failure> {
        // Those of a session behind the relay are the upstream server's business.
        let (settings, warnings) = match self.engine.is_relay() {
            true => Default::default(),
            false => settings::at_start(self.context, directory, request, role, database)?,
        };
        let warns = settings.client_min_messages() != "error";
        let settings = Arc::new(Mutex::new(settings));
        self.engine.begin_session(role, database, &settings, &request.settings, keys)?;
        let engine_us = self.engine_us.saturating_add(elapsed_us(self.phase_began));
        self.context.segment.statistics().setup(SetupPhase::Engine).record(engine_us);
        self.phase_began = Instant::now();
        let mut key = [0; 32];
        let Some(key) = key.get_mut(..request.version.cancel_key_length()) else {
            return Err(Error::internal("cancel key length").into());
        };
        getrandom::fill(key).map_err(|error| Error::internal(format!("no random bytes: {error}")))?;
        self.context.segment.set_cancel_key(self.presence.index(), key);
        let process = std::process::id();
        let mut out = Encoder::new(self.transport.output());
        out.authentication_ok();
        for warning in &warnings {
            log::warn!("{warning}");
            if warns {
                out.notice_response(Severity::Warning, warning);
            }
        }
        out.backend_key_data(process, key);
        self.show(request, role, database);
        Ok(settings)
    }

    /// Makes the session visible to others.
    fn show(&self, request: &Request, role: &Role, database: &Database) {
        self.presence.slot().activity().begin_session(&SessionIdentity {
            database_oid: database.oid,
            database: database.name.clone(),
            user_oid: role.oid,
            user: role.name.clone(),
            application_name: request.application_name.clone(),
            client: client_address(self.peer),
            backend_start_us: self.accepted_us,
        });
        if let Some(tls) = self.transport.tls() {
            let client = tls.client_certificate.as_ref().map(|certificate| &certificate.contents);
            let text = |of: fn(&Certificate) -> &String| client.map(of).cloned().unwrap_or_default();
            self.presence.slot().activity().set_tls(&TlsIdentity {
                version: tls.version.to_owned(),
                cipher: tls.cipher.to_owned(),
                bits: tls.bits,
                client_subject: text(|client| &client.subject_line),
                client_serial: text(|client| &client.serial),
                client_issuer: text(|client| &client.issuer_line),
            });
        }
        self.presence.go(SlotState::Connecting, SlotState::Serving);
        self.context.segment.pool().set_recent_database(database.oid);
        self.context.segment.pool().count(Counter::Sessions);
        if self.context.config.log.connections.authorization {
            stages::authorized(&role.name, &database.name, &request.application_name, self.transport.tls());
        }
    }

    /// How full the server is, this connection included. Refuses where nobody has room.
    fn census(&self, role: Option<&Role>, database: Option<&Database>) -> Result<auth::Census, Error> {
        let pool = &self.context.config.pool;
        let mut busy = self.busy(pool.max_sessions - pool.reserved_sessions);
        if busy > pool.max_sessions - pool.reserved_sessions {
            busy -= budget::turned_away(self.context).min(busy);
        }
        if busy > pool.max_sessions {
            self.context.segment.pool().count(Counter::Refused);
            return Err(Error::new(Condition::TooManyConnections, "sorry, too many clients already"));
        }
        let mut census =
            auth::Census { reserved: busy > pool.max_sessions - pool.reserved_sessions, ..auth::Census::default() };
        let role_is_limited = role.is_some_and(|role| role.connection_limit >= 0);
        if role_is_limited || database.is_some_and(|database| database.connection_limit >= 0) {
            for (_, slot) in self.context.segment.slots().filter(|(_, slot)| slot.state() == SlotState::Serving) {
                let activity = slot.activity();
                census.of_role += u32::from(role.is_some_and(|role| role.oid == activity.user_oid()));
                census.of_database += u32::from(database.is_some_and(|base| base.oid == activity.database_oid()));
            }
            census.of_role += 1;
            census.of_database += 1;
        }
        Ok(census)
    }

    /// Workers that have a client. Counted only when they may be more than `limit`: looking at every slot costs a
    /// fresh process a page fault for each few of them.
    fn busy(&self, limit: u32) -> u32 {
        /// Gauges are short by one for each worker that was killed since the postmaster last counted.
        const DOUBT: u32 = 16;
        let gauge = self.context.segment.pool();
        let busy = gauge.gauge(SlotState::Connecting) + gauge.gauge(SlotState::Serving);
        if busy.saturating_add(DOUBT) <= limit {
            return busy;
        }
        let census = self.context.segment.census();
        census.connecting + census.serving
    }

    /// Tells the client why there is no session, where it may know.
    fn refuse(&mut self, failure: Failure) {
        let pool = self.context.segment.pool();
        let is_logged = matches!(failure, Failure::Unproved(_));
        let error = match failure {
            Failure::Refused(error) | Failure::Unproved(error) => {
                if matches!(
                    error.condition(),
                    Condition::InvalidPassword | Condition::InvalidAuthorizationSpecification
                ) {
                    pool.count(Counter::AuthenticationFailures);
                    self.hold_back();
                }
                error
            }
            Failure::TimedOut => {
                pool.count(Counter::AuthenticationTimeouts);
                log::info!(
                    "connection from {} ended: no session within authentication_timeout ({})",
                    shown(self.peer),
                    self.presence.slot().phase().name()
                );
                // PostgreSQL says nothing to somebody who has said nothing.
                if self.presence.slot().phase() != Phase::Authenticating {
                    return;
                }
                Error::new(Condition::QueryCanceled, "canceling authentication due to timeout")
            }
            Failure::Gone if self.presence.is_terminated() => self.shutting_down(),
            Failure::Gone | Failure::Slow => return,
            Failure::Tls(error) => {
                log::info!("could not accept SSL connection from {}: {error}", shown(self.peer));
                return;
            }
            Failure::Io(error) => {
                let (peer, phase) = (shown(self.peer), self.presence.slot().phase().name());
                log::info!("connection from {peer} failed before its session ({phase}): {error}");
                return;
            }
        };
        let phase = self.presence.slot().phase();
        if !is_logged {
            log::info!("connection from {} refused ({}): {error}", shown(self.peer), phase.name());
        }
        Encoder::new(self.transport.output()).error_response(Severity::Fatal, &error);
        // It is told if it listens; the connection ends either way.
        let _ = self.transport.send(&mut || true);
    }

    /// Lets a client that failed to authenticate wait for its answer, longer each time; not one on this machine.
    fn hold_back(&self) {
        let is_near = match self.peer {
            Peer::Unix => true,
            Peer::Tcp(address) => address.ip().to_canonical().is_loopback(),
        };
        let Some(delay) = self.context.config.auth.failure_delay.nonzero().filter(|_| !is_near) else { return };
        let now_us = shm::clock::monotonic_us();
        let failures = self.context.segment.pool().count_failed_login(budget::source(self.peer), now_us);
        let until = Instant::now() + delay_after(delay, failures);
        let latch = self.presence.slot().latch();
        loop {
            let seen = latch.value();
            let rest = until.saturating_duration_since(Instant::now());
            if rest.is_zero() || self.presence.is_terminated() {
                return;
            }
            latch.wait(seen, Some(rest));
        }
    }

    /// Why a process that was told to end takes no client.
    fn shutting_down(&self) -> Error {
        let slot = self.presence.slot();
        if slot.is_raised(Interrupt::Displace) && slot.terminate_requested() {
            return budget::displacement();
        }
        if self.context.segment.pool().shutdown() == ShutdownMode::Running {
            return Error::new(Condition::AdminShutdown, "terminating connection due to administrator command");
        }
        Error::new(Condition::CannotConnectNow, "the database system is shutting down")
    }

    fn finish_phase(&mut self, phase: SetupPhase) {
        self.context.segment.statistics().setup(phase).record(elapsed_us(self.phase_began));
        self.phase_began = Instant::now();
    }

    fn log_end(&self, end: &End) {
        match end {
            End::Terminate | End::Eof if self.context.config.log.connections.any() => {
                log::info!("session ended: {end:?}")
            }
            End::Terminate | End::Eof => {}
            End::Terminated | End::Timeout(_) => log::info!("session ended: {end:?}"),
            End::Io(error) => log::debug!("session ended: {error}"),
            End::ProtocolViolation(error) => log::info!("session ended: {error}"),
            End::Failed(error) => log::error!("session ended: {error}"),
        }
    }
}

/// How long the `failures`th failure in a minute is not told.
fn delay_after(delay: Duration, failures: u32) -> Duration {
    delay.saturating_mul(1 << failures.saturating_sub(1).min(4))
}

/// A peer for the log.
pub fn shown(peer: Peer) -> String {
    match peer {
        Peer::Unix => "a Unix socket".to_owned(),
        Peer::Tcp(address) => address.to_string(),
    }
}

fn client_address(peer: Peer) -> ClientAddress {
    match peer {
        Peer::Unix => ClientAddress::Unix,
        Peer::Tcp(address) => ClientAddress::Inet(address.ip(), address.port()),
    }
}

fn elapsed_us(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_is_told_later_up_to_a_limit() {
        let delays = [1, 2, 3, 5, 6, u32::MAX].map(|failures| delay_after(Duration::from_millis(250), failures));
        assert_eq!(delays.map(|delay| delay.as_millis()), [250, 500, 1000, 4000, 4000, 4000]);
        assert_eq!(delay_after(Duration::MAX, 9), Duration::MAX);
    }
}
