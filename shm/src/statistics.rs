//! [`Statistics`]: how long things take. Histograms are log-linear: 16 buckets for each doubling, so a percentile is
//! off by 1/32 of its value at most; recording is two relaxed additions and never blocks.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Buckets for each doubling, as a power of two.
const SUB_BITS: u32 = 4;
const SUB_BUCKETS: usize = 1 << SUB_BITS;
/// Values of 2^32 us (71 minutes) and more are counted in the last bucket.
const VALUE_BITS: u32 = 32;
const BUCKETS: usize = (VALUE_BITS - SUB_BITS + 1) as usize * SUB_BUCKETS;

/// The parts of setting up a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum SetupPhase {
    /// In the doorman's queue, or else in the kernel's. The kernel does not say when a connection came to its queue:
    /// it is taken from the last acknowledgement of the client's, to a tick of its clock (1 to 10 ms), and may be too
    /// short, never too long. It says nothing of Unix sockets: these count only when they were in the doorman's queue.
    /// Connections are counted here, cancel requests included; sessions in all other phases.
    AcceptQueue = 0,
    /// fork, where it lies on the client's path.
    Fork,
    /// Opening the engine or the client's database, as far as it was not open when the client came, and telling it
    /// of the session.
    Engine,
    /// Until the start-up packet was complete.
    StartupPacket,
    /// TLS handshake.
    Tls,
    /// Access rules and authentication.
    Authentication,
    /// From there to ReadyForQuery, without the engine's part.
    Ready,
    /// From accept to ReadyForQuery.
    Total,
}

impl SetupPhase {
    /// All phases in order.
    pub const ALL: [SetupPhase; 8] = [
        SetupPhase::AcceptQueue,
        SetupPhase::Fork,
        SetupPhase::Engine,
        SetupPhase::StartupPacket,
        SetupPhase::Tls,
        SetupPhase::Authentication,
        SetupPhase::Ready,
        SetupPhase::Total,
    ];

    /// The name in views and metrics.
    pub fn name(self) -> &'static str {
        match self {
            SetupPhase::AcceptQueue => "accept_queue",
            SetupPhase::Fork => "fork",
            SetupPhase::Engine => "engine",
            SetupPhase::StartupPacket => "startup_packet",
            SetupPhase::Tls => "tls",
            SetupPhase::Authentication => "authentication",
            SetupPhase::Ready => "ready",
            SetupPhase::Total => "total",
        }
    }
}

/// The parts of replacing a worker, where no client waits for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum RecyclePhase {
    /// From a worker's decision to leave until the postmaster has given back what it held.
    Exit = 0,
    /// From the claim of a slot until the new process runs: the order to the template, and its fork.
    Fork,
    /// Until the new worker's engine is open, or taken over from the template.
    EngineStart,
    /// From the claim of the slot until the new worker is idle.
    Start,
}

impl RecyclePhase {
    /// All phases in order.
    pub const ALL: [RecyclePhase; 4] =
        [RecyclePhase::Exit, RecyclePhase::Fork, RecyclePhase::EngineStart, RecyclePhase::Start];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            RecyclePhase::Exit => "exit",
            RecyclePhase::Fork => "fork",
            RecyclePhase::EngineStart => "engine_start",
            RecyclePhase::Start => "start",
        }
    }
}

/// Kinds of statement that are measured apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum StatementKind {
    /// SELECT, VALUES, WITH.
    Select = 0,
    /// INSERT.
    Insert,
    /// UPDATE.
    Update,
    /// DELETE.
    Delete,
    /// COPY.
    Copy,
    /// COMMIT, with its wait for durability.
    Commit,
    /// BEGIN, ROLLBACK, SAVEPOINT and the like.
    Transaction,
    /// CREATE, ALTER, DROP, TRUNCATE.
    Define,
    /// SET, SHOW, VACUUM and all else.
    Utility,
}

impl StatementKind {
    /// All kinds in order.
    pub const ALL: [StatementKind; 9] = [
        StatementKind::Select,
        StatementKind::Insert,
        StatementKind::Update,
        StatementKind::Delete,
        StatementKind::Copy,
        StatementKind::Commit,
        StatementKind::Transaction,
        StatementKind::Define,
        StatementKind::Utility,
    ];

    /// The name in views and metrics.
    pub fn name(self) -> &'static str {
        match self {
            StatementKind::Select => "select",
            StatementKind::Insert => "insert",
            StatementKind::Update => "update",
            StatementKind::Delete => "delete",
            StatementKind::Copy => "copy",
            StatementKind::Commit => "commit",
            StatementKind::Transaction => "transaction",
            StatementKind::Define => "define",
            StatementKind::Utility => "utility",
        }
    }
}

