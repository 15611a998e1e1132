//! More clients than the server has places for, and clients that never say what they want.

use std::net::Ipv4Addr;

use crate::server::{Server, connect_from, eventually, refusal};

pub const TESTS: &[(&str, fn())] = &[
    ("a_silent_flood_from_one_address_keeps_nobody_out", a_silent_flood_from_one_address_keeps_nobody_out),
    ("unauthenticated_connections_have_a_ceiling", unauthenticated_connections_have_a_ceiling),
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

fn unauthenticated_connections_have_a_ceiling() {
    let server = Server::start(&["auth.max_unauthenticated=4"]);
    let mut silent: Vec<_> = (2..42).map(|host| connect_from(Ipv4Addr::new(127, 0, 0, host), server.port)).collect();
    eventually("all but four are refused", || silent.iter_mut().filter_map(refusal).count() >= 36);
    let error = server.try_connect().err().unwrap();
    assert_eq!(error.code().map(postgres::error::SqlState::code), Some("53300"), "{error:?}");
    drop(silent);
    eventually("they make room", || server.try_connect().is_ok());
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
    use std::io::{Read, Write};
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
