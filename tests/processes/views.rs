//! What a server tells of itself: set-up times, the pool at a glance, pg_stat_activity.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use postgres::Client;

use crate::server::{Raw, Server, eventually};

pub const TESTS: &[(&str, fn())] = &[
    ("every_phase_of_set_up_is_measured", every_phase_of_set_up_is_measured),
    ("a_wait_for_a_worker_shows_in_the_accept_queue", a_wait_for_a_worker_shows_in_the_accept_queue),
    ("status_shows_the_listen_queue", status_shows_the_listen_queue),
    ("status_names_why_workers_ended", status_names_why_workers_ended),
    ("activity_has_the_columns_of_postgresql", activity_has_the_columns_of_postgresql),
    ("activity_follows_a_session_through_its_states", activity_follows_a_session_through_its_states),
    ("activity_shows_what_a_session_waits_for", activity_shows_what_a_session_waits_for),
    ("activity_shows_the_servers_own_processes", activity_shows_the_servers_own_processes),
    ("activity_hides_from_others_what_is_not_theirs", activity_hides_from_others_what_is_not_theirs),
];

/// Count and longest time of each phase, in the view's order.
fn phases(client: &mut Client) -> Vec<(String, i64, Option<i64>)> {
    let rows = client.query("select phase, count, max_us from pgprefork.connection_phases", &[]).unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

fn every_phase_of_set_up_is_measured() {
    for (model, forks) in [("prefork", false), ("fork-on-accept", true)] {
        let server = Server::start(&["engine.kind=sqlite", &format!("pool.model={model}")]);
        for _ in 0..3 {
            server.connect().simple_query("select 1").unwrap();
        }
        let seen = phases(&mut server.connect());
        let names: Vec<&str> = seen.iter().map(|(name, ..)| name.as_str()).collect();
        let expected = ["accept_queue", "fork", "engine", "startup_packet", "tls", "authentication", "ready", "total"];
        assert_eq!(names, expected);
        for (name, count, max_us) in &seen {
            let expected = if (name == "fork" && !forks) || name == "tls" { 0 } else { 4 };
            assert_eq!(*count, expected, "{model}: {name}");
            assert_eq!(max_us.is_some(), expected > 0, "{model}: {name}");
        }
        let longest: BTreeMap<&str, i64> =
            seen.iter().map(|(name, _, max_us)| (name.as_str(), max_us.unwrap_or(0))).collect();
        assert!(longest["engine"] <= longest["total"] || forks, "{longest:?}");
    }
}

fn a_wait_for_a_worker_shows_in_the_accept_queue() {
    const WAIT: Duration = Duration::from_millis(150);
    let server =
        Server::start(&["engine.kind=sqlite", "pool.max_sessions=1", "pool.reserved_sessions=0", "pool.min_spare=1"]);
    let first = server.connect();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| server.connect());
        eventually("the client waits", || server.status()["queued"] == 1);
        let begun = Instant::now();
        while begun.elapsed() < WAIT {
            std::thread::sleep(WAIT / 10);
        }
        drop(first);
        let (_, count, longest_us) = phases(&mut waiting.join().unwrap()).remove(0);
        // One that a slow machine makes park is counted again.
        assert!(count >= 2, "{count}");
        // A bucket of the histogram is a sixteenth of its value wide.
        let longest = Duration::from_micros(longest_us.unwrap().unsigned_abs());
        assert!(longest >= WAIT * 15 / 16, "{longest:?}");
    });
}

