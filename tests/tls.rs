//! TLS at the front door with real clients: psql (libpq), OpenSSL's s_client, and rustls where the test has to see what
//! clients keep to themselves.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use pgprefork::protocol::client::{self, Backend, ClientEncoder};
use pgprefork::protocol::{Next, Version};
use rustls::HandshakeKind;
use support::certificates::Place;
use support::tls::{client_config, connect};
use support::{PATIENCE, Server, wait_until};

/// OpenSSL's client, with a start-up packet to send; everything that it prints.
fn s_client(server: &Server, arguments: &[&str]) -> String {
    let mut child = Command::new("timeout")
        .args(["30", "openssl", "s_client", "-connect", &format!("127.0.0.1:{}", server.port)])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl");
    let mut stdin = child.stdin.take().unwrap();
    // Kept open until the server has ended the session: at the end of its input it would leave at once.
    let _ = stdin.write_all(&startup("postgres"));
    let mut terminate = Vec::new();
    ClientEncoder::new(&mut terminate).terminate();
    let _ = stdin.write_all(&terminate);
    let _ = stdin.flush();
    let waiting = std::thread::spawn(move || {
        let output = child.wait_with_output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    });
    let text = waiting.join().unwrap();
    drop(stdin);
    text
}

fn startup(user: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    ClientEncoder::new(&mut bytes).startup(Version { minor: 0 }, &[("user", user), ("database", "postgres")]);
    bytes
}

/// Reads up to ReadyForQuery or the end; the process and key, and the SQLSTATE of an error.
fn read_until_ready(stream: &mut impl Read) -> (Option<(u32, Vec<u8>)>, Option<String>) {
    let (mut received, mut room) = (Vec::new(), [0; 4096]);
    let (mut key, mut error) = (None, None);
    loop {
        while let Ok(Next::Complete(frame, length)) = client::next(&received) {
            match Backend::decode(frame) {
                Ok(Backend::BackendKeyData(process, secret)) => key = Some((process, secret.to_vec())),
                Ok(Backend::ErrorResponse(fields)) => error = client::field(&fields, b'C').map(str::to_owned),
                Ok(Backend::ReadyForQuery(_)) => return (key, error),
                _ => {}
            }
            received.drain(..length);
        }
        match stream.read(&mut room) {
            Ok(count) if count > 0 => received.extend_from_slice(&room[..count]),
            _ => return (key, error),
        }
    }
}

#[test]
fn psql_gets_an_encrypted_session_and_the_view_shows_it() {
    let place = Place::new("trust");
    place.signed("ann", "root", "/O=Example, Inc/CN=ann", "extendedKeyUsage=clientAuth");
    let server = place.start(&[]);
    let view = "select ssl, version, cipher, bits, client_dn, client_serial > 0, issuer_dn from pg_stat_ssl \
                where pid = pg_backend_pid()";
    assert_eq!(place.psql(&server, "sslmode=require", view).unwrap(), "t|TLSv1.3|TLS_AES_256_GCM_SHA384|256|||");
    let full = "sslmode=verify-full sslrootcert={}/root.crt sslcert={}/ann.crt sslkey={}/ann.key";
    assert_eq!(
        place.psql(&server, full, view).unwrap(),
        "t|TLSv1.3|TLS_AES_256_GCM_SHA384|256|/O=Example\\, Inc/CN=ann|t|/CN=root CA"
    );
    let old = "sslmode=require ssl_max_protocol_version=TLSv1.2";
    assert_eq!(place.psql(&server, old, view).unwrap(), "t|TLSv1.2|ECDHE-ECDSA-AES256-GCM-SHA384|256|||");
    assert_eq!(place.psql(&server, "sslmode=disable", view).unwrap(), "f||||||");
    assert_eq!(place.psql(&server, "sslmode=disable", "show ssl").unwrap(), "on");
    assert_eq!(place.psql(&server, "", "show ssl_cert_file").unwrap(), "server.crt");
    let setting = "select setting from pg_settings where name = 'ssl_min_protocol_version'";
    assert_eq!(place.psql(&server, "", setting).unwrap(), "TLSv1.2");
    wait_until("the log says it", || {
        server.log().contains("SSL enabled (protocol=TLSv1.3, cipher=TLS_AES_256_GCM_SHA384, bits=256)")
    });
}

#[test]
fn large_answers_and_loads_pass_in_whole() {
    let place = Place::new("trust");
    let server = place.start(&["pool.sessions_per_worker=0"]);
    let answer = place.psql(&server, "sslmode=require", "select repeat('x', 3000000)").unwrap();
    assert!(answer.len() == 3_000_000 && answer.bytes().all(|byte| byte == b'x'));
    let rows: String =
        (0..50_000).map(|row| format!("{row}\tline {row} of a load that takes many records\n")).collect();
    let file = place.path("rows");
    std::fs::write(&file, &rows).unwrap();
    place.psql(&server, "sslmode=require", "create table rows (n int, line text)").unwrap();
    let target = format!("host=127.0.0.1 port={} dbname=postgres user=postgres sslmode=require", server.port);
    let psql = || {
        let mut command = Command::new(support::postgres_program("psql"));
        command.args(["-X", "-q", &target, "-c"]);
        command
    };
    assert!(psql().arg(format!("\\copy rows from '{file}'")).status().unwrap().success());
    let out = psql().arg("\\copy (select * from rows order by n) to stdout").output().unwrap();
    assert!(out.status.success() && out.stdout == rows.as_bytes());
}

