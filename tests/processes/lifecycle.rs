//! Starting, stopping, reloading, and what is refused.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::Signal;

use crate::server::{Detached, Server, command, directory, eventually, free_port, is_alive};

pub const TESTS: &[(&str, fn())] = &[
    ("a_fast_shutdown_ends_sessions_and_leaves_nothing", a_fast_shutdown_ends_sessions_and_leaves_nothing),
    ("a_smart_shutdown_waits_for_sessions", a_smart_shutdown_waits_for_sessions),
    ("an_immediate_shutdown_is_reported", an_immediate_shutdown_is_reported),
    ("a_second_server_on_the_directory_is_refused", a_second_server_on_the_directory_is_refused),
    ("a_port_that_is_taken_is_named", a_port_that_is_taken_is_named),
    ("a_stale_lock_file_is_no_obstacle", a_stale_lock_file_is_no_obstacle),
    ("a_configuration_that_makes_no_sense_is_refused", a_configuration_that_makes_no_sense_is_refused),
    ("a_cluster_of_a_newer_format_is_refused", a_cluster_of_a_newer_format_is_refused),
    ("init_creates_a_cluster_once", init_creates_a_cluster_once),
    ("a_reload_replaces_idle_workers", a_reload_replaces_idle_workers),
    ("a_reload_reaches_workers_that_were_not_known_yet", a_reload_reaches_workers_that_were_not_known_yet),
    ("reloads_under_load_lose_no_session", reloads_under_load_lose_no_session),
    ("max_sessions_changes_without_a_restart", max_sessions_changes_without_a_restart),
    ("the_service_manager_is_told", the_service_manager_is_told),
    ("a_watchdog_that_is_not_ours_is_not_fed", a_watchdog_that_is_not_ours_is_not_fed),
    ("systemd_understands_the_units", systemd_understands_the_units),
    ("a_listening_socket_is_taken_over", a_listening_socket_is_taken_over),
    ("a_detached_server_is_found_and_stopped", a_detached_server_is_found_and_stopped),
    ("a_server_is_found_whatever_its_program_is_called", a_server_is_found_whatever_its_program_is_called),
    ("an_idle_server_does_not_tick", an_idle_server_does_not_tick),
    ("log_lines_may_be_json", log_lines_may_be_json),
    ("surplus_workers_retire", surplus_workers_retire),
];

fn a_fast_shutdown_ends_sessions_and_leaves_nothing() {
    for model in ["prefork", "fork-on-accept"] {
        let mut server = Server::start(&[&format!("pool.model={model}")]);
        let mut client = server.connect();
        let children = server.children();
        server.signal(Signal::SIGINT);
        assert_eq!(server.wait(), Some(0));
        assert!(client.simple_query("select 1").is_err());
        assert!(!children.iter().any(|pid| is_alive(*pid)));
        assert!(!server.data.join("postmaster.pid").exists());
        let left = fs::read_dir(server.data.parent().unwrap()).unwrap().count();
        assert_eq!(left, 1, "socket files are left");
    }
}

fn a_smart_shutdown_waits_for_sessions() {
    let mut server = Server::start(&["pool.sessions_per_worker=0"]);
    let mut client = server.connect();
    server.signal(Signal::SIGTERM);
    eventually("new clients are refused", || server.try_connect().is_err());
    assert!(client.simple_query("select 1").is_ok());
    drop(client);
    assert_eq!(server.wait(), Some(0));
}

fn an_immediate_shutdown_is_reported() {
    let mut server = Server::start(&[]);
    let _client = server.connect();
    server.signal(Signal::SIGQUIT);
    assert_eq!(server.wait(), Some(1));
}

fn a_second_server_on_the_directory_is_refused() {
    let server = Server::start(&[]);
    let refusal = Server::start_on(&server.data, free_port(), &[]).err().unwrap();
    assert!(refusal.contains("exit status: 1"), "{refusal}");
    assert!(refusal.contains(&format!("another postmaster (PID {}) is running", server.pid())), "{refusal}");
    assert!(server.connect().simple_query("select 1").is_ok());
}

