//! to_char() of numbers: what a template says of digits and signs, and how they are laid out.

use super::template::{Piece, ordinal_ending, pieces};
use crate::error::{Condition, Error};
use crate::sql::types::numeric::Numeric;

/// Patterns, the longer ones of a common beginning first.
const PATTERNS: &[&str] = &[
    ",", ".", "0", "9", "B", "C", "D", "EEEE", "FM", "G", "L", "MI", "PL", "PR", "RN", "SG", "SP", "S", "TH", "V", "b",
    "c", "d", "eeee", "fm", "g", "l", "mi", "pl", "pr", "rn", "sg", "sp", "s", "th", "v",
];

/// Where the sign of S is anchored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Anchor {
    #[default]
    None,
    Before,
    After,
}

/// A template, and what all of its patterns together ask for.
#[derive(Debug, Default)]
pub(super) struct Layout {
    pub pieces: Vec<Piece>,
    /// Digits before and behind the point.
    pub pre: usize,
    pub post: usize,
    /// Digits that V shifts by.
    pub multi: usize,
    pub zero_start: usize,
    pub zero_end: usize,
    pub anchor: Anchor,
    /// Digits before S.
    before_sign: usize,
    pub decimal: bool,
    pub fill: bool,
    pub zero: bool,
    blank: bool,
    pub signed: bool,
    pub bracket: bool,
    pub minus: bool,
    pub plus: bool,
    roman: bool,
    pub shift: bool,
    exponent: bool,
}

fn syntax(message: &str) -> Error {
    Error::new(Condition::SyntaxError, message)
}

impl Layout {
    /// Reads a template.
    pub fn new(template: &str) -> Result<Self, Error> {
        let mut layout = Self { pieces: pieces(template, PATTERNS, false), ..Self::default() };
        for index in 0..layout.pieces.len() {
            if let Some(Piece::Pattern { name, .. }) = layout.pieces.get(index) {
                let upper = name.to_ascii_uppercase();
                layout.add(&upper)?;
            }
        }
        Ok(layout)
    }

    fn add(&mut self, name: &str) -> Result<(), Error> {
        if self.exponent && name != "EEEE" {
            return Err(syntax("\"EEEE\" must be the last pattern used"));
        }
        match name {
            "9" => {
                if self.bracket {
                    return Err(syntax("\"9\" must be ahead of \"PR\""));
                }
                if self.shift {
                    self.multi += 1;
                } else if self.decimal {
                    self.post += 1;
                } else {
                    self.pre += 1;
                }
            }
            "0" => {
                if self.bracket {
                    return Err(syntax("\"0\" must be ahead of \"PR\""));
                }
                if !self.zero && !self.decimal {
                    self.zero = true;
                    self.zero_start = self.pre + 1;
                }
                if self.decimal {
                    self.post += 1;
                } else {
                    self.pre += 1;
                }
                self.zero_end = self.pre + self.post;
            }
            "B" => self.blank |= self.pre == 0 && self.post == 0 && !self.zero,
            "D" | "." => {
                if self.decimal {
                    return Err(syntax("multiple decimal points"));
                }
                if self.shift {
                    return Err(syntax("cannot use \"V\" and decimal point together"));
                }
                self.decimal = true;
            }
            "FM" => self.fill = true,
            "S" => {
                if self.signed {
                    return Err(syntax("cannot use \"S\" twice"));
                }
                if self.plus || self.minus || self.bracket {
                    return Err(syntax("cannot use \"S\" and \"PL\"/\"MI\"/\"SG\"/\"PR\" together"));
                }
                self.signed = true;
                if self.decimal {
                    self.anchor = Anchor::After;
                } else {
                    self.anchor = Anchor::Before;
                    self.before_sign = self.pre;
                }
            }
            "MI" | "PL" | "SG" => {
                if self.signed {
                    return Err(syntax(&format!("cannot use \"S\" and \"{name}\" together")));
                }
                self.minus |= name != "PL";
                self.plus |= name != "MI";
            }
            "PR" => {
                if self.signed || self.plus || self.minus {
                    return Err(syntax("cannot use \"PR\" and \"S\"/\"PL\"/\"MI\"/\"SG\" together"));
                }
                self.bracket = true;
            }
            "RN" => self.roman = true,
            "V" => {
                if self.decimal {
                    return Err(syntax("cannot use \"V\" and decimal point together"));
                }
                self.shift = true;
            }
            "EEEE" => {
                if self.exponent {
                    return Err(syntax("cannot use \"EEEE\" twice"));
                }
                let other = self.blank || self.fill || self.signed || self.bracket || self.minus || self.plus;
                if other || self.roman || self.shift {
                    return Err(syntax("\"EEEE\" is incompatible with other formats")
                        .detail("\"EEEE\" may only be used together with digit and decimal point patterns."));
                }
                self.exponent = true;
            }
            _ => {}
        }
        Ok(())
    }

