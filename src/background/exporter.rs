//! The exporter's process: serves the figures of [`metrics`] to a scraper over HTTP/1.1.
//!
//! Owns its listening socket's clients, a few at a time, each with a deadline and a bounded request. It answers one
//! request a connection. It reads the segment only when it is asked, and sleeps otherwise.

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use shm::{Owner, Phase, Segment, SlotState};

use super::metrics;
use crate::system::fork::exit_now;
use crate::system::listener::Listener;
use crate::system::parent;
use crate::system::signal::{Signal, SignalQueue};

/// Exit code after a panic or a failure of its own loop.
const FAILED: i32 = 3;
/// Connections at a time; the rest wait in the kernel's queue.
const CLIENTS_MAX: usize = 16;
/// The longest request, in bytes.
const REQUEST_MAX: usize = 8192;
/// How long a connection may take from accept to its end.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause after accept failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const SIGNALS: Token = Token(0);
const LISTENER: Token = Token(1);
const CLIENTS: usize = 2;

/// Lives the exporter's life in the slot that it was forked for, and ends the process. Signals must be blocked and the
/// process tied to the postmaster.
pub fn run(segment: Segment, owner: Owner, listener: &Listener) -> ! {
    std::panic::set_hook(Box::new(|panic| log::error!("panic: {panic}")));
    parent::set_name("pgprefork: expo");
    match catch_unwind(AssertUnwindSafe(|| Exporter::new(segment, owner, listener)?.live())) {
        Ok(Ok(())) => exit_now(0),
        Ok(Err(error)) => {
            log::error!("the exporter failed: {error}");
            exit_now(FAILED)
        }
        Err(_) => exit_now(FAILED),
    }
}

/// A connection: its request so far, then what is left of the answer.
struct Client {
    stream: TcpStream,
    deadline: Instant,
    request: Vec<u8>,
    answer: Option<Vec<u8>>,
}

/// Whether a connection goes on.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Waits,
    Over,
}

struct Exporter<'a> {
    segment: Segment,
    listener: &'a Listener,
    poll: Poll,
    signals: SignalQueue,
    clients: [Option<Client>; CLIENTS_MAX],
    /// There may be more in the listener's queue than were accepted.
    accept_at: Option<Instant>,
}

impl<'a> Exporter<'a> {
    fn new(segment: Segment, owner: Owner, listener: &'a Listener) -> io::Result<Self> {
        let signals = SignalQueue::new(&[Signal::SIGTERM, Signal::SIGQUIT])?;
        let poll = Poll::new()?;
        for (fd, token) in [(signals.as_raw_fd(), SIGNALS), (listener.as_raw_fd(), LISTENER)] {
            poll.registry().register(&mut SourceFd(&fd), token, Interest::READABLE)?;
        }
        segment.transition(owner.slot, SlotState::Starting, SlotState::Serving).map_err(io::Error::other)?;
        segment.slot(owner.slot).set_phase(Phase::Accepting);
        Ok(Self { segment, listener, poll, signals, clients: Default::default(), accept_at: Some(Instant::now()) })
    }

    fn live(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(32);
        loop {
            match self.poll.poll(&mut events, self.timeout()) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            match self.signals.take()? {
                Some(Signal::SIGQUIT) => exit_now(2),
                Some(_) => return Ok(()),
                None => {}
            }
            for event in &events {
                match event.token().0.checked_sub(CLIENTS) {
                    Some(index) => self.attend(index),
                    None if event.token() == LISTENER => self.accept_at = Some(Instant::now()),
                    None => {}
                }
            }
            let now = Instant::now();
            for place in &mut self.clients {
                if place.as_ref().is_some_and(|client| client.deadline <= now) {
                    *place = None;
                }
            }
            if self.accept_at.is_some_and(|at| at <= now) {
                self.accept()?;
            }
        }
    }

    fn timeout(&self) -> Option<Duration> {
        let is_full = self.clients.iter().all(Option::is_some);
        let deadlines = self.clients.iter().flatten().map(|client| client.deadline);
        let at = deadlines.chain(self.accept_at.filter(|_| !is_full)).min();
        at.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Takes in as many as there is room for.
    fn accept(&mut self) -> io::Result<()> {
        while let Some(index) = self.clients.iter().position(Option::is_none) {
            let stream = match self.listener.accept() {
                Ok(Some((socket, _))) => std::net::TcpStream::from(socket),
                Ok(None) => {
                    self.accept_at = None;
                    return Ok(());
                }
                Err(_) => {
                    self.accept_at = Some(Instant::now() + ACCEPT_PAUSE);
                    return Ok(());
                }
            };
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(CLIENTS + index), interest)?;
            let (deadline, request) = (Instant::now() + PATIENCE, Vec::new());
            if let Some(place) = self.clients.get_mut(index) {
                *place = Some(Client { stream, deadline, request, answer: None });
            }
            self.attend(index);
        }
        Ok(())
    }

