//! Finds a match and takes it apart: which part of it each pair of parentheses has.

use std::collections::VecDeque;

use super::program::{Node, Part, Program};
use super::run::Matcher;
use super::{Check, Spans};
use crate::error::Error;

/// Candidates for an end that are worked out at a time.
const CANDIDATES: usize = 64;

/// A search through one text.
pub(super) struct Search<'a> {
    matcher: Matcher<'a>,
    spans: Spans,
}

impl<'a> Search<'a> {
    pub fn new(program: &'a Program, text: &'a str, check: Check<'a>) -> Self {
        Self { matcher: Matcher::new(program, text, check), spans: vec![None; program.groups + 1] }
    }

    /// The first match from a place on. Captures are filled in if they are asked for; the whole match always is,
    /// unless neither is.
    pub fn find(&mut self, from: usize, captures: bool) -> Result<Option<Spans>, Error> {
        let program = self.matcher.program;
        let tree = &program.tree;
        let mut from = from;
        loop {
            let Some(start) = self.matcher.leftmost(&tree.code, from)? else { return Ok(None) };
            if !program.back_references && !captures {
                return Ok(Some(Vec::new()));
            }
            if let Some(end) = self.whole(tree, start)? {
                self.spans[0] = Some((start, end));
                return Ok(Some(self.spans.clone()));
            }
            // Only back references can make a match fail that the program has found.
            match self.later(start) {
                Some(next) => from = next,
                None => return Ok(None),
            }
        }
    }
}

