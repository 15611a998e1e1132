//! Window functions with every kind of frame: ROWS, RANGE with offsets of the column's type, GROUPS, EXCLUDE.

use super::{Random, Script, chance, pick};

const ORDERS: &[(&str, &[&str])] = &[
    ("i", &["1", "2", "0", "10"]),
    ("b", &["1", "5000000000"]),
    ("n", &["1", "0.5", "1.25", "0"]),
    ("d", &["1", "0.5", "2.25"]),
    ("r", &["1", "0.5"]),
    ("dt", &["'1 day'", "'1 month'", "'0 days'"]),
    ("ts", &["'1 hour'", "'1 day'"]),
    ("iv", &["'1 day'", "'1 hour'"]),
];
const FUNCTIONS: &[&str] = &[
    "count(*)",
    "sum(i)",
    "avg(n)",
    "min(t)",
    "max(d)",
    "first_value(id)",
    "last_value(id)",
    "nth_value(id, 2)",
    "array_agg(id)",
    "sum(d)",
    "count(n)",
    "string_agg(t, '')",
];
const RANKS: &[&str] = &[
    "row_number()",
    "rank()",
    "dense_rank()",
    "percent_rank()",
    "cume_dist()",
    "ntile(3)",
    "lag(id)",
    "lead(id, 2, -1)",
    "lag(n, 1) ",
    "lead(t)",
];
const STATEMENTS: usize = 600;

pub fn scripts(random: &mut Random) -> Vec<Script> {
    let mut script = vec![
        "create table w (id int primary key, p int, i int, b bigint, n numeric, d double precision, r real, dt date, ts timestamp, iv interval, t text)"
            .to_owned(),
        "insert into w values \
         (1, 1, 1, 1, 1.0, 1, 1, '2024-01-01', '2024-01-01 00:00', '1 day', 'a'), \
         (2, 1, 2, 5000000001, 1.5, 1.5, 1.5, '2024-01-02', '2024-01-01 00:30', '2 days', 'b'), \
         (3, 1, 2, 2, 1.50, 2.25, 2, '2024-01-31', '2024-01-01 01:00', '25 hours', 'c'), \
         (4, 2, 5, 6, 2.75, -1, -1, '2024-02-01', '2024-01-02 00:00', '1 mon', 'd'), \
         (5, 2, 5, 7, 3, 0.5, 0.5, '2024-02-29', '2024-01-02 00:00', '0', 'e'), \
         (6, 2, null, null, null, null, null, null, null, null, null), \
         (7, 1, 12, 12, 10, 4.5, 4.5, '2024-03-01', '2024-01-05 12:00', '30 days', 'f'), \
         (8, 2, null, 3, 'NaN', 'NaN', 'NaN', 'infinity', 'infinity', '-1 day', 'g')"
            .to_owned(),
    ];
    script.extend((0..STATEMENTS).map(|_| statement(random)));
    script.push("drop table w".to_owned());
    vec![Script::new(script)]
}

fn statement(random: &mut Random) -> String {
    let partition = if chance(random, 40) { "partition by p " } else { "" };
    let (column, offsets) = ORDERS[random.below(ORDERS.len() as u64) as usize];
    let direction = pick(random, &["", " desc", " nulls first", " desc nulls last"]);
    if chance(random, 15) {
        let function = pick(random, RANKS);
        let over = format!("{partition}order by {column}{direction}, id");
        return format!("select id, {function} over ({over}) as v from w order by id");
    }
    let function = pick(random, FUNCTIONS);
    let mode = pick(random, &["rows", "range", "range", "groups"]);
    let (from, to) = (bound(random, mode, offsets, true), bound(random, mode, offsets, false));
    let exclude =
        pick(random, &["", "", "", " exclude current row", " exclude group", " exclude ties", " exclude no others"]);
    // Ties would come in any order.
    let tie = if mode == "rows" || !exclude.is_empty() || function.contains("id") || function.contains("agg") {
        ", id"
    } else {
        ""
    };
    let tie = if mode == "range"
        && (from.contains('\'') || from.contains(char::is_numeric) || to.contains(char::is_numeric))
    {
        ""
    } else {
        tie
    };
    let function =
        if tie.is_empty() && (function.contains("id") || function.contains("agg")) { "count(*)" } else { function };
    let over = format!("{partition}order by {column}{direction}{tie} {mode} between {from} and {to}{exclude}");
    format!("select id, {function} over ({over}) as v from w order by id")
}

fn bound(random: &mut Random, mode: &str, offsets: &[&str], is_start: bool) -> String {
    let end = if is_start { "unbounded preceding" } else { "unbounded following" };
    match random.below(4) {
        0 => end.to_owned(),
        1 => "current row".to_owned(),
        _ => {
            let offset = if mode == "range" { pick(random, offsets) } else { pick(random, &["0", "1", "2"]) };
            let way = if chance(random, 70) == is_start { "preceding" } else { "following" };
            format!("{offset} {way}")
        }
    }
}
