//! A client that writes and reads messages itself.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;

use pgprefork::protocol::client::{self, Backend, ClientEncoder, field};
use pgprefork::protocol::{Frame, Next, Version};

use crate::support::PATIENCE;

/// A message: its type and its fields.
pub type Reply = (u8, Vec<u8>);

/// See the module's description.
pub struct Raw {
    port: u16,
    stream: TcpStream,
    received: Vec<u8>,
    /// Of BackendKeyData.
    pub process: u32,
    /// Of BackendKeyData.
    pub key: Vec<u8>,
    /// What was reported last.
    pub parameters: BTreeMap<String, String>,
}

impl Raw {
    /// Connects as postgres to database postgres.
    pub fn connect(port: u16) -> Self {
        Self::try_connect(port, &[]).unwrap_or_else(|error| panic!("connecting to {port}: {error}"))
    }

    /// The same with more of a start-up packet; an error is its SQLSTATE and text.
    pub fn try_connect(port: u16, extra: &[(&str, &str)]) -> Result<Self, String> {
        let mut raw = Self::begin(port, extra);
        loop {
            let Some((kind, body)) = raw.next() else { return Err("the connection was closed".to_owned()) };
            match Backend::decode(Frame { kind, body: &body }).expect("a message") {
                Backend::BackendKeyData(process, key) => (raw.process, raw.key) = (process, key.to_vec()),
                Backend::ErrorResponse(_) => return Err(format!("{} {}", sqlstate(&body), text(&body))),
                Backend::ReadyForQuery(_) => return Ok(raw),
                _ => {}
            }
        }
    }

    /// Sends the start-up packet and reads nothing.
    pub fn begin(port: u16, extra: &[(&str, &str)]) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        stream.set_nodelay(true).expect("no delay");
        let (received, parameters) = (Vec::new(), BTreeMap::new());
        let mut raw = Self { port, stream, received, process: 0, key: Vec::new(), parameters };
        let names = [("user", "postgres"), ("database", "postgres")];
        let mine: Vec<_> = names.iter().filter(|(name, _)| extra.iter().all(|(other, _)| other != name)).collect();
        let all: Vec<_> = mine.into_iter().chain(extra).copied().collect();
        raw.send(|out| out.startup(Version { minor: 0 }, &all));
        raw
    }

    /// Sends messages.
    pub fn send(&mut self, write: impl FnOnce(&mut ClientEncoder<'_>)) {
        let mut bytes = Vec::new();
        write(&mut ClientEncoder::new(&mut bytes));
        self.send_bytes(&bytes);
    }

    /// Sends bytes.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("sending");
    }

    /// The next message; `None` at the end of the connection.
    pub fn next(&mut self) -> Option<Reply> {
        loop {
            if let Next::Complete(frame, length) = client::next(&self.received).expect("a message of the protocol") {
                let reply = (frame.kind, frame.body.to_vec());
                self.received.drain(..length);
                if let Ok(Backend::ParameterStatus(name, value)) =
                    Backend::decode(Frame { kind: reply.0, body: &reply.1 })
                {
                    self.parameters.insert(name.to_owned(), value.to_owned());
                }
                return Some(reply);
            }
            let mut room = [0; 16 * 1024];
            match self.stream.read(&mut room) {
                Ok(0) => return None,
                Ok(count) => self.received.extend_from_slice(&room[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("waited for a message: {error}"),
            }
        }
    }

    /// Everything up to the next message of that type, which is the last.
    pub fn until(&mut self, kind: u8) -> Vec<Reply> {
        let mut replies = Vec::new();
        while replies.last().is_none_or(|(last, _)| *last != kind) {
            let Some(reply) = self.next() else {
                panic!("the end instead of {}: {}", char::from(kind), shown(&replies))
            };
            replies.push(reply);
        }
        replies
    }

    /// What comes until the end of the connection.
    pub fn until_end(&mut self) -> Vec<Reply> {
        std::iter::from_fn(|| self.next()).collect()
    }

    /// A Query, and its replies as [`shown`] puts them.
    pub fn query(&mut self, text: &str) -> String {
        self.send(|out| out.query(text));
        shown(&self.until(b'Z'))
    }

    /// Asks for the running statement to be canceled, and waits until the server has heard.
    pub fn cancel(&self) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("a connection");
        let mut bytes = Vec::new();
        ClientEncoder::new(&mut bytes).cancel_request(self.process, &self.key);
        stream.write_all(&bytes).expect("sending");
        let _ = stream.read(&mut [0]);
    }

    /// Ends the connection without a word.
    pub fn break_off(&mut self) {
        self.stream.shutdown(std::net::Shutdown::Both).expect("an end");
    }

    /// Ends the session as it should be.
    pub fn close(mut self) {
        self.send(|out| out.terminate());
        assert_eq!(self.until_end(), []);
    }
}

/// The SQLSTATE of an ErrorResponse's fields.
pub fn sqlstate(body: &[u8]) -> String {
    error_field(body, b'C')
}

fn text(body: &[u8]) -> String {
    error_field(body, b'M')
}

fn error_field(body: &[u8], code: u8) -> String {
    match Backend::decode(Frame { kind: b'E', body }) {
        Ok(Backend::ErrorResponse(fields)) => field(&fields, code).unwrap_or_default().to_owned(),
        other => panic!("no error: {other:?}"),
    }
}

/// Replies in short: `1 2 D(a,b) C(SELECT 1) E(42P01) Z(I)`.
pub fn shown(replies: &[Reply]) -> String {
    let one = |(kind, body): &Reply| {
        let detail = match Backend::decode(Frame { kind: *kind, body }) {
            Ok(Backend::DataRow(values)) => {
                let value = |value: &Option<&[u8]>| value.map_or("NULL".into(), String::from_utf8_lossy).into_owned();
                values.iter().map(value).collect::<Vec<_>>().join(",")
            }
            Ok(Backend::CommandComplete(tag)) => tag.to_owned(),
            Ok(Backend::ErrorResponse(_)) => sqlstate(body),
            Ok(Backend::NoticeResponse(fields)) => field(&fields, b'M').unwrap_or_default().to_owned(),
            Ok(Backend::ReadyForQuery(status)) => char::from(status).to_string(),
            Ok(Backend::ParameterStatus(name, value)) => format!("{name}={value}"),
            Ok(Backend::CopyData(data)) => String::from_utf8_lossy(data).trim_end().to_owned(),
            Ok(Backend::NotificationResponse(_, channel, payload)) => format!("{channel},{payload}"),
            _ => return char::from(*kind).to_string(),
        };
        format!("{}({detail})", char::from(*kind))
    };
    replies.iter().map(one).collect::<Vec<_>>().join(" ")
}
