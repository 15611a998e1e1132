//! Data changes: INSERT, UPDATE, DELETE, and the rows of COPY.

use sqlparser::ast;

use super::expression::start;
use super::scope::{Scope, Source};
use super::{Binder, from};
use crate::error::{Condition, Error};
use crate::sql::acl::Privileges;
use crate::sql::catalog::{ColumnDefinition, ConstraintKind, Relation, RelationKind};
use crate::sql::emit::EXCLUDED;
use crate::sql::functions::{Emit, guards};
use crate::sql::ir::{
    Body, Conflict, Delete, From, Insert, InsertSource, Node, OutputColumn, Query, Scalar, Select, Update,
};
use crate::sql::parse::PlainList;
use crate::sql::types::{Type, Value};

impl Binder<'_> {
    /// INSERT.
    pub(super) fn insert(&mut self, insert: &ast::Insert) -> Result<Insert, Error> {
        self.refuse_foreign_insert(insert)?;
        let ast::TableObject::TableName(name) = &insert.table else {
            return Err(Error::unsupported("INSERT into this"));
        };
        let alias = insert.table_alias.as_ref().map(|alias| alias.alias.value.clone());
        let relation = self.target(name, alias.as_deref(), Privileges::INSERT)?;
        let table = self.next_table();
        let targets = self.insert_targets(&relation, &insert.columns)?;
        let mut columns: Vec<String> = targets.iter().map(|at| relation.columns[*at].name.clone()).collect();
        let mut source = match &insert.source {
            None => InsertSource::Values(vec![Vec::new()]),
            Some(query) => self.insert_source(query, &relation, &targets, !insert.columns.is_empty())?,
        };
        if insert.source.is_none() && !targets.is_empty() && !insert.columns.is_empty() {
            return Err(Error::new(Condition::SyntaxError, "INSERT has more target columns than expressions"));
        }
        let given = self.given_columns(&source, targets.len());
        columns.truncate(given);
        targets[..given].iter().for_each(|at| self.note_written(&relation, *at, Privileges::INSERT));
        self.add_defaults(&relation, &targets[..given], &mut columns, &mut source)?;
        self.guard_rows(&relation, &columns, &mut source)?;
        if columns.is_empty() {
            source = InsertSource::DefaultValues;
        }
        let scope = target_scope(&relation, table, alias.as_deref());
        let conflict = match &insert.on {
            None => None,
            Some(ast::OnInsert::OnConflict(conflict)) => Some(self.conflict(conflict, &relation, table, &scope)?),
            Some(_) => return Err(Error::unsupported("ON DUPLICATE KEY UPDATE")),
        };
        let returning = self.returning(insert.returning.as_deref(), scope)?;
        Ok(Insert { ctes: Vec::new(), table, storage: relation.storage.clone(), columns, source, conflict, returning })
    }

    fn refuse_foreign_insert(&self, insert: &ast::Insert) -> Result<(), Error> {
        let foreign = insert.or.is_some()
            || insert.ignore
            || insert.overwrite
            || !insert.assignments.is_empty()
            || insert.partitioned.is_some()
            || !insert.after_columns.is_empty()
            || insert.output.is_some()
            || insert.replace_into
            || insert.priority.is_some()
            || insert.insert_alias.is_some()
            || insert.settings.is_some()
            || insert.format_clause.is_some()
            || insert.multi_table_insert_type.is_some()
            || !insert.multi_table_into_clauses.is_empty()
            || !insert.optimizer_hints.is_empty();
        if foreign { Err(Error::unsupported("this form of INSERT")) } else { Ok(()) }
    }

    /// The table that a data change writes.
    fn target(
        &mut self,
        name: &ast::ObjectName,
        alias: Option<&str>,
        wanted: Privileges,
    ) -> Result<std::rc::Rc<Relation>, Error> {
        let (schema, bare) = self.split_name(name)?;
        let relation = self.relation(schema.as_deref(), &bare, start(name))?;
        let refused = match relation.kind {
            RelationKind::View { .. } => Some("view"),
            RelationKind::System => {
                let message = format!("permission denied for table {}", relation.name);
                return Err(Error::new(Condition::InsufficientPrivilege, message));
            }
            RelationKind::Sequence => Some("sequence"),
            _ => None,
        };
        match refused {
            Some(kind) => Err(Error::unsupported(format!("changing rows of {kind} \"{}\"", relation.name))),
            None => {
                self.note_use(&relation, alias, wanted);
                Ok(relation)
            }
        }
    }

    fn insert_targets(&mut self, relation: &Relation, names: &[ast::ObjectName]) -> Result<Vec<usize>, Error> {
        if names.is_empty() {
            return Ok((0..relation.columns.len()).filter(|at| !relation.columns[*at].dropped).collect());
        }
        let mut targets = Vec::with_capacity(names.len());
        for name in names {
            let at = self.column_index(relation, &super::last_name(name), start(name))?;
            if targets.contains(&at) {
                let message = format!("column \"{}\" specified more than once", relation.columns[at].name);
                return Err(self.error_at(Error::new(Condition::DuplicateColumn, message), start(name)));
            }
            targets.push(at);
        }
        Ok(targets)
    }

    fn column_index(&self, relation: &Relation, name: &str, byte: Option<usize>) -> Result<usize, Error> {
        let found = relation.columns.iter().position(|column| !column.dropped && column.name == name);
        found.ok_or_else(|| {
            let message = format!("column \"{name}\" of relation \"{}\" does not exist", relation.name);
            self.error_at(Error::new(Condition::UndefinedColumn, message), byte)
        })
    }

    fn insert_source(
        &mut self,
        query: &ast::Query,
        relation: &Relation,
        targets: &[usize],
        named: bool,
    ) -> Result<InsertSource, Error> {
        let plain =
            query.with.is_none() && query.order_by.is_none() && query.limit_clause.is_none() && query.fetch.is_none();
        if let (ast::SetExpr::Values(values), true) = (&*query.body, plain) {
            return self.insert_values(values, relation, targets, named);
        }
        let keep = std::mem::replace(&mut self.keep_unknowns, true);
        let bound = self.query(query);
        self.keep_unknowns = keep;
        let bound = bound?;
        self.check_width(bound.columns.len(), targets.len(), named, start(query))?;
        let table = self.next_table();
        let mut outputs = Vec::with_capacity(bound.columns.len());
        let mut bound = bound;
        // Unknown literals are read as what their column holds.
        let wanted: Vec<Type> = bound
            .columns
            .iter()
            .zip(targets)
            .map(
                |(column, target)| {
                    if column.type_ == Type::Unknown { relation.columns[*target].type_ } else { column.type_ }
                },
            )
            .collect();
        self.coerce_query(&mut bound, &wanted)?;
        for (at, (column, target)) in bound.columns.iter().zip(targets).enumerate() {
            let scalar = Scalar {
                node: Node::Column { table, name: format!("c{}", at + 1), not_null: column.not_null, origin: None },
                type_: column.type_,
                typmod: column.typmod,
            };
            let target = &relation.columns[*target];
            outputs.push(self.assign(scalar, &target.name, target.type_, target.typmod, start(query))?);
        }
        Ok(InsertSource::Query { table, query: Box::new(bound), outputs })
    }

    fn insert_values(
        &mut self,
        values: &ast::Values,
        relation: &Relation,
        targets: &[usize],
        named: bool,
    ) -> Result<InsertSource, Error> {
        if let [row] = values.rows.as_slice()
            && let [only] = row.content.as_slice()
            && let Some(list) = self.list_at(only)
        {
            return self.insert_list(&list, relation, targets, named);
        }
        let mut rows = Vec::with_capacity(values.rows.len());
        let width = values.rows.first().map_or(0, |row| row.len());
        for row in &values.rows {
            if row.len() != width {
                return Err(Error::new(Condition::SyntaxError, "VALUES lists must all be the same length"));
            }
            self.check_width(row.len(), targets.len(), named, row.first().and_then(start))?;
            let mut bound = Vec::with_capacity(row.len());
            for (item, target) in row.iter().zip(targets) {
                let column = &relation.columns[*target];
                let value = match item {
                    ast::Expr::Identifier(word) if word.quote_style.is_none() && word.value == "default" => {
                        self.default_of(column)?
                    }
                    item => {
                        let scalar = self.expression(item)?;
                        self.assign(scalar, &column.name, column.type_, column.typmod, start(item))?
                    }
                };
                bound.push(value);
            }
            rows.push(bound);
        }
        Ok(InsertSource::Values(rows))
    }

    /// Many rows of plain values, each read as what its column holds.
    fn insert_list(
        &mut self,
        list: &PlainList,
        relation: &Relation,
        targets: &[usize],
        named: bool,
    ) -> Result<InsertSource, Error> {
        self.check_width(list.width, targets.len(), named, Some(list.start))?;
        let columns = targets.iter().take(list.width).filter_map(|at| relation.columns.get(*at));
        let columns: Vec<(Type, i32)> = columns.map(|column| (column.type_, column.typmod)).collect();
        let list = self.read_list(list, columns)?;
        let query = self.list_query(list, |at| format!("column{}", at + 1));
        let table = self.next_table();
        let output = |(at, column): (usize, &OutputColumn)| Scalar {
            node: Node::Column { table, name: format!("c{}", at + 1), not_null: column.not_null, origin: None },
            type_: column.type_,
            typmod: column.typmod,
        };
        let outputs = query.columns.iter().enumerate().map(output).collect();
        Ok(InsertSource::Query { table, query: Box::new(query), outputs })
    }

    fn check_width(&self, given: usize, targets: usize, named: bool, byte: Option<usize>) -> Result<(), Error> {
        let message = if given > targets {
            "INSERT has more expressions than target columns"
        } else if given < targets && named {
            "INSERT has more target columns than expressions"
        } else {
            return Ok(());
        };
        Err(self.error_at(Error::new(Condition::SyntaxError, message), byte))
    }

    fn given_columns(&self, source: &InsertSource, all: usize) -> usize {
        match source {
            InsertSource::Values(rows) => rows.first().map_or(0, Vec::len),
            InsertSource::Query { outputs, .. } => outputs.len(),
            InsertSource::DefaultValues => 0,
        }
        .min(all)
    }

    /// A column's default as a value of the column; NULL where it has none.
    fn default_of(&mut self, column: &ColumnDefinition) -> Result<Scalar, Error> {
        match &column.default {
            None => Ok(Scalar { typmod: column.typmod, ..Scalar::null(column.type_) }),
            Some(text) => {
                let scalar = self.stored_expression(text)?;
                self.assign(scalar, &column.name, column.type_, column.typmod, None)
            }
        }
    }

    /// Columns that no value was given for take their defaults; the row's identity must not be SQLite's choice.
    fn add_defaults(
        &mut self,
        relation: &Relation,
        given: &[usize],
        columns: &mut Vec<String>,
        source: &mut InsertSource,
    ) -> Result<(), Error> {
        for (at, column) in relation.columns.iter().enumerate() {
            let wanted = column.default.is_some() || relation.rowid_column == Some(at);
            if column.dropped || given.contains(&at) || !wanted {
                continue;
            }
            let value = self.default_of(column)?;
            columns.push(column.name.clone());
            match source {
                InsertSource::Values(rows) => rows.iter_mut().for_each(|row| row.push(value.clone())),
                InsertSource::Query { outputs, .. } => outputs.push(value),
                InsertSource::DefaultValues => {}
            }
        }
        Ok(())
    }

    /// Checks that SQLite does not make: a rowid that is NULL, a row that is not the partition's.
    fn guard_rows(&mut self, relation: &Relation, columns: &[String], source: &mut InsertSource) -> Result<(), Error> {
        let rows: Vec<&mut Vec<Scalar>> = match source {
            InsertSource::Values(rows) => rows.iter_mut().collect(),
            InsertSource::Query { outputs, .. } => vec![outputs],
            InsertSource::DefaultValues => Vec::new(),
        };
        let rowid = relation.rowid_column.and_then(|at| relation.columns.get(at));
        let guarded = rowid.and_then(|column| columns.iter().position(|name| *name == column.name));
        let is_partition = matches!(relation.kind, RelationKind::Partition { .. });
        for row in rows {
            if let Some(at) = guarded
                && let Some(value) = row.get_mut(at)
                && !value.never_null()
            {
                let taken = std::mem::replace(value, Scalar::null(Type::Int8));
                *value = not_null_guard(taken, relation, &columns[at]);
            }
            if is_partition {
                let value = |name: &str| {
                    let at = columns.iter().position(|known| known == name)?;
                    row.get(at).cloned()
                };
                if let Some(condition) = self.partition_condition(relation, value)?
                    && let Some(first) = row.first_mut()
                {
                    guard_partition(relation, condition, first);
                }
            }
        }
        Ok(())
    }

    /// The bound of a partition over the values of a row; a column that `value` does not know is NULL.
    fn partition_condition(
        &mut self,
        relation: &Relation,
        value: impl Fn(&str) -> Option<Scalar>,
    ) -> Result<Option<Scalar>, Error> {
        const MARK: &str = "\u{1}row.";
        let Some(bound) = self.partition_bound(relation, MARK)? else { return Ok(None) };
        // Each column of the bound is written as the value that the row gives it.
        let mut condition: Vec<Scalar> = Vec::new();
        let mut rest = bound.as_str();
        while let Some(found) = rest.find(MARK) {
            condition.push(Scalar::new(Node::Sql(rest[..found].to_owned()), Type::Bool));
            rest = &rest[found + MARK.len()..];
            let quoted =
                rest.strip_prefix('"').ok_or_else(|| Error::internal("a partition's bound is written otherwise"))?;
            let end = quoted.find('"').ok_or_else(|| Error::internal("a partition's bound is written otherwise"))?;
            condition.push(value(&quoted[..end]).unwrap_or_else(|| Scalar::null(Type::Text)));
            rest = &quoted[end + 1..];
        }
        condition.push(Scalar::new(Node::Sql(rest.to_owned()), Type::Bool));
        Ok(Some(Scalar::new(Node::Concatenated(condition), Type::Bool)))
    }

    /// An UPDATE of a partition must not move a row out of its bound: the table that the rows share would take it.
    fn guard_moves(
        &mut self,
        relation: &Relation,
        table: usize,
        assignments: &mut [(String, Scalar)],
    ) -> Result<(), Error> {
        if !matches!(relation.kind, RelationKind::Partition { .. }) {
            return Ok(());
        }
        let stored = from::stored_columns(relation, table);
        let value = |name: &str| {
            let assigned = assignments.iter().find(|(known, _)| known == name).map(|(_, value)| value);
            let kept = || stored.iter().find(|column| column.name == name).map(|column| &column.scalar);
            assigned.or_else(kept).cloned()
        };
        if let Some(condition) = self.partition_condition(relation, value)?
            && let Some((_, first)) = assignments.first_mut()
        {
            guard_partition(relation, condition, first);
        }
        Ok(())
    }

    fn conflict(
        &mut self,
        conflict: &ast::OnConflict,
        relation: &Relation,
        table: usize,
        scope: &Scope,
    ) -> Result<Conflict, Error> {
        let target = match &conflict.conflict_target {
            None => Vec::new(),
            Some(ast::ConflictTarget::Columns(names)) => {
                for name in names {
                    self.column_index(relation, &name.value, crate::sql::parse::byte_of(name.span.start))?;
                }
                names.iter().map(|name| name.value.clone()).collect()
            }
            Some(ast::ConflictTarget::OnConstraint(name)) => {
                self.constraint_columns(relation, &super::last_name(name))?
            }
        };
        let update = match &conflict.action {
            ast::OnConflictAction::DoNothing => None,
            ast::OnConflictAction::DoUpdate(update) => {
                if target.is_empty() {
                    let message = "ON CONFLICT DO UPDATE requires inference specification or constraint name";
                    return Err(
                        Error::new(Condition::SyntaxError, message).hint("For example, ON CONFLICT (column_name).")
                    );
                }
                let excluded = Source {
                    name: "excluded".to_owned(),
                    schema: None,
                    columns: from::stored_columns(relation, EXCLUDED),
                };
                let mut both = scope.clone();
                both.add(excluded)?;
                self.scopes.push(both);
                let mut assignments = self.assignments(&update.assignments, relation)?;
                self.guard_moves(relation, table, &mut assignments)?;
                let filter = match &update.selection {
                    None => None,
                    Some(condition) => {
                        let bound = self.expression(condition)?;
                        Some(self.truth(bound, "WHERE", start(condition))?)
                    }
                };
                self.scopes.pop();
                Some((assignments, Some(first_change(relation, filter))))
            }
        };
        for name in &target {
            if let Some(at) = relation.columns.iter().position(|column| !column.dropped && column.name == *name) {
                self.note_read_of(relation.oid, at);
            }
        }
        if !target.is_empty() {
            self.check_conflict_target(relation, &target)?;
        }
        Ok(Conflict { target, update })
    }

    fn constraint_columns(&self, relation: &Relation, name: &str) -> Result<Vec<String>, Error> {
        let columns =
            relation.constraints.iter().find(|known| known.name == name).and_then(|known| match &known.kind {
                ConstraintKind::PrimaryKey { columns } | ConstraintKind::Unique { columns } => Some(columns),
                _ => None,
            });
        match columns {
            Some(columns) => Ok(columns.iter().map(|at| relation.columns[*at].name.clone()).collect()),
            None => {
                let message = format!("constraint \"{name}\" for table \"{}\" does not exist", relation.name);
                Err(Error::new(Condition::UndefinedObject, message))
            }
        }
    }

    fn check_conflict_target(&self, relation: &Relation, target: &[String]) -> Result<(), Error> {
        let fits = |keys: Vec<Option<usize>>| {
            keys.len() == target.len()
                && keys.iter().all(|key| key.is_some_and(|at| target.contains(&relation.columns[at].name)))
        };
        let unique = relation.indexes.iter().filter(|index| index.unique && index.predicate.is_none());
        if unique.map(|index| index.keys.iter().map(|key| key.column).collect()).any(fits) {
            return Ok(());
        }
        let message = "there is no unique or exclusion constraint matching the ON CONFLICT specification";
        Err(Error::new(Condition::InvalidColumnReference, message))
    }

    /// SET column = value, …
    fn assignments(
        &mut self,
        assignments: &[ast::Assignment],
        relation: &Relation,
    ) -> Result<Vec<(String, Scalar)>, Error> {
        let mut bound: Vec<(String, Scalar)> = Vec::with_capacity(assignments.len());
        for assignment in assignments {
            match (&assignment.target, &assignment.value) {
                (ast::AssignmentTarget::ColumnName(name), value) => {
                    self.assignment(name, value, relation, &mut bound)?
                }
                (ast::AssignmentTarget::Tuple(names), ast::Expr::Tuple(values)) if names.len() == values.len() => {
                    for (name, value) in names.iter().zip(values) {
                        self.assignment(name, value, relation, &mut bound)?;
                    }
                }
                (ast::AssignmentTarget::Tuple(_), value) => {
                    return Err(self.refused("this assignment to several columns", value));
                }
            }
        }
        Ok(bound)
    }

    fn assignment(
        &mut self,
        name: &ast::ObjectName,
        value: &ast::Expr,
        relation: &Relation,
        bound: &mut Vec<(String, Scalar)>,
    ) -> Result<(), Error> {
        // A qualified name is a field of a column, never a column of a table.
        let first = name.0.first().and_then(|part| part.as_ident()).map_or("", |word| word.value.as_str());
        let at = self.column_index(relation, first, start(name))?;
        self.note_written(relation, at, Privileges::UPDATE);
        let column = &relation.columns[at];
        if name.0.len() > 1 {
            return Err(Error::unsupported("an assignment to a field of a column"));
        }
        if bound.iter().any(|(known, _)| *known == column.name) {
            let message = format!("multiple assignments to same column \"{}\"", column.name);
            return Err(self.error_at(Error::new(Condition::SyntaxError, message), start(name)));
        }
        let value = match value {
            ast::Expr::Identifier(word) if word.quote_style.is_none() && word.value == "default" => {
                self.default_of(column)?
            }
            value => {
                let scalar = self.expression(value)?;
                self.assign(scalar, &column.name, column.type_, column.typmod, start(value))?
            }
        };
        let value = if relation.rowid_column == Some(at) && !value.never_null() {
            not_null_guard(value, relation, &column.name)
        } else {
            value
        };
        bound.push((column.name.clone(), value));
        Ok(())
    }

    /// RETURNING: over the target alone, as SQLite has it.
    fn returning(&mut self, items: Option<&[ast::SelectItem]>, scope: Scope) -> Result<Vec<Scalar>, Error> {
        let Some(items) = items else { return Ok(Vec::new()) };
        self.scopes.push(scope);
        self.aggregates_refused = Some("aggregate functions are not allowed in RETURNING");
        let projected = self.projection(items, false);
        self.aggregates_refused = None;
        self.scopes.pop();
        let (outputs, columns) = projected?;
        let queries = |node: &Node| matches!(node, Node::Subquery(_) | Node::Exists(_) | Node::InQuery { .. });
        if outputs.iter().any(|output| super::walk::any(output, &queries)) {
            return Err(Error::unsupported("a subquery in RETURNING"));
        }
        self.returning_names = columns.into_iter().map(|column| column.name).collect();
        Ok(outputs)
    }

    /// UPDATE.
    pub(super) fn update(&mut self, update: &ast::Update) -> Result<Update, Error> {
        let foreign = update.output.is_some()
            || update.or.is_some()
            || !update.order_by.is_empty()
            || update.limit.is_some()
            || !update.optimizer_hints.is_empty()
            || !update.table.joins.is_empty();
        if foreign {
            return Err(Error::unsupported("this form of UPDATE"));
        }
        let (relation, table, target) = self.changed_table(&update.table.relation, Privileges::UPDATE)?;
        let mut scope = target.clone();
        let from = match &update.from {
            None => None,
            Some(ast::UpdateTableFromKind::AfterSet(tables)) => self.from(tables, &mut scope)?,
            Some(_) => return Err(Error::unsupported("this form of UPDATE")),
        };
        self.scopes.push(scope);
        self.aggregates_refused = Some("aggregate functions are not allowed in UPDATE");
        let mut assignments = self.assignments(&update.assignments, &relation)?;
        self.guard_moves(&relation, table, &mut assignments)?;
        let filter = self.filter(update.selection.as_ref(), &relation)?;
        self.aggregates_refused = None;
        self.scopes.pop();
        refuse_joined_returning(from.is_some(), update.returning.as_deref())?;
        let returning = self.returning(update.returning.as_deref(), target)?;
        Ok(Update { ctes: Vec::new(), table, storage: relation.storage.clone(), assignments, from, filter, returning })
    }

    /// DELETE.
    pub(super) fn delete(&mut self, delete: &ast::Delete) -> Result<Delete, Error> {
        let foreign = !delete.tables.is_empty()
            || delete.output.is_some()
            || !delete.order_by.is_empty()
            || delete.limit.is_some()
            || !delete.optimizer_hints.is_empty();
        let (ast::FromTable::WithFromKeyword(tables) | ast::FromTable::WithoutKeyword(tables)) = &delete.from;
        let [table_with_joins] = tables.as_slice() else { return Err(Error::unsupported("this form of DELETE")) };
        if foreign || !table_with_joins.joins.is_empty() {
            return Err(Error::unsupported("this form of DELETE"));
        }
        let (relation, table, target) = self.changed_table(&table_with_joins.relation, Privileges::DELETE)?;
        let mut scope = target.clone();
        let using = match &delete.using {
            None => None,
            Some(tables) => {
                if relation.columns.iter().any(|column| column.name.eq_ignore_ascii_case("rowid")) {
                    return Err(Error::unsupported("DELETE USING on a table with a column \"rowid\""));
                }
                self.from(tables, &mut scope)?
            }
        };
        self.scopes.push(scope);
        self.aggregates_refused = Some("aggregate functions are not allowed in WHERE");
        let filter = self.filter(delete.selection.as_ref(), &relation)?;
        self.aggregates_refused = None;
        self.scopes.pop();
        refuse_joined_returning(using.is_some(), delete.returning.as_deref())?;
        let returning = self.returning(delete.returning.as_deref(), target)?;
        Ok(Delete { ctes: Vec::new(), table, storage: relation.storage.clone(), using, filter, returning })
    }

    fn changed_table(
        &mut self,
        factor: &ast::TableFactor,
        wanted: Privileges,
    ) -> Result<(std::rc::Rc<Relation>, usize, Scope), Error> {
        let ast::TableFactor::Table { name, alias, args: None, .. } = factor else {
            return Err(self.refused("changing rows of this", factor));
        };
        let alias = alias.as_ref().map(|alias| alias.name.value.clone());
        let relation = self.target(name, alias.as_deref(), wanted)?;
        let table = self.next_table();
        let scope = target_scope(&relation, table, alias.as_deref());
        Ok((relation, table, scope))
    }

    /// WHERE of a data change; of a partition with its bound.
    fn filter(&mut self, condition: Option<&ast::Expr>, relation: &Relation) -> Result<Option<Scalar>, Error> {
        let filter = match condition {
            None => None,
            Some(condition) => {
                let bound = self.expression(condition)?;
                Some(self.truth(bound, "WHERE", start(condition))?)
            }
        };
        let bound = self.partition_bound(relation, "")?;
        let bound = bound.map(|sql| Scalar::new(Node::Sql(format!("({sql})")), Type::Bool));
        Ok(match (filter, bound) {
            (Some(filter), Some(bound)) => Some(Scalar::new(Node::And(vec![filter, bound]), Type::Bool)),
            (filter, bound) => filter.or(bound),
        })
    }

    /// The INSERT behind COPY FROM: one row of parameters that are of their columns' types already.
    pub(super) fn copy_insert(&mut self, relation: &Relation, given: &[usize]) -> Result<Insert, Error> {
        let table = self.next_table();
        self.relations.push(relation.oid);
        self.note_use(relation, None, Privileges::INSERT);
        given.iter().for_each(|at| self.note_written(relation, *at, Privileges::INSERT));
        let mut columns: Vec<String> = given.iter().map(|at| relation.columns[*at].name.clone()).collect();
        self.parameters = given.iter().map(|at| Some(relation.columns[*at].type_)).collect();
        let row: Vec<Scalar> = given
            .iter()
            .enumerate()
            .map(|(number, at)| Scalar::new(Node::Parameter(number), relation.columns[*at].type_))
            .collect();
        let mut source = InsertSource::Values(vec![row]);
        self.add_defaults(relation, given, &mut columns, &mut source)?;
        self.guard_rows(relation, &columns, &mut source)?;
        Ok(Insert {
            ctes: Vec::new(),
            table,
            storage: relation.storage.clone(),
            columns,
            source,
            conflict: None,
            returning: Vec::new(),
        })
    }

    /// The SELECT behind COPY TO.
    pub(super) fn copy_select(&mut self, relation: &Relation, columns: &[usize]) -> Result<Query, Error> {
        let table = self.next_table();
        match relation.kind {
            RelationKind::System => self.virtual_tables.push(relation.storage.clone()),
            _ => self.relations.push(relation.oid),
        }
        self.note_use(relation, None, Privileges::SELECT);
        columns.iter().for_each(|at| self.note_read_of(relation.oid, *at));
        let all = from::stored_columns(relation, table);
        let chosen: Vec<_> = columns
            .iter()
            .filter_map(|at| all.iter().find(|column| column.name == relation.columns[*at].name))
            .collect();
        let outputs: Vec<Scalar> = chosen.iter().map(|column| column.scalar.clone()).collect();
        let described = chosen
            .iter()
            .map(|column| OutputColumn {
                name: column.name.clone(),
                type_: column.scalar.type_,
                typmod: column.scalar.typmod,
                origin: None,
                not_null: false,
            })
            .collect();
        let predicate = self.partition_predicate(relation, table)?;
        let from = Some(From::Table { table, storage: relation.storage.clone(), predicate });
        let select = Select { outputs, from, ..Select::default() };
        Ok(Query {
            ctes: Vec::new(),
            body: Body::Select(Box::new(select)),
            order: Vec::new(),
            limit: None,
            offset: None,
            columns: described,
        })
    }
}

