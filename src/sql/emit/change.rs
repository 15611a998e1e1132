//! INSERT, UPDATE and DELETE as SQLite writes them.

use super::Emitter;
use crate::sql::ir::*;

impl Emitter {
    /// A data change.
    pub fn change(&mut self, change: &Change) {
        match change {
            Change::Insert(insert) => self.insert(insert),
            Change::Update(update) => self.update(update),
            Change::Delete(delete) => self.delete(delete),
        }
    }

    fn target(&mut self, storage: &str, table: usize) {
        self.name(storage);
        self.as_alias(table);
    }

    fn returning(&mut self, returning: &[Scalar]) {
        if !returning.is_empty() {
            self.push(" RETURNING ");
            // SQLite's RETURNING knows the target by its own name only.
            let qualify = std::mem::replace(&mut self.qualify, false);
            self.list(returning);
            self.qualify = qualify;
        }
    }

    fn insert(&mut self, insert: &Insert) {
        self.with(&insert.ctes);
        self.push("INSERT INTO ");
        self.target(&insert.storage, insert.table);
        if !insert.columns.is_empty() {
            self.push(" (");
            self.separated(", ", &insert.columns, |emitter, column| emitter.name(column));
            self.push(")");
        }
        match &insert.source {
            InsertSource::DefaultValues => self.push(" DEFAULT VALUES"),
            InsertSource::Values(rows) => {
                self.push(" ");
                self.values_rows(rows, false);
            }
            InsertSource::Query { table, query, outputs } => {
                self.push(" SELECT ");
                self.list(outputs);
                self.push(" FROM ");
                self.derived(query);
                self.as_alias(*table);
                // Without it SQLite would read ON CONFLICT as a join's ON.
                self.push(" WHERE 1");
            }
        }
        if let Some(conflict) = &insert.conflict {
            self.conflict(conflict);
        }
        self.returning(&insert.returning);
    }

    fn conflict(&mut self, conflict: &Conflict) {
        self.push(" ON CONFLICT");
        if !conflict.target.is_empty() {
            self.push(" (");
            self.separated(", ", &conflict.target, |emitter, column| emitter.name(column));
            self.push(")");
        }
        match &conflict.update {
            None => self.push(" DO NOTHING"),
            Some((assignments, filter)) => {
                self.push(" DO UPDATE SET ");
                self.assignments(assignments);
                if let Some(filter) = filter {
                    self.push(" WHERE ");
                    self.condition(filter);
                }
            }
        }
    }

    fn assignments(&mut self, assignments: &[(String, Scalar)]) {
        self.separated(", ", assignments, |emitter, (column, value)| {
            emitter.name(column);
            emitter.push(" = ");
            emitter.scalar(value);
        });
    }

    fn update(&mut self, update: &Update) {
        self.with(&update.ctes);
        self.push("UPDATE ");
        self.target(&update.storage, update.table);
        self.push(" SET ");
        self.assignments(&update.assignments);
        if let Some(from) = &update.from {
            self.push(" FROM ");
            self.from(from);
        }
        if let Some(filter) = &update.filter {
            self.push(" WHERE ");
            self.condition(filter);
        }
        self.returning(&update.returning);
    }

    fn delete(&mut self, delete: &Delete) {
        self.with(&delete.ctes);
        self.push("DELETE FROM ");
        match &delete.using {
            None => {
                self.target(&delete.storage, delete.table);
                if let Some(filter) = &delete.filter {
                    self.push(" WHERE ");
                    self.condition(filter);
                }
            }
            Some(using) => {
                self.name(&delete.storage);
                self.push(" WHERE rowid IN (SELECT ");
                self.alias(delete.table);
                self.push(".rowid FROM ");
                self.target(&delete.storage, delete.table);
                self.push(" CROSS JOIN ");
                let nested = matches!(using, From::Join { .. });
                self.push(if nested { "(" } else { "" });
                self.from(using);
                self.push(if nested { ")" } else { "" });
                if let Some(filter) = &delete.filter {
                    self.push(" WHERE ");
                    self.condition(filter);
                }
                self.push(")");
            }
        }
        self.returning(&delete.returning);
    }
}
