//! Waiting of an idle worker: epoll with EPOLLEXCLUSIVE on the listeners, and signals let in only while it waits. mio has no EPOLLEXCLUSIVE, hence this file.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use super::signal::Mask;

/// What ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// The descriptor added under this number is ready, and no other.
    Ready(u64),
    /// Several are ready. Which of them this process was woken for cannot be known.
    Several,
    /// A signal's handler ran.
    Interrupted,
    /// The time is over.
    TimedOut,
}

/// An epoll instance of this process alone: one made before fork would be shared with the parent.
#[derive(Debug)]
pub struct ExclusiveEpoll(Epoll);

impl ExclusiveEpoll {
    /// An empty set.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?))
    }

    /// Adds a listener. With EPOLLEXCLUSIVE the kernel wakes one of the processes that wait, the one that
    /// registered first.
    pub fn add_exclusive(&self, fd: impl AsFd, number: u64) -> io::Result<()> {
        Ok(self.0.add(fd, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLEXCLUSIVE, number))?)
    }

    /// Adds a descriptor that this process waits for alone.
    pub fn add(&self, fd: impl AsFd, number: u64) -> io::Result<()> {
        Ok(self.0.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, number))?)
    }

    /// Waits for events with `mask` as the signal mask, which the kernel puts in place and takes back in
    /// one step with the wait: a signal can't slip in between a check and the wait.
    pub fn wait(&self, mask: &Mask, timeout_ms: Option<u32>) -> io::Result<Wait> {
        let timeout = timeout_ms.map_or(-1, |ms| libc::c_int::try_from(ms).unwrap_or(libc::c_int::MAX));
        let mut events = MaybeUninit::<[libc::epoll_event; 2]>::uninit();
        let first = events.as_mut_ptr().cast::<libc::epoll_event>();
        // SAFETY: the events and the mask outlive the call; the kernel writes two events at most.
        let count = unsafe { libc::epoll_pwait(self.0.0.as_raw_fd(), first, 2, timeout, mask.as_ptr()) };
        match count {
            0 => Ok(Wait::TimedOut),
            1 => {
                // SAFETY: the kernel reported one event, so it wrote the first.
                let event = unsafe { first.read() };
                Ok(Wait::Ready(event.u64))
            }
            2 => Ok(Wait::Several),
            _ => {
                let error = io::Error::last_os_error();
                if error.raw_os_error() == Some(libc::EINTR) { Ok(Wait::Interrupted) } else { Err(error) }
            }
        }
    }
}
