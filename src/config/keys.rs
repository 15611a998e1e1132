//! Every setting: name, type, default, range. The table of the design, in code.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::postgres::{OwnPostgres, OwnPostgresPartial, own_socket_directory};
use super::relay::{Relay, RelayPartial};
use super::section::section;
use super::stages::Stages;
use super::units::{ByteSize, Span, Threshold};

/// Everything that can be set, with a value for each.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The data directory; relative paths are relative to it.
    pub data: PathBuf,
    /// Where the server listens.
    pub listen: Listen,
    /// How many workers, and how they are recycled.
    pub pool: Pool,
    /// Before a session: who may come in, and how long that may take.
    pub auth: Auth,
    /// Encryption.
    pub tls: Tls,
    /// What answers SQL.
    pub engine: Engine,
    /// Upstream servers, where the engine is a relay to them or a PostgreSQL of the server's own.
    pub relay: Relay,
    /// Defaults of settings that a session can change.
    pub session: Session,
    /// The log.
    pub log: Log,
    /// The metrics exporter.
    pub metrics: Metrics,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ConfigPartial {
    listen: ListenPartial,
    pool: PoolPartial,
    auth: AuthPartial,
    tls: TlsPartial,
    engine: EnginePartial,
    relay: RelayPartial,
    session: BTreeMap<String, SessionDefault>,
    log: LogPartial,
    metrics: MetricsPartial,
}

impl ConfigPartial {
    pub(super) fn merge(&mut self, later: Self) {
        self.listen.merge(later.listen);
        self.pool.merge(later.pool);
        self.auth.merge(later.auth);
        self.tls.merge(later.tls);
        self.engine.merge(later.engine);
        self.relay.merge(later.relay);
        self.session.extend(later.session);
        self.log.merge(later.log);
        self.metrics.merge(later.metrics);
    }

    pub(super) fn finish(mut self, data: &Path) -> Config {
        let (engine, pool) = (self.engine.finish(), self.pool.finish());
        if engine.kind == EngineKind::Postgres {
            self.relay.lead_to(&own_socket_directory(data), pool.max_sessions);
        }
        Config {
            data: data.to_owned(),
            listen: self.listen.finish(),
            pool,
            auth: self.auth.finish(),
            tls: self.tls.finish(),
            engine,
            relay: self.relay.finish(),
            session: Session(self.session),
            log: self.log.finish(),
            metrics: self.metrics.finish(),
        }
    }
}

section! {
    /// `[listen]`
    Listen / ListenPartial {
        /// IP addresses to listen on; one that this machine does not have is passed over with a warning as
        /// long as another one works.
        addresses: Vec<IpAddr> = vec![IpAddr::from([127, 0, 0, 1]), IpAddr::from([0u16, 0, 0, 0, 0, 0, 0, 1])],
        /// TCP port, also part of the Unix sockets' names.
        port: u16 = 5432,
        /// Directories for Unix sockets.
        socket_directories: Vec<PathBuf> = vec![PathBuf::from("/tmp")],
        /// Connections the kernel queues; 0 is twice `pool.max_sessions`, at least 4096: a crowd must not fill it.
        backlog: u32 = 0,
        /// TCP_DEFER_ACCEPT: the kernel holds a connection back until its first byte.
        defer_accept: bool = false,
    }
}

/// How a client's process comes to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Model {
    /// Workers are forked before clients come and accept themselves.
    Prefork,
    /// The postmaster accepts and forks a process per client, as PostgreSQL does.
    ForkOnAccept,
}

/// What happens to the other sessions after a worker died of a memory fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnMemoryFault {
    /// All sessions end and the segment is made anew.
    Restart,
    /// Only that session ends, unless the segment's canaries are damaged.
    Isolate,
}

