//! One thread of the load generator: one epoll, the sessions that it has open, and what is due next.
//!
//! In an open loop sessions begin when they are due, whatever became of those before; only the ceiling on open
//! sessions keeps one from beginning, and that is counted as an error. Never starts a session while it handles
//! events: a number that an event still speaks of is not given to another connection.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::errno::Errno;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::Load;
use super::connection::{Connection, Readiness, Shared, Step};
use super::outcome::{ClientTime, Failure, Tally};
use super::schedule::Schedule;
use super::transport::{self, Connect, Sources, Transport};

/// How often a thread looks at deadlines and at whether it is to stop, and reports.
const TICK: Duration = Duration::from_millis(50);
/// Sessions that are begun between two looks at what has come, so that a burst does not keep answers waiting.
const STARTS_AT_ONCE: usize = 16;
/// How long a client of a closed loop rests after an error: a server that refuses is not asked again at once.
const REST_AFTER_ERROR_NS: u64 = 10_000_000;
/// How long until a Unix socket with a full queue is tried again.
const QUEUE_RETRY_NS: u64 = 1_000_000;

/// What a thread reports.
pub enum Report {
    /// Since the last report: sessions that became ready, errors; and how many sessions are open now.
    Progress { thread: usize, ready: u64, errors: u64, open: usize },
    /// The end.
    Done(Box<Tally>),
    /// The thread could not work at all.
    Broken(io::Error),
}

/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A connection's pause is over, or its connect is to be tried again.
    Connection(usize),
    /// A client of a closed loop has rested.
    Client,
}

/// Where new sessions come from.
enum Arrivals {
    Open(Schedule),
    /// Clients that have no session and may begin one.
    Closed {
        free: usize,
    },
}

/// The token of the timer; connections have those below.
const TIMER: Token = Token(usize::MAX);

/// One thread's state.
pub struct Driver<'a> {
    shared: Shared<'a>,
    thread: usize,
    origin: Instant,
    poll: Poll,
    timer: TimerFd,
    /// What the timer was set to last.
    armed_ns: u64,
    timers: BinaryHeap<Reverse<(u64, Timer)>>,
    arrivals: Arrivals,
    connections: Vec<Connection>,
    is_open: Vec<bool>,
    free: Vec<usize>,
    max_open: usize,
    sources: Sources,
    /// As of the last report.
    reported: (u64, u64),
    ready: u64,
}

impl<'a> Driver<'a> {
    /// Thread number `thread` of the plan, timed from `origin`.
    pub fn new(shared: Shared<'a>, thread: usize, origin: Instant) -> io::Result<Self> {
        let plan = shared.plan;
        let share_of = |count: usize| count / plan.threads + usize::from(thread < count % plan.threads);
        let arrivals = match plan.load {
            Load::Open { rate, arrivals } => {
                Arrivals::Open(Schedule::new(arrivals, rate, thread, plan.threads, plan.seed))
            }
            Load::Closed { clients } => Arrivals::Closed { free: share_of(clients) },
        };
        let poll = Poll::new()?;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        poll.registry().register(&mut SourceFd(&timer.as_fd().as_raw_fd()), TIMER, Interest::READABLE)?;
        Ok(Self {
            sources: Sources::new(&plan.target, plan.source_addresses),
            max_open: share_of(plan.max_open),
            shared,
            thread,
            origin,
            poll,
            timer,
            armed_ns: 0,
            timers: BinaryHeap::new(),
            arrivals,
            connections: Vec::new(),
            is_open: Vec::new(),
            free: Vec::new(),
            reported: (0, 0),
            ready: 0,
        })
    }

    /// Works until all sessions have ended after the plan's end, or until it is told to stop.
    pub fn run(mut self, stop: &AtomicBool, reports: &Sender<Report>) -> io::Result<Tally> {
        let mut events = Events::with_capacity(256);
        let mut next_tick_ns = 0;
        let mut clock = ClientClock::default();
        let end_ns = self.shared.measured_ns.end;
        let mut is_over = false;
        loop {
            let now_ns = self.now_ns();
            clock.look(now_ns, &self.shared.measured_ns);
            if now_ns >= next_tick_ns {
                next_tick_ns = now_ns + TICK.as_nanos() as u64;
                if stop.load(Ordering::Relaxed) {
                    self.abandon_all();
                    break;
                }
                self.end_those_overdue(now_ns);
                self.report(reports);
            }
            if now_ns >= end_ns && !is_over {
                is_over = true;
                self.wake_those_who_think(now_ns);
            }
            self.fire_timers(now_ns);
            let more = self.start_those_due(end_ns);
            if is_over && self.open() == 0 && !more {
                break;
            }
            let timeout = if more { Duration::ZERO } else { self.arm(next_tick_ns)? };
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            for event in &events {
                if event.token() != TIMER {
                    let closed = event.is_read_closed() || event.is_error();
                    let readiness = Readiness { writable: event.is_writable(), readable: event.is_readable(), closed };
                    self.on_event(event.token().0, readiness);
                }
            }
        }
        self.report(reports);
        self.shared.tally.client = clock.finish(self.now_ns());
        self.shared.tally.addresses_exhausted = self.sources.exhausted;
        Ok(self.shared.tally)
    }

