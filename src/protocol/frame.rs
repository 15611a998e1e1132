//! Where one message ends and the next begins.
//!
//! Owns the limits on lengths. A frame borrows from the caller's receive buffer; the caller grows that buffer as
//! bytes arrive, never by the announced length alone.

use super::Violation;

/// Longest start-up packet, without its length word (`MAX_STARTUP_PACKET_LENGTH`).
pub const MAX_STARTUP_LENGTH: usize = 10_000;
/// Longest message during authentication (`PG_MAX_AUTH_TOKEN_LENGTH`), counting its length word.
pub const MAX_AUTHENTICATION_LENGTH: usize = 65_535;
/// Longest message of the kinds that carry names only (`PQ_SMALL_MESSAGE_LIMIT`), counting its length word.
pub const MAX_SMALL_LENGTH: usize = 10_000;
/// Longest message of the other kinds (`PQ_LARGE_MESSAGE_LIMIT`), counting its length word.
pub const MAX_LARGE_LENGTH: usize = 0x3fff_ffff - 1;

/// One message: its type byte and what follows the length word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The type byte.
    pub kind: u8,
    /// The message's fields.
    pub body: &'a [u8],
}

/// What a receive buffer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next<T> {
    /// A whole message, and how many bytes of the buffer it takes up.
    Complete(T, usize),
    /// Not yet. At least this many more bytes are needed: a hint for the next read, not for an allocation.
    Missing(usize),
}

/// The next message of a session. The type byte is judged as soon as it is there.
#[inline]
pub fn next(buffer: &[u8]) -> Result<Next<Frame<'_>>, Violation> {
    let Some(&kind) = buffer.first() else { return Ok(Next::Missing(5)) };
    let limit = match kind {
        b'Q' | b'P' | b'B' | b'F' | b'd' => MAX_LARGE_LENGTH,
        b'E' | b'S' | b'D' | b'C' | b'H' | b'X' | b'c' | b'f' => MAX_SMALL_LENGTH,
        _ => return Err(Violation::UnknownMessage(kind)),
    };
    tagged(buffer, kind, limit)
}

/// The type of the message at the head of a buffer and the bytes that it takes up, as its header announces.
pub fn announced(buffer: &[u8]) -> Option<(u8, usize)> {
    let [kind, a, b, c, d] = *buffer.first_chunk::<5>()?;
    Some((kind, (u32::from_be_bytes([a, b, c, d]) as usize).saturating_add(1)))
}

/// The next message of a client in authentication: PasswordMessage, SASLInitialResponse or SASLResponse, all of
/// type 'p'. `expected` names what is waited for, as PostgreSQL does: "password response", "SASL response".
pub fn next_response<'a>(buffer: &'a [u8], expected: &'static str) -> Result<Next<Frame<'a>>, Violation> {
    match buffer.first() {
        None => Ok(Next::Missing(5)),
        Some(b'p') => tagged(buffer, b'p', MAX_AUTHENTICATION_LENGTH),
        Some(&kind) => Err(Violation::UnexpectedResponse { expected, kind }),
    }
}

/// The next start-up packet, which has no type byte: what follows its length word.
pub fn next_startup(buffer: &[u8]) -> Result<Next<&[u8]>, Violation> {
    let Some((length, rest)) = buffer.split_first_chunk::<4>() else { return Ok(Next::Missing(4 - buffer.len())) };
    let length = u32::from_be_bytes(*length) as usize;
    let body_length = length.checked_sub(4).ok_or(Violation::StartupLength)?;
    if !(4..=MAX_STARTUP_LENGTH).contains(&body_length) {
        return Err(Violation::StartupLength);
    }
    match rest.get(..body_length) {
        Some(body) => Ok(Next::Complete(body, length)),
        None => Ok(Next::Missing(body_length - rest.len())),
    }
}

/// The next message of a backend, for the client side: any type, up to the large limit.
pub(super) fn next_backend(buffer: &[u8]) -> Result<Next<Frame<'_>>, Violation> {
    match buffer.first() {
        None => Ok(Next::Missing(5)),
        Some(&kind) => tagged(buffer, kind, i32::MAX as usize),
    }
}