section! {
    /// `[pool]`
    Pool / PoolPartial {
        /// How a client's process comes to be.
        model: Model = Model::Prefork,
        /// Workers forked at start.
        start_workers: u32 = 8,
        /// Fewer idle workers than this, and more are forked.
        min_spare: u32 = 8,
        /// More idle workers than this, and some retire.
        max_spare: u32 = 40,
        /// Sessions at one time.
        max_sessions: u32 = 100,
        /// Slots in the segment, the ceiling of `max_sessions` for a reload; 0 is `max_sessions` and room
        /// for spare workers.
        slot_limit: u32 = 0,
        /// Of `max_sessions`, how many are kept for superusers.
        reserved_sessions: u32 = 3,
        /// Sessions that one process serves before it is replaced; 0 is no limit.
        sessions_per_worker: u32 = 1,
        /// Age at which an idle worker is replaced; 0 is never.
        worker_lifetime: Span = Span::default(),
        /// Private memory at which a worker is replaced after its session; 0 is no limit.
        worker_memory_limit: ByteSize = ByteSize::default(),
        /// A worker without a sign of life for so long is killed; 0 is never.
        hang_timeout: Span = Span::default(),
        /// A worker that was told to end, by a fast shutdown or pg_terminate_backend, and has not ended after this is
        /// killed, whatever it computes; 0 is never.
        terminate_timeout: Span = Span::from_secs(10),
        /// What happens to the other sessions after a memory fault.
        on_memory_fault: OnMemoryFault = OnMemoryFault::Restart,
        /// How long a client waits for a free worker before it is refused.
        queue_timeout: Span = Span::from_secs(10),
        /// How many clients may wait.
        queue_limit: u32 = 10_000,
    }
}

section! {
    /// `[auth]`
    Auth / AuthPartial {
        /// From accept to ReadyForQuery.
        authentication_timeout: Span = Span::from_secs(60),
        /// Access rules.
        hba_file: PathBuf = PathBuf::from("pg_hba.conf"),
        /// Maps of user names.
        ident_file: PathBuf = PathBuf::from("pg_ident.conf"),
        /// The keys of this server for Kerberos; not set: the system's keytab.
        krb_server_keyfile: Option<PathBuf> = None,
        /// A client that has not said enough to be served so long after it was accepted waits with the doorman instead
        /// of with a worker; 0 is never.
        park_after: Span = Span::from_millis(250),
        /// Workers that clients on their way to a session may hold before those who take longest are ended in favour of
        /// newcomers; not set: half of `pool.max_sessions`; 0 is no limit.
        max_unauthenticated: Option<u32> = None,
        /// The same, from one address, as a ceiling above which they are refused; 0 is none.
        max_unauthenticated_per_address: u32 = 0,
        /// How long a client waits to be told that its authentication failed; twice as long for each further failure from
        /// its address within a minute, up to 16 times. 0 is not at all, as for clients on this machine.
        failure_delay: Span = Span::from_millis(250),
    }
}

section! {
    /// `[tls]`
    Tls / TlsPartial {
        /// The server's certificate chain.
        cert: Option<PathBuf> = None,
        /// Its key.
        key: Option<PathBuf> = None,
        /// Who signs clients' certificates.
        client_ca: Option<PathBuf> = None,
        /// The oldest version that is spoken.
        min_version: TlsVersion = TlsVersion::V12,
    }
}

/// A version of TLS; older ones are not spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[serde(rename = "TLSv1.2", alias = "1.2")]
    V12,
    /// TLS 1.3.
    #[serde(rename = "TLSv1.3", alias = "1.3")]
    V13,
}

impl TlsVersion {
    /// PostgreSQL's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::V12 => "TLSv1.2",
            Self::V13 => "TLSv1.3",
        }
    }
}

/// What answers SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineKind {
    /// The embedded engine.
    Sqlite,
    /// Canned rows: the cost of the front door alone.
    Null,
    /// Upstream servers that speak PostgreSQL's protocol.
    Relay,
    /// The same, with a PostgreSQL that this server starts and keeps running.
    Postgres,
}

impl EngineKind {
    /// Whether sessions run on connections to a server behind this one.
    pub fn is_relay(self) -> bool {
        matches!(self, Self::Relay | Self::Postgres)
    }
}

/// `[engine]`
#[derive(Debug, Clone, PartialEq)]
pub struct Engine {
    /// What answers SQL.
    pub kind: EngineKind,
    /// The embedded engine's own settings.
    pub sqlite: Sqlite,
    /// Those of a PostgreSQL of the server's own.
    pub postgres: OwnPostgres,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct EnginePartial {
    kind: Option<EngineKind>,
    sqlite: SqlitePartial,
    postgres: OwnPostgresPartial,
}

impl EnginePartial {
    fn merge(&mut self, later: Self) {
        self.kind = later.kind.or(self.kind);
        self.sqlite.merge(later.sqlite);
        self.postgres.merge(later.postgres);
    }

