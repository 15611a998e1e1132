//! The extended cycle: Parse, Bind, Describe, Execute, Close, up to Sync.
//!
//! Protocol: "Message Flow", "Extended Query". After an error everything up to Sync is skipped; that is the
//! session loop's part.

use std::rc::Rc;

use super::client::{Client, Outcome};
use super::core::Core;
use super::duration::Names;
use super::portal::{Portal, Portals, Progress};
use super::rows::{Formats, Rows, describe};
use super::run::{Complete, Ran, Task};
use super::statement::Prepared;
use crate::engine::Engine;
use crate::error::{Condition, Error};
use crate::protocol::{Bind, Encoder, Format, Parse, Target};
use crate::settings::TextContext;
use crate::sql::plan::{Action, Tag};
use crate::sql::types::{self, Type, Value};
use crate::work;

impl<E: Engine> Core<'_, E> {
    /// Parse.
    pub fn parse(&mut self, parse: &Parse<'_>, out: &mut Encoder<'_>) -> Result<(), Error> {
        let started = self.durations.start();
        self.show_active(parse.query);
        self.start_clock();
        self.statements.check_free(parse.name)?;
        if parse.name.is_empty() {
            // Gone even when the new one is refused.
            self.statements.drop_unnamed();
        }
        let types: Vec<u32> = parse.types.iter().collect();
        let statement = self.prepare_single(parse.query, &types)?;
        self.statements.insert(parse.name, Prepared::new(statement, parse.query));
        out.parse_complete();
        self.durations.done(started, format_args!("parse {}: {}", Names(parse.name, ""), parse.query));
        Ok(())
    }

    /// Analyses a text that has to be one statement.
    pub fn prepare_single(&mut self, text: &str, types: &[u32]) -> Result<E::Statement, Error> {
        let mut statements = self.engine.split(text)?;
        if statements.len() > 1 {
            let message = "cannot insert multiple commands into a prepared statement";
            return Err(Error::new(Condition::SyntaxError, message));
        }
        let Some((range, raw)) = statements.pop() else { return Err(Error::internal("a text without statements")) };
        let start = range.start;
        self.prepare(text.get(range).unwrap_or_default(), raw, types).map_err(|mut error| {
            let before = text.get(..start).map_or(0, |before| before.chars().count());
            let fields = error.fields_mut();
            fields.position = fields.position.map(|position| position + before);
            error
        })
    }

    /// Bind.
    pub fn bind(&mut self, bind: &Bind<'_>, out: &mut Encoder<'_>) -> Result<(), Error> {
        let started = self.durations.start();
        let prepared = Rc::clone(self.statements.find(bind.statement)?);
        self.start_clock();
        let plan = self.engine.plan(&prepared.statement);
        let (given, needed) = (bind.parameters.len(), plan.parameters.len());
        if given != needed {
            let statement = bind.statement;
            return Err(Error::new(
                Condition::ProtocolViolation,
                format!(
                    "bind message supplies {given} parameters, but prepared statement \"{statement}\" requires {needed}"
                ),
            ));
        }
        self.check_allowed(plan)?;
        if bind.portal.is_empty() {
            self.portals.drop_unnamed();
        }
        self.portals.check_free(bind.portal)?;
        let size: usize = bind.parameters.iter().map(|value| value.map_or(0, <[u8]>::len)).sum();
        work::reserve(size)?;
        let mut parameters = self.portals.spare_parameters();
        for (index, (value, type_)) in bind.parameters.iter().zip(&plan.parameters).enumerate() {
            parameters.push(match value {
                None => Value::Null,
                Some(bytes) => self.parameter(index, *type_, bind.parameter_formats.format(index), bytes)?,
            });
        }
        let columns = self.columns(plan).len();
        if !bind.result_formats.fits(columns) {
            let formats = bind.result_formats.len();
            return Err(Error::new(
                Condition::ProtocolViolation,
                format!("bind message has {formats} result formats but query has {columns} columns"),
            ));
        }
        let formats = Formats::of(&bind.result_formats, columns);
        let depth = Some(self.depth());
        let names = Names::of(&prepared, bind.portal);
        self.durations.done(started, format_args!("bind {names}: {}", prepared.text));
        let portal = Portal { prepared, parameters, formats, progress: Progress::Ready, hold: false, depth };
        self.portals.insert(bind.portal, portal);
        out.bind_complete();
        Ok(())
    }

    fn parameter(&self, index: usize, type_: Type, format: Format, bytes: &[u8]) -> Result<Value, Error> {
        let read = match format {
            Format::Text => {
                crate::protocol::utf8(bytes).map_err(Error::from).and_then(|text| self.text_parameter(type_, text))
            }
            Format::Binary => types::receive(type_, bytes),
        };
        read.map_err(|mut error| {
            if error.condition() == Condition::InvalidBinaryRepresentation {
                error.fields_mut().message = format!("incorrect binary data format in bind parameter {}", index + 1);
            }
            error
        })
    }

    fn text_parameter(&self, type_: Type, text: &str) -> Result<Value, Error> {
        let context = &self.environment.text_context;
        match type_ {
            Type::Date | Type::Time | Type::Timestamp | Type::Timestamptz => {
                let context = TextContext { now_us: self.engine.transaction_timestamp(), ..context.clone() };
                types::input(type_, -1, text, &context)
            }
            _ => types::input(type_, -1, text, context),
        }
    }

    /// Describe.
    pub fn describe(&mut self, target: Target<'_>, out: &mut Encoder<'_>) -> Result<(), Error> {
        match target {
            Target::Statement(name) => {
                let prepared = Rc::clone(self.statements.find(name)?);
                let plan = self.engine.plan(&prepared.statement);
                self.check_describable(&prepared)?;
                out.parameter_description(plan.parameters.iter().map(|type_| type_.oid()));
                self.describe_columns(&prepared, &Formats::TEXT, out);
            }
            Target::Portal(name) => {
                let portal = self.portals.find(name)?;
                let (prepared, formats) = (Rc::clone(&portal.prepared), portal.formats.clone());
                self.check_describable(&prepared)?;
                self.describe_columns(&prepared, &formats, out);
            }
        }
        Ok(())
    }

    fn check_describable(&self, prepared: &Prepared<E::Statement>) -> Result<(), Error> {
        let plan = self.engine.plan(&prepared.statement);
        if self.columns(plan).is_empty() { Ok(()) } else { self.check_allowed(plan) }
    }

    fn describe_columns(&self, prepared: &Prepared<E::Statement>, formats: &Formats, out: &mut Encoder<'_>) {
        let plan = self.engine.plan(&prepared.statement);
        if matches!(plan.action, Action::Session(_)) || *formats != Formats::TEXT {
            let columns = self.columns(plan);
            match columns.is_empty() {
                true => out.no_data(),
                false => describe(out, &columns, formats),
            }
            return;
        }
        let description = prepared.description.get_or_init(|| {
            let mut bytes = Vec::new();
            let mut encoder = Encoder::new(&mut bytes);
            match plan.columns.is_empty() {
                true => encoder.no_data(),
                false => describe(&mut encoder, &plan.columns, formats),
            }
            bytes.into()
        });
        out.buffer().extend_from_slice(description);
    }

    /// Execute. `last` says that Sync follows at once: a statement outside of a block then is a transaction of
    /// its own, and the engine need not be told of one.
    pub fn execute(&mut self, client: &mut Client<'_>, name: &str, max_rows: i32, last: bool) -> Outcome<()> {
        let started = self.durations.start();
        let Some(mut portal) = self.portals.take(name) else { return Err(Portals::<E>::missing_portal(name).into()) };
        let prepared = Rc::clone(&portal.prepared);
        self.show_active(&prepared.text);
        let plan = self.engine.plan(&prepared.statement);
        self.check_allowed(plan)?;
        self.start_clock();
        if self.is_implicit()
            && let Some(name) = plan.action.refused_in_transaction()
        {
            let message = format!("{name} cannot be executed within a pipeline");
            return Err(Error::new(Condition::ActiveSqlTransaction, message).into());
        }
        // A statement that stands alone commits by itself.
        if !last && plan.action.refused_in_transaction().is_none() {
            self.begin_implicit();
        }
        // A negative limit is none, as in PostgreSQL.
        let limit = u64::try_from(max_rows).unwrap_or(0);
        let is_begun = matches!(portal.progress, Progress::Suspended(_) | Progress::Exhausted);
        let ran = self.run_portal(client, name, &mut portal, limit)?;
        match &plan.action {
            Action::Empty => client.out().empty_query_response(),
            // PostgreSQL knows of a result's end only when it was asked for more rows than there are.
            _ if ran.returns_rows && limit > 0 && ran.rows >= limit => client.out().portal_suspended(),
            _ => client.out().command_complete(Complete(&ran.tag, ran.rows)),
        }
        portal.progress = match (portal.progress, ran.cursor) {
            (Progress::Scroll(scroll), _) => Progress::Scroll(scroll),
            (_, Some(cursor)) => Progress::Suspended(cursor),
            _ if ran.returns_rows => Progress::Exhausted,
            _ => Progress::Done,
        };
        self.stop_clock();
        if !matches!(plan.action, Action::Empty) {
            let what = if is_begun { "execute fetch from" } else { "execute" };
            self.durations.gathered(started, format_args!("{what} {}: {}", Names::of(&prepared, name), prepared.text));
        }
        if matches!(plan.action, Action::Transaction(_)) {
            // Portals have gone with their transaction, this one too.
            return Ok(());
        }
        self.portals.insert(name, portal);
        Ok(())
    }

    fn run_portal(
        &mut self,
        client: &mut Client<'_>,
        name: &str,
        portal: &mut Portal<E>,
        limit: u64,
    ) -> Outcome<Ran<E::Cursor>> {
        let statement = &portal.prepared.statement;
        match std::mem::replace(&mut portal.progress, Progress::Done) {
            Progress::Ready => {
                let (parameters, formats) = (&portal.parameters[..], &portal.formats);
                self.run(client, &Task { statement, parameters, formats, limit, describe: false })
            }
            Progress::Suspended(mut cursor) => {
                let plan = self.engine.plan(statement);
                let mut rows = Rows::new(client, &plan.columns, &portal.formats, &self.environment);
                let fetched = self.engine.fetch(&mut cursor, limit, &mut rows);
                let completion = client.unless_lost(fetched)?;
                let cursor = (!completion.complete).then_some(cursor);
                Ok(Ran { tag: plan.tag.clone(), rows: completion.rows, cursor, returns_rows: true })
            }
            Progress::Exhausted => Ok(Ran { tag: Tag::Select, rows: 0, cursor: None, returns_rows: true }),
            Progress::Done => {
                let message = format!("portal \"{name}\" cannot be run");
                Err(Error::new(Condition::ObjectNotInPrerequisiteState, message).into())
            }
            Progress::Scroll(mut scroll) => {
                let (prepared, formats) = (Rc::clone(&portal.prepared), &portal.formats);
                let ran = self.execute_cursor(client, &prepared, &mut scroll, formats, limit);
                portal.progress = Progress::Scroll(scroll);
                ran
            }
        }
    }

    /// Close. Closing what does not exist is no error.
    pub fn close(&mut self, target: Target<'_>, out: &mut Encoder<'_>) {
        match target {
            Target::Statement(name) => self.statements.remove(name),
            Target::Portal(name) => self.portals.remove(name),
        };
        out.close_complete();
    }
}
