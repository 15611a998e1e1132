//! Privileges as catalogs and functions show them: acl columns, has_*_privilege(), aclexplode(), information_schema.

use super::{MadeRows, Source, functions};
use crate::engine::cluster::{Snapshot, membership::Membership};
use crate::engine::sqlite::catalog::StoredCatalog;
use crate::engine::sqlite::rights::{Object, Rights, kind_of, live_columns};
use crate::error::{Condition, Error};
use crate::sql::acl::{Acl, Item, Kind, PUBLIC, Privileges};
use crate::sql::catalog::{Catalog, Relation, RelationKind};
use crate::sql::types::{Datum, Type, Value, array};

/// A list as an acl column shows it.
pub(super) fn acl(cluster: &Snapshot, list: Option<&Acl>) -> Value {
    list.map_or(Value::Null, |list| Value::Text(list.to_text(|oid| role_name(cluster, oid))))
}

fn role_name(cluster: &Snapshot, oid: u32) -> Option<String> {
    cluster.role_by_oid(oid).map(|role| role.name.clone())
}

pub(super) fn pg_default_acl(source: &dyn Source) -> MadeRows {
    let cluster = source.cluster();
    let row = |default: crate::engine::sqlite::catalog::DefaultAcl| {
        vec![
            Value::Int(i64::from(default.oid)),
            Value::Int(i64::from(default.role)),
            Value::Int(i64::from(default.schema)),
            Value::Text(default.kind.letter().to_string()),
            acl(&cluster, Some(&default.acl)),
        ]
    };
    Ok(source.default_acls()?.into_iter().map(row).collect())
}

/// Answers the functions about privileges; `None` for others.
pub fn call(catalog: &StoredCatalog<'_>, name: &str, arguments: &[Datum<'_>]) -> Option<Result<Value, Error>> {
    Some(match name {
        "acldefault" => default_list(catalog.rights, arguments),
        "makeaclitem" => make_item(catalog.rights, arguments),
        "aclexplode_rows" => exploded(catalog.rights, arguments),
        "aclcontains" => contains(catalog.rights, arguments),
        _ => {
            let kind = name.strip_prefix("has_")?.strip_suffix("_privilege")?;
            has(catalog, kind, arguments)
        }
    })
}

