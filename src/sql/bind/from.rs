//! FROM: tables, views, subqueries, functions and joins, and what their columns are called.

use sqlparser::ast::{self, TableFactor};

use super::Binder;
use super::expression::start;
use super::scope::{Scope, Source, Visible};
use crate::error::{Condition, Error};
use crate::sql::acl::Privileges;
use crate::sql::catalog::{Relation, RelationKind, ViewSource};
use crate::sql::define::partition;
use crate::sql::functions::{Emit, guards, regexp};
use crate::sql::ir::{Body, From, JoinKind, Node, OutputColumn, Query, Scalar};
use crate::sql::types::{Type, Value};

impl Binder<'_> {
    /// The tables of a FROM clause, joined by commas; they are added to the scope.
    pub(super) fn from(&mut self, tables: &[ast::TableWithJoins], scope: &mut Scope) -> Result<Option<From>, Error> {
        let mut whole: Option<From> = None;
        for table in tables {
            let joined = self.joined(table, scope)?;
            whole = match (whole, joined) {
                (whole, None) => whole,
                (None, joined) => joined,
                (Some(left), Some(right)) => {
                    let (left, right) = (Box::new(left), Box::new(right));
                    Some(From::Join { kind: JoinKind::Inner, left, right, on: None })
                }
            };
        }
        Ok(whole)
    }

    pub(super) fn factor(&mut self, factor: &TableFactor, scope: &mut Scope) -> Result<Option<From>, Error> {
        match factor {
            TableFactor::Table {
                name,
                alias,
                args,
                with_hints,
                version: None,
                with_ordinality,
                partitions,
                json_path: None,
                sample: None,
                index_hints,
            } if with_hints.is_empty() && partitions.is_empty() && index_hints.is_empty() => match args {
                None => self.table(name, alias.as_ref(), scope).map(Some),
                Some(args) if args.settings.is_none() => {
                    self.table_function(name, &args.args, *with_ordinality, alias.as_ref(), scope).map(Some)
                }
                Some(_) => Err(self.refused("SETTINGS", factor)),
            },
            TableFactor::Derived { lateral, subquery, alias, sample: None } => {
                self.derived(*lateral, subquery, alias.as_ref(), scope)
            }
            TableFactor::Function { lateral: _, name, args, with_ordinality, alias } => {
                self.table_function(name, args, *with_ordinality, alias.as_ref(), scope).map(Some)
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                let mut inner = Scope::default();
                let from = self.joined(table_with_joins, &mut inner)?;
                for source in inner.sources {
                    scope.add(source).map_err(|error| self.error_at(error, start(factor)))?;
                }
                scope.columns.extend(inner.columns);
                Ok(from)
            }
            // The alias hides the tables inside.
            TableFactor::NestedJoin { table_with_joins, alias: Some(alias) } => {
                let mut inner = Scope::default();
                let from = self.joined(table_with_joins, &mut inner)?;
                self.add_source(scope, None, &alias.name.value, Some(alias), inner.columns, start(factor))?;
                Ok(from)
            }
            TableFactor::UNNEST { alias, array_exprs, with_offset: false, with_ordinality, .. } => {
                let [array] = array_exprs.as_slice() else {
                    return Err(self.refused("unnest of several arrays", factor));
                };
                let array = self.beside(array, scope)?;
                self.elements("unnest", array, *with_ordinality, alias.as_ref(), scope, start(factor)).map(Some)
            }
            other => Err(self.refused("this form of a table in FROM", other)),
        }
    }

    fn table(
        &mut self,
        name: &ast::ObjectName,
        alias: Option<&ast::TableAlias>,
        scope: &mut Scope,
    ) -> Result<From, Error> {
        let byte = start(name);
        let (schema, relation_name) = self.split_name(name)?;
        if schema.is_none()
            && let Some(cte) = self.ctes.iter_mut().rev().find(|cte| cte.name == relation_name)
        {
            cte.references += 1;
            let (number, columns) = (cte.number, cte.columns.clone());
            let table = self.next_table();
            self.add_source(scope, None, &relation_name, alias, derived_columns(table, &columns), byte)?;
            return Ok(From::Cte { table, number });
        }
        let relation = self.relation(schema.as_deref(), &relation_name, byte)?;
        self.note_use(&relation, alias.map(|alias| alias.name.value.as_str()), Privileges::SELECT);
        if let RelationKind::View { query } = &relation.kind {
            let bound = self.view(&relation, query)?;
            let table = self.next_table();
            let named: Vec<OutputColumn> = bound
                .columns
                .iter()
                .enumerate()
                .map(|(at, column)| OutputColumn {
                    name: relation.columns.get(at).map_or_else(|| column.name.clone(), |known| known.name.clone()),
                    origin: Some((relation.oid, i16::try_from(at + 1).unwrap_or(0))),
                    ..column.clone()
                })
                .collect();
            let columns = derived_columns(table, &named);
            self.add_named(scope, (schema.as_deref(), &relation_name), &relation, alias, columns, byte)?;
            return Ok(From::Derived { table, query: Box::new(bound) });
        }
        let table = self.next_table();
        let columns = stored_columns(&relation, table);
        self.add_named(scope, (schema.as_deref(), &relation_name), &relation, alias, columns, byte)?;
        let predicate = self.partition_predicate(&relation, table)?;
        Ok(From::Table { table, storage: relation.storage.clone(), predicate })
    }

    /// The rows of a partition among those of its root, or `None` for other tables.
    pub(super) fn partition_predicate(&mut self, relation: &Relation, table: usize) -> Result<Option<Scalar>, Error> {
        let prefix = format!("r{table}.");
        let bound = self.partition_bound(relation, &prefix)?;
        if bound.is_some() {
            // The bound names the table by its alias, which the emitter gives to several tables only.
            self.next_table();
        }
        Ok(bound.map(|sql| Scalar::new(Node::Sql(format!("({sql})")), Type::Bool)))
    }

    /// The bound of a partition as SQLite's SQL over the root's columns.
    pub(super) fn partition_bound(&mut self, relation: &Relation, prefix: &str) -> Result<Option<String>, Error> {
        let RelationKind::Partition { parent, bound } = &relation.kind else { return Ok(None) };
        let lost = || Error::internal("a partition has lost its parent");
        let root = self.environment.catalog.relation_by_oid(*parent)?.ok_or_else(lost)?;
        let RelationKind::Partitioned(partitioning) = &root.kind else { return Err(lost()) };
        let mut siblings = Vec::new();
        for oid in partitioning.partitions.iter().filter(|oid| **oid != relation.oid) {
            if let Some(sibling) = self.environment.catalog.relation_by_oid(*oid)?
                && let RelationKind::Partition { bound, .. } = &sibling.kind
            {
                siblings.push(bound.clone());
            }
        }
        Ok(Some(partition::bound_condition(&root, bound, &siblings, prefix)))
    }

    /// The relation of that name, noted as read.
    pub(super) fn relation(
        &mut self,
        schema: Option<&str>,
        name: &str,
        byte: Option<usize>,
    ) -> Result<std::rc::Rc<Relation>, Error> {
        let found = match self.seen(schema, name) {
            Some(source) => self.environment.catalog.relation_by_oid(source.oid)?,
            None => {
                if let Some(schema) = schema {
                    self.name_schema(schema, byte)?;
                }
                self.environment.catalog.relation(schema, name)?
            }
        };
        let Some(relation) = found else {
            let shown = schema.map_or_else(|| name.to_owned(), |schema| format!("{schema}.{name}"));
            let message = format!("relation \"{shown}\" does not exist");
            return Err(self.error_at(Error::new(Condition::UndefinedTable, message), byte));
        };
        match relation.kind {
            RelationKind::Sequence => {
                return Err(self.error_at(Error::unsupported("reading a sequence as a table"), byte));
            }
            RelationKind::System => {
                if !self.virtual_tables.contains(&relation.storage) {
                    self.virtual_tables.push(relation.storage.clone());
                }
            }
            _ => {
                if !self.relations.contains(&relation.oid) {
                    self.relations.push(relation.oid);
                }
                self.note_relation(schema, name, &relation);
            }
        }
        Ok(relation)
    }

    /// A schema that is named must be one that may be used.
    fn name_schema(&mut self, schema: &str, byte: Option<usize>) -> Result<(), Error> {
        self.environment.catalog.require_usable(schema).map_err(|error| self.error_at(error, byte))?;
        if !self.schemas.iter().any(|known| known == schema) {
            self.schemas.push(schema.to_owned());
        }
        Ok(())
    }

    fn note_relation(&mut self, schema: Option<&str>, name: &str, relation: &Relation) {
        let known = |source: &ViewSource| source.schema.as_deref() == schema && source.name == name;
        if self.views == 0 && !self.named.iter().any(known) {
            self.named.push(ViewSource {
                schema: schema.map(str::to_owned),
                name: name.to_owned(),
                oid: relation.oid,
                columns: relation.columns.iter().map(|column| column.name.clone()).collect(),
                used: Vec::new(),
            });
        }
    }

    /// What a name in the view being bound meant when the view was made.
    fn seen(&self, schema: Option<&str>, name: &str) -> Option<&ViewSource> {
        self.sources.iter().find(|source| source.schema.as_deref() == schema && source.name == name)
    }

    /// Adds a table or view: in a view by the names that the view was made with, without columns added since.
    fn add_named(
        &mut self,
        scope: &mut Scope,
        (schema, name): (Option<&str>, &str),
        relation: &Relation,
        alias: Option<&ast::TableAlias>,
        mut columns: Vec<Visible>,
        byte: Option<usize>,
    ) -> Result<(), Error> {
        let Some(source) = self.seen(schema, name) else {
            return self.add_source(scope, Some(&relation.schema), &relation.name, alias, columns, byte);
        };
        columns.retain_mut(|column| {
            let Node::Column { origin: Some((_, attribute)), .. } = &column.scalar.node else { return true };
            let then = usize::try_from(*attribute - 1).ok().and_then(|at| source.columns.get(at));
            then.inspect(|name| column.name.clone_from(name)).is_some()
        });
        let schema = schema.unwrap_or(&relation.schema).to_owned();
        self.add_source(scope, Some(&schema), name, alias, columns, byte)
    }

    fn derived(
        &mut self,
        lateral: bool,
        query: &ast::Query,
        alias: Option<&ast::TableAlias>,
        scope: &mut Scope,
    ) -> Result<Option<From>, Error> {
        let byte = start(query);
        let Some(alias) = alias else {
            let error = Error::new(Condition::SyntaxError, "subquery in FROM must have an alias")
                .hint("For example, FROM (SELECT ...) [AS] foo.");
            return Err(self.error_at(error, byte));
        };
        if lateral {
            self.scopes.push(scope.clone());
        }
        let bound = self.derived_query(query);
        if lateral {
            self.scopes.pop();
        }
        let bound = bound?;
        if lateral {
            // One row without a FROM of its own: its columns are expressions over the tables before it.
            return match bound {
                Query { ctes, body: Body::Select(select), order, limit: None, offset: None, columns }
                    if ctes.is_empty()
                        && order.is_empty()
                        && select.from.is_none()
                        && select.filter.is_none()
                        && select.group.is_empty() =>
                {
                    let inlined = columns
                        .iter()
                        .zip(select.outputs)
                        .map(|(column, scalar)| Visible { name: column.name.clone(), scalar })
                        .collect();
                    self.add_source(scope, None, &alias.name.value, Some(alias), inlined, byte)?;
                    Ok(None)
                }
                _ => Err(self.error_at(Error::unsupported("LATERAL"), byte)),
            };
        }
        let table = self.next_table();
        let columns = derived_columns(table, &bound.columns);
        self.add_source(scope, None, &alias.name.value, Some(alias), columns, byte)?;
        Ok(Some(From::Derived { table, query: Box::new(bound) }))
    }

    fn table_function(
        &mut self,
        name: &ast::ObjectName,
        arguments: &[ast::FunctionArg],
        ordinality: bool,
        alias: Option<&ast::TableAlias>,
        scope: &mut Scope,
    ) -> Result<From, Error> {
        let byte = start(name);
        let function = super::last_name(name);
        if function == "aclexplode" {
            return self.exploded(arguments, ordinality, alias, scope, byte);
        }
        if is_set_returning(&function) {
            let mut bound = Vec::with_capacity(arguments.len());
            for argument in arguments {
                let ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(argument)) = argument else {
                    return Err(self.error_at(Error::unsupported(format!("this form of {function} in FROM")), byte));
                };
                bound.push(self.beside(argument, scope)?);
            }
            let array = match array_function(&function) {
                Some(call) => self.call(call, bound, byte)?,
                None if bound.len() == 1 => bound.remove(0),
                None => {
                    return Err(self.error_at(Error::unsupported(format!("this form of {function} in FROM")), byte));
                }
            };
            return self.elements(&function, array, ordinality, alias, scope, byte);
        }
        if ordinality {
            return Err(self.error_at(Error::unsupported(format!("{function} WITH ORDINALITY")), byte));
        }
        if function != "generate_series" {
            return Err(self.error_at(Error::unsupported(format!("function {function} in FROM")), byte));
        }
        let mut bound = Vec::new();
        for argument in arguments {
            let ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expression)) = argument else {
                return Err(self.error_at(Error::unsupported("this form of a function's argument"), byte));
            };
            bound.push(self.expression(expression)?);
        }
        let type_ = {
            let all: Vec<&Scalar> = bound.iter().collect();
            self.common_type("generate_series", &all)?
        };
        let type_ = if type_ == Type::Int2 || type_ == Type::Text { Type::Int4 } else { type_ };
        if !matches!(type_, Type::Int4 | Type::Int8) || !(2..=3).contains(&bound.len()) {
            return Err(self.error_at(Error::unsupported(format!("generate_series over {}", type_.name())), byte));
        }
        let mut coerced = Vec::with_capacity(3);
        for argument in bound {
            coerced.push(self.coerce(argument, type_)?);
        }
        let step = if coerced.len() == 3 { coerced.pop() } else { None };
        let step = step.map(|step| Scalar::call(Emit::Call(guards::STEP), vec![step], type_));
        let stop = coerced.pop().unwrap_or_else(|| Scalar::null(type_));
        let start = coerced.pop().unwrap_or_else(|| Scalar::null(type_));
        let table = self.next_table();
        // A function's one column goes by the alias of its table.
        let label = alias.map_or(function.as_str(), |alias| alias.name.value.as_str()).to_owned();
        let column = OutputColumn { name: label, type_, typmod: -1, origin: None, not_null: true };
        self.add_source(scope, None, &function, alias, derived_columns(table, &[column]), byte)?;
        Ok(From::Series { table, start, stop, step })
    }

    /// aclexplode(): each privilege of a list as a row.
    fn exploded(
        &mut self,
        arguments: &[ast::FunctionArg],
        ordinality: bool,
        alias: Option<&ast::TableAlias>,
        scope: &mut Scope,
        byte: Option<usize>,
    ) -> Result<From, Error> {
        let [ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(list))] = arguments else {
            return Err(self.error_at(Error::unsupported("this form of aclexplode in FROM"), byte));
        };
        if ordinality {
            return Err(self.error_at(Error::unsupported("aclexplode WITH ORDINALITY"), byte));
        }
        let list = self.beside(list, scope)?;
        let json = self.call("aclexplode_rows", vec![list], byte)?;
        let table = self.next_table();
        let columns = [
            ("grantor", Type::Oid),
            ("grantee", Type::Oid),
            ("privilege_type", Type::Text),
            ("is_grantable", Type::Bool),
        ];
        let columns = columns.into_iter().enumerate().map(|(at, (name, type_))| {
            let value = Node::Column { table, name: "value".to_owned(), not_null: true, origin: None };
            let path = Scalar::new(Node::Constant(Value::Text(format!("$[{at}]"))), Type::Text);
            let value = Scalar::new(value, Type::Text);
            Visible {
                name: name.to_owned(),
                scalar: Scalar::call(Emit::Native("json_extract"), vec![value, path], type_),
            }
        });
        self.add_source(scope, None, "aclexplode", alias, columns.collect(), byte)?;
        Ok(From::Elements { table, json })
    }

    /// An argument of a function in FROM, which sees the tables before it.
    fn beside(&mut self, argument: &ast::Expr, scope: &Scope) -> Result<Scalar, Error> {
        self.scopes.push(scope.clone());
        let bound = self.expression(argument);
        self.scopes.pop();
        bound
    }

    /// The elements of an array as rows, numbered from 1 if that is asked for.
    fn elements(
        &mut self,
        function: &str,
        array: Scalar,
        ordinality: bool,
        alias: Option<&ast::TableAlias>,
        scope: &mut Scope,
        byte: Option<usize>,
    ) -> Result<From, Error> {
        let Some(type_) = array.type_.element() else {
            let message = format!("function {function}({}) does not exist", array.type_.name());
            return Err(self.error_at(Error::new(Condition::UndefinedFunction, message), byte));
        };
        let table = self.next_table();
        // A function's one column goes by the alias of its table, unless the function names it.
        let label = match function {
            "pg_partition_ancestors" => "relid",
            _ => alias.map_or(function, |alias| alias.name.value.as_str()),
        };
        let column = |name: &str| Node::Column { table, name: name.to_owned(), not_null: false, origin: None };
        // The rows of regexp_matches are arrays themselves, which the array holds as text.
        let row_type = if function == "regexp_matches" { Type::TextArray } else { type_ };
        let value = guards::json_element(Scalar { node: column("value"), type_: row_type, typmod: -1 });
        let mut columns = vec![Visible { name: label.to_owned(), scalar: value }];
        if ordinality {
            let key = Scalar::new(column("key"), Type::Int8);
            let number = Scalar::call(Emit::Infix("+"), vec![key, Scalar::integer(1)], Type::Int8);
            columns.push(Visible { name: "ordinality".to_owned(), scalar: number });
        }
        self.add_source(scope, None, function, alias, columns, byte)?;
        let arguments = vec![array, Scalar::integer(i64::from(type_.oid()))];
        Ok(From::Elements { table, json: Scalar::call(Emit::Call(guards::ARRAY_JSON), arguments, Type::Text) })
    }

    fn add_source(
        &mut self,
        scope: &mut Scope,
        schema: Option<&str>,
        name: &str,
        alias: Option<&ast::TableAlias>,
        mut columns: Vec<Visible>,
        byte: Option<usize>,
    ) -> Result<(), Error> {
        let mut source = Source { name: name.to_owned(), schema: schema.map(str::to_owned), columns: Vec::new() };
        if let Some(alias) = alias {
            if alias.at.is_some() {
                return Err(self.error_at(Error::unsupported("this alias"), byte));
            }
            source.name = alias.name.value.clone();
            source.schema = None;
            if alias.columns.len() > columns.len() {
                let message = format!(
                    "table \"{}\" has {} columns available but {} columns specified",
                    source.name,
                    columns.len(),
                    alias.columns.len()
                );
                return Err(self.error_at(Error::new(Condition::InvalidColumnReference, message), byte));
            }
            for (column, renamed) in columns.iter_mut().zip(&alias.columns) {
                if renamed.data_type.is_some() {
                    return Err(self.error_at(Error::unsupported("a column definition list"), byte));
                }
                column.name = renamed.name.value.clone();
            }
        }
        source.columns = columns;
        scope.columns.extend(source.columns.iter().cloned());
        scope.add(source).map_err(|error| self.error_at(error, byte))
    }
}

