//! [`Segment`]: the mapping, and the way to each region. The only file that turns offsets into addresses.
//!
//! A mapping is kept for the life of the process and never unmapped, so a handle is `Copy` and everything reached
//! through it is `&'static`. References are made to atomics only; the WAL-index pages, which SQLite writes, are
//! handed out as addresses.

use std::alloc;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

use memmap2::{MmapOptions, MmapRaw};
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::bitmap::Bitmap;
use crate::cancel::CancelKey;
use crate::database::{Database, DatabaseIndex, DatabaseRegion};
use crate::error::Error;
use crate::hosts::Hosts;
use crate::layout::{
    CANARY_BYTES, Geometry, Header, LAYOUT_VERSION, Layout, MAGIC, PAGE_BYTES, SETS_PER_DATABASE, canary_word,
};
use crate::pool::Pool;
use crate::slot::{Generation, Interrupt, Slot, SlotIndex, SlotKind, SlotState};
use crate::statistics::Statistics;
use crate::tickets::TicketKeys;
use crate::upstream::{OrderWords, Place, PoolWords, UPSTREAM_ORDERS, UPSTREAM_PLACES, UPSTREAM_POOLS};
use crate::walindex::WAL_INDEX_PAGE_BYTES;

/// A handle on the segment.
#[derive(Clone, Copy)]
pub struct Segment {
    mapping: &'static Mapping,
}

struct Mapping {
    base: NonNull<u8>,
    layout: Layout,
    /// The descriptor to hand on over exec; none on the heap.
    descriptor: Option<OwnedFd>,
}

// SAFETY: the address is of memory that is never unmapped and that is accessed through atomics only (except for
// WAL-index pages, which callers reach through raw pointers under their own rules).
unsafe impl Send for Mapping {}
// SAFETY: as for Send.
unsafe impl Sync for Mapping {}

impl Segment {
    /// Creates a segment in a new memfd, mapped shared. The descriptor is close-on-exec.
    pub fn create(geometry: &Geometry) -> Result<Segment, Error> {
        let layout = Layout::new(geometry)?;
        let descriptor = memfd_create(c"pgprefork", MFdFlags::MFD_CLOEXEC)
            .map_err(|errno| Error::System("memfd_create", errno.into()))?;
        let length = libc::off_t::try_from(layout.total_bytes()).map_err(|_| Error::Geometry("too large"))?;
        nix::unistd::ftruncate(&descriptor, length).map_err(|errno| Error::System("ftruncate", errno.into()))?;
        let segment = Segment::map(descriptor, layout)?;
        segment.write_header();
        Ok(segment)
    }

    /// Maps a segment that an earlier image of this program created and passed on.
    pub fn attach(descriptor: OwnedFd) -> Result<Segment, Error> {
        let status = nix::sys::stat::fstat(&descriptor).map_err(|errno| Error::System("fstat", errno.into()))?;
        let length = usize::try_from(status.st_size).unwrap_or(0);
        if length < size_of::<Header>() {
            return Err(Error::Foreign("it is too short"));
        }
        let geometry = geometry_of(&descriptor)?;
        let layout = Layout::new(&geometry).map_err(|_| Error::Foreign("its sizes are impossible"))?;
        if layout.total_bytes() != length {
            return Err(Error::Foreign("its length does not fit its sizes"));
        }
        let segment = Segment::map(descriptor, layout)?;
        segment.verify_canaries()?;
        Ok(segment)
    }

    /// The segment of a running postmaster, seen from outside through the kernel's list of its descriptors. None
    /// where there is none, or for somebody who may not look.
    pub fn of_process(pid: i32) -> Option<Segment> {
        let mut descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
        let descriptor = descriptors.find(|entry| {
            std::fs::read_link(entry.path())
                .is_ok_and(|target| target.to_string_lossy().starts_with("/memfd:pgprefork"))
        })?;
        let file = std::fs::OpenOptions::new().read(true).write(true).open(descriptor.path()).ok()?;
        Segment::attach(file.into()).ok()
    }

    /// A segment in private memory, for tests and for programs of one process. It is never freed.
    pub fn on_heap(geometry: &Geometry) -> Result<Segment, Error> {
        let layout = Layout::new(geometry)?;
        let area = alloc::Layout::from_size_align(layout.total_bytes(), 4096)
            .map_err(|_| Error::Geometry("too large for the heap"))?;
        // SAFETY: the size is not zero, the header alone takes a page.
        let base = unsafe { alloc::alloc_zeroed(area) };
        let base = NonNull::new(base).ok_or(Error::System("allocate", io::ErrorKind::OutOfMemory.into()))?;
        let segment = Segment { mapping: Box::leak(Box::new(Mapping { base, layout, descriptor: None })) };
        segment.write_header();
        Ok(segment)
    }

