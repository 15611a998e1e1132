//! Values by a template: to_char(), to_date(), to_timestamp() and to_number() with every pattern.

use super::{Random, Script, pick, singles};

const STATEMENTS: usize = 900;
const NUMBER_PATTERNS: &[&str] = &[
    "9", "9", "9", "9", "0", "0", ".", "D", ",", "G", "S", "MI", "PL", "SG", "PR", "L", "FM", "TH", "th", "V", "B",
    "RN", "rn", "EEEE", " ", "\"x\"", "x", "-",
];
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "12",
    "485",
    "-485",
    "3999",
    "4000",
    "12345678",
    "0.1",
    "-0.1",
    "0.5",
    "1.5",
    "99.995",
    "9.99",
    "123.456",
    "-123.456",
    "1e10",
    "NaN",
    "Infinity",
    "-Infinity",
    "0.00001",
    "3.14159265358979",
    "99999.5",
];
const INTEGERS: &[&str] = &["0", "1", "-1", "12", "485", "-485", "3999", "4000", "101", "11"];
const READ_NUMBERS: &[&str] = &[
    "1", "-1", "12.3", "1,234.56", "<12>", "12-", "5+", "$12", "  12", "1 2", "12th", ".5", "abc", "", "1.2.3",
    "12.34-", "CDLXXXV", "- 5", "x12",
];
const DATE_PATTERNS: &[&str] = &[
    "HH", "HH12", "HH24", "MI", "SS", "MS", "US", "FF1", "FF3", "FF6", "SSSS", "SSSSS", "AM", "P.M.", "pm", "Y,YYY",
    "YYYY", "YYY", "YY", "Y", "IYYY", "IYY", "IY", "I", "BC", "A.D.", "b.c.", "MONTH", "Month", "mon", "MM", "DAY",
    "Day", "dy", "DDD", "IDDD", "DD", "D", "ID", "W", "WW", "IW", "CC", "J", "Q", "RM", "rm", "TZ", "tz", "TZH", "TZM",
    "OF", "hh24", "yyyy",
];
const TIMESTAMPS: &[&str] = &[
    "2024-02-29 23:59:59.999999",
    "2000-01-01",
    "0001-01-01",
    "0001-12-31 BC",
    "0044-03-15 12:34:56.789 BC",
    "infinity",
    "1999-12-31 12:00",
    "2004-12-31 13:05:09",
    "0100-12-31 BC",
    "10001-05-06",
];
const INTERVALS: &[&str] =
    &["1 year 2 months -3 days 04:05:06.7", "-1 year", "0", "-14 mon", "-30 days -24:00:01.5", "100 years", "12:00"];
const READ_DATES: &[&str] = &[
    "2024-03-15",
    "15 Mar 2024",
    "20240315",
    "2024-366",
    "2023-366",
    "03/15/2024",
    "  2024  -  03-15",
    "2024/3/5",
    "44-03-15 BC",
    "12:34:56",
    "12:34:56.789 PM",
    "2024-03-15 23:59:59",
    "2024-02-30",
    "99-1-1",
    "2,024-03",
    "2005-52-7",
    "1st Jan 2000",
    "2000january1",
    "J2451187",
    "  5",
    "2024-03-15 12:00 -05:30",
    "xii",
    "Monday 7",
];
const READ_PATTERNS: &[&str] = &[
    "YYYY",
    "YY",
    "Y",
    "YYY",
    "MM",
    "DD",
    "MON",
    "Month",
    "DDD",
    "HH24",
    "HH12",
    "MI",
    "SS",
    "MS",
    "US",
    "FF2",
    "AM",
    "BC",
    "CC",
    "J",
    "Q",
    "WW",
    "W",
    "D",
    "DAY",
    "IYYY",
    "IW",
    "ID",
    "IDDD",
    "RM",
    "TZH",
    "TZM",
    "SSSS",
    "Y,YYY",
    "TZ",
    "YYYY-MM-DD",
    "DD Mon YYYY",
    "YYYYMMDD",
    "HH24:MI:SS",
    "YYYY-DDD",
    "IYYY-IW-ID",
];

fn template(random: &mut Random, patterns: &[&str], affixes: bool) -> String {
    let mut out = String::new();
    for _ in 0..1 + random.below(5) {
        if affixes {
            out.push_str(pick(random, &["", "", "", "FM", "TM", "FX"]));
        }
        out.push_str(pick(random, patterns));
        if affixes {
            out.push_str(pick(random, &["", "", "", "TH", "th"]));
            out.push_str(pick(random, &["", "", " ", "-", ":", "x", "\"q\""]));
        }
    }
    out
}

pub fn scripts(random: &mut Random) -> Vec<Script> {
    let mut statements = vec!["set timezone = 'America/New_York'".to_owned()];
    while statements.len() < STATEMENTS {
        let numbers = template(random, NUMBER_PATTERNS, false);
        let dates = template(random, DATE_PATTERNS, true);
        let read = template(random, READ_PATTERNS, true);
        statements.push(match random.below(7) {
            0 | 1 => {
                let type_ = pick(random, &["float4", "float8", "numeric"]);
                format!("select to_char('{}'::{type_}, '{numbers}')", pick(random, NUMBERS))
            }
            2 => {
                let type_ = pick(random, &["int4", "int8"]);
                format!("select to_char('{}'::{type_}, '{numbers}')", pick(random, INTEGERS))
            }
            3 => {
                let type_ = pick(random, &["timestamp", "timestamptz"]);
                format!("select to_char('{}'::{type_}, '{dates}')", pick(random, TIMESTAMPS))
            }
            4 => format!("select to_char('{}'::interval, '{dates}')", pick(random, INTERVALS)),
            5 => format!("select to_number('{}', '{numbers}')", pick(random, READ_NUMBERS)),
            _ => {
                let function = pick(random, &["to_date", "to_timestamp"]);
                format!("select {function}('{}', '{read}')", pick(random, READ_DATES))
            }
        });
    }
    singles(statements)
}
