//! Pluggable Authentication Modules (Linux-PAM): whether a user is let in by a service file in /etc/pam.d.
//!
//! The modules may block for as long as they like, and may ask the user for a password. They run on the caller's thread.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;

use zeroize::Zeroizing;

use super::library::Library;

/// The library's file.
pub const LIBRARY: &CStr = c"libpam.so.0";

const PAM_SUCCESS: c_int = 0;
const PAM_CONV_ERR: c_int = 19;
const PAM_BUF_ERR: c_int = 5;
const PAM_USER: c_int = 2;
const PAM_RHOST: c_int = 4;
const PAM_PROMPT_ECHO_OFF: c_int = 1;
const PAM_ERROR_MSG: c_int = 3;
const PAM_TEXT_INFO: c_int = 4;
const PAM_MAX_NUM_MSG: c_int = 32;

#[repr(C)]
struct Message {
    style: c_int,
    text: *const c_char,
}

#[repr(C)]
struct Response {
    text: *mut c_char,
    unused: c_int,
}

type Converse = unsafe extern "C" fn(c_int, *mut *const Message, *mut *mut Response, *mut c_void) -> c_int;

#[repr(C)]
struct Conversation {
    converse: Converse,
    data: *mut c_void,
}

type Handle = *mut c_void;
type Start = unsafe extern "C" fn(*const c_char, *const c_char, *const Conversation, *mut Handle) -> c_int;
type SetItem = unsafe extern "C" fn(Handle, c_int, *const c_void) -> c_int;
type Step = unsafe extern "C" fn(Handle, c_int) -> c_int;
type ErrorText = unsafe extern "C" fn(Handle, c_int) -> *const c_char;

/// Who asks to be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The service file's name.
    pub service: CString,
    /// The user.
    pub user: CString,
    /// The host that the user comes from, if from another one.
    pub remote_host: Option<CString>,
}

/// What a conversation has: the password once it was asked for, and what to say if the modules asked for something else.
struct Asking<'a> {
    ask: &'a mut dyn FnMut() -> Option<Zeroizing<CString>>,
    password: Option<Zeroizing<CString>>,
    gone: bool,
    refused: Option<String>,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Let in.
    Accepted,
    /// Refused; for the log.
    Refused(String),
    /// The client went when it was asked for its password.
    Gone,
}

/// Runs the service's `auth` and `account` modules. `ask` gets the password from the client, when a module wants it; `None`:
/// there is no client any more.
pub fn authenticate(request: &Request, ask: &mut dyn FnMut() -> Option<Zeroizing<CString>>) -> Result<Verdict, String> {
    let library = Library::open(LIBRARY)?;
    // SAFETY: the types are those of <security/pam_appl.h>.
    let start: Start = unsafe { library.function(c"pam_start") }?;
    // SAFETY: as above.
    let set_item: SetItem = unsafe { library.function(c"pam_set_item") }?;
    // SAFETY: as above.
    let check: Step = unsafe { library.function(c"pam_authenticate") }?;
    // SAFETY: as above.
    let account: Step = unsafe { library.function(c"pam_acct_mgmt") }?;
    // SAFETY: as above.
    let end: Step = unsafe { library.function(c"pam_end") }?;
    // SAFETY: as above.
    let error_text: ErrorText = unsafe { library.function(c"pam_strerror") }?;

    let mut asking = Asking { ask, password: None, gone: false, refused: None };
    let conversation = Conversation { converse, data: (&raw mut asking).cast() };
    let mut handle: Handle = ptr::null_mut();
    // SAFETY: all texts are terminated and outlive the call; the conversation and what it points to outlive `pam_end`.
    let mut status =
        unsafe { start(request.service.as_ptr(), request.user.as_ptr(), &raw const conversation, &raw mut handle) };
    if status != PAM_SUCCESS {
        return Ok(Verdict::Refused(format!("could not create PAM authenticator: error {status}")));
    }
    let mut step = "pam_set_item";
    let items = [(PAM_USER, Some(&request.user)), (PAM_RHOST, request.remote_host.as_ref())];
    for (item, text) in items {
        if let Some(text) = text
            && status == PAM_SUCCESS
        {
            // SAFETY: the handle was made above; both items are terminated texts, which PAM copies.
            status = unsafe { set_item(handle, item, text.as_ptr().cast()) };
        }
    }
    for (name, run) in [("pam_authenticate", check), ("pam_acct_mgmt", account)] {
        if status == PAM_SUCCESS {
            step = name;
            // SAFETY: the handle was made above, and its conversation is there.
            status = unsafe { run(handle, 0) };
        }
    }
    let reason = if status == PAM_SUCCESS {
        String::new()
    } else {
        // SAFETY: the handle was made above.
        let text = unsafe { error_text(handle, status) };
        let text = if text.is_null() {
            format!("error {status}")
        } else {
            // SAFETY: what it returns is a terminated text.
            unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
        };
        format!("{step} failed: {text}")
    };
    // SAFETY: the handle was made above, and is not used afterwards.
    unsafe { end(handle, status) };
    Ok(match (status, asking.gone, asking.refused) {
        (PAM_SUCCESS, ..) => Verdict::Accepted,
        (_, true, _) => Verdict::Gone,
        (_, _, Some(refused)) => Verdict::Refused(format!("{refused}; {reason}")),
        (..) => Verdict::Refused(reason),
    })
}

