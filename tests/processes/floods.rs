//! More clients than the server has places for, and clients that never say what they want.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use pgprefork::protocol::client::{self, Backend, ClientEncoder};
use pgprefork::protocol::{Next, Version};

use crate::server::{Server, connect_from, eventually, refusal};

pub const TESTS: &[(&str, fn())] = &[
    ("a_silent_flood_from_one_address_keeps_nobody_out", a_silent_flood_from_one_address_keeps_nobody_out),
    ("crowds_keep_nobody_out", crowds_keep_nobody_out),
    ("who_dawdles_longest_makes_room", who_dawdles_longest_makes_room),
    ("tls_is_spoken_in_the_classic_model_and_in_the_queue", tls_is_spoken_in_the_classic_model_and_in_the_queue),
    ("a_burst_of_honest_clients_is_never_refused", a_burst_of_honest_clients_is_never_refused),
    ("ten_times_as_many_clients_as_places_are_all_served", ten_times_as_many_clients_as_places_are_all_served),
    ("authentication_timeout_is_one_deadline", authentication_timeout_is_one_deadline),
];

const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

fn a_silent_flood_from_one_address_keeps_nobody_out() {
    for model in ["prefork", "fork-on-accept"] {
        let server = Server::start(&[
            &format!("pool.model={model}"),
            "pool.max_sessions=20",
            "pool.reserved_sessions=0",
            "auth.max_unauthenticated_per_address=5",
        ]);
        let mut bystander = server.connect();
        let mut silent = Vec::new();
        for number in 0..500 {
            silent.push(connect_from(ATTACKER, server.port));
            if number % 50 == 0 {
                assert!(server.connect().simple_query("select 1").is_ok());
            }
        }
        assert!((0..10).all(|_| server.connect().simple_query("select 1").is_ok()));
        assert!(bystander.simple_query("select 1").is_ok());
        println!("  500 silent clients, {model}: 21 sessions from another address beside them, none lost");
        eventually("all but five are refused", || {
            let refused = silent.iter_mut().filter_map(refusal).filter(|sqlstate| sqlstate == "53300").count();
            refused >= 495
        });
    }
}

/// Crowds that say nothing, or too little, cost no worker; nobody else is refused, and everybody else is served.
fn crowds_keep_nobody_out() {
    let server = with_crowds(&["pool.max_sessions=100", "auth.authentication_timeout=5min"]);
    let _ = nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, 8192, 8192);
    let mut ssl_request = Vec::new();
    ClientEncoder::new(&mut ssl_request).ssl_request();
    let hello = [&[0x16, 3, 1, 2, 0], &[1; 40][..]].concat();
    let crowds: [(&str, &[&[u8]]); 5] = [
        ("silent", &[]),
        ("three bytes", &[b"\0\0\0"]),
        ("stopped after SSLRequest", &[&ssl_request]),
        ("stopped within a ClientHello", &[&ssl_request, &hello]),
        ("stopped within SASL", &[&startup("crowd")]),
    ];
    for (name, says) in crowds {
        let before = server.status();
        let mut crowd = Vec::new();
        for number in 0..2000 {
            let mut member = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
            for (step, bytes) in says.iter().enumerate() {
                if step > 0 {
                    let mut answer = [0];
                    member.read_exact(&mut answer).unwrap();
                    assert_eq!(&answer, b"S");
                }
                member.write_all(bytes).unwrap();
            }
            crowd.push(member);
            if number % 200 == 0 {
                assert!(server.connect().simple_query("select 1").is_ok(), "{name}");
            }
        }
        eventually("all of them are parked", || server.status()["parked"] == 2000);
        let served = (0..100).filter(|_| server.connect().simple_query("select 1").is_ok()).count();
        assert_eq!(served, 100, "{name}");
        let after = server.status();
        assert_eq!(after["counters"]["refused"], 0, "{name}");
        assert_eq!(after["counters"]["displaced"], 0, "{name}");
        assert!(after["connecting"].as_u64().unwrap() <= 1, "{name}: {after}");
        println!("  2000 clients, {name}: 110 sessions beside them, none lost; workers {}", before["idle"]);
        drop(crowd);
        eventually("they have gone", || server.status()["parked"] == 0);
    }
}

