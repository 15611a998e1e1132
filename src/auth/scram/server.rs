//! The server's side of the exchange: a state machine over the client's messages.
//!
//! A mock exchange (for a role that does not exist or has no verifier) runs through the same states and ends in
//! the same failure as a wrong password.

use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{
    BINDING_TYPE, Key, MECHANISM, MECHANISM_PLUS, NONCE_LENGTH, PassedKeys, Verifier, hash, hmac, random, xor,
};
use crate::error::{Condition, Error};

/// An exchange that is under way.
#[derive(Debug)]
pub struct Scram {
    verifier: Verifier,
    /// True for a mock exchange: whatever the proof, it fails.
    doomed: bool,
    server_nonce: String,
    /// The hash of the server's certificate, where channel binding is offered.
    end_point: Option<Vec<u8>>,
    /// The client has chosen the mechanism with channel binding.
    is_bound: bool,
    /// Whether the keys behind the client's proof are wanted, and those keys.
    keeps_keys: bool,
    passed: Option<Rc<PassedKeys>>,
    state: State,
}

#[derive(Debug)]
enum State {
    First,
    Final { client_first_bare: String, server_first: String, nonce: String, flag: u8 },
    Over,
}

/// What follows from a client's message.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Send this as AuthenticationSASLContinue, and read on.
    Continue(Vec<u8>),
    /// The client has proved itself. Send this as AuthenticationSASLFinal.
    Final(Vec<u8>),
    /// The proof is wrong, or there was nothing to prove.
    Fail,
}

/// A message that breaks the mechanism's rules; becomes 08P01 or 0A000.
pub type Failure = Error;

impl Scram {
    /// Begins an exchange against a verifier, or a mock one. Fails only if the kernel has no random bytes.
    pub fn start(verifier: Option<Verifier>, user: &str, mock_secret: &[u8; 32]) -> Result<Scram, Error> {
        let nonce = random::<NONCE_LENGTH>()
            .map_err(|error| Error::internal(format!("could not generate random nonce: {error}")))?;
        Ok(Self::with_nonce(verifier, user, mock_secret, BASE64.encode(nonce)))
    }

    fn with_nonce(verifier: Option<Verifier>, user: &str, mock_secret: &[u8; 32], server_nonce: String) -> Scram {
        let doomed = verifier.is_none();
        let verifier = verifier.unwrap_or_else(|| Verifier::mock(user, mock_secret));
        let (keeps_keys, passed) = (false, None);
        let (end_point, is_bound, state) = (None, false, State::First);
        Scram { verifier, doomed, server_nonce, end_point, is_bound, keeps_keys, passed, state }
    }

    /// Offers channel binding: over TLS, with the hash that `tls-server-end-point` has of the server's certificate.
    pub fn offering(self, end_point: Option<&[u8]>) -> Scram {
        Scram { end_point: end_point.map(<[u8]>::to_vec), ..self }
    }

    /// Whether the keys behind the client's proof shall be kept, for [`Self::take_keys`].
    pub fn keeping_keys(self, keeps_keys: bool) -> Scram {
        Scram { keeps_keys, ..self }
    }

    /// The keys of a client that has proved itself.
    pub fn take_keys(&mut self) -> Option<Rc<PassedKeys>> {
        self.passed.take()
    }

