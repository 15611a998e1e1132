//! Ends that nobody wished for: kill -9 of a worker, clients that vanish, a server upstream that goes and comes back.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::place::{arguments, relay, strings, upstream};
use crate::support::postgresql::PostgreSql;
use crate::support::{PATIENCE, Server, wait_until};
use crate::wire::{Raw, shown};

fn value(raw: &mut Raw, sql: &str) -> String {
    let shown = raw.query(sql);
    let found = shown.split_once("D(").and_then(|(_, rest)| rest.split_once(')'));
    found.unwrap_or_else(|| panic!("{sql}: {shown}")).0.to_owned()
}

#[test]
fn kill_9_of_a_worker_in_a_transaction_ends_exactly_its_connection() {
    let upstream = upstream();
    for mode in ["session", "transaction"] {
        let server = relay(upstream.port, mode, &["relay.default_pool_size=2"]);
        let mut admin = Raw::connect(upstream.port);
        admin.query("drop table if exists killed; create table killed (who int)");
        let (mut a, mut b) = (Raw::connect(server.port), Raw::connect(server.port));
        a.query("begin; insert into killed values (1)");
        b.query("begin; insert into killed values (2)");
        let backend = value(&mut a, "select pg_backend_pid()");
        kill(Pid::from_raw(a.process.cast_signed()), Signal::SIGKILL).expect("the worker");
        assert_eq!(a.until_end(), []);
        let is_gone = format!("select count(*) from pg_stat_activity where pid = {backend}");
        wait_until("its connection is closed", || value(&mut admin, &is_gone) == "0");
        // The place comes free; the other one goes on.
        let mut c = Raw::connect(server.port);
        assert_eq!(c.query("begin; insert into killed values (3)"), "C(BEGIN) C(INSERT 0 1) Z(T)");
        assert_eq!(b.query("commit"), "C(COMMIT) Z(I)");
        assert_eq!(c.query("commit"), "C(COMMIT) Z(I)");
        assert_eq!(value(&mut admin, "select string_agg(who::text, '' order by who) from killed"), "23");
    }
}

#[test]
fn kill_9_while_a_connection_changes_hands() {
    let upstream = upstream();
    let mut admin = Raw::connect(upstream.port);
    admin.query("create table handed (who int, turn int)");
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("permissions");
    let points = ["upstream-leased", "upstream-taken", "upstream-put"];
    let token = |point: &str| folder.path().join(point);
    let stops: Vec<_> = points.iter().map(|point| format!("{point}:kill:{}", token(point).display())).collect();
    let data = folder.path().join("data");
    let arguments = arguments(upstream.port, "transaction", &["relay.default_pool_size=2"]);
    let environment = [("PGPREFORK_TEST_STOP", stops.join(","))];
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let server = Server::start_on(&data, &strings(&arguments), &environment);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let acknowledged: Vec<u32> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..6)
            .map(|who| {
                let (stop, port) = (&stop, server.port);
                scope.spawn(move || {
                    let mut count = 0;
                    let mut raw = None;
                    while !stop.load(Relaxed) {
                        let Some(client) = &mut raw else {
                            raw = Raw::try_connect(port, &[]).ok();
                            continue;
                        };
                        client.send(|out| out.query(&format!("insert into handed values ({who}, 0)")));
                        match std::iter::from_fn(|| client.next()).find(|(kind, _)| *kind == b'Z') {
                            Some(_) => count += 1,
                            None => raw = None,
                        }
                    }
                    count
                })
            })
            .collect();
        for _ in 0..5 {
            for point in points {
                let token = token(point);
                std::fs::write(&token, "").expect("a token");
                let began = Instant::now();
                while token.exists() {
                    if began.elapsed() > PATIENCE {
                        stop.store(true, Relaxed);
                        panic!("no worker came to {point}: {:?}\n{}", server.pools().collect::<Vec<_>>(), server.log());
                    }
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
        }
        stop.store(true, Relaxed);
        clients.into_iter().map(|client| client.join().expect("a client")).collect()
    });
    // Both places are there still.
    let [mut a, mut b] = [(); 2].map(|()| Raw::connect(server.port));
    assert_eq!((a.query("begin"), b.query("begin")), ("C(BEGIN) Z(T)".into(), "C(BEGIN) Z(T)".into()));
    // What was acknowledged is there, and of a killed client's at most the one in flight besides.
    let total: u32 = acknowledged.iter().sum();
    let found: u32 = value(&mut admin, "select count(*) from handed").parse().expect("a count");
    assert!((total..=total + 15).contains(&found), "{found} of {total}\n{}", server.log());
    admin.query("drop table handed");
}

