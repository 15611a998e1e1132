//! The postmaster: supervises, and does nothing else. Single-threaded; never reads a byte from a client in the
//! pre-fork model (in the classic one it accepts, and still doesn't read), never runs SQL, never waits on a
//! child. What it knows of its children it keeps in its own memory: the segment may be scribbled on.
//!
//! - `lockfile`, `listen`: what it holds so that no other server takes it.
//! - `spawn`: the one place that knows how a process of the server comes to be.
//! - `template`: orders to the process that workers are forked from.
//! - `reap`: what became of a process that ended, and what that means for the others.
//! - `health`: workers that are old, stopped or hung.
//! - `idle`: upstream connections that no worker has used for long.
//! - `policy`: how many workers there should be (pure).
//! - `control`: signals, wake-ups, and carrying out what the policy says.
//! - `shutdown`: the order in which everything ends.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use shm::{Owner, ShutdownMode, SlotKind};

use self::lockfile::{Content, DirectoryLock, SocketLock, Status};
use self::policy::{Limits, Policy};
use self::reap::Changes;
use self::template::Template;
use crate::auth::{Maps, Rules};
use crate::config::{Config, Model};
use crate::system::Pid;
use crate::system::notify::Manager;
use crate::system::signal::{Signal, SignalQueue};
use crate::worker::context::Context;

mod control;
mod health;
mod idle;
pub mod listen;
pub mod lockfile;
pub mod policy;
mod reap;
mod shutdown;
mod spawn;
mod template;

/// Reads configuration and access rules again.
pub type Reread = dyn Fn() -> Result<(Config, Rules, Maps), String>;

/// Makes what is on disk safe to serve from, while no process has it open.
pub type Recover = dyn Fn() -> Result<(), String>;

/// What the postmaster holds for as long as the server runs.
pub struct Server {
    /// What its children inherit.
    pub context: Context,
    /// The Unix sockets' lock files.
    pub socket_locks: Vec<SocketLock>,
    /// The data directory's lock.
    pub lock: DirectoryLock,
    /// What the lock file says.
    pub content: Content,
    /// Reads configuration and access rules again.
    pub reread: Box<Reread>,
    /// Called before the first process is forked, and again before those that follow a memory fault.
    pub recover: Box<Recover>,
    /// Who wants to hear how the server is.
    pub manager: Manager,
}

/// A process that was forked and not reaped yet.
#[derive(Debug, Clone, Copy)]
struct Child {
    owner: Owner,
    kind: SlotKind,
    /// Since when it is stopped by a signal (monotonic clock).
    stopped_us: Option<u64>,
    /// It was killed because it hung.
    hung: bool,
    /// Since when it has been told to end (monotonic clock).
    told_us: Option<u64>,
}

/// How far the server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Waiting for the first workers.
    Starting,
    /// Serving.
    Running,
    /// Ending all sessions after a memory fault, to begin anew.
    Restarting,
    /// Ending.
    Stopping(ShutdownMode),
}

const SIGNALS: Token = Token(0);
const WAKES: Token = Token(1);
const ANSWERS: usize = 2;
const LISTENERS: usize = 3;

/// How often the first workers are looked at until they accept; afterwards nothing ticks.
const START_POLL: Duration = Duration::from_millis(2);

/// The postmaster's own state. Children never touch their copy of it.
struct Postmaster {
    server: Server,
    poll: Poll,
    signals: SignalQueue,
    policy: Policy,
    children: HashMap<Pid, Child>,
    /// The process that workers are forked from, while there is one.
    template: Option<Template>,
    /// How many of the first workers were not started yet.
    first_workers_due: u32,
    stage: Stage,
    /// When processes that were told to leave at once are killed.
    kill_at: Option<Instant>,
    /// When the policy wants to be asked again.
    ask_at_us: Option<u64>,
    last_failure_us: u64,
    changes: Changes,
    /// Listeners of the classic model that may have connections waiting which had no slot.
    accept_again: bool,
    /// The last accept failed, and the log says so.
    accept_fails: bool,
    /// When a background process of a kind may be started again, if it ends soon.
    auxiliaries_not_before_us: HashMap<SlotKind, u64>,
    /// The configuration is to be read again once the server runs.
    reload_due: bool,
    /// Background processes were told to end.
    background_told: bool,
    /// When the service manager is to hear again that we are alive.
    alive_at: Option<Instant>,
    /// When upstream connections are to be looked at again.
    idle_look_at: Option<Instant>,
    /// Told that clients can come; None afterwards.
    on_ready: Option<Box<dyn FnOnce()>>,
}

