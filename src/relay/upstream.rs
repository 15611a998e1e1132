//! One connection to an upstream server: its socket, the bytes on their way in both directions, and what is known of
//! the session at its other end, which travels with it from process to process.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, SockaddrLike, SockaddrStorage, UnixAddr, connect, getsockopt, recv,
    send, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;
use std::os::fd::AsRawFd;

use super::parameters::Parameters;
use super::statements::StatementId;
use crate::config::Address;
use crate::protocol::client::{self, ClientEncoder};
use crate::protocol::{Next, Violation};

/// Room for received bytes.
const RECEIVE_BYTES: usize = 16 * 1024;
/// Buffers larger than this are not kept for the next connection.
const KEPT_BYTES: usize = 64 * 1024;
/// A wait for an upstream server looks at the interrupt flags this often, in case the signal came just before it slept.
const RECHECK: TimeVal = TimeVal::new(1, 0);

/// How often a Unix socket whose queue is full is tried.
const CONNECT_PAUSE: Duration = Duration::from_millis(10);

impl Address {
    /// Connects, within the time. Finding a host's addresses is the system's business and takes as long as it takes.
    pub fn connect(&self, deadline: Instant, interrupted: &mut dyn FnMut() -> bool) -> io::Result<OwnedFd> {
        if self.host.starts_with('/') {
            let path = Path::new(&self.host).join(format!(".s.PGSQL.{}", self.port));
            return connect_to(AddressFamily::Unix, &UnixAddr::new(&path)?, deadline, interrupted);
        }
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in std::net::ToSocketAddrs::to_socket_addrs(&(self.host.as_str(), self.port))? {
            let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
            match connect_to(family, &SockaddrStorage::from(address), deadline, interrupted) {
                Ok(socket) => {
                    setsockopt(&socket, sockopt::TcpNoDelay, &true)?;
                    return Ok(socket);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// Connects to one address; the socket blocks.
fn connect_to(
    family: AddressFamily,
    address: &dyn SockaddrLike,
    deadline: Instant,
    interrupted: &mut dyn FnMut() -> bool,
) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(family, SockType::Stream, flags, None)?;
    let check = |interrupted: &mut dyn FnMut() -> bool| {
        if interrupted() {
            return Err(io::Error::other("the session is to end"));
        }
        if Instant::now() >= deadline { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    };
    loop {
        match connect(fd.as_raw_fd(), address) {
            Ok(()) | Err(Errno::EISCONN) => break,
            // The queue of a Unix socket is full (connect(2)): there is nothing to wait on.
            Err(Errno::EAGAIN) => {
                check(interrupted)?;
                std::thread::sleep(CONNECT_PAUSE);
            }
            Err(Errno::EINPROGRESS | Errno::EALREADY | Errno::EINTR) => {
                check(interrupted)?;
                let left = deadline.saturating_duration_since(Instant::now()).min(Duration::from_secs(1));
                let millis = u16::try_from(left.as_millis()).unwrap_or(1000).max(1);
                match poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLOUT)], PollTimeout::from(millis)) {
                    Ok(_) | Err(Errno::EINTR) => {}
                    Err(errno) => return Err(errno.into()),
                }
                let failure = getsockopt(&fd, sockopt::SocketError)?;
                if failure != 0 {
                    return Err(io::Error::from_raw_os_error(failure));
                }
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    let flags = OFlag::from_bits_truncate(fcntl(&fd, FcntlArg::F_GETFL)?);
    fcntl(&fd, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK))?;
    Ok(fd)
}

/// What is known of the server's session, and goes with the connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// Where it leads, for cancel requests.
    pub address: Address,
    /// The pool that it was made for.
    pub pool: [[u8; 8]; 2],
    /// Of BackendKeyData.
    pub process: u32,
    /// Of BackendKeyData.
    pub key: Vec<u8>,
    /// When it was connected (monotonic clock).
    pub connected_us: u64,
    /// What the server reported of its parameters at the start: what a client gets that wants nothing else.
    pub defaults: Parameters,
    /// What it last reported.
    pub parameters: Parameters,
    /// Prepared statements that it has, the one used last at the end.
    pub statements: Vec<StatementId>,
}

/// See the module's description.
#[derive(Debug)]
pub struct Upstream {
    socket: OwnedFd,
    /// What goes with it.
    pub memory: Memory,
    /// Room for received bytes; those from `start` to `end` are there and not consumed.
    received: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes for the server that it has not taken yet.
    pub output: Vec<u8>,
}

/// Memory that a process uses for one connection after the other. Fresh memory would have to be cleared for each
/// transaction, which costs more than the transaction where many processes take turns at the same caches.
#[derive(Debug, Default)]
pub struct Buffers {
    received: Vec<u8>,
    output: Vec<u8>,
}

impl Upstream {
    /// Takes a connected socket.
    pub fn new(socket: OwnedFd, memory: Memory) -> io::Result<Self> {
        setsockopt(&socket, sockopt::ReceiveTimeout, &RECHECK)?;
        Ok(Self::resume(socket, memory, Buffers::default()))
    }

    /// Takes a socket that was an [`Upstream`]'s before.
    pub fn resume(socket: OwnedFd, memory: Memory, buffers: Buffers) -> Self {
        let Buffers { received, output } = buffers;
        Self { socket, memory, received, start: 0, end: 0, output }
    }

    /// Closes it here, and keeps its buffers for the next one; what they held is gone. Large ones are not kept.
    pub fn close(self) -> Buffers {
        let (received, mut output) = (self.received, self.output);
        output.clear();
        Buffers {
            received: if received.len() > KEPT_BYTES { Vec::new() } else { received },
            output: if output.capacity() > KEPT_BYTES { Vec::new() } else { output },
        }
    }

    /// Bytes received and not consumed.
    pub fn unread(&self) -> &[u8] {
        self.received.get(self.start..self.end).unwrap_or_default()
    }

    /// Takes the next whole message: its type and its fields.
    pub fn take_message(&mut self) -> Result<Option<(u8, Vec<u8>)>, Violation> {
        let (kind, body, length) = match client::next(self.unread())? {
            Next::Missing(_) => return Ok(None),
            Next::Complete(frame, length) => (frame.kind, frame.body.to_vec(), length),
        };
        self.consume(length);
        Ok(Some((kind, body)))
    }

    /// Marks the first `count` unread bytes as dealt with.
    pub fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Waits for bytes of the server: how many came; 0 at its end. `WouldBlock` after a second without any, and
    /// `Interrupted` after a signal.
    pub fn receive(&mut self) -> io::Result<usize> {
        if self.start > 0 {
            self.received.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.received.len() < self.end + RECEIVE_BYTES {
            self.received.resize(self.end + RECEIVE_BYTES, 0);
        }
        let room = self.received.get_mut(self.end..).unwrap_or_default();
        let count = recv(self.socket.as_raw_fd(), room, MsgFlags::empty())?;
        self.end += count;
        Ok(count)
    }

    /// Sends what the server takes now; false if some is left.
    pub fn send_some(&mut self) -> io::Result<bool> {
        let mut done = 0;
        while let Some(rest) = self.output.get(done..).filter(|rest| !rest.is_empty()) {
            match send(self.socket.as_raw_fd(), rest, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT) {
                Ok(count) => done += count,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                Err(errno) => return Err(errno.into()),
            }
        }
        self.output.drain(..done);
        Ok(self.output.is_empty())
    }

    /// Whether no byte is on its way in either direction, as far as is known here.
    pub fn is_quiet(&self) -> bool {
        self.unread().is_empty() && self.output.is_empty()
    }

    /// Whether the server has closed it, or sent something that nobody asked for.
    pub fn is_disturbed(&self) -> bool {
        let mut byte = [0];
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        !matches!(recv(self.socket.as_raw_fd(), &mut byte, flags), Err(Errno::EAGAIN))
    }

    /// Asks the server to cancel what it does for this connection, and waits until it has heard (it closes the request's
    /// connection then), at most until the deadline.
    pub fn cancel(&self, deadline: Instant) -> io::Result<()> {
        let mut request = Vec::new();
        ClientEncoder::new(&mut request).cancel_request(self.memory.process, &self.memory.key);
        let socket = self.memory.address.connect(deadline, &mut || false)?;
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let micros = i64::try_from(left.as_micros()).unwrap_or(i64::MAX);
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(micros / 1_000_000, micros % 1_000_000))?;
        send(socket.as_raw_fd(), &request, MsgFlags::MSG_NOSIGNAL)?;
        let mut file = std::fs::File::from(socket);
        loop {
            match file.read(&mut [0; 64]) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for Upstream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Memory {
    /// As bytes, for the way.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024 + self.statements.len() * size_of::<StatementId>());
        out.extend_from_slice(self.pool.as_flattened());
        out.extend_from_slice(&self.process.to_ne_bytes());
        out.extend_from_slice(&self.connected_us.to_ne_bytes());
        put(&mut out, &self.key);
        put(&mut out, self.address.host.as_bytes());
        out.extend_from_slice(&self.address.port.to_ne_bytes());
        for parameters in [&self.defaults, &self.parameters] {
            put(&mut out, parameters.as_text().as_bytes());
        }
        self.statements.iter().for_each(|statement| out.extend_from_slice(&statement.0));
        out
    }

    /// From the bytes of [`Self::encode`].
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let pool = [take(&mut rest)?, take(&mut rest)?];
        let process = u32::from_ne_bytes(take(&mut rest)?);
        let connected_us = u64::from_ne_bytes(take(&mut rest)?);
        let key = text(&mut rest)?.to_vec();
        let host = std::str::from_utf8(text(&mut rest)?).ok()?.to_owned();
        let address = Address { host, port: u16::from_ne_bytes(take(&mut rest)?) };
        let (mut defaults, mut parameters) = (Parameters::default(), Parameters::default());
        for parameters in [&mut defaults, &mut parameters] {
            *parameters = Parameters::from_text(std::str::from_utf8(text(&mut rest)?).ok()?);
        }
        let (statements, left) = rest.as_chunks();
        left.is_empty().then(|| Self {
            address,
            pool,
            process,
            key,
            connected_us,
            defaults,
            parameters,
            statements: statements.iter().copied().map(StatementId).collect(),
        })
    }
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_ne_bytes());
    out.extend_from_slice(bytes);
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, others) = rest.split_first_chunk()?;
    *rest = others;
    Some(*first)
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u32::from_ne_bytes(take(rest)?) as usize;
    let (first, others) = rest.split_at_checked(length)?;
    *rest = others;
    Some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_survives_the_way() {
        let mut memory =
            Memory { pool: [[5; 8]; 2], process: 7, key: vec![1; 32], connected_us: 9, ..Memory::default() };
        memory.address = Address { host: "a".to_owned(), port: 5433 };
        memory.parameters.set("TimeZone", "Europe/Berlin");
        memory.parameters.set("DateStyle", "ISO, MDY");
        memory.statements = vec![StatementId([3; 16]), StatementId([4; 16])];
        assert_eq!(Memory::decode(&memory.encode()), Some(memory.clone()));
        assert_eq!(Memory::decode(&memory.encode()[..20]), None);
    }
}
