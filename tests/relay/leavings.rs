//! What a session leaves on its connection: it keeps the connection, or is ended, and the next client finds nothing.

use crate::place::{relay, upstream};
use crate::support::wait_until;
use crate::wire::{Raw, shown};

/// What is done, and what shows it to whoever has the connection.
const LEAVINGS: [(&str, &str, &str); 8] = [
    // Reported by PostgreSQL 18 and later only.
    (
        "set search_path = elsewhere",
        "select (current_setting('search_path') = 'elsewhere')::int",
        "SET of a parameter that is not reported",
    ),
    ("listen here", "select count(*) from pg_listening_channels()", "LISTEN"),
    ("prepare mine as select 1", "select count(*) from pg_prepared_statements where from_sql", "PREPARE"),
    (
        "select pg_advisory_lock(7)",
        "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()",
        "a session advisory lock",
    ),
    ("create temp table mine (a int)", "select count(to_regclass('pg_temp.mine'))", "a temporary table"),
    (
        "begin; declare c cursor with hold for select 1; commit",
        "select count(*) from pg_cursors where is_holdable",
        "a cursor WITH HOLD",
    ),
    (
        "set statement_timeout = 54321",
        "select count(*) from pg_settings where name = 'statement_timeout' and setting = '54321'",
        "SET of a parameter that is not reported",
    ),
    ("set role pg_monitor", "select (current_user = 'pg_monitor')::int", "SET ROLE"),
];

#[test]
fn what_a_session_leaves_pins_its_connection() {
    let upstream = upstream();
    let server = relay(upstream.port, "transaction", &["relay.default_pool_size=2"]);
    let (mut pins, mut other) = (0, Raw::connect(server.port));
    for (statement, sign, _) in LEAVINGS {
        let mut raw = Raw::connect(server.port);
        assert!(raw.query(statement).ends_with("Z(I)"), "{statement}");
        pins += 1;
        // Seen in the segment, on this session's connection, and on no other.
        wait_until(statement, || server.pools().any(|pool| (pool.pinned, pool.pins) == (1, pins)));
        assert_eq!(raw.query(sign), "T D(1) C(SELECT 1) Z(I)", "{statement}");
        assert_eq!(other.query(sign), "T D(0) C(SELECT 1) Z(I)", "{statement}");
        let page = server.status();
        assert!(page.contains("1 pinned"), "{page}");
        raw.close();
        wait_until("it is given back", || server.pools().all(|pool| pool.lent == 0));
        // Both connections, whoever has had them.
        let [mut a, mut b] = [(); 2].map(|()| Raw::connect(server.port));
        for raw in [&mut a, &mut b] {
            assert_eq!(raw.query("begin"), "C(BEGIN) Z(T)");
            assert_eq!(raw.query(sign), "T D(0) C(SELECT 1) Z(T)", "{statement}");
        }
    }
}

#[test]
fn what_ends_with_the_transaction_pins_nothing() {
    let upstream = upstream();
    let server = relay(upstream.port, "transaction", &["relay.default_pool_size=1"]);
    let (mut a, mut b) = (Raw::connect(server.port), Raw::connect(server.port));
    for statement in [
        "begin; declare c cursor for select 1; fetch c; commit",
        "begin; create temp table mine (a int) on commit drop; commit",
        "select pg_advisory_xact_lock(8)",
        "begin; set local statement_timeout = 5000; commit",
        "listen here; unlisten here",
        "prepare mine as select 1; deallocate mine",
        "set timezone = 'UTC'",
        "select 'temp', 'listen', 'hold'",
    ] {
        assert!(a.query(statement).ends_with("Z(I)"), "{statement}");
        assert_eq!(b.query("select 1"), "T D(1) C(SELECT 1) Z(I)", "{statement}");
    }
    assert_eq!(server.pools().map(|pool| pool.pins).sum::<u64>(), 0);
    // A parameter that the server knows nothing of reaches nobody else.
    assert_eq!(a.query("set my.tenant = 'a'"), "C(SET) Z(I)");
    assert_eq!(b.query("select coalesce(current_setting('my.tenant', true), '')"), "T D() C(SELECT 1) Z(I)");
    // Nor do parameters of whoever had the connection before.
    assert_eq!(a.query("set datestyle = german"), "C(SET) S(DateStyle=German, DMY) Z(I)");
    assert_eq!(b.query("show datestyle"), "T D(ISO, MDY) C(SHOW) Z(I)");
    assert_eq!(a.query("show datestyle"), "T D(German, DMY) C(SHOW) Z(I)");
    // Nobody is who another one has made himself.
    a.query("set session authorization pg_monitor");
    assert_eq!(b.query("select session_user"), "T D(postgres) C(SELECT 1) Z(I)");
}

