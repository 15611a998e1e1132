//! The program's text in memory of its own, on huge pages.
//!
//! A process fresh from fork has no page tables for the program's file: it takes a fault for every 64 kB of text that
//! it runs through, a hundred in a short session, and gives them all back at its end. Anonymous memory is copied by
//! fork with its page tables, and a huge page is one entry of them for 2 MB. So the text is copied once, before the
//! first fork, and every child finds it in place. Where the program lies is another place in memory at each start, and
//! text begins and ends within huge pages: the constants before it are copied as well, and its end on ordinary pages, so
//! that no start is slower than another.
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

/// Moves the program's text, but for what lies before its first whole huge page. Returns the number of bytes, 0 where the
/// kernel gives nobody huge pages or the text is too short. To be called while the process has one thread.
pub fn move_to_huge_pages() -> io::Result<usize> {
    if fs::read_to_string(POLICY).map_or(true, |policy| policy.contains("[never]")) {
        return Ok(0);
    }
    let maps = fs::read_to_string("/proc/self/maps")?;
    let Some(Text { constants, huge, rest }) = Text::of(&maps, move_to_huge_pages as *const () as usize) else {
        return Ok(0);
    };
    move_part(constants.start..huge.end, Some(constants))?;
    if !rest.is_empty() {
        move_part(rest.clone(), None)?;
    }
    Ok(huge.len() + rest.len())
}

/// Copies a range and puts the copy in its place, executable but for the `constants` at its start.
fn move_part(range: Range<usize>, constants: Option<Range<usize>>) -> io::Result<()> {
    let copy = Copy::new(range.len())?;
    // SAFETY: the source is mapped and readable, as the kernel's list says, and nothing writes to text and constants; the
    // target was mapped for it just now, is as long, and nobody else knows of it.
    unsafe { std::ptr::copy_nonoverlapping(range.start as *const u8, copy.start.cast::<u8>(), range.len()) };
    copy.make_executable()?;
    copy.replace(range.start)?;
    // Afterwards: what is moved has to be of one kind.
    let constants = constants.map_or(0, |constants| constants.len());
    // SAFETY: the beginning of what was put there just now, which nothing runs in.
    check(unsafe { libc::mprotect(range.start as *mut c_void, constants, libc::PROT_READ) })
}

/// The parts of the program that are moved. Each begins where the one before ends.
#[derive(Debug, PartialEq, Eq)]
struct Text {
    /// Whole huge pages of constants before the one that text begins in; may be empty.
    constants: Range<usize>,
    /// Whole huge pages with text. The first may begin with constants.
    huge: Range<usize>,
    /// What is left of the text: less than a huge page.
    rest: Range<usize>,
}

impl Text {
    /// By /proc/self/maps: the executable mapping that `address` lies in, and the one before it of the same file.
    fn of(maps: &str, address: usize) -> Option<Self> {
        let mut before: Option<(Range<usize>, &str, &str)> = None;
        for line in maps.lines() {
            let mut words = line.split_ascii_whitespace();
            let (start, end) = words.next()?.split_once('-')?;
            let range = usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?;
            let rights = words.next()?;
            let file = words.nth(3).unwrap_or("");
            if rights == "r-xp" && range.contains(&address) {
                let constants = before
                    .filter(|(constants, rights, of)| *rights == "r--p" && *of == file && constants.end == range.start);
                let first = constants.map_or(range.start, |(constants, ..)| constants.start);
                let first = first.next_multiple_of(HUGE_PAGE_BYTES);
                let last = range.end / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
                let text = (range.start / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES).max(first);
                return (text < last).then_some(Self {
                    constants: first..text,
                    huge: text..last,
                    rest: last..range.end,
                });
            }
            before = Some((range, rights, file));
        }
        None
    }
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
    fn text_is_taken_with_the_constants_before_it_and_its_end() {
        let text = |maps: &str, address| Text::of(maps, address);
        let maps = "00100000-00430000 r--p 00000000 08:01 1 /bin/p\n00430000-00a01000 r-xp 00000000 08:01 1 /bin/p\n";
        let taken = Text { constants: 0x20_0000..0x40_0000, huge: 0x40_0000..0xa0_0000, rest: 0xa0_0000..0xa0_1000 };
        assert_eq!(text(maps, 0x0050_0000), Some(taken));
        assert_eq!(text(maps, 0x0020_0000), None, "not executable");
        assert_eq!(text(maps, 0x0fff_0000), None, "not mapped");
        // What lies before is somebody else's.
        let maps = "00100000-00430000 r--p 00000000 08:01 2 /bin/q\n00430000-00a00000 r-xp 00000000 08:01 1 /bin/p\n";
        let taken = Text { constants: 0x60_0000..0x60_0000, huge: 0x60_0000..0xa0_0000, rest: 0xa0_0000..0xa0_0000 };
        assert_eq!(text(maps, 0x0070_0000), Some(taken));
        let short = "00410000-005f0000 r-xp 00000000 08:01 1 /bin/p\n";
        assert_eq!(text(short, 0x0050_0000), None);
    }
}