/// Functions that give an array here and rows in SQL.
pub(super) fn is_set_returning(function: &str) -> bool {
    function == "unnest" || array_function(function).is_some()
}

/// The function that gives those rows as an array; `unnest` has it as its argument.
fn array_function(function: &str) -> Option<&'static str> {
    Some(match function {
        "pg_partition_ancestors" => "pg_partition_ancestors",
        "regexp_matches" => regexp::ALL_MATCHES,
        "regexp_split_to_table" => "regexp_split_to_array",
        "string_to_table" => "string_to_array",
        _ => return None,
    })
}

/// `SELECT unnest(…)` alone means `SELECT * FROM unnest(…)`.
pub(super) fn rows_of_function(select: &ast::Select) -> Option<ast::Select> {
    let (function, alias) = match select.projection.as_slice() {
        [ast::SelectItem::UnnamedExpr(ast::Expr::Function(function))] => (function, None),
        [ast::SelectItem::ExprWithAlias { expr: ast::Expr::Function(function), alias }] => (function, Some(alias)),
        _ => return None,
    };
    let ast::FunctionArguments::List(list) = &function.args else { return None };
    if !select.from.is_empty() || !is_set_returning(&super::last_name(&function.name)) {
        return None;
    }
    let alias = alias.map(|name| ast::TableAlias { explicit: true, name: name.clone(), columns: Vec::new(), at: None });
    let relation = ast::TableFactor::Function {
        lateral: false,
        name: function.name.clone(),
        args: list.args.clone(),
        with_ordinality: false,
        alias,
    };
    let mut rewritten = select.clone();
    rewritten.from = vec![ast::TableWithJoins { relation, joins: Vec::new() }];
    rewritten.projection = vec![ast::SelectItem::Wildcard(ast::WildcardAdditionalOptions::default())];
    Some(rewritten)
}

/// The columns of a stored table, as its storage names them.
pub(super) fn stored_columns(relation: &Relation, table: usize) -> Vec<Visible> {
    let columns = relation.columns.iter().enumerate().filter(|(_, column)| !column.dropped);
    columns
        .map(|(at, column)| Visible {
            name: column.name.clone(),
            scalar: Scalar {
                node: Node::Column {
                    table,
                    name: column.name.clone(),
                    not_null: column.not_null,
                    origin: Some((relation.oid, i16::try_from(at + 1).unwrap_or(0))),
                },
                type_: column.type_,
                typmod: column.typmod,
            },
        })
        .collect()
}

/// The columns of a subquery, which the emitter calls c1, c2, ….
fn derived_columns(table: usize, columns: &[OutputColumn]) -> Vec<Visible> {
    columns
        .iter()
        .enumerate()
        .map(|(at, column)| Visible {
            name: column.name.clone(),
            scalar: Scalar {
                node: Node::Column {
                    table,
                    name: format!("c{}", at + 1),
                    not_null: column.not_null,
                    origin: column.origin,
                },
                type_: column.type_,
                typmod: column.typmod,
            },
        })
        .collect()
}
