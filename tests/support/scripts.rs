//! Scripts through psql on a real PostgreSQL and here: the same rows, command tags, notices and errors with all their
//! fields.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use super::postgresql::PostgreSql;
use super::{Server, postgres_program};

/// The statements of a script, each at the end of a line.
pub fn statements(script: &str) -> Vec<String> {
    script.split(";\n").map(str::trim).filter(|statement| !statement.is_empty()).map(str::to_owned).collect()
}

/// What psql shows for a script, statement by statement.
fn shown(port: u16, statements: &[String], is_left_out: &dyn Fn(&str) -> bool) -> Vec<Vec<String>> {
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
    parts(&output, statements.len(), is_left_out)
}

/// The lines of each statement, without positions in either server's source and in the text.
fn parts(output: &str, count: usize, is_left_out: &dyn Fn(&str) -> bool) -> Vec<Vec<String>> {
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
        let is_place = ["LOCATION:", "LINE ", "CONTEXT:"].iter().any(|start| line.starts_with(start));
        if is_place || is_left_out(line) || line.trim() == "^" {
            continue;
        }
        if let Some(part) = current.and_then(|number| parts.get_mut(number)) {
            part.push(line.to_owned());
        }
    }
    parts
}

/// Fails where a statement is answered differently. Lines that `is_left_out` tells are not looked at.
pub fn compare(statements: &[String], is_left_out: impl Fn(&str) -> bool) {
    assert!(statements.len() > 5, "a script");
    let (postgresql, server) = (PostgreSql::start(&[]), Server::start(&["--set", "log.level=error"]));
    let expected = shown(postgresql.port, statements, &is_left_out);
    let found = shown(server.port, statements, &is_left_out);
    let mut differences = Vec::new();
    for ((statement, expected), found) in statements.iter().zip(&expected).zip(&found) {
        if expected != found {
            differences.push(format!("{statement}\n  PostgreSQL: {expected:#?}\n  here: {found:#?}\n"));
        }
    }
    let answered = expected.iter().filter(|lines| !lines.is_empty()).count();
    println!("{} statements, {} differences", statements.len(), differences.len());
    assert!(answered * 10 > statements.len() * 9, "PostgreSQL answered {answered} of {}", statements.len());
    let (count, first) = (differences.len(), differences.iter().take(20).cloned().collect::<String>());
    assert!(differences.is_empty(), "{count} differences:\n{first}");
}
