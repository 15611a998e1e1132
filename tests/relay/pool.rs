//! Getting a connection: cancelling, waiting in line, time-outs, log-ins that the server upstream refuses, reload.

use std::sync::mpsc::channel;

use nix::sys::signal::Signal;

use crate::place::{relay, upstream};
use crate::support::{Server, wait_until};
use crate::wire::{Raw, shown};

/// Waits until so many sessions wait for a lock of that key upstream.
fn locks_waited_for(port: u16, key: u32, count: usize) {
    let mut raw = Raw::connect(port);
    let sql = format!("select count(*) from pg_locks where locktype = 'advisory' and objid = {key} and not granted");
    wait_until("the lock is waited for", || raw.query(&sql).contains(&format!("D({count})")));
}

#[test]
fn a_running_statement_is_cancelled_and_nobody_elses() {
    let upstream = upstream();
    for mode in ["session", "transaction"] {
        let server = relay(upstream.port, mode, &["relay.default_pool_size=2"]);
        let mut holder = Raw::connect(upstream.port);
        holder.query("select pg_advisory_lock(101)");
        let (mut a, mut b) = (Raw::connect(server.port), Raw::connect(server.port));
        a.send(|out| out.query("select pg_advisory_xact_lock(101)"));
        b.send(|out| out.query("select pg_advisory_xact_lock(101)"));
        locks_waited_for(upstream.port, 101, 2);
        a.cancel();
        assert_eq!(shown(&a.until(b'Z')), "T E(57014) Z(I)");
        // Nothing is running: nothing is cancelled.
        a.cancel();
        assert_eq!(a.query("select 1"), "T D(1) C(SELECT 1) Z(I)");
        holder.query("select pg_advisory_unlock(101)");
        assert_eq!(shown(&b.until(b'Z')), "T D() C(SELECT 1) Z(I)");
        // In a transaction, extended, with more behind it.
        holder.query("select pg_advisory_lock(101)");
        a.query("begin");
        a.send(|out| {
            out.parse("", "select pg_advisory_xact_lock(101)", &[]);
            out.bind("", "", pgprefork::protocol::Format::Text, &[], pgprefork::protocol::Format::Text);
            out.execute("", 0);
            out.execute("", 0);
            out.sync();
        });
        locks_waited_for(upstream.port, 101, 1);
        a.cancel();
        assert_eq!(shown(&a.until(b'Z')), "1 2 E(57014) Z(E)");
        assert_eq!(a.query("rollback"), "C(ROLLBACK) Z(I)");
    }
}

#[test]
fn a_wait_for_a_connection_is_cancelled() {
    let upstream = upstream();
    let server = relay(upstream.port, "transaction", &["relay.default_pool_size=1"]);
    let (mut holder, mut waiter) = (Raw::connect(server.port), Raw::connect(server.port));
    assert_eq!(holder.query("begin"), "C(BEGIN) Z(T)");
    waiter.send(|out| out.query("select 1"));
    wait_until("it waits", || server.waiting() == 1);
    waiter.cancel();
    assert_eq!(shown(&waiter.until(b'Z')), "E(57014) Z(I)");
    waiter.send(|out| {
        out.parse("", "select 1", &[]);
        out.describe_statement("");
        out.flush();
    });
    wait_until("it waits", || server.waiting() == 1);
    waiter.cancel();
    assert_eq!(shown(&waiter.until(b'E')), "E(57014)");
    waiter.send(|out| {
        out.execute("", 0);
        out.sync();
    });
    assert_eq!(shown(&waiter.until(b'Z')), "Z(I)");
    assert_eq!(holder.query("commit"), "C(COMMIT) Z(I)");
    assert_eq!(waiter.query("select 2"), "T D(2) C(SELECT 1) Z(I)");
}

