//! Upstream connections that no worker has used for long are closed here, so that it happens where no client comes either.

use std::time::{Duration, Instant};

use super::Postmaster;

impl Postmaster {
    /// Closes what is due, and notes when the next may be. What is lent now cannot be due earlier than a whole timeout from
    /// now.
    pub(super) fn close_idle_connections(&mut self) {
        let context = &self.server.context;
        let timeout = context.config.relay.server_idle_timeout.nonzero().filter(|_| !context.lockers.is_empty());
        let Some(timeout) = timeout else {
            self.idle_look_at = None;
            return;
        };
        let now = Instant::now();
        // A reload may have made the time shorter.
        if self.idle_look_at.is_some_and(|at| now < at && at <= now + timeout) {
            return;
        }
        let timeout_us = u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX);
        let next_us = context.segment.close_idle_upstream(timeout_us, shm::clock::monotonic_us(), |place| {
            // The message's bytes beside the descriptor are cut off.
            drop(context.lockers.get(place.0 as usize).map(|locker| locker.take(&mut [0; 1])));
        });
        self.idle_look_at = Some(now + Duration::from_micros(next_us));
    }
}
