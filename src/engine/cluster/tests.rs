//! Tests of the cluster directory, its roles and databases.

use super::*;
use crate::auth::Roles;
use crate::error::{Condition, Error};
use crate::settings::{Settings, Source};
use crate::sql::define::parse;
use crate::sql::types::TextContext;
use rusqlite::Connection;

/// A session's settings, its role being a superuser or not.
fn settings(connection: &Connection, user: &str) -> Settings {
    let mut settings = Settings::new();
    let superuser = Snapshot::load(connection).unwrap().role(user).is_some_and(|role| role.superuser);
    settings.set_default("is_superuser", if superuser { "on" } else { "off" }, Source::Internal).unwrap();
    settings
}

fn run(cluster: &Cluster, connection: &Connection, user: &str, text: &str) -> Result<(Vec<Error>, FileChange), Error> {
    let actor = Actor {
        connection,
        cluster,
        user,
        session_user: user,
        database: "postgres",
        text: &TextContext::default(),
        settings: &settings(connection, user),
        sessions: &|_| Vec::new(),
        end_sessions: &|_| Ok(()),
        dependents: &|_| Ok(Vec::new()),
    };
    execute(&parse(text)?.expect("a definition"), &actor)
}

#[test]
fn a_new_cluster_has_its_superuser_and_database_and_is_made_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    let cluster = init(&path, &InitOptions::default()).unwrap();
    let connection = Connection::open(cluster.global_file()).unwrap();
    let snapshot = Snapshot::load(&connection).unwrap();
    assert!(snapshot.role("postgres").unwrap().superuser);
    assert_eq!(snapshot.database("postgres").unwrap().oid, POSTGRES_DATABASE_OID);
    assert!(cluster.database_file(POSTGRES_DATABASE_OID).exists());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    assert_ne!(mock_secret(&connection).unwrap(), [0; 32]);
    assert!(matches!(init(&path, &InitOptions::default()), Err(ClusterError::NotEmpty(_))));
}

#[test]
fn newer_formats_and_other_directories_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    assert!(matches!(Cluster::open(directory.path()), Err(ClusterError::NotACluster(_))));
    let path = directory.path().join("data");
    init(&path, &InitOptions::default()).unwrap();
    fs::write(path.join(VERSION_FILE), "99\n").unwrap();
    assert!(matches!(Cluster::open(&path), Err(ClusterError::Foreign { found: 99, .. })));
    fs::write(path.join(VERSION_FILE), format!("{FORMAT_VERSION}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(Cluster::open(&path), Err(ClusterError::TooOpen { .. })));
}

#[test]
fn scram_needs_a_password_and_keeps_a_verifier() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    let mut options = InitOptions { authentication: Authentication::ScramSha256, ..InitOptions::default() };
    assert!(matches!(init(&path, &options), Err(ClusterError::PasswordNeeded(_))));
    options.password = Some("secret".into());
    let cluster = init(&path, &options).unwrap();
    let connection = Connection::open(cluster.global_file()).unwrap();
    let password = Snapshot::load(&connection).unwrap().role("postgres").unwrap().password.unwrap();
    assert!(password.starts_with("SCRAM-SHA-256$"));
    assert!(fs::read_to_string(path.join("pg_hba.conf")).unwrap().contains("scram-sha-256"));
}

#[test]
fn roles_and_databases_come_and_go_with_the_right_to() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = init(&directory.path().join("data"), &InitOptions::default()).unwrap();
    let connection = Connection::open(cluster.global_file()).unwrap();
    run(&cluster, &connection, "postgres", "create user app password 'x' connection limit 3").unwrap();
    let app = Snapshot::load(&connection).unwrap().role("app").unwrap();
    assert!(app.login && !app.superuser && app.connection_limit == 3 && app.oid >= 16384);
    let error = run(&cluster, &connection, "app", "create role other").unwrap_err();
    assert_eq!(
        (error.condition(), error.fields().message.as_str()),
        (Condition::InsufficientPrivilege, "permission denied to create role")
    );
    assert!(run(&cluster, &connection, "app", "alter role app superuser").is_err());
    run(&cluster, &connection, "app", "alter role app password 'y'").unwrap();
    assert_eq!(
        run(&cluster, &connection, "postgres", "create role app").unwrap_err().condition(),
        Condition::DuplicateObject
    );

    let (_, files) = run(&cluster, &connection, "postgres", "create database d owner app").unwrap();
    let FileChange::RemoveOnRollback(oid) = files else { panic!("{files:?}") };
    assert!(cluster.database_file(oid).exists());
    assert_eq!(
        run(&cluster, &connection, "postgres", "drop role app").unwrap_err().condition(),
        Condition::DependentObjectsStillExist
    );
    assert_eq!(
        run(&cluster, &connection, "postgres", "create database d").unwrap_err().condition(),
        Condition::DuplicateDatabase
    );
    assert_eq!(run(&cluster, &connection, "postgres", "drop database d").unwrap().1, FileChange::RemoveOnCommit(oid));
    cluster.remove_orphans(&Snapshot::load(&connection).unwrap()).unwrap();
    assert!(!cluster.database_file(oid).exists());
    let (notices, _) = run(&cluster, &connection, "postgres", "drop role if exists app, nobody").unwrap();
    assert_eq!(notices[0].fields().message, "role \"nobody\" does not exist, skipping");
}

#[test]
fn a_snapshot_is_read_again_after_a_change_only() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = init(&directory.path().join("data"), &InitOptions::default()).unwrap();
    let connection = Connection::open(cluster.global_file()).unwrap();
    let global = Global::load(&connection).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    run(&cluster, &connection, "postgres", "create role a in role postgres").unwrap();
    global.note_change();
    let version = global.prepare_commit(&connection, 1).unwrap();
    connection.execute_batch("COMMIT").unwrap();
    global.transaction_ended(&connection).unwrap();
    assert_eq!((version, global.snapshot().version()), (Some(2), 2));
    assert_eq!(global.snapshot().role("a").unwrap().memberships, ["postgres"]);
}
