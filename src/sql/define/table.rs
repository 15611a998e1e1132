//! CREATE TABLE, CREATE INDEX, CREATE VIEW, CREATE SEQUENCE: their grammar.

use sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::types::written_type;
use super::{
    BoundClause, BoundValue, ColumnClause, ConstraintClause, ConstraintClauseKind, CreateIndex, CreateSequence,
    CreateTable, CreateTableAs, CreateView, Deferral, Definition, Generated, IndexKeyClause, LikeClause, Name,
    OnCommit, SequenceOptions,
};
use crate::error::{Condition, Error};
use crate::sql::catalog::{PartitionStrategy, ReferentialAction};
use crate::sql::types::Type;

/// Words that end a DEFAULT expression.
const COLUMN_CONSTRAINTS: &[&str] = &[
    "not",
    "null",
    "check",
    "unique",
    "primary",
    "references",
    "constraint",
    "generated",
    "default",
    "collate",
    "deferrable",
    "initially",
];

/// After `CREATE [TEMP | UNLOGGED] TABLE`.
pub(super) fn create_table(cursor: &mut Cursor<'_>, temporary: bool, unlogged: bool) -> Result<Definition, Error> {
    let if_not_exists = cursor.words(&["if", "not", "exists"]);
    let mut table = CreateTable {
        name: cursor.name()?,
        if_not_exists,
        temporary,
        unlogged,
        columns: Vec::new(),
        constraints: Vec::new(),
        like: Vec::new(),
        options: Vec::new(),
        partition_by: None,
        partition_of: None,
        on_commit: OnCommit::PreserveRows,
    };
    if cursor.words(&["partition", "of"]) {
        let parent = cursor.name()?;
        if cursor.peek_open() {
            return Err(Error::unsupported("a column list in PARTITION OF").position(cursor.position()));
        }
        table.partition_of = Some((parent, bound(cursor)?));
    } else if cursor.word("of") {
        return Err(Error::unsupported("CREATE TABLE OF a type"));
    } else if !cursor.peek_open() {
        return create_table_as(cursor, table);
    } else {
        let start = cursor.mark();
        match elements(cursor, &mut table) {
            Ok(()) => {}
            // `CREATE TABLE t (a, b) AS …` lists bare names.
            Err(error) => {
                cursor.go_back(start);
                return create_table_as(cursor, table).map_err(|_| error);
            }
        }
        if cursor.word("inherits") {
            return Err(Error::unsupported("INHERITS"));
        }
    }
    tail(cursor, &mut table)?;
    if cursor.peek(&["as"]) {
        return create_table_as(cursor, table);
    }
    Ok(Definition::CreateTable(table))
}

/// The parenthesised list of columns and constraints.
fn elements(cursor: &mut Cursor<'_>, table: &mut CreateTable) -> Result<(), Error> {
    cursor.open()?;
    if cursor.punctuation(&Token::RParen) {
        return Ok(());
    }
    loop {
        if starts_constraint(cursor) {
            table.constraints.push(constraint(cursor)?);
        } else if cursor.word("like") {
            let (source, after) = (cursor.name()?, table.columns.len());
            let mut like = LikeClause { source, after, defaults: false, constraints: false, indexes: false };
            loop {
                let including = cursor.word("including");
                if !including && !cursor.word("excluding") {
                    break;
                }
                match cursor.any_word()?.as_str() {
                    "all" => (like.defaults, like.constraints, like.indexes) = (including, including, including),
                    "defaults" => like.defaults = including,
                    "constraints" => like.constraints = including,
                    "indexes" => like.indexes = including,
                    "comments" | "compression" | "generated" | "identity" | "statistics" | "storage" => {}
                    _ => return Err(cursor.unexpected()),
                }
            }
            table.like.push(like);
        } else {
            let own = column(cursor, &table.name.name)?;
            table.columns.push(own);
        }
        if !cursor.comma() {
            break;
        }
    }
    cursor.close()
}

