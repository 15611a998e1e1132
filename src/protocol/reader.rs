//! Takes the fields of one message off its bytes, in order, naming what was missing.
//!
//! Nothing here panics or allocates, whatever the bytes.

use std::ffi::CStr;

use super::Violation;

/// The bytes of one message that are still to be read.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `bytes`, from their start.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next `count` bytes; `field` names them in the error.
    #[inline]
    pub fn take(&mut self, count: usize, field: &'static str) -> Result<&'a [u8], Violation> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Violation::MissingData(field))?;
        self.rest = rest;
        Ok(taken)
    }

    /// A reader of the next `count` bytes alone.
    pub fn sub(&mut self, count: usize, field: &'static str) -> Result<Reader<'a>, Violation> {
        self.take(count, field).map(Reader::new)
    }

    #[inline]
    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Violation> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Violation::MissingData(field))?;
        self.rest = rest;
        Ok(*taken)
    }

    /// One byte.
    #[inline]
    pub fn byte(&mut self, field: &'static str) -> Result<u8, Violation> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    /// A 16-bit count; PostgreSQL reads these without a sign.
    #[inline]
    pub fn count(&mut self, field: &'static str) -> Result<u16, Violation> {
        self.array(field).map(u16::from_be_bytes)
    }

    /// Int16.
    #[inline]
    pub fn int16(&mut self, field: &'static str) -> Result<i16, Violation> {
        self.array(field).map(i16::from_be_bytes)
    }

    /// Int32.
    #[inline]
    pub fn int32(&mut self, field: &'static str) -> Result<i32, Violation> {
        self.array(field).map(i32::from_be_bytes)
    }

    /// An OID: Int32 without a sign.
    #[inline]
    pub fn oid(&mut self, field: &'static str) -> Result<u32, Violation> {
        self.array(field).map(u32::from_be_bytes)
    }

    /// The bytes up to the next zero byte, which is consumed too.
    #[inline]
    pub fn c_bytes(&mut self, field: &'static str) -> Result<&'a [u8], Violation> {
        // The standard library's search for the terminator is the fast one.
        let found = CStr::from_bytes_until_nul(self.rest).map_err(|_| Violation::UnterminatedString(field))?;
        let taken = found.to_bytes();
        self.rest = self.rest.get(taken.len() + 1..).unwrap_or_default();
        Ok(taken)
    }

    /// A zero-terminated string, which has to be UTF-8.
    #[inline]
    pub fn string(&mut self, field: &'static str) -> Result<&'a str, Violation> {
        let bytes = self.c_bytes(field)?;
        std::str::from_utf8(bytes).map_err(|error| offending(bytes, error.valid_up_to()))
    }

    /// A length-prefixed value: Int32, then as many bytes; -1 is NULL.
    #[inline]
    pub fn value(&mut self, field: &'static str) -> Result<Option<&'a [u8]>, Violation> {
        match self.int32(field)? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| Violation::MissingData(field))?;
                self.take(length, field).map(Some)
            }
        }
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Whether everything has been read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// Checks that `message` has been read to its last byte.
    #[inline]
    pub fn finish(self, message: &'static str) -> Result<(), Violation> {
        if self.rest.is_empty() { Ok(()) } else { Err(Violation::TrailingData(message)) }
    }
}

/// Text as PostgreSQL accepts it in a UTF8 database: valid UTF-8 without zero bytes. For values in text format,
/// which have a length and no terminator.
#[inline]
pub fn utf8(bytes: &[u8]) -> Result<&str, Violation> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !bytes.contains(&0) => Ok(text),
        Ok(_) => Err(Violation::Encoding { bytes: [0; 4], count: 1 }),
        Err(error) => Err(offending(bytes, error.valid_up_to())),
    }
}

/// The bytes that PostgreSQL would show: as many as the first one announces, no more than there are. A zero byte
/// before them is the first fault.
fn offending(bytes: &[u8], at: usize) -> Violation {
    let (valid, rest) = bytes.split_at_checked(at).unwrap_or((bytes, &[]));
    if valid.contains(&0) {
        return Violation::Encoding { bytes: [0; 4], count: 1 };
    }
    let announced = match rest.first() {
        Some(0xc0..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf7) => 4,
        _ => 1,
    };
    let mut shown = [0; 4];
    let mut count = 0;
    for (slot, byte) in shown.iter_mut().zip(rest.iter().take(announced)) {
        *slot = *byte;
        count += 1;
    }
    Violation::Encoding { bytes: shown, count }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_field_is_named() {
        let mut reader = Reader::new(&[0, 0, 1]);
        assert_eq!(reader.int32("row limit"), Err(Violation::MissingData("row limit")));
        assert_eq!(reader.int16("count"), Ok(0));
        assert_eq!(reader.finish("Execute"), Err(Violation::TrailingData("Execute")));
    }

    #[test]
    fn negative_lengths_other_than_null_are_refused() {
        assert_eq!(Reader::new(&[0xff; 4]).value("value"), Ok(None));
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xfe]).value("value"), Err(Violation::MissingData("value")));
        assert_eq!(Reader::new(&[0x7f, 0xff, 0xff, 0xff, 1]).value("value"), Err(Violation::MissingData("value")));
        assert_eq!(Reader::new(&[0, 0, 0, 1, 9]).value("value"), Ok(Some(&[9][..])));
    }

    #[test]
    fn bad_text_shows_the_bytes_that_postgresql_shows() {
        let message = |bytes: &[u8]| utf8(bytes).unwrap_err().to_string();
        assert_eq!(message(b"a\xff"), "invalid byte sequence for encoding \"UTF8\": 0xff");
        assert_eq!(message(b"\xe4bc"), "invalid byte sequence for encoding \"UTF8\": 0xe4 0x62 0x63");
        assert_eq!(message(b"\xc3"), "invalid byte sequence for encoding \"UTF8\": 0xc3");
        assert_eq!(message(b"a\0b"), "invalid byte sequence for encoding \"UTF8\": 0x00");
        assert_eq!(utf8("grün".as_bytes()), Ok("grün"));
    }

    #[test]
    fn strings_end_at_their_zero_byte() {
        let mut reader = Reader::new(b"one\0\0two");
        assert_eq!(reader.string("a"), Ok("one"));
        assert_eq!(reader.string("b"), Ok(""));
        assert_eq!(reader.string("c"), Err(Violation::UnterminatedString("c")));
        assert_eq!(reader.left(), 3);
    }
}
