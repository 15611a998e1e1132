//! What a load test says, against the engine that knows nothing.

use super::harness::Conversation;
use crate::engine::null::Null;
use crate::protocol::Format;
use crate::session::End;

fn start() -> Conversation {
    Conversation::start(Null::new)
}

#[test]
fn a_simple_query() {
    let mut session = start();
    assert_eq!(
        session.query("SELECT abalance FROM pgbench_accounts WHERE aid = 1;"),
        ["T ?column?:23", "D 1", "C SELECT 1", "Z I"]
    );
    assert!(matches!(session.finish(), End::Terminate));
}

#[test]
fn an_empty_query() {
    let mut session = start();
    assert_eq!(session.query(""), ["I", "Z I"]);
    assert_eq!(session.query(" ; "), ["I", "Z I"]);
    assert!(matches!(session.hang_up(), End::Eof));
}

#[test]
fn several_statements_in_one_message() {
    let mut session = start();
    assert_eq!(
        session.query("BEGIN; UPDATE t SET a = 1; SELECT 1; INSERT INTO t VALUES (1); END"),
        ["C BEGIN", "C UPDATE 1", "T ?column?:23", "D 1", "C SELECT 1", "C INSERT 0 1", "C COMMIT", "Z I"]
    );
    assert_eq!(session.query("begin"), ["C BEGIN", "Z T"]);
    assert_eq!(
        session.query("begin"),
        ["N WARNING 25001 there is already a transaction in progress", "C BEGIN", "Z T"]
    );
    assert_eq!(session.query("rollback"), ["C ROLLBACK", "Z I"]);
}

#[test]
fn a_prepared_statement_over_and_over() {
    let mut session = start();
    let text = "SELECT abalance FROM pgbench_accounts WHERE aid = $1";
    assert_eq!(session.series(|c| c.parse("P_0", text, &[])), ["1", "Z I"]);
    for _ in 0..3 {
        let answer = session.series(|c| {
            c.bind("", "P_0", Format::Text, &[Some(b"7")], Format::Text);
            c.describe_portal("");
            c.execute("", 0);
        });
        assert_eq!(answer, ["2", "T ?column?:23", "D 1", "C SELECT 1", "Z I"]);
    }
    session.send(|c| {
        c.bind("", "P_0", Format::Text, &[Some(b"7")], Format::Text);
        c.describe_portal("");
        c.execute("", 0);
        c.sync();
    });
    session.read_once();
    assert_eq!(session.until_ready().len(), 5);
    assert_eq!(
        session.series(|c| c.parse("P_0", text, &[])),
        ["E ERROR 42P05 prepared statement \"P_0\" already exists", "Z I"]
    );
}

#[test]
fn after_an_error_everything_up_to_sync_is_skipped() {
    let mut session = start();
    session.send(|c| {
        c.bind("", "nowhere", Format::Text, &[], Format::Text);
        c.execute("", 0);
        c.query("SELECT 1");
        c.sync();
        c.query("SELECT 1");
    });
    assert_eq!(session.until_ready(), ["E ERROR 26000 prepared statement \"nowhere\" does not exist", "Z I"]);
    assert_eq!(session.until_ready().len(), 4);
}

#[test]
fn a_failed_block_refuses_statements_until_it_ends() {
    let mut session = start();
    session.query("BEGIN");
    assert_eq!(session.series(|c| c.execute("nowhere", 0)), ["E ERROR 34000 portal \"nowhere\" does not exist", "Z E"]);
    let refused =
        "E ERROR 25P02 current transaction is aborted, commands ignored until end of transaction block".to_owned();
    assert_eq!(session.query("SELECT 1"), [refused.clone(), "Z E".into()]);
    assert_eq!(session.series(|c| c.parse("", "SELECT 1", &[])), [refused, "Z E".into()]);
    assert_eq!(session.query("COMMIT"), ["C ROLLBACK", "Z I"]);
}

#[test]
fn pipelined_series_are_answered_in_one_send() {
    let mut session = start();
    session.send(|c| {
        for _ in 0..5 {
            c.parse("", "SELECT $1", &[]);
            c.bind("", "", Format::Text, &[Some(b"1")], Format::Binary);
            c.describe_portal("");
            c.execute("", 0);
            c.sync();
        }
    });
    session.read_once();
    for _ in 0..5 {
        assert_eq!(session.until_ready(), ["1", "2", "T ?column?:23b", "D \0\0\0\u{1}", "C SELECT 1", "Z I"]);
    }
}
