//! From SQLite's result codes to conditions.
//!
//! Owns the table between the two. Names of constraints are the catalog's: a [`Constraints`] turns SQLite's
//! message into the full error, and what it does not know stays generic.
//!
//! Codes: <https://www.sqlite.org/rescode.html>.

use rusqlite::ffi;

use crate::error::{Condition, Error};

/// Names the constraint behind a failure.
pub trait Constraints {
    /// The error for a violated constraint. `extended_code` is SQLITE_CONSTRAINT_UNIQUE and the like; `message`
    /// is SQLite's: `UNIQUE constraint failed: t.a, t.b`, `NOT NULL constraint failed: t.a`,
    /// `CHECK constraint failed: name`, or the text of a trigger's RAISE.
    fn violated(&self, extended_code: i32, message: &str) -> Option<Error>;
}

/// Knows no constraint.
impl Constraints for () {
    fn violated(&self, _extended_code: i32, _message: &str) -> Option<Error> {
        None
    }
}

/// The client's error for a failure of SQLite. `file` is the database's file, for messages about it. An
/// interrupt gives `interrupted` (what the progress handler saw), else the wording of a cancel.
pub fn describe(
    error: &rusqlite::Error,
    file: &str,
    interrupted: Option<Error>,
    constraints: &dyn Constraints,
) -> Error {
    let (code, message) = match error {
        rusqlite::Error::SqliteFailure(failure, message) => (failure.extended_code, message.as_deref().unwrap_or("")),
        rusqlite::Error::SqlInputError { error, msg, .. } => (error.extended_code, msg.as_str()),
        other => return Error::internal(format!("storage: {other}")),
    };
    match code & 0xff {
        // The VFS shim says so whichever call found the disk full.
        ffi::SQLITE_FULL => disk_full(file),
        ffi::SQLITE_IOERR => {
            Error::new(Condition::IoError, format!("could not read or write file \"{file}\": {message}"))
        }
        ffi::SQLITE_BUSY if code == ffi::SQLITE_BUSY_SNAPSHOT => stale_snapshot(),
        ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED | ffi::SQLITE_PROTOCOL => {
            Error::new(Condition::LockNotAvailable, format!("could not obtain lock on database file \"{file}\""))
        }
        ffi::SQLITE_INTERRUPT => interrupted
            .unwrap_or_else(|| Error::new(Condition::QueryCanceled, "canceling statement due to user request")),
        ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB => {
            Error::new(Condition::DataCorrupted, format!("invalid page in database file \"{file}\": {message}"))
        }
        ffi::SQLITE_NOMEM => crate::work::refused(),
        ffi::SQLITE_CANTOPEN => Error::new(Condition::IoError, format!("could not open file \"{file}\": {message}")),
        ffi::SQLITE_READONLY => {
            Error::new(Condition::ReadOnlySqlTransaction, format!("cannot write to file \"{file}\""))
        }
        ffi::SQLITE_AUTH => Error::new(Condition::InsufficientPrivilege, "permission denied")
            .detail("The statement would touch a table that its plan does not name."),
        ffi::SQLITE_TOOBIG => Error::new(Condition::ProgramLimitExceeded, "value is too large to be stored"),
        ffi::SQLITE_CONSTRAINT => constraints.violated(code, message).unwrap_or_else(|| constraint(code, message)),
        ffi::SQLITE_ERROR if message.starts_with("recursive aggregate") => {
            let message = "aggregate functions are not allowed in a recursive query's recursive term";
            Error::new(Condition::InvalidRecursion, message)
        }
        ffi::SQLITE_ERROR if is_recursion(message) => Error::unsupported("this form of a recursive query"),
        _ => limit(message).unwrap_or_else(|| Error::internal(format!("storage: {message} (result code {code})"))),
    }
}

/// A limit of SQLite's that a statement went beyond, by its message.
fn limit(message: &str) -> Option<Error> {
    const LIMITS: &[(&str, Condition, &str)] = &[
        ("Expression tree is too large", Condition::StatementTooComplex, "stack depth limit exceeded"),
        ("Recursion limit", Condition::StatementTooComplex, "stack depth limit exceeded"),
        ("parser stack overflow", Condition::StatementTooComplex, "stack depth limit exceeded"),
        ("nested too deep", Condition::StatementTooComplex, "stack depth limit exceeded"),
        ("too many levels of trigger recursion", Condition::StatementTooComplex, "stack depth limit exceeded"),
        ("too many terms in compound SELECT", Condition::StatementTooComplex, "too many set operations"),
        ("too many columns", Condition::TooManyColumns, "target lists can have at most 1664 entries"),
        ("too many arguments on function", Condition::TooManyArguments, "too many arguments of a function"),
        ("variable number must be between", Condition::ProgramLimitExceeded, "too many parameters and constants"),
        ("too many SQL variables", Condition::ProgramLimitExceeded, "too many parameters and constants"),
        ("at most 64 tables in a join", Condition::ProgramLimitExceeded, "too many range table entries"),
        ("too many FROM clause terms", Condition::ProgramLimitExceeded, "too many range table entries"),
        ("too many references to", Condition::ProgramLimitExceeded, "too many range table entries"),
        ("too many terms in", Condition::TooManyColumns, "too many sort or grouping keys"),
        ("too many RIGHT JOINs", Condition::ProgramLimitExceeded, "too many RIGHT JOINs"),
        ("statement too long", Condition::ProgramLimitExceeded, "statement is too long"),
    ];
    let (_, condition, words) = LIMITS.iter().find(|(said, ..)| message.contains(said))?;
    Some(Error::new(*condition, *words))
}

