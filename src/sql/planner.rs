//! From a message's text to plans: split into statements, found in the cache by shape, or parsed and bound.
//!
//! Owns the cache. Reads the catalog it is handed; runs nothing.

use std::collections::HashSet;
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

use sqlparser::ast;

use super::acl::Privileges;
use super::bind::{self, Bound, Environment, Literals};
use super::cache::{Cache, Entry, Shape};
use super::catalog::{Catalog, Relation, RelationKind};
use super::copy;
use super::emit::Lifted;
use super::lex::{self, Lexer};
use super::literals;
use super::parse::{self, CopySource, CopyStatement, Explain, PlainList, Statement, Utility};
use super::plan::{
    Access, Action, Column, Copy, CopyDirection, Permission, Permissions, Plan, Planned, Query, SessionCommand, Tag,
    Transaction,
};
use super::types::{TextContext, Type, Value};
use crate::error::{Condition, Error};

/// A statement that was recognised: where it stands in the text is known, its syntax is right.
#[derive(Debug)]
pub struct Raw {
    shape: Shape,
    /// Its syntax tree, unless its shape was known: then it is parsed only if the cached plan does not fit.
    parsed: Option<Statement>,
}

/// Literals bound at the most: SQLite takes 32,766 values, and parameters are among them.
const LITERALS_BOUND_MAX: usize = 16_000;

/// Plans statements of one session's process.
#[derive(Debug, Default)]
pub struct Planner {
    cache: Cache,
    /// Catalog version that the cached plans rest on.
    version: u64,
    /// Statements that were planned and kept since last asked: their texts, and the types declared.
    news: Vec<(String, Vec<u32>)>,
}

/// News kept at the most: whoever asks wants to know of few.
const NEWS_MAX: usize = 32;

/// What took longer to plan is no news: whoever learns it would be held up as long.
const NEWS_TIME_MAX: Duration = Duration::from_millis(20);

impl Planner {
    /// A planner with an empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// Splits a text into its statements, without their separators. A syntax error anywhere refuses the whole.
    /// An empty text is one empty statement; other empty statements are left out.
    pub fn split(&mut self, text: &str) -> Result<Vec<(Range<usize>, Raw)>, Error> {
        let mut statements = Vec::with_capacity(1);
        let mut lexer = Lexer::new(text);
        // Of many statements of one shape, the syntax of one is looked at.
        let mut seen = HashSet::new();
        loop {
            let mut shape = Shape::default();
            let ended = shape.read(&mut lexer, text)?;
            if !shape.key.is_empty() {
                let known = seen.contains(shape.key.as_str());
                if !known && shape.is_kept() {
                    seen.insert(shape.key.clone());
                }
                let place = ended.start..ended.end;
                statements.push((place.clone(), self.recognise(text, place, shape, known)?));
            }
            if !ended.more {
                break;
            }
        }
        if statements.is_empty() {
            let raw = Raw { shape: Shape::default(), parsed: Some(Statement::Empty) };
            statements.push((text.len()..text.len(), raw));
        }
        Ok(statements)
    }

    fn recognise(&self, text: &str, place: Range<usize>, mut shape: Shape, known: bool) -> Result<Raw, Error> {
        for literal in &mut shape.literals {
            literal.token.start -= place.start;
            literal.token.end -= place.start;
        }
        let parsed = if known || self.cache.knows(&shape) {
            None
        } else {
            let own = text.get(place.clone()).unwrap_or("");
            let parsed = parse::parse(own).map_err(|error| shifted(error, text, place.start))?;
            Some(parsed)
        };
        Ok(Raw { shape, parsed })
    }

    /// Plans one statement; `text` is its own text, as [`Self::split`] found it. `declared` are the parameter types
    /// that Parse declared, 0 for those to be inferred.
    pub fn plan(
        &mut self,
        text: &str,
        raw: &Raw,
        declared: &[u32],
        catalog: &dyn Catalog,
        context: &TextContext,
    ) -> Result<Planned, Error> {
        if catalog.version() != self.version {
            self.cache.clear();
            self.version = catalog.version();
        }
        if let Some(entry) = self.cache.find(&raw.shape, text, declared) {
            return planned(&entry, &raw.shape, text, context);
        }
        let again;
        let statement = match &raw.parsed {
            Some(statement) => statement,
            None => {
                again = parse::parse(text)?;
                &again
            }
        };
        let work = Work { text, shape: &raw.shape, declared, catalog, context };
        let begun = Instant::now();
        let (entry, keep) = work.statement(statement)?;
        let entry = Rc::new(entry);
        if keep {
            if self.news.len() < NEWS_MAX && begun.elapsed() < NEWS_TIME_MAX {
                self.news.push((text.to_owned(), declared.to_vec()));
            }
            self.cache.insert(&raw.shape, Rc::clone(&entry));
        }
        planned(&entry, &raw.shape, text, context)
    }

