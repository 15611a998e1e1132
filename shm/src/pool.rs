//! [`Pool`]: one per server. Gauges are hints that make events cheap; whoever decides something counts the slots.

use std::sync::atomic::{
    AtomicI32, AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
};

use crate::segment::Census;
use crate::slot::SlotState;

/// How the server is being stopped; also what its children look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum ShutdownMode {
    /// It is not.
    Running = 0,
    /// New clients are refused; sessions end by themselves.
    Smart = 1,
    /// Sessions are ended.
    Fast = 2,
    /// Processes leave at once; the next start recovers.
    Immediate = 3,
}

/// Why a worker's process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum ExitReason {
    /// Served as many sessions as one process may.
    Recycled = 0,
    /// Lived as long as a worker may.
    LifetimeOver,
    /// Held more memory than a worker may.
    MemoryLimit,
    /// Was surplus.
    Retired,
    /// Had an older configuration.
    Reload,
    /// Was told to end its session, or the server is stopping.
    Terminated,
    /// Failed before it could accept.
    StartFailed,
    /// Was killed after `hang_timeout`.
    Hung,
    /// Ended by a signal or a panic.
    Crashed,
}

impl ExitReason {
    /// All reasons in the order of their codes.
    pub const ALL: [ExitReason; 9] = [
        ExitReason::Recycled,
        ExitReason::LifetimeOver,
        ExitReason::MemoryLimit,
        ExitReason::Retired,
        ExitReason::Reload,
        ExitReason::Terminated,
        ExitReason::StartFailed,
        ExitReason::Hung,
        ExitReason::Crashed,
    ];

    /// The name in logs, views and metrics.
    pub fn name(self) -> &'static str {
        match self {
            ExitReason::Recycled => "recycled",
            ExitReason::LifetimeOver => "lifetime",
            ExitReason::MemoryLimit => "memory",
            ExitReason::Retired => "retired",
            ExitReason::Reload => "reload",
            ExitReason::Terminated => "terminated",
            ExitReason::StartFailed => "start failed",
            ExitReason::Hung => "hung",
            ExitReason::Crashed => "crashed",
        }
    }
}

/// Events that are counted for the whole pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Counter {
    /// Processes forked.
    Forks = 0,
    /// fork failed.
    ForkFailures,
    /// Connections accepted by workers or, in the classic model, by the postmaster.
    Accepts,
    /// Connections accepted by the doorman.
    DoormanAccepts,
    /// Clients that were told 53300.
    Refused,
    /// Clients that had to wait in the doorman's queue.
    Queued,
    /// Clients whose wait in the queue ended without a worker.
    QueueTimeouts,
    /// Clients that a worker gave to the doorman, because they had not said enough to be served.
    Parked,
    /// Clients on their way to a session that were ended in favour of others.
    Displaced,
    /// Sessions that got to ReadyForQuery.
    Sessions,
    /// Authentication failures.
    AuthenticationFailures,
    /// Start-up phases that took longer than `authentication_timeout`.
    AuthenticationTimeouts,
    /// Cancel requests with a valid key.
    Cancels,
    /// Cancel requests with a wrong key.
    CancelsRejected,
    /// Wake-ups of the postmaster by workers.
    Wakes,
    /// fdatasync calls on WAL files.
    Syncs,
    /// Checkpoints.
    Checkpoints,
}

impl Counter {
    /// All counters in the order of their codes.
    pub const ALL: [Counter; 17] = [
        Counter::Forks,
        Counter::ForkFailures,
        Counter::Accepts,
        Counter::DoormanAccepts,
        Counter::Refused,
        Counter::Queued,
        Counter::QueueTimeouts,
        Counter::Parked,
        Counter::Displaced,
        Counter::Sessions,
        Counter::AuthenticationFailures,
        Counter::AuthenticationTimeouts,
        Counter::Cancels,
        Counter::CancelsRejected,
        Counter::Wakes,
        Counter::Syncs,
        Counter::Checkpoints,
    ];

    /// The name in views and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Counter::Forks => "forks",
            Counter::ForkFailures => "fork_failures",
            Counter::Accepts => "accepts",
            Counter::DoormanAccepts => "doorman_accepts",
            Counter::Refused => "refused",
            Counter::Queued => "queued",
            Counter::QueueTimeouts => "queue_timeouts",
            Counter::Parked => "parked",
            Counter::Displaced => "displaced",
            Counter::Sessions => "sessions",
            Counter::AuthenticationFailures => "authentication_failures",
            Counter::AuthenticationTimeouts => "authentication_timeouts",
            Counter::Cancels => "cancels",
            Counter::CancelsRejected => "cancels_rejected",
            Counter::Wakes => "wakes",
            Counter::Syncs => "syncs",
            Counter::Checkpoints => "checkpoints",
        }
    }
}

