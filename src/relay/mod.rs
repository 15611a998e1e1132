//! The relay: sessions that run on connections to upstream servers, which workers lend one another.
//!
//! It does not fit behind [`crate::engine::Engine`], whose statements are planned here; its place is where a worker
//! hands a session over. What it needs of the front door (accept, TLS, access rules, authentication, cancel keys) is
//! the same as for the engines.
//!
//! - `lend`: getting a connection and giving it back; the rules are `shm::upstream`'s.
//! - `hosts`: which of several upstream servers a new connection leads to, and whether its role fits.
//! - `login`: connecting and logging in upstream. `upstream`: one connection, and what travels with it.
//! - `messages`: what a client's messages say. `order`: which reply belongs to which request (pure). `session`: carries the messages.
//! - `orders`: PAUSE and the like. `admin`: giving them from the shell.
//! - `parameters`, `statements`: what follows a client from connection to connection.
//! - `users`: who may come in, from a file. `auth_query`: the same, asked of an upstream server. `roles`: the same, asked of a
//!   PostgreSQL of the server's own. `ask`: one question over a connection that no session uses.

pub mod admin;
mod ask;
mod auth_query;
mod hosts;
mod lend;
mod login;
mod messages;
mod order;
pub mod orders;
mod parameters;
mod roles;
mod session;
mod statements;
mod upstream;
mod users;

use std::cell::RefCell;
use std::fs;
use std::rc::Rc;
use std::time::Instant;

use sha2::{Digest, Sha256};
use shm::{Owner, Segment, UpstreamLimits};

use self::auth_query::Found;
use self::hosts::Target;
use self::lend::{Lender, Pool, Spare};
use self::login::Credentials;
use self::session::Session;
use self::users::Users;
use crate::auth::password::{Stored, encrypt};
use crate::auth::scram::PassedKeys;
use crate::auth::{Database, Role, Roles};
use crate::config::{
    self, Address, Config, LOOKUP_CONNECTIONS, OWN_PORT, RelayDatabase, UserQuery, database_key, own_socket_directory,
};
use crate::error::{Condition, Error};
use crate::session::{Activity, End, Interrupts};
use crate::system::locker::Locker;
use crate::worker::directory::{Directory, Everyone};
use crate::worker::transport::Transport;

/// What a worker has of the relay before a client comes, and of the session that it serves.
pub struct Relay {
    segment: Segment,
    owner: Owner,
    users: Users,
    mock_secret: [u8; 32],
    /// The superuser of a PostgreSQL of the server's own, as whom roles are looked up.
    superuser: Option<String>,
    /// The user that was looked up for the client.
    found: Option<Found>,
    wanted: Option<Wanted>,
    buffers: RefCell<Spare>,
}

/// Where roles are looked up: a database that every cluster has.
const LOOK_UP_DATABASE: &str = "postgres";

/// For whom a client wants a session, and how long it may take to find out about them.
#[derive(Debug, Clone, Copy)]
pub struct Applicant<'a> {
    /// The role.
    pub role: &'a str,
    /// The database.
    pub database: &'a str,
    /// When the client is given up.
    pub deadline: Instant,
}

/// Roles of the users' file, or every role where there is none; databases of the settings. Who is a superuser and how
/// many connections a role may have is the upstream server's to say.
struct Listed {
    users: Users,
    /// The user that was looked up, if that was done and has found one.
    found: Option<Option<Found>>,
    mock_secret: [u8; 32],
    relay: config::Relay,
}

impl Roles for Listed {
    fn role(&self, name: &str) -> Option<Role> {
        let found = self.found.as_ref().map(|found| found.as_ref().filter(|found| found.name == name));
        let password = match (self.users.password(name), found) {
            (Some(password), _) => Some(password),
            (None, Some(found)) => found?.password.as_deref(),
            (None, None) if self.users.is_empty() => None,
            (None, None) => return None,
        };
        let role = Everyone.role(name)?;
        Some(Role { superuser: false, password: password.filter(|text| !text.is_empty()).map(stored), ..role })
    }
}

impl Directory for Listed {
    fn database(&self, name: &str, role: Option<&Role>) -> Option<Database> {
        self.relay.database(name)?;
        Everyone.database(name, role)
    }

    fn mock_secret(&self) -> [u8; 32] {
        self.mock_secret
    }

    fn keeps_keys(&self) -> bool {
        true
    }
}

/// A directory in which the console is a database.
struct WithConsole {
    others: Rc<dyn Directory>,
    relay: config::Relay,
    superuser: Option<String>,
}

impl Roles for WithConsole {
    fn role(&self, name: &str) -> Option<Role> {
        self.others.role(name)
    }
}

