//! One client, from accept to the end of its connection.
//!
//! Order: start-up packet, access rules and authentication, role and database, then one send for everything up
//! to the first ReadyForQuery. One deadline covers all of it.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use shm::{ClientAddress, Counter, Phase, SessionIdentity, SetupPhase, ShutdownMode, SlotState};

use super::authentication::authenticate;
use super::budget::{self, Waiting};
use super::cancel::cancel;
use super::context::Context;
use super::engine::WarmEngine;
use super::idle::Accepted;
use super::names;
use super::presence::Presence;
use super::startup::{self, Failure, Opening, Request};
use super::transport::Transport;
use crate::auth::{self, Database, Role};
use crate::error::{Condition, Error};
use crate::protocol::{Encoder, Severity};
use crate::session::End;
use crate::settings::{Settings, Source};
use crate::system::listener::Peer;
use crate::system::signal;

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
    Accepted { client, peer, accepted_us }: Accepted,
    engine_us: u64,
) -> Served {
    let waited = Duration::from_micros(shm::clock::monotonic_us().saturating_sub(accepted_us));
    let now = Instant::now();
    let connection = Connection {
        context,
        presence: *presence,
        engine,
        transport: Transport::new(client),
        peer,
        accepted: now.checked_sub(waited).unwrap_or(now),
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
    accepted: Instant,
    accepted_us: u64,
    phase_began: Instant,
    engine_us: u64,
}

impl Connection<'_> {
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
        drop(guard);
        served
    }

    /// Refuses a client that comes when too many are on the way to a session already. A cancel request is served
    /// all the same, if it comes at once.
    fn turn_away(&mut self) {
        // It no longer counts, or those who are being refused would keep others out.
        self.presence.slot().activity().clear();
        let deadline = Instant::now() + budget::GRACE;
        let presence = self.presence;
        let opening = startup::read(&mut self.transport, deadline, &mut move || presence.is_terminated());
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
        let request = match startup::read(&mut self.transport, deadline, &mut interrupted)? {
            Opening::Session(request) => request,
            Opening::Cancel { process, key } => {
                cancel(self.context, self.peer, process, &key);
                return Ok(None);
            }
        };
        names::set(&request.user, &request.database);
        self.finish_phase(SetupPhase::StartupPacket);
        if self.presence.is_terminated() {
            return Err(self.shutting_down().into());
        }
        slot.set_phase(Phase::Authenticating);
        if request.negotiate {
            // Before anything about authentication, as libpq expects it.
            let unknown: Vec<&str> = request.unknown_options.iter().map(String::as_str).collect();
            Encoder::new(self.transport.output()).negotiate_protocol_version(request.version, &unknown);
        }
        let directory = self.engine.directory(&self.context.config)?;
        let identity = authenticate(
            self.context,
            &*directory,
            self.peer,
            &request,
            &mut self.transport,
            deadline,
            &mut interrupted,
        )?;
        let database = directory.database(&request.database, identity.role.as_ref());
        let census = self.census(identity.role.as_ref(), database.as_ref())?;
        let role = auth::admit(&identity, &request.database, database.as_ref(), &census)?;
        let Some(database) = database else { return Err(Error::internal("admitted without a database").into()) };
        self.finish_phase(SetupPhase::Authentication);
        let settings = self.greet(&request, &role, &database)?;
        self.finish_phase(SetupPhase::Ready);
        self.context.segment.statistics().setup(SetupPhase::Total).record(elapsed_us(self.accepted));
        Ok(Some(settings))
    }

    /// Gathers the replies up to BackendKeyData; the session adds ParameterStatus and ReadyForQuery and sends.
    fn greet(
        &mut self,
        request: &Request,
        role: &Role,
        database: &Database,
    ) -> Result<crate::settings::Shared, Failure> {
        let settings = Arc::new(Mutex::new(self.settings(request, role)?));
        self.engine.begin_session(role, database, &settings, &request.settings)?;
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
        self.presence.go(SlotState::Connecting, SlotState::Serving);
        self.context.segment.pool().set_recent_database(database.oid);
        self.context.segment.pool().count(Counter::Sessions);
        if self.context.config.log.connections {
            log::info!("session of {} in {} began", role.name, database.name);
        }
    }

    fn settings(&self, request: &Request, role: &Role) -> Result<Settings, Error> {
        let mut settings = Settings::new();
        if self.engine.is_relay() {
            return Ok(settings);
        }
        for (name, value) in self.context.config.session.iter() {
            settings.set_default(name, &value.to_string(), Source::Config)?;
        }
        let is_superuser = if role.superuser { "on" } else { "off" };
        settings.set_default("is_superuser", is_superuser, Source::Internal)?;
        settings.set_default("session_authorization", &role.name, Source::Internal)?;
        for (name, value) in &request.settings {
            settings.set_default(name, value, Source::Startup)?;
        }
        Ok(settings)
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
        let error = match failure {
            Failure::Refused(error) => {
                if matches!(
                    error.condition(),
                    Condition::InvalidPassword | Condition::InvalidAuthorizationSpecification
                ) {
                    pool.count(Counter::AuthenticationFailures);
                }
                error
            }
            Failure::TimedOut => {
                pool.count(Counter::AuthenticationTimeouts);
                log::debug!("a client did not come as far as a session within authentication_timeout");
                // PostgreSQL says nothing to somebody who has said nothing.
                if self.presence.slot().phase() != Phase::Authenticating {
                    return;
                }
                Error::new(Condition::QueryCanceled, "canceling authentication due to timeout")
            }
            Failure::Gone if self.presence.is_terminated() => self.shutting_down(),
            Failure::Gone => return,
            Failure::Io(error) => {
                log::debug!("a client's connection failed before its session: {error}");
                return;
            }
        };
        log::debug!("client refused: {error}");
        Encoder::new(self.transport.output()).error_response(Severity::Fatal, &error);
        // It is told if it listens; the connection ends either way.
        let _ = self.transport.send(&mut || true);
    }

    /// Why a process that was told to end takes no client.
    fn shutting_down(&self) -> Error {
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
            End::Terminate | End::Eof if self.context.config.log.connections => log::info!("session ended: {end:?}"),
            End::Terminate | End::Eof => {}
            End::Terminated | End::Timeout(_) => log::info!("session ended: {end:?}"),
            End::Io(error) => log::debug!("session ended: {error}"),
            End::ProtocolViolation(error) => log::info!("session ended: {error}"),
            End::Failed(error) => log::error!("session ended: {error}"),
        }
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
