//! The bytes of one client connection: a blocking socket, one receive buffer and one send buffer.
//!
//! Knows nothing of messages. It allocates as bytes arrive, never by a length that a client announced, and
//! gives memory back after large messages. Nothing is sent until [`Transport::send`] is called: the session
//! decides when, after everything that the bytes rest on is durable.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv, send, setsockopt, sockopt};
use nix::sys::time::TimeVal;

/// Room for received bytes at the start, and what it returns to after a large message.
const RECEIVE_BYTES_MIN: usize = 8 * 1024;
/// The receive buffer grows up to here when the kernel had more than fitted, so that bulk loads take few calls.
const RECEIVE_BYTES_EAGER: usize = 64 * 1024;
/// A send buffer larger than this is given back once it is empty.
const SEND_BYTES_KEPT: usize = 256 * 1024;
/// A blocked send looks at the interrupt flags this often, in case the signal came just before it slept.
const SEND_RECHECK_MS: u16 = 1000;
/// How long [`Transport::receive_soon`] looks: a few times what being woken takes.
const POLL_TIME: Duration = Duration::from_micros(50);
/// How often in a row it does not look, after it did so in vain several times.
const POLLS_SKIPPED_MAX: u8 = 63;

/// What carries the bytes. TLS becomes a second variant.
#[derive(Debug)]
enum Channel {
    Plain(OwnedFd),
}

/// How a wait for the client ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// There are more bytes in [`Transport::unread`].
    Bytes,
    /// The client has closed its side, or the terminate handler has shut it for reading.
    Eof,
    /// The time-out of [`Transport::set_receive_timeout`] has passed without a byte.
    TimedOut,
    /// A signal arrived and the caller's check asked to stop.
    Interrupted,
}

/// How an attempt to send ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// The kernel has everything.
    All,
    /// The client does not read, and the caller's check asked to stop. What was not sent is dropped.
    Interrupted,
}

/// One client's connection.
#[derive(Debug)]
pub struct Transport {
    channel: Channel,
    /// Always initialised to its full length; `start..end` is received and not yet consumed.
    received: Vec<u8>,
    /// Bytes that the message under way announces.
    expected: usize,
    start: usize,
    end: usize,
    /// The last receive filled all the room that there was.
    crowded: bool,
    output: Vec<u8>,
    receive_timeout: Option<Duration>,
    polls_to_skip: u8,
    polls_skipped: u8,
}

impl Transport {
    /// Takes a connected, blocking stream socket (TCP or Unix).
    pub fn new(socket: OwnedFd) -> Self {
        Self {
            channel: Channel::Plain(socket),
            received: vec![0; RECEIVE_BYTES_MIN],
            expected: 0,
            start: 0,
            end: 0,
            crowded: false,
            output: Vec::with_capacity(RECEIVE_BYTES_MIN),
            receive_timeout: None,
            polls_to_skip: 0,
            polls_skipped: 0,
        }
    }

    /// Bytes received and not consumed.
    pub fn unread(&self) -> &[u8] {
        self.received.get(self.start..self.end).unwrap_or_default()
    }

