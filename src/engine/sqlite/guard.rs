//! The second line behind the binder's privileges: while a client's statement is prepared, SQLite asks here about every
//! table that it would touch.
//!
//! A plan says which relations it needs which privileges on, and the rights are checked by that. Whatever else its SQL
//! would read or change is refused, whoever runs it: a mistake in binding or emitting cannot reach a table that nobody
//! asked about, the catalog's own among them.

use std::cell::RefCell;
use std::rc::Rc;

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

use crate::sql::acl::Privileges;
use crate::sql::plan::Permissions;

thread_local! {
    static EXPECTED: RefCell<Option<Rc<Permissions>>> = const { RefCell::new(None) };
}

/// While it lives, statements may touch what their plan names, and nothing else.
pub(super) struct Guard(());

impl Guard {
    /// A statement with these permissions is going to be prepared.
    pub(super) fn expect(permissions: &Rc<Permissions>) -> Self {
        EXPECTED.set(Some(Rc::clone(permissions)));
        Self(())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        EXPECTED.set(None);
    }
}

/// SQLite's question, for every connection.
pub(super) fn decide(context: AuthContext<'_>) -> Authorization {
    EXPECTED.with_borrow(|expected| match expected {
        Some(permissions) if !allows(permissions, &context) => Authorization::Deny,
        _ => Authorization::Allow,
    })
}

fn allows(permissions: &Permissions, context: &AuthContext<'_>) -> bool {
    // Triggers keep foreign keys; they are the table owner's.
    if context.accessor.is_some() {
        return true;
    }
    let named = |table: &str, wanted: Privileges| {
        permissions.relations.iter().any(|needed| needed.storage == table && !needed.wanted.and(wanted).is_empty())
    };
    let write = Privileges::UPDATE.or(Privileges::INSERT);
    match context.action {
        AuthAction::Select | AuthAction::Recursive | AuthAction::Function { .. } => true,
        // What changes rows reads them to find them.
        AuthAction::Read { table_name, column_name } => {
            // SQLite says so of a WITH query of ours of which no column is read. No table's name is without a `_`.
            let is_with_query = column_name.is_empty() && !table_name.contains('_');
            is_with_query
                || named(table_name, Privileges::SELECT.or(write).or(Privileges::DELETE))
                || table_name == "json_each"
                || permissions.virtual_tables.iter().any(|known| known == table_name)
        }
        AuthAction::Insert { table_name } => named(table_name, Privileges::INSERT),
        AuthAction::Update { table_name, .. } => named(table_name, Privileges::UPDATE),
        AuthAction::Delete { table_name } => named(table_name, Privileges::DELETE),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::plan::Permission;
    use rusqlite::Connection;

    fn permissions(storage: &str, wanted: Privileges) -> Rc<Permissions> {
        let needed = Permission { storage: storage.into(), wanted, ..Permission::default() };
        Rc::new(Permissions::new(vec![needed], Vec::new()))
    }

    #[test]
    fn what_a_plan_does_not_name_cannot_be_touched() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch("CREATE TABLE t_1(a); CREATE TABLE secret_2(a); CREATE TABLE pgp_relation(a)")
            .unwrap();
        connection.authorizer(Some(decide)).unwrap();
        let may = |sql: &str, wanted: Privileges| {
            let _guard = Guard::expect(&permissions("t_1", wanted));
            connection.prepare(sql).is_ok()
        };
        for allowed in [
            "SELECT a FROM t_1",
            "SELECT count(*) FROM t_1",
            "SELECT 1",
            "WITH RECURSIVE g(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM g WHERE v < 3) SELECT count(*) FROM g",
            "WITH c AS (SELECT a FROM t_1) SELECT * FROM c",
        ] {
            assert!(may(allowed, Privileges::SELECT), "{allowed}");
        }
        for refused in [
            "SELECT a FROM secret_2",
            "SELECT (SELECT a FROM secret_2) FROM t_1",
            "SELECT * FROM pgp_relation",
            "SELECT * FROM sqlite_schema",
            "INSERT INTO t_1 SELECT a FROM t_1",
            "DELETE FROM t_1",
            "UPDATE t_1 SET a = 1",
            "DROP TABLE t_1",
            "ATTACH '/tmp/x' AS x",
            "PRAGMA journal_mode = off",
        ] {
            assert!(!may(refused, Privileges::SELECT), "{refused}");
        }
        assert!(may("INSERT INTO t_1 VALUES (1)", Privileges::INSERT));
        assert!(may("UPDATE t_1 SET a = a + 1 WHERE a > 1", Privileges::UPDATE));
        assert!(may("DELETE FROM t_1 WHERE a > 1", Privileges::DELETE));
        assert!(!may("DELETE FROM t_1 WHERE a IN (SELECT a FROM secret_2)", Privileges::DELETE));
        // Without a plan the server itself asks.
        assert!(connection.prepare("SELECT * FROM secret_2").is_ok());
    }
}
