//! SET, SHOW, RESET, DISCARD, PREPARE, EXECUTE, DEALLOCATE, DECLARE, FETCH, MOVE and CLOSE.

use super::{Cursor, Utility, remaining, transaction};
use crate::error::{Condition, Error};
use crate::sql::define::SettingChange;
use crate::sql::lex::{self, Kind, Token};
use crate::sql::plan::{Direction, Discard, SessionCommand, Tag, Transaction};
use crate::sql::types;

fn command(command: SessionCommand, tag: &'static str) -> Utility {
    Utility::Session(command, Tag::Bare(tag))
}

/// SET after its first word.
pub fn set(cursor: &mut Cursor<'_>) -> Result<Utility, Error> {
    if cursor.words(&["session", "characteristics", "as", "transaction"]) {
        return Ok(command(SessionCommand::SetCharacteristics(transaction::modes(cursor)?), "SET"));
    }
    if cursor.word("constraints") {
        return set_constraints(cursor);
    }
    let scope =
        if cursor.looking_at(&["session", "authorization"]) { None } else { cursor.one_of(&["session", "local"]) };
    let local = scope == Some(1);
    if cursor.word("transaction") {
        if cursor.looking_at(&["snapshot"]) {
            return Err(Error::unsupported("SET TRANSACTION SNAPSHOT"));
        }
        return Ok(Utility::Transaction(Transaction::Set(transaction::modes(cursor)?), "SET"));
    }
    match rest_of_set(cursor)? {
        (_, Given::Current) => Err(Error::unsupported("SET … FROM CURRENT")),
        (name, Given::Default) => Ok(command(SessionCommand::Set { local, name, values: None }, "SET")),
        (name, Given::Values(values)) => Ok(command(SessionCommand::Set { local, name, values: Some(values) }, "SET")),
    }
}

/// What SET makes of a setting.
enum Given {
    Values(Vec<String>),
    Default,
    Current,
}

impl From<Option<Vec<String>>> for Given {
    fn from(values: Option<Vec<String>>) -> Self {
        values.map_or(Self::Default, Self::Values)
    }
}

/// A setting and what SET makes of it, in every form that is not about the transaction.
fn rest_of_set(cursor: &mut Cursor<'_>) -> Result<(String, Given), Error> {
    let one = |value: String| Given::Values(vec![value]);
    Ok(if cursor.words(&["time", "zone"]) {
        ("timezone".to_owned(), time_zone(cursor)?.into())
    } else if cursor.word("names") {
        let default = cursor.at_end() || cursor.word("default");
        ("client_encoding".to_owned(), if default { Given::Default } else { one(value(cursor)?) })
    } else if cursor.word("schema") {
        ("search_path".to_owned(), one(value(cursor)?))
    } else if cursor.words(&["xml", "option"]) {
        ("xmloption".to_owned(), one(value(cursor)?.to_uppercase()))
    } else if !cursor.looking_at(&["role", "to"]) && !is_assigned(cursor) && cursor.word("role") {
        ("role".to_owned(), one(value(cursor)?))
    } else if cursor.words(&["session", "authorization"]) {
        ("session_authorization".to_owned(), if cursor.word("default") { Given::Default } else { one(value(cursor)?) })
    } else {
        let name = setting_name(cursor)?;
        if cursor.words(&["from", "current"]) {
            return Ok((name, Given::Current));
        }
        if !cursor.word("to") {
            cursor.expect_mark("=")?;
        }
        (name, values(cursor)?.into())
    })
}

/// Whether an equals sign follows the next token.
fn is_assigned(cursor: &Cursor<'_>) -> bool {
    cursor.rest().get(1).is_some_and(|token| token.is(cursor.text, "="))
}

