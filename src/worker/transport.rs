//! The bytes of one client connection: a blocking socket, one receive buffer and one send buffer; with TLS a second
//! pair, of records, so that a reply is one record and one `send` there as well.
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

use super::tls::Secured;
use super::tls::stream::{Opened, Stream};

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

/// How a wait for the client ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// There are more bytes in [`Transport::unread`], or with TLS a part of a record has come.
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
    socket: OwnedFd,
    /// Its records, once the client speaks TLS.
    tls: Option<Box<Stream>>,
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
            socket,
            tls: None,
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

    /// Bytes that were received by somebody else, before any that this receives.
    pub fn take_over(&mut self, bytes: &[u8]) {
        self.received.truncate(self.end);
        self.received.extend_from_slice(bytes);
        self.end = self.received.len();
        self.received.resize(self.end.max(RECEIVE_BYTES_MIN), 0);
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
        if self.tls.is_some() {
            return self.receive_records(interrupted);
        }
        self.make_room();
        let room = self.received.get_mut(self.end..).unwrap_or_default();
        match wait_for_bytes(&self.socket, room, interrupted)? {
            Ok(count) => {
                self.crowded = count == room.len();
                self.end += count;
                Ok(Received::Bytes)
            }
            Err(ending) => Ok(ending),
        }
    }

    /// The same, for so long at most. Unlike [`Transport::set_receive_timeout`], this leaves no limit behind.
    pub fn receive_within(&mut self, limit: Duration, interrupted: &mut dyn FnMut() -> bool) -> io::Result<Received> {
        let until = Instant::now() + limit;
        loop {
            let rest = until.saturating_duration_since(Instant::now()).as_micros().div_ceil(1000);
            let readable = PollFd::new(self.socket.as_fd(), PollFlags::POLLIN);
            match poll(&mut [readable], PollTimeout::try_from(rest).unwrap_or(PollTimeout::MAX)) {
                // Only a wait of more than a month is cut.
                Ok(0) => return Ok(Received::TimedOut),
                Ok(_) => return self.receive(interrupted),
                Err(Errno::EINTR) if interrupted() => return Ok(Received::Interrupted),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The same with TLS.
    fn receive_records(&mut self, interrupted: &mut dyn FnMut() -> bool) -> io::Result<Received> {
        let Some(tls) = &mut self.tls else { return Ok(Received::Eof) };
        match wait_for_bytes(&self.socket, tls.room(), interrupted)? {
            Ok(count) => tls.arrived(count),
            Err(ending) => return Ok(ending),
        }
        self.open_records()
    }

    /// Opens what has arrived.
    fn open_records(&mut self) -> io::Result<Received> {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
        let before = self.end;
        let (received, end) = (&mut self.received, &mut self.end);
        let Some(tls) = &mut self.tls else { return Ok(Received::Eof) };
        let opened = tls.open(|plain| {
            if received.len() - *end < plain.len() {
                received.resize((2 * received.len()).max(*end + plain.len()), 0);
            }
            if let Some(place) = received.get_mut(*end..*end + plain.len()) {
                place.copy_from_slice(plain);
            }
            *end += plain.len();
        });
        match opened {
            Ok(Opened::Closed) if self.end == before => Ok(Received::Eof),
            Ok(_) => Ok(Received::Bytes),
            Err(error) => {
                self.send_alert();
                Err(io::Error::new(io::ErrorKind::InvalidData, error))
            }
        }
    }

    /// Sends what TLS has to say after an error, as far as the socket takes it.
    fn send_alert(&mut self) {
        if let Some(tls) = &mut self.tls {
            let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
            let _ = send(self.socket.as_raw_fd(), tls.outgoing(), flags);
            tls.sent();
        }
    }

    /// Begins TLS: what is unread are records. The handshake goes on with [`Transport::shake_hands`].
    pub fn begin_tls(&mut self, mut stream: Stream) {
        stream.take_over(self.unread());
        self.start = self.end;
        self.tls = Some(Box::new(stream));
    }

    /// Goes on with the handshake as far as what has arrived allows, and sends our part. Returns whether it is over.
    pub fn shake_hands(&mut self, interrupted: &mut dyn FnMut() -> bool) -> io::Result<bool> {
        self.open_records()?;
        let Some(tls) = &mut self.tls else { return Ok(false) };
        let is_over = !tls.is_handshaking();
        if !tls.outgoing().is_empty() && (!is_over || tls.is_awaited()) {
            let sent = send_all(&self.socket, tls.outgoing(), interrupted);
            tls.sent();
            if sent? == Sent::Interrupted {
                return Err(io::ErrorKind::Interrupted.into());
            }
        }
        Ok(is_over)
    }

    /// The handshake is over: see [`Stream::settle`].
    pub fn settle_tls(&mut self) -> Result<(), String> {
        self.tls.as_mut().map_or(Ok(()), |tls| tls.settle())
    }

    /// The client's TLS session, once the handshake is over; None for one without TLS.
    pub fn tls(&self) -> Option<&Secured> {
        self.tls.as_ref()?.secured()
    }

    /// Whether the client has named the protocol in its handshake (ALPN).
    pub fn names_protocol(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.names_protocol())
    }

    /// Sends what is gathered and says that nothing follows, as far as the socket takes it at once.
    pub fn close(&mut self) {
        if let Some(tls) = self.tls.as_mut().filter(|tls| !tls.is_handshaking()) {
            // Sealing fails where the keys are used up; then the end alone tells.
            let _ = tls.seal(&self.output);
            self.output.clear();
            tls.seal_end();
        }
        let bytes = self.tls.as_ref().map_or(&self.output[..], |tls| tls.outgoing());
        if !bytes.is_empty() {
            let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
            let _ = send(self.socket.as_raw_fd(), bytes, flags);
        }
        self.output.clear();
    }

    /// Looks for bytes for a moment without sleeping. Returns whether some may have come; whatever else there is to say,
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
        if self.tls.is_none() {
            self.make_room();
        }
        let started = Instant::now();
        loop {
            let room = match &mut self.tls {
                None => self.received.get_mut(self.end..).unwrap_or_default(),
                Some(tls) => tls.room(),
            };
            let length = room.len();
            match recv(self.socket.as_raw_fd(), room, MsgFlags::MSG_DONTWAIT) {
                Ok(count) if count > 0 => {
                    let Some(tls) = &mut self.tls else {
                        self.crowded = count == length;
                        self.end += count;
                        return true;
                    };
                    tls.arrived(count);
                    let before = self.end - self.start;
                    // An error is found again, and reported, by whoever waits for the rest.
                    if self.open_records().is_err() || self.end - self.start > before {
                        return true;
                    }
                }
                Err(Errno::EAGAIN) if started.elapsed() < POLL_TIME => std::hint::spin_loop(),
                _ => return false,
            }
        }
    }

    /// Sends everything gathered: one `send`, more only when the client is slower than we are. While it does
    /// not read, only this process waits, and `interrupted` is asked after each signal and each second.
    pub fn send(&mut self, interrupted: &mut dyn FnMut() -> bool) -> io::Result<Sent> {
        let ending = match &mut self.tls {
            None => send_all(&self.socket, &self.output, interrupted),
            Some(tls) => {
                let sealed = tls.seal(&self.output).map_err(io::Error::other);
                let ending = sealed.and_then(|()| send_all(&self.socket, tls.outgoing(), interrupted));
                tls.sent();
                ending
            }
        };
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
        // The kernel reads a zero as "no limit" (socket(7)); a limit that has passed is one microsecond.
        let micros = limit.map_or(0, |limit| i64::try_from(limit.as_micros()).unwrap_or(i64::MAX).max(1));
        let value = TimeVal::new(micros / 1_000_000, micros % 1_000_000);
        setsockopt(&self.socket, sockopt::ReceiveTimeout, &value)?;
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
        self.socket.as_fd()
    }
}

