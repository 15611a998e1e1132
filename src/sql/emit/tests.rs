//! The SQL that comes out, and that SQLite reads it as it was meant.

use rusqlite::Connection;

use super::*;

fn column(table: usize, name: &str, type_: Type) -> Scalar {
    let node = Node::Column { table, name: name.to_owned(), not_null: false, origin: None };
    Scalar::new(node, type_)
}

fn parameter(number: usize) -> Scalar {
    Scalar::new(Node::Parameter(number), Type::Int4)
}

fn literal(index: usize) -> Scalar {
    Scalar::new(Node::Literal { index, negated: false }, Type::Int4)
}

fn infix(operator: &'static str, left: Scalar, right: Scalar) -> Scalar {
    Scalar::call(Emit::Infix(operator), vec![left, right], Type::Bool)
}

fn output(type_: Type) -> OutputColumn {
    OutputColumn { name: "x".into(), type_, typmod: -1, origin: None, not_null: false }
}

fn table(number: usize, storage: &str) -> From {
    From::Table { table: number, storage: storage.into(), predicate: None }
}

fn query(body: Body, columns: usize) -> Query {
    Query {
        ctes: Vec::new(),
        body,
        order: Vec::new(),
        limit: None,
        offset: None,
        columns: (0..columns).map(|_| output(Type::Int4)).collect(),
    }
}

fn select(outputs: Vec<Scalar>, from: Option<From>) -> Select {
    Select { outputs, from, ..Select::default() }
}

fn sql(tables: usize, query: &Query) -> String {
    let mut emitter = Emitter::new(tables);
    emitter.query(query, false);
    emitter.sql
}

