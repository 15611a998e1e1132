//! ALTER ROLE … SET and ALTER DATABASE … SET: who may store which setting for whom, and what becomes of those stored.

use rusqlite::params;

use super::RoleRow;
use super::change::{Change, denied};
use crate::error::{Condition, Error};
use crate::sql::define::{RoleName, SettingChange};

/// The longest value that is stored: every process reads all of them.
const VALUE_BYTES_MAX: usize = 8192;

impl Change<'_> {
    /// `role`: `None` for all. Returns notices.
    pub(super) fn alter_setting(
        &self,
        role: Option<&RoleName>,
        database: Option<&str>,
        is_of_database: bool,
        change: &SettingChange,
    ) -> Result<Vec<Error>, Error> {
        let role_oid = match role {
            Some(role) => self.settable_role(role)?.oid,
            None => 0,
        };
        let database_oid = match database {
            Some(database) if is_of_database || role.is_none() => self.own_database(database)?.oid,
            Some(database) => self.any_database(database)?.oid,
            None => 0,
        };
        if role.is_none() && database.is_none() && !self.me.superuser {
            return Err(denied("must be superuser to alter settings globally"));
        }
        let settings = self.actor.settings;
        match change {
            SettingChange::Set { name, values } => {
                let (name, value) = settings.stored(name, values)?;
                let notices = if name == "role" { self.check_role(&value)? } else { Vec::new() };
                self.store(database_oid, role_oid, &name, &value)?;
                Ok(notices)
            }
            SettingChange::Keep(name) => {
                let (name, value) = settings.stored_current(name)?;
                self.store(database_oid, role_oid, &name, &value)?;
                Ok(Vec::new())
            }
            SettingChange::Reset(name) => {
                // As in PostgreSQL, where nothing is stored nothing is looked at.
                if !self.snapshot.settings_at(database_oid, role_oid).is_empty() {
                    self.remove(database_oid, role_oid, &settings.stored_name(name)?)?;
                }
                Ok(Vec::new())
            }
            SettingChange::ResetAll => {
                for row in self.snapshot.settings_at(database_oid, role_oid) {
                    // What the session may not set stays.
                    if settings.stored_name(&row.name).is_ok() {
                        self.remove(database_oid, role_oid, &row.name)?;
                    }
                }
                Ok(Vec::new())
            }
        }
    }

    /// The role, where the current user may store settings for it: its own, or as one that manages it.
    fn settable_role(&self, name: &RoleName) -> Result<&RoleRow, Error> {
        let name = self.named(name);
        if name.starts_with("pg_") {
            let error = Error::new(Condition::ReservedName, format!("role name \"{name}\" is reserved"));
            return Err(error.detail("Cannot alter reserved roles."));
        }
        let role = self.role(name)?;
        if role.superuser && !self.me.superuser {
            return Err(denied("must be superuser to alter superusers"));
        }
        if role.oid != self.me.oid && !self.manages(role) {
            let detail = format!(
                "Only roles with the CREATEROLE attribute and the ADMIN option on role \"{name}\" may alter this role."
            );
            return Err(denied("permission denied to alter role").detail(detail));
        }
        Ok(role)
    }

    /// The setting `role` names a role that the session may become, as where it is SET. One that is not there yet may come.
    fn check_role(&self, name: &str) -> Result<Vec<Error>, Error> {
        if name == "none" {
            return Ok(Vec::new());
        }
        let Some(role) = self.snapshot.role_row(name) else {
            return Ok(vec![Error::new(Condition::UndefinedObject, format!("role \"{name}\" does not exist"))]);
        };
        let session_user = self.role(self.actor.session_user)?;
        if self.snapshot.may_become(session_user.oid, role.oid) {
            return Ok(Vec::new());
        }
        Ok(vec![denied(&format!("permission will be denied to set role \"{name}\""))])
    }

    /// A value that is changed keeps its place in the list.
    fn store(&self, database: u32, role: u32, name: &str, value: &str) -> Result<(), Error> {
        if value.len() > VALUE_BYTES_MAX {
            let message = format!("stored value of parameter \"{name}\" is longer than {VALUE_BYTES_MAX} bytes");
            return Err(Error::new(Condition::ProgramLimitExceeded, message));
        }
        self.run(
            "INSERT INTO pgp_setting(database, role, name, value) VALUES(?1, ?2, ?3, ?4) ON CONFLICT(database, role, name) DO UPDATE SET value = excluded.value",
            params![database, role, name, value],
        )
    }

    fn remove(&self, database: u32, role: u32, name: &str) -> Result<(), Error> {
        let sql = "DELETE FROM pgp_setting WHERE database = ?1 AND role = ?2 AND name = ?3";
        self.run(sql, params![database, role, name])
    }
}
