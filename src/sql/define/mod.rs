//! Statements that change a catalog: their grammar and their meaning apart from any catalog.
//!
//! A [`Definition`] is what the text says, with types and options resolved and names left as names: like
//! PostgreSQL, which only parses a utility statement before it runs, the names are looked up when the change is
//! carried out, under the writer lock. Expressions and queries are kept as text. Pure.

mod alter;
mod cursor;
mod database;
mod grant;
pub mod options;
pub mod partition;
mod privilege;
mod role;
mod table;
mod types;
mod utility;

pub use cursor::{fold_name, identifier, names_in, rename_in, sequences_in, written_name};
pub use grant::MembershipOptions;
pub use privilege::{Grantee, PrivilegeChange, PrivilegeTarget};
pub use types::type_by_name;

use crate::error::Error;
pub use crate::sql::catalog::OnCommit;
use crate::sql::catalog::{PartitionStrategy, ReferentialAction};
use crate::sql::types::Type;
use cursor::Cursor;

/// A change of the database's or the cluster's catalog, or maintenance of a table.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Definition {
    CreateTable(CreateTable),
    CreateTableAs(CreateTableAs),
    CreateIndex(CreateIndex),
    CreateSchema {
        name: Option<String>,
        if_not_exists: bool,
        authorization: Option<RoleName>,
    },
    /// ALTER SCHEMA … RENAME TO.
    SchemaRename {
        name: String,
        to: String,
    },
    /// ALTER SCHEMA … OWNER TO.
    SchemaOwner {
        name: String,
        owner: RoleName,
    },
    CreateView(CreateView),
    CreateSequence(CreateSequence),
    /// DROP TABLE, VIEW, INDEX, SEQUENCE, SCHEMA.
    Drop {
        object: ObjectKind,
        names: Vec<Name>,
        if_exists: bool,
        cascade: bool,
    },
    /// DROP TYPE, DOMAIN: there are none but the system's.
    DropType {
        kind: &'static str,
        names: Vec<Name>,
        if_exists: bool,
    },
    Truncate {
        tables: Vec<Name>,
        cascade: bool,
        restart_identity: bool,
    },
    AlterTable {
        table: Name,
        object: ObjectKind,
        if_exists: bool,
        actions: Vec<AlterAction>,
    },
    /// VACUUM, with ANALYZE or without: no table means all.
    Vacuum {
        tables: Vec<Name>,
        /// Columns to analyse, each with the place of its table.
        columns: Vec<(usize, String)>,
        analyze: bool,
    },
    Analyze {
        tables: Vec<Name>,
        /// Columns named, each with the place of its table.
        columns: Vec<(usize, String)>,
    },
    /// REINDEX INDEX, TABLE, SCHEMA, DATABASE: the name is given for the first two.
    Reindex {
        object: ObjectKind,
        name: Option<Name>,
    },
    Checkpoint,
    /// COMMENT ON a relation or one of its columns; other objects are accepted and not stored.
    Comment {
        object: String,
        name: Name,
        column: Option<String>,
        text: Option<String>,
    },
    CreateRole {
        name: String,
        options: RoleOptions,
        if_user: bool,
    },
    AlterRole {
        name: RoleName,
        options: RoleOptions,
    },
    /// GRANT of roles.
    GrantRole {
        roles: Vec<String>,
        members: Vec<RoleName>,
        options: MembershipOptions,
        grantor: Option<RoleName>,
    },
    /// REVOKE of roles, or of the options that are said to be false.
    RevokeRole {
        roles: Vec<String>,
        members: Vec<RoleName>,
        options: MembershipOptions,
        grantor: Option<RoleName>,
        cascade: bool,
    },
    /// GRANT and REVOKE on objects.
    Privileges(PrivilegeChange),
    /// ALTER DEFAULT PRIVILEGES: no roles for the current one, no schemas for all.
    AlterDefaultPrivileges {
        roles: Vec<RoleName>,
        schemas: Vec<String>,
        change: PrivilegeChange,
    },
    ReassignOwned {
        roles: Vec<RoleName>,
        to: RoleName,
    },
    DropOwned {
        roles: Vec<RoleName>,
        cascade: bool,
    },
    RenameRole {
        name: String,
        to: String,
    },
    DropRole {
        names: Vec<String>,
        if_exists: bool,
    },
    CreateDatabase {
        name: String,
        options: DatabaseOptions,
    },
    DropDatabase {
        name: String,
        if_exists: bool,
        /// WITH (FORCE): sessions in it are ended.
        force: bool,
    },
    AlterDatabase {
        name: String,
        change: DatabaseChange,
    },
    /// ALTER ROLE … SET and RESET, for a role or ALL, perhaps in a database; ALTER DATABASE … SET and RESET.
    AlterSetting {
        role: Option<RoleName>,
        database: Option<String>,
        /// Of ALTER DATABASE: the command's tag.
        is_of_database: bool,
        change: SettingChange,
    },
}

