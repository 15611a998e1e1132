//! The load generator against our server, against PostgreSQL with TLS, and against servers that misbehave.
//!
//! No figure decides a test, except what an injected stall makes certain.

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, UnixAddr, setsockopt, sockopt};
use nix::unistd::{Pid, User, geteuid};
use pgprefork::bench::storm::{Arrivals, Encryption, Load, Outcome, Phase, Plan, Target, run};
use support::{PATIENCE, Server, free_port, postgres_program, wait_until};

fn tcp(port: u16) -> Target {
    Target::Tcp(([127, 0, 0, 1], port).into())
}

/// A plan with patience: time-outs are not what is tested.
fn plan(port: u16, load: Load) -> Plan {
    Plan { load, timeout: PATIENCE, duration: Duration::from_millis(500), ..Plan::new(tcp(port)) }
}

fn open(rate: f64) -> Load {
    Load::Open { rate, arrivals: Arrivals::Constant }
}

fn carry_out(plan: &Plan) -> Outcome {
    let outcome = run(plan, &mut |_| ControlFlow::Continue(())).expect("a run");
    let tally = &outcome.tally;
    assert_eq!(tally.due, tally.completed + tally.failed + tally.unfinished, "every session is counted once");
    outcome
}

#[track_caller]
fn assert_no_errors(outcome: &Outcome) {
    let errors: Vec<_> = outcome.tally.errors.iter().chain(outcome.tally.warm_up_errors.iter()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(outcome.tally.completed, outcome.tally.due);
}

fn count(outcome: &Outcome, phase: Phase) -> u64 {
    outcome.tally.latencies(phase).len()
}

/// Samples of a phase that lasted at least this long.
fn longer_than(outcome: &Outcome, phase: Phase, bound: Duration) -> u64 {
    outcome.tally.latencies(phase).count_between(bound.as_nanos() as u64, u64::MAX)
}

#[test]
fn open_and_closed_loops_against_our_server() {
    let server = Server::start(&[]);
    let sessions = 60;
    let socket = Target::Unix(server.data.join(format!(".s.PGSQL.{}", server.port)));
    for target in [tcp(server.port), socket] {
        let whole = Plan { target: target.clone(), queries: 3, threads: 2, ..plan(server.port, open(120.0)) };
        let outcome = carry_out(&whole);
        assert_no_errors(&outcome);
        assert_eq!(outcome.tally.due, sessions);
        for phase in [Phase::Late, Phase::Connect, Phase::Authentication, Phase::Ready] {
            assert_eq!(count(&outcome, phase), sessions, "{}", phase.name());
        }
        assert_eq!(count(&outcome, Phase::Tls), 0);
        let closed = Plan { target, threads: 2, ..plan(server.port, Load::Closed { clients: 3 }) };
        let outcome = carry_out(&closed);
        assert_no_errors(&outcome);
        assert!(outcome.tally.due >= 3);
        assert_eq!(count(&outcome, Phase::Ready), outcome.tally.due);
    }
}

#[test]
fn bursts_and_sessions_that_only_think() {
    let server = Server::start(&[]);
    let burst = Load::Open { rate: 80.0, arrivals: Arrivals::Burst(40) };
    let outcome = carry_out(&plan(server.port, burst));
    assert_no_errors(&outcome);
    assert_eq!(outcome.tally.due, 40);
    // The end of the measured time ends the thinking, too.
    let idle = Plan { queries: 0, think: Duration::from_secs(3600), ..plan(server.port, Load::Closed { clients: 30 }) };
    let outcome = carry_out(&idle);
    assert_no_errors(&outcome);
    assert_eq!((outcome.tally.due, outcome.tally.most_open), (30, 30));
    assert_eq!(count(&outcome, Phase::FirstQuery), 0);
}

#[test]
fn passwords_by_scram() {
    let (server, _directory) = server_with_passwords();
    let with = |password: Option<&str>| Plan {
        password: password.map(str::to_owned),
        ..plan(server.port, Load::Closed { clients: 2 })
    };
    assert_no_errors(&carry_out(&with(Some("pencil"))));
    let wrong = carry_out(&with(Some("pen")));
    assert!(wrong.tally.due > 0);
    assert_eq!((wrong.tally.errors.of("28P01"), wrong.tally.failed), (wrong.tally.due, wrong.tally.due));
    let none = carry_out(&with(None));
    assert_eq!((none.tally.errors.of("PASSWORD_MISSING"), none.tally.completed), (none.tally.due, 0));
}

/// A server whose superuser has to prove the password "pencil" by SCRAM.
fn server_with_passwords() -> (Server, tempfile::TempDir) {
    let directory = tempfile::Builder::new().prefix("pgprefork-test-").tempdir().expect("a temporary directory");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(directory.path(), open).expect("permissions");
    let (data, password) = (directory.path().join("data"), directory.path().join("password"));
    std::fs::write(&password, "pencil\n").expect("a password file");
    let status = Command::new(env!("CARGO_BIN_EXE_pgprefork"))
        .args(["init", "--auth", "scram-sha-256", "--data"])
        .arg(&data)
        .arg("--pwfile")
        .arg(&password)
        .stdout(Stdio::null())
        .status()
        .expect("pgprefork init");
    assert!(status.success());
    (Server::start_on(&data, &[], &[]), directory)
}

#[test]
fn a_server_that_is_full_is_counted_by_its_sqlstate() {
    let settings = ["pool.max_sessions=3", "pool.reserved_sessions=0", "pool.queue_timeout=50ms"];
    let arguments: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    let server = Server::start(&arguments);
    // Those who are in stay in; the run is over as soon as others were refused.
    let crowd = Plan {
        queries: 0,
        think: Duration::from_secs(3600),
        duration: PATIENCE,
        ..plan(server.port, Load::Closed { clients: 6 })
    };
    let mut watch = |progress: &pgprefork::bench::storm::Progress| {
        if progress.errors >= 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let outcome = run(&crowd, &mut watch).expect("a run");
    let full = outcome.tally.errors.of("53300");
    assert!(full >= 3 && full == outcome.tally.errors.total(), "{:?}", outcome.tally.errors);
    assert_eq!((outcome.tally.became_ready, outcome.tally.failed, outcome.tally.completed), (3, full, 0));
    let error = outcome.tally.errors.iter().next().expect("an error");
    assert_eq!(error.phase, Phase::Authentication);
}

#[test]
fn errors_in_queries_are_counted_and_the_session_goes_on() {
    let server = Server::start(&[]);
    let failing = Plan { queries: 2, query: "select 1 / 0".to_owned(), ..plan(server.port, open(20.0)) };
    let outcome = carry_out(&failing);
    assert_eq!((outcome.tally.due, outcome.tally.failed, outcome.tally.queries), (10, 10, 0));
    assert_eq!(outcome.tally.errors.of("22012"), 20);
    assert_eq!(count(&outcome, Phase::Ready), 10);
}

/// Serves one client after another with trust authentication until the process ends, and does something of its own
/// before it greets the client of that number.
fn fake_server(on_client: impl Fn(usize, &TcpStream) -> bool + Send + 'static) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(("127.0.0.1", free_port())).expect("a listener");
    let port = listener.local_addr().expect("its address").port();
    let served = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&served);
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let stream = stream.expect("a client");
            if on_client(number, &stream) {
                // A client that gives up is no failure of the server.
                let _ = serve(stream);
            }
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    (port, served)
}

/// One session with one query and one answer.
fn serve<S: Read + Write>(mut stream: S) -> std::io::Result<()> {
    let read = |stream: &mut S, header: usize| {
        let mut head = [0; 5];
        stream.read_exact(&mut head[..header])?;
        let length = u32::from_be_bytes(head[header - 4..header].try_into().expect("four bytes"));
        stream.read_exact(&mut vec![0; length as usize - 4])?;
        Ok::<u8, std::io::Error>(head[0])
    };
    read(&mut stream, 4)?;
    stream.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I")?;
    while read(&mut stream, 5)? == b'Q' {
        stream.write_all(b"C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I")?;
    }
    Ok(())
}

#[test]
fn an_open_loop_shows_a_stall_that_a_closed_loop_hides() {
    const STALL: Duration = Duration::from_millis(500);
    const FELT: Duration = Duration::from_millis(200);
    let stalling = || {
        let (port, _) = fake_server(|number, _| {
            if number == 20 {
                std::thread::sleep(STALL);
            }
            true
        });
        port
    };
    // 100 sessions a second are due whatever happens: those of the stall's first 300 ms wait 200 ms at least.
    let outcome = carry_out(&Plan { duration: Duration::from_secs(3), ..plan(stalling(), open(100.0)) });
    assert_no_errors(&outcome);
    assert_eq!(outcome.tally.due, 300);
    let felt = longer_than(&outcome, Phase::Ready, FELT);
    assert!(felt >= 29, "{felt} sessions felt the stall");
    let p95 = outcome.percentile(Phase::Ready, 95.0).expect("sessions");
    assert!(p95 >= FELT, "the 95th percentile is {p95:?}");
    // One client in a closed loop meets it once, and cannot have waited that long more often than the time allows.
    let duration = Duration::from_secs(2);
    let outcome = carry_out(&Plan { duration, ..plan(stalling(), Load::Closed { clients: 1 }) });
    assert_no_errors(&outcome);
    let felt = longer_than(&outcome, Phase::Ready, FELT);
    assert!((1..=10).contains(&felt), "{felt} sessions felt the stall");
}

#[test]
fn sessions_beyond_the_ceiling_and_those_without_an_answer_are_errors() {
    // The kernel takes the connections; nobody answers.
    let listener = TcpListener::bind(("127.0.0.1", free_port())).expect("a listener");
    let port = listener.local_addr().expect("its address").port();
    let timeout = Duration::from_millis(700);
    let outcome = carry_out(&Plan { max_open: 5, timeout, ..plan(port, open(100.0)) });
    let (late, refused) = (outcome.tally.errors.of("TIMEOUT"), outcome.tally.errors.of("TOO_MANY_OPEN"));
    assert_eq!((outcome.tally.due, late + refused), (50, 50));
    assert!(late >= 5 && refused > 0, "{late} waited in vain, {refused} were not begun");
    assert_eq!(outcome.tally.most_open, 5);
    // They have no time to ready, but it is known to be longer than they waited.
    assert_eq!(longer_than(&outcome, Phase::Ready, timeout - Duration::from_millis(1)), late);
}

#[test]
fn a_unix_socket_whose_queue_is_full_is_tried_again() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("socket");
    let listener = socket::socket(AddressFamily::Unix, SockType::Stream, SockFlag::empty(), None).expect("a socket");
    socket::bind(listener.as_raw_fd(), &UnixAddr::new(&path).expect("a path")).expect("its place");
    socket::listen(&listener, Backlog::new(1).expect("a length")).expect("a listener");
    // Nobody accepts for now: a few sessions get into the queue, the others cannot connect.
    let timeout = Duration::from_millis(700);
    let waiting = Plan { timeout, target: Target::Unix(path.clone()), ..plan(0, open(40.0)) };
    let outcome = carry_out(&waiting);
    assert_eq!((outcome.tally.due, outcome.tally.errors.of("TIMEOUT")), (20, 20), "{:?}", outcome.tally.errors);
    let in_vain = outcome.tally.errors.iter().find(|error| error.phase == Phase::Connect).map(|error| error.count);
    assert!(in_vain.is_some_and(|count| count >= 10), "{:?}", outcome.tally.errors);
    // Those left in the queue have gone; behind them there is room, and everybody gets in.
    std::thread::spawn(move || {
        for stream in std::os::unix::net::UnixListener::from(listener).incoming() {
            let _ = serve(stream.expect("a client"));
        }
    });
    assert_no_errors(&carry_out(&Plan { target: Target::Unix(path), ..plan(0, open(40.0)) }));
}