#[test]
fn a_client_that_vanishes_leaves_nothing() {
    let upstream = upstream();
    for mode in ["session", "transaction"] {
        let server = relay(upstream.port, mode, &["relay.default_pool_size=1"]);
        let mut admin = Raw::connect(upstream.port);
        admin.query("drop table if exists left_by; create table left_by (who int)");
        // In a transaction: the connection is kept, rolled back.
        let mut a = Raw::connect(server.port);
        let backend = value(&mut a, "select pg_backend_pid()");
        a.query("begin; insert into left_by values (1); set timezone = 'Asia/Tokyo'");
        drop(a);
        let mut b = Raw::connect(server.port);
        assert_eq!(value(&mut b, "select pg_backend_pid()"), backend, "{mode}");
        assert_eq!(value(&mut b, "select count(*) from left_by"), "0");
        assert_eq!(value(&mut b, "select current_setting('TimeZone') <> 'Asia/Tokyo'"), "t");
        // In the middle of COPY and of a pipeline without Sync: another connection, and nothing stays.
        drop(b);
        for write in [
            (|raw: &mut Raw| raw.send(|out| out.query("copy left_by from stdin"))) as fn(&mut Raw),
            |raw| raw.send(|out| out.parse("", "select 1", &[])),
            |raw| raw.send_bytes(b"Q\0\0\0\x40half a message"),
            |raw| raw.send(|out| out.query("select pg_sleep(0.05), repeat('x', 1000000)")),
        ] {
            let mut gone = Raw::connect(server.port);
            gone.query("begin; insert into left_by values (2)");
            write(&mut gone);
            drop(gone);
            assert_eq!(
                Raw::connect(server.port).query("select count(*) from left_by"),
                "T D(0) C(SELECT 1) Z(I)",
                "{mode}"
            );
        }
        break_off(&server);
    }
}

/// Clients that vanish in the middle of their log-in.
fn break_off(server: &Server) {
    for bytes in [&b"\0\0"[..], b"\0\0\0\x08\0\x03\0\0", b"\0\0\0\x40\0\x03\0\0user\0"] {
        use std::io::Write;
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", server.port)).expect("a connection");
        stream.write_all(bytes).expect("sending");
    }
    assert!(Raw::connect(server.port).query("select 1").starts_with("T D(1)"));
}

/// What a client is told before the end. The words of a WARNING differ with the moment.
fn last_words(raw: &mut Raw) -> String {
    let words = raw.until_end();
    words
        .iter()
        .map(|reply| if reply.0 == b'N' { "N".to_owned() } else { shown(std::slice::from_ref(reply)) })
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn a_server_upstream_that_goes_and_comes_back() {
    let mut own = PostgreSql::start(&[]);
    for mode in ["session", "transaction"] {
        for orderly in [true, false] {
            let waits = ["relay.query_wait_timeout=3s", "relay.server_login_retry=50ms"];
            let server = relay(own.port, mode, &[&["relay.default_pool_size=3"][..], &waits].concat());
            let [mut idle, mut active, mut busy] = [(); 3].map(|()| Raw::connect(server.port));
            idle.query("select 1");
            active.query("begin; select 1");
            busy.send(|out| out.query("select pg_sleep(100)"));
            let mut admin = Raw::connect(own.port);
            let sleeps = "select count(*) from pg_stat_activity where query like 'select pg_sleep%'";
            wait_until("it sleeps", || value(&mut admin, sleeps) == "1");
            own.stop(orderly);
            // The client is told once. An immediate shutdown is a WARNING upstream, and the end of the connection.
            let expected = if orderly { "E(57P01)" } else { "N E(08006)" };
            assert_eq!(last_words(&mut busy), format!("T {expected}"), "{mode}");
            assert_eq!(last_words(&mut active), expected, "{mode}");
            if mode == "session" {
                assert_eq!(last_words(&mut idle), expected, "{mode}");
            }
            let refused = Raw::try_connect(server.port, &[]).err().expect("an error");
            assert!(refused.starts_with("08006 could not connect to upstream server"), "{refused}");
            own.start_again();
            if mode == "transaction" {
                // It has noticed nothing.
                assert_eq!(idle.query("select 2"), "T D(2) C(SELECT 1) Z(I)");
            }
            let mut all = [(); 2].map(|()| Raw::connect(server.port));
            for raw in &mut all {
                assert_eq!(raw.query("begin; select 3"), "C(BEGIN) T D(3) C(SELECT 1) Z(T)");
            }
        }
    }
}

#[test]
fn one_backend_that_is_terminated() {
    let upstream = upstream();
    let server = relay(upstream.port, "transaction", &["relay.default_pool_size=1"]);
    let mut admin = Raw::connect(upstream.port);
    let (mut a, mut b) = (Raw::connect(server.port), Raw::connect(server.port));
    a.query("begin");
    let backend = value(&mut a, "select pg_backend_pid()");
    admin.query(&format!("select pg_terminate_backend({backend})"));
    assert_eq!(shown(&a.until_end()), "E(57P01)");
    // While nobody has it, nobody is told.
    let backend = value(&mut b, "select pg_backend_pid()");
    admin.query(&format!("select pg_terminate_backend({backend}, 10000)"));
    assert_ne!(value(&mut b, "select pg_backend_pid()"), backend);
}
