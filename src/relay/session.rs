//! One client's session on upstream connections: carries messages both ways, knows at each moment what is owed, and
//! gives the connection back at the end of the session or of each transaction.
//! Waits in one place, for whichever side has to speak next. A client that does not read holds up its own server only.

mod definitions;
mod leavings;
mod prepare;
mod release;
mod replies;
mod traffic;

pub use self::release::ask;

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use self::leavings::Leavings;
use self::prepare::{Change, Unnamed};
use self::traffic::Traffic;
use super::lend::{Lender, Lent, Pool, cancelled};
use super::messages::{self, Message};
use super::order::{Fate, Order, Request};
use super::parameters::{Parameters, set_statement, tracked};
use super::statements::{Prepared, Statements};
use crate::config::PoolMode;
use crate::error::{Condition, Error};
use crate::protocol::client::ClientEncoder;
use crate::protocol::{Encoder, Frame, Next, ReadyStatus, Severity, frame};
use crate::session::{Activity, End, Interrupts, State};
use crate::worker::transport::{Received, Sent, Transport};

/// Replies gathered before they are sent on.
const FLUSH_BYTES: usize = 64 * 1024;
/// Bytes for a server that does not take them, beyond which its client has to wait.
const BACKLOG_BYTES: usize = 256 * 1024;
/// Requests under way, beyond which a client has to wait: far more than a server answers before it sends anything.
const REQUESTS_MAX: usize = 64 * 1024;
/// A wait looks at the interrupt flags this often, in case the signal came just before it slept.
const RECHECK_MS: u16 = 1000;
/// How long the request to cancel may take.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// What a session runs on.
pub struct Session<'a> {
    pub lender: Lender<'a>,
    pub pool: Pool,
    pub mode: PoolMode,
    /// The start-up packet's settings.
    pub startup: Vec<(String, String)>,
    pub transport: &'a mut Transport,
    pub interrupts: &'a mut dyn Interrupts,
    pub activity: &'a mut dyn Activity,
}

struct Relay<'a> {
    session: Session<'a>,
    lent: Option<Lent>,
    order: Order,
    /// What the client wants of the parameters that servers report, and what it was told of them.
    wanted: Parameters,
    statements: Statements,
    /// The unnamed statement that the connection has when what was sent has been carried out.
    unnamed: Unnamed,
    /// Changes to statements that were sent and are not settled, in order.
    changes: VecDeque<Change>,
    leavings: Leavings,
    /// A statement of the connection cannot be planned again: its result would have other columns.
    is_outdated: bool,
    /// Something was defined that new sessions must see once it is committed.
    redefined: bool,
    traffic: Traffic,
    /// Counts Sync and Query: an error has everything up to the next one skipped.
    unit: u64,
    /// Bytes of a long row that are still to come, and what becomes of them.
    passing: usize,
    passing_fate: Fate,
}

/// Serves the client to the end of its session. What the transport has gathered before goes out with the first answer.
pub fn serve(session: Session<'_>) -> End {
    let mut relay = Relay {
        session,
        lent: None,
        order: Order::default(),
        wanted: Parameters::default(),
        statements: Statements::default(),
        unnamed: Unnamed::Unknown,
        changes: VecDeque::new(),
        leavings: Leavings::default(),
        is_outdated: false,
        redefined: false,
        traffic: Traffic::default(),
        unit: 0,
        passing: 0,
        passing_fate: Fate::Forward,
    };
    let end = match relay.begin().and_then(|()| relay.run()) {
        Ok(never) => match never {},
        Err(end) => end,
    };
    // The client first: it may wait for its last words.
    if !matches!(end, End::Io(_)) {
        let _ = relay.session.transport.send(&mut || true);
    }
    relay.release_at_end();
    relay.count(None);
    end
}

