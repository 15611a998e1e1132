//! Listening sockets and what is accepted from them. Always non-blocking: O_NONBLOCK belongs to the open file
//! description, which all processes share.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::sys::socket::sockopt::{Ipv6V6Only, KeepAlive, ReuseAddr, TcpNoDelay};
use nix::sys::socket::{
    AddressFamily, Backlog, Shutdown, SockFlag, SockType, SockaddrStorage, UnixAddr, bind, getpeername, getsockname,
    listen, setsockopt, shutdown, socket,
};

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix socket's path.
    Unix(PathBuf),
}

/// A socket that listens; shared by every process that inherits it.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
    place: Place,
}

/// Who is at the other end of an accepted connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix,
}

impl Listener {
    /// Listens on TCP. What is set here is inherited by accepted sockets (tcp(7)): no delay, keep-alive.
    pub fn tcp(address: SocketAddr, backlog: u32, defer_accept: bool) -> io::Result<Self> {
        let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
        let fd = socket(family, SockType::Stream, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, None)?;
        setsockopt(&fd, ReuseAddr, &true)?;
        if address.is_ipv6() {
            setsockopt(&fd, Ipv6V6Only, &true)?;
        }
        setsockopt(&fd, TcpNoDelay, &true)?;
        setsockopt(&fd, KeepAlive, &true)?;
        if defer_accept {
            set_defer_accept(fd.as_fd())?;
        }
        bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
        listen(&fd, queue(backlog)?)?;
        let fd = std::net::TcpListener::from(fd);
        let place = Place::Tcp(fd.local_addr()?);
        Ok(Self { fd: fd.into(), place })
    }

    /// Listens on a Unix socket. The caller holds the path's lock file, so a socket that is there already is
    /// a dead server's.
    pub fn unix(path: &Path, backlog: u32) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o777))?;
        listen(&fd, queue(backlog)?)?;
        Ok(Self { fd, place: Place::Unix(path.to_owned()) })
    }

    /// Takes a listening socket that the service manager has opened.
    pub fn adopt(fd: OwnedFd, backlog: u32) -> io::Result<Self> {
        super::descriptor::set_nonblocking(&fd, true)?;
        let address: SockaddrStorage = getsockname(fd.as_raw_fd())?;
        if let Some(unix) = address.as_unix_addr() {
            let path = unix.path().map(Path::to_owned).unwrap_or_default();
            listen(&fd, queue(backlog)?)?;
            return Ok(Self { fd, place: Place::Unix(path) });
        }
        setsockopt(&fd, TcpNoDelay, &true)?;
        setsockopt(&fd, KeepAlive, &true)?;
        listen(&fd, queue(backlog)?)?;
        let fd = std::net::TcpListener::from(fd);
        let place = Place::Tcp(fd.local_addr()?);
        Ok(Self { fd: fd.into(), place })
    }

    /// Where it listens.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Takes the next connection, close-on-exec and blocking; None when no connection waits. A connection that
    /// was given up before it could be taken is passed over.
    pub fn accept(&self) -> io::Result<Option<(OwnedFd, Peer)>> {
        loop {
            match self.accept_one() {
                Ok(taken) => return Ok(Some(taken)),
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => return Ok(None),
                    Some(libc::ECONNABORTED | libc::EINTR | libc::EPROTO) => {}
                    _ => return Err(error),
                },
            }
        }
    }

    fn accept_one(&self) -> io::Result<(OwnedFd, Peer)> {
        let mut storage = std::mem::MaybeUninit::<libc::sockaddr_storage>::zeroed();
        let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        // SAFETY: the address and its length outlive the call; the length says how much room there is.
        let fd =
            unsafe { libc::accept4(self.fd.as_raw_fd(), storage.as_mut_ptr().cast(), &mut length, libc::SOCK_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: accept4 has just made this descriptor; nobody else knows its number.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let peer = match &self.place {
            Place::Unix(_) => Peer::Unix,
            Place::Tcp(_) => {
                // SAFETY: zeroed bytes are a valid sockaddr_storage, and the kernel has only written into it.
                let storage = unsafe { storage.assume_init() };
                Peer::Tcp(socket_address(&storage).ok_or(io::ErrorKind::InvalidData)?)
            }
        };
        Ok((fd, peer))
    }

    /// Stops listening in every process that shares this listener: connections that wait are reset, new
    /// ones refused, and accept fails.
    pub fn shut_down(&self) {
        let _ = shutdown(self.fd.as_raw_fd(), Shutdown::Both);
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Who is at the other end of a connection that another process accepted.
pub fn peer_of(socket: impl AsFd) -> io::Result<Peer> {
    let address: SockaddrStorage = getpeername(socket.as_fd().as_raw_fd())?;
    let v4 = address.as_sockaddr_in().map(|address| SocketAddr::from(std::net::SocketAddrV4::from(*address)));
    let v6 = || address.as_sockaddr_in6().map(|address| SocketAddr::from(std::net::SocketAddrV6::from(*address)));
    Ok(v4.or_else(v6).map_or(Peer::Unix, Peer::Tcp))
}

fn queue(backlog: u32) -> io::Result<Backlog> {
    let limit = i32::try_from(backlog).unwrap_or(i32::MAX);
    // Backlog refuses what is above SOMAXCONN of its headers; the kernel caps at net.core.somaxconn anyway.
    Ok(Backlog::new(limit).unwrap_or(Backlog::MAXCONN))
}

fn set_defer_accept(fd: BorrowedFd<'_>) -> io::Result<()> {
    let seconds: libc::c_int = 1;
    // SAFETY: the value is a c_int that outlives the call, and its size is given.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn socket_address(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: ss_family says that it is a sockaddr_in, which a sockaddr_storage has room and alignment for.
            let address = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in>() };
            Some(SocketAddr::from((address.sin_addr.s_addr.to_ne_bytes(), u16::from_be(address.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: ss_family says that it is a sockaddr_in6, which a sockaddr_storage has room and alignment for.
            let address = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in6>() };
            Some(SocketAddr::from((address.sin6_addr.s6_addr, u16::from_be(address.sin6_port))))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpStream};

    #[test]
    fn an_accepted_connection_knows_its_peer() {
        let listener = Listener::tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), 16, false).unwrap();
        assert!(listener.accept().unwrap().is_none());
        let Place::Tcp(address) = listener.place().clone() else { unreachable!() };
        let client = TcpStream::connect(address).unwrap();
        let (_, peer) = listener.accept().unwrap().unwrap();
        assert_eq!(peer, Peer::Tcp(client.local_addr().unwrap()));
    }

    #[test]
    fn a_listener_that_was_shut_down_refuses() {
        let listener = Listener::tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), 16, false).unwrap();
        let Place::Tcp(address) = listener.place().clone() else { unreachable!() };
        listener.shut_down();
        assert!(TcpStream::connect(address).is_err());
        assert!(listener.accept().is_err());
    }
}
