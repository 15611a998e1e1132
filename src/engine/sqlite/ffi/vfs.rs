//! The VFS shim: SQLite's files as they are, its WAL-index and its locks in the segment.
//!
//! Owns the callbacks that SQLite makes into the operating system for a database file and its WAL. Data passes
//! through to SQLite's own "unix-none" VFS. There is no `-shm` file and no fcntl lock: pages of the WAL-index
//! and their locks come from the [`Attachment`] that the process registered for the path. Temporary files go
//! to the base VFS directly. A database that was not registered cannot be opened through this VFS.
//!
//! It must not decide about locks (that is `attachment`), and it must not wait: a lock that is taken is
//! SQLITE_BUSY at once.
//!
//! Interfaces: <https://www.sqlite.org/c3ref/vfs.html>, <https://www.sqlite.org/c3ref/io_methods.html>; which
//! lock byte means what: <https://www.sqlite.org/walformat.html#wal_locks>.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::size_of;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use nix::errno::Errno;
use rusqlite::ffi::{
    SQLITE_BUSY, SQLITE_CANTOPEN, SQLITE_FCNTL_HAS_MOVED, SQLITE_FULL, SQLITE_IOERR, SQLITE_IOERR_FSYNC,
    SQLITE_LOCK_EXCLUSIVE, SQLITE_MISUSE, SQLITE_OK, SQLITE_OPEN_MAIN_DB, SQLITE_OPEN_WAL, SQLITE_SHM_EXCLUSIVE,
    SQLITE_SHM_UNLOCK, SQLITE_SYNC_DATAONLY, SQLITE_SYNC_NORMAL, sqlite3_file, sqlite3_filename, sqlite3_int64,
    sqlite3_io_methods, sqlite3_vfs, sqlite3_vfs_find, sqlite3_vfs_register,
};

use crate::engine::sqlite::attachment::{Attachment, LockMode, WRITE_LOCK};
use crate::engine::sqlite::ffi::gather::{Gather, Taken};
use crate::engine::sqlite::trace;
use crate::system::fault;

/// The name under which connections ask for this VFS.
pub const NAME: &CStr = c"pgprefork";

/// SQLite's VFS without file locks; everything but locks and shared memory is left to it.
const BASE_NAME: &CStr = c"unix-none";

/// For a small transaction the WAL grows by this much at a time, in zeros: syncing a file that does not grow costs a
/// quarter. A bulk load is synced once, so zeros would only cost.
const WAL_CHUNK_BYTES: i64 = 1 << 20;

/// The databases that this process may open, by path.
static REGISTRY: Mutex<Vec<Arc<Attachment>>> = Mutex::new(Vec::new());

/// The base VFS, found once. An address, because raw pointers are not `Sync`.
static BASE: OnceLock<Option<usize>> = OnceLock::new();

/// Which of a database's files a [`File`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Database,
    Wal,
}

/// What SQLite allocates for each open file: this, then the base VFS's own structure.
#[repr(C)]
struct File {
    base: sqlite3_file,
    kind: Kind,
    /// From `Arc::into_raw`; given back in `close`.
    attachment: *const Attachment,
    /// Bytes that the file is known to have (the WAL only).
    known_bytes: i64,
    /// Frames that are not in the file yet (the WAL only). Its memory is given back in `close`.
    gather: Gather,
}

const _: () = assert!(size_of::<File>().is_multiple_of(8));

/// Registers the VFS with SQLite, once a process. Returns false when SQLite has no "unix-none" VFS or refuses.
pub fn register() -> bool {
    BASE.get_or_init(|| {
        super::memory::install();
        // SAFETY: the name is a C string, and SQLite initialises itself on this call.
        let base = unsafe { sqlite3_vfs_find(BASE_NAME.as_ptr()) };
        if base.is_null() {
            return None;
        }
        // SAFETY: a registered VFS lives for the rest of the process; a copy of it is plain data.
        let mut shim = unsafe { std::ptr::read(base) };
        shim.szOsFile += c_int::try_from(size_of::<File>()).ok()?;
        shim.pNext = std::ptr::null_mut();
        shim.zName = NAME.as_ptr();
        shim.xOpen = Some(open);
        shim.xDelete = Some(delete);
        shim.xAccess = Some(access);
        shim.xFullPathname = Some(full_pathname);
        let shim = Box::into_raw(Box::new(shim));
        // SAFETY: `shim` is never freed, as registration demands.
        let result = unsafe { sqlite3_vfs_register(shim, 0) };
        (result == SQLITE_OK).then_some(base as usize)
    })
    .is_some()
}

