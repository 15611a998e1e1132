//! Root hands itself over: which user to become, giving it the directory, and becoming it for good.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use nix::sys::prctl;
use nix::unistd::{Gid, Uid, User, geteuid, initgroups, setgroups, setresgid, setresuid};

/// The uid and gid used when no user was named and there is no `postgres`: PostgreSQL's port number.
pub const FALLBACK_ID: u32 = 5432;

/// A user to become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: Uid,
    /// Group id.
    pub gid: Gid,
    /// The user's name, when the system knows one.
    pub name: Option<String>,
}

/// Why no user could be chosen or become.
#[derive(Debug)]
pub enum Error {
    /// `--user` names nobody.
    UnknownUser(String),
    /// `--user` names root.
    Root,
    /// `--user` was given by somebody who is not root and isn't that user.
    NotRoot(String),
    /// The data directory has something in it and belongs to root.
    OwnedByRoot,
    /// A system call failed.
    Io(io::Error),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::UnknownUser(name) => write!(f, "there is no user \"{name}\""),
            Self::Root => write!(f, "it never serves as root: choose another user"),
            Self::NotRoot(name) => write!(f, "only root can start a server for user \"{name}\""),
            Self::OwnedByRoot => {
                write!(f, "the data directory belongs to root; give it to the user who shall serve it (chown -R)")
            }
            Self::Io(error) => write!(f, "{error}"),
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Whether this process runs as root.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Whom a server on `data` shall run as; None when this process is not root and stays who it is.
///
/// In order: `wanted`; the directory's owner, if it isn't root; `postgres`; uid and gid 5432. A directory of
/// root's with something in it is refused rather than given away.
pub fn choose(wanted: Option<&str>, data: &Path) -> Result<Option<Identity>, Error> {
    if !is_root() {
        let Some(wanted) = wanted else { return Ok(None) };
        let is_self = named(wanted)?.is_some_and(|user| user.uid == geteuid());
        return if is_self { Ok(None) } else { Err(Error::NotRoot(wanted.to_owned())) };
    }
    let owner = match fs::metadata(data) {
        Ok(metadata) => Some(metadata),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    if let Some(owner) = &owner
        && owner.uid() == 0
        && fs::read_dir(data)?.next().is_some()
    {
        return Err(Error::OwnedByRoot);
    }
    if let Some(wanted) = wanted {
        let identity = named(wanted)?.ok_or_else(|| Error::UnknownUser(wanted.to_owned()))?;
        return if identity.uid.is_root() { Err(Error::Root) } else { Ok(Some(identity)) };
    }
    if let Some(owner) = owner.filter(|owner| owner.uid() != 0) {
        let name = User::from_uid(Uid::from_raw(owner.uid())).ok().flatten().map(|user| user.name);
        return Ok(Some(Identity { uid: Uid::from_raw(owner.uid()), gid: Gid::from_raw(owner.gid()), name }));
    }
    let fallback = Identity { uid: Uid::from_raw(FALLBACK_ID), gid: Gid::from_raw(FALLBACK_ID), name: None };
    Ok(Some(named("postgres")?.unwrap_or(fallback)))
}

fn named(name: &str) -> Result<Option<Identity>, Error> {
    let user = User::from_name(name).map_err(io::Error::from)?;
    Ok(user.map(|user| Identity { uid: user.uid, gid: user.gid, name: Some(user.name) }))
}

/// Gives a file or directory to the identity.
pub fn give(path: &Path, to: &Identity) -> io::Result<()> {
    chown(path, Some(to.uid.as_raw()), Some(to.gid.as_raw()))
}

/// Becomes the identity, for good: groups first, user last, saved ids as well.
///
/// Afterwards the process is made dumpable again: otherwise its /proc files belong to root and its children
/// could not reset their oom_score_adj.
pub fn become_user(identity: &Identity) -> io::Result<()> {
    match identity.name.as_deref().map(CString::new) {
        Some(Ok(name)) => initgroups(&name, identity.gid)?,
        _ => setgroups(&[identity.gid])?,
    }
    setresgid(identity.gid, identity.gid, identity.gid)?;
    setresuid(identity.uid, identity.uid, identity.uid)?;
    if setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).is_ok() {
        return Err(io::Error::other("root's privileges could be taken back"));
    }
    Ok(prctl::set_dumpable(true)?)
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name}"),
            None => write!(f, "uid {}", self.uid),
        }
    }
}
