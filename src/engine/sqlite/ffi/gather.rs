//! Frames on their way into the WAL, put together so that a commit is one write of whole file-system blocks.
//!
//! SQLite writes a frame in two pieces, 24 bytes and a page, and a commit as many frames one behind the other. Written
//! as they come, each piece would be a system call under the writer lock; and as frames do not begin where blocks
//! do, a block that the page cache has not would first be read from the disk, only to be overwritten.
//!
//! Owns which pieces are kept and where the run that they make is to be written. It does no I/O and knows no file.
//! What makes it safe:
//!
//! * Only the holder of SQLite's write lock writes frames, and nobody else looks at one before the WAL-index
//!   shows it, which happens after the last piece of a commit was taken. That piece asks for the write.
//! * Zeros fill the last block up. What they overwrite belongs to an older run of the WAL, or to a transaction that
//!   never committed; a reader of the file stops there as it would have stopped at that.
//! * What is not the next piece of a frame beyond all that was written is never kept. (SQLite goes back when a spilled
//!   page changes once more, and when it then sums the frames anew.)
//!
//! The format: <https://www.sqlite.org/fileformat2.html#the_write_ahead_log>.

/// Bytes of a frame's header.
const HEADER_BYTES: usize = 24;

/// The fifth to eighth byte of a header: zero but in the last frame of a commit.
const COMMIT_MARK: std::ops::Range<usize> = 4..8;

/// What the page cache holds of a file goes by this size.
const BLOCK_BYTES: i64 = 4096;

/// A run is written when it is longer than this: a bulk load must not be kept in memory.
const RUN_BYTES_MAX: usize = 64 << 10;

/// What is to be done with a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// Nothing yet.
    Kept,
    /// The run is to be written now, with this piece in it.
    Complete,
    /// It is no part of a run: what was kept is to be written first, and then it by itself.
    Apart,
}

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Gather {
    /// Consecutive frames, the last perhaps without its page.
    run: Vec<u8>,
    /// Where the run begins in the file.
    offset: i64,
    /// Where the frames end that this write transaction has written.
    written_to: i64,
    /// The run ends in a header, whose page comes next.
    in_frame: bool,
    /// That header, or the last one, is a commit's.
    commit: bool,
}

impl Gather {
    /// SQLite's write lock was taken or given back. What is kept now belongs to nobody: it was rolled back.
    pub(super) fn begin(&mut self) {
        self.run.clear();
        self.written_to = 0;
        self.in_frame = false;
    }

    /// SQLite writes a piece.
    pub(super) fn take(&mut self, piece: &[u8], offset: i64) -> Taken {
        let follows = if self.run.is_empty() { offset >= self.written_to } else { offset == self.end() };
        let header = !self.in_frame && piece.len() == HEADER_BYTES;
        if !follows || !(header || self.in_frame) {
            return Taken::Apart;
        }
        if self.run.is_empty() {
            self.offset = offset;
        }
        self.run.extend_from_slice(piece);
        self.in_frame = header;
        if header {
            self.commit = piece.get(COMMIT_MARK).is_some_and(|mark| mark != [0; 4]);
            return Taken::Kept;
        }
        if self.commit || self.run.len() > RUN_BYTES_MAX { Taken::Complete } else { Taken::Kept }
    }

    /// Where the run ends in the file, zeros not counted.
    pub(super) fn end(&self) -> i64 {
        self.offset + self.run.len() as i64
    }

    /// Whether the run is all of a transaction that commits. (A bulk load's is not.)
    pub(super) fn is_transaction(&self) -> bool {
        self.commit && self.written_to == 0
    }

    /// Whether nothing is kept.
    pub(super) fn is_empty(&self) -> bool {
        self.run.is_empty()
    }

    /// The run with its zeros, and where it belongs.
    pub(super) fn padded(&mut self) -> (i64, &[u8]) {
        let zeros = (-self.end()).rem_euclid(BLOCK_BYTES) as usize;
        self.written_to = self.end();
        self.run.resize(self.run.len() + zeros, 0);
        (self.offset, &self.run)
    }

    /// The run was written, or could not be.
    pub(super) fn clear(&mut self) {
        self.run.clear();
        self.in_frame = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: [u8; 4096] = [7; 4096];
    const FRAME: i64 = 4120;

    fn header(commit: bool) -> [u8; 24] {
        let mut header = [1; 24];
        header[4..8].copy_from_slice(&[0, 0, 0, u8::from(commit)]);
        header
    }

    fn take_frame(gather: &mut Gather, offset: i64, commit: bool) -> Taken {
        assert_eq!(gather.take(&header(commit), offset), Taken::Kept);
        gather.take(&PAGE, offset + 24)
    }

    #[test]
    fn a_commit_is_one_run_of_whole_blocks() {
        let mut gather = Gather::default();
        gather.begin();
        assert_eq!(take_frame(&mut gather, 32, false), Taken::Kept);
        assert_eq!(take_frame(&mut gather, 32 + FRAME, true), Taken::Complete);
        assert!(gather.is_transaction());
        let (offset, run) = gather.padded();
        assert_eq!((offset, run.len()), (32, 3 * 4096 - 32));
        assert!(run[2 * FRAME as usize..].iter().all(|byte| *byte == 0));
        gather.clear();
        assert!(gather.is_empty());
    }

    #[test]
    fn frames_written_before_are_not_kept_when_they_are_written_again() {
        let mut gather = Gather::default();
        gather.begin();
        let mut offset = 32;
        while take_frame(&mut gather, offset, false) == Taken::Kept {
            offset += FRAME;
        }
        assert!(!gather.is_transaction());
        gather.padded();
        gather.clear();
        assert_eq!(gather.take(&PAGE, 32 + 24), Taken::Apart, "a spilled page changed");
        assert_eq!(gather.take(&header(true), offset), Taken::Apart, "its commit was summed anew");
        assert_eq!(take_frame(&mut gather, offset + FRAME, true), Taken::Complete);
        assert!(!gather.is_transaction());
    }

    #[test]
    fn what_does_not_follow_is_no_part_of_the_run() {
        let mut gather = Gather::default();
        gather.begin();
        assert_eq!(take_frame(&mut gather, 32, false), Taken::Kept);
        assert_eq!(gather.take(&header(false), 32 + 2 * FRAME), Taken::Apart);
        assert_eq!(gather.take(&[0; 32], 0), Taken::Apart, "the WAL's own header");
    }

    #[test]
    fn what_was_rolled_back_is_forgotten() {
        let mut gather = Gather::default();
        gather.begin();
        assert_eq!(take_frame(&mut gather, 32 + FRAME, false), Taken::Kept);
        gather.begin();
        assert!(gather.is_empty());
        assert_eq!(take_frame(&mut gather, 32, true), Taken::Complete);
    }
}
