//! The client as a session sees it: its connection together with the flags by which others end or cancel work.
//!
//! Turns what happens to the connection into an [`End`]. Does not know engines: whoever sends has settled.

use std::io;
use std::time::Duration;

use super::interrupts::{Interrupts, Wait};
use crate::error::{Condition, Error};
use crate::protocol::frame;
use crate::protocol::{Encoder, Frame, Next, Severity, Violation};
use crate::work;
use crate::worker::transport::{Received, Sent, Transport};

/// Rows are sent once this much is gathered.
pub const FLUSH_BYTES: usize = 64 * 1024;
/// A wait for COPY data looks at the interrupt flags this often, in case the signal came just before it slept.
const COPY_RECHECK: Duration = Duration::from_secs(1);

/// Why a session ended.
#[derive(Debug)]
pub enum End {
    /// The client said Terminate.
    Terminate,
    /// The client closed the connection without a word.
    Eof,
    /// An idle time-out; the client has been told.
    Timeout(Condition),
    /// Someone asked for it: pg_terminate_backend, shutdown; the client has been told.
    Terminated,
    /// The client broke the protocol; it has been told.
    ProtocolViolation(Error),
    /// Something the session cannot go on after; the client has been told.
    Failed(Error),
    /// The connection failed.
    Io(io::Error),
}

/// Why a statement or message was not carried out.
#[derive(Debug)]
pub enum Stop {
    /// The client is told of an error, and the session goes on.
    Error(Error),
    /// The session is over.
    End(End),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<End> for Stop {
    fn from(end: End) -> Self {
        Self::End(end)
    }
}

impl From<Violation> for Stop {
    fn from(violation: Violation) -> Self {
        Self::Error(violation.into())
    }
}

/// The result of carrying something out for a client.
pub type Outcome<T> = Result<T, Stop>;

/// What the wait for a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// The next command: a cancel that arrives now is too late for anything.
    Command,
    /// The same, while nobody else can write before this session's transaction ends: the wait begins without sleeping.
    UrgentCommand,
    /// COPY data: a cancel ends the COPY.
    CopyData,
}

/// What a wait for bytes came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// There are more bytes.
    Bytes,
    /// The receive time-out has passed.
    TimedOut,
    /// A cancel request for the COPY under way.
    Cancelled,
}

/// One client, its connection and its interrupts.
pub struct Client<'a> {
    transport: &'a mut Transport,
    interrupts: &'a mut dyn Interrupts,
    /// Why sending failed in the middle of a statement; the statement's own error is then of no interest.
    lost: Option<End>,
}

impl<'a> Client<'a> {
    /// Puts the two together.
    pub fn new(transport: &'a mut Transport, interrupts: &'a mut dyn Interrupts) -> Self {
        Self { transport, interrupts, lost: None }
    }

