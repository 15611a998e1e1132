//! TOML → one validated [`Config`]. Reads files, knows every setting's name, type, default and range; starts
//! nothing and changes nothing. Of two sources the later wins: defaults, the data directory's
//! `pgprefork.toml`, `--config`, command-line options, `--set`.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

mod hosts;
mod keys;
mod postgres;
mod relay;
mod section;
mod stages;
mod units;

pub use hosts::{Address, LoadBalanceHosts, TargetSessionAttrs};
pub use keys::{
    Auth, Config, Engine, EngineKind, Listen, Log, LogFormat, LogLevel, Metrics, Model, OnMemoryFault, Pool, Session,
    SessionDefault, Sqlite, Tls, TlsVersion,
};
pub use postgres::{
    LOOKUP_CONNECTIONS, OWN_PORT, OwnPostgres, own_data_directory, own_private_directory, own_socket_directory,
    socket_in,
};
pub use relay::{PoolMode, Relay, RelayDatabase, SessionState, UserQuery, database_key};
pub use units::{ByteSize, Span, Threshold};

/// The file in the data directory.
pub const FILE_NAME: &str = "pgprefork.toml";

/// Where settings come from, besides the defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// `--config FILE`.
    pub file: Option<PathBuf>,
    /// `section.key=value`: from other options first, then from `--set`.
    pub assignments: Vec<String>,
}

/// Why the configuration can't be used.
#[derive(Debug)]
pub enum Error {
    /// A file could not be read.
    Read(PathBuf, io::Error),
    /// A file says something that can't be: its path, line and column (from 1), and what.
    File(PathBuf, usize, usize, String),
    /// A `--set` or another option says something that can't be.
    Assignment(String, String),
    /// Settings that can't be true together, or a value out of its range.
    Invalid(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, error) => write!(f, "could not read {}: {error}", path.display()),
            Self::File(path, line, column, what) => write!(f, "{}:{line}:{column}: {what}", path.display()),
            Self::Assignment(assignment, what) => write!(f, "{assignment}: {what}"),
            Self::Invalid(what) => write!(f, "{what}"),
        }
    }
}

impl std::error::Error for Error {}

impl Config {
    /// Reads all sources for a server on `data`. The data directory's own file may be missing; the one that
    /// `--config` names may not.
    pub fn load(data: &Path, sources: &Sources) -> Result<Self, Error> {
        let mut all = keys::ConfigPartial::default();
        let own = data.join(FILE_NAME);
        match fs::read_to_string(&own) {
            Ok(text) => all.merge(parse_file(&own, &text)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::Read(own, error)),
        }
        if let Some(path) = &sources.file {
            let text = fs::read_to_string(path).map_err(|error| Error::Read(path.clone(), error))?;
            all.merge(parse_file(path, &text)?);
        }
        for assignment in &sources.assignments {
            all.merge(parse_assignment(assignment)?);
        }
        let config = all.finish(data);
        config.validate().map_err(Error::Invalid)?;
        Ok(config)
    }

    /// The setting's path, taken relative to the data directory.
    pub fn path(&self, path: &Path) -> PathBuf {
        self.data.join(path)
    }
}

fn parse_file(path: &Path, text: &str) -> Result<keys::ConfigPartial, Error> {
    toml::from_str(text).map_err(|error| {
        let (line, column) = error.span().map_or((1, 1), |span| line_and_column(text, span.start));
        Error::File(path.to_owned(), line, column, error.message().to_owned())
    })
}

/// Both from 1; the column counts characters.
fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before.get(line_start..).unwrap_or_default().chars().count() + 1)
}

