//! Which definition a statement is, and the grammar of those that fit in a few lines.

use super::cursor::Cursor;
use super::grant;
use super::{Definition, Name, ObjectKind, alter, database, privilege, role, table};
use crate::error::{Condition, Error};
use sqlparser::tokenizer::Token;

/// Reads one definition. `None`: the statement is something else.
pub(super) fn statement(cursor: &mut Cursor<'_>) -> Result<Option<Definition>, Error> {
    let definition = if cursor.word("create") {
        create(cursor)?
    } else if cursor.word("drop") {
        drop(cursor)?
    } else if cursor.word("alter") {
        alter_statement(cursor)?
    } else if cursor.word("truncate") {
        cursor.word("table");
        let tables = tables(cursor)?;
        let restart_identity = cursor.words(&["restart", "identity"]);
        cursor.words(&["continue", "identity"]);
        let cascade = alter::cascade(cursor);
        Definition::Truncate { tables, cascade, restart_identity }
    } else if cursor.word("vacuum") {
        vacuum(cursor)?
    } else if cursor.word("analyze") || cursor.word("analyse") {
        if cursor.peek_open() {
            cursor.options()?;
        }
        cursor.word("verbose");
        let (tables, columns) = optional_tables(cursor)?;
        Definition::Analyze { tables, columns }
    } else if cursor.word("checkpoint") {
        Definition::Checkpoint
    } else if cursor.word("reindex") {
        reindex(cursor)?
    } else if cursor.word("grant") {
        grant::grant(cursor)?
    } else if cursor.word("revoke") {
        grant::revoke(cursor)?
    } else if cursor.words(&["reassign", "owned", "by"]) {
        privilege::reassign_owned(cursor)?
    } else if cursor.word("comment") {
        comment(cursor)?
    } else {
        for word in ["cluster", "security", "refresh", "import"] {
            if cursor.peek(&[word]) {
                return Err(Error::unsupported(word.to_uppercase()).position(cursor.position()));
            }
        }
        return Ok(None);
    };
    Ok(Some(definition))
}

/// Refuses an object of SQL's that is not there, by its name, else the syntax error.
fn refuse(cursor: &Cursor<'_>, verb: &str) -> Error {
    const OBJECTS: &[&str] = &[
        "access",
        "aggregate",
        "cast",
        "collation",
        "conversion",
        "domain",
        "event",
        "extension",
        "foreign",
        "function",
        "language",
        "materialized",
        "operator",
        "policy",
        "procedure",
        "publication",
        "routine",
        "rule",
        "server",
        "statistics",
        "subscription",
        "system",
        "tablespace",
        "text",
        "transform",
        "trigger",
        "type",
        "large",
        "default",
        "group",
        "recursive",
        "trusted",
        "constraint",
        "column",
    ];
    match OBJECTS.iter().find(|word| cursor.peek(&[word])) {
        Some(word) => Error::unsupported(format!("{verb} {}", word.to_uppercase())).position(cursor.position()),
        None => cursor.unexpected(),
    }
}

fn create(cursor: &mut Cursor<'_>) -> Result<Definition, Error> {
    if cursor.words(&["or", "replace"]) {
        let temporary = cursor.word("temp") || cursor.word("temporary");
        if cursor.word("view") {
            return table::create_view(cursor, true, temporary);
        }
        return Err(refuse(cursor, "CREATE OR REPLACE"));
    }
    let scoped = cursor.word("local") || cursor.word("global");
    let temporary = cursor.word("temp") || cursor.word("temporary");
    if scoped && !temporary {
        return Err(cursor.unexpected());
    }
    let unlogged = !temporary && cursor.word("unlogged");
    if cursor.word("table") {
        return table::create_table(cursor, temporary, unlogged);
    }
    if cursor.word("sequence") {
        return table::create_sequence(cursor, temporary);
    }
    if cursor.word("view") {
        return table::create_view(cursor, false, temporary);
    }
    if temporary || unlogged {
        return Err(cursor.unexpected());
    }
    if cursor.words(&["unique", "index"]) {
        return table::create_index(cursor, true);
    }
    if cursor.word("index") {
        return table::create_index(cursor, false);
    }
    if cursor.word("schema") {
        let if_not_exists = cursor.words(&["if", "not", "exists"]);
        let name = if cursor.peek(&["authorization"]) { None } else { Some(cursor.identifier()?) };
        let authorization = if cursor.word("authorization") { Some(alter::role_name(cursor)?) } else { None };
        return Ok(Definition::CreateSchema { name, if_not_exists, authorization });
    }
    if cursor.word("role") || cursor.word("group") {
        return role::create_role(cursor, false);
    }
    if cursor.word("user") {
        return role::create_role(cursor, true);
    }
    if cursor.word("database") {
        return database::create(cursor);
    }
    Err(refuse(cursor, "CREATE"))
}

