//! What a session leaves behind must be gone before the same process serves the next one: every kind of session
//! state, after every way in which a session can end.

use std::collections::HashMap;

use nix::unistd::Pid;
use pgprefork::protocol::Format;
use pgprefork::protocol::client::{self, Backend, ClientEncoder};

use crate::server::{Raw, Server, command, directory, eventually, free_port};

pub const TESTS: &[(&str, fn())] = &[
    ("settings_do_not_outlive_their_session", settings_do_not_outlive_their_session),
    ("named_objects_do_not_outlive_their_session", named_objects_do_not_outlive_their_session),
    ("transactions_do_not_outlive_their_session", transactions_do_not_outlive_their_session),
    ("clients_that_vanish_in_the_middle_leave_nothing", clients_that_vanish_in_the_middle_leave_nothing),
    ("a_cancelled_transaction_leaves_nothing", a_cancelled_transaction_leaves_nothing),
    ("a_timeout_in_a_transaction_leaves_nothing", a_timeout_in_a_transaction_leaves_nothing),
    ("cancels_that_come_late_hit_nobody", cancels_that_come_late_hit_nobody),
    ("a_terminated_session_leaves_nothing_with_its_process", a_terminated_session_leaves_nothing_with_its_process),
    ("a_process_that_cannot_forget_serves_no_other", a_process_that_cannot_forget_serves_no_other),
    ("sequences_of_a_lost_transaction_keep_their_places", sequences_of_a_lost_transaction_keep_their_places),
    ("sessions_of_other_roles_and_databases_share_nothing", sessions_of_other_roles_and_databases_share_nothing),
    ("random_values_differ_between_sessions", random_values_differ_between_sessions),
];

/// A pool that neither grows nor shrinks, whose processes are used again without limit.
const POOL: &[&str] = &[
    "engine.kind=sqlite",
    "pool.sessions_per_worker=0",
    "pool.max_sessions=3",
    "pool.reserved_sessions=0",
    "pool.start_workers=3",
    "pool.min_spare=1",
    "pool.max_spare=3",
];

fn start() -> Server {
    let server = Server::start(POOL);
    let mut client = Raw::connect(&server);
    for statement in [
        "create table t (a int primary key, b text)",
        "insert into t select g, 'row' from generate_series(1, 2000) g",
        "create table parent (a int primary key)",
        "create table child (a int references parent deferrable initially deferred)",
        "create sequence s",
        "create schema other",
        "create table other.t (hidden int)",
    ] {
        assert_eq!(client.query(statement).unwrap(), None, "{statement}");
    }
    server
}

/// The rows of a query as one text, columns with `|` between them; the SQLSTATE of a failure.
fn ask(client: &mut Raw, text: &str) -> Result<String, String> {
    client.send(|client| client.query(text));
    answer(client)
}

fn answer(client: &mut Raw) -> Result<String, String> {
    let (mut rows, mut failure) = (Vec::new(), None);
    client
        .read_until_ready(|message| match message {
            Backend::DataRow(values) => {
                let values = values.iter().map(|value| value.map_or("NULL".into(), String::from_utf8_lossy));
                rows.push(values.collect::<Vec<_>>().join("|"));
            }
            Backend::ErrorResponse(fields) => failure = client::field(&fields, b'C').map(str::to_owned),
            _ => {}
        })
        .unwrap();
    failure.map_or(Ok(rows.join(" ")), Err)
}

/// The next session that this process serves. It must come to one: a process that left would have hidden what it kept.
fn successor(server: &Server, process: Pid) -> Raw {
    let mut others = Vec::new();
    let mut found = None;
    eventually("the process serves another session", || {
        let mut next = Raw::connect(server);
        if next.pid == process {
            found = Some(next);
            return true;
        }
        // All others being taken, the next client comes to the process that is missed.
        if others.len() < 2 {
            others.push(next);
        } else {
            next.send(|client| client.terminate());
        }
        false
    });
    let mut next = found.unwrap();
    assert_eq!(ask(&mut next, "select pg_backend_pid()"), Ok(process.to_string()));
    next
}

