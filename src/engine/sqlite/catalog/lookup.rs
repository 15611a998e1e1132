//! Reading the stored catalog: by name through the search path, by OID, and as a whole for the system views.

use std::rc::Rc;

use rusqlite::{Connection, OptionalExtension};

use super::{Cache, DefaultAcl, Schema, TEMPORARY_SCHEMA, failure};
use crate::engine::cluster::SUPERUSER_OID;
use crate::engine::sqlite::rights::Rights;
use crate::engine::sqlite::views;
use crate::error::Error;
use crate::sql::acl::{Acl, Privileges};
use crate::sql::catalog::{Catalog, ConstraintKind, Relation};
use crate::sql::define::identifier;

/// The catalog as the connection's transaction sees it, read through a cache.
pub struct StoredCatalog<'a> {
    /// Where the tables are.
    pub connection: &'a Connection,
    /// What is known already.
    pub cache: &'a Cache,
    /// The session's search_path, `"$user"` resolved.
    pub search_path: &'a [String],
    /// As whom schemas are looked at.
    pub rights: &'a Rights,
}

/// Schemas that are there without being stored, and where they stand in `pg_namespace`.
pub const SYSTEM_SCHEMAS: &[(&str, u32)] = &[("pg_catalog", 11), ("information_schema", 13_000), ("pgprefork", 13_001)];

