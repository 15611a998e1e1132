//! Ends that nobody wished for, and those that somebody did: kill -9 of PostgreSQL, of its keeper and of our postmaster, and
//! the three modes of shutdown.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::start::{keeper, own, postmaster, start, start_on};
use crate::support::load::{self, Load, Mix, Random};
use crate::support::{Server, children_of, wait_until};
use crate::wire::{Raw, sqlstate};

/// The SQLSTATE that the session ends with; "closed" if it is not told.
fn last_words(session: &mut Raw) -> String {
    let words = session.until_end();
    words.iter().rev().find(|(kind, _)| *kind == b'E').map_or("closed".to_owned(), |(_, body)| sqlstate(body))
}

fn is_gone(pid: Pid) -> bool {
    // A zombie has no working directory.
    kill(pid, None).is_err() || fs::read_link(format!("/proc/{pid}/cwd")).is_err()
}

/// Processes that work in PostgreSQL's data directory.
fn processes_of(server: &Server) -> Vec<String> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let works_there = |pid: &str| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|path| path == own(server));
    entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|pid| works_there(pid)).collect()
}

#[test]
fn kill_9_of_postgresql() {
    for mode in ["session", "transaction"] {
        let server = start(&["--set", &format!("relay.pool_mode={mode}")]);
        server.query("create table kept (n int)");
        let [mut idle, mut open, mut busy] = [(); 3].map(|()| Raw::connect(server.port));
        assert_eq!(idle.query("insert into kept values (1)"), "C(INSERT 0 1) Z(I)");
        assert_eq!(open.query("begin; insert into kept values (2)"), "C(BEGIN) C(INSERT 0 1) Z(T)");
        let before = postmaster(&server);
        // Its server process outlives its postmaster, and would be in the way of the next one.
        busy.send(|out| out.query("select count(*) from generate_series(1, 1000000000)"));
        let works = "select count(*) from pg_stat_activity where query like 'select count(*) from generate%'";
        wait_until("it works", || server.query(works) == "1");
        kill(before, Signal::SIGKILL).expect("PostgreSQL");
        assert_eq!(last_words(&mut busy), "57P01", "{mode}");
        assert_eq!(last_words(&mut open), "57P01", "{mode}");
        if mode == "session" {
            assert_eq!(last_words(&mut idle), "57P01");
        } else {
            // It has noticed nothing.
            assert_eq!(idle.query("select 1"), "T D(1) C(SELECT 1) Z(I)");
        }
        // A newcomer waits for the next one, and finds what was committed.
        assert_eq!(server.query("select string_agg(n::text, ' ') from kept"), "1");
        assert_ne!(postmaster(&server), before);
        let how = format!("PostgreSQL (PID {before}) ended: signal 9 (SIGKILL); starting it again; it said last: ");
        wait_until("the log says how it ended", || server.log().contains(&how));
        let log = server.log();
        let said = log.split(&how).nth(1).and_then(|rest| rest.lines().next()).unwrap_or_default();
        assert!(said.contains("database system is ready to accept connections"), "{log}");
    }
}

#[test]
fn kill_9_of_the_keeper() {
    let server = start(&[]);
    server.query("create table kept (n int); insert into kept values (1)");
    let mut session = Raw::connect(server.port);
    let (keeper_before, before) = (keeper(&server), postmaster(&server));
    kill(keeper_before, Signal::SIGKILL).expect("the keeper");
    wait_until("PostgreSQL ends with it", || is_gone(before));
    assert_eq!(last_words(&mut session), "57P01");
    assert_eq!(server.query("select n from kept"), "1");
    assert_ne!(postmaster(&server), before);
    assert_ne!(keeper(&server), keeper_before);
    // It was an orderly end, although nobody was there to see it.
    assert!(!server.log().contains("not properly shut down"), "{}", server.log());
}