#[test]
fn certificates_of_others_are_refused_and_none_is_needed() {
    let place = Place::new("trust");
    place.ca("other");
    place.signed("eve", "other", "/CN=postgres", "extendedKeyUsage=clientAuth");
    let server = place.start(&[]);
    let error = place.psql(&server, "sslmode=require sslcert={}/eve.crt sslkey={}/eve.key", "select 1").unwrap_err();
    assert!(error.contains("unknown ca"), "{error}");
    let from = "could not accept SSL connection from 127.0.0.1";
    wait_until("the log names it", || server.log().contains(from));
    assert_eq!(place.psql(&server, "sslmode=require", "select 1").unwrap(), "1");
    let error = place.psql(&server, "sslmode=verify-full sslrootcert={}/other.crt", "select 1").unwrap_err();
    assert!(error.contains("certificate verify failed"), "{error}");
}

#[test]
fn old_versions_are_refused_and_direct_tls_needs_its_protocol() {
    let place = Place::new("trust");
    let server = place.start(&[]);
    let starttls = ["-starttls", "postgres"];
    let with = |version: &'static str| s_client(&server, &[&starttls[..], &[version]].concat());
    assert!(with("-tls1_1").contains("Cipher is (NONE)"));
    assert!(with("-tls1_2").contains("New, TLSv1.2, Cipher is ECDHE-ECDSA-AES256-GCM-SHA384"));
    assert!(with("-tls1_3").contains("New, TLSv1.3"));
    let direct = s_client(&server, &["-alpn", "postgresql"]);
    assert!(direct.contains("ALPN protocol: postgresql") && direct.contains("server_version"), "{direct}");
    let unnamed = s_client(&server, &[]);
    let refusal = "received direct SSL connection request without ALPN protocol negotiation extension";
    assert!(unnamed.contains("08P01") && unnamed.contains(refusal), "{unnamed}");
    let foreign = s_client(&server, &["-alpn", "http/1.1"]);
    assert!(foreign.contains("no application protocol"), "{foreign}");
    drop(server);
    let server = place.start(&["tls.min_version=TLSv1.3"]);
    assert!(s_client(&server, &["-starttls", "postgres", "-tls1_2"]).contains("Cipher is (NONE)"));
    assert_eq!(place.psql(&server, "sslmode=require", "show ssl_min_protocol_version").unwrap(), "TLSv1.3");
}

#[test]
fn a_session_is_resumed_in_another_process() {
    let place = Place::new("trust");
    let server = place.start(&["pool.sessions_per_worker=1"]);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = client_config(version);
        let mut pids = Vec::new();
        let mut kinds = Vec::new();
        for _ in 0..3 {
            let mut stream = connect(server.port, &config);
            stream.write_all(&startup("postgres")).unwrap();
            let (key, error) = read_until_ready(&mut stream);
            assert_eq!(error, None);
            pids.push(key.unwrap().0);
            kinds.push(stream.conn.handshake_kind().unwrap());
        }
        assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed], "{version:?}");
        pids.dedup();
        assert_eq!(pids.len(), 3, "each in a process of its own");
    }
    let saved = place.path("session");
    for version in ["-tls1_2", "-tls1_3"] {
        let arguments = ["-starttls", "postgres", version];
        assert!(s_client(&server, &[&arguments[..], &["-sess_out", &saved]].concat()).contains("New, "));
        assert!(s_client(&server, &[&arguments[..], &["-sess_in", &saved]].concat()).contains("Reused, "), "{version}");
    }
    // What a ticket vouches for was verified under the old files.
    place.signed("next", "root", "/CN=localhost", "subjectAltName=DNS:localhost");
    place.give("next");
    server.signal(Signal::SIGHUP);
    wait_until("it is reloaded", || server.log().contains("configuration reloaded"));
    let after = s_client(&server, &["-starttls", "postgres", "-tls1_3", "-sess_in", &saved]);
    assert!(after.contains("New, "), "{after}");
}

#[test]
fn what_is_sent_ahead_of_the_handshake_is_refused() {
    let place = Place::new("trust");
    let server = place.start(&[]);
    let mut socket = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = Vec::new();
    ClientEncoder::new(&mut bytes).ssl_request();
    bytes.extend(startup("postgres"));
    socket.write_all(&bytes).unwrap();
    let (key, error) = read_until_ready(&mut socket);
    assert_eq!((key, error.as_deref()), (None, Some("08P01")));
}