fn status_shows_the_listen_queue() {
    let server = Server::start(&["engine.kind=sqlite"]);
    assert_eq!(server.status()["listen_queue"], 0);
    // Nobody can accept now, not even the doorman.
    let processes: Vec<_> = std::iter::once(server.pid()).chain(server.children()).collect();
    for pid in &processes {
        kill(*pid, Signal::SIGSTOP).unwrap();
    }
    let tcp = [0; 3].map(|_| std::net::TcpStream::connect(("127.0.0.1", server.port)).unwrap());
    let path = server.data.parent().unwrap().join(format!(".s.PGSQL.{}", server.port));
    let unix = [0; 2].map(|_| std::os::unix::net::UnixStream::connect(&path).unwrap());
    eventually("they are counted", || server.status()["listen_queue"] == 5);
    let text = Command::new(env!("CARGO_BIN_EXE_pgprefork")).args(["status", "--data"]).arg(&server.data).output();
    let text = String::from_utf8(text.unwrap().stdout).unwrap();
    assert!(text.contains("clients: 0 waiting, 5 in the listen queues, 0 served, 0 refused"), "{text}");
    for pid in processes.iter().rev() {
        kill(*pid, Signal::SIGCONT).unwrap();
    }
    drop((tcp, unix));
    eventually("they are accepted", || server.status()["listen_queue"] == 0);
    // What waited in the kernel is in the view, as far as the kernel tells: TCP.
    let (_, count, _) = phases(&mut server.connect()).remove(0);
    assert!((1..=4).contains(&count), "{count}");
}

