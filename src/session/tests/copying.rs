//! COPY in both directions, in pieces cut anywhere, with everything that goes wrong.

use std::sync::Arc;

use super::fake::{Fake, Log};
use super::harness::Conversation;
use crate::protocol::Format;
use crate::session::Interrupts;

fn start() -> (Conversation, Log) {
    let log = Log::default();
    let engine_log = Arc::clone(&log);
    (Conversation::start(move || Fake::new(&engine_log)), log)
}

fn copied(log: &Log) -> Vec<String> {
    log.lock().drain(..).filter(|call| call.starts_with("copy")).collect()
}

/// Copies `data` in pieces of `step` bytes.
fn copy(session: &mut Conversation, command: &str, data: &[u8], step: usize) -> Vec<String> {
    session.send(|c| {
        c.query(command);
        data.chunks(step).for_each(|piece| c.copy_data(piece));
        c.copy_done();
    });
    session.until_ready()
}

#[test]
fn rows_arrive_whole_wherever_they_are_cut() {
    let data = b"1\tone\n2\t\\N\n3\tth\\tr\\\\ee\n\\.\n";
    for step in 1..=data.len() {
        let (mut session, log) = start();
        assert_eq!(copy(&mut session, "copyin", data, step), ["G 0 2", "C COPY 3", "Z I"]);
        assert_eq!(
            copied(&log),
            [
                "copy start",
                "copy [Int(1), Text(\"one\")]",
                "copy [Int(2), Null]",
                "copy [Int(3), Text(\"th\\tr\\\\ee\")]",
                "copy end"
            ]
        );
    }
}

#[test]
fn csv_with_header_quotes_over_lines_and_crlf() {
    let data = b"a,b\r\n1,\"x\r\n\"\"y\"\"\"\r\n,\r\n";
    for step in 1..=data.len() {
        let (mut session, log) = start();
        assert_eq!(copy(&mut session, "csvin", data, step), ["G 0 2", "C COPY 2", "Z I"]);
        assert_eq!(copied(&log)[1..3], ["copy [Int(1), Text(\"x\\r\\n\\\"y\\\"\")]", "copy [Null, Null]"]);
    }
}

#[test]
fn bad_data_ends_the_copy_and_the_rest_is_skipped() {
    for (data, error) in [
        (&b"1\ta\n2\n3\tc\n"[..], "22P04 missing data for column \"b\" [context COPY t, line 2: \"2\"]"),
        (b"1\ta\tb\n3\tc\n", "22P04 extra data after last expected column [context COPY t, line 1: \"1\ta\tb\"]"),
        (
            b"1\ta\nx\tb\n",
            "22P02 invalid input syntax for type integer: \"x\" [context COPY t, line 2, column a: \"x\"]",
        ),
        (b"13\ta\n", "23514 thirteen [context COPY t, line 1: \"13\ta\"]"),
        (b"1\t\xff\n", "22021 invalid byte sequence for encoding \"UTF8\": 0xff [context COPY t, line 1]"),
    ] {
        let (mut session, log) = start();
        assert_eq!(
            copy(&mut session, "copyin", data, 3),
            ["G 0 2".to_owned(), format!("E ERROR {error}"), "Z I".into()]
        );
        assert_eq!(copied(&log).last().unwrap(), "copy failed");
        assert_eq!(session.query("update 1"), ["C UPDATE 3", "Z I"]);
    }
}

#[test]
fn the_client_may_fail_a_copy() {
    let (mut session, log) = start();
    session.send(|c| {
        c.query("copyin");
        c.copy_data(b"1\ta\n");
        c.copy_fail("no more");
    });
    assert_eq!(
        session.until_ready(),
        ["G 0 2", "E ERROR 57014 COPY from stdin failed: no more [context COPY t, line 2]", "Z I"]
    );
    assert_eq!(copied(&log).last().unwrap(), "copy failed");
}

#[test]
fn other_messages_fail_a_copy_and_flush_and_sync_do_not() {
    let (mut session, _) = start();
    session.send(|c| {
        c.query("copyin");
        c.flush();
        c.sync();
        c.query("update 1");
    });
    assert_eq!(
        session.until_ready()[1],
        "E ERROR 08P01 unexpected message type 0x51 during COPY from stdin [context COPY t, line 1]"
    );
    assert_eq!(session.until_ready(), ["C UPDATE 3", "Z I"]);
}

#[test]
fn statements_go_on_after_a_copy_in_the_same_message() {
    let (mut session, _) = start();
    assert_eq!(
        copy(&mut session, "update 1; copyin; update 2", b"1\ta", 9),
        ["C UPDATE 3", "G 0 2", "C COPY 1", "C UPDATE 3", "Z I"]
    );
}

#[test]
fn copy_in_the_extended_protocol() {
    let (mut session, _) = start();
    session.send(|c| {
        c.parse("", "copyin", &[]);
        c.bind("", "", Format::Text, &[], Format::Text);
        c.describe_portal("");
        c.execute("", 0);
        c.sync();
        c.copy_data(b"1\ta\n");
        c.copy_done();
        c.sync();
    });
    assert_eq!(session.until_ready(), ["1", "2", "n", "G 0 2", "C COPY 1", "Z I"]);
}

#[test]
fn copy_out_escapes_as_the_format_asks() {
    let (mut session, _) = start();
    assert_eq!(session.query("copyout"), ["H 0 2", "d 1\\tx\\\\ty,\\\"\\n", "d \\\\N\\t\\n", "c", "C COPY 2", "Z I"]);
    assert_eq!(
        session.query("csvout"),
        ["H 0 2", "d a,b\\n", "d 1,\\\"x\\ty,\\\"\\\"\\\"\\n", "d ,\\\"\\\"\\n", "c", "C COPY 2", "Z I"]
    );
}

/// A cancel request that arrives during the first COPY.
struct CancelOnce(std::sync::mpsc::Receiver<()>);

impl Interrupts for CancelOnce {
    fn take_cancel(&mut self) -> bool {
        self.0.try_recv().is_ok()
    }

    fn terminate_requested(&mut self) -> bool {
        false
    }
}

#[test]
fn a_cancel_ends_a_copy_that_waits_for_data() {
    let (cancel, cancelled) = std::sync::mpsc::channel();
    let log = Log::default();
    let mut session = Conversation::start_with(move || Fake::new(&log), CancelOnce(cancelled), |_| ());
    session.send(|c| c.query("copyin"));
    assert_eq!(session.until(|message| message.starts_with('G')), ["G 0 2"]);
    cancel.send(()).unwrap();
    assert_eq!(
        session.until_ready(),
        ["E ERROR 57014 canceling statement due to user request [context COPY t, line 1]", "Z I"]
    );
    session.send(|c| {
        c.copy_data(b"1\ta\n");
        c.copy_done();
    });
    assert_eq!(session.query("update 1"), ["C UPDATE 3", "Z I"]);
}
