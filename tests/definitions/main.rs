//! Definitions and what rests on them, on a real PostgreSQL and here: the same statements through psql, and the same
//! rows, command tags, notices and errors with all their fields.
//!
//! Each file beside this one is a script. Two kinds of lines are known to differ and are left out on both sides: the row
//! or key that a constraint refused, which this server does not know of every statement, and the internal statement of a
//! foreign key's action.

#[path = "../support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use support::postgresql::PostgreSql;
use support::{Server, postgres_program};

/// What psql shows for a script, statement by statement.
fn shown(port: u16, statements: &[&str]) -> Vec<Vec<String>> {
    let mut script = String::new();
    for (number, statement) in statements.iter().enumerate() {
        script.push_str(&format!("\\echo @@{number}\n{statement};\n"));
    }
    // One pipe for both keeps rows and errors in order.
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let mut psql = Command::new(postgres_program("psql"))
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", "postgres", "-d", "postgres", "-X", "-A", "-f", "-"])
        .args(["-v", "VERBOSITY=verbose", "-P", "null=NULL"])
        .stdin(Stdio::piped())
        .stdout(writer.try_clone().expect("a second end"))
        .stderr(writer)
        .env_remove("PGOPTIONS")
        .spawn()
        .expect("psql");
    let mut input = psql.stdin.take().expect("its input");
    let writing = std::thread::spawn(move || input.write_all(script.as_bytes()));
    let mut output = String::new();
    reader.read_to_string(&mut output).expect("what it shows");
    writing.join().expect("the writer").expect("the script");
    psql.wait().expect("psql's end");
    parts(&output, statements.len())
}

/// The lines of each statement, without positions in either server's source and in the text.
fn parts(output: &str, count: usize) -> Vec<Vec<String>> {
    let mut parts = vec![Vec::new(); count];
    let mut current = None;
    for line in output.lines() {
        if let Some(number) = line.strip_prefix("@@") {
            current = number.parse::<usize>().ok();
            continue;
        }
        let line = match line.split_once(": ") {
            Some((place, rest)) if place.starts_with("psql:<stdin>:") => rest,
            _ => line,
        };
        let left_out = ["LOCATION:", "LINE ", "CONTEXT:", "DETAIL:  Failing row contains"];
        let is_key = line.starts_with("DETAIL:  Key ") && line.ends_with(" already exists.");
        if left_out.iter().any(|start| line.starts_with(start)) || is_key || line.trim() == "^" {
            continue;
        }
        if let Some(part) = current.and_then(|number| parts.get_mut(number)) {
            part.push(line.to_owned());
        }
    }
    parts
}

fn compare(script: &str) {
    let statements: Vec<&str> = script.split(";\n").map(str::trim).filter(|statement| !statement.is_empty()).collect();
    assert!(statements.len() > 5, "a script");
    let (postgresql, server) = (PostgreSql::start(&[]), Server::start(&[]));
    let (expected, found) = (shown(postgresql.port, &statements), shown(server.port, &statements));
    let mut differences = String::new();
    for ((statement, expected), found) in statements.iter().zip(&expected).zip(&found) {
        if expected != found {
            differences.push_str(&format!("{statement}\n  PostgreSQL: {expected:#?}\n  here: {found:#?}\n"));
        }
    }
    let answered = expected.iter().filter(|lines| !lines.is_empty()).count();
    assert!(answered * 10 > statements.len() * 9, "PostgreSQL answered {answered} of {}", statements.len());
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn dropping_honours_what_rests_on_an_object() {
    compare(include_str!("dependencies.sql"));
}

#[test]
fn views_and_defaults_keep_working_when_names_change() {
    compare(include_str!("dependencies_and_names.sql"));
}

#[test]
fn temporary_relations_stand_where_the_search_path_says() {
    compare(include_str!("temporary.sql"));
}

#[test]
fn changes_of_tables_are_refused_as_by_postgresql() {
    compare(include_str!("changes.sql"));
}

#[test]
fn like_takes_over_what_it_says_in_its_place() {
    compare(include_str!("like.sql"));
}

#[test]
fn actions_of_foreign_keys_leave_no_orphans() {
    compare(include_str!("foreign_keys.sql"));
}

#[test]
fn pg_depend_shows_what_rests_on_what() {
    compare(include_str!("catalogs.sql"));
}
