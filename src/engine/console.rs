//! The relay's console, which a session takes for an engine: a database whose statements are PgBouncer's SHOW and a few orders, with its column names, so that
//! what reads PgBouncer's reads this.

mod order;
mod tables;

use std::rc::Rc;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shm::Segment;

pub use self::order::Order;
use self::tables::Table;
use super::{Completion, Engine, RowSink, Split, TransactionStatus};
use crate::config::Config;
use crate::error::{Condition, Error};
use crate::sql::plan::{Action, Column, Copy, Plan, Query, Tag};
use crate::sql::types::{Type, Value};

/// What a statement of the console asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// SHOW of a table.
    Show(Table),
    /// RELOAD.
    Reload,
    /// About databases.
    Order(Order),
    /// Nothing but blanks.
    Empty,
}

/// The console of one session.
pub struct Console<'a> {
    segment: Segment,
    config: &'a Config,
    /// Carries out orders about databases.
    relay: &'a dyn Fn(&Order) -> Result<(), Error>,
    /// Who asks may give orders as well.
    is_admin: bool,
}

/// A command, and the plan that the session sees of it.
#[derive(Debug)]
pub struct Statement {
    command: Command,
    plan: Plan,
}

/// Commands of PgBouncer's that are not there.
const REFUSED: &[&str] = &["SUSPEND", "SHUTDOWN", "WAIT_CLOSE", "SET"];

impl<'a> Console<'a> {
    /// A console; `is_admin`: orders are taken.
    pub fn new(
        segment: Segment,
        config: &'a Config,
        relay: &'a dyn Fn(&Order) -> Result<(), Error>,
        is_admin: bool,
    ) -> Self {
        Self { segment, config, relay, is_admin }
    }

    fn recognise(text: &str) -> Result<Command, Error> {
        let text = text.trim().trim_end_matches(';').trim();
        // A database's name is taken as it stands, or between quotes.
        let (_, name) = text.split_once(char::is_whitespace).unwrap_or_default();
        let quoted = name.trim().strip_prefix('"').and_then(|name| name.strip_suffix('"'));
        let is_refused = REFUSED.iter().any(|command| text.to_uppercase().starts_with(command));
        if quoted.is_none() && !is_refused && name.split_whitespace().count() > 1 {
            return Err(unknown(text));
        }
        let name = quoted.map_or_else(|| name.trim().to_owned(), |name| name.replace("\"\"", "\""));
        let name = Some(name).filter(|name| !name.is_empty());
        let words: Vec<String> = text.split_whitespace().map(str::to_uppercase).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words[..] {
            [] => Ok(Command::Empty),
            ["SHOW", table] => Table::named(table).map(Command::Show).ok_or_else(|| unknown(text)),
            ["RELOAD"] => Ok(Command::Reload),
            ["PAUSE", ..] => Ok(Command::Order(Order::Pause(name))),
            ["RESUME", ..] => Ok(Command::Order(Order::Resume(name))),
            ["KILL", ..] => Ok(Command::Order(Order::Kill(name))),
            ["DISABLE", ..] => Ok(Command::Order(Order::Disable(name))),
            ["ENABLE", ..] => Ok(Command::Order(Order::Enable(name))),
            ["RECONNECT", ..] => Ok(Command::Order(Order::Reconnect(name))),
            [first, ..] if REFUSED.contains(&first) => Err(Error::unsupported(first)),
            _ => Err(unknown(text)),
        }
    }

    /// Carries out an order.
    fn order(&self, command: &Command) -> Result<(), Error> {
        if !self.is_admin {
            return Err(Error::new(Condition::InsufficientPrivilege, "admin access needed"));
        }
        match command {
            Command::Reload => kill(Pid::parent(), Signal::SIGHUP).map_err(|errno| {
                Error::new(Condition::SystemError, format!("could not signal the postmaster: {errno}"))
            }),
            Command::Order(order) => (self.relay)(order),
            Command::Show(_) | Command::Empty => Ok(()),
        }
    }
}

fn unknown(text: &str) -> Error {
    // As PgBouncer says it.
    Error::new(Condition::SyntaxError, format!("invalid command '{text}', use SHOW HELP;"))
}

fn no_cursor() -> Error {
    Error::unsupported("a cursor in the console")
}

