//! Lists that a statement reads as tables while it runs: the engine's side of `sql::list`.
//!
//! SQLite hands a table function numbers and texts only, so a list waits here under a number.

use std::cell::RefCell;
use std::rc::Rc;

use crate::sql::emit::LIST_TABLE;
use crate::sql::list::List;

thread_local! {
    static LISTS: RefCell<Vec<Option<Rc<List>>>> = const { RefCell::new(Vec::new()) };
}

/// A list that can be read under its number until this goes.
#[derive(Debug)]
pub struct Held(usize);

impl Held {
    /// Makes a list readable.
    pub fn new(list: Rc<List>) -> Self {
        LISTS.with_borrow_mut(|lists| match lists.iter().position(Option::is_none) {
            Some(free) => {
                lists[free] = Some(list);
                Self(free)
            }
            None => {
                lists.push(Some(list));
                Self(lists.len() - 1)
            }
        })
    }

    /// Its number.
    pub fn number(&self) -> i64 {
        self.0 as i64
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        LISTS.with_borrow_mut(|lists| {
            if let Some(slot) = lists.get_mut(self.0) {
                *slot = None;
            }
        });
    }
}

/// The list of that number.
pub fn find(number: i64) -> Option<Rc<List>> {
    let number = usize::try_from(number).ok()?;
    LISTS.with_borrow(|lists| lists.get(number).cloned().flatten())
}

/// The width that a table function's name tells, if it reads lists.
pub fn width_of(storage: &str) -> Option<usize> {
    storage.strip_prefix(LIST_TABLE)?.parse().ok()
}
