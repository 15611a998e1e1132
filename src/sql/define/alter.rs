//! ALTER TABLE, INDEX, VIEW, SEQUENCE: their grammar.

use super::cursor::Cursor;
use super::table::{collation, column, constraint, tablespace};
use super::types::written_type;
use super::{AlterAction, Definition, ObjectKind, RoleName};
use crate::error::Error;

/// After `ALTER TABLE` and the like.
pub(super) fn alter(cursor: &mut Cursor<'_>, object: ObjectKind) -> Result<Definition, Error> {
    let if_exists = cursor.words(&["if", "exists"]);
    cursor.word("only");
    let table = cursor.name()?;
    let own = object == ObjectKind::Sequence && !["owner", "rename", "set"].iter().any(|word| cursor.peek(&[word]));
    let actions = if own {
        vec![AlterAction::Sequence(super::table::sequence_options(cursor)?)]
    } else {
        cursor.list(|cursor| action(cursor, &table.name))?
    };
    Ok(Definition::AlterTable { table, object, if_exists, actions })
}

/// A role's name, or CURRENT_USER and its like.
pub(super) fn role_name(cursor: &mut Cursor<'_>) -> Result<RoleName, Error> {
    if cursor.word("current_user") || cursor.word("current_role") {
        return Ok(RoleName::CurrentUser);
    }
    if cursor.word("session_user") {
        return Ok(RoleName::SessionUser);
    }
    cursor.identifier().map(RoleName::Named)
}

/// CASCADE or RESTRICT; whether it was the former.
pub(super) fn cascade(cursor: &mut Cursor<'_>) -> bool {
    let cascade = cursor.word("cascade");
    cursor.word("restrict");
    cascade
}

fn action(cursor: &mut Cursor<'_>, table: &str) -> Result<AlterAction, Error> {
    if cursor.word("add") {
        return add(cursor, table);
    }
    if cursor.word("drop") {
        let constraint = cursor.word("constraint");
        if !constraint {
            cursor.word("column");
        }
        let if_exists = cursor.words(&["if", "exists"]);
        let name = cursor.identifier()?;
        let cascade = cascade(cursor);
        return Ok(match constraint {
            true => AlterAction::DropConstraint { name, if_exists, cascade },
            false => AlterAction::DropColumn { name, if_exists, cascade },
        });
    }
    if cursor.word("rename") {
        return rename(cursor);
    }
    if cursor.words(&["validate", "constraint"]) {
        return Ok(AlterAction::ValidateConstraint { name: cursor.identifier()? });
    }
    if cursor.words(&["owner", "to"]) {
        return Ok(AlterAction::OwnerTo { role: role_name(cursor)? });
    }
    if cursor.word("reset") {
        return Ok(AlterAction::ResetOptions(cursor.options()?.iter().map(|option| option_name(option)).collect()));
    }
    if cursor.word("set") {
        return set(cursor);
    }
    if cursor.word("alter") {
        cursor.word("column");
        return alter_column(cursor);
    }
    for word in ["attach", "detach", "inherit", "enable", "disable", "force", "no", "of", "replica", "cluster"] {
        if cursor.peek(&[word]) {
            let what = format!("ALTER TABLE ... {}", word.to_uppercase());
            return Err(Error::unsupported(what).position(cursor.position()));
        }
    }
    Err(cursor.unexpected())
}

fn option_name(option: &str) -> String {
    option.split_once('=').map_or(option, |(name, _)| name).to_owned()
}

fn add(cursor: &mut Cursor<'_>, table: &str) -> Result<AlterAction, Error> {
    let is_constraint =
        ["constraint", "primary", "unique", "check", "foreign", "exclude"].iter().any(|word| cursor.peek(&[word]));
    if is_constraint {
        return constraint(cursor).map(AlterAction::AddConstraint);
    }
    cursor.word("column");
    let if_not_exists = cursor.words(&["if", "not", "exists"]);
    Ok(AlterAction::AddColumn { column: column(cursor, table)?, if_not_exists })
}

fn rename(cursor: &mut Cursor<'_>) -> Result<AlterAction, Error> {
    if cursor.word("to") {
        return Ok(AlterAction::RenameTo { name: cursor.identifier()? });
    }
    let constraint = cursor.word("constraint");
    if !constraint {
        cursor.word("column");
    }
    let from = cursor.identifier()?;
    cursor.expect_word("to")?;
    let to = cursor.identifier()?;
    Ok(match constraint {
        true => AlterAction::RenameConstraint { from, to },
        false => AlterAction::RenameColumn { from, to },
    })
}

fn set(cursor: &mut Cursor<'_>) -> Result<AlterAction, Error> {
    if cursor.peek_open() {
        return Ok(AlterAction::SetOptions(cursor.options()?));
    }
    if cursor.word("schema") {
        return Ok(AlterAction::SetSchema { name: cursor.identifier()? });
    }
    if cursor.word("logged") {
        return Ok(AlterAction::SetUnlogged(false));
    }
    if cursor.word("unlogged") {
        return Ok(AlterAction::SetUnlogged(true));
    }
    if cursor.word("tablespace") {
        tablespace(cursor)?;
        return Ok(AlterAction::Nothing);
    }
    if cursor.words(&["without", "cluster"]) {
        return Ok(AlterAction::Nothing);
    }
    Err(cursor.unexpected())
}

fn alter_column(cursor: &mut Cursor<'_>) -> Result<AlterAction, Error> {
    let column = cursor.identifier()?;
    if cursor.words(&["set", "not", "null"]) {
        return Ok(AlterAction::SetNotNull { column });
    }
    if cursor.words(&["drop", "not", "null"]) {
        return Ok(AlterAction::DropNotNull { column });
    }
    if cursor.words(&["set", "default"]) {
        let expression = cursor.expression(&[])?;
        return Ok(AlterAction::SetDefault { column, expression });
    }
    if cursor.words(&["drop", "default"]) {
        return Ok(AlterAction::DropDefault { column });
    }
    if cursor.words(&["set", "statistics"]) {
        cursor.integer()?;
        return Ok(AlterAction::ColumnOption { column, storage: None });
    }
    if cursor.words(&["set", "storage"]) {
        return Ok(AlterAction::ColumnOption { column, storage: Some(cursor.any_word()?) });
    }
    if cursor.words(&["set", "compression"]) {
        return Err(Error::unsupported("ALTER COLUMN ... SET COMPRESSION").position(cursor.position()));
    }
    if cursor.words(&["set", "data", "type"]) || cursor.word("type") {
        let written = written_type(cursor)?;
        if cursor.word("collate") {
            collation(cursor)?;
        }
        let using = if cursor.word("using") { Some(cursor.expression(&[])?) } else { None };
        return Ok(AlterAction::SetType { column, type_: written.type_, typmod: written.typmod, using });
    }
    Err(cursor.unexpected())
}
