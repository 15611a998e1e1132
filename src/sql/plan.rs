//! What planning a statement yields: everything a session and an engine need to run it, and nothing of how it
//! was found. Immutable once made, shared by reference count between cache, statements and portals.

use std::cell::Cell;
use std::rc::Rc;

use super::acl::Privileges;
use super::define::Definition;
use super::list::List;
use super::types::{Type, Value};

/// A planned statement.
#[derive(Debug)]
pub struct Plan {
    /// The command tag, without its count.
    pub tag: Tag,
    /// Types of the parameters `$1`, `$2`, … of the statement's text, given or inferred.
    pub parameters: Vec<Type>,
    /// Columns of the result; empty when the statement returns no rows.
    pub columns: Vec<Column>,
    /// Who runs it, and what.
    pub action: Action,
    /// Whether it may run in a failed transaction block (COMMIT, ROLLBACK and the like).
    pub allowed_when_failed: bool,
}

/// A planned statement together with the literals that its text held where the cached plan has binds.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The plan, possibly shared with statements that differ in literals only.
    pub plan: Rc<Plan>,
    /// Values of the lifted literals, as [`Bind::Literal`] numbers them.
    pub literals: Rc<[Value]>,
}

/// One column of a result, as RowDescription shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// The name shown.
    pub name: String,
    /// The type.
    pub type_: Type,
    /// The type modifier, -1 for none (for varchar(n) and char(n): n + 4).
    pub typmod: i32,
    /// OID of the table the column was taken from unchanged, else 0.
    pub table: u32,
    /// Attribute number in that table, else 0.
    pub attribute: i16,
}

/// Who runs a statement.
#[derive(Debug)]
pub enum Action {
    /// The empty statement: EmptyQueryResponse.
    Empty,
    /// SQL for the engine's connection.
    Query(Query),
    /// BEGIN, COMMIT, SAVEPOINT …: the engine's transaction state.
    Transaction(Transaction),
    /// Statements about the session itself; the session runs them.
    Session(SessionCommand),
    /// COPY; the session frames it, the engine moves the rows.
    Copy(Copy),
    /// Changes of the database's or the cluster's catalog, and maintenance.
    Define(Box<Definition>),
    /// EXPLAIN: shows how the inner statement would run.
    Explain(Rc<Plan>),
}

impl Action {
    /// The name of a statement that cannot be part of a transaction with others.
    pub fn refused_in_transaction(&self) -> Option<&'static str> {
        match self {
            Self::Define(definition) => definition.refused_in_transaction(),
            Self::Session(SessionCommand::Discard(Discard::All)) => Some("DISCARD ALL"),
            _ => None,
        }
    }
}

/// A statement of the engine's own dialect.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// SQLite SQL with `?1`, `?2`, … for `binds`.
    pub sql: String,
    /// What to bind, in that order.
    pub binds: Vec<Bind>,
    /// What `Bind::List` numbers.
    pub lists: Vec<Rc<List>>,
    /// What it does to the database.
    pub access: Access,
    /// Catalog version the plan rests on; the engine plans again when the catalog has moved.
    pub catalog_version: u64,
    /// OIDs of the tables that it reads or writes, for privileges and error messages.
    pub relations: Vec<u32>,
    /// An INSERT of one row: its columns whose values are bound as they are stored, for the DETAIL of errors.
    pub row: Vec<(String, Bind)>,
    /// Whether those are all the columns that it gives.
    pub row_is_whole: bool,
    /// The stored table whose rows an ON CONFLICT DO UPDATE may change once only.
    pub watched: Option<String>,
    /// What [`Bind::Computed`] numbers.
    pub computed: Vec<Computed>,
    /// Functions of ours that the SQL calls, by the names they are registered under.
    pub functions: Vec<&'static str>,
    /// Storage names of the system relations and table functions that it reads.
    pub virtual_tables: Vec<String>,
    /// What whoever runs it must be allowed to do.
    pub permissions: Rc<Permissions>,
}

/// The privileges that a statement needs.
#[derive(Debug, Clone, Default)]
pub struct Permissions {
    /// On relations, in the order in which they are asked for.
    pub relations: Vec<Permission>,
    /// Storage names of the system relations and table functions that it reads.
    pub virtual_tables: Vec<String>,
    /// Schemas that it names, which need USAGE.
    pub schemas: Vec<String>,
    /// Whether some are the business of a view's owner: superusers need those as well.
    pub of_views: bool,
    /// The state of roles and catalog at which they were found to be held; 0: not yet.
    pub held_at: Cell<u64>,
}

impl Permissions {
    /// Those on these relations and schemas.
    pub fn new(relations: Vec<Permission>, schemas: Vec<String>) -> Self {
        let of_views = relations.iter().any(|permission| permission.checked_as.is_some());
        Self { relations, virtual_tables: Vec::new(), schemas, of_views, held_at: Cell::new(0) }
    }
}

/// The privileges that a statement needs on one relation. Columns are indices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permission {
    /// The relation's OID.
    pub relation: u32,
    /// Its name in SQLite.
    pub storage: String,
    /// The owner of the view that names it; `None`: whoever runs the statement.
    pub checked_as: Option<u32>,
    /// What is needed on the relation, or on each of the columns below.
    pub wanted: Privileges,
    /// One of the wanted is enough: LOCK TABLE.
    pub any: bool,
    /// Columns that are read: SELECT on each; if there are none, on any.
    pub read: Vec<usize>,
    /// Columns that are inserted.
    pub inserted: Vec<usize>,
    /// Columns that are updated.
    pub updated: Vec<usize>,
}

/// A value that is computed before a query runs, where SQLite takes nothing but a constant.
#[derive(Debug, Clone, Default)]
pub struct Computed {
    /// A query of one row and column, with its own `binds`.
    pub sql: String,
    /// What to bind.
    pub binds: Vec<Bind>,
}

