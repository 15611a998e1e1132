//! The keeper's process: from fork to exit.
//!
//! PostgreSQL is its child, and has SIGINT (a fast shutdown) from the kernel when the keeper dies. Its server processes
//! become the keeper's children when PostgreSQL dies without them, so that none is left when it is started again.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, PipeReader, Read};
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use shm::{Owner, Phase, Segment, SlotState};

use super::{OwnServer, cluster};
use crate::config::{Config, own_data_directory};
use crate::system::fork::exit_now;
use crate::system::program::{self, Children, Ending};
use crate::system::signal::{self, Signal, SignalQueue};
use crate::system::{Pid, daemon, descriptor, parent};

/// Exit code after a panic or a failure of its own.
const FAILED: i32 = 3;
/// Exit code of a process that was told to leave at once.
const LEFT_AT_ONCE: i32 = 2;
/// Pause before PostgreSQL is started again: the first, and the longest; each is twice the one before.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A PostgreSQL that has run for so long is one that works: the next pause is the first again.
const STEADY: Duration = Duration::from_secs(60);
/// How often is looked whether it is ready, and whether an earlier one has ended: neither can be waited for.
const LOOK: Duration = Duration::from_millis(10);
/// How long server processes without a postmaster may take to end before they are killed.
const ORPHANS_PATIENCE: Duration = Duration::from_secs(5);
/// Lines that are kept of what it said, and bytes of a line.
const LAST_LINES: usize = 5;
const LINE_BYTES: usize = 8192;

const SIGNALS: Token = Token(0);
const OUTPUT: Token = Token(1);

/// Lives the keeper's life in the slot that it was forked for, and ends the process. Signals must be blocked and the process
/// tied to the postmaster.
pub fn run(segment: Segment, config: &Config, server: &OwnServer, owner: Owner) -> ! {
    std::panic::set_hook(Box::new(|panic| log::error!("panic: {panic}")));
    parent::set_name("pgprefork: keep");
    match catch_unwind(AssertUnwindSafe(|| Keeper::new(segment, config, server, owner)?.live())) {
        Ok(Ok(code)) => exit_now(code),
        Ok(Err(error)) => {
            log::error!("the keeper of PostgreSQL failed: {error}");
            exit_now(FAILED)
        }
        Err(_) => exit_now(FAILED),
    }
}

/// How far PostgreSQL is.
#[derive(Debug, Clone, Copy)]
enum Stage {
    /// It is to be started then.
    Due(Instant),
    /// It runs.
    Running { pid: Pid, since: Instant, ready: bool },
    /// It is gone, and processes that it has left behind are not.
    Clearing { kill_at: Instant },
}

struct Keeper<'a> {
    segment: Segment,
    config: &'a Config,
    server: &'a OwnServer,
    owner: Owner,
    poll: Poll,
    signals: SignalQueue,
    stage: Stage,
    pause: Duration,
    output: Option<Output>,
    /// The signal that PostgreSQL was ended with, because the server ends.
    ended_with: Option<Signal>,
    /// An earlier PostgreSQL for whose end we wait, and which the log has.
    predecessor: Option<Pid>,
}

impl<'a> Keeper<'a> {
    fn new(segment: Segment, config: &'a Config, server: &'a OwnServer, owner: Owner) -> io::Result<Self> {
        segment.slot(owner.slot).set_phase(Phase::Starting);
        program::adopt_orphans()?;
        use Signal::{SIGCHLD, SIGHUP, SIGQUIT, SIGTERM, SIGUSR1};
        let signals = SignalQueue::new(&[SIGCHLD, SIGHUP, SIGQUIT, SIGTERM, SIGUSR1])?;
        let poll = Poll::new()?;
        poll.registry().register(&mut SourceFd(&signals.as_raw_fd()), SIGNALS, Interest::READABLE)?;
        Ok(Self {
            segment,
            config,
            server,
            owner,
            poll,
            signals,
            stage: Stage::Due(Instant::now()),
            pause: PAUSE_MIN,
            output: None,
            ended_with: None,
            predecessor: None,
        })
    }

    /// Returns the exit code, once the server ends and PostgreSQL has.
    fn live(mut self) -> io::Result<i32> {
        let mut events = Events::with_capacity(4);
        loop {
            match self.poll.poll(&mut events, self.timeout()) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            self.take_signals()?;
            if let Some(output) = &mut self.output {
                output.hand_on();
            }
            self.reap();
            match self.stage {
                Stage::Due(_) if self.ended_with.is_some() => {
                    cluster::leave(&self.config.data);
                    return Ok(if self.ended_with == Some(Signal::SIGQUIT) { LEFT_AT_ONCE } else { 0 });
                }
                Stage::Due(at) if at <= Instant::now() => self.start(),
                Stage::Running { pid, since, ready: false } if self.is_ready(pid) => {
                    log::info!("PostgreSQL (PID {pid}) is ready");
                    self.stage = Stage::Running { pid, since, ready: true };
                    let slot = self.owner.slot;
                    self.segment.slot(slot).set_phase(Phase::Accepting);
                    if self.segment.slot(slot).state() == SlotState::Starting {
                        self.segment
                            .transition(slot, SlotState::Starting, SlotState::Serving)
                            .map_err(io::Error::other)?;
                    }
                }
                Stage::Clearing { kill_at } if kill_at <= Instant::now() => {
                    self.tell_orphans(Signal::SIGKILL);
                    self.stage = Stage::Clearing { kill_at: Instant::now() + ORPHANS_PATIENCE };
                }
                _ => {}
            }
        }
    }

