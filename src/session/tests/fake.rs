//! An engine that does what a statement's text says, and writes down what it was asked to do.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::engine::{Completion, Engine, RowSink, Split, TransactionStatus};
use crate::error::{Condition, Error};
use crate::sql::plan::{
    Action, Column, Copy, CopyDirection, CopyFormat, CopyHeader, Direction, Discard, Modes, Plan, Query,
    SessionCommand, Tag, Transaction,
};
use crate::sql::types::{Datum, Type, Value};

/// Calls in order, shared with the test.
pub type Log = Arc<Mutex<Vec<String>>>;

pub struct Fake {
    pub log: Log,
    status: TransactionStatus,
    implicit: bool,
    settle_fails: bool,
    in_the_way: bool,
}

impl Fake {
    pub fn new(log: &Log) -> Self {
        Self {
            log: Arc::clone(log),
            status: TransactionStatus::Idle,
            implicit: false,
            settle_fails: false,
            in_the_way: false,
        }
    }

    fn note(&self, call: impl Into<String>) {
        self.log.lock().push(call.into());
    }
}

/// Rows `next..=last` that were not read yet.
pub struct Rest {
    next: i64,
    last: i64,
}

#[derive(Clone)]
pub struct Statement {
    text: Rc<str>,
    plan: Rc<Plan>,
}

fn query() -> Query {
    Query::default()
}

fn column(name: &str, type_: Type) -> Column {
    Column { name: name.into(), type_, typmod: -1, table: 0, attribute: 0 }
}

fn copy(direction: CopyDirection, csv: bool) -> Action {
    let format = CopyFormat {
        csv,
        delimiter: if csv { b',' } else { b'\t' },
        null: if csv { String::new() } else { "\\N".into() },
        header: if csv { CopyHeader::Present } else { CopyHeader::Absent },
        quote: b'"',
        escape: b'"',
        force_quote: vec![],
        force_not_null: vec![],
        force_null: vec![],
    };
    let columns = vec![column("a", Type::Int4), column("b", Type::Text)];
    Action::Copy(Copy { target: "t".into(), direction, columns, format })
}

fn plan_of(text: &str) -> Result<Plan, Error> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let owned = |index: usize| words.get(index).map_or(String::new(), |word| (*word).to_owned());
    let after = |mark: &str| text.split_once(mark).map_or("", |(_, rest)| rest).to_owned();
    let session = |command, tag| (Tag::Bare(tag), Action::Session(command));
    let transaction = |what, tag| (Tag::Bare(tag), Action::Transaction(what));
    let (tag, action) = match words.first().copied().unwrap_or("") {
        "" => (Tag::Bare(""), Action::Empty),
        "rows" | "SELECT" | "sum" => (Tag::Select, Action::Query(query())),
        "fail" | "notice" | "update" => (Tag::Update, Action::Query(query())),
        "begin" => transaction(Transaction::Begin(Modes::default()), "BEGIN"),
        "commit" => transaction(Transaction::Commit(false), "COMMIT"),
        "rollback" if words.len() > 2 => transaction(Transaction::RollbackTo(owned(2)), "ROLLBACK"),
        "rollback" => transaction(Transaction::Rollback(false), "ROLLBACK"),
        "savepoint" => transaction(Transaction::Savepoint(owned(1)), "SAVEPOINT"),
        "release" => transaction(Transaction::Release(owned(1)), "RELEASE"),
        "set" if owned(1) == "local" => {
            session(SessionCommand::Set { local: true, name: owned(2), values: Some(vec![owned(3)]) }, "SET")
        }
        "set" => session(SessionCommand::Set { local: false, name: owned(1), values: Some(vec![owned(2)]) }, "SET"),
        "show" => session(SessionCommand::Show(owned(1)), "SHOW"),
        "discard" => session(SessionCommand::Discard(Discard::All), "DISCARD ALL"),
        "prepare" => session(SessionCommand::Prepare { name: owned(1), types: vec![], text: after(" as ") }, "PREPARE"),
        "execute" => session(
            SessionCommand::Execute { name: owned(1), arguments: words[2..].iter().map(|w| (*w).into()).collect() },
            "EXECUTE",
        ),
        "deallocate" => session(SessionCommand::Deallocate(Some(owned(1))), "DEALLOCATE"),
        "declare" => session(
            SessionCommand::Declare {
                name: owned(1),
                scroll: Some(true),
                hold: owned(2) == "hold",
                text: after(" for "),
            },
            "DECLARE CURSOR",
        ),
        "fetch" | "move" => {
            let count: i64 = owned(1).parse().unwrap_or(1);
            let (cursor, moves) = (owned(2), words[0] == "move");
            session(SessionCommand::Fetch { cursor, direction: Direction::Forward(count), moves }, "FETCH")
        }
        "close" => session(SessionCommand::Close(Some(owned(1))), "CLOSE CURSOR"),
        "copyin" => (Tag::Copy, copy(CopyDirection::In(query()), false)),
        "csvin" => (Tag::Copy, copy(CopyDirection::In(query()), true)),
        "copyout" => (Tag::Copy, copy(CopyDirection::Out(query()), false)),
        "csvout" => (Tag::Copy, copy(CopyDirection::Out(query()), true)),
        _ => {
            let message = format!("syntax error at or near \"{}\"", owned(0));
            return Err(Error::new(Condition::SyntaxError, message).position(1));
        }
    };
    let columns = match (words.first().copied(), &action) {
        (Some("SELECT"), _) => text.split(", ").map(|_| column("x", Type::Int4)).collect(),
        (Some("rows" | "sum"), _) => vec![column("n", Type::Int4)],
        _ => vec![],
    };
    let allowed_when_failed = matches!(
        action,
        Action::Transaction(Transaction::Commit(_) | Transaction::Rollback(_) | Transaction::RollbackTo(_))
    );
    // Those of a text inside PREPARE are its own.
    let inner = matches!(action, Action::Session(_));
    let parameters = vec![Type::Int4; if inner { 0 } else { text.matches('$').count() }];
    Ok(Plan { tag, parameters, columns, action, allowed_when_failed })
}

