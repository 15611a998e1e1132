//! A disk that is full, really: a small tmpfs with the data directory on it and a file that takes the rest.
//!
//! Each test runs in a program of its own with its own mount namespace, so that no mount outlives it. That takes
//! root: where mounting is not allowed, the tests fail.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::support::load::{Load, Mix, connect, create_tables, verify};
use crate::support::{Server, wait_until};
use crate::victim::{Victim, open_directory};

pub const TESTS: &[crate::Test] = &[
    ("commits_on_a_full_disk_are_refused_and_go_on_with_room", |seed| enter("commits", seed)),
    ("a_full_disk_has_the_room_of_the_wal_used_again", |seed| enter("updates", seed)),
    ("a_checkpoint_on_a_full_disk_loses_nothing_and_goes_on_with_room", |seed| enter("checkpoint", seed)),
];

/// The first argument of a program that has its own mount namespace.
pub const INSIDE: &str = "inside-mount-namespace";

fn enter(test: &str, seed: u64) {
    let program = std::env::current_exe().expect("this program");
    let status = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(program)
        .args([INSIDE, test, &seed.to_string()])
        .status()
        .expect("unshare, of Debian's util-linux");
    assert!(status.success(), "the test failed, or a tmpfs cannot be mounted here, which takes root");
}

pub fn inside(arguments: &[String]) {
    let [test, seed] = arguments else { panic!("a test and a seed") };
    let seed = seed.parse().expect("a number");
    match test.as_str() {
        "commits" => commits(seed),
        "updates" => updates(),
        "checkpoint" => checkpoint(seed),
        other => panic!("there is no test {other}"),
    }
}

/// A small disk.
struct Disk {
    root: PathBuf,
    _directory: tempfile::TempDir,
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The namespace ends with this program anyhow; without the mount its directory can be removed.
        let _ = Command::new("umount").arg("--lazy").arg(&self.root).status();
    }
}

impl Disk {
    fn mount(megabytes: u32) -> Self {
        let directory = open_directory();
        let root = directory.path().join("disk");
        fs::create_dir(&root).expect("a folder");
        let size = format!("size={megabytes}m,mode=755");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&root).status();
        assert!(mounted.expect("mount").success(), "a tmpfs cannot be mounted here, which takes root");
        Self { root, _directory: directory }
    }

    fn start(&self, settings: &[&str]) -> Victim {
        Victim::start_on(&self.root.join("data"), &[], settings)
    }

    /// Takes all the room that is left.
    fn fill(&self) {
        let mut ballast = File::options().create(true).append(true).open(self.root.join("ballast")).expect("a file");
        for bytes in [1 << 16, 1 << 12] {
            while ballast.write_all(&vec![1; bytes]).is_ok() {}
        }
    }

    /// Gives it back.
    fn make_room(&self) {
        fs::remove_file(self.root.join("ballast")).expect("the ballast");
    }
}

/// Ends the server and every process of it at once, and starts it anew.
fn restart_after_kill(disk: &Disk, mut victim: Victim, settings: &[&str]) -> Victim {
    let children = victim.server.children();
    victim.server.signal(nix::sys::signal::Signal::SIGKILL);
    victim.server.wait();
    for child in children {
        // Those that have gone with the postmaster need no signal.
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(child), nix::sys::signal::Signal::SIGKILL);
    }
    drop(victim);
    disk.start(settings)
}

const FULL: &str = "53100";

fn refusals(load: &Load) -> u64 {
    load.so_far().errors.get(FULL).copied().unwrap_or(0)
}

/// While the disk is full: readers are served, also new ones, and nobody's connection ends.
fn reads_go_on(server: &Server, load: &Load) {
    let before = load.so_far().reads;
    wait_until("readers go on", || load.so_far().reads > before + 50);
    assert_eq!(server.query("select count(*) from pgbench_branches"), "1");
    assert_eq!(load.so_far().lost, 0, "a connection ended because the disk is full");
}

/// Rows that need room.
struct Bulk<'a> {
    server: &'a Server,
    inserted: u32,
}

impl<'a> Bulk<'a> {
    fn new(server: &'a Server) -> Self {
        server.query("create table bulk (t text)");
        Self { server, inserted: 0 }
    }

    /// Inserts 400 kB. False if there was no room for them.
    fn insert(&mut self) -> bool {
        let insert = "insert into bulk select repeat('x', 4000) from generate_series(1, 100)";
        let done = self.server.psql("postgres", insert);
        assert!(done.as_ref().err().is_none_or(|error| error.contains(FULL)), "{done:?}");
        self.inserted += 100 * u32::from(done.is_ok());
        done.is_ok()
    }
}

fn count_bulk(server: &Server) -> String {
    server.query("select count(*) from bulk")
}