    fn finish(self) -> Engine {
        Engine {
            kind: self.kind.unwrap_or(EngineKind::Sqlite),
            sqlite: self.sqlite.finish(),
            postgres: self.postgres.finish(),
        }
    }
}

section! {
    /// `[engine.sqlite]`
    Sqlite / SqlitePartial {
        /// Page cache of one worker.
        page_cache: ByteSize = ByteSize::from_bytes(8 << 20),
        /// How much of a database file is mapped; 0 reads it through the page cache only.
        mmap: ByteSize = ByteSize::default(),
        /// Memory that one session may take for its statements, prepared statements and cursors; beyond it, 53200.
        session_memory: ByteSize = ByteSize::from_bytes(256 << 20),
        /// Time between checkpoints.
        checkpoint_interval: Span = Span::from_secs(60),
        /// A WAL of this size asks for a checkpoint.
        max_wal_size: ByteSize = ByteSize::from_bytes(256 << 20),
        /// An idle transaction that keeps other writers waiting is ended after this (25P03); 0 is never.
        writer_idle_timeout: Span = Span::from_secs(10),
        /// A snapshot that holds up the checkpointer past `max_wal_size` is ended after this; 0 is never.
        snapshot_timeout: Span = Span::default(),
    }
}

/// `[session]`: defaults of settings that a session can change, by their PostgreSQL names. Whether a name is
/// known and its value allowed is checked by whoever owns those settings.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Session(BTreeMap<String, SessionDefault>);

impl Session {
    /// Names and values, in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &SessionDefault)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

/// A TOML value that stands for a setting's text.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged, expecting = "expected a string, a number or a boolean")]
pub enum SessionDefault {
    /// "text"
    Text(String),
    /// 4
    Integer(i64),
    /// 0.5
    Float(f64),
    /// true
    Boolean(bool),
}

impl fmt::Display for SessionDefault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number}"),
            Self::Boolean(true) => f.write_str("on"),
            Self::Boolean(false) => f.write_str("off"),
        }
    }
}

/// What is worth a line in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogLevel {
    /// What stops a session or more.
    Error,
    /// What somebody should look at.
    Warn,
    /// Starts, stops and changes.
    Info,
    /// For those who look for a fault.
    Debug,
    /// Everything.
    Trace,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one object a line.
    Json,
}

section! {
    /// `[log]`
    Log / LogPartial {
        /// What is worth a line.
        level: LogLevel = LogLevel::Info,
        /// How a line looks.
        format: LogFormat = LogFormat::Text,
        /// The log file; standard error when it isn't set (`serve --detach` uses pgprefork.log then).
        file: Option<PathBuf> = None,
        /// Lines about connections: true, false, or a list of receipt, authentication, authorization, setup_durations. With
        /// any of them a session's end has one, too.
        connections: Stages = Stages::default(),
        /// Statements that take this long, the wait for their commit to be durable included, get a line; 0 is all,
        /// -1 none.
        min_duration: Threshold = Threshold::default(),
    }
}

section! {
    /// `[metrics]`
    Metrics / MetricsPartial {
        /// Address and port where the exporter serves `/metrics` to Prometheus; not set: nowhere.
        listen: Option<String> = None,
    }
}

impl Pool {
    /// When a worker that started at that time (microseconds of a clock) has lived long enough. Each differs by up
    /// to a tenth, so that those which started together do not end together.
    pub fn lifetime_end_us(&self, started_us: u64) -> Option<u64> {
        let lifetime_us = u64::try_from(self.worker_lifetime.nonzero()?.as_micros()).unwrap_or(u64::MAX / 2);
        // Fibonacci hashing: the high bits of the product are as good as random.
        let random = started_us.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let jitter_us = (lifetime_us / 10).saturating_mul(random) >> 32;
        Some(started_us.saturating_add(lifetime_us - lifetime_us / 20).saturating_add(jitter_us))
    }
}

