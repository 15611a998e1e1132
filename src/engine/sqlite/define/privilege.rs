//! GRANT and REVOKE on tables, columns, sequences and schemas; default privileges; owners; what belongs to a role.

use std::rc::Rc;

use super::{Definer, missing_schema};
use crate::engine::sqlite::catalog::{DefaultAcl, Schema};
use crate::engine::sqlite::grant::{self, Grant};
use crate::engine::sqlite::rights::{Object, kind_of, live_columns};
use crate::error::{Condition, Error};
use crate::sql::acl::{Acl, Kind, Privileges};
use crate::sql::catalog::{Relation, RelationKind, SequenceOwner};
use crate::sql::define::{Name, PrivilegeChange, PrivilegeTarget, RoleName};

/// The pseudo-schema of default privileges that hold in all.
const EVERY_SCHEMA: u32 = 0;

impl Definer<'_> {
    /// GRANT or REVOKE.
    pub(super) fn change_privileges(&mut self, change: &PrivilegeChange) -> Result<(), Error> {
        let rights = self.context.rights;
        grant::check_grantor(rights, change.grantor.as_ref())?;
        match &change.target {
            PrivilegeTarget::Relations { kind, names } => {
                let relations = names.iter().map(|name| self.grantable(name)).collect::<Result<Vec<_>, _>>()?;
                let grant = grant::resolve(rights, change, *kind)?;
                relations.iter().try_for_each(|relation| self.grant_on_relation(relation, *kind, &grant))
            }
            PrivilegeTarget::AllIn { kind, schemas } => {
                let relations = self.all_in(schemas, *kind)?;
                let grant = grant::resolve(rights, change, *kind)?;
                relations.iter().try_for_each(|relation| self.grant_on_relation(relation, *kind, &grant))
            }
            PrivilegeTarget::Schemas(names) => {
                let schemas = names.iter().map(|name| self.require_schema(name)).collect::<Result<Vec<_>, _>>()?;
                let grant = grant::resolve(rights, change, Kind::Schema)?;
                schemas.iter().try_for_each(|schema| self.grant_on_schema(schema, &grant))
            }
            PrivilegeTarget::Databases(_) | PrivilegeTarget::Defaults(_) => {
                Err(Error::internal("privileges of another kind came to the database's catalog"))
            }
        }
    }

    /// The relation of that name, or 42809 for an index.
    fn grantable(&self, name: &Name) -> Result<Rc<Relation>, Error> {
        if self.find(name)?.is_none() && self.catalog().relation_of_index(name.schema.as_deref(), &name.name)?.is_some()
        {
            return Err(Error::new(Condition::WrongObjectType, format!("\"{}\" is an index", name.name)));
        }
        self.require(name)
    }

    fn require_schema(&self, name: &str) -> Result<Schema, Error> {
        let all = self.catalog().all_schemas()?;
        all.into_iter().find(|schema| schema.name == name).ok_or_else(|| missing_schema(name))
    }

    /// The relations of some schemas that ALL … IN SCHEMA means.
    fn all_in(&self, schemas: &[String], kind: Kind) -> Result<Vec<Rc<Relation>>, Error> {
        use crate::sql::catalog::Catalog;
        let mut found = Vec::new();
        for name in schemas {
            self.require_schema(name)?;
            self.catalog().require_usable(name)?;
            let all = self.catalog().relations()?.into_iter();
            found.extend(all.filter(|relation| relation.schema == *name && kind_of(relation) == kind));
        }
        Ok(found)
    }

    fn grant_on_relation(&mut self, named: &Relation, kind: Kind, grant: &Grant) -> Result<(), Error> {
        let is_sequence = named.kind == RelationKind::Sequence;
        if kind == Kind::Sequence && !is_sequence {
            return Err(super::wrong_kind(named, "a sequence"));
        }
        if named.kind == RelationKind::System {
            return Err(Error::unsupported("privileges on system catalogs"));
        }
        let own = kind_of(named);
        let all = grant.privileges.is_none();
        let mut wanted = grant.privileges.unwrap_or(own.all());
        let beyond = wanted.without(own.all());
        if !beyond.is_empty() {
            if !is_sequence {
                return Err(grant::invalid_privilege(Privileges::USAGE, "table"));
            }
            let message = format!("sequence \"{}\" only supports USAGE, SELECT, and UPDATE privileges", named.name);
            self.outcome.notices.push(("WARNING", Error::new(Condition::InvalidGrantOperation, message)));
            wanted = wanted.and(own.all());
        }
        let mut columns = self.privileges_of_columns(named, grant)?;
        if !grant.grants {
            // What is revoked of the table is revoked of each column.
            for at in live_columns(named) {
                add(&mut columns, at, wanted.and(Kind::Column.all()));
            }
        }
        let mut relation = named.clone();
        let mut warnings = Vec::new();
        let rights = self.context.rights;
        if !wanted.is_empty() {
            let list = grant::apply(rights, Object::Relation(named), grant, wanted, all, &mut warnings)?;
            relation.acl = Some(list);
        }
        let of_columns = wanted.and(Kind::Column.all());
        if !grant.grants && !of_columns.is_empty() && !matches!(named.kind, RelationKind::View { .. }) {
            let warned = grant::warn_of_system_columns(rights, named, of_columns, &mut warnings);
            if warned.is_err() {
                self.outcome.notices.extend(warnings.into_iter().map(|warning| ("WARNING", warning)));
                return warned;
            }
        }
        for (at, privileges) in columns.into_iter().filter(|(_, privileges)| !privileges.is_empty()) {
            let all = privileges == Kind::Column.all();
            let list = grant::apply(rights, Object::Column(named, at), grant, privileges, all, &mut warnings)?;
            relation.columns[at].acl = (!list.0.is_empty()).then_some(list);
        }
        self.outcome.notices.extend(warnings.into_iter().map(|warning| ("WARNING", warning)));
        if relation != *named {
            self.writer().put(&relation)?;
        }
        Ok(())
    }

    /// What is granted on each column.
    fn privileges_of_columns(&mut self, relation: &Relation, grant: &Grant) -> Result<Vec<(usize, Privileges)>, Error> {
        let mut columns = Vec::new();
        for (privileges, names) in &grant.columns {
            let mut privileges = *privileges;
            if let Some((other, _)) = privileges.without(Kind::Column.all()).each().next() {
                return Err(grant::invalid_privilege(other, "column"));
            }
            if relation.kind == RelationKind::Sequence && !Privileges::SELECT.contains(privileges) {
                let message = format!("sequence \"{}\" only supports SELECT column privileges", relation.name);
                self.outcome.notices.push(("WARNING", Error::new(Condition::InvalidGrantOperation, message)));
                privileges = privileges.and(Privileges::SELECT);
            }
            for name in names {
                add(&mut columns, super::column_index(relation, name)?, privileges);
            }
        }
        Ok(columns)
    }

    fn grant_on_schema(&mut self, schema: &Schema, grant: &Grant) -> Result<(), Error> {
        let mut warnings = Vec::new();
        let wanted = grant.privileges.unwrap_or(Kind::Schema.all());
        let all = grant.privileges.is_none();
        let list = grant::apply(self.context.rights, Object::Schema(schema), grant, wanted, all, &mut warnings)?;
        self.outcome.notices.extend(warnings.into_iter().map(|warning| ("WARNING", warning)));
        let Some(stored) = self.catalog().schema(&schema.name)? else {
            return Err(Error::unsupported("privileges on system schemas"));
        };
        if stored.acl.as_ref() == Some(&list) {
            return Ok(());
        }
        self.writer().put_schema(&Schema { acl: Some(list), ..stored })
    }

    /// ALTER DEFAULT PRIVILEGES.
    pub(super) fn change_defaults(
        &mut self,
        roles: &[RoleName],
        schemas: &[String],
        change: &PrivilegeChange,
    ) -> Result<(), Error> {
        let PrivilegeTarget::Defaults(kind) = change.target else {
            return Err(Error::internal("default privileges of named objects"));
        };
        let invalid = |message: &str| Error::new(Condition::InvalidGrantOperation, message);
        let rights = self.context.rights;
        let columns =
            !change.all_columns.is_empty() || change.privileges.iter().any(|(_, columns)| !columns.is_empty());
        let grant = grant::resolve(rights, change, kind)?;
        if columns {
            return Err(invalid("default privileges cannot be set for columns"));
        }
        if kind == Kind::Table
            && let Some((other, _)) = grant.privileges.unwrap_or_default().without(kind.all()).each().next()
        {
            return Err(grant::invalid_privilege(other, "relation"));
        }
        if kind == Kind::Schema && !schemas.is_empty() {
            return Err(invalid("cannot use IN SCHEMA clause when using GRANT/REVOKE ON SCHEMAS"));
        }
        let roles = match roles {
            [] => vec![rights.role],
            named => named.iter().map(|role| rights.resolve(role)).collect::<Result<_, _>>()?,
        };
        for role in &roles {
            rights.require_member(*role)?;
        }
        let mut places = Vec::new();
        for name in schemas {
            places.push(self.require_schema(name)?.oid);
        }
        if places.is_empty() {
            places.push(EVERY_SCHEMA);
        }
        for role in roles {
            for schema in &places {
                self.change_default(role, *schema, kind, &grant)?;
            }
        }
        Ok(())
    }

    fn change_default(&mut self, role: u32, schema: u32, kind: Kind, grant: &Grant) -> Result<(), Error> {
        // In one schema the list says what is added there to the one of all schemas.
        let initial = if schema == EVERY_SCHEMA { Acl::default_of(kind, role) } else { Acl::default() };
        let stored = self.default_acl(role, schema, kind)?;
        let mut acl = stored.as_ref().map_or_else(|| initial.clone(), |stored| stored.acl.clone());
        let wanted = grant.privileges.unwrap_or(kind.all());
        grant::merge(self.context.rights, &mut acl, grant, wanted, (role, role))?;
        acl.0.sort_by_key(|item| (item.grantee, item.grantor));
        if acl.same_as(&initial) {
            return match stored {
                Some(stored) => self.writer().remove_default_acl(stored.oid),
                None => Ok(()),
            };
        }
        let oid = match stored {
            Some(stored) => stored.oid,
            None => self.writer().next_oid(false)?,
        };
        self.writer().put_default_acl(&DefaultAcl { oid, role, schema, kind, acl })
    }

    fn default_acl(&self, role: u32, schema: u32, kind: Kind) -> Result<Option<DefaultAcl>, Error> {
        let same = |known: &DefaultAcl| known.role == role && known.schema == schema && known.kind == kind;
        Ok(self.catalog().default_acls()?.into_iter().find(same))
    }

    /// The list that a new object of the current user gets, by default privileges.
    pub(super) fn initial_acl(&self, kind: Kind, schema: Option<&str>, owner: u32) -> Result<Option<Acl>, Error> {
        let everywhere = self.default_acl(owner, EVERY_SCHEMA, kind)?;
        let schema = schema.map(|name| self.catalog().schema(name)).transpose()?.flatten();
        let here = match schema {
            Some(schema) => self.default_acl(owner, schema.oid, kind)?,
            None => None,
        };
        if everywhere.is_none() && here.is_none() {
            return Ok(None);
        }
        let initial = Acl::default_of(kind, owner);
        let mut acl = everywhere.map_or_else(|| initial.clone(), |stored| stored.acl);
        for item in here.map(|stored| stored.acl.0).unwrap_or_default() {
            acl.grant(self.context.rights.cluster().as_ref(), item, owner)?;
        }
        Ok((!acl.same_as(&initial)).then_some(acl))
    }

    /// ALTER TABLE, VIEW, SEQUENCE … OWNER TO.
    pub(super) fn change_owner(&mut self, relation: &Relation, role: &RoleName) -> Result<(), Error> {
        let owner = self.context.rights.resolve(role)?;
        if owner == relation.owner {
            return Ok(());
        }
        if let (RelationKind::Sequence, SequenceOwner::Column(table, _)) = (&relation.kind, relation.depends.owner) {
            use crate::sql::catalog::Catalog;
            let table = self.catalog().relation_by_oid(table)?.map_or(String::new(), |table| table.name.clone());
            let message = format!("cannot change owner of sequence \"{}\"", relation.name);
            let detail = format!("Sequence \"{}\" is linked to table \"{table}\".", relation.name);
            return Err(Error::new(Condition::FeatureNotSupported, message).detail(detail));
        }
        if !self.context.rights.superuser {
            self.context.rights.require_member(owner)?;
            if let Some(schema) = self.catalog().schema(&relation.schema)? {
                let create = Privileges::CREATE;
                if self.context.rights.held(owner, Object::Schema(&schema), create) != create {
                    return Err(crate::engine::sqlite::rights::denied("schema", &schema.name));
                }
            }
        }
        self.give(relation, owner)
    }

    /// Makes a relation, and the sequences of its columns, somebody else's.
    fn give(&mut self, relation: &Relation, owner: u32) -> Result<(), Error> {
        let mut given = relation.clone();
        let from = std::mem::replace(&mut given.owner, owner);
        for acl in given.columns.iter_mut().map(|column| &mut column.acl).chain([&mut given.acl]).flatten() {
            acl.change_owner(from, owner);
        }
        self.writer().put(&given)?;
        for (_, sequence) in self.owned_sequences(relation)? {
            self.give(&sequence, owner)?;
        }
        Ok(())
    }

    /// ALTER SCHEMA … OWNER TO.
    pub(super) fn change_schema_owner(&mut self, name: &str, role: &RoleName) -> Result<(), Error> {
        let rights = self.context.rights;
        let Some(schema) = self.catalog().schema(name)? else {
            self.require_schema(name)?;
            return Err(Error::unsupported("changing the owner of a system schema"));
        };
        let owner = rights.resolve(role)?;
        if owner == schema.owner {
            return Ok(());
        }
        if !rights.owns(schema.owner) {
            return Err(Error::new(Condition::InsufficientPrivilege, format!("must be owner of schema {name}")));
        }
        rights.require_member(owner)?;
        rights.require_database(Privileges::CREATE)?;
        self.give_schema(&schema, owner)
    }

    fn give_schema(&self, schema: &Schema, owner: u32) -> Result<(), Error> {
        let mut given = schema.clone();
        given.owner = owner;
        if let Some(acl) = &mut given.acl {
            acl.change_owner(schema.owner, owner);
        }
        self.writer().put_schema(&given)
    }

    /// REASSIGN OWNED, as far as this database goes.
    pub(super) fn reassign_owned(&mut self, roles: &[RoleName], to: &RoleName) -> Result<(), Error> {
        let rights = self.context.rights;
        let denied = || Error::new(Condition::InsufficientPrivilege, "permission denied to reassign objects");
        let roles = roles.iter().map(|role| rights.resolve(role)).collect::<Result<Vec<_>, _>>()?;
        if roles.iter().any(|role| !rights.owns(*role)) {
            return Err(denied());
        }
        let to = rights.resolve(to)?;
        if !rights.owns(to) {
            return Err(denied());
        }
        for role in roles {
            self.refuse_pinned(role, "reassign ownership of objects owned by")?;
            for schema in self.catalog().schemas()?.iter().filter(|schema| schema.owner == role) {
                self.give_schema(schema, to)?;
            }
            for relation in self.catalog().relations()?.iter().filter(|relation| relation.owner == role) {
                self.give(relation, to)?;
            }
        }
        Ok(())
    }

    /// DROP OWNED, as far as this database goes: objects are dropped, privileges revoked.
    pub(super) fn drop_owned(&mut self, roles: &[RoleName], cascade: bool) -> Result<(), Error> {
        let rights = self.context.rights;
        let roles = roles.iter().map(|role| rights.resolve(role)).collect::<Result<Vec<_>, _>>()?;
        if roles.iter().any(|role| !rights.owns(*role)) {
            return Err(Error::new(Condition::InsufficientPrivilege, "permission denied to drop objects"));
        }
        for role in &roles {
            self.refuse_pinned(*role, "drop objects owned by")?;
        }
        self.drop_all_of(&roles, cascade)?;
        let of = |acl: &Option<Acl>| acl.as_ref().is_some_and(|acl| roles.iter().any(|role| acl.names(*role)));
        for relation in self.catalog().relations()? {
            if !of(&relation.acl) && !relation.columns.iter().any(|column| of(&column.acl)) {
                continue;
            }
            let mut left = (*relation).clone();
            for role in &roles {
                self.forget(&mut left.acl, *role, relation.owner)?;
                for column in &mut left.columns {
                    self.forget(&mut column.acl, *role, relation.owner)?;
                    column.acl = column.acl.take().filter(|acl| !acl.0.is_empty());
                }
            }
            self.writer().put(&left)?;
        }
        for schema in self.catalog().schemas()?.iter().filter(|schema| of(&schema.acl)) {
            let mut left = schema.clone();
            for role in &roles {
                self.forget(&mut left.acl, *role, schema.owner)?;
            }
            self.writer().put_schema(&left)?;
        }
        for stored in self.catalog().default_acls()? {
            let mut left = stored.clone();
            if roles.contains(&stored.role) {
                self.writer().remove_default_acl(stored.oid)?;
                continue;
            }
            let mut acl = Some(stored.acl.clone());
            for role in &roles {
                self.forget(&mut acl, *role, stored.role)?;
            }
            left.acl = acl.unwrap_or_default();
            if left.acl != stored.acl {
                self.writer().put_default_acl(&left)?;
            }
        }
        Ok(())
    }

    /// Takes everything out of a list that a role has or gave.
    fn forget(&self, acl: &mut Option<Acl>, role: u32, owner: u32) -> Result<(), Error> {
        let Some(acl) = acl else { return Ok(()) };
        if role == owner {
            return Ok(());
        }
        acl.forget(self.context.rights.cluster().as_ref(), role, owner)
    }

    fn refuse_pinned(&self, role: u32, what: &str) -> Result<(), Error> {
        if role != crate::engine::cluster::SUPERUSER_OID {
            return Ok(());
        }
        let name = self.context.rights.name_of(role);
        let message = format!("cannot {what} role {name} because they are required by the database system");
        Err(Error::new(Condition::DependentObjectsStillExist, message))
    }

    /// Drops the relations and schemas of some roles as one DROP does.
    fn drop_all_of(&mut self, roles: &[u32], cascade: bool) -> Result<(), Error> {
        let relations = self.catalog().relations()?;
        let mut objects = Vec::new();
        for relation in relations.iter().filter(|relation| roles.contains(&relation.owner)) {
            objects.push(super::depend::Object::Relation(relation.oid));
        }
        for schema in self.catalog().schemas()?.iter().filter(|schema| roles.contains(&schema.owner)) {
            objects.push(super::depend::Object::Schema(schema.name.clone()));
        }
        if objects.is_empty() { Ok(()) } else { self.drop_objects(&objects, cascade) }
    }

    /// 42501 unless the current user may make things in that schema.
    pub(super) fn require_create(&self, schema: &str) -> Result<(), Error> {
        match self.catalog().schema(schema)? {
            Some(schema) => self.context.rights.require_schema(&schema, Privileges::CREATE),
            None => Ok(()),
        }
    }

    /// 42501 unless the current user may refer to those columns.
    pub(super) fn require_references(&self, relation: &Relation, columns: &[usize]) -> Result<(), Error> {
        let rights = self.context.rights;
        let wanted = Privileges::REFERENCES;
        if rights.superuser || columns.iter().all(|at| rights.on_column(rights.role, relation, *at, wanted)) {
            return Ok(());
        }
        Err(crate::engine::sqlite::rights::denied_relation(relation))
    }
}

fn add(columns: &mut Vec<(usize, Privileges)>, at: usize, privileges: Privileges) {
    match columns.iter_mut().find(|(known, _)| *known == at) {
        Some((_, known)) => *known = known.or(privileges),
        None => columns.push((at, privileges)),
    }
}
