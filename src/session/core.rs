//! What a session keeps between messages, and how its transaction's beginning and end reach all of it.
//!
//! The engine owns the transaction; settings, portals and savepoint names follow it here. Nothing here waits
//! for the client.

use std::time::Instant;

use super::client::{Client, End};
use super::duration::Durations;
use super::environment::Environment;
use super::interrupts::{Activity, State};
use super::portal::Portals;
use super::statement::Statements;
use crate::engine::{Engine, TransactionStatus};
use crate::error::{Condition, Error};
use crate::protocol::{ReadyStatus, Severity};
use crate::settings::Shared;
use crate::sql::plan::{Action, Plan, Transaction};

/// The state of one session.
pub struct Core<'a, E: Engine> {
    /// Answers its statements.
    pub engine: &'a mut E,
    /// Its settings.
    pub settings: Shared,
    /// What the settings come to.
    pub environment: Environment,
    /// Its prepared statements.
    pub statements: Statements<E::Statement>,
    /// Its portals and cursors.
    pub portals: Portals<E>,
    /// How long its statements take.
    pub durations: Durations,
    activity: &'a mut dyn Activity,
    /// Names of the open savepoints, outermost first.
    savepoints: Vec<String>,
    /// A transaction is open, be it a block or an implicit one; settings can be rolled back.
    open: bool,
    /// That transaction is the engine's implicit one.
    implicit: bool,
    /// statement_timeout runs.
    timed: bool,
}

impl<'a, E: Engine> Core<'a, E> {
    /// A session without a past.
    pub fn new(engine: &'a mut E, settings: Shared, activity: &'a mut dyn Activity, durations: Durations) -> Self {
        let environment = Environment::new(&settings);
        Self {
            engine,
            settings,
            environment,
            statements: Statements::default(),
            portals: Portals::default(),
            durations,
            activity,
            savepoints: Vec::new(),
            open: false,
            implicit: false,
            timed: false,
        }
    }

    /// The state of the transaction block; an implicit transaction is none.
    pub fn status(&self) -> TransactionStatus {
        if self.implicit { TransactionStatus::Idle } else { self.engine.transaction_status() }
    }

    /// Whether statements of this message or series have been run that make one transaction outside of a block.
    pub fn is_implicit(&self) -> bool {
        self.implicit
    }

    /// Whether a transaction is open that outlasts the statement.
    pub fn in_transaction(&self) -> bool {
        self.implicit || self.engine.transaction_status() != TransactionStatus::Idle
    }

    /// How many savepoints are open.
    pub fn depth(&self) -> usize {
        self.savepoints.len()
    }

    /// 25P02 for a statement that a failed block refuses.
    pub fn check_allowed(&self, plan: &Plan) -> Result<(), Error> {
        if self.status() == TransactionStatus::Failed && !plan.allowed_when_failed {
            return Err(block_failed());
        }
        Ok(())
    }

    /// Analyses one statement. In a failed block, whatever is wrong with it, the block comes first.
    pub fn prepare(&mut self, text: &str, raw: E::Raw, types: &[u32]) -> Result<E::Statement, Error> {
        let failed = self.status() == TransactionStatus::Failed;
        let prepared = self.engine.prepare(text, raw, types);
        match prepared {
            Err(_) if failed => Err(block_failed()),
            Ok(statement) => {
                self.check_allowed(self.engine.plan(&statement))?;
                Ok(statement)
            }
            Err(error) => Err(error),
        }
    }

    /// Opens the implicit transaction, outside of a block.
    pub fn begin_implicit(&mut self) {
        if !self.in_transaction() {
            self.engine.begin_implicit();
            self.implicit = true;
            self.open_transaction();
        }
    }

    /// Ends the implicit transaction if there is one.
    pub fn commit_implicit(&mut self) -> Result<(), Error> {
        if self.implicit {
            let ended = self.engine.end_implicit(true);
            self.implicit = false;
            self.close_transaction(ended.is_ok());
            ended?;
        }
        Ok(())
    }

    /// A series of the extended protocol is over: outside of a block nothing of it stays.
    pub fn end_series(&mut self) -> Result<(), Error> {
        let started = self.durations.start();
        self.commit_implicit()?;
        self.durations.series_ended(started);
        if self.status() == TransactionStatus::Idle {
            self.portals.end_transaction(true);
        }
        Ok(())
    }

    /// A statement or message has failed: the block with it, or the implicit transaction.
    pub fn fail(&mut self) {
        self.engine.statement_failed();
        if self.implicit {
            if let Err(error) = self.engine.end_implicit(false) {
                log::warn!("rolling back an implicit transaction: {error}");
            }
            self.implicit = false;
        }
        match self.engine.transaction_status() {
            TransactionStatus::Idle => self.close_transaction(false),
            _ => self.portals.drop_from_depth(self.depth()),
        }
        self.stop_clock();
    }

