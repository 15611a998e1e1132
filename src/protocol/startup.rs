//! Packets that open a connection: requests for encryption or cancellation, and StartupMessage.
//!
//! Owns version negotiation and the meaning of a start-up packet's parameters. Names come out whole: cutting
//! them to 63 bytes, as PostgreSQL does, is part of reading them here.

use super::{Reader, Setting, Violation, options};
use crate::error::{Condition, Error};

/// Code of a CancelRequest: 1234.5678.
const CANCEL: u32 = 80_877_102;
/// Code of an SSLRequest: 1234.5679.
const SSL: u32 = 80_877_103;
/// Code of a GSSENCRequest: 1234.5680.
const GSS_ENCRYPTION: u32 = 80_877_104;
/// Longest cancel key of protocol 3.2.
const MAX_CANCEL_KEY: usize = 256;
/// Longest name, in bytes (`NAMEDATALEN` - 1).
const MAX_NAME: usize = 63;

/// A version of the protocol; major version 3 only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Minor version.
    pub minor: u16,
}

/// The newest version that this server speaks: 3.2.
pub const NEWEST_VERSION: Version = Version { minor: 2 };

impl Version {
    /// The number on the wire.
    pub const fn code(self) -> u32 {
        (3 << 16) | self.minor as u32
    }

    /// Bytes of the secret in BackendKeyData: 4 up to 3.1, 32 from 3.2 (as PostgreSQL 18).
    pub const fn cancel_key_length(self) -> usize {
        if self.minor >= 2 { 32 } else { 4 }
    }
}

/// The first thing a client says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    /// Wants TLS: answer 'S' or 'N', then read again.
    SslRequest,
    /// Wants GSSAPI encryption: answer 'N', then read again.
    GssEncryptionRequest,
    /// Wants a statement of another session cancelled; gets no answer.
    CancelRequest {
        /// Process id of BackendKeyData.
        process: u32,
        /// Secret of BackendKeyData, 1 to 256 bytes.
        key: &'a [u8],
    },
    /// Wants a session.
    Startup(Startup<'a>),
}

/// One name and value of a start-up packet that is a setting or unknown to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter<'a> {
    /// Setting's name, as the client wrote it.
    pub name: &'a str,
    /// Its value.
    pub value: &'a str,
}

/// StartupMessage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Startup<'a> {
    /// The version to speak from now on: what was asked for, or less.
    pub version: Version,
    /// The role, at most 63 bytes of it.
    pub user: &'a str,
    /// The database, at most 63 bytes of it; the role's name where the client named none.
    pub database: &'a str,
    /// `options`: command-line switches, still to be split (see [`Startup::settings`]).
    pub options: Option<&'a str>,
    /// `application_name`, also among the parameters.
    pub application_name: Option<&'a str>,
    /// The other parameters in order; later ones win.
    pub parameters: Vec<Parameter<'a>>,
    /// Names of `_pq_.` protocol options that this server does not know.
    pub unknown_options: Vec<&'a str>,
    /// Whether NegotiateProtocolVersion has to be sent, with `version` and `unknown_options`: before the first
    /// message of authentication.
    pub negotiate: bool,
}

impl<'a> Packet<'a> {
    /// Decodes what follows the length word of a start-up packet.
    ///
    /// Errors: 08P01 for a broken packet, 0A000 for another major version or a replication connection, 28000
    /// for a missing user, 22021 for text that is not UTF-8. All of them end the connection.
    pub fn decode(body: &'a [u8]) -> Result<Packet<'a>, Error> {
        let mut reader = Reader::new(body);
        let code = reader.oid("protocol version").map_err(|_| Violation::StartupLength)?;
        match code {
            CANCEL => Ok(cancel_request(reader)?),
            SSL if reader.is_empty() => Ok(Packet::SslRequest),
            GSS_ENCRYPTION if reader.is_empty() => Ok(Packet::GssEncryptionRequest),
            _ if code >> 16 == 3 => startup(code as u16, reader).map(Packet::Startup),
            _ => Err(Violation::UnsupportedVersion { major: (code >> 16) as u16, minor: code as u16 }.into()),
        }
    }
}

impl Startup<'_> {
    /// The settings that `options` asks for, in order: they come before `parameters`, which win over them.
    pub fn settings(&self) -> Result<Vec<Setting>, Error> {
        self.options.map_or(Ok(Vec::new()), |text| options::switches(&options::split_options(text)))
    }
}

