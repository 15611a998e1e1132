//! One client's session, from the first ReadyForQuery to its end: message cycles, portals, prepared statements,
//! settings, COPY.
//!
//! Generic over the engine and ignorant of which one it is. Waits for the client in one place, sends after the
//! engine has settled, and chooses what a client is told; it reads no clock per statement unless a time-out is
//! set or durations are logged, and makes no system call besides one receive and one send per exchange.
//!
//! Protocol: PostgreSQL documentation, "Frontend/Backend Protocol", "Message Flow".

mod client;
mod command;
mod copy;
mod core;
mod cursor;
mod duration;
mod environment;
mod extended;
mod interrupts;
mod portal;
mod rows;
mod run;
mod simple;
mod statement;

pub use client::End;
pub use interrupts::{Activity, Interrupts, State, Undisturbed, Wait};

use std::convert::Infallible;
use std::time::Duration;

use self::client::{Client, Outcome, Stop, Waited, Waiting};
use self::core::Core;
use self::duration::Durations;
use crate::engine::{Engine, TransactionStatus};
use crate::error::{Condition, Error};
use crate::protocol::{Message, Severity, Violation};
use crate::settings::Shared;
use crate::worker::transport::Transport;

/// Serves a client that has been authenticated, until its session ends. Begins with ParameterStatus for what the
/// settings still have to report and ReadyForQuery; what the transport has gathered before goes out with them.
/// The engine's transaction and other state are left as they were: the caller resets it.
/// `log_from`: statements that take this long get a line in the log; None for none.
pub fn serve<E: Engine>(
    transport: &mut Transport,
    engine: &mut E,
    settings: Shared,
    interrupts: &mut dyn Interrupts,
    activity: &mut dyn Activity,
    log_from: Option<Duration>,
) -> End {
    let mut session = Session {
        client: Client::new(transport, interrupts),
        core: Core::new(engine, settings, activity, Durations::new(log_from)),
        skipping: false,
        send_due: false,
        commanding: false,
        text: String::new(),
    };
    let Err(end) = session.run();
    session.last_words(&end);
    end
}

struct Session<'a, E: Engine> {
    client: Client<'a>,
    core: Core<'a, E>,
    /// After an error of the extended protocol: everything up to Sync is skipped.
    skipping: bool,
    /// The client waits for what is gathered.
    send_due: bool,
    /// ReadyForQuery was the last that happened: waiting now is being idle.
    commanding: bool,
    /// A copy of the text or name that is worked on, so that the receive buffer is free meanwhile.
    text: String,
}

/// A message whose work needs the client's connection, without its borrowed parts.
enum Work {
    /// Done.
    Nothing,
    /// ReadyForQuery is due.
    Ready,
    Query,
    Execute {
        max_rows: i32,
    },
    Sync,
    Terminate,
}

