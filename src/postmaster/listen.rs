//! The server's listening sockets: which there are, and their lock files.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use super::lockfile::{self, Content, SocketLock};
use crate::config::Config;
use crate::system::listener::{Listener, Place};

/// Scrapers that may wait to be accepted.
const METRICS_BACKLOG: u32 = 16;

/// Why the server can't listen.
#[derive(Debug)]
pub enum Error {
    /// Somebody else listens there.
    Taken(SocketAddr),
    /// Somebody else listens where metrics are to be served.
    MetricsTaken(SocketAddr),
    /// None of the addresses belongs to this machine.
    NoAddress(SocketAddr, io::Error),
    /// A TCP socket failed otherwise.
    Tcp(SocketAddr, io::Error),
    /// A Unix socket failed.
    Unix(std::path::PathBuf, io::Error),
    /// A socket that the service manager has opened can't be listened on.
    Passed(io::Error),
    /// A Unix socket's lock can't be had.
    Lock(lockfile::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken(address) => write!(
                f,
                "port {} on {} is in use: is another server running? (choose another with --port)",
                address.port(),
                address.ip()
            ),
            Self::MetricsTaken(address) => {
                write!(f, "port {} on {} is in use: choose another for metrics.listen", address.port(), address.ip())
            }
            Self::NoAddress(address, error) | Self::Tcp(address, error) => {
                write!(f, "could not listen on {address}: {error}")
            }
            Self::Unix(path, error) => write!(f, "could not listen on {}: {error}", path.display()),
            Self::Passed(error) => write!(f, "could not listen on a socket passed by the service manager: {error}"),
            Self::Lock(error) => write!(f, "{error}"),
        }
    }
}

/// Listens wherever the configuration says: the listeners, which children inherit, and the lock files of the Unix
/// sockets. `content` goes into those.
///
/// An address that this machine does not have (::1 where there is no IPv6) is left out with a warning as long
/// as another one works.
///
/// `passed`: sockets that the service manager has opened; where there are any, they are all there are.
pub fn open(
    config: &Config,
    content: &Content,
    passed: Vec<OwnedFd>,
) -> Result<(Vec<Listener>, Vec<SocketLock>), Error> {
    if !passed.is_empty() {
        let listeners = passed.into_iter().map(|socket| Listener::adopt(socket, config.backlog()));
        return Ok((listeners.collect::<io::Result<_>>().map_err(Error::Passed)?, Vec::new()));
    }
    let mut listeners = tcp(config)?;
    let mut locks = Vec::new();
    match unix(config, content, &mut locks) {
        Ok(sockets) => listeners.extend(sockets),
        Err(error) => {
            locks.iter().for_each(SocketLock::remove);
            return Err(error);
        }
    }
    Ok((listeners, locks))
}

/// Listens for scrapers, where the configuration says so.
pub fn metrics(config: &Config) -> Result<Option<Listener>, Error> {
    let Some(address) = config.metrics_address() else { return Ok(None) };
    Listener::tcp(address, METRICS_BACKLOG, false).map(Some).map_err(|error| match error.raw_os_error() {
        Some(libc::EADDRINUSE) => Error::MetricsTaken(address),
        _ => Error::Tcp(address, error),
    })
}

fn tcp(config: &Config) -> Result<Vec<Listener>, Error> {
    let mut listeners = Vec::new();
    let mut absent = None;
    for ip in &config.listen.addresses {
        let address = SocketAddr::new(*ip, config.listen.port);
        match Listener::tcp(address, config.backlog(), config.listen.defer_accept) {
            Ok(listener) => listeners.push(listener),
            Err(error) => match error.raw_os_error() {
                Some(libc::EADDRINUSE) => return Err(Error::Taken(address)),
                Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT) => {
                    log::warn!("not listening on {address}: {error}");
                    absent = Some((address, error));
                }
                _ => return Err(Error::Tcp(address, error)),
            },
        }
    }
    match absent {
        Some((address, error)) if listeners.is_empty() => Err(Error::NoAddress(address, error)),
        _ => Ok(listeners),
    }
}

fn unix(config: &Config, content: &Content, locks: &mut Vec<SocketLock>) -> Result<Vec<Listener>, Error> {
    let mut listeners = Vec::new();
    for directory in &config.listen.socket_directories {
        let lock = SocketLock::take(&config.path(directory), content).map_err(Error::Lock)?;
        let path = lock.socket().to_owned();
        locks.push(lock);
        listeners.push(Listener::unix(&path, config.backlog()).map_err(|error| Error::Unix(path, error))?);
    }
    Ok(listeners)
}

/// Where they listen, for people.
pub fn places(listeners: &[Listener]) -> Vec<String> {
    let name = |listener: &Listener| match listener.place() {
        Place::Tcp(address) => address.to_string(),
        Place::Unix(path) => path.display().to_string(),
    };
    listeners.iter().map(name).collect()
}