#[test]
fn kill_9_of_our_postmaster() {
    let mut server = start(&[]);
    server.query("create table kept (n int); insert into kept values (1)");
    for and_postgresql in [false, true] {
        let before = postmaster(&server);
        server.signal(Signal::SIGKILL);
        if and_postgresql {
            // Both lock files are left behind.
            kill(before, Signal::SIGKILL).expect("PostgreSQL");
        }
        server.wait();
        wait_until("PostgreSQL ends with it", || processes_of(&server).is_empty());
        assert_eq!(own(&server).join("postmaster.pid").exists(), and_postgresql);
        let next = start_on(&server.data, &[]);
        assert_eq!(next.query("select n from kept"), "1");
        assert_eq!(next.log().contains("not properly shut down"), and_postgresql, "{}", next.log());
        let directory = std::mem::replace(&mut server, next);
        // The temporary directory goes with the last handle.
        std::mem::forget(directory);
    }
    let folder = server.data.parent().expect("a folder").to_owned();
    drop(server);
    fs::remove_dir_all(folder).expect("removed");
}

#[test]
fn kill_9_of_our_postmaster_and_a_start_at_once() {
    let mut server = start(&[]);
    server.pgbench("postgres", &["-i", "-q", "-s", "2"]);
    server.signal(Signal::SIGKILL);
    server.wait();
    // The old one is still writing its last checkpoint, perhaps: the new one waits for it.
    let next = start_on(&server.data, &[]);
    assert_eq!(next.query("select count(*) from pgbench_accounts"), "200000");
    assert!(!next.log().contains("not properly shut down"), "{}", next.log());
}

#[test]
fn shutdowns() {
    let mut server = start(&[]);
    let directory = server.data.clone();
    server.query("create table kept (n int)");
    for (signal, words, is_orderly) in
        [(Signal::SIGTERM, None, true), (Signal::SIGINT, Some("57P01"), true), (Signal::SIGQUIT, Some("closed"), false)]
    {
        let mut session = Raw::connect(server.port);
        assert_eq!(session.query("begin; insert into kept values (1)"), "C(BEGIN) C(INSERT 0 1) Z(T)");
        let postgresql = postmaster(&server);
        server.signal(signal);
        wait_until("it is heard", || server.log().contains("shutting down ("));
        if let Some(words) = words {
            assert_eq!(last_words(&mut session), words, "{signal}");
        } else {
            // Smart: the session goes on, and PostgreSQL with it.
            assert!(!is_gone(postgresql));
            assert_eq!(session.query("commit"), "C(COMMIT) Z(I)");
            drop(session);
        }
        server.wait();
        assert_eq!(processes_of(&server), [""; 0], "{signal}: nothing is left");
        let next = start_on(&directory, &[]);
        assert_eq!(next.log().contains("database system was shut down at"), is_orderly, "{signal}: {}", next.log());
        assert_eq!(next.query("select count(*) from kept"), "1", "{signal}");
        std::mem::forget(std::mem::replace(&mut server, next));
    }
    drop(server);
    fs::remove_dir_all(directory.parent().expect("a folder")).expect("removed");
}

#[test]
fn whoever_comes_while_it_is_away_waits_or_is_told() {
    let server = start(&["--set", "relay.query_wait_timeout=500ms"]);
    server.query("select 1");
    let (place, away) = (own(&server), server.data.join("away"));
    let before = postmaster(&server);
    fs::rename(&place, &away).expect("it cannot start now");
    kill(before, Signal::SIGKILL).expect("PostgreSQL");
    wait_until("its end is noticed", || server.log().contains(&format!("PostgreSQL (PID {before}) ended")));
    let told = server.psql("postgres", "select 1").expect_err("an error");
    assert!(told.contains("the database system is starting up"), "{told}");
    wait_until("a start fails", || server.log().matches("ended: exit code").count() > 1);
    fs::rename(&away, &place).expect("it can start again");
    wait_until("it is there again", || server.psql("postgres", "select 1").is_ok());
}

#[test]
fn whoever_waits_is_served_once_it_is_there() {
    let server = start(&[]);
    let (place, away) = (own(&server), server.data.join("away"));
    let before = postmaster(&server);
    wait_until("it is shown to be ready", || server.status().contains("PostgreSQL: ready"));
    fs::rename(&place, &away).expect("it cannot start now");
    kill(before, Signal::SIGKILL).expect("PostgreSQL");
    wait_until("its end is noticed", || server.log().contains(&format!("PostgreSQL (PID {before}) ended")));
    assert!(server.status().contains("PostgreSQL: starting"), "{}", server.status());
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| server.query("select 'served'"));
        let connecting = || server.status().contains("1 connecting");
        wait_until("somebody waits", connecting);
        fs::rename(&away, &place).expect("it can start again");
        assert_eq!(waits.join().expect("an answer"), "served");
    });
}