/// Lets this process open the attachment's database. A second attachment for the same path is refused.
pub fn attach(attachment: Arc<Attachment>) -> bool {
    let mut registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
    if registry.iter().any(|known| known.path() == attachment.path()) {
        return false;
    }
    registry.push(attachment);
    true
}

/// Takes back what [`attach`] allowed; open files keep their attachment.
pub fn detach(attachment: &Attachment) {
    let mut registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
    registry.retain(|known| !std::ptr::eq(known.as_ref(), attachment));
}

/// Has SQLite draw a new seed for its random numbers: a forked process would draw those of its parent.
pub fn reseed() {
    // SAFETY: no buffer and a length of 0 is the documented way to reset the generator.
    unsafe { rusqlite::ffi::sqlite3_randomness(0, std::ptr::null_mut()) };
}

/// Syncs the WAL with fdatasync, from whatever process: the leader of a group commit calls it. False on error.
pub fn sync_wal(attachment: &Attachment) -> bool {
    let file = attachment.wal_file() as *mut sqlite3_file;
    if file.is_null() {
        return false;
    }
    // SAFETY: the address was stored by `open` and is cleared by `close`; connections and syncs of a process are
    // on one thread, so it is open for as long as this call lasts.
    unsafe { sync(file, SQLITE_SYNC_NORMAL | SQLITE_SYNC_DATAONLY) == SQLITE_OK }
}

/// What kind of file the path names, with its attachment, if this process may open it.
fn find(name: *const c_char) -> Option<(Arc<Attachment>, Suffix)> {
    if name.is_null() {
        return None;
    }
    // SAFETY: SQLite passes file names as C strings.
    let name = unsafe { CStr::from_ptr(name) }.to_bytes();
    let registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
    registry.iter().find_map(|known| {
        let suffix = match name.strip_prefix(known.path().as_bytes())? {
            b"" => Suffix::None,
            b"-wal" => Suffix::Wal,
            b"-journal" => Suffix::Journal,
            _ => return None,
        };
        Some((Arc::clone(known), suffix))
    })
}

/// The end of a database's file name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Suffix {
    None,
    Wal,
    Journal,
}

/// The base VFS.
fn base_vfs() -> *mut sqlite3_vfs {
    BASE.get().copied().flatten().map_or(std::ptr::null_mut(), |address| address as *mut sqlite3_vfs)
}

/// The base VFS's file, which lies behind ours.
fn real(file: *mut sqlite3_file) -> *mut sqlite3_file {
    file.cast::<u8>().wrapping_add(size_of::<File>()).cast()
}

/// Calls a method of the base VFS; `SQLITE_IOERR` if it lacks it.
macro_rules! base {
    ($method:ident $(, $argument:expr)*) => {{
        let vfs = base_vfs();
        // SAFETY: `register` found the VFS before any callback could run, and a registered VFS is never freed.
        match unsafe { (*vfs).$method } {
            // SAFETY: the arguments are those that SQLite passed for the same method.
            Some(method) => unsafe { method(vfs $(, $argument)*) },
            None => SQLITE_IOERR,
        }
    }};
}

/// Calls a method of the base VFS's file; `$missing` if it lacks it.
macro_rules! forward {
    ($file:expr, $missing:expr, $method:ident $(, $argument:expr)*) => {{
        let real = real($file);
        // SAFETY: `open` filled the base file in before SQLite could call a method of ours.
        let methods = unsafe { (*real).pMethods };
        // SAFETY: an open file's methods are a static table of the base VFS.
        match unsafe { (*methods).$method } {
            // SAFETY: the arguments are those that SQLite passed for the same method.
            Some(method) => unsafe { method(real $(, $argument)*) },
            None => $missing,
        }
    }};
}

