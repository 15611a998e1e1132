//! Answers and errors as PostgreSQL 15 gives them: regressions of what a comparison with it found.
//!
//! Each case is a series of statements for one session of psql and what the last of them answers, unaligned; an
//! error is its SQLSTATE and message.

#[path = "answers/queries.rs"]
mod queries;
mod support;

use std::io::{Read, Write};
use std::net::TcpStream;

use support::{PATIENCE, Server};

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

#[test]
fn foreign_keys_are_checked_at_the_end_of_the_statement() {
    check(&[
        (
            "create table n (id int primary key, up int references n);; insert into n values (1, 2), (2, 3), (3, null)",
            "",
        ),
        ("update n set id = id + 10, up = up + 10;; select * from n", "11,12|12,13|13,"),
        (
            "insert into n values (1, 9), (2, 1)",
            "23503: insert or update on table \"n\" violates foreign key constraint \"n_up_fkey\"\
             |DETAIL:  Key (up)=(9) is not present in table \"n\".|SCHEMA NAME:  public|TABLE NAME:  n|CONSTRAINT NAME:  n_up_fkey",
        ),
        ("select count(*) from n;; delete from n;; select count(*) from n", "3|0"),
        // More keys than are remembered one by one.
        (
            "insert into n select g, g + 1 from generate_series(1, 12000) g",
            "23503: insert or update on table \"n\" violates foreign key constraint \"n_up_fkey\"\
             |DETAIL:  Key (up)=(12001) is not present in table \"n\".|SCHEMA NAME:  public|TABLE NAME:  n|CONSTRAINT NAME:  n_up_fkey",
        ),
        (
            "insert into n select g, nullif(g + 1, 12001) from generate_series(1, 12000) g;; select count(*) from n",
            "12000",
        ),
        ("create table p (id int primary key);; create table r (id int references p on delete restrict)", ""),
        ("insert into p values (5);; insert into r values (5)", ""),
        (
            "delete from p",
            "23503: update or delete on table \"p\" violates foreign key constraint \"r_id_fkey\" on table \"r\"\
             |DETAIL:  Key (id)=(5) is still referenced from table \"r\".|SCHEMA NAME:  public|TABLE NAME:  r|CONSTRAINT NAME:  r_id_fkey",
        ),
    ]);
}

#[test]
fn deferred_foreign_keys_are_checked_at_commit() {
    const MISSING: &str = "23503: insert or update on table \"d\" violates foreign key constraint \"d_p_fkey\"\
         |DETAIL:  Key (p)=(7) is not present in table \"p\".|SCHEMA NAME:  public|TABLE NAME:  d|CONSTRAINT NAME:  d_p_fkey";
    check(&[
        ("create table p (id int primary key);; create table d (p int references p deferrable initially deferred)", ""),
        ("insert into d values (7)", MISSING),
        ("begin;; insert into d values (7);; commit", MISSING),
        ("select count(*) from d", "0"),
        ("insert into d values (7);insert into p values (7)", ""),
        ("begin;; delete from p;; set constraints d_p_fkey immediate", STILL_REFERENCED),
        ("begin;; delete from p;; savepoint a;; delete from d;; rollback to a;; commit", STILL_REFERENCED),
        ("begin;; delete from p;; delete from d;; commit;; insert into d values (null);; select * from p", ""),
        ("begin;; set constraints all immediate;; insert into d values (7)", MISSING),
        ("begin;; set constraints nosuch deferred", "42704: constraint \"nosuch\" does not exist"),
        (
            "select pg_get_constraintdef(oid) from pg_constraint where conname = 'd_p_fkey'",
            "FOREIGN KEY (p) REFERENCES p(id) DEFERRABLE INITIALLY DEFERRED",
        ),
    ]);
}

const STILL_REFERENCED: &str = "23503: update or delete on table \"p\" violates foreign key constraint \"d_p_fkey\" on table \
     \"d\"|DETAIL:  Key (id)=(7) is still referenced from table \"d\".|SCHEMA NAME:  public|TABLE NAME:  d\
     |CONSTRAINT NAME:  d_p_fkey";