impl Engine for Console<'_> {
    type Raw = Command;
    type Statement = Rc<Statement>;
    type Cursor = std::convert::Infallible;

    fn split(&mut self, text: &str) -> Result<Split<Command>, Error> {
        Ok(vec![(0..text.len(), Self::recognise(text)?)])
    }

    fn prepare(&mut self, _text: &str, command: Command, _types: &[u32]) -> Result<Rc<Statement>, Error> {
        let (tag, columns) = match &command {
            Command::Show(table) => ("SHOW", table.columns()),
            Command::Reload => ("RELOAD", &[][..]),
            Command::Order(order) => (order.tag(), &[][..]),
            Command::Empty => ("", &[][..]),
        };
        let column = |(name, type_): &(&str, Type)| Column {
            name: (*name).to_owned(),
            type_: *type_,
            typmod: -1,
            table: 0,
            attribute: 0,
        };
        let action = if command == Command::Empty { Action::Empty } else { Action::Query(Query::default()) };
        let plan = Plan {
            tag: Tag::Bare(tag),
            parameters: Vec::new(),
            columns: columns.iter().map(column).collect(),
            action,
            allowed_when_failed: false,
        };
        Ok(Rc::new(Statement { command, plan }))
    }

    fn plan<'p>(&self, statement: &'p Rc<Statement>) -> &'p Plan {
        &statement.plan
    }

    fn execute(
        &mut self,
        statement: &Rc<Statement>,
        _parameters: &[Value],
        _limit: u64,
        sink: &mut dyn RowSink,
    ) -> Result<(Completion, Option<Self::Cursor>), Error> {
        let mut rows = 0;
        match &statement.command {
            Command::Show(Table::Help) => sink.notice("NOTICE", tables::help()),
            Command::Show(table) => {
                for row in table.rows(self.segment, self.config) {
                    let data: Vec<_> = row.iter().map(Value::as_datum).collect();
                    sink.row(&data)?;
                    rows += 1;
                }
            }
            command => self.order(command)?,
        }
        Ok((Completion { rows, complete: true, skipped: false }, None))
    }

    fn fetch(&mut self, cursor: &mut Self::Cursor, _: u64, _: &mut dyn RowSink) -> Result<Completion, Error> {
        match *cursor {}
    }

    fn materialise(&mut self, _: &Rc<Statement>, _: &[Value]) -> Result<Self::Cursor, Error> {
        Err(no_cursor())
    }

    fn read_at(&mut self, cursor: &mut Self::Cursor, _: u64, _: u64, _: &mut dyn RowSink) -> Result<u64, Error> {
        match *cursor {}
    }

    fn row_count(&mut self, cursor: &mut Self::Cursor) -> u64 {
        match *cursor {}
    }

    fn copy_in_start(&mut self, _: &Copy) -> Result<(), Error> {
        Err(Error::unsupported("COPY in the console"))
    }

    fn copy_in_row(&mut self, _: &Copy, _: &[Value]) -> Result<(), Error> {
        Err(Error::unsupported("COPY in the console"))
    }

    fn copy_in_end(&mut self, _: &Copy, _: bool) -> Result<u64, Error> {
        Err(Error::unsupported("COPY in the console"))
    }

    fn transaction_status(&self) -> TransactionStatus {
        TransactionStatus::Idle
    }

    fn begin_implicit(&mut self) {}

    fn end_implicit(&mut self, _: bool) -> Result<(), Error> {
        Ok(())
    }

    fn statement_failed(&mut self) {}

    fn settle(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn reset(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_recognised_and_others_are_refused_by_name() {
        let recognised = |text| Console::recognise(text);
        assert_eq!(recognised("show pools;").unwrap(), Command::Show(Table::Pools));
        assert_eq!(recognised("  SHOW  Stats_Totals ; ").unwrap(), Command::Show(Table::StatsTotals));
        assert_eq!(recognised("").unwrap(), Command::Empty);
        assert_eq!(recognised("reload").unwrap(), Command::Reload);
        let order = |text| match recognised(text).unwrap() {
            Command::Order(order) => order,
            other => panic!("{other:?}"),
        };
        assert_eq!(order("pause Shop;"), Order::Pause(Some("Shop".to_owned())));
        assert_eq!(order("RESUME"), Order::Resume(None));
        assert_eq!(order("kill \"the shop\""), Order::Kill(Some("the shop".to_owned())));
        assert_eq!(recognised("suspend").unwrap_err().condition(), Condition::FeatureNotSupported);
        let error = recognised("select 1").unwrap_err();
        assert_eq!(error.fields().message, "invalid command 'select 1', use SHOW HELP;");
    }
}
