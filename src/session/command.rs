//! Statements about the session itself: settings, prepared statements by name, DISCARD.
//!
//! Cursors are next door, in `cursor`.

use std::borrow::Cow;

use super::client::{Client, Outcome};
use super::core::{Core, in_transaction_block};
use super::rows::{Notices, Rows, describe, send_notice};
use super::run::{Ran, Task};
use super::statement::{Prepared, Statements};
use crate::engine::{Engine, RowSink};
use crate::error::{Condition, Error};
use crate::sql::plan::{Action, Column, Discard, Isolation, Modes, Plan, SessionCommand, Tag};
use crate::sql::types::{Datum, Type, Value};

impl<E: Engine> Core<'_, E> {
    /// Runs a statement about the session.
    pub fn run_command(
        &mut self,
        client: &mut Client<'_>,
        plan: &Plan,
        command: &SessionCommand,
        task: &Task<'_, E::Statement>,
    ) -> Outcome<Ran<E::Cursor>> {
        let done = Ok(Ran::bare(plan.tag.clone(), 0));
        match command {
            SessionCommand::Set { local: true, .. } if !self.in_transaction() => {
                let warning = "SET LOCAL can only be used in transaction blocks";
                let warning = Error::new(Condition::NoActiveSqlTransaction, warning);
                send_notice(client, &self.environment, "WARNING", &warning);
            }
            SessionCommand::Set { local, name, values } if is_identity(name) => {
                let value = values.as_ref().and_then(|values| values.first()).map(String::as_str);
                self.become_role(name, value, *local)?;
            }
            SessionCommand::Reset(name) if is_identity(name) => self.become_role(name, None, false)?,
            SessionCommand::Set { local, name, values } => {
                self.settings.lock().set(name, values.as_deref(), *local)?;
                self.follow_settings();
            }
            SessionCommand::SetCharacteristics(modes) => self.set_characteristics(modes)?,
            SessionCommand::Reset(name) => {
                self.settings.lock().reset(name)?;
                self.follow_settings();
            }
            SessionCommand::ResetAll => {
                self.settings.lock().reset_all();
                self.follow_settings();
            }
            SessionCommand::Show(name) => return self.show(client, name, task),
            SessionCommand::ShowAll => return self.show_all(client, plan, task),
            SessionCommand::Discard(what) => self.discard(*what)?,
            SessionCommand::Prepare { name, types, text } => {
                self.statements.check_free(name)?;
                let statement = self.prepare_single(text, types).map_err(without_position)?;
                self.statements.insert(name, Prepared::new(statement, text));
            }
            SessionCommand::Execute { name, arguments } => return self.execute_prepared(client, name, arguments, task),
            SessionCommand::Deallocate(Some(name)) => {
                if !self.statements.remove(name) {
                    return Err(Statements::<E::Statement>::missing(name).into());
                }
            }
            SessionCommand::Deallocate(None) => self.statements.clear(),
            SessionCommand::Declare { name, scroll, hold, text } => {
                let forward_only = *scroll == Some(false);
                self.declare(name, forward_only, *hold, text, task.parameters)?
            }
            SessionCommand::Fetch { cursor, direction, moves } => {
                return self.fetch_cursor(client, cursor, *direction, *moves, task);
            }
            SessionCommand::Close(Some(name)) => self.close_cursor(name)?,
            SessionCommand::Close(None) => self.portals.clear(),
        }
        done
    }

    /// The columns that a statement returns; those of SHOW, EXECUTE and FETCH are the session's to know.
    pub fn columns<'p>(&self, plan: &'p Plan) -> Cow<'p, [Column]> {
        match &plan.action {
            Action::Session(SessionCommand::Show(name)) => Cow::Owned(vec![self.show_column(name)]),
            Action::Session(SessionCommand::Execute { name, .. }) => match self.statements.find(name) {
                Ok(prepared) => Cow::Owned(self.engine.plan(&prepared.statement).columns.clone()),
                Err(_) => Cow::Borrowed(&[]),
            },
            Action::Session(SessionCommand::Fetch { cursor, moves: false, .. }) => match self.portals.find(cursor) {
                Ok(portal) => Cow::Owned(self.engine.plan(&portal.prepared.statement).columns.clone()),
                Err(_) => Cow::Borrowed(&[]),
            },
            _ => Cow::Borrowed(&plan.columns),
        }
    }

    fn show(&mut self, client: &mut Client<'_>, name: &str, task: &Task<'_, E::Statement>) -> Outcome<Ran<E::Cursor>> {
        let value = self.shown(name)?;
        let columns = [self.show_column(name)];
        if task.describe {
            describe(&mut client.out(), &columns, task.formats);
        }
        Rows::new(client, &columns, task.formats, &self.environment).row(&[Datum::Text(&value)])?;
        Ok(Ran::bare(Tag::Bare("SHOW"), 1))
    }

    fn show_all(
        &mut self,
        client: &mut Client<'_>,
        plan: &Plan,
        task: &Task<'_, E::Statement>,
    ) -> Outcome<Ran<E::Cursor>> {
        let all = self.settings.lock().all();
        if task.describe {
            describe(&mut client.out(), &plan.columns, task.formats);
        }
        let mut rows = Rows::new(client, &plan.columns, task.formats, &self.environment);
        for row in &all {
            rows.row(&[Datum::Text(&row.name), Datum::Text(&row.shown), Datum::Text(row.description)])?;
        }
        Ok(Ran::bare(Tag::Bare("SHOW"), all.len() as u64))
    }

    /// SHOW's column has the parameter's own name, however the statement spells it.
    fn show_column(&self, name: &str) -> Column {
        text_column(self.settings.lock().canonical_name(name).as_deref().unwrap_or(name))
    }

    /// A setting's value; those of the transaction are the engine's.
    fn shown(&self, name: &str) -> Result<String, Error> {
        let name = &*name.to_ascii_lowercase();
        let modes = self.engine.transaction_modes();
        let settings = self.settings.lock();
        let on_off = |on: bool| if on { "on" } else { "off" }.to_owned();
        let (mode, default) = match name {
            "transaction_isolation" => {
                (modes.isolation.map(|level| isolation_name(level).to_owned()), "default_transaction_isolation")
            }
            "transaction_read_only" => (modes.read_only.map(on_off), "default_transaction_read_only"),
            "transaction_deferrable" => (modes.deferrable.map(on_off), "default_transaction_deferrable"),
            _ => (None, name),
        };
        mode.map_or_else(|| settings.show(default), Ok)
    }

    fn set_characteristics(&mut self, modes: &Modes) -> Result<(), Error> {
        let mut settings = self.settings.lock();
        let mut set = |name: &str, value: &str| settings.set(name, Some(&[value.to_owned()]), false);
        if let Some(level) = modes.isolation {
            set("default_transaction_isolation", isolation_name(level))?;
        }
        if let Some(read_only) = modes.read_only {
            set("default_transaction_read_only", if read_only { "on" } else { "off" })?;
        }
        if let Some(deferrable) = modes.deferrable {
            set("default_transaction_deferrable", if deferrable { "on" } else { "off" })?;
        }
        drop(settings);
        self.follow_settings();
        Ok(())
    }

    /// SET ROLE or SET SESSION AUTHORIZATION; `None` to go back to what the session began as.
    fn become_role(&mut self, setting: &str, role: Option<&str>, local: bool) -> Result<(), Error> {
        let session = !setting.eq_ignore_ascii_case("role");
        let (default, is_oneself) = {
            let settings = self.settings.lock();
            (settings.default_role().map(str::to_owned), settings.is_oneself())
        };
        let resets = role.is_none();
        let role = role.filter(|role| session || *role != "none");
        if role.is_none() && is_oneself && (resets || default.is_none()) {
            return Ok(());
        }
        let mut superuser = self.engine.may_become(session, role)?;
        // Nobody else, where the session would otherwise be the role that it began as.
        let nobody = default.as_ref().map(|_| "none");
        if resets && let Some(default) = &default {
            // The one is by who the session is now, the other by who the client has proved to be.
            let by_client = |engine: &mut E| engine.may_become(true, Some(default));
            superuser = self.engine.may_become(false, Some(default)).or_else(|_| by_client(self.engine))?;
        }
        let mut settings = self.settings.lock();
        let present = settings.identity().0.to_owned();
        match (session, resets) {
            // Another session user is nobody else at first.
            (true, false) => settings.become_role(role, nobody, superuser, local),
            (true, true) => settings.become_role(None, None, superuser, local),
            (false, false) => settings.become_role(Some(&present), role.or(nobody), superuser, local),
            (false, true) => settings.become_role(Some(&present), None, superuser, local),
        }
        drop(settings);
        self.follow_settings();
        Ok(())
    }

    fn discard(&mut self, what: Discard) -> Result<(), Error> {
        if what == Discard::All {
            if self.in_transaction() {
                return Err(in_transaction_block("DISCARD ALL"));
            }
            self.portals.clear();
            self.statements.clear();
            self.settings.lock().reset_all();
            self.become_role("session_authorization", None, false)?;
        }
        self.engine.discard(what)
    }

    fn execute_prepared(
        &mut self,
        client: &mut Client<'_>,
        name: &str,
        arguments: &[String],
        task: &Task<'_, E::Statement>,
    ) -> Outcome<Ran<E::Cursor>> {
        let prepared = self.statements.find(name)?.clone();
        let plan = self.engine.plan(&prepared.statement);
        let (given, needed) = (arguments.len(), plan.parameters.len());
        if given != needed {
            let message = format!("wrong number of parameters for prepared statement \"{name}\"");
            let error = Error::new(Condition::SyntaxError, message);
            return Err(error.detail(format!("Expected {needed} parameters but got {given}.")).into());
        }
        let parameters = self.evaluate(client, arguments, &plan.parameters)?;
        let inner = Task {
            statement: &prepared.statement,
            parameters: &parameters,
            formats: task.formats,
            limit: 0,
            describe: task.describe,
        };
        let ran = self.run(client, &inner)?;
        Ok(Ran { returns_rows: false, ..ran })
    }

    /// The values of expressions, of the given types.
    fn evaluate(&mut self, client: &mut Client<'_>, expressions: &[String], types: &[Type]) -> Outcome<Vec<Value>> {
        if expressions.is_empty() {
            return Ok(Vec::new());
        }
        let casts: Vec<String> = expressions
            .iter()
            .zip(types)
            .map(|(expression, type_)| format!("CAST(({expression}) AS {})", type_.name()))
            .collect();
        let text = format!("SELECT {}", casts.join(", "));
        let statement = self.prepare_single(&text, &[]).map_err(without_position)?;
        let mut row = OneRow { values: Vec::new(), notices: Notices::new(client, &self.environment) };
        self.engine.execute(&statement, &[], 0, &mut row)?;
        match row.values.len() == types.len() {
            true => Ok(row.values),
            false => Err(Error::internal("arguments did not evaluate to one row").into()),
        }
    }
}

