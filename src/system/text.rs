//! The program's text in memory of its own, on huge pages.
//!
//! A process fresh from fork has no page tables for the program's file: it takes a fault for every 64 kB of text that
//! it runs through, a hundred in a short session, and gives them all back at its end. Anonymous memory is copied by
//! fork with its page tables, and a huge page is one entry of them for 2 MB. So the text is copied once, before the
//! first fork, and every child finds it in place.
//!
//! The copy is never writable and executable at once. Where memory that was written may not become executable at all
//! (SELinux's execmem, MemoryDenyWriteExecute), the call for that is refused before the text was touched, and it stays
//! in the file. Processors with separate caches for instructions need nothing more: the kernel brings these up to date
//! as it makes pages executable.
//!
//! The price is that profilers which look a mapping's file up no longer know the addresses.

use std::ffi::c_void;
use std::fs;
use std::io;
use std::ops::Range;

/// What a huge page covers, on every processor that this is worth doing on.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Where the kernel says for whom there are huge pages.
const POLICY: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// Moves as much of the program's text as whole huge pages cover. Returns the number of bytes, 0 where the kernel
/// gives nobody huge pages or the text is too short. To be called while the process has one thread.
pub fn move_to_huge_pages() -> io::Result<usize> {
    if fs::read_to_string(POLICY).map_or(true, |policy| policy.contains("[never]")) {
        return Ok(0);
    }
    let Some(text) =
        whole_huge_pages(&fs::read_to_string("/proc/self/maps")?, move_to_huge_pages as *const () as usize)
    else {
        return Ok(0);
    };
    let bytes = text.len();
    let copy = Copy::new(bytes)?;
    // SAFETY: the source is mapped and readable, as the kernel's list says, and nothing writes to text; the target was
    // mapped for it just now, is as long, and nobody else knows of it.
    unsafe { std::ptr::copy_nonoverlapping(text.start as *const u8, copy.start.cast::<u8>(), bytes) };
    copy.make_executable()?;
    copy.replace(text.start)?;
    Ok(bytes)
}

/// The whole huge pages within the executable mapping that `address` lies in, by /proc/self/maps.
fn whole_huge_pages(maps: &str, address: usize) -> Option<Range<usize>> {
    let mapping = maps.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let range = usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?;
        (words.next()? == "r-xp" && range.contains(&address)).then_some(range)
    })?;
    let start = mapping.start.next_multiple_of(HUGE_PAGE_BYTES);
    let end = mapping.end / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
    (start < end).then_some(start..end)
}

/// Memory for the copy, unmapped unless it takes the text's place.
struct Copy {
    start: *mut c_void,
    bytes: usize,
}

impl Copy {
    /// Writable memory of `bytes`, a multiple of the huge page, aligned to one.
    fn new(bytes: usize) -> io::Result<Copy> {
        let room = bytes + HUGE_PAGE_BYTES;
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping wherever the kernel likes touches nothing that exists.
        let all = unsafe { libc::mmap(std::ptr::null_mut(), room, protection, flags, -1, 0) };
        if all == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let before = (all as usize).next_multiple_of(HUGE_PAGE_BYTES) - all as usize;
        // SAFETY: `before` is less than a huge page, so this is inside the mapping.
        let start = unsafe { all.byte_add(before) };
        unmap(all, before);
        // SAFETY: inside the mapping, or one past its end when nothing is left there.
        unmap(unsafe { start.byte_add(bytes) }, HUGE_PAGE_BYTES - before);
        let copy = Copy { start, bytes };
        // SAFETY: advice about our own mapping.
        check(unsafe { libc::madvise(start, bytes, libc::MADV_HUGEPAGE) })?;
        Ok(copy)
    }

    fn make_executable(&self) -> io::Result<()> {
        // SAFETY: our own mapping; it loses the right to be written as it becomes executable.
        check(unsafe { libc::mprotect(self.start, self.bytes, libc::PROT_READ | libc::PROT_EXEC) })
    }

    /// Takes the place of what is mapped at `target`.
    fn replace(self, target: usize) -> io::Result<()> {
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        let target = target as *mut c_void;
        // SAFETY: the target is text of which this is a copy, so that whoever runs there, this function among them,
        // finds the same bytes before and after; the call is one step for the single thread that there is.
        let moved = unsafe { libc::mremap(self.start, self.bytes, self.bytes, flags, target) };
        if moved == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        std::mem::forget(self);
        Ok(())
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        unmap(self.start, self.bytes);
    }
}

fn unmap(start: *mut c_void, bytes: usize) {
    if bytes > 0 {
        // SAFETY: called for parts of our own mapping that nothing points to.
        unsafe { libc::munmap(start, bytes) };
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_huge_pages_of_the_mapping_are_taken() {
        let maps = "00100000-00400000 r--p 00000000 08:01 1 /bin/p\n00400000-00a01000 r-xp 00000000 08:01 1 /bin/p\n";
        assert_eq!(whole_huge_pages(maps, 0x0050_0000), Some(0x40_0000..0xa0_0000));
        assert_eq!(whole_huge_pages(maps, 0x0020_0000), None, "not executable");
        assert_eq!(whole_huge_pages(maps, 0x0fff_0000), None, "not mapped");
        let short = "00410000-00610000 r-xp 00000000 08:01 1 /bin/p\n";
        assert_eq!(whole_huge_pages(short, 0x0050_0000), None);
    }
}
