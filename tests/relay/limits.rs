//! Limits of connections beside a pool's size: of a database, of a user, the reserve, and of the time without use.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use crate::console::console;
use crate::place::{relay, upstream};
use crate::support::wait_until;
use crate::wire::Raw;

const ADMINS: &str = "relay.admin_users=[\"postgres\"]";

/// Runs short transactions from eight clients, as these users in turn, and looks all the while whether `is_within`.
fn under_load(port: u16, users: &[&str], is_within: &(dyn Fn() -> bool + Sync)) {
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            while !is_done.load(SeqCst) {
                assert!(is_within(), "the limit was passed");
            }
        });
        let client = |user: &str| {
            let mut raw = Raw::try_connect(port, &[("user", user)]).expect("a session");
            for _ in 0..30 {
                assert_eq!(raw.query("begin"), "C(BEGIN) Z(T)");
                assert_eq!(raw.query("commit"), "C(COMMIT) Z(I)");
            }
            raw.close();
        };
        let clients: Vec<_> = users.iter().cycle().take(8).map(|user| scope.spawn(move || client(user))).collect();
        let results: Vec<_> = clients.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        is_done.store(true, SeqCst);
        watcher.join().expect("within the limit");
        results.into_iter().for_each(|result| result.expect("a client"));
    });
}

#[test]
fn a_database_and_a_user_have_no_more_connections_than_they_may() {
    let upstream = upstream();
    let mut admin = Raw::connect(upstream.port);
    admin.query("create role limit_a login");
    admin.query("create role limit_b login");
    for limit in ["relay.max_db_connections=2", "relay.max_user_connections=2"] {
        let server = relay(upstream.port, "transaction", &[limit]);
        // No connection is closed here: what PostgreSQL says is exact.
        let text = format!("host=127.0.0.1 port={} user=postgres dbname=postgres", upstream.port);
        let there = std::sync::Mutex::new(postgres::Client::connect(&text, postgres::NoTls).expect("a session"));
        let count = || -> i64 {
            let count = "select count(*) from pg_stat_activity where usename = 'limit_a'";
            there.lock().expect("one looks").query_one(count, &[]).expect("a row").get(0)
        };
        under_load(server.port, &["limit_a"], &|| count() <= 2);
        assert!(count() > 0);
    }
    // Pools of two users, which take connections from one another.
    let server = relay(upstream.port, "transaction", &["relay.max_db_connections=2"]);
    under_load(server.port, &["limit_a", "limit_b"], &|| server.connections() <= 2);
}

#[test]
fn a_session_that_waits_too_long_uses_the_reserve() {
    let upstream = upstream();
    let settings = ["relay.default_pool_size=1", "relay.reserve_pool_size=1", "relay.reserve_pool_timeout=50ms"];
    let server = relay(upstream.port, "transaction", &settings);
    let [mut first, mut second, mut third] = [(); 3].map(|()| Raw::connect(server.port));
    assert_eq!(first.query("begin"), "C(BEGIN) Z(T)");
    assert_eq!(second.query("begin"), "C(BEGIN) Z(T)");
    third.send(|out| out.query("select 3"));
    wait_until("the third waits", || server.waiting() == 1);
    assert_eq!(server.connections(), 2);
    assert_eq!(first.query("commit"), "C(COMMIT) Z(I)");
    third.until(b'Z');
}

#[test]
fn connections_that_nobody_uses_are_closed_where_no_client_comes() {
    let upstream = upstream();
    let server = relay(upstream.port, "transaction", &[ADMINS, "relay.server_idle_timeout=2s"]);
    let mut client = Raw::connect(server.port);
    client.query("begin");
    assert!(console(&server, "postgres", "show servers").expect("servers").contains("|active|"));
    client.query("commit");
    wait_until("it is closed", || console(&server, "postgres", "show servers").expect("servers").is_empty());
    assert_eq!(client.query("select 1"), "T D(1) C(SELECT 1) Z(I)");
}

#[test]
fn a_connection_that_fails_the_check_is_replaced() {
    let upstream = upstream();
    let backend = "select pg_backend_pid()";
    for (query, is_kept) in [("select 1", true), ("select 1/0", false)] {
        let query = format!("relay.server_check_query={query}");
        let server = relay(upstream.port, "transaction", &[&query, "relay.server_check_delay=0s"]);
        let mut client = Raw::connect(server.port);
        assert_eq!(client.query(backend) == client.query(backend), is_kept, "{query}");
    }
}