/// has_*_privilege(): `[user,] object [, column], privileges`.
fn has(catalog: &StoredCatalog<'_>, kind: &str, arguments: &[Datum<'_>]) -> Result<Value, Error> {
    let rights = catalog.rights;
    let columns = usize::from(kind == "column");
    let [rest @ .., Datum::Text(words)] = arguments else { return Ok(Value::Null) };
    let (role, rest) = match rest.len().checked_sub(1 + columns) {
        Some(0) => (rights.role, rest),
        Some(1) => (role_or_public(rights, &rest[0])?, &rest[1..]),
        _ => return Ok(Value::Null),
    };
    let Some(object) = rest.first() else { return Ok(Value::Null) };
    let truth = |found: bool| Ok(Value::Int(i64::from(found)));
    match kind {
        "table" | "any_column" | "sequence" | "column" => {
            let Some(relation) = relation_of(catalog, object)? else { return Ok(Value::Null) };
            match kind {
                "sequence" => {
                    if relation.kind != RelationKind::Sequence {
                        let message = format!("\"{}\" is not a sequence", relation.name);
                        return Err(Error::new(Condition::WrongObjectType, message));
                    }
                    truth(asked(words, Kind::Sequence)?.on(rights, role, Object::Relation(&relation)))
                }
                "table" => truth(asked(words, Kind::Table)?.on(rights, role, Object::Relation(&relation))),
                "any_column" => {
                    let asked = asked(words, Kind::Column)?;
                    let any = live_columns(&relation).any(|at| asked.on(rights, role, Object::Column(&relation, at)));
                    truth(any || asked.on(rights, role, Object::Relation(&relation)))
                }
                _ => {
                    let Some(at) = column_of(&relation, rest.get(1))? else { return Ok(Value::Null) };
                    let asked = asked(words, Kind::Column)?;
                    let by_table = asked.on(rights, role, Object::Relation(&relation));
                    truth(by_table || asked.on(rights, role, Object::Column(&relation, at)))
                }
            }
        }
        "schema" => {
            let schemas = catalog.all_schemas()?;
            let found = match object {
                Datum::Text(name) => Some(schemas.iter().find(|schema| schema.name == *name).ok_or_else(|| {
                    Error::new(Condition::InvalidSchemaName, format!("schema \"{name}\" does not exist"))
                })?),
                other => oid_of(other).and_then(|oid| schemas.iter().find(|schema| schema.oid == oid)),
            };
            let asked = asked(words, Kind::Schema)?;
            found.map_or(Ok(Value::Null), |schema| truth(asked.on(rights, role, Object::Schema(schema))))
        }
        "database" => {
            let databases = rights.cluster().databases();
            let found = match object {
                Datum::Text(name) => {
                    Some(databases.iter().find(|database| database.name == *name).ok_or_else(|| {
                        Error::new(Condition::InvalidCatalogName, format!("database \"{name}\" does not exist"))
                    })?)
                }
                other => oid_of(other).and_then(|oid| databases.iter().find(|database| database.oid == oid)),
            };
            let asked = asked(words, Kind::Database)?;
            found.map_or(Ok(Value::Null), |database| truth(asked.on(rights, role, Object::Database(database))))
        }
        "function" => {
            let asked = asked(words, Kind::Function)?;
            let known = match object {
                Datum::Text(signature) => {
                    let name = signature.split('(').next().unwrap_or("").trim().trim_start_matches("pg_catalog.");
                    if !crate::sql::functions::known::is_known(&name.to_lowercase()) {
                        let message = format!("function \"{signature}\" does not exist");
                        return Err(Error::new(Condition::UndefinedFunction, message));
                    }
                    true
                }
                other => oid_of(other).is_some_and(|oid| oid < crate::engine::sqlite::catalog::FIRST_OID),
            };
            if known { truth(asked.is_plain() || rights.cluster().is_superuser(role)) } else { Ok(Value::Null) }
        }
        "type" => {
            let asked = asked(words, Kind::Type)?;
            let known = match object {
                Datum::Text(name) => crate::sql::types::parse_name(name)
                    .ok_or_else(|| crate::sql::types::missing_type(name))
                    .map(Some)?,
                other => oid_of(other).and_then(Type::from_oid),
            };
            match known {
                Some(_) => truth(asked.is_plain() || rights.cluster().is_superuser(role)),
                None => Ok(Value::Null),
            }
        }
        "tablespace" => {
            let asked = asked(words, Kind::Tablespace)?;
            let known = match object {
                Datum::Text(name) if !matches!(*name, "pg_default" | "pg_global") => {
                    let message = format!("tablespace \"{name}\" does not exist");
                    return Err(Error::new(Condition::UndefinedObject, message));
                }
                Datum::Text(_) => true,
                other => oid_of(other).is_some_and(|oid| oid == 1663 || oid == 1664),
            };
            let _ = asked;
            if known { truth(rights.cluster().is_superuser(role)) } else { Ok(Value::Null) }
        }
        _ => Err(Error::unsupported(format!("has_{kind}_privilege()"))),
    }
}

/// Privileges that a function was asked about: one of them is enough.
struct Asked {
    held: Privileges,
    grantable: Privileges,
}

impl Asked {
    fn on(&self, rights: &Rights, role: u32, object: Object<'_>) -> bool {
        let any = |wanted: Privileges, found: Privileges| !found.and(wanted).is_empty();
        any(self.held, rights.held(role, object, self.held))
            || any(self.grantable, rights.grantable(role, object, self.grantable))
    }

    /// Whether one is enough that everybody has.
    fn is_plain(&self) -> bool {
        !self.held.is_empty()
    }
}

fn asked(words: &str, kind: Kind) -> Result<Asked, Error> {
    let mut asked = Asked { held: Privileges::NONE, grantable: Privileges::NONE };
    for chunk in words.split(',').map(str::trim) {
        let upper = chunk.to_uppercase();
        let (word, grants) = match upper.strip_suffix(" WITH GRANT OPTION") {
            Some(word) => (word, true),
            None => (upper.as_str(), false),
        };
        let privilege = Privileges::named(word).filter(|one| kind.all().contains(*one));
        // An old word for what is there no more.
        let privilege = if kind == Kind::Table && word == "RULE" { Some(Privileges::NONE) } else { privilege };
        let Some(privilege) = privilege else {
            let message = format!("unrecognized privilege type: \"{chunk}\"");
            return Err(Error::new(Condition::InvalidParameterValue, message));
        };
        let sum = if grants { &mut asked.grantable } else { &mut asked.held };
        *sum = sum.or(privilege);
    }
    Ok(asked)
}

