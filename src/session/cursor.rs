//! SQL cursors: DECLARE, FETCH, MOVE, CLOSE. A cursor is a portal whose result is materialised.

use std::rc::Rc;

use super::client::{Client, Outcome};
use super::command::without_position;
use super::core::Core;
use super::portal::{Portal, Portals, Progress, Scroll};
use super::rows::{Formats, Rows, describe};
use super::run::{Complete, Ran, Task};
use super::statement::Prepared;
use crate::engine::{Engine, RowSink};
use crate::error::{Condition, Error};
use crate::sql::plan::{Action, Direction, Tag};
use crate::sql::types::Value;

/// Which rows a FETCH returns, and where it leaves the cursor. Rows count from 1; 0 is before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    /// The row returned first.
    first: u64,
    /// How many.
    count: u64,
    /// From the last to the first.
    backward: bool,
    /// The cursor's position afterwards.
    position: u64,
}

impl<E: Engine> Core<'_, E> {
    /// DECLARE.
    pub fn declare(
        &mut self,
        name: &str,
        forward_only: bool,
        hold: bool,
        text: &str,
        parameters: &[Value],
    ) -> Result<(), Error> {
        if !hold && !self.in_transaction() {
            let message = "DECLARE CURSOR can only be used in transaction blocks";
            return Err(Error::new(Condition::NoActiveSqlTransaction, message));
        }
        if name.is_empty() {
            return Err(Error::new(Condition::InvalidCursorName, "invalid cursor name: must not be empty"));
        }
        self.portals.check_free(name)?;
        let statement = self.prepare_single(text, &[]).map_err(without_position)?;
        let plan = self.engine.plan(&statement);
        if plan.columns.is_empty() || !matches!(plan.action, Action::Query(_) | Action::Explain(_)) {
            let tag = Complete(&plan.tag, 0).to_string();
            let message = format!("cannot open {} query as cursor", tag.trim_end_matches([' ', '0']));
            return Err(Error::new(Condition::InvalidCursorDefinition, message));
        }
        let needed = plan.parameters.len();
        let Some(parameters) = parameters.get(..needed) else {
            let message = format!("there is no parameter ${}", parameters.len() + 1);
            return Err(Error::new(Condition::UndefinedParameter, message));
        };
        let mut cursor = self.engine.materialise(&statement, parameters)?;
        let rows = self.engine.row_count(&mut cursor);
        let depth = self.in_transaction().then(|| self.depth());
        let portal = Portal {
            prepared: Rc::new(Prepared::new(statement, text)),
            parameters: Vec::new(),
            formats: Formats::TEXT,
            progress: Progress::Scroll(Scroll { cursor, rows, position: 0, forward_only }),
            hold,
            depth,
        };
        self.portals.insert(name, portal);
        Ok(())
    }

    /// FETCH and MOVE.
    pub fn fetch_cursor(
        &mut self,
        client: &mut Client<'_>,
        name: &str,
        direction: Direction,
        moves: bool,
        task: &Task<'_, E::Statement>,
    ) -> Outcome<Ran<E::Cursor>> {
        let Some(mut portal) = self.portals.take(name) else { return Err(Portals::<E>::missing_cursor(name).into()) };
        let done = self.fetch_portal(client, name, &mut portal, direction, moves, task);
        self.portals.insert(name, portal);
        let rows = done?;
        Ok(Ran::bare(if moves { Tag::Move } else { Tag::Fetch }, rows))
    }

    fn fetch_portal(
        &mut self,
        client: &mut Client<'_>,
        name: &str,
        portal: &mut Portal<E>,
        direction: Direction,
        moves: bool,
        task: &Task<'_, E::Statement>,
    ) -> Outcome<u64> {
        let prepared = Rc::clone(&portal.prepared);
        let plan = self.engine.plan(&prepared.statement);
        if matches!(portal.progress, Progress::Ready) && matches!(plan.action, Action::Query(_)) {
            // A portal of Bind that nobody has run yet: from now on it is a cursor.
            let mut cursor = self.engine.materialise(&prepared.statement, &portal.parameters)?;
            let rows = self.engine.row_count(&mut cursor);
            portal.progress = Progress::Scroll(Scroll { cursor, rows, position: 0, forward_only: false });
        }
        let Progress::Scroll(scroll) = &mut portal.progress else {
            let message = format!("portal \"{name}\" cannot be run");
            return Err(Error::new(Condition::ObjectNotInPrerequisiteState, message).into());
        };
        if scroll.forward_only && goes_back(direction, scroll.position, scroll.rows) {
            let message = "cursor can only scan forward";
            let error = Error::new(Condition::ObjectNotInPrerequisiteState, message);
            return Err(error.hint("Declare it with SCROLL option to enable backward scan.").into());
        }
        let range = range(direction, scroll.position, scroll.rows);
        if moves {
            scroll.position = range.position;
            return Ok(range.count);
        }
        if task.describe {
            describe(&mut client.out(), &plan.columns, task.formats);
        }
        let mut rows = Rows::new(client, &plan.columns, task.formats, &self.environment);
        let read = read(self.engine, scroll, range, &mut rows);
        client.unless_lost(read)?;
        Ok(range.count)
    }

    /// Execute of a cursor's portal: the next rows of it.
    pub fn execute_cursor(
        &mut self,
        client: &mut Client<'_>,
        prepared: &Prepared<E::Statement>,
        scroll: &mut Scroll<E::Cursor>,
        formats: &Formats,
        limit: u64,
    ) -> Outcome<Ran<E::Cursor>> {
        let plan = self.engine.plan(&prepared.statement);
        let direction = match i64::try_from(limit) {
            Ok(limit) if limit > 0 => Direction::Forward(limit),
            _ => Direction::ForwardAll,
        };
        let range = range(direction, scroll.position, scroll.rows);
        let mut rows = Rows::new(client, &plan.columns, formats, &self.environment);
        let read = read(self.engine, scroll, range, &mut rows);
        client.unless_lost(read)?;
        Ok(Ran { tag: plan.tag.clone(), rows: range.count, cursor: None, returns_rows: true })
    }

    /// CLOSE name.
    pub fn close_cursor(&mut self, name: &str) -> Result<(), Error> {
        if self.portals.remove(name) { Ok(()) } else { Err(Portals::<E>::missing_cursor(name)) }
    }
}

