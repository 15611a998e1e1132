//! BEGIN, COMMIT, ROLLBACK, SAVEPOINT and RELEASE, and the modes of a transaction.

use super::Cursor;
use crate::error::Error;
use crate::sql::plan::{Isolation, Modes, Transaction};

/// Parses what follows the first word.
pub fn parse(word: &str, cursor: &mut Cursor<'_>) -> Result<(Transaction, &'static str), Error> {
    match word {
        "begin" | "start" => {
            if word == "start" {
                cursor.expect_word("transaction")?;
            } else {
                block(cursor);
            }
            let tag = if word == "start" { "START TRANSACTION" } else { "BEGIN" };
            Ok((Transaction::Begin(modes(cursor)?), tag))
        }
        "commit" | "end" => {
            if word == "commit" && cursor.looking_at(&["prepared"]) {
                return Err(Error::unsupported("COMMIT PREPARED"));
            }
            block(cursor);
            Ok((Transaction::Commit(chain(cursor)?), "COMMIT"))
        }
        "rollback" | "abort" => {
            if cursor.looking_at(&["prepared"]) {
                return Err(Error::unsupported("ROLLBACK PREPARED"));
            }
            block(cursor);
            if word == "rollback" && cursor.word("to") {
                cursor.word("savepoint");
                return Ok((Transaction::RollbackTo(cursor.name()?), "ROLLBACK"));
            }
            Ok((Transaction::Rollback(chain(cursor)?), "ROLLBACK"))
        }
        "savepoint" => Ok((Transaction::Savepoint(cursor.name()?), "SAVEPOINT")),
        _ => {
            // "savepoint" may itself be the savepoint's name.
            if cursor.rest().len() > 1 {
                cursor.word("savepoint");
            }
            Ok((Transaction::Release(cursor.name()?), "RELEASE"))
        }
    }
}

fn block(cursor: &mut Cursor<'_>) {
    cursor.one_of(&["work", "transaction"]);
}

fn chain(cursor: &mut Cursor<'_>) -> Result<bool, Error> {
    if !cursor.word("and") {
        return Ok(false);
    }
    let no = cursor.word("no");
    cursor.expect_word("chain")?;
    Ok(!no)
}

/// Transaction modes, with or without commas between them.
pub fn modes(cursor: &mut Cursor<'_>) -> Result<Modes, Error> {
    let mut modes = Modes::default();
    while !cursor.at_end() {
        if cursor.words(&["isolation", "level"]) {
            modes.isolation = Some(isolation(cursor)?);
        } else if cursor.words(&["read", "only"]) {
            modes.read_only = Some(true);
        } else if cursor.words(&["read", "write"]) {
            modes.read_only = Some(false);
        } else if cursor.words(&["not", "deferrable"]) {
            modes.deferrable = Some(false);
        } else if cursor.word("deferrable") {
            modes.deferrable = Some(true);
        } else {
            return Err(cursor.unexpected());
        }
        if cursor.mark(",") && cursor.at_end() {
            return Err(cursor.unexpected());
        }
    }
    Ok(modes)
}

fn isolation(cursor: &mut Cursor<'_>) -> Result<Isolation, Error> {
    const LEVELS: &[(&[&str], Isolation)] = &[
        (&["serializable"], Isolation::Serializable),
        (&["repeatable", "read"], Isolation::RepeatableRead),
        (&["read", "committed"], Isolation::ReadCommitted),
        (&["read", "uncommitted"], Isolation::ReadUncommitted),
    ];
    LEVELS.iter().find_map(|(words, level)| cursor.words(words).then_some(*level)).ok_or_else(|| cursor.unexpected())
}
