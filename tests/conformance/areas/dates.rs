//! Dates, times and intervals: input in every DateStyle and zone, fields, truncation, arithmetic, and functions that
//! make them.

use super::{Random, Script, pick, singles};

const STATEMENTS: usize = 900;
const NUMBERS: &[&str] = &[
    "1",
    "2",
    "12",
    "13",
    "29",
    "30",
    "31",
    "32",
    "0",
    "00",
    "05",
    "2024",
    "1999",
    "99",
    "70",
    "69",
    "024",
    "4713",
    "294276",
    "10000",
    "366",
    "20240229",
    "991231",
    "0405",
    "040506",
    "1.5",
    "040506.789",
    "2001.123",
    "2455000.5",
];
const MONTHS: &[&str] = &["jan", "MAR", "April", "sept", "December"];
const SPECIAL: &[&str] = &["epoch", "infinity", "-infinity", "J2451187", "julian 2451187.25", "y2001m02d04"];
const TIMES: &[&str] = &[
    "04:05",
    "04:05:06.789",
    "24:00",
    "24:00:01",
    "23:59:60",
    "25:00",
    "T040506",
    "t04:05",
    "12:30 am",
    "13:00 pm",
    "0:15 AM",
    "11:59:59.9999999 PM",
    "040506",
    "h04mm05s06",
    "allballs",
    "5:6.5",
];
const ZONES: &[&str] = &[
    "",
    "",
    "Z",
    "UTC",
    "+02",
    "-0330",
    "+15:59",
    "+16",
    "+01:30:15",
    "PST",
    "pdt",
    "MSK",
    "EST5EDT",
    "America/New_York",
    "foo",
    "foo/bar",
    "UTC+3",
    "BC",
    "AD",
    "MET DST",
    "Mon",
    "IST",
    "+123456",
    "-12:60",
];
const TIMESTAMPS: &[&str] = &[
    "2024-02-29 23:59:59.999999",
    "2000-01-01",
    "0001-01-01",
    "0001-12-31 BC",
    "0044-03-15 12:34:56.789 BC",
    "4713-11-24 BC",
    "1999-12-31 12:00",
    "2005-01-01",
    "1969-12-31 23:59:59.5",
    "2024-11-03 01:30",
    "2024-03-10 02:30",
    "100-02-28",
    "2100-03-01 00:00:01",
    "infinity",
    "-infinity",
];
const INTERVALS: &[&str] = &[
    "1 year 2 months -3 days 04:05:06.7",
    "-1 year",
    "0",
    "1 month",
    "-30 days -24:00",
    "100 years",
    "1000000 hours",
    "-1 mon 40 days -25:00",
    "0.000001 s",
    "-13 mon",
    "1 day -1 hour",
];
const UNITS: &[&str] = &[
    "microseconds",
    "milliseconds",
    "second",
    "minute",
    "hour",
    "day",
    "month",
    "quarter",
    "year",
    "decade",
    "century",
    "millennium",
    "week",
    "isoyear",
    "dow",
    "isodow",
    "doy",
    "epoch",
    "timezone",
    "timezone_hour",
    "timezone_minute",
    "julian",
    "foo",
    "us",
    "mon",
    "yrs",
    "Hours",
    "now",
];
const COUNTS: &[&str] = &["1", "-1", "1.5", "-0.5", ".5", "12", "100", "2147483648", "0", "1-2", "-1-2", "1-12"];
const INTERVAL_UNITS: &[&str] = &[
    "year", "y", "mon", "months", "days", "d", "hour", "hrs", "min", "m", "sec", "ms", "us", "week", "decade",
    "century", "mil", "quarter", "foo", "",
];
const CLOCKS: &[&str] = &["1:2", "1:2:3", "-1:2:3", "+1:2:3.5", "1:60", "1:2.5", "5:6:7.1234567", "1:2:3:4"];
const ISO: &[&str] = &[
    "P1Y2M3DT4H5M6.5S",
    "P0001-02-03T04:05:06",
    "P00010203T040506",
    "PT-0.5S",
    "P1Y2",
    "P",
    "PT04:05",
    "P1.5Y",
    "p1y",
    "P-1W",
];
const FIELDS: &[&str] = &[
    "year",
    "month",
    "day",
    "hour",
    "minute",
    "second",
    "year to month",
    "day to hour",
    "day to minute",
    "day to second",
    "hour to minute",
    "hour to second",
    "minute to second",
    "second(2)",
    "day to second(1)",
];
const INTEGERS: &[&str] = &["0", "1", "12", "13", "2024", "29", "30", "2", "23", "24", "59", "60", "294276"];