/// PARTITION BY, USING, WITH, ON COMMIT, TABLESPACE.
fn tail(cursor: &mut Cursor<'_>, table: &mut CreateTable) -> Result<(), Error> {
    loop {
        if cursor.words(&["partition", "by"]) {
            let strategy = match cursor.any_word()?.as_str() {
                "range" => PartitionStrategy::Range,
                "list" => PartitionStrategy::List,
                "hash" => PartitionStrategy::Hash,
                other => {
                    let message = format!("unrecognized partitioning strategy \"{other}\"");
                    return Err(Error::new(Condition::InvalidParameterValue, message));
                }
            };
            let names =
                cursor.names_in_parentheses().map_err(|_| Error::unsupported("an expression as partition key"))?;
            table.partition_by = Some((strategy, names));
        } else if cursor.word("using") {
            access_method(cursor, "heap")?;
        } else if cursor.word("with") {
            table.options = cursor.options()?;
        } else if cursor.words(&["without", "oids"]) {
        } else if cursor.words(&["on", "commit"]) {
            if !table.temporary {
                let message = "ON COMMIT can only be used on temporary tables";
                return Err(Error::new(Condition::InvalidTableDefinition, message));
            }
            table.on_commit = if cursor.words(&["preserve", "rows"]) {
                OnCommit::PreserveRows
            } else if cursor.words(&["delete", "rows"]) {
                OnCommit::DeleteRows
            } else {
                cursor.expect_word("drop")?;
                OnCommit::Drop
            };
        } else if cursor.word("tablespace") {
            tablespace(cursor)?;
        } else {
            return Ok(());
        }
    }
}

/// A tablespace's name: there is but one.
pub(super) fn tablespace(cursor: &mut Cursor<'_>) -> Result<(), Error> {
    let name = cursor.identifier()?;
    if name == "pg_default" {
        return Ok(());
    }
    Err(Error::new(Condition::UndefinedObject, format!("tablespace \"{name}\" does not exist")))
}

fn access_method(cursor: &mut Cursor<'_>, only: &str) -> Result<(), Error> {
    let name = cursor.identifier()?;
    match name.as_str() {
        _ if name == only => Ok(()),
        "hash" | "gin" | "gist" | "brin" | "spgist" => Err(Error::unsupported(format!("access method \"{name}\""))),
        _ => Err(Error::new(Condition::UndefinedObject, format!("access method \"{name}\" does not exist"))),
    }
}

fn create_table_as(cursor: &mut Cursor<'_>, mut table: CreateTable) -> Result<Definition, Error> {
    let columns = if cursor.peek_open() { cursor.names_in_parentheses()? } else { Vec::new() };
    tail(cursor, &mut table)?;
    cursor.expect_word("as")?;
    let (query, with_data) = query_with_data(cursor)?;
    Ok(Definition::CreateTableAs(CreateTableAs {
        name: table.name,
        if_not_exists: table.if_not_exists,
        temporary: table.temporary,
        unlogged: table.unlogged,
        columns,
        options: table.options,
        query,
        with_data,
        on_commit: table.on_commit,
    }))
}

fn query_with_data(cursor: &mut Cursor<'_>) -> Result<(String, bool), Error> {
    let query = cursor.until(|cursor| cursor.peek(&["with", "data"]) || cursor.peek(&["with", "no", "data"]))?;
    let with_data = !cursor.words(&["with", "no", "data"]);
    cursor.words(&["with", "data"]);
    Ok((query, with_data))
}

