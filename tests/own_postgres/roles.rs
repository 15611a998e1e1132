//! Roles are PostgreSQL's, and are asked for their passwords at our door.

use std::fs;
use std::process::Command;

use crate::start::{start, start_on};
use crate::support::Server;

/// What a client of that name and password is told, or "in".
fn log_in(server: &Server, user: &str, password: &str, database: &str) -> String {
    let text = format!("host=127.0.0.1 port={} user={user} password={password} dbname={database}", server.port);
    match postgres::Client::connect(&text, postgres::NoTls) {
        Ok(mut client) => {
            let row = client.query_one("select current_user::text, session_user::text", &[]).expect("a row");
            assert_eq!((row.get::<_, &str>(0), row.get::<_, &str>(1)), (user, user));
            "in".to_owned()
        }
        Err(error) => {
            let error = error.as_db_error().unwrap_or_else(|| panic!("{error}"));
            format!("{} {}", error.code().code(), error.message())
        }
    }
}

/// Everybody but the superuser needs a password.
fn ask_for_passwords(server: &Server) {
    fs::write(server.data.join("pg_hba.conf"), "host all postgres all trust\nhost all all all scram-sha-256\n")
        .expect("the rules");
    let output = Command::new(env!("CARGO_BIN_EXE_pgprefork")).arg("reload").arg("--data").arg(&server.data).output();
    assert!(output.expect("reload").status.success());
    crate::support::wait_until("the rules are read", || server.log().contains("configuration reloaded"));
}

#[test]
fn roles_log_in_by_the_verifiers_that_postgresql_keeps() {
    let server = start(&[]);
    ask_for_passwords(&server);
    for sql in [
        "create role ann login password 'right'",
        "create role \"Strange \"\"Name\" login password 'right'",
        "create role old login password 'right' valid until '2001-01-01'",
        "create role young login password 'right' valid until 'infinity'",
        "create role without login",
        "create role group_only password 'right'",
        "create role single login password 'right' connection limit 0",
        "set password_encryption = md5; create role md5_user login password 'right'",
        "create database closed allow_connections false",
        "create database private; revoke connect on database private from public",
    ] {
        // CREATE DATABASE wants a transaction of its own.
        let parts: Vec<&str> = if sql.starts_with("set ") { vec![sql] } else { sql.split("; ").collect() };
        parts.into_iter().for_each(|part| drop(server.query(part)));
    }
    let failed = |user: &str| format!("28P01 password authentication failed for user \"{user}\"");
    for (user, password, database, expected) in [
        ("ann", "right", "postgres", "in".to_owned()),
        ("ann", "wrong", "postgres", failed("ann")),
        ("young", "right", "postgres", "in".to_owned()),
        ("old", "right", "postgres", failed("old")),
        ("without", "right", "postgres", failed("without")),
        ("nobody", "right", "postgres", failed("nobody")),
        // Its md5 hash is of no use to SCRAM.
        ("md5_user", "right", "postgres", failed("md5_user")),
        ("group_only", "right", "postgres", "28000 role \"group_only\" is not permitted to log in".to_owned()),
        ("single", "right", "postgres", "53300 too many connections for role \"single\"".to_owned()),
        ("ann", "right", "nowhere", "3D000 database \"nowhere\" does not exist".to_owned()),
        ("ann", "right", "closed", "55000 database \"closed\" is not currently accepting connections".to_owned()),
        ("ann", "right", "private", "42501 permission denied for database \"private\"".to_owned()),
    ] {
        assert_eq!(log_in(&server, user, password, database), expected, "{user} {password} {database}");
    }
    // At once, whatever is pooled.
    server.query("alter role ann password 'changed'");
    assert_eq!(log_in(&server, "ann", "right", "postgres"), failed("ann"));
    assert_eq!(log_in(&server, "ann", "changed", "postgres"), "in");
    server.query("alter role ann nologin");
    assert_eq!(log_in(&server, "ann", "changed", "postgres"), "28000 role \"ann\" is not permitted to log in");
    server.query("drop role ann");
    assert_eq!(log_in(&server, "ann", "changed", "postgres"), failed("ann"));
}

#[test]
fn members_of_a_role_are_known_to_the_access_rules() {
    let server = start(&[]);
    server.query("create role staff; create role seniors in role staff; create role ann login in role seniors");
    server.query("create role bob login");
    fs::write(server.data.join("pg_hba.conf"), "host all postgres,+staff all trust\n").expect("the rules");
    let output = Command::new(env!("CARGO_BIN_EXE_pgprefork")).arg("reload").arg("--data").arg(&server.data).output();
    assert!(output.expect("reload").status.success());
    crate::support::wait_until("the rules are read", || server.log().contains("configuration reloaded"));
    assert_eq!(log_in(&server, "ann", "x", "postgres"), "in");
    assert!(log_in(&server, "bob", "x", "postgres").starts_with("28000 no pg_hba.conf entry"));
}

#[test]
fn the_superuser_is_the_one_that_init_was_given() {
    let folder = tempfile::Builder::new().prefix("pgprefork-test-").tempdir().expect("a folder");
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("permissions");
    let (data, file) = (folder.path().join("data"), folder.path().join("pw"));
    fs::write(&file, "it's long\n").expect("a password");
    let mut init = Command::new(env!("CARGO_BIN_EXE_pgprefork"));
    init.args(["init", "--auth", "scram-sha-256", "--username", "Boss", "--pwfile"])
        .arg(&file)
        .arg("--data")
        .arg(&data);
    assert!(init.output().expect("init").status.success());
    let server = start_on(&data, &[]);
    let connect = |password: &str| {
        let mut config = postgres::Config::new();
        config.host("127.0.0.1").port(server.port).user("Boss").password(password).dbname("postgres");
        config.connect(postgres::NoTls)
    };
    let row =
        connect("it's long").expect("in").query_one("select rolname::text, oid from pg_roles where rolsuper", &[]);
    let row = row.expect("one superuser");
    assert_eq!((row.get::<_, &str>(0), row.get::<_, u32>(1)), ("Boss", 10));
    assert!(connect("wrong").is_err());
}