    fn map(descriptor: OwnedFd, layout: Layout) -> Result<Segment, Error> {
        let area: MmapRaw = MmapOptions::new()
            .len(layout.total_bytes())
            .map_raw(&descriptor)
            .map_err(|error| Error::System("mmap", error))?;
        let base = NonNull::new(area.as_mut_ptr()).ok_or(Error::Foreign("mapped at address zero"))?;
        // Never unmapped: handles are `Copy` and outlive every scope.
        std::mem::forget(area);
        Ok(Segment { mapping: Box::leak(Box::new(Mapping { base, layout, descriptor: Some(descriptor) })) })
    }

    fn write_header(&self) {
        let header = self.header();
        let geometry = self.mapping.layout.geometry;
        header.layout_version.store(LAYOUT_VERSION, Relaxed);
        header.slots.store(geometry.slots, Relaxed);
        header.databases.store(geometry.databases, Relaxed);
        header.wal_index_bytes.store(geometry.wal_index_bytes as u64, Relaxed);
        header.total_bytes.store(self.mapping.layout.total_bytes() as u64, Relaxed);
        for region in self.mapping.layout.regions() {
            for offset in canary_offsets(region.offset) {
                self.word(offset).store(canary_word(offset), Relaxed);
            }
        }
        header.magic.store(MAGIC, SeqCst);
    }

    /// Makes everything zero again, as after [`Segment::create`]. For the postmaster alone, after every child died:
    /// the restart that follows a memory fault.
    pub fn reinitialize(&self) -> Result<(), Error> {
        // A process that was forked and has not moved in must not take a later claim of its slot for its own.
        let generations: Vec<Generation> = self.slots().map(|(_, slot)| slot.generation()).collect();
        self.zero(0, self.mapping.layout.total_bytes())?;
        self.write_header();
        self.slots().zip(generations).for_each(|((_, slot), generation)| slot.set_generation(generation));
        Ok(())
    }

    /// Whether nothing has written across a region's border.
    pub fn verify_canaries(&self) -> Result<(), Error> {
        for region in self.mapping.layout.regions() {
            for offset in canary_offsets(region.offset) {
                if self.word(offset).load(Relaxed) != canary_word(offset) {
                    return Err(Error::Canary(region.name));
                }
            }
        }
        Ok(())
    }

