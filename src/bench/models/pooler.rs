//! The connection poolers that stand before a PostgreSQL of their own: how they are set up and started.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::super::Error;
use super::certificate::Certificate;
use super::pgbench::program;

/// Server connections of a pool whose connections are lent for a transaction.
pub const TRANSACTION_POOL_SIZE: u32 = 20;

/// A pooler of Debian's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooler {
    /// One process, all clients in one event loop; a client has its server connection to its end.
    PgBouncer,
    /// The same, with server connections that are lent for a transaction.
    PgBouncerTransaction,
    /// Pre-forked processes, each for one client at a time.
    Pgpool,
}

impl Pooler {
    /// The name in the report and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Pooler::PgBouncer => "pgbouncer",
            Pooler::PgBouncerTransaction => "pgbouncer, transaction",
            Pooler::Pgpool => "pgpool",
        }
    }

    /// Its program.
    pub fn program(self) -> &'static str {
        match self {
            Pooler::PgBouncer | Pooler::PgBouncerTransaction => "pgbouncer",
            Pooler::Pgpool => "pgpool",
        }
    }

    /// What differs from the defaults and matters, printed with the figures.
    pub fn settings(self) -> &'static str {
        match self {
            Pooler::PgBouncer => "pool_mode=session, default_pool_size as many as may connect",
            Pooler::PgBouncerTransaction => "pool_mode=transaction, default_pool_size=20",
            Pooler::Pgpool => "backend_clustering_mode=raw, num_init_children as many as may connect, max_pool=1",
        }
    }

    /// Writes its configuration into `directory` and returns how it is started, still without a user.
    pub fn command(
        self,
        directory: &Path,
        [port, control_port, server_port]: [u16; 3],
        max_sessions: u32,
        certificate: &Certificate,
    ) -> Result<Command, Error> {
        let (chain, key) = (certificate.chain.display(), certificate.key.display());
        let program = program(self.program())?;
        let write = |name: &str, text: String| {
            let path = directory.join(name);
            fs::write(&path, text).map_err(|error| Error::Io(path.display().to_string(), error)).map(|()| path)
        };
        let folder = directory.display();
        let mut command = Command::new(program);
        match self {
            Pooler::PgBouncer | Pooler::PgBouncerTransaction => {
                let (mode, size) = match self {
                    Pooler::PgBouncer => ("session", max_sessions),
                    _ => ("transaction", TRANSACTION_POOL_SIZE),
                };
                let users = write("users.txt", "\"postgres\" \"\"\n".to_owned())?;
                let text = format!(
                    "[databases]\n* = host=127.0.0.1 port={server_port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
                     listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {}\n\
                     pool_mode = {mode}\nmax_client_conn = {max_sessions}\ndefault_pool_size = {size}\n\
                     log_connections = 0\nlog_disconnections = 0\n\
                     client_tls_sslmode = allow\nclient_tls_cert_file = {chain}\nclient_tls_key_file = {key}\n",
                    users.display()
                );
                command.arg(write("pgbouncer.ini", text)?);
            }
            Pooler::Pgpool => {
                let text = format!(
                    "backend_clustering_mode = 'raw'\nlisten_addresses = '127.0.0.1'\nport = {port}\n\
                     socket_dir = '{folder}'\npcp_port = {control_port}\npcp_socket_dir = '{folder}'\n\
                     backend_hostname0 = '127.0.0.1'\nbackend_port0 = {server_port}\nbackend_weight0 = 1\n\
                     num_init_children = {max_sessions}\nmax_pool = 1\npid_file_name = '{folder}/pgpool.pid'\n\
                     logdir = '{folder}'\nenable_pool_hba = off\nssl = on\nssl_cert = '{chain}'\nssl_key = '{key}'\n"
                );
                command.arg("-n").arg("-f").arg(write("pgpool.conf", text)?);
                command.arg("-F").arg(write("pcp.conf", String::new())?);
                command.arg("-a").arg(write("pool_hba.conf", String::new())?);
            }
        }
        Ok(command)
    }
}
