//! What clients do all day: pgbench, psql, pg_dump.

use std::process::Command;

use crate::start::{own, start};
use crate::support::postgres_program;

#[test]
fn pgbench_in_every_mode_and_model() {
    for model in ["prefork", "fork-on-accept"] {
        let server = start(&["--model", model]);
        server.pgbench("postgres", &["-i", "-q", "-s", "1"]);
        for mode in ["simple", "extended", "prepared"] {
            let said = server.pgbench("postgres", &["-n", "-M", mode, "-c", "4", "-t", "20"]);
            assert!(said.contains("number of transactions actually processed: 80/80"), "{said}");
        }
        server.pgbench("postgres", &["-n", "-S", "-C", "-c", "4", "-t", "10"]);
        assert_eq!(server.query("select count(*) from pgbench_history"), "240");
    }
}

#[test]
fn more_sessions_at_a_time_than_a_pool_of_transactions_has() {
    let server = start(&["--set", "relay.pool_mode=transaction", "--set", "relay.default_pool_size=2"]);
    server.pgbench("postgres", &["-i", "-q", "-s", "1"]);
    // Not "prepared": there pgbench waits for one client's Parse while others of its have transactions open.
    server.pgbench("postgres", &["-n", "-M", "extended", "-c", "20", "-t", "10"]);
    assert_eq!(server.query("select count(*) from pgbench_history"), "200");
}

#[test]
fn as_many_sessions_as_there_may_be() {
    // In pool mode "session", each has a connection: the roles' own come on top.
    let server = start(&["--set", "pool.max_sessions=30", "--set", "pool.reserved_sessions=0"]);
    server.pgbench("postgres", &["-i", "-q", "-s", "1"]);
    server.pgbench("postgres", &["-n", "-S", "-c", "30", "-t", "10"]);
    assert_eq!(server.query("show max_connections"), "53");
}

#[test]
fn what_pg_dump_writes_can_be_read_again() {
    let server = start(&[]);
    server.pgbench("postgres", &["-i", "-q", "-s", "1"]);
    server.query("create view big as select aid from pgbench_accounts where abalance >= 0");
    server.query("create database copy");
    let dump = server.data.parent().expect("a folder").join("dump.sql");
    let output = server.client("pg_dump").arg("-f").arg(&dump).arg("postgres").output().expect("pg_dump");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut psql = server.client("psql");
    let output = psql.args(["-Xq", "-v", "ON_ERROR_STOP=1", "-d", "copy", "-f"]).arg(&dump).output().expect("psql");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(server.psql("copy", "select count(*) from big"), Ok("100000".to_owned()));
}

#[test]
fn a_reload_is_postgresqls_too() {
    let server = start(&[]);
    server.query("alter system set work_mem = '5MB'");
    let output = Command::new(env!("CARGO_BIN_EXE_pgprefork")).arg("reload").arg("--data").arg(&server.data).output();
    assert!(output.expect("reload").status.success());
    crate::support::wait_until("it is read", || server.query("show work_mem") == "5MB");
}

#[test]
fn nobody_else_reaches_it() {
    let server = start(&[]);
    assert_eq!(server.query("show listen_addresses"), "");
    let private = own(&server).join("../postgres.private");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&private).expect("it").permissions());
    assert_eq!(mode & 0o777, 0o700);
    // Whoever is not this user is kept out by the directory; PostgreSQL's own rules let nobody in by another way.
    assert!(private.join(".s.PGSQL.5432").exists());
    assert_eq!(server.query("select distinct type from pg_hba_file_rules"), "local");
    if nix::unistd::geteuid().is_root() {
        let mut psql = Command::new("setpriv");
        psql.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(postgres_program("psql"));
        psql.args(["-U", "postgres", "-d", "postgres", "-Atc", "select 1", "-h"]).arg(&private);
        let output = psql.output().expect("psql");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("Permission denied"), "{said}");
    }
}
