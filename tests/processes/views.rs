//! What a server tells of itself: set-up times, the pool at a glance, pg_stat_activity.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use postgres::Client;

use crate::server::{Raw, Server, eventually};

pub const TESTS: &[(&str, fn())] = &[
    ("every_phase_of_set_up_is_measured", every_phase_of_set_up_is_measured),
    ("a_wait_for_a_worker_shows_in_the_accept_queue", a_wait_for_a_worker_shows_in_the_accept_queue),
    ("status_shows_the_listen_queue", status_shows_the_listen_queue),
    ("status_names_why_workers_ended", status_names_why_workers_ended),
];

/// Count and longest time of each phase, in the view's order.
fn phases(client: &mut Client) -> Vec<(String, i64, Option<i64>)> {
    let rows = client.query("select phase, count, max_us from pgprefork.connection_phases", &[]).unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

fn every_phase_of_set_up_is_measured() {
    for (model, forks) in [("prefork", false), ("fork-on-accept", true)] {
        let server = Server::start(&["engine.kind=sqlite", &format!("pool.model={model}")]);
        for _ in 0..3 {
            server.connect().simple_query("select 1").unwrap();
        }
        let seen = phases(&mut server.connect());
        let names: Vec<&str> = seen.iter().map(|(name, ..)| name.as_str()).collect();
        // No TLS in this build, so none that takes no time.
        let expected = ["accept_queue", "fork", "engine", "startup_packet", "authentication", "ready", "total"];
        assert_eq!(names, expected);
        for (name, count, max_us) in &seen {
            let expected = if name == "fork" && !forks { 0 } else { 4 };
            assert_eq!(*count, expected, "{model}: {name}");
            assert_eq!(max_us.is_some(), expected > 0, "{model}: {name}");
        }
        let longest: BTreeMap<&str, i64> =
            seen.iter().map(|(name, _, max_us)| (name.as_str(), max_us.unwrap_or(0))).collect();
        assert!(longest["engine"] <= longest["total"] || forks, "{longest:?}");
    }
}

fn a_wait_for_a_worker_shows_in_the_accept_queue() {
    const WAIT: Duration = Duration::from_millis(150);
    let server =
        Server::start(&["engine.kind=sqlite", "pool.max_sessions=1", "pool.reserved_sessions=0", "pool.min_spare=1"]);
    let first = server.connect();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| server.connect());
        eventually("the client waits", || server.status()["queued"] == 1);
        let begun = Instant::now();
        while begun.elapsed() < WAIT {
            std::thread::sleep(WAIT / 10);
        }
        drop(first);
        let (_, count, longest_us) = phases(&mut waiting.join().unwrap()).remove(0);
        assert_eq!(count, 2);
        // A bucket of the histogram is a sixteenth of its value wide.
        let longest = Duration::from_micros(longest_us.unwrap().unsigned_abs());
        assert!(longest >= WAIT * 15 / 16, "{longest:?}");
    });
}

fn status_shows_the_listen_queue() {
    let server = Server::start(&["engine.kind=sqlite"]);
    assert_eq!(server.status()["listen_queue"], 0);
    // Nobody can accept now, not even the doorman.
    let processes: Vec<_> = std::iter::once(server.pid()).chain(server.children()).collect();
    for pid in &processes {
        kill(*pid, Signal::SIGSTOP).unwrap();
    }
    let tcp = [0; 3].map(|_| std::net::TcpStream::connect(("127.0.0.1", server.port)).unwrap());
    let path = server.data.parent().unwrap().join(format!(".s.PGSQL.{}", server.port));
    let unix = [0; 2].map(|_| std::os::unix::net::UnixStream::connect(&path).unwrap());
    eventually("they are counted", || server.status()["listen_queue"] == 5);
    let text = Command::new(env!("CARGO_BIN_EXE_pgprefork")).args(["status", "--data"]).arg(&server.data).output();
    let text = String::from_utf8(text.unwrap().stdout).unwrap();
    assert!(text.contains("clients: 0 waiting, 5 in the listen queues, 0 served, 0 refused"), "{text}");
    for pid in processes.iter().rev() {
        kill(*pid, Signal::SIGCONT).unwrap();
    }
    drop((tcp, unix));
    eventually("they are accepted", || server.status()["listen_queue"] == 0);
    // What waited in the kernel is in the view, as far as the kernel tells: TCP.
    let (_, count, _) = phases(&mut server.connect()).remove(0);
    assert!((1..=4).contains(&count), "{count}");
}

fn status_names_why_workers_ended() {
    let server = Server::start(&["engine.kind=sqlite", "pool.sessions_per_worker=1"]);
    server.connect().simple_query("select 1").unwrap();
    eventually("a worker was recycled", || server.status()["exits"]["recycled"] == 1);
    let victim = Raw::connect(&server);
    kill(victim.pid, Signal::SIGKILL).unwrap();
    eventually("a worker has crashed", || server.status()["crashes_by_signal"]["SIGKILL"] == 1);
    assert_eq!(server.status()["exits"]["crashed"], 1);
    let phase = &server.status()["connection_phases"]["total"];
    assert_eq!(phase["count"], 2);
    let times = ["p50_us", "p95_us", "p99_us", "max_us"].map(|name| phase[name].as_u64().unwrap());
    assert!(times.is_sorted() && times[0] > 0, "{times:?}");
    let text = Command::new(env!("CARGO_BIN_EXE_pgprefork")).args(["status", "--data"]).arg(&server.data).output();
    let text = String::from_utf8(text.unwrap().stdout).unwrap();
    for part in [
        "workers: ",
        " idle, ",
        "workers ended: 1 recycled, 1 crashed",
        "crashed by signal: 1 SIGKILL",
        "total: 2 times, median ",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
}
