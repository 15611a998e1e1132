//! The state of a session's transaction, apart from its carrying out.
//!
//! Owns which commands are allowed when, in PostgreSQL's wording, the savepoints, and the characteristics. It
//! runs no SQL and takes no lock: `store` does, as this module tells it. Transactions are PostgreSQL's:
//! <https://www.postgresql.org/docs/15/transaction-iso.html>.

use std::time::SystemTime;

use crate::engine::TransactionStatus;
use crate::error::{Condition, Error};

/// How far a transaction is kept from others' commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// As in PostgreSQL: behaves like READ COMMITTED, but is reported by its own name.
    ReadUncommitted,
    /// Each statement sees the newest commit.
    #[default]
    ReadCommitted,
    /// All statements see the snapshot of the first.
    RepeatableRead,
    /// As REPEATABLE READ; with one writer at a time that is serializable for those who write.
    Serializable,
}

impl Isolation {
    /// Whether one snapshot serves the whole transaction.
    pub fn keeps_snapshot(self) -> bool {
        matches!(self, Isolation::RepeatableRead | Isolation::Serializable)
    }

    /// The value of `transaction_isolation`.
    pub fn name(self) -> &'static str {
        match self {
            Isolation::ReadUncommitted => "read uncommitted",
            Isolation::ReadCommitted => "read committed",
            Isolation::RepeatableRead => "repeatable read",
            Isolation::Serializable => "serializable",
        }
    }
}

/// What BEGIN and SET TRANSACTION choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Characteristics {
    /// ISOLATION LEVEL.
    pub isolation: Isolation,
    /// READ ONLY.
    pub read_only: bool,
    /// DEFERRABLE; accepted, and without effect: a snapshot here never has to wait.
    pub deferrable: bool,
}

/// What a statement does to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reads only.
    Read,
    /// Writes, or locks rows (FOR UPDATE): needs the writer lock.
    Write,
    /// Writes nothing that a READ ONLY transaction protects (temporary tables), but through the same connection.
    Temporary,
}

/// How a transaction block ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// COMMIT; durable once the store has settled.
    Committed,
    /// ROLLBACK, or COMMIT of a failed block.
    RolledBack,
}

/// What spans the statements of now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Span {
    /// Each statement is a transaction.
    #[default]
    Statement,
    /// The implicit transaction of a message or of an extended-protocol series.
    Implicit,
    /// BEGIN was given.
    Block,
}

/// A savepoint of the block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Savepoint {
    /// As the client named it; a later one of the same name hides it.
    pub name: String,
    /// Names it in SQLite (`s1`, `s2`, …), where names must not hide each other.
    pub number: u32,
    /// Whether nothing had been written when it was set.
    pub before_write: bool,
    /// READ ONLY at that time, which ROLLBACK TO restores.
    pub read_only: bool,
}

/// What ROLLBACK TO and RELEASE have to undo or keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The savepoint's number.
    pub number: u32,
    /// Whether nothing had been written when it was set.
    pub before_write: bool,
}

/// One session's transaction.
#[derive(Debug, Default)]
pub struct Transaction {
    span: Span,
    characteristics: Characteristics,
    failed: bool,
    /// A statement has run, so the isolation level cannot change any more.
    queried: bool,
    /// SQLite undid everything by itself, savepoints included.
    lost: bool,
    savepoints: Vec<Savepoint>,
    savepoint_count: u32,
    started: Option<SystemTime>,
}

impl Transaction {
    /// For ReadyForQuery.
    pub fn status(&self) -> TransactionStatus {
        match (self.span, self.failed) {
            (Span::Block, true) => TransactionStatus::Failed,
            (Span::Block, false) => TransactionStatus::InTransaction,
            _ => TransactionStatus::Idle,
        }
    }

    /// What spans the statements of now.
    pub fn span(&self) -> Span {
        self.span
    }

    /// The characteristics of the transaction of now.
    pub fn characteristics(&self) -> Characteristics {
        self.characteristics
    }

    /// When the transaction began: `now()`.
    pub fn started(&mut self) -> SystemTime {
        *self.started.get_or_insert_with(SystemTime::now)
    }

    /// Checks whether a statement may run, before anything is locked. `command` is its tag.
    pub fn check_statement(&mut self, access: Access, command: &str) -> Result<(), Error> {
        self.check_not_failed()?;
        if access == Access::Write && self.characteristics.read_only {
            let message = format!("cannot execute {command} in a read-only transaction");
            return Err(Error::new(Condition::ReadOnlySqlTransaction, message));
        }
        self.started();
        self.queried = true;
        Ok(())
    }

