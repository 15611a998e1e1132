//! OpenLDAP's client library: connecting to a directory, binding, searching. Calls block for as long as the server does.

use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;

use super::library::Library;

/// The library's file: OpenLDAP 2.5 and 2.6 have the same interface.
pub const LIBRARIES: [&CStr; 3] = [c"libldap.so.2", c"libldap-2.5.so.0", c"libldap-2.4.so.2"];

const LDAP_SUCCESS: c_int = 0;
const LDAP_OPT_PROTOCOL_VERSION: c_int = 0x11;
const LDAP_OPT_REFERRALS: c_int = 0x08;
const LDAP_OPT_DIAGNOSTIC_MESSAGE: c_int = 0x32;
const LDAP_VERSION3: c_int = 3;
const LDAP_AUTH_SIMPLE: *const c_char = ptr::null();

type Ld = *mut c_void;
type Entries = *mut c_void;

#[repr(C)]
struct BerValue {
    length: libc::c_ulong,
    value: *const c_char,
}

struct Functions {
    initialize: unsafe extern "C" fn(*mut Ld, *const c_char) -> c_int,
    set_option: unsafe extern "C" fn(Ld, c_int, *const c_void) -> c_int,
    get_option: unsafe extern "C" fn(Ld, c_int, *mut c_void) -> c_int,
    start_tls: unsafe extern "C" fn(Ld, *mut c_void, *mut c_void) -> c_int,
    bind: unsafe extern "C" fn(
        Ld,
        *const c_char,
        *const c_char,
        *const BerValue,
        *mut c_void,
        *mut c_void,
        *mut *mut BerValue,
    ) -> c_int,
    search: unsafe extern "C" fn(
        Ld,
        *const c_char,
        c_int,
        *const c_char,
        *const *const c_char,
        c_int,
        *mut c_void,
        *mut c_void,
        *mut c_void,
        c_int,
        *mut Entries,
    ) -> c_int,
    first_entry: unsafe extern "C" fn(Ld, Entries) -> Entries,
    next_entry: unsafe extern "C" fn(Ld, Entries) -> Entries,
    name: unsafe extern "C" fn(Ld, Entries) -> *mut c_char,
    free_text: unsafe extern "C" fn(*mut c_void),
    free_entries: unsafe extern "C" fn(Entries) -> c_int,
    unbind: unsafe extern "C" fn(Ld, *mut c_void, *mut c_void) -> c_int,
    describe: unsafe extern "C" fn(c_int) -> *const c_char,
    domain_of: unsafe extern "C" fn(*const c_char, *mut *mut c_char) -> c_int,
    hosts_of: unsafe extern "C" fn(*const c_char, *mut *mut c_char) -> c_int,
}

/// How far below its base a search looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The base itself.
    Base = 0,
    /// Its children.
    One = 1,
    /// All below it.
    Subtree = 2,
}

/// Whether the library is there, for rules that need it.
pub fn find() -> Result<(), String> {
    let mut result = Ok(());
    for name in LIBRARIES {
        result = Library::find(name);
        if result.is_ok() {
            break;
        }
    }
    result
}

fn load() -> Result<Functions, String> {
    let mut library = Err(String::new());
    for name in LIBRARIES {
        library = Library::open(name);
        if library.is_ok() {
            break;
        }
    }
    let library = library?;
    macro_rules! function {
        ($name:literal) => {
            // SAFETY: the field that it goes to has the type of <ldap.h>.
            unsafe { library.function($name) }?
        };
    }
    Ok(Functions {
        initialize: function!(c"ldap_initialize"),
        set_option: function!(c"ldap_set_option"),
        get_option: function!(c"ldap_get_option"),
        start_tls: function!(c"ldap_start_tls_s"),
        bind: function!(c"ldap_sasl_bind_s"),
        search: function!(c"ldap_search_ext_s"),
        first_entry: function!(c"ldap_first_entry"),
        next_entry: function!(c"ldap_next_entry"),
        name: function!(c"ldap_get_dn"),
        free_text: function!(c"ldap_memfree"),
        free_entries: function!(c"ldap_msgfree"),
        unbind: function!(c"ldap_unbind_ext_s"),
        describe: function!(c"ldap_err2string"),
        domain_of: function!(c"ldap_dn2domain"),
        hosts_of: function!(c"ldap_domain2hostlist"),
    })
}

/// A connection to a directory; ended when dropped.
pub struct Connection {
    functions: Functions,
    ld: Ld,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: the handle is this connection's, and is not used afterwards.
        unsafe { (self.functions.unbind)(self.ld, ptr::null_mut(), ptr::null_mut()) };
    }
}

impl Connection {
    /// Prepares a connection to the first of these servers that can be reached (URIs separated by blanks), encrypted by
    /// StartTLS if so wanted. Without it nothing is sent before the first bind.
    pub fn open(uris: &CStr, start_tls: bool) -> Result<Self, String> {
        let functions = load()?;
        let mut ld: Ld = ptr::null_mut();
        // SAFETY: a place for the handle, and a terminated text.
        let code = unsafe { (functions.initialize)(&raw mut ld, uris.as_ptr()) };
        if code != LDAP_SUCCESS {
            return Err(format!("could not initialize LDAP: {}", described(&functions, code)));
        }
        let connection = Self { functions, ld };
        let version = LDAP_VERSION3;
        // SAFETY: the option takes a pointer to an int.
        let code =
            unsafe { (connection.functions.set_option)(ld, LDAP_OPT_PROTOCOL_VERSION, (&raw const version).cast()) };
        connection.check(code, "could not set LDAP protocol version")?;
        // SAFETY: the option takes LDAP_OPT_OFF, which is a null pointer. A referral would send the password elsewhere.
        let code = unsafe { (connection.functions.set_option)(ld, LDAP_OPT_REFERRALS, ptr::null()) };
        connection.check(code, "could not turn LDAP referrals off")?;
        if start_tls {
            // SAFETY: the handle is this connection's; controls may be null.
            let code = unsafe { (connection.functions.start_tls)(ld, ptr::null_mut(), ptr::null_mut()) };
            connection.check(code, "could not start LDAP TLS session")?;
        }
        Ok(connection)
    }

