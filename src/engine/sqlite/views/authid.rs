//! Roles as the catalog has them, verifiers of passwords included: for superusers only (`rights::is_restricted`).

use super::{MadeRows, Source};
use crate::engine::cluster::RoleRow;
use crate::sql::types::Value;

fn int(value: impl Into<i64>) -> Value {
    Value::Int(value.into())
}

fn password(role: &RoleRow) -> Value {
    role.password.clone().map_or(Value::Null, Value::Text)
}

fn valid_until(role: &RoleRow) -> Value {
    role.valid_until_us.map_or(Value::Null, Value::Int)
}

pub(super) fn pg_authid(source: &dyn Source) -> MadeRows {
    let row = |role: &RoleRow| {
        vec![
            int(role.oid),
            Value::Text(role.name.clone()),
            int(role.superuser),
            int(role.inherit),
            int(role.create_role),
            int(role.create_database),
            int(role.login),
            int(role.replication),
            int(role.bypass_row_security),
            int(role.connection_limit),
            password(role),
            valid_until(role),
        ]
    };
    Ok(source.cluster().roles().iter().map(row).collect())
}

pub(super) fn pg_shadow(source: &dyn Source) -> MadeRows {
    let row = |role: &RoleRow| {
        vec![
            Value::Text(role.name.clone()),
            int(role.oid),
            int(role.create_database),
            int(role.superuser),
            int(role.replication),
            int(role.bypass_row_security),
            password(role),
            valid_until(role),
            Value::Null,
        ]
    };
    Ok(source.cluster().roles().iter().filter(|role| role.login).map(row).collect())
}

pub(super) fn pg_group(source: &dyn Source) -> MadeRows {
    let cluster = source.cluster();
    let row = |role: &RoleRow| {
        let members = cluster.members().iter().filter(|grant| grant.role == role.oid);
        let members: Vec<String> = members.map(|grant| grant.member.to_string()).collect();
        vec![Value::Text(role.name.clone()), int(role.oid), Value::Text(format!("{{{}}}", members.join(",")))]
    };
    Ok(cluster.roles().iter().filter(|role| !role.login).map(row).collect())
}
