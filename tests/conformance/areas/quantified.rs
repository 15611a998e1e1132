//! Null rules of quantified comparisons: ANY, SOME and ALL over arrays and subqueries, IN and NOT IN, rows.

use super::{Random, Script, singles};

const OPERATORS: &[&str] = &["=", "<>", "<", "<=", ">", ">="];
const LEFT: &[&str] = &["1", "2", "null", "5"];
const ARRAYS: &[&str] = &[
    "array[1, 2]",
    "array[1, null]",
    "array[null::int]",
    "null::int[]",
    "'{}'::int[]",
    "'{{1,2},{null,4}}'::int[]",
    "array[3, 5, null]",
];
const SETS: &[&str] = &[
    "select 1 where false",
    "values (1), (2)",
    "values (1), (null)",
    "select null::int",
    "select v from q",
    "select v from q where v is not null",
    "select v from q where q.v = o.v",
];

pub fn scripts(_: &mut Random) -> Vec<Script> {
    let mut script = vec![
        "create table q (v int, t text, a int[])".to_owned(),
        "insert into q values (1, 'a', '{1,2}'), (2, 'b', '{1,null}'), (null, null, '{}'), (5, 'e', null)".to_owned(),
    ];
    for operator in OPERATORS {
        for quantifier in ["any", "all", "some"] {
            for array in ARRAYS {
                for left in LEFT {
                    script.push(format!("select {left} {operator} {quantifier} ({array}) as r"));
                }
                script.push(format!("select v, not v {operator} {quantifier} ({array}) as r from q order by v"));
                script.push(format!("select v from q where v {operator} {quantifier} ({array}) order by v"));
            }
            for set in SETS {
                script.push(format!("select v, v {operator} {quantifier} ({set}) as r from q o order by v"));
                script.push(format!("select v from q o where not (v {operator} {quantifier} ({set})) order by v"));
            }
            script.push(format!("select o.v, q.v, o.v {operator} {quantifier} (q.a) as r from q o, q order by 1, 2"));
            script.push(format!(
                "select o.t, o.t {operator} {quantifier} (array['a', null, 'c']) as r from q o order by 1"
            ));
            script.push(format!(
                "select 'b' {operator} {quantifier} ('{{a,b}}'::text[]), 1.5 {operator} {quantifier} (array[1, 2])"
            ));
        }
    }
    let lists = ["(1, 2)", "(1, null)", "(null)", "(5)", "(v, 1)", "(a[1], null)"];
    for list in lists {
        script.push(format!("select v, v in {list}, v not in {list}, (v in {list}) is unknown from q order by v"));
        script.push(format!("select v from q where not (v in {list}) order by v"));
    }
    for set in SETS {
        script.push(format!("select v, v in ({set}), v not in ({set}) from q o order by v"));
        script.push(format!("select exists ({set}), not exists ({set}) from q o order by v"));
    }
    for pair in ["(1, 'a')", "(1, null)", "(null, 'a')", "(2, 'a')", "(null, null)"] {
        script.push(format!("select {pair} in (select v, t from q), {pair} not in (select v, t from q)"));
        script.push(format!("select {pair} in ((1, 'a'), (2, null)), {pair} not in ((1, 'b'), (null, 'a'))"));
        for operator in OPERATORS {
            script.push(format!("select v, (v, t) {operator} {pair} from q order by v"));
            script.push(format!("select {pair} {operator} (1, 'b'), row{pair} {operator} row(1, 'a')"));
        }
        script.push(format!("select {pair} is distinct from (1, 'a'), {pair} is null, {pair} is not null"));
        script.push(format!("select {pair} = any (select v, t from q), {pair} <> all (select v, t from q)"));
    }
    script.push("drop table q".to_owned());
    singles(script)
}
