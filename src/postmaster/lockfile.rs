//! Who may serve a data directory and a Unix socket: `postmaster.pid` and `.s.PGSQL.<port>.lock`, in
//! PostgreSQL's format, so that its tools can read them.
//!
//! The directory's lock is an flock that every child inherits: it is free only once the postmaster and all of
//! its children are gone. The text is for people and tools; the flock decides.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};

use crate::system::{Pid, parent};

/// How long the children of a dead postmaster are waited for.
pub const SURVIVORS_WAIT: Duration = Duration::from_secs(10);
/// How often the lock is tried meanwhile: flock has no wait with a limit.
const SURVIVORS_RETRY: Duration = Duration::from_millis(20);

/// Why a lock can't be had.
#[derive(Debug)]
pub enum Error {
    /// A postmaster serves this directory.
    Running(PathBuf, Pid),
    /// The postmaster is dead, and these of its children aren't.
    Survivors(PathBuf, Vec<Pid>),
    /// Another server has this socket.
    SocketTaken(PathBuf, Pid),
    /// A file could not be read or written.
    Io(PathBuf, io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running(data, pid) => {
                write!(f, "another postmaster (PID {pid}) is running in data directory {}", data.display())
            }
            Self::Survivors(data, pids) => {
                let pids: Vec<String> = pids.iter().map(Pid::to_string).collect();
                write!(
                    f,
                    "processes of a dead postmaster still use data directory {}: PID {}",
                    data.display(),
                    pids.join(", ")
                )
            }
            Self::SocketTaken(path, pid) => {
                write!(f, "another server (PID {pid}) uses socket {}", path.display())
            }
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

/// The lines of a lock file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The postmaster's pid.
    pub pid: Pid,
    /// The data directory.
    pub data: PathBuf,
    /// Seconds since 1970.
    pub started_s: u64,
    /// TCP port.
    pub port: u16,
    /// First directory of Unix sockets; may be empty.
    pub socket_directory: String,
    /// First address; may be empty.
    pub address: String,
}

/// What the status line of `postmaster.pid` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Not ready for clients yet.
    Starting,
    /// Ready for clients.
    Ready,
    /// Shutting down.
    Stopping,
}

impl Status {
    /// Padded to eight bytes, as PostgreSQL pads it.
    fn text(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready   ",
            Self::Stopping => "stopping",
        }
    }
}

/// The data directory's lock, held by this process and those it forks.
#[derive(Debug)]
pub struct DirectoryLock {
    file: Flock<File>,
    path: PathBuf,
}

impl DirectoryLock {
    /// The file's name in the data directory.
    pub const FILE_NAME: &'static str = "postmaster.pid";

