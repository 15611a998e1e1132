//! GSSAPI (MIT Kerberos): accepting a client's security context, token by token.

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr;

use super::library::Library;

/// The library's file.
pub const LIBRARY: &CStr = c"libgssapi_krb5.so.2";

const GSS_S_COMPLETE: u32 = 0;
const GSS_S_CONTINUE_NEEDED: u32 = 1;
const GSS_C_GSS_CODE: i32 = 1;
const GSS_C_MECH_CODE: i32 = 2;

#[repr(C)]
struct Buffer {
    length: usize,
    value: *mut c_void,
}

impl Buffer {
    const EMPTY: Self = Self { length: 0, value: ptr::null_mut() };

    fn bytes(&self) -> &[u8] {
        if self.value.is_null() {
            return &[];
        }
        // SAFETY: a buffer that the library has filled has that many bytes, which stay until it is released.
        unsafe { std::slice::from_raw_parts(self.value.cast(), self.length) }
    }
}

type Accept = unsafe extern "C" fn(
    *mut u32,
    *mut *mut c_void,
    *mut c_void,
    *const Buffer,
    *mut c_void,
    *mut *mut c_void,
    *mut *mut c_void,
    *mut Buffer,
    *mut u32,
    *mut u32,
    *mut *mut c_void,
) -> u32;

struct Functions {
    accept: Accept,
    display_name: unsafe extern "C" fn(*mut u32, *mut c_void, *mut Buffer, *mut *mut c_void) -> u32,
    display_status: unsafe extern "C" fn(*mut u32, u32, i32, *mut c_void, *mut u32, *mut Buffer) -> u32,
    release_buffer: unsafe extern "C" fn(*mut u32, *mut Buffer) -> u32,
    release_name: unsafe extern "C" fn(*mut u32, *mut *mut c_void) -> u32,
    delete_context: unsafe extern "C" fn(*mut u32, *mut *mut c_void, *mut Buffer) -> u32,
}

/// A context that is being established; given back when dropped.
pub struct Acceptor {
    functions: Functions,
    context: *mut c_void,
}

/// What a token has led to.
#[derive(Debug, PartialEq, Eq)]
pub enum Accepted {
    /// Another token is needed of the client.
    Continue,
    /// The client is this principal.
    Principal(String),
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        if !self.context.is_null() {
            let mut minor = 0;
            // SAFETY: the context is this acceptor's, and is not used afterwards.
            unsafe { (self.functions.delete_context)(&raw mut minor, &raw mut self.context, ptr::null_mut()) };
        }
    }
}

impl Acceptor {
    /// Begins. `keytab`: the file with the server's keys; `None`: the system's.
    pub fn new(keytab: Option<&str>) -> Result<Self, String> {
        let library = Library::open(LIBRARY)?;
        macro_rules! function {
            ($name:literal) => {
                // SAFETY: what it goes to has the type of <gssapi/gssapi.h>, or of <gssapi/gssapi_krb5.h>.
                unsafe { library.function($name) }?
            };
        }
        if let Some(keytab) = keytab {
            let register: unsafe extern "C" fn(*const c_char) -> u32 =
                function!(c"krb5_gss_register_acceptor_identity");
            let keytab = CString::new(keytab).map_err(|error| error.to_string())?;
            // SAFETY: a terminated text, which the library copies.
            if unsafe { register(keytab.as_ptr()) } != GSS_S_COMPLETE {
                return Err(format!("could not use the keytab {}", keytab.to_string_lossy()));
            }
        }
        let functions = Functions {
            accept: function!(c"gss_accept_sec_context"),
            display_name: function!(c"gss_display_name"),
            display_status: function!(c"gss_display_status"),
            release_buffer: function!(c"gss_release_buffer"),
            release_name: function!(c"gss_release_name"),
            delete_context: function!(c"gss_delete_sec_context"),
        };
        Ok(Self { functions, context: ptr::null_mut() })
    }

    /// Takes the client's token. What is to be sent to it, which may be nothing, and how far it has come.
    pub fn step(&mut self, token: &[u8]) -> Result<(Vec<u8>, Accepted), String> {
        let input = Buffer { length: token.len(), value: token.as_ptr().cast_mut().cast() };
        let (mut output, mut source) = (Buffer::EMPTY, ptr::null_mut());
        let (mut minor, mut flags) = (0, 0);
        // SAFETY: the context is this acceptor's or null at first; the token outlives the call, which only reads it; there is
        // a place for each result; no credentials (the default), bindings, mechanism, time and delegation are asked for.
        let major = unsafe {
            (self.functions.accept)(
                &raw mut minor,
                &raw mut self.context,
                ptr::null_mut(),
                &raw const input,
                ptr::null_mut(),
                &raw mut source,
                ptr::null_mut(),
                &raw mut output,
                &raw mut flags,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        let reply = output.bytes().to_vec();
        self.release(&mut output);
        let result = match major {
            GSS_S_COMPLETE => self.name_of(source).map(|name| (reply, Accepted::Principal(name))),
            GSS_S_CONTINUE_NEEDED => Ok((reply, Accepted::Continue)),
            _ => Err(format!(
                "accepting GSS security context failed: {}: {}",
                self.describe(major, GSS_C_GSS_CODE),
                self.describe(minor, GSS_C_MECH_CODE)
            )),
        };
        if !source.is_null() {
            // SAFETY: the name is the call's above, and is not used afterwards.
            unsafe { (self.functions.release_name)(&raw mut minor, &raw mut source) };
        }
        result
    }

    fn name_of(&self, name: *mut c_void) -> Result<String, String> {
        let (mut minor, mut text) = (0, Buffer::EMPTY);
        // SAFETY: the name is one that the library gave; there is a place for its text.
        let major = unsafe { (self.functions.display_name)(&raw mut minor, name, &raw mut text, ptr::null_mut()) };
        let shown = std::str::from_utf8(text.bytes()).map(str::to_owned);
        self.release(&mut text);
        if major != GSS_S_COMPLETE {
            let (what, why) = (self.describe(major, GSS_C_GSS_CODE), self.describe(minor, GSS_C_MECH_CODE));
            return Err(format!("retrieving GSS user name failed: {what}: {why}"));
        }
        // A name that contains a zero byte could be taken for another one.
        match shown {
            Ok(name) if !name.contains('\0') => Ok(name),
            _ => Err("retrieving GSS user name failed: it is no text".to_owned()),
        }
    }

    fn describe(&self, code: u32, kind: i32) -> String {
        let (mut minor, mut more, mut text) = (0, 0, Buffer::EMPTY);
        // SAFETY: any code may be asked for; there is a place for the text.
        unsafe {
            (self.functions.display_status)(&raw mut minor, code, kind, ptr::null_mut(), &raw mut more, &raw mut text)
        };
        let shown = String::from_utf8_lossy(text.bytes()).into_owned();
        self.release(&mut text);
        shown
    }

    fn release(&self, buffer: &mut Buffer) {
        let mut minor = 0;
        // SAFETY: the buffer is empty or was filled by the library, and is empty afterwards.
        unsafe { (self.functions.release_buffer)(&raw mut minor, buffer) };
    }
}
