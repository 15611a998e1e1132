//! The cluster directory: what is in it, how it is made and recognised, and the roles and databases it lists.
//!
//! Owns the layout below and `global.db`. Connections to `global.db` of a serving process are opened by the
//! storage engine (locks live in its shim) and passed in; only `init`, before anything serves, opens files itself.
//!
//! ```text
//! pgprefork.version     format version, one line
//! pgprefork.toml        settings
//! pg_hba.conf           access rules
//! pg_ident.conf         user name maps
//! global.db             roles, memberships, databases, settings stored for them
//! base/<oid>.db         one database each
//! ```

mod change;
mod database;
mod grant;
mod init;
pub mod membership;
mod setting;
mod snapshot;

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

pub use change::{Actor, FileChange, execute};
pub use init::{Authentication, InitOptions, init, superuser};
pub use snapshot::{DatabaseRow, Global, RoleRow, SettingRow, Snapshot, mock_secret};

/// Version of the directory's layout. Others are refused.
pub const FORMAT_VERSION: u32 = 3;

/// The bootstrap superuser's OID, as PostgreSQL's.
pub const SUPERUSER_OID: u32 = 10;

/// The OID of database `postgres`.
pub const POSTGRES_DATABASE_OID: u32 = 5;

const VERSION_FILE: &str = "pgprefork.version";

/// Why a cluster directory cannot be made or used. Shown to whoever runs the program, as one line.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum ClusterError {
    /// There is something in the directory already.
    NotEmpty(PathBuf),
    /// The directory is not a cluster's.
    NotACluster(PathBuf),
    /// A newer program made it, or an older one.
    Foreign { path: PathBuf, found: u32 },
    /// The version file cannot be understood.
    BadVersion { path: PathBuf, found: String },
    /// It belongs to someone else.
    WrongOwner { path: PathBuf, owner: u32 },
    /// Others may look inside.
    TooOpen { path: PathBuf, mode: u32 },
    /// A superuser needs a password with this authentication.
    PasswordNeeded(&'static str),
    /// A file could not be read or written.
    Io { what: String, source: io::Error },
    /// SQLite or the password's encryption failed.
    Storage(String),
}

impl ClusterError {
    /// Whether there was no room on the disk.
    pub fn is_disk_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Self::Io { source, .. } if matches!(source.kind(), StorageFull | QuotaExceeded))
    }
}

impl fmt::Display for ClusterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotEmpty(path) => write!(f, "directory \"{}\" exists but is not empty", path.display()),
            Self::NotACluster(path) => write!(f, "\"{}\" is not a pgprefork data directory", path.display()),
            Self::Foreign { path, found } => write!(
                f,
                "data directory \"{}\" has format {found}, this program knows format {FORMAT_VERSION}",
                path.display()
            ),
            Self::BadVersion { path, found } => {
                write!(f, "\"{}\" does not hold a format version but \"{found}\"", path.display())
            }
            Self::WrongOwner { path, owner: 0 } => write!(f, "data directory \"{}\" is owned by root", path.display()),
            Self::WrongOwner { path, owner } => write!(
                f,
                "data directory \"{}\" is owned by user {owner}: the server must be started by its owner",
                path.display()
            ),
            Self::TooOpen { path, mode } => write!(
                f,
                "data directory \"{}\" has permissions {mode:04o}: they should be 0700 or 0750",
                path.display()
            ),
            Self::PasswordNeeded(method) => {
                write!(f, "a password for the superuser is needed with authentication {method} (--pwfile)")
            }
            Self::Io { what, source } => write!(f, "could not {what}: {source}"),
            Self::Storage(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for ClusterError {}

fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> ClusterError {
    let what = what.into();
    move |source| ClusterError::Io { what, source }
}

/// A cluster directory that this program can serve.
#[derive(Debug, Clone)]
pub struct Cluster {
    directory: PathBuf,
}

impl Cluster {
    /// Recognises a cluster directory: format, owner, permissions. Opens no database.
    pub fn open(directory: &Path) -> Result<Self, ClusterError> {
        let version = directory.join(VERSION_FILE);
        let text = match fs::read_to_string(&version) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ClusterError::NotACluster(directory.to_owned()));
            }
            Err(error) => return Err(io_error(format!("read \"{}\"", version.display()))(error)),
        };
        let found = text.trim();
        match found.parse::<u32>() {
            Ok(FORMAT_VERSION) => {}
            Ok(found) => return Err(ClusterError::Foreign { path: directory.to_owned(), found }),
            _ => return Err(ClusterError::BadVersion { path: version, found: found.to_owned() }),
        }
        let metadata = fs::metadata(directory).map_err(io_error(format!("stat \"{}\"", directory.display())))?;
        let user = nix::unistd::geteuid();
        if metadata.uid() != user.as_raw() && !user.is_root() {
            return Err(ClusterError::WrongOwner { path: directory.to_owned(), owner: metadata.uid() });
        }
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & 0o027 != 0 {
            return Err(ClusterError::TooOpen { path: directory.to_owned(), mode });
        }
        Ok(Self { directory: directory.to_owned() })
    }

    /// Whether the directory is there and holds a cluster of any version.
    pub fn is_initialised(directory: &Path) -> bool {
        directory.join(VERSION_FILE).exists()
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The file of roles and databases.
    pub fn global_file(&self) -> PathBuf {
        self.directory.join("global.db")
    }

    /// A database's file.
    pub fn database_file(&self, oid: u32) -> PathBuf {
        database_file(&self.directory, oid)
    }

    /// Removes files of databases that are not listed: left by a CREATE or DROP DATABASE that was cut short. Only
    /// before anything serves.
    pub fn remove_orphans(&self, snapshot: &Snapshot) -> Result<(), ClusterError> {
        let base = self.directory.join("base");
        let entries = fs::read_dir(&base).map_err(io_error(format!("read \"{}\"", base.display())))?;
        for entry in entries {
            let entry = entry.map_err(io_error(format!("read \"{}\"", base.display())))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let oid = name.split('.').next().and_then(|oid| oid.parse::<u32>().ok());
            if oid.is_some_and(|oid| !snapshot.databases().iter().any(|database| database.oid == oid)) {
                fs::remove_file(entry.path()).map_err(io_error(format!("remove \"{}\"", entry.path().display())))?;
            }
        }
        Ok(())
    }
}

fn database_file(directory: &Path, oid: u32) -> PathBuf {
    directory.join("base").join(format!("{oid}.db"))
}

#[cfg(test)]
mod tests;
