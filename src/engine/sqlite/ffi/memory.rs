//! SQLite's memory comes from the process's allocator, so that one count bounds a statement's memory.

use std::ffi::{c_int, c_void};
use std::sync::Once;

use rusqlite::ffi;

use crate::system::allocator;

unsafe extern "C" fn malloc(size: c_int) -> *mut c_void {
    usize::try_from(size).map_or(std::ptr::null_mut(), allocator::allocate)
}

unsafe extern "C" fn free(pointer: *mut c_void) {
    // SAFETY: SQLite frees what these functions gave.
    unsafe { allocator::free(pointer) }
}

unsafe extern "C" fn realloc(pointer: *mut c_void, size: c_int) -> *mut c_void {
    let Ok(size) = usize::try_from(size) else { return std::ptr::null_mut() };
    // SAFETY: SQLite resizes what these functions gave, and keeps the old memory where it gets null.
    unsafe { allocator::reallocate(pointer, size) }
}

unsafe extern "C" fn size(pointer: *mut c_void) -> c_int {
    c_int::try_from(allocator::usable(pointer)).unwrap_or(c_int::MAX)
}

unsafe extern "C" fn round_up(size: c_int) -> c_int {
    size.saturating_add(7) & !7
}

unsafe extern "C" fn init(_: *mut c_void) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn shutdown(_: *mut c_void) {}

/// Installs them. Takes effect only before SQLite is first used in the process.
pub fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let methods = ffi::sqlite3_mem_methods {
            xMalloc: Some(malloc),
            xFree: Some(free),
            xRealloc: Some(realloc),
            xSize: Some(size),
            xRoundup: Some(round_up),
            xInit: Some(init),
            xShutdown: Some(shutdown),
            pAppData: std::ptr::null_mut(),
        };
        // SAFETY: SQLite copies the table. After its initialisation the call does nothing but return SQLITE_MISUSE.
        let result = unsafe { ffi::sqlite3_config(ffi::SQLITE_CONFIG_MALLOC, &raw const methods) };
        debug_assert!(result == ffi::SQLITE_OK || result == ffi::SQLITE_MISUSE, "{result}");
    });
}