/// A crowd that stops where it holds a worker: within TLS, after the handshake.
fn who_dawdles_longest_makes_room() {
    let server =
        with_crowds(&["engine.kind=sqlite", "pool.max_sessions=10", "pool.min_spare=2", "pool.reserved_sessions=0"]);
    let crowd: Vec<_> = (0..40)
        .map(|_| {
            std::thread::spawn({
                let port = server.port;
                move || crate::tls::try_connect(port, &crate::tls::client_config(&rustls::version::TLS13)).ok()
            })
        })
        .collect();
    // They hold as many places as there are, one after another; each newcomer is served all the same.
    let served = (0..20).filter(|_| server.connect().simple_query("select 1").is_ok()).count();
    assert_eq!(served, 20);
    let mut crowd: Vec<_> = crowd.into_iter().map(|member| member.join().unwrap()).collect();
    assert_eq!((0..20).filter(|_| server.connect().simple_query("select 1").is_ok()).count(), 20);
    let status = server.status();
    assert_eq!(status["counters"]["refused"], 0, "{status}");
    assert!(status["counters"]["displaced"].as_u64().unwrap() >= 20, "{status}");
    let row = server.connect().query_one("select displaced, parked from pgprefork.pool", &[]).unwrap();
    assert!(row.get::<_, i64>(0) >= 20 && row.get::<_, i32>(1) == 0, "{row:?}");
    // Whoever was ended was told why.
    let told = crowd.iter_mut().filter_map(|stream| stream.as_mut()).filter_map(told).collect::<Vec<_>>();
    assert!(told.len() >= 20 && told.iter().all(|sqlstate| sqlstate == "53300"), "{told:?}");
}

/// With every place taken the doorman agrees on TLS, and whoever becomes free goes on from there.
fn tls_is_spoken_in_the_classic_model_and_in_the_queue() {
    let classic = with_crowds(&["pool.model=fork-on-accept"]);
    assert!(session_over_tls(&mut ask_for_tls(&classic)));
    let server = with_crowds(&["pool.max_sessions=2", "pool.min_spare=1", "pool.reserved_sessions=0"]);
    let mut holders = [server.connect(), server.connect()];
    assert!(holders.iter_mut().all(|holder| holder.simple_query("select 1").is_ok()));
    let mut waiting = ask_for_tls(&server);
    waiting.conn.write_tls(&mut waiting.sock).unwrap();
    eventually("it waits for a worker", || server.status()["queued"] == 1);
    drop(holders);
    assert!(session_over_tls(&mut waiting));
}

/// A client whose request for TLS was granted, and who has said no more.
fn ask_for_tls(server: &Server) -> crate::tls::Stream {
    let mut socket = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    socket.set_read_timeout(Some(crate::server::PATIENCE)).unwrap();
    let mut bytes = Vec::new();
    ClientEncoder::new(&mut bytes).ssl_request();
    socket.write_all(&bytes).unwrap();
    let mut answer = [0];
    socket.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"S");
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let config = crate::tls::client_config(&rustls::version::TLS13);
    rustls::StreamOwned::new(rustls::ClientConnection::new(config, name).unwrap(), socket)
}

/// Whether a session comes of it.
fn session_over_tls(stream: &mut crate::tls::Stream) -> bool {
    stream.conn.complete_io(&mut stream.sock).unwrap();
    stream.write_all(&startup("postgres")).unwrap();
    let mut received = [0; 4096];
    let count = stream.read(&mut received).unwrap();
    received[..count].first() == Some(&b'R')
}

