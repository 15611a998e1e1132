//! From syntax trees to typed IR: names found, types resolved, coercions put in, then emitted.
//!
//! Follows PostgreSQL 15, chapters 7 ("Queries") and 10 ("Type Conversion"). What it has no meaning for is refused
//! by name (0A000): a field of a syntax tree is either used or looked at to be refused. Pure.

mod change;
mod coerce;
mod expression;
mod from;
mod function;
mod join;
mod list;
mod order;
mod permission;
mod quantified;
mod query;
mod scope;
mod set;
mod volatile;

/// The columns of a single row that is inserted, as far as their values are bound as they are.
fn bound_row(change: &Change, lifted: &[Lifted]) -> Vec<(String, Bind)> {
    let Change::Insert(insert) = change else { return Vec::new() };
    let (ir::InsertSource::Values(rows), None) = (&insert.source, &insert.conflict) else { return Vec::new() };
    let [row] = rows.as_slice() else { return Vec::new() };
    let bind = |value: &Scalar| match &unguarded(value).node {
        Node::Constant(types::Value::Null) => Some(Bind::Null),
        Node::Parameter(number) => Some(Bind::Parameter(*number)),
        Node::Literal { index, negated } => {
            let type_ = unguarded(value).type_;
            let same = |known: &Lifted| known.index == *index && known.negated == *negated && known.type_ == type_;
            lifted.iter().position(same).map(Bind::Literal)
        }
        _ => None,
    };
    insert.columns.iter().zip(row).filter_map(|(name, value)| Some((name.clone(), bind(value)?))).collect()
}

/// The value that a guard checks.
fn unguarded(value: &Scalar) -> &Scalar {
    match &value.node {
        Node::Call { emit: Emit::Call(guards::NOT_NULL), arguments } => arguments.first().map_or(value, unguarded),
        Node::Call { emit: Emit::Call(guards::IN_PARTITION), arguments } => arguments.get(1).map_or(value, unguarded),
        _ => value,
    }
}

#[cfg(test)]
mod tests;
mod walk;
mod window;
mod with;

use std::cell::RefCell;
use std::rc::Rc;

use sqlparser::ast::{self, ObjectNamePart, Spanned};

use super::cache::{Form, Literal};
use super::catalog::{Catalog, Relation, RelationKind, ViewSource};
use super::emit::{Emitter, Lifted};
use super::functions::{Emit, guards};
use super::ir::{self, Change, Node, OutputColumn, Scalar, Window};
use super::list::List;
use super::parse::PlainList;
use super::plan::{Access, Bind, Column, Permissions, Query, Tag};
use super::types::Type;
use super::{lex, parse, types};
use crate::error::{Condition, Error};
use crate::settings::TextContext;
use scope::Scope;

/// What binding reads besides the statement.
#[derive(Clone, Copy)]
pub struct Environment<'a> {
    /// Tables.
    pub catalog: &'a dyn Catalog,
    /// How constants that are read while planning are written.
    pub text_context: &'a TextContext,
}

/// The literals of a statement's text, and which of them the plan rests on.
#[derive(Debug)]
pub struct Literals {
    items: Vec<Literal>,
    fixed: Vec<bool>,
    lists: Vec<Rc<PlainList>>,
}

impl Literals {
    /// The literals that the statement's shape found, in order.
    pub fn new(items: &[Literal]) -> Self {
        Self { items: items.to_vec(), fixed: vec![false; items.len()], lists: Vec::new() }
    }

    /// With the long lists that the parser kept beside the tree.
    pub fn with_lists(mut self, lists: &[PlainList]) -> Self {
        self.lists = lists.iter().cloned().map(Rc::new).collect();
        self
    }

    /// The list whose first element starts at that byte.
    fn list(&self, byte: usize) -> Option<Rc<PlainList>> {
        let at = self.lists.binary_search_by_key(&byte, |list| list.start).ok()?;
        self.lists.get(at).cloned()
    }

    /// The number of the literal whose token starts at that byte.
    pub fn at(&self, byte: usize) -> Option<usize> {
        self.items.binary_search_by_key(&byte, |literal| literal.token.start).ok()
    }

    /// Its form.
    pub fn form(&self, index: usize) -> Option<Form> {
        self.items.get(index).map(|literal| literal.form)
    }

