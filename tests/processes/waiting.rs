//! Nobody waits, in the listen queues or with the doorman, beside an idle worker or a place that is free.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pgprefork::protocol::Version;
use pgprefork::protocol::client::ClientEncoder;

use crate::server::{
    Outcome, Random, Raw, Server, ask, command, connect_from, eventually, is_alive, is_stopped, set_limit,
};

pub const TESTS: &[(&str, fn())] = &[
    ("a_stopped_idle_worker_is_nobody_to_wait_for", a_stopped_idle_worker_is_nobody_to_wait_for),
    ("a_client_sent_to_a_worker_that_stops_is_refused_in_time", a_client_sent_to_a_worker_that_stops),
    ("who_is_refused_reads_why_and_then_the_end", who_is_refused_reads_why_and_then_the_end),
    ("bursts_and_calm_leave_nobody_waiting", bursts_and_calm_leave_nobody_waiting),
    ("bursts_on_few_places_leave_nobody_waiting", bursts_on_few_places_leave_nobody_waiting),
    ("a_wake_up_that_a_worker_takes_with_it_is_not_lost", a_wake_up_that_a_worker_takes_with_it_is_not_lost),
    ("idle_workers_that_die_or_stop_leave_nobody_waiting", idle_workers_that_die_or_stop_leave_nobody_waiting),
    ("a_reload_reaches_those_who_wait_with_the_doorman", a_reload_reaches_those_who_wait_with_the_doorman),
];

/// Two listeners, because a worker that is woken for one may find a client at the other.
const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 3)];
const LISTEN: &str = "listen.addresses=[\"127.0.0.1\", \"127.0.0.3\"]";

fn a_stopped_idle_worker_is_nobody_to_wait_for() {
    for hang_timeout in ["0", "300ms"] {
        let server = Server::start(&[
            "pool.start_workers=2",
            "pool.min_spare=1",
            "pool.max_spare=2",
            "pool.max_sessions=2",
            "pool.reserved_sessions=0",
            "pool.sessions_per_worker=0",
            &format!("pool.hang_timeout={hang_timeout}"),
        ]);
        for _ in 0..5 {
            eventually("nobody is busy", || {
                let status = server.status();
                ["starting", "connecting", "serving"].iter().all(|state| status[state] == 0)
            });
            let stopped = server.workers();
            signal_all(&stopped, Signal::SIGSTOP);
            // Until then, one that looks for clients may still take the next one with it.
            eventually("they have stopped", || stopped.iter().all(|pid| is_stopped(*pid) || !is_alive(*pid)));
            assert_eq!(ask(ADDRESSES[0], server.port), Outcome::Answered, "hang_timeout {hang_timeout}");
            signal_all(&stopped, Signal::SIGCONT);
        }
        eventually("there are as many workers as there may be", || {
            let status = server.status();
            status["stopped"] == 0 && status["idle"] == 2
        });
    }
}

/// The doorman counts on a worker that stops before it takes the client, and there will be no other.
fn a_client_sent_to_a_worker_that_stops() {
    let server = Server::start(&[
        "pool.start_workers=1",
        "pool.min_spare=1",
        "pool.max_spare=1",
        "pool.max_sessions=1",
        "pool.reserved_sessions=0",
        "pool.sessions_per_worker=0",
        "pool.queue_timeout=300ms",
    ]);
    let session = server.connect();
    let silent = connect_from(ADDRESSES[0], server.port);
    eventually("the doorman has it", || server.status()["counters"]["doorman_accepts"] == 1);
    set_limit(server.pid(), "--nproc=0:");
    drop(session);
    eventually("the worker is idle", || server.status()["idle"] == 1);
    // Nobody is told that the worker stopped until the postmaster goes on.
    server.signal(Signal::SIGSTOP);
    let worker = server.workers()[0];
    kill(worker, Signal::SIGSTOP).unwrap();
    let client = thread::spawn(move || Raw::start(silent).err().map(|error| error.to_string()));
    eventually("it is sent over", || {
        let status = server.status();
        status["counters"]["queued"] == 1 && status["queued"] == 0
    });
    server.signal(Signal::SIGCONT);
    assert_eq!(client.join().unwrap().as_deref(), Some("53300"));
    kill(worker, Signal::SIGCONT).unwrap();
    assert_eq!(ask(ADDRESSES[0], server.port), Outcome::Answered);
}

/// A reset could take the words away that say why.
fn who_is_refused_reads_why_and_then_the_end() {
    let settings = ["pool.max_sessions=1", "pool.reserved_sessions=0", "pool.queue_timeout=100ms"];
    for model in ["prefork", "fork-on-accept"] {
        let server = Server::start(&[&settings[..], &[&format!("pool.model={model}")]].concat());
        let session = server.connect();
        let mut client = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        let mut bytes = Vec::new();
        ClientEncoder::new(&mut bytes).startup(Version { minor: 0 }, &[("user", "postgres"), ("database", "postgres")]);
        client.write_all(&bytes).unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert!(answer.windows(6).any(|code| code == b"C53300"), "{}", String::from_utf8_lossy(&answer));
        drop(session);
    }
}