    fn now_ns(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    fn open(&self) -> usize {
        self.connections.len() - self.free.len()
    }

    /// Starts what is due by now; true if there is more.
    fn start_those_due(&mut self, end_ns: u64) -> bool {
        for _ in 0..STARTS_AT_ONCE {
            let now_ns = self.now_ns();
            let due_ns = match &mut self.arrivals {
                Arrivals::Open(schedule) => {
                    let due_ns = schedule.due_ns();
                    if due_ns > now_ns || due_ns >= end_ns {
                        return false;
                    }
                    schedule.advance();
                    due_ns
                }
                Arrivals::Closed { free } => {
                    // A session that has said Terminate is no client any more, but its socket is still there.
                    if *free == 0 || now_ns >= end_ns || self.connections.len() - self.free.len() >= self.max_open {
                        return false;
                    }
                    *free -= 1;
                    now_ns
                }
            };
            self.start(due_ns, now_ns);
        }
        true
    }

    fn start(&mut self, due_ns: u64, now_ns: u64) {
        if self.open() >= self.max_open {
            let mut refused = Connection::new();
            refused.start(&mut self.shared, due_ns, now_ns);
            let failure = Failure::named("TOO_MANY_OPEN", "the ceiling on open sessions is reached (--max-open)");
            refused.fail(&mut self.shared, failure, now_ns);
            return;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.connections.push(Connection::new());
            self.is_open.push(false);
            self.connections.len() - 1
        });
        self.is_open[number] = true;
        self.shared.tally.most_open = self.shared.tally.most_open.max(self.open());
        self.connections[number].start(&mut self.shared, due_ns, now_ns);
        self.connect(number);
    }

    fn connect(&mut self, number: usize) {
        let result = self.try_to_connect(number);
        if let Err(failure) = result {
            self.fail(number, failure);
        }
    }

