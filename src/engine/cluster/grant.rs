//! GRANT and REVOKE of roles.

use super::change::{Change, denied};
use super::membership::Membership;
use super::{RoleRow, SUPERUSER_OID};
use crate::engine::sqlite::grant::{apply, check_grantor, resolve};
use crate::engine::sqlite::rights::Object;
use crate::error::{Condition, Error};
use crate::sql::acl::{Acl, Kind};
use crate::sql::define::{MembershipOptions, PrivilegeChange, PrivilegeTarget, RoleName};

impl Change<'_> {
    /// GRANT and REVOKE on databases. Warnings.
    pub(super) fn grant_on_databases(&self, change: &PrivilegeChange) -> Result<Vec<Error>, Error> {
        let PrivilegeTarget::Databases(names) = &change.target else {
            return Err(Error::internal("privileges on other objects came to the cluster's catalog"));
        };
        let rights = self.rights();
        check_grantor(&rights, change.grantor.as_ref())?;
        let missing =
            |name: &String| Error::new(Condition::InvalidCatalogName, format!("database \"{name}\" does not exist"));
        let databases = names.iter().map(|name| self.snapshot.database(name).ok_or_else(|| missing(name)));
        let databases = databases.collect::<Result<Vec<_>, _>>()?;
        let grant = resolve(&rights, change, Kind::Database)?;
        let mut warnings = Vec::new();
        for database in databases {
            let wanted = grant.privileges.unwrap_or(Kind::Database.all());
            let all = grant.privileges.is_none();
            let acl = apply(&rights, Object::Database(database), &grant, wanted, all, &mut warnings)?;
            if database.acl.as_ref() != Some(&acl) {
                self.put_database_acl(database.oid, &acl)?;
            }
        }
        Ok(warnings)
    }

    /// Stores what is granted on a database.
    pub(super) fn put_database_acl(&self, oid: u32, acl: &Acl) -> Result<(), Error> {
        let json = serde_json::to_string(acl).map_err(|error| Error::internal(error.to_string()))?;
        self.run("UPDATE pgp_database SET acl = ?2 WHERE oid = ?1", rusqlite::params![oid, json])
    }

    /// GRANT: each role to each member. Notices what was granted before.
    pub(super) fn grant_roles(
        &self,
        roles: &[String],
        members: &[RoleName],
        options: MembershipOptions,
        grantor: Option<&RoleName>,
    ) -> Result<Vec<Error>, Error> {
        let mut notices = Vec::new();
        for role in roles {
            let role = self.current(role)?;
            let grantor = self.grantor(&role, grantor, "grant")?;
            for member in members {
                let member = self.current(self.named(member))?;
                notices.extend(self.add_member(&role, &member, options, grantor)?);
            }
        }
        Ok(notices)
    }

    /// One membership, new or changed. The notice that there is nothing to do.
    pub(super) fn add_member(
        &self,
        role: &RoleRow,
        member: &RoleRow,
        options: MembershipOptions,
        grantor: u32,
    ) -> Result<Option<Error>, Error> {
        let snapshot = self.now()?;
        if snapshot.is_member(role.oid, member.oid) {
            let message = format!("role \"{}\" is a member of role \"{}\"", role.name, member.name);
            return Err(Error::new(Condition::InvalidGrantOperation, message));
        }
        let known = |grant: &&Membership| (grant.role, grant.member, grant.grantor) == (role.oid, member.oid, grantor);
        if let Some(old) = snapshot.members().iter().find(known) {
            let new = Membership {
                admin: options.admin.unwrap_or(old.admin),
                inherit: options.inherit.unwrap_or(old.inherit),
                set: options.set.unwrap_or(old.set),
                ..*old
            };
            if new == *old {
                let by = snapshot.role_by_oid(grantor).map_or("", |role| role.name.as_str());
                let message = format!(
                    "role \"{}\" has already been granted membership in role \"{}\" by role \"{by}\"",
                    member.name, role.name
                );
                return Ok(Some(Error::new(Condition::SuccessfulCompletion, message)));
            }
            self.put_member(&new)?;
            return Ok(None);
        }
        self.put_member(&Membership {
            oid: self.next_oid()?,
            role: role.oid,
            member: member.oid,
            grantor,
            admin: options.admin.unwrap_or(false),
            inherit: options.inherit.unwrap_or(member.inherit),
            set: options.set.unwrap_or(true),
        })?;
        Ok(None)
    }

    /// REVOKE: a membership or one of its options.
    pub(super) fn revoke_roles(
        &self,
        roles: &[String],
        members: &[RoleName],
        options: MembershipOptions,
        grantor: Option<&RoleName>,
        cascade: bool,
    ) -> Result<Vec<Error>, Error> {
        let mut warnings = Vec::new();
        for role in roles {
            let role = self.current(role)?;
            let grantor = self.grantor(&role, grantor, "revoke")?;
            for member in members {
                let member = self.current(self.named(member))?;
                let snapshot = self.now()?;
                let mut grants = snapshot.members().iter();
                let found =
                    grants.find(|grant| (grant.role, grant.member, grant.grantor) == (role.oid, member.oid, grantor));
                let Some(found) = found else {
                    let by = snapshot.role_by_oid(grantor).map_or("", |role| role.name.as_str());
                    let message = format!(
                        "role \"{}\" has not been granted membership in role \"{}\" by role \"{by}\"",
                        member.name, role.name
                    );
                    warnings.push(Error::new(Condition::Warning, message));
                    continue;
                };
                let new = (options != MembershipOptions::default()).then(|| Membership {
                    admin: options.admin.unwrap_or(found.admin),
                    inherit: options.inherit.unwrap_or(found.inherit),
                    set: options.set.unwrap_or(found.set),
                    ..*found
                });
                self.take_back(found, new, cascade)?;
            }
        }
        Ok(warnings)
    }

    /// Removes or changes a membership, and what was granted on its ADMIN option.
    fn take_back(&self, grant: &Membership, new: Option<Membership>, cascade: bool) -> Result<(), Error> {
        match new {
            Some(new) => self.put_member(&new)?,
            None => self.run("DELETE FROM pgp_member WHERE oid = ?1", [grant.oid])?,
        }
        if !grant.admin || new.is_some_and(|new| new.admin) {
            return Ok(());
        }
        let snapshot = self.now()?;
        let is_still_admin = |member: u32| {
            member == SUPERUSER_OID
                || snapshot
                    .members()
                    .iter()
                    .any(|other| (other.role, other.member, other.admin) == (grant.role, member, true))
        };
        let rests_on_it = |other: &&Membership| {
            other.role == grant.role && other.grantor == grant.member && !is_still_admin(grant.member)
        };
        let dependent: Vec<Membership> = snapshot.members().iter().filter(rests_on_it).copied().collect();
        if !dependent.is_empty() && !cascade {
            return Err(Error::new(Condition::DependentObjectsStillExist, "dependent privileges exist")
                .hint("Use CASCADE to revoke them too."));
        }
        dependent.iter().try_for_each(|grant| self.take_back(grant, None, true))
    }

    /// On whose behalf the current user grants or revokes that role.
    fn grantor(&self, role: &RoleRow, named: Option<&RoleName>, verb: &str) -> Result<u32, Error> {
        let refused =
            |detail: String| denied(&format!("permission denied to {verb} role \"{}\"", role.name)).detail(detail);
        if role.superuser && !self.me.superuser {
            return Err(refused(format!(
                "Only roles with the SUPERUSER attribute may {verb} roles with the SUPERUSER attribute."
            )));
        }
        let Some(own) = self.snapshot.admin_of(self.me.oid, role.oid) else {
            return Err(refused(format!(
                "Only roles with the ADMIN option on role \"{}\" may {verb} this role.",
                role.name
            )));
        };
        let Some(named) = named else { return Ok(own) };
        let named = self.role(self.named(named))?;
        if !self.snapshot.has_privileges_of(self.me.oid, named.oid) {
            let detail =
                format!("Only roles with privileges of role \"{}\" may {verb} privileges as this role.", named.name);
            return Err(
                denied(&format!("permission denied to {verb} privileges as role \"{}\"", named.name)).detail(detail)
            );
        }
        let may = |grant: &Membership| (grant.role, grant.member, grant.admin) == (role.oid, named.oid, true);
        if named.oid != SUPERUSER_OID && !self.snapshot.members().iter().any(may) {
            let detail = format!("The grantor must have the ADMIN option on role \"{}\".", role.name);
            return Err(
                denied(&format!("permission denied to {verb} privileges as role \"{}\"", named.name)).detail(detail)
            );
        }
        Ok(named.oid)
    }

    fn put_member(&self, grant: &Membership) -> Result<(), Error> {
        let Membership { oid, role, member, grantor, admin, inherit, set } = *grant;
        self.run(
            "INSERT OR REPLACE INTO pgp_member(oid, role, member, grantor, admin, inherit, may_set) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            rusqlite::params![oid, role, member, grantor, admin, inherit, set],
        )
    }
}