#[test]
fn where_a_setting_says_so_it_ends_the_session() {
    let upstream = upstream();
    let settings = ["relay.default_pool_size=1", "relay.session_state=refuse"];
    let server = relay(upstream.port, "transaction", &settings);
    for (statement, sign, what) in LEAVINGS {
        let mut raw = Raw::connect(server.port);
        raw.send(|out| out.query(statement));
        raw.until(b'Z');
        let end = raw.until_end();
        assert_eq!(shown(&end), "E(0A000)", "{statement}");
        let text = String::from_utf8_lossy(&end[0].1).into_owned();
        assert!(text.contains(&format!("{what} is not available in pool mode \"transaction\"")), "{text}");
        assert_eq!(Raw::connect(server.port).query(sign), "T D(0) C(SELECT 1) Z(I)", "{statement}");
    }
}

#[test]
fn session_mode_leaves_nothing_either() {
    let upstream = upstream();
    let server = relay(upstream.port, "session", &["relay.default_pool_size=1"]);
    let backend = Raw::connect(server.port).query("select pg_backend_pid()");
    for (statement, sign, _) in LEAVINGS {
        let mut raw = Raw::connect(server.port);
        raw.query(statement);
        assert_eq!(raw.query(sign), "T D(1) C(SELECT 1) Z(I)", "{statement}");
        raw.close();
        assert_eq!(Raw::connect(server.port).query(sign), "T D(0) C(SELECT 1) Z(I)", "{statement}");
    }
    assert_eq!(Raw::connect(server.port).query("select pg_backend_pid()"), backend, "one connection for all of them");
}

#[test]
fn start_up_parameters() {
    let upstream = upstream();
    let server = relay(upstream.port, "transaction", &["relay.ignore_startup_parameters=[\"extra_float_digits\"]"]);
    let extra = [("TimeZone", "Asia/Tokyo"), ("extra_float_digits", "2"), ("client_encoding", "LATIN1")];
    let mut raw = Raw::try_connect(server.port, &extra).expect("a session");
    assert_eq!(
        (raw.parameters["TimeZone"].as_str(), raw.parameters["client_encoding"].as_str()),
        ("Asia/Tokyo", "LATIN1")
    );
    assert_eq!(raw.query("show timezone"), "T D(Asia/Tokyo) C(SHOW) Z(I)");
    let refused = Raw::try_connect(server.port, &[("statement_timeout", "5")]).err().expect("an error");
    assert!(refused.starts_with("0A000 unsupported startup parameter"), "{refused}");
    let refused = Raw::try_connect(server.port, &[("TimeZone", "Nowhere/Land")]).err().expect("an error");
    assert!(refused.starts_with("22023 "), "{refused}");
    let server = relay(upstream.port, "session", &[]);
    let mut raw =
        Raw::try_connect(server.port, &[("statement_timeout", "5s"), ("search_path", "a, b")]).expect("a session");
    assert_eq!(raw.query("show statement_timeout; show search_path"), "T D(5s) C(SHOW) T D(a, b) C(SHOW) Z(I)");
}
