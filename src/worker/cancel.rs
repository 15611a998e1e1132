//! Cancel requests: carried out by whoever reads one, worker or doorman.

use shm::Counter;

use super::budget;
use super::context::Context;
use crate::system::listener::Peer;

/// So many wrong keys from one address in a minute, and short keys (32 bits, protocol 3.0) from there are no longer
/// looked up until the next: guessing one then takes years. Long ones cannot be guessed and are always served.
const WRONG_PER_MINUTE: u32 = 1000;
const GUESSABLE_BYTES: usize = 8;

/// Carries out a cancel request: the flag and the latch here, the signal through the postmaster. The client gets
/// no answer, so that nothing can be learnt about keys.
pub fn cancel(context: &Context, peer: Peer, process: u32, key: &[u8]) {
    let segment = context.segment;
    let (source, now_us) = (budget::source(peer), shm::clock::monotonic_us());
    if key.len() <= GUESSABLE_BYTES && segment.pool().wrong_cancels(source, now_us) >= WRONG_PER_MINUTE {
        segment.pool().count(Counter::CancelsRejected);
        return;
    }
    let target = i32::try_from(process).ok().and_then(|pid| segment.find_cancel_key(pid, key));
    let Some((slot, session)) = target else {
        segment.pool().count(Counter::CancelsRejected);
        match segment.pool().count_wrong_cancel(source, now_us) {
            WRONG_PER_MINUTE => {
                log::warn!(
                    "{WRONG_PER_MINUTE} wrong keys in cancel requests from {}: no more for this minute",
                    name(peer)
                );
            }
            wrong if wrong < WRONG_PER_MINUTE => log::info!("wrong key in cancel request for process {process}"),
            _ => {}
        }
        return;
    };
    segment.pool().count(Counter::Cancels);
    if segment.slot(slot).request_cancel(session) {
        context.wake_postmaster();
    }
}

fn name(peer: Peer) -> String {
    match peer {
        Peer::Tcp(address) => address.ip().to_string(),
        Peer::Unix => "a Unix socket".to_owned(),
    }
}
