//! One client's authentication, from the access rules to the proof, as a machine that is stepped.
//!
//! Owns the order of messages and what a failure says to the client and to the log. Whoever drives it reads and
//! writes, and keeps the deadline:
//!
//! ```text
//! start ─→ Wait(exchange) ─ send `out`, read one response ─→ exchange.step ─→ Wait | Done
//!     └──→ Done(identity)                                   └─→ Refusal: send it as FATAL and close
//! ```
//!
//! AuthenticationOk is not written here: it travels in one send with what follows it.

use std::fmt;

use subtle::ConstantTimeEq;

use super::hba::{Connection, Decision, Method, Rule, Rules};
use super::ident::Maps;
use super::password::{Stored, md5_response};
use super::scram::{Outcome, Scram, Verifier};
use super::{Role, Roles};
use crate::error::{Condition, Error};
use crate::protocol::{self, Encoder, Frame, Violation};

/// What authentication looks at.
pub struct Environment<'a> {
    /// pg_hba.conf.
    pub rules: &'a Rules,
    /// pg_ident.conf.
    pub maps: &'a Maps,
    /// The cluster's roles.
    pub roles: &'a dyn Roles,
    /// The cluster's secret behind mock exchanges: 32 random bytes made once, by `init`.
    pub mock_secret: &'a [u8; 32],
    /// Microseconds since 2000-01-01 UTC.
    pub now_us: i64,
    /// Over TLS, the hash that channel binding has of the server's certificate.
    pub server_end_point: Option<&'a [u8]>,
    /// The operating system's name of the user at the other end of a Unix socket. Asked only by `peer`.
    pub peer_user: &'a dyn Fn() -> Result<String, String>,
}

/// What comes next.
#[derive(Debug)]
pub enum Step {
    /// Send what has been written, then read one message (see [`Exchange::expects`]) and step on.
    Wait(Exchange),
    /// The client is who it says it is.
    Done(Identity),
}

/// A client that has proved itself. Whether the role exists and may connect is for [`super::admit`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The role's name, as asked for.
    pub user: String,
    /// The role, if there is one: with `trust` there need not be.
    pub role: Option<Role>,
    /// The method that the rule named.
    pub method: Method,
    /// Who the client was authenticated as: the role, or for `peer` the system user. `None` for `trust`.
    pub authenticated_as: Option<String>,
    /// The rule's line in pg_hba.conf, for the log.
    pub line: usize,
}

/// The end of a connection that was not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// For the client, as FATAL.
    pub error: Error,
    /// For the log alone: why, which the client must not learn.
    pub log_detail: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)?;
        self.log_detail.as_ref().map_or(Ok(()), |detail| write!(f, ": {detail}"))
    }
}

impl std::error::Error for Refusal {}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal { error, log_detail: None }
    }
}

impl From<Violation> for Refusal {
    fn from(violation: Violation) -> Refusal {
        Error::from(violation).into()
    }
}

/// An authentication that waits for the client's next message.
#[derive(Debug)]
pub struct Exchange {
    identity: Identity,
    rule_text: String,
    state: State,
}

enum State {
    Cleartext { stored: Result<Stored, String> },
    Md5 { stored: Result<String, String>, salt: [u8; 4] },
    SaslInitial { scram: Box<Scram>, reason: String },
    Sasl { scram: Box<Scram>, reason: String },
}

impl fmt::Debug for State {
    /// Only which state it is: the rest is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Cleartext { .. } => "Cleartext",
            State::Md5 { .. } => "Md5",
            State::SaslInitial { .. } => "SaslInitial",
            State::Sasl { .. } => "Sasl",
        })
    }
}

