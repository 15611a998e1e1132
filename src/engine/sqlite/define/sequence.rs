//! Sequences: their bounds, and ALTER SEQUENCE.

use rusqlite::{OptionalExtension, params};

use super::super::catalog::failure;
use super::super::sequence::changed_by_definition;
use super::storage::quoted;
use super::{Definer, column_index, is_table};
use crate::error::{Condition, Error};
use crate::sql::catalog::{Relation, RelationKind, SequenceOwner};
use crate::sql::define::{Name, SequenceOptions, sequences_in, written_name};
use crate::sql::types::Type;

/// What a sequence counts through.
pub(super) struct Bounds {
    start: i64,
    increment: i64,
    minimum: i64,
    maximum: i64,
    cycle: bool,
}

/// The bounds that CREATE SEQUENCE's options give.
pub(super) fn bounds(options: &SequenceOptions, type_: Type) -> Result<Bounds, Error> {
    let increment = options.increment.unwrap_or(1);
    let (lowest, highest) = range(type_);
    let minimum = options.minimum.flatten().unwrap_or(if increment > 0 { 1 } else { lowest });
    let maximum = options.maximum.flatten().unwrap_or(if increment > 0 { highest } else { -1 });
    let start = options.start.unwrap_or(if increment > 0 { minimum } else { maximum });
    let bounds = Bounds { start, increment, minimum, maximum, cycle: options.cycle.unwrap_or(false) };
    bounds.check(type_)?;
    Ok(bounds)
}

fn range(type_: Type) -> (i64, i64) {
    match type_ {
        Type::Int2 => (i64::from(i16::MIN), i64::from(i16::MAX)),
        Type::Int4 => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => (i64::MIN, i64::MAX),
    }
}

fn invalid(message: String) -> Error {
    Error::new(Condition::InvalidParameterValue, message)
}

impl Bounds {
    fn check(&self, type_: Type) -> Result<(), Error> {
        let Self { start, increment, minimum, maximum, .. } = self;
        if *increment == 0 {
            return Err(invalid("INCREMENT must not be zero".to_owned()));
        }
        let (lowest, highest) = range(type_);
        for (name, bound) in [("MAXVALUE", maximum), ("MINVALUE", minimum)] {
            if !(lowest..=highest).contains(bound) {
                return Err(invalid(format!(
                    "{name} ({bound}) is out of range for sequence data type {}",
                    type_.name()
                )));
            }
        }
        if minimum >= maximum {
            return Err(invalid(format!("MINVALUE ({minimum}) must be less than MAXVALUE ({maximum})")));
        }
        if start < minimum {
            return Err(invalid(format!("START value ({start}) cannot be less than MINVALUE ({minimum})")));
        }
        if start > maximum {
            return Err(invalid(format!("START value ({start}) cannot be greater than MAXVALUE ({maximum})")));
        }
        Ok(())
    }

    fn check_last(&self, what: &str, last: i64) -> Result<(), Error> {
        let Self { minimum, maximum, .. } = self;
        if last < *minimum {
            return Err(invalid(format!("{what} value ({last}) cannot be less than MINVALUE ({minimum})")));
        }
        if last > *maximum {
            return Err(invalid(format!("{what} value ({last}) cannot be greater than MAXVALUE ({maximum})")));
        }
        Ok(())
    }
}

