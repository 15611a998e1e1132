//! Reading the head of a WAL-index, which SQLite writes.
//!
//! Owns the layout of that head, <https://www.sqlite.org/walformat.html#the_wal_index_header>: two copies of a
//! header of 48 bytes, then the checkpoint information. It writes nothing: the index is SQLite's.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

/// Words of the header.
const HEADER_WORDS: usize = 12;
/// The word of the newest valid frame, in the header.
const MAX_FRAME: usize = 4;
/// The two words that change whenever the WAL starts anew.
const SALT: usize = 8;
/// The word of the frames that are in the database file already, behind both headers.
const BACKFILLED: usize = 2 * HEADER_WORDS;

/// The header of a WAL-index: which state of the database a reader that starts now sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header([u32; HEADER_WORDS]);

impl Header {
    /// Reads the header; `None` if it was being written, or was never written.
    pub fn read(page: NonNull<u8>) -> Option<Header> {
        // SQLite's order: writers write the second copy first, readers read the first copy first.
        let first: [u32; HEADER_WORDS] = std::array::from_fn(|word| load(page, word));
        let second: [u32; HEADER_WORDS] = std::array::from_fn(|word| load(page, HEADER_WORDS + word));
        (first == second && first != [0; HEADER_WORDS]).then_some(Header(first))
    }

    /// As 48 bytes.
    pub fn to_bytes(self) -> [u8; HEADER_WORDS * 4] {
        let mut bytes = [0; HEADER_WORDS * 4];
        for (bytes, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(self.0) {
            *bytes = word.to_ne_bytes();
        }
        bytes
    }

    /// From [`Header::to_bytes`].
    pub fn from_bytes(bytes: &[u8; HEADER_WORDS * 4]) -> Header {
        let mut words = [0; HEADER_WORDS];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *word = u32::from_ne_bytes(*bytes);
        }
        Header(words)
    }

    /// The newest frame of the WAL that belongs to a commit, from 1; 0 if it is empty.
    pub fn max_frame(self) -> u32 {
        self.0[MAX_FRAME]
    }

    /// Names the WAL's present run: changes whenever it starts anew.
    pub fn salt(self) -> [u32; 2] {
        [self.0[SALT], self.0[SALT + 1]]
    }
}

/// How many frames of the present run are in the database file already.
pub fn backfilled(page: NonNull<u8>) -> u32 {
    load(page, BACKFILLED)
}

/// One word of the page. `word` is one of this file's constants, far below the 8,192 words of a page.
fn load(page: NonNull<u8>, word: usize) -> u32 {
    debug_assert!(word <= BACKFILLED);
    // SAFETY: a WAL-index page is 32 KB, so the word lies inside of it.
    let address = unsafe { page.cast::<u32>().add(word) };
    // SAFETY: pages are aligned to 4 KB and mapped for the life of the process; every process reads and writes
    // these words in one piece.
    unsafe { AtomicU32::from_ptr(address.as_ptr()) }.load(SeqCst)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_that_differ_are_no_header() {
        let page = Box::leak(vec![0u64; 4096].into_boxed_slice());
        let write = |page: &mut [u64], word: usize, value: u32| {
            let shift = (word % 2) * 32;
            page[word / 2] = page[word / 2] & !(0xffff_ffff << shift) | u64::from(value) << shift;
        };
        let address = NonNull::new(page.as_mut_ptr().cast::<u8>()).expect("an address");
        assert_eq!(Header::read(address), None);
        write(page, HEADER_WORDS + MAX_FRAME, 7);
        assert_eq!(Header::read(address), None);
        write(page, MAX_FRAME, 7);
        write(page, BACKFILLED, 3);
        let header = Header::read(address).expect("a header");
        assert_eq!((header.max_frame(), backfilled(address)), (7, 3));
        assert_eq!(Header::from_bytes(&header.to_bytes()), header);
    }
}
