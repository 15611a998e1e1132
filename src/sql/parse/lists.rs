//! Long lists of plain values, recognised among the tokens before they become syntax.
//!
//! `IN (1, 2, …)`, `VALUES (1, 'a'), (2, 'b'), …` and `ARRAY[1, 2, …]` of literals and parameters grow to hundreds of
//! thousands of elements. To the parser each is one token; what it holds is kept beside the tree.

use crate::sql::lex::{Kind, Token};

/// Elements from which a list is worth it.
const ELEMENTS_MIN: usize = 64;

/// The name under which the parser sees a list: no text can hold it outside of quotes.
pub const MARK: &str = "\u{1}list";

/// An element of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// A literal, and whether a minus sign stands before it.
    Literal(Token, bool),
    /// TRUE or FALSE.
    Truth(bool),
    /// NULL.
    Null,
    /// A parameter's token.
    Parameter(Token),
}

/// A list: where its first element starts, how many make a row, and the elements row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainList {
    /// The byte of the first element.
    pub start: usize,
    /// Elements of a row.
    pub width: usize,
    /// The elements.
    pub elements: Vec<Element>,
}

/// The tokens with each long list as one token, and the lists in the order of their places. `None`: there is none.
pub fn reduce(text: &str, tokens: &[Token]) -> Option<(Vec<Token>, Vec<PlainList>)> {
    if tokens.len() < 2 * ELEMENTS_MIN {
        return None;
    }
    let reader = Reader { text, tokens };
    let (mut reduced, mut lists) = (Vec::new(), Vec::new());
    let mut copied = 0;
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        if token.kind != Kind::Word {
            continue;
        }
        let word = token.text(text);
        let found = if word.eq_ignore_ascii_case("in") {
            reader.row(at, "(", ")")
        } else if word.eq_ignore_ascii_case("array") {
            reader.row(at, "[", "]")
        } else if word.eq_ignore_ascii_case("values") {
            reader.rows(at)
        } else {
            None
        };
        let Some((list, next)) = found.filter(|(list, _)| list.elements.len() >= ELEMENTS_MIN) else { continue };
        // The opening bracket stays, and the last closing one.
        let (Some(kept), Some(last)) = (tokens.get(copied..at + 1), tokens.get(next - 1)) else { continue };
        reduced.extend_from_slice(kept);
        reduced.push(Token { kind: Kind::List, start: list.start, end: last.start });
        copied = next - 1;
        at = next;
        lists.push(list);
    }
    if lists.is_empty() {
        return None;
    }
    reduced.extend_from_slice(tokens.get(copied..).unwrap_or_default());
    Some((reduced, lists))
}

struct Reader<'a> {
    text: &'a str,
    tokens: &'a [Token],
}

impl Reader<'_> {
    fn is(&self, at: usize, what: &str) -> bool {
        self.tokens.get(at).is_some_and(|token| token.is(self.text, what))
    }

    /// The elements in brackets that open at a token, and the token after them.
    fn row(&self, at: usize, open: &str, close: &str) -> Option<(PlainList, usize)> {
        let mut list = PlainList { start: self.tokens.get(at + 1)?.start, width: 0, elements: Vec::new() };
        let next = self.elements(at, open, close, &mut list.elements)?;
        list.width = 1;
        Some((list, next))
    }

    /// Rows of VALUES: as many elements in each.
    fn rows(&self, at: usize) -> Option<(PlainList, usize)> {
        let mut list = PlainList { start: self.tokens.get(at + 1)?.start, width: 0, elements: Vec::new() };
        let mut next = self.elements(at, "(", ")", &mut list.elements)?;
        list.width = list.elements.len();
        while self.is(next, ",") {
            let before = list.elements.len();
            next = self.elements(next + 1, "(", ")", &mut list.elements)?;
            if list.elements.len() - before != list.width {
                return None;
            }
        }
        // A single row is a plan that its next use finds in the cache.
        (list.elements.len() > list.width).then_some((list, next))
    }

    fn elements(&self, mut at: usize, open: &str, close: &str, into: &mut Vec<Element>) -> Option<usize> {
        if !self.is(at, open) {
            return None;
        }
        loop {
            let (element, next) = self.element(at + 1)?;
            into.push(element);
            at = next;
            if self.is(at, close) {
                return Some(at + 1);
            }
            if !self.is(at, ",") {
                return None;
            }
        }
    }

    fn element(&self, at: usize) -> Option<(Element, usize)> {
        let token = *self.tokens.get(at)?;
        let element = match token.kind {
            kind if kind.is_literal() => Element::Literal(token, false),
            Kind::Parameter => Element::Parameter(token),
            Kind::Operator if token.text(self.text) == "-" => {
                let number = *self.tokens.get(at + 1)?;
                if !matches!(number.kind, Kind::Integer | Kind::Decimal) {
                    return None;
                }
                return Some((Element::Literal(number, true), at + 2));
            }
            Kind::Word => match token.text(self.text) {
                word if word.eq_ignore_ascii_case("null") => Element::Null,
                word if word.eq_ignore_ascii_case("true") => Element::Truth(true),
                word if word.eq_ignore_ascii_case("false") => Element::Truth(false),
                _ => return None,
            },
            _ => return None,
        };
        Some((element, at + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reduced(text: &str) -> Option<(String, Vec<(usize, usize)>)> {
        let tokens = super::super::tokens(text).unwrap();
        let (tokens, lists) = reduce(text, &tokens)?;
        let shown: Vec<&str> =
            tokens.iter().map(|token| if token.kind == Kind::List { "*" } else { token.text(text) }).collect();
        Some((shown.join(" "), lists.iter().map(|list| (list.width, list.elements.len())).collect()))
    }

    #[test]
    fn long_lists_become_one_token() {
        let hundred = vec!["1"; 100].join(", ");
        let rows = vec!["(-1, 'a', null, $1)"; 50].join(",");
        let text = format!("select array[{hundred}] from (values {rows}) v where a in ({hundred}) and b in (1, 2)");
        let (shown, lists) = reduced(&text).unwrap();
        assert_eq!(shown, "select array [ * ] from ( values ( * ) ) v where a in ( * ) and b in ( 1 , 2 )");
        assert_eq!(lists, [(1, 100), (4, 200), (1, 100)]);
    }

    #[test]
    fn what_is_not_plain_or_not_long_stays() {
        let hundred = vec!["1"; 100].join(", ");
        for text in [
            format!("select a in ({hundred}, 1 + 1)"),
            format!("select a in ({hundred}"),
            format!("values ({hundred})"),
            format!("values ({hundred}), (1)"),
            format!("select f({hundred})"),
            format!("values {}", vec!["(1, now())"; 100].join(",")),
            "select 1 in (1, 2)".to_owned(),
        ] {
            assert_eq!(reduced(&text), None, "{text}");
        }
    }
}