impl Definer<'_> {
    /// The column that OWNED BY names for a sequence, or `None` where nothing was said.
    pub(super) fn sequence_owner(
        &self,
        sequence: &Relation,
        options: &SequenceOptions,
    ) -> Result<Option<SequenceOwner>, Error> {
        let Some(owned_by) = &options.owned_by else { return Ok(None) };
        let Some((table, column)) = owned_by else { return Ok(Some(SequenceOwner::Nobody)) };
        let table = self.require(table)?;
        if !is_table(&table) {
            let message = format!("sequence cannot be owned by relation \"{}\"", table.name);
            return Err(Error::new(Condition::WrongObjectType, message));
        }
        let refused = |message: &str| Err(Error::new(Condition::ObjectNotInPrerequisiteState, message));
        if table.owner != sequence.owner {
            return refused("sequence must have same owner as table it is linked to");
        }
        if table.schema != sequence.schema {
            return refused("sequence must be in same schema as table it is linked to");
        }
        Ok(Some(SequenceOwner::Column(table.oid, column_index(&table, column)?)))
    }

    /// Gives the sequences in a table's defaults the names that they are found by whatever the search path, and notes
    /// which they are.
    pub(super) fn note_default_sequences(&self, relation: &mut Relation) -> Result<(), Error> {
        relation.depends.sequences.clear();
        for (at, column) in relation.columns.iter_mut().enumerate() {
            let Some(text) = &mut column.default else { continue };
            for (place, written, cast) in sequences_in(text).into_iter().rev() {
                let Some(name) = written_name(&written) else { continue };
                let sequence = match self.find(&name)? {
                    Some(found) if found.kind == RelationKind::Sequence => found,
                    Some(_) => continue,
                    None if self.catalog().relation_of_index(name.schema.as_deref(), &name.name)?.is_some() => continue,
                    None => {
                        let message = format!("relation \"{name}\" does not exist");
                        return Err(Error::new(Condition::UndefinedTable, message));
                    }
                };
                text.replace_range(place, &sequence_constant(&sequence, cast));
                if !relation.depends.sequences.contains(&(at, sequence.oid)) {
                    relation.depends.sequences.push((at, sequence.oid));
                }
            }
        }
        Ok(())
    }

    /// A sequence has a new name or schema: the defaults that draw from it follow.
    pub(super) fn rename_sequence(&self, old: &Relation, new: &Relation) -> Result<(), Error> {
        if new.kind != RelationKind::Sequence {
            return Ok(());
        }
        for table in self.catalog().dependents(new.oid)? {
            let mut changed = (*table).clone();
            for (at, _) in table.depends.sequences.iter().filter(|(_, sequence)| *sequence == new.oid) {
                let Some(text) = changed.columns.get_mut(*at).and_then(|column| column.default.as_mut()) else {
                    continue;
                };
                for (place, written, cast) in sequences_in(text).into_iter().rev() {
                    let is_old = |name: &Name| name.schema.as_ref() == Some(&old.schema) && name.name == old.name;
                    if written_name(&written).as_ref().is_some_and(is_old) {
                        text.replace_range(place, &sequence_constant(new, cast));
                    }
                }
            }
            if changed != *table {
                self.writer().put(&changed)?;
            }
        }
        Ok(())
    }

    /// A relation moves to another schema, and what its columns own with it.
    pub(super) fn move_owned(&self, old: &Relation, new: &Relation) -> Result<(), Error> {
        let owned = self.owned_sequences(old)?;
        self.store(new)?;
        self.rename_sequence(old, new)?;
        for (_, sequence) in owned {
            let moved = Relation { schema: new.schema.clone(), ..(*sequence).clone() };
            self.writer().put(&moved)?;
            self.rename_sequence(&sequence, &moved)?;
        }
        Ok(())
    }

    /// The row that a new sequence counts in.
    pub(super) fn insert_sequence(&self, sequence: &Relation, bounds: &Bounds) -> Result<(), Error> {
        let Bounds { start, increment, minimum, maximum, cycle } = bounds;
        let database = database(sequence);
        let sql = format!("INSERT INTO {database}.pgp_sequence VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?2, 0)");
        let parameters = params![sequence.oid, start, increment, minimum, maximum, cycle];
        self.context.connection.execute(&sql, parameters).map(|_| ()).map_err(failure)
    }

    /// ALTER SEQUENCE with options of its own.
    pub(super) fn alter_sequence(&self, sequence: &Relation, options: &SequenceOptions) -> Result<(), Error> {
        if let Some(owner) = self.sequence_owner(sequence, options)? {
            let mut owned = sequence.clone();
            owned.depends.owner = owner;
            self.writer().put(&owned)?;
        }
        if options.type_.is_some() {
            return Err(Error::unsupported("ALTER SEQUENCE ... AS"));
        }
        changed_by_definition(&self.catalog(), sequence)?;
        let (database, type_) = (database(sequence), sequence.columns.first().map_or(Type::Int8, |first| first.type_));
        let sql = format!(
            "SELECT start, increment, minimum, maximum, cycle, last_value, is_called FROM {database}.pgp_sequence \
             WHERE relation = ?1"
        );
        let found = self.context.connection.query_row(&sql, [sequence.oid], |row| {
            let bounds = Bounds {
                start: row.get(0)?,
                increment: row.get(1)?,
                minimum: row.get(2)?,
                maximum: row.get(3)?,
                cycle: row.get(4)?,
            };
            Ok((bounds, row.get(5)?, row.get(6)?))
        });
        let found: Option<(Bounds, i64, bool)> = found.optional().map_err(failure)?;
        let (old, mut last, mut called) = found.ok_or_else(|| Error::internal("a sequence has lost its row"))?;
        let increment = options.increment.unwrap_or(old.increment);
        let (lowest, highest) = range(type_);
        let bounds = Bounds {
            start: options.start.unwrap_or(old.start),
            increment,
            minimum: options
                .minimum
                .map_or(old.minimum, |minimum| minimum.unwrap_or(if increment > 0 { 1 } else { lowest })),
            maximum: options
                .maximum
                .map_or(old.maximum, |maximum| maximum.unwrap_or(if increment > 0 { highest } else { -1 })),
            cycle: options.cycle.unwrap_or(old.cycle),
        };
        bounds.check(type_)?;
        if let Some(restart) = options.restart {
            (last, called) = (restart.unwrap_or(bounds.start), false);
        }
        bounds.check_last("RESTART", last)?;
        let sql = format!(
            "UPDATE {database}.pgp_sequence SET start = ?2, increment = ?3, minimum = ?4, maximum = ?5, cycle = ?6, \
             last_value = ?7, is_called = ?8 WHERE relation = ?1"
        );
        let Bounds { start, increment, minimum, maximum, cycle } = bounds;
        let parameters = params![sequence.oid, start, increment, minimum, maximum, cycle, last, called];
        self.context.connection.execute(&sql, parameters).map(|_| ()).map_err(failure)
    }
}

/// A sequence as a constant that regclass reads.
pub(super) fn sequence_constant(sequence: &Relation, cast: bool) -> String {
    let name = format!("{}.{}", quoted(&sequence.schema), quoted(&sequence.name)).replace('\'', "''");
    if cast { format!("'{name}'") } else { format!("'{name}'::regclass") }
}

fn database(sequence: &Relation) -> &'static str {
    if sequence.temporary { "temp" } else { "main" }
}
