//! What the log says of sessions: statements that take long, and whose a line is.

use std::fs;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use pgprefork::protocol::Format;

use crate::server::{Log, Raw, Server, command, directory, eventually, free_port, is_stopped};

pub const TESTS: &[(&str, fn())] = &[
    ("connections_are_told_of_stage_by_stage", connections_are_told_of_stage_by_stage),
    ("statements_get_a_line_with_their_duration", statements_get_a_line_with_their_duration),
    ("pipelined_statements_get_a_line_each", pipelined_statements_get_a_line_each),
    ("by_default_no_statement_gets_a_line", by_default_no_statement_gets_a_line),
    ("a_duration_includes_the_wait_for_the_sync", a_duration_includes_the_wait_for_the_sync),
    ("a_reload_changes_which_statements_get_a_line", a_reload_changes_which_statements_get_a_line),
    ("a_statement_of_several_lines_forges_no_message", a_statement_of_several_lines_forges_no_message),
    ("lines_of_json_name_user_and_database", lines_of_json_name_user_and_database),
];

/// What stands behind the durations in the log, in order.
fn logged(log: &Log) -> Vec<String> {
    let text = log.text();
    text.lines()
        .filter_map(|line| Some(line.split_once("LOG: duration: ")?.1.split_once(" ms  ")?.1.to_owned()))
        .collect()
}

/// Waits until the session's end is in the log, behind all else that it says.
fn leave(server: &Server, mut client: Raw) {
    client.send(|client| client.terminate());
    eventually("it ends", || server.log.text().contains("session ended"));
}

fn statements_get_a_line_with_their_duration() {
    let server = Server::start(&["engine.kind=sqlite", "log.min_duration=0", "log.connections=true"]);
    let mut client = Raw::connect(&server);
    assert_eq!(client.query("select 1; select 2").unwrap(), None);
    assert_eq!(client.query("select 1 / 0").unwrap().as_deref(), Some("22012"));
    assert_eq!(client.query("").unwrap(), None);
    client.send(|client| {
        client.parse("s", "values (1), (2), (3)", &[]);
        client.bind("p", "s", Format::Text, &[], Format::Text);
        client.execute("p", 1);
        client.execute("p", 0);
        client.sync();
    });
    client.read_until_ready(|_| ()).unwrap();
    client.send(|client| {
        client.parse("", "begin", &[]);
        client.bind("", "", Format::Text, &[], Format::Text);
        client.execute("", 0);
        client.sync();
    });
    client.read_until_ready(|_| ()).unwrap();
    leave(&server, client);
    let expected = [
        "statement: select 1; select 2",
        "statement: ",
        "parse s: values (1), (2), (3)",
        "bind s/p: values (1), (2), (3)",
        "execute s/p: values (1), (2), (3)",
        "execute fetch from s/p: values (1), (2), (3)",
        "parse <unnamed>: begin",
        "bind <unnamed>: begin",
        "execute <unnamed>: begin",
    ];
    assert_eq!(logged(&server.log), expected);
}

/// More than are kept while replies are gathered, and the end right behind the last.
fn pipelined_statements_get_a_line_each() {
    let server = Server::start(&["log.min_duration=0", "log.connections=true"]);
    let mut client = Raw::connect(&server);
    client.send(|client| {
        (0..600).for_each(|_| client.query("select 1"));
        client.terminate();
    });
    eventually("it ends", || server.log.text().contains("session ended"));
    assert_eq!(logged(&server.log), vec!["statement: select 1"; 600]);
}

fn by_default_no_statement_gets_a_line() {
    for settings in [&["log.connections=true"][..], &["log.connections=true", "log.min_duration=1d"]] {
        let server = Server::start(settings);
        let mut client = Raw::connect(&server);
        assert_eq!(client.query("select 1").unwrap(), None);
        leave(&server, client);
        assert!(!server.log.text().contains("duration"), "{}", server.log.text());
    }
}

/// The process is stopped before its sync for longer than the limit: that time is known, and counts.
fn a_duration_includes_the_wait_for_the_sync() {
    const STOPPED: Duration = Duration::from_millis(1500);
    let directory = directory();
    let (data, token) = (directory.path().join("data"), directory.path().join("token"));
    let settings = ["engine.kind=sqlite", "log.min_duration=1500ms"];
    let port = free_port();
    let mut command = command(&data, port, &settings);
    command.env("PGPREFORK_TEST_STOP", format!("leading-sync:stop:{}", token.display()));
    let server = Server::launch(command, &data, port).unwrap();
    let mut client = Raw::connect(&server);
    assert_eq!(client.query("create table t (a int)").unwrap(), None);
    let pid = client.pid;
    let mut stopped = |send: &dyn Fn(&mut Raw), line: &str| {
        fs::write(&token, "").unwrap();
        send(&mut client);
        eventually("it stops", || !token.exists() && is_stopped(pid));
        // The time that it loses is what this test is about.
        std::thread::sleep(STOPPED);
        assert!(!server.log.text().contains(line), "before it is durable");
        kill(pid, Signal::SIGCONT).unwrap();
        client.read_until_ready(|_| ()).unwrap();
        eventually("it gets its line", || logged(&server.log).iter().any(|logged| logged == line));
    };
    stopped(
        &|client| client.send(|client| client.query("insert into t values (1)")),
        "statement: insert into t values (1)",
    );
    stopped(
        &|client| {
            client.send(|client| {
                client.parse("s", "insert into t values (2)", &[]);
                client.bind("", "s", Format::Text, &[], Format::Text);
                client.execute("", 0);
                client.sync();
            });
        },
        "execute s: insert into t values (2)",
    );
}

