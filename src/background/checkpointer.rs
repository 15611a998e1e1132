//! The checkpointer: moves the WAL into the database files, so that workers never have to.
//!
//! Owns when that happens, the outside lock on every database file, and the sync of asynchronous commits. It has
//! a slot like a worker, and can be killed at any instant: SQLite's checkpoint may be cut off anywhere, and what it
//! held in the segment is reaped. It must not answer clients, and makes no system call while nothing is to be done.
//!
//! A checkpoint runs beside readers and writers (PASSIVE). Under constant writing it never catches up, and the WAL
//! would grow for ever; so when the WAL is too long, the rest is done under the writer lock, waiting for readers of
//! the WAL at most [`FINISH_MS`]. The next writer then starts the WAL anew.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use shm::{Interrupt, Owner, Phase, Segment, Vacating, WaitEvent};

use crate::engine::sqlite::attachment::Attachment;
use crate::engine::sqlite::commit;
use crate::engine::sqlite::connection::{self, Options};
use crate::engine::sqlite::database::{FileError, OutsideLock};
use crate::engine::sqlite::ffi::vfs;
use crate::system::fault;

/// How long writers may be held up while the rest of the WAL is moved and its readers leave.
const FINISH_MS: u64 = 100;

/// Between two looks at the readers, and how long to leave the writers alone when the readers did not go.
const FINISH_PAUSE: Duration = Duration::from_micros(200);
const FINISH_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Until when the checkpoint being finished may wait, on the monotonic clock.
static FINISH_UNTIL_US: AtomicU64 = AtomicU64::new(0);

/// Between two looks at who has a dropped database open.
const VACATING_PAUSE: Duration = Duration::from_millis(500);

/// How long the writer lock is waited for before a checkpoint is finished another time.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(1);

/// Asynchronous commits are synced after this long: half of the 200 ms that they are promised.
const ASYNCHRONOUS_DELAY: Duration = Duration::from_millis(100);

/// After a failure (a full disk, a file in use) it tries again after this long: at first, and at most. Clients may be
/// waiting for the room that a checkpoint makes.
const RETRY_DELAY_MIN: Duration = Duration::from_millis(100);
const RETRY_DELAY_MAX: Duration = Duration::from_secs(1);

/// Locks of the WAL-index that readers hold: the first means the database file alone, the others marks in the WAL.
const READ_MARKS: std::ops::Range<usize> = 3..8;

/// When to checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The longest that a commit stays in the WAL only (`engine.sqlite.checkpoint_interval`).
    pub interval: Duration,
    /// The length that the WAL should not exceed (`engine.sqlite.max_wal_size`). Checkpoints begin at half of it.
    pub max_wal_bytes: u64,
}

impl Settings {
    /// The length from which a commit should wake the checkpointer; for [`Attachment::new`].
    pub fn checkpoint_bytes(&self) -> u64 {
        self.max_wal_bytes / 2
    }
}

/// The cluster as the checkpointer sees it.
pub struct Cluster<'a> {
    /// The segment.
    pub segment: Segment,
    /// The checkpointer's own slot.
    pub me: Owner,
    /// Every database file of the cluster with its oid; asked anew when the segment knows a database that was not
    /// among them, and on [`Interrupt::Reload`].
    pub files: &'a dyn Fn() -> Vec<(u32, PathBuf)>,
    /// Whether to leave; asked whenever the latch is set.
    pub leaving: &'a dyn Fn() -> bool,
}

/// Runs until it is told to leave, then checkpoints once more. To be called after fork, in a process of its own.
pub fn run(cluster: &Cluster<'_>, settings: &Settings) {
    let slot = cluster.segment.slot(cluster.me.slot);
    slot.set_phase(Phase::Checkpointing);
    let mut databases = Vec::new();
    let mut vacating = Vacating::default();
    loop {
        // Before the conditions: what comes after it makes the wait return.
        let seen = slot.latch().value();
        let reload = slot.take(Interrupt::Reload);
        let is_watched = |oid: u32| databases.iter().any(|database: &Watched| database.oid == oid);
        let mut known = cluster.segment.databases().filter(|database| !database.is_doomed());
        if reload || databases.is_empty() || !known.all(|database| is_watched(database.oid())) {
            refresh(cluster, settings, &mut databases);
        }
        databases.retain(|database| !database.attachment.database().is_doomed());
        let all_freed = vacating.free(cluster.segment).unwrap_or_else(|error| {
            log::error!("the place of a dropped database could not be freed: {error}");
            false
        });
        if cluster.segment.pool().panic_errno().is_some() {
            // A sync has failed. The postmaster sees this process end, and does what is to be done.
            return;
        }
        if (cluster.leaving)() {
            databases.iter_mut().for_each(|database| database.checkpoint(settings, true));
            return;
        }
        let now = Instant::now();
        let mut next = (!all_freed).then_some(now + VACATING_PAUSE);
        let asked = slot.take(Interrupt::Checkpoint);
        for database in &mut databases {
            database.asked |= asked;
            let due = database.turn(now, settings);
            next = [next, due].into_iter().flatten().min();
        }
        if next.is_none() {
            // Announce the sleep, then look once more: a commit does it the other way round.
            slot.set_phase(Phase::None);
            fence(Ordering::SeqCst);
            if databases.iter().any(Watched::has_work) {
                slot.set_phase(Phase::Checkpointing);
                continue;
            }
        }
        slot.set_wait_event(WaitEvent::BackgroundLoop);
        slot.latch().wait(seen, next.map(|next| next.saturating_duration_since(Instant::now())));
        slot.set_wait_event(WaitEvent::None);
        slot.set_phase(Phase::Checkpointing);
    }
}

