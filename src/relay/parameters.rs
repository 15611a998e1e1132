//! Parameters that a server reports (ParameterStatus): what a client wants of them, and what a connection has.

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

/// Names, in the server's spelling, and values: in order of name, each name and each value with a zero byte behind it,
/// which neither can contain. In one piece, since it is copied with each transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameters(String);

impl Parameters {
    /// Notes a value. A name that differs in case only is the same.
    pub fn set(&mut self, name: &str, value: &str) {
        let name = tracked(name).unwrap_or(name);
        // The protocol has no way to send such a one.
        debug_assert!(!name.is_empty() && !name.contains('\0') && !value.contains('\0'));
        let (mut start, mut end) = (0, 0);
        for (found, old) in self.iter() {
            let next = start + found.len() + old.len() + 2;
            if found >= name {
                end = if found == name { next } else { start };
                break;
            }
            (start, end) = (next, next);
        }
        self.0.replace_range(start..end, &format!("{name}\0{value}\0"));
    }

    /// Its value.
    pub fn get(&self, name: &str) -> Option<&str> {
        let name = tracked(name).unwrap_or(name);
        self.iter().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// All, in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut rest = self.0.split_terminator('\0');
        std::iter::from_fn(move || Some((rest.next()?, rest.next()?)))
    }

    /// As one text.
    pub fn as_text(&self) -> &str {
        &self.0
    }

    /// From what [`Self::as_text`] has returned.
    pub fn from_text(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// A statement that gives a connection which has `actual` the values wanted here; `None` where it has them.
    pub fn difference(&self, actual: &Parameters) -> Option<String> {
        if self == actual {
            return None;
        }
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
    fn they_stand_in_order_whatever_was_set_first() {
        let names = ["b", "a", "c", "ab", "a"];
        let mut parameters = Parameters::default();
        for (value, name) in names.iter().enumerate() {
            parameters.set(name, &"x".repeat(value));
        }
        parameters.set("timezone", "");
        let all: Vec<_> = parameters.iter().collect();
        assert_eq!(all, [("TimeZone", ""), ("a", "xxxx"), ("ab", "xxx"), ("b", ""), ("c", "xx")]);
        assert_eq!(parameters.get("TIMEZONE"), Some(""));
        assert_eq!(parameters.get("d"), None);
        assert_eq!(Parameters::from_text(parameters.as_text()), parameters);
    }

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
