//! A connection on which a test says whatever bytes it likes.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use pgprefork::protocol::client::{self, Backend, ClientEncoder};
use pgprefork::protocol::{Next, Version};

use crate::support::PATIENCE;

pub struct Wire {
    stream: TcpStream,
    received: Vec<u8>,
    /// The server's process, once there is a session.
    pub pid: u32,
}

/// What a server said that matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// ErrorResponse: its severity and SQLSTATE.
    Error(String, String),
    /// A row's first column.
    Row(String),
    /// ReadyForQuery.
    Ready,
    /// It waits for the client's part in authentication.
    Asked,
    /// The connection is closed.
    Closed,
}

impl Wire {
    pub fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("a listening server");
        stream.set_read_timeout(Some(PATIENCE)).expect("sets");
        stream.set_write_timeout(Some(PATIENCE)).expect("sets");
        Self { stream, received: Vec::new(), pid: 0 }
    }

    /// Connects and asks for a session of that user.
    pub fn start(port: u16, user: &str) -> Self {
        let mut wire = Self::connect(port);
        wire.send(&message(|client| {
            client.startup(Version { minor: 0 }, &[("user", user), ("database", "postgres")]);
        }));
        wire
    }

    /// A session.
    pub fn session(port: u16) -> Self {
        let mut wire = Self::start(port, "postgres");
        assert_eq!(wire.until(|told| *told == Told::Ready), [Told::Ready]);
        wire
    }

    /// Sends bytes. A server that has closed the connection shows in what it says.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Says that nothing more will come.
    pub fn finish(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Whether the server has read all that was sent: nothing is left in its socket (proc(5), /proc/net/tcp).
    pub fn is_read(&self) -> bool {
        let [ours, theirs] = [self.stream.local_addr(), self.stream.peer_addr()].map(|address| {
            let port = address.expect("an address").port();
            format!(":{port:04X}")
        });
        let sockets = std::fs::read_to_string("/proc/net/tcp").expect("the sockets");
        sockets.lines().any(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [_, local, remote, _, queues, ..] = fields[..] else { return false };
            local.ends_with(&theirs) && remote.ends_with(&ours) && queues.ends_with(":00000000")
        })
    }

    /// Reads until something that is looked for was said, or the connection is closed. It must not take long.
    pub fn until(&mut self, is_end: impl Fn(&Told) -> bool) -> Vec<Told> {
        let mut all = Vec::new();
        loop {
            let told = self.next();
            let ended = told == Told::Closed || is_end(&told);
            all.push(told);
            if ended {
                return all;
            }
        }
    }

    fn next(&mut self) -> Told {
        loop {
            while let Next::Complete(frame, length) = client::next(&self.received).expect("a server's message") {
                let mut pid = self.pid;
                let told = match Backend::decode(frame).expect("a server's message") {
                    Backend::ErrorResponse(fields) => {
                        let field = |code| client::field(&fields, code).unwrap_or_default().to_owned();
                        Some(Told::Error(field(b'V'), field(b'C')))
                    }
                    Backend::DataRow(values) => {
                        let first = values.first().copied().flatten().unwrap_or_default();
                        Some(Told::Row(String::from_utf8_lossy(first).into_owned()))
                    }
                    Backend::ReadyForQuery(_) => Some(Told::Ready),
                    Backend::AuthenticationCleartextPassword | Backend::AuthenticationSasl(_) => Some(Told::Asked),
                    Backend::BackendKeyData(process, _) => {
                        pid = process;
                        None
                    }
                    _ => None,
                };
                self.pid = pid;
                self.received.drain(..length);
                if let Some(told) = told {
                    return told;
                }
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Told::Closed,
                Ok(count) => self.received.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Told::Closed,
                Err(error) => panic!("the server neither answers nor closes the connection: {error}"),
            }
        }
    }
}

/// The bytes of a client's messages.
pub fn message(write: impl FnOnce(&mut ClientEncoder<'_>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut ClientEncoder::new(&mut bytes));
    bytes
}