    /// A statement has succeeded; `before` is the block's state when it started.
    pub fn statement_done(&mut self, plan: &Plan, before: TransactionStatus) {
        self.follow_settings();
        let Action::Transaction(transaction) = &plan.action else { return };
        match transaction {
            Transaction::Begin(_) => {
                self.implicit = false;
                self.open_transaction();
            }
            Transaction::Commit(chain) | Transaction::Rollback(chain) => {
                let commits = matches!(transaction, Transaction::Commit(_)) && before != TransactionStatus::Failed;
                self.implicit = false;
                self.close_transaction(commits);
                if *chain && self.engine.transaction_status() != TransactionStatus::Idle {
                    self.open_transaction();
                }
            }
            Transaction::Savepoint(name) => {
                self.savepoints.push(name.clone());
                self.settings.lock().savepoint();
            }
            Transaction::Release(name) => self.release(name),
            Transaction::RollbackTo(name) => self.rollback_to(name),
            Transaction::Set(_) | Transaction::Constraints(..) => {}
        }
    }

    fn release(&mut self, name: &str) {
        let Some(index) = self.savepoints.iter().rposition(|open| open == name) else { return };
        let mut settings = self.settings.lock();
        self.savepoints.drain(index..).for_each(|_| settings.release());
        drop(settings);
        self.portals.lift_to_depth(index);
    }

    fn rollback_to(&mut self, name: &str) {
        let Some(index) = self.savepoints.iter().rposition(|open| open == name) else { return };
        let mut settings = self.settings.lock();
        for _ in self.savepoints.drain(index + 1..) {
            settings.rollback_to();
            settings.release();
        }
        settings.rollback_to();
        drop(settings);
        self.portals.drop_from_depth(index + 1);
        self.follow_settings();
    }

    fn open_transaction(&mut self) {
        if !self.open {
            self.open = true;
            self.settings.lock().begin();
        }
    }

    fn close_transaction(&mut self, committed: bool) {
        self.portals.end_transaction(committed);
        self.savepoints.clear();
        if self.open {
            self.open = false;
            let mut settings = self.settings.lock();
            if committed {
                settings.commit()
            } else {
                settings.rollback()
            }
            drop(settings);
            self.follow_settings();
        }
    }

    /// Where settings have changed, what follows from them is resolved anew.
    pub fn follow_settings(&mut self) {
        if self.environment.is_stale(&self.settings) {
            self.environment = Environment::new(&self.settings);
        }
    }

    /// Starts statement_timeout if it is set and not running.
    pub fn start_clock(&mut self) {
        if let (Some(limit), false) = (self.environment.statement_timeout, self.timed) {
            self.engine.set_deadline(Instant::now().checked_add(limit));
            self.timed = true;
        }
    }

    /// Stops statement_timeout.
    pub fn stop_clock(&mut self) {
        if self.timed {
            self.engine.set_deadline(None);
            self.timed = false;
        }
    }

    /// Shows what the session is doing now.
    pub fn show_active(&mut self, text: &str) {
        self.activity.state(State::Active, Some(text));
    }

    /// Writes ReadyForQuery, and before it the settings that have changed.
    pub fn ready(&mut self, client: &mut Client<'_>) {
        self.stop_clock();
        let (ready, state) = match self.status() {
            TransactionStatus::Idle => (ReadyStatus::Idle, State::Idle),
            TransactionStatus::InTransaction => (ReadyStatus::InTransaction, State::IdleInTransaction),
            TransactionStatus::Failed => (ReadyStatus::Failed, State::IdleInFailedTransaction),
        };
        let reports = self.settings.lock().take_reports();
        for (name, value) in &reports {
            client.out().parameter_status(name, value);
            if *name == "application_name" {
                self.activity.application_name(value);
            }
        }
        client.out().ready_for_query(ready);
        self.activity.state(state, None);
    }

    /// Sends what is gathered, after what it rests on is durable.
    pub fn send(&mut self, client: &mut Client<'_>) -> Result<(), End> {
        if client.gathered() == 0 {
            return Ok(());
        }
        let sending = self.durations.sending();
        if let Err(error) = self.engine.settle() {
            // Nothing that was gathered may be sent: it may tell of a commit that is not durable.
            client.drop_gathered();
            client.out().error_response(Severity::Fatal, &error);
            return Err(End::Failed(error));
        }
        client.send()?;
        self.durations.sent(sending);
        Ok(())
    }
}

/// 25001 for a statement that cannot be part of a transaction block.
pub fn in_transaction_block(name: &str) -> Error {
    Error::new(Condition::ActiveSqlTransaction, format!("{name} cannot run inside a transaction block"))
}

fn block_failed() -> Error {
    Error::new(
        Condition::InFailedSqlTransaction,
        "current transaction is aborted, commands ignored until end of transaction block",
    )
}
