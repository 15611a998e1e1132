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
