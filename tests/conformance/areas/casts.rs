//! Every value of every type, cast to every other: explicitly, on assignment, and out of text.

use super::{Random, Script, chance, pick, singles};

const VALUES: &[(&str, &[&str])] = &[
    ("smallint", &["0", "1", "-32768"]),
    ("integer", &["0", "1", "100000", "-2147483648"]),
    ("bigint", &["0", "1", "10000000000"]),
    ("real", &["0.5", "1.5", "-2.5", "1e10", "NaN", "Infinity", "0.1"]),
    ("double precision", &["0.5", "1.5", "-2.5", "1e100", "NaN", "-Infinity", "0.1"]),
    ("numeric", &["0.5", "1.5", "-2.50", "1e30", "NaN", "Infinity", "123.456"]),
    ("text", &["", "1", " 12 ", "1.5", "abc", "t", "yes", "2024-01-31", "12:34:56", "1 day", "{1,2}", "NaN"]),
    ("char(5)", &["ab", "1", "1.5"]),
    ("boolean", &["t", "f"]),
    ("bytea", &["\\x", "\\x6162", "abc"]),
    ("date", &["2024-02-29", "infinity", "0001-01-01 BC"]),
    ("time", &["12:34:56.789", "24:00"]),
    ("timestamp", &["2024-02-29 12:34:56.789", "infinity"]),
    ("timestamptz", &["2024-02-29 12:34:56.789+02", "-infinity"]),
    ("interval", &["1 day", "1 year 2 mons 3 days 04:05:06.7", "-1 hour"]),
    ("uuid", &["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]),
    ("integer[]", &["{1,2}", "{}", "{NULL}"]),
    ("text[]", &["{1,2}", "{\"a b\",NULL}"]),
    ("oid", &["0", "42"]),
];
const TARGETS: &[&str] = &[
    "smallint",
    "integer",
    "bigint",
    "real",
    "double precision",
    "numeric",
    "numeric(4,1)",
    "text",
    "varchar(3)",
    "char(3)",
    "boolean",
    "bytea",
    "date",
    "time",
    "time(1)",
    "timestamp",
    "timestamp(0)",
    "timestamptz",
    "interval",
    "interval(1)",
    "uuid",
    "integer[]",
    "text[]",
    "oid",
    "name",
    "\"char\"",
];

pub fn scripts(random: &mut Random) -> Vec<Script> {
    let mut statements = Vec::new();
    for (type_, values) in VALUES {
        for target in TARGETS {
            for value in *values {
                // All of them are many; which ones is a matter of the seed.
                if chance(random, 60) {
                    statements.push(format!("select ('{value}'::{type_})::{target} as v"));
                }
            }
            let value = pick(random, values);
            statements.push(format!("create temp table w (v {target})"));
            statements.push(format!("insert into w select '{value}'::{type_}"));
            statements.push("select * from w".to_owned());
            statements.push("drop table w".to_owned());
        }
    }
    singles(statements)
}
