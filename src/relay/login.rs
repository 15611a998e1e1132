//! Logging in to an upstream server: start-up packet, authentication, and what it reports up to ReadyForQuery.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Instant;

use super::upstream::{Memory, Upstream};
use crate::auth::password::{Stored, md5_hash, md5_response};
use crate::auth::scram::client::{Client, Keys};
use crate::auth::scram::{MECHANISM, PassedKeys};
use crate::config::Address;
use crate::error::{Condition, Error};
use crate::protocol::client::{Backend, ClientEncoder, field};
use crate::protocol::{Frame, Version};

/// As whom to log in.
#[derive(Clone)]
pub struct Credentials {
    /// The role.
    pub user: String,
    /// The database.
    pub database: String,
    /// The password, for servers that ask for one: plain text, an md5 hash or a SCRAM verifier.
    pub password: Option<String>,
    /// The keys that the client has proved to know, if the password is a verifier.
    pub keys: Option<Rc<PassedKeys>>,
    /// Settings of the start-up packet.
    pub settings: &'static [(&'static str, &'static str)],
}

impl fmt::Debug for Credentials {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

/// What a password is good for.
enum Secret<'a> {
    /// Whatever the server asks for.
    Plain(&'a str),
    /// A server that asks for md5.
    Md5(String),
    /// A server with the same verifier, given a client's keys.
    Verifier(Option<&'a PassedKeys>),
}

/// Why a log-in failed. The error is for the client: it says what the server said, or why it could not be reached.
#[derive(Debug)]
pub struct Failure {
    /// What to say.
    pub error: Error,
    /// The server could not be reached, or is starting or stopping: another host, or the same one later, may do.
    pub may_pass: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        use Condition::{AdminShutdown, CannotConnectNow, CrashShutdown};
        let may_pass = matches!(error.condition(), AdminShutdown | CrashShutdown | CannotConnectNow);
        Self { error, may_pass }
    }
}

/// Connects and logs in.
pub fn log_in(
    address: &Address,
    credentials: &Credentials,
    deadline: Instant,
    interrupted: &mut dyn FnMut() -> bool,
) -> Result<Upstream, Failure> {
    let unreachable = |error: &dyn std::fmt::Display| {
        let message = format!("could not connect to upstream server {}:{}: {error}", address.host, address.port);
        Failure { error: Error::new(Condition::ConnectionFailure, message), may_pass: true }
    };
    let socket = address.connect(deadline, interrupted).map_err(|error| unreachable(&error))?;
    let memory = Memory { address: address.clone(), connected_us: shm::clock::monotonic_us(), ..Memory::default() };
    let mut upstream = Upstream::new(socket, memory).map_err(|error| unreachable(&error))?;
    let names = [("user", credentials.user.as_str()), ("database", &credentials.database)];
    let parameters: Vec<_> = names.into_iter().chain(credentials.settings.iter().copied()).collect();
    ClientEncoder::new(&mut upstream.output).startup(Version { minor: 0 }, &parameters);
    let mut exchange = Exchange { credentials, scram: None, keys: None, verified: false };
    loop {
        upstream.send_some().map_err(|error| unreachable(&error))?;
        let Some((kind, body)) = upstream.take_message().map_err(|_| violation())? else {
            receive(&mut upstream, deadline, interrupted).map_err(|error| unreachable(&error))?;
            continue;
        };
        let message = Backend::decode(Frame { kind, body: &body }).map_err(|_| violation())?;
        if exchange.take(message, &mut upstream.memory, &mut upstream.output)? {
            return Ok(upstream);
        }
    }
}

fn receive(upstream: &mut Upstream, deadline: Instant, interrupted: &mut dyn FnMut() -> bool) -> io::Result<()> {
    loop {
        match upstream.receive() {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => return Ok(()),
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {
                if interrupted() {
                    return Err(io::Error::other("the session is to end"));
                }
                if Instant::now() >= deadline {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
            Err(error) => return Err(error),
        }
    }
}

fn violation() -> Error {
    Error::new(Condition::ProtocolViolation, "the upstream server does not keep to the protocol")
}

struct Exchange<'a> {
    credentials: &'a Credentials,
    scram: Option<Client>,
    keys: Option<Keys>,
    verified: bool,
}

impl Exchange<'_> {
    /// Deals with a message of the server; true at ReadyForQuery.
    fn take(&mut self, message: Backend<'_>, memory: &mut Memory, out: &mut Vec<u8>) -> Result<bool, Error> {
        match message {
            Backend::AuthenticationOk if self.scram.is_none() || self.verified => {}
            Backend::AuthenticationCleartextPassword => match self.secret()? {
                Secret::Plain(password) => ClientEncoder::new(out).password(password),
                _ => return Err(wrong_type("cannot send the password in clear: only a hash of it is known")),
            },
            Backend::AuthenticationMd5Password(salt) => {
                let stored = match self.secret()? {
                    Secret::Plain(password) => md5_hash(password.as_bytes(), self.credentials.user.as_bytes()),
                    Secret::Md5(stored) => stored,
                    Secret::Verifier(_) => return Err(wrong_type("cannot do MD5 authentication: wrong password type")),
                };
                ClientEncoder::new(out).password(&md5_response(&stored, salt));
            }
            Backend::AuthenticationSasl(mechanisms) if mechanisms.contains(&MECHANISM) => {
                match self.secret()? {
                    Secret::Plain(_) | Secret::Verifier(Some(_)) => {}
                    Secret::Md5(_) => return Err(wrong_type("cannot do SCRAM authentication: wrong password type")),
                    Secret::Verifier(None) => {
                        return Err(wrong_type(
                            "cannot do SCRAM authentication: password is SCRAM secret but client authentication did \
                             not provide SCRAM keys",
                        ));
                    }
                }
                let client = Client::new().map_err(scram)?;
                ClientEncoder::new(out).sasl_initial_response(MECHANISM, &client.first());
                self.scram = Some(client);
            }
            Backend::AuthenticationSaslContinue(challenge) => {
                let credentials = self.credentials;
                let Some(client) = &mut self.scram else { return Err(violation()) };
                let answer = match Secret::of(credentials) {
                    Some(Secret::Plain(password)) => client.answer(challenge, password.as_bytes(), &mut self.keys),
                    Some(Secret::Verifier(Some(keys))) => client.answer_with(challenge, keys),
                    _ => return Err(violation()),
                };
                let answer = answer.map_err(scram)?;
                ClientEncoder::new(out).sasl_response(&answer);
            }
            Backend::AuthenticationSaslFinal(signature) => {
                let Some(client) = &self.scram else { return Err(violation()) };
                client.verify(signature).map_err(scram)?;
                self.verified = true;
            }
            Backend::BackendKeyData(process, key) => {
                memory.process = process;
                memory.key = key.to_vec();
            }
            Backend::ParameterStatus(name, value) => memory.parameters.set(name, value),
            Backend::NoticeResponse(_) | Backend::NegotiateProtocolVersion(..) => {}
            Backend::ReadyForQuery(_) => {
                memory.defaults = memory.parameters.clone();
                return Ok(true);
            }
            Backend::ErrorResponse(fields) => return Err(error_of(&fields)),
            _ => return Err(violation()),
        }
        Ok(false)
    }

    fn secret(&self) -> Result<Secret<'_>, Error> {
        Secret::of(self.credentials).ok_or_else(|| {
            let user = &self.credentials.user;
            let message = format!("the upstream server asks for a password, and none is known for user \"{user}\"");
            Error::new(Condition::ConnectionFailure, message)
        })
    }
}

