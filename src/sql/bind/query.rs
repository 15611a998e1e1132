//! Queries: WITH, SELECT, VALUES, set operations, LIMIT, FOR UPDATE.

use sqlparser::ast::{self, Expr, SelectItem, SetExpr};

use super::expression::start;
use super::scope::{Scope, Visible};
use super::{Binder, walk};
use crate::error::{Condition, Error};
use crate::sql::functions::{Emit, guards};
use crate::sql::ir::{Aggregate, Body, From, Node, OrderKey, OutputColumn, Query, Scalar, Select};
use crate::sql::parse;
use crate::sql::types::{self, Type, Value};

/// Expressions of a select list at the most (PostgreSQL's MaxTupleAttributeNumber).
const OUTPUTS_MAX: usize = 1664;

impl Binder<'_> {
    /// A query inside another: it sees the scopes around it, and its aggregates are its own.
    pub(super) fn subquery(&mut self, query: &ast::Query) -> Result<Query, Error> {
        self.sublinks += 1;
        let bound = self.derived_query(query);
        self.sublinks -= 1;
        bound
    }

    /// The same for one in FROM.
    pub(super) fn derived_query(&mut self, query: &ast::Query) -> Result<Query, Error> {
        self.depth += 4;
        if self.depth > 400 {
            return Err(parse::too_deep());
        }
        let refused = self.aggregates_refused.take();
        let seen = std::mem::replace(&mut self.aggregates_seen, false);
        self.level += 1;
        let bound = self.query(query);
        self.level -= 1;
        self.aggregates_refused = refused;
        self.aggregates_seen = seen;
        self.depth -= 4;
        bound
    }

    /// A whole query.
    pub(super) fn query(&mut self, query: &ast::Query) -> Result<Query, Error> {
        if query.for_clause.is_some()
            || query.settings.is_some()
            || query.format_clause.is_some()
            || !query.pipe_operators.is_empty()
        {
            return Err(self.refused("this clause of a query", query));
        }
        let known = self.ctes.len();
        let first_use = self.uses_from_here();
        let mut ctes = match &query.with {
            Some(with) => self.with(with)?,
            None => Vec::new(),
        };
        let mut bound = self.body_with_order(&query.body, query.order_by.as_ref())?;
        self.keep_results(&mut ctes);
        self.ctes.truncate(known);
        bound.ctes = ctes;
        self.limits(query, &mut bound)?;
        for lock in &query.locks {
            if lock.nonblock.is_some() {
                return Err(self.refused("NOWAIT and SKIP LOCKED", query));
            }
            self.locks = true;
            let of = lock.of.as_ref().map(super::last_name);
            self.note_locked(first_use, of.as_deref());
        }
        Ok(self.defer_volatile(bound))
    }

    pub(super) fn body_with_order(&mut self, body: &SetExpr, order: Option<&ast::OrderBy>) -> Result<Query, Error> {
        let keys = match order {
            None => &[][..],
            Some(ast::OrderBy { kind: ast::OrderByKind::Expressions(keys), interpolate: None }) => keys.as_slice(),
            Some(_) => return Err(Error::unsupported("this form of ORDER BY")),
        };
        match body {
            SetExpr::Select(select) => self.select(select, keys),
            other => {
                let (body, columns) = self.body(other)?;
                let order = self.order_of_outputs(keys, &columns)?;
                Ok(Query { ctes: Vec::new(), body, order, limit: None, offset: None, columns })
            }
        }
    }

    pub(super) fn body(&mut self, body: &SetExpr) -> Result<(Body, Vec<OutputColumn>), Error> {
        match body {
            SetExpr::Select(select) => {
                let query = self.select(select, &[])?;
                Ok((query.body, query.columns))
            }
            SetExpr::Query(query) => {
                let query = self.query(query)?;
                let columns = query.columns.clone();
                let simple =
                    query.ctes.is_empty() && query.order.is_empty() && query.limit.is_none() && query.offset.is_none();
                Ok((if simple { query.body } else { Body::Nested(Box::new(query)) }, columns))
            }
            SetExpr::Values(values) => self.values(values),
            SetExpr::SetOperation { .. } => self.set_operations(body),
            SetExpr::Table(table) => {
                let names = [table.schema_name.as_ref(), table.table_name.as_ref()];
                let text: Vec<String> =
                    names.into_iter().flatten().map(|name| format!("\"{}\"", name.replace('"', "\"\""))).collect();
                let text = format!("SELECT * FROM {}", text.join("."));
                let query = parse::query(&text, &parse::tokens(&text)?)?;
                let query = self.query(&query)?;
                Ok((query.body, query.columns))
            }
            other => Err(self.refused("this form of a query", other)),
        }
    }

    fn values(&mut self, values: &ast::Values) -> Result<(Body, Vec<OutputColumn>), Error> {
        if let [row] = values.rows.as_slice()
            && let [only] = row.content.as_slice()
            && let Some(list) = self.list_at(only)
        {
            return self.list_values(&list);
        }
        let mut rows = Vec::with_capacity(values.rows.len());
        for row in &values.rows {
            let bound = row.iter().map(|item| self.expression(item)).collect::<Result<Vec<_>, _>>()?;
            rows.push(bound);
        }
        let width = rows.first().map_or(0, Vec::len);
        if rows.iter().any(|row| row.len() != width) {
            let message = "VALUES lists must all be the same length";
            return Err(Error::new(Condition::SyntaxError, message));
        }
        let mut columns = Vec::with_capacity(width);
        for column in 0..width {
            let type_ = {
                let all: Vec<&Scalar> = rows.iter().map(|row| &row[column]).collect();
                self.common_type("VALUES", &all)?
            };
            for row in &mut rows {
                let item = std::mem::replace(&mut row[column], Scalar::null(type_));
                row[column] = self.coerce(item, type_)?;
            }
            let not_null = rows.iter().all(|row| row[column].never_null());
            columns.push(OutputColumn {
                name: format!("column{}", column + 1),
                type_,
                typmod: -1,
                origin: None,
                not_null,
            });
        }
        Ok((Body::Values(rows), columns))
    }

    /// Makes a query's columns of these types.
    pub(super) fn coerce_query(&mut self, query: &mut Query, types: &[Type]) -> Result<(), Error> {
        self.coerce_body(&mut query.body, types)?;
        for (column, type_) in query.columns.iter_mut().zip(types) {
            column.type_ = *type_;
        }
        Ok(())
    }

    pub(super) fn coerce_body(&mut self, body: &mut Body, types: &[Type]) -> Result<(), Error> {
        let coerce_row = |binder: &mut Self, row: &mut [Scalar]| -> Result<(), Error> {
            for (item, type_) in row.iter_mut().zip(types) {
                if item.type_ != *type_ {
                    let taken = std::mem::replace(item, Scalar::null(*type_));
                    *item = binder.coerce(taken, *type_)?;
                }
            }
            Ok(())
        };
        match body {
            Body::Select(select) => coerce_row(self, &mut select.outputs),
            Body::Values(rows) => rows.iter_mut().try_for_each(|row| coerce_row(self, row)),
            Body::Set { left, right, .. } => {
                self.coerce_body(left, types)?;
                self.coerce_body(right, types)
            }
            Body::Nested(query) => self.coerce_query(query, types),
        }
    }

    fn select(&mut self, select: &ast::Select, keys: &[ast::OrderByExpr]) -> Result<Query, Error> {
        self.refuse_dialects(select)?;
        let keep_unknowns = std::mem::replace(&mut self.keep_unknowns, false);
        let outer_seen = std::mem::replace(&mut self.aggregates_seen, false);
        let outer_refused = self.aggregates_refused.take();
        let windows = self.windows.len();
        let first_table = self.tables;

        let mut scope = Scope::default();
        let rows_of;
        let select = match super::from::rows_of_function(select) {
            Some(rewritten) => {
                rows_of = rewritten;
                &rows_of
            }
            None => select,
        };
        let from = self.from(&select.from, &mut scope)?;
        let own_tables = first_table..self.tables;
        self.scopes.push(scope);
        let filter = match &select.selection {
            None => None,
            Some(condition) => {
                self.aggregates_refused = Some("aggregate functions are not allowed in WHERE");
                let bound = self.expression(condition)?;
                self.aggregates_refused = None;
                Some(self.truth(bound, "WHERE", start(condition))?)
            }
        };
        for ast::NamedWindowDefinition(name, definition) in &select.named_window {
            match definition {
                ast::NamedWindowExpr::WindowSpec(spec) => self.define_window(name, spec, windows)?,
                ast::NamedWindowExpr::NamedWindow(_) => {
                    return Err(Error::unsupported("a window named after a window"));
                }
            }
        }
        let (mut outputs, mut columns) = self.projection(&select.projection, keep_unknowns)?;
        let keys_of_group = group_keys(&select.group_by)?;
        let group = self.group_by(&keys_of_group, &outputs, &columns)?;
        let one_group = group.is_empty() && (select.having.is_some() || has_keys(&select.group_by));
        let having = match &select.having {
            None => None,
            Some(condition) => {
                self.aggregates_refused = Some("window functions are not allowed in HAVING");
                let bound = self.expression(condition)?;
                self.aggregates_refused = None;
                Some(self.truth(bound, "HAVING", start(condition))?)
            }
        };
        let distinct = match &select.distinct {
            None | Some(ast::Distinct::All) => false,
            Some(ast::Distinct::Distinct) => true,
            Some(ast::Distinct::On(_)) => return Err(self.refused("DISTINCT ON", select)),
        };
        let order = self.order_by(keys, &mut outputs, &mut columns, distinct)?;
        let grouped = !group.is_empty() || one_group || self.aggregates_seen;
        if grouped {
            let checked = outputs.iter().chain(&having).chain(order.iter().filter_map(|order| match &order.key {
                OrderKey::Expression(scalar) => Some(scalar),
                OrderKey::Output(_) => None,
            }));
            for scalar in checked.clone() {
                self.check_grouped(scalar, &group, &own_tables)?;
            }
            // What was found among the keys by a constant's text rests on that text.
            let constants: Vec<usize> = group.iter().flat_map(walk::literals).collect();
            if !constants.is_empty() {
                let all: Vec<usize> = checked.flat_map(walk::literals).chain(constants).collect();
                all.into_iter().for_each(|index| self.fix(index));
            }
        }
        self.scopes.pop();
        self.windows.truncate(windows);
        self.aggregates_seen = outer_seen;
        self.aggregates_refused = outer_refused;
        self.keep_unknowns = keep_unknowns;

        if one_group {
            make_one_group(&mut outputs);
        }
        let select = Select { distinct, outputs, from, filter, group, having };
        Ok(Query { ctes: Vec::new(), body: Body::Select(Box::new(select)), order, limit: None, offset: None, columns })
    }

    /// Clauses that sqlparser takes from other dialects.
    fn refuse_dialects(&self, select: &ast::Select) -> Result<(), Error> {
        let foreign = [
            (!select.optimizer_hints.is_empty(), "optimizer hints"),
            (select.select_modifiers.is_some(), "SELECT modifiers"),
            (select.top.is_some(), "TOP"),
            (select.exclude.is_some(), "EXCLUDE"),
            (select.into.is_some(), "SELECT INTO"),
            (!select.lateral_views.is_empty(), "LATERAL VIEW"),
            (select.prewhere.is_some(), "PREWHERE"),
            (!select.connect_by.is_empty(), "CONNECT BY"),
            (!select.cluster_by.is_empty(), "CLUSTER BY"),
            (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
            (!select.sort_by.is_empty(), "SORT BY"),
            (select.qualify.is_some(), "QUALIFY"),
            (select.value_table_mode.is_some(), "AS STRUCT and AS VALUE"),
        ];
        match foreign.iter().find(|(there, _)| *there) {
            Some((_, what)) => Err(self.refused(what, select)),
            None => Ok(()),
        }
    }

    /// The select list: what it computes, and what its columns are called.
    pub(super) fn projection(
        &mut self,
        items: &[SelectItem],
        keep_unknowns: bool,
    ) -> Result<(Vec<Scalar>, Vec<OutputColumn>), Error> {
        if items.len() > OUTPUTS_MAX {
            let message = format!("target lists can have at most {OUTPUTS_MAX} entries");
            return Err(Error::new(Condition::TooManyColumns, message));
        }
        let (mut outputs, mut columns) = (Vec::new(), Vec::new());
        let mut push = |scalar: Scalar, name: String| {
            let (origin, not_null) = match &scalar.node {
                Node::Column { origin, not_null, .. } => (*origin, *not_null),
                _ => (None, scalar.never_null()),
            };
            columns.push(OutputColumn { name, type_: scalar.type_, typmod: scalar.typmod, origin, not_null });
            outputs.push(scalar);
        };
        for item in items {
            match item {
                SelectItem::UnnamedExpr(expression) => {
                    let bound = self.expression(expression)?;
                    let bound = if keep_unknowns { bound } else { self.known(bound)? };
                    push(self.no_row(bound, expression)?, column_name(expression));
                }
                SelectItem::ExprWithAlias { expr, alias } => {
                    let bound = self.expression(expr)?;
                    let bound = if keep_unknowns { bound } else { self.known(bound)? };
                    push(self.no_row(bound, expr)?, alias.value.clone());
                }
                SelectItem::Wildcard(options) => {
                    self.plain_wildcard(options, item)?;
                    let all: Vec<Visible> = self.scopes.last().map(|scope| scope.columns.clone()).unwrap_or_default();
                    if self.scopes.last().is_none_or(|scope| scope.sources.is_empty()) {
                        let message = "SELECT * with no tables specified is not valid";
                        return Err(self.error_at(Error::new(Condition::SyntaxError, message), start(item)));
                    }
                    all.iter().for_each(|column| self.note(&column.scalar));
                    all.into_iter().for_each(|column| push(column.scalar, column.name));
                }
                SelectItem::QualifiedWildcard(ast::SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                    self.plain_wildcard(options, item)?;
                    let (schema, table) = self.split_name(name)?;
                    let mut found = None;
                    for scope in self.scopes.iter().rev() {
                        found = scope.source(schema.as_deref(), &table)?.map(|source| source.columns.clone());
                        if found.is_some() {
                            break;
                        }
                    }
                    let Some(own) = found else {
                        let message = format!("missing FROM-clause entry for table \"{table}\"");
                        return Err(self.error_at(Error::new(Condition::UndefinedTable, message), start(item)));
                    };
                    own.iter().for_each(|column| self.note(&column.scalar));
                    own.into_iter().for_each(|column| push(column.scalar, column.name));
                }
                other => return Err(self.refused("this item of a select list", other)),
            }
        }
        Ok((outputs, columns))
    }

    fn no_row(&self, scalar: Scalar, expression: &Expr) -> Result<Scalar, Error> {
        if matches!(scalar.node, Node::Row(_)) {
            return Err(self.refused("a row as a column", expression));
        }
        Ok(scalar)
    }

    fn plain_wildcard(&self, options: &ast::WildcardAdditionalOptions, item: &SelectItem) -> Result<(), Error> {
        let plain = options.opt_ilike.is_none()
            && options.opt_exclude.is_none()
            && options.opt_except.is_none()
            && options.opt_replace.is_none()
            && options.opt_rename.is_none()
            && options.opt_alias.is_none();
        if plain { Ok(()) } else { Err(self.refused("options of *", item)) }
    }

    fn group_by(&mut self, keys: &[&Expr], outputs: &[Scalar], columns: &[OutputColumn]) -> Result<Vec<Scalar>, Error> {
        let mut group = Vec::with_capacity(keys.len());
        for key in keys.iter().copied() {
            let outer = self.aggregates_refused.replace("aggregate functions are not allowed in GROUP BY");
            let scalar = match self.position(key, outputs.len(), "GROUP BY")? {
                Some(at) => outputs[at].clone(),
                None => match self.expression(key) {
                    Ok(bound) => self.known(bound)?,
                    // A name that is no column may be an output's.
                    Err(error) => match self.output_named(key, columns, |_, _| true)? {
                        Some(index) if error.condition() == Condition::UndefinedColumn => outputs[index].clone(),
                        _ => return Err(error),
                    },
                },
            };
            self.aggregates_refused = outer;
            if walk::any(&scalar, &|node| matches!(node, Node::Aggregate(_))) {
                let message = "aggregate functions are not allowed in GROUP BY";
                return Err(self.error_at(Error::new(Condition::GroupingError, message), start(key)));
            }
            group.push(scalar);
        }
        Ok(group)
    }

    /// 42803 for a column of this query that is neither grouped nor inside an aggregate.
    fn check_grouped(&self, scalar: &Scalar, group: &[Scalar], own: &std::ops::Range<usize>) -> Result<(), Error> {
        if group.iter().any(|key| self.is_same(key, scalar)) {
            return Ok(());
        }
        match &scalar.node {
            Node::Aggregate(aggregate) if aggregate.over.is_none() => Ok(()),
            Node::Column { table, name, origin, .. } if own.contains(table) => {
                if self.depends_on_key(*table, *origin, group)? {
                    return Ok(());
                }
                let mut shown = name.clone();
                for source in self.scopes.last().iter().flat_map(|scope| &scope.sources) {
                    if let Some(column) = source.columns.iter().find(|column| column.scalar == *scalar) {
                        shown = format!("{}.{}", source.name, column.name);
                    }
                }
                let message = format!(
                    "column \"{shown}\" must appear in the GROUP BY clause or be used in an aggregate function"
                );
                Err(Error::new(Condition::GroupingError, message))
            }
            _ => walk::parts(scalar).into_iter().try_for_each(|part| self.check_grouped(part, group, own)),
        }
    }

    /// Whether two expressions are the same but for where their constants stand: `k + 1` and `k + 1`.
    pub(super) fn is_same(&self, a: &Scalar, b: &Scalar) -> bool {
        if a == b {
            return true;
        }
        let text = |index: usize| self.literals.as_ref().and_then(|literals| literals.text_at(&self.text, index));
        let canonical = |scalar: &Scalar| {
            let mut scalar = scalar.clone();
            walk::replace_literals(&mut scalar, &mut |index| {
                let own = text(index)?;
                (0..index).find(|other| text(*other) == Some(own))
            });
            scalar
        };
        walk::literals(a).len() == walk::literals(b).len()
            && !walk::literals(a).is_empty()
            && canonical(a) == canonical(b)
    }

    /// Whether the primary key of a column's table is grouped by, which decides the column's value.
    fn depends_on_key(&self, table: usize, origin: Option<(u32, i16)>, group: &[Scalar]) -> Result<bool, Error> {
        use crate::sql::catalog::ConstraintKind;
        let Some((oid, _)) = origin else { return Ok(false) };
        let Some(relation) = self.environment.catalog.relation_by_oid(oid)? else { return Ok(false) };
        let key = relation.constraints.iter().find_map(|constraint| match &constraint.kind {
            ConstraintKind::PrimaryKey { columns } => Some(columns),
            _ => None,
        });
        let grouped = |index: &usize| {
            let attribute = i16::try_from(index + 1).unwrap_or(0);
            group.iter().any(|scalar| {
                matches!(scalar.node, Node::Column { table: t, origin: Some((o, a)), .. } if t == table && o == oid && a == attribute)
            })
        };
        Ok(key.is_some_and(|columns| columns.iter().all(grouped)))
    }

    fn limits(&mut self, query: &ast::Query, bound: &mut Query) -> Result<(), Error> {
        let (mut limit, mut offset) = (None, None);
        match &query.limit_clause {
            None => {}
            Some(ast::LimitClause::LimitOffset { limit: count, offset: skip, limit_by }) if limit_by.is_empty() => {
                limit = count.as_ref();
                offset = skip.as_ref().map(|skip| &skip.value);
            }
            Some(_) => return Err(self.refused("this form of LIMIT", query)),
        }
        if let Some(fetch) = &query.fetch {
            if fetch.with_ties || fetch.percent {
                return Err(self.refused("FETCH WITH TIES and PERCENT", query));
            }
            bound.limit = match &fetch.quantity {
                Some(quantity) => Some(self.row_count(quantity, "LIMIT", guards::LIMIT)?),
                None => Some(Scalar::integer(1)),
            };
        }
        if let Some(limit) = limit {
            bound.limit = Some(self.row_count(limit, "LIMIT", guards::LIMIT)?);
        }
        if let Some(offset) = offset {
            bound.offset = Some(self.row_count(offset, "OFFSET", guards::OFFSET)?);
        }
        Ok(())
    }

    /// LIMIT's or OFFSET's number; NULL and negative ones are the guard's business.
    fn row_count(&mut self, count: &Expr, clause: &str, guard: &'static str) -> Result<Scalar, Error> {
        let scopes = std::mem::take(&mut self.scopes);
        let refused = self.aggregates_refused.replace("aggregate functions are not allowed in LIMIT");
        let bound = self.expression(count);
        self.aggregates_refused = refused;
        self.scopes = scopes;
        let bound = bound?;
        let float = matches!(bound.type_, Type::Numeric | Type::Float4 | Type::Float8);
        if !float && !crate::sql::functions::can_coerce(bound.type_, Type::Int8, crate::sql::types::CastKind::Implicit)
        {
            let message = format!("argument of {clause} must be type bigint, not type {}", bound.type_.name());
            return Err(self.error_at(Error::new(Condition::DatatypeMismatch, message), start(count)));
        }
        let bound = self.coerce(bound, Type::Int8)?;
        if matches!(&bound.node, Node::Literal { negated: false, .. }) {
            return Ok(bound);
        }
        if let Node::Constant(Value::Int(0..)) = &bound.node {
            return Ok(bound);
        }
        Ok(Scalar::call(Emit::Call(guard), vec![bound], Type::Int8))
    }

    /// The subquery as a value: an error where it has several rows.
    pub(super) fn single_row(&mut self, query: Query) -> Query {
        let Some(column) = query.columns.first() else { return query };
        let (type_, typmod) = (column.type_, column.typmod);
        let table = self.next_table();
        let value = Scalar {
            node: Node::Column { table, name: "c1".to_owned(), not_null: false, origin: None },
            type_,
            typmod,
        };
        let aggregate = |name: &'static str, arguments: Vec<Scalar>, star: bool, type_: Type| {
            let parts = Aggregate {
                emit: Emit::Native(name),
                distinct: false,
                star,
                arguments,
                order: Vec::new(),
                filter: None,
                over: None,
            };
            Scalar::new(Node::Aggregate(Box::new(parts)), type_)
        };
        let count = aggregate("count", Vec::new(), true, Type::Int8);
        let only = aggregate("max", vec![value], false, type_);
        over_derived(
            table,
            query,
            Scalar { typmod, ..Scalar::call(Emit::Call(guards::ONE_ROW), vec![count, only], type_) },
        )
    }
}

