//! One virtual-table module for all system views: a table's rows are made when a scan begins.
//!
//! Owns the two traits that SQLite's interface makes unsafe to implement. Which views there are and what their
//! rows say is `views`' business; it is asked by name, on the thread of the connection.

use std::borrow::Cow;
use std::ffi::{CStr, CString, c_int};
use std::marker::PhantomData;

use rusqlite::types::Null;
use rusqlite::vtab::{
    Context, Filters, IndexInfo, Module, VTab, VTabConfig, VTabConnection, VTabCursor, sqlite3_vtab,
    sqlite3_vtab_cursor,
};
use rusqlite::{Connection, Error, Result};

use crate::engine::sqlite::{functions, views};
use crate::sql::types::Value;

/// Makes a view known to a connection under its storage name.
pub fn register(connection: &Connection, storage: &str) -> Result<()> {
    const MODULE: Module<'static, ViewTable> = Module::eponymous_only_module();
    connection.create_module(storage, &MODULE, None)
}

/// A view that a statement reads. SQLite needs the base first.
#[repr(C)]
struct ViewTable {
    base: sqlite3_vtab,
    view: usize,
}

// SAFETY: the struct is repr(C) and its first field is SQLite's base, as the trait asks.
unsafe impl<'vtab> VTab<'vtab> for ViewTable {
    type Aux = ();
    type Cursor = ViewCursor<'vtab>;

    fn connect(
        connection: &mut VTabConnection,
        _aux: Option<&()>,
        module_name: &[u8],
        _database_name: &[u8],
        _table_name: &[u8],
        _args: &[&[u8]],
    ) -> Result<(Cow<'static, CStr>, Self)> {
        let missing = || Error::ModuleError("unknown view".to_owned());
        let name = std::str::from_utf8(module_name).map_err(|_| missing())?;
        let view = views::index_of_storage(name).ok_or_else(missing)?;
        connection.config(VTabConfig::Innocuous)?;
        let schema = CString::new(views::declaration(view)).map_err(|_| missing())?;
        Ok((Cow::Owned(schema), Self { base: sqlite3_vtab::default(), view }))
    }

    fn best_index(&self, info: &mut IndexInfo) -> Result<bool> {
        info.set_estimated_cost(1000.0);
        info.set_estimated_rows(100);
        Ok(true)
    }

    fn open(&'vtab mut self) -> Result<ViewCursor<'vtab>> {
        Ok(ViewCursor {
            base: sqlite3_vtab_cursor::default(),
            view: self.view,
            rows: Vec::new(),
            at: 0,
            table: PhantomData,
        })
    }
}

/// A scan over a view's rows.
#[repr(C)]
struct ViewCursor<'vtab> {
    base: sqlite3_vtab_cursor,
    view: usize,
    rows: Vec<Vec<Value>>,
    at: usize,
    table: PhantomData<&'vtab ViewTable>,
}

// SAFETY: the struct is repr(C) and its first field is SQLite's base, as the trait asks.
unsafe impl VTabCursor for ViewCursor<'_> {
    fn filter(&mut self, _index: c_int, _name: Option<&str>, _arguments: &Filters<'_>) -> Result<()> {
        self.rows = views::rows(self.view).map_err(functions::stop)?;
        self.at = 0;
        Ok(())
    }

    fn next(&mut self) -> Result<()> {
        self.at += 1;
        Ok(())
    }

    fn eof(&self) -> bool {
        self.at >= self.rows.len()
    }

    fn column(&self, context: &mut Context, column: c_int) -> Result<()> {
        let value = usize::try_from(column).ok().and_then(|column| self.rows.get(self.at)?.get(column));
        match value {
            None | Some(Value::Null) => context.set_result(Null),
            Some(Value::Int(value)) => context.set_result(*value),
            Some(Value::Float(value)) => context.set_result(*value),
            Some(Value::Text(value)) => context.set_result(value.as_str()),
            Some(Value::Bytes(value)) => context.set_result(value.as_slice()),
        }
    }

    fn rowid(&self) -> Result<i64> {
        Ok(self.at as i64)
    }
}