impl Directory for WithConsole {
    fn database(&self, name: &str, role: Option<&Role>) -> Option<Database> {
        if !self.relay.is_console(name) {
            return self.others.database(name, role);
        }
        let may = |role: &Role| {
            let listed = self.relay.admin_users.iter().chain(&self.relay.stats_users).any(|user| *user == role.name);
            listed || self.superuser.as_ref() == Some(&role.name)
        };
        let may_connect = role.is_some_and(may);
        Everyone.database(name, role).map(|database| Database { may_connect, ..database })
    }

    fn mock_secret(&self) -> [u8; 32] {
        self.others.mock_secret()
    }

    fn keeps_keys(&self) -> bool {
        self.others.keeps_keys()
    }
}

/// A password of the users' file as authentication expects it: plain text becomes a verifier.
fn stored(password: &str) -> String {
    if Stored::parse(password).is_some() {
        return password.to_owned();
    }
    // A fresh salt each time: nothing is compared but the proof that is made with it.
    encrypt("", password).ok().flatten().unwrap_or_default()
}

/// What a client has left by which its session can log in upstream.
struct Proof {
    found: Option<Found>,
    keys: Option<Rc<PassedKeys>>,
}

/// What a session was let in for.
#[derive(Debug)]
struct Wanted {
    role: String,
    database: String,
    startup: Vec<(String, String)>,
    keys: Option<Rc<PassedKeys>>,
}

impl Relay {
    /// Reads the users' file, where there is one.
    ///
    /// `mock_secret` is what keeps unknown users from being told apart; `superuser`: that of the server's own PostgreSQL.
    pub fn open(
        segment: Segment,
        owner: Owner,
        config: &Config,
        mock_secret: [u8; 32],
        superuser: Option<String>,
    ) -> Result<Self, String> {
        let users = match &config.relay.auth_file {
            Some(file) => {
                let path = config.path(file);
                let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
                Users::parse(&text).map_err(|error| format!("{}: {error}", path.display()))?
            }
            None => Users::default(),
        };
        let buffers = RefCell::default();
        Ok(Self { segment, owner, users, mock_secret, superuser, found: None, wanted: None, buffers })
    }

    /// The roles and databases that a client is let in by.
    pub fn directory(
        &mut self,
        config: &Config,
        lockers: &[Locker],
        applicant: Applicant<'_>,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Rc<dyn Directory>, Error> {
        self.forget();
        let Some(superuser) = &self.superuser else {
            let found = self.found_user(config, lockers, applicant, interrupted)?;
            self.found = found.clone().flatten();
            let (users, relay) = (self.users.clone(), config.relay.clone());
            let listed = Listed { users, found, mock_secret: self.mock_secret, relay };
            return Ok(self.with_console(Rc::new(listed), config));
        };
        let pool = self.look_up_pool(config, superuser, count(lockers))?;
        let Applicant { role, database, deadline } = applicant;
        let name_there = config.relay.database(database).and_then(|target| target.dbname.as_deref());
        let names = roles::Names { role, database, name_there: name_there.unwrap_or(database) };
        let lender = self.lender(&config.relay, lockers);
        let deadline = deadline.min(Instant::now() + config.relay.query_wait_timeout.duration());
        loop {
            let mut lent = lender.lease(&pool, deadline, interrupted).map_err(not_looked_up)?;
            let error = match roles::look_up(&mut lent, names, self.mock_secret, deadline, interrupted) {
                Ok(found) => {
                    lender.give(lent);
                    return Ok(self.with_console(Rc::new(found), config));
                }
                Err(error) => error,
            };
            lender.discard(lent);
            // PostgreSQL has gone meanwhile: it is asked again when it is there again.
            if !lend::may_pass(&error) || interrupted() || Instant::now() >= deadline {
                return Err(not_looked_up(error));
            }
        }
    }

