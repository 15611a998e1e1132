//! Roles: the grammar of their statements.

use super::alter::role_name;
use super::cursor::Cursor;
use super::{Definition, RoleName, RoleOptions};
use crate::error::{Condition, Error};

/// After `CREATE ROLE | USER | GROUP`.
pub(super) fn create_role(cursor: &mut Cursor<'_>, user: bool) -> Result<Definition, Error> {
    let name = new_role_name(cursor)?;
    cursor.word("with");
    let mut options = options(cursor, true)?;
    if user && options.login.is_none() {
        options.login = Some(true);
    }
    Ok(Definition::CreateRole { name, options, if_user: user })
}

/// A role's name that is to be new: names that PostgreSQL keeps for itself are refused.
fn new_role_name(cursor: &mut Cursor<'_>) -> Result<String, Error> {
    let position = cursor.position();
    let name = cursor.identifier()?;
    if name == "public" || name == "none" {
        return Err(Error::new(Condition::ReservedName, format!("role name \"{name}\" is reserved")).position(position));
    }
    if name.starts_with("pg_") {
        let error = Error::new(Condition::ReservedName, format!("role name \"{name}\" is reserved"));
        return Err(error.detail("Role names starting with \"pg_\" are reserved."));
    }
    Ok(name)
}

/// A role's name where one is to be that is there: nobody is called "none".
fn existing_role_name(cursor: &mut Cursor<'_>) -> Result<RoleName, Error> {
    let position = cursor.position();
    let name = role_name(cursor)?;
    if name == RoleName::Named("none".to_owned()) {
        return Err(Error::new(Condition::ReservedName, "role name \"none\" is reserved").position(position));
    }
    Ok(name)
}

/// After `ALTER ROLE | USER | GROUP`.
///
/// `group`: of ALTER GROUP, which has fewer forms.
pub(super) fn alter_role(cursor: &mut Cursor<'_>, group: bool) -> Result<Definition, Error> {
    let role = if !group && cursor.word("all") { None } else { Some(existing_role_name(cursor)?) };
    if !group && (cursor.peek(&["set"]) || cursor.peek(&["reset"]) || cursor.peek(&["in"])) {
        let mut database = None;
        if cursor.word("in") {
            cursor.expect_word("database")?;
            database = Some(cursor.identifier()?);
        }
        let change = cursor.setting_change()?;
        return Ok(Definition::AlterSetting { role, database, is_of_database: false, change });
    }
    let name = role.ok_or_else(|| cursor.unexpected())?;
    if cursor.words(&["rename", "to"]) {
        let RoleName::Named(name) = name else { return Err(cursor.unexpected()) };
        return Ok(Definition::RenameRole { name, to: new_role_name(cursor)? });
    }
    if group {
        for word in ["add", "drop"] {
            if cursor.peek(&[word, "user"]) {
                let what = format!("ALTER GROUP ... {} USER", word.to_uppercase());
                return Err(Error::unsupported(what).position(cursor.position()).hint("Use GRANT and REVOKE."));
            }
        }
        return Err(cursor.unexpected());
    }
    cursor.word("with");
    Ok(Definition::AlterRole { name, options: options(cursor, false)? })
}

/// After `DROP ROLE | USER | GROUP`.
pub(super) fn drop_role(cursor: &mut Cursor<'_>) -> Result<Definition, Error> {
    let if_exists = cursor.words(&["if", "exists"]);
    let names = cursor.list(Cursor::identifier)?;
    Ok(Definition::DropRole { names, if_exists })
}

fn options(cursor: &mut Cursor<'_>, creating: bool) -> Result<RoleOptions, Error> {
    let mut options = RoleOptions::default();
    while !cursor.at_end() && !cursor.peek_semicolon() {
        let position = cursor.position();
        if cursor.word("encrypted") {
            cursor.expect_word("password")?;
            options.password = Some(Some(cursor.string()?));
            continue;
        }
        if cursor.word("password") {
            let password = if cursor.word("null") { None } else { Some(cursor.string()?) };
            options.password = Some(password);
            continue;
        }
        if cursor.words(&["connection", "limit"]) {
            let limit = cursor.integer()?;
            let limit = i32::try_from(limit).ok().filter(|limit| *limit >= -1);
            let invalid = || Error::new(Condition::InvalidParameterValue, "invalid connection limit");
            options.connection_limit = Some(limit.ok_or_else(invalid)?);
            continue;
        }
        if cursor.words(&["valid", "until"]) {
            options.valid_until = Some(cursor.string()?);
            continue;
        }
        if creating && (cursor.words(&["in", "role"]) || cursor.words(&["in", "group"])) {
            options.in_roles = cursor.list(Cursor::identifier)?;
            continue;
        }
        if creating && cursor.word("admin") {
            options.admins.extend(cursor.list(Cursor::identifier)?);
            continue;
        }
        if creating && (cursor.word("role") || cursor.word("user")) {
            options.members.extend(cursor.list(Cursor::identifier)?);
            continue;
        }
        if creating && cursor.word("sysid") {
            cursor.integer()?;
            continue;
        }
        flag(cursor, &mut options, position)?;
    }
    Ok(options)
}

/// LOGIN, NOLOGIN and their like.
fn flag(cursor: &mut Cursor<'_>, options: &mut RoleOptions, position: usize) -> Result<(), Error> {
    let here = cursor.unexpected();
    let word = cursor.any_word()?;
    let (name, value) = match word.strip_prefix("no") {
        Some(rest) => (rest, false),
        None => (word.as_str(), true),
    };
    let target = match name {
        "superuser" => &mut options.superuser,
        "login" => &mut options.login,
        "createdb" => &mut options.create_database,
        "createrole" => &mut options.create_role,
        "inherit" => &mut options.inherit,
        "replication" => &mut options.replication,
        "bypassrls" => &mut options.bypass_row_security,
        _ => {
            // These begin other statements' clauses.
            if matches!(word.as_str(), "set" | "reset" | "in" | "rename") {
                return Err(here);
            }
            let known_shape = here.fields().message.starts_with("syntax error at or near \"");
            let error = Error::new(Condition::SyntaxError, format!("unrecognized role option \"{word}\""));
            return Err(if known_shape { error.position(position) } else { here });
        }
    };
    if target.is_some() {
        return Err(Error::new(Condition::SyntaxError, "conflicting or redundant options").position(position));
    }
    *target = Some(value);
    Ok(())
}