    /// What to_number() cannot read is refused by name.
    pub fn check_input(&self) -> Result<(), Error> {
        let refused =
            |what: &str| Err(Error::new(Condition::FeatureNotSupported, format!("\"{what}\" not supported for input")));
        if self.exponent {
            return refused("EEEE");
        }
        if self.roman { refused("RN") } else { Ok(()) }
    }

    /// Hashes in place of digits.
    fn hashes(&self) -> String {
        format!("{}.{}", "#".repeat(self.pre), "#".repeat(self.post))
    }

    /// "1.23e+04" of a sign and digits, or what stands for NaN and infinity.
    fn scientific(&self, shown: Option<String>) -> String {
        match shown {
            None => format!(" {}.{}", "#".repeat(self.pre), "#".repeat(self.post + 4)),
            Some(shown) if shown.starts_with('-') => shown,
            Some(shown) => format!(" {shown}"),
        }
    }

    fn laid_out(self, shown: String) -> Result<String, Error> {
        let (negative, digits) = match shown.strip_prefix('-') {
            Some(digits) => (true, digits.to_owned()),
            None => (false, shown),
        };
        let length = digits.find('.').unwrap_or(digits.len());
        if length > self.pre {
            let hashes = self.hashes();
            return Writer::new(self, hashes, negative, 0).run();
        }
        let spaces = self.pre - length;
        Writer::new(self, digits, negative, spaces).run()
    }
}

/// to_char() of an integer; `range` is that of its type.
pub(super) fn of_integer(value: i64, template: &str, type_name: &str, range: (i64, i64)) -> Result<String, Error> {
    let mut layout = Layout::new(template)?;
    if layout.roman {
        return roman(layout, Some(value));
    }
    if layout.exponent {
        let shown = if range.1 == i64::MAX {
            numeric_exponent(&Numeric::from_int(value), layout.post)
        } else {
            Some(float_exponent(value as f64, layout.post))
        };
        return Ok(layout.scientific(shown));
    }
    let mut shown = value.to_string();
    if layout.shift {
        let shifted = u32::try_from(layout.multi).ok().and_then(|digits| 10i64.checked_pow(digits));
        let shifted = shifted.and_then(|factor| value.checked_mul(factor));
        let fits = shifted.filter(|value| (range.0..=range.1).contains(value));
        shown = fits
            .ok_or_else(|| Error::new(Condition::NumericValueOutOfRange, format!("{type_name} out of range")))?
            .to_string();
        layout.pre += layout.multi;
    }
    if layout.post > 0 {
        shown = format!("{shown}.{}", "0".repeat(layout.post));
    }
    layout.laid_out(shown)
}