#[test]
fn errors_of_the_network_are_counted_by_name() {
    let few = |port| carry_out(&plan(port, open(40.0)));
    let refused = few(free_port());
    assert_eq!((refused.tally.due, refused.tally.errors.of("ECONNREFUSED")), (20, 20));
    let (port, _) = fake_server(|_, stream| {
        let at_once = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        setsockopt(stream, sockopt::Linger, &at_once).expect("no lingering");
        false
    });
    let reset = few(port);
    assert_eq!((reset.tally.due, reset.tally.errors.of("ECONNRESET")), (20, 20), "{:?}", reset.tally.errors);
    let (port, _) = fake_server(|_, mut stream| {
        let _ = stream.read(&mut [0; 1000]);
        false
    });
    let closed = few(port);
    assert_eq!((closed.tally.due, closed.tally.errors.of("CLOSED")), (20, 20), "{:?}", closed.tally.errors);
    let (port, _) = fake_server(|_, mut stream| {
        let _ = stream.read(&mut [0; 1000]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        false
    });
    let foreign = few(port);
    assert_eq!((foreign.tally.due, foreign.tally.failed), (20, 20));
    assert!(foreign.tally.errors.of("PROTOCOL") > 0, "{:?}", foreign.tally.errors);
}

#[test]
fn a_run_that_is_stopped_tells_what_there_is() {
    let server = Server::start(&[]);
    let whole = Plan { duration: Duration::from_secs(3600), ..plan(server.port, Load::Closed { clients: 2 }) };
    let mut watch = |progress: &pgprefork::bench::storm::Progress| {
        if progress.ready > 10 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let outcome = run(&whole, &mut watch).expect("a run");
    assert!(outcome.interrupted && outcome.tally.completed > 0);
    assert!(outcome.measured < whole.duration);
    let tally = &outcome.tally;
    assert_eq!(tally.due, tally.completed + tally.failed + tally.unfinished);
}

/// `pgprefork bench storm` with these arguments, against a port.
fn storm(port: u16, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgprefork"));
    command.args(["bench", "storm", "--port", &port.to_string()]).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).env_remove("PGPASSWORD");
    command
}

fn read_json(path: &Path) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(path).expect("the file")).expect("JSON")
}