const SIGNALS: usize = 65;

/// See the module's description.
#[repr(C, align(128))]
pub struct Pool {
    /// Workers by state, [`SlotState`] as index. Signed, because a killed worker may leave one short.
    gauges: [AtomicI32; 6],
    queued: AtomicI32,
    wake_pending: AtomicU32,
    spare_minimum: AtomicU32,
    configuration_generation: AtomicU32,
    shutdown: AtomicU32,
    panic: AtomicU32,
    recent_database: AtomicU32,
    /// How many databases were dropped whose regions are not free yet; never too low.
    pub(crate) doomed: AtomicU32,
    /// Below this index no slot is free.
    pub(crate) free_hint: AtomicU32,
    postmaster: AtomicU32,
    session_limit: AtomicU32,
    starts_fail: AtomicU32,
    parked: AtomicU32,
    started_us: AtomicU64,
    roles_version: AtomicU64,
    catalog_version: AtomicU64,
    upstream_renewed_us: AtomicU64,
    wrong_cancels: MinuteCounts,
    failed_logins: MinuteCounts,
    counters: [AtomicU64; Counter::ALL.len()],
    exits: [AtomicU64; ExitReason::ALL.len()],
    crashes: [AtomicU64; SIGNALS],
}

impl Pool {
    /// Workers in `state`, as far as the gauge knows.
    pub fn gauge(&self, state: SlotState) -> u32 {
        self.gauges[state as usize].load(Relaxed).max(0).cast_unsigned()
    }

    /// Spare workers: idle or starting, as far as the gauges know.
    pub fn spare(&self) -> u32 {
        self.gauge(SlotState::Idle) + self.gauge(SlotState::Starting)
    }

    pub(crate) fn moved(&self, from: SlotState, to: SlotState) {
        self.gauges[from as usize].fetch_sub(1, Relaxed);
        self.gauges[to as usize].fetch_add(1, Relaxed);
    }

    /// Returns whether the gauges were right.
    pub(crate) fn correct(&self, census: &Census) -> bool {
        let mut agreed = true;
        let counted = [
            (SlotState::Starting, census.starting),
            (SlotState::Idle, census.idle),
            (SlotState::Connecting, census.connecting),
            (SlotState::Serving, census.serving),
            (SlotState::Leaving, census.leaving),
        ];
        for (state, count) in counted {
            let gauge = &self.gauges[state as usize];
            // An addition, not a store: a worker that moves between the two is then off by one at most.
            let difference = count.cast_signed().wrapping_sub(gauge.load(Relaxed));
            if difference != 0 {
                gauge.fetch_add(difference, Relaxed);
                agreed = false;
            }
        }
        agreed
    }

    /// Clients waiting in the doorman's queue; set by the doorman alone.
    pub fn set_queued(&self, clients: u32) {
        self.queued.store(clients.min(i32::MAX.cast_unsigned()).cast_signed(), SeqCst);
    }

    /// Clients that wait with the doorman because they have not said enough to be served; set by the doorman alone.
    pub fn set_parked(&self, clients: u32) {
        self.parked.store(clients, Relaxed);
    }

    /// See [`Pool::set_parked`].
    pub fn parked(&self) -> u32 {
        self.parked.load(Relaxed)
    }

    /// Clients waiting in the doorman's queue.
    pub fn queued(&self) -> u32 {
        self.queued.load(SeqCst).max(0).cast_unsigned()
    }

    /// The number of spare workers at or below which a claim wakes the postmaster.
    pub fn spare_minimum(&self) -> u32 {
        self.spare_minimum.load(Relaxed)
    }

    /// Set by the postmaster from the configuration.
    pub fn set_spare_minimum(&self, workers: u32) {
        self.spare_minimum.store(workers, Relaxed);
    }

    /// How many sessions there may be at one time.
    pub fn session_limit(&self) -> u32 {
        self.session_limit.load(Relaxed)
    }

    /// Set by the postmaster from the configuration.
    pub fn set_session_limit(&self, sessions: u32) {
        self.session_limit.store(sessions, Relaxed);
    }

    /// Whether new workers have been failing to start, which the log says already.
    pub fn starts_fail(&self) -> bool {
        self.starts_fail.load(Relaxed) != 0
    }

    /// By the postmaster, when an episode of failures begins and ends.
    pub fn set_starts_fail(&self, fail: bool) {
        self.starts_fail.store(fail.into(), Relaxed);
    }

    /// Whether the caller is the one who has to wake the postmaster: true once until [`Pool::clear_wake`].
    pub fn claim_wake(&self) -> bool {
        // The load keeps the line shared while a wake-up is pending.
        let won = self.wake_pending.load(SeqCst) == 0 && self.wake_pending.swap(1, SeqCst) == 0;
        if won {
            self.count(Counter::Wakes);
        }
        won
    }