/// to_char() of a float with so many significant digits.
pub(super) fn of_float(value: f64, template: &str, digits: usize) -> Result<String, Error> {
    let mut layout = Layout::new(template)?;
    if layout.roman {
        let rounded = value.round_ties_even();
        return roman(layout, (0.0..1e6).contains(&rounded).then_some(rounded as i64));
    }
    if layout.exponent {
        let shown = value.is_finite().then(|| float_exponent(value, layout.post));
        return Ok(layout.scientific(shown));
    }
    let mut value = value;
    if layout.shift {
        value *= 10f64.powi(layout.multi as i32);
        // A float4 stays one.
        if digits < 15 {
            value = f64::from(value as f32);
        }
        layout.pre += layout.multi;
    }
    if !value.is_finite() {
        let shown = if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        };
        let length = shown.trim_start_matches('-').len();
        layout.post = layout.post.min(digits.saturating_sub(length));
        return layout.laid_out(shown.to_owned());
    }
    // No more digits than the type has.
    let whole = format!("{:.0}", value.abs()).len();
    layout.post = layout.post.min(digits.saturating_sub(whole));
    let post = layout.post;
    layout.laid_out(format!("{value:.post$}"))
}

/// to_char() of a numeric.
pub(super) fn of_numeric(value: &Numeric, template: &str) -> Result<String, Error> {
    let mut layout = Layout::new(template)?;
    if layout.roman {
        return match value {
            Numeric::Finite { .. } => {
                let number = value.to_i64().filter(|number| i32::try_from(*number).is_ok());
                let number =
                    number.ok_or_else(|| Error::new(Condition::NumericValueOutOfRange, "integer out of range"))?;
                roman(layout, Some(number))
            }
            other => {
                let what = if *other == Numeric::NaN { "NaN" } else { "infinity" };
                Err(Error::new(Condition::FeatureNotSupported, format!("cannot convert {what} to integer")))
            }
        };
    }
    if layout.exponent {
        let shown = numeric_exponent(value, layout.post);
        return Ok(layout.scientific(shown));
    }
    let mut value = value.clone();
    if layout.shift {
        let factor = Numeric::parse(&format!("1{}", "0".repeat(layout.multi)))?;
        value = value.mul(&factor)?;
        layout.pre += layout.multi;
    }
    let shown = value.round(layout.post as i64).to_string();
    layout.laid_out(shown)
}

fn float_exponent(value: f64, digits: usize) -> String {
    let shown = format!("{value:.digits$e}");
    let (mantissa, exponent) = shown.split_once('e').unwrap_or((&shown, "0"));
    exponent_form(mantissa, exponent.parse().unwrap_or(0))
}

fn exponent_form(mantissa: &str, exponent: i64) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

fn numeric_exponent(value: &Numeric, digits: usize) -> Option<String> {
    let Numeric::Finite { digits: all, scale } = value else { return None };
    let shown = all.to_string();
    let count = shown.trim_start_matches('-').len() as i64;
    let exponent = if shown == "0" { 0 } else { count - 1 - scale };
    let mantissa = Numeric::Finite { digits: all.clone(), scale: scale + exponent };
    Some(exponent_form(&mantissa.round(digits as i64).to_string(), exponent))
}