    /// A simple bind: whether the directory accepts that name with that password.
    pub fn bind(&self, name: &CStr, password: &[u8]) -> Result<(), String> {
        let length = libc::c_ulong::try_from(password.len()).map_err(|error| error.to_string())?;
        let credentials = BerValue { length, value: password.as_ptr().cast() };
        // SAFETY: the handle is this connection's; name and credentials outlive the call; the rest may be null.
        let code = unsafe {
            (self.functions.bind)(
                self.ld,
                name.as_ptr(),
                LDAP_AUTH_SIMPLE,
                &raw const credentials,
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        self.result(code)
    }

    /// The distinguished names of the entries that match, at most two of them: one is what a caller wants.
    pub fn search(&self, base: &CStr, scope: Scope, filter: &CStr) -> Result<Vec<CString>, String> {
        // No attributes: the name is all that is wanted ("1.1", RFC 4511, 4.5.1.8).
        let attributes = [c"1.1".as_ptr(), ptr::null()];
        let mut found: Entries = ptr::null_mut();
        // SAFETY: texts are terminated, the list of attributes ends with null, and the result has a place.
        let code = unsafe {
            (self.functions.search)(
                self.ld,
                base.as_ptr(),
                scope as c_int,
                filter.as_ptr(),
                attributes.as_ptr(),
                0,
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
                0,
                &raw mut found,
            )
        };
        let names = Cell::new(Vec::new());
        if code == LDAP_SUCCESS {
            names.set(self.names(found));
        }
        if !found.is_null() {
            // SAFETY: the entries are the search's, and are not used afterwards.
            unsafe { (self.functions.free_entries)(found) };
        }
        self.result(code).map(|()| names.take())
    }

    fn names(&self, found: Entries) -> Vec<CString> {
        let mut names = Vec::new();
        // SAFETY: handle and entries belong together.
        let mut entry = unsafe { (self.functions.first_entry)(self.ld, found) };
        while !entry.is_null() && names.len() < 2 {
            // SAFETY: the entry is one of the search's.
            let name = unsafe { (self.functions.name)(self.ld, entry) };
            names.extend(taken(&self.functions, name));
            // SAFETY: the entry is one of the search's.
            entry = unsafe { (self.functions.next_entry)(self.ld, entry) };
        }
        names
    }

    fn check(&self, code: c_int, what: &str) -> Result<(), String> {
        self.result(code).map_err(|error| format!("{what}: {error}"))
    }

    /// The library's text for the code, with what the server had to say.
    fn result(&self, code: c_int) -> Result<(), String> {
        if code == LDAP_SUCCESS {
            return Ok(());
        }
        let mut told: *mut c_char = ptr::null_mut();
        // SAFETY: the option gives a text to be freed, or null.
        let known =
            unsafe { (self.functions.get_option)(self.ld, LDAP_OPT_DIAGNOSTIC_MESSAGE, (&raw mut told).cast()) };
        let text = described(&self.functions, code);
        let diagnostics = taken(&self.functions, told).filter(|told| known == LDAP_SUCCESS && !told.is_empty());
        Err(diagnostics.map_or(text.clone(), |told| format!("{text} (LDAP diagnostics: {})", told.to_string_lossy())))
    }
}

/// The servers (`host:port`, separated by blanks) that DNS has (SRV records) for the domain of a name, `dc=example,dc=org`.
pub fn servers_of(name: &CStr) -> Result<String, String> {
    let functions = load()?;
    let mut domain = ptr::null_mut();
    // SAFETY: a terminated text, and a place for one that is to be freed.
    let code = unsafe { (functions.domain_of)(name.as_ptr(), &raw mut domain) };
    let domain = taken(&functions, domain).filter(|domain| code == LDAP_SUCCESS && !domain.is_empty());
    let domain = domain.ok_or("could not extract domain name from ldapbasedn")?;
    let mut hosts = ptr::null_mut();
    // SAFETY: as above.
    let code = unsafe { (functions.hosts_of)(domain.as_ptr(), &raw mut hosts) };
    let hosts = taken(&functions, hosts).filter(|_| code == LDAP_SUCCESS);
    hosts.map(|hosts| hosts.to_string_lossy().into_owned()).ok_or_else(|| {
        format!("LDAP authentication could not find DNS SRV records for \"{}\"", domain.to_string_lossy())
    })
}

/// A copy of a text of the library's, which is freed.
fn taken(functions: &Functions, text: *mut c_char) -> Option<CString> {
    if text.is_null() {
        return None;
    }
    // SAFETY: a terminated text.
    let copy = unsafe { CStr::from_ptr(text) }.to_owned();
    // SAFETY: the text is the library's, and is not used afterwards.
    unsafe { (functions.free_text)(text.cast()) };
    Some(copy)
}

fn described(functions: &Functions, code: c_int) -> String {
    // SAFETY: it takes any code.
    let text = unsafe { (functions.describe)(code) };
    if text.is_null() {
        return format!("error {code}");
    }
    // SAFETY: what it returns is a terminated text that stays.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
