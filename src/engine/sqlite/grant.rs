//! GRANT and REVOKE on one object: which privileges, on whose behalf, and what the object's list is afterwards.
//!
//! Shared by the objects of a database and by databases themselves. Follows PostgreSQL's order of checks and its words.

use super::rights::{Object, Rights, denied};
use crate::error::{Condition, Error};
use crate::sql::acl::{Acl, Dependents, Item, Kind, PUBLIC, Privileges};
use crate::sql::catalog::Relation;
use crate::sql::define::{Grantee, PrivilegeChange, RoleName};

/// A GRANT or REVOKE with its roles and words resolved.
#[derive(Debug, Clone)]
pub struct Grant {
    /// GRANT; else REVOKE.
    pub grants: bool,
    /// On whole objects; `None`: ALL.
    pub privileges: Option<Privileges>,
    /// On columns, by their names.
    pub columns: Vec<(Privileges, Vec<String>)>,
    /// OIDs, [`PUBLIC`] among them.
    pub grantees: Vec<u32>,
    /// Roles by which the grantees were resolved may pass it on.
    pub grant_option: bool,
    /// CASCADE.
    pub dependents: Dependents,
}

/// Resolves the roles and the words of a statement about objects of that kind.
pub fn resolve(rights: &Rights, change: &PrivilegeChange, kind: Kind) -> Result<Grant, Error> {
    let grantees = change.grantees.iter().map(|grantee| match grantee {
        Grantee::Public => Ok(PUBLIC),
        Grantee::Role(role) => rights.resolve(role),
    });
    let grantees = grantees.collect::<Result<Vec<_>, _>>()?;
    let mut whole = Privileges::NONE;
    let mut columns = Vec::new();
    if !change.all_columns.is_empty() {
        require_relations(kind)?;
        columns.push((Kind::Column.all(), change.all_columns.clone()));
    }
    // Tables and sequences are both granted on by the word TABLE.
    let allowed = if kind == Kind::Table { kind.all().or(Kind::Sequence.all()) } else { kind.all() };
    for (word, named) in &change.privileges {
        if !named.is_empty() {
            require_relations(kind)?;
        }
        let Some(privilege) = Privileges::named(word) else {
            let message = format!("unrecognized privilege type \"{word}\"");
            return Err(Error::new(Condition::SyntaxError, message));
        };
        if named.is_empty() {
            if !allowed.contains(privilege) {
                let kind = if kind == Kind::Table { "relation" } else { kind.word() };
                return Err(invalid_privilege(privilege, kind));
            }
            whole = whole.or(privilege);
        } else {
            columns.push((privilege, named.clone()));
        }
    }
    let all = change.privileges.is_empty() && change.all_columns.is_empty();
    Ok(Grant {
        grants: change.grants,
        privileges: (!all).then_some(whole),
        columns,
        grantees,
        grant_option: change.grant_option,
        dependents: if change.cascade { Dependents::Cascade } else { Dependents::Restrict },
    })
}

/// GRANTED BY takes none but oneself.
pub fn check_grantor(rights: &Rights, grantor: Option<&RoleName>) -> Result<(), Error> {
    match grantor {
        Some(role) if rights.resolve(role)? != rights.role => {
            Err(Error::new(Condition::FeatureNotSupported, "grantor must be current user"))
        }
        _ => Ok(()),
    }
}

fn require_relations(kind: Kind) -> Result<(), Error> {
    if kind == Kind::Table {
        return Ok(());
    }
    Err(Error::new(Condition::InvalidGrantOperation, "column privileges are only valid for relations"))
}

/// 0LP01 for a privilege that objects of a kind do not have.
pub fn invalid_privilege(privilege: Privileges, kind: &str) -> Error {
    let word = privilege.each().next().map_or("", |(_, word)| word);
    Error::new(Condition::InvalidGrantOperation, format!("invalid privilege type {word} for {kind}"))
}