/// Takes up new databases and lets go of dropped ones.
fn refresh(cluster: &Cluster<'_>, settings: &Settings, databases: &mut Vec<Watched>) {
    let files = (cluster.files)();
    databases.retain(|database| {
        files.iter().any(|(oid, path)| *oid == database.oid && path.to_str() == Some(database.attachment.path()))
    });
    for (oid, path) in files {
        if databases.iter().any(|database| database.oid == oid) {
            continue;
        }
        match Attachment::new(cluster.segment, cluster.me, oid, &path, settings.checkpoint_bytes()) {
            Some(attachment) => databases.push(Watched::new(oid, attachment)),
            None => log::error!("database {oid} cannot be checkpointed: the segment has no room for it"),
        }
    }
}

/// One database under the checkpointer's care.
struct Watched {
    oid: u32,
    attachment: Arc<Attachment>,
    outside: Option<OutsideLock>,
    connection: Option<Connection>,
    /// When commits first stayed in the WAL only.
    waiting_since: Option<Instant>,
    /// When commits were first seen that nobody has synced.
    unsynced_since: Option<Instant>,
    /// After a failure: not before this.
    retry_at: Option<Instant>,
    /// How long after the next failure.
    retry_delay: Duration,
    /// A checkpoint is wanted whatever the WAL's length: somebody found no room to write.
    asked: bool,
    /// The last failure, so that it is logged once.
    failure: Option<String>,
}

impl Watched {
    fn new(oid: u32, attachment: Attachment) -> Watched {
        let attachment = Arc::new(attachment);
        let attached = vfs::attach(Arc::clone(&attachment));
        debug_assert!(attached, "each database is watched once");
        Watched {
            oid,
            attachment,
            outside: None,
            connection: None,
            waiting_since: None,
            unsynced_since: None,
            retry_at: None,
            retry_delay: RETRY_DELAY_MIN,
            asked: false,
            failure: None,
        }
    }

    /// Whether anything is to be done, now or later.
    fn has_work(&self) -> bool {
        let (newest, backfilled) = self.attachment.wal_frames();
        newest != backfilled || self.is_unsynced() || self.outside.is_none()
    }

    fn is_unsynced(&self) -> bool {
        let database = self.attachment.database();
        database.durable() < database.appended()
    }

    /// Does what is due. Returns when to look again, if there is anything left.
    fn turn(&mut self, now: Instant, settings: &Settings) -> Option<Instant> {
        if let Some(retry_at) = self.retry_at.filter(|retry_at| *retry_at > now) {
            return Some(retry_at);
        }
        self.retry_at = None;
        if self.open().is_none() {
            return self.retry_at;
        }
        let sync_due = self.sync_asynchronous(now);
        let (newest, backfilled) = self.attachment.wal_frames();
        if newest == backfilled {
            self.asked = false;
            self.waiting_since = None;
            return [sync_due, self.retry_at].into_iter().flatten().min();
        }
        let due = *self.waiting_since.get_or_insert(now) + settings.interval;
        let long = u64::from(newest - backfilled) * 4120 >= settings.checkpoint_bytes()
            || u64::from(newest) * 4120 >= settings.max_wal_bytes;
        if long || due <= now || self.asked {
            self.checkpoint(settings, false);
        }
        let waiting = self.waiting_since.map(|since| since + settings.interval);
        [sync_due, waiting, self.retry_at].into_iter().flatten().min()
    }

    /// Locks strangers out and opens SQLite, unless that was done.
    fn open(&mut self) -> Option<&Connection> {
        if self.outside.is_none() {
            match OutsideLock::take(self.attachment.path().as_ref()) {
                Ok(lock) => self.outside = Some(lock),
                Err(error @ FileError::InUse(_)) => {
                    self.failed(format!("{error}: close it, it may damage the database"));
                    return None;
                }
                Err(error) => {
                    self.failed(error.to_string());
                    return None;
                }
            }
        }
        if self.connection.is_none() {
            match open_connection(&self.attachment) {
                Ok(connection) => self.connection = Some(connection),
                Err(error) => {
                    self.failed(format!("could not open \"{}\": {error}", self.attachment.path()));
                    return None;
                }
            }
        }
        self.connection.as_ref()
    }

