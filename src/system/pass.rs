//! Handing a descriptor to another process over a Unix socket (SCM_RIGHTS), with a few bytes beside it.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg, socketpair,
};

use super::listener::{Peer, peer_of};

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

/// Takes a client's connection without what came beside it; None when there is none.
pub fn take_client(channel: impl AsFd) -> io::Result<Option<(OwnedFd, Peer)>> {
    let client = match receive(channel, &mut [0; 8]) {
        Ok((_, Some(client))) => client,
        Ok((_, None)) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
        Err(error) => return Err(error),
    };
    super::descriptor::set_nonblocking(&client, false)?;
    Ok(peer_of(&client).ok().map(|peer| (client, peer)))
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
}
