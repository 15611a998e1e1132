//! Roles and databases: their statements carried out on `global.db`, inside the caller's write transaction.

use std::rc::Rc;

use rusqlite::{Connection, params};

use super::membership::FIRST_NORMAL_OID;
use super::{Cluster, RoleRow, SUPERUSER_OID, Snapshot};
use crate::auth::password;
use crate::engine::sqlite::catalog::failure;
use crate::engine::sqlite::rights::Rights;
use crate::error::{Condition, Error};
use crate::settings::Settings;
use crate::sql::define::{Definition, MembershipOptions, RoleName, RoleOptions};
use crate::sql::types::{TextContext, Type, Value, input};

/// Who changes the cluster's catalog, and what it has to know beyond that catalog.
pub struct Actor<'a> {
    /// In a write transaction on `global.db`.
    pub connection: &'a Connection,
    /// The cluster's directory.
    pub cluster: &'a Cluster,
    /// current_user.
    pub user: &'a str,
    /// session_user.
    pub session_user: &'a str,
    /// The session's database.
    pub database: &'a str,
    /// For VALID UNTIL.
    pub text: &'a TextContext,
    /// The session's settings: what may be stored, and FROM CURRENT.
    pub settings: &'a Settings,
    /// The roles of the sessions in a database, by its OID, this one included.
    pub sessions: &'a dyn Fn(u32) -> Vec<u32>,
    /// Ends all sessions in a database; returns when they have ended, or not in time.
    pub end_sessions: &'a dyn Fn(u32) -> Result<(), Error>,
    /// What in the session's database depends on a role, a line each: what it owns and what was granted to it.
    pub dependents: &'a dyn Fn(u32) -> Result<Vec<(u32, String)>, Error>,
}

/// What the caller does with files once the transaction has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileChange {
    /// Nothing.
    None,
    /// After COMMIT, remove this database's files; after ROLLBACK, nothing.
    RemoveOnCommit(u32),
    /// After ROLLBACK, remove this database's files; after COMMIT, nothing.
    RemoveOnRollback(u32),
}

/// Carries out a definition whose scope is the cluster. Returns notices and what to do with files.
pub fn execute(definition: &Definition, actor: &Actor<'_>) -> Result<(Vec<Error>, FileChange), Error> {
    let snapshot = Snapshot::load(actor.connection)?;
    let me = snapshot.role_row(actor.user).cloned().ok_or_else(|| no_role(actor.user))?;
    let change = Change { actor, snapshot, me };
    let mut notices = Vec::new();
    let mut files = FileChange::None;
    match definition {
        Definition::CreateRole { name, options, .. } => change.create_role(name, options)?,
        Definition::AlterRole { name, options } => change.alter_role(name, options)?,
        Definition::RenameRole { name, to } => notices = change.rename_role(name, to)?,
        Definition::GrantRole { roles, members, options, grantor } => {
            notices = change.grant_roles(roles, members, *options, grantor.as_ref())?;
        }
        Definition::RevokeRole { roles, members, options, grantor, cascade } => {
            notices = change.revoke_roles(roles, members, *options, grantor.as_ref(), *cascade)?;
        }
        Definition::ReassignOwned { roles, to } => change.reassign_databases(roles, to)?,
        Definition::DropOwned { roles, .. } => change.forget_on_databases(roles)?,
        Definition::Privileges(privileges) => notices = change.grant_on_databases(privileges)?,
        Definition::DropRole { names, if_exists } => notices = change.drop_roles(names, *if_exists)?,
        Definition::CreateDatabase { name, options } => files = change.create_database(name, options)?,
        Definition::DropDatabase { name, if_exists, force } => match change.drop_database(name, *if_exists, *force)? {
            Ok(oid) => files = FileChange::RemoveOnCommit(oid),
            Err(notice) => notices.push(notice),
        },
        Definition::AlterDatabase { name, change: alteration } => change.alter_database(name, alteration)?,
        Definition::AlterSetting { role, database, is_of_database, change: alteration } => {
            notices = change.alter_setting(role.as_ref(), database.as_deref(), *is_of_database, alteration)?;
        }
        other => return Err(Error::internal(format!("{} is not a change of the cluster's catalog", other.tag()))),
    }
    Ok((notices, files))
}

pub(super) struct Change<'a> {
    pub(super) actor: &'a Actor<'a>,
    pub(super) snapshot: Snapshot,
    pub(super) me: RoleRow,
}

