//! A server whose processes can be made to die, or their system calls to fail, at named points; and what it says of
//! those that died.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::support::{Server, wait_until};

/// A server with named points, on a directory of its own.
pub struct Victim {
    pub server: Server,
    tokens: PathBuf,
    is_classic: bool,
    _directory: Option<tempfile::TempDir>,
}

/// A process that a signal ended, as the log names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// "client backend", "checkpointer", "doorman".
    pub kind: String,
    pub pid: i32,
    /// The state of its slot.
    pub state: String,
    is_classic: bool,
}

impl Death {
    /// Whether it had a client, who must have noticed. In the classic model a process has one from its beginning.
    pub fn had_client(&self) -> bool {
        let states =
            if self.is_classic { &["starting", "connecting", "serving"][..] } else { &["connecting", "serving"] };
        self.kind == "client backend" && states.contains(&self.state.as_str())
    }
}

impl Victim {
    /// `points`: each with what is done there (`kill`, `eio`, ...).
    pub fn start(points: &[(&str, &str)], settings: &[&str]) -> Self {
        let directory = open_directory();
        let data = directory.path().join("data");
        let mut victim = Self::start_on(&data, points, settings);
        victim._directory = Some(directory);
        victim
    }

    /// The same on a directory that stays.
    pub fn start_on(data: &Path, points: &[(&str, &str)], settings: &[&str]) -> Self {
        let tokens = data.with_file_name("tokens");
        let _ = fs::create_dir(&tokens);
        // The server removes them, and may be another user.
        fs::set_permissions(&tokens, fs::Permissions::from_mode(0o777)).expect("permissions");
        let entry = |(point, action): &(&str, &str)| format!("{point}:{action}:{}", tokens.join(point).display());
        let stops = points.iter().map(entry).collect::<Vec<_>>().join(",");
        let is_classic = settings.contains(&"pool.model=fork-on-accept");
        let settings: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
        let server = Server::start_on(data, &settings, &[("PGPREFORK_TEST_STOP", &stops)]);
        Self { server, tokens, is_classic, _directory: None }
    }

    /// Has the next process that comes to the point carry out what was chosen for it, and waits until one has.
    pub fn strike(&self, point: &str) {
        self.prepare(point);
        wait_until(&format!("a process comes to {point}"), || !self.is_prepared(point));
    }

    /// The same without waiting.
    pub fn prepare(&self, point: &str) {
        fs::write(self.tokens.join(point), "").expect("a token");
    }

    /// Whether nobody has come to the point yet.
    pub fn is_prepared(&self, point: &str) -> bool {
        self.tokens.join(point).exists()
    }

    /// Every process that a signal has ended so far.
    pub fn deaths(&self) -> Vec<Death> {
        self.server.log().lines().filter_map(|line| death(line, self.is_classic)).collect()
    }

    /// The file of database postgres.
    pub fn database_file(&self) -> PathBuf {
        let files = fs::read_dir(self.server.data.join("base")).expect("the base folder").flatten();
        let files = files.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "db"));
        files.min().expect("a database")
    }

    /// Its WAL.
    pub fn wal_file(&self) -> PathBuf {
        self.database_file().with_extension("db-wal")
    }

    /// What names the present run of that WAL: it changes whenever the WAL starts anew.
    pub fn wal_salt(&self) -> [u8; 8] {
        // The WAL's header, https://www.sqlite.org/fileformat2.html#the_write_ahead_log.
        let mut salt = [0; 8];
        let wal = fs::File::open(self.wal_file()).expect("the WAL");
        wal.read_exact_at(&mut salt, 16).expect("its header");
        salt
    }

    /// The living child of that name (`work`, `door`, `chkp`), if there is just one.
    pub fn child(&self, name: &str) -> Option<i32> {
        let is_named = |pid: &i32| {
            fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|comm| comm.trim_end() == format!("pgprefork: {name}"))
        };
        let mut found = self.server.children().into_iter().filter(is_named);
        found.next().filter(|_| found.next().is_none())
    }

    /// Waits for a child of that name other than `dead`.
    pub fn successor(&self, name: &str, dead: i32) -> i32 {
        let mut successor = None;
        wait_until(&format!("there is another {name}"), || {
            successor = self.child(name).filter(|pid| *pid != dead);
            successor.is_some()
        });
        successor.expect("found")
    }
}

/// A directory through which the server's user can pass.
pub fn open_directory() -> tempfile::TempDir {
    let directory = tempfile::Builder::new().prefix("pgprefork-faults-").tempdir().expect("a temporary directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
    directory
}

/// `client backend 123 crashed while serving: signal 9 (SIGKILL)`.
fn death(line: &str, is_classic: bool) -> Option<Death> {
    let (before, after) = line.split_once(" crashed while ")?;
    let (before, pid) = before.rsplit_once(' ')?;
    let kind = ["client backend", "checkpointer", "doorman"].into_iter().find(|kind| before.ends_with(kind))?;
    let (state, _) = after.split_once(':')?;
    Some(Death { kind: kind.to_owned(), pid: pid.parse().ok()?, state: state.to_owned(), is_classic })
}
