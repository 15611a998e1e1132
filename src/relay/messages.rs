//! A client's messages as far as the relay has to look into them. Names and texts stay bytes: their encoding is between
//! client and server.

use crate::protocol::{Frame, Violation};

/// See the module's description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    Terminate,
    CopyData,
    /// CopyDone or CopyFail.
    CopyEnd,
    /// The text.
    Query(&'a [u8]),
    /// Name, text, and what follows the name: text and types.
    Parse {
        name: &'a [u8],
        text: &'a [u8],
        definition: &'a [u8],
    },
    /// Portal, statement, and what follows them.
    Bind {
        portal: &'a [u8],
        statement: &'a [u8],
        rest: &'a [u8],
    },
    DescribeStatement(&'a [u8]),
    DescribePortal,
    Execute,
    CloseStatement(&'a [u8]),
    ClosePortal,
    FunctionCall,
    Flush,
    Sync,
}

/// Reads a message. What is not looked into the server judges.
pub fn read(frame: Frame<'_>) -> Result<Message<'_>, Violation> {
    Ok(match frame.kind {
        b'X' => Message::Terminate,
        b'd' => Message::CopyData,
        b'c' | b'f' => Message::CopyEnd,
        b'Q' => Message::Query(string(frame.body)?.0),
        b'P' => {
            let (name, definition) = string(frame.body)?;
            Message::Parse { name, text: string(definition)?.0, definition }
        }
        b'B' => {
            let (portal, rest) = string(frame.body)?;
            let (statement, rest) = string(rest)?;
            Message::Bind { portal, statement, rest }
        }
        b'D' | b'C' => {
            let (target, rest) = frame.body.split_first().ok_or(Violation::MissingData("target"))?;
            let (name, _) = string(rest)?;
            match (frame.kind, target) {
                (b'D', b'S') => Message::DescribeStatement(name),
                (b'D', _) => Message::DescribePortal,
                (_, b'S') => Message::CloseStatement(name),
                _ => Message::ClosePortal,
            }
        }
        b'E' => Message::Execute,
        b'F' => Message::FunctionCall,
        b'H' => Message::Flush,
        b'S' => Message::Sync,
        kind => return Err(Violation::UnknownMessage(kind)),
    })
}

/// A string up to its zero, and what follows it.
fn string(bytes: &[u8]) -> Result<(&[u8], &[u8]), Violation> {
    let end = bytes.iter().position(|byte| *byte == 0).ok_or(Violation::UnterminatedString("string"))?;
    let (before, rest) = bytes.split_at(end);
    Ok((before, rest.get(1..).unwrap_or_default()))
}

/// A field of an ErrorResponse, by its letter.
pub fn error_field(mut body: &[u8], code: u8) -> String {
    while let Some((found, rest)) = body.split_first()
        && let Ok((value, rest)) = string(rest)
    {
        if *found == code {
            return String::from_utf8_lossy(value).into_owned();
        }
        body = rest;
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_whatever_their_encoding() {
        let frame = |kind, body| Frame { kind, body };
        assert_eq!(read(frame(b'Q', b"select '\xe4'\0")), Ok(Message::Query(b"select '\xe4'")));
        let parse = Message::Parse { name: b"s", text: b"x", definition: b"x\0\0\0" };
        assert_eq!(read(frame(b'P', b"s\0x\0\0\0")), Ok(parse));
        let bind = Message::Bind { portal: b"", statement: b"s", rest: b"\0\0\0\0\0\0" };
        assert_eq!(read(frame(b'B', b"\0s\0\0\0\0\0\0\0")), Ok(bind));
        assert_eq!(read(frame(b'C', b"Ss\0")), Ok(Message::CloseStatement(b"s")));
        assert!(read(frame(b'Q', b"select")).is_err());
        assert!(read(frame(b'D', b"")).is_err());
        assert_eq!(error_field(b"SFATAL\0C57P01\0M\xe4\0\0", b'C'), "57P01");
        assert_eq!(error_field(b"SFATAL", b'M'), "");
    }
}