    /// Literals that the plan rests on, with their texts: all that are not bound.
    pub fn fixed(&self, text: &str, lifted: &[Lifted]) -> Vec<(usize, String)> {
        let mut bound = vec![false; self.items.len()];
        for lifted in lifted {
            if let Some(bound) = bound.get_mut(lifted.index) {
                *bound = true;
            }
        }
        (0..self.items.len())
            .filter(|index| self.fixed[*index] || !bound[*index])
            .map(|index| (index, self.items[index].token.text(text).to_owned()))
            .collect()
    }

    /// The literal's text.
    pub fn text_at<'t>(&self, text: &'t str, index: usize) -> Option<&'t str> {
        self.items.get(index).map(|literal| literal.token.text(text))
    }

    /// The plan rests on this literal's text.
    pub fn fix(&mut self, index: usize) {
        if let Some(fixed) = self.fixed.get_mut(index) {
            *fixed = true;
        }
    }
}

/// A bound statement.
#[derive(Debug)]
pub struct Bound {
    /// The command tag.
    pub tag: Tag,
    /// Columns of the result.
    pub columns: Vec<Column>,
    /// Types of the client's parameters.
    pub parameters: Vec<Type>,
    /// What `Bind::Literal` numbers.
    pub lifted: Vec<Lifted>,
    /// The SQL; its catalog version is the caller's to set.
    pub query: Query,
    /// A constant of the catalog's text was read by the session's settings (DateStyle, TimeZone) or its clock: the
    /// plan is of no use to another session.
    pub reads_settings: bool,
}

/// Binds SELECT, VALUES, TABLE, WITH, INSERT, UPDATE and DELETE.
pub fn statement(
    environment: &Environment<'_>,
    text: &str,
    statement: &ast::Statement,
    declared: &[u32],
    literals: &mut Literals,
) -> Result<Bound, Error> {
    match statement {
        ast::Statement::Query(inner) => query(environment, text, inner, declared, literals),
        ast::Statement::Insert(insert) => {
            let mut binder = Binder::new(*environment, text, declared, Some(literals))?;
            let change = Change::Insert(binder.insert(insert)?);
            binder.finish_change(Tag::Insert, &change)
        }
        ast::Statement::Update(update) => {
            let mut binder = Binder::new(*environment, text, declared, Some(literals))?;
            let change = Change::Update(binder.update(update)?);
            binder.finish_change(Tag::Update, &change)
        }
        ast::Statement::Delete(delete) => {
            let mut binder = Binder::new(*environment, text, declared, Some(literals))?;
            let change = Change::Delete(binder.delete(delete)?);
            binder.finish_change(Tag::Delete, &change)
        }
        _ => {
            let word = text.split_whitespace().next().unwrap_or("this statement").to_uppercase();
            Err(Error::unsupported(word))
        }
    }
}

/// Binds a query alone: COPY's.
pub fn query(
    environment: &Environment<'_>,
    text: &str,
    query: &ast::Query,
    declared: &[u32],
    literals: &mut Literals,
) -> Result<Bound, Error> {
    // WITH … INSERT, UPDATE and DELETE arrive as queries whose body is the data change.
    match (&*query.body, &query.with) {
        (ast::SetExpr::Insert(inner) | ast::SetExpr::Update(inner) | ast::SetExpr::Delete(inner), None) => {
            return statement(environment, text, inner, declared, literals);
        }
        (ast::SetExpr::Insert(inner) | ast::SetExpr::Update(inner) | ast::SetExpr::Delete(inner), Some(with)) => {
            return change_with(environment, text, inner, with, declared, literals);
        }
        _ => {}
    }
    let mut binder = Binder::new(*environment, text, declared, Some(literals))?;
    let bound = binder.query(query)?;
    let columns = binder.columns(&bound.columns);
    let mut emitter = Emitter::new(binder.tables);
    emitter.query(&bound, false);
    let access = if binder.locks {
        Access::Lock
    } else if binder.relations.is_empty() && binder.virtual_tables.is_empty() {
        Access::None
    } else {
        Access::Read
    };
    Ok(binder.bound(Tag::Select, columns, access, emitter))
}