/// SET and RESET in ALTER ROLE and ALTER DATABASE: what happens to stored settings.
pub fn setting_change(cursor: &mut Cursor<'_>) -> Result<SettingChange, Error> {
    if cursor.word("reset") {
        let all = cursor.word("all");
        return Ok(if all { SettingChange::ResetAll } else { SettingChange::Reset(shown_name(cursor)?) });
    }
    cursor.expect_word("set")?;
    for words in [&["transaction"][..], &["session", "characteristics", "as", "transaction"]] {
        if !is_assigned(cursor) && cursor.words(words) {
            transaction::modes(cursor)?;
            let name = words.join(" ").to_uppercase().replace(" AS TRANSACTION", "");
            let message = format!("unrecognized configuration parameter \"{name}\"");
            return Err(Error::new(Condition::UndefinedObject, message));
        }
    }
    Ok(match rest_of_set(cursor)? {
        (name, Given::Values(values)) => SettingChange::Set { name, values },
        (name, Given::Default) => SettingChange::Reset(name),
        (name, Given::Current) => SettingChange::Keep(name),
    })
}

/// After SET CONSTRAINTS.
fn set_constraints(cursor: &mut Cursor<'_>) -> Result<Utility, Error> {
    let mut names = Vec::new();
    if !cursor.word("all") {
        loop {
            names.push(cursor.qualified()?.1);
            if !cursor.mark(",") {
                break;
            }
        }
    }
    let deferred = cursor.word("deferred");
    if !deferred {
        cursor.expect_word("immediate")?;
    }
    Ok(Utility::Transaction(Transaction::Constraints(names, deferred), "SET CONSTRAINTS"))
}

/// A setting's name: `name` or `class.name`.
fn setting_name(cursor: &mut Cursor<'_>) -> Result<String, Error> {
    let mut name = cursor.name()?;
    while cursor.mark(".") {
        name.push('.');
        name.push_str(&cursor.name()?);
    }
    Ok(name)
}

/// The values of SET; `None` for DEFAULT.
fn values(cursor: &mut Cursor<'_>) -> Result<Option<Vec<String>>, Error> {
    if cursor.word("default") {
        return Ok(None);
    }
    let mut values = vec![value(cursor)?];
    while cursor.mark(",") {
        values.push(value(cursor)?);
    }
    Ok(Some(values))
}

/// One value: a string, a number with its sign, or a word.
fn value(cursor: &mut Cursor<'_>) -> Result<String, Error> {
    if let Some(text) = cursor.string()? {
        return Ok(text);
    }
    let negative = cursor.mark("-");
    if !negative {
        cursor.mark("+");
    }
    match cursor.peek() {
        Some(token) if matches!(token.kind, Kind::Integer | Kind::Decimal) => {
            cursor.advance();
            Ok(format!("{}{}", if negative { "-" } else { "" }, token.text(cursor.text)))
        }
        Some(_) if !negative => cursor.name(),
        _ => Err(cursor.unexpected()),
    }
}

fn time_zone(cursor: &mut Cursor<'_>) -> Result<Option<Vec<String>>, Error> {
    if cursor.word("default") || cursor.word("local") {
        return Ok(None);
    }
    if cursor.word("interval") {
        return interval_zone(cursor).map(|zone| Some(vec![zone]));
    }
    Ok(Some(vec![value(cursor)?]))
}

/// A distance from Greenwich, under the name of the zone that it means.
fn interval_zone(cursor: &mut Cursor<'_>) -> Result<String, Error> {
    let Some(text) = cursor.string()? else { return Err(cursor.unexpected()) };
    if cursor.word("hour") && cursor.word("to") {
        cursor.expect_word("minute")?;
    }
    let interval = types::interval::Interval::parse(&text)?;
    let unit = match interval {
        types::interval::Interval { months: 0, days: 0, time_us } => {
            return Ok(crate::settings::offset_name(time_us / 1_000_000));
        }
        types::interval::Interval { months: 0, .. } => "days",
        _ => "months",
    };
    let message = format!("invalid value for parameter \"TimeZone\": \"INTERVAL '{text}'\"");
    Err(Error::new(Condition::InvalidParameterValue, message)
        .detail(format!("Cannot specify {unit} in time zone interval.")))
}

/// SHOW after its first word.
pub fn show(cursor: &mut Cursor<'_>) -> Result<Utility, Error> {
    let show = if cursor.word("all") { SessionCommand::ShowAll } else { SessionCommand::Show(shown_name(cursor)?) };
    Ok(command(show, "SHOW"))
}

