//! Functions that look things up in the catalog: their names are PostgreSQL's, their answers the catalog's.

use super::catalog::bound_text;
use super::privileges;
use crate::engine::cluster::Snapshot;
use crate::engine::sqlite::catalog::StoredCatalog;
use crate::error::{Condition, Error};
use crate::sql::catalog::{
    Catalog, Constraint, ConstraintKind, Index, PartitionStrategy, ReferentialAction, Relation, RelationKind,
};
use crate::sql::define::{fold_name, identifier, sequences_in};
use crate::sql::types::{Datum, Type, Value, format_type};

/// Answers `functions::Host::catalog_function`.
pub fn call(
    catalog: &StoredCatalog<'_>,
    cluster: &Snapshot,
    name: &str,
    arguments: &[Datum<'_>],
) -> Result<Value, Error> {
    let oid = match arguments.first() {
        Some(Datum::Int(oid)) => u32::try_from(*oid).unwrap_or(0),
        _ => 0,
    };
    let text = |value: Option<String>| Ok(value.map_or(Value::Null, Value::Text));
    if let Some(answer) = privileges::call(catalog, name, arguments) {
        return answer;
    }
    match name {
        "format_type" => {
            let typmod = if let Some(Datum::Int(typmod)) = arguments.get(1) { *typmod as i32 } else { -1 };
            text(Some(Type::from_oid(oid).map_or_else(|| "???".to_owned(), |type_| format_type(type_, typmod))))
        }
        "pg_get_userbyid" => {
            let role = cluster.roles().iter().find(|role| role.oid == oid).map(|role| role.name.clone());
            text(Some(role.unwrap_or_else(|| format!("unknown (OID={oid})"))))
        }
        "pg_encoding_to_char" => text(Some(if oid == 6 { "UTF8" } else { "" }.to_owned())),
        "pg_table_is_visible" => visible(catalog, oid),
        "pg_type_is_visible" | "pg_function_is_visible" | "pg_statistics_obj_is_visible" | "pg_operator_is_visible" => {
            Ok(Value::Int(1))
        }
        "pg_partition_ancestors" => Ok(Value::Text(ancestors(catalog, oid)?)),
        "pg_get_partition_constraintdef" => text(match catalog.relation_by_oid(oid)? {
            Some(relation) => constraint_of_partition(catalog, &relation)?,
            None => None,
        }),
        "pg_get_partkeydef" => text(catalog.relation_by_oid(oid)?.and_then(|relation| partition_key(&relation))),
        "obj_description" | "col_description" | "shobj_description" => {
            let attribute =
                if let ("col_description", Some(Datum::Int(number))) = (name, arguments.get(1)) { *number } else { 0 };
            if name == "shobj_description" { Ok(Value::Null) } else { text(catalog.comment(oid, attribute)?) }
        }
        "pg_get_expr" => match arguments.first() {
            Some(Datum::Text(expression)) => text(Some(shown_expression(catalog, expression)?)),
            _ => Ok(Value::Null),
        },
        "pg_get_indexdef" => match index(catalog, oid)? {
            Some((relation, index)) => match arguments.get(1) {
                Some(Datum::Int(number)) if *number > 0 => {
                    text(index.keys.get(*number as usize - 1).map(|_| key(&relation, &index, *number as usize - 1)))
                }
                _ => text(Some(index_definition(&relation, &index))),
            },
            None => Ok(Value::Null),
        },
        "pg_get_constraintdef" => {
            for relation in catalog.relations()? {
                if let Some(constraint) = relation.constraints.iter().find(|constraint| constraint.oid == oid) {
                    return text(Some(constraint_definition(catalog, &relation, constraint)?));
                }
            }
            Ok(Value::Null)
        }
        "pg_get_viewdef" => text(catalog.relation_by_oid(oid)?.and_then(|relation| match &relation.kind {
            RelationKind::View { query } => Some(query.clone()),
            _ => None,
        })),
        "pg_get_triggerdef" | "pg_get_statisticsobjdef_columns" => Ok(Value::Null),
        "regclassin" | "to_regclass" => match arguments.first() {
            Some(Datum::Text(written)) => regclass_input(catalog, written, name == "to_regclass"),
            _ => Ok(Value::Null),
        },
        "regclassout" => text(Some(regclass_output(catalog, oid)?)),
        "regtypein" | "to_regtype" | "regnamespacein" | "regrolein" | "regprocin" => match arguments.first() {
            Some(Datum::Text(written)) => named_input(catalog, cluster, name, written),
            _ => Ok(Value::Null),
        },
        "regtypeout" => text(Some(Type::from_oid(oid).map_or_else(|| or_dash(oid), |type_| format_type(type_, -1)))),
        "regnamespaceout" => {
            let schemas = catalog.all_schemas()?;
            let found = schemas.into_iter().find(|known| known.oid == oid).map(|known| identifier(&known.name));
            text(Some(found.unwrap_or_else(|| or_dash(oid))))
        }
        "regroleout" => {
            let found = cluster.roles().iter().find(|role| role.oid == oid).map(|role| identifier(&role.name));
            text(Some(found.unwrap_or_else(|| or_dash(oid))))
        }
        "regprocout" => text(Some(or_dash(oid))),
        other => {
            let message = format!("function {other} does not exist");
            Err(Error::new(Condition::UndefinedFunction, message))
        }
    }
}

fn visible(catalog: &StoredCatalog<'_>, oid: u32) -> Result<Value, Error> {
    let Some(relation) = catalog.relation_by_oid(oid)? else {
        let Some((relation, _)) = index(catalog, oid)? else { return Ok(Value::Null) };
        return Ok(Value::Int(i64::from(catalog.search_path().contains(&relation.schema))));
    };
    let found = catalog.relation(None, &relation.name)?;
    Ok(Value::Int(i64::from(found.is_some_and(|found| found.oid == oid))))
}

/// A partition and its parent, nearest first; nothing for other tables.
fn ancestors(catalog: &StoredCatalog<'_>, oid: u32) -> Result<String, Error> {
    let relation = catalog.relation_by_oid(oid)?;
    Ok(match relation.as_ref().map(|relation| &relation.kind) {
        Some(RelationKind::Partition { parent, .. }) => format!("{{{oid},{parent}}}"),
        Some(RelationKind::Partitioned(_)) => format!("{{{oid}}}"),
        _ => "{}".to_owned(),
    })
}

/// The condition that a partition's rows fulfil, over its parent's columns.
fn constraint_of_partition(catalog: &StoredCatalog<'_>, relation: &Relation) -> Result<Option<String>, Error> {
    let RelationKind::Partition { parent, bound } = &relation.kind else { return Ok(None) };
    let Some(root) = catalog.relation_by_oid(*parent)? else { return Ok(None) };
    let RelationKind::Partitioned(partitioning) = &root.kind else { return Ok(None) };
    let mut siblings = Vec::new();
    for oid in partitioning.partitions.iter().filter(|oid| **oid != relation.oid) {
        if let Some(sibling) = catalog.relation_by_oid(*oid)?
            && let RelationKind::Partition { bound, .. } = &sibling.kind
        {
            siblings.push(bound.clone());
        }
    }
    Ok(Some(format!("({})", crate::sql::define::partition::bound_condition(&root, bound, &siblings, ""))))
}

/// `RANGE (a, b)`.
fn partition_key(relation: &Relation) -> Option<String> {
    let RelationKind::Partitioned(partitioning) = &relation.kind else { return None };
    let strategy = match partitioning.strategy {
        PartitionStrategy::Range => "RANGE",
        PartitionStrategy::List => "LIST",
        PartitionStrategy::Hash => "HASH",
    };
    Some(format!("{strategy} ({})", columns(relation, &partitioning.columns)))
}

fn index(catalog: &StoredCatalog<'_>, oid: u32) -> Result<Option<(Relation, Index)>, Error> {
    for relation in catalog.relations()? {
        if let Some(index) = relation.indexes.iter().find(|index| index.oid == oid) {
            return Ok(Some(((*relation).clone(), index.clone())));
        }
    }
    Ok(None)
}

fn columns(relation: &Relation, columns: &[usize]) -> String {
    let names: Vec<String> = columns
        .iter()
        .filter_map(|index| relation.columns.get(*index))
        .map(|column| identifier(&column.name))
        .collect();
    names.join(", ")
}

fn key(relation: &Relation, index: &Index, at: usize) -> String {
    let Some(key) = index.keys.get(at) else { return String::new() };
    let mut shown = match (key.column, &key.expression) {
        (Some(column), _) => columns(relation, &[column]),
        (None, expression) => format!("({})", expression.as_deref().unwrap_or("")),
    };
    if key.descending {
        shown.push_str(if key.nulls_first { " DESC" } else { " DESC NULLS LAST" });
    } else if key.nulls_first {
        shown.push_str(" NULLS FIRST");
    }
    shown
}

fn index_definition(relation: &Relation, index: &Index) -> String {
    let keys: Vec<String> = (0..index.keys.len()).map(|at| key(relation, index, at)).collect();
    let unique = if index.unique { "UNIQUE " } else { "" };
    let predicate = index.predicate.as_ref().map_or_else(String::new, |text| format!(" WHERE ({text})"));
    let table = format!("{}.{}", identifier(&relation.schema), identifier(&relation.name));
    format!("CREATE {unique}INDEX {} ON {table} USING btree ({}){predicate}", identifier(&index.name), keys.join(", "))
}

fn constraint_definition(
    catalog: &StoredCatalog<'_>,
    relation: &Relation,
    constraint: &Constraint,
) -> Result<String, Error> {
    let definition = match &constraint.kind {
        ConstraintKind::PrimaryKey { columns: key } => format!("PRIMARY KEY ({})", columns(relation, key)),
        ConstraintKind::Unique { columns: key } => format!("UNIQUE ({})", columns(relation, key)),
        ConstraintKind::Check { expression } => format!("CHECK (({expression}))"),
        ConstraintKind::ForeignKey {
            columns: key,
            references,
            referenced_columns,
            on_delete,
            on_update,
            match_full,
            delete_columns,
        } => {
            let Some(parent) = catalog.relation_by_oid(*references)? else { return Ok(String::new()) };
            let (own, other) = (columns(relation, key), columns(&parent, referenced_columns));
            let table = regclass_output(catalog, parent.oid)?;
            format!(
                "FOREIGN KEY ({own}) REFERENCES {table}({other}){}{}{}{}",
                if *match_full { " MATCH FULL" } else { "" },
                action("UPDATE", *on_update),
                action("DELETE", *on_delete),
                match delete_columns.as_slice() {
                    [] => String::new(),
                    set => format!(" ({})", columns(relation, set)),
                }
            )
        }
    };
    let deferral = match (constraint.deferrable, constraint.deferred) {
        (false, _) => "",
        (true, false) => " DEFERRABLE",
        (true, true) => " DEFERRABLE INITIALLY DEFERRED",
    };
    Ok(format!("{definition}{deferral}{}", if constraint.not_valid { " NOT VALID" } else { "" }))
}

fn action(event: &str, action: ReferentialAction) -> String {
    let name = match action {
        ReferentialAction::NoAction => return String::new(),
        ReferentialAction::Restrict => "RESTRICT",
        ReferentialAction::Cascade => "CASCADE",
        ReferentialAction::SetNull => "SET NULL",
        ReferentialAction::SetDefault => "SET DEFAULT",
    };
    format!(" ON {event} {name}")
}

/// A name or an OID, to the OID; `None` allowed for to_regclass.
fn regclass_input(catalog: &StoredCatalog<'_>, written: &str, missing_ok: bool) -> Result<Value, Error> {
    if let Ok(oid) = written.parse::<u32>() {
        return Ok(Value::Int(i64::from(oid)));
    }
    let parts: Vec<String> = written
        .split('.')
        .map(|part| match part.strip_prefix('"').and_then(|part| part.strip_suffix('"')) {
            Some(quoted) => quoted.replace("\"\"", "\""),
            None => fold_name(part.trim(), false),
        })
        .collect();
    let (schema, name) = match parts.as_slice() {
        [name] => (None, name),
        [.., schema, name] => (Some(schema.as_str()), name),
        [] => return Ok(Value::Null),
    };
    if let Some(schema) = schema {
        catalog.require_usable(schema)?;
    }
    if let Some(relation) = catalog.relation(schema, name)? {
        return Ok(Value::Int(i64::from(relation.oid)));
    }
    if let Some(relation) = catalog.relation_of_index(schema, name)?
        && let Some(index) = relation.indexes.iter().find(|index| index.name == *name)
    {
        return Ok(Value::Int(i64::from(index.oid)));
    }
    if missing_ok {
        return Ok(Value::Null);
    }
    if let Some(schema) = schema
        && !catalog.schema_exists(schema)?
    {
        return Err(Error::new(Condition::InvalidSchemaName, format!("schema \"{schema}\" does not exist")));
    }
    Err(Error::new(Condition::UndefinedTable, format!("relation \"{written}\" does not exist")))
}

/// An OID that nothing is known of.
fn or_dash(oid: u32) -> String {
    if oid == 0 { "-".to_owned() } else { oid.to_string() }
}

/// The OID of a type, schema or role by its name.
fn named_input(catalog: &StoredCatalog<'_>, cluster: &Snapshot, kind: &str, written: &str) -> Result<Value, Error> {
    if let Ok(oid) = written.parse::<u32>() {
        return Ok(Value::Int(i64::from(oid)));
    }
    let name = match written.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => fold_name(written.trim(), false),
    };
    let (found, condition, what) = match kind {
        "regnamespacein" => {
            let schemas = catalog.all_schemas()?;
            let oid = schemas.into_iter().find(|known| known.name == name).map(|known| known.oid);
            (oid, Condition::InvalidSchemaName, "schema")
        }
        "regrolein" => (cluster.role_row(&name).map(|role| role.oid), Condition::UndefinedObject, "role"),
        "regprocin" => (None, Condition::UndefinedFunction, "function"),
        _ => {
            let type_ = crate::sql::types::parse_name(name.trim_start_matches("pg_catalog."));
            (type_.map(Type::oid), Condition::UndefinedObject, "type")
        }
    };
    match found {
        Some(oid) => Ok(Value::Int(i64::from(oid))),
        None if kind == "to_regtype" => Ok(Value::Null),
        None => Err(Error::new(condition, format!("{what} \"{written}\" does not exist"))),
    }
}

