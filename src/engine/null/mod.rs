//! An engine that answers every query with one canned row: the cost of the front door alone.
//!
//! Keeps nothing but the transaction state, so that clients that mix BEGIN, COMMIT and SAVEPOINT with their
//! queries see tags and ReadyForQuery states as from a server. It looks at a statement's first word only, and
//! does no I/O.

use std::rc::Rc;

use super::{Completion, Engine, RowSink, Split, TransactionStatus};
use crate::error::{Condition, Error};
use crate::sql::plan::{Action, Column, Copy, CopyDirection, CopyFormat, CopyHeader};
use crate::sql::plan::{Modes, Plan, Query, Tag, Transaction};
use crate::sql::types::{Datum, Type, Value};

mod split;

/// What a statement's first words make of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Verb {
    Empty,
    Select,
    Insert,
    Update,
    Delete,
    Begin,
    Commit,
    Rollback,
    Savepoint,
    Release,
    RollbackTo,
    Set,
    CopyIn,
    /// Anything else, answered by the tag of that number in [`OTHER_TAGS`].
    Other(usize),
}

/// Tags of statements that are acknowledged and do nothing, found by their beginning.
const OTHER_TAGS: &[&str] = &[
    "CREATE TABLE",
    "CREATE INDEX",
    "CREATE DATABASE",
    "CREATE ROLE",
    "DROP TABLE",
    "DROP INDEX",
    "DROP DATABASE",
    "DROP ROLE",
    "ALTER TABLE",
    "ALTER ROLE",
    "TRUNCATE TABLE",
    "VACUUM",
    "ANALYZE",
    "CHECKPOINT",
    "LOCK TABLE",
    "DISCARD ALL",
    "OK",
];

/// A statement of the null engine.
pub type Statement = Rc<Plan>;

/// The null engine of one session.
#[derive(Debug)]
pub struct Null {
    status: TransactionStatus,
    /// Plans of statements without parameters, by verb: nothing is allocated for a repeated kind of statement.
    plans: Vec<(Verb, Statement)>,
    /// Rows of the COPY under way, for its tag.
    copied: u64,
}

impl Default for Null {
    fn default() -> Self {
        Self::new()
    }
}

impl Null {
    /// A new session's engine.
    pub fn new() -> Self {
        Self { status: TransactionStatus::Idle, plans: Vec::new(), copied: 0 }
    }

    fn transaction(&mut self, transaction: &Transaction, sink: &mut dyn RowSink) {
        use TransactionStatus::{Failed, Idle, InTransaction};
        match transaction {
            Transaction::Begin(_) if self.status == Idle => self.status = InTransaction,
            Transaction::Begin(_) => sink.notice(
                "WARNING",
                Error::new(Condition::ActiveSqlTransaction, "there is already a transaction in progress"),
            ),
            Transaction::Commit(_) | Transaction::Rollback(_) if self.status == Idle => sink.notice(
                "WARNING",
                Error::new(Condition::NoActiveSqlTransaction, "there is no transaction in progress"),
            ),
            Transaction::Commit(_) | Transaction::Rollback(_) => self.status = Idle,
            Transaction::RollbackTo(_) if self.status == Failed => self.status = InTransaction,
            _ => {}
        }
    }
}

/// Rows of a canned result that were already given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor;

impl Engine for Null {
    type Raw = Verb;
    type Statement = Statement;
    type Cursor = Cursor;

    fn split(&mut self, text: &str) -> Result<Split<Verb>, Error> {
        Ok(split::statements(text).into_iter().map(|range| (range.clone(), verb(&text[range]))).collect())
    }

