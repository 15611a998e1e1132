//! A connection's socket: connected without waiting, read and written without waiting, in clear or through TLS.
//!
//! Owns the choice of the address that a connection comes from. Loopback has a whole network of them
//! (127.0.0.0/8), each with ports of its own.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::socket::sockopt::{IpBindAddressNoPort, SocketError, TcpNoDelay};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, SockaddrIn, SockaddrStorage, UnixAddr, bind, connect, getsockopt,
    recv, send, setsockopt, socket,
};
use rustls::{ClientConfig, ClientConnection};

use super::Target;
use super::outcome::Failure;

/// How many loopback addresses are gone on to when ports run out, where the plan names no number.
const SPARE_ADDRESSES: u8 = 32;

/// The addresses that connections come from.
///
/// Unless told otherwise all come from the address that the kernel chooses (127.0.0.1), as access rules expect; the
/// next one is taken when its ports have run out. With a number given, they take turns from the start.
#[derive(Debug, Clone)]
pub struct Sources {
    take_turns: bool,
    count: u8,
    current: u8,
    /// How often ports ran out.
    pub exhausted: u64,
}

impl Sources {
    /// For a target, and the number of addresses that were asked for.
    pub fn new(target: &Target, asked: Option<u8>) -> Self {
        let is_loopback = matches!(target, Target::Tcp(SocketAddr::V4(address)) if address.ip().octets()[0] == 127);
        let count = if is_loopback { asked.unwrap_or(SPARE_ADDRESSES).clamp(1, 254) } else { 1 };
        Self { take_turns: asked.is_some(), count, current: 0, exhausted: 0 }
    }

    /// The address for the next connection; None for the kernel's choice.
    fn next(&mut self) -> Option<Ipv4Addr> {
        let address = Ipv4Addr::new(127, 0, 0, self.current + 1);
        let bound = self.take_turns && self.count > 1 || self.current > 0;
        if self.take_turns {
            self.current = (self.current + 1) % self.count;
        }
        bound.then_some(address)
    }

    /// The ports of the last address have run out: go on to the next.
    fn exhaust(&mut self) {
        self.exhausted += 1;
        if !self.take_turns {
            self.current = (self.current + 1) % self.count;
        }
    }
}

/// What a connect came to at once.
#[derive(Debug)]
pub enum Connect {
    /// It stands.
    Done(OwnedFd),
    /// The socket becomes writable when it stands or has failed.
    UnderWay(OwnedFd),
    /// A Unix socket's queue is full; the kernel does not tell when it no longer is.
    QueueFull,
}

/// Begins to connect.
pub fn begin(target: &Target, sources: &mut Sources) -> Result<Connect, Errno> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    match target {
        Target::Unix(path) => {
            let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
            match connect(fd.as_raw_fd(), &UnixAddr::new(path)?) {
                Ok(()) => Ok(Connect::Done(fd)),
                Err(Errno::EAGAIN) => Ok(Connect::QueueFull),
                Err(errno) => Err(errno),
            }
        }
        Target::Tcp(address) => {
            let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
            let mut tries = sources.count;
            loop {
                let fd = socket(family, SockType::Stream, flags, None)?;
                setsockopt(&fd, TcpNoDelay, &true)?;
                if let Some(source) = sources.next() {
                    setsockopt(&fd, IpBindAddressNoPort, &true)?;
                    bind(fd.as_raw_fd(), &SockaddrIn::from(std::net::SocketAddrV4::new(source, 0)))?;
                }
                match connect(fd.as_raw_fd(), &SockaddrStorage::from(*address)) {
                    Ok(()) => return Ok(Connect::Done(fd)),
                    Err(Errno::EINPROGRESS) => return Ok(Connect::UnderWay(fd)),
                    Err(Errno::EADDRNOTAVAIL) if tries > 1 => {
                        tries -= 1;
                        sources.exhaust();
                    }
                    Err(errno) => return Err(errno),
                }
            }
        }
    }
}

/// Whether an address is of this machine's loopback network.
pub fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// What a read came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// This many bytes. `drained`: there are no more for now.
    Bytes { count: usize, drained: bool },
    /// Nothing for now.
    Nothing,
    /// The server has closed the connection.
    Closed,
}

/// A connection that is under way or stands.
pub struct Transport {
    fd: OwnedFd,
    tls: Option<Box<ClientConnection>>,
    /// Bytes that the socket has not taken yet.
    unsent: Vec<u8>,
}

impl Transport {
    /// Owns the socket.
    pub fn new(fd: OwnedFd) -> Self {
        Self { fd, tls: None, unsent: Vec::new() }
    }

    /// The error of a connect, or of the connection.
    pub fn error(&self) -> Result<(), Errno> {
        match getsockopt(&self.fd, SocketError)? {
            0 => Ok(()),
            number => Err(Errno::from_raw(number)),
        }
    }