/// The kind of object after DROP, ALTER or COMMENT ON, where it is a relation or a schema.
fn object_kind(cursor: &mut Cursor<'_>) -> Option<ObjectKind> {
    let kinds = [
        ("table", ObjectKind::Table),
        ("view", ObjectKind::View),
        ("index", ObjectKind::Index),
        ("sequence", ObjectKind::Sequence),
        ("schema", ObjectKind::Schema),
    ];
    kinds.into_iter().find(|(word, _)| cursor.word(word)).map(|(_, kind)| kind)
}

fn drop(cursor: &mut Cursor<'_>) -> Result<Definition, Error> {
    if let Some(object) = object_kind(cursor) {
        if object == ObjectKind::Index {
            cursor.word("concurrently");
        }
        let if_exists = cursor.words(&["if", "exists"]);
        let names = cursor.list(Cursor::name)?;
        return Ok(Definition::Drop { object, names, if_exists, cascade: alter::cascade(cursor) });
    }
    if cursor.word("role") || cursor.word("user") || cursor.word("group") {
        return role::drop_role(cursor);
    }
    if cursor.word("database") {
        return database::drop(cursor);
    }
    if cursor.words(&["owned", "by"]) {
        return privilege::drop_owned(cursor);
    }
    for kind in ["type", "domain"] {
        if cursor.word(kind) {
            let if_exists = cursor.words(&["if", "exists"]);
            let names = cursor.list(Cursor::name)?;
            alter::cascade(cursor);
            return Ok(Definition::DropType { kind, names, if_exists });
        }
    }
    Err(refuse(cursor, "DROP"))
}

fn alter_statement(cursor: &mut Cursor<'_>) -> Result<Definition, Error> {
    match object_kind(cursor) {
        Some(ObjectKind::Schema) => {
            let name = cursor.identifier()?;
            if cursor.words(&["rename", "to"]) {
                return Ok(Definition::SchemaRename { name, to: cursor.identifier()? });
            }
            cursor.expect_word("owner")?;
            cursor.expect_word("to")?;
            return Ok(Definition::SchemaOwner { name, owner: alter::role_name(cursor)? });
        }
        Some(object) => return alter::alter(cursor, object),
        None => {}
    }
    if cursor.word("role") || cursor.word("user") {
        return role::alter_role(cursor, false);
    }
    if cursor.word("group") {
        return role::alter_role(cursor, true);
    }
    if cursor.word("database") {
        return database::alter(cursor);
    }
    if cursor.words(&["default", "privileges"]) {
        return privilege::alter_defaults(cursor);
    }
    Err(refuse(cursor, "ALTER"))
}

/// `[TABLE] [ONLY] name [*], …`
fn tables(cursor: &mut Cursor<'_>) -> Result<Vec<Name>, Error> {
    cursor.list(|cursor| {
        cursor.word("only");
        let name = cursor.name()?;
        cursor.punctuation(&Token::Mul);
        Ok(name)
    })
}

/// Tables of VACUUM and ANALYZE, whose column lists are read and left out.
/// Columns, each with its table's place in a list.
type TableColumns = Vec<(usize, String)>;

/// Tables, and the columns behind them with their table's place in the list.
fn optional_tables(cursor: &mut Cursor<'_>) -> Result<(Vec<Name>, TableColumns), Error> {
    let mut columns = Vec::new();
    if cursor.at_end() || cursor.peek_semicolon() {
        return Ok((Vec::new(), columns));
    }
    let mut at = 0;
    let tables = cursor.list(|cursor| {
        let name = cursor.name()?;
        if cursor.peek_open() {
            columns.extend(cursor.names_in_parentheses()?.into_iter().map(|column| (at, column)));
        }
        at += 1;
        Ok(name)
    })?;
    Ok((tables, columns))
}

