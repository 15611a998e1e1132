//! The console's orders about databases: PAUSE, RESUME, DISABLE, ENABLE, KILL and RECONNECT.

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

use crate::console::console;
use crate::place::{relay, upstream};
use crate::support::postgresql::PostgreSql;
use crate::support::{Server, wait_until};
use crate::wire::{Raw, shown};

/// A server with one database, "shop".
fn shop(upstream: &PostgreSql, mode: &str, settings: &[&str]) -> Server {
    let port = upstream.port;
    let listed = format!("relay.databases={{shop = {{host = \"127.0.0.1\", port = {port}, dbname = \"postgres\"}}}}");
    let settings = [&["relay.admin_users=[\"postgres\"]", &*listed][..], settings].concat();
    relay(port, mode, &settings)
}

fn client(server: &Server) -> Raw {
    Raw::try_connect(server.port, &[("database", "shop")]).expect("a session")
}

fn order(server: &Server, order: &str) -> Result<String, String> {
    console(server, "postgres", order)
}

/// What SHOW DATABASES says: paused and disabled.
fn state(server: &Server) -> (bool, bool) {
    let line = order(server, "show databases").expect("databases");
    let columns: Vec<&str> = line.split('|').collect();
    (columns[11] == "1", columns[12] == "1")
}

#[test]
fn clients_wait_while_their_database_is_paused_and_lose_nothing() {
    let upstream = upstream();
    let mut admin = Raw::connect(upstream.port);
    admin.query("create table paused_count (n int)");
    admin.query("insert into paused_count values (0)");
    let server = shop(&upstream, "transaction", &["relay.default_pool_size=3"]);
    let (is_done, done) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..6).map(|_| client(&server)).collect();
        for mut raw in clients {
            let (is_done, done) = (&is_done, &done);
            scope.spawn(move || {
                while !is_done.load(SeqCst) {
                    assert_eq!(raw.query("begin"), "C(BEGIN) Z(T)");
                    assert_eq!(raw.query("update paused_count set n = n + 1"), "C(UPDATE 1) Z(T)");
                    assert_eq!(raw.query("commit"), "C(COMMIT) Z(I)");
                    done.fetch_add(1, SeqCst);
                }
                raw.close();
            });
        }
        for name in ["shop", "", "shop", ""] {
            order(&server, &format!("pause {name}")).expect("all are back");
            assert_eq!(server.connections(), 0);
            assert_eq!(state(&server), (true, false));
            wait_until("all wait", || server.waiting() == 6);
            let before = done.load(SeqCst);
            order(&server, &format!("resume {name}")).expect("resumed");
            wait_until("they go on", || done.load(SeqCst) > before + 6);
        }
        is_done.store(true, SeqCst);
    });
    assert_eq!(admin.query("select n from paused_count"), format!("T D({}) C(SELECT 1) Z(I)", done.load(SeqCst)));
    admin.query("drop table paused_count");
}

#[test]
fn a_pause_waits_for_transactions_and_can_be_cancelled() {
    let upstream = upstream();
    let server = shop(&upstream, "transaction", &[]);
    let mut holder = client(&server);
    let mut waiter = client(&server);
    let mut admin = Raw::try_connect(server.port, &[("database", "pgprefork")]).expect("the console");
    assert_eq!(holder.query("begin"), "C(BEGIN) Z(T)");
    admin.send(|out| out.query("pause shop"));
    wait_until("it is paused", || state(&server).0);
    admin.cancel();
    assert_eq!(shown(&admin.until(b'Z')), "E(57014) Z(I)");
    assert_eq!(state(&server), (false, false));
    assert_eq!(waiter.query("select 1"), "T D(1) C(SELECT 1) Z(I)");
    admin.send(|out| out.query("pause shop"));
    wait_until("it is paused", || state(&server).0);
    waiter.send(|out| out.query("select 2"));
    wait_until("the other waits", || server.waiting() == 1);
    // Who has a connection goes on to the end of the transaction.
    assert_eq!(holder.query("select 3"), "T D(3) C(SELECT 1) Z(T)");
    assert_eq!(holder.query("commit"), "C(COMMIT) Z(I)");
    assert_eq!(shown(&admin.until(b'Z')), "C(PAUSE) Z(I)");
    assert_eq!((server.connections(), server.waiting()), (0, 1));
    // A wait ends by a cancel as always.
    waiter.cancel();
    assert_eq!(shown(&waiter.until(b'Z')), "E(57014) Z(I)");
    order(&server, "resume shop").expect("resumed");
    assert_eq!(waiter.query("select 4"), "T D(4) C(SELECT 1) Z(I)");
}

