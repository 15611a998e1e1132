//! `bench models` in small: every kind of server takes part, errors and figures reach the files, nothing is left.
//!
//! What the figures are decides nothing here.

mod support;

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// The kinds of servers, in the order of the report.
const PEERS: [&str; 9] = [
    "fork-on-accept",
    "prefork",
    "prefork, reuse",
    "fork-on-accept [null]",
    "prefork [null]",
    "prefork, reuse [null]",
    "postgres",
    "pgbouncer",
    "pgpool",
];

/// Runs it with these arguments beside every peer; the JSON and CSV that it wrote.
fn models(arguments: &[&str]) -> (Value, String) {
    // Not found later than here, and by name.
    for program in ["postgres", "pgbench", "psql"] {
        support::postgres_program(program);
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (json, csv) = (directory.path().join("out.json"), directory.path().join("out.csv"));
    let output = Command::new(env!("CARGO_BIN_EXE_pgprefork"))
        .args(["bench", "models", "--with", "postgres,pgbouncer,pgpool", "--rounds", "1", "--seconds", "1"])
        .args(arguments)
        .arg("--json")
        .arg(&json)
        .arg("--csv")
        .arg(&csv)
        .env("TMPDIR", directory.path())
        .stdin(Stdio::null())
        .output()
        .expect("the program");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    let left: Vec<_> = std::fs::read_dir(directory.path()).expect("the directory").flatten().collect();
    assert_eq!(left.len(), 2, "more than the two files is left: {left:?}");
    let json = std::fs::read_to_string(json).expect("the file");
    (serde_json::from_str(&json).expect("JSON"), std::fs::read_to_string(csv).expect("the file"))
}

/// Every peer has a figure in each of these sections, and no error.
#[track_caller]
fn assert_all_have_figures(json: &Value, titles: &[&str]) {
    let sections = json["sections"].as_array().expect("sections");
    assert_eq!(sections.len(), titles.len());
    for (section, title) in sections.iter().zip(titles) {
        assert!(section["title"].as_str().expect("a title").contains(title), "{section:#}");
        let peers = section["peers"].as_array().expect("peers");
        let names: Vec<_> = peers.iter().map(|peer| peer["peer"].as_str().expect("a name")).collect();
        assert_eq!(names, PEERS, "{section:#}");
        for peer in peers {
            assert!(peer["median"].as_f64().is_some_and(f64::is_finite), "{section:#}");
            // A load generator that was too busy is no error of a server. The others do not resume sessions of TLS.
            let other = ["postgres", "pgbouncer", "pgpool"].iter().any(|name| peer["peer"] == *name);
            let is_known =
                |note: &str| note.starts_with("load generator") || other && note == "handshake that was not resumed";
            let notes = peer["notes"].as_object().expect("notes");
            assert!(notes.keys().all(|note| is_known(note)), "{section:#}");
        }
    }
}

#[test]
fn storms_on_every_kind_of_server() {
    let (json, csv) = models(&["--only", "closed loop of 8"]);
    let titles = [
        "storm, closed loop of 8",
        "storm over TLS, whole handshakes, closed loop of 8",
        "storm over TLS, resumed, closed loop of 8",
    ];
    assert_all_have_figures(&json, &titles);
    assert!(json["setting"]["peers"]["pgbouncer"].as_str().is_some_and(|text| text.contains("PgBouncer")), "{json:#}");
    // A line for each figure, and one for each note.
    let figures = csv.lines().filter(|line| line.ends_with(','));
    assert_eq!(figures.count(), titles.len() * PEERS.len(), "{csv}");
}

#[test]
fn costs_of_every_kind_of_server() {
    let (json, _) = models(&["--only", "costs", "--idle", "30"]);
    let titles = ["CPU time of a session", "context switches", "page faults", "CPU time of a query", "memory"];
    assert_all_have_figures(&json, &titles);
}

#[test]
fn ctrl_c_ends_the_servers_and_prints_what_there_is() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut child = Command::new(env!("CARGO_BIN_EXE_pgprefork"))
        .args(["bench", "models", "--rounds", "1000", "--seconds", "1", "--only", "storm, closed loop of 8"])
        .env("TMPDIR", directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program");
    let mut progress = BufReader::new(child.stderr.take().expect("its standard error")).lines();
    // All servers have been started, and every one has had its first run.
    assert!(progress.any(|line| line.is_ok_and(|line| line.starts_with("round 2"))), "a second round");
    let servers = support::children_of(child.id().cast_signed());
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).expect("it runs");
    let mut out = String::new();
    child.stdout.take().expect("its standard output").read_to_string(&mut out).expect("text");
    assert!(child.wait().expect("its end").success(), "{out}");
    assert!(out.contains("prefork, reuse") && out.contains("Stopped"), "{out}");
    assert_eq!(servers.len(), 6);
    for server in servers {
        assert!(kill(Pid::from_raw(server), None).is_err(), "{server} is still there");
    }
    assert_eq!(std::fs::read_dir(directory.path()).expect("the directory").count(), 0);
}