/// `name type [constraint …]`
pub(super) fn column(cursor: &mut Cursor<'_>, table: &str) -> Result<ColumnClause, Error> {
    let name = cursor.identifier()?;
    let written = written_type(cursor)?;
    let mut column = ColumnClause {
        name,
        type_: written.type_,
        typmod: written.typmod,
        not_null: written.serial,
        default: None,
        generated: written.generated(),
        constraints: Vec::new(),
    };
    let mut nullable = false;
    loop {
        let position = cursor.position();
        let constraint_name = if cursor.word("constraint") { Some(cursor.identifier()?) } else { None };
        let kind = if cursor.words(&["not", "null"]) {
            column.not_null = true;
            None
        } else if cursor.word("null") {
            nullable = true;
            None
        } else if cursor.word("default") {
            if column.default.is_some() || column.generated.is_some() {
                let message =
                    format!("multiple default values specified for column \"{}\" of table \"{table}\"", column.name);
                return Err(Error::new(Condition::SyntaxError, message).position(position));
            }
            column.default = Some(cursor.expression(COLUMN_CONSTRAINTS)?);
            None
        } else if cursor.word("generated") {
            column.generated = Some(identity(cursor)?);
            column.not_null = true;
            None
        } else if cursor.word("collate") {
            collation(cursor)?;
            None
        } else if cursor.words(&["primary", "key"]) {
            column.not_null = true;
            index_tail(cursor)?;
            Some(ConstraintClauseKind::PrimaryKey { columns: vec![column.name.clone()] })
        } else if cursor.word("unique") {
            index_tail(cursor)?;
            Some(ConstraintClauseKind::Unique { columns: vec![column.name.clone()] })
        } else if cursor.word("check") {
            Some(ConstraintClauseKind::Check { expression: cursor.parenthesised()? })
        } else if cursor.word("references") {
            Some(references(cursor, vec![column.name.clone()])?)
        } else if constraint_name.is_some() {
            return Err(cursor.unexpected());
        } else {
            break;
        };
        if let Some(kind) = kind {
            let (not_valid, deferral) = constraint_tail(cursor, &kind)?;
            column.constraints.push(ConstraintClause { name: constraint_name, kind, not_valid, deferral });
        }
    }
    if nullable && column.not_null {
        let message =
            format!("conflicting NULL/NOT NULL declarations for column \"{}\" of table \"{table}\"", column.name);
        return Err(Error::new(Condition::SyntaxError, message));
    }
    Ok(column)
}

/// After GENERATED: AS IDENTITY, with the sequence's options read and left out.
pub(super) fn identity(cursor: &mut Cursor<'_>) -> Result<Generated, Error> {
    let generated = if cursor.word("always") {
        Generated::IdentityAlways
    } else {
        cursor.expect_word("by")?;
        cursor.expect_word("default")?;
        Generated::IdentityByDefault
    };
    cursor.expect_word("as")?;
    if !cursor.word("identity") {
        return Err(Error::unsupported("a generated column").position(cursor.position()));
    }
    if cursor.peek_open() {
        return Err(Error::unsupported("sequence options of an identity column").position(cursor.position()));
    }
    Ok(generated)
}

/// After COLLATE: text is compared by its bytes, so only collations that do so are known.
pub(super) fn collation(cursor: &mut Cursor<'_>) -> Result<(), Error> {
    let name = cursor.name()?;
    match name.name.as_str() {
        "C" | "POSIX" | "default" | "ucs_basic" => Ok(()),
        _ => {
            let message = format!("collation \"{name}\" for encoding \"UTF8\" does not exist");
            Err(Error::new(Condition::UndefinedObject, message).position(name.position))
        }
    }
}

fn starts_constraint(cursor: &Cursor<'_>) -> bool {
    cursor.peek(&["constraint"])
        || cursor.peek(&["primary", "key"])
        || cursor.peek(&["foreign", "key"])
        || cursor.peek(&["unique"])
        || cursor.peek(&["check"])
        || cursor.peek(&["exclude", "using"])
}