#[test]
fn who_waits_too_long_is_told_and_leaves() {
    let upstream = upstream();
    let settings = ["relay.default_pool_size=1", "relay.query_wait_timeout=300ms"];
    let server = relay(upstream.port, "transaction", &settings);
    let (mut holder, mut waiter) = (Raw::connect(server.port), Raw::connect(server.port));
    holder.query("begin");
    waiter.send(|out| out.query("select 1"));
    assert_eq!(shown(&waiter.until_end()), "E(08006)");
    // In session mode it is the log-in that waits.
    assert_eq!(holder.query("commit"), "C(COMMIT) Z(I)");
    let server = relay(upstream.port, "session", &settings);
    let holder = Raw::connect(server.port);
    assert_eq!(Raw::try_connect(server.port, &[]).err().as_deref(), Some("08006 query_wait_timeout"));
    holder.close();
    wait_until("the place is free", || Raw::try_connect(server.port, &[]).is_ok());
}

#[test]
fn waiting_is_first_come_first_served() {
    let upstream = upstream();
    let server = relay(upstream.port, "transaction", &["relay.default_pool_size=1"]);
    let mut holder = Raw::connect(server.port);
    let mut waiters: Vec<_> = (0..8).map(|_| Raw::connect(server.port)).collect();
    holder.query("create table line (number serial, who int)");
    holder.query("begin");
    for (number, waiter) in waiters.iter_mut().enumerate() {
        waiter.send(|out| out.query(&format!("insert into line (who) values ({number})")));
        wait_until("it waits", || server.waiting() == number + 1);
    }
    assert_eq!(holder.query("commit"), "C(COMMIT) Z(I)");
    for waiter in &mut waiters {
        assert_eq!(shown(&waiter.until(b'Z')), "C(INSERT 0 1) Z(I)");
    }
    assert_eq!(
        holder.query("select string_agg(who::text, '' order by number) from line"),
        "T D(01234567) C(SELECT 1) Z(I)"
    );
    holder.query("drop table line");
}

#[test]
fn nobody_starves_with_many_clients_on_few_connections() {
    let upstream = upstream();
    let server = relay(upstream.port, "transaction", &["relay.default_pool_size=2"]);
    let (done, counts) = channel();
    std::thread::scope(|scope| {
        for number in 0..24 {
            let (done, port) = (done.clone(), server.port);
            scope.spawn(move || {
                let mut raw = Raw::connect(port);
                for turn in 0..20 {
                    raw.query("begin");
                    assert_eq!(
                        raw.query(&format!("select {number}, {turn}")),
                        format!("T D({number},{turn}) C(SELECT 1) Z(T)")
                    );
                    assert_eq!(raw.query("commit"), "C(COMMIT) Z(I)");
                }
                raw.close();
                done.send(number).expect("the test");
            });
        }
    });
    assert_eq!(counts.try_iter().count(), 24);
    assert!(server.connections() <= 2, "{}", server.connections());
}

#[test]
fn what_the_server_upstream_refuses_is_told() {
    let upstream = upstream();
    let mut admin = Raw::connect(upstream.port);
    admin.query("create role nologin nologin");
    let server = relay(upstream.port, "transaction", &[]);
    let login = |server: &Server, user, database| {
        Raw::try_connect(server.port, &[("user", user), ("database", database)]).err()
    };
    let refused = login(&server, "nobody_knows", "postgres");
    assert_eq!(refused.as_deref(), Some("28000 role \"nobody_knows\" does not exist"));
    let refused = login(&server, "postgres", "nowhere");
    assert_eq!(refused.as_deref(), Some("3D000 database \"nowhere\" does not exist"));
    let refused = login(&server, "nologin", "postgres");
    assert_eq!(refused.as_deref(), Some("28000 role \"nologin\" is not permitted to log in"));
    // Refused log-ins keep no place.
    assert_eq!(login(&server, "postgres", "postgres"), None);
    // Only listed databases are there.
    let port = upstream.port;
    let listed = format!("relay.databases={{shop = {{host = \"127.0.0.1\", port = {port}, dbname = \"postgres\"}}}}");
    let server = relay(port, "transaction", &[&listed]);
    assert_eq!(login(&server, "postgres", "shop"), None);
    assert_eq!(login(&server, "postgres", "postgres").as_deref(), Some("3D000 database \"postgres\" does not exist"));
    // Nobody listens there.
    let closed =
        format!("relay.databases={{\"*\" = {{host = \"127.0.0.1\", port = {}}}}}", crate::support::free_port());
    let server = relay(port, "session", &[&closed, "relay.query_wait_timeout=300ms"]);
    let refused = login(&server, "postgres", "postgres").expect("an error");
    assert!(refused.starts_with("08006 could not connect to upstream server 127.0.0.1:"), "{refused}");
    admin.query("drop role nologin");
}