/// Whether a query can yield at most one row, as far as its form tells.
pub(super) fn yields_one_row(query: &Query) -> bool {
    let one = |limit: &Scalar| matches!(limit.node, Node::Constant(Value::Int(0 | 1)));
    if query.limit.as_ref().is_some_and(one) {
        return true;
    }
    match &query.body {
        Body::Select(select) => {
            let aggregates = |scalar: &Scalar| {
                walk::any(scalar, &|node| matches!(node, Node::Aggregate(aggregate) if aggregate.over.is_none()))
            };
            select.group.is_empty() && (select.from.is_none() || select.outputs.iter().any(aggregates))
        }
        Body::Values(rows) => rows.len() == 1,
        Body::Set { .. } | Body::Nested(_) => false,
    }
}

/// `SELECT output FROM (query)`.
pub(super) fn over_derived(table: usize, query: Query, output: Scalar) -> Query {
    let column = OutputColumn {
        name: "?column?".to_owned(),
        type_: output.type_,
        typmod: output.typmod,
        origin: None,
        not_null: false,
    };
    let select = Select {
        outputs: vec![output],
        from: Some(From::Derived { table, query: Box::new(query) }),
        ..Select::default()
    };
    Query {
        ctes: Vec::new(),
        body: Body::Select(Box::new(select)),
        order: Vec::new(),
        limit: None,
        offset: None,
        columns: vec![column],
    }
}