fn oid_of(argument: &Datum<'_>) -> Option<u32> {
    if let Datum::Int(oid) = argument { u32::try_from(*oid).ok() } else { None }
}

fn missing_role(name: &str) -> Error {
    Error::new(Condition::UndefinedObject, format!("role \"{name}\" does not exist"))
}

fn role_or_public(rights: &Rights, argument: &Datum<'_>) -> Result<u32, Error> {
    match argument {
        Datum::Text("public") => Ok(PUBLIC),
        Datum::Text(name) => rights.cluster().role_row(name).map(|role| role.oid).ok_or_else(|| missing_role(name)),
        other => Ok(oid_of(other).unwrap_or(PUBLIC)),
    }
}

fn relation_of(catalog: &StoredCatalog<'_>, argument: &Datum<'_>) -> Result<Option<std::rc::Rc<Relation>>, Error> {
    let oid = match argument {
        Datum::Text(_) => functions::call(catalog, catalog.rights.cluster(), "regclassin", &[*argument])?,
        Datum::Int(oid) => Value::Int(*oid),
        _ => return Ok(None),
    };
    let Value::Int(oid) = oid else { return Ok(None) };
    u32::try_from(oid).map_or(Ok(None), |oid| catalog.relation_by_oid(oid))
}

fn column_of(relation: &Relation, argument: Option<&Datum<'_>>) -> Result<Option<usize>, Error> {
    Ok(match argument {
        Some(Datum::Text(name)) => {
            let at = live_columns(relation).find(|at| relation.columns[*at].name == *name);
            Some(at.ok_or_else(|| {
                let message = format!("column \"{name}\" of relation \"{}\" does not exist", relation.name);
                Error::new(Condition::UndefinedColumn, message)
            })?)
        }
        Some(Datum::Int(number)) => {
            let at = usize::try_from(*number - 1).ok();
            at.filter(|at| relation.columns.get(*at).is_some_and(|column| !column.dropped))
        }
        _ => None,
    })
}