/// A stored expression, its sequences by the names that the search path finds them by.
fn shown_expression(catalog: &StoredCatalog<'_>, expression: &str) -> Result<String, Error> {
    let mut shown = expression.to_owned();
    for (place, written, _) in sequences_in(expression).into_iter().rev() {
        if let Value::Int(oid) = regclass_input(catalog, &written, true)?
            && let Ok(oid) = u32::try_from(oid)
        {
            let name = regclass_output(catalog, oid)?.replace('\'', "''");
            shown.replace_range(place, &format!("'{name}'"));
        }
    }
    Ok(shown)
}

/// The name of a relation or index, with its schema where the search path does not find it.
fn regclass_output(catalog: &StoredCatalog<'_>, oid: u32) -> Result<String, Error> {
    if let Some(relation) = catalog.relation_by_oid(oid)? {
        let name = identifier(&relation.name);
        return Ok(match visible(catalog, oid)? {
            Value::Int(1) => name,
            _ => format!("{}.{name}", identifier(&relation.schema)),
        });
    }
    Ok(match index(catalog, oid)? {
        Some((_, index)) => identifier(&index.name),
        None if oid == 0 => "-".to_owned(),
        None => oid.to_string(),
    })
}

/// How a partition's bound is shown.
pub fn partition_bound(relation: &Relation) -> Option<String> {
    match &relation.kind {
        RelationKind::Partition { bound, .. } => Some(bound_text(bound)),
        _ => None,
    }
}
