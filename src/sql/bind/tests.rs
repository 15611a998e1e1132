//! Text to SQL, types and errors, over pgbench's tables.

use std::rc::Rc;

use super::super::catalog::*;
use super::super::plan::{Access, Action, Planned};
use super::super::planner::Planner;
use super::super::types::{Type, Value};
use crate::error::Error;
use crate::settings::TextContext;

struct Fixture(Vec<Rc<Relation>>);

fn column(name: &str, type_: Type, typmod: i32, not_null: bool) -> ColumnDefinition {
    ColumnDefinition { name: name.into(), type_, typmod, not_null, default: None, dropped: false, acl: None }
}

fn table(oid: u32, name: &str, columns: Vec<ColumnDefinition>, key: Option<usize>) -> Rc<Relation> {
    let constraints = key
        .map(|at| Constraint::new(oid + 1, format!("{name}_pkey"), ConstraintKind::PrimaryKey { columns: vec![at] }))
        .into_iter()
        .collect();
    Rc::new(Relation {
        oid,
        schema: "public".into(),
        name: name.into(),
        kind: RelationKind::Table,
        columns,
        constraints,
        indexes: Vec::new(),
        owner: 10,
        acl: None,
        storage: name.into(),
        rowid_column: key,
        unlogged: false,
        temporary: false,
        options: Vec::new(),
        on_commit: crate::sql::catalog::OnCommit::PreserveRows,
        depends: crate::sql::catalog::Dependencies::default(),
    })
}

fn fixture() -> Fixture {
    let int = |name, not_null| column(name, Type::Int4, -1, not_null);
    let accounts =
        vec![int("aid", true), int("bid", false), int("abalance", false), column("filler", Type::Bpchar, 88, false)];
    let branches = vec![int("bid", true), int("bbalance", false), column("filler", Type::Bpchar, 92, false)];
    let history = vec![
        int("tid", false),
        int("bid", false),
        int("aid", false),
        int("delta", false),
        column("mtime", Type::Timestamp, -1, false),
        column("filler", Type::Bpchar, 26, false),
    ];
    let things = vec![
        column("id", Type::Int8, -1, true),
        column("name", Type::Text, -1, false),
        column("price", Type::Numeric, -1, false),
        column("weight", Type::Float8, -1, false),
        column("flag", Type::Bool, -1, false),
        column("made", Type::Timestamptz, -1, false),
    ];
    Fixture(vec![
        table(100, "pgbench_accounts", accounts, Some(0)),
        table(200, "pgbench_branches", branches, Some(0)),
        table(300, "pgbench_history", history, None),
        table(400, "things", things, None),
    ])
}

impl Catalog for Fixture {
    fn version(&self) -> u64 {
        1
    }

    fn relation(&self, schema: Option<&str>, name: &str) -> Result<Option<Rc<Relation>>, Error> {
        let found = self.0.iter().find(|relation| relation.name == name && schema.is_none_or(|s| s == relation.schema));
        Ok(found.cloned())
    }

    fn require_usable(&self, _: &str) -> Result<(), Error> {
        Ok(())
    }

    fn relation_by_oid(&self, oid: u32) -> Result<Option<Rc<Relation>>, Error> {
        Ok(self.0.iter().find(|relation| relation.oid == oid).cloned())
    }

    fn schema_exists(&self, name: &str) -> Result<bool, Error> {
        Ok(name == "public")
    }

    fn search_path(&self) -> Vec<String> {
        vec!["public".into()]
    }
}

fn plan_with(planner: &mut Planner, text: &str, types: &[u32]) -> Result<Planned, Error> {
    let mut statements = planner.split(text)?;
    let (place, raw) = statements.remove(0);
    planner.plan(&text[place], &raw, types, &fixture(), &TextContext::default())
}

fn plan(text: &str) -> Result<Planned, Error> {
    plan_with(&mut Planner::new(), text, &[])
}

fn sql(text: &str) -> String {
    match &plan(text).unwrap_or_else(|error| panic!("{text}: {error:?}")).plan.action {
        Action::Query(query) => query.sql.clone(),
        other => panic!("{text}: {other:?}"),
    }
}

