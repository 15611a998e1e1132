//! Rows of the views over the catalog and the cluster.

use std::collections::HashMap;
use std::rc::Rc;

use super::{Source, all, privileges};
use crate::engine::cluster::Snapshot;
use crate::engine::sqlite::catalog::Schema;
use crate::engine::sqlite::rights::Object;
use crate::error::Error;
use crate::sql::catalog::{
    ConstraintKind, PartitionBound, PartitionStrategy, ReferentialAction, Relation, RelationKind,
};
use crate::sql::types::{self, Datum, Type, Value, format_type};

type Made = Result<Vec<Vec<Value>>, Error>;

fn int(value: impl Into<i64>) -> Value {
    Value::Int(value.into())
}

fn text(value: impl Into<String>) -> Value {
    Value::Text(value.into())
}

fn optional(value: Option<String>) -> Value {
    value.map_or(Value::Null, Value::Text)
}

/// What rows about relations need to know of their surroundings.
struct Surroundings {
    relations: Vec<Rc<Relation>>,
    schemas: HashMap<String, u32>,
    cluster: Rc<Snapshot>,
}

impl Surroundings {
    /// Stored relations and system views.
    fn of(source: &dyn Source) -> Result<Self, Error> {
        let mut relations = source.relations()?;
        relations.extend(all().iter().cloned());
        let schemas = source.schemas()?.into_iter().map(|schema| (schema.name, schema.oid)).collect();
        Ok(Self { relations, schemas, cluster: source.cluster() })
    }

    fn schema(&self, name: &str) -> Value {
        int(self.schemas.get(name).copied().unwrap_or(0))
    }

    fn role_name(&self, oid: u32) -> Value {
        text(self.cluster.role_by_oid(oid).map_or_else(|| format!("unknown (OID={oid})"), |role| role.name.clone()))
    }
}

fn kind(relation: &Relation) -> &'static str {
    match relation.kind {
        RelationKind::Table | RelationKind::Partition { .. } => "r",
        RelationKind::Partitioned(_) => "p",
        RelationKind::View { .. } => "v",
        RelationKind::Sequence => "S",
        RelationKind::System if relation.oid < 12_000 => "r",
        RelationKind::System => "v",
    }
}

/// The place of pg_attribute.attacl.
const ATTACL: usize = 22;

/// One row of pg_class; `relam` 2 is heap, 403 btree.
fn class_row(
    all: &Surroundings,
    relation: &Relation,
    oid: u32,
    name: &str,
    kind: &str,
    attributes: usize,
) -> Vec<Value> {
    let is_index = matches!(kind, "i" | "I");
    let is_partition = matches!(relation.kind, RelationKind::Partition { .. });
    let partitioned = matches!(relation.kind, RelationKind::Partitioned(_));
    let access_method = if is_index {
        403
    } else if kind == "r" {
        2
    } else {
        0
    };
    let persistence = if relation.temporary {
        "t"
    } else if relation.unlogged {
        "u"
    } else {
        "p"
    };
    let checks = relation.constraints.iter().filter(|own| matches!(own.kind, ConstraintKind::Check { .. })).count();
    let options = (!is_index && !relation.options.is_empty()).then(|| format!("{{{}}}", relation.options.join(",")));
    // Foreign keys are triggers on both of their tables.
    let has_triggers = all
        .relations
        .iter()
        .flat_map(|other| other.constraints.iter().map(move |own| (other, own)))
        .any(|(other, own)| match &own.kind {
            ConstraintKind::ForeignKey { references, .. } => other.oid == relation.oid || *references == relation.oid,
            _ => false,
        });
    let bound = match &relation.kind {
        RelationKind::Partition { bound, .. } if !is_index => Some(bound_text(bound)),
        _ => None,
    };
    vec![
        int(oid),
        text(name),
        all.schema(&relation.schema),
        int(0),
        int(0),
        int(relation.owner),
        int(access_method),
        int(oid),
        int(0),
        int(0),
        Value::Float(-1.0),
        int(0),
        int(0),
        int(!is_index && !relation.indexes.is_empty()),
        int(0),
        text(persistence),
        text(kind),
        int(attributes as i64),
        int(if is_index { 0 } else { checks as i64 }),
        int(0),
        int(!is_index && has_triggers),
        int(partitioned && !is_index),
        int(0),
        int(0),
        int(1),
        text(if is_index { "n" } else { "d" }),
        int(is_partition),
        int(0),
        int(0),
        int(0),
        if is_index { Value::Null } else { privileges::acl(&all.cluster, Object::Relation(relation).acl().as_ref()) },
        optional(options),
        optional(bound),
    ]
}