    /// By the postmaster, after it was woken and before it counts the slots: a worker that moves after the count
    /// then wakes it again.
    pub fn clear_wake(&self) {
        self.wake_pending.store(0, SeqCst);
    }

    /// Raised by each reload; a worker that started with an older one leaves at its session's end.
    pub fn configuration_generation(&self) -> u32 {
        self.configuration_generation.load(Acquire)
    }

    /// By the postmaster, once the new configuration is in force.
    pub fn set_configuration_generation(&self, generation: u32) {
        self.configuration_generation.store(generation, Release);
    }

    /// How the server is being stopped.
    pub fn shutdown(&self) -> ShutdownMode {
        match self.shutdown.load(SeqCst) {
            0 => ShutdownMode::Running,
            1 => ShutdownMode::Smart,
            2 => ShutdownMode::Fast,
            _ => ShutdownMode::Immediate,
        }
    }

    /// Begins or sharpens a shutdown; it is never softened.
    pub fn set_shutdown(&self, mode: ShutdownMode) {
        self.shutdown.fetch_max(mode as u32, SeqCst);
    }

    /// The error number of the fdatasync that failed, if one did. From then on nothing may be acknowledged: the
    /// kernel may have dropped the pages, and a second fdatasync would report success.
    pub fn panic_errno(&self) -> Option<u32> {
        match self.panic.load(SeqCst) {
            0 => None,
            errno => Some(errno),
        }
    }

    /// Sets the panic word, before anything else is done about the failure. The first error stays.
    pub fn set_panic(&self, errno: i32) {
        let errno = errno.unsigned_abs().max(1);
        let _ = self.panic.compare_exchange(0, errno, SeqCst, SeqCst);
    }

    /// Upstream connections made before this are not lent again (monotonic clock): what was defined since has no effect on
    /// their sessions.
    pub fn upstream_renewed_us(&self) -> u64 {
        self.upstream_renewed_us.load(Acquire)
    }

    /// See [`Pool::upstream_renewed_us`]; pairs with the load there.
    pub fn renew_upstream(&self, now_us: u64) {
        self.upstream_renewed_us.fetch_max(now_us, AcqRel);
    }

    /// The oid of the database that was connected to last, for idle workers to warm; 0 if none was.
    pub fn recent_database(&self) -> u32 {
        self.recent_database.load(Relaxed)
    }

    /// It was dropped.
    pub(crate) fn forget_recent_database(&self, oid: u32) {
        let _ = self.recent_database.compare_exchange(oid, 0, Relaxed, Relaxed);
    }

    /// See [`Pool::recent_database`].
    pub fn set_recent_database(&self, oid: u32) {
        if self.recent_database.load(Relaxed) != oid {
            self.recent_database.store(oid, Relaxed);
        }
    }

    /// The postmaster's process id; 0 before it is set.
    pub fn postmaster_pid(&self) -> i32 {
        self.postmaster.load(Relaxed).cast_signed()
    }

    /// By the postmaster at start: its pid, and when it started (microseconds since 1970).
    pub fn set_postmaster(&self, pid: i32, started_us: u64) {
        self.postmaster.store(pid.cast_unsigned(), Relaxed);
        self.started_us.store(started_us, Relaxed);
    }

    /// When the server started, in microseconds since 1970.
    pub fn started_us(&self) -> u64 {
        self.started_us.load(Relaxed)
    }

    /// Raised by each change of roles; what was cached under an older one is read again.
    pub fn roles_version(&self) -> u64 {
        self.roles_version.load(Acquire)
    }

    /// After a change of roles was committed. Returns the new version.
    pub fn bump_roles_version(&self) -> u64 {
        self.roles_version.fetch_add(1, SeqCst) + 1
    }

    /// Raised by each change of the list of databases or anything else in the cluster's own catalog.
    pub fn catalog_version(&self) -> u64 {
        self.catalog_version.load(Acquire)
    }

    /// After a change was committed. Returns the new version.
    pub fn bump_catalog_version(&self) -> u64 {
        self.catalog_version.fetch_add(1, SeqCst) + 1
    }

    /// Wrong cancel keys of the present minute (`now_us`: monotonic clock) from a source: a number that callers choose,
    /// taken modulo [`SOURCES`].
    pub fn wrong_cancels(&self, source: u64, now_us: u64) -> u32 {
        self.wrong_cancels.of(source, now_us)
    }

    /// Counts a wrong cancel key. Returns how many there were from that source in the present minute.
    pub fn count_wrong_cancel(&self, source: u64, now_us: u64) -> u32 {
        self.wrong_cancels.count(source, now_us)
    }

    /// Counts a failed authentication. Returns how many there were from that source in the present minute.
    pub fn count_failed_login(&self, source: u64, now_us: u64) -> u32 {
        self.failed_logins.count(source, now_us)
    }