    fn prepare(&mut self, text: &str, raw: Verb, types: &[u32]) -> Result<Statement, Error> {
        if raw == Verb::Select && text.contains("pg_partitioned_table") {
            // pgbench takes an error here for "not partitioned", but a row of the wrong shape for damage.
            let message = "relation \"pg_catalog.pg_partitioned_table\" does not exist";
            return Err(Error::new(Condition::UndefinedTable, message));
        }
        let parameters = split::highest_parameter(text).max(types.len());
        let plain = parameters == 0 && raw != Verb::CopyIn;
        if plain && let Some((_, plan)) = self.plans.iter().find(|(verb, _)| *verb == raw) {
            return Ok(plan.clone());
        }
        let declared = |i: usize| types.get(i).and_then(|oid| Type::from_oid(*oid)).unwrap_or(Type::Int4);
        let plan = Rc::new(plan(raw, (0..parameters).map(declared).collect()));
        if plain {
            self.plans.push((raw, plan.clone()));
        }
        Ok(plan)
    }

    fn plan<'a>(&self, statement: &'a Statement) -> &'a Plan {
        statement
    }

    fn execute(
        &mut self,
        statement: &Statement,
        _parameters: &[Value],
        _limit: u64,
        sink: &mut dyn RowSink,
    ) -> Result<(Completion, Option<Cursor>), Error> {
        if self.status == TransactionStatus::Failed && !statement.allowed_when_failed {
            return Err(Error::new(
                Condition::InFailedSqlTransaction,
                "current transaction is aborted, commands ignored until end of transaction block",
            ));
        }
        let mut rows = 0;
        match &statement.action {
            Action::Transaction(transaction) => self.transaction(transaction, sink),
            Action::Query(_) => {
                rows = 1;
                if !statement.columns.is_empty() {
                    sink.row(&[Datum::Int(1)])?;
                }
            }
            _ => {}
        }
        Ok((Completion { rows, complete: true, skipped: false }, None))
    }

    fn fetch(&mut self, _cursor: &mut Cursor, _limit: u64, _sink: &mut dyn RowSink) -> Result<Completion, Error> {
        Ok(Completion { rows: 0, complete: true, skipped: false })
    }

    fn materialise(&mut self, _statement: &Statement, _parameters: &[Value]) -> Result<Cursor, Error> {
        Ok(Cursor)
    }

    fn read_at(&mut self, _cursor: &mut Cursor, first: u64, count: u64, sink: &mut dyn RowSink) -> Result<u64, Error> {
        if first > 0 || count == 0 {
            return Ok(0);
        }
        sink.row(&[Datum::Int(1)])?;
        Ok(1)
    }

    fn row_count(&mut self, _cursor: &mut Cursor) -> u64 {
        1
    }

    fn copy_in_start(&mut self, _copy: &Copy) -> Result<(), Error> {
        self.copied = 0;
        Ok(())
    }

    fn copy_in_row(&mut self, _copy: &Copy, _row: &[Value]) -> Result<(), Error> {
        self.copied += 1;
        Ok(())
    }

    fn copy_in_end(&mut self, _copy: &Copy, _failed: bool) -> Result<u64, Error> {
        Ok(self.copied)
    }

    fn transaction_status(&self) -> TransactionStatus {
        self.status
    }

    fn begin_implicit(&mut self) {}

    fn end_implicit(&mut self, _commit: bool) -> Result<(), Error> {
        Ok(())
    }

    fn statement_failed(&mut self) {
        if self.status == TransactionStatus::InTransaction {
            self.status = TransactionStatus::Failed;
        }
    }

    fn settle(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn reset(&mut self) -> Result<(), Error> {
        self.status = TransactionStatus::Idle;
        Ok(())
    }
}

fn verb(text: &str) -> Verb {
    let mut words = text.split(|c: char| !c.is_ascii_alphabetic() && c != '_').filter(|word| !word.is_empty());
    let Some(first) = words.next() else { return Verb::Empty };
    let second = words.next().unwrap_or("");
    let is = |word: &str| first.eq_ignore_ascii_case(word);
    let then = |word: &str| second.eq_ignore_ascii_case(word);
    match () {
        () if is("select") || is("with") || is("values") || is("table") || is("show") || is("fetch") => Verb::Select,
        () if is("insert") => Verb::Insert,
        () if is("update") => Verb::Update,
        () if is("delete") => Verb::Delete,
        () if is("begin") || is("start") => Verb::Begin,
        () if is("commit") || is("end") => Verb::Commit,
        () if is("rollback") && then("to") => Verb::RollbackTo,
        () if is("rollback") || is("abort") => Verb::Rollback,
        () if is("savepoint") => Verb::Savepoint,
        () if is("release") => Verb::Release,
        () if is("set") || is("reset") => Verb::Set,
        () if is("copy") => Verb::CopyIn,
        () => Verb::Other(other_tag(first, second)),
    }
}

