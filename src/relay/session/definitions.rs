//! Definitions that are about sessions, on a PostgreSQL of the server's own: they meet no connections there but ours, of which
//! idle ones must not be in their way, and new sessions must not run on older ones.

/// Whether a text has CREATE, ALTER or DROP DATABASE in it: none of them likes it when somebody is connected.
pub(super) fn is_about_databases(text: &[u8]) -> bool {
    const DATABASE: &[u8] = b"database";
    text.windows(DATABASE.len()).enumerate().any(|(at, word)| {
        word.eq_ignore_ascii_case(DATABASE) && {
            let before = text.get(..at).unwrap_or_default();
            let trimmed = before.trim_ascii_end();
            let start = trimmed.iter().rposition(|byte| !byte.is_ascii_alphabetic()).map_or(0, |last| last + 1);
            let verb = trimmed.get(start..).unwrap_or_default();
            trimmed.len() < before.len()
                && [&b"create"[..], b"alter", b"drop"].iter().any(|known| verb.eq_ignore_ascii_case(known))
        }
    })
}

/// Whether a statement of that tag changes what a session begins with: its settings, or whether there may be one.
pub(super) fn changes_sessions(tag: &[u8]) -> bool {
    matches!(tag, b"ALTER ROLE\0" | b"ALTER DATABASE\0" | b"DROP ROLE\0" | b"DROP DATABASE\0" | b"CREATE DATABASE\0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_are_recognised_in_any_spelling() {
        for text in ["drop database x", "select 1; CREATE\n\tDataBase x", "(alter database x set a = b"] {
            assert!(is_about_databases(text.as_bytes()), "{text}");
        }
        for text in ["", "database", "select * from database", "backdrop database", "dropdatabase", "drop datab"] {
            assert!(!is_about_databases(text.as_bytes()), "{text}");
        }
        assert!(changes_sessions(b"ALTER ROLE\0") && !changes_sessions(b"ALTER TABLE\0"));
    }
}