/// How a session ends.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Ending {
    Goodbye,
    Vanish,
    /// An error in a transaction, after which the client vanishes.
    Fail,
}

const ENDINGS: [Ending; 3] = [Ending::Goodbye, Ending::Vanish, Ending::Fail];

impl Ending {
    fn end(self, mut client: Raw) -> Pid {
        match self {
            Ending::Goodbye => client.send(|client| client.terminate()),
            Ending::Vanish => {}
            Ending::Fail => {
                let _ = client.query("begin").unwrap();
                assert!(client.query("select 1/0").unwrap().is_some());
            }
        }
        client.pid
    }
}

/// What a session does, what the next one asks, and what a fresh one would be told.
type Kind = (&'static [&'static str], &'static str, Result<&'static str, &'static str>);

fn check(kinds: &[Kind]) {
    let server = start();
    for (statements, question, expected) in kinds {
        for ending in ENDINGS {
            let mut client = Raw::connect(&server);
            for statement in *statements {
                assert_eq!(client.query(statement).unwrap(), None, "{statement}");
            }
            let before = ask(&mut client, question);
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            // The question is one whose answer the session has changed, or it would prove nothing.
            assert_ne!(before, expected, "{question} after {statements:?}");
            let process = ending.end(client);
            let mut next = successor(&server, process);
            assert_eq!(ask(&mut next, question), expected, "{question} after {statements:?}, {ending:?}");
            next.send(|client| client.terminate());
        }
    }
    writes(&server);
}

/// Nobody holds the writer lock, and nothing is locked for a session that is over.
fn writes(server: &Server) {
    let mut writer = Raw::connect(server);
    assert_eq!(writer.query("set lock_timeout = '30s'").unwrap(), None);
    assert_eq!(writer.query("update t set b = 'written' where a = 1").unwrap(), None);
    assert_eq!(ask(&mut writer, "select count(*) from pg_locks"), Ok("0".into()));
    writer.send(|client| client.terminate());
}

fn settings_do_not_outlive_their_session() {
    check(&[
        (&["set statement_timeout = '1h'"], "show statement_timeout", Ok("0")),
        (&["set lock_timeout = '1h'"], "show lock_timeout", Ok("0")),
        (&["set idle_in_transaction_session_timeout = '1h'"], "show idle_in_transaction_session_timeout", Ok("0")),
        (&["set search_path = other"], "show search_path", Ok("\"$user\", public")),
        // Also where a plan for the same text is kept.
        (&["set search_path = other", "select * from t where false"], "select count(a) from t", Ok("2000")),
        (
            &["set timezone = 'Asia/Tokyo'"],
            "select '2024-01-01 00:00 UTC'::timestamptz::text",
            Ok("2024-01-01 00:00:00+00"),
        ),
        (&["set datestyle = 'German, DMY'"], "select '2024-02-03'::date::text", Ok("2024-02-03")),
        (&["set intervalstyle = 'iso_8601'"], "select '1 day'::interval::text", Ok("1 day")),
        (&["set bytea_output = 'escape'"], "select '\\x00'::bytea::text", Ok("\\x00")),
        (&["set extra_float_digits = 0"], "show extra_float_digits", Ok("1")),
        (&["set application_name = 'mine'"], "show application_name", Ok("")),
        (
            &["set application_name = 'mine'"],
            "select application_name from pg_stat_activity where pid = pg_backend_pid()",
            Ok(""),
        ),
        (&["set synchronous_commit = off"], "show synchronous_commit", Ok("on")),
        (
            &["set session characteristics as transaction isolation level serializable, read only"],
            "select current_setting('default_transaction_isolation'), current_setting('default_transaction_read_only')",
            Ok("read committed|off"),
        ),
        (&["set default_transaction_read_only = on"], "insert into other.t values (1)", Ok("")),
        (&["set my.own = 'value'"], "select current_setting('my.own', true)", Ok("NULL")),
        (&["begin", "set local timezone = 'Asia/Tokyo'"], "show timezone", Ok("UTC")),
        (&["begin", "savepoint p", "set local timezone = 'Asia/Tokyo'"], "show timezone", Ok("UTC")),
        (&["select set_config('statement_timeout', '1h', false)"], "show statement_timeout", Ok("0")),
    ]);
}

