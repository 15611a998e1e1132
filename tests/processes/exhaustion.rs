//! No more processes, no more descriptors: who waits, who is told, and how it ends.

use std::net::Ipv4Addr;
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::server::{Outcome, Server, ask, connect_from, eventually, refusal, set_limit};
use crate::template::template;

pub const TESTS: &[(&str, fn())] = &[
    ("clients_wait_with_the_doorman_while_fork_fails", clients_wait_with_the_doorman_while_fork_fails),
    ("clients_that_wait_too_long_while_fork_fails_are_told", clients_that_wait_too_long_while_fork_fails_are_told),
    ("fork_on_accept_tells_clients_that_fork_failed", fork_on_accept_tells_clients_that_fork_failed),
    ("a_doorman_that_dies_while_fork_fails_comes_back", a_doorman_that_dies_while_fork_fails_comes_back),
    ("workers_that_find_no_descriptors_are_no_fork_bomb", workers_that_find_no_descriptors_are_no_fork_bomb),
    ("a_worker_without_descriptors_says_so_once", a_worker_without_descriptors_says_so_once),
    ("a_doorman_without_descriptors_goes_on_later", a_doorman_without_descriptors_goes_on_later),
];

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const POOL: [&str; 4] = ["pool.start_workers=2", "pool.min_spare=1", "pool.max_spare=2", "pool.max_sessions=20"];

/// Back to what the kernel allows.
fn lift(pid: Pid, limit: &str, name: &str) {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
    let hard = line[name.len()..].split_whitespace().nth(1).unwrap().to_owned();
    set_limit(pid, &format!("--{limit}={hard}:"));
}

fn count(server: &Server, words: &str) -> usize {
    server.log.text().matches(words).count()
}

fn counter(server: &Server, name: &str) -> u64 {
    server.status()["counters"][name].as_u64().unwrap()
}

/// Sessions on every worker there is, and no more workers.
fn use_up(server: &Server) -> Vec<postgres::Client> {
    set_limit(server.pid(), "--nproc=0:");
    let mut sessions = Vec::new();
    while server.status()["idle"] != 0 || server.status()["starting"] != 0 {
        sessions.push(server.connect());
    }
    sessions
}

fn clients_wait_with_the_doorman_while_fork_fails() {
    let server = Server::start(&[&POOL[..], &["pool.queue_timeout=60s"]].concat());
    let mut sessions = use_up(&server);
    let port = server.port;
    let waiting: Vec<_> = (0..5).map(|_| thread::spawn(move || ask(HERE, port))).collect();
    eventually("all wait", || server.status()["queued"] == 5);
    eventually("fork has been tried again", || counter(&server, "fork_failures") >= 3);
    assert_eq!(count(&server, "could not fork new process"), 1, "{}", server.log.text());
    assert!(sessions.iter_mut().all(|session| session.simple_query("select 1").is_ok()));
    lift(server.pid(), "nproc", "Max processes");
    for client in waiting {
        assert_eq!(client.join().unwrap(), Outcome::Answered);
    }
    eventually("the log says that it is over", || count(&server, "workers start again") == 1);
    assert!(counter(&server, "fork_failures") < 30);
}

fn clients_that_wait_too_long_while_fork_fails_are_told() {
    let server = Server::start(&[&POOL[..], &["pool.queue_timeout=100ms"]].concat());
    let sessions = use_up(&server);
    assert_eq!(ask(HERE, server.port), Outcome::Refused("53300".to_owned()));
    let token = sessions[0].cancel_token();
    token.cancel_query(postgres::NoTls).unwrap();
    eventually("a cancel is served", || counter(&server, "cancels") == 1);
    lift(server.pid(), "nproc", "Max processes");
    eventually("clients are served", || ask(HERE, server.port) == Outcome::Answered);
}

fn fork_on_accept_tells_clients_that_fork_failed() {
    let server = Server::start(&["pool.model=fork-on-accept"]);
    let mut session = server.connect();
    for episode in 1..=2 {
        set_limit(server.pid(), "--nproc=0:");
        for _ in 0..5 {
            let error = server.try_connect().err().unwrap();
            let error = error.as_db_error().unwrap_or_else(|| panic!("no answer: {error}"));
            let told = (error.severity(), error.code().code(), error.message());
            let message = "could not fork new process for connection: Resource temporarily unavailable";
            assert_eq!(told, ("FATAL", "53000", message));
        }
        assert_eq!(count(&server, "could not fork new process"), episode);
        lift(server.pid(), "nproc", "Max processes");
        assert_eq!(ask(HERE, server.port), Outcome::Answered);
        eventually("the log says that it is over", || count(&server, "workers start again") == episode);
    }
    assert!(session.simple_query("select 1").is_ok());
}

