//! Clients against every model and every way to recycle.

use std::collections::HashMap;
use std::process::Command;

use postgres::{NoTls, SimpleQueryMessage};

use crate::server::{Raw, Server, connect_from, eventually};

pub const TESTS: &[(&str, fn())] = &[
    ("a_driver_connects_in_every_model", a_driver_connects_in_every_model),
    ("psql_connects_over_tcp_and_unix_sockets", psql_connects_over_tcp_and_unix_sockets),
    ("peer_goes_by_the_user_of_the_socket", peer_goes_by_the_user_of_the_socket),
    ("a_process_serves_as_many_sessions_as_it_may", a_process_serves_as_many_sessions_as_it_may),
    ("a_burst_of_all_sessions_is_served_by_a_small_pool", a_burst_of_all_sessions_is_served_by_a_small_pool),
    ("one_client_too_many_is_told_so", one_client_too_many_is_told_so),
    ("a_full_server_queues_refuses_and_serves", a_full_server_queues_refuses_and_serves),
    ("a_full_server_queues_for_reused_workers_too", a_full_server_queues_for_reused_workers_too),
    ("the_last_places_are_kept_for_superusers", the_last_places_are_kept_for_superusers),
    ("a_cancel_request_is_served_when_every_place_is_taken", a_cancel_request_is_served_when_every_place_is_taken),
    ("fork_on_accept_serves_cancels_when_every_slot_is_taken", fork_on_accept_serves_cancels_when_every_slot_is_taken),
    ("wrong_cancel_keys_are_limited", wrong_cancel_keys_are_limited),
    ("a_cancel_request_is_no_session_and_gets_no_answer", a_cancel_request_is_no_session_and_gets_no_answer),
    ("garbage_ends_its_own_connection_only", garbage_ends_its_own_connection_only),
];

const MODELS: &[&[&str]] = &[
    &["pool.model=fork-on-accept"],
    &["pool.sessions_per_worker=1"],
    &["pool.sessions_per_worker=3"],
    &["pool.sessions_per_worker=0"],
];

fn a_driver_connects_in_every_model() {
    for settings in MODELS {
        let server = Server::start(settings);
        for _ in 0..20 {
            let mut client = server.connect();
            let rows = client.simple_query("select 1").unwrap();
            assert!(rows.iter().any(|row| matches!(row, SimpleQueryMessage::Row(_))), "{settings:?}");
            assert_eq!(client.query("select 1", &[]).unwrap().len(), 1);
        }
    }
}

fn psql_connects_over_tcp_and_unix_sockets() {
    let server = Server::start(&[]);
    for host in ["127.0.0.1", server.data.parent().unwrap().to_str().unwrap()] {
        let output = Command::new("psql")
            .args(["-h", host, "-p", &server.port.to_string(), "-U", "postgres", "-Atc", "select 1", "postgres"])
            .output()
            .expect("psql is installed");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "1", "{output:?}");
    }
}

fn peer_goes_by_the_user_of_the_socket() {
    let server = Server::start(&["pool.sessions_per_worker=0"]);
    let output = Command::new("id").arg("-un").output().unwrap();
    let own = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    std::fs::write(server.data.join("pg_ident.conf"), format!("ops {own} mapped\n")).unwrap();
    let rules = "local all mapped peer map=ops\nlocal all all peer\nhost all all 127.0.0.1/32 trust\n";
    std::fs::write(server.data.join("pg_hba.conf"), rules).unwrap();
    server.signal(nix::sys::signal::Signal::SIGHUP);
    eventually("the rules hold", || server.log.text().contains("configuration reloaded"));
    let connect = |role: &str| {
        let directory = server.data.parent().unwrap().display();
        let parameters = format!("host={directory} port={} user={role} dbname=postgres", server.port);
        let failure = postgres::Client::connect(&parameters, NoTls).err()?;
        let failure = failure.as_db_error().unwrap().clone();
        Some((failure.code().code().to_owned(), failure.message().to_owned()))
    };
    eventually("everybody has the new rules", || connect("somebody").is_some());
    assert_eq!(connect(&own), None);
    assert_eq!(connect("mapped"), None);
    let refusal = ("28000".to_owned(), "Peer authentication failed for user \"somebody\"".to_owned());
    assert_eq!(connect("somebody"), Some(refusal));
}

