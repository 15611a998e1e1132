//! SQLite's side of a relation: its table, its indexes, and their rebuilding.

use std::rc::Rc;

use super::{Definer, violation};
use crate::error::{Condition, Error};
use crate::sql::catalog::{ConstraintKind, Index, Relation, RelationKind};
pub(super) use crate::sql::define::partition::quoted;
use crate::sql::types::Type;

/// The SQLite name of a new relation: readable, and unique by the OID whatever the case of its letters.
pub(super) fn storage_name(name: &str, oid: u32) -> String {
    format!("{name}_{oid}")
}

/// The column that becomes SQLite's rowid: a primary key of one integer column.
pub(super) fn rowid_column(relation: &Relation) -> Option<usize> {
    if matches!(relation.kind, RelationKind::Partition { .. }) {
        return None;
    }
    relation.constraints.iter().find_map(|constraint| match &constraint.kind {
        ConstraintKind::PrimaryKey { columns } => match columns.as_slice() {
            [column] => relation.columns.get(*column).filter(|column| is_integer(column.type_)).map(|_| *column),
            _ => None,
        },
        _ => None,
    })
}

fn is_integer(type_: Type) -> bool {
    matches!(type_, Type::Int2 | Type::Int4 | Type::Int8)
}

/// A list of columns, quoted.
pub(super) fn column_list(relation: &Relation, columns: &[usize], prefix: &str) -> String {
    let names: Vec<String> = columns
        .iter()
        .filter_map(|index| relation.columns.get(*index))
        .map(|column| format!("{prefix}{}", quoted(&column.name)))
        .collect();
    names.join(", ")
}

