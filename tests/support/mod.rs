//! What the tests share: a real server on a temporary directory and a free port, and the programs that talk to it.
//!
//! A server is ended by its own process id when its handle goes, whatever the test did.

#![allow(dead_code)]

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub mod certificates;
pub mod load;
pub mod postgresql;
pub mod scripts;
pub mod tls;

/// How long anything may take before the test says what it waited for.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running server.
pub struct Server {
    pub port: u16,
    pub data: PathBuf,
    child: Child,
    log: Arc<Mutex<String>>,
    _directory: Option<tempfile::TempDir>,
}

impl Server {
    /// Starts a server on a directory of its own.
    pub fn start(arguments: &[&str]) -> Self {
        let directory = tempfile::Builder::new().prefix("pgprefork-test-").tempdir().expect("a temporary directory");
        // The server may drop its privileges: it has to be able to pass through.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(directory.path(), open).expect("permissions");
        let data = directory.path().join("data");
        let mut server = Self::start_on(&data, arguments, &[]);
        server._directory = Some(directory);
        server
    }

    /// Starts a server on a directory that may have been used before, with variables added to its environment.
    pub fn start_on(data: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let port = free_port();
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let child = Command::new(env!("CARGO_BIN_EXE_pgprefork"))
            .arg("serve")
            .arg("--data")
            .arg(data)
            .args(["--port", &port.to_string(), "--listen", "127.0.0.1", "--set", "listen.socket_directories=[\".\"]"])
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(writer.try_clone().expect("a second end"))
            .stderr(writer)
            .spawn()
            .expect("the server's program");
        let log = Arc::new(Mutex::new(String::new()));
        let (ready, is_ready): (_, Receiver<()>) = channel();
        let copy = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(reader).lines().map_while(Result::ok) {
                copy.lock().expect("the log").push_str(&format!("{line}\n"));
                if line.contains("ready to accept connections") {
                    let _ = ready.send(());
                }
            }
        });
        let server = Self { port, data: data.to_owned(), child, log, _directory: None };
        assert!(is_ready.recv_timeout(PATIENCE).is_ok(), "the server did not come up:\n{}", server.log());
        server
    }

    /// Everything the server has printed so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("the log").clone()
    }

    /// The postmaster's process id.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Sends the postmaster a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("the postmaster is there");
    }

    /// Waits for the postmaster's end and returns its exit code (`None` after a signal).
    pub fn wait(&mut self) -> Option<i32> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("our child") {
                return status.code();
            }
            assert!(started.elapsed() < PATIENCE, "the server did not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops the server (SIGINT, fast shutdown) and returns its exit code.
    pub fn stop(&mut self) -> Option<i32> {
        self.signal(Signal::SIGINT);
        self.wait()
    }

    /// A program of PostgreSQL's, told where to connect.
    pub fn client(&self, program: &str) -> Command {
        let mut command = Command::new(postgres_program(program));
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "postgres"]);
        command.stdin(Stdio::null()).env("PGCONNECT_TIMEOUT", "30").env_remove("PGOPTIONS");
        command
    }

    /// Runs one statement or several through psql; unaligned rows, or what it complained of.
    pub fn psql(&self, database: &str, sql: &str) -> Result<String, String> {
        let output = self
            .client("psql")
            .args(["-X", "-Atq", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose", "-d", database, "-c", sql])
            .output()
            .expect("psql");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Like [`Self::psql`] on database postgres; fails the test on an error.
    pub fn query(&self, sql: &str) -> String {
        self.psql("postgres", sql).unwrap_or_else(|error| panic!("{sql}: {error}\n{}", self.log()))
    }

    /// Runs pgbench; fails the test with its words and the server's log.
    pub fn pgbench(&self, database: &str, arguments: &[&str]) -> String {
        let output = self.try_pgbench(database, arguments);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(
            output.status.success(),
            "pgbench {} failed:\n{out}{err}\nserver:\n{}",
            arguments.join(" "),
            self.log()
        );
        out.into_owned()
    }

    /// Runs pgbench, bounded in time.
    pub fn try_pgbench(&self, database: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new("timeout");
        command.arg("120").arg(postgres_program("pgbench"));
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "postgres"]);
        command.args(arguments).arg(database).stdin(Stdio::null()).output().expect("pgbench")
    }

    /// Connection string for the driver.
    pub fn connection_string(&self) -> String {
        format!("host=127.0.0.1 port={} user=postgres dbname=postgres", self.port)
    }

    /// Process ids of the postmaster's living children.
    pub fn children(&self) -> Vec<i32> {
        children_of(self.pid().as_raw())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill(self.pid(), Signal::SIGQUIT);
            let started = Instant::now();
            while started.elapsed() < Duration::from_secs(10) {
                if !matches!(self.child.try_wait(), Ok(None)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Living children of a process.
pub fn children_of(pid: i32) -> Vec<i32> {
    std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect()
}

/// A port below the ephemeral range that nobody listens on, different for every call of this process.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 12_000 + (std::process::id() % 900) as u16 * 20;
    loop {
        let port = base.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)).max(10_000);
        if port < 32_000 && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Where a program of PostgreSQL's is: in PATH, or where Debian keeps the server programs.
pub fn postgres_program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        folders.extend(versions.flatten().map(|entry| entry.path().join("bin")));
    }
    let found = folders.into_iter().map(|folder| folder.join(name)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{name} is not installed: run tests/run, which installs it"))
}

/// Waits until a condition holds; `what` is named when it does not.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