    /// The mechanisms to offer, best first.
    pub fn mechanisms(&self) -> &'static [&'static str] {
        if self.end_point.is_some() { &[MECHANISM_PLUS, MECHANISM] } else { &[MECHANISM] }
    }

    /// The client has chosen a mechanism. False if that was not offered.
    pub fn select(&mut self, mechanism: &str) -> bool {
        self.is_bound = mechanism == MECHANISM_PLUS;
        self.mechanisms().contains(&mechanism)
    }

    /// Takes the client's next message.
    pub fn step(&mut self, message: &[u8]) -> Result<Outcome, Failure> {
        let text = readable(message)?;
        match std::mem::replace(&mut self.state, State::Over) {
            State::First => self.client_first(text),
            State::Final { client_first_bare, server_first, nonce, flag } => {
                self.client_final(text, &client_first_bare, &server_first, &nonce, flag)
            }
            State::Over => Err(malformed("The exchange is over.")),
        }
    }

    fn client_first(&mut self, text: &str) -> Result<Outcome, Failure> {
        // gs2-header = gs2-cbind-flag "," [ authzid ] ","; then reserved-mext, username, nonce, extensions.
        let flag = text.bytes().next().unwrap_or(0);
        let rest = match flag {
            b'n' | b'y' if self.is_bound => {
                return Err(malformed(
                    "The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not include channel binding \
                     data.",
                ));
            }
            // 'y': the client could bind the channel and thinks that the server cannot. If it can, somebody between
            // them has taken the offer away.
            b'y' if self.end_point.is_some() => {
                let message = "SCRAM channel binding negotiation error";
                return Err(Error::new(Condition::InvalidAuthorizationSpecification, message).detail(
                    "The client supports SCRAM channel binding but thinks the server does not.  However, this server \
                     does support channel binding.",
                ));
            }
            b'n' | b'y' => {
                let rest = text.get(1..).unwrap_or_default();
                rest.strip_prefix(',').ok_or_else(|| {
                    malformed(format!("Comma expected, but found character \"{}\".", shown_first(rest)))
                })?
            }
            b'p' if self.is_bound => {
                let mut attributes = Attributes { rest: Some(text) };
                let kind = attributes.take('p')?;
                if kind != BINDING_TYPE {
                    let message = format!("unsupported SCRAM channel-binding type \"{}\"", sanitized(kind));
                    return Err(Error::new(Condition::ProtocolViolation, message));
                }
                attributes.rest.unwrap_or_default()
            }
            b'p' => {
                return Err(malformed(
                    "The client selected SCRAM-SHA-256 without channel binding, but the SCRAM message includes \
                     channel binding data.",
                ));
            }
            other => {
                return Err(malformed(format!("Unexpected channel-binding flag \"{}\".", shown(other))));
            }
        };
        if rest.starts_with('a') {
            return Err(unsupported("client uses authorization identity, but it is not supported"));
        }
        let bare = rest.strip_prefix(',').ok_or_else(|| {
            malformed(format!("Unexpected attribute \"{}\" in client-first-message.", shown_first(rest)))
        })?;
        if bare.starts_with('m') {
            return Err(unsupported("client requires an unsupported SCRAM extension"));
        }
        let mut attributes = Attributes { rest: Some(bare) };
        attributes.take('n')?;
        let client_nonce = attributes.take('r')?;
        if client_nonce.is_empty() || !client_nonce.bytes().all(|byte| matches!(byte, 0x21..=0x2b | 0x2d..=0x7e)) {
            return Err(Error::new(Condition::ProtocolViolation, "non-printable characters in SCRAM nonce"));
        }
        // Extensions that are not mandatory are ignored, if they are attributes.
        attributes.skip_all()?;
        let nonce = format!("{client_nonce}{}", self.server_nonce);
        let server_first = format!("r={nonce},s={},i={}", BASE64.encode(&self.verifier.salt), self.verifier.iterations);
        let reply = server_first.clone().into_bytes();
        self.state = State::Final { client_first_bare: bare.to_owned(), server_first, nonce, flag };
        Ok(Outcome::Continue(reply))
    }

    fn client_final(
        &mut self,
        text: &str,
        client_first_bare: &str,
        server_first: &str,
        nonce: &str,
        flag: u8,
    ) -> Result<Outcome, Failure> {
        let mut attributes = Attributes { rest: Some(text) };
        let binding = attributes.take('c')?;
        if let Some(end_point) = self.end_point.as_ref().filter(|_| self.is_bound) {
            let expected = [format!("p={BINDING_TYPE},,").as_bytes(), end_point].concat();
            if !bool::from(BASE64.encode(expected).as_bytes().ct_eq(binding.as_bytes())) {
                let message = "SCRAM channel binding check failed";
                return Err(Error::new(Condition::InvalidAuthorizationSpecification, message));
            }
        } else if binding != (if flag == b'n' { "biws" } else { "eSws" }) {
            // base64 of "n,," or "y,,": what the first message said.
            return Err(Error::new(
                Condition::ProtocolViolation,
                "unexpected SCRAM channel-binding attribute in client-final-message",
            ));
        }
        let final_nonce = attributes.take('r')?;
        let (without_proof, proof) = attributes.proof(text)?;
        if final_nonce != nonce {
            return Err(
                Error::new(Condition::ProtocolViolation, "invalid SCRAM response").detail("Nonce does not match.")
            );
        }
        let message = [client_first_bare, ",", server_first, ",", without_proof].map(str::as_bytes);
        let signature = hmac(&self.verifier.stored_key, &message);
        let client_key = Zeroizing::new(xor(&proof, &signature));
        let proved = hash(&*client_key).ct_eq(&self.verifier.stored_key);
        if self.doomed || !bool::from(proved) {
            return Ok(Outcome::Fail);
        }
        if self.keeps_keys {
            self.passed = PassedKeys::new(&client_key, &self.verifier).map(Rc::new);
        }
        let server_signature = hmac(&self.verifier.server_key, &message);
        Ok(Outcome::Final(format!("v={}", BASE64.encode(server_signature)).into_bytes()))
    }
}

