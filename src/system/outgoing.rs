//! A connection to another server from a given address of this machine, which the standard library cannot make.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect as connect_to, socket};

/// Connects; blocks for as long as the system tries.
pub fn connect(from: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(from))?;
    connect_to(socket.as_raw_fd(), &SockaddrStorage::from(to))?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn the_other_side_sees_the_address() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = connect("127.0.0.2:0".parse().unwrap(), listener.local_addr().unwrap()).unwrap();
        let (_, peer) = listener.accept().unwrap();
        assert_eq!(peer.ip().to_string(), "127.0.0.2");
        assert_eq!(peer, stream.local_addr().unwrap());
    }
}