/// Where a definition takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The session's database, in its write transaction.
    Database,
    /// The cluster's catalog of roles and databases.
    Cluster,
    /// No catalog: VACUUM, ANALYZE, CHECKPOINT, REINDEX.
    Maintenance,
}

impl Definition {
    /// Where it takes effect.
    pub fn scope(&self) -> Scope {
        use Definition::*;
        match self {
            CreateRole { .. } | AlterRole { .. } | RenameRole { .. } | DropRole { .. } => Scope::Cluster,
            GrantRole { .. } | RevokeRole { .. } => Scope::Cluster,
            Privileges(PrivilegeChange { target: PrivilegeTarget::Databases(_), .. }) => Scope::Cluster,
            CreateDatabase { .. } | DropDatabase { .. } | AlterDatabase { .. } => Scope::Cluster,
            AlterSetting { .. } => Scope::Cluster,
            Vacuum { .. } | Analyze { .. } | Reindex { .. } | Checkpoint => Scope::Maintenance,
            _ => Scope::Database,
        }
    }

    /// Whether all that it makes is temporary, as far as its text says.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::CreateTable(table) => table.temporary,
            Self::CreateTableAs(table) => table.temporary,
            Self::CreateView(view) => view.temporary,
            Self::CreateSequence(sequence) => sequence.temporary,
            _ => false,
        }
    }

    /// The name by which PostgreSQL refuses it inside a transaction block (25001), where it does.
    pub fn refused_in_transaction(&self) -> Option<&'static str> {
        match self {
            Self::Vacuum { .. } => Some("VACUUM"),
            Self::CreateDatabase { .. } => Some("CREATE DATABASE"),
            Self::DropDatabase { .. } => Some("DROP DATABASE"),
            Self::CreateIndex(index) if index.concurrently => Some("CREATE INDEX CONCURRENTLY"),
            _ => None,
        }
    }

    /// The command tag.
    pub fn tag(&self) -> &'static str {
        match self {
            Self::CreateTable(_) => "CREATE TABLE",
            Self::CreateTableAs(_) => "CREATE TABLE AS",
            Self::CreateIndex(_) => "CREATE INDEX",
            Self::CreateSchema { .. } => "CREATE SCHEMA",
            Self::CreateView(_) => "CREATE VIEW",
            Self::CreateSequence(_) => "CREATE SEQUENCE",
            Self::Drop { object, .. } => match object {
                ObjectKind::Table => "DROP TABLE",
                ObjectKind::View => "DROP VIEW",
                ObjectKind::Index => "DROP INDEX",
                ObjectKind::Sequence => "DROP SEQUENCE",
                ObjectKind::Schema => "DROP SCHEMA",
                ObjectKind::Database => "DROP DATABASE",
            },
            Self::DropType { kind: "domain", .. } => "DROP DOMAIN",
            Self::DropType { .. } => "DROP TYPE",
            Self::Truncate { .. } => "TRUNCATE TABLE",
            Self::AlterTable { object, .. } => match object {
                ObjectKind::Index => "ALTER INDEX",
                ObjectKind::View => "ALTER VIEW",
                ObjectKind::Sequence => "ALTER SEQUENCE",
                _ => "ALTER TABLE",
            },
            Self::Vacuum { .. } => "VACUUM",
            Self::Analyze { .. } => "ANALYZE",
            Self::Reindex { .. } => "REINDEX",
            Self::Checkpoint => "CHECKPOINT",
            Self::Comment { .. } => "COMMENT",
            Self::CreateRole { .. } => "CREATE ROLE",
            Self::AlterRole { .. } | Self::RenameRole { .. } => "ALTER ROLE",
            Self::DropRole { .. } => "DROP ROLE",
            Self::SchemaOwner { .. } | Self::SchemaRename { .. } => "ALTER SCHEMA",
            Self::Privileges(change) => {
                if change.grants {
                    "GRANT"
                } else {
                    "REVOKE"
                }
            }
            Self::AlterDefaultPrivileges { .. } => "ALTER DEFAULT PRIVILEGES",
            Self::ReassignOwned { .. } => "REASSIGN OWNED",
            Self::DropOwned { .. } => "DROP OWNED",
            Self::GrantRole { .. } => "GRANT ROLE",
            Self::RevokeRole { .. } => "REVOKE ROLE",
            Self::CreateDatabase { .. } => "CREATE DATABASE",
            Self::DropDatabase { .. } => "DROP DATABASE",
            Self::AlterDatabase { .. } | Self::AlterSetting { is_of_database: true, .. } => "ALTER DATABASE",
            Self::AlterSetting { .. } => "ALTER ROLE",
        }
    }
}