/// `[CONSTRAINT name] PRIMARY KEY | UNIQUE | CHECK | FOREIGN KEY …`
pub(super) fn constraint(cursor: &mut Cursor<'_>) -> Result<ConstraintClause, Error> {
    let name = if cursor.word("constraint") { Some(cursor.identifier()?) } else { None };
    let kind = if cursor.words(&["primary", "key"]) {
        refuse_using_index(cursor)?;
        let columns = cursor.names_in_parentheses()?;
        index_tail(cursor)?;
        ConstraintClauseKind::PrimaryKey { columns }
    } else if cursor.word("unique") {
        refuse_using_index(cursor)?;
        let columns = cursor.names_in_parentheses()?;
        index_tail(cursor)?;
        ConstraintClauseKind::Unique { columns }
    } else if cursor.word("check") {
        ConstraintClauseKind::Check { expression: cursor.parenthesised()? }
    } else if cursor.words(&["foreign", "key"]) {
        let columns = cursor.names_in_parentheses()?;
        cursor.expect_word("references")?;
        references(cursor, columns)?
    } else if cursor.word("exclude") {
        return Err(Error::unsupported("an exclusion constraint"));
    } else {
        return Err(cursor.unexpected());
    };
    let (not_valid, deferral) = constraint_tail(cursor, &kind)?;
    Ok(ConstraintClause { name, kind, not_valid, deferral })
}

fn refuse_using_index(cursor: &Cursor<'_>) -> Result<(), Error> {
    if cursor.peek(&["using", "index"]) && !cursor.peek(&["using", "index", "tablespace"]) {
        return Err(Error::unsupported("a constraint USING an existing INDEX").position(cursor.position()));
    }
    if cursor.peek(&["nulls"]) {
        return Err(Error::unsupported("UNIQUE NULLS NOT DISTINCT").position(cursor.position()));
    }
    Ok(())
}

/// INCLUDE, WITH and USING INDEX TABLESPACE of a constraint's index.
fn index_tail(cursor: &mut Cursor<'_>) -> Result<(), Error> {
    if cursor.peek(&["include"]) {
        return Err(Error::unsupported("INCLUDE").position(cursor.position()));
    }
    if cursor.word("with") {
        index_options(cursor)?;
    }
    if cursor.words(&["using", "index", "tablespace"]) {
        tablespace(cursor)?;
    }
    Ok(())
}

/// Storage parameters of an index: those that PostgreSQL knows change nothing here.
fn index_options(cursor: &mut Cursor<'_>) -> Result<(), Error> {
    super::options::check_index(&cursor.options()?)
}

/// DEFERRABLE and NOT VALID, as far as that kind of constraint takes them.
fn constraint_tail(cursor: &mut Cursor<'_>, kind: &ConstraintClauseKind) -> Result<(bool, Deferral), Error> {
    let (is_key, is_check) = (
        matches!(kind, ConstraintClauseKind::PrimaryKey { .. } | ConstraintClauseKind::Unique { .. }),
        matches!(kind, ConstraintClauseKind::Check { .. }),
    );
    let (mut not_valid, mut deferrable, mut deferred) = (false, None, None);
    loop {
        let position = cursor.position();
        if cursor.words(&["not", "deferrable"]) {
            deferrable = Some(false);
        } else if cursor.words(&["initially", "immediate"]) {
            deferred = Some(false);
        } else if cursor.peek(&["deferrable"]) || cursor.peek(&["initially", "deferred"]) {
            if is_check {
                let message = "CHECK constraints cannot be marked DEFERRABLE";
                return Err(Error::new(Condition::FeatureNotSupported, message).position(position));
            }
            if is_key {
                return Err(Error::unsupported("a deferrable unique constraint").position(position));
            }
            if cursor.word("deferrable") {
                deferrable = Some(true);
            } else {
                cursor.words(&["initially", "deferred"]);
                deferred = Some(true);
            }
        } else if cursor.words(&["not", "valid"]) {
            if is_key {
                let name = if matches!(kind, ConstraintClauseKind::Unique { .. }) { "UNIQUE" } else { "PRIMARY KEY" };
                let message = format!("{name} constraints cannot be marked NOT VALID");
                return Err(Error::new(Condition::FeatureNotSupported, message).position(position));
            }
            not_valid = true;
        } else if !(is_check && cursor.words(&["no", "inherit"])) {
            if deferrable == Some(false) && deferred == Some(true) {
                let message = "constraint declared INITIALLY DEFERRED must be DEFERRABLE";
                return Err(Error::new(Condition::SyntaxError, message).position(position));
            }
            let deferral = match (deferrable, deferred) {
                (_, Some(true)) => Deferral::InitiallyDeferred,
                (Some(true), _) => Deferral::InitiallyImmediate,
                _ => Deferral::No,
            };
            return Ok((not_valid, deferral));
        }
    }
}