/// More than this many sessions are asked for by mistake.
const SESSIONS_MAX: u32 = 100_000;

impl Config {
    /// Ranges, and what must be true between settings.
    pub(super) fn validate(&self) -> Result<(), String> {
        self.validate_pool()?;
        if self.listen.port == 0 {
            return Err("listen.port must be between 1 and 65535".to_owned());
        }
        if self.listen.addresses.is_empty() && self.listen.socket_directories.is_empty() {
            return Err(
                "nothing to listen on: listen.addresses and listen.socket_directories are both empty".to_owned()
            );
        }
        if self.auth.authentication_timeout.nonzero().is_none() {
            return Err("auth.authentication_timeout must be more than 0".to_owned());
        }
        if let Some(listen) = &self.metrics.listen
            && listen.parse::<std::net::SocketAddr>().is_err()
        {
            return Err(format!("metrics.listen must be an address and a port, as 127.0.0.1:9187: {listen:?}"));
        }
        if self.engine.kind.is_relay() {
            let own = (self.engine.kind == EngineKind::Postgres).then(|| own_socket_directory(&self.data));
            self.relay.validate(own.as_deref())?;
        }
        self.validate_tls()
    }

    fn validate_pool(&self) -> Result<(), String> {
        let pool = &self.pool;
        if !(1..=SESSIONS_MAX).contains(&pool.max_sessions) {
            return Err(format!("pool.max_sessions must be between 1 and {SESSIONS_MAX}"));
        }
        if pool.min_spare == 0 {
            return Err("pool.min_spare must be at least 1".to_owned());
        }
        if pool.max_spare < pool.min_spare {
            return Err(format!(
                "pool.max_spare ({}) is less than pool.min_spare ({})",
                pool.max_spare, pool.min_spare
            ));
        }
        if pool.reserved_sessions >= pool.max_sessions {
            return Err(format!(
                "pool.reserved_sessions ({}) must be less than pool.max_sessions ({})",
                pool.reserved_sessions, pool.max_sessions
            ));
        }
        if pool.slot_limit != 0 && pool.slot_limit < pool.max_sessions {
            return Err(format!(
                "pool.slot_limit ({}) is less than pool.max_sessions ({})",
                pool.slot_limit, pool.max_sessions
            ));
        }
        if pool.slot_limit > 2 * SESSIONS_MAX {
            return Err(format!("pool.slot_limit must be at most {}", 2 * SESSIONS_MAX));
        }
        Ok(())
    }

    /// A certificate and its key come together, and what is about them only with them.
    fn validate_tls(&self) -> Result<(), String> {
        let tls = &self.tls;
        match (&tls.cert, &tls.key) {
            (Some(_), None) => Err("tls.cert is set, but not tls.key".to_owned()),
            (None, Some(_)) => Err("tls.key is set, but not tls.cert".to_owned()),
            (None, None) if tls.client_ca.is_some() => Err("tls.client_ca is set, but not tls.cert".to_owned()),
            _ => Ok(()),
        }
    }

    /// Slots that the segment holds for workers: sessions up to the ceiling, spare ones beside them, and
    /// some for those whose process is ending while its replacement starts.
    pub fn worker_slots(&self) -> u32 {
        let pool = &self.pool;
        let sessions = if pool.slot_limit == 0 { pool.max_sessions } else { pool.slot_limit };
        sessions + pool.max_spare.min(sessions) + 32
    }

    /// Workers that clients on their way to a session may hold; None is no limit.
    pub fn unauthenticated_limit(&self) -> Option<u32> {
        match self.auth.max_unauthenticated {
            None => Some((self.pool.max_sessions / 2).max(1)),
            limit => limit.filter(|limit| *limit > 0),
        }
    }

    /// Where the exporter serves; None if it does not.
    pub fn metrics_address(&self) -> Option<std::net::SocketAddr> {
        self.metrics.listen.as_deref()?.parse().ok()
    }

    /// The listen queue's length.
    pub fn backlog(&self) -> u32 {
        if self.listen.backlog == 0 { (2 * self.pool.max_sessions).max(4096) } else { self.listen.backlog }
    }
}