    /// Looks up a user that the file does not list. `None`: users that want that database are not looked up.
    fn found_user(
        &self,
        config: &Config,
        lockers: &[Locker],
        applicant: Applicant<'_>,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Option<Found>>, Error> {
        let Applicant { role, database, deadline } = applicant;
        let Some(UserQuery { user, query, place }) = config.relay.user_query(database) else { return Ok(None) };
        // Nobody can be asked about users of a database that does not exist: none of them does.
        let Some((name, target)) = place.filter(|_| self.users.password(role).is_none()) else {
            return Ok(Some(None));
        };
        let mut pool = self.user_query_pool(config, user, name, target, count(lockers))?;
        let lender = self.lender(&config.relay, lockers);
        let wait = deadline.min(Instant::now() + config.relay.query_wait_timeout.duration());
        let mut look_up = |interrupted: &mut dyn FnMut() -> bool| {
            let mut lent = match lender.lease(&pool, wait, interrupted) {
                // The settings are ours, and the query does without.
                Err(error) if auth_query::is_of_settings(&error) => {
                    pool.credentials.settings = &[];
                    lender.lease(&pool, wait, interrupted)
                }
                leased => leased,
            }
            .map_err(auth_query::unreachable)?;
            Ok::<_, Error>(match auth_query::look_up(&mut lent, query, role, deadline, interrupted) {
                Ok(found) => {
                    lender.give(lent);
                    Ok(found)
                }
                Err(failure) => {
                    lender.discard(lent);
                    Err(failure)
                }
            })
        };
        let mut answer = look_up(interrupted)?;
        // A connection that was there already may have ended just now: once more.
        if matches!(answer, Err(ask::Failure::Lost(_))) && !interrupted() && Instant::now() < deadline {
            answer = look_up(interrupted)?;
        }
        answer.map(Some).map_err(|failure| auth_query::refusal(&failure))
    }

    /// Connections on which no session ever runs: its hash has more parts than those of sessions' pools.
    fn user_query_pool(
        &self,
        config: &Config,
        user: &str,
        name: &str,
        target: &RelayDatabase,
        places: u32,
    ) -> Result<Pool, Error> {
        let listed = self.users.password(user);
        let set =
            config.relay.auth_user_password.as_deref().filter(|_| config.relay.auth_user.as_deref() == Some(user));
        let credentials = Credentials {
            user: user.to_owned(),
            database: target.dbname.clone().unwrap_or_else(|| name.to_owned()),
            password: listed.or(set).map(str::to_owned),
            keys: None,
            settings: auth_query::SETTINGS,
        };
        let hosts = Target::of(target)?;
        let list = hosts.identity();
        let attrs = hosts.attrs.name();
        let parts = [&*list, attrs, &credentials.user, &credentials.database, name, "auth_query"];
        let shown = format!("{name} (auth_query) {user}");
        self.open_pool(&shown, &parts, LOOKUP_CONNECTIONS, places, hosts, credentials.clone())
    }

