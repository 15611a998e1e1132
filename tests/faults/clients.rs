//! kill -9 of clients in the middle of a statement: what their sessions held is free, and what they asked for last does
//! not happen.

use std::process::{Child, Stdio};

use crate::support::load::connect;
use crate::support::{Server, wait_until};

pub const TESTS: &[crate::Test] = &[
    ("a_dead_client_s_statement_ends_and_lets_go_of_the_writer_lock", a_dead_client_in_a_statement),
    ("a_client_that_dies_in_the_queue_writes_nothing", a_dead_client_in_the_queue),
];

/// A client of its own process that runs these statements.
fn client(server: &Server, statements: &[&str]) -> Child {
    let mut psql = server.client("psql");
    psql.args(["-X", "-q", "-d", "postgres"]).args(statements.iter().flat_map(|statement| ["-c", statement]));
    psql.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("psql")
}

fn kill(mut client: Child) {
    client.kill().expect("a client to kill");
    client.wait().expect("its end");
}

/// Who has the writer lock, and who waits for it.
fn writers(server: &Server, granted: bool) -> String {
    server.query(&format!("select count(*) from pg_locks where mode = 'ExclusiveLock' and granted = {granted}"))
}

/// A load that is cut off while it fills its tables, or sleeps over them: the next load goes on.
fn a_dead_client_in_a_statement(_: u64) {
    let server = Server::start(&[]);
    server.query("create table t (a int)");
    // Each takes far longer than a test waits.
    for endless in ["insert into t select g from generate_series(1, 2000000000) g", "select pg_sleep(100000)"] {
        let dying = client(&server, &["begin", "insert into t values (1)", endless]);
        let active = format!("select count(*) from pg_stat_activity where state = 'active' and query = '{endless}'");
        wait_until("the statement is under way", || server.query(&active) == "1");
        assert_eq!(writers(&server, true), "1");
        kill(dying);
        wait_until("the session is over", || server.query(&active) == "0");
        server.query("drop table if exists t; create table t (a int)");
        assert_eq!(server.query("select count(*) from t"), "0");
    }
    server.pgbench("postgres", &["-i", "-q", "-s", "1"]);
}

/// Its turn comes after its end: the statement is not carried out.
fn a_dead_client_in_the_queue(_: u64) {
    let server = Server::start(&[]);
    server.query("create table t (a int)");
    let mut owner = connect(server.port).expect("a connection");
    owner.batch_execute("begin; insert into t values (1)").expect("the writer lock");
    let dying = client(&server, &["insert into t values (2)"]);
    wait_until("it waits", || writers(&server, false) == "1");
    kill(dying);
    owner.batch_execute("commit").expect("commits");
    wait_until("nobody waits or writes", || writers(&server, false) == "0" && writers(&server, true) == "0");
    wait_until("the session is over", || {
        server.query("select count(*) from pg_stat_activity where query like 'insert into t values (2)%'") == "0"
    });
    assert_eq!(server.query("select a from t"), "1");
}
