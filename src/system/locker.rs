//! A locker: holds one descriptor with a few bytes beside it, for whoever takes it out.
//!
//! A datagram socket that is connected to itself. What is put in is a message in its own queue, which the kernel keeps:
//! no process has the descriptor open meanwhile, and when every process that has the locker is gone, so is what it
//! holds. Only peers may send to a connected datagram socket, so nobody else can put anything in.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, bind, connect,
    getsockname, recvmsg, sendmsg, socket,
};

/// Bytes that may lie beside a descriptor.
pub const LOCKER_BYTES: usize = 64 * 1024;

/// See the module's description.
#[derive(Debug)]
pub struct Locker(OwnedFd);

impl Locker {
    /// An empty locker.
    pub fn new() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        // The kernel chooses an abstract name (unix(7): autobind).
        bind(fd.as_raw_fd(), &UnixAddr::new_unnamed())?;
        let own: UnixAddr = getsockname(fd.as_raw_fd())?;
        connect(fd.as_raw_fd(), &own)?;
        Ok(Self(fd))
    }

    /// Puts a descriptor in; the caller may close its own.
    pub fn put(&self, descriptor: impl AsFd, bytes: &[u8]) -> io::Result<()> {
        let descriptors = [descriptor.as_fd().as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&descriptors)];
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        sendmsg::<()>(self.0.as_raw_fd(), &[IoSlice::new(bytes)], &rights, flags, None)?;
        Ok(())
    }

    /// Takes out what is in it; `room` takes the bytes, as many as are returned.
    pub fn take(&self, room: &mut [u8]) -> io::Result<Option<(OwnedFd, usize)>> {
        let mut control = nix::cmsg_space!([RawFd; 1]);
        let mut parts = [IoSliceMut::new(room)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
        let message = match recvmsg::<()>(self.0.as_raw_fd(), &mut parts, Some(&mut control), flags) {
            Ok(message) => message,
            Err(nix::errno::Errno::EAGAIN) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        let mut taken = None;
        for part in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(descriptors) = part {
                for descriptor in descriptors {
                    // SAFETY: the kernel has just installed this descriptor for us; nobody else knows its number.
                    taken = Some(unsafe { OwnedFd::from_raw_fd(descriptor) });
                }
            }
        }
        Ok(taken.map(|descriptor| (descriptor, message.bytes)))
    }

    /// Whether there is something in it.
    pub fn is_full(&self) -> io::Result<bool> {
        let mut bytes: libc::c_int = 0;
        // SAFETY: the request writes one c_int, which outlives the call (unix(7): bytes of the next message).
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(bytes > 0) }
    }
}

impl AsFd for Locker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Locker {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    #[test]
    fn what_was_put_in_comes_out_once() {
        let locker = Locker::new().unwrap();
        let mut room = vec![0; LOCKER_BYTES];
        assert!(!locker.is_full().unwrap());
        assert!(locker.take(&mut room).unwrap().is_none());
        let (mut here, there) = UnixStream::pair().unwrap();
        let long = vec![7; 30_000];
        locker.put(&there, &long).unwrap();
        drop(there);
        assert!(locker.is_full().unwrap());
        let (taken, count) = locker.take(&mut room).unwrap().unwrap();
        assert_eq!(room[..count], long);
        assert!(!locker.is_full().unwrap());
        let mut there = UnixStream::from(taken);
        here.write_all(b"x").unwrap();
        let mut byte = [0];
        there.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
    }

    #[test]
    fn what_is_in_a_locker_that_nobody_has_any_more_is_closed() {
        let locker = Locker::new().unwrap();
        let (mut here, there) = UnixStream::pair().unwrap();
        locker.put(&there, b"x").unwrap();
        drop(there);
        drop(locker);
        assert_eq!(here.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn strangers_put_nothing_in() {
        let locker = Locker::new().unwrap();
        let own: UnixAddr = getsockname(locker.as_raw_fd()).unwrap();
        let stranger = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::empty(), None).unwrap();
        assert_eq!(connect(stranger.as_raw_fd(), &own), Err(nix::errno::Errno::EPERM));
    }
}
