//! Faults through the whole server: processes killed at named points under load, full disks, syncs that fail, and
//! bytes that are no protocol. What was acknowledged stays, and nobody notices but whom it befell.
//!
//! Runs without libtest's harness, one test at a time: each has a server and a load of its own. Arguments filter by
//! name; `PGPREFORK_TEST_SEED` repeats a run's choices.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

#[path = "../support/mod.rs"]
mod support;

mod background;
mod bytes;
mod clients;
mod disk;
mod kill;
mod sync;
mod victim;
mod wire;

/// A test's name, and what runs it with the seed.
type Test = (&'static str, fn(u64));

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((disk::INSIDE, rest)) = arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        disk::inside(rest);
        return ExitCode::SUCCESS;
    }
    let filters: Vec<String> = arguments.into_iter().filter(|argument| !argument.starts_with('-')).collect();
    let tests: Vec<Test> =
        [kill::TESTS, clients::TESTS, background::TESTS, disk::TESTS, sync::TESTS, bytes::TESTS].concat();
    let seed = support::load::seed();
    let (mut count, mut failed) = (0, Vec::new());
    for (name, test) in tests {
        if !filters.is_empty() && !filters.iter().any(|filter| name.contains(filter.as_str())) {
            continue;
        }
        count += 1;
        let begun = Instant::now();
        let passed = catch_unwind(AssertUnwindSafe(|| test(seed))).is_ok();
        println!("test {name} ... {} ({:.1} s)", if passed { "ok" } else { "FAILED" }, begun.elapsed().as_secs_f64());
        if !passed {
            failed.push(name);
        }
    }
    println!("\n{count} tests, {} failed {failed:?}", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
