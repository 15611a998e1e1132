//! Answers and errors as PostgreSQL 15 gives them: regressions of what a comparison with it found.
//!
//! Each case is a series of statements for one session of psql and what the last of them answers, unaligned; an
//! error is its SQLSTATE and message.

mod support;

use support::Server;

/// What a series of statements answers, lines joined by `|`.
fn answer(server: &Server, statements: &str) -> String {
    let output = server
        .client("psql")
        .args(["-X", "-Atq", "-F", ",", "-v", "VERBOSITY=verbose", "-v", "ON_ERROR_STOP=1", "-d", "postgres"])
        .args(statements.split(";;").flat_map(|statement| ["-c", statement.trim()]))
        .output()
        .expect("psql");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().replace('\n', "|");
    if output.status.success() {
        return text(&output.stdout);
    }
    let told = text(&output.stderr);
    let error = told.split_once("ERROR:  ").map_or(told.as_str(), |(_, error)| error);
    error.split("|LOCATION").next().unwrap_or(error).split("|LINE").next().unwrap_or(error).to_owned()
}

/// Runs the cases on one server, in order.
fn check(cases: &[(&str, &str)]) {
    let server = Server::start(&[]);
    for (statements, expected) in cases {
        assert_eq!(answer(&server, statements), *expected, "{statements}");
    }
}

#[test]
fn operators_bind_as_tightly_as_postgresql_binds_them() {
    check(&[
        ("select -2 ^ 2, 2 ^ 3 ^ 2, - 2 * 3", "4,64,-6"),
        ("select ~ 5 + 1, @ -5 + 2, |/ 4 + 5, 2 | 1 + 4", "-7,3,3,7"),
        ("select 1 || 'a' ~ '1a'", "t"),
        ("select 'x' ~ 'x' || 'y'", "truey"),
        ("select 2 OPERATOR(pg_catalog.+) 3 * 2, 2 * 2 OPERATOR(pg_catalog.+) 3", "8,7"),
        ("select 1 < 2 < 3", "42601: syntax error at or near \"<\""),
        ("select 7 # 2 isnull, null isnull", "f,t"),
        ("select true || 'a', 'b' || false", "truea,bfalse"),
        ("select not 1 = 2 is null, 5 between 1 and 2 + 4", "t,t"),
    ]);
}

#[test]
fn greatest_and_least_of_many_stay_small() {
    check(&[("values (2), (1), (3) order by 1 desc limit 2", "3|2")]);
    let many: Vec<String> = (1..=200).map(|number| number.to_string()).collect();
    let server = Server::start(&[]);
    let list = many.join(", ");
    assert_eq!(answer(&server, &format!("select greatest({list}, null), least(null, {list})")), "200,1");
    assert_eq!(answer(&server, "select least('b', 'aa', 'c', 'd', 'a'), greatest(1, 2.5, 2, null, 0)"), "a,2.5");
}
