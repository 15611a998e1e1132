//! [`Activity`]: what a session is and does, for pg_stat_activity. Written by the session's process alone, with
//! relaxed stores under a sequence counter and without a system call; read by anybody.

use std::net::IpAddr;
use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use crate::hook;
use crate::sequence::{Sequence, Text, readable, truncated};

/// Bytes of query text that are kept, as PostgreSQL's track_activity_query_size by default.
pub const QUERY_TEXT_BYTES: usize = 1024;
/// Bytes of a name that are kept: PostgreSQL's NAMEDATALEN.
pub const NAME_BYTES: usize = 64;

/// What a session is doing; pg_stat_activity's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u64)]
pub enum SessionState {
    /// There is no session.
    #[default]
    None = 0,
    /// Waits for its client.
    Idle = 1,
    /// Executes.
    Active = 2,
    /// Waits for its client in a transaction.
    IdleInTransaction = 3,
    /// Waits for its client in a failed transaction.
    IdleInFailedTransaction = 4,
}

impl SessionState {
    fn from_code(code: u64) -> SessionState {
        match code {
            1 => SessionState::Idle,
            2 => SessionState::Active,
            3 => SessionState::IdleInTransaction,
            4 => SessionState::IdleInFailedTransaction,
            _ => SessionState::None,
        }
    }

    /// PostgreSQL's name; `None` if there is no session.
    pub fn name(self) -> Option<&'static str> {
        match self {
            SessionState::None => None,
            SessionState::Idle => Some("idle"),
            SessionState::Active => Some("active"),
            SessionState::IdleInTransaction => Some("idle in transaction"),
            SessionState::IdleInFailedTransaction => Some("idle in transaction (aborted)"),
        }
    }
}

/// What a process waits for; pg_stat_activity's `wait_event_type` and `wait_event`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum WaitEvent {
    /// It does not wait.
    None = 0,
    /// For the client's next message.
    ClientRead,
    /// For room in the client's socket.
    ClientWrite,
    /// For a client.
    Accept,
    /// For the writer lock of a database.
    WriterLock,
    /// For another process's fdatasync to cover a commit.
    CommitSync,
    /// In fdatasync.
    WalSync,
    /// For its next turn (background processes).
    BackgroundLoop,
    /// In `pg_sleep`.
    Sleep,
    /// For an upstream connection that others have.
    Upstream,
    /// For an upstream server's answer.
    UpstreamRead,
    /// For room in an upstream server's socket.
    UpstreamWrite,
}

impl WaitEvent {
    pub(crate) fn from_code(code: u32) -> WaitEvent {
        match code {
            1 => WaitEvent::ClientRead,
            2 => WaitEvent::ClientWrite,
            3 => WaitEvent::Accept,
            4 => WaitEvent::WriterLock,
            5 => WaitEvent::CommitSync,
            6 => WaitEvent::WalSync,
            7 => WaitEvent::BackgroundLoop,
            8 => WaitEvent::Sleep,
            9 => WaitEvent::Upstream,
            10 => WaitEvent::UpstreamRead,
            11 => WaitEvent::UpstreamWrite,
            _ => WaitEvent::None,
        }
    }

    /// `wait_event_type` and `wait_event`; `None` if it does not wait.
    pub fn names(self) -> Option<(&'static str, &'static str)> {
        match self {
            WaitEvent::None => None,
            WaitEvent::ClientRead => Some(("Client", "ClientRead")),
            WaitEvent::ClientWrite => Some(("Client", "ClientWrite")),
            WaitEvent::Accept => Some(("Activity", "WorkerAccept")),
            WaitEvent::WriterLock => Some(("Lock", "writer")),
            WaitEvent::CommitSync => Some(("IPC", "CommitSync")),
            WaitEvent::WalSync => Some(("IO", "WALSync")),
            WaitEvent::BackgroundLoop => Some(("Activity", "BackgroundMain")),
            WaitEvent::Sleep => Some(("Timeout", "PgSleep")),
            WaitEvent::Upstream => Some(("Upstream", "Connection")),
            WaitEvent::UpstreamRead => Some(("Upstream", "UpstreamRead")),
            WaitEvent::UpstreamWrite => Some(("Upstream", "UpstreamWrite")),
        }
    }
}

/// Where a session's client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientAddress {
    /// Not known.
    #[default]
    Unknown,
    /// On a Unix socket.
    Unix,
    /// At an address and port.
    Inet(IpAddr, u16),
}

/// Who a session belongs to. Names are cut to 64 bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionIdentity {
    /// Of the database.
    pub database_oid: u32,
    /// Of the database.
    pub database: String,
    /// Of the authenticated role.
    pub user_oid: u32,
    /// Of the authenticated role.
    pub user: String,
    /// As the client gave it.
    pub application_name: String,
    /// The client's.
    pub client: ClientAddress,
    /// When the client was accepted: microseconds since 1970.
    pub backend_start_us: u64,
}