/// What a query does to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// It reads nothing but its own arguments (`SELECT 1`).
    #[default]
    None,
    /// It reads.
    Read,
    /// It reads rows that it means to write (FOR UPDATE, FOR SHARE …): counts as a write.
    Lock,
    /// It writes.
    Write,
}

/// Where a bound value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Bind {
    /// A value that is computed first.
    Computed(usize),
    /// NULL: in the row of an INSERT only, for it is written into the SQL.
    Null,
    /// The client's parameter, counted from 0.
    Parameter(usize),
    /// A literal lifted from the text, counted from 0.
    Literal(usize),
    /// Rows that the SQL reads as a table, counted from 0.
    List(usize),
    /// The transaction's start, as timestamptz: now(), CURRENT_TIMESTAMP.
    TransactionTimestamp,
    /// The statement's start, as timestamptz: statement_timestamp().
    StatementTimestamp,
}

/// Command tags. The session appends counts where PostgreSQL does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tag {
    /// `SELECT n`
    Select,
    /// `INSERT 0 n`
    Insert,
    /// `UPDATE n`
    Update,
    /// `DELETE n`
    Delete,
    /// `COPY n`
    Copy,
    /// `FETCH n`
    Fetch,
    /// `MOVE n`
    Move,
    /// A tag without a count, as it is sent: `CREATE TABLE`, `BEGIN`.
    Bare(&'static str),
}

/// Statements about transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transaction {
    /// BEGIN or START TRANSACTION.
    Begin(Modes),
    /// COMMIT or END; true with AND CHAIN.
    Commit(bool),
    /// ROLLBACK or ABORT; true with AND CHAIN.
    Rollback(bool),
    /// SAVEPOINT name.
    Savepoint(String),
    /// RELEASE SAVEPOINT name.
    Release(String),
    /// ROLLBACK TO SAVEPOINT name.
    RollbackTo(String),
    /// SET TRANSACTION.
    Set(Modes),
    /// SET CONSTRAINTS: the names, none for ALL, and whether they are deferred.
    Constraints(Vec<String>, bool),
}

/// Transaction modes that were stated; `None` keeps the session's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Modes {
    /// Isolation level.
    pub isolation: Option<Isolation>,
    /// READ ONLY or READ WRITE.
    pub read_only: Option<bool>,
    /// DEFERRABLE; accepted, without effect.
    pub deferrable: Option<bool>,
}

/// Isolation levels. READ UNCOMMITTED behaves as READ COMMITTED, as in PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Isolation {
    ReadUncommitted,
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

/// Statements that the session runs itself.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum SessionCommand {
    /// SET [SESSION | LOCAL] name = values; no values: TO DEFAULT.
    Set { local: bool, name: String, values: Option<Vec<String>> },
    /// SET SESSION CHARACTERISTICS AS TRANSACTION …
    SetCharacteristics(Modes),
    /// SHOW name.
    Show(String),
    /// SHOW ALL.
    ShowAll,
    /// RESET name.
    Reset(String),
    /// RESET ALL.
    ResetAll,
    /// DISCARD ALL | PLANS | SEQUENCES | TEMP.
    Discard(Discard),
    /// PREPARE name (types) AS text.
    Prepare { name: String, types: Vec<u32>, text: String },
    /// EXECUTE name (arguments): each argument is an expression's text.
    Execute { name: String, arguments: Vec<String> },
    /// DEALLOCATE name, or ALL.
    Deallocate(Option<String>),
    /// DECLARE name CURSOR FOR text.
    Declare { name: String, scroll: Option<bool>, hold: bool, text: String },
    /// FETCH or MOVE from a cursor.
    Fetch { cursor: String, direction: Direction, moves: bool },
    /// CLOSE name, or ALL.
    Close(Option<String>),
}

/// What DISCARD throws away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Discard {
    All,
    Plans,
    Sequences,
    Temp,
}

/// Where FETCH goes. Counts may be negative, as in PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Direction {
    Forward(i64),
    ForwardAll,
    Backward(i64),
    BackwardAll,
    Absolute(i64),
    Relative(i64),
}

/// COPY between the client and a table or query. Server-side files are refused by the planner.
#[derive(Debug, Clone)]
pub struct Copy {
    /// The table's name without its schema, for the CONTEXT of errors; empty for a query.
    pub target: String,
    /// Which way.
    pub direction: CopyDirection,
    /// Columns that travel, in order; types and names of the target or of the query's result.
    pub columns: Vec<Column>,
    /// How a row is written.
    pub format: CopyFormat,
}

/// Which way a COPY goes.
#[derive(Debug, Clone)]
pub enum CopyDirection {
    /// FROM STDIN: the query inserts one row whose columns are `Bind::Parameter(0..n)`.
    In(Query),
    /// TO STDOUT: the query's rows go out.
    Out(Query),
}

/// COPY's options after validation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyFormat {
    /// CSV instead of text.
    pub csv: bool,
    /// One byte.
    pub delimiter: u8,
    /// What stands for NULL.
    pub null: String,
    /// The first line holds names (on input it is skipped, or checked with MATCH).
    pub header: CopyHeader,
    /// CSV's quote, one byte.
    pub quote: u8,
    /// CSV's escape, one byte.
    pub escape: u8,
    /// CSV: quote every value of these columns (indices into the columns); all for `*`.
    pub force_quote: Vec<usize>,
    /// CSV: never match NULL in these columns.
    pub force_not_null: Vec<usize>,
    /// CSV: match quoted NULL in these columns.
    pub force_null: Vec<usize>,
}

/// COPY's HEADER option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum CopyHeader {
    Absent,
    Present,
    Match,
}