/// Our part of the file.
///
/// # Safety
/// `file` was opened by this VFS, and no other reference to it is alive.
unsafe fn ours<'a>(file: *mut sqlite3_file) -> &'a mut File {
    // SAFETY: every file with our methods begins with a `File`; SQLite uses a connection's files on one thread.
    unsafe { &mut *file.cast::<File>() }
}

/// The file's attachment.
///
/// # Safety
/// `file` was opened by this VFS.
unsafe fn attachment<'a>(file: *mut sqlite3_file) -> &'a Attachment {
    // SAFETY: as the caller promises.
    let ours = unsafe { ours(file) };
    // SAFETY: the pointer holds a reference count until `close`.
    unsafe { &*ours.attachment }
}

unsafe extern "C" fn open(
    _vfs: *mut sqlite3_vfs,
    name: sqlite3_filename,
    file: *mut sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let kind = match flags {
        flags if flags & SQLITE_OPEN_MAIN_DB != 0 => Kind::Database,
        flags if flags & SQLITE_OPEN_WAL != 0 => Kind::Wal,
        // Temporary files: the base VFS opens them as its own, and its methods serve them.
        _ => return base!(xOpen, name, file, flags, out_flags),
    };
    // SAFETY: SQLite passes a buffer of `szOsFile` bytes; no methods means that `close` need not be called.
    unsafe { (*file).pMethods = std::ptr::null() };
    let Some((attachment, _)) = find(name) else { return SQLITE_CANTOPEN };
    let real = real(file);
    // SAFETY: the base VFS's part lies within the buffer.
    unsafe { (*real).pMethods = std::ptr::null() };
    let result = base!(xOpen, name, real, flags, out_flags);
    // SAFETY: as above.
    let opened = !unsafe { (*real).pMethods }.is_null();
    if result != SQLITE_OK || !opened {
        return if result == SQLITE_OK { SQLITE_CANTOPEN } else { result };
    }
    if kind == Kind::Wal {
        attachment.set_wal_file(file as usize);
    }
    let base = sqlite3_file { pMethods: &METHODS };
    let ours = File { base, kind, attachment: Arc::into_raw(attachment), known_bytes: 0, gather: Gather::default() };
    // SAFETY: the buffer is large and aligned enough for a `File`, and holds nothing yet that wants dropping.
    unsafe { std::ptr::write(file.cast::<File>(), ours) };
    SQLITE_OK
}

unsafe extern "C" fn delete(_vfs: *mut sqlite3_vfs, name: *const c_char, sync_directory: c_int) -> c_int {
    // Nobody but DROP DATABASE removes files, and it does so itself. SQLite would delete a WAL beside an empty
    // database file.
    match find(name) {
        Some(_) => SQLITE_OK,
        None => base!(xDelete, name, sync_directory),
    }
}

unsafe extern "C" fn access(_vfs: *mut sqlite3_vfs, name: *const c_char, flags: c_int, out: *mut c_int) -> c_int {
    // A database is made in WAL mode before it gets its name: there is always a WAL and never a journal.
    let present = match find(name) {
        Some((_, suffix)) => c_int::from(suffix != Suffix::Journal),
        None => return base!(xAccess, name, flags, out),
    };
    // SAFETY: SQLite passes a place for the answer.
    unsafe { *out = present };
    SQLITE_OK
}

unsafe extern "C" fn full_pathname(
    _vfs: *mut sqlite3_vfs,
    name: *const c_char,
    out_bytes: c_int,
    out: *mut c_char,
) -> c_int {
    let Some((attachment, Suffix::None)) = find(name) else { return base!(xFullPathname, name, out_bytes, out) };
    // A registered path is absolute already; the base VFS would look at each of its folders.
    let path = attachment.path();
    if path.len() >= usize::try_from(out_bytes).unwrap_or(0) {
        return SQLITE_CANTOPEN;
    }
    // SAFETY: the buffer has `out_bytes` bytes, more than the path.
    unsafe { std::ptr::copy_nonoverlapping(path.as_ptr().cast(), out, path.len()) };
    // SAFETY: as above; the terminator still fits.
    unsafe { *out.wrapping_add(path.len()) = 0 };
    SQLITE_OK
}

