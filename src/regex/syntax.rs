//! Reads a pattern into a tree. Follows PostgreSQL's lexer and parser in what is special where.

use std::rc::Rc;

use super::class::{Class, Set};
use super::{Options, Refusal};

/// The largest count in a bound.
const COUNT_MAX: u32 = 255;
/// Parentheses within parentheses.
const DEPTH_MAX: usize = 200;
/// Atoms of a pattern altogether.
const ATOMS_MAX: usize = 100_000;

/// Which match of several a quantified part prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Preference {
    Longer,
    Shorter,
}

/// A condition on a place in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Assertion {
    TextStart,
    TextEnd,
    LineStart,
    LineEnd,
    WordStart,
    WordEnd,
    WordBoundary,
    NoWordBoundary,
}

/// What can be quantified, or stands for a place.
#[derive(Debug, Clone)]
pub(super) enum Atom {
    /// Never matches: a bound of zero leaves nothing of its atom.
    Empty,
    Set(Rc<Set>),
    Assertion(Assertion),
    Look {
        ahead: bool,
        negated: bool,
        inner: Rc<Alternation>,
    },
    /// Parentheses; with a number if they capture.
    Group(Option<usize>, Rc<Alternation>),
    Back(usize),
}

/// An atom with its quantifier; {1,1} without preference for none.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub atom: Atom,
    pub min: u32,
    /// `None`: no end.
    pub max: Option<u32>,
    pub preference: Option<Preference>,
}

/// Branches between bars.
#[derive(Debug, Clone, Default)]
pub(super) struct Alternation {
    pub branches: Vec<Vec<Piece>>,
}

/// A pattern as read.
#[derive(Debug)]
pub(super) struct Parsed {
    pub whole: Rc<Alternation>,
    /// Of each capturing group, from 1.
    pub groups: Vec<Rc<Alternation>>,
    pub ignore_case: bool,
}

struct Reader {
    text: Vec<char>,
    at: usize,
    options: Options,
    /// Groups begun so far; what is not closed yet has no tree.
    groups: Vec<Option<Rc<Alternation>>>,
    depth: usize,
    atoms: usize,
}

/// Reads a pattern.
pub(super) fn parse(pattern: &str, options: Options) -> Result<Parsed, Refusal> {
    let mut reader = Reader { text: pattern.chars().collect(), at: 0, options, groups: Vec::new(), depth: 0, atoms: 0 };
    if !options.quote {
        reader.prefixes()?;
    }
    let whole = if reader.options.quote { reader.literal()? } else { reader.alternation(false)? };
    if reader.at < reader.text.len() {
        return Err(Refusal::Parentheses);
    }
    let groups = reader.groups.into_iter().map(Option::unwrap_or_default).collect();
    Ok(Parsed { whole: Rc::new(whole), groups, ignore_case: reader.options.ignore_case })
}