/// A name as written, folded, perhaps with its schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The schema, where one was given.
    pub schema: Option<String>,
    /// The object's own name.
    pub name: String,
    /// 1-based character position in the statement.
    pub position: usize,
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// Kinds of objects that DROP, ALTER and REINDEX name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ObjectKind {
    Table,
    View,
    Index,
    Sequence,
    Schema,
    Database,
}

/// CREATE TABLE.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct CreateTable {
    pub name: Name,
    pub if_not_exists: bool,
    pub temporary: bool,
    pub unlogged: bool,
    pub columns: Vec<ColumnClause>,
    pub constraints: Vec<ConstraintClause>,
    pub like: Vec<LikeClause>,
    /// Storage parameters as `reloptions` shows them.
    pub options: Vec<String>,
    pub partition_by: Option<(PartitionStrategy, Vec<String>)>,
    pub partition_of: Option<(Name, BoundClause)>,
    pub on_commit: OnCommit,
}

/// LIKE, among the columns of CREATE TABLE.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct LikeClause {
    pub source: Name,
    /// The number of columns written before it.
    pub after: usize,
    pub defaults: bool,
    pub constraints: bool,
    pub indexes: bool,
}

/// CREATE TABLE name AS query.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct CreateTableAs {
    pub name: Name,
    pub if_not_exists: bool,
    pub temporary: bool,
    pub unlogged: bool,
    pub columns: Vec<String>,
    pub options: Vec<String>,
    pub query: String,
    pub with_data: bool,
    pub on_commit: OnCommit,
}

/// One column of CREATE TABLE or ADD COLUMN.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct ColumnClause {
    pub name: String,
    pub type_: Type,
    pub typmod: i32,
    pub not_null: bool,
    /// The expression's text.
    pub default: Option<String>,
    /// serial, bigserial, or GENERATED … AS IDENTITY: a sequence of the column's own supplies the default.
    pub generated: Option<Generated>,
    /// Constraints written with the column, its name filled in as their column.
    pub constraints: Vec<ConstraintClause>,
}

/// Where a column's values come from when none is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Generated {
    Serial,
    IdentityAlways,
    IdentityByDefault,
}

