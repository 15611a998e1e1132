//! The checks after authentication: the role, the database, their limits.
//!
//! In PostgreSQL's order and wording (`InitPostgres`), which tells a client that has proved itself what is wrong.

use super::{Identity, Role};
use crate::error::{Condition, Error};

/// A database, as far as it matters to whether a session may begin in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// `pg_database.oid`.
    pub oid: u32,
    /// Its name.
    pub name: String,
    /// ALLOW_CONNECTIONS.
    pub allow_connections: bool,
    /// CONNECTION LIMIT; negative: none.
    pub connection_limit: i32,
    /// Whether this role has the CONNECT privilege.
    pub may_connect: bool,
}

/// How full the server is, this session included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Census {
    /// Sessions of the role.
    pub of_role: u32,
    /// Sessions in the database.
    pub of_database: u32,
    /// Whether the sessions left are reserved for superusers.
    pub reserved: bool,
}

/// Whether the session may begin: the role it runs as. Errors end the connection (FATAL).
pub fn admit(
    identity: &Identity,
    database_name: &str,
    database: Option<&Database>,
    census: &Census,
) -> Result<Role, Error> {
    let user = &identity.user;
    let Some(role) = &identity.role else {
        return Err(authorization(format!("role \"{user}\" does not exist")));
    };
    if !role.login {
        return Err(authorization(format!("role \"{user}\" is not permitted to log in")));
    }
    if exceeds(role, role.connection_limit, census.of_role) {
        return Err(too_many(format!("too many connections for role \"{user}\"")));
    }
    if census.reserved && !role.superuser {
        return Err(too_many(
            "remaining connection slots are reserved for non-replication superuser connections".into(),
        ));
    }
    let Some(database) = database else {
        let message = format!("database \"{database_name}\" does not exist");
        return Err(Error::new(Condition::InvalidCatalogName, message));
    };
    if !database.allow_connections {
        let message = format!("database \"{database_name}\" is not currently accepting connections");
        return Err(Error::new(Condition::ObjectNotInPrerequisiteState, message));
    }
    if !database.may_connect && !role.superuser {
        let message = format!("permission denied for database \"{database_name}\"");
        return Err(
            Error::new(Condition::InsufficientPrivilege, message).detail("User does not have CONNECT privilege.")
        );
    }
    if exceeds(role, database.connection_limit, census.of_database) {
        return Err(too_many(format!("too many connections for database \"{database_name}\"")));
    }
    Ok(role.clone())
}

/// Limits do not bind superusers.
fn exceeds(role: &Role, limit: i32, sessions: u32) -> bool {
    !role.superuser && u32::try_from(limit).is_ok_and(|limit| sessions > limit)
}

fn authorization(message: String) -> Error {
    Error::new(Condition::InvalidAuthorizationSpecification, message)
}

fn too_many(message: String) -> Error {
    Error::new(Condition::TooManyConnections, message)
}

#[cfg(test)]
mod tests {
    use super::super::Method;
    use super::*;

    fn identity() -> Identity {
        let role = Role {
            oid: 16384,
            name: "ann".into(),
            superuser: false,
            login: true,
            connection_limit: 2,
            valid_until_us: None,
            password: None,
            memberships: Vec::new(),
        };
        Identity {
            user: "ann".into(),
            role: Some(role),
            method: Method::Trust,
            authenticated_as: None,
            file: "f".into(),
            line: 1,
            keys: None,
        }
    }

    fn shop() -> Database {
        Database { oid: 5, name: "shop".into(), allow_connections: true, connection_limit: 3, may_connect: true }
    }

    #[test]
    fn every_refusal_in_postgresql_order() {
        let mut identity = identity();
        let mut shop = shop();
        let mut census = Census { of_role: 3, of_database: 4, reserved: true };
        shop.allow_connections = false;
        shop.may_connect = false;
        let role = identity.role.take().unwrap();
        let check = |identity: &Identity, shop: Option<&Database>, census: &Census| {
            admit(identity, "shop", shop, census).map(drop).map_err(|error| error.to_string())
        };
        // All is wrong; each step puts right what was complained of.
        assert_eq!(check(&identity, None, &census), Err("role \"ann\" does not exist (28000)".into()));
        identity.role = Some(Role { login: false, ..role.clone() });
        assert_eq!(check(&identity, None, &census), Err("role \"ann\" is not permitted to log in (28000)".into()));
        identity.role = Some(role.clone());
        assert_eq!(check(&identity, None, &census), Err("too many connections for role \"ann\" (53300)".into()));
        census.of_role = 2;
        assert_eq!(
            check(&identity, None, &census),
            Err("remaining connection slots are reserved for non-replication superuser connections (53300)".into())
        );
        census.reserved = false;
        assert_eq!(check(&identity, None, &census), Err("database \"shop\" does not exist (3D000)".into()));
        assert_eq!(
            check(&identity, Some(&shop), &census),
            Err("database \"shop\" is not currently accepting connections (55000)".into())
        );
        shop.allow_connections = true;
        assert_eq!(
            check(&identity, Some(&shop), &census),
            Err("permission denied for database \"shop\" (42501)".into())
        );
        shop.may_connect = true;
        assert_eq!(
            check(&identity, Some(&shop), &census),
            Err("too many connections for database \"shop\" (53300)".into())
        );
        census.of_database = 3;
        assert_eq!(check(&identity, Some(&shop), &census), Ok(()));
    }

    #[test]
    fn limits_and_privileges_do_not_bind_superusers() {
        let mut identity = identity();
        identity.role.as_mut().unwrap().superuser = true;
        let census = Census { of_role: 9, of_database: 9, reserved: true };
        let shop = Database { may_connect: false, ..shop() };
        assert!(admit(&identity, "shop", Some(&shop), &census).is_ok());
    }
}
