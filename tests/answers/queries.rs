//! Queries: joins, signs, WITH, windows, grouping, and what is refused.

use super::check;

#[test]
fn a_sign_before_a_typed_constant_counts() {
    check(&[
        (
            "select -'5'::int8, -cast('7' as int), - int '9', -'1.5'::numeric, - float8 '2.5', -'-5'::int",
            "-5,-7,-9,-1.5,-2.5,5",
        ),
        // The second statement of the same shape takes the first one's plan.
        (
            "select -'6'::int8, -cast('8' as int), - int '3', -'2.5'::numeric, - float8 '3.5', -'-6'::int",
            "-6,-8,-3,-2.5,-3.5,6",
        ),
        ("prepare p as select -'5'::int8 * $1;; execute p(2);; execute p(3)", "-10|-15"),
        ("create table n (a int8);; insert into n values (-'5'::int8);; select * from n where a = -'5'::int8", "-5"),
        (
            "select pg_typeof(-2147483648), pg_typeof(-(2147483648)), pg_typeof(-9223372036854775808)",
            "integer,integer,bigint",
        ),
        ("select - -5, - (-5), +'5'::int, ~'5'::int, @ int '-5', |/ float8 '4', not bool 'f'", "5,5,5,-6,5,2,t"),
        (
            "create view v as select -'5'::int8 as a, -2147483648 as b;; select a, b, pg_typeof(b) from v",
            "-5,-2147483648,integer",
        ),
    ]);
}

#[test]
fn natural_joins_and_using_make_one_column_of_two_through_a_chain() {
    check(&[
        ("create table a (x int, y int);; create table b (x bigint, z int);; create table c (y int, x int)", ""),
        (
            "insert into a values (1, 1), (2, 2), (3, 3);; insert into b values (1, 1), (4, 4);; insert into c values (1, 1), (9, 5)",
            "",
        ),
        ("select * from a natural join b natural join c", "1,1,1"),
        ("select * from a left join b using (x) natural join c", "1,1,1"),
        ("select * from a full join b using (x) natural full join c order by 1, 2", "1,1,1|2,2,|3,3,|4,,4|5,9,"),
        ("select pg_typeof(x) from a full join b using (x) limit 1", "bigint"),
        ("select x, a.x, b.x, c.x from a natural join (b join c using (x))", "1,1,1,1"),
        ("select j.* from (a join b using (x)) as j order by 1", "1,1,1"),
        ("select x from a cross join b", "42702: column reference \"x\" is ambiguous"),
        (
            "select * from (a cross join b) natural join c",
            "42702: common column name \"x\" appears more than once in left table",
        ),
        ("select * from a join b using (x, x)", "42701: column name \"x\" appears more than once in USING clause"),
        (
            "select * from a join b using (y)",
            "42703: column \"y\" specified in USING clause does not exist in right table",
        ),
    ]);
}

#[test]
fn a_volatile_query_of_with_runs_once() {
    check(&[
        ("create sequence s;; with a as (select nextval('s') n) select x.n, y.n from a x, a y", "1,1"),
        (
            "with a as not materialized (select nextval('s') n) select x.n, y.n from a x, a y;; select nextval('s')",
            "2,2|3",
        ),
        ("select x - x, x = x from (select random() as x) t", "0,t"),
        ("create view v as select random() as x;; select x - x from v", "0"),
        (
            "create table t (n int);; with a as (select nextval('s') k) insert into t select k from a union all select k from a;; select * from t",
            "4|4",
        ),
    ]);
}

#[test]
fn volatile_functions_run_for_the_rows_that_limit_leaves() {
    check(&[
        ("create sequence s;; create table t (a int);; insert into t values (3), (1), (2)", ""),
        ("select nextval('s'), a from t order by a limit 1;; select nextval('s')", "1,1|2"),
        ("select nextval('s') * 10 + a as n, a from t order by a desc", "33,3|42,2|51,1"),
        ("select nextval('s'), count(*), a from t group by a order by a limit 2", "6,1,1|7,1,2"),
        ("insert into t select nextval('s') from t order by a;; select * from t order by a", "1|2|3|8|9|10"),
        ("select nextval('s') as n from t order by n desc limit 1;; select nextval('s')", "16|17"),
    ]);
}