    /// Adds one.
    pub fn count(&self, counter: Counter) {
        self.counters[counter as usize].fetch_add(1, Relaxed);
    }

    /// A counter's value.
    pub fn counter(&self, counter: Counter) -> u64 {
        self.counters[counter as usize].load(Relaxed)
    }

    /// Counts a worker's end.
    pub fn count_exit(&self, reason: ExitReason) {
        self.exits[reason as usize].fetch_add(1, Relaxed);
    }

    /// Workers that ended for this reason.
    pub fn exits(&self, reason: ExitReason) -> u64 {
        self.exits[reason as usize].load(Relaxed)
    }

    /// Counts a process that `signal` ended.
    pub fn count_crash(&self, signal: i32) {
        let signal = usize::try_from(signal).unwrap_or(0);
        self.crashes[if signal < SIGNALS { signal } else { 0 }].fetch_add(1, Relaxed);
    }

    /// Processes that `signal` ended.
    pub fn crashes(&self, signal: i32) -> u64 {
        usize::try_from(signal).ok().and_then(|signal| self.crashes.get(signal)).map_or(0, |count| count.load(Relaxed))
    }
}

/// How many sources of wrong cancel keys and failed authentications are counted apart.
pub const SOURCES: usize = 256;

/// Events of the present minute by where they came from: the minute in the high half, how many in it in the low one.
#[repr(C)]
struct MinuteCounts([AtomicU64; SOURCES]);

impl MinuteCounts {
    fn of(&self, source: u64, now_us: u64) -> u32 {
        let word = self.place(source).load(Relaxed);
        if word >> 32 == minute(now_us) { (word & 0xFFFF_FFFF) as u32 } else { 0 }
    }

    /// Returns how many there are with this one.
    fn count(&self, source: u64, now_us: u64) -> u32 {
        let minute = minute(now_us);
        let next = |word: u64| {
            let count = if word >> 32 == minute { word & 0xFFFF_FFFF } else { 0 };
            minute << 32 | (count + 1).min(0xFFFF_FFFF)
        };
        let before = self.place(source).fetch_update(Relaxed, Relaxed, |word| Some(next(word)));
        (next(before.unwrap_or(0)) & 0xFFFF_FFFF) as u32
    }

    fn place(&self, source: u64) -> &AtomicU64 {
        &self.0[(source % SOURCES as u64) as usize]
    }
}

/// Since the clock began, from 1, and never so many that they would not fit the half of a word.
fn minute(now_us: u64) -> u64 {
    (now_us / 60_000_000 + 1) & 0xFFFF_FFFF
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Geometry, Segment};

    #[test]
    fn wrong_cancels_are_counted_by_source_and_minute() {
        let segment = Segment::on_heap(&Geometry { slots: 1, databases: 1, wal_index_bytes: 32768 }).unwrap();
        let pool = segment.pool();
        assert_eq!((pool.count_wrong_cancel(7, 1), pool.count_wrong_cancel(7, 59_999_999)), (1, 2));
        assert_eq!((pool.wrong_cancels(7, 59_999_999), pool.wrong_cancels(8, 59_999_999)), (2, 0));
        assert_eq!(pool.wrong_cancels(7, 60_000_000), 0);
        assert_eq!(pool.count_wrong_cancel(7, 60_000_000), 1);
        assert_eq!(pool.count_wrong_cancel(u64::MAX, 60_000_000), 1);
        assert_eq!((pool.count_failed_login(7, 60_000_000), pool.count_failed_login(7, 60_000_000)), (1, 2));
        assert_eq!(pool.wrong_cancels(7, 60_000_000), 1, "each of its own kind");
    }

    #[test]
    fn one_waker_until_the_postmaster_looks() {
        let segment = Segment::on_heap(&Geometry { slots: 1, databases: 1, wal_index_bytes: 32768 }).unwrap();
        let pool = segment.pool();
        assert!(pool.claim_wake());
        assert!(!pool.claim_wake());
        pool.clear_wake();
        assert!(pool.claim_wake());
        assert_eq!(pool.counter(Counter::Wakes), 2);
    }

    #[test]
    fn the_first_panic_and_the_sharpest_shutdown_stay() {
        let segment = Segment::on_heap(&Geometry { slots: 1, databases: 1, wal_index_bytes: 32768 }).unwrap();
        let pool = segment.pool();
        assert_eq!(pool.panic_errno(), None);
        pool.set_panic(5);
        pool.set_panic(28);
        assert_eq!(pool.panic_errno(), Some(5));
        pool.set_shutdown(ShutdownMode::Fast);
        pool.set_shutdown(ShutdownMode::Smart);
        assert_eq!(pool.shutdown(), ShutdownMode::Fast);
    }
}
