//! The typed form of queries and data changes between binder and emitter.
//!
//! Every expression knows its type; every name is resolved to a numbered table of the statement. Holds no SQL.

use super::functions::Emit;
use super::types::{Type, Value};

/// An expression with its type.
#[derive(Debug, Clone, PartialEq)]
pub struct Scalar {
    /// What it computes.
    pub node: Node,
    /// Its type; `Unknown` for constants and parameters that no context has given one yet.
    pub type_: Type,
    /// Its type modifier, -1 for none.
    pub typmod: i32,
}

impl Scalar {
    /// An expression without a modifier.
    pub fn new(node: Node, type_: Type) -> Self {
        Self { node, type_, typmod: -1 }
    }

    /// An integer that the planner itself puts in.
    pub fn integer(value: i64) -> Self {
        Self::new(Node::Constant(Value::Int(value)), Type::Int8)
    }

    /// A truth value that the planner itself puts in.
    pub fn boolean(value: bool) -> Self {
        Self::new(Node::Constant(Value::Int(i64::from(value))), Type::Bool)
    }

    /// NULL.
    pub fn null(type_: Type) -> Self {
        Self::new(Node::Constant(Value::Null), type_)
    }

    /// A call.
    pub fn call(emit: Emit, arguments: Vec<Scalar>, type_: Type) -> Self {
        Self::new(Node::Call { emit, arguments }, type_)
    }

    /// Whether its value is the same NULL-free one in every row: the planner's own constants.
    pub fn never_null(&self) -> bool {
        match &self.node {
            Node::Column { not_null, .. } => *not_null,
            Node::Constant(value) => !value.is_null(),
            Node::Literal { .. } => true,
            _ => false,
        }
    }
}

/// What an expression computes.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Node {
    /// A value known while planning, written into the SQL.
    Constant(Value),
    /// A constant of the statement's text, by its number there.
    Literal {
        index: usize,
        negated: bool,
    },
    /// A string constant of other text (a view, a default) that has no type yet.
    Untyped(String),
    /// The client's parameter, counted from 0.
    Parameter(usize),
    /// SQLite's SQL as it is: a partition's bound.
    Sql(String),
    /// Pieces written one after the other: a partition's bound over values.
    Concatenated(Vec<Scalar>),
    /// The transaction's start, or the statement's.
    Timestamp {
        statement: bool,
    },
    /// A column of a numbered table; `origin`: the catalog's table and attribute number.
    Column {
        table: usize,
        name: String,
        not_null: bool,
        origin: Option<(u32, i16)>,
    },
    /// A function or an operator.
    Call {
        emit: Emit,
        arguments: Vec<Scalar>,
    },
    /// An aggregate, or a window function where `over` is given.
    Aggregate(Box<Aggregate>),
    And(Vec<Scalar>),
    Or(Vec<Scalar>),
    Not(Box<Scalar>),
    IsNull {
        argument: Box<Scalar>,
        negated: bool,
    },
    /// IS \[NOT\] TRUE and FALSE.
    IsTruth {
        argument: Box<Scalar>,
        value: bool,
        negated: bool,
    },
    /// IS \[NOT\] DISTINCT FROM.
    IsDistinct {
        left: Box<Scalar>,
        right: Box<Scalar>,
        negated: bool,
    },
    Case {
        branches: Vec<(Scalar, Scalar)>,
        otherwise: Option<Box<Scalar>>,
    },
    InList {
        argument: Box<Scalar>,
        list: Vec<Scalar>,
        negated: bool,
    },
    InQuery {
        arguments: Vec<Scalar>,
        query: Box<Query>,
        negated: bool,
    },
    Exists(Box<Query>),
    Subquery(Box<Query>),
    /// DEFAULT in VALUES or SET, before the target column replaces it.
    Default,
    /// A row of several values; comparisons take it apart.
    Row(Vec<Scalar>),
}

/// An aggregate's or window function's call.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Aggregate {
    pub emit: Emit,
    pub distinct: bool,
    /// `count(*)`.
    pub star: bool,
    pub arguments: Vec<Scalar>,
    pub order: Vec<Order>,
    pub filter: Option<Scalar>,
    pub over: Option<Window>,
}

/// OVER (…).
#[derive(Debug, Clone, PartialEq, Default)]
#[allow(missing_docs)]
pub struct Window {
    pub partition: Vec<Scalar>,
    pub order: Vec<Order>,
    /// The frame as SQLite writes it, which is as PostgreSQL does.
    pub frame: Option<Frame>,
}

impl Window {
    /// Whether rows leave the frame at its start.
    pub fn start_moves(&self) -> bool {
        self.frame.as_ref().is_some_and(|frame| frame.start != FrameBound::Preceding(None))
    }
}

