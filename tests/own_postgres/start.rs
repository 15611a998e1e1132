//! Starts and their refusals: each with one line that says what to do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::Pid;

use crate::support::{Server, children_of, wait_until};

/// A server with a PostgreSQL of its own.
pub fn start(arguments: &[&str]) -> Server {
    let all: Vec<&str> = ["--engine", "postgres"].iter().chain(arguments).copied().collect();
    Server::start(&all)
}

/// The same on a directory that was used before.
pub fn start_on(data: &Path, arguments: &[&str]) -> Server {
    let all: Vec<&str> = ["--engine", "postgres"].iter().chain(arguments).copied().collect();
    Server::start_on(data, &all, &[])
}

/// PostgreSQL's data directory.
pub fn own(server: &Server) -> PathBuf {
    server.data.join("postgres")
}

/// PostgreSQL's postmaster.
pub fn postmaster(server: &Server) -> Pid {
    let text = fs::read_to_string(own(server).join("postmaster.pid")).expect("its lock file");
    Pid::from_raw(text.lines().next().and_then(|line| line.parse().ok()).expect("a pid"))
}

/// The keeper: the child of ours whose child PostgreSQL is.
pub fn keeper(server: &Server) -> Pid {
    let postmaster = postmaster(server).as_raw();
    let keeper = server.children().into_iter().find(|child| children_of(*child).contains(&postmaster));
    Pid::from_raw(keeper.expect("a keeper"))
}

/// What a start that is refused says.
pub fn refused(data: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgprefork"));
    let port = crate::support::free_port().to_string();
    command.args(["serve", "--engine", "postgres", "--port", &port, "--set", "listen.socket_directories=[]", "--data"]);
    let output = command.arg(data).args(arguments).output().expect("a start");
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned()
}

#[test]
fn one_server_a_directory() {
    let server = start(&[]);
    assert_eq!(server.query("select 1"), "1");
    let said = refused(&server.data, &[]);
    assert!(said.starts_with("pgprefork: another postmaster (PID "), "{said}");
    assert_eq!(server.query("select 2"), "2");
}

#[test]
fn the_second_start_finds_what_the_first_one_left() {
    let mut server = start(&[]);
    server.query("create table kept (n int); insert into kept values (5)");
    let system = server.query("select system_identifier from pg_control_system()");
    assert_eq!(server.stop(), Some(0), "{}", server.log());
    let server = start_on(&server.data, &[]);
    assert_eq!(server.query("select n from kept"), "5");
    assert_eq!(server.query("select system_identifier from pg_control_system()"), system);
}

#[test]
fn a_cluster_of_another_version_is_refused() {
    let mut server = start(&[]);
    server.stop();
    let file = own(&server).join("PG_VERSION");
    let version = fs::read_to_string(&file).expect("a version");
    fs::write(&file, "9.6\n").expect("another version");
    let said = refused(&server.data, &[]);
    assert!(
        said.contains("/postgres was initialized by PostgreSQL version 9.6, which is not compatible with "),
        "{said}"
    );
    assert!(said.contains("--pg-bindir"), "{said}");
    let check = || {
        let mut check = Command::new(env!("CARGO_BIN_EXE_pgprefork"));
        let output = check.args(["check", "--set", "engine.kind=postgres", "--data"]).arg(&server.data).output();
        String::from_utf8_lossy(&output.expect("check").stdout).into_owned()
    };
    assert!(check().contains("was initialized by PostgreSQL version 9.6"), "{}", check());
    fs::write(&file, version).expect("the version");
    assert!(check().contains("nothing is wrong"), "{}", check());
    assert_eq!(start_on(&server.data, &[]).query("select 1"), "1");
}

#[test]
fn an_initdb_that_was_cut_short_is_begun_anew() {
    let mut server = start(&[]);
    server.stop();
    let (place, new) = (own(&server), server.data.join("postgres.new"));
    // As it is when initdb was killed: something, and not in its place.
    fs::rename(&place, &new).expect("renamed");
    fs::remove_file(new.join("PG_VERSION")).expect("removed");
    let server = start_on(&server.data, &[]);
    assert_eq!(server.query("select 1"), "1");
    assert!(!new.exists());
}

#[test]
fn programs_that_are_not_there_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("permissions");
    let bin = folder.path().join("bin");
    let said = refused(&folder.path().join("data"), &["--pg-bindir", bin.to_str().expect("a path")]);
    assert_eq!(said, format!("pgprefork: there are no programs postgres and initdb in {}", bin.display()));
}

#[test]
fn settings_that_contradict_it_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("permissions");
    let data = folder.path().join("data");
    for (setting, complaint) in [
        ("relay.auth_file=users", "relay.auth_file is not for engine.kind = \"postgres\""),
        ("relay.databases={shop = {host = \"127.0.0.1\"}}", "relay database \"shop\" has a host or a port"),
        ("relay.max_server_connections=253", "relay.max_server_connections must be between 1 and 252"),
    ] {
        let said = refused(&data, &["--set", setting]);
        assert!(said.contains(complaint), "{said}");
    }
}

