//! Logging in to an upstream server: start-up packet, authentication, and what it reports up to ReadyForQuery.

use std::io;
use std::time::Instant;

use super::upstream::{Memory, Upstream};
use crate::auth::password::{md5_hash, md5_response};
use crate::auth::scram::MECHANISM;
use crate::auth::scram::client::{Client, Keys};
use crate::config::Address;
use crate::error::{Condition, Error};
use crate::protocol::client::{Backend, ClientEncoder, field};
use crate::protocol::{Frame, Version};

/// As whom to log in.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The role.
    pub user: String,
    /// The database.
    pub database: String,
    /// The password, for servers that ask for one.
    pub password: Option<String>,
    /// Settings of the start-up packet.
    pub settings: &'static [(&'static str, &'static str)],
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
            Backend::AuthenticationCleartextPassword => ClientEncoder::new(out).password(self.password()?),
            Backend::AuthenticationMd5Password(salt) => {
                let stored = md5_hash(self.password()?.as_bytes(), self.credentials.user.as_bytes());
                ClientEncoder::new(out).password(&md5_response(&stored, salt));
            }
            Backend::AuthenticationSasl(mechanisms) if mechanisms.contains(&MECHANISM) => {
                self.password()?;
                let client = Client::new().map_err(scram)?;
                ClientEncoder::new(out).sasl_initial_response(MECHANISM, &client.first());
                self.scram = Some(client);
            }
            Backend::AuthenticationSaslContinue(challenge) => {
                let password = self.password()?.to_owned();
                let Some(client) = &mut self.scram else { return Err(violation()) };
                let answer = client.answer(challenge, password.as_bytes(), &mut self.keys).map_err(scram)?;
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
            Backend::ErrorResponse(fields) => {
                let text = |code| field(&fields, code).unwrap_or_default();
                let condition = condition_of(text(b'C'));
                return Err(Error::new(condition, text(b'M').to_owned()));
            }
            _ => return Err(violation()),
        }
        Ok(false)
    }

    fn password(&self) -> Result<&str, Error> {
        self.credentials.password.as_deref().ok_or_else(|| {
            let user = &self.credentials.user;
            let message = format!("the upstream server asks for a password, and none is known for user \"{user}\"");
            Error::new(Condition::ConnectionFailure, message)
        })
    }
}

fn scram(reason: String) -> Error {
    Error::new(Condition::ConnectionFailure, format!("SCRAM with the upstream server: {reason}"))
}

/// The condition of that SQLSTATE.
pub fn condition_of(code: &str) -> Condition {
    Condition::ALL.iter().find(|known| known.code() == code).copied().unwrap_or(Condition::ConnectionFailure)
}
