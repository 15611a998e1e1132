//! Shared libraries that are loaded when something needs them, so that none has to be there to build or to start.

use std::ffi::{CStr, c_void};
use std::ptr::NonNull;

/// A loaded library. It stays loaded: libraries of authentication leave handlers and threads behind that an unloading
/// would pull the ground from under.
#[derive(Debug)]
pub struct Library(NonNull<c_void>);

impl Library {
    /// Loads a library by its file name, which the system looks for in its own places.
    pub fn open(name: &CStr) -> Result<Self, String> {
        // SAFETY: the name is terminated. What the library runs when it is loaded is the system administrator's choice
        // of library.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        NonNull::new(handle).map(Self).ok_or_else(last_error)
    }

    /// Whether it could be loaded: loads it, and lets go of it.
    pub fn find(name: &CStr) -> Result<(), String> {
        let Self(handle) = Self::open(name)?;
        // SAFETY: the handle is that of a library which was loaded above, and nothing of it has been used.
        unsafe { libc::dlclose(handle.as_ptr()) };
        Ok(())
    }

    /// A function of the library.
    ///
    /// # Safety
    ///
    /// `F` must be the type of a pointer to the function of that name, as the library's header declares it.
    pub unsafe fn function<F: Copy>(&self, name: &CStr) -> Result<F, String> {
        const { assert!(size_of::<F>() == size_of::<*mut c_void>()) }
        // SAFETY: the handle is that of a loaded library, and the name is terminated.
        let address = unsafe { libc::dlsym(self.0.as_ptr(), name.as_ptr()) };
        if address.is_null() {
            return Err(last_error());
        }
        // SAFETY: both are of one size (asserted above), and the caller says that `F` is what lies at the address.
        Ok(unsafe { std::mem::transmute_copy(&address) })
    }
}

fn last_error() -> String {
    // SAFETY: it may be called at any time; the text belongs to this thread until the next call.
    let text = unsafe { libc::dlerror() };
    if text.is_null() {
        return "the library could not be loaded".to_owned();
    }
    // SAFETY: what it returns is a terminated text.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_found_or_named() {
        let libc = Library::open(c"libc.so.6").unwrap();
        // SAFETY: as <stdlib.h> declares it.
        let abs: unsafe extern "C" fn(i32) -> i32 = unsafe { libc.function(c"abs") }.unwrap();
        // SAFETY: it takes any number but the smallest.
        assert_eq!(unsafe { abs(-3) }, 3);
        // SAFETY: there is no such function to call.
        let missing = unsafe { libc.function::<unsafe extern "C" fn()>(c"no_such_function") };
        assert!(missing.unwrap_err().contains("no_such_function"));
        assert!(Library::find(c"libno-such-library.so.1").unwrap_err().contains("libno-such-library.so.1"));
        Library::find(c"libc.so.6").unwrap();
    }
}
