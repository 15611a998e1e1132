//! An fdatasync that fails. What it should have covered can neither be acknowledged nor be synced by a second try,
//! because the kernel may have dropped it: so the server ends, or begins anew if only the disk was full.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::support::load::{Load, Mix, create_tables, verify};
use crate::support::wait_until;
use crate::victim::{Victim, open_directory};

pub const TESTS: &[crate::Test] = &[
    ("a_failed_sync_of_the_wal_ends_the_server", |seed| the_server_ends("syncing-wal", seed)),
    ("a_failed_sync_of_a_database_ends_the_server", |seed| the_server_ends("syncing-database", seed)),
    ("a_failed_sync_ends_a_server_without_sessions", a_server_without_sessions_ends),
    ("a_sync_of_the_wal_on_a_full_disk_begins_anew", the_server_begins_anew),
    ("a_sync_of_a_database_on_a_full_disk_is_done_again", a_checkpoint_is_done_again),
];

const SETTINGS: [&str; 3] =
    ["engine.sqlite.max_wal_size=1MB", "engine.sqlite.checkpoint_interval=100ms", "pool.sessions_per_worker=0"];

/// What clients are told whose commit a failed sync should have covered.
const CRASH_SHUTDOWN: &str = "57P02";

const MIX: Mix = Mix { writers: 4, connecting: 1, readers: 2, tolerated: &[CRASH_SHUTDOWN] };

/// A disk that fails is for somebody to look at.
fn the_server_ends(point: &str, seed: u64) {
    let directory = open_directory();
    let data = directory.path().join("data");
    let mut victim = Victim::start_on(&data, &[(point, "eio")], &SETTINGS);
    create_tables(&victim.server);
    let load = Load::start(victim.server.port, &MIX, &Arc::new(AtomicU64::new(1)), seed);
    wait_until("transactions commit", || load.count() > 100);
    victim.strike(point);
    assert_eq!(victim.server.wait(), Some(1), "{}", victim.server.log());
    let log = victim.server.log();
    assert!(log.contains("could not be synced: I/O error"), "{log}");
    drop(victim);
    let outcome = load.stop();
    println!(
        "  {} acknowledged, {} in doubt, {} told {CRASH_SHUTDOWN}",
        outcome.acknowledged.len(),
        outcome.in_doubt.len(),
        outcome.errors.get(CRASH_SHUTDOWN).unwrap_or(&0),
    );
    let victim = Victim::start_on(&data, &[], &SETTINGS);
    verify(&victim.server, &outcome);
}

/// The checkpointer alone comes upon it.
fn a_server_without_sessions_ends(_seed: u64) {
    let mut victim = Victim::start(&[("syncing-database", "eio")], &SETTINGS);
    victim.server.query("create table t (a int)");
    victim.strike("syncing-database");
    assert_eq!(victim.server.wait(), Some(1), "{}", victim.server.log());
}

fn the_server_begins_anew(seed: u64) {
    let victim = Victim::start(&[("syncing-wal", "enospc")], &SETTINGS);
    create_tables(&victim.server);
    let load = Load::start(victim.server.port, &MIX, &Arc::new(AtomicU64::new(1)), seed);
    for times in 1..=3 {
        let before = load.count();
        wait_until("transactions commit", || load.count() > before + 100);
        victim.strike("syncing-wal");
        let anew = "starting anew, because the disk is full";
        wait_until("the server begins anew", || victim.server.log().matches(anew).count() == times);
        let before = load.count();
        wait_until("commits go on by themselves", || load.count() > before + 100);
    }
    let outcome = load.stop();
    println!("  {} acknowledged, {} in doubt", outcome.acknowledged.len(), outcome.in_doubt.len());
    verify(&victim.server, &outcome);
}

/// Its pages are written anew from the WAL, so nobody has to notice.
fn a_checkpoint_is_done_again(seed: u64) {
    let victim = Victim::start(&[("syncing-database", "enospc")], &SETTINGS);
    create_tables(&victim.server);
    let load = Load::start(victim.server.port, &MIX, &Arc::new(AtomicU64::new(1)), seed);
    for times in 1..=3 {
        victim.strike("syncing-database");
        wait_until("checkpoints succeed again", || victim.server.log().matches("succeed again").count() == times);
        let salt = victim.wal_salt();
        wait_until("the WAL starts anew", || victim.wal_salt() != salt);
    }
    let outcome = load.stop();
    println!("  {} acknowledged", outcome.acknowledged.len());
    assert_eq!((outcome.lost, outcome.errors.len()), (0, 0), "a session noticed");
    verify(&victim.server, &outcome);
}
