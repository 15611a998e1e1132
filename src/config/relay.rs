//! `[relay]`: the upstream servers and the pools of connections to them. Names of settings are PgBouncer's where it has
//! them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::hosts::{LoadBalanceHosts, TargetSessionAttrs};
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
    /// Several of them, in the place of `host`: each with a port of its own, or with `port`.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Which servers fit.
    #[serde(default)]
    pub target_session_attrs: TargetSessionAttrs,
    /// Which of the hosts is tried first.
    #[serde(default)]
    pub load_balance_hosts: LoadBalanceHosts,
    /// The port.
    #[serde(default = "default_port")]
    pub port: u16,
    /// The database's name there; not set: the same.
    pub dbname: Option<String>,
    /// The role there; not set: the session's own.
    pub user: Option<String>,
    /// The password of `user`.
    pub password: Option<String>,
    /// Overrides `relay.auth_user`.
    pub auth_user: Option<String>,
    /// Overrides `relay.auth_query`.
    pub auth_query: Option<String>,
    /// Overrides `relay.auth_dbname`.
    pub auth_dbname: Option<String>,
    /// Overrides `relay.pool_mode`.
    pub pool_mode: Option<PoolMode>,
    /// Overrides `relay.default_pool_size`.
    pub pool_size: Option<u32>,
}

/// Hosts of one database.
const HOSTS_MOST: usize = 32;

fn default_port() -> u16 {
    5432
}

