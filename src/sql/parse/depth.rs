//! How deep a statement may nest, found among the tokens, before any tree is built that could exhaust the stack.
//!
//! The parser bounds its own recursion. What it reads in a loop (chains of operators, of casts, of set operations) makes
//! trees that are as deep as they are long, and those are bounded here.

use super::{NESTING_MAX, too_deep};
use crate::error::Error;
use crate::sql::lex::{Kind, Token};
use crate::work;

/// Tokens in a row that may build one chain of operators.
const CHAIN_TOKENS_MAX: usize = 6_000;

/// Set operations in a row: as many as SQLite takes (SQLITE_MAX_COMPOUND_SELECT).
const SET_OPERATIONS_MAX: usize = 499;

/// Brackets within brackets, before those that say nothing are left out.
const BRACKETS_MAX: usize = 10_000;

/// What the tokens of one level of nesting came to so far.
#[derive(Default)]
struct Level {
    /// Tokens of the chain under way.
    length: usize,
    /// BETWEENs that wait for their AND.
    betweens: usize,
    set_operations: usize,
    /// CASE … END, not brackets.
    is_case: bool,
}

/// Refuses nesting and chains so deep that walking or dropping their tree could exhaust the stack.
pub fn check(text: &str, tokens: &[Token]) -> Result<(), Error> {
    let mut outer: Vec<Level> = Vec::new();
    let mut level = Level::default();
    for token in tokens {
        work::tick()?;
        level.length += 1;
        match token.kind {
            Kind::Punctuation => match token.text(text) {
                "(" | "[" => outer.push(std::mem::take(&mut level)),
                ")" | "]" => level = outer.pop().unwrap_or_default(),
                "," => level.length = 0,
                _ => {}
            },
            Kind::Word => word(token.text(text), &mut level, &mut outer),
            _ => {}
        }
        if level.length > CHAIN_TOKENS_MAX || level.set_operations > SET_OPERATIONS_MAX || outer.len() > BRACKETS_MAX {
            return Err(too_deep());
        }
    }
    Ok(())
}

fn word(word: &str, level: &mut Level, outer: &mut Vec<Level>) {
    let is = |what: &str| word.eq_ignore_ascii_case(what);
    match word.len() {
        2 if is("or") => level.length = 0,
        3 if is("and") => match level.betweens.checked_sub(1) {
            Some(left) => level.betweens = left,
            None => level.length = 0,
        },
        3 if is("end") && level.is_case => *level = outer.pop().unwrap_or_default(),
        4 if is("case") => outer.push(std::mem::replace(level, Level { is_case: true, ..Level::default() })),
        4 if level.is_case && (is("when") || is("then") || is("else")) => level.length = 0,
        5 if is("union") => level.set_operations += 1,
        6 if is("except") => level.set_operations += 1,
        7 if is("between") => level.betweens += 1,
        9 if is("intersect") => level.set_operations += 1,
        _ => {}
    }
}

/// Of more than two pairs of parentheses directly inside each other, all but two say nothing: they are left out.
pub fn without_repeated_parentheses(text: &str, tokens: &[Token]) -> Vec<Token> {
    if !tokens.windows(3).any(|three| three.iter().all(|token| token.is(text, "("))) {
        return tokens.to_vec();
    }
    let mut partner = vec![0; tokens.len()];
    let mut open = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if token.is(text, "(") {
            open.push(at);
        } else if token.is(text, ")")
            && let Some(opened) = open.pop()
        {
            partner[opened] = at;
        }
    }
    let mut dropped = vec![false; tokens.len()];
    for at in 2..tokens.len() {
        let close = partner[at];
        if close != 0 && partner[at - 1] == close + 1 && partner[at - 2] == close + 2 {
            dropped[at] = true;
            dropped[close] = true;
        }
    }
    tokens.iter().zip(dropped).filter(|(_, dropped)| !dropped).map(|(token, _)| *token).collect()
}

/// Whether brackets nest deeper than the parser follows.
pub fn nests_too_deep(text: &str, tokens: &[Token]) -> bool {
    let mut depth = 0usize;
    tokens.iter().any(|token| {
        if token.is(text, "(") || token.is(text, "[") {
            depth += 1;
        } else if token.is(text, ")") || token.is(text, "]") {
            depth = depth.saturating_sub(1);
        }
        depth > NESTING_MAX
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parentheses_that_say_nothing_are_left_out() {
        let shown = |text: &str| {
            let tokens = super::super::tokens(text).unwrap();
            let kept = without_repeated_parentheses(text, &tokens);
            kept.iter().map(|token| token.text(text)).collect::<Vec<_>>().join("")
        };
        assert_eq!(shown("f((((1))))"), "f((1))");
        assert_eq!(shown("((((1)))+(((2))))"), "(((1))+((2)))");
        assert_eq!(shown("f((1),(2))"), "f((1),(2))");
        assert_eq!(shown("(((1)"), "(((1)");
    }
}
