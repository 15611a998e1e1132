//! Cancel keys: the secret that each session told its client. A request must present it; it is compared in constant
//! time, and erased when the session ends.

use std::hint::black_box;

use crate::segment::Segment;
use crate::sequence::SequencedWords;
use crate::slot::{Owner, SessionGeneration, SlotIndex, SlotState};

/// The longest secret: 256 bits (protocol 3.2); protocol 3.0 has 32 bits.
pub const CANCEL_KEY_BYTES: usize = 32;
const WORDS: usize = 1 + CANCEL_KEY_BYTES / 8;

/// One slot's secret. The first word holds its length and, in the high half, the session that it belongs to.
#[repr(C, align(64))]
pub(crate) struct CancelKey {
    cell: SequencedWords<WORDS>,
}

impl Segment {
    /// Publishes the secret of the present session of `slot`, at most 32 bytes. By the session's process.
    pub fn set_cancel_key(&self, slot: SlotIndex, secret: &[u8]) {
        debug_assert!(!secret.is_empty() && secret.len() <= CANCEL_KEY_BYTES);
        let session = self.slot(slot).session_generation();
        let length = secret.len().min(CANCEL_KEY_BYTES);
        let mut words = [0; WORDS];
        words[0] = u64::from(session.0) << 32 | length as u64;
        for (word, chunk) in words[1..].iter_mut().zip(secret.chunks(8)) {
            let mut bytes = [0; 8];
            bytes[..chunk.len()].copy_from_slice(chunk);
            *word = u64::from_le_bytes(bytes);
        }
        self.cancel_key(slot).cell.write(&words);
    }

    /// Erases the secret of `slot`, at its session's end.
    pub fn erase_cancel_key(&self, slot: SlotIndex) {
        self.cancel_key(slot).cell.write(&[0; WORDS]);
    }

    /// The session that a cancel request with this process id and secret is for. To be handed to
    /// [`crate::Slot::request_cancel`], which refuses when that session has ended meanwhile.
    pub fn find_cancel_key(&self, pid: i32, secret: &[u8]) -> Option<(SlotIndex, SessionGeneration)> {
        let (index, _) = self.slot_of_pid(pid)?;
        self.matches_cancel_key(index, secret).map(|session| (index, session))
    }

    /// As [`Segment::find_cancel_key`], where the slot is known.
    pub fn matches_cancel_key(&self, slot: SlotIndex, secret: &[u8]) -> Option<SessionGeneration> {
        let words = self.cancel_key(slot).cell.read()?;
        let length = (words[0] & 0xFFFF_FFFF) as usize;
        let session = SessionGeneration((words[0] >> 32) as u32);
        if length == 0 || length > CANCEL_KEY_BYTES || secret.len() != length {
            return None;
        }
        let mut stored = [0; CANCEL_KEY_BYTES];
        for (bytes, word) in stored.chunks_mut(8).zip(&words[1..]) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        (same(&stored[..length], secret) && self.slot(slot).state() != SlotState::Free).then_some(session)
    }

    /// Erases a dead process's secret and makes its counter even. Returns whether there was one.
    pub(crate) fn reap_cancel_key(&self, owner: Owner) -> bool {
        let cell = &self.cancel_key(owner.slot).cell;
        let torn = cell.repair();
        let present = torn || cell.read().is_some_and(|words| words[0] != 0);
        cell.write(&[0; WORDS]);
        present
    }
}

/// Compares in a time that depends on the lengths alone.
fn same(a: &[u8], b: &[u8]) -> bool {
    let difference = a.iter().zip(b).fold(a.len() ^ b.len(), |sum, (a, b)| black_box(sum | usize::from(a ^ b)));
    black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Geometry, SlotKind};

    #[test]
    fn a_key_is_found_by_its_pid_and_secret_until_erased() {
        let segment = Segment::on_heap(&Geometry { slots: 2, databases: 1, wal_index_bytes: 32768 }).unwrap();
        let owner = segment.claim_slot(SlotKind::Worker).unwrap();
        segment.slot(owner.slot).set_pid(77);
        let session = segment.slot(owner.slot).begin_session();
        assert_eq!(segment.find_cancel_key(77, &[0; 4]), None);
        for secret in [&[9u8, 8, 7, 6][..], &[5; 32], &[1; 13]] {
            segment.set_cancel_key(owner.slot, secret);
            assert_eq!(segment.find_cancel_key(77, secret), Some((owner.slot, session)));
            assert_eq!(segment.find_cancel_key(78, secret), None);
            assert_eq!(segment.find_cancel_key(0, secret), None);
            for i in 0..secret.len() {
                let mut wrong = secret.to_vec();
                wrong[i] ^= 1;
                assert_eq!(segment.find_cancel_key(77, &wrong), None);
            }
            assert_eq!(segment.find_cancel_key(77, &secret[1..]), None);
            assert_eq!(segment.find_cancel_key(77, &[]), None);
        }
        segment.erase_cancel_key(owner.slot);
        assert_eq!(segment.find_cancel_key(77, &[]), None);
        assert_eq!(segment.find_cancel_key(77, &[1; 13]), None);
    }

    #[test]
    fn a_key_half_written_is_erased() {
        let segment = Segment::on_heap(&Geometry { slots: 2, databases: 1, wal_index_bytes: 32768 }).unwrap();
        let owner = segment.claim_slot(SlotKind::Worker).unwrap();
        segment.set_cancel_key(owner.slot, &[1; 4]);
        segment.cancel_key(owner.slot).cell.die_writing();
        assert_eq!(segment.matches_cancel_key(owner.slot, &[1; 4]), None);
        assert!(segment.reap_cancel_key(owner));
        assert!(!segment.reap_cancel_key(owner));
        assert_eq!(segment.matches_cancel_key(owner.slot, &[1; 4]), None);
    }
}
