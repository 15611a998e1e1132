//! The users that may come in, where a file lists them: PgBouncer's `userlist.txt`, lines of `"name" "password"`.
//!
//! A password is plain text, an md5 hash or a SCRAM verifier. Only plain text can be used to log in upstream.

use std::collections::HashMap;

/// Names and their passwords.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Users(HashMap<String, String>);

impl Users {
    /// Reads the file's text. Lines that begin with `;` are comments. An error names the line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut users = HashMap::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(';') {
                continue;
            }
            let fields = quoted(line)
                .and_then(|(name, rest)| Some((name, quoted(rest.trim_start())?.0)))
                .ok_or_else(|| format!("line {}: expected \"user\" \"password\"", number + 1))?;
            users.insert(fields.0, fields.1);
        }
        Ok(Self(users))
    }

    /// The stored password of a user.
    pub fn password(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Whether the file lists nobody.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A quoted field, in which two quotes stand for one, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix('"')?;
    let mut field = String::new();
    loop {
        let (before, after) = rest.split_once('"')?;
        field.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                field.push('"');
                rest = more;
            }
            None => return Some((field, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_userlist_is_read_and_its_faults_are_named() {
        let users = Users::parse("; comment\n\"ann\" \"pa\"\"ss\"\n\n\"bob\"   \"md5abc\" anything\n").unwrap();
        assert_eq!(users.password("ann"), Some("pa\"ss"));
        assert_eq!(users.password("bob"), Some("md5abc"));
        assert_eq!(users.password("eve"), None);
        assert_eq!(Users::parse("\n\"ann\"").unwrap_err(), "line 2: expected \"user\" \"password\"");
        assert!(Users::parse("ann pass").is_err());
    }
}
