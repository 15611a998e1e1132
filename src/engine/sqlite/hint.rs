//! Statements that a worker had to plan, told to the process that the next workers are forked from: those find the
//! plan made.
//!
//! Owns the form in which they travel and the limits of it. What is received came from a process of this server, but
//! the text is a client's: it is planned, never run.

use std::time::{Duration, Instant};

use super::engine::{Database, Sqlite};
use crate::engine::Engine;
use crate::error::Error;
use crate::sql::plan::Action;

/// The longest hint, in bytes; longer statements are planned by each worker that needs them.
pub const HINT_MAX: usize = 4096;

/// Hints that one session gives at the most. One that prepares more is not what others will repeat.
const PER_SESSION: usize = 16;

/// How long SQLite may take to prepare the statement of a hint: workers are not forked while it does.
const LEARN_MAX: Duration = Duration::from_millis(50);

/// A statement that was planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// OID of the database.
    pub database: u32,
    /// The search path that names were looked up by.
    pub search_path: Vec<String>,
    /// The statement's own text.
    pub text: String,
    /// OIDs of the parameter types that were declared.
    pub types: Vec<u32>,
}

impl Hint {
    /// As it travels: lines, the text last. `None` if that is too long, or if a schema's name has a line feed.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        if self.search_path.iter().any(|name| name.contains('\n')) {
            return None;
        }
        let mut text = format!("{}\n{}\n{}\n", self.database, self.search_path.len(), self.types.len());
        self.search_path.iter().for_each(|name| text.extend([name, "\n"]));
        self.types.iter().for_each(|oid| text.push_str(&format!("{oid}\n")));
        text.push_str(&self.text);
        (text.len() <= HINT_MAX).then(|| text.into_bytes())
    }

    /// The hint in a message; `None` if it is none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Hint> {
        let mut lines = Lines(std::str::from_utf8(bytes).ok()?);
        let database = lines.number()?;
        let (schemas, types) = (lines.number()?, lines.number()?);
        let search_path = (0..schemas).map(|_| lines.next().map(str::to_owned)).collect::<Option<_>>()?;
        let types = (0..types).map(|_| lines.number()).collect::<Option<_>>()?;
        Some(Hint { database, search_path, text: lines.0.to_owned(), types })
    }
}

/// What is left of a text, taken line by line.
struct Lines<'a>(&'a str);

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let (line, rest) = self.0.split_once('\n')?;
        self.0 = rest;
        Some(line)
    }

    fn number(&mut self) -> Option<u32> {
        self.next()?.parse().ok()
    }
}

impl Sqlite {
    /// The statements that this session had to plan, as messages; none if there were too many to be of use.
    pub fn take_hints(&mut self) -> Vec<Vec<u8>> {
        let Some(database) = &mut self.database else { return Vec::new() };
        let planned = database.planner.take_news();
        if planned.len() > PER_SESSION {
            return Vec::new();
        }
        let search_path = &database.search_path;
        let hint = |(text, types)| Hint { database: database.oid, search_path: search_path.clone(), text, types };
        planned.into_iter().filter_map(|news| hint(news).to_bytes()).collect()
    }

    /// Plans a statement that a worker had to plan, and has SQLite prepare it, for processes forked from this one. One
    /// that cannot be planned here (its table was temporary, its database is another) is nobody's loss.
    pub fn learn(&mut self, message: &[u8]) {
        let Some(hint) = Hint::from_bytes(message) else { return };
        if self.database.as_ref().is_some_and(|database| database.oid == hint.database) {
            // The client's own limit does not hold here, and orders wait meanwhile.
            self.session.set_deadline(Some(Instant::now() + LEARN_MAX));
            // What failed is planned by whoever needs it, and fails there.
            let _ = self.learn_hint(hint);
            self.session.set_deadline(None);
            // It was no news to begin with; what stayed here, every worker would inherit and tell again.
            if let Some(database) = &mut self.database {
                database.planner.take_news();
            }
        }
    }