    /// Begins the TLS handshake.
    pub fn encrypt(&mut self, config: &Arc<ClientConfig>) -> Result<(), Failure> {
        // The name is for verification, which the configuration leaves out, and for SNI, which an address has not.
        let name = rustls::pki_types::ServerName::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST).into());
        let connection = ClientConnection::new(Arc::clone(config), name).map_err(tls_failure)?;
        self.tls = Some(Box::new(connection));
        self.flush()
    }

    /// Whether TLS has begun.
    pub fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether the TLS handshake, which is over, resumed an earlier session.
    pub fn is_resumed(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.handshake_kind() == Some(rustls::HandshakeKind::Resumed))
    }

    /// Whether a TLS handshake is under way.
    pub fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Sends, or keeps what the socket does not take for [`Self::flush`].
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if let Some(tls) = &mut self.tls {
            tls.writer().write_all(bytes).map_err(|error| io_failure(&error))?;
            return self.flush();
        }
        let mut bytes = bytes;
        if self.unsent.is_empty() {
            while !bytes.is_empty() {
                match send(self.fd.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL) {
                    Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                    Err(Errno::EAGAIN) => break,
                    Err(Errno::EINTR) => (),
                    Err(errno) => return Err(errno.into()),
                }
            }
        }
        self.unsent.extend_from_slice(bytes);
        Ok(())
    }

    /// Tells the server that no more comes, where TLS has a word for it.
    pub fn send_end(&mut self) -> Result<(), Failure> {
        match &mut self.tls {
            Some(tls) => {
                tls.send_close_notify();
                self.flush()
            }
            None => Ok(()),
        }
    }

    /// Sends what is left over; called when the socket is writable.
    pub fn flush(&mut self) -> Result<(), Failure> {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                match tls.write_tls(&mut Socket(self.fd.as_fd())) {
                    Ok(_) => (),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                    Err(error) => return Err(io_failure(&error)),
                }
            }
            return Ok(());
        }
        if self.unsent.is_empty() {
            return Ok(());
        }
        let unsent = std::mem::take(&mut self.unsent);
        self.send(&unsent)
    }

    /// Reads what has come.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Result<Received, Failure> {
        let Some(tls) = &mut self.tls else {
            return loop {
                match recv(self.fd.as_raw_fd(), buffer, MsgFlags::empty()) {
                    Ok(0) => break Ok(Received::Closed),
                    Ok(count) => break Ok(Received::Bytes { count, drained: count < buffer.len() }),
                    Err(Errno::EAGAIN) => break Ok(Received::Nothing),
                    Err(Errno::EINTR) => (),
                    Err(errno) => break Err(errno.into()),
                }
            };
        };
        loop {
            match tls.reader().read(buffer) {
                Ok(0) => return Ok(Received::Closed),
                Ok(count) => return Ok(Received::Bytes { count, drained: false }),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => (),
                // The connection ended without TLS's own word for it, as PostgreSQL's do.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Received::Closed),
                Err(error) => return Err(io_failure(&error)),
            }
            match tls.read_tls(&mut Socket(self.fd.as_fd())) {
                Ok(0) if tls.is_handshaking() => return Ok(Received::Closed),
                Ok(_) => (),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Received::Nothing),
                Err(error) => return Err(io_failure(&error)),
            }
            let was_handshaking = tls.is_handshaking();
            tls.process_new_packets().map_err(tls_failure)?;
            while tls.wants_write() {
                match tls.write_tls(&mut Socket(self.fd.as_fd())) {
                    Ok(_) => (),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(io_failure(&error)),
                }
            }
            if was_handshaking && !tls.is_handshaking() {
                return Ok(Received::Bytes { count: 0, drained: false });
            }
        }
    }
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The socket as rustls wants to see it.
struct Socket<'a>(BorrowedFd<'a>);

impl Read for Socket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(recv(self.0.as_raw_fd(), buffer, MsgFlags::empty())?)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(self.0.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn io_failure(error: &io::Error) -> Failure {
    match error.raw_os_error() {
        Some(number) => Failure::system(Errno::from_raw(number)),
        None => Failure::named("TLS", &error.to_string()),
    }
}

fn tls_failure(error: rustls::Error) -> Failure {
    Failure::named("TLS", &error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(address: &str) -> Target {
        Target::Tcp(address.parse().expect("an address"))
    }

    #[test]
    fn addresses_change_when_ports_run_out() {
        let mut sources = Sources::new(&target("127.0.0.1:5432"), None);
        assert_eq!((sources.next(), sources.next()), (None, None));
        sources.exhaust();
        assert_eq!(sources.next(), Some(Ipv4Addr::new(127, 0, 0, 2)));
        assert_eq!(sources.next(), Some(Ipv4Addr::new(127, 0, 0, 2)));
        for _ in 1..SPARE_ADDRESSES {
            sources.exhaust();
        }
        // All have been tried: the first one may have ports again.
        assert_eq!(sources.next(), None);
        assert_eq!(sources.exhausted, u64::from(SPARE_ADDRESSES));
    }

    #[test]
    fn addresses_take_turns_when_asked() {
        let mut sources = Sources::new(&target("127.0.0.1:5432"), Some(3));
        let taken: Vec<u8> = (0..5).map(|_| sources.next().expect("an address").octets()[3]).collect();
        assert_eq!(taken, [1, 2, 3, 1, 2]);
        let mut one = Sources::new(&target("127.0.0.1:5432"), Some(1));
        assert_eq!((one.next(), one.next()), (None, None));
    }

    #[test]
    fn only_loopback_has_addresses_to_choose_from() {
        for other in ["10.0.0.1:5432", "[::1]:5432"] {
            let mut sources = Sources::new(&target(other), Some(8));
            assert_eq!((sources.next(), sources.next()), (None, None));
        }
    }

    #[test]
    fn a_connection_comes_from_the_address_whose_turn_it_is() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
        let target = Target::Tcp(listener.local_addr().expect("its address"));
        let mut sources = Sources::new(&target, Some(2));
        for last in [1, 2] {
            let kept = begin(&target, &mut sources).expect("a connection");
            let (_, from) = listener.accept().expect("a client");
            assert_eq!(from.ip(), IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)));
            drop(kept);
        }
    }

    #[test]
    fn loopback_is_told_from_the_rest() {
        for (address, expected) in
            [("127.0.0.1", true), ("127.9.9.9", true), ("::1", true), ("::ffff:127.0.0.1", true), ("10.0.0.1", false)]
        {
            assert_eq!(is_loopback(address.parse().expect("an address")), expected, "{address}");
        }
    }
}
