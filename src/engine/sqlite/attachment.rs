//! stand-in
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode { Shared, Exclusive }
pub struct Attachment { path: String, wal: AtomicUsize, pages: usize, writer: AtomicBool, begun: AtomicU64, locks: [AtomicU64; 8], undurable: AtomicBool }
impl Attachment {
    pub fn new(path: &str) -> Self { Self { path: path.into(), wal: AtomicUsize::new(0), pages: Box::leak(vec![0u64; 4096*64].into_boxed_slice()).as_mut_ptr() as usize, writer: AtomicBool::new(false), begun: AtomicU64::new(0), locks: Default::default(), undurable: AtomicBool::new(false) } }
    pub fn path(&self) -> &str { &self.path }
    pub fn display_name(&self) -> &str { &self.path }
    pub fn wal_file(&self) -> usize { self.wal.load(SeqCst) }
    pub fn set_wal_file(&self, a: usize) { self.wal.store(a, SeqCst) }
    pub fn index_page(&self, page: u32, _bytes: usize) -> Option<*mut u8> { (page < 64).then(|| (self.pages + page as usize * 32768) as *mut u8) }
    pub fn wal_bytes_max(&self) -> i64 { 64 * 4096 * 4120 }
    pub fn note_wal_read(&self, _offset: i64) { self.undurable.store(true, SeqCst) }
    pub fn note_wal_write(&self, _end: i64) {}
    pub fn sync_failed(&self) {}
    pub fn lock(&self, first: u8, count: u8, mode: LockMode) -> bool {
        for l in first..first+count { let v = self.locks[l as usize].load(SeqCst); if v == u64::MAX || (v > 0 && mode == LockMode::Exclusive) { return false } }
        for l in first..first+count { if mode == LockMode::Exclusive { self.locks[l as usize].store(u64::MAX, SeqCst) } else { self.locks[l as usize].fetch_add(1, SeqCst); } }
        true
    }
    pub fn unlock(&self, first: u8, count: u8, mode: LockMode) {
        for l in first..first+count { if mode == LockMode::Exclusive { self.locks[l as usize].store(0, SeqCst) } else { self.locks[l as usize].fetch_sub(1, SeqCst); } }
    }
    pub fn try_writer(&self) -> bool { !self.writer.swap(true, SeqCst) }
    pub fn release_writer(&self) { self.writer.store(false, SeqCst) }
    pub fn release_stray_locks(&self) {}
    pub fn begin_commit(&self) -> u64 { self.begun.fetch_add(1, SeqCst) + 1 }
    pub fn finish_commit(&self, _p: u64) {}
    pub fn begun(&self) -> u64 { self.begun.load(SeqCst) }
    pub fn is_durable(&self, _p: u64) -> bool { false }
    pub fn take_read_undurable(&self) -> bool { self.undurable.swap(false, SeqCst) }
    pub fn wake_checkpointer_if_due(&self) {}
}