fn written_date(random: &mut Random) -> String {
    let mark = pick(random, &["-", "/", ".", "-", " "]);
    let mut parts = vec![pick(random, NUMBERS), pick(random, NUMBERS), pick(random, NUMBERS)];
    match random.below(10) {
        0 => return pick(random, SPECIAL).to_owned(),
        1 => parts.truncate(2),
        2..5 => parts[random.below(3) as usize] = pick(random, MONTHS),
        _ => {}
    }
    parts.join(mark)
}

fn written(random: &mut Random) -> String {
    let (date, time, zone) = (written_date(random), pick(random, TIMES), pick(random, ZONES));
    match random.below(6) {
        0 => date,
        1 => format!("{time} {zone}"),
        2 => format!("{date} {zone}"),
        3 => format!("{time} {date} {zone}"),
        4 => format!("{date}{time}{zone}"),
        _ => format!("{date} {time} {zone}"),
    }
}

fn written_interval(random: &mut Random) -> String {
    if random.below(6) == 0 {
        return pick(random, ISO).to_owned();
    }
    let mut parts = Vec::new();
    for _ in 0..1 + random.below(3) {
        parts.push(match random.below(4) {
            0 => pick(random, CLOCKS).to_owned(),
            _ => format!("{} {}", pick(random, COUNTS), pick(random, INTERVAL_UNITS)),
        });
    }
    format!("{}{}", parts.join(" "), pick(random, &["", "", " ago"]))
}

fn any(random: &mut Random) -> String {
    match random.below(4) {
        0 => format!("interval '{}'", pick(random, INTERVALS)),
        1 => format!("date '{}'", pick(random, &["2024-02-29", "infinity", "0001-01-01 BC", "2000-12-31"])),
        2 => format!("time '{}'", pick(random, &["00:00", "24:00", "12:34:56.5"])),
        _ => moment(random),
    }
}

fn moment(random: &mut Random) -> String {
    format!("'{}'::{}", pick(random, TIMESTAMPS), pick(random, &["timestamp", "timestamptz"]))
}

fn statement(random: &mut Random) -> String {
    let type_ = pick(random, &["date", "timestamp", "timestamptz", "time", "timestamp(2)", "timestamptz(0)"]);
    let number = |random: &mut Random| pick(random, INTEGERS).to_owned();
    match random.below(16) {
        0..4 => format!("select '{}'::{type_}", written(random)),
        4 | 5 => format!("select '{}'::interval", written_interval(random)),
        6 => format!("select interval '{}' {}", written_interval(random), pick(random, FIELDS)),
        7 => format!("select interval({}) '{}'", random.below(7), written_interval(random)),
        8 => format!("select extract({} from {})", pick(random, UNITS), any(random)),
        9 => format!("select date_part('{}', {})", pick(random, UNITS), any(random)),
        10 => format!("select date_trunc('{}', {})", pick(random, UNITS), moment(random)),
        11 => format!("select {} {} interval '{}'", moment(random), pick(random, &["+", "-"]), pick(random, INTERVALS)),
        12 => {
            format!("select ({}, {}) overlaps ({}, {})", moment(random), moment(random), moment(random), moment(random))
        }
        13 => format!("select make_date({}, {}, {})", number(random), number(random), number(random)),
        14 => format!(
            "select justify_{}(interval '{}')",
            pick(random, &["hours", "days", "interval"]),
            written_interval(random)
        ),
        _ => {
            let zone = pick(random, &["02:00", "+02:00", "-3", "3", "UTC+3", "MSK", "pdt", "Asia/Tokyo", "foo"]);
            format!("select {} at time zone '{zone}'", moment(random))
        }
    }
}

pub fn scripts(random: &mut Random) -> Vec<Script> {
    let mut statements = Vec::new();
    while statements.len() < STATEMENTS {
        if statements.len() % 30 == 0 {
            let style = pick(random, &["iso, mdy", "dmy", "ymd", "sql, dmy", "postgres", "german", "mdy", "iso"]);
            statements.push(format!("set datestyle = '{style}'"));
            statements.push("show datestyle".to_owned());
            let zone = pick(random, &["UTC", "America/New_York", "Europe/Moscow", "-3", "02:00", "+02:00", "5.5"]);
            statements.push(format!("set timezone = '{zone}'"));
            statements.push("show timezone".to_owned());
            let style = pick(random, &["postgres", "postgres_verbose", "sql_standard", "iso_8601"]);
            statements.push(format!("set intervalstyle = '{style}'"));
        }
        statements.push(statement(random));
    }
    singles(statements)
}
