//! Who is a member of which role, and what follows of it: whose privileges one has, whom one may become, whom one may
//! make others a member of.

use super::snapshot::{DatabaseRow, Snapshot};
use crate::sql::acl::{Holder, Kind, Privileges};

/// A role's membership in another one, as one role has granted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    /// `pg_auth_members.oid`.
    pub oid: u32,
    /// The role that was granted.
    pub role: u32,
    /// Who is a member of it.
    pub member: u32,
    /// Who has granted that.
    pub grantor: u32,
    /// The member may grant the role to others.
    pub admin: bool,
    /// The member has the role's privileges without SET ROLE.
    pub inherit: bool,
    /// The member may SET ROLE to it.
    pub set: bool,
}

impl Snapshot {
    /// The role itself and all that it is a member of, directly or by others, following the grants that `follows` says.
    /// The owner of the session's database is a member of pg_database_owner.
    fn closure(&self, member: u32, follows: impl Fn(&Membership) -> bool) -> Vec<u32> {
        let mut found = vec![member];
        let mut next = 0;
        while let Some(member) = found.get(next).copied() {
            next += 1;
            if self.current_owner() == Some(member) && !found.contains(&DATABASE_OWNER_OID) {
                found.push(DATABASE_OWNER_OID);
            }
            for grant in self.members().iter().filter(|grant| grant.member == member && follows(grant)) {
                if !found.contains(&grant.role) {
                    found.push(grant.role);
                }
            }
        }
        found
    }

    /// Whether it is a superuser.
    pub fn is_superuser(&self, oid: u32) -> bool {
        self.roles().iter().any(|role| role.oid == oid && role.superuser)
    }

    /// Whether it is that role or a member of it, directly or not; being a superuser does not count.
    pub fn is_member(&self, member: u32, role: u32) -> bool {
        self.closure(member, |_| true).contains(&role)
    }

    /// Whether it has that role's privileges: superusers have all.
    pub fn has_privileges_of(&self, member: u32, role: u32) -> bool {
        member == role || self.is_superuser(member) || self.closure(member, |grant| grant.inherit).contains(&role)
    }

    /// The same, by the role's name; nobody has the privileges of a role that is not there.
    pub fn has_privileges_of_named(&self, member: u32, role: &str) -> bool {
        self.role_row(role).is_some_and(|role| self.has_privileges_of(member, role.oid))
    }

    /// Whether it may SET ROLE to that role.
    pub fn may_become(&self, member: u32, role: u32) -> bool {
        member == role || self.is_superuser(member) || self.closure(member, |grant| grant.set).contains(&role)
    }

    /// Whether it may connect to a database, as far as privileges go; superusers are not looked at here.
    pub fn may_connect(&self, role: u32, database: &DatabaseRow) -> bool {
        let holder = Holder { roles: self, role, owner: database.owner };
        let wanted = Privileges::CONNECT;
        let held = match &database.acl {
            Some(acl) => acl.held(holder, wanted),
            None => Kind::Database.of_everybody().and(wanted),
        };
        held == wanted
    }

    /// On whose behalf it may grant that role to others: for a superuser the first superuser's, else that of a role
    /// whose privileges it has and which has the ADMIN option. `None`: it may not.
    pub fn admin_of(&self, member: u32, role: u32) -> Option<u32> {
        if self.is_superuser(member) {
            return Some(super::SUPERUSER_OID);
        }
        let own = self.closure(member, |grant| grant.inherit);
        own.into_iter()
            .find(|own| self.members().iter().any(|grant| grant.role == role && grant.member == *own && grant.admin))
    }

    /// Names of all roles that this one is a member of, directly or not.
    pub fn memberships(&self, oid: u32) -> Vec<String> {
        let found = self.closure(oid, |_| true);
        let is_other = |other: u32| other != oid && other != DATABASE_OWNER_OID && found.contains(&other);
        self.roles().iter().filter(|role| is_other(role.oid)).map(|role| role.name.clone()).collect()
    }
}

/// The role that the owner of the session's database is a member of.
pub const DATABASE_OWNER_OID: u32 = 6171;

impl crate::sql::acl::Membership for Snapshot {
    fn has_privileges_of(&self, member: u32, role: u32) -> bool {
        Self::has_privileges_of(self, member, role)
    }

    fn acts_as(&self, member: u32) -> Vec<u32> {
        self.closure(member, |grant| grant.inherit)
    }

    fn is_superuser(&self, role: u32) -> bool {
        Self::is_superuser(self, role)
    }
}

/// Roles that PostgreSQL has from the beginning, with their OIDs there.
pub const PREDEFINED: &[(u32, &str)] = &[
    (DATABASE_OWNER_OID, "pg_database_owner"),
    (6181, "pg_read_all_data"),
    (6182, "pg_write_all_data"),
    (3373, "pg_monitor"),
    (3374, "pg_read_all_settings"),
    (3375, "pg_read_all_stats"),
    (3377, "pg_stat_scan_tables"),
    (4569, "pg_read_server_files"),
    (4570, "pg_write_server_files"),
    (4571, "pg_execute_server_program"),
    (4200, "pg_signal_backend"),
    (4544, "pg_checkpoint"),
    (6337, "pg_maintain"),
    (4550, "pg_use_reserved_connections"),
    (6304, "pg_create_subscription"),
];

/// Memberships among them: (role, member).
pub const PREDEFINED_MEMBERSHIPS: &[(u32, u32)] = &[(3374, 3373), (3375, 3373), (3377, 3373)];

/// OIDs below this are the system's own.
pub const FIRST_NORMAL_OID: u32 = 16384;

#[cfg(test)]
mod tests {
    use super::super::snapshot::tests::snapshot;
    use super::*;

    fn grant(role: u32, member: u32, admin: bool, inherit: bool, set: bool) -> Membership {
        Membership { oid: 0, role, member, grantor: 10, admin, inherit, set }
    }

    #[test]
    fn memberships_are_followed_by_their_options() {
        // 1 in 2 in 3; 1 in 4 without INHERIT; 1 in 5 without SET; 3 in 1's circle is cut.
        let snapshot = snapshot(
            &[(10, true), (1, false), (2, false), (3, false), (4, false), (5, false)],
            vec![
                grant(2, 1, false, true, true),
                grant(3, 2, true, true, true),
                grant(4, 1, true, false, true),
                grant(5, 1, false, true, false),
            ],
        );
        assert!([1, 2, 3, 4, 5].iter().all(|role| snapshot.is_member(1, *role)));
        assert!(!snapshot.is_member(2, 1) && !snapshot.is_member(10, 1));
        let has: Vec<_> = (1..=5).filter(|role| snapshot.has_privileges_of(1, *role)).collect();
        assert_eq!(has, [1, 2, 3, 5]);
        let becomes: Vec<_> = (1..=5).filter(|role| snapshot.may_become(1, *role)).collect();
        assert_eq!(becomes, [1, 2, 3, 4]);
        assert!(snapshot.has_privileges_of(10, 5) && snapshot.may_become(10, 5));
        assert_eq!(
            (snapshot.admin_of(10, 3), snapshot.admin_of(1, 3), snapshot.admin_of(1, 4)),
            (Some(10), Some(2), Some(1))
        );
        assert_eq!((snapshot.admin_of(1, 2), snapshot.admin_of(5, 3)), (None, None));
    }
}
