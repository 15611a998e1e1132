//! Prepared statements of a session, by name: those of Parse and those of PREPARE share one namespace.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::error::{Condition, Error};

/// A statement that was analysed, with what is kept for describing it quickly.
#[derive(Debug)]
pub struct Prepared<S> {
    /// The engine's statement.
    pub statement: S,
    /// Its name; None for one that has none.
    pub name: Option<Rc<str>>,
    /// Its text, shown while it runs.
    pub text: Box<str>,
    /// RowDescription with every column as text, once someone asked.
    pub description: OnceCell<Box<[u8]>>,
}

impl<S> Prepared<S> {
    /// A statement and its text. It is given its name by [`Statements::insert`].
    pub fn new(statement: S, text: &str) -> Self {
        Self { statement, name: None, text: text.into(), description: OnceCell::new() }
    }
}

/// The prepared statements of a session.
#[derive(Debug)]
pub struct Statements<S> {
    unnamed: Option<Rc<Prepared<S>>>,
    named: HashMap<Rc<str>, Rc<Prepared<S>>>,
}

impl<S> Default for Statements<S> {
    fn default() -> Self {
        Self { unnamed: None, named: HashMap::new() }
    }
}

impl<S> Statements<S> {
    /// The statement of that name; empty for the unnamed one. 26000 when there is none.
    pub fn find(&self, name: &str) -> Result<&Rc<Prepared<S>>, Error> {
        let found = if name.is_empty() { self.unnamed.as_ref() } else { self.named.get(name) };
        found.ok_or_else(|| Self::missing(name))
    }

    /// 42P05 when a statement of that name exists; the unnamed one may always be replaced.
    pub fn check_free(&self, name: &str) -> Result<(), Error> {
        if !name.is_empty() && self.named.contains_key(name) {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(Error::new(Condition::DuplicatePreparedStatement, message));
        }
        Ok(())
    }

    /// Keeps a statement under a name that is free.
    pub fn insert(&mut self, name: &str, mut prepared: Prepared<S>) {
        if name.is_empty() {
            self.unnamed = Some(Rc::new(prepared));
        } else {
            let name = Rc::<str>::from(name);
            prepared.name = Some(Rc::clone(&name));
            self.named.insert(name, Rc::new(prepared));
        }
    }

    /// Forgets a statement; whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        if name.is_empty() { self.unnamed.take().is_some() } else { self.named.remove(name).is_some() }
    }

    /// Forgets the unnamed statement: a simple Query does.
    pub fn drop_unnamed(&mut self) {
        self.unnamed = None;
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.unnamed = None;
        self.named.clear();
    }

    /// 26000.
    pub fn missing(name: &str) -> Error {
        let message = match name {
            "" => "unnamed prepared statement does not exist".to_owned(),
            _ => format!("prepared statement \"{name}\" does not exist"),
        };
        Error::new(Condition::InvalidSqlStatementName, message)
    }
}
