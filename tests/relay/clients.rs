//! Real clients: psql, pgbench and a driver.

use postgres::NoTls;

use crate::place::{relay, upstream};

const MODES: [(&str, &[&str]); 2] = [("session", &[]), ("transaction", &["relay.default_pool_size=2"])];

#[test]
fn psql_and_a_driver_work_in_both_modes() {
    let upstream = upstream();
    for (mode, settings) in MODES {
        let server = relay(upstream.port, mode, settings);
        assert_eq!(server.query("select 1; select 2"), "1\n2");
        let error = server.psql("postgres", "select * from nowhere").unwrap_err();
        assert!(error.contains("42P01"), "{error}");
        let error = server.psql("no_such_database", "select 1").unwrap_err();
        assert!(error.contains("database \"no_such_database\" does not exist"), "{error}");
        let mut client = postgres::Client::connect(&server.connection_string(), NoTls).expect("a session");
        let statement = client.prepare("select $1::int8 + 1").expect("a statement");
        for number in 0..20_i64 {
            assert_eq!(client.query_one(&statement, &[&number]).expect("a row").get::<_, i64>(0), number + 1);
        }
        let mut transaction = client.transaction().expect("a transaction");
        assert!(transaction.execute("select 1/0", &[]).is_err());
        drop(transaction);
        assert_eq!(client.query_one("select 5", &[]).expect("a row").get::<_, i32>(0), 5);
    }
}

#[test]
fn pgbench_in_every_protocol_and_both_modes() {
    let upstream = upstream();
    for (mode, settings) in MODES {
        let server = relay(upstream.port, mode, settings);
        server.query("drop database if exists bench");
        server.query("create database bench");
        server.pgbench("bench", &["-i", "-q"]);
        for protocol in ["simple", "extended", "prepared"] {
            for script in [&["-S"][..], &["-N"], &["-b", "tpcb-like"]] {
                let common = ["-n", "-c", "4", "-j", "4", "-t", "25", "-M", protocol];
                let output = server.pgbench("bench", &[&common, script].concat());
                assert!(output.contains("number of transactions actually processed: 100/100"), "{output}");
                assert!(output.contains("failed transactions: 0 (0.000%)"), "{output}");
            }
        }
        let sums = "select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history),
            (select sum(tbalance) from pgbench_tellers) = (select sum(bbalance) from pgbench_branches),
            (select count(*) from pgbench_history)";
        assert_eq!(server.psql("bench", sums).expect("sums"), "t|t|600");
    }
}