/// A constraint as written.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct ConstraintClause {
    pub name: Option<String>,
    pub kind: ConstraintClauseKind,
    /// FOREIGN KEY … NOT VALID or CHECK … NOT VALID: rows that exist are not looked at.
    pub not_valid: bool,
    /// DEFERRABLE, of a foreign key.
    pub deferral: Deferral,
}

/// When a foreign key is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Deferral {
    /// At the end of each statement.
    #[default]
    No,
    /// DEFERRABLE INITIALLY IMMEDIATE: likewise, unless SET CONSTRAINTS says otherwise.
    InitiallyImmediate,
    /// DEFERRABLE INITIALLY DEFERRED: at the end of the transaction, unless SET CONSTRAINTS says otherwise.
    InitiallyDeferred,
}

/// What a written constraint demands.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum ConstraintClauseKind {
    PrimaryKey {
        columns: Vec<String>,
    },
    Unique {
        columns: Vec<String>,
    },
    Check {
        expression: String,
    },
    ForeignKey {
        columns: Vec<String>,
        table: Name,
        referenced: Vec<String>,
        on_delete: ReferentialAction,
        on_update: ReferentialAction,
        match_full: bool,
        /// Columns of ON DELETE SET NULL or SET DEFAULT; empty for all.
        delete_columns: Vec<String>,
    },
}

/// FOR VALUES of a partition; bounds are literals' texts, `None` for NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum BoundClause {
    Range { from: Vec<BoundValue>, to: Vec<BoundValue> },
    List(Vec<Option<String>>),
    Hash { modulus: u32, remainder: u32 },
    Default,
}

/// One value of a range bound.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum BoundValue {
    MinValue,
    MaxValue,
    Literal(String),
}

/// CREATE INDEX.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct CreateIndex {
    pub name: Option<String>,
    pub table: Name,
    pub unique: bool,
    pub if_not_exists: bool,
    pub concurrently: bool,
    pub keys: Vec<IndexKeyClause>,
    pub predicate: Option<String>,
}

/// One key of CREATE INDEX.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct IndexKeyClause {
    pub column: Option<String>,
    pub expression: Option<String>,
    pub descending: bool,
    pub nulls_first: bool,
}

/// CREATE VIEW.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct CreateView {
    pub name: Name,
    pub or_replace: bool,
    pub temporary: bool,
    pub columns: Vec<String>,
    pub query: String,
}

/// CREATE SEQUENCE.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct CreateSequence {
    pub name: Name,
    pub if_not_exists: bool,
    pub temporary: bool,
    pub options: SequenceOptions,
}

/// A sequence's options; `None` where nothing was said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct SequenceOptions {
    pub type_: Option<Type>,
    pub start: Option<i64>,
    pub increment: Option<i64>,
    /// `Some(None)`: NO MINVALUE.
    pub minimum: Option<Option<i64>>,
    pub maximum: Option<Option<i64>>,
    pub cycle: Option<bool>,
    /// RESTART, of ALTER SEQUENCE; `Some(None)`: at the start value.
    pub restart: Option<Option<i64>>,
    /// OWNED BY a column of a table; `Some(None)`: NONE.
    pub owned_by: Option<Option<(Name, String)>>,
}

