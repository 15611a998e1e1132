//! The client's side of the exchange, for logging in upstream, the load generator and tests.
//!
//! Deriving keys takes thousands of hashes by design; [`Keys`] are kept by the caller, so that a client which
//! connects often measures the server and not itself.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{Key, MAX_ITERATIONS, NONCE_LENGTH, PassedKeys, hash, hmac, random, salted_password, xor};

/// Keys derived from a password for one salt and iteration count.
#[derive(Clone)]
pub struct Keys {
    salt: Vec<u8>,
    iterations: u32,
    client_key: Key,
    server_key: Key,
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.client_key.zeroize();
        self.server_key.zeroize();
    }
}

impl ZeroizeOnDrop for Keys {}

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

/// server-first-message.
struct Challenge<'a> {
    text: &'a str,
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: u32,
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
        let challenge = self.read(server_first)?;
        let Challenge { salt, iterations, .. } = &challenge;
        let kept = cache.take().filter(|keys| keys.salt == *salt && keys.iterations == *iterations);
        let keys = kept.unwrap_or_else(|| Keys::derive(password, salt.clone(), *iterations));
        let answer = self.finish(&challenge, &keys.client_key, &keys.server_key);
        *cache = Some(keys);
        Ok(answer)
    }

    /// The same with the keys that another client has proved to know. They have to be of the verifier that this server has.
    pub fn answer_with(&mut self, server_first: &[u8], passed: &PassedKeys) -> Result<Vec<u8>, String> {
        let challenge = self.read(server_first)?;
        if !passed.fit(&challenge.salt, challenge.iterations) {
            return Err("its SCRAM secret has another salt or iteration count than the stored one".into());
        }
        let (client_key, server_key) = passed.keys();
        Ok(self.finish(&challenge, client_key, server_key))
    }

    fn read<'a>(&self, server_first: &'a [u8]) -> Result<Challenge<'a>, String> {
        let text = std::str::from_utf8(server_first).map_err(|_| "server-first-message is not UTF-8")?;
        let mut parts = text.split(',');
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
        Ok(Challenge { text, nonce, salt, iterations })
    }

    fn finish(&mut self, challenge: &Challenge<'_>, client_key: &[u8], server_key: &[u8]) -> Vec<u8> {
        let without_proof = format!("c=biws,r={}", challenge.nonce);
        let bare = self.first_bare();
        let message = [bare.as_str(), ",", challenge.text, ",", without_proof.as_str()].map(str::as_bytes);
        let proof = xor(client_key, &hmac(&hash(client_key), &message));
        self.expected = Some(hmac(server_key, &message));
        format!("{without_proof},p={}", BASE64.encode(proof)).into_bytes()
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
    fn keys_that_a_client_has_proved_to_know_log_in_where_the_verifier_is_the_same() {
        let verifier = Verifier::new(b"secret", 10).unwrap();
        let mut server = Scram::start(Some(verifier.clone()), "ann", &[1; 32]).unwrap().keeping_keys(true);
        let mut client = Client::new().unwrap();
        let Ok(Outcome::Continue(challenge)) = server.step(&client.first()) else { panic!("no challenge") };
        assert!(server.take_keys().is_none());
        let answer = client.answer(&challenge, b"secret", &mut None).unwrap();
        assert!(matches!(server.step(&answer), Ok(Outcome::Final(_))));
        let passed = server.take_keys().expect("keys");
        assert_eq!(format!("{passed:?}"), "PassedKeys { iterations: 10, .. }");

        let log_in = |verifier: Verifier| {
            let mut server = Scram::start(Some(verifier), "ann", &[1; 32]).unwrap();
            let mut client = Client::new().unwrap();
            let Ok(Outcome::Continue(challenge)) = server.step(&client.first()) else { panic!("no challenge") };
            match server.step(&client.answer_with(&challenge, &passed)?) {
                Ok(Outcome::Final(signature)) => client.verify(&signature),
                other => Err(format!("{other:?}")),
            }
        };
        assert_eq!(log_in(verifier.clone()), Ok(()));
        assert_eq!(log_in(Verifier::with_salt(b"other", 10, &verifier.salt)), Err("Ok(Fail)".into()));
        for another in [Verifier::new(b"secret", 10).unwrap(), Verifier::with_salt(b"secret", 11, &verifier.salt)] {
            assert!(log_in(another).unwrap_err().contains("another salt or iteration count"));
        }
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
