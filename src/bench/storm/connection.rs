//! One connection from connect to close: carries bytes between its socket and its session, and stamps the phases.

use std::os::fd::AsFd;
use std::sync::Arc;

use rustls::ClientConfig;

use super::Plan;
use super::credentials::Credentials;
use super::outcome::{Failure, Phase, Tally};
use super::session::{Event, Packets, Session};
use super::transport::{Received, Transport};

/// What the connections of a thread share.
pub struct Shared<'a> {
    pub plan: &'a Plan,
    pub packets: &'a Packets,
    pub tls: Option<&'a Arc<ClientConfig>>,
    pub credentials: Credentials,
    pub tally: Tally,
    /// Bytes read, and replies to be sent; empty between calls.
    pub buffer: Vec<u8>,
    pub replies: Vec<u8>,
    /// The measured time, in nanoseconds since the start of the run.
    pub measured_ns: std::ops::Range<u64>,
}

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Connecting,
    Encrypting,
    Authenticating,
    /// Pauses until then, in nanoseconds since the start.
    Thinking(u64),
    Asking,
    Closing,
}

/// What an event says of a socket.
#[derive(Debug, Clone, Copy)]
pub struct Readiness {
    pub writable: bool,
    pub readable: bool,
    /// The server sends no more than what is there already, or the connection is broken.
    pub closed: bool,
}

/// One connection; its buffers serve the next one.
pub struct Connection {
    transport: Option<Transport>,
    session: Session,
    step: Step,
    /// When the session was due, and when its current phase began.
    due_ns: u64,
    phase_ns: u64,
    /// When it has waited too long.
    pub deadline_ns: u64,
    asked: u32,
    failed: bool,
    /// Due in the measured time.
    recorded: bool,
}

impl Connection {
    /// A connection that has not begun.
    pub fn new() -> Self {
        Self {
            transport: None,
            session: Session::new(false),
            step: Step::Closing,
            due_ns: 0,
            phase_ns: 0,
            deadline_ns: u64::MAX,
            asked: 0,
            failed: false,
            recorded: false,
        }
    }

    /// Begins a session that was due then.
    pub fn start(&mut self, shared: &mut Shared<'_>, due_ns: u64, now_ns: u64) {
        self.session.restart(shared.tls.is_some());
        self.transport = None;
        self.step = Step::Connecting;
        self.due_ns = due_ns;
        self.phase_ns = now_ns;
        self.deadline_ns = now_ns.saturating_add(shared.plan.timeout.as_nanos() as u64);
        self.asked = 0;
        self.failed = false;
        self.recorded = shared.measured_ns.contains(&due_ns);
        if self.recorded {
            shared.tally.due += 1;
        }
        self.record(shared, Phase::Late, now_ns.saturating_sub(due_ns));
    }

    /// Takes the socket once connect was called on it.
    pub fn attach(&mut self, transport: Transport) {
        self.transport = Some(transport);
    }

    /// The socket, to be watched.
    pub fn socket(&self) -> Option<&impl AsFd> {
        self.transport.as_ref()
    }

    /// Where it stands.
    pub fn step(&self) -> Step {
        self.step
    }

    /// The phase that an error of now belongs to.
    pub fn phase(&self) -> Phase {
        match self.step {
            Step::Connecting => Phase::Connect,
            Step::Encrypting => Phase::Tls,
            Step::Authenticating => Phase::Authentication,
            Step::Thinking(_) | Step::Asking if self.asked <= 1 => Phase::FirstQuery,
            Step::Thinking(_) | Step::Asking => Phase::Query,
            Step::Closing => Phase::Close,
        }
    }

    /// The connection stands.
    pub fn connected(&mut self, shared: &mut Shared<'_>, now_ns: u64) -> Result<(), Failure> {
        self.finish_phase(shared, Phase::Connect, now_ns);
        let first = if shared.tls.is_some() {
            self.step = Step::Encrypting;
            &shared.packets.ssl_request
        } else {
            self.step = Step::Authenticating;
            &shared.packets.startup
        };
        self.transport()?.send(first)
    }