fn shown_name(cursor: &mut Cursor<'_>) -> Result<String, Error> {
    if cursor.words(&["time", "zone"]) {
        return Ok("timezone".to_owned());
    }
    if cursor.words(&["transaction", "isolation", "level"]) {
        return Ok("transaction_isolation".to_owned());
    }
    if cursor.words(&["session", "authorization"]) {
        return Ok("session_authorization".to_owned());
    }
    setting_name(cursor)
}

/// RESET after its first word.
pub fn reset(cursor: &mut Cursor<'_>) -> Result<Utility, Error> {
    let reset = if cursor.word("all") { SessionCommand::ResetAll } else { SessionCommand::Reset(shown_name(cursor)?) };
    Ok(command(reset, "RESET"))
}

/// DISCARD after its first word.
pub fn discard(cursor: &mut Cursor<'_>) -> Result<Utility, Error> {
    let (what, tag) = match cursor.one_of(&["all", "plans", "sequences", "temp", "temporary"]) {
        Some(0) => (Discard::All, "DISCARD ALL"),
        Some(1) => (Discard::Plans, "DISCARD PLANS"),
        Some(2) => (Discard::Sequences, "DISCARD SEQUENCES"),
        Some(_) => (Discard::Temp, "DISCARD TEMP"),
        None => return Err(cursor.unexpected()),
    };
    Ok(command(SessionCommand::Discard(what), tag))
}

/// PREPARE name (types) AS statement, after its first word.
pub fn prepare(cursor: &mut Cursor<'_>, text: &str) -> Result<Utility, Error> {
    if cursor.looking_at(&["transaction"]) {
        return Err(Error::unsupported("PREPARE TRANSACTION"));
    }
    let name = cursor.name()?;
    let mut types = Vec::new();
    if cursor.mark("(") {
        let inner = cursor.parenthesised()?;
        for part in split_commas(inner, text) {
            types.push(type_oid(part, text)?);
        }
    }
    cursor.expect_word("as")?;
    let statement = remaining(cursor, text)?.to_owned();
    super::super::parse(&statement)?;
    Ok(command(SessionCommand::Prepare { name, types, text: statement }, "PREPARE"))
}

fn split_commas<'t>(tokens: &'t [Token], text: &str) -> Vec<&'t [Token]> {
    let mut parts = Vec::new();
    let (mut depth, mut first) = (0usize, 0usize);
    for (at, token) in tokens.iter().enumerate() {
        if token.is(text, "(") || token.is(text, "[") {
            depth += 1;
        } else if token.is(text, ")") || token.is(text, "]") {
            depth = depth.saturating_sub(1);
        } else if depth == 0 && token.is(text, ",") {
            parts.push(tokens.get(first..at).unwrap_or(&[]));
            first = at + 1;
        }
    }
    parts.push(tokens.get(first..).unwrap_or(&[]));
    parts
}

fn span<'a>(tokens: &[Token], text: &'a str) -> &'a str {
    match (tokens.first(), tokens.last()) {
        (Some(first), Some(last)) => text.get(first.start..last.end).unwrap_or(""),
        _ => "",
    }
}

fn type_oid(tokens: &[Token], text: &str) -> Result<u32, Error> {
    let written = span(tokens, text);
    let byte = tokens.first().map_or(text.len(), |token| token.start);
    // Modifiers do not matter for a parameter: numeric(10,2) is numeric.
    let name = match written.split_once('(') {
        Some((before, after)) => format!("{before} {}", after.split_once(')').map_or("", |(_, rest)| rest)),
        None => written.to_owned(),
    };
    let name = name.trim().trim_start_matches("pg_catalog.");
    types::parse_name(name).map(|type_| type_.oid()).ok_or_else(|| {
        Error::new(Condition::UndefinedObject, format!("type \"{name}\" does not exist"))
            .position(lex::position(text, byte))
    })
}