/// acldefault("char", oid)
fn default_list(rights: &Rights, arguments: &[Datum<'_>]) -> Result<Value, Error> {
    let [Datum::Text(letter), owner] = arguments else { return Ok(Value::Null) };
    let kind = match *letter {
        "c" => Kind::Column,
        "r" => Kind::Table,
        "s" => Kind::Sequence,
        "d" => Kind::Database,
        "f" => Kind::Function,
        "l" => Kind::Language,
        "L" => Kind::LargeObject,
        "n" => Kind::Schema,
        "p" => Kind::Parameter,
        "t" => Kind::Tablespace,
        "F" => Kind::ForeignDataWrapper,
        "S" => Kind::ForeignServer,
        "T" => Kind::Type,
        other => return Err(Error::internal(format!("unrecognized objtype abbreviation: {other}"))),
    };
    Ok(acl(rights.cluster(), Some(&Acl::default_of(kind, oid_of(owner).unwrap_or(0)))))
}

/// makeaclitem(grantee, grantor, privileges, grantable)
fn make_item(rights: &Rights, arguments: &[Datum<'_>]) -> Result<Value, Error> {
    let [grantee, grantor, Datum::Text(words), Datum::Int(grants)] = arguments else { return Ok(Value::Null) };
    let privileges = Privileges::named(words.trim()).ok_or_else(|| {
        Error::new(Condition::InvalidParameterValue, format!("unrecognized privilege type: \"{words}\""))
    })?;
    let item = Item {
        grantee: oid_of(grantee).unwrap_or(PUBLIC),
        grantor: oid_of(grantor).unwrap_or(0),
        privileges,
        grantable: if *grants != 0 { privileges } else { Privileges::NONE },
    };
    Ok(Value::Text(item.to_text(|oid| role_name(rights.cluster(), oid))))
}

/// The items of an array of aclitem.
fn items(rights: &Rights, text: &str) -> Result<Vec<Item>, Error> {
    let oid = |name: &str| {
        let role = rights.cluster().role_row(name).map(|role| role.oid);
        // A role that is gone is shown by its number.
        role.or_else(|| name.parse().ok())
    };
    array::elements(text)?.into_iter().flatten().map(|item| Item::parse(&item, oid)).collect()
}

/// The rows of aclexplode(), each an array of JSON: grantor, grantee, privilege, whether it may be passed on.
fn exploded(rights: &Rights, arguments: &[Datum<'_>]) -> Result<Value, Error> {
    let [Datum::Text(list)] = arguments else { return Ok(Value::Text("[]".to_owned())) };
    let mut rows = Vec::new();
    for item in items(rights, list)? {
        for (privilege, word) in item.privileges.or(item.grantable).each() {
            let grants = u8::from(item.grantable.contains(privilege));
            rows.push(format!("[{},{},\"{word}\",{grants}]", item.grantor, item.grantee));
        }
    }
    Ok(Value::Text(format!("[{}]", rows.join(","))))
}

/// aclcontains(aclitem[], aclitem)
fn contains(rights: &Rights, arguments: &[Datum<'_>]) -> Result<Value, Error> {
    let [Datum::Text(list), Datum::Text(one)] = arguments else { return Ok(Value::Null) };
    let wanted = items(rights, &array::from_elements([Some(*one)]))?;
    let list = items(rights, list)?;
    let found = wanted.iter().all(|wanted| {
        list.iter().any(|item| {
            item.grantee == wanted.grantee
                && item.grantor == wanted.grantor
                && item.privileges.contains(wanted.privileges)
                && item.grantable.contains(wanted.grantable)
        })
    });
    Ok(Value::Int(i64::from(found)))
}

/// What information_schema's views of privileges are made from.
struct Shown {
    rights: std::rc::Rc<Rights>,
    relations: Vec<std::rc::Rc<Relation>>,
    catalog: Value,
}

impl Shown {
    fn of(source: &dyn Source) -> Result<Self, Error> {
        let mut relations = source.relations()?;
        relations.extend(super::all().iter().cloned());
        Ok(Self { rights: source.rights(), relations, catalog: database_name(source) })
    }

    fn has(&self, role: u32) -> bool {
        self.rights.owns(role)
    }

    /// A role's name, PUBLIC; `None` for one that is gone.
    fn name(&self, role: u32) -> Option<Value> {
        if role == PUBLIC {
            return Some(Value::Text("PUBLIC".to_owned()));
        }
        role_name(self.rights.cluster(), role).map(Value::Text)
    }

    /// Whether a grant is shown: to those who gave it, who have it, and to everybody if everybody has it. Where only
    /// `roles` count, not the last.
    fn is_shown(&self, item: &Item, roles_only: bool) -> bool {
        let granted = item.grantee == PUBLIC && !roles_only || item.grantee != PUBLIC && self.has(item.grantee);
        granted || self.has(item.grantor)
    }

    /// The rows of each privilege among `which` that a list gives.
    fn rows(
        &self,
        list: &Acl,
        (owner, which): (u32, Privileges),
        roles_only: bool,
        mut row: impl FnMut(Value, Value, &'static str, Value),
    ) {
        for item in list.0.iter().filter(|item| self.is_shown(item, roles_only)) {
            let (Some(grantor), Some(grantee)) = (self.name(item.grantor), self.name(item.grantee)) else { continue };
            for (privilege, word) in item.privileges.and(which).each() {
                // The owner may always pass it on.
                let may = item.grantable.contains(privilege)
                    || item.grantee != PUBLIC && self.rights.cluster().has_privileges_of(item.grantee, owner);
                row(grantor.clone(), grantee.clone(), word, yes_or_no(may));
            }
        }
    }
}

fn yes_or_no(yes: bool) -> Value {
    Value::Text(if yes { "YES" } else { "NO" }.to_owned())
}

fn database_name(source: &dyn Source) -> Value {
    let rights = source.rights();
    let databases = rights.cluster().databases();
    let found = databases.iter().find(|database| database.oid == rights.database);
    found.map_or(Value::Null, |database| Value::Text(database.name.clone()))
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn tables(source: &dyn Source, roles_only: bool) -> MadeRows {
    let shown = Shown::of(source)?;
    let mut rows = Vec::new();
    for relation in shown.relations.iter().filter(|relation| kind_of(relation) == Kind::Table) {
        let list = Acl::in_force(Object::Relation(relation).acl().as_ref(), Kind::Table, relation.owner);
        shown.rows(&list, (relation.owner, Kind::Table.all()), roles_only, |grantor, grantee, word, may| {
            rows.push(vec![
                grantor,
                grantee,
                shown.catalog.clone(),
                text(&relation.schema),
                text(&relation.name),
                text(word),
                may,
                yes_or_no(word == "SELECT"),
            ]);
        });
    }
    Ok(rows)
}

pub(super) fn table_privileges(source: &dyn Source) -> MadeRows {
    tables(source, false)
}

pub(super) fn role_table_grants(source: &dyn Source) -> MadeRows {
    tables(source, true)
}

fn columns(source: &dyn Source, roles_only: bool) -> MadeRows {
    let shown = Shown::of(source)?;
    let mut rows: Vec<Vec<Value>> = Vec::new();
    for relation in shown.relations.iter().filter(|relation| kind_of(relation) == Kind::Table) {
        let of_table = Acl::in_force(Object::Relation(relation).acl().as_ref(), Kind::Table, relation.owner);
        for at in live_columns(relation) {
            let column = &relation.columns[at];
            let mut items = of_table.0.clone();
            items.extend(column.acl.iter().flat_map(|acl| acl.0.iter().copied()));
            let wanted = (relation.owner, Kind::Column.all());
            shown.rows(&Acl(items), wanted, roles_only, |grantor, grantee, word, may| {
                let row = vec![
                    grantor,
                    grantee,
                    shown.catalog.clone(),
                    text(&relation.schema),
                    text(&relation.name),
                    text(&column.name),
                    text(word),
                    may,
                ];
                // A table's grant and a column's may say the same.
                let starts_here = rows.iter().rposition(|known| known[4] != row[4] || known[5] != row[5]);
                if !rows[starts_here.map_or(0, |at| at + 1)..].contains(&row) {
                    rows.push(row);
                }
            });
        }
    }
    Ok(rows)
}

pub(super) fn column_privileges(source: &dyn Source) -> MadeRows {
    columns(source, false)
}

pub(super) fn role_column_grants(source: &dyn Source) -> MadeRows {
    columns(source, true)
}

fn usage(source: &dyn Source, roles_only: bool) -> MadeRows {
    let shown = Shown::of(source)?;
    let mut rows = Vec::new();
    for sequence in shown.relations.iter().filter(|relation| kind_of(relation) == Kind::Sequence) {
        let list = Acl::in_force(sequence.acl.as_ref(), Kind::Sequence, sequence.owner);
        shown.rows(&list, (sequence.owner, Privileges::USAGE), roles_only, |grantor, grantee, word, may| {
            rows.push(vec![
                grantor,
                grantee,
                shown.catalog.clone(),
                text(&sequence.schema),
                text(&sequence.name),
                text("SEQUENCE"),
                text(word),
                may,
            ]);
        });
    }
    Ok(rows)
}

pub(super) fn usage_privileges(source: &dyn Source) -> MadeRows {
    usage(source, false)
}

pub(super) fn role_usage_grants(source: &dyn Source) -> MadeRows {
    usage(source, true)
}

pub(super) fn enabled_roles(source: &dyn Source) -> MadeRows {
    let rights = source.rights();
    let roles = rights.cluster().roles().iter().filter(|role| rights.owns(role.oid));
    Ok(roles.map(|role| vec![text(&role.name)]).collect())
}

pub(super) fn applicable_roles(source: &dyn Source) -> MadeRows {
    memberships(source, |_| true)
}

pub(super) fn administrable_roles(source: &dyn Source) -> MadeRows {
    memberships(source, |grant| grant.admin)
}

fn memberships(source: &dyn Source, which: impl Fn(&Membership) -> bool) -> MadeRows {
    let rights = source.rights();
    let cluster = rights.cluster();
    let mut rows = Vec::new();
    for grant in cluster.members().iter().filter(|grant| which(grant) && rights.owns(grant.member)) {
        if let (Some(member), Some(role)) = (role_name(cluster, grant.member), role_name(cluster, grant.role)) {
            rows.push(vec![Value::Text(member), Value::Text(role), yes_or_no(grant.admin)]);
        }
    }
    Ok(rows)
}

/// Whether information_schema tells the session of a relation: its owner's, or some privilege on it.
pub(super) fn tells_of(rights: &Rights, relation: &Relation) -> bool {
    let of_columns = || Kind::Column.all().each().any(|(one, _)| rights.on_any_column(rights.role, relation, one));
    rights.owns(relation.owner)
        || !rights.held(rights.role, Object::Relation(relation), kind_of(relation).all()).is_empty()
        || of_columns()
}

/// The same of a column.
pub(super) fn tells_of_column(rights: &Rights, relation: &Relation, at: usize) -> bool {
    let any = |one| rights.on_column(rights.role, relation, at, one);
    rights.owns(relation.owner) || Kind::Column.all().each().any(|(one, _)| any(one))
}
