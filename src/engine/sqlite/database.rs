//! The files of a database: made, made safe at start-up, kept from strangers, removed.
//!
//! Owns what happens to the files outside of SQLite's own reads and writes. Serving processes hold no POSIX lock
//! on them, so opening and closing them here drops nobody's.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, PosixFadviseAdvice, fcntl, posix_fadvise};
use rusqlite::{Connection, OpenFlags};

/// Bytes of zeros that a new WAL starts with: syncing a file that does not grow costs a quarter.
const WAL_BYTES: usize = 1 << 20;

/// SQLite's lock bytes, <https://www.sqlite.org/lockingv3.html> and `PENDING_BYTE` in its source: pending,
/// reserved, and 510 shared ones.
const LOCK_START: i64 = 0x4000_0000;
const LOCK_BYTES: i64 = 512;

/// Why a database's files could not be handled.
#[derive(Debug)]
pub enum FileError {
    /// A system call failed.
    Io(&'static str, PathBuf, io::Error),
    /// SQLite failed while making the database.
    Sqlite(PathBuf, rusqlite::Error),
    /// Another program has the database open.
    InUse(PathBuf),
}

impl std::fmt::Display for FileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FileError::Io(what, path, error) => write!(f, "could not {what} \"{}\": {error}", path.display()),
            FileError::Sqlite(path, error) => write!(f, "could not create \"{}\": {error}", path.display()),
            FileError::InUse(path) => write!(f, "database file \"{}\" is in use by another program", path.display()),
        }
    }
}

impl std::error::Error for FileError {}

/// The WAL beside a database file.
pub fn wal_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}

/// Makes a database in WAL mode, filled by `fill`, and gives it its name only when all of it is on disk. An
/// existing file of that name is an error. What a crash leaves has the name with `.new` behind it and is
/// replaced by the next attempt.
pub fn create(path: &Path, fill: impl FnOnce(&Connection) -> rusqlite::Result<()>) -> Result<(), FileError> {
    if path.exists() {
        return Err(FileError::Io("create", path.to_owned(), io::ErrorKind::AlreadyExists.into()));
    }
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    let unfinished = PathBuf::from(unfinished);
    remove_files(&unfinished)?;
    private_file(&unfinished).map_err(|error| FileError::Io("create", unfinished.clone(), error))?;
    let written = write_files(path, &unfinished, fill);
    if written.is_err() {
        // What there is of it takes room. It is removed by the next attempt where it cannot be now.
        let _ = remove_files(&unfinished).and_then(|()| remove_files(path));
    }
    written
}

fn write_files(
    path: &Path,
    unfinished: &Path,
    fill: impl FnOnce(&Connection) -> rusqlite::Result<()>,
) -> Result<(), FileError> {
    fill_file(unfinished, fill).map_err(|error| FileError::Sqlite(path.to_owned(), error))?;
    // The zeros come first: a database file of that name means that its WAL is there.
    let wal = wal_path(path);
    let written = private_file(&wal).and_then(|mut file| file.write_all(&vec![0; WAL_BYTES]));
    written.map_err(|error| FileError::Io("write", wal.clone(), error))?;
    sync_file(&wal)?;
    sync_file(unfinished)?;
    std::fs::rename(unfinished, path).map_err(|error| FileError::Io("rename", unfinished.to_owned(), error))?;
    sync_folder(path)
}

/// A new, empty file that is its owner's alone.
fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Writes the database through SQLite's own VFS; closing it leaves one file without a WAL.
fn fill_file(path: &Path, fill: impl FnOnce(&Connection) -> rusqlite::Result<()>) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.execute_batch("PRAGMA page_size=4096; PRAGMA auto_vacuum=NONE; PRAGMA synchronous=FULL;")?;
    fill(&connection)?;
    connection.query_row("PRAGMA journal_mode=WAL", (), |row| row.get::<_, String>(0))?;
    // Page 1 exists only once something was written; the header's version tells stock tools what this is.
    connection.execute_batch("PRAGMA application_id=0x50475046;")?;
    connection.close().map_err(|(_, error)| error)
}