/// EXECUTE name (arguments), after its first word.
pub fn execute(cursor: &mut Cursor<'_>) -> Result<Utility, Error> {
    let name = cursor.name()?;
    let mut arguments = Vec::new();
    if cursor.mark("(") {
        let inner = cursor.parenthesised()?;
        for part in split_commas(inner, cursor.text) {
            if part.is_empty() {
                return Err(cursor.unexpected());
            }
            arguments.push(span(part, cursor.text).to_owned());
        }
    }
    Ok(command(SessionCommand::Execute { name, arguments }, "EXECUTE"))
}

/// DEALLOCATE after its first word.
pub fn deallocate(cursor: &mut Cursor<'_>) -> Result<Utility, Error> {
    cursor.word("prepare");
    if cursor.word("all") {
        return Ok(command(SessionCommand::Deallocate(None), "DEALLOCATE ALL"));
    }
    Ok(command(SessionCommand::Deallocate(Some(cursor.name()?)), "DEALLOCATE"))
}

/// DECLARE name CURSOR FOR query, after its first word.
pub fn declare(cursor: &mut Cursor<'_>, text: &str) -> Result<Utility, Error> {
    let name = cursor.name()?;
    let mut scroll = None;
    loop {
        if cursor.word("binary") {
            return Err(Error::unsupported("DECLARE BINARY CURSOR"));
        } else if cursor.words(&["no", "scroll"]) {
            scroll = Some(false);
        } else if cursor.word("scroll") {
            scroll = Some(true);
        } else if !(cursor.word("insensitive") || cursor.word("asensitive")) {
            break;
        }
    }
    cursor.expect_word("cursor")?;
    let hold = cursor.words(&["with", "hold"]);
    if !hold {
        cursor.words(&["without", "hold"]);
    }
    cursor.expect_word("for")?;
    let query = remaining(cursor, text)?.to_owned();
    super::super::parse(&query)?;
    Ok(command(SessionCommand::Declare { name, scroll, hold, text: query }, "DECLARE CURSOR"))
}

/// FETCH and MOVE after their first word.
pub fn fetch(cursor: &mut Cursor<'_>, moves: bool) -> Result<Utility, Error> {
    let direction = direction(cursor)?;
    if !cursor.word("from") {
        cursor.word("in");
    }
    let name = cursor.name()?;
    let tag = if moves { Tag::Move } else { Tag::Fetch };
    Ok(Utility::Session(SessionCommand::Fetch { cursor: name, direction, moves }, tag))
}

fn direction(cursor: &mut Cursor<'_>) -> Result<Direction, Error> {
    // A word that stands alone at the end is the cursor's name, whatever it means elsewhere.
    if cursor.rest().len() <= 1 {
        return Ok(Direction::Forward(1));
    }
    if let Some(count) = cursor.integer() {
        return Ok(Direction::Forward(count));
    }
    let direction = match cursor
        .one_of(&["next", "prior", "first", "last", "all", "absolute", "relative", "forward", "backward"])
    {
        None => return Ok(Direction::Forward(1)),
        Some(0) => Direction::Forward(1),
        Some(1) => Direction::Backward(1),
        Some(2) => Direction::Absolute(1),
        Some(3) => Direction::Absolute(-1),
        Some(4) => Direction::ForwardAll,
        Some(5) => Direction::Absolute(cursor.integer().ok_or_else(|| cursor.unexpected())?),
        Some(6) => Direction::Relative(cursor.integer().ok_or_else(|| cursor.unexpected())?),
        Some(7) if cursor.word("all") => Direction::ForwardAll,
        Some(7) => Direction::Forward(cursor.integer().unwrap_or(1)),
        Some(_) if cursor.word("all") => Direction::BackwardAll,
        Some(_) => Direction::Backward(cursor.integer().unwrap_or(1)),
    };
    Ok(direction)
}

/// CLOSE after its first word.
pub fn close(cursor: &mut Cursor<'_>) -> Result<Utility, Error> {
    if cursor.word("all") {
        return Ok(command(SessionCommand::Close(None), "CLOSE CURSOR ALL"));
    }
    Ok(command(SessionCommand::Close(Some(cursor.name()?)), "CLOSE CURSOR"))
}