static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    iVersion: 3,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: Some(fetch),
    xUnfetch: Some(unfetch),
};

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    // SAFETY: SQLite calls methods with files of ours only.
    let ours = unsafe { ours(file) };
    // SAFETY: `open` made the pointer with `Arc::into_raw`, and a file is closed once.
    let attachment = unsafe { Arc::from_raw(ours.attachment) };
    if ours.kind == Kind::Wal {
        attachment.set_wal_file(0);
    }
    // SQLite frees the structure without dropping it. Frames in there were never committed.
    drop(std::mem::take(&mut ours.gather));
    forward!(file, SQLITE_OK, xClose)
}

unsafe extern "C" fn read(file: *mut sqlite3_file, buffer: *mut c_void, bytes: c_int, offset: sqlite3_int64) -> c_int {
    // SAFETY: SQLite calls methods with files of ours only.
    if unsafe { ours(file) }.kind == Kind::Wal {
        // SAFETY: as above.
        unsafe { attachment(file) }.note_wal_read(offset);
        // It may want a frame of its own transaction.
        let result = write_gathered(file);
        if result != SQLITE_OK {
            return result;
        }
    }
    forward!(file, SQLITE_IOERR, xRead, buffer, bytes, offset)
}

unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    buffer: *const c_void,
    bytes: c_int,
    offset: sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite passes a buffer of `bytes` bytes.
    let data = unsafe { std::slice::from_raw_parts(buffer.cast::<u8>(), usize::try_from(bytes).unwrap_or(0)) };
    // SAFETY: SQLite calls methods with files of ours only.
    if unsafe { ours(file) }.kind == Kind::Wal {
        // Frames that the WAL-index has no room for must not get into the file: a commit record among them
        // would come back after a crash, although its client was told that it failed.
        // SAFETY: as above.
        if offset + sqlite3_int64::from(bytes) > unsafe { attachment(file) }.wal_bytes_max() {
            return SQLITE_FULL;
        }
        // SAFETY: as above.
        match unsafe { ours(file) }.gather.take(data, offset) {
            Taken::Kept => return SQLITE_OK,
            Taken::Complete => return write_gathered(file),
            Taken::Apart => {
                let result = write_gathered(file);
                if result != SQLITE_OK {
                    return result;
                }
            }
        }
    }
    write_through(file, data, offset)
}

fn write_through(file: *mut sqlite3_file, data: &[u8], offset: i64) -> c_int {
    let bytes = c_int::try_from(data.len()).unwrap_or(c_int::MAX);
    let result = or_full(forward!(file, SQLITE_IOERR, xWrite, data.as_ptr().cast(), bytes, offset));
    if result == SQLITE_OK && trace::enabled() {
        trace::write(&trace_name(file), offset, data);
    }
    result
}

/// Writes the frames that were kept until now, if there are any.
fn write_gathered(file: *mut sqlite3_file) -> c_int {
    // SAFETY: callbacks call this with files of ours only.
    let gather = &mut unsafe { ours(file) }.gather;
    if gather.is_empty() {
        return SQLITE_OK;
    }
    // Until it is put back there is no other way to it.
    let mut gather = std::mem::take(gather);
    if gather.is_transaction() {
        reserve(file, gather.end());
    }
    let (offset, run) = gather.padded();
    let result = write_through(file, run, offset);
    if result != SQLITE_OK {
        // All but the zeros may be in the file, and with it a commit that its client is told has failed. Where this
        // fails too, nothing of the run's beginning can be relied on to be there either.
        let _ = write_through(file, &[0; 24], offset);
    }
    gather.clear();
    // SAFETY: as above.
    unsafe { ours(file) }.gather = gather;
    result
}

