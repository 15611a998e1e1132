//! The client's side of the exchange, for the load generator and tests.
//!
//! Deriving keys takes thousands of hashes by design; [`Keys`] are kept by the caller, so that a client which
//! connects often measures the server and not itself.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use subtle::ConstantTimeEq;

use super::{Key, MAX_ITERATIONS, NONCE_LENGTH, hash, hmac, random, salted_password, xor};

/// Keys derived from a password for one salt and iteration count.
#[derive(Clone)]
pub struct Keys {
    salt: Vec<u8>,
    iterations: u32,
    client_key: Key,
    server_key: Key,
}

impl Keys {
    fn derive(password: &[u8], salt: Vec<u8>, iterations: u32) -> Keys {
        let salted = salted_password(password, &salt, iterations);
        let (client_key, server_key) = (hmac(&salted, &[b"Client Key"]), hmac(&salted, &[b"Server Key"]));
        Keys { salt, iterations, client_key, server_key }
    }
}

/// A client's exchange that is under way.
pub struct Client {
    nonce: String,
    expected: Option<Key>,
}

impl Client {
    /// Begins an exchange with a fresh nonce.
    pub fn new() -> Result<Client, String> {
        let nonce = random::<NONCE_LENGTH>().map_err(|error| error.to_string())?;
        Ok(Client { nonce: BASE64.encode(nonce), expected: None })
    }

    /// client-first-message, to be sent in SASLInitialResponse.
    pub fn first(&self) -> Vec<u8> {
        format!("n,,{}", self.first_bare()).into_bytes()
    }

    fn first_bare(&self) -> String {
        format!("n=,r={}", self.nonce)
    }

    /// client-final-message in answer to server-first-message. Uses `cache` if its keys fit, and fills it.
    pub fn answer(
        &mut self,
        server_first: &[u8],
        password: &[u8],
        cache: &mut Option<Keys>,
    ) -> Result<Vec<u8>, String> {
        let server_first = std::str::from_utf8(server_first).map_err(|_| "server-first-message is not UTF-8")?;
        let mut parts = server_first.split(',');
        let mut attribute = |name: &str| {
            parts.next().and_then(|part| part.strip_prefix(name)).ok_or_else(|| format!("no {name} from the server"))
        };
        let (nonce, salt, iterations) = (attribute("r=")?, attribute("s=")?, attribute("i=")?);
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err("the server's nonce does not extend ours".into());
        }
        let salt = BASE64.decode(salt).map_err(|error| error.to_string())?;
        let iterations = iterations.parse::<u32>().map_err(|error| error.to_string())?;
        if !(1..=MAX_ITERATIONS).contains(&iterations) {
            return Err(format!("{iterations} iterations"));
        }
        let kept = cache.take().filter(|keys| keys.salt == salt && keys.iterations == iterations);
        let keys = kept.unwrap_or_else(|| Keys::derive(password, salt, iterations));

        let without_proof = format!("c=biws,r={nonce}");
        let bare = self.first_bare();
        let message = [bare.as_str(), ",", server_first, ",", without_proof.as_str()].map(str::as_bytes);
        let proof = xor(&keys.client_key, &hmac(&hash(&keys.client_key), &message));
        self.expected = Some(hmac(&keys.server_key, &message));
        *cache = Some(keys);
        Ok(format!("{without_proof},p={}", BASE64.encode(proof)).into_bytes())
    }

    /// Checks server-final-message: whether the server knows the password's verifier too.
    pub fn verify(&self, server_final: &[u8]) -> Result<(), String> {
        let signature = server_final.strip_prefix(b"v=").and_then(|text| BASE64.decode(text).ok());
        match (signature, &self.expected) {
            (Some(signature), Some(expected)) if bool::from(signature.ct_eq(expected)) => Ok(()),
            _ => Err("the server's signature is wrong".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Outcome, Scram, Verifier};
    use super::*;

    fn exchange(verifier: Option<Verifier>, password: &[u8], cache: &mut Option<Keys>) -> Result<(), String> {
        let mut server = Scram::start(verifier, "ann", &[1; 32]).map_err(|error| error.to_string())?;
        let mut client = Client::new()?;
        let Ok(Outcome::Continue(server_first)) = server.step(&client.first()) else { panic!("no challenge") };
        let answer = client.answer(&server_first, password, cache)?;
        match server.step(&answer) {
            Ok(Outcome::Final(server_final)) => client.verify(&server_final),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn client_and_server_agree() {
        let verifier = Verifier::new("gr\u{fc}n\u{ad}".as_bytes(), 4096).unwrap();
        let mut cache = None;
        for _ in 0..2 {
            // The soft hyphen is mapped to nothing on both sides.
            assert_eq!(exchange(Some(verifier.clone()), "gr\u{fc}n".as_bytes(), &mut cache), Ok(()));
        }
        assert_eq!(exchange(Some(verifier), b"green", &mut None), Err("Ok(Fail)".into()));
        assert_eq!(exchange(None, b"green", &mut None), Err("Ok(Fail)".into()));
    }

    #[test]
    fn cached_keys_of_another_salt_are_not_used() {
        let mut cache = None;
        for password in [&b"one"[..], b"two"] {
            let verifier = Verifier::new(password, 10).unwrap();
            assert_eq!(exchange(Some(verifier), password, &mut cache), Ok(()));
        }
    }
}
