//! A result that was run to its end and is read piece by piece: suspended portals and cursors.
//!
//! Rows are kept encoded, in memory up to a limit and in an unnamed temporary file beyond it, so that no open
//! SELECT pins its connection's snapshot. Knows nothing of SQL.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use smallvec::SmallVec;

use crate::engine::RowSink;
use crate::error::{Condition, Error};
use crate::sql::types::Datum;

/// Bytes of rows kept in memory before they go to a file: PostgreSQL's default of work_mem.
const MEMORY_MAX: usize = 4 << 20;

/// Rows of one result.
#[derive(Debug, Default)]
pub struct Rows {
    /// Encoded rows that are not in the file (yet).
    memory: Vec<u8>,
    /// Where the encoded rows begin, counted over file and memory.
    starts: Vec<u64>,
    /// Rows before `spilled` bytes.
    file: Option<File>,
    spilled: u64,
}

impl Rows {
    /// Rows kept.
    pub fn len(&self) -> u64 {
        self.starts.len() as u64
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Adds a row.
    pub fn push(&mut self, row: &[Datum<'_>]) -> Result<(), Error> {
        self.starts.push(self.spilled + self.memory.len() as u64);
        encode(row, &mut self.memory);
        if self.memory.len() > MEMORY_MAX { self.spill().map_err(spill_failed) } else { Ok(()) }
    }

    fn spill(&mut self) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) => file,
            None => unnamed_file()?,
        };
        file.write_all_at(&self.memory, self.spilled)?;
        self.spilled += self.memory.len() as u64;
        self.memory.clear();
        self.file = Some(file);
        Ok(())
    }

    /// Gives rows `first..first + count` to the sink, as far as there are; returns how many.
    pub fn read(&self, first: u64, count: u64, sink: &mut dyn RowSink) -> Result<u64, Error> {
        let end = first.saturating_add(count).min(self.len());
        let mut scratch = Vec::new();
        for index in first..end {
            let bytes = self.bytes_of(index, &mut scratch)?;
            sink.row(&decode(bytes)?)?;
        }
        Ok(end.saturating_sub(first))
    }

    fn bytes_of<'a>(&'a self, index: u64, scratch: &'a mut Vec<u8>) -> Result<&'a [u8], Error> {
        let lost = || Error::internal("a stored row is not where it was put");
        let position = usize::try_from(index).map_err(|_| lost())?;
        let start = *self.starts.get(position).ok_or_else(lost)?;
        let end = self.starts.get(position + 1).copied().unwrap_or(self.spilled + self.memory.len() as u64);
        if start >= self.spilled {
            let range = (start - self.spilled) as usize..(end - self.spilled) as usize;
            return self.memory.get(range).ok_or_else(lost);
        }
        // A spill moves whole rows, so one that starts in the file ends there.
        let file = self.file.as_ref().ok_or_else(lost)?;
        scratch.resize((end - start) as usize, 0);
        file.read_exact_at(scratch, start).map_err(spill_failed)?;
        Ok(scratch)
    }
}

fn unnamed_file() -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let folder = std::env::temp_dir();
    std::fs::OpenOptions::new().read(true).write(true).mode(0o600).custom_flags(libc::O_TMPFILE).open(folder)
}

fn spill_failed(error: io::Error) -> Error {
    let condition = if error.kind() == io::ErrorKind::StorageFull { Condition::DiskFull } else { Condition::IoError };
    Error::new(condition, format!("could not write to temporary file: {error}"))
}

const NULL: u8 = 0;
const INT: u8 = 1;
const FLOAT: u8 = 2;
const TEXT: u8 = 3;
const BYTES: u8 = 4;

fn encode(row: &[Datum<'_>], out: &mut Vec<u8>) {
    for datum in row {
        match datum {
            Datum::Null => out.push(NULL),
            Datum::Int(value) => {
                out.push(INT);
                out.extend_from_slice(&value.to_ne_bytes());
            }
            Datum::Float(value) => {
                out.push(FLOAT);
                out.extend_from_slice(&value.to_ne_bytes());
            }
            Datum::Text(value) => encode_bytes(TEXT, value.as_bytes(), out),
            Datum::Bytes(value) => encode_bytes(BYTES, value, out),
        }
    }
}

fn encode_bytes(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    out.extend_from_slice(&(bytes.len() as u64).to_ne_bytes());
    out.extend_from_slice(bytes);
}

fn decode(mut bytes: &[u8]) -> Result<SmallVec<[Datum<'_>; 16]>, Error> {
    let broken = || Error::internal("a stored row cannot be read");
    let mut row = SmallVec::new();
    while let Some((tag, rest)) = bytes.split_first() {
        if *tag == NULL {
            row.push(Datum::Null);
            bytes = rest;
            continue;
        }
        let (word, rest) = rest.split_first_chunk::<8>().ok_or_else(broken)?;
        bytes = rest;
        match *tag {
            INT => row.push(Datum::Int(i64::from_ne_bytes(*word))),
            FLOAT => row.push(Datum::Float(f64::from_ne_bytes(*word))),
            tag => {
                let length = usize::try_from(u64::from_ne_bytes(*word)).map_err(|_| broken())?;
                let (value, rest) = bytes.split_at_checked(length).ok_or_else(broken)?;
                bytes = rest;
                row.push(match tag {
                    TEXT => Datum::Text(std::str::from_utf8(value).map_err(|_| broken())?),
                    _ => Datum::Bytes(value),
                });
            }
        }
    }
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Gathered(Vec<String>);

    impl RowSink for Gathered {
        fn row(&mut self, row: &[Datum<'_>]) -> Result<(), Error> {
            self.0.push(format!("{row:?}"));
            Ok(())
        }

        fn notice(&mut self, _severity: &'static str, _notice: Error) {}
    }

    #[test]
    fn rows_come_back_as_they_went_in() {
        let mut rows = Rows::default();
        let row = [
            Datum::Null,
            Datum::Int(-7),
            Datum::Float(0.5),
            Datum::Text("é"),
            Datum::Bytes(&[0, 255]),
            Datum::Text(""),
        ];
        rows.push(&row).expect("kept");
        rows.push(&[]).expect("kept");
        let mut sink = Gathered::default();
        assert_eq!(rows.read(0, u64::MAX, &mut sink).expect("read"), 2);
        assert_eq!(sink.0, [format!("{row:?}"), "[]".into()]);
        assert_eq!(rows.read(2, 5, &mut sink).expect("read"), 0);
    }

    #[test]
    fn many_rows_spill_to_a_file_and_can_be_read_from_anywhere() {
        let mut rows = Rows::default();
        let text = "x".repeat(1000);
        for number in 0..10_000 {
            rows.push(&[Datum::Int(number), Datum::Text(&text)]).expect("kept");
        }
        assert!(rows.spilled > 0);
        for index in [0_u64, 4_000, 9_999] {
            let mut sink = Gathered::default();
            assert_eq!(rows.read(index, 1, &mut sink).expect("read"), 1);
            assert!(sink.0[0].starts_with(&format!("[Int({index}),")), "{}", &sink.0[0][..20]);
        }
    }
}