/// Appends zeros to the WAL, up to a chunk, if it does not reach to `end`. Only the holder of the writer lock writes
/// to the WAL, so nobody else's frames can be hit. Failure is no error: the write that follows reports it.
fn reserve(file: *mut sqlite3_file, end: i64) {
    static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
    // SAFETY: callbacks call this with files of ours only.
    if end <= unsafe { ours(file) }.known_bytes {
        return;
    }
    let mut size: sqlite3_int64 = 0;
    if forward!(file, SQLITE_IOERR, xFileSize, &mut size) != SQLITE_OK {
        return;
    }
    if end > size {
        let target = (end + WAL_CHUNK_BYTES - 1) / WAL_CHUNK_BYTES * WAL_CHUNK_BYTES;
        while size < target {
            let bytes = (target - size).min(ZEROS.len() as i64);
            if write_through(file, ZEROS.get(..bytes as usize).unwrap_or_default(), size) != SQLITE_OK {
                return;
            }
            size += bytes;
        }
    }
    // SAFETY: as above.
    unsafe { ours(file) }.known_bytes = size;
}

/// SQLite says SQLITE_FULL when a write finds no room on the disk. So does this for a quota, and for calls other than
/// writes; it is to be asked at once, while errno is that of the call.
fn or_full(result: c_int) -> c_int {
    if result & 0xff == SQLITE_IOERR && is_full(Errno::last()) { SQLITE_FULL } else { result }
}

fn is_full(errno: Errno) -> bool {
    matches!(errno, Errno::ENOSPC | Errno::EDQUOT)
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: sqlite3_int64) -> c_int {
    // SAFETY: SQLite calls methods with files of ours only.
    unsafe { ours(file) }.known_bytes = 0;
    let result = or_full(forward!(file, SQLITE_IOERR, xTruncate, size));
    if result == SQLITE_OK && trace::enabled() {
        trace::truncate(&trace_name(file), size);
    }
    result
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    let name = if trace::enabled() { trace_name(file) } else { String::new() };
    if trace::enabled() {
        trace::sync_begin(&name);
    }
    // SAFETY: SQLite calls methods with files of ours only.
    let kind = unsafe { ours(file) }.kind;
    let wanted = fault::failure(if kind == Kind::Wal { "syncing-wal" } else { "syncing-database" });
    let result = match wanted {
        Some(errno) => {
            errno.set();
            SQLITE_IOERR_FSYNC
        }
        // Lengths are synced by fdatasync too; times, which full syncs add, nobody reads.
        None => forward!(file, SQLITE_IOERR_FSYNC, xSync, flags | SQLITE_SYNC_DATAONLY),
    };
    if result == SQLITE_OK {
        if trace::enabled() {
            trace::sync_end(&name);
        }
        return SQLITE_OK;
    }
    let errno = Errno::last();
    if kind == Kind::Database && is_full(errno) {
        // Only checkpoints write to a database file. This one has failed, and the next writes the same pages again
        // from the WAL, which is on disk: nothing rests on what this sync should have covered.
        return SQLITE_FULL;
    }
    // SAFETY: as above.
    unsafe { attachment(file) }.sync_failed(errno as i32);
    result
}

unsafe extern "C" fn file_size(file: *mut sqlite3_file, size: *mut sqlite3_int64) -> c_int {
    forward!(file, SQLITE_IOERR, xFileSize, size)
}

unsafe extern "C" fn lock(_file: *mut sqlite3_file, level: c_int) -> c_int {
    // Nobody is ever the only user of a database: the last one to close would checkpoint and delete the WAL.
    if level == SQLITE_LOCK_EXCLUSIVE { SQLITE_BUSY } else { SQLITE_OK }
}

unsafe extern "C" fn unlock(_file: *mut sqlite3_file, _level: c_int) -> c_int {
    SQLITE_OK
}

unsafe extern "C" fn check_reserved_lock(_file: *mut sqlite3_file, out: *mut c_int) -> c_int {
    // SAFETY: SQLite passes a place for the answer.
    unsafe { *out = 0 };
    SQLITE_OK
}

