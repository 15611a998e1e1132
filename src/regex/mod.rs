//! PostgreSQL's regular expressions: advanced ones, the extended ones of POSIX, and literal strings.
//!
//! What matches is what PostgreSQL's rules say: the leftmost match; of those that start there the longest or the
//! shortest, as the expression as a whole prefers; and within it each subexpression by its own preference, earlier
//! ones first. A pattern is read into a tree ([`syntax`]), which becomes one program for a set of states that walk
//! along the text together ([`program`], [`run`]), and a tree of those parts that hold captures, by which a match
//! is taken apart ([`dissect`]). Without back references, finding where a match starts and ends takes time linear in
//! the text. Pure: no I/O; whoever calls says how interrupts are heard.

mod class;
mod dissect;
mod program;
mod run;
mod syntax;

use std::cell::RefCell;
use std::rc::Rc;

use crate::error::{Condition, Error};
use dissect::Search;
use program::Program;

/// Compiled expressions kept, the most recently used ones.
const CACHE_LIMIT: usize = 32;

/// How a pattern is read and what its parts mean: PostgreSQL's compile-time flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Escapes, look-around and non-greedy quantifiers are known (an ARE); else an ERE.
    pub advanced: bool,
    /// The pattern is a literal string.
    pub quote: bool,
    /// Case does not matter.
    pub ignore_case: bool,
    /// White space and comments in the pattern do not count.
    pub expanded: bool,
    /// `.` and negated brackets do not match a newline.
    pub newline_stops: bool,
    /// `^` and `$` match at newlines, too.
    pub newline_anchors: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            advanced: true,
            quote: false,
            ignore_case: false,
            expanded: false,
            newline_stops: false,
            newline_anchors: false,
        }
    }
}

/// Asked every so often while matching; an error ends it.
pub type Check<'a> = &'a dyn Fn() -> Result<(), Error>;

/// Where a match and its captures are, as byte offsets; the first is the whole match.
pub type Spans = Vec<Option<(usize, usize)>>;

/// A compiled expression.
#[derive(Debug)]
pub struct Regex {
    program: Program,
}

thread_local! {
    static CACHE: RefCell<Vec<(Options, String, Rc<Regex>)>> = const { RefCell::new(Vec::new()) };
}

impl Regex {
    /// The compiled form of a pattern, from the cache if it was used lately.
    pub fn cached(pattern: &str, options: Options) -> Result<Rc<Self>, Error> {
        CACHE.with_borrow_mut(|cache| {
            if let Some(at) = cache.iter().position(|(known, text, _)| *known == options && text == pattern) {
                let entry = cache.remove(at);
                let regex = Rc::clone(&entry.2);
                cache.push(entry);
                return Ok(regex);
            }
            let regex = Rc::new(Self::new(pattern, options)?);
            if cache.len() >= CACHE_LIMIT {
                cache.remove(0);
            }
            cache.push((options, pattern.to_owned(), Rc::clone(&regex)));
            Ok(regex)
        })
    }

    /// Compiles a pattern; 2201B for what is none.
    pub fn new(pattern: &str, options: Options) -> Result<Self, Error> {
        let parsed = syntax::parse(pattern, options).map_err(Refusal::error)?;
        Ok(Self { program: program::compile(&parsed).map_err(Refusal::error)? })
    }

    /// How many capturing parentheses there are.
    pub fn groups(&self) -> usize {
        self.program.groups
    }

    /// Whether there is a match anywhere in a text.
    pub fn is_match(&self, text: &str, check: Check<'_>) -> Result<bool, Error> {
        Search::new(&self.program, text, check).find(0, false).map(|found| found.is_some())
    }

    /// A search through a text.
    pub fn finder<'a>(&'a self, text: &'a str, check: Check<'a>) -> Finder<'a> {
        Finder(Search::new(&self.program, text, check))
    }
}

/// Finds one match after the other.
pub struct Finder<'a>(Search<'a>);

impl Finder<'_> {
    /// The first match that starts at a byte offset or later. What is before counts for anchors and look-behind.
    pub fn find(&mut self, from: usize) -> Result<Option<Spans>, Error> {
        self.0.find(from, true)
    }
}

/// Why a pattern is none: PostgreSQL's own reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    CollatingElement,
    CharacterClass,
    Escape,
    BackReference,
    Brackets,
    Parentheses,
    Braces,
    RepetitionCount,
    Range,
    Operand,
    EmbeddedOption,
    TooComplex,
    Basic,
}

impl Refusal {
    fn error(self) -> Error {
        let reason = match self {
            Self::CollatingElement => "invalid collating element",
            Self::CharacterClass => "invalid character class",
            Self::Escape => "invalid escape \\ sequence",
            Self::BackReference => "invalid backreference number",
            Self::Brackets => "brackets [] not balanced",
            Self::Parentheses => "parentheses () not balanced",
            Self::Braces => "braces {} not balanced",
            Self::RepetitionCount => "invalid repetition count(s)",
            Self::Range => "invalid character range",
            Self::Operand => "quantifier operand invalid",
            Self::EmbeddedOption => "invalid embedded option",
            Self::TooComplex => "regular expression is too complex",
            Self::Basic => return Error::unsupported("a basic regular expression (option \"b\")"),
        };
        Error::new(Condition::InvalidRegularExpression, format!("invalid regular expression: {reason}"))
    }
}

#[cfg(test)]
mod tests;
