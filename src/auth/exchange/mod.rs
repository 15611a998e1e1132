//! One client's authentication, from the access rules to the proof, as a machine that is stepped.
//!
//! Owns the order of messages and what a failure says to the client and to the log. Whoever drives it reads and
//! writes, and keeps the deadline:
//!
//! ```text
//! start ─→ Wait(exchange) ─ send `out`, read one response ─→ exchange.step ─→ Wait | Done
//!     ├──→ Done(identity)                                   └─→ Refusal: send it as FATAL and close
//!     └──→ Judge(pending) ─ ask the judge ─→ pending.judged ─→ Done | Refusal
//! ```
//!
//! A judge is somebody else who decides: a directory, PAM, a KDC's tickets, an ident server. Asking one may take long
//! and is the driver's business.
//!
//! AuthenticationOk is not written here: it travels in one send with what follows it.

use std::fmt;
use std::rc::Rc;

use subtle::ConstantTimeEq;

use super::hba::{Applicant, ClientCertificate, ClientName, Connection, Decision, Method, Options, Rule, Rules};
use super::ident::Maps;
use super::password::{Stored, md5_response};
use super::scram::{Outcome, PassedKeys, Scram, Verifier};
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
    /// The name of the client's host, if that name leads back to its address. Asked only by rules with host names.
    pub host_name: &'a dyn Fn() -> Option<String>,
    /// The names of the client's certificate, which was verified; `None`: it has shown none.
    pub certificate: Option<CertificateNames<'a>>,
    /// Whether clients' certificates can be verified at all.
    pub verifies_certificates: bool,
    /// Whether the keys behind a client's proof are wanted, to log in elsewhere as the same role.
    pub keeps_keys: bool,
}

/// Who a client's certificate says that it is.
#[derive(Debug, Clone, Copy)]
pub struct CertificateNames<'a> {
    /// The common name, if it has one.
    pub common: Option<&'a str>,
    /// The distinguished name, as RFC 2253 writes it.
    pub distinguished: &'a str,
}

/// What comes next.
#[derive(Debug)]
pub enum Step {
    /// Send what has been written, then read one message (see [`Exchange::expects`]) and step on.
    Wait(Exchange),
    /// Have the judge that the method names decide, then go on with [`Pending::judged`].
    Judge(Pending),
    /// The client is who it says it is.
    Done(Identity),
}

/// An authentication that somebody else decides.
#[derive(Debug)]
pub struct Pending {
    identity: Identity,
    rule: Rule,
}

impl Pending {
    /// Which judge: `Ident`, `Ldap`, `Pam` or `Gss`.
    pub fn method(&self) -> Method {
        self.rule.method
    }

    /// What the rule says of it.
    pub fn options(&self) -> &Options {
        &self.rule.options
    }

    /// The role that the client wants to be.
    pub fn user(&self) -> &str {
        &self.identity.user
    }

    /// Takes the verdict: who the client is, in the judge's terms, or for the log why it is not let in.
    pub fn judged(self, environment: &Environment<'_>, verdict: Result<String, String>) -> Result<Step, Refusal> {
        let Self { mut identity, rule } = self;
        let verdict = match (rule.method, verdict) {
            (Method::Ident | Method::Gss, Ok(name)) => mapped(environment, &rule, &identity, &name).map(|()| name),
            (_, verdict) => verdict,
        };
        match verdict {
            Ok(name) => {
                identity.authenticated_as = Some(name);
                done(environment, &rule, identity)
            }
            Err(reason) => Err(failed(&rule, &identity.user, reason)),
        }
    }
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
    /// The rule's file, for the log.
    pub file: Rc<str>,
    /// Its line there.
    pub line: usize,
    /// The keys that the client has proved to know, where they are wanted.
    pub keys: Option<Rc<PassedKeys>>,
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
    rule: Rule,
    /// Names of the client's certificate, where the rule wants them to be the role's.
    certificate: Result<(), String>,
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
        let host_name = environment.host_name;
        let is_member = |name: &str| is_member(role.as_ref(), name);
        let applicant = Applicant { connection, database, user, is_member: &is_member, host_name };
        let rule = match environment.rules.find(&applicant) {
            Decision::Authenticate(rule) => rule,
            Decision::Refuse(error, rule) => return Err(Refusal { error, log_detail: rule.map(matched) }),
        };
        require_certificate(environment, rule)?;
        let identity = Identity {
            user: user.to_owned(),
            role,
            method: rule.method,
            authenticated_as: (rule.method != Method::Trust).then(|| user.to_owned()),
            file: Rc::clone(&rule.file),
            line: rule.line,
            keys: None,
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
                    Ok(stored) if stored.verify(&self.identity.user, password) => self.proved(),
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
                    Ok(stored) if md5_response(stored, salt).as_bytes().ct_eq(response).into() => self.proved(),
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
                self.identity.keys = scram.take_keys();
                self.proved()
            }
            Outcome::Fail => {
                let reason = std::mem::take(reason);
                Err(self.wrong_password(reason))
            }
        }
    }

    /// The client has proved that it knows the password.
    fn proved(self) -> Result<Step, Refusal> {
        match self.certificate {
            Ok(()) => Ok(Step::Done(self.identity)),
            Err(reason) => Err(failed(&self.rule, &self.identity.user, reason)),
        }
    }

    fn mismatch(&self) -> String {
        format!("Password does not match for user \"{}\".", self.identity.user)
    }

    fn wrong_password(&self, reason: String) -> Refusal {
        failed(&self.rule, &self.identity.user, reason)
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
        (Method::Trust, _) => return done(environment, rule, identity),
        (Method::Peer, _) => {
            identity.authenticated_as = Some(peer(environment, rule, &identity)?);
            return done(environment, rule, identity);
        }
        (Method::Cert, _) => {
            identity.authenticated_as = environment.certificate.map(|names| names.distinguished.to_owned());
            return done(environment, rule, identity);
        }
        (Method::Ident | Method::Ldap | Method::Pam | Method::Gss, _) => {
            return Ok(Step::Judge(Pending { identity, rule: rule.clone() }));
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
            let scram = scram.offering(environment.server_end_point).keeping_keys(environment.keeps_keys);
            Encoder::new(out).authentication_sasl(scram.mechanisms());
            State::SaslInitial { scram: Box::new(scram), reason }
        }
    };
    let certificate = check_certificate(environment, rule, &identity);
    Ok(Step::Wait(Exchange { identity, rule: rule.clone(), certificate, state }))
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