    /// Takes the lock, waiting for children of a dead postmaster; `waiting` is told their pids once.
    pub fn take(data: &Path, waiting: impl FnOnce(&[Pid])) -> Result<Self, Error> {
        let path = data.join(Self::FILE_NAME);
        let refuse = |error: io::Error| Error::Io(path.clone(), error);
        let mut file = open(&path).map_err(refuse)?;
        let mut waiting = Some(waiting);
        let deadline = Instant::now() + SURVIVORS_WAIT;
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) if is_same_file(&lock, &path) => return Ok(Self { file: lock, path }),
                // Its last owner removed it between our open and our lock.
                Ok(_) => file = open(&path).map_err(refuse)?,
                Err((same, nix::errno::Errno::EWOULDBLOCK)) => {
                    file = same;
                    if let Some(pid) = read_pid(&path).filter(|pid| is_server(*pid)) {
                        return Err(Error::Running(data.to_owned(), pid));
                    }
                    if let Some(waiting) = waiting.take() {
                        waiting(&users_of(&path));
                    }
                    if Instant::now() >= deadline {
                        return Err(Error::Survivors(data.to_owned(), users_of(&path)));
                    }
                    std::thread::sleep(SURVIVORS_RETRY);
                }
                Err((_, errno)) => return Err(Error::Io(path, errno.into())),
            }
        }
    }

    /// Whether a pid was left in the file by a server that did not end cleanly.
    pub fn stale_pid(&self) -> Option<Pid> {
        read_pid(&self.path)
    }

    /// Writes all lines.
    pub fn write(&mut self, content: &Content, status: Status) -> io::Result<()> {
        let text = format!(
            "{}\n{}\n{}\n{}\n{}\n{}\n{:>9} {:>9}\n{}\n",
            content.pid,
            content.data.display(),
            content.started_s,
            content.port,
            content.socket_directory,
            content.address,
            0,
            0,
            status.text()
        );
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(text.as_bytes())
    }

    /// The descriptor that children must keep open.
    pub fn descriptor(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// Removes the file at a clean end. The lock itself goes with the process.
    pub fn remove(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Reads `postmaster.pid` of a directory: the pid of the server that holds its lock, or None when none does.
pub fn running_server(data: &Path) -> io::Result<Option<Pid>> {
    let path = data.join(DirectoryLock::FILE_NAME);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(_) => Ok(None),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(read_pid(&path).filter(|pid| is_server(*pid))),
        Err((_, errno)) => Err(errno.into()),
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn is_same_file(lock: &File, path: &Path) -> bool {
    match (lock.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// Where the server of a data directory is: the directory of its Unix socket, or else its address; and its port.
pub fn address(data: &Path) -> Option<(String, u16)> {
    let mut text = String::new();
    File::open(data.join(DirectoryLock::FILE_NAME)).ok()?.take(4096).read_to_string(&mut text).ok()?;
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let port = lines.get(3)?.parse().ok()?;
    let socket = *lines.get(4)?;
    if !socket.is_empty() {
        // The server's working directory is its data directory.
        return Some((data.join(socket).display().to_string(), port));
    }
    // A server that listens on all addresses listens on this one.
    let host = match *lines.get(5).filter(|address| !address.is_empty())? {
        "0.0.0.0" => "127.0.0.1",
        "::" => "::1",
        host => host,
    };
    Some((host.to_owned(), port))
}

fn read_pid(path: &Path) -> Option<Pid> {
    let mut text = String::new();
    File::open(path).ok()?.take(4096).read_to_string(&mut text).ok()?;
    // A standalone back end of PostgreSQL writes its pid as a negative number.
    let pid: i32 = text.lines().next()?.trim().parse().ok()?;
    (pid != 0).then(|| Pid::from_raw(pid.abs()))
}

/// Whether a process with this pid is there and may be a server: the pid may have been given to anybody since. The
/// program may have been renamed, so its present name counts as well.
fn is_server(pid: Pid) -> bool {
    let may_be = |name: String| {
        name == "postgres"
            || name.starts_with("pgprefork")
            || parent::program_name(parent::own_pid()).is_some_and(|own| own == name)
    };
    parent::exists(pid) && pid != parent::own_pid() && parent::program_name(pid).is_none_or(may_be)
}

/// Processes that have the file open, ourselves left out.
fn users_of(path: &Path) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let mut pids: Vec<Pid> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid::from_raw))
        .filter(|pid| *pid != parent::own_pid() && has_open(*pid, path))
        .collect();
    pids.sort();
    pids
}

fn has_open(pid: Pid, path: &Path) -> bool {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .is_ok_and(|entries| entries.flatten().any(|entry| fs::read_link(entry.path()).is_ok_and(|link| link == path)))
}

/// The lock of one Unix socket.
#[derive(Debug)]
pub struct SocketLock {
    socket: PathBuf,
    lock: PathBuf,
}

impl SocketLock {
    /// Takes the lock of `directory/.s.PGSQL.port`. A lock file whose server is gone is replaced.
    pub fn take(directory: &Path, content: &Content) -> Result<Self, Error> {
        let socket = directory.join(format!(".s.PGSQL.{}", content.port));
        let lock = directory.join(format!(".s.PGSQL.{}.lock", content.port));
        let refuse = |error: io::Error| Error::Io(lock.clone(), error);
        for _ in 0..3 {
            match OpenOptions::new().write(true).create_new(true).mode(0o644).open(&lock) {
                Ok(mut file) => {
                    let (pid, data, port) = (content.pid, content.data.display(), content.port);
                    let text = format!("{pid}\n{data}\n{}\n{port}\n{}\n", content.started_s, directory.display());
                    file.write_all(text.as_bytes()).map_err(refuse)?;
                    return Ok(Self { socket, lock });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(refuse(error)),
            }
            if let Some(pid) = read_pid(&lock).filter(|pid| parent::exists(*pid) && *pid != parent::own_pid())
                && (is_server(pid) || UnixStream::connect(&socket).is_ok())
            {
                return Err(Error::SocketTaken(socket, pid));
            }
            fs::remove_file(&lock).map_err(refuse)?;
        }
        Err(refuse(io::ErrorKind::AlreadyExists.into()))
    }

    /// The socket's path.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Removes socket and lock file at a clean end.
    pub fn remove(&self) {
        let _ = fs::remove_file(&self.socket);
        let _ = fs::remove_file(&self.lock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(data: &Path) -> Content {
        Content {
            pid: parent::own_pid(),
            data: data.to_owned(),
            started_s: 1_700_000_000,
            port: 5499,
            socket_directory: "/tmp".to_owned(),
            address: "127.0.0.1".to_owned(),
        }
    }

    #[test]
    fn the_pid_file_has_postgresqls_eight_lines() {
        let directory = tempfile::tempdir().unwrap();
        let mut lock = DirectoryLock::take(directory.path(), |_| ()).unwrap();
        lock.write(&content(directory.path()), Status::Starting).unwrap();
        lock.write(&content(directory.path()), Status::Ready).unwrap();
        let text = fs::read_to_string(directory.path().join("postmaster.pid")).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 8);
        assert_eq!(lines[0], std::process::id().to_string());
        assert_eq!((lines[3], lines[4], lines[5], lines[7]), ("5499", "/tmp", "127.0.0.1", "ready   "));
    }

    #[test]
    fn a_stale_pid_file_is_no_obstacle() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("postmaster.pid"), "999999999\n/nowhere\n").unwrap();
        assert_eq!(running_server(directory.path()).unwrap(), None);
        let lock = DirectoryLock::take(directory.path(), |_| panic!("waits for nobody")).unwrap();
        assert_eq!(lock.stale_pid(), Some(Pid::from_raw(999_999_999)));
    }

    #[test]
    fn a_stale_socket_lock_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(".s.PGSQL.5499.lock"), "999999999\n").unwrap();
        let lock = SocketLock::take(directory.path(), &content(directory.path())).unwrap();
        lock.remove();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
