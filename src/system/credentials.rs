//! Who is at the other end of a Unix socket (SO_PEERCRED), and what the system calls that user. Judges nothing.

use std::io;
use std::os::fd::AsFd;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::{Uid, User};

/// The user who connected; a descriptor that was handed on since keeps it.
pub fn peer_uid(socket: impl AsFd) -> io::Result<Uid> {
    Ok(Uid::from_raw(getsockopt(&socket, PeerCredentials)?.uid()))
}

/// The name of a user, or why there is none, in PostgreSQL's words.
pub fn user_name(uid: Uid) -> Result<String, String> {
    match User::from_uid(uid) {
        Ok(Some(user)) => Ok(user.name),
        Ok(None) => Err(format!("could not look up local user ID {uid}: user does not exist")),
        Err(error) => Err(format!("could not look up local user ID {uid}: {}", error.desc())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_end_of_our_own_socket_is_us() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(peer_uid(&one).unwrap(), nix::unistd::geteuid());
    }

    #[test]
    fn a_user_without_a_name_is_named_by_number() {
        assert_eq!(user_name(Uid::from_raw(0)).as_deref(), Ok("root"));
        let nobody = user_name(Uid::from_raw(4_000_000_000)).unwrap_err();
        assert_eq!(nobody, "could not look up local user ID 4000000000: user does not exist");
    }
}