impl Exchange {
    /// Finds the rule and begins. Requests to the client are appended to `out`.
    pub fn start(
        environment: &Environment<'_>,
        connection: &Connection,
        database: &str,
        user: &str,
        out: &mut Vec<u8>,
    ) -> Result<Step, Refusal> {
        let role = environment.roles.role(user);
        let is_member =
            |name: &str| role.as_ref().is_some_and(|role| role.memberships.iter().any(|member| member == name));
        let rule = match environment.rules.find(connection, database, user, &is_member) {
            Decision::Authenticate(rule) => rule,
            Decision::Refuse(error, rule) => {
                return Err(Refusal { error, log_detail: rule.map(|rule| matched(rule.line, &rule.text)) });
            }
        };
        let identity = Identity {
            user: user.to_owned(),
            role,
            method: rule.method,
            authenticated_as: (rule.method != Method::Trust).then(|| user.to_owned()),
            line: rule.line,
        };
        begin(environment, rule, identity, out)
    }

    /// The message that is waited for, for [`protocol::frame::next_response`].
    pub fn expects(&self) -> &'static str {
        match self.state {
            State::Cleartext { .. } | State::Md5 { .. } => "password response",
            State::SaslInitial { .. } | State::Sasl { .. } => "SASL response",
        }
    }

    /// Whether another exchange, begun in the same way, could take the client's answer: what it was asked for says
    /// nothing of this one.
    pub fn can_begin_anew(&self) -> bool {
        matches!(self.state, State::Cleartext { .. } | State::SaslInitial { .. })
    }

    /// Takes the client's message.
    pub fn step(mut self, frame: Frame<'_>, out: &mut Vec<u8>) -> Result<Step, Refusal> {
        match self.state {
            State::Cleartext { ref stored } => {
                let password = received_password(frame)?;
                match stored {
                    Ok(stored) if stored.verify(&self.identity.user, password) => Ok(Step::Done(self.identity)),
                    Ok(_) => Err(self.wrong_password(self.mismatch())),
                    Err(reason) => {
                        // Takes the time that a stored password would take, so that the answer's delay tells nothing.
                        let mock = Verifier::mock(&self.identity.user, &[0; 32]);
                        std::hint::black_box(mock.verify(password));
                        Err(self.wrong_password(reason.clone()))
                    }
                }
            }
            State::Md5 { ref stored, salt } => {
                let response = received_password(frame)?;
                match stored {
                    Ok(stored) if md5_response(stored, salt).as_bytes().ct_eq(response).into() => {
                        Ok(Step::Done(self.identity))
                    }
                    Ok(_) => Err(self.wrong_password(self.mismatch())),
                    Err(reason) => Err(self.wrong_password(reason.clone())),
                }
            }
            State::SaslInitial { mut scram, reason } => {
                let initial = protocol::sasl_initial_response(frame)?;
                if !scram.select(initial.mechanism) {
                    let message = "client selected an invalid SASL authentication mechanism";
                    return Err(Error::new(Condition::ProtocolViolation, message).into());
                }
                self.state = State::Sasl { scram, reason };
                match initial.data {
                    Some(data) => self.scram_step(data, out),
                    None => {
                        // The client waits for an empty challenge before it sends its first message.
                        Encoder::new(out).authentication_sasl_continue(&[]);
                        Ok(Step::Wait(self))
                    }
                }
            }
            State::Sasl { .. } => self.scram_step(protocol::sasl_response(frame), out),
        }
    }

    fn scram_step(mut self, data: &[u8], out: &mut Vec<u8>) -> Result<Step, Refusal> {
        let State::Sasl { scram, reason } = &mut self.state else {
            return Err(Error::internal("no SASL exchange is under way").into());
        };
        match scram.step(data)? {
            Outcome::Continue(challenge) => {
                Encoder::new(out).authentication_sasl_continue(&challenge);
                Ok(Step::Wait(self))
            }
            Outcome::Final(signature) => {
                Encoder::new(out).authentication_sasl_final(&signature);
                Ok(Step::Done(self.identity))
            }
            Outcome::Fail => {
                let reason = std::mem::take(reason);
                Err(self.wrong_password(reason))
            }
        }
    }

    fn mismatch(&self) -> String {
        format!("Password does not match for user \"{}\".", self.identity.user)
    }

    fn wrong_password(&self, reason: String) -> Refusal {
        let message = format!("password authentication failed for user \"{}\"", self.identity.user);
        Refusal {
            error: Error::new(Condition::InvalidPassword, message),
            log_detail: Some(format!("{reason}\n{}", matched(self.identity.line, &self.rule_text))),
        }
    }
}

