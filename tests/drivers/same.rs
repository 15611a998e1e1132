//! Lists of operations of psycopg 3, node-postgres and JDBC: what comes of each through the relay is what comes of it with
//! PostgreSQL alone. In pool mode "transaction" it is so but for the differences that are listed here.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::output;
use crate::support::postgresql::PostgreSql;
use crate::support::{Server, postgres_program};

/// Operations of all drivers together, at least.
const OPERATIONS_MIN: usize = 350;
const JAR: &str = "/usr/share/java/postgresql.jar";

/// A driver's program, and the operations that differ in pool mode "transaction": how the records begin there, or what they
/// contain.
struct Driver {
    name: &'static str,
    differs: &'static [(&'static str, &'static str)],
}

/// Statements' names upstream are the relay's, and start-up parameters that do not follow a client are refused.
const DRIVERS: [Driver; 3] = [
    Driver {
        name: "psycopg",
        differs: &[
            ("prepared_after_five", "(12,)], (0,))"),
            ("connection options", "unsupported startup parameter in pool mode \\\"transaction\\\": work_mem"),
            ("connection wrong option", "unsupported startup parameter in pool mode \\\"transaction\\\": nothing"),
        ],
    },
    Driver {
        name: "node-postgres",
        differs: &[
            ("prepared", "\"rows\":[{\"count\":\"0\"}]"),
            (
                "connection statement timeout",
                "unsupported startup parameter in pool mode \\\"transaction\\\": statement_timeout",
            ),
            ("connection options", "unsupported startup parameter in pool mode \\\"transaction\\\": work_mem"),
        ],
    },
    Driver {
        name: "JDBC",
        differs: &[
            ("connection schema", "unsupported startup parameter in pool mode \"transaction\": search_path"),
            ("connection options", "unsupported startup parameter in pool mode \"transaction\": work_mem"),
        ],
    },
];

/// Where JDBC's program was compiled to, and the rest of this repository.
struct Programs {
    classes: tempfile::TempDir,
    root: PathBuf,
}

impl Programs {
    fn new() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).to_owned();
        let classes = tempfile::Builder::new().prefix("pgprefork-classes-").tempdir().expect("a directory");
        let source = root.join("tests/drivers/same/Operations.java");
        output(Command::new("javac").args(["-encoding", "UTF-8", "-cp", JAR, "-d"]).arg(classes.path()).arg(source));
        Self { classes, root }
    }

    /// The records of a driver's operations: names and outcomes.
    fn run(&self, driver: &str, port: u16, database: &str) -> Vec<(String, String)> {
        let folder = self.root.join("tests/drivers/same");
        let packages = self.root.join("target/node-drivers");
        let mut command = match driver {
            "psycopg" => {
                let mut command = Command::new(self.root.join("target/psycopg/bin/python"));
                command.arg(folder.join("operations.py"));
                command
            }
            "node-postgres" => {
                assert!(packages.exists(), "{} is missing: tests/run installs it", packages.display());
                let mut command = Command::new("node");
                command.arg("--no-deprecation").arg(folder.join("operations.js"));
                command
            }
            _ => {
                let path = format!("{}:{JAR}", self.classes.path().display());
                let mut command = Command::new("java");
                command.args(["-XX:TieredStopAtLevel=1", "-cp", &path, "Operations"]);
                command
            }
        };
        command.arg(port.to_string()).arg(database).env("TZ", "UTC").env_remove("PGOPTIONS");
        if driver == "node-postgres" {
            command.arg(packages);
        }
        let records = output(&mut command);
        let pair = |line: &str| {
            let (name, record) = line.split_once('\t').unwrap_or_else(|| panic!("{driver}: {line}"));
            (name.to_owned(), record.to_owned())
        };
        records.lines().map(pair).collect()
    }
}

fn psql(upstream: &PostgreSql, database: &str, arguments: &[&str]) {
    let port = upstream.port.to_string();
    let mut command = Command::new(postgres_program("psql"));
    command.args(["-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-Xq", "-v", "ON_ERROR_STOP=1", "-d", database]);
    output(command.args(arguments));
}

