//! A small cluster: a segment, one database, and processes that use it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use pgprefork::background::checkpointer;
use pgprefork::engine::sqlite::attachment::Attachment;
use pgprefork::engine::sqlite::connection::Options;
use pgprefork::engine::sqlite::ffi::vfs;
use pgprefork::engine::sqlite::interrupts::{self, Never};
use pgprefork::engine::sqlite::store::Store;
use pgprefork::engine::sqlite::transaction::Access;
use pgprefork::engine::sqlite::{database, failure};
use pgprefork::error::Error;
use shm::{Geometry, Owner, Segment, ShutdownMode, SlotKind};

pub const OID: u32 = 5;

/// No test waits longer than this for anything.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn seed() -> u64 {
    let given = std::env::var("PGPREFORK_SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().expect("a clock").subsec_nanos().into())
}

/// SplitMix64: enough for choosing whom to kill, and repeatable.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

pub struct Cluster {
    pub segment: Segment,
    pub path: PathBuf,
    pub settings: checkpointer::Settings,
}

pub struct Child {
    pub owner: Owner,
    pub pid: Pid,
}

/// Makes the database file with `tables`.
pub fn create(folder: &Path, tables: &str) -> PathBuf {
    let path = folder.join("5");
    database::create(&path, |connection| connection.execute_batch(tables)).expect("creates the database");
    path
}

impl Cluster {
    pub fn start(path: PathBuf, max_wal_bytes: u64) -> Cluster {
        let geometry = Geometry { slots: 64, databases: 2, wal_index_bytes: 4 << 20 };
        Cluster::with_geometry(path, max_wal_bytes, &geometry)
    }

    pub fn with_geometry(path: PathBuf, max_wal_bytes: u64, geometry: &Geometry) -> Cluster {
        let segment = Segment::create(geometry).expect("a segment");
        database::make_durable(&path).expect("syncs");
        let settings = checkpointer::Settings { interval: Duration::from_millis(200), max_wal_bytes };
        Cluster { segment, path, settings }
    }

    /// Forks a process that runs `body` and exits with 0, or with 101 when it panics.
    pub fn fork(&self, kind: SlotKind, body: impl FnOnce(&Cluster, Owner)) -> Child {
        let owner = self.segment.claim_slot(kind).expect("a free slot");
        // SAFETY: this program has one thread, so the child may do anything.
        match unsafe { fork() }.expect("forks") {
            ForkResult::Parent { child } => Child { owner, pid: child },
            ForkResult::Child => {
                // A test that fails leaves nobody behind.
                nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).expect("ties to the parent");
                let slot = self.segment.slot(owner.slot);
                slot.set_pid(std::process::id().cast_signed());
                let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(self, owner)));
                std::process::exit(if result.is_ok() { 0 } else { 101 });
            }
        }
    }

    pub fn fork_checkpointer(&self) -> Child {
        self.fork(SlotKind::Checkpointer, |cluster, me| {
            let files = || vec![(OID, cluster.path.clone())];
            let leaving = || cluster.segment.pool().shutdown() != ShutdownMode::Running;
            let view = checkpointer::Cluster { segment: cluster.segment, me, files: &files, leaving: &leaving };
            checkpointer::run(&view, &cluster.settings);
        })
    }

    /// Opens the database in a forked process.
    pub fn open(&self, me: Owner) -> Session {
        self.open_with(me, Arc::new(Never))
    }

    /// The same with a page cache of that size.
    pub fn open_caching(&self, me: Owner, page_cache_bytes: u64) -> Session {
        self.open_set(me, Arc::new(Never), &Options { page_cache_bytes, ..Options::default() })
    }

    pub fn open_with(&self, me: Owner, interrupts: interrupts::Shared) -> Session {
        self.open_set(me, interrupts, &Options::default())
    }

    fn open_set(&self, me: Owner, interrupts: interrupts::Shared, options: &Options) -> Session {
        let bytes = self.settings.checkpoint_bytes();
        let attachment = Attachment::new(self.segment, me, OID, &self.path, bytes).expect("an attachment");
        let attachment = Arc::new(attachment);
        assert!(vfs::attach(Arc::clone(&attachment)));
        Session { store: Store::open(attachment, options, interrupts).expect("opens") }
    }

    /// Waits for a child to end by itself and reaps it; panics if it failed.
    pub fn join(&self, child: &Child) {
        let status = wait(child.pid);
        self.segment.reap(child.owner);
        assert_eq!(status, WaitStatus::Exited(child.pid, 0), "a process failed");
    }

    /// kill -9, wait, reap.
    pub fn kill(&self, child: &Child) {
        kill(child.pid, Signal::SIGKILL).expect("kills");
        wait(child.pid);
        self.segment.reap(child.owner);
    }

    /// Ends the checkpointer, which checkpoints once more.
    pub fn stop_checkpointer(&self, child: &Child) {
        self.segment.pool().set_shutdown(ShutdownMode::Fast);
        self.segment.slot(child.owner.slot).latch().set();
        self.join(child);
    }

    pub fn wal_bytes(&self) -> u64 {
        std::fs::metadata(database::wal_path(&self.path)).expect("a WAL").len()
    }
}

/// Waits for a process to end, with patience.
pub fn wait(pid: Pid) -> WaitStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match waitpid(pid, Some(WaitPidFlag::WNOHANG)).expect("waits") {
            WaitStatus::StillAlive if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(1)),
            WaitStatus::StillAlive => {
                let _ = kill(pid, Signal::SIGKILL);
                panic!("process {pid} hangs");
            }
            status => return status,
        }
    }
}

/// Polls until the condition holds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A session in a child process.
pub struct Session {
    pub store: Store,
}

impl Session {
    /// One writing statement.
    pub fn write(&mut self, sql: &str) -> Result<(), Error> {
        self.statement(Access::Write, |connection| connection.prepare_cached(sql)?.execute(()).map(|_| ()))
    }

    /// One number.
    pub fn read(&mut self, sql: &str) -> Result<i64, Error> {
        self.statement(Access::Read, |connection| connection.prepare_cached(sql)?.query_row((), |row| row.get(0)))
    }

    fn statement<T>(
        &mut self,
        access: Access,
        run: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        self.store.before_statement(access, "STATEMENT")?;
        let result =
            run(self.store.connection()).map_err(|error| self.store.describe(&error, &() as &dyn failure::Constraints));
        self.store.after_statement(result.is_ok())?;
        result
    }

    pub fn settle(&mut self) {
        self.store.settle(true).expect("settles");
    }
}
