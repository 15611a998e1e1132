//! The one place of the worker that knows which engines there are.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use shm::Owner;

use super::context::Context;
use super::directory::{Directory, Everyone};
use super::presence::Presence;
use super::transport::Transport;
use crate::auth::scram::PassedKeys;
use crate::auth::{Database, Role, Roles};
use crate::config::{EngineKind, Model};
use crate::engine::Engine;
use crate::engine::cluster::{POSTGRES_DATABASE_OID, Snapshot};
use crate::engine::console::{Console, Order};
use crate::engine::null::Null;
use crate::engine::sqlite::access_rules::RuleFiles;
use crate::engine::sqlite::connection::Options;
use crate::engine::sqlite::engine::{Configuration, Sqlite};
use crate::engine::sqlite::roles;
use crate::engine::sqlite::session::Identity;
use crate::engine::sqlite::state::PoolFacts;
use crate::error::Error;
use crate::relay::orders::Means;
use crate::relay::{Applicant, Relay};
use crate::session::{self, End};
use crate::settings::{Shared, Stored};

/// SQL statements that a connection keeps prepared.
const PREPARED_STATEMENTS: usize = 256;

/// An engine that was opened before a client came.
pub enum WarmEngine {
    /// Canned rows.
    Null(Null),
    /// The embedded engine.
    Sqlite(Box<Sqlite>),
    /// Upstream servers.
    Relay(Box<Relay>),
}

/// Opens the engine that the configuration names. Called once in each worker, before it accepts.
pub fn open(context: &Context, owner: Owner) -> Result<WarmEngine, String> {
    match context.config.engine.kind {
        EngineKind::Null => Ok(WarmEngine::Null(Null::new())),
        EngineKind::Sqlite => open_sqlite(context, owner),
        EngineKind::Relay | EngineKind::Postgres => {
            let superuser = context.own_server.as_ref().map(|own| own.superuser.clone());
            Relay::open(context.segment, owner, &context.config, context.mock_secret, superuser)
                .map(|relay| WarmEngine::Relay(Box::new(relay)))
        }
    }
}

fn open_sqlite(context: &Context, owner: Owner) -> Result<WarmEngine, String> {
    let segment = context.segment;
    let wake = context.wake.try_clone().map_err(|error| format!("the postmaster's wake: {error}"))?;
    let signal = move || {
        if segment.pool().claim_wake() {
            wake.wake();
        }
    };
    let mut engine = Sqlite::new(segment, owner, Arc::new(signal), configuration(context));
    open_recent(&mut engine);
    Ok(WarmEngine::Sqlite(Box::new(engine)))
}

/// Opens the database that the next client will probably ask for. If it cannot be opened, that client is told.
fn open_recent(engine: &mut Sqlite) {
    let recent = match engine.recent_database() {
        0 => POSTGRES_DATABASE_OID,
        oid => oid,
    };
    if let Err(error) = engine.cluster().and_then(|_| engine.open(recent)).and_then(|()| engine.freshen()) {
        log::warn!("database {recent} could not be opened beforehand: {error}");
    }
}

fn configuration(context: &Context) -> Configuration {
    let (config, sqlite) = (&context.config, &context.config.engine.sqlite);
    Configuration {
        data_directory: config.data.clone(),
        options: Options {
            page_cache_bytes: sqlite.page_cache.bytes(),
            mmap_bytes: sqlite.mmap.bytes(),
            statements: PREPARED_STATEMENTS,
        },
        session_memory_bytes: sqlite.session_memory.nonzero(),
        checkpoint_bytes: sqlite.max_wal_size.bytes() / 2,
        writer_idle_timeout: sqlite.writer_idle_timeout.nonzero(),
        files: RuleFiles { hba: config.path(&config.auth.hba_file), ident: config.path(&config.auth.ident_file) },
        pool: PoolFacts {
            model: match config.pool.model {
                Model::Prefork => "prefork".to_owned(),
                Model::ForkOnAccept => "fork-on-accept".to_owned(),
            },
            min_spare: config.pool.min_spare,
            max_sessions: config.pool.max_sessions,
        },
    }
}

/// The embedded engine's roles and databases.
struct Catalogued {
    snapshot: Rc<Snapshot>,
    mock_secret: [u8; 32],
}

impl Roles for Catalogued {
    fn role(&self, name: &str) -> Option<Role> {
        self.snapshot.role(name)
    }
}

impl Directory for Catalogued {
    fn database(&self, name: &str, role: Option<&Role>) -> Option<Database> {
        let row = self.snapshot.database(name)?;
        Some(Database {
            oid: row.oid,
            name: row.name.clone(),
            allow_connections: row.allow_connections,
            connection_limit: row.connection_limit,
            may_connect: role.is_some_and(|role| self.snapshot.may_connect(role.oid, row)),
        })
    }