/// After REFERENCES.
fn references(cursor: &mut Cursor<'_>, columns: Vec<String>) -> Result<ConstraintClauseKind, Error> {
    let table = cursor.name()?;
    let referenced = if cursor.peek_open() { cursor.names_in_parentheses()? } else { Vec::new() };
    let (mut on_delete, mut on_update) = (ReferentialAction::NoAction, ReferentialAction::NoAction);
    let (mut match_full, mut delete_columns) = (false, Vec::new());
    loop {
        if cursor.word("match") {
            match_full = cursor.word("full");
            if !match_full && !cursor.word("simple") {
                cursor.expect_word("partial")?;
                let message = "MATCH PARTIAL not yet implemented";
                return Err(Error::new(Condition::FeatureNotSupported, message));
            }
        } else if cursor.words(&["on", "delete"]) {
            on_delete = action(cursor)?;
            let sets = matches!(on_delete, ReferentialAction::SetNull | ReferentialAction::SetDefault);
            delete_columns = if sets && cursor.peek_open() { cursor.names_in_parentheses()? } else { Vec::new() };
        } else if cursor.words(&["on", "update"]) {
            on_update = action(cursor)?;
            if cursor.peek_open() {
                let name = if on_update == ReferentialAction::SetNull { "SET NULL" } else { "SET DEFAULT" };
                let message = format!("a column list with {name} is only supported for ON DELETE actions");
                return Err(Error::new(Condition::FeatureNotSupported, message).position(cursor.position()));
            }
        } else {
            return Ok(ConstraintClauseKind::ForeignKey {
                columns,
                table,
                referenced,
                on_delete,
                on_update,
                match_full,
                delete_columns,
            });
        }
    }
}

fn action(cursor: &mut Cursor<'_>) -> Result<ReferentialAction, Error> {
    let actions: [(&[&str], ReferentialAction); 5] = [
        (&["no", "action"], ReferentialAction::NoAction),
        (&["restrict"], ReferentialAction::Restrict),
        (&["cascade"], ReferentialAction::Cascade),
        (&["set", "null"], ReferentialAction::SetNull),
        (&["set", "default"], ReferentialAction::SetDefault),
    ];
    for (words, action) in actions {
        if cursor.words(words) {
            return Ok(action);
        }
    }
    Err(cursor.unexpected())
}

/// `FOR VALUES …` or DEFAULT.
fn bound(cursor: &mut Cursor<'_>) -> Result<BoundClause, Error> {
    if cursor.word("default") {
        return Ok(BoundClause::Default);
    }
    cursor.expect_word("for")?;
    cursor.expect_word("values")?;
    if cursor.word("from") {
        let from = range_values(cursor)?;
        cursor.expect_word("to")?;
        return Ok(BoundClause::Range { from, to: range_values(cursor)? });
    }
    if cursor.word("in") {
        cursor.open()?;
        let values = cursor.list(Cursor::constant)?;
        cursor.close()?;
        return Ok(BoundClause::List(values));
    }
    cursor.expect_word("with")?;
    cursor.open()?;
    let (mut modulus, mut remainder) = (None, None);
    cursor.list(|cursor| {
        let position = cursor.position();
        let target = match cursor.any_word()?.as_str() {
            "modulus" => &mut modulus,
            "remainder" => &mut remainder,
            other => {
                let message = format!("unrecognized hash partition bound specification \"{other}\"");
                return Err(Error::new(Condition::SyntaxError, message).position(position));
            }
        };
        *target = Some(cursor.integer()?);
        Ok(())
    })?;
    cursor.close()?;
    let invalid = |message: &str| Error::new(Condition::InvalidTableDefinition, message);
    let modulus =
        modulus.ok_or_else(|| Error::new(Condition::SyntaxError, "modulus for hash partition must be specified"))?;
    let remainder = remainder
        .ok_or_else(|| Error::new(Condition::SyntaxError, "remainder for hash partition must be specified"))?;
    let modulus = u32::try_from(modulus)
        .ok()
        .filter(|modulus| *modulus > 0)
        .ok_or_else(|| invalid("modulus for hash partition must be an integer value greater than zero"))?;
    let remainder = u32::try_from(remainder)
        .map_err(|_| invalid("remainder for hash partition must be an integer value greater than or equal to zero"))?;
    if remainder >= modulus {
        return Err(invalid("remainder for hash partition must be less than modulus"));
    }
    Ok(BoundClause::Hash { modulus, remainder })
}