/// A bound as pg_get_expr shows it.
pub(super) fn bound_text(bound: &PartitionBound) -> String {
    use crate::sql::catalog::RangeBound;
    let value = |value: &Value| crate::sql::define::partition::literal(value);
    let side = |bounds: &[RangeBound]| {
        let shown: Vec<String> = bounds
            .iter()
            .map(|bound| match bound {
                RangeBound::MinValue => "MINVALUE".to_owned(),
                RangeBound::MaxValue => "MAXVALUE".to_owned(),
                RangeBound::Value(bound) => value(bound),
            })
            .collect();
        shown.join(", ")
    };
    match bound {
        PartitionBound::Range { from, to } => format!("FOR VALUES FROM ({}) TO ({})", side(from), side(to)),
        PartitionBound::List(values) => {
            format!("FOR VALUES IN ({})", values.iter().map(value).collect::<Vec<_>>().join(", "))
        }
        PartitionBound::Hash { modulus, remainder } => {
            format!("FOR VALUES WITH (modulus {modulus}, remainder {remainder})")
        }
        PartitionBound::Default => "DEFAULT".to_owned(),
    }
}

pub(super) fn pg_class(source: &dyn Source) -> Made {
    let all = Surroundings::of(source)?;
    let mut rows = Vec::new();
    for relation in &all.relations {
        rows.push(class_row(&all, relation, relation.oid, &relation.name, kind(relation), relation.columns.len()));
        for index in &relation.indexes {
            let kind = if matches!(relation.kind, RelationKind::Partitioned(_)) { "I" } else { "i" };
            rows.push(class_row(&all, relation, index.oid, &index.name, kind, index.keys.len()));
        }
    }
    Ok(rows)
}

fn attribute_row(
    relation: u32,
    number: usize,
    name: &str,
    type_: Type,
    typmod: i32,
    flags: (bool, bool, bool),
) -> Vec<Value> {
    let facts = types::pg_type(type_);
    let (not_null, has_default, dropped) = flags;
    vec![
        int(relation),
        text(name),
        int(if dropped { 0 } else { type_.oid() }),
        int(-1),
        int(facts.length),
        int(number as i64),
        int(0),
        int(-1),
        int(typmod),
        int(facts.by_value),
        text(facts.alignment),
        text(facts.storage),
        text(""),
        int(not_null),
        int(has_default),
        int(0),
        text(""),
        text(""),
        int(dropped),
        int(1),
        int(0),
        int(facts.collation),
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
    ]
}

pub(super) fn pg_attribute(source: &dyn Source) -> Made {
    let mut rows = Vec::new();
    let all = Surroundings::of(source)?;
    for relation in &all.relations {
        for (index, column) in relation.columns.iter().enumerate() {
            let flags = (column.not_null, column.default.is_some(), column.dropped);
            let mut row = attribute_row(relation.oid, index + 1, &column.name, column.type_, column.typmod, flags);
            row[ATTACL] = privileges::acl(&all.cluster, column.acl.as_ref());
            rows.push(row);
        }
        for index in &relation.indexes {
            for (number, key) in index.keys.iter().enumerate() {
                let column = key.column.and_then(|column| relation.columns.get(column));
                let (name, type_, typmod) = column
                    .map_or(("expr", Type::Text, -1), |column| (column.name.as_str(), column.type_, column.typmod));
                rows.push(attribute_row(index.oid, number + 1, name, type_, typmod, (false, false, false)));
            }
        }
    }
    Ok(rows)
}

pub(super) fn pg_namespace(source: &dyn Source) -> Made {
    let schemas = source.schemas()?;
    let cluster = source.cluster();
    Ok(schemas
        .into_iter()
        .map(|schema| {
            vec![int(schema.oid), text(schema.name), int(schema.owner), privileges::acl(&cluster, schema.acl.as_ref())]
        })
        .collect())
}

