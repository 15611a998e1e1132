//! Both cycles against an engine that notes what it is asked: transactions, portals, cursors, errors.

use std::sync::Arc;

use super::fake::{Fake, Log};
use super::harness::Conversation;
use crate::error::Condition;
use crate::protocol::Format;
use crate::session::{End, Interrupts};

fn start() -> (Conversation, Log) {
    let log = Log::default();
    let engine_log = Arc::clone(&log);
    (Conversation::start(move || Fake::new(&engine_log)), log)
}

fn calls(log: &Log) -> Vec<String> {
    log.lock().drain(..).filter(|call| call != "settle").collect()
}

#[test]
fn several_statements_share_an_implicit_transaction() {
    let (mut session, log) = start();
    assert_eq!(session.query("update 1; update 2").len(), 3);
    assert_eq!(calls(&log), ["begin implicit", "execute update 1", "execute update 2", "commit implicit"]);
    assert_eq!(
        session.query("update 1;  fail; update 2"),
        ["C UPDATE 3", "E ERROR 22012 division by zero [at 14]", "Z I"]
    );
    assert_eq!(calls(&log), ["begin implicit", "execute update 1", "execute fail", "rollback implicit"]);
    session.query("update 1");
    assert_eq!(calls(&log), ["execute update 1"]);
}

#[test]
fn blocks_within_one_message() {
    let (mut session, log) = start();
    assert_eq!(session.query("update 1; begin; update 2"), ["C UPDATE 3", "C BEGIN", "C UPDATE 3", "Z T"]);
    assert_eq!(session.query("commit; update 3"), ["C COMMIT", "C UPDATE 3", "Z I"]);
    assert_eq!(
        calls(&log),
        [
            "begin implicit",
            "execute update 1",
            "execute begin",
            "execute update 2",
            "execute commit",
            "begin implicit",
            "execute update 3",
            "commit implicit"
        ]
    );
}

#[test]
fn a_syntax_error_anywhere_runs_nothing() {
    let (mut session, log) = start();
    assert_eq!(session.query("update 1; %"), ["E ERROR 42601 syntax error at or near \"%\" [at 11]", "Z I"]);
    assert_eq!(session.query("é; oops"), ["E ERROR 42601 syntax error at or near \"é\" [at 1]", "Z I"]);
    assert_eq!(session.query("rows 0; oops")[2], "E ERROR 42601 syntax error at or near \"oops\" [at 9]");
    assert!(!calls(&log).contains(&"execute update 1".to_owned()));
}

#[test]
fn a_series_of_one_execute_needs_no_implicit_transaction() {
    let (mut session, log) = start();
    session.series(|c| {
        c.parse("", "update 1", &[]);
        c.bind("", "", Format::Text, &[], Format::Text);
        c.execute("", 0);
    });
    assert_eq!(calls(&log), ["execute update 1"]);
    session.series(|c| {
        c.parse("u", "update 1", &[]);
        for _ in 0..2 {
            c.bind("", "u", Format::Text, &[], Format::Text);
            c.execute("", 0);
        }
    });
    assert_eq!(calls(&log), ["begin implicit", "execute update 1", "execute update 1", "commit implicit"]);
    let failed = session.series(|c| {
        c.parse("f", "fail", &[]);
        for statement in ["u", "f", "u"] {
            c.bind("", statement, Format::Text, &[], Format::Text);
            c.execute("", 0);
        }
    });
    assert_eq!(failed, ["1", "2", "C UPDATE 3", "2", "E ERROR 22012 division by zero [at 3]", "Z I"]);
    assert_eq!(calls(&log), ["begin implicit", "execute update 1", "execute fail", "rollback implicit"]);
}

#[test]
fn portals_stop_at_row_limits_and_go_on() {
    let (mut session, _) = start();
    session.query("begin");
    session.series(|c| {
        c.parse("", "rows 5", &[]);
        c.bind("p", "", Format::Text, &[], Format::Text);
    });
    assert_eq!(session.series(|c| c.execute("p", 2)), ["D 1", "D 2", "s", "Z T"]);
    assert_eq!(session.series(|c| c.execute("p", 2)), ["D 3", "D 4", "s", "Z T"]);
    assert_eq!(session.series(|c| c.execute("p", 2)), ["D 5", "C SELECT 1", "Z T"]);
    assert_eq!(session.series(|c| c.execute("p", 2)), ["C SELECT 0", "Z T"]);
    assert_eq!(
        session.series(|c| c.bind("p", "", Format::Text, &[], Format::Text)),
        ["E ERROR 42P03 cursor \"p\" already exists", "Z E"]
    );
    session.query("rollback");
    assert_eq!(session.series(|c| c.execute("p", 2)), ["E ERROR 34000 portal \"p\" does not exist", "Z I"]);
}

