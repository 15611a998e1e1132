//! A session in a thread of its own, driven with raw bytes over a socket pair.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::engine::Engine;
use crate::protocol::Next;
use crate::protocol::client::{Backend, ClientEncoder, field, next};
use crate::session::{End, Interrupts, Undisturbed, serve};
use crate::settings::{Settings, Shared};
use crate::worker::transport::Transport;

/// The client's end of a session under test.
pub struct Conversation {
    stream: UnixStream,
    received: Vec<u8>,
    session: JoinHandle<End>,
}

impl Conversation {
    /// Starts a session over the engine that `engine` makes, and reads its first ReadyForQuery.
    pub fn start<E: Engine>(engine: impl FnOnce() -> E + Send + 'static) -> Self {
        Self::start_with(engine, Undisturbed, |_| ())
    }

    /// The same with interrupts and settings.
    pub fn start_with<E: Engine>(
        engine: impl FnOnce() -> E + Send + 'static,
        mut interrupts: impl Interrupts + Send + 'static,
        configure: impl FnOnce(&mut Settings) + Send + 'static,
    ) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let session = std::thread::spawn(move || {
            let mut settings = Settings::new();
            settings.take_reports();
            configure(&mut settings);
            let settings: Shared = Arc::new(parking_lot::Mutex::new(settings));
            let mut transport = Transport::new(theirs.into());
            serve(&mut transport, &mut engine(), settings, &mut interrupts, &mut Undisturbed, None)
        });
        let mut conversation = Self { stream: ours, received: Vec::new(), session };
        assert_eq!(conversation.until_ready(), ["Z I"]);
        conversation
    }

    /// Sends messages.
    pub fn send(&mut self, write: impl FnOnce(&mut ClientEncoder<'_>)) {
        let mut bytes = Vec::new();
        write(&mut ClientEncoder::new(&mut bytes));
        self.send_bytes(&bytes);
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends a simple query and returns what answers it.
    pub fn query(&mut self, text: &str) -> Vec<String> {
        self.send(|client| client.query(text));
        self.until_ready()
    }

    /// Sends messages, Sync behind them, and returns what answers.
    pub fn series(&mut self, write: impl FnOnce(&mut ClientEncoder<'_>)) -> Vec<String> {
        self.send(|client| {
            write(client);
            client.sync();
        });
        self.until_ready()
    }

    /// Messages up to and including ReadyForQuery, or the end of the connection.
    pub fn until_ready(&mut self) -> Vec<String> {
        self.until(|message| message.starts_with("Z "))
    }

    /// Messages up to and including the one that `last` names.
    pub fn until(&mut self, last: impl Fn(&str) -> bool) -> Vec<String> {
        let mut messages = Vec::new();
        while let Some(message) = self.next() {
            messages.push(message);
            if messages.last().is_some_and(|message| last(message)) {
                break;
            }
        }
        messages
    }

    fn next(&mut self) -> Option<String> {
        loop {
            if let Next::Complete(frame, length) = next(&self.received).unwrap() {
                let shown = show(&Backend::decode(frame).unwrap());
                self.received.drain(..length);
                return Some(shown);
            }
            let mut chunk = [0; 65536];
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(count) => self.received.extend_from_slice(&chunk[..count]),
                Err(error) => panic!("nothing more came: {error}"),
            }
        }
    }

    /// How many reads it takes to get exactly what is there now; for tests of "one send".
    pub fn read_once(&mut self) -> usize {
        let mut chunk = [0; 65536];
        let count = self.stream.read(&mut chunk).unwrap();
        self.received.extend_from_slice(&chunk[..count]);
        count
    }

    /// Says goodbye, and returns why the session thinks it ended.
    pub fn finish(mut self) -> End {
        self.send(|client| client.terminate());
        self.end()
    }

    /// Waits for the session to end by itself.
    pub fn end(self) -> End {
        let Self { stream, session, .. } = self;
        let end = session.join().unwrap();
        drop(stream);
        end
    }

    /// Closes the connection without a word.
    pub fn hang_up(self) -> End {
        let Self { stream, session, .. } = self;
        drop(stream);
        session.join().unwrap()
    }
}

/// A message in one line: its letter and what tests look at.
fn show(message: &Backend<'_>) -> String {
    match message {
        Backend::ReadyForQuery(status) => format!("Z {}", char::from(*status)),
        Backend::RowDescription(fields) => {
            let columns: Vec<String> = fields
                .iter()
                .map(|(name, oid, format)| format!("{name}:{oid}{}", if format.code() == 1 { "b" } else { "" }))
                .collect();
            format!("T {}", columns.join(","))
        }
        Backend::ParameterDescription(types) => format!("t {types:?}"),
        Backend::DataRow(values) => {
            let values: Vec<String> = values
                .iter()
                .map(|value| value.map_or("NULL".to_owned(), |bytes| String::from_utf8_lossy(bytes).into_owned()))
                .collect();
            format!("D {}", values.join("|"))
        }
        Backend::CommandComplete(tag) => format!("C {tag}"),
        Backend::ErrorResponse(fields) => format!("E {}", show_fields(fields)),
        Backend::NoticeResponse(fields) => format!("N {}", show_fields(fields)),
        Backend::ParameterStatus(name, value) => format!("S {name}={value}"),
        Backend::CopyInResponse(format, columns) => format!("G {} {columns}", format.code()),
        Backend::CopyOutResponse(format, columns) => format!("H {} {columns}", format.code()),
        Backend::CopyData(data) => format!("d {}", String::from_utf8_lossy(data).escape_debug()),
        Backend::CopyDone => "c".to_owned(),
        Backend::EmptyQueryResponse => "I".to_owned(),
        Backend::ParseComplete => "1".to_owned(),
        Backend::BindComplete => "2".to_owned(),
        Backend::CloseComplete => "3".to_owned(),
        Backend::NoData => "n".to_owned(),
        Backend::PortalSuspended => "s".to_owned(),
        other => format!("{other:?}"),
    }
}

fn show_fields(fields: &[(u8, &str)]) -> String {
    let get = |code| field(fields, code).unwrap_or("");
    let mut shown = format!("{} {} {}", get(b'S'), get(b'C'), get(b'M'));
    for (code, name) in [(b'P', "at"), (b'W', "context"), (b'H', "hint")] {
        if let Some(value) = field(fields, code) {
            shown += &format!(" [{name} {value}]");
        }
    }
    shown
}
