//! Servers that speak PostgreSQL's protocol and are none, as CockroachDB and YugabyteDB are: a double that refuses what they
//! may refuse, the reset query and start-up parameters.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use pgprefork::auth::password::encrypt;
use pgprefork::error::{Condition, Error};
use pgprefork::protocol::{Encoder, Field, Format, Frame, Next, Packet, ReadyStatus, Severity, frame};

use crate::place::relay;
use crate::support::wait_until;
use crate::wire::Raw;

/// What the double refuses.
#[derive(Clone, Copy)]
struct Refusals {
    /// A statement, and with what it is refused.
    statement: Option<(&'static str, Condition)>,
    /// Any parameter of a start-up packet but user and database.
    parameters: bool,
}

/// What the double has been asked: one list for each connection, of parameters' names and statements.
type Asked = Arc<Mutex<Vec<Vec<String>>>>;

/// Starts a double, which ends with the test's process.
fn double(refusals: Refusals) -> (u16, Asked) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let asked = Asked::default();
    let all = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let all = Arc::clone(&all);
            let number = {
                let mut all = all.lock().expect("the list");
                all.push(Vec::new());
                all.len() - 1
            };
            std::thread::spawn(move || {
                let note = |what: &str| all.lock().expect("the list")[number].push(what.to_owned());
                serve(stream, refusals, &note)
            });
        }
    });
    (port, asked)
}

/// Reads more; false at the end.
fn more(stream: &mut TcpStream, received: &mut Vec<u8>) -> bool {
    let mut room = [0; 8192];
    match stream.read(&mut room) {
        Ok(count) if count > 0 => {
            received.extend_from_slice(&room[..count]);
            true
        }
        _ => false,
    }
}

/// One session of the double's. `None` at its end.
fn serve(mut stream: TcpStream, refusals: Refusals, note: &dyn Fn(&str)) -> Option<()> {
    let (mut received, mut out) = (Vec::new(), Vec::new());
    let names: Vec<String> = loop {
        if let Next::Complete(body, length) = frame::next_startup(&received).expect("a start-up packet") {
            let Packet::Startup(startup) = Packet::decode(body).expect("a packet") else { return None };
            let mut names: Vec<_> = startup.parameters.iter().map(|parameter| parameter.name.to_owned()).collect();
            names.extend(startup.application_name.map(|_| "application_name".to_owned()));
            received.drain(..length);
            break names;
        }
        more(&mut stream, &mut received).then_some(())?;
    };
    names.iter().for_each(|name| note(name));
    let mut encoder = Encoder::new(&mut out);
    if let Some(name) = names.first().filter(|_| refusals.parameters) {
        let error = Error::new(Condition::UndefinedObject, format!("unrecognized configuration parameter \"{name}\""));
        encoder.error_response(Severity::Fatal, &error);
        return stream.write_all(&out).ok();
    }
    encoder.authentication_ok();
    let parameters = [("server_version", "13.0.0"), ("client_encoding", "UTF8"), ("DateStyle", "ISO, MDY")];
    parameters.into_iter().for_each(|(name, value)| encoder.parameter_status(name, value));
    encoder.backend_key_data(7, &[1, 2, 3, 4]);
    encoder.ready_for_query(ReadyStatus::Idle);
    loop {
        stream.write_all(&out).ok()?;
        out.clear();
        let (kind, body) = loop {
            if let Next::Complete(Frame { kind, body }, length) = frame::next(&received).expect("a message") {
                let message = (kind, body.to_vec());
                received.drain(..length);
                break message;
            }
            more(&mut stream, &mut received).then_some(())?;
        };
        answer(kind, &body, refusals, note, &mut Encoder::new(&mut out))?;
    }
}