    /// Forgets every plan: the search path, the user or the catalog has changed.
    pub fn forget(&mut self) {
        self.cache.clear();
    }

    /// The statements that were planned, and kept, since this was last asked: at most 32 texts with the parameter
    /// types that were declared.
    pub fn take_news(&mut self) -> Vec<(String, Vec<u32>)> {
        std::mem::take(&mut self.news)
    }

    /// Shapes of statements kept.
    pub fn cached(&self) -> usize {
        self.cache.len()
    }
}

/// An error found in a part of the text, its position counted from the start of the whole.
fn shifted(mut error: Error, text: &str, start: usize) -> Error {
    if let Some(position) = &mut error.fields_mut().position {
        *position += lex::position(text, start) - 1;
    }
    error
}

/// The plan of an entry with the values that this text's literals give it.
fn planned(entry: &Entry, shape: &Shape, text: &str, context: &TextContext) -> Result<Planned, Error> {
    let literals = entry
        .lifted
        .iter()
        .map(|lifted| literal_value(lifted, shape, text, context))
        .collect::<Result<Rc<[Value]>, Error>>()?;
    Ok(Planned { plan: Rc::clone(&entry.plan), literals })
}

fn literal_value(lifted: &Lifted, shape: &Shape, text: &str, context: &TextContext) -> Result<Value, Error> {
    let Some(literal) = shape.literals.get(lifted.index) else {
        return Err(Error::internal("a plan names a literal that its text does not have"));
    };
    literals::read(literal.token, lifted.negated, lifted.type_, text, context)
}

/// One statement being planned.
struct Work<'a> {
    text: &'a str,
    shape: &'a Shape,
    declared: &'a [u32],
    catalog: &'a dyn Catalog,
    context: &'a TextContext,
}