    /// Marks the first `count` unread bytes as dealt with.
    pub fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.end - self.start);
        self.start = (self.start + count).min(self.end);
    }

    /// The message under way will take up so many bytes.
    pub fn expect(&mut self, bytes: usize) {
        self.expected = bytes;
    }

    /// Gives back what a large message has left of the receive buffer, if nothing is unread.
    pub fn release(&mut self) {
        if self.start == self.end && self.received.len() > RECEIVE_BYTES_EAGER {
            (self.start, self.end) = (0, 0);
            self.received.truncate(RECEIVE_BYTES_EAGER);
            self.received.shrink_to_fit();
        }
    }

    /// Where replies are gathered.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// How many bytes of replies are gathered.
    pub fn gathered(&self) -> usize {
        self.output.len()
    }

    /// The unread bytes beside the place for replies, for a reply that quotes what it answers.
    pub fn parts(&mut self) -> (&[u8], &mut Vec<u8>) {
        (self.received.get(self.start..self.end).unwrap_or_default(), &mut self.output)
    }

    /// Waits for more bytes: one `recv`, more only after signals. `interrupted` is asked after each signal and
    /// says whether to give up waiting.
    pub fn receive(&mut self, interrupted: &mut dyn FnMut() -> bool) -> io::Result<Received> {
        self.make_room();
        let Channel::Plain(socket) = &self.channel;
        loop {
            let room = self.received.get_mut(self.end..).unwrap_or_default();
            match recv_into(socket, room) {
                Ok(0) => return Ok(Received::Eof),
                Ok(count) => {
                    self.crowded = count == room.len();
                    self.end += count;
                    return Ok(Received::Bytes);
                }
                Err(Errno::EINTR) if interrupted() => return Ok(Received::Interrupted),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(Received::TimedOut),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Looks for bytes for a moment without sleeping. Returns whether some have come; whatever else there is to say,
    /// [`Transport::receive`] will. To be put to sleep and woken can take longer than the client takes to go on; when
    /// it does not (a busy machine, a slow client), this soon gives up trying.
    pub fn receive_soon(&mut self) -> bool {
        if self.polls_skipped < self.polls_to_skip {
            self.polls_skipped += 1;
            return false;
        }
        self.polls_skipped = 0;
        let polled = self.poll();
        self.polls_to_skip = if polled { 0 } else { (2 * self.polls_to_skip + 1).min(POLLS_SKIPPED_MAX) };
        polled
    }

    fn poll(&mut self) -> bool {
        self.make_room();
        let Channel::Plain(socket) = &self.channel;
        let room = self.received.get_mut(self.end..).unwrap_or_default();
        let started = Instant::now();
        loop {
            match recv(socket.as_raw_fd(), room, MsgFlags::MSG_DONTWAIT) {
                Ok(count) if count > 0 => {
                    self.crowded = count == room.len();
                    self.end += count;
                    return true;
                }
                Err(Errno::EAGAIN) if started.elapsed() < POLL_TIME => std::hint::spin_loop(),
                _ => return false,
            }
        }
    }

    /// Sends everything gathered: one `send`, more only when the client is slower than we are. While it does
    /// not read, only this process waits, and `interrupted` is asked after each signal and each second.
    pub fn send(&mut self, interrupted: &mut dyn FnMut() -> bool) -> io::Result<Sent> {
        let mut done = 0;
        let mut ending = Ok(Sent::All);
        while let Some(rest) = self.output.get(done..).filter(|rest| !rest.is_empty()) {
            let Channel::Plain(socket) = &self.channel;
            match send(socket.as_raw_fd(), rest, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT) {
                Ok(count) => done += count,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    if interrupted() {
                        ending = Ok(Sent::Interrupted);
                        break;
                    }
                    // A signal ends poll with EINTR; the flags are looked at before sleeping again either way.
                    let _ = poll(
                        &mut [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)],
                        PollTimeout::from(SEND_RECHECK_MS),
                    );
                }
                Err(error) => {
                    ending = Err(error.into());
                    break;
                }
            }
        }
        self.output.clear();
        if self.output.capacity() > SEND_BYTES_KEPT {
            self.output.shrink_to(RECEIVE_BYTES_MIN);
        }
        ending
    }

    /// Limits how long [`Transport::receive`] waits; `None` is for ever. Makes a system call only when the limit
    /// changes, and the limit stays on until it is changed.
    pub fn set_receive_timeout(&mut self, limit: Option<Duration>) -> io::Result<()> {
        if limit == self.receive_timeout {
            return Ok(());
        }
        let Channel::Plain(socket) = &self.channel;
        // The kernel reads a zero as "no limit" (socket(7)); a limit that has passed is one microsecond.
        let micros = limit.map_or(0, |limit| i64::try_from(limit.as_micros()).unwrap_or(i64::MAX).max(1));
        let value = TimeVal::new(micros / 1_000_000, micros % 1_000_000);
        setsockopt(socket, sockopt::ReceiveTimeout, &value)?;
        self.receive_timeout = limit;
        Ok(())
    }

    /// The limit that is on.
    pub fn receive_timeout(&self) -> Option<Duration> {
        self.receive_timeout
    }

    fn make_room(&mut self) {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
            if self.crowded && self.received.len() < RECEIVE_BYTES_EAGER {
                self.received.resize(self.received.len() * 2, 0);
            } else if !self.crowded && self.received.len() > RECEIVE_BYTES_MIN {
                self.received.truncate(RECEIVE_BYTES_MIN);
                self.received.shrink_to_fit();
            }
            return;
        }
        if self.start > 0 && self.end == self.received.len() {
            self.received.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.received.len() {
            // Twice as much, but no more than the message under way announces.
            let (more, wanted) = (self.received.len() * 2, self.expected);
            let room = if wanted > self.received.len() { more.min(wanted) } else { more };
            self.received.resize(room, 0);
        }
    }
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        let Channel::Plain(socket) = &self.channel;
        socket.as_fd()
    }
}

