//! What ends a statement or a session before its time: cancel requests and timeouts.

mod support;

use std::process::{Command, Stdio};
use std::thread;

use postgres::error::SqlState;
use postgres::{Client, Error, NoTls};
use support::{Server, wait_until};

fn connect(server: &Server) -> Client {
    Client::connect(&server.connection_string(), NoTls).expect("a connection")
}

fn code(error: &Error) -> String {
    error.code().map_or_else(|| format!("no SQLSTATE: {error}"), |code| code.code().to_owned())
}

fn pid(client: &mut Client) -> i32 {
    client.query_one("select pg_backend_pid()", &[]).expect("a pid").get(0)
}

/// Waits until the session of that pid is in a state (NULL-free text of a condition over pg_stat_activity).
fn wait_for(watcher: &mut Client, pid: i32, condition: &str) {
    let sql = format!("select count(*) from pg_stat_activity where pid = {pid} and {condition}");
    wait_until(&format!("{pid} is {condition}"), || {
        watcher.query_one(&sql, &[]).expect("a count").get::<_, i64>(0) == 1
    });
}

fn wait_until_gone(watcher: &mut Client, pid: i32) {
    let sql = format!("select count(*) from pg_stat_activity where pid = {pid}");
    wait_until(&format!("{pid} is gone"), || watcher.query_one(&sql, &[]).expect("a count").get::<_, i64>(0) == 0);
}

#[test]
fn a_cancel_request_stops_what_sleeps_and_what_computes() {
    let server = Server::start(&[]);
    let mut watcher = connect(&server);
    let long_join = "select count(*) from generate_series(1, 1000000) a, generate_series(1, 1000000) b where a > b";
    for statement in ["select pg_sleep(60)", long_join] {
        let mut client = connect(&server);
        let (pid, token) = (pid(&mut client), client.cancel_token());
        let running = thread::spawn(move || {
            let error = client.simple_query(statement).expect_err("it was cancelled");
            assert_eq!(code(&error), "57014", "{error}");
            // The session goes on.
            assert_eq!(client.query_one("select 1", &[]).expect("a row").get::<_, i32>(0), 1);
        });
        wait_for(&mut watcher, pid, "state = 'active' and query not like '%pg_backend_pid%'");
        token.cancel_query(NoTls).expect("the request is taken");
        running.join().expect("the cancelled session");
    }
}

#[test]
fn pg_cancel_backend_stops_the_statement() {
    let server = Server::start(&[]);
    let mut watcher = connect(&server);
    let mut client = connect(&server);
    let pid = pid(&mut client);
    let running = thread::spawn(move || client.simple_query("select pg_sleep(60)").expect_err("it was stopped"));
    wait_for(&mut watcher, pid, "query like '%pg_sleep%'");
    assert!(watcher.query_one(&format!("select pg_cancel_backend({pid})"), &[]).expect("a row").get::<_, bool>(0));
    assert_eq!(code(&running.join().expect("the session")), "57014");
}

/// With psql: the driver forgets what it was told when the connection's end comes with it.
#[test]
fn pg_terminate_backend_ends_the_session_with_a_fatal_error() {
    let server = Server::start(&[]);
    let mut watcher = connect(&server);
    let mut psql = Command::new("psql");
    psql.args(["-X", "-v", "VERBOSITY=verbose", "-c", "select pg_sleep(60)", &server.connection_string()]);
    let psql = psql.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("psql is installed");
    let mut pid = 0;
    wait_until("psql's statement runs", || {
        let query = "select pid from pg_stat_activity where query = 'select pg_sleep(60)' and state = 'active'";
        let row = watcher.query_opt(query, &[]).expect("rows");
        pid = row.map_or(0, |row| row.get(0));
        pid != 0
    });
    assert!(watcher.query_one(&format!("select pg_terminate_backend({pid})"), &[]).expect("a row").get::<_, bool>(0));
    let output = psql.wait_with_output().expect("psql's output");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with("FATAL:  57P01: terminating connection due to administrator command\n"), "{said}");
    assert_eq!(said.matches("57P01").count(), 1, "{said}");
}

#[test]
fn statement_timeout_and_lock_timeout() {
    let server = Server::start(&[]);
    let (mut holder, mut waiter) = (connect(&server), connect(&server));
    waiter.batch_execute("create table t (k int primary key); set statement_timeout = '50ms'").expect("a table");
    let error = waiter.batch_execute("select pg_sleep(60)").expect_err("it takes too long");
    assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED));
    holder.batch_execute("begin; insert into t values (1)").expect("the lock");
    waiter.batch_execute("set statement_timeout = 0; set lock_timeout = '50ms'").expect("settings");
    let error = waiter.batch_execute("insert into t values (2)").expect_err("the lock is taken");
    assert_eq!(code(&error), "55P03");
    holder.batch_execute("commit").expect("a commit");
    waiter.batch_execute("insert into t values (2)").expect("the lock is free");
}

#[test]
fn an_idle_transaction_ends_its_session() {
    let server = Server::start(&[]);
    let (mut watcher, mut idle) = (connect(&server), connect(&server));
    let pid = pid(&mut idle);
    idle.batch_execute("set idle_in_transaction_session_timeout = '50ms'; begin").expect("a transaction");
    wait_until_gone(&mut watcher, pid);
    let error = idle.batch_execute("select 1").expect_err("the session is over");
    assert_eq!(code(&error), "25P03");
}

#[test]
fn an_idle_writer_is_ended_when_others_wait() {
    let server = Server::start(&["--set", "engine.sqlite.writer_idle_timeout=100ms"]);
    let (mut idle, mut waiter) = (connect(&server), connect(&server));
    idle.batch_execute("create table t (k int primary key)").expect("a table");
    idle.batch_execute("begin; insert into t values (1)").expect("the lock");
    waiter.batch_execute("insert into t values (1)").expect("the lock comes free, the row is not there");
    let error = idle.batch_execute("commit").expect_err("the session is over");
    assert_eq!(code(&error), "25P03");
}

#[test]
fn xact_start_is_that_of_the_transaction() {
    let server = Server::start(&[]);
    let (mut watcher, mut client) = (connect(&server), connect(&server));
    let pid = pid(&mut client);
    wait_for(&mut watcher, pid, "state = 'idle' and xact_start is null");
    client.batch_execute("begin").expect("a transaction");
    wait_for(&mut watcher, pid, "state = 'idle in transaction' and xact_start is not null");
    client.batch_execute("select pg_sleep(0.01)").expect("some time");
    wait_for(&mut watcher, pid, "state = 'idle in transaction' and xact_start < query_start");
    client.batch_execute("commit").expect("a commit");
    wait_for(&mut watcher, pid, "state = 'idle' and xact_start is null");
}
