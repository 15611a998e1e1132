//! Regular expressions: generated patterns with groups, quantifiers of either preference, anchors, back references
//! and look-around, over short texts of the same few letters.

use super::{Random, Script, chance, pick, singles};

const STATEMENTS: usize = 800;
const PLACES: &[&str] = &["^", "$", "\\y", "\\m", "\\M", "\\A", "\\Z", "\\Y"];
const SETS: &[&str] = &["[ab]", "[^a]", "[b-c]", "\\w", "\\d", "[[:alpha:]]", "\\s", " ", "[^ab]", "x", "."];
const QUANTIFIERS: &[&str] =
    &["*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{0,1}?", "{1}?", "{0}", "{2,}", "{1,1}", "{0,2}?"];
/// Patterns that are none.
const BROKEN: &[&str] =
    &["(", ")", "[b-a]", "x{1", "x{256}", "x**", "a|*b", "(?zi)", "\\", "[[:foo:]]", "[a-b-c]", "(a)\\2", "\\q"];

fn atom(random: &mut Random, depth: u32) -> String {
    match random.below(100) {
        0..20 if depth > 0 => format!("({})", pattern(random, depth - 1)),
        20..27 if depth > 0 => format!("(?:{})", pattern(random, depth - 1)),
        27..30 if depth > 0 => {
            format!("{}{})", pick(random, &["(?=", "(?!", "(?<=", "(?<!"]), pattern(random, depth - 1))
        }
        30..34 => pick(random, &["\\1", "\\2"]).to_owned(),
        34..40 => pick(random, PLACES).to_owned(),
        40..60 => pick(random, SETS).to_owned(),
        _ => pick(random, &["a", "b", "c"]).to_owned(),
    }
}

fn quantified(random: &mut Random, depth: u32) -> String {
    let atom = atom(random, depth);
    let is_place = PLACES.contains(&atom.as_str()) || ["(?=", "(?!", "(?<"].iter().any(|look| atom.starts_with(look));
    if is_place || chance(random, 55) { atom } else { format!("{atom}{}", pick(random, QUANTIFIERS)) }
}

fn branch(random: &mut Random, depth: u32) -> String {
    (0..1 + random.below(4)).map(|_| quantified(random, depth)).collect()
}

fn pattern(random: &mut Random, depth: u32) -> String {
    let branches: Vec<String> = (0..1 + random.below(5).saturating_sub(2)).map(|_| branch(random, depth)).collect();
    branches.join("|")
}

fn text(random: &mut Random) -> String {
    (0..random.below(10)).map(|_| pick(random, &["a", "a", "a", "b", "b", "c", " ", "x", "1"])).collect()
}

pub fn scripts(random: &mut Random) -> Vec<Script> {
    let mut statements: Vec<String> = BROKEN.iter().map(|pattern| format!("select 'x' ~ '{pattern}'")).collect();
    while statements.len() < STATEMENTS {
        let depth = 1 + random.below(3) as u32;
        let (text, pattern) = (text(random), pattern(random, depth));
        let flags = pick(random, &["", "g", "gi", "gn", "gx", "gw", "gp"]);
        let (start, n, group) = (1 + random.below(4), 1 + random.below(2), random.below(3));
        statements.push(match random.below(9) {
            0 => format!("select * from regexp_matches('{text}', '{pattern}', '{flags}') as m"),
            1 => {
                let replacement = pick(random, &["<\\1>", "[\\&]", "\\\\x\\2", "$1\\"]);
                format!("select regexp_replace('{text}', '{pattern}', '{replacement}', '{flags}')")
            }
            2 => format!("select regexp_split_to_array('{text}', '{pattern}')"),
            3 => format!("select regexp_count('{text}', '{pattern}', {start})"),
            4 => format!("select regexp_instr('{text}', '{pattern}', {start}, {n}, 1, 'i', {group})"),
            5 => format!("select regexp_substr('{text}', '{pattern}', {start}, {n}, '', {group})"),
            6 => format!("select '{text}' {} '{pattern}'", pick(random, &["~", "~*", "!~", "!~*"])),
            _ => format!("select regexp_match('{text}', '{pattern}')"),
        });
    }
    singles(statements)
}