    /// The descriptor, to be passed to [`Segment::attach`] in a new program image; none on the heap.
    pub fn fd(&self) -> Option<BorrowedFd<'static>> {
        use std::os::fd::AsFd;
        self.mapping.descriptor.as_ref().map(AsFd::as_fd)
    }

    /// The sizes it was created with.
    pub fn geometry(&self) -> Geometry {
        self.mapping.layout.geometry
    }

    /// The pool's gauges, counters and words.
    pub fn pool(&self) -> &'static Pool {
        self.at(self.mapping.layout.pool.offset, 0)
    }

    /// Counters and histograms.
    pub fn statistics(&self) -> &'static Statistics {
        self.at(self.mapping.layout.statistics.offset, 0)
    }

    /// The keys of TLS session tickets.
    pub fn ticket_keys(&self) -> &'static TicketKeys {
        self.at(self.mapping.layout.tickets.offset, 0)
    }

    /// Keeps the ticket keys out of core dumps, of this process and of those forked from it. Their page becomes a
    /// mapping of its own, which each fork copies: to be called only where there is TLS.
    pub fn hide_ticket_keys(&self) -> Result<(), Error> {
        if self.mapping.descriptor.is_none() {
            return Ok(());
        }
        let page: NonNull<u8> = self.address(self.mapping.layout.tickets.offset);
        // SAFETY: a whole page of the mapping; the advice changes what is dumped and nothing else.
        let result = unsafe { libc::madvise(page.as_ptr().cast(), PAGE_BYTES, libc::MADV_DONTDUMP) };
        if result == 0 { Ok(()) } else { Err(Error::System("madvise", io::Error::last_os_error())) }
    }

    /// A slot. An index out of range is a fault of ours: it panics.
    pub fn slot(&self, index: SlotIndex) -> &'static Slot {
        assert!(index.0 < self.geometry().slots, "no slot {}", index.0);
        self.at(self.mapping.layout.slots.offset, index.0 as usize)
    }

    /// All slots with their indexes.
    pub fn slots(&self) -> impl Iterator<Item = (SlotIndex, &'static Slot)> + use<> {
        let segment = *self;
        (0..self.geometry().slots).map(move |index| (SlotIndex(index), segment.slot(SlotIndex(index))))
    }

    pub(crate) fn cancel_key(&self, index: SlotIndex) -> &'static CancelKey {
        assert!(index.0 < self.geometry().slots, "no slot {}", index.0);
        self.at(self.mapping.layout.keys.offset, index.0 as usize)
    }

    pub(crate) fn upstream_place(&self, index: u32) -> &'static Place {
        assert!(index < UPSTREAM_PLACES, "no upstream place {index}");
        self.at(self.mapping.layout.upstream_places.offset, index as usize)
    }

    pub(crate) fn upstream_pool_words(&self, index: u32) -> &'static PoolWords {
        assert!(index < UPSTREAM_POOLS, "no upstream pool {index}");
        self.at(self.mapping.layout.upstream_pools.offset, index as usize)
    }

    pub(crate) fn upstream_order_words(&self, index: u32) -> &'static OrderWords {
        assert!(index < UPSTREAM_ORDERS, "no upstream orders {index}");
        self.at(self.mapping.layout.upstream_orders.offset, index as usize)
    }

    pub(crate) fn upstream_waiter(&self, index: SlotIndex) -> &'static AtomicU64 {
        assert!(index.0 < self.geometry().slots, "no slot {}", index.0);
        self.at(self.mapping.layout.upstream_waiters.offset, index.0 as usize)
    }

    pub(crate) fn upstream_hosts(&self) -> &'static Hosts {
        self.at(self.mapping.layout.upstream_hosts.offset, 0)
    }

    pub(crate) fn upstream_waiters(&self) -> impl Iterator<Item = &'static AtomicU64> + use<> {
        let segment = *self;
        (0..self.geometry().slots).map(move |index| segment.upstream_waiter(SlotIndex(index)))
    }

    /// A database's region by its index.
    pub fn database(&self, index: DatabaseIndex) -> Database {
        assert!(index.0 < self.geometry().databases, "no database region {}", index.0);
        Database::new(*self, index)
    }

    /// The region of the database `oid`, taking a free one on first use; `None` when all are taken.
    pub fn open_database(&self, oid: u32) -> Option<Database> {
        crate::database::open(*self, oid)
    }

    /// The regions in use.
    pub fn databases(&self) -> impl Iterator<Item = Database> + use<> {
        let segment = *self;
        (0..self.geometry().databases)
            .map(move |index| segment.database(DatabaseIndex(index)))
            .filter(|database| database.oid() != 0)
    }

    pub(crate) fn database_region(&self, index: DatabaseIndex) -> &'static DatabaseRegion {
        self.at(self.mapping.layout.databases.offset, index.0 as usize)
    }

    pub(crate) fn set(&self, database: DatabaseIndex, set: usize) -> Bitmap<'static> {
        assert!(database.0 < self.geometry().databases && set < SETS_PER_DATABASE);
        let words = self.mapping.layout.set_words;
        let first = (database.0 as usize * SETS_PER_DATABASE + set) * words;
        let start: NonNull<AtomicU64> = self.address(self.mapping.layout.sets.offset + first * 8);
        // SAFETY: the layout gives each set `words` aligned words inside the mapping, which lives for ever; they are
        // atomics.
        Bitmap(unsafe { std::slice::from_raw_parts(start.as_ptr(), words) })
    }

    pub(crate) fn wal_index_page(&self, database: DatabaseIndex, page: usize) -> Option<NonNull<u8>> {
        let offset = page.checked_mul(WAL_INDEX_PAGE_BYTES)?;
        if offset >= self.geometry().wal_index_bytes {
            return None;
        }
        Some(self.address(self.wal_index_offset(database) + offset))
    }

    pub(crate) fn zero_wal_index(&self, database: DatabaseIndex) -> Result<(), Error> {
        self.zero(self.wal_index_offset(database), self.geometry().wal_index_bytes)
    }

    fn wal_index_offset(&self, database: DatabaseIndex) -> usize {
        self.mapping.layout.wal_index.offset + database.0 as usize * self.geometry().wal_index_bytes
    }

    /// Zeroes a range of whole pages, giving its memory back.
    fn zero(&self, offset: usize, bytes: usize) -> Result<(), Error> {
        let Some(descriptor) = &self.mapping.descriptor else {
            for offset in (offset..offset + bytes).step_by(8) {
                self.word(offset).store(0, Relaxed);
            }
            return Ok(());
        };
        let (Ok(offset), Ok(bytes)) = (libc::off_t::try_from(offset), libc::off_t::try_from(bytes)) else {
            return Err(Error::Geometry("too large"));
        };
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        // SAFETY: the descriptor is open and ours; all words of the range may become zero at any time.
        let result = unsafe { libc::fallocate(descriptor.as_raw_fd(), mode, offset, bytes) };
        if result == 0 { Ok(()) } else { Err(Error::System("fallocate", io::Error::last_os_error())) }
    }

    /// Counts the slots by state. This, not the gauges, is what decisions rest on.
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        for (_, slot) in self.slots() {
            census.asked += u32::from(slot.interrupted());
            match (slot.state(), slot.kind()) {
                (SlotState::Free, _) => census.free += 1,
                (_, kind) if kind != SlotKind::Worker => census.others += 1,
                (SlotState::Starting | SlotState::Idle, _) if slot.is_stopped() => census.stopped += 1,
                (SlotState::Starting, _) => census.starting += 1,
                (SlotState::Idle, _) => {
                    census.idle += 1;
                    census.retiring += u32::from(slot.is_raised(Interrupt::Retire));
                }
                (SlotState::Connecting, _) => census.connecting += 1,
                (SlotState::Serving, _) => census.serving += 1,
                (SlotState::Leaving, _) => census.leaving += 1,
            }
        }
        census
    }

    /// Counts the slots and corrects the pool's gauges by the difference. False where there was one: a worker that
    /// moved meanwhile may then be counted wrongly, and somebody has to count again.
    pub fn recount(&self) -> (Census, bool) {
        let census = self.census();
        (census, self.pool().correct(&census))
    }

    fn header(&self) -> &'static Header {
        self.at(0, 0)
    }

    fn word(&self, offset: usize) -> &'static AtomicU64 {
        self.at(offset, 0)
    }

    /// The `index`th `T` of the region at `offset`; both come from the layout, checked by the callers above.
    fn at<T>(&self, offset: usize, index: usize) -> &'static T {
        let address: NonNull<T> = self.address(offset + index * size_of::<T>());
        // SAFETY: inside the mapping (asserted by `address`), aligned by the layout, never unmapped; every `T` used
        // here is made of atomics, for which all bit patterns, zero first, are valid.
        unsafe { address.as_ref() }
    }

    fn address<T>(&self, offset: usize) -> NonNull<T> {
        assert!(offset + size_of::<T>() <= self.mapping.layout.total_bytes());
        debug_assert!(offset.is_multiple_of(align_of::<T>()));
        // SAFETY: the offset lies inside the mapping.
        let address = unsafe { self.mapping.base.add(offset) };
        address.cast()
    }
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segment").field("geometry", &self.geometry()).finish_non_exhaustive()
    }
}