/// One distribution of microseconds.
#[repr(C, align(128))]
pub struct Histogram {
    sum_us: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

impl Histogram {
    /// Counts one value.
    pub fn record(&self, us: u64) {
        self.buckets[bucket_of(us)].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(us, Relaxed);
    }

    /// A copy; values recorded meanwhile may be in it or not.
    pub fn snapshot(&self) -> HistogramSnapshot {
        HistogramSnapshot {
            sum_us: self.sum_us.load(Relaxed),
            buckets: self.buckets.iter().map(|bucket| bucket.load(Relaxed)).collect(),
        }
    }
}

/// A copy of a histogram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistogramSnapshot {
    sum_us: u64,
    buckets: Vec<u64>,
}

impl Default for HistogramSnapshot {
    fn default() -> HistogramSnapshot {
        HistogramSnapshot { sum_us: 0, buckets: vec![0; BUCKETS] }
    }
}

impl HistogramSnapshot {
    /// How many values.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Their sum in microseconds.
    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }

    /// Their mean in microseconds, 0 without values.
    pub fn mean_us(&self) -> u64 {
        self.sum_us.checked_div(self.count()).unwrap_or(0)
    }

    /// The value in microseconds that `percent` per cent of the values do not exceed (the middle of its bucket);
    /// `None` without values.
    pub fn percentile(&self, percent: f64) -> Option<u64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank of a count far below 2^52"
        )]
        let rank = ((percent / 100.0 * count as f64).ceil() as u64).clamp(1, count);
        let mut seen = 0;
        for (index, bucket) in self.buckets.iter().enumerate() {
            seen += bucket;
            if seen >= rank {
                let (low, high) = (lower_bound(index), lower_bound(index + 1) - 1);
                return Some(low.midpoint(high));
            }
        }
        None
    }

    /// How many values are at most `us`, to the precision of a bucket: for cumulative exports.
    pub fn count_up_to(&self, us: u64) -> u64 {
        self.buckets[..=bucket_of(us)].iter().sum()
    }

    /// What was recorded after `earlier`, a copy of the same histogram.
    pub fn since(&self, earlier: &HistogramSnapshot) -> HistogramSnapshot {
        let buckets = self.buckets.iter().zip(&earlier.buckets);
        HistogramSnapshot {
            sum_us: self.sum_us.saturating_sub(earlier.sum_us),
            buckets: buckets.map(|(now, then)| now.saturating_sub(*then)).collect(),
        }
    }

    /// Adds another's values.
    pub fn merge(&mut self, other: &HistogramSnapshot) {
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
    }
}

fn bucket_of(us: u64) -> usize {
    let us = us.min((1 << VALUE_BITS) - 1);
    if us < SUB_BUCKETS as u64 {
        return us as usize;
    }
    // The leading bit chooses the doubling, the next SUB_BITS the bucket in it.
    let shift = 63 - us.leading_zeros() - SUB_BITS;
    shift as usize * SUB_BUCKETS + (us >> shift) as usize
}

fn lower_bound(bucket: usize) -> u64 {
    if bucket < 2 * SUB_BUCKETS {
        return bucket as u64;
    }
    let shift = bucket / SUB_BUCKETS - 1;
    ((bucket % SUB_BUCKETS + SUB_BUCKETS) as u64) << shift
}

/// All of the segment's histograms.
#[repr(C, align(128))]
pub struct Statistics {
    setup: [Histogram; SetupPhase::ALL.len()],
    recycle: [Histogram; RecyclePhase::ALL.len()],
    statements: [Histogram; StatementKind::ALL.len()],
    writer_wait: Histogram,
    commit_wait: Histogram,
    sync: Histogram,
}

impl Statistics {
    /// Of one part of connection set-up.
    pub fn setup(&self, phase: SetupPhase) -> &Histogram {
        &self.setup[phase as usize]
    }

    /// Of one part of replacing a worker.
    pub fn recycle(&self, phase: RecyclePhase) -> &Histogram {
        &self.recycle[phase as usize]
    }

    /// Of one kind of statement.
    pub fn statement(&self, kind: StatementKind) -> &Histogram {
        &self.statements[kind as usize]
    }

    /// Of waits for a writer lock.
    pub fn writer_wait(&self) -> &Histogram {
        &self.writer_wait
    }

    /// Of waits for a commit to become durable.
    pub fn commit_wait(&self) -> &Histogram {
        &self.commit_wait
    }

    /// Of fdatasync calls.
    pub fn sync(&self) -> &Histogram {
        &self.sync
    }
}