/// `( name [value], … )` of a statement that takes just these names, each with whether it is on.
fn maintenance_options(cursor: &mut Cursor<'_>, statement: &str, known: &[&str]) -> Result<Vec<(String, bool)>, Error> {
    cursor.open()?;
    let options = cursor.list(|cursor| {
        let position = cursor.position();
        let name = cursor.any_word()?;
        if !known.contains(&name.as_str()) {
            let message = format!("unrecognized {statement} option \"{name}\"");
            return Err(Error::new(Condition::SyntaxError, message).position(position));
        }
        let value = if cursor.peek_comma_or_close() { "true".to_owned() } else { cursor.option_value()? };
        Ok((name, !matches!(value.as_str(), "false" | "off" | "0")))
    })?;
    cursor.close()?;
    Ok(options)
}

fn vacuum(cursor: &mut Cursor<'_>) -> Result<Definition, Error> {
    let mut analyze = false;
    if cursor.peek_open() {
        const KNOWN: &[&str] = &[
            "analyze",
            "analyse",
            "full",
            "freeze",
            "verbose",
            "disable_page_skipping",
            "skip_locked",
            "index_cleanup",
            "process_toast",
            "truncate",
            "parallel",
        ];
        for (name, on) in maintenance_options(cursor, "VACUUM", KNOWN)? {
            analyze |= on && matches!(name.as_str(), "analyze" | "analyse");
        }
    } else {
        cursor.word("full");
        cursor.word("freeze");
        cursor.word("verbose");
        analyze = cursor.word("analyze") || cursor.word("analyse");
        cursor.word("verbose");
    }
    let (tables, columns) = optional_tables(cursor)?;
    if !columns.is_empty() && !analyze {
        let message = "ANALYZE option must be specified when a column list is provided";
        return Err(Error::new(Condition::FeatureNotSupported, message));
    }
    Ok(Definition::Vacuum { tables, columns, analyze })
}

fn reindex(cursor: &mut Cursor<'_>) -> Result<Definition, Error> {
    if cursor.peek_open() {
        maintenance_options(cursor, "REINDEX", &["concurrently", "verbose", "tablespace"])?;
    }
    let object = match object_kind(cursor) {
        Some(object @ (ObjectKind::Index | ObjectKind::Table | ObjectKind::Schema)) => object,
        Some(_) => return Err(cursor.unexpected()),
        None if cursor.word("database") || cursor.word("system") => ObjectKind::Database,
        None => return Err(cursor.unexpected()),
    };
    cursor.word("concurrently");
    let name = cursor.name()?;
    let name = matches!(object, ObjectKind::Index | ObjectKind::Table).then_some(name);
    Ok(Definition::Reindex { object, name })
}

/// `[schema.]table.column`
fn column_name(cursor: &mut Cursor<'_>) -> Result<(Name, Option<String>), Error> {
    let position = cursor.position();
    let mut parts = vec![cursor.identifier()?];
    while cursor.punctuation(&Token::Period) {
        parts.push(cursor.identifier()?);
    }
    let column = parts.pop();
    let Some(name) = parts.pop() else {
        let error = Error::new(Condition::SyntaxError, "column name must be qualified");
        return Err(error.position(position));
    };
    Ok((Name { schema: parts.pop(), name, position }, column))
}

fn comment(cursor: &mut Cursor<'_>) -> Result<Definition, Error> {
    cursor.expect_word("on")?;
    let object = cursor.any_word()?;
    let (name, column) = if object == "column" { column_name(cursor)? } else { (cursor.name()?, None) };
    if !cursor.word("is") {
        return Err(Error::unsupported(format!("COMMENT ON {}", object.to_uppercase())).position(cursor.position()));
    }
    let text = if cursor.word("null") { None } else { Some(cursor.string()?) };
    Ok(Definition::Comment { object, name, column, text })
}
