//! pg_ident.conf: which user of the operating system may be which role.
//!
//! Owns the maps and their matching. Regular expressions are refused by name when the file is loaded.

use super::lexicon::{self, Problem, Source};

/// The lines of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Maps {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    map: String,
    system_user: String,
    role: String,
}

impl Maps {
    /// Reads a file: a map's name, a system user and a role on each line.
    pub fn parse(source: &Source<'_>) -> Result<Maps, Vec<Problem>> {
        let mut entries = Vec::new();
        let mut problems = Vec::new();
        for line in lexicon::lines(source)? {
            let mut wrong = |column: usize, message: String| {
                let file = source.name.to_owned();
                problems.push(Problem { file, line: line.number, column, message, hint: None });
            };
            let (Some(map), Some(system_user), Some(role)) =
                (line.fields.first(), line.fields.get(1), line.fields.get(2))
            else {
                wrong(line.end, "missing entry at end of line".into());
                continue;
            };
            let ([map], [system_user], [role]) = (map.as_slice(), system_user.as_slice(), role.as_slice()) else {
                wrong(1, "multiple values in ident field".into());
                continue;
            };
            if let Some(token) = [system_user, role].into_iter().find(|token| token.text.starts_with('/')) {
                wrong(token.column, format!("regular expression \"{}\" is not supported yet", token.text));
                continue;
            }
            entries.push(Entry {
                map: map.text.clone(),
                system_user: system_user.text.clone(),
                role: role.text.clone(),
            });
        }
        if problems.is_empty() { Ok(Maps { entries }) } else { Err(problems) }
    }

    /// Whether the map lets the system user be the role. Without a map the names have to be equal. The error says
    /// why not, for the log.
    pub fn allow(&self, map: Option<&str>, system_user: &str, role: &str) -> Result<(), String> {
        match map {
            None | Some("") if system_user == role => Ok(()),
            None | Some("") => {
                Err(format!("provided user name ({role}) and authenticated user name ({system_user}) do not match"))
            }
            Some(map) => {
                let entry = |entry: &Entry| entry.map == map && entry.system_user == system_user && entry.role == role;
                if self.entries.iter().any(entry) {
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
    use super::*;

    #[test]
    fn maps_by_name() {
        let text = "# map system role\nops  root postgres\nops \"deploy user\" shop\n";
        let maps = Maps::parse(&Source::alone("pg_ident.conf", text)).unwrap();
        assert_eq!(maps.allow(Some("ops"), "root", "postgres"), Ok(()));
        assert_eq!(maps.allow(Some("ops"), "deploy user", "shop"), Ok(()));
        assert_eq!(
            maps.allow(Some("ops"), "root", "shop"),
            Err("no match in usermap \"ops\" for user \"shop\" authenticated as \"root\"".into())
        );
        assert_eq!(maps.allow(None, "ann", "ann"), Ok(()));
        assert_eq!(
            maps.allow(None, "root", "ann"),
            Err("provided user name (ann) and authenticated user name (root) do not match".into())
        );
    }

    #[test]
    fn faults_are_located() {
        let problems = Maps::parse(&Source::alone("i", "ops root\nops a,b c\n\nops /^(.*)$ \\1")).unwrap_err();
        let shown: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "i:1:9: missing entry at end of line",
                "i:2:1: multiple values in ident field",
                "i:4:5: regular expression \"/^(.*)$\" is not supported yet",
            ]
        );
    }
}
