//! What a running server's segment says, read from outside: the same words that its own views show.

use serde_json::{Value, json};
use shm::{Counter, ExitReason, Phase, Segment, SetupPhase, SlotKind, SlotState, UpstreamPoolFacts};

use crate::system::signal::Signal;

/// Everything, for machines.
pub(super) fn as_json(segment: Segment, listen_queue: Option<u32>) -> Value {
    let (pool, census) = (segment.pool(), segment.census());
    let counters: serde_json::Map<String, Value> =
        Counter::ALL.iter().map(|counter| (counter.name().to_owned(), json!(pool.counter(*counter)))).collect();
    let exits: serde_json::Map<String, Value> =
        ExitReason::ALL.iter().map(|reason| (reason.name().to_owned(), json!(pool.exits(*reason)))).collect();
    let phases: serde_json::Map<String, Value> = phases(segment)
        .map(|(name, count, [p50, p95, p99, max])| {
            let times = json!({ "count": count, "p50_us": p50, "p95_us": p95, "p99_us": p99, "max_us": max });
            (name.to_owned(), times)
        })
        .collect();
    let crashes: serde_json::Map<String, Value> =
        crashes(segment).map(|(name, count)| (name.to_owned(), json!(count))).collect();
    let upstream: Vec<Value> = segment.upstream_pools().into_iter().map(|(_, pool)| upstream(&pool)).collect();
    json!({
        "starting": census.starting,
        "idle": census.idle,
        "connecting": census.connecting,
        "serving": census.serving,
        "leaving": census.leaving,
        "stopped": census.stopped,
        "queued": pool.queued(),
        "parked": pool.parked(),
        "listen_queue": listen_queue,
        "started_us": pool.started_us(),
        "configuration_generation": pool.configuration_generation(),
        "counters": counters,
        "exits": exits,
        "crashes_by_signal": crashes,
        "connection_phases": phases,
        "upstream_pools": upstream,
        "own_postgres": own_postgres(segment),
    })
}

/// How a PostgreSQL of the server's own is; `None` without one.
fn own_postgres(segment: Segment) -> Option<&'static str> {
    let mut slots = segment.slots().map(|(_, slot)| slot);
    let keeper = slots.find(|slot| slot.kind() == SlotKind::Keeper && slot.state() != SlotState::Free)?;
    Some(if keeper.phase() == Phase::Accepting { "ready" } else { "starting" })
}

/// A relay's pool of connections.
fn upstream(pool: &UpstreamPoolFacts) -> Value {
    json!({
        "name": pool.name,
        "size": pool.limit,
        "lent": pool.lent,
        "idle": pool.idle,
        "pinned": pool.pinned,
        "waiting": pool.waiting,
        "leases": pool.leases,
        "waits": pool.waits,
        "waited_us": pool.waited_us,
        "pins": pool.pins,
    })
}

/// At a glance, for people.
pub(super) fn as_text(segment: Segment, listen_queue: Option<u32>) -> String {
    let (pool, census) = (segment.pool(), segment.census());
    let mut text = format!(
        "workers: {} idle, {} starting, {} connecting, {} serving\nclients: {} waiting{}, {} served, {} refused, {} displaced, {} parked\n",
        census.idle,
        census.starting,
        census.connecting,
        census.serving,
        pool.queued(),
        listen_queue.map_or_else(String::new, |waiting| format!(", {waiting} in the listen queues")),
        pool.counter(Counter::Sessions),
        pool.counter(Counter::Refused),
        pool.counter(Counter::Displaced),
        pool.parked(),
    );
    if census.stopped > 0 {
        text += &format!("stopped by a signal: {} workers\n", census.stopped);
    }
    let ended =
        ExitReason::ALL.iter().map(|reason| (reason.name(), pool.exits(*reason))).filter(|(_, count)| *count > 0);
    let ended: Vec<String> = ended.map(|(name, count)| format!("{count} {name}")).collect();
    if !ended.is_empty() {
        text += &format!("workers ended: {}\n", ended.join(", "));
    }
    let crashed: Vec<String> = crashes(segment).map(|(name, count)| format!("{count} {name}")).collect();
    if !crashed.is_empty() {
        text += &format!("crashed by signal: {}\n", crashed.join(", "));
    }
    for (name, count, [p50, p95, p99, max]) in phases(segment) {
        text += &format!("{name}: {count} times, median {p50} us, 95 % {p95} us, 99 % {p99} us, longest {max} us\n");
    }
    if let Some(how) = own_postgres(segment) {
        text += &format!("PostgreSQL: {how}\n");
    }
    for (_, pool) in segment.upstream_pools() {
        // Clients choose the name.
        let name = pool.name.escape_debug();
        let UpstreamPoolFacts { limit, lent, pinned, idle, waiting, leases, waits, waited_us, .. } = pool;
        text += &format!(
            "upstream pool {name}: {lent} lent ({pinned} pinned), {idle} idle of {limit}, {waiting} waiting; \
             lent {leases} times, {waits} after waiting, {waited_us} us altogether\n"
        );
    }
    text
}

/// Workers that a signal ended, by its name.
fn crashes(segment: Segment) -> impl Iterator<Item = (&'static str, u64)> {
    let ended = Signal::iterator().map(move |signal| (signal.as_str(), segment.pool().crashes(signal as i32)));
    ended.filter(|(_, count)| *count > 0)
}

/// Name, count, median, 95th and 99th percentile and maximum of each phase that has happened.
fn phases(segment: Segment) -> impl Iterator<Item = (&'static str, u64, [u64; 4])> {
    SetupPhase::ALL.into_iter().filter_map(move |phase| {
        let histogram = segment.statistics().setup(phase).snapshot();
        let at = |percent| histogram.percentile(percent);
        Some((phase.name(), histogram.count(), [at(50.0)?, at(95.0)?, at(99.0)?, at(100.0)?]))
    })
}