/// Which process gets a client is a matter of timing; how many clients one process gets is not.
fn a_process_serves_as_many_sessions_as_it_may() {
    for limit in [0, 1, 3] {
        let setting = format!("pool.sessions_per_worker={limit}");
        let server = Server::start(&[&setting, "pool.start_workers=1", "pool.min_spare=1", "pool.max_spare=1"]);
        let mut served = HashMap::new();
        for _ in 0..12 {
            *served.entry(Raw::connect(&server).pid).or_insert(0) += 1;
        }
        eventually("every session has ended", || {
            let status = server.status();
            ["connecting", "serving", "leaving"].iter().all(|state| status[state] == 0)
        });
        assert_eq!(server.status()["counters"]["sessions"], 12);
        assert!(limit == 0 || served.values().all(|sessions| *sessions <= limit), "{limit}: {served:?}");
        let used_up = served.values().filter(|sessions| **sessions == limit).count();
        assert_eq!(server.status()["exits"]["recycled"], used_up, "{limit}: {served:?}");
    }
}

fn a_burst_of_all_sessions_is_served_by_a_small_pool() {
    for model in ["prefork", "fork-on-accept"] {
        let settings =
            [&format!("pool.model={model}"), "pool.max_sessions=60", "pool.start_workers=1", "pool.min_spare=1"];
        let server = Server::start(&settings);
        let parameters = server.parameters();
        let clients: Vec<_> = (0..57)
            .map(|_| {
                let parameters = parameters.clone();
                std::thread::spawn(move || postgres::Client::connect(&parameters, NoTls).unwrap())
            })
            .collect();
        let mut clients: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        assert!(clients.iter_mut().all(|client| client.simple_query("select 1").is_ok()), "{model}");
    }
}

fn one_client_too_many_is_told_so() {
    let settings = ["pool.max_sessions=3", "pool.reserved_sessions=0", "pool.model=fork-on-accept", "pool.min_spare=1"];
    let server = Server::start(&settings);
    let clients: Vec<_> = (0..3).map(|_| server.connect()).collect();
    let error = server.try_connect().err().unwrap();
    assert_eq!(error.code().map(postgres::error::SqlState::code), Some("53300"), "{error:?}");
    drop(clients);
    eventually("a place is free again", || server.try_connect().is_ok());
}

fn a_cancel_request_is_no_session_and_gets_no_answer() {
    let server = Server::start(&["pool.sessions_per_worker=1"]);
    let mut client = server.connect();
    for _ in 0..10 {
        client.cancel_token().cancel_query(NoTls).unwrap();
    }
    assert!(client.simple_query("select 1").is_ok());
}

fn garbage_ends_its_own_connection_only() {
    use std::io::{Read, Write};
    let server = Server::start(&["pool.sessions_per_worker=0"]);
    let mut bystander = server.connect();
    let packets: &[&[u8]] = &[
        b"\xff\xff\xff\xff",
        b"\0\0\0\0",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0\0\0\x08\0\x02\0\0",
        b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02",
        b"\0\0\0\x0d\0\x03\0\0user\0",
    ];
    for packet in packets {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        stream.write_all(packet).unwrap();
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer[0] == b'E', "{packet:?}: {answer:?}");
    }
    assert!(bystander.simple_query("select 1").is_ok());
    assert!(server.connect().simple_query("select 1").is_ok());
}

fn a_full_server_queues_refuses_and_serves() {
    let settings = ["pool.max_sessions=3", "pool.reserved_sessions=0", "pool.min_spare=1", "pool.queue_timeout=300ms"];
    let server = Server::start(&settings);
    let mut clients: Vec<_> = (0..3).map(|_| server.connect()).collect();
    let error = server.try_connect().err().unwrap();
    assert_eq!(error.code().map(postgres::error::SqlState::code), Some("53300"), "{error:?}");
    // A client that waits gets the place that becomes free.
    let parameters = server.parameters();
    let waiting = std::thread::spawn(move || postgres::Client::connect(&parameters, NoTls));
    drop(clients.pop());
    let mut served = waiting.join().unwrap().unwrap();
    assert!(served.simple_query("select 1").is_ok());
}

fn a_full_server_queues_for_reused_workers_too() {
    let settings = [
        "pool.max_sessions=2",
        "pool.reserved_sessions=0",
        "pool.min_spare=1",
        "pool.sessions_per_worker=0",
        "pool.queue_timeout=20s",
    ];
    let server = Server::start(&settings);
    let parameters = server.parameters();
    let clients: Vec<_> = (0..12)
        .map(|_| {
            let parameters = parameters.clone();
            std::thread::spawn(move || {
                for _ in 0..10 {
                    let mut client = postgres::Client::connect(&parameters, NoTls).unwrap();
                    assert!(client.simple_query("select 1").is_ok());
                }
            })
        })
        .collect();
    assert!(clients.into_iter().all(|client| client.join().is_ok()));
}