#[test]
fn a_directory_whose_name_is_too_long_for_a_socket() {
    let folder = tempfile::Builder::new().prefix("pgprefork-test-").tempdir().expect("a folder");
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("permissions");
    let data = folder.path().join("x".repeat(90));
    let all = ["--engine", "postgres", "--set", "listen.socket_directories=[]"];
    let mut server = Server::start_on(&data, &all, &[]);
    let directory = PathBuf::from(server.query("show unix_socket_directories").replace('"', ""));
    assert!(directory.starts_with("/tmp/"), "{}", directory.display());
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&directory).expect("it").permissions());
    assert_eq!(mode & 0o777, 0o700);
    server.stop();
    assert!(!directory.exists());
}

#[test]
fn a_cluster_that_was_made_by_hand() {
    let mut server = start(&[]);
    server.stop();
    fs::remove_dir_all(own(&server)).expect("removed");
    let mut initdb = Command::new(crate::support::postgres_program("initdb"));
    initdb.arg("-D").arg(own(&server)).args(["-U", "other", "--no-locale", "-E", "LATIN1"]).current_dir("/");
    if nix::unistd::geteuid().is_root() {
        let owner = fs::metadata(&server.data).expect("it");
        let (uid, gid) = (std::os::unix::fs::MetadataExt::uid(&owner), std::os::unix::fs::MetadataExt::gid(&owner));
        std::os::unix::process::CommandExt::gid(std::os::unix::process::CommandExt::uid(&mut initdb, uid), gid);
    }
    assert!(initdb.output().expect("initdb").status.success());
    // Whom it does not have, nobody is looked up as; a client is not told whom.
    let server = start_on(&server.data, &[]);
    let told = server.psql("postgres", "select 1").expect_err("an error");
    assert!(told.contains("roles could not be looked up; the server's log says why"), "{told}");
    wait_until("the log says whom", || server.log().contains("role \"postgres\" does not exist"));
    let data = server.data.clone();
    drop(server);
    let server = start_on(&data, &["--set", "engine.postgres.superuser=other"]);
    let mut session = crate::wire::Raw::try_connect(server.port, &[("user", "other")]).expect("a session");
    assert_eq!(session.query("show server_encoding"), "T D(LATIN1) C(SHOW) Z(I)");
}

/// A server in the background, ended whatever the test did.
struct Detached(PathBuf);

impl Drop for Detached {
    fn drop(&mut self) {
        let mut stop = Command::new(env!("CARGO_BIN_EXE_pgprefork"));
        let _ = stop.args(["stop", "--mode", "immediate", "--data"]).arg(&self.0).output();
    }
}

#[test]
fn its_log_is_in_ours_and_goes_on_after_a_rotation() {
    let folder = tempfile::Builder::new().prefix("pgprefork-test-").tempdir().expect("a folder");
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("permissions");
    let data = folder.path().join("data");
    let port = crate::support::free_port();
    let mut serve = Command::new(env!("CARGO_BIN_EXE_pgprefork"));
    serve.args(["serve", "--engine", "postgres", "--detach", "--listen", "127.0.0.1", "--port", &port.to_string()]);
    serve.args(["--set", "listen.socket_directories=[]", "--data"]).arg(&data);
    let output = serve.output().expect("a start");
    let server = Detached(data.clone());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (log, old) = (data.join("pgprefork.log"), data.join("old.log"));
    let has = |file: &Path, text: &str| fs::read_to_string(file).is_ok_and(|log| log.contains(text));
    let mut session = crate::wire::Raw::connect(port);
    session.query("select 1 / 0");
    let first = |file: &Path| has(file, "ERROR:  division by zero") && has(file, "STATEMENT:  select 1 / 0");
    wait_until("it is in the log", || first(&log));
    assert!(fs::read_to_string(&log).expect("the log").lines().any(|line| line.contains(" WARNING: postgres: [")));
    fs::rename(&log, &old).expect("rotated");
    let text = fs::read_to_string(data.join("postmaster.pid")).expect("its lock file");
    let pid = text.lines().next().and_then(|line| line.parse().ok()).expect("a pid");
    nix::sys::signal::kill(Pid::from_raw(pid), nix::sys::signal::Signal::SIGUSR1).expect("the postmaster");
    wait_until("there is a new one", || log.exists());
    wait_until("PostgreSQL's lines go there", || {
        session.query("select 2 / 0");
        has(&log, "STATEMENT:  select 2 / 0")
    });
    drop(server);
    assert!(has(&log, "PostgreSQL (PID "));
}
