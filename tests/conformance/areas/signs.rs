//! Every prefix operator on every form of a typed literal, in select lists, in conditions and stored. Each form comes
//! with two values, so that the second is answered from a plan that the first has left.

use super::{Random, Script, singles};

const NUMBERS: &[(&str, &[&str])] = &[
    ("smallint", &["0", "5", "32767", "-32768", "-7"]),
    ("integer", &["0", "9", "2147483647", "-2147483648", "-7"]),
    ("bigint", &["0", "5", "9223372036854775807", "-9223372036854775808", "-7"]),
    ("real", &["0", "1.5", "-2.25", "1e10", "NaN"]),
    ("double precision", &["0", "1.5", "-2.25", "1e100", "-Infinity"]),
    ("numeric", &["0", "1.50", "-2.25", "12345678901234567890.123", "NaN"]),
    ("interval", &["0", "1 day", "-2 hours", "1 mon -3 days", "1.5 years"]),
];

const OPERATORS: &[&str] = &["-", "+", "- -", "-(-", "~", "@", "|/", "||/", "- @ ", "-1 * -"];

pub fn scripts(_: &mut Random) -> Vec<Script> {
    let mut statements = Vec::new();
    for (name, values) in NUMBERS {
        for operator in OPERATORS {
            for form in 0..5 {
                for value in *values {
                    let literal = match form {
                        0 => format!("'{value}'::{name}"),
                        1 => format!("cast('{value}' as {name})"),
                        2 => format!("{name} '{value}'"),
                        3 if value.parse::<f64>().is_ok_and(f64::is_finite) => format!(" {value}::{name}"),
                        4 => format!("('{value}'::text)::{name}"),
                        _ => continue,
                    };
                    let close = if operator.contains('(') { ")" } else { "" };
                    statements.push(format!("select {operator}{literal}{close} as v"));
                }
            }
        }
    }
    for value in ["true", "false", "t", "off", "null"] {
        let literal = if value == "null" { "null".to_owned() } else { format!("'{value}'") };
        statements.push(format!("select not {literal}::boolean, not not cast({literal} as boolean)"));
        statements.push(format!("select not ({literal}::bool) is true"));
    }
    let mut scripts = singles(statements);
    scripts.extend(NUMBERS.iter().map(|(name, values)| stored(name, values)));
    scripts
}

/// The value that is stored and the rows that a condition finds.
fn stored(type_: &str, values: &[&str]) -> Script {
    let mut script = vec![format!("create table s (k int, v {type_})")];
    // A stored negative zero is another area's.
    let values = values.iter().filter(|value| **value != "0");
    for (number, value) in values.clone().enumerate() {
        script.push(format!("insert into s values ({number}, -'{value}'::{type_})"));
        script.push(format!(
            "insert into s values ({number}, -cast('{value}' as {type_})), ({number}, - {type_} '{value}')"
        ));
        script.push(format!("update s set v = -'{value}'::{type_} where v = -'{value}'::{type_}"));
    }
    script.push("select * from s order by k, v".to_owned());
    for value in values {
        script.push(format!("select k from s where v = -'{value}'::{type_} order by k"));
        script.push(format!("select k from s where -v >= - - {type_} '{value}' order by k, v"));
    }
    script.push("drop table s".to_owned());
    Script::new(script)
}
