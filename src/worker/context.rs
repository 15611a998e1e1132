//! What every process of the server has from the postmaster, as it was at fork.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use shm::{Segment, SetupPhase};

use super::tls::Acceptor;
use crate::auth::{Maps, Rules};
use crate::config::Config;
use crate::keeper::OwnServer;
use crate::system::Pid;
use crate::system::backlog;
use crate::system::listener::{Listener, Peer};
use crate::system::locker::Locker;
use crate::system::wake::Wake;

/// See the module's description.
#[derive(Debug)]
pub struct Context {
    /// The settings in force.
    pub config: Config,
    /// pg_hba.conf.
    pub rules: Rules,
    /// pg_ident.conf.
    pub maps: Maps,
    /// What it takes to accept TLS, where a certificate is configured.
    pub tls: Option<Acceptor>,
    /// The shared memory.
    pub segment: Segment,
    /// The listening sockets; never shut down or set blocking by a child.
    pub listeners: Vec<Listener>,
    /// Where the exporter serves its figures, if it does.
    pub metrics: Option<Listener>,
    /// Wakes the postmaster.
    pub wake: Wake,
    /// Wakes the doorman: no worker is idle any more, or one is again.
    pub doorman: Wake,
    /// Has an idle worker look at every place where a client may wait, because a wake-up for one may have been lost.
    pub look: Wake,
    /// Clients on their way from the doorman to a worker: where it sends them, and where workers take them.
    pub queue: (OwnedFd, OwnedFd),
    /// Clients on their way from a worker to the doorman, because they have not said enough to be served: where workers
    /// send them, and where the doorman takes them.
    pub parking: (OwnedFd, OwnedFd),
    /// What keeps unknown users from being told apart, where no cluster has such a secret.
    pub mock_secret: [u8; 32],
    /// Where upstream connections lie that nobody uses, one for each place in the segment; none without a relay.
    pub lockers: Vec<Locker>,
    /// A PostgreSQL of the server's own, where sessions run on one.
    pub own_server: Option<OwnServer>,
    /// The postmaster.
    pub postmaster: Pid,
}

impl Context {
    /// Wakes the postmaster to look at all slots, unless somebody has done so already.
    pub fn wake_postmaster(&self) {
        if self.segment.pool().claim_wake() {
            self.wake.wake();
        }
    }

    /// Accepts a client for a session, and notes how long it has waited, where the kernel tells.
    pub fn accept(&self, listener: &Listener) -> io::Result<Option<(OwnedFd, Peer)>> {
        let accepted = listener.accept()?;
        if let Some((client, Peer::Tcp(_))) = &accepted
            && let Some(waited) = backlog::waited(client)
        {
            let waited_us = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
            self.segment.statistics().setup(SetupPhase::AcceptQueue).record(waited_us);
        }
        Ok(accepted)
    }

    /// Descriptors that any child keeps: what wakes postmaster, doorman and workers, and the segment's file.
    pub fn descriptors(&self) -> Vec<i32> {
        let segment = self.segment.fd().map(|fd| fd.as_raw_fd());
        segment.into_iter().chain([&self.wake, &self.doorman, &self.look].map(|wake| wake.as_raw_fd())).collect()
    }
}