/// GROUP BY's keys; a row of several counts as its members, `()` as none.
fn group_keys(group_by: &ast::GroupByExpr) -> Result<Vec<&Expr>, Error> {
    let ast::GroupByExpr::Expressions(keys, modifiers) = group_by else {
        return Err(Error::unsupported("GROUP BY ALL"));
    };
    if !modifiers.is_empty() {
        return Err(Error::unsupported("GROUP BY with a modifier"));
    }
    let members = keys.iter().flat_map(|key| match key {
        Expr::Tuple(members) => members.iter().collect(),
        key => vec![key],
    });
    Ok(members.collect())
}

fn has_keys(group_by: &ast::GroupByExpr) -> bool {
    matches!(group_by, ast::GroupByExpr::Expressions(keys, _) if !keys.is_empty())
}

/// All rows are one group, which is there without rows too. SQLite sees that by an aggregate among the outputs only.
fn make_one_group(outputs: &mut [Scalar]) {
    let plain = |output: &Scalar| !walk::any(output, &|node| matches!(node, Node::Aggregate(_)));
    if !outputs.iter().all(plain) {
        return;
    }
    let Some(first) = outputs.first_mut() else { return };
    let count = Aggregate {
        emit: Emit::Native("count"),
        distinct: false,
        star: true,
        arguments: Vec::new(),
        order: Vec::new(),
        filter: None,
        over: None,
    };
    let count = Box::new(Scalar::new(Node::Aggregate(Box::new(count)), Type::Int8));
    let never = Scalar::new(Node::IsNull { argument: count, negated: false }, Type::Bool);
    let output = std::mem::replace(first, Scalar::null(Type::Int4));
    let (type_, typmod) = (output.type_, output.typmod);
    let node = Node::Case { branches: vec![(never, Scalar::null(type_))], otherwise: Some(Box::new(output)) };
    *first = Scalar { node, type_, typmod };
}