    /// Syncs commits that nobody waits for. Returns when to look again.
    fn sync_asynchronous(&mut self, now: Instant) -> Option<Instant> {
        if !self.is_unsynced() {
            self.unsynced_since = None;
            return None;
        }
        let due = *self.unsynced_since.get_or_insert(now) + ASYNCHRONOUS_DELAY;
        if due > now {
            return Some(due);
        }
        self.unsynced_since = None;
        match commit::sync_appended(&self.attachment) {
            Ok(_) if self.is_unsynced() => Some(now + ASYNCHRONOUS_DELAY),
            Ok(_) => None,
            Err(error) => {
                self.failed(error.to_string());
                self.retry_at
            }
        }
    }

    /// Moves what can be moved; the rest under the writer lock if the WAL is too long. `last`: the server stops.
    fn checkpoint(&mut self, settings: &Settings, last: bool) {
        fault::point("checkpointing");
        let Some(connection) = self.open() else { return };
        if let Err(error) = run_checkpoint(connection, "PRAGMA wal_checkpoint(PASSIVE)") {
            return self.failed(format!("could not checkpoint \"{}\": {error}", self.attachment.path()));
        }
        self.asked = false;
        self.retry_delay = RETRY_DELAY_MIN;
        if self.failure.take().is_some() {
            log::info!("checkpoints of \"{}\" succeed again", self.attachment.path());
        }
        let (newest, backfilled) = self.attachment.wal_frames();
        let too_long = u64::from(newest) * 4120 >= settings.max_wal_bytes;
        self.waiting_since = (newest != backfilled).then(Instant::now);
        if too_long && !last {
            self.finish();
        }
    }

    /// Holds writers up until the rest is moved and no reader needs the WAL, but not for long.
    fn finish(&mut self) {
        let (database, me) = (self.attachment.database(), self.attachment.me());
        if database.lock_writer(me, Instant::now().checked_add(QUEUE_TIMEOUT), &mut || false).is_err() {
            self.retry_at = Some(Instant::now() + QUEUE_TIMEOUT);
            return;
        }
        fault::point("finishing-checkpoint");
        FINISH_UNTIL_US.store(shm::clock::monotonic_us() + FINISH_MS * 1000, Ordering::Relaxed);
        let result = match &self.connection {
            Some(connection) => run_checkpoint(connection, "PRAGMA wal_checkpoint(RESTART)"),
            None => Ok(true),
        };
        database.unlock_writer(me);
        match result {
            Ok(true) => self.waiting_since = None,
            Ok(false) => {
                self.retry_at = Some(Instant::now() + FINISH_RETRY_DELAY);
                let readers: Vec<i32> = READ_MARKS.flat_map(|mark| self.reader_pids(mark)).collect();
                self.log_once(format!(
                    "the WAL of \"{}\" cannot start anew: snapshots of processes {readers:?} need it",
                    self.attachment.path()
                ));
            }
            Err(error) => self.failed(format!("could not checkpoint \"{}\": {error}", self.attachment.path())),
        }
    }

    /// The processes that hold a read mark.
    fn reader_pids(&self, mark: usize) -> Vec<i32> {
        let segment = self.attachment.segment();
        let sharers = self.attachment.database().wal_lock_sharers(mark);
        sharers.into_iter().map(|slot| segment.slot(slot).pid()).collect()
    }

    fn failed(&mut self, failure: String) {
        self.retry_at = Some(Instant::now() + self.retry_delay);
        self.retry_delay = (self.retry_delay * 2).min(RETRY_DELAY_MAX);
        self.log_once(failure);
    }

    fn log_once(&mut self, failure: String) {
        if self.failure.as_ref() != Some(&failure) {
            log::error!("{failure}");
            self.failure = Some(failure);
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.connection = None;
        vfs::detach(&self.attachment);
    }
}

fn open_connection(attachment: &Arc<Attachment>) -> rusqlite::Result<Connection> {
    let mut connection = connection::open_raw(attachment, &Options { statements: 4, ..Options::default() })?;
    // Opens the WAL, recovering its index if this is the first process to do so.
    connection.query_row("SELECT count(*) FROM sqlite_schema", (), |_| Ok(()))?;
    // From here on SQLite waits only for readers of the WAL, while a checkpoint is being finished. They come and go
    // in microseconds, so it looks often: each millisecond here is one without a commit.
    connection.busy_handler(Some(|_attempts| {
        std::thread::sleep(FINISH_PAUSE);
        shm::clock::monotonic_us() < FINISH_UNTIL_US.load(Ordering::Relaxed)
    }))?;
    Ok(connection)
}

/// Returns whether it did all that it was asked for.
fn run_checkpoint(connection: &Connection, sql: &str) -> rusqlite::Result<bool> {
    connection.prepare_cached(sql)?.query_row((), |row| row.get::<_, i64>(0)).map(|busy| busy == 0)
}