#[test]
fn a_row_is_not_affected_twice_by_on_conflict() {
    const TWICE: &str = "21000: ON CONFLICT DO UPDATE command cannot affect row a second time\
         |HINT:  Ensure that no rows proposed for insertion within the same command have duplicate constrained values.";
    check(&[
        (
            "create table u (id int primary key, v int, t text unique);; insert into u values (1, 1, 'a'), (2, 2, 'b')",
            "",
        ),
        ("insert into u values (1, 5, 'x'), (1, 6, 'y') on conflict (id) do update set v = excluded.v", TWICE),
        ("insert into u values (7, 5, 'x'), (7, 6, 'y') on conflict (id) do update set v = excluded.v", TWICE),
        (
            "insert into u values (8, 5, 'a'), (9, 6, 'a') on conflict (t) do update set v = excluded.v where u.v > 0",
            TWICE,
        ),
        (
            "insert into u select 1, g from generate_series(1, 3) g on conflict (id) do update set v = u.v + g",
            "42703: column \"g\" does not exist",
        ),
        ("insert into u select 1, g from generate_series(1, 3) g on conflict (id) do update set v = u.v + 1", TWICE),
        (
            "insert into u values (1, 5), (2, 6) on conflict (id) do update set v = excluded.v;; select * from u order by 1",
            "1,5,a|2,6,b",
        ),
        (
            "insert into u values (1, 7), (1, 8) on conflict (id) do update set v = excluded.v where false;; select v from u where id = 1",
            "5",
        ),
        ("insert into u values (4, 7), (4, 8) on conflict do nothing;; select v from u where id = 4", "7"),
    ]);
}

#[test]
fn frames_reach_as_far_as_their_offset() {
    check(&[
        ("create table w (i int, n numeric, f float8, d date, t timestamp, v interval)", ""),
        (
            "insert into w select g, g / 10.0, g / 4.0, date '2020-01-01' + g, timestamp '2020-01-01' + g * interval '7 hours', g * interval '1 day' from generate_series(1, 4) g",
            "",
        ),
        ("insert into w (i) values (9)", ""),
        ("select sum(i) over (order by n range 0.1 preceding) from w order by n", "1|3|5|7|9"),
        ("select sum(i) over (order by n range between 0.2 preceding and 0.1 preceding) from w order by n", "|1|3|5|9"),
        (
            "select sum(i) over (order by f range between 0.25 preceding and 0.25 following) from w order by f",
            "3|6|9|7|9",
        ),
        (
            "select sum(i) over (order by d desc range between current row and interval '1 day' following) from w order by d",
            "1|3|5|7|9",
        ),
        (
            "select sum(n) over (order by t range '14 hours' preceding) from w order by t limit 4",
            "0.10000000000000000000|0.30000000000000000000|0.60000000000000000000|0.90000000000000000000",
        ),
        ("select count(*) over (order by v range '36 hours' preceding) from w order by v", "1|2|2|2|1"),
        (
            "select string_agg(i::text, '') over (order by i groups between 1 preceding and 1 + 0 following) from w",
            "12|123|234|349|49",
        ),
        ("select sum(i) over (order by i rows '1' preceding) from w", "1|3|5|7|13"),
        (
            "prepare p as select sum(i) over (order by i range $1 preceding) from w;; execute p(1);; execute p(-1)",
            "22013: invalid preceding or following size in window function",
        ),
        (
            "select sum(i) over (order by i rows -1 preceding) from w",
            "22013: frame starting offset must not be negative",
        ),
        (
            "select sum(i) over (order by i rows between current row and null::int following) from w",
            "22004: frame ending offset must not be null",
        ),
        (
            "select sum(i) over (order by i, n range 1 preceding) from w",
            "42P20: RANGE with offset PRECEDING/FOLLOWING requires exactly one ORDER BY column",
        ),
        ("select sum(i) over (groups 1 preceding) from w", "42P20: GROUPS mode requires an ORDER BY clause"),
        (
            "select sum(i) over (order by i rows between unbounded following and current row) from w",
            "42P20: frame start cannot be UNBOUNDED FOLLOWING",
        ),
        (
            "select sum(i) over (order by d range '1 month' preceding) from w",
            "0A000: a RANGE frame with an offset of months is not supported",
        ),
        (
            "select sum(i) over (order by i rows 1 preceding exclude ties) from w",
            "0A000: EXCLUDE in a window's frame is not supported",
        ),
    ]);
}