/// Runs the server until it has been shut down. Signals must be blocked. `on_ready` is called once, when
/// clients are served. Returns whether it ended as it was asked to.
pub fn run(server: Server, on_ready: Box<dyn FnOnce()>) -> io::Result<bool> {
    use Signal::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1};
    let signals = SignalQueue::new(&[SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1])?;
    let poll = Poll::new()?;
    let register = |fd: i32, token| poll.registry().register(&mut SourceFd(&fd), token, Interest::READABLE);
    register(std::os::fd::AsRawFd::as_raw_fd(&signals), SIGNALS)?;
    register(std::os::fd::AsRawFd::as_raw_fd(&server.context.wake), WAKES)?;
    if server.context.config.pool.model == Model::ForkOnAccept {
        for (number, fd) in server.context.listeners.iter().map(std::os::fd::AsRawFd::as_raw_fd).enumerate() {
            register(fd, Token(LISTENERS + number))?;
        }
    }
    let policy = Policy::new(limits(&server.context.config));
    let mut postmaster = Postmaster {
        server,
        poll,
        signals,
        policy,
        children: HashMap::new(),
        template: None,
        first_workers_due: 0,
        stage: Stage::Starting,
        kill_at: None,
        ask_at_us: None,
        last_failure_us: 0,
        changes: Changes::default(),
        accept_again: false,
        accept_fails: false,
        auxiliaries_not_before_us: HashMap::new(),
        reload_due: false,
        background_told: false,
        alive_at: None,
        idle_look_at: None,
        on_ready: Some(on_ready),
    };
    postmaster.alive_at = postmaster.server.manager.watchdog().map(|_| Instant::now());
    (postmaster.server.recover)().map_err(io::Error::other)?;
    postmaster.prepare_segment();
    postmaster.start_processes();
    let clean = postmaster.supervise()?;
    postmaster.server.context.segment.ticket_keys().erase();
    postmaster.server.socket_locks.iter().for_each(SocketLock::remove);
    postmaster.server.lock.remove();
    Ok(clean)
}

fn limits(config: &Config) -> Limits {
    let pool = &config.pool;
    Limits { min_spare: pool.min_spare, max_spare: pool.max_spare, max_sessions: pool.max_sessions }
}

impl Postmaster {
    /// Words of the segment that are not zero at the start.
    fn prepare_segment(&self) {
        let pool = self.server.context.segment.pool();
        pool.set_postmaster(self.server.context.postmaster.as_raw(), shm::clock::wall_us());
        pool.set_spare_minimum(self.server.context.config.pool.min_spare);
        pool.set_session_limit(self.server.context.config.pool.max_sessions);
        pool.set_configuration_generation(1);
    }

    /// The loop: sleep until something happens, then look at everything. Single wake-ups are cheap enough that
    /// no event has a path of its own past the recount.
    fn supervise(&mut self) -> io::Result<bool> {
        let mut events = Events::with_capacity(16);
        loop {
            match self.poll.poll(&mut events, self.timeout()) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            let accept = events.iter().any(|event| event.token().0 >= LISTENERS);
            self.take_signals()?;
            self.take_answers();
            self.reap_children();
            self.notice_failed_sync();
            // In the classic model a wake may mean that the doorman has sent a client over.
            let woken = self.server.context.wake.take();
            self.accept_again |= woken && self.server.context.config.pool.model == Model::ForkOnAccept;
            // Before the slots are counted: whoever moves afterwards wakes us again.
            self.server.context.segment.pool().clear_wake();
            let (census, agreed) = self.server.context.segment.recount();
            if census.asked > 0 {
                self.deliver_requests();
            }
            match self.stage {
                Stage::Starting | Stage::Running => {
                    self.ask_at_us = None;
                    if accept || self.accept_again {
                        self.accept_clients();
                    }
                    self.adjust_workers(census, agreed);
                    self.retire_the_old();
                    self.retire_from_dropped_databases();
                    self.kill_the_hung();
                    self.kill_the_deaf();
                    self.kill_the_silent_template();
                    self.announce_when_ready();
                    self.close_idle_connections();
                }
                Stage::Restarting => self.restart_when_empty(),
                Stage::Stopping(mode) => {
                    self.ask_at_us = None;
                    self.kill_the_hung();
                    self.kill_the_deaf();
                    self.kill_the_silent_template();
                    if self.stop_when_empty() {
                        return Ok(mode != ShutdownMode::Immediate);
                    }
                }
            }
            self.kill_the_slow();
            self.show_life();
        }
    }

    /// How long the loop may sleep; None when nothing is due.
    fn timeout(&self) -> Option<Duration> {
        let start = (self.stage == Stage::Starting).then_some(START_POLL);
        let kill = self.kill_at.map(|at| at.saturating_duration_since(Instant::now()));
        let ask = self.ask_at_us.map(|at| Duration::from_micros(at.saturating_sub(shm::clock::monotonic_us())));
        let alive = self.alive_at.map(|at| at.saturating_duration_since(Instant::now()));
        let walk = self.changes.walk_in();
        let idle = self.idle_look_at.map(|at| at.saturating_duration_since(Instant::now()));
        [start, kill, ask, alive, walk, idle].into_iter().flatten().min()
    }

    /// The service manager's watchdog hears from us twice in its time.
    fn show_life(&mut self) {
        let now = Instant::now();
        if self.alive_at.is_some_and(|at| at <= now) {
            self.server.manager.alive();
            self.alive_at = self.server.manager.watchdog().map(|period| now + period);
        }
    }

    fn announce_when_ready(&mut self) {
        if self.stage != Stage::Starting {
            return;
        }
        // The first workers were forked in one go. Not their number counts: surplus ones may have retired already.
        let census = self.server.context.segment.census();
        let accepting = census.idle + census.connecting + census.serving;
        let is_classic = self.server.context.config.pool.model == Model::ForkOnAccept;
        let workers_are_ready = is_classic || (self.first_workers_due == 0 && census.starting == 0 && accepting > 0);
        if !workers_are_ready || !self.auxiliaries_are_ready() {
            return;
        }
        self.stage = Stage::Running;
        let content = self.server.content.clone();
        if let Err(error) = self.server.lock.write(&content, Status::Ready) {
            log::warn!("could not update {}: {error}", DirectoryLock::FILE_NAME);
        }
        if let Some(on_ready) = self.on_ready.take() {
            on_ready();
        }
        self.server.manager.ready();
        log::info!("ready to accept connections");
        if std::mem::take(&mut self.reload_due) {
            self.reload();
        }
    }
}
