//! Transactions beside each other: what a session sees of another, and what it may write then.

mod support;

use postgres::{Client, Error, NoTls};
use support::Server;

fn pair() -> (Server, Client, Client) {
    let server = Server::start(&[]);
    let connect = || Client::connect(&server.connection_string(), NoTls).expect("a connection");
    let (mut one, two) = (connect(), connect());
    one.batch_execute("create table t (k int primary key, v int not null); insert into t values (1, 10)").expect("t");
    (server, one, two)
}

fn value(client: &mut Client) -> i32 {
    client.query_one("select v from t where k = 1", &[]).expect("a row").get(0)
}

fn count(client: &mut Client) -> i64 {
    client.query_one("select count(*) from t", &[]).expect("a row").get(0)
}

fn code(error: &Error) -> String {
    error.code().map_or_else(|| format!("no SQLSTATE: {error}"), |code| code.code().to_owned())
}

#[test]
fn read_committed_sees_what_was_committed_meanwhile() {
    let (_server, mut one, mut two) = pair();
    one.batch_execute("begin isolation level read committed").expect("begin");
    assert_eq!(value(&mut one), 10);
    two.batch_execute("begin; update t set v = 20 where k = 1").expect("a write");
    assert_eq!(value(&mut one), 10, "what is not committed is not seen");
    two.batch_execute("commit").expect("a commit");
    assert_eq!(value(&mut one), 20);
    one.batch_execute("update t set v = v + 1 where k = 1; commit").expect("a write on top");
    assert_eq!(value(&mut two), 21);
}

#[test]
fn repeatable_read_keeps_its_snapshot_and_cannot_write_over_newer_commits() {
    let (_server, mut one, mut two) = pair();
    one.batch_execute("begin isolation level repeatable read").expect("begin");
    assert_eq!(value(&mut one), 10);
    two.batch_execute("update t set v = 20 where k = 1").expect("a write");
    assert_eq!(value(&mut one), 10);
    let error = one.batch_execute("update t set v = 30 where k = 1").expect_err("the snapshot is stale");
    assert_eq!(code(&error), "40001");
    assert_eq!(code(&one.batch_execute("select 1").expect_err("the transaction has failed")), "25P02");
    one.batch_execute("rollback").expect("a rollback");
    assert_eq!(value(&mut one), 20);
}

#[test]
fn savepoints_before_and_after_the_first_write() {
    let (_server, mut one, mut two) = pair();
    one.batch_execute(
        "begin; savepoint before; insert into t values (2, 2); savepoint after; insert into t values (3, 3)",
    )
    .expect("writes");
    assert_eq!(count(&mut one), 3);
    one.batch_execute("rollback to after").expect("one step back");
    assert_eq!(count(&mut one), 2);
    one.batch_execute("rollback to before").expect("all back");
    assert_eq!(count(&mut one), 1);
    one.batch_execute("insert into t values (4, 4); release before; commit").expect("a commit");
    assert_eq!(count(&mut two), 2);
}

#[test]
fn a_savepoint_mends_a_failed_transaction() {
    let (_server, mut one, mut two) = pair();
    one.batch_execute("begin; insert into t values (2, 2); savepoint s").expect("a write");
    assert_eq!(code(&one.batch_execute("insert into t values (1, 1)").expect_err("a duplicate")), "23505");
    assert_eq!(code(&one.batch_execute("select 1").expect_err("the transaction has failed")), "25P02");
    one.batch_execute("rollback to s; insert into t values (3, 3); commit").expect("it goes on");
    assert_eq!(count(&mut two), 3);
    one.batch_execute("begin; insert into t values (9, 9)").expect("a write");
    one.batch_execute("insert into t values (1, 1)").expect_err("a duplicate");
    one.batch_execute("commit").expect("ends as a rollback");
    assert_eq!(count(&mut two), 3);
}

#[test]
fn a_duplicate_names_its_key() {
    let (_server, mut one, _two) = pair();
    let detail = |error: Error| error.as_db_error().and_then(|error| error.detail().map(str::to_owned));
    let wanted = Some("Key (k)=(1) already exists.".to_owned());
    assert_eq!(detail(one.batch_execute("insert into t values (1, 1)").expect_err("a duplicate")), wanted);
    assert_eq!(detail(one.execute("insert into t values ($1, $2)", &[&1, &1]).expect_err("a duplicate")), wanted);
    let several = one.batch_execute("insert into t values (5, 5), (1, 1)").expect_err("a duplicate");
    assert_eq!(detail(several), None);
    one.batch_execute("create table u (a text, b int, unique (b, a)); insert into u values ('x', -7)").expect("u");
    let composite = one.batch_execute("insert into u values ('x', -7)").expect_err("a duplicate");
    assert_eq!(detail(composite), Some("Key (b, a)=(-7, x) already exists.".to_owned()));
}