fn range_values(cursor: &mut Cursor<'_>) -> Result<Vec<BoundValue>, Error> {
    cursor.open()?;
    let values = cursor.list(|cursor| {
        if cursor.word("minvalue") {
            return Ok(BoundValue::MinValue);
        }
        if cursor.word("maxvalue") {
            return Ok(BoundValue::MaxValue);
        }
        match cursor.constant()? {
            Some(text) => Ok(BoundValue::Literal(text)),
            None => Err(Error::new(Condition::InvalidTableDefinition, "cannot specify NULL in range bound")),
        }
    })?;
    cursor.close()?;
    Ok(values)
}

/// After `CREATE [UNIQUE] INDEX`.
pub(super) fn create_index(cursor: &mut Cursor<'_>, unique: bool) -> Result<Definition, Error> {
    let concurrently = cursor.word("concurrently");
    let if_not_exists = cursor.words(&["if", "not", "exists"]);
    let name = if cursor.peek(&["on"]) { None } else { Some(cursor.identifier()?) };
    cursor.expect_word("on")?;
    cursor.word("only");
    let table = cursor.name()?;
    if cursor.word("using") {
        access_method(cursor, "btree")?;
    }
    cursor.open()?;
    let keys = cursor.list(index_key)?;
    cursor.close()?;
    if cursor.peek(&["include"]) || cursor.peek(&["nulls"]) {
        return Err(Error::unsupported("INCLUDE or NULLS NOT DISTINCT").position(cursor.position()));
    }
    if cursor.word("with") {
        index_options(cursor)?;
    }
    if cursor.word("tablespace") {
        tablespace(cursor)?;
    }
    let predicate = if cursor.word("where") { Some(cursor.until(|_| false)?) } else { None };
    Ok(Definition::CreateIndex(CreateIndex { name, table, unique, if_not_exists, concurrently, keys, predicate }))
}

fn index_key(cursor: &mut Cursor<'_>) -> Result<IndexKeyClause, Error> {
    let (mut column, mut expression) = (None, None);
    if cursor.peek_open() {
        expression = Some(cursor.parenthesised()?);
    } else {
        let start = cursor.mark();
        let name = cursor.identifier()?;
        if cursor.peek_open() {
            cursor.go_back(start);
            expression = Some(cursor.expression(&["asc", "desc", "nulls", "collate"])?);
        } else {
            column = Some(name);
        }
    }
    if cursor.word("collate") {
        collation(cursor)?;
    }
    if !["asc", "desc", "nulls"].iter().any(|word| cursor.peek(&[word])) && cursor.peek_word() {
        return Err(Error::unsupported("an operator class").position(cursor.position()));
    }
    let descending = cursor.word("desc");
    cursor.word("asc");
    let mut nulls_first = descending;
    if cursor.word("nulls") {
        nulls_first = cursor.word("first");
        if !nulls_first {
            cursor.expect_word("last")?;
        }
    }
    Ok(IndexKeyClause { column, expression, descending, nulls_first })
}