/// Removes a database's files, WAL last: a WAL without its database is removed by the next `create`.
pub fn remove(path: &Path) -> Result<(), FileError> {
    remove_files(path)?;
    sync_folder(path)
}

fn remove_files(path: &Path) -> Result<(), FileError> {
    for path in [path.to_owned(), wal_path(path)] {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(FileError::Io("remove", path, error)),
            _ => {}
        }
    }
    Ok(())
}

/// Makes what is in the files durable and reads it past the page cache from then on. Before serving starts: a
/// commit that only the page cache has must not be answered from, and after a failed sync the page cache holds
/// pages that are marked clean and yet are not on disk.
pub fn make_durable(path: &Path) -> Result<(), FileError> {
    for path in [path.to_owned(), wal_path(path)] {
        if !path.exists() {
            continue;
        }
        sync_file(&path)?;
        let file = File::open(&path).map_err(|error| FileError::Io("open", path.clone(), error))?;
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)
            .map_err(|errno| FileError::Io("drop from the page cache", path.clone(), errno.into()))?;
    }
    Ok(())
}

/// Keeps every other program's SQLite out of a database while it lives.
#[derive(Debug)]
pub struct OutsideLock(#[expect(dead_code, reason = "the lock lives as long as the open file")] File);

impl OutsideLock {
    /// Locks the bytes that SQLite's own locks use. The lock belongs to the open file, not to the process, so no
    /// other close in this process drops it.
    pub fn take(path: &Path) -> Result<OutsideLock, FileError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(|error| FileError::Io("open", path.to_owned(), error))?;
        let lock = libc::flock {
            l_type: libc::F_WRLCK as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: LOCK_START,
            l_len: LOCK_BYTES,
            l_pid: 0,
        };
        debug_assert!(file.as_raw_fd() >= 0);
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&lock)) {
            Ok(_) => Ok(OutsideLock(file)),
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EACCES) => Err(FileError::InUse(path.to_owned())),
            Err(errno) => Err(FileError::Io("lock", path.to_owned(), errno.into())),
        }
    }
}

fn sync_file(path: &Path) -> Result<(), FileError> {
    let file = File::options()
        .read(true)
        .write(true)
        .open(path)
        .map_err(|error| FileError::Io("open", path.to_owned(), error))?;
    file.sync_all().map_err(|error| FileError::Io("sync", path.to_owned(), error))
}

fn sync_folder(path: &Path) -> Result<(), FileError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let opened = File::open(folder).map_err(|error| FileError::Io("open", folder.to_owned(), error))?;
    opened.sync_all().map_err(|error| FileError::Io("sync", folder.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_gets_its_name_only_when_it_is_whole() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("1");
        let failed = create(&path, |connection| connection.execute_batch("nonsense"));
        assert!(matches!(failed, Err(FileError::Sqlite(..))));
        assert!(!path.exists());
        create(&path, |connection| connection.execute_batch("CREATE TABLE t(a)")).expect("a second attempt");
        assert!(matches!(create(&path, |_| Ok(())), Err(FileError::Io(..))));
        assert_eq!(std::fs::metadata(wal_path(&path)).expect("a WAL").len(), WAL_BYTES as u64);
        make_durable(&path).expect("syncs");
        remove(&path).expect("removes");
        assert!(!path.exists() && !wal_path(&path).exists());
    }

    #[test]
    fn stock_sqlite_is_refused_while_the_lock_is_held() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("1");
        create(&path, |connection| connection.execute_batch("CREATE TABLE t(a)")).expect("creates");
        let lock = OutsideLock::take(&path).expect("nobody else has it open");
        assert!(matches!(OutsideLock::take(&path), Err(FileError::InUse(_))));
        let count = || {
            let stranger = Connection::open(&path)?;
            stranger.busy_timeout(std::time::Duration::ZERO)?;
            stranger.query_row("SELECT count(*) FROM t", (), |row| row.get::<_, i64>(0))
        };
        assert!(count().is_err_and(|error| error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)));
        drop(lock);
        assert_eq!(count().ok(), Some(0));
    }
}
