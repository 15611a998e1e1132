//! Values of several words under a sequence counter: one writer, any number of readers, nobody waits.
//!
//! The counter is odd while the writer is at work. A reader that saw it odd or changed tries again, 100 times; then
//! it answers `None`. A writer that was killed leaves it odd: [`Sequence::repair`] makes it even, after which readers
//! see what the dead writer had stored, new and old words mixed. Whoever cannot live with that clears the value.

use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
    fence,
};

const READER_ATTEMPTS: u32 = 100;

/// The counter. Data around it are relaxed atomics.
#[repr(C)]
pub struct Sequence(AtomicU32);

impl Sequence {
    /// Runs `store`, which stores with relaxed atomics, between odd and even. Only one writer may do so at a time.
    pub fn write(&self, store: impl FnOnce()) {
        let before = self.0.load(Relaxed) | 1;
        self.0.store(before, Relaxed);
        // Pairs with the fence in `read`: a reader that saw any of the data also sees the counter odd.
        fence(Release);
        store();
        // Pairs with the first load in `read`.
        self.0.store(before.wrapping_add(1), Release);
    }

    /// Runs `load`, which loads with relaxed atomics, until it ran undisturbed.
    pub fn read<T>(&self, mut load: impl FnMut() -> T) -> Option<T> {
        for _ in 0..READER_ATTEMPTS {
            let before = self.0.load(Acquire);
            if before & 1 == 0 {
                let value = load();
                // Pairs with the fence in `write`.
                fence(Acquire);
                if self.0.load(Relaxed) == before {
                    return Some(value);
                }
            }
            std::hint::spin_loop();
        }
        None
    }

    /// Makes a dead writer's counter even. Returns whether it was odd.
    pub fn repair(&self) -> bool {
        let value = self.0.load(Acquire);
        if value & 1 == 0 {
            return false;
        }
        self.0.store(value.wrapping_add(1), Release);
        true
    }

    /// Leaves the counter as a writer that is killed in the middle does.
    #[cfg(test)]
    pub(crate) fn die_writing(&self) {
        self.0.fetch_or(1, Relaxed);
    }
}

/// `N` words under a counter.
#[repr(C)]
pub struct SequencedWords<const N: usize> {
    sequence: Sequence,
    unused: AtomicU32,
    words: [AtomicU64; N],
}

impl<const N: usize> SequencedWords<N> {
    /// Replaces the words.
    pub fn write(&self, words: &[u64; N]) {
        self.sequence.write(|| {
            for (place, word) in self.words.iter().zip(words) {
                place.store(*word, Relaxed);
            }
        });
    }

    /// A consistent copy of the words.
    pub fn read(&self) -> Option<[u64; N]> {
        self.sequence.read(|| std::array::from_fn(|i| self.words[i].load(Relaxed)))
    }

    /// Makes a dead writer's counter even, and all words zero if it was odd.
    pub fn repair(&self) -> bool {
        let torn = self.sequence.repair();
        if torn {
            self.write(&[0; N]);
        }
        torn
    }

    #[cfg(test)]
    pub(crate) fn die_writing(&self) {
        self.sequence.die_writing();
    }
}

/// Text of at most `8 * N` bytes, without a counter of its own: it lives beside other fields under one.
#[repr(C)]
pub(crate) struct Text<const N: usize> {
    length: AtomicU64,
    words: [AtomicU64; N],
}

impl<const N: usize> Text<N> {
    /// Stores as much of `text` as fits, cut at a character's boundary. Inside [`Sequence::write`] only.
    pub(crate) fn store(&self, text: &str) {
        let text = truncated(text, N * 8).as_bytes();
        self.length.store(text.len() as u64, Relaxed);
        for (place, chunk) in self.words.iter().zip(text.chunks(8)) {
            let mut bytes = [0; 8];
            bytes[..chunk.len()].copy_from_slice(chunk);
            place.store(u64::from_le_bytes(bytes), Relaxed);
        }
    }

    /// Stores nothing, over every word. Inside [`Sequence::write`] only.
    pub(crate) fn wipe(&self) {
        self.length.store(0, Relaxed);
        for word in &self.words {
            word.store(0, Relaxed);
        }
    }

    /// Copies the text. Inside [`Sequence::read`]: what a disturbed read returns is replaced by the next attempt.
    pub(crate) fn load(&self) -> Vec<u8> {
        let length = usize::try_from(self.length.load(Relaxed)).unwrap_or(usize::MAX).min(N * 8);
        let mut bytes = Vec::with_capacity(N * 8);
        for word in self.words.iter().take(length.div_ceil(8)) {
            bytes.extend_from_slice(&word.load(Relaxed).to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}

/// The longest beginning of `text` that has at most `limit` bytes and ends between characters.
pub fn truncated(text: &str, limit: usize) -> &str {
    text.get(..text.floor_char_boundary(limit)).unwrap_or(text)
}

/// Text from the segment for people: a torn character becomes U+FFFD.
pub(crate) fn readable(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