impl Definer<'_> {
    /// Creates the SQLite table of a relation, without its indexes.
    pub(super) fn create_storage(&self, relation: &Relation) -> Result<(), Error> {
        let mut parts = Vec::new();
        for (index, column) in relation.columns.iter().enumerate().filter(|(_, column)| !column.dropped) {
            let mut part = format!("{} {}", quoted(&column.name), column.type_.storage_class());
            if relation.rowid_column == Some(index) {
                part = format!("{} INTEGER PRIMARY KEY", quoted(&column.name));
            }
            if column.not_null {
                part.push_str(" NOT NULL");
            }
            if let Some(collation) = column.type_.collation() {
                part.push_str(&format!(" COLLATE {collation}"));
            }
            parts.push(part);
        }
        if parts.is_empty() {
            // SQLite has no tables without columns.
            parts.push("pgp_no_columns INTEGER".to_owned());
        }
        for constraint in &relation.constraints {
            if let ConstraintKind::Check { expression } = &constraint.kind {
                let condition = self.context.binder.expression(relation, expression, Some((Type::Bool, -1)))?;
                parts.push(format!("CONSTRAINT {} CHECK ({condition})", quoted(&constraint.name)));
            }
        }
        let temporary = if relation.temporary { "TEMP " } else { "" };
        let sql = format!("CREATE {temporary}TABLE {}({})", quoted(&relation.storage), parts.join(", "));
        self.storage(&sql)
    }

    /// Creates the SQLite index behind an index, or 23505 where rows that exist do not allow it.
    pub(super) fn create_index_storage(&self, relation: &Relation, index: &Index) -> Result<(), Error> {
        let Some(storage) = &index.storage else { return Ok(()) };
        let mut keys = Vec::new();
        for key in &index.keys {
            let mut sql = match (key.column, &key.expression) {
                (Some(column), _) => column_list(relation, &[column], ""),
                (None, Some(text)) => format!("({})", self.context.binder.expression(relation, text, None)?),
                (None, None) => return Err(Error::internal("an index key without column or expression")),
            };
            if key.descending {
                sql.push_str(" DESC");
            }
            keys.push(sql);
        }
        let condition = match &index.predicate {
            Some(text) => {
                format!(" WHERE {}", self.context.binder.expression(relation, text, Some((Type::Bool, -1)))?)
            }
            None => String::new(),
        };
        let unique = if index.unique { "UNIQUE " } else { "" };
        let sql = format!(
            "CREATE {unique}INDEX {} ON {}({}){condition}",
            quoted(storage),
            quoted(&relation.storage),
            keys.join(", ")
        );
        self.run_storage(&sql).map_err(|error| {
            let columns: Vec<usize> = index.keys.iter().filter_map(|key| key.column).collect();
            self.duplicate(relation, &index.name, &columns, error)
        })
    }

    /// The error for an index that cannot be unique, with the first key that is there twice.
    fn duplicate(&self, relation: &Relation, index: &str, columns: &[usize], error: rusqlite::Error) -> Error {
        if error.sqlite_error_code() != Some(rusqlite::ErrorCode::ConstraintViolation) {
            return super::super::catalog::failure(error);
        }
        let unique = Error::new(Condition::UniqueViolation, format!("could not create unique index \"{index}\""))
            .table(&relation.schema, &relation.name)
            .constraint(index);
        let list = column_list(relation, columns, "");
        let quotes: Vec<String> =
            columns.iter().map(|column| format!("quote({})", column_list(relation, &[*column], ""))).collect();
        let nulls = quotes.iter().map(|quote| format!("{quote} <> 'NULL'")).collect::<Vec<_>>().join(" AND ");
        let sql = format!(
            "SELECT {} FROM {} WHERE {nulls} GROUP BY {list} HAVING count(*) > 1 LIMIT 1",
            quotes.join(" || ',' || "),
            quoted(&relation.storage)
        );
        let key: Result<String, _> = self.context.connection.query_row(&sql, [], |row| row.get(0));
        match key {
            Ok(key) => unique.detail(format!("Key {} is duplicated.", violation::key(relation, columns, &key))),
            Err(_) => unique,
        }
    }

    /// 23502 when a column holds NULLs.
    pub(super) fn require_no_nulls(&self, relation: &Relation, column: usize) -> Result<(), Error> {
        let name = column_list(relation, &[column], "");
        let condition = self.slice_condition(relation)?;
        let sql =
            format!("SELECT EXISTS(SELECT 1 FROM {} WHERE {name} IS NULL AND {condition})", quoted(&relation.storage));
        let found: bool =
            self.context.connection.query_row(&sql, [], |row| row.get(0)).map_err(super::super::catalog::failure)?;
        if !found {
            return Ok(());
        }
        let column = relation.columns.get(column).map_or("", |column| column.name.as_str());
        let message = format!("column \"{column}\" of relation \"{}\" contains null values", relation.name);
        Err(Error::new(Condition::NotNullViolation, message).table(&relation.schema, &relation.name).column(column))
    }

    /// Moves all rows into a new SQLite table that has the shape of `new`, which gets the table's name. Columns
    /// in `computed` take an expression over the old table's columns; the others are copied. Triggers and the
    /// catalog entry are the caller's to renew, for this relation and for those whose triggers name it.
    pub(super) fn rebuild(
        &self,
        old: &Relation,
        new: &mut Relation,
        computed: &[(usize, String)],
    ) -> Result<(), Error> {
        new.storage = storage_name(&new.name, self.writer().next_oid(new.temporary)?);
        new.rowid_column = rowid_column(new);
        for index in &mut new.indexes {
            let rowid = index.primary && new.rowid_column.is_some();
            index.storage =
                if rowid { None } else { Some(storage_name(&index.name, self.writer().next_oid(new.temporary)?)) };
        }
        self.create_storage(new)?;
        let live: Vec<usize> = (0..new.columns.len()).filter(|index| !new.columns[*index].dropped).collect();
        let sources: Vec<String> = live
            .iter()
            .map(|index| match computed.iter().find(|(column, _)| column == index) {
                Some((_, sql)) => sql.clone(),
                None => column_list(old, &[*index], ""),
            })
            .collect();
        if !live.is_empty() {
            let sql = format!(
                "INSERT INTO {}({}) SELECT {} FROM {}",
                quoted(&new.storage),
                column_list(new, &live, ""),
                sources.join(", "),
                quoted(&old.storage)
            );
            self.copy_rows(old, new, &sql)?;
        }
        self.storage(&format!("DROP TABLE {}", quoted(&old.storage)))?;
        for index in &new.indexes {
            self.create_index_storage(new, index)?;
        }
        Ok(())
    }

    /// Copies by an INSERT. A check that is not valid is not put to the rows that are there; the others are.
    fn copy_rows(&self, old: &Relation, new: &Relation, insert: &str) -> Result<(), Error> {
        let copy = || self.run_storage(insert).map_err(|error| self.rebuild_failure(old, new, error));
        if !new.constraints.iter().any(|constraint| constraint.not_valid) {
            return copy();
        }
        self.storage("PRAGMA ignore_check_constraints = ON")?;
        let copied = copy();
        self.storage("PRAGMA ignore_check_constraints = OFF")?;
        copied?;
        for constraint in new.constraints.iter().filter(|constraint| !constraint.not_valid) {
            if let ConstraintKind::Check { expression } = &constraint.kind {
                self.validate_check(new, &constraint.name, expression)?;
            }
        }
        Ok(())
    }

    /// 23514 when a row that is there violates a check.
    pub(super) fn validate_check(&self, relation: &Relation, name: &str, expression: &str) -> Result<(), Error> {
        let condition = self.context.binder.expression(relation, expression, Some((Type::Bool, -1)))?;
        // A function that the condition calls may be unknown to the connection: this learns of it.
        let sql = format!("SELECT 1 FROM {} WHERE NOT ({condition}) LIMIT 1", quoted(&relation.storage));
        let found = loop {
            let found = self.context.connection.prepare(&sql).and_then(|mut statement| statement.exists(()));
            match found {
                Err(error) if self.context.binder.provide_missing(&error.to_string()) => {}
                found => break found.map_err(super::super::catalog::failure)?,
            }
        };
        if found { Err(violation::check_of_existing_rows(relation, name)) } else { Ok(()) }
    }

    /// What a failed copy means: a duplicate key, a NULL, or a row that violates a check.
    fn rebuild_failure(&self, old: &Relation, new: &Relation, error: rusqlite::Error) -> Error {
        let text = error.to_string();
        if text.contains("CHECK constraint failed: ") {
            let name = text.split("CHECK constraint failed: ").nth(1).unwrap_or("");
            return violation::check_of_existing_rows(new, name);
        }
        if text.contains("UNIQUE constraint failed")
            && let (Some(column), Some(index)) = (new.rowid_column, new.indexes.iter().find(|index| index.primary))
        {
            return self.duplicate(old, &index.name, &[column], error);
        }
        match violation::violated(&[Rc::new(new.clone())], &text) {
            Some(error) => error,
            None => super::super::catalog::failure(error),
        }
    }
}
