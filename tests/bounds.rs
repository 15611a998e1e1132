//! What bounds a statement: how large it may be, that it can be ended while it is planned, and what memory it takes.

mod support;

use std::fmt::Write as _;
use std::thread;
use std::time::Duration;

use postgres::{Client, Error, NoTls, SimpleQueryMessage};
use support::Server;

fn connect(server: &Server) -> Client {
    Client::connect(&server.connection_string(), NoTls).expect("a connection")
}

fn code(error: &Error) -> String {
    error.code().map_or_else(|| format!("no SQLSTATE: {error}"), |code| code.code().to_owned())
}

/// Elements that a function gives for 0, 1, 2, …, separated by commas.
fn list(count: usize, element: impl Fn(usize) -> String) -> String {
    let mut text = String::new();
    for number in 0..count {
        let separator = if number > 0 { "," } else { "" };
        write!(text, "{separator}{}", element(number)).expect("a string takes everything");
    }
    text
}

/// The fields of the first row, separated by bars.
fn first_row(client: &mut Client, sql: &str) -> Result<String, Error> {
    let messages = client.simple_query(sql)?;
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let row = row.expect("a row");
    let fields: Vec<&str> = (0..row.len()).map(|at| row.get(at).unwrap_or("null")).collect();
    Ok(fields.join("|"))
}

fn sqlstate(client: &mut Client, sql: &str) -> String {
    match client.simple_query(sql) {
        Ok(_) => "00000".to_owned(),
        Err(error) => code(&error),
    }
}

const MANY: usize = 100_000;

#[test]
fn lists_of_a_hundred_thousand_values_are_answered() {
    let server = Server::start(&[]);
    let mut client = connect(&server);
    client.batch_execute("create table t (a int primary key, b text, c numeric(8, 2), d bool)").expect("a table");

    let rows = list(MANY, |n| format!("({n}, 'it''s {n}', -{n}.126, {})", if n % 2 == 0 { "true" } else { "null" }));
    let inserted = client.simple_query(&format!("insert into t values {rows}")).expect("rows");
    assert!(matches!(inserted[..], [SimpleQueryMessage::CommandComplete(100_000)]));
    let sums = "select count(*), sum(a), max(b), sum(c), count(d) from t";
    assert_eq!(first_row(&mut client, sums).expect("sums"), "100000|4999950000|it's 99999|-4999963000.00|50000");

    let integers = list(MANY, |n| (2 * n).to_string());
    let found = first_row(&mut client, &format!("select count(*) from t where a in ({integers})")).expect("a count");
    assert_eq!(found, "50000");
    let missed = first_row(&mut client, &format!("select count(*) from t where a not in ({integers})"));
    assert_eq!(missed.expect("a count"), "50000");

    let rows = list(MANY, |n| format!("({n}, 'x', {n}.5)"));
    let query = format!("select count(*), sum(column1), min(column2), max(column3) from (values {rows}) v");
    assert_eq!(first_row(&mut client, &query).expect("sums"), "100000|4999950000|x|99999.5");

    let array = format!("select array_length(array[{integers}], 1), (array[{integers}])[7]");
    assert_eq!(first_row(&mut client, &array).expect("a length"), "100000|12");
}