#[test]
fn not_valid_constraints_spare_the_rows_that_were_there_until_validated() {
    const VIOLATED: &str = "23514: check constraint \"k1\" of relation \"k\" is violated by some row|SCHEMA NAME:  public|TABLE NAME:  k|CONSTRAINT NAME:  k1";
    check(&[
        ("create table k (a int, b text);; insert into k values (1, 'x'), (5, 'y')", ""),
        ("alter table k add constraint k1 check (a > 2) not valid;; alter table k validate constraint k1", VIOLATED),
        ("alter table k alter column a type bigint;; update k set b = 'q' where a = 5;; select * from k", "1,x|5,q"),
        ("select convalidated, pg_get_constraintdef(oid) from pg_constraint", "f,CHECK ((a > 2)) NOT VALID"),
        (
            "delete from k where a = 1;; alter table k validate constraint k1;; select convalidated from pg_constraint",
            "t",
        ),
        ("alter table k validate constraint no", "42704: constraint \"no\" of relation \"k\" does not exist"),
    ]);
    let server = Server::start(&[]);
    let prepare = "create table k (a int, b text);; insert into k values (1, 'x');; alter table k add constraint k1 check (a > 2) not valid";
    assert_eq!(answer(&server, prepare), "");
    for change in ["insert into k values (2, 'x')", "update k set b = 'q'"] {
        let told = answer(&server, change);
        assert!(
            told.starts_with("23514: new row for relation \"k\" violates check constraint \"k1\""),
            "{change}: {told}"
        );
    }
}

#[test]
fn sequences_do_not_roll_back() {
    check(&[
        ("create sequence s;; begin;; select nextval('s');; rollback;; select nextval('s')", "1|2"),
        ("begin;; savepoint a;; select nextval('s');; rollback to a;; select nextval('s');; rollback", "3|4"),
        ("create table t (id serial primary key, a int check (a > 0));; insert into t (a) values (1)", ""),
        (
            "begin;; insert into t (a) values (1);; savepoint a;; insert into t (a) values (2);; rollback to a;; commit",
            "",
        ),
        ("insert into t (a) values (3);; select id from t", "1|2|4"),
        // But definitions do, and what was drawn from them.
        ("begin;; truncate t restart identity;; insert into t (a) values (9);; rollback;; select count(*) from t", "3"),
        ("insert into t (a) values (3) returning id", "5"),
        ("begin;; alter sequence s restart with 70;; select nextval('s');; rollback;; select nextval('s')", "70|5"),
        ("alter sequence s restart with 90 maxvalue 91;; select nextval('s'), nextval('s')", "90,91"),
        ("select nextval('s')", "2200H: nextval: reached maximum value of sequence \"s\" (91)"),
        ("alter sequence s cycle start 7 minvalue 7 restart 91;; select nextval('s'), nextval('s')", "91,7"),
        (
            "create sequence small as smallint;; select seqmax from pg_sequence where seqrelid = 'small'::regclass",
            "32767",
        ),
        ("create sequence x as text", "22023: sequence type must be smallint, integer, or bigint"),
    ]);
}

#[test]
fn what_was_defined_in_a_transaction_is_gone_with_it() {
    check(&[
        (
            "begin;; create table z (a int);; select * from z;; rollback;; select * from z",
            "42P01: relation \"z\" does not exist",
        ),
        (
            "begin;; create sequence q;; select nextval('q');; rollback;; select nextval('q')",
            "42P01: relation \"q\" does not exist",
        ),
        ("create table z (a int);; begin;; drop table z;; rollback;; select count(*) from z", "0"),
    ]);
}

#[test]
fn databases_are_made_and_dropped_one_after_another() {
    let server = Server::start(&[]);
    for _ in 0..20 {
        assert_eq!(answer(&server, "create database d;; drop database d"), "");
    }
}

