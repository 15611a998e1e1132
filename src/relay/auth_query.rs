//! `auth_query`: the password of a user that no file lists, asked of an upstream server as `auth_user`.
//!
//! Its connections are a pool of their own, on which no client's parameter is ever set. The user's name travels as a
//! parameter of the statement.

use std::time::Instant;

use super::ask::{self, Failure, Question};
use super::lend::Lent;
use crate::error::{Condition, Error};

/// What a connection for the query asks for in its start-up packet.
pub const SETTINGS: &[(&str, &str)] = &[("application_name", "pgprefork"), ("client_encoding", "UTF8")];

/// A user that the query has found, and its password in whatever form, if it has one.
#[derive(Clone)]
pub struct Found {
    /// The name.
    pub name: String,
    /// The password.
    pub password: Option<String>,
}

/// Runs the query for a user. After an error the connection is of no use any more.
pub fn look_up(
    lent: &mut Lent,
    query: &str,
    user: &str,
    deadline: Instant,
    interrupted: &mut dyn FnMut() -> bool,
) -> Result<Option<Found>, Failure> {
    let mut found = None;
    // Unnamed: what is upstream may be a pooler.
    let question = Question { kept: None, text: query, values: &[user] };
    ask::ask(lent, question, deadline, interrupted, &mut |values| {
        found = read(values, user)?;
        Ok(())
    })?;
    Ok(found)
}

/// Reads a row: a name and a password. Of several rows the last one counts, as in PgBouncer. One of another user is none.
fn read(values: &[Option<&str>], user: &str) -> Result<Option<Found>, Error> {
    let wrong = |message: String| Error::new(Condition::ProtocolViolation, message);
    let [name, password] = *values else {
        return Err(wrong(format!("expected 2 columns from auth_query, not {}", values.len())));
    };
    let name = name.ok_or_else(|| wrong("auth_query response contained null user name".to_owned()))?;
    if name != user {
        log::warn!("auth_query returned another user than it was asked for");
        return Ok(None);
    }
    let password = password.filter(|password| !password.is_empty()).map(str::to_owned);
    Ok(Some(Found { name: name.to_owned(), password }))
}

/// What the client is told of a query that failed: in PgBouncer's words, and nothing of what the server said.
pub fn refusal(failure: &Failure) -> Error {
    log::error!("error in auth_query: {failure}");
    match failure {
        Failure::Row(error) => error.clone(),
        Failure::Refused(_) => Error::new(Condition::ProtocolViolation, "error response from auth_query"),
        Failure::NotUnderstood => Error::new(Condition::ProtocolViolation, "unexpected response from auth_query"),
        Failure::Lost(_) => Error::new(Condition::ConnectionFailure, "server conn crashed?"),
    }
}

/// Whether a log-in may have failed because of [`SETTINGS`], which not every server takes.
pub fn is_of_settings(error: &Error) -> bool {
    use Condition::{FeatureNotSupported, InvalidParameterValue, ProtocolViolation, SyntaxError, UndefinedObject};
    let of = [FeatureNotSupported, InvalidParameterValue, ProtocolViolation, SyntaxError, UndefinedObject];
    of.contains(&error.condition())
}

/// What the client is told where there is no connection for the query.
pub fn unreachable(error: Error) -> Error {
    if error.condition() == Condition::QueryCanceled || error.fields().message == "query_wait_timeout" {
        return error;
    }
    log::error!("no connection for auth_query: {error}");
    Error::new(Condition::ConnectionFailure, "server login failed: the connection for auth_query could not be made")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_a_name_and_a_password() {
        let found = |values: &[Option<&str>]| {
            read(values, "ann").map(|found| found.map(|found| found.password)).map_err(|error| error.to_string())
        };
        assert_eq!(found(&[Some("ann"), Some("md5x")]), Ok(Some(Some("md5x".to_owned()))));
        assert_eq!(found(&[Some("ann"), None]), Ok(Some(None)));
        assert_eq!(found(&[Some("ann"), Some("")]), Ok(Some(None)));
        assert_eq!(found(&[Some("Ann"), Some("x")]), Ok(None));
        assert!(found(&[None, Some("x")]).unwrap_err().contains("auth_query response contained null user name"));
        assert!(found(&[Some("ann")]).unwrap_err().contains("expected 2 columns from auth_query, not 1"));
    }
}