/// One `recv`, more only after signals. Inside, what ended the wait where no bytes did.
fn wait_for_bytes(
    socket: &OwnedFd,
    room: &mut [u8],
    interrupted: &mut dyn FnMut() -> bool,
) -> io::Result<Result<usize, Received>> {
    loop {
        match recv(socket.as_raw_fd(), room, MsgFlags::empty()) {
            Ok(0) => return Ok(Err(Received::Eof)),
            Ok(count) => return Ok(Ok(count)),
            Err(Errno::EINTR) if interrupted() => return Ok(Err(Received::Interrupted)),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Ok(Err(Received::TimedOut)),
            Err(error) => return Err(error.into()),
        }
    }
}

/// One `send`, more only when the client is slower than we are.
fn send_all(socket: &OwnedFd, bytes: &[u8], interrupted: &mut dyn FnMut() -> bool) -> io::Result<Sent> {
    let mut done = 0;
    while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
        match send(socket.as_raw_fd(), rest, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT) {
            Ok(count) => done += count,
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                if interrupted() {
                    return Ok(Sent::Interrupted);
                }
                // A signal ends poll with EINTR; the flags are looked at before sleeping again either way.
                let writable = PollFd::new(socket.as_fd(), PollFlags::POLLOUT);
                let _ = poll(&mut [writable], PollTimeout::from(SEND_RECHECK_MS));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Sent::All)
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