#[test]
fn temporary_tables_follow_on_commit() {
    check(&[
        (
            "create temp table d (a int) on commit delete rows;; begin;; insert into d values (1);; select * from d;; commit;; select count(*) from d",
            "1|0",
        ),
        ("create temp table d on commit delete rows as select 1 as a;; select count(*) from d", "0"),
        (
            "begin;; create temp table g (a int) on commit drop;; insert into g values (1);; select * from g;; commit;; select * from g",
            "42P01: relation \"g\" does not exist",
        ),
        ("create temp table g (a int) on commit drop;; select * from g", "42P01: relation \"g\" does not exist"),
        ("create temp table p (a int) on commit preserve rows;; insert into p values (1);; select * from p", "1"),
        ("create table g (a int) on commit drop", "42P16: ON COMMIT can only be used on temporary tables"),
    ]);
}

#[test]
fn what_would_have_no_effect_is_refused() {
    check(&[
        (
            "create table t (a int primary key);; lock table t",
            "25P01: LOCK TABLE can only be used in transaction blocks",
        ),
        ("begin;; lock table t;; commit", ""),
        ("analyze t(b)", "42703: column \"b\" of relation \"t\" does not exist"),
        ("vacuum (verbose, nosuch) t", "42601: unrecognized VACUUM option \"nosuch\""),
        ("create index on t (a) with (nosuch = 1)", "22023: unrecognized parameter \"nosuch\""),
        ("comment on index t_pkey is 'one';; select obj_description('t_pkey'::regclass)", "one"),
        ("comment on schema public is 'two';; select obj_description('public'::regnamespace)", "two"),
        ("comment on role postgres is 'three'", "0A000: COMMENT ON ROLE is not supported"),
        // The sequence goes with the column that owns it.
        ("create sequence s owned by t.a;; drop table t;; select count(*) from pg_class where relname = 's'", "0"),
    ]);
}

#[test]
fn a_cursor_without_scroll_goes_forward_only() {
    const BACK: &str =
        "55000: cursor can only scan forward|HINT:  Declare it with SCROLL option to enable backward scan.";
    const DECLARE: &str = "begin;; declare c no scroll cursor for select * from generate_series(1, 5);; ";
    check(&[
        (&format!("{DECLARE} fetch 2 from c;; fetch absolute 4 from c;; fetch relative 1 from c"), "1|2|4|5"),
        (&format!("{DECLARE} fetch backward 1 from c"), BACK),
        (&format!("{DECLARE} fetch 2 from c;; fetch first from c"), BACK),
        (&format!("{DECLARE} fetch 2 from c;; fetch relative 0 from c"), BACK),
        (&format!("{DECLARE} fetch last from c"), BACK),
    ]);
}

#[test]
fn a_session_may_cancel_its_own_statement() {
    check(&[("select pg_cancel_backend(pg_backend_pid())", "57014: canceling statement due to user request")]);
}

#[test]
fn a_row_that_a_constraint_refuses_is_shown() {
    let server = Server::start(&[]);
    let create = "create table z (a int primary key, b text not null, c int check (c > 0), d text)";
    assert_eq!(answer(&server, create), "");
    for (insert, row) in [
        ("insert into z values (1, null)", "(1, null, null, null)"),
        ("insert into z (c, a, b) values (-1, 2, 'x')", "(2, x, -1, null)"),
        ("prepare p as insert into z values ($1, $2, $3, $4);; execute p (3, 'y', 0, 'it''s')", "(3, y, 0, it's)"),
    ] {
        let told = answer(&server, insert);
        assert!(told.contains(&format!("|DETAIL:  Failing row contains {row}.|")), "{insert}: {told}");
    }
    // What is computed is not known any more when the row has failed.
    let told = answer(&server, "insert into z values (1, 'x', -1, upper('q'))");
    assert!(told.starts_with("23514") && !told.contains("DETAIL"), "{told}");
}

