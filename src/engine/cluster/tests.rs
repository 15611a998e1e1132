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
fn other_formats_and_other_directories_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    assert!(matches!(Cluster::open(directory.path()), Err(ClusterError::NotACluster(_))));
    let path = directory.path().join("data");
    init(&path, &InitOptions::default()).unwrap();
    for other in [FORMAT_VERSION - 1, 99] {
        fs::write(path.join(VERSION_FILE), format!("{other}\n")).unwrap();
        assert!(matches!(Cluster::open(&path), Err(ClusterError::Foreign { found, .. }) if found == other));
    }
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

#[test]
fn stored_settings_count_by_how_close_they_are_and_go_with_what_they_are_for() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = init(&directory.path().join("data"), &InitOptions::default()).unwrap();
    let connection = Connection::open(cluster.global_file()).unwrap();
    let change = |user: &str, text: &str| run(&cluster, &connection, user, text).map(|(notices, _)| notices);
    let stored = |database: u32, role: u32| -> Vec<(Source, String)> {
        let snapshot = Snapshot::load(&connection).unwrap();
        snapshot.settings_of(database, role).into_iter().map(|stored| (stored.source, stored.value)).collect()
    };
    change("postgres", "create role ann").unwrap();
    change("postgres", "create role bob").unwrap();
    change("postgres", "create database shop owner ann").unwrap();
    let snapshot = Snapshot::load(&connection).unwrap();
    let (ann, shop) = (snapshot.role_row("ann").unwrap().oid, snapshot.database("shop").unwrap().oid);
    assert!(stored(shop, ann).is_empty());
    change("postgres", "alter role all set work_mem = '1MB'").unwrap();
    change("ann", "alter database shop set work_mem = '2MB'").unwrap();
    change("ann", "alter role ann set work_mem = '3MB'").unwrap();
    change("ann", "alter role ann in database shop set work_mem = '4MB'").unwrap();
    let all = [
        (Source::DatabaseUser, "4MB".to_owned()),
        (Source::User, "3MB".to_owned()),
        (Source::Database, "2MB".to_owned()),
        (Source::Global, "1MB".to_owned()),
    ];
    assert_eq!(stored(shop, ann), all);
    assert_eq!(stored(shop, 1), all[2..]);
    assert_eq!(stored(1, ann), [all[1].clone(), all[3].clone()]);
    for text in [
        "alter role ann set work_mem = '1MB'",
        "alter role all reset all",
        "alter database shop reset all",
        "alter role all in database shop reset work_mem",
        "alter role postgres set work_mem = '1MB'",
    ] {
        assert_eq!(change("bob", text).unwrap_err().condition(), Condition::InsufficientPrivilege, "{text}");
    }
    // Others may use a database's name for their own settings.
    change("bob", "alter role bob in database shop set work_mem = '5MB'").unwrap();
    assert_eq!(
        change("ann", "alter role ann set role = bob").unwrap()[0].condition(),
        Condition::InsufficientPrivilege
    );
    let long = format!("alter role ann set search_path = '{}'", "x".repeat(9000));
    assert_eq!(change("ann", &long).unwrap_err().condition(), Condition::ProgramLimitExceeded);
    // What the role may not set itself stays.
    change("postgres", "alter role ann set log_statement = 'all'").unwrap();
    change("ann", "alter role ann reset all").unwrap();
    assert_eq!(stored(1, ann), [(Source::User, "all".to_owned()), all[3].clone()]);
    change("postgres", "drop database shop").unwrap();
    change("postgres", "drop role ann").unwrap();
    let left: Vec<_> = Snapshot::load(&connection).unwrap().settings_keys().collect();
    assert_eq!(left, [(0, 0)]);
}

#[test]
fn a_database_is_given_to_those_only_whom_its_owner_may_become() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = init(&directory.path().join("data"), &InitOptions::default()).unwrap();
    let connection = Connection::open(cluster.global_file()).unwrap();
    let change = |user: &str, text: &str| run(&cluster, &connection, user, text).map(|(notices, _)| notices);
    let message = |result: Result<Vec<Error>, Error>| result.unwrap_err().fields().message.clone();
    for text in ["create role ann createdb", "create role bob", "create role crew", "grant crew to ann, bob"] {
        change("postgres", text).unwrap();
    }
    change("ann", "create database shop").unwrap();
    assert_eq!(message(change("ann", "alter database shop owner to bob")), "must be member of role \"bob\"");
    change("ann", "alter database shop owner to crew").unwrap();
    assert_eq!(
        message(change("bob", "alter database shop owner to bob")),
        "permission denied to change owner of database"
    );
    assert_eq!(message(change("bob", "alter database shop rename to x")), "permission denied to rename database");
    change("bob", "alter database shop is_template on").unwrap();
    assert_eq!(message(change("ann", "drop database shop")), "cannot drop a template database");
    assert_eq!(
        message(change("ann", "create database x template shop")),
        "template \"shop\" of a database is not supported"
    );
    change("ann", "alter database shop is_template off").unwrap();
    change("ann", "drop database shop").unwrap();
}