/// How a user is looked up that no file lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserQuery<'a> {
    /// As whom.
    pub user: &'a str,
    /// The statement.
    pub query: &'a str,
    /// The database's name, as clients call it, and where it is; `None`: there is no such database.
    pub place: Option<(&'a str, &'a RelayDatabase)>,
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
        /// How long a host that could not be reached is left alone while another one will do.
        server_login_retry: Span = Span::from_secs(15),
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
        /// The role upstream as whom users that the file does not list are looked up; not set: they are not.
        auth_user: Option<String> = None,
        /// The password of `auth_user`, where the file does not list that.
        auth_user_password: Option<String> = None,
        /// The statement that looks up a user, `$1`: its name, and its password or hash.
        auth_query: String = "SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END \
            FROM pg_authid WHERE rolname=$1 AND rolcanlogin".to_owned(),
        /// The database, as clients call it, in which users are looked up; not set: the one that the client wants.
        auth_dbname: Option<String> = None,
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
        for database in databases.values_mut().filter(|database| database.host.is_empty() && database.hosts.is_empty())
        {
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
        let (dbname, user, password, pool_mode, pool_size) = (None, None, None, None, None);
        let (auth_user, auth_query, auth_dbname) = (None, None, None);
        Self {
            host: String::new(),
            hosts: Vec::new(),
            target_session_attrs: TargetSessionAttrs::Any,
            load_balance_hosts: LoadBalanceHosts::Disable,
            port: default_port(),
            dbname,
            user,
            password,
            auth_user,
            auth_query,
            auth_dbname,
            pool_mode,
            pool_size,
        }
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

    /// How users that want that database are looked up; `None`: they are not.
    pub fn user_query<'a>(&'a self, database: &'a str) -> Option<UserQuery<'a>> {
        let wanted = if self.is_console(database) { None } else { self.database(database) };
        let own = |of: fn(&RelayDatabase) -> &Option<String>| wanted.and_then(|wanted| of(wanted).as_deref());
        let user = own(|wanted| &wanted.auth_user).or(self.auth_user.as_deref())?;
        let query = own(|wanted| &wanted.auth_query).unwrap_or(&self.auth_query);
        let named = own(|wanted| &wanted.auth_dbname).or(self.auth_dbname.as_deref());
        let (name, place) = match named {
            Some(name) => (name, self.database(name)),
            None => (database, wanted),
        };
        Some(UserQuery { user, query, place: place.map(|place| (name, place)) })
    }

    /// Whether users of any database are looked up.
    pub fn has_user_queries(&self) -> bool {
        self.auth_user.is_some() || self.databases.values().any(|database| database.auth_user.is_some())
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

    fn validate_user_queries(&self) -> Result<(), String> {
        if self.auth_user_password.is_some() && self.auth_user.is_none() {
            return Err("relay.auth_user_password is set and relay.auth_user is not".to_owned());
        }
        let named = self.databases.values().filter_map(|database| database.auth_dbname.as_ref());
        for name in named.chain(&self.auth_dbname) {
            if self.is_console(name) {
                return Err(format!("cannot use the reserved \"{name}\" database as an auth_dbname"));
            }
            if self.database(name).is_none() {
                return Err(format!("authentication database \"{name}\" is not configured"));
            }
        }
        Ok(())
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
        if own.is_some() && self.has_user_queries() {
            return Err(
                "relay.auth_user is not for engine.kind = \"postgres\": its users are PostgreSQL's roles".to_owned()
            );
        }
        self.validate_user_queries()?;
        let looks_up = own.is_some() || self.has_user_queries();
        let most = shm::UPSTREAM_PLACES - if looks_up { LOOKUP_CONNECTIONS } else { 0 };
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
            if !database.host.is_empty() && !database.hosts.is_empty() {
                return Err(format!("relay database \"{name}\" has host and hosts: set one of them"));
            }
            if database.hosts.len() > HOSTS_MOST {
                return Err(format!("relay database \"{name}\" has more than {HOSTS_MOST} hosts"));
            }
            database.addresses().map_err(|error| format!("relay database \"{name}\": {error}"))?;
            if database.host.is_empty() && database.hosts.is_empty() {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn relay(text: &str) -> Relay {
        toml::from_str::<RelayPartial>(text).unwrap().finish()
    }

    #[test]
    fn a_user_is_looked_up_where_the_database_says_or_else_where_all_are() {
        let relay = relay(
            "auth_user = 'a'\n[databases.shop]\nhost = 'h'\nauth_user = 'b'\nauth_query = 'q'\nauth_dbname = 'users'\n\
             [databases.users]\nhost = 'u'\n",
        );
        let found = |database: &'static str| {
            let query = relay.user_query(database).unwrap();
            (query.user, query.place.map(|(name, place)| (name, &*place.host)))
        };
        assert_eq!(found("shop"), ("b", Some(("users", "u"))));
        assert_eq!(relay.user_query("shop").unwrap().query, "q");
        assert_eq!(found("users"), ("a", Some(("users", "u"))));
        assert_eq!(found("nowhere"), ("a", None));
        assert_eq!(found("pgprefork"), ("a", None));
        assert!(relay.user_query("users").unwrap().query.contains("FROM pg_authid WHERE rolname=$1"));
        assert_eq!(relay.validate(None), Ok(()));
    }

    #[test]
    fn databases_for_looking_up_users_exist() {
        let complaint = |text: &str| relay(text).validate(None).unwrap_err();
        let shop = "[databases.shop]\nhost = 'h'\n";
        let nowhere = "authentication database \"nowhere\" is not configured";
        assert_eq!(complaint(&format!("auth_user = 'a'\nauth_dbname = 'nowhere'\n{shop}")), nowhere);
        assert_eq!(complaint(&format!("{shop}auth_user = 'a'\nauth_dbname = 'nowhere'\n")), nowhere);
        let console = "cannot use the reserved \"pgprefork\" database as an auth_dbname";
        assert_eq!(complaint(&format!("auth_dbname = 'pgprefork'\n{shop}")), console);
        let alone = "relay.auth_user_password is set and relay.auth_user is not";
        assert_eq!(complaint(&format!("auth_user_password = 'x'\n{shop}")), alone);
        let places = complaint(&format!("auth_user = 'a'\nmax_server_connections = 256\n{shop}"));
        assert!(places.contains("between 1 and 252"), "{places}");
        let own = relay(&format!("auth_user = 'a'\n{shop}")).validate(Some(Path::new("/own"))).unwrap_err();
        assert!(own.contains("its users are PostgreSQL's roles"), "{own}");
    }
}