/// Walks `name=value` attributes with commas between them.
struct Attributes<'a> {
    rest: Option<&'a str>,
}

impl<'a> Attributes<'a> {
    /// The value of the next attribute, which has to be this one.
    fn take(&mut self, name: char) -> Result<&'a str, Failure> {
        let (found, value) = self.any(Some(name))?;
        if found != name {
            return Err(malformed(format!("Expected attribute \"{name}\" but found \"{}\".", shown_char(found))));
        }
        Ok(value)
    }

    fn any(&mut self, expected: Option<char>) -> Result<(char, &'a str), Failure> {
        let rest = self.rest.take().unwrap_or_default();
        let Some(name) = rest.chars().next() else {
            return Err(malformed("Attribute expected, but found end of string."));
        };
        if !name.is_ascii_alphabetic() {
            return Err(malformed(format!(
                "Attribute expected, but found invalid character \"{}\".",
                shown_char(name)
            )));
        }
        let Some(rest) = rest.get(1..).and_then(|rest| rest.strip_prefix('=')) else {
            return Err(malformed(format!("Expected character \"=\" for attribute \"{}\".", expected.unwrap_or(name))));
        };
        match rest.split_once(',') {
            Some((value, rest)) => {
                self.rest = Some(rest);
                Ok((name, value))
            }
            None => Ok((name, rest)),
        }
    }

    fn skip_all(&mut self) -> Result<(), Failure> {
        while self.rest.is_some() {
            self.any(None)?;
        }
        Ok(())
    }

    /// Skips to the proof, which ends the message: what comes before it, and the proof itself.
    fn proof(&mut self, text: &'a str) -> Result<(&'a str, Key), Failure> {
        loop {
            let before = text.len().saturating_sub(self.rest.map_or(0, str::len) + 1);
            let (name, value) = self.any(None)?;
            if name != 'p' {
                continue;
            }
            if self.rest.is_some() {
                return Err(malformed("Garbage found at the end of client-final-message."));
            }
            let proof = BASE64.decode(value).ok().and_then(|bytes| Key::try_from(bytes).ok());
            let proof = proof.ok_or_else(|| malformed("Malformed proof in client-final-message."))?;
            return Ok((text.get(..before).unwrap_or_default(), proof));
        }
    }
}

fn readable(message: &[u8]) -> Result<&str, Failure> {
    if message.is_empty() {
        return Err(malformed("The message is empty."));
    }
    if message.contains(&0) {
        return Err(malformed("Message length does not match input length."));
    }
    std::str::from_utf8(message).map_err(|_| malformed("The message is not UTF-8."))
}

fn malformed(detail: impl Into<String>) -> Failure {
    Error::new(Condition::ProtocolViolation, "malformed SCRAM message").detail(detail)
}

fn shown(byte: u8) -> String {
    shown_char(char::from(byte))
}

fn shown_first(text: &str) -> String {
    text.chars().next().map_or_else(String::new, shown_char)
}

/// Printable ASCII as it is, other characters by their number.
fn shown_char(c: char) -> String {
    if matches!(c, '!'..='~') { c.to_string() } else { format!("0x{:02x}", u32::from(c)) }
}

/// As PostgreSQL shows what a client has made up: 30 characters, those that are not printable as question marks.
fn sanitized(text: &str) -> String {
    text.bytes().take(30).map(|byte| if matches!(byte, b'!'..=b'~') { char::from(byte) } else { '?' }).collect()
}

