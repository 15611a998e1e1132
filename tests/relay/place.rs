//! A PostgreSQL and servers that relay to it.

use std::process::Command;
use std::sync::{Arc, Mutex, Weak};

use shm::{Segment, UpstreamPoolFacts};

use crate::support::Server;
use crate::support::postgresql::PostgreSql;

/// A PostgreSQL that the tests of this process share as long as one of them needs it.
pub fn upstream() -> Arc<PostgreSql> {
    static SHARED: Mutex<Weak<PostgreSql>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    shared.upgrade().unwrap_or_else(|| {
        let upstream = Arc::new(PostgreSql::start(&["max_connections=200"]));
        *shared = Arc::downgrade(&upstream);
        upstream
    })
}

/// A server that relays all databases to a port of this machine.
pub fn relay(port: u16, mode: &str, settings: &[&str]) -> Server {
    Server::start(&strings(&arguments(port, mode, settings)))
}

/// The arguments of [`relay`].
pub fn arguments(port: u16, mode: &str, settings: &[&str]) -> Vec<String> {
    let databases = format!("relay.databases={{\"*\" = {{host = \"127.0.0.1\", port = {port}}}}}");
    let mode = format!("relay.pool_mode={mode}");
    // Later ones win, and a test may name its own databases.
    let all = ["engine.kind=relay", &mode, &databases].into_iter().chain(settings.iter().copied());
    all.flat_map(|setting| ["--set".to_owned(), setting.to_owned()]).collect()
}

/// As they are handed to a program.
pub fn strings(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

impl Server {
    /// Sessions that wait for an upstream connection.
    pub fn waiting(&self) -> usize {
        self.pools().map(|pool| pool.waiting as usize).sum()
    }

    /// Upstream connections of all pools.
    pub fn connections(&self) -> u32 {
        self.pools().map(|pool| pool.lent + pool.idle).sum()
    }

    /// What `pgprefork status` says.
    pub fn status(&self) -> String {
        let data = self.data.display().to_string();
        let output = Command::new(env!("CARGO_BIN_EXE_pgprefork")).args(["status", "--data", &data]).output();
        String::from_utf8_lossy(&output.expect("status").stdout).into_owned()
    }

    /// The pools, as the segment has them.
    pub fn pools(&self) -> impl Iterator<Item = UpstreamPoolFacts> {
        let segment = Segment::of_process(self.pid().as_raw()).expect("the server's segment");
        segment.upstream_pools().into_iter().map(|(_, pool)| pool)
    }
}