impl Engine for Fake {
    type Raw = ();
    type Statement = Statement;
    type Cursor = Rest;

    fn split(&mut self, text: &str) -> Result<Split<()>, Error> {
        if let Some(at) = text.find('%') {
            return Err(Error::new(Condition::SyntaxError, "syntax error at or near \"%\"").position(at + 1));
        }
        let mut start = 0;
        let mut found = Vec::new();
        for part in text.split(';') {
            let blanks = part.len() - part.trim_start().len();
            let range = start + blanks..start + blanks + part.trim().len();
            if !range.is_empty() {
                found.push((range, ()));
            }
            start += part.len() + 1;
        }
        if found.is_empty() {
            found.push((0..0, ()));
        }
        Ok(found)
    }

    fn prepare(&mut self, text: &str, _raw: (), _types: &[u32]) -> Result<Statement, Error> {
        Ok(Statement { text: text.into(), plan: Rc::new(plan_of(text)?) })
    }

    fn plan<'a>(&self, statement: &'a Statement) -> &'a Plan {
        &statement.plan
    }

    fn execute(
        &mut self,
        statement: &Statement,
        parameters: &[Value],
        limit: u64,
        sink: &mut dyn RowSink,
    ) -> Result<(Completion, Option<Rest>), Error> {
        self.note(format!("execute {}", statement.text));
        let words: Vec<&str> = statement.text.split_whitespace().collect();
        let done = |rows| Ok((Completion { rows, complete: true, skipped: false }, None));
        match &statement.plan.action {
            Action::Transaction(Transaction::Begin(_)) => {
                (self.status, self.implicit) = (TransactionStatus::InTransaction, false);
            }
            Action::Transaction(Transaction::Commit(_) | Transaction::Rollback(_)) => {
                (self.status, self.implicit, self.in_the_way) = (TransactionStatus::Idle, false, false);
            }
            Action::Transaction(Transaction::RollbackTo(_)) => self.status = TransactionStatus::InTransaction,
            Action::Copy(_) => {
                sink.row(&[Datum::Int(1), Datum::Text("x\ty,\"")])?;
                sink.row(&[Datum::Null, Datum::Text("")])?;
                return done(2);
            }
            _ => match words.first().copied().unwrap_or("") {
                "fail" => return Err(Error::new(Condition::DivisionByZero, "division by zero").position(3)),
                "notice" => sink.notice("NOTICE", Error::new(Condition::SuccessfulCompletion, "by the way")),
                "update" if words.get(1) == Some(&"unsettled") => self.settle_fails = true,
                "update" if words.get(1) == Some(&"locked") => self.in_the_way = true,
                "update" => return done(3),
                "sum" => {
                    let sum = parameters.iter().map(|value| if let Value::Int(n) = value { *n } else { 0 }).sum();
                    sink.row(&[Datum::Int(sum)])?;
                    return done(1);
                }
                "SELECT" => {
                    let numbers = statement.text.split("CAST((").skip(1);
                    let row: Vec<Datum<'_>> =
                        numbers.map(|text| Datum::Int(text.split(')').next().unwrap().parse().unwrap())).collect();
                    sink.row(&row)?;
                    return done(1);
                }
                "rows" => {
                    let mut rest = Rest { next: 1, last: words[1].parse().unwrap() };
                    let completion = self.fetch(&mut rest, limit, sink)?;
                    let cursor = (!completion.complete).then_some(rest);
                    return Ok((completion, cursor));
                }
                _ => {}
            },
        }
        done(0)
    }

    fn fetch(&mut self, cursor: &mut Rest, limit: u64, sink: &mut dyn RowSink) -> Result<Completion, Error> {
        let mut rows = 0;
        while cursor.next <= cursor.last && (limit == 0 || rows < limit) {
            sink.row(&[Datum::Int(cursor.next)])?;
            if sink.full() {
                self.settle()?;
                sink.flush()?;
            }
            cursor.next += 1;
            rows += 1;
        }
        Ok(Completion { rows, complete: cursor.next > cursor.last, skipped: false })
    }

    fn materialise(&mut self, statement: &Statement, _parameters: &[Value]) -> Result<Rest, Error> {
        let last = statement.text.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
        Ok(Rest { next: 1, last })
    }

    fn read_at(&mut self, cursor: &mut Rest, first: u64, count: u64, sink: &mut dyn RowSink) -> Result<u64, Error> {
        let mut part = Rest { next: first as i64 + 1, last: cursor.last.min((first + count) as i64) };
        Ok(self.fetch(&mut part, 0, sink)?.rows)
    }

    fn row_count(&mut self, cursor: &mut Rest) -> u64 {
        cursor.last as u64
    }

    fn copy_in_start(&mut self, _copy: &Copy) -> Result<(), Error> {
        self.note("copy start");
        Ok(())
    }

    fn copy_in_row(&mut self, _copy: &Copy, row: &[Value]) -> Result<(), Error> {
        self.note(format!("copy {row:?}"));
        match row.first() {
            Some(Value::Int(13)) => Err(Error::new(Condition::CheckViolation, "thirteen")),
            _ => Ok(()),
        }
    }

    fn copy_in_end(&mut self, _copy: &Copy, failed: bool) -> Result<u64, Error> {
        let rows = self.log.lock().iter().filter(|call| call.starts_with("copy [")).count();
        self.note(if failed { "copy failed" } else { "copy end" });
        Ok(rows as u64)
    }

    fn transaction_status(&self) -> TransactionStatus {
        self.status
    }

    fn begin_implicit(&mut self) {
        if self.status == TransactionStatus::Idle && !self.implicit {
            self.implicit = true;
            self.note("begin implicit");
        }
    }

    fn end_implicit(&mut self, commit: bool) -> Result<(), Error> {
        self.implicit = false;
        self.note(if commit { "commit implicit" } else { "rollback implicit" });
        Ok(())
    }

    fn statement_failed(&mut self) {
        if self.status == TransactionStatus::InTransaction {
            self.status = TransactionStatus::Failed;
        }
    }

    fn settle(&mut self) -> Result<(), Error> {
        self.note("settle");
        match self.settle_fails {
            true => Err(Error::new(Condition::IoError, "the log cannot be synced")),
            false => Ok(()),
        }
    }

    fn idle_limit(&self) -> Option<Duration> {
        self.in_the_way.then_some(Duration::from_millis(30))
    }

    fn reset(&mut self) -> Result<(), Error> {
        self.note("reset");
        Ok(())
    }
}
