//! A look at what a client has said so far, which stays in the socket for whoever serves it. Only requests for
//! encryption are taken out and answered.

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};

use crate::error::Error;
use crate::protocol::Packet;
use crate::worker::preface::{Preface, Said, unencrypted_data};

/// More than the longest start-up packet, and than what has to be there of a TLS handshake.
const PEEK_BYTES: usize = 12 * 1024;

/// What a client has said.
#[derive(Debug)]
pub(super) enum Look {
    /// Not enough yet.
    Wait,
    /// It is gone.
    Gone,
    /// It wants a session, or it wants TLS first and has begun it (`tls`).
    Startup { tls: bool },
    /// It wants another session's statement cancelled.
    Cancel { process: u32, key: Vec<u8> },
    /// It is to be told why not.
    Refuse(Error),
}

/// Looks, without blocking and without taking. `said`: what was taken from the socket before it came here. `surplus`: why
/// it is not to be served, unless it cancels; then it is told before TLS begins.
pub(super) fn look(
    socket: impl AsFd,
    preface: &mut Preface,
    said: &mut Vec<u8>,
    has_tls: bool,
    surplus: Option<fn() -> Error>,
) -> Look {
    let socket = socket.as_fd();
    let mut bytes = [0; PEEK_BYTES];
    loop {
        let before = said.len().min(PEEK_BYTES);
        let (earlier, room) = bytes.split_at_mut(before);
        earlier.copy_from_slice(said.get(..before).unwrap_or_default());
        let peek = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        let seen = match recv(socket.as_raw_fd(), room, peek) {
            Ok(0) if !room.is_empty() => return Look::Gone,
            Ok(count) => before + count,
            Err(Errno::EAGAIN) => before,
            Err(Errno::EINTR) => continue,
            Err(_) => return Look::Gone,
        };
        let (answer, length) = match preface.hear(bytes.get(..seen).unwrap_or_default(), has_tls) {
            Ok(Said::Part) => return Look::Wait,
            Ok(Said::Hello { .. }) => return Look::Startup { tls: true },
            Ok(Said::Packet(Packet::CancelRequest { process, key }, _)) => {
                return Look::Cancel { process, key: key.to_vec() };
            }
            Ok(Said::Packet(..) | Said::Response) => return Look::Startup { tls: false },
            Ok(Said::TlsRequest(length)) if has_tls => match surplus {
                Some(refusal) => return Look::Refuse(refusal()),
                None if seen > length => return Look::Refuse(unencrypted_data()),
                None => (b"S", length),
            },
            Ok(Said::TlsRequest(length) | Said::GssRequest(length)) => (b"N", length),
            Err(error) => return Look::Refuse(error),
        };
        // The request is taken out, wherever its parts are.
        let in_socket = length.saturating_sub(said.len());
        said.drain(..length.min(said.len()));
        let taken = match bytes.get_mut(..in_socket) {
            Some([]) => Ok(0),
            Some(rest) => recv(socket.as_raw_fd(), rest, MsgFlags::MSG_DONTWAIT),
            None => return Look::Gone,
        };
        let sent = send(socket.as_raw_fd(), answer, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT);
        if taken != Ok(in_socket) || sent != Ok(1) {
            return Look::Gone;
        }
        *preface = Preface { answered: preface.answered.saturating_add(1), tls: answer == b"S", asked: false };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

    #[test]
    fn a_request_in_two_parts_is_taken_out_and_answered_once() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (mut preface, mut said) = (Preface::default(), SSL_REQUEST[..3].to_vec());
        ours.set_nonblocking(true).unwrap();
        let look = |preface: &mut Preface, said: &mut Vec<u8>| look(&ours, preface, said, true, None);
        assert!(matches!(look(&mut preface, &mut said), Look::Wait));
        theirs.write_all(&SSL_REQUEST[3..]).unwrap();
        assert!(matches!(look(&mut preface, &mut said), Look::Wait));
        assert_eq!((preface, said.len()), (Preface { answered: 1, tls: true, asked: false }, 0));
        let mut answer = [0; 2];
        assert_eq!((theirs.read(&mut answer).unwrap(), answer[0]), (1, b'S'));
        theirs.write_all(&[0x16, 3, 1, 0, 2, 1]).unwrap();
        assert!(matches!(look(&mut preface, &mut said), Look::Wait));
        theirs.write_all(&[0]).unwrap();
        assert!(matches!(look(&mut preface, &mut said), Look::Startup { tls: true }));
    }

    #[test]
    fn what_comes_with_a_request_for_tls_is_refused_and_a_surplus_client_told() {
        let ask = |bytes: &[u8], surplus: Option<fn() -> Error>| {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(bytes).unwrap();
            look(&ours, &mut Preface::default(), &mut Vec::new(), true, surplus)
        };
        let with_more = [&SSL_REQUEST[..], b"x"].concat();
        assert!(
            matches!(ask(&with_more, None), Look::Refuse(error) if error.fields().message.contains("unencrypted data"))
        );
        assert!(matches!(ask(&SSL_REQUEST, Some(crate::worker::budget::refusal)), Look::Refuse(_)));
    }
}