/// WITH … before a data change.
fn change_with(
    environment: &Environment<'_>,
    text: &str,
    change: &ast::Statement,
    with: &ast::With,
    declared: &[u32],
    literals: &mut Literals,
) -> Result<Bound, Error> {
    let mut binder = Binder::new(*environment, text, declared, Some(literals))?;
    let mut ctes = binder.with(with)?;
    // The table that is changed comes first among the relations, before those that WITH reads.
    let read = std::mem::take(&mut binder.relations);
    let (tag, change) = match change {
        ast::Statement::Insert(insert) => (Tag::Insert, Change::Insert(binder.insert(insert)?)),
        ast::Statement::Update(update) => (Tag::Update, Change::Update(binder.update(update)?)),
        ast::Statement::Delete(delete) => (Tag::Delete, Change::Delete(binder.delete(delete)?)),
        _ => return Err(Error::unsupported("this statement after WITH")),
    };
    binder.keep_results(&mut ctes);
    let change = match change {
        Change::Insert(insert) => Change::Insert(ir::Insert { ctes, ..insert }),
        Change::Update(update) => Change::Update(ir::Update { ctes, ..update }),
        Change::Delete(delete) => Change::Delete(ir::Delete { ctes, ..delete }),
    };
    for oid in read {
        if !binder.relations.contains(&oid) {
            binder.relations.push(oid);
        }
    }
    binder.finish_change(tag, &change)
}

/// The INSERT of one row whose named columns are `Bind::Parameter(0..n)`, already of the columns' types.
pub fn copy_insert(environment: &Environment<'_>, relation: &Relation, columns: &[usize]) -> Result<Bound, Error> {
    let mut binder = Binder::new(*environment, "", &[], None)?;
    let change = Change::Insert(binder.copy_insert(relation, columns)?);
    binder.finish_change(Tag::Copy, &change)
}

/// The SELECT of a table's named columns.
pub fn copy_select(environment: &Environment<'_>, relation: &Relation, columns: &[usize]) -> Result<Bound, Error> {
    let mut binder = Binder::new(*environment, "", &[], None)?;
    let query = binder.copy_select(relation, columns)?;
    let columns = binder.columns(&query.columns);
    let mut emitter = Emitter::new(binder.tables);
    emitter.query(&query, false);
    Ok(binder.bound(Tag::Copy, columns, Access::Read, emitter))
}

/// An expression over a relation's columns as SQLite SQL with bare column names and no binds; with its type.
/// `target` coerces it by assignment.
pub fn expression_sql(
    environment: &Environment<'_>,
    relation: Option<&Relation>,
    text: &str,
    target: Option<(Type, i32)>,
) -> Result<(String, Type), Error> {
    let mut binder = Binder::new(*environment, text, &[], None)?;
    binder.allow_parameters = false;
    binder.aggregates_refused = Some("aggregate functions are not allowed here");
    if let Some(relation) = relation {
        let table = binder.next_table();
        let columns = from::stored_columns(relation, table);
        let source = scope::Source { name: relation.name.clone(), schema: Some(relation.schema.clone()), columns };
        binder.scopes.push(Scope::of(source));
    }
    let scalar = binder.expression(&parse::expression(text)?)?;
    let scalar = match target {
        Some((type_, typmod)) => binder.assign(scalar, "expression", type_, typmod, None)?,
        None => binder.known(scalar)?,
    };
    if walk::any(&scalar, &|node| matches!(node, Node::Subquery(_) | Node::Exists(_) | Node::InQuery { .. })) {
        return Err(Error::unsupported("a subquery in this expression"));
    }
    let type_ = scalar.type_;
    let mut emitter = Emitter::stored();
    emitter.scalar(&scalar);
    Ok((emitter.sql, type_))
}

/// The columns that a query's text yields: a view's, CREATE TABLE AS's.
pub fn query_columns(environment: &Environment<'_>, text: &str) -> Result<Vec<Column>, Error> {
    let mut binder = Binder::new(*environment, text, &[], None)?;
    let parsed = parse::query(text, &parse::tokens(text)?)?;
    let bound = binder.query(&parsed)?;
    Ok(binder.columns(&bound.columns))
}

/// The same for a view's, with the relations that it names and the columns of them that it reads.
pub fn view_query(environment: &Environment<'_>, text: &str) -> Result<(Vec<Column>, Vec<ViewSource>), Error> {
    let mut binder = Binder::new(*environment, text, &[], None)?;
    binder.allow_parameters = false;
    let parsed = parse::query(text, &parse::tokens(text)?)?;
    let bound = binder.query(&parsed)?;
    let columns = binder.columns(&bound.columns);
    let read = binder.read.take();
    for source in &mut binder.named {
        let used = read.iter().filter(|(oid, _)| *oid == source.oid);
        source.used = used.filter_map(|(_, attribute)| usize::try_from(attribute - 1).ok()).collect();
        source.used.sort_unstable();
        source.used.dedup();
    }
    Ok((columns, binder.named))
}

