//! From typed IR to SQLite's SQL, and the list of what to bind.
//!
//! Owns quoting, parentheses and the places where SQLite's defaults differ (order of NULLs, nested set
//! operations). Decides no types.

mod change;

use std::collections::HashMap;

use super::functions::{Emit, MOVING, guards, is_volatile};
use super::ir::*;
use super::plan::{Bind, Computed};
use super::types::{Type, Value};

/// A literal that the SQL takes as a bind: which one, and the type that the plan wants it in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lifted {
    /// Its number among the statement's literals.
    pub index: usize,
    /// A minus sign before it belongs to it.
    pub negated: bool,
    /// The wanted type.
    pub type_: Type,
}

/// SQL in the making.
#[derive(Debug, Default)]
pub struct Emitter {
    /// The SQL so far.
    pub sql: String,
    /// What its parameters are.
    pub binds: Vec<Bind>,
    /// What `Bind::Literal` numbers.
    pub lifted: Vec<Lifted>,
    bind_numbers: HashMap<Bind, usize>,
    lifted_numbers: HashMap<Lifted, usize>,
    /// Functions of ours that the SQL calls.
    pub functions: Vec<&'static str>,
    /// What `Bind::Computed` numbers.
    pub computed: Vec<Computed>,
    /// Columns are written with their table's alias.
    qualify: bool,
    /// Calls of volatile functions so far.
    volatile_calls: usize,
    /// The time is asked of a function: the SQL is stored, and nobody binds anything.
    stored: bool,
}

impl Emitter {
    /// An emitter; `tables`: how many tables the statement has, which decides whether columns are qualified.
    pub fn new(tables: usize) -> Self {
        Self { qualify: tables > 1, ..Self::default() }
    }

    /// An emitter of an expression to be stored: of one table, and without binds.
    pub fn stored() -> Self {
        Self { stored: true, ..Self::default() }
    }

    fn push(&mut self, text: &str) {
        self.sql.push_str(text);
    }

    fn name(&mut self, name: &str) {
        self.sql.push('"');
        for c in name.chars() {
            if c == '"' {
                self.sql.push('"');
            }
            self.sql.push(c);
        }
        self.sql.push('"');
    }

    fn alias(&mut self, table: usize) {
        self.sql.push('r');
        self.sql.push_str(&table.to_string());
    }

    fn bind(&mut self, bind: Bind) {
        let number = *self.bind_numbers.entry(bind).or_insert_with_key(|bind| {
            self.binds.push(bind.clone());
            self.binds.len()
        });
        self.sql.push('?');
        self.sql.push_str(&number.to_string());
    }

