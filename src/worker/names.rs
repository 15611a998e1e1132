//! Whose connection this process has, for the lines of its log. Global to the process, since a line may come from
//! anywhere: set when the client has said who it is, cleared when the connection is over. Decides nothing.

use parking_lot::Mutex;

/// PostgreSQL's names are not longer, and what a client says is.
const NAME_BYTES_MAX: usize = 63;

/// Whom the client wants to be, and in which database, as PostgreSQL's log names them: whether it may is another matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The role.
    pub user: String,
    /// The database.
    pub database: String,
}

static NAMES: Mutex<Option<Names>> = Mutex::new(None);

/// Lines are of that client from now on.
pub fn set(user: &str, database: &str) {
    *NAMES.lock() = Some(Names { user: shortened(user), database: shortened(database) });
}

/// The connection is over.
pub fn clear() {
    *NAMES.lock() = None;
}

/// Whose connection this process has; None without one, and while it isn't known.
pub fn known() -> Option<Names> {
    NAMES.lock().clone()
}

fn shortened(name: &str) -> String {
    name.get(..name.floor_char_boundary(NAME_BYTES_MAX)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_from_set_to_clear_and_never_long() {
        set("ann", &"\u{20ac}".repeat(1000));
        assert_eq!(known(), Some(Names { user: "ann".to_owned(), database: "\u{20ac}".repeat(21) }));
        clear();
        assert_eq!(known(), None);
    }
}