fn answer(kind: u8, body: &[u8], refusals: Refusals, note: &dyn Fn(&str), out: &mut Encoder<'_>) -> Option<()> {
    let text = String::from_utf8_lossy(body).trim_end_matches('\0').to_owned();
    match kind {
        b'X' => return None,
        b'P' => out.parse_complete(),
        // The parameter is the name that is looked up.
        b'B' => out.bind_complete(),
        b'E' => {
            let verifier = encrypt("ann", "right").expect("a verifier").expect("a verifier");
            let mut row = out.data_row(2);
            row.bytes(b"ann");
            row.bytes(verifier.as_bytes());
            row.finish().expect("a row");
            out.command_complete("SELECT 1");
        }
        b'S' => out.ready_for_query(ReadyStatus::Idle),
        _ => {
            note(&text);
            match refusals.statement.filter(|(statement, _)| *statement == text) {
                Some((_, condition)) => {
                    out.error_response(Severity::Error, &Error::new(condition, "unimplemented: discard all"))
                }
                None if text.starts_with("select") => {
                    let (type_oid, type_size, type_modifier, format) = (25, -1, -1, Format::Text);
                    out.row_description([Field {
                        name: "n",
                        table: 0,
                        column: 0,
                        type_oid,
                        type_size,
                        type_modifier,
                        format,
                    }]);
                    let mut row = out.data_row(1);
                    row.bytes(b"1");
                    row.finish().expect("a row");
                    out.command_complete("SELECT 1");
                }
                None => out.command_complete("SET"),
            }
            out.ready_for_query(ReadyStatus::Idle);
        }
    }
    Some(())
}

#[test]
fn where_the_reset_query_is_refused_each_connection_serves_one_session_and_the_log_says_so_once() {
    for condition in [Condition::FeatureNotSupported, Condition::SyntaxError] {
        let (port, asked) = double(Refusals { statement: Some(("DISCARD ALL", condition)), parameters: false });
        let server = relay(port, "session", &[]);
        for number in 1..=4 {
            let mut client = Raw::connect(server.port);
            assert_eq!(client.query("select 1"), "T D(1) C(SELECT 1) Z(I)");
            client.close();
            wait_until("the connection is closed", || server.connections() == 0);
            assert_eq!(asked.lock().expect("the list").len(), number, "connections");
        }
        let all = asked.lock().expect("the list").clone();
        assert!(all.iter().all(|one| *one == ["select 1", "DISCARD ALL"]), "{all:?}");
        let log = server.log();
        assert_eq!(log.matches("refuses server_reset_query \"DISCARD ALL\"").count(), 1, "{log}");

        // One that it knows.
        let server = relay(port, "session", &["relay.server_reset_query=RESET ALL"]);
        for _ in 0..3 {
            let mut client = Raw::connect(server.port);
            assert_eq!(client.query("select 1"), "T D(1) C(SELECT 1) Z(I)");
            client.close();
            wait_until("the connection is idle", || server.pools().all(|pool| pool.lent == 0 && pool.idle == 1));
        }
        assert_eq!(asked.lock().expect("the list").len(), 5);
        assert!(!server.log().contains("refuses"), "{}", server.log());
    }
}

#[test]
fn start_up_parameters_of_our_own_that_are_refused_are_done_without() {
    let (port, asked) = double(Refusals { statement: None, parameters: true });
    let folder = tempfile::tempdir().expect("a directory");
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("permissions");
    let rules = folder.path().join("rules");
    std::fs::write(&rules, "host all all all scram-sha-256\n").expect("the rules");
    let rules = format!("auth.hba_file={}", rules.display());
    let server = relay(port, "session", &["relay.auth_user=asker", &rules]);
    let target =
        |password: &str| format!("host=127.0.0.1 port={} user=ann password={password} dbname=shop", server.port);
    let mut client = postgres::Client::connect(&target("right"), postgres::NoTls)
        .unwrap_or_else(|error| panic!("{error:?}\n{}", server.log()));
    assert_eq!(client.simple_query("select 1").expect("an answer").len(), 3);
    let error = postgres::Client::connect(&target("wrong"), postgres::NoTls).err().expect("an error");
    assert_eq!(error.as_db_error().expect("the server's").code().code(), "28P01");
    // Refused, for auth_query, for the session; the second question goes over the same connection.
    let all = asked.lock().expect("the list").clone();
    assert_eq!(all.len(), 3, "{all:?}");
    assert!(all[0].contains(&"client_encoding".to_owned()) && all[1].is_empty(), "{all:?}");
}