#[test]
fn windows_intervals_and_rows() {
    check(&[
        (
            "select sum(x::numeric) over (order by x), string_agg(x::text, ',') over (order by x) from generate_series(1, 3) x",
            "1,1|3,1,2|6,1,2,3",
        ),
        ("select sum(x) over (order by x rows 1 preceding) from generate_series(1, 3) x", "1|3|5"),
        ("select interval '1' day, interval '2' hour, interval '-3' month", "1 day,02:00:00,-3 mons"),
        ("select row(1, 2) < row(1, 3), (1, 2) >= (1, 2), (2, 1) > (1, 5), (1, 2, 3) < (1, 2, 3)", "t,t,t,f"),
        ("select (1, null::int) < (2, null), ((1, null::int) < (1, 2)) is null", "t,t"),
        (
            "create table m (a int);; update m set a = 5 from (values (1)) v(x) returning *",
            "0A000: RETURNING * beside FROM or USING is not supported",
        ),
        (
            "create role r;; select has_table_privilege('r', 'm', 'truncate'), has_table_privilege('m', 'truncate')",
            "f,t",
        ),
        ("select a from m group by rollup (a)", "0A000: ROLLUP is not supported"),
        ("select has_table_privilege('m', 'no')", "22023: unrecognized privilege type: \"no\""),
    ]);
}

#[test]
fn the_protocol_is_negotiated_before_authentication() {
    let directory = tempfile::Builder::new().prefix("pgprefork-test-").tempdir().expect("a temporary directory");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(directory.path(), open).expect("permissions");
    let data = directory.path().join("data");
    Server::start_on(&data, &[], &[]).stop();
    std::fs::write(data.join("pg_hba.conf"), "host all all 127.0.0.1/32 scram-sha-256\n").expect("access rules");
    let server = Server::start_on(&data, &[], &[]);
    let mut client = TcpStream::connect(("127.0.0.1", server.port)).expect("a connection");
    client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    // Protocol 3.9 with an option that nobody knows.
    let mut packet = vec![0, 3, 0, 9];
    packet.extend_from_slice(b"user\0postgres\0database\0postgres\0_pq_.unknown\x001\0\0");
    let length = u32::try_from(packet.len() + 4).expect("a short packet").to_be_bytes();
    client.write_all(&[length.as_slice(), &packet].concat()).expect("sent");
    let mut kinds = Vec::new();
    while kinds.len() < 2 {
        let mut head = [0; 5];
        client.read_exact(&mut head).expect("a message");
        let [kind, length @ ..] = head;
        let mut body = vec![0; u32::from_be_bytes(length) as usize - 4];
        client.read_exact(&mut body).expect("its body");
        kinds.push(char::from(kind));
    }
    assert_eq!(kinds, ['v', 'R'], "NegotiateProtocolVersion, then the request for SASL");
}

#[test]
fn zones_have_posixs_signs_and_are_shown_by_their_proper_names() {
    check(&[
        (
            "set timezone = '02:00';; show timezone;; select timestamptz '2020-01-01 00:00+00'",
            "02:00|2019-12-31 22:00:00-02",
        ),
        ("set timezone = '+02:00';; select timestamptz '2020-01-01 00:00+00'", "2019-12-31 22:00:00-02"),
        (
            "set timezone = '-3';; show timezone;; select timestamptz '2020-01-01 00:00+00'",
            "<-03>+03|2019-12-31 21:00:00-03",
        ),
        ("set timezone = 5.5;; show timezone", "<+05:30>-05:30"),
        ("set time zone interval '-08:00' hour to minute;; show timezone", "<-08>+08"),
        ("set timezone = 'europe/berlin';; show timezone", "Europe/Berlin"),
        ("set timezone = 'UTC+3';; select timestamptz '2020-01-01 00:00+00'", "2019-12-31 21:00:00-03"),
        ("set timezone = 'nosuch'", "22023: invalid value for parameter \"TimeZone\": \"nosuch\""),
        (
            "set timezone = '02:00:30'",
            "22023: time zone \"02:00:30\" appears to use leap seconds|DETAIL:  PostgreSQL does not support leap seconds.",
        ),
        (
            "set timezone = 'UTC';; select t at time zone '02:00', t at time zone '-3', t at time zone 'pdt', \
             t at time zone interval '01:30' from (values (timestamp '2020-01-01')) v(t)",
            "2020-01-01 02:00:00+00,2019-12-31 21:00:00+00,2020-01-01 07:00:00+00,2019-12-31 22:30:00+00",
        ),
        (
            "set timezone = 'UTC';; select timestamptz '2013-01-01 MSK', timestamptz '2020-01-01 MSK'",
            "2012-12-31 20:00:00+00,2019-12-31 21:00:00+00",
        ),
    ]);
}