    fn mock_secret(&self) -> [u8; 32] {
        self.mock_secret
    }

    fn settings(&self, database: u32, role: u32) -> Vec<Stored> {
        self.snapshot.settings_of(database, role)
    }

    fn may_become(&self, role: u32, other: &str) -> Result<bool, Error> {
        roles::may_set_role(&self.snapshot, role, other)
    }
}

impl WarmEngine {
    /// In a template, before a process is forked from it: what is open is what the next client will want.
    pub fn freshen(&mut self) {
        if let Self::Sqlite(engine) = self {
            open_recent(engine);
        }
    }

    /// In a process forked from a template: the engine works for `owner` now.
    pub fn inherit(&mut self, owner: Owner) {
        if let Self::Sqlite(engine) = self {
            engine.inherit(owner);
        }
    }

    /// What a session leaves for processes forked later; see [`Self::learn`].
    pub fn take_hints(&mut self) -> Vec<Vec<u8>> {
        match self {
            Self::Null(_) | Self::Relay(_) => Vec::new(),
            Self::Sqlite(engine) => engine.take_hints(),
        }
    }

    /// In a template: takes up what a worker's session has left.
    pub fn learn(&mut self, hint: &[u8]) {
        if let Self::Sqlite(engine) = self {
            engine.learn(hint);
        }
    }

    /// The roles and databases that this client is let in by, read anew where they have changed.
    pub fn directory(
        &mut self,
        context: &Context,
        applicant: Applicant<'_>,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Rc<dyn Directory>, Error> {
        match self {
            Self::Null(_) => Ok(Rc::new(Everyone)),
            Self::Relay(relay) => relay.directory(&context.config, &context.lockers, applicant, interrupted),
            Self::Sqlite(engine) => {
                Ok(Rc::new(Catalogued { snapshot: engine.cluster()?, mock_secret: engine.mock_secret()? }))
            }
        }
    }

    /// Whether settings are the business of a server behind this one.
    pub fn is_relay(&self) -> bool {
        matches!(self, Self::Relay(_))
    }

    /// Makes the engine ready for a session of that role in that database.
    pub fn begin_session(
        &mut self,
        role: &Role,
        database: &Database,
        settings: &Shared,
        startup: &[(String, String)],
        keys: Option<Rc<PassedKeys>>,
    ) -> Result<(), Error> {
        match self {
            Self::Null(_) => Ok(()),
            Self::Relay(relay) => {
                relay.begin_session(&role.name, &database.name, startup, keys);
                Ok(())
            }
            Self::Sqlite(engine) => {
                let identity = Identity {
                    database_oid: database.oid,
                    database: database.name.clone(),
                    user_oid: role.oid,
                    user: role.name.clone(),
                    superuser: role.superuser,
                };
                engine.begin_session(identity, Arc::clone(settings))
            }
        }
    }

    /// Serves a session to its end. `log_from`: as [`session::serve`] takes it.
    pub fn serve(
        &mut self,
        context: &Context,
        transport: &mut Transport,
        settings: Shared,
        presence: &Presence,
        log_from: Option<Duration>,
    ) -> End {
        let (mut interrupts, mut activity) = (*presence, *presence);
        match self {
            Self::Null(engine) => session::serve(transport, engine, settings, &mut interrupts, &mut activity, log_from),
            Self::Relay(relay) => {
                let (config, lockers) = (&context.config, &context.lockers);
                if let Some(is_admin) = relay.console(&config.relay) {
                    let order = |order: &Order| {
                        let mut interrupts = *presence;
                        let signal_others = || context.wake_postmaster();
                        let (config, interrupts) = (&config.relay, &mut interrupts);
                        relay.order(order, &mut Means { config, lockers, interrupts, signal_others: &signal_others })
                    };
                    let mut console = Console::new(context.segment, config, &order, is_admin);
                    return session::serve(transport, &mut console, settings, &mut interrupts, &mut activity, log_from);
                }
                relay.serve(config, lockers, transport, &mut interrupts, &mut activity)
            }
            Self::Sqlite(engine) => {
                session::serve(transport, &mut **engine, settings, &mut interrupts, &mut activity, log_from)
            }
        }
    }

    /// Forgets the session. An engine that can't is thrown away with its process.
    pub fn end_session(&mut self) -> Result<(), Error> {
        match self {
            Self::Null(engine) => engine.reset(),
            Self::Relay(relay) => {
                relay.forget();
                Ok(())
            }
            Self::Sqlite(engine) => engine.reset(),
        }
    }
}