fn named_objects_do_not_outlive_their_session() {
    check(&[
        (&["prepare p as select 1"], "execute p", Err("26000")),
        (&["begin", "declare c cursor for select a from t order by a"], "fetch 1 from c", Err("34000")),
        (
            &["begin", "declare c cursor with hold for select a from t order by a", "commit"],
            "fetch 1 from c",
            Err("34000"),
        ),
        (&["create temp table mine (a int)"], "select count(*) from mine", Err("42P01")),
        (&["create temp table t (a int)"], "select count(*) from t", Ok("2000")),
        // A rolled-back definition after it must not make the process forget that there are some.
        (
            &[
                "create temp table t (a int)",
                "begin",
                "create temp table u (a int)",
                "create table v (a int)",
                "rollback",
            ],
            "select count(*) from t",
            Ok("2000"),
        ),
        (&["begin", "create temp table mine (a int) on commit drop"], "select count(*) from mine", Err("42P01")),
        (&["create temp table mine (a serial)"], "select nextval('mine_a_seq')", Err("42P01")),
        (&["create temp sequence mine", "select nextval('mine')"], "select nextval('mine')", Err("42P01")),
        (&["create temp sequence s start 500"], "select nextval('s') < 500", Ok("t")),
        (&["create temp view mine as select 1"], "select * from mine", Err("42P01")),
        (&["create temp table mine (a int)"], "select count(*) from pg_class where relname like 'mine%'", Ok("0")),
        (&["select nextval('s')"], "select currval('s')", Err("55000")),
        (&["select nextval('s')"], "select lastval()", Err("55000")),
        (&["begin", "select nextval('s')"], "select lastval()", Err("55000")),
    ]);
}

fn transactions_do_not_outlive_their_session() {
    check(&[
        (&["begin", "insert into t values (-1)"], "select count(*) from t where a = -1", Ok("0")),
        (&["begin", "savepoint p", "insert into t values (-1)"], "rollback to p", Err("25P01")),
        (&["begin", "savepoint p", "insert into t values (-1)"], "select count(*) from t where a < 0", Ok("0")),
        (&["begin", "create table made (a int)"], "select count(*) from made", Err("42P01")),
        (
            &["begin isolation level serializable", "select 1 from t"],
            "show transaction_isolation",
            Ok("read committed"),
        ),
        (&["begin read only", "select 1 from t"], "insert into other.t values (1)", Ok("")),
        (&["begin", "create role lost"], "drop role lost", Err("42704")),
        (&["begin", "insert into child values (-5)"], "select count(*) from child", Ok("0")),
        // A check left over would fail here: the key that it looks for is not there.
        (
            &["begin", "set constraints all deferred", "insert into child values (-5)"],
            "insert into child values (-6)",
            Err("23503"),
        ),
        (&["begin", "set constraints all immediate"], "begin; insert into child values (-7); rollback", Ok("")),
        (&["begin", "select now()"], "select now() = statement_timestamp()", Ok("t")),
    ]);
}