/// Reads those rows and moves the cursor.
fn read<E: Engine>(
    engine: &mut E,
    scroll: &mut Scroll<E::Cursor>,
    range: Range,
    sink: &mut dyn RowSink,
) -> Result<(), Error> {
    scroll.position = range.position;
    if range.backward {
        for back in 0..range.count {
            engine.read_at(&mut scroll.cursor, range.first - 1 - back, 1, sink)?;
        }
    } else if range.count > 0 {
        engine.read_at(&mut scroll.cursor, range.first - 1, range.count, sink)?;
    }
    Ok(())
}

/// Whether a FETCH in that direction takes a step back, be it to fetch a row again.
fn goes_back(direction: Direction, position: u64, rows: u64) -> bool {
    match direction {
        Direction::Forward(0) | Direction::Backward(0) | Direction::Relative(0) => (1..=rows).contains(&position),
        Direction::Forward(count) | Direction::Relative(count) => count < 0,
        Direction::Backward(count) => count > 0,
        Direction::ForwardAll => false,
        Direction::BackwardAll => true,
        Direction::Absolute(row) => u64::try_from(row).map_or(true, |row| position != 0 && row <= position),
    }
}

/// What a FETCH in that direction means for a cursor at `position` of `rows` rows.
fn range(direction: Direction, position: u64, rows: u64) -> Range {
    let after = rows + 1;
    let one = |row: i128| match u64::try_from(row) {
        Ok(row) if (1..=rows).contains(&row) => Range { first: row, count: 1, backward: false, position: row },
        Ok(row) if row > 0 => Range { first: after, count: 0, backward: false, position: after },
        _ => Range { first: 0, count: 0, backward: false, position: 0 },
    };
    // Fetching nothing forward or backward fetches the current row again.
    let again = match (1..=rows).contains(&position) {
        true => Range { first: position, count: 1, backward: false, position },
        false => Range { first: 0, count: 0, backward: false, position },
    };
    let forward = |wanted: u64| {
        let count = wanted.min(rows.saturating_sub(position));
        let reached = if count < wanted { after } else { position + count };
        Range { first: position + 1, count, backward: false, position: reached }
    };
    let backward = |wanted: u64| {
        let count = wanted.min(position.saturating_sub(1));
        let reached = if count < wanted { 0 } else { position - count };
        Range { first: position.saturating_sub(1), count, backward: true, position: reached }
    };
    match direction {
        Direction::Forward(0) | Direction::Backward(0) | Direction::Relative(0) => again,
        Direction::Forward(count) if count > 0 => forward(count.unsigned_abs()),
        Direction::Forward(count) => backward(count.unsigned_abs()),
        Direction::Backward(count) if count > 0 => backward(count.unsigned_abs()),
        Direction::Backward(count) => forward(count.unsigned_abs()),
        Direction::ForwardAll => forward(u64::MAX),
        Direction::BackwardAll => backward(u64::MAX),
        Direction::Absolute(row) if row < 0 => one(i128::from(after) + i128::from(row)),
        Direction::Absolute(row) => one(i128::from(row)),
        Direction::Relative(distance) => one(i128::from(position) + i128::from(distance)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// First row, count and position, over ten rows.
    fn at(direction: Direction, position: u64) -> (u64, u64, u64) {
        let range = range(direction, position, 10);
        (if range.count > 0 { range.first } else { 0 }, range.count, range.position)
    }

    #[test]
    fn positions_follow_postgresql() {
        assert_eq!(at(Direction::Forward(3), 0), (1, 3, 3));
        assert_eq!(at(Direction::Forward(3), 8), (9, 2, 11));
        assert_eq!(at(Direction::Forward(2), 8), (9, 2, 10));
        assert_eq!(at(Direction::Forward(1), 10), (0, 0, 11));
        assert_eq!(at(Direction::ForwardAll, 0), (1, 10, 11));
        assert_eq!(at(Direction::ForwardAll, 11), (0, 0, 11));
        assert_eq!(at(Direction::Backward(2), 11), (10, 2, 9));
        assert_eq!(at(Direction::Backward(2), 2), (1, 1, 0));
        assert_eq!(at(Direction::BackwardAll, 11), (10, 10, 0));
        assert_eq!(at(Direction::Forward(-2), 5), (4, 2, 3));
        assert_eq!(at(Direction::Backward(-2), 5), (6, 2, 7));
        assert_eq!(at(Direction::Forward(0), 5), (5, 1, 5));
        assert_eq!(at(Direction::Absolute(7), 1), (7, 1, 7));
        assert_eq!(at(Direction::Absolute(-1), 1), (10, 1, 10));
        assert_eq!(at(Direction::Absolute(-11), 1), (0, 0, 0));
        assert_eq!(at(Direction::Absolute(11), 1), (0, 0, 11));
        assert_eq!(at(Direction::Relative(-1), 5), (4, 1, 4));
        assert_eq!(at(Direction::Relative(i64::MAX), 5), (0, 0, 11));
        assert_eq!(at(Direction::Relative(i64::MIN), 5), (0, 0, 0));
    }
}
