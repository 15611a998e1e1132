//! Where COPY's lines end, in bytes that arrive in pieces cut anywhere.
//!
//! Follows PostgreSQL's rules: the first line decides between LF, CR and CRLF, the others must agree; a line
//! end that is escaped (text) or quoted (CSV) belongs to the data; `\.` alone on a line ends the data.

use crate::error::{Condition, Error};
use crate::sql::plan::CopyFormat;

/// How the lines of this COPY end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineEnd {
    Unknown,
    Lf,
    Cr,
    CrLf,
}

/// What the scan of some bytes found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// A whole line of `length` bytes, which takes up `consumed` with its end.
    Whole { length: usize, consumed: usize },
    /// `\.`: no more data.
    EndOfData,
    /// The line's end is not there yet.
    Partial,
}

/// Finds line ends. Remembers how far it has looked, so that a long line in small pieces is scanned once.
#[derive(Debug)]
pub struct Lines {
    csv: bool,
    quote: u8,
    /// The escape byte, if it is another one than the quote.
    escape: Option<u8>,
    line_end: LineEnd,
    /// Bytes of the current line that were looked at.
    scanned: usize,
    in_quotes: bool,
    escaped: bool,
}

impl Lines {
    /// Lines of that format.
    pub fn new(format: &CopyFormat) -> Self {
        Self {
            csv: format.csv,
            quote: format.quote,
            escape: (format.escape != format.quote).then_some(format.escape),
            line_end: LineEnd::Unknown,
            scanned: 0,
            in_quotes: false,
            escaped: false,
        }
    }

    /// Looks for the end of the line that starts `bytes`. After [`Line::Partial`] the same bytes are to be given
    /// again with more behind them; `last` says that no more will come, and what is there is the last line.
    pub fn next(&mut self, bytes: &[u8], last: bool) -> Result<Line, Error> {
        while let Some(&byte) = bytes.get(self.scanned) {
            let at = self.scanned;
            let following = bytes.get(at + 1).copied();
            let consumed = match byte {
                b'\n' if !self.in_quotes => at + 1,
                b'\r' if !self.in_quotes => match (following, self.line_end) {
                    (None, LineEnd::Unknown | LineEnd::CrLf) if !last => return Ok(Line::Partial),
                    (Some(b'\n'), LineEnd::Unknown | LineEnd::CrLf) => at + 2,
                    _ => at + 1,
                },
                b'\\' if !self.csv => {
                    if following.is_none() && !last {
                        return Ok(Line::Partial);
                    }
                    // Whatever follows is data, a line end too.
                    self.scanned += 2;
                    continue;
                }
                _ => {
                    self.quoting(byte);
                    self.scanned += 1;
                    continue;
                }
            };
            self.check_line_end(byte, consumed - at)?;
            return Ok(self.whole(bytes, at, consumed));
        }
        if !last {
            return Ok(Line::Partial);
        }
        if self.in_quotes {
            return Err(Error::new(Condition::BadCopyFileFormat, "unterminated CSV quoted field"));
        }
        match bytes.len() {
            0 => Ok(Line::EndOfData),
            length => Ok(self.whole(bytes, length, length)),
        }
    }

    fn whole(&mut self, bytes: &[u8], length: usize, consumed: usize) -> Line {
        self.scanned = 0;
        self.in_quotes = false;
        self.escaped = false;
        match bytes.get(..length) {
            Some(b"\\.") => Line::EndOfData,
            _ => Line::Whole { length, consumed },
        }
    }

    fn quoting(&mut self, byte: u8) {
        if !self.csv {
            return;
        }
        if self.in_quotes && self.escape == Some(byte) {
            self.escaped = !self.escaped;
        }
        if byte == self.quote && !self.escaped {
            self.in_quotes = !self.in_quotes;
        }
        if self.escape != Some(byte) {
            self.escaped = false;
        }
    }

    fn check_line_end(&mut self, byte: u8, length: usize) -> Result<(), Error> {
        let found = match (byte, length) {
            (b'\n', _) => LineEnd::Lf,
            (_, 2) => LineEnd::CrLf,
            _ => LineEnd::Cr,
        };
        if self.line_end == LineEnd::Unknown {
            self.line_end = found;
        }
        if self.line_end == found {
            return Ok(());
        }
        let (name, symbol) = if byte == b'\n' { ("newline", "\\n") } else { ("carriage return", "\\r") };
        let (message, hint) = match self.csv {
            false => (format!("literal {name} found in data"), format!("Use \"{symbol}\" to represent {name}.")),
            true => (format!("unquoted {name} found in data"), format!("Use quoted CSV field to represent {name}.")),
        };
        Err(Error::new(Condition::BadCopyFileFormat, message).hint(hint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::plan::CopyHeader;

    pub fn format(csv: bool) -> CopyFormat {
        CopyFormat {
            csv,
            delimiter: if csv { b',' } else { b'\t' },
            null: if csv { String::new() } else { "\\N".into() },
            header: CopyHeader::Absent,
            quote: b'"',
            escape: b'"',
            force_quote: vec![],
            force_not_null: vec![],
            force_null: vec![],
        }
    }

    /// The lines of `data` fed in pieces of `step` bytes.
    fn lines(format: &CopyFormat, data: &[u8], step: usize) -> Result<Vec<String>, String> {
        let mut lines = Lines::new(format);
        let (mut found, mut buffer) = (Vec::new(), Vec::new());
        let mut pieces = data.chunks(step);
        let mut last = false;
        loop {
            match lines.next(&buffer, last).map_err(|error| error.fields().message.clone())? {
                Line::Whole { length, consumed } => {
                    found.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
                    buffer.drain(..consumed);
                }
                Line::EndOfData => return Ok(found),
                Line::Partial => match pieces.next() {
                    Some(piece) => buffer.extend_from_slice(piece),
                    None => last = true,
                },
            }
        }
    }

    #[test]
    fn pieces_cut_anywhere_make_the_same_lines() {
        let cases: [(bool, &[u8], &[&str]); 8] = [
            (false, b"a\nb\n", &["a", "b"]),
            (false, b"a\r\nb\r\nc", &["a", "b", "c"]),
            (false, b"a\rb\r", &["a", "b"]),
            (false, b"a\\\nb\nc\\\\\n", &["a\\\nb", "c\\\\"]),
            (false, b"a\n\\.\nrubbish", &["a"]),
            (true, b"\"a\nb\",c\nd\n", &["\"a\nb\",c", "d"]),
            (true, b"\"a\"\"\n\",\"\"\nd", &["\"a\"\"\n\",\"\"", "d"]),
            (true, b"\\.\n", &[]),
        ];
        for (csv, data, expected) in cases {
            for step in 1..=data.len() {
                assert_eq!(lines(&format(csv), data, step).unwrap(), expected, "{step}: {data:?}");
            }
        }
    }

    #[test]
    fn line_ends_may_not_be_mixed() {
        assert_eq!(lines(&format(false), b"a\nb\r\n", 9).unwrap_err(), "literal carriage return found in data");
        assert_eq!(lines(&format(false), b"a\r\nb\n", 9).unwrap_err(), "literal newline found in data");
        assert_eq!(lines(&format(true), b"a\r\nb\n", 9).unwrap_err(), "unquoted newline found in data");
        assert_eq!(lines(&format(true), b"\"a\nb", 9).unwrap_err(), "unterminated CSV quoted field");
    }
}