/// A burst of honest clients, more than may be on their way: each takes part of its time, none is ended.
fn a_burst_of_honest_clients_is_never_refused() {
    let server = Server::start(&["pool.max_sessions=12", "pool.min_spare=2", "auth.max_unauthenticated=2"]);
    let parameters = server.parameters();
    let client = |_| {
        let parameters = parameters.clone();
        std::thread::spawn(move || {
            postgres::Client::connect(&parameters, postgres::NoTls)
                .and_then(|mut client| client.simple_query("select 1"))
                .is_ok()
        })
    };
    let clients: Vec<_> = (0..60).map(client).collect();
    assert_eq!(clients.into_iter().map(|client| client.join().unwrap()).filter(|served| *served).count(), 60);
    assert_eq!(server.status()["counters"]["refused"], 0);
    assert_eq!(server.status()["counters"]["displaced"], 0);
}

/// A server with TLS that asks user `crowd` for a password.
fn with_crowds(settings: &[&str]) -> Server {
    let directory = crate::server::directory();
    let data = directory.path().join("data");
    let mut init = std::process::Command::new(env!("CARGO_BIN_EXE_pgprefork"));
    let made = init.args(["init", "--auth", "trust", "--tls-self-signed", "--data"]).arg(&data).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let rules = data.join("pg_hba.conf");
    let text = std::fs::read_to_string(&rules).unwrap();
    std::fs::write(&rules, format!("host all crowd 127.0.0.1/32 scram-sha-256\n{text}")).unwrap();
    let mut server = Server::start_on(&data, crate::server::free_port(), settings).unwrap();
    server.keep(directory);
    server
}

fn startup(user: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    ClientEncoder::new(&mut bytes).startup(Version { minor: 0 }, &[("user", user), ("database", "postgres")]);
    bytes
}

/// The SQLSTATE of what has come by now.
fn told(stream: &mut crate::tls::Stream) -> Option<String> {
    stream.sock.set_read_timeout(Some(std::time::Duration::from_millis(1))).unwrap();
    let mut bytes = [0; 1024];
    let count = stream.read(&mut bytes).unwrap_or(0);
    let Next::Complete(frame, _) = client::next(&bytes[..count]).ok()? else { return None };
    let Backend::ErrorResponse(fields) = Backend::decode(frame).ok()? else { return None };
    client::field(&fields, b'C').map(str::to_owned)
}

fn ten_times_as_many_clients_as_places_are_all_served() {
    for engine in ["null", "sqlite"] {
        let server = Server::start(&[
            &format!("engine.kind={engine}"),
            "pool.max_sessions=10",
            "pool.reserved_sessions=0",
            "pool.min_spare=2",
            "pool.queue_timeout=20s",
        ]);
        let parameters = server.parameters();
        let client = || {
            let parameters = parameters.clone();
            std::thread::spawn(move || {
                let mut client = postgres::Client::connect(&parameters, postgres::NoTls).unwrap();
                client.simple_query("select 1").unwrap();
            })
        };
        let clients: Vec<_> = (0..100).map(|_| client()).collect();
        let lost = clients.into_iter().filter_map(|client| client.join().err()).count();
        println!("  100 clients at once for 10 places, {engine}: {lost} lost");
        assert_eq!(lost, 0);
        assert_eq!(server.status()["counters"]["refused"], 0);
    }
}

/// A client that sends a byte now and then does not move it.
fn authentication_timeout_is_one_deadline() {
    let server = Server::start(&["auth.authentication_timeout=300ms", "pool.start_workers=1"]);
    let mut stream = connect_from(ATTACKER, server.port);
    stream.set_read_timeout(Some(std::time::Duration::from_millis(20))).unwrap();
    let begun = std::time::Instant::now();
    // The length of a long packet, and then no more than a byte at a time.
    stream.write_all(b"\0\0\x10\0").unwrap();
    let ended = (0..400).any(|_| {
        let _ = stream.write_all(b"\0");
        matches!(stream.read(&mut [0; 64]), Ok(0)) || stream.take_error().unwrap().is_some()
    });
    assert!(ended, "still open after {:?}", begun.elapsed());
}
