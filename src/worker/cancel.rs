//! Cancel requests: carried out by whoever reads one, worker or doorman.

use shm::Counter;

use super::context::Context;

/// Carries out a cancel request: the flag and the latch here, the signal through the postmaster. The client gets
/// no answer, so that nothing can be learnt about keys.
pub fn cancel(context: &Context, process: u32, key: &[u8]) {
    let segment = context.segment;
    let target = i32::try_from(process).ok().and_then(|pid| segment.find_cancel_key(pid, key));
    let Some((slot, session)) = target else {
        segment.pool().count(Counter::CancelsRejected);
        log::info!("wrong key in cancel request for process {process}");
        return;
    };
    segment.pool().count(Counter::Cancels);
    if segment.slot(slot).request_cancel(session) {
        context.wake_postmaster();
    }
}
