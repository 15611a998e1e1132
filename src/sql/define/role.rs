//! Roles and databases: the grammar of their statements.

use sqlparser::tokenizer::Token;

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

/// After `ALTER ROLE | USER | GROUP`.
pub(super) fn alter_role(cursor: &mut Cursor<'_>) -> Result<Definition, Error> {
    let name = role_name(cursor)?;
    if cursor.words(&["rename", "to"]) {
        let RoleName::Named(name) = name else { return Err(cursor.unexpected()) };
        return Ok(Definition::RenameRole { name, to: new_role_name(cursor)? });
    }
    if cursor.peek(&["set"]) || cursor.peek(&["reset"]) || cursor.peek(&["in"]) {
        return Err(Error::unsupported("ALTER ROLE ... SET").position(cursor.position()));
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

/// After `CREATE DATABASE`.
pub(super) fn create_database(cursor: &mut Cursor<'_>) -> Result<Definition, Error> {
    let name = cursor.identifier()?;
    let (mut owner, mut connection_limit) = (None, None);
    cursor.word("with");
    while !cursor.at_end() && !cursor.peek_semicolon() {
        let position = cursor.position();
        let limit = cursor.words(&["connection", "limit"]);
        let word = if limit { String::from("connection_limit") } else { cursor.any_word()? };
        cursor.punctuation(&Token::Eq);
        match word.as_str() {
            "owner" => owner = Some(cursor.identifier()?),
            "connection_limit" => connection_limit = Some(i32::try_from(cursor.integer()?).unwrap_or(-1)),
            "encoding" => check_choice("encoding", &cursor.option_value()?, &["utf8", "utf-8", "unicode", "default"])?,
            "locale" | "lc_collate" | "lc_ctype" => {
                check_choice("locale", &cursor.option_value()?, &["c", "posix", "c.utf-8", "c.utf8", "default"])?;
            }
            "template" => check_choice("template", &cursor.option_value()?, &["template0", "template1", "default"])?,
            "tablespace" => check_choice("tablespace", &cursor.option_value()?, &["pg_default", "default"])?,
            "allow_connections" | "is_template" | "strategy" | "oid" | "locale_provider" | "icu_locale"
            | "collation_version" => {
                return Err(Error::unsupported(format!("option \"{word}\" of CREATE DATABASE")).position(position));
            }
            _ => {
                let message = format!("option \"{word}\" not recognized");
                return Err(Error::new(Condition::SyntaxError, message).position(position));
            }
        }
    }
    Ok(Definition::CreateDatabase { name, owner, connection_limit })
}

fn check_choice(what: &str, value: &str, allowed: &[&str]) -> Result<(), Error> {
    if allowed.contains(&value.to_lowercase().as_str()) {
        return Ok(());
    }
    Err(Error::unsupported(format!("{what} \"{value}\" of a database")))
}

/// After `DROP DATABASE`.
pub(super) fn drop_database(cursor: &mut Cursor<'_>) -> Result<Definition, Error> {
    let if_exists = cursor.words(&["if", "exists"]);
    let name = cursor.identifier()?;
    cursor.word("with");
    if cursor.peek_open() {
        return Err(Error::unsupported("DROP DATABASE ... WITH (FORCE)").position(cursor.position()));
    }
    Ok(Definition::DropDatabase { name, if_exists })
}

/// After `ALTER DATABASE`.
pub(super) fn alter_database(cursor: &mut Cursor<'_>) -> Result<Definition, Error> {
    let name = cursor.identifier()?;
    let (mut rename, mut owner, mut connection_limit, mut allow_connections) = (None, None, None, None);
    if cursor.words(&["rename", "to"]) {
        rename = Some(cursor.identifier()?);
    } else if cursor.words(&["owner", "to"]) {
        owner = Some(cursor.identifier()?);
    } else {
        cursor.word("with");
        loop {
            if cursor.words(&["connection", "limit"]) {
                connection_limit = Some(i32::try_from(cursor.integer()?).unwrap_or(-1));
            } else if cursor.word("allow_connections") {
                let value = cursor.option_value()?;
                allow_connections = Some(matches!(value.as_str(), "true" | "on" | "1"));
            } else {
                break;
            }
        }
        if connection_limit.is_none() && allow_connections.is_none() {
            return Err(Error::unsupported("ALTER DATABASE with this option").position(cursor.position()));
        }
    }
    Ok(Definition::AlterDatabase { name, rename, owner, connection_limit, allow_connections })
}