    fn try_to_connect(&mut self, number: usize) -> Result<(), Failure> {
        let (fd, stands) = match transport::begin(&self.shared.plan.target, &mut self.sources)? {
            Connect::Done(fd) => (fd, true),
            Connect::UnderWay(fd) => (fd, false),
            Connect::QueueFull => {
                let again_ns = self.now_ns() + QUEUE_RETRY_NS;
                self.timers.push(Reverse((again_ns, Timer::Connection(number))));
                return Ok(());
            }
        };
        let raw = fd.as_raw_fd();
        let interest = Interest::READABLE | Interest::WRITABLE;
        let watched = self.poll.registry().register(&mut SourceFd(&raw), Token(number), interest);
        watched.map_err(|error| Failure::system(Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))))?;
        self.connections[number].attach(Transport::new(fd));
        if stands {
            let now_ns = self.now_ns();
            self.connections[number].connected(&mut self.shared, now_ns)?;
        }
        Ok(())
    }

    fn on_event(&mut self, number: usize, readiness: Readiness) {
        if !self.is_open.get(number).is_some_and(|open| *open) {
            return;
        }
        let origin = self.origin;
        self.act(number, |connection, shared| {
            connection.on_ready(shared, readiness, &|| origin.elapsed().as_nanos() as u64)
        });
    }

    /// Lets a connection do something, and draws the consequences.
    fn act(&mut self, number: usize, action: impl FnOnce(&mut Connection, &mut Shared<'_>) -> Result<bool, Failure>) {
        let connection = &mut self.connections[number];
        let (was_closing, was_ready) = (connection.step() == Step::Closing, is_ready(connection.step()));
        match action(connection, &mut self.shared) {
            Err(failure) => self.fail(number, failure),
            Ok(is_over) => {
                let step = connection.step();
                if !was_ready && is_ready(step) {
                    self.ready += 1;
                }
                if let Step::Thinking(until_ns) = step {
                    self.timers.push(Reverse((until_ns, Timer::Connection(number))));
                }
                if step == Step::Closing && !was_closing {
                    self.client_is_free();
                }
                if is_over {
                    self.connections[number].end(&mut self.shared);
                    self.release(number);
                }
            }
        }
    }

    fn fail(&mut self, number: usize, failure: Failure) {
        let now_ns = self.now_ns();
        let connection = &mut self.connections[number];
        let was_closing = connection.step() == Step::Closing;
        connection.fail(&mut self.shared, failure, now_ns);
        self.release(number);
        if matches!(self.arrivals, Arrivals::Closed { .. }) && !was_closing {
            self.timers.push(Reverse((now_ns + REST_AFTER_ERROR_NS, Timer::Client)));
        }
    }

    fn release(&mut self, number: usize) {
        self.is_open[number] = false;
        self.free.push(number);
    }

    fn client_is_free(&mut self) {
        if let Arrivals::Closed { free } = &mut self.arrivals {
            *free += 1;
        }
    }

    fn fire_timers(&mut self, now_ns: u64) {
        while let Some(Reverse((at_ns, timer))) = self.timers.peek().copied()
            && at_ns <= now_ns
        {
            self.timers.pop();
            match timer {
                Timer::Client => self.client_is_free(),
                Timer::Connection(number) if self.is_open[number] => match self.connections[number].step() {
                    // A timer of an earlier session with this number finds another time, or another step.
                    Step::Thinking(until_ns) if until_ns <= now_ns => {
                        self.act(number, |connection, shared| connection.go_on(shared, now_ns).map(|()| false));
                    }
                    Step::Connecting if self.connections[number].socket().is_none() => self.connect(number),
                    _ => (),
                },
                Timer::Connection(_) => (),
            }
        }
    }

    /// The time is over: nobody goes on thinking.
    fn wake_those_who_think(&mut self, now_ns: u64) {
        for number in 0..self.connections.len() {
            if self.is_open[number] && matches!(self.connections[number].step(), Step::Thinking(_)) {
                self.act(number, |connection, shared| connection.go_on(shared, now_ns).map(|()| false));
            }
        }
    }

    fn end_those_overdue(&mut self, now_ns: u64) {
        for number in 0..self.connections.len() {
            if self.is_open[number] && self.connections[number].deadline_ns <= now_ns {
                self.fail(number, Failure::named("TIMEOUT", "no answer within --timeout"));
            }
        }
    }

    fn abandon_all(&mut self) {
        for number in 0..self.connections.len() {
            if self.is_open[number] {
                self.connections[number].abandon(&mut self.shared);
                self.release(number);
            }
        }
    }

    /// How long to wait for events: until the next tick. What is due before that arms the timer, which is finer than
    /// the milliseconds of epoll_wait.
    fn arm(&mut self, next_tick_ns: u64) -> io::Result<Duration> {
        let arrival_ns = match &self.arrivals {
            Arrivals::Open(schedule) if schedule.due_ns() < self.shared.measured_ns.end => schedule.due_ns(),
            _ => u64::MAX,
        };
        let timer_ns = self.timers.peek().map_or(u64::MAX, |Reverse((at_ns, _))| *at_ns);
        let now_ns = self.now_ns();
        let next_ns = arrival_ns.min(timer_ns);
        if next_ns < next_tick_ns {
            if next_ns <= now_ns {
                return Ok(Duration::ZERO);
            }
            if self.armed_ns != next_ns {
                let wait = TimeSpec::from_duration(Duration::from_nanos(next_ns - now_ns));
                self.timer.set(Expiration::OneShot(wait), TimerSetTimeFlags::empty())?;
                self.armed_ns = next_ns;
            }
        }
        Ok(Duration::from_nanos(next_tick_ns.saturating_sub(now_ns)))
    }

    fn report(&mut self, reports: &Sender<Report>) {
        let errors = self.shared.tally.errors.total() + self.shared.tally.warm_up_errors.total();
        let (ready, new_errors) = (self.ready - self.reported.0, errors - self.reported.1);
        self.reported = (self.ready, errors);
        // Nobody listens any more only when the run is over.
        let _ = reports.send(Report::Progress { thread: self.thread, ready, errors: new_errors, open: self.open() });
    }
}

fn is_ready(step: Step) -> bool {
    matches!(step, Step::Thinking(_) | Step::Asking | Step::Closing)
}

/// Measures what the thread itself costs, within the measured time.
#[derive(Default)]
struct ClientClock {
    since: Option<(u64, Duration)>,
    spent: Option<ClientTime>,
}

impl ClientClock {
    fn look(&mut self, now_ns: u64, measured_ns: &std::ops::Range<u64>) {
        if self.since.is_none() && now_ns >= measured_ns.start {
            self.since = Some((now_ns, thread_cpu()));
        }
        if self.spent.is_none() && now_ns >= measured_ns.end {
            self.spent = Some(self.finish(now_ns));
        }
    }

    /// What was spent in the measured time, or until now if that is not over.
    fn finish(&self, now_ns: u64) -> ClientTime {
        if let Some(spent) = self.spent {
            return spent;
        }
        self.since.map_or(ClientTime::default(), |(since_ns, cpu)| ClientTime {
            cpu: thread_cpu().saturating_sub(cpu),
            wall: Duration::from_nanos(now_ns.saturating_sub(since_ns)),
        })
    }
}

fn thread_cpu() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_THREAD) else { return Duration::ZERO };
    [usage.user_time(), usage.system_time()]
        .iter()
        .map(|time| Duration::new(time.tv_sec().unsigned_abs(), time.tv_usec().unsigned_abs() as u32 * 1000))
        .sum()
}
