//! The fields of one COPY line, in text and CSV format: delimiters, escapes, quotes, NULL.
//!
//! Pure. The fields of a line are written into one buffer that is reused from line to line.

use std::ops::Range;

use crate::error::{Condition, Error};
use crate::sql::plan::CopyFormat;

/// The fields of the line read last.
#[derive(Debug, Default)]
pub struct Fields {
    text: Vec<u8>,
    /// Place of each field in `text`; `None` is NULL.
    places: Vec<Option<Range<usize>>>,
}

impl Fields {
    /// How many fields the line had.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Field `index`; `None` is NULL.
    pub fn field(&self, index: usize) -> Option<&[u8]> {
        self.places.get(index)?.as_ref().and_then(|place| self.text.get(place.clone()))
    }

    /// Splits a line.
    pub fn split(&mut self, line: &[u8], format: &CopyFormat) -> Result<(), Error> {
        self.text.clear();
        self.places.clear();
        if format.csv { self.split_csv(line, format) } else { self.split_text(line, format) }
    }

    fn split_text(&mut self, line: &[u8], format: &CopyFormat) -> Result<(), Error> {
        let mut rest = line;
        loop {
            let start = self.text.len();
            let mut raw_length = 0;
            let mut ended = true;
            while let Some(&byte) = rest.get(raw_length) {
                raw_length += 1;
                if byte == format.delimiter {
                    ended = false;
                    break;
                }
                if byte == b'\\' {
                    raw_length += self.unescape(rest.get(raw_length..).unwrap_or_default());
                } else {
                    self.text.push(byte);
                }
            }
            let raw = rest.get(..raw_length - usize::from(!ended)).unwrap_or_default();
            self.end_field(start, raw == format.null.as_bytes());
            if ended {
                return Ok(());
            }
            rest = rest.get(raw_length..).unwrap_or_default();
        }
    }

    /// Appends what the bytes after a backslash stand for; how many of them there were.
    fn unescape(&mut self, after: &[u8]) -> usize {
        let Some(&byte) = after.first() else {
            self.text.push(b'\\');
            return 0;
        };
        let (value, length) = match byte {
            b'b' => (8, 1),
            b'f' => (12, 1),
            b'n' => (b'\n', 1),
            b'r' => (b'\r', 1),
            b't' => (b'\t', 1),
            b'v' => (11, 1),
            b'0'..=b'7' => number(after, 8, 3),
            b'x' => match number(after.get(1..).unwrap_or_default(), 16, 2) {
                (_, 0) => (b'x', 1),
                (value, digits) => (value, digits + 1),
            },
            other => (other, 1),
        };
        self.text.push(value);
        length
    }

    fn split_csv(&mut self, line: &[u8], format: &CopyFormat) -> Result<(), Error> {
        let mut bytes = line.iter().copied().peekable();
        loop {
            let start = self.text.len();
            let (mut quoted, mut in_quotes) = (false, false);
            let ended = loop {
                let Some(byte) = bytes.next() else { break true };
                if in_quotes {
                    let escapes = byte == format.escape
                        && bytes.peek().is_some_and(|next| *next == format.escape || *next == format.quote);
                    if escapes {
                        self.text.extend(bytes.next());
                    } else if byte == format.quote {
                        in_quotes = false;
                    } else {
                        self.text.push(byte);
                    }
                } else if byte == format.delimiter {
                    break false;
                } else if byte == format.quote {
                    (quoted, in_quotes) = (true, true);
                } else {
                    self.text.push(byte);
                }
            };
            if in_quotes {
                return Err(Error::new(Condition::BadCopyFileFormat, "unterminated CSV quoted field"));
            }
            let index = self.places.len();
            let matches = self.text.get(start..) == Some(format.null.as_bytes());
            let null = match quoted {
                false => !format.force_not_null.contains(&index),
                true => format.force_null.contains(&index),
            };
            self.end_field(start, matches && null);
            if ended {
                return Ok(());
            }
        }
    }

    fn end_field(&mut self, start: usize, null: bool) {
        self.places.push((!null).then_some(start..self.text.len()));
    }
}

/// A number of at most `digits_max` digits at the start of `bytes`, cut to a byte, and how many digits it has.
fn number(bytes: &[u8], base: u32, digits_max: usize) -> (u8, usize) {
    let digits = bytes.iter().take(digits_max).map_while(|byte| char::from(*byte).to_digit(base));
    let (value, count) = digits.fold((0, 0), |(value, count), digit| (value * base + digit, count + 1));
    ((value & 0xff) as u8, count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::plan::CopyHeader;

    fn split(csv: bool, line: &str) -> Vec<Option<String>> {
        let format = CopyFormat {
            csv,
            delimiter: b',',
            null: if csv { String::new() } else { "\\N".into() },
            header: CopyHeader::Absent,
            quote: b'"',
            escape: b'"',
            force_quote: vec![],
            force_not_null: vec![1],
            force_null: vec![2],
        };
        let mut fields = Fields::default();
        fields.split(line.as_bytes(), &format).unwrap();
        (0..fields.len())
            .map(|index| fields.field(index).map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
            .collect()
    }

    #[test]
    fn text_escapes_and_null() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            split(false, r"a\,b,\N,\\N,,\t\101\x4a\x\q"),
            [some("a,b"), None, some("\\N"), some(""), some("\tAJxq")]
        );
        assert_eq!(split(false, ""), [some("")]);
        assert_eq!(split(false, "a\\"), [some("a\\")]);
    }

    #[test]
    fn csv_quotes_and_null() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(split(true, "a\"b,c\"\"\"d,,\"\",e\nf"), [some("ab,c\"d"), some(""), None, some("e\nf")]);
        assert_eq!(split(true, ",\"\",\"x\"\"y\""), [None, some(""), some("x\"y")]);
    }
}
