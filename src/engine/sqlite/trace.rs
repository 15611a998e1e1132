//! A record of every write, truncation and sync, from which a test rebuilds what power loss could leave.
//!
//! Off unless the environment names a trace file in `PGPREFORK_TEST_TRACE`; then every process that inherits
//! the variable appends to it. Costs one load when off. Test equipment: it must change nothing that it records.
//!
//! A write is recorded after it was done, a sync before it starts and again after it ended. So a write that
//! stands before a sync's begin was in the file when the sync began, and a sync whose end is in the record
//! has reached the disk. An acknowledgement is recorded by [`acknowledge`] after the commit was durable.
//!
//! Each record is one `write` to a file opened for appending, which Linux does not interleave:
//!
//! ```text
//! kind u8 | name length u8 | name | offset i64 LE | data length u32 LE | data
//! ```

use std::fs::File;
use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `data` was written at `offset`.
    Write = 1,
    /// The file was cut, or extended, to `offset` bytes.
    Truncate = 2,
    /// A sync started; `offset` pairs it with its end.
    SyncBegin = 3,
    /// The sync with that number ended well.
    SyncEnd = 4,
    /// A client was told that the commit described by `data` is durable.
    Acknowledged = 5,
}

/// One record of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What happened.
    pub kind: Kind,
    /// File name without its folder; empty for acknowledgements.
    pub name: String,
    /// Byte offset, size, or the number of a sync.
    pub offset: i64,
    /// What was written, or which commit was acknowledged.
    pub data: Vec<u8>,
}

static TRACE: OnceLock<Option<File>> = OnceLock::new();

/// Numbers this process's syncs; with the process id in the upper half they are unique.
static SYNCS: AtomicU64 = AtomicU64::new(0);

/// Whether a trace is being written.
pub fn enabled() -> bool {
    file().is_some()
}

/// Records a finished write.
pub fn write(name: &str, offset: i64, data: &[u8]) {
    append(Kind::Write, name, offset, data);
}

/// Records a finished truncation.
pub fn truncate(name: &str, size: i64) {
    append(Kind::Truncate, name, size, &[]);
}

/// Records that a sync is about to start.
pub fn sync_begin(name: &str) {
    SYNCS.fetch_add(1, Ordering::Relaxed);
    append(Kind::SyncBegin, name, sync_number(), &[]);
}

/// Records that the sync that began last in this process ended.
pub fn sync_end(name: &str) {
    append(Kind::SyncEnd, name, sync_number(), &[]);
}

/// Records that a client was told of a commit.
pub fn acknowledge(what: &[u8]) {
    append(Kind::Acknowledged, "", 0, what);
}

/// Reads a trace. A record that is cut short ends it.
pub fn parse(mut bytes: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    while let Some((record, rest)) = parse_one(bytes) {
        records.push(record);
        bytes = rest;
    }
    records
}

fn parse_one(bytes: &[u8]) -> Option<(Record, &[u8])> {
    let (head, bytes) = bytes.split_at_checked(2)?;
    let kind = match head.first()? {
        1 => Kind::Write,
        2 => Kind::Truncate,
        3 => Kind::SyncBegin,
        4 => Kind::SyncEnd,
        5 => Kind::Acknowledged,
        _ => return None,
    };
    let (name, bytes) = bytes.split_at_checked(usize::from(*head.get(1)?))?;
    let (offset, bytes) = bytes.split_first_chunk::<8>()?;
    let (length, bytes) = bytes.split_first_chunk::<4>()?;
    let (data, rest) = bytes.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let name = String::from_utf8(name.to_vec()).ok()?;
    Some((Record { kind, name, offset: i64::from_le_bytes(*offset), data: data.to_vec() }, rest))
}

fn file() -> Option<&'static File> {
    TRACE
        .get_or_init(|| {
            let path = std::env::var_os("PGPREFORK_TEST_TRACE")?;
            File::options().append(true).create(true).open(path).ok()
        })
        .as_ref()
}

fn sync_number() -> i64 {
    (i64::from(std::process::id()) << 32) | (SYNCS.load(Ordering::Relaxed) as i64 & 0xffff_ffff)
}

fn append(kind: Kind, name: &str, offset: i64, data: &[u8]) {
    let Some(mut file) = file() else { return };
    let mut record = Vec::with_capacity(14 + name.len() + data.len());
    record.push(kind as u8);
    record.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
    record.extend_from_slice(name.as_bytes());
    record.extend_from_slice(&offset.to_le_bytes());
    record.extend_from_slice(&u32::try_from(data.len()).unwrap_or(u32::MAX).to_le_bytes());
    record.extend_from_slice(data);
    // A trace with a hole would prove nothing: the test finds a record that does not parse.
    let written = file.write(&record);
    debug_assert_eq!(written.ok(), Some(record.len()), "a record must be written in one piece");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_cut_short_ends_the_trace() {
        let mut bytes = vec![1, 1, b'a'];
        bytes.extend_from_slice(&7i64.to_le_bytes());
        bytes.extend_from_slice(&2u32.to_le_bytes());
        bytes.extend_from_slice(b"xy");
        let whole = parse(&bytes);
        assert_eq!(whole, [Record { kind: Kind::Write, name: "a".into(), offset: 7, data: b"xy".to_vec() }]);
        bytes.extend_from_slice(&[4, 9]);
        assert_eq!(parse(&bytes), whole);
    }
}