impl Search<'_> {
    /// The end that is preferred of those where the match that begins at `start` can be taken apart.
    fn whole(&mut self, tree: &Node, start: usize) -> Result<Option<usize>, Error> {
        let stop = self.matcher.text.len();
        let mut bound = if tree.shorter { start } else { stop };
        loop {
            let end = if tree.shorter {
                self.matcher.shortest(&tree.code, start, bound, stop)?
            } else {
                self.matcher.longest(&tree.code, start, bound)?
            };
            let Some(end) = end else { return Ok(None) };
            self.spans.fill(None);
            if self.dissect(tree, start, end)? {
                return Ok(Some(end));
            }
            let other = if tree.shorter { self.later(end) } else { self.earlier(end, start) };
            match other {
                Some(other) => bound = other,
                None => return Ok(None),
            }
        }
    }

    fn later(&self, at: usize) -> Option<usize> {
        let c = self.matcher.text.get(at..)?.chars().next()?;
        Some(at + c.len_utf8())
    }

    fn earlier(&self, at: usize, least: usize) -> Option<usize> {
        let c = self.matcher.text.get(least..at)?.chars().next_back()?;
        Some(at - c.len_utf8())
    }

    /// Whether a part matches just this much, back references included; sets its captures.
    fn dissect(&mut self, node: &Node, start: usize, end: usize) -> Result<bool, Error> {
        self.matcher.work(1)?;
        let fits = match &node.part {
            Part::Plain => true,
            Part::Back { group, min, max } => self.same_again(*group, *min, *max, start, end)?,
            Part::Pair(left, right) => self.pair(left, right, start, end)?,
            Part::Choice(branches) => self.choice(branches, start, end)?,
            Part::Repeat { min, max, inner } => self.repeat(*min, *max, inner, start, end)?,
        };
        if fits {
            for capture in &node.captures {
                self.spans[*capture] = Some((start, end));
            }
        }
        Ok(fits)
    }

    fn forget(&mut self, node: &Node) {
        for capture in &node.inside {
            self.spans[*capture] = None;
        }
    }

    fn fits(&mut self, node: &Node, start: usize, end: usize) -> Result<bool, Error> {
        Ok(self.matcher.longest(&node.code, start, end)? == Some(end))
    }

    /// The left part takes as much as it can, or as little, of what leaves the right part a match.
    fn pair(&mut self, left: &Node, right: &Node, start: usize, end: usize) -> Result<bool, Error> {
        let mut bounds = (start, end);
        loop {
            let middles = self.candidates(left, start, bounds)?;
            for middle in &middles {
                if !self.fits(right, *middle, end)? {
                    continue;
                }
                if self.dissect(left, start, *middle)? {
                    if self.dissect(right, *middle, end)? {
                        return Ok(true);
                    }
                    self.forget(right);
                }
                self.forget(left);
            }
            let Some(last) = middles.back().filter(|_| middles.len() == CANDIDATES) else { return Ok(false) };
            match self.beyond(left, *last, bounds) {
                Some(rest) => bounds = rest,
                None => return Ok(false),
            }
        }
    }

    /// Ends of a part within bounds, at most [`CANDIDATES`], in the order in which it prefers them.
    fn candidates(&mut self, node: &Node, start: usize, bounds: (usize, usize)) -> Result<VecDeque<usize>, Error> {
        let (least, most) = bounds;
        let mut ends = VecDeque::new();
        let shorter = node.shorter;
        self.matcher.ends(&node.code, start, most, |at| {
            if at < least {
                return true;
            }
            if shorter {
                ends.push_back(at);
                return ends.len() < CANDIDATES;
            }
            ends.push_front(at);
            ends.truncate(CANDIDATES);
            true
        })?;
        Ok(ends)
    }

    /// The bounds without an end and all that are preferred to it.
    fn beyond(&self, node: &Node, end: usize, (least, most): (usize, usize)) -> Option<(usize, usize)> {
        if node.shorter {
            self.later(end).filter(|next| *next <= most).map(|next| (next, most))
        } else {
            self.earlier(end, least).map(|next| (least, next))
        }
    }

    fn choice(&mut self, branches: &[Node], start: usize, end: usize) -> Result<bool, Error> {
        for branch in branches {
            if self.fits(branch, start, end)? {
                if self.dissect(branch, start, end)? {
                    return Ok(true);
                }
                self.forget(branch);
            }
        }
        Ok(false)
    }

    fn same_again(
        &mut self,
        group: usize,
        min: u32,
        max: Option<u32>,
        start: usize,
        end: usize,
    ) -> Result<bool, Error> {
        let text = self.matcher.text;
        let Some((from, to)) = self.spans.get(group).copied().flatten() else { return Ok(false) };
        let (Some(once), Some(target)) = (text.get(from..to), text.get(start..end)) else { return Ok(false) };
        if once.is_empty() {
            return Ok(target.is_empty());
        }
        if target.is_empty() {
            return Ok(min == 0);
        }
        self.matcher.work(target.len())?;
        let fold = self.matcher.program.ignore_case;
        let mut rounds = 0u64;
        let mut rest = target.chars();
        while !rest.as_str().is_empty() {
            for c in once.chars() {
                let same = rest.next().is_some_and(|d| c == d || (fold && super::class::other_case(c) == d));
                if !same {
                    return Ok(false);
                }
            }
            rounds += 1;
        }
        Ok(rounds >= u64::from(min) && max.is_none_or(|max| rounds <= u64::from(max)))
    }

    /// Divides a text into rounds: each, from the first on, as long or as short as it can be so that all fit.
    fn repeat(&mut self, min: u32, max: Option<u32>, inner: &Node, start: usize, end: usize) -> Result<bool, Error> {
        if min == 0 && start == end {
            // No round at all where short ones are preferred; else one of nothing, so that its captures are set.
            if !inner.shorter && self.fits(inner, start, end)? && !self.dissect(inner, start, end)? {
                self.forget(inner);
            }
            return Ok(true);
        }
        let least = min.max(1) as usize;
        let most = max.map_or(usize::MAX, |max| max as usize).min(end - start).max(least);
        // Where each round began, and the bounds of its end that have not been tried.
        let mut rounds = vec![(start, Some((start, end)))];
        while let Some((began, bounds)) = rounds.last().copied() {
            let ended = match bounds {
                Some(bounds) => self.preferred(inner, began, bounds)?,
                None => None,
            };
            let (Some(ended), Some(bounds)) = (ended, bounds) else {
                rounds.pop();
                continue;
            };
            let rest = self.beyond(inner, ended, bounds);
            if let Some(round) = rounds.last_mut() {
                round.1 = rest;
            }
            let count = rounds.len();
            if ended != end {
                // An empty round only counts where rounds are lacking.
                let needless = ended == began && (count >= least || least - count < end - ended);
                if count < most && !needless {
                    rounds.push((ended, Some((ended, end))));
                }
            } else if count >= least && self.verify(inner, &rounds, end)? {
                // Too few rounds at the end are not filled up with empty ones: an earlier one has to be shorter.
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn preferred(&mut self, node: &Node, start: usize, (least, most): (usize, usize)) -> Result<Option<usize>, Error> {
        if node.shorter {
            return self.matcher.shortest(&node.code, start, least, most);
        }
        Ok(self.matcher.longest(&node.code, start, most)?.filter(|end| *end >= least))
    }

    fn verify(&mut self, inner: &Node, rounds: &[(usize, Option<(usize, usize)>)], end: usize) -> Result<bool, Error> {
        for (index, (began, _)) in rounds.iter().enumerate() {
            let ended = rounds.get(index + 1).map_or(end, |(next, _)| *next);
            // Captures are those of the last round.
            self.forget(inner);
            if !self.dissect(inner, *began, ended)? {
                self.forget(inner);
                return Ok(false);
            }
        }
        Ok(true)
    }
}
