//! A server under test: how it is started on a temporary directory and a free port, found ready, and ended.
//!
//! A peer's process is always ended by its own id, also when the benchmark fails half-way. A cluster that runs
//! on the machine already is never touched.

use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{DirBuilderExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};

use super::super::Error;
use super::certificate::Certificate;
use super::pgbench::program;
use super::pooler::{Pooler, TRANSACTION_POOL_SIZE};
use super::process::{self, Usage};

/// How long a server may take until it accepts connections, and until it has gone.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait for a server to calm down, and how often to look.
const CALM_DOWN_TIMEOUT: Duration = Duration::from_secs(20);
const CALM_DOWN_INTERVAL: Duration = Duration::from_millis(50);

/// What is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// This program: its model, `pool.sessions_per_worker` and `engine.kind`.
    Own { model: &'static str, sessions_per_worker: u32, engine: &'static str },
    /// This program before a PostgreSQL of its own: `pool.sessions_per_worker` and `relay.pool_mode`.
    Relay { sessions_per_worker: u32, pool_mode: &'static str },
    /// Debian's PostgreSQL.
    Postgres,
    /// A pooler before a PostgreSQL of its own.
    Pooled(Pooler),
}

impl Kind {
    /// The name that stands in the report.
    pub fn name(&self) -> String {
        match self {
            Self::Own { model, sessions_per_worker, engine } => {
                let reuse = if *model == "prefork" && *sessions_per_worker != 1 { ", reuse" } else { "" };
                let ceiling = if *engine == "null" { " [null]" } else { "" };
                format!("{model}{reuse}{ceiling}")
            }
            Self::Relay { sessions_per_worker, pool_mode } => {
                let reuse = if *sessions_per_worker == 1 { "" } else { ", reuse" };
                let mode = if *pool_mode == "session" { "" } else { ", transaction" };
                format!("relay{reuse}{mode}")
            }
            Self::Postgres => "postgres".to_owned(),
            Self::Pooled(pooler) => pooler.name().to_owned(),
        }
    }

    /// Whether many clients share few server connections.
    pub fn lends_for_a_transaction(&self) -> bool {
        matches!(self, Self::Relay { pool_mode: "transaction", .. } | Self::Pooled(Pooler::PgBouncerTransaction))
    }

    /// Whether a prepared statement is there in the next transaction; PgBouncer sees to that from version 1.21 on only.
    pub fn keeps_statements(&self) -> bool {
        !matches!(self, Self::Pooled(Pooler::PgBouncerTransaction))
    }

    /// Whether it stores what it is told.
    pub fn stores(&self) -> bool {
        !matches!(self, Self::Own { engine: "null", .. })
    }

    /// The signal that ends it without waiting for its clients.
    fn stop_signal(&self) -> Signal {
        match self {
            // PgBouncer waits for its servers to come free after SIGINT.
            Self::Pooled(Pooler::PgBouncer | Pooler::PgBouncerTransaction) => Signal::SIGTERM,
            _ => Signal::SIGINT,
        }
    }
}

/// A running server. Ended when dropped.
pub struct Peer {
    kind: Kind,
    port: u16,
    child: Child,
    /// For files of a load generator.
    scratch: PathBuf,
    /// The PostgreSQL that a pooler stands before; ended after it.
    behind: Option<Box<Peer>>,
}

