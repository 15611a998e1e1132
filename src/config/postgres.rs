//! `[engine.postgres]`: a PostgreSQL of the server's own, below its data directory; and where its files are.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::section::section;

/// The number in its socket's name. Nobody else listens in that directory.
pub const OWN_PORT: u16 = 5432;
/// Connections on which roles are looked up, besides those that sessions are lent.
pub const LOOKUP_CONNECTIONS: u32 = 4;
/// Bytes of a Unix socket's path, without the zero at its end (unix(7)).
const SOCKET_PATH_MAX: usize = 107;

section! {
    /// `[engine.postgres]`
    OwnPostgres / OwnPostgresPartial {
        /// Where its programs are; not set: in PATH, where pg_config says, or where Debian keeps them.
        bindir: Option<PathBuf> = None,
        /// The superuser as whom roles are looked up; not set: the one that the cluster was made with.
        superuser: Option<String> = None,
    }
}

/// PostgreSQL's own data directory.
pub fn own_data_directory(data: &Path) -> PathBuf {
    data.join("postgres")
}

/// What else of it is for its owner only: its socket, and the rules of who may use that.
pub fn own_private_directory(data: &Path) -> PathBuf {
    data.join("postgres.private")
}

/// Where its socket is. A directory whose name is too long for a socket's path is replaced by one with a short name, made of a
/// hash of the data directory's.
pub fn own_socket_directory(data: &Path) -> PathBuf {
    let directory = own_private_directory(data);
    if socket_in(&directory).as_os_str().len() <= SOCKET_PATH_MAX {
        return directory;
    }
    let digest = Sha256::digest(data.as_os_str().as_encoded_bytes());
    let name = digest.iter().take(8).fold("pgprefork-".to_owned(), |mut name, byte| {
        // Writing to a String cannot fail.
        let _ = write!(name, "{byte:02x}");
        name
    });
    Path::new("/tmp").join(name)
}

/// Its socket in that directory.
pub fn socket_in(directory: &Path) -> PathBuf {
    directory.join(format!(".s.PGSQL.{OWN_PORT}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_of_a_long_directory_is_elsewhere() {
        assert_eq!(own_socket_directory(Path::new("/a/b")), Path::new("/a/b/postgres.private"));
        let long = format!("/{}", "x".repeat(100));
        let directory = own_socket_directory(Path::new(&long));
        assert!(directory.starts_with("/tmp") && socket_in(&directory).as_os_str().len() <= SOCKET_PATH_MAX);
        assert_eq!(directory, own_socket_directory(Path::new(&long)));
        assert_ne!(directory, own_socket_directory(Path::new(&format!("{long}y"))));
        // The longest that fits.
        let room = SOCKET_PATH_MAX - "/postgres.private/.s.PGSQL.5432".len();
        let longest = format!("/{}", "x".repeat(room - 1));
        assert!(own_socket_directory(Path::new(&longest)).starts_with(&longest));
        assert!(own_socket_directory(Path::new(&format!("{longest}x"))).starts_with("/tmp"));
    }
}