    /// Something has happened to the socket. Returns true at the end of the session.
    pub fn on_ready(
        &mut self,
        shared: &mut Shared<'_>,
        readiness: Readiness,
        now_ns: &dyn Fn() -> u64,
    ) -> Result<bool, Failure> {
        if self.step == Step::Connecting {
            self.transport()?.error()?;
            if !readiness.writable {
                return Ok(false);
            }
            self.connected(shared, now_ns())?;
        } else if readiness.writable {
            self.transport()?.flush()?;
        }
        // A socket that became writable only has nothing to read: this call is saved once for every send.
        if !readiness.readable && !readiness.closed {
            return Ok(false);
        }
        let mut buffer = std::mem::take(&mut shared.buffer);
        let result = self.read(shared, &mut buffer, readiness.closed, now_ns);
        shared.buffer = buffer;
        result
    }

    fn read(
        &mut self,
        shared: &mut Shared<'_>,
        buffer: &mut [u8],
        closed: bool,
        now_ns: &dyn Fn() -> u64,
    ) -> Result<bool, Failure> {
        loop {
            let (count, drained) = match self.transport()?.receive(buffer)? {
                Received::Nothing => return Ok(false),
                Received::Bytes { count, drained } => (count, drained),
                Received::Closed => {
                    self.session.closed()?;
                    self.finish_phase(shared, Phase::Close, now_ns());
                    return Ok(true);
                }
            };
            if self.step == Step::Encrypting && self.is_encrypted() {
                self.finish_phase(shared, Phase::Tls, now_ns());
                let is_resumed = self.transport.as_ref().is_some_and(Transport::is_resumed);
                shared.tally.resumed += u64::from(is_resumed && self.recorded);
                self.step = Step::Authenticating;
                self.session.restart(false);
                self.transport()?.send(&shared.packets.startup)?;
            }
            self.feed(shared, buffer.get(..count).unwrap_or_default(), now_ns)?;
            // What a short read left is told of by another event, unless that has come already (epoll(7)).
            if drained && !closed {
                return Ok(false);
            }
        }
    }

    fn is_encrypted(&self) -> bool {
        self.transport.as_ref().is_some_and(|transport| transport.is_encrypted() && !transport.is_handshaking())
    }

    fn feed(&mut self, shared: &mut Shared<'_>, bytes: &[u8], now_ns: &dyn Fn() -> u64) -> Result<(), Failure> {
        let mut bytes = bytes;
        loop {
            let event = self.session.receive(bytes, &mut shared.credentials, &mut shared.replies);
            if !shared.replies.is_empty() {
                let replies = std::mem::take(&mut shared.replies);
                let sent = self.transport()?.send(&replies);
                shared.replies = replies;
                shared.replies.clear();
                sent?;
            }
            let Some(event) = event? else { return Ok(()) };
            self.on_event(shared, event, now_ns())?;
            bytes = &[];
        }
    }

    fn on_event(&mut self, shared: &mut Shared<'_>, event: Event, now_ns: u64) -> Result<(), Failure> {
        match event {
            Event::Encrypt => match shared.tls {
                Some(config) => self.transport()?.encrypt(config),
                None => Err(Failure::protocol("an answer to a request that was not made".to_owned())),
            },
            Event::Ready => {
                self.finish_phase(shared, Phase::Authentication, now_ns);
                self.record(shared, Phase::Ready, now_ns.saturating_sub(self.due_ns));
                if shared.measured_ns.contains(&now_ns) {
                    shared.tally.became_ready += 1;
                }
                if shared.plan.queries > 0 { self.ask(shared, now_ns) } else { self.pause(shared, now_ns) }
            }
            Event::Answered(failure) => {
                let phase = self.phase();
                match failure {
                    Some(failure) => self.count_error(shared, phase, failure, now_ns),
                    None => {
                        self.finish_phase(shared, phase, now_ns);
                        if shared.measured_ns.contains(&now_ns) {
                            shared.tally.queries += 1;
                        }
                    }
                }
                self.pause(shared, now_ns)
            }
        }
    }