fn begin(
    environment: &Environment<'_>,
    rule: &Rule,
    mut identity: Identity,
    out: &mut Vec<u8>,
) -> Result<Step, Refusal> {
    let stored = stored_password(&identity, environment.now_us);
    let state = match (rule.method, stored) {
        (Method::Trust, _) => return Ok(Step::Done(identity)),
        (Method::Peer, _) => {
            identity.authenticated_as = Some(peer(environment, rule, &identity.user)?);
            return Ok(Step::Done(identity));
        }
        (Method::Reject, _) => return Err(Error::internal("a rejecting rule was taken for another").into()),
        (Method::Password, stored) => {
            Encoder::new(out).authentication_cleartext_password();
            State::Cleartext { stored }
        }
        (Method::Md5, Ok(Stored::Md5(stored))) => {
            let mut salt = [0; 4];
            getrandom::fill(&mut salt)
                .map_err(|error| Error::internal(format!("could not generate random MD5 salt: {error}")))?;
            Encoder::new(out).authentication_md5_password(salt);
            State::Md5 { stored: Ok(stored), salt }
        }
        // As PostgreSQL, `md5` turns to SCRAM where the verifier is one, or where there is none.
        (Method::Md5 | Method::ScramSha256, stored) => {
            let (verifier, reason) = verifier(&identity.user, stored);
            let scram = Scram::start(verifier, &identity.user, environment.mock_secret)?;
            let scram = scram.offering(environment.server_end_point);
            Encoder::new(out).authentication_sasl(scram.mechanisms());
            State::SaslInitial { scram: Box::new(scram), reason }
        }
    };
    Ok(Step::Wait(Exchange { identity, rule_text: rule.text.clone(), state }))
}

/// The role's stored password, or why it has none that counts.
fn stored_password(identity: &Identity, now_us: i64) -> Result<Stored, String> {
    let user = &identity.user;
    let role = identity.role.as_ref().ok_or_else(|| format!("Role \"{user}\" does not exist."))?;
    let password = role.password.as_ref().ok_or_else(|| format!("User \"{user}\" has no password assigned."))?;
    if role.valid_until_us.is_some_and(|until| until < now_us) {
        return Err(format!("User \"{user}\" has an expired password."));
    }
    Stored::parse(password).ok_or_else(|| format!("Password of user \"{user}\" is in unrecognized format."))
}

/// The verifier for a SCRAM exchange, or none for a mock one; and what to log if the exchange fails.
fn verifier(user: &str, stored: Result<Stored, String>) -> (Option<Verifier>, String) {
    match stored {
        Ok(Stored::Scram(verifier)) => (Some(verifier), format!("Password does not match for user \"{user}\".")),
        Ok(Stored::Md5(_)) => (None, format!("User \"{user}\" does not have a valid SCRAM secret.")),
        Err(reason) => (None, reason),
    }
}

fn peer(environment: &Environment<'_>, rule: &Rule, user: &str) -> Result<String, Refusal> {
    let allowed = (environment.peer_user)()
        .and_then(|system_user| environment.maps.allow(rule.map.as_deref(), &system_user, user).map(|()| system_user));
    allowed.map_err(|reason| {
        let message = format!("Peer authentication failed for user \"{user}\"");
        Refusal {
            error: Error::new(Condition::InvalidAuthorizationSpecification, message),
            log_detail: Some(format!("{reason}\n{}", matched(rule.line, &rule.text))),
        }
    })
}

fn received_password<'a>(frame: Frame<'a>) -> Result<&'a [u8], Refusal> {
    // One zero byte, at the end: PostgreSQL compares the string's length with the packet's.
    let password = protocol::password_response(frame)
        .map_err(|_| Error::new(Condition::ProtocolViolation, "invalid password packet size"))?;
    if password.is_empty() {
        return Err(Error::new(Condition::InvalidPassword, "empty password returned by client").into());
    }
    Ok(password)
}

fn matched(line: usize, text: &str) -> String {
    format!("Connection matched pg_hba.conf line {line}: \"{text}\"")
}

#[cfg(test)]
mod tests;