fn relay(upstream: &PostgreSql, mode: &str) -> Server {
    let place = format!("relay.databases={{\"*\" = {{host = \"127.0.0.1\", port = {}}}}}", upstream.port);
    let mode = format!("relay.pool_mode={mode}");
    // JDBC sends it, and PostgreSQL's default is as good.
    let ignored = "relay.ignore_startup_parameters=[\"extra_float_digits\"]";
    let settings = ["engine.kind=relay", &place, &mode, ignored, "relay.default_pool_size=4"];
    Server::start(&settings.iter().flat_map(|setting| ["--set", setting]).collect::<Vec<_>>())
}

#[test]
fn operations_of_three_drivers_come_out_as_with_postgresql_alone() {
    let upstream = PostgreSql::start(&["max_connections=200", "max_prepared_transactions=10"]);
    psql(&upstream, "postgres", &["-c", "create role nobody nologin"]);
    let servers = ["session", "transaction"].map(|mode| relay(&upstream, mode));
    let places = [("alone", upstream.port), ("session", servers[0].port), ("transaction", servers[1].port)];
    let programs = Programs::new();
    let schema = programs.root.join("tests/drivers/same/schema.sql").display().to_string();
    let mut count = 0;
    for driver in &DRIVERS {
        // Tables, large objects and locks are the database's: each run has one of its own.
        let runs = places.map(|(place, port)| {
            let database = format!("db_{}_{place}", driver.name.to_lowercase().replace('-', "_"));
            psql(&upstream, "postgres", &["-c", &format!("create database {database}")]);
            psql(&upstream, &database, &["-f", &schema]);
            (database, port)
        });
        let [alone, session, transaction] = std::thread::scope(|scope| {
            let started = runs.each_ref().map(|(database, port)| {
                let programs = &programs;
                scope.spawn(move || programs.run(driver.name, *port, database))
            });
            started.map(|run| run.join().expect("a run"))
        });
        assert_outcomes_tell_something(driver.name, &alone);
        assert_same(driver.name, "session", &alone, &session, &[], &servers[0]);
        assert_same(driver.name, "transaction", &alone, &transaction, driver.differs, &servers[1]);
        count += alone.len();
    }
    assert!(count >= OPERATIONS_MIN, "{count} operations");
}

/// No operation has no outcome or another's name, and few have the outcome of another one.
fn assert_outcomes_tell_something(driver: &str, records: &[(String, String)]) {
    let names: HashSet<_> = records.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), records.len(), "{driver}: a name is there twice");
    let outcomes: HashSet<_> = records.iter().map(|(_, outcome)| outcome).collect();
    assert!(outcomes.len() * 10 >= records.len() * 6, "{driver}: {} of {}", outcomes.len(), records.len());
    let empty: Vec<_> = records.iter().filter(|(_, outcome)| outcome.is_empty()).map(|(name, _)| name).collect();
    assert!(empty.is_empty(), "{driver}: {empty:?}");
    // What is wrong in the programs themselves is no outcome.
    for sign in ["AttributeError", "NameError", "TypeError", "is not a function", "NullPointerException"] {
        let wrong: Vec<_> = records.iter().filter(|(_, outcome)| outcome.contains(sign)).collect();
        assert!(wrong.is_empty(), "{driver}: {wrong:?}");
    }
}

fn assert_same(
    driver: &str,
    mode: &str,
    alone: &[(String, String)],
    found: &[(String, String)],
    differs: &[(&str, &str)],
    server: &Server,
) {
    let mut wrong = Vec::new();
    for (number, (name, expected)) in alone.iter().enumerate() {
        let outcome = found.get(number).filter(|(found, _)| found == name).map_or("nothing", |(_, outcome)| outcome);
        let is_right = match differs.iter().find(|(differing, _)| differing == name) {
            Some((_, part)) => outcome.contains(part) && !expected.contains(part),
            None => outcome == expected,
        };
        if !is_right {
            wrong.push(format!("{name}\n  alone: {expected:.2000}\n  {mode}: {outcome:.2000}"));
        }
    }
    assert!(wrong.is_empty(), "{driver}, {mode}:\n{}\n{}", wrong.join("\n"), server.log());
    assert_eq!(alone.len(), found.len(), "{driver}, {mode}");
}
