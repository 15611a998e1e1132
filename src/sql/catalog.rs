//! What the planner knows of tables: the catalog's model and the interface it is read through.
//!
//! The model is serialisable: an engine stores a [`Relation`] as it is. Pure.

use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::acl::Acl;
use super::types::Type;
use crate::error::Error;

/// Read access to the catalog as the current statement sees it (its own uncommitted changes included).
pub trait Catalog {
    /// Changes whenever any relation changes; plans are kept for one version.
    fn version(&self) -> u64;

    /// The relation of that name: in `schema`, or else in the first schema of the search path that has it
    /// (pg_temp and pg_catalog first, as in PostgreSQL).
    fn relation(&self, schema: Option<&str>, name: &str) -> Result<Option<Rc<Relation>>, Error>;

    /// The relation with that OID.
    fn relation_by_oid(&self, oid: u32) -> Result<Option<Rc<Relation>>, Error>;

    /// Whether a schema of that name exists.
    fn schema_exists(&self, name: &str) -> Result<bool, Error>;

    /// 42501 where the schema exists and whoever asks may not use it.
    fn require_usable(&self, schema: &str) -> Result<(), Error>;

    /// The schemas of the search path that exist, in order, implicit ones left out; the first is where
    /// CREATE puts things.
    fn search_path(&self) -> Vec<String>;
}

/// A table, or something that can be read like one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Relation {
    /// `pg_class.oid`.
    pub oid: u32,
    /// Schema's name.
    pub schema: String,
    /// The relation's name.
    pub name: String,
    /// What it is.
    pub kind: RelationKind,
    /// Columns in order of attribute number; dropped ones keep their place.
    pub columns: Vec<ColumnDefinition>,
    /// PRIMARY KEY, UNIQUE, CHECK and FOREIGN KEY constraints.
    pub constraints: Vec<Constraint>,
    /// Indexes, those behind constraints included.
    pub indexes: Vec<Index>,
    /// OID of the role that owns it.
    pub owner: u32,
    /// What was granted on it, where anything ever was.
    #[serde(default, skip_serializing_if = "is_default")]
    pub acl: Option<Acl>,
    /// SQLite name of what holds the rows, without quotes. Of a partition: its root's.
    pub storage: String,
    /// Index of the column that is SQLite's rowid, where there is one.
    pub rowid_column: Option<usize>,
    /// CREATE UNLOGGED TABLE; shown, otherwise without effect.
    pub unlogged: bool,
    /// CREATE TEMPORARY TABLE.
    pub temporary: bool,
    /// Storage parameters as `reloptions` shows them ("fillfactor=100").
    pub options: Vec<String>,
    /// ON COMMIT, of a temporary table.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_commit: OnCommit,
    /// What it rests on.
    #[serde(default, skip_serializing_if = "is_default")]
    pub depends: Dependencies,
}

impl Relation {
    /// The index that a foreign key to these columns rests on: the oldest that fits.
    pub fn serving_index(&self, columns: &[usize]) -> Option<&Index> {
        let sorted = |mut columns: Vec<usize>| {
            columns.sort_unstable();
            columns
        };
        let wanted = sorted(columns.to_vec());
        let fits = |index: &&Index| {
            let own: Option<Vec<usize>> = index.keys.iter().map(|key| key.column).collect();
            index.unique && index.predicate.is_none() && own.map(sorted).is_some_and(|own| own == wanted)
        };
        self.indexes.iter().filter(fits).min_by_key(|index| index.oid)
    }
}

/// What a relation rests on besides its foreign keys and its partitioned table, all by OID, so that a change of names
/// breaks nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Dependencies {
    /// Of a view: the relations that its query names.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sources: Vec<ViewSource>,
    /// Of a table: columns whose defaults draw from a sequence, by index, each with the sequence's OID.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sequences: Vec<(usize, u32)>,
    /// Of a sequence: the column that it goes with.
    #[serde(default, skip_serializing_if = "is_default")]
    pub owner: SequenceOwner,
}

/// A relation as a view's query names it, and as it was when the view was made: the view sees its columns by the names
/// of that time, and none that were added since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewSource {
    /// The schema, where the query names one.
    pub schema: Option<String>,
    /// The name in the query.
    pub name: String,
    /// The relation.
    pub oid: u32,
    /// Names of its columns, dropped ones included.
    pub columns: Vec<String>,
    /// The columns that the query reads, by index.
    pub used: Vec<usize>,
}

/// Whom a sequence belongs to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SequenceOwner {
    /// Stored before this was: a sequence belongs to the column that it is named after.
    #[default]
    ByName,
    /// Nobody.
    Nobody,
    /// A table's column, by index.
    Column(u32, usize),
}