#[test]
fn ctrl_c_prints_and_writes_what_there_is() {
    let (port, served) = fake_server(|_, _| true);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("out.json");
    let arguments = ["--rate", "200", "--seconds", "3600", "--warm-up", "0", "--json"];
    let child = storm(port, &arguments).arg(&file).spawn().expect("the program");
    wait_until("some sessions were served", || served.load(Ordering::Relaxed) > 20);
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).expect("it runs");
    let output = child.wait_with_output().expect("its end");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("stopped after") && text.contains("errors: 0"), "{text}");
    let json = read_json(&file);
    assert_eq!(json["interrupted"], true);
    let sessions = |name: &str| json["sessions"][name].as_u64().expect("a count");
    assert!(sessions("completed") > 0);
    assert_eq!(sessions("due"), sessions("completed") + sessions("failed") + sessions("unfinished"));
}

#[test]
fn errors_are_in_the_table_and_in_the_files() {
    let (server, _directory) = server_with_passwords();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (json, csv) = (directory.path().join("out.json"), directory.path().join("out.csv"));
    let mut command = storm(server.port, &["--rate", "20", "--arrivals", "constant", "--seconds", "1"]);
    command.args(["--warm-up", "0"]).arg("--json").arg(&json).arg("--csv").arg(&csv).env("PGPASSWORD", "wrong");
    let output = command.output().expect("the program");
    assert_eq!(output.status.code(), Some(1), "nothing became ready");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("20 x 28P01"), "{text}");
    let json = read_json(&json);
    assert_eq!((&json["errors"][0]["code"], &json["errors"][0]["count"]), (&"28P01".into(), &20.into()));
    let csv = std::fs::read_to_string(csv).expect("the file");
    assert!(csv.lines().any(|line| line == "1,errors,authentication 28P01,count,20"), "{csv}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (arguments, words) in [
        (&["--host", "192.0.2.1"][..], "--allow-remote"),
        (&["--clients", "0"], "needs a client"),
        (&["--rate", "0"], "rate"),
        (&["--seconds", "0"], "duration"),
        (&["--rate", "1", "--seconds", "inf"], "--seconds"),
    ] {
        let output = storm(free_port(), arguments).output().expect("the program");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains(words), "{arguments:?}: {text}");
    }
    let output = storm(free_port(), &["--find-rate", "--rate", "20", "--seconds", "0.2", "--warm-up", "0"]).output();
    let output = output.expect("the program");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("no rate was found") && text.contains("ECONNREFUSED"), "{text}");
}