#[test]
fn a_disabled_database_refuses_new_clients_and_a_killed_one_ends_all() {
    let upstream = upstream();
    for mode in ["transaction", "session"] {
        let server = shop(&upstream, mode, &[]);
        let mut kept = client(&server);
        order(&server, "disable shop").expect("disabled");
        assert_eq!(state(&server), (false, true));
        let refused = Raw::try_connect(server.port, &[("database", "shop")]).err();
        assert_eq!(refused.as_deref(), Some("08P01 database does not allow connections: shop"));
        assert_eq!(kept.query("select 1"), "T D(1) C(SELECT 1) Z(I)");
        order(&server, "enable shop").expect("enabled");
        let mut another = client(&server);
        assert_eq!(another.query("begin"), "C(BEGIN) Z(T)");
        order(&server, "kill shop").expect("killed");
        assert_eq!(server.connections(), 0);
        for mut raw in [kept, another] {
            assert_eq!(shown(&raw.until_end()), "E(57P01)");
        }
        // It is paused until it is resumed.
        assert_eq!(state(&server), (true, false));
        std::thread::scope(|scope| {
            let late = scope.spawn(|| client(&server).query("select 2"));
            wait_until("it waits", || server.waiting() == 1);
            order(&server, "resume shop").expect("resumed");
            assert_eq!(late.join().expect("a client"), "T D(2) C(SELECT 1) Z(I)");
        });
    }
}

#[test]
fn orders_that_make_no_sense_are_refused_in_pgbouncers_words() {
    let upstream = upstream();
    let server = shop(&upstream, "transaction", &[]);
    for (text, answer) in [
        ("pause nowhere", "no such database: nowhere"),
        ("kill", "a database is required"),
        ("disable", "a database is required"),
        ("disable pgprefork", "cannot disable admin db: pgprefork"),
        ("resume", "pooler is not paused/suspended"),
        ("resume shop", "database shop is not paused"),
        ("shutdown", "SHUTDOWN is not supported"),
        ("pause shop now", "invalid command 'pause shop now', use SHOW HELP;"),
    ] {
        let refused = order(&server, text).expect_err("an error");
        assert!(refused.contains(answer), "{text}: {refused}");
    }
    order(&server, "pause").expect("paused");
    assert!(order(&server, "pause").expect_err("an error").contains("already suspended/paused"));
    order(&server, "resume").expect("resumed");
}

#[test]
fn a_reconnect_of_one_database_replaces_its_connections() {
    let upstream = upstream();
    let server = shop(&upstream, "transaction", &[]);
    let mut raw = client(&server);
    let backend = "select pg_backend_pid()";
    let before = raw.query(backend);
    assert_eq!(raw.query(backend), before);
    order(&server, "reconnect shop").expect("an order");
    assert_ne!(raw.query(backend), before);
    // One that is lent goes with the end of its transaction.
    raw.query("begin");
    let before = raw.query("select pg_backend_pid()");
    order(&server, "reconnect shop").expect("an order");
    assert_eq!(raw.query(backend), before);
    raw.query("commit");
    assert_ne!(raw.query(backend).replace("Z(I)", "Z(T)"), before);
}

#[test]
fn orders_are_given_from_the_shell() {
    let upstream = upstream();
    let server = shop(&upstream, "transaction", &[]);
    let shell = |words: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_pgprefork"))
            .args(words)
            .args(["--username", "postgres", "--data", &server.data.display().to_string()])
            .output()
            .expect("the command");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    };
    let mut raw = client(&server);
    assert_eq!(shell(&["pause", "shop"]).as_deref(), Ok("PAUSE done"));
    assert_eq!((state(&server), server.connections()), ((true, false), 0));
    assert_eq!(shell(&["resume", "shop"]).as_deref(), Ok("RESUME done"));
    assert_eq!(shell(&["resume", "shop"]), Err("pgprefork: database shop is not paused".to_owned()));
    assert_eq!(shell(&["disable", "no such"]), Err("pgprefork: no such database: no such".to_owned()));
    assert_eq!(shell(&["disable", "shop"]).as_deref(), Ok("DISABLE done"));
    assert_eq!(state(&server), (false, true));
    assert_eq!(shell(&["enable", "shop"]).as_deref(), Ok("ENABLE done"));
    assert_eq!(shell(&["reconnect"]).as_deref(), Ok("RECONNECT done"));
    assert_eq!(raw.query("select 1"), "T D(1) C(SELECT 1) Z(I)");
    assert_eq!(shell(&["kill", "shop"]).as_deref(), Ok("KILL done"));
    assert_eq!(shown(&raw.until_end()), "E(57P01)");
}