fn a_port_that_is_taken_is_named() {
    let server = Server::start(&[]);
    let other = directory();
    let refusal = Server::start_on(&other.path().join("data"), server.port, &[]).err().unwrap();
    assert!(refusal.contains("exit status: 1"), "{refusal}");
    assert!(refusal.contains(&format!("port {} on 127.0.0.1 is in use", server.port)), "{refusal}");
    assert!(!other.path().join("data/postmaster.pid").exists());
}

fn a_stale_lock_file_is_no_obstacle() {
    let directory = directory();
    let (data, port) = (directory.path().join("data"), free_port());
    drop(Server::start_on(&data, port, &[]).unwrap());
    fs::write(data.join("postmaster.pid"), format!("999999999\n{}\n", data.display())).unwrap();
    fs::write(directory.path().join(format!(".s.PGSQL.{port}.lock")), "999999999\n").unwrap();
    // Written by root here, and the server is somebody else then.
    for path in [data.join("postmaster.pid"), directory.path().join(format!(".s.PGSQL.{port}.lock"))] {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    }
    let server = Server::start_on(&data, port, &[]).unwrap();
    assert!(server.connect().simple_query("select 1").is_ok());
}

fn a_configuration_that_makes_no_sense_is_refused() {
    let directory = directory();
    let data = directory.path().join("data");
    drop(Server::start_on(&data, free_port(), &[]).unwrap());
    fs::write(data.join("pgprefork.toml"), "[pool]\nmax_session = 3\n").unwrap();
    let refusal = Server::start_on(&data, free_port(), &[]).err().unwrap();
    assert!(refusal.contains("pgprefork.toml:2:1: unknown field `max_session`"), "{refusal}");
    fs::write(data.join("pgprefork.toml"), "").unwrap();
    fs::write(data.join("pg_hba.conf"), "host all all nowhere trust\nlocal all\n").unwrap();
    let refusal = Server::start_on(&data, free_port(), &[]).err().unwrap();
    assert!(refusal.contains("pg_hba.conf:2:"), "{refusal}");
    assert!(!data.join("postmaster.pid").exists());
}

fn a_reload_replaces_idle_workers() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let before = server.workers();
    fs::write(server.data.join("pgprefork.toml"), "[pool\n").unwrap();
    server.signal(Signal::SIGHUP);
    assert!(server.connect().simple_query("select 1").is_ok());
    fs::write(server.data.join("pgprefork.toml"), "[pool]\nmax_sessions = 50\n").unwrap();
    server.signal(Signal::SIGHUP);
    eventually("idle workers are new", || {
        let now = server.workers();
        now.len() >= 8 && now.iter().filter(|pid| before.contains(pid)).count() <= 1
    });
    assert!(client.simple_query("select 1").is_ok());
}

/// Workers that the template has forked while the postmaster was busy are told as well.
fn a_reload_reaches_workers_that_were_not_known_yet() {
    let server = Server::start(&["engine.kind=sqlite"]);
    for round in 0..3 {
        let path = format!("path_{round}");
        // They use workers up, so that new ones are ordered.
        let is_over = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..3)
            .map(|_| {
                let (parameters, is_over) = (server.parameters(), Arc::clone(&is_over));
                std::thread::spawn(move || {
                    while !is_over.load(Ordering::Relaxed) {
                        drop(postgres::Client::connect(&parameters, postgres::NoTls).unwrap());
                    }
                })
            })
            .collect();
        let forks = || server.status()["counters"]["forks"].as_u64().unwrap();
        let before = forks();
        eventually("workers are replaced", || forks() > before + 20);
        fs::write(server.data.join("pgprefork.toml"), format!("[session]\nsearch_path = \"{path}\"\n")).unwrap();
        server.signal(Signal::SIGSTOP);
        is_over.store(true, Ordering::Relaxed);
        std::thread::sleep(std::time::Duration::from_millis(100));
        let old = server.workers();
        server.signal(Signal::SIGHUP);
        server.signal(Signal::SIGCONT);
        clients.into_iter().for_each(|client| client.join().unwrap());
        eventually("reloaded", || server.log.text().matches("configuration reloaded").count() == round + 1);
        eventually("those of the old settings leave", || server.workers().iter().all(|worker| !old.contains(worker)));
        let shown = server.connect().query_one("select current_setting('search_path')", &[]).unwrap();
        assert_eq!(shown.get::<_, String>(0), path);
    }
}

fn reloads_under_load_lose_no_session() {
    reload_under_load("null");
    reload_under_load("sqlite");
}

