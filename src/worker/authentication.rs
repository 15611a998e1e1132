//! Drives one client's authentication over its connection: reads what the exchange waits for, keeps the deadline.
//! Decides nothing: that is `auth`.

use std::cell::{OnceCell, RefCell};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Instant;

use super::aside::{self, Questions};
use super::connection::shown;
use super::context::Context;
use super::directory::Directory;
use super::judges::{self, Case};
use super::startup::{Failure, Request, receive};
use super::transport::{Sent, Transport};
use crate::auth::{self, CertificateNames, Connection, Environment, Exchange, Identity, Step};
use crate::protocol::frame::{self, Next};
use crate::system::listener::Peer;
use crate::system::{credentials, fault, names};

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
    let secured = transport.tls();
    let end_point = secured.and_then(|tls| tls.server_end_point.clone());
    let certificate = secured.and_then(|tls| tls.client_certificate.as_ref()).map(|shown| shown.contents.clone());
    let certificate = certificate
        .as_ref()
        .map(|contents| CertificateNames { common: contents.common_name.as_deref(), distinguished: &contents.subject });
    // A name is looked up where a rule asks for it, once, and aside: a resolver may take long.
    let name = OnceCell::new();
    let lookup = RefCell::new(&mut *interrupted);
    let slow = RefCell::new(None);
    let host_name = || {
        let look_up = || {
            let Peer::Tcp(address) = peer else { return None };
            let address = address.ip().to_canonical();
            let work = move |_: &Questions<(), (), Option<String>>| names::confirmed_name(address);
            let looked = aside::run(work, |(), _| Err(Failure::Gone), deadline, &mut **lookup.borrow_mut());
            looked.unwrap_or_else(|failure| {
                slow.replace(Some(failure));
                None
            })
        };
        name.get_or_init(look_up).clone()
    };
    let environment = Environment {
        rules: &context.rules,
        maps: &context.maps,
        roles: directory,
        mock_secret: &directory.mock_secret(),
        now_us,
        server_end_point: end_point.as_deref(),
        peer_user: &system_user,
        host_name: &host_name,
        certificate,
        verifies_certificates: context.config.tls.client_ca.is_some(),
        keeps_keys: directory.keeps_keys(),
    };
    let connection = match peer {
        Peer::Unix => Connection::Local,
        Peer::Tcp(address) => Connection::Host { address: address.ip(), tls: transport.tls().is_some() },
    };
    let gathered = transport.gathered();
    let refused = |refusal| refused(peer, refusal);
    let started = Exchange::start(&environment, &connection, &request.database, &request.user, transport.output());
    if let Some(failure) = slow.take() {
        return Err(failure);
    }
    let mut step = started.map_err(&refused)?;
    let interrupted = &mut **lookup.borrow_mut();
    if asked && matches!(step, Step::Wait(_)) {
        transport.output().truncate(gathered);
    }
    loop {
        let exchange = match step {
            Step::Done(identity) => return Ok(identity),
            Step::Wait(exchange) => exchange,
            Step::Judge(pending) => {
                let case = Case {
                    user: pending.user(),
                    options: pending.options(),
                    ends: ends(transport, peer),
                    keytab: context
                        .config
                        .auth
                        .krb_server_keyfile
                        .as_ref()
                        .map(|path| context.config.path(path).display().to_string()),
                };
                let verdict = judges::decide(pending.method(), &case, transport, deadline, interrupted)?;
                step = pending.judged(&environment, verdict).map_err(&refused)?;
                continue;
            }
        };
        if transport.send(interrupted)? == Sent::Interrupted {
            return Err(Failure::Gone);
        }
        if let Some(park_at) = park_at.take().filter(|_| exchange.can_begin_anew() && transport.tls().is_none()) {
            wait_until(park_at, &exchange, transport, interrupted)?;
        }
        step = answer(exchange, transport, deadline, interrupted, &refused)?;
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
    refused: &dyn Fn(auth::Refusal) -> Failure,
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

/// Both ends of a connection by TCP.
fn ends(transport: &Transport, peer: Peer) -> Option<(SocketAddr, SocketAddr)> {
    let Peer::Tcp(there) = peer else { return None };
    let here =
        nix::sys::socket::getsockname::<nix::sys::socket::SockaddrStorage>(transport.as_fd().as_raw_fd()).ok()?;
    let v4 = here.as_sockaddr_in().map(|here| SocketAddr::from((here.ip(), here.port())));
    let here = v4.or_else(|| here.as_sockaddr_in6().map(|here| SocketAddr::from((here.ip(), here.port()))))?;
    Some((here, there))
}

/// The log learns what the client must not.
fn refused(peer: Peer, refusal: auth::Refusal) -> Failure {
    log::info!("connection from {} refused (authenticating): {refusal}", shown(peer));
    Failure::Unproved(refusal.error)
}
