//! Certificate, key and client CA, from their files to rustls' configuration.
//!
//! Made once a (re)load by the postmaster, which has to know anyway whether the files are good, and inherited by every
//! worker: to check an RSA key takes longer than to serve a short session. Where no certificate is configured, nothing
//! of TLS is initialised anywhere.

use std::fmt::Display;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use sha2::{Digest, Sha256};
use shm::{Owner, Segment};

use super::certificate::Certificate;
use super::stream::Stream;
use super::tickets::Tickets;
use crate::config::{Config, TlsVersion};

/// The protocol's name in ALPN.
pub const PROTOCOL: &[u8] = b"postgresql";
/// Tickets after a full handshake: a client that keeps sessions needs one.
const TICKETS: usize = 1;

/// What it takes to accept TLS.
#[derive(Debug, Clone)]
pub struct Acceptor {
    config: Arc<ServerConfig>,
    tickets: Arc<Tickets>,
    end_point: Option<Vec<u8>>,
}

impl Acceptor {
    /// Reads the files that the configuration names; None where it names none.
    pub fn load(config: &Config, segment: Segment) -> Result<Option<Acceptor>, String> {
        let tls = &config.tls;
        let (Some(cert), Some(key)) = (&tls.cert, &tls.key) else { return Ok(None) };
        let (cert, key) = (config.path(cert), config.path(key));
        let provider = Arc::new(ring::default_provider());
        let chain = certificates(&cert, "server certificate")?;
        let server = chain.first().map_or(Ok(None), |first| Certificate::parse(first).map(Some));
        let server = server.map_err(|error| could_not("server certificate", &cert, error))?;
        let key = certified(chain.clone(), &key, &cert, server.as_ref(), &provider)?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions(tls.min_version))
            .map_err(|error| error.to_string())?;
        // Tickets vouch for what was verified under these files alone.
        let mut context = Sha256::new();
        chain.iter().for_each(|certificate| context.update(certificate));
        let builder = match &tls.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let path = config.path(path);
                let mut roots = RootCertStore::empty();
                for root in certificates(&path, "root certificate")? {
                    context.update(&root);
                    roots.add(root).map_err(|error| could_not("root certificate", &path, error))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .allow_unauthenticated()
                    .build();
                builder
                    .with_client_cert_verifier(verifier.map_err(|error| could_not("root certificate", &path, error))?)
            }
        };
        let tickets = Arc::new(Tickets::new(segment, context.finalize().into()));
        let mut made = builder.with_cert_resolver(key);
        made.alpn_protocols = vec![PROTOCOL.to_vec()];
        made.session_storage = Arc::new(NoServerSessionStorage {});
        made.ticketer = Arc::<Tickets>::clone(&tickets);
        made.send_tls13_tickets = TICKETS;
        made.ignore_client_order = true;
        let end_point = server.and_then(|server| server.end_point);
        segment.hide_ticket_keys().map_err(|error| error.to_string())?;
        Ok(Some(Acceptor { config: Arc::new(made), tickets, end_point }))
    }

    /// A session with one client, in the process `owner`.
    pub(in crate::worker) fn stream(&self, owner: Owner) -> Result<Stream, rustls::Error> {
        self.tickets.inherit(owner);
        Stream::new(Arc::clone(&self.config), self.end_point.clone())
    }
}

fn versions(oldest: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    const BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    const NEW: [&SupportedProtocolVersion; 1] = [&TLS13];
    match oldest {
        TlsVersion::V12 => &BOTH,
        TlsVersion::V13 => &NEW,
    }
}

fn could_not(what: &str, path: &Path, error: impl Display) -> String {
    format!("could not load {what} file \"{}\": {error}", path.display())
}

fn certificates(path: &Path, what: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = fs::read(path).map_err(|error| could_not(what, path, error))?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match all.map_err(|error| could_not(what, path, error))? {
        all if all.is_empty() => Err(could_not(what, path, "there is no certificate in it")),
        all => Ok(all),
    }
}

/// The key, which has to belong to the certificate.
fn certified(
    chain: Vec<CertificateDer<'static>>,
    path: &Path,
    certificate_path: &Path,
    certificate: Option<&Certificate>,
    provider: &CryptoProvider,
) -> Result<Arc<dyn ResolvesServerCert>, String> {
    check_permissions(path)?;
    let pem = fs::read(path).map_err(|error| could_not("private key", path, error))?;
    let key = match PrivateKeyDer::from_pem_slice(&pem) {
        Ok(key) => key,
        Err(_) if pem.windows(9).any(|window| window == b"ENCRYPTED") => {
            return Err(could_not(
                "private key",
                path,
                "it is encrypted, and there is nobody to ask for its passphrase",
            ));
        }
        Err(error) => return Err(could_not("private key", path, error)),
    };
    let key = provider.key_provider.load_private_key(key).map_err(|error| could_not("private key", path, error))?;
    let matches = key.public_key().zip(certificate).is_none_or(|(key, of)| key.as_ref() == of.public_key);
    if !matches {
        let (path, certificate) = (path.display(), certificate_path.display());
        return Err(format!("the private key \"{path}\" does not belong to the certificate \"{certificate}\""));
    }
    Ok(Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key))))
}

/// PostgreSQL's rule: a key is read by its owner alone, or by a group where root owns it.
fn check_permissions(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let file = fs::metadata(path).map_err(|error| format!("could not access private key file \"{shown}\": {error}"))?;
    if !file.is_file() {
        return Err(format!("private key file \"{shown}\" is not a regular file"));
    }
    let own = nix::unistd::geteuid().as_raw();
    if file.uid() != own && file.uid() != 0 {
        return Err(format!("private key file \"{shown}\" must be owned by the database user or root"));
    }
    let forbidden = if file.uid() == own { 0o077 } else { 0o037 };
    if file.mode() & forbidden != 0 {
        return Err(format!(
            "private key file \"{shown}\" has group or world access: it must have permissions u=rw (0600) or less if \
             owned by the database user, or permissions u=rw,g=r (0640) or less if owned by root"
        ));
    }
    Ok(())
}