/// `section.key=value`. What is no TOML value counts as a string, so that `--set pool.model=prefork` works.
fn parse_assignment(assignment: &str) -> Result<keys::ConfigPartial, Error> {
    let refuse = |what: String| Error::Assignment(assignment.to_owned(), what);
    let (key, value) = assignment.split_once('=').ok_or_else(|| refuse("expected section.key=value".to_owned()))?;
    let (key, value) = (key.trim(), value.trim());
    if !key.contains('.') || !key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_')) {
        return Err(refuse("expected section.key=value".to_owned()));
    }
    let is_value = toml::from_str::<toml::Table>(&format!("value = {value}")).is_ok_and(|table| table.len() == 1);
    let value = if is_value { value.to_owned() } else { toml::Value::String(value.to_owned()).to_string() };
    toml::from_str(&format!("{key} = {value}")).map_err(|error| refuse(error.message().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn load(text: &str, assignments: &[&str]) -> Result<Config, Error> {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(FILE_NAME), text).unwrap();
        let assignments = assignments.iter().map(|text| (*text).to_owned()).collect();
        Config::load(directory.path(), &Sources { file: None, assignments })
    }

    fn complaint(text: &str, assignments: &[&str]) -> String {
        let message = load(text, assignments).unwrap_err().to_string();
        message.rsplit_once('/').map_or(message.clone(), |(_, rest)| rest.to_owned())
    }

    #[test]
    fn without_a_file_the_defaults_hold() {
        let config = load("", &[]).unwrap();
        assert_eq!(config.listen.port, 5432);
        assert_eq!(config.pool.sessions_per_worker, 1);
        assert_eq!(config.auth.authentication_timeout.duration(), Duration::from_secs(60));
    }

    #[test]
    fn an_assignment_wins_over_the_file() {
        let config =
            load("[pool]\nmax_sessions = 7\nmin_spare = 2\nmax_spare = 3\n", &["pool.max_sessions=9"]).unwrap();
        assert_eq!((config.pool.max_sessions, config.pool.min_spare), (9, 2));
    }

    #[test]
    fn a_bare_word_counts_as_a_string() {
        let config = load("", &["pool.model=fork-on-accept", "engine.kind=null", "pool.queue_timeout=500ms"]).unwrap();
        assert_eq!(config.pool.model, Model::ForkOnAccept);
        assert_eq!(config.engine.kind, EngineKind::Null);
        assert_eq!(config.pool.queue_timeout.duration(), Duration::from_millis(500));
    }

    #[test]
    fn an_unknown_key_is_named_with_its_place() {
        let message = complaint("[pool]\nmax_sessions = 7\n  min_spares = 2\n", &[]);
        assert!(message.starts_with("pgprefork.toml:3:3: unknown field `min_spares`"), "{message}");
    }

    #[test]
    fn a_wrong_type_is_named_with_its_place() {
        let message = complaint("[pool]\nmax_sessions = \"many\"\n", &[]);
        assert!(message.starts_with("pgprefork.toml:2:16: invalid type"), "{message}");
    }

    #[test]
    fn a_wrong_unit_is_named_with_its_place() {
        let message = complaint("[pool]\n\nqueue_timeout = \"5 fortnights\"\n", &[]);
        assert!(message.starts_with("pgprefork.toml:3:17: "), "{message}");
        assert!(message.contains("us, ms, s, min, h, d"), "{message}");
    }

    #[test]
    fn broken_toml_is_named_with_its_place() {
        assert!(complaint("[pool\n", &[]).starts_with("pgprefork.toml:1:"));
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused() {
        assert!(complaint("[pool]\nmin_spare = 8\nmax_spare = 4\n", &[]).contains("pool.max_spare"));
        assert!(complaint("", &["pool.max_sessions=0"]).contains("pool.max_sessions"));
    }

    #[test]
    fn a_certificate_needs_its_key_and_old_versions_are_refused() {
        assert!(complaint("[tls]\ncert = \"server.crt\"\n", &[]).contains("tls.key"));
        assert!(complaint("[tls]\nkey = \"server.key\"\n", &[]).contains("tls.cert"));
        assert!(complaint("[tls]\nclient_ca = \"root.crt\"\n", &[]).contains("tls.client_ca"));
        let both = "[tls]\ncert = \"server.crt\"\nkey = \"server.key\"\n";
        assert_eq!(load(both, &["tls.min_version=TLSv1.3"]).unwrap().tls.min_version, TlsVersion::V13);
        assert!(complaint(both, &["tls.min_version=TLSv1.1"]).contains("TLSv1.2"));
        assert!(complaint("", &["metrics.listen=9187"]).contains("metrics.listen"));
    }

    #[test]
    fn half_of_the_sessions_may_be_on_their_way() {
        assert_eq!(load("", &["pool.max_sessions=30"]).unwrap().unauthenticated_limit(), Some(15));
        assert_eq!(load("", &["auth.max_unauthenticated=7"]).unwrap().unauthenticated_limit(), Some(7));
        assert_eq!(load("", &["auth.max_unauthenticated=0"]).unwrap().unauthenticated_limit(), None);
    }

    #[test]
    fn a_postgresql_of_its_own_has_pools_for_as_many_sessions_as_there_may_be() {
        let own = |text: &str| load(text, &["engine.kind=postgres"]).unwrap();
        let config = own("");
        assert_eq!((config.relay.max_server_connections, config.relay.default_pool_size), (100, 100));
        let place = config.relay.database("anything").unwrap();
        assert_eq!(place.host, own_socket_directory(&config.data).display().to_string());
        let config = own("[pool]\nmax_sessions = 1000\n[relay]\npool_mode = \"transaction\"\n");
        assert_eq!((config.relay.max_server_connections, config.relay.default_pool_size), (252, 20));
        let config = own("[relay]\nmax_server_connections = 7\n[relay.databases.shop]\npool_size = 3\n");
        assert_eq!((config.relay.default_pool_size, config.relay.databases["shop"].pool_size), (7, Some(3)));
        assert_eq!(config.relay.databases["shop"].host, config.relay.databases["*"].host);
        assert!(complaint("[relay.databases.shop]\npool_size = 3\n", &["engine.kind=relay"]).contains("has no host"));
    }

    #[test]
    fn an_assignment_without_a_section_is_refused() {
        assert!(complaint("", &["port=1"]).contains("section.key=value"));
        assert!(complaint("", &["listen.port"]).contains("section.key=value"));
        assert!(complaint("", &["nosuch.key=1"]).contains("nosuch"));
    }

    #[test]
    fn session_defaults_keep_their_text() {
        let config = load("[session]\nstatement_timeout = \"5s\"\nwork = 4\n", &[]).unwrap();
        let defaults: Vec<(&str, String)> =
            config.session.iter().map(|(name, value)| (name, value.to_string())).collect();
        assert_eq!(defaults, [("statement_timeout", "5s".to_owned()), ("work", "4".to_owned())]);
    }

    #[test]
    fn a_relative_path_is_relative_to_the_data_directory() {
        let config = load("", &[]).unwrap();
        assert_eq!(config.path(&config.auth.hba_file), config.data.join("pg_hba.conf"));
    }
}
