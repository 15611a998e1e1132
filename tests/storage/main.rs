//! Storage under several processes: agreement, kills, faults at named points, power loss.
//!
//! Forks real processes, so it runs without libtest (`harness = false`). `PGPREFORK_SEED` repeats a run; the seed
//! is printed. The parent plays the postmaster: it forks, waits, and reaps.

mod agreement;
mod crash;
mod power_loss;
mod spill;
mod support;

/// A test's name, and what runs it with the seed.
type Test = (&'static str, fn(u64));

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("crash-workload") => return crash::workload(&arguments[1..]),
        Some("power-loss-workload") => return power_loss::workload(&arguments[1..]),
        _ => {}
    }
    let filter = arguments.iter().find(|argument| !argument.starts_with('-')).cloned().unwrap_or_default();
    let seed = support::seed();
    println!("storage tests, PGPREFORK_SEED={seed}");
    let tests: &[Test] = &[
        ("writers_and_readers_agree", agreement::writers_and_readers_agree),
        ("isolation_between_processes", agreement::isolation_between_processes),
        ("an_interrupt_gives_the_lock_back", agreement::an_interrupt_gives_the_lock_back),
        ("asynchronous_commits_become_durable", agreement::asynchronous_commits_become_durable),
        ("strangers_are_refused", agreement::strangers_are_refused),
        ("a_full_wal_index_refuses_the_commit", agreement::a_full_wal_index_refuses_the_commit),
        ("spilled_pages_are_written_again_or_forgotten", spill::spilled_pages_are_written_again_or_forgotten),
        ("killed_processes_cost_nobody_else", crash::killed_processes_cost_nobody_else),
        ("a_death_at_each_point_frees_everything", crash::a_death_at_each_point_frees_everything),
        ("power_loss_keeps_every_acknowledged_commit", power_loss::every_acknowledged_commit_is_kept),
        ("power_loss_would_show_a_missing_sync", power_loss::a_missing_sync_would_show),
    ];
    for (name, test) in tests {
        if name.contains(&filter) {
            let started = std::time::Instant::now();
            test(seed);
            println!("test {name} ... ok ({:.1} s)", started.elapsed().as_secs_f64());
        }
    }
}
