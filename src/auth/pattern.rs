//! Names in pg_hba.conf and pg_ident.conf: literal ones, and regular expressions after a slash.

use std::rc::Rc;

use super::lexicon::Token;
use crate::regex::{Options, Regex};

/// A name that may be a regular expression.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    regex: Option<Rc<Regex>>,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl Pattern {
    /// A slash at the beginning, quoted or not, makes it a regular expression. The error says what is wrong with that.
    pub(super) fn parse(token: &Token) -> Result<Self, String> {
        let regex = match token.text.strip_prefix('/') {
            Some(pattern) => {
                let regex = Regex::new(pattern, Options::default());
                let wrong = |error: crate::error::Error| {
                    let reason = error.fields().message.strip_prefix("invalid regular expression: ").map(str::to_owned);
                    let reason = reason.unwrap_or_else(|| error.fields().message.clone());
                    format!("invalid regular expression \"{pattern}\": {reason}")
                };
                Some(Rc::new(regex.map_err(wrong)?))
            }
            None => None,
        };
        Ok(Self { text: token.text.clone(), regex })
    }

    /// As it was written, with its slash.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is a regular expression with a capture.
    pub fn has_capture(&self) -> bool {
        self.regex.as_ref().is_some_and(|regex| regex.groups() > 0)
    }

    /// Whether the name is meant.
    pub fn matches(&self, name: &str) -> bool {
        match &self.regex {
            Some(regex) => regex.is_match(name, &|| Ok(())).unwrap_or(false),
            None => self.text == name,
        }
    }

    /// What the first capture of the regular expression is for that name, if it is meant.
    pub fn capture<'a>(&self, name: &'a str) -> Option<&'a str> {
        let spans = self.regex.as_ref()?.finder(name, &|| Ok(())).find(0).ok()??;
        let (from, to) = spans.get(1).copied().flatten()?;
        name.get(from..to)
    }
}