/// What says nothing is not stored, so that what was stored before it existed keeps its form.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What the end of a transaction does to a temporary table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum OnCommit {
    #[default]
    PreserveRows,
    DeleteRows,
    Drop,
}

/// What a relation is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum RelationKind {
    /// An ordinary table.
    Table,
    /// PARTITION BY; the rows of all partitions live in this relation's storage.
    Partitioned(Partitioning),
    /// PARTITION OF: the slice of its parent's storage that `bound` selects.
    Partition { parent: u32, bound: PartitionBound },
    /// A view: its query's PostgreSQL text.
    View { query: String },
    /// A sequence.
    Sequence,
    /// A view of the server's own state or of the catalog, served by a virtual table of the storage's name.
    System,
}

/// How a partitioned table is divided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Partitioning {
    /// Range, list or hash.
    pub strategy: PartitionStrategy,
    /// Key columns, as indices.
    pub columns: Vec<usize>,
    /// OIDs of the partitions.
    pub partitions: Vec<u32>,
}

/// PARTITION BY's methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum PartitionStrategy {
    Range,
    List,
    Hash,
}

/// Which rows a partition holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum PartitionBound {
    /// FROM (inclusive) TO (exclusive), one bound a key column.
    Range { from: Vec<RangeBound>, to: Vec<RangeBound> },
    /// IN (values).
    List(Vec<super::types::Value>),
    /// WITH (MODULUS, REMAINDER).
    Hash { modulus: u32, remainder: u32 },
    /// DEFAULT.
    Default,
}

/// One end of a range in one key column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum RangeBound {
    MinValue,
    Value(super::types::Value),
    MaxValue,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnDefinition {
    /// Its name; also its name in SQLite.
    pub name: String,
    /// Its type.
    pub type_: Type,
    /// Type modifier, -1 for none.
    pub typmod: i32,
    /// NOT NULL.
    pub not_null: bool,
    /// DEFAULT's PostgreSQL text.
    pub default: Option<String>,
    /// DROP COLUMN happened.
    pub dropped: bool,
    /// What was granted on the column alone.
    #[serde(default, skip_serializing_if = "is_default")]
    pub acl: Option<Acl>,
}

/// A constraint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Constraint {
    /// `pg_constraint.oid`.
    pub oid: u32,
    /// Its name, unique within the table.
    pub name: String,
    /// What it demands.
    pub kind: ConstraintKind,
    /// NOT VALID: rows that were there before it may violate it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub not_valid: bool,
    /// DEFERRABLE, of a foreign key.
    #[serde(default, skip_serializing_if = "is_default")]
    pub deferrable: bool,
    /// INITIALLY DEFERRED.
    #[serde(default, skip_serializing_if = "is_default")]
    pub deferred: bool,
}

impl Constraint {
    /// A valid one that is not deferrable.
    pub fn new(oid: u32, name: String, kind: ConstraintKind) -> Self {
        Self { oid, name, kind, not_valid: false, deferrable: false, deferred: false }
    }
}

/// What a constraint demands. Columns are indices into the table's columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum ConstraintKind {
    PrimaryKey {
        columns: Vec<usize>,
    },
    Unique {
        columns: Vec<usize>,
    },
    /// The expression's PostgreSQL text.
    Check {
        expression: String,
    },
    ForeignKey {
        columns: Vec<usize>,
        references: u32,
        referenced_columns: Vec<usize>,
        on_delete: ReferentialAction,
        on_update: ReferentialAction,
        /// MATCH FULL: all columns are NULL or none is.
        #[serde(default, skip_serializing_if = "is_default")]
        match_full: bool,
        /// The columns that ON DELETE SET NULL or SET DEFAULT sets; empty for all.
        #[serde(default, skip_serializing_if = "is_default")]
        delete_columns: Vec<usize>,
    },
}

/// ON DELETE and ON UPDATE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum ReferentialAction {
    NoAction,
    Restrict,
    Cascade,
    SetNull,
    SetDefault,
}

/// An index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Index {
    /// `pg_class.oid`.
    pub oid: u32,
    /// Its name, unique within the schema.
    pub name: String,
    /// UNIQUE.
    pub unique: bool,
    /// PRIMARY KEY's.
    pub primary: bool,
    /// Columns, or expressions as PostgreSQL text.
    pub keys: Vec<IndexKey>,
    /// WHERE's PostgreSQL text.
    pub predicate: Option<String>,
    /// Name of the SQLite index, or `None` where the table's rowid serves.
    pub storage: Option<String>,
}

/// One key of an index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct IndexKey {
    /// A column's index, where it is a plain column.
    pub column: Option<usize>,
    /// Otherwise the expression's PostgreSQL text.
    pub expression: Option<String>,
    pub descending: bool,
    pub nulls_first: bool,
}