/// Keeps a result's only row.
struct OneRow<'a, 'c> {
    values: Vec<Value>,
    notices: Notices<'a, 'c>,
}

impl RowSink for OneRow<'_, '_> {
    fn row(&mut self, row: &[Datum<'_>]) -> Result<(), Error> {
        self.values = row.iter().map(|datum| datum.to_value()).collect();
        Ok(())
    }

    fn notice(&mut self, severity: &'static str, notice: Error) {
        self.notices.notice(severity, notice);
    }
}

/// The position of an error in a text that is part of a statement says nothing about the statement's own.
pub fn without_position(mut error: Error) -> Error {
    error.fields_mut().position = None;
    error
}

fn text_column(name: &str) -> Column {
    Column { name: name.to_owned(), type_: Type::Text, typmod: -1, table: 0, attribute: 0 }
}

fn isolation_name(level: Isolation) -> &'static str {
    match level {
        Isolation::ReadUncommitted => "read uncommitted",
        Isolation::ReadCommitted => "read committed",
        Isolation::RepeatableRead => "repeatable read",
        Isolation::Serializable => "serializable",
    }
}

/// The settings that say who the session is.
fn is_identity(setting: &str) -> bool {
    setting.eq_ignore_ascii_case("role") || setting.eq_ignore_ascii_case("session_authorization")
}
