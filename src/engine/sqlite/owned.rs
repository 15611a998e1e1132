//! What depends on a role in one database: what it owns, what was granted to it or by it, its default privileges.

use super::catalog::StoredCatalog;
use super::rights::relation_word;
use crate::error::Error;

/// Each thing that depends on a role, as DROP ROLE's DETAIL lists it.
pub fn dependents(catalog: &StoredCatalog<'_>, role: u32) -> Result<Vec<String>, Error> {
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
            lines.push((relation.oid, format!("owner of {shown}")));
        } else if relation.acl.as_ref().is_some_and(|acl| acl.names(role)) {
            lines.push((relation.oid, format!("privileges for {shown}")));
        }
        for column in relation.columns.iter().filter(|column| !column.dropped && !owned) {
            if column.acl.as_ref().is_some_and(|acl| acl.names(role)) {
                lines.push((relation.oid, format!("privileges for column {} of {shown}", column.name)));
            }
        }
    }
    lines.sort_by_key(|(oid, _)| *oid);
    Ok(lines.into_iter().map(|(_, line)| line).collect())
}