unsafe extern "C" fn file_control(file: *mut sqlite3_file, operation: c_int, argument: *mut c_void) -> c_int {
    if operation == SQLITE_FCNTL_HAS_MOVED {
        // SAFETY: this operation's argument is a place for an int.
        unsafe { *argument.cast::<c_int>() = 0 };
        return SQLITE_OK;
    }
    forward!(file, SQLITE_IOERR, xFileControl, operation, argument)
}

unsafe extern "C" fn sector_size(file: *mut sqlite3_file) -> c_int {
    forward!(file, 4096, xSectorSize)
}

unsafe extern "C" fn device_characteristics(file: *mut sqlite3_file) -> c_int {
    forward!(file, 0, xDeviceCharacteristics)
}

unsafe extern "C" fn shm_map(
    file: *mut sqlite3_file,
    page: c_int,
    page_bytes: c_int,
    _extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    // SAFETY: SQLite calls methods with files of ours only.
    let attachment = unsafe { attachment(file) };
    // The pages are there from the start, zeroed; to SQLite that is an index which wants recovery.
    let address = match (u32::try_from(page), usize::try_from(page_bytes)) {
        (Ok(page), Ok(bytes)) => attachment.index_page(page, bytes),
        _ => None,
    };
    // SAFETY: SQLite passes a place for the address.
    unsafe { *out = address.unwrap_or(std::ptr::null_mut()).cast() };
    if address.is_some() { SQLITE_OK } else { SQLITE_FULL }
}

unsafe extern "C" fn shm_lock(file: *mut sqlite3_file, offset: c_int, count: c_int, flags: c_int) -> c_int {
    // SAFETY: SQLite calls methods with files of ours only.
    let attachment = unsafe { attachment(file) };
    let (Ok(first), Ok(count)) = (u8::try_from(offset), u8::try_from(count)) else { return SQLITE_MISUSE };
    let mode = if flags & SQLITE_SHM_EXCLUSIVE != 0 { LockMode::Exclusive } else { LockMode::Shared };
    if mode == LockMode::Exclusive && first == WRITE_LOCK {
        forget_gathered(attachment);
    }
    if flags & SQLITE_SHM_UNLOCK != 0 {
        attachment.unlock(first, count, mode);
        return SQLITE_OK;
    }
    if attachment.lock(first, count, mode) { SQLITE_OK } else { SQLITE_BUSY }
}

/// A write transaction begins or is over: what was not written until now was rolled back.
fn forget_gathered(attachment: &Attachment) {
    let wal = attachment.wal_file() as *mut sqlite3_file;
    if !wal.is_null() {
        // SAFETY: the address was stored by `open` and is cleared by `close`; a process's connection and its files
        // are used on one thread.
        unsafe { ours(wal) }.gather.begin();
    }
}

unsafe extern "C" fn shm_barrier(_file: *mut sqlite3_file) {
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
}

unsafe extern "C" fn shm_unmap(_file: *mut sqlite3_file, _delete: c_int) -> c_int {
    SQLITE_OK
}

unsafe extern "C" fn fetch(
    file: *mut sqlite3_file,
    offset: sqlite3_int64,
    bytes: c_int,
    out: *mut *mut c_void,
) -> c_int {
    // SAFETY: SQLite passes a place for the address; none means that it reads instead.
    unsafe { *out = std::ptr::null_mut() };
    forward!(file, SQLITE_OK, xFetch, offset, bytes, out)
}

unsafe extern "C" fn unfetch(file: *mut sqlite3_file, offset: sqlite3_int64, page: *mut c_void) -> c_int {
    forward!(file, SQLITE_OK, xUnfetch, offset, page)
}

/// The name that a file has in a trace: that of the database, with `-wal` behind it for its WAL.
fn trace_name(file: *mut sqlite3_file) -> String {
    // SAFETY: callbacks call this with files of ours only.
    let kind = unsafe { ours(file) }.kind;
    // SAFETY: as above.
    let path = unsafe { attachment(file) }.path();
    let name = path.rsplit('/').next().unwrap_or(path);
    match kind {
        Kind::Database => name.to_owned(),
        Kind::Wal => format!("{name}-wal"),
    }
}
