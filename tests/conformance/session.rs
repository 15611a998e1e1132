//! One session of a server, by simple Query messages; what it answers, with the types of the columns.

use std::fmt;
use std::io::{Read, Write};
use std::net::TcpStream;

use pgprefork::protocol::client::{self, Backend, ClientEncoder, field};
use pgprefork::protocol::{Next, Version};

use crate::support::PATIENCE;

/// A connection that is ready for a query.
pub struct Session {
    stream: TcpStream,
    received: Vec<u8>,
}

/// What one Query message was answered with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Results in order.
    pub results: Vec<Table>,
    /// SQLSTATE and message of the error that ended it.
    pub error: Option<(String, String)>,
    /// The server closed the connection.
    pub is_gone: bool,
}

/// One result.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// Names and type OIDs.
    pub columns: Vec<(String, u32)>,
    /// Values in text format.
    pub rows: Vec<Vec<Option<String>>>,
    /// The command tag.
    pub tag: String,
}

impl Session {
    /// Connects as `postgres` to database `postgres`; `options` are settings, as in libpq's `options`.
    pub fn connect(port: u16, options: &str) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        stream.set_nodelay(true).expect("nodelay");
        let mut packet = Vec::new();
        let parameters = [("user", "postgres"), ("database", "postgres"), ("options", options)];
        ClientEncoder::new(&mut packet).startup(Version { minor: 0 }, &parameters);
        stream.write_all(&packet).expect("a start-up packet");
        let mut session = Self { stream, received: Vec::new() };
        let answer = session.read_answer();
        assert!(answer.error.is_none() && !answer.is_gone, "no session: {answer:?}");
        session
    }

    /// Sends one text and reads its answer to the end.
    pub fn run(&mut self, sql: &str) -> Answer {
        let mut message = Vec::new();
        ClientEncoder::new(&mut message).query(sql);
        if self.stream.write_all(&message).is_err() {
            return Answer { is_gone: true, ..Answer::default() };
        }
        self.read_answer()
    }

    fn read_answer(&mut self) -> Answer {
        let mut answer = Answer::default();
        let mut table = Table::default();
        loop {
            let (message, length) = match client::next(&self.received).expect("a message of the protocol") {
                Next::Complete(frame, length) => (Backend::decode(frame).expect("a message of the protocol"), length),
                Next::Missing(_) => {
                    if !receive(&mut self.stream, &mut self.received) {
                        answer.is_gone = true;
                        return answer;
                    }
                    continue;
                }
            };
            match message {
                Backend::RowDescription(columns) => {
                    table.columns = columns.into_iter().map(|(name, oid, _)| (name.to_owned(), oid)).collect();
                }
                Backend::DataRow(values) => table.rows.push(
                    values.into_iter().map(|value| value.map(|value| String::from_utf8_lossy(value).into())).collect(),
                ),
                Backend::CommandComplete(tag) => {
                    table.tag = tag.to_owned();
                    answer.results.push(std::mem::take(&mut table));
                }
                Backend::ErrorResponse(fields) => {
                    let text = |code| field(&fields, code).unwrap_or_default().to_owned();
                    answer.error = Some((text(b'C'), text(b'M')));
                }
                Backend::ReadyForQuery(_) => {
                    self.received.drain(..length);
                    return answer;
                }
                _ => {}
            }
            self.received.drain(..length);
        }
    }
}

/// More bytes, or false at the connection's end.
fn receive(stream: &mut TcpStream, received: &mut Vec<u8>) -> bool {
    let mut room = [0; 16 * 1024];
    match stream.read(&mut room) {
        Ok(0) | Err(_) => false,
        Ok(count) => {
            received.extend_from_slice(room.get(..count).unwrap_or_default());
            true
        }
    }
}

impl Answer {
    /// The same with the rows of each result in the order of their text: for statements without ORDER BY.
    pub fn sorted(mut self) -> Self {
        self.results.iter_mut().for_each(|table| table.rows.sort());
        self
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for table in &self.results {
            let columns: Vec<_> = table.columns.iter().map(|(name, oid)| format!("{name}:{oid}")).collect();
            write!(f, "[{}] ", columns.join(" "))?;
            for row in table.rows.iter().take(12) {
                let values: Vec<_> = row.iter().map(|value| value.as_deref().unwrap_or("NULL")).collect();
                write!(f, "({}) ", values.join(", "))?;
            }
            if table.rows.len() > 12 {
                write!(f, "… {} rows ", table.rows.len())?;
            }
            write!(f, "{}; ", table.tag)?;
        }
        if let Some((code, message)) = &self.error {
            write!(f, "{code} {message}")?;
        }
        if self.is_gone { f.write_str("the connection is closed") } else { Ok(()) }
    }
}
