//! What is compared: an area is a function that generates scripts from a source of choices.

mod aggregates;
mod arithmetic;
mod casts;
mod dates;
mod foreign_keys;
mod joins;
mod order;
mod quantified;
mod regexps;
mod signs;
mod templates;
mod windows;

use crate::Script;
use crate::support::load::Random;

/// Generates the scripts of an area.
pub type Area = fn(&mut Random) -> Vec<Script>;

/// All areas with their names.
pub const ALL: &[(&str, Area)] = &[
    ("signs", signs::scripts),
    ("joins", joins::scripts),
    ("foreign_keys", foreign_keys::scripts),
    ("order", order::scripts),
    ("quantified", quantified::scripts),
    ("arithmetic", arithmetic::scripts),
    ("casts", casts::scripts),
    ("aggregates", aggregates::scripts),
    ("windows", windows::scripts),
    ("regexps", regexps::scripts),
    ("dates", dates::scripts),
    ("templates", templates::scripts),
];

/// One of several.
fn pick<'a, T: ?Sized>(random: &mut Random, from: &[&'a T]) -> &'a T {
    from[random.below(from.len() as u64) as usize]
}

/// Whether something happens that does so `percent` times of a hundred.
fn chance(random: &mut Random, percent: u64) -> bool {
    random.below(100) < percent
}

/// Single statements, several to a script.
fn singles(statements: Vec<String>) -> Vec<Script> {
    vec![Script::new(statements)]
}