fn a_doorman_that_dies_while_fork_fails_comes_back() {
    let server = Server::start(&[&POOL[..], &["pool.queue_timeout=60s"]].concat());
    let sessions = use_up(&server);
    let workers = server.workers();
    let doorman = server.children().into_iter().find(|pid| !workers.contains(pid)).unwrap();
    kill(doorman, Signal::SIGKILL).unwrap();
    let failures = counter(&server, "fork_failures");
    eventually("it could not be forked", || counter(&server, "fork_failures") >= failures + 2);
    // Nobody accepts any more: it waits in the kernel's queue.
    let port = server.port;
    let client = thread::spawn(move || ask(HERE, port));
    eventually("the client is there", || counter(&server, "fork_failures") >= failures + 4);
    assert_eq!(count(&server, "could not fork new process"), 1, "{}", server.log.text());
    lift(server.pid(), "nproc", "Max processes");
    assert_eq!(client.join().unwrap(), Outcome::Answered);
    drop(sessions);
}

/// They fail after fork, before they could accept.
fn workers_that_find_no_descriptors_are_no_fork_bomb() {
    for engine in ["null", "sqlite"] {
        let engine = format!("engine.kind={engine}");
        let settings = [&POOL[..], &["pool.queue_timeout=60s", &engine]].concat();
        let server = Server::start(&settings);
        // Workers have their limits from whom they are forked from.
        let parents: Vec<_> = [server.pid()].into_iter().chain(template(&server)).collect();
        parents.iter().for_each(|pid| set_limit(*pid, "--nofile=3:"));
        let mut sessions = Vec::new();
        while server.status()["idle"] != 0 {
            sessions.push(server.connect());
        }
        let port = server.port;
        let client = thread::spawn(move || ask(HERE, port));
        eventually("it waits", || server.status()["queued"] == 1);
        eventually("starts have been tried again", || server.status()["exits"]["start failed"].as_u64() >= Some(3));
        assert!(counter(&server, "forks") < 40, "{}", server.status());
        assert_eq!(count(&server, "worker could not start"), 1, "{}", server.log.text());
        assert_eq!(count(&server, "ended before it could accept"), 1, "{}", server.log.text());
        parents.iter().for_each(|pid| lift(*pid, "nofile", "Max open files"));
        assert_eq!(client.join().unwrap(), Outcome::Answered);
        assert!(sessions.iter_mut().all(|session| session.simple_query("select 1").is_ok()));
    }
}

fn a_worker_without_descriptors_says_so_once() {
    let server =
        Server::start(&["pool.start_workers=1", "pool.min_spare=1", "pool.max_spare=1", "pool.max_sessions=4"]);
    eventually("it has come to rest", || server.status()["starting"] == 0);
    let workers = server.workers();
    workers.iter().for_each(|pid| set_limit(*pid, "--nofile=3:"));
    let port = server.port;
    let client = thread::spawn(move || ask(HERE, port));
    eventually("it says so", || count(&server, "could not accept a connection") > 0);
    workers.iter().for_each(|pid| lift(*pid, "nofile", "Max open files"));
    assert_eq!(client.join().unwrap(), Outcome::Answered);
    assert!(count(&server, "could not accept a connection") <= workers.len(), "{}", server.log.text());
}

fn a_doorman_without_descriptors_goes_on_later() {
    let places = ["pool.max_sessions=2", "pool.reserved_sessions=0", "pool.min_spare=1", "pool.queue_timeout=60s"];
    let server = Server::start(&places);
    let mut sessions: Vec<_> = (0..2).map(|_| server.connect()).collect();
    // Its epoll is the last that it opens.
    let mut doorman = server.pid();
    let name = |pid: Pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    eventually("the doorman is there", || {
        let descriptors = |pid: Pid| std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
        let is_epoll = |path: std::path::PathBuf| {
            std::fs::read_link(path).is_ok_and(|target| target.to_string_lossy().contains("eventpoll"))
        };
        doorman = server.children().into_iter().find(|pid| name(*pid).contains("door")).unwrap_or(doorman);
        doorman != server.pid() && descriptors(doorman).any(|entry| is_epoll(entry.path()))
    });
    let open = std::fs::read_dir(format!("/proc/{doorman}/fd")).unwrap().count();
    set_limit(doorman, &format!("--nofile={}:", open + 5));
    let mut silent: Vec<_> = (0..30).map(|_| connect_from(HERE, server.port)).collect();
    eventually("who has no place is told", || {
        let told = silent.iter_mut().filter_map(refusal).collect::<Vec<_>>();
        told.len() == 25 && told.iter().all(|sqlstate| sqlstate == "53300")
    });
    // However full it is: refused, and cancelled, at once.
    for _ in 0..20 {
        assert_eq!(ask(HERE, server.port), Outcome::Refused("53300".to_owned()));
    }
    for times in 1..=20 {
        sessions[0].cancel_token().cancel_query(postgres::NoTls).unwrap();
        eventually("a cancel is served", || counter(&server, "cancels") == times);
    }
    assert_eq!(counter(&server, "refused"), 45);
    assert_eq!(count(&server, "the doorman refuses clients"), 1, "{}", server.log.text());
    assert!(sessions.iter_mut().all(|session| session.simple_query("select 1").is_ok()));
    drop(silent);
    let port = server.port;
    let client = thread::spawn(move || ask(HERE, port));
    eventually("it waits like others", || server.status()["queued"] == 1);
    drop(sessions);
    assert_eq!(client.join().unwrap(), Outcome::Answered);
}
