//! The real binary, its processes, and what happens to them: models, recycling, faults, shutdown.
//!
//! Runs without libtest's harness: its threads and a server's process groups do not go together. Every test has
//! a directory and a port of its own. Arguments filter by name.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

mod exhaustion;
mod faults;
mod floods;
mod lifecycle;
mod logging;
mod metrics;
mod scrub;
mod server;
mod sessions;
mod template;
#[path = "../support/tls.rs"]
mod tls;
mod views;
mod waiting;

type Test = (&'static str, fn());

fn main() -> ExitCode {
    let filters: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let tests: Vec<Test> = [
        sessions::TESTS,
        waiting::TESTS,
        exhaustion::TESTS,
        floods::TESTS,
        faults::TESTS,
        lifecycle::TESTS,
        logging::TESTS,
        metrics::TESTS,
        scrub::TESTS,
        template::TESTS,
        views::TESTS,
    ]
    .concat();
    let mut failed = Vec::new();
    let mut count = 0;
    for (name, test) in tests {
        if !filters.is_empty() && !filters.iter().any(|filter| name.contains(filter.as_str())) {
            continue;
        }
        count += 1;
        let begun = Instant::now();
        let passed = catch_unwind(AssertUnwindSafe(test)).is_ok();
        println!("test {name} ... {} ({} ms)", if passed { "ok" } else { "FAILED" }, begun.elapsed().as_millis());
        if !passed {
            failed.push(name);
        }
    }
    println!("\n{count} tests, {} failed {failed:?}", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
