//! Definitions and what rests on them, on a real PostgreSQL and here: the same statements through psql, and the same
//! rows, command tags, notices and errors with all their fields.
//!
//! Each file beside this one is a script. Two kinds of lines are known to differ and are left out on both sides: the row
//! or key that a constraint refused, which this server does not know of every statement, and the internal statement of a
//! foreign key's action.

#[path = "../support/mod.rs"]
mod support;

use support::scripts;

fn compare(script: &str) {
    let is_left_out = |line: &str| {
        line.starts_with("DETAIL:  Failing row contains")
            || line.starts_with("DETAIL:  Key ") && line.ends_with(" already exists.")
    };
    scripts::compare(&scripts::statements(script), is_left_out);
}

#[test]
fn dropping_honours_what_rests_on_an_object() {
    compare(include_str!("dependencies.sql"));
}

#[test]
fn views_and_defaults_keep_working_when_names_change() {
    compare(include_str!("dependencies_and_names.sql"));
}

#[test]
fn temporary_relations_stand_where_the_search_path_says() {
    compare(include_str!("temporary.sql"));
}

#[test]
fn changes_of_tables_are_refused_as_by_postgresql() {
    compare(include_str!("changes.sql"));
}

#[test]
fn like_takes_over_what_it_says_in_its_place() {
    compare(include_str!("like.sql"));
}

#[test]
fn actions_of_foreign_keys_leave_no_orphans() {
    compare(include_str!("foreign_keys.sql"));
}

#[test]
fn pg_depend_shows_what_rests_on_what() {
    compare(include_str!("catalogs.sql"));
}