impl<'a> Secret<'a> {
    fn of(credentials: &'a Credentials) -> Option<Self> {
        let password = credentials.password.as_deref()?;
        Some(match Stored::parse(password) {
            None => Self::Plain(password),
            Some(Stored::Md5(stored)) => Self::Md5(stored),
            Some(Stored::Scram(_)) => Self::Verifier(credentials.keys.as_deref()),
        })
    }
}

fn wrong_type(detail: &str) -> Error {
    Error::new(Condition::ConnectionFailure, "server login failed: wrong password type").detail(detail)
}

fn scram(reason: String) -> Error {
    Error::new(Condition::ConnectionFailure, format!("SCRAM with the upstream server: {reason}"))
}

/// The server's error with what a log-in may say.
fn error_of(fields: &[(u8, &str)]) -> Error {
    let text = |code| field(fields, code).map(str::to_owned);
    let condition = condition_of(field(fields, b'C').unwrap_or_default());
    let mut error = Error::new(condition, text(b'M').unwrap_or_default());
    let more = error.fields_mut();
    (more.detail, more.hint, more.context) = (text(b'D'), text(b'H'), text(b'W'));
    if let (Some(file), Some(line), Some(routine)) = (text(b'F'), text(b'L'), text(b'R')) {
        more.source = Some([file, line, routine]);
    }
    error
}

/// The condition of that SQLSTATE.
pub fn condition_of(code: &str) -> Condition {
    Condition::ALL.iter().find(|known| known.code() == code).copied().unwrap_or(Condition::ConnectionFailure)
}
