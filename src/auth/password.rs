//! Stored passwords: which form one has, how a new one is made, how one is checked.

use std::fmt;

use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

use super::scram::{DEFAULT_ITERATIONS, MAX_ITERATIONS, Verifier};
use crate::error::{Condition, Error};

/// Longest password that CREATE ROLE takes in clear, in bytes.
pub const MAX_LENGTH: usize = 1024;

/// The form of a stored password.
#[derive(Clone, PartialEq, Eq)]
pub enum Stored {
    /// `SCRAM-SHA-256$…`.
    Scram(Verifier),
    /// `md5` and 32 hexadecimal digits.
    Md5(String),
}

impl fmt::Debug for Stored {
    /// Only the form: an md5 hash is as good as the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stored::Scram(_) => "Scram",
            Stored::Md5(_) => "Md5",
        })
    }
}

impl Stored {
    /// Reads the stored form; anything else is `None`: a password in clear.
    pub fn parse(text: &str) -> Option<Stored> {
        if let Some(verifier) = Verifier::parse(text) {
            return Some(Stored::Scram(verifier));
        }
        let digits = text.strip_prefix("md5")?;
        let is_md5 = digits.len() == 32 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_md5.then(|| Stored::Md5(text.to_owned()))
    }

    /// Whether `password`, which a client sent in clear, is this role's.
    pub fn verify(&self, user: &str, password: &[u8]) -> bool {
        match self {
            Stored::Scram(verifier) => verifier.verify(password),
            Stored::Md5(stored) => md5_hash(password, user.as_bytes()).as_bytes().ct_eq(stored.as_bytes()).into(),
        }
    }
}

/// What CREATE ROLE … PASSWORD keeps: a stored form as it is, anything else as a new SCRAM verifier. An empty
/// password, also one hidden in a verifier, leaves the role without one (`None`), as in PostgreSQL.
pub fn encrypt(user: &str, password: &str) -> Result<Option<String>, Error> {
    let stored = Stored::parse(password);
    if let Some(Stored::Scram(verifier)) = &stored
        && verifier.iterations > MAX_ITERATIONS
    {
        return Err(Error::new(Condition::ProgramLimitExceeded, "SCRAM secret with too many iterations")
            .detail(format!("SCRAM secrets must have no more than {MAX_ITERATIONS} iterations.")));
    }
    if password.is_empty() || stored.as_ref().is_some_and(|stored| stored.verify(user, b"")) {
        return Ok(None);
    }
    if stored.is_some() {
        return Ok(Some(password.to_owned()));
    }
    if password.len() > MAX_LENGTH {
        return Err(Error::new(Condition::ProgramLimitExceeded, "encrypted password is too long")
            .detail(format!("Encrypted passwords must be no longer than {MAX_LENGTH} bytes.")));
    }
    let verifier = Verifier::new(password.as_bytes(), DEFAULT_ITERATIONS)
        .map_err(|error| Error::internal(format!("could not generate random salt: {error}")))?;
    Ok(Some(verifier.to_string()))
}

/// `md5` and the hexadecimal MD5 of text and salt: with the role's name as salt, the stored form.
pub fn md5_hash(text: &[u8], salt: &[u8]) -> String {
    let digest = Md5::new().chain_update(text).chain_update(salt).finalize();
    digest.iter().fold("md5".to_owned(), |mut out, byte| {
        use std::fmt::Write as _;
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// The answer to AuthenticationMD5Password, from the stored form and the challenge's salt.
pub fn md5_response(stored: &str, salt: [u8; 4]) -> String {
    md5_hash(stored.strip_prefix("md5").unwrap_or(stored).as_bytes(), &salt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn md5_as_postgresql_stores_it() {
        // SELECT 'md5' || md5('secret' || 'ann')
        assert_eq!(md5_hash(b"secret", b"ann").len(), 35);
        assert_eq!(md5_hash(b"", b""), "md5d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(md5_hash(b"ab", b"c"), "md5900150983cd24fb0d6963f7d28e17f72");
    }

    #[test]
    fn forms_are_recognised() {
        let md5 = md5_hash(b"secret", b"ann");
        let stored = Stored::parse(&md5).unwrap();
        assert!(stored.verify("ann", b"secret"));
        assert!(!stored.verify("bob", b"secret"));
        assert_eq!(Stored::parse(&md5.to_uppercase()), None);
        assert_eq!(Stored::parse("secret"), None);
        let scram = encrypt("ann", "secret").unwrap().unwrap();
        assert!(Stored::parse(&scram).unwrap().verify("ann", b"secret"));
    }

    #[test]
    fn what_is_encrypted_already_is_kept() {
        let md5 = md5_hash(b"secret", b"ann");
        assert_eq!(encrypt("ann", &md5), Ok(Some(md5)));
        assert_eq!(encrypt("ann", ""), Ok(None));
        assert_eq!(encrypt("ann", &md5_hash(b"", b"ann")), Ok(None));
        assert!(encrypt("ann", &"x".repeat(2000)).is_err());
        // Whoever checked a password against it would be busy for hours.
        let endless = Verifier::with_salt(b"x", 1, b"salt").to_string().replace("$1:", "$4294967295:");
        assert_eq!(encrypt("ann", &endless).unwrap_err().condition(), Condition::ProgramLimitExceeded);
    }
}
