//! Bytes that are no protocol, from before the start-up packet to the middle of a session: the connection ends or the
//! statement fails; the process does not panic, takes no memory for what is only announced, and other sessions do not
//! notice.
//!
//! The table was held against PostgreSQL 15. It answers the same, except where it loses its place in the stream (a
//! length that makes no sense): there it closes the connection without a word, and here the client is told why first.
//! And it loses its place with every message that does not belong into a COPY, whereas here only the COPY fails.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use pgprefork::protocol::{Format, Version};

use crate::support::load::{Load, Mix, Random, connect, create_tables, verify};
use crate::support::{Server, wait_until};
use crate::wire::{Told, Wire, message};

pub const TESTS: &[crate::Test] = &[
    ("bad_bytes_are_refused", bad_bytes_are_refused),
    ("random_damage_ends_no_process_and_no_other_session", random_damage),
    ("announced_lengths_take_no_memory", announced_lengths_take_no_memory),
];

/// What comes of it.
#[derive(Debug, Clone, Copy)]
enum End {
    /// The connection is closed, after a FATAL error.
    Fatal(&'static str),
    /// The connection is closed without a word.
    Silent,
    /// The statement fails, and the session goes on.
    Error(&'static str),
    /// Nothing: the session goes on.
    Ignored,
}
use End::{Error, Fatal, Ignored, Silent};

const VIOLATION: &str = "08P01";

fn tagged(kind: u8, length: u32, body: &[u8]) -> Vec<u8> {
    [&[kind], &length.to_be_bytes()[..], body].concat()
}

/// A message whose length is right, whatever is in it.
fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    tagged(kind, 4 + u32::try_from(body.len()).expect("short"), body)
}

fn packet(body: &[u8]) -> Vec<u8> {
    framed(0, body).split_off(1)
}

/// Instead of a start-up packet.
fn first_packets() -> Vec<(&'static str, Vec<u8>, End)> {
    let version = [0, 3, 0, 0];
    vec![
        ("a length of 0", vec![0; 4], Fatal(VIOLATION)),
        ("a length of 7", 7u32.to_be_bytes().to_vec(), Fatal(VIOLATION)),
        ("a length of 10005", 10_005u32.to_be_bytes().to_vec(), Fatal(VIOLATION)),
        ("a length of 2 GB", 0x7fff_ffffu32.to_be_bytes().to_vec(), Fatal(VIOLATION)),
        ("a negative length", (-5i32).to_be_bytes().to_vec(), Fatal(VIOLATION)),
        ("another protocol", b"GET / HTTP/1.1\r\n\r\n".to_vec(), Fatal(VIOLATION)),
        ("a TLS hello", [&b"\x16\x03\x01\x02\x00\x01\x00\x01"[..], &[0; 64]].concat(), Fatal(VIOLATION)),
        ("protocol 2.0", packet(&[&[0, 2, 0, 0][..], &[0; 288]].concat()), Fatal("0A000")),
        ("protocol 4.0", packet(&[0, 4, 0, 0, 0]), Fatal("0A000")),
        ("no terminator", packet(&[&version[..], b"user\0postgres\0"].concat()), Fatal(VIOLATION)),
        ("a name without a value", packet(&[&version[..], b"user\0\0"].concat()), Fatal(VIOLATION)),
        ("no user", packet(&[&version[..], b"database\0postgres\0\0"].concat()), Fatal("28000")),
        ("a cancel request without a key", packet(&[4, 210, 22, 46]), Fatal(VIOLATION)),
        ("a cancel request with a wrong key", packet(&[4, 210, 22, 46, 0, 0, 0, 1, 1, 2, 3, 4]), Silent),
    ]
}

/// Instead of a password.
fn responses() -> Vec<(&'static str, Vec<u8>, End)> {
    vec![
        ("a query", message(|client| client.query("select 1")), Fatal(VIOLATION)),
        ("an unknown type", framed(0xff, b""), Fatal(VIOLATION)),
        ("a length of 3", tagged(b'p', 3, b""), Fatal(VIOLATION)),
        ("a negative length", tagged(b'p', u32::MAX, b""), Fatal(VIOLATION)),
        ("a length of 65536", tagged(b'p', 65_536, b""), Fatal(VIOLATION)),
        ("nothing inside", framed(b'p', b""), Fatal(VIOLATION)),
    ]
}

/// In a session.
fn messages() -> Vec<(&'static str, Vec<u8>, End)> {
    let copying = |bytes: Vec<u8>| {
        let copy = message(|client| {
            client.query("create temporary table t (a int)");
            client.query("copy t from stdin");
        });
        [copy, bytes].concat()
    };
    let bind = |counts: &[u8]| {
        let parse = message(|client| client.parse("", "select $1::text", &[]));
        [parse, framed(b'B', &[b"\0\0", counts].concat())].concat()
    };
    vec![
        ("type 0", framed(0, b""), Fatal(VIOLATION)),
        ("type 255", framed(255, b""), Fatal(VIOLATION)),
        ("a password", message(|client| client.password("x")), Fatal(VIOLATION)),
        (
            "a start-up packet",
            message(|client| client.startup(Version { minor: 0 }, &[("user", "postgres")])),
            Fatal(VIOLATION),
        ),
        ("a query of length 3", tagged(b'Q', 3, b""), Fatal(VIOLATION)),
        ("a query of negative length", tagged(b'Q', 0x8000_0004, b""), Fatal(VIOLATION)),
        ("a query of 1 GB", tagged(b'Q', 0x3fff_ffff, b""), Fatal(VIOLATION)),
        ("a sync of 20 kB", tagged(b'S', 20_000, b""), Fatal(VIOLATION)),
        ("a query without a terminator", framed(b'Q', b"select 1"), Error(VIOLATION)),
        ("a query with bytes behind it", framed(b'Q', b"select 1\0more\0"), Error(VIOLATION)),
        ("a query that is not UTF-8", framed(b'Q', b"select '\xff'\0"), Error("22021")),
        ("an empty parse", framed(b'P', b""), Error(VIOLATION)),
        ("a parse with 65535 types and none there", framed(b'P', b"\0select 1\0\xff\xff"), Error(VIOLATION)),
        ("a bind with 65535 formats and none there", bind(b"\xff\xff"), Error(VIOLATION)),
        ("a bind with a value of 2 GB", bind(b"\0\0\0\x01\x7f\xff\xff\xff"), Error(VIOLATION)),
        ("a bind with bytes missing", bind(b"\0\0\0\x01\0\0"), Error(VIOLATION)),
        ("a describe of nothing known", framed(b'D', b"X\0"), Error(VIOLATION)),
        ("a close of nothing known", framed(b'C', b"\0\0"), Error(VIOLATION)),
        ("an execute without its count", framed(b'E', b"\0"), Error(VIOLATION)),
        ("an execute before a bind", message(|client| client.execute("", 0)), Error("34000")),
        (
            "a bind before a parse",
            message(|client| client.bind("", "none", Format::Text, &[], Format::Text)),
            Error("26000"),
        ),
        ("a query in a copy", copying(message(|client| client.query("select 'on'"))), Error(VIOLATION)),
        ("an unknown type in a copy", copying(framed(255, b"")), Fatal(VIOLATION)),
        ("copy data of negative length", copying(tagged(b'd', 0x8000_0004, b"")), Fatal(VIOLATION)),
        ("copy data without a copy", message(|client| client.copy_data(b"1\n")), Ignored),
        ("the end of no copy", message(|client| client.copy_done()), Ignored),
    ]
}

fn bad_bytes_are_refused(_seed: u64) {
    let server = Server::start(&[]);
    require_passwords(&server);
    let mut bystander = connect(server.port).expect("a connection");
    for (what, bytes, end) in first_packets() {
        check(what, Wire::connect(server.port), &bytes, end);
    }
    for user in ["with_scram", "with_password"] {
        for (what, bytes, end) in responses() {
            let mut wire = Wire::start(server.port, user);
            assert_eq!(wire.until(|told| *told == Told::Asked), [Told::Asked], "{user}");
            check(&format!("{user}: {what}"), wire, &bytes, end);
        }
    }
    for (what, bytes, end) in messages() {
        check(what, Wire::session(server.port), &bytes, end);
    }
    truncated(&server);
    assert_eq!(bystander.query_one("select 7", &[]).expect("the bystander's answer").get::<_, i32>(0), 7);
    unharmed(&server);
}

/// Has two roles prove who they are.
fn require_passwords(server: &Server) {
    server.query("create role with_scram login password 'x'");
    server.query("create role with_password login password 'x'");
    let rules = "host all with_scram all scram-sha-256\nhost all with_password all password\nhost all all all trust\n";
    std::fs::write(server.data.join("pg_hba.conf"), rules).expect("access rules");
    server.signal(nix::sys::signal::Signal::SIGHUP);
    wait_until("the rules are read", || server.log().contains("configuration reloaded"));
    wait_until("they hold", || {
        let mut wire = Wire::start(server.port, "with_scram");
        wire.until(|told| matches!(told, Told::Asked | Told::Ready)) == [Told::Asked]
    });
}

fn check(what: &str, mut wire: Wire, bytes: &[u8], end: End) {
    wire.send(bytes);
    let fatal = |code: &str| vec![Told::Error("FATAL".to_owned(), code.to_owned()), Told::Closed];
    let (mut told, expected) = match end {
        Fatal(code) => (wire.until(|_| false), fatal(code)),
        Silent => (wire.until(|_| false), vec![Told::Closed]),
        Error(_) | Ignored => {
            // A simple query ends by itself; a series of the extended protocol ends here.
            wire.send(&message(|client| {
                client.sync();
                client.query("select 'on'");
            }));
            let told = wire.until(|told| matches!(told, Told::Row(_)));
            let mut expected = vec![Told::Row("on".to_owned())];
            if let Error(code) = end {
                expected.insert(0, Told::Error("ERROR".to_owned(), code.to_owned()));
            }
            (told, expected)
        }
    };
    told.retain(|told| *told != Told::Ready);
    assert_eq!(told, expected, "{what}");
}

/// A client that goes away in the middle of whatever it says is not answered, and costs nobody anything.
fn truncated(server: &Server) {
    let startup =
        message(|client| client.startup(Version { minor: 0 }, &[("user", "postgres"), ("database", "postgres")]));
    let query = message(|client| client.query("insert into no_table values (1)"));
    for length in 0..startup.len() {
        let mut wire = Wire::connect(server.port);
        wire.send(&startup[..length]);
        wire.finish();
        assert_eq!(wire.until(|_| false), [Told::Closed], "{length} bytes of a start-up packet");
    }
    for length in (0..query.len()).step_by(3) {
        let mut wire = Wire::session(server.port);
        wire.send(&query[..length]);
        wire.finish();
        assert_eq!(wire.until(|_| false), [Told::Closed], "{length} bytes of a query");
    }
}

/// No process has panicked or died.
fn unharmed(server: &Server) {
    let log = server.log();
    let harmed: Vec<_> = log.lines().filter(|line| line.contains("panic") || line.contains("crashed")).collect();
    assert!(harmed.is_empty(), "{harmed:#?}");
    assert_eq!(server.query("select crashed from pgprefork.pool"), "0");
}

fn random_damage(seed: u64) {
    const CASES: u32 = 300;
    let server = Server::start(&["--set", "pool.sessions_per_worker=20"]);
    create_tables(&server);
    require_passwords(&server);
    let mix = Mix { writers: 2, readers: 1, ..Mix::default() };
    let load = Load::start(server.port, &mix, &Arc::new(AtomicU64::new(1)), seed);
    let mut random = Random(seed);
    for _ in 0..CASES {
        let user = ["postgres", "with_scram", "with_password"][random.below(3) as usize];
        let mut bytes = conversation(user);
        for _ in 0..=random.below(4) {
            damage(&mut bytes, &mut random);
        }
        let mut wire = Wire::connect(server.port);
        wire.send(&bytes);
        wire.finish();
        wire.until(|_| false);
    }
    let outcome = load.stop();
    println!("  {CASES} conversations, {} acknowledged beside them", outcome.acknowledged.len());
    assert_eq!(outcome.lost, 0, "other sessions noticed");
    verify(&server, &outcome);
    unharmed(&server);
}

fn conversation(user: &str) -> Vec<u8> {
    message(|client| {
        client.startup(Version { minor: 2 }, &[("user", user), ("database", "postgres"), ("application_name", "é")]);
        if user != "postgres" {
            client.sasl_initial_response("SCRAM-SHA-256", b"n,,n=,r=abcdefgh");
            client.password("x");
        }
        client.query("begin; select 'é', 1 + 1; savepoint s; rollback");
        client.parse("s", "select $1::int, $2::text", &[23, 0]);
        client.describe_statement("s");
        client.bind("p", "s", Format::Text, &[Some(b"1"), None], Format::Binary);
        client.describe_portal("p");
        client.execute("p", 1);
        client.close_portal("p");
        client.flush();
        client.sync();
        client.query("create temporary table t (a int); copy t from stdin");
        client.copy_data(b"1\n2\n");
        client.copy_done();
        client.query("select count(*) from t");
        client.terminate();
    })
}

fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    const EDGES: [u32; 10] = [0, 1, 3, 4, 5, 10_001, 65_536, 0x3fff_fffe, 0x7fff_ffff, 0xffff_ffff];
    if bytes.len() < 8 {
        return;
    }
    let at = random.below(bytes.len() as u64 - 4) as usize;
    match random.below(6) {
        0 => bytes[at] = random.below(256) as u8,
        1 => bytes[at] ^= 1 << random.below(8),
        2 => drop(bytes.drain(at..at + 1 + random.below(4) as usize)),
        3 => bytes.truncate(at.max(1)),
        4 => bytes[at..at + 4].copy_from_slice(&EDGES[random.below(10) as usize].to_be_bytes()),
        _ => {
            let piece = bytes[at..(at + 40).min(bytes.len())].to_vec();
            let to = random.below(bytes.len() as u64) as usize;
            bytes.splice(to..to, piece);
        }
    }
}

