//! Processes that are killed, and who notices.

use nix::sys::signal::{Signal, kill};
use pgprefork::protocol::client::{self, Backend};

use crate::server::{Raw, Server, eventually, free_port, is_alive};

pub const TESTS: &[(&str, fn())] = &[
    ("killing_a_worker_ends_its_session_alone", killing_a_worker_ends_its_session_alone),
    ("killing_idle_workers_strands_no_client", killing_idle_workers_strands_no_client),
    ("a_memory_fault_ends_all_sessions_and_the_server_goes_on", memory_fault_restart),
    ("a_memory_fault_may_be_isolated", memory_fault_isolate),
    ("killing_the_postmaster_ends_all_children", killing_the_postmaster_ends_all_children),
    ("killing_the_doorman_costs_nobody_a_session", killing_the_doorman_costs_nobody_a_session),
    ("a_stopped_worker_is_named_and_killed", a_stopped_worker_is_named_and_killed),
    ("a_stopped_worker_strands_no_client", a_stopped_worker_strands_no_client),
    ("a_busy_worker_without_a_sign_of_life_is_killed", a_busy_worker_without_a_sign_of_life_is_killed),
    ("stopped_workers_are_shown", stopped_workers_are_shown),
    ("workers_are_replaced_when_they_are_old", workers_are_replaced_when_they_are_old),
    ("a_worker_that_holds_too_much_memory_is_replaced", a_worker_that_holds_too_much_memory_is_replaced),
    ("terminating_a_worker_tells_its_client", terminating_a_worker_tells_its_client),
];

fn killing_a_worker_ends_its_session_alone() {
    for model in ["prefork", "fork-on-accept"] {
        let server = Server::start(&[&format!("pool.model={model}")]);
        let mut others: Vec<_> = (0..5).map(|_| server.connect()).collect();
        let mut victim = Raw::connect(&server);
        kill(victim.pid, Signal::SIGKILL).unwrap();
        eventually("the client notices", || victim.query("select 1").is_err());
        assert!(others.iter_mut().all(|client| client.simple_query("select 1").is_ok()));
        assert!(server.connect().simple_query("select 1").is_ok());
    }
}

fn killing_idle_workers_strands_no_client() {
    let server = Server::start(&["pool.start_workers=4", "pool.min_spare=4", "pool.sessions_per_worker=0"]);
    for _ in 0..30 {
        // The first in line is the one whom the kernel wakes for the connection that follows.
        if let Some(first) = server.workers().first() {
            let _ = kill(*first, Signal::SIGKILL);
        }
        assert!(server.connect().simple_query("select 1").is_ok());
    }
}

fn memory_fault_restart() {
    let server = Server::start(&[]);
    let mut bystander = server.connect();
    let victim = Raw::connect(&server);
    kill(victim.pid, Signal::SIGSEGV).unwrap();
    eventually("all sessions end", || bystander.simple_query("select 1").is_err());
    eventually("the server serves again", || server.try_connect().is_ok());
}

fn memory_fault_isolate() {
    let server = Server::start(&["pool.on_memory_fault=isolate"]);
    let mut bystander = server.connect();
    let mut victim = Raw::connect(&server);
    kill(victim.pid, Signal::SIGSEGV).unwrap();
    eventually("its client notices", || victim.query("select 1").is_err());
    assert!(bystander.simple_query("select 1").is_ok());
}

fn killing_the_postmaster_ends_all_children() {
    for model in ["prefork", "fork-on-accept"] {
        let directory = crate::server::directory();
        let (data, port) = (directory.path().join("data"), free_port());
        let mut server = Server::start_on(&data, port, &[&format!("pool.model={model}")]).unwrap();
        let mut client = Raw::connect(&server);
        let children = server.children();
        assert!(children.contains(&client.pid));
        server.signal(Signal::SIGKILL);
        server.wait();
        eventually("every child has ended", || !children.iter().any(|pid| is_alive(*pid)));
        assert!(client.query("select 1").is_err());
        // The same directory, port and sockets, at once.
        let server = Server::start_on(&data, port, &[]).unwrap();
        assert!(server.connect().simple_query("select 1").is_ok());
    }
}

fn a_stopped_worker_is_named_and_killed() {
    let server = Server::start(&["pool.hang_timeout=200ms"]);
    let mut bystander = server.connect();
    let mut victim = Raw::connect(&server);
    kill(victim.pid, Signal::SIGSTOP).unwrap();
    eventually("the log names it", || server.log.text().contains(&format!("{} was stopped by SIGSTOP", victim.pid)));
    eventually("its client notices", || victim.query("select 1").is_err());
    let named = format!("worker {} is stopped while serving (waiting for the client)", victim.pid);
    eventually("the log says why", || server.log.text().contains(&named));
    assert!(bystander.simple_query("select 1").is_ok());
    eventually("the reason is counted", || server.status()["exits"]["hung"] == 1);
}

