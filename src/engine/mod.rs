//! The seam between a session and whatever answers its SQL.
//!
//! After authentication a session is handed to an [`Engine`]; nothing above knows which one it is.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::sql::plan::{Copy, Discard, Modes, Plan};
use crate::sql::types::{Datum, Type, Value};

pub mod cluster;
pub mod console;
pub mod null;
pub mod sqlite;

/// The transaction state that ReadyForQuery reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionStatus {
    /// 'I': not in a transaction block.
    Idle,
    /// 'T': in a transaction block.
    InTransaction,
    /// 'E': in a failed transaction block; statements are refused (25P02) until it ends.
    Failed,
}

/// How a statement ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completion {
    /// Rows returned or affected.
    pub rows: u64,
    /// False when a row limit was reached first and the rest waits in the portal.
    pub complete: bool,
    /// IF NOT EXISTS found it there: nothing was done.
    pub skipped: bool,
}

/// The statements of a text: the place of each, in bytes, and what was recognised there.
pub type Split<R> = Vec<(Range<usize>, R)>;

/// Takes the rows of a result as they come.
pub trait RowSink {
    /// One row in the stored representation; the columns are those of the plan. An error stops the statement.
    fn row(&mut self, row: &[Datum<'_>]) -> Result<(), Error>;
    /// A notice or warning to the client (`severity` as in NoticeResponse: NOTICE, WARNING, INFO …).
    fn notice(&mut self, severity: &'static str, notice: Error);
    /// Whether so much is gathered that it should be sent. An engine asks after each row, and when it is so
    /// settles and calls [`RowSink::flush`].
    fn full(&self) -> bool {
        false
    }
    /// Sends what is gathered. An error (the client has gone, the session is to end) stops the statement.
    fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// Answers statements. One object serves one session at a time, in one process.
pub trait Engine {
    /// A statement's text, recognised but not analysed.
    type Raw;
    /// A statement ready to run; cheap to clone, kept by names and portals.
    type Statement: Clone;
    /// The position of a result that was not read to its end. Materialised: holds no snapshot.
    type Cursor;

    /// Splits a message's text into statements, without their separators; an empty statement alone counts as
    /// one, further empty ones are left out. A syntax error anywhere refuses the whole text (42601), before
    /// anything runs. The range is the statement's place in the text, in bytes.
    fn split(&mut self, text: &str) -> Result<Split<Self::Raw>, Error>;

    /// Analyses one statement against the catalog of now. `types` are the OIDs declared by Parse, 0 for
    /// "infer". Error positions count from the start of the statement's own text.
    fn prepare(&mut self, text: &str, raw: Self::Raw, types: &[u32]) -> Result<Self::Statement, Error>;

    /// The plan of a statement: parameters, columns, tag, who runs it.
    fn plan<'a>(&self, statement: &'a Self::Statement) -> &'a Plan;

    /// Runs a statement: rows to `sink`, at most `limit` of them (0: all); when the limit ends it, the rest is
    /// in the cursor. Analyses anew where the catalog has moved. `parameters` are as many as the plan's, in the
    /// stored representation of their types.
    fn execute(
        &mut self,
        statement: &Self::Statement,
        parameters: &[Value],
        limit: u64,
        sink: &mut dyn RowSink,
    ) -> Result<(Completion, Option<Self::Cursor>), Error>;

    /// Goes on with a suspended result.
    fn fetch(&mut self, cursor: &mut Self::Cursor, limit: u64, sink: &mut dyn RowSink) -> Result<Completion, Error>;

    /// Runs a query to its end into a cursor that can be read from any place (DECLARE, SCROLL, WITH HOLD).
    fn materialise(&mut self, statement: &Self::Statement, parameters: &[Value]) -> Result<Self::Cursor, Error>;

    /// Reads rows `first..first + count` of a materialised result (from 0). Returns how many there were.
    fn read_at(
        &mut self,
        cursor: &mut Self::Cursor,
        first: u64,
        count: u64,
        sink: &mut dyn RowSink,
    ) -> Result<u64, Error>;

    /// How many rows a materialised result has.
    fn row_count(&mut self, cursor: &mut Self::Cursor) -> u64;

    /// Starts COPY FROM STDIN.
    fn copy_in_start(&mut self, copy: &Copy) -> Result<(), Error>;
    /// One row, already of the columns' types.
    fn copy_in_row(&mut self, copy: &Copy, row: &[Value]) -> Result<(), Error>;
    /// Ends COPY FROM STDIN; with an error (CopyFail, a bad row) everything it did is undone.
    fn copy_in_end(&mut self, copy: &Copy, failed: bool) -> Result<u64, Error>;

    /// The state for ReadyForQuery.
    fn transaction_status(&self) -> TransactionStatus;

    /// Opens the implicit transaction that spans a simple Query message with several statements, or an
    /// extended-protocol series up to its Sync. Without effect inside a transaction block.
    fn begin_implicit(&mut self);

    /// Ends the implicit transaction: commits, or rolls back after an error. Without effect inside a block.
    fn end_implicit(&mut self, commit: bool) -> Result<(), Error>;

    /// Tells the engine that a statement failed outside of it (a bad parameter, an unknown portal): a
    /// transaction block becomes failed.
    fn statement_failed(&mut self);

    /// Waits until everything that answers given so far rest on is durable. Called before bytes leave for the
    /// client. Free when nothing is pending; answers inside a write transaction are provisional and do not wait.
    fn settle(&mut self) -> Result<(), Error>;

    /// Forgets everything of the session: transaction, temporary tables, cursors, cached rows.
    fn reset(&mut self) -> Result<(), Error>;

    /// When the statement under way is to end with 57014, by statement_timeout; `None` for never. Called only
    /// when that changes.
    fn set_deadline(&mut self, deadline: Option<Instant>) {
        let _ = deadline;
    }

    /// Whether the session may become another role: by SET SESSION AUTHORIZATION if `session`, else by SET ROLE; `None` is the
    /// default. Whether it is a superuser then.
    fn may_become(&mut self, session: bool, role: Option<&str>) -> Result<bool, Error> {
        let _ = (session, role);
        Err(Error::unsupported("SET ROLE"))
    }

    /// How long the session may now stay idle before its transaction is in others' way (it holds the writer
    /// lock); after that the session ends with 25P03.
    fn idle_limit(&self) -> Option<Duration> {
        None
    }

    /// Whether this session's transaction keeps all others from writing.
    fn holds_writer_lock(&self) -> bool {
        false
    }

    /// DISCARD of what the engine keeps; `All` comes outside of a transaction only.
    fn discard(&mut self, what: Discard) -> Result<(), Error> {
        match what {
            Discard::All => self.reset(),
            Discard::Plans | Discard::Sequences | Discard::Temp => Ok(()),
        }
    }

    /// Start of the current transaction (outside of one: now), microseconds since 2000-01-01 UTC: what 'now' and
    /// 'today' mean in a parameter. `None` where the engine keeps no time; they are refused then.
    fn transaction_timestamp(&self) -> Option<i64> {
        None
    }

    /// The modes of the current transaction, where they differ from the session's defaults (for SHOW).
    fn transaction_modes(&self) -> Modes {
        Modes::default()
    }

    /// Whether the type can be a parameter or a result in binary format.
    fn binary_supported(&self, type_: Type) -> bool {
        let _ = type_;
        true
    }
}