/// What a column without AS is called.
pub(super) fn column_name(expression: &Expr) -> String {
    let name = match expression {
        Expr::Identifier(name) => name.value.as_str(),
        Expr::CompoundIdentifier(names) => names.last().map_or("?column?", |name| name.value.as_str()),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } | Expr::CompoundFieldAccess { root: inner, .. } => {
            return column_name(inner);
        }
        Expr::Function(function) => return super::last_name(&function.name),
        Expr::Cast { expr, data_type, .. } => {
            let inner = column_name(expr);
            if inner != "?column?" {
                return inner;
            }
            return match super::type_of(data_type) {
                Ok(Some((type_, _))) => types::pg_type(type_).name.to_owned(),
                _ => inner,
            };
        }
        Expr::TypedString(typed) => {
            return match super::type_of(&typed.data_type) {
                Ok(Some((type_, _))) => types::pg_type(type_).name.to_owned(),
                _ => "?column?".to_owned(),
            };
        }
        Expr::Case { else_result, .. } => {
            return match else_result.as_deref().map(column_name) {
                Some(name) if name != "?column?" => name,
                _ => "case".to_owned(),
            };
        }
        Expr::Exists { negated: false, .. } => "exists",
        Expr::Array(_) => "array",
        Expr::Extract { .. } => "extract",
        Expr::Position { .. } => "position",
        Expr::Substring { .. } => "substring",
        Expr::Overlay { .. } => "overlay",
        Expr::Ceil { .. } => "ceil",
        Expr::Floor { .. } => "floor",
        Expr::Interval(_) => "interval",
        Expr::BinaryOp { op: ast::BinaryOperator::Overlaps, .. } => "overlaps",
        Expr::AtTimeZone { .. } => "timezone",
        Expr::Trim { trim_where: Some(ast::TrimWhereField::Leading), .. } => "ltrim",
        Expr::Trim { trim_where: Some(ast::TrimWhereField::Trailing), .. } => "rtrim",
        Expr::Trim { .. } => "btrim",
        Expr::Value(ast::ValueWithSpan { value: ast::Value::Boolean(_), .. }) => "bool",
        Expr::Subquery(query) => {
            if let SetExpr::Select(select) = &*query.body
                && let [item] = select.projection.as_slice()
            {
                return match item {
                    SelectItem::UnnamedExpr(inner) => column_name(inner),
                    SelectItem::ExprWithAlias { alias, .. } => alias.value.clone(),
                    _ => "?column?".to_owned(),
                };
            }
            "?column?"
        }
        _ => "?column?",
    };
    name.to_owned()
}