#[test]
fn portals_without_rows_run_once() {
    let (mut session, _) = start();
    let twice = session.series(|c| {
        c.parse("", "update 1", &[]);
        c.bind("", "", Format::Text, &[], Format::Text);
        c.execute("", 0);
        c.execute("", 0);
    });
    assert_eq!(twice, ["1", "2", "C UPDATE 3", "E ERROR 55000 portal \"\" cannot be run", "Z I"]);
}

#[test]
fn bind_checks_counts_and_values() {
    let (mut session, _) = start();
    session.series(|c| c.parse("s", "sum $1 $2", &[]));
    assert_eq!(session.series(|c| c.describe_statement("s")), ["t [23, 23]", "T n:23", "Z I"]);
    let sum = |values: &[Option<&[u8]>], format, session: &mut Conversation| {
        session.series(|c| {
            c.bind("", "s", format, values, Format::Text);
            c.execute("", 0);
        })
    };
    assert_eq!(sum(&[Some(b"20"), Some(b"22")], Format::Text, &mut session), ["2", "D 42", "C SELECT 1", "Z I"]);
    assert_eq!(sum(&[Some(&[0, 0, 0, 1]), None], Format::Binary, &mut session), ["2", "D 1", "C SELECT 1", "Z I"]);
    assert_eq!(
        sum(&[Some(b"20")], Format::Text, &mut session),
        ["E ERROR 08P01 bind message supplies 1 parameters, but prepared statement \"s\" requires 2", "Z I"]
    );
    assert!(sum(&[Some(b"x"), None], Format::Text, &mut session)[0].starts_with("E ERROR 22P02"));
    assert!(sum(&[Some(b"\xff"), None], Format::Text, &mut session)[0].starts_with("E ERROR 22021"));
    assert_eq!(
        session.series(|c| c.parse("", "update 1; update 2", &[])),
        ["E ERROR 42601 cannot insert multiple commands into a prepared statement", "Z I"]
    );
}

#[test]
fn flush_answers_without_ending_the_series() {
    let (mut session, _) = start();
    session.send(|c| {
        c.parse("", "rows 1", &[]);
        c.flush();
    });
    assert_eq!(session.until(|message| message == "1"), ["1"]);
    assert_eq!(session.series(|c| c.describe_statement("")), ["t []", "T n:23", "Z I"]);
}

#[test]
fn prepare_and_parse_share_their_names() {
    let (mut session, _) = start();
    assert_eq!(session.query("prepare s as sum $1 $2"), ["C PREPARE", "Z I"]);
    assert_eq!(session.query("execute s 40 2"), ["T n:23", "D 42", "C SELECT 1", "Z I"]);
    assert_eq!(
        session.query("execute s 1"),
        ["E ERROR 42601 wrong number of parameters for prepared statement \"s\"", "Z I"]
    );
    assert_eq!(session.series(|c| c.describe_statement("s")), ["t [23, 23]", "T n:23", "Z I"]);
    assert_eq!(session.query("deallocate s"), ["C DEALLOCATE", "Z I"]);
    assert_eq!(session.query("execute s 1 2"), ["E ERROR 26000 prepared statement \"s\" does not exist", "Z I"]);
}

#[test]
fn cursors_live_to_the_end_of_their_transaction_unless_held() {
    let (mut session, _) = start();
    assert_eq!(
        session.query("declare c cursor for rows 5"),
        ["E ERROR 25P01 DECLARE CURSOR can only be used in transaction blocks", "Z I"]
    );
    session.query("begin");
    assert_eq!(session.query("declare c cursor for rows 5"), ["C DECLARE CURSOR", "Z T"]);
    session.query("declare h hold for rows 3");
    assert_eq!(session.query("fetch 2 c"), ["T n:23", "D 1", "D 2", "C FETCH 2", "Z T"]);
    assert_eq!(session.query("move 1 c"), ["C MOVE 1", "Z T"]);
    assert_eq!(session.query("fetch -2 c"), ["T n:23", "D 2", "D 1", "C FETCH 2", "Z T"]);
    assert_eq!(session.series(|c| c.execute("c", 2)), ["D 2", "D 3", "s", "Z T"]);
    session.query("commit");
    assert_eq!(session.query("fetch 1 c"), ["E ERROR 34000 cursor \"c\" does not exist", "Z I"]);
    assert_eq!(session.query("fetch 1 h"), ["T n:23", "D 1", "C FETCH 1", "Z I"]);
    assert_eq!(session.query("close h"), ["C CLOSE CURSOR", "Z I"]);
    session.query("begin");
    session.query("declare h hold for rows 3");
    session.query("rollback");
    assert_eq!(session.query("close h"), ["E ERROR 34000 cursor \"h\" does not exist", "Z I"]);
}

