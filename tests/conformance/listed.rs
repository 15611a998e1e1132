//! The differences that are known: read from `docs/differences.md`, so that none is tolerated that is not told.
//!
//! A list item there begins with a pattern in backquotes, in which `%` stands for any text. Below the heading
//! "Refused" it is the message of an error 0A000; below the others, the statement.

/// What is known to differ.
pub struct Listed {
    statements: Vec<String>,
    refusals: Vec<String>,
}

impl Listed {
    /// Reads the document.
    pub fn read() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/differences.md");
        let text = std::fs::read_to_string(path).expect("docs/differences.md");
        let mut listed = Self { statements: Vec::new(), refusals: Vec::new() };
        let mut is_refused = false;
        for line in text.lines() {
            if let Some(heading) = line.strip_prefix("## ") {
                is_refused = heading == "Refused";
            }
            let pattern = line.strip_prefix("* `").and_then(|rest| rest.split_once('`')).map(|(pattern, _)| pattern);
            if let Some(pattern) = pattern {
                assert!(pattern.replace('%', "").len() >= 3, "a pattern that fits anything: {pattern}");
                if is_refused { &mut listed.refusals } else { &mut listed.statements }.push(pattern.to_owned());
            }
        }
        listed
    }

    /// Whether a statement's difference is told of.
    pub fn has_statement(&self, statement: &str) -> bool {
        self.statements.iter().any(|pattern| is_like(statement, pattern))
    }

    /// Whether a refusal is told of.
    pub fn has_refusal(&self, message: &str) -> bool {
        self.refusals.iter().any(|pattern| is_like(message, pattern))
    }
}

/// `text LIKE pattern`, with `%` alone.
fn is_like(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('%');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    true
}