fn cancel_request(mut reader: Reader<'_>) -> Result<Packet<'_>, Violation> {
    let process = reader.oid("process id").map_err(|_| Violation::CancelLength)?;
    let key = reader.rest();
    if key.is_empty() || key.len() > MAX_CANCEL_KEY {
        return Err(Violation::CancelLength);
    }
    Ok(Packet::CancelRequest { process, key })
}

fn startup(minor: u16, mut reader: Reader<'_>) -> Result<Startup<'_>, Error> {
    // 3.1 was never released, and some poolers took it for themselves: it is negotiated down to 3.0.
    let version = Version { minor: if minor == 1 { 0 } else { minor.min(NEWEST_VERSION.minor) } };
    let mut startup = Startup {
        version,
        user: "",
        database: "",
        options: None,
        application_name: None,
        parameters: Vec::new(),
        unknown_options: Vec::new(),
        negotiate: version.minor != minor,
    };
    loop {
        let name = reader.c_bytes("parameter name").map_err(|_| Violation::StartupLayout)?;
        if name.is_empty() {
            break;
        }
        let value = reader.c_bytes("parameter value").map_err(|_| Violation::StartupLayout)?;
        startup.parameter(super::utf8(name)?, super::utf8(value)?)?;
    }
    reader.finish("StartupMessage").map_err(|_| Violation::StartupLayout)?;
    if startup.user.is_empty() {
        return Err(Error::new(
            Condition::InvalidAuthorizationSpecification,
            "no PostgreSQL user name specified in startup packet",
        ));
    }
    if startup.database.is_empty() {
        startup.database = startup.user;
    }
    Ok(startup)
}

impl<'a> Startup<'a> {
    fn parameter(&mut self, name: &'a str, value: &'a str) -> Result<(), Error> {
        match name {
            "user" => self.user = cut_name(value),
            "database" => self.database = cut_name(value),
            "options" => self.options = Some(value),
            "replication" => refuse_replication(value)?,
            _ if name.starts_with("_pq_.") => {
                self.unknown_options.push(name);
                self.negotiate = true;
            }
            _ => {
                if name == "application_name" {
                    self.application_name = Some(value);
                }
                self.parameters.push(Parameter { name, value });
            }
        }
        Ok(())
    }
}

/// PostgreSQL cuts names to 63 bytes at a character's boundary.
fn cut_name(name: &str) -> &str {
    let end = (0..=MAX_NAME).rev().find(|&end| name.is_char_boundary(end));
    match end.and_then(|end| name.get(..end)) {
        Some(cut) if name.len() > MAX_NAME => cut,
        _ => name,
    }
}

/// `replication` is a boolean or "database"; false asks for an ordinary session.
fn refuse_replication(value: &str) -> Result<(), Error> {
    let lower = value.to_ascii_lowercase();
    let starts = |word: &str, least: usize| lower.len() >= least && word.starts_with(lower.as_str());
    if starts("false", 1) || starts("no", 1) || starts("off", 2) || lower == "0" {
        Ok(())
    } else if value == "database" || starts("true", 1) || starts("yes", 1) || starts("on", 2) || lower == "1" {
        Err(Error::unsupported("streaming replication"))
    } else {
        Err(Error::new(
            Condition::InvalidParameterValue,
            format!("invalid value for parameter \"replication\": \"{value}\""),
        )
        .hint("Valid values are: \"false\", 0, \"true\", 1, \"database\"."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(minor: u16, parameters: &[(&str, &str)]) -> Vec<u8> {
        let mut body = (Version { minor }).code().to_be_bytes().to_vec();
        for (name, value) in parameters {
            body.extend(name.as_bytes());
            body.push(0);
            body.extend(value.as_bytes());
            body.push(0);
        }
        body.push(0);
        body
    }

    fn startup(body: &[u8]) -> Startup<'_> {
        match Packet::decode(body) {
            Ok(Packet::Startup(startup)) => startup,
            other => panic!("{other:?}"),
        }
    }

    fn refusal(body: &[u8]) -> (&'static str, String) {
        let error = Packet::decode(body).unwrap_err();
        (error.condition().code(), error.fields().message.clone())
    }

    #[test]
    fn what_psql_sends() {
        let body = packet(
            0,
            &[("user", "ann"), ("database", "shop"), ("application_name", "psql"), ("client_encoding", "UTF8")],
        );
        let startup = startup(&body);
        assert_eq!((startup.user, startup.database), ("ann", "shop"));
        assert_eq!(startup.application_name, Some("psql"));
        assert_eq!(startup.parameters.len(), 2);
        assert!(!startup.negotiate);
        assert_eq!(startup.version.cancel_key_length(), 4);
    }

    #[test]
    fn the_database_defaults_to_the_user() {
        let body = packet(2, &[("user", "ann")]);
        let startup = startup(&body);
        assert_eq!(startup.database, "ann");
        assert!(!startup.negotiate);
        assert_eq!(startup.version.cancel_key_length(), 32);
    }

    #[test]
    fn versions_are_negotiated() {
        for (asked, spoken, negotiate) in [(0, 0, false), (1, 0, true), (2, 2, false), (3, 2, true), (9999, 2, true)] {
            let body = packet(asked, &[("user", "ann")]);
            let startup = startup(&body);
            assert_eq!((startup.version.minor, startup.negotiate), (spoken, negotiate), "3.{asked}");
        }
        let body = packet(0, &[("user", "ann"), ("_pq_.grease", "x")]);
        let startup = startup(&body);
        assert!(startup.negotiate);
        assert_eq!(startup.unknown_options, ["_pq_.grease"]);
        assert!(startup.parameters.is_empty());
    }

    #[test]
    fn refusals_are_worded_as_postgresql_words_them() {
        assert_eq!(
            refusal(&packet(0, &[("database", "shop")])),
            ("28000", "no PostgreSQL user name specified in startup packet".into())
        );
        assert_eq!(
            refusal(&(2u32 << 16).to_be_bytes()),
            ("0A000", "unsupported frontend protocol 2.0: server supports 3.0 to 3.2".into())
        );
        assert_eq!(
            refusal(&packet(0, &[("user", "ann"), ("replication", "database")])),
            ("0A000", "streaming replication is not supported".into())
        );
        assert_eq!(refusal(&packet(0, &[("user", "ann"), ("replication", "maybe")])).0, "22023");
        let mut trailing = packet(0, &[("user", "ann")]);
        trailing.push(0);
        assert_eq!(
            refusal(&trailing),
            ("08P01", "invalid startup packet layout: expected terminator as last byte".into())
        );
        trailing.truncate(8);
        assert_eq!(refusal(&trailing).0, "08P01");
        assert_eq!(refusal(b"\0\x03\0\0user\0\xff\0\0").0, "22021");
    }

    #[test]
    fn cancel_keys_may_be_of_any_length_up_to_256() {
        let mut body = CANCEL.to_be_bytes().to_vec();
        body.extend([0, 0, 0, 7]);
        assert_eq!(refusal(&body), ("08P01", "invalid length of query cancel packet".into()));
        body.extend([1, 2, 3, 4]);
        assert_eq!(Packet::decode(&body), Ok(Packet::CancelRequest { process: 7, key: &[1, 2, 3, 4] }));
        body.resize(8 + 256, 9);
        assert!(Packet::decode(&body).is_ok());
        body.push(9);
        assert!(Packet::decode(&body).is_err());
    }

    #[test]
    fn long_names_are_cut_at_a_character() {
        let long = format!("{}ü", "a".repeat(62));
        let body = packet(0, &[("user", &long)]);
        assert_eq!(startup(&body).user, "a".repeat(62));
    }
}
