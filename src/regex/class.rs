//! Sets of characters: what a bracket expression, a class or a single character stands for.

/// A named class of POSIX, or `\w`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Alnum,
    Alpha,
    Ascii,
    Blank,
    Cntrl,
    Digit,
    Graph,
    Lower,
    Print,
    Punct,
    Space,
    Upper,
    Xdigit,
    Word,
}

impl Class {
    /// By its name in `[:name:]`.
    pub fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "alnum" => Self::Alnum,
            "alpha" => Self::Alpha,
            "ascii" => Self::Ascii,
            "blank" => Self::Blank,
            "cntrl" => Self::Cntrl,
            "digit" => Self::Digit,
            "graph" => Self::Graph,
            "lower" => Self::Lower,
            "print" => Self::Print,
            "punct" => Self::Punct,
            "space" => Self::Space,
            "upper" => Self::Upper,
            "xdigit" => Self::Xdigit,
            "word" => Self::Word,
            _ => return None,
        })
    }

    pub fn contains(self, c: char) -> bool {
        let space = |c: char| c.is_whitespace() && !matches!(c, '\u{85}' | '\u{a0}' | '\u{2007}' | '\u{202f}');
        let alnum = |c: char| c.is_alphanumeric();
        let print = |c: char| !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}');
        match self {
            Self::Alnum => alnum(c),
            Self::Alpha => c.is_alphabetic() || (!c.is_ascii() && c.is_numeric()),
            Self::Ascii => c.is_ascii(),
            Self::Blank => {
                c == '\t' || (space(c) && !matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{2028}' | '\u{2029}'))
            }
            Self::Cntrl => c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'),
            Self::Digit => c.is_ascii_digit(),
            Self::Graph => print(c) && !space(c),
            Self::Lower => c.is_lowercase(),
            Self::Print => print(c),
            Self::Punct => print(c) && !space(c) && !alnum(c),
            Self::Space => space(c),
            Self::Upper => c.is_uppercase(),
            Self::Xdigit => c.is_ascii_hexdigit(),
            Self::Word => alnum(c) || c == '_',
        }
    }
}

/// Whether `\m`, `\M` and `\y` take a character as part of a word.
pub(super) fn is_word(c: char) -> bool {
    Class::Word.contains(c)
}

/// The other case of a character, if it has one that is a single character.
pub(super) fn other_case(c: char) -> char {
    let single = |mut all: Box<dyn ExactSizeIterator<Item = char>>| if all.len() == 1 { all.next() } else { None };
    let lower = single(Box::new(c.to_lowercase())).unwrap_or(c);
    if lower != c { lower } else { single(Box::new(c.to_uppercase())).unwrap_or(c) }
}

/// A set of characters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Set {
    /// First and last of each range.
    pub ranges: Vec<(char, char)>,
    /// Classes, and whether their complement is meant.
    pub classes: Vec<(Class, bool)>,
    /// Whether everything else is meant.
    pub negated: bool,
    /// Whether a newline never is.
    pub no_newline: bool,
    /// Whether case does not matter.
    pub ignore_case: bool,
    /// What the set says of each ASCII character.
    ascii: u128,
}

impl Set {
    /// One character.
    pub fn single(c: char, ignore_case: bool) -> Self {
        Self { ranges: vec![(c, c)], ignore_case, ..Self::default() }.settled()
    }

    /// A class or its complement.
    pub fn class(class: Class, complement: bool) -> Self {
        Self { classes: vec![(class, complement)], ..Self::default() }.settled()
    }

    /// Any character, but a newline where it stops.
    pub fn any(no_newline: bool) -> Self {
        Self { negated: true, no_newline, ..Self::default() }.settled()
    }

    /// With the ASCII characters worked out; to be called when everything else is set.
    pub fn settled(mut self) -> Self {
        self.ascii = (0..128u8).filter(|byte| self.look(char::from(*byte))).fold(0, |mask, byte| mask | 1 << byte);
        self
    }

    pub fn contains(&self, c: char) -> bool {
        if c.is_ascii() { self.ascii >> (c as u32) & 1 != 0 } else { self.look(c) }
    }

    fn look(&self, c: char) -> bool {
        if self.no_newline && c == '\n' {
            return false;
        }
        let within = |c: char| self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&c));
        let found = within(c)
            || (self.ignore_case && within(other_case(c)))
            || self.classes.iter().any(|(class, complement)| {
                let class = if self.ignore_case && matches!(class, Class::Lower | Class::Upper) {
                    Class::Alpha
                } else {
                    *class
                };
                class.contains(c) != *complement
            });
        found != self.negated
    }
}
