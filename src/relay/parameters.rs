//! Parameters that a server reports (ParameterStatus): what a client wants of them, and what a connection has.

use std::collections::BTreeMap;

/// Reported by PostgreSQL up to 18 and settable in a session.
const TRACKED: &[&str] = &[
    "application_name",
    "client_encoding",
    "DateStyle",
    "IntervalStyle",
    "search_path",
    "standard_conforming_strings",
    "TimeZone",
];

/// Names, in the server's spelling, and values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Notes a value. A name that differs in case only is the same.
    pub fn set(&mut self, name: &str, value: &str) {
        let name = tracked(name).unwrap_or(name);
        self.0.insert(name.to_owned(), value.to_owned());
    }

    /// Its value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(tracked(name).unwrap_or(name)).map(String::as_str)
    }

    /// All, in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A statement that gives a connection which has `actual` the values wanted here; `None` where it has them.
    pub fn difference(&self, actual: &Parameters) -> Option<String> {
        let mut statement = String::new();
        for (name, value) in self.iter().filter(|(name, _)| tracked(name).is_some()) {
            // What the server does not report it does not have.
            if actual.get(name).is_some_and(|found| found != value) {
                statement += &set_statement(name, value);
            }
        }
        (!statement.is_empty()).then_some(statement)
    }
}

/// A statement that sets it for the session.
pub fn set_statement(name: &str, value: &str) -> String {
    if is_list(name) {
        return format!("SELECT pg_catalog.set_config({}, {}, false);", literal(name), literal(value));
    }
    format!("SET \"{}\" = {};", name.replace('"', "\"\""), literal(value))
}

/// Lists of names: to SET one string is one name, to set_config it is the list as the server reports it.
fn is_list(name: &str) -> bool {
    ["search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries"]
        .iter()
        .any(|list| list.eq_ignore_ascii_case(name))
}

/// A string that is read alike whatever standard_conforming_strings is.
fn literal(value: &str) -> String {
    let quoted = value.replace('\'', "''");
    if value.contains('\\') { format!("E'{}'", quoted.replace('\\', r"\\")) } else { format!("'{quoted}'") }
}

/// The server's spelling of a name that is followed.
pub fn tracked(name: &str) -> Option<&'static str> {
    TRACKED.iter().find(|tracked| tracked.eq_ignore_ascii_case(name)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_set_and_quoted() {
        let (mut wanted, mut actual) = (Parameters::default(), Parameters::default());
        for (name, value) in [("timezone", "UTC"), ("DateStyle", "ISO, MDY"), ("server_version", "15.1")] {
            wanted.set(name, value);
            actual.set(name, value);
        }
        assert_eq!(wanted.difference(&actual), None);
        wanted.set("TIMEZONE", "it's");
        assert_eq!(set_statement("a", "b\\'"), "SET \"a\" = E'b\\\\''';");
        wanted.set("server_version", "16");
        wanted.set("search_path", "a, b");
        assert_eq!(wanted.difference(&actual).as_deref(), Some("SET \"TimeZone\" = 'it''s';"));
    }
}