fn types(text: &str) -> Vec<Type> {
    let planned = plan(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
    planned.plan.columns.iter().map(|column| column.type_).collect()
}

fn parameters(text: &str) -> Vec<Type> {
    plan(text).unwrap_or_else(|error| panic!("{text}: {error:?}")).plan.parameters.clone()
}

fn failure(text: &str) -> (String, String) {
    let error = plan(text).expect_err(text);
    (error.condition().code().to_owned(), error.fields().message.clone())
}

#[test]
fn point_queries_stay_plain() {
    assert_eq!(
        sql("SELECT abalance FROM pgbench_accounts WHERE aid = $1"),
        "SELECT \"abalance\" FROM \"pgbench_accounts\" WHERE \"aid\" = ?1"
    );
    assert_eq!(
        sql("SELECT abalance FROM pgbench_accounts WHERE aid = 7"),
        "SELECT \"abalance\" FROM \"pgbench_accounts\" WHERE \"aid\" = ?1"
    );
    assert_eq!(
        sql("UPDATE pgbench_accounts SET abalance = abalance + $1 WHERE aid = $2"),
        "UPDATE \"pgbench_accounts\" SET \"abalance\" = pg_int4pl(\"abalance\", ?1) WHERE \"aid\" = ?2"
    );
    assert_eq!(
        sql("DELETE FROM pgbench_accounts WHERE aid = -7"),
        "DELETE FROM \"pgbench_accounts\" WHERE \"aid\" = ?1"
    );
}

#[test]
fn parameters_take_the_types_of_what_they_meet() {
    assert_eq!(parameters("SELECT abalance FROM pgbench_accounts WHERE aid = $1"), [Type::Int4]);
    assert_eq!(parameters("UPDATE pgbench_accounts SET abalance = abalance + $1 WHERE aid = $2"), [Type::Int4; 2]);
    assert_eq!(
        parameters(
            "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES ($1, $2, $3, $4, CURRENT_TIMESTAMP)"
        ),
        [Type::Int4; 4]
    );
    assert_eq!(parameters("SELECT $1"), [Type::Text]);
    assert_eq!(parameters("SELECT * FROM things WHERE name = $2 AND price < $1"), [Type::Numeric, Type::Text]);
    assert_eq!(parameters("SELECT 1 LIMIT $1"), [Type::Int8]);
}

#[test]
fn results_have_postgresqls_types() {
    assert_eq!(
        types("SELECT 1, 3000000000, 1.5, 'a', true, null"),
        [Type::Int4, Type::Int8, Type::Numeric, Type::Text, Type::Bool, Type::Text]
    );
    assert_eq!(
        types("SELECT count(*), sum(abalance), avg(abalance), min(aid) FROM pgbench_accounts"),
        [Type::Int8, Type::Int8, Type::Numeric, Type::Int4]
    );
    assert_eq!(
        types("SELECT 1 + 2.5, 1 + 3000000000, weight + 1, price * 2 FROM things"),
        [Type::Numeric, Type::Int8, Type::Float8, Type::Numeric]
    );
    assert_eq!(types("SELECT CASE WHEN true THEN 1 ELSE 2.5 END"), [Type::Numeric]);
    assert_eq!(types("SELECT 1 UNION SELECT 2.5"), [Type::Numeric]);
    assert_eq!(
        types("SELECT now(), current_date, '2020-01-01'::date + 1"),
        [Type::Timestamptz, Type::Date, Type::Date]
    );
    assert_eq!(types("SELECT coalesce(name, 'x'), name || 'y' FROM things"), [Type::Text, Type::Text]);
}

#[test]
fn literals_are_lifted_and_cached_plans_reused() {
    let mut planner = Planner::new();
    let first = plan_with(&mut planner, "SELECT abalance FROM pgbench_accounts WHERE aid = 7", &[]).expect("planned");
    let second = plan_with(&mut planner, "SELECT abalance FROM pgbench_accounts WHERE aid = 42", &[]).expect("planned");
    assert!(Rc::ptr_eq(&first.plan, &second.plan));
    assert_eq!(second.literals.as_ref(), [Value::Int(42)]);
    let third = plan_with(&mut planner, "SELECT aid, bid FROM pgbench_accounts ORDER BY 1", &[]).expect("planned");
    let fourth = plan_with(&mut planner, "SELECT aid, bid FROM pgbench_accounts ORDER BY 2", &[]).expect("planned");
    assert!(!Rc::ptr_eq(&third.plan, &fourth.plan));
    let negative = plan_with(&mut planner, "SELECT abalance + -4906 FROM pgbench_accounts", &[]).expect("planned");
    assert_eq!(negative.literals.as_ref(), [Value::Int(-4906)]);
}

#[test]
fn errors_are_postgresqls() {
    let cases = [
        ("SELECT x FROM pgbench_accounts", "42703", "column \"x\" does not exist"),
        ("SELECT 1 FROM nowhere", "42P01", "relation \"nowhere\" does not exist"),
        ("SELECT a.bid FROM pgbench_accounts", "42P01", "missing FROM-clause entry for table \"a\""),
        ("SELECT bid FROM pgbench_accounts, pgbench_branches", "42702", "column reference \"bid\" is ambiguous"),
        ("SELECT true + 1", "42883", "operator does not exist: boolean + integer"),
        ("SELECT nothing(1)", "42883", "function nothing(integer) does not exist"),
        (
            "SELECT aid, count(*) FROM pgbench_accounts",
            "42803",
            "column \"pgbench_accounts.aid\" must appear in the GROUP BY clause or be used in an aggregate function",
        ),
        ("SELECT 1 WHERE count(*) > 1", "42803", "aggregate functions are not allowed in WHERE"),
        (
            "INSERT INTO pgbench_branches (bid) VALUES (true)",
            "42804",
            "column \"bid\" is of type integer but expression is of type boolean",
        ),
        ("INSERT INTO pgbench_branches (bid, bid) VALUES (1, 2)", "42701", "column \"bid\" specified more than once"),
        (
            "UPDATE pgbench_branches SET nope = 1",
            "42703",
            "column \"nope\" of relation \"pgbench_branches\" does not exist",
        ),
        ("SELECT 1 WHERE 1", "42804", "argument of WHERE must be type boolean, not type integer"),
        ("SELECT 'a'::int", "22P02", "invalid input syntax for type integer: \"a\""),
        ("SELECT (SELECT 1, 2)", "42601", "subquery must return only one column"),
        ("SELECT 1 UNION SELECT 1, 2", "42601", "each UNION query must have the same number of columns"),
        ("SELECT aid FROM pgbench_accounts ORDER BY 2", "42P10", "ORDER BY position 2 is not in select list"),
    ];
    for (text, code, message) in cases {
        assert_eq!(failure(text), (code.to_owned(), message.to_owned()), "{text}");
    }
    let error = plan("SELECT abalance FROM pgbench_accounts WHERE wrong = 1").expect_err("no such column");
    assert_eq!(error.fields().position, Some(45));
}

/// A cast between types stored alike must not change the type that a literal is read as.
#[test]
fn literals_are_read_as_the_first_type_they_are_cast_to() {
    for text in ["SELECT '70000'::int2::int4", "SELECT 't'::int4::int8"] {
        assert!(plan(text).is_err(), "{text}");
    }
    assert!(sql("SELECT '1'::int2::int4").contains("pg_cast"));
    assert!(sql("SELECT - interval '1 mon'").contains("pg_interval_um"));
}

/// SQLite must at least understand what was emitted.
#[test]
fn emitted_sql_is_sqlites() {
    let connection = rusqlite::Connection::open_in_memory().expect("SQLite");
    connection
        .execute_batch(
            "CREATE TABLE pgbench_accounts (aid INTEGER PRIMARY KEY, bid INTEGER, abalance INTEGER, filler TEXT);
             CREATE TABLE pgbench_branches (bid INTEGER PRIMARY KEY, bbalance INTEGER, filler TEXT);
             CREATE TABLE pgbench_history (tid INTEGER, bid INTEGER, aid INTEGER, delta INTEGER, mtime INTEGER, filler TEXT);
             CREATE TABLE things (id INTEGER, name TEXT, price TEXT, weight REAL, flag INTEGER, made INTEGER);",
        )
        .expect("tables");
    connection.create_collation("pg_numeric", |a, b| a.cmp(b)).expect("a collation");
    let texts = [
        "select count(*) from pgbench_branches",
        "SELECT a.aid, b.bbalance FROM pgbench_accounts a JOIN pgbench_branches b USING (bid) WHERE a.aid < 10 ORDER BY b.bbalance DESC, 1",
        "SELECT bid FROM pgbench_accounts NATURAL JOIN pgbench_branches",
        "SELECT a.aid FROM pgbench_accounts a LEFT JOIN pgbench_branches b ON a.bid = b.bid AND b.bbalance > 0",
        "SELECT bid, count(*) FROM pgbench_accounts GROUP BY bid HAVING count(*) > 1 ORDER BY 2 DESC NULLS LAST LIMIT 10 OFFSET 5",
        "SELECT aid FROM pgbench_accounts WHERE bid IN (SELECT bid FROM pgbench_branches) AND aid NOT IN (1, 2, 3)",
        "SELECT (SELECT max(bbalance) FROM pgbench_branches b WHERE b.bid = a.bid) FROM pgbench_accounts a",
        "SELECT (SELECT bbalance FROM pgbench_branches b WHERE b.bid = a.bid) FROM pgbench_accounts a",
        "SELECT * FROM (SELECT aid AS x, bid FROM pgbench_accounts) AS s (y) WHERE y = 1",
        "WITH big AS (SELECT * FROM pgbench_accounts WHERE abalance > 0) SELECT count(*) FROM big b, big c WHERE b.aid = c.aid",
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT n FROM t",
        "SELECT aid FROM pgbench_accounts UNION ALL SELECT bid FROM pgbench_branches ORDER BY aid",
        "VALUES (1, 'a'), (2, 'b')",
        "SELECT x, y FROM (VALUES (1, 'a'), (2, 'b')) AS v (x, y)",
        "SELECT DISTINCT bid FROM pgbench_accounts ORDER BY bid",
        "SELECT price, price > 1.5 FROM things ORDER BY price",
        "SELECT row_number() OVER (PARTITION BY bid ORDER BY aid DESC), sum(abalance) OVER w FROM pgbench_accounts WINDOW w AS (ORDER BY aid ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)",
        "SELECT aid FROM pgbench_accounts WHERE (aid, bid) = (1, 2) AND aid BETWEEN 1 AND 5 AND filler IS NOT NULL",
        "SELECT i FROM generate_series(1, 10) AS i",
        "insert into pgbench_accounts(aid,bid,abalance,filler) select aid, (aid - 1) / 100000 + 1, 0, '' from generate_series(1, 100000) as aid",
        "insert into pgbench_branches(bid,bbalance) values(1,0)",
        "INSERT INTO pgbench_branches (bid) VALUES ($1) ON CONFLICT DO NOTHING RETURNING bid",
        "UPDATE pgbench_accounts a SET abalance = b.bbalance FROM pgbench_branches b WHERE a.bid = b.bid RETURNING aid",
        "DELETE FROM pgbench_accounts a USING pgbench_branches b WHERE a.bid = b.bid AND b.bbalance < 0",
        "SELECT aid FROM pgbench_accounts WHERE aid = 1 FOR UPDATE",
        "SELECT greatest(1, 2, aid), least(aid, 3), nullif(aid, 1) FROM pgbench_accounts",
        "SELECT aid FROM pgbench_accounts ORDER BY aid + 1, abs(abalance)",
        "SELECT name FROM things WHERE name LIKE 'a%' OR name ILIKE '%b' OR name ~ '^c'",
        "SELECT EXISTS (SELECT 1 FROM things), flag IS NOT TRUE FROM things",
        "SELECT array(SELECT id FROM things ORDER BY 1)",
        "SELECT id FROM things WHERE id = ANY (ARRAY[1, 2, 3])",
    ];
    for text in texts {
        let sql = sql(text);
        match connection.prepare(&sql) {
            Ok(_) => {}
            // The engine registers our functions; here their absence is the only complaint that may be.
            Err(error) => assert!(error.to_string().contains("no such function: pg_"), "{text}\n{sql}\n{error}"),
        }
    }
}

#[test]
fn access_says_what_a_statement_does() {
    let access = |text: &str| match &plan(text).expect(text).plan.action {
        Action::Query(query) => query.access,
        _ => panic!("{text}"),
    };
    assert_eq!(access("SELECT 1"), Access::None);
    assert_eq!(access("SELECT aid FROM pgbench_accounts"), Access::Read);
    assert_eq!(access("SELECT aid FROM pgbench_accounts FOR UPDATE"), Access::Lock);
    assert_eq!(access("DELETE FROM pgbench_accounts"), Access::Write);
}

proptest::proptest! {
    #[test]
    fn no_soup_of_words_panics(words in proptest::collection::vec(proptest::sample::select(&[
        "select", "from", "where", "aid", "pgbench_accounts", "a", ",", "(", ")", "=", "1", "'x'", "*", "and", "count", "group by",
        "order by", "insert into", "values", "update", "set", "join", "on", "using", "union", "null", "case", "when", "then", "end",
        "in", "$1", "::int", "over", "limit", ".", "as", "b", "with", "exists", "not", "-", "generate_series", "delete",
    ][..]), 0..24)) {
        let _ = plan(&words.join(" "));
    }
}