/// One that is gone already is no matter.
fn signal_all(workers: &[Pid], signal: Signal) {
    for pid in workers {
        let _ = kill(*pid, signal);
    }
}

/// So many clients at once; what became of them.
fn burst(port: u16, clients: usize, done: &Arc<AtomicUsize>) -> Vec<Outcome> {
    let client = |number: usize| {
        let done = Arc::clone(done);
        thread::spawn(move || {
            let outcome = ask(ADDRESSES[number % ADDRESSES.len()], port);
            done.fetch_add(1, Ordering::SeqCst);
            outcome
        })
    };
    let clients: Vec<_> = (0..clients).map(client).collect();
    clients.into_iter().map(|client| client.join().unwrap()).collect()
}

/// After a burst nothing else comes that could wake anybody: whoever was forgotten stays so until the deadline.
fn bursts_and_calm_leave_nobody_waiting() {
    let mut random = Random::new();
    for limit in [0, 1, 3] {
        let server = Server::start(&[LISTEN, &format!("pool.sessions_per_worker={limit}"), "pool.min_spare=2"]);
        for round in 0..40 {
            let outcomes = burst(server.port, 1 + random.below(24), &Arc::default());
            let lost: Vec<_> = outcomes.iter().filter(|outcome| **outcome != Outcome::Answered).collect();
            assert!(lost.is_empty(), "sessions_per_worker {limit}, round {round}: {lost:?}");
        }
    }
}

fn bursts_on_few_places_leave_nobody_waiting() {
    let mut random = Random::new();
    let models: [&[&str]; 3] =
        [&["pool.sessions_per_worker=0"], &["pool.sessions_per_worker=1"], &["pool.model=fork-on-accept"]];
    for model in models {
        let places = ["pool.max_sessions=3", "pool.reserved_sessions=0", "pool.min_spare=1", "pool.max_spare=2"];
        let server = Server::start(&[&[LISTEN, "pool.queue_timeout=60s"], &places[..], model].concat());
        for round in 0..25 {
            let outcomes = burst(server.port, 4 + random.below(16), &Arc::default());
            // In the classic model a child may find that the sessions before it are not gone yet.
            let is_served = |outcome: &Outcome| match outcome {
                Outcome::Answered => true,
                Outcome::Refused(sqlstate) => model == ["pool.model=fork-on-accept"] && sqlstate == "53300",
                _ => false,
            };
            assert!(outcomes.iter().all(is_served), "{model:?}, round {round}: {outcomes:?}");
        }
        eventually("nobody is counted as waiting", || server.status()["queued"] == 0);
    }
}

/// The worker that the kernel has woken for a client does not get as far as accepting it: it has no processor, and then
/// it is killed or stopped. There are more idle workers, so many that none is forked in its place.
fn a_wake_up_that_a_worker_takes_with_it_is_not_lost() {
    for signal in [Signal::SIGKILL, Signal::SIGSEGV, Signal::SIGSTOP] {
        let directory = crate::server::directory();
        let (data, port) = (directory.path().join("data"), crate::server::free_port());
        let settings = ["pool.start_workers=14", "pool.min_spare=1", "pool.sessions_per_worker=0"];
        let inner = command(&data, port, &[&settings[..], &["pool.on_memory_fault=isolate"]].concat());
        let mut outer = std::process::Command::new("chrt");
        // Runs only where nobody else wants to.
        outer.args(["--idle", "0"]).arg(inner.get_program()).args(inner.get_args());
        let server = Server::launch(outer, &data, port).unwrap();
        let (mut lost, workers) = (0, server.workers());
        // The kernel wakes those first that have waited longest.
        for victim in workers.iter().take(10) {
            let spin = Arc::new(AtomicUsize::new(0));
            let spinners = thread::available_parallelism().unwrap().get() * 2;
            let threads: Vec<_> = (0..spinners)
                .map(|_| {
                    let spin = Arc::clone(&spin);
                    thread::spawn(move || {
                        spin.fetch_add(1, Ordering::SeqCst);
                        while spin.load(Ordering::SeqCst) <= spinners {
                            std::hint::spin_loop();
                        }
                    })
                })
                .collect();
            eventually("every processor is taken", || spin.load(Ordering::SeqCst) == spinners);
            let client = connect_from(ADDRESSES[0], port);
            kill(*victim, signal).unwrap();
            spin.fetch_add(1, Ordering::SeqCst);
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            let client = thread::spawn(move || Raw::start(client).err());
            if signal == Signal::SIGSTOP {
                eventually("the client is answered, or the stopped worker has it", || {
                    client.is_finished() || server.status()["connecting"] == 1
                });
                kill(*victim, Signal::SIGCONT).unwrap();
            }
            match client.join().unwrap() {
                None => {}
                // It had been accepted by then.
                Some(error) if error.kind() != std::io::ErrorKind::TimedOut => lost += 1,
                Some(error) => panic!("{signal}: {error}, {}", server.status()),
            }
        }
        println!("    {signal}: 10 workers, {lost} connections lost with them");
    }
}