#[test]
fn one_group_is_there_without_rows_and_aggregates() {
    check(&[
        ("create table t (a int, b int);; insert into t values (1, 1), (1, 2), (2, 3)", ""),
        ("select 1 having true;; select 2 having false;; select 3 from t having count(*) > 2", "1|3"),
        ("select 'x' from t where a > 9 having count(*) = 0", "x"),
        ("select count(*) from t group by ();; select 1 from t group by ()", "3|1"),
        (
            "select a, count(*) from t group by (), a order by a;; select a, b from t group by (a, b) order by b limit 1",
            "1,2|2,1|1,1",
        ),
        ("select sum(count(*)) over () from t", "3"),
        ("select 1 from t where row_number() over () > 1", "42P20: window functions are not allowed in WHERE"),
        ("select 1 from t having row_number() over () > 1", "42P20: window functions are not allowed in HAVING"),
        ("select 1 from t group by row_number() over ()", "42P20: window functions are not allowed in GROUP BY"),
        (
            "select count(row_number() over ()) from t",
            "42803: aggregate function calls cannot contain window function calls",
        ),
        ("select count(count(*)) from t", "42803: aggregate function calls cannot be nested"),
        ("select a from t order by 'a'", "42601: non-integer constant in ORDER BY"),
    ]);
}

#[test]
fn what_a_query_of_with_may_not_be_is_refused() {
    check(&[
        ("with a as (select 1), a as (select 2) select 1", "42712: WITH query name \"a\" specified more than once"),
        (
            "with a(x, y) as (select 1) select 1",
            "42P10: WITH query \"a\" has 1 columns available but 2 columns specified",
        ),
        (
            "with recursive r(n) as (select 1 union all select n from r order by 1) select * from r",
            "0A000: ORDER BY in a recursive query is not implemented",
        ),
        (
            "with recursive r(n) as (select 1::bigint union all select count(*) from r) select * from r",
            "42P19: aggregate functions are not allowed in a recursive query's recursive term",
        ),
        (
            "with recursive r(n) as (select 1 union all (with q as (select n + 1 as m from r) select m from q)) select * from r",
            "0A000: this form of a recursive query is not supported",
        ),
        (
            "with recursive r(n) as (select 1 union all select n + 1.5 from r where n < 3) select * from r",
            "42804: recursive query \"r\" column 1 has type integer in non-recursive term but type numeric overall\
             |HINT:  Cast the output of the non-recursive term to the correct type.",
        ),
    ]);
}

#[test]
fn what_postgresql_finds_ambiguous_or_out_of_place_is_refused() {
    check(&[
        ("commit and chain", "25P01: COMMIT AND CHAIN can only be used in transaction blocks"),
        ("rollback and chain", "25P01: ROLLBACK AND CHAIN can only be used in transaction blocks"),
        ("select 1; commit and chain", "25P01: COMMIT AND CHAIN can only be used in transaction blocks"),
        ("begin;; commit and chain;; select 1;; rollback and chain;; select 2;; commit", "1|2"),
        ("create table t (a int, b int);; insert into t values (1, 2)", ""),
        ("update t x set x.b = 1", "42703: column \"x\" of relation \"t\" does not exist"),
        ("update t set t.b = 1", "42703: column \"t\" of relation \"t\" does not exist"),
        ("update t x set b = x.a + 4;; select * from t", "1,5"),
        ("select a as x, b as x from t order by x", "42702: ORDER BY \"x\" is ambiguous"),
        ("select a as x, a as x from t order by x", "1,1"),
        ("create sequence q;; select greatest(nextval('q'), 0), least(nextval('q'), 9), currval('q')", "1,2,2"),
        ("select 1 order by -1", "42P10: ORDER BY position -1 is not in select list"),
        ("select x, y from (values (1, 2), (2, 1)) as v(x, y) order by (2)", "2,1|1,2"),
        ("select -x as x from (values (1), (2)) as v(x) order by (x)", "-2|-1"),
        ("select 1 as a union select 2 order by b", "42703: column \"b\" does not exist"),
        ("values (1), (2) order by a", "42703: column \"a\" does not exist"),
        (
            "select 'a' collate \"C\" < ('b' collate \"POSIX\")",
            "42P21: collation mismatch between explicit collations \"C\" and \"POSIX\"",
        ),
        ("select case 'a' when 1 then 2 end", "42883: operator does not exist: text = integer"),
        ("select * from generate_series(1, 5, 0)", "22023: step size cannot equal zero"),
        ("select * from generate_series(5, 1, 0)", "22023: step size cannot equal zero"),
        (
            "with recursive r(n) as (select 1 union all select r.n + 1 from (values (1)) as v left join r on true) select * from r",
            "42P19: recursive reference to query \"r\" must not appear within an outer join",
        ),
        (
            "with recursive r(n) as (select 1 union all select r.n + 1 from r left join (values (1)) as v on true where n < 3) select * from r",
            "1|2|3",
        ),
        ("select 1; vacuum", "25001: VACUUM cannot run inside a transaction block"),
        ("vacuum; select 1", "25001: VACUUM cannot run inside a transaction block"),
        ("select 1; discard all", "25001: DISCARD ALL cannot run inside a transaction block"),
    ]);
}