/// The last part of a name: its schema says nothing more once it is known to be there.
fn last_name(name: &ast::ObjectName) -> String {
    match name.0.last() {
        Some(ObjectNamePart::Identifier(ident)) => ident.value.clone(),
        _ => String::new(),
    }
}

/// A type as `sqlparser` writes it: `CHARACTER VARYING(5)`, `TIMESTAMP(3) WITH TIME ZONE`, `INT[]`.
fn type_of(data_type: &ast::DataType) -> Result<Option<(Type, i32)>, Error> {
    let written = data_type.to_string().to_lowercase();
    let written = written.strip_prefix("pg_catalog.").unwrap_or(&written);
    let (name, modifiers) = match written.split_once('(') {
        None => (written.to_owned(), Vec::new()),
        Some((before, rest)) => {
            let (inside, after) = rest.split_once(')').unwrap_or((rest, ""));
            let modifiers: Vec<i64> = inside.split(',').filter_map(|number| number.trim().parse().ok()).collect();
            (format!("{before}{after}"), modifiers)
        }
    };
    let name = name.trim();
    if let Some(fields) = name.strip_prefix("interval ") {
        let mut words = fields.split_whitespace().filter(|word| *word != "to");
        let range = types::interval::range_of(words.next().unwrap_or(""), words.next());
        let precision = modifiers.first().map_or(0xffff, |precision| (*precision).clamp(0, 6) as i32);
        return Ok(range.map(|range| (Type::Interval, range << 16 | precision)));
    }
    // "char" in quotation marks is a type of its own.
    let type_ = types::parse_name(name).or_else(|| types::parse_name(name.trim_matches('"')));
    let Some(type_) = type_ else { return Ok(None) };
    let bare = name == "bpchar" || type_.is_array();
    let typmod = if bare && modifiers.is_empty() { -1 } else { types::typmod_from_modifiers(type_, &modifiers)? };
    Ok(Some((type_, typmod)))
}

/// A WITH query that later ones may name.
struct CteEntry {
    name: String,
    number: usize,
    columns: Vec<OutputColumn>,
    /// How often it has been named.
    references: usize,
    /// It is the recursive query whose own text is being bound.
    is_open: bool,
}

/// One statement being bound.
struct Binder<'a> {
    environment: Environment<'a>,
    /// The text that positions count in: the statement's, or a view's while that is bound.
    text: Rc<str>,
    /// The statement's literals; none in texts from the catalog, whose constants are written out.
    literals: Option<&'a mut Literals>,
    allow_parameters: bool,
    /// Types of parameters as far as they are known.
    parameters: Vec<Option<Type>>,
    scopes: Vec<Scope>,
    ctes: Vec<CteEntry>,
    windows: Vec<(String, Window)>,
    /// Tables numbered so far.
    tables: usize,
    relations: Vec<u32>,
    virtual_tables: Vec<String>,
    /// Lists of plain values, by the numbers that `From::List` has.
    lists: Vec<Rc<List>>,
    /// FOR UPDATE and its like were met.
    locks: bool,
    /// Why aggregates may not stand here.
    aggregates_refused: Option<&'static str>,
    /// An aggregate of the query being bound was met.
    aggregates_seen: bool,
    /// Nesting of expressions, queries and views.
    depth: usize,
    /// A SELECT whose unknown literals take their types from outside: INSERT's, a side of UNION.
    keep_unknowns: bool,
    /// Numbers of WITH queries given so far.
    cte_number: usize,
    /// Names of RETURNING's columns.
    returning_names: Vec<String>,
    /// See [`Bound::reads_settings`].
    reads_settings: bool,
    /// While a view is bound: what its names meant when it was made.
    sources: Vec<ViewSource>,
    /// Views around what is being bound.
    views: usize,
    /// Relations that the statement names outside of views.
    named: Vec<ViewSource>,
    /// Columns that were read outside of views, as origins.
    read: RefCell<Vec<(u32, i16)>>,
    /// Places that name relations.
    uses: RefCell<Vec<permission::Use>>,
    /// Schemas that are named.
    schemas: Vec<String>,
    /// The owner of the innermost view around what is being bound.
    view_owner: Option<u32>,
    /// Queries and views around it.
    level: usize,
    /// Those of them that are parts of expressions or of WITH.
    sublinks: usize,
}