fn commits(seed: u64) {
    let disk = Disk::mount(80);
    let victim = disk.start(&[]);
    create_tables(&victim.server);
    let mix = Mix { writers: 4, connecting: 1, readers: 2, tolerated: &[FULL] };
    let load = Load::start(victim.server.port, &mix, &Arc::new(AtomicU64::new(1)), seed);
    let mut bulk = Bulk::new(&victim.server);
    for round in 0..3 {
        let before = (load.count(), refusals(&load));
        wait_until("transactions commit", || load.count() > before.0 + 100);
        disk.fill();
        wait_until("commits are refused", || !bulk.insert() && refusals(&load) > before.1 + 20);
        reads_go_on(&victim.server, &load);
        // More than SQLite keeps in memory until the commit.
        let large =
            victim.server.psql("postgres", "insert into bulk select repeat('x', 4000) from generate_series(1, 4000)");
        assert!(large.as_ref().is_err_and(|error| error.contains(FULL)), "{large:?}");
        let create = format!("create database number_{round}");
        let created = victim.server.psql("postgres", &create);
        assert!(created.as_ref().is_err_and(|error| error.contains(FULL)), "{created:?}");
        let refused = refusals(&load) - before.1;
        disk.make_room();
        let count = load.count();
        wait_until("commits go on by themselves", || load.count() > count + 100);
        victim.server.query(&create);
        println!("  round {round}: {refused} refused");
    }
    let outcome = load.stop();
    println!(
        "  {} acknowledged, {} refused, {} reads",
        outcome.acknowledged.len(),
        outcome.refused.len(),
        outcome.reads
    );
    assert_eq!(outcome.lost, 0);
    verify(&victim.server, &outcome);
    let inserted = bulk.inserted.to_string();
    assert_eq!(count_bulk(&victim.server), inserted);
    let victim = restart_after_kill(&disk, victim, &[]);
    verify(&victim.server, &outcome);
    assert_eq!(count_bulk(&victim.server), inserted);
}

/// What needs a longer WAL but no longer database file goes on without more room, long before a checkpoint is due.
fn updates() {
    let disk = Disk::mount(40);
    let victim = disk.start(&["engine.sqlite.checkpoint_interval=1h"]);
    create_tables(&victim.server);
    let mut client = connect(victim.server.port).expect("a connection");
    client.simple_query("checkpoint").expect("a checkpoint");
    disk.fill();
    // On a page of its own each.
    let accounts: Vec<_> = (0..20).map(|number| (number * 5000 + 1).to_string()).collect();
    let update = format!("update pgbench_accounts set abalance = abalance + 1 where aid in ({})", accounts.join(", "));
    let mut update = || match client.execute(&update, &[]) {
        Ok(_) => true,
        Err(error) if error.code().is_some_and(|code| code.code() == FULL) => false,
        Err(error) => panic!("{error:?}"),
    };
    for round in 0..3 {
        let (mut refused, mut done) = (0, 0);
        wait_until("the WAL is full", || {
            (0..10).for_each(|_| if update() { done += 1 } else { refused += 1 });
            refused > 0
        });
        let before = done;
        wait_until("updates go on", || {
            (0..10).for_each(|_| done += u32::from(update()));
            done > before + 20
        });
        println!("  round {round}: {before} updates until the WAL was full");
    }
}

fn checkpoint(seed: u64) {
    let settings = ["engine.sqlite.max_wal_size=1MB", "engine.sqlite.checkpoint_interval=100ms"];
    let disk = Disk::mount(80);
    let victim = disk.start(&settings);
    let server = &victim.server;
    create_tables(server);
    let mix = Mix { writers: 4, readers: 2, tolerated: &[FULL], ..Mix::default() };
    let load = Load::start(server.port, &mix, &Arc::new(AtomicU64::new(1)), seed);
    // From here on the database file has no free pages, and the WAL has room to be used again.
    let mut bulk = Bulk::new(server);
    let bytes = || fs::metadata(victim.database_file()).expect("the database").len();
    let before = bytes();
    wait_until("the database file grows", || bulk.insert() && bytes() > before);
    let salt = victim.wal_salt();
    wait_until("the WAL starts anew", || victim.wal_salt() != salt);
    disk.fill();
    // It fails because the WAL took, and clients were told of, what the database file has no room for.
    wait_until("a checkpoint fails", || {
        bulk.insert();
        server.log().contains("could not checkpoint")
    });
    reads_go_on(server, &load);
    wait_until("commits are refused once the WAL is full as well", || refusals(&load) > 20);
    reads_go_on(server, &load);
    disk.make_room();
    let (count, salt) = (load.count(), victim.wal_salt());
    wait_until("commits go on by themselves", || load.count() > count + 100);
    wait_until("checkpoints succeed again", || server.log().contains("succeed again"));
    wait_until("the WAL starts anew", || victim.wal_salt() != salt);
    let outcome = load.stop();
    println!(
        "  {} acknowledged, {} refused, {} reads",
        outcome.acknowledged.len(),
        outcome.refused.len(),
        outcome.reads
    );
    assert_eq!(outcome.lost, 0);
    verify(server, &outcome);
    let inserted = bulk.inserted.to_string();
    assert_eq!(count_bulk(server), inserted);
    let victim = restart_after_kill(&disk, victim, &settings);
    verify(&victim.server, &outcome);
    assert_eq!(count_bulk(&victim.server), inserted);
}
