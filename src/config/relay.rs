//! `[relay]`: the upstream servers and the pools of connections to them. Names of settings are PgBouncer's where it has
//! them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::postgres::{LOOKUP_CONNECTIONS, OWN_PORT};
use super::section::section;
use super::units::Span;

/// When a session gives its upstream connection back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PoolMode {
    /// At its end.
    Session,
    /// After each transaction.
    Transaction,
}

/// What becomes of a session of pool mode "transaction" that leaves something on its connection which another one would
/// find: LISTEN, advisory locks, temporary tables, cursors WITH HOLD, PREPARE, SET.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionState {
    /// It keeps the connection to its end.
    Pin,
    /// It is ended with an error.
    Refuse,
}

/// `[relay.databases.NAME]`: where the sessions of a database go. The name `*` stands for all that are not listed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelayDatabase {
    /// A host name, an address, or the directory of a Unix socket.
    #[serde(default)]
    pub host: String,
    /// Its port.
    #[serde(default = "default_port")]
    pub port: u16,
    /// The database's name there; not set: the same.
    pub dbname: Option<String>,
    /// The role there; not set: the session's own.
    pub user: Option<String>,
    /// The password of `user`.
    pub password: Option<String>,
    /// Overrides `relay.pool_mode`.
    pub pool_mode: Option<PoolMode>,
    /// Overrides `relay.default_pool_size`.
    pub pool_size: Option<u32>,
}

fn default_port() -> u16 {
    5432
}

section! {
    /// `[relay]`
    Relay / RelayPartial {
        /// When a session gives its upstream connection back.
        pool_mode: PoolMode = PoolMode::Session,
        /// Upstream connections of one pool, which is a database and a role.
        default_pool_size: u32 = 20,
        /// Upstream connections of all pools together.
        max_server_connections: u32 = 100,
        /// How long a session may wait for an upstream connection.
        query_wait_timeout: Span = Span::from_secs(120),
        /// How long connecting and logging in upstream may take.
        server_connect_timeout: Span = Span::from_secs(15),
        /// Upstream connections older than this are not lent again; 0 is never.
        server_lifetime: Span = Span::from_secs(3600),
        /// Upstream connections that nobody has used for this long are closed; 0 is never.
        server_idle_timeout: Span = Span::from_secs(600),
        /// Upstream connections of all pools of a database together; 0 is no limit.
        max_db_connections: u32 = 0,
        /// Upstream connections of all pools of a user together; 0 is no limit.
        max_user_connections: u32 = 0,
        /// Upstream connections that a pool may have beyond its size.
        reserve_pool_size: u32 = 0,
        /// How long a session has to wait before it may use one of those; 0 is for ever.
        reserve_pool_timeout: Span = Span::from_secs(5),
        /// What a connection that nobody has used for `server_check_delay` is asked before it is lent; nothing if empty.
        server_check_query: String = String::new(),
        /// See `server_check_query`.
        server_check_delay: Span = Span::from_secs(30),
        /// What makes an upstream connection as new after a session of pool mode "session".
        server_reset_query: String = "DISCARD ALL".to_owned(),
        /// Start-up parameters that are accepted and not passed on, in pool mode "transaction".
        ignore_startup_parameters: Vec<String> = Vec::new(),
        /// Prepared statements that an upstream connection keeps in pool mode "transaction".
        max_prepared_statements: u32 = 200,
        /// What becomes of a session of pool mode "transaction" that leaves something on its connection.
        session_state: SessionState = SessionState::Pin,
        /// The database that is no database but the console; none if it is empty.
        admin_database: String = "pgprefork".to_owned(),
        /// Who may look at the console's tables and give it orders.
        admin_users: Vec<String> = Vec::new(),
        /// Who may look at them.
        stats_users: Vec<String> = Vec::new(),
        /// Users and their passwords, as PgBouncer's userlist.txt.
        auth_file: Option<PathBuf> = None,
        /// Where the sessions of each database go.
        databases: BTreeMap<String, RelayDatabase> = BTreeMap::new(),
    }
}