impl<'a> Binder<'a> {
    fn new(
        environment: Environment<'a>,
        text: &str,
        declared: &[u32],
        literals: Option<&'a mut Literals>,
    ) -> Result<Self, Error> {
        let mut parameters = Vec::with_capacity(declared.len());
        for oid in declared {
            parameters.push(match oid {
                0 | 705 => None,
                oid => Some(Type::from_oid(*oid).ok_or_else(|| {
                    Error::new(Condition::UndefinedObject, format!("type with OID {oid} does not exist"))
                })?),
            });
        }
        Ok(Self {
            environment,
            text: text.into(),
            literals,
            allow_parameters: true,
            parameters,
            scopes: Vec::new(),
            ctes: Vec::new(),
            windows: Vec::new(),
            tables: 0,
            relations: Vec::new(),
            virtual_tables: Vec::new(),
            lists: Vec::new(),
            locks: false,
            aggregates_refused: None,
            aggregates_seen: false,
            depth: 0,
            keep_unknowns: false,
            cte_number: 0,
            returning_names: Vec::new(),
            reads_settings: false,
            sources: Vec::new(),
            views: 0,
            named: Vec::new(),
            read: RefCell::default(),
            uses: RefCell::default(),
            schemas: Vec::new(),
            view_owner: None,
            level: 0,
            sublinks: 0,
        })
    }

    fn next_table(&mut self) -> usize {
        self.tables += 1;
        self.tables - 1
    }

    fn error_at(&self, error: Error, byte: Option<usize>) -> Error {
        match byte {
            Some(byte) if error.fields().position.is_none() && self.literals.is_some() => {
                error.position(lex::position(&self.text, byte))
            }
            _ => error,
        }
    }

    /// A column reference, noted as read.
    fn noted(&self, scalar: Scalar, _byte: Option<usize>) -> Scalar {
        self.note(&scalar);
        scalar
    }

    /// Notes a column as read: for privileges, and, unless a view reads it, for those who depend on it.
    fn note(&self, scalar: &Scalar) {
        self.note_read(scalar);
        let Node::Column { origin: Some(origin), .. } = &scalar.node else { return };
        // The relation was noted before; what was named in a view was not.
        if self.views == 0 && self.named.iter().any(|source| source.oid == origin.0) {
            let mut read = self.read.borrow_mut();
            if read.last() != Some(origin) {
                read.push(*origin);
            }
        }
    }

    /// The byte where a literal stands, for errors about its value.
    fn byte_of(&self, scalar: &Scalar) -> Option<usize> {
        let Node::Literal { index, .. } = &scalar.node else { return None };
        Some(self.literals.as_ref()?.items.get(*index)?.token.start)
    }

    fn fix(&mut self, index: usize) {
        if let Some(literals) = &mut self.literals {
            literals.fix(index);
        }
    }

    /// A name with at most a schema before it.
    fn split_name(&self, name: &ast::ObjectName) -> Result<(Option<String>, String), Error> {
        let parts: Vec<&str> = name
            .0
            .iter()
            .map(|part| match part {
                ObjectNamePart::Identifier(ident) => ident.value.as_str(),
                ObjectNamePart::Function(_) => "",
            })
            .collect();
        match parts[..] {
            [name] => Ok((None, name.to_owned())),
            [schema, name] => Ok((Some(schema.to_owned()), name.to_owned())),
            _ => {
                let byte = parse::byte_of(name.span().start);
                let message = format!("cross-database references are not implemented: \"{name}\"");
                Err(self.error_at(Error::new(Condition::FeatureNotSupported, message), byte))
            }
        }
    }

    /// A type as the text names it.
    fn type_of(&self, data_type: &ast::DataType) -> Result<(Type, i32), Error> {
        type_of(data_type)
            .and_then(|found| found.ok_or_else(|| types::missing_type(&data_type.to_string().to_lowercase())))
    }