/// Slots by state; all but `free` and `others` count workers only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Census {
    /// Slots that no process has.
    pub free: u32,
    /// Forked, not yet accepting.
    pub starting: u32,
    /// Waiting to accept.
    pub idle: u32,
    /// With a client that is not yet through authentication.
    pub connecting: u32,
    /// With a session.
    pub serving: u32,
    /// About to exit.
    pub leaving: u32,
    /// Starting or waiting to accept, but stopped by a signal: they serve nobody until they go on.
    pub stopped: u32,
    /// Of the idle ones, those that were asked to leave.
    pub retiring: u32,
    /// Doorman, checkpointer and others that are no workers.
    pub others: u32,
    /// Processes of any kind of which something was asked that they have not taken up.
    pub asked: u32,
}

/// Reads the header through the descriptor, so that nothing is mapped by a length that was not checked.
fn geometry_of(descriptor: &OwnedFd) -> Result<Geometry, Error> {
    let mut bytes = [0u8; size_of::<Header>()];
    let count =
        nix::sys::uio::pread(descriptor, &mut bytes, 0).map_err(|errno| Error::System("pread", errno.into()))?;
    if count != bytes.len() {
        return Err(Error::Foreign("it is too short"));
    }
    let u32_at = |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let u64_at = |at: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[at..at + 8]);
        u64::from_ne_bytes(word)
    };
    if u64_at(std::mem::offset_of!(Header, magic)) != MAGIC {
        return Err(Error::Foreign("its first bytes are different"));
    }
    if u32_at(std::mem::offset_of!(Header, layout_version)) != LAYOUT_VERSION {
        return Err(Error::Foreign("it has another layout version"));
    }
    let wal_index_bytes = u64_at(std::mem::offset_of!(Header, wal_index_bytes));
    Ok(Geometry {
        slots: u32_at(std::mem::offset_of!(Header, slots)),
        databases: u32_at(std::mem::offset_of!(Header, databases)),
        wal_index_bytes: usize::try_from(wal_index_bytes).map_err(|_| Error::Foreign("its sizes are impossible"))?,
    })
}