fn reload_under_load(engine: &str) {
    let server = Server::start(&["pool.sessions_per_worker=5", &format!("engine.kind={engine}")]);
    let mut bystander = server.connect();
    let parameters = server.parameters();
    let client = || {
        let parameters = parameters.clone();
        std::thread::spawn(move || {
            for _ in 0..50 {
                let mut client = postgres::Client::connect(&parameters, postgres::NoTls).unwrap();
                client.simple_query("select 1").unwrap();
            }
        })
    };
    let clients: Vec<_> = (0..4).map(|_| client()).collect();
    for round in 1..=10 {
        let reload = |text: &str, outcome: &str| {
            fs::write(server.data.join("pgprefork.toml"), text).unwrap();
            server.signal(Signal::SIGHUP);
            eventually(outcome, || server.log.text().matches(outcome).count() == round);
        };
        reload("[pool]\nmax_spare = 20\n", "configuration reloaded");
        reload("[pool]\nmax_spare = \"many\"\n", "pgprefork.toml:2:13: invalid type");
    }
    let lost = clients.into_iter().filter_map(|client| client.join().err()).count();
    println!("  ten good and ten bad reloads beside four clients, {engine}: {lost} lost");
    assert_eq!(lost, 0);
    assert!(bystander.simple_query("select 1").is_ok());
    assert_eq!(server.status()["exits"]["crashed"], 0);
    // Access rules too.
    fs::write(server.data.join("pgprefork.toml"), "").unwrap();
    fs::write(server.data.join("pg_hba.conf"), "host all all 127.0.0.1/32 reject\n").unwrap();
    server.signal(Signal::SIGHUP);
    eventually("the new rules hold", || server.try_connect().is_err());
    assert!(bystander.simple_query("select 1").is_ok());
}

fn max_sessions_changes_without_a_restart() {
    let directory = directory();
    let (data, port) = (directory.path().join("data"), free_port());
    drop(Server::start_on(&data, port, &[]).unwrap());
    fs::write(data.join("pgprefork.toml"), "[pool]\nmax_sessions = 3\n").unwrap();
    let settings = [
        "pool.slot_limit=12",
        "pool.reserved_sessions=0",
        "pool.min_spare=1",
        "pool.max_spare=2",
        "pool.queue_timeout=50ms",
    ];
    let server = Server::start_on(&data, port, &settings).unwrap();
    let reload = |limit: u32| {
        fs::write(server.data.join("pgprefork.toml"), format!("[pool]\nmax_sessions = {limit}\n")).unwrap();
        let before = server.log.text().matches("configuration reloaded").count();
        server.signal(Signal::SIGHUP);
        eventually("reloaded", || server.log.text().matches("configuration reloaded").count() > before);
    };
    let mut clients: Vec<_> = (0..3).map(|_| server.connect()).collect();
    eventually("the fourth is refused", || server.try_connect().is_err());
    reload(6);
    eventually("there is room", || {
        clients.extend(server.try_connect().ok());
        clients.len() == 6
    });
    assert!(server.try_connect().is_err());
    assert!(clients.iter_mut().all(|client| client.simple_query("select 1").is_ok()));
    fs::write(server.data.join("pgprefork.toml"), "[pool]\nmax_sessions = 13\n").unwrap();
    server.signal(Signal::SIGHUP);
    eventually("more than the slots is refused", || server.log.text().contains("pool.slot_limit (12) is less than"));
}

fn the_service_manager_is_told() {
    use std::os::unix::fs::PermissionsExt;
    let directory = directory();
    let (data, port, path) = (directory.path().join("data"), free_port(), directory.path().join("notify"));
    let manager = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    manager.set_read_timeout(Some(crate::server::PATIENCE)).unwrap();
    let expect = |state: &str| loop {
        let mut bytes = [0; 256];
        let count = manager.recv(&mut bytes).unwrap_or_else(|error| panic!("never told {state}: {error}"));
        let message = String::from_utf8_lossy(&bytes[..count]).into_owned();
        if message.lines().any(|line| line == state) {
            return message;
        }
    };
    let mut command = command(&data, port, &[]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "100000");
    let mut server = Server::launch(command, &data, port).unwrap();
    assert!(expect("READY=1").lines().any(|line| line == format!("MAINPID={}", server.pid())));
    expect("WATCHDOG=1");
    expect("WATCHDOG=1");
    let before_us = shm::clock::monotonic_us();
    server.signal(Signal::SIGHUP);
    // The manager tells by the time that this is the reload that it has asked for.
    let reloading = expect("RELOADING=1");
    let told_us = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")?.parse::<u64>().ok());
    assert!(told_us.is_some_and(|us| us >= before_us && us <= shm::clock::monotonic_us()), "{reloading}");
    expect("READY=1");
    server.signal(Signal::SIGINT);
    expect("STOPPING=1");
    assert_eq!(server.wait(), Some(0));
}