pub(super) fn pg_type(_: &dyn Source) -> Made {
    let row = |type_: &Type| {
        let facts = types::pg_type(*type_);
        vec![
            int(type_.oid()),
            text(facts.name),
            int(11),
            int(10),
            int(facts.length),
            int(facts.by_value),
            text(facts.kind),
            text(facts.category),
            int(facts.preferred),
            int(1),
            text(facts.delimiter),
            int(0),
            int(0),
            int(facts.element),
            int(facts.array),
            int(0),
            int(0),
            int(0),
            int(0),
            text(facts.alignment),
            text(facts.storage),
            int(0),
            int(0),
            int(-1),
            int(0),
            int(facts.collation),
            Value::Null,
            Value::Null,
        ]
    };
    Ok(Type::ALL.iter().map(row).collect())
}

/// Attribute numbers with blanks between, as int2vector shows them.
fn vector(numbers: impl Iterator<Item = i64>) -> Value {
    text(numbers.map(|number| number.to_string()).collect::<Vec<_>>().join(" "))
}

fn array(columns: &[usize]) -> Value {
    text(format!("{{{}}}", columns.iter().map(|column| (column + 1).to_string()).collect::<Vec<_>>().join(",")))
}

pub(super) fn pg_index(source: &dyn Source) -> Made {
    let mut rows = Vec::new();
    for relation in source.relations()? {
        for index in &relation.indexes {
            let count = int(index.keys.len() as i64);
            let expressions: Vec<String> = index.keys.iter().filter_map(|key| key.expression.clone()).collect();
            rows.push(vec![
                int(index.oid),
                int(relation.oid),
                count.clone(),
                count,
                int(index.unique),
                int(0),
                int(index.primary),
                int(0),
                int(1),
                int(0),
                int(1),
                int(0),
                int(1),
                int(1),
                int(0),
                vector(index.keys.iter().map(|key| key.column.map_or(0, |column| column as i64 + 1))),
                vector(index.keys.iter().map(|_| 0)),
                vector(index.keys.iter().map(|_| 0)),
                vector(index.keys.iter().map(|key| i64::from(key.descending) | (i64::from(key.nulls_first) << 1))),
                optional((!expressions.is_empty()).then(|| expressions.join(", "))),
                optional(index.predicate.clone()),
            ]);
        }
    }
    Ok(rows)
}

fn action(action: ReferentialAction) -> &'static str {
    match action {
        ReferentialAction::NoAction => "a",
        ReferentialAction::Restrict => "r",
        ReferentialAction::Cascade => "c",
        ReferentialAction::SetNull => "n",
        ReferentialAction::SetDefault => "d",
    }
}

pub(super) fn pg_constraint(source: &dyn Source) -> Made {
    let all = Surroundings::of(source)?;
    let mut rows = Vec::new();
    for relation in &all.relations {
        for constraint in &relation.constraints {
            let index =
                relation.indexes.iter().find(|index| index.name == constraint.name).map_or(0, |index| index.oid);
            let (kind, columns, foreign, check) = match &constraint.kind {
                ConstraintKind::PrimaryKey { columns } => ("p", columns.as_slice(), None, None),
                ConstraintKind::Unique { columns } => ("u", columns.as_slice(), None, None),
                ConstraintKind::Check { expression } => ("c", [].as_slice(), None, Some(expression.clone())),
                ConstraintKind::ForeignKey {
                    columns,
                    references,
                    referenced_columns,
                    on_delete,
                    on_update,
                    match_full,
                    ..
                } => {
                    let actions = (*on_update, *on_delete, *match_full);
                    ("f", columns.as_slice(), Some((*references, referenced_columns, actions)), None)
                }
            };
            let (parent, update, delete, matching, referenced) = match foreign {
                Some((parent, columns, (update, delete, full))) => {
                    (parent, action(update), action(delete), if full { "f" } else { "s" }, array(columns))
                }
                None => (0, " ", " ", " ", Value::Null),
            };
            rows.push(vec![
                int(constraint.oid),
                text(&constraint.name),
                all.schema(&relation.schema),
                text(kind),
                int(constraint.deferrable),
                int(constraint.deferred),
                int(!constraint.not_valid),
                int(relation.oid),
                int(0),
                int(index),
                int(0),
                int(parent),
                text(update),
                text(delete),
                text(matching),
                int(1),
                int(0),
                int(kind != "c"),
                array(columns),
                referenced,
                optional(check),
            ]);
        }
    }
    Ok(rows)
}