#[test]
fn scram_binds_the_channel() {
    let place = Place::new("trust");
    let server = place.start(&[]);
    place.psql(&server, "", "create role ann login password 'secret'").unwrap();
    let rules = "host all ann 127.0.0.1/32 scram-sha-256\nlocal all all trust\nhost all all 127.0.0.1/32 trust\n";
    std::fs::write(place.data().join("pg_hba.conf"), rules).unwrap();
    server.signal(Signal::SIGHUP);
    wait_until("it is reloaded", || server.log().contains("configuration reloaded"));
    let ann = |rest: &str| place.psql(&server, &format!("user=ann {rest}"), "select current_user");
    assert_eq!(ann("password=secret sslmode=require channel_binding=require").as_deref(), Ok("ann"));
    assert_eq!(ann("password=secret sslmode=require channel_binding=disable").as_deref(), Ok("ann"));
    assert_eq!(ann("password=secret sslmode=disable").as_deref(), Ok("ann"));
    let error = ann("password=wrong sslmode=require channel_binding=require").unwrap_err();
    assert!(error.contains("password authentication failed for user \"ann\""), "{error}");
    let error = ann("password=secret sslmode=disable channel_binding=require").unwrap_err();
    assert!(error.contains("channel binding"), "{error}");
    // A client that could bind the channel, and was told by somebody in between that the server cannot.
    let mut stream = connect(server.port, &client_config(&rustls::version::TLS13));
    let mut bytes = startup("ann");
    ClientEncoder::new(&mut bytes).sasl_initial_response("SCRAM-SHA-256", b"y,,n=,r=abc");
    stream.write_all(&bytes).unwrap();
    assert_eq!(read_until_ready(&mut stream).1.as_deref(), Some("28000"));
}

#[test]
fn a_statement_is_cancelled_over_tls() {
    let place = Place::new("trust");
    let server = place.start(&[]);
    let config = client_config(&rustls::version::TLS13);
    let mut session = connect(server.port, &config);
    session.write_all(&startup("postgres")).unwrap();
    let (process, key) = read_until_ready(&mut session).0.unwrap();
    let mut query = Vec::new();
    ClientEncoder::new(&mut query).query("select pg_sleep(300)");
    session.write_all(&query).unwrap();
    let asleep = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'";
    wait_until("it sleeps", || server.query(asleep) == "1");
    let mut cancel = Vec::new();
    ClientEncoder::new(&mut cancel).cancel_request(process, &key);
    connect(server.port, &config).write_all(&cancel).unwrap();
    assert_eq!(read_until_ready(&mut session).1.as_deref(), Some("57014"));
}

#[test]
fn a_reload_takes_a_new_pair_and_keeps_the_old_one_where_it_is_bad() {
    let place = Place::new("trust");
    let server = place.start(&[]);
    let served = || s_client(&server, &["-starttls", "postgres"]);
    assert!(served().contains("subject=CN = localhost"));
    let reload = |expected: &str| {
        let before = server.log().matches(expected).count();
        server.signal(Signal::SIGHUP);
        wait_until(expected, || server.log().matches(expected).count() > before);
    };
    place.signed("second", "root", "/CN=second", "subjectAltName=DNS:localhost");
    std::fs::copy(place.path("second.crt"), place.data().join("server.crt")).unwrap();
    reload("SSL configuration was not reloaded: the private key");
    assert!(served().contains("subject=CN = localhost"), "the old pair stays");
    place.give("second");
    reload("configuration reloaded");
    wait_until("the new pair is served", || served().contains("subject=CN = second"));
    std::fs::set_permissions(place.data().join("server.key"), PermissionsExt::from_mode(0o644)).unwrap();
    reload("has group or world access");
    assert!(served().contains("subject=CN = second"));
}

#[test]
fn a_server_does_not_start_with_a_key_that_others_can_read() {
    let place = Place::new("trust");
    let refused = |place: &Place| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgprefork"));
        command.args(["serve", "--port", "1", "--data"]).arg(place.data()).args(place.arguments(&[]));
        let output = command.output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let key = place.data().join("server.key");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o640)).unwrap();
    assert!(refused(&place).contains("has group or world access"), "{}", refused(&place));
    std::fs::remove_file(&key).unwrap();
    assert!(refused(&place).contains("could not access private key file"), "{}", refused(&place));
}

#[test]
fn a_self_signed_certificate_is_good_enough_to_try() {
    let directory = tempfile::Builder::new().prefix("pgprefork-tls-").tempdir().unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let place = Place { directory };
    place.init(&["--auth", "trust", "--tls-self-signed"]);
    let mut check = Command::new(env!("CARGO_BIN_EXE_pgprefork"));
    let checked = check.arg("check").arg("--data").arg(place.data()).output().unwrap();
    assert!(checked.status.success(), "as the user that the key is for: {}", String::from_utf8_lossy(&checked.stdout));
    let mode = |name: &str| std::fs::metadata(place.data().join(name)).unwrap().mode() & 0o777;
    assert_eq!((mode("server.key"), mode("server.crt")), (0o600, 0o600));
    let server = Server::start_on(&place.data(), &[], &[]);
    std::fs::copy(place.data().join("server.crt"), Path::new(&place.path("copy.crt"))).unwrap();
    let full = "sslmode=verify-full sslrootcert={}/copy.crt";
    assert_eq!(place.psql(&server, full, "select ssl from pg_stat_ssl").as_deref(), Ok("t"));
}