    fn attend(&mut self, index: usize) {
        let Some(place) = self.clients.get_mut(index) else { return };
        let Some(client) = place else { return };
        if client.step(self.segment) == Step::Over {
            *place = None;
        }
    }
}

impl Client {
    /// Reads and writes as far as the socket lets it.
    fn step(&mut self, segment: Segment) -> Step {
        if self.answer.is_none() {
            let (mut bytes, mut ended) = ([0; 1024], false);
            loop {
                match self.stream.read(&mut bytes) {
                    // Who has said all may still wait for the answer.
                    Ok(0) => {
                        ended = true;
                        break;
                    }
                    Ok(count) => self.request.extend_from_slice(bytes.get(..count).unwrap_or_default()),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => return Step::Over,
                }
                if self.request.len() > REQUEST_MAX {
                    break;
                }
            }
            self.answer = answer(&self.request, || metrics::render(segment));
            if ended && self.answer.is_none() {
                return Step::Over;
            }
        }
        let Some(rest) = &mut self.answer else { return Step::Waits };
        while !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(count) => drop(rest.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Step::Waits,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Step::Over,
            }
        }
        Step::Over
    }
}

/// The whole answer to a request; `None` while the request is not complete.
fn answer(request: &[u8], page: impl FnOnce() -> String) -> Option<Vec<u8>> {
    let is_whole = request.windows(4).any(|end| end == b"\r\n\r\n");
    if !is_whole {
        return (request.len() > REQUEST_MAX)
            .then(|| response("431 Request Header Fields Too Large", "", "too long\n", false));
    }
    let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = std::str::from_utf8(line).unwrap_or_default().split(' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    let is_http = version.is_some_and(|version| version.starts_with("HTTP/1.")) && words.next().is_none();
    let (Some(method), Some(target), true) = (method, target, is_http) else {
        return Some(response("400 Bad Request", "", "this is no HTTP/1.1 request\n", false));
    };
    let head = method == "HEAD";
    if method != "GET" && !head {
        return Some(response("405 Method Not Allowed", "Allow: GET, HEAD\r\n", "only GET is served here\n", false));
    }
    if target.split('?').next() != Some("/metrics") {
        return Some(response("404 Not Found", "", "the figures are at /metrics\n", head));
    }
    Some(response("200 OK", "", &page(), head))
}

fn response(status: &str, headers: &str, body: &str, head: bool) -> Vec<u8> {
    let kind = if status.starts_with("200") { "text/plain; version=0.0.4; charset=utf-8" } else { "text/plain" };
    let length = body.len();
    let body = if head { "" } else { body };
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{headers}Connection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(request: &str) -> Option<String> {
        answer(request.as_bytes(), || "figures\n".to_owned()).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn requests_are_answered_when_they_are_whole() {
        let request = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
        for length in 0..request.len() {
            assert_eq!(text(&request[..length]), None);
        }
        let whole = text(request).unwrap();
        assert!(whole.starts_with("HTTP/1.1 200 OK\r\n") && whole.ends_with("\r\n\r\nfigures\n"), "{whole}");
        assert!(whole.contains("Content-Length: 8\r\n"));
        let head = text("HEAD /metrics HTTP/1.1\r\n\r\n").unwrap();
        assert!(head.contains("Content-Length: 8\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    }

    #[test]
    fn what_is_not_served_is_named() {
        let status = |request: &str| text(request).unwrap().split(' ').nth(1).unwrap().to_owned();
        assert_eq!(status("GET / HTTP/1.1\r\n\r\n"), "404");
        assert_eq!(status("GET /metrics?x=1 HTTP/1.0\r\n\r\n"), "200");
        assert_eq!(status("POST /metrics HTTP/1.1\r\n\r\n"), "405");
        assert_eq!(status("GET /metrics\r\n\r\n"), "400");
        assert_eq!(status("\r\n\r\n"), "400");
        let odd = answer(b"\xff\xfe / HTTP/1.1\r\n\r\n", String::new).unwrap();
        assert!(odd.starts_with(b"HTTP/1.1 400"));
        assert_eq!(status(&"x".repeat(REQUEST_MAX + 1)), "431");
    }
}
