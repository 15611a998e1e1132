//! What a role may do with the objects of the session's database: ownership, granted privileges, predefined roles.
//!
//! Every check of a privilege ends here. The rules are PostgreSQL's (chapter 5.7, "Privileges"; 22.5, "Predefined
//! Roles"); the lists themselves are `sql::acl`'s.

use std::rc::Rc;

use super::catalog::Schema;
use super::session::Identity;
use crate::engine::cluster::{DatabaseRow, Snapshot};
use crate::error::{Condition, Error};
use crate::sql::acl::{Acl, Holder, Kind, Privileges};
use crate::sql::catalog::{Relation, RelationKind};
use crate::sql::define::RoleName;
use crate::sql::plan::Permission;

/// The roles of now, and as which of them the session acts.
#[derive(Debug, Clone, Default)]
pub struct Rights {
    /// current_user.
    pub role: u32,
    /// Its name.
    pub name: String,
    /// Whether it is a superuser.
    pub superuser: bool,
    /// session_user.
    pub session_user: String,
    /// The session's database.
    pub database: u32,
    /// Roles and databases.
    pub cluster: Rc<Snapshot>,
}

/// What a privilege is asked on.
#[derive(Clone, Copy)]
pub enum Object<'a> {
    /// A table, view or sequence.
    Relation(&'a Relation),
    /// A column alone, by its index; what its table grants is not counted.
    Column(&'a Relation, usize),
    /// A schema.
    Schema(&'a Schema),
    /// A database.
    Database(&'a DatabaseRow),
}

impl Object<'_> {
    /// Its kind.
    pub fn kind(self) -> Kind {
        match self {
            Self::Relation(relation) => kind_of(relation),
            Self::Column(..) => Kind::Column,
            Self::Schema(_) => Kind::Schema,
            Self::Database(_) => Kind::Database,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Relation(relation) | Self::Column(relation, _) => &relation.name,
            Self::Schema(schema) => &schema.name,
            Self::Database(database) => &database.name,
        }
    }

    /// Its owner.
    pub fn owner(self) -> u32 {
        match self {
            Self::Relation(relation) | Self::Column(relation, _) => relation.owner,
            Self::Schema(schema) => schema.owner,
            Self::Database(database) => database.owner,
        }
    }

    /// What was granted on it, where anything ever was.
    pub fn acl(self) -> Option<Acl> {
        match self {
            Self::Relation(relation) if is_restricted(relation) => Some(Acl::default_of(Kind::Table, relation.owner)),
            Self::Relation(relation) if relation.kind == RelationKind::System => {
                // Everybody reads what the server shows of itself.
                let mut acl = Acl::default_of(Kind::Table, relation.owner);
                acl.0.push(crate::sql::acl::Item {
                    grantee: crate::sql::acl::PUBLIC,
                    grantor: relation.owner,
                    privileges: Privileges::SELECT,
                    grantable: Privileges::NONE,
                });
                Some(acl)
            }
            Self::Relation(relation) => relation.acl.clone(),
            Self::Column(relation, at) => relation.columns.get(at).and_then(|column| column.acl.clone()),
            Self::Schema(schema) => schema.acl.clone(),
            Self::Database(database) => database.acl.clone(),
        }
    }
}

/// What of the system's own everybody must not read, for there are secrets in it.
fn is_restricted(relation: &Relation) -> bool {
    const RESTRICTED: &[&str] = &["pg_authid", "pg_shadow", "pg_hba_file_rules", "pg_ident_file_mappings"];
    relation.kind == RelationKind::System && RESTRICTED.contains(&relation.name.as_str())
}

/// Of which kind a relation's privileges are.
pub fn kind_of(relation: &Relation) -> Kind {
    if relation.kind == RelationKind::Sequence { Kind::Sequence } else { Kind::Table }
}

impl Rights {
    /// Those of a session that is `identity` now.
    pub fn new(identity: &Identity, session_user: String, cluster: Rc<Snapshot>) -> Self {
        let role = cluster.role_by_oid(identity.user_oid);
        Self {
            role: identity.user_oid,
            name: identity.user.clone(),
            superuser: role.is_some_and(|role| role.superuser),
            session_user,
            database: identity.database_oid,
            cluster,
        }
    }

    /// Roles and databases.
    pub fn cluster(&self) -> &Rc<Snapshot> {
        &self.cluster
    }

    /// The OID of the role that a statement names, or 42704.
    pub fn resolve(&self, role: &RoleName) -> Result<u32, Error> {
        let name = match role {
            RoleName::CurrentUser => return Ok(self.role),
            RoleName::SessionUser => &self.session_user,
            RoleName::Named(name) => name,
        };
        let missing = || Error::new(Condition::UndefinedObject, format!("role \"{name}\" does not exist"));
        self.cluster.role_row(name).map(|role| role.oid).ok_or_else(missing)
    }

    /// A role's name, or its OID where it is gone.
    pub fn name_of(&self, role: u32) -> String {
        self.cluster.role_by_oid(role).map_or_else(|| role.to_string(), |role| role.name.clone())
    }

    /// Whose privileges are looked at, on an object of that owner.
    pub fn holder(&self, role: u32, owner: u32) -> Holder<'_> {
        Holder { roles: self.cluster.as_ref(), role, owner }
    }

    /// 42501 unless the session may become that role.
    pub fn require_member(&self, role: u32) -> Result<(), Error> {
        if self.superuser || self.cluster.may_become(self.role, role) {
            return Ok(());
        }
        let message = format!("must be member of role \"{}\"", self.name_of(role));
        Err(Error::new(Condition::InsufficientPrivilege, message))
    }

    /// Whether the session has the privileges of that role: it may do what an owner may.
    pub fn owns(&self, owner: u32) -> bool {
        self.superuser || self.cluster.has_privileges_of(self.role, owner)
    }

    /// What of the wanted privileges a role has on an object.
    pub fn held(&self, role: u32, object: Object<'_>, wanted: Privileges) -> Privileges {
        if self.cluster.is_superuser(role) {
            return wanted;
        }
        let owner = object.owner();
        let kind = object.kind();
        let holder = self.holder(role, owner);
        let held = match object.acl() {
            Some(acl) => acl.held(holder, wanted),
            None => Acl::default_of(kind, owner).held(holder, wanted),
        };
        let missing = wanted.without(held);
        if missing.is_empty() { held } else { held.or(self.predefined(role, kind).and(missing)) }
    }

    /// What of them it may pass on.
    pub fn grantable(&self, role: u32, object: Object<'_>, wanted: Privileges) -> Privileges {
        if self.cluster.is_superuser(role) {
            return wanted;
        }
        let owner = object.owner();
        let holder = self.holder(role, owner);
        Acl::in_force(object.acl().as_ref(), object.kind(), owner).grantable(holder, wanted)
    }

    /// What a role may do with every object of a kind.
    fn predefined(&self, role: u32, kind: Kind) -> Privileges {
        let is = |name: &str| self.cluster.has_privileges_of_named(role, name);
        let (reads, writes) = match kind {
            Kind::Table | Kind::Sequence => {
                (Privileges::SELECT, Privileges::INSERT.or(Privileges::UPDATE).or(Privileges::DELETE))
            }
            Kind::Schema => (Privileges::USAGE, Privileges::USAGE),
            _ => return Privileges::NONE,
        };
        let reads = if is("pg_read_all_data") { reads } else { Privileges::NONE };
        if is("pg_write_all_data") { reads.or(writes) } else { reads }
    }

    /// Whether a role has that privilege on a column, by itself or with its whole table.
    pub fn on_column(&self, role: u32, relation: &Relation, at: usize, wanted: Privileges) -> bool {
        self.held(role, Object::Relation(relation), wanted) == wanted
            || self.held(role, Object::Column(relation, at), wanted) == wanted
    }

    /// Whether it has the privilege on any column.
    pub fn on_any_column(&self, role: u32, relation: &Relation, wanted: Privileges) -> bool {
        self.held(role, Object::Relation(relation), wanted) == wanted
            || live_columns(relation).any(|at| self.held(role, Object::Column(relation, at), wanted) == wanted)
    }

    /// Whether the session may read all of these columns.
    pub fn sees(&self, relation: &Relation, columns: &[usize]) -> bool {
        self.superuser || columns.iter().all(|at| self.on_column(self.role, relation, *at, Privileges::SELECT))
    }

    /// 42501 unless whoever answers for it has what a statement needs on a relation.
    pub fn require(&self, relation: &Relation, needed: &Permission) -> Result<(), Error> {
        let role = needed.checked_as.unwrap_or(self.role);
        let held = self.held(role, Object::Relation(relation), needed.wanted);
        let missing = needed.wanted.without(held);
        if missing.is_empty() || needed.any && !held.is_empty() {
            return Ok(());
        }
        let by_column = [
            (Privileges::SELECT, &needed.read),
            (Privileges::INSERT, &needed.inserted),
            (Privileges::UPDATE, &needed.updated),
        ];
        let mut left = missing;
        for (privilege, columns) in by_column {
            if !missing.contains(privilege) {
                continue;
            }
            let has = |at: usize| self.held(role, Object::Column(relation, at), privilege) == privilege;
            let held =
                if columns.is_empty() { live_columns(relation).any(has) } else { columns.iter().all(|at| has(*at)) };
            if held {
                left = left.without(privilege);
            }
        }
        if left.is_empty() { Ok(()) } else { Err(denied_relation(relation)) }
    }

    /// 42501 unless the session may do that in a schema.
    pub fn require_schema(&self, schema: &Schema, wanted: Privileges) -> Result<(), Error> {
        if self.superuser || self.held(self.role, Object::Schema(schema), wanted) == wanted {
            return Ok(());
        }
        Err(denied(Kind::Schema.word(), &schema.name))
    }

    /// 42501 unless the session may do that with a relation as a whole.
    pub fn require_relation(&self, relation: &Relation, wanted: Privileges) -> Result<(), Error> {
        if self.superuser || self.held(self.role, Object::Relation(relation), wanted) == wanted {
            return Ok(());
        }
        Err(denied_relation(relation))
    }

    /// 42501 unless the session may do that with its database.
    pub fn require_database(&self, wanted: Privileges) -> Result<(), Error> {
        let database = self.cluster.databases().iter().find(|database| database.oid == self.database);
        match database {
            Some(database) if !self.superuser => {
                if self.held(self.role, Object::Database(database), wanted) == wanted {
                    return Ok(());
                }
                Err(denied(Kind::Database.word(), &database.name))
            }
            _ => Ok(()),
        }
    }
}

/// Indices of the columns that are there.
pub fn live_columns(relation: &Relation) -> impl Iterator<Item = usize> + '_ {
    (0..relation.columns.len()).filter(|at| !relation.columns[*at].dropped)
}

/// "permission denied for …".
pub fn denied(kind: &str, name: &str) -> Error {
    Error::new(Condition::InsufficientPrivilege, format!("permission denied for {kind} {name}"))
}

/// The same for a relation.
pub fn denied_relation(relation: &Relation) -> Error {
    denied(relation_word(relation), &relation.name)
}

/// What messages call a relation.
pub fn relation_word(relation: &Relation) -> &'static str {
    match relation.kind {
        RelationKind::View { .. } => "view",
        RelationKind::Sequence => "sequence",
        RelationKind::System if relation.oid >= super::views::FIRST_VIEW_OID => "view",
        _ => "table",
    }
}