fn fork_on_accept_serves_cancels_when_every_slot_is_taken() {
    let server = Server::start(&[
        "pool.model=fork-on-accept",
        "pool.max_sessions=2",
        "pool.min_spare=1",
        "pool.max_spare=1",
        "pool.reserved_sessions=0",
        // Silent clients stay where they are.
        "auth.park_after=1h",
        "auth.max_unauthenticated=0",
    ]);
    let client = server.connect();
    let silent: Vec<_> = (0..60).map(|_| connect_from(std::net::Ipv4Addr::LOCALHOST, server.port)).collect();
    eventually("every slot is taken", || server.status()["counters"]["doorman_accepts"].as_u64() > Some(0));
    client.cancel_token().cancel_query(NoTls).unwrap();
    eventually("the cancel was carried out", || server.status()["counters"]["cancels"] == 1);
    // A client that waits with the doorman gets a slot once there is one.
    let parameters = server.parameters();
    let waiting = std::thread::spawn(move || postgres::Client::connect(&parameters, NoTls));
    eventually("it waits", || server.status()["queued"] == 1);
    drop(silent);
    assert!(waiting.join().unwrap().unwrap().simple_query("select 1").is_ok());
}

fn wrong_cancel_keys_are_limited() {
    use pgprefork::protocol::client::ClientEncoder;
    use std::io::{Read, Write};
    let server = Server::start(&["pool.sessions_per_worker=0"]);
    let victim = Raw::connect(&server);
    let cancel = |key: &[u8]| {
        let mut bytes = Vec::new();
        ClientEncoder::new(&mut bytes).cancel_request(u32::try_from(victim.pid.as_raw()).unwrap(), key);
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        stream.write_all(&bytes).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    };
    (0..1200).for_each(|_| cancel(&[0; 4]));
    let counters = &server.status()["counters"];
    assert_eq!((&counters["cancels"], &counters["cancels_rejected"]), (&0.into(), &1200.into()));
    // A key that cannot be guessed works all the same.
    cancel(&victim.key);
    assert_eq!(server.status()["counters"]["cancels"], 1);
    assert!(server.log.text().lines().filter(|line| line.contains("in cancel request")).count() <= 1002);
}

fn the_last_places_are_kept_for_superusers() {
    for model in ["prefork", "fork-on-accept"] {
        let server = Server::start(&[
            &format!("pool.model={model}"),
            "pool.max_sessions=5",
            "pool.reserved_sessions=2",
            "pool.min_spare=1",
            "pool.queue_timeout=1s",
        ]);
        let ordinary = || postgres::Client::connect(&server.parameters().replace("user=postgres", "user=ann"), NoTls);
        let refusal = |error: postgres::Error| {
            let error = error.as_db_error().cloned().unwrap();
            (error.code().code().to_owned(), error.message().to_owned())
        };
        let _sessions: Vec<_> = (0..3).map(|_| ordinary().unwrap()).collect();
        let reserved = "remaining connection slots are reserved for non-replication superuser connections";
        // Whoever comes before a worker has been forked in place of the last one is told that the server is full.
        let is_reserved = || refusal(ordinary().err().unwrap()) == ("53300".to_owned(), reserved.to_owned());
        eventually("an ordinary role is refused", is_reserved);
        let mut superusers = Vec::new();
        eventually("two superusers get in", || {
            superusers.extend(server.try_connect().ok());
            superusers.len() == 2
        });
        let full = "sorry, too many clients already";
        assert_eq!(refusal(ordinary().err().unwrap()), ("53300".to_owned(), full.to_owned()));
        assert_eq!(refusal(server.try_connect().err().unwrap()), ("53300".to_owned(), full.to_owned()));
        drop(superusers);
        eventually("a superuser gets in again", || server.try_connect().is_ok());
        eventually("an ordinary role is refused as before", is_reserved);
    }
}

fn a_cancel_request_is_served_when_every_place_is_taken() {
    let server = Server::start(&["pool.max_sessions=2", "pool.reserved_sessions=0", "pool.min_spare=1"]);
    let clients: Vec<_> = (0..2).map(|_| server.connect()).collect();
    let begun = std::time::Instant::now();
    // Returns once the server has closed the connection, having read it.
    clients[0].cancel_token().cancel_query(NoTls).unwrap();
    assert!(begun.elapsed().as_millis() < 1000);
}