    /// None while there is nothing to wait for but signals and output.
    fn timeout(&self) -> Option<Duration> {
        match self.stage {
            Stage::Due(at) => Some(at.saturating_duration_since(Instant::now())),
            Stage::Running { ready, .. } => (!ready).then_some(LOOK),
            Stage::Clearing { kill_at } => Some(kill_at.saturating_duration_since(Instant::now()).min(LOOK)),
        }
    }

    fn take_signals(&mut self) -> io::Result<()> {
        while let Some(signal) = self.signals.take()? {
            match (signal, self.stage) {
                // Ours are PostgreSQL's, but for SIGTERM: its sessions have been ended, so that it need not wait for any.
                (Signal::SIGTERM, _) => self.end(Signal::SIGINT),
                (Signal::SIGQUIT, _) => self.end(Signal::SIGQUIT),
                (Signal::SIGHUP, Stage::Running { pid, .. }) => tell(pid, Signal::SIGHUP),
                (Signal::SIGUSR1, _) => self.reopen_log(),
                _ => {}
            }
        }
        Ok(())
    }

    /// Goes on with a new file after the log was rotated.
    fn reopen_log(&self) {
        if let Some(file) = &self.config.log.file
            && let Err(error) = daemon::redirect_output(&self.config.path(file))
        {
            log::error!("could not reopen {}: {error}", file.display());
        }
    }

    /// Ends PostgreSQL for good, or hurries its end.
    fn end(&mut self, signal: Signal) {
        self.ended_with = Some(signal);
        if let Stage::Running { pid, .. } = self.stage {
            tell(pid, signal);
        }
    }

    fn reap(&mut self) {
        loop {
            match program::next_ended() {
                Children::Ended(ended, ending) => match self.stage {
                    Stage::Running { pid, since, .. } if pid == ended => self.ended(pid, since, &ending),
                    _ => log::debug!("process {ended}, which PostgreSQL has left behind, ended: {ending}"),
                },
                Children::Live => return,
                Children::None => {
                    if let Stage::Clearing { .. } = self.stage {
                        self.stage = Stage::Due(Instant::now() + self.pause);
                        self.pause = (self.pause * 2).min(PAUSE_MAX);
                    }
                    return;
                }
            }
        }
    }

    /// PostgreSQL has ended; what it left behind has to end before the next one can start.
    fn ended(&mut self, pid: Pid, since: Instant, ending: &Ending) {
        self.segment.slot(self.owner.slot).set_phase(Phase::Starting);
        let said = self.output.take().map(Output::last_words).unwrap_or_default();
        if self.ended_with.is_some() {
            log::info!("PostgreSQL (PID {pid}) has ended: {ending}");
        } else {
            let said = if said.is_empty() { "nothing".to_owned() } else { said };
            log::error!("PostgreSQL (PID {pid}) ended: {ending}; starting it again; it said last: {said}");
        }
        if since.elapsed() >= STEADY {
            self.pause = PAUSE_MIN;
        }
        self.tell_orphans(Signal::SIGQUIT);
        self.stage = Stage::Clearing { kill_at: Instant::now() + ORPHANS_PATIENCE };
    }

    fn tell_orphans(&self, signal: Signal) {
        let orphans = program::children();
        if !orphans.is_empty() {
            let pids: Vec<String> = orphans.iter().map(Pid::to_string).collect();
            log::warn!("PostgreSQL has left processes behind, which have {signal} now: PID {}", pids.join(", "));
        }
        orphans.into_iter().for_each(|orphan| tell(orphan, signal));
    }

    /// Starts PostgreSQL. A failure is its early end.
    fn start(&mut self) {
        if let Some(pid) = self.another() {
            if self.predecessor.replace(pid) != Some(pid) {
                log::warn!("waiting for another PostgreSQL on the same directory to end: PID {pid}");
            }
            self.stage = Stage::Due(Instant::now() + LOOK);
            return;
        }
        self.predecessor = None;
        match self.spawn() {
            Ok((pid, output)) => {
                log::debug!("PostgreSQL was started: PID {pid}");
                self.output = Some(output);
                self.stage = Stage::Running { pid, since: Instant::now(), ready: false };
            }
            Err(error) => {
                log::error!("PostgreSQL could not be started: {error}");
                self.stage = Stage::Due(Instant::now() + self.pause);
                self.pause = (self.pause * 2).min(PAUSE_MAX);
            }
        }
    }