/// Whether the role is the named one or a member of it. What is no role is a member of none.
fn is_member(role: Option<&Role>, name: &str) -> bool {
    role.is_some_and(|role| role.name == name || role.memberships.iter().any(|member| member == name))
}

/// 28000 where the rule wants a certificate and the client has none.
fn require_certificate(environment: &Environment<'_>, rule: &Rule) -> Result<(), Refusal> {
    if rule.options.client_certificate == ClientCertificate::Any || environment.certificate.is_some() {
        return Ok(());
    }
    let error = if environment.verifies_certificates {
        let message = "connection requires a valid client certificate";
        Error::new(Condition::InvalidAuthorizationSpecification, message)
    } else {
        let message = "client certificates can only be checked if a root certificate store is available";
        Error::new(Condition::ConfigFileError, message)
    };
    Err(Refusal { error, log_detail: Some(matched(rule)) })
}

/// Whether the certificate is the role's, where the rule wants that; for the log, why not.
fn check_certificate(environment: &Environment<'_>, rule: &Rule, identity: &Identity) -> Result<(), String> {
    if rule.options.client_certificate != ClientCertificate::VerifyFull {
        return Ok(());
    }
    let user = &identity.user;
    let names = environment.certificate;
    let (name, kind) = match rule.options.client_name {
        ClientName::CommonName => (names.and_then(|names| names.common), "CN"),
        ClientName::DistinguishedName => (names.map(|names| names.distinguished), "DN"),
    };
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Err(format!(
            "certificate authentication failed for user \"{user}\": client certificate contains no user name"
        ));
    };
    mapped(environment, rule, identity, name).map_err(|reason| {
        if rule.method == Method::Cert {
            return reason;
        }
        format!("certificate validation (clientcert=verify-full) failed for user \"{user}\": {kind} mismatch: {reason}")
    })
}

/// The end of a method, but for the certificate.
fn done(environment: &Environment<'_>, rule: &Rule, identity: Identity) -> Result<Step, Refusal> {
    match check_certificate(environment, rule, &identity) {
        Ok(()) => Ok(Step::Done(identity)),
        Err(reason) => Err(failed(rule, &identity.user, reason)),
    }
}

/// Whether who the client is elsewhere may be the role here.
fn mapped(environment: &Environment<'_>, rule: &Rule, identity: &Identity, name: &str) -> Result<(), String> {
    let is_member = |group: &str| is_member(identity.role.as_ref(), group);
    environment.maps.allow(rule.options.map.as_deref(), name, &identity.user, &is_member)
}

fn peer(environment: &Environment<'_>, rule: &Rule, identity: &Identity) -> Result<String, Refusal> {
    let allowed = (environment.peer_user)()
        .and_then(|system_user| mapped(environment, rule, identity, &system_user).map(|()| system_user));
    allowed.map_err(|reason| failed(rule, &identity.user, reason))
}

/// What the client is told, by method, in PostgreSQL's words; and the log's reason.
fn failed(rule: &Rule, user: &str, reason: String) -> Refusal {
    let (what, condition) = match rule.method {
        Method::ScramSha256 | Method::Md5 | Method::Password => ("password authentication", Condition::InvalidPassword),
        method => {
            let what = match method {
                Method::Trust => "\"trust\" authentication",
                Method::Peer => "Peer authentication",
                Method::Ident => "Ident authentication",
                Method::Cert => "certificate authentication",
                Method::Ldap => "LDAP authentication",
                Method::Pam => "PAM authentication",
                Method::Gss => "GSSAPI authentication",
                _ => "authentication",
            };
            (what, Condition::InvalidAuthorizationSpecification)
        }
    };
    Refusal {
        error: Error::new(condition, format!("{what} failed for user \"{user}\"")),
        log_detail: Some(format!("{reason}\n{}", matched(rule))),
    }
}

/// The password of a PasswordMessage; refused where it is empty.
pub fn received_password<'a>(frame: Frame<'a>) -> Result<&'a [u8], Refusal> {
    // One zero byte, at the end: PostgreSQL compares the string's length with the packet's.
    let password = protocol::password_response(frame)
        .map_err(|_| Error::new(Condition::ProtocolViolation, "invalid password packet size"))?;
    if password.is_empty() {
        return Err(Error::new(Condition::InvalidPassword, "empty password returned by client").into());
    }
    Ok(password)
}

fn matched(rule: &Rule) -> String {
    format!("Connection matched file \"{}\" line {}: \"{}\"", rule.file, rule.line, rule.text)
}

#[cfg(test)]
mod tests;
