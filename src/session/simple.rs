//! The simple cycle: one Query message, any number of statements, one ReadyForQuery.
//!
//! Protocol: "Message Flow", "Simple Query" and "Multiple Statements in a Simple Query".

use super::client::{Client, Outcome, Stop};
use super::core::{Core, in_transaction_block};
use super::rows::Formats;
use super::run::{Complete, Task};
use crate::engine::Engine;
use crate::error::{Condition, Error};
use crate::sql::plan::Action;

impl<E: Engine> Core<'_, E> {
    /// Runs the statements of a Query message. After an error the rest of them is not run.
    pub fn simple_query(&mut self, client: &mut Client<'_>, text: &str) -> Outcome<()> {
        let started = self.durations.start();
        self.show_active(text);
        self.statements.drop_unnamed();
        self.portals.drop_unnamed();
        self.start_clock();
        let statements = self.engine.split(text)?;
        let several = statements.len() > 1;
        for (index, (range, raw)) in statements.into_iter().enumerate() {
            if index > 0 {
                client.check_termination()?;
                check_cancel(client)?;
            }
            if several {
                self.begin_implicit();
            }
            let start = range.start;
            let statement_text = text.get(range).unwrap_or_default();
            self.start_clock();
            self.simple_statement(client, statement_text, raw, several).map_err(|stop| shifted(stop, text, start))?;
            self.stop_clock();
        }
        self.commit_implicit()?;
        self.durations.gathered(started, format_args!("statement: {text}"));
        Ok(())
    }

    /// Runs one. `several`: it is not the message's only one, so that they make one transaction.
    fn simple_statement(&mut self, client: &mut Client<'_>, text: &str, raw: E::Raw, several: bool) -> Outcome<()> {
        let statement = self.prepare(text, raw, &[])?;
        let plan = self.engine.plan(&statement);
        if !plan.parameters.is_empty() {
            return Err(Error::new(Condition::UndefinedParameter, "there is no parameter $1").into());
        }
        if several && let Some(name) = plan.action.refused_in_transaction() {
            return Err(in_transaction_block(name).into());
        }
        let task = Task { statement: &statement, parameters: &[], formats: &Formats::TEXT, limit: 0, describe: true };
        let ran = self.run(client, &task)?;
        match &plan.action {
            Action::Empty => client.out().empty_query_response(),
            _ => client.out().command_complete(Complete(&ran.tag, ran.rows)),
        }
        Ok(())
    }
}

/// 57014 if a cancel request has arrived.
pub fn check_cancel(client: &mut Client<'_>) -> Result<(), Error> {
    if client.take_cancel() { Err(cancelled()) } else { Ok(()) }
}

/// 57014.
pub fn cancelled() -> Error {
    Error::new(Condition::QueryCanceled, "canceling statement due to user request")
}

/// Positions count from the statement's start; the client counts from the message's.
fn shifted(stop: Stop, text: &str, start: usize) -> Stop {
    match stop {
        Stop::Error(mut error) if start > 0 => {
            let before = text.get(..start).map_or(0, |before| before.chars().count());
            let fields = error.fields_mut();
            fields.position = fields.position.map(|position| position + before);
            Stop::Error(error)
        }
        stop => stop,
    }
}
