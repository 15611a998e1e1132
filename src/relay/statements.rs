//! Prepared statements in pool mode "transaction": what a client calls them, and what they are called upstream.
//!
//! A statement's name upstream is made of a strong hash of its text and parameter types, so that every process knows
//! which ones a connection has by the hashes that travel with it.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::rc::Rc;

use sha2::{Digest, Sha256};

/// The first half of SHA-256 over types and text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StatementId(pub [u8; 16]);

/// A statement as Parse gave it.
#[derive(Debug, PartialEq, Eq)]
pub struct Prepared {
    /// Its hash.
    pub id: StatementId,
    /// Its text.
    pub query: String,
    /// The parameter types declared.
    pub types: Vec<u32>,
}

impl Prepared {
    /// A statement of that text and those types.
    pub fn new(query: &str, types: &[u32]) -> Self {
        let mut hash = Sha256::new();
        hash.update((types.len() as u64).to_be_bytes());
        types.iter().for_each(|oid| hash.update(oid.to_be_bytes()));
        hash.update(query.as_bytes());
        let digest = hash.finalize();
        let mut id = [0; 16];
        id.iter_mut().zip(digest.iter()).for_each(|(to, from)| *to = *from);
        Self { id: StatementId(id), query: query.to_owned(), types: types.to_vec() }
    }
}

impl StatementId {
    /// Its name upstream.
    pub fn name(self) -> String {
        let mut name = String::with_capacity(40);
        name.push_str("pgprefork_");
        for byte in self.0 {
            let _ = write!(name, "{byte:02x}");
        }
        name
    }
}

/// The statements of one client, by the names it gave them. The unnamed one is among them.
#[derive(Debug, Default)]
pub struct Statements(HashMap<String, Rc<Prepared>>);

impl Statements {
    /// What the client calls `name`.
    pub fn find(&self, name: &str) -> Option<Rc<Prepared>> {
        self.0.get(name).cloned()
    }

    /// From now on the client calls it so.
    pub fn insert(&mut self, name: &str, prepared: Rc<Prepared>) {
        self.0.insert(name.to_owned(), prepared);
    }

    /// The client has closed it.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// DEALLOCATE ALL, DISCARD ALL.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// Notes that a connection has the statement and that it is used now.
pub fn remember(has: &mut Vec<StatementId>, id: StatementId) {
    has.retain(|known| *known != id);
    has.push(id);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_types_make_the_name() {
        let [a, b, c] = [("select $1", &[23][..]), ("select $1", &[25]), ("select $1 ", &[23])]
            .map(|(query, types)| Prepared::new(query, types).id);
        assert!(a != b && b != c && a != c);
        assert_eq!(a, Prepared::new("select $1", &[23]).id);
        assert!(a.name().len() < 64, "a name is not cut short upstream");
    }

    #[test]
    fn the_one_used_last_is_at_the_end() {
        let ids: Vec<_> = (0..3).map(|number| StatementId([number; 16])).collect();
        let mut has = Vec::new();
        [0, 1, 0, 2].into_iter().for_each(|index: usize| remember(&mut has, ids[index]));
        assert_eq!(has, [ids[1], ids[0], ids[2]]);
    }
}