/// A session's TLS, as pg_stat_ssl shows it. Texts are cut to 64 bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsIdentity {
    /// The protocol's version, of 8 bytes at most.
    pub version: String,
    /// OpenSSL's name of the cipher suite.
    pub cipher: String,
    /// Bits of its key.
    pub bits: u32,
    /// The subject of the client's certificate; empty without one, like the two that follow.
    pub client_subject: String,
    /// Its serial number.
    pub client_serial: String,
    /// Its issuer.
    pub client_issuer: String,
}

/// A copy of everything for a reader. Times are in microseconds since 1970, 0 where there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActivityView {
    /// Who.
    pub identity: SessionIdentity,
    /// Doing what.
    pub state: SessionState,
    /// Since when.
    pub state_change_us: u64,
    /// Start of the transaction.
    pub xact_start_us: u64,
    /// Start of the present or last statement.
    pub query_start_us: u64,
    /// Of the present or last statement, cut to 1,024 bytes.
    pub query: String,
}

/// See the module's description.
#[repr(C)]
pub struct Activity {
    sequence: Sequence,
    database_oid: AtomicU32,
    user_oid: AtomicU32,
    client_kind: AtomicU32,
    client_port: AtomicU32,
    /// 0 without TLS.
    tls_bits: AtomicU32,
    client_address: [AtomicU64; 2],
    backend_start_us: AtomicU64,
    state: AtomicU64,
    state_change_us: AtomicU64,
    xact_start_us: AtomicU64,
    query_start_us: AtomicU64,
    database: Text<{ NAME_BYTES / 8 }>,
    user: Text<{ NAME_BYTES / 8 }>,
    application_name: Text<{ NAME_BYTES / 8 }>,
    query: Text<{ QUERY_TEXT_BYTES / 8 }>,
    tls_version: Text<1>,
    /// Cipher, subject, serial number, issuer.
    tls_texts: [Text<{ NAME_BYTES / 8 }>; 4],
}

impl Activity {
    /// A session begins, after authentication; it is idle.
    pub fn begin_session(&self, identity: &SessionIdentity) {
        let (kind, address, port) = match identity.client {
            ClientAddress::Unknown => (0, 0, 0),
            ClientAddress::Unix => (1, 0, 0),
            ClientAddress::Inet(IpAddr::V4(address), port) => (4, u128::from(address.to_bits()), port),
            ClientAddress::Inet(IpAddr::V6(address), port) => (6, address.to_bits(), port),
        };
        self.sequence.write(|| {
            self.client_kind.store(kind, Relaxed);
            self.client_port.store(port.into(), Relaxed);
            self.tls_bits.store(0, Relaxed);
            self.client_address[0].store((address >> 64) as u64, Relaxed);
            #[expect(clippy::cast_possible_truncation, reason = "the low half")]
            self.client_address[1].store(address as u64, Relaxed);
            self.backend_start_us.store(identity.backend_start_us, Relaxed);
            self.database.store(&identity.database);
            self.user.store(&identity.user);
            self.application_name.store(&identity.application_name);
            self.query.store("");
            self.state.store(SessionState::Idle as u64, Relaxed);
            self.state_change_us.store(identity.backend_start_us, Relaxed);
            self.xact_start_us.store(0, Relaxed);
            self.query_start_us.store(0, Relaxed);
            self.user_oid.store(identity.user_oid, Relaxed);
            // Pairs with `database_oid()`, by which sessions are counted.
            self.database_oid.store(identity.database_oid, Release);
        });
    }

    /// A client was accepted at that time (microseconds since 1970) and has no session yet.
    pub fn begin_connection(&self, client: ClientAddress, accepted_us: u64) {
        self.begin_session(&SessionIdentity { client, backend_start_us: accepted_us, ..SessionIdentity::default() });
        self.sequence.write(|| self.state.store(SessionState::None as u64, Relaxed));
    }

    /// The session that has begun has TLS.
    pub fn set_tls(&self, tls: &TlsIdentity) {
        self.sequence.write(|| {
            self.tls_bits.store(tls.bits.max(1), Relaxed);
            self.tls_version.store(&tls.version);
            let texts = [&tls.cipher, &tls.client_subject, &tls.client_serial, &tls.client_issuer];
            self.tls_texts.iter().zip(texts).for_each(|(place, text)| place.store(text));
        });
    }

    /// The session's TLS, if it has it; `None` also while it is being written.
    pub fn tls(&self) -> Option<TlsIdentity> {
        let (bits, version, texts) = self.sequence.read(|| {
            (
                self.tls_bits.load(Relaxed),
                self.tls_version.load(),
                [0, 1, 2, 3].map(|i: usize| self.tls_texts[i].load()),
            )
        })?;
        let [cipher, client_subject, client_serial, client_issuer] = texts.map(readable);
        let version = readable(version);
        (bits > 0).then_some(TlsIdentity { version, cipher, bits, client_subject, client_serial, client_issuer })
    }