    fn literal(&mut self, index: usize, negated: bool, type_: Type) {
        let wanted = Lifted { index, negated, type_ };
        let number = *self.lifted_numbers.entry(wanted).or_insert_with_key(|wanted| {
            self.lifted.push(wanted.clone());
            self.lifted.len() - 1
        });
        self.bind(Bind::Literal(number));
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.push("NULL"),
            Value::Int(value) => self.sql.push_str(&value.to_string()),
            Value::Float(value) if value.is_infinite() => self.push(if *value > 0.0 { "9e999" } else { "-9e999" }),
            Value::Float(value) => self.sql.push_str(&format!("{value:e}")),
            Value::Text(text) => {
                self.sql.push('\'');
                self.sql.push_str(&text.replace('\'', "''"));
                self.sql.push('\'');
            }
            Value::Bytes(bytes) => {
                self.push("X'");
                for byte in bytes {
                    self.sql.push_str(&format!("{byte:02x}"));
                }
                self.sql.push('\'');
            }
        }
    }

    fn list(&mut self, scalars: &[Scalar]) {
        self.separated(", ", scalars, |emitter, scalar| emitter.scalar(scalar));
    }

    fn separated<T>(&mut self, separator: &str, items: &[T], mut emit: impl FnMut(&mut Self, &T)) {
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                self.push(separator);
            }
            emit(self, item);
        }
    }

    /// An expression, in parentheses where it is not one term.
    pub fn scalar(&mut self, scalar: &Scalar) {
        match &scalar.node {
            Node::Constant(value) => self.value(value),
            Node::Untyped(text) => self.value(&Value::Text(text.clone())),
            Node::Literal { index, negated } => self.literal(*index, *negated, scalar.type_),
            Node::Parameter(number) => self.bind(Bind::Parameter(*number)),
            Node::Sql(sql) => self.push(sql),
            Node::Concatenated(pieces) => self.separated("", pieces, |emitter, piece| emitter.scalar(piece)),
            Node::Timestamp { statement } if self.stored => {
                let call = if *statement { guards::STATEMENT_TIMESTAMP } else { guards::TRANSACTION_TIMESTAMP };
                self.call(Emit::Call(call), &[]);
            }
            Node::Timestamp { statement: false } => self.bind(Bind::TransactionTimestamp),
            Node::Timestamp { statement: true } => self.bind(Bind::StatementTimestamp),
            Node::Column { table, name, .. } => self.column(*table, name),
            Node::Call { emit, arguments } => self.call(*emit, arguments),
            Node::Aggregate(aggregate) => self.aggregate(aggregate),
            Node::And(terms) => self.balanced(" AND ", terms),
            Node::Or(terms) => self.balanced(" OR ", terms),
            Node::Not(argument) => self.wrapped("(NOT ", argument, ")"),
            Node::IsNull { argument, negated } => {
                self.wrapped("(", argument, if *negated { " IS NOT NULL)" } else { " IS NULL)" });
            }
            Node::IsTruth { argument, value, negated } => {
                let test = match (value, negated) {
                    (true, false) => " IS TRUE)",
                    (true, true) => " IS NOT TRUE)",
                    (false, false) => " IS FALSE)",
                    (false, true) => " IS NOT FALSE)",
                };
                self.wrapped("(", argument, test);
            }
            Node::IsDistinct { left, right, negated } => {
                self.push("(");
                self.collated(left);
                self.push(if *negated { " IS " } else { " IS NOT " });
                self.scalar(right);
                self.push(")");
            }
            Node::Case { branches, otherwise } => self.case(branches, otherwise.as_deref()),
            Node::InList { argument, list, negated } => {
                self.push("(");
                self.collated(argument);
                self.push(if *negated { " NOT IN (" } else { " IN (" });
                self.list(list);
                self.push("))");
            }
            Node::InQuery { arguments, query, negated } => self.in_query(arguments, query, *negated),
            Node::Exists(query) => {
                self.push("EXISTS (");
                self.query(query, false);
                self.push(")");
            }
            Node::Subquery(query) => {
                self.push("(");
                self.query(query, false);
                self.push(")");
            }
            Node::Default => self.push("NULL"),
            Node::Row(items) => {
                self.push("(");
                self.list(items);
                self.push(")");
            }
        }
    }

    fn wrapped(&mut self, before: &str, scalar: &Scalar, after: &str) {
        self.push(before);
        self.scalar(scalar);
        self.push(after);
    }

    /// An expression with the collation that its type's order needs.
    fn collated(&mut self, scalar: &Scalar) {
        self.scalar(scalar);
        if let Some(collation) = scalar.type_.collation() {
            self.push(" COLLATE ");
            self.push(collation);
        }
    }

    fn column(&mut self, table: usize, name: &str) {
        if table == EXCLUDED {
            self.push("excluded.");
        } else if self.qualify {
            self.alias(table);
            self.push(".");
        }
        self.name(name);
    }

    /// AND and OR as a balanced tree: SQLite bounds the depth of expressions, and a chain is as deep as long.
    fn balanced(&mut self, operator: &str, terms: &[Scalar]) {
        const FLAT_MAX: usize = 8;
        self.push("(");
        if terms.len() <= FLAT_MAX {
            self.separated(operator, terms, |emitter, term| emitter.scalar(term));
        } else {
            let (left, right) = terms.split_at(terms.len() / 2);
            self.balanced(operator, left);
            self.push(operator);
            self.balanced(operator, right);
        }
        self.push(")");
    }

    /// A condition of WHERE, HAVING or ON: no parentheses around the whole.
    fn condition(&mut self, scalar: &Scalar) {
        match &scalar.node {
            Node::And(terms) if terms.len() <= 8 => {
                self.separated(" AND ", terms, |emitter, term| emitter.scalar(term))
            }
            Node::Call { emit: Emit::Infix(operator), arguments } => self.infix(operator, None, arguments),
            _ => self.scalar(scalar),
        }
    }

    fn infix(&mut self, operator: &str, collation: Option<&str>, arguments: &[Scalar]) {
        if let [left, right] = arguments {
            self.scalar(left);
            if let Some(collation) = collation {
                self.push(" COLLATE ");
                self.push(collation);
            }
            self.push(" ");
            self.push(operator);
            self.push(" ");
            self.scalar(right);
        }
    }

    fn call(&mut self, emit: Emit, arguments: &[Scalar]) {
        self.note_call(emit);
        match emit {
            Emit::Call(name) | Emit::Native(name) => {
                self.push(name);
                self.push("(");
                self.list(arguments);
                self.push(")");
            }
            Emit::Infix(operator) => {
                self.push("(");
                self.infix(operator, None, arguments);
                self.push(")");
            }
            Emit::Collated(operator, collation) => {
                self.push("(");
                self.infix(operator, Some(collation), arguments);
                self.push(")");
            }
            Emit::Prefix(operator) => {
                self.push("(");
                self.push(operator);
                self.push(" ");
                self.list(arguments);
                self.push(")");
            }
            Emit::Postfix(operator) => {
                self.push("(");
                self.list(arguments);
                self.push(" ");
                self.push(operator);
                self.push(")");
            }
            Emit::Nothing => self.list(arguments),
        }
    }

    fn note_call(&mut self, emit: Emit) {
        self.volatile_calls += usize::from(is_volatile(emit));
        if let Emit::Call(name) = emit
            && !self.functions.contains(&name)
        {
            self.functions.push(name);
        }
    }

    fn aggregate(&mut self, aggregate: &Aggregate) {
        self.note_call(aggregate.emit);
        let name = match aggregate.emit {
            Emit::Call(name) | Emit::Native(name) => name,
            _ => "count",
        };
        let moves = aggregate.over.as_ref().is_some_and(Window::start_moves);
        if moves && matches!(aggregate.emit, Emit::Call(_)) {
            self.push(MOVING);
        }
        self.push(name);
        self.push("(");
        if aggregate.distinct {
            self.push("DISTINCT ");
        }
        if aggregate.star {
            self.push("*");
        }
        // SQLite's own min and max go by their argument's collation.
        let has_order = matches!(aggregate.emit, Emit::Native("min" | "max"));
        if aggregate.distinct || has_order {
            self.separated(", ", &aggregate.arguments, |emitter, argument| emitter.collated(argument));
        } else {
            self.list(&aggregate.arguments);
        }
        if !aggregate.order.is_empty() {
            self.push(" ORDER BY ");
            self.separated(", ", &aggregate.order, |emitter, order| emitter.order(order, None));
        }
        self.push(")");
        if let Some(filter) = &aggregate.filter {
            self.push(" FILTER (WHERE ");
            self.condition(filter);
            self.push(")");
        }
        if let Some(window) = &aggregate.over {
            self.window(window);
        }
    }

    fn window(&mut self, window: &Window) {
        self.push(" OVER (");
        if !window.partition.is_empty() {
            self.push("PARTITION BY ");
            self.separated(", ", &window.partition, |emitter, key| emitter.collated(key));
        }
        if !window.order.is_empty() {
            self.push(" ORDER BY ");
            self.separated(", ", &window.order, |emitter, order| emitter.order(order, None));
        }
        if let Some(frame) = &window.frame {
            self.push(" ");
            self.push(frame.units);
            match &frame.end {
                Some(end) => {
                    self.push(" BETWEEN ");
                    self.frame_bound(&frame.start);
                    self.push(" AND ");
                    self.frame_bound(end);
                }
                None => {
                    self.push(" ");
                    self.frame_bound(&frame.start);
                }
            }
        }
        self.push(")");
    }

    fn frame_bound(&mut self, bound: &FrameBound) {
        let (offset, side) = match bound {
            FrameBound::CurrentRow => return self.push("CURRENT ROW"),
            FrameBound::Preceding(offset) => (offset, " PRECEDING"),
            FrameBound::Following(offset) => (offset, " FOLLOWING"),
        };
        match offset {
            Some(offset) if matches!(offset.node, Node::Call { .. }) => self.computed(offset),
            Some(offset) => self.scalar(offset),
            None => self.push("UNBOUNDED"),
        }
        self.push(side);
    }

    /// A value that is computed before the query runs.
    fn computed(&mut self, scalar: &Scalar) {
        let (sql, binds) = (std::mem::take(&mut self.sql), std::mem::take(&mut self.binds));
        self.push("SELECT ");
        self.scalar(scalar);
        let computed =
            Computed { sql: std::mem::replace(&mut self.sql, sql), binds: std::mem::replace(&mut self.binds, binds) };
        self.computed.push(computed);
        self.bind(Bind::Computed(self.computed.len() - 1));
    }

    fn case(&mut self, branches: &[(Scalar, Scalar)], otherwise: Option<&Scalar>) {
        self.push("CASE");
        for (condition, result) in branches {
            self.push(" WHEN ");
            self.scalar(condition);
            self.push(" THEN ");
            self.scalar(result);
        }
        if let Some(otherwise) = otherwise {
            self.push(" ELSE ");
            self.scalar(otherwise);
        }
        self.push(" END");
    }

    fn in_query(&mut self, arguments: &[Scalar], query: &Query, negated: bool) {
        self.push("(");
        match arguments {
            [argument] => self.collated(argument),
            _ => {
                self.push("(");
                self.separated(", ", arguments, |emitter, argument| emitter.collated(argument));
                self.push(")");
            }
        }
        self.push(if negated { " NOT IN (" } else { " IN (" });
        self.query(query, false);
        self.push("))");
    }

    fn order(&mut self, order: &Order, columns: Option<&[OutputColumn]>) {
        let mut never_null = false;
        match &order.key {
            OrderKey::Output(at) => {
                self.sql.push_str(&(at + 1).to_string());
                if let Some(column) = columns.and_then(|columns| columns.get(*at)) {
                    never_null = column.not_null;
                    if let Some(collation) = column.type_.collation() {
                        self.push(" COLLATE ");
                        self.push(collation);
                    }
                }
            }
            OrderKey::Expression(scalar) => {
                never_null = scalar.never_null();
                self.sort_key(scalar);
            }
        }
        if order.descending {
            self.push(" DESC");
        }
        // SQLite puts NULLs first where it sorts upwards, and last where downwards.
        if order.nulls_first == order.descending && !never_null {
            self.push(if order.nulls_first { " NULLS FIRST" } else { " NULLS LAST" });
        }
    }

    /// A key of ORDER BY or GROUP BY. SQLite would take a bare integer for a column's number.
    fn sort_key(&mut self, scalar: &Scalar) {
        if matches!(scalar.node, Node::Constant(Value::Int(_))) {
            self.wrapped("(+", scalar, " + 0)");
        } else {
            self.collated(scalar);
        }
    }

    fn with(&mut self, ctes: &[Cte]) {
        if ctes.is_empty() {
            return;
        }
        self.push("WITH ");
        if ctes.iter().any(|cte| cte.recursive) {
            self.push("RECURSIVE ");
        }
        self.separated(", ", ctes, |emitter, cte| {
            emitter.sql.push_str(&format!("w{}(", cte.number));
            for at in 1..=cte.query.columns.len() {
                emitter.sql.push_str(&format!("{}c{at}", if at > 1 { ", " } else { "" }));
            }
            emitter.push(") AS ");
            let (start, calls) = (emitter.sql.len(), emitter.volatile_calls);
            emitter.push("(");
            emitter.query(&cte.query, false);
            emitter.push(")");
            let keep = cte.materialized == Some(true) || emitter.volatile_calls > calls;
            match cte.materialized {
                _ if keep => emitter.sql.insert_str(start, "MATERIALIZED "),
                Some(false) => emitter.sql.insert_str(start, "NOT MATERIALIZED "),
                _ => {}
            }
        });
        self.push(" ");
    }

    /// A query; `named`: its columns are given the names c1, c2, ….
    pub fn query(&mut self, query: &Query, named: bool) {
        self.with(&query.ctes);
        // SQLite's VALUES takes no clause behind it.
        let bare = query.order.is_empty() && query.limit.is_none() && query.offset.is_none();
        self.body(&query.body, named || (!bare && matches!(query.body, Body::Values(_))));
        if !query.order.is_empty() {
            self.push(" ORDER BY ");
            self.separated(", ", &query.order, |emitter, order| emitter.order(order, Some(&query.columns)));
        }
        match (&query.limit, &query.offset) {
            (None, None) => {}
            (Some(limit), None) => self.wrapped(" LIMIT ", limit, ""),
            (limit, Some(offset)) => {
                self.push(" LIMIT ");
                match limit {
                    Some(limit) => self.scalar(limit),
                    None => self.push("-1"),
                }
                self.wrapped(" OFFSET ", offset, "");
            }
        }
    }

    fn body(&mut self, body: &Body, named: bool) {
        match body {
            Body::Select(select) => self.select(select, named),
            Body::Values(rows) => self.values_rows(rows, named),
            Body::Nested(query) => {
                self.push("SELECT * FROM (");
                self.query(query, named);
                self.push(")");
            }
            Body::Set { operator, all, left, right } => {
                // SQLite's set operations associate to the left and take no parentheses.
                self.body(left, named);
                self.push(match operator {
                    SetOperator::Union => " UNION ",
                    SetOperator::Intersect => " INTERSECT ",
                    SetOperator::Except => " EXCEPT ",
                });
                if *all {
                    self.push("ALL ");
                }
                match &**right {
                    nested @ Body::Set { .. } => {
                        self.push("SELECT * FROM (");
                        self.body(nested, named);
                        self.push(")");
                    }
                    simple => self.body(simple, named),
                }
            }
        }
    }

    /// VALUES of a FROM clause or a statement: as a chain of SELECTs where the columns need names.
    fn values_rows(&mut self, rows: &[Vec<Scalar>], named: bool) {
        if named {
            let columns = rows.first().map_or(0, Vec::len);
            self.push("SELECT ");
            for at in 1..=columns {
                let separator = if at > 1 { ", " } else { "" };
                self.sql.push_str(&format!("{separator}column{at} AS c{at}"));
            }
            self.push(" FROM (");
        }
        self.push("VALUES ");
        self.separated(", ", rows, |emitter, row| {
            emitter.push("(");
            emitter.list(row);
            emitter.push(")");
        });
        if named {
            self.push(")");
        }
    }

    fn select(&mut self, select: &Select, named: bool) {
        self.push("SELECT ");
        if select.distinct {
            self.push("DISTINCT ");
        }
        if select.outputs.is_empty() {
            self.push("NULL");
        }
        for (at, output) in select.outputs.iter().enumerate() {
            if at > 0 {
                self.push(", ");
            }
            self.bare(output);
            if let Some(collation) = output.type_.collation().filter(|_| !matches!(output.node, Node::Column { .. })) {
                self.push(" COLLATE ");
                self.push(collation);
            }
            if named {
                self.sql.push_str(&format!(" AS c{}", at + 1));
            }
        }
        if let Some(from) = &select.from {
            self.push(" FROM ");
            self.from(from);
        }
        if let Some(filter) = &select.filter {
            self.push(" WHERE ");
            self.condition(filter);
        }
        if !select.group.is_empty() {
            self.push(" GROUP BY ");
            self.separated(", ", &select.group, |emitter, key| emitter.sort_key(key));
        }
        if let Some(having) = &select.having {
            self.push(" HAVING ");
            self.condition(having);
        }
    }

    /// An expression where nothing else stands beside it.
    fn bare(&mut self, scalar: &Scalar) {
        match &scalar.node {
            Node::Call { emit: Emit::Infix(operator), arguments } if scalar.type_.collation().is_none() => {
                self.infix(operator, None, arguments);
            }
            _ => self.scalar(scalar),
        }
    }

    fn from(&mut self, from: &From) {
        match from {
            From::Table { table, storage, predicate: None } => {
                self.name(storage);
                self.as_alias(*table);
            }
            From::Table { table, storage, predicate: Some(predicate) } => {
                // The predicate names the table by its alias, whether or not the rest of the query does.
                self.push("(SELECT * FROM ");
                self.name(storage);
                self.push(" AS ");
                self.alias(*table);
                self.push(" WHERE ");
                self.condition(predicate);
                self.push(")");
                self.as_alias(*table);
            }
            From::Derived { table, query } => {
                self.derived(query);
                self.as_alias(*table);
            }
            From::Cte { table, number } => {
                self.sql.push_str(&format!("w{number}"));
                self.as_alias(*table);
            }
            From::Series { table, start, stop, step } => self.series(*table, start, stop, step.as_ref()),
            From::Elements { table, json } => {
                self.push("json_each(");
                self.scalar(json);
                self.push(")");
                self.as_alias(*table);
            }
            From::List { table, list, width } => {
                self.sql.push_str(&list_table(*width));
                self.push("(");
                self.bind(Bind::List(*list));
                self.push(")");
                self.as_alias(*table);
            }
            From::Join { kind, left, right, on } => {
                self.from(left);
                self.push(match kind {
                    JoinKind::Inner if on.is_none() => " CROSS JOIN ",
                    JoinKind::Inner => " JOIN ",
                    JoinKind::Left => " LEFT JOIN ",
                    JoinKind::Right => " RIGHT JOIN ",
                    JoinKind::Full => " FULL JOIN ",
                });
                let nested = matches!(**right, From::Join { .. });
                if nested {
                    self.push("(");
                }
                self.from(right);
                if nested {
                    self.push(")");
                }
                match on {
                    Some(on) => {
                        self.push(" ON ");
                        self.condition(on);
                    }
                    None if *kind != JoinKind::Inner => self.push(" ON 1"),
                    None => {}
                }
            }
        }
    }

    /// A query in FROM. What a volatile function gave is kept: SQLite would call it anew wherever its column is named.
    fn derived(&mut self, query: &Query) {
        self.push("(");
        let (start, calls) = (self.sql.len(), self.volatile_calls);
        self.query(query, true);
        if self.volatile_calls > calls {
            self.sql.insert_str(start, "WITH v AS MATERIALIZED (");
            self.push(") SELECT * FROM v");
        }
        self.push(")");
    }

    fn as_alias(&mut self, table: usize) {
        if self.qualify {
            self.push(" AS ");
            self.alias(table);
        }
    }

    /// generate_series as a recursive query that counts.
    fn series(&mut self, table: usize, start: &Scalar, stop: &Scalar, step: Option<&Scalar>) {
        self.push("(WITH RECURSIVE g(v, e, s) AS (SELECT ");
        self.scalar(start);
        self.push(", ");
        self.scalar(stop);
        self.push(", ");
        match step {
            None => self.push("1 WHERE "),
            Some(step) => {
                self.scalar(step);
                self.push(" WHERE CASE WHEN ");
                self.scalar(step);
                self.push(" < 0 THEN ");
                self.scalar(start);
                self.push(" >= ");
                self.scalar(stop);
                self.push(" ELSE ");
            }
        }
        self.scalar(start);
        self.push(" <= ");
        self.scalar(stop);
        if step.is_some() {
            self.push(" END");
        }
        // Compared by what is left, not by the next value, which could overflow.
        self.push(" UNION ALL SELECT v + s, e, s FROM g WHERE ");
        self.push(match step {
            None => "v < e",
            Some(_) => "CASE WHEN s < 0 THEN v - e >= -s WHEN s > 0 THEN e - v >= s END",
        });
        self.push(") SELECT v AS c1 FROM g)");
        self.as_alias(table);
    }
}

/// The table function that yields a list's rows of that many values, whose argument is `Bind::List`.
pub fn list_table(width: usize) -> String {
    format!("{LIST_TABLE}{width}")
}

/// What names of those table functions begin with.
pub const LIST_TABLE: &str = "pgp_rows_";

/// The number that stands for the row that ON CONFLICT could not insert.
pub const EXCLUDED: usize = usize::MAX;

#[cfg(test)]
mod tests;