    fn ask(&mut self, shared: &mut Shared<'_>, now_ns: u64) -> Result<(), Failure> {
        self.asked += 1;
        self.step = Step::Asking;
        self.phase_ns = now_ns;
        self.deadline_ns = now_ns.saturating_add(shared.plan.timeout.as_nanos() as u64);
        self.session.asked();
        self.transport()?.send(&shared.packets.query)
    }

    /// Thinks, where the plan says so and there is time left, before it goes on.
    fn pause(&mut self, shared: &mut Shared<'_>, now_ns: u64) -> Result<(), Failure> {
        if shared.plan.think.is_zero() || now_ns >= shared.measured_ns.end {
            return self.go_on(shared, now_ns);
        }
        self.step = Step::Thinking(now_ns.saturating_add(shared.plan.think.as_nanos() as u64));
        self.deadline_ns = u64::MAX;
        Ok(())
    }

    /// The next query, or the end.
    pub fn go_on(&mut self, shared: &mut Shared<'_>, now_ns: u64) -> Result<(), Failure> {
        if self.asked < shared.plan.queries && now_ns < shared.measured_ns.end {
            self.ask(shared, now_ns)
        } else {
            self.terminate(shared, now_ns)
        }
    }

    /// Says Terminate. The server closes the connection, and how long it takes is a phase too.
    fn terminate(&mut self, shared: &mut Shared<'_>, now_ns: u64) -> Result<(), Failure> {
        self.step = Step::Closing;
        self.phase_ns = now_ns;
        self.deadline_ns = now_ns.saturating_add(shared.plan.timeout.as_nanos() as u64);
        self.session.ending();
        self.transport()?.send(&shared.packets.terminate)?;
        self.transport()?.send_end()
    }

    /// The session ended as planned, or with an error in a query.
    pub fn end(&mut self, shared: &mut Shared<'_>) {
        self.transport = None;
        if self.recorded {
            if self.failed {
                shared.tally.failed += 1;
            } else {
                shared.tally.completed += 1;
            }
        }
    }

    /// The session ended with an error. A session that waited for ReadyForQuery in vain has waited at least that
    /// long: left out, it would make the percentiles better.
    pub fn fail(&mut self, shared: &mut Shared<'_>, failure: Failure, now_ns: u64) {
        let waited_in_vain = matches!(self.step, Step::Connecting | Step::Encrypting | Step::Authenticating)
            && matches!(failure.code(), "TIMEOUT" | "ETIMEDOUT");
        if waited_in_vain {
            self.record(shared, Phase::Ready, now_ns.saturating_sub(self.due_ns));
        }
        let phase = self.phase();
        self.count_error(shared, phase, failure, now_ns);
        self.end(shared);
    }

    /// The run was stopped before the session ended.
    pub fn abandon(&mut self, shared: &mut Shared<'_>) {
        self.transport = None;
        if self.recorded {
            shared.tally.unfinished += 1;
        }
    }

    fn count_error(&mut self, shared: &mut Shared<'_>, phase: Phase, failure: Failure, now_ns: u64) {
        self.failed = true;
        let is_warm_up = !self.recorded && now_ns < shared.measured_ns.start;
        let errors = if is_warm_up { &mut shared.tally.warm_up_errors } else { &mut shared.tally.errors };
        errors.count(phase, failure);
    }

    fn finish_phase(&mut self, shared: &mut Shared<'_>, phase: Phase, now_ns: u64) {
        self.record(shared, phase, now_ns.saturating_sub(self.phase_ns));
        self.phase_ns = now_ns;
    }

    /// What belongs to becoming ready counts where the session was due in the measured time; a query or an end, where
    /// it began in it, so that sessions older than the measured time have a share in them.
    fn record(&self, shared: &mut Shared<'_>, phase: Phase, ns: u64) {
        let counts = match phase {
            Phase::FirstQuery | Phase::Query | Phase::Close => shared.measured_ns.contains(&self.phase_ns),
            _ => self.recorded,
        };
        if counts {
            shared.tally.record(phase, ns);
        }
    }

    fn transport(&mut self) -> Result<&mut Transport, Failure> {
        self.transport.as_mut().ok_or_else(|| Failure::named("CLOSED", "the connection has ended"))
    }
}