    /// The client's address, for counting; `Unknown` also while it is being written.
    pub fn client(&self) -> ClientAddress {
        let load = || {
            let [high, low] = [&self.client_address[0], &self.client_address[1]].map(|word| word.load(Relaxed));
            client_address(self.client_kind.load(Relaxed), high, low, self.client_port.load(Relaxed))
        };
        self.sequence.read(load).unwrap_or_default()
    }

    /// A statement begins (`now_us`: since 1970), and a transaction with it unless one is open.
    pub fn begin_query(&self, text: &str, now_us: u64) {
        self.sequence.write(|| {
            self.state.store(SessionState::Active as u64, Relaxed);
            self.state_change_us.store(now_us, Relaxed);
            self.query_start_us.store(now_us, Relaxed);
            if self.xact_start_us.load(Relaxed) == 0 {
                self.xact_start_us.store(now_us, Relaxed);
            }
            hook::writing_slot();
            self.query.store(truncated(text, QUERY_TEXT_BYTES));
        });
    }

    /// The session's state changes (`now_us`: since 1970). An idle session has no transaction.
    pub fn set_state(&self, state: SessionState, now_us: u64) {
        self.sequence.write(|| {
            self.state.store(state as u64, Relaxed);
            self.state_change_us.store(now_us, Relaxed);
            if state == SessionState::Idle {
                self.xact_start_us.store(0, Relaxed);
            }
        });
    }

    /// SET `application_name`.
    pub fn set_application_name(&self, name: &str) {
        self.sequence.write(|| self.application_name.store(name));
    }

    /// SET SESSION AUTHORIZATION, or a role that was renamed.
    pub fn set_user(&self, oid: u32, name: &str) {
        self.sequence.write(|| {
            self.user_oid.store(oid, Relaxed);
            self.user.store(name);
        });
    }

    /// The session's database, 0 without a session: one load, for counting.
    pub fn database_oid(&self) -> u32 {
        self.database_oid.load(Acquire)
    }

    /// The session's role, 0 without a session: one load, for counting.
    pub fn user_oid(&self) -> u32 {
        self.user_oid.load(Acquire)
    }

    /// The session is over; nothing of it stays.
    pub fn clear(&self) {
        self.begin_session(&SessionIdentity::default());
        self.sequence.write(|| {
            // The words behind a text's end would stay otherwise: a core dump is not the place for old queries.
            self.query.wipe();
            self.state.store(SessionState::None as u64, Relaxed);
        });
    }

    /// A consistent copy; `None` if the writer is at it all the time, or was killed and not yet reaped.
    pub fn read(&self) -> Option<ActivityView> {
        let raw = self.sequence.read(|| Raw {
            words: [
                &self.client_address[0],
                &self.client_address[1],
                &self.backend_start_us,
                &self.state,
                &self.state_change_us,
                &self.xact_start_us,
                &self.query_start_us,
            ]
            .map(|word| word.load(Relaxed)),
            codes: [&self.database_oid, &self.user_oid, &self.client_kind, &self.client_port]
                .map(|word| word.load(Relaxed)),
            texts: [self.database.load(), self.user.load(), self.application_name.load(), self.query.load()],
        })?;
        Some(raw.view())
    }

    /// Makes a dead writer's counter even. Returns whether it was odd.
    pub fn repair(&self) -> bool {
        self.sequence.repair()
    }

    #[cfg(test)]
    pub(crate) fn die_writing(&self) {
        self.sequence.die_writing();
    }
}

fn client_address(kind: u32, high: u64, low: u64, port: u32) -> ClientAddress {
    let address = u128::from(high) << 64 | u128::from(low);
    let port = u16::try_from(port).unwrap_or(0);
    match kind {
        1 => ClientAddress::Unix,
        4 => ClientAddress::Inet(IpAddr::V4(u32::try_from(address).unwrap_or(0).into()), port),
        6 => ClientAddress::Inet(IpAddr::V6(address.into()), port),
        _ => ClientAddress::Unknown,
    }
}

struct Raw {
    words: [u64; 7],
    codes: [u32; 4],
    texts: [Vec<u8>; 4],
}

impl Raw {
    fn view(self) -> ActivityView {
        let [high, low, backend_start_us, state, state_change_us, xact_start_us, query_start_us] = self.words;
        let [database_oid, user_oid, client_kind, client_port] = self.codes;
        let [database, user, application_name, query] = self.texts.map(readable);
        let client = client_address(client_kind, high, low, client_port);
        ActivityView {
            identity: SessionIdentity {
                database_oid,
                database,
                user_oid,
                user,
                application_name,
                client,
                backend_start_us,
            },
            state: SessionState::from_code(state),
            state_change_us,
            xact_start_us,
            query_start_us,
            query,
        }
    }
}