/// After `CREATE [OR REPLACE] [TEMP] VIEW`.
pub(super) fn create_view(cursor: &mut Cursor<'_>, or_replace: bool, temporary: bool) -> Result<Definition, Error> {
    let name = cursor.name()?;
    let columns = if cursor.peek_open() { cursor.names_in_parentheses()? } else { Vec::new() };
    if cursor.peek(&["with"]) {
        return Err(Error::unsupported("an option of a view").position(cursor.position()));
    }
    cursor.expect_word("as")?;
    let query = cursor.until(|cursor| {
        cursor.peek(&["with", "check"]) || cursor.peek(&["with", "local"]) || cursor.peek(&["with", "cascaded"])
    })?;
    if !cursor.at_end() && cursor.peek(&["with"]) {
        return Err(Error::unsupported("WITH CHECK OPTION").position(cursor.position()));
    }
    Ok(Definition::CreateView(CreateView { name, or_replace, temporary, columns, query }))
}

/// After `CREATE [TEMP] SEQUENCE`.
pub(super) fn create_sequence(cursor: &mut Cursor<'_>, temporary: bool) -> Result<Definition, Error> {
    let if_not_exists = cursor.words(&["if", "not", "exists"]);
    let name = cursor.name()?;
    let options = sequence_options(cursor)?;
    if options.restart.is_some() {
        return Err(Error::new(Condition::SyntaxError, "RESTART is an option of ALTER SEQUENCE"));
    }
    Ok(Definition::CreateSequence(CreateSequence { name, if_not_exists, temporary, options }))
}

/// The options of CREATE and ALTER SEQUENCE, as many as there are.
pub(super) fn sequence_options(cursor: &mut Cursor<'_>) -> Result<SequenceOptions, Error> {
    let mut options = SequenceOptions::default();
    loop {
        if cursor.word("start") {
            cursor.word("with");
            options.start = Some(cursor.integer()?);
        } else if cursor.word("restart") {
            let with = cursor.word("with");
            let at_end = cursor.at_end() || cursor.peek_semicolon() || (!with && cursor.peek_word());
            options.restart = Some(if at_end { None } else { Some(cursor.integer()?) });
        } else if cursor.word("increment") {
            cursor.word("by");
            options.increment = Some(cursor.integer()?);
        } else if cursor.word("minvalue") {
            options.minimum = Some(Some(cursor.integer()?));
        } else if cursor.word("maxvalue") {
            options.maximum = Some(Some(cursor.integer()?));
        } else if cursor.words(&["no", "minvalue"]) {
            options.minimum = Some(None);
        } else if cursor.words(&["no", "maxvalue"]) {
            options.maximum = Some(None);
        } else if cursor.word("cache") {
            // Values are drawn one by one, whatever may be kept.
            cursor.integer()?;
        } else if cursor.word("cycle") {
            options.cycle = Some(true);
        } else if cursor.words(&["no", "cycle"]) {
            options.cycle = Some(false);
        } else if cursor.word("as") {
            let type_ = written_type(cursor)?.type_;
            if !matches!(type_, Type::Int2 | Type::Int4 | Type::Int8) {
                let message = "sequence type must be smallint, integer, or bigint";
                return Err(Error::new(Condition::InvalidParameterValue, message));
            }
            options.type_ = Some(type_);
        } else if cursor.words(&["owned", "by"]) {
            options.owned_by = Some(owner_column(cursor)?);
        } else {
            return Ok(options);
        }
    }
}

/// After OWNED BY: `table.column`, `schema.table.column` or NONE.
fn owner_column(cursor: &mut Cursor<'_>) -> Result<Option<(Name, String)>, Error> {
    if cursor.word("none") {
        return Ok(None);
    }
    let position = cursor.position();
    let mut parts = vec![cursor.identifier()?];
    while cursor.punctuation(&Token::Period) {
        parts.push(cursor.any_word()?);
    }
    let (column, name, schema) = (parts.pop().unwrap_or_default(), parts.pop(), parts.pop());
    match name {
        Some(name) => Ok(Some((Name { schema, name, position }, column))),
        None => {
            let message = "invalid OWNED BY option";
            Err(Error::new(Condition::SyntaxError, message).hint("Specify OWNED BY table.column or OWNED BY NONE."))
        }
    }
}