fn canary_offsets(region: usize) -> impl Iterator<Item = usize> {
    (region - CANARY_BYTES..region).step_by(8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    const SMALL: Geometry = Geometry { slots: 3, databases: 2, wal_index_bytes: 2 * WAL_INDEX_PAGE_BYTES };

    #[test]
    fn everything_starts_at_zero_and_apart() {
        let segment = Segment::create(&SMALL).unwrap();
        segment.verify_canaries().unwrap();
        assert_eq!(segment.census(), Census { free: 3, ..Census::default() });
        assert_eq!(segment.databases().count(), 0);
        let database = segment.open_database(5).unwrap();
        let first = database.wal_index_page(0).unwrap();
        let second = database.wal_index_page(1).unwrap();
        assert_eq!(second.as_ptr() as usize - first.as_ptr() as usize, WAL_INDEX_PAGE_BYTES);
        assert!(database.wal_index_page(2).is_none());
        assert!(database.wal_index_page(usize::MAX).is_none());
    }

    #[test]
    fn attaching_sees_what_the_creator_wrote() {
        let segment = Segment::create(&SMALL).unwrap();
        segment.pool().set_configuration_generation(7);
        let copy = segment.fd().unwrap().try_clone_to_owned().unwrap();
        let attached = Segment::attach(copy).unwrap();
        assert_eq!(attached.geometry(), SMALL);
        assert_eq!(attached.pool().configuration_generation(), 7);
        attached.pool().set_configuration_generation(8);
        assert_eq!(segment.pool().configuration_generation(), 8);
    }

    #[test]
    fn strangers_are_refused() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(matches!(Segment::attach(file.into()), Err(Error::Foreign(_))));
        for spoil in [0, 8, 12, 16, 24] {
            let segment = Segment::create(&SMALL).unwrap();
            segment.word(spoil & !7).fetch_xor(0x0101 << (spoil % 8 * 8), Relaxed);
            let copy = segment.fd().unwrap().as_fd().try_clone_to_owned().unwrap();
            assert!(matches!(Segment::attach(copy), Err(Error::Foreign(_))), "byte {spoil}");
        }
    }

    #[test]
    fn an_overwritten_canary_is_named() {
        let segment = Segment::on_heap(&SMALL).unwrap();
        let offset = segment.mapping.layout.keys.offset - 8;
        segment.word(offset).store(0, Relaxed);
        assert!(matches!(segment.verify_canaries(), Err(Error::Canary("cancel keys"))));
    }

    #[test]
    fn a_wal_index_is_zeroed_alone() {
        for segment in [Segment::create(&SMALL).unwrap(), Segment::on_heap(&SMALL).unwrap()] {
            let (a, b) = (segment.open_database(1).unwrap(), segment.open_database(2).unwrap());
            let word = |database: &Database| {
                let page = database.wal_index_page(1).unwrap().cast::<AtomicU64>();
                // SAFETY: a page is aligned, mapped for ever, and only this test uses it.
                unsafe { page.as_ref() }
            };
            word(&a).store(1, Relaxed);
            word(&b).store(2, Relaxed);
            a.zero_wal_index().unwrap();
            assert_eq!((word(&a).load(Relaxed), word(&b).load(Relaxed)), (0, 2));
            segment.verify_canaries().unwrap();
            segment.reinitialize().unwrap();
            assert_eq!(word(&b).load(Relaxed), 0);
            segment.verify_canaries().unwrap();
            assert_eq!(segment.databases().count(), 0);
        }
    }

    #[test]
    fn nobody_of_before_moves_into_a_segment_made_anew() {
        for segment in [Segment::create(&SMALL).unwrap(), Segment::on_heap(&SMALL).unwrap()] {
            let late = segment.claim_slot(SlotKind::Worker).unwrap();
            assert_eq!(segment.slot(late.slot).take_back(late.generation), None);
            segment.reinitialize().unwrap();
            let next = segment.claim_slot(SlotKind::Worker).unwrap();
            assert_eq!(next.slot, late.slot);
            assert!(!segment.slot(late.slot).move_in(late.generation, 77));
            assert!(segment.slot(next.slot).move_in(next.generation, 78));
        }
    }
}