pub(super) fn pg_attrdef(source: &dyn Source) -> Made {
    let mut rows = Vec::new();
    for relation in source.relations()? {
        for (index, column) in relation.columns.iter().enumerate() {
            if let Some(default) = &column.default {
                rows.push(vec![int(relation.oid), int(relation.oid), int(index as i64 + 1), text(default)]);
            }
        }
    }
    Ok(rows)
}

pub(super) fn pg_inherits(source: &dyn Source) -> Made {
    let relations = source.relations()?;
    let rows = relations.iter().filter_map(|relation| match &relation.kind {
        RelationKind::Partition { parent, .. } => Some(vec![int(relation.oid), int(*parent), int(1), int(0)]),
        _ => None,
    });
    Ok(rows.collect())
}

pub(super) fn pg_partitioned_table(source: &dyn Source) -> Made {
    let relations = source.relations()?;
    let rows = relations.iter().filter_map(|relation| {
        let RelationKind::Partitioned(partitioning) = &relation.kind else { return None };
        let strategy = match partitioning.strategy {
            PartitionStrategy::Range => "r",
            PartitionStrategy::List => "l",
            PartitionStrategy::Hash => "h",
        };
        let zeros = || vector(partitioning.columns.iter().map(|_| 0));
        let is_default = |oid: &u32| {
            relations.iter().any(|other| {
                other.oid == *oid
                    && matches!(other.kind, RelationKind::Partition { bound: PartitionBound::Default, .. })
            })
        };
        let default = partitioning.partitions.iter().copied().find(|oid| is_default(oid)).unwrap_or(0);
        let columns = vector(partitioning.columns.iter().map(|column| *column as i64 + 1));
        Some(vec![
            int(relation.oid),
            text(strategy),
            int(partitioning.columns.len() as i64),
            int(default),
            columns,
            zeros(),
            zeros(),
            Value::Null,
        ])
    });
    Ok(rows.collect())
}

pub(super) fn pg_database(source: &dyn Source) -> Made {
    let cluster = source.cluster();
    let row = |database: &crate::engine::cluster::DatabaseRow| {
        vec![
            int(database.oid),
            text(&database.name),
            int(database.owner),
            int(6),
            text("c"),
            int(database.is_template),
            int(database.allow_connections),
            int(database.connection_limit),
            int(0),
            int(0),
            int(1663),
            text("C"),
            text("C"),
            Value::Null,
            Value::Null,
            privileges::acl(&cluster, database.acl.as_ref()),
        ]
    };
    Ok(cluster.databases().iter().map(row).collect())
}

pub(super) fn pg_roles(source: &dyn Source) -> Made {
    let cluster = source.cluster();
    let row = |role: &crate::engine::cluster::RoleRow| {
        vec![
            text(&role.name),
            int(role.superuser),
            int(role.inherit),
            int(role.create_role),
            int(role.create_database),
            int(role.login),
            int(role.replication),
            int(role.connection_limit),
            text("********"),
            role.valid_until_us.map_or(Value::Null, Value::Int),
            int(role.bypass_row_security),
            stored(&cluster, 0, role.oid),
            int(role.oid),
        ]
    };
    Ok(cluster.roles().iter().map(row).collect())
}

/// What is stored for a database and a role, as `name=value`.
fn stored(cluster: &Snapshot, database: u32, role: u32) -> Value {
    let settings: Vec<String> =
        cluster.settings_at(database, role).iter().map(|row| format!("{}={}", row.name, row.value)).collect();
    if settings.is_empty() {
        return Value::Null;
    }
    text(types::array::from_elements(settings.iter().map(|setting| Some(setting.as_str()))))
}

pub(super) fn pg_db_role_setting(source: &dyn Source) -> Made {
    let cluster = source.cluster();
    let row = |(database, role)| vec![int(database), int(role), stored(&cluster, database, role)];
    Ok(cluster.settings_keys().map(row).collect())
}

pub(super) fn pg_user(source: &dyn Source) -> Made {
    let cluster = source.cluster();
    let row = |role: &crate::engine::cluster::RoleRow| {
        vec![
            text(&role.name),
            int(role.oid),
            int(role.create_database),
            int(role.superuser),
            int(role.replication),
            int(role.bypass_row_security),
            text("********"),
            role.valid_until_us.map_or(Value::Null, Value::Int),
            stored(&cluster, 0, role.oid),
        ]
    };
    Ok(cluster.roles().iter().filter(|role| role.login).map(row).collect())
}