pub(super) fn denied(message: &str) -> Error {
    Error::new(Condition::InsufficientPrivilege, message)
}

pub(super) fn no_role(name: &str) -> Error {
    Error::new(Condition::UndefinedObject, format!("role \"{name}\" does not exist"))
}

impl Change<'_> {
    pub(super) fn run(&self, sql: &str, parameters: impl rusqlite::Params) -> Result<(), Error> {
        self.actor.connection.execute(sql, parameters).map(|_| ()).map_err(failure)
    }

    /// What the current user may.
    pub(super) fn rights(&self) -> Rights {
        Rights {
            role: self.me.oid,
            name: self.me.name.clone(),
            superuser: self.me.superuser,
            session_user: self.actor.session_user.to_owned(),
            database: 0,
            cluster: Rc::new(self.snapshot.clone()),
        }
    }

    pub(super) fn next_oid(&self) -> Result<u32, Error> {
        let sql = "UPDATE pgp_meta SET value = value + 1 WHERE key = 'next_oid' RETURNING value - 1";
        self.actor.connection.query_row(sql, [], |row| row.get(0)).map_err(failure)
    }

    /// Roles as this statement has left them so far.
    pub(super) fn now(&self) -> Result<Snapshot, Error> {
        Snapshot::load(self.actor.connection)
    }

    /// The name that a statement gives a role by.
    pub(super) fn named<'n>(&'n self, name: &'n RoleName) -> &'n str {
        match name {
            RoleName::Named(name) => name,
            RoleName::CurrentUser => self.actor.user,
            RoleName::SessionUser => self.actor.session_user,
        }
    }

    /// The role of that name, if this very statement has made it too.
    pub(super) fn current(&self, name: &str) -> Result<RoleRow, Error> {
        self.now()?.role_row(name).cloned().ok_or_else(|| no_role(name))
    }

    pub(super) fn role(&self, name: &str) -> Result<&RoleRow, Error> {
        self.snapshot.role_row(name).ok_or_else(|| no_role(name))
    }

    fn may_manage_roles(&self) -> bool {
        self.me.superuser || self.me.create_role
    }

    /// Whether the current user may change that role.
    pub(super) fn manages(&self, role: &RoleRow) -> bool {
        self.me.superuser || self.me.create_role && self.snapshot.admin_of(self.me.oid, role.oid).is_some()
    }

    fn create_role(&self, name: &str, options: &RoleOptions) -> Result<(), Error> {
        if !self.me.superuser {
            for (wanted, what) in [
                (options.superuser, "superusers"),
                (options.replication, "replication users"),
                (options.bypass_row_security, "bypassrls users"),
            ] {
                if wanted == Some(true) {
                    return Err(denied(&format!("must be superuser to create {what}")));
                }
            }
        }
        if !self.may_manage_roles() {
            return Err(denied("permission denied to create role"));
        }
        if self.snapshot.role_row(name).is_some() {
            return Err(Error::new(Condition::DuplicateObject, format!("role \"{name}\" already exists")));
        }
        let mut row = RoleRow {
            oid: self.next_oid()?,
            name: name.to_owned(),
            superuser: false,
            login: false,
            create_database: false,
            create_role: false,
            inherit: true,
            replication: false,
            bypass_row_security: false,
            connection_limit: -1,
            valid_until_us: None,
            password: None,
        };
        self.apply(&mut row, options)?;
        self.put(&row)?;
        if !self.me.superuser {
            // So that whoever has made a role can manage it, and no more (PostgreSQL 16).
            let options = MembershipOptions { admin: Some(true), inherit: Some(false), set: Some(false) };
            self.add_member(&row, &self.me, options, SUPERUSER_OID)?;
        }
        let own = MembershipOptions::default();
        let oneself = RoleName::Named(name.to_owned());
        self.grant_roles(&options.in_roles, &[oneself], own, None)?;
        let admin = MembershipOptions { admin: Some(true), ..own };
        let grantor = if self.me.superuser { SUPERUSER_OID } else { self.me.oid };
        for (members, options) in [(&options.members, own), (&options.admins, admin)] {
            for member in members {
                self.add_member(&row, &self.role(member)?.clone(), options, grantor)?;
            }
        }
        Ok(())
    }

    fn apply(&self, row: &mut RoleRow, options: &RoleOptions) -> Result<(), Error> {
        let flags = [
            (&mut row.superuser, options.superuser),
            (&mut row.login, options.login),
            (&mut row.create_database, options.create_database),
            (&mut row.create_role, options.create_role),
            (&mut row.inherit, options.inherit),
            (&mut row.replication, options.replication),
            (&mut row.bypass_row_security, options.bypass_row_security),
        ];
        for (flag, wanted) in flags {
            *flag = wanted.unwrap_or(*flag);
        }
        row.connection_limit = options.connection_limit.unwrap_or(row.connection_limit);
        if let Some(text) = &options.valid_until {
            row.valid_until_us = match input(Type::Timestamptz, -1, text, self.actor.text)? {
                Value::Int(i64::MAX) => None,
                Value::Int(value) => Some(value),
                _ => None,
            };
        }
        if let Some(clear) = &options.password {
            row.password = match clear {
                Some(clear) => password::encrypt(&row.name, clear)?,
                None => None,
            };
        }
        Ok(())
    }

    fn put(&self, row: &RoleRow) -> Result<(), Error> {
        self.run(
            "INSERT OR REPLACE INTO pgp_role(oid, name, superuser, login, create_database, create_role, inherit, replication, bypass_row_security, connection_limit, valid_until, password) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            params![
                row.oid,
                row.name,
                row.superuser,
                row.login,
                row.create_database,
                row.create_role,
                row.inherit,
                row.replication,
                row.bypass_row_security,
                row.connection_limit,
                row.valid_until_us,
                row.password
            ],
        )
    }

    fn alter_role(&self, name: &RoleName, options: &RoleOptions) -> Result<(), Error> {
        let mut row = self.role(self.named(name))?.clone();
        if !self.me.superuser {
            if row.superuser || options.superuser.is_some() {
                return Err(denied("must be superuser to alter superuser roles or change superuser attribute"));
            }
            if row.replication || options.replication.is_some() {
                return Err(denied("must be superuser to alter replication roles or change replication attribute"));
            }
            if options.bypass_row_security.is_some() {
                return Err(denied("must be superuser to change bypassrls attribute"));
            }
            let only_password =
                *options == RoleOptions { password: options.password.clone(), ..RoleOptions::default() };
            let own_password = only_password && row.name == self.me.name;
            let manages = self.me.create_role && self.snapshot.admin_of(self.me.oid, row.oid).is_some();
            if !manages && !own_password {
                let detail = format!(
                    "Only roles with the CREATEROLE attribute and the ADMIN option on role \"{}\" may alter this role.",
                    row.name
                );
                return Err(denied("permission denied to alter role").detail(detail));
            }
        }
        if row.oid == SUPERUSER_OID && options.superuser == Some(false) {
            return Err(denied("permission denied to alter role")
                .detail("The bootstrap user must have the SUPERUSER attribute."));
        }
        self.apply(&mut row, options)?;
        self.put(&row)
    }

    fn rename_role(&self, name: &str, to: &str) -> Result<Vec<Error>, Error> {
        let mut row = self.role(name)?.clone();
        if row.name == self.actor.session_user {
            return Err(Error::new(Condition::FeatureNotSupported, "session user cannot be renamed"));
        }
        if row.name == self.actor.user {
            return Err(Error::new(Condition::FeatureNotSupported, "current user cannot be renamed"));
        }
        if self.snapshot.role_row(to).is_some() {
            return Err(Error::new(Condition::DuplicateObject, format!("role \"{to}\" already exists")));
        }
        if row.superuser && !self.me.superuser {
            return Err(denied("must be superuser to rename superusers"));
        }
        if !self.manages(&row) {
            let detail = format!(
                "Only roles with the CREATEROLE attribute and the ADMIN option on role \"{name}\" may rename this role."
            );
            return Err(denied("permission denied to rename role").detail(detail));
        }
        row.name = to.to_owned();
        let mut notices = Vec::new();
        if row.password.as_deref().is_some_and(|password| password.starts_with("md5")) {
            row.password = None;
            notices.push(Error::new(Condition::SuccessfulCompletion, "MD5 password cleared because of role rename"));
        }
        self.put(&row)?;
        Ok(notices)
    }

    fn drop_roles(&self, names: &[String], if_exists: bool) -> Result<Vec<Error>, Error> {
        if !self.may_manage_roles() {
            return Err(denied("permission denied to drop role"));
        }
        let mut notices = Vec::new();
        for name in names {
            let Some(row) = self.snapshot.role_row(name) else {
                if !if_exists {
                    return Err(no_role(name));
                }
                let message = format!("role \"{name}\" does not exist, skipping");
                notices.push(Error::new(Condition::SuccessfulCompletion, message));
                continue;
            };
            if row.name == self.actor.user {
                return Err(Error::new(Condition::ObjectInUse, "current user cannot be dropped"));
            }
            if row.name == self.actor.session_user {
                return Err(Error::new(Condition::ObjectInUse, "session user cannot be dropped"));
            }
            if row.superuser && !self.me.superuser {
                return Err(denied("must be superuser to drop superusers"));
            }
            if !self.manages(row) {
                let detail = format!(
                    "Only roles with the CREATEROLE attribute and the ADMIN option on role \"{name}\" may drop this role."
                );
                return Err(denied("permission denied to drop role").detail(detail));
            }
            if row.oid < FIRST_NORMAL_OID && row.oid != SUPERUSER_OID {
                let message = format!("cannot drop role {name} because it is required by the database system");
                return Err(Error::new(Condition::DependentObjectsStillExist, message));
            }
            if row.oid == SUPERUSER_OID {
                let message = format!("cannot drop role {name} because it is required by the database system");
                return Err(Error::new(Condition::DependentObjectsStillExist, message));
            }
            let dependents = self.dependents(row.oid)?;
            if !dependents.is_empty() {
                let message = format!("role \"{name}\" cannot be dropped because some objects depend on it");
                let error = Error::new(Condition::DependentObjectsStillExist, message);
                return Err(error.detail(dependents.join("\n")));
            }
            self.run("DELETE FROM pgp_member WHERE role = ?1 OR member = ?1", [row.oid])?;
            self.run("DELETE FROM pgp_setting WHERE role = ?1", [row.oid])?;
            self.run("DELETE FROM pgp_role WHERE oid = ?1", [row.oid])?;
        }
        Ok(notices)
    }

    /// REASSIGN OWNED: the databases that some roles own. That it may is checked already.
    fn reassign_databases(&self, roles: &[RoleName], to: &RoleName) -> Result<(), Error> {
        let rights = self.rights();
        let to = rights.resolve(to)?;
        for role in roles {
            let role = rights.resolve(role)?;
            for database in self.snapshot.databases().iter().filter(|database| database.owner == role) {
                self.run("UPDATE pgp_database SET owner = ?2 WHERE oid = ?1", params![database.oid, to])?;
                if let Some(mut acl) = database.acl.clone() {
                    acl.change_owner(role, to);
                    self.put_database_acl(database.oid, &acl)?;
                }
            }
        }
        Ok(())
    }

    /// DROP OWNED: what some roles have or gave on databases.
    fn forget_on_databases(&self, roles: &[RoleName]) -> Result<(), Error> {
        let rights = self.rights();
        let roles = roles.iter().map(|role| rights.resolve(role)).collect::<Result<Vec<_>, _>>()?;
        for database in self.snapshot.databases() {
            let Some(mut acl) = database.acl.clone() else { continue };
            for role in roles.iter().filter(|role| **role != database.owner) {
                acl.forget(&self.snapshot, *role, database.owner)?;
            }
            self.put_database_acl(database.oid, &acl)?;
        }
        Ok(())
    }

    /// What depends on a role, a line each: in the cluster's catalog and in the session's database.
    fn dependents(&self, role: u32) -> Result<Vec<String>, Error> {
        let mut lines = Vec::new();
        for database in self.snapshot.databases() {
            if database.owner == role {
                lines.push((FIRST_NORMAL_OID, format!("owner of database {}", database.name)));
            }
            if database.acl.as_ref().is_some_and(|acl| acl.names(role)) && database.owner != role {
                lines.push((FIRST_NORMAL_OID, format!("privileges for database {}", database.name)));
            }
        }
        for grant in self.snapshot.members().iter().filter(|grant| grant.grantor == role && grant.member != role) {
            let name = |oid| self.snapshot.role_by_oid(oid).map_or("", |role| role.name.as_str());
            let (member, of) = (name(grant.member), name(grant.role));
            lines.push((FIRST_NORMAL_OID, format!("privileges for membership of role {member} in role {of}")));
        }
        lines.extend((self.actor.dependents)(role)?);
        // The cluster's own come before what users have made in the database.
        lines.sort_by_key(|(oid, _)| *oid);
        Ok(lines.into_iter().map(|(_, line)| line).collect())
    }
}
