//! From the tree of a pattern to a program, and to the tree of parts by which a match is taken apart.
//!
//! Every part of the pattern is one run of instructions; it is left where its run ends. So the one program serves for
//! the whole pattern and for each part: "does this part match just here" is "can its end be reached".

use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;

use super::Refusal;
use super::class::Set;
use super::syntax::{Alternation, Assertion, Atom, Parsed, Piece, Preference};

/// Instructions of a program, copies that bounds ask for included.
const CODE_MAX: usize = 50_000;
/// Parts within parts.
const DEPTH_MAX: usize = 1000;

/// One step of a state.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Reads a character of the set.
    Read(Rc<Set>),
    /// Goes on only where it holds.
    Assert(Assertion),
    /// Goes on only where something can (or cannot) be read from here on, or up to here.
    Look(usize),
    /// Goes on at both.
    Split(usize, usize),
    Jump(usize),
}

/// A condition on what is around a place.
#[derive(Debug)]
pub(super) struct Look {
    pub negated: bool,
    /// Whether it looks ahead; its program then reads backwards.
    pub ahead: bool,
    /// Reads towards the place, from wherever in the text.
    pub program: Program,
}

/// What a part is made of, as far as captures or back references are in it.
#[derive(Debug)]
pub(super) enum Part {
    /// Nothing that matters.
    Plain,
    /// The text of a capture again, a number of times.
    Back { group: usize, min: u32, max: Option<u32> },
    /// One after the other.
    Pair(Box<Node>, Box<Node>),
    /// The first that fits.
    Choice(Vec<Node>),
    /// A number of times.
    Repeat { min: u32, max: Option<u32>, inner: Box<Node> },
}

/// A part, its instructions and how it prefers to match.
#[derive(Debug)]
pub(super) struct Node {
    pub part: Part,
    pub code: Range<usize>,
    pub shorter: bool,
    /// Captures, in this order: of `((a))` both hold the same.
    pub captures: Vec<usize>,
    /// All captures in here, so that they can be forgotten.
    pub inside: Vec<usize>,
}

/// A compiled pattern.
#[derive(Debug)]
pub(super) struct Program {
    pub steps: Vec<Step>,
    pub looks: Vec<Look>,
    pub tree: Node,
    pub groups: usize,
    pub back_references: bool,
    pub ignore_case: bool,
}

/// What is known of a part before its code is written: PostgreSQL's flags of a subexpression.
#[derive(Debug, Clone, Copy, Default)]
struct Traits {
    preference: Option<Preference>,
    /// Parts of either preference are in it.
    mixed: bool,
    captures: bool,
    back: bool,
}

impl Traits {
    /// What a part hands up to the one it is in.
    fn combine(self, second: Self) -> Self {
        let clash = matches!((self.preference, second.preference), (Some(a), Some(b)) if a != b);
        Self {
            preference: self.preference.or(second.preference),
            mixed: self.mixed || second.mixed || clash,
            captures: self.captures || second.captures,
            back: self.back || second.back,
        }
    }

    fn messy(self) -> bool {
        self.mixed || self.captures || self.back
    }

    fn preferring(preference: Option<Preference>) -> Self {
        Self { preference, ..Self::default() }
    }
}

fn traits_of_choice(choice: &Alternation) -> Traits {
    if let [branch] = choice.branches.as_slice() {
        return traits_of_branch(branch);
    }
    choice
        .branches
        .iter()
        .fold(Traits::preferring(Some(Preference::Longer)), |all, branch| all.combine(traits_of_branch(branch)))
}

fn traits_of_branch(branch: &[Piece]) -> Traits {
    branch.iter().fold(Traits::default(), |all, piece| all.combine(traits_of_piece(piece)))
}

fn traits_of_piece(piece: &Piece) -> Traits {
    Traits::preferring(piece.preference).combine(traits_of_atom(&piece.atom))
}

fn traits_of_atom(atom: &Atom) -> Traits {
    match atom {
        Atom::Group(number, inner) => {
            let traits = traits_of_choice(inner);
            Traits { captures: traits.captures || number.is_some(), ..traits }
        }
        Atom::Back(_) => Traits { back: true, ..Traits::default() },
        Atom::Empty | Atom::Set(_) | Atom::Assertion(_) | Atom::Look { .. } => Traits::default(),
    }
}

/// Writes the program of a pattern.
pub(super) fn compile(parsed: &Parsed) -> Result<Program, Refusal> {
    let budget = Cell::new(CODE_MAX);
    let mut writer = Writer {
        steps: Vec::new(),
        looks: Vec::new(),
        groups: &parsed.groups,
        ignore_case: parsed.ignore_case,
        backwards: false,
        depth: 0,
        budget: &budget,
    };
    let tree = writer.choice(&parsed.whole)?;
    Ok(Program {
        steps: writer.steps,
        looks: writer.looks,
        tree,
        groups: parsed.groups.len(),
        back_references: traits_of_choice(&parsed.whole).back,
        ignore_case: parsed.ignore_case,
    })
}

