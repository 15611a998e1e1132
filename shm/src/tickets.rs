//! [`TicketKeys`]: the keys of TLS session tickets, the same in every process, so that a session which one worker began
//! can be resumed in another. Two at a time: one that seals, and the one before it, whose tickets are still opened.
//!
//! Made by whoever first finds that the newest is too old, never written to disk, kept out of core dumps
//! ([`crate::Segment::hide_ticket_keys`]) and overwritten when their time is over. A maker that is killed leaves an
//! empty place, and [`crate::Segment::reap`] lets the next one in; while it is at work, others go on with the key that
//! they have, or without tickets.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
    fence,
};

use crate::slot::Owner;

/// How long a key seals. It opens tickets for as long again.
pub const TICKET_KEY_PERIOD_US: u64 = 3_600_000_000;

const KEY_WORDS: usize = 4;
const NAME_WORDS: usize = 2;
const WORDS: usize = NAME_WORDS + KEY_WORDS;

/// A key: the name that is on its tickets, and the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct TicketKey {
    /// Random too, so that it says nothing.
    pub name: [u8; 16],
    /// For an AEAD with a key of 256 bits.
    pub secret: [u8; 32],
}

impl Drop for TicketKey {
    fn drop(&mut self) {
        self.secret.fill(0);
        // Keeps the stores above from being left out.
        std::hint::black_box(&self.secret);
    }
}

impl std::fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TicketKey")
    }
}

/// One key's place.
#[repr(C)]
struct Place {
    /// When it was made (monotonic clock); 0 while there is none. Stored last, and cleared first.
    made_us: AtomicU64,
    words: [AtomicU64; WORDS],
}

impl Place {
    fn load(&self) -> Option<(u64, TicketKey)> {
        let made_us = self.made_us.load(Acquire);
        let words: [u64; WORDS] = std::array::from_fn(|i| self.words[i].load(Relaxed));
        // Pairs with the fence in `store`: whoever has seen a new word sees that the old key has gone.
        fence(Acquire);
        if made_us == 0 || self.made_us.load(Relaxed) != made_us {
            return None;
        }
        let mut key = TicketKey { name: [0; 16], secret: [0; 32] };
        let bytes = key.name.chunks_exact_mut(8).chain(key.secret.chunks_exact_mut(8));
        bytes.zip(words).for_each(|(bytes, word)| bytes.copy_from_slice(&word.to_ne_bytes()));
        Some((made_us, key))
    }

    fn store(&self, made_us: u64, key: Option<&TicketKey>) {
        self.made_us.store(0, Relaxed);
        fence(Release);
        match key {
            Some(key) => {
                let bytes = key.name.as_chunks::<8>().0.iter().chain(key.secret.as_chunks::<8>().0);
                self.words.iter().zip(bytes).for_each(|(word, bytes)| word.store(u64::from_ne_bytes(*bytes), Relaxed));
                // Pairs with the first load in `load`.
                self.made_us.store(made_us, Release);
            }
            None => self.words.iter().for_each(|word| word.store(0, Relaxed)),
        }
    }
}

/// See the module's description.
#[repr(C, align(128))]
pub struct TicketKeys {
    /// Who makes a key: [`Owner::pack`].
    maker: AtomicU64,
    places: [Place; 2],
}

impl TicketKeys {
    /// The key to seal with at `now_us` (monotonic clock). `make` is called when it is time for a new one.
    pub fn sealing(&self, maker: Owner, now_us: u64, make: impl FnOnce() -> Option<TicketKey>) -> Option<TicketKey> {
        if let Some(key) = self.newest(now_us, TICKET_KEY_PERIOD_US) {
            return Some(key);
        }
        if self.maker.compare_exchange(0, maker.pack(), Acquire, Relaxed).is_ok() {
            // Somebody may have made one just before we began.
            if self.newest(now_us, TICKET_KEY_PERIOD_US).is_none() {
                self.replace(now_us, make());
            }
            self.maker.store(0, Release);
        }
        self.newest(now_us, 2 * TICKET_KEY_PERIOD_US)
    }

