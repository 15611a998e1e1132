//! Comparison, grouping and indexes of every stored type, over values whose order as text is another one.

use super::{Random, Script};

/// A type and values, the last of which equals an earlier one that is written differently, where there are such.
const TYPES: &[(&str, &[&str])] = &[
    ("smallint", &["10", "9", "-1", "-10", "0"]),
    ("integer", &["10", "9", "-1", "-10", "0", "+9"]),
    ("bigint", &["10000000000", "9", "-1", "-9223372036854775808", "9223372036854775807"]),
    ("real", &["10", "9.5", "-1", "NaN", "Infinity", "-Infinity", "0", "-0"]),
    ("double precision", &["10", "9.5", "-1", "NaN", "Infinity", "-Infinity", "1e300", "0", "-0"]),
    ("numeric", &["10", "9.5", "-1", "NaN", "Infinity", "-Infinity", "1e40", "0.001", "9.500"]),
    ("numeric(10,2)", &["10", "9.5", "-1", "99999999.99", "0.005", "9.500"]),
    ("text", &["b", "B", "a", "", "ä", "z", "10", "9", "a b"]),
    ("varchar(10)", &["b", "B", "a", "", "10", "9", "a "]),
    ("char(5)", &["b", "B", "a", "", "10", "9", "a "]),
    ("name", &["b", "B", "a", "10", "9"]),
    ("bytea", &["\\x00", "\\xff", "\\x0100", "\\x01", "", "\\x7f"]),
    ("boolean", &["t", "f", "true"]),
    ("date", &["2024-01-10", "2024-01-09", "0044-03-15 BC", "infinity", "-infinity", "10000-01-01", "20240109"]),
    ("time", &["10:00", "09:59:59.5", "24:00", "00:00", "9:59:59.50"]),
    ("timetz", &["10:00+00", "11:00+02", "09:00-03", "12:00+02"]),
    ("timestamp", &["2024-01-10 00:00", "2024-01-09 23:59:59.9", "0044-03-15 BC", "infinity", "-infinity", "20240110"]),
    (
        "timestamptz",
        &[
            "2024-01-10 00:00+00",
            "2024-01-10 00:00+02",
            "0044-03-15 BC",
            "infinity",
            "-infinity",
            "2024-01-10 02:00+02",
        ],
    ),
    (
        "interval",
        &["1 day", "23 hours", "1 mon", "29 days", "-1 day", "1 year", "0", "25 hours", "24 hours", "30 days"],
    ),
    (
        "uuid",
        &[
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "00000000-0000-0000-0000-000000000000",
            "A0EEBC999C0B4EF8BB6D6BB9BD380A11",
        ],
    ),
    ("inet", &["10.0.0.1", "9.0.0.1", "10.0.0.0/8", "10.0.0.1/24", "::1", "::ffff:10.0.0.1", "10.0.0.1/32"]),
    ("cidr", &["10.0.0.0/8", "9.0.0.0/8", "10.1.0.0/16", "::/0", "10.0.0.0/16"]),
    ("macaddr", &["08:00:2b:01:02:03", "08:00:2b:01:02:02", "0800.2b01.0203"]),
    ("oid", &["10", "9", "4294967295", "2147483648"]),
    ("jsonb", &["10", "9", "\"a\"", "null", "[1, 2]", "{\"a\": 1}", "[10]", "true", "10.0"]),
    ("integer[]", &["{10}", "{9}", "{9,10}", "{}", "{NULL}", "{9,NULL}", "{{9,10}}", "{-1}", "[2:3]={9,10}"]),
    ("bigint[]", &["{10000000000}", "{9}", "{}"]),
    ("numeric[]", &["{10}", "{9.5}", "{9.50}", "{NaN}", "{}"]),
    ("text[]", &["{b}", "{a,b}", "{a}", "{\"a b\"}", "{NULL}", "{\"NULL\"}", "{}", "{B}"]),
    ("boolean[]", &["{t}", "{f}", "{f,t}", "{}"]),
    ("double precision[]", &["{10}", "{9.5}", "{NaN}", "{0}"]),
    ("timestamp[]", &["{\"2024-01-10 00:00\"}", "{\"2024-01-09 23:59\"}", "{infinity}"]),
    ("interval[]", &["{\"1 day\"}", "{\"23 hours\"}", "{\"24 hours\"}"]),
];

pub fn scripts(random: &mut Random) -> Vec<Script> {
    TYPES.iter().map(|(type_, values)| script(random, type_, values)).collect()
}

fn script(random: &mut Random, type_: &str, values: &[&str]) -> Script {
    let mut shuffled: Vec<&str> = values.to_vec();
    for place in (1..shuffled.len()).rev() {
        shuffled.swap(place, random.below(place as u64 + 1) as usize);
    }
    let rows: Vec<_> =
        shuffled.iter().enumerate().map(|(number, value)| format!("({number}, '{value}'::{type_})")).collect();
    let mut script = vec![
        format!("create table o (n int, k {type_})"),
        format!("insert into o values {}, (100, null), (101, null)", rows.join(", ")),
    ];
    let looks = |script: &mut Vec<String>| {
        for statement in [
            "select k from o order by k, n",
            "select k, n from o order by k desc nulls last, n",
            "select k from o order by k using <, n",
            "select distinct k is null, count(*) from o group by k is null",
            "select count(*) from (select distinct k from o) d",
            "select count(*), min(n) from o group by k order by 2",
            "select min(k), max(k) from o",
            "select count(distinct k) from o",
            "select a.n, b.n, a.k < b.k, a.k <= b.k, a.k = b.k, a.k <> b.k from o a, o b where a.n < b.n order by 1, 2",
            "select a.n, b.n from o a join o b on a.k = b.k order by 1, 2",
            "select a.n from o a where k in (select k from o b where b.n < 3) order by 1",
            "select count(*) from (select k from o union select k from o) u",
            "select count(*) from (select k from o intersect select k from o where n < 4) u",
            "select count(*) from (select k from o except select k from o where n < 2) u",
            "select n, rank() over (order by k), dense_rank() over (order by k desc) from o order by n",
            "select n from o where k is distinct from (select k from o where n = 0) order by n",
            "select array_agg(n order by k, n)::text from o",
            "select greatest(a.k, b.k), least(a.k, b.k) from o a, o b where a.n = 0 order by b.n",
        ] {
            script.push(statement.to_owned());
        }
        for value in values {
            script.push(format!("select n from o where k = '{value}' order by n"));
            script.push(format!("select n from o where k > '{value}'::{type_} order by n"));
            script.push(format!("select n from o where k between '{}' and '{value}' order by n", values[0]));
        }
    };
    looks(&mut script);
    script.push("create index o_k on o (k)".to_owned());
    looks(&mut script);
    script.push("delete from o where k is null".to_owned());
    script.push("create table u (k".to_owned() + " " + type_ + " primary key)");
    for value in values {
        script.push(format!("insert into u values ('{value}')"));
        script.push(format!("insert into u values ('{value}') on conflict do nothing"));
    }
    script.push("select * from u order by k".to_owned());
    script.push(format!("delete from u where k = '{}'", values[values.len() - 1]));
    script.push(format!("update u set k = '{}' where k = '{}'", values[0], values[1]));
    script.push("select count(*) from u natural join (select k from o) o".to_owned());
    script.push("drop table if exists o, u".to_owned());
    script.push("drop table if exists u".to_owned());
    script.push("drop table if exists o".to_owned());
    Script::new(script)
}
