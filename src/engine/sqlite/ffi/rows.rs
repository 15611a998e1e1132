//! The table functions that yield a list's rows: one a width, named `pgp_rows_<width>`, with columns c1, c2, … and the
//! list's number as the argument.
//!
//! Owns the two traits that SQLite's interface makes unsafe to implement; the lists are in `lists`.

use std::borrow::Cow;
use std::ffi::{CStr, CString, c_int};
use std::marker::PhantomData;
use std::rc::Rc;

use rusqlite::types::Null;
use rusqlite::vtab::{
    Context, Filters, IndexConstraintOp, IndexInfo, Module, VTab, VTabConfig, VTabConnection, VTabCursor, sqlite3_vtab,
    sqlite3_vtab_cursor,
};
use rusqlite::{Connection, Error, Result};

use crate::engine::sqlite::lists;
use crate::sql::list::List;
use crate::sql::types::Value;

/// Makes the table function of that name known to a connection.
pub fn register(connection: &Connection, storage: &str) -> Result<()> {
    const MODULE: Module<'static, RowsTable> = Module::eponymous_only_module();
    connection.create_module(storage, &MODULE, None)
}

/// A list that a statement reads. SQLite needs the base first.
#[repr(C)]
struct RowsTable {
    base: sqlite3_vtab,
    width: c_int,
}

// SAFETY: the struct is repr(C) and its first field is SQLite's base, as the trait asks.
unsafe impl<'vtab> VTab<'vtab> for RowsTable {
    type Aux = ();
    type Cursor = RowsCursor<'vtab>;

    fn connect(
        connection: &mut VTabConnection,
        _aux: Option<&()>,
        module_name: &[u8],
        _database_name: &[u8],
        _table_name: &[u8],
        _args: &[&[u8]],
    ) -> Result<(Cow<'static, CStr>, Self)> {
        let unknown = || Error::ModuleError("unknown table function".to_owned());
        let name = std::str::from_utf8(module_name).map_err(|_| unknown())?;
        let width = lists::width_of(name).ok_or_else(unknown)?;
        connection.config(VTabConfig::Innocuous)?;
        let columns: String = (1..=width).map(|at| format!("c{at}, ")).collect();
        let schema = CString::new(format!("CREATE TABLE x({columns}list HIDDEN)")).map_err(|_| unknown())?;
        let width = c_int::try_from(width).map_err(|_| unknown())?;
        Ok((Cow::Owned(schema), Self { base: sqlite3_vtab::default(), width }))
    }

    fn best_index(&self, info: &mut IndexInfo) -> Result<bool> {
        let mut found = false;
        for (constraint, mut usage) in info.constraints_and_usages() {
            if constraint.column() == self.width
                && constraint.operator() == IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ
            {
                if !constraint.is_usable() {
                    return Ok(false);
                }
                usage.set_argv_index(1);
                usage.set_omit(true);
                found = true;
            }
        }
        info.set_estimated_cost(1000.0);
        info.set_estimated_rows(1000);
        Ok(found)
    }

    fn open(&'vtab mut self) -> Result<RowsCursor<'vtab>> {
        Ok(RowsCursor { base: sqlite3_vtab_cursor::default(), list: None, at: 0, table: PhantomData })
    }
}

/// A scan over a list's rows.
#[repr(C)]
struct RowsCursor<'vtab> {
    base: sqlite3_vtab_cursor,
    list: Option<Rc<List>>,
    at: usize,
    table: PhantomData<&'vtab RowsTable>,
}

// SAFETY: the struct is repr(C) and its first field is SQLite's base, as the trait asks.
unsafe impl VTabCursor for RowsCursor<'_> {
    fn filter(&mut self, _index: c_int, _name: Option<&str>, arguments: &Filters<'_>) -> Result<()> {
        self.list = arguments.get::<Option<i64>>(0)?.and_then(lists::find);
        self.at = 0;
        Ok(())
    }

    fn next(&mut self) -> Result<()> {
        self.at += 1;
        Ok(())
    }

    fn eof(&self) -> bool {
        self.list.as_ref().is_none_or(|list| self.at >= list.rows())
    }

    fn column(&self, context: &mut Context, column: c_int) -> Result<()> {
        let (Some(list), Ok(column)) = (&self.list, usize::try_from(column)) else { return context.set_result(Null) };
        match list.value(self.at, column) {
            Value::Null => context.set_result(Null),
            Value::Int(value) => context.set_result(*value),
            Value::Float(value) => context.set_result(*value),
            Value::Text(value) => context.set_result(value.as_str()),
            Value::Bytes(value) => context.set_result(value.as_slice()),
        }
    }

    fn rowid(&self) -> Result<i64> {
        Ok(self.at as i64)
    }
}