struct Writer<'a> {
    steps: Vec<Step>,
    looks: Vec<Look>,
    groups: &'a [Rc<Alternation>],
    ignore_case: bool,
    /// For look-ahead: what comes last is read first.
    backwards: bool,
    depth: usize,
    /// What may still be written, by this writer and those of look-around.
    budget: &'a Cell<usize>,
}

impl Writer<'_> {
    fn spend(&self) -> Result<(), Refusal> {
        self.budget.set(self.budget.get().checked_sub(1).ok_or(Refusal::TooComplex)?);
        Ok(())
    }

    fn push(&mut self, step: Step) -> Result<usize, Refusal> {
        self.spend()?;
        self.steps.push(step);
        Ok(self.steps.len() - 1)
    }

    fn deeper<T>(&mut self, write: impl FnOnce(&mut Self) -> Result<T, Refusal>) -> Result<T, Refusal> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Refusal::TooComplex);
        }
        let written = write(self);
        self.depth -= 1;
        written
    }

    /// Writes a part and says which instructions are its own.
    fn node(
        &mut self,
        traits: Traits,
        write: impl FnOnce(&mut Self) -> Result<Part, Refusal>,
    ) -> Result<Node, Refusal> {
        let start = self.steps.len();
        let part = write(self)?;
        let inside = match &part {
            Part::Plain | Part::Back { .. } => Vec::new(),
            Part::Pair(left, right) => [left.inside.as_slice(), right.inside.as_slice()].concat(),
            Part::Choice(branches) => branches.iter().flat_map(|branch| branch.inside.iter().copied()).collect(),
            Part::Repeat { inner, .. } => inner.inside.clone(),
        };
        let shorter = traits.preference == Some(Preference::Shorter);
        Ok(Node { part, code: start..self.steps.len(), shorter, captures: Vec::new(), inside })
    }

    fn choice(&mut self, choice: &Alternation) -> Result<Node, Refusal> {
        // Copies of what writes nothing count as well.
        self.spend()?;
        self.deeper(|writer| {
            if let [branch] = choice.branches.as_slice() {
                return writer.branch(branch);
            }
            let traits = traits_of_choice(choice);
            writer.node(traits, |writer| {
                let mut branches = Vec::with_capacity(choice.branches.len());
                let mut ends = Vec::new();
                for (index, branch) in choice.branches.iter().enumerate() {
                    let last = index + 1 == choice.branches.len();
                    let split = if last { None } else { Some(writer.push(Step::Split(0, 0))?) };
                    branches.push(writer.branch(branch)?);
                    if let Some(split) = split {
                        ends.push(writer.push(Step::Jump(0))?);
                        writer.steps[split] = Step::Split(split + 1, writer.steps.len());
                    }
                }
                let end = writer.steps.len();
                for jump in ends {
                    writer.steps[jump] = Step::Jump(end);
                }
                Ok(if traits.messy() { Part::Choice(branches) } else { Part::Plain })
            })
        })
    }

    /// A branch: first what needs no taking apart, then the first piece that does, then the rest.
    fn branch(&mut self, branch: &[Piece]) -> Result<Node, Refusal> {
        if self.backwards {
            return self.node(Traits::default(), |writer| {
                for piece in branch.iter().rev() {
                    writer.quantified(piece.min, piece.max, |writer| writer.atom(&piece.atom))?;
                }
                Ok(Part::Plain)
            });
        }
        let mut before = Traits::default();
        let hard = branch.iter().position(|piece| {
            let whole = before.combine(traits_of_piece(piece));
            if !whole.messy() {
                before = whole;
            }
            whole.messy()
        });
        let Some(hard) = hard else { return self.pieces(branch, before) };
        let (first, rest) = branch.split_at(hard);
        let Some((piece, rest)) = rest.split_first() else { return self.pieces(branch, before) };
        if !first.is_empty() {
            return self.deeper(|writer| {
                writer.node(traits_of_branch(branch), |writer| {
                    let first = writer.pieces(first, before)?;
                    Ok(Part::Pair(Box::new(first), Box::new(writer.hard_piece(piece, rest)?)))
                })
            });
        }
        self.hard_piece(piece, rest)
    }

    fn hard_piece(&mut self, piece: &Piece, rest: &[Piece]) -> Result<Node, Refusal> {
        if rest.is_empty() {
            return self.piece(piece);
        }
        let traits = traits_of_piece(piece).combine(traits_of_branch(rest));
        self.deeper(|writer| {
            writer.node(traits, |writer| {
                let left = writer.piece(piece)?;
                Ok(Part::Pair(Box::new(left), Box::new(writer.branch(rest)?)))
            })
        })
    }

    /// Pieces that are not taken apart.
    fn pieces(&mut self, pieces: &[Piece], traits: Traits) -> Result<Node, Refusal> {
        self.node(traits, |writer| {
            for piece in pieces {
                writer.quantified(piece.min, piece.max, |writer| writer.atom(&piece.atom))?;
            }
            Ok(Part::Plain)
        })
    }

    /// One piece that holds captures, back references or parts of unlike preference.
    fn piece(&mut self, piece: &Piece) -> Result<Node, Refusal> {
        let inner = traits_of_atom(&piece.atom);
        let traits = Traits::preferring(piece.preference).combine(inner);
        let (min, max) = (piece.min, piece.max);
        if let Atom::Back(group) = piece.atom {
            return self.node(traits, |writer| {
                writer.quantified(min, max, |writer| writer.atom(&piece.atom))?;
                Ok(Part::Back { group, min, max })
            });
        }
        let as_it_is = piece.preference.is_none()
            || (!inner.mixed && inner.preference.is_none_or(|p| Some(p) == piece.preference));
        if (min, max) == (1, Some(1)) && as_it_is {
            return self.atom_node(&piece.atom);
        }
        if !inner.captures && !inner.back {
            return self.pieces(std::slice::from_ref(piece), traits);
        }
        if min > 0 && !inner.back {
            // Only the last round's captures count, so that all before it need no taking apart.
            return self.node(traits, |writer| {
                let before = writer.node(Traits::preferring(traits.preference), |writer| {
                    writer.quantified(min - 1, max.map(|max| max - 1), |writer| writer.atom(&piece.atom))?;
                    Ok(Part::Plain)
                })?;
                Ok(Part::Pair(Box::new(before), Box::new(writer.atom_node(&piece.atom)?)))
            });
        }
        self.node(traits, |writer| {
            let mut node = None;
            writer.quantified(min, max, |writer| {
                node = Some(writer.atom_node(&piece.atom)?);
                Ok(())
            })?;
            Ok(match node {
                Some(inner) => Part::Repeat { min, max, inner: Box::new(inner) },
                None => Part::Plain,
            })
        })
    }

    /// An atom with its parts.
    fn atom_node(&mut self, atom: &Atom) -> Result<Node, Refusal> {
        let Atom::Group(number, inner) = atom else {
            return self.node(Traits::default(), |writer| {
                writer.atom(atom)?;
                Ok(Part::Plain)
            });
        };
        let mut node = self.choice(inner)?;
        if let Some(number) = number {
            node.captures.push(*number);
            node.inside.push(*number);
        }
        Ok(node)
    }

    /// The instructions of an atom.
    fn atom(&mut self, atom: &Atom) -> Result<(), Refusal> {
        match atom {
            Atom::Empty => Ok(()),
            Atom::Set(set) => self.push(Step::Read(Rc::clone(set))).map(|_| ()),
            Atom::Assertion(assertion) => self.push(Step::Assert(*assertion)).map(|_| ()),
            Atom::Group(_, inner) => self.choice(inner).map(|_| ()),
            // Whatever the group could match; which text it did is looked at when the match is taken apart.
            Atom::Back(number) => {
                let group = self.groups.get(number - 1).cloned().ok_or(Refusal::BackReference)?;
                self.choice(&group).map(|_| ())
            }
            Atom::Look { ahead, negated, inner } => {
                let mut writer = Writer {
                    steps: Vec::new(),
                    looks: Vec::new(),
                    groups: self.groups,
                    ignore_case: self.ignore_case,
                    backwards: *ahead,
                    depth: self.depth + 1,
                    budget: self.budget,
                };
                let tree = writer.choice(inner)?;
                let program = Program {
                    steps: writer.steps,
                    looks: writer.looks,
                    tree,
                    groups: 0,
                    back_references: false,
                    ignore_case: self.ignore_case,
                };
                self.looks.push(Look { negated: *negated, ahead: *ahead, program });
                self.push(Step::Look(self.looks.len() - 1)).map(|_| ())
            }
        }
    }

    /// A number of copies of what is written.
    fn quantified(
        &mut self,
        min: u32,
        max: Option<u32>,
        mut write: impl FnMut(&mut Self) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        for _ in 0..if max.is_none() && min > 0 { min - 1 } else { min } {
            write(self)?;
        }
        match max {
            None if min > 0 => {
                let start = self.steps.len();
                write(self)?;
                let end = self.steps.len() + 1;
                self.push(Step::Split(start, end))?;
            }
            None => {
                let split = self.push(Step::Split(0, 0))?;
                write(self)?;
                self.push(Step::Jump(split))?;
                self.steps[split] = Step::Split(split + 1, self.steps.len());
            }
            Some(max) => {
                let mut splits = Vec::new();
                for _ in min..max {
                    splits.push(self.push(Step::Split(0, 0))?);
                    write(self)?;
                }
                let end = self.steps.len();
                for split in splits {
                    self.steps[split] = Step::Split(split + 1, end);
                }
            }
        }
        Ok(())
    }
}