#[test]
fn the_highest_rate_is_searched_for_until_errors_come() {
    let server = Server::start(&[]);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("out.json");
    // One session at a time: sooner or later the next one is due while the last one is there.
    let arguments = ["--find-rate", "--rate", "5", "--arrivals", "constant", "--p99", "60s", "--max-open", "1"];
    let mut command = storm(server.port, &arguments);
    command.args(["--threads", "1", "--seconds", "0.2", "--warm-up", "0", "--timeout", "60s", "--json"]).arg(&file);
    let output = command.output().expect("the program");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("highest rate") && text.contains("TOO_MANY_OPEN"), "{text}");
    let json = read_json(&file);
    let steps = json["steps"].as_array().expect("steps");
    let with = |verdict: &str| -> Vec<f64> {
        let found = steps.iter().filter(|step| step["verdict"] == verdict);
        found.map(|step| step["rate"].as_f64().expect("a rate")).collect()
    };
    let (kept, failed) = (with("kept"), with("errors"));
    assert_eq!(kept.len() + failed.len(), steps.len(), "{text}");
    let highest = json["highest_rate"].as_f64().expect("a rate");
    assert!(kept.contains(&highest) && failed.iter().all(|rate| *rate > highest), "{text}");
}

/// A PostgreSQL of its own on a temporary directory, with TLS and a certificate that it signed itself.
struct Postgres {
    port: u16,
    child: Child,
    _directory: tempfile::TempDir,
}

