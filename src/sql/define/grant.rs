//! GRANT and REVOKE of roles: the grammar.

use super::alter::role_name;
use super::cursor::Cursor;
use super::{Definition, RoleName, privilege};
use crate::error::Error;

/// The options of a membership; `None` where nothing was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct MembershipOptions {
    pub admin: Option<bool>,
    pub inherit: Option<bool>,
    pub set: Option<bool>,
}

/// After GRANT.
pub(super) fn grant(cursor: &mut Cursor<'_>) -> Result<Definition, Error> {
    if privilege::is_ahead(cursor) {
        return Ok(Definition::Privileges(privilege::change(cursor, true, false)?));
    }
    let roles = cursor.list(Cursor::identifier)?;
    cursor.expect_word("to")?;
    let members = members(cursor)?;
    let mut options = MembershipOptions::default();
    if cursor.word("with") {
        loop {
            let option = option(cursor, &mut options)?.ok_or_else(|| cursor.unexpected())?;
            *option = Some(if cursor.word("option") || cursor.word("true") {
                true
            } else {
                cursor.expect_word("false")?;
                false
            });
            if !cursor.comma() {
                break;
            }
        }
    }
    let grantor = grantor(cursor)?;
    Ok(Definition::GrantRole { roles, members, options, grantor })
}

/// After REVOKE.
pub(super) fn revoke(cursor: &mut Cursor<'_>) -> Result<Definition, Error> {
    if privilege::is_ahead(cursor) {
        return Ok(Definition::Privileges(privilege::change(cursor, false, false)?));
    }
    let start = cursor.mark();
    let mut options = MembershipOptions::default();
    let found = option(cursor, &mut options)?.map(|option| *option = Some(false));
    if found.is_none() || !cursor.words(&["option", "for"]) {
        // A role may go by one of these words.
        cursor.go_back(start);
        options = MembershipOptions::default();
    }
    let roles = cursor.list(Cursor::identifier)?;
    cursor.expect_word("from")?;
    let members = members(cursor)?;
    let grantor = grantor(cursor)?;
    let cascade = super::alter::cascade(cursor);
    Ok(Definition::RevokeRole { roles, members, options, grantor, cascade })
}

fn option<'o>(
    cursor: &mut Cursor<'_>,
    options: &'o mut MembershipOptions,
) -> Result<Option<&'o mut Option<bool>>, Error> {
    Ok(if cursor.word("admin") {
        Some(&mut options.admin)
    } else if cursor.word("inherit") {
        Some(&mut options.inherit)
    } else if cursor.word("set") {
        Some(&mut options.set)
    } else {
        None
    })
}

fn members(cursor: &mut Cursor<'_>) -> Result<Vec<RoleName>, Error> {
    cursor.list(|cursor| {
        // An old word for roles.
        cursor.word("group");
        role_name(cursor)
    })
}

fn grantor(cursor: &mut Cursor<'_>) -> Result<Option<RoleName>, Error> {
    if cursor.words(&["granted", "by"]) { role_name(cursor).map(Some) } else { Ok(None) }
}