/// A window's frame.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Frame {
    pub units: &'static str,
    pub start: FrameBound,
    pub end: Option<FrameBound>,
}

/// One end of a frame.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum FrameBound {
    CurrentRow,
    Preceding(Option<Scalar>),
    Following(Option<Scalar>),
}

/// One key of ORDER BY.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// What is sorted by.
    pub key: OrderKey,
    /// DESC.
    pub descending: bool,
    /// Whether NULLs come first.
    pub nulls_first: bool,
}

/// What ORDER BY sorts by.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum OrderKey {
    /// An output column, counted from 0.
    Output(usize),
    Expression(Scalar),
}

/// A query.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Query {
    pub ctes: Vec<Cte>,
    pub body: Body,
    pub order: Vec<Order>,
    pub limit: Option<Scalar>,
    pub offset: Option<Scalar>,
    /// Names and types of the columns that count: the body may compute more, for ORDER BY.
    pub columns: Vec<OutputColumn>,
}

/// WITH.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Cte {
    pub number: usize,
    pub recursive: bool,
    pub materialized: Option<bool>,
    pub query: Query,
}

/// A column of a query's result.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct OutputColumn {
    pub name: String,
    pub type_: Type,
    pub typmod: i32,
    pub origin: Option<(u32, i16)>,
    pub not_null: bool,
}

/// What a query is made of.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Body {
    Select(Box<Select>),
    Values(Vec<Vec<Scalar>>),
    Set {
        operator: SetOperator,
        all: bool,
        left: Box<Body>,
        right: Box<Body>,
    },
    /// A query in parentheses with clauses of its own.
    Nested(Box<Query>),
}

/// UNION, INTERSECT, EXCEPT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum SetOperator {
    Union,
    Intersect,
    Except,
}

/// SELECT … FROM … WHERE … GROUP BY … HAVING.
#[derive(Debug, Clone, PartialEq, Default)]
#[allow(missing_docs)]
pub struct Select {
    pub distinct: bool,
    pub outputs: Vec<Scalar>,
    pub from: Option<From>,
    pub filter: Option<Scalar>,
    pub group: Vec<Scalar>,
    pub having: Option<Scalar>,
}

/// FROM's tree.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum From {
    /// A stored table; a partition's bound is its predicate.
    Table {
        table: usize,
        storage: String,
        predicate: Option<Scalar>,
    },
    /// A subquery; its columns are called c1, c2, ….
    Derived {
        table: usize,
        query: Box<Query>,
    },
    /// A reference to a CTE by its number.
    Cte {
        table: usize,
        number: usize,
    },
    /// generate_series: start, stop, step.
    Series {
        table: usize,
        start: Scalar,
        stop: Scalar,
        step: Option<Scalar>,
    },
    /// The elements of an array, one a row, in its column `value`.
    Elements {
        table: usize,
        /// The array as JSON.
        json: Scalar,
    },
    /// Rows of a list of plain values, by its number; its columns are called c1, c2, ….
    List {
        table: usize,
        list: usize,
        width: usize,
    },
    Join {
        kind: JoinKind,
        left: Box<From>,
        right: Box<From>,
        on: Option<Scalar>,
    },
}

/// Joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
}

/// A data change.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Change {
    Insert(Insert),
    Update(Update),
    Delete(Delete),
}

/// INSERT.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Insert {
    pub ctes: Vec<Cte>,
    pub table: usize,
    pub storage: String,
    /// Columns that get a value, by name.
    pub columns: Vec<String>,
    pub source: InsertSource,
    pub conflict: Option<Conflict>,
    pub returning: Vec<Scalar>,
}

/// Where INSERT's rows come from.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum InsertSource {
    Values(Vec<Vec<Scalar>>),
    /// The query as a table of that number, and what is computed of its columns.
    Query {
        table: usize,
        query: Box<Query>,
        outputs: Vec<Scalar>,
    },
    DefaultValues,
}

/// SET: columns and their new values.
pub type Assignments = Vec<(String, Scalar)>;

/// ON CONFLICT.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Conflict {
    pub target: Vec<String>,
    /// DO UPDATE SET; `None`: DO NOTHING.
    pub update: Option<(Assignments, Option<Scalar>)>,
}

/// UPDATE.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Update {
    pub ctes: Vec<Cte>,
    pub table: usize,
    pub storage: String,
    pub assignments: Vec<(String, Scalar)>,
    pub from: Option<From>,
    pub filter: Option<Scalar>,
    pub returning: Vec<Scalar>,
}

/// DELETE. With USING it deletes by rowid from a subquery.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Delete {
    pub ctes: Vec<Cte>,
    pub table: usize,
    pub storage: String,
    pub using: Option<From>,
    pub filter: Option<Scalar>,
    pub returning: Vec<Scalar>,
}
