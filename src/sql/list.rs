//! Long lists of plain values (of IN, VALUES and ARRAY): rows that are handed to the engine as they are, instead of
//! becoming syntax, plan and SQL one by one.

use std::rc::Rc;

use super::types::{self, Type, Value};
use crate::error::Error;
use crate::work;

/// One value of a list.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Known since the statement was planned.
    Value(Value),
    /// The client's parameter, counted from 0.
    Parameter(usize),
}

/// Rows of equal length.
#[derive(Debug, Clone, PartialEq)]
pub struct List {
    /// Values of a row.
    width: usize,
    /// Row after row.
    cells: Vec<Cell>,
    /// Modifiers of the columns, for what comes of parameters; -1 for none.
    columns: Vec<(Type, i32)>,
}

impl List {
    /// Rows as they follow each other; `columns` are the types of a row.
    pub fn new(cells: Vec<Cell>, columns: Vec<(Type, i32)>) -> Self {
        Self { width: columns.len(), cells, columns }
    }

    /// Types and modifiers of its columns.
    pub fn columns(&self) -> &[(Type, i32)] {
        &self.columns
    }

    /// Its values, row by row.
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// Rows of the list.
    pub fn rows(&self) -> usize {
        self.cells.len().checked_div(self.width).unwrap_or(0)
    }

    /// A value; NULL where there is none.
    pub fn value(&self, row: usize, column: usize) -> &Value {
        if column >= self.width {
            return &Value::Null;
        }
        match row.checked_mul(self.width).and_then(|first| self.cells.get(first + column)) {
            Some(Cell::Value(value)) => value,
            _ => &Value::Null,
        }
    }

    /// Whether a column has no NULL, as far as is known without parameters.
    pub fn never_null(&self, column: usize) -> bool {
        let mut cells = self.cells.iter().skip(column).step_by(self.width.max(1));
        cells.all(|cell| matches!(cell, Cell::Value(value) if !value.is_null()))
    }

    /// The list with its parameters' values put in.
    pub fn with_parameters(self: &Rc<Self>, parameters: &[Value]) -> Result<Rc<Self>, Error> {
        if !self.cells.iter().any(|cell| matches!(cell, Cell::Parameter(_))) {
            return Ok(Rc::clone(self));
        }
        let mut cells = Vec::with_capacity(self.cells.len());
        for (cell, (type_, typmod)) in self.cells.iter().zip(self.columns.iter().cycle()) {
            work::tick()?;
            let value = match cell {
                Cell::Value(value) => value.clone(),
                Cell::Parameter(number) => match parameters.get(*number).cloned().unwrap_or(Value::Null) {
                    Value::Null => Value::Null,
                    value if *typmod < 0 => value,
                    value => types::apply_typmod(value, *type_, *typmod, false)?,
                },
            };
            cells.push(Cell::Value(value));
        }
        Ok(Rc::new(Self { width: self.width, cells, columns: self.columns.clone() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_columns_and_parameters() {
        let cell = |value| Cell::Value(Value::Int(value));
        let cells = vec![cell(1), Cell::Parameter(0), cell(2), Cell::Value(Value::Null)];
        let list = Rc::new(List::new(cells, vec![(Type::Int4, -1), (Type::Text, -1)]));
        assert_eq!((list.rows(), list.never_null(0), list.never_null(1)), (2, true, false));
        let filled = list.with_parameters(&[Value::Text("a".into())]).unwrap();
        assert_eq!(*filled.value(0, 1), Value::Text("a".into()));
        assert_eq!(*filled.value(1, 0), Value::Int(2));
        assert_eq!(*filled.value(1, 1), Value::Null);
        assert_eq!(*filled.value(7, 1), Value::Null);
    }
}
