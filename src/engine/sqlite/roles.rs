//! Whom a session may become: SET ROLE and SET SESSION AUTHORIZATION.

use super::session::Identity;
use crate::engine::cluster::Snapshot;
use crate::error::{Condition, Error};

/// Whether a session may become that role, `None` being the default; whether it is a superuser then.
pub fn may_become(
    cluster: &Snapshot,
    authenticated: &Identity,
    session_user: &str,
    session: bool,
    role: Option<&str>,
) -> Result<bool, Error> {
    let row = |name: &str| {
        let message = || format!("role \"{name}\" does not exist");
        cluster.role_row(name).ok_or_else(|| Error::new(Condition::InvalidParameterValue, message()))
    };
    let Some(name) = role else {
        let own = if session { &authenticated.user } else { session_user };
        return Ok(cluster.role_row(own).is_some_and(|role| role.superuser));
    };
    let target = row(name)?;
    if session {
        // By who the client is, whoever it has become since.
        let is_superuser = cluster.role_by_oid(authenticated.user_oid).is_some_and(|role| role.superuser);
        if !is_superuser && target.oid != authenticated.user_oid {
            let message = "permission denied to set session authorization";
            return Err(Error::new(Condition::InsufficientPrivilege, message));
        }
    } else if !cluster.may_become(row(session_user)?.oid, target.oid) {
        let message = format!("permission denied to set role \"{name}\"");
        return Err(Error::new(Condition::InsufficientPrivilege, message));
    }
    Ok(target.superuser)
}
