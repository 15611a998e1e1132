//! What depends on a role in one database: what it owns, what was granted to it or by it, its default privileges.

use super::catalog::StoredCatalog;
use super::rights::relation_word;
use crate::error::Error;
use crate::sql::acl::Kind;
use crate::sql::catalog::Relation;

/// Each thing that depends on a role, as DROP ROLE's DETAIL lists it, with its OID.
pub fn dependents(catalog: &StoredCatalog<'_>, role: u32) -> Result<Vec<(u32, String)>, Error> {
    let mut lines = Vec::new();
    for schema in catalog.schemas()?.iter() {
        if schema.owner == role {
            lines.push((schema.oid, format!("owner of schema {}", schema.name)));
        } else if schema.acl.as_ref().is_some_and(|acl| acl.names(role)) {
            lines.push((schema.oid, format!("privileges for schema {}", schema.name)));
        }
    }
    for relation in catalog.relations()? {
        let shown = format!("{} {}", relation_word(&relation), catalog.shown_name(&relation)?);
        let owned = relation.owner == role;
        if owned {
            lines.push((order(&relation), format!("owner of {shown}")));
        } else if relation.acl.as_ref().is_some_and(|acl| acl.names(role)) {
            lines.push((order(&relation), format!("privileges for {shown}")));
        }
        for column in relation.columns.iter().filter(|column| !column.dropped && !owned) {
            if column.acl.as_ref().is_some_and(|acl| acl.names(role)) {
                lines.push((order(&relation), format!("privileges for column {} of {shown}", column.name)));
            }
        }
    }
    for default in catalog.default_acls()? {
        let what = match default.kind {
            Kind::Table => "relations",
            Kind::Sequence => "sequences",
            Kind::Function => "functions",
            Kind::Type => "types",
            _ => "schemas",
        };
        let owner = catalog.rights.name_of(default.role);
        let schemas = catalog.schemas()?;
        let schema = schemas.iter().find(|schema| schema.oid == default.schema);
        let schema = schema.map_or(String::new(), |schema| format!(" in schema {}", schema.name));
        let shown = format!("default privileges on new {what} belonging to role {owner}{schema}");
        if default.role == role {
            lines.push((default.oid, format!("owner of {shown}")));
        } else if default.acl.names(role) {
            lines.push((default.oid, format!("privileges for {shown}")));
        }
    }
    Ok(lines)
}

/// Oldest first; OIDs of temporary relations count down.
fn order(relation: &Relation) -> u32 {
    if relation.temporary { u32::MAX / 2 + (u32::MAX - relation.oid) } else { relation.oid }
}
