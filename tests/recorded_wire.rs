//! What psql and pgbench 15 and PostgreSQL 15 said to each other, byte by byte (`tests/wire/`), read by this codec.
//!
//! The recordings were made through a proxy, with scram-sha-256 authentication; NAME.front is the client's side.

use std::fs;
use std::path::PathBuf;

use pgprefork::protocol::client::{self, Backend, ClientEncoder};
use pgprefork::protocol::{self, Format, Message, Next, Packet, Target, frame};

const RECORDINGS: &[&str] =
    &["psql", "psql_copy", "psql_wrong_password", "pgbench_extended", "pgbench_pipeline", "pgbench_prepared"];

fn recording(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/wire").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn complete<T>(next: Result<Next<T>, protocol::Violation>, name: &str) -> (T, usize) {
    match next {
        Ok(Next::Complete(value, length)) => (value, length),
        Ok(Next::Missing(bytes)) => panic!("{name}: {bytes} bytes are missing"),
        Err(violation) => panic!("{name}: {violation}"),
    }
}

/// Reads the start of a client's side: encryption requests, start-up packet, the two SASL messages. Returns what
/// is left.
fn read_start<'a>(name: &str, mut bytes: &'a [u8]) -> &'a [u8] {
    loop {
        let (body, length) = complete(frame::next_startup(bytes), name);
        bytes = &bytes[length..];
        match Packet::decode(body).unwrap() {
            Packet::SslRequest | Packet::GssEncryptionRequest => (),
            Packet::Startup(startup) => {
                assert_eq!((startup.user, startup.database), ("postgres", "postgres"), "{name}");
                assert!(!startup.negotiate);
                assert!(startup.application_name.is_some(), "{name}");
                break;
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    let (first, length) = complete(frame::next_response(bytes, "SASL response"), name);
    let initial = protocol::sasl_initial_response(first).unwrap();
    assert_eq!(initial.mechanism, "SCRAM-SHA-256");
    assert!(initial.data.unwrap().starts_with(b"n,,n=,r="));
    bytes = &bytes[length..];
    let (last, length) = complete(frame::next_response(bytes, "SASL response"), name);
    assert!(protocol::sasl_response(last).starts_with(b"c=biws,r="));
    &bytes[length..]
}

fn messages<'a>(name: &str, mut bytes: &'a [u8]) -> Vec<(Message<'a>, &'a [u8])> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let (found, length) = complete(frame::next(bytes), name);
        messages.push((Message::decode(found).unwrap(), &bytes[..length]));
        bytes = &bytes[length..];
    }
    messages
}

/// Encodes a message as this crate's client would.
fn encode(message: &Message<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut out = ClientEncoder::new(&mut bytes);
    match *message {
        Message::Query(text) => out.query(text),
        Message::Parse(parse) => out.parse(parse.name, parse.query, &parse.types.iter().collect::<Vec<_>>()),
        Message::Bind(bind) => {
            let values: Vec<_> = bind.parameters.iter().collect();
            out.bind(bind.portal, bind.statement, Format::Text, &values, bind.result_formats.format(0));
        }
        Message::Describe(Target::Portal(name)) => out.describe_portal(name),
        Message::Describe(Target::Statement(name)) => out.describe_statement(name),
        Message::Execute { portal, max_rows } => out.execute(portal, max_rows),
        Message::Close(Target::Portal(name)) => out.close_portal(name),
        Message::Close(Target::Statement(name)) => out.close_statement(name),
        Message::Sync => out.sync(),
        Message::Flush => out.flush(),
        Message::Terminate => out.terminate(),
        Message::CopyData(data) => out.copy_data(data),
        Message::CopyDone => out.copy_done(),
        Message::CopyFail(reason) => out.copy_fail(reason),
        Message::FunctionCall => panic!("no client here calls functions by OID"),
    }
    bytes
}

#[test]
fn every_client_message_is_read_and_written_alike() {
    for name in RECORDINGS {
        let bytes = recording(&format!("{name}.front"));
        for (message, raw) in messages(name, read_start(name, &bytes)) {
            let ours = encode(&message);
            if let Message::Bind(bind) = message {
                // libpq names the one result format even where it is text; ours leaves it out.
                let (again, _) = complete(frame::next(&ours), name);
                let Ok(Message::Bind(again)) = Message::decode(again) else { panic!("{name}: {again:?}") };
                assert_eq!((again.statement, again.parameters), (bind.statement, bind.parameters), "{name}");
            } else {
                assert_eq!(ours, raw, "{name}: {message:?}");
            }
        }
    }
}

#[test]
fn pgbench_prepares_once_and_then_binds() {
    let bytes = recording("pgbench_prepared.front");
    let messages = messages("pgbench_prepared", read_start("pgbench_prepared", &bytes));
    let statement = |message: &Message<'_>| match message {
        Message::Bind(bind) => Some((bind.statement.to_owned(), bind.parameters.len())),
        _ => None,
    };
    let parses = messages.iter().filter(|(message, _)| matches!(message, Message::Parse(_))).count();
    let binds: Vec<_> = messages.iter().filter_map(|(message, _)| statement(message)).collect();
    assert_eq!(parses, 1);
    assert_eq!(binds.len(), 2);
    assert!(binds.iter().all(|(name, count)| name.starts_with("P") && *count == 1), "{binds:?}");
}

#[test]
fn every_server_message_is_read_to_its_last_byte() {
    let mut seen = std::collections::BTreeSet::new();
    for name in RECORDINGS {
        let bytes = recording(&format!("{name}.back"));
        // The first byte answers SSLRequest, where psql or pgbench sent one.
        let mut rest = bytes.strip_prefix(b"N").unwrap_or(&bytes);
        while !rest.is_empty() {
            let (found, length) = complete(client::next(rest), name);
            seen.insert(char::from(found.kind));
            Backend::decode(found).unwrap_or_else(|violation| panic!("{name}: {found:?}: {violation}"));
            rest = &rest[length..];
        }
    }
    let seen: String = seen.into_iter().collect();
    assert_eq!(seen, "12ACDEGHKNRSTZcdn", "the recordings should cover these types");
}

#[test]
fn errors_and_notifications_as_postgresql_sends_them() {
    let bytes = recording("psql_copy.back");
    let mut rest = bytes.strip_prefix(b"N").unwrap_or(&bytes);
    let (mut errors, mut notices, mut notifications) = (Vec::new(), Vec::new(), Vec::new());
    while !rest.is_empty() {
        let (found, length) = complete(client::next(rest), "psql_copy");
        match Backend::decode(found).unwrap() {
            Backend::ErrorResponse(fields) => {
                errors.push((client::field(&fields, b'C').unwrap(), client::field(&fields, b'P').unwrap()));
            }
            Backend::NoticeResponse(fields) => notices.push(client::field(&fields, b'M').unwrap()),
            Backend::NotificationResponse(_, channel, payload) => notifications.push((channel, payload)),
            _ => (),
        }
        rest = &rest[length..];
    }
    assert_eq!(errors, [("42601", "1"), ("42703", "8")]);
    assert_eq!(notices, ["table \"missing\" does not exist, skipping"]);
    assert_eq!(notifications, [("ch", "payload")]);
}