impl Reader {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.text.get(self.at + ahead).copied()
    }

    fn begins(&self, prefix: &str) -> bool {
        prefix.chars().enumerate().all(|(index, c)| self.peek(index) == Some(c))
    }

    fn eat(&mut self, prefix: &str) -> bool {
        let found = self.begins(prefix);
        if found {
            self.at += prefix.len();
        }
        found
    }

    /// `***=`, `***:` and embedded options.
    fn prefixes(&mut self) -> Result<(), Refusal> {
        if !self.options.advanced {
            return Ok(());
        }
        if self.begins("***") {
            if self.eat("***=") {
                self.options.quote = true;
                self.options.advanced = false;
                self.options.expanded = false;
                self.options.newline_stops = false;
                self.options.newline_anchors = false;
                return Ok(());
            }
            if !self.eat("***:") {
                return Err(Refusal::Operand);
            }
        }
        if self.begins("(?") && self.peek(2).is_some_and(|c| c.is_ascii_alphabetic()) {
            self.at += 2;
            while let Some(c) = self.peek(0).filter(char::is_ascii_alphabetic) {
                self.at += 1;
                match c {
                    'b' => return Err(Refusal::Basic),
                    'c' => self.options.ignore_case = false,
                    'e' => self.options.advanced = false,
                    'i' => self.options.ignore_case = true,
                    'm' | 'n' => (self.options.newline_stops, self.options.newline_anchors) = (true, true),
                    'p' => (self.options.newline_stops, self.options.newline_anchors) = (true, false),
                    'q' => (self.options.quote, self.options.advanced) = (true, false),
                    's' => (self.options.newline_stops, self.options.newline_anchors) = (false, false),
                    't' => self.options.expanded = false,
                    'w' => (self.options.newline_stops, self.options.newline_anchors) = (false, true),
                    'x' => self.options.expanded = true,
                    _ => return Err(Refusal::EmbeddedOption),
                }
            }
            if !self.eat(")") {
                return Err(Refusal::EmbeddedOption);
            }
            if self.options.quote {
                self.options.expanded = false;
                self.options.newline_stops = false;
                self.options.newline_anchors = false;
            }
        }
        Ok(())
    }

    fn literal(&mut self) -> Result<Alternation, Refusal> {
        let mut branch = Vec::new();
        while let Some(c) = self.peek(0) {
            self.at += 1;
            self.count()?;
            branch.push(plain(self.single(c)));
        }
        Ok(Alternation { branches: vec![branch] })
    }

    fn single(&self, c: char) -> Atom {
        Atom::Set(Rc::new(Set::single(c, self.options.ignore_case)))
    }

    fn count(&mut self) -> Result<(), Refusal> {
        self.atoms += 1;
        if self.atoms > ATOMS_MAX { Err(Refusal::TooComplex) } else { Ok(()) }
    }

    /// White space and comments where they do not count; comments of the form `(?#…)` anywhere in an ARE.
    fn skip(&mut self) {
        loop {
            if self.options.expanded {
                while self.peek(0).is_some_and(|c| Class::Space.contains(c)) {
                    self.at += 1;
                }
                if self.peek(0) == Some('#') {
                    while self.peek(0).is_some_and(|c| c != '\n') {
                        self.at += 1;
                    }
                    continue;
                }
            }
            if self.options.advanced && self.begins("(?#") {
                while self.peek(0).is_some_and(|c| c != ')') {
                    self.at += 1;
                }
                self.at = (self.at + 1).min(self.text.len());
                continue;
            }
            return;
        }
    }

    fn alternation(&mut self, look: bool) -> Result<Alternation, Refusal> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Refusal::TooComplex);
        }
        let mut branches = Vec::new();
        loop {
            let mut branch = Vec::new();
            loop {
                self.skip();
                match self.peek(0) {
                    None | Some('|') => break,
                    Some(')') if self.depth > 1 => break,
                    Some(_) => branch.extend(self.piece(look)?),
                }
            }
            branches.push(branch);
            if !self.eat("|") {
                break;
            }
        }
        self.depth -= 1;
        Ok(Alternation { branches })
    }

    /// An atom and its quantifier; `None` where the quantifier leaves nothing of it.
    fn piece(&mut self, look: bool) -> Result<Option<Piece>, Refusal> {
        self.count()?;
        let atom = self.atom(look)?;
        if matches!(atom, Atom::Assertion(_) | Atom::Look { .. }) {
            return Ok(Some(plain(atom)));
        }
        self.skip();
        let (min, max, prefers) = match self.peek(0) {
            Some('*') => (0, None, true),
            Some('+') => (1, None, true),
            Some('?') => (0, Some(1), true),
            Some('{') if self.peek(1).is_some_and(|c| c.is_ascii_digit()) => self.bound()?,
            _ => return Ok(Some(plain(atom))),
        };
        self.at += 1;
        let lazy = self.options.advanced && self.eat("?");
        let preference = prefers.then_some(if lazy { Preference::Shorter } else { Preference::Longer });
        if max == Some(0) {
            return Ok(Some(plain(Atom::Empty)));
        }
        Ok(Some(Piece { atom, min, max, preference }))
    }

    /// `{m}`, `{m,}` and `{m,n}`, up to the brace that closes it.
    fn bound(&mut self) -> Result<(u32, Option<u32>, bool), Refusal> {
        self.at += 1;
        let min = self.bound_number()?;
        let (max, prefers) = if self.peek(0) == Some(',') {
            self.at += 1;
            let max = if self.peek(0).is_some_and(|c| c.is_ascii_digit()) { Some(self.bound_number()?) } else { None };
            (max, true)
        } else {
            (Some(min), false)
        };
        match self.peek(0) {
            None => Err(Refusal::Braces),
            Some('}') if max.is_none_or(|max| min <= max) => Ok((min, max, prefers)),
            Some(_) => Err(Refusal::RepetitionCount),
        }
    }

    fn bound_number(&mut self) -> Result<u32, Refusal> {
        let mut value = 0;
        while let Some(digit) = self.peek(0).and_then(|c| c.to_digit(10)) {
            self.at += 1;
            value = value * 10 + digit;
            if value > COUNT_MAX {
                return Err(Refusal::RepetitionCount);
            }
        }
        Ok(value)
    }

    fn atom(&mut self, look: bool) -> Result<Atom, Refusal> {
        let Some(c) = self.peek(0) else { return Ok(Atom::Empty) };
        match c {
            '(' => self.parentheses(look),
            ')' if self.options.advanced => Err(Refusal::Parentheses),
            '*' | '+' | '?' => Err(Refusal::Operand),
            '{' if self.peek(1).is_some_and(|c| c.is_ascii_digit()) => Err(Refusal::Operand),
            '[' => self.brackets(),
            '\\' => self.escape(look),
            _ => {
                self.at += 1;
                Ok(match c {
                    '.' => Atom::Set(Rc::new(Set::any(self.options.newline_stops))),
                    '^' if self.options.newline_anchors => Atom::Assertion(Assertion::LineStart),
                    '^' => Atom::Assertion(Assertion::TextStart),
                    '$' if self.options.newline_anchors => Atom::Assertion(Assertion::LineEnd),
                    '$' => Atom::Assertion(Assertion::TextEnd),
                    c => self.single(c),
                })
            }
        }
    }

    fn parentheses(&mut self, look: bool) -> Result<Atom, Refusal> {
        self.at += 1;
        let mut around = None;
        let mut captures = !look;
        if self.options.advanced && self.peek(0) == Some('?') {
            around = match () {
                () if self.eat("?:") => {
                    captures = false;
                    None
                }
                () if self.eat("?=") => Some((true, false)),
                () if self.eat("?!") => Some((true, true)),
                () if self.eat("?<=") => Some((false, false)),
                () if self.eat("?<!") => Some((false, true)),
                () => return Err(Refusal::Operand),
            };
        }
        if let Some((ahead, negated)) = around {
            let inner = Rc::new(self.alternation(true)?);
            return if self.eat(")") { Ok(Atom::Look { ahead, negated, inner }) } else { Err(Refusal::Parentheses) };
        }
        let number = captures.then(|| {
            self.groups.push(None);
            self.groups.len()
        });
        let inner = Rc::new(self.alternation(look)?);
        if !self.eat(")") {
            return Err(Refusal::Parentheses);
        }
        if let Some(group) = number.and_then(|number| self.groups.get_mut(number - 1)) {
            *group = Some(Rc::clone(&inner));
        }
        Ok(Atom::Group(number, inner))
    }

    /// Digits of a base, at least and at most so many.
    fn digits(&mut self, base: u32, least: usize, most: usize) -> Result<u32, Refusal> {
        let mut value: u32 = 0;
        let mut count = 0;
        while count < most
            && let Some(digit) = self.peek(0).and_then(|c| c.to_digit(base))
        {
            value = value.checked_mul(base).and_then(|value| value.checked_add(digit)).ok_or(Refusal::Escape)?;
            self.at += 1;
            count += 1;
        }
        if count < least { Err(Refusal::Escape) } else { Ok(value) }
    }

    fn escape(&mut self, look: bool) -> Result<Atom, Refusal> {
        self.at += 1;
        let Some(c) = self.peek(0) else { return Err(Refusal::Escape) };
        let place = |assertion| Ok(Atom::Assertion(assertion));
        if self.options.advanced {
            let assertion = match c {
                'A' => Some(Assertion::TextStart),
                'Z' => Some(Assertion::TextEnd),
                'm' => Some(Assertion::WordStart),
                'M' => Some(Assertion::WordEnd),
                'y' => Some(Assertion::WordBoundary),
                'Y' => Some(Assertion::NoWordBoundary),
                _ => None,
            };
            if let Some(assertion) = assertion {
                self.at += 1;
                return place(assertion);
            }
            if let Some((class, complement)) = class_escape(c) {
                self.at += 1;
                return Ok(Atom::Set(Rc::new(Set::class(class, complement))));
            }
            if matches!(c, '1'..='9') {
                let start = self.at;
                let number = self.digits(10, 1, 255)? as usize;
                // More than one digit is a back reference only if there are so many groups.
                if self.at == start + 1 || number <= self.groups.len() {
                    if look || self.groups.get(number - 1).is_none_or(Option::is_none) {
                        return Err(Refusal::BackReference);
                    }
                    return Ok(Atom::Back(number));
                }
                self.at = start;
            }
        }
        let c = self.character_escape()?;
        Ok(self.single(c))
    }

    /// The character that an escape stands for; the backslash has been read.
    fn character_escape(&mut self) -> Result<char, Refusal> {
        let Some(c) = self.peek(0) else { return Err(Refusal::Escape) };
        if !self.options.advanced || !c.is_ascii_alphanumeric() {
            self.at += 1;
            return Ok(c);
        }
        if c.is_ascii_digit() {
            let mut value = self.digits(8, 1, 3)?;
            if value > 0xff {
                // One digit too many for a byte.
                self.at -= 1;
                value >>= 3;
            }
            return char::from_u32(value).ok_or(Refusal::Escape);
        }
        self.at += 1;
        let code = match c {
            'a' => 7,
            'b' => 8,
            'B' => 0x5c,
            'c' => {
                let control = self.peek(0).ok_or(Refusal::Escape)?;
                self.at += 1;
                control as u32 & 0x1f
            }
            'e' => 0x1b,
            'f' => 0xc,
            'n' => 0xa,
            'r' => 0xd,
            't' => 9,
            'v' => 0xb,
            'u' => self.digits(16, 4, 4)?,
            'U' => self.digits(16, 8, 8)?,
            'x' => self.digits(16, 1, 255)?,
            _ => return Err(Refusal::Escape),
        };
        // Codes beyond Unicode are legal and match nothing that a text can hold.
        Ok(char::from_u32(code).unwrap_or(char::MAX))
    }

    fn brackets(&mut self) -> Result<Atom, Refusal> {
        for (written, assertion) in [("[[:<:]]", Assertion::WordStart), ("[[:>:]]", Assertion::WordEnd)] {
            if self.eat(written) {
                return Ok(Atom::Assertion(assertion));
            }
        }
        self.at += 1;
        let mut set = Set::default();
        (set.negated, set.ignore_case) = (self.eat("^"), self.options.ignore_case);
        set.no_newline = set.negated && self.options.newline_stops;
        let mut first = true;
        loop {
            match self.peek(0) {
                None => return Err(Refusal::Brackets),
                Some(']') if !first => break,
                Some(_) => self.bracket_part(&mut set, first)?,
            }
            first = false;
        }
        self.at += 1;
        Ok(Atom::Set(Rc::new(set.settled())))
    }

    fn bracket_part(&mut self, set: &mut Set, first: bool) -> Result<(), Refusal> {
        // A dash is itself where it begins or ends the list; elsewhere it is a range without a beginning.
        if self.peek(0) == Some('-') && !first && self.peek(1) != Some(']') {
            return Err(Refusal::Range);
        }
        if self.begins("[:") {
            let name = self.named(':')?;
            set.classes.push((Class::by_name(&name).ok_or(Refusal::CharacterClass)?, false));
            return Ok(());
        }
        if self.begins("[=") {
            let name = self.named('=')?;
            let c = element(&name)?;
            set.ranges.push((c, c));
            return Ok(());
        }
        if self.options.advanced
            && self.peek(0) == Some('\\')
            && let Some(class) = self.peek(1).and_then(class_escape)
        {
            self.at += 2;
            set.classes.push(class);
            return if self.peek(0) == Some('-') && self.peek(1) != Some(']') { Err(Refusal::Range) } else { Ok(()) };
        }
        let start = self.bracket_character()?;
        if self.peek(0) != Some('-') || self.peek(1) == Some(']') {
            set.ranges.push((start, start));
            return Ok(());
        }
        self.at += 1;
        if self.begins("[:") || self.begins("[=") {
            return Err(Refusal::Range);
        }
        let end = self.bracket_character()?;
        if start > end {
            return Err(Refusal::Range);
        }
        set.ranges.push((start, end));
        Ok(())
    }

    fn bracket_character(&mut self) -> Result<char, Refusal> {
        if self.begins("[.") {
            let name = self.named('.')?;
            return element(&name);
        }
        let Some(c) = self.peek(0) else { return Err(Refusal::Brackets) };
        self.at += 1;
        if c == '\\' && self.options.advanced {
            if self.peek(0).is_some_and(|c| class_escape(c).is_some()) {
                return Err(Refusal::Range);
            }
            return self.character_escape();
        }
        Ok(c)
    }

    /// The name between `[:` and `:]`, with another mark as well.
    fn named(&mut self, mark: char) -> Result<String, Refusal> {
        self.at += 2;
        let mut name = String::new();
        loop {
            match self.peek(0) {
                None => return Err(Refusal::Brackets),
                Some(c) if c == mark && self.peek(1) == Some(']') => break,
                Some(c) => name.push(c),
            }
            self.at += 1;
        }
        self.at += 2;
        if name.is_empty() {
            return Err(if mark == ':' { Refusal::CharacterClass } else { Refusal::CollatingElement });
        }
        Ok(name)
    }
}