/// 40001: the transaction's snapshot is older than the newest commit, so it cannot write.
pub fn stale_snapshot() -> Error {
    Error::new(Condition::SerializationFailure, "could not serialize access due to concurrent update")
}

/// 53100, in the wording of PostgreSQL's mdextend.
fn disk_full(file: &str) -> Error {
    Error::new(Condition::DiskFull, format!("could not extend file \"{file}\": No space left on device"))
        .hint("Check free disk space.")
}

/// A violated constraint that nobody could name.
fn constraint(code: i32, message: &str) -> Error {
    let condition = match code {
        ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID => {
            Condition::UniqueViolation
        }
        ffi::SQLITE_CONSTRAINT_NOTNULL => Condition::NotNullViolation,
        ffi::SQLITE_CONSTRAINT_CHECK => Condition::CheckViolation,
        ffi::SQLITE_CONSTRAINT_FOREIGNKEY | ffi::SQLITE_CONSTRAINT_TRIGGER => Condition::ForeignKeyViolation,
        _ => Condition::IntegrityConstraintViolation,
    };
    Error::new(condition, message)
}

/// What SQLite says of recursive queries that it does not know.
fn is_recursion(message: &str) -> bool {
    let known = ["circular reference: w", "multiple recursive references: w", "recursive reference in a subquery: w"];
    known.iter().any(|known| message.starts_with(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: i32, message: &str) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some(message.to_owned()))
    }

    #[test]
    fn codes_become_conditions() {
        let cases = [
            (ffi::SQLITE_FULL, "53100"),
            (ffi::SQLITE_BUSY_SNAPSHOT, "40001"),
            (ffi::SQLITE_INTERRUPT, "57014"),
            (ffi::SQLITE_CORRUPT, "XX001"),
            (ffi::SQLITE_IOERR_READ, "58030"),
            (ffi::SQLITE_CONSTRAINT_UNIQUE, "23505"),
            (ffi::SQLITE_CONSTRAINT_NOTNULL, "23502"),
            (ffi::SQLITE_NOMEM, "53200"),
        ];
        for (code, sqlstate) in cases {
            let error = describe(&failure(code, "m"), "base/1", None, &());
            assert_eq!(error.condition().code(), sqlstate, "{error}");
        }
    }

    #[test]
    fn limits_of_sqlite_are_named() {
        let cases = [
            ("Expression tree is too large (maximum depth 1000)", "54001"),
            ("VIEWs and/or subqueries nested too deep", "54001"),
            ("too many columns in result set", "54011"),
            ("too many arguments on function coalesce", "54023"),
            ("variable number must be between ?1 and ?32766", "54000"),
            ("at most 64 tables in a join", "54000"),
            ("something else", "XX000"),
        ];
        for (message, sqlstate) in cases {
            let error = describe(&failure(ffi::SQLITE_ERROR, message), "base/1", None, &());
            assert_eq!(error.condition().code(), sqlstate, "{message}");
        }
    }

    #[test]
    fn an_interrupt_gives_the_reason_that_the_handler_saw() {
        let reason = Error::new(Condition::QueryCanceled, "canceling statement due to statement timeout");
        let error = describe(&failure(ffi::SQLITE_INTERRUPT, "interrupted"), "f", Some(reason.clone()), &());
        assert_eq!(error, reason);
    }

    #[test]
    fn a_catalog_names_the_constraint() {
        struct Named;
        impl Constraints for Named {
            fn violated(&self, code: i32, message: &str) -> Option<Error> {
                (code == ffi::SQLITE_CONSTRAINT_UNIQUE && message == "UNIQUE constraint failed: t.a")
                    .then(|| Error::new(Condition::UniqueViolation, "duplicate key").constraint("t_pkey"))
            }
        }
        let unique = failure(ffi::SQLITE_CONSTRAINT_UNIQUE, "UNIQUE constraint failed: t.a");
        assert_eq!(describe(&unique, "f", None, &Named).fields().constraint.as_deref(), Some("t_pkey"));
    }
}