fn a_stopped_worker_strands_no_client() {
    let server = Server::start(&["pool.hang_timeout=100ms", "pool.sessions_per_worker=0"]);
    for _ in 0..10 {
        if let Some(first) = server.workers().first() {
            let _ = kill(*first, Signal::SIGSTOP);
        }
        assert!(server.connect().simple_query("select 1").is_ok());
    }
}

/// A function that takes long gives no sign of life; sleeping, and many short steps, do.
fn a_busy_worker_without_a_sign_of_life_is_killed() {
    let server = Server::start(&["engine.kind=sqlite", "pool.hang_timeout=400ms"]);
    let mut bystander = server.connect();
    bystander.simple_query("select pg_sleep(1)").unwrap();
    let mut victim = Raw::connect(&server);
    let long = vec!["length(replace(repeat('a', 30000000), 'a', 'bb'))"; 40].join(" + ");
    assert!(victim.query(&format!("select {long}")).is_err());
    let named = format!("worker {} gives no sign of life while serving (executing)", victim.pid);
    eventually("the log names it and its phase", || server.log.text().contains(&named));
    eventually("the reason is counted", || server.status()["exits"]["hung"] == 1);
    assert!(bystander.simple_query("select 1").is_ok());
}

fn stopped_workers_are_shown() {
    let server = Server::start(&["engine.kind=sqlite"]);
    let mut client = server.connect();
    let victim = Raw::connect(&server);
    let mut shown = |pid: i32| {
        let query = format!("select state, phase from pgprefork.workers where stopped and pid = {pid}");
        let row = client.query_opt(query.as_str(), &[]).unwrap();
        row.map(|row| (row.get::<_, String>(0), row.get::<_, String>(1)))
    };
    assert_eq!(shown(victim.pid.as_raw()), None);
    kill(victim.pid, Signal::SIGSTOP).unwrap();
    let serving = ("serving".to_owned(), "waiting for the client".to_owned());
    eventually("the view shows it", || shown(victim.pid.as_raw()).as_ref() == Some(&serving));
    kill(victim.pid, Signal::SIGCONT).unwrap();
    eventually("it goes on", || shown(victim.pid.as_raw()).is_none());
}

fn workers_are_replaced_when_they_are_old() {
    let server = Server::start(&["pool.worker_lifetime=300ms", "pool.sessions_per_worker=0"]);
    let mut client = server.connect();
    let first = server.workers();
    eventually("all idle ones are new", || server.workers().iter().filter(|pid| first.contains(pid)).count() <= 1);
    assert!(client.simple_query("select 1").is_ok());
    eventually("the reason is counted", || server.status()["exits"]["lifetime"].as_u64() >= Some(7));
    assert_eq!(server.status()["exits"]["crashed"], 0);
}

fn a_worker_that_holds_too_much_memory_is_replaced() {
    let server = Server::start(&["pool.worker_memory_limit=1kB", "pool.sessions_per_worker=0"]);
    let pids: std::collections::HashSet<_> = (0..5).map(|_| Raw::connect(&server).pid).collect();
    assert_eq!(pids.len(), 5);
    eventually("the reason is counted", || server.status()["exits"]["memory"] == 5);
}

fn terminating_a_worker_tells_its_client() {
    let server = Server::start(&["pool.sessions_per_worker=0"]);
    let mut bystander = server.connect();
    let mut victim = Raw::connect(&server);
    kill(victim.pid, Signal::SIGTERM).unwrap();
    let mut sqlstate = None;
    let _ = victim.read_until_ready(|message| {
        if let Backend::ErrorResponse(fields) = message {
            sqlstate = client::field(&fields, b'C').map(str::to_owned);
        }
    });
    assert_eq!(sqlstate.as_deref(), Some("57P01"));
    eventually("the process ends", || !is_alive(victim.pid));
    assert!(bystander.simple_query("select 1").is_ok());
}

fn killing_the_doorman_costs_nobody_a_session() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let workers = server.workers();
    let doorman = |server: &Server| server.children().into_iter().find(|pid| !server.workers().contains(pid));
    let first = doorman(&server).unwrap();
    kill(first, Signal::SIGKILL).unwrap();
    eventually("there is another", || doorman(&server).is_some_and(|pid| pid != first));
    assert!(client.simple_query("select 1").is_ok());
    assert!(workers.iter().all(|pid| is_alive(*pid)));
}
