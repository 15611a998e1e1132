//! Which names mean what at one place of a query: tables in FROM, their columns, and the queries around.

use crate::error::{Condition, Error};
use crate::sql::ir::Scalar;

/// A column that a name can find.
#[derive(Debug, Clone)]
pub struct Visible {
    /// Its name.
    pub name: String,
    /// What it is.
    pub scalar: Scalar,
}

/// A table of FROM under the name it goes by there.
#[derive(Debug, Clone)]
pub struct Source {
    /// Alias, or the table's own name.
    pub name: String,
    /// The schema, where the table was named without an alias.
    pub schema: Option<String>,
    /// Columns in order.
    pub columns: Vec<Visible>,
}

/// The tables that one query's expressions see.
#[derive(Debug, Default, Clone)]
pub struct Scope {
    /// Tables in order of FROM.
    pub sources: Vec<Source>,
    /// Columns that go by a bare name, in the order of `*`. JOIN USING makes one of two.
    pub columns: Vec<Visible>,
}

/// What a name came to.
#[derive(Debug)]
pub enum Found {
    /// One column.
    One(Scalar),
    /// None here; the query around may know it.
    None,
}

impl Scope {
    /// The scope of one table.
    pub fn of(source: Source) -> Self {
        Self { columns: source.columns.clone(), sources: vec![source] }
    }

    /// The column of that bare name.
    pub fn column(&self, name: &str) -> Result<Found, Error> {
        let mut found = self.columns.iter().filter(|column| column.name == name);
        let Some(first) = found.next() else { return Ok(Found::None) };
        if found.next().is_some() {
            let message = format!("column reference \"{name}\" is ambiguous");
            return Err(Error::new(Condition::AmbiguousColumn, message));
        }
        Ok(Found::One(first.scalar.clone()))
    }

    /// The table that goes by that name.
    pub fn source(&self, schema: Option<&str>, name: &str) -> Result<Option<&Source>, Error> {
        let fits = |source: &&Source| {
            source.name == name && schema.is_none_or(|schema| source.schema.as_deref() == Some(schema))
        };
        let mut found = self.sources.iter().filter(fits);
        let first = found.next();
        if found.next().is_some() {
            let message = format!("table reference \"{name}\" is ambiguous");
            return Err(Error::new(Condition::AmbiguousAlias, message));
        }
        Ok(first)
    }

    /// Adds a table; two of one name are refused.
    pub fn add(&mut self, source: Source) -> Result<(), Error> {
        let twice = self.sources.iter().any(|known| {
            known.name == source.name
                && (known.schema == source.schema || known.schema.is_none() || source.schema.is_none())
        });
        if twice {
            let message = format!("table name \"{}\" specified more than once", source.name);
            return Err(Error::new(Condition::DuplicateAlias, message));
        }
        self.sources.push(source);
        Ok(())
    }
}

impl Source {
    /// The table's column of that name.
    pub fn column(&self, name: &str) -> Option<&Visible> {
        self.columns.iter().find(|column| column.name == name)
    }
}
