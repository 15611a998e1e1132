//! What a client's proof gives away to a server that knows the verifier: the ClientKey, with which that server can log in
//! elsewhere as the same role, where the verifier is the same.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{Key, Verifier};
use crate::system::hidden::Hidden;

/// Bytes of both keys.
const KEYS_BYTES: usize = 2 * size_of::<Key>();

/// Keys that a client has proved to know, for one salt and iteration count. They are overwritten when they are dropped.
pub struct PassedKeys {
    salt: Vec<u8>,
    iterations: u32,
    /// ClientKey, then ServerKey.
    keys: Hidden<KEYS_BYTES>,
}

impl PassedKeys {
    /// The ClientKey that the proof contained, and what the verifier says. `None` if there is no memory for them.
    pub(super) fn new(client_key: &Key, verifier: &Verifier) -> Option<Self> {
        let mut both = Zeroizing::new([0; KEYS_BYTES]);
        let keys = client_key.iter().chain(&verifier.server_key);
        both.iter_mut().zip(keys).for_each(|(to, from)| *to = *from);
        let keys = Hidden::new(&both).ok()?;
        Some(Self { salt: verifier.salt.clone(), iterations: verifier.iterations, keys })
    }

    /// Whether they are of use against a server that asks for that salt and that many iterations.
    pub(super) fn fit(&self, salt: &[u8], iterations: u32) -> bool {
        self.salt == salt && self.iterations == iterations
    }

    /// ClientKey and ServerKey.
    pub(super) fn keys(&self) -> (&[u8], &[u8]) {
        self.keys.bytes().split_at(size_of::<Key>())
    }
}

impl fmt::Debug for PassedKeys {
    /// Without the keys: they are as good as the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PassedKeys").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

impl PartialEq for PassedKeys {
    fn eq(&self, other: &Self) -> bool {
        self.fit(&other.salt, other.iterations) && bool::from(self.keys.bytes().ct_eq(other.keys.bytes()))
    }
}

impl Eq for PassedKeys {}