/// One action of ALTER TABLE.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum AlterAction {
    AddColumn {
        column: ColumnClause,
        if_not_exists: bool,
    },
    DropColumn {
        name: String,
        if_exists: bool,
        cascade: bool,
    },
    RenameColumn {
        from: String,
        to: String,
    },
    AddConstraint(ConstraintClause),
    DropConstraint {
        name: String,
        if_exists: bool,
        cascade: bool,
    },
    RenameConstraint {
        from: String,
        to: String,
    },
    ValidateConstraint {
        name: String,
    },
    SetNotNull {
        column: String,
    },
    DropNotNull {
        column: String,
    },
    SetDefault {
        column: String,
        expression: String,
    },
    DropDefault {
        column: String,
    },
    /// TYPE: rows are converted by an assignment cast, or by USING.
    SetType {
        column: String,
        type_: Type,
        typmod: i32,
        using: Option<String>,
    },
    RenameTo {
        name: String,
    },
    SetSchema {
        name: String,
    },
    OwnerTo {
        role: RoleName,
    },
    /// ALTER SEQUENCE's own options.
    Sequence(SequenceOptions),
    /// SET (fillfactor = 90).
    SetOptions(Vec<String>),
    /// RESET (fillfactor).
    ResetOptions(Vec<String>),
    SetUnlogged(bool),
    /// A statistics target or a storage mode of a column, which has to be there; nothing else depends on them.
    ColumnOption {
        column: String,
        /// SET STORAGE's mode.
        storage: Option<String>,
    },
    /// Clustering, tablespace pg_default: nothing here depends on them.
    Nothing,
}

/// A role's name, or a keyword that stands for one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum RoleName {
    Named(String),
    CurrentUser,
    SessionUser,
}

/// Options of CREATE and ALTER ROLE; `None` where nothing was said.
#[derive(Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct RoleOptions {
    pub superuser: Option<bool>,
    pub login: Option<bool>,
    pub create_database: Option<bool>,
    pub create_role: Option<bool>,
    pub inherit: Option<bool>,
    pub replication: Option<bool>,
    pub bypass_row_security: Option<bool>,
    pub connection_limit: Option<i32>,
    /// The clear password or a verifier; `Some(None)` for PASSWORD NULL.
    pub password: Option<Option<String>>,
    /// A timestamp's text.
    pub valid_until: Option<String>,
    /// Roles that this one becomes a member of.
    pub in_roles: Vec<String>,
    /// Roles that become members of this one.
    pub members: Vec<String>,
    /// Those that may grant it to others as well.
    pub admins: Vec<String>,
}

impl std::fmt::Debug for RoleOptions {
    /// Leaves the password out: definitions may be logged.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RoleOptions")
            .field("superuser", &self.superuser)
            .field("login", &self.login)
            .finish_non_exhaustive()
    }
}

/// Options of CREATE and ALTER DATABASE; `None` where nothing was said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct DatabaseOptions {
    pub owner: Option<String>,
    pub template: Option<String>,
    pub allow_connections: Option<bool>,
    pub connection_limit: Option<i32>,
    pub is_template: Option<bool>,
}

/// What ALTER DATABASE does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum DatabaseChange {
    RenameTo(String),
    OwnerTo(RoleName),
    /// ALLOW_CONNECTIONS, CONNECTION LIMIT, IS_TEMPLATE.
    Options(DatabaseOptions),
}

/// What ALTER … SET and RESET do to stored settings.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum SettingChange {
    Set {
        name: String,
        values: Vec<String>,
    },
    /// SET name FROM CURRENT.
    Keep(String),
    Reset(String),
    ResetAll,
}

/// Parses a statement that defines or maintains something. `None`: it is none of those (a query, DML, SET …).
pub fn parse(text: &str) -> Result<Option<Definition>, Error> {
    if !starts_definition(text) {
        return Ok(None);
    }
    let mut cursor = Cursor::new(text)?;
    let Some(definition) = utility::statement(&mut cursor)? else { return Ok(None) };
    cursor.semicolons();
    cursor.expect_end()?;
    Ok(Some(definition))
}

/// Whether the text's first word can start a definition: a cheap test before tokens are made.
pub fn starts_definition(text: &str) -> bool {
    const FIRST: &[&str] = &[
        "create",
        "drop",
        "truncate",
        "alter",
        "vacuum",
        "analyze",
        "analyse",
        "reindex",
        "checkpoint",
        "comment",
        "cluster",
        "grant",
        "revoke",
        "security",
        "reassign",
        "refresh",
        "import",
    ];
    let word = cursor::first_word(text);
    FIRST.iter().any(|first| word.eq_ignore_ascii_case(first))
}

#[cfg(test)]
mod tests;
