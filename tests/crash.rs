//! kill -9, of everything and of single processes, while clients are at work: what was acknowledged is there
//! afterwards, the sums agree, and only the killed process's own client notices.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::load::{Load, Mix, Outcome, Random, connect, create_tables, seed, verify};
use support::{Server, children_of, wait_until};

fn kill_now(pid: i32) {
    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
}

#[test]
fn kill_of_every_process_loses_nothing_acknowledged() {
    let mut random = Random(seed());
    let directory = tempfile::Builder::new().prefix("pgprefork-crash-").tempdir().expect("a directory");
    std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("permissions");
    let data = directory.path().join("data");
    let numbers = Arc::new(AtomicU64::new(1));
    let mut outcome = Outcome::default();
    for round in 0..6 {
        let mut server = Server::start_on(&data, &[], &[]);
        if round == 0 {
            create_tables(&server);
        }
        verify(&server, &outcome);
        let mix = Mix { writers: 6, ..Mix::default() };
        let load = Load::start(server.port, &mix, &numbers, random.below(u64::MAX >> 32));
        let target = 50 + random.below(200) as usize;
        wait_until("transactions were acknowledged", || load.count() >= target);
        let postmaster = server.pid().as_raw();
        let children = children_of(postmaster);
        if round % 2 == 0 {
            kill_now(postmaster);
        }
        for child in &children {
            kill_now(*child);
        }
        if round % 2 == 1 {
            kill_now(postmaster);
        }
        server.wait();
        let told = load.stop();
        println!("round {round}: {} acknowledged, then everything was killed", told.acknowledged.len());
        outcome.extend(told);
    }
    let server = Server::start_on(&data, &[], &[]);
    verify(&server, &outcome);
}

#[test]
fn kill_of_a_worker_ends_its_own_session_and_no_other() {
    let mut random = Random(seed());
    let server = Server::start(&[]);
    create_tables(&server);
    let numbers = Arc::new(AtomicU64::new(1));
    let mix = Mix { writers: 4, ..Mix::default() };
    let load = Load::start(server.port, &mix, &numbers, random.below(u64::MAX >> 32));
    // A session that does nothing must outlive them all.
    let mut bystander = connect(server.port).expect("a connection");
    let bystander_pid: i32 = bystander.query_one("select pg_backend_pid()", &[]).expect("its pid").get(0);
    let killed = AtomicI32::new(0);
    let deadline = Instant::now() + Duration::from_secs(20);
    while killed.load(Ordering::Relaxed) < 25 && Instant::now() < deadline {
        let before = load.count();
        let rows = server
            .query("select pid from pg_stat_activity where backend_type = 'client backend' and usename = 'postgres'");
        let own: Vec<i32> =
            rows.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != bystander_pid).collect();
        if let Some(pid) = own.get(random.below(own.len().max(1) as u64) as usize) {
            std::thread::sleep(Duration::from_micros(random.below(3_000)));
            kill_now(*pid);
            killed.fetch_add(1, Ordering::Relaxed);
        }
        wait_until("others go on after a kill", || load.count() > before + 8);
    }
    assert_eq!(bystander.query_one("select 7", &[]).expect("the bystander's answer").get::<_, i32>(0), 7);
    drop(bystander);
    let outcome = load.stop();
    let killed = killed.load(Ordering::Relaxed) as u64;
    println!("killed {killed}, connections lost {}, acknowledged {}", outcome.lost, outcome.acknowledged.len());
    assert!(outcome.lost <= killed, "{killed} were killed and {} clients lost their connection", outcome.lost);
    verify(&server, &outcome);
}
