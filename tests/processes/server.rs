//! A server of a test's own: started on a temporary directory and a free port, ended when it goes out of scope.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pgprefork::protocol::client::{self, Backend, ClientEncoder};
use pgprefork::protocol::{Next, Version};
use postgres::{Client, NoTls};

/// How long anything may take before the test fails. Waiting is always for an event, never for a time.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Below the range from which the kernel gives out ports by itself.
static NEXT_PORT: AtomicU16 = AtomicU16::new(21_000);

pub struct Server {
    pub data: PathBuf,
    pub port: u16,
    process: Child,
    pub log: Log,
    _directory: Option<tempfile::TempDir>,
}

/// What a server has written to its log. It must be read, or lines are dropped.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<String>>);

impl Log {
    fn follow(&self, stderr: ChildStderr) -> JoinHandle<()> {
        let show = std::env::var_os("SHOW_LOG").is_some();
        let log = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if show {
                    eprintln!("    {line}");
                }
                let mut text = log.0.lock().unwrap();
                text.push_str(&line);
                text.push('\n');
            }
        })
    }

    /// All of it so far.
    pub fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    loop {
        let offset = u16::try_from(std::process::id() % 4000).unwrap();
        let port = NEXT_PORT.fetch_add(1, Ordering::Relaxed) + offset;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// `pgprefork serve` on a directory, not started.
pub fn command(data: &Path, port: u16, settings: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgprefork"));
    command.arg("serve").arg("--data").arg(data).arg("--port").arg(port.to_string());
    let sockets = format!("listen.socket_directories=[\"{}\"]", data.parent().unwrap().display());
    for setting in ["engine.kind=null", &sockets].iter().chain(settings) {
        command.arg("--set").arg(setting);
    }
    command
}

/// A directory that the server's user can use, also when the test runs as root.
pub fn directory() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    directory
}

impl Server {
    /// Starts with these settings, and waits until it is ready.
    pub fn start(settings: &[&str]) -> Self {
        let directory = directory();
        let mut server = Self::start_on(&directory.path().join("data"), free_port(), settings).unwrap();
        server._directory = Some(directory);
        server
    }

    /// Keeps the directory for as long as the server is there.
    pub fn keep(&mut self, directory: tempfile::TempDir) {
        self._directory = Some(directory);
    }

    /// Starts on a directory that stays; the last lines of its output when it did not become ready.
    pub fn start_on(data: &Path, port: u16, settings: &[&str]) -> Result<Self, String> {
        Self::launch(command(data, port, settings), data, port)
    }

    /// Runs that command, which is `pgprefork serve` or becomes it, and waits until the server is ready.
    pub fn launch(mut command: Command, data: &Path, port: u16) -> Result<Self, String> {
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = process.stdout.take().unwrap();
        let log = Log::default();
        let logging = log.follow(process.stderr.take().unwrap());
        // Sends one line that says whether it is ready, or nothing when the output ends before.
        let (sender, ready) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
            if lines.any(|line| line == "ready to accept connections") {
                let _ = sender.send(());
            }
            // Whoever writes on must not fail for want of a reader.
            lines.for_each(drop);
        });
        match ready.recv_timeout(PATIENCE) {
            Ok(()) => Ok(Self { data: data.to_owned(), port, process, log, _directory: None }),
            Err(RecvTimeoutError::Disconnected) => {
                let status = process.wait().unwrap();
                logging.join().unwrap();
                Err(format!("{status}: {}", log.text()))
            }
            Err(RecvTimeoutError::Timeout) => {
                process.kill().unwrap();
                process.wait().unwrap();
                panic!("the server never said that it is ready: {}", log.text());
            }
        }
    }

    pub fn parameters(&self) -> String {
        format!("host=127.0.0.1 port={} user=postgres dbname=postgres connect_timeout=10", self.port)
    }

    pub fn connect(&self) -> Client {
        self.try_connect().unwrap()
    }

    pub fn try_connect(&self) -> Result<Client, postgres::Error> {
        Client::connect(&self.parameters(), NoTls)
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.process.id()).unwrap())
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Exit code; None for a signal.
    pub fn wait(&mut self) -> Option<i32> {
        let mut status = None;
        eventually("the server ends", || {
            status = self.process.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }

    /// Pids of its workers.
    pub fn workers(&self) -> Vec<Pid> {
        let is_worker =
            |pid: &Pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.contains("work"));
        self.children().into_iter().filter(is_worker).collect()
    }

    /// The pool, as `pgprefork status --json` shows it.
    pub fn status(&self) -> serde_json::Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgprefork"));
        let output = command.args(["status", "--json", "--data"]).arg(&self.data).output().unwrap();
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()["pool"].take()
    }

    /// Pids of its children.
    pub fn children(&self) -> Vec<Pid> {
        let path = format!("/proc/{0}/task/{0}/children", self.pid());
        let text = fs::read_to_string(path).unwrap_or_default();
        text.split_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap())).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.process.try_wait().unwrap().is_none() {
            let _ = kill(self.pid(), Signal::SIGQUIT);
            let _ = self.process.wait();
        }
    }
}

