//! pg_ident.conf: which user of another system may be which role.
//!
//! Owns the maps and their matching.

use std::path::Path;
use std::rc::Rc;

use super::files::Files;
use super::lexicon::{self, Line, Problem, Token};
use super::pattern::Pattern;

/// The lines of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Maps {
    entries: Vec<Mapping>,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// The file that it is in.
    pub file: Rc<str>,
    /// Its line number, from 1.
    pub line: usize,
    /// The map's name.
    pub map: String,
    /// The user of the other system.
    pub system_user: Pattern,
    role: Role,
}

/// A word of the role's field.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Role {
    All,
    MemberOf(String),
    /// With `\1`, the first capture of the system user.
    Captured(String),
    Pattern(Pattern),
}

impl Mapping {
    fn parse(line: &Line) -> Result<Self, Box<Problem>> {
        let fields = line.fields.as_ref().map_err(Clone::clone)?;
        let single = |at: usize| match fields.get(at).map(Vec::as_slice) {
            Some([token]) => Ok(token),
            Some(_) => Err(line.problem(1, "multiple values in ident field".into())),
            None => Err(line.problem(line.end, "missing entry at end of line".into())),
        };
        let (map, system_user, role) = (single(0)?, single(1)?, single(2)?);
        let pattern = |token: &Token| Pattern::parse(token).map_err(|error| line.problem(token.column, error));
        let system = pattern(system_user)?;
        let is_regex = system_user.text.starts_with('/');
        let role = if role.is("all") {
            Role::All
        } else if let Some(name) = role.text.strip_prefix('+').filter(|_| !role.quoted) {
            Role::MemberOf(name.to_owned())
        } else if is_regex && role.text.contains("\\1") {
            if !system.has_capture() {
                let system_user = system_user.text.strip_prefix('/').unwrap_or_default();
                let message = format!(
                    "regular expression \"{system_user}\" has no subexpressions as requested by backreference in \"{}\"",
                    role.text
                );
                return Err(line.problem(role.column, message));
            }
            Role::Captured(role.text.clone())
        } else {
            Role::Pattern(pattern(role)?)
        };
        Ok(Self { file: Rc::clone(&line.file), line: line.number, map: map.text.clone(), system_user: system, role })
    }

    /// The role's field, as it was written.
    pub fn role(&self) -> String {
        match &self.role {
            Role::All => "all".to_owned(),
            Role::MemberOf(role) => format!("+{role}"),
            Role::Captured(text) => text.clone(),
            Role::Pattern(pattern) => pattern.text().to_owned(),
        }
    }

    fn allows(&self, system_user: &str, role: &str, is_member: &dyn Fn(&str) -> bool) -> bool {
        if !self.system_user.matches(system_user) {
            return false;
        }
        match &self.role {
            Role::All => true,
            Role::MemberOf(group) => is_member(group),
            // Only the first place is filled in, as in PostgreSQL.
            Role::Captured(text) => {
                let capture = self.system_user.capture(system_user);
                capture.is_some_and(|capture| text.replacen("\\1", capture, 1) == role)
            }
            Role::Pattern(pattern) => pattern.matches(role),
        }
    }
}

/// Every line of a file, read or wrong, in order. The outer error says why the file cannot be read.
pub fn read(path: &Path, files: &dyn Files) -> Result<Vec<Result<Mapping, Box<Problem>>>, String> {
    Ok(lexicon::lines(path, files)?.iter().map(Mapping::parse).collect())
}

impl FromIterator<Mapping> for Maps {
    fn from_iter<T: IntoIterator<Item = Mapping>>(entries: T) -> Self {
        Self { entries: entries.into_iter().collect() }
    }
}

impl Maps {
    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether the map lets the system user be the role. Without a map the names have to be equal. The error says
    /// why not, for the log. `is_member`: whether that role is a member of a named one.
    pub fn allow(
        &self,
        map: Option<&str>,
        system_user: &str,
        role: &str,
        is_member: &dyn Fn(&str) -> bool,
    ) -> Result<(), String> {
        match map {
            None | Some("") if system_user == role => Ok(()),
            None | Some("") => {
                Err(format!("provided user name ({role}) and authenticated user name ({system_user}) do not match"))
            }
            Some(map) => {
                let mut entries = self.entries.iter().filter(|entry| entry.map == map);
                if entries.any(|entry| entry.allows(system_user, role, is_member)) {
                    Ok(())
                } else {
                    Err(format!("no match in usermap \"{map}\" for user \"{role}\" authenticated as \"{system_user}\""))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::lexicon::tests::alone;
    use super::*;

    fn maps(text: &str) -> Maps {
        read(Path::new("f"), &alone(text)).unwrap().into_iter().map(Result::unwrap).collect()
    }

    fn allowed(maps: &Maps, system_user: &str, role: &str) -> bool {
        maps.allow(Some("ops"), system_user, role, &|group| group == "staff" && role == "ann").is_ok()
    }

    #[test]
    fn maps_by_name() {
        let maps = maps("# map system role\nops  root postgres\nops \"deploy user\" shop\n");
        assert!(allowed(&maps, "root", "postgres") && allowed(&maps, "deploy user", "shop"));
        assert_eq!(
            maps.allow(Some("ops"), "root", "shop", &|_| false),
            Err("no match in usermap \"ops\" for user \"shop\" authenticated as \"root\"".into())
        );
        assert_eq!(maps.allow(None, "ann", "ann", &|_| false), Ok(()));
        assert_eq!(
            maps.allow(None, "root", "ann", &|_| false),
            Err("provided user name (ann) and authenticated user name (root) do not match".into())
        );
    }

    #[test]
    fn maps_by_pattern_capture_keyword_and_membership() {
        let by_realm = maps("ops /^(.*)@example\\.com$ \\1\nops /^(a)(b)$ x\\1\\1");
        assert!(allowed(&by_realm, "ann@example.com", "ann") && !allowed(&by_realm, "ann@example.com", "bob"));
        assert!(!allowed(&by_realm, "ann@example.org", "ann"));
        assert!(allowed(&by_realm, "ab", "xa\\1"));
        assert!(allowed(&maps("ops x all"), "x", "anybody") && !allowed(&maps("ops x \"all\""), "x", "anybody"));
        assert!(allowed(&maps("ops x +staff"), "x", "ann") && !allowed(&maps("ops x +staff"), "x", "bob"));
        assert!(allowed(&maps("ops x /^b"), "x", "bob") && !allowed(&maps("ops x /^b"), "x", "ann"));
        assert!(allowed(&maps("ops x \\1"), "x", "\\1"));
    }

    #[test]
    fn faults_are_located() {
        let files = alone("ops root\nops a,b c\n\nops /^x$ \\1\nops /( x\nops fine fine");
        let lines = read(Path::new("f"), &files).unwrap();
        let shown: Vec<_> = lines.iter().filter_map(|line| line.as_ref().err()).map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "f:1:9: missing entry at end of line",
                "f:2:1: multiple values in ident field",
                "f:4:10: regular expression \"^x$\" has no subexpressions as requested by backreference in \"\\1\"",
                "f:5:5: invalid regular expression \"(\": parentheses () not balanced",
            ]
        );
    }
}