pub(super) fn pg_auth_members(source: &dyn Source) -> Made {
    Ok(source
        .cluster()
        .members()
        .iter()
        .map(|grant| {
            let options = [grant.admin, grant.inherit, grant.set].map(int);
            let mut row: Vec<Value> = [grant.oid, grant.role, grant.member, grant.grantor].map(int).into();
            row.extend(options);
            row
        })
        .collect())
}

pub(super) fn pg_am(_: &dyn Source) -> Made {
    Ok(vec![vec![int(2), text("heap"), int(3), text("t")], vec![int(403), text("btree"), int(330), text("i")]])
}

pub(super) fn pg_tablespace(_: &dyn Source) -> Made {
    let row = |oid: i64, name: &str| vec![int(oid), text(name), int(10), Value::Null, Value::Null];
    Ok(vec![row(1663, "pg_default"), row(1664, "pg_global")])
}

pub(super) fn pg_description(source: &dyn Source) -> Made {
    let schemas: Vec<u32> = source.schemas()?.into_iter().map(|schema| schema.oid).collect();
    let row = |(oid, attribute, comment): (u32, i64, String)| {
        let class = if schemas.contains(&oid) { 2615 } else { 1259 };
        vec![int(oid), int(class), int(attribute), text(comment)]
    };
    Ok(source.comments()?.into_iter().map(row).collect())
}

pub(super) fn pg_collation(_: &dyn Source) -> Made {
    let row = |oid: i64, name: &str| {
        vec![int(oid), text(name), int(11), int(10), text("c"), int(1), int(-1), text("C"), text("C")]
    };
    Ok(vec![row(100, "default"), row(950, "C"), row(951, "POSIX")])
}

pub(super) fn pg_tables(source: &dyn Source) -> Made {
    let all = Surroundings::of(source)?;
    let rows = all.relations.iter().filter(|relation| matches!(kind(relation), "r" | "p")).map(|relation| {
        vec![
            text(&relation.schema),
            text(&relation.name),
            all.role_name(relation.owner),
            Value::Null,
            int(!relation.indexes.is_empty()),
            int(0),
            int(0),
            int(0),
        ]
    });
    Ok(rows.collect())
}

pub(super) fn information_tables(source: &dyn Source) -> Made {
    let all = Surroundings::of(source)?;
    let rights = source.rights();
    let is_told =
        |relation: &&Rc<Relation>| relation.kind != RelationKind::Sequence && privileges::tells_of(&rights, relation);
    let rows = all.relations.iter().filter(is_told).map(|relation| {
        let kind = match kind(relation) {
            "v" => "VIEW",
            _ if relation.temporary => "LOCAL TEMPORARY",
            _ => "BASE TABLE",
        };
        vec![Value::Null, text(&relation.schema), text(&relation.name), text(kind)]
    });
    Ok(rows.collect())
}

pub(super) fn information_columns(source: &dyn Source) -> Made {
    let mut rows = Vec::new();
    let rights = source.rights();
    for relation in Surroundings::of(source)?.relations {
        for (index, column) in relation.columns.iter().enumerate().filter(|(_, column)| !column.dropped) {
            if !privileges::tells_of_column(&rights, &relation, index) {
                continue;
            }
            rows.push(vec![
                Value::Null,
                text(&relation.schema),
                text(&relation.name),
                text(&column.name),
                int(index as i64 + 1),
                match &column.default {
                    Some(default) => source.function("pg_get_expr", &[Datum::Text(default)])?,
                    None => Value::Null,
                },
                text(if column.not_null { "NO" } else { "YES" }),
                text(format_type(column.type_, -1)),
            ]);
        }
    }
    Ok(rows)
}

pub(super) fn information_schemata(source: &dyn Source) -> Made {
    let cluster = source.cluster();
    let owner = |oid: u32| cluster.role_by_oid(oid).map_or(Value::Null, |role| text(&role.name));
    let row = |schema: Schema| vec![Value::Null, text(schema.name), owner(schema.owner)];
    let rights = source.rights();
    let is_told = |schema: &Schema| {
        rights.owns(schema.owner)
            || !rights.held(rights.role, Object::Schema(schema), crate::sql::acl::Kind::Schema.all()).is_empty()
    };
    Ok(source.schemas()?.into_iter().filter(is_told).map(row).collect())
}
