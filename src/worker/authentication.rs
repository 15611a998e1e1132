//! Drives one client's authentication over its connection: reads what the exchange waits for, keeps the deadline.
//! Decides nothing: that is `auth`.

use std::os::fd::AsFd;
use std::time::Instant;

use super::context::Context;
use super::directory::Directory;
use super::startup::{Failure, Request, receive};
use super::transport::{Sent, Transport};
use crate::auth::{self, Connection, Environment, Exchange, Identity, Step};
use crate::protocol::frame::{self, Next};
use crate::system::listener::Peer;
use crate::system::{credentials, fault};

/// 2000-01-01 UTC in microseconds since 1970: PostgreSQL's epoch.
const POSTGRESQL_EPOCH_US: u64 = 946_684_800_000_000;

/// How a client is waited for that was asked for its password.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// It was asked already, by another process.
    pub asked: bool,
    /// When it is to wait elsewhere, where what it was asked for says nothing of this exchange ([`Failure::Slow`]).
    pub park_at: Option<Instant>,
    /// When it is given up.
    pub deadline: Instant,
}

/// Finds out whether the client is the role that it wants to be.
pub fn authenticate(
    context: &Context,
    directory: &dyn Directory,
    peer: Peer,
    request: &Request,
    transport: &mut Transport,
    patience: Patience,
    interrupted: &mut dyn FnMut() -> bool,
) -> Result<Identity, Failure> {
    let Patience { asked, mut park_at, deadline } = patience;
    fault::point("authenticating");
    let now_us = shm::clock::wall_us().cast_signed().saturating_sub(POSTGRESQL_EPOCH_US.cast_signed());
    // The name is looked up only where a rule asks for it: that reads files.
    let uid = (peer == Peer::Unix).then(|| credentials::peer_uid(transport.as_fd()));
    let system_user = || match &uid {
        Some(Ok(uid)) => credentials::user_name(*uid),
        Some(Err(error)) => Err(format!("could not get peer credentials: {error}")),
        None => Err("could not get peer credentials: not a local socket".to_owned()),
    };
    let end_point = transport.tls().and_then(|tls| tls.server_end_point.clone());
    let environment = Environment {
        rules: &context.rules,
        maps: &context.maps,
        roles: directory,
        mock_secret: &directory.mock_secret(),
        now_us,
        server_end_point: end_point.as_deref(),
        peer_user: &system_user,
    };
    let connection = match peer {
        Peer::Unix => Connection::Local,
        Peer::Tcp(address) => Connection::Host { address: address.ip(), tls: transport.tls().is_some() },
    };
    let gathered = transport.gathered();
    let mut step = Exchange::start(&environment, &connection, &request.database, &request.user, transport.output())
        .map_err(refused)?;
    if asked && matches!(step, Step::Wait(_)) {
        transport.output().truncate(gathered);
    }
    loop {
        let exchange = match step {
            Step::Done(identity) => return Ok(identity),
            Step::Wait(exchange) => exchange,
        };
        if transport.send(interrupted)? == Sent::Interrupted {
            return Err(Failure::Gone);
        }
        if let Some(park_at) = park_at.take().filter(|_| exchange.can_begin_anew() && transport.tls().is_none()) {
            wait_until(park_at, &exchange, transport, interrupted)?;
        }
        step = answer(exchange, transport, deadline, interrupted)?;
    }
}

/// Waits for the answer to the first question, if it comes in time.
fn wait_until(
    park_at: Instant,
    exchange: &Exchange,
    transport: &mut Transport,
    interrupted: &mut dyn FnMut() -> bool,
) -> Result<(), Failure> {
    while let Ok(Next::Missing(_)) = frame::next_response(transport.unread(), exchange.expects()) {
        match receive(transport, park_at, interrupted) {
            Err(Failure::TimedOut) => return Err(Failure::Slow),
            result => result?,
        }
    }
    Ok(())
}

fn answer(
    exchange: Exchange,
    transport: &mut Transport,
    deadline: Instant,
    interrupted: &mut dyn FnMut() -> bool,
) -> Result<Step, Failure> {
    loop {
        let (unread, output) = transport.parts();
        match frame::next_response(unread, exchange.expects()).map_err(crate::error::Error::from)? {
            Next::Complete(frame, length) => {
                let step = exchange.step(frame, output);
                transport.consume(length);
                return step.map_err(refused);
            }
            Next::Missing(_) => receive(transport, deadline, interrupted)?,
        }
    }
}

/// The log learns what the client must not.
fn refused(refusal: auth::Refusal) -> Failure {
    log::info!("{refusal}");
    Failure::Refused(refusal.error)
}
