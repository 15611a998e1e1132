//! Portals of a session, by name: those of Bind and the cursors of DECLARE share one namespace.
//!
//! Owns how long each lives: to the end of its transaction, or beyond when it is held.

use std::collections::HashMap;
use std::rc::Rc;

use super::rows::Formats;
use super::statement::Prepared;
use crate::engine::Engine;
use crate::error::{Condition, Error};
use crate::sql::types::Value;

/// How far a portal has been read.
#[derive(Debug)]
pub enum Progress<C> {
    /// Not run yet.
    Ready,
    /// Stopped by a row limit; the rest is in the cursor.
    Suspended(C),
    /// A query read to its end: running it again returns no rows.
    Exhausted,
    /// A statement without rows that has run: it cannot run again.
    Done,
    /// A result that can be read from any place.
    Scroll(Scroll<C>),
}

/// A cursor of DECLARE, and where it stands.
#[derive(Debug)]
pub struct Scroll<C> {
    /// The whole result.
    pub cursor: C,
    /// How many rows it has.
    pub rows: u64,
    /// 0: before the first row; n: on row n; `rows + 1`: after the last one.
    pub position: u64,
    /// NO SCROLL.
    pub forward_only: bool,
}

/// A statement bound to its parameters.
pub struct Portal<E: Engine> {
    /// What it runs.
    pub prepared: Rc<Prepared<E::Statement>>,
    /// Its parameters.
    pub parameters: Vec<Value>,
    /// The formats of its columns.
    pub formats: Formats,
    /// How far it has been read.
    pub progress: Progress<E::Cursor>,
    /// WITH HOLD: it outlives a commit.
    pub hold: bool,
    /// Savepoints that were open when it was made; `None` once its transaction has committed.
    pub depth: Option<usize>,
}

/// The portals of a session.
pub struct Portals<E: Engine> {
    unnamed: Option<Portal<E>>,
    named: HashMap<String, Portal<E>>,
    /// Parameters of the last unnamed portal, emptied: their allocation serves the next.
    spare: Vec<Value>,
}

impl<E: Engine> Default for Portals<E> {
    fn default() -> Self {
        Self { unnamed: None, named: HashMap::new(), spare: Vec::new() }
    }
}

impl<E: Engine> Portals<E> {
    /// The portal of that name; empty for the unnamed one. 34000 when there is none.
    pub fn find(&self, name: &str) -> Result<&Portal<E>, Error> {
        let found = if name.is_empty() { self.unnamed.as_ref() } else { self.named.get(name) };
        found.ok_or_else(|| Self::missing_portal(name))
    }

    /// Takes a portal out to run it; [`Portals::insert`] puts it back.
    pub fn take(&mut self, name: &str) -> Option<Portal<E>> {
        if name.is_empty() { self.unnamed.take() } else { self.named.remove(name) }
    }

    /// 42P03 when a portal of that name exists; the unnamed one may always be replaced.
    pub fn check_free(&self, name: &str) -> Result<(), Error> {
        if !name.is_empty() && self.named.contains_key(name) {
            return Err(Error::new(Condition::DuplicateCursor, format!("cursor \"{name}\" already exists")));
        }
        Ok(())
    }

    /// Keeps a portal.
    pub fn insert(&mut self, name: &str, portal: Portal<E>) {
        if name.is_empty() {
            self.unnamed = Some(portal);
        } else {
            self.named.insert(name.to_owned(), portal);
        }
    }

    /// Forgets a portal; whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        if name.is_empty() {
            return self.drop_unnamed();
        }
        self.named.remove(name).is_some()
    }

    /// Forgets the unnamed portal; whether there was one.
    pub fn drop_unnamed(&mut self) -> bool {
        let Some(portal) = self.unnamed.take() else { return false };
        self.reuse(portal.parameters);
        true
    }

    /// An empty place for parameters.
    pub fn spare_parameters(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.spare)
    }

    /// Keeps the allocation of parameters that are no longer needed.
    pub fn reuse(&mut self, mut parameters: Vec<Value>) {
        parameters.clear();
        if parameters.capacity() <= 64 {
            self.spare = parameters;
        }
    }

    /// The transaction has ended. After a commit, held cursors stay; cursors of earlier transactions stay in any
    /// case.
    pub fn end_transaction(&mut self, committed: bool) {
        self.drop_unnamed();
        if self.named.is_empty() {
            return;
        }
        self.named.retain(|_, portal| portal.depth.is_none() || (committed && portal.hold));
        self.named.values_mut().for_each(|portal| portal.depth = None);
    }

    /// Everything since that many savepoints were open is undone.
    pub fn drop_from_depth(&mut self, depth: usize) {
        let stays = |portal: &Portal<E>| portal.depth.is_none_or(|made| made < depth);
        if self.unnamed.as_ref().is_some_and(|portal| !stays(portal)) {
            self.drop_unnamed();
        }
        self.named.retain(|_, portal| stays(portal));
    }

    /// Savepoints were released: what was made inside them belongs to the level that is left.
    pub fn lift_to_depth(&mut self, depth: usize) {
        for portal in self.named.values_mut().chain(self.unnamed.as_mut()) {
            portal.depth = portal.depth.map(|made| made.min(depth));
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.drop_unnamed();
        self.named.clear();
    }

    /// 34000, as Execute and Describe word it.
    pub fn missing_portal(name: &str) -> Error {
        Error::new(Condition::InvalidCursorName, format!("portal \"{name}\" does not exist"))
    }

    /// 34000, as FETCH and CLOSE word it.
    pub fn missing_cursor(name: &str) -> Error {
        Error::new(Condition::InvalidCursorName, format!("cursor \"{name}\" does not exist"))
    }
}
