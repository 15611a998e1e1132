//! Walks a set of states along a text.

use std::ops::Range;

use super::Check;
use super::class::is_word;
use super::program::{Look, Program, Step};
use super::syntax::Assertion;
use crate::error::Error;

/// Steps between two looks at interrupts.
const CHECK_EVERY: usize = 1 << 14;

/// A text that is being searched, and what is known of it.
pub(super) struct Matcher<'a> {
    pub program: &'a Program,
    pub text: &'a str,
    pub check: Check<'a>,
    /// For each look-around, once it was asked for: the places where it can be read.
    looks: Vec<Option<Vec<bool>>>,
    now: States,
    next: States,
    stack: Vec<usize>,
    steps: usize,
}

/// States in the order in which they came, none twice.
#[derive(Default)]
struct States {
    /// Instruction, and where its walk began.
    list: Vec<(usize, usize)>,
    /// For each instruction, the round in which it was reached last.
    seen: Vec<u32>,
    round: u32,
}

impl States {
    fn clear(&mut self, length: usize) {
        self.list.clear();
        self.seen.resize(length + 1, 0);
        self.round = self.round.wrapping_add(1);
        if self.round == 0 {
            self.seen.fill(0);
            self.round = 1;
        }
    }

    fn enter(&mut self, at: usize) -> bool {
        match self.seen.get_mut(at) {
            Some(seen) if *seen != self.round => {
                *seen = self.round;
                true
            }
            _ => false,
        }
    }
}

impl<'a> Matcher<'a> {
    pub fn new(program: &'a Program, text: &'a str, check: Check<'a>) -> Self {
        let looks = program.looks.iter().map(|_| None).collect();
        let (now, next) = (States::default(), States::default());
        Self { program, text, check, looks, now, next, stack: Vec::new(), steps: 0 }
    }

    /// Counts work, and hears interrupts.
    pub fn work(&mut self, amount: usize) -> Result<(), Error> {
        self.steps += amount;
        if self.steps >= CHECK_EVERY {
            self.steps = 0;
            (self.check)()?;
        }
        Ok(())
    }

    fn after(&self, at: usize) -> Option<char> {
        self.text.get(at..).and_then(|rest| rest.chars().next())
    }

    fn before(&self, at: usize) -> Option<char> {
        self.text.get(..at).and_then(|rest| rest.chars().next_back())
    }

    fn holds(&self, assertion: Assertion, at: usize) -> bool {
        let word = |c: Option<char>| c.is_some_and(is_word);
        match assertion {
            Assertion::TextStart => at == 0,
            Assertion::TextEnd => at == self.text.len(),
            Assertion::LineStart => at == 0 || self.before(at) == Some('\n'),
            Assertion::LineEnd => at == self.text.len() || self.after(at) == Some('\n'),
            Assertion::WordStart => !word(self.before(at)) && word(self.after(at)),
            Assertion::WordEnd => word(self.before(at)) && !word(self.after(at)),
            Assertion::WordBoundary => word(self.before(at)) != word(self.after(at)),
            Assertion::NoWordBoundary => word(self.before(at)) == word(self.after(at)),
        }
    }

    fn look(&mut self, index: usize, at: usize) -> Result<bool, Error> {
        let program = self.program;
        let Some(look) = program.looks.get(index) else { return Ok(false) };
        if self.looks.get(index).is_some_and(Option::is_none) {
            let places = places(look, self.text, self.check)?;
            self.looks[index] = Some(places);
        }
        let found = self.looks.get(index).and_then(Option::as_ref).and_then(|places| places.get(at));
        Ok(found.copied().unwrap_or(false) != look.negated)
    }

    /// Adds an instruction and all that is reached from it without reading; says whether `end` is among them.
    fn follow(&mut self, from: usize, began: usize, at: usize, code: &Range<usize>) -> Result<bool, Error> {
        let mut ended = false;
        self.stack.push(from);
        while let Some(place) = self.stack.pop() {
            if !self.next.enter(place) {
                continue;
            }
            if place == code.end {
                ended = true;
                continue;
            }
            let program = self.program;
            self.work(1)?;
            match &program.steps[place] {
                Step::Read(_) => self.next.list.push((place, began)),
                Step::Assert(assertion) => {
                    if self.holds(*assertion, at) {
                        self.stack.push(place + 1);
                    }
                }
                Step::Look(index) => {
                    if self.look(*index, at)? {
                        self.stack.push(place + 1);
                    }
                }
                Step::Split(a, b) => self.stack.extend([*b, *a]),
                Step::Jump(to) => self.stack.push(*to),
            }
        }
        Ok(ended)
    }