    /// 25P02 in a failed block.
    pub fn check_not_failed(&self) -> Result<(), Error> {
        if self.failed {
            let message = "current transaction is aborted, commands ignored until end of transaction block";
            return Err(Error::new(Condition::InFailedSqlTransaction, message));
        }
        Ok(())
    }

    /// A statement failed; `lost`: SQLite rolled the whole transaction back.
    pub fn fail(&mut self, lost: bool) {
        if self.span != Span::Statement {
            self.failed = true;
            self.lost |= lost;
        }
    }

    /// Opens the implicit transaction of a message. Without effect when something spans statements already.
    pub fn begin_implicit(&mut self, characteristics: Characteristics) {
        if self.span == Span::Statement {
            *self = Transaction { span: Span::Implicit, characteristics, ..Transaction::default() };
            self.started();
        }
    }

    /// BEGIN. Inside a block it only warns; inside an implicit transaction it makes that one the block.
    pub fn begin(&mut self, characteristics: Characteristics) -> Result<Option<Error>, Error> {
        self.check_not_failed()?;
        match self.span {
            Span::Block => {
                let message = "there is already a transaction in progress";
                return Ok(Some(Error::new(Condition::ActiveSqlTransaction, message)));
            }
            Span::Implicit => self.span = Span::Block,
            Span::Statement => *self = Transaction { span: Span::Block, ..Transaction::default() },
        }
        self.characteristics = characteristics;
        self.started();
        Ok(None)
    }

    /// SET TRANSACTION, and SET transaction_isolation and the like.
    pub fn set_characteristics(&mut self, wanted: Characteristics) -> Result<(), Error> {
        self.check_not_failed()?;
        let refuse = |message: &str| Err(Error::new(Condition::ActiveSqlTransaction, message));
        if wanted.isolation != self.characteristics.isolation {
            if !self.savepoints.is_empty() {
                return refuse("SET TRANSACTION ISOLATION LEVEL must not be called in a subtransaction");
            }
            if self.queried {
                return refuse("SET TRANSACTION ISOLATION LEVEL must be called before any query");
            }
        }
        if self.characteristics.read_only && !wanted.read_only && self.queried {
            return refuse("transaction read-write mode must be set before any query");
        }
        if wanted.deferrable != self.characteristics.deferrable && self.queried {
            return refuse("SET TRANSACTION [NOT] DEFERRABLE must be called before any query");
        }
        self.characteristics = wanted;
        Ok(())
    }

    /// The warning for COMMIT or ROLLBACK where no block is open.
    pub fn check_end(&self) -> Option<Error> {
        (self.span != Span::Block)
            .then(|| Error::new(Condition::NoActiveSqlTransaction, "there is no transaction in progress"))
    }

    /// Ends whatever spans statements. With `chain`, the next block begins with the same characteristics.
    /// Returns whether it had failed.
    pub fn end(&mut self, chain: bool) -> bool {
        let failed = self.failed;
        let (span, characteristics) = (self.span, self.characteristics);
        *self = Transaction::default();
        if chain && span == Span::Block {
            self.span = Span::Block;
            self.characteristics = characteristics;
            self.started();
        }
        failed
    }

    /// SAVEPOINT. Returns its number.
    pub fn savepoint(&mut self, name: &str, before_write: bool) -> Result<u32, Error> {
        self.check_not_failed()?;
        self.check_block("SAVEPOINT")?;
        self.savepoint_count += 1;
        let number = self.savepoint_count;
        let read_only = self.characteristics.read_only;
        self.savepoints.push(Savepoint { name: name.to_owned(), number, before_write, read_only });
        Ok(number)
    }

    /// RELEASE: forgets the savepoint and all later ones.
    pub fn release(&mut self, name: &str) -> Result<Target, Error> {
        self.check_not_failed()?;
        self.check_block("RELEASE SAVEPOINT")?;
        let (index, target) = self.find(name)?;
        self.savepoints.truncate(index);
        Ok(target)
    }

    /// ROLLBACK TO: forgets all later savepoints; the block has not failed any more.
    pub fn rollback_to(&mut self, name: &str) -> Result<Target, Error> {
        self.check_block("ROLLBACK TO SAVEPOINT")?;
        let (index, target) = self.find(name)?;
        if self.lost && !target.before_write {
            // SQLite answers an interrupted write and a full disk by undoing everything, savepoints included.
            return Err(Error::new(Condition::InvalidSavepointSpecification, format!("savepoint \"{name}\" was lost"))
                .detail("The failure before it rolled the whole transaction back.")
                .hint("Roll the transaction back and start it anew."));
        }
        self.savepoints.truncate(index + 1);
        if let Some(savepoint) = self.savepoints.last() {
            self.characteristics.read_only = savepoint.read_only;
        }
        self.failed = false;
        self.lost = false;
        Ok(target)
    }