fn recv_into(socket: &OwnedFd, room: &mut [u8]) -> nix::Result<usize> {
    recv(socket.as_raw_fd(), room, MsgFlags::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    fn pair() -> (Transport, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Transport::new(ours.into()), theirs)
    }

    fn patient() -> impl FnMut() -> bool {
        || false
    }

    #[test]
    fn bytes_eof_and_timeout_are_told_apart() {
        let (mut transport, mut client) = pair();
        transport.set_receive_timeout(Some(Duration::from_millis(1))).unwrap();
        assert_eq!(transport.receive(&mut patient()).unwrap(), Received::TimedOut);
        client.write_all(b"abc").unwrap();
        assert_eq!(transport.receive(&mut patient()).unwrap(), Received::Bytes);
        assert_eq!(transport.unread(), b"abc");
        transport.consume(2);
        assert_eq!(transport.unread(), b"c");
        drop(client);
        assert_eq!(transport.receive(&mut patient()).unwrap(), Received::Eof);
        assert_eq!(transport.unread(), b"c");
    }

    #[test]
    fn looking_for_bytes_finds_them_and_soon_gives_up_where_none_come() {
        let (mut transport, mut client) = pair();
        client.write_all(b"abc").unwrap();
        assert!(transport.receive_soon());
        assert_eq!(transport.unread(), b"abc");
        transport.consume(3);
        let looks = (0..200).filter(|_| {
            assert!(!transport.receive_soon());
            transport.polls_skipped == 0
        });
        assert!(looks.count() < 12, "the looks become rare");
        client.write_all(b"d").unwrap();
        while !transport.receive_soon() {}
        assert_eq!(transport.unread(), b"d");
        drop(client);
        while transport.polls_to_skip == 0 {
            assert!(!transport.receive_soon());
        }
        assert_eq!(transport.receive(&mut patient()).unwrap(), Received::Eof);
    }

    #[test]
    fn a_message_larger_than_the_buffer_arrives_whole_and_the_memory_goes_back() {
        let (mut transport, mut client) = pair();
        let large: Vec<u8> = (0..1_000_000u32).map(|i| i as u8).collect();
        let expected = large.clone();
        let writer = std::thread::spawn(move || {
            client.write_all(&large).unwrap();
            client
        });
        while transport.unread().len() < expected.len() {
            assert_eq!(transport.receive(&mut patient()).unwrap(), Received::Bytes);
        }
        assert!(transport.unread() == expected);
        transport.consume(expected.len());
        let mut client = writer.join().unwrap();
        for _ in 0..2 {
            client.write_all(b"x").unwrap();
            transport.receive(&mut patient()).unwrap();
            transport.consume(1);
        }
        assert_eq!(transport.received.len(), RECEIVE_BYTES_MIN);
    }

    #[test]
    fn a_client_that_does_not_read_can_be_given_up() {
        let (mut transport, _client) = pair();
        transport.output().resize(16 << 20, b'x');
        let mut asked = 0;
        let sent = transport.send(&mut || {
            asked += 1;
            asked > 1
        });
        assert_eq!(sent.unwrap(), Sent::Interrupted);
        assert!(transport.output().is_empty());
    }

    #[test]
    fn everything_is_sent_to_a_slow_reader() {
        let (mut transport, mut client) = pair();
        transport.output().resize(4 << 20, b'y');
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            client.read_to_end(&mut all).unwrap();
            all.len()
        });
        assert_eq!(transport.send(&mut patient()).unwrap(), Sent::All);
        drop(transport);
        assert_eq!(reader.join().unwrap(), 4 << 20);
    }

    #[test]
    fn a_client_that_has_gone_is_an_error_not_a_signal() {
        let (mut transport, client) = pair();
        drop(client);
        transport.output().extend_from_slice(b"hello");
        assert!(transport.send(&mut patient()).is_err());
    }
}
