//! The console: PgBouncer's SHOW with its columns, and who may use it.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::place::{relay, upstream};
use crate::support::{Server, free_port, postgres_program, wait_until};

/// What psql shows of a statement in the console, as that user: values between bars.
fn shown(port: u16, user: &str, database: &str, statement: &str, header: bool) -> Result<String, String> {
    let mut psql = Command::new(postgres_program("psql"));
    psql.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", user, "-d", database, "-X", "-A", "-c", statement]);
    if !header {
        psql.arg("-t");
    }
    let output = psql.env_remove("PGOPTIONS").stdin(Stdio::null()).output().expect("psql");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim_end().to_owned();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

pub fn console(server: &Server, user: &str, statement: &str) -> Result<String, String> {
    shown(server.port, user, "pgprefork", statement, false)
}

const ADMINS: &[&str] = &["relay.admin_users=[\"postgres\"]", "relay.stats_users=[\"watcher\"]"];

/// The tables whose columns exporters and scripts rely on.
const TABLES: &[&str] = &[
    "pools",
    "databases",
    "clients",
    "servers",
    "stats",
    "stats_totals",
    "stats_averages",
    "totals",
    "lists",
    "users",
    "config",
];

/// A real PgBouncer, to ask for its columns.
struct PgBouncer(Child, u16);

impl PgBouncer {
    fn start(folder: &Path, upstream: u16) -> Self {
        let port = free_port();
        let settings = format!(
            "[databases]\npostgres = host=127.0.0.1 port={upstream}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\nadmin_users = postgres\n"
        );
        let file = folder.join("pgbouncer.ini");
        std::fs::write(&file, settings).expect("its settings");
        let mut command = Command::new("pgbouncer");
        if nix::unistd::geteuid().is_root() {
            command.args(["-u", "postgres"]);
        }
        let child = command.arg("-q").arg(&file).stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("pgbouncer");
        let pgbouncer = Self(child, port);
        wait_until("PgBouncer answers", || shown(port, "postgres", "pgbouncer", "show version", false).is_ok());
        pgbouncer
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn columns_are_those_of_pgbouncer() {
    let upstream = upstream();
    let server = relay(upstream.port, "transaction", ADMINS);
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("readable");
    let pgbouncer = PgBouncer::start(folder.path(), upstream.port);
    for table in TABLES {
        let columns = |port, database| {
            let told = shown(port, "postgres", database, &format!("show {table}"), true).expect("a table");
            told.lines().next().expect("a header").to_owned()
        };
        assert_eq!(columns(server.port, "pgprefork"), columns(pgbouncer.1, "pgbouncer"), "{table}");
    }
}

#[test]
fn pools_clients_and_servers_are_shown_as_they_are() {
    let upstream = upstream();
    let database =
        format!("relay.databases={{shop = {{host = \"127.0.0.1\", port = {}, dbname = \"postgres\"}}}}", upstream.port);
    let settings = [ADMINS, &[&database, "relay.default_pool_size=1"]].concat();
    let server = relay(upstream.port, "transaction", &settings);
    let connect = || {
        let text = format!("host=127.0.0.1 port={} user=postgres dbname=shop application_name=till", server.port);
        postgres::Client::connect(&text, postgres::NoTls).expect("a session")
    };
    let mut first = connect();
    let mut second = connect();
    first.batch_execute("begin; select 1").expect("a transaction");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| second.batch_execute("select 2"));
        wait_until("the second waits", || server.waiting() == 1);
        let pools = console(&server, "watcher", "show pools").expect("pools");
        let pool: Vec<&str> =
            pools.lines().find(|line| line.starts_with("shop|")).expect("a pool").split('|').collect();
        assert_eq!(&pool[..4], ["shop", "postgres", "1", "1"], "{pools}");
        assert_eq!((pool[6], pool[9], pool[15]), ("1", "0", "transaction"), "{pools}");
        let clients = console(&server, "watcher", "show clients").expect("clients");
        let states: Vec<&str> =
            clients.lines().filter(|line| line.contains("|shop|")).filter_map(|line| line.split('|').nth(3)).collect();
        assert!(states.contains(&"active") && states.contains(&"waiting") && states.len() == 2, "{clients}");
        assert!(clients.contains("|till"), "{clients}");
        let servers = console(&server, "watcher", "show servers").expect("servers");
        let pid: i32 = first.query_one("select pg_backend_pid()", &[]).expect("a row").get(0);
        assert!(
            servers.lines().any(|line| line.contains("|active|") && line.contains(&format!("|{pid}|"))),
            "{servers}"
        );
        first.batch_execute("commit").expect("its end");
        waiting.join().expect("the other").expect("its turn");
    });
    let stats = console(&server, "watcher", "show stats_totals").expect("stats");
    let shop: Vec<u64> = stats
        .lines()
        .find_map(|line| line.strip_prefix("shop|"))
        .expect("a database")
        .split('|')
        .map(|number| number.parse().expect("a number"))
        .collect();
    // A batch is one query; the first session's transaction had three messages.
    assert_eq!(shop[0], 2, "{stats}");
    assert!(shop[1] >= 4, "{stats}");
    assert!(shop[2] > 50 && shop[3] > 100 && shop[6] > 0, "{stats}");
    let databases = console(&server, "postgres", "show databases").expect("databases");
    assert!(databases.starts_with(&format!("shop|127.0.0.1|{}|postgres||1|", upstream.port)), "{databases}");
}

