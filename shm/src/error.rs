//! What can go wrong with the segment as a whole. Operations inside it answer with their own, smaller results.

use std::fmt;
use std::io;

/// Why a segment could not be created or attached.
#[derive(Debug)]
pub enum Error {
    /// A system call failed; the text says which.
    System(&'static str, io::Error),
    /// The geometry cannot be laid out.
    Geometry(&'static str),
    /// The descriptor does not hold a segment of this version of the program.
    Foreign(&'static str),
    /// The canary in front of the named region was overwritten.
    Canary(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::System(call, error) => write!(f, "shared memory: {call}: {error}"),
            Error::Geometry(what) => write!(f, "shared memory cannot be laid out: {what}"),
            Error::Foreign(what) => write!(f, "not a shared-memory segment of this program: {what}"),
            Error::Canary(region) => write!(f, "shared memory was overwritten in front of region \"{region}\""),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::System(_, error) => Some(error),
            _ => None,
        }
    }
}