fn a_reload_changes_which_statements_get_a_line() {
    let server = Server::start(&[]);
    assert_eq!(Raw::connect(&server).query("select 1").unwrap(), None);
    fs::write(server.data.join("pgprefork.toml"), "[log]\nmin_duration = 0\n").unwrap();
    server.signal(Signal::SIGHUP);
    eventually("a later session's statement gets a line", || {
        assert_eq!(Raw::connect(&server).query("select 2").unwrap(), None);
        !logged(&server.log).is_empty()
    });
    assert!(logged(&server.log).iter().all(|line| line == "statement: select 2"));
}

fn a_statement_of_several_lines_forges_no_message() {
    let server = Server::start(&["engine.kind=sqlite", "log.min_duration=0", "log.connections=true"]);
    let mut client = Raw::connect(&server);
    assert_eq!(client.query("select 1\nforged").unwrap(), None);
    let long = format!("select '{}'", "x".repeat(10_000));
    assert_eq!(client.query(&long).unwrap(), None);
    assert_eq!(client.query("select 3").unwrap(), None);
    leave(&server, client);
    let text = server.log.text();
    assert!(text.contains("statement: select 1\n\tforged\n"), "{text}");
    // A line that is too long is cut, and ends all the same.
    let lines = logged(&server.log);
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[1].len() > 3_900 && long.contains(&lines[1]["statement: ".len()..]));
    assert_eq!(lines[2], "statement: select 3");
}

/// Those of one session do not stay with the process for the next, nor for what happens between.
fn lines_of_json_name_user_and_database() {
    let settings = ["engine.kind=sqlite", "log.format=json", "log.level=debug", "log.connections=true"];
    let one = ["pool.start_workers=1", "pool.min_spare=1", "pool.max_spare=1", "pool.sessions_per_worker=0"];
    let server = Server::start(&[&settings[..], &one].concat());
    let lines = || -> Vec<serde_json::Value> {
        server.log.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let of = |message: &str| -> Vec<serde_json::Value> {
        lines().into_iter().filter(|line| line["message"].as_str().unwrap().starts_with(message)).collect()
    };
    let mut client = Raw::connect(&server);
    assert_eq!(client.query("create role ann login").unwrap(), None);
    assert_eq!(client.query("create database other").unwrap(), None);
    let pid = client.pid;
    client.send(|client| client.terminate());
    eventually("it ends", || of("session ended").len() == 1);
    let client = Raw::connect_as(&server, "ann", "other");
    drop(client);
    eventually("it ends", || of("session ended").len() == 2);
    let names = |line: &serde_json::Value| (line["user"].clone(), line["dbname"].clone());
    let expected = [("postgres".into(), "postgres".into()), ("ann".into(), "other".into())];
    for message in ["connection authorized", "session ended"] {
        assert_eq!(of(message).iter().map(names).collect::<Vec<_>>(), expected, "{message}");
    }
    // Known before it is known whether that may be.
    let stream = std::net::TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    assert!(Raw::start_as(stream, "nobody", "other").is_err());
    let refused = |reason: &str| -> Vec<serde_json::Value> {
        let told = |line: &serde_json::Value| {
            let message = line["message"].as_str().unwrap();
            message.starts_with("connection from 127.0.0.1")
                && message.contains(" refused ")
                && message.contains(reason)
        };
        lines().into_iter().filter(told).collect()
    };
    eventually("it is refused", || !refused("").is_empty());
    assert_eq!(names(&refused("")[0]), ("nobody".into(), "other".into()));
    // A packet that says nothing is nobody's, though the process has had clients before.
    let mut line = None;
    eventually("one of them meets that process", || {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        std::io::Write::write_all(&mut stream, &[0, 0, 0, 8, 0, 9, 0, 0]).unwrap();
        line = refused(": unsupported").into_iter().find(|line| line["pid"] == pid.as_raw());
        line.is_some()
    });
    let line = line.unwrap();
    assert!(line.get("user").is_none() && line.get("dbname").is_none(), "{line}");
    assert!(lines().iter().filter(|line| line["pid"] == server.pid().as_raw()).all(|line| line.get("user").is_none()));
}

/// In PostgreSQL 18's words, all of them or those that were asked for.
fn connections_are_told_of_stage_by_stage() {
    for (setting, stages) in [
        ("log.connections=true", &["received", "authenticated", "authorized", "ready"][..]),
        ("log.connections=[\"receipt\", \"setup_durations\"]", &["received", "ready"]),
        ("log.connections=authorization", &["authorized"]),
        ("log.connections=false", &[]),
    ] {
        let server = Server::start(&["engine.kind=sqlite", setting]);
        let client = Raw::connect(&server);
        let port = client.stream.local_addr().unwrap().port();
        drop(client);
        let mut refused = Raw::connect(&server);
        assert_eq!(refused.query("select 1").unwrap(), None);
        let text = || server.log.text();
        let rules = server.data.join("pg_hba.conf");
        let lines = [
            ("received", format!("connection received: host=127.0.0.1 port={port}")),
            (
                "authenticated",
                format!("connection authenticated: user=\"postgres\" method=trust ({}:4)", rules.display()),
            ),
            ("authorized", "connection authorized: user=postgres database=postgres".to_owned()),
            ("ready", "connection ready: setup total=".to_owned()),
        ];
        for (stage, line) in lines {
            if stages.contains(&stage) {
                eventually(&line, || text().contains(&line));
            } else {
                assert!(!text().contains(&format!("connection {stage}")), "{}", text());
            }
        }
    }
}