#[test]
fn dates_and_intervals_by_style_order_field_and_precision() {
    check(&[
        ("set datestyle = 'sql';; set datestyle = 'dmy';; show datestyle", "SQL, DMY"),
        ("set datestyle = 'dmy';; set datestyle = 'german';; set datestyle = 'iso';; show datestyle", "ISO, DMY"),
        (
            "set datestyle = 'iso, german'",
            "22023: invalid value for parameter \"DateStyle\": \"iso, german\"|DETAIL:  Conflicting \"datestyle\" specifications.",
        ),
        (
            "set datestyle = 'mdy';; select date '13/02/2024'",
            "22008: date/time field value out of range: \"13/02/2024\"",
        ),
        ("set datestyle = 'dmy';; select date '13/02/2024'", "2024-02-13"),
        ("select '1 day 1 day'::interval", "22007: invalid input syntax for type interval: \"1 day 1 day\""),
        ("select interval(0) '1.6', '1.25'::interval(1), interval '1.6' second(0)", "00:00:02,00:00:01.3,00:00:02"),
        (
            "select interval '1' hour to minute, interval '1:02' minute to second, '1 2:03:04'::interval day to minute",
            "00:01:00,00:01:02,1 day 02:03:00",
        ),
        ("set intervalstyle = 'sql_standard';; select interval '-1-2 3 4:05'", "-1-2 -3 -4:05:00"),
        (
            "create table spans (a interval(0), b interval hour to minute);; insert into spans values ('1.6', '1:2:3');; select * from spans",
            "00:00:02,01:02:00",
        ),
        (
            "select extract(year from timestamp 'infinity'), extract(day from timestamp 'infinity') is null, \
             extract(isoyear from date '0001-01-01 BC'), extract(century from date '0001-01-01 BC')",
            "Infinity,t,-2,-1",
        ),
        ("select make_interval(days => 3, secs => 1.5), make_date(-44, 3, 15)", "3 days 00:00:01.5,0044-03-15 BC"),
        ("select (date '2020-01-01', interval '1 day') overlaps (date '2020-01-01', date '2020-02-01')", "t"),
        (
            "select to_date('44-03-15 BC', 'YYYY-MM-DD BC'), to_char(date '0044-03-15 BC', 'CC YYYY B.C.')",
            "0044-03-15 BC,-01 0044 B.C.",
        ),
    ]);
}

#[test]
fn regular_expressions_are_leftmost_and_prefer_as_they_say() {
    check(&[
        ("select regexp_match('xyz', '.|...'), substring('foo' from 'foo(bar)?') is null", "{xyz},t"),
        ("select regexp_match('XY1234Z', 'Y*?([0-9]{1,3})'), regexp_match('abcabc', '(abc)\\1')", "{1},{abc}"),
        ("select * from regexp_matches('foobarbaz', 'b(.)(.)', 'g')", "{a,r}|{a,z}"),
        ("select regexp_split_to_table('a, b', ',\\s*')", "a|b"),
        ("select regexp_replace('abcb', 'b', '[\\&]', 1, 2), regexp_instr('abcb', 'b', 1, 2)", "abc[b],4"),
        ("select 'abc' similar to 'a(b|x)%', 'a%c' similar to 'a#%c' escape '#', 'abc' not similar to 'ab'", "t,t,t"),
        ("select 'x' ~ 'x**'", "2201B: invalid regular expression: quantifier operand invalid"),
        (
            "select 'x' ~ '((((x{255}){255}){255}){255})'",
            "2201B: invalid regular expression: regular expression is too complex",
        ),
        (
            // Twice a sum is never odd, which takes for ever to find out.
            "set statement_timeout = 300;; select repeat('a', 601) ~ '^(a+)(a+)(a+)(a+)(a+)\\5\\4\\3\\2\\1$'",
            "57014: canceling statement due to statement timeout",
        ),
        ("select parse_ident('a.b')", "0A000: function parse_ident(unknown) is not supported"),
    ]);
}