impl Postgres {
    /// With these access rules.
    fn start(rules: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("pgprefork-test-").tempdir().expect("a temporary directory");
        let data = directory.path().join("data");
        // PostgreSQL refuses to run as root.
        let user = if geteuid().is_root() { User::from_name("postgres").expect("users") } else { None };
        let own = |path: &Path| {
            if let Some(user) = &user {
                std::os::unix::fs::chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("chown");
            }
        };
        own(directory.path());
        let command = |program: &Path| {
            let mut command = Command::new(program);
            command.current_dir(directory.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            if let Some(user) = &user {
                std::os::unix::process::CommandExt::uid(&mut command, user.uid.as_raw());
                std::os::unix::process::CommandExt::gid(&mut command, user.gid.as_raw());
            }
            command
        };
        let initdb = command(&postgres_program("initdb"))
            .args(["-U", "postgres", "-A", "trust", "--no-sync", "-D"])
            .arg(&data)
            .status();
        assert!(initdb.expect("initdb").success());
        let certificate = command(&postgres_program("openssl"))
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"])
            .args(["-keyout", "data/server.key", "-out", "data/server.crt"])
            .status();
        assert!(certificate.expect("openssl").success());
        std::fs::write(data.join("pg_hba.conf"), format!("local all all trust\n{rules}")).expect("access rules");
        let port = free_port();
        let child = command(&postgres_program("postgres"))
            .args(["-D", "data", "-h", "127.0.0.1", "-p", &port.to_string(), "-k"])
            .arg(directory.path())
            .args(["-c", "ssl=on", "-c", "fsync=off"])
            .spawn()
            .expect("postgres");
        let postgres = Self { port, child, _directory: directory };
        wait_until("PostgreSQL answers", || postgres.psql("select 1"));
        postgres
    }

    /// Runs statements as the superuser over the Unix socket; whether they succeeded.
    fn psql(&self, sql: &str) -> bool {
        let mut command = Command::new(postgres_program("psql"));
        command.arg("-h").arg(self._directory.path()).args([
            "-p",
            &self.port.to_string(),
            "-U",
            "postgres",
            "-Xqc",
            sql,
        ]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().expect("psql").success()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGQUIT);
        let _ = self.child.wait();
    }
}

#[test]
fn tls_and_every_kind_of_password_against_postgresql() {
    let rules = "hostssl all anyone all trust\nhostssl all clear all password\nhostssl all md all md5\n\
                 hostssl all all all scram-sha-256\n";
    let postgres = Postgres::start(rules);
    let roles = "create role anyone login; create role clear login password 'pencil'; \
                 create role scram login password 'pencil'";
    assert!(postgres.psql(roles));
    assert!(postgres.psql("set password_encryption = 'md5'; create role md login password 'pencil'"));
    let with = |user: &str, encryption: Encryption, password: &str| {
        let plan = Plan {
            user: user.to_owned(),
            password: Some(password.to_owned()),
            encryption,
            queries: 2,
            // Longer than one TLS record, and than one read.
            query: "select repeat('x', 200000)".to_owned(),
            ..plan(postgres.port, open(10.0))
        };
        carry_out(&plan)
    };
    for user in ["anyone", "clear", "md", "scram"] {
        let outcome = with(user, Encryption::Full, "pencil");
        assert_no_errors(&outcome);
        assert_eq!(outcome.tally.due, 5);
        for phase in [Phase::Connect, Phase::Tls, Phase::Authentication, Phase::Ready] {
            assert_eq!(count(&outcome, phase), 5, "{user}: {}", phase.name());
        }
    }
    for user in ["clear", "md", "scram"] {
        assert_eq!(with(user, Encryption::Full, "pen").tally.errors.of("28P01"), 5, "{user}");
    }
    // Without encryption no rule fits.
    assert_eq!(with("anyone", Encryption::None, "").tally.errors.of("28000"), 5);
}

#[test]
fn a_server_without_tls_is_named() {
    let server = Server::start(&[]);
    let outcome = carry_out(&Plan { encryption: Encryption::Full, ..plan(server.port, open(20.0)) });
    assert_eq!(outcome.tally.errors.of("TLS_REFUSED"), 10);
}

#[test]
fn sessions_are_resumed_by_whatever_worker_takes_the_connection() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777))
        .expect("permissions");
    let data = directory.path().join("data");
    let made = Command::new(env!("CARGO_BIN_EXE_pgprefork"))
        .args(["init", "--auth", "trust", "--tls-self-signed", "--data"])
        .arg(&data)
        .output()
        .expect("the program");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let server = Server::start_on(&data, &[], &[]);
    // One after another, so that each has a ticket of the one before; a worker serves one session each.
    let one = Plan { load: Load::Closed { clients: 1 }, threads: 1, ..plan(server.port, Load::Closed { clients: 1 }) };
    let resumed = carry_out(&Plan { encryption: Encryption::Resumed, ..one.clone() });
    assert_no_errors(&resumed);
    assert!(resumed.tally.resumed + 1 >= resumed.tally.became_ready && resumed.tally.resumed > 1);
    let whole = carry_out(&Plan { encryption: Encryption::Full, ..one });
    assert_no_errors(&whole);
    assert_eq!((whole.tally.resumed, whole.tally.became_ready > 1), (0, true));
}