fn unsupported(message: &str) -> Failure {
    Error::new(Condition::FeatureNotSupported, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Next, client, frame};

    const SECRET: [u8; 32] = [7; 32];

    /// The example of RFC 7677, section 3.
    fn rfc_7677() -> Scram {
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let verifier = Verifier::with_salt(b"pencil", 4096, &salt);
        Scram::with_nonce(Some(verifier), "user", &SECRET, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".into())
    }

    const CLIENT_FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                                p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

    #[test]
    fn the_example_of_rfc_7677() {
        let mut scram = rfc_7677();
        assert_eq!(
            scram.step(CLIENT_FIRST),
            Ok(Outcome::Continue(
                b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096".to_vec()
            ))
        );
        assert_eq!(
            scram.step(CLIENT_FINAL.as_bytes()),
            Ok(Outcome::Final(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=".to_vec()))
        );
        assert!(scram.step(CLIENT_FINAL.as_bytes()).is_err(), "an exchange cannot be stepped past its end");
    }

    /// The bodies of the messages of type `kind` in a recording.
    fn bodies(mut bytes: &[u8], kind: u8) -> Vec<&[u8]> {
        let mut bodies = Vec::new();
        while let Ok(Next::Complete(frame, length)) = client::next(bytes) {
            bodies.extend((frame.kind == kind).then_some(frame.body));
            bytes = &bytes[length..];
        }
        bodies
    }

    #[test]
    fn psql_is_let_in_and_gets_the_signature_that_postgresql_sent() {
        let front: &[u8] = include_bytes!("../../../tests/wire/psql.front");
        let back: &[u8] = include_bytes!("../../../tests/wire/psql.back");
        let mut front = front;
        // Skip the start-up packets, which have no type byte.
        while let Ok(Next::Complete(_, length)) = frame::next_startup(front) {
            front = &front[length..];
        }
        let [first, last] = bodies(front, b'p')[..] else { panic!("two SASL messages") };
        let requests = bodies(back.strip_prefix(b"N").unwrap_or(back), b'R');
        let (server_first, server_final) = (&requests[1][4..], &requests[2][4..]);

        let text = std::str::from_utf8(server_first).unwrap();
        let mut parts = text.split(',').map(|part| &part[2..]);
        let (nonce, salt) = (parts.next().unwrap(), BASE64.decode(parts.next().unwrap()).unwrap());
        let client_first = first.splitn(2, |&byte| byte == 0).nth(1).map(|rest| &rest[4..]).unwrap();
        let client_nonce = client_first.strip_prefix(b"n,,n=,r=").unwrap();
        let server_nonce = nonce[client_nonce.len()..].to_owned();

        let verifier = Verifier::with_salt(b"secret", 4096, &salt);
        let mut scram = Scram::with_nonce(Some(verifier), "postgres", &SECRET, server_nonce);
        assert_eq!(scram.step(client_first), Ok(Outcome::Continue(server_first.to_vec())));
        assert_eq!(scram.step(last), Ok(Outcome::Final(server_final.to_vec())));
    }

    #[test]
    fn a_wrong_proof_and_a_mock_exchange_fail_alike() {
        let wrong = CLIENT_FINAL.replace("p=d", "p=e");
        let mut scram = rfc_7677();
        scram.step(CLIENT_FIRST).unwrap();
        assert_eq!(scram.step(wrong.as_bytes()), Ok(Outcome::Fail));

        let mut mock = Scram::with_nonce(None, "user", &SECRET, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".into());
        assert!(matches!(mock.step(CLIENT_FIRST), Ok(Outcome::Continue(_))));
        assert_eq!(mock.step(CLIENT_FINAL.as_bytes()), Ok(Outcome::Fail));
    }

    fn refused(first: &[u8]) -> (&'static str, String) {
        let error = rfc_7677().step(first).unwrap_err();
        let fields = error.fields();
        (fields.condition.code(), fields.detail.clone().unwrap_or_else(|| fields.message.clone()))
    }

    #[test]
    fn first_messages_that_break_the_rules() {
        assert_eq!(refused(b"").1, "The message is empty.");
        assert_eq!(refused(b"n,,n=,r=a\0").1, "Message length does not match input length.");
        assert_eq!(refused(b"x,,n=,r=a").1, "Unexpected channel-binding flag \"x\".");
        assert!(refused(b"p=tls-server-end-point,,n=,r=a").1.contains("channel binding data"));
        assert_eq!(refused(b"nn").1, "Comma expected, but found character \"n\".");
        assert_eq!(refused(b"n,a=bob,n=,r=a").0, "0A000");
        assert_eq!(refused(b"n,x,n=,r=a").1, "Unexpected attribute \"x\" in client-first-message.");
        assert_eq!(refused(b"n,,m=ext,n=,r=a").0, "0A000");
        assert_eq!(refused(b"n,,r=a").1, "Expected attribute \"n\" but found \"r\".");
        assert_eq!(refused(b"n,,n=").1, "Attribute expected, but found end of string.");
        assert_eq!(refused(b"n,,n=,r").1, "Expected character \"=\" for attribute \"r\".");
        assert_eq!(refused(b"n,,n=,r=\x7f").1, "non-printable characters in SCRAM nonce");
        assert_eq!(refused(b"n,,n=,r=a,%=x").1, "Attribute expected, but found invalid character \"%\".");
        assert_eq!(refused("n,,n=,ü".as_bytes()).1, "Attribute expected, but found invalid character \"0xfc\".");
    }

    fn bound(mechanism: &str) -> Scram {
        let mut scram = rfc_7677().offering(Some(b"hash"));
        assert!(scram.select(mechanism));
        scram
    }

    #[test]
    fn channel_binding_is_checked_and_a_downgrade_noticed() {
        assert_eq!(bound(MECHANISM).mechanisms(), [MECHANISM_PLUS, MECHANISM]);
        assert!(!rfc_7677().select(MECHANISM_PLUS), "not offered without TLS");
        let first = b"p=tls-server-end-point,,n=user,r=rOprNGfwEbeRWgbNEkqO";
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let answer = |binding: &[u8]| {
            let mut scram = bound(MECHANISM_PLUS);
            let Outcome::Continue(challenge) = scram.step(first).unwrap() else { panic!("no challenge") };
            let challenge = String::from_utf8(challenge).unwrap();
            let without_proof = format!("c={},r={nonce}", BASE64.encode(binding));
            let salted = super::super::salted_password(b"pencil", &scram.verifier.salt, 4096);
            let client_key = hmac(&salted, &[b"Client Key"]);
            let message = format!("n=user,r=rOprNGfwEbeRWgbNEkqO,{challenge},{without_proof}");
            let proof = xor(&client_key, &hmac(&hash(&client_key), &[message.as_bytes()]));
            scram.step(format!("{without_proof},p={}", BASE64.encode(proof)).as_bytes())
        };
        assert!(matches!(answer(b"p=tls-server-end-point,,hash"), Ok(Outcome::Final(_))));
        let error = answer(b"p=tls-server-end-point,,hush").unwrap_err();
        assert_eq!(
            (error.fields().condition.code(), &error.fields().message[..]),
            ("28000", "SCRAM channel binding check failed")
        );
        let refused = |mechanism: &str, first: &[u8]| {
            let error = bound(mechanism).step(first).unwrap_err();
            (error.fields().condition.code(), error.fields().message.clone())
        };
        assert_eq!(refused(MECHANISM, b"y,,n=,r=a"), ("28000", "SCRAM channel binding negotiation error".to_owned()));
        assert_eq!(refused(MECHANISM, first).0, "08P01");
        assert_eq!(refused(MECHANISM_PLUS, b"n,,n=,r=a").0, "08P01");
        assert_eq!(refused(MECHANISM_PLUS, b"y,,n=,r=a").0, "08P01");
        let wrong_type = "unsupported SCRAM channel-binding type \"tls-unique\"";
        assert_eq!(refused(MECHANISM_PLUS, b"p=tls-unique,,n=,r=a"), ("08P01", wrong_type.to_owned()));
        assert!(
            matches!(bound(MECHANISM).step(CLIENT_FIRST), Ok(Outcome::Continue(_))),
            "a client without it is let in"
        );
    }

    #[test]
    fn final_messages_that_break_the_rules() {
        let refused = |text: &str| {
            let mut scram = rfc_7677();
            scram.step(CLIENT_FIRST).unwrap();
            let error = scram.step(text.as_bytes()).unwrap_err();
            let fields = error.fields();
            fields.detail.clone().unwrap_or_else(|| fields.message.clone())
        };
        assert!(refused(&CLIENT_FINAL.replace("biws", "eSws")).contains("channel-binding attribute"));
        assert_eq!(refused(&CLIENT_FINAL.replace("rOpr", "rOpq")), "Nonce does not match.");
        assert_eq!(refused("c=biws,r=x,p=AAAA"), "Malformed proof in client-final-message.");
        assert_eq!(refused(&format!("{CLIENT_FINAL},x=y")), "Garbage found at the end of client-final-message.");
        assert_eq!(refused("c=biws,r=x"), "Attribute expected, but found end of string.");
    }
}