/// Ends a detached server when the test that started it is over, however it ended.
pub struct Detached<'a>(pub &'a Path);

impl Drop for Detached<'_> {
    fn drop(&mut self) {
        let text = fs::read_to_string(self.0.join("postmaster.pid")).unwrap_or_default();
        let pid = text.lines().next().and_then(|line| line.parse().ok());
        if let Some(pid) = pid.map(Pid::from_raw).filter(|pid| is_alive(*pid)) {
            let _ = kill(pid, Signal::SIGQUIT);
        }
    }
}

/// A connection from that address of this machine's (127.0.0.0/8 are all its own).
pub fn connect_from(source: Ipv4Addr, port: u16) -> TcpStream {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
    use std::os::fd::AsRawFd;
    let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(fd.as_raw_fd(), &SockaddrIn::from(std::net::SocketAddrV4::new(source, 0))).unwrap();
    let server = std::net::SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    connect(fd.as_raw_fd(), &SockaddrIn::from(server)).unwrap();
    TcpStream::from(fd)
}

/// What became of a client that wanted one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It got it.
    Answered,
    /// It was told why not: the SQLSTATE.
    Refused(String),
    /// The connection ended without a word.
    Lost,
    /// Nothing came for longer than anything may take.
    Stranded,
}

/// Connects to that address of this machine's, asks one question and leaves.
pub fn ask(address: Ipv4Addr, port: u16) -> Outcome {
    let answer = TcpStream::connect((address, port)).and_then(Raw::start).and_then(|mut raw| {
        let refusal = raw.query("select 1")?;
        raw.send(|client| client.terminate());
        Ok(refusal)
    });
    match answer {
        Ok(None) => Outcome::Answered,
        Ok(Some(sqlstate)) => Outcome::Refused(sqlstate),
        Err(error) if error.kind() == std::io::ErrorKind::TimedOut => Outcome::Stranded,
        Err(error) if error.kind() == std::io::ErrorKind::Other => Outcome::Refused(error.to_string()),
        Err(_) => Outcome::Lost,
    }
}

/// Sets a soft limit of a process that runs, as its own user: root in a container may not.
pub fn set_limit(pid: Pid, limit: &str) {
    use std::os::unix::process::CommandExt;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let id = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    let mut command = Command::new("prlimit");
    let output = command.args(["--pid", &pid.to_string(), limit]).gid(id("Gid:")).uid(id("Uid:")).output();
    let output = output.expect("prlimit(1)");
    assert!(output.status.success(), "{output:?}");
}

/// Numbers as good as random, the same for the same seed.
pub struct Random(u64);

impl Random {
    /// Prints the seed, which `SEED` sets.
    pub fn new() -> Self {
        let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) * 2 + 1);
        println!("    SEED={seed}");
        Self(seed)
    }

    /// Below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % limit
    }
}

/// The SQLSTATE of a refusal that has come by now.
pub fn refusal(stream: &mut TcpStream) -> Option<String> {
    stream.set_nonblocking(true).unwrap();
    let mut bytes = [0; 1024];
    let count = stream.peek(&mut bytes).unwrap_or(0);
    let Next::Complete(frame, _) = client::next(&bytes[..count]).ok()? else { return None };
    let Backend::ErrorResponse(fields) = Backend::decode(frame).ok()? else { return None };
    client::field(&fields, b'C').map(str::to_owned)
}