impl StoredCatalog<'_> {
    /// All stored schemas.
    pub fn schemas(&self) -> Result<Rc<[Schema]>, Error> {
        if let Some(schemas) = self.cache.schemas.borrow().as_ref() {
            return Ok(Rc::clone(schemas));
        }
        let mut statement = self
            .connection
            .prepare_cached("SELECT oid, name, owner, acl FROM main.pgp_schema ORDER BY oid")
            .map_err(failure)?;
        let rows = statement
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get::<_, Option<String>>(3)?)))
            .map_err(failure)?;
        let mut schemas = Vec::new();
        for row in rows {
            let (oid, name, owner, acl) = row.map_err(failure)?;
            schemas.push(Schema { oid, name, owner, acl: acl.map(|json| parse(&json)).transpose()? });
        }
        let schemas: Rc<[Schema]> = schemas.into();
        *self.cache.schemas.borrow_mut() = Some(Rc::clone(&schemas));
        Ok(schemas)
    }

    /// Default privileges, oldest first.
    pub fn default_acls(&self) -> Result<Vec<DefaultAcl>, Error> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT oid, role, schema, object, acl FROM main.pgp_default_acl ORDER BY oid")
            .map_err(failure)?;
        let rows = statement
            .query_map([], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get::<_, String>(3)?, row.get::<_, String>(4)?))
            })
            .map_err(failure)?;
        let mut found = Vec::new();
        for row in rows {
            let (oid, role, schema, object, acl) = row.map_err(failure)?;
            found.push(DefaultAcl { oid, role, schema, kind: parse(&object)?, acl: parse(&acl)? });
        }
        Ok(found)
    }

    /// The stored schema of that name.
    pub fn schema(&self, name: &str) -> Result<Option<Schema>, Error> {
        Ok(self.schemas()?.iter().find(|schema| schema.name == name).cloned())
    }

    /// A relation's name, with its schema where the search path finds another one of that name or none.
    pub fn shown_name(&self, relation: &Relation) -> Result<String, Error> {
        let visible = self.relation(None, &relation.name)?.is_some_and(|found| found.oid == relation.oid);
        let name = identifier(&relation.name);
        Ok(if visible { name } else { format!("{}.{name}", identifier(&relation.schema)) })
    }

    /// Every stored relation, in order of OID; system views are not among them.
    pub fn relations(&self) -> Result<Vec<Rc<Relation>>, Error> {
        let mut all = Vec::new();
        let databases: &[&str] = if self.cache.temporary.get() { &["main", "temp"] } else { &["main"] };
        for database in databases {
            let sql = format!("SELECT definition FROM {database}.pgp_relation ORDER BY oid");
            let mut statement = self.connection.prepare(&sql).map_err(failure)?;
            let rows = statement.query_map([], |row| row.get::<_, String>(0)).map_err(failure)?;
            for json in rows {
                all.push(Rc::new(parse(&json.map_err(failure)?)?));
            }
        }
        Ok(all)
    }

    /// The relations whose foreign keys refer to this one.
    pub fn referencing(&self, oid: u32) -> Result<Vec<Rc<Relation>>, Error> {
        let mut found = self.dependents(oid)?;
        found.retain(|other| {
            other
                .constraints
                .iter()
                .any(|own| matches!(own.kind, ConstraintKind::ForeignKey { references, .. } if references == oid))
        });
        Ok(found)
    }

    /// The relations that rest on this one: by foreign keys, as views, by defaults that draw from it, as sequences that
    /// its columns own.
    pub fn dependents(&self, oid: u32) -> Result<Vec<Rc<Relation>>, Error> {
        let mut found = Vec::new();
        let databases: &[&str] = if self.cache.temporary.get() { &["main", "temp"] } else { &["main"] };
        for database in databases {
            let sql = format!("SELECT referencing FROM {database}.pgp_reference WHERE referenced = ?1");
            let mut statement = self.connection.prepare(&sql).map_err(failure)?;
            let oids: Vec<u32> =
                statement.query_map([oid], |row| row.get(0)).and_then(Iterator::collect).map_err(failure)?;
            for oid in oids {
                found.extend(self.relation_by_oid(oid)?);
            }
        }
        Ok(found)
    }

    /// The relation that has an index of that name.
    pub fn relation_of_index(&self, schema: Option<&str>, name: &str) -> Result<Option<Rc<Relation>>, Error> {
        let schemas: Vec<&str> = match schema {
            Some(schema) => vec![schema],
            None => self.whole_path().collect(),
        };
        for schema in schemas {
            let Some(database) = self.database_of(schema) else { continue };
            let sql = format!("SELECT relation FROM {database}.pgp_index WHERE schema = ?1 AND name = ?2");
            let oid: Option<u32> = self
                .connection
                .prepare_cached(&sql)
                .and_then(|mut statement| statement.query_row([schema, name], |row| row.get(0)).optional())
                .map_err(failure)?;
            if let Some(oid) = oid {
                return self.relation_by_oid(oid);
            }
        }
        Ok(None)
    }

    /// Whether a relation or an index of that name is in the schema: they share their names.
    pub fn name_taken(&self, schema: &str, name: &str) -> Result<bool, Error> {
        Ok(self.relation(Some(schema), name)?.is_some() || self.relation_of_index(Some(schema), name)?.is_some())
    }

    /// A stored comment.
    pub fn comment(&self, relation: u32, attribute: i64) -> Result<Option<String>, Error> {
        self.connection
            .prepare_cached("SELECT text FROM main.pgp_comment WHERE relation = ?1 AND attribute = ?2")
            .and_then(|mut statement| {
                statement.query_row(rusqlite::params![relation, attribute], |row| row.get(0)).optional()
            })
            .map_err(failure)
    }

    /// All schemas, system ones included, as `pg_namespace` shows them.
    pub fn all_schemas(&self) -> Result<Vec<Schema>, Error> {
        let system = SYSTEM_SCHEMAS.iter().map(|(name, oid)| Schema {
            oid: *oid,
            name: (*name).to_owned(),
            owner: SUPERUSER_OID,
            acl: Some(Acl::of_public_schema(SUPERUSER_OID)),
        });
        Ok(system.chain(self.schemas()?.iter().cloned()).collect())
    }

    /// All comments as (relation, attribute, text).
    pub fn comments(&self) -> Result<Vec<(u32, i64, String)>, Error> {
        let mut statement =
            self.connection.prepare("SELECT relation, attribute, text FROM main.pgp_comment").map_err(failure)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).map_err(failure)?;
        rows.collect::<Result<_, _>>().map_err(failure)
    }

    /// Where relations are looked for: temporary ones and the system's first, unless the path names their place.
    fn whole_path(&self) -> impl Iterator<Item = &str> {
        let implied = [TEMPORARY_SCHEMA, "pg_catalog"].into_iter();
        let implied = implied.filter(|implied| !self.search_path.iter().any(|schema| schema == implied));
        implied.chain(self.search_path.iter().map(String::as_str))
    }

    /// Which SQLite database has the schema's rows; `None` for temporary ones when there are none.
    fn database_of(&self, schema: &str) -> Option<&'static str> {
        if schema != TEMPORARY_SCHEMA {
            return Some("main");
        }
        self.cache.temporary.get().then_some("temp")
    }

    fn stored(&self, schema: &str, name: &str) -> Result<Option<Rc<Relation>>, Error> {
        let key = (schema.to_owned(), name.to_owned());
        if let Some(known) = self.cache.names.borrow().get(&key) {
            return Ok(known.clone());
        }
        let Some(database) = self.database_of(schema) else { return Ok(None) };
        let sql = format!("SELECT definition FROM {database}.pgp_relation WHERE schema = ?1 AND name = ?2");
        let json: Option<String> = self
            .connection
            .prepare_cached(&sql)
            .and_then(|mut statement| statement.query_row([schema, name], |row| row.get(0)).optional())
            .map_err(failure)?;
        let relation = json.map(|json| parse::<Relation>(&json).map(Rc::new)).transpose()?;
        if let Some(relation) = &relation {
            self.cache.oids.borrow_mut().insert(relation.oid, Some(Rc::clone(relation)));
        }
        self.cache.names.borrow_mut().insert(key, relation.clone());
        Ok(relation)
    }
}

