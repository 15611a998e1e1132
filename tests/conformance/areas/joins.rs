//! Joins of two to four tables in every form: NATURAL, USING, ON, CROSS; inner and outer; nested to either side.

use super::{Random, Script, chance, pick};

/// Every pair shares at least one column.
const TABLES: &[(&str, &[&str])] =
    &[("a", &["x", "y"]), ("b", &["x", "z"]), ("c", &["x", "y", "w"]), ("d", &["z", "w", "x"])];

const SETUP: &[&str] = &[
    "create table a (x int, y int)",
    "create table b (x int, z text)",
    "create table c (x bigint, y int, w int)",
    "create table d (z text, w smallint, x int)",
    "insert into a values (1, 1), (2, 2), (3, null), (null, 4), (2, 5)",
    "insert into b values (1, 'p'), (2, 'q'), (2, null), (5, 'r'), (null, 's')",
    "insert into c values (1, 1, 10), (2, 5, 20), (3, 3, null), (7, 7, 70), (null, null, 0)",
    "insert into d values ('p', 10, 1), ('q', 20, 2), ('t', 30, 9), (null, 0, 5)",
];

const STATEMENTS: usize = 900;

pub fn scripts(random: &mut Random) -> Vec<Script> {
    let mut script: Vec<String> = SETUP.iter().map(|statement| (*statement).to_owned()).collect();
    script.extend((0..STATEMENTS).map(|_| statement(random)));
    script.push("drop table a, b, c, d".to_owned());
    vec![Script::new(script)]
}

fn statement(random: &mut Random) -> String {
    let count = 2 + random.below(3) as usize;
    let mut order: Vec<usize> = (0..TABLES.len()).collect();
    for place in (1..order.len()).rev() {
        order.swap(place, random.below(place as u64 + 1) as usize);
    }
    let tables: Vec<_> = order[..count].iter().map(|index| TABLES[*index]).collect();
    let from = join(random, &tables);
    let some = tables[random.below(count as u64) as usize];
    let list = match random.below(6) {
        0..=2 => "*".to_owned(),
        3 => "x".to_owned(),
        4 => format!("{}.*, {}.x", some.0, tables[0].0),
        _ => format!("x, count(*), max({}.{})", some.0, some.1[1]),
    };
    let condition = match random.below(5) {
        0 => " where x is not null".to_owned(),
        1 => format!(" where {}.x = 2 or {}.x is null", tables[0].0, some.0),
        _ => String::new(),
    };
    let group = if list.contains("count") { " group by x" } else { "" };
    format!("select {list} from {from}{condition}{group}")
}

/// A tree of joins over the tables; now and then with the nested join to the right.
fn join(random: &mut Random, tables: &[(&str, &[&str])]) -> String {
    let [.., last] = tables else { return String::new() };
    if tables.len() == 1 {
        return last.0.to_owned();
    }
    let split = if chance(random, 30) { 1 + random.below(tables.len() as u64 - 1) as usize } else { tables.len() - 1 };
    let (left, right) = tables.split_at(split);
    let (left_text, right_text) = (join(random, left), join(random, right));
    let right_text = if right.len() > 1 { format!("({right_text})") } else { right_text };
    let left_text = if left.len() > 1 && chance(random, 20) { format!("({left_text})") } else { left_text };
    let kind = pick(random, &["", "inner ", "left ", "right ", "full ", "left outer "]);
    match random.below(10) {
        0 => format!("{left_text} cross join {right_text}"),
        1..=4 => format!("{left_text} natural {kind}join {right_text}"),
        5..=7 => {
            let columns = shared(random, left, right);
            let alias = if chance(random, 10) { " as j" } else { "" };
            format!("{left_text} {kind}join {right_text} using ({columns}){alias}")
        }
        _ => {
            let condition = match random.below(3) {
                0 => format!("{}.x = {}.x", left[0].0, right[0].0),
                1 => format!("{}.x = {}.x and {}.x > 1", left[left.len() - 1].0, right[0].0, right[0].0),
                _ => format!("{}.x is not distinct from {}.x", left[0].0, right[right.len() - 1].0),
            };
            format!("{left_text} {kind}join {right_text} on {condition}")
        }
    }
}

/// Columns that both sides have, at times more than one.
fn shared(random: &mut Random, left: &[(&str, &[&str])], right: &[(&str, &[&str])]) -> String {
    let has = |side: &[(&str, &[&str])], name: &str| side.iter().any(|table| table.1.contains(&name));
    let both: Vec<_> = ["x", "y", "z", "w"].into_iter().filter(|name| has(left, name) && has(right, name)).collect();
    if both.len() > 1 && chance(random, 50) { both[..2].join(", ") } else { both[0].to_owned() }
}