#[inline]
fn tagged(buffer: &[u8], kind: u8, limit: usize) -> Result<Next<Frame<'_>>, Violation> {
    let Some(header) = buffer.first_chunk::<5>() else { return Ok(Next::Missing(5 - buffer.len())) };
    let [_, a, b, c, d] = *header;
    let announced = u32::from_be_bytes([a, b, c, d]);
    let length = announced as usize;
    if length < 4 || length > limit {
        return Err(Violation::MessageLength { kind, length: announced });
    }
    match buffer.get(5..length + 1) {
        Some(body) => Ok(Next::Complete(Frame { kind, body }, length + 1)),
        None => Ok(Next::Missing(length + 1 - buffer.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_arrives_byte_by_byte() {
        let whole = b"Q\0\0\0\x0dselect 1\0";
        // The length word covers itself and the nine bytes of text with their zero byte.
        let whole = &whole[..whole.len()];
        assert_eq!(next(&[]), Ok(Next::Missing(5)));
        for have in 1..5 {
            assert_eq!(next(&whole[..have]), Ok(Next::Missing(5 - have)));
        }
        for have in 5..whole.len() {
            assert_eq!(next(&whole[..have]), Ok(Next::Missing(whole.len() - have)));
        }
        assert_eq!(next(whole), Ok(Next::Complete(Frame { kind: b'Q', body: b"select 1\0" }, whole.len())));
    }

    #[test]
    fn lengths_out_of_range_are_refused_before_the_body_arrives() {
        let header = |kind: u8, length: u32| {
            let mut bytes = vec![kind];
            bytes.extend(length.to_be_bytes());
            bytes
        };
        for (kind, length) in [(b'Q', 3), (b'Q', u32::MAX), (b'Q', 0x8000_0000), (b'Q', 0x3fff_ffff), (b'S', 10_001)] {
            assert_eq!(next(&header(kind, length)), Err(Violation::MessageLength { kind, length }));
        }
        assert_eq!(next(&header(b'S', 10_000)), Ok(Next::Missing(9_996)));
        assert_eq!(next(&header(b'B', 0x3fff_fffe)), Ok(Next::Missing(0x3fff_fffa)));
    }

    #[test]
    fn unknown_types_are_refused_by_their_first_byte() {
        for kind in 0..=255 {
            let known = b"QPBFEDCSHXdcf".contains(&kind);
            assert_eq!(next(&[kind]).is_ok(), known, "{kind}");
        }
        // A password message is none of a session's.
        assert_eq!(next(b"p"), Err(Violation::UnknownMessage(b'p')));
    }

    #[test]
    fn authentication_takes_nothing_but_responses() {
        assert_eq!(
            next_response(b"Q", "password response"),
            Err(Violation::UnexpectedResponse { expected: "password response", kind: b'Q' })
        );
        assert_eq!(next_response(b"p\0\x01\0\0", "x"), Err(Violation::MessageLength { kind: b'p', length: 65_536 }));
        assert_eq!(next_response(b"p\0\0\0\x05\0", "x"), Ok(Next::Complete(Frame { kind: b'p', body: b"\0" }, 6)));
    }

    #[test]
    fn startup_packets_are_at_most_ten_thousand_bytes() {
        assert_eq!(next_startup(&[0, 0]), Ok(Next::Missing(2)));
        assert_eq!(next_startup(&10_005u32.to_be_bytes()), Err(Violation::StartupLength));
        assert_eq!(next_startup(&7u32.to_be_bytes()), Err(Violation::StartupLength));
        assert_eq!(next_startup(&0u32.to_be_bytes()), Err(Violation::StartupLength));
        assert_eq!(next_startup(&10_004u32.to_be_bytes()), Ok(Next::Missing(10_000)));
        assert_eq!(next_startup(b"\0\0\0\x08\x04\xd2\x16\x2f"), Ok(Next::Complete(&b"\x04\xd2\x16\x2f"[..], 8)));
    }
}