    /// Where replies are gathered.
    pub fn out(&mut self) -> Encoder<'_> {
        Encoder::new(self.transport.output())
    }

    /// How many bytes of replies are gathered.
    pub fn gathered(&self) -> usize {
        self.transport.gathered()
    }

    /// The next whole message's frame and its length in the receive buffer, beside the place for replies.
    pub fn message(&mut self) -> Result<Option<(Frame<'_>, usize, Encoder<'_>)>, Violation> {
        let (unread, output) = self.transport.parts();
        Ok(match frame::next(unread)? {
            Next::Complete(frame, length) => Some((frame, length, Encoder::new(output))),
            Next::Missing(_) => None,
        })
    }

    /// Whether a whole message of that kind is the next one.
    pub fn next_is(&self, kind: u8) -> bool {
        self.transport.unread().first() == Some(&kind)
            && matches!(frame::next(self.transport.unread()), Ok(Next::Complete(..)))
    }

    /// Drops the first `length` bytes received.
    pub fn consume(&mut self, length: usize) {
        self.transport.consume(length);
        self.transport.release();
    }

    /// Fails (53200) where the message under way is larger than what the session may take of memory. Nothing of it has
    /// been looked at: it is to be discarded.
    pub fn check_size(&mut self) -> Result<(), (u8, Error)> {
        let unread = self.transport.unread().len();
        let Some((kind, length)) = frame::announced(self.transport.unread()) else { return Ok(()) };
        self.transport.expect(length);
        if length <= FLUSH_BYTES {
            return Ok(());
        }
        // The message, and a copy of what it says.
        work::reserve(length.saturating_mul(2).saturating_sub(unread)).map_err(|error| (kind, error))
    }

    /// Reads to the end of the message under way and drops it.
    pub fn discard(&mut self) -> Result<(), End> {
        let Some((_, mut rest)) = frame::announced(self.transport.unread()) else { return Ok(()) };
        loop {
            let have = self.transport.unread().len().min(rest);
            self.transport.consume(have);
            rest -= have;
            if rest == 0 {
                return Ok(());
            }
            self.receive(Waiting::Command)?;
        }
    }

    /// Limits waits for a command. A limit that is on is left on when none is wanted any more: the system call
    /// is saved, and a wait that it ends for nothing takes it off.
    pub fn limit_wait(&mut self, limit: Option<Duration>) -> Result<(), End> {
        match limit {
            Some(_) => self.transport.set_receive_timeout(limit).map_err(End::Io),
            None => Ok(()),
        }
    }

    /// Takes a limit off that ended a wait for nothing.
    pub fn unlimit_wait(&mut self) -> Result<(), End> {
        self.transport.set_receive_timeout(None).map_err(End::Io)
    }

    /// Waits for more bytes.
    pub fn receive(&mut self, waiting: Waiting) -> Result<Waited, End> {
        if waiting == Waiting::CopyData {
            self.transport.set_receive_timeout(Some(COPY_RECHECK)).map_err(End::Io)?;
        }
        let mut cancelled = false;
        let interrupts = &mut *self.interrupts;
        let received = if waiting == Waiting::UrgentCommand && self.transport.receive_soon() {
            Received::Bytes
        } else {
            if waiting == Waiting::CopyData {
                interrupts.waits(Some(Wait::Read));
            }
            let received = self.transport.receive(&mut || {
                cancelled |= interrupts.take_cancel();
                interrupts.terminate_requested() || (cancelled && waiting == Waiting::CopyData)
            });
            if waiting == Waiting::CopyData {
                interrupts.waits(None);
            }
            received.map_err(End::Io)?
        };
        self.check_termination()?;
        cancelled |= self.interrupts.take_cancel();
        match received {
            _ if cancelled && waiting == Waiting::CopyData => Ok(Waited::Cancelled),
            Received::Bytes => Ok(Waited::Bytes),
            Received::TimedOut => Ok(Waited::TimedOut),
            Received::Eof => Err(End::Eof),
            // The flag that interrupted has been withdrawn meanwhile; waiting again is right.
            Received::Interrupted => Ok(Waited::TimedOut),
        }
    }

    /// Sends what is gathered.
    pub fn send(&mut self) -> Result<(), End> {
        let interrupts = &mut *self.interrupts;
        let mut waited = false;
        // Asked when the client's socket is full.
        let sent = self.transport.send(&mut || {
            if !std::mem::replace(&mut waited, true) {
                interrupts.waits(Some(Wait::Write));
            }
            interrupts.terminate_requested()
        });
        if waited {
            interrupts.waits(None);
        }
        match sent {
            Ok(Sent::All) => Ok(()),
            // It does not read, so it cannot be told either.
            Ok(Sent::Interrupted) => Err(End::Terminated),
            Err(error) => Err(End::Io(error)),
        }
    }

    /// Sends what is gathered from inside a statement, which cannot return an [`End`] through its engine.
    pub fn send_within_statement(&mut self) -> Result<(), Error> {
        self.send().map_err(|end| {
            self.lost = Some(end);
            Error::new(Condition::ConnectionFailure, "connection to client lost")
        })
    }

    /// The result of an engine's call: when the connection was lost inside, that counts.
    pub fn unless_lost<T>(&mut self, result: Result<T, Error>) -> Outcome<T> {
        match self.lost.take() {
            Some(end) => Err(end.into()),
            None => Ok(result?),
        }
    }

    /// Ends the session with FATAL if someone asked for it.
    pub fn check_termination(&mut self) -> Result<(), End> {
        if self.interrupts.terminate_requested() {
            self.say_fatal(&termination());
            return Err(End::Terminated);
        }
        Ok(())
    }

    /// Takes a cancel request that arrived since the last look.
    pub fn take_cancel(&mut self) -> bool {
        self.interrupts.take_cancel()
    }

    /// Gathers a FATAL error. [`super::serve`] sends it on the way out.
    pub fn say_fatal(&mut self, error: &Error) {
        self.out().error_response(Severity::Fatal, error);
    }

    /// Sends what is gathered if the client takes it at once: the last words of a session.
    pub fn send_last(&mut self) {
        // The session ends either way; a client that does not listen misses its reason.
        let _ = self.transport.send(&mut || true);
    }

    /// Drops replies that may not be sent.
    pub fn drop_gathered(&mut self) {
        self.transport.output().clear();
    }
}

fn termination() -> Error {
    Error::new(Condition::AdminShutdown, "terminating connection due to administrator command")
}