/// The condition of DO UPDATE, after the check that the row has not been changed before.
fn first_change(relation: &Relation, filter: Option<Scalar>) -> Scalar {
    let names = ["_rowid_", "rowid", "oid"];
    let free = |name: &&str| !relation.columns.iter().any(|column| column.name.eq_ignore_ascii_case(name));
    let row = names.into_iter().find(free).unwrap_or("_rowid_");
    let row = Scalar::new(Node::Sql(row.to_owned()), Type::Int8);
    let check = Scalar::call(Emit::Call(guards::FIRST_CHANGE), vec![row], Type::Bool);
    match filter {
        None => check,
        Some(filter) => Scalar::new(Node::And(vec![check, filter]), Type::Bool),
    }
}

fn target_scope(relation: &Relation, table: usize, alias: Option<&str>) -> Scope {
    let source = Source {
        name: alias.unwrap_or(&relation.name).to_owned(),
        schema: if alias.is_none() { Some(relation.schema.clone()) } else { None },
        columns: from::stored_columns(relation, table),
    };
    Scope::of(source)
}

fn not_null_guard(value: Scalar, relation: &Relation, column: &str) -> Scalar {
    let (type_, typmod) = (value.type_, value.typmod);
    let text = |text: &str| Scalar::new(Node::Constant(Value::Text(text.to_owned())), Type::Text);
    let arguments = vec![value, text(&relation.schema), text(&relation.name), text(column)];
    Scalar { typmod, ..Scalar::call(Emit::Call(guards::NOT_NULL), arguments, type_) }
}

/// Makes a value of the row fail with 23514 unless the condition holds for the row.
fn guard_partition(relation: &Relation, condition: Scalar, value: &mut Scalar) {
    let (type_, typmod) = (value.type_, value.typmod);
    let taken = std::mem::replace(value, Scalar::null(type_));
    let text = |text: &str| Scalar::new(Node::Constant(Value::Text(text.to_owned())), Type::Text);
    let arguments = vec![condition, taken, text(&relation.schema), text(&relation.name)];
    *value = Scalar { typmod, ..Scalar::call(Emit::Call(guards::IN_PARTITION), arguments, type_) };
}

/// `RETURNING *` of a change over several tables would have to give the columns of all.
fn refuse_joined_returning(joined: bool, items: Option<&[ast::SelectItem]>) -> Result<(), Error> {
    let all = items.unwrap_or_default().iter().any(|item| matches!(item, ast::SelectItem::Wildcard(_)));
    if joined && all { Err(Error::unsupported("RETURNING * beside FROM or USING")) } else { Ok(()) }
}
