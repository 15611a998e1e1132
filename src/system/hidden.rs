//! A few secret bytes on a page of their own, which no core file shows and which is overwritten before it is given back.

use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};
use zeroize::Zeroize;

/// Bytes of the mapping; the kernel rounds it up to a page.
const PAGE_BYTES: usize = 4096;

/// `N` secret bytes.
pub struct Hidden<const N: usize>(NonNull<[u8; N]>);

impl<const N: usize> Hidden<N> {
    /// A copy of the bytes. The caller overwrites its own.
    pub fn new(bytes: &[u8; N]) -> io::Result<Self> {
        const { assert!(N > 0 && N <= PAGE_BYTES) };
        let length = NonZeroUsize::new(PAGE_BYTES).ok_or(io::ErrorKind::InvalidInput)?;
        let (access, flags) = (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_PRIVATE);
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory that is in use.
        let page = unsafe { mmap_anonymous(None, length, access, flags) }?;
        let hidden = Self(page.cast());
        // SAFETY: the mapping that was just made; the advice changes what is dumped and nothing else.
        unsafe { madvise(page, PAGE_BYTES, MmapAdvise::MADV_DONTDUMP) }?;
        // SAFETY: the mapping is longer than N bytes, aligned to a page, writable, and nobody else's.
        unsafe { hidden.0.write(*bytes) };
        Ok(hidden)
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8; N] {
        // SAFETY: the mapping is as long as `self` lives, holds N initialised bytes, and is written only by `drop`.
        unsafe { self.0.as_ref() }
    }
}

impl<const N: usize> Drop for Hidden<N> {
    fn drop(&mut self) {
        // SAFETY: as in `bytes`; `&mut self` says that nobody else looks.
        unsafe { self.0.as_mut() }.zeroize();
        // SAFETY: the mapping that `new` has made; nothing refers to it any more.
        let _ = unsafe { munmap(self.0.cast(), PAGE_BYTES) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_on_a_page_that_is_not_dumped() {
        let hidden = Hidden::new(b"secret").unwrap();
        assert_eq!(hidden.bytes(), b"secret");
        let address = hidden.bytes().as_ptr() as usize;
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut is_ours = false;
        let mut flags = None;
        for line in maps.lines() {
            if let Some((from, to)) = line.split(' ').next().and_then(|range| range.split_once('-'))
                && let (Ok(from), Ok(to)) = (usize::from_str_radix(from, 16), usize::from_str_radix(to, 16))
            {
                is_ours = (from..to).contains(&address);
            } else if is_ours && line.starts_with("VmFlags:") {
                flags = Some(line.to_owned());
            }
        }
        let flags = flags.expect("the page's flags");
        assert!(flags.split_whitespace().any(|flag| flag == "dd"), "{flags}");
    }
}
