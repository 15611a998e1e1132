//! Plans kept by the shape of their text: the tokens, with every liftable literal replaced by a mark.
//!
//! `SELECT 1` and `SELECT 2` have one shape, so that the simple protocol costs what a prepared statement costs.
//! A plan that rests on a literal's text (`ORDER BY 1`) is found again only where that text is the same.
//!
//! Bounded: when it is full, the quarter that was used longest ago goes.

use std::collections::HashMap;
use std::rc::Rc;

use super::emit::Lifted;
use super::lex::{Kind, Lexer, Token};
use super::plan::Plan;
use super::types::Type;
use crate::error::Error;
use crate::work;

/// Plans kept at the most.
const PLANS_MAX: usize = 512;

/// Longest shape that is kept, in bytes: a script of megabytes is planned each time.
const SHAPE_MAX: usize = 16 * 1024;

/// A literal of a statement's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Literal {
    /// Its token.
    pub token: Token,
    /// The type its form gives it.
    pub form: Form,
}

/// What a literal's form says of its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Digits that fit integer.
    Int4,
    /// Digits that fit bigint.
    Int8,
    /// Other numbers.
    Numeric,
    /// A string of any notation.
    String,
}

impl Form {
    /// The form of a literal's token; `None` for other tokens.
    pub fn of(token: Token, text: &str) -> Option<Self> {
        match token.kind {
            Kind::Integer => {
                let digits = token.text(text);
                Some(match digits.parse::<i64>() {
                    Ok(value) if i32::try_from(value).is_ok() => Self::Int4,
                    Ok(_) => Self::Int8,
                    Err(_) => Self::Numeric,
                })
            }
            Kind::Decimal => Some(Self::Numeric),
            kind if kind.is_string() => Some(Self::String),
            _ => None,
        }
    }

    /// The type, `Unknown` for a string.
    pub fn type_(self) -> Type {
        match self {
            Self::Int4 => Type::Int4,
            Self::Int8 => Type::Int8,
            Self::Numeric => Type::Numeric,
            Self::String => Type::Unknown,
        }
    }

    /// The mark in a shape. No token contains a control character outside quotes.
    fn mark(self) -> char {
        match self {
            Self::Int4 => '\u{1}',
            Self::Int8 => '\u{2}',
            Self::Numeric => '\u{3}',
            Self::String => '\u{4}',
        }
    }
}

/// The shape of one statement and its literals.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Shape {
    /// Tokens and marks, each followed by a blank.
    pub key: String,
    /// The literals in order.
    pub literals: Vec<Literal>,
}

impl Shape {
    /// Reads one statement's tokens up to the end of `text` or a semicolon; returns the byte where it ended and
    /// whether a semicolon ended it. Positions are relative to `text`.
    pub fn read(&mut self, lexer: &mut Lexer<'_>, text: &str) -> Result<Ended, Error> {
        self.key.clear();
        self.literals.clear();
        let mut first = None;
        let mut last = 0;
        while let Some(token) = lexer.next_token()? {
            if token.kind == Kind::Punctuation && token.text(text) == ";" {
                return Ok(Ended {
                    start: first.unwrap_or(token.start),
                    end: last.max(first.unwrap_or(token.start)),
                    more: true,
                });
            }
            first.get_or_insert(token.start);
            last = token.end;
            work::tick()?;
            // A shape that is too long to be kept need not grow further.
            let kept = self.is_kept();
            match Form::of(token, text) {
                Some(form) => {
                    if kept {
                        self.key.push(form.mark());
                    }
                    self.literals.push(Literal { token, form });
                }
                None if kept => self.key.push_str(token.text(text)),
                None => {}
            }
            if kept {
                self.key.push(' ');
            }
        }
        let start = first.unwrap_or(text.len());
        Ok(Ended { start, end: last.max(start), more: false })
    }
}

impl Shape {
    /// Whether a plan of this shape is worth a place in the cache.
    pub fn is_kept(&self) -> bool {
        self.key.len() <= SHAPE_MAX
    }
}

/// Where a statement stands in its text, in bytes, and whether a semicolon followed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// First byte of its first token.
    pub start: usize,
    /// One past its last token.
    pub end: usize,
    /// A semicolon followed.
    pub more: bool,
}

/// A plan with what it takes to use it for another text of the same shape.
#[derive(Debug)]
pub struct Entry {
    /// The plan.
    pub plan: Rc<Plan>,
    /// What `Bind::Literal` numbers: which literal of the text, read as which type.
    pub lifted: Vec<Lifted>,
    /// Literals that the plan rests on: their numbers, and their texts with quotes.
    fixed: Vec<(usize, String)>,
    /// Parameter types that were declared.
    declared: Vec<u32>,
}

impl Entry {
    /// An entry for the cache.
    pub fn new(plan: Rc<Plan>, lifted: Vec<Lifted>, fixed: Vec<(usize, String)>, declared: &[u32]) -> Self {
        Self { plan, lifted, fixed, declared: declared.to_vec() }
    }

