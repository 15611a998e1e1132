//! Session tickets under the segment's keys, so that any worker resumes what another began.
//!
//! A ticket is the key's name, a random nonce, and the session sealed with AES-256-GCM. The name and a digest of what
//! the session was verified under (the server's certificates, the client CA) are authenticated with it: after a reload
//! with others, old tickets are worth nothing.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rustls::server::ProducesTickets;
use shm::tickets::TICKET_KEY_PERIOD_US;
use shm::{Generation, Owner, OwnerCell, Segment, SlotIndex, TicketKey};

const NAME_BYTES: usize = 16;
const CONTEXT_BYTES: usize = 32;
/// A session holds a client's certificate chain at most; whoever sends more has not got it from here.
const TICKET_BYTES_MAX: usize = 64 * 1024;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Tickets {
    segment: Segment,
    owner: OwnerCell,
    context: [u8; CONTEXT_BYTES],
}

impl Tickets {
    pub(super) fn new(segment: Segment, context: [u8; CONTEXT_BYTES]) -> Self {
        // Nobody makes keys before a worker has said who it is.
        let nobody = Owner { slot: SlotIndex(0), generation: Generation(0) };
        Self { segment, owner: OwnerCell::new(nobody), context }
    }

    /// This process is `owner`.
    pub(super) fn inherit(&self, owner: Owner) {
        self.owner.set(owner);
    }

    fn authenticated(&self, name: &[u8]) -> Aad<Vec<u8>> {
        Aad::from([name, &self.context].concat())
    }
}

fn cipher(key: &TicketKey) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, &key.secret).ok().map(LessSafeKey::new)
}

fn new_key() -> Option<TicketKey> {
    let mut key = TicketKey { name: [0; NAME_BYTES], secret: [0; 32] };
    getrandom::fill(&mut key.name).ok()?;
    getrandom::fill(&mut key.secret).ok()?;
    Some(key)
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    /// In seconds: for so long every key is kept, whenever in its time it was used.
    fn lifetime(&self) -> u32 {
        u32::try_from(TICKET_KEY_PERIOD_US / 1_000_000).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let now_us = shm::clock::monotonic_us();
        let key = self.segment.ticket_keys().sealing(self.owner.get(), now_us, new_key)?;
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        let aad = self.authenticated(&key.name);
        cipher(&key)?.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed).ok()?;
        Some([&key.name[..], &nonce, &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        if ticket.len() > TICKET_BYTES_MAX {
            return None;
        }
        let (name, rest) = ticket.split_at_checked(NAME_BYTES)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let key = self.segment.ticket_keys().opening(name, shm::clock::monotonic_us())?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let length = cipher(&key)?.open_in_place(nonce, self.authenticated(name), &mut sealed).ok()?.len();
        sealed.truncate(length);
        Some(sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shm::{Geometry, SlotKind};

    #[test]
    fn a_ticket_is_opened_by_another_process_and_only_under_the_same_files() {
        let segment = Segment::on_heap(&Geometry { slots: 2, databases: 1, wal_index_bytes: 32768 }).unwrap();
        let tickets = |context: u8| {
            let tickets = Tickets::new(segment, [context; CONTEXT_BYTES]);
            tickets.inherit(segment.claim_slot(SlotKind::Worker).unwrap());
            tickets
        };
        let (here, there) = (tickets(1), tickets(1));
        let ticket = here.encrypt(b"a session").unwrap();
        assert_eq!(there.decrypt(&ticket).as_deref(), Some(&b"a session"[..]));
        assert!(!ticket.windows(4).any(|window| window == b"sess"));
        let elsewhere = Tickets::new(segment, [2; CONTEXT_BYTES]);
        assert_eq!(elsewhere.decrypt(&ticket), None, "another certificate or client CA");
        for at in 0..ticket.len() {
            let mut damaged = ticket.clone();
            damaged[at] ^= 1;
            assert_eq!(there.decrypt(&damaged), None, "{at}");
            assert_eq!(there.decrypt(&ticket[..at]), None, "{at}");
        }
        segment.ticket_keys().erase();
        assert_eq!(there.decrypt(&ticket), None);
    }
}