fn other_tag(first: &str, second: &str) -> usize {
    let second = match second {
        _ if second.eq_ignore_ascii_case("unlogged") => "table",
        _ if second.eq_ignore_ascii_case("unique") => "index",
        _ if second.eq_ignore_ascii_case("user") => "role",
        _ => second,
    };
    let matches = |tag: &str| {
        let mut words = tag.split(' ');
        words.next().is_some_and(|word| word.eq_ignore_ascii_case(first))
            && words.next().is_none_or(|word| {
                word.eq_ignore_ascii_case(second)
                    || first.eq_ignore_ascii_case("truncate")
                    || first.eq_ignore_ascii_case("lock")
                    || first.eq_ignore_ascii_case("discard")
            })
    };
    OTHER_TAGS.iter().position(|tag| matches(tag)).unwrap_or(OTHER_TAGS.len() - 1)
}

fn plan(verb: Verb, parameters: Vec<Type>) -> Plan {
    let (tag, action) = match verb {
        Verb::Empty => (Tag::Bare(""), Action::Empty),
        Verb::Select => (Tag::Select, Action::Query(query())),
        Verb::Insert => (Tag::Insert, Action::Query(query())),
        Verb::Update => (Tag::Update, Action::Query(query())),
        Verb::Delete => (Tag::Delete, Action::Query(query())),
        Verb::Begin => (Tag::Bare("BEGIN"), Action::Transaction(Transaction::Begin(Modes::default()))),
        Verb::Commit => (Tag::Bare("COMMIT"), Action::Transaction(Transaction::Commit(false))),
        Verb::Rollback => (Tag::Bare("ROLLBACK"), Action::Transaction(Transaction::Rollback(false))),
        Verb::Savepoint => (Tag::Bare("SAVEPOINT"), Action::Transaction(Transaction::Savepoint(String::new()))),
        Verb::Release => (Tag::Bare("RELEASE"), Action::Transaction(Transaction::Release(String::new()))),
        Verb::RollbackTo => (Tag::Bare("ROLLBACK"), Action::Transaction(Transaction::RollbackTo(String::new()))),
        Verb::Set => (Tag::Bare("SET"), Action::Query(query())),
        Verb::CopyIn => (Tag::Copy, Action::Copy(copy_in())),
        Verb::Other(number) => (Tag::Bare(OTHER_TAGS.get(number).copied().unwrap_or("OK")), Action::Query(query())),
    };
    let columns = if verb == Verb::Select { vec![column()] } else { Vec::new() };
    let allowed_when_failed = matches!(verb, Verb::Commit | Verb::Rollback | Verb::RollbackTo);
    Plan { tag, parameters, columns, action, allowed_when_failed }
}

fn column() -> Column {
    Column { name: "?column?".to_owned(), type_: Type::Int4, typmod: -1, table: 0, attribute: 0 }
}

fn query() -> Query {
    Query::default()
}

/// One text column and a delimiter that no row holds: any line is a row.
fn copy_in() -> Copy {
    let format = CopyFormat {
        csv: false,
        delimiter: 1,
        null: "\\N".to_owned(),
        header: CopyHeader::Absent,
        quote: b'"',
        escape: b'"',
        force_quote: Vec::new(),
        force_not_null: Vec::new(),
        force_null: Vec::new(),
    };
    let column = Column { type_: Type::Text, ..column() };
    Copy { target: "nothing".to_owned(), direction: CopyDirection::In(query()), columns: vec![column], format }
}