impl Relay<'_> {
    /// Finds out what the server reports, and greets the client with it.
    fn begin(&mut self) -> Result<(), End> {
        // Nobody has this session's key yet.
        while !self.connect()? {}
        if let Some(lent) = &self.lent {
            self.wanted = lent.upstream.memory.defaults.clone();
        }
        let mut extra = String::new();
        for (name, value) in std::mem::take(&mut self.session.startup) {
            // Older servers do not report every one.
            if tracked(&name).is_some() && self.wanted.get(&name).is_some() {
                self.wanted.set(&name, &value);
            } else if self.session.mode == PoolMode::Session {
                extra += &set_statement(&name, &value);
            } else if !self.session.lender.config.ignore_startup_parameters.contains(&name) {
                let message = format!("unsupported startup parameter in pool mode \"transaction\": {name}");
                return Err(self.fail(Error::new(Condition::FeatureNotSupported, message)));
            }
        }
        self.adapt(&extra);
        self.finish_silently()?;
        if let Some(lent) = &self.lent {
            self.wanted = lent.upstream.memory.parameters.clone();
        }
        let mut out = Encoder::new(self.session.transport.output());
        for (name, value) in self.wanted.iter() {
            out.parameter_status(name, value);
        }
        out.ready_for_query(ReadyStatus::Idle);
        self.session.activity.state(State::Idle, None);
        self.send_to_client()?;
        self.release_if_between()
    }

    fn run(&mut self) -> Result<std::convert::Infallible, End> {
        loop {
            self.check_interrupts()?;
            self.take_from_client()?;
            self.send_to_server()?;
            self.take_from_server()?;
            // What is gathered waits for more as long as more is certain to come.
            if self.session.transport.gathered() > 0 {
                self.send_to_client()?;
            }
            self.release_if_between()?;
            if self.has_client_message() && !self.is_client_held_up() {
                continue;
            }
            self.wait()?;
        }
    }

    /// Termination and cancel requests.
    fn check_interrupts(&mut self) -> Result<(), End> {
        if self.session.interrupts.terminate_requested() {
            let message = "terminating connection due to administrator command";
            self.say_fatal(&Error::new(Condition::AdminShutdown, message));
            return Err(End::Terminated);
        }
        // Here the connection that the session holds now is known, and it is not given away before the server has
        // heard: a late cancel hits nobody else.
        if self.session.interrupts.take_cancel()
            && !self.order.is_idle()
            && let Some(lent) = &self.lent
            && let Err(error) = lent.upstream.cancel(Instant::now() + CANCEL_TIMEOUT)
        {
            log::warn!("a cancel request did not reach the upstream server: {error}");
        }
        Ok(())
    }

    fn has_client_message(&self) -> bool {
        matches!(frame::next(self.session.transport.unread()), Ok(Next::Complete(..)))
    }

    fn is_client_held_up(&self) -> bool {
        self.is_undecided()
            || self.order.count() > REQUESTS_MAX
            || self.lent.as_ref().is_some_and(|lent| lent.upstream.output.len() > BACKLOG_BYTES)
    }

    /// Carries out the client's messages that are there.
    fn take_from_client(&mut self) -> Result<(), End> {
        while !self.is_client_held_up() {
            let (frame, length) = match frame::next(self.session.transport.unread()) {
                Ok(Next::Complete(frame, length)) => (frame, length),
                Ok(Next::Missing(_)) => return Ok(()),
                Err(violation) => return Err(self.violation(Error::from(violation))),
            };
            let kind = frame.kind;
            // A copy, since both ends of the session are needed to deal with it.
            let body = frame.body.to_vec();
            self.session.transport.consume(length);
            self.traffic.received(length);
            self.client_message(Frame { kind, body: &body })?;
        }
        Ok(())
    }

    fn client_message(&mut self, frame: Frame<'_>) -> Result<(), End> {
        let message = match messages::read(frame) {
            Ok(message) => message,
            Err(violation) => return Err(self.violation(Error::from(violation))),
        };
        if self.order.is_skipping() && !matches!(message, Message::Sync | Message::Terminate) {
            return Ok(());
        }
        let is_pooling = self.session.mode == PoolMode::Transaction;
        if self.session.pool.is_own
            && let Message::Query(text) | Message::Parse { text, .. } = message
            && definitions::is_about_databases(text)
        {
            // Those that are given back meanwhile are closed as well.
            self.session.lender.renew();
            self.session.lender.close_idle();
        }
        if needs_connection(&message, is_pooling) && !self.connect()? {
            self.refuse(matches!(message, Message::Query(_) | Message::FunctionCall));
            return Ok(());
        }
        if is_pooling && let Message::Query(text) = message {
            self.leavings.consider(text);
        }
        match message {
            Message::Terminate => return Err(End::Terminate),
            Message::CopyData | Message::CopyEnd | Message::Flush if self.lent.is_none() => {
                // What is left of a COPY that the server has given up; nothing is under way.
            }
            Message::CopyData | Message::Flush => self.forward(frame, None),
            Message::CopyEnd => self.forward(frame, Some(Request::CopyEnd)),
            Message::Query(text) => {
                self.session.activity.state(State::Active, Some(&String::from_utf8_lossy(text)));
                self.push(frame.kind, &[frame.body]);
                // It ends the unnamed statement.
                self.unit += 1;
                self.unnamed = Unnamed::Absent;
                self.send_change(Request::Query, false, Some((Vec::new(), None)), None);
            }
            Message::Parse { name, text, definition } => {
                self.session.activity.state(State::Active, Some(&String::from_utf8_lossy(text)));
                if is_pooling {
                    let encoding = self.wanted.get("client_encoding").unwrap_or_default();
                    self.parse(name, Rc::new(Prepared::new(definition, encoding)));
                    return Ok(());
                }
                self.forward(frame, Some(Request::Parse));
            }
            Message::Bind { portal, statement, rest } if is_pooling => {
                let name = self.provide(statement);
                self.push(b'B', &[portal, b"\0", &name, b"\0", rest]);
                self.order.sent(Request::Bind, false);
            }
            Message::Bind { .. } => self.forward(frame, Some(Request::Bind)),
            Message::DescribeStatement(name) if is_pooling => {
                let name = self.provide(name);
                self.push(b'D', &[b"S", &name, b"\0"]);
                self.order.sent(Request::DescribeStatement, false);
            }
            Message::DescribeStatement(_) => self.forward(frame, Some(Request::DescribeStatement)),
            Message::DescribePortal => self.forward(frame, Some(Request::DescribePortal)),
            Message::Execute => self.forward(frame, Some(Request::Execute)),
            // It stays upstream, for others.
            Message::CloseStatement(name) if is_pooling && !name.is_empty() => {
                self.order.answer(b"3\0\0\0\x04".to_vec(), true);
                self.note(Some((name.to_vec(), None)), None);
            }
            Message::CloseStatement(_) if is_pooling => {
                self.push(frame.kind, &[frame.body]);
                self.unnamed = Unnamed::Absent;
                self.send_change(Request::Close, false, Some((Vec::new(), None)), None);
            }
            Message::CloseStatement(_) | Message::ClosePortal => self.forward(frame, Some(Request::Close)),
            Message::FunctionCall => self.forward(frame, Some(Request::FunctionCall)),
            Message::Sync if self.lent.is_none() => {
                self.order.end_skipping();
                self.order.answer(b"Z\0\0\0\x05I".to_vec(), false);
                self.session.activity.state(State::Idle, None);
            }
            Message::Sync => {
                self.unit += 1;
                self.forward(frame, Some(Request::Sync));
            }
        }
        Ok(())
    }

    /// Sends a message of the client's on as it is.
    fn forward(&mut self, frame: Frame<'_>, request: Option<Request>) {
        self.push(frame.kind, &[frame.body]);
        if let Some(request) = request {
            self.order.sent(request, false);
        }
    }

    /// Tells the client that its wait for a connection was cancelled. `is_simple`: no Sync follows.
    fn refuse(&mut self, is_simple: bool) {
        self.settle();
        let error = cancelled();
        let mut out = Encoder::new(self.session.transport.output());
        out.error_response(Severity::Error, &error);
        if is_simple {
            self.statements.set(Vec::new(), None);
            out.ready_for_query(ReadyStatus::Idle);
            self.session.activity.state(State::Idle, None);
        } else {
            self.order.skip_until_sync();
        }
    }

    /// Appends a message for the server.
    fn push(&mut self, kind: u8, parts: &[&[u8]]) {
        if let Some(lent) = &mut self.lent {
            let length: usize = parts.iter().map(|part| part.len()).sum();
            lent.upstream.output.push(kind);
            lent.upstream.output.extend_from_slice(&u32::try_from(length + 4).unwrap_or(u32::MAX).to_be_bytes());
            parts.iter().for_each(|part| lent.upstream.output.extend_from_slice(part));
        }
    }

    /// Has a connection lent, unless there is one, and gives it the client's parameters. False if the client has
    /// cancelled the wait.
    fn connect(&mut self) -> Result<bool, End> {
        if self.lent.is_some() {
            return Ok(true);
        }
        let Session { lender, pool, interrupts, .. } = &mut self.session;
        let mut cancelled = false;
        let deadline = Instant::now() + lender.config.query_wait_timeout.duration();
        let leased = lender.lease(pool, deadline, &mut || {
            cancelled |= interrupts.take_cancel();
            cancelled || interrupts.terminate_requested()
        });
        match leased {
            Ok(lent) => {
                self.lent = Some(lent);
                self.unnamed = Unnamed::Unknown;
                self.is_outdated = false;
                self.evict(self.session.lender.config.max_prepared_statements as usize);
                self.adapt("");
                Ok(true)
            }
            Err(error) => {
                self.check_interrupts()?;
                if cancelled { Ok(false) } else { Err(self.fail(error)) }
            }
        }
    }

    /// Sets what the client wants otherwise than the connection has it, ahead of what the client sends.
    fn adapt(&mut self, extra: &str) {
        let Some(lent) = &mut self.lent else { return };
        let difference = self.wanted.difference(&lent.upstream.memory.parameters).unwrap_or_default();
        let statement = difference + extra;
        if !statement.is_empty() {
            ClientEncoder::new(&mut lent.upstream.output).query(&statement);
            self.order.sent(Request::Query, true);
            self.unnamed = Unnamed::Absent;
        }
    }

    /// Waits for the end of what was sent for the session itself.
    fn finish_silently(&mut self) -> Result<(), End> {
        while !self.order.is_idle() {
            self.check_interrupts()?;
            self.send_to_server()?;
            if self.order.is_idle() {
                break;
            }
            self.receive_from_server()?;
            self.take_from_server()?;
        }
        Ok(())
    }

    fn send_to_server(&mut self) -> Result<(), End> {
        let Some(lent) = &mut self.lent else { return Ok(()) };
        if lent.upstream.output.is_empty() {
            return Ok(());
        }
        match lent.upstream.send_some() {
            Ok(_) => Ok(()),
            // It may have said why before it closed the connection.
            Err(_) => {
                self.receive_from_server()?;
                self.take_from_server()?;
                Err(self.lose())
            }
        }
    }

    /// The connection to the server is of no use any more; the client is told, once.
    fn lose(&mut self) -> End {
        self.discard();
        if self.session.pool.is_own {
            // Its words of a server process that outlives its postmaster.
            let message = "terminating connection due to unexpected postmaster exit";
            return self.fail(Error::new(Condition::AdminShutdown, message));
        }
        self.fail(Error::new(Condition::ConnectionFailure, "server closed the connection unexpectedly"))
    }

    fn discard(&mut self) {
        if let Some(lent) = self.lent.take() {
            self.session.lender.discard(lent);
        }
    }

    fn fail(&mut self, error: Error) -> End {
        self.say_fatal(&error);
        End::Failed(error)
    }

    fn violation(&mut self, error: Error) -> End {
        self.say_fatal(&error);
        End::ProtocolViolation(error)
    }

    fn say_fatal(&mut self, error: &Error) {
        // In the middle of a message nothing else can be said.
        if self.passing == 0 || self.passing_fate == Fate::Swallow {
            Encoder::new(self.session.transport.output()).error_response(Severity::Fatal, error);
        }
    }

    fn send_to_client(&mut self) -> Result<(), End> {
        let interrupts = &mut *self.session.interrupts;
        match self.session.transport.send(&mut || interrupts.terminate_requested()) {
            Ok(Sent::All) => Ok(()),
            Ok(Sent::Interrupted) => Err(End::Terminated),
            Err(error) => Err(End::Io(error)),
        }
    }

    /// Sleeps until one of the two has something to say, or a signal comes.
    fn wait(&mut self) -> Result<(), End> {
        if self.lent.is_none() {
            return self.receive_from_client();
        }
        if self.order.is_answer_due() && self.lent.as_ref().is_some_and(|lent| lent.upstream.output.is_empty()) {
            return self.receive_from_server();
        }
        let (client, server) = self.poll()?;
        if server {
            self.receive_from_server()?;
        }
        if client {
            self.receive_from_client()?;
        }
        Ok(())
    }

    /// Which of the two can be read.
    fn poll(&mut self) -> Result<(bool, bool), End> {
        let Some(lent) = &self.lent else { return Ok((true, false)) };
        let mut server = PollFlags::POLLIN;
        server.set(PollFlags::POLLOUT, !lent.upstream.output.is_empty());
        let client = if self.is_client_held_up() { PollFlags::empty() } else { PollFlags::POLLIN };
        let mut both =
            [PollFd::new(self.session.transport.as_fd(), client), PollFd::new(lent.upstream.as_fd(), server)];
        match poll(&mut both, PollTimeout::from(RECHECK_MS)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(End::Io(errno.into())),
        }
        let is_ready = |fd: &PollFd<'_>| {
            let readable = PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR;
            fd.revents().is_some_and(|events| events.intersects(readable))
        };
        Ok((is_ready(&both[0]), is_ready(&both[1])))
    }

    fn receive_from_client(&mut self) -> Result<(), End> {
        let interrupts = &mut *self.session.interrupts;
        let received = self.session.transport.receive(&mut || interrupts.terminate_requested());
        self.check_interrupts()?;
        match received.map_err(End::Io)? {
            Received::Bytes | Received::TimedOut | Received::Interrupted => Ok(()),
            Received::Eof => Err(End::Eof),
        }
    }

    fn receive_from_server(&mut self) -> Result<(), End> {
        let Some(lent) = &mut self.lent else { return Ok(()) };
        match lent.upstream.receive() {
            Ok(0) => Err(self.lose()),
            Ok(_) => Ok(()),
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => Ok(()),
            Err(_) => Err(self.lose()),
        }
    }
}

/// Whether a message goes to the server, or is about what it has.
fn needs_connection(message: &Message<'_>, is_pooling: bool) -> bool {
    match message {
        // Without a connection nothing is under way.
        Message::Terminate | Message::CopyData | Message::CopyEnd | Message::Flush | Message::Sync => false,
        Message::CloseStatement(name) => !is_pooling || name.is_empty(),
        _ => true,
    }
}
