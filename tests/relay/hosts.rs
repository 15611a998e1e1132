//! Several upstream servers: a primary and a standby that streams from it, roles, balance, failover.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;

use crate::place::relay;
use crate::support::postgresql::PostgreSql;
use crate::support::{Server, free_port, wait_until};
use crate::wire::Raw;

const PORT: &str = "select current_setting('port')";

/// A server that relays all databases to one of those ports.
fn relay_to(ports: &[u16], mode: &str, wanted: &str, settings: &[&str]) -> Server {
    let hosts: Vec<_> = ports.iter().map(|port| format!("\"127.0.0.1:{port}\"")).collect();
    let databases = format!("relay.databases={{\"*\" = {{hosts = [{}], {wanted}}}}}", hosts.join(", "));
    let fast = ["relay.query_wait_timeout=60s", "relay.server_login_retry=200ms", &databases];
    relay(ports[0], mode, &[&fast[..], settings].concat())
}

fn value(raw: &mut Raw, sql: &str) -> String {
    let shown = raw.query(sql);
    let found = shown.split_once("D(").and_then(|(_, rest)| rest.split_once(')'));
    found.unwrap_or_else(|| panic!("{sql}: {shown}")).0.to_owned()
}

fn port_of_a_session(server: &Server) -> u16 {
    value(&mut Raw::connect(server.port), PORT).parse().expect("a port")
}

#[test]
fn target_session_attrs_and_balance() {
    let primary = PostgreSql::start(&["max_connections=50"]);
    let standby = primary.standby();
    let (first, second) = (primary.port, standby.port);
    for (wanted, expected) in [
        ("any", second),
        ("read-write", first),
        ("primary", first),
        ("read-only", second),
        ("standby", second),
        ("prefer-standby", second),
    ] {
        for mode in ["session", "transaction"] {
            let server = relay_to(&[second, first], mode, &format!("target_session_attrs = \"{wanted}\""), &[]);
            assert_eq!(port_of_a_session(&server), expected, "{wanted}");
        }
    }
    // A host where nobody listens is passed over.
    let closed = free_port();
    let server = relay_to(&[closed, second, first], "session", "target_session_attrs = \"read-write\"", &[]);
    assert_eq!(port_of_a_session(&server), first);
    let server = relay_to(&[closed, first], "session", "target_session_attrs = \"prefer-standby\"", &[]);
    assert_eq!(port_of_a_session(&server), first);
    // None fits.
    for (ports, wanted, reason) in [
        ([second], "read-write", "session is read-only"),
        ([first], "read-only", "session is not read-only"),
        ([second], "primary", "server is in hot standby mode"),
        ([first], "standby", "server is not in hot standby mode"),
    ] {
        let attrs = format!("target_session_attrs = \"{wanted}\"");
        let server = relay_to(&ports, "session", &attrs, &["relay.query_wait_timeout=300ms"]);
        let refused = Raw::try_connect(server.port, &[]).err();
        let [port] = ports;
        let expected = format!("08006 could not connect to upstream server 127.0.0.1:{port}: {reason}");
        assert_eq!(refused.as_deref(), Some(&*expected));
    }
    // What a server that is there refuses is told at once.
    let server = relay_to(&[first, second], "session", "target_session_attrs = \"any\"", &[]);
    let refused = Raw::try_connect(server.port, &[("database", "nowhere")]).err();
    assert_eq!(refused.as_deref(), Some("3D000 database \"nowhere\" does not exist"));
    for (balance, expected) in [("disable", [6, 0]), ("round-robin", [3, 3]), ("least-busy", [3, 3])] {
        let server = relay_to(&[first, second], "session", &format!("load_balance_hosts = \"{balance}\""), &[]);
        let mut sessions: Vec<_> = (0..6).map(|_| Raw::connect(server.port)).collect();
        let mut counts = BTreeMap::from([(first, 0), (second, 0)]);
        for session in &mut sessions {
            *counts.get_mut(&value(session, PORT).parse().expect("a port")).expect("a host") += 1;
        }
        assert_eq!([counts[&first], counts[&second]], expected, "{balance}");
    }
    let server = relay_to(&[first, second], "session", "load_balance_hosts = \"random\"", &[]);
    let _kept: Vec<_> = (0..4).map(|_| Raw::connect(server.port)).collect();
    assert!([first, second].contains(&port_of_a_session(&server)));
}