    /// The key that has that name, unless its time is over.
    pub fn opening(&self, name: &[u8], now_us: u64) -> Option<TicketKey> {
        let keys = self.places.iter().filter_map(Place::load);
        let mut valid = keys.filter(|(made_us, _)| now_us.saturating_sub(*made_us) < 2 * TICKET_KEY_PERIOD_US);
        valid.find(|(_, key)| key.name == name).map(|(_, key)| key)
    }

    /// Overwrites all keys. For the postmaster at its end, when no process is left that makes one.
    pub fn erase(&self) {
        self.places.iter().for_each(|place| place.store(0, None));
    }

    fn newest(&self, now_us: u64, age_us: u64) -> Option<TicketKey> {
        let keys = self.places.iter().filter_map(Place::load);
        let young = keys.filter(|(made_us, _)| now_us.saturating_sub(*made_us) < age_us);
        young.max_by_key(|(made_us, _)| *made_us).map(|(_, key)| key)
    }

    /// Puts a key in place of the older one, and erases the other if its time is over. By the maker.
    fn replace(&self, now_us: u64, key: Option<TicketKey>) {
        let age_us = |place: &Place| now_us.saturating_sub(place.made_us.load(Relaxed));
        let [first, second] = &self.places;
        let (older, newer) = if age_us(first) >= age_us(second) { (first, second) } else { (second, first) };
        older.store(now_us.max(1), key.as_ref());
        if age_us(newer) >= 2 * TICKET_KEY_PERIOD_US {
            newer.store(0, None);
        }
    }

    /// The maker `dead` has died: what it has not finished is empty.
    pub(crate) fn reap(&self, dead: Owner) {
        let _ = self.maker.compare_exchange(dead.pack(), 0, Release, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Geometry, Segment, SlotKind};

    fn segment() -> Segment {
        Segment::on_heap(&Geometry { slots: 2, databases: 1, wal_index_bytes: 32768 }).unwrap()
    }

    fn key(byte: u8) -> Option<TicketKey> {
        Some(TicketKey { name: [byte; 16], secret: [byte; 32] })
    }

    #[test]
    fn a_key_seals_for_one_period_and_opens_for_two() {
        let segment = segment();
        let (keys, owner) = (segment.ticket_keys(), segment.claim_slot(SlotKind::Worker).unwrap());
        let hour = TICKET_KEY_PERIOD_US;
        assert_eq!(keys.sealing(owner, 5, || key(1)), key(1));
        assert_eq!(keys.sealing(owner, hour, || key(2)), key(1), "it is young still");
        assert_eq!(keys.sealing(owner, hour + 5, || key(2)), key(2));
        assert_eq!(keys.opening(&[1; 16], 2 * hour + 4), key(1));
        assert_eq!(keys.opening(&[1; 16], 2 * hour + 5), None, "two periods are over");
        assert_eq!(keys.opening(&[2; 16], 2 * hour + 5), key(2));
        assert_eq!(keys.sealing(owner, 2 * hour + 5, || key(3)), key(3));
        assert_eq!(keys.opening(&[2; 16], 2 * hour + 5), key(2), "the one before stays");
        assert_eq!(keys.sealing(owner, 9 * hour, || key(4)), key(4));
        assert!(keys.places.iter().filter_map(Place::load).count() == 1, "old ones are erased, not only unused");
        keys.erase();
        assert_eq!(keys.opening(&[4; 16], 9 * hour), None);
    }

    #[test]
    fn a_maker_that_died_is_not_waited_for() {
        let segment = segment();
        let keys = segment.ticket_keys();
        let (dead, living) =
            (segment.claim_slot(SlotKind::Worker).unwrap(), segment.claim_slot(SlotKind::Worker).unwrap());
        keys.maker.store(dead.pack(), Relaxed);
        assert_eq!(keys.sealing(living, 5, || key(1)), None, "it goes on without");
        segment.reap(dead);
        assert_eq!(keys.sealing(living, 5, || key(1)), key(1));
    }
}