fn plain(atom: Atom) -> Piece {
    Piece { atom, min: 1, max: Some(1), preference: None }
}

fn class_escape(c: char) -> Option<(Class, bool)> {
    Some(match c {
        'd' => (Class::Digit, false),
        'D' => (Class::Digit, true),
        's' => (Class::Space, false),
        'S' => (Class::Space, true),
        'w' => (Class::Word, false),
        'W' => (Class::Word, true),
        _ => return None,
    })
}

/// The character of a collating element: itself, or POSIX's name of one.
fn element(name: &str) -> Result<char, Refusal> {
    let mut characters = name.chars();
    if let (Some(c), None) = (characters.next(), characters.next()) {
        return Ok(c);
    }
    const NAMES: &[(&str, char)] = &[
        ("NUL", '\0'),
        ("alert", '\u{7}'),
        ("backspace", '\u{8}'),
        ("tab", '\t'),
        ("newline", '\n'),
        ("vertical-tab", '\u{b}'),
        ("form-feed", '\u{c}'),
        ("carriage-return", '\r'),
        ("ESC", '\u{1b}'),
        ("space", ' '),
        ("exclamation-mark", '!'),
        ("quotation-mark", '"'),
        ("number-sign", '#'),
        ("dollar-sign", '$'),
        ("percent-sign", '%'),
        ("ampersand", '&'),
        ("apostrophe", '\''),
        ("left-parenthesis", '('),
        ("right-parenthesis", ')'),
        ("asterisk", '*'),
        ("plus-sign", '+'),
        ("comma", ','),
        ("hyphen", '-'),
        ("hyphen-minus", '-'),
        ("period", '.'),
        ("full-stop", '.'),
        ("slash", '/'),
        ("solidus", '/'),
        ("zero", '0'),
        ("one", '1'),
        ("two", '2'),
        ("three", '3'),
        ("four", '4'),
        ("five", '5'),
        ("six", '6'),
        ("seven", '7'),
        ("eight", '8'),
        ("nine", '9'),
        ("colon", ':'),
        ("semicolon", ';'),
        ("less-than-sign", '<'),
        ("equals-sign", '='),
        ("greater-than-sign", '>'),
        ("question-mark", '?'),
        ("commercial-at", '@'),
        ("left-square-bracket", '['),
        ("backslash", '\\'),
        ("reverse-solidus", '\\'),
        ("right-square-bracket", ']'),
        ("circumflex", '^'),
        ("circumflex-accent", '^'),
        ("underscore", '_'),
        ("low-line", '_'),
        ("grave-accent", '`'),
        ("left-brace", '{'),
        ("left-curly-bracket", '{'),
        ("vertical-line", '|'),
        ("right-brace", '}'),
        ("right-curly-bracket", '}'),
        ("tilde", '~'),
        ("DEL", '\u{7f}'),
    ];
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, c)| *c).ok_or(Refusal::CollatingElement)
}
