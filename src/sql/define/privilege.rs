//! GRANT and REVOKE of privileges, ALTER DEFAULT PRIVILEGES, REASSIGN OWNED and DROP OWNED: the grammar.

use super::alter::{cascade, role_name};
use super::cursor::Cursor;
use super::{Definition, Name, RoleName};
use crate::error::{Condition, Error};
use crate::sql::acl::Kind;

/// GRANT … ON or REVOKE … ON.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct PrivilegeChange {
    /// GRANT; else REVOKE.
    pub grants: bool,
    /// Words with the columns behind them. None: ALL, of the columns in `all_columns` or of the whole object.
    pub privileges: Vec<(String, Vec<String>)>,
    pub all_columns: Vec<String>,
    pub target: PrivilegeTarget,
    pub grantees: Vec<Grantee>,
    /// WITH GRANT OPTION, or GRANT OPTION FOR.
    pub grant_option: bool,
    pub grantor: Option<RoleName>,
    pub cascade: bool,
}

/// What privileges are granted on.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum PrivilegeTarget {
    /// Tables (views, sequences) or, said so, sequences.
    Relations {
        kind: Kind,
        names: Vec<Name>,
    },
    Schemas(Vec<String>),
    Databases(Vec<String>),
    /// ALL … IN SCHEMA.
    AllIn {
        kind: Kind,
        schemas: Vec<String>,
    },
    /// What ALTER DEFAULT PRIVILEGES says of objects that are made later.
    Defaults(Kind),
}

/// To whom, or from whom.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Grantee {
    Public,
    Role(RoleName),
}

/// Whether privileges on an object are granted or revoked here, rather than roles: ON stands before TO or FROM.
pub(super) fn is_ahead(cursor: &mut Cursor<'_>) -> bool {
    let start = cursor.mark();
    let mut found = false;
    while !cursor.at_end() && !cursor.peek_semicolon() && !cursor.peek(&["to"]) && !cursor.peek(&["from"]) {
        if cursor.peek(&["on"]) {
            found = true;
            break;
        }
        cursor.skip();
    }
    cursor.go_back(start);
    found
}

/// After GRANT or REVOKE.
pub(super) fn change(cursor: &mut Cursor<'_>, grants: bool, defaults: bool) -> Result<PrivilegeChange, Error> {
    let mut grant_option = !grants && cursor.words(&["grant", "option", "for"]);
    let (privileges, all_columns) = privileges(cursor)?;
    cursor.expect_word("on")?;
    let target = if defaults { default_target(cursor)? } else { target(cursor)? };
    cursor.expect_word(if grants { "to" } else { "from" })?;
    let grantees = cursor.list(grantee)?;
    if grants {
        grant_option = cursor.words(&["with", "grant", "option"]);
    }
    let grantor = if !defaults && cursor.words(&["granted", "by"]) { Some(role_name(cursor)?) } else { None };
    let cascade = !grants && cascade(cursor);
    Ok(PrivilegeChange { grants, privileges, all_columns, target, grantees, grant_option, grantor, cascade })
}

type PrivilegeWords = (Vec<(String, Vec<String>)>, Vec<String>);

fn privileges(cursor: &mut Cursor<'_>) -> Result<PrivilegeWords, Error> {
    let columns = |cursor: &mut Cursor<'_>| {
        if cursor.peek_open() { cursor.names_in_parentheses() } else { Ok(Vec::new()) }
    };
    if cursor.word("all") {
        cursor.word("privileges");
        return Ok((Vec::new(), columns(cursor)?));
    }
    let words = cursor.list(|cursor| {
        let word = if cursor.words(&["alter", "system"]) { "alter system".to_owned() } else { cursor.any_word()? };
        Ok((word, columns(cursor)?))
    })?;
    Ok((words, Vec::new()))
}

/// Kinds of objects that are named by a word in the plural.
const PLURALS: &[(&str, Kind)] = &[
    ("tables", Kind::Table),
    ("sequences", Kind::Sequence),
    ("functions", Kind::Function),
    ("procedures", Kind::Function),
    ("routines", Kind::Function),
];