/// Everything that a server says to its manager from start to end, with these variables set.
fn told_with(variables: &[(&str, &str)]) -> Vec<String> {
    use std::os::unix::fs::PermissionsExt;
    let directory = directory();
    let (data, port, path) = (directory.path().join("data"), free_port(), directory.path().join("notify"));
    let manager = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    let mut command = command(&data, port, &[]);
    command.env("NOTIFY_SOCKET", &path).envs(variables.iter().copied());
    let mut server = Server::launch(command, &data, port).unwrap();
    // Many times as long as a watchdog would be left without a sign of life.
    std::thread::sleep(std::time::Duration::from_millis(200));
    server.signal(Signal::SIGINT);
    assert_eq!(server.wait(), Some(0));
    manager.set_nonblocking(true).unwrap();
    let mut bytes = [0; 256];
    let mut lines = Vec::new();
    while let Ok(count) = manager.recv(&mut bytes) {
        lines.extend(String::from_utf8_lossy(&bytes[..count]).lines().map(str::to_owned));
    }
    lines
}

fn a_watchdog_that_is_not_ours_is_not_fed() {
    let cases: [&[(&str, &str)]; 4] = [
        &[],
        &[("WATCHDOG_USEC", "20000"), ("WATCHDOG_PID", "1")],
        &[("WATCHDOG_USEC", "0")],
        &[("WATCHDOG_USEC", "soon")],
    ];
    for variables in cases {
        let lines = told_with(variables);
        assert!(lines.iter().any(|line| line == "READY=1"), "{variables:?}: {lines:?}");
        assert!(lines.iter().any(|line| line == "STOPPING=1"), "{variables:?}: {lines:?}");
        assert!(!lines.iter().any(|line| line.starts_with("WATCHDOG")), "{variables:?}: {lines:?}");
    }
}

