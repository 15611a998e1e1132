//! What a session has carried, for the figures of its pool.

use std::time::Instant;

use shm::UpstreamTraffic;

use super::Relay;

/// What has not been added to the pool's figures yet.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    counts: UpstreamTraffic,
    /// When the query under way came, and the first one of the transaction.
    query_began: Option<Instant>,
    transaction_began: Option<Instant>,
}

impl Traffic {
    /// A message of the client's.
    pub(super) fn received(&mut self, length: usize) {
        self.counts.received += length as u64;
        if self.query_began.is_none() {
            let now = Instant::now();
            self.query_began = Some(now);
            self.transaction_began.get_or_insert(now);
        }
    }

    /// A message for the client.
    pub(super) fn sent(&mut self, length: usize) {
        self.counts.sent += length as u64;
    }
}

impl Relay<'_> {
    /// A query has come to its end, and with it perhaps its transaction; or, with `None`, the session.
    pub(super) fn count(&mut self, is_over: Option<bool>) {
        let traffic = &mut self.traffic;
        if let Some(is_over) = is_over {
            let now = Instant::now();
            let since = |began: Option<Instant>| began.map_or(0, |began| (now - began).as_micros() as u64);
            traffic.counts.queries += 1;
            traffic.counts.queries_us += since(traffic.query_began.take());
            if is_over {
                traffic.counts.transactions += 1;
                traffic.counts.transactions_us += since(traffic.transaction_began.take());
            }
        }
        let counts = std::mem::take(&mut traffic.counts);
        self.session.lender.segment.count_upstream(self.session.pool.index, &counts);
    }
}