/// What a client has sent when it vanishes, and how it sends that.
type Vanishing = (&'static str, fn(&mut Raw));

fn clients_that_vanish_in_the_middle_leave_nothing() {
    let cases: &[Vanishing] = &[
        ("COPY in", |client| {
            let _ = client.query("begin").unwrap();
            client.send(|client| client.query("copy t from stdin"));
            client.send(|client| client.copy_data(b"-1\tcopied\n-2\tcop"));
        }),
        ("COPY in without a transaction", |client| {
            client.send(|client| client.query("copy t from stdin"));
            client.send(|client| client.copy_data(b"-1\tcopied\n"));
        }),
        ("COPY out", |client| client.send(|client| client.query("copy t to stdout"))),
        ("a suspended portal", |client| {
            client.send(|client| client.parse("p", "select a from t", &[]));
            client.send(|client| client.bind("c", "p", Format::Text, &[], Format::Text));
            client.send(|client| client.execute("c", 3));
            client.send(|client| client.flush());
        }),
        ("a suspended portal that writes", |client| {
            let _ = client.query("begin").unwrap();
            client.send(|client| client.parse("p", "update t set b = 'lost' where a < 9 returning a", &[]));
            client.send(|client| client.bind("c", "p", Format::Text, &[], Format::Text));
            client.send(|client| client.execute("c", 3));
            client.send(|client| client.flush());
        }),
        ("a batch without its Sync", |client| {
            client.send(|client| client.parse("p", "insert into t values (-1)", &[]));
            client.send(|client| client.bind("", "p", Format::Text, &[], Format::Text));
            client.send(|client| client.execute("", 0));
            client.send(|client| client.flush());
        }),
        ("a failed batch without its Sync", |client| {
            client.send(|client| client.parse("p", "insert into t values (-1)", &[]));
            client.send(|client| client.bind("", "p", Format::Text, &[], Format::Text));
            client.send(|client| client.execute("", 0));
            client.send(|client| client.parse("q", "select nonsense", &[]));
            client.send(|client| client.flush());
        }),
        ("half a message", |client| {
            let _ = client.query("begin; insert into t values (-1)").unwrap();
            let mut bytes = Vec::new();
            ClientEncoder::new(&mut bytes).query("insert into t values (-2)");
            bytes.truncate(9);
            client.send_bytes(&bytes);
        }),
        ("a result that nobody reads", |client| {
            let _ = client.query("begin; insert into t values (-1)").unwrap();
            client.send(|client| client.query("select a.b, b.b from t a, t b"));
        }),
        ("a running statement", |client| {
            client.send(|client| client.query("begin; insert into t values (-1); select pg_sleep(0.2)"));
        }),
    ];
    let server = start();
    for (name, act) in cases {
        let mut client = Raw::connect(&server);
        act(&mut client);
        let process = client.pid;
        // That what was sent has been worked on, and not only lies in the socket, is seen from outside.
        let mut witness = Raw::connect(&server);
        eventually("the session does something", || {
            let query = format!("select query <> '' from pg_stat_activity where pid = {process}");
            ask(&mut witness, &query) == Ok("t".into())
        });
        witness.send(|client| client.terminate());
        drop(client);
        let mut next = successor(&server, process);
        assert_eq!(
            ask(&mut next, "select count(*), count(*) filter (where a < 0) from t"),
            Ok("2000|0".into()),
            "{name}"
        );
        assert_eq!(ask(&mut next, "select count(*) from t where b = 'lost'"), Ok("0".into()), "{name}");
        // The names that it used are free again.
        next.send(|client| client.parse("p", "select 1", &[]));
        next.send(|client| client.bind("c", "p", Format::Text, &[], Format::Text));
        next.send(|client| client.execute("c", 0));
        next.send(|client| client.sync());
        assert_eq!(answer(&mut next), Ok("1".into()), "{name}");
        // Not in a transaction: what is written now stays.
        assert_eq!(ask(&mut next, "insert into other.t values (1)"), Ok(String::new()), "{name}");
        next.send(|client| client.terminate());
        writes(&server);
    }
    let mut client = Raw::connect(&server);
    assert_eq!(ask(&mut client, "select count(*) from other.t"), Ok(cases.len().to_string()));
}

/// A transaction that has written something and whose present statement sleeps.
fn sleep_in_a_transaction(server: &Server, before: &str) -> Raw {
    let mut client = Raw::connect(server);
    for statement in [before, "begin", "savepoint p", "insert into t values (-1)", "select nextval('s')"] {
        assert_eq!(client.query(statement).unwrap(), None, "{statement}");
    }
    client.send(|client| client.query("select pg_sleep(60)"));
    client
}

/// Before that there is no statement that a cancel could end.
fn wait_until_asleep(server: &Server, process: Pid) {
    let mut witness = Raw::connect(server);
    let query = format!("select wait_event from pg_stat_activity where pid = {process}");
    eventually("the statement sleeps", || ask(&mut witness, &query) == Ok("PgSleep".into()));
    witness.send(|client| client.terminate());
}

fn leaves_nothing(server: &Server, process: Pid) {
    let mut next = successor(server, process);
    assert_eq!(ask(&mut next, "select count(*) from t"), Ok("2000".into()));
    assert_eq!(ask(&mut next, "select lastval()"), Err("55000".into()));
    assert_eq!(ask(&mut next, "rollback to p"), Err("25P01".into()));
    assert_eq!(ask(&mut next, "show statement_timeout"), Ok("0".into()));
    // Neither a cancel nor a deadline of the other one is left.
    assert_eq!(ask(&mut next, "select pg_sleep(0.3) is null"), Ok("f".into()));
    next.send(|client| client.terminate());
    writes(server);
}

fn cancel(server: &Server, process: Pid, key: &[u8]) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    let mut bytes = Vec::new();
    ClientEncoder::new(&mut bytes).cancel_request(process.as_raw().unsigned_abs(), key);
    stream.write_all(&bytes).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

fn a_cancelled_transaction_leaves_nothing() {
    let server = start();
    for waits in [true, false] {
        let mut client = sleep_in_a_transaction(&server, "select 1");
        let process = client.pid;
        wait_until_asleep(&server, process);
        cancel(&server, process, &client.key.clone());
        if waits {
            assert_eq!(answer(&mut client), Err("57014".into()));
        }
        drop(client);
        leaves_nothing(&server, process);
    }
}

fn a_timeout_in_a_transaction_leaves_nothing() {
    let server = start();
    for waits in [true, false] {
        let mut client = sleep_in_a_transaction(&server, "set statement_timeout = '200ms'");
        let process = client.pid;
        if waits {
            assert_eq!(answer(&mut client), Err("57014".into()));
        }
        drop(client);
        leaves_nothing(&server, process);
    }
}

/// The key of a session that is over, and a cancel that came while nothing ran.
fn cancels_that_come_late_hit_nobody() {
    let server = start();
    let client = Raw::connect(&server);
    let (process, key) = (client.pid, client.key.clone());
    for _ in 0..5 {
        cancel(&server, process, &key);
    }
    drop(client);
    let mut next = successor(&server, process);
    next.send(|client| client.query("select pg_sleep(0.5)"));
    for _ in 0..5 {
        cancel(&server, process, &key);
    }
    assert!(answer(&mut next).is_ok());
}

fn a_terminated_session_leaves_nothing_with_its_process() {
    let server = start();
    let mut client = sleep_in_a_transaction(&server, "create temp table mine (a int)");
    let process = client.pid;
    wait_until_asleep(&server, process);
    let mut other = Raw::connect(&server);
    assert_eq!(ask(&mut other, &format!("select pg_terminate_backend({process})")), Ok("t".into()));
    // It is told once, and is not told that the server is ready for it.
    let mut errors = Vec::new();
    let ended = client.read_until_ready(|message| {
        if let Backend::ErrorResponse(fields) = message {
            let field = |code| client::field(&fields, code).unwrap().to_owned();
            errors.push((field(b'S'), field(b'C')));
        }
    });
    assert!(ended.is_err());
    assert_eq!(errors, [("FATAL".to_owned(), "57P01".to_owned())]);
    // PostgreSQL's promise: who is terminated is gone as a process.
    eventually("the process is gone", || !crate::server::is_alive(process));
    assert_eq!(ask(&mut other, "select count(*) from t"), Ok("2000".into()));
    other.send(|client| client.terminate());
    eventually("others are served", || Raw::connect(&server).query("select 1").is_ok());
    writes(&server);
}

/// When the scrub itself fails, what the session left goes with the process.
fn a_process_that_cannot_forget_serves_no_other() {
    let directory = directory();
    let (data, port, token) = (directory.path().join("data"), free_port(), directory.path().join("token"));
    let mut command = command(&data, port, POOL);
    command.env("PGPREFORK_TEST_STOP", format!("forgetting-session:eio:{}", token.display()));
    let server = Server::launch(command, &data, port).unwrap();
    let mut client = Raw::connect(&server);
    for statement in
        ["create table t (a int, b text)", "create temp table mine (a int)", "begin", "insert into t values (-1)"]
    {
        assert_eq!(client.query(statement).unwrap(), None, "{statement}");
    }
    std::fs::write(&token, "").unwrap();
    let process = client.pid;
    drop(client);
    eventually("the process is gone", || !crate::server::is_alive(process));
    assert!(!token.exists());
    writes(&server);
    let mut next = Raw::connect(&server);
    assert_eq!(ask(&mut next, "select count(*) from t"), Ok("0".into()));
    assert_eq!(ask(&mut next, "select count(*) from mine"), Err("42P01".into()));
    assert_eq!(server.status()["exits"]["recycled"], 1);
}

/// Values that were drawn in a transaction that nobody ended are not given out again by the same process.
fn sequences_of_a_lost_transaction_keep_their_places() {
    let server = start();
    let mut client = Raw::connect(&server);
    assert_eq!(client.query("begin").unwrap(), None);
    let drawn = ask(&mut client, "select nextval('s')").unwrap();
    let process = client.pid;
    drop(client);
    let mut next = successor(&server, process);
    assert_ne!(ask(&mut next, "select nextval('s')"), Ok(drawn));
}

fn sessions_of_other_roles_and_databases_share_nothing() {
    let server = start();
    let mut client = Raw::connect(&server);
    for statement in ["create role guest login", "create database second"] {
        assert_eq!(client.query(statement).unwrap(), None, "{statement}");
    }
    assert_eq!(client.query("create temp table mine (a int)").unwrap(), None);
    let process = client.pid;
    drop(client);
    let mut seen = HashMap::new();
    eventually("the process serves the other database", || {
        let mut next = Raw::connect_as(&server, "guest", "second");
        let whose = "select current_user, session_user, current_database(), current_setting('is_superuser')";
        assert_eq!(ask(&mut next, whose), Ok("guest|guest|second|off".into()));
        assert_eq!(ask(&mut next, "select count(*) from t"), Err("42P01".into()));
        assert_eq!(ask(&mut next, "select count(*) from mine"), Err("42P01".into()));
        assert_eq!(ask(&mut next, "create role intruder"), Err("42501".into()));
        let pid = next.pid;
        // Held for a moment, so that all processes have their turn.
        seen.insert(pid, next);
        if seen.len() == 3 {
            seen.clear();
        }
        pid == process
    });
    seen.clear();
    let mut back = successor(&server, process);
    assert_eq!(ask(&mut back, "select current_user, current_database()"), Ok("postgres|postgres".into()));
    assert_eq!(ask(&mut back, "select count(*) from t"), Ok("2000".into()));
}

/// Processes forked from one template, and sessions of one process, must not draw the same numbers.
fn random_values_differ_between_sessions() {
    let server = start();
    let draw = |client: &mut Raw| ask(client, "select random(), gen_random_uuid()").unwrap();
    let mut clients: Vec<Raw> = (0..3).map(|_| Raw::connect(&server)).collect();
    let mut drawn: Vec<String> = clients.iter_mut().map(draw).collect();
    let processes: Vec<Pid> = clients.iter().map(|client| client.pid).collect();
    clients.clear();
    for process in processes {
        drawn.push(draw(&mut successor(&server, process)));
    }
    let values: Vec<&str> = drawn.iter().flat_map(|row| row.split('|')).collect();
    let distinct: std::collections::HashSet<&&str> = values.iter().collect();
    assert_eq!(distinct.len(), values.len(), "{values:?}");
}
