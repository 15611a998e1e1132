//! CREATE, ALTER and DROP DATABASE: who may, and what is written.

use rusqlite::params;

use super::change::{Change, FileChange, denied};
use super::init::create_database_file;
use super::{DatabaseRow, POSTGRES_DATABASE_OID};
use crate::error::{Condition, Error};
use crate::sql::define::{DatabaseChange, DatabaseOptions};

/// Templates that PostgreSQL has and that are not there as databases: a new database is as one made from either.
const TEMPLATES: [&str; 2] = ["template0", "template1"];

impl Change<'_> {
    /// The database of that name.
    pub(super) fn any_database(&self, name: &str) -> Result<&DatabaseRow, Error> {
        let missing = || Error::new(Condition::InvalidCatalogName, format!("database \"{name}\" does not exist"));
        self.snapshot.database(name).ok_or_else(missing)
    }

    /// The same, where the current user has what its owner may.
    pub(super) fn own_database(&self, name: &str) -> Result<&DatabaseRow, Error> {
        let row = self.any_database(name)?;
        if !self.snapshot.has_privileges_of(self.me.oid, row.owner) {
            return Err(denied(&format!("must be owner of database {name}")));
        }
        Ok(row)
    }

    fn may_create_databases(&self) -> bool {
        self.me.superuser || self.me.create_database
    }

    pub(super) fn create_database(&self, name: &str, options: &DatabaseOptions) -> Result<FileChange, Error> {
        let owner = options.owner.as_deref().unwrap_or(self.actor.user);
        let owner_oid = self.role(owner)?.oid;
        if !self.may_create_databases() {
            return Err(denied("permission denied to create database"));
        }
        if !self.snapshot.may_become(self.me.oid, owner_oid) {
            return Err(denied(&format!("must be member of role \"{owner}\"")));
        }
        if let Some(template) = &options.template {
            self.check_template(template)?;
        }
        self.check_free(name)?;
        let oid = self.next_oid()?;
        create_database_file(self.actor.cluster.directory(), oid).map_err(|error| {
            let condition = if error.is_disk_full() { Condition::DiskFull } else { Condition::IoError };
            Error::new(condition, error.to_string())
        })?;
        self.run(
            "INSERT INTO pgp_database(oid, name, owner, allow_connections, connection_limit, is_template) VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                oid,
                name,
                owner_oid,
                options.allow_connections.unwrap_or(true),
                options.connection_limit.unwrap_or(-1),
                options.is_template.unwrap_or(false)
            ],
        )?;
        Ok(FileChange::RemoveOnRollback(oid))
    }

    /// The templates of a new PostgreSQL may be named; databases are not copied.
    fn check_template(&self, template: &str) -> Result<(), Error> {
        match self.snapshot.database(template) {
            Some(_) => Err(Error::unsupported(format!("template \"{template}\" of a database"))),
            None if TEMPLATES.contains(&template) => Ok(()),
            None => {
                let message = format!("template database \"{template}\" does not exist");
                Err(Error::new(Condition::InvalidCatalogName, message))
            }
        }
    }

    fn check_free(&self, name: &str) -> Result<(), Error> {
        if self.snapshot.database(name).is_some() {
            return Err(Error::new(Condition::DuplicateDatabase, format!("database \"{name}\" already exists")));
        }
        Ok(())
    }

    /// The dropped database's OID, or the notice that there is none.
    pub(super) fn drop_database(&self, name: &str, if_exists: bool, force: bool) -> Result<Result<u32, Error>, Error> {
        if if_exists && self.snapshot.database(name).is_none() {
            let message = format!("database \"{name}\" does not exist, skipping");
            return Ok(Err(Error::new(Condition::SuccessfulCompletion, message)));
        }
        let row = self.own_database(name)?;
        if name == self.actor.database {
            return Err(Error::new(Condition::ObjectInUse, "cannot drop the currently open database"));
        }
        if row.is_template {
            return Err(Error::new(Condition::WrongObjectType, "cannot drop a template database"));
        }
        if row.oid == POSTGRES_DATABASE_OID {
            // Idle workers have it open before they know their client.
            return Err(Error::unsupported("dropping database \"postgres\""));
        }
        if force {
            self.check_may_end_sessions(row.oid)?;
            (self.actor.end_sessions)(row.oid)?;
        }
        self.check_unused(row)?;
        self.run("DELETE FROM pgp_setting WHERE database = ?1", [row.oid])?;
        self.run("DELETE FROM pgp_database WHERE oid = ?1", [row.oid])?;
        Ok(Ok(row.oid))
    }

    /// As pg_terminate_backend() has it.
    fn check_may_end_sessions(&self, database: u32) -> Result<(), Error> {
        for role in (self.actor.sessions)(database) {
            if self.snapshot.is_superuser(role) && !self.me.superuser {
                return Err(denied("must be a superuser to terminate superuser process"));
            }
            let may = self.snapshot.has_privileges_of(self.me.oid, role)
                || self.snapshot.has_privileges_of_named(self.me.oid, "pg_signal_backend");
            if !may {
                return Err(denied(
                    "must be a member of the role whose process is being terminated or member of pg_signal_backend",
                ));
            }
        }
        Ok(())
    }

    fn check_unused(&self, row: &DatabaseRow) -> Result<(), Error> {
        let detail = match (self.actor.sessions)(row.oid).len() {
            0 => return Ok(()),
            1 => "There is 1 other session using the database.".to_owned(),
            sessions => format!("There are {sessions} other sessions using the database."),
        };
        let message = format!("database \"{}\" is being accessed by other users", row.name);
        Err(Error::new(Condition::ObjectInUse, message).detail(detail))
    }

    pub(super) fn alter_database(&self, name: &str, change: &DatabaseChange) -> Result<(), Error> {
        match change {
            DatabaseChange::RenameTo(to) => self.rename_database(name, to),
            DatabaseChange::OwnerTo(owner) => self.give_database(name, self.named(owner)),
            DatabaseChange::Options(options) => self.set_options(name, options),
        }
    }

    fn rename_database(&self, name: &str, to: &str) -> Result<(), Error> {
        let row = self.own_database(name)?;
        if !self.may_create_databases() {
            return Err(denied("permission denied to rename database"));
        }
        self.check_free(to)?;
        if name == self.actor.database {
            return Err(Error::new(Condition::FeatureNotSupported, "current database cannot be renamed"));
        }
        self.check_unused(row)?;
        self.run("UPDATE pgp_database SET name = ?2 WHERE oid = ?1", params![row.oid, to])
    }

    fn give_database(&self, name: &str, owner: &str) -> Result<(), Error> {
        let owner_oid = self.role(owner)?.oid;
        if self.any_database(name)?.owner == owner_oid {
            return Ok(());
        }
        let row = self.own_database(name)?;
        if !self.snapshot.may_become(self.me.oid, owner_oid) {
            return Err(denied(&format!("must be member of role \"{owner}\"")));
        }
        if !self.may_create_databases() {
            return Err(denied("permission denied to change owner of database"));
        }
        self.run("UPDATE pgp_database SET owner = ?2 WHERE oid = ?1", params![row.oid, owner_oid])?;
        if let Some(mut acl) = row.acl.clone() {
            acl.change_owner(row.owner, owner_oid);
            self.put_database_acl(row.oid, &acl)?;
        }
        Ok(())
    }

    fn set_options(&self, name: &str, options: &DatabaseOptions) -> Result<(), Error> {
        let row = self.own_database(name)?;
        if options.allow_connections == Some(false) && name == self.actor.database {
            let message = "cannot disallow connections for current database";
            return Err(Error::new(Condition::InvalidParameterValue, message));
        }
        self.run(
            "UPDATE pgp_database SET allow_connections = ?2, connection_limit = ?3, is_template = ?4 WHERE oid = ?1",
            params![
                row.oid,
                options.allow_connections.unwrap_or(row.allow_connections),
                options.connection_limit.unwrap_or(row.connection_limit),
                options.is_template.unwrap_or(row.is_template)
            ],
        )
    }
}