    fn lender<'a>(&'a self, config: &'a config::Relay, lockers: &'a [Locker]) -> Lender<'a> {
        Lender { segment: self.segment, me: self.owner, lockers, config, buffers: &self.buffers }
    }

    /// The same with the console among the databases.
    fn with_console(&self, others: Rc<dyn Directory>, config: &Config) -> Rc<dyn Directory> {
        Rc::new(WithConsole { others, relay: config.relay.clone(), superuser: self.superuser.clone() })
    }

    /// Connections that no session gets: its hash has one part more than those of sessions' pools.
    fn look_up_pool(&self, config: &Config, superuser: &str, places: u32) -> Result<Pool, Error> {
        let credentials = Credentials {
            user: superuser.to_owned(),
            database: LOOK_UP_DATABASE.to_owned(),
            password: None,
            keys: None,
            settings: roles::SETTINGS,
        };
        let address = Address { host: own_socket_directory(&config.data).display().to_string(), port: OWN_PORT };
        let parts = [&address.host, "", &credentials.user, &credentials.database, "", "look up"];
        self.open_pool(
            "(roles)",
            &parts,
            LOOKUP_CONNECTIONS,
            places,
            Target::single(address.clone()),
            credentials.clone(),
        )
    }

    /// Notes whom the next session is for.
    pub fn begin_session(
        &mut self,
        role: &str,
        database: &str,
        startup: &[(String, String)],
        keys: Option<Rc<PassedKeys>>,
    ) {
        let (role, database, startup) = (role.to_owned(), database.to_owned(), startup.to_vec());
        self.wanted = Some(Wanted { role, database, startup, keys });
    }

    /// Forgets the session, and what its client has left of its log-in.
    pub fn forget(&mut self) {
        self.found = None;
        self.wanted = None;
    }

    /// If the next session is for the console: whether it may give orders.
    pub fn console(&self, config: &config::Relay) -> Option<bool> {
        let wanted = self.wanted.as_ref().filter(|wanted| config.is_console(&wanted.database))?;
        Some(config.admin_users.contains(&wanted.role) || self.superuser.as_ref() == Some(&wanted.role))
    }

    /// Serves it to its end.
    pub fn serve(
        &mut self,
        config: &Config,
        lockers: &[Locker],
        transport: &mut Transport,
        interrupts: &mut dyn Interrupts,
        activity: &mut dyn Activity,
    ) -> End {
        let found = self.found.take();
        let Some(Wanted { role, database, startup, keys }) = self.wanted.take() else {
            return End::Failed(Error::internal("a session without a role"));
        };
        let proof = Proof { found, keys };
        let pool = match self.pool(config, &role, &database, proof, count(lockers)) {
            Ok(pool) => pool,
            Err(error) => {
                let mut out = crate::protocol::Encoder::new(transport.output());
                out.error_response(crate::protocol::Severity::Fatal, &error);
                let _ = transport.send(&mut || true);
                return End::Failed(error);
            }
        };
        let mode = config
            .relay
            .database(&database)
            .map_or(config.relay.pool_mode, |database| config.relay.pool_mode_of(database));
        let lender = self.lender(&config.relay, lockers);
        session::serve(Session { lender, pool, mode, startup, transport, interrupts, activity })
    }

    fn pool(&self, config: &Config, role: &str, database: &str, proof: Proof, places: u32) -> Result<Pool, Error> {
        if let Some(error) = orders::disabled(self.segment, database) {
            return Err(error);
        }
        let Some(target) = config.relay.database(database) else {
            let message = format!("database \"{database}\" does not exist");
            return Err(Error::new(Condition::InvalidCatalogName, message));
        };
        let user = target.user.clone().unwrap_or_else(|| role.to_owned());
        let found = proof.found.as_ref().filter(|found| found.name == user).and_then(|found| found.password.as_deref());
        let password = target.password.as_deref().or_else(|| self.users.password(&user)).or(found);
        let credentials = Credentials {
            database: target.dbname.clone().unwrap_or_else(|| database.to_owned()),
            password: password.map(str::to_owned),
            keys: proof.keys.filter(|_| user == role),
            user,
            settings: &[],
        };
        let hosts = Target::of(target)?;
        let list = hosts.identity();
        let parts = [&*list, hosts.attrs.name(), &credentials.user, &credentials.database, database];
        let name = format!("{database} {}", credentials.user);
        let limit = config.relay.pool_size_of(target);
        let looks_up = self.superuser.is_some() || config.relay.has_user_queries();
        // A reload may have it looked up where no place was meant for that.
        let places = if looks_up { places.saturating_sub(LOOKUP_CONNECTIONS).max(1) } else { places };
        let limits = limits_of(&config.relay, database, &credentials.user);
        let pool = self.open_pool(&name, &parts, limit, places, hosts, credentials.clone())?;
        self.segment.limit_upstream_pool(pool.index, &limits);
        Ok(pool)
    }

    /// The pool of those parts in the segment.
    fn open_pool(
        &self,
        name: &str,
        parts: &[&str],
        limit: u32,
        places: u32,
        target: Target,
        credentials: Credentials,
    ) -> Result<Pool, Error> {
        let identity = identity(parts);
        let [key, _] = identity.map(u64::from_ne_bytes);
        let index = self
            .segment
            .open_upstream_pool(key, name, limit)
            .ok_or_else(|| Error::new(Condition::ConfigurationLimitExceeded, "there are too many pools"))?;
        Ok(Pool { index, identity, target, credentials, places, is_own: self.superuser.is_some() })
    }
}

/// Places that have a locker: as many as the server was started with, whatever a reload says.
fn count(lockers: &[Locker]) -> u32 {
    u32::try_from(lockers.len()).unwrap_or(u32::MAX)
}

/// What a client may know of a role that could not be looked up: to wait, or that somebody has to look at the log.
fn not_looked_up(error: Error) -> Error {
    match error.condition() {
        Condition::CannotConnectNow | Condition::ConnectionFailure | Condition::QueryCanceled => error,
        _ => {
            log::error!("roles could not be looked up in PostgreSQL: {error}");
            Error::internal("roles could not be looked up; the server's log says why")
        }
    }
}

/// What limits the pools of a database and of a user.
fn limits_of(relay: &config::Relay, database: &str, user: &str) -> UpstreamLimits {
    UpstreamLimits {
        database: database_key(database),
        user: database_key(user),
        database_limit: relay.max_db_connections,
        user_limit: relay.max_user_connections,
        reserve: relay.reserve_pool_size,
        reserve_after_ms: u32::try_from(relay.reserve_pool_timeout.duration().as_millis()).unwrap_or(u32::MAX),
    }
}

/// A strong hash of what makes two pools the same.
fn identity(parts: &[&str]) -> [[u8; 8]; 2] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let digest = hash.finalize();
    let mut identity = [[0; 8]; 2];
    identity.as_flattened_mut().iter_mut().zip(digest.iter()).for_each(|(to, from)| *to = *from);
    identity
}