/// A database's or a user's name as the segment has it: a hash, never 0.
pub fn database_key(name: &str) -> u64 {
    let digest = Sha256::digest(name);
    digest.iter().take(8).fold(0, |key, byte| key << 8 | u64::from(*byte)).max(1)
}

impl RelayPartial {
    /// Sends the sessions of all databases to a PostgreSQL of the server's own. What is not set fits what may come: in pool
    /// mode "session" as many connections as there may be sessions.
    pub(super) fn lead_to(&mut self, directory: &Path, max_sessions: u32) {
        let host = directory.display().to_string();
        let databases = self.databases.get_or_insert_default();
        databases.entry("*".to_owned()).or_insert_with(RelayDatabase::anywhere);
        for database in databases.values_mut().filter(|database| database.host.is_empty()) {
            database.host.clone_from(&host);
        }
        let most = shm::UPSTREAM_PLACES - LOOKUP_CONNECTIONS;
        let connections = *self.max_server_connections.get_or_insert(max_sessions.clamp(1, most));
        if self.pool_mode.is_none_or(|mode| mode == PoolMode::Session) {
            self.default_pool_size.get_or_insert(connections);
        }
    }
}

impl RelayDatabase {
    fn anywhere() -> Self {
        let port = default_port();
        Self { host: String::new(), port, dbname: None, user: None, password: None, pool_mode: None, pool_size: None }
    }
}

impl Default for Relay {
    fn default() -> Self {
        RelayPartial::default().finish()
    }
}

impl Relay {
    /// The database of that name, as clients call it.
    pub fn database(&self, name: &str) -> Option<&RelayDatabase> {
        self.databases.get(name).or_else(|| self.databases.get("*"))
    }

    /// Whether that name is the console's.
    pub fn is_console(&self, database: &str) -> bool {
        !self.admin_database.is_empty() && self.admin_database == database
    }

    /// When a session in that database gives its connection back.
    pub fn pool_mode_of(&self, database: &RelayDatabase) -> PoolMode {
        database.pool_mode.unwrap_or(self.pool_mode)
    }

    /// Upstream connections of one pool in that database.
    pub fn pool_size_of(&self, database: &RelayDatabase) -> u32 {
        database.pool_size.unwrap_or(self.default_pool_size)
    }

    /// Ranges, and what must be true between settings. `own`: where the socket of the server's own PostgreSQL is, if it has
    /// one.
    pub(super) fn validate(&self, own: Option<&Path>) -> Result<(), String> {
        if self.databases.is_empty() {
            return Err("engine.kind = \"relay\" needs a [relay.databases.NAME] with a host".to_owned());
        }
        if own.is_some() && self.auth_file.is_some() {
            return Err(
                "relay.auth_file is not for engine.kind = \"postgres\": its users are PostgreSQL's roles".to_owned()
            );
        }
        let most = shm::UPSTREAM_PLACES - if own.is_some() { LOOKUP_CONNECTIONS } else { 0 };
        if !(1..=most).contains(&self.max_server_connections) {
            return Err(format!("relay.max_server_connections must be between 1 and {most}"));
        }
        if self.reserve_pool_size > most {
            return Err(format!("relay.reserve_pool_size must be between 0 and {most}"));
        }
        // Their names travel with a connection, and the room for that is bounded.
        if !(1..=2000).contains(&self.max_prepared_statements) {
            return Err("relay.max_prepared_statements must be between 1 and 2000".to_owned());
        }
        for (name, database) in &self.databases {
            if database.host.is_empty() {
                return Err(format!("relay database \"{name}\" has no host"));
            }
            if own.is_some_and(|own| own.display().to_string() != database.host || database.port != OWN_PORT) {
                return Err(format!(
                    "relay database \"{name}\" has a host or a port: with engine.kind = \"postgres\" all databases are there"
                ));
            }
            if self.pool_size_of(database) == 0 {
                return Err(format!("the pool size of relay database \"{name}\" must be at least 1"));
            }
            if database.password.is_some() && database.user.is_none() {
                return Err(format!("relay database \"{name}\" has a password and no user"));
            }
        }
        Ok(())
    }
}
