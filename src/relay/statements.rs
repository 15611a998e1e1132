//! Prepared statements in pool mode "transaction": what a client calls them, and what they are called upstream.
//!
//! A statement's name upstream is made of a strong hash of its text and parameter types, so that every process knows
//! which ones a connection has by the hashes that travel with it.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::rc::Rc;

use sha2::{Digest, Sha256};

/// How every name upstream begins.
pub const NAME_PREFIX: &str = "pgprefork_";
/// Bytes of a name upstream.
pub const NAME_BYTES: usize = NAME_PREFIX.len() + 2 * size_of::<StatementId>();

const _: () = assert!(NAME_BYTES < 64, "a name is not cut short upstream");

/// The first half of SHA-256 over encoding, text and types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StatementId(pub [u8; 16]);

/// A statement as Parse gave it.
#[derive(Debug, PartialEq, Eq)]
pub struct Prepared {
    /// Its hash.
    pub id: StatementId,
    /// Text and parameter types, as they follow the name in a Parse message.
    pub definition: Vec<u8>,
}

impl Prepared {
    /// A statement of that text and those types. The same bytes are another text in another encoding.
    pub fn new(definition: &[u8], client_encoding: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update((client_encoding.len() as u64).to_be_bytes());
        hash.update(client_encoding.as_bytes());
        hash.update(definition);
        let digest = hash.finalize();
        let mut id = [0; 16];
        id.iter_mut().zip(digest.iter()).for_each(|(to, from)| *to = *from);
        Self { id: StatementId(id), definition: definition.to_vec() }
    }
}

impl StatementId {
    /// Its name upstream.
    pub fn name(self) -> String {
        let mut name = String::with_capacity(NAME_BYTES);
        name.push_str(NAME_PREFIX);
        for byte in self.0 {
            let _ = write!(name, "{byte:02x}");
        }
        name
    }
}

/// The statements of one client, by the names it gave them. The unnamed one is among them.
#[derive(Debug, Default)]
pub struct Statements(HashMap<Vec<u8>, Rc<Prepared>>);

impl Statements {
    /// What the client calls `name`.
    pub fn find(&self, name: &[u8]) -> Option<&Rc<Prepared>> {
        self.0.get(name)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&Vec<u8>, &Rc<Prepared>)> {
        self.0.iter()
    }

    /// From now on the client calls `prepared` so, or nothing any more.
    pub fn set(&mut self, name: Vec<u8>, prepared: Option<Rc<Prepared>>) {
        match prepared {
            Some(prepared) => self.0.insert(name, prepared),
            None => self.0.remove(&name),
        };
    }

    /// DEALLOCATE ALL, DISCARD ALL: all that have a name.
    pub fn forget_named(&mut self) {
        self.0.retain(|name, _| name.is_empty());
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
        let cases = [
            ("select $1\0\0\x01\0\0\0\x17", "UTF8"),
            ("select $1\0\0\0", "UTF8"),
            ("select $2\0\0\0", "UTF8"),
            ("select $1\0\0\0", "LATIN1"),
        ];
        let [a, b, c, d] = cases.map(|(definition, encoding)| Prepared::new(definition.as_bytes(), encoding).id);
        assert!(a != b && b != c && a != c && b != d);
        assert_eq!(b, Prepared::new(b"select $1\0\0\0", "UTF8").id);
        assert_eq!(a.name().len(), NAME_BYTES);
    }

    #[test]
    fn the_one_used_last_is_at_the_end() {
        let ids: Vec<_> = (0..3).map(|number| StatementId([number; 16])).collect();
        let mut has = Vec::new();
        [0, 1, 0, 2].into_iter().for_each(|index: usize| remember(&mut has, ids[index]));
        assert_eq!(has, [ids[1], ids[0], ids[2]]);
    }
}