#[test]
fn orders_are_for_administrators_and_others_stay_out() {
    let upstream = upstream();
    let server = relay(upstream.port, "transaction", ADMINS);
    assert!(console(&server, "postgres", "show version").expect("a version").starts_with("pgprefork "));
    let refused = console(&server, "ann", "show pools").expect_err("nobody's business");
    assert!(
        refused
            .ends_with("permission denied for database \"pgprefork\"\nDETAIL:  User does not have CONNECT privilege."),
        "{refused}"
    );
    let refused = console(&server, "watcher", "reconnect").expect_err("a watcher");
    assert!(refused.contains("admin access needed"), "{refused}");
    let refused = console(&server, "postgres", "suspend").expect_err("what is not there");
    assert!(refused.contains("SUSPEND is not supported"), "{refused}");
    let unknown = console(&server, "postgres", "select 1").expect_err("no SQL");
    assert_eq!(unknown, "ERROR:  invalid command 'select 1', use SHOW HELP;");
    // What was connected before RECONNECT is not used again.
    let process = || shown(server.port, "postgres", "postgres", "select pg_backend_pid()", false).expect("a process");
    let before = process();
    assert_eq!(process(), before);
    console(&server, "postgres", "reconnect").expect("an order");
    assert_ne!(process(), before);
    let generation = |server: &Server| {
        let segment = shm::Segment::of_process(server.pid().as_raw()).expect("the segment");
        segment.pool().configuration_generation()
    };
    let loaded = generation(&server);
    console(&server, "postgres", "reload").expect("an order");
    wait_until("the settings are read again", || generation(&server) > loaded);
}

#[test]
fn a_server_starts_with_what_was_pgbouncers() {
    let upstream = upstream();
    let folder = tempfile::tempdir().expect("a folder");
    let (data, settings, users) =
        (folder.path().join("data"), folder.path().join("pgbouncer.ini"), folder.path().join("users"));
    std::fs::write(&users, "\"postgres\" \"\"\n").expect("users");
    let text = format!(
        "[databases]\nshop = host=127.0.0.1 port={} dbname=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
         auth_type = trust\nauth_file = {}\npool_mode = transaction\nadmin_users = postgres\nmin_pool_size = 2\n",
        upstream.port,
        users.display()
    );
    std::fs::write(&settings, text).expect("settings");
    let init = Command::new(env!("CARGO_BIN_EXE_pgprefork"))
        .args(["init", "--data", &data.display().to_string(), "--from-pgbouncer", &settings.display().to_string()])
        .output()
        .expect("init");
    let told = String::from_utf8_lossy(&init.stdout);
    assert!(init.status.success() && told.contains("not taken over: min_pool_size = 2"), "{init:?}");
    let server = Server::start_on(&data, &[], &[]);
    assert_eq!(shown(server.port, "postgres", "shop", "select current_database()", false).as_deref(), Ok("postgres"));
    let pools = console(&server, "postgres", "show pools").expect("pools");
    assert!(pools.starts_with("shop|postgres|") && pools.ends_with("|transaction"), "{pools}");
    assert!(shown(server.port, "postgres", "other", "select 1", false).is_err_and(|error| error.contains("\"other\"")));
}
