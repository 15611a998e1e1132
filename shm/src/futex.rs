//! FUTEX_WAIT and FUTEX_WAKE on words that processes share: never with the PRIVATE flag, whose wake-ups stay inside
//! one process. Calls are async-signal-safe; they preserve `errno`, so a signal handler may wake.

use std::ptr;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitResult {
    /// The word had changed already, or somebody woke us (perhaps for another reason: look again).
    Woken,
    /// The time was over.
    TimedOut,
    /// A signal handler ran.
    Interrupted,
}

/// Sleeps while `word` is `seen`, at most for `timeout`, which is relative and measured by CLOCK_MONOTONIC; `None`
/// waits without limit. Returns at once if the word has another value.
pub fn wait(word: &AtomicU32, seen: u32, timeout: Option<Duration>) -> WaitResult {
    let time = timeout.map(|timeout| libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(timeout.subsec_nanos().cast_signed()),
    });
    let time = time.as_ref().map_or(ptr::null(), ptr::from_ref);
    let saved = errno();
    // SAFETY: the word is a live, aligned u32 and `time` is null or points to a live timespec; the call writes neither.
    let result = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, seen, time) };
    let error = if result == 0 { 0 } else { errno() };
    set_errno(saved);
    match error {
        libc::ETIMEDOUT => WaitResult::TimedOut,
        libc::EINTR => WaitResult::Interrupted,
        // Zero, or EAGAIN: the word is no longer what the caller saw.
        _ => WaitResult::Woken,
    }
}

/// Wakes at most `count` sleepers of `word`.
pub fn wake(word: &AtomicU32, count: u32) {
    let saved = errno();
    // SAFETY: the word is a live, aligned u32; FUTEX_WAKE only uses its address.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, count.min(i32::MAX.cast_unsigned())) };
    set_errno(saved);
}

fn errno() -> i32 {
    // SAFETY: always returns the address of this thread's errno.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: the address is valid and only this thread uses it.
    unsafe { *place }
}

fn set_errno(value: i32) {
    // SAFETY: always returns the address of this thread's errno.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: the address is valid and only this thread uses it.
    unsafe { *place = value };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_word_returns_at_once() {
        assert_eq!(wait(&AtomicU32::new(2), 1, None), WaitResult::Woken);
    }

    #[test]
    fn time_ends_a_wait() {
        assert_eq!(wait(&AtomicU32::new(1), 1, Some(Duration::from_millis(1))), WaitResult::TimedOut);
    }
}