/// A client that knows its server process and key, which drivers keep to themselves.
pub struct Raw {
    pub stream: TcpStream,
    received: Vec<u8>,
    pub pid: Pid,
    pub key: Vec<u8>,
}

impl Raw {
    pub fn connect(server: &Server) -> Self {
        Self::connect_as(server, "postgres", "postgres")
    }

    pub fn connect_as(server: &Server, user: &str, database: &str) -> Self {
        Self::start_as(TcpStream::connect(("127.0.0.1", server.port)).unwrap(), user, database).unwrap()
    }

    /// A session on a connection that was made before. TimedOut where the server left it unanswered.
    pub fn start(stream: TcpStream) -> std::io::Result<Self> {
        Self::start_as(stream, "postgres", "postgres")
    }

    pub fn start_as(stream: TcpStream, user: &str, database: &str) -> std::io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut raw = Self { stream, received: Vec::new(), pid: Pid::from_raw(0), key: Vec::new() };
        raw.send(|client| client.startup(Version { minor: 2 }, &[("user", user), ("database", database)]));
        let (mut pid, mut key, mut refusal) = (0, Vec::new(), None);
        let answer = raw.read_until_ready(|message| match message {
            Backend::BackendKeyData(process, secret) => (pid, key) = (process, secret.to_vec()),
            Backend::ErrorResponse(fields) => refusal = client::field(&fields, b'C').map(str::to_owned),
            _ => {}
        });
        if let Some(sqlstate) = refusal {
            return Err(std::io::Error::other(sqlstate));
        }
        answer?;
        (raw.pid, raw.key) = (Pid::from_raw(i32::try_from(pid).unwrap()), key);
        Ok(raw)
    }

    /// The port that it connects from.
    pub fn local_port(&self) -> u16 {
        self.stream.local_addr().unwrap().port()
    }

    pub fn send(&mut self, write: impl FnOnce(&mut ClientEncoder<'_>)) {
        let mut bytes = Vec::new();
        write(&mut ClientEncoder::new(&mut bytes));
        self.send_bytes(&bytes);
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        // A server that has gone shows in the answer.
        let _ = self.stream.write_all(bytes);
    }

    /// The SQLSTATE when it failed; an error when the connection ended.
    pub fn query(&mut self, text: &str) -> std::io::Result<Option<String>> {
        self.send(|client| client.query(text));
        let mut sqlstate = None;
        self.read_until_ready(|message| {
            if let Backend::ErrorResponse(fields) = message {
                sqlstate = client::field(&fields, b'C').map(str::to_owned);
            }
        })?;
        Ok(sqlstate)
    }

    pub fn read_until_ready(&mut self, mut each: impl FnMut(Backend<'_>)) -> std::io::Result<()> {
        loop {
            while let Next::Complete(frame, length) = client::next(&self.received).unwrap() {
                let message = Backend::decode(frame).unwrap();
                let is_ready = matches!(message, Backend::ReadyForQuery(_));
                each(message);
                self.received.drain(..length);
                if is_ready {
                    return Ok(());
                }
            }
            let mut bytes = [0; 4096];
            let count = self.stream.read(&mut bytes).map_err(|error| match error.kind() {
                std::io::ErrorKind::WouldBlock => std::io::ErrorKind::TimedOut.into(),
                _ => error,
            })?;
            match count {
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                count => self.received.extend_from_slice(&bytes[..count]),
            }
        }
    }
}

pub fn is_alive(pid: Pid) -> bool {
    // A zombie is dead.
    process_state(pid).is_some_and(|state| state != 'Z')
}

/// Not only sent a stop: it runs no more.
pub fn is_stopped(pid: Pid) -> bool {
    process_state(pid) == Some('T')
}

/// As the kernel names it: the first letter after the process's name.
fn process_state(pid: Pid) -> Option<char> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(") ")?.1.chars().next()
}

/// Waits until it is true.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