    fn spawn(&self) -> io::Result<(Pid, Output)> {
        let (reader, writer) = io::pipe()?;
        descriptor::set_nonblocking(&reader, true)?;
        self.poll.registry().register(&mut SourceFd(&reader.as_raw_fd()), OUTPUT, Interest::READABLE)?;
        let mut command = Command::new(self.server.programs.join("postgres"));
        command.args(cluster::arguments(self.config)).env_remove("PGOPTIONS").current_dir("/");
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        program::tie_to_us(&mut command, Signal::SIGINT);
        let child = command.spawn()?;
        let output = Output { reader, pending: Vec::new(), level: log::Level::Info, last: VecDeque::new() };
        Ok((Pid::from_raw(child.id().cast_signed()), output))
    }

    /// A PostgreSQL that runs on our directory and is not ours: that of a keeper who was killed, or somebody else's.
    fn another(&self) -> Option<Pid> {
        let directory = own_data_directory(&self.config.data);
        let pid = self.pid_file()?.lines().next()?.trim().parse().ok().map(Pid::from_raw)?;
        // Any process may have that number by now. PostgreSQL's work in their data directory.
        let works_in = program::working_directory(pid)?;
        let is_there = works_in == fs::canonicalize(&directory).unwrap_or(directory);
        (is_there && parent::program_name(pid).is_some_and(|name| name.starts_with("postgres"))).then_some(pid)
    }

    /// Whether it serves clients: what it writes into the last line of its lock file.
    fn is_ready(&self, pid: Pid) -> bool {
        self.pid_file().is_some_and(|text| {
            let mut lines = text.lines();
            lines.next() == Some(&pid.to_string())
                && lines.nth(6).is_some_and(|status| matches!(status.trim_end(), "ready" | "standby"))
        })
    }

    fn pid_file(&self) -> Option<String> {
        fs::read_to_string(own_data_directory(&self.config.data).join("postmaster.pid")).ok()
    }
}

/// Signals a child that was not reaped.
fn tell(pid: Pid, signal: Signal) {
    if let Err(error) = signal::send(pid, signal) {
        log::warn!("could not signal PostgreSQL's process {pid}: {error}");
    }
}

/// What PostgreSQL writes to its log, on its way to ours.
struct Output {
    reader: PipeReader,
    /// A line that has not ended yet.
    pending: Vec<u8>,
    /// The level of the last message, which is that of the lines that belong to it.
    level: log::Level,
    last: VecDeque<String>,
}

impl Output {
    /// Hands on what there is.
    fn hand_on(&mut self) {
        let mut bytes = [0; LINE_BYTES];
        loop {
            match self.reader.read(&mut bytes) {
                Ok(0) => return,
                Ok(count) => self.take(bytes.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Nothing for now; of another failure it would tell again and again.
                Err(_) => return,
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        while let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.pending.drain(..=end).collect();
            self.line(line.trim_ascii_end());
        }
        if self.pending.len() >= LINE_BYTES {
            let part = std::mem::take(&mut self.pending);
            self.line(&part);
        }
    }

    fn line(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line).into_owned();
        self.level = level(&line).unwrap_or(self.level);
        log::log!(self.level, "postgres: {line}");
        if self.last.len() == LAST_LINES {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// What it said last, in one line; what was not handed on yet, is.
    fn last_words(mut self) -> String {
        self.hand_on();
        Vec::from(self.last).iter().map(|line| line.trim()).collect::<Vec<_>>().join("; ")
    }
}

/// The level of one of PostgreSQL's messages; `None` for a line that belongs to the message before it.
fn level(line: &str) -> Option<log::Level> {
    let severity = line.split(":  ").next().filter(|before| before.len() < line.len())?.rsplit(' ').next()?;
    Some(match severity {
        "PANIC" => log::Level::Error,
        "FATAL" | "ERROR" | "WARNING" => log::Level::Warn,
        "LOG" | "INFO" | "NOTICE" => log::Level::Info,
        "DEBUG" | "DEBUG1" | "DEBUG2" | "DEBUG3" | "DEBUG4" | "DEBUG5" => log::Level::Debug,
        // DETAIL, HINT, STATEMENT and the like, or another language.
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_level_and_their_lines() {
        assert_eq!(level("[12] LOG:  database system is ready"), Some(log::Level::Info));
        assert_eq!(level("2026-11-27 14:00:00 UTC [12] ann@shop ERROR:  no"), Some(log::Level::Warn));
        assert_eq!(level("[12] PANIC:  could not"), Some(log::Level::Error));
        assert_eq!(level("[12] STATEMENT:  select 1"), None);
        assert_eq!(level("\tfrom t"), None);
        let (reader, mut writer) = io::pipe().unwrap();
        let mut output = Output { reader, pending: Vec::new(), level: log::Level::Info, last: VecDeque::new() };
        output.take(b"[1] LOG:  a\n[1] ERR");
        assert_eq!(output.level, log::Level::Info);
        output.take(b"OR:  b\n");
        assert_eq!(output.level, log::Level::Warn);
        io::Write::write_all(&mut writer, b"[1] DETAIL:  c\nnot ended").unwrap();
        drop(writer);
        assert_eq!(output.last_words(), "[1] LOG:  a; [1] ERROR:  b; [1] DETAIL:  c");
    }
}