/// At every moment of a client's arrival: killed, stopped for a while, a fault of memory. Nothing but the connections
/// that a victim had may be lost.
fn idle_workers_that_die_or_stop_leave_nobody_waiting() {
    let mut random = Random::new();
    for signal in [Signal::SIGKILL, Signal::SIGSEGV, Signal::SIGSTOP, Signal::SIGUSR2, Signal::SIGTERM] {
        let server = Server::start(&[
            LISTEN,
            "pool.sessions_per_worker=0",
            "pool.min_spare=2",
            "pool.start_workers=5",
            "pool.on_memory_fault=isolate",
        ]);
        let (mut lost, mut victims, mut answered) = (0, 0, 0);
        for round in 0..40 {
            let workers = server.workers();
            let clients = 1 + random.below(4);
            let (port, done) = (server.port, Arc::new(AtomicUsize::new(0)));
            let counter = Arc::clone(&done);
            let burst = thread::spawn(move || burst(port, clients, &counter));
            let mut stopped = Vec::new();
            for _ in 0..=random.below(2) {
                (0..random.below(20_000)).for_each(|_| std::hint::spin_loop());
                let Some(victim) = workers.get(random.below(workers.len().max(1))) else { continue };
                victims += usize::from(kill(*victim, signal).is_ok());
                stopped.push(*victim);
            }
            if signal == Signal::SIGSTOP {
                // Whoever met a worker that was stopped then has to wait for it; nobody else may.
                eventually("every client is answered or has a worker", || {
                    let status = server.status();
                    let with_workers = status["connecting"].as_u64().unwrap() + status["serving"].as_u64().unwrap();
                    let met = met_idle(&server, &stopped);
                    done.load(Ordering::SeqCst) + usize::try_from(with_workers).unwrap() + met >= clients
                });
                signal_all(&stopped, Signal::SIGCONT);
            }
            for outcome in burst.join().unwrap() {
                match outcome {
                    Outcome::Answered => answered += 1,
                    Outcome::Lost => lost += 1,
                    // The victim was serving by then, and said so.
                    Outcome::Refused(sqlstate) if sqlstate == "57P01" => lost += 1,
                    other => panic!("{signal}, round {round}: {other:?}\n{}", server.status()),
                }
            }
        }
        println!("    {signal}: {victims} workers, {answered} clients answered, {lost} lost");
        assert!(lost <= victims, "{signal}: {lost} lost, {victims} victims");
        assert!(signal != Signal::SIGSTOP && signal != Signal::SIGUSR2 || lost == 0, "{signal}: {lost} lost");
    }
}

/// How many of these workers have been stopped between accepting a client and saying so.
fn met_idle(server: &Server, stopped: &[Pid]) -> usize {
    let segment = shm::Segment::of_process(server.pid().as_raw()).expect("the server's segment");
    let is_idle =
        |pid: &Pid| segment.slots().any(|(_, slot)| slot.pid() == pid.as_raw() && slot.state() == shm::SlotState::Idle);
    stopped.iter().filter(|pid| is_idle(pid) && has_a_client(**pid, server.port)).count()
}

/// Whether a process holds a TCP connection that came to this port.
fn has_a_client(pid: Pid, port: u16) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's table");
    // Columns: number, local address and port, remote ones, state (0A: listens), ..., the tenth is the inode.
    let inodes: Vec<String> = table
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let is_ours = fields.get(1)?.ends_with(&format!(":{port:04X}")) && *fields.get(3)? != "0A";
            is_ours.then(|| format!("socket:[{}]", fields[9]))
        })
        .collect();
    let held = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    held.filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .any(|link| inodes.iter().any(|inode| link.to_string_lossy() == *inode))
}

fn a_reload_reaches_those_who_wait_with_the_doorman() {
    let directory = crate::server::directory();
    let (data, port) = (directory.path().join("data"), crate::server::free_port());
    drop(Server::start_on(&data, port, &[]).unwrap());
    let places = |count: u32| std::fs::write(data.join("pgprefork.toml"), format!("[pool]\nmax_sessions = {count}\n"));
    places(1).unwrap();
    let settings = [
        "pool.slot_limit=8",
        "pool.reserved_sessions=0",
        "pool.min_spare=1",
        "pool.max_spare=1",
        "pool.queue_timeout=60s",
    ];
    let server = Server::start_on(&data, port, &settings).unwrap();
    let _session = server.connect();
    let waiting = thread::spawn(move || ask(ADDRESSES[0], port));
    eventually("it waits", || server.status()["queued"] == 1);
    places(4).unwrap();
    server.signal(Signal::SIGHUP);
    assert_eq!(waiting.join().unwrap(), Outcome::Answered);
}