#[test]
fn elements_of_long_lists_follow_the_rules_of_short_ones() {
    let server = Server::start(&[]);
    let mut client = connect(&server);
    client
        .batch_execute("create table t (k serial primary key, v varchar(3), n numeric(4, 1), i int2)")
        .expect("a table");
    let rows = |extra: &str| format!("{},{extra}", list(100, |n| format!("('{n}')")));

    // Types are resolved over all rows, as PostgreSQL resolves them.
    let type_of = |list: String| format!("select pg_typeof(column1), count(*) from (values {list}) v group by 1");
    let numbers = |extra: &str| format!("{},{extra}", list(100, |n| format!("({n})")));
    for (extra, type_) in [
        ("(1)", "integer"),
        ("(-2147483648)", "integer"),
        ("(2147483648)", "bigint"),
        ("(1.5)", "numeric"),
        ("('7')", "integer"),
        ("(null)", "integer"),
    ] {
        let found = first_row(&mut client, &type_of(numbers(extra))).expect("a type");
        assert_eq!(found, format!("{type_}|101"), "{extra}");
    }
    assert_eq!(first_row(&mut client, &type_of(rows("('x')"))).expect("a type"), "text|101");
    assert_eq!(sqlstate(&mut client, &format!("values {}", numbers("(true)"))), "42804");
    assert_eq!(sqlstate(&mut client, &format!("values {}", numbers("('x')"))), "22P02");
    assert_eq!(sqlstate(&mut client, &format!("values {}", numbers("(1, 2)"))), "42601");

    // What a list cannot say goes the other way.
    let mixed = first_row(&mut client, &format!("select sum(column1) from (values {}) v", numbers("(1 + 1)")));
    assert_eq!(mixed.expect("a sum"), "4952");
    let cast = format!("insert into t (i) values {}", numbers("(2.5)"));
    assert_eq!(sqlstate(&mut client, &cast), "00000");
    assert_eq!(first_row(&mut client, "select count(*), max(k), sum(i) from t").expect("sums"), "101|101|4953");

    // Values of a column are assigned: modifiers apply, and errors have their place.
    assert_eq!(sqlstate(&mut client, &format!("insert into t (v) values {}", rows("('long')"))), "22001");
    assert_eq!(sqlstate(&mut client, &format!("insert into t (i) values {}", numbers("(40000)"))), "22003");
    let bad = format!("insert into t (i) values {}", rows("('x')"));
    let error = client.simple_query(&bad).expect_err("no integer");
    let error = error.as_db_error().expect("an error of the server's");
    assert_eq!(error.message(), "invalid input syntax for type smallint: \"x\"");
    let place = u32::try_from(bad.find("'x'").expect("it is there") + 1).expect("a small number");
    assert_eq!(error.position(), Some(&postgres::error::ErrorPosition::Original(place)));
    let rounded = format!("insert into t (n) values {} returning n", numbers("(-1.25)"));
    assert_eq!(first_row(&mut client, &rounded).expect("a row"), "0.0");
    assert_eq!(first_row(&mut client, "select min(n), max(n) from t").expect("a row"), "-1.3|99.0");
    let conflict = format!(
        "insert into t (k, v) values {} on conflict (k) do update set v = excluded.v",
        list(100, |n| { format!("({}, 'c')", n + 1) })
    );
    assert_eq!(sqlstate(&mut client, &conflict), "00000");
    assert_eq!(first_row(&mut client, "select count(*) from t where v = 'c'").expect("a count"), "100");
    let keys = list(100, |n| format!("({})", n + 2000));
    assert_eq!(sqlstate(&mut client, &format!("insert into t (k) values {keys}, (null)")), "23502");

    // Null among the elements of NOT IN.
    let none = format!("select count(*) from t where k not in ({}, null)", list(100, |n| (n + 1000).to_string()));
    assert_eq!(first_row(&mut client, &none).expect("a count"), "0");
}

#[test]
fn long_lists_take_parameters() {
    let server = Server::start(&[]);
    let mut client = connect(&server);
    client.batch_execute("create table t (a int primary key, b varchar(4))").expect("a table");
    // More than SQLite binds.
    let count = 20_000;
    let rows = list(count, |n| format!("(${}, ${})", 2 * n + 1, 2 * n + 2));
    let statement = client.prepare(&format!("insert into t values {rows}")).expect("a statement");
    let integers: Vec<i32> = (0..count as i32).collect();
    let mut parameters: Vec<&(dyn postgres::types::ToSql + Sync)> = Vec::new();
    for integer in &integers {
        parameters.push(integer);
        parameters.push(&"text");
    }
    assert_eq!(client.execute(&statement, &parameters).expect("rows"), count as u64);
    assert_eq!(first_row(&mut client, "select count(*), sum(a), min(b) from t").expect("sums"), "20000|199990000|text");
    let places = list(1000, |n| format!("${}", n + 1));
    let parameters: Vec<_> = integers[..1000].iter().map(|n| n as &(dyn postgres::types::ToSql + Sync)).collect();
    let found = client.query_one(&format!("select count(*) from t where a in ({places})"), &parameters);
    assert_eq!(found.expect("a count").get::<_, i64>(0), 1000);
}