/// The list of an object after a GRANT or REVOKE of those privileges on it, of which `all` there are may be meant.
pub fn apply(
    rights: &Rights,
    object: Object<'_>,
    grant: &Grant,
    wanted: Privileges,
    all: bool,
    warnings: &mut Vec<Error>,
) -> Result<Acl, Error> {
    let (kind, owner) = (object.kind(), object.owner());
    let mut list = Acl::in_force(object.acl().as_ref(), kind, owner);
    // What is granted on the table may be passed on for its columns.
    let with_table = match object {
        Object::Column(relation, _) => {
            let mut both = Acl::in_force(relation.acl.as_ref(), Kind::Table, owner);
            both.0.extend(list.0.iter().copied());
            both
        }
        _ => list.clone(),
    };
    let (grantor, may) = with_table.best_grantor(rights.holder(rights.role, owner), wanted);
    if may.is_empty() && !has_any(rights, grantor, object) {
        return Err(match object {
            Object::Column(relation, at) => {
                let column = relation.columns.get(at).map_or("", |column| column.name.as_str());
                denied_column(column, relation)
            }
            _ => denied(kind.word(), object.name()),
        });
    }
    let privileges = wanted.and(may);
    if privileges.is_empty() || !all && privileges != wanted {
        warnings.push(warning(object, grant.grants, privileges.is_empty()));
    }
    merge(rights, &mut list, grant, privileges, (grantor, owner))?;
    Ok(list)
}

/// Whether a role has anything at all on an object: then not being allowed to grant is no error.
fn has_any(rights: &Rights, role: u32, object: Object<'_>) -> bool {
    let all = object.kind().all();
    let of = |object: Object<'_>| {
        !rights.held(role, object, all).is_empty() || !rights.grantable(role, object, all).is_empty()
    };
    match object {
        Object::Column(relation, _) => of(object) || of(Object::Relation(relation)),
        _ => of(object),
    }
}

/// Enters what is granted, or takes it out, on behalf of the grantor, for each grantee.
pub fn merge(
    rights: &Rights,
    list: &mut Acl,
    grant: &Grant,
    privileges: Privileges,
    (grantor, owner): (u32, u32),
) -> Result<(), Error> {
    let roles = rights.cluster().as_ref();
    for grantee in &grant.grantees {
        if grant.grants && grant.grant_option && *grantee == PUBLIC {
            let message = "grant options can only be granted to roles";
            return Err(Error::new(Condition::InvalidGrantOperation, message));
        }
        let item = |privileges, grantable| Item { grantee: *grantee, grantor, privileges, grantable };
        let none = Privileges::NONE;
        if grant.grants {
            list.grant(roles, item(privileges, if grant.grant_option { privileges } else { none }), owner)?;
        } else {
            let taken = item(if grant.grant_option { none } else { privileges }, privileges);
            list.revoke(roles, taken, owner, grant.dependents)?;
        }
    }
    Ok(())
}

/// A REVOKE on a table is one on each of its columns, the system's own among them, of which PostgreSQL warns as well.
pub fn warn_of_system_columns(
    rights: &Rights,
    relation: &Relation,
    wanted: Privileges,
    warnings: &mut Vec<Error>,
) -> Result<(), Error> {
    let list = Acl::in_force(relation.acl.as_ref(), Object::Relation(relation).kind(), relation.owner);
    let (grantor, may) = list.best_grantor(rights.holder(rights.role, relation.owner), wanted);
    // Nothing is granted on such a column by itself.
    if may.is_empty() && !has_any(rights, grantor, Object::Column(relation, usize::MAX)) {
        return Err(denied_column("tableoid", relation));
    }
    let is_short = may.is_empty() || wanted != Kind::Column.all() && may != wanted;
    for name in ["tableoid", "cmax", "xmax", "cmin", "xmin", "ctid"].iter().filter(|_| is_short && !wanted.is_empty()) {
        let shown = format!("column \"{name}\" of relation \"{}\"", relation.name);
        warnings.push(short(false, may.is_empty(), &shown));
    }
    Ok(())
}

fn denied_column(column: &str, relation: &Relation) -> Error {
    let message = format!("permission denied for column \"{column}\" of relation \"{}\"", relation.name);
    Error::new(Condition::InsufficientPrivilege, message)
}

fn warning(object: Object<'_>, grants: bool, none: bool) -> Error {
    let shown = match object {
        Object::Column(relation, at) => {
            let column = relation.columns.get(at).map_or("", |column| column.name.as_str());
            format!("column \"{column}\" of relation \"{}\"", relation.name)
        }
        _ => format!("\"{}\"", object.name()),
    };
    short(grants, none, &shown)
}

/// The warning that none or not all of the privileges could be dealt with.
fn short(grants: bool, none: bool, shown: &str) -> Error {
    let (condition, done) = match grants {
        true => (Condition::PrivilegeNotGranted, "were granted"),
        false => (Condition::PrivilegeNotRevoked, "could be revoked"),
    };
    let which = if none { "no" } else { "not all" };
    Error::new(condition, format!("{which} privileges {done} for {shown}"))
}
