//! Methods of authentication whose judge is somebody else, each against the real thing: slapd, PAM, an MIT KDC.
//!
//! Every test starts what it needs on a folder and ports of its own. The PAM service files lie in /etc/pam.d, where PAM
//! looks for them, under names of the test's own.

#[path = "../support/mod.rs"]
mod support;

mod kerberos;
mod ldap;
mod pam;

use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;
use support::{Server, postgres_program, wait_until};

/// A daemon that a test has started; ended when dropped.
struct Daemon(Child);

impl Daemon {
    fn start(command: &mut Command) -> Daemon {
        Daemon(command.stdin(Stdio::null()).spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a program to its end; what it printed if it succeeded, else a panic.
fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

/// A server with roles, and rules of the test's own after two that let the superuser in.
fn server(rules: &str, arguments: &[&str], environment: &[(&str, &str)]) -> (Server, tempfile::TempDir) {
    let directory = folder();
    let data = directory.path().join("data");
    run(Command::new(env!("CARGO_BIN_EXE_pgprefork")).arg("init").arg("--data").arg(&data).args(["--auth", "trust"]));
    write_rules(&data, rules);
    let server = Server::start_on(&data, arguments, environment);
    server.query("create role ann login");
    server.query("create role bob login");
    (server, directory)
}

fn write_rules(data: &Path, rules: &str) {
    let text = format!("host all postgres 127.0.0.1/32 trust\nlocal all postgres trust\n{rules}\n");
    std::fs::write(data.join("pg_hba.conf"), text).expect("pg_hba.conf");
}

/// Other rules, and a reload that is waited for.
fn reload(server: &Server, rules: &str) {
    write_rules(&server.data, rules);
    let before = server.log().matches("configuration reloaded").count();
    server.signal(Signal::SIGHUP);
    wait_until("the rules are reloaded", || server.log().matches("configuration reloaded").count() > before);
}

/// A folder that every user may pass through.
fn folder() -> tempfile::TempDir {
    let directory = tempfile::Builder::new().prefix("pgprefork-methods-").tempdir().expect("a temporary directory");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(directory.path(), open).expect("permissions");
    directory
}

/// Logs in with psql: who it is then, or what it was told.
fn log_in(server: &Server, connection: &str, environment: &[(&str, &str)]) -> Result<String, String> {
    ask(server, connection, "select current_user", environment)
}

/// Logs in with psql and runs a statement.
fn ask(server: &Server, connection: &str, sql: &str, environment: &[(&str, &str)]) -> Result<String, String> {
    let output = Command::new(postgres_program("psql"))
        .args(["-X", "-At", "-w", "-c", sql, "-d"])
        .arg(format!("host=127.0.0.1 port={} dbname=postgres {connection}", server.port))
        .env_remove("PGOPTIONS")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("psql");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// The client is refused with this, and the log says that.
#[track_caller]
fn assert_refused(server: &Server, connection: &str, told: &str, logged: &str) {
    let before = server.log().len();
    let error = log_in(server, connection, &[]).expect_err("it must be refused");
    assert!(error.contains(told), "{error}");
    wait_until(logged, || server.log().get(before..).is_some_and(|log| log.contains(logged)));
}

/// While the clients of one rule hang, everybody else is served, and those that hang are told in time.
fn assert_hanging_ones_hold_up_nobody(server: &Server, connection: &str) {
    let hanging: Vec<Child> = (0..20)
        .map(|_| {
            Command::new(postgres_program("psql"))
                .args(["-X", "-At", "-w", "-c", "select 1", "-d"])
                .arg(format!("host=127.0.0.1 port={} dbname=postgres {connection}", server.port))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .expect("psql")
        })
        .collect();
    wait_until("all of them hold a worker", || {
        let sql = "select busy > 20 from pgprefork.pool";
        server.psql("postgres", sql).is_ok_and(|row| row == "t")
    });
    for _ in 0..20 {
        assert_eq!(server.query("select 1"), "1");
    }
    for child in hanging {
        let output = child.wait_with_output().expect("its end");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("canceling authentication due to timeout"), "{text}");
    }
}

#[test]
fn a_refusal_is_in_the_log_once_whatever_it_is_for() {
    let (server, _folder) =
        server("host all nobody 127.0.0.1/32 trust\nhost all ann 127.0.0.1/32 scram-sha-256", &[], &[]);
    assert_refused(&server, "user=nobody", "role \"nobody\" does not exist", "role \"nobody\" does not exist");
    assert_refused(
        &server,
        "user=carl",
        "no pg_hba.conf entry",
        "no pg_hba.conf entry for host \"127.0.0.1\", user \"carl\"",
    );
    assert_refused(&server, "user=ann password=x", "password authentication failed", "has no password assigned");
    for told in ["role \"nobody\" does not exist", "no pg_hba.conf entry for", "password authentication failed"] {
        assert_eq!(server.log().matches(told).count(), 1, "{}", server.log());
    }
}

#[test]
fn views_and_check_tell_what_is_wrong_before_a_reload_does() {
    let (server, _folder) = server("host all all 127.0.0.1/32 trust", &[], &[]);
    std::fs::create_dir(server.data.join("rules.d")).expect("a folder");
    std::fs::write(server.data.join("rules.d/one.conf"), "host shop,@names /^a +staff 10.0.0.0/8 md5\n")
        .expect("a file");
    std::fs::write(server.data.join("rules.d/names"), "depot\n").expect("a file");
    let rules = "include_dir rules.d\n\
                 host shop,\"a b\" +staff,/^x 10.0.0.0 255.0.0.0 ldap ldapserver=x ldapbasedn=y ldapbinddn=z ldapbindpasswd=hush\n\
                 local all all peer map=ops\nhost all all magic\nhostssl all all .example.org cert";
    write_rules(&server.data, rules);
    std::fs::write(server.data.join("pg_ident.conf"), "ops /^(.*)$ \\1\nops x\n").expect("a file");
    let shown = server.query(
        "select rule_number, file_name, line_number, type, database, user_name, \
         address, netmask, auth_method, options, error from pg_hba_file_rules where line_number > 2 or rule_number is null \
         or file_name like '%one.conf'",
    );
    let shown = shown.replace(&server.data.display().to_string(), "");
    let expected = [
        "|/rules.d/one.conf|1||||||||invalid authentication method \"10.0.0.0/8\"",
        "3|/pg_hba.conf|4|host|{shop,\"a b\"}|{+staff,/^x}|10.0.0.0|255.0.0.0|ldap|{ldapserver=x,ldapbasedn=y,ldapbinddn=z,ldapbindpasswd=***}|",
        "4|/pg_hba.conf|5|local|{all}|{all}|||peer|{map=ops}|",
        "|/pg_hba.conf|6||||||||end-of-line before authentication method",
        "5|/pg_hba.conf|7|hostssl|{all}|{all}|.example.org||cert||",
    ];
    assert_eq!(shown.lines().collect::<Vec<_>>(), expected);
    let mappings = server
        .query("select map_number, line_number, map_name, sys_name, pg_username, error from pg_ident_file_mappings");
    assert_eq!(mappings, "1|1|ops|/^(.*)$|\\1|\n|2||||missing entry at end of line");
    server.query("create role carl login");
    let error = ask(&server, "user=carl", "select * from pg_hba_file_rules", &[]).expect_err("not for everybody");
    assert!(error.contains("permission denied for view pg_hba_file_rules"), "{error}");

    let output = check(&server);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("pg_hba.conf:6:") && told.contains("pg_ident.conf:2:6: missing entry"), "{told}");
    server.signal(Signal::SIGHUP);
    wait_until("the reload says the same", || server.log().contains("configuration not reloaded"));
    for line in told.lines() {
        assert!(server.log().contains(line), "{line}\n{}", server.log());
    }
    std::fs::remove_file(server.data.join("pg_ident.conf")).expect("it was there");
    write_rules(&server.data, "host all all 127.0.0.1/32 trust");
    let output = check(&server);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

fn check(server: &Server) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_pgprefork")).arg("check").arg("--data").arg(&server.data).output().expect("check")
}
