//! pgbench as its users run it: every way of filling the tables, every built-in script in every query mode, with
//! kept connections and with one connection a transaction, and scripts of one's own.

mod support;

use support::Server;

/// Ways of filling the tables: the database's name, pgbench's arguments.
const INITIALISATIONS: &[(&str, &[&str])] = &[
    ("plain", &["-i", "-I", "dtgvp"]),
    ("server_side", &["-i", "-I", "dtGvpf"]),
    ("foreign_keys", &["-i", "--foreign-keys", "--fillfactor=90"]),
    ("unlogged", &["-i", "--unlogged-tables", "--tablespace=pg_default", "--index-tablespace=pg_default"]),
    ("by_range", &["-i", "--partitions=3", "--partition-method=range"]),
    ("by_hash", &["-i", "--partitions=4", "--partition-method=hash", "--foreign-keys"]),
    ("keys_first", &["-i", "-I", "dtpgv"]),
];

const SCRIPTS: &[&str] = &["tpcb-like", "simple-update", "select-only"];
const MODES: &[&str] = &["simple", "extended", "prepared"];

fn sums_agree(server: &Server, database: &str) {
    let sums = server
        .psql(
            database,
            "select (select sum(abalance) from pgbench_accounts), (select sum(tbalance) from pgbench_tellers), \
             (select sum(bbalance) from pgbench_branches), (select coalesce(sum(delta), 0) from pgbench_history)",
        )
        .expect("sums");
    let sums: Vec<&str> = sums.split('|').collect();
    assert_eq!(sums.len(), 4);
    assert!(sums.iter().all(|sum| *sum == sums[0]), "{database}: sums differ: {sums:?}");
}

fn processed(output: &str) -> &str {
    output.lines().find_map(|line| line.strip_prefix("number of transactions actually processed: ")).unwrap_or(output)
}

#[test]
fn every_initialisation_runs_every_script_in_every_mode() {
    let server = Server::start(&[]);
    for (database, initialise) in INITIALISATIONS {
        server.query(&format!("create database {database}"));
        server.pgbench(database, initialise);
        let accounts = server.psql(database, "select count(*), min(aid), max(aid) from pgbench_accounts");
        assert_eq!(accounts.as_deref(), Ok("100000|1|100000"), "{database}");
        let mut history = 0;
        for script in SCRIPTS {
            for mode in MODES {
                for connect in [&[][..], &["-C"][..]] {
                    let mut arguments = vec!["-n", "-b", script, "-M", mode, "-c", "4", "-j", "2", "-t", "10"];
                    arguments.extend_from_slice(connect);
                    let output = server.pgbench(database, &arguments);
                    assert_eq!(processed(&output), "40/40", "{database} {arguments:?}\n{output}");
                    if *script != "select-only" {
                        history += 40;
                    }
                }
            }
        }
        let rows = server.psql(database, "select count(*) from pgbench_history").expect("count");
        assert_eq!(rows, history.to_string(), "{database}");
        // simple-update leaves tellers and branches alone: only the other two sums can agree.
        let sums = server.psql(database, "select sum(abalance) from pgbench_accounts").expect("sum");
        assert_eq!(server.psql(database, "select sum(delta) from pgbench_history"), Ok(sums), "{database}");
        // As pgbench itself begins a run without -n.
        let output = server.pgbench(database, &["-b", "tpcb-like", "-c", "2", "-t", "5"]);
        assert_eq!(processed(&output), "10/10");
        assert_eq!(server.psql(database, "select count(*) from pgbench_history"), Ok("10".into()), "{database}");
    }
}

#[test]
fn sums_agree_in_both_models_and_with_reuse() {
    let ways: [&[&str]; 4] = [
        &["--model", "fork-on-accept"],
        &["--model", "prefork"],
        &["--model", "prefork", "--set", "pool.sessions_per_worker=0"],
        &["--model", "prefork", "--set", "pool.sessions_per_worker=3"],
    ];
    for way in ways {
        let server = Server::start(way);
        server.pgbench("postgres", &["-i", "-I", "dtGvp"]);
        for arguments in [&["-c", "8", "-j", "2", "-t", "25"][..], &["-c", "8", "-j", "2", "-t", "10", "-C"]] {
            server.pgbench("postgres", &[&["-n"], arguments].concat());
            sums_agree(&server, "postgres");
        }
        assert_eq!(server.query("select count(*) from pgbench_history"), "280", "{way:?}");
    }
}

#[test]
fn scripts_of_ones_own() {
    let server = Server::start(&[]);
    server.pgbench("postgres", &["-i"]);
    for script in ["pipeline.sql", "gset.sql", "aset.sql"] {
        let path = format!("{}/examples/pgbench/{script}", env!("CARGO_MANIFEST_DIR"));
        let modes: &[&str] = if script == "pipeline.sql" { &["extended", "prepared"] } else { MODES };
        // \aset works on combined statements, which the extended protocol refuses.
        let modes = if script == "aset.sql" { &["simple"] } else { modes };
        for mode in modes {
            let output = server.pgbench(
                "postgres",
                &["-n", "-f", &path, "-M", mode, "-c", "4", "-j", "2", "-t", "20", "--max-tries=3"],
            );
            assert_eq!(processed(&output), "80/80", "{script} {mode}\n{output}");
        }
    }
}

#[test]
fn rows_outside_every_partition_are_refused() {
    let server = Server::start(&[]);
    server.pgbench("postgres", &["-i", "--partitions=2"]);
    server.query("create table measured (day int not null, value int) partition by range (day)");
    server.query("create table measured_1 partition of measured for values from (1) to (10)");
    server.query("insert into measured values (1, 1), (9, 9)");
    let error = server.psql("postgres", "insert into measured values (10, 10)").expect_err("outside");
    assert!(
        error.contains("23514") && error.contains("no partition of relation \"measured\" found for row"),
        "{error}"
    );
    assert_eq!(server.query("select count(*) from measured_1"), "2");
    let parts =
        server.query("select (select count(*) from pgbench_accounts_1) + (select count(*) from pgbench_accounts_2)");
    assert_eq!(parts, "100000");
}

#[test]
fn foreign_keys_are_enforced() {
    let server = Server::start(&[]);
    server.pgbench("postgres", &["-i", "--foreign-keys"]);
    let error =
        server.psql("postgres", "insert into pgbench_tellers values (99, 99, 0, '')").expect_err("no such branch");
    assert!(error.contains("23503") && error.contains("pgbench_tellers_bid_fkey"), "{error}");
    let error = server.psql("postgres", "delete from pgbench_branches").expect_err("still referenced");
    assert!(error.contains("23503"), "{error}");
}