/// Answers what the modules say and ask, as PostgreSQL does: a password is asked of the client once, what is only told is
/// taken note of, and anything else ends the conversation.
///
/// # Safety
///
/// Called by PAM only, with `data` pointing to an [`Asking`] that nothing else uses meanwhile.
unsafe extern "C" fn converse(
    count: c_int,
    messages: *mut *const Message,
    responses: *mut *mut Response,
    data: *mut c_void,
) -> c_int {
    if !(1..=PAM_MAX_NUM_MSG).contains(&count) || messages.is_null() || responses.is_null() {
        return PAM_CONV_ERR;
    }
    let count = count.unsigned_abs() as usize;
    // SAFETY: `data` is what was given to pam_start.
    let asking = unsafe { &mut *data.cast::<Asking<'_>>() };
    // SAFETY: PAM gives as many pointers to messages as it says.
    let messages = unsafe { std::slice::from_raw_parts(messages, count) };
    let mut answers: Vec<*mut c_char> = Vec::with_capacity(count);
    let mut answer = |message: *const Message| {
        // SAFETY: each points to a message that PAM has made.
        let Message { style, text } = unsafe { message.read() };
        match style {
            PAM_PROMPT_ECHO_OFF => {
                if asking.password.is_none() {
                    asking.password = (asking.ask)();
                }
                asking.gone = asking.password.is_none();
                asking.password.as_ref().map(|password| copy_of(password))
            }
            PAM_ERROR_MSG | PAM_TEXT_INFO => {
                log::info!("PAM says: {}", shown(text));
                Some(copy_of(c""))
            }
            style => {
                asking.refused = Some(format!("unsupported PAM conversation {style}/\"{}\"", shown(text)));
                None
            }
        }
    };
    let whole = messages.iter().all(|message| {
        answer(*message).is_some_and(|text| {
            answers.push(text);
            !text.is_null()
        })
    });
    // SAFETY: an allocation of zeroed memory for `count` responses, for PAM to free.
    let array = unsafe { libc::calloc(count, size_of::<Response>()) }.cast::<Response>();
    if !whole || array.is_null() {
        for text in answers {
            wipe(text);
            // SAFETY: each was made by strdup (or is null), and nobody else has it.
            unsafe { libc::free(text.cast()) };
        }
        // SAFETY: it is calloc's, or null.
        unsafe { libc::free(array.cast()) };
        return if whole { PAM_BUF_ERR } else { PAM_CONV_ERR };
    }
    for (at, text) in answers.into_iter().enumerate() {
        // SAFETY: `at` is below `count`, for which there is room.
        let place = unsafe { array.add(at) };
        // SAFETY: the place is within the allocation, aligned, and nobody else's.
        unsafe { place.write(Response { text, unused: 0 }) };
    }
    // SAFETY: PAM gives a place for the array.
    unsafe { responses.write(array) };
    PAM_SUCCESS
}

/// Overwrites a copy that is to be freed: it may be the password.
fn wipe(text: *mut c_char) {
    if !text.is_null() {
        // SAFETY: a terminated text of our own.
        let length = unsafe { libc::strlen(text) };
        // SAFETY: it has that many bytes.
        unsafe { libc::explicit_bzero(text.cast(), length) };
    }
}

/// A copy that PAM frees.
fn copy_of(text: &CStr) -> *mut c_char {
    // SAFETY: the text is terminated.
    unsafe { libc::strdup(text.as_ptr()) }
}

fn shown(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: a message's text is terminated.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