#[test]
fn passwords_upstream() {
    let mut own = crate::support::postgresql::PostgreSql::start(&[]);
    let mut admin = Raw::connect(own.port);
    for statement in [
        "create role scram_user login password 'right'",
        "set password_encryption = md5; create role md5_user login password 'right'",
        "create role plain_user login password 'right'",
    ] {
        admin.query(statement);
    }
    let rules = "host all scram_user all scram-sha-256\nhost all md5_user all md5\nhost all plain_user all password\n\
                 host all all all trust\n";
    std::fs::write(own.data.join("pg_hba.conf"), rules).expect("rules");
    own.stop(true);
    own.start_again();
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("permissions");
    let list = folder.path().join("userlist.txt");
    for (password, is_right) in [("right", true), ("wrong", false)] {
        let users = ["scram_user", "md5_user", "plain_user", "postgres"];
        let lines: String = users.iter().map(|user| format!("\"{user}\" \"{password}\"\n")).collect();
        std::fs::write(&list, lines).expect("users");
        let file = format!("relay.auth_file={}", list.display());
        let server = relay(own.port, "transaction", &[&file]);
        for user in ["scram_user", "md5_user", "plain_user"] {
            let login = Raw::try_connect(server.port, &[("user", user)]).err();
            let failure = format!("28P01 password authentication failed for user \"{user}\"");
            assert_eq!(login, (!is_right).then_some(failure), "{user} {password}");
        }
        // Who is not listed does not come in.
        let refused = Raw::try_connect(server.port, &[("user", "stranger")]).err().expect("an error");
        assert_eq!(refused, "28000 role \"stranger\" does not exist");
    }
    // No password is known: the client is told.
    let server = relay(own.port, "session", &[]);
    let refused = Raw::try_connect(server.port, &[("user", "scram_user")]).err().expect("an error");
    assert!(refused.starts_with("08006 the upstream server asks for a password"), "{refused}");
}

#[test]
fn a_reload_changes_the_pools_and_keeps_sessions() {
    let upstream = upstream();
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("permissions");
    let file = folder.path().join("relay.toml");
    let write = |size: u32, name: &str| {
        let port = upstream.port;
        let text = format!(
            "[relay]\npool_mode = \"transaction\"\ndefault_pool_size = {size}\n\
             [relay.databases.{name}]\nhost = \"127.0.0.1\"\nport = {port}\ndbname = \"postgres\"\n"
        );
        std::fs::write(&file, text).expect("settings");
    };
    write(1, "before");
    let path = file.display().to_string();
    let server = Server::start(&["--config", &path, "--set", "engine.kind=relay"]);
    let database = |name| [("database", name)];
    let mut kept = Raw::try_connect(server.port, &database("before")).expect("a session");
    kept.query("begin");
    write(2, "after");
    server.signal(Signal::SIGHUP);
    wait_until("it is reloaded", || server.log().contains("configuration reloaded"));
    wait_until("new workers know", || Raw::try_connect(server.port, &database("after")).is_ok());
    assert_eq!(kept.query("select 1"), "T D(1) C(SELECT 1) Z(T)");
    assert_eq!(kept.query("commit"), "C(COMMIT) Z(I)");
    let refused = Raw::try_connect(server.port, &database("before")).err();
    assert_eq!(refused.as_deref(), Some("3D000 database \"before\" does not exist"));
    // Two at once now.
    let [mut a, mut b] = [(); 2].map(|()| Raw::try_connect(server.port, &database("after")).expect("a session"));
    assert_eq!((a.query("begin"), b.query("begin")), ("C(BEGIN) Z(T)".into(), "C(BEGIN) Z(T)".into()));
}