/// What `examples/` offers, with the program where it is now.
fn systemd_understands_the_units() {
    let directory = directory();
    for name in ["pgprefork.service", "pgprefork.socket"] {
        let unit = fs::read_to_string(format!("{}/examples/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let unit = unit.replace("/usr/local/bin/pgprefork", env!("CARGO_BIN_EXE_pgprefork"));
        fs::write(directory.path().join(name), unit).unwrap();
    }
    for name in ["pgprefork.service", "pgprefork.socket"] {
        let output = Command::new("systemd-analyze").arg("verify").arg(directory.path().join(name)).output();
        let output = output.expect("systemd-analyze is installed");
        let said = String::from_utf8_lossy(&output.stderr);
        // It speaks of other units of this machine, too.
        assert!(!said.lines().any(|line| line.contains("pgprefork")), "{said}");
        assert!(output.status.success(), "{said}");
    }
}

fn a_listening_socket_is_taken_over() {
    let directory = directory();
    let (data, port) = (directory.path().join("data"), free_port());
    let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let inner = command(&data, port, &[]);
    let mut outer = Command::new("bash");
    // The shell becomes the server, so that its pid is the one that the socket is for.
    outer.args(["-c", "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\" 3<&0 0</dev/null", "bash"]);
    outer.arg(inner.get_program()).args(inner.get_args());
    outer.stdin(std::os::fd::OwnedFd::from(listener));
    let server = Server::launch(outer, &data, port).unwrap();
    assert!(server.connect().simple_query("select 1").is_ok());
}

fn a_detached_server_is_found_and_stopped() {
    let directory = directory();
    let (data, port) = (directory.path().join("data"), free_port());
    let _end = Detached(&data);
    let output = command(&data, port, &[]).arg("--detach").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("ready to accept connections"));
    let tool = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_pgprefork")).args(arguments).arg("--data").arg(&data).output().unwrap()
    };
    assert!(tool(&["status"]).status.success());
    let status = tool(&["status", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert!(json["pool"]["idle"].as_u64() >= Some(8), "{json}");
    let stopped = tool(&["stop", "--mode", "smart"]);
    assert!(stopped.status.success(), "{stopped:?}");
    assert_eq!(tool(&["status"]).status.code(), Some(3));
    assert_eq!(tool(&["stop"]).status.code(), Some(1));
}

fn a_server_is_found_whatever_its_program_is_called() {
    let directory = directory();
    let (data, port, program) = (directory.path().join("data"), free_port(), directory.path().join("our-server"));
    fs::copy(env!("CARGO_BIN_EXE_pgprefork"), &program).unwrap();
    let usual = command(&data, port, &[]);
    let mut renamed = Command::new(&program);
    renamed.args(usual.get_args());
    let _server = Server::launch(renamed, &data, port).unwrap();
    let tool = |name: &str| Command::new(&program).arg(name).arg("--data").arg(&data).status().unwrap();
    assert!(tool("status").success());
    assert!(tool("stop").success());
    assert_eq!(tool("status").code(), Some(3));
}

/// Voluntary context switches count every time a process slept and was woken.
fn an_idle_server_does_not_tick() {
    let exporter = format!("metrics.listen=127.0.0.1:{}", free_port());
    let server = Server::start(&["engine.kind=sqlite", &exporter]);
    let mut client = server.connect();
    client.simple_query("select 1").unwrap();
    let switches = || -> Vec<String> {
        let pids = server.children().into_iter().chain([server.pid()]);
        let line = |text: String| text.lines().find(|line| line.starts_with("voluntary")).map(str::to_owned);
        pids.filter_map(|pid| line(fs::read_to_string(format!("/proc/{pid}/status")).ok()?)).collect()
    };
    let mut last = switches();
    eventually("everything has come to rest", || {
        std::thread::sleep(std::time::Duration::from_millis(100));
        let now = switches();
        std::mem::replace(&mut last, now.clone()) == now
    });
    // The time in which nothing may happen is what this test is about.
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert_eq!(switches(), last);
}

fn log_lines_may_be_json() {
    let server = Server::start(&["log.format=json", "log.connections=true"]);
    drop(server.connect());
    let said = |wanted: &str| {
        let text = server.log.text();
        let mut lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.any(|line| {
            let is_whole = line["timestamp"].is_string() && line["pid"].is_number() && line["error_severity"] == "LOG";
            is_whole && line["message"].as_str().unwrap().contains(wanted)
        })
    };
    eventually("the session is told of", || said("connection authorized: user=postgres database=postgres"));
    // Written after clients have been let in.
    eventually("readiness is told of", || said("ready to accept connections"));
}

fn surplus_workers_retire() {
    let server = Server::start(&["pool.start_workers=12", "pool.min_spare=2", "pool.max_spare=5"]);
    eventually("only max_spare are left", || server.workers().len() == 5);
    assert!(server.connect().simple_query("select 1").is_ok());
}

fn a_cluster_of_a_newer_format_is_refused() {
    let directory = directory();
    let data = directory.path().join("data");
    drop(Server::start_on(&data, free_port(), &[]).unwrap());
    fs::write(data.join("pgprefork.version"), "999\n").unwrap();
    let refusal = Server::start_on(&data, free_port(), &[]).err().unwrap();
    assert!(refusal.contains("exit status: 1") && refusal.contains("format 999"), "{refusal}");
    assert!(!data.join("postmaster.pid").exists());
}

fn init_creates_a_cluster_once() {
    let directory = directory();
    let (data, password) = (directory.path().join("data"), directory.path().join("password"));
    fs::write(&password, "secret\n").unwrap();
    let init = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgprefork"));
        command.args(["init", "--auth", "scram-sha-256", "--pwfile"]).arg(&password).arg("--data").arg(&data);
        command.output().unwrap()
    };
    assert!(init().status.success(), "{:?}", init());
    let again = init();
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("not empty"), "{again:?}");
    let rules = fs::read_to_string(data.join("pg_hba.conf")).unwrap();
    assert!(rules.contains("scram-sha-256") && !rules.contains("trust"), "{rules}");
}
