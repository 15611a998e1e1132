//! Whom a session may become (SET ROLE and SET SESSION AUTHORIZATION), and pg_has_role().

use super::session::Identity;
use crate::engine::cluster::{RoleRow, Snapshot};
use crate::error::{Condition, Error};
use crate::sql::types::{Datum, Value};

/// Whether a session may become that role, `None` being the default; whether it is a superuser then.
pub fn may_become(
    cluster: &Snapshot,
    authenticated: &Identity,
    session_user: &str,
    session: bool,
    role: Option<&str>,
) -> Result<bool, Error> {
    let Some(name) = role else {
        let own = if session { &authenticated.user } else { session_user };
        return Ok(cluster.role_row(own).is_some_and(|role| role.superuser));
    };
    if !session {
        return may_set_role(cluster, row(cluster, session_user)?.oid, name);
    }
    let target = row(cluster, name)?;
    // By who the client is, whoever it has become since.
    let is_superuser = cluster.role_by_oid(authenticated.user_oid).is_some_and(|role| role.superuser);
    if !is_superuser && target.oid != authenticated.user_oid {
        let message = format!("permission denied to set session authorization \"{name}\"");
        return Err(Error::new(Condition::InsufficientPrivilege, message));
    }
    Ok(target.superuser)
}

/// Whether a session of the user with that OID may set that role; whether it is a superuser then.
pub fn may_set_role(cluster: &Snapshot, session_user: u32, name: &str) -> Result<bool, Error> {
    let target = row(cluster, name)?;
    if !cluster.may_become(session_user, target.oid) {
        let message = format!("permission denied to set role \"{name}\"");
        return Err(Error::new(Condition::InsufficientPrivilege, message));
    }
    Ok(target.superuser)
}

fn row<'c>(cluster: &'c Snapshot, name: &str) -> Result<&'c RoleRow, Error> {
    let message = || format!("role \"{name}\" does not exist");
    cluster.role_row(name).ok_or_else(|| Error::new(Condition::InvalidParameterValue, message()))
}

/// pg_has_role(): the current user's membership, or that of a named one.
pub fn has_role(cluster: &Snapshot, user: u32, arguments: &[Datum<'_>]) -> Result<Value, Error> {
    let role = |argument: &Datum<'_>| match argument {
        Datum::Text(name) => {
            let missing = || Error::new(Condition::UndefinedObject, format!("role \"{name}\" does not exist"));
            cluster.role_row(name).map(|role| role.oid).ok_or_else(missing)
        }
        Datum::Int(oid) => Ok(u32::try_from(*oid).unwrap_or(0)),
        _ => Ok(0),
    };
    let (member, of, kinds) = match arguments {
        [of, Datum::Text(kinds)] => (user, role(of)?, *kinds),
        [member, of, Datum::Text(kinds)] => (role(member)?, role(of)?, *kinds),
        _ => return Ok(Value::Null),
    };
    let mut has = false;
    for kind in kinds.split(',') {
        let word = kind.trim().to_uppercase();
        let bare = ["WITH GRANT OPTION", "WITH ADMIN OPTION"].iter().find_map(|option| word.strip_suffix(option));
        has |= match bare.map_or(word.as_str(), str::trim_end) {
            "MEMBER" | "USAGE" | "SET" if bare.is_some() => cluster.admin_of(member, of).is_some(),
            "MEMBER" => cluster.is_superuser(member) || cluster.is_member(member, of),
            "USAGE" => cluster.has_privileges_of(member, of),
            "SET" => cluster.may_become(member, of),
            _ => {
                let message = format!("unrecognized privilege type: \"{}\"", kind.trim());
                return Err(Error::new(Condition::InvalidParameterValue, message));
            }
        };
    }
    Ok(Value::Int(i64::from(has)))
}