#[test]
fn a_cancel_request_and_the_console_find_the_host() {
    let primary = PostgreSql::start(&["max_connections=50"]);
    let standby = primary.standby();
    let admin = ["relay.admin_users=[\"postgres\"]"];
    let server = relay_to(&[standby.port, primary.port], "transaction", "target_session_attrs = \"primary\"", &admin);
    let mut session = Raw::connect(server.port);
    session.query("select 1");
    session.send(|out| out.query("select pg_sleep(1000)"));
    let mut direct = Raw::connect(primary.port);
    let sleeps = "select count(*) from pg_stat_activity where query like 'select pg_sleep%'";
    wait_until("it sleeps", || value(&mut direct, sleeps) == "1");
    session.cancel();
    assert!(crate::wire::shown(&session.until(b'Z')).contains("E(57014)"));
    let mut console = Raw::try_connect(server.port, &[("database", "pgprefork")]).expect("the console");
    let shown = console.query("show servers");
    assert!(shown.contains(&format!("127.0.0.1,{},", primary.port)), "{shown}");
    assert!(!shown.contains(&format!("127.0.0.1,{},", standby.port)), "{shown}");
}

#[test]
fn failover_under_load_loses_nothing_that_was_acknowledged() {
    let mut primary = PostgreSql::start(&["max_connections=50"]);
    let standby = primary.standby();
    let mut admin = Raw::connect(primary.port);
    admin.query("create table written (who int, number int, primary key (who, number))");
    admin.query("alter system set synchronous_standby_names = '*'");
    admin.query("select pg_reload_conf()");
    wait_until("the standby is synchronous", || {
        value(&mut admin, "select count(*) from pg_stat_replication where sync_state = 'sync'") == "1"
    });
    let attrs = "target_session_attrs = \"read-write\"";
    let server = relay_to(&[primary.port, standby.port], "transaction", attrs, &["relay.default_pool_size=3"]);
    let (stop, done) = (AtomicBool::new(false), AtomicU32::new(0));
    let progress = |more: u32| {
        let before = done.load(SeqCst);
        wait_until("clients go on", || done.load(SeqCst) >= before + more);
    };
    let results: Vec<(u32, u32)> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..6)
            .map(|who| {
                let (stop, done, port) = (&stop, &done, server.port);
                scope.spawn(move || insert_until(port, who, stop, done))
            })
            .collect();
        progress(60);
        primary.kill_9();
        let mut promoting = Raw::connect(standby.port);
        assert_eq!(value(&mut promoting, "select pg_promote()"), "t");
        progress(60);
        stop.store(true, SeqCst);
        clients.into_iter().map(|client| client.join().expect("a client")).collect()
    });
    let (acknowledged, in_doubt) = results.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let mut promoted = Raw::connect(standby.port);
    let found: u32 = value(&mut promoted, "select count(*) from written").parse().expect("a count");
    assert!((acknowledged..=acknowledged + in_doubt).contains(&found), "{acknowledged} + {in_doubt}: {found}");
    // At most one statement of each client was under way at the failover.
    assert!(in_doubt <= 6, "{in_doubt}");
    // The old primary comes back as a standby: it is the first of the list, and not used for writing.
    std::fs::write(primary.data.join("standby.signal"), "").expect("a signal file");
    primary.start_again();
    let server = relay_to(&[primary.port, standby.port], "session", attrs, &[]);
    let mut sessions: Vec<_> = (0..4).map(|_| Raw::connect(server.port)).collect();
    for session in &mut sessions {
        assert_eq!(value(session, PORT), standby.port.to_string());
    }
}

/// Inserts rows one by one: how many were acknowledged, and of how many nobody knows.
fn insert_until(port: u16, who: u32, stop: &AtomicBool, done: &AtomicU32) -> (u32, u32) {
    let (mut acknowledged, mut in_doubt, mut number) = (0, 0, 0);
    let mut raw: Option<Raw> = None;
    while !stop.load(SeqCst) {
        let Some(client) = &mut raw else {
            raw = Raw::try_connect(port, &[]).ok();
            continue;
        };
        number += 1;
        client.send(|out| out.query(&format!("insert into written values ({who}, {number})")));
        let replies: Vec<_> = std::iter::from_fn(|| client.next()).take_while(|(kind, _)| *kind != b'Z').collect();
        if replies.iter().any(|(kind, _)| *kind == b'C') {
            acknowledged += 1;
            done.fetch_add(1, SeqCst);
        } else {
            in_doubt += 1;
            raw = None;
        }
    }
    (acknowledged, in_doubt)
}