impl<E: Engine> Session<'_, E> {
    fn run(&mut self) -> Result<Infallible, End> {
        self.ready();
        loop {
            self.wait_for_message()?;
            self.client.check_termination()?;
            match self.message() {
                Ok(()) => {}
                Err(Stop::Error(error)) => self.report(&error)?,
                Err(Stop::End(end)) => return Err(end),
            }
        }
    }

    /// Sends what is still gathered, as far as it may be sent.
    fn last_words(&mut self, end: &End) {
        if matches!(end, End::Io(_)) {
            return;
        }
        let sending = self.core.durations.sending();
        // After a failure nothing but the failure itself is gathered.
        let failed = matches!(end, End::Failed(_));
        let settled = !failed && (self.client.gathered() == 0 || self.core.engine.settle().is_ok());
        if !failed && !settled {
            self.client.drop_gathered();
        }
        self.client.send_last();
        if settled {
            self.core.durations.sent(sending);
        }
    }

    /// Waits until a whole message is there, sending what is due first.
    fn wait_for_message(&mut self) -> Result<(), End> {
        let mut limit = None;
        loop {
            match self.client.message() {
                Ok(Some(_)) => break,
                Ok(None) => {}
                Err(violation) => return Err(self.violation(violation)),
            }
            if let Err((kind, error)) = self.client.check_size() {
                self.client.discard()?;
                self.refuse(kind, &error)?;
                continue;
            }
            if self.send_due || self.client.gathered() >= client::FLUSH_BYTES {
                self.send_due = false;
                self.core.send(&mut self.client)?;
            }
            if self.commanding {
                limit = self.idle_limit();
                self.client.limit_wait(limit.map(|(limit, _)| limit))?;
            }
            let waiting = if self.core.engine.holds_writer_lock() { Waiting::UrgentCommand } else { Waiting::Command };
            match (self.client.receive(waiting)?, limit) {
                (Waited::TimedOut, Some((_, condition))) => return Err(self.idle_timeout(condition)),
                (Waited::TimedOut, None) => self.client.unlimit_wait()?,
                _ => {}
            }
        }
        self.commanding = false;
        if self.client.gathered() >= client::FLUSH_BYTES || self.core.durations.is_full() {
            self.core.send(&mut self.client)?;
        }
        Ok(())
    }

    /// How long the client may now stay idle, and what ends the session then.
    fn idle_limit(&self) -> Option<(Duration, Condition)> {
        let environment = &self.core.environment;
        let (limit, condition) = match self.core.status() {
            TransactionStatus::Idle => (environment.idle_timeout, Condition::IdleSessionTimeout),
            _ => (environment.idle_in_transaction_timeout, Condition::IdleInTransactionSessionTimeout),
        };
        let engine_limit = self.core.engine.idle_limit();
        match (limit, engine_limit) {
            (Some(limit), Some(engine_limit)) if engine_limit < limit => {
                Some((engine_limit, Condition::IdleInTransactionSessionTimeout))
            }
            (Some(limit), _) => Some((limit, condition)),
            (None, engine_limit) => engine_limit.map(|limit| (limit, Condition::IdleInTransactionSessionTimeout)),
        }
    }

    fn idle_timeout(&mut self, condition: Condition) -> End {
        let message = match condition {
            Condition::IdleSessionTimeout => "terminating connection due to idle-session timeout",
            _ => "terminating connection due to idle-in-transaction timeout",
        };
        self.client.say_fatal(&Error::new(condition, message));
        End::Timeout(condition)
    }

    fn violation(&mut self, violation: Violation) -> End {
        let error = Error::from(violation);
        self.client.say_fatal(&error);
        End::ProtocolViolation(error)
    }

    /// Carries out the message that is at the head of the receive buffer.
    fn message(&mut self) -> Outcome<()> {
        let work = match self.decode() {
            Ok(work) => work,
            Err(Stop::Error(error)) => return Err(error.into()),
            Err(end) => return Err(end),
        };
        match work {
            Work::Nothing => {}
            Work::Ready => self.ready(),
            Work::Query => {
                let text = std::mem::take(&mut self.text);
                let ran = self.core.simple_query(&mut self.client, &text);
                self.keep_text(text);
                match ran {
                    Ok(()) => {}
                    Err(Stop::Error(error)) => self.report(&error)?,
                    Err(end) => return Err(end),
                }
                self.ready();
            }
            Work::Execute { max_rows } => {
                let last = self.client.next_is(b'S');
                let name = std::mem::take(&mut self.text);
                let ran = self.core.execute(&mut self.client, &name, max_rows, last);
                self.keep_text(name);
                ran.inspect_err(|_| self.skipping = true)?;
            }
            Work::Sync => {
                self.skipping = false;
                if let Err(error) = self.core.end_series() {
                    self.report(&error)?;
                }
                self.ready();
            }
            Work::Terminate => return Err(End::Terminate.into()),
        }
        Ok(())
    }

    /// Decodes a message, and carries it out as far as that needs no connection.
    fn decode(&mut self) -> Outcome<Work> {
        let Some((frame, length, mut out)) = self.client.message()? else { return Ok(Work::Nothing) };
        let kind = frame.kind;
        if self.skipping && !matches!(kind, b'S' | b'X') {
            self.client.consume(length);
            return Ok(Work::Nothing);
        }
        let core = &mut self.core;
        let out = &mut out;
        let work: Result<Work, Error> = match Message::decode(frame) {
            Err(violation) => Err(violation.into()),
            Ok(Message::Query(text)) => {
                self.text.clear();
                self.text.push_str(text);
                Ok(Work::Query)
            }
            Ok(Message::Parse(parse)) => core.parse(&parse, out).map(|()| Work::Nothing),
            Ok(Message::Bind(bind)) => core.bind(&bind, out).map(|()| Work::Nothing),
            Ok(Message::Describe(target)) => core.describe(target, out).map(|()| Work::Nothing),
            Ok(Message::Close(target)) => {
                core.close(target, out);
                Ok(Work::Nothing)
            }
            Ok(Message::Execute { portal, max_rows }) => {
                self.text.clear();
                self.text.push_str(portal);
                Ok(Work::Execute { max_rows })
            }
            Ok(Message::Flush) => {
                self.send_due = true;
                Ok(Work::Nothing)
            }
            Ok(Message::Sync) => Ok(Work::Sync),
            Ok(Message::Terminate) => Ok(Work::Terminate),
            // What is left of a COPY that has failed.
            Ok(Message::CopyData(_) | Message::CopyDone | Message::CopyFail(_)) => Ok(Work::Nothing),
            Ok(Message::FunctionCall) => Err(Error::unsupported("the function call message")),
        };
        self.client.consume(length);
        match (work, kind) {
            (Ok(work), _) => Ok(work),
            (Err(error), b'Q' | b'F') => {
                self.report(&error)?;
                Ok(Work::Ready)
            }
            (Err(error), _) => {
                self.skipping = true;
                Err(error.into())
            }
        }
    }

    /// A message was refused before it was read.
    fn refuse(&mut self, kind: u8, error: &Error) -> Result<(), End> {
        if kind == b'd' || self.skipping {
            return Ok(());
        }
        self.report(error)?;
        if matches!(kind, b'Q' | b'F') {
            self.ready();
        } else {
            self.skipping = true;
        }
        Ok(())
    }

    /// Tells the client of an error that the session survives. One that says that the session is to end is told
    /// once, as FATAL.
    fn report(&mut self, error: &Error) -> Result<(), End> {
        if error.condition() == Condition::AdminShutdown {
            self.client.check_termination()?;
        }
        self.core.fail();
        self.client.out().error_response(Severity::Error, error);
        self.send_due = true;
        Ok(())
    }

    fn ready(&mut self) {
        self.core.ready(&mut self.client);
        self.send_due = true;
        self.commanding = true;
    }

    /// Keeps the allocation of a text for the next one, unless it is large.
    fn keep_text(&mut self, text: String) {
        if text.capacity() <= client::FLUSH_BYTES {
            self.text = text;
        }
    }
}

#[cfg(test)]
mod tests;