impl Peer {
    /// Starts a server below `root` and waits until it answers. `name` is the folder's, different for every peer.
    pub fn start(kind: Kind, root: &Path, name: &str, max_sessions: u32) -> Result<Self, Error> {
        let directory = root.join(name);
        let log = root.join(format!("{name}.log"));
        let behind = match kind {
            // Room for the pooler's own connections, beyond those of its clients.
            Kind::Pooled(_) | Kind::Relay { .. } => {
                let name = format!("{name}-server");
                Some(Box::new(Peer::start(Kind::Postgres, root, &name, max_sessions + 10)?))
            }
            _ => None,
        };
        let port = free_port()?;
        let certificate = Certificate::create(&root.join(format!("{name}-tls")))?;
        let mut command = match (&kind, &behind) {
            (Kind::Own { model, sessions_per_worker, engine }, _) => {
                let mut command = own_command(&directory, port, *sessions_per_worker, max_sessions, &certificate)?;
                command.args(["--model", model, "--set", &format!("engine.kind={engine}")]);
                command
            }
            (Kind::Relay { sessions_per_worker, pool_mode }, Some(server)) => {
                let mut command = own_command(&directory, port, *sessions_per_worker, max_sessions, &certificate)?;
                for setting in relay_settings(pool_mode, server.port, max_sessions) {
                    command.args(["--set", &setting]);
                }
                command
            }
            (Kind::Pooled(pooler), Some(server)) => {
                let user = make_directory(&directory)?;
                let mut command = pooler.command(
                    &directory,
                    [port, free_port_after(port)?, server.port],
                    max_sessions,
                    &certificate,
                )?;
                run_as(&mut command, user.as_ref());
                command
            }
            _ => postgres_command(&directory, port, max_sessions, &certificate)?,
        };
        let log_file = fs::File::create(&log).map_err(|error| Error::Io(log.display().to_string(), error))?;
        let log_copy = log_file.try_clone().map_err(|error| Error::Io(log.display().to_string(), error))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log_file)
            .stderr(log_copy)
            .spawn()
            .map_err(|error| Error::Io(format!("starting {}", kind.name()), error))?;
        let scratch = root.join(format!("{name}-scratch"));
        let failed = |error| Error::Io(scratch.display().to_string(), error);
        fs::create_dir_all(&scratch).map_err(failed)?;
        let mut peer = Self { kind, port, child, scratch, behind };
        peer.wait_until_ready(&log)?;
        Ok(peer)
    }

    /// What it is.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A folder for files of a load generator, which only this server's runs use.
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// The shared segment of a server of ours, seen from outside.
    pub fn segment(&self) -> Option<shm::Segment> {
        matches!(self.kind, Kind::Own { .. } | Kind::Relay { .. })
            .then(|| shm::Segment::of_process(self.child.id().cast_signed()))?
    }

    /// All processes of it, those of the server behind it included.
    pub fn processes(&self) -> Vec<u32> {
        let mut pids = process::tree(self.child.id());
        pids.extend(self.behind.iter().flat_map(|behind| behind.processes()));
        pids
    }

    /// Waits until it hardly uses the processors any more, but not for ever.
    pub fn calm_down(&self) {
        let began = Instant::now();
        let mut before = None;
        while began.elapsed() < CALM_DOWN_TIMEOUT {
            let ticks: u64 = self.processes().into_iter().map(process::cpu_ticks).sum();
            // Of a hundredth of a second each; fewer when processes have ended that nobody waited for yet.
            if before.is_some_and(|before: u64| ticks.abs_diff(before) <= 1) {
                return;
            }
            before = Some(ticks);
            std::thread::sleep(CALM_DOWN_INTERVAL);
        }
    }

    /// Ends it, and tells what all of its processes have used up in their lives.
    pub fn stop(mut self) -> Usage {
        self.end()
    }

    fn end(&mut self) -> Usage {
        let before = Usage::of_the_dead();
        let pid = Pid::from_raw(self.child.id().cast_signed());
        if matches!(self.child.try_wait(), Ok(None)) {
            // SIGKILL only when that was not enough.
            let _ = kill(pid, self.kind.stop_signal());
            let asked = Instant::now();
            while matches!(self.child.try_wait(), Ok(None)) {
                if asked.elapsed() > PATIENCE {
                    let _ = self.child.kill();
                    let _ = self.child.wait();
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let used = Usage::of_the_dead().minus(before);
        self.behind.take().map_or(used, |behind| behind.stop().plus(used))
    }

    fn wait_until_ready(&mut self, log: &Path) -> Result<(), Error> {
        let started = Instant::now();
        loop {
            let words = || last_words(&fs::read_to_string(log).unwrap_or_default());
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(Error::Failed(format!("{} ({status})", self.kind.name()), words()));
            }
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() && self.answers() {
                return Ok(());
            }
            if started.elapsed() > PATIENCE {
                return Err(Error::Failed(format!("waiting for {}", self.kind.name()), words()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn answers(&self) -> bool {
        program("psql").is_ok_and(|psql| {
            Command::new(psql)
                .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
                .args(["-U", "postgres", "-Atqc", "select 1", "postgres"])
                .env("PGSSLMODE", "disable")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.end();
    }
}

/// The last lines of a log, for an error message.
pub fn last_words(text: &str) -> String {
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(3)..].join(" / ")
}

/// A TCP port below the ephemeral range that nobody listens on now.
fn free_port() -> Result<u16, Error> {
    // Far apart for two benchmarks that were started one after another.
    free_port_after(10_000 + (std::process::id().wrapping_mul(97) % 20_000) as u16)
}

fn free_port_after(start: u16) -> Result<u16, Error> {
    let mut ports = (start + 1..32_000).chain(10_000..start);
    ports
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .ok_or_else(|| Error::Io("looking for a free port".into(), io::ErrorKind::AddrInUse.into()))
}

fn own_command(
    directory: &Path,
    port: u16,
    sessions_per_worker: u32,
    max_sessions: u32,
    certificate: &Certificate,
) -> Result<Command, Error> {
    let program = std::env::current_exe().map_err(|error| Error::Io("finding this program".into(), error))?;
    let mut command = Command::new(program);
    command.arg("serve").arg("--data").arg(directory);
    command.args(["--port", &port.to_string(), "--listen", "127.0.0.1"]);
    for setting in [
        format!("pool.sessions_per_worker={sessions_per_worker}"),
        format!("pool.max_sessions={max_sessions}"),
        format!("tls.cert={}", certificate.chain.display()),
        format!("tls.key={}", certificate.key.display()),
        "log.level=warn".to_owned(),
        "listen.socket_directories=[\".\"]".to_owned(),
    ] {
        command.args(["--set", &setting]);
    }
    Ok(command)
}

/// What makes a server of ours a relay before the PostgreSQL on that port, with pools of the size that PgBouncer's have.
fn relay_settings(pool_mode: &str, server_port: u16, max_sessions: u32) -> Vec<String> {
    let size = match pool_mode {
        "transaction" => TRANSACTION_POOL_SIZE,
        _ => max_sessions.min(shm::UPSTREAM_PLACES),
    };
    vec![
        "engine.kind=relay".to_owned(),
        format!("relay.pool_mode={pool_mode}"),
        format!("relay.default_pool_size={size}"),
        format!("relay.max_server_connections={size}"),
        format!("relay.databases={{\"*\" = {{host = \"127.0.0.1\", port = {server_port}}}}}"),
    ]
}

/// Makes a directory, unless it is there, for a program that refuses to run as root; returns the user that it is to run as instead.
fn make_directory(directory: &Path) -> Result<Option<User>, Error> {
    let failed = |error| Error::Io(directory.display().to_string(), error);
    if !directory.exists() {
        fs::DirBuilder::new().mode(0o700).create(directory).map_err(failed)?;
    }
    let user = if geteuid().is_root() { User::from_name("postgres").ok().flatten() } else { None };
    if let Some(user) = &user {
        chown(directory, Some(user.uid.as_raw()), Some(user.gid.as_raw())).map_err(failed)?;
    }
    Ok(user)
}

fn run_as(command: &mut Command, user: Option<&User>) {
    if let Some(user) = user {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw()).current_dir("/");
    }
}

fn postgres_command(
    directory: &Path,
    port: u16,
    max_sessions: u32,
    certificate: &Certificate,
) -> Result<Command, Error> {
    let initdb = program("initdb")?;
    let postgres = program("postgres")?;
    let user = make_directory(directory)?;
    if !directory.join("PG_VERSION").exists() {
        let mut init = Command::new(initdb);
        init.arg("-D").arg(directory).args(["-U", "postgres", "-A", "trust", "--locale=C.UTF-8", "-E", "UTF8"]);
        run_as(&mut init, user.as_ref());
        let output = init.output().map_err(|error| Error::Io("initdb".into(), error))?;
        if !output.status.success() {
            return Err(Error::Failed("initdb".into(), last_words(&String::from_utf8_lossy(&output.stderr))));
        }
    }
    let mut command = Command::new(postgres);
    command.arg("-D").arg(directory).args(["-p", &port.to_string(), "-h", "127.0.0.1"]);
    command.arg("-k").arg(directory);
    let own = [
        format!("max_connections={max_sessions}"),
        "ssl=on".to_owned(),
        format!("ssl_cert_file={}", certificate.chain.display()),
        format!("ssl_key_file={}", certificate.key.display()),
    ];
    for setting in POSTGRES_SETTINGS.iter().map(|setting| (*setting).to_owned()).chain(own) {
        command.args(["-c", &setting]);
    }
    run_as(&mut command, user.as_ref());
    Ok(command)
}

/// What differs from PostgreSQL's defaults, printed with the figures: room for the working set, and no
/// checkpoint in the middle of a round.
pub const POSTGRES_SETTINGS: &[&str] =
    &["shared_buffers=512MB", "max_wal_size=4GB", "fsync=on", "synchronous_commit=on"];
