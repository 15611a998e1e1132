//! Making a cluster directory.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rusqlite::{Connection, params};

use super::membership::{FIRST_NORMAL_OID, PREDEFINED, PREDEFINED_MEMBERSHIPS};
use super::{
    Cluster, ClusterError, FORMAT_VERSION, POSTGRES_DATABASE_OID, SUPERUSER_OID, VERSION_FILE, database_file, io_error,
    snapshot,
};
use crate::auth::password;
use crate::engine::sqlite::database::{self, FileError};
use crate::error::{Condition, Error};

/// How the access rules that `init` writes let clients in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Authentication {
    /// Everybody on this machine is who they say.
    #[default]
    Trust,
    /// By password, proved by SCRAM-SHA-256.
    ScramSha256,
}

impl Authentication {
    /// Its name in pg_hba.conf.
    pub fn name(self) -> &'static str {
        match self {
            Self::Trust => "trust",
            Self::ScramSha256 => "scram-sha-256",
        }
    }
}

/// What a new cluster is to have.
#[derive(Debug, Clone)]
pub struct InitOptions {
    /// Name of the bootstrap superuser.
    pub superuser: String,
    /// Access rules to write.
    pub authentication: Authentication,
    /// The superuser's password, in clear or as a verifier.
    pub password: Option<String>,
}

impl Default for InitOptions {
    fn default() -> Self {
        Self { superuser: "postgres".to_owned(), authentication: Authentication::default(), password: None }
    }
}

const SETTINGS: &str = "# Settings of this server. What is not set here has its default.

[listen]
# addresses = [\"127.0.0.1\", \"::1\"]
# port = 5432

[pool]
# model = \"prefork\"            # or \"fork-on-accept\"
# sessions_per_worker = 1       # 0: a worker serves sessions without limit

[engine]
# kind = \"sqlite\"              # or \"postgres\": a PostgreSQL below this directory; \"relay\": PostgreSQL servers that
#                               # are there already; \"null\": canned rows, for measuring the front door

[session]
# synchronous_commit = \"on\"

[log]
# level = \"info\"
";

const IDENT: &str = "# User name maps, in PostgreSQL's format.
# MAPNAME       SYSTEM-USERNAME         PG-USERNAME
";

/// Makes a cluster in a directory that is empty or not there. The version file is written last: a directory
/// without it was never finished.
pub fn init(directory: &Path, options: &InitOptions) -> Result<Cluster, ClusterError> {
    if options.authentication != Authentication::Trust && options.password.as_deref().is_none_or(str::is_empty) {
        return Err(ClusterError::PasswordNeeded(options.authentication.name()));
    }
    prepare(directory)?;
    let base = directory.join("base");
    fs::DirBuilder::new().mode(0o700).create(&base).map_err(io_error(format!("create \"{}\"", base.display())))?;
    write(&directory.join("pg_hba.conf"), &access_rules(options.authentication))?;
    write(&directory.join("pg_ident.conf"), IDENT)?;
    write(&directory.join("pgprefork.toml"), SETTINGS)?;
    create_global(directory, options)?;
    create_database_file(directory, POSTGRES_DATABASE_OID)?;
    write(&directory.join(VERSION_FILE), &format!("{FORMAT_VERSION}\n"))?;
    sync_directory(&base)?;
    sync_directory(directory)?;
    Cluster::open(directory)
}

/// The bootstrap superuser's name and stored password. Only before anything serves.
pub fn superuser(directory: &Path) -> Result<(String, Option<String>), ClusterError> {
    let connection = Connection::open(directory.join("global.db")).map_err(sqlite)?;
    let select = "SELECT name, password FROM pgp_role WHERE oid = ?1";
    let found = connection.query_row(select, params![SUPERUSER_OID], |row| Ok((row.get(0)?, row.get(1)?)));
    found.map_err(|error| ClusterError::Storage(format!("could not find the superuser: {error}")))
}

fn prepare(directory: &Path) -> Result<(), ClusterError> {
    match fs::read_dir(directory) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                return Err(ClusterError::NotEmpty(directory.to_owned()));
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true).mode(0o700);
            builder.create(directory).map_err(io_error(format!("create \"{}\"", directory.display())))?;
        }
        Err(error) => return Err(io_error(format!("read \"{}\"", directory.display()))(error)),
    }
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))
        .map_err(io_error(format!("set the permissions of \"{}\"", directory.display())))
}

fn access_rules(authentication: Authentication) -> String {
    let method = authentication.name();
    format!(
        "# Access rules, in PostgreSQL's format: the first line that fits a connection decides.
# TYPE  DATABASE        USER            ADDRESS                 METHOD
local   all             all                                     {method}
host    all             all             127.0.0.1/32            {method}
host    all             all             ::1/128                 {method}
"
    )
}

fn write(path: &Path, text: &str) -> Result<(), ClusterError> {
    let failed = || format!("write \"{}\"", path.display());
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(path).map_err(io_error(failed()))?;
    file.write_all(text.as_bytes()).map_err(io_error(failed()))?;
    file.sync_all().map_err(io_error(failed()))
}

