//! Who is let in, and how the worker logs in upstream: `auth_query`, SCRAM pass-through, md5 hashes, peer.

use std::fs;
use std::path::Path;

use postgres::NoTls;

use crate::place::{arguments, strings};
use crate::support::Server;
use crate::support::postgresql::PostgreSql;

/// A PostgreSQL that asks everybody but its superuser for a password: `md5_user` by md5, others by SCRAM.
fn upstream() -> PostgreSql {
    let upstream = PostgreSql::start(&[]);
    sql(&upstream, "create role asker superuser login password 'asking'");
    let rules = "local all service peer map=relay\nlocal all all reject\nhost all postgres all trust\n\
                 host all md5_user all md5\nhost all all all scram-sha-256\n";
    fs::write(upstream.data.join("pg_hba.conf"), rules).expect("its rules");
    fs::write(upstream.data.join("pg_ident.conf"), "relay /^.*$ service\n").expect("its map");
    sql(&upstream, "select pg_reload_conf()");
    crate::support::wait_until("PostgreSQL asks for passwords", || {
        log_in(upstream.port, "asker", "wrong", "postgres").starts_with("28P01")
    });
    upstream
}

fn sql(upstream: &PostgreSql, text: &str) -> Vec<String> {
    let target = format!("host=127.0.0.1 port={} user=postgres dbname=postgres", upstream.port);
    let mut client = postgres::Client::connect(&target, NoTls).expect("the superuser");
    let messages = client.simple_query(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let first = |message| match message {
        postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    };
    messages.into_iter().filter_map(first).collect()
}

/// What a client of that name and password is told, or as whom it is in.
fn log_in(port: u16, user: &str, password: &str, database: &str) -> String {
    log_in_with(port, user, password, database, "")
}

fn log_in_with(port: u16, user: &str, password: &str, database: &str, options: &str) -> String {
    let mut config = postgres::Config::new();
    config.host("127.0.0.1").port(port).user(user).dbname(database).options(options);
    if !password.is_empty() {
        config.password(password);
    }
    match config.connect(NoTls) {
        Ok(mut client) => match client.query_one("select session_user::text", &[]) {
            Ok(row) => format!("in as {}", row.get::<_, &str>(0)),
            Err(error) => told(&error),
        },
        Err(error) => told(&error),
    }
}

fn told(error: &postgres::Error) -> String {
    let Some(error) = error.as_db_error() else { return error.to_string() };
    let detail = error.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
    format!("{} {}{detail}", error.code().code(), error.message())
}

fn failed(user: &str) -> String {
    format!("28P01 password authentication failed for user \"{user}\"")
}

/// Files that a relay reads.
fn files(rules: &str, users: &str) -> (tempfile::TempDir, Vec<String>) {
    let folder = tempfile::Builder::new().prefix("relay-login-").tempdir().expect("a directory");
    let open = |path: &Path, mode| {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("permissions");
    };
    open(folder.path(), 0o755);
    let mut settings = Vec::new();
    for (name, key, text) in [("rules", "auth.hba_file", rules), ("users", "relay.auth_file", users)] {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("a file");
        open(&path, 0o644);
        settings.push(format!("{key}={}", path.display()));
    }
    (folder, settings)
}

/// A relay with those rules, users and settings.
fn relay(
    upstream: &PostgreSql,
    mode: &str,
    rules: &str,
    users: &str,
    settings: &[&str],
) -> (tempfile::TempDir, Server) {
    let (folder, mut all) = files(rules, users);
    all.extend(settings.iter().map(|setting| (*setting).to_owned()));
    (folder, Server::start(&strings(&arguments(upstream.port, mode, &strings(&all)))))
}

const SCRAM: &str = "host all md5_user all md5\nhost all all all scram-sha-256\n";
const ASKER: &str = "\"asker\" \"asking\"\n\"listed\" \"from the file\"\n";

#[test]
fn auth_query_lets_in_whom_postgresql_lets_in_with_the_keys_of_the_clients_proof() {
    let upstream = upstream();
    for role in [
        "create role ann login password 'right'",
        "create role listed login password 'from the file'",
        "create role \"Strange \"\"Na'me\" login password 'right'",
        "create role old login password 'right' valid until '2001-01-01'",
        "create role young login password 'right' valid until 'infinity'",
        "create role without login",
        "create role group_only password 'right'",
        "set password_encryption = md5; create role md5_user login password 'right'",
    ] {
        sql(&upstream, role);
    }
    for mode in ["session", "transaction"] {
        let (_files, server) = relay(&upstream, mode, SCRAM, ASKER, &["relay.auth_user=asker"]);
        let as_user = |user: &str| format!("in as {user}");
        for (user, password, expected) in [
            ("ann", "right", as_user("ann")),
            ("ann", "right", as_user("ann")),
            ("ann", "wrong", failed("ann")),
            ("listed", "from the file", as_user("listed")),
            ("Strange \"Na'me", "right", as_user("Strange \"Na'me")),
            ("young", "right", as_user("young")),
            ("md5_user", "right", as_user("md5_user")),
            ("md5_user", "wrong", failed("md5_user")),
            ("old", "right", failed("old")),
            ("without", "right", failed("without")),
            ("group_only", "right", failed("group_only")),
            ("nobody", "right", failed("nobody")),
            ("' or true --", "right", failed("' or true --")),
        ] {
            let found = log_in(server.port, user, password, "postgres");
            assert_eq!(found, expected, "{mode} {user} {password}\n{}", server.log());
        }
        // Nothing is remembered.
        sql(&upstream, "alter role ann password 'changed'");
        assert_eq!(log_in(server.port, "ann", "right", "postgres"), failed("ann"));
        assert_eq!(log_in(server.port, "ann", "changed", "postgres"), "in as ann");
        sql(&upstream, "alter role ann password 'right'");
        let asked = "select count(*) from pg_stat_activity where usename = 'asker'";
        assert_eq!(sql(&upstream, asked), ["1"], "one connection for all questions");
        let pools: Vec<_> = server.pools().map(|pool| pool.name).collect();
        assert!(pools.contains(&"postgres (auth_query) asker".to_owned()), "{pools:?}");
        let log = server.log();
        let hash = sql(&upstream, "select rolpassword from pg_authid where rolname = 'md5_user'").concat();
        for secret in ["right", "asking", "SCRAM-SHA-256$", &hash] {
            assert!(!log.contains(secret), "{secret}: {log}");
        }
    }
}

#[test]
fn who_a_client_is_can_be_asked_when_sessions_have_all_connections() {
    let upstream = upstream();
    sql(&upstream, "create role ann login password 'right'");
    let settings = ["relay.auth_user=asker", "relay.max_server_connections=1"];
    let (_files, server) = relay(&upstream, "session", SCRAM, ASKER, &settings);
    let target = format!("host=127.0.0.1 port={} user=ann password=right dbname=postgres", server.port);
    let mut holder = postgres::Client::connect(&target, NoTls).expect("a session");
    assert_eq!(log_in(server.port, "ann", "wrong", "postgres"), failed("ann"));
    assert_eq!(log_in(server.port, "nobody", "wrong", "postgres"), failed("nobody"));
    assert_eq!(holder.query_one("select 1", &[]).expect("a row").get::<_, i32>(0), 1);
}

#[test]
fn answers_of_auth_query_that_are_none() {
    let upstream = upstream();
    sql(&upstream, "create role ann login password 'right'; create schema evil");
    sql(
        &upstream,
        "create function find(name text) returns table (a text, b text) language sql security definer as \
                    'select rolname, rolpassword from pg_authid where rolname = name'",
    );
    sql(
        &upstream,
        "create function evil.find(name text) returns table (a text, b text) language sql as \
                    $$ select name, 'guessed'::text $$",
    );
    let place = format!("host = \"127.0.0.1\", port = {}, dbname = \"postgres\"", upstream.port);
    let databases: Vec<_> = [
        ("usual", "select * from find($1)"),
        ("several", "select a, b from (values ($1, 'wrong'), ($1, (select b from find($1)))) v (a, b)"),
        ("three", "select $1::text, 2, 3"),
        ("another", "select 'ann2'::text, b from find($1)"),
        ("nameless", "select null::text, b from find($1)"),
        ("failing", "select $1::text, (1 / 0)::text"),
        ("slow", "select $1::text, pg_sleep(600)::text"),
    ]
    .into_iter()
    .map(|(name, query)| format!("{name} = {{{place}, auth_query = \"{query}\"}}"))
    .collect();
    let databases = format!(
        "relay.databases={{{}, lost = {{host = \"127.0.0.1\", port = 1}}, elsewhere = {{{place}, auth_user = \"nobody\"}}, \
         named = {{host = \"127.0.0.1\", port = 1, auth_dbname = \"usual\"}}}}",
        databases.join(", ")
    );
    let settings = [
        databases.as_str(),
        "relay.auth_user=asker",
        "relay.auth_user_password=asking",
        "auth.authentication_timeout=3s",
        // A host that cannot be reached is waited for.
        "relay.query_wait_timeout=1s",
    ];
    let (_files, server) = relay(&upstream, "session", SCRAM, "\"listed\" \"x\"\n", &settings);
    let ann = |database: &str| log_in(server.port, "ann", "right", database);
    for (database, expected) in [
        ("usual", "in as ann"),
        ("several", "in as ann"),
        ("three", "08P01 expected 2 columns from auth_query, not 3"),
        ("another", &failed("ann")),
        ("nameless", "08P01 auth_query response contained null user name"),
        ("failing", "08P01 error response from auth_query"),
        ("nowhere", &failed("ann")),
        ("pgprefork", &failed("ann")),
        ("lost", "08006 server login failed: the connection for auth_query could not be made"),
        ("elsewhere", "08006 server login failed: the connection for auth_query could not be made"),
    ] {
        assert_eq!(ann(database), expected, "{database}\n{}", server.log());
    }
    assert!(ann("named").starts_with("08006 could not connect to upstream server 127.0.0.1:1"), "{}", ann("named"));
    // What the client sets does not reach the statement that looks it up.
    let evil = "-c search_path=evil";
    assert_eq!(log_in_with(server.port, "ann", "guessed", "usual", evil), failed("ann"));
    assert_eq!(log_in_with(server.port, "ann", "right", "usual", evil), "in as ann");
    let log = server.log();
    assert!(log.contains("error in auth_query") && log.contains("division by zero"), "{log}");
    let slow = ann("slow");
    assert!(!slow.starts_with("in") && server.log().contains("timeout"), "{slow}\n{}", server.log());
    // The connection that was asked is closed, and the statement with it.
    crate::support::wait_until("the statement has ended", || {
        sql(
            &upstream,
            "select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep(600)%' and \
                        pid <> pg_backend_pid()",
        );
        ann("usual") == "in as ann"
    });
}

#[test]
fn stored_hashes_and_verifiers_log_in_upstream_where_they_fit() {
    let upstream = upstream();
    sql(&upstream, "create role ann login password 'right'; create role bob login password 'right'");
    sql(
        &upstream,
        "create role service login; set password_encryption = md5; create role md5_user login password 'right'",
    );
    let stored =
        |role: &str| sql(&upstream, &format!("select rolpassword from pg_authid where rolname = '{role}'")).concat();
    let (ann, bob, md5) = (stored("ann"), stored("bob"), stored("md5_user"));
    let md5_of_ann = sql(&upstream, "select 'md5' || md5('rightann')").concat();
    let rules =
        "host open all all trust\nhost clear all all password\nhost md5 all all md5\nhost all all all scram-sha-256\n";
    let place = format!("host = \"127.0.0.1\", port = {}, dbname = \"postgres\"", upstream.port);
    let socket = upstream.data.display();
    let databases = format!(
        "relay.databases={{\"*\" = {{{place}}}, peer = {{host = \"{socket}\", port = {port}, dbname = \"postgres\", user = \
         \"service\"}}, forced = {{{place}, user = \"bob\"}}}}",
        port = upstream.port
    );
    let start = |users: &str| relay(&upstream, "session", rules, users, &[&databases]);

    let users = format!("\"ann\" \"{ann}\"\n\"bob\" \"{bob}\"\n\"md5_user\" \"{md5}\"\n");
    let (_files, server) = start(&users);
    let wrong_type = |detail: &str| format!("08006 server login failed: wrong password type ({detail})");
    let no_keys = wrong_type(
        "cannot do SCRAM authentication: password is SCRAM secret but client authentication did not provide SCRAM keys",
    );
    for (user, database, expected) in [
        // Nobody has logged in yet: there is no connection of hers to be lent.
        ("ann", "open", no_keys.clone()),
        ("ann", "clear", no_keys.clone()),
        ("ann", "scram", "in as ann".to_owned()),
        ("ann", "md5", "in as ann".to_owned()),
        ("md5_user", "md5", "in as md5_user".to_owned()),
        // The keys are ann's, the role upstream is another.
        ("ann", "forced", no_keys),
        // The kernel says who the relay is.
        ("ann", "peer", "in as service".to_owned()),
    ] {
        assert_eq!(log_in(server.port, user, "right", database), expected, "{user} {database}\n{}", server.log());
    }
    // The same password with another salt, and a hash that is of no use to SCRAM.
    let (_files, server) = start(&format!("\"ann\" \"{bob}\"\n"));
    let other = "08006 SCRAM with the upstream server: its SCRAM secret has another salt or iteration count than the stored one";
    assert_eq!(log_in(server.port, "ann", "right", "scram"), other);
    let (_files, server) = start(&format!("\"ann\" \"{md5_of_ann}\"\n"));
    let expected = wrong_type("cannot do SCRAM authentication: wrong password type");
    assert_eq!(log_in(server.port, "ann", "right", "md5"), expected);
}