#[test]
fn savepoints_take_their_cursors_along() {
    let (mut session, _) = start();
    session.query("begin; declare a x for rows 1; savepoint s; declare b x for rows 1");
    session.query("fail");
    assert_eq!(session.query("rollback to s"), ["C ROLLBACK", "Z T"]);
    assert_eq!(session.query("fetch 1 a"), ["T n:23", "D 1", "C FETCH 1", "Z T"]);
    assert_eq!(session.query("fetch 1 b")[0], "E ERROR 34000 cursor \"b\" does not exist");
    assert_eq!(session.query("commit"), ["C ROLLBACK", "Z I"]);
}

#[test]
fn discard_all_and_set_local_mind_blocks() {
    let (mut session, log) = start();
    session.query("begin");
    assert_eq!(session.query("discard all")[0], "E ERROR 25001 DISCARD ALL cannot run inside a transaction block");
    session.query("rollback");
    calls(&log);
    assert_eq!(session.query("discard all"), ["C DISCARD ALL", "Z I"]);
    assert_eq!(calls(&log), ["reset"]);
    assert_eq!(
        session.query("set local work_mem 1MB"),
        ["N WARNING 25P01 SET LOCAL can only be used in transaction blocks", "C SET", "Z I"]
    );
    assert_eq!(session.query("notice"), ["N NOTICE 00000 by the way", "C UPDATE 0", "Z I"]);
}

#[test]
fn large_results_leave_in_pieces_after_settling() {
    let (mut session, log) = start();
    let rows = session.query("rows 30000");
    assert_eq!(rows.len(), 30_003);
    assert!(log.lock().iter().filter(|call| *call == "settle").count() > 3);
}

#[test]
fn nothing_is_sent_that_could_not_be_made_durable() {
    let (mut session, _) = start();
    session.send(|c| c.query("update unsettled"));
    assert_eq!(session.until_ready(), ["E FATAL 58030 the log cannot be synced"]);
    assert!(matches!(session.end(), End::Failed(_)));
}

#[test]
fn protocol_violations_end_the_session() {
    for bytes in [&b"?\0\0\0\x04"[..], b"Q\0\0\0\x03", b"Q\xff\xff\xff\xff", b"p\0\0\0\x04"] {
        let (mut session, _) = start();
        session.send_bytes(bytes);
        assert!(session.until_ready()[0].starts_with("E FATAL 08P01"), "{bytes:?}");
        assert!(matches!(session.end(), End::ProtocolViolation(_)));
    }
    let (mut session, _) = start();
    session.send_bytes(b"F\0\0\0\x04");
    assert_eq!(session.until_ready(), ["E ERROR 0A000 the function call message is not supported", "Z I"]);
    session.send_bytes(b"Q\0\0\0\x05x");
    assert!(session.until_ready()[0].starts_with("E ERROR 08P01"));
}

struct Terminated;

impl Interrupts for Terminated {
    fn take_cancel(&mut self) -> bool {
        false
    }

    fn terminate_requested(&mut self) -> bool {
        true
    }
}

#[test]
fn termination_is_told_before_the_next_command() {
    let log = Log::default();
    let mut session = Conversation::start_with(move || Fake::new(&log), Terminated, |_| ());
    session.send(|c| c.query("rows 1"));
    assert_eq!(session.until_ready(), ["E FATAL 57P01 terminating connection due to administrator command"]);
    assert!(matches!(session.end(), End::Terminated));
}

#[test]
fn conditions_of_ends_are_kept() {
    assert_eq!(Condition::IdleSessionTimeout.code(), "57P05");
}

#[test]
fn an_idle_transaction_in_others_way_is_ended_and_a_finished_one_is_not() {
    let (mut session, _) = start();
    session.query("begin; update locked");
    session.query("commit");
    // The limit that is left on the socket passes for nothing.
    std::thread::sleep(std::time::Duration::from_millis(60));
    assert_eq!(session.query("begin; update locked"), ["C BEGIN", "C UPDATE 0", "Z T"]);
    assert_eq!(session.until_ready(), ["E FATAL 25P03 terminating connection due to idle-in-transaction timeout"]);
    assert!(matches!(session.end(), End::Timeout(Condition::IdleInTransactionSessionTimeout)));
}

#[test]
fn what_was_answered_before_the_end_is_settled_and_sent() {
    let (mut session, log) = start();
    calls(&log);
    session.send(|c| {
        c.query("update 1");
        c.terminate();
    });
    assert_eq!(session.until_ready(), ["C UPDATE 3", "Z I"]);
    assert!(matches!(session.end(), End::Terminate));
    assert_eq!(*log.lock(), ["execute update 1", "settle"]);
    let (mut session, _) = start();
    session.send(|c| {
        c.query("update unsettled");
        c.terminate();
    });
    assert_eq!(session.until_ready(), Vec::<String>::new());
    assert!(matches!(session.end(), End::Terminate));
}
