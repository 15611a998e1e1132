//! Roles and databases as PostgreSQL has them, where it is the server's own: read as its superuser, over connections on
//! which no session ever runs, when a client comes in.

use std::time::Instant;

use super::ask::{self, Failure, Question};
use super::lend::Lent;
use super::statements::StatementId;
use crate::auth::{Database, Role, Roles};
use crate::error::{Condition, Error};
use crate::worker::directory::Directory;

/// What a connection for looking up asks for in its start-up packet: nothing that a role or a database has of settings
/// shall change what the statement means.
pub const SETTINGS: &[(&str, &str)] = &[
    ("application_name", "pgprefork"),
    ("client_encoding", "UTF8"),
    ("search_path", "pg_catalog"),
    ("DateStyle", "ISO"),
    ("default_transaction_isolation", "read committed"),
    ("statement_timeout", "0"),
];

/// One row, whatever of the two there is. Times are microseconds since 2000-01-01 UTC.
const LOOK_UP: &str = "\
SELECT r.oid, r.rolname, r.rolsuper, r.rolcanlogin, r.rolconnlimit, r.rolpassword,
  CASE r.rolvaliduntil WHEN 'infinity' THEN NULL WHEN '-infinity' THEN -9223372036854775808
    ELSE (extract(epoch from r.rolvaliduntil - '2000-01-01 00:00:00+00'::timestamptz) * 1000000)::int8 END,
  (WITH RECURSIVE above(oid) AS (SELECT roleid FROM pg_auth_members WHERE member = r.oid
      UNION SELECT m.roleid FROM pg_auth_members m JOIN above ON m.member = above.oid)
    SELECT json_agg(g.rolname)::text FROM pg_authid g WHERE g.oid IN (SELECT oid FROM above)),
  d.oid, d.datallowconn, d.datconnlimit, has_database_privilege(r.oid, d.oid, 'CONNECT')
FROM (VALUES (1)) AS one LEFT JOIN pg_authid r ON r.rolname = $1::name LEFT JOIN pg_database d ON d.datname = $2::name";

/// Its name, and how a connection is known to have it.
const STATEMENT: &str = "look_up";
const STATEMENT_ID: StatementId = StatementId(*b"look up a role  ");

/// What was found for one client.
pub struct Found {
    role: Option<Role>,
    database: Option<Database>,
    mock_secret: [u8; 32],
}

impl Roles for Found {
    fn role(&self, name: &str) -> Option<Role> {
        self.role.clone().filter(|role| role.name == name)
    }
}

impl Directory for Found {
    fn database(&self, name: &str, _role: Option<&Role>) -> Option<Database> {
        self.database.clone().filter(|database| database.name == name)
    }

    fn mock_secret(&self) -> [u8; 32] {
        self.mock_secret
    }
}

/// Whom and what to look up.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// The role.
    pub role: &'a str,
    /// The database, as the client calls it.
    pub database: &'a str,
    /// What it is called in PostgreSQL.
    pub name_there: &'a str,
}

/// Looks up a role and a database. After an error the connection is of no use any more.
pub fn look_up(
    lent: &mut Lent,
    names: Names<'_>,
    mock_secret: [u8; 32],
    deadline: Instant,
    interrupted: &mut dyn FnMut() -> bool,
) -> Result<Found, Error> {
    let question =
        Question { kept: Some((STATEMENT, STATEMENT_ID)), text: LOOK_UP, values: &[names.role, names.name_there] };
    let mut found = None;
    ask::ask(lent, question, deadline, interrupted, &mut |values| {
        found = Some(read(values, names, mock_secret)?);
        Ok(())
    })
    .map_err(|failure| match failure {
        Failure::Refused(error) | Failure::Row(error) => error,
        Failure::Lost(why) => lost(&why),
        Failure::NotUnderstood => unexpected(),
    })?;
    found.ok_or_else(unexpected)
}

fn read(values: &[Option<&str>], names: Names<'_>, mock_secret: [u8; 32]) -> Result<Found, Error> {
    let [oid, _, superuser, login, limit, password, until, above, base, allows, base_limit, may_connect] = *values
    else {
        return Err(unexpected());
    };
    let is_true = |value: Option<&str>| value == Some("t");
    let role = match oid {
        None => None,
        Some(oid) => Some(Role {
            oid: number(Some(oid))?,
            name: names.role.to_owned(),
            superuser: is_true(superuser),
            login: is_true(login),
            connection_limit: number(limit)?,
            valid_until_us: until.map(|until| number(Some(until))).transpose()?,
            password: password.map(str::to_owned),
            memberships: above.map_or(Ok(Vec::new()), |names| serde_json::from_str(names).map_err(|_| unexpected()))?,
        }),
    };
    let database = match base {
        None => None,
        Some(base) => Some(Database {
            oid: number(Some(base))?,
            name: names.database.to_owned(),
            allow_connections: is_true(allows),
            connection_limit: number(base_limit)?,
            may_connect: is_true(may_connect),
        }),
    };
    Ok(Found { role, database, mock_secret })
}

fn number<T: std::str::FromStr>(text: Option<&str>) -> Result<T, Error> {
    text.and_then(|text| text.parse().ok()).ok_or_else(unexpected)
}

fn unexpected() -> Error {
    Error::internal("roles could not be looked up: PostgreSQL's answer is not understood")
}

fn lost(why: &dyn std::fmt::Display) -> Error {
    log::debug!("a role could not be looked up: {why}");
    Error::new(Condition::CannotConnectNow, "the database system is not yet accepting connections")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_and_what_is_missing_is_missing() {
        let texts = ["10", "ann", "f", "t", "3", "SCRAM-SHA-256$x", "5000000", "[\"a\\\"b\"]", "16384", "t", "-1", "t"];
        let values: Vec<_> = texts.iter().map(|text| Some(*text)).collect();
        let names = Names { role: "ann", database: "shop", name_there: "store" };
        let found = read(&values, names, [0; 32]).unwrap();
        let role = found.role("ann").unwrap();
        assert_eq!((role.oid, role.superuser, role.login, role.connection_limit), (10, false, true, 3));
        assert_eq!((role.valid_until_us, role.memberships), (Some(5_000_000), vec!["a\"b".to_owned()]));
        assert_eq!(found.role("bob"), None);
        assert!(found.database("shop", None).unwrap().may_connect);
        let nothing = read(&[None; 12], names, [0; 32]).unwrap();
        assert_eq!((nothing.role("ann"), nothing.database("shop", None)), (None, None));
        assert!(read(&values[1..], names, [0; 32]).is_err());
    }
}
