//! to_number(): a number by a template.

use super::numbers::{Anchor, Layout};
use super::template::Piece;
use crate::error::Error;
use crate::sql::types::numeric::Numeric;

/// Reads a text by a template.
pub(super) fn read(text: &str, template: &str) -> Result<Numeric, Error> {
    let mut layout = Layout::new(template)?;
    layout.check_input()?;
    let pieces = std::mem::take(&mut layout.pieces);
    let mut reader =
        Reader { layout, text, at: 0, sign: ' ', digits: String::new(), before: 0, behind: 0, point: false };
    for piece in &pieces {
        if reader.rest().is_empty() {
            break;
        }
        match piece {
            Piece::Text(_) | Piece::Space(_) | Piece::Separator(_) => reader.skip(),
            Piece::Pattern { name, .. } => reader.pattern(name),
        }
    }
    let digits = reader.digits.strip_suffix('.').unwrap_or(&reader.digits);
    let number = Numeric::parse(&format!("{}{digits}", reader.sign))?;
    let layout = &reader.layout;
    let precision = layout.pre + layout.multi + reader.behind;
    let typmod = i32::try_from(precision << 16 | reader.behind & 0x7ff).unwrap_or(i32::MAX - 4) + 4;
    let number = number.apply_typmod(typmod)?;
    if !layout.shift {
        return Ok(number);
    }
    let factor = Numeric::Finite { digits: 1.into(), scale: layout.multi.max(16) as i64 };
    let factor = if layout.multi <= 16 {
        Numeric::Finite { digits: 10i64.pow(16 - layout.multi as u32).into(), scale: 16 }
    } else {
        factor
    };
    number.mul(&factor)
}

struct Reader<'a> {
    layout: Layout,
    text: &'a str,
    at: usize,
    sign: char,
    digits: String,
    /// Digits read before and behind the point.
    before: usize,
    behind: usize,
    point: bool,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn next(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn skip(&mut self) {
        self.at += self.next().map_or(0, char::len_utf8);
    }

    /// Steps over what can be no part of a number.
    fn skip_other(&mut self, count: usize) {
        for _ in 0..count {
            match self.next() {
                Some('0'..='9' | '.' | ',' | '+' | '-') | None => break,
                Some(_) => self.skip(),
            }
        }
    }

    fn pattern(&mut self, name: &str) {
        match name.to_ascii_uppercase().as_str() {
            "9" | "0" | "." | "D" => {
                self.digit(name);
                self.skip();
            }
            // With FM, separators are not looked for.
            "," | "G" if !self.layout.fill && self.next() == Some(',') => self.skip(),
            "L" => self.skip_other(1),
            "TH" if !self.layout.decimal && self.sign != '-' => self.skip_other(2),
            "MI" => self.mark(&['-']),
            "PL" => self.mark(&['+']),
            "SG" => self.mark(&['-', '+']),
            _ => {}
        }
    }

    fn mark(&mut self, marks: &[char]) {
        match self.next() {
            Some(c) if marks.contains(&c) => {
                self.sign = c;
                self.skip();
            }
            _ => self.skip_other(1),
        }
    }

    /// Reads one digit or the point, and the sign before the first or behind the last of them. The character that
    /// was read last is left for the caller to step over.
    fn digit(&mut self, name: &str) {
        if self.next() == Some(' ') {
            self.at += 1;
        }
        let Some(c) = self.next() else { return };
        let starts = self.before + self.behind == 0;
        if self.sign == ' ' && matches!(name, "0" | "9") && starts {
            let before = self.layout.signed && self.layout.anchor == Anchor::Before;
            if before {
                if matches!(c, '-' | '+') {
                    self.sign = c;
                    self.at += 1;
                }
            } else if c == '-' || (self.layout.bracket && c == '<') {
                self.sign = '-';
                self.at += 1;
            } else if c == '+' {
                self.sign = '+';
                self.at += 1;
            }
        }
        let Some(c) = self.next() else { return };
        let mut read = false;
        if c.is_ascii_digit() {
            if self.point && self.behind == self.layout.post {
                return;
            }
            self.digits.push(c);
            if self.point {
                self.behind += 1;
            } else {
                self.before += 1;
            }
            read = true;
        } else if c == '.' && self.layout.decimal && !self.point {
            self.digits.push('.');
            (self.point, read) = (true, true);
        }
        if self.sign != ' ' || self.before + self.behind == 0 {
            return;
        }
        let after = self.text.get(self.at + 1..).and_then(|rest| rest.chars().next());
        if self.layout.signed && read {
            if let Some(mark @ ('-' | '+')) = after {
                self.sign = mark;
                self.at += 1;
            }
        } else if !read && (self.layout.plus || self.layout.minus) && matches!(c, '-' | '+') {
            self.sign = c;
        }
    }
}
