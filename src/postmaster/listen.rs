//! The server's listening sockets: which there are, their lock files, and their end.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};

use super::lockfile::{self, Content, SocketLock};
use crate::config::Config;
use crate::system::listener::{Listener, Place};

/// Why the server can't listen.
#[derive(Debug)]
pub enum Error {
    /// Somebody else listens there.
    Taken(SocketAddr),
    /// None of the addresses belongs to this machine.
    NoAddress(SocketAddr, io::Error),
    /// A TCP socket failed otherwise.
    Tcp(SocketAddr, io::Error),
    /// A Unix socket failed.
    Unix(std::path::PathBuf, io::Error),
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
            Self::NoAddress(address, error) | Self::Tcp(address, error) => {
                write!(f, "could not listen on {address}: {error}")
            }
            Self::Unix(path, error) => write!(f, "could not listen on {}: {error}", path.display()),
            Self::Lock(error) => write!(f, "{error}"),
        }
    }
}

/// All listeners. Children inherit them; only the postmaster shuts them down.
#[derive(Debug)]
pub struct Listeners {
    listeners: Vec<Listener>,
    locks: Vec<SocketLock>,
}

impl Listeners {
    /// Listens wherever the configuration says. `content` goes into the sockets' lock files.
    ///
    /// An address that this machine does not have (::1 where there is no IPv6) is left out with a warning as
    /// long as another one works.
    pub fn open(config: &Config, content: &Content) -> Result<Self, Error> {
        let mut all = Self { listeners: Vec::new(), locks: Vec::new() };
        match all.open_all(config, content) {
            Ok(()) => Ok(all),
            Err(error) => {
                all.remove_files();
                Err(error)
            }
        }
    }

    fn open_all(&mut self, config: &Config, content: &Content) -> Result<(), Error> {
        let backlog = config.backlog();
        let mut absent = None;
        for ip in &config.listen.addresses {
            let address = SocketAddr::new(*ip, config.listen.port);
            match Listener::tcp(address, backlog, config.listen.defer_accept) {
                Ok(listener) => self.listeners.push(listener),
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
        if let Some((address, error)) = absent.filter(|_| self.listeners.is_empty()) {
            return Err(Error::NoAddress(address, error));
        }
        for directory in &config.listen.socket_directories {
            let lock = SocketLock::take(&config.path(directory), content).map_err(Error::Lock)?;
            let path = lock.socket().to_owned();
            self.locks.push(lock);
            let listener = Listener::unix(&path, backlog).map_err(|error| Error::Unix(path, error))?;
            self.listeners.push(listener);
        }
        Ok(())
    }

    /// Each listener.
    pub fn iter(&self) -> impl Iterator<Item = &Listener> {
        self.listeners.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.listeners.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.listeners.is_empty()
    }

    /// Their descriptors.
    pub fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        self.listeners.iter().map(Listener::as_raw_fd)
    }

    /// Where they listen, for people.
    pub fn places(&self) -> Vec<String> {
        let name = |listener: &Listener| match listener.place() {
            Place::Tcp(address) => address.to_string(),
            Place::Unix(path) => path.display().to_string(),
        };
        self.listeners.iter().map(name).collect()
    }

    /// Stops listening in all processes at once.
    pub fn shut_down(&self) {
        self.listeners.iter().for_each(Listener::shut_down);
    }

    /// Removes sockets and their lock files.
    pub fn remove_files(&self) {
        self.locks.iter().for_each(SocketLock::remove);
    }
}
