//! What clients do all day: pgbench, psql, pg_dump.

use std::fs;
use std::process::Command;

use crate::start::{own, start, start_on};
use crate::support::postgres_program;
use crate::wire::{Raw, shown};

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

#[test]
fn idle_connections_are_in_no_definitions_way() {
    for mode in ["session", "transaction"] {
        let server = start(&["--set", &format!("relay.pool_mode={mode}")]);
        server.query("create database shop");
        assert_eq!(server.psql("shop", "select current_database()"), Ok("shop".to_owned()));
        // Its connection lies in the pool.
        server.query("create database copy template shop");
        assert_eq!(server.psql("shop", "select 1"), Ok("1".to_owned()));
        server.query("alter database shop rename to store");
        assert_eq!(server.psql("store", "select current_database()"), Ok("store".to_owned()));
        server.query("drop database store");
        let told = server.psql("store", "select 1").expect_err("an error");
        assert!(told.contains("database \"store\" does not exist"), "{told}");
        // One that somebody uses is, as ever.
        let mut session = Raw::try_connect(server.port, &[("database", "copy")]).expect("a session");
        session.query("begin; select 1");
        let told = server.psql("postgres", "drop database copy").expect_err("an error");
        assert!(told.contains("55006") && told.contains("being accessed by other users"), "{told}");
    }
}

#[test]
fn new_sessions_begin_with_what_was_altered() {
    for mode in ["session", "transaction"] {
        let server = start(&["--set", &format!("relay.pool_mode={mode}")]);
        let mut open = Raw::connect(server.port);
        assert_eq!(open.query("show work_mem"), "T D(4MB) C(SHOW) Z(I)");
        server.query("alter role postgres set work_mem = '7MB'");
        assert_eq!(server.query("show work_mem"), "7MB", "{mode}");
        // In a block it counts when that is committed.
        open.query("begin; alter database postgres set work_mem = '8MB'; alter role postgres reset work_mem");
        assert_eq!(server.query("show work_mem"), "7MB", "{mode}");
        open.query("commit");
        open.close();
        assert_eq!(server.query("show work_mem"), "8MB", "{mode}");
    }
}

#[test]
fn a_limit_of_connections_counts_those_in_use() {
    let server = start(&[]);
    for sql in ["create role ann login connection limit 1", "create database shop"] {
        server.query(sql);
    }
    for database in ["postgres", "shop", "postgres"] {
        let names = [("user", "ann"), ("database", database)];
        let mut session = Raw::try_connect(server.port, &names).unwrap_or_else(|error| panic!("{database}: {error}"));
        assert_eq!(session.query("select 1"), "T D(1) C(SELECT 1) Z(I)");
        let refused = Raw::try_connect(server.port, &names).err();
        assert_eq!(refused.as_deref(), Some("53300 too many connections for role \"ann\""));
        session.close();
    }
}

#[test]
fn a_cancel_request_reaches_it() {
    let server = start(&[]);
    let mut session = Raw::connect(server.port);
    session.send(|out| out.query("select pg_sleep(1000)"));
    let sleeps = "select count(*) from pg_stat_activity where query like 'select pg_sleep%'";
    crate::support::wait_until("it sleeps", || server.query(sleeps) == "1");
    session.cancel();
    assert_eq!(shown(&session.until(b'Z')), "T E(57014) Z(I)");
}

#[test]
fn a_database_by_another_name_and_mode() {
    let store = "relay.databases={store = {dbname = \"shop\", pool_mode = \"transaction\", pool_size = 1}}";
    let server = start(&["--set", store]);
    server.query("create database shop");
    assert_eq!(server.psql("store", "select current_database()"), Ok("shop".to_owned()));
    let [mut a, mut b] = [(); 2].map(|()| Raw::try_connect(server.port, &[("database", "store")]).expect("a session"));
    let backend = a.query("select pg_backend_pid()");
    assert_eq!(b.query("select pg_backend_pid()"), backend, "they share one connection");
    assert_eq!(server.query("select 1"), "1");
}

#[test]
fn many_pairs_of_database_and_role() {
    let server = start(&["--set", "relay.max_server_connections=5"]);
    server.query("do $$ begin for i in 1..80 loop execute format('create role r%s login', i); end loop; end $$");
    for number in 1..=80 {
        let name = format!("r{number}");
        let mut session = Raw::try_connect(server.port, &[("user", &name)]).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(session.query("select current_user"), format!("T D({name}) C(SELECT 1) Z(I)"));
        session.close();
    }
}

#[test]
fn connections_are_as_many_as_at_the_start_whatever_a_reload_says() {
    let mut first = start(&[]);
    first.stop();
    let data = first.data.clone();
    fs::write(data.join("pgprefork.toml"), "[relay]\nmax_server_connections = 2\n").expect("settings");
    let server = start_on(&data, &["--set", "relay.query_wait_timeout=200ms"]);
    fs::write(data.join("pgprefork.toml"), "[relay]\nmax_server_connections = 50\n").expect("settings");
    let output = Command::new(env!("CARGO_BIN_EXE_pgprefork")).arg("reload").arg("--data").arg(&data).output();
    assert!(output.expect("reload").status.success());
    crate::support::wait_until("it is read", || server.log().contains("configuration reloaded"));
    let _two = [(); 2].map(|()| Raw::connect(server.port));
    assert_eq!(Raw::try_connect(server.port, &[]).err().as_deref(), Some("08006 query_wait_timeout"));
}