    /// The savepoints from the oldest, to be replayed when the write transaction opens.
    pub fn savepoints(&self) -> &[Savepoint] {
        &self.savepoints
    }

    fn find(&self, name: &str) -> Result<(usize, Target), Error> {
        let index = self.savepoints.iter().rposition(|savepoint| savepoint.name == name);
        index
            .and_then(|index| self.savepoints.get(index).map(|savepoint| (index, savepoint)))
            .map(|(index, savepoint)| {
                (index, Target { number: savepoint.number, before_write: savepoint.before_write })
            })
            .ok_or_else(|| {
                let message = format!("savepoint \"{name}\" does not exist");
                Error::new(Condition::InvalidSavepointSpecification, message)
            })
    }

    fn check_block(&self, command: &str) -> Result<(), Error> {
        if self.span == Span::Block {
            return Ok(());
        }
        let message = format!("{command} can only be used in transaction blocks");
        Err(Error::new(Condition::NoActiveSqlTransaction, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block() -> Transaction {
        let mut transaction = Transaction::default();
        assert_eq!(transaction.begin(Characteristics::default()).ok(), Some(None));
        transaction
    }

    fn code<T>(result: Result<T, Error>) -> &'static str {
        result.err().map_or("00000", |error| error.condition().code())
    }

    #[test]
    fn a_second_begin_and_a_lone_commit_only_warn() {
        let mut transaction = block();
        let warning = transaction.begin(Characteristics::default()).ok().flatten();
        assert_eq!(warning.map(|warning| warning.condition().code()), Some("25001"));
        assert!(transaction.check_end().is_none());
        assert!(!transaction.end(false));
        assert_eq!(transaction.check_end().map(|warning| warning.condition().code()), Some("25P01"));
    }

    #[test]
    fn a_failed_block_refuses_all_but_its_end() {
        let mut transaction = block();
        assert_eq!(code(transaction.savepoint("a", true)), "00000");
        transaction.fail(false);
        assert_eq!(transaction.status(), TransactionStatus::Failed);
        assert_eq!(code(transaction.check_statement(Access::Read, "SELECT")), "25P02");
        assert_eq!(code(transaction.savepoint("b", true)), "25P02");
        assert_eq!(code(transaction.rollback_to("missing")), "3B001");
        assert_eq!(transaction.status(), TransactionStatus::Failed);
        assert_eq!(code(transaction.rollback_to("a")), "00000");
        assert_eq!(transaction.status(), TransactionStatus::InTransaction);
        transaction.fail(false);
        assert!(transaction.end(false));
        assert_eq!(transaction.status(), TransactionStatus::Idle);
    }

    #[test]
    fn a_savepoint_hides_an_earlier_one_of_its_name_until_released() {
        let mut transaction = block();
        let first = transaction.savepoint("a", true).ok();
        let second = transaction.savepoint("a", false).ok();
        assert_ne!(first, second);
        assert_eq!(transaction.rollback_to("a").ok().map(|target| target.number), second);
        assert_eq!(transaction.release("a").ok().map(|target| target.number), second);
        assert_eq!(transaction.rollback_to("a").ok().map(|target| target.number), first);
    }

    #[test]
    fn a_read_only_transaction_refuses_writes_but_not_temporary_tables() {
        let mut transaction = Transaction::default();
        let read_only = Characteristics { read_only: true, ..Characteristics::default() };
        assert_eq!(code(transaction.begin(read_only)), "00000");
        assert_eq!(code(transaction.check_statement(Access::Write, "INSERT")), "25006");
        assert_eq!(code(transaction.check_statement(Access::Temporary, "INSERT")), "00000");
        assert_eq!(code(transaction.set_characteristics(Characteristics::default())), "25001");
    }

    #[test]
    fn savepoints_need_a_block() {
        let mut transaction = Transaction::default();
        transaction.begin_implicit(Characteristics::default());
        assert_eq!(code(transaction.savepoint("a", true)), "25P01");
        assert_eq!(transaction.status(), TransactionStatus::Idle);
    }

    #[test]
    fn what_sqlite_rolled_back_cannot_be_returned_to() {
        let mut transaction = block();
        assert_eq!(code(transaction.savepoint("early", true)), "00000");
        assert_eq!(code(transaction.savepoint("late", false)), "00000");
        transaction.fail(true);
        assert_eq!(code(transaction.rollback_to("late")), "3B001");
        assert_eq!(code(transaction.rollback_to("early")), "00000");
    }
}