#[test]
fn large_statements_of_every_kind_are_answered_or_refused_by_name() {
    let server = Server::start(&[]);
    let mut client = connect(&server);
    client.batch_execute("create table t (a int)").expect("a table");
    let chain =
        |count: usize, word: &str, term: fn(usize) -> String| (0..count).map(term).collect::<Vec<_>>().join(word);
    for (sql, answer) in [
        (format!("select {}", chain(10_000, " and ", |n| format!("{n} < {}", n + 1))), "t"),
        (format!("select count(*) from t where {}", chain(10_000, " or ", |n| format!("a = {n}"))), "0"),
        (format!("select length({})", chain(900, " || ", |_| "'ab'".to_owned())), "1800"),
        (format!("select {}", chain(400, " + ", |_| "1".to_owned())), "400"),
        (format!("select case 7{} end", chain(10_000, "", |n| format!(" when {n} then {}", n + 1))), "8"),
        (format!("select count(*) from ({}) v", chain(400, " union all ", |n| format!("select {n}"))), "400"),
        (format!("select {}1{}", "(".repeat(2_000), ")".repeat(2_000)), "1"),
        (format!("with {} select x from c999", list(1_000, |n| format!("c{n} as (select {n} as x)"))), "999"),
    ] {
        let given = first_row(&mut client, &sql).unwrap_or_else(|error| panic!("{error}: {}", &sql[..60]));
        assert_eq!(given, answer, "{}", &sql[..60]);
    }
    let wide = first_row(&mut client, &format!("select {}", list(1_664, |n| format!("{n} + 1")))).expect("a row");
    assert_eq!(wide.split('|').next_back(), Some("1664"));
    for (sql, expected) in [
        (format!("select {}", list(10_000, |n| n.to_string())), "54011"),
        (format!("select {}", chain(5_000, " || ", |_| "'ab'".to_owned())), "54001"),
        (format!("select {}", chain(900, " + ", |_| "1".to_owned())), "54001"),
        (format!("select 1{}", " union select 1".repeat(5_000)), "54001"),
        (format!("select {}1{}", "(".repeat(100_000), ")".repeat(100_000)), "54001"),
        (format!("create view v as select {}1{}", "(".repeat(100_000), ")".repeat(100_000)), "54001"),
        (format!("select coalesce({})", list(10_000, |n| n.to_string())), "54023"),
        (
            format!(
                "with c0 as (select 1 as x), {} select * from c3000",
                list(3_000, |n| { format!("c{} as (select x from c{n} limit 1)", n + 1) })
            ),
            "54001",
        ),
    ] {
        assert_eq!(sqlstate(&mut client, &sql), expected, "{}", &sql[..60]);
        assert_eq!(sqlstate(&mut client, "select 1"), "00000");
    }
    let many = client.simple_query(&chain(10_000, ";", |n| format!("select {n}"))).expect("answers");
    assert_eq!(many.iter().filter(|message| matches!(message, SimpleQueryMessage::Row(_))).count(), 10_000);
}

#[test]
fn a_statement_ends_while_it_is_read_and_planned() {
    let server = Server::start(&[]);
    let mut client = connect(&server);
    client.batch_execute("create table t (a int, b text)").expect("a table");
    let rows = list(200_000, |n| format!("({n}, lower('X'))"));
    let insert = format!("insert into t values {rows}");
    client.batch_execute("set statement_timeout = '20ms'").expect("a setting");
    assert_eq!(sqlstate(&mut client, &insert), "57014");
    client.batch_execute("set statement_timeout = 0").expect("a setting");

    let token = client.cancel_token();
    let canceller = thread::spawn(move || {
        // The request may come before the statement does: it is repeated until one is heard.
        for _ in 0..600 {
            thread::sleep(Duration::from_millis(20));
            if token.cancel_query(NoTls).is_err() {
                return;
            }
        }
    });
    assert_eq!(sqlstate(&mut client, &insert), "57014");
    drop(client);
    drop(server);
    canceller.join().expect("the thread that cancels");
}