/// Roman numbers go to 3999; nothing but them and FM counts in a template.
fn roman(mut layout: Layout, value: Option<i64>) -> Result<String, Error> {
    const DIGITS: [[&str; 10]; 3] = [
        ["", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX"],
        ["", "X", "XX", "XXX", "XL", "L", "LX", "LXX", "LXXX", "XC"],
        ["", "C", "CC", "CCC", "CD", "D", "DC", "DCC", "DCCC", "CM"],
    ];
    let digit = |at: usize, value: usize| DIGITS.get(at).and_then(|row| row.get(value)).copied().unwrap_or("");
    let shown = match value.and_then(|value| usize::try_from(value).ok()) {
        Some(value @ 1..=3999) => [
            "M".repeat(value / 1000).as_str(),
            digit(2, value / 100 % 10),
            digit(1, value / 10 % 10),
            digit(0, value % 10),
        ]
        .concat(),
        _ => "#".repeat(15),
    };
    (layout.pre, layout.post, layout.anchor) = (0, 0, Anchor::None);
    (layout.zero, layout.signed, layout.bracket, layout.plus, layout.minus) = (false, false, false, false, false);
    (layout.decimal, layout.shift) = (false, false);
    Writer::new(layout, shown, false, 0).run()
}

/// Walks through a template and writes a number's digits where they belong.
struct Writer {
    layout: Layout,
    number: Vec<u8>,
    /// The next character of the number.
    at: usize,
    negative: bool,
    /// Digit patterns that the number leaves empty.
    spaces: usize,
    sign_written: bool,
    /// Digit patterns so far.
    current: usize,
    count: usize,
    /// With FM: where the digits end that have to be shown.
    last_relevant: Option<usize>,
    /// Whether a digit has been written, so that separators are shown.
    inside: bool,
    out: String,
    /// Where it ends, if that is not its own end.
    end: Option<usize>,
}

impl Writer {
    fn new(layout: Layout, number: String, negative: bool, spaces: usize) -> Self {
        Self {
            layout,
            number: number.into_bytes(),
            at: 0,
            negative,
            spaces,
            sign_written: false,
            current: 0,
            count: 0,
            last_relevant: None,
            inside: false,
            out: String::new(),
            end: None,
        }
    }

    fn prepare(&mut self) {
        let layout = &mut self.layout;
        layout.zero_start = layout.zero_start.saturating_sub(1);
        if layout.plus || layout.minus {
            // MI and SG write the sign themselves.
            self.sign_written = layout.minus;
        } else {
            if !self.negative && layout.fill {
                layout.bracket = false;
            }
            self.sign_written = !self.negative && layout.fill && !layout.signed;
            if layout.anchor == Anchor::Before && layout.pre == layout.before_sign {
                layout.anchor = Anchor::After;
            }
        }
        self.count = (layout.post + layout.pre).wrapping_sub(1);
        if layout.fill && layout.decimal {
            self.last_relevant = last_relevant(&self.number);
            if let Some(last) = self.last_relevant
                && layout.zero_end > self.spaces
            {
                let last_zero = (self.number.len() - 1).min(layout.zero_end - self.spaces);
                self.last_relevant = Some(last.max(last_zero));
            }
        }
        if !self.sign_written && self.spaces == 0 {
            self.count = self.count.wrapping_add(1);
        }
    }

    fn run(mut self) -> Result<String, Error> {
        self.prepare();
        let pieces = std::mem::take(&mut self.layout.pieces);
        for piece in &pieces {
            match piece {
                Piece::Text(c) | Piece::Space(c) | Piece::Separator(c) => self.out.push(*c),
                Piece::Pattern { name, .. } => self.pattern(name)?,
            }
        }
        if let Some(end) = self.end {
            self.out.truncate(end);
        }
        Ok(self.out)
    }

    /// What comes after here is not shown: the number has been used up.
    fn finish(&mut self) {
        self.end = self.end.or(Some(self.out.len()));
    }

    fn pattern(&mut self, name: &str) -> Result<(), Error> {
        let fill = self.layout.fill;
        match name.to_ascii_uppercase().as_str() {
            "9" | "0" | "." | "D" => self.digit(name),
            "," | "G" if self.inside => self.out.push(','),
            "," | "G" | "L" if fill && name != "L" && name != "l" => {}
            "," | "G" | "L" => self.out.push(' '),
            "RN" => {
                let shown = String::from_utf8_lossy(&self.number).into_owned();
                let shown = if name == "rn" { shown.to_lowercase() } else { shown };
                self.out.push_str(&if fill { shown } else { format!("{shown:>15}") });
            }
            "TH" => {
                let number = String::from_utf8_lossy(&self.number);
                let hashes = number.starts_with('#');
                if !self.layout.roman && !hashes && !self.negative && !self.layout.decimal {
                    self.out.push_str(ordinal_ending(&number, name == "TH")?);
                }
            }
            "MI" => self.mark('-', self.negative),
            "PL" => self.mark('+', !self.negative && !self.layout.roman),
            // A Roman number has no sign.
            "SG" if self.layout.roman => self.finish(),
            "SG" => self.out.push(if self.negative { '-' } else { '+' }),
            _ => {}
        }
        Ok(())
    }

    fn mark(&mut self, mark: char, applies: bool) {
        if applies {
            self.out.push(mark);
        } else if !self.layout.fill {
            self.out.push(' ');
        }
    }

    /// Whether the number is a lone zero before a point, which gives way to a blank.
    fn is_lone_zero(&self) -> bool {
        !self.layout.zero && self.at == 0 && self.number.first() == Some(&b'0') && self.layout.post != 0
    }

    /// Whether nothing but the point is relevant behind the digits.
    fn ends_with_point(&self) -> bool {
        self.last_relevant.is_some_and(|at| self.number.get(at) == Some(&b'.'))
    }

    fn digit(&mut self, name: &str) {
        if self.layout.roman {
            return;
        }
        let (zero, zero_start, spaces, fill) =
            (self.layout.zero, self.layout.zero_start, self.spaces, self.layout.fill);
        self.inside = false;
        let begins = self.current >= spaces || (zero && zero_start == self.current);
        if !self.sign_written && begins && (!self.is_lone_zero() || self.ends_with_point()) {
            self.sign();
        }
        if self.current < spaces && (zero_start > self.current || !zero) {
            if !fill {
                self.out.push(' ');
            }
        } else if zero && self.current < spaces {
            self.out.push('0');
            self.inside = true;
        } else {
            self.number_character(name);
        }
        let decimal = usize::from(self.layout.decimal);
        let mut end = self.count.wrapping_add(usize::from(spaces > 0)).wrapping_add(decimal);
        if self.last_relevant == Some(self.at) {
            end = self.current;
        }
        if self.current + 1 == end {
            if self.sign_written && self.layout.bracket {
                self.out.push(if self.negative { '>' } else { ' ' });
            } else if self.layout.signed && self.layout.anchor == Anchor::After {
                self.out.push(if self.negative { '-' } else { '+' });
            }
        }
        self.current += 1;
    }

    fn sign(&mut self) {
        if self.layout.signed {
            if self.layout.anchor == Anchor::Before {
                self.out.push(if self.negative { '-' } else { '+' });
                self.sign_written = true;
            }
        } else if self.layout.bracket {
            self.out.push(if self.negative { '<' } else { ' ' });
            self.sign_written = true;
        } else if self.negative {
            self.out.push('-');
            self.sign_written = true;
        } else {
            if !self.layout.fill {
                self.out.push(' ');
            }
            self.sign_written = true;
        }
    }

    fn number_character(&mut self, name: &str) {
        let fill = self.layout.fill;
        let Some(c) = self.number.get(self.at).copied() else {
            if self.last_relevant.is_none_or(|last| self.at <= last) || name == "0" {
                self.finish();
                self.inside = true;
            }
            return;
        };
        if c == b'.' {
            if fill || !self.ends_with_point() {
                self.out.push('.');
            }
        } else if self.last_relevant.is_some_and(|last| self.at > last) && name != "0" {
            // A zero that means nothing.
        } else if self.is_lone_zero() {
            if !fill {
                self.out.push(' ');
            } else if self.ends_with_point() {
                self.out.push('0');
            }
        } else {
            self.out.push(char::from(c));
            self.inside = true;
        }
        self.at += 1;
    }
}

/// The last digit behind the point that is not 0, or the point.
fn last_relevant(number: &[u8]) -> Option<usize> {
    let point = number.iter().position(|byte| *byte == b'.')?;
    let last = number.iter().rposition(|byte| *byte != b'0')?;
    Some(last.max(point))
}