fn sync_directory(path: &Path) -> Result<(), ClusterError> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(io_error(format!("sync \"{}\"", path.display())))
}

fn storage(error: impl std::fmt::Display) -> ClusterError {
    ClusterError::Storage(format!("could not set up the storage: {error}"))
}

fn sqlite(error: rusqlite::Error) -> ClusterError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => disk_full(),
        _ => storage(error),
    }
}

fn disk_full() -> ClusterError {
    io_error("set up the storage")(std::io::ErrorKind::StorageFull.into())
}

/// Opens a new file in WAL mode, 0600, fully synchronous. Leaves none behind when it fails.
fn new_file(path: &Path) -> Result<Connection, ClusterError> {
    write(path, "")?;
    let open = || {
        let connection = Connection::open(path)?;
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA auto_vacuum = NONE;")?;
        Ok(connection)
    };
    open().map_err(|error| {
        remove_files(path);
        sqlite(error)
    })
}

fn create_global(directory: &Path, options: &InitOptions) -> Result<(), ClusterError> {
    let password = match &options.password {
        Some(password) => password::encrypt(&options.superuser, password).map_err(storage)?,
        None => None,
    };
    let mut secret = [0u8; 32];
    getrandom::fill(&mut secret).map_err(storage)?;
    let connection = new_file(&directory.join("global.db"))?;
    connection.execute_batch(&format!("BEGIN; {}", snapshot::TABLES)).map_err(storage)?;
    let insert = "INSERT INTO pgp_meta(key, value) VALUES('format_version', ?1), ('next_oid', ?2), ('catalog_version', 1), ('mock_secret', ?3)";
    connection
        .execute(insert, params![FORMAT_VERSION, crate::engine::sqlite::catalog::FIRST_OID, secret])
        .map_err(storage)?;
    connection
        .execute(
            "INSERT INTO pgp_role(oid, name, superuser, login, create_database, create_role, inherit, replication, bypass_row_security, connection_limit, password) VALUES(?1, ?2, 1, 1, 1, 1, 1, 1, 1, -1, ?3)",
            params![SUPERUSER_OID, options.superuser, password],
        )
        .map_err(storage)?;
    connection
        .execute(
            "INSERT INTO pgp_database(oid, name, owner, allow_connections, connection_limit, is_template) VALUES(?1, 'postgres', ?2, 1, -1, 0)",
            params![POSTGRES_DATABASE_OID, SUPERUSER_OID],
        )
        .map_err(storage)?;
    for (oid, name) in PREDEFINED {
        let insert = "INSERT INTO pgp_role(oid, name, superuser, login, create_database, create_role, inherit, replication, bypass_row_security, connection_limit) VALUES(?1, ?2, 0, 0, 0, 0, 1, 0, 0, -1)";
        connection.execute(insert, params![oid, name]).map_err(storage)?;
    }
    for (number, (role, member)) in (1..).zip(PREDEFINED_MEMBERSHIPS) {
        let insert = "INSERT INTO pgp_member(oid, role, member, grantor, admin, inherit, may_set) VALUES(?1, ?2, ?3, ?4, 0, 1, 1)";
        // Below the OIDs that are given out.
        let oid = FIRST_NORMAL_OID - 100 + number;
        connection.execute(insert, params![oid, role, member, SUPERUSER_OID]).map_err(storage)?;
    }
    connection.execute_batch("COMMIT").map_err(storage)?;
    connection.close().map_err(|(_, error)| storage(error))
}

/// Makes the file of a new database, complete and synced. Until it is whole it has another name, by which the
/// checkpointer does not lock it. A file that is there is of an attempt that failed, for the OID is new.
pub(super) fn create_database_file(directory: &Path, oid: u32) -> Result<(), ClusterError> {
    let path = database_file(directory, oid);
    database::remove(&path).map_err(file)?;
    database::create(&path, |connection| {
        connection.execute_batch("BEGIN")?;
        crate::engine::sqlite::catalog::create(connection)
            .map_err(|error| rusqlite::Error::UserFunctionError(Box::new(error)))?;
        connection.execute_batch("COMMIT")
    })
    .map_err(file)
}

fn file(error: FileError) -> ClusterError {
    let is_full = match &error {
        FileError::Io(_, _, error) => {
            matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
        }
        FileError::Sqlite(_, rusqlite::Error::UserFunctionError(error)) => {
            error.downcast_ref::<Error>().is_some_and(|error| error.condition() == Condition::DiskFull)
        }
        FileError::Sqlite(_, error) => error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull),
        _ => false,
    };
    if is_full { disk_full() } else { storage(error) }
}

/// A database file and what SQLite keeps beside it, as far as they are there.
fn remove_files(path: &Path) {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        if let Err(error) = fs::remove_file(&name)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            log::warn!("could not remove {}: {error}", name.display());
        }
    }
}
