//! The same statements on a real PostgreSQL and here: rows, column names and types, command tags and SQLSTATEs.
//!
//! Each area generates scripts (`areas/`). A statement that PostgreSQL answers and this server refuses by name
//! (0A000) or answers differently fails its area, unless `docs/differences.md` tells of it. Prints a score by area.
//!
//! Runs without libtest's harness: all areas share two servers. Arguments filter areas by name;
//! `PGPREFORK_TEST_SEED` makes other choices, `PGPREFORK_TEST_DIFFERENCES` prints more than the first few differences.

use std::process::ExitCode;
use std::time::Instant;

#[path = "../support/mod.rs"]
mod support;

mod areas;
mod listed;
mod session;

use listed::Listed;
use session::{Answer, Session};
use support::Server;
use support::load::Random;
use support::postgresql::PostgreSql;

/// The seed of a run that is not told another: the same statements each time.
const SEED: u64 = 15;
/// Statements that a run without filters has at the least.
const STATEMENTS_MIN: usize = 5000;
/// Differences printed by area, unless more are asked for.
const PRINTED: usize = 12;
/// What every session starts with, so that defaults of the machine do not matter.
const OPTIONS: &str = "-c TimeZone=Europe/Berlin -c DateStyle=ISO,MDY -c IntervalStyle=postgres \
                       -c client_min_messages=error -c statement_timeout=20000";

/// Statements of one session, each sent by itself.
pub struct Script {
    /// Sent one after another.
    pub statements: Vec<String>,
    /// What follows a difference would differ because of it, and is not counted.
    pub is_cumulative: bool,
}

impl Script {
    /// Statements that stand for themselves, apart from a setup that is answered alike.
    pub fn new(statements: Vec<String>) -> Self {
        Self { statements, is_cumulative: false }
    }

    /// Statements that build on one another.
    pub fn cumulative(statements: Vec<String>) -> Self {
        Self { statements, is_cumulative: true }
    }
}

/// How the statements of an area came out.
#[derive(Default)]
struct Score {
    alike: usize,
    refused: usize,
    listed: usize,
    /// What came after a refusal that it depends on.
    uncounted: usize,
    /// Those that nobody tells of.
    different: Vec<String>,
}

fn main() -> ExitCode {
    let filters: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let seed = std::env::var("PGPREFORK_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(SEED);
    let printed =
        std::env::var("PGPREFORK_TEST_DIFFERENCES").ok().and_then(|text| text.parse().ok()).unwrap_or(PRINTED);
    println!("conformance, PGPREFORK_TEST_SEED={seed}");
    let listed = Listed::read();
    let (postgresql, server) = (PostgreSql::start(&[]), Server::start(&["--set", "log.level=error"]));
    let (mut passed, mut failed, mut statements) = (0, 0, 0);
    for (name, generate) in areas::ALL {
        if !filters.is_empty() && !filters.iter().any(|filter| name.contains(filter.as_str())) {
            continue;
        }
        let begun = Instant::now();
        let scripts = generate(&mut Random(seed));
        let score = compare(&scripts, &postgresql, &server, &listed);
        let count: usize = scripts.iter().map(|script| script.statements.len()).sum();
        statements += count;
        let verdict = if score.different.is_empty() { "ok" } else { "FAILED" };
        println!(
            "test {name} ... {verdict} ({count} statements: {} alike, {} refused, {} listed, {} after a refusal, {} different; {:.1} s)",
            score.alike,
            score.refused,
            score.listed,
            score.uncounted,
            score.different.len(),
            begun.elapsed().as_secs_f64()
        );
        score.different.iter().take(printed).for_each(|difference| println!("{difference}"));
        if score.different.is_empty() { passed += 1 } else { failed += 1 }
    }
    println!("\n{statements} statements\n{passed} passed, {failed} failed");
    let is_enough = !filters.is_empty() || statements >= STATEMENTS_MIN;
    if failed == 0 && passed > 0 && is_enough { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn compare(scripts: &[Script], postgresql: &PostgreSql, server: &Server, listed: &Listed) -> Score {
    let mut score = Score::default();
    let mut theirs = Session::connect(postgresql.port, OPTIONS);
    let mut ours = Session::connect(server.port, OPTIONS);
    for script in scripts {
        let mut is_counted = true;
        for (number, statement) in script.statements.iter().enumerate() {
            let (expected, found) = (answer(&mut theirs, statement), answer(&mut ours, statement));
            if is_counted {
                let is_alike = score.count(number, script, &expected, &found, listed);
                // What is not there has no further differences.
                let is_setup = ["create table", "insert into o "].iter().any(|start| statement.starts_with(start));
                is_counted = is_alike || !(script.is_cumulative || is_setup);
            } else {
                score.uncounted += 1;
            }
            if expected.is_gone || found.is_gone {
                // A new session each, so that the rest has its comparison.
                theirs = Session::connect(postgresql.port, OPTIONS);
                ours = Session::connect(server.port, OPTIONS);
            }
        }
    }
    score
}

fn answer(session: &mut Session, statement: &str) -> Answer {
    let answer = session.run(statement);
    if statement.to_ascii_lowercase().contains("order by") { answer } else { answer.sorted() }
}

impl Score {
    /// Counts the answers to one statement of a script; whether they are alike.
    fn count(&mut self, number: usize, script: &Script, expected: &Answer, found: &Answer, listed: &Listed) -> bool {
        let statement = &script.statements[number];
        if is_alike(expected, found) {
            self.alike += 1;
            return true;
        }
        let refusal = found.error.as_ref().filter(|(code, _)| code == "0A000");
        if refusal.is_some_and(|(_, message)| listed.has_refusal(message)) {
            self.refused += 1;
        } else if listed.has_statement(statement) {
            self.listed += 1;
        } else {
            let before = if script.is_cumulative { script.statements[..number].join("; ") } else { String::new() };
            let after = if before.is_empty() { String::new() } else { format!("  after: {before}\n") };
            self.different.push(format!("{after}  {statement}\n    PostgreSQL: {expected}\n    here:       {found}"));
        }
        false
    }
}

/// Messages may differ: SQLSTATEs may not.
fn is_alike(expected: &Answer, found: &Answer) -> bool {
    let code = |answer: &Answer| answer.error.as_ref().map(|(code, _)| code.clone());
    expected.results == found.results && code(expected) == code(found) && expected.is_gone == found.is_gone
}
