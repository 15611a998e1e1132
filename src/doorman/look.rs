//! A look at what a client has said so far, which stays in the socket for whoever serves it. Only requests for
//! encryption are taken out and declined.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};

use crate::error::{Condition, Error};
use crate::protocol::Packet;
use crate::protocol::frame::{self, Next};

/// More than the longest start-up packet.
const PEEK_BYTES: usize = 12 * 1024;
/// SSLRequest and GSSENCRequest, once each.
const DECLINED_MAX: u32 = 2;

/// What a client has said.
#[derive(Debug)]
pub(super) enum Look {
    /// Not enough yet.
    Wait,
    /// It is gone.
    Gone,
    /// It wants a session.
    Startup,
    /// It wants another session's statement cancelled.
    Cancel { process: u32, key: Vec<u8> },
    /// It is to be told why not.
    Refuse(Error),
}

/// Looks, without blocking and without taking.
pub(super) fn look(socket: BorrowedFd<'_>, declined: &mut u32) -> Look {
    let mut bytes = [0; PEEK_BYTES];
    loop {
        let peek = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        let seen = match recv(socket.as_raw_fd(), &mut bytes, peek) {
            Ok(0) => return Look::Gone,
            Ok(count) => bytes.get(..count).unwrap_or_default(),
            Err(Errno::EAGAIN) => return Look::Wait,
            Err(Errno::EINTR) => continue,
            Err(_) => return Look::Gone,
        };
        let (packet, length) = match frame::next_startup(seen) {
            Ok(Next::Missing(_)) => return Look::Wait,
            Ok(Next::Complete(body, length)) => (Packet::decode(body), length),
            Err(violation) => return Look::Refuse(violation.into()),
        };
        match packet {
            Ok(Packet::Startup(_)) => return Look::Startup,
            Ok(Packet::CancelRequest { process, key }) => return Look::Cancel { process, key: key.to_vec() },
            Ok(Packet::SslRequest | Packet::GssEncryptionRequest) if *declined < DECLINED_MAX => {
                *declined += 1;
                let Some(request) = bytes.get_mut(..length) else { return Look::Gone };
                let taken = recv(socket.as_raw_fd(), request, MsgFlags::MSG_DONTWAIT);
                let sent = send(socket.as_raw_fd(), b"N", MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT);
                if taken != Ok(length) || sent != Ok(1) {
                    return Look::Gone;
                }
            }
            Ok(_) => {
                let message = "too many encryption requests in one connection";
                return Look::Refuse(Error::new(Condition::ProtocolViolation, message));
            }
            Err(error) => return Look::Refuse(error),
        }
    }
}