#[test]
fn a_fault_of_memory_starts_all_anew() {
    let server = start(&[]);
    server.query("create table kept (n int); insert into kept values (1)");
    let mut session = Raw::connect(server.port);
    let before = postmaster(&server);
    kill(Pid::from_raw(session.process.cast_signed()), Signal::SIGSEGV).expect("the worker");
    assert_eq!(last_words(&mut session), "closed");
    // It ends as after a crash, because whatever shares our segment does, and comes again.
    wait_until("PostgreSQL ends", || is_gone(before));
    wait_until("it is there again", || server.psql("postgres", "select n from kept") == Ok("1".to_owned()));
    assert_ne!(postmaster(&server), before);
}

#[test]
fn a_server_that_ends_before_postgresql_was_ready() {
    let mut server = start(&[]);
    let before = postmaster(&server);
    let away = server.data.join("away");
    fs::rename(own(&server), &away).expect("it cannot start now");
    kill(before, Signal::SIGKILL).expect("PostgreSQL");
    wait_until("its end is noticed", || server.log().contains(&format!("PostgreSQL (PID {before}) ended")));
    // A client that waits is no reason to stay.
    std::thread::scope(|scope| {
        let port = server.port;
        let waits = scope.spawn(move || Raw::try_connect(port, &[]).err());
        wait_until("somebody waits", || server.status().contains("1 connecting"));
        assert_eq!(server.stop(), Some(0), "{}", server.log());
        let told = waits.join().expect("an answer").expect("an error");
        assert_eq!(told, "57P03 the database system is shutting down");
    });
    fs::rename(&away, own(&server)).expect("back");
    fs::set_permissions(own(&server), PermissionsExt::from_mode(0o700)).expect("permissions");
}

impl Server {
    /// What `pgprefork status` says.
    fn status(&self) -> String {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_pgprefork"));
        let output = command.arg("status").arg("--data").arg(&self.data).output().expect("status");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

#[test]
fn nothing_acknowledged_is_lost_whatever_is_killed() {
    for mode in ["session", "transaction"] {
        let mode = format!("relay.pool_mode={mode}");
        let mut server = start(&["--set", &mode]);
        load::create_tables(&server);
        let mix = Mix { writers: 4, connecting: 2, readers: 1, tolerated: &["57P01", "57P03"] };
        let mut random = Random(load::seed());
        let clients = Load::start(server.port, &mix, &Arc::default(), random.below(u64::MAX));
        for round in 0..8 {
            let before = clients.count();
            wait_until("they are at work", || clients.count() > before + 20);
            let victim = match round % 4 {
                0 => postmaster(&server),
                1 => keeper(&server),
                // A worker, or the doorman.
                2 => {
                    let keeper = keeper(&server).as_raw();
                    let others: Vec<i32> = server.children().into_iter().filter(|child| *child != keeper).collect();
                    Pid::from_raw(others[random.below(others.len() as u64) as usize])
                }
                // A server process, or another one of PostgreSQL's: the others end with it.
                _ => {
                    let processes = children_of(postmaster(&server).as_raw());
                    Pid::from_raw(processes[random.below(processes.len() as u64) as usize])
                }
            };
            // A server process may have ended by itself.
            let _ = kill(victim, Signal::SIGKILL);
            // The keeper's successor has to be there before it is looked for.
            wait_until("it is there again", || server.psql("postgres", "select 1").is_ok() && is_gone(victim));
        }
        let before = clients.count();
        wait_until("they are at work", || clients.count() > before + 20);
        // Whoever came while PostgreSQL was away has waited. At our own shutdown newcomers are told.
        assert_eq!(clients.so_far().errors.get("57P03"), None, "{}", server.log());
        assert_eq!(server.stop(), Some(0), "{}", server.log());
        let outcome = clients.stop();
        assert_eq!(processes_of(&server), [""; 0]);
        let next = start_on(&server.data, &[]);
        load::verify(&next, &outcome);
        assert!(next.log().contains("database system was shut down at"), "{}", next.log());
    }
}