    /// A view's query, bound as if it stood there.
    fn view(&mut self, relation: &Relation, text: &str) -> Result<super::ir::Query, Error> {
        const VIEWS_NESTED_MAX: usize = 32;
        if self.depth > 100 * VIEWS_NESTED_MAX {
            return Err(parse::too_deep());
        }
        debug_assert!(matches!(relation.kind, RelationKind::View { .. }), "only views have a query");
        let parsed = parse::query(text, &parse::tokens(text)?)?;
        self.depth += 100;
        let text_outside = std::mem::replace(&mut self.text, text.into());
        let literals = self.literals.take();
        let parameters = std::mem::replace(&mut self.allow_parameters, false);
        let scopes = std::mem::take(&mut self.scopes);
        let ctes = std::mem::take(&mut self.ctes);
        let sources = std::mem::replace(&mut self.sources, relation.depends.sources.clone());
        let view_owner = self.view_owner.replace(relation.owner);
        self.views += 1;
        self.level += 1;
        let bound = self.query(&parsed);
        self.level -= 1;
        self.views -= 1;
        self.view_owner = view_owner;
        self.sources = sources;
        self.text = text_outside;
        self.literals = literals;
        self.allow_parameters = parameters;
        self.scopes = scopes;
        self.ctes = ctes;
        self.depth -= 100;
        bound
    }

    /// A DEFAULT's expression, from the catalog's text.
    fn stored_expression(&mut self, text: &str) -> Result<Scalar, Error> {
        let parsed = parse::expression(text)?;
        let text_outside = std::mem::replace(&mut self.text, text.into());
        let literals = self.literals.take();
        let parameters = std::mem::replace(&mut self.allow_parameters, false);
        let scopes = std::mem::take(&mut self.scopes);
        let bound = self.expression(&parsed);
        self.text = text_outside;
        self.literals = literals;
        self.allow_parameters = parameters;
        self.scopes = scopes;
        bound
    }

    fn columns(&self, columns: &[OutputColumn]) -> Vec<Column> {
        columns
            .iter()
            .map(|column| Column {
                name: column.name.clone(),
                type_: column.type_,
                typmod: column.typmod,
                table: column.origin.map_or(0, |(table, _)| table),
                attribute: column.origin.map_or(0, |(_, attribute)| attribute),
            })
            .collect()
    }

    fn finish_change(self, tag: Tag, change: &Change) -> Result<Bound, Error> {
        let returning = match change {
            Change::Insert(insert) => &insert.returning,
            Change::Update(update) => &update.returning,
            Change::Delete(delete) => &delete.returning,
        };
        let columns: Vec<Column> = returning
            .iter()
            .zip(&self.returning_names)
            .map(|(scalar, name)| {
                let (table, attribute) = match &scalar.node {
                    Node::Column { origin: Some((table, attribute)), .. } => (*table, *attribute),
                    _ => (0, 0),
                };
                Column { name: name.clone(), type_: scalar.type_, typmod: scalar.typmod, table, attribute }
            })
            .collect();
        let mut emitter = Emitter::new(self.tables);
        emitter.change(change);
        let row = bound_row(change, &emitter.lifted);
        let row_is_whole = matches!(change, Change::Insert(insert) if insert.columns.len() == row.len());
        let mut bound = self.bound(tag, columns, Access::Write, emitter);
        bound.query.row = row;
        bound.query.row_is_whole = row_is_whole;
        bound.query.watched = match change {
            Change::Insert(ir::Insert { storage, conflict: Some(ir::Conflict { update: Some(_), .. }), .. }) => {
                Some(storage.clone())
            }
            _ => None,
        };
        Ok(bound)
    }

    fn bound(mut self, tag: Tag, columns: Vec<Column>, access: Access, emitter: Emitter) -> Bound {
        let permissions = self.permissions();
        let Emitter { sql, binds, lifted, functions, computed, .. } = emitter;
        let writes = functions.iter().any(|call| matches!(*call, "pg_catalog_nextval" | "pg_catalog_setval"));
        let access = if writes { Access::Write } else { access };
        let parameters = self.parameters.iter().map(|type_| type_.unwrap_or(Type::Text)).collect();
        let query = Query {
            sql,
            binds,
            lists: self.lists,
            access,
            catalog_version: 0,
            relations: self.relations,
            row: Vec::new(),
            row_is_whole: false,
            watched: None,
            computed,
            functions,
            permissions: Rc::new(Permissions { virtual_tables: self.virtual_tables.clone(), ..permissions }),
            virtual_tables: self.virtual_tables,
        };
        Bound { tag, columns, parameters, lifted, query, reads_settings: self.reads_settings }
    }
}