fn announced_lengths_take_no_memory(_seed: u64) {
    let server = Server::start(&[]);
    const LARGE: u32 = 0x3fff_fffe;
    for (what, bytes) in [
        ("a query", tagged(b'Q', LARGE, b"select 1")),
        ("a parse", tagged(b'P', LARGE, b"s\0select 1")),
        ("a bind", tagged(b'B', LARGE, b"\0\0\0\0\xff\xff\x7f\xff\xff\xff")),
        ("copy data", tagged(b'd', LARGE, b"1\n")),
        ("a bind of 65535 values", framed(b'B', b"\0\0\0\0\xff\xff\x7f\xff\xff\xff")),
    ] {
        let mut wire = Wire::session(server.port);
        // What serving costs anyhow is there before.
        wire.send(&message(|client| client.query("select 1")));
        wire.until(|told| *told == Told::Ready);
        let before = resident_kb(wire.pid);
        wire.send(&bytes);
        // It has been read when nothing is left in the server's socket.
        wait_until("the bytes are read", || wire.is_read() && is_asleep(wire.pid));
        let grown = resident_kb(wire.pid).saturating_sub(before);
        assert!(grown < 1024, "{what} of 1 GB that was only announced took {grown} kB");
    }
    unharmed(&server);
}

fn resident_kb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a living worker");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its size");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn is_asleep(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a living worker");
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S'))
}