fn parse<T: serde::de::DeserializeOwned>(json: &str) -> Result<T, Error> {
    serde_json::from_str(json).map_err(|error| {
        Error::new(crate::error::Condition::DataCorrupted, format!("could not read a catalog entry: {error}"))
    })
}

impl Catalog for StoredCatalog<'_> {
    fn version(&self) -> u64 {
        self.cache.generation.get()
    }

    fn relation(&self, schema: Option<&str>, name: &str) -> Result<Option<Rc<Relation>>, Error> {
        match schema {
            Some("pg_catalog" | "information_schema" | "pgprefork") => Ok(views::relation(schema.unwrap_or(""), name)),
            Some(schema) => self.stored(schema, name),
            None => {
                for schema in self.whole_path() {
                    if let Some(found) = self.relation(Some(schema), name)? {
                        return Ok(Some(found));
                    }
                }
                Ok(None)
            }
        }
    }

    fn relation_by_oid(&self, oid: u32) -> Result<Option<Rc<Relation>>, Error> {
        if let Some(known) = self.cache.oids.borrow().get(&oid) {
            return Ok(known.clone());
        }
        if let Some(system) = views::relation_by_oid(oid) {
            return Ok(Some(system));
        }
        let mut json: Option<String> = None;
        let databases: &[&str] = if self.cache.temporary.get() { &["main", "temp"] } else { &["main"] };
        for database in databases {
            let sql = format!("SELECT definition FROM {database}.pgp_relation WHERE oid = ?1");
            json = self
                .connection
                .prepare_cached(&sql)
                .and_then(|mut statement| statement.query_row([oid], |row| row.get(0)).optional())
                .map_err(failure)?;
            if json.is_some() {
                break;
            }
        }
        let relation = json.map(|json| parse::<Relation>(&json).map(Rc::new)).transpose()?;
        self.cache.oids.borrow_mut().insert(oid, relation.clone());
        Ok(relation)
    }

    fn schema_exists(&self, name: &str) -> Result<bool, Error> {
        if name == TEMPORARY_SCHEMA || SYSTEM_SCHEMAS.iter().any(|(system, _)| *system == name) {
            return Ok(true);
        }
        Ok(self.schemas()?.iter().any(|schema| schema.name == name))
    }

    fn require_usable(&self, schema: &str) -> Result<(), Error> {
        if self.rights.superuser {
            return Ok(());
        }
        match self.schemas()?.iter().find(|known| known.name == schema) {
            Some(known) => self.rights.require_schema(known, Privileges::USAGE),
            None => Ok(()),
        }
    }

    fn search_path(&self) -> Vec<String> {
        let exists = |name: &&String| self.schema_exists(name).unwrap_or(false);
        self.search_path.iter().filter(exists).cloned().collect()
    }
}
