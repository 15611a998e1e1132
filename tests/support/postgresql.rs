//! A real PostgreSQL on a temporary directory and a free port, to compare with.
//!
//! It runs as user postgres when the test runs as root, without syncing, and ends with its handle.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};

use super::{PATIENCE, free_port, postgres_program};

/// A running PostgreSQL with superuser `postgres`, trust authentication and locale C.UTF-8.
pub struct PostgreSql {
    pub port: u16,
    pub data: PathBuf,
    child: Child,
    settings: Vec<String>,
    user: Option<User>,
    directory: tempfile::TempDir,
}

impl PostgreSql {
    /// Makes a cluster and starts a server on it; `settings` are `name=value`.
    pub fn start(settings: &[&str]) -> Self {
        let directory = tempfile::Builder::new().prefix("postgresql-test-").tempdir().expect("a temporary directory");
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).expect("permissions");
        let data = directory.path().join("data");
        std::fs::create_dir(&data).expect("a data directory");
        std::fs::set_permissions(&data, PermissionsExt::from_mode(0o700)).expect("permissions");
        let user = if geteuid().is_root() { User::from_name("postgres").expect("the user database") } else { None };
        if let Some(user) = &user {
            chown(&data, Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("chown");
        }
        let mut init = Command::new(postgres_program("initdb"));
        init.arg("-D").arg(&data).args(["-N", "-U", "postgres", "-A", "trust", "--locale=C.UTF-8", "-E", "UTF8"]);
        run_as(&mut init, user.as_ref());
        let output = init.output().expect("initdb");
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        let port = free_port();
        let settings: Vec<_> = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let child = postgres(&data, port, &settings, user.as_ref(), directory.path());
        let server = Self { port, data, child, settings, user, directory };
        server.wait_until_ready();
        server
    }

    /// A standby that streams from this server, in hot standby mode.
    pub fn standby(&self) -> Self {
        let directory = tempfile::Builder::new().prefix("postgresql-test-").tempdir().expect("a temporary directory");
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).expect("permissions");
        let data = directory.path().join("data");
        std::fs::create_dir(&data).expect("a data directory");
        std::fs::set_permissions(&data, PermissionsExt::from_mode(0o700)).expect("permissions");
        if let Some(user) = &self.user {
            chown(&data, Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("chown");
        }
        let mut copy = Command::new(postgres_program("pg_basebackup"));
        copy.arg("-D").arg(&data).args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "postgres"]);
        copy.args(["-R", "-X", "stream", "-c", "fast", "-N"]);
        run_as(&mut copy, self.user.as_ref());
        let output = copy.output().expect("pg_basebackup");
        assert!(output.status.success(), "pg_basebackup: {}", String::from_utf8_lossy(&output.stderr));
        let port = free_port();
        let child = postgres(&data, port, &self.settings, self.user.as_ref(), directory.path());
        let server = Self { port, data, child, settings: self.settings.clone(), user: self.user.clone(), directory };
        server.wait_until_ready();
        server
    }

    /// Kills the postmaster (SIGKILL).
    pub fn kill_9(&mut self) {
        kill(self.pid(), Signal::SIGKILL).expect("PostgreSQL is there");
        self.child.wait().expect("its end");
    }

    /// The postmaster's process id.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Ends the server at once (SIGQUIT), or by an orderly, fast shutdown.
    pub fn stop(&mut self, orderly: bool) {
        let signal = if orderly { Signal::SIGINT } else { Signal::SIGQUIT };
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).expect("PostgreSQL is there");
        self.child.wait().expect("its end");
    }

    /// Starts it again, after [`Self::stop`], on the same port.
    pub fn start_again(&mut self) {
        self.child = postgres(&self.data, self.port, &self.settings, self.user.as_ref(), self.directory.path());
        self.wait_until_ready();
    }

    /// What the server has printed so far, since it was started last.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn wait_until_ready(&self) {
        let started = Instant::now();
        while !self.log().contains("database system is ready to accept") {
            assert!(started.elapsed() < PATIENCE, "PostgreSQL did not come up:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for PostgreSql {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGQUIT);
            let _ = self.child.wait();
        }
    }
}

fn postgres(data: &Path, port: u16, settings: &[String], user: Option<&User>, folder: &Path) -> Child {
    let log = std::fs::File::create(folder.join("log")).expect("a log");
    let mut command = Command::new(postgres_program("postgres"));
    command.arg("-D").arg(data).args(["-h", "127.0.0.1", "-p", &port.to_string()]).arg("-k").arg(data);
    let always = ["fsync=off", "log_min_messages=log", "log_statement=none"];
    for setting in always.into_iter().chain(settings.iter().map(String::as_str)) {
        command.args(["-c", setting]);
    }
    run_as(&mut command, user);
    command.stdin(Stdio::null()).stdout(log.try_clone().expect("the log")).stderr(log).spawn().expect("postgres")
}

fn run_as(command: &mut Command, user: Option<&User>) {
    if let Some(user) = user {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw()).current_dir("/");
    }
}
