//! Handing a descriptor to another process over a Unix socket (SCM_RIGHTS), with a few bytes beside it.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg, socketpair,
};

use super::listener::{Peer, peer_of};

/// Two words and what was agreed go with a client's connection, in front of what it has said.
const HEADER_BYTES: usize = 24;
/// As much as a client can have said without having said enough: a start-up packet, or the start of a TLS handshake.
const SAID_BYTES_MAX: usize = 12 * 1024;

/// A pair of connected sockets that keep the bounds of messages.
pub fn channel() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK)?)
}

/// Sends one descriptor with `bytes` (at least one) as one message.
pub fn send(channel: impl AsFd, bytes: &[u8], descriptor: impl AsFd) -> io::Result<()> {
    let descriptors = [descriptor.as_fd().as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&descriptors)];
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    sendmsg::<()>(channel.as_fd().as_raw_fd(), &[IoSlice::new(bytes)], &rights, flags, None)?;
    Ok(())
}

/// Sends `bytes` (at least one) as one message, without a descriptor.
pub fn send_bytes(channel: impl AsFd, bytes: &[u8]) -> io::Result<()> {
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    nix::sys::socket::send(channel.as_fd().as_raw_fd(), bytes, flags)?;
    Ok(())
}

/// Takes one message: how many bytes it had, and its descriptor. WouldBlock when there is none.
pub fn receive(channel: impl AsFd, bytes: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut control = nix::cmsg_space!([RawFd; 1]);
    let mut parts = [IoSliceMut::new(bytes)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<()>(channel.as_fd().as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let mut received = None;
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(descriptors) = part {
            for descriptor in descriptors {
                // SAFETY: the kernel has just installed this descriptor for us; nobody else knows its number.
                received = Some(unsafe { OwnedFd::from_raw_fd(descriptor) });
            }
        }
    }
    Ok((message.bytes, received))
}

/// A client's connection on its way from one process to another.
#[derive(Debug)]
pub struct Handed {
    /// The connection.
    pub socket: OwnedFd,
    /// Who is at its other end.
    pub peer: Peer,
    /// When it was accepted, without the time that it waited (monotonic clock).
    pub accepted_us: u64,
    /// When it is to be told that nobody came for it (monotonic clock).
    pub deadline_us: u64,
    /// What was agreed with it: the sender's and the taker's to read.
    pub agreed: [u8; 2],
    /// What it has said that was taken from the socket and not answered.
    pub said: Vec<u8>,
}

/// What goes with a client's connection; see [`Handed`].
#[derive(Debug, Clone, Copy)]
pub struct Papers<'a> {
    /// See [`Handed::accepted_us`].
    pub accepted_us: u64,
    /// See [`Handed::deadline_us`].
    pub deadline_us: u64,
    /// See [`Handed::agreed`].
    pub agreed: [u8; 2],
    /// See [`Handed::said`].
    pub said: &'a [u8],
}

/// Sends a client's connection.
pub fn hand_over(channel: impl AsFd, socket: impl AsFd, papers: Papers<'_>) -> io::Result<()> {
    if papers.said.len() > SAID_BYTES_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = Vec::with_capacity(HEADER_BYTES + papers.said.len());
    bytes.extend(papers.accepted_us.to_ne_bytes());
    bytes.extend(papers.deadline_us.to_ne_bytes());
    bytes.extend(papers.agreed);
    bytes.resize(HEADER_BYTES, 0);
    bytes.extend(papers.said);
    send(channel, &bytes, socket)
}

/// Takes a client's connection, which is blocking then; None when there is none. One whose client has gone
/// meanwhile is passed over, since there may be others behind it.
pub fn take_client(channel: impl AsFd) -> io::Result<Option<Handed>> {
    let mut bytes = [0; HEADER_BYTES + SAID_BYTES_MAX];
    loop {
        let (length, socket) = match receive(&channel, &mut bytes) {
            // No message of nothing is ever sent: the other end is closed.
            Ok((0, _)) => return Ok(None),
            Ok((length, Some(socket))) => (length, socket),
            Ok((_, None)) => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let peer = super::descriptor::set_nonblocking(&socket, false).and_then(|()| peer_of(&socket));
        let Ok(peer) = peer else { continue };
        let word =
            |at: usize| bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u64::from_ne_bytes(*word));
        let agreed = bytes.get(16..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
        let said = bytes.get(HEADER_BYTES..length).unwrap_or_default().to_vec();
        return Ok(Some(Handed { socket, peer, accepted_us: word(0), deadline_us: word(8), agreed, said }));
    }
}

/// Whether messages that were sent have not been taken yet.
pub fn is_unread(channel: impl AsFd) -> io::Result<bool> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the request writes one c_int, which outlives the call (unix(7): memory of unread messages).
    let result = unsafe { libc::ioctl(channel.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(bytes > 0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_descriptor_arrives_with_its_bytes() {
        let (left, right) = channel().unwrap();
        let (mut here, there) = UnixStream::pair().unwrap();
        send(&left, b"abc", &there).unwrap();
        drop(there);
        assert!(is_unread(&left).unwrap());
        let mut bytes = [0; 8];
        let (count, received) = receive(&right, &mut bytes).unwrap();
        assert_eq!(&bytes[..count], b"abc");
        assert!(!is_unread(&left).unwrap());
        let mut there = UnixStream::from(received.unwrap());
        here.write_all(b"x").unwrap();
        let mut byte = [0];
        there.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
        assert_eq!(receive(&right, &mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_client_that_has_gone_hides_nobody() {
        let (left, right) = channel().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let connect = || {
            let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            (client, listener.accept().unwrap().0)
        };
        let ((gone, of_gone), (_there, of_there)) = (connect(), connect());
        let papers = |accepted_us, said| Papers { accepted_us, deadline_us: accepted_us + 1, agreed: [5, 6], said };
        hand_over(&left, &of_gone, papers(1, b"")).unwrap();
        hand_over(&left, &of_there, papers(3, b"abc")).unwrap();
        assert!(hand_over(&left, &of_there, papers(3, &[0; SAID_BYTES_MAX + 1])).is_err());
        // A reset, after which there is no peer.
        let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        nix::sys::socket::setsockopt(&gone, nix::sys::socket::sockopt::Linger, &linger).unwrap();
        drop((gone, of_gone));
        let handed = take_client(&right).unwrap().unwrap();
        assert_eq!((handed.accepted_us, handed.deadline_us), (3, 4));
        assert_eq!((handed.agreed, &handed.said[..]), ([5, 6], &b"abc"[..]));
        assert!(take_client(&right).unwrap().is_none());
    }
}
