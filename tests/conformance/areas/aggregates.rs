//! Aggregates over every type, with DISTINCT, FILTER, ORDER BY, GROUP BY and HAVING, also over no rows.

use super::{Random, Script, chance, pick};

const COLUMNS: &[&str] = &["i", "b", "r", "d", "n", "t", "f", "dt", "iv", "ar"];
const FUNCTIONS: &[&str] = &[
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "array_agg",
    "bool_and",
    "bool_or",
    "every",
    "stddev",
    "variance",
    "stddev_pop",
    "var_pop",
    "bit_and",
    "bit_or",
    "bit_xor",
    "any_value",
    "mode",
];
const STATEMENTS: usize = 500;

pub fn scripts(random: &mut Random) -> Vec<Script> {
    let mut script = vec![
        "create table g (k int, i int, b bigint, r real, d double precision, n numeric, t text, f boolean, dt date, iv interval, ar int[])"
            .to_owned(),
        "insert into g values \
         (1, 1, 10000000000, 1.5, 2.5, 1.10, 'b', true, '2024-01-01', '1 day', '{1}'), \
         (1, 2, 20000000000, 2.5, 1e10, 2.2, 'a', false, '2024-01-03', '25 hours', '{2}'), \
         (2, 2, -5, -1, 0.1, 2.20, 'a', null, '2023-01-01', '-1 hour', '{2}'), \
         (2, null, null, null, null, null, null, null, null, null, null), \
         (3, 7, 9223372036854775807, 3, 0.2, 'NaN', 'B', true, 'infinity', '1 mon', '{10}'), \
         (3, 7, 1, 0.1, 0.3, 100, '', true, '2024-01-01', '30 days', '{9}'), \
         (null, 1, 1, 1, 1, 1, 'é', false, '0044-01-01 BC', '0', '{1}')"
            .to_owned(),
    ];
    for _ in 0..STATEMENTS {
        let calls: Vec<_> = (0..1 + random.below(3)).map(|number| format!("{} as v{number}", call(random))).collect();
        let where_ = pick(random, &["", "", "", " where i > 1", " where false", " where k is not null"]);
        script.push(match random.below(5) {
            0 => format!("select {} from g{where_}", calls.join(", ")),
            1 => format!("select k, {} from g{where_} group by k order by k", calls.join(", ")),
            2 => format!("select k, {} from g{where_} group by k having count(*) > 1 order by k", calls.join(", ")),
            3 => format!("select f, k, {} from g{where_} group by f, k order by f, k", calls.join(", ")),
            _ => format!("select {} from g{where_} having count(i) > {}", calls.join(", "), random.below(8)),
        });
    }
    for statement in [
        "select 1 from g having true",
        "select 1 from g having false",
        "select count(*) from g group by ()",
        "select k from g group by k having k > 1 order by k",
        "select string_agg(t, ',' order by t desc), string_agg(distinct t, ';') from g",
        "select string_agg(t, k::text order by k, t) from g",
        "select array_agg(distinct i), array_agg(distinct n), array_agg(i order by n desc nulls last, b) from g",
        "select array_agg(ar order by i, b) from g where ar is not null",
        "select count(*), count(distinct t), count(distinct (k, i)) from g",
        "select sum(i) filter (where f), count(*) filter (where t > 'a'), avg(d) filter (where false) from g",
        "select corr(d, r), covar_pop(d, i), regr_slope(i, d), regr_count(i, d) from g where n <> 'NaN'",
        "select json_agg(i order by i), jsonb_agg(t order by t) from g",
        "select max(t), min(t), max(t collate \"C\") from g",
        "select percentile_cont(0.5) within group (order by d), mode() within group (order by i) from g",
        "select sum(sum(i)) over (), k from g group by k order by k",
        "select k + 1, count(*) from g group by k + 1 order by 1",
        "select t from g group by k",
        "select sum(count(*)) from g",
        "select count(*) from g where count(*) > 1",
    ] {
        script.push(statement.to_owned());
    }
    script.push("drop table g".to_owned());
    vec![Script::new(script)]
}

fn call(random: &mut Random) -> String {
    let (function, column) = (pick(random, FUNCTIONS), pick(random, COLUMNS));
    if function == "count" && chance(random, 30) {
        return "count(*)".to_owned();
    }
    if function == "array_agg" {
        // Its order is the rows', which nothing promises.
        return format!("array_agg({column} order by k, i, b)");
    }
    let distinct = if chance(random, 25) { "distinct " } else { "" };
    let filter = if chance(random, 20) { " filter (where k < 3)" } else { "" };
    format!("{function}({distinct}{column}){filter}")
}
