//! How a session proves who it is: password in clear, md5, SCRAM-SHA-256.
//!
//! What is costly and the same every time is kept: the md5 hash of password and name, and SCRAM's keys for the salt
//! and iterations that the server named last. So the load generator does not measure itself.

use super::outcome::Failure;
use crate::auth::password::{md5_hash, md5_response};
use crate::auth::scram::MECHANISM;
use crate::auth::scram::client::{Client, Keys};
use crate::protocol::Frame;
use crate::protocol::client::{Backend, ClientEncoder};

/// The user's password and what was derived from it; one a thread.
pub struct Credentials {
    password: Option<String>,
    /// The stored form that md5 authentication hashes with the salt.
    md5: String,
    /// SCRAM's keys, for this password and the last salt and iterations.
    keys: Option<Keys>,
}

impl Credentials {
    /// For a user with that password, or none.
    pub fn new(user: &str, password: Option<&str>) -> Self {
        let md5 = md5_hash(password.unwrap_or_default().as_bytes(), user.as_bytes());
        Self { password: password.map(str::to_owned), md5, keys: None }
    }

    fn password(&self) -> Result<&str, Failure> {
        self.password.as_deref().ok_or_else(|| Failure::named("PASSWORD_MISSING", "no password supplied"))
    }
}

/// Where an authentication stands.
#[derive(Default)]
pub struct Exchange {
    accepted: bool,
    scram: Option<Client>,
    /// The server has proved that it knows the password's verifier.
    verified: bool,
}

impl std::fmt::Debug for Exchange {
    /// Without nonces and keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange").field("accepted", &self.accepted).finish_non_exhaustive()
    }
}

impl Exchange {
    /// Whether ReadyForQuery may come.
    pub fn is_complete(&self) -> bool {
        self.accepted
    }

    /// Answers one Authentication message.
    pub fn step(&mut self, frame: Frame<'_>, credentials: &mut Credentials, out: &mut Vec<u8>) -> Result<(), Failure> {
        let request = Backend::decode(frame).map_err(|violation| Failure::protocol(format!("{violation:?}")))?;
        let scram = |reason: String| Failure::named("SCRAM", &reason);
        match (request, &mut self.scram) {
            (Backend::AuthenticationOk, None) => self.accepted = true,
            (Backend::AuthenticationOk, Some(_)) if self.verified => self.accepted = true,
            (Backend::AuthenticationCleartextPassword, None) => {
                ClientEncoder::new(out).password(credentials.password()?);
            }
            (Backend::AuthenticationMd5Password(salt), None) => {
                credentials.password()?;
                ClientEncoder::new(out).password(&md5_response(&credentials.md5, salt));
            }
            (Backend::AuthenticationSasl(mechanisms), None) => {
                if !mechanisms.contains(&MECHANISM) {
                    return Err(scram(format!("server offers {} only", mechanisms.join(", "))));
                }
                credentials.password()?;
                let client = Client::new().map_err(scram)?;
                ClientEncoder::new(out).sasl_initial_response(MECHANISM, &client.first());
                self.scram = Some(client);
            }
            (Backend::AuthenticationSaslContinue(challenge), Some(client)) => {
                let password = credentials.password.as_deref().unwrap_or_default();
                let answer = client.answer(challenge, password.as_bytes(), &mut credentials.keys).map_err(scram)?;
                ClientEncoder::new(out).sasl_response(&answer);
            }
            (Backend::AuthenticationSaslFinal(signature), Some(client)) => {
                client.verify(signature).map_err(scram)?;
                self.verified = true;
            }
            (request, _) => return Err(Failure::protocol(format!("{request:?} out of turn"))),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(body: &[u8], password: Option<&str>) -> Result<Vec<u8>, Failure> {
        let mut out = Vec::new();
        let mut credentials = Credentials::new("ann", password);
        Exchange::default().step(Frame { kind: b'R', body }, &mut credentials, &mut out)?;
        Ok(out)
    }

    #[test]
    fn passwords_in_clear_and_hashed() {
        assert_eq!(step(&[0, 0, 0, 3], Some("pencil")), Ok(b"p\0\0\0\x0bpencil\0".to_vec()));
        let hashed = step(&[0, 0, 0, 5, 1, 2, 3, 4], Some("pencil")).expect("an answer");
        let expected = md5_response(&md5_hash(b"pencil", b"ann"), [1, 2, 3, 4]);
        assert_eq!(hashed[5..hashed.len() - 1], *expected.as_bytes());
    }

    #[test]
    fn a_missing_password_has_a_name() {
        for body in [&[0, 0, 0, 3][..], &[0, 0, 0, 5, 1, 2, 3, 4], b"\0\0\0\x0aSCRAM-SHA-256\0\0"] {
            assert_eq!(step(body, None).expect_err("no password").code(), "PASSWORD_MISSING");
        }
    }

    #[test]
    fn a_server_that_does_not_prove_itself_is_refused() {
        let (mut exchange, mut out) = (Exchange::default(), Vec::new());
        let mut credentials = Credentials::new("ann", Some("pencil"));
        let mut step = |body: &[u8]| exchange.step(Frame { kind: b'R', body }, &mut credentials, &mut out);
        assert_eq!(step(b"\0\0\0\x0aSCRAM-SHA-256\0\0"), Ok(()));
        assert_eq!(step(&[0; 4]).expect_err("not verified").code(), "PROTOCOL");
        assert_eq!(step(b"\0\0\0\x0cv=AAAA").expect_err("wrong signature").code(), "SCRAM");
    }
}