    fn fits(&self, shape: &Shape, text: &str, declared: &[u32]) -> bool {
        self.declared == declared
            && self.fixed.iter().all(|(index, expected)| {
                shape.literals.get(*index).is_some_and(|literal| literal.token.text(text) == expected)
            })
    }
}

#[derive(Debug)]
struct Variants {
    entries: Vec<Rc<Entry>>,
    used: u64,
}

/// The cache. Emptied by its owner whenever what plans rest on has changed.
#[derive(Debug, Default)]
pub struct Cache {
    plans: HashMap<String, Variants>,
    clock: u64,
}

impl Cache {
    /// Whether a statement of that shape has been planned, so that its syntax is known to be right.
    pub fn knows(&self, shape: &Shape) -> bool {
        self.plans.contains_key(shape.key.as_str())
    }

    /// The plan for a text of that shape.
    pub fn find(&mut self, shape: &Shape, text: &str, declared: &[u32]) -> Option<Rc<Entry>> {
        let variants = self.plans.get_mut(shape.key.as_str())?;
        let entry = variants.entries.iter().find(|entry| entry.fits(shape, text, declared))?;
        self.clock += 1;
        variants.used = self.clock;
        Some(Rc::clone(entry))
    }

    /// Keeps a plan, unless its shape is too long to be worth it.
    pub fn insert(&mut self, shape: &Shape, entry: Rc<Entry>) {
        /// Variants of one shape: beyond them the oldest goes.
        const VARIANTS_MAX: usize = 8;
        if !shape.is_kept() {
            return;
        }
        if self.plans.len() >= PLANS_MAX && !self.plans.contains_key(shape.key.as_str()) {
            self.evict();
        }
        self.clock += 1;
        let variants = self.plans.entry(shape.key.clone()).or_insert_with(|| Variants { entries: Vec::new(), used: 0 });
        if variants.entries.len() >= VARIANTS_MAX {
            variants.entries.remove(0);
        }
        variants.entries.push(entry);
        variants.used = self.clock;
    }

    fn evict(&mut self) {
        let mut uses: Vec<u64> = self.plans.values().map(|variants| variants.used).collect();
        let quarter = uses.len() / 4;
        let (_, limit, _) = uses.select_nth_unstable(quarter);
        let limit = *limit;
        self.plans.retain(|_, variants| variants.used > limit);
    }

    /// Forgets every plan.
    pub fn clear(&mut self) {
        self.plans.clear();
    }

    /// Shapes kept.
    pub fn len(&self) -> usize {
        self.plans.len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.plans.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::plan::{Action, Tag};

    fn shape(text: &str) -> Shape {
        let mut shape = Shape::default();
        shape.read(&mut Lexer::new(text), text).expect("tokens");
        shape
    }

    fn entry(fixed: Vec<(usize, String)>) -> Rc<Entry> {
        let plan = Plan {
            tag: Tag::Select,
            parameters: Vec::new(),
            columns: Vec::new(),
            action: Action::Empty,
            allowed_when_failed: false,
        };
        Rc::new(Entry::new(Rc::new(plan), Vec::new(), fixed, &[]))
    }

    #[test]
    fn literals_and_white_space_do_not_matter() {
        assert_eq!(shape("select  1, 'a' -- x").key, shape("select 22,E'b'").key);
        assert_ne!(shape("select 1").key, shape("select 3000000000").key);
        assert_ne!(shape("select 1").key, shape("select 1.0").key);
        assert_ne!(shape("select 1").key, shape("select '1'").key);
        assert_ne!(shape("select a b").key, shape("select ab").key);
        assert_ne!(shape("select \"a b\"").key, shape("select a b").key);
    }

    #[test]
    fn a_statement_ends_at_its_semicolon() {
        let text = " select 1 ; select ';' ";
        let mut lexer = Lexer::new(text);
        let mut shape = Shape::default();
        assert_eq!(shape.read(&mut lexer, text), Ok(Ended { start: 1, end: 9, more: true }));
        assert_eq!(shape.read(&mut lexer, text), Ok(Ended { start: 12, end: 22, more: false }));
    }

    #[test]
    fn fixed_literals_must_be_the_same() {
        let mut cache = Cache::default();
        let text = "select a from t order by 1 limit 5";
        cache.insert(&shape(text), entry(vec![(0, "1".into())]));
        let other = "select a from t order by 1 limit 6";
        assert!(cache.find(&shape(other), other, &[]).is_some());
        let other = "select a from t order by 2 limit 5";
        assert!(cache.find(&shape(other), other, &[]).is_none());
        assert!(cache.find(&shape(text), text, &[23]).is_none());
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let mut cache = Cache::default();
        for number in 0..PLANS_MAX {
            cache.insert(&shape(&format!("select c{number}")), entry(Vec::new()));
        }
        assert!(cache.find(&shape("select c0"), "select c0", &[]).is_some());
        cache.insert(&shape("select one more"), entry(Vec::new()));
        assert!(cache.len() <= PLANS_MAX);
        assert!(cache.find(&shape("select c0"), "select c0", &[]).is_some());
        assert!(cache.find(&shape("select c1"), "select c1", &[]).is_none());
    }
}
