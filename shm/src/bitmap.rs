//! Sets of slots: one bit each, changed by single atomic operations, so that a killed process leaves at most its own
//! bit behind.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use crate::slot::SlotIndex;

/// A view of the words of one set.
#[derive(Clone, Copy)]
pub(crate) struct Bitmap<'a>(pub(crate) &'a [AtomicU64]);

impl Bitmap<'_> {
    /// The words that a set of `slots` slots takes: whole cache lines, so that sets do not share any.
    pub(crate) const fn words(slots: u32) -> usize {
        (slots as usize).div_ceil(64).next_multiple_of(8)
    }

    pub(crate) fn insert(&self, slot: SlotIndex) {
        let (word, mask) = place(slot);
        self.0[word].fetch_or(mask, SeqCst);
    }

    /// Returns whether it was in the set.
    pub(crate) fn remove(&self, slot: SlotIndex) -> bool {
        let (word, mask) = place(slot);
        // The load spares the cache line where there is nothing to remove, as for most databases in a reap.
        self.0[word].load(SeqCst) & mask != 0 && self.0[word].fetch_and(!mask, SeqCst) & mask != 0
    }

    pub(crate) fn contains(&self, slot: SlotIndex) -> bool {
        let (word, mask) = place(slot);
        self.0[word].load(SeqCst) & mask != 0
    }

    /// Whether any slot but `slot` is in the set.
    pub(crate) fn any_other_than(&self, slot: SlotIndex) -> bool {
        let (own, mask) = place(slot);
        self.0.iter().enumerate().any(|(i, word)| {
            let bits = word.load(SeqCst);
            (if i == own { bits & !mask } else { bits }) != 0
        })
    }

    /// The members, in order; those that come or go meanwhile may be missed.
    pub(crate) fn iter(&self) -> impl Iterator<Item = SlotIndex> + '_ {
        self.0.iter().enumerate().flat_map(|(i, word)| {
            let mut bits = word.load(SeqCst);
            std::iter::from_fn(move || {
                if bits == 0 {
                    return None;
                }
                let bit = bits.trailing_zeros();
                bits &= bits - 1;
                Some(SlotIndex(u32::try_from(i * 64).unwrap_or(u32::MAX) + bit))
            })
        })
    }

    /// The first member after `slot`, going round.
    pub(crate) fn next_after(&self, slot: SlotIndex) -> Option<SlotIndex> {
        let mut first = None;
        for member in self.iter() {
            if member.0 > slot.0 {
                return Some(member);
            }
            first = first.or(Some(member));
        }
        first
    }
}

fn place(slot: SlotIndex) -> (usize, u64) {
    (slot.0 as usize / 64, 1 << (slot.0 % 64))
}
