//! One question with parameters over a connection on which no session ever runs.

use std::fmt;
use std::io;
use std::time::Instant;

use super::lend::Lent;
use super::login::condition_of;
use super::statements::StatementId;
use crate::error::Error;
use crate::protocol::client::{Backend, ClientEncoder, field};
use crate::protocol::{Format, Frame};

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// If the connection shall keep the statement prepared: its name, and how a connection is known to have it.
    pub kept: Option<(&'a str, StatementId)>,
    /// One statement.
    pub text: &'a str,
    /// Its parameters, as text.
    pub values: &'a [&'a str],
}

/// Why there is no answer. The connection is of no use any more.
#[derive(Debug)]
pub enum Failure {
    /// The server says so.
    Refused(Error),
    /// A row was not taken.
    Row(Error),
    /// The connection is gone, or time is up.
    Lost(String),
    /// The server's answer is none to this question.
    NotUnderstood,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) | Self::Row(error) => error.fmt(f),
            Self::Lost(why) => f.write_str(why),
            Self::NotUnderstood => f.write_str("the answer is not understood"),
        }
    }
}

/// Takes a row, or says why not.
pub type TakeRow<'a> = dyn FnMut(&[Option<&str>]) -> Result<(), Error> + 'a;

/// Asks, and hands each row to `row`, as text.
pub fn ask(
    lent: &mut Lent,
    question: Question<'_>,
    deadline: Instant,
    interrupted: &mut dyn FnMut() -> bool,
    row: &mut TakeRow<'_>,
) -> Result<(), Failure> {
    let upstream = &mut lent.upstream;
    let is_known = question.kept.is_some_and(|(_, id)| upstream.memory.statements.contains(&id));
    let name = question.kept.map_or("", |(name, _)| name);
    let mut out = ClientEncoder::new(&mut upstream.output);
    if !is_known {
        out.parse(name, question.text, &[]);
    }
    let values: Vec<_> = question.values.iter().map(|value| Some(value.as_bytes())).collect();
    out.bind("", name, Format::Text, &values, Format::Text);
    out.execute("", 0);
    out.sync();
    let lost = |error: &dyn fmt::Display| Failure::Lost(error.to_string());
    loop {
        upstream.send_some().map_err(|error| lost(&error))?;
        let Some((kind, body)) = upstream.take_message().map_err(|_| Failure::NotUnderstood)? else {
            if interrupted() || Instant::now() >= deadline {
                return Err(lost(&"it gave no answer"));
            }
            match upstream.receive() {
                Ok(0) => return Err(lost(&"the connection was closed")),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
                Err(error) => return Err(lost(&error)),
            }
            continue;
        };
        match Backend::decode(Frame { kind, body: &body }).map_err(|_| Failure::NotUnderstood)? {
            Backend::DataRow(values) => {
                let texts = values.iter().map(|value| value.map(std::str::from_utf8).transpose());
                let texts = texts.collect::<Result<Vec<_>, _>>().map_err(|_| Failure::NotUnderstood)?;
                row(&texts).map_err(Failure::Row)?;
            }
            Backend::ErrorResponse(fields) => {
                let field = |letter| field(&fields, letter).unwrap_or_default();
                return Err(Failure::Refused(Error::new(condition_of(field(b'C')), field(b'M').to_owned())));
            }
            Backend::ReadyForQuery(b'I') => break,
            Backend::ReadyForQuery(_) => return Err(Failure::NotUnderstood),
            Backend::ParameterStatus(name, value) => upstream.memory.parameters.set(name, value),
            _ => {}
        }
    }
    if let Some((_, id)) = question.kept.filter(|_| !is_known) {
        upstream.memory.statements.push(id);
    }
    Ok(())
}
