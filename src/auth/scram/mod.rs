//! SCRAM-SHA-256 (RFC 5802, RFC 7677) as PostgreSQL does it.
//!
//! Owns the arithmetic that both sides share. Over TLS, SCRAM-SHA-256-PLUS binds the exchange to the server's certificate. The user name inside the exchange is ignored, as in PostgreSQL: the
//! role is the one of the start-up packet.

pub mod client;
mod passed;
mod server;
mod verifier;

pub use passed::PassedKeys;
pub use server::{Failure, Outcome, Scram};
pub use verifier::Verifier;

use std::borrow::Cow;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// The mechanism's name.
pub const MECHANISM: &str = "SCRAM-SHA-256";
/// The mechanism with channel binding, over TLS.
pub const MECHANISM_PLUS: &str = "SCRAM-SHA-256-PLUS";
/// The one type of channel binding: a hash of the server's certificate (RFC 5929).
const BINDING_TYPE: &str = "tls-server-end-point";
/// Iterations of a new verifier (`scram_iterations`).
pub const DEFAULT_ITERATIONS: u32 = 4096;
/// Most iterations that anybody may ask for: nothing interrupts them.
pub const MAX_ITERATIONS: u32 = 1_000_000;
/// Bytes of a new verifier's salt.
const SALT_LENGTH: usize = 16;
/// Random bytes of a nonce, before base64.
const NONCE_LENGTH: usize = 18;

/// A hash, key, signature or proof.
pub type Key = [u8; 32];

/// HMAC-SHA-256 over the parts, one after another.
fn hmac(key: &[u8], parts: &[&[u8]]) -> Key {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// SHA-256: the mechanism's H().
fn hash(bytes: &[u8]) -> Key {
    Sha256::digest(bytes).into()
}

/// SaltedPassword: the mechanism's Hi(), over the prepared password.
fn salted_password(password: &[u8], salt: &[u8], iterations: u32) -> Key {
    let mut salted = [0; 32];
    pbkdf2::pbkdf2_hmac::<Sha256>(&prepared(password), salt, iterations, &mut salted);
    salted
}

/// SASLprep (RFC 4013). Where it fails, or the password is not UTF-8, the bytes are taken as they are.
fn prepared(password: &[u8]) -> Cow<'_, [u8]> {
    match std::str::from_utf8(password).map(stringprep::saslprep) {
        Ok(Ok(Cow::Borrowed(text))) => Cow::Borrowed(text.as_bytes()),
        Ok(Ok(Cow::Owned(text))) => Cow::Owned(text.into_bytes()),
        _ => Cow::Borrowed(password),
    }
}

fn xor(a: &[u8], b: &Key) -> Key {
    std::array::from_fn(|index| a.get(index).unwrap_or(&0) ^ b.get(index).unwrap_or(&0))
}

/// Random bytes from the kernel. Without them nobody can be authenticated, so that this is an error to report.
fn random<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map(|()| bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_prepared_or_taken_as_they_are() {
        // RFC 4013, section 3: a soft hyphen goes, a Roman numeral is spelt out, a control character is prohibited.
        assert_eq!(&*prepared("I\u{ad}X".as_bytes()), b"IX");
        assert_eq!(&*prepared("\u{2168}".as_bytes()), b"IX");
        assert_eq!(&*prepared(b"\x07"), b"\x07");
        assert_eq!(&*prepared(b"\xff\xfe"), b"\xff\xfe");
    }
}