fn status_names_why_workers_ended() {
    let server = Server::start(&["engine.kind=sqlite", "pool.sessions_per_worker=1"]);
    server.connect().simple_query("select 1").unwrap();
    eventually("a worker was recycled", || server.status()["exits"]["recycled"] == 1);
    let victim = Raw::connect(&server);
    kill(victim.pid, Signal::SIGKILL).unwrap();
    eventually("a worker has crashed", || server.status()["crashes_by_signal"]["SIGKILL"] == 1);
    assert_eq!(server.status()["exits"]["crashed"], 1);
    let phase = &server.status()["connection_phases"]["total"];
    assert_eq!(phase["count"], 2);
    let times = ["p50_us", "p95_us", "p99_us", "max_us"].map(|name| phase[name].as_u64().unwrap());
    assert!(times.is_sorted() && times[0] > 0, "{times:?}");
    let text = Command::new(env!("CARGO_BIN_EXE_pgprefork")).args(["status", "--data"]).arg(&server.data).output();
    let text = String::from_utf8(text.unwrap().stdout).unwrap();
    // Somebody who reads no more than a line.
    let mut status = Command::new(env!("CARGO_BIN_EXE_pgprefork"));
    status.args(["status", "--json", "--data"]).arg(&server.data).stdout(std::process::Stdio::piped());
    let mut child = status.spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
    for part in [
        "workers: ",
        " idle, ",
        "workers ended: 1 recycled, 1 crashed",
        "crashed by signal: 1 SIGKILL",
        "total: 2 times, median ",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
}

/// Names and type OIDs as PostgreSQL 15 has them.
fn activity_has_the_columns_of_postgresql() {
    let expected = "datid:26 datname:19 pid:23 leader_pid:23 usesysid:26 usename:19 application_name:25 client_addr:869 \
        client_hostname:25 client_port:23 backend_start:1184 xact_start:1184 query_start:1184 state_change:1184 \
        wait_event_type:25 wait_event:25 state:25 backend_xid:28 backend_xmin:28 query_id:20 query:25 backend_type:25";
    let server = Server::start(&["engine.kind=sqlite"]);
    let statement = server.connect().prepare("select * from pg_stat_activity").unwrap();
    let columns: Vec<String> =
        statement.columns().iter().map(|column| format!("{}:{}", column.name(), column.type_().oid())).collect();
    assert_eq!(columns.join(" "), expected);
}

/// A row of pg_stat_activity as text, NULL as an empty one.
fn activity(observer: &mut Client, pid: i32) -> BTreeMap<String, String> {
    let query = format!("select * from pg_stat_activity where pid = {pid}");
    for message in observer.simple_query(&query).unwrap() {
        if let postgres::SimpleQueryMessage::Row(row) = message {
            let value = |at: usize| row.get(at).unwrap_or_default().to_owned();
            return row
                .columns()
                .iter()
                .enumerate()
                .map(|(at, column)| (column.name().to_owned(), value(at)))
                .collect();
        }
    }
    panic!("{pid} is not in pg_stat_activity");
}

fn activity_follows_a_session_through_its_states() {
    let server = Server::start(&["engine.kind=sqlite"]);
    let mut observer = server.connect();
    let mut client = Raw::connect(&server);
    let pid = client.pid.as_raw();
    let idle = activity(&mut observer, pid);
    assert_eq!((idle["state"].as_str(), idle["xact_start"].as_str()), ("idle", ""));
    assert_eq!((idle["wait_event_type"].as_str(), idle["wait_event"].as_str()), ("Client", "ClientRead"));
    for (column, value) in [
        ("usename", "postgres"),
        ("datname", "postgres"),
        ("backend_type", "client backend"),
        ("client_addr", "127.0.0.1"),
        ("leader_pid", ""),
        ("client_hostname", ""),
    ] {
        assert_eq!(idle[column], value, "{column}");
    }
    assert_eq!(idle["client_port"], client.local_port().to_string());
    assert!(!idle["backend_start"].is_empty() && !idle["datid"].is_empty() && !idle["usesysid"].is_empty());

    let mut before = idle;
    let mut transaction_began = String::new();
    let steps = [
        ("select 1", "idle"),
        ("begin", "idle in transaction"),
        ("set application_name = 'mine'", "idle in transaction"),
        ("select nonsense", "idle in transaction (aborted)"),
        ("select 2", "idle in transaction (aborted)"),
        ("rollback", "idle"),
    ];
    for (statement, state) in steps {
        let _ = client.query(statement).unwrap();
        let now = activity(&mut observer, pid);
        assert_eq!(now["state"], state, "{statement}");
        assert_eq!(now["query"], statement);
        assert!(now["query_start"] > before["query_start"], "{statement}");
        assert!(now["state_change"] >= now["query_start"], "{statement}");
        assert_eq!(now["backend_start"], before["backend_start"], "{statement}");
        match (statement, state) {
            (_, "idle") => assert_eq!(now["xact_start"], "", "{statement}"),
            ("begin", _) => transaction_began = now["xact_start"].clone(),
            _ => assert_eq!(now["xact_start"], transaction_began, "{statement}"),
        }
        before = now;
    }
    assert!(!transaction_began.is_empty());
    // The setting went back with the transaction.
    assert_eq!(before["application_name"], "");
    let _ = client.query("set application_name = 'mine'").unwrap();
    assert_eq!(activity(&mut observer, pid)["application_name"], "mine");

    // A session sees itself at work, in a transaction that began with the statement.
    let row = observer.query_one(
        "select state, wait_event is null, xact_start = query_start from pg_stat_activity where pid = pg_backend_pid()",
        &[],
    );
    let row = row.unwrap();
    assert_eq!((row.get(0), row.get(1), row.get(2)), ("active", true, true));
    drop(client);
    eventually("it is no longer listed", || {
        let query = "select count(*) from pg_stat_activity where pid = $1";
        observer.query_one(query, &[&pid]).unwrap().get::<_, i64>(0) == 0
    });

    let socket = server.data.parent().unwrap().display().to_string();
    let parameters = format!("host={socket} port={} user=postgres dbname=postgres application_name=local", server.port);
    let mut local = Client::connect(&parameters, postgres::NoTls).unwrap();
    let pid = local.query_one("select pg_backend_pid()", &[]).unwrap().get(0);
    let row = activity(&mut observer, pid);
    assert_eq!((row["client_addr"].as_str(), row["client_port"].as_str()), ("", "-1"));
    assert_eq!(row["application_name"], "local");
}

fn activity_shows_what_a_session_waits_for() {
    let server = Server::start(&["engine.kind=sqlite"]);
    let mut observer = server.connect();
    observer.batch_execute("create table t (a int)").unwrap();
    let mut owner = Raw::connect(&server);
    let _ = owner.query("begin").unwrap();
    let _ = owner.query("insert into t values (1)").unwrap();
    let mut waiter = Raw::connect(&server);
    let mut sleeper = Raw::connect(&server);
    waiter.send(|client| client.query("insert into t values (2)"));
    sleeper.send(|client| client.query("select pg_sleep(60)"));
    let mut deaf = Raw::connect(&server);
    deaf.send(|client| client.query("select repeat('x', 1000) from generate_series(1, 100000)"));
    for (client, kind, event) in
        [(&waiter, "Lock", "writer"), (&sleeper, "Timeout", "PgSleep"), (&deaf, "Client", "ClientWrite")]
    {
        eventually(event, || {
            let row = activity(&mut observer, client.pid.as_raw());
            (row["wait_event_type"].as_str(), row["wait_event"].as_str(), row["state"].as_str())
                == (kind, event, "active")
        });
    }
    let row = activity(&mut observer, owner.pid.as_raw());
    assert_eq!((row["wait_event"].as_str(), row["state"].as_str()), ("ClientRead", "idle in transaction"));
    assert_eq!(owner.query("commit").unwrap(), None);
    waiter.read_until_ready(|_| ()).unwrap();
    assert_eq!(activity(&mut observer, waiter.pid.as_raw())["wait_event"], "ClientRead");
    owner.send(|client| client.query("copy t from stdin"));
    eventually("COPY waits for its data", || {
        let row = activity(&mut observer, owner.pid.as_raw());
        (row["wait_event"].as_str(), row["state"].as_str()) == ("ClientRead", "active")
    });
}

fn activity_shows_the_servers_own_processes() {
    let server = Server::start(&["engine.kind=sqlite"]);
    let mut observer = server.connect();
    for (kind, event) in
        [("checkpointer", "CheckpointerMain"), ("doorman", "DoormanMain"), ("template", "TemplateMain")]
    {
        let query = "select pid, wait_event_type || ' ' || wait_event, backend_start is not null, state is null and datname is null and usename is null \
            and client_addr is null and client_port is null and xact_start is null, query from pg_stat_activity where backend_type = $1";
        // The template, too, once it has started.
        eventually(kind, || {
            let rows = observer.query(query, &[&kind]).unwrap();
            let [row] = rows.as_slice() else { return false };
            let pid = nix::unistd::Pid::from_raw(row.get(0));
            assert!(server.children().contains(&pid), "{kind}");
            assert_eq!((row.get(2), row.get(3), row.get(4)), (true, true, ""), "{kind}");
            // Between two rounds of its loop.
            row.get::<_, Option<&str>>(1) == Some(&format!("Activity {event}"))
        });
    }
    // Idle workers have no session; they are in another view.
    let query = "select (select count(*) from pg_stat_activity where backend_type = 'client backend'), \
        (select count(*) > 1 from pgprefork.workers)";
    let row = observer.query_one(query, &[]).unwrap();
    assert_eq!((row.get(0), row.get(1)), (1_i64, true));
}

fn activity_hides_from_others_what_is_not_theirs() {
    let server = Server::start(&["engine.kind=sqlite"]);
    let mut secret = server.connect();
    secret.batch_execute("create role guest login").unwrap();
    let pid = secret.query_one("select pg_backend_pid() /* secret */", &[]).unwrap().get(0);
    let parameters = server.parameters().replace("user=postgres", "user=guest");
    let mut guest = Client::connect(&parameters, postgres::NoTls).unwrap();
    let row = activity(&mut guest, pid);
    assert_eq!(row["query"], "<insufficient privilege>");
    for column in ["state", "client_addr", "client_port", "xact_start", "query_start", "state_change", "wait_event"] {
        assert_eq!(row[column], "", "{column}");
    }
    assert_eq!((row["usename"].as_str(), row["datname"].as_str()), ("postgres", "postgres"));
    let own: i32 = guest.query_one("select pg_backend_pid()", &[]).unwrap().get(0);
    assert_eq!(activity(&mut guest, own)["state"], "active");
}
