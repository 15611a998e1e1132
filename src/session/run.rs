//! Running one statement, whichever cycle asked for it: who carries it out, and what its command tag is.

use std::fmt;

use super::client::{Client, Outcome};
use super::core::Core;
use super::rows::{Formats, Rows, describe};
use crate::engine::{Completion, Engine, TransactionStatus};
use crate::sql::plan::{Action, Plan, Tag, Transaction};
use crate::sql::types::Value;

/// A statement to run.
pub struct Task<'t, S> {
    /// The statement.
    pub statement: &'t S,
    /// Its parameters.
    pub parameters: &'t [Value],
    /// The formats of its columns.
    pub formats: &'t Formats,
    /// Most rows to return; 0 for all.
    pub limit: u64,
    /// Whether RowDescription goes before the rows: the simple protocol.
    pub describe: bool,
}

/// How a statement ended.
#[derive(Debug)]
pub struct Ran<C> {
    /// Its command tag, without the count.
    pub tag: Tag,
    /// Rows for the count.
    pub rows: u64,
    /// The rest, when the limit ended it.
    pub cursor: Option<C>,
    /// Whether it is a result that can be asked for more rows.
    pub returns_rows: bool,
}

impl<C> Ran<C> {
    /// A statement that returns no rows.
    pub fn bare(tag: Tag, rows: u64) -> Self {
        Self { tag, rows, cursor: None, returns_rows: false }
    }
}

impl<E: Engine> Core<'_, E> {
    /// Runs a statement. Its rows are gathered or sent; CommandComplete is the caller's.
    pub fn run(&mut self, client: &mut Client<'_>, task: &Task<'_, E::Statement>) -> Outcome<Ran<E::Cursor>> {
        let plan = self.engine.plan(task.statement);
        self.check_allowed(plan)?;
        match &plan.action {
            Action::Empty => Ok(Ran::bare(plan.tag.clone(), 0)),
            Action::Query(_) | Action::Transaction(_) | Action::Define(_) | Action::Explain(_) => {
                self.run_in_engine(client, plan, task)
            }
            Action::Session(command) => self.run_command(client, plan, command, task),
            Action::Copy(copy) => self.run_copy(client, copy, task),
        }
    }

    fn run_in_engine(
        &mut self,
        client: &mut Client<'_>,
        plan: &Plan,
        task: &Task<'_, E::Statement>,
    ) -> Outcome<Ran<E::Cursor>> {
        let before = self.status();
        if task.describe && !plan.columns.is_empty() {
            describe(&mut client.out(), &plan.columns, task.formats);
        }
        let mut rows = Rows::new(client, &plan.columns, task.formats, &self.environment);
        let result = self.engine.execute(task.statement, task.parameters, task.limit, &mut rows);
        let (Completion { rows, skipped, .. }, cursor) = client.unless_lost(result)?;
        self.statement_done(plan, before);
        let tag = match &plan.action {
            Action::Transaction(Transaction::Commit(_)) if before == TransactionStatus::Failed => Tag::Bare("ROLLBACK"),
            Action::Define(definition) if skipped => Tag::Bare(definition.tag()),
            _ => plan.tag.clone(),
        };
        Ok(Ran { tag, rows, cursor, returns_rows: !plan.columns.is_empty() })
    }
}

/// A command tag with its count, as CommandComplete shows it.
pub struct Complete<'t>(pub &'t Tag, pub u64);

impl fmt::Display for Complete<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(tag, rows) = self;
        match tag {
            Tag::Select => write!(f, "SELECT {rows}"),
            // The zero was once the OID of a single inserted row.
            Tag::Insert => write!(f, "INSERT 0 {rows}"),
            Tag::Update => write!(f, "UPDATE {rows}"),
            Tag::Delete => write!(f, "DELETE {rows}"),
            Tag::Copy => write!(f, "COPY {rows}"),
            Tag::Fetch => write!(f, "FETCH {rows}"),
            Tag::Move => write!(f, "MOVE {rows}"),
            Tag::Bare(tag) => f.write_str(tag),
        }
    }
}
