//! The process's allocator: the system's, and a count of the bytes that it has handed out.
//!
//! The count is the thread's own, because a worker has one thread and an atomic in every allocation would cost more
//! than it tells. SQLite allocates through [`allocate`], so that one count covers both. Decides nothing: who may have
//! how much is `work`'s business.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ffi::c_void;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static LIMIT: Cell<isize> = const { Cell::new(isize::MAX) };
    /// Size of the request that first went beyond the limit; 0: none did.
    static EXCEEDED: Cell<usize> = const { Cell::new(0) };
}

/// The allocator of the program.
#[derive(Debug)]
pub struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// `size` bytes were given for a request of `asked`.
fn count(size: usize, asked: usize) {
    // The thread may be at its end, where nobody asks any more.
    let _ = LIVE.try_with(|live| {
        let now = live.get().wrapping_add(size.cast_signed());
        live.set(now);
        if now > LIMIT.get() && EXCEEDED.get() == 0 {
            EXCEEDED.set(asked);
        }
    });
}

/// What malloc takes up for a request: a header, rounded up. Many small values cost more than they say.
fn taken(size: usize) -> usize {
    (size.saturating_add(23) & !15).max(32)
}

fn discount(size: usize) {
    let _ = LIVE.try_with(|live| live.set(live.get().wrapping_sub(size.cast_signed())));
}

// SAFETY: every call goes to the system's allocator with the arguments that it came with.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(taken(layout.size()), layout.size());
        // SAFETY: the caller's promise about the layout is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(taken(layout.size()), layout.size());
        // SAFETY: the caller's promise about the layout is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        discount(taken(layout.size()));
        // SAFETY: the pointer came from the system's allocator with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        discount(taken(layout.size()));
        count(taken(size), size);
        // SAFETY: the pointer came from the system's allocator with this layout.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Bytes that this thread has allocated and not freed.
pub fn live() -> isize {
    LIVE.get()
}

/// From now on, a request that takes the live bytes beyond `limit` is noted, and refused if it is a foreign library's.
pub fn set_limit(limit: isize) {
    LIMIT.set(limit);
    EXCEEDED.set(0);
}

/// Whether `size` bytes more would go beyond the limit.
pub fn would_exceed(size: usize) -> bool {
    LIVE.get().saturating_add_unsigned(size) > LIMIT.get()
}

/// Size of the request that first went beyond the limit, once; `None` if none has.
pub fn take_exceeded() -> Option<usize> {
    Some(EXCEEDED.replace(0)).filter(|size| *size != 0)
}

/// Memory for a foreign library: null where it would go beyond the limit.
pub fn allocate(size: usize) -> *mut c_void {
    if would_exceed(size) {
        if EXCEEDED.get() == 0 {
            EXCEEDED.set(size);
        }
        return std::ptr::null_mut();
    }
    // SAFETY: malloc takes any size.
    let pointer = unsafe { libc::malloc(size) };
    count(usable(pointer), size);
    pointer
}

/// Frees what [`allocate`] or [`reallocate`] gave, or null.
///
/// # Safety
/// The pointer came from there and is not used again.
pub unsafe fn free(pointer: *mut c_void) {
    discount(usable(pointer));
    // SAFETY: the caller's promise.
    unsafe { libc::free(pointer) }
}

/// Resizes what [`allocate`] gave: null, and the old memory kept, where it would go beyond the limit.
///
/// # Safety
/// The pointer came from there; it is not used again unless the result is null.
pub unsafe fn reallocate(pointer: *mut c_void, size: usize) -> *mut c_void {
    let before = usable(pointer);
    if size > before && would_exceed(size - before) {
        if EXCEEDED.get() == 0 {
            EXCEEDED.set(size);
        }
        return std::ptr::null_mut();
    }
    // SAFETY: the caller's promise.
    let moved = unsafe { libc::realloc(pointer, size) };
    if !moved.is_null() {
        discount(before);
        count(usable(moved), size);
    }
    moved
}

/// Bytes that an allocation takes up; 0 for null.
pub fn usable(pointer: *mut c_void) -> usize {
    // SAFETY: malloc_usable_size takes null and what malloc gave.
    unsafe { libc::malloc_usable_size(pointer) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allocated_is_counted_until_it_is_freed() {
        let before = live();
        let mut kept = vec![0u8; 100_000];
        assert!(live() - before >= 100_000);
        kept.reserve_exact(400_000);
        assert!(live() - before >= 500_000);
        drop(kept);
        assert!(live() - before < 1_000);
    }

    #[test]
    fn beyond_the_limit_a_foreign_library_gets_null_and_the_request_is_noted() {
        let before = live();
        set_limit(before + 100_000);
        assert!(allocate(200_000).is_null());
        assert_eq!(take_exceeded(), Some(200_000));
        assert_eq!(take_exceeded(), None);
        let small = allocate(1_000);
        assert!(!small.is_null());
        // SAFETY: it came from `allocate`, and the old pointer is kept as the request is refused.
        assert!(unsafe { reallocate(small, 300_000) }.is_null());
        // SAFETY: it came from `allocate`.
        unsafe { free(small) };
        set_limit(isize::MAX);
        assert!(live() - before < 1_000);
    }
}
