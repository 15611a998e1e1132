//! An eventfd that wakes the postmaster's loop from any process.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// Wakes whoever polls it; wakes that nobody has taken yet are one wake.
#[derive(Debug)]
pub struct Wake(EventFd);

impl Wake {
    /// A wake that is not pending.
    pub fn new() -> io::Result<Self> {
        Ok(Self(EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?))
    }

    /// Another handle of the same wake.
    pub fn try_clone(&self) -> io::Result<Self> {
        let descriptor = self.0.as_fd().try_clone_to_owned()?;
        // SAFETY: the descriptor is a duplicate of an eventfd's, and nobody else has it.
        Ok(Self(unsafe { EventFd::from_owned_fd(descriptor) }))
    }

    /// Makes the reader's poll return. Never blocks: a counter that is full wakes just as well.
    pub fn wake(&self) {
        let _ = self.0.write(1);
    }

    /// Takes the pending wake, if there is one.
    pub fn take(&self) -> bool {
        self.0.read().is_ok()
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Wake {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wakes_collapse_into_one() {
        let wake = Wake::new().unwrap();
        assert!(!wake.take());
        wake.wake();
        wake.wake();
        assert!(wake.take());
        assert!(!wake.take());
    }
}
