//! What a running server's segment says, read from outside: the same words that its own views show.

use serde_json::{Value, json};
use shm::{Counter, ExitReason, Segment, SetupPhase};

/// Everything, for machines.
pub(super) fn as_json(segment: Segment) -> Value {
    let (pool, census) = (segment.pool(), segment.census());
    let counters: serde_json::Map<String, Value> =
        Counter::ALL.iter().map(|counter| (counter.name().to_owned(), json!(pool.counter(*counter)))).collect();
    let exits: serde_json::Map<String, Value> =
        ExitReason::ALL.iter().map(|reason| (reason.name().to_owned(), json!(pool.exits(*reason)))).collect();
    let phases: serde_json::Map<String, Value> = phases(segment)
        .map(|(name, count, p50, p99)| (name.to_owned(), json!({ "count": count, "p50_us": p50, "p99_us": p99 })))
        .collect();
    json!({
        "starting": census.starting,
        "idle": census.idle,
        "connecting": census.connecting,
        "serving": census.serving,
        "leaving": census.leaving,
        "queued": pool.queued(),
        "started_us": pool.started_us(),
        "configuration_generation": pool.configuration_generation(),
        "counters": counters,
        "exits": exits,
        "connection_phases": phases,
    })
}

/// At a glance, for people.
pub(super) fn as_text(segment: Segment) -> String {
    let (pool, census) = (segment.pool(), segment.census());
    let mut text = format!(
        "workers: {} idle, {} starting, {} connecting, {} serving\nclients: {} waiting, {} served, {} refused\n",
        census.idle,
        census.starting,
        census.connecting,
        census.serving,
        pool.queued(),
        pool.counter(Counter::Sessions),
        pool.counter(Counter::Refused),
    );
    let ended =
        ExitReason::ALL.iter().map(|reason| (reason.name(), pool.exits(*reason))).filter(|(_, count)| *count > 0);
    let ended: Vec<String> = ended.map(|(name, count)| format!("{count} {name}")).collect();
    if !ended.is_empty() {
        text += &format!("workers ended: {}\n", ended.join(", "));
    }
    for (name, count, p50, p99) in phases(segment) {
        text += &format!("{name}: {count} times, median {p50} us, 99th percentile {p99} us\n");
    }
    text
}

/// Name, count, median and 99th percentile of each phase that has happened.
fn phases(segment: Segment) -> impl Iterator<Item = (&'static str, u64, u64, u64)> {
    SetupPhase::ALL.into_iter().filter_map(move |phase| {
        let histogram = segment.statistics().setup(phase).snapshot();
        Some((phase.name(), histogram.count(), histogram.percentile(50.0)?, histogram.percentile(99.0)?))
    })
}
