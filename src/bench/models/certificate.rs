//! A self-signed certificate for the servers that are compared, each with files of its own.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use nix::unistd::{User, geteuid};

use super::super::Error;

/// The files.
#[derive(Debug)]
pub struct Certificate {
    /// The certificate.
    pub chain: PathBuf,
    /// Its key, which only its owner may read: every server insists on that.
    pub key: PathBuf,
}

impl Certificate {
    /// Makes a pair (ECDSA, P-256) in a folder, for the user that servers run as. A pair that an earlier start of the
    /// same server left there is replaced.
    pub fn create(folder: &Path) -> Result<Self, Error> {
        let failed = |error| Error::Io(folder.display().to_string(), error);
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])
            .map_err(|error| Error::Failed("a certificate".into(), error.to_string()))?;
        fs::create_dir_all(folder).map_err(failed)?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).map_err(failed)?;
        let user = if geteuid().is_root() { User::from_name("postgres").ok().flatten() } else { None };
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).map_err(failed)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
            if let Some(user) = &user {
                chown(&path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).map_err(failed)?;
            }
            Ok(path)
        };
        Ok(Self {
            chain: write("server.crt", pair.cert.pem())?,
            key: write("server.key", pair.signing_key.serialize_pem())?,
        })
    }
}