impl Work<'_> {
    /// The statement's entry, and whether it is worth keeping.
    fn statement(&self, statement: &Statement) -> Result<(Entry, bool), Error> {
        match statement {
            Statement::Empty => Ok((self.bare(Tag::Bare(""), Action::Empty, true), true)),
            Statement::Sql(ast, lists) if lists.is_empty() => {
                let mut literals = self.literals();
                let bound = bind::statement(&self.environment(), self.text, ast, self.declared, &mut literals)?;
                let keep = !bound.reads_settings && self.shape.is_kept();
                Ok((self.query_entry(bound, &literals), keep))
            }
            Statement::Sql(ast, lists) => self.with_lists(ast, lists),
            Statement::Define(definition) => {
                let tag = match &**definition {
                    super::define::Definition::CreateTableAs(table) if table.with_data => Tag::Select,
                    other => Tag::Bare(other.tag()),
                };
                Ok((self.bare(tag, Action::Define(definition.clone()), false), false))
            }
            Statement::Utility(utility) => self.utility(utility),
        }
    }

    /// A statement with long lists of plain values. What a list cannot say the whole tree does: its elements may need
    /// casts, or an error its place.
    fn with_lists(&self, ast: &ast::Statement, lists: &[PlainList]) -> Result<(Entry, bool), Error> {
        let mut literals = self.literals().with_lists(lists);
        let error = match bind::statement(&self.environment(), self.text, ast, self.declared, &mut literals) {
            Ok(bound) => return Ok((self.query_entry(bound, &literals), false)),
            Err(error) => error,
        };
        let class = error.condition().code().get(..2).unwrap_or("");
        if matches!(class, "22" | "53" | "57") {
            return Err(error);
        }
        let tree = parse::whole(self.text)?;
        let mut literals = self.literals();
        let bound = bind::statement(&self.environment(), self.text, &tree, self.declared, &mut literals)?;
        Ok((self.query_entry(bound, &literals), false))
    }

    fn utility(&self, utility: &Utility) -> Result<(Entry, bool), Error> {
        match utility {
            Utility::Transaction(transaction, tag) => {
                let ends = matches!(
                    transaction,
                    Transaction::Commit(_) | Transaction::Rollback(_) | Transaction::RollbackTo(_)
                );
                let action = Action::Transaction(transaction.clone());
                Ok((self.bare(Tag::Bare(tag), action, ends), self.shape.literals.is_empty()))
            }
            Utility::Session(command, tag) => {
                let columns = session_columns(command);
                let mut entry = self.plan(tag.clone(), columns, Action::Session(command.clone()));
                // SHOW is read from other statements as well; none of these is worth a place in the cache.
                entry.allowed_when_failed = false;
                Ok((Entry::new(Rc::new(entry), Vec::new(), Vec::new(), self.declared), false))
            }
            Utility::Copy(copy) => Ok((self.copy(copy)?, false)),
            Utility::Explain(explain) => Ok((self.explain(explain)?, false)),
            Utility::Lock(tables) => Ok((self.lock(tables)?, false)),
        }
    }

    fn environment(&self) -> Environment<'_> {
        Environment { catalog: self.catalog, text_context: self.context }
    }

    /// The literals that may be bound: none where SQLite would have too many.
    fn literals(&self) -> Literals {
        let literals = &self.shape.literals;
        Literals::new(if literals.len() > LITERALS_BOUND_MAX { &[] } else { literals })
    }

    fn plan(&self, tag: Tag, columns: Vec<Column>, action: Action) -> Plan {
        let parameters = self.declared.iter().map(|oid| Type::from_oid(*oid).unwrap_or(Type::Text)).collect();
        Plan { tag, parameters, columns, action, allowed_when_failed: false }
    }

    fn bare(&self, tag: Tag, action: Action, allowed_when_failed: bool) -> Entry {
        let mut plan = self.plan(tag, Vec::new(), action);
        plan.allowed_when_failed = allowed_when_failed;
        Entry::new(Rc::new(plan), Vec::new(), Vec::new(), self.declared)
    }

    fn query_entry(&self, bound: Bound, literals: &Literals) -> Entry {
        let Bound { tag, columns, parameters, lifted, query, .. } = bound;
        let mut query = query;
        query.catalog_version = self.catalog.version();
        let plan = Plan { tag, parameters, columns, action: Action::Query(query), allowed_when_failed: false };
        let fixed = if self.shape.is_kept() { literals.fixed(self.text, &lifted) } else { Vec::new() };
        Entry::new(Rc::new(plan), lifted, fixed, self.declared)
    }

    fn explain(&self, explain: &Explain) -> Result<Entry, Error> {
        let (inner, _) = self.statement(&explain.statement)?;
        let columns = vec![text_column("QUERY PLAN")];
        let plan = self.plan(Tag::Bare("EXPLAIN"), columns, Action::Explain(Rc::clone(&inner.plan)));
        let parameters = inner.plan.parameters.clone();
        Ok(Entry::new(Rc::new(Plan { parameters, ..plan }), inner.lifted, Vec::new(), self.declared))
    }

    /// LOCK TABLE: the writer lock of the database is the one lock there is.
    fn lock(&self, tables: &[(Option<String>, String, usize)]) -> Result<Entry, Error> {
        let mut relations = Vec::new();
        for (schema, name, byte) in tables {
            relations.push(self.table(schema.as_deref(), name, *byte)?.oid);
        }
        let wanted = Privileges::UPDATE.or(Privileges::DELETE).or(Privileges::TRUNCATE);
        let needed = |oid: &u32| Permission { relation: *oid, wanted, any: true, ..Permission::default() };
        let permissions = Permissions::new(relations.iter().map(needed).collect(), Vec::new());
        let query = Query {
            sql: "SELECT 1 WHERE 0".to_owned(),
            access: Access::Lock,
            catalog_version: self.catalog.version(),
            relations,
            permissions: Rc::new(permissions),
            ..Query::default()
        };
        Ok(self.bare(Tag::Bare("LOCK TABLE"), Action::Query(query), false))
    }

    fn table(&self, schema: Option<&str>, name: &str, byte: usize) -> Result<Rc<Relation>, Error> {
        if let Some(schema) = schema {
            self.catalog.require_usable(schema)?;
        }
        self.catalog.relation(schema, name)?.ok_or_else(|| {
            let shown = schema.map_or_else(|| name.to_owned(), |schema| format!("{schema}.{name}"));
            Error::new(Condition::UndefinedTable, format!("relation \"{shown}\" does not exist"))
                .position(lex::position(self.text, byte))
        })
    }

    fn copy(&self, copy: &CopyStatement) -> Result<Entry, Error> {
        let (bound, columns, name) = match &copy.source {
            CopySource::Query(query) => {
                let mut literals = self.literals();
                let bound = bind::query(&self.environment(), self.text, query, &[], &mut literals)?;
                if !bound.parameters.is_empty() {
                    return Err(Error::new(Condition::UndefinedParameter, "there is no parameter $1"));
                }
                let columns = bound.columns.clone();
                (bound, columns, None)
            }
            CopySource::Table { schema, name, columns, byte } => {
                let relation = self.table(schema.as_deref(), name, *byte)?;
                let indexes = self.copy_columns(&relation, columns, copy.from)?;
                let bound = if copy.from {
                    bind::copy_insert(&self.environment(), &relation, &indexes)?
                } else {
                    bind::copy_select(&self.environment(), &relation, &indexes)?
                };
                let columns = indexes.iter().filter_map(|index| copy_column(&relation, *index)).collect();
                (bound, columns, Some(relation.name.clone()))
            }
        };
        let format = copy::format(self.text, &copy.options, &columns, copy.from)?;
        let mut query = bound.query;
        query.catalog_version = self.catalog.version();
        let direction = if copy.from { CopyDirection::In(query) } else { CopyDirection::Out(query) };
        let action = Action::Copy(Copy { direction, columns, format, target: name.unwrap_or_default() });
        let plan = self.plan(Tag::Copy, Vec::new(), action);
        Ok(Entry::new(Rc::new(plan), bound.lifted, Vec::new(), self.declared))
    }

    /// The columns that a COPY of a table names, or all of them.
    fn copy_columns(&self, relation: &Relation, names: &[String], from: bool) -> Result<Vec<usize>, Error> {
        let refused = match (&relation.kind, from) {
            (RelationKind::View { .. }, true) => Some("cannot copy to view"),
            (RelationKind::View { .. }, false) => Some("cannot copy from view"),
            (RelationKind::Sequence, true) => Some("cannot copy to sequence"),
            (RelationKind::Sequence, false) => Some("cannot copy from sequence"),
            (RelationKind::Partitioned(_), false) => Some("cannot copy from partitioned table"),
            (RelationKind::System, true) => Some("cannot copy to system view"),
            _ => None,
        };
        if let Some(words) = refused {
            let error = Error::new(Condition::WrongObjectType, format!("{words} \"{}\"", relation.name));
            return Err(if from { error } else { error.hint("Try the COPY (SELECT ...) TO variant.") });
        }
        if names.is_empty() {
            return Ok((0..relation.columns.len()).filter(|index| !relation.columns[*index].dropped).collect());
        }
        let mut indexes = Vec::with_capacity(names.len());
        for name in names {
            let found = relation.columns.iter().position(|column| !column.dropped && column.name == *name);
            let Some(index) = found else {
                let message = format!("column \"{name}\" of relation \"{}\" does not exist", relation.name);
                return Err(Error::new(Condition::UndefinedColumn, message));
            };
            if indexes.contains(&index) {
                let message = format!("column \"{name}\" specified more than once");
                return Err(Error::new(Condition::DuplicateColumn, message));
            }
            indexes.push(index);
        }
        Ok(indexes)
    }
}

fn copy_column(relation: &Relation, index: usize) -> Option<Column> {
    let column = relation.columns.get(index)?;
    Some(Column {
        name: column.name.clone(),
        type_: column.type_,
        typmod: column.typmod,
        table: relation.oid,
        attribute: i16::try_from(index + 1).unwrap_or(0),
    })
}

fn text_column(name: &str) -> Column {
    Column { name: name.to_owned(), type_: Type::Text, typmod: -1, table: 0, attribute: 0 }
}

/// Columns of statements that the session answers itself, where they are known beforehand.
fn session_columns(command: &SessionCommand) -> Vec<Column> {
    match command {
        SessionCommand::Show(name) => vec![text_column(name)],
        SessionCommand::ShowAll => ["name", "setting", "description"].into_iter().map(text_column).collect(),
        _ => Vec::new(),
    }
}
