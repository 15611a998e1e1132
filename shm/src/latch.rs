//! A latch: the one word that a process sleeps on, whatever it waits for.
//!
//! Only the slot's own process waits on its latch; anybody sets it. The use is always: `seen = value()`, look at
//! every condition, and if none holds `wait(seen, …)`. A set between the two makes the wait return at once.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use crate::futex;
pub use crate::futex::WaitResult;

/// See the module's description.
#[repr(C)]
pub struct Latch {
    /// Raised by each set.
    word: AtomicU32,
    /// Whether the owner sleeps or is about to. A dead owner may leave it set, which costs a needless system call.
    waiting: AtomicU32,
}

impl Latch {
    /// The value to hand to [`Latch::wait`]; read before the conditions are looked at.
    pub fn value(&self) -> u32 {
        self.word.load(SeqCst)
    }

    /// Wakes the owner, now or when it next waits with an older value. Async-signal-safe: an addition, and one
    /// FUTEX_WAKE if the owner sleeps.
    pub fn set(&self) {
        self.word.fetch_add(1, SeqCst);
        // SeqCst on both sides: either the sleeper's FUTEX_WAIT sees the new word or this load sees its flag.
        if self.waiting.load(SeqCst) != 0 {
            futex::wake(&self.word, u32::MAX);
        }
    }

    /// Sleeps until the latch is set after `seen` was read, a signal comes, or `timeout` (relative) is over.
    pub fn wait(&self, seen: u32, timeout: Option<Duration>) -> WaitResult {
        self.waiting.store(1, SeqCst);
        let result = futex::wait(&self.word, seen, timeout);
        self.waiting.store(0, SeqCst);
        result
    }

    /// Forgets a dead owner's sleep.
    pub(crate) fn repair(&self) {
        self.waiting.store(0, SeqCst);
    }
}