/// Rows of a query without binds, as text with `,` between columns and `;` between rows.
fn run(tables: usize, query: &Query) -> String {
    let connection = Connection::open_in_memory().expect("SQLite");
    connection
        .execute_batch("CREATE TABLE t(a INTEGER, b TEXT); INSERT INTO t VALUES (1, 'x'), (NULL, 'y'), (3, NULL)")
        .expect("table");
    let text = sql(tables, query);
    let mut statement = connection.prepare(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let count = statement.column_count();
    let rows = statement
        .query_map([], |row| {
            let values: Result<Vec<String>, _> = (0..count)
                .map(|at| {
                    row.get::<_, rusqlite::types::Value>(at).map(|value| match value {
                        rusqlite::types::Value::Null => "-".to_owned(),
                        rusqlite::types::Value::Integer(value) => value.to_string(),
                        rusqlite::types::Value::Text(value) => value,
                        other => format!("{other:?}"),
                    })
                })
                .collect();
            values.map(|values| values.join(","))
        })
        .expect("rows");
    rows.map(|row| row.expect("row")).collect::<Vec<_>>().join(";")
}

#[test]
fn a_point_query_is_written_plainly() {
    let mut body = select(vec![column(1, "abalance", Type::Int4)], Some(table(1, "pgbench_accounts")));
    body.filter = Some(infix("=", column(1, "aid", Type::Int4), parameter(0)));
    let wanted = "SELECT \"abalance\" FROM \"pgbench_accounts\" WHERE \"aid\" = ?1";
    assert_eq!(sql(1, &query(Body::Select(Box::new(body)), 1)), wanted);
}

#[test]
fn an_update_calls_checked_arithmetic_and_numbers_its_binds() {
    let balance = column(1, "abalance", Type::Int4);
    let update = Update {
        ctes: Vec::new(),
        table: 1,
        storage: "pgbench_accounts".into(),
        assignments: vec![(
            "abalance".into(),
            Scalar::call(Emit::Call("pg_int4pl"), vec![balance, parameter(0)], Type::Int4),
        )],
        from: None,
        filter: Some(infix("=", column(1, "aid", Type::Int4), literal(2))),
        returning: Vec::new(),
    };
    let mut emitter = Emitter::new(1);
    emitter.change(&Change::Update(update));
    let wanted = "UPDATE \"pgbench_accounts\" SET \"abalance\" = pg_int4pl(\"abalance\", ?1) WHERE \"aid\" = ?2";
    assert_eq!(emitter.sql, wanted);
    assert_eq!(emitter.binds, [Bind::Parameter(0), Bind::Literal(0)]);
    assert_eq!(emitter.lifted, [Lifted { index: 2, negated: false, type_: Type::Int4 }]);
}

#[test]
fn nulls_sort_where_postgresql_sorts_them() {
    for (descending, nulls_first, wanted) in
        [(false, false, "1;3;-"), (true, true, "-;3;1"), (false, true, "-;1;3"), (true, false, "3;1;-")]
    {
        let body = select(vec![column(1, "a", Type::Int4)], Some(table(1, "t")));
        let mut query = query(Body::Select(Box::new(body)), 1);
        query.order = vec![Order { key: OrderKey::Output(0), descending, nulls_first }];
        assert_eq!(run(1, &query), wanted);
        query.order = vec![Order { key: OrderKey::Expression(column(1, "a", Type::Int4)), descending, nulls_first }];
        assert_eq!(run(1, &query), wanted);
    }
}

#[test]
fn nested_set_operations_keep_their_grouping() {
    let value = |value: i64| Body::Select(Box::new(select(vec![Scalar::integer(value)], None)));
    let set = |operator, all, left, right| Body::Set { operator, all, left: Box::new(left), right: Box::new(right) };
    let inner = set(SetOperator::Union, true, value(1), value(2));
    let body = set(SetOperator::Except, false, set(SetOperator::Union, true, value(1), value(3)), inner);
    assert_eq!(run(1, &query(body, 1)), "3");
}

#[test]
fn series_count_up_and_down_and_end() {
    let rows = |start, stop, step: Option<i64>| {
        let from = From::Series {
            table: 1,
            start: Scalar::integer(start),
            stop: Scalar::integer(stop),
            step: step.map(Scalar::integer),
        };
        run(1, &query(Body::Select(Box::new(select(vec![column(1, "c1", Type::Int8)], Some(from)))), 1))
    };
    assert_eq!(rows(1, 3, None), "1;2;3");
    assert_eq!(rows(3, 1, None), "");
    assert_eq!(rows(1, 6, Some(2)), "1;3;5");
    assert_eq!(rows(3, 1, Some(-1)), "3;2;1");
    assert_eq!(rows(1, 2, Some(0)), "1");
    assert_eq!(rows(i64::MAX - 1, i64::MAX, None), format!("{};{}", i64::MAX - 1, i64::MAX));
}

#[test]
fn joins_and_derived_tables_are_qualified() {
    let derived = From::Derived { table: 2, query: Box::new(query(Body::Values(vec![vec![Scalar::integer(1)]]), 1)) };
    let join = From::Join {
        kind: JoinKind::Left,
        left: Box::new(table(1, "t")),
        right: Box::new(derived),
        on: Some(infix("=", column(1, "a", Type::Int4), column(2, "c1", Type::Int8))),
    };
    let body = select(vec![column(1, "a", Type::Int4), column(2, "c1", Type::Int8)], Some(join));
    assert_eq!(run(2, &query(Body::Select(Box::new(body)), 2)), "1,1;-,-;3,-");
}

#[test]
fn chains_of_conditions_stay_shallow() {
    let terms = (0..20_000).map(|at| infix("=", column(1, "a", Type::Int4), Scalar::integer(at))).collect();
    let mut body = select(vec![column(1, "a", Type::Int4)], Some(table(1, "t")));
    body.filter = Some(Scalar::new(Node::Or(terms), Type::Bool));
    assert_eq!(run(1, &query(Body::Select(Box::new(body)), 1)), "1;3");
}

#[test]
fn names_and_values_cannot_break_out_of_their_quotes() {
    let text = Scalar::new(Node::Constant(Value::Text("it's".into())), Type::Text);
    let body = select(vec![text, column(1, "a\"b", Type::Int4)], None);
    assert_eq!(sql(1, &query(Body::Select(Box::new(body)), 2)), "SELECT 'it''s', \"a\"\"b\"");
}
