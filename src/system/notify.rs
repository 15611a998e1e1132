//! What systemd wants to know of a service: that it is ready, reloading, stopping, alive (sd_notify(3)). And the
//! sockets that it opened for it (sd_listen_fds(3)). Does nothing where nobody asked.

use std::env;
use std::os::fd::{OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use super::{descriptor, parent};

/// The first descriptor that is passed.
const FIRST_DESCRIPTOR: RawFd = 3;
/// More than this many sockets are passed by mistake.
const DESCRIPTORS_MAX: RawFd = 64;

/// Who started the server and wants to hear of it.
#[derive(Debug, Clone, Default)]
pub struct Manager {
    address: Option<SocketAddr>,
    watchdog: Option<Duration>,
}

impl Manager {
    /// As the environment says.
    pub fn from_environment() -> Self {
        let path = env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty());
        let address = path.and_then(|path| match path.as_encoded_bytes().split_first() {
            Some((b'@', name)) => SocketAddr::from_abstract_name(name).ok(),
            _ => SocketAddr::from_pathname(&path).ok(),
        });
        let number = |name: &str| env::var(name).ok()?.parse::<u64>().ok();
        let is_ours = number("WATCHDOG_PID").is_none_or(|pid| i32::try_from(pid) == Ok(parent::own_pid().as_raw()));
        let watchdog = number("WATCHDOG_USEC").filter(|us| is_ours && *us > 0 && address.is_some());
        Self { address, watchdog: watchdog.map(|us| Duration::from_micros(us / 2)) }
    }

    /// How often it wants to hear that the server is alive.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Clients are served; also after a reload.
    pub fn ready(&self) {
        self.tell(&format!("READY=1\nMAINPID={}", parent::own_pid()));
    }

    /// The configuration is being read again; `ready` follows.
    pub fn reloading(&self) {
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", shm::clock::monotonic_us()));
    }

    /// The server ends.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// It is alive.
    pub fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    /// Never waits: a manager that does not listen is told nothing.
    fn tell(&self, state: &str) {
        let Some(address) = &self.address else { return };
        let sent = UnixDatagram::unbound().and_then(|socket| {
            socket.set_nonblocking(true)?;
            socket.send_to_addr(state.as_bytes(), address)
        });
        if let Err(error) = sent {
            log::debug!("the service manager was not told {state:?}: {error}");
        }
    }
}

/// The listening sockets that were passed to this process. Called once, before any descriptor is opened.
pub fn passed_sockets() -> Vec<OwnedFd> {
    let number = |name: &str| env::var(name).ok()?.parse::<i32>().ok();
    if number("LISTEN_PID") != Some(parent::own_pid().as_raw()) {
        return Vec::new();
    }
    let count = number("LISTEN_FDS").unwrap_or(0).clamp(0, DESCRIPTORS_MAX);
    let sockets = (FIRST_DESCRIPTOR..FIRST_DESCRIPTOR + count).filter_map(|fd| descriptor::adopt(fd).ok());
    sockets.inspect(|socket| drop(descriptor::set_close_on_exec(socket, true))).collect()
}
