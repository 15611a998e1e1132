//! What the server keeps of a password: `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{DEFAULT_ITERATIONS, Key, MECHANISM, SALT_LENGTH, hash, hmac, random, salted_password};

/// A stored password.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    /// Iterations of the key derivation.
    pub iterations: u32,
    /// The salt.
    pub salt: Vec<u8>,
    pub(super) stored_key: Key,
    pub(super) server_key: Key,
}

impl Verifier {
    /// A verifier for the password, with a fresh salt.
    pub fn new(password: &[u8], iterations: u32) -> Result<Verifier, getrandom::Error> {
        random::<SALT_LENGTH>().map(|salt| Self::with_salt(password, iterations, &salt))
    }

    /// A verifier for the password and that salt.
    pub fn with_salt(password: &[u8], iterations: u32, salt: &[u8]) -> Verifier {
        let salted = salted_password(password, salt, iterations);
        Verifier {
            iterations,
            salt: salt.to_vec(),
            stored_key: hash(&hmac(&salted, &[b"Client Key"])),
            server_key: hmac(&salted, &[b"Server Key"]),
        }
    }

    /// Reads the stored form.
    pub fn parse(text: &str) -> Option<Verifier> {
        let rest = text.strip_prefix(MECHANISM)?.strip_prefix('$')?;
        let (parameters, keys) = rest.split_once('$')?;
        let (iterations, salt) = parameters.split_once(':')?;
        let (stored_key, server_key) = keys.split_once(':')?;
        let key = |text: &str| BASE64.decode(text).ok().and_then(|bytes| Key::try_from(bytes).ok());
        let iterations = iterations.parse::<u32>().ok().filter(|&count| count > 0)?;
        let salt = BASE64.decode(salt).ok()?;
        Some(Verifier { iterations, salt, stored_key: key(stored_key)?, server_key: key(server_key)? })
    }

    /// What to play with for a role that has no verifier: the salt depends on nothing but the role's name and the
    /// cluster's secret, so that asking twice does not tell. No proof ever fits it.
    pub fn mock(user: &str, secret: &[u8; 32]) -> Verifier {
        let digest: Key = Sha256::new().chain_update(user.as_bytes()).chain_update(secret).finalize().into();
        let salt = digest.first_chunk::<SALT_LENGTH>().map(|salt| salt.to_vec()).unwrap_or_default();
        Verifier { iterations: DEFAULT_ITERATIONS, salt, stored_key: [0; 32], server_key: [0; 32] }
    }

    /// Whether this is the password, which the client has sent in clear.
    pub fn verify(&self, password: &[u8]) -> bool {
        let salted = salted_password(password, &self.salt, self.iterations);
        hmac(&salted, &[b"Server Key"]).ct_eq(&self.server_key).into()
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{MECHANISM}${}:{}${}:{}",
            self.iterations,
            BASE64.encode(&self.salt),
            BASE64.encode(self.stored_key),
            BASE64.encode(self.server_key)
        )
    }
}

impl fmt::Debug for Verifier {
    /// Without the keys: who knows them can pass for server or client.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_reads_back() {
        let verifier = Verifier::with_salt(b"pencil", 4096, b"0123456789abcdef");
        let text = verifier.to_string();
        assert!(text.starts_with("SCRAM-SHA-256$4096:MDEyMzQ1Njc4OWFiY2RlZg==$"), "{text}");
        assert_eq!(Verifier::parse(&text), Some(verifier.clone()));
        assert!(verifier.verify(b"pencil"));
        assert!(!verifier.verify(b"pencils"));
    }

    #[test]
    fn broken_forms_are_no_verifiers() {
        let good = Verifier::with_salt(b"x", 1, b"salt").to_string();
        for bad in [
            "",
            "secret",
            "SCRAM-SHA-256",
            "SCRAM-SHA-256$4096:c2FsdA==",
            "SCRAM-SHA-256$0:c2FsdA==$AA==:AA==",
            &good.replace("$1:", "$-1:"),
            &good.replace("c2FsdA==", "*"),
            &good[..good.len() - 4],
        ] {
            assert_eq!(Verifier::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn mock_salts_are_stable_and_differ_by_role_and_cluster() {
        let salt = |user: &str, secret: u8| Verifier::mock(user, &[secret; 32]).salt;
        assert_eq!(salt("ann", 1), salt("ann", 1));
        assert_ne!(salt("ann", 1), salt("bob", 1));
        assert_ne!(salt("ann", 1), salt("ann", 2));
        assert_eq!(salt("ann", 1).len(), SALT_LENGTH);
    }
}
