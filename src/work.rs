//! What bounds the work of a statement: reasons to stop, and memory.
//!
//! Every loop whose length a client controls calls [`tick`] or [`check`], wherever it is; whatever makes one large
//! thing calls [`reserve`] first. The engine says who is asked ([`install`]) and how much there is ([`limit_memory`]).
//! All of it belongs to the thread, as a worker has one.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::error::{Condition, Error};
use crate::system::allocator;

/// Gives the reason to stop now, if there is one.
pub type Reasons = Rc<dyn Fn() -> Option<Error>>;

thread_local! {
    static REASONS: RefCell<Option<Reasons>> = const { RefCell::new(None) };
    static TICKS: Cell<u32> = const { Cell::new(0) };
}

/// Calls of [`tick`] between two looks.
const TICKS_BETWEEN_CHECKS: u32 = 256;

/// Who is asked for reasons to stop; `None`: nobody.
pub fn install(reasons: Option<Reasons>) {
    REASONS.with(|installed| *installed.borrow_mut() = reasons);
}

/// Fails where the statement is to stop (57014, 57P01) or has taken too much memory (53200).
pub fn check() -> Result<(), Error> {
    let reasons = REASONS.with(|installed| installed.borrow().clone());
    if let Some(error) = reasons.and_then(|reasons| reasons()) {
        return Err(error);
    }
    if allocator::would_exceed(0) {
        return Err(out_of_memory(allocator::take_exceeded().unwrap_or(0)));
    }
    Ok(())
}

/// [`check`], but cheap enough for the innermost loop: it looks once in a few hundred calls.
pub fn tick() -> Result<(), Error> {
    let ticks = TICKS.get();
    TICKS.set(ticks.wrapping_add(1));
    if ticks.is_multiple_of(TICKS_BETWEEN_CHECKS) { check() } else { Ok(()) }
}

/// Fails (53200) where that many bytes more would be too much. For what is allocated in one piece.
pub fn reserve(bytes: usize) -> Result<(), Error> {
    if allocator::would_exceed(bytes) { Err(out_of_memory(bytes)) } else { Ok(()) }
}

/// From now on the thread may have `bytes` more than it has; `None`: as much as there is.
pub fn limit_memory(bytes: Option<u64>) {
    let limit = bytes.and_then(|bytes| isize::try_from(bytes).ok());
    allocator::set_limit(limit.map_or(isize::MAX, |bytes| allocator::live().saturating_add(bytes)));
}

/// 53200 for an allocation that somebody else has been refused.
pub fn refused() -> Error {
    out_of_memory(allocator::take_exceeded().unwrap_or(0))
}

/// 53200 as PostgreSQL words it.
fn out_of_memory(bytes: usize) -> Error {
    // What was noted before is part of what is reported now.
    allocator::take_exceeded();
    Error::new(Condition::OutOfMemory, "out of memory")
        .detail(format!("Failed on request of size {bytes} in memory context \"PortalContext\"."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_beyond_the_limit_is_an_error_until_it_is_given_back() {
        limit_memory(Some(1 << 20));
        assert_eq!(check(), Ok(()));
        assert_eq!(reserve(2 << 20).unwrap_err().condition(), Condition::OutOfMemory);
        let taken = vec![0u8; 2 << 20];
        let error = check().unwrap_err();
        assert_eq!(error.condition(), Condition::OutOfMemory);
        let detail = "Failed on request of size 2097152 in memory context \"PortalContext\".";
        assert_eq!(error.fields().detail.as_deref(), Some(detail));
        drop(taken);
        assert_eq!(check(), Ok(()));
        limit_memory(None);
        assert_eq!(reserve(1 << 40), Ok(()));
    }

    #[test]
    fn a_reason_to_stop_is_heard_within_some_hundred_ticks() {
        install(Some(Rc::new(|| Some(Error::new(Condition::QueryCanceled, "canceled")))));
        assert!((0..=TICKS_BETWEEN_CHECKS).any(|_| tick().is_err()));
        install(None);
        assert_eq!(check(), Ok(()));
    }
}