fn target(cursor: &mut Cursor<'_>) -> Result<PrivilegeTarget, Error> {
    for (plural, kind) in PLURALS {
        if cursor.words(&["all", plural, "in", "schema"]) {
            return Ok(PrivilegeTarget::AllIn { kind: *kind, schemas: cursor.list(Cursor::identifier)? });
        }
    }
    let refused = [
        "function",
        "procedure",
        "routine",
        "domain",
        "type",
        "language",
        "large",
        "tablespace",
        "foreign",
        "parameter",
    ];
    let start = cursor.mark();
    for word in refused {
        if cursor.word(word) {
            // A table may have that name.
            if cursor.peek(&["to"]) || cursor.peek(&["from"]) || cursor.peek_comma_or_close() {
                cursor.go_back(start);
                break;
            }
            let what = format!("privileges on objects of kind {}", word.to_uppercase());
            return Err(Error::unsupported(what).position(cursor.position()));
        }
    }
    if cursor.word("schema") {
        return Ok(PrivilegeTarget::Schemas(cursor.list(Cursor::identifier)?));
    }
    if cursor.word("database") {
        return Ok(PrivilegeTarget::Databases(cursor.list(Cursor::identifier)?));
    }
    let kind = if cursor.word("sequence") { Kind::Sequence } else { Kind::Table };
    if kind == Kind::Table {
        cursor.word("table");
    }
    Ok(PrivilegeTarget::Relations { kind, names: cursor.list(Cursor::name)? })
}

fn default_target(cursor: &mut Cursor<'_>) -> Result<PrivilegeTarget, Error> {
    let more = [("types", Kind::Type), ("schemas", Kind::Schema)];
    for (plural, kind) in PLURALS.iter().chain(&more).filter(|(plural, _)| *plural != "procedures") {
        if cursor.word(plural) {
            return Ok(PrivilegeTarget::Defaults(*kind));
        }
    }
    Err(cursor.unexpected())
}

fn grantee(cursor: &mut Cursor<'_>) -> Result<Grantee, Error> {
    cursor.word("group");
    let position = cursor.position();
    Ok(match role_name(cursor)? {
        RoleName::Named(name) if name == "public" => Grantee::Public,
        RoleName::Named(name) if name == "none" => {
            let message = "role name \"none\" is reserved";
            return Err(Error::new(Condition::ReservedName, message).position(position));
        }
        role => Grantee::Role(role),
    })
}

/// After ALTER DEFAULT PRIVILEGES.
pub(super) fn alter_defaults(cursor: &mut Cursor<'_>) -> Result<Definition, Error> {
    let (mut roles, mut schemas) = (Vec::new(), Vec::new());
    loop {
        if cursor.words(&["for", "role"]) || cursor.words(&["for", "user"]) {
            roles = cursor.list(role_name)?;
        } else if cursor.words(&["in", "schema"]) {
            schemas = cursor.list(Cursor::identifier)?;
        } else {
            break;
        }
    }
    let grants = cursor.word("grant");
    if !grants {
        cursor.expect_word("revoke")?;
    }
    let change = change(cursor, grants, true)?;
    Ok(Definition::AlterDefaultPrivileges { roles, schemas, change })
}

/// After REASSIGN OWNED BY.
pub(super) fn reassign_owned(cursor: &mut Cursor<'_>) -> Result<Definition, Error> {
    let roles = cursor.list(role_name)?;
    cursor.expect_word("to")?;
    Ok(Definition::ReassignOwned { roles, to: role_name(cursor)? })
}

/// After DROP OWNED BY.
pub(super) fn drop_owned(cursor: &mut Cursor<'_>) -> Result<Definition, Error> {
    let roles = cursor.list(role_name)?;
    Ok(Definition::DropOwned { roles, cascade: cascade(cursor) })
}