/// The largest resident size that a session's process has had, in megabytes.
fn peak_mb(client: &mut Client) -> u64 {
    let pid: i32 = client.query_one("select pg_backend_pid()", &[]).expect("a pid").get(0);
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("its peak");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).expect("a number") / 1024
}

#[test]
fn memory_of_a_statement_is_bounded() {
    const LIMIT_MB: u64 = 32;
    let server = Server::start(&["--set", "engine.sqlite.session_memory=32MB"]);
    let (mut other, mut client) = (connect(&server), connect(&server));
    client.batch_execute("create table t (a text)").expect("a table");
    let before = peak_mb(&mut client);
    for sql in [
        "select length(repeat('x', 100000000))",
        "select length(repeat(repeat('xy', 10000000), 20))",
        "select length(lpad('x', 100000000, 'ab'))",
        "select length(replace(repeat('x', 1000000), 'x', repeat('y', 100)))",
        "select length(string_agg(i::text, ',')) from generate_series(1, 10000000) i",
        "select array_length(array_agg(i), 1) from generate_series(1, 10000000) i",
        "select length(repeat('x', 15000000) || repeat('y', 15000000))",
    ] {
        let error = client.simple_query(sql).expect_err("too much memory");
        let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: the session has ended"));
        assert_eq!((error.code().code(), error.message()), ("53200", "out of memory"), "{sql}");
        let detail = error.detail().unwrap_or_default();
        assert!(detail.starts_with("Failed on request of size ") && detail.contains(" in memory context "), "{detail}");
        assert_eq!(
            first_row(&mut client, "select length(repeat('x', 1000000))").expect("the session goes on"),
            "1000000"
        );
        assert_eq!(first_row(&mut other, "select 1").expect("others do not notice"), "1");
    }
    let peak = peak_mb(&mut client) - before;
    assert!(peak < 2 * LIMIT_MB, "{peak} MB");
    // What is sorted, kept for a cursor or sent in pieces needs no memory.
    let sorted = "select count(*) from (select i from generate_series(1, 300000) i order by -i, repeat('x', 100)) v";
    assert_eq!(first_row(&mut client, sorted).expect("a count"), "300000");
    client
        .batch_execute("begin; declare c scroll cursor for select repeat('x', 1000) from generate_series(1, 60000)")
        .expect("a cursor");
    assert_eq!(client.simple_query("fetch last from c").expect("a row").len(), 2);
    client.batch_execute("commit").expect("its end");
}

#[test]
fn memory_of_messages_is_bounded() {
    const LIMIT_MB: u64 = 32;
    let server = Server::start(&["--set", "engine.sqlite.session_memory=32MB"]);
    let mut client = connect(&server);
    client.batch_execute("create table t (a text)").expect("a table");
    let before = peak_mb(&mut client);
    let large = format!("select length('{}')", "x".repeat(64 << 20));
    assert_eq!(sqlstate(&mut client, &large), "53200");
    assert_eq!(
        client.query("select length($1::text)", &[&large]).map(|_| ()).map_err(|error| code(&error)),
        Err("53200".to_owned())
    );
    let integers = format!("select 1 in ({})", list(3_000_000, |n| n.to_string()));
    assert_eq!(sqlstate(&mut client, &integers), "53200");
    // One field, in pieces.
    let mut writer = client.copy_in("copy t from stdin").expect("a COPY");
    let piece = vec![b'x'; 1 << 20];
    let sent = (0..100).try_for_each(|_| std::io::Write::write_all(&mut writer, &piece));
    let failed = sent.map_err(|error| error.to_string()).and_then(|()| writer.finish().map_err(|error| code(&error)));
    assert!(failed.is_err(), "{failed:?}");
    assert_eq!(first_row(&mut client, "select count(*) from t").expect("the session goes on"), "0");
    let peak = peak_mb(&mut client) - before;
    assert!(peak < 2 * LIMIT_MB, "{peak} MB");
}