    fn begin(&mut self) {
        let length = self.program.steps.len();
        self.next.clear(length);
    }

    /// Makes the states that were added the present ones.
    fn turn(&mut self) {
        std::mem::swap(&mut self.now, &mut self.next);
        self.begin();
    }

    /// Lets every present state read a character; what they reach is added. The earliest beginning of one that
    /// ended.
    fn read(&mut self, c: char, at: usize, code: &Range<usize>) -> Result<Option<usize>, Error> {
        let program = self.program;
        let mut ended = None;
        let list = std::mem::take(&mut self.now.list);
        for (place, began) in &list {
            if let Step::Read(set) = &program.steps[*place]
                && set.contains(c)
                && self.follow(place + 1, *began, at, code)?
                && ended.is_none()
            {
                ended = Some(*began);
            }
        }
        self.work(list.len())?;
        self.now.list = list;
        Ok(ended)
    }

    /// Where a part that begins at `from` can end, up to `to`: each place in order, until `take` says it is enough.
    pub fn ends(
        &mut self,
        code: &Range<usize>,
        from: usize,
        to: usize,
        mut take: impl FnMut(usize) -> bool,
    ) -> Result<(), Error> {
        self.begin();
        if self.follow(code.start, from, from, code)? && !take(from) {
            return Ok(());
        }
        let mut at = from;
        while at < to
            && let Some(c) = self.after(at)
        {
            self.turn();
            if self.now.list.is_empty() {
                break;
            }
            at += c.len_utf8();
            if self.read(c, at, code)?.is_some() && !take(at) {
                break;
            }
        }
        Ok(())
    }

    /// The last place up to `to` where a part that begins at `from` can end.
    pub fn longest(&mut self, code: &Range<usize>, from: usize, to: usize) -> Result<Option<usize>, Error> {
        let mut last = None;
        self.ends(code, from, to, |at| {
            last = Some(at);
            true
        })?;
        Ok(last)
    }

    /// The first place from `least` up to `to` where it can.
    pub fn shortest(
        &mut self,
        code: &Range<usize>,
        from: usize,
        least: usize,
        to: usize,
    ) -> Result<Option<usize>, Error> {
        let mut first = None;
        self.ends(code, from, to, |at| {
            if at >= least {
                first = Some(at);
            }
            first.is_none()
        })?;
        Ok(first)
    }

    /// Where the leftmost match that begins at `from` or later begins.
    pub fn leftmost(&mut self, code: &Range<usize>, from: usize) -> Result<Option<usize>, Error> {
        let mut best: Option<usize> = None;
        let mut at = from;
        self.begin();
        loop {
            // States that began earlier come first, so that each place in the program keeps its earliest beginning.
            if best.is_none() && self.follow(code.start, at, at, code)? {
                best = Some(at);
            }
            if let Some(limit) = best {
                self.next.list.retain(|(_, began)| *began < limit);
            }
            if best.is_some() && self.next.list.is_empty() {
                return Ok(best);
            }
            let Some(c) = self.after(at) else { return Ok(best) };
            self.turn();
            at += c.len_utf8();
            if let Some(began) = self.read(c, at, code)? {
                best = Some(best.map_or(began, |best| best.min(began)));
            }
            self.work(1)?;
        }
    }
}

/// The places of a text that something can be read towards, from the left or (looking ahead) from the right.
fn places(look: &Look, text: &str, check: Check<'_>) -> Result<Vec<bool>, Error> {
    let mut matcher = Matcher::new(&look.program, text, check);
    let code = look.program.tree.code.clone();
    let mut found = vec![false; text.len() + 1];
    let mut at = if look.ahead { text.len() } else { 0 };
    matcher.begin();
    loop {
        if matcher.follow(code.start, at, at, &code)? {
            found[at] = true;
        }
        let c = if look.ahead { matcher.before(at) } else { matcher.after(at) };
        let Some(c) = c else { return Ok(found) };
        matcher.turn();
        at = if look.ahead { at - c.len_utf8() } else { at + c.len_utf8() };
        if matcher.read(c, at, &code)?.is_some() {
            found[at] = true;
        }
    }
}