    fn learn_hint(&mut self, hint: Hint) -> Result<(), Error> {
        let database = self.database()?;
        if hint.search_path != database.search_path {
            database.search_path = hint.search_path;
            database.catalog.invalidate_plans();
        }
        let mut statements = self.split(&hint.text)?;
        let (Some((_, raw)), true) = (statements.pop(), statements.is_empty()) else { return Ok(()) };
        let prepared = self.prepare(&hint.text, raw, &hint.types)?;
        if let Action::Query(query) = &prepared.plan().action {
            let session = std::sync::Arc::clone(&self.session);
            let database: &Database = self.database()?;
            database.provide(query, &session)?;
            database.prepare_only(query, &session);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_arrive_as_they_were_sent() {
        let hint = Hint {
            database: 5,
            search_path: vec!["postgres".to_owned(), "public".to_owned()],
            text: "SELECT $1,\n  2".to_owned(),
            types: vec![23],
        };
        assert_eq!(Hint::from_bytes(&hint.to_bytes().unwrap()), Some(hint.clone()));
        let odd = Hint { search_path: vec!["a\nb".to_owned()], ..hint.clone() };
        assert_eq!(odd.to_bytes(), None);
        let long = Hint { text: "x".repeat(HINT_MAX), ..hint };
        assert_eq!(long.to_bytes(), None);
        for bytes in [&b""[..], b"5", b"5\n9\n0\na\n", b"5\n0\n4000000000\n", b"\xff\n0\n0\n"] {
            assert_eq!(Hint::from_bytes(bytes), None, "{bytes:?}");
        }
    }

    /// What is planned in a template must be found there by the workers forked from it: a session's state must not
    /// throw it away.
    #[test]
    fn a_learned_statement_is_not_planned_again_by_a_session() {
        use crate::engine::cluster::{self, Authentication, InitOptions, POSTGRES_DATABASE_OID, SUPERUSER_OID};
        use crate::engine::sqlite::engine::Configuration;
        use crate::engine::sqlite::session::Identity;
        use crate::engine::sqlite::{access_rules::RuleFiles, connection::Options, state::PoolFacts};
        use std::sync::Arc;

        let folder = tempfile::tempdir().unwrap();
        let data_directory = folder.path().join("data");
        let options =
            InitOptions { superuser: "postgres".into(), authentication: Authentication::Trust, password: None };
        cluster::init(&data_directory, &options).unwrap();
        let geometry = shm::Geometry { slots: 1, databases: 3, wal_index_bytes: 1 << 20 };
        let segment = shm::Segment::on_heap(&geometry).unwrap();
        let owner = segment.claim_slot(shm::SlotKind::Worker).unwrap();
        let files = RuleFiles { hba: "none".into(), ident: "none".into() };
        let configuration = Configuration {
            data_directory,
            options: Options::default(),
            session_memory_bytes: None,
            checkpoint_bytes: 1 << 20,
            writer_idle_timeout: None,
            pool: PoolFacts::default(),
            files,
        };
        let mut engine = Sqlite::new(segment, owner, Arc::new(|| {}), configuration);
        engine.open(POSTGRES_DATABASE_OID).unwrap();
        engine.freshen().unwrap();
        let hint = Hint {
            database: POSTGRES_DATABASE_OID,
            search_path: vec!["postgres".to_owned(), "public".to_owned()],
            text: "SELECT relname FROM pg_class".to_owned(),
            types: Vec::new(),
        };
        engine.learn(&hint.to_bytes().unwrap());
        engine.freshen().unwrap();
        let identity = Identity {
            database_oid: POSTGRES_DATABASE_OID,
            database: "postgres".into(),
            user_oid: SUPERUSER_OID,
            user: "postgres".into(),
            superuser: true,
        };
        engine.begin_session(identity, Arc::default()).unwrap();
        let mut statements = engine.split(&hint.text).unwrap();
        let (_, raw) = statements.pop().unwrap();
        engine.prepare(&hint.text, raw, &[]).unwrap();
        assert!(engine.take_hints().is_empty(), "it was planned again");
    }
}
