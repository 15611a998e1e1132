//! Binary operators of numbers, with values at the ends of their types; functions of numbers.

use super::{Random, Script, pick, singles};

const NUMBERS: &[(&str, &[&str])] = &[
    ("smallint", &["0", "1", "-1", "7", "-7", "32767", "-32768"]),
    ("integer", &["0", "1", "-1", "7", "-7", "2147483647", "-2147483648", "46341"]),
    ("bigint", &["0", "1", "-1", "7", "-7", "9223372036854775807", "-9223372036854775808", "3037000500"]),
    ("real", &["0", "1", "-1.5", "7.25", "3e38", "-0", "NaN", "Infinity"]),
    ("double precision", &["0", "1", "-1.5", "7.25", "1e308", "-0", "NaN", "-Infinity", "1e-300"]),
    (
        "numeric",
        &[
            "0",
            "1",
            "-1.50",
            "7.25",
            "NaN",
            "Infinity",
            "-Infinity",
            "123456789012345678901234567890",
            "0.000001",
            "-7",
        ],
    ),
];
const OPERATORS: &[&str] = &["+", "-", "*", "/", "%", "^", "=", "<", ">=", "<>", "&", "|", "#", "<<", ">>"];
const UNARY: &[&str] = &[
    "abs",
    "sign",
    "ceil",
    "floor",
    "round",
    "trunc",
    "sqrt",
    "cbrt",
    "exp",
    "ln",
    "log",
    "degrees",
    "sin",
    "atan",
    "scale",
    "min_scale",
    "trim_scale",
    "to_hex",
    "factorial",
];
const BINARY: &[&str] =
    &["power", "mod", "div", "gcd", "lcm", "log", "round", "trunc", "atan2", "greatest", "least", "width_bucket"];

const STATEMENTS: usize = 1100;

pub fn scripts(random: &mut Random) -> Vec<Script> {
    let mut statements = Vec::new();
    for (type_, values) in NUMBERS {
        for function in UNARY {
            // sqrt and the like of large numbers differ in the last digit between libraries only for floats.
            statements.push(format!("select {function}('{}'::{type_}) as v", pick(random, values)));
            statements.push(format!("select {function}('{}'::{type_}) as v", pick(random, values)));
        }
    }
    for _ in 0..STATEMENTS {
        let (left_type, left) = NUMBERS[random.below(NUMBERS.len() as u64) as usize];
        let (right_type, right) = NUMBERS[random.below(NUMBERS.len() as u64) as usize];
        let (left, right) = (pick(random, left), pick(random, right));
        if random.below(4) == 0 {
            let function = pick(random, BINARY);
            statements.push(format!("select {function}('{left}'::{left_type}, '{right}'::{right_type}) as v"));
        } else {
            let operator = pick(random, OPERATORS);
            statements.push(format!("select '{left}'::{left_type} {operator} '{right}'::{right_type} as v"));
        }
    }
    singles(statements)
}
