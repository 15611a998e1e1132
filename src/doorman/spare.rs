//! Descriptors that are kept for clients who come when the process has no others left: one is closed, the client
//! accepted in its place, told that it can't be served, and the spare is opened again when it has gone.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;

/// So many clients can be on their way out at one time.
const SPARES: usize = 8;

/// The spare descriptors.
#[derive(Debug, Default)]
pub(super) struct Spares(Vec<OwnedFd>);

impl Spares {
    /// Opens those that are missing, as far as there is room. They are duplicates of `any`, which needs no file.
    pub(super) fn restock(&mut self, any: impl AsFd) {
        while self.0.len() < SPARES {
            let Ok(spare) = any.as_fd().try_clone_to_owned() else { return };
            self.0.push(spare);
        }
    }

    /// Makes room for one descriptor. False if no spare is left.
    pub(super) fn make_room(&mut self) -> bool {
        self.0.pop().is_some()
    }

    /// Whether all are there: descriptors are not scarce.
    pub(super) fn are_complete(&self) -> bool {
        self.0.len() == SPARES
    }
}

/// Whether that failed because the process, or the machine, has no descriptors left.
pub(super) fn is_lack_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EMFILE | Errno::ENFILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_times_there_is_room() {
        let mut spares = Spares::default();
        assert!(!spares.make_room());
        spares.restock(std::io::stderr());
        assert!(spares.are_complete());
        for _ in 0..SPARES {
            assert!(spares.make_room() && !spares.are_complete());
        }
        assert!(!spares.make_room());
    }
}
